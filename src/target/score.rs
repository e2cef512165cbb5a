//! One number of each image from one layer.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use ndarray::Array2;

use crate::model::values::probabilities;
use crate::{Error, Result};

/// One number from one layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    /// `None` is the layer of the logits.
    pub(super) layer: Option<String>,
    pub(super) kind: Kind,
}

/// What of a layer the number is.
#[derive(Clone)]
pub(super) enum Kind {
    /// The class of the largest logit; of its probability?
    Predicted(bool),
    /// A weighted sum of the means of channels; the word is what a channel is called.
    Channels(&'static str, Vec<(usize, f32)>),
    Mean,
    /// The mean of the squares.
    Energy,
    Probability(usize),
    LogOdds(usize),
    Neuron([usize; 3]),
    Mask(usize, Arc<Array2<f32>>),
    Direction(Arc<Vec<f32>>, Option<[usize; 2]>),
    Likeness(Arc<Vec<f32>>),
    Function(Arc<Function>),
    Map(Arc<MapFunction>),
}

pub(super) type Function = dyn Fn(Tensor<2>) -> Tensor<1> + Send + Sync;
pub(super) type MapFunction = dyn Fn(Tensor<4>) -> Tensor<1> + Send + Sync;

/// The activation of a layer, and its means over positions, `[batch, channels]`, which most scores are read from.
pub(super) struct Activation<'a> {
    layer: &'a str,
    map: Tensor<4>,
    means: Tensor<2>,
}

impl<'a> Activation<'a> {
    pub(super) fn new(layer: &'a str, map: Tensor<4>) -> Self {
        let [batch, channels, height, width] = map.dims();
        let means = match height * width {
            1 => map.clone().reshape([batch, channels]),
            _ => map.clone().mean_dims(&[2, 3]).reshape([batch, channels]),
        };
        Self { layer, map, means }
    }

    pub(super) fn batch(&self) -> usize {
        self.map.dims()[0]
    }

    fn within(&self, what: &'static str, index: usize, len: usize) -> Result<()> {
        let place = format!("layer `{}`", self.layer);
        if index < len { Ok(()) } else { Err(Error::OutOfRange { what, index, place, len }) }
    }

    fn channel(&self, channel: usize) -> Result<()> {
        self.within("channel", channel, self.map.dims()[1])
    }

    fn place(&self, [row, column]: [usize; 2]) -> Result<()> {
        let [_, _, height, width] = self.map.dims();
        self.within("row", row, height)?;
        self.within("column", column, width)
    }
}

impl Kind {
    /// The scores of `len` images from `start` on, `[len]`.
    pub(super) fn read(&self, of: &Activation<'_>, start: usize, len: usize) -> Result<Tensor<1>> {
        let [batch, channels, height, width] = of.map.dims();
        // A slice of the whole is the whole, and its gradient needs no scatter.
        let means = || if len == batch { of.means.clone() } else { of.means.clone().narrow(0, start, len) };
        let map = || if len == batch { of.map.clone() } else { of.map.clone().narrow(0, start, len) };
        Ok(match self {
            Self::Predicted(_) => {
                return Err(Error::invalid("the target", "a resolved one", "a predicted class"));
            }
            Self::Channels(what, terms) => {
                let means = means();
                let mut sum = None;
                for (channel, weight) in terms {
                    of.within(what, *channel, channels)?;
                    let term = means.clone().narrow(1, *channel, 1) * *weight;
                    sum = Some(sum.map_or(term.clone(), |sum: Tensor<2>| sum + term));
                }
                let none = || Error::invalid("the target", format!("at least one {what}"), "none");
                sum.ok_or_else(none)?.reshape([len])
            }
            Self::Mean => means().mean_dim(1).reshape([len]),
            Self::Energy => map().square().mean_dims(&[1, 2, 3]).reshape([len]),
            Self::Probability(class) => {
                of.within("class", *class, channels)?;
                probabilities(means()).narrow(1, *class, 1).reshape([len])
            }
            Self::LogOdds(class) => {
                of.within("class", *class, channels)?;
                if channels < 2 {
                    return Err(Error::invalid("the log-odds of a class", "two classes at least", channels));
                }
                let means = means();
                let own = means.clone().narrow(1, *class, 1);
                let mut apart = vec![0.0; channels];
                apart[*class] = -1e30;
                let apart = Tensor::<2>::from_data(TensorData::new(apart, [1, channels]), &of.map.device());
                let others = means + apart;
                let most = others.clone().detach().max_dim(1);
                let others = (others - most.clone()).exp().sum_dim(1).log() + most;
                (own - others).reshape([len])
            }
            Self::Neuron([channel, row, column]) => {
                of.channel(*channel)?;
                of.place([*row, *column])?;
                map().narrow(1, *channel, 1).narrow(2, *row, 1).narrow(3, *column, 1).reshape([len])
            }
            Self::Mask(channel, mask) => {
                of.channel(*channel)?;
                let mask = fitted(mask, [height, width])?;
                let share =
                    Tensor::<4>::from_data(TensorData::new(mask, [1, 1, height, width]), &of.map.device());
                (map().narrow(1, *channel, 1) * share).sum_dims(&[1, 2, 3]).reshape([len])
            }
            Self::Direction(direction, place) => {
                let at = match place {
                    None => means(),
                    Some([row, column]) => {
                        of.place([*row, *column])?;
                        map().narrow(2, *row, 1).narrow(3, *column, 1).reshape([len, channels])
                    }
                };
                (at * row(direction, of)?).sum_dim(1).reshape([len])
            }
            Self::Likeness(embedding) => {
                let (here, there) = (means(), row(embedding, of)?);
                // Under the root the epsilon keeps the slope finite where a layer is zero.
                let norm = |x: Tensor<2>| (x.square().sum_dim(1) + 1e-12).sqrt();
                let cosine = (here.clone() * there.clone()).sum_dim(1) / (norm(here) * norm(there));
                cosine.reshape([len])
            }
            Self::Function(score) => one_each(score(means()), len)?,
            Self::Map(score) => one_each(score(map()), len)?,
        })
    }
}

/// A vector with an entry a channel, `[1, channels]`.
fn row(vector: &[f32], of: &Activation<'_>) -> Result<Tensor<2>> {
    let channels = of.map.dims()[1];
    if vector.len() != channels {
        let expected = format!("one number for each of the {channels} channels of `{}`", of.layer);
        return Err(Error::invalid("the vector of a target", expected, vector.len()));
    }
    Ok(Tensor::from_data(TensorData::new(vector.to_vec(), [1, channels]), &of.map.device()))
}

/// The mask at the layer's size, with values that sum to 1: each entry is shared out over the positions that it covers.
fn fitted(mask: &Array2<f32>, [height, width]: [usize; 2]) -> Result<Vec<f32>> {
    let (rows, columns) = mask.dim();
    let mut fitted = Array2::<f32>::zeros((height, width));
    let (over_rows, over_columns) = (overlaps(rows, height), overlaps(columns, width));
    for &(row, to_row, vertical) in &over_rows {
        for &(column, to_column, horizontal) in &over_columns {
            fitted[[to_row, to_column]] += mask[[row, column]] * vertical * horizontal;
        }
    }
    let sum: f32 = fitted.sum();
    if !(sum.is_finite() && sum > 0.0) {
        return Err(Error::invalid("the mask of a target", "finite values with a positive sum", sum));
    }
    Ok(fitted.iter().map(|value| value / sum).collect())
}

/// The pairs of one of `from` equal intervals with one of `to` that overlap, and the share of the first in the second.
fn overlaps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let mut pairs = Vec::new();
    for (index, next) in (0..from).zip(1..=from) {
        // In units in which the whole has a length of `from * to`.
        let (begin, end) = (index * to, next * to);
        for other in begin / from..end.div_ceil(from) {
            let shared = end.min((other + 1) * from) - begin.max(other * from);
            pairs.push((index, other, shared as f32 / to as f32));
        }
    }
    pairs
}

fn one_each(scores: Tensor<1>, images: usize) -> Result<Tensor<1>> {
    let [got] = scores.dims();
    if got == images {
        return Ok(scores);
    }
    let expected = format!("one score per image, [{images}]");
    Err(Error::Shape { what: "what the function of a target gives".into(), expected, got: vec![got] })
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Predicted(false) => f.write_str("the predicted class")?,
            Kind::Predicted(true) => f.write_str("probability of the predicted class")?,
            Kind::Channels(what, terms) => {
                for (index, (channel, weight)) in terms.iter().enumerate() {
                    weighted(f, index, *weight)?;
                    write!(f, "{what} {channel}")?;
                }
            }
            Kind::Mean => f.write_str("mean")?,
            Kind::Energy => f.write_str("energy")?,
            Kind::Probability(class) => write!(f, "probability of class {class}")?,
            Kind::LogOdds(class) => write!(f, "log-odds of class {class}")?,
            Kind::Neuron([channel, row, column]) => {
                write!(f, "channel {channel} at row {row}, column {column}")?;
            }
            Kind::Mask(channel, _) => write!(f, "channel {channel} under a mask")?,
            Kind::Direction(_, None) => f.write_str("a direction")?,
            Kind::Direction(_, Some([row, column])) => {
                write!(f, "a direction at row {row}, column {column}")?;
            }
            Kind::Likeness(_) => f.write_str("likeness to an embedding")?,
            Kind::Function(_) => f.write_str("a function of the logits")?,
            Kind::Map(_) => f.write_str("a function of the activation")?,
        }
        match (&self.layer, &self.kind) {
            (None, _)
            | (
                _,
                Kind::Predicted(_)
                | Kind::Probability(_)
                | Kind::LogOdds(_)
                | Kind::Function(_)
                | Kind::Channels("class", _),
            ) => Ok(()),
            (Some(layer), _) => write!(f, " of `{layer}`"),
        }
    }
}

/// Writes the sign of a term of a sum, and its weight unless that is 1.
pub(super) fn weighted(f: &mut fmt::Formatter<'_>, index: usize, weight: f32) -> fmt::Result {
    match (index, weight < 0.0) {
        (0, false) => {}
        (0, true) => f.write_str("−")?,
        (_, false) => f.write_str(" + ")?,
        (_, true) => f.write_str(" − ")?,
    }
    if weight.abs() == 1.0 { Ok(()) } else { write!(f, "{} × ", weight.abs()) }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mean, Self::Mean) | (Self::Energy, Self::Energy) => true,
            (Self::Predicted(one), Self::Predicted(two)) => one == two,
            (Self::Channels(_, one), Self::Channels(_, two)) => one == two,
            (Self::Probability(one), Self::Probability(two)) | (Self::LogOdds(one), Self::LogOdds(two)) => {
                one == two
            }
            (Self::Neuron(one), Self::Neuron(two)) => one == two,
            (Self::Mask(one, mask), Self::Mask(two, other)) => one == two && mask == other,
            (Self::Direction(one, at), Self::Direction(two, place)) => one == two && at == place,
            (Self::Likeness(one), Self::Likeness(two)) => one == two,
            (Self::Function(one), Self::Function(two)) => Arc::ptr_eq(one, two),
            (Self::Map(one), Self::Map(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predicted(_) => f.write_str("Predicted"),
            Self::Mean => f.write_str("Mean"),
            Self::Energy => f.write_str("Energy"),
            Self::Channels(what, terms) => f.debug_tuple("Channels").field(what).field(terms).finish(),
            Self::Probability(class) => f.debug_tuple("Probability").field(class).finish(),
            Self::LogOdds(class) => f.debug_tuple("LogOdds").field(class).finish(),
            Self::Neuron(place) => f.debug_tuple("Neuron").field(place).finish(),
            Self::Mask(channel, mask) => f.debug_tuple("Mask").field(channel).field(&mask.dim()).finish(),
            Self::Direction(vector, at) => f.debug_tuple("Direction").field(&vector.len()).field(at).finish(),
            Self::Likeness(vector) => f.debug_tuple("Likeness").field(&vector.len()).finish(),
            Self::Function(_) => f.write_str("Function"),
            Self::Map(_) => f.write_str("Map"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2×3 mask on 4×3, 3×2 and 1×1 positions, by hand.
    #[test]
    fn a_mask_is_shared_out_over_the_positions_it_covers() {
        let mask = ndarray::arr2(&[[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]);
        let close = |got: Vec<f32>, expected: &[f32]| {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {expected:?}");
        };
        // Twice as many rows: each row is halved.
        let halves =
            [0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0, 1.5].map(|share: f32| share / 4.0);
        close(fitted(&mask, [4, 3]).unwrap(), &halves);
        // Three rows of 2/3 of a row, two columns of 3/2 of a column: the corners keep 2/3, the middle row has 1/3.
        let thirds = [2.0, 0.0, 1.0, 3.0, 0.0, 6.0].map(|share: f32| share / 12.0);
        close(fitted(&mask, [3, 2]).unwrap(), &thirds);
        close(fitted(&mask, [1, 1]).unwrap(), &[1.0]);
        assert!(fitted(&Array2::zeros((2, 2)), [2, 2]).is_err());
        assert!(fitted(&ndarray::arr2(&[[f32::NAN]]), [2, 2]).is_err());
    }
}
