//! What sums are divided by: every axis counts, negative scores too, and nothing at all is no division by zero.

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{Cam, Formula};
use vis::gradient::Gradient;
use vis::losses::{
    ActivationMaximization, BestMatch, Caricature, Content, LPNorm, Losses, Style, TotalVariation,
};
use vis::model::{InputSpec, Stop, Taps};
use vis::optimizer::Normalization;
use vis::{Loss, Model, Optimizer, Scene};

use crate::support::{Function, assert_close, device, energy, identity, tensor};

/// Half the squared distance from black: its gradient is the image.
struct Bowl;

impl Loss for Bowl {
    fn name(&self) -> String {
        "bowl".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        Ok(scene.image().square().sum_dims(&[1, 2, 3]).reshape([scene.batch()]) / 2.0)
    }
}

/// Two images of three channels of 2 × 5, of other sizes each, with negative values.
fn images() -> Vec<f32> {
    (0..60).map(|k| ((k * 17) % 23) as f32 - 9.0 + if k < 30 { 0.0 } else { 4.0 * (k % 3) as f32 }).collect()
}

const SHAPE: [usize; 4] = [2, 3, 2, 5];

fn lengths(images: &[f32]) -> Vec<f32> {
    images.chunks(30).map(|image| image.iter().map(|v| v * v).sum::<f32>().sqrt()).collect()
}

#[test]
fn gradients_are_normalised_over_channels_rows_and_columns_of_each_image() {
    let model = identity([3, 2, 5]);
    let values = images();
    for (normalization, size) in [(Normalization::L2, 1.0), (Normalization::RootMeanSquare, 30.0_f32.sqrt())]
    {
        let run = Optimizer::new(&model, Bowl).seed_img(tensor(&values, SHAPE)).max_iter(1);
        let found = crate::host::values(run.normalize(normalization).minimize().unwrap().gradient);
        for (image, length) in lengths(&values).into_iter().enumerate() {
            let part = image * 30..image * 30 + 30;
            let expected: Vec<f32> = values[part.clone()].iter().map(|value| value / length * size).collect();
            assert_close(&found[part], &expected, 1e-5);
        }
    }
}

#[test]
fn a_gradient_of_zero_is_normalised_to_zero() {
    let model = identity([3, 2, 5]);
    for normalization in [Normalization::L2, Normalization::RootMeanSquare, Normalization::None] {
        let run = Optimizer::new(&model, Bowl).seed_img(Tensor::zeros(SHAPE, &device())).max_iter(3);
        let result = run.normalize(normalization).minimize().unwrap();
        assert_eq!(crate::host::values(result.gradient), [0.0; 60], "{normalization:?}");
        assert_eq!(crate::host::values(result.image), [0.0; 60], "{normalization:?}");
        assert_eq!(result.zero_gradient, [true, true]);
    }
}

/// The value of a loss for images that are a layer themselves, and its gradient.
fn values_and_gradient(loss: impl Loss + 'static, values: &[f32], shape: [usize; 4]) -> (Vec<f32>, Vec<f32>) {
    let model = identity([shape[1], shape[2], shape[3]]);
    let losses = Losses::from(loss);
    let found = Gradient::new(&model, &losses).evaluate(tensor(values, shape)).unwrap();
    (found.losses.totals(), crate::host::values(found.gradient))
}

#[test]
fn content_is_the_squared_distance_over_the_squared_length_of_the_photo() {
    let model = identity([3, 2, 5]);
    let photo: Vec<f32> = (0..30).map(|k| ((k * 7) % 11) as f32 - 4.0).collect();
    let content = Content::new(&model, tensor(&photo, [1, 3, 2, 5]), "output").unwrap();
    let (found, _) = values_and_gradient(content, &images(), SHAPE);
    let length: f32 = photo.iter().map(|v| v * v).sum();
    let expected: Vec<f32> = images()
        .chunks(30)
        .map(|image| image.iter().zip(&photo).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / length)
        .collect();
    assert_close(&found, &expected, 1e-4 * expected[1]);
    // One photo for each image: each is measured by its own.
    let both: Vec<f32> = photo.iter().copied().chain(photo.iter().map(|value| 2.0 - value)).collect();
    let content = Content::new(&model, tensor(&both, SHAPE), "output").unwrap();
    let (found, _) = values_and_gradient(content, &images(), SHAPE);
    let expected: Vec<f32> = images()
        .chunks(30)
        .zip(both.chunks(30))
        .map(|(image, photo)| {
            let away: f32 = image.iter().zip(photo).map(|(a, b)| (a - b).powi(2)).sum();
            away / photo.iter().map(|v| v * v).sum::<f32>()
        })
        .collect();
    assert_close(&found, &expected, 1e-4 * expected[1].max(expected[0]));
}

#[test]
fn content_of_a_photo_in_which_the_layer_is_all_zero_is_compared_absolutely() {
    // A rectifier shows nothing of a negative photo. Then L = Σ relu(x)², and its slope 2·relu(x).
    let model =
        Function(InputSpec::new([3, 2, 5], (-20.0, 20.0)), |x: Tensor<4>, taps: &mut Taps| taps.relu(x));
    let dark = Tensor::full([1, 3, 2, 5], -3.0, &device());
    let losses = Losses::from(Content::new(&model, dark, "output").unwrap());
    let found = Gradient::new(&model, &losses).evaluate(tensor(&images(), SHAPE)).unwrap();
    let seen: Vec<f32> = images().iter().map(|value| value.max(0.0)).collect();
    let expected: Vec<f32> = seen.chunks(30).map(|image| image.iter().map(|v| v * v).sum()).collect();
    assert_close(&found.losses.totals(), &expected, 1e-2);
    let slope: Vec<f32> = seen.iter().map(|value| 2.0 * value).collect();
    assert_close(&crate::host::values(found.gradient), &slope, 1e-4);
}

#[test]
fn losses_that_compare_with_a_photo_are_finite_where_the_layer_is_all_zero() {
    let model =
        Function(InputSpec::new([3, 2, 5], (-20.0, 20.0)), |x: Tensor<4>, taps: &mut Taps| taps.relu(x));
    let dark = || Tensor::full([1, 3, 2, 5], -3.0, &device());
    let bright = || tensor(&images()[..30], [1, 3, 2, 5]);
    let style = |painting| Style::new(&model, painting, [("output", 1.0)]).unwrap().relative();
    for (name, photo, image) in [("dark photo", dark(), bright()), ("dark image", bright(), dark())] {
        for losses in [
            Losses::from(Content::new(&model, photo.clone(), "output").unwrap()),
            Losses::from(Caricature::new(&model, photo.clone(), "output").unwrap()),
            Losses::from(BestMatch::new(&model, photo.clone(), "output").unwrap()),
            Losses::from(style(photo.clone())),
        ] {
            let found = Gradient::new(&model, &losses).evaluate(image.clone()).unwrap();
            let gradient = crate::host::values(found.gradient);
            assert!(found.losses.totals()[0].is_finite(), "{name}: {losses:?}");
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}: {losses:?}");
        }
    }
}

#[test]
fn a_style_relative_to_its_painting_is_one_for_an_image_without_features() {
    let model = identity([3, 2, 5]);
    let painting = tensor(&images()[..30], [1, 3, 2, 5]);
    for weight in [0.5, 2.0] {
        let style = Style::new(&model, painting.clone(), [("output", weight)]).unwrap().relative();
        let (found, _) = values_and_gradient(style, &[0.0; 30], [1, 3, 2, 5]);
        assert_close(&found, &[1.0], 1e-5);
    }
}

#[test]
fn means_over_a_layer_are_over_its_channels_rows_and_columns() {
    let values = images();
    let mean = |image: &[f32]| image.iter().sum::<f32>() / image.len() as f32;
    let square = |image: &[f32]| image.iter().map(|v| v * v).sum::<f32>() / image.len() as f32;
    let per_image = |f: &dyn Fn(&[f32]) -> f32| values.chunks(30).map(|image| -f(image)).collect::<Vec<_>>();
    let (found, _) =
        values_and_gradient(ActivationMaximization::from(Target::layer("output")), &values, SHAPE);
    assert_close(&found, &per_image(&mean), 1e-4);
    let (found, _) = values_and_gradient(ActivationMaximization::new("output", [0, 2]), &values, SHAPE);
    assert_close(&found, &per_image(&|image| mean(&image[..10]) + mean(&image[20..])), 1e-4);
    let (found, _) = values_and_gradient(energy("output"), &values, SHAPE);
    assert_close(&found, &per_image(&square), 1e-3);
}

#[test]
fn regularizers_are_divided_by_all_the_values_of_an_image() {
    let values = images();
    let (found, _) = values_and_gradient(LPNorm::new(2.0).unwrap(), &values, SHAPE);
    let expected: Vec<f32> = lengths(&values).iter().map(|length| length / 30.0).collect();
    assert_close(&found, &expected, 1e-4);
    // Total variation of 3 × 2 × 5: the four positions of the first row that have a neighbour below and to the right.
    let (found, _) = values_and_gradient(TotalVariation::default(), &values, SHAPE);
    let expected: Vec<f32> = values
        .chunks(30)
        .map(|image| {
            let steps = |plane: &[f32]| -> f32 {
                (0..4).map(|x| (plane[x + 5] - plane[x]).powi(2) + (plane[x + 1] - plane[x]).powi(2)).sum()
            };
            image.chunks(10).map(steps).sum::<f32>() / 30.0
        })
        .collect();
    assert_close(&found, &expected, 1e-3);
}

#[test]
fn a_match_is_the_mean_over_positions_of_the_best_product_over_the_channels() {
    let model = identity([3, 2, 5]);
    let guide: Vec<f32> = (0..30).map(|k| ((k * 5) % 13) as f32 - 6.0).collect();
    let matched = BestMatch::new(&model, tensor(&guide, [1, 3, 2, 5]), "output").unwrap();
    let (found, _) = values_and_gradient(matched, &images(), SHAPE);
    let expected: Vec<f32> = images()
        .chunks(30)
        .map(|image| {
            let product =
                |p: usize, q: usize| -> f32 { (0..3).map(|c| image[c * 10 + p] * guide[c * 10 + q]).sum() };
            let best = |p| (0..10).map(|q| product(p, q)).fold(f32::NEG_INFINITY, f32::max);
            -(0..10).map(best).sum::<f32>() / 30.0
        })
        .collect();
    assert_close(&found, &expected, 1e-3);
}

#[test]
fn a_caricature_is_the_mean_product_times_a_power_of_the_cosine() {
    let model = identity([3, 2, 5]);
    let photo: Vec<f32> = (0..30).map(|k| ((k * 5) % 13) as f32 - 2.0).collect();
    for power in [0.0, 1.0, 2.5] {
        let loss = Caricature::new(&model, tensor(&photo, [1, 3, 2, 5]), "output").unwrap();
        let (found, _) = values_and_gradient(loss.with_power(power).unwrap(), &images(), SHAPE);
        let length: f32 = photo.iter().map(|v| v * v).sum::<f32>().sqrt();
        let expected: Vec<f32> = images()
            .chunks(30)
            .zip(lengths(&images()))
            .map(|(image, own)| {
                let dot: f32 = image.iter().zip(&photo).map(|(a, b)| a * b).sum();
                -dot / 30.0 * (dot / (own * length)).max(0.1).powf(power)
            })
            .collect();
        assert_close(&found, &expected, 1e-3);
    }
}

/// Two channels of 1 × 3, averaged and weighed by 2 and −5, plus a constant.
struct Linear(InputSpec, f32);

impl Linear {
    fn plus(constant: f32) -> Self {
        Self(InputSpec::new([2, 1, 3], (-10.0, 10.0)), constant)
    }
}

impl Model for Linear {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = taps.layer("features", image)?;
        let weights = Tensor::<1>::from_floats([2.0, -5.0], &x.device()).reshape([1, 2, 1, 1]);
        taps.layer("output", (x.mean_dims(&[2, 3]) * weights).sum_dim(1) + self.1)?;
        Ok(())
    }
}

#[test]
fn ablation_cam_divides_by_the_magnitude_of_the_score() {
    // Means 2 and 1: the score is 4 − 5 + constant; without one channel it lacks 4 or −5.
    let features = [1.0, 2.0, 3.0, 0.5, 1.0, 1.5];
    for constant in [0.0, 7.0, -3.5] {
        let score: f32 = 4.0 - 5.0 + constant;
        let target = Target::channel("output", 0);
        let map = Cam::new(Formula::AblationCam)
            .penultimate_layer("features")
            .map(&Linear::plus(constant), tensor(&features, [1, 2, 1, 3]), &target)
            .unwrap()
            .map;
        let weights = [4.0 / score.abs(), -5.0 / score.abs()];
        let expected = [0, 1, 2].map(|x| weights[0] * features[x] + weights[1] * features[x + 3]);
        assert_close(&crate::host::values(map), &expected, 1e-4);
    }
    // A score of zero has no magnitude to divide by.
    let map = Cam::new(Formula::AblationCam)
        .penultimate_layer("features")
        .map(&Linear::plus(1.0), tensor(&features, [1, 2, 1, 3]), &Target::channel("output", 0))
        .unwrap()
        .map;
    let expected = [0, 1, 2].map(|x| 4.0 * features[x] - 5.0 * features[x + 3]);
    assert_close(&crate::host::values(map), &expected, 1e-3);
}
