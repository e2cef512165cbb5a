//! Layers of `burn::nn` with their weights frozen.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::{Convolution, Padding};
use crate::Error;

impl TryFrom<&Conv2d> for Convolution {
    type Error = Error;

    /// The same convolution with frozen weights and fast kernels, for a [`Model`](crate::Model) written by hand.
    ///
    /// Groups are the module's. Weights on an autodiff device become constants of the plain device below it.
    ///
    /// ```
    /// use burn::nn::{PaddingConfig2d, conv::Conv2dConfig};
    /// use vis::model::{Taps, layers::Convolution};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 4, 9, 7], (0.0, 1.0), 0, 0, &device);
    /// let conv = Conv2dConfig::new([4, 6], [3, 3]).with_stride([2, 2]).with_padding(PaddingConfig2d::Same).init(&device);
    /// let frozen = Convolution::try_from(&conv)?;
    /// let difference = frozen.forward(image.clone(), &mut Taps::new()) - conv.forward(image);
    /// assert!(difference.abs().max().into_scalar::<f32>() < 1e-6);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for what a [`Convolution`] can't express: two strides, dilation, a padding that is not the
    /// same on all sides; and for a module whose fields contradict its weights. Such a module is called as it is:
    /// `conv.forward(image)`.
    fn try_from(conv: &Conv2d) -> Result<Self, Error> {
        let weight = conv.weight.val().inner().detach();
        let [outputs, of_a_group, height, width] = weight.dims();
        let refused =
            |name: &'static str, expected: String, got: String| Err(Error::invalid(name, expected, got));
        if [outputs, of_a_group, height, width].contains(&0) || conv.kernel_size != [height, width] {
            let expected = format!("[outputs, inputs / groups, {:?}]", conv.kernel_size);
            return refused("the weight of the convolution", expected, format!("{:?}", weight.dims()));
        }
        if !outputs.is_multiple_of(conv.groups) {
            let expected = format!("a number that divides the {outputs} outputs");
            return refused("the number of groups", expected, conv.groups.to_string());
        }
        let stride = match conv.stride {
            [vertical, horizontal] if vertical == horizontal && vertical > 0 => vertical,
            stride => {
                return refused(
                    "the stride",
                    "the same along both axes, at least 1".into(),
                    format!("{stride:?}"),
                );
            }
        };
        if conv.dilation != [1, 1] {
            return refused("the dilation", "[1, 1]".into(), format!("{:?}", conv.dilation));
        }
        let padding = match &conv.padding {
            PaddingConfig2d::Same => Padding::Same,
            PaddingConfig2d::Valid => Padding::Pixels(0),
            PaddingConfig2d::Explicit(top, left, bottom, right) if [left, bottom, right] == [top; 3] => {
                Padding::Pixels(*top)
            }
            other => return refused("the padding", "the same on all sides".into(), format!("{other:?}")),
        };
        let bias: Option<Tensor<1>> = conv.bias.as_ref().map(|bias| bias.val().inner().detach());
        if let Some(got) = bias.as_ref().map(Tensor::dims).filter(|dims| *dims != [outputs]) {
            return refused("the bias of the convolution", format!("[{outputs}]"), format!("{got:?}"));
        }
        let frozen = Self::new(weight, bias).with_stride(stride).with_padding(padding);
        Ok(Self { channels: Some(of_a_group * conv.groups), ..frozen })
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::host::values;
    use crate::model::Taps;

    fn module(change: impl FnOnce(Conv2dConfig) -> Conv2dConfig) -> Conv2d {
        change(Conv2dConfig::new([4, 6], [3, 5])).init(&Device::default())
    }

    #[test]
    fn what_a_convolution_can_express_gives_the_numbers_of_the_module() {
        let image = crate::random::noise([2, 4, 11, 8], (-1.0, 1.0), 1, 0, &Device::default());
        for conv in [
            module(|config| config),
            module(|config| config.with_groups(2).with_bias(false)),
            module(|config| config.with_stride([2, 2]).with_padding(PaddingConfig2d::Same)),
            module(|config| config.with_stride([3, 3]).with_padding(PaddingConfig2d::Explicit(2, 2, 2, 2))),
        ] {
            let frozen = Convolution::try_from(&conv).unwrap();
            let (got, expected) =
                (frozen.forward(image.clone(), &mut Taps::new()), conv.forward(image.clone()));
            assert_eq!(got.dims(), expected.dims());
            for (got, expected) in values(got).into_iter().zip(values(expected)) {
                assert!((got - expected).abs() < 1e-5, "{got} instead of {expected}");
            }
        }
    }

    #[test]
    fn weights_that_could_be_trained_become_constants() {
        let device = Device::default();
        let conv: Conv2d = Conv2dConfig::new([1, 2], [1, 1]).init(&device.clone().autodiff());
        assert_eq!(Convolution::try_from(&conv).unwrap().device(), device);
    }

    #[test]
    fn what_it_can_not_express_is_an_error_that_says_so() {
        let said = |change: &dyn Fn(&mut Conv2d)| {
            let mut conv = module(|config| config);
            change(&mut conv);
            Convolution::try_from(&conv).unwrap_err().to_string()
        };
        assert_eq!(
            said(&|conv| conv.stride = [1, 2]),
            "the stride must be the same along both axes, at least 1, not [1, 2]"
        );
        assert_eq!(
            said(&|conv| conv.stride = [0, 0]),
            "the stride must be the same along both axes, at least 1, not [0, 0]"
        );
        assert_eq!(said(&|conv| conv.dilation = [2, 1]), "the dilation must be [1, 1], not [2, 1]");
        let padding = said(&|conv| conv.padding = PaddingConfig2d::Explicit(1, 2, 1, 2));
        assert_eq!(padding, "the padding must be the same on all sides, not Explicit(1, 2, 1, 2)");
        assert_eq!(
            said(&|conv| conv.groups = 4),
            "the number of groups must be a number that divides the 6 outputs, not 4"
        );
        assert!(said(&|conv| conv.kernel_size = [3, 3]).starts_with("the weight of the convolution must be"));
    }

    #[test]
    #[should_panic(expected = "can't take images [1, 2, 9, 9]")]
    fn images_of_other_channels_than_the_modules_are_refused() {
        // Of a grouped convolution two channels would be one group fewer.
        let frozen = Convolution::try_from(&module(|config| config.with_groups(2))).unwrap();
        frozen.forward(Tensor::ones([1, 2, 9, 9], &Device::default()), &mut Taps::new());
    }
}
