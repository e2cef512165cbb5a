//! Plain sums in double precision.

use crate::fused::{Gate, Rectifier, Rule};
use crate::geometry::Geometry;
use crate::threads::{Parts, for_each};

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
    let planes = Parts::new(&mut output, height * width);
    for_each(batch * outputs, |plane| {
        // SAFETY: each task has a plane of its own.
        let output = unsafe { planes.get(plane) };
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

/// Calls `visit` with the indices of output, weight and input of every product of a convolution.
fn products(sizes: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let filters = sizes.filters();
    let ([inputs, outputs], [kh, kw]) = (filters.channels_of_a_group(), filters.kernel());
    let ([down, right], [apart_y, apart_x]) = (filters.stride(), filters.dilation());
    let ([batch, _, height, width], [_, _, rows, columns]) = (sizes.input(), sizes.output());
    let ([top, left], groups) = (sizes.zeros_before(), filters.groups());
    for (n, g) in (0..batch).flat_map(|n| (0..groups).map(move |g| (n, g))) {
        for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (g * outputs + o, i))) {
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                let weight = ((o * inputs + i) * kh + ky) * kw + kx;
                for y in 0..rows {
                    let Some(v) = (y * down + ky * apart_y).checked_sub(top).filter(|v| *v < height) else {
                        continue;
                    };
                    for x in 0..columns {
                        let Some(u) = (x * right + kx * apart_x).checked_sub(left).filter(|u| *u < width)
                        else {
                            continue;
                        };
                        let output = ((n * groups * outputs + o) * rows + y) * columns + x;
                        let input = ((n * groups * inputs + g * inputs + i) * height + v) * width + u;
                        visit(output, weight, input);
                    }
                }
            }
        }
    }
}

/// `weights ∗ input + bias` in double precision.
pub(super) fn convolved(sizes: &Geometry, input: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f64> {
    let [_, outputs, rows, columns] = sizes.output();
    let mut output: Vec<f64> =
        (0..sizes.output_length()).map(|at| f64::from(bias[at / (rows * columns) % outputs])).collect();
    products(sizes, |o, w, i| output[o] += f64::from(weights[w]) * f64::from(input[i]));
    output
}

/// The transpose of [`convolved`] without bias, in double precision.
pub(super) fn pulled_back(sizes: &Geometry, cotangent: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut gradient = vec![0.0; sizes.input_length()];
    products(sizes, |o, w, i| gradient[i] += f64::from(weights[w]) * f64::from(cotangent[o]));
    gradient
}

/// What a gate lets through.
pub(super) fn gated(cotangent: &[f32], gate: &Gate<'_>) -> Vec<f32> {
    let pass = |(cotangent, output): (&f32, &f32)| {
        let open = *output > 0.0 && (gate.rectifier == Rectifier::Relu || *output < 6.0);
        let passes = match gate.rule {
            Rule::Plain => open,
            Rule::Guided => open && *cotangent > 0.0,
            Rule::Deconvolution => *cotangent > 0.0,
        };
        if passes { *cotangent } else { 0.0 }
    };
    cotangent.iter().zip(gate.output).map(pass).collect()
}
