//! The score while pixels are removed, or shown, in the order of a map.

use burn::tensor::{Tensor, TensorData};

use super::check_map;
use super::correlation::descending;
use crate::attribution::{Baseline, Target};
use crate::model::Model;
use crate::{Error, Result, host};

/// The score of the target while the pixels of an image are exchanged in the order of a map, highest first.
///
/// [Deletion](Self::deletion) goes from the image to the baseline, [insertion](Self::insertion) from the
/// baseline to the image. Pixels of equal rank go from the top left to the bottom right. Scores are the
/// target's: take [`Target::probability`] for areas between 0 and 1 as in the paper.
///
/// Costs one forward pass a step and image, 50 by default.
///
/// Source: Petsiuk, Das & Saenko 2018, arXiv 1806.07421, section 4.1 (black for deletion, a blurred image for
/// insertion, 224 pixels a step).
#[derive(Debug, Clone)]
#[doc(alias = "fidelity")]
pub struct PixelCurve {
    insert: bool,
    steps: usize,
    baseline: Baseline,
    batch_size: usize,
}

impl PixelCurve {
    /// Removes the highest pixels first; what is removed becomes black.
    pub fn deletion() -> Self {
        Self { insert: false, steps: 50, baseline: Baseline::Black, batch_size: 16 }
    }

    /// Shows the highest pixels first, starting from the image blurred by 10 pixels.
    ///
    /// (The authors blur by 5, which on many photos leaves enough to recognise them by.)
    pub fn insertion() -> Self {
        Self { insert: true, baseline: Baseline::Blurred(10.0), ..Self::deletion() }
    }

    /// Sets the number of steps, 1 or more; the curve has one point more.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets what a removed pixel is replaced by.
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Sets how many steps run at once: bounds memory, changes no result.
    pub fn batch_size(mut self, steps: usize) -> Self {
        self.batch_size = steps;
        self
    }

    /// The curve of each image of a batch, for a map `[batch, 1, height, width]` of the images' size.
    ///
    /// Bring a map with colour channels to one by [`magnitude`](crate::attribution::magnitude) or
    /// [`channel_sum`](crate::attribution::channel_sum).
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a map of another shape, [`Error::InvalidParameter`] for no steps, and those of
    /// [`Target::scores`].
    pub fn evaluate(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        maps: Tensor<4>,
        target: &Target,
    ) -> Result<Vec<Curve>> {
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        check_map(&maps, [batch, 1, height, width])?;
        if self.steps == 0 || self.batch_size == 0 {
            return Err(Error::invalid("the steps and the batch size", "1 or more", 0));
        }
        let target = target.resolved(model, &images)?;
        let baseline = self.baseline.of(model, &images)?;
        let (from, to) = if self.insert { (baseline, images) } else { (images, baseline) };
        let device = from.device();
        let count = height * width;
        let maps = host::values(maps);
        let steps: Vec<usize> = (0..=self.steps).collect();

        let mut curves = Vec::with_capacity(batch);
        for (index, map) in maps.chunks(count).enumerate() {
            let (from, to) = (from.clone().narrow(0, index, 1), to.clone().narrow(0, index, 1));
            let order = descending(map);
            let mut scores = Vec::with_capacity(steps.len());
            for steps in steps.chunks(self.batch_size) {
                let mut mask = vec![0.0_f32; steps.len() * count];
                for (mask, step) in mask.chunks_mut(count).zip(steps) {
                    order[..step * count / self.steps].iter().for_each(|place| mask[*place] = 1.0);
                }
                let mask = TensorData::new(mask, [steps.len(), 1, height, width]);
                let mask = Tensor::<4>::from_data(mask, &device);
                let mixed = from.clone() * (mask.clone().neg() + 1.0) + to.clone() * mask;
                scores.extend(target.repeated(index, steps.len()).scores(model, mixed)?);
            }
            curves.push(Curve { scores });
        }
        Ok(curves)
    }
}

/// The scores of an image while its pixels are exchanged in equal steps, the first before any and the last
/// after all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    scores: Vec<f32>,
}

impl Curve {
    /// The scores, one more than there were steps.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The area under the curve, over a width of 1, by the trapezoid rule:
    /// `(Σ s − (first + last)/2) / steps`.
    #[doc(alias = "AUC")]
    pub fn area(&self) -> f32 {
        let ends = self.scores.first().zip(self.scores.last()).map_or(0.0, |(first, last)| first + last);
        (self.scores.iter().sum::<f32>() - ends / 2.0) / (self.scores.len() - 1).max(1) as f32
    }
}
