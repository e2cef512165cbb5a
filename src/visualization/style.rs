//! Style transfer.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::descent::{Staged, descend, following, found, resized, scaled, size_of, sizes, with_steps};
use super::stages::Stages;
use crate::losses::{Content, Losses, Style, TotalVariation};
use crate::model::{Model, UpdateRule};
use crate::optimizer::Minimized;
use crate::progress::{Progress, Watcher};
use crate::random::noise;
use crate::transforms::Mirror;
use crate::{Error, Result};

/// Style transfer: repaints a photo in the manner of a painting, both `[1, channels, height, width]`.
///
#[cfg_attr(doc, doc = include_str!("../figures/style_transfer.md"))]
///
/// The image is to make one layer of the network see what it sees in the photo ([`Content`]) and several layers see
/// features together as often as in the painting ([`Style`]):
///
/// ```text
/// L(x) = content weight · Content(x) + style weight · Style(x) + tv weight · TV(x)
/// ```
///
/// It is optimised at 256 pixels on the longest side first, then enlarged and refined at twice the size, up to the
/// size of the photo: large shapes are painted where that is cheap. The network sees photo, painting and image in a frame of
/// 16 pixels of their [mirror image](Mirror), so that no strokes run along the edge. Of a coarse picture that began as the photo only
/// what has changed is enlarged, so that the photo's own detail is never lost.
///
/// ```
/// use vis::visualization::style_transfer;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let [photo, painting] =
/// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
/// let painted = style_transfer(&model, photo, painting).max_iter(5).run()?;
/// assert_eq!(painted.image.dims(), [1, 3, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The result is the best image at the full size, with the losses of all stages one after the other; it may leave the
/// model's input range by a little: clip it for display. Settings are those of [`StyleTransfer`]. For smoother strokes take a
/// network [with average pooling](crate::model::Vgg::with_average_pooling).
///
/// Source: Gatys, Ecker & Bethge 2016, *Image Style Transfer Using Convolutional Neural Networks*; coarse to fine
/// and colours: Gatys et al. 2017, *Controlling Perceptual Factors in Neural Style Transfer*.
pub fn style_transfer(model: &dyn Model, photo: Tensor<4>, painting: Tensor<4>) -> StyleTransfer<'_> {
    StyleTransfer {
        model,
        photo,
        paintings: vec![(painting, 1.0)],
        content_layer: None,
        style_layers: None,
        content_weight: 0.05,
        style_weight: 1.0,
        tv_weight: 0.01,
        start: StyleStart::Photo,
        keep_colors: false,
        from: 256,
        max_iter: 200,
        update: UpdateRule::default(),
        style_scale: 1.0,
        seed: 0,
        progress: None,
    }
}

/// The settings of a [`style_transfer`].
#[must_use = "nothing is painted before `run`"]
pub struct StyleTransfer<'a> {
    model: &'a dyn Model,
    photo: Tensor<4>,
    paintings: Vec<(Tensor<4>, f32)>,
    content_layer: Option<String>,
    style_layers: Option<Vec<(String, f32)>>,
    content_weight: f32,
    style_weight: f32,
    tv_weight: f32,
    start: StyleStart,
    keep_colors: bool,
    from: usize,
    max_iter: usize,
    update: UpdateRule,
    style_scale: f32,
    seed: u64,
    progress: Option<Watcher<'a>>,
}

/// Where a [`style_transfer`] starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StyleStart {
    /// From the photo: its layout is kept to the last detail.
    #[default]
    Photo,
    /// From noise: freer, and another picture for each seed.
    Noise,
}

impl<'a> StyleTransfer<'a> {
    /// The width of the mirror image around photo, paintings and image where the network sees them, in pixels; none for a
    /// network of one size.
    ///
    /// ```
    /// assert_eq!(vis::visualization::StyleTransfer::FRAME, 16);
    /// ```
    pub const FRAME: usize = 16;

    /// Adds another painting: the style lies between them in proportion to their shares; the first has 1.
    ///
    /// ```
    /// # use vis::{Model, visualization::{StyleStart, style_transfer}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, starry_night, scream] =
    /// #     [0, 1, 2].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let transfer = || style_transfer(&model, photo.clone(), starry_night.clone()).start(StyleStart::Noise).seed(3);
    /// let blended = transfer().blend(scream.clone(), 0.5).max_iter(2).run()?;
    /// let alone = transfer().max_iter(2).run()?;
    /// assert_ne!(blended.losses.totals(), alone.losses.totals());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn blend(mut self, painting: Tensor<4>, share: f32) -> Self {
        self.paintings.push((painting, share));
        self
    }

    /// Sets the layer that sees the photo. Default: the second of those with maps of an eighth of the image,
    /// `block4_conv2` in VGG16.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let painted = style_transfer(&model, photo.clone(), photo).content_layer("conv1").max_iter(1).run()?;
    /// assert_eq!(painted.losses.names()[0], "content at conv1");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn content_layer(mut self, layer: impl Into<String>) -> Self {
        self.content_layer = Some(layer.into());
        self
    }

    /// Sets the layers that see the style, with their weights relative to each other: all count alike at weight 1,
    /// whatever the scale of their activations. Default: the first convolution at each size of maps,
    /// `block1_conv1` to `block5_conv1` in VGG16.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// // Fine strokes count twice as much as shapes.
    /// let transfer = style_transfer(&model, photo, painting).style_layers([("conv1", 2.0), ("conv2", 1.0)]);
    /// assert_eq!(transfer.chosen_layers()?.1, [("conv1".to_owned(), 2.0), ("conv2".to_owned(), 1.0)]);
    /// assert_eq!(transfer.max_iter(2).run()?.losses.names(), ["content at conv2", "style", "TV(2)"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn style_layers<S: Into<String>>(mut self, layers: impl IntoIterator<Item = (S, f32)>) -> Self {
        self.style_layers = Some(layers.into_iter().map(|(layer, weight)| (layer.into(), weight)).collect());
        self
    }

    /// Sets the weight of the content. Default 0.05; more keeps more of the photo.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let change = |weight| {
    ///     let transfer = style_transfer(&model, photo.clone(), painting.clone()).content_weight(weight);
    ///     transfer.max_iter(20).run().map(|painted| (painted.image - photo.clone()).abs().mean().into_scalar::<f32>())
    /// };
    /// assert!(change(100.0)? < change(0.0)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn content_weight(mut self, weight: f32) -> Self {
        self.content_weight = weight;
        self
    }

    /// Sets the weight of the style. Default 1.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let first = |weight| {
    ///     let transfer = style_transfer(&model, photo.clone(), painting.clone()).style_weight(weight);
    ///     transfer.max_iter(1).run().map(|painted| painted.losses.named("style").unwrap()[[0, 0]])
    /// };
    /// assert_eq!(first(2.0)?, 2.0 * first(1.0)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn style_weight(mut self, weight: f32) -> Self {
        self.style_weight = weight;
        self
    }

    /// Sets the weight of [`TotalVariation`], taken of an image in `0..1`. Default 0.01; more is smoother.
    ///
    /// ```
    /// # use vis::{Loss, Model, Scene, losses::TotalVariation, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let roughness = |weight| {
    ///     let transfer = style_transfer(&model, photo.clone(), painting.clone()).tv_weight(weight);
    ///     let scene = Scene::new(transfer.max_iter(20).run()?.image, []);
    ///     TotalVariation::default().build_loss(&scene).map(|loss| loss.into_scalar::<f32>())
    /// };
    /// assert!(roughness(100.0)? < roughness(0.0)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn tv_weight(mut self, weight: f32) -> Self {
        self.tv_weight = weight;
        self
    }

    /// Sets where to start. Default: from the photo.
    ///
    /// ```
    /// # use vis::{Model, visualization::{StyleStart, style_transfer}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [1, 2].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let begin = |start| style_transfer(&model, photo.clone(), painting.clone()).start(start).max_iter(0).run();
    /// assert_eq!(begin(StyleStart::Photo)?.image.into_data().to_vec::<f32>().unwrap(), photo.clone().into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(begin(StyleStart::Noise)?.image.into_data().to_vec::<f32>().unwrap(), photo.clone().into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn start(mut self, start: StyleStart) -> Self {
        self.start = start;
        self
    }

    /// Keeps the photo's colours: only the luminance is painted, in the manner of the paintings' luminance matched
    /// to the mean and contrast of the photo's. RGB only.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// # use vis::visualization::StyleStart;
    /// let transfer = style_transfer(&model, photo.clone(), painting).start(StyleStart::Noise).seed(2);
    /// let change = transfer.keep_colors().max_iter(5).run()?.image - photo;
    /// assert!(change.clone().abs().max().into_scalar::<f32>() > 10.0);
    /// // Red, green and blue have changed by the same amount.
    /// let unlike = (change.clone().narrow(1, 0, 1) - change.narrow(1, 2, 1)).abs().max();
    /// assert!(unlike.into_scalar::<f32>() < 0.01);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn keep_colors(mut self) -> Self {
        self.keep_colors = true;
        self
    }

    /// Sets the longest side in pixels of the first, coarsest stage. Default 256; the size of the photo for a single
    /// stage.
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
    /// # use vis::visualization::style_transfer;
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 32, 32], (0.0, 255.0), seed, 0, &Default::default()));
    /// let paint = |longest| style_transfer(&model, photo.clone(), painting.clone()).from_size(longest).max_iter(4).run();
    /// assert_eq!(paint(32)?.losses.steps(), 4); // at 32×32 pixels
    /// assert_eq!(paint(16)?.losses.steps(), 4 + 2); // at 16×16 and 32×32
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_size(mut self, longest: usize) -> Self {
        self.from = longest;
        self
    }

    /// Sets the number of steps of the first stage; each later one, at four times the cost a step, takes half as
    /// many, but one at least. Default 200; with 0 the start comes back, the photo or the noise at its full size.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let paint = |steps| style_transfer(&model, photo.clone(), painting.clone()).max_iter(steps).run();
    /// assert_eq!(paint(5)?.losses.steps(), 5);
    /// assert_eq!(paint(0)?.image.into_data().to_vec::<f32>().unwrap(), photo.clone().into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Sets how the image is moved. Default: by Adam.
    ///
    /// Each evaluates the losses once a step. What the total loss has come down to on VGG16, from a photo of 256×170 pixels
    /// to a painting, after so many seconds on two cores, as `examples/style_transfer.rs` prints it:
    ///
    /// | seconds | steps | Adam | L-BFGS |
    /// | --- | --- | --- | --- |
    /// | 3.5 | 10 | 0.385 | 0.461 |
    /// | 7 | 20 | 0.270 | 0.331 |
    /// | 13 | 40 | 0.111 | 0.132 |
    /// | 19 | 60 | 0.085 | 0.093 |
    /// | 33 | 100 | 0.069 | 0.070 |
    /// | 65 | 200 | 0.061 | 0.059 |
    ///
    /// ```
    /// # use vis::{Model, model::UpdateRule, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let paint = |by| style_transfer(&model, photo.clone(), painting.clone()).update(by).max_iter(20).run();
    /// let painted = paint(UpdateRule::Lbfgs)?;
    /// assert!(painted.best_loss[0] < 0.5 * painted.losses.totals()[[0, 0]]);
    /// assert_ne!(painted.array(), paint(UpdateRule::Adam)?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn update(mut self, update: UpdateRule) -> Self {
        self.update = update;
        self
    }

    /// Sets the size of the paintings relative to that of the image, by the longest side. Default 1; larger paintings
    /// give larger strokes. A painting is never enlarged beyond the pixels it has.
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
    /// # use vis::visualization::style_transfer;
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 16, 16], (0.0, 255.0), seed, 0, &Default::default()));
    /// let first = |scale| {
    ///     let transfer = style_transfer(&model, photo.clone(), painting.clone()).style_scale(scale);
    ///     transfer.max_iter(1).run().map(|painted| painted.best_loss[0])
    /// };
    /// assert_ne!(first(0.5)?, first(1.0)?);
    /// assert_eq!(first(2.0)?, first(1.0)?); // the painting has no more pixels
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn style_scale(mut self, scale: f32) -> Self {
        self.style_scale = scale;
        self
    }

    /// Sets the seed of the noise to start from. Default 0.
    ///
    /// ```
    /// # use vis::{Model, visualization::{StyleStart, style_transfer}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let paint = |start, seed| {
    ///     let transfer = style_transfer(&model, photo.clone(), painting.clone()).start(start).seed(seed);
    ///     transfer.max_iter(2).run().map(|painted| painted.array())
    /// };
    /// assert_ne!(paint(StyleStart::Noise, 2)?, paint(StyleStart::Noise, 3)?);
    /// assert_eq!(paint(StyleStart::Photo, 2)?, paint(StyleStart::Photo, 3)?);
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
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// use std::ops::ControlFlow;
    /// // Half of the loss is enough.
    /// let mut first = None;
    /// let transfer = style_transfer(&model, photo, painting).max_iter(50).progress(|now| {
    ///     let enough = now.loss < first.get_or_insert(now.loss).map(|loss| 0.5 * loss);
    ///     if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    /// assert!(transfer.run()?.losses.steps() < 50);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Paints.
    ///
    /// Each step costs one forward and one backward pass at the size of its stage; memory is that of one such pass at
    /// the size of the photo, about 2.5 kB a pixel for VGG16.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let painted = style_transfer(&model, photo, painting).max_iter(20).run()?;
    /// assert_eq!(painted.losses.names(), ["content at conv2", "style", "TV(2)"]);
    /// let style = painted.losses.named("style").unwrap();
    /// assert!(style[[painted.best_step[0], 0]] < style[[0, 0]]); // nearer to the painting
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Unknown layers, weights or shares out of range, images of another shape than the model takes (or, to keep
    /// colours, than RGB), and [`Error::NonFinite`] when a loss becomes NaN or infinite.
    pub fn run(mut self) -> Result<Minimized> {
        let (low, high) = self.model.input().range();
        let size = size_of("the photo", &self.photo)?;
        if !(self.style_scale > 0.0 && self.style_scale.is_finite()) {
            return Err(Error::invalid("the style scale", "a finite number above 0", self.style_scale));
        }
        if self.keep_colors {
            let paintings =
                self.paintings.iter().map(|(painting, _)| ("the painting, to keep colours,", painting));
            for (what, image) in
                [("the photo, to keep its colours,", &self.photo)].into_iter().chain(paintings)
            {
                if image.dims()[1] != 3 {
                    let expected = "[1, 3, height, width]: red, green and blue".into();
                    return Err(Error::Shape { what: what.into(), expected, got: image.dims().to_vec() });
                }
            }
        }
        let (content_layer, style_layers) = self.chosen_layers()?;

        let photo = self.photo.clone().inner();
        let (content, paintings) = if self.keep_colors {
            let grey = luminance(photo.clone());
            let paintings = self
                .paintings
                .iter()
                .map(|(painting, share)| (matched(luminance(painting.clone().inner()), &grey), *share));
            let paintings: Vec<_> = paintings.map(|(grey, share)| (three(grey), share)).collect();
            (three(grey), paintings)
        } else {
            (photo.clone(), self.paintings.iter().map(|(p, share)| (p.clone().inner(), *share)).collect())
        };

        let whole = content;
        // A network of one size has no room for it.
        let frame = Mirror { pixels: self.model.input().smallest().map_or(0, |_| Self::FRAME) };
        let mut painted: Option<Minimized> = None;
        let stages = with_steps(sizes(self.model, size, self.from), self.max_iter);
        let mut watched = Staged::new(self.progress.take(), stages.iter().map(|(_, steps)| steps).sum());
        for (size, steps) in stages {
            let content = resized(&whole, size);
            let mut scaled_paintings = Vec::new();
            for (painting, share) in &paintings {
                scaled_paintings.push((frame.around(self.painting_for(painting, size)?), *share));
            }
            let losses = Losses::new()
                .with(
                    Content::new(self.model, frame.around(content.clone()), &content_layer)?,
                    self.content_weight,
                )
                .with(
                    Style::blend(self.model, scaled_paintings, style_layers.clone(), 2)?.relative(),
                    self.style_weight,
                )
                .with(TotalVariation::default(), self.tv_weight / (high - low).powi(2));
            let start = match (&painted, self.start) {
                (Some(coarse), StyleStart::Photo) => {
                    let [_, _, height, width] = coarse.image.dims();
                    content + resized(&(coarse.image.clone() - resized(&whole, (height, width))), size)
                }
                (Some(coarse), StyleStart::Noise) => resized(&coarse.image, size),
                (None, StyleStart::Photo) => content,
                (None, StyleStart::Noise) => {
                    noise(content.dims(), (low, high), self.seed, 0, &self.model.device())
                }
            };
            let done = descend(self.model, losses, start, steps, self.update, frame, &mut watched)?;
            let over = done.is_break();
            painted = Some(following(painted.as_ref(), found(done)));
            if over {
                break;
            }
        }
        let mut painted = painted.ok_or_else(|| Error::invalid("the photo", "at least one pixel", 0))?;
        if self.keep_colors {
            let [_, _, height, width] = painted.image.dims();
            painted.image = with_luminance_of(resized(&photo, (height, width)), painted.image);
        }
        Ok(painted)
    }

    /// The layer that sees the photo, and those that see the style with their weights: as set, or by default.
    ///
    /// Costs a forward pass on a black image where a default is asked for.
    ///
    /// ```
    /// # use vis::{Model, visualization::style_transfer};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = model.input().zeros(&model.device());
    /// let (content, style) = style_transfer(&model, photo.clone(), photo).content_layer("conv2").chosen_layers()?;
    /// assert_eq!(content, "conv2");
    /// assert_eq!(style, [("conv1".to_owned(), 1.0), ("conv2".to_owned(), 1.0)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoSpatialLayer`] when no layer has more than one position.
    pub fn chosen_layers(&self) -> Result<(String, Vec<(String, f32)>)> {
        if let (Some(content), Some(style)) = (&self.content_layer, &self.style_layers) {
            return Ok((content.clone(), style.clone()));
        }
        let stages = Stages::of(self.model)?;
        let none = || Error::NoSpatialLayer { target: "the output".into() };
        let content = match &self.content_layer {
            Some(layer) => layer.clone(),
            None => stages.middle_of(3).ok_or_else(none)?,
        };
        let style = match &self.style_layers {
            Some(layers) => layers.clone(),
            None => stages.firsts().into_iter().map(|layer| (layer, 1.0)).collect(),
        };
        Ok((content, style))
    }

    /// The painting at the scale of an image of this size.
    fn painting_for(&self, painting: &Tensor<4>, image: (usize, usize)) -> Result<Tensor<4>> {
        let size = size_of("the painting", painting)?;
        let Some(smallest) = self.model.input().smallest() else {
            return Ok(resized(painting, self.model.input().size()));
        };
        let longest = (image.0.max(image.1) as f32 * self.style_scale).round() as usize;
        let shrunk = scaled(size, longest.min(size.0.max(size.1)));
        let large_enough = shrunk.0 >= smallest && shrunk.1 >= smallest;
        Ok(resized(painting, if large_enough { shrunk } else { size }))
    }
}

impl std::fmt::Debug for StyleTransfer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StyleTransfer")
            .field("photo", &self.photo.dims())
            .field("paintings", &self.paintings.len())
            .field("content_layer", &self.content_layer)
            .field("style_layers", &self.style_layers)
            .field("content_weight", &self.content_weight)
            .field("style_weight", &self.style_weight)
            .field("tv_weight", &self.tv_weight)
            .field("start", &self.start)
            .field("steps", &self.max_iter)
            .field("update", &self.update)
            .finish_non_exhaustive()
    }
}

/// The luminance of an RGB image, `[1, 1, height, width]`: `0.299 R + 0.587 G + 0.114 B`.
fn luminance(image: Tensor<4>) -> Tensor<4> {
    let weights = Tensor::<1>::from_floats([0.299, 0.587, 0.114], &image.device()).reshape([1, 3, 1, 1]);
    (image * weights).sum_dim(1)
}

/// A grey image as RGB.
fn three(grey: Tensor<4>) -> Tensor<4> {
    let [batch, _, height, width] = grey.dims();
    grey.expand([batch, 3, height, width])
}

/// The photo with the luminance of another image: as much is added to red, green and blue alike, so that their
/// differences, the chroma, stay the same.
fn with_luminance_of(photo: Tensor<4>, image: Tensor<4>) -> Tensor<4> {
    photo.clone() + luminance(image) - luminance(photo)
}

/// A grey image with the mean and deviation of another.
fn matched(grey: Tensor<4>, other: &Tensor<4>) -> Tensor<4> {
    let moments = |x: &Tensor<4>| {
        let mean = x.clone().mean_dims(&[1, 2, 3]);
        let deviation = (x.clone() - mean.clone()).square().mean_dims(&[1, 2, 3]).sqrt();
        (mean, deviation)
    };
    let ((mean, deviation), (other_mean, other_deviation)) = (moments(&grey), moments(other));
    (grey - mean) / deviation.clamp_min(1e-6) * other_deviation + other_mean
}
