//! Inversion of features.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::descent::{Staged, found, run, size_of};
use crate::Result;
use crate::losses::{Content, Losses, TotalVariation};
use crate::model::Model;
use crate::optimizer::{BurnUpdate, Minimized, Optimizer};
use crate::parametrization::Fourier;
use crate::progress::{Progress, Watcher};

/// Inversion: an image, found from noise, in which a layer sees the same as in a photo, `[1, channels, height,
/// width]`: so it shows what the layer still knows of the photo, and what it has forgotten.
///
#[cfg_attr(doc, doc = include_str!("../figures/invert.md"))]
///
/// ```text
/// L(x) = Content(x) + tv weight · TV(x)
/// ```
///
/// The image is parametrised by a Fourier spectrum in decorrelated colours and moved by Adam. Early layers give the
/// photo back almost as it was; deeper ones forget colour first, then place.
///
/// ```
/// use vis::visualization::invert;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
/// let inverted = invert(&model, photo, "conv2").max_iter(20).run()?;
/// assert!(inverted.best_loss[0] < inverted.losses.totals()[[0, 0]]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// What the network does not tell, the spectrum and total variation fill in: a smooth sky in the picture may be
/// theirs and not the photo's.
///
/// Source: Mahendran & Vedaldi 2015, *Understanding Deep Image Representations by Inverting Them*, arXiv 1412.0035;
/// the spectrum: Olah, Mordvintsev & Schubert 2017.
#[doc(alias = "feature_inversion")]
pub fn invert<'a>(model: &'a dyn Model, photo: Tensor<4>, layer: impl Into<String>) -> Invert<'a> {
    Invert {
        model,
        photo,
        layer: layer.into(),
        tv_weight: 1.0,
        max_iter: 200,
        learning_rate: 0.05,
        seed: 0,
        progress: None,
    }
}

/// The settings of [`invert`].
#[must_use = "nothing is inverted before `run`"]
pub struct Invert<'a> {
    model: &'a dyn Model,
    photo: Tensor<4>,
    layer: String,
    tv_weight: f32,
    max_iter: usize,
    learning_rate: f64,
    seed: u64,
    progress: Option<Watcher<'a>>,
}

impl<'a> Invert<'a> {
    /// Sets the weight of [`TotalVariation`], taken of an image in `0..1`. Default 1; more is smoother.
    ///
    /// ```
    /// # use vis::{Loss, Model, Scene, losses::TotalVariation, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let roughness = |weight| {
    ///     let image = invert(&model, photo.clone(), "conv1").tv_weight(weight).max_iter(30).run()?.image;
    ///     TotalVariation::default().build_loss(&Scene::new(image, [])).map(|loss| loss.into_scalar::<f32>())
    /// };
    /// assert!(roughness(1000.0)? < roughness(0.0)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn tv_weight(mut self, weight: f32) -> Self {
        self.tv_weight = weight;
        self
    }

    /// Sets the number of steps. Default 200.
    ///
    /// ```
    /// # use vis::{Model, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// assert_eq!(invert(&model, photo, "conv1").max_iter(5).run()?.losses.steps(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Sets the learning rate of Adam. Default 0.05.
    ///
    /// ```
    /// # use vis::{Model, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let inverted = |rate| invert(&model, photo.clone(), "conv1").learning_rate(rate).max_iter(5).run();
    /// assert!(inverted(0.05)?.best_loss[0] < inverted(0.0)?.best_loss[0]); // without it nothing moves
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the seed of the noise to start from. Default 0.
    ///
    /// ```
    /// # use vis::{Model, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let inverted = |seed| invert(&model, photo.clone(), "conv1").max_iter(3).seed(seed).run();
    /// assert_eq!(inverted(1)?.array(), inverted(1)?.array());
    /// assert_ne!(inverted(1)?.array(), inverted(2)?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls `progress` after every step; [`ControlFlow::Break`] ends the run, and the best image so far is the result.
    ///
    /// ```
    /// # use vis::{Model, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// use std::ops::ControlFlow;
    /// let inverted = invert(&model, photo, "conv1").max_iter(50).progress(|now| match now.done {
    ///     5 => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// });
    /// assert_eq!(inverted.run()?.losses.steps(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Inverts.
    ///
    /// ```
    /// # use vis::{Model, visualization::invert};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let inverted = invert(&model, photo.clone(), "conv1").max_iter(30).run()?;
    /// assert_eq!(inverted.losses.names(), ["content at conv1", "TV(2)"]);
    /// assert!(invert(&model, photo, "conv9").run().is_err()); // no such layer
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An unknown layer, a photo of another shape than the model takes, settings out of range.
    pub fn run(mut self) -> Result<Minimized> {
        let (height, width) = size_of("the photo", &self.photo)?;
        let (low, high) = self.model.input().range();
        let losses = Losses::new()
            .with(Content::new(self.model, self.photo.clone(), &self.layer)?, 1.0)
            .with(TotalVariation::default(), self.tv_weight / (high - low).powi(2));
        let optimizer = Optimizer::new(self.model, losses)
            .size(height, width)
            .parametrization(Fourier::new([height, width], (low, high)))
            .update(BurnUpdate::new(burn::optim::AdamConfig::new().build()))
            .learning_rate(self.learning_rate)
            .seed(self.seed)
            .max_iter(self.max_iter);
        Ok(found(run(optimizer, &mut Staged::new(self.progress.take(), self.max_iter))?))
    }
}

impl std::fmt::Debug for Invert<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invert")
            .field("photo", &self.photo.dims())
            .field("layer", &self.layer)
            .field("tv_weight", &self.tv_weight)
            .field("steps", &self.max_iter)
            .finish_non_exhaustive()
    }
}
