//! Time and peak memory of one iteration of activation maximisation on VGG16's `block5_conv3` at 224×224.
//!
//! `cargo bench --bench step` runs each case in a process of its own, so that peaks of memory don't mix, and
//! prints a table. Cases alternate (A B A B …), because machines are noisy; compare medians by their ratio.
//!
//! The case `tracked` keeps the gradients of the weights as a framework would by default: what it takes more
//! is what freezing the weights saves.

use std::process::Command;
use std::time::Instant;

use burn::tensor::{
    Device, Tensor, TensorData,
    activation::relu,
    module,
    ops::{ConvOptions, MaxPoolOptions},
};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{InputSpec, Model, Stop, Taps, run};

/// Output channels of the convolutions of each block.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
const ROUNDS: usize = 3;
const STEPS: usize = 3;

/// The trunk of VGG16 with weights drawn at random, in plain Burn operations.
struct Trunk {
    input: InputSpec,
    convolutions: Vec<(Tensor<4>, Tensor<1>)>,
}

impl Trunk {
    fn new(device: &Device) -> Self {
        let mut channels = 3;
        let mut convolutions = Vec::new();
        for (count, width) in BLOCKS {
            for _ in 0..count {
                let deviation = (2.0 / (9 * channels) as f32).sqrt();
                let shape = [width, channels, 3, 3];
                let seed = convolutions.len() as u64;
                let weight = vis::random::noise(shape, (-1.0, 1.0), seed, 0, device) * (deviation * 12.0);
                convolutions.push((weight, Tensor::zeros([width], device)));
                channels = width;
            }
        }
        Self { input: InputSpec::rgb(224, 224), convolutions }
    }
}

impl Model for Trunk {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = image / 255.0 - 0.5;
        let mut weights = self.convolutions.iter().cloned();
        for (block, (count, _)) in BLOCKS.into_iter().enumerate() {
            for conv in 0..count {
                let Some((weight, bias)) = weights.next() else { return Ok(()) };
                let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
                x = relu(module::conv2d(x, weight, Some(bias), same));
                x = taps.layer(&format!("block{}_conv{}", block + 1, conv + 1), x)?;
            }
            x = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
        }
        Ok(())
    }
}
