//! Deep dream.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::{Array3, ArrayView1, Axis};

use super::stages::Stages;
use crate::gradient::tiles::{TiledGradient, single};
use crate::losses::{ActivationMaximization, BestMatch, Losses};
use crate::model::Model;
use crate::optimizer::History;
use crate::progress::{Progress, Watcher};
use crate::target::Target;
use crate::{Error, Result};

/// Deep dream: shows a network more of whatever it sees in a photo, at several scales.
///
#[cfg_attr(doc, doc = include_str!("../figures/dream.md"))]
///
/// The photo, `[1, channels, height, width]`, is shrunk to the smallest octave. At each octave the image climbs
/// the gradient for some steps, then what was added is enlarged and laid over the next octave of the photo, so
/// that the photo's own detail is never lost:
///
/// ```text
/// x ← photo at this octave + enlarged detail
/// x ← x − step · g / mean|g|         `max_iter` times; g is the gradient of the losses
/// detail ← x − photo at this octave
/// ```
///
/// ```
/// use vis::visualization::deep_dream;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let photo = vis::random::noise([1, 3, 19, 15], (0.0, 255.0), 0, 0, &model.device());
/// let dream = deep_dream(&model, photo).layer("conv2").octaves(2).max_iter(3).run()?;
/// assert_eq!(dream.image.dims(), [1, 3, 19, 15]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Settings are those of [`DeepDream`]. Source: Mordvintsev, Olah & Tyka 2015, *Inceptionism*;
/// `google/deepdream`.
pub fn deep_dream(model: &dyn Model, photo: Tensor<4>) -> DeepDream<'_> {
    DeepDream {
        model,
        photo,
        objective: Objective::Energy(Vec::new()),
        octaves: 4,
        octave_scale: 1.4,
        max_iter: 10,
        step_size: 1.5,
        jitter: 32,
        tile: 512,
        overlap: 32,
        seed: 0,
        progress: None,
    }
}

/// The settings of a [`deep_dream`].
#[must_use = "nothing is dreamt before `run`"]
pub struct DeepDream<'a> {
    model: &'a dyn Model,
    photo: Tensor<4>,
    objective: Objective,
    octaves: usize,
    octave_scale: f32,
    max_iter: usize,
    step_size: f32,
    jitter: usize,
    tile: usize,
    overlap: usize,
    seed: u64,
    progress: Option<Watcher<'a>>,
}

#[allow(clippy::large_enum_variant, reason = "a handful exist at a time")]
enum Objective {
    Energy(Vec<String>),
    Guided { guide: Tensor<4>, layers: Vec<String> },
    Losses(Losses),
}

/// The dream, and how it was made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dream {
    /// The image, of the size of the photo, `[1, channels, height, width]`: in the model's input range, which it
    /// may leave by a little; clip it for display.
    pub image: Tensor<4>,
    /// Every weighted loss before every step.
    pub losses: History,
    /// The height and width of the image at every step, those of its octave.
    pub sizes: Vec<(usize, usize)>,
    /// The layers that were amplified: those named, or the one chosen.
    pub layers: Vec<String>,
}

/// The most octaves: by then a photo has shrunk to nothing at any octave scale of use.
const MOST_OCTAVES: usize = 64;

impl<'a> DeepDream<'a> {
    /// Dreams what this layer sees. Early layers give strokes and ripples, the middle eyes and fur, the last whole
    /// animals and buildings.
    ///
    /// Default: the middle one of the convolutions with maps of a sixteenth of the image a side, `block5_conv2` in
    /// VGG16.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = deep_dream(&model, photo).layer("conv1").octaves(1).max_iter(2).run()?;
    /// assert_eq!(dream.layers, ["conv1"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn layer(self, layer: impl Into<String>) -> Self {
        self.layers([layer])
    }

    /// Dreams what these layers see, to equal parts: the [energy](crate::Target::energy) of each, divided by what it is at the
    /// start.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = deep_dream(&model, photo).layers(["conv1", "conv2"]).octaves(1).jitter(0).max_iter(1).run()?;
    /// assert_eq!(dream.losses.names(), ["energy of conv1", "energy of conv2"]);
    /// assert!(dream.losses.values().iter().all(|energy| (energy + 1.0).abs() < 1e-5)); // equal at the start
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn layers<S: Into<String>>(mut self, layers: impl IntoIterator<Item = S>) -> Self {
        let named = layers.into_iter().map(Into::into).collect();
        match &mut self.objective {
            Objective::Guided { layers, .. } => *layers = named,
            objective => *objective = Objective::Energy(named),
        }
        self
    }

    /// Dreams of the things in another photo, `[1, channels, height, width]`, of any size that the model takes:
    /// the [`BestMatch`] with its features.
    ///
    /// What counts as a thing depends on how large it is in pixels; a guide about as large as the model's
    /// default input serves best.
    ///
    /// ```
    /// # use vis::{Model, losses::BestMatch, gradient::Gradient, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, flowers] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let dream = deep_dream(&model, photo).layer("conv2").guide(flowers).octaves(1).max_iter(8).jitter(0).run()?;
    /// assert_eq!(dream.losses.names(), ["match with the guide at conv2"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "objective_guide")]
    pub fn guide(mut self, guide: Tensor<4>) -> Self {
        let layers = match self.objective {
            Objective::Energy(layers) | Objective::Guided { layers, .. } => layers,
            Objective::Losses(_) => Vec::new(),
        };
        self.objective = Objective::Guided { guide, layers };
        self
    }

    /// Minimises these losses instead, which must be means over positions, as those of this crate are for
    /// activations: the gradient is evaluated tile by tile, and that of a tile weighted by its share of the area.
    ///
    /// ```
    /// use vis::Target;
    /// use vis::losses::{ActivationMaximization, TotalVariation};
    /// use vis::visualization::deep_dream;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 9, 9], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = vis::losses![
    ///     (ActivationMaximization::from(Target::energy("conv2")), 1.0),
    ///     (TotalVariation::default(), 1e-4),
    /// ];
    /// let dream = deep_dream(&model, photo).losses(losses).max_iter(2).run()?;
    /// assert_eq!(dream.losses.names(), ["energy of conv2", "TV(2)"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn losses(mut self, losses: impl Into<Losses>) -> Self {
        self.objective = Objective::Losses(losses.into());
        self
    }

    /// Sets the number of octaves. Default 4; those smaller than the model takes are left out.
    ///
    /// The network sees things of one size in pixels, so every octave adds them at another size of the photo.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 28, 14], (0.0, 255.0), 0, 0, &model.device());
    /// let sizes = |octaves| {
    ///     let dream = deep_dream(&model, photo.clone()).layer("conv2").octaves(octaves).max_iter(1).run()?;
    ///     Ok::<Vec<_>, vis::Error>(dream.sizes)
    /// };
    /// assert_eq!(sizes(2)?, [(20, 10), (28, 14)]);
    /// assert_eq!(sizes(1)?, [(28, 14)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn octaves(mut self, octaves: usize) -> Self {
        self.octaves = octaves;
        self
    }

    /// Sets the factor between the sizes of two octaves, above 1. Default 1.4.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 32, 16], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = deep_dream(&model, photo).layer("conv2").octaves(2).octave_scale(2.0).max_iter(1).run()?;
    /// assert_eq!(dream.sizes[0], (16, 8)); // half of 32×16
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn octave_scale(mut self, factor: f32) -> Self {
        self.octave_scale = factor;
        self
    }

    /// Sets the number of steps in each octave. Default 10; with 0 the photo comes back as it is.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = |steps| deep_dream(&model, photo.clone()).layer("conv2").octaves(1).max_iter(steps).run();
    /// assert_eq!(dream(3)?.sizes.len(), 3);
    /// assert_eq!(dream(0)?.image.into_data().to_vec::<f32>().unwrap(), photo.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "iter_n")]
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Sets the mean change of a pixel in one step, in 255ths of the model's input range, from 0 to 255. Default 1.5.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = deep_dream(&model, photo.clone()).layer("conv2").octaves(1).max_iter(1).step_size(4.0).run()?;
    /// let change = (dream.image - photo).abs().mean().into_scalar::<f32>();
    /// assert!((change - 4.0).abs() < 1e-3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn step_size(mut self, size: f32) -> Self {
        self.step_size = size;
        self
    }

    /// Sets the largest random shift between the image and the model, in pixels each way. Default 32. It is
    /// undone after each step. Beyond its edges the image goes on as its mirror image.
    ///
    /// Without it the grid on which the network pools its maps would show in the picture.
    pub fn jitter(mut self, pixels: usize) -> Self {
        self.jitter = pixels;
        self
    }

    /// Sets the side of the tiles in pixels. Default 512, for which VGG16 needs up to 0.7 GB. A network that takes images of one size
    /// only has tiles of that size.
    ///
    /// ```
    /// # // Every pixel for itself: a network on which nothing depends on the tiles.
    /// # use vis::model::{InputSpec, Model, Stop, Taps};
    /// # struct Mirror(InputSpec);
    /// # impl Model for Mirror {
    /// #     fn input(&self) -> &InputSpec { &self.0 }
    /// #     fn forward(&self, x: burn::tensor::Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
    /// #         taps.layer("same", x).map(|_| ())
    /// #     }
    /// # }
    /// # let model = Mirror(InputSpec::rgb(32, 32).with_any_size_from(8));
    /// # let photo = vis::random::noise([1, 3, 100, 150], (0.0, 255.0), 0, 0, &model.device());
    /// # use vis::visualization::deep_dream;
    /// let dream = |side| deep_dream(&model, photo.clone()).layer("same").octaves(1).jitter(0).max_iter(1).tile(side);
    /// // Six tiles, or one: the same dream, and less memory.
    /// let difference = dream(64).run()?.image - dream(512).run()?.image;
    /// assert!(difference.abs().max().into_scalar::<f32>() < 1e-3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn tile(mut self, side: usize) -> Self {
        self.tile = side;
        self
    }

    /// Sets the margin around each tile in pixels. Default 32. The gradient there is thrown away, so that tiles leave no seams.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 16, 16], (0.0, 255.0), 0, 0, &model.device());
    /// // The tiles of this network have 8 pixels a side: with margins of 2, the middle 4 count.
    /// let dream = |pixels| deep_dream(&model, photo.clone()).layer("conv2").octaves(1).max_iter(1).overlap(pixels).run();
    /// let change = dream(2)?.image - dream(0)?.image;
    /// assert!(change.abs().max().into_scalar::<f32>() > 0.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn overlap(mut self, pixels: usize) -> Self {
        self.overlap = pixels;
        self
    }

    /// Sets the seed of jitter and tile borders. Default 0.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 16, 16], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = |seed| deep_dream(&model, photo.clone()).layer("conv2").octaves(1).max_iter(2).seed(seed).run();
    /// assert_eq!(dream(0)?.image.into_data().to_vec::<f32>().unwrap(), dream(0)?.image.into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(dream(0)?.image.into_data().to_vec::<f32>().unwrap(), dream(1)?.image.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls `progress` after every step; [`ControlFlow::Break`] ends the dream, which is then the photo with what was found so
    /// far.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 19, 15], (0.0, 255.0), 0, 0, &model.device());
    /// use std::ops::ControlFlow;
    /// let dream = deep_dream(&model, photo).layer("conv2").octaves(2).max_iter(9).progress(|now| {
    ///     println!("{} of {} steps, at {}", now.done, now.of, now.stage);
    ///     // The first octave alone.
    ///     if now.done == 9 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    /// assert_eq!(dream.run()?.losses.steps(), 9);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Dreams.
    ///
    /// Costs one forward and one backward pass on each tile, for each step and octave. Takes the memory of one tile
    /// and about six times the image in `f32`: a photo of 4000×3000 pixels in tiles of 512 takes 1.6 GB with
    /// VGG16, as measured at the peak of `vis dream --size 4000 --octaves 2 --max-iter 1`.
    ///
    /// ```
    /// # use vis::{Model, visualization::deep_dream};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let dream = deep_dream(&model, photo).layer("conv2").octaves(1).jitter(0).max_iter(5).run()?;
    /// let losses = dream.losses.totals();
    /// assert!(losses[[4, 0]] < losses[[0, 0]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Settings out of range, unknown layers, a photo smaller than the model takes; [`Error::ZeroGradient`] where
    /// the layer sees nothing in any octave (one in which it sees nothing is left as it is), and [`Error::NonFinite`] when the gradient becomes NaN or infinite.
    pub fn run(mut self) -> Result<Dream> {
        self.check()?;
        let photo = single("the photo", self.photo.clone())?;
        self.model.input().check_values(&self.photo)?;
        let losses = self.losses_for(&photo)?;
        let tiles = TiledGradient::new(self.model, &losses).tile(self.tile).overlap(self.overlap);
        let (low, high) = self.model.input().range();
        let length = self.step_size * (high - low) / 255.0;
        let mut random = crate::random::stream(self.seed, 0);

        let (mut taken, mut values) = (Vec::new(), Vec::new());
        let dreamt = |image, sizes, values: Vec<Vec<f32>>| {
            let rows: Vec<_> = values.iter().map(|row| ArrayView1::from(row).insert_axis(Axis(1))).collect();
            let history = History::from_steps(losses.names(), 1, &rows);
            Dream { image, losses: history, sizes, layers: losses.layers() }
        };
        let mut image = photo.clone();
        let mut detail: Option<Array3<f32>> = None;
        let sizes = self.sizes(&photo);
        let of = sizes.len().saturating_mul(self.max_iter);
        for (octave, (height, width)) in sizes.into_iter().enumerate() {
            let base = crate::resample::resize_smoothly(photo.view(), height, width);
            image = base.clone();
            if let Some(detail) = detail.take() {
                image += &crate::resample::resize_smoothly(detail.view(), height, width);
            }
            for step in 0..self.max_iter {
                let evaluation = tiles.evaluate(image.view(), tiles.place(self.jitter, &mut random))?;
                let mean = evaluation.gradient.iter().map(|value| f64::from(value.abs())).sum::<f64>()
                    / evaluation.gradient.len() as f64;
                if !(mean.is_finite() && evaluation.loss.is_finite()) {
                    let best = self.tensor(&image);
                    let what = if mean.is_finite() { "the loss" } else { "the gradient" };
                    return Err(Error::NonFinite {
                        what: what.into(),
                        step: Some(taken.len()),
                        best: Some(Box::new(best)),
                    });
                }
                if mean == 0.0 {
                    // There may be something to see at another size.
                    break;
                }
                image.scaled_add(-length / mean as f32, &evaluation.gradient);
                taken.push((height, width));
                values.push(evaluation.losses);
                let now = Progress::new(
                    format!("{width}×{height}"),
                    octave.saturating_mul(self.max_iter).saturating_add(step + 1),
                    of,
                );
                let now = Progress { loss: Some(evaluation.loss), ..now };
                if let Some(progress) = &mut self.progress
                    && progress(&now).is_break()
                {
                    let (_, height, width) = photo.dim();
                    let detail = crate::resample::resize_smoothly((&image - &base).view(), height, width);
                    return Ok(dreamt(self.tensor(&(photo + &detail)), taken, values));
                }
            }
            detail = Some(&image - &base);
        }
        if taken.is_empty() && of > 0 {
            let hint = "the layer sees nothing in the photo; try an earlier one".into();
            return Err(Error::ZeroGradient { what: "the dream".into(), hint });
        }
        Ok(dreamt(self.tensor(&image), taken, values))
    }

    fn check(&self) -> Result<()> {
        if !(self.octave_scale > 1.0 && self.octave_scale.is_finite()) {
            return Err(Error::invalid("the octave scale", "a finite number above 1", self.octave_scale));
        }
        if !(0.0..=255.0).contains(&self.step_size) {
            let expected = "a number from 0 to 255, in 255ths of the input range";
            return Err(Error::invalid("the step size", expected, self.step_size));
        }
        if !(1..=MOST_OCTAVES).contains(&self.octaves) {
            return Err(Error::invalid("the octaves", format!("1 to {MOST_OCTAVES}"), self.octaves));
        }
        if self.tile == 0 {
            return Err(Error::invalid("the side of a tile", "1 or more", 0));
        }
        Ok(())
    }

    /// The losses, and the layers they fall back on.
    fn losses_for(&mut self, photo: &Array3<f32>) -> Result<Losses> {
        let objective = std::mem::replace(&mut self.objective, Objective::Losses(Losses::new()));
        match objective {
            Objective::Losses(losses) => Ok(losses),
            Objective::Guided { guide, layers } => {
                let mut losses = Losses::new();
                for layer in self.named(layers)? {
                    losses = losses.with(BestMatch::new(self.model, guide.clone(), layer)?, 1.0);
                }
                Ok(losses)
            }
            Objective::Energy(layers) => {
                let layers = self.named(layers)?;
                if let [layer] = &layers[..] {
                    return Ok(ActivationMaximization::from(Target::energy(layer)).into());
                }
                // Equal parts of what they are in the photo at the size of the first octave.
                let first = self.sizes(photo).first().copied();
                let mut losses = Losses::new();
                for layer in layers {
                    let alone = ActivationMaximization::from(Target::energy(&layer)).into();
                    let tiles = TiledGradient::new(self.model, &alone).tile(self.tile).overlap(self.overlap);
                    let (height, width) = first.unwrap_or((photo.dim().1, photo.dim().2));
                    let small = crate::resample::resize_smoothly(photo.view(), height, width);
                    let energy = -tiles.evaluate(small.view(), Default::default())?.loss;
                    let weight = if energy > 0.0 { 1.0 / energy } else { 1.0 };
                    losses = losses.with(ActivationMaximization::from(Target::energy(layer)), weight);
                }
                Ok(losses)
            }
        }
    }

    fn named(&self, layers: Vec<String>) -> Result<Vec<String>> {
        if !layers.is_empty() {
            return Ok(layers);
        }
        let layer = Stages::of(self.model)?.middle_of(4);
        let target = "the output".to_owned();
        Ok(vec![layer.ok_or(Error::NoSpatialLayer { target })?])
    }

    /// The sizes of the octaves, the smallest first: those that the model can take.
    fn sizes(&self, photo: &Array3<f32>) -> Vec<(usize, usize)> {
        let (_, height, width) = photo.dim();
        let input = self.model.input();
        let (least_height, least_width) = input.smallest().map_or(input.size(), |least| (least, least));
        let sized = |octave: usize| {
            let factor = self.octave_scale.powi(octave as i32);
            let shrunk = |side: usize| (side as f32 / factor).round() as usize;
            (shrunk(height), shrunk(width))
        };
        (0..self.octaves)
            .rev()
            .map(sized)
            .filter(|&size| size.0 >= least_height && size.1 >= least_width || size == (height, width))
            .collect()
    }

    fn tensor(&self, image: &Array3<f32>) -> Tensor<4> {
        crate::host::tensor4(image.view().insert_axis(Axis(0)), &self.model.device())
    }
}

impl std::fmt::Debug for DeepDream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeepDream")
            .field("photo", &self.photo.dims())
            .field("octaves", &self.octaves)
            .field("octave_scale", &self.octave_scale)
            .field("steps", &self.max_iter)
            .field("step_size", &self.step_size)
            .field("jitter", &self.jitter)
            .field("tile", &self.tile)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
