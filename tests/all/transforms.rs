//! Transforms: identities, adjoints, known answers.

use vis::random::{noise, stream};
use vis::transforms::{Jitter, Pad, Rotate, Scale, Transform, Wrap};

use crate::support::{assert_close, device, tensor};

fn all() -> Vec<Box<dyn Transform>> {
    vec![
        Box::new(Jitter::Pixels(2)),
        Box::new(Jitter::Fraction(0.4)),
        Box::new(Pad { pixels: 2, value: 0.0 }),
        Box::new(Wrap { pixels: 2 }),
        Box::new(Wrap { pixels: 9 }), // more than there are
        Box::new(Scale(vec![0.7, 1.3])),
        Box::new(Rotate(vec![-25.0, 40.0])),
    ]
}

#[test]
fn a_transform_that_moves_nothing_is_the_identity() {
    let image = noise([2, 3, 5, 7], (-1.0, 1.0), 0, 0, &device());
    let still: [Box<dyn Transform>; 6] = [
        Box::new(Jitter::Pixels(0)),
        Box::new(Jitter::Fraction(0.0)),
        Box::new(Pad { pixels: 0, value: 1.0 }),
        Box::new(Wrap { pixels: 0 }),
        Box::new(Scale(vec![1.0])),
        Box::new(Rotate(vec![0.0])),
    ];
    for transform in still {
        let moved = transform.apply(image.clone(), &mut stream(0, 0));
        assert_eq!(crate::host::values(moved), crate::host::values(image.clone()), "{transform:?}");
    }
}

#[test]
fn the_gradient_of_each_linear_transform_is_its_adjoint() {
    // For linear T: ⟨T x, y⟩ = ⟨x, Tᵀ y⟩, and the gradient of ⟨T x, y⟩ is Tᵀ y.
    for transform in all() {
        for draw in 0..4 {
            let x = noise([1, 2, 6, 5], (-1.0, 1.0), draw, 0, &device());
            let leaf = x.clone().autodiff().require_grad();
            let moved = transform.apply(leaf.clone(), &mut stream(draw, 0));
            let y = noise(moved.dims(), (-1.0, 1.0), draw, 1, &device());
            let left = (moved * y).sum();
            let gradient = leaf.grad(&left.backward()).unwrap();
            let right = (x * gradient).sum().into_scalar::<f32>();
            let left = left.inner().into_scalar::<f32>();
            assert!((left - right).abs() < 1e-4, "{transform:?}: {left} and {right}");
        }
    }
}

#[test]
fn jitter_moves_every_pixel_alike_and_loses_none() {
    let image: Vec<f32> = (0..35).map(|k| k as f32).collect();
    let mut offsets = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let moved = Jitter::Pixels(1).apply(tensor(&image, [1, 1, 5, 7]), &mut stream(seed, 0));
        let moved = crate::host::values(moved);
        let at = moved.iter().position(|value| *value == 0.0).unwrap();
        let (down, right) = (at / 7, at % 7);
        offsets.insert((down, right));
        for row in 0..5 {
            for column in 0..7 {
                assert_eq!(moved[(row + down) % 5 * 7 + (column + right) % 7], (row * 7 + column) as f32);
            }
        }
    }
    // All nine shifts of up to one pixel each way occur.
    let expected: Vec<_> = [0, 1, 4].into_iter().flat_map(|d| [0, 1, 6].map(|r| (d, r))).collect();
    assert_eq!(offsets.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_quarter_turn_equals_a_transposed_flip() {
    let image: Vec<f32> = (0..25).map(|k| k as f32).collect();
    let turned =
        crate::host::values(Rotate(vec![90.0]).apply(tensor(&image, [1, 1, 5, 5]), &mut stream(0, 0)));
    // out(i, j) samples in(c − (j − c), c + (i − c)) = in(4 − j, i), one of the two quarter turns.
    let expected: Vec<f32> = (0..25).map(|k| image[(4 - k % 5) * 5 + k / 5]).collect();
    assert_close(&turned, &expected, 1e-3);
}

#[test]
fn zooming_by_two_stretches_a_ramp_about_its_centre() {
    let ramp = [0.0, 1.0, 2.0, 3.0, 4.0];
    let zoomed = Scale(vec![2.0]).apply(tensor(&ramp, [1, 1, 1, 5]), &mut stream(0, 0));
    assert_close(&crate::host::values(zoomed), &[1.0, 1.5, 2.0, 2.5, 3.0], 1e-6);
    let shrunk = Scale(vec![0.5]).apply(tensor(&ramp, [1, 1, 1, 5]), &mut stream(0, 0));
    assert_close(&crate::host::values(shrunk), &[0.0, 0.0, 2.0, 4.0, 4.0], 1e-6);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert!(Jitter::Fraction(1.5).check().is_err());
    assert!(Jitter::Fraction(f32::NAN).check().is_err());
    assert!(Scale(vec![1.0, 0.0]).check().is_err());
    assert!(Rotate(vec![f32::INFINITY]).check().is_err());
}
