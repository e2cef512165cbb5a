//! A target with everything decided, as what can be read from activations.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::Sum;
use super::score::{Activation, Kind};
use crate::model::{Model, Taps, run};
use crate::{Error, Result};

/// What to read from which layer for each image of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    images: Vec<Vec<Term>>,
    /// Whether the one entry stands for every image of a batch of any size.
    same: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    weight: f32,
    layer: String,
    kind: Kind,
}

impl Goal {
    pub(super) fn new(sums: &[Sum], same: bool) -> Result<Self> {
        let unresolved = || Error::invalid("the target", "one with its layers named", "one without");
        let term = |(weight, score): &(f32, super::Score)| {
            let layer = score.layer.clone().ok_or_else(unresolved)?;
            Ok(Term { weight: *weight, layer, kind: score.kind.clone() })
        };
        let sum = |Sum(terms): &Sum| terms.iter().map(term).collect();
        Ok(Self { images: sums.iter().map(sum).collect::<Result<_>>()?, same })
    }

    /// The layers to read, each once.
    pub(crate) fn layer_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for Term { layer, .. } in self.images.iter().flatten() {
            if !names.contains(layer) {
                names.push(layer.clone());
            }
        }
        names
    }

    /// The scores of a batch, `[batch]`.
    pub(crate) fn scores(&self, model: &dyn Model, images: Tensor<4>) -> Result<Vec<f32>> {
        let mut taps = Taps::new().record(self.layer_names());
        run(model, images.inner(), &mut taps)?;
        Ok(crate::host::values(self.read(&taps.into_recorded())?))
    }

    /// The scores from the activations of the layers, `[batch]`.
    pub(crate) fn read(&self, layers: &BTreeMap<String, Tensor<4>>) -> Result<Tensor<1>> {
        let names = self.layer_names();
        let mut activations = BTreeMap::new();
        for name in &names {
            let found = layers.get(name).cloned();
            let map = found.ok_or_else(|| Error::unknown_layer(name, layers.keys().cloned().collect()))?;
            activations.insert(name.as_str(), Activation::new(name, map));
        }
        let batch = activations.values().next().map_or(0, Activation::batch);
        if batch == 0 || !(self.same || self.images.len() == batch) {
            let expected = format!("one entry per image ({batch})");
            return Err(Error::invalid("the target", expected, self.images.len()));
        }
        if self.same {
            return self.sum(&self.images[0], &activations, 0, batch);
        }
        let mut parts = Vec::new();
        let mut start = 0;
        // Neighbours that want the same are read together.
        for same in self.images.chunk_by(|one, two| one == two) {
            parts.push(self.sum(&same[0], &activations, start, same.len())?);
            start += same.len();
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) })
    }

    fn sum(
        &self,
        terms: &[Term],
        activations: &BTreeMap<&str, Activation<'_>>,
        start: usize,
        len: usize,
    ) -> Result<Tensor<1>> {
        let mut sum: Option<Tensor<1>> = None;
        for Term { weight, layer, kind } in terms {
            let activation = activations.get(layer.as_str()).ok_or_else(|| {
                Error::unknown_layer(layer, activations.keys().map(|&name| name.into()).collect())
            })?;
            let score = kind.read(activation, start, len)?;
            let score = if *weight == 1.0 { score } else { score * *weight };
            sum = Some(match sum {
                Some(sum) => sum + score,
                None => score,
            });
        }
        sum.ok_or_else(|| Error::invalid("the target", "at least one score", "none"))
    }
}
