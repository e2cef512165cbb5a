//! Layers as PyTorch stores them: by the names of its modules, batch normalisation folded into the convolution before it.

use burn::tensor::Tensor;

use super::layers::{Convolution, Dense};
use super::weights::Parameters;
use crate::Result;

/// What PyTorch adds to a variance before the root, where a network does not say otherwise.
const EPSILON: f32 = 1e-5;

/// The number of outputs of a layer: as many as the file has entries in a vector of it, its bias or its gains.
pub(super) fn outputs(parameters: &Parameters, vector: &str, standard: usize) -> usize {
    match parameters.shape(vector) {
        Some(&[outputs]) if outputs > 0 => outputs,
        _ => standard,
    }
}

/// A convolution without a bias and the batch normalisation after it, as one convolution: with the gains `γ`, biases `β`,
/// running means `μ` and variances `σ²` of the norm, its weight is `γ / √(σ² + ε) · w` and its bias
/// `β − γ / √(σ² + ε) · μ`.
pub(super) fn convolution(
    parameters: &mut Parameters,
    convolution: &str,
    norm: &str,
    shape: [usize; 4],
) -> Result<Convolution> {
    let channels = [shape[0]];
    let weight = parameters.tensor(&format!("{convolution}.weight"), shape)?;
    let gain = parameters.ones(&format!("{norm}.weight"), channels)?;
    let bias = parameters.tensor(&format!("{norm}.bias"), channels)?;
    let mean = parameters.tensor(&format!("{norm}.running_mean"), channels)?;
    let variance = parameters.ones(&format!("{norm}.running_var"), channels)?;
    let is_whole = [&gain, &bias, &mean, &variance].iter().all(|vector| vector.dims() == channels);
    if weight.dims() != shape || !is_whole {
        return Ok(Convolution::new(weight, None)); // which the file is refused for
    }
    let scale = gain / (variance + EPSILON).sqrt();
    let bias = bias - mean * scale.clone();
    Ok(Convolution::new(weight * scale.reshape([shape[0], 1, 1, 1]), Some(bias)))
}

/// A dense layer.
pub(super) fn dense(parameters: &mut Parameters, name: &str, [outputs, inputs]: [usize; 2]) -> Result<Dense> {
    let weight = parameters.tensor(&format!("{name}.weight"), [outputs, inputs])?;
    let bias = parameters.tensor(&format!("{name}.bias"), [outputs])?;
    Ok(Dense::new(weight, bias))
}

/// Normalisation of each token over its channels.
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    gain: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
}

impl LayerNorm {
    pub(super) fn load(
        parameters: &mut Parameters,
        name: &str,
        channels: usize,
        epsilon: f32,
    ) -> Result<Self> {
        let gain = parameters.ones(&format!("{name}.weight"), [channels])?;
        let bias = parameters.tensor(&format!("{name}.bias"), [channels])?;
        Ok(Self { gain, bias, epsilon })
    }

    /// `(x − mean) / √(variance + ε) · gain + bias` over the last axis, and the number of its parameters.
    pub(super) fn forward(&self, x: Tensor<3>) -> (Tensor<3>, usize) {
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let y = centred / (variance + self.epsilon).sqrt();
        (y * self.gain.clone().unsqueeze() + self.bias.clone().unsqueeze(), 2 * self.gain.dims()[0])
    }
}
