//! A target's score as a loss: what an attribution differentiates.

use burn::tensor::Tensor;

use super::{Loss, Scene};
use crate::Result;
use crate::target::Goal;

/// Its value *is* the score, because guided and deconvolution rules keep what raises it: minus the score would give
/// another map, not the same one with the other sign.
impl Loss for Goal {
    fn name(&self) -> String {
        "score".into()
    }

    fn layers(&self) -> Vec<String> {
        self.layer_names()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let layers = self.layer_names().into_iter().map(|name| Ok((name.clone(), scene.layer(&name)?)));
        self.read(&layers.collect::<Result<_>>()?)
    }
}
