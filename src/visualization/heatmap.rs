//! A map in colour over its photo.

use std::path::Path;

use burn::tensor::Tensor;
use image::RgbImage;
use ndarray::{Array2, Array3, Axis};

use crate::Target;
use crate::attribution::Blank;
use crate::model::{Model, values::probabilities};
use crate::picture::{self, ColorMap, Opacity};
use crate::{Error, Result, host};

/// A map of one photo, as numbers and as a picture: what [`visualize_saliency`](super::visualize_saliency) and
/// [`visualize_cam`](super::visualize_cam) give.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Heatmap {
    /// The map for the eye, `[rows, columns]` of the image, from 0 to 1.
    pub map: Array2<f32>,
    /// The signed numbers it was made of: the gradient `[channels, rows, columns]`, or the class activation map
    /// `[1, rows, columns]` at the size of its layer.
    pub raw: Array3<f32>,
    /// What it is a map of: the names of classes where the model knows them.
    pub label: String,
    /// The layer of a class activation map; none for saliency.
    pub layer: Option<String>,
    /// The image as the network saw it; none where it has neither one channel nor three, and can't be drawn.
    pub photo: Option<RgbImage>,
    /// What the network sees in it: its three most probable classes by name, with their probabilities. None for a
    /// network that does not say where its [logits](Model::logits) are.
    pub predictions: Vec<(String, f32)>,
    /// The colours; [`with_colors`](Self::with_colors) sets others.
    pub colors: ColorMap,
    /// Why the map says nothing, if it does not. Its picture looks as if it did.
    pub blank: Option<Blank>,
    /// The values that the [map](Self::map) has as 0 and as 1: in the units of [`raw`](Self::raw).
    /// [`with_range`](Self::with_range) sets others.
    pub range: (f32, f32),
    /// The map before it was brought to 0 to 1.
    pub(super) values: Array2<f32>,
    /// The channels of the image.
    pub(super) channels: usize,
}

impl Heatmap {
    /// The same in other colours.
    ///
    /// ```
    /// use vis::picture::ColorMap;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let heatmap = vis::visualize_saliency(&model, photo).run()?;
    /// let grey = heatmap.with_colors(ColorMap::Grey).picture();
    /// assert_eq!(grey.dimensions(), (8, 8));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_colors(mut self, colors: ColorMap) -> Self {
        self.colors = colors;
        self
    }

    /// The same with other values as 0 and as 1; what lies outside is clipped.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let heatmap = vis::visualize_cam(&model, photo).filter_indices(3).run()?;
    /// let (low, high) = heatmap.range;
    /// let half = heatmap.clone().with_range((low, 2.0 * high)); // half as strong
    /// assert!(heatmap.map.iter().zip(&half.map).all(|(whole, half)| (half - whole / 2.0).abs() < 1e-6));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_range(mut self, range: (f32, f32)) -> Self {
        self.map = picture::normalize_between(self.values.view(), range);
        self.range = range;
        self
    }

    /// Several maps on one scale, from the least to the most that any of them shows: so a class of which the network
    /// sees next to nothing is not drawn as bright as the one that it is sure of. The maps must be of one kind: numbers
    /// of different methods have different units.
    ///
    /// ```
    /// use vis::visualization::Heatmap;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let map = |class| vis::visualize_cam(&model, photo.clone()).filter_indices(class).run();
    /// let [one, other] = [map(0)?, map(3)?];
    /// let most = one.range.1.max(other.range.1);
    /// let maps = Heatmap::on_one_scale([one, other]);
    /// assert!(maps.iter().all(|map| map.range == (0.0, most)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn on_one_scale(heatmaps: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let heatmaps: Vec<Self> = heatmaps.into_iter().collect();
        let wider = |(low, high): (f32, f32), map: &Self| (low.min(map.range.0), high.max(map.range.1));
        let range = heatmaps.iter().fold((f32::INFINITY, f32::NEG_INFINITY), wider);
        heatmaps.into_iter().map(|map| map.with_range(range)).collect()
    }

    /// What it is a map of, and, on lines of their own, what the network sees in the photo and why the map is
    /// [blank](Self::blank), if it is: the title of the [panel](Self::panel).
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let heatmap = vis::visualize_saliency(&model, photo).filter_indices(3).run()?;
    /// assert!(heatmap.title().starts_with("class 3\nThe network sees: class "));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn title(&self) -> String {
        let mut title = self.label.clone();
        if !self.predictions.is_empty() {
            let percent = |(name, share): &(String, f32)| format!("{name} {:.0} %", 100.0 * share);
            let seen: Vec<String> = self.predictions.iter().map(percent).collect();
            title += &format!("\nThe network sees: {}", seen.join(", "));
        }
        if let Some(blank) = self.blank {
            title += &format!("\n{blank}");
        }
        title
    }

    /// The map in colour, without the photo.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let heatmap = vis::visualize_cam(&model, photo).filter_indices(3).run()?;
    /// let expected = vis::picture::colorize(heatmap.map.view(), heatmap.colors);
    /// assert_eq!(heatmap.picture(), expected);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn picture(&self) -> RgbImage {
        picture::colorize(self.map.view(), self.colors)
    }

    /// The map over the photo.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an opacity that is not within 0 to 1, [`Error::Shape`] where there is no
    /// [photo](Self::photo).
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let heatmap = vis::visualize_cam(&model, photo).filter_indices(3).run()?;
    /// assert_eq!(Some(heatmap.overlay(0.0)?), heatmap.photo);
    /// assert_eq!(heatmap.overlay(1.0)?, heatmap.picture());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn overlay(&self, opacity: impl Into<Opacity>) -> Result<RgbImage> {
        let Some(photo) = &self.photo else {
            return Err(Error::Shape {
                what: "the image under a map".into(),
                expected: "one channel or three, to be drawn".into(),
                got: [self.channels].into_iter().chain([self.map.nrows(), self.map.ncols()]).collect(),
            });
        };
        picture::overlay_heat(photo, self.map.view(), self.colors, opacity)
    }

    /// The photo, the map and the map over the photo side by side, under the [title](Self::title); without a photo, the
    /// map.
    ///
    /// # Errors
    ///
    /// As [`picture::panel`].
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let panel = vis::visualize_cam(&model, photo).filter_indices(3).run()?.panel()?;
    /// assert!(panel.width() > 3 * 8);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn panel(&self) -> Result<RgbImage> {
        let place = self.layer.as_ref().map_or_else(|| "gradient".to_owned(), |layer| format!("at {layer}"));
        let (map, title) = (self.picture(), self.title());
        let Some(photo) = &self.photo else {
            return picture::panel(&[(place.as_str(), &map)], Some(&title));
        };
        let over = self.overlay(Opacity::default())?;
        let pictures = [("photo", photo), (place.as_str(), &map), ("over the photo", &over)];
        picture::panel(&pictures, Some(&title))
    }

    /// Writes the map over the photo to a PNG or JPEG file; without a photo, the map.
    ///
    /// # Errors
    ///
    /// As [`picture::save`].
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let folder = tempfile::tempdir().map_err(vis::Error::io("create", "a folder"))?;
    /// let path = folder.path().join("cam.png");
    /// vis::visualize_cam(&model, photo).filter_indices(3).run()?.save(&path)?;
    /// assert_eq!(vis::picture::load(&path)?.dimensions(), (8, 8));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let picture = if self.photo.is_some() { self.overlay(Opacity::default())? } else { self.picture() };
        picture::save(&picture, path)
    }
}

/// The one image that a front door takes, as a tensor and, where it has one channel or three, as a picture.
pub(super) fn single_photo(model: &dyn Model, image: Tensor<4>) -> Result<(Tensor<4>, Option<RgbImage>)> {
    let image = image.inner();
    model.input().check(image.dims())?;
    if image.dims()[0] != 1 {
        return Err(Error::Shape {
            what: "the image".into(),
            expected: "a batch of one; for more see `vis::attribution`".into(),
            got: image.dims().to_vec(),
        });
    }
    let photo = match image.dims()[1] {
        1 | 3 => picture::from_tensor(image.clone(), model.input().range())?.into_iter().next(),
        _ => None,
    };
    Ok((image, photo))
}

/// The target resolved, the predicted class if there is none, and the most probable classes of the image by name: none
/// where the model does not say where its logits are. The network runs once for both.
pub(super) fn target_and_predictions(
    model: &dyn Model,
    image: &Tensor<4>,
    target: Option<Target>,
) -> Result<(Target, Vec<(String, f32)>)> {
    const SHOWN: usize = 3;
    if model.logits().is_none() {
        return Ok((target.unwrap_or_else(Target::predicted).resolved(model, image)?, Vec::new()));
    }
    let logits = model.classify(image.clone())?;
    let shares = host::values(probabilities(logits.clone()));
    let logits = host::values(logits);
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let best = order.iter().copied().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or_default();
    let target = target.unwrap_or_else(|| Target::class(best)).resolved(model, image)?;
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let named = |class: usize| {
        let name = model.class_name(class).map_or_else(|| format!("class {class}"), str::to_owned);
        (name, shares[class])
    };
    Ok((target, order.into_iter().take(SHOWN).map(named).collect()))
}

/// The first image of a batch of maps on the host.
pub(super) fn first(maps: Tensor<4>) -> Array3<f32> {
    host::array4(maps).index_axis_move(Axis(0), 0)
}

/// What keras-vis calls a layer and its filter indices, as a target: the sum of the filters' mean activations. None stands
/// for the predicted class.
pub(super) fn target_of(layer: Option<&str>, filters: Option<Target>) -> Option<Target> {
    match (layer, filters) {
        (None, filters) => filters,
        (Some(layer), Some(filters)) => Some(filters.or_in_layer(layer, "channel")),
        (Some(layer), None) => Some(Target::layer(layer)),
    }
}

/// A resolved target in the model's own words.
pub(super) fn label_of(model: &dyn Model, target: &Target) -> String {
    match target.classes_of_logits(model) {
        Some(classes) => {
            let name = |class: &usize| model.class_name(*class).map(str::to_owned);
            let names: Option<Vec<String>> = classes.iter().map(name).collect();
            names.map_or_else(|| target.to_string(), |names| names.join(" + "))
        }
        None => target.to_string(),
    }
}
