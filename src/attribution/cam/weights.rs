//! Weights of channels from what the network says when each is taken away, or shown alone.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::super::progress::Progress;
use super::super::{Baseline, Target};
use crate::model::{Model, Taps, run};
use crate::{Result, transforms};

/// One image, and the variations of it that a layer's channels give rise to.
pub(super) struct Variations<'a> {
    pub(super) model: &'a dyn Model,
    pub(super) image: Tensor<4>,
    pub(super) target: &'a Target,
    pub(super) layer: &'a str,
    pub(super) activation: Tensor<4>,
    pub(super) score: f32,
    pub(super) max_channels: usize,
    pub(super) batch_size: usize,
    pub(super) progress: &'a Progress,
}

impl Variations<'_> {
    /// `(S − S_k) / |S|`, where `S_k` is the score without channel `k`; `[1, channels, 1, 1]`.
    pub(super) fn by_ablation(&self) -> Result<Tensor<4>> {
        let [_, channels, ..] = self.activation.dims();
        let mut weights = vec![0.0_f32; channels];
        let size = if self.score == 0.0 { 1.0 } else { self.score.abs() };
        // A channel of zeros is its own ablation.
        let strongest = self.activation.clone().abs().max_dims(&[2, 3]);
        let strongest = crate::host::values(strongest);
        let channels_to_run: Vec<usize> =
            self.channels().into_iter().filter(|channel| strongest[*channel] > 0.0).collect();
        let mut done = 0;
        for some in channels_to_run.chunks(self.batch_size) {
            let mut keep = vec![1.0_f32; some.len() * channels];
            some.iter().enumerate().for_each(|(row, channel)| keep[row * channels + channel] = 0.0);
            let keep = TensorData::new(keep, [some.len(), channels, 1, 1]);
            let keep = Tensor::<4>::from_data(keep, &self.activation.device());
            let goal = self.target.repeated(0, some.len()).goal()?;
            let mut taps = Taps::new()
                .record(goal.layer_names())
                .replace(self.layer, move |activation| activation * keep);
            run(self.model, self.image.clone(), &mut taps)?;
            let scores = crate::host::values(goal.read(&taps.into_recorded())?);
            for (channel, score) in some.iter().zip(scores) {
                weights[*channel] = (self.score - score) / size;
            }
            done += some.len();
            self.progress.report(done, channels_to_run.len());
        }
        Ok(self.tensor(weights))
    }

    /// The softmax over the channels of the scores of the image under each channel's mask; `[1, channels, 1, 1]`.
    pub(super) fn by_masking(&self, baseline: &Baseline) -> Result<Tensor<4>> {
        let [_, channels, ..] = self.activation.dims();
        let [_, _, height, width] = self.image.dims();
        let baseline = baseline.of(self.model, &self.image)?;
        let way = self.image.clone() - baseline.clone();
        // The score of an image of which nothing is left: what a flat channel's mask shows.
        let nothing = self.target.goal()?.scores(self.model, baseline.clone())?[0];
        let spread = self.spread();
        let mut scores = vec![nothing; channels];
        let varied: Vec<usize> =
            self.channels().into_iter().filter(|channel| spread[*channel] > 0.0).collect();
        let mut done = 0;
        for some in varied.chunks(self.batch_size) {
            let indices: Vec<i64> = some.iter().map(|channel| *channel as i64).collect();
            let indices =
                Tensor::<1, Int>::from_data(TensorData::new(indices, [some.len()]), &self.image.device());
            let masks = self.activation.clone().select(1, indices).swap_dims(0, 1);
            let masks = transforms::resize(masks, height, width);
            let (low, high) = (masks.clone().min_dims(&[2, 3]), masks.clone().max_dims(&[2, 3]));
            let range = high - low.clone();
            let flat = range.clone().equal_elem(0.0);
            let masks = (masks - low) / range.mask_fill(flat, 1.0);
            let goal = self.target.repeated(0, some.len()).goal()?;
            let found = goal.scores(self.model, baseline.clone() + way.clone() * masks)?;
            some.iter().zip(found).for_each(|(channel, score)| scores[*channel] = score);
            done += some.len();
            self.progress.report(done, varied.len());
        }
        let softmax = activation::softmax(self.tensor(scores), 1);
        if self.max_channels >= channels {
            return Ok(softmax);
        }
        // Channels that were not run have no weight, and the rest sum to 1.
        let mut run = vec![0.0_f32; channels];
        self.channels().into_iter().for_each(|channel| run[channel] = 1.0);
        let weights = softmax * self.tensor(run);
        Ok(weights.clone() / weights.sum_dim(1))
    }

    /// The channels to run: all, or those that vary most over positions.
    fn channels(&self) -> Vec<usize> {
        let spread = self.spread();
        let mut order: Vec<usize> = (0..spread.len()).collect();
        if self.max_channels < order.len() {
            order.sort_by(|a, b| spread[*b].total_cmp(&spread[*a]));
            order.truncate(self.max_channels);
        }
        order
    }

    /// The largest minus the smallest value of each channel.
    fn spread(&self) -> Vec<f32> {
        let activation = &self.activation;
        crate::host::values(activation.clone().max_dims(&[2, 3]) - activation.clone().min_dims(&[2, 3]))
    }

    fn tensor(&self, weights: Vec<f32>) -> Tensor<4> {
        let shape = [1, weights.len(), 1, 1];
        Tensor::from_data(TensorData::new(weights, shape), &self.activation.device())
    }
}
