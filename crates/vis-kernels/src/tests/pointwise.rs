//! 1 × 1 convolutions against plain sums in double precision.

use super::reference::{noise, relative_error};
use super::sets::with_every_instruction_set;
use crate::fused::{Epilogue, Gate, Rectifier, Rule};
use crate::geometry::{Filters, Padding};
use crate::pointwise::Pointwise;

/// Batch, inputs, outputs, pixels.
const SHAPES: [[usize; 4]; 9] = [
    [1, 1, 1, 1],
    [2, 3, 5, 7],
    [1, 16, 96, 400],
    [3, 17, 15, 33],
    [1, 96, 24, 3136],
    [2, 40, 29, 49],
    [1, 320, 1280, 49],
    [1, 1152, 192, 49],
    [5, 14, 28, 48],
];

/// `Σ_i weight(o, i) · input[n, i, p] + bias[o]` for all `[n, o, p]`.
fn product(
    input: &[f32],
    [batch, inputs, outputs, pixels]: [usize; 4],
    bias: &[f32],
    weight: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let mut output = Vec::new();
    for n in 0..batch {
        for (o, bias) in bias.iter().enumerate().take(outputs) {
            let mut row = vec![f64::from(*bias); pixels];
            for i in 0..inputs {
                let from = &input[(n * inputs + i) * pixels..][..pixels];
                for (sum, value) in row.iter_mut().zip(from) {
                    *sum += f64::from(weight(o, i)) * f64::from(*value);
                }
            }
            output.extend(row);
        }
    }
    output
}

#[test]
fn every_pixel_is_multiplied_by_the_matrix_and_the_cotangent_by_its_transpose() {
    for shape @ [batch, inputs, outputs, pixels] in SHAPES {
        let (input, weights) = (noise(batch * inputs * pixels, 1), noise(outputs * inputs, 2));
        let bias = noise(outputs, 3);
        let cotangent = noise(batch * outputs * pixels, 4);
        let filters = Filters::new([outputs, inputs, 1, 1], inputs, 1, Padding::Pixels(0)).unwrap();
        let sizes = filters.on(batch, [1, pixels]).unwrap();
        let convolution = Pointwise::new(&weights, &filters);
        let forward = product(&input, shape, &bias, |o, i| weights[o * inputs + i]);
        let rectified: Vec<f64> = forward.iter().map(|value| value.clamp(0.0, 6.0)).collect();
        let back = [batch, outputs, inputs, pixels];
        let backward = product(&cotangent, back, &vec![0.0; inputs], |i, o| weights[o * inputs + i]);
        // Half of the cotangent passes this gate.
        let gate: Vec<f32> = (0..cotangent.len()).map(|index| [0.0, 3.0, 6.0, 1.0][index % 4]).collect();
        let gated: Vec<f32> =
            cotangent.iter().enumerate().map(|(index, g)| if index % 2 == 1 { *g } else { 0.0 }).collect();
        let behind = product(&gated, back, &vec![0.0; inputs], |i, o| weights[o * inputs + i]);
        with_every_instruction_set(|name| {
            let mut output = vec![f32::NAN; forward.len()];
            for (rectifier, expected) in [(None, &forward), (Some(Rectifier::Relu6), &rectified)] {
                let epilogue = Epilogue { bias: Some(&bias), rectifier };
                convolution.forward(&input, &sizes, &mut output, epilogue);
                let error = relative_error(&output, expected);
                assert!(error < 1e-5, "{name} {shape:?} {error}");
            }
            let mut gradient = vec![f32::NAN; backward.len()];
            let open = Gate { output: &gate, rectifier: Rectifier::Relu6, rule: Rule::Plain };
            for (gate, expected) in [(None, &backward), (Some(open), &behind)] {
                convolution.input_gradient(&cotangent, &sizes, &mut gradient, gate);
                let error = relative_error(&gradient, expected);
                assert!(error < 1e-5, "{name} {shape:?} backward {error}");
            }
        });
    }
}
