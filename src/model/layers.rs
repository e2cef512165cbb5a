//! The layers that networks are built of, with frozen weights.
//!
//! They call [`Taps::describe`] and pass rectifiers through [`Taps::rectify`], so a network made of them
//! fills its table of layers and obeys backward rules without further words:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use vis::backprop::Rectifier;
//! use vis::model::{Taps, layers::{Convolution, Padding, max_pool_2x2}};
//!
//! let device = Device::default();
//! let edge = Tensor::<4>::from_floats([[[[-1.0, 0.0, 1.0]]]], &device);
//! let edge = Convolution::new(edge, None).with_padding(Padding::Same);
//!
//! let image = Tensor::<4>::from_floats([[[[0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 5.0, 5.0]]]], &device);
//! let mut taps = Taps::new();
//! let x = edge.rectified(image, &mut taps, Rectifier::Relu);
//! assert_eq!(x.clone().into_data().to_vec::<f32>().unwrap(), [0.0, 5.0, 5.0, 0.0, 0.0, 5.0, 5.0, 0.0]);
//! assert_eq!(max_pool_2x2(x, &mut taps).into_data().to_vec::<f32>().unwrap(), [5.0, 5.0]);
//! ```

mod from_burn;

use std::f32::consts::FRAC_1_SQRT_2;
use std::fmt;
use std::sync::OnceLock;

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, module};
use vis_kernels::{Filters, Geometry, Mismatch};

use super::Taps;
use crate::backprop::{self, Rectifier};
use crate::convolution::{self, Arithmetic, FrozenConvolution};

pub use vis_kernels::Padding;

/// A convolution over images with frozen weights.
///
/// # Shapes
///
/// `[batch, in, height, width]` gives `[batch, out, height', width']`, where `height'` follows from the
/// [`Padding`] and the stride.
#[derive(Clone)]
pub struct Convolution {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
    /// The channels of its images, if they are known: weights alone leave the number of groups open.
    channels: Option<usize>,
    arithmetic: Arithmetic,
    /// Made at the first run, when the number of groups is known.
    frozen: OnceLock<Option<FrozenConvolution>>,
}

impl Convolution {
    /// A convolution of stride 1 without padding.
    ///
    /// `weight` is `[out, in, height, width]`, or `[out, in / groups, height, width]` for a grouped
    /// convolution: the number of groups is the number of channels of the image over `weight`'s second
    /// extent, so a depthwise convolution is one whose weight has a second extent of 1. `bias` is `[out]`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::Convolution};
    /// let device = Device::default();
    /// let sum = Convolution::new(Tensor::ones([1, 1, 2, 2], &device), None);
    /// let x = sum.forward(Tensor::ones([1, 1, 3, 3], &device), &mut Taps::new());
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [4.0; 4]); // at the four places where it fits
    /// ```
    pub fn new(weight: Tensor<4>, bias: Option<Tensor<1>>) -> Self {
        Self {
            weight,
            bias,
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::Pixels(0),
            channels: None,
            arithmetic: Arithmetic::Fast,
            frozen: OnceLock::new(),
        }
    }

    /// Sets the stride, at least 1.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::Convolution};
    /// let device = Device::default();
    /// let sum = Convolution::new(Tensor::ones([1, 1, 2, 2], &device), None).with_stride(2);
    /// let x = sum.forward(Tensor::ones([1, 1, 8, 6], &device), &mut Taps::new());
    /// assert_eq!(x.dims(), [1, 1, 4, 3]);
    /// ```
    pub fn with_stride(self, stride: usize) -> Self {
        self.spaced([stride; 2], [1, 1])
    }

    /// Sets the stride down and to the right, and how far apart the weights of a filter are.
    pub(crate) fn spaced(mut self, stride: [usize; 2], dilation: [usize; 2]) -> Self {
        (self.stride, self.dilation) = (stride, dilation);
        self.frozen = OnceLock::new();
        self
    }

    /// Sets the padding.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::{Convolution, Padding}};
    /// let device = Device::default();
    /// let sum = Convolution::new(Tensor::ones([1, 1, 1, 3], &device), None).with_padding(Padding::Same);
    /// let x = sum.forward(Tensor::ones([1, 1, 1, 4], &device), &mut Taps::new());
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [2.0, 3.0, 3.0, 2.0]); // zeros at both ends
    /// ```
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self.frozen = OnceLock::new();
        self
    }

    /// Sets how it is computed. Default: the fastest way.
    ///
    /// ```
    /// use vis::{Arithmetic, model::{Taps, layers::Convolution}};
    /// # let device = Default::default();
    /// # let weight = vis::random::noise([8, 8, 3, 3], (-1.0, 1.0), 0, 0, &device);
    /// # let image = vis::random::noise([1, 8, 12, 12], (-1.0, 1.0), 1, 0, &device);
    /// let fast = Convolution::new(weight, None);
    /// let exact = fast.clone().with_arithmetic(Arithmetic::Exact);
    /// let difference = fast.forward(image.clone(), &mut Taps::new()) - exact.forward(image, &mut Taps::new());
    /// assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
    /// ```
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.set_arithmetic(arithmetic);
        self
    }

    /// Sets how it is computed, in place.
    pub(crate) fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        self.arithmetic = arithmetic;
    }

    /// The number of weights and biases.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// let device = Device::default();
    /// let (weight, bias) = (Tensor::zeros([4, 3, 5, 5], &device), Tensor::zeros([4], &device));
    /// let convolution = vis::model::layers::Convolution::new(weight, Some(bias));
    /// assert_eq!(convolution.parameters(), 4 * 3 * 5 * 5 + 4);
    /// ```
    pub fn parameters(&self) -> usize {
        count(&self.weight) + self.bias.as_ref().map_or(0, count)
    }

    /// The device that holds the weights.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// let device = Device::default();
    /// let convolution = vis::model::layers::Convolution::new(Tensor::zeros([4, 3, 5, 5], &device), None);
    /// assert_eq!(convolution.device(), device);
    /// ```
    pub fn device(&self) -> Device {
        self.weight.device()
    }

    /// The convolution, described to `taps`.
    ///
    /// # Panics
    /// If there is no such convolution; the message has the shapes:
    /// - the channels of the image are no whole number of groups, or the image with its padding is smaller than a filter;
    /// - the stride is 0, or the weight has an extent of 0, or the bias has not one number for each output;
    /// - image, weight and bias are not of the same type of numbers or not on the same device;
    /// - image, padded image or output are too large for the memory that there is.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::Convolution};
    /// let device = Device::default();
    /// let minus = Convolution::new(Tensor::ones([1, 1, 1, 1], &device).neg(), Some(Tensor::ones([1], &device)));
    /// let image = Tensor::<1>::from_floats([0.0, 1.0, 2.0], &device).reshape([1, 1, 1, 3]);
    /// assert_eq!(minus.forward(image, &mut Taps::new()).into_data().to_vec::<f32>().unwrap(), [1.0, 0.0, -1.0]);
    /// ```
    pub fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let sizes = self.describe(&x, taps);
        match self.frozen(&sizes) {
            Some(frozen) => frozen.forward(x, None),
            None => self.ordinary(x, &sizes),
        }
    }

    /// The convolution and the rectifier after it, under the backward rule of `taps`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::{backprop::Rectifier, model::{Taps, layers::Convolution}};
    /// let device = Device::default();
    /// let minus = Convolution::new(Tensor::ones([1, 1, 1, 1], &device).neg(), Some(Tensor::ones([1], &device)));
    /// let image = Tensor::<1>::from_floats([0.0, 1.0, 2.0], &device).reshape([1, 1, 1, 3]);
    /// let x = minus.rectified(image, &mut Taps::new(), Rectifier::Relu);
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
    /// ```
    pub fn rectified(&self, x: Tensor<4>, taps: &mut Taps, rectifier: Rectifier) -> Tensor<4> {
        let sizes = self.describe(&x, taps);
        let rule = taps.meet_rectifier();
        match self.frozen(&sizes) {
            Some(frozen) => frozen.forward(x, Some((rectifier, rule))),
            None => backprop::rectify(self.ordinary(x, &sizes), rectifier, rule),
        }
    }

    /// The sizes of the convolution of these images.
    ///
    /// # Panics
    /// If there is none: see [`forward`](Self::forward).
    fn describe(&self, x: &Tensor<4>, taps: &mut Taps) -> Geometry {
        let sizes = self.sizes(x);
        let [channels_of_a_group, _] = sizes.filters().channels_of_a_group();
        let depthwise = sizes.filters().groups() > 1 && channels_of_a_group == 1;
        taps.describe(if depthwise { "depthwise convolution" } else { "convolution" }, self.parameters());
        sizes
    }

    fn sizes(&self, x: &Tensor<4>) -> Geometry {
        let (weight, [batch, channels, height, width]) = (self.weight.dims(), x.dims());
        let wanted = (self.weight.dtype(), self.weight.device().inner());
        let check = |what: &str, extents: &[usize], got: (DType, Device), fits: bool| {
            assert!(
                fits && got == wanted,
                "a convolution with weights {weight:?} of {wanted:?} can't take {what} {extents:?} of {got:?}"
            );
        };
        let are_known = self.channels.is_none_or(|known| known == channels);
        check("images", &x.dims(), (x.dtype(), x.device().inner()), are_known);
        if let Some(bias) = &self.bias {
            let got = (bias.dtype(), bias.device().inner());
            check("a bias", &bias.dims(), got, bias.dims() == [weight[0]]);
        }
        self.filters(channels)
            .and_then(|filters| filters.on(batch, [height, width]))
            .unwrap_or_else(|mismatch| panic!("{mismatch}"))
    }

    /// The filters, for images of so many channels.
    pub(crate) fn filters(&self, channels: usize) -> Result<Filters, Mismatch> {
        Filters::new(self.weight.dims(), channels, 1, self.padding)?.spaced(self.stride, self.dilation)
    }

    /// The prepared convolution, where there is one for these sizes.
    fn frozen(&self, sizes: &Geometry) -> Option<&FrozenConvolution> {
        if self.arithmetic == Arithmetic::Exact {
            return None;
        }
        let bias = self.bias.as_ref();
        let frozen = self.frozen.get_or_init(|| FrozenConvolution::new(&self.weight, bias, *sizes.filters()));
        // Images of another number of channels have another number of groups.
        frozen.as_ref().filter(|frozen| frozen.filters() == sizes.filters())
    }

    /// By Burn's own operations.
    ///
    /// # Panics
    /// If there is no memory for the output: Burn would end the process, without a word about shapes.
    fn ordinary(&self, x: Tensor<4>, sizes: &Geometry) -> Tensor<4> {
        #[cfg(feature = "flex")]
        if sizes.output_length() >= LARGE && x.device().inner() == Device::flex() {
            let reserved = Vec::<f32>::new().try_reserve_exact(sizes.output_length());
            let (image, output) = (sizes.input(), sizes.output());
            assert!(reserved.is_ok(), "there is no memory for the output {output:?} of images {image:?}");
        }
        let around = sizes.zeros_around().map(|[before, after]| (before, after));
        let [_, _, height, width] = sizes.input();
        // A stride that leaves the image is as good as one that just does; Burn counts with it.
        let padded =
            [height, width].into_iter().zip(around).map(|(size, (before, after))| before + size + after);
        let most = padded.fold(1, usize::max);
        let stride = self.stride.map(|stride| stride.min(most));
        let groups = sizes.filters().groups();
        let options = ConvOptions::new_with_padding(stride, around, self.dilation, groups);
        module::conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }
}

/// A dense layer with frozen weights: `x · weightᵀ + bias`.
#[derive(Clone)]
pub struct Dense {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Dense {
    /// A dense layer; `weight` is `[out, in]`, `bias` is `[out]`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::Dense};
    /// let device = Device::default();
    /// let dense = Dense::new(Tensor::ones([5, 3], &device), Tensor::zeros([5], &device));
    /// let x = dense.forward(Tensor::ones([1, 3], &device), &mut Taps::new());
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [3.0; 5]);
    /// ```
    pub fn new(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        Self { weight, bias }
    }

    /// The number of outputs.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// let device = Device::default();
    /// let dense = vis::model::layers::Dense::new(Tensor::ones([5, 3], &device), Tensor::zeros([5], &device));
    /// assert_eq!(dense.outputs(), 5);
    /// ```
    pub fn outputs(&self) -> usize {
        self.bias.dims()[0]
    }

    /// The number of weights and biases.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// let device = Device::default();
    /// let dense = vis::model::layers::Dense::new(Tensor::ones([5, 3], &device), Tensor::zeros([5], &device));
    /// assert_eq!(dense.parameters(), 5 * 3 + 5);
    /// ```
    pub fn parameters(&self) -> usize {
        count(&self.weight) + count(&self.bias)
    }

    /// The layer, described to `taps`: `[batch, in]` gives `[batch, out]`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::model::{Taps, layers::Dense};
    /// let device = Device::default();
    /// let dense = Dense::new(Tensor::from_floats([[1.0, 2.0], [0.0, -1.0]], &device), Tensor::ones([2], &device));
    /// let x = dense.forward(Tensor::from_floats([[3.0, 4.0]], &device), &mut Taps::new());
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [3.0 + 2.0 * 4.0 + 1.0, -4.0 + 1.0]);
    /// ```
    pub fn forward(&self, x: Tensor<2>, taps: &mut Taps) -> Tensor<2> {
        taps.describe("dense", self.parameters());
        x.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze()
    }

    /// The layer and the rectifier after it, under the backward rule of `taps`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::{backprop::Rectifier, model::{Taps, layers::Dense}};
    /// let device = Device::default();
    /// let dense = Dense::new(Tensor::from_floats([[1.0, 2.0], [0.0, -1.0]], &device), Tensor::ones([2], &device));
    /// let x = dense.rectified(Tensor::from_floats([[3.0, 4.0]], &device), &mut Taps::new(), Rectifier::Relu);
    /// assert_eq!(x.into_data().to_vec::<f32>().unwrap(), [12.0, 0.0]);
    /// ```
    pub fn rectified(&self, x: Tensor<2>, taps: &mut Taps, rectifier: Rectifier) -> Tensor<2> {
        let x = self.forward(x, taps);
        taps.rectify(x, rectifier)
    }
}

/// The maxima of non-overlapping 2×2 windows, described to `taps`; a last odd row or column is dropped.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::model::{Taps, layers::max_pool_2x2};
/// let image = Tensor::<4>::from_floats([[[[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]]]], &Device::default());
/// assert_eq!(max_pool_2x2(image, &mut Taps::new()).into_data().to_vec::<f32>().unwrap(), [4.0]);
/// ```
pub fn max_pool_2x2(x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    taps.describe("max pooling", 0);
    convolution::max_pool_2x2(x)
}

/// The means of non-overlapping 2×2 windows, described to `taps`; a last odd row or column is dropped.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::model::{Taps, layers::average_pool_2x2};
/// let image = Tensor::<4>::from_floats([[[[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]]]], &Device::default());
/// assert_eq!(average_pool_2x2(image, &mut Taps::new()).into_data().to_vec::<f32>().unwrap(), [2.5]);
/// ```
pub fn average_pool_2x2(x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    taps.describe("average pooling", 0);
    module::avg_pool2d(x, AvgPoolOptions::new([2, 2]))
}

/// The maxima of 3×3 windows in steps of 2, with a border of one pixel, described to `taps`.
pub(crate) fn max_pool_3x3(x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    taps.describe("max pooling", 0);
    module::max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// `x Φ(x)`, with the normal distribution function `Φ`, under the backward rule of `taps`.
pub(crate) fn gelu(x: Tensor<3>, taps: &mut Taps) -> Tensor<3> {
    taps.describe("gelu", 0);
    let rule = taps.meet_rectifier();
    // Burn's own has the derivative of an approximation.
    let y = x.clone() * ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    backprop::under(rule, x, y)
}

/// The mean of every channel, described to `taps`: `[batch, channels, height, width]` gives
/// `[batch, channels]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::model::{Taps, layers::global_average_pool};
/// let two_channels = Tensor::<4>::from_floats([[[[1.0, 2.0]], [[3.0, 5.0]]]], &Device::default());
/// assert_eq!(global_average_pool(two_channels, &mut Taps::new()).into_data().to_vec::<f32>().unwrap(), [1.5, 4.0]);
/// ```
pub fn global_average_pool(x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("average pooling", 0);
    x.mean_dim(3).mean_dim(2).flatten(1, 3)
}

/// The features of an image in a row, channel by channel, described to `taps`.
pub(crate) fn flatten(x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("flatten", 0);
    x.flatten(1, 3)
}

/// Probabilities from class scores, `[batch, classes]`, described to `taps`.
pub(crate) fn softmax(x: Tensor<2>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("softmax", 0);
    burn::tensor::activation::softmax(x, 1)
}

/// What a network does to the pixels before its first layer: `(x − mean) / deviation`, channel by channel.
#[derive(Clone)]
pub(crate) struct Standardization {
    mean: Tensor<4>,
    deviation: Tensor<4>,
}

impl Standardization {
    /// Standardization with these means and deviations, one a channel, in the units of the pixels.
    pub(crate) fn new<const CHANNELS: usize>(
        mean: [f32; CHANNELS],
        deviation: [f32; CHANNELS],
        device: &Device,
    ) -> Self {
        let a_channel =
            |values: [f32; CHANNELS]| Tensor::<1>::from_floats(values, device).reshape([1, CHANNELS, 1, 1]);
        Self { mean: a_channel(mean), deviation: a_channel(deviation) }
    }

    /// The standardized image, of the same shape.
    pub(crate) fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        (image - self.mean.clone()) / self.deviation.clone()
    }
}

/// Numbers of an output for which it is looked whether there is memory: 1 GB.
#[cfg(feature = "flex")]
const LARGE: usize = 1 << 28;

fn count<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.dims().iter().product()
}

// The numbers themselves would fill pages.
impl fmt::Debug for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Convolution")
            .field("weight", &self.weight.dims())
            .field("bias", &self.bias.is_some())
            .field("stride", &self.stride)
            .field("padding", &self.padding)
            .finish()
    }
}

impl fmt::Debug for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dense").field("weight", &self.weight.dims()).finish()
    }
}

impl fmt::Debug for Standardization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standardization").field("channels", &self.mean.dims()[1]).finish()
    }
}
