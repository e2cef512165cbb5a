//! What a network takes its tensors from while it is built.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

use super::malformed;
use super::names::is_bookkeeping;
use super::source::{Source, Weights};
use crate::random::Stream;
use crate::{Error, Result};

/// The tensors that a network is made of, by name and shape, while [`Weights::load`] builds it.
#[derive(Debug)]
pub struct Parameters {
    weights: Weights,
    used: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

impl Parameters {
    /// Only for [`Weights::load`], which reports what was missing: outside it a tensor that stands in for another would
    /// go unnoticed.
    pub(super) fn new(weights: Weights) -> Self {
        Self { weights, used: BTreeSet::new(), missing: Vec::new(), misshapen: Vec::new() }
    }

    /// The network, or what of the file didn't fit it.
    pub(super) fn finish<T>(self, network: Result<T>) -> Result<T> {
        let network = network?;
        let Source::File { path, names, .. } = self.weights.source else {
            return Ok(network);
        };
        let is_unused = |name: &String| !self.used.contains(name) && !is_bookkeeping(name);
        let unused: Vec<String> = names
            .tensors
            .into_iter()
            .filter(|(name, _)| is_unused(name))
            .map(|(_, stored)| stored.name)
            .collect();
        if self.missing.is_empty() && unused.is_empty() && self.misshapen.is_empty() {
            return Ok(network);
        }
        Err(Error::Weights { path, missing: self.missing, unused, misshapen: self.misshapen })
    }

    /// The tensor of this name and shape.
    ///
    /// A file that lacks it or has it in another shape is refused by [`load`](Weights::load) once everything
    /// has been asked for, so that the error lists it all; until then a tensor of one zero stands in.
    ///
    /// ```
    /// use vis::{Error, model::weights::Weights};
    /// let device = Default::default();
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// let refused = digits.load(|parameters| {
    ///     assert_eq!(parameters.tensor("conv_layers.0.weight", [32, 1, 3, 3])?.dims(), [32, 1, 3, 3]);
    ///     parameters.tensor("conv_layers.9.bias", [32])
    /// });
    /// assert!(matches!(refused, Err(Error::Weights { missing, .. }) if missing == ["conv_layers.9.bias"]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when a value is NaN or infinite, or the elements are no weights.
    pub fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        self.arranged(name, &shape, shape, |values| values)
    }

    /// The same for a tensor whose file has it in another order of axes: `shape` is the file's, and
    /// `arrange` gives the values wanted, of shape `wanted`.
    pub(crate) fn arranged<const D: usize>(
        &mut self,
        name: &str,
        shape: &[usize],
        wanted: [usize; D],
        arrange: impl FnOnce(Vec<f32>) -> Vec<f32>,
    ) -> Result<Tensor<D>> {
        let values = self.values(name, shape)?;
        let device = self.device();
        Ok(match values {
            Some(values) => Tensor::from_data(TensorData::new(arrange(values), wanted), device),
            None => Tensor::zeros([1; D], device),
        })
    }

    /// The same for gains and variances, which are one where others are random.
    pub(crate) fn ones<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let is_redrawn = match (&self.weights.source, &self.weights.redrawn) {
            (Source::Random(_), _) => true,
            (Source::File { names, .. }, Some((layers, _))) => layers
                .iter()
                .any(|layer| names.belongs(names.get(name).map_or(name, |(short, _)| short), layer)),
            (Source::File { .. }, None) => false,
        };
        let read = self.tensor(name, shape)?;
        Ok(if is_redrawn && read.dims() == shape { read.ones_like() } else { read })
    }

    /// The names there are: see [`Weights::names`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.names()
    }

    /// The shape of a tensor: see [`Weights::shape`].
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(name)
    }

    /// Whether the tensors are random: see [`Weights::is_random`].
    pub fn is_random(&self) -> bool {
        self.weights.is_random()
    }

    /// The device that tensors are put on: see [`Weights::device`].
    pub fn device(&self) -> &Device {
        self.weights.device()
    }

    /// The values in row-major order, or `None` after noting what is wrong.
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>> {
        match &mut self.weights.source {
            Source::Random(random) => Ok(Some(he_uniform(random, shape))),
            Source::File { path, names, .. } => {
                let Some((short, stored)) = names.get(name) else {
                    self.missing.push(name.to_owned());
                    return Ok(None);
                };
                self.used.insert(short.to_owned());
                if stored.shape != shape {
                    self.misshapen.push(format!("{name}: {:?} instead of {shape:?}", stored.shape));
                    return Ok(None);
                }
                if let Some((layers, random)) = &mut self.weights.redrawn
                    && layers.iter().any(|layer| names.belongs(short, layer))
                {
                    return Ok(Some(he_uniform(random, shape)));
                }
                stored.read().map(Some).map_err(|reason| malformed(path, reason))
            }
        }
    }
}

/// He's initialisation.
fn he_uniform(random: &mut Stream, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    if shape.len() < 2 {
        return vec![0.0; count];
    }
    let fan_in: usize = shape[1..].iter().product();
    let bound = (6.0 / fan_in as f32).sqrt();
    (0..count).map(|_| (random.random::<f32>() * 2.0 - 1.0) * bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn random_weights_keep_the_variance_through_a_rectifier() {
        // The variance of a uniform number in ±b is b²/3, and He's is 2 / fan_in: fan_in is 4·9 here.
        let values = he_uniform(&mut random::stream(0, 0), &[1000, 4, 3, 3]);
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!((variance - 2.0 / 36.0).abs() < 0.01 * 2.0 / 36.0, "{variance}");
    }
}
