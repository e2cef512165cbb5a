//! Many images: which of them excite each channel of a network most, and how often it fires at all.
//!
//! A [`Survey`] runs images through a network once. Of every channel of the layers asked for it keeps the images with the
//! largest activation and with the largest mean, each with its place; how its values are spread; and how often it is zero.
//! Memory does not grow with the number of images.
//!
//! ```
//! use image::{Rgb, RgbImage};
//! use vis::survey::Survey;
//! # let model = vis::model::Tiny::new(&Default::default());
//! let flat = |grey: u8| (format!("{grey}.png"), RgbImage::from_pixel(8, 8, Rgb([grey; 3])));
//! let surveyed = Survey::new(&model, ["conv1", "conv2"]).top(2).run([0, 50, 200].map(flat))?;
//! let unit = &surveyed.layer("conv2")?.units()[3];
//! for example in unit.by_maximum() {
//!     println!("{} fires {} at row {}, column {}", example.image, example.value, example.row, example.column);
//! }
//! assert_eq!((surveyed.images(), unit.by_maximum().len()), (3, 2));
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! # A folder of a million images
//!
//! [`Survey::run_into`] reads a folder of images and keeps its state in another folder, every so many images. When it is
//! killed, the same call goes on where it was. Each of several machines takes a [`Shard`], and [`Surveyed::merge`] makes one
//! survey of theirs. However the images are cut into shards, in whatever order these are merged, and wherever a run was
//! killed: the files are the same, byte for byte, as those of a single run on the same kind of processor. Equal values are
//! ranked by the name of the image, sums are kept as whole numbers, and images share a batch only if the network gives
//! each the same values as alone, which is tried first.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `manifest.json` | the network's input, the layers, the number of images and of those passed over |
//! | `top.csv` | `layer,channel,rank,image,value,row,column`: the images with the largest activation, the first of rank 1, and its place in the layer's own map |
//! | `examples.csv` | the same with labels and with the crop of the input image that the unit depends on; and those with the largest mean |
//! | `units.csv` | `layer,channel,mean,minimum,maximum,sparsity,silence` |
//! | `broken.csv` | `image,reason`: what was passed over |
//! | `histograms.npy` | `[channels of all layers, bins]`, in the order of `units.csv` |
//! | `bins.npy` | `[bins, 2]`: the ends of each bin |
//! | `state.bin` | all of it, to go on from and to merge |
//!
//! An image is seen as the network takes it: resized on its short side and cropped around the middle.
//!
#![doc = include_str!("cluster.md")]

mod ahead;
mod field;
mod histogram;
mod images;
mod shard;
mod store;
mod surveyed;
mod tables;
mod unit;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use rand::Rng;

use crate::model::{Layer, Taps, run};
use crate::progress::SharedWatcher;
use crate::{Error, Model, Progress, Result, host, random};
use ahead::{Ahead, Ready};
use store::{Loaded, Store};
use surveyed::{Broken, Coverage, Listing, Setting};
use unit::Measured;

pub use field::{Crop, Field};
pub use histogram::Histogram;
pub use images::Images;
pub use shard::Shard;
pub use surveyed::{Surveyed, SurveyedLayer};
pub use unit::{Example, Unit};

/// The images of a batch whose sides are at most this long; larger ones gain nothing from company.
const SMALL: usize = 64;
const BATCH: usize = 16;
/// The state is written at least this often.
const LONGEST: Duration = Duration::from_secs(120);
/// The channels by which a network is known again.
const PROBED: usize = 8;
/// Fewer values than this are not worth waking threads for.
const FEW: usize = 1 << 16;

/// A run of many images through a network.
pub struct Survey<'a, M: Model + ?Sized> {
    model: &'a M,
    layers: Vec<String>,
    top: usize,
    shard: Shard,
    save_every: u64,
    notes: Vec<(String, String)>,
    progress: Option<SharedWatcher<'a>>,
    notices: Option<Mutex<Listener<'a>>>,
}

/// A closure that is told notices.
type Listener<'a> = Box<dyn FnMut(&Notice) + Send + 'a>;

/// An image of a survey with its name.
#[derive(Debug, Clone)]
pub struct Sample {
    name: String,
    label: Option<String>,
    picture: RgbImage,
}

impl Sample {
    /// A picture with a name and a label.
    pub fn labelled(name: impl Into<String>, picture: RgbImage, label: impl Into<String>) -> Self {
        Self { name: name.into(), label: Some(label.into()), picture }
    }
}

impl<N: Into<String>> From<(N, RgbImage)> for Sample {
    fn from((name, picture): (N, RgbImage)) -> Self {
        Self { name: name.into(), label: None, picture }
    }
}

/// What a survey has to say while it goes on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'n> {
    /// An image can't be read, or the network's values for it are not finite; it is counted and passed over.
    PassedOver {
        /// The image's name.
        image: &'n str,
        /// What is wrong with it.
        reason: &'n str,
    },
    /// A survey goes on that was not finished.
    Resumed {
        /// The images of the shard that were done before.
        done: u64,
    },
    /// The state can't be read, and the survey goes on from the state before it.
    Damaged {
        /// What is wrong with the state.
        damage: &'n Error,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedOver { image, reason } => write!(f, "passed over {image}: {reason}"),
            Self::Resumed { done } => write!(f, "going on after {done} images"),
            Self::Damaged { damage } => write!(f, "{damage}; going on from the state before it"),
        }
    }
}

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
        let store = Store::open(folder.as_ref())?;
        let begun = self.begin(images.count().into())?;
        if begun.listing.images == 0 {
            return Err(Error::invalid(
                "the folder of images",
                "one with images in it",
                images.root().display(),
            ));
        }
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

    /// The activations of some layers for a batch, `[batch, channels, height, width]` in row-major order.
    fn activations(&self, images: Vec<f32>, batch: usize, layers: &[String]) -> Result<Vec<Vec<f32>>> {
        let [channels, height, width] = self.model.input().shape();
        let images = TensorData::new(images, [batch, channels, height, width]);
        let mut taps = Taps::new().record(layers.iter().cloned());
        run(self.model, Tensor::from_data(images, &self.model.device()), &mut taps)?;
        layers.iter().map(|layer| Ok(host::values(taps.activation(layer)?))).collect()
    }

    /// How many images are run together: several small ones, if each then has the same values, bit for bit, as alone.
    fn batch(&self, layers: &[String]) -> Result<usize> {
        let (height, width) = self.model.input().size();
        if height.max(width) > SMALL {
            return Ok(1);
        }
        let images: Vec<Vec<f32>> = (0..BATCH).map(|seed| noise(self.model, seed as u64)).collect();
        let together = self.activations(images.concat(), BATCH, layers);
        // A network that takes one image at a time is taken at its word.
        let Ok(together) = together else { return Ok(1) };
        for (index, image) in images.into_iter().enumerate() {
            let alone = self.activations(image, 1, layers)?;
            for (alone, together) in alone.iter().zip(&together) {
                let here = together.chunks(alone.len().max(1)).nth(index).unwrap_or_default();
                if !here.iter().map(|value| value.to_bits()).eq(alone.iter().map(|value| value.to_bits())) {
                    return Ok(1);
                }
            }
        }
        Ok(BATCH)
    }

    /// Takes in one image after the other.
    fn survey(
        &self,
        surveyed: &mut Surveyed,
        ahead: &mut Ahead,
        mut save: impl FnMut(&Surveyed) -> Result<()>,
    ) -> Result<ControlFlow<()>> {
        let layers: Vec<String> = surveyed.layers.iter().map(|layer| layer.name.clone()).collect();
        let batch = self.batch(&layers)?;
        let (index, of) = (u64::from(self.shard.index()), u64::from(self.shard.of()));
        let all = (surveyed.listing.images + of - 1 - index) / of;
        let (mut saved, mut unsaved) = (Instant::now(), 0);
        let mut waiting: Vec<Ready> = Vec::with_capacity(batch);
        let mut ended = false;
        while !ended {
            match ahead.next() {
                Some(ready) => waiting.push(ready),
                None => ended = true,
            }
            if waiting.len() < batch && !ended {
                continue;
            }
            let Some(last) = waiting.last() else { break };
            let next = last.place + 1;
            unsaved += waiting.len() as u64;
            self.take(surveyed, &mut waiting, batch, &layers)?;
            surveyed.coverage.next.insert(self.shard.index(), next);
            if unsaved >= self.save_every || saved.elapsed() >= LONGEST {
                save(surveyed)?;
                (saved, unsaved) = (Instant::now(), 0);
            }
            let done = surveyed.images + surveyed.broken.count;
            if let Some(progress) = &self.progress
                && progress.report("images", done as usize, all.max(done) as usize).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Runs the images that wait, and takes in what comes of them.
    fn take(
        &self,
        surveyed: &mut Surveyed,
        waiting: &mut Vec<Ready>,
        batch: usize,
        layers: &[String],
    ) -> Result<()> {
        let mut images = Vec::new();
        let mut names: Vec<(Arc<str>, Option<Arc<str>>)> = Vec::new();
        for ready in waiting.drain(..) {
            match ready.image {
                Ok(image) => {
                    images.push(image);
                    names.push((ready.name.into(), ready.label.map(Arc::from)));
                }
                Err(reason) => self.pass_over(surveyed, &ready.name, &reason),
            }
        }
        // The last images do not fill a batch, and nor does one with a broken image: they run one by one, as another
        // number of images may round in another way.
        let size = if images.len() == batch { batch } else { 1 };
        for (images, names) in images.chunks(size).zip(names.chunks(size)) {
            let values = self.activations(images.concat(), images.len(), layers)?;
            self.commit(surveyed, &values, names);
        }
        Ok(())
    }

    /// Takes in the activations of a batch.
    fn commit(&self, surveyed: &mut Surveyed, values: &[Vec<f32>], names: &[(Arc<str>, Option<Arc<str>>)]) {
        let measured: Vec<Vec<Measured>> = surveyed
            .layers
            .iter()
            .zip(values)
            .map(|(layer, values)| {
                let [_, height, width] = layer.shape;
                let maps: Vec<&[f32]> = values.chunks(height * width).collect();
                spread(maps, values.len(), |_, map| Measured::of(map))
            })
            .collect();
        let mut kept = Vec::new();
        for (image, (name, _)) in names.iter().enumerate() {
            let infinite = surveyed.layers.iter().zip(&measured).find(|(layer, measured)| {
                let channels = layer.shape[0];
                !measured[image * channels..(image + 1) * channels].iter().all(Measured::is_finite)
            });
            match infinite
                .map(|(layer, _)| format!("the network's layer `{}` is NaN or infinite", layer.name))
            {
                Some(reason) => self.pass_over(surveyed, name, &reason),
                None => kept.push(image),
            }
        }
        surveyed.images += kept.len() as u64;
        let top = surveyed.setting.top;
        for ((layer, values), measured) in surveyed.layers.iter_mut().zip(values).zip(&measured) {
            let [channels, height, width] = layer.shape;
            let units: Vec<&mut Unit> = layer.units.iter_mut().collect();
            spread(units, values.len(), |channel, unit| {
                for image in &kept {
                    let map = image * channels + channel;
                    let (name, label) = &names[*image];
                    let values = &values[map * height * width..(map + 1) * height * width];
                    unit.take(values, &measured[map], (name, label), (width, top));
                }
            });
        }
    }

    fn pass_over(&self, surveyed: &mut Surveyed, image: &str, reason: &str) {
        surveyed.broken.add(image, reason);
        self.tell(&Notice::PassedOver { image, reason });
    }

    fn tell(&self, notice: &Notice) {
        // A listener that panicked before is not called again.
        if let Some(Ok(mut listener)) = self.notices.as_ref().map(Mutex::lock) {
            listener(notice);
        }
    }
}

/// An image of noise over the whole range of a network's input, `[channels, height, width]`.
fn noise<M: Model + ?Sized>(model: &M, seed: u64) -> Vec<f32> {
    let (low, high) = model.input().range();
    let mut stream = random::stream(seed, 0);
    let count = model.input().shape().iter().product();
    (0..count).map(|_| low + (high - low) * stream.random::<f32>()).collect()
}

/// The results for some items in their order, on several threads if the work of `size` values is worth it.
fn spread<T: Send, R: Send>(items: Vec<T>, size: usize, each: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    let threads = if size < FEW { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let share = items.len().div_ceil(threads).max(1);
    let mut items = items.into_iter().enumerate();
    let each = &each;
    let work =
        |part: Vec<(usize, T)>| part.into_iter().map(|(index, item)| each(index, item)).collect::<Vec<R>>();
    std::thread::scope(|scope| {
        let first: Vec<_> = items.by_ref().take(share).collect();
        let mut others = Vec::new();
        loop {
            let part: Vec<_> = items.by_ref().take(share).collect();
            if part.is_empty() {
                break;
            }
            others.push(scope.spawn(move || work(part)));
        }
        let mut results = work(first);
        for other in others {
            match other.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
