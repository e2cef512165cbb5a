//! Weights of channels from what the network says when each is taken away, or shown alone.

use burn::tensor::{Int, Tensor, TensorData};

use super::super::refuse_non_finite;
use crate::gradient::Gradient;
use crate::model::{Model, Taps, run};
use crate::target::Target;
use crate::{Result, resample};

/// The variations of one image that a layer's channels give rise to, and their scores as far as they have been run.
pub(super) struct Variations<'a> {
    model: &'a dyn Model,
    layer: &'a str,
    image: Tensor<4>,
    /// The image's place in its batch, for errors.
    index: usize,
    target: Target,
    activation: Tensor<4>,
    kind: Kind,
    /// The channels to run, those that vary most over positions first.
    channels: Vec<usize>,
    scores: Vec<f32>,
}

/// What is made of a channel.
#[allow(clippy::large_enum_variant, reason = "one exists for each image")]
enum Kind {
    /// It is taken away. With the score of the whole, and whether the target sees the image by a way around the layer.
    Ablation { score: f32, around: bool },
    /// The image is shown where it fires, over a baseline. With the score of an image of which nothing is left, which is
    /// what the masks of flat channels show.
    Masking { baseline: Tensor<4>, nothing: f32, flat: Vec<usize> },
}

impl<'a> Variations<'a> {
    /// What is the same for both kinds: one image with its target and the activation of the layer.
    fn new(
        model: &'a dyn Model,
        layer: &'a str,
        (index, image, target): (usize, Tensor<4>, Target),
        activation: Tensor<4>,
        kind: Kind,
    ) -> Self {
        Self {
            model,
            layer,
            image,
            index,
            target,
            activation,
            kind,
            channels: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// The image without each of at most `most` channels.
    pub(super) fn by_ablation(
        model: &'a dyn Model,
        layer: &'a str,
        image: (usize, Tensor<4>, Target),
        activation: Tensor<4>,
        score: f32,
        most: usize,
    ) -> Result<Self> {
        refuse_non_finite(&[score], &image.2, image.0)?;
        let goal = image.2.goal()?.into();
        let around = Gradient::new(model, &goal).at_layer(layer).goes_around(image.1.clone())?;
        let mut this = Self::new(model, layer, image, activation, Kind::Ablation { score, around });
        // A channel of zeros is its own ablation.
        let strongest = crate::host::values(this.activation.clone().abs().max_dims(&[2, 3]));
        this.channels = this.by_spread().into_iter().map(|(channel, _)| channel).collect();
        this.channels.retain(|channel| strongest[*channel] > 0.0);
        this.channels.truncate(most);
        Ok(this)
    }

    /// The image under the mask of each of at most `most` channels.
    pub(super) fn by_masking(
        model: &'a dyn Model,
        layer: &'a str,
        image: (usize, Tensor<4>, Target),
        activation: Tensor<4>,
        baseline: Tensor<4>,
        most: usize,
    ) -> Result<Self> {
        let nothing = image.2.goal()?.scores(model, baseline.clone())?[0];
        refuse_non_finite(&[nothing], &image.2, image.0)?;
        let kind = Kind::Masking { baseline, nothing, flat: Vec::new() };
        let mut this = Self::new(model, layer, image, activation, kind);
        let chosen: Vec<_> = this.by_spread().into_iter().take(most).collect();
        for (channel, spread) in chosen {
            match &mut this.kind {
                Kind::Masking { flat, .. } if spread == 0.0 => flat.push(channel),
                _ => this.channels.push(channel),
            }
        }
        Ok(this)
    }

    /// How many variations there are.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Runs the next few variations, and says how many those were.
    pub(super) fn run(&mut self, count: usize) -> Result<usize> {
        let left = &self.channels[self.scores.len()..];
        let some = &left[..count.min(left.len())];
        if some.is_empty() {
            return Ok(0);
        }
        let scores = match &self.kind {
            Kind::Ablation { around, .. } => self.without(some, *around)?,
            Kind::Masking { baseline, .. } => self.under_masks(some, baseline)?,
        };
        refuse_non_finite(&scores, &self.target, self.index)?;
        self.scores.extend(&scores);
        Ok(scores.len())
    }

    /// The sum of the channels by the weights that follow from the variations run so far, `[1, 1, height, width]`.
    pub(super) fn map(self) -> Tensor<4> {
        let [_, channels, ..] = self.activation.dims();
        let mut weights = vec![0.0_f32; channels];
        let run = self.channels.iter().copied().zip(self.scores.iter().copied());
        match &self.kind {
            Kind::Ablation { score, .. } => {
                let size = if *score == 0.0 { 1.0 } else { score.abs() };
                run.for_each(|(channel, without)| weights[channel] = (score - without) / size);
            }
            Kind::Masking { nothing, flat, .. } => {
                // Channels that were not run have no part in the softmax, so that it can't underflow to nothing.
                let mut scores: Vec<(usize, f32)> = run.collect();
                if self.scores.len() == self.channels.len() {
                    scores.extend(flat.iter().map(|channel| (*channel, *nothing)));
                }
                let most = scores.iter().fold(f32::NEG_INFINITY, |most, (_, score)| most.max(*score));
                let sum: f32 = scores.iter().map(|(_, score)| (score - most).exp()).sum();
                scores.iter().for_each(|(channel, score)| weights[*channel] = (score - most).exp() / sum);
            }
        }
        let weights = TensorData::new(weights, [1, channels, 1, 1]);
        super::formulas::weighted_sum(
            self.activation.clone(),
            Tensor::from_data(weights, &self.image.device()),
        )
    }

    /// The scores of the image without each of some channels.
    fn without(&self, some: &[usize], around: bool) -> Result<Vec<f32>> {
        let [_, channels, ..] = self.activation.dims();
        let mut keep = vec![1.0_f32; some.len() * channels];
        some.iter().enumerate().for_each(|(row, channel)| keep[row * channels + channel] = 0.0);
        let keep = TensorData::new(keep, [some.len(), channels, 1, 1]);
        let keep = Tensor::<4>::from_data(keep, &self.image.device());
        let goal = self.target.repeated(0, some.len()).goal()?;
        let mut taps =
            Taps::new().record(goal.layer_names()).replace(self.layer, move |activation| activation * keep);
        // Where all that the target sees goes through the layer, one run below it serves all variations. Else what
        // goes around it must be there for each of them, to be joined.
        let image = if around { self.image.clone().repeat_dim(0, some.len()) } else { self.image.clone() };
        run(self.model, image, &mut taps)?;
        Ok(crate::host::values(goal.read(&taps.into_recorded())?))
    }

    /// The scores of the image under the mask of each of some channels.
    fn under_masks(&self, some: &[usize], baseline: &Tensor<4>) -> Result<Vec<f32>> {
        let [_, _, height, width] = self.image.dims();
        let indices = some.iter().map(|channel| *channel as i64).collect::<Vec<_>>();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [some.len()]), &self.image.device());
        let masks = self.activation.clone().select(1, indices).swap_dims(0, 1);
        let masks = resample::resize(masks, height, width);
        let (low, high) = (masks.clone().min_dims(&[2, 3]), masks.clone().max_dims(&[2, 3]));
        let range = high - low.clone();
        let flat = range.clone().equal_elem(0.0);
        let masks = (masks - low) / range.mask_fill(flat, 1.0);
        let way = self.image.clone() - baseline.clone();
        let goal = self.target.repeated(0, some.len()).goal()?;
        goal.scores(self.model, baseline.clone() + way * masks)
    }

    /// The channels by the largest minus the smallest value of each, the largest difference first; equals in order.
    fn by_spread(&self) -> Vec<(usize, f32)> {
        let activation = &self.activation;
        let spread = activation.clone().max_dims(&[2, 3]) - activation.clone().min_dims(&[2, 3]);
        let mut order: Vec<_> = crate::host::values(spread).into_iter().enumerate().collect();
        order.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        order
    }
}
