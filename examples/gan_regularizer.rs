//! What a discriminator and a generator of digits do for pictures that make a classifier sure.
//!
//! ```text
//! cargo run --example gan_regularizer           # the figure: images/gan_regularizer.png, and a table
//! ```
//!
//! Rows of digits, each optimised until the classifier is sure: over pixels alone; kept smooth and dark by total variation
//! and an L-p norm, the regularizers of keras-vis; with a little total variation; with as much of it and the
//! discriminator, which keeps the image among the digits; and drawn by the generator, whose code is what is optimised. The
//! last shows the real digit nearest to each of the row before. All pixels are squeezed into `0..1` by a sigmoid, so what
//! is measured is what is seen.
//!
//! The numbers are the mean confidence of the classifier, and the mean distance to the nearest real digit among 600 of the
//! same class, the root of the sum of squares:
//!
//! ```text
//!                                                  confidence   nearest real of 600 a class
//! pixels alone                                          1.000   13.43
//! total variation (200) and L-p norm (10)               1.000   9.44
//! total variation (20)                                  1.000   12.83
//! total variation (20) and the discriminator (10)       1.000   6.90
//! by the generator                                      1.000   6.63
//! a real digit to the nearest other                             4.68
//! ```

mod common;

use burn::optim::AdamConfig;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use vis::losses::{ActivationMaximization, LPNorm, Losses, Realism, TotalVariation};
use vis::model::{Digits, Discriminator, Generator};
use vis::optimizer::BurnUpdate;
use vis::parametrization::Parametrization;
use vis::picture::{Grid, from_tensor};
use vis::{Model, Optimizer, losses};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Default::default();
    let model = Digits::bundled(&device)?;
    let wanted = || ActivationMaximization::per_image("predictions", 0..10);
    let run = |losses: Losses| {
        let optimizer = Optimizer::new(&model, losses).batch(10).parametrization(Bounded);
        Ok::<_, vis::Error>(optimizer.update(adam()).learning_rate(0.1).max_iter(300).minimize()?.image)
    };
    let smooth = || losses![(wanted(), 1.0), (TotalVariation::default(), 20.0)];
    let realism = Realism::new(Discriminator::bundled(&device)?, (0.0, 1.0));
    let keras_vis = losses![(wanted(), 1.0), (LPNorm::default(), 10.0), (TotalVariation::default(), 200.0)];
    let rows = [
        ("pixels alone", run(wanted().into())?),
        ("total variation (200) and L-p norm (10)", run(keras_vis)?),
        ("total variation (20)", run(smooth())?),
        ("total variation (20) and the discriminator (10)", run(smooth().with(realism, 10.0))?),
        ("by the generator", best_of_codes(&model, &Generator::bundled(&device)?)?),
    ];

    let real = real_digits("examples/data/digits.png")?;
    println!("{:48} {:>10}   nearest real of 600 a class", "", "confidence");
    let (mut figure, mut nearest) = (Vec::new(), Vec::new());
    for (name, images) in rows {
        let confidence = common::host::array2(softmax(model.classify(images.clone())?, 1));
        let confidence: Vec<f32> = (0..10).map(|digit| confidence[[digit, digit]]).collect();
        let found: Vec<(f32, &Vec<f32>)> = common::host::values(images.clone())
            .chunks(784)
            .zip(&real)
            .map(|(image, real)| closest(image, real))
            .collect();
        let sure = confidence.iter().sum::<f32>() / 10.0;
        let far = found.iter().map(|(distance, _)| distance).sum::<f32>() / 10.0;
        println!("{name:48} {sure:10.3}   {far:.2}");
        nearest = found.into_iter().flat_map(|(_, digit)| digit.iter().copied()).collect();
        let captions = confidence.iter().map(|confidence| format!("{confidence:.2}")).collect();
        let title = format!("{name}: confidence {sure:.2}, {far:.1} from the nearest real digit");
        figure.push(row(from_tensor(images, (0.0, 1.0))?, captions, title)?);
    }
    let among: f32 = real.iter().map(|class| closest(&class[0], &class[1..]).0).sum::<f32>() / 10.0;
    println!("{:48} {:>10}   {among:.2}", "a real digit to the nearest other", "");
    let nearest = Tensor::from_data(TensorData::new(nearest, [10, 1, 28, 28]), &device);
    let title = format!("the real digits nearest to these; such a digit is {among:.1} from the next");
    figure.push(row(from_tensor(nearest, (0.0, 1.0))?, vec![String::new(); 10], title)?);

    common::write(&Grid::new(&figure).columns(1).border(0).render()?, "images/gan_regularizer.png")?;
    Ok(())
}

/// Ten pictures with their captions under a title.
fn row(pictures: Vec<RgbImage>, captions: Vec<String>, title: String) -> vis::Result<RgbImage> {
    Grid::new(&pictures).captions(captions).title(title).columns(10).enlarge(3).render()
}

/// An image whose pixels are squeezed into `0..1` by a sigmoid.
#[derive(Debug)]
struct Bounded;

impl Parametrization for Bounded {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        // Dark noise, as the ground of the digits is black.
        vis::random::noise(shape, (-1.0, 1.0), seed, first, device) - 2.0
    }

    fn encode(&self, image: Tensor<4>) -> vis::Result<Tensor<4>> {
        let inside = image.clamp(1e-4, 1.0 - 1e-4);
        Ok((inside.clone() / (inside.neg() + 1.0)).log())
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        sigmoid(variable)
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

fn adam() -> BurnUpdate<impl burn::optim::Optimizer> {
    BurnUpdate::new(AdamConfig::new().build())
}

/// The image the classifier is surest of, of several codes for each digit.
fn best_of_codes(model: &Digits, generator: &Generator) -> vis::Result<Tensor<4>> {
    const TRIES: usize = 8;
    let wanted = (0..10).flat_map(|digit| [digit; TRIES]);
    let found = Optimizer::new(model, ActivationMaximization::per_image("predictions", wanted))
        .batch(10 * TRIES)
        .parametrization(generator.clone())
        .update(adam())
        .learning_rate(0.05)
        .max_iter(100)
        .minimize()?;
    let best = found.best_loss.chunks(TRIES).enumerate().map(|(digit, losses)| {
        let least = (0..TRIES).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap_or(0);
        found.image.clone().narrow(0, digit * TRIES + least, 1)
    });
    Ok(Tensor::cat(best.collect(), 0))
}

/// The digits of each class, each 28×28 in `0..1`.
fn real_digits(path: &str) -> Result<Vec<Vec<Vec<f32>>>, Box<dyn std::error::Error>> {
    let sheet = image::open(path)?.into_luma8();
    let digit = |row: u32, column: u32| {
        let cell = image::imageops::crop_imm(&sheet, 28 * column, 28 * row, 28, 28).to_image();
        cell.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0).collect()
    };
    let class = |class: u32| (0..600).map(|index| digit(6 * class + index / 100, index % 100)).collect();
    Ok((0..10).map(class).collect())
}

/// The nearest of these images and its distance, the root of the sum of squares.
fn closest<'a>(image: &[f32], others: &'a [Vec<f32>]) -> (f32, &'a Vec<f32>) {
    let distance =
        |other: &Vec<f32>| image.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    others
        .iter()
        .map(|other| (distance(other), other))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .expect("there are 600 digits of each class")
}
