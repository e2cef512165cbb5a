//! The loss that wants a discriminator to take the image for a real one.

use std::fmt;
use std::sync::OnceLock;

use burn::tensor::{Tensor, activation::softplus};

use super::{Loss, Scene};
use crate::model::{Model, passes};
use crate::resample::resize;
use crate::{Error, Result};

/// The loss that wants a discriminator to take the image for a real one:
///
/// ```text
/// L(x) = softplus(−D(x)) = ln(1 + exp(−D(x))) = −ln σ(D(x))
/// ```
///
/// where `D` is the score of the discriminator before the sigmoid: the higher it rates the image real, the lower
/// the loss. This is the regularizer that keeps an optimised image among the images of a data set, where
/// [`TotalVariation`](super::TotalVariation) and [`LPNorm`](super::LPNorm) only keep it smooth and dim.
///
/// Any [`Model`] serves whose output is one number an image. The image is mapped linearly from its own range to
/// the discriminator's, and resized if that takes one size only. A discriminator rates what it was trained on:
/// on other kinds of images its verdict means nothing, and an optimiser will find images that fool it unless the
/// weight is moderate.
///
/// ```
/// use vis::{losses, Optimizer, losses::{ActivationMaximization, Realism}};
/// # use burn::tensor::Tensor;
/// # use vis::model::{InputSpec, Model, Stop, Taps};
/// # struct Bright(InputSpec);
/// # impl Model for Bright {
/// #     fn input(&self) -> &InputSpec { &self.0 }
/// #     fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
/// #         taps.layer("score", x.mean_dims(&[1, 2, 3]))?;
/// #         Ok(())
/// #     }
/// # }
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let discriminator = Bright(InputSpec::new([3, 16, 16], (-1.0, 1.0)));
/// let losses = losses![
///     (ActivationMaximization::new("logits", 3), 1.0),
///     (Realism::new(discriminator, (0.0, 255.0)), 2.0),
/// ];
/// let result = Optimizer::new(&model, losses).max_iter(3).minimize()?;
/// # Ok::<(), vis::Error>(())
/// ```
///
/// What it does for pictures of digits that make a classifier sure (`examples/gan_regularizer.rs`), by their mean
/// distance to the nearest real digit of the same class, the root of the sum of squares; such a digit is 4.7 from the
/// next one:
///
/// | besides the activation | distance |
/// | --- | --- |
/// | nothing | 13.4 |
/// | total variation of weight 200 and L-p norm | 9.4 |
/// | total variation of weight 20 | 12.8 |
/// | the same and [`Discriminator`](crate::model::Discriminator) of weight 10 | 6.9 |
///
/// Source: Goodfellow et al. 2014, *Generative Adversarial Nets*: the non-saturating loss of the generator.
#[doc(alias = "Discriminator")]
#[doc(alias = "GAN")]
pub struct Realism {
    discriminator: Box<dyn Model>,
    range: (f32, f32),
    /// Set once the discriminator was seen to be the same with a gradient as without.
    compared: OnceLock<()>,
}

impl Realism {
    /// Wants this discriminator to take images, whose pixels lie in `range`, for real ones.
    ///
    /// ```
    /// use vis::{Loss, Scene, losses::Realism};
    /// # use burn::tensor::Tensor;
    /// # use vis::model::{InputSpec, Model, Stop, Taps};
    /// # struct Bright(InputSpec);
    /// # impl Model for Bright {
    /// #     fn input(&self) -> &InputSpec { &self.0 }
    /// #     fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
    /// #         taps.layer("score", x.mean_dims(&[1, 2, 3]))?;
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let discriminator = Bright(InputSpec::new([3, 16, 16], (-1.0, 1.0)));
    /// # let black = Tensor::zeros([1, 3, 8, 8], &Default::default());
    /// // To this discriminator what is bright is real: white scores 1, black -1.
    /// let realism = Realism::new(discriminator, (0.0, 255.0));
    /// let loss = |image| Ok::<_, vis::Error>(realism.build_loss(&Scene::new(image, []))?.into_scalar::<f32>());
    /// assert!((loss(black.clone() + 255.0)? - (-1.0_f32).exp().ln_1p()).abs() < 1e-4);
    /// assert!((loss(black)? - 1.0_f32.exp().ln_1p()).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(discriminator: impl Model + 'static, range: (f32, f32)) -> Self {
        Self { discriminator: Box::new(discriminator), range, compared: OnceLock::new() }
    }
}

impl Loss for Realism {
    fn name(&self) -> String {
        "realism".into()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let input = self.discriminator.input();
        let (from, to) = (self.range, input.range());
        let mut image = scene.image();
        if from != to {
            image = (image - from.0) * ((to.1 - to.0) / (from.1 - from.0)) + to.0;
        }
        if input.smallest().is_none() {
            let (height, width) = input.size();
            image = resize(image, height, width);
        }
        if image.is_autodiff() && !self.discriminator.is_frozen() && self.compared.get().is_none() {
            let layers = match self.discriminator.logits() {
                Some(layer) => vec![layer.to_owned()],
                None => self.discriminator.layers()?.pop().into_iter().map(|layer| layer.name).collect(),
            };
            passes::check(&self.discriminator, image.clone().inner(), &layers)?;
            self.compared.get_or_init(|| ());
        }
        let score = self.discriminator.classify(image)?;
        let [batch, outputs] = score.dims();
        if outputs != 1 {
            let what = "the output of the discriminator".into();
            return Err(Error::Shape { what, expected: "[batch, 1]".into(), got: vec![batch, outputs] });
        }
        Ok(softplus(score.reshape([batch]).neg(), 1.0))
    }
}

impl fmt::Debug for Realism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realism").field("range", &self.range).finish_non_exhaustive()
    }
}
