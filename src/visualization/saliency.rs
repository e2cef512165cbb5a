//! Which pixels matter.

use std::fmt;
use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::heatmap::{Heatmap, first, label_of, single_photo, target_and_predictions, target_of};
use crate::Target;
use crate::attribution::{Attribution, Blank, Saliency, SmoothGrad, blur};
use crate::gradient::modifier::GradientModifier;
use crate::model::Model;
use crate::picture::{self, ColorMap};
use crate::progress::{Progress, SharedWatcher};
use crate::{Result, Rule};

/// Shows which pixels of a photo would change the score of a class, or of filters of any layer, the most.
///
/// ```no_run
/// use vis::{model::EfficientNetLite0, picture, visualize_saliency};
///
/// let model = EfficientNetLite0::bundled(&Default::default())?;
/// let photo = picture::to_input(&picture::load("images/photos/chelsea.png")?, &model)?;
/// visualize_saliency(&model, photo).filter_indices(285).run()?.save("cat.png")?;
/// # Ok::<(), vis::Error>(())
/// ```
///
/// ```
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
/// let heatmap = vis::visualize_saliency(&model, photo).filter_indices(2).run()?;
/// assert_eq!((heatmap.map.dim(), heatmap.raw.dim()), ((8, 8), (3, 8, 8)));
/// let largest = heatmap.map.iter().copied().fold(0.0, f32::max);
/// assert_eq!((heatmap.label.as_str(), largest), ("class 2", 1.0));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The image is `[1, channels, height, width]` in the model's input range. Unless told otherwise the map is of the
/// class that the network predicts. Costs one forward and one backward pass, or one of each for every
/// [smoothed](VisualizeSaliency::smooth) sample, and a forward pass to predict.
///
/// | keras-vis | vis |
/// | --- | --- |
/// | `layer_idx` | [`target_layer`](VisualizeSaliency::target_layer); default the logits |
/// | `filter_indices` | [`filter_indices`](VisualizeSaliency::filter_indices) |
/// | `seed_input` | `image` |
/// | `backprop_modifier='guided'`, `'relu'` | [`rule`](VisualizeSaliency::rule) with [`Rule::Guided`], [`Rule::Deconvolution`] |
/// | `grad_modifier='absolute'` | [`grad_modifier`](VisualizeSaliency::grad_modifier) |
/// | `keepdims=True` | [`Heatmap::raw`] |
/// | normalised to 0..1 | [`Heatmap::map`], with the brightest hundredth [clipped](VisualizeSaliency::percentile) |
///
/// See [`Saliency`] for the formula and for what to beware of.
pub fn visualize_saliency(model: &dyn Model, image: Tensor<4>) -> VisualizeSaliency<'_> {
    VisualizeSaliency {
        model,
        image,
        layer: None,
        filters: None,
        target: None,
        rule: Rule::Plain,
        modifier: Some(GradientModifier::Absolute),
        percentile: 99.0,
        blur: 0.0,
        samples: 1,
        noise: 0.15,
        seed: 0,
        progress: SharedWatcher::default(),
    }
}

/// The settings of [`visualize_saliency`]; [`run`](Self::run) makes the map.
pub struct VisualizeSaliency<'a> {
    model: &'a dyn Model,
    image: Tensor<4>,
    layer: Option<String>,
    filters: Option<Target>,
    target: Option<Target>,
    rule: Rule,
    modifier: Option<GradientModifier>,
    percentile: f32,
    blur: f32,
    samples: usize,
    noise: f32,
    seed: u64,
    progress: SharedWatcher<'static>,
}

impl VisualizeSaliency<'_> {
    /// Sets the layer whose filters are meant; without filters, all of them.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = visualize_saliency(&model, photo).target_layer("conv2").run()?;
    /// assert_eq!(map.label, "mean of `conv2`");
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "layer_idx")]
    pub fn target_layer(mut self, layer: impl Into<String>) -> Self {
        self.layer = Some(layer.into());
        self
    }

    /// Sets the class or filter, or several whose activations are added.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = visualize_saliency(&model, photo).target_layer("conv2").filter_indices(4).run()?;
    /// assert_eq!(map.label, "channel 4 of `conv2`");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn filter_indices(mut self, filters: impl Into<Target>) -> Self {
        self.filters = Some(filters.into());
        self
    }

    /// Sets any other target, in place of layer and filters.
    ///
    /// ```
    /// use vis::Target;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let rather = vis::visualize_saliency(&model, photo).target(Target::class(3) - Target::class(1)).run()?;
    /// assert_eq!(rather.label, "class 3 − class 1");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the backward rule at rectifiers.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// use vis::Rule;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |rule| visualize_saliency(&model, photo.clone()).filter_indices(2).rule(rule).run();
    /// assert_ne!(map(Rule::Guided)?.raw, map(Rule::Plain)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets what becomes of the gradient before the largest value over the channels is taken; by default its
    /// magnitude. `None` leaves it as it is.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// use vis::optimizer::GradientModifier;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |modifier| visualize_saliency(&model, photo.clone()).filter_indices(2).grad_modifier(modifier).run();
    /// let (size, signed) = (map(Some(GradientModifier::Absolute))?, map(None)?);
    /// assert!(size.raw == signed.raw && size.map != signed.map);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn grad_modifier(mut self, modifier: impl Into<Option<GradientModifier>>) -> Self {
        self.modifier = modifier.into();
        self
    }

    /// Sets the percentile of the map that is shown as 1, from 0 to 100: 99 by default, because a few pixels far
    /// above the rest would leave the rest dark; 100 as in keras-vis.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let shown = |percentile| visualize_saliency(&model, photo.clone()).filter_indices(2).percentile(percentile).run();
    /// let white = |map: &vis::visualization::Heatmap| map.map.iter().filter(|value| **value == 1.0).count();
    /// assert!(white(&shown(50.0)?) > white(&shown(100.0)?));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn percentile(mut self, percentile: f32) -> Self {
        self.percentile = percentile;
        self
    }

    /// Blurs the map for the eye by a Gaussian of this standard deviation in pixels, before it is normalised; 0, the
    /// default, leaves it as it is. (The first keras-vis blurred by about 1.)
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |blur| visualize_saliency(&model, photo.clone()).filter_indices(2).blur(blur).run();
    /// let (sharp, soft) = (map(0.0)?, map(2.0)?);
    /// assert!(sharp.raw == soft.raw && sharp.map != soft.map);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn blur(mut self, deviation: f32) -> Self {
        self.blur = deviation;
        self
    }

    /// Averages the gradient over this many noisy copies ([`SmoothGrad`]); 1 is the gradient itself.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |samples| visualize_saliency(&model, photo.clone()).filter_indices(2).smooth(samples).run();
    /// assert_ne!(map(5)?.raw, map(1)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn smooth(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Sets the standard deviation of the noise as a fraction of the image's range, 0.15 by default.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |noise| visualize_saliency(&model, photo.clone()).filter_indices(2).smooth(5).noise(noise).run();
    /// assert_ne!(map(0.05)?.raw, map(0.3)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn noise(mut self, fraction: f32) -> Self {
        self.noise = fraction;
        self
    }

    /// Sets the seed of the noise.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |seed| visualize_saliency(&model, photo.clone()).filter_indices(2).smooth(5).seed(seed).run();
    /// assert_eq!(map(1)?.raw, map(1)?.raw);
    /// assert_ne!(map(1)?.raw, map(2)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls `progress` after each batch of noisy copies; [`ControlFlow::Break`] ends the work, and the map is made of what has been run so
    /// far.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = visualize_saliency(&model, photo).smooth(50).progress(|now| {
    ///     eprintln!("{now}");
    ///     ControlFlow::Continue(())
    /// });
    /// map.run()?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// Makes the map.
    ///
    /// # Errors
    ///
    /// Those of [`Attribution::attribute`], [`Error::NoRectifier`](crate::Error::NoRectifier) when a special rule
    /// met no rectifier, [`Error::Shape`](crate::Error::Shape) for more than one image, and
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) for a percentile out of range.
    ///
    /// ```
    /// use vis::visualize_saliency;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = visualize_saliency(&model, photo).filter_indices(2).run()?;
    /// assert!(map.map.iter().all(|value| (0.0..=1.0).contains(value)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn run(self) -> Result<Heatmap> {
        let (image, photo) = single_photo(self.model, self.image)?;
        let target = self.target.or_else(|| target_of(self.layer.as_deref(), self.filters));
        let (target, predictions) = target_and_predictions(self.model, &image, target)?;
        let method = SmoothGrad::new(Saliency::new().rule(self.rule));
        let method = method.samples(self.samples).noise(self.noise).seed(self.seed).watched(self.progress);
        let [_, channels, ..] = image.dims();
        let gradient = method.attribute(self.model, image, &target)?;
        let modified = match self.modifier {
            Some(modifier) => modifier.apply(gradient.clone()),
            None => gradient.clone(),
        };
        let mut largest = modified.max_dim(1);
        if self.blur != 0.0 {
            largest = blur(largest, self.blur)?;
        }
        let values = first(largest).index_axis_move(ndarray::Axis(0), 0);
        let range = picture::clipped_range(values.view(), self.percentile)?;
        Ok(Heatmap {
            map: picture::normalize_between(values.view(), range),
            // The least is shown as 0, whatever its sign.
            blank: Blank::of(&values).filter(|blank| *blank != Blank::Negative),
            range,
            values,
            channels,
            raw: first(gradient),
            label: label_of(self.model, &target),
            layer: None,
            photo,
            predictions,
            colors: ColorMap::Inferno,
        })
    }
}

impl fmt::Debug for VisualizeSaliency<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisualizeSaliency")
            .field("layer", &self.layer)
            .field("filters", &self.filters)
            .field("target", &self.target)
            .field("rule", &self.rule)
            .field("modifier", &self.modifier)
            .finish_non_exhaustive()
    }
}
