//! What a map is about: the number of the network's output whose evidence is looked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{Tensor, activation};

use crate::losses::{Loss, Scene};
use crate::model::{Model, Taps, run};
use crate::{Error, Result};

/// The score that an attribution explains: what should rise where its map is positive.
///
/// | target | score of an image |
/// | --- | --- |
/// | [`class`](Self::class) | the class's logit |
/// | [`predicted`](Self::predicted) | the largest logit, of each image its own |
/// | [`classes`](Self::classes) | the sum of several logits |
/// | [`difference`](Self::difference) | one logit minus another: why this class *rather than* that one |
/// | [`probability`](Self::probability) | the softmax of the logits at the class |
/// | [`channel`](Self::channel) | the mean of a channel of any layer |
/// | [`channels`](Self::channels), [`layer`](Self::layer) | the sum of several of them; the mean of all |
/// | [`neuron`](Self::neuron) | one position of a channel of any layer |
/// | [`function`](Self::function) | any function of the logits |
///
/// Classes are read from [`Model::logits`], or from the last layer where the model does not say;
/// [`in_layer`](Self::in_layer) names another. [`per_image`](Self::per_image) gives every image of a batch
/// a target of its own.
///
/// Prefer logits to probabilities for gradients: a probability near 1 has a gradient near 0, and it rises
/// as well when the *other* classes fall.
///
/// ```
/// use vis::attribution::Target;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let why = Target::difference(3, 1);
/// assert_eq!(why.to_string(), "class 3 − class 1");
/// let logits = vis::host::array2(model.classify(image.clone())?);
/// let scores = why.scores(&model, image)?;
/// assert!((scores[0] - (logits[[0, 3]] - logits[[0, 1]])).abs() < 1e-5);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Target(Wanted);

#[derive(Debug, Clone)]
enum Wanted {
    Same(Score),
    PerImage(Vec<Score>),
}

/// One number from one layer.
#[derive(Debug, Clone, PartialEq)]
struct Score {
    /// `None` is the layer of the logits.
    layer: Option<String>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// The class of the largest logit; of its probability?
    Predicted(bool),
    /// A weighted sum of the means of channels; the word is what a channel is called.
    Channels(&'static str, Vec<(usize, f32)>),
    Mean,
    Probability(usize),
    Neuron([usize; 3]),
    Function(Arc<Function>),
}

type Function = dyn Fn(Tensor<2>) -> Tensor<1> + Send + Sync;

impl Target {
    /// The logit of a class.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let logits = vis::host::array2(model.classify(image.clone())?);
    /// assert_eq!(Target::class(2).scores(&model, image)?, [logits[[0, 2]]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn class(class: usize) -> Self {
        Self::new(Kind::Channels("class", vec![(class, 1.0)]))
    }

    /// The largest logit of each image: what the network says it sees.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let logits = vis::host::array2(model.classify(image.clone())?);
    /// let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    /// assert_eq!(Target::predicted().scores(&model, image)?, [largest]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn predicted() -> Self {
        Self::new(Kind::Predicted(false))
    }

    /// The sum of the logits of several classes.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let logits = vis::host::array2(model.classify(image.clone())?);
    /// let sum = Target::classes([0, 3]).scores(&model, image)?[0];
    /// assert!((sum - (logits[[0, 0]] + logits[[0, 3]])).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn classes(classes: impl IntoIterator<Item = usize>) -> Self {
        Self::new(Kind::Channels("class", classes.into_iter().map(|class| (class, 1.0)).collect()))
    }

    /// The logit of `class` minus that of `other`: the evidence for one *rather than* the other.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let there = Target::difference(3, 1).scores(&model, image.clone())?[0];
    /// let back = Target::difference(1, 3).scores(&model, image)?[0];
    /// assert_eq!(there, -back);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn difference(class: usize, other: usize) -> Self {
        Self::new(Kind::Channels("class", vec![(class, 1.0), (other, -1.0)]))
    }

    /// The probability of a class: the softmax over the logits, each its mean over positions where it has several.
    ///
    /// For methods without gradients ([`Rise`](super::Rise)).
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut sum = 0.0;
    /// for class in 0..5 {
    ///     sum += Target::probability(class).scores(&model, image.clone())?[0];
    /// }
    /// assert!((sum - 1.0).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn probability(class: usize) -> Self {
        Self::new(Kind::Probability(class))
    }

    /// The same with [probabilities](Self::probability) in place of the logits of single classes; other scores are
    /// left as they are.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// assert_eq!(Target::class(3).as_probability().to_string(), "probability of class 3");
    /// ```
    pub fn as_probability(&self) -> Self {
        let probability = |mut score: Score| {
            score.kind = match score.kind {
                Kind::Predicted(_) => Kind::Predicted(true),
                Kind::Channels("class", terms) if matches!(*terms, [(_, 1.0)]) => {
                    Kind::Probability(terms[0].0)
                }
                kind => kind,
            };
            score
        };
        Self(match self.0.clone() {
            Wanted::Same(score) => Wanted::Same(probability(score)),
            Wanted::PerImage(scores) => Wanted::PerImage(scores.into_iter().map(probability).collect()),
        })
    }

    /// The mean over all positions of one channel of a layer; of a dense layer, one unit.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let activation = vis::host::array4(model.activation(image.clone(), "conv2")?);
    /// let mean = activation.slice(ndarray::s![0, 4, .., ..]).mean().unwrap_or_default();
    /// let score = Target::channel("conv2", 4).scores(&model, image)?[0];
    /// assert!((score - mean).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn channel(layer: impl Into<String>, channel: usize) -> Self {
        Self::new(Kind::Channels("channel", vec![(channel, 1.0)])).in_layer(layer)
    }

    /// The sum of several channels, each by its mean over all positions.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let score = |target: Target| target.scores(&model, image.clone()).map(|scores| scores[0]);
    /// let apart = score(Target::channel("conv2", 1))? + score(Target::channel("conv2", 4))?;
    /// assert!((score(Target::channels("conv2", [1, 4]))? - apart).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn channels(layer: impl Into<String>, channels: impl IntoIterator<Item = usize>) -> Self {
        let terms = channels.into_iter().map(|channel| (channel, 1.0)).collect();
        Self::new(Kind::Channels("channel", terms)).in_layer(layer)
    }

    /// The mean over all channels and positions of a layer.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mean = vis::host::array4(model.activation(image.clone(), "conv1")?).mean().unwrap_or_default();
    /// let score = Target::layer("conv1").scores(&model, image)?[0];
    /// assert!((score - mean).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn layer(layer: impl Into<String>) -> Self {
        Self::new(Kind::Mean).in_layer(layer)
    }

    /// One position of one channel of a layer.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let activation = vis::host::array4(model.activation(image.clone(), "conv1")?);
    /// let score = Target::neuron("conv1", 2, 7, 3).scores(&model, image)?;
    /// assert_eq!(score, [activation[[0, 2, 7, 3]]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn neuron(layer: impl Into<String>, channel: usize, row: usize, column: usize) -> Self {
        Self::new(Kind::Neuron([channel, row, column])).in_layer(layer)
    }

    /// Any function of the logits, `[batch, classes]` to one score per image, `[batch]`. Of a layer with several
    /// positions it is given the means over them.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// // The margin between class 2 and the mean of all.
    /// let margin = Target::function(|logits| {
    ///     let [batch, _] = logits.dims();
    ///     (logits.clone().narrow(1, 2, 1) - logits.mean_dim(1)).reshape([batch])
    /// });
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # use vis::Model;
    /// # let image = model.input().zeros(&model.device());
    /// assert_eq!(margin.scores(&model, image)?.len(), 1);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// The function must be made of differentiable operations and must treat every row by itself.
    pub fn function(score: impl Fn(Tensor<2>) -> Tensor<1> + Send + Sync + 'static) -> Self {
        Self::new(Kind::Function(Arc::new(score)))
    }

    /// A target for each image of the batch: the first for the first image, and so on.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// let each = Target::per_image([Target::class(3), Target::channel("conv2", 0)]);
    /// assert_eq!(each.to_string(), "class 3; channel 0 of `conv2`");
    /// ```
    pub fn per_image(targets: impl IntoIterator<Item = Self>) -> Self {
        let mut scores = Vec::new();
        for target in targets {
            match target.0 {
                Wanted::Same(score) => scores.push(score),
                Wanted::PerImage(several) => scores.extend(several),
            }
        }
        Self(Wanted::PerImage(scores))
    }

    /// Reads the score from this layer instead of the logits.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let probability = Target::class(2).in_layer("softmax").scores(&model, image.clone())?[0];
    /// assert!((probability - Target::probability(2).scores(&model, image)?[0]).abs() < 1e-6);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn in_layer(mut self, layer: impl Into<String>) -> Self {
        let layer = Some(layer.into());
        match &mut self.0 {
            Wanted::Same(score) => score.layer = layer,
            Wanted::PerImage(scores) => scores.iter_mut().for_each(|score| score.layer.clone_from(&layer)),
        }
        self
    }

    /// The score of each image of a batch. Costs one forward pass, as deep as the target's layer.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let images = burn::tensor::Tensor::cat(vec![image.clone(), image * 0.5], 0);
    /// let each = Target::per_image([Target::class(0), Target::class(4)]);
    /// let logits = vis::host::array2(model.classify(images.clone())?);
    /// assert_eq!(each.scores(&model, images)?, [logits[[0, 0]], logits[[1, 4]]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a class, channel or position that the layer does not have,
    /// [`Error::UnknownLayer`], [`Error::Shape`], and [`Error::InvalidParameter`] when there are targets for
    /// another number of images.
    pub fn scores(&self, model: &dyn Model, images: Tensor<4>) -> Result<Vec<f32>> {
        self.resolved(model, &images)?.goal()?.scores(model, images)
    }

    /// The score as a [`Loss`], which hands a target to [`Gradient`](crate::gradient::Gradient) or, with the
    /// weight −1, to [`Optimizer`](crate::Optimizer), which makes losses small.
    ///
    /// Its value *is* the score, because guided and deconvolution rules keep what raises it: minus the score
    /// would give another map, not the same one with the other sign.
    ///
    /// The images tell what is [predicted](Self::predicted) and how many there are.
    ///
    /// ```
    /// use vis::{Rule, attribution::Target, gradient::Gradient};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = model.input().zeros(&model.device());
    /// let score = Target::class(2).as_loss(&model, &image)?.into();
    /// let guided = Gradient::new(&model, &score).rule(Rule::Guided).evaluate(image)?.gradient;
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores), but that what only the activations can tell is found when the loss is built.
    pub fn as_loss(&self, model: &dyn Model, images: &Tensor<4>) -> Result<Box<dyn Loss>> {
        Ok(Box::new(self.resolved(model, images)?.goal()?))
    }

    /// The same target with everything decided that depends on model and images: one score per image, each
    /// with its layer, and predicted classes by number.
    ///
    /// ```
    /// use vis::attribution::Target;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let target = Target::predicted().resolved(&model, &image)?;
    /// // It stays what it is, whatever the image becomes.
    /// let logits = vis::host::values(model.classify(image.clone())?);
    /// let class = (0..5).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or_default();
    /// assert_eq!(target.to_string(), format!("class {class}"));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores).
    pub fn resolved(&self, model: &dyn Model, images: &Tensor<4>) -> Result<Self> {
        let [batch, ..] = images.dims();
        let mut scores = match &self.0 {
            Wanted::Same(score) => vec![score.clone(); batch],
            Wanted::PerImage(scores) if scores.len() == batch => scores.clone(),
            Wanted::PerImage(scores) => {
                return Err(Error::invalid("the target", format!("one per image ({batch})"), scores.len()));
            }
        };
        model.input().check(images.dims())?;
        if scores.iter().any(|score| score.layer.is_none()) {
            let logits = match model.logits() {
                Some(layer) => layer.to_owned(),
                None => {
                    let mut taps = Taps::new().table();
                    run(model, images.clone().inner().narrow(0, 0, 1), &mut taps)?;
                    taps.seen()
                        .last()
                        .cloned()
                        .ok_or_else(|| Error::unknown_layer("the output", Vec::new()))?
                }
            };
            for score in &mut scores {
                score.layer.get_or_insert_with(|| logits.clone());
            }
        }
        if scores.iter().any(|score| matches!(score.kind, Kind::Predicted(_))) {
            let layers: Vec<&str> = scores.iter().filter_map(|score| score.layer.as_deref()).collect();
            let mut taps = Taps::new().record(layers);
            run(model, images.clone().inner(), &mut taps)?;
            for (index, score) in scores.iter_mut().enumerate() {
                if let (Kind::Predicted(probability), Some(layer)) = (&score.kind, &score.layer) {
                    let values = taps.activation(layer)?.narrow(0, index, 1).mean_dims(&[2, 3]);
                    let values = crate::host::values(values);
                    let best = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]));
                    let best = best.unwrap_or_default();
                    score.kind = match probability {
                        true => Kind::Probability(best),
                        false => Kind::Channels("class", vec![(best, 1.0)]),
                    };
                }
            }
        }
        Ok(Self(Wanted::PerImage(scores)))
    }

    /// The target of `times` variations of one image.
    pub(crate) fn repeated(&self, image: usize, times: usize) -> Self {
        Self(Wanted::PerImage(match &self.0 {
            Wanted::Same(score) => vec![score.clone(); times],
            Wanted::PerImage(scores) => {
                scores.get(image).map(|score| vec![score.clone(); times]).unwrap_or_default()
            }
        }))
    }

    /// The classes that the first image's score adds up, if it is a sum of plain logits.
    pub(crate) fn classes_of_logits(&self, model: &dyn Model) -> Option<Vec<usize>> {
        let score = match &self.0 {
            Wanted::Same(score) => score,
            Wanted::PerImage(scores) => scores.first()?,
        };
        match &score.kind {
            Kind::Channels(_, terms)
                if score.layer.as_deref().is_none_or(|layer| model.logits() == Some(layer))
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
            Wanted::Same(score) => score.to_string(),
            Wanted::PerImage(scores) => scores.get(image).map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// A resolved target as what can be read from activations.
    pub(crate) fn goal(&self) -> Result<Goal> {
        let scores = match &self.0 {
            Wanted::PerImage(scores) => scores,
            Wanted::Same(_) => return Err(Error::invalid("the target", "a resolved one", self)),
        };
        let scores = scores.iter().map(|score| Some((score.layer.clone()?, score.kind.clone()))).collect();
        let scores: Option<Vec<_>> = scores;
        scores.map(Goal).ok_or_else(|| Error::invalid("the target", "a resolved one", self))
    }

    fn new(kind: Kind) -> Self {
        Self(Wanted::Same(Score { layer: None, kind }))
    }
}

impl From<usize> for Target {
    fn from(class: usize) -> Self {
        Self::class(class)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Wanted::Same(score) => score.fmt(f),
            Wanted::PerImage(scores) => {
                f.write_str(&scores.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Predicted(_) => f.write_str("the predicted class")?,
            Kind::Channels(what, terms) => {
                for (index, (channel, weight)) in terms.iter().enumerate() {
                    match (index, *weight < 0.0) {
                        (0, false) => {}
                        (0, true) => f.write_str("−")?,
                        (_, false) => f.write_str(" + ")?,
                        (_, true) => f.write_str(" − ")?,
                    }
                    write!(f, "{what} {channel}")?;
                }
            }
            Kind::Mean => f.write_str("mean")?,
            Kind::Probability(class) => write!(f, "probability of class {class}")?,
            Kind::Neuron([channel, row, column]) => {
                write!(f, "channel {channel} at row {row}, column {column}")?;
            }
            Kind::Function(_) => f.write_str("a function of the logits")?,
        }
        match (&self.layer, &self.kind) {
            (Some(layer), Kind::Mean | Kind::Neuron(_) | Kind::Channels("channel", _)) => {
                write!(f, " of `{layer}`")
            }
            _ => Ok(()),
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mean, Self::Mean) => true,
            (Self::Predicted(one), Self::Predicted(two)) => one == two,
            (Self::Channels(_, one), Self::Channels(_, two)) => one == two,
            (Self::Probability(one), Self::Probability(two)) => one == two,
            (Self::Neuron(one), Self::Neuron(two)) => one == two,
            (Self::Function(one), Self::Function(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predicted(_) => f.write_str("Predicted"),
            Self::Mean => f.write_str("Mean"),
            Self::Channels(what, terms) => f.debug_tuple("Channels").field(what).field(terms).finish(),
            Self::Probability(class) => f.debug_tuple("Probability").field(class).finish(),
            Self::Neuron(place) => f.debug_tuple("Neuron").field(place).finish(),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

/// A resolved target: for each image of the batch, the layer and what is read from it.
#[derive(Debug, Clone)]
pub(crate) struct Goal(Vec<(String, Kind)>);

impl Goal {
    /// The layers that are read.
    pub(crate) fn layer_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (layer, _) in &self.0 {
            if !names.contains(layer) {
                names.push(layer.clone());
            }
        }
        names
    }

    /// The scores on the host, from one forward pass.
    pub(crate) fn scores(&self, model: &dyn Model, images: Tensor<4>) -> Result<Vec<f32>> {
        let mut taps = Taps::new().record(self.layer_names());
        run(model, images.inner(), &mut taps)?;
        Ok(crate::host::values(self.read(&taps.into_recorded())?))
    }

    /// The scores from recorded activations, `[batch]`.
    pub(crate) fn read(&self, layers: &BTreeMap<String, Tensor<4>>) -> Result<Tensor<1>> {
        let layer = |name: &str| {
            let found = layers.get(name).cloned();
            found.ok_or_else(|| Error::unknown_layer(name, layers.keys().cloned().collect()))
        };
        let mut parts = Vec::new();
        let mut start = 0;
        // Neighbours that want the same are read together.
        for same in self.0.chunk_by(|one, two| one == two) {
            let (name, kind) = &same[0];
            let activation = layer(name)?;
            let [batch, ..] = activation.dims();
            if start + same.len() > batch {
                let expected = format!("one entry per image ({batch})");
                return Err(Error::invalid("the target", expected, self.0.len()));
            }
            parts.push(kind.read(name, activation.narrow(0, start, same.len()))?);
            start += same.len();
        }
        if parts.is_empty() {
            return Err(Error::invalid("the target", "at least one", 0));
        }
        Ok(Tensor::cat(parts, 0))
    }
}

impl Loss for Goal {
    fn name(&self) -> String {
        "score".into()
    }

    fn layers(&self) -> Vec<String> {
        self.layer_names()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let layers = self.layer_names().into_iter().map(|name| Ok((name.clone(), scene.layer(&name)?)));
        self.read(&layers.collect::<Result<_>>()?)
    }
}

impl Kind {
    /// The scores of a few images from the activation of one layer.
    fn read(&self, layer: &str, activation: Tensor<4>) -> Result<Tensor<1>> {
        let [batch, channels, height, width] = activation.dims();
        let within = |what, index: usize, len: usize| {
            let place = || format!("layer `{layer}`");
            if index < len { Ok(()) } else { Err(Error::OutOfRange { what, index, place: place(), len }) }
        };
        let means = |activation: Tensor<4>| match height * width {
            1 => activation.reshape([batch, channels]),
            _ => activation.mean_dims(&[2, 3]).reshape([batch, channels]),
        };
        Ok(match self {
            Self::Predicted(_) => {
                return Err(Error::invalid("the target", "a resolved one", "a predicted class"));
            }
            Self::Channels(what, terms) => {
                let means = means(activation);
                let mut sum = None;
                for (channel, weight) in terms {
                    within(what, *channel, channels)?;
                    let term = means.clone().narrow(1, *channel, 1) * *weight;
                    sum = Some(sum.map_or(term.clone(), |sum: Tensor<2>| sum + term));
                }
                let none = || Error::invalid("the target", "at least one class", "none");
                sum.ok_or_else(none)?.reshape([batch])
            }
            Self::Mean => activation.mean_dims(&[1, 2, 3]).reshape([batch]),
            Self::Probability(class) => {
                within("class", *class, channels)?;
                activation::softmax(means(activation), 1).narrow(1, *class, 1).reshape([batch])
            }
            Self::Neuron([channel, row, column]) => {
                within("channel", *channel, channels)?;
                within("row", *row, height)?;
                within("column", *column, width)?;
                let at = activation.narrow(1, *channel, 1).narrow(2, *row, 1).narrow(3, *column, 1);
                at.reshape([batch])
            }
            Self::Function(score) => {
                let scores = score(means(activation));
                let got = scores.dims();
                assert!(
                    got == [batch],
                    "a target function must give one score per image: expected [{batch}], got {got:?}"
                );
                scores
            }
        })
    }
}
