//! Caricature.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::descent::{Staged, found, run, size_of};
use super::stages::Stages;
use crate::losses::{Caricature, Losses};
use crate::model::Model;
use crate::optimizer::{BurnUpdate, Minimized, Optimizer};
use crate::parametrization::Fourier;
use crate::progress::{Progress, Watcher};
use crate::transforms::Jitter;
use crate::{Error, Result};

/// Caricature: an image, found from noise, in which a layer sees the same as in a photo, `[1, channels, height,
/// width]`, only much more of it, by the loss [`Caricature`].
///
#[cfg_attr(doc, doc = include_str!("../figures/caricature.md"))]
///
/// Unlike [inversion](super::invert) it does not ask for as much of each feature as there was, but for as much as
/// there can be: what the layer took notice of is exaggerated, the rest is gone.
///
/// The image is parametrised by a Fourier spectrum in decorrelated colours and moved by Adam.
///
/// ```
/// use vis::visualization::caricature;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
/// let drawn = caricature(&model, photo).layer("conv2").max_iter(20).run()?;
/// assert!(drawn.best_loss[0] < drawn.losses.totals()[[0, 0]]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: lucid, `recipes/caricature.py`.
pub fn caricature(model: &dyn Model, photo: Tensor<4>) -> DrawCaricature<'_> {
    DrawCaricature {
        model,
        photo,
        layer: None,
        power: 1.0,
        jitter: 4,
        max_iter: 200,
        learning_rate: 0.05,
        seed: 0,
        progress: None,
    }
}

/// The settings of [`caricature`].
#[must_use = "nothing is drawn before `run`"]
pub struct DrawCaricature<'a> {
    model: &'a dyn Model,
    photo: Tensor<4>,
    layer: Option<String>,
    power: f32,
    jitter: usize,
    max_iter: usize,
    learning_rate: f64,
    seed: u64,
    progress: Option<Watcher<'a>>,
}

impl<'a> DrawCaricature<'a> {
    /// Sets the layer. Default: the last convolution whose map is an eighth of the image a side,
    /// `block4_conv3` in VGG16.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let drawn = caricature(&model, photo).layer("conv1").max_iter(2).run()?;
    /// assert_eq!(drawn.losses.names(), ["caricature at conv1"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the power of the cosine: more keeps closer to the photo. Default 1.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let draw = |power| caricature(&model, photo.clone()).power(power).max_iter(1).run();
    /// // At the start the image is unlike the photo, which counts for more.
    /// assert!(draw(4.0)?.best_loss[0] > draw(1.0)?.best_loss[0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "cossim_pow")]
    pub fn power(mut self, power: f32) -> Self {
        self.power = power;
        self
    }

    /// Sets the largest random shift between image and model, in pixels each way. Default 4.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let rests = |losses: &ndarray::Array2<f32>| losses.iter().all(|loss| *loss == losses[[0, 0]]);
    /// let draw = |pixels| caricature(&model, photo.clone()).jitter(pixels).learning_rate(0.0).max_iter(9).run();
    /// assert!(rests(&draw(0)?.losses.totals()));
    /// assert!(!rests(&draw(3)?.losses.totals())); // every shift has a loss of its own
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn jitter(mut self, pixels: usize) -> Self {
        self.jitter = pixels;
        self
    }

    /// Sets the number of steps. Default 200.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// assert_eq!(caricature(&model, photo).max_iter(5).run()?.losses.steps(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Sets the learning rate of Adam. Default 0.05.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let draw = |rate| caricature(&model, photo.clone()).jitter(0).learning_rate(rate).max_iter(5).run();
    /// assert!(draw(0.1)?.best_loss[0] < draw(0.01)?.best_loss[0]); // farther after as many steps
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the seed of the noise to start from and of the shifts. Default 0.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let draw = |seed| caricature(&model, photo.clone()).max_iter(3).seed(seed).run();
    /// assert_eq!(draw(1)?.array(), draw(1)?.array());
    /// assert_ne!(draw(1)?.array(), draw(2)?.array());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls `progress` after every step; [`ControlFlow::Break`] ends the run, and the best image so far is the result.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// use std::ops::ControlFlow;
    /// let drawn = caricature(&model, photo).max_iter(50).progress(|now| match now.done {
    ///     5 => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// });
    /// assert_eq!(drawn.run()?.losses.steps(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// The layer: as set, or by default.
    ///
    /// Costs a forward pass on a black image where the default is asked for.
    ///
    /// ```
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let photo = model.input().zeros(&model.device());
    /// assert_eq!(vis::visualization::caricature(&model, photo).chosen_layer()?, "conv2");
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoSpatialLayer`] when no layer has more than one position.
    pub fn chosen_layer(&self) -> Result<String> {
        match &self.layer {
            Some(layer) => Ok(layer.clone()),
            None => Stages::of(self.model)?
                .last_of(3)
                .ok_or_else(|| Error::NoSpatialLayer { target: "the output".into() }),
        }
    }

    /// Draws.
    ///
    /// ```
    /// # use vis::{Model, visualization::caricature};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let drawn = caricature(&model, photo).max_iter(5).run()?;
    /// // A Fourier image never leaves the range.
    /// assert!(drawn.array().iter().all(|value| (0.0..=255.0).contains(value)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An unknown layer, a photo of another shape than the model takes, settings out of range.
    pub fn run(mut self) -> Result<Minimized> {
        let (height, width) = size_of("the photo", &self.photo)?;
        let layer = self.chosen_layer()?;
        let loss = Caricature::new(self.model, self.photo.clone(), layer)?.with_power(self.power)?;
        let optimizer = Optimizer::new(self.model, Losses::from(loss))
            .size(height, width)
            .parametrization(Fourier::new([height, width], self.model.input().range()))
            .update(BurnUpdate::new(burn::optim::AdamConfig::new().build()))
            .transform(Jitter::Pixels(self.jitter))
            .learning_rate(self.learning_rate)
            .seed(self.seed)
            .max_iter(self.max_iter);
        Ok(found(run(optimizer, &mut Staged::new(self.progress.take(), self.max_iter))?))
    }
}

impl std::fmt::Debug for DrawCaricature<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DrawCaricature")
            .field("photo", &self.photo.dims())
            .field("layer", &self.layer)
            .field("power", &self.power)
            .field("steps", &self.max_iter)
            .finish_non_exhaustive()
    }
}
