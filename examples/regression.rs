//! Looking into a regression: a small network learns to steer along a lane, and shows what would make it steer more to
//! the right, more to the left, and what keeps it as it is.
//!
//! ```text
//! cargo run --example regression
//! ```
//!
//! The output of a regression is not a class that is there or not: *increase*, *decrease* and *keep* are three
//! questions, which keras-vis asks by modifying the gradient.

mod common;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, activation::relu};
use ndarray::{Array2, Array4, Axis, s};
use rand::Rng;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{InputSpec, Stop, Taps};
use vis::optimizer::GradientModifier;
use vis::picture::{ColorMap, Grid, Sign, from_array, normalize, overlay_heat};
use vis::{Model, Optimizer};

const HEIGHT: usize = 48;
const WIDTH: usize = 64;

/// Three convolutions of stride 2 and a dense layer with one output: the steering, −1 for left to 1 for right.
#[derive(Module, Debug)]
struct Layers {
    convolutions: Vec<Conv2d>,
    dense: Linear,
}

impl Layers {
    fn new(device: &Device) -> Self {
        let convolution = |from, to| Conv2dConfig::new([from, to], [5, 5]).with_stride([2, 2]).init(device);
        let convolutions = vec![convolution(3, 8), convolution(8, 16), convolution(16, 16)];
        Self { convolutions, dense: LinearConfig::new(16 * 3 * 5, 1).init(device) }
    }

    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let rectified = |x, convolution: &Conv2d| relu(convolution.forward(x));
        let x = self.convolutions.iter().fold(image / 127.5 - 1.0, rectified);
        self.dense.forward(x.flatten(1, 3))
    }
}

/// The same for vis: the forward pass with its rectifier and its layers shown.
struct Driver {
    layers: Layers,
    input: InputSpec,
}

impl Model for Driver {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = image / 127.5 - 1.0;
        for (number, convolution) in (1..).zip(&self.layers.convolutions) {
            x = taps.relu(convolution.forward(x));
            x = taps.layer(&format!("conv{number}"), x)?;
        }
        let x = self.layers.dense.forward(x.flatten::<2>(1, 3));
        taps.layer("steering", x)?;
        Ok(())
    }
}

/// Views of a road through grass with a white line that bends, stones and bushes that mean nothing, and how far the line
/// bends, −1 to 1: `[n, 3, height, width]` in `0..255` and one number each.
fn roads(count: usize, seed: u64) -> (Array4<f32>, Vec<f32>) {
    let mut random = vis::random::stream(seed, 0);
    let mut images = Array4::zeros((count, 3, HEIGHT, WIDTH));
    let mut bends = Vec::new();
    for mut image in images.axis_iter_mut(Axis(0)) {
        let bend = random.random_range(-1.0..1.0_f32);
        let light = random.random_range(0.8..1.1);
        let mut paint = |row: usize, column: usize, colour: [f32; 3]| {
            for (channel, value) in colour.into_iter().enumerate() {
                image[[channel, row, column]] = value * light;
            }
        };
        let bushes: Vec<_> = (0..12)
            .map(|_| {
                (random.random_range(12..HEIGHT), random.random_range(0..WIDTH), random.random_range(1..4))
            })
            .collect();
        for row in 0..HEIGHT {
            // 0 at the horizon, 1 at the bottom.
            let near = (row as f32 - 12.0) / (HEIGHT as f32 - 13.0);
            let line = WIDTH as f32 / 2.0 + bend * 22.0 * (1.0 - near).powi(2);
            for column in 0..WIDTH {
                let aside = (column as f32 + 0.5 - line).abs();
                let bush = bushes.iter().any(|&(y, x, size): &(usize, usize, usize)| {
                    y.abs_diff(row) < size && x.abs_diff(column) < size
                });
                let colour = match () {
                    () if near < 0.0 => [130.0, 180.0, 230.0],
                    () if aside < 0.8 + 1.6 * near => [240.0, 240.0, 230.0],
                    () if bush => [40.0, 60.0, 30.0],
                    () if aside < 6.0 + 24.0 * near => [105.0, 105.0, 110.0],
                    () => [80.0, 140.0, 60.0],
                };
                paint(row, column, colour.map(|value| value + random.random_range(-8.0..8.0)));
            }
        }
        bends.push(bend);
    }
    (images.mapv_into(|value| value.clamp(0.0, 255.0)), bends)
}

fn train(device: &Device) -> Layers {
    let device = device.clone().autodiff();
    device.seed(0);
    let (mut layers, mut optimizer) = (Layers::new(&device), AdamConfig::new().init());
    let (images, bends) = roads(1024, 1);
    for step in 0..400 {
        let first = 32 * (step % 32);
        let images = common::host::tensor4(images.slice(s![first..first + 32, .., .., ..]), &device);
        let bends = Tensor::<1>::from_floats(&bends[first..first + 32], &device).reshape([32, 1]);
        let error = (layers.forward(images) - bends).square().mean();
        if step % 100 == 0 || step == 399 {
            println!("step {step:3}: mean squared error {:.4}", error.clone().inner().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(error.backward(), &layers);
        layers = optimizer.step(2e-3, layers, gradients);
    }
    layers.valid()
}

/// The mean of each pixel and its neighbours within two pixels.
fn smooth(image: Tensor<4>) -> Tensor<4> {
    let options = AvgPool2dConfig::new([5, 5]).with_strides([1, 1]).with_padding(PaddingConfig2d::Same);
    options.init().forward(image)
}

fn main() -> vis::Result<()> {
    let device = Device::default();
    let input = InputSpec::rgb(HEIGHT, WIDTH);
    let model = Driver { layers: train(&device), input };

    let (images, bends) = roads(64, 2);
    let steering = |images: &Array4<f32>| {
        model.classify(common::host::tensor4(images.view(), &device)).map(common::host::values)
    };
    let errors = steering(&images)?.into_iter().zip(&bends).map(|(got, bend)| (got - bend).abs());
    println!("new roads: steering is off by {:.3} on average", errors.sum::<f32>() / 64.0);

    // The hardest left, the straightest and the hardest right.
    let nearest = |to: f32| (0..64).min_by(|&a, &b| (bends[a] - to).abs().total_cmp(&(bends[b] - to).abs()));
    let (mut captions, mut pictures) = (Vec::new(), Vec::new());
    for chosen in [-0.8, 0.0, 0.8].into_iter().filter_map(nearest) {
        let image = images.slice(s![chosen..=chosen, .., .., ..]).to_owned();
        let photo = from_array(image.index_axis(Axis(0), 0), (0.0, 255.0))?;
        captions.push(format!("steers {:+.2}", steering(&image)?[0]));
        pictures.push(photo.clone());

        // The loss is minus the output, so its gradient is turned round first.
        let wanted = ActivationMaximization::new("steering", 0).into();
        let gradient = Gradient::new(&model, &wanted)
            .evaluate(common::host::tensor4(image.view(), &device))?
            .gradient
            .neg();
        for (name, modifier) in [
            ("more to the right", GradientModifier::Relu),
            ("more to the left", GradientModifier::Negate),
            ("as it is", GradientModifier::SmallValues),
        ] {
            // Convolutions of stride 2 give a gradient in checks: it is smoothed, without its sign if that plays no part.
            let gradient = match modifier {
                GradientModifier::SmallValues => smooth(gradient.clone().abs()),
                _ => smooth(gradient.clone()),
            };
            let map = common::host::array4(modifier.apply(gradient));
            // Over the colours, the largest; what is negative answers another question.
            let largest = |values: ndarray::ArrayView1<f32>| values.iter().fold(0.0_f32, |a, b| a.max(*b));
            let map: Array2<f32> = map.index_axis(Axis(0), 0).map_axis(Axis(0), largest);
            // One divided by the gradient spans many powers of ten.
            let map = if modifier == GradientModifier::SmallValues {
                map.mapv(|value| (1.0 + value).ln())
            } else {
                map
            };
            captions.push(name.to_owned());
            pictures.push(overlay_heat(
                &photo,
                normalize(map.view(), Sign::Unsigned, 99.0)?.view(),
                ColorMap::Inferno,
                0.7,
            )?);
        }

        // The question put to the optimizer: change the road a little.
        for (name, modifier) in
            [("made to steer right", None), ("made to steer left", Some(GradientModifier::Negate))]
        {
            let wanted = ActivationMaximization::new("steering", 0);
            let run = Optimizer::new(&model, wanted).seed_img(common::host::tensor4(image.view(), &device));
            let run = run.learning_rate(0.5).max_iter(20);
            let mut steps = match modifier {
                Some(modifier) => run.grad_modifier(modifier),
                None => run,
            }
            .steps()?;
            // Under a modified gradient the loss need not fall: the last image counts, not the best.
            let mut last = image.clone();
            for step in &mut steps {
                last = common::host::array4(step?.image);
            }
            captions.push(format!("{name}: {:+.2}", steering(&last)?[0]));
            pictures.push(from_array(last.index_axis(Axis(0), 0), (0.0, 255.0))?);
        }
    }
    let columns = pictures.len() / 3;
    let grid = Grid::new(&pictures).captions(captions).columns(columns).enlarge(3).caption_size(18.0);
    common::write(&grid.render()?, "images/regression.png")
}
