//! Pictures that make filters fire.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use ndarray::{Axis, s};

use super::activations::{Activation, Activations, Unfinished};
use super::relative::Relative;
use crate::callbacks::Print;
use crate::gradient::Gradient;
use crate::losses::{ActivationMaximization, Content, LPNorm, Losses, Resemblance, TotalVariation};
use crate::model::{Layer, Model, Preset, Prior};
use crate::optimizer::{Minimized, Optimizer, Step};
use crate::progress::{Progress, Watcher};
use crate::target::{Goal, Target};
use crate::{Error, Result};

/// Makes one picture for each entry of a list of filters of a layer, or classes of a dense one: the image that
/// makes it fire, kept natural by an L-p norm and total variation.
///
#[cfg_attr(doc, doc = include_str!("../figures/activation.md"))]
///
/// ```
/// use vis::visualize_activation;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let pictures = visualize_activation(&model, "conv2").filter_indices([0, 3]).max_iter(20).run()?;
/// assert_eq!(pictures.len(), 2);
/// assert!(pictures[0].after >= pictures[0].before);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The settings are those of the model's [`Preset`] until changed. Many filters run as batches as large as
/// [`memory_limit`](VisualizeActivation::memory_limit) allows; how they are cut into batches changes nothing but the last
/// digits.
///
/// All randomness comes from the seed: the first picture of any filters starts from the same noise and is jittered alike,
/// the second picture of the same filters from other noise, and so on. So filter 5 has the same picture alone and beside
/// others, and three times the same class gives three pictures.
pub fn visualize_activation<'a>(model: &'a dyn Model, layer: impl Into<String>) -> VisualizeActivation<'a> {
    VisualizeActivation {
        model,
        layer: layer.into(),
        targets: None,
        diverse: 1,
        nearness: None,
        labels: None,
        preset: model.preset(),
        size: None,
        seed: 0,
        seed_img: None,
        memory_limit: 1 << 30,
        verbose: false,
        progress_gif: None,
        progress: None,
        configure: None,
    }
}

/// The weight of the resemblance of diverse pictures, in units of their activation.
const DIVERSITY: f32 = 0.5;

/// The settings of [`visualize_activation`]; [`run`](Self::run) makes the pictures.
pub struct VisualizeActivation<'a> {
    model: &'a dyn Model,
    layer: String,
    targets: Option<Vec<Target>>,
    diverse: usize,
    nearness: Option<f32>,
    labels: Option<Vec<String>>,
    preset: Preset,
    size: Option<(usize, usize)>,
    seed: u64,
    seed_img: Option<Tensor<4>>,
    memory_limit: usize,
    verbose: bool,
    progress_gif: Option<PathBuf>,
    progress: Option<Watcher<'a>>,
    configure: Option<Box<dyn Fn(Optimizer<'a>) -> Optimizer<'a> + Send + 'a>>,
}

impl<'a> VisualizeActivation<'a> {
    /// One entry a picture; each is one index, or a list of indices maximised jointly. Default: every filter of
    /// the layer, one a picture.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let joint = vis::visualize_activation(&model, "logits").filter_indices([vec![2], vec![2, 4]]);
    /// let pictures = joint.max_iter(2).run()?;
    /// assert_eq!(pictures[1].label, "Filter 2, 4");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn filter_indices<F: Into<Target>>(self, filters: impl IntoIterator<Item = F>) -> Self {
        self.targets(filters)
    }

    /// One [`Target`] a picture: anything that can be asked of the network. Scores that name no layer are read from the
    /// layer given at first.
    ///
    /// ```
    /// use vis::Target;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let rather_than = Target::class(3) - 0.5 * Target::class(1);
    /// let run = vis::visualize_activation(&model, "logits").targets([rather_than, Target::neuron("conv2", 5, 1, 2)]);
    /// let pictures = run.max_iter(2).run()?;
    /// assert_eq!(pictures[0].label, "filter 3 − 0.5 × filter 1 of `logits`");
    /// assert_eq!(pictures[1].label, "channel 5 at row 1, column 2 of `conv2`");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn targets<T: Into<Target>>(mut self, targets: impl IntoIterator<Item = T>) -> Self {
        self.targets = Some(targets.into_iter().map(Into::into).collect());
        self
    }

    /// Makes so many pictures of each target, which differ from each other: several faces of one unit, in a row. Default 1.
    ///
    /// Each starts from other noise, and what the last finer map before the target's layer sees in it is kept from
    /// [resembling](crate::losses::Resemblance) what it sees in the others, at little cost to the activation. They are made
    /// in one batch, whatever the [memory limit](Self::memory_limit).
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).diverse(3);
    /// let pictures = run.max_iter(2).run()?;
    /// assert_eq!(pictures.len(), 6);
    /// assert_eq!(pictures[4].label, "Filter 3, 2 of 3");
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "diversity")]
    pub fn diverse(mut self, pictures: usize) -> Self {
        self.diverse = pictures;
        self
    }

    /// Accentuates a photo, `[1, channels, height, width]`: shows what in it excites each target, made stronger.
    ///
    /// Starts from the photo, and keeps what a layer in the middle sees near to what it sees there: `nearness` is the weight
    /// of that distance, relative to the photo's own features, in units of the activation. 1 is a beginning; 0 lets go of the
    /// photo. Random transforms of the preset are left out, which would move the image against the photo, and the
    /// pictures get a [transparency](Activation::transparency): they are opaque where the photo was changed for the target.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).accentuate(photo.clone(), 1.0);
    /// let pictures = run().max_iter(20).run()?;
    /// assert!(pictures[0].after > pictures[0].before); // than in the photo
    /// assert_eq!(pictures[0].transparency.as_ref().unwrap().dim(), (8, 8));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// Source: Hamblin et al. 2024, *Feature Accentuation: Revealing 'What' Features Respond to in Natural Images*, arXiv
    /// 2402.10039.
    pub fn accentuate(mut self, photo: Tensor<4>, nearness: f32) -> Self {
        let decay = match self.preset.prior {
            Prior::Fourier { decay } => decay,
            Prior::Pixels | Prior::Phase => 1.0,
        };
        self.preset = Preset {
            prior: Prior::Fourier { decay },
            learning_rate: 0.02,
            max_iter: 100,
            transparency: true,
            noise: 0.02,
            ..self.preset.still()
        };
        self.nearness = Some(nearness);
        self.seed_img(photo)
    }

    /// One caption a picture, or of [several](Self::diverse) that differ. Default: the names of the classes if the layer holds class scores and the model knows
    /// them, else `Filter` and the indices.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let two = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).max_iter(1);
    /// let pictures = two.labels(["edges", "blobs"]).run()?;
    /// assert_eq!(pictures[1].label, "blobs");
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "idx_label_map")]
    pub fn labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.labels = Some(labels.into_iter().map(Into::into).collect());
        self
    }

    /// Takes all settings from this preset instead of the model's.
    ///
    /// ```
    /// use vis::model::Preset;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let preset = Preset { max_iter: 3, ..Preset::robust() };
    /// let pictures = vis::visualize_activation(&model, "conv2").filter_indices([0]).preset(preset).run()?;
    /// // A Fourier image never leaves the range.
    /// assert!(pictures[0].image.iter().all(|value| (0.0..=255.0).contains(value)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets the number of steps.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(3).run()?;
    /// assert_eq!(pictures[0].losses.steps(), 3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_iter(mut self, steps: usize) -> Self {
        self.preset.max_iter = steps;
        self
    }

    /// Sets the weight of the activation; 1 in keras-vis.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let first = |weight| {
    ///     let run = vis::visualize_activation(&model, "conv2").filter_indices([0]).act_max_weight(weight);
    ///     run.max_iter(1).run().map(|pictures| pictures[0].losses.named("activation maximization").unwrap()[[0, 0]])
    /// };
    /// assert_eq!(first(2.0)?, 2.0 * first(1.0)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn act_max_weight(mut self, weight: f32) -> Self {
        self.preset.act_max_weight = weight;
        self
    }

    /// Sets the weight of the L-p norm; 10 in keras-vis.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(1);
    /// let names = |pictures: vis::visualization::Activations| pictures[0].losses.names().to_vec();
    /// assert_eq!(names(run().run()?), ["activation maximization", "L-6 norm", "TV(2)"]);
    /// assert_eq!(names(run().lp_norm_weight(0.0).run()?), ["activation maximization", "TV(2)"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn lp_norm_weight(mut self, weight: f32) -> Self {
        self.preset.lp_norm_weight = weight;
        self
    }

    /// Sets the weight of total variation; 10 in keras-vis.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let roughness = |image: &ndarray::Array3<f32>| {
    /// #     (&image.slice(ndarray::s![.., .., 1..]) - &image.slice(ndarray::s![.., .., ..-1])).std(0.0)
    /// # };
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(20);
    /// let (smooth, rough) = (run().tv_weight(10.0).run()?, run().tv_weight(0.0).run()?);
    /// assert!(roughness(&smooth[0].image) < roughness(&rough[0].image));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn tv_weight(mut self, weight: f32) -> Self {
        self.preset.tv_weight = weight;
        self
    }

    /// Sets the largest random shift, as a fraction of the image's sides.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let rests = |losses: &ndarray::Array2<f32>| losses.iter().all(|loss| *loss == losses[[0, 0]]);
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).learning_rate(0.0).max_iter(9);
    /// assert!(rests(&run().jitter(0.0).run()?[0].losses.totals()));
    /// assert!(!rests(&run().jitter(0.25).run()?[0].losses.totals())); // every shift has a loss of its own
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn jitter(mut self, fraction: f32) -> Self {
        self.preset.jitter = fraction;
        self
    }

    /// Sets the learning rate.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(9);
    /// assert_eq!(run().learning_rate(0.0).run()?[0].gain(), 1.0); // nothing moves
    /// assert!(run().learning_rate(1.0).run()?[0].gain() > 1.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.preset.learning_rate = learning_rate;
        self
    }

    /// Sets the height and width of the pictures, for models that take any size.
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
    /// let pictures = vis::visualize_activation(&model, "conv").filter_indices([0]).size(12, 20).max_iter(1).run()?;
    /// assert_eq!(pictures[0].image.dim(), (3, 12, 20));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = Some((height, width));
        self
    }

    /// Sets the seed of all randomness. Default 0.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = |seed| vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(3).seed(seed).run();
    /// assert_eq!(run(1)?[0].image, run(1)?[0].image);
    /// assert_ne!(run(1)?[0].image, run(2)?[0].image);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts from these images in the model's input range: one for all pictures,
    /// `[1, channels, height, width]`, or one for each.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let grey = model.input().zeros(&model.device()) + 100.0;
    /// let from_grey = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).seed_img(grey);
    /// let pictures = from_grey.max_iter(0).run()?;
    /// assert!(pictures.iter().all(|picture| picture.image.iter().all(|value| *value == 100.0)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "seed_input")]
    pub fn seed_img(mut self, images: Tensor<4>) -> Self {
        self.seed_img = Some(images);
        self
    }

    /// Sets how many bytes the activations of one batch may take, as a guide to its size. Default 1 GiB.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).max_iter(2);
    /// let (together, one_by_one) = (run().run()?, run().memory_limit(1).run()?);
    /// assert!((together[1].after - one_by_one[1].after).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Writes the losses of every step to standard error.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(2);
    /// assert_eq!(run().verbose(true).run()?[0].image, run().run()?[0].image); // the picture is the same
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// Writes the images of every step to an animated GIF, a batch as a grid:
    /// [`GifGenerator`](crate::callbacks::GifGenerator). When the pictures take several batches, the second and later
    /// ones get `-2`, `-3`, … before `.gif`.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-activation-progress-example.gif");
    /// # let _ = std::fs::remove_file(path.with_file_name("vis-activation-progress-example-2.gif"));
    /// let run = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).max_iter(2);
    /// run.memory_limit(1).progress_gif_path(&path).run()?; // one by one
    /// assert!(path.exists());
    /// assert!(path.with_file_name("vis-activation-progress-example-2.gif").exists());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress_gif_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.progress_gif = Some(path.into());
        self
    }

    /// Calls `progress` after every step, which counts once for each picture of its batch; [`ControlFlow::Break`] ends the
    /// run, and the pictures of the batches finished and begun are the result.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).max_iter(100);
    /// let five_steps = |now: &vis::Progress| match now.done {
    ///     10.. => ControlFlow::Break(()), // five steps of two pictures
    ///     _ => ControlFlow::Continue(()),
    /// };
    /// let pictures = run.progress(five_steps).run()?;
    /// assert_eq!((pictures.len(), pictures[0].losses.steps()), (2, 5));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Changes the optimizer of every batch: another update rule, a transform, a callback.
    ///
    /// ```
    /// use vis::Rule;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(5);
    /// let guided = run().configure(|optimizer| optimizer.rule(Rule::Guided)).run()?;
    /// assert_ne!(guided[0].image, run().run()?[0].image);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn configure(mut self, change: impl Fn(Optimizer<'a>) -> Optimizer<'a> + Send + 'a) -> Self {
        self.configure = Some(Box::new(change));
        self
    }

    /// Makes the pictures.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").max_iter(2).run()?;
    /// assert_eq!(pictures.len(), 6); // one for each filter of the layer
    /// let out_of_range = vis::visualize_activation(&model, "conv2").filter_indices([6]).run();
    /// assert!(matches!(*out_of_range.unwrap_err().source, vis::Error::OutOfRange { index: 6, len: 6, .. }));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An unknown layer, a filter out of range, a list of labels or seed images of another length than the
    /// filters, settings out of range, and whatever stops the [`Optimizer`], with the pictures of the batches before it.
    pub fn run(mut self) -> Result<Activations, Unfinished> {
        let table = self.model.layers()?;
        let depth_of = |name: &str| {
            table.iter().position(|layer| layer.name == name).ok_or_else(|| {
                Error::unknown_layer(name, table.iter().map(|layer| layer.name.clone()).collect())
            })
        };
        let len = table[depth_of(&self.layer)?].shape[0];
        let all = || (0..len).map(Target::from).collect();
        let targets: Vec<Target> = self.targets.take().unwrap_or_else(all);
        let targets: Vec<Target> =
            targets.into_iter().map(|target| target.or_in_layer(&self.layer, "filter")).collect();
        self.check(&targets, |layer| Ok(table[depth_of(layer)?].shape[0]))?;
        let asked = targets.len();
        let targets: Vec<Target> =
            targets.into_iter().flat_map(|target| vec![target; self.diverse]).collect();

        let mut depth = 0;
        for layer in
            targets.iter().map(Target::goal).collect::<Result<Vec<_>>>()?.iter().flat_map(Goal::layer_names)
        {
            depth = depth.max(depth_of(&layer)?);
        }
        let bytes: usize =
            table[..=depth].iter().map(|layer| 4 * layer.shape.iter().product::<usize>()).sum();
        let (height, width) = self.model.input().size();
        let (own_height, own_width) = self.image_size();
        // Kept for the backward pass: each activation, its rectifier's and its pooling's input, and the cotangent.
        let share = own_height as f64 * own_width as f64 / (height * width).max(1) as f64;
        let bytes = (3.0 * bytes as f64 * share) as usize; // saturates
        let batch = (self.memory_limit / bytes.max(1)).clamp(1, targets.len().max(1));
        let batch = (batch / self.diverse).max(1) * self.diverse;
        // What diverse pictures differ in: the last map up to the deepest target's layer that is finer than the last of all,
        // one block before, where the same unit can be reached by other ways. What they have in common with a photo: the map
        // in the middle.
        let maps: Vec<&Layer> =
            table[..=depth].iter().filter(|layer| layer.shape[1..].iter().product::<usize>() > 1).collect();
        let coarsest = maps.last().map_or(0, |last| last.shape[1]);
        let finer = maps.iter().rposition(|layer| layer.shape[1] > coarsest);
        let places = [finer.unwrap_or(maps.len().saturating_sub(1)), maps.len() / 2];
        let [before, middle] =
            places.map(|place| maps.get(place).map_or_else(|| self.layer.clone(), |map| map.name.clone()));
        let repetitions = repetitions(&targets);

        let mut pictures = Vec::with_capacity(targets.len());
        for (number, chunk) in targets.chunks(batch).enumerate() {
            match self.run_batch(number, number * batch, chunk, &repetitions, [&before, &middle]) {
                Ok((made, broken_off)) => {
                    pictures.extend(made);
                    if broken_off {
                        break;
                    }
                }
                Err(error) => {
                    let made = Activations { layer: self.layer, pictures };
                    return Err(Unfinished { source: Box::new(error), made, of: targets.len().max(asked) });
                }
            }
        }
        Ok(Activations { layer: self.layer, pictures })
    }

    /// The pictures of one batch, and whether the progress callback broke the run off.
    fn run_batch(
        &mut self,
        number: usize,
        first: usize,
        targets: &[Target],
        repetitions: &[usize],
        [before, middle]: [&str; 2],
    ) -> Result<(Vec<Activation>, bool)> {
        let of = repetitions.len();
        let plain = ActivationMaximization::from(Target::per_image(targets.iter().cloned()));
        let wanted = Target::per_image(targets.iter().map(|target| self.with_odds(target)));
        let wanted = ActivationMaximization::from(wanted);
        let losses = crate::losses![
            (wanted.clone(), self.preset.act_max_weight),
            (LPNorm::new(self.preset.lp_norm_p)?, self.preset.lp_norm_weight),
            (TotalVariation::default(), self.preset.tv_weight),
        ];
        let mut losses = losses;
        if self.diverse > 1 {
            let groups = (first..first + targets.len()).map(|picture| picture / self.diverse).collect();
            let loss = Resemblance::new(before).within(groups);
            losses =
                losses.with(Relative { loss, to: wanted.clone() }, DIVERSITY * self.preset.act_max_weight);
        }
        if let (Some(nearness), Some(photo)) = (self.nearness, &self.seed_img) {
            let photos = match photo.dims()[0] {
                1 => photo.clone().repeat_dim(0, targets.len()),
                _ => photo.clone().narrow(0, first, targets.len()),
            };
            let loss = Content::new(self.model, photos, middle)?;
            losses =
                losses.with(Relative { loss, to: wanted.clone() }, nearness * self.preset.act_max_weight);
        }
        let mut optimizer = Optimizer::new(self.model, losses).seed(self.seed);
        optimizer = match &self.seed_img {
            None => {
                let (height, width) = self.image_size();
                optimizer.size(height, width)
            }
            Some(images) if images.dims()[0] == 1 => {
                optimizer.seed_img(images.clone().repeat_dim(0, targets.len()))
            }
            Some(images) => optimizer.seed_img(images.clone().narrow(0, first, targets.len())),
        };
        let repetitions = repetitions[first..first + targets.len()].to_vec();
        optimizer = optimizer.repetitions(repetitions).preset(&self.preset);
        if self.verbose {
            optimizer = optimizer.callback(Print::to_stderr());
        }
        if let Some(path) = &self.progress_gif {
            optimizer = optimizer.progress_gif_path(numbered(path, number));
        }
        if let Some(configure) = &self.configure {
            optimizer = configure(optimizer);
        }

        let only = Losses::from(plain);
        let measure = Gradient::new(self.model, &only);
        let mut steps = optimizer.steps()?;
        let bounded = steps.is_bounded();
        let mut watch: Option<Watch> = None;
        let mut broken_off = false;
        for step in steps.by_ref() {
            let step = step?;
            let activation = if self.preset.act_max_weight == 0.0 {
                measure.values(step.image.clone())?.total() // it is not among the losses
            } else {
                step.losses.tensor().narrow(0, 0, 1).reshape([targets.len()])
            };
            watch = Some(match watch {
                Some(watch) => watch.go_on(step.image.clone(), activation),
                None => Watch::begin(step.image.clone(), activation),
            });
            if self.report(&step, first, targets.len(), of).is_break() {
                broken_off = true;
                break;
            }
        }
        let result = steps.finish()?;

        let after = measure.values(result.image.clone())?.totals();
        let before = match &watch {
            Some(watch) => measure.values(watch.start.clone())?.totals(),
            None => after.clone(),
        };
        let unmoved = watch.map_or_else(|| vec![false; targets.len()], |watch| watch.unmoved(&result));
        let images = result.array();
        let transparency = result.transparency.clone().map(crate::host::array4);
        let made = targets.iter().enumerate().map(|(index, target)| Activation {
            target: target.clone(),
            label: self.label(first + index, target),
            image: images.index_axis(Axis(0), index).to_owned(),
            before: 0.0 - before[index], // never −0
            after: 0.0 - after[index],
            losses: result.losses.of_image(index),
            transparency: transparency.as_ref().map(|all| all.slice(s![index, 0, .., ..]).to_owned()),
            dead: unmoved[index] && after[index] == before[index],
            bounded,
            range: self.model.input().range(),
        });
        Ok((made.collect(), broken_off))
    }

    /// A class with its log-odds, as the preset weighs them; any other target as it is.
    fn with_odds(&self, target: &Target) -> Target {
        match target.filters() {
            Some((layer, classes)) if self.preset.odds != 0.0 && self.model.logits() == Some(layer) => {
                let odds = |class: &usize| self.preset.odds * Target::log_odds(*class).in_layer(layer);
                target.clone() + classes.iter().map(odds).sum()
            }
            _ => target.clone(),
        }
    }

    fn report(&mut self, step: &Step, first: usize, batch: usize, of: usize) -> ControlFlow<()> {
        let Some(progress) = &mut self.progress else { return ControlFlow::Continue(()) };
        let step = step.progress();
        progress(&Progress {
            stage: format!("pictures {} to {} of {of}", first + 1, first + batch),
            done: first * step.of + batch * step.done,
            of: of * step.of,
            loss: step.loss,
        })
    }

    fn check(&self, targets: &[Target], channels: impl Fn(&str) -> Result<usize>) -> Result<()> {
        if self.diverse == 0 {
            return Err(Error::invalid("the number of diverse pictures", "1 or more", 0));
        }
        if targets.is_empty() {
            return Err(Error::invalid("the filters", "at least one entry", "none"));
        }
        for target in targets {
            let target = target.clone().with_layers(self.model)?; // refuses one that depends on the image
            if let Some((layer, indices)) = target.filters() {
                if indices.is_empty() {
                    return Err(Error::invalid("an entry of the filters", "one index or more", "none"));
                }
                let len = channels(layer)?;
                if let Some(&index) = indices.iter().find(|index| **index >= len) {
                    let place = format!("layer `{layer}`");
                    return Err(Error::OutOfRange { what: "filter", index, place, len });
                }
            }
        }
        let one_each = |name, got: usize| {
            Err(Error::invalid(name, format!("one for each of the {} pictures", targets.len()), got))
        };
        match (&self.labels, &self.seed_img) {
            (Some(labels), _) if labels.len() != targets.len() => one_each("the labels", labels.len()),
            (_, Some(images)) if ![1, targets.len() * self.diverse].contains(&images.dims()[0]) => {
                one_each("the seed images", images.dims()[0])
            }
            _ => Ok(()),
        }
    }

    fn image_size(&self) -> (usize, usize) {
        match &self.seed_img {
            Some(images) => {
                let [_, _, height, width] = images.dims();
                (height, width)
            }
            None => self.size.unwrap_or(self.model.input().size()),
        }
    }

    fn label(&self, index: usize, target: &Target) -> String {
        let label = self.label_of(index / self.diverse, target);
        match self.diverse {
            1 => label,
            of => format!("{label}, {} of {of}", index % of + 1),
        }
    }

    fn label_of(&self, index: usize, target: &Target) -> String {
        if let Some(labels) = &self.labels {
            return labels[index].clone();
        }
        let Some((layer, indices)) = target.filters() else { return target.to_string() };
        if self.model.logits() == Some(layer) {
            let names: Option<Vec<_>> = indices.iter().map(|&index| self.model.class_name(index)).collect();
            if let Some(names) = names {
                return names.join(", ");
            }
        }
        let indices = indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if layer == self.layer { format!("Filter {indices}") } else { format!("Filter {indices} of {layer}") }
    }
}

/// What a run tells of its filters; it stays on the device until the end.
struct Watch {
    /// The images that the run started from.
    start: Tensor<4>,
    /// The largest distance from them of a pixel, for each image.
    travelled: Tensor<1>,
    /// The least and the largest answer of the filters, up to their weight.
    least: Tensor<1>,
    most: Tensor<1>,
}

impl Watch {
    fn begin(start: Tensor<4>, answer: Tensor<1>) -> Self {
        Self { start, travelled: answer.zeros_like(), least: answer.clone(), most: answer }
    }

    fn go_on(self, image: Tensor<4>, answer: Tensor<1>) -> Self {
        let away = (image - self.start.clone()).abs().max_dims(&[1, 2, 3]).reshape(answer.dims());
        Self {
            start: self.start,
            travelled: self.travelled.max_pair(away),
            least: self.least.min_pair(answer.clone()),
            most: self.most.max_pair(answer),
        }
    }

    /// Whether the filters of each image answered alike throughout, though the image changed or had no gradient to
    /// follow.
    fn unmoved(self, found: &Minimized) -> Vec<bool> {
        let (spread, travelled) =
            (crate::host::values(self.most - self.least), crate::host::values(self.travelled));
        let each = spread.iter().zip(travelled).zip(&found.zero_gradient);
        each.map(|((spread, travelled), zero)| *spread == 0.0 && (travelled > 0.0 || *zero)).collect()
    }
}

/// How many pictures of the same target come before each.
fn repetitions(targets: &[Target]) -> Vec<usize> {
    let before = |(index, target): (usize, &Target)| {
        targets[..index].iter().filter(|earlier| earlier.is_alike(target)).count()
    };
    targets.iter().enumerate().map(before).collect()
}

/// The path of the GIF of a batch, counted from 0: the number comes before the extension.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let is_gif = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif"));
    // Any other extension is a part of the name.
    let (stem, extension) = match is_gif {
        true => (path.file_stem(), path.extension()),
        false => (path.file_name(), Some("gif".as_ref())),
    };
    let (Some(stem), Some(extension)) = (stem, extension) else { return path.to_owned() };
    let mut name = stem.to_owned();
    name.push(format!("-{}.", number + 1));
    name.push(extension);
    path.with_file_name(name)
}

impl fmt::Debug for VisualizeActivation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisualizeActivation")
            .field("layer", &self.layer)
            .field("targets", &self.targets)
            .field("preset", &self.preset)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{numbered, repetitions};
    use crate::target::Target;

    #[test]
    fn animations_are_numbered_before_gif_and_keep_the_rest_of_their_name() {
        let named = |path: &str, number| numbered(path.as_ref(), number).to_string_lossy().into_owned();
        assert_eq!(named("a/run.gif", 0), "a/run.gif");
        assert_eq!(named("a/run.gif", 1), "a/run-2.gif");
        assert_eq!(named("run.v1.gif", 2), "run.v1-3.gif");
        assert_eq!(named("run.v1", 1), "run.v1-2.gif");
        assert_eq!(named("run", 9), "run-10.gif");
        assert_eq!(named("RUN.GIF", 1), "RUN-2.GIF");
    }

    #[test]
    fn filters_in_another_order_are_the_same_and_asked_for_twice_are_a_repetition() {
        let these = |indices: &[usize]| Target::from(indices).or_in_layer("conv", "filter");
        let asked =
            [these(&[5]), these(&[2, 4]), these(&[5]), these(&[4, 2]), Target::layer("conv"), these(&[5])];
        assert_eq!(repetitions(&asked), [0, 0, 1, 1, 0, 2]);
        // Two times the same filter in one picture is not the same as once.
        assert_eq!(repetitions(&[these(&[5, 5]), these(&[5])]), [0, 0]);
        let differences = || Target::channel("conv", 1) - Target::channel("conv", 2);
        assert_eq!(repetitions(&[differences(), differences(), -differences()]), [0, 1, 0]);
    }
}
