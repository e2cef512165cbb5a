//! What is asked of a network: one number of its activations for each image.
//!
//! A [`Target`] names a layer and what of it: a class, a channel, a neuron, a region, a direction, a likeness, or any
//! function of the activation. Targets add, subtract and scale. A target can be **attributed** (which part of this
//! photo raises it? [`crate::attribution`]) and it can be **maximised** (which image raises it most?
//! [`ActivationMaximization`](crate::losses::ActivationMaximization),
//! [`visualize_activation`](crate::visualize_activation())).

mod resolved;
mod score;

use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

use burn::tensor::Tensor;
use ndarray::Array2;

use crate::model::values::{refuse_non_finite_image, refuse_softmax};
use crate::model::{Model, Taps, run};
use crate::{Error, Result};

pub(crate) use resolved::Goal;
use score::{Kind, Score, weighted};

/// What is asked of a network: a score of each image, to be attributed or maximised.
///
/// | target | score of an image |
/// | --- | --- |
/// | [`class`](Self::class) | the class's logit |
/// | [`predicted`](Self::predicted) | the largest logit, of each image its own |
/// | [`probability`](Self::probability) | the softmax of the logits at the class; of a single logit, its sigmoid |
/// | [`log_odds`](Self::log_odds) | the class's logit over the others: `ln(p / (1 − p))` |
/// | [`channel`](Self::channel), [`channels`](Self::channels) | the mean of a channel of any layer; the sum over several |
/// | [`layer`](Self::layer), [`energy`](Self::energy) | the mean of a layer; of its squares |
/// | [`neuron`](Self::neuron) | one position of a channel |
/// | [`mask`](Self::mask) | the mean of a channel over a region |
/// | [`direction`](Self::direction), [`direction_at`](Self::direction_at) | the projection of the channels on a vector |
/// | [`likeness`](Self::likeness) | the cosine similarity of the channels to an embedding |
/// | [`function`](Self::function), [`map`](Self::map) | any function of the logits; of an activation |
/// | [`interpolated`](Self::interpolated) | from one target to another, image by image |
/// | `a + b`, `a - b`, `0.5 * a`, `-a` | sums of these, from the same or from different layers |
///
/// Classes are read from [`Model::logits`], or from the last layer where the model does not say;
/// [`in_layer`](Self::in_layer) names another. [`per_image`](Self::per_image) gives every image of a batch
/// a target of its own.
///
/// Prefer logits to probabilities for gradients: a probability near 1 has a gradient near 0, and it rises
/// as well when the *other* classes fall.
///
/// ```
/// use vis::Target;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let rather_than = Target::class(3) - 0.5 * Target::class(1); // why 3 rather than 1?
/// assert_eq!(rather_than.to_string(), "class 3 − 0.5 × class 1");
/// let scores = rather_than.scores(&model, image)?;             // one number per image
/// # assert_eq!(scores.len(), 1);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "Objective")]
#[doc(alias = "Score")]
pub struct Target(Wanted);

#[derive(Debug, Clone)]
enum Wanted {
    Same(Sum),
    PerImage(Vec<Sum>),
}

/// A weighted sum of scores.
#[derive(Debug, Clone, PartialEq)]
struct Sum(Vec<(f32, Score)>);

impl Target {
    /// The logit of a class.
    pub fn class(class: usize) -> Self {
        Self::new(Kind::Channels("class", vec![(class, 1.0)]))
    }

    /// The largest logit of each image: the class that the network predicts.
    ///
    /// It depends on the image, so it can be attributed but not maximised.
    pub fn predicted() -> Self {
        Self::new(Kind::Predicted(false))
    }

    /// The probability of a class: the softmax over the logits, each its mean over positions where it has several.
    ///
    /// For methods without gradients, such as [`Rise`](crate::attribution::Rise).
    pub fn probability(class: usize) -> Self {
        Self::new(Kind::Probability(class))
    }

    /// The log-odds of a class: `ln(p / (1 − p))` of its probability, which is its logit over the others,
    /// `z − ln Σ e^{z_other}`.
    ///
    /// It tells a class from those that it is mistaken for, and has a gradient however sure the network is.
    pub fn log_odds(class: usize) -> Self {
        Self::new(Kind::LogOdds(class))
    }

    /// The same with [probabilities](Self::probability) in place of the logits of single classes; other scores are
    /// left as they are.
    ///
    /// ```
    /// use vis::Target;
    /// assert_eq!(Target::class(3).as_probability().to_string(), "probability of class 3");
    /// ```
    pub fn as_probability(&self) -> Self {
        self.clone().each(|Sum(mut terms)| {
            for (weight, score) in &mut terms {
                match &score.kind {
                    Kind::Predicted(_) => score.kind = Kind::Predicted(true),
                    Kind::Channels("class", channels) if channels.len() == 1 => {
                        let (class, factor) = channels[0];
                        *weight *= factor;
                        score.kind = Kind::Probability(class);
                    }
                    _ => {}
                }
            }
            Sum(terms)
        })
    }

    /// The mean over all positions of one channel of a layer; of a dense layer, one unit.
    pub fn channel(layer: impl Into<String>, channel: usize) -> Self {
        Self::channels(layer, [channel])
    }

    /// The sum of several channels, each by its mean over all positions.
    ///
    /// ```
    /// use vis::Target;
    /// let both = Target::channels("block5_conv3", [3, 8]);
    /// assert_eq!(both.to_string(), "channel 3 + channel 8 of `block5_conv3`");
    /// ```
    pub fn channels(layer: impl Into<String>, channels: impl IntoIterator<Item = usize>) -> Self {
        let terms = channels.into_iter().map(|channel| (channel, 1.0)).collect();
        Self::new(Kind::Channels("channel", terms)).in_layer(layer)
    }

    /// The same with scores that name no layer read from this one, where classes are its filters, as keras-vis calls
    /// them.
    pub(crate) fn or_in_layer(self, layer: &str, filters: &'static str) -> Self {
        self.each(|Sum(mut terms)| {
            for (_, score) in terms.iter_mut().filter(|(_, score)| score.layer.is_none()) {
                score.layer = Some(layer.to_owned());
                if let Kind::Channels(what, _) = &mut score.kind {
                    *what = filters;
                }
            }
            Sum(terms)
        })
    }

    /// The layer and the channels of the target of one image that is a plain sum of them.
    pub(crate) fn filters(&self) -> Option<(&str, Vec<usize>)> {
        let sum = match &self.0 {
            Wanted::Same(sum) => sum,
            Wanted::PerImage(sums) => sums.first()?,
        };
        match sum.0.as_slice() {
            [(1.0, Score { layer: Some(layer), kind: Kind::Channels(_, terms) })]
                if terms.iter().all(|(_, weight)| *weight == 1.0) =>
            {
                Some((layer, terms.iter().map(|(channel, _)| *channel).collect()))
            }
            _ => None,
        }
    }

    /// The layer whose energy it is, and nothing else.
    pub(crate) fn energy_of(&self) -> Option<&str> {
        match &self.0 {
            Wanted::Same(Sum(terms)) => match terms.as_slice() {
                [(1.0, Score { layer: Some(layer), kind: Kind::Energy })] => Some(layer),
                _ => None,
            },
            Wanted::PerImage(_) => None,
        }
    }

    /// Whether two targets are the same, in whatever order they name their channels.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let sorted = |target: &Self| {
            target.filters().map(|(layer, mut channels)| {
                channels.sort_unstable();
                (layer.to_owned(), channels)
            })
        };
        match (sorted(self), sorted(other)) {
            (Some(one), Some(two)) => one == two,
            _ => match (&self.0, &other.0) {
                (Wanted::Same(one), Wanted::Same(two)) => one == two,
                (Wanted::PerImage(one), Wanted::PerImage(two)) => one == two,
                _ => false,
            },
        }
    }

    /// The mean over all channels and positions of a layer.
    pub fn layer(layer: impl Into<String>) -> Self {
        Self::new(Kind::Mean).in_layer(layer)
    }

    /// The mean of a layer's squared activation: how excited it is, by whatever it is.
    ///
    /// Its gradient pushes every unit in proportion to how far it fires already, so what a network sees a little of, it is
    /// shown more of: the objective of [deep dream](crate::visualization::deep_dream).
    ///
    /// Source: Mordvintsev, Olah & Tyka 2015, *Inceptionism*; `google/deepdream`, whose gradient at the layer is the
    /// activation itself, that of half the sum of squares.
    #[doc(alias = "deepdream")]
    pub fn energy(layer: impl Into<String>) -> Self {
        Self::new(Kind::Energy).in_layer(layer)
    }

    /// One position of one channel of a layer, counted from 0 in the layer's own map.
    pub fn neuron(layer: impl Into<String>, channel: usize, row: usize, column: usize) -> Self {
        Self::new(Kind::Neuron([channel, row, column])).in_layer(layer)
    }

    /// The mean of one channel of a layer over a region: `Σ m·a / Σ m` for a mask `m` of weights of 0 or more,
    /// `[height, width]`.
    ///
    /// The mask covers the whole map. If it has another size, each of its entries is shared out over the positions that
    /// it covers, so that a mask in pixels of the image works at any layer. For networks whose output is a map, such as
    /// those for segmentation.
    ///
    /// ```
    /// use ndarray::{Array2, s};
    /// use vis::Target;
    /// let mut right = Array2::zeros((64, 64));
    /// right.slice_mut(s![.., 32..]).fill(1.0);
    /// let target = Target::mask("conv2", 3, right);
    /// assert_eq!(target.to_string(), "channel 3 under a mask of `conv2`");
    /// ```
    pub fn mask(layer: impl Into<String>, channel: usize, mask: Array2<f32>) -> Self {
        Self::new(Kind::Mask(channel, Arc::new(mask))).in_layer(layer)
    }

    /// The projection of a layer's mean activation on a vector with a number for each channel: `Σ v_c · mean(a_c)`.
    ///
    /// A concept that is spread over several channels, such as the normal of a linear classifier of them.
    pub fn direction(layer: impl Into<String>, vector: impl Into<Vec<f32>>) -> Self {
        Self::new(Kind::Direction(Arc::new(vector.into()), None)).in_layer(layer)
    }

    /// The projection on a vector at one position of a layer: `Σ v_c · a_c[row, column]`.
    pub fn direction_at(
        layer: impl Into<String>,
        vector: impl Into<Vec<f32>>,
        row: usize,
        column: usize,
    ) -> Self {
        Self::new(Kind::Direction(Arc::new(vector.into()), Some([row, column]))).in_layer(layer)
    }

    /// The cosine similarity, −1 to 1, of a layer's mean activation to a vector with a number for each channel.
    ///
    /// With the embedding of a photo: which part of this image makes it like that one?
    pub fn likeness(layer: impl Into<String>, embedding: impl Into<Vec<f32>>) -> Self {
        Self::new(Kind::Likeness(Arc::new(embedding.into()))).in_layer(layer)
    }

    /// Any function of the logits, `[batch, classes]` to one score per image, `[batch]`. Of a layer with several
    /// positions it takes the means over them.
    ///
    /// The function must be made of differentiable operations and must treat every row by itself.
    ///
    /// ```
    /// use vis::Target;
    /// // The margin between class 2 and the mean of all.
    /// let margin = Target::function(|logits| {
    ///     let [batch, _] = logits.dims();
    ///     (logits.clone().narrow(1, 2, 1) - logits.mean_dim(1)).reshape([batch])
    /// });
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # use vis::Model;
    /// # assert_eq!(margin.scores(&model, model.input().zeros(&model.device()))?.len(), 1);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn function(score: impl Fn(Tensor<2>) -> Tensor<1> + Send + Sync + 'static) -> Self {
        Self::new(Kind::Function(Arc::new(score)))
    }

    /// Any function of a layer's activation, `[batch, channels, height, width]` to one score per image, `[batch]`.
    ///
    /// The function must be made of differentiable operations and must treat every image by itself.
    ///
    /// ```
    /// use vis::Target;
    /// let loudest = Target::map("conv2", |map| {
    ///     let [batch, ..] = map.dims();
    ///     map.max_dims(&[1, 2, 3]).reshape([batch])
    /// });
    /// assert_eq!(loudest.to_string(), "a function of the activation of `conv2`");
    /// ```
    pub fn map(
        layer: impl Into<String>,
        score: impl Fn(Tensor<4>) -> Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Kind::Map(Arc::new(score))).in_layer(layer)
    }

    /// A target for each image of the batch: the first for the first image, and so on.
    ///
    /// ```
    /// use vis::Target;
    /// let each = Target::per_image([Target::class(3), Target::channel("conv2", 0)]);
    /// assert_eq!(each.to_string(), "class 3; channel 0 of `conv2`");
    /// ```
    pub fn per_image(targets: impl IntoIterator<Item = Self>) -> Self {
        let mut sums = Vec::new();
        for target in targets {
            match target.0 {
                Wanted::Same(sum) => sums.push(sum),
                Wanted::PerImage(several) => sums.extend(several),
            }
        }
        Self(Wanted::PerImage(sums))
    }

    /// From one target to another over a batch of images: `(1 − t)·from + t·to` with `t` from 0 to 1.
    ///
    /// With [`Resemblance::by_place`](crate::losses::Resemblance::by_place) under a negative weight the images show how one
    /// turns into the other.
    ///
    /// ```
    /// use vis::Target;
    /// let steps = Target::interpolated(Target::class(3), Target::class(1), 3);
    /// assert_eq!(steps.to_string(), "class 3; 0.5 × class 3 + 0.5 × class 1; class 1");
    /// ```
    pub fn interpolated(from: Self, to: Self, images: usize) -> Self {
        let step = |image: usize| match image as f32 / images.saturating_sub(1).max(1) as f32 {
            0.0 => from.clone(),
            1.0 => to.clone(),
            t => (1.0 - t) * from.clone() + t * to.clone(),
        };
        Self::per_image((0..images).map(step))
    }

    /// Reads the score from this layer instead of the logits.
    ///
    /// ```
    /// use vis::Target;
    /// let after_softmax = Target::class(2).in_layer("softmax");
    /// ```
    pub fn in_layer(self, layer: impl Into<String>) -> Self {
        let layer = Some(layer.into());
        self.each(|Sum(mut terms)| {
            terms.iter_mut().for_each(|(_, score)| score.layer.clone_from(&layer));
            Sum(terms)
        })
    }

    /// The score of each image of a batch. Costs one forward pass, as deep as the target's layer.
    ///
    /// ```
    /// use vis::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let probability = Target::predicted().as_probability().scores(&model, image)?[0];
    /// assert!((0.2..=1.0).contains(&probability)); // the largest of five
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a class, channel or position that the layer does not have,
    /// [`Error::UnknownLayer`], [`Error::Shape`], and [`Error::InvalidParameter`] when there are targets for
    /// another number of images, or for a vector or mask that doesn't fit.
    pub fn scores(&self, model: &dyn Model, images: Tensor<4>) -> Result<Vec<f32>> {
        let target = self.resolved(model, &images)?;
        let scores = target.goal()?.scores(model, images)?;
        let mut each = scores.iter().enumerate();
        each.try_for_each(|(image, score)| refuse_non_finite(&[*score], &target, image))?;
        Ok(scores)
    }

    /// The same target with everything decided that depends on model and images: one score per image, each
    /// with its layer, and predicted classes by number. It stays the same when the image changes.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores).
    pub fn resolved(&self, model: &dyn Model, images: &Tensor<4>) -> Result<Self> {
        let [batch, ..] = images.dims();
        let mut sums = match &self.0 {
            Wanted::Same(sum) => vec![sum.clone(); batch],
            Wanted::PerImage(sums) if sums.len() == batch => sums.clone(),
            Wanted::PerImage(sums) => {
                return Err(Error::invalid("the target", format!("one per image ({batch})"), sums.len()));
            }
        };
        model.input().check(images.dims())?;
        if let Some(image) = sums.iter().position(|sum| sum.0.is_empty()) {
            return Err(Error::invalid(
                "the target",
                "at least one score",
                format!("none for image {image}"),
            ));
        }
        if self.is_resolved() {
            // The variations that methods make of an image may go far beyond its range.
            refuse_non_finite_sum(images)?;
        } else {
            model.input().check_values(images)?;
        }
        name_layers(&mut sums, model, || images.clone().inner().narrow(0, 0, 1))?;
        let predicted = |sum: &Sum| sum.0.iter().any(|(_, score)| matches!(score.kind, Kind::Predicted(_)));
        if sums.iter().any(predicted) {
            let scores = sums.iter().flat_map(|Sum(terms)| terms);
            let layers: Vec<&str> = scores.filter_map(|(_, score)| score.layer.as_deref()).collect();
            let mut taps = Taps::new().record(layers);
            run(model, images.clone().inner(), &mut taps)?;
            for (index, Sum(terms)) in sums.iter_mut().enumerate() {
                for (_, score) in terms {
                    let (Kind::Predicted(probability), Some(layer)) = (&score.kind, &score.layer) else {
                        continue;
                    };
                    let values = taps.activation(layer)?.narrow(0, index, 1).mean_dims(&[2, 3]);
                    let values = crate::host::values(values);
                    // A layer that was named may hold probabilities.
                    if model.logits() == Some(layer.as_str()) {
                        refuse_softmax(layer, &values, values.len())?;
                    }
                    refuse_non_finite(&values, self, index)?;
                    let best = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]));
                    let best = best.unwrap_or_default();
                    score.kind = match probability {
                        true => Kind::Probability(best),
                        false => Kind::Channels("class", vec![(best, 1.0)]),
                    };
                }
            }
        }
        Ok(Self(Wanted::PerImage(sums)))
    }

    /// The same target with every layer named, for one that does not depend on the images.
    pub(crate) fn with_layers(mut self, model: &dyn Model) -> Result<Self> {
        let sums = match &mut self.0 {
            Wanted::Same(sum) => std::slice::from_mut(sum),
            Wanted::PerImage(sums) => sums,
        };
        let mut scores = sums.iter().flat_map(|Sum(terms)| terms);
        if scores.any(|(_, score)| matches!(score.kind, Kind::Predicted(_))) {
            let expected = "one that does not depend on the image, such as `Target::class(285)`";
            return Err(Error::invalid("the target to maximise", expected, "the predicted class"));
        }
        name_layers(sums, model, || model.input().zeros(&model.device()))?;
        Ok(self)
    }

    /// Whether everything is decided that depends on model and images.
    fn is_resolved(&self) -> bool {
        let decided =
            |(_, score): &(f32, Score)| score.layer.is_some() && !matches!(score.kind, Kind::Predicted(_));
        matches!(&self.0, Wanted::PerImage(sums) if sums.iter().all(|Sum(terms)| terms.iter().all(decided)))
    }

    /// The target of `times` variations of one image.
    pub(crate) fn repeated(&self, image: usize, times: usize) -> Self {
        Self(Wanted::PerImage(match &self.0 {
            Wanted::Same(sum) => vec![sum.clone(); times],
            Wanted::PerImage(sums) => sums.get(image).map(|sum| vec![sum.clone(); times]).unwrap_or_default(),
        }))
    }

    /// The classes that the first image's score adds up, if it is a sum of plain logits.
    pub(crate) fn classes_of_logits(&self, model: &dyn Model) -> Option<Vec<usize>> {
        let sum = match &self.0 {
            Wanted::Same(sum) => sum,
            Wanted::PerImage(sums) => sums.first()?,
        };
        match sum.0.as_slice() {
            [(1.0, Score { layer, kind: Kind::Channels(_, terms) })]
                if layer.as_deref().is_none_or(|layer| model.logits() == Some(layer))
                    && terms.iter().all(|(_, weight)| *weight == 1.0) =>
            {
                Some(terms.iter().map(|(class, _)| *class).collect())
            }
            _ => None,
        }
    }

    /// What is wanted of one image of the batch, in words.
    pub(crate) fn describe(&self, image: usize) -> String {
        match &self.0 {
            Wanted::Same(sum) => sum.to_string(),
            Wanted::PerImage(sums) => sums.get(image).map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// A target whose layers are named as what can be read from activations: for a batch of any number of images if it
    /// is the same for all.
    pub(crate) fn goal(&self) -> Result<Goal> {
        match &self.0 {
            Wanted::Same(sum) => Goal::new(std::slice::from_ref(sum), true),
            Wanted::PerImage(sums) => Goal::new(sums, false),
        }
    }

    fn new(kind: Kind) -> Self {
        Self(Wanted::Same(Sum(vec![(1.0, Score { layer: None, kind })])))
    }

    fn each(self, change: impl Fn(Sum) -> Sum) -> Self {
        Self(match self.0 {
            Wanted::Same(sum) => Wanted::Same(change(sum)),
            Wanted::PerImage(sums) => Wanted::PerImage(sums.into_iter().map(change).collect()),
        })
    }
}

/// Names the layer of the class scores where none is named.
fn name_layers(sums: &mut [Sum], model: &dyn Model, image: impl FnOnce() -> Tensor<4>) -> Result<()> {
    let mut unnamed: Vec<&mut Option<String>> = sums
        .iter_mut()
        .flat_map(|Sum(terms)| terms.iter_mut().map(|(_, score)| &mut score.layer))
        .filter(|layer| layer.is_none())
        .collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    let logits = match model.logits() {
        Some(layer) => layer.to_owned(),
        None => {
            let mut taps = Taps::new().record_last();
            run(model, image(), &mut taps)?;
            if taps.seen().is_empty() {
                return Err(Error::without_layers());
            }
            let last = taps.last()?;
            let layer = taps.seen().last().cloned().unwrap_or_default();
            let classes = last.dims()[1];
            refuse_softmax(&layer, &crate::host::values(last.mean_dims(&[2, 3])), classes)?;
            layer
        }
    };
    unnamed.iter_mut().for_each(|layer| **layer = Some(logits.clone()));
    Ok(())
}

impl Sum {
    /// Adds the terms of another sum. Channels of one layer stay one term, so that the layer's means are read once.
    fn plus(mut self, other: Self) -> Self {
        for (weight, score) in other.0 {
            let last = self.0.last_mut().filter(|(_, last)| last.layer == score.layer);
            match (last, score.kind) {
                (
                    Some((1.0, Score { kind: Kind::Channels(what, terms), .. })),
                    Kind::Channels(other, more),
                ) if *what == other && weight == 1.0 => {
                    terms.extend(more);
                }
                (_, kind) => self.0.push((weight, Score { layer: score.layer, kind })),
            }
        }
        self
    }

    fn times(mut self, factor: f32) -> Self {
        for (weight, score) in &mut self.0 {
            match &mut score.kind {
                Kind::Channels(_, terms) => terms.iter_mut().for_each(|(_, weight)| *weight *= factor),
                _ => *weight *= factor,
            }
        }
        self
    }
}

/// Refuses scores of one image's variations that are not finite: their map would be NaN.
pub(crate) fn refuse_non_finite(scores: &[f32], target: &Target, image: usize) -> Result<()> {
    if scores.iter().all(|score| score.is_finite()) {
        return Ok(());
    }
    let what = format!("the score of {} for image {image}", target.describe(image));
    Err(Error::NonFinite { what, step: None, best: None })
}

/// Refuses images with values that are NaN or infinite, by their sums.
fn refuse_non_finite_sum(images: &Tensor<4>) -> Result<()> {
    let sums = crate::host::values(images.clone().inner().sum_dims(&[1, 2, 3]));
    if sums.into_iter().all(f32::is_finite) {
        return Ok(());
    }
    let values = crate::host::values(images.clone().inner());
    refuse_non_finite_image("image", &values, images.dims())
}

impl From<usize> for Target {
    /// The class of this number.
    fn from(class: usize) -> Self {
        Self::class(class)
    }
}

impl<const N: usize> From<[usize; N]> for Target {
    /// The sum of these classes.
    fn from(classes: [usize; N]) -> Self {
        classes.to_vec().into()
    }
}

impl From<&[usize]> for Target {
    /// The sum of these classes.
    fn from(classes: &[usize]) -> Self {
        classes.to_vec().into()
    }
}

impl From<Vec<usize>> for Target {
    /// The sum of these classes.
    fn from(classes: Vec<usize>) -> Self {
        Self::new(Kind::Channels("class", classes.into_iter().map(|class| (class, 1.0)).collect()))
    }
}

impl Add for Target {
    type Output = Self;

    /// The sum of two targets, image by image where one of them is [`per_image`](Target::per_image).
    ///
    /// # Panics
    ///
    /// When both are per image, for different numbers of images.
    fn add(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Wanted::Same(one), Wanted::Same(two)) => Wanted::Same(one.plus(two)),
            (Wanted::Same(one), Wanted::PerImage(two)) => {
                Wanted::PerImage(two.into_iter().map(|two| one.clone().plus(two)).collect())
            }
            (Wanted::PerImage(one), Wanted::Same(two)) => {
                Wanted::PerImage(one.into_iter().map(|one| one.plus(two.clone())).collect())
            }
            (Wanted::PerImage(one), Wanted::PerImage(two)) => {
                assert_eq!(one.len(), two.len(), "targets of different numbers of images have no sum");
                Wanted::PerImage(one.into_iter().zip(two).map(|(one, two)| one.plus(two)).collect())
            }
        })
    }
}

impl Mul<f32> for Target {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        self.each(|sum| sum.times(factor))
    }
}

impl Mul<Target> for f32 {
    type Output = Target;

    fn mul(self, target: Target) -> Target {
        target * self
    }
}

impl Neg for Target {
    type Output = Self;

    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Sub for Target {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::iter::Sum for Target {
    fn sum<I: Iterator<Item = Self>>(targets: I) -> Self {
        targets.reduce(Add::add).unwrap_or(Self(Wanted::Same(Sum(Vec::new()))))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Wanted::Same(sum) => sum.fmt(f),
            Wanted::PerImage(sums) => {
                f.write_str(&sums.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (weight, score)) in self.0.iter().enumerate() {
            let text = score.to_string();
            match (index > 0, text.strip_prefix('−')) {
                (true, Some(negative)) if *weight == 1.0 => write!(f, " − {negative}")?,
                _ => {
                    weighted(f, index, *weight)?;
                    f.write_str(&text)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tiny;

    #[test]
    fn only_sums_of_plain_logits_are_named_by_their_classes() {
        let model = Tiny::new(&Default::default());
        for (target, classes) in [
            (Target::class(1), Some(vec![1])),
            (Target::class(3) + Target::class(0), Some(vec![3, 0])),
            (Target::channels("logits", [2, 1]), Some(vec![2, 1])),
            (Target::per_image([Target::class(2), Target::class(0)]), Some(vec![2])),
            (Target::class(3) - Target::class(1), None),
            (0.5 * Target::class(3), None),
            (Target::channels("conv2", [2, 1]), None),
            (Target::class(1).in_layer("softmax"), None),
            (Target::probability(1), None),
            (Target::layer("logits"), None),
        ] {
            assert_eq!(target.classes_of_logits(&model), classes, "{target}");
        }
    }
}
