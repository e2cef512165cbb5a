//! What can't be answered is said, with its reason, and no map is made up.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Tensor, activation, module, ops::ConvOptions};
use vis::Target;
use vis::attribution::{
    Attribution, Baseline, Blank, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Rise,
    Saliency, SmoothGrad,
};
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, BestMatch, Content, Style, TotalVariation};
use vis::metrics::{MuFidelity, PixelCurve, average_drop};
use vis::model::{InputSpec, Stop, Taps};
use vis::visualization::{deep_dream, invert};
use vis::{Error, Model, Optimizer, Rule, visualize_cam, visualize_saliency};

use crate::support::{assert_close, device, tensor};

type Forward = dyn Fn(Tensor<4>, &mut Taps) -> Result<(), Stop> + Send + Sync;

/// A network written as a closure.
struct Net {
    input: InputSpec,
    logits: Option<&'static str>,
    forward: Box<Forward>,
}

impl Model for Net {
    fn input(&self) -> &InputSpec {
        &self.input
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        (self.forward)(image, taps)
    }
    fn logits(&self) -> Option<&str> {
        self.logits
    }
}

fn net(
    input: InputSpec,
    logits: Option<&'static str>,
    forward: impl Fn(Tensor<4>, &mut Taps) -> Result<(), Stop> + Send + Sync + 'static,
) -> Net {
    Net { input, logits, forward: Box::new(forward) }
}

fn units(shape: [usize; 3]) -> InputSpec {
    InputSpec::new(shape, (0.0, 1.0))
}

/// Weights of both signs for the pixels of an image.
fn weights(shape: [usize; 3]) -> Tensor<4> {
    let [channels, height, width] = shape;
    let count = channels * height * width;
    let values: Vec<f32> = (0..count).map(|index| (index as f32 * 0.618_034).fract() - 0.4).collect();
    tensor(&values, [1, channels, height, width])
}

fn image(batch: usize, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let count = batch * channels * height * width;
    let values: Vec<f32> = (0..count).map(|index| 0.1 + 0.8 * (index as f32 * 0.414_213).fract()).collect();
    tensor(&values, [batch, channels, height, width])
}

/// A rectified map of two channels, and two sums of it.
fn pooled(shape: [usize; 3]) -> Net {
    let kernel = weights([2 * shape[0], 3, 3]).reshape([2, shape[0], 3, 3]);
    net(units(shape), Some("logits"), move |image, taps| {
        let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let x = taps.relu(module::conv2d(image, kernel.clone(), None, same));
        let x = taps.layer("conv", x)?;
        let [batch, ..] = x.dims();
        let pooled = x.mean_dims(&[2, 3]).reshape([batch, 2]);
        let mixed = pooled.clone().narrow(1, 0, 1) - pooled.clone().narrow(1, 1, 1) * 2.0;
        taps.layer("logits", Tensor::cat(vec![mixed, pooled], 1))?;
        Ok(())
    })
}

const SHAPE: [usize; 3] = [3, 7, 11];

fn every_method() -> Vec<Box<dyn Attribution>> {
    let mut methods: Vec<Box<dyn Attribution>> = vec![
        Box::new(Saliency::new()),
        Box::new(Saliency::guided()),
        Box::new(Saliency::new().times_input()),
        Box::new(SmoothGrad::new(Saliency::new()).samples(3)),
        Box::new(IntegratedGradients::new().steps(3)),
        Box::new(GuidedGradCam::new()),
        Box::new(Occlusion::new([3, 3])),
        Box::new(Rise::new().cells(3).masks(9)),
    ];
    methods.extend(Formula::ALL.map(|formula| Box::new(Cam::new(formula)) as Box<dyn Attribution>));
    methods
}

#[track_caller]
fn non_finite<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(error @ Error::NonFinite { step: None, .. }) => {
            let said = error.to_string();
            assert!(said.contains("is NaN or infinite") && !said.contains("step"), "{said}");
            said
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_that_is_not_finite_is_named_by_every_method_with_the_place() {
    let model = pooled(SHAPE);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = crate::host::values(image(2, SHAPE));
        // Image 1, channel 2, row 4, column 9.
        values[(3 + 2) * 77 + 4 * 11 + 9] = bad;
        let images = tensor(&values, [2, 3, 7, 11]);
        let place = "the value of image 1 at channel 2, row 4, column 9";
        for target in [Target::class(1), Target::predicted(), Target::probability(0), Target::layer("conv")] {
            for method in every_method() {
                let said = non_finite(method.attribute(&model, images.clone(), &target));
                assert!(said.starts_with(place), "{}: {said}", method.name());
            }
        }
        assert!(non_finite(model.classify(images.clone())).starts_with(place));
        assert!(non_finite(Target::class(0).scores(&model, images.clone())).starts_with(place));
        let one = images.narrow(0, 1, 1);
        let place = place.replace("image 1", "image 0");
        let doors = [
            visualize_saliency(&model, one.clone()).run().map(drop),
            visualize_saliency(&model, one.clone()).filter_indices(1).smooth(3).run().map(drop),
            visualize_cam(&model, one.clone()).run().map(drop),
            visualize_cam(&model, one.clone()).target_layer("conv").penultimate_layer("conv").run().map(drop),
            deep_dream(&model, one.clone()).layer("conv").run().map(drop),
            invert(&model, one.clone(), "conv").run().map(drop),
            Content::new(&model, one.clone(), "conv").map(drop),
            BestMatch::new(&model, one.clone(), "conv").map(drop),
            Style::new(&model, one, [("conv", 1.0)]).map(drop),
        ];
        for (door, result) in doors.into_iter().enumerate() {
            let said = non_finite(result);
            assert!(said.starts_with(&place), "front door {door}: {said}");
        }
    }
}

#[test]
fn a_flat_photo_brought_to_range_by_nothing_over_nothing_gives_no_prediction() {
    let model = pooled([3, 8, 6]);
    let flat = Tensor::<4>::full([1, 3, 8, 6], 7.0, &device());
    let photo = (flat.clone() - flat.clone().min().reshape([1, 1, 1, 1])) / (flat.clone() - flat);
    let said = non_finite(visualize_cam(&model, photo).run());
    assert!(said.starts_with("the value of image 0 at channel 0, row 0, column 0 "), "{said}");
}

#[test]
fn a_score_that_is_not_finite_is_named_though_the_gradient_is() {
    // ∞ + x has the gradient 1.
    let model = net(units([1, 3, 5]), Some("sums"), |image, taps| {
        let image = taps.layer("map", image)?;
        let [batch, ..] = image.dims();
        let sums = image.sum_dims(&[1, 2, 3]).reshape([batch, 1]);
        taps.layer("sums", Tensor::cat(vec![sums.clone(), sums * 2.0 + f32::INFINITY], 1))?;
        Ok(())
    });
    let images = image(2, [1, 3, 5]);
    for method in every_method() {
        if method.name() == "EigenCAM" || method.name().contains("uided") {
            continue; // knows no score; has no rectifier
        }
        let said = non_finite(method.attribute(&model, images.clone(), &Target::class(1)));
        assert!(said.contains("class 1 for image 0"), "{}: {said}", method.name());
        assert!(method.attribute(&model, images.clone(), &Target::class(0)).is_ok(), "{}", method.name());
    }
    assert_eq!(
        non_finite(model.classify(images.clone())),
        "the score of class 1 in `sums` for image 0 is NaN or infinite"
    );
    assert!(non_finite(Target::class(1).scores(&model, images.clone())).contains("class 1 for image 0"));
    assert!(non_finite(visualize_saliency(&model, images.clone().narrow(0, 0, 1)).run()).contains("`sums`"));
    let map = images.clone();
    let target = Target::class(1);
    let metrics = [
        average_drop(&model, images.clone(), map.clone(), &target, &Baseline::Black).map(drop),
        PixelCurve::deletion().steps(4).evaluate(&model, images.clone(), map.clone(), &target).map(drop),
        MuFidelity::new().sets(4).evaluate(&model, images.clone(), map, &target).map(drop),
    ];
    for metric in metrics {
        assert!(non_finite(metric).contains("class 1 for image 0"));
    }
}

#[test]
fn an_activation_that_is_not_finite_is_named_by_its_layer() {
    // The layer is infinite where the image is bright; what follows is bounded.
    let model = net(units([1, 4, 6]), Some("logits"), |image, taps| {
        let x = taps.layer("map", (image - 0.5) * 1e38 * 1e3)?;
        let [batch, ..] = x.dims();
        let bounded = activation::tanh(x.clamp(-1.0, 1.0)).sum_dims(&[1, 2, 3]).reshape([batch, 1]);
        taps.layer("logits", Tensor::cat(vec![bounded.clone(), bounded.neg() * 3.0], 1))?;
        Ok(())
    });
    let images = Tensor::full([2, 1, 4, 6], 0.75, &device());
    for formula in [Formula::HiResCam, Formula::EigenCam] {
        let cam = Cam::new(formula).penultimate_layer("map");
        let refused = cam.map(&model, images.clone(), &Target::class(0));
        if matches!(refused, Err(Error::ZeroGradient { .. })) {
            continue; // the clamp passes nothing
        }
        assert_eq!(non_finite(refused), "the activation of `map` for image 0 is NaN or infinite");
    }
    assert!(non_finite(Target::layer("map").scores(&model, images)).contains("mean of `map` for image 0"));
}

#[test]
fn maps_and_baselines_that_are_not_finite_are_refused() {
    let model = pooled(SHAPE);
    let (images, target) = (image(2, SHAPE), Target::class(1));
    let mut map = vec![0.5; 2 * 77];
    map[77 + 3 * 11 + 4] = f32::NAN;
    let map = tensor(&map, [2, 1, 7, 11]);
    let metrics = [
        average_drop(&model, images.clone(), map.clone(), &target, &Baseline::Black).map(drop),
        PixelCurve::insertion().evaluate(&model, images.clone(), map.clone(), &target).map(drop),
        MuFidelity::new().evaluate(&model, images.clone(), map, &target).map(drop),
    ];
    for metric in metrics {
        let said = non_finite(metric);
        assert!(said.starts_with("the value of the map of image 1 at channel 0, row 3, column 4"), "{said}");
    }
    let baseline = Baseline::Image(images.clone() * f32::NAN);
    for method in [
        Box::new(Occlusion::new([3, 3]).baseline(baseline.clone())) as Box<dyn Attribution>,
        Box::new(Rise::new().cells(3).masks(4).baseline(baseline.clone())),
        Box::new(IntegratedGradients::new().baseline(baseline.clone())),
        Box::new(Cam::new(Formula::ScoreCam).baseline(baseline)),
    ] {
        let said = non_finite(method.attribute(&model, images.clone(), &target));
        assert!(said.starts_with("the value of baseline 0 at"), "{said}");
    }
}

/// σ(−3) = 1 / (1 + e³).
const SIGMOID_OF_MINUS_3: f32 = 0.047_425_87;

/// One output: a weighted sum of the pixels.
fn single(shape: [usize; 3], bias: f32) -> Net {
    net(units(shape), Some("logit"), move |image, taps| {
        let [batch, ..] = image.dims();
        let image = taps.layer("map", image)?;
        taps.layer("logit", (image * weights(shape)).sum_dims(&[1, 2, 3]).reshape([batch, 1]) + bias)?;
        Ok(())
    })
}

#[test]
fn the_probability_of_a_single_output_is_its_sigmoid() {
    let model = single([2, 5, 4], -3.0);
    let black = Tensor::zeros([3, 2, 5, 4], &device());
    let scores = Target::probability(0).scores(&model, black.clone()).unwrap();
    assert_close(&scores, &[SIGMOID_OF_MINUS_3; 3], 1e-7);
    assert_close(&Target::class(0).scores(&model, black.clone()).unwrap(), &[-3.0; 3], 0.0);
    assert_close(
        &Target::predicted().as_probability().scores(&model, black.clone()).unwrap(),
        &[SIGMOID_OF_MINUS_3; 3],
        1e-7,
    );
    // Its gradient is σ (1 − σ) w.
    let map = Saliency::new().attribute(&model, black.narrow(0, 0, 1), &Target::probability(0)).unwrap();
    let slope = SIGMOID_OF_MINUS_3 * (1.0 - SIGMOID_OF_MINUS_3);
    let expected = crate::host::values(weights([2, 5, 4]) * slope);
    assert_close(&crate::host::values(map), &expected, 1e-7);
    // Two outputs are a softmax still.
    let two = pooled(SHAPE);
    let sum: f32 =
        (0..3).map(|class| Target::probability(class).scores(&two, image(1, SHAPE)).unwrap()[0]).sum();
    assert!((sum - 1.0).abs() < 1e-6);
}

#[test]
fn the_title_of_a_single_output_is_not_certain() {
    let model = single([1, 5, 4], -3.0);
    let heatmap = visualize_saliency(&model, Tensor::zeros([1, 1, 5, 4], &device())).run().unwrap();
    assert!(heatmap.title().ends_with("The network sees: class 0 5 %"), "{}", heatmap.title());
    assert!((heatmap.predictions[0].1 - SIGMOID_OF_MINUS_3).abs() < 1e-7);
    let sure = single([1, 5, 4], 3.0);
    let heatmap = visualize_saliency(&sure, Tensor::zeros([1, 1, 5, 4], &device())).run().unwrap();
    assert!(heatmap.title().ends_with("class 0 95 %"), "{}", heatmap.title());
}

#[test]
fn hiding_parts_explains_the_probability_of_a_single_output() {
    let shape = [1, 5, 4];
    let (model, white) = (single(shape, -3.0), Tensor::ones([1, 1, 5, 4], &device()));
    let target = Target::probability(0);
    let map = Occlusion::new([1, 1]).stride([1, 1]).attribute(&model, white.clone(), &target).unwrap();
    let weights = crate::host::values(weights(shape));
    let logit: f32 = weights.iter().sum::<f32>() - 3.0;
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    let expected: Vec<f32> = weights.iter().map(|weight| sigmoid(logit) - sigmoid(logit - weight)).collect();
    assert_close(&crate::host::values(map), &expected, 1e-6);
    // The mean score with a pixel open grows with the pixel's weight.
    let rise = Rise::new().cells(4).masks(3000).attribute(&model, white, &target).unwrap();
    let rise = crate::host::values(rise);
    let mean = |of: &dyn Fn(f32) -> bool| {
        let chosen: Vec<f32> =
            rise.iter().zip(&weights).filter(|(_, w)| of(**w)).map(|(map, _)| *map).collect();
        chosen.iter().sum::<f32>() / chosen.len() as f32
    };
    let (for_it, against) = (mean(&|weight| weight > 0.0), mean(&|weight| weight < 0.0));
    assert!(for_it > 1.01 * against, "{for_it} against {against}");
    let (least, most) = rise.iter().fold((1.0_f32, 0.0_f32), |(l, m), v| (l.min(*v), m.max(*v)));
    assert!(most - least > 0.1 * most, "{least} to {most}");
}

#[test]
fn images_far_outside_the_range_are_refused_and_a_little_overshoot_is_not() {
    for (range, bad) in [
        ((0.0, 1.0), (0.0, 255.0)),
        ((0.0, 255.0), (-1000.0, 255.0)),
        ((-1.0, 1.0), (0.0, 255.0)),
        ((0.0, 1.0), (0.0, 1e30)),
        ((0.0, 255.0), (0.0, 640.0)),
        ((0.0, 1.0), (-2.118, 2.64)),
        ((-10.0, -9.0), (-10.0, 0.0)),
    ] {
        let mut model = pooled(SHAPE);
        model.input = InputSpec::new(SHAPE, range);
        let (low, high) = bad;
        let spread = |(low, high): (f32, f32)| image(2, SHAPE) * ((high - low) / 0.8) + low;
        let images = (spread(bad) - low).clamp(0.0, high - low) + low;
        let images = images.slice_assign([0..1, 0..1, 0..1, 0..2], tensor(&[low, high], [1, 1, 1, 2]));
        for method in every_method() {
            let refused = method.attribute(&model, images.clone(), &Target::class(1));
            let Err(error @ Error::InvalidParameter { .. }) = refused else { panic!("{refused:?}") };
            let said = error.to_string();
            assert!(said.contains(&format!("within {} to {}", range.0, range.1)), "{said}");
        }
        let scores = Target::class(0).scores(&model, images.clone());
        assert!(matches!(scores, Err(Error::InvalidParameter { .. })));
        let one = images.narrow(0, 0, 1);
        assert!(visualize_cam(&model, one.clone()).run().is_err());
        assert!(visualize_saliency(&model, one.clone()).run().is_err());
        assert!(deep_dream(&model, one.clone()).layer("conv").run().is_err());
        assert!(Content::new(&model, one.clone(), "conv").is_err());
        // A run moves the image that it starts from, and may bring it back.
        let run = Optimizer::new(&model, TotalVariation::default()).max_iter(1);
        let far = (bad.1 - range.1).max(range.0 - bad.0) > 10.0 * (range.1 - range.0);
        assert_eq!(run.seed_img(one).minimize().is_err(), far);
        // One and a half times as far outside as the range is wide, on both sides.
        let width = range.1 - range.0;
        let ends = tensor(&[range.0 - 1.49 * width, range.1 + 1.49 * width], [1, 1, 1, 2]);
        let near = (image(1, SHAPE) * width + range.0).slice_assign([0..1, 0..1, 0..1, 0..2], ends);
        assert!(model.input().check_values(&near).is_ok());
        assert!(model.classify(near).is_ok());
    }
}

#[test]
fn noise_may_leave_the_range_as_far_as_it_likes() {
    let method = SmoothGrad::new(Saliency::new()).samples(6).noise(5.0);
    assert!(method.attribute(&pooled(SHAPE), image(2, SHAPE), &Target::predicted()).is_ok());
}

/// Logits and their softmax, of which the first are not tapped unless they have a name.
fn classifier(tapped: &'static [&'static str], logits: Option<&'static str>) -> Net {
    net(units([1, 4, 6]), logits, move |image, taps| {
        let [batch, ..] = image.dims();
        let image = taps.layer("map", image)?;
        let x = (image.repeat_dim(1, 3) * weights([3, 4, 6])).sum_dims(&[2, 3]).reshape([batch, 3]);
        let x = if tapped.contains(&"logits") { taps.layer("logits", x)? } else { x };
        taps.layer("softmax", activation::softmax(x, 1))?;
        Ok(())
    })
}

#[test]
fn a_softmax_tapped_last_is_not_taken_for_logits() {
    let images = image(2, [1, 4, 6]);
    for model in [classifier(&[], None), classifier(&["logits"], None)] {
        for target in [
            Target::class(1),
            Target::predicted(),
            Target::probability(0),
            Target::class(0) - Target::class(1),
        ] {
            let refused = Saliency::new().attribute(&model, images.clone(), &target);
            assert!(
                matches!(&refused, Err(Error::Probabilities { layer }) if layer == "softmax"),
                "{refused:?}"
            );
        }
        assert!(matches!(model.classify(images.clone()), Err(Error::Probabilities { .. })));
        // Asked for by name it is what was asked for.
        let named = Target::class(1).in_layer("softmax");
        assert!(Saliency::new().attribute(&model, images.clone(), &named).is_ok());
    }
    let wrong = classifier(&["logits"], Some("softmax"));
    assert!(matches!(wrong.classify(images.clone()), Err(Error::Probabilities { .. })));
    assert!(matches!(
        visualize_cam(&wrong, images.clone().narrow(0, 0, 1)).run(),
        Err(Error::Probabilities { .. })
    ));
    assert!(matches!(
        Saliency::new().attribute(&wrong, images.clone(), &Target::predicted()),
        Err(Error::Probabilities { .. })
    ));
    let right = classifier(&["logits"], Some("logits"));
    assert!(Saliency::new().attribute(&right, images.clone(), &Target::class(1)).is_ok());
    let named = Target::class(1).in_layer("logits");
    assert!(Saliency::new().attribute(&classifier(&["logits"], None), images, &named).is_ok());
}

/// A layer that is tapped, and the network goes on with what it had before.
fn forgetful(shape: [usize; 3]) -> Net {
    let kernel = weights([2 * shape[0], 3, 3]).reshape([2, shape[0], 3, 3]);
    net(units(shape), Some("logits"), move |image, taps| {
        let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let y = taps.relu(module::conv2d(image, kernel.clone(), None, same));
        taps.layer("conv", y.clone())?;
        let y = taps.relu(y);
        let y = taps.layer("used", y)?;
        let [batch, ..] = y.dims();
        taps.layer("logits", y.sum_dims(&[2, 3]).reshape([batch, 2]))?;
        Ok(())
    })
}

#[test]
fn a_layer_that_was_tapped_but_not_used_is_named_by_every_method_that_weighs_it() {
    let (model, images, target) = (forgetful(SHAPE), image(2, SHAPE), Target::class(1));
    let assert_unused = |result: Result<(), Error>, name: &str| match result {
        Err(error @ Error::UnusedLayer { .. }) => {
            let said = error.to_string();
            assert!(said.contains("`logits` does not depend on the layer `conv`"), "{said}");
            assert!(said.contains("let x = taps.layer(\"conv\", x)?;"), "{said}");
        }
        other => panic!("{name}: {other:?}"),
    };
    for formula in Formula::ALL {
        let cam = Cam::new(formula).penultimate_layer("conv");
        let result = cam.map(&model, images.clone(), &target);
        match formula {
            // They ask for the layer's values alone.
            Formula::EigenCam | Formula::ScoreCam => assert!(result.is_ok(), "{formula}: {result:?}"),
            _ => assert_unused(result.map(drop), formula.name()),
        }
        assert!(
            Cam::new(formula).penultimate_layer("used").map(&model, images.clone(), &target).is_ok(),
            "{formula}"
        );
    }
    let guided = Cam::new(Formula::GradCam).penultimate_layer("conv").rule(Rule::Guided);
    assert_unused(guided.map(&model, images.clone(), &target).map(drop), "guided");
    let both = GuidedGradCam::new().penultimate_layer("conv");
    assert_unused(both.attribute(&model, images.clone(), &target).map(drop), "guided Grad-CAM");
    let losses = ActivationMaximization::new("logits", 0).into();
    let at_layer = Gradient::new(&model, &losses).at_layer("conv").evaluate(images.clone());
    assert_unused(at_layer.map(drop), "the gradient at a layer");
    let one = images.narrow(0, 0, 1);
    let door = visualize_cam(&model, one.clone()).filter_indices(1).penultimate_layer("conv").run();
    assert_unused(door.map(drop), "visualize_cam");
}

#[test]
fn a_layer_after_the_target_is_told_apart_from_one_that_is_not_used() {
    let model = forgetful(SHAPE);
    let late = Cam::new(Formula::GradCam).penultimate_layer("used");
    let refused = late.map(&model, image(1, SHAPE), &Target::layer("conv"));
    assert!(matches!(&refused, Err(Error::InvalidParameter { .. })), "{refused:?}");
    // And of a target that is the layer itself, the gradient is its own.
    let losses = ActivationMaximization::new("conv", 0).into();
    let own = Gradient::new(&model, &losses).at_layer("conv").evaluate(image(1, SHAPE)).unwrap();
    assert!(own.connected);
}

fn reason(result: Result<Tensor<4>, Error>) -> String {
    match result {
        Err(Error::ZeroGradient { hint, .. }) => hint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_zero_gradient_is_blamed_on_the_rule_only_where_the_plain_one_is_not_zero() {
    // The score falls with every rectified unit, so that guided backprop and deconvolution pass nothing.
    let model = |bias: f32| {
        net(units([2, 3, 5]), Some("score"), move |image, taps| {
            let x = taps.relu(image + bias);
            let x = taps.layer("rectified", x)?;
            let x = taps.relu(x);
            let [batch, ..] = x.dims();
            taps.layer("score", x.sum_dims(&[1, 2, 3]).neg().reshape([batch, 1]))?;
            Ok(())
        })
    };
    let images = || image(2, [2, 3, 5]);
    let target = Target::class(0);
    for (rule, name) in [(Rule::Guided, "guided"), (Rule::Deconvolution, "deconvolution")] {
        let blocked = [
            reason(Saliency::new().rule(rule).attribute(&model(0.0), images(), &target)),
            reason(SmoothGrad::new(Saliency::new().rule(rule)).samples(3).attribute(
                &model(0.0),
                images(),
                &target,
            )),
            reason(Cam::new(Formula::GradCam).penultimate_layer("rectified").rule(rule).attribute(
                &model(0.0),
                images(),
                &target,
            )),
        ];
        for said in blocked {
            assert!(said.contains("the plain gradient is not zero") && said.contains(name), "{said}");
        }
        // All units are off: there is no plain gradient either.
        let dead = reason(Saliency::new().rule(rule).attribute(&model(-2.0), images(), &target));
        assert!(dead.contains("switched off") && !dead.contains("rule"), "{dead}");
    }
    let dead = reason(Saliency::new().attribute(&model(-2.0), images(), &target));
    assert!(dead.contains("switched off"), "{dead}");
    assert!(Saliency::new().attribute(&model(0.0), images(), &target).is_ok());
}

#[test]
fn a_score_that_no_gradient_leads_to_is_told_apart_from_a_dead_unit() {
    let model = net(units([1, 3, 4]), Some("score"), |image, taps| {
        let x = taps.relu(image);
        let [batch, ..] = x.dims();
        taps.layer("score", x.detach().sum_dims(&[1, 2, 3]).reshape([batch, 1]))?;
        Ok(())
    });
    for method in [Saliency::new(), Saliency::guided()] {
        let said = reason(method.attribute(&model, image(1, [1, 3, 4]), &Target::class(0)));
        assert!(said.contains("no operation that has a gradient"), "{said}");
    }
}

#[test]
fn ablation_divides_by_the_magnitude_of_the_score_whatever_its_sign() {
    // S = Σ_k w_k mean(A_k) + b: without channel k it falls by w_k mean(A_k), so that the weight is that over |S|.
    let shape = [3, 4, 5];
    for bias in [-10.0_f32, 0.5, 10.0, -0.25] {
        let model = net(units(shape), Some("score"), move |image, taps| {
            let x = taps.layer("map", image)?;
            let [batch, channels, ..] = x.dims();
            let means = x.mean_dims(&[2, 3]).reshape([batch, channels]);
            taps.layer("score", means.matmul(tensor(&[1.0, -2.0, 3.0], [3, 1])) + bias)?;
            Ok(())
        });
        let images = image(2, shape);
        let map = Cam::new(Formula::AblationCam).penultimate_layer("map").map(
            &model,
            images.clone(),
            &Target::class(0),
        );
        let (map, activation) = (crate::host::array4(map.unwrap().map), crate::host::array4(images.clone()));
        let scores = Target::class(0).scores(&model, images).unwrap();
        assert!(bias.abs() < 1.0 || scores.iter().all(|score| score.signum() == f32::signum(bias)));
        for (index, score) in scores.iter().enumerate() {
            for (row, column) in [(0, 0), (3, 4), (1, 2)] {
                let expected: f32 = [1.0, -2.0, 3.0]
                    .iter()
                    .enumerate()
                    .map(|(channel, weight)| {
                        let of = activation.slice(ndarray::s![index, channel, .., ..]);
                        weight * of.mean().unwrap() / score.abs() * of[[row, column]]
                    })
                    .sum();
                let got = map[[index, 0, row, column]];
                assert!((got - expected).abs() < 1e-4 * expected.abs().max(1.0), "{got} is not {expected}");
            }
        }
    }
}

#[test]
fn a_map_that_says_nothing_says_so() {
    // Logit 1 − 2·(…): where both channels of `conv` are positive, class 0 may have a map of both signs, class 1 a
    // positive one, and its opposite is negative everywhere.
    let model = pooled(SHAPE);
    let cam = |target| Cam::new(Formula::HiResCam).map(&model, image(2, SHAPE), &target).unwrap();
    assert_eq!(cam(Target::class(1)).blank(), [None, None]);
    let margin = Target::function(|logits| {
        let [batch, _] = logits.dims();
        logits.narrow(1, 1, 1).neg().reshape([batch])
    });
    assert_eq!(cam(margin.clone()).blank(), [Some(Blank::Negative); 2]);
    let heatmap = visualize_cam(&model, image(1, SHAPE)).target(margin).run().unwrap();
    assert_eq!(heatmap.blank, Some(Blank::Negative));
    assert!(heatmap.title().ends_with("nothing speaks for the target"), "{}", heatmap.title());
    assert!(heatmap.map.iter().all(|value| *value == 0.0));

    let black = Tensor::zeros([2, 3, 7, 11], &device());
    let mixed = Tensor::cat(vec![black.narrow(0, 0, 1), image(1, SHAPE)], 0);
    let integrated = IntegratedGradients::new().evaluate(&model, mixed, &Target::class(1)).unwrap();
    assert_eq!(integrated.blank(), [Some(Blank::Zero), None]);

    // The gradient of a sum is the same everywhere.
    let sum = net(units(SHAPE), Some("sum"), |image, taps| {
        let [batch, ..] = image.dims();
        taps.layer("sum", image.sum_dims(&[1, 2, 3]).reshape([batch, 1]))?;
        Ok(())
    });
    let flat = visualize_saliency(&sum, image(1, SHAPE)).run().unwrap();
    assert_eq!(flat.blank, Some(Blank::Flat));
    let lively = visualize_saliency(&model, image(1, SHAPE)).run().unwrap();
    assert_eq!((lively.blank, lively.title().lines().count()), (None, 2));
}

#[test]
fn blanks_are_told_apart_to_within_rounding() {
    assert_eq!(Blank::of(&[]), None);
    assert_eq!(Blank::of(&[0.0, -0.0]), Some(Blank::Zero));
    assert_eq!(Blank::of(&[0.1 + 1e-9, 0.1, 0.1 - 1e-9]), Some(Blank::Flat));
    assert_eq!(Blank::of(&[-0.3; 5]), Some(Blank::Flat));
    assert_eq!(Blank::of(&[1.0, 1.0 + 1e-4]), None);
    assert_eq!(Blank::of(&[-1.0, 0.0]), Some(Blank::Negative));
    assert_eq!(Blank::of(&[f32::MIN, f32::MAX]), None);
    assert_eq!(Blank::of(&[1e-30, 2e-30]), None);
}

#[test]
fn numbers_do_not_depend_on_whether_there_is_a_picture() {
    for channels in [1, 2, 3, 4, 7] {
        let shape = [channels, 9, 6];
        let (model, photo) = (pooled(shape), image(1, shape));
        let saliency = visualize_saliency(&model, photo.clone()).filter_indices(1).run().unwrap();
        let expected = Saliency::new().attribute(&model, photo.clone(), &Target::class(1)).unwrap();
        assert_close(saliency.raw.as_slice().unwrap(), &crate::host::values(expected), 0.0);
        let cam = visualize_cam(&model, photo.clone()).filter_indices(2).run().unwrap();
        let expected = Cam::new(Formula::GradCam).map(&model, photo, &Target::class(2)).unwrap();
        assert_close(cam.raw.as_slice().unwrap(), &crate::host::values(expected.map), 0.0);
        let folder = tempfile::tempdir().unwrap();
        for heatmap in [saliency, cam] {
            let drawn = matches!(channels, 1 | 3);
            assert_eq!(heatmap.photo.is_some(), drawn, "{channels} channels");
            assert_eq!((heatmap.map.dim(), heatmap.predictions.len()), ((9, 6), 3));
            let path = folder.path().join("map.png");
            heatmap.save(&path).unwrap();
            let saved = vis::picture::load(&path).unwrap();
            assert_eq!(saved == heatmap.picture(), !drawn, "without a photo the map is what is saved");
            assert!(heatmap.panel().is_ok());
            match heatmap.overlay(0.5) {
                Ok(_) => assert!(drawn),
                Err(error) => {
                    assert!(!drawn);
                    assert!(error.to_string().contains(&format!("[{channels}, 9, 6]")), "{error}");
                }
            }
        }
    }
}

#[test]
fn maps_on_one_scale_keep_their_ratios() {
    let model = pooled(SHAPE);
    for (one, other) in [
        (
            visualize_cam(&model, image(1, SHAPE)).filter_indices(1).run().unwrap(),
            visualize_cam(&model, image(1, SHAPE) * 0.25).filter_indices(1).run().unwrap(),
        ),
        (
            visualize_saliency(&model, image(1, SHAPE)).filter_indices(0).run().unwrap(),
            visualize_saliency(&model, image(1, SHAPE)).filter_indices(2).percentile(100.0).run().unwrap(),
        ),
    ] {
        let (low, high) = (one.range.0.min(other.range.0), one.range.1.max(other.range.1));
        let before = [one.map.clone(), other.map.clone()];
        let maps = vis::visualization::Heatmap::on_one_scale([one.clone(), other.clone()]);
        for ((map, alone), range) in maps.iter().zip(&before).zip([one.range, other.range]) {
            assert_eq!(map.range, (low, high));
            for (together, alone) in map.map.iter().zip(alone) {
                // What was clipped alone may be more than that.
                let value = range.0 + alone * (range.1 - range.0);
                let expected = (value - low) / (high - low);
                assert!((together - expected).abs() < 1e-5 || (*alone == 1.0 && *together > expected));
            }
        }
        // The strongest of all is the only one that reaches 1 (or more than one, if clipped).
        let most = |map: &vis::visualization::Heatmap| map.map.iter().copied().fold(0.0, f32::max);
        let (first, second) = (most(&maps[0]), most(&maps[1]));
        assert!(first.max(second) == 1.0, "{first} and {second}");
        // A map alone is on a scale of its own.
        let alone = vis::visualization::Heatmap::on_one_scale([one.clone()]);
        assert_eq!(alone[0].map, one.map);
    }
    assert!(vis::visualization::Heatmap::on_one_scale([]).is_empty());
}

#[test]
fn a_weaker_photo_is_drawn_weaker_on_one_scale() {
    // The map of a linear network is linear in the photo: a quarter of it is a quarter as bright.
    let model = pooled(SHAPE);
    let cam =
        |strength: f32| visualize_cam(&model, image(1, SHAPE) * strength).filter_indices(1).run().unwrap();
    let maps = vis::visualization::Heatmap::on_one_scale([cam(1.0), cam(0.25)]);
    for (whole, quarter) in maps[0].map.iter().zip(&maps[1].map) {
        assert!((quarter - whole / 4.0).abs() < 1e-5, "{quarter} of {whole}");
    }
    assert_eq!(cam(0.25).map.iter().copied().fold(0.0, f32::max), 1.0);
}

#[test]
fn a_network_of_burns_modules_that_has_nothing_to_train_passes() {
    // A network of Burn's own modules that has nothing to train passes the comparison, of any size and of one.
    struct Plain(Conv2d, InputSpec);
    impl Model for Plain {
        fn input(&self) -> &InputSpec {
            &self.1
        }
        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            let x = taps.leaky_relu(self.0.forward(image), 0.1);
            let x = taps.layer("conv", x)?;
            let [batch, channels, ..] = x.dims();
            taps.layer("means", x.mean_dims(&[2, 3]).reshape([batch, channels]))?;
            Ok(())
        }
    }
    let conv = Conv2dConfig::new([3, 4], [3, 3]).init(&device());
    for input in [units([3, 40, 24]), units([3, 40, 24]).with_any_size_from(5)] {
        let model = Plain(conv.clone().no_grad(), input);
        let image = image(1, [3, 40, 24]);
        let map = Saliency::new().attribute(&model, image, &Target::class(1)).unwrap();
        assert!(crate::host::values(map).iter().any(|value| *value != 0.0));
    }
}
