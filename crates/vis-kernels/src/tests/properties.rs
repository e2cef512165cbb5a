//! Shapes, paddings, strides and groups that nobody thought of, against sums in double precision; and sizes that do not
//! fit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use super::reference::{convolved, gated, noise, pulled_back};
use super::sets::{one_instruction_set, with_every_instruction_set};
use crate::convolution::Convolution;
use crate::dense::Dense;
use crate::direct::Direct;
use crate::fused::{Epilogue, Gate, Rectifier, Rule};
use crate::general::General;
use crate::geometry::{Filters, Geometry, Padding};
use crate::pointwise::Pointwise;
use crate::pool::{max_pool, max_pool_gradient};
use crate::windows::Windows;
use crate::winograd::Winograd;
use crate::workspace::Workspace;

/// How many random cases; the sanitizers, under which all is slower, take fewer.
fn cases(count: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(count);
    Config {
        cases,
        failure_persistence: None::<Box<FileFailurePersistence>>.map(|it| it as _),
        ..Config::default()
    }
}

fn padding(most: usize) -> impl Strategy<Value = Padding> {
    prop_oneof![Just(Padding::Same), (0..=most).prop_map(Padding::Pixels)]
}

/// Any sizes that there is a convolution of.
fn sizes() -> impl Strategy<Value = Geometry> {
    let channels = (1usize..=4, 1usize..=5, 1usize..=5);
    let filter = ([1usize..=6, 1usize..=6], 1usize..=4, padding(9));
    let images = (0usize..=3, [1usize..=40, 1usize..=70]);
    (channels, filter, images).prop_filter_map(
        "a filter that fits",
        |((groups, outputs, inputs), ([height, width], stride, padding), (batch, size))| {
            let weight = [groups * outputs, inputs, height, width];
            Filters::new(weight, groups * inputs, stride, padding).ok()?.on(batch, size).ok()
        },
    )
}

/// Sizes for the kernels that take one group and stride 1.
fn square(kernel: usize) -> impl Strategy<Value = Geometry> {
    let channels = (1usize..=70, 1usize..=70);
    let images = (0usize..=3, [1usize..=40, 1usize..=70]);
    (channels, images).prop_filter_map("not too much", move |((outputs, inputs), (batch, size))| {
        let products = outputs * inputs * batch * size[0] * size[1];
        let filters = Filters::new([outputs, inputs, kernel, kernel], inputs, 1, Padding::Same);
        (products < 1 << 22).then(|| filters.unwrap().on(batch, size).unwrap())
    })
}

fn rectifier() -> impl Strategy<Value = Rectifier> {
    prop_oneof![Just(Rectifier::Relu), Just(Rectifier::Relu6)]
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::Plain), Just(Rule::Guided), Just(Rule::Deconvolution)]
}

/// Memory of exactly that length with marks on either side, so that a write beyond it is noticed when it goes.
fn marked(length: usize) -> Workspace {
    let mut memory = Workspace::new(length).unwrap();
    memory.numbers_mut().fill(f32::NAN);
    memory
}

/// Both directions of a kernel, with and without epilogue and gate, against the definition.
fn check(
    sizes: &Geometry,
    (rectifier, rule): (Rectifier, Rule),
    seed: u64,
    kernel: impl Fn(&[f32], &Filters) -> Convolution,
) {
    let outputs = sizes.filters().outputs();
    let weights = noise(sizes.filters().weight().iter().product(), seed);
    let bias = noise(outputs, seed + 1);
    let input = noise(sizes.input_length(), seed + 2);
    let cotangent = noise(sizes.output_length(), seed + 3);
    // Zeros and sixes among them, as rectifiers make them.
    let output: Vec<f32> =
        noise(cotangent.len(), seed + 4).iter().map(|v| (16.0 * v).clamp(0.0, 6.0)).collect();
    let gate = Gate { output: &output, rectifier, rule };
    let highest = if rectifier == Rectifier::Relu6 { 6.0 } else { f64::INFINITY };
    let plain = convolved(sizes, &input, &weights, &vec![0.0; outputs]);
    let biased = convolved(sizes, &input, &weights, &bias);
    let rectified: Vec<f64> = biased.iter().map(|value| value.clamp(0.0, highest)).collect();
    let backward = pulled_back(sizes, &cotangent, &weights);
    let behind = pulled_back(sizes, &gated(&cotangent, &gate), &weights);
    let convolution = kernel(&weights, sizes.filters());
    // The numbers are below one half, so a sum of so many products is about as large as the root of their number.
    let [inputs, targets] = sizes.filters().channels_of_a_group();
    let area: usize = sizes.filters().kernel().iter().product();
    let allowed = |terms: usize| 2e-6 * (1.0 + ((terms * area) as f64).sqrt());
    let close = |name: &str, actual: &[f32], expected: &[f64], terms: usize| {
        assert_eq!(actual.len(), expected.len());
        for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            let error = (f64::from(*actual) - expected).abs();
            assert!(error <= allowed(terms), "{name} {sizes:?}: {actual} for {expected} at {index}");
        }
    };
    with_every_instruction_set(|name| {
        let mut y = marked(sizes.output_length());
        convolution.forward(&input, sizes, y.numbers_mut(), Epilogue::NONE);
        close(name, y.numbers(), &plain, inputs);
        convolution.forward(&input, sizes, y.numbers_mut(), Epilogue { bias: Some(&bias), rectifier: None });
        close(name, y.numbers(), &biased, inputs);
        let epilogue = Epilogue { bias: Some(&bias), rectifier: Some(rectifier) };
        let mut y = marked(sizes.output_length());
        convolution.forward(&input, sizes, y.numbers_mut(), epilogue);
        close(name, y.numbers(), &rectified, inputs);
        let mut gradient = marked(sizes.input_length());
        convolution.input_gradient(&cotangent, sizes, gradient.numbers_mut(), None);
        close(name, gradient.numbers(), &backward, targets);
        let mut gradient = marked(sizes.input_length());
        convolution.input_gradient(&cotangent, sizes, gradient.numbers_mut(), Some(gate));
        close(name, gradient.numbers(), &behind, targets);
    });
}

#[test]
fn direct_convolutions_of_any_shape_are_the_sums_that_they_are_defined_as() {
    let suited =
        sizes().prop_filter("a stride that jumps over nothing", |sizes| Direct::suits(sizes.filters()));
    TestRunner::new(cases(200))
        .run(&(suited, rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, |weights, filters| {
                Convolution::Direct(Direct::new(weights, filters))
            });
            Ok(())
        })
        .unwrap();
}

/// Any sizes that there is a convolution of, with strides and dilations of their own along each axis.
fn spaced() -> impl Strategy<Value = Geometry> {
    let channels = (1usize..=3, 1usize..=18, 1usize..=5);
    let around = [[0usize..=5, 0usize..=5], [0usize..=5, 0usize..=5]].prop_map(Padding::Around);
    let filter = ([1usize..=5, 1usize..=5], prop_oneof![padding(9), around]);
    let spaces = ([1usize..=4, 1usize..=4], [1usize..=3, 1usize..=3]);
    let images = (0usize..=3, [1usize..=20, 1usize..=70]);
    (channels, filter, spaces, images).prop_filter_map(
        "a filter that fits",
        |((groups, outputs, inputs), ([height, width], padding), (stride, dilation), (batch, size))| {
            let weight = [groups * outputs, inputs, height, width];
            let filters = Filters::new(weight, groups * inputs, 1, padding).ok()?;
            filters.spaced(stride, dilation).ok()?.on(batch, size).ok()
        },
    )
}

#[test]
fn general_convolutions_of_any_shape_are_the_sums_that_they_are_defined_as() {
    TestRunner::new(cases(200))
        .run(&(spaced(), rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, |weights, filters| {
                Convolution::General(General::new(weights, filters))
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn whichever_kernel_is_chosen_it_is_the_sum_that_it_is_defined_as() {
    TestRunner::new(cases(100))
        .run(&(spaced(), rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, Convolution::new);
            Ok(())
        })
        .unwrap();
}

/// Filters as large as their strides.
fn side_by_side() -> impl Strategy<Value = Geometry> {
    let shapes = (
        (1usize..=2, 1usize..=18, 1usize..=5),
        [1usize..=5, 1usize..=5],
        (0usize..=2, [1usize..=30, 1usize..=40]),
    );
    shapes.prop_filter_map(
        "patches that fit",
        |((groups, outputs, inputs), [height, width], (batch, size))| {
            let weight = [groups * outputs, inputs, height, width];
            let filters = Filters::new(weight, groups * inputs, 1, Padding::Pixels(0)).ok()?;
            filters.spaced([height, width], [1, 1]).ok()?.on(batch, size).ok()
        },
    )
}

#[test]
fn patches_side_by_side_are_the_sums_that_they_are_defined_as() {
    TestRunner::new(cases(60))
        .run(&(side_by_side(), rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, |weights, filters| {
                Convolution::General(General::new(weights, filters))
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn transposed_convolutions_are_the_transposes_of_convolutions() {
    TestRunner::new(cases(60))
        .run(
            &(prop_oneof![spaced(), side_by_side()], rectifier(), rule(), 1u64..1000),
            |(sizes, rectifier, rule, seed)| {
                let weights = noise(sizes.filters().weight().iter().product(), seed);
                let kernel = General::new(&weights, sizes.filters());
                let (from, to) = (sizes.output_length(), sizes.input_length());
                let (x, g) = (noise(from, seed + 1), noise(to, seed + 2));
                let channels = sizes.filters().inputs();
                let bias = noise(channels, seed + 3);
                let pixels = (sizes.input()[2] * sizes.input()[3]).max(1);
                let plain = pulled_back(&sizes, &x, &weights);
                let highest = if rectifier == Rectifier::Relu6 { 6.0 } else { f64::INFINITY };
                let expected: Vec<f64> = plain
                    .iter()
                    .enumerate()
                    .map(|(at, sum)| (sum + f64::from(bias[at / pixels % channels])).clamp(0.0, highest))
                    .collect();
                let output: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
                let gate = Gate { output: &output, rectifier, rule };
                let none = vec![0.0; sizes.filters().outputs()];
                let backward = convolved(&sizes, &gated(&g, &gate), &weights, &none);
                with_every_instruction_set(|name| {
                    let mut y = marked(to);
                    let epilogue = Epilogue { bias: Some(&bias), rectifier: Some(rectifier) };
                    kernel.transposed(&x, &sizes, y.numbers_mut(), epilogue);
                    let mut gradient = marked(from);
                    kernel.transposed_gradient(&g, &sizes, gradient.numbers_mut(), Some(gate));
                    let close = |a: &[f32], b: &[f64]| {
                        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 5e-5)
                    };
                    assert!(close(y.numbers(), &expected), "{name} {sizes:?}");
                    assert!(close(gradient.numbers(), &backward), "{name} {sizes:?}");
                });
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn winograd_convolutions_of_any_shape_are_the_sums_that_they_are_defined_as() {
    TestRunner::new(cases(50))
        .run(&(square(3), rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, |weights, filters| {
                Convolution::Winograd(Winograd::new(weights, filters))
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn pointwise_convolutions_of_any_shape_are_the_sums_that_they_are_defined_as() {
    TestRunner::new(cases(50))
        .run(&(square(1), rectifier(), rule(), 1u64..1000), |(sizes, rectifier, rule, seed)| {
            check(&sizes, (rectifier, rule), seed, |weights, filters| {
                Convolution::Pointwise(Pointwise::new(weights, filters))
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_input_gradient_is_the_adjoint_of_the_forward_pass_for_whatever_kernel_is_picked() {
    // ⟨y, W x⟩ = ⟨Wᵀ y, x⟩, with both sums in double precision.
    let any = prop_oneof![sizes(), square(3), square(1)];
    TestRunner::new(cases(200))
        .run(&(any, 1u64..1000), |(sizes, seed)| {
            let weights = noise(sizes.filters().weight().iter().product(), seed);
            let convolution = Convolution::new(&weights, sizes.filters());
            let (x, y) = (noise(sizes.input_length(), seed + 1), noise(sizes.output_length(), seed + 2));
            let (mut forward, mut backward) = (vec![f32::NAN; y.len()], vec![f32::NAN; x.len()]);
            convolution.forward(&x, &sizes, &mut forward, Epilogue::NONE);
            convolution.input_gradient(&y, &sizes, &mut backward, None);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let scale = (dot(&forward, &forward) * dot(&y, &y)).sqrt();
            prop_assert!((dot(&forward, &y) - dot(&x, &backward)).abs() <= 2e-6 * scale);
            Ok(())
        })
        .unwrap();
}

#[test]
fn pooling_of_any_shape_sends_each_cotangent_to_the_maximum_of_its_window() {
    let shapes = [0usize..=5, 0usize..=40, 0usize..=40];
    TestRunner::new(cases(200))
        .run(&(shapes, 1u64..1000), |(shape @ [planes, height, width], seed)| {
            let input = noise(planes * height * width, seed);
            let count = planes * (height / 2) * (width / 2);
            let (mut output, mut winners) = (marked(count), vec![9; count]);
            max_pool(&input, shape, output.numbers_mut(), &mut winners);
            let cotangent: Vec<f32> = (1..=count).map(|index| index as f32).collect();
            let mut gradient = marked(input.len());
            max_pool_gradient(&cotangent, &winners, shape, gradient.numbers_mut());
            let spread: f64 = gradient.numbers().iter().map(|value| f64::from(*value)).sum();
            prop_assert_eq!(spread, (count * (count + 1) / 2) as f64);
            let met: f64 = gradient.numbers().iter().zip(&input).map(|(g, x)| f64::from(g * x)).sum();
            let wanted: f64 = cotangent.iter().zip(output.numbers()).map(|(g, y)| f64::from(g * y)).sum();
            prop_assert!((met - wanted).abs() <= 1e-6 * wanted.abs().max(1.0));
            Ok(())
        })
        .unwrap();
}

/// Small numbers, powers of two and their neighbours, up to the largest there is.
fn extreme() -> impl Strategy<Value = usize> {
    prop_oneof![
        0usize..=9,
        (0..usize::BITS, 0usize..=2)
            .prop_map(|(bit, step)| (1usize << bit).wrapping_add(step).wrapping_sub(1)),
        (0usize..=9).prop_map(|below| usize::MAX - below),
        (1usize..=9).prop_map(|part| usize::MAX / part),
    ]
}

#[test]
fn extreme_sizes_are_an_error_that_names_the_shapes_or_as_large_as_they_say() {
    let one = || prop_oneof![3 => 1usize..=4, 1 => extreme()];
    let weight = [one(), one(), one(), one()];
    let around = prop_oneof![Just(Padding::Same), extreme().prop_map(Padding::Pixels)];
    let images = (one(), one(), [one(), one()]);
    TestRunner::new(Config { cases: 20_000, ..cases(0) })
        .run(&(weight, one(), around, images), |(weight, stride, padding, (batch, channels, size))| {
            let filters = match Filters::new(weight, channels, stride, padding) {
                Ok(filters) => filters,
                Err(mismatch) => {
                    let (text, shape) = (mismatch.to_string(), format!("{weight:?}"));
                    prop_assert!(text.contains(&shape), "{}", text);
                    return Ok(());
                }
            };
            prop_assert_eq!(filters.weight(), weight);
            prop_assert_eq!(filters.inputs(), channels);
            match filters.on(batch, size) {
                Err(mismatch) => {
                    let text = mismatch.to_string();
                    for shape in [weight, [batch, channels, size[0], size[1]]] {
                        let shape = format!("{shape:?}");
                        prop_assert!(text.contains(&shape), "{}", text);
                    }
                }
                Ok(sizes) => {
                    let exact =
                        |shape: [usize; 4]| shape.iter().map(|extent| *extent as u128).product::<u128>();
                    prop_assert_eq!(exact(sizes.input()), sizes.input_length() as u128);
                    prop_assert_eq!(exact(sizes.output()), sizes.output_length() as u128);
                    prop_assert!(sizes.output_length() <= isize::MAX as usize / 4);
                    // Positions of the filter are inside of the padded image, and no other would be.
                    let around = sizes.zeros_around();
                    for axis in 0..2 {
                        let [before, after] = around[axis].map(|zeros| zeros as u128);
                        let padded = size[axis] as u128 + before + after;
                        let positions = sizes.output()[2 + axis] as u128;
                        let (kernel, stride) = (weight[2 + axis] as u128, stride as u128);
                        prop_assert!((positions - 1) * stride + kernel <= padded);
                        prop_assert!(positions * stride + kernel > padded);
                        prop_assert_eq!(before, sizes.zeros_before()[axis] as u128);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn slices_of_another_length_and_sizes_of_other_filters_are_refused_before_anything_is_touched() {
    let geometry =
        |weight, channels, padding| Filters::new(weight, channels, 1, padding).unwrap().on(2, [5, 6]);
    for (weight, channels) in [([4, 3, 3, 3], 3), ([4, 3, 1, 1], 3), ([4, 1, 5, 5], 4)] {
        let sizes = geometry(weight, channels, Padding::Same).unwrap();
        let other = geometry(weight, channels, Padding::Pixels(7)).unwrap();
        let weights = noise(weight.iter().product(), 1);
        let convolution = Convolution::new(&weights, sizes.filters());
        assert!(catch_unwind(|| Convolution::new(&weights[1..], sizes.filters())).is_err());
        let (input, output) = (sizes.input_length(), sizes.output_length());
        let biases = [weight[0], weight[0] - 1];
        // All pairs of lengths, of which only the first fits.
        for (index, (read, written, biases, sizes)) in [
            (input, output, biases[0], &sizes),
            (input - 1, output, biases[0], &sizes),
            (input, output - 1, biases[0], &sizes),
            (input + 1, output + 1, biases[0], &sizes),
            (0, 0, biases[0], &sizes),
            (input, output, biases[1], &sizes),
            (input, output, biases[0], &other),
            (other.input_length(), other.output_length(), biases[0], &other),
        ]
        .into_iter()
        .enumerate()
        {
            let (x, bias) = (vec![1.0; read], vec![0.0; biases]);
            let mut y = vec![-7.0; written];
            let epilogue = Epilogue { bias: Some(&bias), rectifier: None };
            let call = AssertUnwindSafe(|| convolution.forward(&x, sizes, &mut y, epilogue));
            assert_eq!(catch_unwind(call).is_ok(), index == 0);
            assert!(index == 0 || y.iter().all(|value| *value == -7.0));
            let mut gradient = vec![-7.0; read];
            let gate = Gate { output: &vec![1.0; output], rectifier: Rectifier::Relu, rule: Rule::Plain };
            let call = AssertUnwindSafe(|| {
                convolution.input_gradient(&vec![1.0; written], sizes, &mut gradient, Some(gate));
            });
            // There is no bias on the way back.
            assert_eq!(catch_unwind(call).is_ok(), index == 0 || index == 5);
        }
    }
    let mut output = [0.0; 4];
    for (shape, places) in
        [([1, 4, 4], 3), ([usize::MAX, 4, 4], 4), ([1, usize::MAX, usize::MAX], 4), ([1, 4, 5], 4)]
    {
        let mut winners = vec![0; places];
        let call = AssertUnwindSafe(|| max_pool(&[0.0; 16], shape, &mut output, &mut winners));
        assert!(catch_unwind(call).is_err());
    }
}

#[test]
fn products_with_a_frozen_matrix_are_the_sums_that_they_are_defined_as() {
    let extents = (0usize..=40, 1usize..=90, 1usize..=70);
    TestRunner::new(cases(60))
        .run(&(extents, any::<bool>(), 1u64..1000), |((rows, inputs, outputs), transposed, seed)| {
            let (matrix, bias) = (noise(inputs * outputs, seed), noise(outputs, seed + 1));
            let (x, g) = (noise(rows * inputs, seed + 2), noise(rows * outputs, seed + 3));
            let at = |i: usize, o: usize| {
                f64::from(matrix[if transposed { o * inputs + i } else { i * outputs + o }])
            };
            let sum = |terms: &dyn Fn(usize) -> f64, count: usize| (0..count).map(terms).sum::<f64>();
            let forward: Vec<f64> = (0..rows * outputs)
                .map(|at_| {
                    let (row, o) = (at_ / outputs, at_ % outputs);
                    f64::from(bias[o]) + sum(&|i| f64::from(x[row * inputs + i]) * at(i, o), inputs)
                })
                .collect();
            let backward: Vec<f64> = (0..rows * inputs)
                .map(|at_| {
                    let (row, i) = (at_ / inputs, at_ % inputs);
                    sum(&|o| f64::from(g[row * outputs + o]) * at(i, o), outputs)
                })
                .collect();
            let dense = Dense::new(&matrix, [inputs, outputs], transposed);
            with_every_instruction_set(|name| {
                let (mut y, mut gradient) = (marked(rows * outputs), marked(rows * inputs));
                dense.forward(rows, &x, Some(&bias), y.numbers_mut());
                dense.input_gradient(rows, &g, gradient.numbers_mut());
                for (actual, expected) in [(y.numbers(), &forward), (gradient.numbers(), &backward)] {
                    let close = |(a, e): (&f32, &f64)| (f64::from(*a) - e).abs() < 1e-5;
                    assert!(actual.iter().zip(expected).all(close), "{name} {rows} {inputs} {outputs}");
                }
                // A row is what it is alone.
                if rows > 1 {
                    let mut alone = marked(outputs);
                    dense.forward(1, &x[inputs..2 * inputs], Some(&bias), alone.numbers_mut());
                    assert_eq!(alone.numbers(), &y.numbers()[outputs..2 * outputs]);
                }
            });
            Ok(())
        })
        .unwrap();
}

/// Any windows of which each has a pixel.
fn windows() -> impl Strategy<Value = Windows> {
    let pair = |from: usize, to: usize| [from..=to, from..=to];
    (pair(1, 40), pair(1, 5), pair(1, 4), pair(1, 3), pair(0, 6), pair(0, 4)).prop_filter_map(
        "windows that fit",
        |(size, kernel, stride, dilation, before, over)| {
            let mut count = [0; 2];
            for axis in 0..2 {
                let reach = (kernel[axis] - 1) * dilation[axis] + 1;
                count[axis] = (size[axis] + before[axis] + over[axis]).checked_sub(reach)? / stride[axis] + 1;
            }
            Some(Windows { size, kernel, stride, dilation, before, count })
        },
    )
}

#[test]
fn pooling_by_any_windows_and_back_is_what_it_is_defined_as() {
    TestRunner::new(cases(200))
        .run(&(windows(), 0usize..=5, 1u64..1000), |(windows, planes, seed)| {
            let Windows { size, kernel, stride, dilation, before, count } = windows;
            let (pixels, places) = (size[0] * size[1], count[0] * count[1]);
            let (x, g) = (noise(planes * pixels, seed), noise(planes * places, seed + 1));
            let shares = [noise(count[0], seed + 2), noise(count[1], seed + 3)];
            let (mut largest, mut winners) = (Vec::new(), Vec::new());
            let (mut means, mut spread, mut sent) = (Vec::new(), vec![0f64; x.len()], vec![0f64; x.len()]);
            for (plane, row, column) in
                (0..planes * places).map(|at| (at / places, at % places / count[1], at % count[1]))
            {
                let g = f64::from(g[plane * places + row * count[1] + column]);
                let share = f64::from(shares[0][row] * shares[1][column]);
                let (mut best, mut sum): (Option<(f32, usize, usize)>, _) = (None, 0.0);
                for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                    let at = |axis: usize, window: usize, k: usize| {
                        let at = window * stride[axis] + k * dilation[axis];
                        at.checked_sub(before[axis]).filter(|at| *at < size[axis])
                    };
                    let (Some(y), Some(x_)) = (at(0, row, ky), at(1, column, kx)) else { continue };
                    let place = plane * pixels + y * size[1] + x_;
                    sum += f64::from(x[place]);
                    spread[place] += g * share;
                    if best.is_none_or(|(value, ..)| x[place] > value) {
                        best = Some((x[place], place, ky * kernel[1] + kx));
                    }
                }
                means.push(sum * share);
                largest.push(best.map_or(f32::NEG_INFINITY, |(value, ..)| value));
                winners.push(best.map_or(255, |(.., k)| k as u8));
                if let Some((_, place, _)) = best {
                    sent[place] += g;
                }
            }
            with_every_instruction_set(|name| {
                let (mut y, mut found) = (marked(g.len()), vec![7; g.len()]);
                windows.max(planes, &x, y.numbers_mut(), &mut found);
                assert_eq!((y.numbers(), &found), (&largest[..], &winners), "{name} {windows:?}");
                let close = |actual: &[f32], expected: &[f64]| {
                    let close = |(a, e): (&f32, &f64)| (f64::from(*a) - e).abs() < 1e-5;
                    assert!(actual.iter().zip(expected).all(close), "{name} {windows:?}");
                };
                let mut gradient = marked(x.len());
                windows.max_gradient(planes, &g, &found, gradient.numbers_mut());
                close(gradient.numbers(), &sent);
                let shares = [&shares[0][..], &shares[1][..]];
                windows.mean(planes, &x, shares, y.numbers_mut());
                close(y.numbers(), &means);
                let mut gradient = marked(x.len());
                windows.mean_gradient(planes, &g, shares, gradient.numbers_mut());
                close(gradient.numbers(), &spread);
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn deep_sums_are_those_of_a_single_panel_to_the_last_bit() {
    // Of several panels the sums are taken part by part, of one they are not.
    let _turn = one_instruction_set();
    let filters = Filters::new([20, 600, 3, 3], 600, 1, Padding::Around([[1, 1], [0, 0]])).unwrap();
    let (wide, narrow) = (filters.on(1, [10, 34]).unwrap(), filters.on(1, [3, 34]).unwrap());
    let kernel = General::new(&noise(20 * 600 * 9, 1), &filters);
    let x = noise(wide.input_length(), 2);
    let rows: Vec<f32> = x.chunks(340).flat_map(|plane| &plane[..102]).copied().collect();
    let (mut y, mut few) = (vec![0.0; wide.output_length()], vec![0.0; narrow.output_length()]);
    kernel.forward(&x, &wide, &mut y, Epilogue::NONE);
    kernel.forward(&rows, &narrow, &mut few, Epilogue::NONE);
    for (whole, part) in y.chunks(320).zip(few.chunks(96)) {
        assert_eq!(whole[..64], part[..64]); // the last row of the part lacks the row below it
    }
}
