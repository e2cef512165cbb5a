//! The losses in closed form and by finite differences.

use burn::tensor::Tensor;
use vis::gradient::Gradient;
use vis::losses::{BestMatch, Caricature, Content, Losses, Realism, Style};
use vis::model::{InputSpec, Taps, Tiny};
use vis::{Error, Loss, Model, Scene};

use super::{any_size, photo};
use crate::support::{Function, assert_close, device, energy, gradient_error, identity, tensor};

/// A discriminator of any smooth kind.
fn discriminator(size: usize) -> impl Model {
    Function(InputSpec::new([3, size, size], (-1.0, 1.0)), |x: Tensor<4>, _: &mut Taps| {
        let [batch, ..] = x.dims();
        (x.clone() * 0.7 + x.square()).mean_dims(&[1, 2, 3]).reshape([batch, 1, 1, 1])
    })
}

fn scene(features: &[f32], shape: [usize; 4]) -> Scene {
    let features = tensor(features, shape);
    Scene::new(features.clone(), [("output".to_owned(), features)])
}

fn value(loss: &dyn Loss, scene: &Scene) -> f32 {
    loss.build_loss(scene).unwrap().into_scalar()
}

#[test]
fn the_loss_of_gatys_has_its_closed_form() {
    // F = [[1, 2], [3, 4]]: F·Fᵀ = [[1+4, 3+8], [3+8, 9+16]] = [[5, 11], [11, 25]], over M = 2 positions.
    // Against a black painting: (25 + 121 + 121 + 625) / (4·N²·M²) = 892 / (4·4·4).
    let model = identity([2, 1, 2]);
    let black = tensor(&[0.0; 4], [1, 2, 1, 2]);
    let style = Style::new(&model, black, [("output", 1.0)]).unwrap();
    assert_close(&[value(&style, &scene(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2]))], &[13.9375], 1e-6);
}

#[test]
fn the_style_of_a_painting_is_its_own() {
    let model = Tiny::new(&device());
    let painting = photo(1, [3, 8, 8]);
    let style = Style::new(&model, painting.clone(), [("conv1", 1.0), ("conv2", 3.0)]).unwrap();
    let losses = Losses::from(style).with(
        Style::blend(&model, [(painting.clone(), 2.0), (painting.clone(), 5.0)], [("conv2", 1.0)], 1)
            .unwrap()
            .relative(),
        1.0,
    );
    let evaluation = Gradient::new(&model, &losses).evaluate(painting).unwrap();
    assert_close(&evaluation.losses.totals(), &[0.0], 1e-9);
    assert_close(&[evaluation.gradient.abs().max().into_scalar()], &[0.0], 1e-9);
}

#[test]
fn the_style_of_a_tiled_painting_is_that_of_the_painting() {
    // The same features at twice as many positions: the mean of products is the same.
    let model = identity([2, 1, 2]);
    let painting = tensor(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2]);
    let style = Style::new(&model, painting, [("output", 1.0)]).unwrap();
    let twice = scene(&[1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0], [1, 2, 2, 2]);
    assert_close(&[value(&style, &twice)], &[0.0], 1e-9);
}

#[test]
fn a_relative_style_loses_one_where_nothing_is_seen() {
    let model = identity([2, 1, 2]);
    let painting = tensor(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2]);
    let style = Style::new(&model, painting, [("output", 7.0)]).unwrap().relative();
    assert_close(&[value(&style, &scene(&[0.0; 4], [1, 2, 1, 2]))], &[1.0], 1e-6);
}

#[test]
fn a_blend_of_styles_differs_from_the_sum_of_their_losses_by_a_constant() {
    let model = Tiny::new(&device());
    let [one, two] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let layers = [("conv1", 1.0), ("conv2", 1.0)];
    let blend = Style::blend(&model, [(one.clone(), 1.0), (two.clone(), 3.0)], layers, 0).unwrap();
    let blend = Losses::from(blend);
    let sum = Losses::new()
        .with(Style::new(&model, one, layers).unwrap(), 0.25)
        .with(Style::new(&model, two, layers).unwrap(), 0.75);
    let at = |losses: &Losses, seed| {
        Gradient::new(&model, losses).values(photo(seed, [3, 8, 8])).unwrap().totals()[0]
    };
    let constant = at(&sum, 3) - at(&blend, 3);
    for seed in 4..8 {
        assert_close(&[at(&sum, seed) - at(&blend, seed)], &[constant], 1e-3 * constant.abs());
    }
}

#[test]
fn content_is_the_squared_distance_relative_to_the_photo() {
    // ‖(1, 0, 5, 4) − (1, 2, 3, 4)‖² / ‖(1, 2, 3, 4)‖² = (4 + 4) / 30; nothing at all loses 1.
    let model = identity([2, 1, 2]);
    let content = Content::new(&model, tensor(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2]), "output").unwrap();
    assert_close(&[value(&content, &scene(&[1.0, 0.0, 5.0, 4.0], [1, 2, 1, 2]))], &[8.0 / 30.0], 1e-6);
    assert_close(&[value(&content, &scene(&[0.0; 4], [1, 2, 1, 2]))], &[1.0], 1e-6);
}

#[test]
fn content_of_a_photo_in_which_the_layer_sees_nothing_is_compared_absolutely() {
    // ‖(1, 0, 5, 4)‖², of each image for itself, not divided by the 0 of the photo; the gradient is twice the image.
    let model = identity([2, 1, 2]);
    let content = Content::new(&model, tensor(&[0.0; 4], [1, 2, 1, 2]), "output").unwrap();
    let images = tensor(&[1.0, 0.0, 5.0, 4.0, 0.0, 0.0, 0.0, 0.0], [2, 2, 1, 2]);
    let losses = content.into();
    let at = Gradient::new(&model, &losses).evaluate(images).unwrap();
    assert_close(&at.losses.totals(), &[42.0, 0.0], 1e-5);
    assert_close(&crate::host::values(at.gradient), &[2.0, 0.0, 10.0, 8.0, 0.0, 0.0, 0.0, 0.0], 1e-5);
}

#[test]
fn a_caricature_is_a_dot_product_times_a_power_of_the_cosine() {
    // Photo (3, 4), image (4, 0): dot 12, over 2 values: 6; norms 5 and 4, cosine 12/20 = 0.6.
    let model = identity([2, 1, 1]);
    let with_power = |power| {
        let loss = Caricature::new(&model, tensor(&[3.0, 4.0], [1, 2, 1, 1]), "output").unwrap();
        loss.with_power(power).unwrap()
    };
    let image = scene(&[4.0, 0.0], [1, 2, 1, 1]);
    let values = [0.0, 1.0, 2.0].map(|power| value(&with_power(power), &image));
    assert_close(&values, &[-6.0, -6.0 * 0.6, -6.0 * 0.36], 1e-5);
    // The cosine does not depend on the length of either: twice the image, twice the loss.
    assert_close(&[value(&with_power(2.0), &scene(&[8.0, 0.0], [1, 2, 1, 1]))], &[-12.0 * 0.36], 1e-5);
    // Opposite features: the cosine −1 counts as 0.1, and the loss is positive.
    let opposite = scene(&[-3.0, -4.0], [1, 2, 1, 1]);
    assert_close(&[value(&with_power(2.0), &opposite)], &[12.5 * 0.01], 1e-5);
    assert!(with_power(1.0).with_power(-1.0).is_err());
}

#[test]
fn a_guide_lends_each_position_its_best_match() {
    // Guide with the features (1, 0) and (0, 2) at its two positions; the image has (5, 1), (1, 1) and (0, 0).
    // Products with the first: 5, 1, 0; with the second: 2, 2, 0. Best: 5, 2, 0. Mean over 3 positions and 2
    // channels: 7/6.
    let model = identity([2, 1, 3]);
    let guide = tensor(&[1.0, 0.0, 0.0, 2.0], [1, 2, 1, 2]);
    let guided: Losses = BestMatch::new(&model, guide, "output").unwrap().into();
    let image = tensor(&[5.0, 1.0, 0.0, 1.0, 1.0, 0.0], [1, 2, 1, 3]);
    let evaluation = Gradient::new(&model, &guided).evaluate(image).unwrap();
    assert_close(&evaluation.losses.totals(), &[-7.0 / 6.0], 1e-6);
    // The gradient is minus the features matched, over the 6 values; a tie goes to the first.
    let expected = [1.0, 0.0, 1.0, 0.0, 2.0, 0.0].map(|value: f32| -value / 6.0);
    assert_close(&crate::host::values(evaluation.gradient), &expected, 1e-6);
}

#[test]
fn realism_is_softplus_of_minus_the_score() {
    // 255 is mapped to 1, and 0.7·1 + 1² = 1.7: ln(1 + e^−1.7). 0 is mapped to −1: a score of 0.3.
    let realism = Realism::new(discriminator(4), (0.0, 255.0));
    let of = |value| Tensor::full([1, 3, 4, 4], value, &device());
    let at = |pixels: f32| value(&realism, &Scene::new(of(pixels), []));
    assert_close(&[at(255.0), at(0.0)], &[(-1.7_f32).exp().ln_1p(), (-0.3_f32).exp().ln_1p()], 1e-5);
    // An image of another size is resized, flat ones to flat ones.
    let large = Scene::new(Tensor::full([1, 3, 9, 7], 255.0, &device()), []);
    assert_close(&[value(&realism, &large)], &[(-1.7_f32).exp().ln_1p()], 1e-5);
}

#[test]
fn a_discriminator_of_several_outputs_is_refused() {
    let realism = Realism::new(Tiny::new(&device()), (0.0, 255.0));
    let error = realism.build_loss(&Scene::new(photo(0, [3, 8, 8]), [])).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn gradients_equal_finite_differences() {
    let model = Tiny::new(&device());
    let other = photo(1, [3, 8, 8]);
    let point = crate::host::values(photo(2, [3, 8, 8]));
    let check = |losses: Losses| {
        let gradient = Gradient::new(&model, &losses);
        let analytic = crate::host::values(gradient.evaluate(tensor(&point, [1, 3, 8, 8])).unwrap().gradient);
        let along = |x| gradient.values(x).unwrap().total();
        let error = gradient_error(along, &analytic, &point, [3, 8, 8], 0.2);
        assert!(error < 2e-2, "{losses:?}: {error}");
    };
    check(energy("conv2").into());
    check(Content::new(&model, other.clone(), "conv2").unwrap().into());
    check(Caricature::new(&model, other.clone(), "conv2").unwrap().into());
    check(Caricature::new(&model, other.clone(), "conv1").unwrap().with_power(2.5).unwrap().into());
    check(BestMatch::new(&model, other.clone(), "conv2").unwrap().into());
    check(Style::new(&model, other.clone(), [("conv1", 1.0), ("conv2", 2.0)]).unwrap().relative().into());
    check(Style::blend(&model, [(other, 1.0)], [("conv1", 1.0)], 2).unwrap().into());
    check(Realism::new(discriminator(5), (0.0, 255.0)).into());
}

#[test]
fn every_image_of_a_batch_has_its_own_loss() {
    let model = Tiny::new(&device());
    let other = photo(1, [3, 8, 8]);
    let losses: Vec<Losses> = vec![
        energy("conv2").into(),
        Content::new(&model, other.clone(), "conv2").unwrap().into(),
        Caricature::new(&model, other.clone(), "conv2").unwrap().into(),
        BestMatch::new(&model, other.clone(), "conv2").unwrap().into(),
        Style::new(&model, other, [("conv1", 1.0)]).unwrap().into(),
        Realism::new(discriminator(8), (0.0, 255.0)).into(),
    ];
    let images: Vec<_> = (5..8).map(|seed| photo(seed, [3, 8, 8])).collect();
    for losses in &losses {
        let totals = |x| Gradient::new(&model, losses).values(x).unwrap().totals();
        let together = totals(Tensor::cat(images.clone(), 0));
        for (image, of_batch) in images.iter().zip(together) {
            assert_close(&totals(image.clone()), &[of_batch], 1e-4 * of_batch.abs().max(1e-3));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let model = any_size();
    let losses = Content::new(&model, photo(0, [3, 16, 16]), "output").unwrap().into();
    let error = Gradient::new(&model, &losses).values(photo(0, [3, 16, 20])).unwrap_err();
    assert!(error.to_string().starts_with("the layer `output` has shape [1, 5, 8, 10]"), "{error}");

    for weights in [[-1.0, 1.0], [0.0, 0.0], [f32::NAN, 1.0]] {
        let layers = ["output", "output"].into_iter().zip(weights);
        assert!(Style::new(&model, photo(0, [3, 16, 16]), layers).is_err());
    }
}

#[test]
fn average_pooling_passes_a_gradient_to_every_pixel() {
    let image = photo(0, [1, 4, 4]).autodiff().require_grad();
    let pooled = vis::model::layers::average_pool_2x2(image.clone(), &mut Taps::new());
    let gradient = image.grad(&burn::tensor::activation::relu(pooled).sum().backward()).unwrap();
    assert_close(&crate::host::values(gradient), &[0.25; 16], 1e-6);
}
