//! The images of a site: what the network sees in each, and why.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Tensor;
use image::{RgbImage, imageops};

use super::super::{class_of, ending_of};
use super::{Shelf, Site, slug};
use crate::attribution::{Attribution, Cam, Formula, Saliency, magnitude};
use crate::model::values::probabilities;
use crate::model::{Taps, run};
use crate::picture::{self, ColorMap, Sign};
use crate::survey::{Crop, Example};
use crate::{Error, Model, Result, Target, host};

/// The images of a site, by name.
pub(super) struct Shown {
    pub(super) images: BTreeMap<String, Image>,
}

/// An image.
pub(super) struct Image {
    /// Its name as a part of file names.
    pub(super) id: String,
    pub(super) label: Option<String>,
    /// The file, from the root of the site.
    pub(super) file: String,
    pub(super) class: &'static str,
    pub(super) size: (u32, u32),
    /// The probability of each class, if the network has any.
    pub(super) probabilities: Vec<f32>,
    /// The largest activation of each unit of each layer shown.
    pub(super) largest: Vec<Vec<f32>>,
    pub(super) maps: Vec<Map>,
    /// What the maps explain.
    pub(super) explained: String,
    /// The files of the crops, by what they show.
    pub(super) crops: BTreeMap<(u32, u32, u32, u32), String>,
}

/// A map over an image.
pub(super) struct Map {
    pub(super) name: String,
    pub(super) file: String,
}

impl Shown {
    /// Looks at all images among the examples of the units shown; none if it was stopped.
    pub(super) fn look_at(site: &Site<'_>, shelves: &[Shelf<'_>], folder: &Path) -> Result<Option<Self>> {
        let mut wanted: BTreeMap<String, (Option<String>, Vec<Crop>)> = BTreeMap::new();
        for shelf in shelves {
            for unit in &shelf.layer.units()[..shelf.units] {
                let examples = unit.by_maximum().iter().map(|example| (example, true));
                for (example, is_cropped) in
                    examples.chain(unit.by_mean().iter().map(|example| (example, false)))
                {
                    let label = example.label.as_deref().map(str::to_owned);
                    let entry =
                        wanted.entry(example.image.to_string()).or_insert_with(|| (label, Vec::new()));
                    let crop = shelf.layer.field().crop(example.row, example.column);
                    if is_cropped && !entry.1.contains(&crop) {
                        entry.1.push(crop);
                    }
                }
            }
        }
        let all = wanted.len();
        let mut images = BTreeMap::new();
        for (done, (name, (label, crops))) in wanted.into_iter().enumerate() {
            if site.tell("images", done, all).is_break() {
                return Ok(None);
            }
            let image = look(site, shelves, folder, (&name, label), &crops)?;
            images.insert(name, image);
        }
        let _ = site.tell("images", all, all);
        Ok(Some(Self { images }))
    }

    pub(super) fn of(&self, example: &Example) -> Option<&Image> {
        self.images.get(&*example.image)
    }
}

fn look(
    site: &Site<'_>,
    shelves: &[Shelf<'_>],
    folder: &Path,
    (name, label): (&str, Option<String>),
    crops: &[Crop],
) -> Result<Image> {
    let model = site.model;
    let (height, width) = model.input().size();
    let photo = picture::load(site.images.join(name))?;
    let photo = picture::resize_to_cover_and_crop(&photo, width as u32, height as u32)?;
    let input = picture::to_tensor(&photo, model)?;
    let id = slug(name);
    let file = format!("images/{id}.{}", ending_of(&photo));
    picture::save(&photo, folder.join(&file))?;

    let mut cut = BTreeMap::new();
    for crop in crops {
        let Crop { left, top, width, height, .. } = *crop;
        if (width, height) != photo.dimensions() {
            let part = imageops::crop_imm(&photo, left, top, width, height).to_image();
            let file = format!("crops/{id}-{left}-{top}-{width}-{height}.{}", ending_of(&part));
            picture::save(&part, folder.join(&file))?;
            cut.insert((left, top, width, height), file);
        }
    }

    let layers: Vec<String> = shelves.iter().map(|shelf| shelf.layer.name().to_owned()).collect();
    let mut taps = Taps::new().record(layers.iter().cloned());
    run(model, input.clone(), &mut taps)?;
    let mut largest = Vec::new();
    for shelf in shelves {
        let [_, _, height, width] = taps.activation(shelf.layer.name())?.dims();
        let values = host::values(taps.activation(shelf.layer.name())?);
        let most = |map: &[f32]| map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        largest.push(values.chunks(height * width).take(shelf.units).map(most).collect::<Vec<f32>>());
    }
    let probabilities = match model.logits() {
        Some(_) => host::values(probabilities(model.classify(input.clone())?)),
        None => Vec::new(),
    };
    let (target, explained) = goal(model, shelves, &probabilities, &largest);
    let maps = maps(model, &photo, input, &target, |name, picture| {
        let file = format!("images/{id}-{}.{}", slug(name).to_lowercase(), ending_of(picture));
        picture::save(picture, folder.join(&file)).map(|()| file)
    })?;
    Ok(Image {
        id,
        label,
        file,
        class: class_of(&photo),
        size: photo.dimensions(),
        probabilities,
        largest,
        maps,
        explained,
        crops: cut,
    })
}

/// The share of a unit's largest activation in the survey that it has in an image.
pub(super) fn share(shelf: &Shelf<'_>, unit: usize, value: f32) -> f32 {
    let most = shelf.layer.units()[unit].range().map_or(0.0, |(_, most)| most);
    if most > 0.0 { value / most } else { 0.0 }
}

/// What is explained: the likeliest class, or without classes the unit that fires most for what it ever does.
fn goal(
    model: &dyn Model,
    shelves: &[Shelf<'_>],
    probabilities: &[f32],
    largest: &[Vec<f32>],
) -> (Target, String) {
    let likeliest = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    if let Some((class, _)) = likeliest {
        return (Target::class(class), class_name(model, class));
    }
    let all = shelves.iter().zip(largest).flat_map(|(shelf, largest)| {
        largest.iter().enumerate().map(move |(unit, value)| (shelf, unit, share(shelf, unit, *value)))
    });
    match all.max_by(|a, b| a.2.total_cmp(&b.2)) {
        Some((shelf, unit, _)) => {
            let layer = shelf.layer.name();
            (
                Target::channel(layer, unit),
                format!("unit {unit} of {layer}, which fires most for what it ever does"),
            )
        }
        None => (Target::predicted(), String::new()),
    }
}

/// The name of a class, or its number.
pub(super) fn class_name(model: &dyn Model, class: usize) -> String {
    model.class_name(class).map_or_else(|| format!("class {class}"), str::to_owned)
}

/// Some attributions of few passes.
fn maps(
    model: &dyn Model,
    photo: &RgbImage,
    input: Tensor<4>,
    target: &Target,
    mut save: impl FnMut(&str, &RgbImage) -> Result<String>,
) -> Result<Vec<Map>> {
    let methods: [(&str, Box<dyn Attribution>); 3] = [
        ("Grad-CAM", Box::new(Cam::new(Formula::GradCam))),
        ("gradient", Box::new(Saliency::new())),
        ("guided backpropagation", Box::new(Saliency::guided())),
    ];
    let mut maps = Vec::new();
    for (name, method) in methods {
        let map = match method.attribute(model, input.clone(), target) {
            Ok(map) => map,
            // A method that has nothing to say of this network, or of this image.
            Err(
                Error::ZeroGradient { .. }
                | Error::NoSpatialLayer { .. }
                | Error::NoRectifier { .. }
                | Error::Graph { .. }
                | Error::UnusedLayer { .. }
                | Error::Training { .. },
            ) => continue,
            Err(error) => return Err(error),
        };
        let is_cam = name.ends_with("CAM");
        let (map, sign, percentile, colors) = match is_cam {
            true => (burn::tensor::activation::relu(map), Sign::Signed, 100.0, ColorMap::Jet),
            false => (magnitude(map), Sign::Unsigned, 99.0, ColorMap::Inferno),
        };
        let [_, _, height, width] = map.dims();
        let map = host::array2(map.reshape([height, width]));
        let map = picture::normalize(map.view(), sign, percentile)?;
        let drawn = match is_cam {
            true => picture::overlay_heat(photo, map.view(), colors, 0.5)?,
            false => picture::colorize(map.view(), colors),
        };
        maps.push(Map { name: name.to_owned(), file: save(name, &drawn)? });
    }
    Ok(maps)
}
