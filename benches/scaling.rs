//! How time and memory grow with the size of the image, the batch and the threads.
//!
//! `cargo bench --bench scaling` prints Markdown tables and draws them into `images/scaling.png`: one step of activation
//! maximisation on VGG16's `block5_conv3`, and the gradient of a class of EfficientNet-Lite0, each case in a process of
//! its own.

mod common;

use std::process::Command;
use std::time::Instant;

use burn::tensor::Device;
use vis::Model;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{EfficientNetLite0, Vgg16};
use vis::picture::Grid;

// The library draws the losses of a run with it, and keeps it to itself.
#[path = "../src/picture"]
#[allow(dead_code, reason = "two files of the library, of which a figure needs a part")]
mod picture {
    mod caption;
    pub(crate) mod plot;
}
use picture::plot::Plot;
use vis::{Error, Result};

const NETWORKS: [&str; 2] = ["VGG16", "EfficientNet-Lite0"];
/// The sides of images are one to eight times this.
const UNIT: usize = 128;
/// Batches are the powers of two up to this one.
const LARGEST_BATCH: u32 = 6;
const RUNS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().filter(|argument| !argument.starts_with("--bench")).collect();
    if let [_, network, side, batch] = &arguments[..] {
        child(network, side.parse()?, batch.parse()?);
        return Ok(());
    }
    let all = std::thread::available_parallelism()?.get();
    println!("| network | image | batch | threads | seconds | seconds an image | peak memory in MB |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let row = |network: &str, side: usize, batch: usize, threads: usize| -> [f32; 2] {
        let [seconds, memory] = measure(&arguments[0], network, side, batch, threads);
        let each = seconds / batch as f32;
        println!(
            "| {network} | {side}×{side} | {batch} | {threads} | {seconds:.3} | {each:.3} | {memory:.0} |"
        );
        [each, memory]
    };
    for network in NETWORKS {
        row(network, 224, 1, 1);
        row(network, 8 * UNIT, 1, 1);
    }
    let mut plots = Vec::new();
    // The first point of a series is at 0, where there is no image.
    let sides = NETWORKS.map(|network| {
        let measured = (1..=8).map(|times| row(network, times * UNIT, 1, all));
        std::iter::once([f32::NAN; 2]).chain(measured).collect::<Vec<_>>()
    });
    let batches = NETWORKS.map(|network| {
        (0..=LARGEST_BATCH).map(|power| row(network, 224, 1 << power, all)).collect::<Vec<_>>()
    });
    let of_sides = format!("side of the image, in {UNIT} pixels");
    for (measured, x) in [(&sides, of_sides.as_str()), (&batches, "logarithm of the batch to base 2")] {
        for (index, title) in ["seconds an image", "peak memory in MB"].into_iter().enumerate() {
            let mut plot = Plot::new(title).x_label(x).size(640, 400);
            for (network, points) in NETWORKS.iter().zip(measured) {
                let points: Vec<f32> = points.iter().map(|point| point[index]).collect();
                plot = plot.series(*network, &points);
            }
            plots.push(plot.render()?);
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/images/scaling.png");
    vis::picture::save(&Grid::new(&plots).columns(2).render()?, path)?;
    println!("wrote {path}");
    Ok(())
}

/// The median seconds and the peak of resident memory in MB; not a number where the case was too large.
fn measure(program: &str, network: &str, side: usize, batch: usize, threads: usize) -> [f32; 2] {
    let output = Command::new(program)
        .args([network, &side.to_string(), &batch.to_string()])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output()
        .unwrap();
    let numbers = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f32> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap_or([f32::NAN; 2])
}

/// Prints the median seconds and the peak of resident memory in MB.
fn child(network: &str, side: usize, batch: usize) {
    let device = Device::default();
    let (model, losses): (Box<dyn Model>, _) = match network {
        "VGG16" => {
            (Box::new(Vgg16::bundled(&device).unwrap()), ActivationMaximization::new("block5_conv3", 0))
        }
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
    println!("{} {}", seconds[seconds.len() / 2], common::peak_memory_in_mb());
}
