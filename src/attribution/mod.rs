//! What the network looks at: maps of the evidence for a target.
//!
//! An [`Attribution`] takes a model, a batch of images and a [`Target`] (a class, the difference of two, a
//! channel of any layer, …) and gives **signed raw numbers**; colours come later. Four families ask
//! four questions:
//!
//! | family | asks | methods | cost |
//! | --- | --- | --- | --- |
//! | gradients | which pixels would change the score? | [`Saliency`] (plain, guided, deconvolution, times input), [`IntegratedGradients`], [`SmoothGrad`], [`GuidedGradCam`] | 1 to 64 backward passes |
//! | class activation maps | which places of a layer hold the evidence? | [`Cam`] with one of eight [`Formula`]s | 1 backward pass, or a forward pass a channel |
//! | attention | which tokens has a transformer looked at? | [`AttentionRollout`], plain or by gradient | a forward pass, or a backward pass as well |
//! | perturbation | what is lost when a part is hidden? | [`Occlusion`], [`Rise`] | hundreds to thousands of forward passes |
//!
//! ```
//! use vis::{Target, attribution::{Attribution, Cam, Formula, Saliency}};
//! # use vis::Model;
//! # let model = vis::model::Tiny::new(&Default::default());
//! # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
//! let saliency = Saliency::new().attribute(&model, image.clone(), &Target::class(2))?; // [1, 3, 8, 8]
//! let cam = Cam::new(Formula::GradCam).map(&model, image, &Target::class(2))?;
//! assert_eq!(cam.layer, "conv2");             // chosen, because none was named
//! assert_eq!(cam.map.dims(), [1, 1, 4, 4]);   // at the layer's own size
//! assert_eq!(cam.rectified().upsampled().dims(), [1, 1, 8, 8]);
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! Which to take? For "where", [`Cam`] with [`Formula::GradCam`] (or HiResCAM, which never credits a place
//! that the score did not use). For "which pixels", [`IntegratedGradients`] or a [`SmoothGrad`] of the plain
//! gradient. To be sure, [`Occlusion`]: it uses nothing but the scores of the network. Never judge a map by its
//! looks: sharp ones can be blind to the class and even to the weights. [`crate::metrics`] judges.
//!
#![cfg_attr(doc, doc = include_str!("../figures/methods.md"))]
//!
//! A batch of `n` images gives the maps of `n` single runs, and no result depends on an internal batch size.
//!
//! Methods that run the network many times tell how far they are, and can be ended there: `progress` takes a
//! closure, and when that returns [`ControlFlow::Break`](std::ops::ControlFlow::Break), the map of what has been
//! run so far is the result.

mod baseline;
mod blank;
mod cam;
mod controls;
mod guided_grad_cam;
mod integrated_gradients;
mod occlusion;
mod rise;
mod rollout;
mod saliency;
mod smooth_grad;

use std::fmt;

use burn::tensor::Tensor;

use crate::model::Model;
use crate::target::Target;
pub(crate) use crate::target::refuse_non_finite;
use crate::{Error, Result, Rule};

pub use baseline::Baseline;
pub(crate) use baseline::blur;
pub use blank::Blank;
pub use cam::{Cam, ClassActivationMap, Formula, Interpolation};
pub use controls::{RandomMap, Sobel};
pub use guided_grad_cam::GuidedGradCam;
pub use integrated_gradients::{Integrated, IntegratedGradients, Quadrature};
pub use occlusion::Occlusion;
pub use rise::Rise;
pub use rollout::AttentionRollout;
pub use saliency::Saliency;
pub use smooth_grad::{SmoothGrad, Statistic};

/// A method that says where in an image the evidence for a target lies.
///
/// ```
/// use burn::tensor::Tensor;
/// use vis::{Target, attribution::{Attribution, Saliency}};
/// use vis::{Model, Result};
///
/// /// The gradient's size, as a method of one's own.
/// #[derive(Debug)]
/// struct Size;
///
/// impl Attribution for Size {
///     fn name(&self) -> String { "gradient size".into() }
///     fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
///         Ok(Saliency::new().attribute(model, images, target)?.abs())
///     }
/// }
/// ```
#[doc(alias = "Explainer")]
pub trait Attribution: fmt::Debug + Send + Sync {
    /// The method's name, for captions and tables.
    fn name(&self) -> String;

    /// The signed raw map of each image of a batch, at the size of the image: `[batch, channels, height,
    /// width]`, with the image's channels for methods that tell pixels of one place apart, and one channel
    /// for those that don't. Positive is evidence for the target.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a class or channel that the layer does not have, [`Error::UnknownLayer`],
    /// [`Error::Shape`] for images that the model can't take, [`Error::ZeroGradient`] when the gradient of
    /// an image is zero everywhere and its map would be empty, [`Error::NonFinite`] when the image, a score, the
    /// gradient or the map is NaN or infinite, [`Error::InvalidParameter`] for images
    /// [far outside](crate::model::InputSpec::check_values) the model's range, and [`Error::Probabilities`] where the
    /// model does not say where its logits are and ends in a softmax. Methods that take a gradient refuse a network
    /// that [trains](Error::Training), and at a layer one that is [not used](Error::UnusedLayer).
    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>>;
}

impl<A: Attribution + ?Sized> Attribution for Box<A> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        (**self).attribute(model, images, target)
    }
}

/// The largest magnitude over the channels of a map, `[batch, 1, height, width]`: how a gradient is usually
/// shown and ranked.
///
/// ```
/// let map = burn::tensor::Tensor::<1>::from_floats([1.0, -3.0], &Default::default()).reshape([1, 2, 1, 1]);
/// assert_eq!(vis::attribution::magnitude(map).into_data().to_vec::<f32>().unwrap(), [3.0]);
/// ```
///
/// Source: Simonyan et al. 2013, arXiv 1312.6034, section 3.1.
pub fn magnitude(map: Tensor<4>) -> Tensor<4> {
    map.abs().max_dim(1)
}

/// The sum over the channels of a map, `[batch, 1, height, width]`: keeps the sign and the total, for maps
/// whose values are shares of the score, such as integrated gradients.
///
/// ```
/// let map = burn::tensor::Tensor::<1>::from_floats([1.0, -3.0], &Default::default()).reshape([1, 2, 1, 1]);
/// assert_eq!(vis::attribution::channel_sum(map).into_data().to_vec::<f32>().unwrap(), [-2.0]);
/// ```
pub fn channel_sum(map: Tensor<4>) -> Tensor<4> {
    map.sum_dim(1)
}

/// Refuses a gradient that is zero everywhere, or not finite, for one of the images, which are counted from `first`;
/// `reason` says why it is zero.
fn refuse_empty(
    gradient: &Tensor<4>,
    target: &Target,
    first: usize,
    reason: impl FnOnce(usize) -> String,
) -> Result<()> {
    // NaN would be lost in a maximum, and infinity in none.
    let sizes = crate::host::values(gradient.clone().abs().sum_dims(&[1, 2, 3]));
    for (image, size) in sizes.into_iter().enumerate() {
        let what = || format!("{} for image {}", target.describe(image), first + image);
        if !size.is_finite() {
            let what = format!("the gradient of {}", what());
            return Err(Error::NonFinite { what, step: None, best: None });
        }
        if size == 0.0 {
            return Err(Error::ZeroGradient { what: what(), hint: reason(image) });
        }
    }
    Ok(())
}

/// Why a gradient is zero everywhere. Asks for the plain one where a rule may have blocked it.
fn reason(rule: Rule, connected: bool, plain: impl FnOnce() -> Result<Tensor<4>>) -> String {
    let is_not_zero =
        |gradient: Tensor<4>| crate::host::values(gradient).into_iter().any(|value| value != 0.0);
    if !connected {
        return "no operation that has a gradient leads from there to the score".into();
    }
    if rule != Rule::Plain && plain().is_ok_and(is_not_zero) {
        let name = rule.name();
        return format!("the rule {name} lets none of it through, though the plain gradient is not zero");
    }
    DEAD.into()
}

/// Why a plain gradient is zero, though it could be something.
const DEAD: &str =
    "nothing in the image can change it; its unit may be switched off by a rectifier, or saturated";

/// Refuses maps of which a value is NaN or infinite; `what` they are.
pub(crate) fn refuse_non_finite_maps(what: &str, maps: &Tensor<4>) -> Result<()> {
    crate::model::values::refuse_non_finite_image(what, &crate::host::values(maps.clone()), maps.dims())
}

/// The most runs of a network that one map or measure is made of: at 10 ms each they take two days.
const MOST_RUNS: usize = 1 << 24;

/// A number of runs of the network, samples, masks or steps, from `least` on.
pub(crate) fn checked_runs(name: &'static str, least: usize, runs: usize) -> Result<usize> {
    match runs {
        _ if (least..=MOST_RUNS).contains(&runs) => Ok(runs),
        _ => Err(Error::invalid(name, format!("{least} to {MOST_RUNS}"), runs)),
    }
}

pub(crate) fn checked_batch_size(size: usize) -> Result<usize> {
    if size > 0 { Ok(size) } else { Err(Error::invalid("the batch size", "1 or more", size)) }
}
