//! Time and peak memory of one iteration of activation maximisation on VGG16's `block5_conv3` at 224×224.
//!
//! `cargo bench --bench step` runs each case in a process of its own, so that peaks of memory don't mix, the
//! cases in turn (A B C, A B C, …), because machines are noisy, and prints a table of medians.
//!
//! The case `tracked` computes the gradients of the weights as well, as a framework does unless told otherwise:
//! what it takes more is what frozen weights save.

mod common;

use std::process::Command;
use std::time::Instant;

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, activation::relu, module};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{InputSpec, Model, Stop, Taps, Vgg16};

const CASES: [(&str, usize); 4] = [("frozen", 1), ("frozen", 8), ("plain burn", 1), ("tracked", 1)];
const ROUNDS: usize = 3;
const STEPS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, case, batch] = &arguments[..] {
        return child(case, batch.parse().unwrap());
    }
    let mut measured = vec![Vec::new(); CASES.len()];
    for _ in 0..ROUNDS {
        for (index, (case, batch)) in CASES.iter().enumerate() {
            let child = Command::new(&arguments[0]).args([*case, &batch.to_string()]).output().unwrap();
            let output = String::from_utf8(child.stdout).unwrap();
            let numbers: Vec<f64> = output.split_whitespace().map(|number| number.parse().unwrap()).collect();
            assert_eq!(numbers.len(), STEPS + 1, "{}", String::from_utf8_lossy(&child.stderr));
            measured[index].push(numbers);
        }
    }
    println!("| case | batch | seconds a step (median) | least | peak memory in MB |");
    println!("| --- | --- | --- | --- | --- |");
    for ((case, batch), rounds) in CASES.iter().zip(measured) {
        let mut times: Vec<f64> = rounds.iter().flat_map(|numbers| &numbers[..STEPS]).copied().collect();
        times.sort_by(f64::total_cmp);
        let peak = rounds.iter().map(|numbers| numbers[STEPS]).fold(0.0, f64::max);
        println!("| {case} | {batch} | {:.3} | {:.3} | {peak:.0} |", times[times.len() / 2], times[0]);
    }
}

/// Prints the seconds of each step after one to warm up, then the peak of resident memory in MB.
fn child(case: &str, batch: usize) {
    let device = Device::default();
    let model: Box<dyn Model> = match case {
        "frozen" => Box::new(Vgg16::bundled(&device).unwrap()),
        "plain burn" => Box::new(Trunk::new(&device)),
        _ => Box::new(Trunk::new(&device.autodiff()).tracked()),
    };
    let losses = ActivationMaximization::new("block5_conv3", 0).into();
    let image = vis::random::noise([batch, 3, 224, 224], (0.0, 255.0), 0, 0, &model.device().inner());
    for step in 0..=STEPS {
        let start = Instant::now();
        let evaluation = Gradient::new(&*model, &losses).evaluate(image.clone()).unwrap();
        assert!(evaluation.gradient.abs().max().into_scalar::<f32>().is_finite());
        if step > 0 {
            println!("{}", start.elapsed().as_secs_f64());
        }
    }
    println!("{}", common::peak_memory_in_mb());
}

/// The trunk of VGG16 in ordinary Burn operations, with weights drawn at random.
struct Trunk {
    input: InputSpec,
    convolutions: Vec<(Tensor<4>, Tensor<1>)>,
}

/// The number of convolutions and the output channels of each block.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

impl Trunk {
    fn new(device: &Device) -> Self {
        let mut channels = 3;
        let mut convolutions = Vec::new();
        for (count, width) in BLOCKS {
            for _ in 0..count {
                let deviation = (2.0 / (9 * channels) as f32).sqrt();
                let noise = vis::random::noise([width, channels, 3, 3], (-1.0, 1.0), 0, 0, device);
                convolutions.push((noise * (deviation / 0.045), Tensor::zeros([width], device)));
                channels = width;
            }
        }
        Self { input: InputSpec::rgb(224, 224), convolutions }
    }

    fn tracked(mut self) -> Self {
        for (weight, bias) in &mut self.convolutions {
            *weight = weight.clone().detach().require_grad();
            *bias = bias.clone().detach().require_grad();
        }
        self
    }
}

impl Model for Trunk {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn device(&self) -> Device {
        self.convolutions[0].0.device()
    }

    fn is_frozen(&self) -> bool {
        true // convolutions alone don't train
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = image / 255.0 - 0.5;
        let mut convolutions = self.convolutions.iter().cloned();
        for (block, (count, _)) in (1..).zip(BLOCKS) {
            for (index, (weight, bias)) in (1..).zip(convolutions.by_ref().take(count)) {
                let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
                x = relu(module::conv2d(x, weight, Some(bias), same));
                x = taps.layer(&format!("block{block}_conv{index}"), x)?;
            }
            x = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
        }
        Ok(())
    }
}
