//! Tiles against the whole image.

use burn::tensor::{Device, Tensor, TensorData, module, ops::ConvOptions, ops::MaxPoolOptions};
use ndarray::{Array3, Axis, array, s};

use super::{Placement, TiledGradient};
use crate::Error;
use crate::gradient::Gradient;
use crate::host::{array4, tensor4};
use crate::losses::{ActivationMaximization, Losses};
use crate::model::{InputSpec, Model, Stop, Taps, Tiny};
use crate::target::Target;

/// A model that is any function of its image, tapped as `output`.
struct Function<F>(InputSpec, F);

impl<F: Fn(Tensor<4>, &mut Taps) -> Tensor<4> + Send + Sync> Model for Function<F> {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = (self.1)(image, taps);
        taps.layer("output", x)?;
        Ok(())
    }
}

/// A model that does nothing, for losses that look at the image alone.
fn identity(shape: [usize; 3]) -> impl Model {
    Function(InputSpec::new(shape, (0.0, 255.0)).with_any_size_from(1), |x, _: &mut Taps| x)
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

fn device() -> Device {
    Device::default()
}

/// An image with structure at every pixel.
fn photo(seed: u64, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let noise = crate::random::noise([1, channels, height, width], (0.0, 255.0), seed, 0, &device());
    (noise - 128.0) * 12.0 + 128.0
}

fn array3(image: Tensor<4>) -> Array3<f32> {
    array4(image).index_axis_move(Axis(0), 0)
}

/// The largest difference, relative to the largest value of `b`, over the part that `within` accepts.
fn difference(a: &Array3<f32>, b: &Array3<f32>, within: impl Fn(usize, usize) -> bool) -> f32 {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error =
        a.indexed_iter().filter(|((_, y, x), _)| within(*y, *x)).map(|(at, value)| (value - b[at]).abs());
    error.fold(0.0, f32::max) / largest
}

#[track_caller]
fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "lengths differ");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance, "got {got}, expected {expected} within {tolerance}");
    }
}

#[test]
fn the_tiled_gradient_is_that_of_the_whole_image_where_the_margin_is_wide_enough() {
    // Units reach 4 pixels, and what they see reaches 4 pixels further: a margin of 16 is more than enough.
    let model = any_size();
    let losses = ActivationMaximization::from(Target::energy("output")).into();
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
    let losses = ActivationMaximization::from(Target::energy("output")).into();
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
    let losses = ActivationMaximization::from(Target::energy("output")).into();
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
    let losses = ActivationMaximization::from(Target::energy("output")).into();
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
    let losses = ActivationMaximization::from(Target::energy("conv2")).into();
    let image = array3(photo(5, [3, 8, 21]));
    let tiled =
        TiledGradient::new(&model, &losses).overlap(0).evaluate(image.view(), Placement::default()).unwrap();
    // The first tile is the first 8 columns; its share of the area is 8/21.
    let first = image.slice(s![.., .., ..8]).to_owned().insert_axis(Axis(0));
    let first = Gradient::new(&model, &losses).evaluate(tensor4(first.view(), &device())).unwrap();
    let expected = array3(first.gradient) * (8.0 / 21.0);
    let got = tiled.gradient.slice(s![.., .., ..8]).to_owned();
    assert!(difference(&got, &expected, |_, _| true) < 1e-5);

    let small = array3(photo(5, [3, 8, 7]));
    let error = TiledGradient::new(&model, &losses).evaluate(small.view(), Placement::default()).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

/// Does nothing, and takes what it says.
struct Idle(InputSpec);

impl Model for Idle {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        taps.layer("output", image)?;
        Ok(())
    }
}

/// Each as the pixels seen and the core.
fn spans(
    model: &Idle,
    overlap: usize,
    side: usize,
    tile: usize,
    borders: usize,
) -> Vec<[std::ops::Range<usize>; 2]> {
    let losses = Losses::new();
    let tiles = TiledGradient::new(model, &losses).overlap(overlap);
    tiles.spans(side, tile, borders).into_iter().map(|span| [span.seen, span.core]).collect()
}

#[test]
fn tiles_of_a_fixed_size_have_a_margin_on_both_sides_and_end_at_the_edge() {
    // Tiles of 8 with margins of 2 (a quarter at most) step by 4; the last two begin earlier, to end at 20.
    let model = Idle(InputSpec::new([3, 8, 8], (0.0, 1.0)));
    for overlap in [2, 5] {
        assert_eq!(
            spans(&model, overlap, 20, 8, 0),
            [[0..8, 0..4], [2..10, 4..8], [6..14, 8..12], [10..18, 12..16], [12..20, 16..20],]
        );
    }
    assert_eq!(
        spans(&model, 2, 20, 8, 7),
        [[0..8, 0..1], [0..8, 1..5], [3..11, 5..9], [7..15, 9..13], [11..19, 13..17], [12..20, 17..20],]
    );
    assert_eq!(spans(&model, 0, 17, 8, 3), [[0..8, 0..5], [5..13, 5..13], [9..17, 13..17]]);
    assert_eq!(spans(&model, 2, 8, 8, 3), [[0..8, 0..8]]);
    assert_eq!(spans(&model, 2, 9, 8, 0), [[0..8, 0..4], [1..9, 4..8], [1..9, 8..9]]);
}

#[test]
fn tiles_of_any_size_lie_on_the_grid_of_the_strides_and_take_a_narrow_rest_along() {
    // Tiles of 128 with margins of 32 step by 64. A rest of 32 pixels or fewer is seen with the tile before it.
    let model = Idle(InputSpec::new([3, 100, 100], (0.0, 1.0)).with_any_size_from(40));
    assert_eq!(
        spans(&model, 32, 300, 128, 0),
        [[0..96, 0..64], [32..160, 64..128], [96..224, 128..192], [160..300, 192..256], [224..300, 256..300],]
    );
    // Borders of 100 are 36 past a step, rounded down to 32.
    assert_eq!(
        spans(&model, 32, 300, 128, 100),
        [
            [0..64, 0..32],
            [0..128, 32..96],
            [64..192, 96..160],
            [128..256, 160..224],
            [192..300, 224..288],
            [256..300, 288..300],
        ]
    );
    // Without margins; the last begins earlier, for the 40 pixels that the network needs.
    assert_eq!(spans(&model, 0, 140, 64, 0), [[0..64, 0..64], [64..140, 64..128], [96..140, 128..140]]);
    // So does the first end later.
    assert_eq!(spans(&model, 0, 140, 64, 32), [[0..40, 0..32], [32..96, 32..96], [96..140, 96..140]]);
    // A rest of just 32 is taken along, one of 33 is not.
    assert_eq!(spans(&model, 0, 160, 64, 0)[1], [64..160, 64..128]);
    assert_eq!(spans(&model, 0, 161, 64, 0)[1], [64..128, 64..128]);
}

#[test]
fn a_placement_reaches_every_shift_and_border_along_both_axes() {
    let draw = |model: &Idle, tile: usize, jitter: usize| {
        let losses = Losses::new();
        let tiles = TiledGradient::new(model, &losses).tile(tile);
        let mut random = crate::random::stream(3, 0);
        let placements: Vec<_> = (0..4000).map(|_| tiles.place(jitter, &mut random)).collect();
        let range = |of: &dyn Fn(&Placement) -> i64| {
            let found: std::collections::BTreeSet<_> = placements.iter().map(of).collect();
            (*found.first().unwrap(), *found.last().unwrap(), found.len())
        };
        (
            [0, 1].map(|axis| range(&|placement| placement.shift[axis])),
            [0, 1].map(|axis| range(&|placement| placement.borders[axis] as i64)),
        )
    };
    let fixed = Idle(InputSpec::new([3, 5, 9], (0.0, 1.0)));
    assert_eq!(draw(&fixed, 512, 3), ([(-3, 3, 7); 2], [(0, 4, 5), (0, 8, 9)]));
    // Of any size: the tile asked for, but never fewer than 64 pixels nor than the network takes.
    let any = |smallest| Idle(InputSpec::new([3, 5, 9], (0.0, 1.0)).with_any_size_from(smallest));
    assert_eq!(draw(&any(8), 1, 2), ([(-2, 2, 5); 2], [(0, 63, 64); 2]));
    assert_eq!(draw(&any(70), 1, 0), ([(0, 0, 1); 2], [(0, 69, 70); 2]));
    assert_eq!(draw(&any(8), 100, 1), ([(-1, 1, 3); 2], [(0, 99, 100); 2]));
}

#[test]
fn shifts_down_and_right_are_told_apart() {
    // The gradient of −Σx²/n goes back to where each pixel that is seen comes from.
    let model = identity([2, 1, 1]);
    let losses = ActivationMaximization::from(Target::energy("output")).into();
    let image = Array3::from_shape_fn((2, 4, 7), |(c, y, x)| (30 * c + 7 * y + x) as f32 / 8.0 - 3.0);
    let source = |place: usize, shift: i64, side: usize| {
        let last = side as i64 - 1;
        let folded = (place as i64 - shift).rem_euclid(2 * last);
        folded.min(2 * last - folded) as usize
    };
    for shift in [[1, -2], [-3, 1], [0, 5], [2, 0]] {
        let placement = Placement { shift, ..Placement::default() };
        let found = TiledGradient::new(&model, &losses).evaluate(image.view(), placement).unwrap();
        let mut expected = Array3::<f32>::zeros((2, 4, 7));
        for ((c, y, x), _) in image.indexed_iter() {
            let from = [c, source(y, shift[0], 4), source(x, shift[1], 7)];
            expected[from] -= 2.0 * image[from] / 56.0;
        }
        assert!(difference(&found.gradient, &expected, |_, _| true) < 1e-5, "{shift:?}");
    }
}

#[test]
fn an_image_that_is_too_small_along_either_axis_is_refused() {
    let losses = ActivationMaximization::from(Target::energy("output")).into();
    let of = |model: &Idle, height: usize, width: usize| {
        let image = Array3::<f32>::ones((3, height, width));
        TiledGradient::new(model, &losses).evaluate(image.view(), Placement::default()).map(drop)
    };
    let fixed = Idle(InputSpec::new([3, 5, 9], (0.0, 1.0)));
    let any = Idle(InputSpec::new([3, 5, 9], (0.0, 1.0)).with_any_size_from(6));
    for (model, good, bad) in [
        (&fixed, [[5, 9], [6, 20]], [[4, 9], [5, 8], [9, 5]]),
        (&any, [[6, 6], [6, 90]], [[5, 6], [6, 5], [5, 5]]),
    ] {
        for [height, width] in good {
            assert!(of(model, height, width).is_ok(), "{height} × {width}");
        }
        for [height, width] in bad {
            assert!(matches!(of(model, height, width), Err(Error::Shape { .. })), "{height} × {width}");
        }
    }
}
