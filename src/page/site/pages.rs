//! The pages of a site, filled in.

use std::path::Path;

use minijinja::Environment;
use serde_json::{Value, json};

use super::super::{count, number, percent, render, templates, write_text};
use super::features::Features;
use super::shown::{Image, Shown, class_name, share};
use super::{MARK, Shelf, Site};
use crate::Result;
use crate::survey::{Example, Histogram, Unit};

/// The rows of a list of classes, and the units in a row of neighbours.
const CLASSES: usize = 5;
const NEIGHBOURS: usize = 8;
/// From a folder of pages to the root of the site.
const UP: &str = "../";

/// What all pages are made from.
struct Pages<'s, 'a> {
    site: &'s Site<'a>,
    shelves: &'s [Shelf<'a>],
    features: &'s Features,
    shown: &'s Shown,
    environment: Environment<'static>,
    /// What every page says of the site.
    about: Value,
}

/// Writes all pages, and returns how many there are.
pub(super) fn write<'a>(
    site: &Site<'a>,
    shelves: &[Shelf<'a>],
    features: &Features,
    shown: &Shown,
    folder: &Path,
) -> Result<usize> {
    let surveyed = site.surveyed;
    let about = json!({
        "title": format!("Units of {}", site.name),
        "model": site.name,
        "images": count(surveyed.images()),
        "passed_over": if surveyed.passed_over() > 0 { json!(count(surveyed.passed_over())) } else { Value::Null },
        "version": env!("CARGO_PKG_VERSION"),
    });
    let pages = Pages { site, shelves, features, shown, environment: templates()?, about };
    write_text(&folder.join("style.css"), include_str!("../templates/style.css"))?;
    write_text(&folder.join("site.js"), include_str!("../templates/site.js"))?;
    write_text(&folder.join("search.js"), &pages.names())?;
    write_text(&folder.join("index.html"), &pages.index()?)?;
    let mut written = 1;
    for (place, shelf) in shelves.iter().enumerate() {
        write_text(&folder.join(shelf.href()), &pages.layer(place)?)?;
        for (unit, neighbours) in pages.neighbours(place).iter().enumerate() {
            write_text(&folder.join(shelf.unit_href(unit)), &pages.unit(place, unit, neighbours)?)?;
        }
        written += 1 + shelf.units;
    }
    let images: Vec<(&String, &Image)> = shown.images.iter().collect();
    for (index, (name, image)) in images.iter().enumerate() {
        let beside = |other: Option<&(&String, &Image)>| other.map(|(_, image)| format!("{}.html", image.id));
        let before = beside(index.checked_sub(1).and_then(|before| images.get(before)));
        let page = pages.image(name, image, (before, beside(images.get(index + 1))))?;
        write_text(&folder.join(format!("images/{}.html", image.id)), &page)?;
        written += 1;
    }
    let layers: Vec<Value> = shelves
        .iter()
        .map(|shelf| json!({ "name": shelf.layer.name(), "page": shelf.href(), "units": shelf.units }))
        .collect();
    let mark = json!({
        "format": "vis site 1",
        "version": env!("CARGO_PKG_VERSION"),
        "model": site.name,
        "layers": layers,
        "pages": written,
        "feature_visualisation": features.settings.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    write_text(
        &folder.join(MARK),
        &format!("{}\n", serde_json::to_string_pretty(&mark).unwrap_or_default()),
    )?;
    Ok(written)
}

impl Pages<'_, '_> {
    /// The names that the search looks through: what it is called, what it is, and its page.
    fn names(&self) -> String {
        let mut names = Vec::new();
        for shelf in self.shelves {
            names.push(json!([shelf.layer.name(), "layer", shelf.href()]));
        }
        for (place, shelf) in self.shelves.iter().enumerate() {
            for unit in 0..shelf.units {
                let classes = self.classes(place, unit).into_iter().map(|(name, _)| name).take(1);
                let kind: Vec<String> =
                    [format!("of {}", shelf.layer.name())].into_iter().chain(classes).collect();
                names.push(json!([unit_name(unit), kind.join(" · "), shelf.unit_href(unit)]));
            }
        }
        for (name, image) in &self.shown.images {
            names.push(json!([name, "image", format!("images/{}.html", image.id)]));
        }
        format!("window.VIS_NAMES = {};\n", Value::from(names))
    }

    fn index(&self) -> Result<String> {
        let layers = self.shelves.iter().enumerate().map(|(place, shelf)| {
            let mut layer = self.layer_json(shelf);
            // Of all its units some that fire often, far apart from each other.
            let step = (shelf.units / 8).max(1);
            let cards =
                (0..shelf.units).step_by(step).take(8).map(|unit| self.card(place, unit, String::new()));
            layer["pictures"] =
                cards.map(|card| json!({ "src": card["picture"], "class": card["picture_class"] })).collect();
            layer
        });
        let setting = |name: &str, value: String| json!({ "name": name, "value": value });
        let notes = self.site.surveyed.notes();
        let mut settings = vec![setting("Images", count(self.site.surveyed.images()))];
        // Whole paths say more of the machine than of the site.
        let last = |path: &String| {
            Path::new(path).file_name().map_or(path.clone(), |name| name.to_string_lossy().into())
        };
        let words = |key: &str| match key {
            "images" => "Folder of images".to_owned(),
            "model" => "Network".to_owned(),
            other => capitalised(other),
        };
        settings.extend(notes.iter().map(|(key, note)| setting(&words(key), last(note))));
        settings.push(setting("Examples of each unit", self.site.surveyed.top().to_string()));
        let of_features = self.features.settings.iter();
        let of_features: Vec<Value> =
            of_features.map(|(name, value)| setting(&capitalised(name), value.clone())).collect();
        let context = json!({
            "site": self.about, "root": "", "crumbs": [], "layers": layers.collect::<Value>(), "settings": settings,
            "feature_settings": of_features,
        });
        render(&self.environment, "index.html", &context)
    }

    fn layer_json(&self, shelf: &Shelf<'_>) -> Value {
        let [channels, height, width] = shelf.layer.shape();
        let shown = match shelf.units {
            units if units == channels => format!("{channels} units"),
            units => format!("{units} of {channels} units"),
        };
        let (field_height, field_width) = shelf.layer.field().size();
        let (all_height, all_width) = self.site.model.input().size();
        let field = match (field_height as usize, field_width as usize) {
            size if size == (all_height, all_width) => "all of the image".to_owned(),
            (height, width) => format!("{height} × {width} of {all_height} × {all_width} pixels"),
        };
        json!({
            "name": shelf.layer.name(), "href": shelf.href(), "shown": shown, "height": height, "width": width, "field": field,
        })
    }

    fn layer(&self, place: usize) -> Result<String> {
        let shelf = &self.shelves[place];
        let units = (0..shelf.units).map(|unit| {
            let found = &shelf.layer.units()[unit];
            let most = found.range().map_or(0.0, |(_, most)| f64::from(most));
            self.card(place, unit, format!("{} · {} zero", number(most), percent(found.sparsity())))
        });
        let beside = |other: Option<&Shelf<'_>>| other.map(|other| format!("{UP}{}", other.href()));
        let context = json!({
            "site": self.about, "root": UP, "layer": self.layer_json(shelf), "units": units.collect::<Value>(),
            "crumbs": [{ "name": shelf.layer.name() }],
            "previous": beside(place.checked_sub(1).and_then(|before| self.shelves.get(before))),
            "next": beside(self.shelves.get(place + 1)),
        });
        render(&self.environment, "layer.html", &context)
    }

    /// A unit as a tile with a line of facts.
    fn card(&self, place: usize, unit: usize, fact: String) -> Value {
        let shelf = &self.shelves[place];
        let found = &shelf.layer.units()[unit];
        let of = format!("{} of {}", unit_name(unit).to_lowercase(), shelf.layer.name());
        let (picture, class, size, alt) = match (self.features.of(shelf, unit), found.by_maximum().first()) {
            (Some(feature), _) => {
                let alt = match feature.dead {
                    true => format!("Black: nothing was found that excites {of}"),
                    false => format!("An image made by optimisation that excites {of}"),
                };
                (feature.file.clone(), feature.class.clone(), feature.size, alt)
            }
            (None, Some(example)) => {
                let image = self.shown.of(example);
                let crop = shelf.layer.field().crop(example.row, example.column);
                let file = image.map_or(String::new(), |image| image.crop(crop));
                let class = image.map_or("", |image| image.class).to_owned();
                (
                    file,
                    class,
                    (u64::from(crop.width), u64::from(crop.height)),
                    format!("What excites {of} most, in {}", example.image),
                )
            }
            (None, None) => (String::new(), String::new(), (1, 1), String::new()),
        };
        let labels =
            found.by_maximum().iter().flat_map(|example| [example.label.as_deref(), Some(&*example.image)]);
        let classes = self.classes(place, unit).into_iter().map(|(name, _)| name);
        let mut words: Vec<String> = labels.flatten().map(str::to_owned).chain(classes).collect();
        words.sort();
        words.dedup();
        json!({
            "channel": unit, "name": unit_name(unit), "href": shelf.unit_href(unit), "fact": fact,
            "picture": picture, "picture_class": class, "picture_alt": alt,
            "picture_width": size.0, "picture_height": size.1,
            "activation_value": found.range().map_or(0.0, |(_, most)| most),
            "sparsity_value": found.sparsity(), "words": words.join(" "),
        })
    }

    fn unit(&self, place: usize, unit: usize, neighbours: &[(usize, f64)]) -> Result<String> {
        let shelf = &self.shelves[place];
        let found = &shelf.layer.units()[unit];
        let mut card = self.card(place, unit, String::new());
        if let Some(feature) = self.features.of(shelf, unit) {
            card["made"] = json!(match feature.dead {
                true => "Nothing was found that excites it".to_owned(),
                false => {
                    let (before, after) = feature.activation;
                    format!(
                        "What it looks for: made from noise, which gave {}, to {}",
                        number(before),
                        number(after)
                    )
                }
            });
        }
        let (least, most) = found.range().unwrap_or_default();
        let fact = |name: &str, value: String| json!({ "name": name, "value": value });
        let facts = [
            fact("Largest activation", number(f64::from(most))),
            fact("Least", number(f64::from(least))),
            fact("Mean", number(found.mean())),
            fact("Zero at", format!("{} of places", percent(found.sparsity()))),
            fact("Silent in", format!("{} of images", percent(found.silence()))),
        ];
        let is_map = shelf.layer.shape()[1] * shelf.layer.shape()[2] > 1;
        let (field_height, field_width) = shelf.layer.field().size();
        let is_part = (field_height as usize, field_width as usize) != self.site.model.input().size();
        let mut groups = vec![json!({
            "id": "largest", "title": "Images that excite it most",
            "note": match (is_map, is_part) {
                (true, true) => "By its largest activation at one place. The crop is what the unit depends on there; the frame shows where it lies.",
                (true, false) => "By its largest activation at one place, which depends on all of the image.",
                (false, _) => "By its activation.",
            },
            "examples": self.examples(place, unit, found.by_maximum(), is_map),
        })];
        if is_map {
            groups.push(json!({
                "id": "mean", "title": "Images that excite it all over",
                "note": "By its mean over all places.",
                "examples": self.examples(place, unit, found.by_mean(), false),
            }));
        }
        let classes = self.classes(place, unit);
        let top = classes.first().map_or(0.0, |(_, share)| *share).max(1e-9);
        let by_network = self.shown.images.values().any(|image| !image.probabilities.is_empty());
        let note = match by_network {
            true => {
                "The mean probability that the network gives them in the images that excite the unit most."
            }
            false => "The share of the labels among the images that excite the unit most.",
        };
        let rows: Vec<Value> = classes
            .iter()
            .map(|(name, share)| json!({ "name": name, "value": percent(*share), "percent": format!("{:.1}", 100.0 * share / top) }))
            .collect();
        let nearest: Vec<Value> = neighbours
            .iter()
            .map(|(other, likeness)| self.card(place, *other, format!("correlation {likeness:.2}")))
            .collect();
        let beside = |other: usize| format!("{UP}{}", shelf.unit_href(other));
        let context = json!({
            "site": self.about, "root": UP, "layer": self.layer_json(shelf), "unit": card, "facts": facts,
            "crumbs": [{ "name": shelf.layer.name(), "href": format!("{UP}{}", shelf.href()) }, { "name": unit_name(unit) }],
            "previous": unit.checked_sub(1).map(beside),
            "next": (unit + 1 < shelf.units).then(|| beside(unit + 1)),
            "histogram": histogram(found), "classes": rows, "classes_note": note, "groups": groups, "nearest": nearest,
            "nearest_note": format!("By how alike their largest activations are over the {} images of this site.", count(self.shown.images.len() as u64)),
            "settings": self.features.settings.iter().map(|(name, value)| fact(name, value.clone())).collect::<Value>(),
        });
        render(&self.environment, "unit.html", &context)
    }

    fn examples(&self, place: usize, unit: usize, examples: &[Example], is_cropped: bool) -> Value {
        let shelf = &self.shelves[place];
        let mut rows = Vec::new();
        for example in examples {
            let Some(image) = self.shown.of(example) else { continue };
            let crop = shelf.layer.field().crop(example.row, example.column);
            let is_part = is_cropped && (crop.width, crop.height) != image.size;
            let share =
                |part: u32, whole: u32| format!("{:.2}", 100.0 * f64::from(part) / f64::from(whole.max(1)));
            let frame = json!({
                "left": share(crop.left, image.size.0), "top": share(crop.top, image.size.1),
                "width": share(crop.width, image.size.0), "height": share(crop.height, image.size.1),
            });
            let file = if is_part { image.crop(crop) } else { image.file.clone() };
            rows.push(json!({
                "href": format!("images/{}.html", image.id), "crop": file, "image": image.file, "class": image.class,
                "box": is_part.then_some(frame), "value": number(f64::from(example.value)),
                "label": example.label.as_deref().unwrap_or(&example.image),
                "alt": format!("{}{}, which excites unit {unit} to {}", if is_part { "A part of " } else { "" }, example.image, number(f64::from(example.value))),
            }));
        }
        rows.into()
    }

    /// The likeliest classes of a unit with their shares: by the network where it has classes, or else by labels.
    fn classes(&self, place: usize, unit: usize) -> Vec<(String, f64)> {
        let examples = self.shelves[place].layer.units()[unit].by_maximum();
        let examples: Vec<(&Example, &Image)> =
            examples.iter().filter_map(|example| Some((example, self.shown.of(example)?))).collect();
        if examples.is_empty() || examples.iter().all(|(example, _)| example.value <= 0.0) {
            return Vec::new();
        }
        let classes = examples.iter().map(|(_, image)| image.probabilities.len()).max().unwrap_or(0);
        let mut shares: Vec<(String, f64)> = if classes > 0 {
            let mean = |class: usize| {
                let sum: f64 = examples
                    .iter()
                    .filter_map(|(_, image)| image.probabilities.get(class))
                    .map(|p| f64::from(*p))
                    .sum();
                sum / examples.len() as f64
            };
            let mut by_share: Vec<(usize, f64)> = (0..classes).map(|class| (class, mean(class))).collect();
            by_share.sort_by(|a, b| b.1.total_cmp(&a.1));
            let named = |(class, share)| (class_name(self.site.model, class), share);
            by_share.into_iter().take(CLASSES).map(named).collect()
        } else {
            let mut labels = std::collections::BTreeMap::new();
            for label in examples.iter().filter_map(|(example, _)| example.label.as_deref()) {
                *labels.entry(label.to_owned()).or_insert(0.0) += 1.0 / examples.len() as f64;
            }
            labels.into_iter().collect()
        };
        shares.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        shares.truncate(CLASSES);
        shares.retain(|(_, share)| *share >= 0.005);
        shares
    }

    /// For each unit of a layer those whose largest activations go most with its own, image for image.
    fn neighbours(&self, place: usize) -> Vec<Vec<(usize, f64)>> {
        let units = self.shelves[place].units;
        let images: Vec<&Vec<f32>> = self.shown.images.values().map(|image| &image.largest[place]).collect();
        let normed: Vec<Option<Vec<f64>>> = (0..units)
            .map(|unit| {
                let values: Vec<f64> = images.iter().map(|image| f64::from(image[unit])).collect();
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>().sqrt();
                (spread > 1e-9).then(|| values.iter().map(|value| (value - mean) / spread).collect())
            })
            .collect();
        let likeness = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let of = |unit: usize| {
            let Some(own) = &normed[unit] else { return Vec::new() };
            let others = (0..units).filter(|other| *other != unit);
            let mut others: Vec<(usize, f64)> =
                others.filter_map(|other| Some((other, likeness(own, normed[other].as_ref()?)))).collect();
            others.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            others.truncate(NEIGHBOURS);
            others
        };
        (0..units).map(of).collect()
    }

    fn image(
        &self,
        name: &str,
        image: &Image,
        (previous, next): (Option<String>, Option<String>),
    ) -> Result<String> {
        let mut classes: Vec<(usize, f32)> = image.probabilities.iter().copied().enumerate().collect();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        let rows = classes.iter().take(CLASSES).map(|(class, share)| {
            let share = f64::from(*share);
            json!({ "name": class_name(self.site.model, *class), "value": percent(share), "percent": format!("{:.1}", 100.0 * share) })
        });
        let firing =
            self.shelves.iter().zip(&image.largest).enumerate().filter_map(|(place, (shelf, largest))| {
                let shares = largest
                    .iter()
                    .enumerate()
                    .map(|(unit, value)| (unit, *value, share(shelf, unit, *value)));
                let mut shares: Vec<(usize, f32, f32)> =
                    shares.filter(|(_, value, _)| *value > 0.0).collect();
                shares.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
                let cards = shares.into_iter().take(NEIGHBOURS).map(|(unit, value, share)| {
                    self.card(
                        place,
                        unit,
                        format!("{} · {}", number(f64::from(value)), percent(f64::from(share))),
                    )
                });
                let cards: Vec<Value> = cards.collect();
                (!cards.is_empty()).then(|| json!({ "layer": shelf.layer.name(), "units": cards }))
            });
        let maps = image.maps.iter().map(|map| {
            json!({ "name": map.name, "src": map.file, "alt": format!("{} of {name} for {}", map.name, image.explained) })
        });
        let context = json!({
            "site": self.about, "root": UP, "crumbs": [{ "name": name }], "previous": previous, "next": next,
            "image": {
                "name": name, "label": image.label, "src": image.file, "class": image.class,
                "width": image.size.0, "height": image.size.1, "alt": format!("The image {name}"),
            },
            "predictions": rows.collect::<Value>(), "maps": maps.collect::<Value>(),
            "maps_note": format!("Where the evidence lies for {}.", image.explained),
            "firing": firing.collect::<Value>(),
        });
        render(&self.environment, "image.html", &context)
    }
}

impl Image {
    /// The file of a crop, or of the whole image.
    fn crop(&self, crop: crate::survey::Crop) -> String {
        let key = (crop.left, crop.top, crop.width, crop.height);
        self.crops.get(&key).unwrap_or(&self.file).clone()
    }
}

fn unit_name(unit: usize) -> String {
    format!("Unit {unit}")
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// The bars of a histogram of what is not zero; none if all is.
fn histogram(unit: &Unit) -> Option<Value> {
    let all: &Histogram = unit.histogram();
    let bins: Vec<(f32, f32, u64)> = all.bins().filter(|(low, high, _)| low != high).collect();
    let first = bins.iter().position(|bin| bin.2 > 0)?;
    let last = bins.iter().rposition(|bin| bin.2 > 0)?;
    let bins = &bins[first..=last];
    let most = bins.iter().map(|bin| bin.2).max()?.max(1) as f64;
    let bars = bins.iter().enumerate().filter(|(_, bin)| bin.2 > 0).map(|(index, (low, high, times))| {
        let height = (100.0 * *times as f64 / most).max(0.6);
        let title = format!("{} to {}: {}", number(f64::from(*low)), number(f64::from(*high)), count(*times));
        json!({ "x": index, "y": format!("{:.2}", 100.0 - height), "height": format!("{height:.2}"), "title": title })
    });
    let end = |value: f32| if value.is_finite() { number(f64::from(value)) } else { "more".into() };
    Some(json!({
        "width": bins.len(), "bars": bars.collect::<Value>(),
        "low": end(bins[0].0), "high": end(bins[bins.len() - 1].1),
        "note": format!("{} are zero and not drawn; a bar is a quarter of an octave", percent(unit.sparsity())),
        "alt": format!("Histogram of the activations other than zero, from {} to {}", end(bins[0].0), end(bins[bins.len() - 1].1)),
    }))
}
