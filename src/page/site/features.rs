//! The feature visualisations of a site, made one after the other and found again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};

use super::super::{class_of, ending_of, write_text};
use super::{Shelf, Site};
use crate::model::Preset;
use crate::visualization::{Unfinished, visualize_activation};
use crate::{Error, Result};

/// The pictures that are made together: so many are lost when the work is cut off.
const TOGETHER: usize = 4;

/// The feature visualisations that there are.
#[derive(Default)]
pub(super) struct Features {
    made: BTreeMap<(String, usize), Feature>,
    /// How they were made, as names and values.
    pub(super) settings: Vec<(String, String)>,
}

/// A feature visualisation.
#[derive(Clone)]
pub(super) struct Feature {
    /// The file, from the root of the site.
    pub(super) file: String,
    pub(super) class: String,
    pub(super) size: (u64, u64),
    /// The activation of noise, and of the picture.
    pub(super) activation: (f64, f64),
    /// Whether nothing moved it.
    pub(super) dead: bool,
}

impl Features {
    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    pub(super) fn of(&self, shelf: &Shelf<'_>, unit: usize) -> Option<&Feature> {
        self.made.get(&(shelf.slug.clone(), unit))
    }

    /// Makes those that are not in the folder yet.
    pub(super) fn make(
        site: &Site<'_>,
        preset: &Preset,
        shelves: &[Shelf<'_>],
        folder: &Path,
    ) -> Result<(Self, ControlFlow<()>)> {
        let (height, width) = site.size;
        let mut settings = vec![("size".to_owned(), format!("{width} × {height}"))];
        settings.extend(super::super::fields(&format!("{preset:?}")));
        let mut features = Self { made: BTreeMap::new(), settings };
        let key = format!("{height}x{width} {preset:?}");
        let all: usize = shelves.iter().map(|shelf| shelf.units).sum();
        for shelf in shelves {
            let known: Vec<Option<Feature>> =
                (0..shelf.units).map(|unit| read(folder, shelf, unit, &key)).collect();
            let missing: Vec<usize> = (0..shelf.units).filter(|unit| known[*unit].is_none()).collect();
            for (unit, feature) in known.into_iter().enumerate() {
                features.made.extend(feature.map(|feature| ((shelf.slug.clone(), unit), feature)));
            }
            for some in missing.chunks(TOGETHER) {
                let done = features.len();
                let mut ended = site.tell("feature visualisations", done, all);
                if ended.is_break() {
                    return Ok((features, ended));
                }
                let made = visualize_activation(site.model, shelf.layer.name())
                    .filter_indices(some.iter().copied())
                    .preset(preset.clone())
                    .size(height, width)
                    .progress(|now| {
                        let part = some.len() * now.done / now.of.max(1);
                        ended = site.tell("feature visualisations", done + part, all);
                        ended
                    })
                    .run()
                    .map_err(|unfinished: Unfinished| Error::from(unfinished))?;
                if ended.is_break() {
                    return Ok((features, ended));
                }
                for (unit, made) in some.iter().zip(made.iter()) {
                    let picture = made.picture()?;
                    let name = format!("{}-{unit}", shelf.slug);
                    let feature = Feature {
                        file: format!("pictures/{name}.{}", ending_of(&picture)),
                        class: class_of(&picture).to_owned(),
                        size: (u64::from(picture.width()), u64::from(picture.height())),
                        activation: (f64::from(made.before), f64::from(made.after)),
                        dead: made.dead,
                    };
                    crate::picture::save(&picture, folder.join(&feature.file))?;
                    // After the picture: where this is, that is.
                    let text = format!("{}\n", feature.as_json(&key));
                    write_text(&folder.join(format!("pictures/{name}.json")), &text)?;
                    features.made.insert((shelf.slug.clone(), *unit), feature);
                }
            }
        }
        let _ = site.tell("feature visualisations", all, all);
        Ok((features, ControlFlow::Continue(())))
    }
}

impl Feature {
    fn as_json(&self, key: &str) -> Value {
        json!({
            "file": self.file,
            "class": self.class,
            "size": [self.size.0, self.size.1],
            "activation": [self.activation.0, self.activation.1],
            "dead": self.dead,
            "settings": key,
        })
    }
}

/// What is in the folder of an earlier run, if it was made with the same settings.
fn read(folder: &Path, shelf: &Shelf<'_>, unit: usize, key: &str) -> Option<Feature> {
    let text = std::fs::read_to_string(folder.join(format!("pictures/{}-{unit}.json", shelf.slug))).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let pair = |name: &str| Some((value.get(name)?.get(0)?, value.get(name)?.get(1)?));
    let (width, height) = pair("size")?;
    let (before, after) = pair("activation")?;
    let feature = Feature {
        file: value.get("file")?.as_str()?.to_owned(),
        class: value.get("class")?.as_str()?.to_owned(),
        size: (width.as_u64()?, height.as_u64()?),
        activation: (before.as_f64()?, after.as_f64()?),
        dead: value.get("dead")?.as_bool()?,
    };
    let is_same = value.get("settings")?.as_str()? == key && folder.join(&feature.file).is_file();
    is_same.then_some(feature)
}
