//! A run of keras-vis, number by number; and what its users rely on.

use burn::tensor::Tensor;
use ndarray::{ArrayD, s};
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, LPNorm, Losses, TotalVariation};
use vis::model::{Digits, InputSpec, Preset, Taps, Tiny, Vgg16};
use vis::optimizer::{GradientModifier, Normalization};
use vis::parametrization::{Framed, Parametrization, Pixels};
use vis::{Error, Model, Optimizer, Rule, picture, visualize_activation};

use crate::support::{Function, assert_close, device, device_is_slow, tensor};

fn npy(file: &str) -> ArrayD<f32> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    crate::npy::read(&folder.join(file))
}

fn magnitude<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn losses() -> Losses {
    vis::losses![
        (ActivationMaximization::new("conv2", 3), 1.0),
        (LPNorm::default(), 10.0),
        (TotalVariation::default(), 10.0),
    ]
}

/// The run was made with PyTorch on the same weights: filter 7 of `block3_conv2`, weights 1, 10 and 10, 20 steps.
#[test]
fn a_run_of_keras_vis_is_reproduced() {
    let model = Vgg16::bundled(&device()).unwrap();
    let losses = vis::losses![
        (ActivationMaximization::new("block3_conv2", 7), 1.0),
        (LPNorm::default(), 10.0),
        (TotalVariation::default(), 10.0),
    ];
    let seed = npy("vgg_seed.npy").into_dimensionality().unwrap();
    let seed = crate::host::tensor4(seed.view(), &device());

    // Every second row and column of the gradient is kept.
    let gradient = Gradient::new(&model, &losses).evaluate(seed.clone()).unwrap().gradient;
    let (got, expected) = (crate::host::array4(gradient), npy("vgg_gradient0_half.npy"));
    let off = magnitude(&(&got.slice(s![.., .., ..;2, ..;2]).into_dyn() - &expected));
    assert!(off < 1e-3 * magnitude(&expected), "{off} of {}", magnitude(&expected));

    let run = if device_is_slow() { 3 } else { 21 };
    let mut steps = Optimizer::new(&model, losses).seed_img(seed.clone()).max_iter(run).steps().unwrap();
    let mut image = None;
    for step in &mut steps {
        image = Some(step.unwrap().image);
    }
    let history = steps.finish().unwrap().losses;
    let expected = npy("vgg_losses_20.npy");
    for step in 0..run.min(5) {
        for loss in 0..3 {
            let (got, expected) = (history.values()[[step, loss, 0]], expected[[step, loss]]);
            assert!((got / expected - 1.0).abs() < 1e-3, "step {step}, loss {loss}: {got}, {expected}");
        }
        let (got, expected) = (history.totals()[[step, 0]], expected[[step, 3]]);
        assert!(
            (got - expected).abs() < 1e-3 * npy("vgg_losses_20.npy")[[step, 0]].abs(),
            "{got}, {expected}"
        );
    }

    if run < 21 {
        return;
    }
    // RMSprop divides by the size of the gradient, so tiny gradients of uncertain sign make whole steps, and later
    // steps drift apart: the image is compared loosely. It has moved by 9 pixel values on average.
    let (got, expected) = (crate::host::array4(image.unwrap()), npy("vgg_image_20_half.npy"));
    let apart = (&got.slice(s![.., .., ..;2, ..;2]).into_dyn() - &expected).mapv(f32::abs).mean().unwrap();
    assert!(apart < 1.0, "{apart}");
    let (got, expected) = (history.totals()[[19, 0]], npy("vgg_losses_20.npy")[[19, 3]]);
    assert!((got / expected - 1.0).abs() < 0.02, "{got}, {expected}");
}

#[test]
fn the_same_seed_gives_the_same_files_and_another_gives_others() {
    let model = Tiny::new(&device());
    let folder = tempfile::tempdir().unwrap();
    let files = |name: &str, seed| {
        let gif = folder.path().join(format!("{name}.gif"));
        let png = folder.path().join(format!("{name}.png"));
        let run = visualize_activation(&model, "conv2").filter_indices([0, 3]).preset(Preset::robust());
        run.seed(seed).max_iter(12).progress_gif_path(&gif).run().unwrap().save(&png).unwrap();
        (std::fs::read(gif).unwrap(), std::fs::read(png).unwrap())
    };
    let (gif, png) = files("first", 5);
    assert_eq!((&gif, &png), (&files("again", 5).0, &files("again", 5).1));
    let (other_gif, other_png) = files("other", 6);
    assert!(gif != other_gif && png != other_png);
}

#[test]
fn wrt_a_layer_is_the_gradient_at_it_with_its_value() {
    // f = 2x and y = f², so that L = −mean y = −Σ f²/n and dL/df = −2f/n: for x = (1, −2, 3), −(4, −8, 12)/3.
    let square = |x: Tensor<4>, taps: &mut Taps| match taps.layer("features", x * 2.0) {
        Ok(features) => features.square(),
        Err(_) => unreachable!("the output is wanted"),
    };
    let model = Function(InputSpec::new([1, 1, 3], (0.0, 1.0)), square);
    let image = tensor(&[1.0, -2.0, 3.0], [1, 1, 1, 3]);
    let losses = ActivationMaximization::new("output", 0).into();
    let at = |layer| Gradient::new(&model, &losses).at_layer(layer).evaluate(image.clone());
    let result = at("features").unwrap();
    assert_close(&crate::host::values(result.gradient), &[-4.0 / 3.0, 8.0 / 3.0, -4.0], 1e-6);
    assert_close(&crate::host::values(result.value), &[2.0, -4.0, 6.0], 1e-6);
    assert_close(&crate::host::values(result.image), &[1.0, -2.0, 3.0], 0.0);
    assert_close(&result.losses.totals(), &[-56.0 / 3.0], 1e-5);
    assert!(matches!(at("feature"), Err(Error::UnknownLayer { .. })));
}

#[test]
fn guided_descent_follows_the_evidence_for_and_not_against() {
    // y = max(x, 0) and L = −mean y: dL/dx = −1/n where x > 0, and every rule that wants evidence passes it.
    let model = Function(InputSpec::new([1, 1, 2], (0.0, 1.0)), |x, taps: &mut Taps| taps.relu(x));
    for (rule, closed) in [(Rule::Plain, 0.0), (Rule::Guided, 0.0), (Rule::Deconvolution, -0.5)] {
        let run = Optimizer::new(&model, ActivationMaximization::new("output", 0)).rule(rule);
        let run = run.seed_img(tensor(&[3.0, -1.0], [1, 1, 1, 2])).normalize(Normalization::None);
        let gradient = run.max_iter(1).minimize().unwrap().gradient;
        assert_close(&crate::host::values(gradient), &[-0.5, closed], 1e-6);
    }
}

#[test]
fn gradients_are_modified_as_their_names_say() {
    let modified =
        |modifier: GradientModifier| crate::host::values(modifier.apply(tensor(&[-2.0, 0.0, 0.5], [3])));
    assert_close(&modified(GradientModifier::Negate), &[2.0, 0.0, -0.5], 0.0);
    assert_close(&modified(GradientModifier::Absolute), &[2.0, 0.0, 0.5], 0.0);
    assert_close(&modified(GradientModifier::Relu), &[0.0, 0.0, 0.5], 0.0);
    // 1 / (g + 1e-7): finite at 0.
    let inverted = modified(GradientModifier::Invert);
    assert_close(&[inverted[0], inverted[1] / 1e7, inverted[2]], &[-0.5, 1.0, 2.0], 1e-5);
    let small = modified(GradientModifier::SmallValues);
    assert_close(&[small[0], small[1] / 1e7, small[2]], &[0.5, 1.0, 2.0], 1e-5);
}

#[test]
fn a_filter_that_is_dead_on_noise_wakes_in_the_warm_up() {
    // y = max(mean x − 130, 0) is 0 on noise of 118 to 138, and so is its gradient; redirected it is −1/n in the loss,
    // and the first step is 4.47 long, the second at least as long as the warm-up goes on.
    let threshold = |x: Tensor<4>, taps: &mut Taps| {
        let [batch, ..] = x.dims();
        taps.relu(x.mean_dims(&[1, 2, 3]).reshape([batch, 1, 1, 1]) - 130.0)
    };
    let model = Function(InputSpec::new([1, 8, 8], (0.0, 255.0)), threshold);
    let run = |warm_up| {
        let wanted = ActivationMaximization::new("output", 0);
        Optimizer::new(&model, wanted).warm_up(warm_up).max_iter(5).minimize().unwrap()
    };
    assert_eq!(run(0).best_loss, [0.0]);
    // From 127.5 at least: four steps of 4.47, 3.20, 2.65 and 2.32 pixel values, as in the optimizer's own test.
    assert!(run(2).best_loss[0] < -9.0, "{:?}", run(2).best_loss);
}

#[test]
fn a_filter_of_vgg16_that_is_dead_on_noise_wakes_by_the_preset() {
    let model = Vgg16::bundled(&device()).unwrap();
    let run = || visualize_activation(&model, "block5_conv3").filter_indices([67]).size(64, 64).max_iter(8);
    let asleep = run().preset(Preset { max_iter: 2, ..Preset::keras_vis() }).run().unwrap();
    assert!(asleep[0].dead && asleep.dead() == ["Filter 67"]);
    let awake = run().run().unwrap();
    assert!(!awake[0].dead && awake[0].before == 0.0 && awake[0].after > 1.0, "{}", awake[0].after);
}

#[test]
fn a_second_run_starts_from_the_picture_of_the_first() {
    let model = Tiny::new(&device());
    let run = || visualize_activation(&model, "conv2").filter_indices([3]).max_iter(30);
    let first = run().tv_weight(0.0).run().unwrap();
    let start = first[0].image.view().insert_axis(ndarray::Axis(0));
    let second = run().tv_weight(1.0).seed_img(crate::host::tensor4(start, &device())).run().unwrap();
    // The first evaluation of the second run is of the very image with which the first run ended.
    assert_close(&[second[0].before], &[first[0].after], 1e-4);
    let variation = |history: &vis::optimizer::History| history.named("TV(2)").unwrap().to_owned();
    let smoothed = variation(&second[0].losses);
    let last = smoothed.len() - 1;
    assert!(smoothed[[last, 0]] < 0.5 * smoothed[[0, 0]]);
}

#[test]
fn the_displayed_pictures_of_digits_are_read_as_those_digits() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pictures =
        visualize_activation(&model, "predictions").filter_indices(0..10).max_iter(80).run().unwrap();
    let read = |digit: usize| {
        let path = folder.path().join("digit.png");
        picture::save(&pictures[digit].picture().unwrap(), &path).unwrap();
        let seen = picture::to_tensor(&picture::load(&path).unwrap(), &model).unwrap();
        let scores = crate::host::values(model.classify(seen).unwrap());
        (0..10).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
    };
    let right = (0..10).filter(|&digit| read(digit) == digit).count();
    assert!(right >= 8, "{right} of 10");
    for picture in pictures.iter() {
        // The frame of four pixels stays black.
        let inside = picture.image.slice(s![.., 4..24, 4..24]).sum();
        assert_close(&[picture.image.sum()], &[inside], 1e-4);
    }
}

#[test]
fn a_framed_image_comes_back_with_an_empty_frame() {
    let framed = Framed::new(Pixels::new((0.0, 1.0)), 1, 0.5);
    let image: Vec<f32> = (0..12).map(|value| value as f32).collect();
    let again = framed.decode(framed.encode(tensor(&image, [1, 1, 3, 4])).unwrap());
    let half = 0.5;
    let expected = [half, half, half, half, half, 5.0, 6.0, half, half, half, half, half];
    assert_close(&crate::host::values(again), &expected, 0.0);
    assert!(framed.encode(tensor(&image, [1, 1, 2, 6])).is_err());
}

#[test]
fn unknown_layers_and_filters_out_of_range_are_named_before_the_first_step() {
    let model = Tiny::new(&device());
    let said = |layer: &str, filters: Vec<Vec<usize>>| {
        visualize_activation(&model, layer).filter_indices(filters).run().unwrap_err().to_string()
    };
    assert_eq!(
        said("conv3", vec![vec![0]]),
        "there is no layer `conv3` (did you mean `conv2`?); the layers are: conv1, pool1, conv2, logits, softmax"
    );
    assert_eq!(
        said("conv2", vec![vec![0], vec![1, 6]]),
        "filter 6 is out of range: layer `conv2` has 6 (0 to 5)"
    );
    assert!(said("conv2", vec![vec![]]).contains("one index or more"));
    let error = Optimizer::new(&model, ActivationMaximization::new("conv2", 6)).minimize().unwrap_err();
    assert!(matches!(error, Error::OutOfRange { index: 6, len: 6, .. }), "{error}");
    let preset = Preset { lp_norm_p: 0.5, ..Preset::default() };
    assert!(visualize_activation(&model, "conv2").preset(preset).run().is_err());
}

#[test]
fn nan_in_the_image_to_start_from_names_the_loss_that_met_it() {
    let model = Tiny::new(&device());
    let image = model.input().zeros(&device()) + f32::NAN;
    let error = Optimizer::new(&model, losses()).seed_img(image).minimize().unwrap_err();
    assert!(
        matches!(&error, Error::NonFinite { what, step: Some(0), best: None } if what.contains("activation")),
        "{error}"
    );
}

#[test]
fn an_unreadable_photo_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    std::fs::write(&path, "not a picture").unwrap();
    let error = picture::load(&path).unwrap_err();
    assert!(matches!(&error, Error::Format { path: named, .. } if *named == path), "{error}");
    let error = picture::load(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
