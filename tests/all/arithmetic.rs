//! The fast arithmetic of frozen convolutions against the backend's own.

use burn::tensor::Tensor;
use vis::backprop::Rectifier;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::layers::{Convolution, Padding};
use vis::model::{Digits, EfficientNetLite0, InputSpec, Taps, Vgg16};
use vis::random::noise;
use vis::{Arithmetic, Model, Rule};

use crate::support::{Function, assert_close, device};

/// The largest difference of two tensors over the largest value of the second.
fn relative_to_largest(found: Tensor<4>, exact: Tensor<4>) -> f32 {
    let largest = exact.clone().abs().max().into_scalar::<f32>();
    (found - exact).abs().max().into_scalar::<f32>() / largest
}

/// The length of the difference of two tensors over the length of the second.
fn relative_length(found: Tensor<4>, exact: Tensor<4>) -> f32 {
    let length = |x: Tensor<4>| x.square().sum().sqrt().into_scalar::<f32>();
    length(found - exact.clone()) / length(exact)
}

fn assert_agree(
    name: &str,
    fast: &dyn Model,
    exact: &dyn Model,
    layers: &[(&str, usize)],
    image: &Tensor<4>,
) {
    for &(layer, filter) in layers {
        let activation = |model: &dyn Model| model.activation(image.clone(), layer).unwrap();
        let error = relative_to_largest(activation(fast), activation(exact));
        assert!(error < 1e-4, "{name}, activation of {layer}: {error}");
        for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution, Rule::Redirected] {
            // The activation itself, not minus it: guided rules want a positive cotangent.
            let losses = vis::losses![(ActivationMaximization::new(layer, filter), -1.0)];
            let gradient = |model: &dyn Model| {
                Gradient::new(model, &losses).rule(rule).evaluate(image.clone()).unwrap().gradient
            };
            let error = relative_length(gradient(fast), gradient(exact));
            println!("{name}, {} gradient of {layer}: {error:.1e}", rule.name());
            assert!(error < 1e-3, "{name}, {} gradient of {layer}: {error}", rule.name());
        }
    }
}

#[test]
fn the_bundled_networks_agree_in_fast_and_exact_arithmetic() {
    let image = |shape, range| noise(shape, range, 3, 0, &device()) * 8.0 - 900.0 * range.1 / 255.0;
    let vgg = || Vgg16::bundled(&device()).unwrap();
    let photo = image([2, 3, 61, 48], (0.0, 255.0));
    assert_agree(
        "VGG16",
        &vgg(),
        &vgg().with_arithmetic(Arithmetic::Exact),
        &[("block1_conv2", 3), ("block3_conv3", 5), ("block5_conv3", 7)],
        &photo,
    );
    let lite = || EfficientNetLite0::bundled(&device()).unwrap();
    let photo = image([3, 3, 64, 96], (0.0, 255.0));
    assert_agree(
        "EfficientNet-Lite0",
        &lite(),
        &lite().with_arithmetic(Arithmetic::Exact),
        &[("blocks.1", 3), ("blocks.4", 5), ("predictions", 285)],
        &photo,
    );
    let digits = || Digits::bundled(&device()).unwrap();
    assert_agree(
        "digits",
        &digits(),
        &digits().with_arithmetic(Arithmetic::Exact),
        &[("conv2", 3), ("predictions", 4)],
        &image([2, 1, 28, 28], (0.0, 1.0)),
    );
}

#[test]
fn every_shape_of_convolution_agrees_in_fast_and_exact_arithmetic() {
    let shapes = [(1, 1, 1), (3, 5, 1), (6, 6, 6), (4, 8, 2), (8, 4, 4), (17, 33, 1)];
    for (inputs, outputs, groups) in shapes {
        for kernel in [1, 3, 5] {
            for (height, width) in [(1, 1), (2, 3), (5, 4), (8, 8), (9, 14)] {
                let weight = noise([outputs, inputs / groups, kernel, kernel], (-9.0, 9.0), 1, 0, &device());
                let bias = noise([1, 1, 1, outputs], (-1.0, 1.0), 2, 0, &device()).reshape([outputs]);
                for rectifier in [Rectifier::Relu, Rectifier::Relu6, Rectifier::Leaky(0.2)] {
                    let model = |arithmetic| {
                        let layer = Convolution::new(weight.clone(), Some(bias.clone()))
                            .with_padding(Padding::Same)
                            .with_arithmetic(arithmetic);
                        let input = InputSpec::new([inputs, height, width], (-9.0, 9.0));
                        Function(input, move |x, taps: &mut Taps| layer.rectified(x, taps, rectifier))
                    };
                    let name = format!(
                        "{inputs} to {outputs} in {groups}, {kernel}×{kernel}, {height}×{width}, {rectifier:?}"
                    );
                    let image = noise([2, inputs, height, width], (-9.0, 9.0), 4, 0, &device()) + 0.3;
                    let (fast, exact) = (model(Arithmetic::Fast), model(Arithmetic::Exact));
                    let activation = |model: &dyn Model| model.activation(image.clone(), "output").unwrap();
                    if activation(&exact).abs().max().into_scalar::<f32>() == 0.0 {
                        continue; // everything closed: nothing to compare
                    }
                    let error = relative_to_largest(activation(&fast), activation(&exact));
                    assert!(error < 1e-4, "{name}: {error}");
                    for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution, Rule::Redirected] {
                        let losses = vis::losses![(ActivationMaximization::new("output", outputs / 2), -1.0)];
                        let gradient = |model: &dyn Model| {
                            let gradient = Gradient::new(model, &losses).rule(rule);
                            gradient.evaluate(image.clone()).unwrap().gradient
                        };
                        let (fast, exact) = (gradient(&fast), gradient(&exact));
                        let difference = (fast - exact.clone()).abs().max().into_scalar::<f32>();
                        let largest = exact.abs().max().into_scalar::<f32>();
                        assert!(difference <= 1e-4 * largest + 1e-7, "{name}, {}: {difference}", rule.name());
                    }
                }
            }
        }
    }
}

#[test]
fn redirection_acts_on_the_dead_image_of_a_batch_and_leaves_the_others_plain() {
    let ones = Tensor::<4>::ones([1, 1, 3, 3], &device());
    for arithmetic in [Arithmetic::Fast, Arithmetic::Exact] {
        let layer = Convolution::new(ones.clone(), Some(Tensor::from_floats([-700.0], &device())))
            .with_padding(Padding::Same)
            .with_arithmetic(arithmetic);
        let input = InputSpec::new([1, 4, 4], (0.0, 255.0));
        let model = Function(input, move |x, taps: &mut Taps| layer.rectified(x, taps, Rectifier::Relu));
        let losses = ActivationMaximization::new("output", 0).into();
        let gradient = |images: Vec<Tensor<4>>, rule| {
            let gradient = Gradient::new(&model, &losses).rule(rule);
            crate::host::values(gradient.evaluate(Tensor::cat(images, 0)).unwrap().gradient)
        };
        // Alive where nine pixels of 100 are seen, in the middle; dead everywhere.
        let alive = Tensor::<4>::full([1, 1, 4, 4], 100.0, &device());
        let dead = alive.zeros_like();
        // Minus the mean of 16 outputs, and so many windows as see a pixel.
        let middle = [1, 2, 2, 1, 2, 4, 4, 2, 2, 4, 4, 2, 1, 2, 2, 1].map(|windows| -windows as f32 / 16.0);
        let all = [4, 6, 6, 4, 6, 9, 9, 6, 6, 9, 9, 6, 4, 6, 6, 4].map(|windows| -windows as f32 / 16.0);
        let both = gradient(vec![alive.clone(), dead], Rule::Redirected);
        assert_close(&both[..16], &middle, 1e-5);
        assert_close(&both[16..], &all, 1e-5);
        assert_eq!(gradient(vec![alive.clone()], Rule::Redirected), gradient(vec![alive], Rule::Plain));
    }
}
