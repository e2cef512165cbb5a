//! Class activation maps: the channels of a layer, weighted by what they do for the target.
//!
//! One engine finds the layer, its activation and what a formula needs of the target; the formulas are one
//! function each.

mod formulas;
mod weights;

use std::fmt;
use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::progress::Progress;
use super::{Attribution, Baseline, Target, checked_batch_size, refuse_empty};
use crate::gradient::Gradient;
use crate::model::{Model, Taps, run};
use crate::optimizer::GradientModifier;
use crate::{Error, Result, Rule, transforms};

use weights::Variations;

/// How a class activation map follows from the activation `A` of a layer and the gradient `G = ∂S/∂A` of the
/// target's score there.
///
/// `k` counts channels and `p` the `P` positions. All maps are given before the rectification that most
/// papers end with.
///
/// | formula | map at position `p` | costs |
/// | --- | --- | --- |
/// | Grad-CAM | `Σ_k mean_p(G_k) · A_k(p)` | 1 backward pass |
/// | Grad-CAM++ | `Σ_k [ Σ_q α_k(q) · max(G_k(q), 0) ] · A_k(p)` with `α = G² / (2 G² + G³ Σ_q A(q))` | 1 backward pass |
/// | HiResCAM | `Σ_k G_k(p) · A_k(p)` | 1 backward pass |
/// | XGradCAM | `Σ_k [ Σ_q G_k(q) A_k(q) / Σ_q A_k(q) ] · A_k(p)` | 1 backward pass |
/// | LayerCAM | `Σ_k max(G_k(p), 0) · A_k(p)` | 1 backward pass |
/// | EigenCAM | the first principal component of `A` over its positions | 1 forward pass |
/// | Ablation-CAM | `Σ_k (S − S_k) / ∣S∣ · A_k(p)`, `S_k` the score with channel `k` set to 0 | a forward pass a channel, from the layer on |
/// | Score-CAM | `Σ_k softmax_k( S(x masked by A_k) ) · A_k(p)` | a forward pass a channel, all of it |
///
/// Where libraries differ, this one does as the paper and as pytorch-grad-cam does:
///
/// - **Grad-CAM++** sums `A` over positions (xplique takes the mean; tf-keras-vis renormalises `α`). As in
///   pytorch-grad-cam 1e-6 is added to the denominator: gradients much below 0.001 are damped. The formula
///   is made for activations that are not negative.
/// - **XGradCAM** divides by the plain sum of `A`; a channel whose sum is 0 gets no weight.
/// - **EigenCAM** takes `A` with each channel's mean removed, as pytorch-grad-cam; the component's sign, which
///   is arbitrary there, is chosen so that the map grows with the mean over the channels. It knows no target.
/// - **Ablation-CAM** divides by the score's *magnitude*: with a negative score the paper's quotient would turn
///   the map upside down.
/// - **Score-CAM** takes the softmax over the *channels* (tf-keras-vis takes it over classes), of the target's
///   scores; subtracting the score of the baseline, as the paper does, changes no softmax. Masks are enlarged
///   bilinearly and brought to 0..1 each; what is masked becomes black, or the [`Baseline`] given.
///
/// In a network that ends in global average pooling and one dense layer, at the pooled layer, Grad-CAM,
/// HiResCAM and XGradCAM are the same map, and its sum over positions is the logit minus its bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Formula {
    /// Selvaraju et al. 2016, arXiv 1610.02391, equations 1 and 2. Blurs evidence over places the score did
    /// not use, where the gradient varies within a channel.
    #[default]
    #[doc(alias = "grad-cam")]
    GradCam,
    /// Chattopadhyay et al. 2017, arXiv 1710.11063, equations 7 and 19. Meant for several objects of a class.
    GradCamPlusPlus,
    /// Draelos & Carin 2020, arXiv 2011.08891, equation 5. Credits exactly the places that the score used, as
    /// far as the gradient knows.
    HiResCam,
    /// Fu et al. 2020, arXiv 2008.02312, equation 8.
    XGradCam,
    /// Jiang et al. 2021, *LayerCAM*, equations 5 to 7. Works at shallow layers too.
    LayerCam,
    /// Muhammad & Yeasin 2020, arXiv 2008.00299, section III. What the layer responds to most, whatever the class.
    EigenCam,
    /// Desai & Ramaswamy 2020, *Ablation-CAM*, equations 3 and 4. No gradient, so no saturation.
    AblationCam,
    /// Wang et al. 2019, arXiv 1910.01279, equations 3 to 6. No gradient; depends on how the network takes to
    /// darkened images.
    ScoreCam,
}

impl Formula {
    /// Every formula.
    pub const ALL: [Self; 8] = [
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::HiResCam,
        Self::XGradCam,
        Self::LayerCam,
        Self::EigenCam,
        Self::AblationCam,
        Self::ScoreCam,
    ];

    /// The name as its paper writes it.
    ///
    /// ```
    /// assert_eq!(vis::attribution::Formula::GradCamPlusPlus.name(), "Grad-CAM++");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "Grad-CAM",
            Self::GradCamPlusPlus => "Grad-CAM++",
            Self::HiResCam => "HiResCAM",
            Self::XGradCam => "XGradCAM",
            Self::LayerCam => "LayerCAM",
            Self::EigenCam => "EigenCAM",
            Self::AblationCam => "Ablation-CAM",
            Self::ScoreCam => "Score-CAM",
        }
    }

    fn uses_gradient(self) -> bool {
        !matches!(self, Self::EigenCam | Self::AblationCam | Self::ScoreCam)
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A class activation map by one of the [`Formula`]s.
///
/// The layer is the one [named](Self::layer), or else the last before the target whose activation has more
/// than one position (found from recorded shapes, at the cost of one more forward pass), and the result says
/// which it was.
///
/// As an [`Attribution`] it gives the signed map enlarged to the image, `[batch, 1, height, width]`;
/// [`map`](Self::map) gives it at the layer's own size.
///
/// A map is no finer than its layer: 7×7 places of an image of 224×224, enlarged, look smoother and more
/// certain than they are.
///
/// ```
/// use vis::attribution::{Cam, Formula, Target};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// for formula in Formula::ALL {
///     let cam = Cam::new(formula).layer("conv1").map(&model, image.clone(), &Target::predicted())?;
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
    progress: Progress,
}

impl Cam {
    /// A map by this formula at the last layer that has more than one position.
    pub fn new(formula: Formula) -> Self {
        Self {
            formula,
            layer: None,
            rule: Rule::Plain,
            modifier: None,
            baseline: Baseline::Black,
            max_channels: None,
            batch_size: 16,
            progress: Progress::default(),
        }
    }

    /// Sets the layer by name.
    #[doc(alias = "penultimate_layer")]
    #[doc(alias = "target_layers")]
    pub fn layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the backward rule at rectifiers above the layer, for formulas with a gradient.
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Changes the gradient at the layer before the formula sees it, by the words of keras-vis: with
    /// [`GradientModifier::Negate`] the map shows what speaks *against* the target. For formulas with a gradient.
    #[doc(alias = "grad_modifier")]
    pub fn gradient_modifier(mut self, modifier: GradientModifier) -> Self {
        self.modifier = Some(modifier);
        self
    }

    /// Sets what Score-CAM's masks leave where they are 0.
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Runs Ablation-CAM and Score-CAM only for so many channels, 1 or more, those whose activation varies most; the
    /// rest get no weight ("Faster Score-CAM").
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = Some(channels);
        self
    }

    /// Sets how many variations Ablation-CAM and Score-CAM run at once: bounds memory, changes no result.
    pub fn batch_size(mut self, variations: usize) -> Self {
        self.batch_size = variations;
        self
    }

    /// Tells `progress(done, total)` of the variations that Ablation-CAM and Score-CAM have run, of all images. When
    /// it returns [`ControlFlow::Break`], the map is that of the channels run so far: with as many
    /// [at most](Self::max_channels).
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::attribution::{Cam, Formula, Target};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = || Cam::new(Formula::AblationCam).batch_size(2);
    /// let ended = cam().progress(|_, _| ControlFlow::Break(()));
    /// let ended = ended.map(&model, image.clone(), &Target::class(2))?.map;
    /// let of_two = cam().max_channels(2).map(&model, image, &Target::class(2))?.map;
    /// assert_eq!(vis::host::values(ended), vis::host::values(of_two));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(
        mut self,
        progress: impl FnMut(usize, usize) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.progress = Progress::new(progress);
        self
    }

    /// The signed map of each image at the layer's own size, with the layer's name.
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
        let layer = match &self.layer {
            Some(layer) => layer.clone(),
            None => choose_layer(model, &images, &target)?,
        };
        let map = match self.formula {
            Formula::EigenCam => by_components(model, images, &layer)?,
            Formula::AblationCam | Formula::ScoreCam => self.by_variations(model, images, &target, &layer)?,
            _ => self.by_gradient(model, images, &target, &layer)?,
        };
        Ok(ClassActivationMap { map, layer, size: [height, width] })
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
        layer: &str,
    ) -> Result<Tensor<4>> {
        let score = target.goal()?.into();
        let first = images.clone().narrow(0, 0, 1);
        let at_layer = Gradient::new(model, &score).at_layer(layer).rule(self.rule).evaluate(images)?;
        let (activation, gradient) = (at_layer.value, at_layer.gradient);
        check_positions(layer, &activation)?;
        if let Err(error) = refuse_empty(&gradient, target, 0) {
            // Is it a dead unit, or a layer that the target does not depend on?
            let mut taps = Taps::new().record(target.goal()?.layer_names()).record([layer]);
            run(model, first, &mut taps)?;
            check_order(layer, taps.seen(), target)?;
            return Err(error);
        }
        let gradient = match self.modifier {
            Some(modifier) => modifier.apply(gradient),
            None => gradient,
        };
        Ok(match self.formula {
            Formula::GradCamPlusPlus => formulas::grad_cam_plus_plus(activation, gradient),
            Formula::HiResCam => formulas::hires_cam(activation, gradient),
            Formula::XGradCam => formulas::xgrad_cam(activation, gradient),
            Formula::LayerCam => formulas::layer_cam(activation, gradient),
            _ => formulas::grad_cam(activation, gradient),
        })
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
        for index in 0..batch {
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
            if self.progress.report(done, total).is_break() {
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
    let sizes = crate::host::values(activation.clone().abs().sum_dims(&[1, 2, 3]));
    if let Some(image) = sizes.iter().position(|size| !size.is_finite()) {
        let what = format!("the activation of `{layer}` for image {image}");
        return Err(Error::NonFinite { what, step: 0, best: None });
    }
    let one = |image| formulas::eigen_cam(activation.clone().narrow(0, image, 1));
    Ok(Tensor::cat((0..sizes.len()).map(one).collect(), 0))
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

/// A class activation map at the size of its layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClassActivationMap {
    /// The map of each image, `[batch, 1, height, width]` of the layer; signed unless
    /// [rectified](Self::rectified).
    pub map: Tensor<4>,
    /// The layer it was taken at.
    pub layer: String,
    size: [usize; 2],
}

/// How a small map is enlarged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// Bilinear between the centres of the places.
    #[default]
    Bilinear,
    /// Every pixel takes the value of its place: shows how coarse the map is.
    Nearest,
}

impl ClassActivationMap {
    /// The map with its negative values set to 0, as most papers define it: only what speaks for the target.
    pub fn rectified(&self) -> Self {
        Self { map: activation::relu(self.map.clone()), ..self.clone() }
    }

    /// The map enlarged to the size of the image, bilinearly, `[batch, 1, height, width]`.
    pub fn upsampled(&self) -> Tensor<4> {
        self.resized(Interpolation::Bilinear)
    }

    /// The map enlarged to the size of the image.
    ///
    /// ```
    /// use vis::attribution::{Cam, Formula, Interpolation, Target};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::HiResCam).map(&model, image, &Target::class(2))?;
    /// assert_eq!(cam.resized(Interpolation::Nearest).dims(), [1, 1, 8, 8]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn resized(&self, interpolation: Interpolation) -> Tensor<4> {
        let [height, width] = self.size;
        match interpolation {
            Interpolation::Bilinear => transforms::resize(self.map.clone(), height, width),
            Interpolation::Nearest => {
                let [_, _, from_height, from_width] = self.map.dims();
                let places = |from: usize, to: usize| {
                    let places: Vec<i64> = (0..to).map(|index| (index * from / to) as i64).collect();
                    Tensor::<1, Int>::from_data(TensorData::new(places, [to]), &self.map.device())
                };
                let rows = self.map.clone().select(2, places(from_height, height));
                rows.select(3, places(from_width, width))
            }
        }
    }
}

/// The last layer before the target whose activation has more than one position; the same for every image's target.
fn choose_layer(model: &dyn Model, images: &Tensor<4>, target: &Target) -> Result<String> {
    let mut taps = Taps::new().table();
    run(model, images.clone().narrow(0, 0, 1), &mut taps)?;
    let table = taps.into_table();
    let mut chosen: Option<(String, String)> = None;
    for name in target.goal()?.layer_names() {
        let unknown = || Error::unknown_layer(&name, table.iter().map(|row| row.name.clone()).collect());
        let end = table.iter().position(|row| row.name == name).ok_or_else(unknown)?;
        let spatial = table[..end].iter().rev().find(|row| row.shape[1] * row.shape[2] > 1);
        let layer = spatial.ok_or_else(|| Error::NoSpatialLayer { target: name.clone() })?.name.clone();
        match &chosen {
            None => chosen = Some((name, layer)),
            Some((_, other)) if *other == layer => {}
            Some((before, other)) => {
                let expected = "named, where the targets of the images choose different ones";
                let got = format!("left open: `{other}` comes before `{before}`, `{layer}` before `{name}`");
                return Err(Error::invalid("the layer of a class activation map", expected, got));
            }
        }
    }
    chosen.map(|(_, layer)| layer).ok_or_else(|| Error::invalid("the target", "at least one", 0))
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
