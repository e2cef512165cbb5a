//! What a discriminator and a generator of digits do for pictures that make a classifier sure.
//!
//! ```text
//! cargo run --example gan_regularizer           # the figure: images/gan_regularizer.png, and a table
//! ```
//!
//! Four rows of digits, each optimised until the classifier is sure: over pixels alone; kept smooth by total
//! variation and an L-p norm; kept among the digits by the discriminator; and drawn by the generator, whose code is
//! what is optimised. A fifth shows the real digit nearest to each of the last row. The table gives the mean
//! confidence of the classifier and the mean distance to the nearest of 6000 real digits of the same class.

use burn::optim::AdamConfig;
use burn::tensor::{Tensor, activation::softmax};
use image::RgbImage;
use vis::losses::{ActivationMaximization, LPNorm, Losses, Realism, TotalVariation};
use vis::model::{Digits, Discriminator, Generator};
use vis::optimizer::BurnUpdate;
use vis::picture::{Grid, from_tensor, save};
use vis::{Model, Optimizer, host, losses};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Default::default();
    let model = Digits::bundled(&device)?;
    let wanted = || ActivationMaximization::per_image("predictions", 0..10);
    let run = |losses: Losses| {
        Optimizer::new(&model, losses).batch(10).update(adam()).learning_rate(0.03).max_iter(300)
    };

    let natural = |weight: f32| {
        let discriminator = Discriminator::bundled(&device)?;
        Ok::<_, vis::Error>(losses![
            (wanted(), 1.0),
            (TotalVariation::default(), 20.0),
            (Realism::new(discriminator, (0.0, 1.0)), weight),
        ])
    };
    let rows = [
        ("pixels alone", run(wanted().into()).minimize()?.image),
        (
            "with total variation and L-p norm",
            run(losses![(wanted(), 1.0), (LPNorm::default(), 10.0), (TotalVariation::default(), 200.0)])
                .minimize()?
                .image,
        ),
        ("with the discriminator", run(natural(10.0)?).minimize()?.image),
        ("by the generator", best_of_codes(&model, &Generator::bundled(&device)?)?),
    ];

    let real = real_digits("examples/data/digits.png")?;
    println!("{:34} {:>10} {:>22}", "", "confidence", "distance to a real one");
    let (mut pictures, mut captions): (Vec<RgbImage>, Vec<String>) = (Vec::new(), Vec::new());
    let mut nearest = Vec::new();
    for (name, images) in &rows {
        let images = images.clone().clamp(0.0, 1.0);
        let confidence = host::array2(softmax(model.classify(images.clone())?, 1));
        let found: Vec<(f32, &Vec<f32>)> = host::values(images.clone())
            .chunks(784)
            .zip(&real)
            .map(|(image, real)| closest(image, real))
            .collect();
        let mean_confidence: f32 = (0..10).map(|digit| confidence[[digit, digit]]).sum::<f32>() / 10.0;
        let mean_distance: f32 = found.iter().map(|(distance, _)| distance).sum::<f32>() / 10.0;
        println!("{name:34} {mean_confidence:10.3} {mean_distance:22.2}");
        nearest = found.iter().flat_map(|(_, digit)| digit.iter().copied()).collect();
        pictures.extend(from_tensor(images, (0.0, 1.0))?);
        captions.extend((0..10).map(|digit| format!("{digit}: {:.2}", confidence[[digit, digit]])));
    }
    // What the distance of a real digit to the nearest other one is.
    let among: Vec<f32> = real.iter().map(|class| closest(&class[0], &class[1..]).0).collect();
    println!(
        "{:34} {:>10} {:22.2}",
        "a real digit to the nearest other",
        "",
        among.iter().sum::<f32>() / 10.0
    );
    let nearest = Tensor::from_data(burn::tensor::TensorData::new(nearest, [10, 1, 28, 28]), &device);
    pictures.extend(from_tensor(nearest, (0.0, 1.0))?);
    captions.extend((0..10).map(|_| "real".to_owned()));

    save(
        &Grid::new(&pictures).captions(captions).columns(10).enlarge(3).render()?,
        "images/gan_regularizer.png",
    )?;
    Ok(())
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
