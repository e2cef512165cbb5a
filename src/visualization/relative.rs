//! A loss weighed against what is wanted.

use burn::tensor::Tensor;

use crate::Result;
use crate::losses::{ActivationMaximization, Loss, Scene};

/// A loss in units of a target's score at the time, whose size differs by orders of magnitude from unit to unit: so one
/// weight suits all of them. The score is a constant of the gradient.
pub(super) struct Relative<L> {
    pub(super) loss: L,
    pub(super) to: ActivationMaximization,
}

impl<L: Loss> Loss for Relative<L> {
    fn name(&self) -> String {
        self.loss.name()
    }

    fn layers(&self) -> Vec<String> {
        let mut layers = self.loss.layers();
        layers.extend(self.to.layers());
        layers
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        Ok(self.loss.build_loss(scene)? * self.to.build_loss(scene)?.detach().abs())
    }
}
