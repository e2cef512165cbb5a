//! Functions of rows and their gradients, against the same in double precision.

use super::reference::noise;
use super::sets::with_every_instruction_set;
use crate::planes::scale_planes;
use crate::rows::RowFunction;

fn value(function: RowFunction<'_>, x: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    match function {
        RowFunction::Softmax => {
            let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|x| (x - most).exp()).sum();
            x.iter().map(|x| (x - most).exp() / sum).collect()
        }
        RowFunction::LayerNorm { epsilon, factor, summand } => {
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let at = |list: Option<&[f32]>, k: usize, default: f64| {
                list.map_or(default, |list| f64::from(list[k]))
            };
            let one = |(k, x): (usize, &f64)| {
                (x - mean) / (variance + f64::from(epsilon)).sqrt() * at(factor, k, 1.0) + at(summand, k, 0.0)
            };
            x.iter().enumerate().map(one).collect()
        }
    }
}

#[test]
fn rows_and_their_gradients_are_those_of_double_precision() {
    for (width, rows) in [(1, 3), (2, 4), (15, 2), (16, 3), (17, 5), (96, 4), (197, 3), (1000, 2)] {
        let x: Vec<f32> = noise(rows * width, 1).iter().map(|x| 8.0 * x).collect();
        let (g, factor, summand) = (noise(rows * width, 2), noise(width, 3), noise(width, 4));
        let plain = RowFunction::LayerNorm { epsilon: 1e-3, factor: None, summand: None };
        let scaled = RowFunction::LayerNorm { epsilon: 1e-3, factor: Some(&factor), summand: Some(&summand) };
        for function in [RowFunction::Softmax, plain, scaled] {
            let wide = |list: &[f32]| list.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            let expected: Vec<f64> = x.chunks(width).flat_map(|row| value(function, &wide(row))).collect();
            let dot = |row: &[f64], g: &[f32]| -> f64 {
                value(function, row).iter().zip(g).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let slopes: Vec<f64> = (0..x.len())
                .map(|at| {
                    let (row, k) = (at / width, at % width);
                    let (mut up, g) = (wide(&x[row * width..][..width]), &g[row * width..][..width]);
                    let mut down = up.clone();
                    up[k] += 1e-5;
                    down[k] -= 1e-5;
                    (dot(&up, g) - dot(&down, g)) / 2e-5
                })
                .collect();
            with_every_instruction_set(|name| {
                let (mut y, mut gradient) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                function.apply(width, &x, &mut y);
                let kept = if matches!(function, RowFunction::Softmax) { &y } else { &x };
                function.pull_back(width, kept, &g, &mut gradient);
                // A row of one number has no deviation but ε, by which all is divided.
                let allowed = if width == 1 { 1e-3 } else { 2e-5 };
                for (actual, expected) in [(&y, &expected), (&gradient, &slopes)] {
                    let close = |(a, e): (&f32, &f64)| (f64::from(*a) - e).abs() <= allowed * (1.0 + e.abs());
                    assert!(actual.iter().zip(expected).all(close), "{name} {width} {function:?}");
                }
                // A row is what it is alone.
                let mut alone = vec![f32::NAN; width];
                function.apply(width, &x[width..2 * width], &mut alone);
                assert_eq!(alone, y[width..2 * width]);
            });
        }
    }
}

#[test]
fn rows_of_another_length_are_refused() {
    let refused = |width: usize, read: usize, written: usize| {
        std::panic::catch_unwind(|| {
            RowFunction::Softmax.apply(width, &vec![0.0; read], &mut vec![0.0; written]);
        })
        .is_err()
    };
    assert!(!refused(3, 6, 6) && refused(4, 6, 6) && refused(0, 6, 6) && refused(3, 6, 9));
}

#[test]
fn planes_are_scaled_and_shifted_by_the_numbers_of_their_channel() {
    for (batch, channels, plane) in [(1, 1, 1), (2, 3, 7), (3, 5, 16), (1, 4, 33), (2, 2, 20_000)] {
        let (x, factors, summands) =
            (noise(batch * channels * plane, 1), noise(channels, 2), noise(channels, 3));
        for shifted in [false, true] {
            let summands = shifted.then_some(&summands[..]);
            with_every_instruction_set(|name| {
                let mut y = vec![f32::NAN; x.len()];
                scale_planes(&factors, summands, plane, &x, &mut y);
                for (at, (x, y)) in x.iter().zip(&y).enumerate() {
                    let channel = at / plane % channels;
                    let summand = summands.map_or(0.0, |summands| f64::from(summands[channel]));
                    let expected = f64::from(*x) * f64::from(factors[channel]) + summand;
                    assert!(
                        (f64::from(*y) - expected).abs() < 1e-6,
                        "{name} {batch} {channels} {plane} {at}"
                    );
                }
            });
        }
    }
    let refused = |plane: usize, read: usize| {
        std::panic::catch_unwind(|| {
            scale_planes(&[1.0, 2.0], None, plane, &vec![0.0; read], &mut vec![0.0; read]);
        })
        .is_err()
    };
    assert!(!refused(3, 12) && refused(4, 12) && refused(0, 12) && refused(5, 12) && !refused(3, 0));
}
