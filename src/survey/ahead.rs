//! Images that are decoded while the network is at work on those before them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use image::RgbImage;

use super::images::{Count, Counter, Found, Images};
use super::{Sample, Shard};
use crate::model::InputSpec;
use crate::picture::{load, resize_to_cover_and_crop, to_array, to_grey_array};
use crate::{Error, Result};

/// The decoded images that wait for the network, for each thread that decodes.
const WAITING: usize = 8;
/// More threads than this wait for the disk or for the network.
const MOST_THREADS: usize = 8;

/// An image of the shard, ready for the network.
pub(super) struct Ready {
    /// Its place in the list of all images.
    pub(super) place: u64,
    pub(super) name: String,
    pub(super) label: Option<String>,
    /// `[channels, height, width]` in row-major order, or why there is none.
    pub(super) image: Result<Vec<f32>, String>,
}

/// Images in the order of the list, from the threads in turn.
pub(super) struct Ahead {
    lanes: Vec<Receiver<Ready>>,
    turn: usize,
    /// What was listed, once the list has ended.
    pub(super) listed: Receiver<Count>,
}

impl Iterator for Ahead {
    type Item = Ready;

    fn next(&mut self) -> Option<Ready> {
        let lane = self.turn % self.lanes.len();
        self.turn += 1;
        self.lanes[lane].recv().ok()
    }
}

/// The images of a shard from a place of the list on.
pub(super) fn files<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    images: &'env Images,
    input: &'env InputSpec,
    (shard, from): (Shard, u64),
) -> Ahead {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).min(MOST_THREADS);
    let (mut jobs, mut lanes) = (Vec::new(), Vec::new());
    for _ in 0..threads {
        let (job, waiting) = sync_channel::<(u64, Found)>(WAITING);
        let (ready, lane) = sync_channel(WAITING);
        scope.spawn(move || decode(&waiting, &ready, input));
        jobs.push(job);
        lanes.push(lane);
    }
    let (listed, count) = sync_channel(1);
    scope.spawn(move || {
        let (mut counter, mut turn) = (Counter::default(), 0);
        for (place, found) in (0..).zip(images.found()) {
            counter.add(&found.name);
            if place >= from && shard.takes(place) {
                if jobs[turn % threads].send((place, found)).is_err() {
                    return; // nobody wants more
                }
                turn += 1;
            }
        }
        let _ = listed.send(counter.count());
    });
    Ahead { lanes, turn: 0, listed: count }
}

fn decode(waiting: &Receiver<(u64, Found)>, ready: &SyncSender<Ready>, input: &InputSpec) {
    for (place, Found { name, label, path }) in waiting {
        let image =
            path.and_then(|path| load(path).and_then(|picture| values(&picture, input)).map_err(reason));
        if ready.send(Ready { place, name, label, image }).is_err() {
            return;
        }
    }
}

/// The images of an iterator, which runs on a thread of its own.
pub(super) fn samples<'scope, I>(
    scope: &'scope Scope<'scope, '_>,
    samples: I,
    input: &'scope InputSpec,
    shard: Shard,
) -> Ahead
where
    I: Iterator<Item: Into<Sample>> + Send + 'scope,
{
    let (ready, lane) = sync_channel(WAITING);
    let (listed, count) = sync_channel(1);
    scope.spawn(move || {
        let mut counter = Counter::default();
        for (place, sample) in (0..).zip(samples) {
            let Sample { name, label, picture } = sample.into();
            counter.add(&name);
            if shard.takes(place) {
                let image = values(&picture, input).map_err(reason);
                if ready.send(Ready { place, name, label, image }).is_err() {
                    return;
                }
            }
        }
        let _ = listed.send(counter.count());
    });
    Ahead { lanes: vec![lane], turn: 0, listed: count }
}

/// A picture at the size and in the range of the network.
fn values(picture: &RgbImage, input: &InputSpec) -> Result<Vec<f32>> {
    let (height, width) = input.size();
    let picture = resize_to_cover_and_crop(picture, width as u32, height as u32)?;
    let array = match input.channels() {
        1 => to_grey_array(&picture, input.range()),
        _ => to_array(&picture, input.range()),
    };
    Ok(array.into_raw_vec_and_offset().0)
}

/// What is wrong with an image, without its path, which differs from machine to machine.
fn reason(error: Error) -> String {
    match error {
        Error::Format { reason, .. } => reason,
        Error::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    }
}
