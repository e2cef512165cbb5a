//! Minimises a weighted sum of losses by gradient descent on the image.

pub(crate) mod callback;
mod history;
mod lbfgs;
mod minimized;
mod start;
mod steps;
mod update;
mod views;

use std::fmt;
use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::losses::Losses;
use crate::model::{Model, Preset, UpdateRule};
use crate::parametrization::Parametrization;
use crate::progress::{Progress, Watcher};
use crate::transforms::{Crop, Jitter, Noise, Rotate, Scale, Transform};
use crate::{Error, Result, Rule};

pub use crate::gradient::modifier::GradientModifier;
pub use callback::Step;
pub use history::History;
pub use lbfgs::Lbfgs;
pub use minimized::Minimized;
pub use steps::Steps;
pub use update::{BurnUpdate, Nadam, Normalization, RmsProp, Update};

use callback::Callback;
use start::{Start, Written};
use views::Views;

/// Minimises a weighted sum of losses by gradient descent on the image.
///
/// ```
/// use vis::losses::{ActivationMaximization, LPNorm, TotalVariation};
/// use vis::{Optimizer, losses};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let losses = losses![
///     (ActivationMaximization::new("conv2", [1, 2, 3]), 1.0),
///     (LPNorm::default(), 10.0),
///     (TotalVariation::default(), 10.0),
/// ];
/// let result = Optimizer::new(&model, losses).max_iter(5).minimize()?;
/// assert_eq!(result.image.dims(), [1, 3, 8, 8]);
/// assert_eq!(result.losses.steps(), 5);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The defaults are those of keras-vis: noise around the middle of the range, 200 steps of its RMSprop on
/// gradients divided by their root mean square, no jitter. Batches are independent runs: every image has its
/// own gradient normalisation, loss and best.
///
/// One step costs one forward and one backward pass, as deep as the deepest layer that a loss names.
pub struct Optimizer<'a> {
    model: &'a dyn Model,
    losses: Losses,
    start: Start,
    seed: u64,
    max_iter: usize,
    learning_rate: f64,
    update: Box<dyn Update>,
    normalization: Normalization,
    modifier: Option<GradientModifier>,
    rule: Rule,
    warm_up: usize,
    written: Written,
    /// Those of a preset, which come before the others.
    preset_transforms: Vec<Box<dyn Transform>>,
    sizes: Vec<f32>,
    average: f32,
    transparency: bool,
    transforms: Vec<Box<dyn Transform>>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
    progress: Option<Watcher<'a>>,
    read_every: usize,
}

impl<'a> Optimizer<'a> {
    /// A run on this model that minimises these losses, with the settings of keras-vis.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let result = Optimizer::new(&model, TotalVariation::default()).minimize()?;
    /// assert_eq!(result.losses.steps(), 200);
    /// assert!(result.best_loss[0] < result.losses.totals()[[0, 0]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(model: &'a dyn Model, losses: impl Into<Losses>) -> Self {
        Self {
            model,
            losses: losses.into(),
            start: Start::default(),
            seed: 0,
            max_iter: 200,
            learning_rate: 1.0,
            update: Box::new(RmsProp::default()),
            normalization: Normalization::default(),
            modifier: None,
            rule: Rule::Plain,
            warm_up: 0,
            written: Written::ByPixels,
            preset_transforms: Vec::new(),
            sizes: Vec::new(),
            average: 0.0,
            transparency: false,
            transforms: Vec::new(),
            callbacks: Vec::new(),
            progress: None,
            read_every: 1,
        }
    }

    /// Takes the settings of a [`Preset`], except for the weights of the losses, which are already given. Later calls override
    /// single settings; another preset replaces them all.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization, model::Preset};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let class = ActivationMaximization::new("logits", 2);
    /// let preset = Preset { max_iter: 7, ..Preset::robust() };
    /// let result = Optimizer::new(&model, class).preset(&preset).minimize()?;
    /// assert_eq!(result.losses.steps(), 7);
    /// assert_ne!(result.value.dims(), result.image.dims()); // a spectrum
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn preset(mut self, preset: &Preset) -> Self {
        self.max_iter = preset.max_iter;
        self.warm_up = preset.warm_up;
        self.learning_rate = preset.learning_rate;
        self.moved_by(preset.update);
        (self.average, self.transparency) = (preset.average, preset.transparency);
        self.sizes.clone_from(&preset.sizes);
        self.written = Written::ByPreset { prior: preset.prior, frame: preset.frame };
        self.preset_transforms.clear();
        if preset.jitter != 0.0 {
            self.preset_transforms.push(Box::new(Jitter::Fraction(preset.jitter)));
        }
        if let Some((from, to)) = preset.crop {
            self.preset_transforms.push(Box::new(Crop { from, to }));
        }
        if !preset.scales.is_empty() {
            self.preset_transforms.push(Box::new(Scale(preset.scales.clone())));
        }
        if !preset.rotations.is_empty() {
            self.preset_transforms.push(Box::new(Rotate(preset.rotations.clone())));
        }
        if preset.noise != 0.0 {
            let (low, high) = self.model.input().range();
            self.preset_transforms.push(Box::new(Noise(preset.noise * (high - low))));
        }
        self
    }

    /// Sets the update by its name, and the normalisation that it needs.
    pub(crate) fn moved_by(&mut self, rule: UpdateRule) {
        self.normalization = Normalization::default();
        self.update = match rule {
            UpdateRule::RmsProp => Box::new(RmsProp::default()),
            UpdateRule::Adam => Box::new(BurnUpdate::new(burn::optim::AdamConfig::new().build())),
            UpdateRule::Nadam => Box::new(Nadam::default()),
            UpdateRule::Lbfgs => {
                let (low, high) = self.model.input().range();
                self.normalization = Normalization::None;
                Box::new(Lbfgs::within(10.0 * (high - low) / 255.0))
            }
        };
    }

    /// Starts from this batch of images, `[batch, channels, height, width]`, in the model's input range,
    /// instead of noise.
    ///
    /// ```
    /// # use vis::{Model, Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let grey = model.input().zeros(&model.device()) + 100.0;
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).seed_img(grey);
    /// let first = run.steps()?.next().unwrap()?;
    /// assert!(first.image.into_data().to_vec::<f32>().unwrap().iter().all(|value| *value == 100.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "seed_input")]
    pub fn seed_img(mut self, images: Tensor<4>) -> Self {
        self.start.images = Some(Box::new(images));
        self
    }

    /// Starts from noise in `images` images at once. Each is a run of its own, with randomness of its own.
    ///
    /// It is an error, when the run begins, if [`seed_img`](Self::seed_img) has another number of images.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let result = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).batch(3).max_iter(2).minimize()?;
    /// assert_eq!(result.image.dims(), [3, 3, 8, 8]);
    /// assert!(result.best_loss[0] != result.best_loss[1]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch(mut self, images: usize) -> Self {
        self.start.batch = Some(images);
        self
    }

    /// Says which repetition of what is asked for each image is: noise and transforms are drawn for it.
    pub(crate) fn repetitions(mut self, repetitions: Vec<usize>) -> Self {
        self.start.repetitions = Some(repetitions);
        self
    }

    /// Starts from noise of this height and width, for models that take any size.
    ///
    /// It is an error, when the run begins, if [`seed_img`](Self::seed_img) has another size.
    ///
    /// ```
    /// # use burn::tensor::{Tensor, ops::ConvOptions, module::conv2d, activation::relu};
    /// # use vis::model::{InputSpec, Model, Stop, Taps};
    /// # struct AnySize(InputSpec, Tensor<4>);
    /// # impl Model for AnySize {
    /// #     fn input(&self) -> &InputSpec { &self.0 }
    /// #     fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
    /// #         let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    /// #         taps.layer("conv", relu(conv2d(x / 255.0, self.1.clone(), None, options)))?;
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let weights = vis::random::noise([4, 3, 3, 3], (-1.0, 1.0), 0, 0, &Default::default());
    /// # let model = AnySize(InputSpec::rgb(32, 32).with_any_size_from(8), weights);
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv", 0)).size(12, 20);
    /// assert_eq!(run.max_iter(2).minimize()?.image.dims(), [1, 3, 12, 20]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.start.size = Some((height, width));
        self
    }

    /// Sets the seed of all randomness: the same seed gives the same picture. Default 0.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = |seed| Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).seed(seed).max_iter(3);
    /// assert_eq!(run(1).minimize()?.array(), run(1).minimize()?.array());
    /// assert_ne!(run(1).minimize()?.array(), run(0).minimize()?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the number of steps. Default 200; 0 evaluates nothing and returns the start.
    ///
    /// ```
    /// # use vis::{Model, Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).seed_img(photo.clone());
    /// assert_eq!(run().max_iter(5).minimize()?.losses.steps(), 5);
    /// assert_eq!(run().max_iter(0).minimize()?.image.into_data().to_vec::<f32>().unwrap(), photo.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "n_iter")]
    #[doc(alias = "steps")]
    pub fn max_iter(mut self, steps: usize) -> Self {
        self.max_iter = steps;
        self
    }

    /// Sets the learning rate. Default 1, in pixel values per step for the default update.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut steps = Optimizer::new(&model, TotalVariation::default()).learning_rate(2.0).steps()?;
    /// let (first, second) = (steps.next().unwrap()?, steps.next().unwrap()?);
    /// let moved = (second.image - first.image).abs().max().into_scalar::<f32>();
    /// assert!((moved - 2.0 * 4.472).abs() < 0.01); // the first step of RMSprop is 4.47 times as long
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the update rule: [`RmsProp`] of keras-vis by default, or any optimizer of `burn::optim` in a
    /// [`BurnUpdate`].
    ///
    /// ```
    /// use burn::optim::AdamConfig;
    /// use vis::{Optimizer, losses::ActivationMaximization, optimizer::BurnUpdate};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(9);
    /// let adam = run().update(BurnUpdate::new(AdamConfig::new().build())).minimize()?;
    /// assert_ne!(adam.losses, run().minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn update(mut self, update: impl Update + 'static) -> Self {
        self.update = Box::new(update);
        self
    }

    /// Sets how each image's gradient is normalised. Default: divided by its root mean square.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization, optimizer::Normalization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let filter = ActivationMaximization::new("conv2", 0);
    /// let run = Optimizer::new(&model, filter).normalize(Normalization::L2).max_iter(1);
    /// let length = run.minimize()?.gradient.square().sum().sqrt().into_scalar::<f32>();
    /// assert!((length - 1.0).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "norm_grads")]
    pub fn normalize(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// Changes the normalised gradient before the update.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization, optimizer::GradientModifier};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(10);
    /// // The filter is put out instead of excited: the loss, minus its activation, rises.
    /// let losses = run.grad_modifier(GradientModifier::Negate).minimize()?.losses.totals();
    /// assert!(losses[[9, 0]] > losses[[0, 0]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn grad_modifier(mut self, modifier: GradientModifier) -> Self {
        self.modifier = Some(modifier);
        self
    }

    /// Sets the backward rule at rectifiers. Evidence, to guided backprop and deconvolution, is what lowers the losses
    /// (keras-vis took it for what raises them, and so followed the evidence against).
    ///
    /// ```
    /// use vis::{Optimizer, Rule, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(1);
    /// let plain = run().minimize()?.gradient;
    /// let guided = run().rule(Rule::Guided).minimize()?.gradient;
    /// assert!((plain - guided).abs().max().into_scalar::<f32>() > 0.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Uses [`Rule::Redirected`] for the first `steps` steps, so that filters that are inactive on the start image receive a
    /// gradient. Default 0. It has no effect with a rule other than [`Rule::Plain`].
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(20);
    /// // A filter that is alive is left as it is.
    /// assert_eq!(run().warm_up(16).minimize()?.losses, run().minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn warm_up(mut self, steps: usize) -> Self {
        self.warm_up = steps;
        self
    }

    /// Sets how the optimised variable represents the image. Default: by its pixels.
    ///
    /// ```
    /// use vis::{Model, Optimizer, losses::ActivationMaximization, parametrization::Fourier};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let spectrum = Fourier::new([8, 8], model.input().range());
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).parametrization(spectrum);
    /// let result = run.learning_rate(0.05).max_iter(5).minimize()?;
    /// assert!(result.image.clone().into_data().to_vec::<f32>().unwrap().iter().all(|value| (0.0..=255.0).contains(value)));
    /// assert_ne!(result.value.dims(), result.image.dims()); // frequencies, not pixels
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn parametrization(mut self, parametrization: impl Parametrization + 'static) -> Self {
        self.written = Written::By(Box::new(parametrization));
        self
    }

    /// Shifts the image at random before it enters the model, by up to this many pixels or, for a number
    /// with a fraction, by that share of each side.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).jitter(2);
    /// let losses = run.learning_rate(0.0).max_iter(9).minimize()?.losses.totals();
    /// // The image rests, and every shift of it has a loss of its own.
    /// assert!(losses.iter().any(|loss| *loss != losses[[0, 0]]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn jitter(self, jitter: impl Into<Jitter>) -> Self {
        self.transform(jitter.into())
    }

    /// Adds a transform between the image and the model; they apply in the order added, after those of a
    /// [`preset`](Self::preset).
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization, transforms::{Rotate, Scale}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0));
    /// let run = run.transform(Scale(vec![0.9, 1.1])).transform(Rotate(vec![-10.0, 0.0, 10.0]));
    /// let losses = run.learning_rate(0.0).max_iter(9).minimize()?.losses.totals();
    /// // The image rests, and every view of it has a loss of its own.
    /// assert!(losses.iter().any(|loss| *loss != losses[[0, 0]]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "input_modifiers")]
    pub fn transform(mut self, transform: impl Transform + 'static) -> Self {
        self.transforms.push(Box::new(transform));
        self
    }

    /// Adds a [`Callback`], which is called before the first step, after every step, and at the end, good or bad.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-callback-example.gif");
    /// let every_tenth = GifGenerator::create(&path)?.every(10);
    /// Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(30).callback(every_tenth).minimize()?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Calls `progress` after every step; [`ControlFlow::Break`] ends the run after it, with its result.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = Optimizer::new(&model, TotalVariation::default()).progress(|now| {
    ///     println!("{} of {}: loss {:?}", now.done, now.of, now.loss);
    ///     if now.done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    /// assert_eq!(run.minimize()?.losses.steps(), 3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Reads the losses back from the device every n-th step instead of at each. Between two readings
    /// nothing waits for the device, which is worth much on a GPU; that a loss turned NaN is then noticed at
    /// the next reading. Default 1.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(10);
    /// assert_eq!(run().read_every(4).minimize()?.losses, run().minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn read_every(mut self, steps: usize) -> Self {
        self.read_every = steps.max(1);
        self
    }

    /// Runs all steps and returns the best images.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let result = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(20).minimize()?;
    /// let losses = result.losses.totals();
    /// assert!(losses.iter().all(|loss| *loss >= result.best_loss[0]));
    /// assert_eq!(losses[[result.best_step[0], 0]], result.best_loss[0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Settings out of range, unknown layers, filters out of range; [`Error::NonFinite`] when a loss or the
    /// gradient becomes NaN or infinite and [`Error::Stopped`] when a callback fails, both with the best image
    /// so far inside.
    pub fn minimize(self) -> Result<Minimized> {
        let mut steps = self.steps()?;
        for step in steps.by_ref() {
            step?;
        }
        steps.finish()
    }

    /// The same run, step by step, for callers who want control: leave the loop whenever you like, then call
    /// [`Steps::finish`].
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut steps = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).steps()?;
    /// for step in &mut steps {
    ///     let step = step?;
    ///     if step.losses.totals()[0] < -0.5 || step.index == 9 {
    ///         break;
    ///     }
    /// }
    /// let result = steps.finish()?;
    /// assert!(result.losses.steps() <= 10);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Settings out of range.
    pub fn steps(mut self) -> Result<Steps<'a>> {
        self.losses.check()?;
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            let expected = "a finite number of 0 or more";
            return Err(Error::invalid("the learning rate", expected, self.learning_rate));
        }
        let mut transforms = self.preset_transforms;
        transforms.append(&mut self.transforms);
        transforms.iter().try_for_each(|transform| transform.check())?;
        if !(0.0..1.0).contains(&self.average) {
            let expected = "a share of the past from 0 up to, but not including, 1";
            return Err(Error::invalid("the average of a preset", expected, self.average));
        }
        let range = self.model.input().range();
        let parametrization = self.written.settle(self.start.size(self.model), range);
        let (variable, repetitions) = self.start.variable(self.model, &*parametrization, self.seed)?;
        let bounds = parametrization.is_bounded().then_some(range);
        Steps::begin(steps::Run {
            model: self.model,
            losses: self.losses,
            rule: self.rule,
            warm_up: self.warm_up,
            parametrization,
            normalization: self.normalization,
            modifier: self.modifier,
            update: self.update,
            learning_rate: self.learning_rate,
            max_iter: self.max_iter,
            read_every: self.read_every,
            callbacks: self.callbacks,
            progress: self.progress,
            bounds,
            views: Views::new(transforms, repetitions, self.seed).sizes(self.sizes, self.model.input())?,
            average: self.average,
            transparency: self.transparency,
            variable,
        })
    }
}

impl fmt::Debug for Optimizer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizer")
            .field("losses", &self.losses)
            .field("seed", &self.seed)
            .field("max_iter", &self.max_iter)
            .field("learning_rate", &self.learning_rate)
            .field("update", &self.update)
            .field("normalization", &self.normalization)
            .field("rule", &self.rule)
            .field("preset_transforms", &self.preset_transforms)
            .field("transforms", &self.transforms)
            .finish_non_exhaustive()
    }
}
