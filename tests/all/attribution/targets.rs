//! Targets against recorded activations, and baselines against values worked out by hand.

use burn::tensor::Tensor;
use vis::attribution::Baseline;
use vis::losses::ActivationMaximization;
use vis::model::Tiny;
use vis::{Model, Optimizer, Target};

use super::networks::Alone;
use super::{assert_map, image, random_image};
use crate::support::{assert_close, identity};

#[test]
fn every_target_is_what_its_layer_holds() {
    let model = Tiny::new(&Default::default());
    let images = random_image([2, 3, 8, 8], 0.0..255.0, 8);
    let recorded = |layer: &str| crate::host::array4(model.activation(images.clone(), layer).unwrap());
    let (conv, logits) = (recorded("conv2"), recorded("logits"));
    for index in 0..2 {
        let channel = |channel: usize| conv.slice(ndarray::s![index, channel, .., ..]).mean().unwrap();
        let logit = |class: usize| logits[[index, class, 0, 0]];
        let score = |target: Target| target.scores(&model, images.clone()).unwrap()[index];
        let close = |target: Target, expected: f32| assert_close(&[score(target)], &[expected], 1e-4);
        close(Target::channel("conv2", 3), channel(3));
        close(Target::channels("conv2", [0, 3, 5]), channel(0) + channel(3) + channel(5));
        close(Target::layer("conv2"), (0..6).map(channel).sum::<f32>() / 6.0);
        close(Target::neuron("conv2", 4, 1, 2), conv[[index, 4, 1, 2]]);
        close(Target::class(3), logit(3));
        close(Target::class(0) + Target::class(3), logit(0) + logit(3));
        close(Target::class(3) - Target::class(0), logit(3) - logit(0));
        let sum: f32 = (0..5).map(|class| logit(class).exp()).sum();
        close(Target::probability(3), logit(3).exp() / sum);
        close(Target::class(3).in_layer("softmax"), logit(3).exp() / sum);
        close(Target::predicted(), (0..5).map(logit).fold(f32::MIN, f32::max));
        close(Target::function(|y| y.narrow(1, 2, 1).square().reshape([2])), logit(2).powi(2));
    }
    // A target of each image is read from that image.
    let each = Target::per_image([Target::neuron("conv2", 4, 1, 2), Target::class(1)]);
    let expected = [conv[[0, 4, 1, 2]], logits[[1, 1, 0, 0]]];
    assert_close(&each.scores(&model, images).unwrap(), &expected, 1e-5);
}

#[test]
fn logits_with_several_positions_count_by_their_means() {
    // Means 2 and 3: probabilities 1/(1 + e) and e/(1 + e).
    let model = Alone::new([2, 1, 2], None);
    let x = || image([[[1.0, 3.0]], [[7.0, -1.0]]]);
    let score = |target: Target| target.in_layer("features").scores(&model, x()).unwrap()[0];
    let e = 1_f32.exp();
    assert!((score(Target::probability(0)) - 1.0 / (1.0 + e)).abs() < 1e-6);
    assert!((score(Target::probability(1)) - e / (1.0 + e)).abs() < 1e-6);
    assert_eq!(score(Target::class(1)), 3.0);
    assert_eq!(score(Target::predicted()), 3.0);
    assert_eq!(score(Target::function(|y| y.narrow(1, 0, 1).reshape([1]))), 2.0);
    let refused = Target::probability(2).in_layer("features").scores(&model, x()).unwrap_err();
    assert_eq!(refused.to_string(), "class 2 is out of range: layer `features` has 2 (0 to 1)");
    let classes = identity([2, 1, 2]).classify(x()).unwrap();
    assert_eq!(crate::host::values(classes), [2.0, 3.0]);
}

/// Two channels on 2×3: 1 to 6, and minus their squares.
fn ramp() -> Tensor<4> {
    image([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[-1.0, -4.0, -9.0], [-16.0, -25.0, -36.0]]])
}

fn of_ramp(target: Target) -> f32 {
    target.scores(&Alone::new([2, 2, 3], None), ramp()).unwrap()[0]
}

#[test]
fn targets_add_subtract_and_scale_as_their_scores_do() {
    let layer = "features";
    let (channel, neuron) = (|c| Target::channel(layer, c), |c, y, x| Target::neuron(layer, c, y, x));
    // Means 3.5 and −91/6; single places 3 and −16.
    let (a, b) = (3.5, -91.0 / 6.0);
    assert_close(&[of_ramp(channel(0) + channel(1))], &[a + b], 1e-5);
    assert_close(&[of_ramp(channel(0) - 0.5 * channel(1))], &[a - 0.5 * b], 1e-5);
    assert_close(&[of_ramp(-(channel(1) * 2.0 - channel(0)))], &[a - 2.0 * b], 1e-5);
    assert_close(&[of_ramp(2.0 * neuron(0, 0, 2) - neuron(1, 1, 0))], &[22.0], 1e-5);
    assert_close(
        &[of_ramp(neuron(0, 0, 2) + Target::layer(layer) + channel(0))],
        &[6.5 + (a + b) / 2.0],
        1e-5,
    );
    assert_close(&[of_ramp((0..2).map(channel).sum())], &[a + b], 1e-5);
    // Image by image, with one that stands for all.
    let model = Alone::new([2, 2, 3], None);
    let both = Tensor::cat(vec![ramp(), ramp() * 2.0], 0);
    let each = Target::per_image([channel(0), channel(1)]) - neuron(0, 1, 1);
    assert_close(&each.scores(&model, both.clone()).unwrap(), &[a - 5.0, 2.0 * b - 10.0], 1e-5);
    let sum = Target::per_image([channel(0), channel(1)]) + Target::per_image([channel(1), channel(1)]);
    assert_close(&sum.scores(&model, both).unwrap(), &[a + b, 4.0 * b], 1e-5);
}

#[test]
fn a_sum_is_written_with_its_signs_and_weights() {
    let written = |target: Target| target.to_string();
    assert_eq!(written(Target::class(3) - Target::class(1)), "class 3 − class 1");
    assert_eq!(written(0.5 * Target::class(3) + Target::class(1)), "0.5 × class 3 + class 1");
    assert_eq!(written(-Target::class(3)), "−class 3");
    assert_eq!(
        written(Target::layer("a") - 2.0 * Target::neuron("b", 1, 2, 3)),
        "mean of `a` − 2 × channel 1 at row 2, column 3 of `b`"
    );
    assert_eq!(
        written(Target::channel("a", 1) - Target::channel("b", 2)),
        "channel 1 of `a` − channel 2 of `b`"
    );
}

#[test]
fn regions_directions_and_likenesses_are_what_their_formulas_say() {
    let layer = "features";
    // The right column: the mean of 3 and 6.
    let mut mask = ndarray::Array2::zeros((2, 3));
    mask.column_mut(2).fill(7.0);
    assert_close(&[of_ramp(Target::mask(layer, 0, mask))], &[4.5], 1e-6);
    // A mask of one row and two columns: the right half of the map, half of the middle column and the right one.
    let right = ndarray::arr2(&[[0.0, 1.0]]);
    assert_close(&[of_ramp(Target::mask(layer, 0, right))], &[(0.5 * 7.0 + 9.0) / 3.0], 1e-5);
    let (a, b) = (3.5_f32, -91.0 / 6.0_f32);
    assert_close(&[of_ramp(Target::direction(layer, [2.0, -1.0]))], &[2.0 * a - b], 1e-4);
    assert_close(&[of_ramp(Target::direction_at(layer, [2.0, -1.0], 1, 2))], &[12.0 + 36.0], 1e-5);
    let cosine = (3.0 * a + 4.0 * b) / (5.0 * (a * a + b * b).sqrt());
    assert_close(&[of_ramp(Target::likeness(layer, [3.0, 4.0]))], &[cosine], 1e-5);
    assert_close(&[of_ramp(Target::likeness(layer, [a, b]))], &[1.0], 1e-5);
    let largest = Target::map(layer, |map| map.max_dims(&[1, 2, 3]).reshape([1]));
    assert_eq!(of_ramp(largest), 6.0);
}

#[test]
fn a_target_that_does_not_fit_its_layer_says_what_would() {
    let refused =
        |target: Target| target.scores(&Alone::new([2, 2, 3], None), ramp()).unwrap_err().to_string();
    let layer = "features";
    assert_eq!(
        refused(Target::direction(layer, [1.0])),
        "the vector of a target must be one number for each of the 2 channels of `features`, not 1"
    );
    assert!(refused(Target::likeness(layer, [1.0; 3])).contains("2 channels"));
    assert!(refused(Target::direction_at(layer, [1.0; 2], 2, 0)).contains("row 2 is out of range"));
    assert!(
        refused(Target::mask(layer, 2, ndarray::Array2::ones((2, 2)))).contains("channel 2 is out of range")
    );
    assert!(refused(Target::mask(layer, 0, ndarray::Array2::zeros((2, 2)))).contains("positive sum"));
    assert!(refused(Target::map(layer, |map| map.reshape([12]))).contains("[1]"));
    assert!(refused(std::iter::empty::<Target>().sum()).contains("at least one score"));
}

#[test]
fn what_can_be_attributed_can_be_maximised() {
    // The gradient of a linear score is its weights, and a step of the optimizer goes along it.
    let model = Tiny::new(&Default::default());
    let image = random_image([1, 3, 8, 8], 0.0..255.0, 8);
    let mut place = ndarray::Array2::zeros((4, 4));
    place[[1, 2]] = 1.0;
    let vector = [0.5, 0.0, -1.0, 0.0, 2.0, 0.0];
    for target in [
        Target::class(3) - 0.5 * Target::class(1),
        Target::neuron("conv2", 4, 1, 2),
        Target::mask("conv2", 4, place),
        Target::direction("conv2", vector),
        Target::direction_at("conv2", vector, 2, 1),
        Target::likeness("conv2", vector),
        Target::map("conv2", |map| {
            let [batch, ..] = map.dims();
            map.square().mean_dims(&[1, 2, 3]).reshape([batch])
        }),
    ] {
        let before = target.scores(&model, image.clone()).unwrap()[0];
        let loss = ActivationMaximization::of(&model, target.clone()).unwrap();
        let run = Optimizer::new(&model, loss).seed_img(image.clone()).max_iter(20).learning_rate(5.0);
        let found = run.minimize().unwrap().image;
        let after = target.scores(&model, found).unwrap()[0];
        assert!(after > before, "{target}: {before} to {after}");
    }
    let refused = ActivationMaximization::of(&model, Target::predicted()).unwrap_err().to_string();
    assert!(refused.contains("does not depend on the image"), "{refused}");
}

#[test]
fn each_baseline_has_its_known_values() {
    let model = Alone::new([2, 2, 2], None);
    let x = || image([[[1.0, 3.0], [5.0, 7.0]], [[0.0, 0.0], [0.0, 8.0]]]);
    let of = |baseline: Baseline| baseline.of(&model, &x()).unwrap();
    assert_map(of(Baseline::Black), &[-10.0; 8], 0.0);
    assert_map(of(Baseline::Value(0.5)), &[0.5; 8], 0.0);
    assert_map(of(Baseline::Mean), &[4.0, 4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 2.0], 1e-6);
    assert_map(of(Baseline::Image(x() * 2.0)), &[2.0, 6.0, 10.0, 14.0, 0.0, 0.0, 0.0, 16.0], 0.0);
}

#[test]
fn a_blurred_baseline_is_the_gaussian_of_each_pixel_rescaled_at_the_border() {
    // One pixel in the middle of 3×3, standard deviation 1. Along an axis the middle sees it with 1 among 1 + 2e, where
    // e = exp(−½); an end sees it with e among 1 + e + e⁴.
    let model = Alone::new([1, 3, 3], None);
    let x = image([[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]);
    let e = (-0.5_f32).exp();
    let (middle, end) = (1.0 / (1.0 + 2.0 * e), e / (1.0 + e + e.powi(4)));
    assert!((middle - 0.451863).abs() < 1e-6 && (middle * middle - 0.204180).abs() < 1e-6);
    let row = |at: f32| [at * end, at * middle, at * end];
    let expected = [row(end), row(middle), row(end)].concat();
    assert_map(Baseline::Blurred(1.0).of(&model, &x).unwrap(), &expected, 1e-6);
    // A flat image stays as it is.
    let flat = Tensor::<4>::ones([1, 1, 3, 3], &Default::default()) * 4.0;
    assert_map(Baseline::Blurred(2.0).of(&model, &flat).unwrap(), &[4.0; 9], 1e-6);
}
