//! The one primitive: values of losses, and their gradient with respect to the image or to a layer.
//!
//! Everything else in this crate calls [`Gradient`], and nothing else touches automatic differentiation.

pub(crate) mod modifier;
pub(crate) mod tiles;

use burn::tensor::Tensor;
use ndarray::{Array1, Array2};

use crate::losses::{Losses, Scene};
use crate::model::{Model, Taps, passes, run};
use crate::{Error, Result, Rule};

/// The gradient of a weighted sum of losses, per image of the batch, with respect to the image or to the
/// activation of a layer, under a backward [`Rule`].
///
/// The weights of the network are constants: their gradients are never computed. Nothing deeper than the
/// deepest layer that a loss names is computed either.
///
/// The network must be the same with a gradient as without. Unless it [says so](Model::is_frozen), an evaluation first
/// compares the layers that the losses name with those of a plain pass, and the result is
/// [`Error::Training`] where they differ. The runs of this crate compare at their first
/// evaluation only.
///
/// ```
/// use vis::gradient::Gradient;
/// use vis::losses::ActivationMaximization;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = model.input().zeros(&model.device());
/// let losses = ActivationMaximization::new("conv2", 3).into();
/// let at_image = Gradient::new(&model, &losses).evaluate(image.clone())?;
/// assert_eq!(at_image.gradient.dims(), image.dims());
///
/// let at_layer = Gradient::new(&model, &losses).at_layer("conv1").evaluate(image)?;
/// assert_eq!(at_layer.gradient.dims(), at_layer.value.dims());
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gradient<'a, M: Model + ?Sized> {
    model: &'a M,
    losses: &'a Losses,
    rule: Rule,
    descending: bool,
    at: At,
    /// Whether the gradient pass was compared with a plain one before, or needs not be.
    compared: bool,
    in_two_stages: bool,
}

/// What the gradient is with respect to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Image,
    Layer(String),
    /// The last layer with more than one position before those that the losses name.
    LastMap,
}

/// The values of the losses and the gradient at one point.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Evaluation {
    /// The weighted values.
    pub losses: LossValues,
    /// The gradient of the total with respect to [`value`](Self::value), of the same shape; each image's
    /// gradient is that of its own total. Zeros where no loss depends on it.
    pub gradient: Tensor<4>,
    /// What the gradient is with respect to: the image, the layer's activation, or the variable that an
    /// image was decoded from.
    pub value: Tensor<4>,
    /// The image, before any transform.
    pub image: Tensor<4>,
    /// The gradient with respect to the image, where the run asked for it.
    pub(crate) at_image: Option<Tensor<4>>,
    /// The name of the layer that the gradient is with respect to, if it is one.
    pub layer: Option<String>,
    /// Whether operations that have a gradient lead from [`value`](Self::value) to the losses at all. Where they do and
    /// the gradient is zero, something on the way blocks it: a rectifier, or a backward rule.
    pub connected: bool,
    /// The layers of tokens that were met, with their channels.
    token_maps: Vec<(String, usize)>,
}

/// The weighted values of a list of losses for each image of a batch.
#[derive(Debug, Clone)]
pub struct LossValues {
    names: Vec<String>,
    weighted: Tensor<2>,
}

impl<'a, M: Model + ?Sized> Gradient<'a, M> {
    /// The gradient of these losses with respect to the image.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::ActivationMaximization, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = ActivationMaximization::new("conv2", 3).into();
    /// let at = Gradient::new(&model, &losses).evaluate(image.clone())?;
    /// assert_eq!(at.layer, None); // with respect to the image itself:
    /// assert_eq!(at.value.into_data().to_vec::<f32>().unwrap(), image.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(model: &'a M, losses: &'a Losses) -> Self {
        let compared = model.is_frozen();
        Self {
            model,
            losses,
            rule: Rule::Plain,
            descending: false,
            at: At::Image,
            compared,
            in_two_stages: false,
        }
    }

    /// Sets the backward rule at rectifiers.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::ActivationMaximization, Model, Rule};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(ActivationMaximization::new("logits", 3), -1.0)]; // the score itself
    /// let by = |rule| Gradient::new(&model, &losses).rule(rule).evaluate(image.clone()).map(|at| at.gradient);
    /// let difference = by(Rule::Guided)? - by(Rule::Plain)?;
    /// assert!(difference.abs().max().into_scalar::<f32>() > 0.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Lets the rule take what lowers the losses for evidence, instead of what raises them: guided backprop and
    /// deconvolution then pass the negative cotangents. For losses that are minus a score; plain makes no difference.
    pub(crate) fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Takes the gradient with respect to a layer's activation instead of the image.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::ActivationMaximization, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = ActivationMaximization::new("logits", 3).into();
    /// let at = Gradient::new(&model, &losses).at_layer("conv2").evaluate(image)?;
    /// // The score is a weighted sum of this layer, and the gradient is the weights.
    /// let sum = (at.gradient * at.value).sum().into_scalar::<f32>();
    /// assert!((sum - at.losses.totals()[0]).abs() < 1e-4);
    /// assert_eq!(at.layer.as_deref(), Some("conv2"));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "wrt_tensor")]
    pub fn at_layer(mut self, layer: impl Into<String>) -> Self {
        self.at = At::Layer(layer.into());
        self
    }

    /// Takes for granted that the network is the same in both passes, if an evaluation before has shown it.
    pub(crate) fn compared(mut self, before: bool) -> Self {
        self.compared |= before;
        self
    }

    /// Takes the gradient with respect to the last layer with more than one position before those that the losses name.
    pub(crate) fn at_last_map(mut self) -> Self {
        self.at = At::LastMap;
        self
    }

    /// The values and the gradient at a batch of images, `[batch, channels, height, width]`.
    ///
    /// Costs one forward and one backward pass, as deep as the deepest layer named.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::ActivationMaximization, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = ActivationMaximization::new("conv2", 3).into();
    /// let primitive = Gradient::new(&model, &losses);
    /// let at = primitive.evaluate(image.clone())?;
    /// let lower = primitive.values(image - at.gradient)?; // a step against the gradient
    /// assert!(lower.totals()[0] < at.losses.totals()[0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], [`Error::Shape`] for an
    /// image the model can't take, [`Error::NoRectifier`] when a special rule
    /// met no rectifier, [`Error::Training`] for a network that computes something else when a
    /// gradient is taken, [`Error::UnusedLayer`] for a layer on which what comes after it does
    /// not depend, and whatever a loss finds.
    pub fn evaluate(&self, image: Tensor<4>) -> Result<Evaluation> {
        let at = self.evaluate_through(image.clone(), |image| image, |image| image)?;
        if self.at == At::LastMap { self.before_last_attention(image, at) } else { Ok(at) }
    }

    /// The gradient at the last layer of tokens that has any, if that at the last of all is zero: a transformer may read
    /// its score from the class token alone, and then the other tokens have no part in it after the last attention.
    ///
    /// Looked for among the layers of as many channels, which are what flows from block to block and its norms.
    fn before_last_attention(&self, image: Tensor<4>, at: Evaluation) -> Result<Evaluation> {
        let is_zero = |at: &Evaluation| at.gradient.clone().abs().max().into_scalar::<f32>() == 0.0;
        let place = at.token_maps.iter().position(|(name, _)| Some(name) == at.layer.as_ref());
        let Some(place) = place.filter(|_| is_zero(&at)) else { return Ok(at) };
        let channels = at.token_maps[place].1;
        let before = at.token_maps[..place].iter().filter(|(_, of_layer)| *of_layer == channels);
        let before: Vec<&String> = before.map(|(name, _)| name).collect();
        // What comes before a layer with a gradient has one as well.
        let (mut low, mut high) = (0, before.len());
        let mut found = None;
        while low < high {
            let middle = (low + high) / 2;
            let primitive = Gradient { at: At::Layer(before[middle].clone()), compared: true, ..*self };
            let there = primitive.evaluate_through(image.clone(), |image| image, |image| image)?;
            if is_zero(&there) {
                high = middle;
            } else {
                low = middle + 1;
                found = Some(there);
            }
        }
        Ok(found.unwrap_or(at))
    }

    /// The values of the losses, and for each of some layers its activation and the gradient of the total with respect to
    /// it, of one forward and one backward pass. Unlike [`at_layer`](Self::at_layer), no layer cuts off what lies below it.
    pub(crate) fn evaluate_each(
        &self,
        image: Tensor<4>,
        layers: &[String],
    ) -> Result<(LossValues, Vec<(Tensor<4>, Tensor<4>)>)> {
        self.losses.check()?;
        let image = image.inner().autodiff();
        let mut taps = Taps::new().rule(self.rule).record(self.losses.layers()).watch(layers);
        self.run(image.clone(), &mut taps)?;
        let at = layers.iter().map(|layer| Ok((taps.activation(layer)?.inner(), taps.opened(layer)?)));
        let at = at.collect::<Result<Vec<_>>>()?;
        let terms = self.losses.build(&Scene::new(image, taps.into_recorded()))?;
        let weighted = Tensor::<1>::stack::<2>(terms, 0);
        let total = weighted.clone().sum();
        let mut gradients = total.is_tracked().then(|| total.backward());
        let with_gradient = |(value, leaf): (Tensor<4>, Tensor<4>)| {
            let gradient = gradients.as_mut().and_then(|gradients| leaf.grad_remove(gradients));
            let gradient = gradient.map_or_else(|| value.zeros_like(), Tensor::inner);
            (value, gradient)
        };
        let at = at.into_iter().map(with_gradient).collect();
        Ok((LossValues { names: self.losses.names(), weighted: weighted.inner() }, at))
    }

    /// Takes the gradient with respect to the decoded image as well, in two stages: that of the losses, then that of
    /// decoding.
    pub(crate) fn in_two_stages(mut self, wanted: bool) -> Self {
        self.in_two_stages = wanted;
        self
    }

    /// The same through a decoder: the gradient is with respect to `variable`, `decode` gives the image that the losses see
    /// and `view` the one that the model sees of it, both by differentiable operations.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub(crate) fn evaluate_through(
        &self,
        variable: Tensor<4>,
        decode: impl FnOnce(Tensor<4>) -> Tensor<4>,
        view: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Result<Evaluation> {
        if !(self.in_two_stages && self.at == At::Image) {
            return self.evaluate_once(variable, decode, view);
        }
        let leaf = variable.inner().autodiff().require_grad();
        let image = decode(leaf.clone());
        let mut evaluation = self.evaluate_once(image.clone().inner(), |image| image, view)?;
        let pulled = (image * evaluation.gradient.clone().autodiff()).sum();
        let gradient = if pulled.is_tracked() { leaf.grad_remove(&mut pulled.backward()) } else { None };
        let value = leaf.inner();
        evaluation.at_image = Some(evaluation.gradient);
        evaluation.gradient = gradient.map_or_else(|| value.zeros_like(), Tensor::inner);
        evaluation.value = value;
        Ok(evaluation)
    }

    fn evaluate_once(
        &self,
        variable: Tensor<4>,
        decode: impl FnOnce(Tensor<4>) -> Tensor<4>,
        view: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Result<Evaluation> {
        self.losses.check()?;
        let leaf = variable.inner().autodiff();
        let leaf = if self.at == At::Image { leaf.require_grad() } else { leaf };
        let image = decode(leaf.clone());
        let seen = view(image.clone());

        let (scene, leaf, layer, after, token_maps) = {
            let mut taps = self.taps();
            if self.at != At::Image || self.rule != Rule::Plain || !self.losses.layers().is_empty() {
                self.run(seen, &mut taps)?;
            } else {
                self.model.input().check(seen.dims())?; // regularizers alone need no forward pass
            }
            let (layer, leaf) = match &self.at {
                At::Image => (None, leaf),
                At::Layer(layer) => (Some(layer.clone()), taps.opened(layer)?),
                At::LastMap => {
                    let (layer, leaf) = taps.last_map()?;
                    (Some(layer), leaf)
                }
            };
            let after = layer.as_deref().map_or_else(Vec::new, |layer| self.layers_after(layer, taps.seen()));
            let token_maps = taps.token_maps().to_vec();
            (Scene::new(image.clone(), taps.into_recorded()), leaf, layer, after, token_maps)
        };

        let terms = self.losses.build(&scene)?;
        drop(scene);
        let weighted = Tensor::<1>::stack::<2>(terms, 0);
        let total = weighted.clone().sum();
        let mirrored = self.descending && matches!(self.rule, Rule::Guided | Rule::Deconvolution);
        let gradient = if mirrored && total.is_tracked() {
            leaf.grad_remove(&mut total.neg().backward()).map(Tensor::neg)
        } else if total.is_tracked() {
            leaf.grad_remove(&mut total.backward())
        } else {
            None // no loss depends on the leaf
        };
        if let (None, Some(layer), [_, ..]) = (&gradient, &layer, &*after) {
            return Err(unused(layer, &after));
        }
        let connected = gradient.is_some();
        let value = leaf.inner();
        Ok(Evaluation {
            losses: LossValues { names: self.losses.names(), weighted: weighted.inner() },
            gradient: gradient.map_or_else(|| value.zeros_like(), Tensor::inner),
            value,
            image: image.inner(),
            at_image: None,
            layer,
            connected,
            token_maps,
        })
    }

    /// The layers of the losses that were met after this one.
    fn layers_after(&self, layer: &str, seen: &[String]) -> Vec<String> {
        let place = |name: &str| seen.iter().position(|seen| seen == name);
        let mut after = self.losses.layers();
        after.retain(|name| place(name) > place(layer));
        after
    }

    /// The forward pass on an autodiff device, compared with a plain one if it was not before.
    fn run(&self, images: Tensor<4>, taps: &mut Taps) -> Result<()> {
        let layers = self.losses.layers();
        if self.compared || layers.is_empty() {
            return run(self.model, images, taps);
        }
        passes::run_compared(self.model, images, taps, &layers)
    }

    fn taps(&self) -> Taps {
        let layers = self.losses.layers();
        let taps = Taps::new().rule(self.rule).record(layers.clone());
        match &self.at {
            At::Image => taps,
            At::Layer(layer) => taps.open(layer),
            At::LastMap => taps.open_last_map(layers),
        }
    }

    /// Whether the losses depend on the image by a way around the layer: past a part of it, a skip connection, or
    /// another branch. Refuses a layer on which they do not depend.
    pub(crate) fn goes_around(&self, image: Tensor<4>) -> Result<bool> {
        let leaf = image.inner().autodiff().require_grad();
        let mut taps = self.taps();
        self.run(leaf.clone(), &mut taps)?;
        let opened = match &self.at {
            At::Layer(layer) => Some((layer, taps.opened(layer)?, self.layers_after(layer, taps.seen()))),
            _ => None,
        };
        let terms = self.losses.build(&Scene::new(leaf.clone(), taps.into_recorded()))?;
        let total = Tensor::<1>::stack::<2>(terms, 0).sum();
        let mut gradients = total.is_tracked().then(|| total.backward());
        let mut reached = |leaf: &Tensor<4>| {
            gradients.as_mut().is_some_and(|gradients| leaf.grad_remove(gradients).is_some())
        };
        if let Some((layer, opened, after)) = opened
            && !after.is_empty()
            && !reached(&opened)
        {
            return Err(unused(layer, &after));
        }
        Ok(reached(&leaf))
    }

    /// The values alone, without a backward pass.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::TotalVariation, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = TotalVariation::default().into();
    /// let values = Gradient::new(&model, &losses).values(model.input().zeros(&model.device()))?;
    /// assert_eq!(values.totals(), [0.0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn values(&self, image: Tensor<4>) -> Result<LossValues> {
        self.losses.check()?;
        let image = image.inner();
        let mut taps = Taps::new().record(self.losses.layers());
        if self.losses.layers().is_empty() {
            self.model.input().check(image.dims())?;
        } else {
            run(self.model, image.clone(), &mut taps)?;
        }
        let terms = self.losses.build(&Scene::new(image, taps.into_recorded()))?;
        Ok(LossValues { names: self.losses.names(), weighted: Tensor::stack(terms, 0) })
    }
}

fn unused(layer: &str, after: &[String]) -> Error {
    Error::UnusedLayer { layer: layer.to_owned(), target: after.join(", ") }
}

impl LossValues {
    /// The names of the losses.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::{LPNorm, TotalVariation}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// assert_eq!(Gradient::new(&model, &losses).values(image)?.names(), ["L-6 norm", "TV(2)"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The weighted values on the device, `[losses, batch]`.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::{LPNorm, TotalVariation}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let values = Gradient::new(&model, &losses).values(images)?;
    /// assert_eq!(values.tensor().dims(), [2, 3]); // three images
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn tensor(&self) -> Tensor<2> {
        self.weighted.clone()
    }

    /// The total of each image on the device, `[batch]`.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::{LPNorm, TotalVariation}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let values = Gradient::new(&model, &losses).values(images)?;
    /// assert_eq!(values.total().into_data().to_vec::<f32>().unwrap(), values.totals());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn total(&self) -> Tensor<1> {
        self.weighted.clone().sum_dim(0).flatten(0, 1)
    }

    /// The weighted values on the host, `[losses, batch]`; waits for the device.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::TotalVariation, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(TotalVariation::default(), 1.0), (TotalVariation::default(), 2.0)];
    /// let values = Gradient::new(&model, &losses).values(images)?.values();
    /// assert_eq!(values.row(1), &values.row(0) * 2.0); // weighted
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn values(&self) -> Array2<f32> {
        crate::host::array2(self.weighted.clone())
    }

    /// The total of each image on the host; waits for the device.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::{LPNorm, TotalVariation}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let values = Gradient::new(&model, &losses).values(images)?;
    /// assert_eq!(values.totals()[2], values.values().column(2).sum());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn totals(&self) -> Vec<f32> {
        self.values().sum_axis(ndarray::Axis(0)).to_vec()
    }

    /// The weighted value of each image for one loss by name, if there is such a loss.
    ///
    /// ```
    /// # use vis::{gradient::Gradient, losses::{LPNorm, TotalVariation}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let values = Gradient::new(&model, &losses).values(images)?;
    /// assert_eq!(values.named("TV(2)").unwrap(), values.values().row(1));
    /// assert!(values.named("TV(3)").is_none());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn named(&self, name: &str) -> Option<Array1<f32>> {
        let index = self.names.iter().position(|other| other == name)?;
        Some(self.values().row(index).to_owned())
    }
}
