//! Images through the network, one batch after the other.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use super::ahead::{Ahead, Ready};
use super::unit::Measured;
use super::{Notice, Survey, Surveyed, Unit};
use crate::model::{Taps, run};
use crate::{Model, Result, host, random};

/// The images of a batch whose sides are at most this long; larger ones gain nothing from company.
const SMALL: usize = 64;
const BATCH: usize = 16;
/// The state is written at least this often.
const LONGEST: Duration = Duration::from_secs(120);
/// Fewer values than this are not worth waking threads for.
const FEW: usize = 1 << 16;

impl<M: Model + ?Sized> Survey<'_, M> {
    /// The activations of some layers for a batch, `[batch, channels, height, width]` in row-major order.
    pub(super) fn activations(
        &self,
        images: Vec<f32>,
        batch: usize,
        layers: &[String],
    ) -> Result<Vec<Vec<f32>>> {
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
    pub(super) fn survey(
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

    pub(super) fn tell(&self, notice: &Notice) {
        // A listener that panicked before is not called again.
        if let Some(Ok(mut listener)) = self.notices.as_ref().map(Mutex::lock) {
            listener(notice);
        }
    }
}

/// An image of noise over the whole range of a network's input, `[channels, height, width]`.
pub(super) fn noise<M: Model + ?Sized>(model: &M, seed: u64) -> Vec<f32> {
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
