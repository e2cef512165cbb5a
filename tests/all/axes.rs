//! Rows are not columns: everything with two axes on images whose height and width differ, odd and even.

use std::collections::BTreeSet;

use burn::tensor::Tensor;
use ndarray::{Array3, Array4, s};
use vis::gradient::Gradient;
use vis::losses::{Losses, Style};
use vis::model::InputSpec;
use vis::random::stream;
use vis::transforms::{Jitter, Mirror, Pad, Rotate, Scale, Transform, Wrap};

use crate::support::{assert_close, device, identity, tensor};

/// The pixel at row `y` and column `x` is `100·y + x`.
fn numbered(height: usize, width: usize) -> Tensor<4> {
    let values: Vec<f32> = (0..height).flat_map(|y| (0..width).map(move |x| (100 * y + x) as f32)).collect();
    tensor(&values, [1, 1, height, width])
}

/// What a transform makes of it, from the pixel of the source for each pixel.
fn assert_sampled(
    got: Tensor<4>,
    [height, width]: [usize; 2],
    expected: impl Fn(usize, usize) -> f32,
    tolerance: f32,
) {
    assert_eq!(got.dims()[2..], [height, width]);
    let expected: Vec<f32> =
        (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| expected(y, x)).collect();
    assert_close(&crate::host::values(got), &expected, tolerance);
}

#[test]
fn a_border_of_style_leaves_out_at_most_a_quarter_of_each_side() {
    // An image is its own layer. Of 4 rows at most one is left out at each end, of 41 columns all three.
    for (shape, inside) in [
        ([2, 4, 41], s![.., 1..3, 3..38]),
        ([2, 41, 4], s![.., 3..38, 1..3]),
        ([3, 7, 12], s![.., 1..6, 3..9]),
        ([3, 12, 7], s![.., 3..9, 1..6]),
    ] {
        let [channels, height, width] = shape;
        let model = identity(shape);
        let [image, painting] = [1, 2]
            .map(|seed| vis::random::noise([1, channels, height, width], (-2.0, 3.0), seed, 0, &device()));
        let losses: Losses =
            Style::blend(&model, [(painting.clone(), 1.0)], [("output", 0.5)], 3).unwrap().into();
        let loss = Gradient::new(&model, &losses).values(image.clone()).unwrap().totals()[0];
        let gram = |image: Tensor<4>| -> Vec<f64> {
            let image = Array3::from_shape_vec(shape, crate::host::values(image)).unwrap().mapv(f64::from);
            let inside = image.slice(inside);
            let positions = (inside.dim().1 * inside.dim().2) as f64;
            let product = |a: usize, b: usize| {
                (&inside.slice(s![a, .., ..]) * &inside.slice(s![b, .., ..])).sum() / positions
            };
            (0..channels)
                .flat_map(|a| (0..channels).map(move |b| (a, b)))
                .map(|(a, b)| product(a, b))
                .collect()
        };
        let apart: f64 = gram(image).iter().zip(gram(painting)).map(|(a, b)| (a - b).powi(2)).sum();
        let expected = 0.5 * apart / (4.0 * (channels * channels) as f64);
        assert!((f64::from(loss) / expected - 1.0).abs() < 1e-4, "{shape:?}: {loss} and {expected}");
    }
}

#[test]
fn jitter_by_a_fraction_reaches_that_fraction_of_each_side() {
    // Of 7 rows and 41 columns a fifth is 1 and 8, rounded down; a shift by −k brings the first pixel to side − k.
    for (height, width, fraction, rows, columns) in
        [(7, 41, 0.2, 1, 8), (41, 7, 0.2, 8, 1), (10, 3, 0.34, 3, 1), (6, 4, 0.5, 3, 2)]
    {
        let mut found = [BTreeSet::new(), BTreeSet::new()];
        for seed in 0..300 {
            let moved = Jitter::Fraction(fraction).apply(numbered(height, width), &mut stream(seed, 0));
            let moved = crate::host::values(moved);
            let first = moved.iter().position(|value| *value == 0.0).unwrap();
            found[0].insert(first / width);
            found[1].insert(first % width);
        }
        let shifts = |reach: usize, side: usize| -> BTreeSet<usize> {
            (0..=2 * reach).map(|shift| (side + shift - reach) % side).collect()
        };
        assert_eq!(found, [shifts(rows, height), shifts(columns, width)], "{height} × {width}");
    }
}

#[test]
fn jitter_by_pixels_reaches_as_far_along_both_axes() {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for seed in 0..300 {
        let moved = crate::host::values(Jitter::Pixels(3).apply(numbered(9, 20), &mut stream(seed, 0)));
        let first = moved.iter().position(|value| *value == 0.0).unwrap();
        found[0].insert(first / 20);
        found[1].insert(first % 20);
    }
    assert_eq!(found[0], [0, 1, 2, 3, 6, 7, 8].into());
    assert_eq!(found[1], [0, 1, 2, 3, 17, 18, 19].into());
}

#[test]
fn borders_are_as_wide_on_all_sides_and_continue_each_axis_by_itself() {
    for (height, width) in [(3, 8), (8, 3), (4, 7)] {
        let image = numbered(height, width);
        let size = [height + 4, width + 4];
        let random = &mut stream(0, 0);
        let padded = Pad { pixels: 2, value: -7.0 }.apply(image.clone(), random);
        let inside = |place: usize, side: usize| (2..side + 2).contains(&place);
        let pad = |y: usize, x: usize| {
            if inside(y, height) && inside(x, width) { (100 * (y - 2) + x - 2) as f32 } else { -7.0 }
        };
        assert_sampled(padded, size, pad, 0.0);
        let wrapped = Wrap { pixels: 2 }.apply(image.clone(), random);
        let around =
            |y: usize, x: usize| (100 * ((y + height - 2) % height) + (x + width - 2) % width) as f32;
        assert_sampled(wrapped, size, around, 0.0);
        let mirrored = Mirror { pixels: 2 }.apply(image, random);
        let fold = |place: usize, side: usize| {
            let away = place.abs_diff(2);
            away.min(2 * (side - 1) - away)
        };
        assert_sampled(mirrored, size, |y, x| (100 * fold(y, height) + fold(x, width)) as f32, 0.0);
    }
}

#[test]
fn a_mirror_wider_than_the_image_folds_again_and_again() {
    // 0 1 2 goes on as … 1 2 1 0 1 2 1 0 1 …; one pixel has only itself.
    let row = tensor(&[0.0, 1.0, 2.0], [1, 1, 1, 3]);
    let mirrored = Mirror { pixels: 7 }.apply(row, &mut stream(0, 0));
    assert_eq!(mirrored.dims(), [1, 1, 15, 17]);
    let expected = [1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1].map(|value| value as f32);
    for line in crate::host::values(mirrored).chunks(17) {
        assert_eq!(line, expected);
    }
}

#[test]
fn a_zoom_is_about_the_centre_of_each_axis() {
    // Bilinear is exact on a ramp; outside the image is its edge.
    for (height, width) in [(5, 12), (12, 5), (6, 9)] {
        for factor in [2.0, 1.25, 0.5] {
            let zoomed = Scale(vec![factor]).apply(numbered(height, width), &mut stream(0, 0));
            let at = |place: usize, side: usize| {
                let centre = (side as f32 - 1.0) / 2.0;
                (centre + (place as f32 - centre) / factor).clamp(0.0, side as f32 - 1.0)
            };
            let expected = |y, x| 100.0 * at(y, height) + at(x, width);
            assert_sampled(zoomed, [height, width], expected, 1e-3);
        }
    }
}

#[test]
fn a_turn_is_about_the_centre_and_counterclockwise_whatever_the_shape() {
    for (height, width) in [(5, 12), (12, 5), (6, 9)] {
        let (middle_row, middle_column) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
        for degrees in [30.0_f32, -75.0, 90.0, 180.0] {
            let turned = Rotate(vec![degrees]).apply(numbered(height, width), &mut stream(0, 0));
            let (sine, cosine) = degrees.to_radians().sin_cos();
            let expected = |y: usize, x: usize| {
                let (y, x) = (y as f32 - middle_row, x as f32 - middle_column);
                let row = (middle_row + cosine * y - sine * x).clamp(0.0, height as f32 - 1.0);
                let column = (middle_column + sine * y + cosine * x).clamp(0.0, width as f32 - 1.0);
                100.0 * row + column
            };
            assert_sampled(turned, [height, width], expected, 2e-3);
        }
    }
}

#[test]
fn transforms_treat_every_image_and_channel_of_a_batch_alike() {
    // A batch of [2, 3] images is as many runs of one image of one channel with the same draw.
    let (batch, channels, height, width) = (2, 3, 5, 8);
    let images = vis::random::noise([batch, channels, height, width], (-1.0, 1.0), 3, 0, &device());
    let transforms: [Box<dyn Transform>; 7] = [
        Box::new(Jitter::Pixels(3)),
        Box::new(Jitter::Fraction(0.5)),
        Box::new(Pad { pixels: 3, value: 0.25 }),
        Box::new(Wrap { pixels: 3 }),
        Box::new(Mirror { pixels: 3 }),
        Box::new(Scale(vec![0.8, 1.3])),
        Box::new(Rotate(vec![-20.0, 50.0])),
    ];
    for transform in transforms {
        let array = |x: Tensor<4>| -> Array4<f32> { crate::host::array4(x) };
        let together = array(transform.apply(images.clone(), &mut stream(5, 0)));
        for (image, channel) in (0..batch).flat_map(|b| (0..channels).map(move |c| (b, c))) {
            let one = images.clone().narrow(0, image, 1).narrow(1, channel, 1);
            let alone = array(transform.apply(one, &mut stream(5, 0)));
            let difference = &together.slice(s![image, channel, .., ..]) - &alone.slice(s![0, 0, .., ..]);
            assert!(difference.iter().all(|value| value.abs() < 1e-6), "{transform:?} {image} {channel}");
        }
    }
}

#[test]
fn sizes_are_given_height_first_everywhere() {
    let model = identity([3, 5, 5]);
    let wanted = || vis::losses::ActivationMaximization::new("output", 0);
    for [height, width] in [[4, 9], [9, 4], [6, 7]] {
        let run = vis::Optimizer::new(&model, wanted()).size(height, width).batch(2);
        assert_eq!(run.max_iter(1).minimize().unwrap().image.dims(), [2, 3, height, width]);
        let pictures = vis::visualize_activation(&model, "output").filter_indices([1]).size(height, width);
        assert_eq!(pictures.max_iter(1).run().unwrap()[0].image.dim(), (3, height, width));
        let spec = InputSpec::new([3, height, width], (0.0, 1.0));
        assert_eq!(spec.size(), (height, width));
        assert!(spec.check([2, 3, height, width]).is_ok() && spec.check([2, 3, width, height]).is_err());
        assert_eq!(spec.zeros(&device()).dims(), [1, 3, height, width]);
    }
}
