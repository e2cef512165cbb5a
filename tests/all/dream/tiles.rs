//! Tiles against the whole image.

use ndarray::{Axis, array, s};
use vis::Error;
use vis::gradient::Gradient;
use vis::losses::LayerEnergy;
use vis::model::Tiny;
use vis::tiles::{Placement, TiledGradient};

use super::{any_size, array3, difference, photo};
use crate::support::{assert_close, device, identity};

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
