//! Deep dream.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::{Array3, Axis};
use vis::Error;
use vis::gradient::Gradient;
use vis::losses::{BestMatch, TotalVariation};
use vis::model::{InputSpec, Taps, Tiny, Vgg16};
use vis::visualization::deep_dream;

use super::{any_size, array3, difference, photo};
use crate::support::{Function, assert_close, device, energy};

#[test]
fn a_dream_of_zero_steps_is_the_photo() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream = deep_dream(&model, image.clone()).layer("output").max_iter(0).run().unwrap();
    assert_eq!((dream.losses.steps(), dream.sizes.len()), (0, 0));
    assert_eq!(crate::host::values(dream.image), crate::host::values(image));
}

#[test]
fn a_dream_lowers_the_loss_in_every_octave_and_keeps_odd_sizes() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream = deep_dream(&model, image).layer("output").octaves(3).max_iter(5).jitter(4).run().unwrap();
    assert_eq!(dream.image.dims(), [1, 3, 33, 47]);
    // 33/1.96 and 47/1.96, 33/1.4 and 47/1.4.
    assert_eq!(dream.sizes, [[(17, 24); 5], [(24, 34); 5], [(33, 47); 5]].concat());
    let losses = dream.losses.totals();
    for octave in [0, 5, 10] {
        assert!(losses[[octave + 4, 0]] < losses[[octave, 0]], "{losses}");
    }
}

#[test]
fn a_dream_moves_pixels_by_the_step_size_on_average() {
    let model = any_size();
    let image = photo(6, [3, 33, 47]);
    let dream = deep_dream(&model, image.clone())
        .layer("output")
        .octaves(1)
        .max_iter(1)
        .step_size(2.0)
        .run()
        .unwrap();
    let moved = (dream.image - image).abs().mean().into_scalar::<f32>();
    assert_close(&[moved], &[2.0], 1e-3);
}

#[test]
fn the_same_seed_dreams_the_same_in_any_tiles_up_to_their_margins() {
    let model = any_size();
    let image = photo(6, [3, 100, 140]);
    let dream = |seed, tile| {
        let dream =
            deep_dream(&model, image.clone()).layer("output").seed(seed).tile(tile).octaves(1).max_iter(1);
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
    let dream = deep_dream(&model, image.clone())
        .layer("output")
        .guide(guide.clone())
        .octaves(1)
        .max_iter(8)
        .jitter(2);
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
        deep_dream(&model, image).layers(["conv1", "conv2"]).octaves(1).max_iter(2).jitter(0).run().unwrap();
    // Each layer's energy is divided by what it is at the start.
    assert_close(&[dream.losses.totals()[[0, 0]]], &[-2.0], 1e-4);
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

#[test]
fn an_octave_that_sees_nothing_is_left_as_it_is() {
    // Pixels above 200 are seen. Single ones of 250 on a ground of 100 are at most 175 in the octave of half the size.
    let model = Function(InputSpec::rgb(64, 64).with_any_size_from(8), |x: Tensor<4>, taps: &mut Taps| {
        taps.relu(x - 200.0)
    });
    let speck = |(_, y, x): (usize, usize, usize)| if y % 8 == 3 && x % 8 == 3 { 250.0 } else { 100.0 };
    let specks = Array3::from_shape_fn((3, 32, 32), speck);
    let image = crate::host::tensor4(specks.view().insert_axis(Axis(0)), &device());
    let dream = deep_dream(&model, image).octaves(2).octave_scale(2.0).max_iter(3).jitter(0);
    let dream = dream.layer("output").run().unwrap();
    assert_eq!(dream.sizes, [(32, 32); 3]);
    let changed = array3(dream.image) - specks;
    let grew = changed.indexed_iter().all(|(at, change)| (*change > 0.0) == (speck(at) > 200.0));
    assert!(grew, "specks alone grow");
}

#[test]
fn a_step_that_would_leave_all_numbers_is_refused() {
    let model = any_size();
    for size in [-1.0, 255.1, 1e38, f32::INFINITY, f32::NAN] {
        let error = deep_dream(&model, photo(0, [3, 32, 32])).step_size(size).run().unwrap_err();
        assert!(error.to_string().starts_with("the step size must be a number from 0 to 255"), "{error}");
    }
    let dream =
        deep_dream(&model, photo(0, [3, 32, 32])).layer("output").octaves(1).max_iter(2).step_size(255.0);
    assert!(crate::host::values(dream.run().unwrap().image).iter().all(|value| value.is_finite()));
}

#[test]
fn every_loss_of_a_dream_is_told_by_name() {
    let model = any_size();
    let losses = vis::losses![(energy("output"), 2.0), (TotalVariation::default(), 0.01)];
    let image = photo(6, [3, 40, 48]);
    let mut told = Vec::new();
    let dream =
        deep_dream(&model, image.clone()).losses(losses).octaves(1).max_iter(3).jitter(0).progress(|now| {
            told.extend(now.loss);
            ControlFlow::Continue(())
        });
    let dream = dream.run().unwrap();
    assert_eq!(dream.losses.names(), ["energy of output", "TV(2)"]);
    assert_eq!(dream.losses.values().dim(), (3, 2, 1));
    let totals: Vec<f32> = dream.losses.totals().into_iter().collect();
    assert_eq!(totals, told);
    // The first row is that of the photo.
    let excited = energy("output").into();
    let energy = 2.0 * Gradient::new(&model, &excited).values(image).unwrap().totals()[0];
    assert_close(&[dream.losses.values()[[0, 0, 0]]], &[energy], 1e-4 * energy.abs());
}

#[test]
fn the_borders_between_tiles_leave_no_seam() {
    // VGG16 in tiles of 96 pixels, of which 32 × 32 are kept: without jitter their borders stay at every 32nd pixel.
    let model = Vgg16::bundled(&device()).unwrap();
    let cat = vis::picture::load("tests/reference/input_224.png").unwrap();
    let cat = image::imageops::crop_imm(&cat, 30, 30, 160, 128).to_image();
    let image = vis::picture::to_tensor(&cat, &model).unwrap();
    let dream = deep_dream(&model, image.clone()).layer("block3_conv3").octaves(1).max_iter(4).jitter(0);
    let added = array3(dream.tile(96).overlap(32).run().unwrap().image - image);
    for axis in [1, 2] {
        let side = added.len_of(Axis(axis));
        let jump = |index: usize| {
            let line = |index| added.index_axis(Axis(axis), index);
            (&line(index) - &line(index - 1)).mapv(f32::abs).mean().unwrap()
        };
        let mean = |at_border: bool| {
            let jumps: Vec<f32> =
                (1..side).filter(|index| (index % 32 == 0) == at_border).map(jump).collect();
            jumps.iter().sum::<f32>() / jumps.len() as f32
        };
        let (borders, elsewhere) = (mean(true), mean(false));
        assert!(
            elsewhere > 0.1 && borders < 1.5 * elsewhere,
            "axis {axis}: {borders}, {elsewhere} elsewhere"
        );
    }
}
