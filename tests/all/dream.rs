//! Deep dream, caricature, inversion, style transfer, texture: the losses in closed form and by finite differences,
//! tiles against the whole image, and what every method must keep.

use burn::tensor::{Tensor, TensorData, activation, module, ops::ConvOptions, ops::MaxPoolOptions};
use ndarray::{Array3, Axis, array, s};
use vis::gradient::Gradient;
use vis::losses::{BestMatch, Caricature, Content, LayerEnergy, Losses, Realism, Style, gram};
use vis::model::{InputSpec, Taps, Tiny};
use vis::optimizer::{Lbfgs, Normalization, Update};
use vis::tiles::{Placement, TiledGradient};
use vis::visualization::{Descent, StyleStart, caricature, deep_dream, invert, style_transfer, texture};
use vis::{Error, Loss, Model, Optimizer, Scene};

use crate::support::{Function, assert_close, device, gradient_error, identity, tensor};

/// An image with structure at every pixel.
fn photo(seed: u64, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let noise = vis::random::noise([1, channels, height, width], (0.0, 255.0), seed, 0, &device());
    (noise - 128.0) * 12.0 + 128.0
}

/// A network that takes any size: two convolutions around a max pooling. A unit of its last layer reaches
/// 1 + 1 + 2 = 4 pixels.
fn any_size() -> impl Model {
    let weights = |shape: [usize; 4], phase: f32| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (1..=count).map(|k| (k as f32 * 0.618_034 + phase).fract() - 0.4).collect();
        Tensor::<4>::from_data(TensorData::new(values, shape), &device())
    };
    let (first, second) = (weights([4, 3, 3, 3], 0.1), weights([5, 4, 3, 3], 0.7));
    let same = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    Function(InputSpec::rgb(64, 64).with_any_size_from(8), move |x: Tensor<4>, taps: &mut Taps| {
        let x = taps.relu(module::conv2d(x / 255.0, first.clone(), None, same()));
        let x = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
        taps.relu(module::conv2d(x, second.clone(), None, same()))
    })
}

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

fn array3(image: Tensor<4>) -> Array3<f32> {
    vis::host::array4(image).index_axis_move(Axis(0), 0)
}

// ---- losses ----

#[test]
fn the_gram_matrix_and_the_loss_of_gatys_have_their_closed_forms() {
    // F = [[1, 2], [3, 4]]: F·Fᵀ = [[1+4, 3+8], [3+8, 9+16]] = [[5, 11], [11, 25]], over M = 2 positions.
    let features = tensor(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2]);
    assert_close(&vis::host::values(gram(features) * 2.0), &[5.0, 11.0, 11.0, 25.0], 0.0);

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
    assert_close(&vis::host::values(evaluation.gradient), &expected, 1e-6);
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
    let point = vis::host::values(photo(2, [3, 8, 8]));
    let check = |losses: Losses| {
        let gradient = Gradient::new(&model, &losses);
        let analytic = vis::host::values(gradient.evaluate(tensor(&point, [1, 3, 8, 8])).unwrap().gradient);
        let along = |x| gradient.values(x).unwrap().total();
        let error = gradient_error(along, &analytic, &point, [3, 8, 8], 0.2);
        assert!(error < 2e-2, "{losses:?}: {error}");
    };
    check(LayerEnergy::new("conv2").into());
    check(LayerEnergy::new("conv1").channels([0, 2]).into());
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
        LayerEnergy::new("conv2").into(),
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
fn channels_and_shapes_that_do_not_fit_are_named() {
    let model = Tiny::new(&device());
    let losses = LayerEnergy::new("conv2").channels([1, 6]).into();
    let error = Gradient::new(&model, &losses).values(photo(0, [3, 8, 8])).unwrap_err();
    assert_eq!(error.to_string(), "channel 6 is out of range: layer `conv2` has 6 (0 to 5)");

    let model = any_size();
    let losses = Content::new(&model, photo(0, [3, 16, 16]), "output").unwrap().into();
    let error = Gradient::new(&model, &losses).values(photo(0, [3, 16, 20])).unwrap_err();
    assert!(error.to_string().starts_with("the layer `output` has shape [1, 5, 8, 10]"), "{error}");

    for weights in [[-1.0, 1.0], [0.0, 0.0], [f32::NAN, 1.0]] {
        let layers = ["output", "output"].into_iter().zip(weights);
        assert!(Style::new(&model, photo(0, [3, 16, 16]), layers).is_err());
    }
}

// ---- tiles ----

/// The largest difference, relative to the largest value of `b`, over the part that `within` accepts.
fn difference(a: &Array3<f32>, b: &Array3<f32>, within: impl Fn(usize, usize) -> bool) -> f32 {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error =
        a.indexed_iter().filter(|((_, y, x), _)| within(*y, *x)).map(|(at, value)| (value - b[at]).abs());
    error.fold(0.0, f32::max) / largest
}

#[test]
fn the_tiled_gradient_is_that_of_the_whole_image_where_the_margin_is_wide_enough() {
    // Units reach 4 pixels, and what they see reaches 4 pixels further: a margin of 16 is more than enough.
    let model = any_size();
    let losses = LayerEnergy::new("output").into();
    let image = photo(3, [3, 160, 128]);
    let whole = Gradient::new(&model, &losses).evaluate(image.clone()).unwrap();
    let whole_gradient = array3(whole.gradient);
    for borders in [[0, 0], [32, 0], [0, 32]] {
        let tiles = TiledGradient::new(&model, &losses).tile(64).overlap(16);
        let placement = Placement { borders, ..Placement::default() };
        let tiled = tiles.evaluate(array3(image.clone()).view(), placement).unwrap();
        let error = difference(&tiled.gradient, &whole_gradient, |_, _| true);
        assert!(error < 1e-4, "{borders:?}: {error}");
        // The loss is the mean over tiles, margins included.
        assert_close(&[tiled.loss], &[whole.losses.totals()[0]], 0.1 * tiled.loss.abs());
    }
}

#[test]
fn without_margins_it_differs_at_the_borders_between_tiles_alone() {
    let model = any_size();
    let losses = LayerEnergy::new("output").into();
    let image = photo(3, [3, 128, 128]);
    let whole = array3(Gradient::new(&model, &losses).evaluate(image.clone()).unwrap().gradient);
    let tiles = TiledGradient::new(&model, &losses).tile(64).overlap(0);
    let tiled = tiles.evaluate(array3(image).view(), Placement::default()).unwrap().gradient;
    // Tiles begin at 0 and 64.
    let far = |position: usize| position.abs_diff(64) > 8 + 1;
    assert!(difference(&tiled, &whole, |y, x| far(y) && far(x)) < 1e-4);
    assert!(difference(&tiled, &whole, |y, x| !(far(y) && far(x))) > 1e-2);
}

#[test]
fn odd_sizes_and_any_placement_leave_no_pixel_without_gradient() {
    // Every pixel of a mean counts 1/(C·H·W), by whatever tiles: the gradient of −mean x² is −2x/(C·H·W).
    let model = identity([3, 8, 8]);
    let losses = LayerEnergy::new("output").into();
    let image = array3(photo(4, [3, 145, 211]));
    let expected = image.mapv(|value| -2.0 * value / (3.0 * 145.0 * 211.0));
    for borders in [[0, 0], [17, 63], [50, 31]] {
        for overlap in [0, 16] {
            let tiles = TiledGradient::new(&model, &losses).tile(64).overlap(overlap);
            let placement = Placement { borders, ..Placement::default() };
            let tiled = tiles.evaluate(image.view(), placement).unwrap();
            assert!(difference(&tiled.gradient, &expected, |_, _| true) < 1e-4, "{borders:?} {overlap}");
        }
    }
}

#[test]
fn a_shift_mirrors_the_image_and_its_gradient_is_the_adjoint() {
    // A row 1 2 3 4 moved right by 1 is seen as 2 1 2 3: the gradient of −Σx²/4 there, −x/2 each, goes back to
    // where the pixels came from: 1 gets one, 2 gets two, 3 gets one, 4 none. Moved left: 2 3 4 3.
    let model = identity([1, 1, 1]);
    let losses = LayerEnergy::new("output").into();
    let row = array![[[1.0, 2.0, 3.0, 4.0]]];
    let moved = |right| {
        let placement = Placement { shift: [0, right], ..Placement::default() };
        TiledGradient::new(&model, &losses)
            .evaluate(row.view(), placement)
            .unwrap()
            .gradient
            .into_raw_vec_and_offset()
            .0
    };
    assert_close(&moved(0), &[-0.5, -1.0, -1.5, -2.0], 1e-6);
    assert_close(&moved(1), &[-0.5, -2.0, -1.5, 0.0], 1e-6);
    assert_close(&moved(-1), &[0.0, -1.0, -3.0, -2.0], 1e-6);
}

#[test]
fn a_network_of_one_size_has_tiles_of_that_size() {
    let model = Tiny::new(&device()); // 8×8
    let losses = LayerEnergy::new("conv2").into();
    let image = array3(photo(5, [3, 8, 21]));
    let tiled =
        TiledGradient::new(&model, &losses).overlap(0).evaluate(image.view(), Placement::default()).unwrap();
    // The first tile is the first 8 columns; its share of the area is 8/21.
    let first = image.slice(s![.., .., ..8]).to_owned().insert_axis(Axis(0));
    let first = Gradient::new(&model, &losses).evaluate(vis::host::tensor4(first.view(), &device())).unwrap();
    let expected = array3(first.gradient) * (8.0 / 21.0);
    let got = tiled.gradient.slice(s![.., .., ..8]).to_owned();
    assert!(difference(&got, &expected, |_, _| true) < 1e-5);

    let small = array3(photo(5, [3, 8, 7]));
    let error = TiledGradient::new(&model, &losses).evaluate(small.view(), Placement::default()).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

// ---- deep dream ----

#[test]
fn a_dream_of_zero_steps_is_the_photo() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream = deep_dream(&model, image.clone()).layer("output").steps(0).run().unwrap();
    assert!(dream.steps.is_empty());
    assert_eq!(vis::host::values(dream.image), vis::host::values(image));
}

#[test]
fn a_dream_lowers_the_loss_in_every_octave_and_keeps_odd_sizes() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream = deep_dream(&model, image).layer("output").octaves(3).steps(5).jitter(4).run().unwrap();
    assert_eq!(dream.image.dims(), [1, 3, 33, 47]);
    assert_eq!(dream.steps.len(), 15);
    assert_eq!(dream.steps[0].size, (17, 24)); // 33/1.96 and 47/1.96
    for octave in dream.steps.chunks(5) {
        assert!(octave[4].loss < octave[0].loss, "{octave:?}");
    }
}

#[test]
fn a_dream_moves_pixels_by_the_step_size_on_average() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream =
        deep_dream(&model, image.clone()).layer("output").octaves(1).steps(1).step_size(2.0).run().unwrap();
    let moved = (dream.image - image).abs().mean().into_scalar::<f32>();
    assert_close(&[moved], &[2.0], 1e-3);
}

#[test]
fn the_same_seed_dreams_the_same_in_any_tiles_up_to_their_margins() {
    let model = any_size();
    let image = photo(6, [3, 100, 140]);
    let dream = |seed, tile| {
        let dream =
            deep_dream(&model, image.clone()).layer("output").seed(seed).tile(tile).octaves(1).steps(1);
        array3(dream.jitter(3).run().unwrap().image)
    };
    assert_eq!(dream(1, 64), dream(1, 64));
    assert_ne!(dream(1, 64), dream(2, 64));
    // One step is the normalised gradient, which tiles give exactly.
    assert!(difference(&dream(1, 64), &dream(1, 512), |_, _| true) < 1e-4);
}

#[test]
fn a_guided_dream_comes_nearer_to_the_guide() {
    let model = any_size();
    let (image, guide) = (photo(6, [3, 40, 48]), photo(7, [3, 24, 24]));
    let dream =
        deep_dream(&model, image.clone()).layer("output").guide(guide.clone()).octaves(1).steps(8).jitter(2);
    let dream = dream.run().unwrap();
    let losses = BestMatch::new(&model, guide, "output").unwrap().into();
    let at = |x| Gradient::new(&model, &losses).values(x).unwrap().totals()[0];
    assert!(at(dream.image) < at(image));
}

#[test]
fn several_layers_are_dreamt_to_equal_parts() {
    let model = Tiny::new(&device());
    let image = photo(6, [3, 8, 8]);
    let dream =
        deep_dream(&model, image).layers(["conv1", "conv2"]).octaves(1).steps(2).jitter(0).run().unwrap();
    // Each layer's energy is divided by what it is at the start.
    assert_close(&[dream.steps[0].loss], &[-2.0], 1e-4);
}

#[test]
fn a_dream_of_nothing_says_so() {
    let model = any_size();
    let black = Tensor::zeros([1, 3, 32, 32], &device());
    let error = deep_dream(&model, black).layer("output").run().unwrap_err();
    assert!(matches!(error, Error::ZeroGradient { .. }), "{error}");
    let unknown = deep_dream(&model, photo(0, [3, 32, 32])).layer("outptu").run().unwrap_err();
    assert!(unknown.to_string().contains("did you mean `output`?"), "{unknown}");
    assert!(deep_dream(&model, photo(0, [3, 32, 32])).octave_scale(1.0).run().is_err());
    assert!(deep_dream(&model, photo(0, [3, 32, 32])).octaves(0).run().is_err());
}

// ---- caricature, inversion, style, texture ----

#[test]
fn every_method_lowers_its_loss() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let runs = [
        caricature(&model, image.clone()).steps(15).run().unwrap(),
        invert(&model, image.clone(), "conv1").steps(15).run().unwrap(),
        style_transfer(&model, image.clone(), painting.clone()).steps(15).run().unwrap(),
        style_transfer(&model, image, painting.clone()).steps(15).descent(Descent::Lbfgs).run().unwrap(),
        texture(&model, painting).steps(15).run().unwrap(),
    ];
    for run in runs {
        let first = run.losses.totals()[[0, 0]];
        assert!(run.best_loss[0] < first - 0.1 * first.abs(), "{first} → {:?}", run.best_loss);
        assert_eq!(run.losses.steps(), 15);
    }
}

#[test]
fn style_transfer_of_zero_steps_is_the_photo_or_the_noise() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let painted = style_transfer(&model, image.clone(), painting.clone()).steps(0).run().unwrap();
    assert_eq!(vis::host::values(painted.image), vis::host::values(image.clone()));
    let from_noise = |seed| {
        let painted =
            style_transfer(&model, image.clone(), painting.clone()).start(StyleStart::Noise).seed(seed);
        vis::host::values(painted.steps(0).run().unwrap().image)
    };
    assert_eq!(from_noise(1), from_noise(1));
    assert_ne!(from_noise(1), from_noise(2));
}

#[test]
fn style_transfer_goes_from_coarse_to_fine_at_odd_sizes() {
    let model = any_size();
    let (image, painting) = (photo(1, [3, 45, 71]), photo(2, [3, 50, 40]));
    let mut sizes = Vec::new();
    let painted = style_transfer(&model, image, painting)
        .content_layer("output")
        .style_layers([("output", 1.0)])
        .from_size(20)
        .steps(8)
        .progress(|step| {
            sizes.push(step.image.dims()[3]);
            std::ops::ControlFlow::Continue(())
        })
        .run()
        .unwrap();
    assert_eq!(painted.image.dims(), [1, 3, 45, 71]);
    // 71 → 35 → 20 pixels on the longest side; 8, 4 and 2 steps.
    assert_eq!(sizes, [vec![20; 8], vec![35; 4], vec![71; 2]].concat());
}

#[test]
fn keeping_colours_keeps_the_chroma_of_every_pixel() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let painted =
        style_transfer(&model, image.clone(), painting).keep_colors().steps(10).run().unwrap().image;
    let (before, after) = (array3(image), array3(painted));
    // Chroma is the difference of channels; luminance alone has changed.
    let chroma = |image: &Array3<f32>, channel: usize| {
        (&image.index_axis(Axis(0), channel) - &image.index_axis(Axis(0), 1)).into_raw_vec_and_offset().0
    };
    for channel in [0, 2] {
        assert_close(&chroma(&after, channel), &chroma(&before, channel), 1e-2);
    }
    assert!(difference(&after, &before, |_, _| true) > 0.01);
}

#[test]
fn texture_has_the_size_asked_for() {
    let model = any_size();
    let woven =
        texture(&model, photo(2, [3, 50, 40])).size(23, 37).layers([("output", 1.0)]).steps(3).run().unwrap();
    assert_eq!(woven.image.dims(), [1, 3, 23, 37]);
}

#[test]
fn paintings_and_photos_of_several_images_are_refused() {
    let model = Tiny::new(&device());
    let two = Tensor::zeros([2, 3, 8, 8], &device());
    let one = photo(0, [3, 8, 8]);
    assert!(matches!(deep_dream(&model, two.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(style_transfer(&model, two.clone(), one.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(style_transfer(&model, one, two.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(texture(&model, two).run(), Err(Error::Shape { .. })));
}

// ---- L-BFGS ----

/// `½ Σ k·(x − t)²` with curvatures from 1 to `count`.
struct Quadratic(Vec<f32>);

impl Loss for Quadratic {
    fn name(&self) -> String {
        "quadratic".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let image = scene.image();
        let [batch, channels, height, width] = image.dims();
        let curvature: Vec<f32> = (1..=self.0.len()).map(|k| k as f32).collect();
        let shape = [1, channels, height, width];
        let away = (image - tensor(&self.0, shape)).square() * tensor(&curvature, shape) * 0.5;
        Ok(away.sum_dims(&[1, 2, 3]).reshape([batch]))
    }
}

#[test]
fn lbfgs_reaches_the_minimum_of_a_quadratic() {
    // Condition number 12 in 12 dimensions; gradient descent at its best rate 2/13 shrinks the error by 11/13 a step:
    // 0.847³⁰ = 0.007. L-BFGS is there.
    let target: Vec<f32> = (0..12).map(|k| ((k * 5) % 12) as f32 - 6.0).collect();
    let model = identity([3, 2, 2]);
    let start = Tensor::cat(vec![tensor(&[0.0; 12], [1, 3, 2, 2]), tensor(&[9.0; 12], [1, 3, 2, 2])], 0);
    let result = Optimizer::new(&model, Quadratic(target.clone()))
        .seed_img(start)
        .update(Lbfgs::new(10.0).unwrap())
        .normalize(Normalization::None)
        .max_iter(30)
        .minimize()
        .unwrap();
    for image in vis::host::values(result.image).chunks(12) {
        assert_close(image, &target, 1e-3);
    }
}

#[test]
fn lbfgs_takes_no_step_longer_than_allowed_and_starts_along_the_gradient() {
    let mut update = Lbfgs::new(2.0).unwrap();
    let at = |values: [f32; 2]| tensor(&values, [1, 1, 1, 2]);
    // The first step: a tenth of 2 in root mean square along −(3, 4), whose root mean square is √12.5.
    let first = update.step(at([0.0, 0.0]), at([3.0, 4.0]), 1.0);
    let unit = 0.2 / 12.5_f32.sqrt();
    assert_close(&vis::host::values(first.clone()), &[-3.0 * unit, -4.0 * unit], 1e-6);
    // A gradient that hardly changed means hardly any curvature: a step of enormous length, cut to 2.
    let second = update.step(first.clone(), at([2.999, 3.999]), 1.0);
    let length = (second - first).square().mean().sqrt().into_scalar::<f32>();
    assert_close(&[length], &[2.0], 1e-4);
    assert!(Lbfgs::new(0.0).is_err());
}

#[test]
fn lbfgs_goes_on_where_the_curvature_is_negative() {
    // −cos has negative curvature beyond π/2: the first pairs are left out, and the minimum at 0 is still reached.
    struct Wave;
    impl Loss for Wave {
        fn name(&self) -> String {
            "wave".into()
        }
        fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
            Ok(scene.image().cos().neg().sum_dims(&[1, 2, 3]).reshape([scene.batch()]))
        }
    }
    let model = identity([1, 1, 2]);
    let result = Optimizer::new(&model, Wave)
        .seed_img(tensor(&[2.9, -2.5], [1, 1, 1, 2]))
        .update(Lbfgs::new(0.5).unwrap())
        .normalize(Normalization::None)
        .max_iter(60)
        .minimize()
        .unwrap();
    assert_close(&vis::host::values(result.image), &[0.0, 0.0], 1e-2);
}

// ---- resizing on the host ----

#[test]
fn resizing_keeps_flat_images_flat_and_the_mean_of_any() {
    let flat = Array3::from_elem((2, 7, 9), 3.5_f32);
    for size in [(3, 4), (7, 20), (15, 2)] {
        let resized = vis::host::resize(flat.view(), size.0, size.1);
        assert_eq!(resized.dim(), (2, size.0, size.1));
        assert!(resized.iter().all(|value| (value - 3.5).abs() < 1e-5));
    }
    // A chessboard shrunk to a quarter is grey, not a false pattern.
    let board = Array3::from_shape_fn((1, 32, 32), |(_, y, x)| ((x + y) % 2) as f32);
    let grey = vis::host::resize(board.view(), 8, 8);
    assert!(grey.iter().all(|value| (value - 0.5).abs() < 0.02), "{grey}");
}

#[test]
fn average_pooling_passes_a_gradient_to_every_pixel() {
    let image = photo(0, [1, 4, 4]).autodiff().require_grad();
    let pooled = vis::model::layers::average_pool_2x2(image.clone(), &mut Taps::new());
    let gradient = image.grad(&activation::relu(pooled).sum().backward()).unwrap();
    assert_close(&vis::host::values(gradient), &[0.25; 16], 1e-6);
}
