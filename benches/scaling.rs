//! How time and memory grow with the size of the image, the batch and the threads.
//!
//! `cargo bench --bench scaling` prints a Markdown table: one step of activation maximisation on VGG16's
//! `block5_conv3`, and the gradient of a class of EfficientNet-Lite0 (up to 512 pixels), each case in a process of
//! its own.

use std::process::Command;
use std::time::Instant;

use burn::tensor::Device;
use vis::Model;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{EfficientNetLite0, Vgg16};

/// Side of the image, batch, threads.
const CASES: [[usize; 3]; 13] = [
    [128, 1, 2],
    [224, 1, 2],
    [224, 1, 1],
    [256, 1, 2],
    [512, 1, 2],
    [768, 1, 2],
    [1024, 1, 2],
    [1024, 1, 1],
    [224, 4, 2],
    [224, 8, 2],
    [224, 16, 2],
    [224, 32, 2],
    [224, 64, 2],
];
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<String> =
        std::env::args().filter(|argument| !argument.starts_with("--bench")).collect();
    if let [_, network, side, batch] = &arguments[..] {
        return child(network, side.parse().unwrap(), batch.parse().unwrap());
    }
    println!("| network | image | batch | threads | seconds | seconds an image | peak memory in MB |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for network in ["VGG16", "EfficientNet-Lite0"] {
        for [side, batch, threads] in CASES {
            let output = Command::new(&arguments[0])
                .args([network, &side.to_string(), &batch.to_string()])
                .env("RAYON_NUM_THREADS", threads.to_string())
                .output()
                .unwrap();
            let numbers: Vec<f64> = String::from_utf8(output.stdout)
                .unwrap()
                .split_whitespace()
                .map(|number| number.parse().unwrap())
                .collect();
            let [seconds, memory] = numbers[..] else {
                println!("| {network} | {side}×{side} | {batch} | {threads} | too large | | |");
                continue;
            };
            let each = seconds / batch as f64;
            println!(
                "| {network} | {side}×{side} | {batch} | {threads} | {seconds:.3} | {each:.3} | {memory:.0} |"
            );
        }
    }
}

/// Prints the median seconds and the peak of resident memory in MB.
fn child(network: &str, side: usize, batch: usize) {
    let device = Device::default();
    let (model, losses): (Box<dyn Model>, _) = match network {
        "VGG16" => (
            Box::new(Vgg16::bundled(&device).unwrap()),
            ActivationMaximization::new("block5_conv3", 0),
        ),
        _ => (
            Box::new(EfficientNetLite0::with_random_weights(0, &device).unwrap()),
            ActivationMaximization::new("predictions", 285),
        ),
    };
    let losses = losses.into();
    let image = vis::random::noise([batch, 3, side, side], (0.0, 255.0), 0, 0, &device);
    let mut seconds: Vec<f64> = (0..=RUNS)
        .map(|_| {
            let start = Instant::now();
            let gradient = Gradient::new(&*model, &losses).evaluate(image.clone()).unwrap().gradient;
            assert!(gradient.abs().max().into_scalar::<f32>().is_finite());
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let memory = line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0;
    println!("{} {memory}", seconds[seconds.len() / 2]);
}
