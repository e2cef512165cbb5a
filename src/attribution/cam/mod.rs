//! Class activation maps: the channels of a layer, weighted by what they do for the target.
//!
//! One engine finds the layer, its activation and what a formula needs of the target; the formulas are one
//! function each.

mod formulas;
mod map;
mod weights;

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::saliency::scores_of;
use super::{Attribution, Baseline, checked_batch_size, reason, refuse_empty, refuse_non_finite_maps};
use crate::gradient::Gradient;
use crate::gradient::modifier::GradientModifier;
use crate::model::{Model, Taps, passes::Compared, run};
use crate::progress::{Progress, SharedWatcher};
use crate::target::Target;
use crate::{Error, Result, Rule};

pub use formulas::Formula;
pub use map::{ClassActivationMap, Interpolation};
use weights::Variations;

/// A class activation map by one of the [`Formula`]s.
///
#[cfg_attr(doc, doc = include_str!("../../figures/cam.md"))]
///
/// The layer is the one [named](Self::penultimate_layer), or else the last before the target whose activation has more
/// than one position (found from recorded shapes, at the cost of one more forward pass), and the result says
/// which it was. Where a transformer reads its score from the class token alone, tokens after the last attention have no
/// part in it, and the layer is the last of tokens that has one, by some more passes.
///
/// As an [`Attribution`] it gives the signed map enlarged to the image, `[batch, 1, height, width]`;
/// [`map`](Self::map) gives it at the layer's own size.
///
/// A map is no finer than its layer: 7×7 places of an image of 224×224, enlarged, look smoother and more
/// certain than they are.
///
/// ```
/// use vis::{Target, attribution::{Cam, Formula}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// for formula in Formula::ALL {
///     let cam = Cam::new(formula).penultimate_layer("conv1").map(&model, image.clone(), &Target::predicted())?;
///     assert_eq!(cam.map.dims(), [1, 1, 8, 8]);
/// }
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cam {
    formula: Formula,
    layer: Option<String>,
    rule: Rule,
    modifier: Option<GradientModifier>,
    baseline: Baseline,
    max_channels: Option<usize>,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

impl Cam {
    /// A map by this formula at the last layer that has more than one position.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&Cam::new(Formula::GradCam))?, map(&Cam::new(Formula::GradCam).penultimate_layer("conv2"))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(formula: Formula) -> Self {
        Self {
            formula,
            layer: None,
            rule: Rule::Plain,
            modifier: None,
            baseline: Baseline::Black,
            max_channels: None,
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the layer by name.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::LayerCam).penultimate_layer("conv1").map(&model, image, &Target::class(2))?;
    /// assert_eq!((cam.layer.as_str(), cam.map.dims()), ("conv1", [1, 1, 8, 8]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "target_layers")]
    pub fn penultimate_layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the backward rule at rectifiers above the layer, for formulas with a gradient.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let guided = |layer| Cam::new(Formula::GradCam).penultimate_layer(layer).rule(vis::Rule::Guided);
    /// assert!(guided("conv1").map(&model, image.clone(), &Target::class(2)).is_ok());
    /// // Between the last convolution and the logits there is no rectifier that could obey.
    /// let refused = guided("conv2").map(&model, image, &Target::class(2));
    /// assert!(matches!(refused, Err(vis::Error::NoRectifier { .. })));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Changes the gradient at the layer before the formula sees it, by the words of keras-vis: with
    /// [`GradientModifier::Negate`] the map shows what speaks *against* the target. For formulas with a gradient.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// use vis::optimizer::GradientModifier;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::HiResCam);
    /// let against = cam.clone().grad_modifier(GradientModifier::Negate);
    /// let map = |cam: Cam| cam.map(&model, image.clone(), &Target::class(2)).map(|cam| cam.map.into_data().to_vec::<f32>().unwrap());
    /// assert!(map(against)?.iter().zip(map(cam)?).all(|(against, speaks_for)| *against == -speaks_for));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn grad_modifier(mut self, modifier: GradientModifier) -> Self {
        self.modifier = Some(modifier);
        self
    }

    /// Sets what Score-CAM's masks leave where they are 0.
    ///
    /// ```
    /// use vis::{Target, attribution::{Baseline, Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let over = |baseline| Cam::new(Formula::ScoreCam).baseline(baseline).map(&model, image.clone(), &Target::class(2));
    /// // Over the image itself no mask hides anything: all channels weigh the same.
    /// let map = over(Baseline::Image(image.clone()))?.map.into_data().to_vec::<f32>().unwrap();
    /// let mean = model.activation(image.clone(), "conv2")?.mean_dim(1).into_data().to_vec::<f32>().unwrap();
    /// assert!(map.iter().zip(mean).all(|(map, mean)| (map - mean).abs() < 1e-5));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Limits Ablation-CAM and Score-CAM to this many channels, 1 or more: those whose activation varies most; the
    /// rest get no weight ("Faster Score-CAM").
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// // One channel has all of the weight.
    /// let cam = Cam::new(Formula::ScoreCam).max_channels(1).map(&model, image.clone(), &Target::class(2))?;
    /// let map = cam.map.into_data().to_vec::<f32>().unwrap();
    /// let channels = model.activation(image, "conv2")?.into_data().to_vec::<f32>().unwrap();
    /// assert!(channels.chunks(16).any(|channel| channel == map));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = Some(channels);
        self
    }

    /// Sets how many variations Ablation-CAM and Score-CAM run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let cam = |size| Cam::new(Formula::AblationCam).batch_size(size);
    /// let (one, many) = (map(&cam(1))?, map(&cam(6))?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch_size(mut self, variations: usize) -> Self {
        self.batch_size = variations;
        self
    }

    /// Calls `progress` after each batch of channels of Ablation-CAM and Score-CAM, counted over all images. When
    /// it returns [`ControlFlow::Break`], the map is that of the channels run so far: with as many
    /// [at most](Self::max_channels).
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = || Cam::new(Formula::AblationCam).batch_size(2);
    /// let ended = cam().progress(|_| ControlFlow::Break(()));
    /// let ended = ended.map(&model, image.clone(), &Target::class(2))?.map;
    /// let of_two = cam().max_channels(2).map(&model, image, &Target::class(2))?.map;
    /// assert_eq!(ended.into_data().to_vec::<f32>().unwrap(), of_two.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.watched(SharedWatcher::new(progress))
    }

    /// The same with a watcher that others share.
    pub(crate) fn watched(mut self, progress: SharedWatcher<'static>) -> Self {
        self.progress = progress;
        self
    }

    /// The signed map of each image at the layer's own size, with the layer's name.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::GradCam).map(&model, image, &Target::class(2))?;
    /// assert_eq!((cam.layer.as_str(), cam.map.dims()), ("conv2", [1, 1, 4, 4]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Attribution::attribute`]; [`Error::NoSpatialLayer`] when no layer was named and none has more than
    /// one position; [`Error::InvalidParameter`] when the layer named has a single position or comes after the
    /// target, when none is named and the targets of the images would choose different ones, and when a rule or a
    /// modifier is set for a formula that takes no gradient; [`Error::NoRectifier`] when a special rule met no
    /// rectifier between the layer and the target.
    pub fn map(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<ClassActivationMap> {
        self.check()?;
        let images = images.inner();
        let [_, _, height, width] = images.dims();
        let target = target.resolved(model, &images)?;
        let (map, layer) = if self.formula.uses_gradient() {
            self.by_gradient(model, images.clone(), &target)?
        } else {
            let layer = match &self.layer {
                Some(layer) => layer.clone(),
                None => choose_layer(model, &images, &target)?,
            };
            let map = match self.formula {
                Formula::EigenCam => by_components(model, images.clone(), &layer)?,
                _ => self.by_variations(model, images.clone(), &target, &layer)?,
            };
            (map, layer)
        };
        if let Err(error) = refuse_non_finite_maps("the map of image", &map) {
            // Rather than the map, name what it was made of.
            refuse_non_finite_activation(&layer, &model.activation(images, &layer)?)?;
            return Err(error);
        }
        Ok(ClassActivationMap::new(map, layer, [height, width]))
    }

    /// Refuses settings that make no sense, or that the formula would ignore.
    fn check(&self) -> Result<()> {
        checked_batch_size(self.batch_size)?;
        if self.max_channels == Some(0) {
            return Err(Error::invalid("the most channels", "1 or more", 0));
        }
        if self.formula.uses_gradient() {
            return Ok(());
        }
        let without = |what| format!("{what} for {}, which takes no gradient", self.formula);
        match self.modifier {
            _ if self.rule != Rule::Plain => {
                Err(Error::invalid("the rule", without("plain"), self.rule.name()))
            }
            Some(modifier) => {
                Err(Error::invalid("the gradient modifier", without("none"), format!("{modifier:?}")))
            }
            None => Ok(()),
        }
    }

    fn by_gradient(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        target: &Target,
    ) -> Result<(Tensor<4>, String)> {
        let score = target.goal()?.into();
        let first = images.clone().narrow(0, 0, 1);
        let primitive = Gradient::new(model, &score).rule(self.rule);
        let primitive = match &self.layer {
            Some(layer) => primitive.at_layer(layer),
            None => primitive.at_last_map(),
        };
        let at_layer = primitive.evaluate(images.clone())?;
        scores_of(&at_layer.losses, target)?;
        let (activation, gradient) = (at_layer.value, at_layer.gradient);
        let layer = at_layer.layer.unwrap_or_default();
        check_positions(&layer, &activation)?;
        let plain = |image| {
            let score = target.repeated(image, 1).goal()?.into();
            let primitive = Gradient::new(model, &score).compared(true).at_layer(&layer);
            Ok(primitive.evaluate(images.clone().narrow(0, image, 1))?.gradient)
        };
        let why = |image| reason(self.rule, at_layer.connected, || plain(image));
        if let Err(error) = refuse_empty(&gradient, target, 0, why) {
            // Is it a dead unit, or a layer that comes after the target's?
            let mut taps = Taps::new().record(target.goal()?.layer_names()).record([&layer]);
            run(model, first, &mut taps)?;
            check_order(&layer, taps.seen(), target)?;
            return Err(error);
        }
        let gradient = match self.modifier {
            Some(modifier) => modifier.apply(gradient),
            None => gradient,
        };
        let map = match self.formula {
            Formula::GradCamPlusPlus => formulas::grad_cam_plus_plus(activation, gradient),
            Formula::HiResCam => formulas::hires_cam(activation, gradient),
            Formula::XGradCam => formulas::xgrad_cam(activation, gradient),
            Formula::LayerCam => formulas::layer_cam(activation, gradient),
            _ => formulas::grad_cam(activation, gradient),
        };
        Ok((map, layer))
    }

    /// The maps by a formula that runs variations of each image.
    fn by_variations(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        target: &Target,
        layer: &str,
    ) -> Result<Tensor<4>> {
        let most = self.max_channels.unwrap_or(usize::MAX);
        let baselines = match self.formula {
            Formula::ScoreCam => Some(self.baseline.of(model, &images)?),
            _ => None,
        };
        let [batch, ..] = images.dims();
        let mut variations = Vec::with_capacity(batch);
        let compared = Compared(model);
        for index in 0..batch {
            let model = if index == 0 { model } else { &compared };
            let image = images.clone().narrow(0, index, 1);
            let one = target.repeated(index, 1);
            let goal = one.goal()?;
            let mut taps = Taps::new().record(goal.layer_names()).record([layer]);
            run(model, image.clone(), &mut taps)?;
            check_order(layer, taps.seen(), &one)?;
            let activation = taps.activation(layer)?;
            check_positions(layer, &activation)?;
            let image = (index, image, one);
            variations.push(match &baselines {
                Some(baselines) => {
                    let baseline = baselines.clone().narrow(0, index, 1);
                    Variations::by_masking(model, layer, image, activation, baseline, most)?
                }
                None => {
                    let score = crate::host::values(goal.read(&taps.into_recorded())?)[0];
                    Variations::by_ablation(model, layer, image, activation, score, most)?
                }
            });
        }
        // A few of each image at a time, so that a run that is ended early has as many of each.
        let total = variations.iter().map(Variations::len).sum();
        let mut done = 0;
        while done < total {
            for variations in &mut variations {
                done += variations.run(self.batch_size)?;
            }
            if self.progress.report("channels", done, total).is_break() {
                break;
            }
        }
        Ok(Tensor::cat(variations.into_iter().map(Variations::map).collect(), 0))
    }
}

/// The maps by the first principal component of the activation.
fn by_components(model: &dyn Model, images: Tensor<4>, layer: &str) -> Result<Tensor<4>> {
    let activation = model.activation(images, layer)?;
    check_positions(layer, &activation)?;
    refuse_non_finite_activation(layer, &activation)?;
    let one = |image| formulas::eigen_cam(activation.clone().narrow(0, image, 1));
    Ok(Tensor::cat((0..activation.dims()[0]).map(one).collect(), 0))
}

fn refuse_non_finite_activation(layer: &str, activation: &Tensor<4>) -> Result<()> {
    let sizes = crate::host::values(activation.clone().abs().sum_dims(&[1, 2, 3]));
    match sizes.iter().position(|size| !size.is_finite()) {
        None => Ok(()),
        Some(image) => {
            let what = format!("the activation of `{layer}` for image {image}");
            Err(Error::NonFinite { what, step: None, best: None })
        }
    }
}

impl Default for Cam {
    fn default() -> Self {
        Self::new(Formula::GradCam)
    }
}

impl Attribution for Cam {
    fn name(&self) -> String {
        self.formula.name().into()
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        Ok(self.map(model, images, target)?.upsampled())
    }
}

/// The last layer before the target whose activation has more than one position; the same for every image's target.
fn choose_layer(model: &dyn Model, images: &Tensor<4>, target: &Target) -> Result<String> {
    let first = images.clone().narrow(0, 0, 1);
    let mut taps = Taps::new().open_last_map(target.goal()?.layer_names());
    run(model, first.clone(), &mut taps)?;
    let (layer, _) = taps.last_map()?;
    if taps.token_maps().iter().any(|(name, _)| *name == layer) {
        // Tokens after the last attention may play no part in the score; the gradient tells.
        let score = target.repeated(0, 1).goal()?.into();
        let at = Gradient::new(model, &score).at_last_map().evaluate(first)?;
        return Ok(at.layer.unwrap_or(layer));
    }
    Ok(layer)
}

fn check_positions(layer: &str, activation: &Tensor<4>) -> Result<()> {
    let [_, _, height, width] = activation.dims();
    if height * width > 1 {
        return Ok(());
    }
    let got = format!("`{layer}`, which has one");
    Err(Error::invalid("the layer of a class activation map", "one with more than one position", got))
}

/// Refuses a layer that was met after a layer of the target.
fn check_order(layer: &str, seen: &[String], target: &Target) -> Result<()> {
    let place = |name: &str| seen.iter().position(|seen| seen == name);
    let late = target.goal()?.layer_names().into_iter().find(|name| place(name) < place(layer));
    match late {
        None => Ok(()),
        Some(name) => {
            let expected = format!("one before the target's, `{name}`");
            Err(Error::invalid("the layer of a class activation map", expected, format!("`{layer}`")))
        }
    }
}
