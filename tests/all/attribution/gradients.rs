//! Saliency, integrated gradients, SmoothGrad and guided Grad-CAM on networks worked out by hand.

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{
    Attribution, Baseline, GuidedGradCam, IntegratedGradients, Interpolation, Quadrature, Saliency,
    SmoothGrad, Statistic,
};
use vis::backprop::Rectifier;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::{Error, Model, Rule};

use super::networks::{Alone, OneConv, TwoTwoOne};
use super::{assert_map, image};

/// The gradient of a target's score, whether or not it is zero everywhere.
fn gradient(model: &dyn Model, image: Tensor<4>, target: &Target, rule: Rule) -> Tensor<4> {
    let score = vis::losses![(ActivationMaximization::of(model, target.clone()).unwrap(), -1.0)];
    Gradient::new(model, &score).rule(rule).evaluate(image).unwrap().gradient
}

#[test]
fn gradient_of_the_one_conv_network_is_the_gates_seen_through_the_convolution() {
    // The gates of channel 0 are open at (0,1), (1,0), (1,1), those of channel 1 at (1,0), (1,1); with weights
    // (1, 1, 1, 1) and (1, −1, −1, −1) what is left is a single 1 at window (0,1), which covers columns 1 to 3
    // of rows 0 to 2.
    let map = Saliency::new().attribute(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        0., 1., 1., 1.,
        0., 1., 1., 1.,
        0., 1., 1., 1.,
        0., 0., 0., 0.,
    ], 1e-6);
}

#[test]
fn gradient_times_input_of_the_one_conv_network_is_the_gradient_weighted_by_the_pixels() {
    let method = Saliency::new().times_input();
    let map = method.attribute(&OneConv::new(), OneConv::image(), &Target::class(1)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        0., 1., 2., 3.,
        0., 5., 6., 7.,
        0., 9., 10., 11.,
        0., 0., 0., 0.,
    ], 1e-6);
}

#[test]
fn guided_backprop_of_the_one_conv_network_drops_the_negative_cotangents() {
    // Only channel 0 sends something positive back: 1 from each of its three open windows.
    let map = Saliency::guided().attribute(&OneConv::new(), OneConv::image(), &Target::class(2)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        0., 1., 1., 1.,
        1., 3., 3., 2.,
        1., 3., 3., 2.,
        1., 2., 2., 1.,
    ], 1e-6);
}

#[test]
fn deconvolution_of_the_one_conv_network_ignores_the_gates() {
    // Positive cotangents: all four windows of channel 0 and the first of channel 1, open or not.
    let map =
        Saliency::deconvolution().attribute(&OneConv::new(), OneConv::image(), &Target::class(3)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        2., 3., 3., 1.,
        3., 5., 5., 2.,
        3., 5., 5., 2.,
        1., 2., 2., 1.,
    ], 1e-6);
}

#[test]
fn rules_agree_with_xplique_on_a_rectifier_alone() {
    let x = || image([[[5.0, 0.0, -5.0, 10.0]]]);
    let relu = Alone::new([1, 1, 4], Some(Rectifier::Relu));
    let sum = |y: Tensor<2>| y.sum_dim(1).reshape([1]);

    // −y²: the cotangent −2y is nowhere positive, so guided backprop passes nothing, and says so.
    let negative = Target::function(move |y| sum(y.square()).neg());
    assert_map(gradient(&relu, x(), &negative, Rule::Plain), &[-10.0, 0.0, 0.0, -20.0], 0.0);
    assert_map(gradient(&relu, x(), &negative, Rule::Guided), &[0.0; 4], 0.0);
    let refused = Saliency::guided().attribute(&relu, x(), &negative);
    assert!(matches!(refused, Err(Error::ZeroGradient { .. })), "{refused:?}");

    // 10y: the cotangent is 10 everywhere, the gate is open at the first and the last.
    let linear = Target::function(move |y| sum(y * 10.0));
    assert_map(gradient(&relu, x(), &linear, Rule::Plain), &[10.0, 0.0, 0.0, 10.0], 0.0);
    assert_map(gradient(&relu, x(), &linear, Rule::Deconvolution), &[10.0; 4], 0.0);

    // A rectifier capped at 3, as one capped at 6 of the double; y²: the cotangent is 2·min(y, 3).
    let capped = Alone::new([1, 1, 4], Some(Rectifier::Relu6)).scaled(2.0);
    let square = Target::function(move |y| sum(y.square()));
    assert_map(gradient(&capped, x(), &square, Rule::Deconvolution), &[6.0, 0.0, 0.0, 6.0], 0.0);

    // No rule outlives its run.
    assert_map(gradient(&relu, x(), &negative, Rule::Plain), &[-10.0, 0.0, 0.0, -20.0], 0.0);
}

#[test]
fn every_rule_passes_every_rectifier_as_its_definition_says() {
    // x on both sides of every kink, cotangents of both signs: c = (−3, −3, −3, 2, 2, 2).
    let x = || image([[[-1.0, 3.0, 8.0, -1.0, 3.0, 8.0]]]);
    let target = Target::function(|y| {
        let cotangent = Tensor::<2>::from_floats([[-3.0, -3.0, -3.0, 2.0, 2.0, 2.0]], &y.device());
        (y * cotangent).sum_dim(1).reshape([1])
    });
    let expected: [(Rectifier, [[f32; 6]; 3]); 3] = [
        (Rectifier::Relu, [[0., -3., -3., 0., 2., 2.], [0., 0., 0., 0., 2., 2.], [0., 0., 0., 2., 2., 2.]]),
        (Rectifier::Relu6, [[0., -3., 0., 0., 2., 0.], [0., 0., 0., 0., 2., 0.], [0., 0., 0., 2., 2., 2.]]),
        // A leaky rectifier lets a quarter through on its negative side; deconvolution lets all of it through.
        (
            Rectifier::Leaky(0.25),
            [[-0.75, -3., -3., 0.5, 2., 2.], [0., 0., 0., 0.5, 2., 2.], [0., 0., 0., 2., 2., 2.]],
        ),
    ];
    for (rectifier, maps) in expected {
        let model = Alone::new([1, 1, 6], Some(rectifier));
        for (rule, expected) in [Rule::Plain, Rule::Guided, Rule::Deconvolution].into_iter().zip(maps) {
            assert_map(Saliency::new().rule(rule).attribute(&model, x(), &target).unwrap(), &expected, 1e-6);
        }
    }
}

#[test]
fn guided_backprop_agrees_with_keras_vis_on_seven_inputs() {
    // Hidden units −a−b and a+b (rectified), output −h₀ + h₁. Right of the origin h₁ fires and sends 1 back to
    // both inputs. Left of it h₀ fires: its cotangent −1 times its weights −1 is plainly 1, but guided 0.
    let model = TwoTwoOne::new();
    let target = Target::class(0);
    for (a, b) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (-1.0, -1.0)] {
        let x = || image([[[a]], [[b]]]);
        let (plain, guided) = match a + b {
            0.0 => (0.0, 0.0),
            sum if sum > 0.0 => (1.0, 1.0),
            _ => (1.0, 0.0),
        };
        assert_map(gradient(&model, x(), &target, Rule::Plain), &[plain; 2], 0.0);
        assert_map(gradient(&model, x(), &target, Rule::Guided), &[guided; 2], 0.0);
    }
}

#[test]
fn integrated_gradients_of_the_one_conv_network_are_complete_and_exact() {
    // On the way from 0 to x window w of sum s opens its gate with bias −b at t = b/s, so it is open for a share
    // 1 − b/s of the way. Window (0,1), s = 54: 1 − 50/54 = 2/27. (1,0), s = 81: (1 − 50/81) − (1 − 75/81) =
    // 25/81. (1,1), s = 90: (1 − 50/90) − (1 − 75/90) = 5/18. A pixel gets its value times the sum of the shares
    // of the windows that cover it. All the openings are multiples of 1/162 of the way, so 162 midpoints are
    // exact; the rectifier at the output is open wherever one of them is.
    let (top, left, last) = (2.0 / 27.0, 25.0 / 81.0, 5.0 / 18.0);
    #[rustfmt::skip]
    let share = [
        0.0, top, top, top,
        left, top + left + last, top + left + last, top + last,
        left, top + left + last, top + left + last, top + last,
        left, left + last, left + last, last,
    ];
    let expected: Vec<f32> = share.iter().enumerate().map(|(pixel, share)| pixel as f32 * share).collect();
    assert!((expected[5] - 3.302469).abs() < 1e-5 && (expected[15] - 4.166667).abs() < 1e-5);

    let method = IntegratedGradients::new().steps(162);
    let found = method.evaluate(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap();
    assert_map(found.map, &expected, 1e-5);
    assert_eq!(found.difference, [54.0]);
    assert!(found.residual[0].abs() < 1e-3, "{:?}", found.residual);

    // 64 steps misplace each of the five openings by half a step at most, worth s/128 each.
    let found = IntegratedGradients::new().evaluate(&OneConv::new(), OneConv::image(), &0.into()).unwrap();
    assert!(found.residual[0].abs() < (54.0 + 2.0 * 81.0 + 2.0 * 90.0) / 128.0, "{:?}", found.residual);
    let sum: f32 = crate::host::values(found.map).iter().sum();
    assert!((sum - 54.0 - found.residual[0]).abs() < 1e-4);
}

#[test]
fn integrated_gradients_follow_their_quadrature_on_a_parabola() {
    // S = x², from b to x: the exact map is x² − b². Each rule sums 2·(b + t·(x−b)) at its own points t, which
    // is linear in t: midpoint and trapezoid are exact, left and right are off by ∓(x−b)²/n.
    let model = Alone::new([1, 1, 1], None);
    let square = Target::function(|y| y.square().sum_dim(1).reshape_as_batch());
    let x = || image([[[5.0]]]);
    for (quadrature, expected) in [
        (Quadrature::Midpoint, 24.0),
        (Quadrature::Trapezoid, 24.0),
        (Quadrature::Left, 24.0 - 16.0 / 8.0),
        (Quadrature::Right, 24.0 + 16.0 / 8.0),
    ] {
        let method =
            IntegratedGradients::new().steps(8).quadrature(quadrature).baseline(Baseline::Value(1.0));
        let found = method.evaluate(&model, x(), &square).unwrap();
        assert_map(found.map, &[expected], 1e-5);
        assert!((found.residual[0] - (expected - 24.0)).abs() < 1e-4, "{quadrature:?}: {:?}", found.residual);
    }

    // Two baselines, 1 and 3: the mean of 24 and 16.
    let baselines = [Baseline::Value(1.0), Baseline::Image(image([[[3.0]]]))];
    let found = IntegratedGradients::new().baselines(baselines).evaluate(&model, x(), &square).unwrap();
    assert_map(found.map, &[20.0], 1e-5);
    assert!((found.difference[0] - 20.0).abs() < 1e-5);

    // From the image itself there is no way to go, and no complaint.
    let method = IntegratedGradients::new().baseline(Baseline::Image(x()));
    assert_map(method.attribute(&model, x(), &square).unwrap(), &[0.0], 0.0);
}

trait ReshapeAsBatch {
    fn reshape_as_batch(self) -> Tensor<1>;
}

impl ReshapeAsBatch for Tensor<2> {
    fn reshape_as_batch(self) -> Tensor<1> {
        let [batch, _] = self.dims();
        self.reshape([batch])
    }
}

#[test]
fn smooth_grad_with_noise_too_small_to_matter_is_the_gradient_and_has_no_variance() {
    // Captum's test: a standard deviation of 2e-7, here relative to the range of 15.
    let smooth = || SmoothGrad::new(Saliency::new()).noise(2e-7 / 15.0).samples(20);
    let of = |method: &dyn Attribution| {
        method.attribute(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap()
    };
    let gradient = crate::host::values(of(&Saliency::new()));
    assert_map(of(&smooth()), &gradient, 1e-6);
    let square: Vec<f32> = gradient.iter().map(|value| value * value).collect();
    assert_map(of(&smooth().statistic(Statistic::Squared)), &square, 1e-6);
    assert_map(of(&smooth().statistic(Statistic::Variance)), &[0.0; 16], 1e-6);
}

#[test]
fn smooth_grad_is_the_mean_and_the_variance_over_its_noise() {
    // S = ½ Σ x² has the gradient x itself, so the maps are the noisy copies. Their mean is x and
    // their variance σ² up to the error of the sample: n copies have standard error σ/√n, and one of n has no
    // noise.
    let model = Alone::new([1, 8, 8], None);
    let half_square = Target::function(|y| (y.square() * 0.5).sum_dim(1).reshape_as_batch());
    let ramp =
        Tensor::<1>::from_floats(std::array::from_fn::<f32, 64, _>(|i| i as f32 / 63.0), &Default::default())
            .reshape([1, 1, 8, 8]);
    let (samples, sigma) = (400, 0.2_f32);
    let smooth = || SmoothGrad::new(Saliency::new()).noise(sigma).samples(samples).batch_size(50);

    let mean = smooth().attribute(&model, ramp.clone(), &half_square).unwrap();
    let off = crate::host::values((mean - ramp.clone()).abs().max())[0];
    assert!(off < 4.0 * sigma / (samples as f32).sqrt(), "{off}");
    let variance = crate::host::values(
        smooth().statistic(Statistic::Variance).attribute(&model, ramp.clone(), &half_square).unwrap(),
    );
    let mean_variance = variance.iter().sum::<f32>() / 64.0;
    assert!((mean_variance / (sigma * sigma) - 1.0).abs() < 0.05, "{mean_variance}");
    // Squared = variance + mean².
    let mean = crate::host::values(smooth().attribute(&model, ramp.clone(), &half_square).unwrap());
    let expected: Vec<f32> =
        variance.iter().zip(&mean).map(|(variance, mean)| variance + mean * mean).collect();
    assert_map(
        smooth().statistic(Statistic::Squared).attribute(&model, ramp, &half_square).unwrap(),
        &expected,
        1e-4,
    );
}

#[test]
fn a_noisy_copy_whose_unit_is_dead_counts_as_a_map_of_zeros() {
    // One rectified pixel at 1e-3 and another that sets the range: with noise as large as the range the first is
    // negative in about half of the copies, where its gradient, the only one, is zero.
    let model = Alone::new([1, 1, 2], Some(Rectifier::Relu));
    let first = Target::class(0);
    let x = || image([[[1e-3, -1.0]]]);
    let smooth = SmoothGrad::new(Saliency::new()).noise(1.0).samples(100);
    let map = crate::host::values(smooth.attribute(&model, x(), &first).unwrap());
    assert!((0.35..0.65).contains(&map[0]) && map[1] == 0.0, "{map:?}");
    let one_by_one = SmoothGrad::new(Saliency::new()).noise(1.0).samples(100).batch_size(1);
    assert_map(one_by_one.attribute(&model, x(), &first).unwrap(), &map, 1e-6);
}

#[test]
fn guided_grad_cam_of_the_one_conv_network_is_the_product_of_its_factors() {
    // Grad-CAM at relu1 is ((0, 4), (28, 32.5)); Captum repeats each place to 2×2 pixels. Times guided backprop.
    let method = GuidedGradCam::new().penultimate_layer("relu1").interpolation(Interpolation::Nearest);
    let map = method.attribute(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        0., 0., 4., 4.,
        0., 0., 12., 8.,
        28., 84., 97.5, 65.,
        28., 56., 65., 32.5,
    ], 1e-6);
}
