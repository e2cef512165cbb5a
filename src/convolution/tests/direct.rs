//! Direct convolutions against plain sums in double precision.

use super::reference::{noise, relative_error};
use super::with_every_instruction_set;
use crate::backprop::{Rectifier, Rule};
use crate::convolution::direct::{Direct, Sizes};
use crate::convolution::fused::{Epilogue, Gate};

struct Case {
    /// Groups, and output and input channels of each.
    channels: [usize; 3],
    kernel: [usize; 2],
    stride: usize,
    sizes: Sizes,
}

/// TensorFlow's `SAME`: the odd zero goes below and to the right.
fn same(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let output = size.div_ceil(stride);
    (output, (((output - 1) * stride + kernel).saturating_sub(size)) / 2)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for channels in [[1, 1, 1], [5, 1, 1], [40, 1, 1], [3, 2, 1], [1, 32, 3], [1, 3, 4], [2, 3, 2]] {
        for kernel in [[1, 1], [3, 3], [5, 5], [2, 4]] {
            for stride in [1, 2, 3] {
                for (batch, height, width) in [(1, 1, 1), (2, 7, 7), (1, 14, 15), (1, 33, 50)] {
                    let (rows, top) = same(height, kernel[0], stride);
                    let (columns, left) = same(width, kernel[1], stride);
                    let sizes = Sizes {
                        batch,
                        input: [height, width],
                        output: [rows, columns],
                        padding: [top, left],
                    };
                    cases.push(Case { channels, kernel, stride, sizes });
                }
            }
        }
    }
    // No padding: the last row and column are not reached.
    let sizes = Sizes { batch: 2, input: [10, 12], output: [4, 5], padding: [0, 0] };
    cases.push(Case { channels: [6, 1, 1], kernel: [3, 3], stride: 2, sizes });
    // More than one band.
    let sizes = Sizes { batch: 1, input: [200, 190], output: [100, 95], padding: [0, 0] };
    cases.push(Case { channels: [1, 8, 3], kernel: [3, 3], stride: 2, sizes });
    let sizes = Sizes { batch: 1, input: [150, 600], output: [150, 600], padding: [2, 2] };
    cases.push(Case { channels: [1, 2, 1], kernel: [5, 5], stride: 1, sizes });
    cases
}

impl Case {
    /// Calls `visit` with the indices of output, weight and input of every product.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let ([groups, outputs, inputs], [kh, kw]) = (self.channels, self.kernel);
        let Sizes { batch, input: [height, width], output: [rows, columns], padding: [top, left] } =
            self.sizes;
        for (n, g) in (0..batch).flat_map(|n| (0..groups).map(move |g| (n, g))) {
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (g * outputs + o, i))) {
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let weight = ((o * inputs + i) * kh + ky) * kw + kx;
                    for y in 0..rows {
                        let Some(v) = (y * self.stride + ky).checked_sub(top).filter(|v| *v < height) else {
                            continue;
                        };
                        for x in 0..columns {
                            let Some(u) = (x * self.stride + kx).checked_sub(left).filter(|u| *u < width)
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
}

#[test]
fn forward_is_the_sum_over_taps_and_the_input_gradient_its_transpose() {
    for case in cases() {
        let Case { channels: [groups, outputs, inputs], kernel, stride, sizes } = case;
        let area = |[height, width]: [usize; 2]| height * width;
        let weights = noise(groups * outputs * inputs * area(kernel), 1);
        let bias = noise(groups * outputs, 2);
        let input = noise(sizes.batch * groups * inputs * area(sizes.input), 3);
        let cotangent = noise(sizes.batch * groups * outputs * area(sizes.output), 4);
        let gate: Vec<f32> = (0..cotangent.len()).map(|index| [0.0, 3.0, 6.0, 1.0][index % 4]).collect();
        let mut forward: Vec<f64> = (0..cotangent.len())
            .map(|index| f64::from(bias[index / area(sizes.output) % (groups * outputs)]))
            .collect();
        let (mut backward, mut behind) = (vec![0.0; input.len()], vec![0.0; input.len()]);
        case.products(|o, w, i| {
            let weight = f64::from(weights[w]);
            forward[o] += weight * f64::from(input[i]);
            backward[i] += weight * f64::from(cotangent[o]);
            if o % 2 == 1 {
                behind[i] += weight * f64::from(cotangent[o]);
            }
        });
        let rectified: Vec<f64> = forward.iter().map(|value| value.max(0.0)).collect();
        let convolution = Direct::new(&weights, [groups, outputs, inputs], kernel, stride);
        with_every_instruction_set(|name| {
            let name = format!("{name} {:?} {kernel:?} / {stride} {sizes:?}", case.channels);
            let mut output = vec![f32::NAN; forward.len()];
            for (rectifier, expected) in [(None, &forward), (Some(Rectifier::Relu), &rectified)] {
                let epilogue = Epilogue { bias: Some(&bias), rectifier };
                convolution.forward(&input, sizes, &mut output, epilogue);
                let error = relative_error(&output, expected);
                assert!(error < 1e-5, "{name} {error}");
            }
            let mut gradient = vec![f32::NAN; backward.len()];
            let open = Gate { output: &gate, rectifier: Rectifier::Relu6, rule: Rule::Plain };
            for (gate, expected) in [(None, &backward), (Some(open), &behind)] {
                convolution.input_gradient(&cotangent, sizes, &mut gradient, gate);
                let error = relative_error(&gradient, expected);
                assert!(error < 1e-5, "{name} backward {error}");
            }
        });
    }
}
