//! Which layers a method takes when none are named.

use crate::model::{Layer, Model};
use crate::{Error, Result};

/// The layers of a network by size of their maps, pooling and single positions left out: for VGG16 its five
/// blocks.
pub(super) struct Stages(Vec<Vec<Layer>>);

impl Stages {
    /// Costs one forward pass on a black image.
    pub(super) fn of(model: &dyn Model) -> Result<Self> {
        let mut stages: Vec<Vec<Layer>> = Vec::new();
        let layers = model.layers()?;
        if layers.is_empty() {
            return Err(Error::without_layers());
        }
        for layer in layers {
            let [_, height, width] = layer.shape;
            if height * width == 1 || layer.kind.contains("pool") || layer.name.contains("pool") {
                continue;
            }
            match stages.last_mut() {
                Some(stage) if stage[0].shape[1..] == layer.shape[1..] => stage.push(layer),
                _ => stages.push(vec![layer]),
            }
        }
        Ok(Self(stages))
    }

    /// The last layer of stage `index`, counted from 0, or of the last stage.
    pub(super) fn last_of(&self, index: usize) -> Option<String> {
        Some(self.stage(index)?.last()?.name.clone())
    }

    /// The layer in the middle of stage `index`, or of the last stage.
    pub(super) fn middle_of(&self, index: usize) -> Option<String> {
        let stage = self.stage(index)?;
        Some(stage[stage.len() / 2].name.clone())
    }

    /// The first layer of each of the first five stages.
    pub(super) fn firsts(&self) -> Vec<String> {
        self.0.iter().take(5).map(|stage| stage[0].name.clone()).collect()
    }

    fn stage(&self, index: usize) -> Option<&Vec<Layer>> {
        self.0.get(index).or(self.0.last())
    }
}
