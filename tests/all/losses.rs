//! Losses and regularizers: closed forms, finite gradients everywhere, finite differences.

use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, LPNorm, Losses, TotalVariation};
use vis::model::Tiny;
use vis::{Error, Loss, Model, Scene};

use crate::support::{assert_close, device, device_is_slow, gradient_error, identity, tensor};

fn value(loss: &dyn Loss, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    crate::host::values(loss.build_loss(&Scene::new(tensor(values, shape), [])).unwrap())
}

fn gradient(loss: impl Loss + 'static, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let [_, channels, height, width] = shape;
    let losses = Losses::from(loss);
    let model = identity([channels, height, width]);
    crate::host::values(Gradient::new(&model, &losses).evaluate(tensor(values, shape)).unwrap().gradient)
}

#[test]
fn total_variation_has_its_closed_form_for_every_beta() {
    // D over the 2×2 grid of positions with both neighbours: (0,0): 0; (0,1): 2² below = 4;
    // (1,0): 2² right = 4; (1,1): 2² + 2² = 8. Sum of D^(β/2), divided by 9.
    let image = [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0];
    for (beta, expected) in [(2.0, 1.777_778), (1.5, 1.157_076), (1.0, 0.758_714)] {
        let loss = TotalVariation::new(beta).unwrap();
        assert_close(&value(&loss, &image, [1, 1, 3, 3]), &[expected], 1e-5);
    }
}

#[test]
fn total_variation_of_a_flat_image_is_zero_with_a_finite_gradient() {
    for beta in [1.0, 1.5, 2.0, 3.0] {
        let flat = [7.0; 16];
        let loss = TotalVariation::new(beta).unwrap();
        // A GPU's powers are not the processor's to the last bit.
        let rounding = if device_is_slow() { 1e-9 } else { 0.0 };
        assert_close(&value(&loss, &flat, [1, 1, 4, 4]), &[0.0], rounding);
        assert_eq!(gradient(loss, &flat, [1, 1, 4, 4]), [0.0; 16]);
    }
}

#[test]
fn total_variation_scales_with_contrast_to_the_power_of_beta() {
    let image: Vec<f32> = (0..12).map(|k| ((k * 7) % 5) as f32).collect();
    let doubled: Vec<f32> = image.iter().map(|value| value * 2.0).collect();
    let loss = TotalVariation::new(1.5).unwrap();
    let once = value(&loss, &image, [1, 1, 3, 4])[0];
    assert_close(&value(&loss, &doubled, [1, 1, 3, 4]), &[once * 2.0_f32.powf(1.5)], 1e-4);
}

#[test]
fn the_norm_has_its_closed_form_and_its_infinite_limit() {
    // keras-vis: (4⁶ + 4⁶)^(1/6) / 2 = 4·2^(1/6)/2.
    let image = [-4.0, 4.0];
    let at = |p| value(&LPNorm::new(p).unwrap(), &image, [1, 1, 1, 2])[0];
    assert_close(
        &[at(6.0), at(1.0), at(2.0), at(f32::INFINITY)],
        &[2.244_924, 4.0, 32_f32.sqrt() / 2.0, 2.0],
        1e-5,
    );
    assert!((at(60.0) - at(f32::INFINITY)).abs() < 0.03);
    // The largest absolute value counts, not the largest value.
    assert_close(&value(&LPNorm::new(f32::INFINITY).unwrap(), &[-9.0, 4.0], [1, 1, 1, 2]), &[4.5], 1e-6);
}

#[test]
fn the_norm_of_a_large_bright_image_does_not_overflow() {
    // All pixels c: (n·c^p)^(1/p)/n = c·n^(1/p − 1).
    let count = 3 * 128 * 128;
    let bright = vec![255.0; count];
    for p in [6.0_f32, 40.0] {
        let expected = 255.0 * (count as f32).powf(1.0 / p - 1.0);
        let got = value(&LPNorm::new(p).unwrap(), &bright, [1, 3, 128, 128])[0];
        assert!((got / expected - 1.0).abs() < 1e-3, "p = {p}: {got} instead of {expected}");
    }
}

#[test]
fn the_norm_of_a_black_image_has_a_finite_gradient() {
    for p in [1.0, 1.5, 2.0, 6.0, f32::INFINITY] {
        let gradient = gradient(LPNorm::new(p).unwrap(), &[0.0; 8], [1, 2, 2, 2]);
        assert!(gradient.iter().all(|value| value.is_finite()), "p = {p}: {gradient:?}");
    }
}

#[test]
fn gradients_of_regularizers_equal_finite_differences() {
    let image: Vec<f32> = (0..24).map(|k| ((k * 7) % 25) as f32 / 2.0 - 4.3).collect();
    let check = |loss: fn() -> Box<dyn Loss>| {
        let analytic = gradient(loss(), &image, [1, 2, 3, 4]);
        let along = |x| loss().build_loss(&Scene::new(x, [])).unwrap();
        let error = gradient_error(along, &analytic, &image, [2, 3, 4], 1e-2);
        assert!(error < 5e-3, "{}: {error}", loss().name());
    };
    check(|| Box::new(TotalVariation::default()));
    check(|| Box::new(TotalVariation::new(1.5).unwrap()));
    check(|| Box::new(TotalVariation::new(3.0).unwrap()));
    check(|| Box::new(LPNorm::default()));
    check(|| Box::new(LPNorm::new(1.0).unwrap()));
    check(|| Box::new(LPNorm::new(2.5).unwrap()));
    check(|| Box::new(LPNorm::new(f32::INFINITY).unwrap()));
}

#[test]
fn the_gradient_through_a_network_equals_finite_differences() {
    let model = Tiny::new(&device());
    let image: Vec<f32> = (0..192).map(|k| ((k * 37) % 101) as f32 * 2.0 + 20.0).collect();
    for layer in ["conv1", "conv2", "logits", "softmax"] {
        let losses = ActivationMaximization::new(layer, [1, 2]).into();
        let gradient = Gradient::new(&model, &losses);
        let analytic = crate::host::values(gradient.evaluate(tensor(&image, [1, 3, 8, 8])).unwrap().gradient);
        let along = |x| gradient.values(x).unwrap().total();
        let error = gradient_error(along, &analytic, &image, [3, 8, 8], 0.1);
        assert!(error < 1e-2, "{layer}: {error}");
    }
}

#[test]
fn the_gradient_at_a_layer_chains_to_the_gradient_at_the_image() {
    // Σ over a batch of one of ⟨∂L/∂A, A(x + εv) − A(x)⟩ / ε ≈ ⟨∂L/∂x, v⟩ for any direction v.
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 3, 0, &device());
    let direction = vis::random::noise([1, 3, 8, 8], (-1.0, 1.0), 4, 0, &device());
    let losses = ActivationMaximization::new("logits", 3).into();
    let at_image = Gradient::new(&model, &losses).evaluate(image.clone()).unwrap();
    let at_layer = Gradient::new(&model, &losses).at_layer("conv1").evaluate(image.clone()).unwrap();
    let step = 0.5;
    let moved = model.activation(image + direction.clone() * step, "conv1").unwrap();
    let through_layer = ((moved - at_layer.value) / step * at_layer.gradient).sum().into_scalar::<f32>();
    let through_image = (direction * at_image.gradient).sum().into_scalar::<f32>();
    assert!((through_layer - through_image).abs() < 1e-3 * through_image.abs().max(1e-3));
}

#[test]
fn activation_maximization_is_minus_the_sum_of_the_filters_means() {
    // Two channels of 2×2: means 2.5 and −1.
    let activation = tensor(&[1.0, 2.0, 3.0, 4.0, -1.0, -1.0, -1.0, -1.0], [1, 2, 2, 2]);
    let of = |filters: vis::Target| {
        let loss = ActivationMaximization::new("a", filters);
        let scene = Scene::new(activation.clone(), [("a".to_owned(), activation.clone())]);
        loss.build_loss(&scene).unwrap().into_scalar::<f32>()
    };
    assert_eq!(of(0.into()), -2.5);
    assert_eq!(of(1.into()), 1.0);
    assert_eq!(of([0, 1].into()), -1.5);
    assert_eq!(of([0, 0].into()), -5.0);
    assert_eq!(of(vis::Target::layer("a")), -0.75);
    assert_eq!(of(vis::Target::energy("a")), -(1.0 + 4.0 + 9.0 + 16.0 + 4.0) / 8.0);
}

#[test]
fn one_entry_per_image_wants_another_filter_in_each() {
    let model = Tiny::new(&device());
    let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let values = |loss: ActivationMaximization, images| {
        Gradient::new(&model, &loss.into()).values(images).unwrap().totals()
    };
    let together = values(ActivationMaximization::per_image("conv2", [5, 0, 2]), images.clone());
    for (index, filter) in [5, 0, 2].into_iter().enumerate() {
        let image = images.clone().narrow(0, index, 1);
        assert_close(
            &values(ActivationMaximization::new("conv2", filter), image),
            &together[index..=index],
            1e-5,
        );
    }
}

#[test]
fn a_filter_out_of_range_names_the_layer_and_its_size() {
    let model = Tiny::new(&device());
    let losses = ActivationMaximization::new("conv2", 6).into();
    let error = Gradient::new(&model, &losses).values(model.input().zeros(&device())).unwrap_err();
    assert_eq!(error.to_string(), "filter 6 is out of range: layer `conv2` has 6 (0 to 5)");
}

#[test]
fn a_loss_of_weight_zero_is_not_built() {
    struct Unbuildable;
    impl Loss for Unbuildable {
        fn name(&self) -> String {
            "unbuildable".into()
        }
        fn layers(&self) -> Vec<String> {
            vec!["no such layer".into()]
        }
        fn build_loss(&self, _: &Scene) -> vis::Result<burn::tensor::Tensor<1>> {
            panic!("was built")
        }
    }
    let model = Tiny::new(&device());
    let losses = vis::losses![(Unbuildable, 0.0), (TotalVariation::default(), 2.0)];
    let values = Gradient::new(&model, &losses).values(model.input().zeros(&device())).unwrap();
    assert_eq!(values.names(), ["TV(2)"]);
    assert_eq!(values.totals(), [0.0]);
}

#[test]
fn lists_that_cant_be_minimised_are_refused() {
    let model = Tiny::new(&device());
    let image = model.input().zeros(&device());
    for losses in [Losses::new(), vis::losses![(TotalVariation::default(), f32::NAN)]] {
        let error = Gradient::new(&model, &losses).evaluate(image.clone()).unwrap_err();
        assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
    }
    assert!(LPNorm::new(0.5).is_err() && LPNorm::new(f32::NAN).is_err());
    assert!(TotalVariation::new(0.0).is_err() && TotalVariation::new(f32::NAN).is_err());
}

#[test]
fn weighted_losses_add_up_to_the_total() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let losses = vis::losses![
        (ActivationMaximization::new("conv2", 1), 1.5),
        (LPNorm::default(), 10.0),
        (TotalVariation::default(), 3.0),
    ];
    let values = Gradient::new(&model, &losses).values(image.clone()).unwrap();
    let alone = |losses: Losses| Gradient::new(&model, &losses).values(image.clone()).unwrap().totals();
    let parts = [
        (alone(ActivationMaximization::new("conv2", 1).into()), 1.5),
        (alone(LPNorm::default().into()), 10.0),
        (alone(TotalVariation::default().into()), 3.0),
    ];
    for image in 0..2 {
        let sum: f32 = parts.iter().map(|(values, weight)| values[image] * weight).sum();
        assert_close(&values.totals()[image..=image], &[sum], 1e-4);
    }
}

#[test]
fn images_resemble_each_other_by_the_cosine_of_the_products_of_their_channels() {
    use vis::losses::Resemblance;
    // Three images of two channels at 1×3 positions, one of them negative, and of very different sizes.
    let values = [
        [1.0, 2.0, 0.0, 0.0, 1.0, -1.0],
        [200.0, 0.0, 100.0, 100.0, 0.0, 300.0],
        [0.0, 0.1, 0.2, 0.1, 0.1, 0.0],
    ];
    let activation = tensor(&values.concat(), [3, 2, 1, 3]);
    let scene = Scene::new(activation.clone(), [("a".to_owned(), activation)]);
    let products = |v: &[f32; 6]| {
        let dot = |a: usize, b: usize| (0..3).map(|at| v[3 * a + at] * v[3 * b + at]).sum::<f32>();
        vec![dot(0, 0), dot(0, 1), dot(1, 0), dot(1, 1)]
    };
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mean = |of: &dyn Fn(usize, usize) -> f32| {
        [(0, 1, 2), (1, 0, 2), (2, 0, 1)].map(|(one, two, three)| (of(one, two) + of(one, three)) / 2.0)
    };
    let found = crate::host::values(Resemblance::new("a").build_loss(&scene).unwrap());
    assert_close(&found, &mean(&|a, b| cosine(&products(&values[a]), &products(&values[b]))), 1e-5);
    let found = crate::host::values(Resemblance::by_place("a").build_loss(&scene).unwrap());
    assert_close(&found, &mean(&|a, b| cosine(&values[a], &values[b])), 1e-5);
    // An image alone resembles none.
    let alone =
        Scene::new(tensor(&[1.0; 6], [1, 2, 1, 3]), [("a".to_owned(), tensor(&[1.0; 6], [1, 2, 1, 3]))]);
    assert_eq!(crate::host::values(Resemblance::new("a").build_loss(&alone).unwrap()), [0.0]);
}
