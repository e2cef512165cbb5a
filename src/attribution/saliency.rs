//! The gradient itself.

use burn::tensor::Tensor;

use super::{Attribution, reason, refuse_empty, refuse_non_finite};
use crate::gradient::{Evaluation, Gradient, LossValues};
use crate::model::{Model, passes::Compared};
use crate::target::Target;
use crate::{Result, Rule};

/// The gradient of the target's score with respect to the image: which pixels, brightened a little, would
/// raise it.
///
#[cfg_attr(doc, doc = include_str!("../figures/saliency.md"))]
///
/// ```text
/// plain:         M = ∂S/∂x            times input:  M = x · ∂S/∂x
/// ```
///
/// The map is `[batch, channels, height, width]`, signed, in units of score per unit of pixel (times input:
/// of score). With a [`Rule`] other than plain the gradient passes rectifiers by that rule: guided
/// backpropagation, or the deconvolution network.
///
/// Costs one forward and one backward pass. For a picture take the largest magnitude over the channels,
/// [`magnitude`](super::magnitude).
///
/// It misleads where the score is saturated (a gradient near 0 says nothing about importance), and it is
/// noisy in deep networks ([`SmoothGrad`](super::SmoothGrad)). Guided backpropagation and deconvolution are
/// sharp because they partly reconstruct the image's edges, whatever the class (Adebayo et al. 2018; Nie et
/// al. 2018); check with [`RandomizationCheck`](crate::metrics::RandomizationCheck).
///
/// ```
/// use vis::{Target, attribution::{Attribution, Saliency}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let map = Saliency::new().attribute(&model, image.clone(), &Target::class(2))?;
/// let guided = Saliency::guided().attribute(&model, image, &Target::class(2))?;
/// assert_eq!(map.dims(), guided.dims());
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Sources: Simonyan et al. 2013, arXiv 1312.6034, section 3; Springenberg et al. 2014, arXiv 1412.6806,
/// section 3.4; Zeiler & Fergus 2013, arXiv 1311.2901, section 2.1; Shrikumar et al. 2016, arXiv 1605.01713
/// (times input).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[doc(alias = "vanilla gradient")]
pub struct Saliency {
    rule: Rule,
    times_input: bool,
}

impl Saliency {
    /// The plain gradient.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&Saliency::new())?, map(&Saliency::new().rule(vis::Rule::Plain))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Guided backpropagation.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&Saliency::guided())?, map(&Saliency::new().rule(vis::Rule::Guided))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn guided() -> Self {
        Self::new().rule(Rule::Guided)
    }

    /// The deconvolution network.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&Saliency::deconvolution())?, map(&Saliency::new().rule(vis::Rule::Deconvolution))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "deconvnet")]
    pub fn deconvolution() -> Self {
        Self::new().rule(Rule::Deconvolution)
    }

    /// Sets the backward rule at rectifiers.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(map(&Saliency::new().rule(vis::Rule::Guided))?, map(&Saliency::new())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Multiplies the gradient by the image: the first-order estimate of what each pixel adds to the score,
    /// as against 0.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let (product, gradient) = (map(&Saliency::new().times_input())?, map(&Saliency::new())?);
    /// let pixels = image.into_data().to_vec::<f32>().unwrap();
    /// assert!((0..pixels.len()).all(|pixel| product[pixel] == gradient[pixel] * pixels[pixel]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn times_input(mut self) -> Self {
        self.times_input = true;
        self
    }
}

impl Attribution for Saliency {
    fn name(&self) -> String {
        let name = match self.rule {
            Rule::Plain => "gradient",
            Rule::Guided => "guided backprop",
            Rule::Deconvolution => "deconvolution",
            Rule::Redirected => "redirected gradient",
        };
        if self.times_input { format!("{name} × input") } else { name.into() }
    }

    /// # Errors
    ///
    /// As [`Attribution::attribute`]; [`Error::NoRectifier`](crate::Error::NoRectifier) when a special rule
    /// met no rectifier.
    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        let target = target.resolved(model, &images)?;
        let at = score_gradient(model, images.clone(), &target, self.rule)?;
        scores_of(&at.losses, &target)?;
        let gradient = at.gradient;
        let plain = |image| {
            let (images, target) = (images.clone().narrow(0, image, 1), target.repeated(image, 1));
            Ok(score_gradient(&Compared(model), images, &target, Rule::Plain)?.gradient)
        };
        refuse_empty(&gradient, &target, 0, |image| reason(self.rule, at.connected, || plain(image)))?;
        Ok(if self.times_input { gradient * images.inner() } else { gradient })
    }
}

/// The score of a resolved target and its gradient with respect to the images.
pub(super) fn score_gradient(
    model: &dyn Model,
    images: Tensor<4>,
    target: &Target,
    rule: Rule,
) -> Result<Evaluation> {
    let score = target.goal()?.into();
    Gradient::new(model, &score).rule(rule).evaluate(images)
}

/// Refuses the scores at which a gradient was taken if they are not finite.
pub(super) fn scores_of(losses: &LossValues, target: &Target) -> Result<()> {
    let scores = losses.totals();
    scores.iter().enumerate().try_for_each(|(image, score)| refuse_non_finite(&[*score], target, image))
}
