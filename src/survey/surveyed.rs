//! What a survey has found, and how the findings of several machines become one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::images::Count;
use super::{Field, Shard, Unit, store, tables};
use crate::{Error, Result};

/// Images that were passed over are listed up to this number, those first by name; all are counted.
const MOST_LISTED: usize = 1000;

/// What a survey has found.
///
/// Two with the same images in the same shards are equal, however they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surveyed {
    pub(super) setting: Setting,
    pub(super) listing: Listing,
    pub(super) coverage: Coverage,
    pub(super) images: u64,
    pub(super) broken: Broken,
    pub(super) layers: Vec<SurveyedLayer>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    /// `[channels, height, width]`.
    pub(super) input: [usize; 3],
    pub(super) range: (f32, f32),
    pub(super) top: usize,
    pub(super) notes: BTreeMap<String, String>,
}

/// The images that there are, of all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) images: u64,
    pub(super) checksum: u32,
}

impl From<Count> for Listing {
    fn from(Count { images, checksum }: Count) -> Self {
        Self { images, checksum }
    }
}

/// How far each shard is that is in here: the place of its next image in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Coverage {
    pub(super) of: u32,
    pub(super) next: BTreeMap<u32, u64>,
}

/// Images that were passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broken {
    pub(super) count: u64,
    pub(super) reasons: BTreeMap<String, String>,
}

impl Broken {
    pub(super) fn add(&mut self, image: &str, reason: &str) {
        self.count += 1;
        self.list(image.to_owned(), reason.to_owned());
    }

    fn list(&mut self, image: String, reason: String) {
        self.reasons.insert(image, reason);
        if self.reasons.len() > MOST_LISTED {
            self.reasons.pop_last();
        }
    }
}

/// A layer that was surveyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SurveyedLayer {
    pub(super) name: String,
    pub(super) shape: [usize; 3],
    pub(super) field: Field,
    /// The mean activation of some channels on a fixed image: another network has others.
    pub(super) probe: Vec<f32>,
    pub(super) units: Vec<Unit>,
}

impl SurveyedLayer {
    /// The layer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape for one image, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// What its units depend on.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Its channels, in order.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }
}

impl Surveyed {
    /// Reads a survey from its folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is none, [`Error::Format`] if its state is damaged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        store::read(&folder.as_ref().join(store::STATE))
    }

    /// Writes all files of a survey into a folder, which is made if it is not there: the state, from which it can be
    /// opened again, and tables and arrays for other programs. [The module page](super) lists them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file can't be written; [`Error::InvalidParameter`] if another process writes into the folder.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let store = store::Store::open(folder.as_ref())?;
        self.save_into(&store)
    }

    pub(super) fn save_into(&self, store: &store::Store) -> Result<()> {
        tables::write(self, store.folder())?;
        store.save(self)?;
        store.forget_previous();
        Ok(())
    }

    /// The findings of both. Merging is associative and commutative, and once all shards are in, the result is that of a
    /// single run, byte for byte.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if they are of different networks, layers, settings or lists of images, of numbers of
    /// shards that differ, if both have the same shard, or if one is not finished.
    pub fn merge(mut self, other: Self) -> Result<Self> {
        for surveyed in [&self, &other] {
            let unfinished = surveyed.coverage.next.iter().find(|(_, next)| **next < surveyed.listing.images);
            if let Some((shard, next)) = unfinished {
                let got = format!(
                    "shard {shard}/{} at image {next} of {}",
                    surveyed.coverage.of, surveyed.listing.images
                );
                return Err(Error::invalid(
                    "the surveys to merge",
                    "finished: run their commands again",
                    got,
                ));
            }
        }
        self.check_alike(&other)?;
        let of = self.coverage.of;
        if of != other.coverage.of {
            let got = format!("in {of} and in {}", other.coverage.of);
            return Err(Error::invalid("the surveys to merge", "cut into equally many shards", got));
        }
        for (shard, next) in other.coverage.next {
            if self.coverage.next.insert(shard, next).is_some() {
                let got = format!("shard {shard}/{of} twice");
                return Err(Error::invalid("the surveys to merge", "of different shards", got));
            }
        }
        self.images += other.images;
        self.broken.count += other.broken.count;
        other.broken.reasons.into_iter().for_each(|(image, reason)| self.broken.list(image, reason));
        for (layer, other) in self.layers.iter_mut().zip(other.layers) {
            layer.field = layer.field.join(other.field);
            layer.probe.iter_mut().zip(other.probe).for_each(|(here, there)| *here = here.min(there));
            let units = layer.units.iter_mut().zip(other.units);
            units.for_each(|(unit, other)| unit.merge(other, self.setting.top));
        }
        for (key, note) in other.setting.notes {
            let here = self.setting.notes.entry(key).or_insert_with(|| note.clone());
            *here = note.min(here.clone());
        }
        self.settle();
        Ok(self)
    }

    /// A survey of all shards no longer says how it was cut.
    pub(super) fn settle(&mut self) {
        if self.is_complete() {
            self.coverage = Coverage { of: 1, next: [(0, self.listing.images)].into() };
        }
    }

    /// Refuses another survey than this one is.
    pub(super) fn check_alike(&self, other: &Self) -> Result<()> {
        let names = |surveyed: &Self| {
            let layer = |layer: &SurveyedLayer| format!("{} {:?}", layer.name, layer.shape);
            surveyed.layers.iter().map(layer).collect::<Vec<_>>().join(", ")
        };
        let input = |surveyed: &Self| format!("{:?} in {:?}", surveyed.setting.input, surveyed.setting.range);
        let images = |surveyed: &Self| {
            format!("{} with the checksum {:08x}", surveyed.listing.images, surveyed.listing.checksum)
        };
        let top = |surveyed: &Self| surveyed.setting.top.to_string();
        let same = |name: &'static str, of: &dyn Fn(&Self) -> String| match (of(self), of(other)) {
            (here, there) if here == there => Ok(()),
            (here, there) => {
                Err(Error::invalid(name, format!("the same as in the other survey, {here}"), there))
            }
        };
        same("the number of examples", &top)?;
        same("the layers", &names)?;
        same("the input of the network", &input)?;
        same("the images", &images)?;
        for (layer, other) in self.layers.iter().zip(&other.layers) {
            let largest = layer.probe.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let mut pairs = layer.probe.iter().zip(&other.probe);
            // Machines round differently, networks differ more.
            if let Some((here, there)) = pairs.find(|(a, b)| (*a - *b).abs() > 1e-3 * largest) {
                let expected =
                    format!("the same: its layer `{}` gave {here} for an image of noise", layer.name);
                return Err(Error::invalid("the network", expected, there));
            }
        }
        Ok(())
    }

    /// The layers, in the order in which they were asked for.
    pub fn layers(&self) -> &[SurveyedLayer] {
        &self.layers
    }

    /// A layer by name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`] names those that were surveyed.
    pub fn layer(&self, name: &str) -> Result<&SurveyedLayer> {
        let known = || self.layers.iter().map(|layer| layer.name.clone()).collect();
        self.layers.iter().find(|layer| layer.name == name).ok_or_else(|| Error::unknown_layer(name, known()))
    }

    /// The number of images that were looked at.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// The number of images that were passed over.
    pub fn passed_over(&self) -> u64 {
        self.broken.count
    }

    /// The images that were passed over with the reasons, the first 1000 by name.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &str)> {
        self.broken.reasons.iter().map(|(image, reason)| (image.as_str(), reason.as_str()))
    }

    /// How many examples of each kind a channel has at most.
    pub fn top(&self) -> usize {
        self.setting.top
    }

    /// The notes that were given to the survey.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.setting.notes
    }

    /// Whether all images of all shards are in.
    pub fn is_complete(&self) -> bool {
        let done = |shard| self.coverage.next.get(&shard).is_some_and(|next| *next >= self.listing.images);
        (0..self.coverage.of).all(done)
    }

    /// The shards that are in, finished or not.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + '_ {
        self.coverage.next.keys().filter_map(|index| format!("{index}/{}", self.coverage.of).parse().ok())
    }

    /// Whether it can have been written by this program.
    pub(super) fn is_sound(&self) -> bool {
        self.layers.iter().all(|layer| {
            let [channels, height, width] = layer.shape;
            let sound = |unit: &Unit| unit.is_sound(self.setting.top, (height, width));
            layer.units.len() == channels && layer.field.is_sound() && layer.units.iter().all(sound)
        }) && self.coverage.of > 0
            && self.coverage.next.keys().all(|shard| *shard < self.coverage.of)
    }
}
