//! Texture synthesis.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::descent::{Staged, descend, following, found, resized, scaled, size_of, sizes, with_steps};
use super::stages::Stages;
use crate::losses::{Losses, Style};
use crate::model::{Model, UpdateRule};
use crate::optimizer::Minimized;
use crate::progress::{Progress, Watcher};
use crate::random::noise;
use crate::transforms::Wrap;
use crate::{Error, Result};

/// Texture synthesis: an image of any size with the texture of a sample, `[1, channels, height, width]`, and
/// nothing of its layout.
///
#[cfg_attr(doc, doc = include_str!("../figures/texture.md"))]
///
/// The image starts from noise and is to make several layers of the network see features together as often as in
/// the sample, the [`Style`] loss alone. As in [style transfer](super::style_transfer) it is optimised from coarse
/// to fine, and the result has the losses of all stages one after the other.
///
/// ```
/// use vis::visualization::texture;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
/// let woven = texture(&model, sample).max_iter(40).run()?;
/// let losses = woven.losses.totals();
/// assert!(woven.best_loss[0] < losses[[0, 0]]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The network sees the image surrounded by copies of itself, so the texture has no borders and tiles without seams
/// (but for a network that takes images of one size only).
///
/// Structure larger than what the deepest layer sees, some 100 pixels at the first convolution of VGG16's fifth
/// block, is lost: bricks stay bricks, faces don't stay faces.
///
/// Source: Gatys, Ecker & Bethge 2015, *Texture Synthesis Using Convolutional Neural Networks*.
pub fn texture(model: &dyn Model, sample: Tensor<4>) -> Texture<'_> {
    Texture {
        model,
        sample,
        size: None,
        layers: None,
        from: 128,
        max_iter: 200,
        update: UpdateRule::default(),
        seed: 0,
        progress: None,
    }
}

/// The settings of [`texture`].
#[must_use = "nothing is woven before `run`"]
pub struct Texture<'a> {
    model: &'a dyn Model,
    sample: Tensor<4>,
    size: Option<(usize, usize)>,
    layers: Option<Vec<(String, f32)>>,
    from: usize,
    max_iter: usize,
    update: UpdateRule,
    seed: u64,
    progress: Option<Watcher<'a>>,
}

impl<'a> Texture<'a> {
    /// The width in pixels of the copies around the image, for a network that takes any size: two positions of a
    /// layer that sees a sixteenth of the image a side.
    pub const WRAP: usize = 32;

    /// Sets the height and width of the image. Default: those of the sample.
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
    /// # let sample = vis::random::noise([1, 3, 16, 16], (0.0, 255.0), 1, 0, &Default::default());
    /// let woven = vis::visualization::texture(&model, sample).size(24, 40).max_iter(2).run()?;
    /// assert_eq!(woven.image.dims(), [1, 3, 24, 40]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = Some((height, width));
        self
    }

    /// Sets the layers that see the texture, with their weights relative to each other. Default: the first
    /// convolution at each size of maps, `block1_conv1` to `block5_conv1` in VGG16. Leaving out the deepest gives
    /// smaller shapes.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// let weave = vis::visualization::texture(&model, sample).layers([("conv1", 1.0)]);
    /// assert_eq!(weave.chosen_layers()?, [("conv1".to_owned(), 1.0)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn layers<S: Into<String>>(mut self, layers: impl IntoIterator<Item = (S, f32)>) -> Self {
        self.layers = Some(layers.into_iter().map(|(layer, weight)| (layer.into(), weight)).collect());
        self
    }

    /// Sets the longest side in pixels of the first, coarsest stage. Default 128.
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
    /// # let sample = vis::random::noise([1, 3, 32, 32], (0.0, 255.0), 1, 0, &Default::default());
    /// let weave = |longest| vis::visualization::texture(&model, sample.clone()).from_size(longest).max_iter(4).run();
    /// assert_eq!(weave(32)?.losses.steps(), 4); // at 32×32 pixels
    /// assert_eq!(weave(16)?.losses.steps(), 4 + 2); // at 16×16 and 32×32
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_size(mut self, longest: usize) -> Self {
        self.from = longest;
        self
    }

    /// Sets the number of steps of the first stage; each later one takes half as many, but one at least. Default 200;
    /// with 0 the noise comes back.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let woven = vis::visualization::texture(&model, sample).max_iter(0).seed(3).run()?;
    /// let noise = vis::random::noise([1, 3, 8, 8], model.input().range(), 3, 0, &model.device());
    /// assert_eq!(woven.image.into_data().to_vec::<f32>().unwrap(), noise.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Sets how the image is moved. Default: by Adam; see [`StyleTransfer::update`](super::StyleTransfer::update) for a comparison.
    ///
    /// ```
    /// # use vis::{Model, model::UpdateRule, visualization::texture};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// let weave = |descent| texture(&model, sample.clone()).update(descent).max_iter(20).run();
    /// let woven = weave(UpdateRule::Lbfgs)?;
    /// assert!(woven.best_loss[0] < 0.5 * woven.losses.totals()[[0, 0]]);
    /// assert_ne!(woven.array(), weave(UpdateRule::Adam)?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn update(mut self, update: UpdateRule) -> Self {
        self.update = update;
        self
    }

    /// Sets the seed of the noise to start from. Default 0.
    ///
    /// ```
    /// # use vis::{Model, visualization::texture};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// let weave = |seed| texture(&model, sample.clone()).max_iter(3).seed(seed).run();
    /// assert_eq!(weave(2)?.array(), weave(2)?.array());
    /// assert_ne!(weave(2)?.array(), weave(3)?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls `progress` after every step; [`ControlFlow::Break`] ends the run, and what was reached so far is the result, at the
    /// size of its stage.
    ///
    /// ```
    /// # use vis::{Model, visualization::texture};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// use std::ops::ControlFlow;
    /// let woven = texture(&model, sample).max_iter(50).progress(|now| match now.done {
    ///     5 => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// });
    /// assert_eq!(woven.run()?.losses.steps(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// The layers that see the texture, with their weights: as set, or by default.
    ///
    /// Costs a forward pass on a black image where the default is asked for.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let sample = model.input().zeros(&model.device());
    /// let layers = vis::visualization::texture(&model, sample).chosen_layers()?;
    /// assert_eq!(layers, [("conv1".to_owned(), 1.0), ("conv2".to_owned(), 1.0)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Model::layers`].
    pub fn chosen_layers(&self) -> Result<Vec<(String, f32)>> {
        Ok(match &self.layers {
            Some(layers) => layers.clone(),
            None => Stages::of(self.model)?.firsts().into_iter().map(|layer| (layer, 1.0)).collect(),
        })
    }

    /// Weaves.
    ///
    /// ```
    /// # use vis::{Model, visualization::texture};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let sample = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
    /// let woven = texture(&model, sample).max_iter(3).run()?;
    /// assert_eq!(woven.losses.names(), ["style"]); // and nothing of the layout
    /// assert_eq!(woven.image.dims(), [1, 3, 8, 8]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`StyleTransfer::run`](super::StyleTransfer::run).
    pub fn run(mut self) -> Result<Minimized> {
        let range = self.model.input().range();
        let (sample_height, sample_width) = size_of("the sample", &self.sample)?;
        let sample = self.sample.clone().inner();
        let size = self.size.unwrap_or((sample_height, sample_width));
        let channels = self.model.input().channels();
        self.model.input().check([1, channels, size.0, size.1])?;
        let layers = self.chosen_layers()?;

        // Copies of the image around it, whose outermost positions the loss leaves out, so that no pixel is near an edge.
        let wrap = if self.model.input().smallest().is_some() { Self::WRAP } else { 0 };
        let mut woven: Option<Minimized> = None;
        // The sample shrinks with the image, but not below what the model takes.
        let of_sample = |(height, width): (usize, usize)| {
            let shrink = height.max(width) as f32 / size.0.max(size.1) as f32;
            let longest = (sample_height.max(sample_width) as f32 * shrink).round() as usize;
            scaled((sample_height, sample_width), longest)
        };
        let least = self.model.input().smallest().unwrap_or(0);
        let mut stages = sizes(self.model, size, self.from);
        stages.retain(|&stage| {
            let (height, width) = of_sample(stage);
            stage == size || height.min(width) >= least
        });
        let stages = with_steps(stages, self.max_iter);
        let mut watched = Staged::new(self.progress.take(), stages.iter().map(|(_, steps)| steps).sum());
        for ((height, width), steps) in stages {
            let sample = [(resized(&sample, of_sample((height, width))), 1.0)];
            let loss = Style::blend(self.model, sample, layers.clone(), 2)?.relative();
            let start = match &woven {
                Some(coarse) => resized(&coarse.image, (height, width)),
                None => noise([1, channels, height, width], range, self.seed, 0, &self.model.device()),
            };
            let losses = Losses::from(loss);
            let frame = Wrap { pixels: wrap };
            let done = descend(self.model, losses, start, steps, self.update, frame, &mut watched)?;
            let over = done.is_break();
            woven = Some(following(woven.as_ref(), found(done)));
            if over {
                break;
            }
        }
        woven.ok_or_else(|| Error::invalid("the size of the texture", "at least one pixel", 0))
    }
}

impl std::fmt::Debug for Texture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texture")
            .field("sample", &self.sample.dims())
            .field("size", &self.size)
            .field("layers", &self.layers)
            .field("steps", &self.max_iter)
            .field("update", &self.update)
            .finish_non_exhaustive()
    }
}
