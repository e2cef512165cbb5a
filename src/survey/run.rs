//! A survey, begun or gone on with.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use super::ahead;
use super::pass::noise;
use super::store::{Loaded, Store};
use super::surveyed::{Broken, Coverage, Listing, Setting};
use super::{Field, Images, Notice, Sample, Shard, Surveyed, SurveyedLayer, Unit};
use crate::model::Layer;
use crate::progress::SharedWatcher;
use crate::{Error, Model, Progress, Result};

/// The channels by which a network is known again.
const PROBED: usize = 8;

/// A run of many images through a network.
pub struct Survey<'a, M: Model + ?Sized> {
    pub(super) model: &'a M,
    layers: Vec<String>,
    top: usize,
    pub(super) shard: Shard,
    pub(super) save_every: u64,
    notes: Vec<(String, String)>,
    pub(super) progress: Option<SharedWatcher<'a>>,
    pub(super) notices: Option<Mutex<Listener<'a>>>,
}

/// A closure that is told notices.
type Listener<'a> = Box<dyn FnMut(&Notice) + Send + 'a>;

impl<M: Model + ?Sized> fmt::Debug for Survey<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers, top, shard, save_every, .. } = self;
        write!(f, "Survey {{ layers: {layers:?}, top: {top}, shard: {shard}, save_every: {save_every}, .. }}")
    }
}

impl<'a, M: Model + ?Sized> Survey<'a, M> {
    /// A survey of some layers.
    pub fn new(model: &'a M, layers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let layers = layers.into_iter().map(Into::into).collect();
        let (shard, notes) = (Shard::default(), Vec::new());
        Self { model, layers, top: 9, shard, save_every: 1000, notes, progress: None, notices: None }
    }

    /// Sets how many images are kept of each channel, 9 by default.
    pub fn top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// Takes a part of the images only.
    pub fn shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// Sets after how many images the state is written, 1000 by default; after two minutes it is in any case.
    pub fn save_every(mut self, images: u64) -> Self {
        self.save_every = images.max(1);
        self
    }

    /// Adds a note to the manifest, such as where the network is from.
    pub fn note(mut self, key: impl Into<String>, note: impl Into<String>) -> Self {
        self.notes.push((key.into(), note.into()));
        self
    }

    /// Follows the survey, and may end it: what is done is saved, and the same call goes on from there.
    pub fn progress(mut self, watcher: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(SharedWatcher::new(watcher));
        self
    }

    /// Is told of images that are passed over and of what a survey goes on from.
    pub fn notices(mut self, listener: impl FnMut(&Notice) + Send + 'a) -> Self {
        self.notices = Some(Mutex::new(Box::new(listener)));
        self
    }

    /// Surveys named pictures, which may come from any iterator; it runs on a thread of its own, ahead of the network.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], [`Error::InvalidParameter`] for a setting that makes no sense, and [`Error::Shape`] for a
    /// network of neither one nor three channels.
    pub fn run<I>(&self, samples: I) -> Result<Surveyed>
    where
        I: IntoIterator<Item: Into<Sample>, IntoIter: Send>,
    {
        let samples = samples.into_iter();
        let expected = samples.size_hint().0 as u64;
        let mut surveyed = self.begin(Listing { images: expected, checksum: 0 })?;
        let input = self.model.input();
        std::thread::scope(|scope| {
            let mut ahead = ahead::samples(scope, samples, input, self.shard);
            let ended = self.survey(&mut surveyed, &mut ahead, |_| Ok(()))?;
            if ended.is_continue()
                && let Ok(listed) = ahead.listed.recv()
            {
                surveyed.listing = listed.into();
                surveyed.coverage.next.insert(self.shard.index(), listed.images);
                surveyed.settle();
            }
            Ok(surveyed)
        })
    }

    /// Surveys images from files, with the state and the results in a folder, from which an unfinished survey goes on.
    ///
    /// A finished one is read and its files are written again. Stopped by [`progress`](Self::progress), the survey that
    /// comes back is not [complete](Surveyed::is_complete).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); [`Error::InvalidParameter`] if the folder holds another survey, if another process writes
    /// into it, or if the images changed meanwhile; [`Error::Format`] if its state is damaged and the state before it as
    /// well; [`Error::Io`] if a file can't be written. What was saved before an error stays.
    pub fn run_into(&self, images: &Images, folder: impl AsRef<Path>) -> Result<Surveyed> {
        let begun = self.begin(images.count().into())?;
        if begun.listing.images == 0 {
            return Err(Error::invalid(
                "the folder of images",
                "one with images in it",
                images.root().display(),
            ));
        }
        let store = Store::open(folder.as_ref())?;
        let mut surveyed = self.go_on(&store, begun)?;
        let index = self.shard.index();
        let next = surveyed.coverage.next.get(&index).copied().unwrap_or_default();
        if surveyed.is_complete() || next >= surveyed.listing.images {
            surveyed.save_into(&store)?;
            return Ok(surveyed);
        }
        let input = self.model.input();
        std::thread::scope(|scope| {
            let mut ahead = ahead::files(scope, images, input, (self.shard, next));
            let ended = self.survey(&mut surveyed, &mut ahead, |surveyed| store.save(surveyed))?;
            let is_last = |next: &u64| *next >= surveyed.listing.images;
            if ended.is_break() && !surveyed.coverage.next.get(&index).is_some_and(is_last) {
                store.save(&surveyed)?;
                return Ok(surveyed);
            }
            let listed = ahead.listed.recv().map(Listing::from);
            if listed != Ok(surveyed.listing) {
                let expected = "as they were when the survey began";
                return Err(Error::invalid("the images", expected, "changed while they were surveyed"));
            }
            surveyed.coverage.next.insert(index, surveyed.listing.images);
            surveyed.settle();
            surveyed.save_into(&store)?;
            Ok(surveyed)
        })
    }

    /// The state in a folder, if it is of this survey.
    fn go_on(&self, store: &Store, begun: Surveyed) -> Result<Surveyed> {
        let mut surveyed = match store.load()? {
            Loaded::Nothing => {
                let mut begun = begun;
                let layers = self.found()?;
                begun.layers.iter_mut().zip(&layers).for_each(|(begun, layer)| {
                    begun.field = Field::measure(self.model, layer);
                });
                return Ok(begun);
            }
            Loaded::State(surveyed) => *surveyed,
            Loaded::Previous(surveyed, damage) => {
                self.tell(&Notice::Damaged { damage: &damage });
                *surveyed
            }
        };
        surveyed.check_alike(&begun)?;
        let (held, asked) = (&surveyed.coverage, &begun.coverage);
        if !surveyed.is_complete() && (held.of != asked.of || !held.next.keys().eq(asked.next.keys())) {
            let held: Vec<String> = surveyed.shards().map(|shard| shard.to_string()).collect();
            let expected = format!("that of the survey in the folder, {}", held.join(" and "));
            return Err(Error::invalid("the shard", expected, self.shard));
        }
        if surveyed.is_complete() && asked.of != 1 {
            return Err(Error::invalid(
                "the shard",
                "left out: the folder holds a survey of all images",
                self.shard,
            ));
        }
        surveyed.setting.notes.extend(self.notes.iter().cloned());
        if !surveyed.is_complete() {
            self.tell(&Notice::Resumed { done: surveyed.images + surveyed.broken.count });
        }
        Ok(surveyed)
    }

    /// A survey of no image yet.
    fn begin(&self, listing: Listing) -> Result<Surveyed> {
        if self.top == 0 {
            return Err(Error::invalid("the number of examples", "at least 1", 0));
        }
        if self.layers.is_empty() {
            return Err(Error::invalid("the layers of a survey", "at least one", "none"));
        }
        let input = self.model.input();
        if !matches!(input.channels(), 1 | 3) {
            let got = input.shape().to_vec();
            return Err(Error::Shape {
                what: "the input".into(),
                expected: "[1 or 3, height, width]".into(),
                got,
            });
        }
        let found = self.found()?;
        let probes = self.probe(&found)?;
        let layers = found.into_iter().zip(probes).map(|(layer, probe)| SurveyedLayer {
            units: vec![Unit::new(); layer.shape[0]],
            field: Field::whole(input.size()),
            shape: layer.shape,
            name: layer.name,
            probe,
        });
        Ok(Surveyed {
            setting: Setting {
                input: input.shape(),
                range: input.range(),
                top: self.top,
                notes: self.notes.iter().cloned().collect(),
            },
            listing,
            coverage: Coverage { of: self.shard.of(), next: [(self.shard.index(), 0)].into() },
            images: 0,
            broken: Broken::default(),
            layers: layers.collect(),
        })
    }

    /// The layers, each once, in the order in which they were asked for.
    fn found(&self) -> Result<Vec<Layer>> {
        let all = self.model.layers()?;
        let mut found: Vec<Layer> = Vec::new();
        for name in &self.layers {
            let known = || all.iter().map(|layer| layer.name.clone()).collect();
            let layer = all.iter().find(|layer| layer.name == *name);
            let layer = layer.ok_or_else(|| Error::unknown_layer(name, known()))?;
            if !found.contains(layer) {
                found.push(layer.clone());
            }
        }
        Ok(found)
    }

    /// The mean activation of some channels of each layer on a fixed image.
    fn probe(&self, layers: &[Layer]) -> Result<Vec<Vec<f32>>> {
        let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
        let values = self.activations(noise(self.model, 0), 1, &names)?;
        Ok(values
            .iter()
            .zip(layers)
            .map(|(values, layer)| {
                let [_, height, width] = layer.shape;
                let map = |map: &[f32]| map.iter().sum::<f32>() / map.len() as f32;
                values.chunks((height * width).max(1)).take(PROBED).map(map).collect()
            })
            .collect())
    }
}
