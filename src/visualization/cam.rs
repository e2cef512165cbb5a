//! Which places matter.

use std::fmt;
use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::heatmap::{Heatmap, first, label_of, single_photo, target_and_predictions, target_of};
use crate::Target;
use crate::attribution::{Cam, Formula};
use crate::gradient::modifier::GradientModifier;
use crate::model::Model;
use crate::picture::{self, ColorMap};
use crate::progress::{Progress, SharedWatcher};
use crate::{Result, Rule};

/// Shows which places of a photo speak for a class, or for filters of any layer: its class activation map.
///
/// ```no_run
/// use vis::{model::EfficientNetLite0, picture, visualize_cam};
///
/// let model = EfficientNetLite0::bundled(&Default::default())?;
/// let photo = picture::to_input(&picture::load("images/photos/chelsea.png")?, &model)?;
/// visualize_cam(&model, photo).filter_indices(285).run()?.save("cat.png")?;
/// # Ok::<(), vis::Error>(())
/// ```
///
/// ```
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
/// let heatmap = vis::visualize_cam(&model, photo).filter_indices(2).run()?;
/// assert_eq!((heatmap.label.as_str(), heatmap.layer.as_deref()), ("class 2", Some("conv2")));
/// assert_eq!((heatmap.map.dim(), heatmap.raw.dim()), ((8, 8), (1, 4, 4)));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The image is `[1, channels, height, width]` in the model's input range. Unless told otherwise the map is of the
/// class that the network predicts, by Grad-CAM, at the last layer before it that has more than one position;
/// [`Heatmap::layer`] says which that was. In the picture 0 is no evidence (or evidence against), 1 the most.
///
/// | keras-vis | vis |
/// | --- | --- |
/// | `layer_idx` | [`target_layer`](VisualizeCam::target_layer); default the logits |
/// | `filter_indices` | [`filter_indices`](VisualizeCam::filter_indices) |
/// | `seed_input` | `image` |
/// | `penultimate_layer_idx` | [`penultimate_layer`](VisualizeCam::penultimate_layer) |
/// | `backprop_modifier` | [`rule`](VisualizeCam::rule) |
/// | `grad_modifier='negate'` | [`grad_modifier`](VisualizeCam::grad_modifier) |
/// | cubic enlargement, which overshoots | bilinear |
///
/// keras-vis divides the gradient by its largest value, which turns the map over where that is negative; here
/// the gradient stays as it is. See [`Formula`] for the formulas and [`Cam`] for what to beware of.
pub fn visualize_cam(model: &dyn Model, image: Tensor<4>) -> VisualizeCam<'_> {
    VisualizeCam {
        model,
        image,
        layer: None,
        filters: None,
        target: None,
        penultimate: None,
        formula: Formula::GradCam,
        rule: Rule::Plain,
        modifier: None,
        progress: SharedWatcher::default(),
    }
}

/// The settings of [`visualize_cam`]; [`run`](Self::run) makes the map.
pub struct VisualizeCam<'a> {
    model: &'a dyn Model,
    image: Tensor<4>,
    layer: Option<String>,
    filters: Option<Target>,
    target: Option<Target>,
    penultimate: Option<String>,
    formula: Formula,
    rule: Rule,
    modifier: Option<GradientModifier>,
    progress: SharedWatcher<'static>,
}

impl VisualizeCam<'_> {
    /// Sets the layer whose filters are meant; without filters, all of them.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = visualize_cam(&model, photo).target_layer("conv2").run()?;
    /// assert_eq!((cam.label.as_str(), cam.layer.as_deref()), ("mean of `conv2`", Some("pool1")));
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
    /// use vis::visualize_cam;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = visualize_cam(&model, photo).filter_indices([1, 3]).run()?;
    /// assert_eq!(cam.label, "class 1 + class 3");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn filter_indices(mut self, filters: impl Into<Target>) -> Self {
        self.filters = Some(filters.into());
        self
    }

    /// Sets any other target, in place of layer and filters.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// use vis::Target;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = visualize_cam(&model, photo).target(Target::class(3) - Target::class(1)).run()?;
    /// assert_eq!(cam.label, "class 3 − class 1");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the layer whose places are weighed.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = visualize_cam(&model, photo).filter_indices(2).penultimate_layer("conv1").run()?;
    /// assert_eq!(cam.raw.dim(), (1, 8, 8));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "penultimate_layer_idx")]
    pub fn penultimate_layer(mut self, layer: impl Into<String>) -> Self {
        self.penultimate = Some(layer.into());
        self
    }

    /// Sets the formula.
    ///
    /// ```
    /// use vis::attribution::Formula;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = vis::visualize_cam(&model, photo).formula(Formula::LayerCam).penultimate_layer("conv1").run()?;
    /// assert_eq!((cam.layer.as_deref(), cam.map.dim()), (Some("conv1"), (8, 8)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn formula(mut self, formula: Formula) -> Self {
        self.formula = formula;
        self
    }

    /// Sets the backward rule at rectifiers above the penultimate layer.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// use vis::Rule;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = |rule| visualize_cam(&model, photo.clone()).filter_indices(2).penultimate_layer("conv1").rule(rule).run();
    /// assert_ne!(cam(Rule::Guided)?.raw, cam(Rule::Plain)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "backprop_modifier")]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Changes the gradient at the penultimate layer: with [`GradientModifier::Negate`] the map shows what speaks
    /// against the class, with [`GradientModifier::SmallValues`] what keeps its score as it is.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// use vis::optimizer::GradientModifier;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = |modifier| visualize_cam(&model, photo.clone()).filter_indices(2).grad_modifier(modifier).run();
    /// assert_eq!(cam(Some(GradientModifier::Negate))?.raw, -cam(None)?.raw);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn grad_modifier(mut self, modifier: impl Into<Option<GradientModifier>>) -> Self {
        self.modifier = modifier.into();
        self
    }

    /// Calls `progress` after each batch of the formulas that run the network once a channel; [`ControlFlow::Break`] ends the work, and the map is made of what has been run so
    /// far.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::visualize_cam;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = visualize_cam(&model, photo).formula(vis::attribution::Formula::ScoreCam).progress(|now| {
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
    /// Those of [`Cam::map`], and [`Error::Shape`](crate::Error::Shape) for more than one image.
    ///
    /// ```
    /// use vis::visualize_cam;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let cam = visualize_cam(&model, photo).filter_indices(2).run()?;
    /// assert!(cam.map.iter().all(|value| (0.0..=1.0).contains(value)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn run(self) -> Result<Heatmap> {
        let (image, photo) = single_photo(self.model, self.image)?;
        let target = self.target.or_else(|| target_of(self.layer.as_deref(), self.filters));
        let (target, predictions) = target_and_predictions(self.model, &image, target)?;
        let mut cam = Cam::new(self.formula).rule(self.rule).watched(self.progress);
        if let Some(layer) = self.penultimate {
            cam = cam.penultimate_layer(layer);
        }
        if let Some(modifier) = self.modifier {
            cam = cam.grad_modifier(modifier);
        }
        let [_, channels, ..] = image.dims();
        let cam = cam.map(self.model, image, &target)?;
        let values = first(cam.rectified().upsampled()).index_axis_move(ndarray::Axis(0), 0);
        let range = (0.0, values.iter().copied().fold(0.0, f32::max)); // 0 stays 0
        Ok(Heatmap {
            map: picture::normalize_between(values.view(), range),
            blank: cam.blank().into_iter().next().flatten(),
            range,
            values,
            channels,
            raw: first(cam.map),
            label: label_of(self.model, &target),
            layer: Some(cam.layer),
            photo,
            predictions,
            colors: ColorMap::Jet,
        })
    }
}

impl fmt::Debug for VisualizeCam<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisualizeCam")
            .field("layer", &self.layer)
            .field("filters", &self.filters)
            .field("target", &self.target)
            .field("penultimate", &self.penultimate)
            .field("formula", &self.formula)
            .field("rule", &self.rule)
            .field("modifier", &self.modifier)
            .finish_non_exhaustive()
    }
}
