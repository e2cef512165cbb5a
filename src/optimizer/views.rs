//! How the model sees the images of a batch at each step.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::random::{Stream, stream};
use crate::transforms::Transform;

/// The transforms of a run, and what they draw from: one stream for each repetition of what is asked for, so that an
/// image is seen as it would be alone, and two images of one target differ.
pub(super) struct Views {
    transforms: Vec<Box<dyn Transform>>,
    repetitions: Vec<usize>,
    streams: BTreeMap<usize, Stream>,
}

impl Views {
    /// The views of images that are these repetitions each.
    pub(super) fn new(transforms: Vec<Box<dyn Transform>>, repetitions: Vec<usize>, seed: u64) -> Self {
        // Noise takes the substreams from 0 on, transforms those from the last one back.
        let of = |repetition: usize| stream(seed, u64::MAX - repetition as u64);
        let streams = repetitions.iter().map(|repetition| (*repetition, of(*repetition))).collect();
        Self { transforms, repetitions, streams }
    }

    /// The batch as the model sees it at the next step.
    pub(super) fn next(&mut self, images: Tensor<4>) -> Tensor<4> {
        if self.transforms.is_empty() {
            return images;
        }
        let drawn = self.streams.clone();
        let (mut seen, mut first) = (Vec::new(), 0);
        for alike in self.repetitions.chunk_by(|one, other| one == other) {
            let some = match alike.len() == self.repetitions.len() {
                true => images.clone(),
                false => images.clone().narrow(0, first, alike.len()),
            };
            first += alike.len();
            let mut random = drawn[&alike[0]].clone();
            let transforms = self.transforms.iter();
            seen.push(transforms.fold(some, |seen, transform| transform.apply(seen, &mut random)));
            self.streams.insert(alike[0], random);
        }
        if seen.len() == 1 { seen.remove(0) } else { Tensor::cat(seen, 0) }
    }
}
