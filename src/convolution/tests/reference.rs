//! Plain sums in double precision.

use rayon::prelude::*;

/// Numbers in -0.5..0.5 that look random.
pub(super) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        })
        .collect()
}

#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Sum over taps and input channels, in double precision.
pub(super) fn direct(input: &[f64], weights: &[f32], bias: &[f32], shape: &Shape) -> Vec<f64> {
    let Shape { batch, inputs, outputs, height, width } = *shape;
    let mut output = vec![0f64; batch * outputs * height * width];
    output.par_chunks_exact_mut(height * width).enumerate().for_each(|(plane, output)| {
        let (n, o) = (plane / outputs, plane % outputs);
        output.fill(f64::from(bias[o]));
        for i in 0..inputs {
            let input = &input[(n * inputs + i) * height * width..][..height * width];
            for tap in 0..9 {
                let weight = f64::from(weights[(o * inputs + i) * 9 + tap]);
                for y in 0..height {
                    let Some(from) = (y + tap / 3).checked_sub(1).filter(|from| *from < height) else {
                        continue;
                    };
                    for x in 0..width {
                        let Some(at) = (x + tap % 3).checked_sub(1).filter(|at| *at < width) else {
                            continue;
                        };
                        output[y * width + x] += weight * input[from * width + at];
                    }
                }
            }
        }
    });
    output
}

/// Weights `[inputs, outputs, 3, 3]`, each filter turned by 180 degrees.
pub(super) fn turned(weights: &[f32], shape: &Shape) -> Vec<f32> {
    let Shape { inputs, outputs, .. } = *shape;
    let mut result = vec![0.0; weights.len()];
    for o in 0..outputs {
        for i in 0..inputs {
            for tap in 0..9 {
                result[(i * outputs + o) * 9 + 8 - tap] = weights[(o * inputs + i) * 9 + tap];
            }
        }
    }
    result
}

pub(super) fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(1e-30, |largest: f64, value| largest.max(value.abs()));
    let difference = actual.iter().zip(expected).fold(0.0, |difference: f64, (a, e)| {
        let d = (f64::from(*a) - e).abs();
        if d.is_nan() { f64::INFINITY } else { difference.max(d) }
    });
    difference / largest
}

pub(super) fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}
