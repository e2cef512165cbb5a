//! Direct convolutions against plain sums in double precision.

use super::reference::{convolved, gated, noise, pulled_back, relative_error};
use super::sets::with_every_instruction_set;
use crate::direct::Direct;
use crate::fused::{Epilogue, Gate, Rectifier, Rule};
use crate::geometry::{Filters, Geometry, Padding};

/// Weight, channels of the image, stride, padding, batch and size.
fn sizes(
    weight: [usize; 4],
    channels: usize,
    stride: usize,
    padding: Padding,
    [batch, height, width]: [usize; 3],
) -> Geometry {
    Filters::new(weight, channels, stride, padding).unwrap().on(batch, [height, width]).unwrap()
}

fn cases() -> Vec<Geometry> {
    let mut cases = Vec::new();
    for [groups, outputs, inputs] in
        [[1, 1, 1], [5, 1, 1], [40, 1, 1], [3, 2, 1], [1, 32, 3], [1, 3, 4], [2, 3, 2]]
    {
        for [height, width] in [[1, 1], [3, 3], [5, 5], [2, 4]] {
            for stride in (1..=3).filter(|stride| *stride <= height) {
                for size in [[1, 1, 1], [2, 7, 7], [1, 14, 15], [1, 33, 50]] {
                    let weight = [groups * outputs, inputs, height, width];
                    cases.push(sizes(weight, groups * inputs, stride, Padding::Same, size));
                }
            }
        }
    }
    // No padding: the last row and column are not reached.
    cases.push(sizes([6, 1, 3, 3], 6, 2, Padding::Pixels(0), [2, 10, 12]));
    // More than one band.
    cases.push(sizes([8, 3, 3, 3], 3, 2, Padding::Pixels(0), [1, 200, 190]));
    cases.push(sizes([2, 1, 5, 5], 1, 1, Padding::Pixels(2), [1, 150, 600]));
    // Several bands of several groups in one task, with zeros above the first band and below the last.
    cases.push(sizes([9, 1, 3, 3], 9, 1, Padding::Same, [1, 400, 330]));
    cases.push(sizes([9, 1, 5, 3], 9, 1, Padding::Same, [1, 331, 402]));
    cases.push(sizes([9, 1, 3, 5], 9, 2, Padding::Same, [1, 801, 330]));
    // More padding than the filters are large: outputs of zeros alone, and, without a filter that reaches so far, pixels
    // that no output sees.
    cases.push(sizes([2, 1, 3, 3], 1, 1, Padding::Pixels(5), [2, 4, 6]));
    cases.push(sizes([2, 1, 3, 3], 2, 3, Padding::Pixels(49), [1, 1, 1]));
    cases.push(sizes([2, 1, 2, 2], 2, 2, Padding::Pixels(40), [1, 3, 50]));
    cases
}

#[test]
fn forward_is_the_sum_over_taps_and_the_input_gradient_its_transpose() {
    for sizes in cases() {
        let outputs = sizes.filters().outputs();
        let weights = noise(sizes.filters().weight().iter().product(), 1);
        let bias = noise(outputs, 2);
        let input = noise(sizes.input_length(), 3);
        let cotangent = noise(sizes.output_length(), 4);
        let places: Vec<f32> = (0..cotangent.len()).map(|index| [0.0, 3.0, 6.0, 1.0][index % 4]).collect();
        let open = Gate { output: &places, rectifier: Rectifier::Relu6, rule: Rule::Plain };
        let forward = convolved(&sizes, &input, &weights, &bias);
        let rectified: Vec<f64> = forward.iter().map(|value| value.max(0.0)).collect();
        let backward = pulled_back(&sizes, &cotangent, &weights);
        let behind = pulled_back(&sizes, &gated(&cotangent, &open), &weights);
        let convolution = Direct::new(&weights, sizes.filters());
        with_every_instruction_set(|name| {
            let mut output = vec![f32::NAN; forward.len()];
            for (rectifier, expected) in [(None, &forward), (Some(Rectifier::Relu), &rectified)] {
                let epilogue = Epilogue { bias: Some(&bias), rectifier };
                convolution.forward(&input, &sizes, &mut output, epilogue);
                let error = relative_error(&output, expected);
                assert!(error < 1e-5, "{name} {sizes:?} {error}");
            }
            let mut gradient = vec![f32::NAN; backward.len()];
            for (gate, expected) in [(None, &backward), (Some(open), &behind)] {
                convolution.input_gradient(&cotangent, &sizes, &mut gradient, gate);
                let error = relative_error(&gradient, expected);
                assert!(error < 1e-5, "{name} {sizes:?} backward {error}");
            }
        });
    }
}
