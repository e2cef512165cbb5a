//! Class activation maps on networks worked out by hand.

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{Baseline, Cam, Formula};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{EfficientNetLite0, Taps, run};
use vis::optimizer::GradientModifier;
use vis::{Error, Model, Rule};

use super::networks::{Alone, Branches, OneConv, Pooled};
use super::{assert_map, difference, image, photo, random_image};

/// A formula's signed map of the one-conv network at a layer.
fn one_conv(formula: Formula, layer: &str) -> Tensor<4> {
    Cam::new(formula)
        .penultimate_layer(layer)
        .map(&OneConv::new(), OneConv::image(), &Target::class(0))
        .unwrap()
        .map
}

#[test]
fn grad_cam_before_the_rectifier_weighs_by_the_mean_of_the_open_gates() {
    // Activation (−5, 4, 31, 40) and (−30, −21, 6, 15); gradient (0, 1, 1, 1) and (0, 0, −1, −1); means ¾ and −½.
    assert_map(one_conv(Formula::GradCam, "conv1"), &[11.25, 13.5, 20.25, 22.5], 1e-6);
}

#[test]
fn grad_cam_before_the_rectifier_is_the_sum_of_its_known_channels() {
    // ¾·(−5, 4, 31, 40) and −½·(−30, −21, 6, 15).
    let score = vis::losses![(ActivationMaximization::of(&OneConv::new(), Target::class(0)).unwrap(), -1.0)];
    let model = OneConv::new();
    let found = Gradient::new(&model, &score).at_layer("conv1").evaluate(OneConv::image()).unwrap();
    let channels = found.value * found.gradient.mean_dims(&[2, 3]);
    assert_map(channels.clone(), &[-3.75, 3.0, 23.25, 30.0, 15.0, 10.5, -3.0, -7.5], 1e-6);
    let sum = crate::host::values(channels.sum_dim(1));
    assert_map(one_conv(Formula::GradCam, "conv1"), &sum, 1e-6);
}

#[test]
fn a_rule_changes_the_gradient_that_the_formula_sees() {
    let cam = |rule| {
        let cam = Cam::new(Formula::GradCam).penultimate_layer("conv1").rule(rule);
        cam.map(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap().map
    };
    // Guided: of channel 0 the three open gates, mean ¾; of channel 1 the one positive cotangent meets a closed gate.
    assert_map(cam(Rule::Guided), &[-3.75, 3.0, 23.25, 30.0], 1e-6);
    // Deconvolution: all of channel 0, mean 1, and the positive cotangent of channel 1, mean ¼.
    assert_map(cam(Rule::Deconvolution), &[-5.0 - 7.5, 4.0 - 5.25, 31.0 + 1.5, 40.0 + 3.75], 1e-6);
}

#[test]
fn a_rule_that_meets_a_rectifier_below_the_layer_alone_is_refused() {
    let cam = |layer: &str, target: Target| {
        let cam = Cam::new(Formula::GradCam).penultimate_layer(layer).rule(Rule::Guided);
        cam.map(&OneConv::new(), OneConv::image(), &target)
    };
    // Between relu1 and fc1 there is none; between relu1 and the output there is one.
    let refused = cam("relu1", Target::class(0).in_layer("fc1")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the rule guided changed nothing: no rectifier was met after `relu1` and before `fc1`; \
         does the model call `taps.relu`?"
    );
    assert!(cam("relu1", Target::class(0)).is_ok());
    assert!(cam("conv1", Target::class(0).in_layer("fc1")).is_ok());
    // In a network that ends in global average pooling there is none above the last layer either.
    let x = random_image([1, 3, 9, 7], 0.0..1.0, 0);
    let pooled = Cam::new(Formula::GradCam).rule(Rule::Guided).map(&Pooled::new(1), x, &Target::class(0));
    assert!(matches!(pooled, Err(Error::NoRectifier { above: Some(_), .. })), "{pooled:?}");
}

#[test]
fn a_channel_whose_activation_sums_to_nothing_has_no_weight_in_xgrad_cam() {
    // S = Σ w·x has the gradient w. Channel 0 sums to 0; channel 1 weighs (3·2 + 4·1)/3.
    let model = Alone::new([2, 1, 2], None);
    let target = Target::function(|y| {
        let [batch, _] = y.dims();
        (y.clone() * Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 4.0]], &y.device()))
            .sum_dim(1)
            .reshape([batch])
    });
    let cam = Cam::new(Formula::XGradCam).penultimate_layer("features");
    let map = cam.map(&model, image([[[1.0, -1.0]], [[2.0, 1.0]]]), &target).unwrap().map;
    assert_map(map, &[20.0 / 3.0, 10.0 / 3.0], 1e-6);
}

#[test]
fn eigen_cam_of_an_activation_of_rank_two_is_the_stronger_axis_by_its_strength() {
    // u = (1, −1, 1, −1)/2 and v = (1, 1, −1, −1)/2 are orthonormal and sum to 0. Channels (3u − 1.6v, 4u + 1.2v) are the
    // singular values 5 and 2 under a rotation by (0.6, 0.8). The mean over channels grows with u.
    let model = Alone::new([2, 2, 2], None);
    let channel = |u: f32, v: f32, level: f32| {
        let at = |u_sign: f32, v_sign: f32| (u * u_sign + v * v_sign) / 2.0 + level;
        [[at(1.0, 1.0), at(-1.0, 1.0)], [at(1.0, -1.0), at(-1.0, -1.0)]]
    };
    let x = image([channel(3.0, -1.6, 2.0), channel(4.0, 1.2, -7.0)]);
    let map = Cam::new(Formula::EigenCam)
        .penultimate_layer("features")
        .map(&model, x, &Target::class(0))
        .unwrap()
        .map;
    assert_map(map, &[2.5, -2.5, 2.5, -2.5], 1e-5);
}

#[test]
fn ablation_cam_of_a_layer_that_is_concatenated_with_another_runs_that_one_as_often() {
    // 10 + 20 + 5 = 35; without a channel of `left` 25 and 15. The map is (10·x + 20·2x)/35.
    let x = image([[[1.0, 2.0], [3.0, 4.0]], [[2.0, 1.0], [1.0, 1.0]]]);
    for batch_size in [1, 2, 16] {
        let cam = Cam::new(Formula::AblationCam).penultimate_layer("left").batch_size(batch_size);
        let map = cam.map(&Branches::new(), x.clone(), &Target::class(0)).unwrap().map;
        assert_map(map, &[50.0 / 35.0, 100.0 / 35.0, 150.0 / 35.0, 200.0 / 35.0], 1e-6);
    }
}

#[test]
fn ablation_cam_within_a_residual_block_is_what_running_each_channel_alone_gives() {
    let model = EfficientNetLite0::bundled(&Default::default()).unwrap();
    let table = model.layers().unwrap();
    assert!(table.iter().any(|row| row.name == "blocks.4" && row.kind == "residual sum"));
    let x = photo().narrow(2, 60, 64).narrow(3, 80, 64);
    let score = |replace: Option<usize>| {
        let mut taps = Taps::new().record(["predictions"]);
        if let Some(channel) = replace {
            taps = taps.replace("blocks.4.expand", move |a| {
                let [_, channels, ..] = a.dims();
                let mut keep = vec![1.0; channels];
                keep[channel] = 0.0;
                a * Tensor::<1>::from_floats(keep.as_slice(), &Default::default())
                    .reshape([1, channels, 1, 1])
            });
        }
        run(&model, x.clone(), &mut taps).unwrap();
        crate::host::array4(taps.activation("predictions").unwrap())[[0, 285, 0, 0]]
    };
    let cam =
        Cam::new(Formula::AblationCam).penultimate_layer("blocks.4.expand").max_channels(5).batch_size(3);
    let map = cam.map(&model, x.clone(), &Target::class(285)).unwrap().map;

    let activation = model.activation(x.clone(), "blocks.4.expand").unwrap();
    let spread =
        crate::host::values(activation.clone().max_dims(&[2, 3]) - activation.clone().min_dims(&[2, 3]));
    let mut order: Vec<usize> = (0..spread.len()).collect();
    order.sort_by(|a, b| spread[*b].total_cmp(&spread[*a]));
    let whole = score(None);
    let mut expected = activation.clone().narrow(1, 0, 1).zeros_like();
    for channel in &order[..5] {
        let weight = (whole - score(Some(*channel))) / whole.abs();
        expected = expected + activation.clone().narrow(1, *channel, 1) * weight;
    }
    assert!(difference(map, expected) < 1e-3);
}

#[test]
fn channels_that_are_not_run_have_no_part_in_the_softmax_of_score_cam() {
    // The unmasked image scores 0 and the masked ones −400 and −600: a softmax that counted channels not run as such an
    // image would leave nothing to the others.
    let model = Alone::new([3, 1, 2], None);
    let target = Target::function(|y| {
        let weights = Tensor::<2>::from_floats([[-100.0, -100.0, -200.0, -200.0, 0.0, 0.0]], &y.device());
        let [batch, _] = y.dims();
        (y * weights).sum_dim(1).reshape([batch])
    });
    let x = image([[[0.0, 2.0]], [[3.0, 1.0]], [[5.0, 5.0]]]);
    let cam = Cam::new(Formula::ScoreCam)
        .penultimate_layer("features")
        .baseline(Baseline::Value(0.0))
        .max_channels(2);
    assert_map(cam.map(&model, x, &target).unwrap().map, &[0.0, 2.0], 1e-6);
}

#[test]
fn score_cam_takes_a_baseline_of_each_image() {
    let model = Pooled::new(4);
    let images = random_image([2, 3, 9, 7], 0.0..1.0, 5);
    let baselines = random_image([2, 3, 9, 7], 0.0..1.0, 6);
    let cam = |baseline| Cam::new(Formula::ScoreCam).baseline(Baseline::Image(baseline));
    let map = |cam: Cam, images| cam.map(&model, images, &Target::class(1)).unwrap().map;
    let both = map(cam(baselines.clone()), images.clone());
    for index in 0..2 {
        let one = map(cam(baselines.clone().narrow(0, index, 1)), images.clone().narrow(0, index, 1));
        assert!(difference(both.clone().narrow(0, index, 1), one) < 1e-5);
    }
}

#[test]
fn each_formula_gives_its_known_map_after_the_rectifier() {
    // A = (0, 4, 31, 40), (0, 0, 6, 15) and G = (1, 1, 1, 1), (1, −1, −1, −1).
    // Grad-CAM: weights 1 and −½.
    assert_map(one_conv(Formula::GradCam, "relu1"), &[0.0, 4.0, 28.0, 32.5], 1e-6);
    // HiResCAM: A₀ − A₁ but for a first place that is 0.
    assert_map(one_conv(Formula::HiResCam, "relu1"), &[0.0, 4.0, 25.0, 25.0], 1e-6);
    // XGradCAM: weights ΣGA/ΣA = 75/75 and −21/21.
    assert_map(one_conv(Formula::XGradCam, "relu1"), &[0.0, 4.0, 25.0, 25.0], 1e-6);
    // LayerCAM: positive gradients only, which leaves A₀.
    assert_map(one_conv(Formula::LayerCam, "relu1"), &[0.0, 4.0, 31.0, 40.0], 1e-6);
    // Grad-CAM++: α = 1/(2 + ΣA·G): 1/77 at four places of channel 0; 1/23 at the one of channel 1 whose
    // gradient is positive.
    let (first, second) = (4.0_f32 / 77.0, 1.0_f32 / 23.0);
    let expected = [0.0, 4.0 * first, 31.0 * first + 6.0 * second, 40.0 * first + 15.0 * second];
    assert!((expected[1] - 0.207792).abs() < 1e-6 && (expected[3] - 2.730096).abs() < 1e-6);
    assert_map(one_conv(Formula::GradCamPlusPlus, "relu1"), &expected, 1e-6);
}

#[test]
fn ablation_cam_weighs_by_the_share_of_the_score_that_goes() {
    // The last dense layer gives 75 − 21 = 54. Without channel 0 it gives −21, without channel 1 75.
    let target = || Target::class(0).in_layer("fc1");
    let cam = Cam::new(Formula::AblationCam).penultimate_layer("relu1");
    let map = cam.map(&OneConv::new(), OneConv::image(), &target()).unwrap().map;
    let (first, second) = (75.0 / 54.0, -21.0 / 54.0);
    let expected = [0.0, 4.0 * first, 31.0 * first + 6.0 * second, 40.0 * first + 15.0 * second];
    assert_map(map, &expected, 1e-6);
    // Only the channel that varies most: channel 0.
    let map = cam.max_channels(1).map(&OneConv::new(), OneConv::image(), &target()).unwrap().map;
    assert_map(map, &[0.0, 4.0 * first, 31.0 * first, 40.0 * first], 1e-6);
}

#[test]
fn score_cam_takes_the_softmax_over_channels_of_the_scores_under_each_mask() {
    // The layer is the image: channel 0 is (0, 2), its mask (0, 1); channel 1 is (3, 1), its mask (1, 0); channel
    // 2 is flat, and its mask leaves nothing. With S = Σx₀ + 2Σx₁ the scores are 2 + 2·1 = 4, 2·3 = 6, and 0 (the
    // flat channel weighs nothing in S).
    let model = Alone::new([3, 1, 2], None);
    let target = Target::function(|y| {
        let weights = Tensor::<2>::from_floats([[1.0, 1.0, 2.0, 2.0, 0.0, 0.0]], &y.device());
        let [batch, _] = y.dims();
        (y * weights).sum_dim(1).reshape([batch])
    });
    let x = image([[[0.0, 2.0]], [[3.0, 1.0]], [[5.0, 5.0]]]);
    let cam = Cam::new(Formula::ScoreCam).penultimate_layer("features").baseline(Baseline::Value(0.0));
    let map = cam.map(&model, x.clone(), &target).unwrap().map;
    let sum = 4_f32.exp() + 6_f32.exp() + 1.0;
    let weights = [4_f32.exp() / sum, 6_f32.exp() / sum, 1.0 / sum];
    let at =
        |values: [f32; 3]| -> f32 { weights.iter().zip(values).map(|(weight, value)| weight * value).sum() };
    assert_map(map, &[at([0.0, 3.0, 5.0]), at([2.0, 1.0, 5.0])], 1e-5);

    // The two channels that vary share all the weight.
    let map = cam.max_channels(2).map(&model, x, &target).unwrap().map;
    let sum = 4_f32.exp() + 6_f32.exp();
    let (first, second) = (4_f32.exp() / sum, 6_f32.exp() / sum);
    assert_map(map, &[3.0 * second, 2.0 * first + second], 1e-5);
}

#[test]
fn eigen_cam_of_an_activation_of_rank_one_is_its_pattern_without_the_mean() {
    // Channel k is c_k·u with c = (2, −1, 2), whose length is 3: the projection on c/3 of c·(u − mean u) is
    // 3·(u − mean u), and the mean over the channels, u, grows with it.
    let model = Alone::new([3, 2, 2], None);
    let x = image([[[2.0, 4.0], [6.0, 12.0]], [[-1.0, -2.0], [-3.0, -6.0]], [[2.0, 4.0], [6.0, 12.0]]]);
    let cam = Cam::new(Formula::EigenCam).penultimate_layer("features");
    // u = (1, 2, 3, 6), mean 3.
    let map = cam.map(&model, x.clone(), &Target::class(0)).unwrap().map;
    assert_map(map, &[-6.0, -3.0, 0.0, 9.0], 1e-5);
    // Turning every sign turns the map.
    let map = cam.map(&model, x.neg(), &Target::class(0)).unwrap().map;
    assert_map(map, &[6.0, 3.0, 0.0, -9.0], 1e-5);
}

#[test]
fn weights_agree_with_xplique_where_activation_and_gradient_are_the_same() {
    // S = ½ΣA² has the gradient A. Channels: all ones, two ones, (1, ½), (½).
    let half_square = || {
        Target::function(|y| {
            let [batch, _] = y.dims();
            (y.square() * 0.5).sum_dim(1).reshape([batch])
        })
    };
    let channels = [
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.5], [0.0, 0.0]],
        [[0.0, 0.0], [0.5, 0.0]],
    ];
    let model = Alone::new([4, 2, 2], None);
    let cam = |formula, x| {
        Cam::new(formula).penultimate_layer("features").map(&model, x, &half_square()).unwrap().map
    };
    let sum = |channels: [[[f32; 2]; 2]; 4], weights: [f32; 4]| -> Vec<f32> {
        let at = |place: usize| channels.iter().zip(weights).map(|(c, w)| c[place / 2][place % 2] * w).sum();
        (0..4).map(at).collect()
    };
    // The means of the gradients.
    assert_map(cam(Formula::GradCam, image(channels)), &sum(channels, [1.0, 0.5, 0.375, 0.125]), 1e-6);

    // Grad-CAM++: 4·1/(2+4), 2·1/(2+2), nothing for a channel of zeros, ½·1/(2 + ½·½).
    let channels = [channels[0], channels[1], [[0.0; 2]; 2], channels[3]];
    let expected = sum(channels, [2.0 / 3.0, 0.5, 0.0, 2.0 / 9.0]);
    assert_map(cam(Formula::GradCamPlusPlus, image(channels)), &expected, 1e-5);
}

#[test]
fn grad_cam_of_two_added_images_sees_their_sum() {
    // 0..15 plus ones: windows 54, 63, 90, 99; A = (4, 13, 40, 49), (−21, −12, 15, 24); G = 1 everywhere in
    // channel 0 and (0, 0, −1, −1) in channel 1: 1·A₀ − ½·A₁.
    let both = Tensor::cat(vec![OneConv::image(), OneConv::image().ones_like()], 3);
    let cam = Cam::new(Formula::GradCam).penultimate_layer("conv1");
    let map = cam.map(&OneConv::of_two_images(), both, &Target::class(0)).unwrap().map;
    assert_map(map, &[14.5, 19.0, 32.5, 37.0], 1e-6);
}

#[test]
fn at_the_pooled_layer_the_sum_of_the_map_is_the_logit_without_its_bias() {
    // S = Σ_k w_k·mean_p A_k(p) + b, so G_k(p) = w_k/P and Σ_p Σ_k G_k A_k(p) = S − b. The gradient is the same
    // at all places of a channel, so mean, product and quotient of HiResCAM and XGradCAM come to the same map.
    for seed in 0..5 {
        let model = Pooled::new(seed);
        let images = random_image([2, 3, 9, 7], 0.0..1.0, seed);
        let logits = crate::host::array2(model.classify(images.clone()).unwrap());
        for class in 0..4 {
            let cam = |formula| Cam::new(formula).map(&model, images.clone(), &Target::class(class)).unwrap();
            let grad_cam = cam(Formula::GradCam);
            assert_eq!(grad_cam.layer, "conv2", "the last layer with more than one position");
            let sums = crate::host::values(grad_cam.map.clone().sum_dims(&[1, 2, 3]));
            for (sum, logits) in sums.iter().zip(logits.rows()) {
                let evidence = logits[class] - model.bias[class];
                assert!((sum - evidence).abs() < 1e-4, "{sum} of {evidence}");
            }
            assert!(difference(cam(Formula::HiResCam).map, grad_cam.map.clone()) < 1e-5);
            assert!(difference(cam(Formula::XGradCam).map, grad_cam.map) < 1e-4);
        }
    }
}

#[test]
fn the_layer_is_the_last_before_the_target_that_has_more_than_one_position() {
    let model = Pooled::new(1);
    let x = random_image([1, 3, 9, 7], 0.0..1.0, 0);
    let layer = |target: Target| Cam::new(Formula::GradCam).map(&model, x.clone(), &target).unwrap().layer;
    assert_eq!(layer(Target::class(0)), "conv2");
    assert_eq!(layer(Target::class(0).in_layer("softmax")), "conv2");
    assert_eq!(layer(Target::channel("conv2", 1)), "conv1");
}

#[test]
fn targets_that_choose_different_layers_need_one_to_be_named() {
    let model = Pooled::new(1);
    let images = random_image([2, 3, 9, 7], 0.0..1.0, 0);
    let each = [Target::class(0), Target::channel("conv2", 1)];
    let target = Target::per_image(each.clone());
    for formula in Formula::ALL {
        let cam = Cam::new(formula);
        let refused = cam.map(&model, images.clone(), &target).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the layer of a class activation map must be named, where the targets of the images choose different \
             ones, not left open: `conv1` comes before `conv2`, `conv2` before `logits`"
        );
        // Named, it is the same for all, and a batch is its single runs.
        let cam = cam.penultimate_layer("conv1");
        let both = cam.map(&model, images.clone(), &target).unwrap().map;
        for (index, target) in each.iter().enumerate() {
            let one = cam.map(&model, images.clone().narrow(0, index, 1), target).unwrap().map;
            assert!(difference(both.clone().narrow(0, index, 1), one) < 1e-4, "{formula}");
        }
    }
    // Different targets may choose the same.
    let same = Target::per_image([Target::class(0), Target::class(2).in_layer("softmax")]);
    assert_eq!(Cam::new(Formula::GradCam).map(&model, images, &same).unwrap().layer, "conv2");
}

#[test]
fn a_rectified_map_has_lost_its_negative_values_and_a_negated_gradient_turns_it_over() {
    let model = Pooled::new(3);
    let x = random_image([1, 3, 9, 7], 0.0..1.0, 0);
    let cam = Cam::new(Formula::HiResCam).map(&model, x.clone(), &Target::class(2)).unwrap();
    let signed = crate::host::values(cam.map.clone());
    let expected: Vec<f32> = signed.iter().map(|value| value.max(0.0)).collect();
    assert_map(cam.rectified().map, &expected, 0.0);
    let against = Cam::new(Formula::HiResCam).grad_modifier(GradientModifier::Negate);
    let expected: Vec<f32> = signed.iter().map(|value| -value).collect();
    assert_map(against.map(&model, x, &Target::class(2)).unwrap().map, &expected, 1e-6);
    // Enlarged to the image, half a place from each border the values are those of the corner places.
    let large = crate::host::array4(cam.upsampled());
    assert_eq!(large.dim(), (1, 1, 9, 7));
    assert!((large[[0, 0, 0, 0]] - signed[0]).abs() < 1e-6);
    assert!((large[[0, 0, 8, 6]] - signed[14]).abs() < 1e-6);
}
