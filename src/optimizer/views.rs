//! How the model sees the images of a batch at each step.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rand::Rng;

use crate::model::InputSpec;
use crate::random::{Stream, stream};
use crate::resample::{self, Weights};
use crate::transforms::Transform;
use crate::{Error, Result};

/// The transforms of a run, and what they draw from: one stream for each repetition of what is asked for, so that an
/// image is seen as it would be alone, and two images of one target differ.
pub(super) struct Views {
    transforms: Vec<Box<dyn Transform>>,
    repetitions: Vec<usize>,
    streams: BTreeMap<usize, Stream>,
    /// Factors of the size, and what they are drawn from: the images of a batch are of one size.
    sizes: Vec<f32>,
    smallest: usize,
    common: Stream,
}

impl Views {
    /// The views of images that are these repetitions each.
    pub(super) fn new(transforms: Vec<Box<dyn Transform>>, repetitions: Vec<usize>, seed: u64) -> Self {
        // Noise takes the substreams from 0 on, transforms those from the last one back, the size the one in the middle.
        let of = |repetition: usize| stream(seed, u64::MAX - repetition as u64);
        let streams = repetitions.iter().map(|repetition| (*repetition, of(*repetition))).collect();
        let common = stream(seed, 1 << 63);
        Self { transforms, repetitions, streams, sizes: Vec::new(), smallest: 1, common }
    }

    /// The same at sizes of these factors, if the model takes any.
    pub(super) fn sizes(mut self, sizes: Vec<f32>, input: &InputSpec) -> Result<Self> {
        if let Some(factor) = sizes.iter().find(|factor| !(**factor >= 0.01 && **factor <= 100.0)) {
            return Err(Error::invalid("a factor of the size of views", "a number from 0.01 to 100", factor));
        }
        if let Some(smallest) = input.smallest() {
            (self.sizes, self.smallest) = (sizes, smallest);
        }
        Ok(self)
    }

    /// The batch as the model sees it at the next step.
    pub(super) fn next(&mut self, images: Tensor<4>) -> Tensor<4> {
        let images = self.transformed(images);
        if self.sizes.is_empty() {
            return images;
        }
        let factor = self.sizes[self.common.random_range(0..self.sizes.len())];
        let [_, _, height, width] = images.dims();
        let side = |side: usize| ((side as f32 * factor).round() as usize).max(self.smallest);
        match (side(height), side(width)) {
            same if same == (height, width) => images,
            (to_height, to_width) => {
                let along = |from, to| Weights::triangle(from, to);
                resample::tensor(images, &along(height, to_height), &along(width, to_width))
            }
        }
    }

    fn transformed(&mut self, images: Tensor<4>) -> Tensor<4> {
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
