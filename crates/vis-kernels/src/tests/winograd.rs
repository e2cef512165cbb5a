//! The convolution kernels against plain sums in double precision.

use super::reference::{Shape, direct, noise, relative_error, turned, wide};
use super::sets::{one_instruction_set, with_every_instruction_set};
use crate::fused::{Epilogue, Gate, Rectifier, Rule};
use crate::geometry::{Filters, Geometry, Padding};
use crate::winograd::Winograd;

/// 3×3 filters, and the sizes of a batch of images.
fn sizes(outputs: usize, inputs: usize, [batch, height, width]: [usize; 3]) -> (Filters, Geometry) {
    let filters = Filters::new([outputs, inputs, 3, 3], inputs, 1, Padding::Pixels(1)).unwrap();
    (filters, filters.on(batch, [height, width]).unwrap())
}

fn shapes() -> Vec<Shape> {
    let mut shapes = vec![];
    for (height, width) in
        [(1, 1), (1, 7), (2, 3), (3, 2), (4, 4), (5, 9), (6, 6), (7, 31), (8, 8), (13, 17), (14, 14)]
    {
        for (inputs, outputs) in [(1, 1), (3, 5), (16, 16), (17, 33), (70, 40)] {
            shapes.push(Shape { batch: 1 + (height + inputs) % 3, inputs, outputs, height, width });
        }
    }
    for (batch, inputs, outputs, height, width) in [
        (1, 3, 64, 64, 60),
        (2, 64, 64, 57, 63),
        (1, 64, 3, 112, 112),
        (1, 130, 100, 56, 56),
        (5, 40, 200, 28, 28),
        (1, 256, 512, 28, 28),
        (1, 512, 512, 14, 14),
        (3, 20, 20, 7, 130),
    ] {
        shapes.push(Shape { batch, inputs, outputs, height, width });
    }
    shapes
}

#[test]
fn forward_is_the_sum_over_taps_and_channels() {
    for shape in shapes() {
        let Shape { batch, inputs, outputs, height, width } = shape;
        let (input, weights) = (noise(batch * inputs * height * width, 1), noise(outputs * inputs * 9, 2));
        let bias = noise(outputs, 3);
        let expected = direct(&wide(&input), &weights, &bias, &shape);
        let (filters, sizes) = sizes(outputs, inputs, [batch, height, width]);
        let convolution = Winograd::new(&weights, &filters);
        with_every_instruction_set(|name| {
            let mut output = vec![f32::NAN; batch * outputs * height * width];
            let epilogue = Epilogue { bias: Some(&bias), rectifier: None };
            convolution.forward(&input, &sizes, &mut output, epilogue);
            let error = relative_error(&output, &expected);
            println!("{name:9} {batch} x {inputs:3} -> {outputs:3}, {height:3} x {width:3}: {error:.1e}");
            assert!(error < 1e-5, "{name} {error}");
        });
    }
}

#[test]
fn input_gradient_is_the_convolution_with_the_turned_filter() {
    for shape in shapes() {
        let Shape { batch, inputs, outputs, height, width } = shape;
        let (cotangent, weights) =
            (noise(batch * outputs * height * width, 4), noise(outputs * inputs * 9, 5));
        let back = Shape { inputs: outputs, outputs: inputs, ..shape };
        let expected = direct(&wide(&cotangent), &turned(&weights, &shape), &vec![0.0; inputs], &back);
        let (filters, sizes) = sizes(outputs, inputs, [batch, height, width]);
        let convolution = Winograd::new(&weights, &filters);
        with_every_instruction_set(|name| {
            let mut gradient = vec![f32::NAN; batch * inputs * height * width];
            convolution.input_gradient(&cotangent, &sizes, &mut gradient, None);
            let error = relative_error(&gradient, &expected);
            println!("{name:9} {batch} x {outputs:3} -> {inputs:3}, {height:3} x {width:3}: {error:.1e}");
            assert!(error < 1e-5, "{name} {error}");
        });
    }
}

#[test]
fn input_gradient_is_the_adjoint_of_forward() {
    let _turn = one_instruction_set();
    let shape = Shape { batch: 2, inputs: 48, outputs: 80, height: 29, width: 33 };
    let Shape { batch, inputs, outputs, height, width } = shape;
    let pixels = batch * height * width;
    let (x, y) = (noise(pixels * inputs, 6), noise(pixels * outputs, 7));
    let (filters, sizes) = sizes(outputs, inputs, [batch, height, width]);
    let convolution = Winograd::new(&noise(inputs * outputs * 9, 8), &filters);
    let (mut forward, mut backward) = (vec![0.0; pixels * outputs], vec![0.0; pixels * inputs]);
    convolution.forward(&x, &sizes, &mut forward, Epilogue::NONE);
    convolution.input_gradient(&y, &sizes, &mut backward, None);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scale = (dot(&forward, &forward) * dot(&y, &y)).sqrt();
    assert!((dot(&forward, &y) - dot(&x, &backward)).abs() < 1e-6 * scale);
}

#[test]
fn tasks_that_get_fewer_lines_than_others_stay_inside_of_the_batch() {
    for (batch, inputs, outputs, height, width) in [
        // Tasks of two lines, the last of one.
        (17, 2, 3, 4, 4),
        (19, 5, 33, 3, 2),
        // Lines of two rows of tiles, the last of one that the image ends in.
        (1, 3, 20, 11, 20),
        (6, 20, 3, 9, 18),
        // Lines of three rows of tiles, the last of one.
        (3, 4, 5, 27, 15),
        // Fifteen columns of tiles: lines of eight and of seven.
        (4, 3, 2, 18, 58),
        // So many channels that the tiles do not all fit at once: five lines, then four.
        (9, 1100, 2, 4, 4),
        (9, 2, 1100, 4, 3),
    ] {
        let shape = Shape { batch, inputs, outputs, height, width };
        let pixels = batch * height * width;
        let (input, weights) = (noise(inputs * pixels, 19), noise(outputs * inputs * 9, 20));
        let (bias, cotangent) = (noise(outputs, 21), noise(outputs * pixels, 22));
        let forward = direct(&wide(&input), &weights, &bias, &shape);
        let back = Shape { inputs: outputs, outputs: inputs, ..shape };
        let backward = direct(&wide(&cotangent), &turned(&weights, &shape), &vec![0.0; inputs], &back);
        let (filters, sizes) = sizes(outputs, inputs, [batch, height, width]);
        let convolution = Winograd::new(&weights, &filters);
        with_every_instruction_set(|name| {
            let (mut output, mut gradient) = (vec![f32::NAN; forward.len()], vec![f32::NAN; input.len()]);
            let epilogue = Epilogue { bias: Some(&bias), rectifier: None };
            convolution.forward(&input, &sizes, &mut output, epilogue);
            convolution.input_gradient(&cotangent, &sizes, &mut gradient, None);
            let errors = [relative_error(&output, &forward), relative_error(&gradient, &backward)];
            assert!(errors.iter().all(|error| *error < 1e-5), "{name} {sizes:?} {errors:?}");
        });
    }
}

#[test]
fn rectifiers_clip_after_the_bias() {
    let shape = Shape { batch: 1, inputs: 20, outputs: 24, height: 15, width: 22 };
    let (input, weights) = (noise(20 * 15 * 22, 9), noise(20 * 24 * 9, 10));
    let bias: Vec<f32> = noise(24, 11).iter().map(|b| 20.0 * b).collect();
    let plain = direct(&wide(&input), &weights, &bias, &shape);
    let (filters, sizes) = sizes(24, 20, [1, 15, 22]);
    let convolution = Winograd::new(&weights, &filters);
    for (rectifier, highest) in [(Some(Rectifier::Relu), f64::INFINITY), (Some(Rectifier::Relu6), 6.0)] {
        let expected: Vec<f64> = plain.iter().map(|value| value.clamp(0.0, highest)).collect();
        assert!(expected.contains(&0.0) && (highest.is_infinite() || expected.contains(&6.0)));
        with_every_instruction_set(|_| {
            let mut output = vec![f32::NAN; plain.len()];
            convolution.forward(&input, &sizes, &mut output, Epilogue { bias: Some(&bias), rectifier });
            assert!(relative_error(&output, &expected) < 1e-5);
        });
    }
}

#[test]
fn gates_close_as_their_rule_says() {
    // Twice: lines of whole rows (10 columns) and lines of parts of rows (66 columns).
    for (height, width) in [(9, 10), (6, 66)] {
        let pixels = height * width;
        let weights = noise(12 * 20 * 9, 12);
        let (filters, sizes) = sizes(20, 12, [1, height, width]);
        let convolution = Winograd::new(&weights, &filters);
        let cotangent = noise(20 * pixels, 13);
        // Outputs with exact zeros and sixes, as rectifiers make them.
        let output: Vec<f32> = noise(20 * pixels, 14).iter().map(|v| (16.0 * v).clamp(0.0, 6.0)).collect();
        for rectifier in [Rectifier::Relu, Rectifier::Relu6] {
            for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution] {
                let gated: Vec<f32> = cotangent
                    .iter()
                    .zip(&output)
                    .map(|(cotangent, output)| {
                        let open = *output > 0.0 && (rectifier == Rectifier::Relu || *output < 6.0);
                        let passes = match rule {
                            Rule::Plain => open,
                            Rule::Guided => open && *cotangent > 0.0,
                            Rule::Deconvolution => *cotangent > 0.0,
                        };
                        if passes { *cotangent } else { 0.0 }
                    })
                    .collect();
                with_every_instruction_set(|_| {
                    let (mut expected, mut actual) = (vec![0.0; 12 * pixels], vec![f32::NAN; 12 * pixels]);
                    convolution.input_gradient(&gated, &sizes, &mut expected, None);
                    let gate = Gate { output: &output, rectifier, rule };
                    convolution.input_gradient(&cotangent, &sizes, &mut actual, Some(gate));
                    assert_eq!(actual, expected);
                });
            }
        }
    }
}

#[test]
fn not_a_number_in_the_input_reaches_the_output() {
    let (filters, sizes) = sizes(1, 1, [1, 8, 8]);
    let convolution = Winograd::new(&noise(9, 15), &filters);
    with_every_instruction_set(|_| {
        let (mut input, mut output) = (noise(64, 16), vec![0.0; 64]);
        input[27] = f32::NAN;
        let epilogue = Epilogue { bias: None, rectifier: Some(Rectifier::Relu6) };
        convolution.forward(&input, &sizes, &mut output, epilogue);
        assert!(output[27].is_nan());
    });
}

#[test]
fn a_batch_gives_what_its_images_give_one_by_one() {
    let _turn = one_instruction_set();
    let (filters, five) = sizes(40, 30, [5, 12, 20]);
    let (_, one) = sizes(40, 30, [1, 12, 20]);
    let convolution = Winograd::new(&noise(30 * 40 * 9, 17), &filters);
    let input = noise(5 * 30 * 12 * 20, 18);
    let mut together = vec![0.0; 5 * 40 * 240];
    convolution.forward(&input, &five, &mut together, Epilogue::NONE);
    for (input, expected) in input.chunks_exact(30 * 240).zip(together.chunks_exact(40 * 240)) {
        let mut alone = vec![0.0; 40 * 240];
        convolution.forward(input, &one, &mut alone, Epilogue::NONE);
        assert_eq!(alone, expected);
    }
}
