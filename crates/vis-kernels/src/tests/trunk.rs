//! Thirteen convolutions and five poolings in a row.

use super::reference::{Shape, direct, noise, relative_error, turned, wide};
use crate::fused::{Epilogue, Gate, Rectifier, Rule};
use crate::geometry::{Filters, Padding};
use crate::pool::{max_pool, max_pool_gradient};
use crate::winograd::Winograd;

struct Layer {
    shape: Shape,
    weights: Vec<f32>,
    bias: Vec<f32>,
    output: Vec<f32>,
    /// Of the pooling after it, if there is one.
    winners: Option<Vec<u8>>,
}

/// The window of `winners[index]`, in planes of `side` x `side`: where its winner is.
fn winner(winners: &[u8], index: usize, side: usize) -> usize {
    let half = side / 2;
    let (plane, y, x) = (index / (half * half), index / half % half, index % half);
    let place = usize::from(winners[index]);
    (plane * side + 2 * y + place / 2) * side + 2 * x + place % 2
}

#[test]
fn a_trunk_with_the_channels_of_vgg16_agrees_with_double_precision_in_both_directions() {
    let (mut layers, mut channels, mut side) = (vec![], 3, 32);
    let image = noise(3 * side * side, 1);
    let (mut input, mut expected) = (image.clone(), wide(&image));
    for (count, outputs) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
        for index in 0..count {
            let shape = Shape { batch: 1, inputs: channels, outputs, height: side, width: side };
            let scale = (24.0 / (9 * channels) as f32).sqrt();
            let weights: Vec<f32> = noise(outputs * channels * 9, layers.len() as u64 + 2)
                .iter()
                .map(|weight| weight * scale)
                .collect();
            let bias = noise(outputs, layers.len() as u64 + 20);
            let mut output = vec![f32::NAN; outputs * side * side];
            let epilogue = Epilogue { bias: Some(&bias), rectifier: Some(Rectifier::Relu) };
            let filters = Filters::new([outputs, channels, 3, 3], channels, 1, Padding::Same).unwrap();
            let sizes = filters.on(1, [side, side]).unwrap();
            Winograd::new(&weights, &filters).forward(&input, &sizes, &mut output, epilogue);
            expected =
                direct(&expected, &weights, &bias, &shape).iter().map(|value| value.max(0.0)).collect();
            input.clone_from(&output);
            let mut winners = None;
            if index == count - 1 {
                input = vec![f32::NAN; outputs * side * side / 4];
                let mut places = vec![9; input.len()];
                max_pool(&output, [outputs, side, side], &mut input, &mut places);
                expected = (0..places.len()).map(|index| expected[winner(&places, index, side)]).collect();
                winners = Some(places);
            }
            layers.push(Layer { shape, weights, bias, output, winners });
            channels = outputs;
        }
        side /= 2;
    }
    let error = relative_error(&input, &expected);
    assert!(error < 1e-5, "forward {error}");

    // Backward, through the gates and winners of the forward pass above.
    let mut cotangent = noise(512, 40);
    let mut expected = wide(&cotangent);
    for Layer { shape, weights, bias, output, winners } in layers.iter().rev() {
        let Shape { inputs, outputs, height: side, .. } = *shape;
        assert_eq!(bias.len(), outputs);
        if let Some(winners) = winners {
            let mut gradient = vec![f32::NAN; output.len()];
            max_pool_gradient(&cotangent, winners, [outputs, side, side], &mut gradient);
            cotangent = gradient;
            let mut spread = vec![0.0; output.len()];
            for (index, value) in expected.iter().enumerate() {
                spread[winner(winners, index, side)] = *value;
            }
            expected = spread;
        }
        let mut gradient = vec![f32::NAN; inputs * side * side];
        let gate = Gate { output, rectifier: Rectifier::Relu, rule: Rule::Plain };
        let filters = Filters::new([outputs, inputs, 3, 3], inputs, 1, Padding::Same).unwrap();
        let sizes = filters.on(1, [side, side]).unwrap();
        Winograd::new(weights, &filters).input_gradient(&cotangent, &sizes, &mut gradient, Some(gate));
        cotangent = gradient;
        for (value, output) in expected.iter_mut().zip(output) {
            *value = if *output > 0.0 { *value } else { 0.0 };
        }
        let back = Shape { inputs: outputs, outputs: inputs, ..*shape };
        expected = direct(&expected, &turned(weights, shape), &vec![0.0; inputs], &back);
    }
    let error = relative_error(&cotangent, &expected);
    assert!(error < 1e-5, "backward {error}");
}
