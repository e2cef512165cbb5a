//! Targets against recorded activations, and baselines against values worked out by hand.

use burn::tensor::Tensor;
use vis::Model;
use vis::attribution::{Baseline, Target};
use vis::model::Tiny;

use super::networks::Alone;
use super::{assert_map, image, random_image};
use crate::support::{assert_close, identity};

#[test]
fn every_target_is_what_its_layer_holds() {
    let model = Tiny::new(&Default::default());
    let images = random_image([2, 3, 8, 8], 0.0..255.0, 8);
    let recorded = |layer: &str| vis::host::array4(model.activation(images.clone(), layer).unwrap());
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
        close(Target::classes([0, 3]), logit(0) + logit(3));
        close(Target::difference(3, 0), logit(3) - logit(0));
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
    assert_eq!(vis::host::values(classes), [2.0, 3.0]);
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
