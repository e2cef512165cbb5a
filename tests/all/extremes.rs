//! Extreme sizes, strides and paddings, and tensors that do not belong together: a right result, or a panic whose message
//! has the shapes. Never a number that is wrong, and never an end of the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Tensor};
use vis::Arithmetic;
use vis::backprop::Rectifier;
use vis::model::Taps;
use vis::model::layers::{Convolution, Padding, Padding::Pixels, Padding::Same, max_pool_2x2};
use vis::random::noise;

use crate::support::device;

const MAX: usize = usize::MAX;
/// The highest bit.
const TOP: usize = 1 << (usize::BITS - 1);

/// Weight, image, stride and padding.
type Row = ([usize; 4], [usize; 4], usize, Padding);

/// What there is no convolution of, and why.
const REFUSED: [(Row, &str); 52] = [
    // Padding: every sum and product of it wraps around somewhere.
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(MAX / 2)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(MAX / 2 + 1)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(MAX)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(MAX - 1)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(MAX / 4)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(TOP)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(TOP / 2)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(1 << (usize::BITS / 2))), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(1 << (usize::BITS / 2 - 1))), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], 2, Pixels(MAX / 2)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], MAX, Pixels(MAX / 2)), "too large"),
    (([1, 1, 2, 2], [1, 1, 1, 1], TOP | 1, Pixels(MAX / 2)), "too large"),
    (([1, 1, 2, 2], [0, 1, 1, 1], 1, Pixels(MAX / 2)), "too large"),
    (([1, 1, 3, 3], [1, 1, 4, 4], 1, Pixels(MAX / 2)), "too large"),
    (([1, 1, 1, 1], [1, 1, 4, 4], 1, Pixels(MAX / 2)), "too large"),
    (([1, 1, 1, 4], [1, 1, 4, 4], 1, Pixels(TOP / 4)), "too large"),
    (([8, 8, 3, 3], [1, 8, 4, 4], 1, Pixels(MAX / 2)), "too large"),
    (([8, 8, 3, 3], [1, 8, 4, 4], 2, Pixels(MAX / 2 - 3)), "too large"),
    (([8, 8, 1, 1], [2, 8, 4, 4], 1, Pixels(MAX / 2)), "too large"),
    (([4, 1, 3, 3], [2, 4, 4, 4], 1, Pixels(MAX / 2)), "too large"),
    (([4, 1, 5, 5], [2, 4, 4, 4], 2, Pixels(MAX / 2)), "too large"),
    (([4, 2, 3, 3], [2, 4, 4, 4], 1, Pixels(TOP / 8)), "too large"),
    // What can be addressed, but no machine has.
    (([1, 1, 2, 2], [1, 1, 1, 1], 1, Pixels(1 << (usize::BITS / 2 - 11))), "no memory"),
    (([8, 8, 3, 3], [1, 8, 4, 4], 1, Pixels(1 << (usize::BITS / 2 - 12))), "no memory"),
    (([8, 8, 3, 3], [1, 8, 4, 4], 2, Pixels(1 << (usize::BITS / 2 - 12))), "no memory"),
    (([4, 1, 3, 3], [2, 4, 4, 4], 1, Pixels(1 << (usize::BITS / 2 - 12))), "no memory"),
    // Strides.
    (([1, 1, 2, 2], [1, 1, 4, 4], 0, Pixels(0)), "at least 1"),
    (([1, 1, 2, 2], [1, 1, 4, 4], 0, Same), "at least 1"),
    (([8, 8, 3, 3], [1, 8, 4, 4], 0, Same), "at least 1"),
    (([4, 1, 3, 3], [1, 4, 4, 4], 0, Pixels(MAX)), "at least 1"),
    // Channels.
    (([1, 3, 2, 2], [1, 1, 4, 4], 1, Pixels(0)), "1 channels"),
    (([1, 3, 2, 2], [1, 2, 4, 4], 1, Pixels(0)), "2 channels"),
    (([1, 3, 2, 2], [1, 4, 4, 4], 1, Same), "4 channels"),
    (([16, 8, 3, 3], [1, 7, 4, 4], 1, Same), "7 channels"),
    (([16, 8, 3, 3], [1, 12, 4, 4], 1, Same), "12 channels"),
    (([5, 2, 3, 3], [1, 4, 4, 4], 1, Same), "4 channels"),
    (([3, 1, 3, 3], [1, 4, 4, 4], 1, Same), "4 channels"),
    (([3, 1, 1, 1], [1, 0, 4, 4], 1, Same), "0 channels"),
    // Weights of nothing.
    (([0, 1, 2, 2], [1, 1, 4, 4], 1, Pixels(0)), "extent of 0"),
    (([1, 0, 2, 2], [1, 1, 4, 4], 1, Pixels(0)), "extent of 0"),
    (([1, 0, 2, 2], [1, 0, 4, 4], 1, Pixels(0)), "extent of 0"),
    (([1, 1, 0, 2], [1, 1, 4, 4], 1, Pixels(0)), "extent of 0"),
    (([1, 1, 2, 0], [1, 1, 4, 4], 1, Pixels(0)), "extent of 0"),
    // Images smaller than the filter, and of no pixels.
    (([1, 1, 3, 3], [1, 1, 2, 5], 1, Pixels(0)), "2×5 pixels"),
    (([1, 1, 3, 3], [1, 1, 5, 2], 1, Pixels(0)), "5×2 pixels"),
    (([1, 1, 5, 5], [1, 1, 2, 2], 1, Pixels(1)), "2×2 pixels"),
    (([1, 1, 5, 5], [1, 1, 2, 2], MAX, Pixels(1)), "2×2 pixels"),
    (([8, 8, 3, 3], [1, 8, 1, 2], 2, Pixels(0)), "1×2 pixels"),
    (([1, 1, 3, 3], [1, 1, 0, 0], 1, Pixels(1)), "0×0 pixels"),
    (([1, 1, 3, 3], [1, 1, 0, 5], 1, Same), "0×5 pixels"),
    (([8, 8, 1, 1], [1, 8, 4, 0], 1, Same), "4×0 pixels"),
    (([4, 1, 3, 3], [2, 4, 0, 4], 2, Pixels(3)), "0×4 pixels"),
];

/// What is unusual and right, with the height and width that come out.
const TAKEN: [(Row, [usize; 2]); 22] = [
    // Strides that leave the image at once.
    (([1, 1, 2, 2], [1, 1, 5, 5], TOP | 1, Pixels(0)), [1, 1]),
    (([1, 1, 2, 2], [1, 1, 5, 5], MAX, Pixels(0)), [1, 1]),
    (([1, 1, 2, 2], [2, 1, 5, 4], MAX / 2, Pixels(1)), [1, 1]),
    (([8, 8, 3, 3], [1, 8, 5, 5], TOP | 1, Pixels(0)), [1, 1]),
    (([8, 8, 3, 3], [1, 8, 5, 5], MAX, Pixels(1)), [1, 1]),
    (([4, 1, 3, 3], [1, 4, 5, 7], MAX, Same), [1, 1]),
    // Strides that jump over pixels.
    (([2, 1, 1, 1], [2, 1, 7, 8], 3, Pixels(0)), [3, 3]),
    (([8, 8, 1, 1], [2, 8, 7, 8], 2, Pixels(0)), [4, 4]),
    (([3, 1, 2, 2], [1, 3, 9, 11], 4, Pixels(1)), [3, 3]),
    (([3, 1, 1, 5], [1, 3, 9, 11], 3, Pixels(2)), [5, 4]),
    // More padding than the filter is large: outputs of zeros alone.
    (([2, 1, 3, 3], [2, 1, 4, 5], 1, Pixels(7)), [16, 17]),
    (([2, 1, 3, 3], [2, 2, 4, 5], 2, Pixels(20)), [21, 22]),
    (([8, 8, 3, 3], [1, 8, 4, 5], 1, Pixels(5)), [12, 13]),
    (([8, 8, 3, 3], [1, 8, 4, 5], 2, Pixels(5)), [6, 7]),
    (([8, 8, 1, 1], [1, 8, 4, 5], 1, Pixels(3)), [10, 11]),
    (([1, 1, 3, 3], [1, 1, 1, 1], 3, Pixels(49)), [33, 33]),
    // Filters larger than the image.
    (([2, 1, 7, 9], [1, 1, 2, 3], 1, Same), [2, 3]),
    (([6, 3, 7, 7], [1, 3, 2, 3], 2, Pixels(3)), [1, 2]),
    // No image at all.
    (([1, 1, 2, 2], [0, 1, 4, 4], 1, Pixels(0)), [3, 3]),
    (([8, 8, 3, 3], [0, 8, 4, 4], 1, Same), [4, 4]),
    (([8, 8, 1, 1], [0, 8, 4, 4], 1, Same), [4, 4]),
    (([8, 8, 3, 3], [0, 8, 4, 4], 2, Same), [2, 2]),
];

fn values(shape: [usize; 4], seed: u64) -> Tensor<4> {
    if shape.contains(&0) {
        Tensor::zeros(shape, &device())
    } else {
        noise(shape, (-1.0, 1.0), seed, 0, &device())
    }
}

fn layer((weight, _, stride, padding): Row, arithmetic: Arithmetic) -> Convolution {
    let bias = (0..weight[0]).map(|channel| channel as f32 - 0.5).collect::<Vec<_>>();
    let bias = (weight[0] > 0).then(|| Tensor::from_floats(bias.as_slice(), &device()));
    Convolution::new(values(weight, 1), bias)
        .with_stride(stride)
        .with_padding(padding)
        .with_arithmetic(arithmetic)
}

/// The message of the panic that `f` ends in.
fn message<T>(f: impl FnOnce() -> T) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(f)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
}

#[test]
fn what_there_is_no_convolution_of_is_refused_with_the_shapes() {
    for (row @ (weight, image, stride, padding), reason) in REFUSED {
        for arithmetic in [Arithmetic::Fast, Arithmetic::Exact] {
            let case = format!("{weight:?} on {image:?}, {stride}, {padding:?}, {arithmetic:?}");
            let layer = layer(row, arithmetic);
            let x = values(image, 2);
            let said = message(|| layer.forward(x.clone(), &mut Taps::new()));
            let said = said.unwrap_or_else(|| panic!("{case}: gave a result"));
            assert!(said.contains(reason), "{case}: {said}");
            let named = [format!("{weight:?}"), format!("{image:?}"), format!("{} channels", image[1])];
            assert!(
                named.iter().any(|shape| said.contains(shape)) || reason == "no memory",
                "{case}: {said}"
            );
            let tracked = x.autodiff().require_grad();
            let said = message(|| layer.rectified(tracked, &mut Taps::new(), Rectifier::Relu));
            assert!(said.is_some_and(|said| said.contains(reason)), "{case}");
        }
    }
}

#[test]
fn what_is_unusual_comes_out_alike_by_both_ways_and_so_does_its_gradient() {
    for (row @ (weight, image, stride, padding), size) in TAKEN {
        let run = |arithmetic| {
            let layer = layer(row, arithmetic);
            let x = values(image, 2).autodiff().require_grad();
            let y = layer.rectified(x.clone(), &mut Taps::new(), Rectifier::Relu6);
            let cotangent = values(y.dims(), 3);
            let gradients = (y.clone() * cotangent.autodiff()).sum().backward();
            (y.inner(), x.grad(&gradients).expect("the image has a gradient"))
        };
        let case = format!("{weight:?} on {image:?}, {stride}, {padding:?}");
        let (fast, exact) = (run(Arithmetic::Fast), run(Arithmetic::Exact));
        assert_eq!(fast.0.dims(), [image[0], weight[0], size[0], size[1]], "{case}");
        assert_eq!(exact.0.dims(), fast.0.dims(), "{case}");
        assert_eq!(fast.1.dims(), image, "{case}");
        for (fast, exact) in [(fast.0, exact.0), (fast.1, exact.1)] {
            if image[0] > 0 {
                let difference = (fast - exact).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "{case}: {difference}");
            }
        }
    }
}

#[test]
fn tensors_of_other_types_are_refused_with_their_names_and_pairs_of_them_are_not() {
    for arithmetic in [Arithmetic::Fast, Arithmetic::Exact] {
        for weight in [[8, 8, 3, 3], [4, 1, 3, 3], [8, 8, 1, 1]] {
            let channels = if weight[1] == 1 { 4 } else { 8 };
            let row = (weight, [1, channels, 6, 7], 1, Same);
            let image = values(row.1, 2);
            for other in [DType::F64, DType::F16, DType::BF16] {
                let said =
                    message(|| layer(row, arithmetic).forward(image.clone().cast(other), &mut Taps::new()));
                let said = said.unwrap_or_else(|| panic!("{other:?} gave a result"));
                for part in
                    [format!("{other:?}"), "F32".to_owned(), format!("{weight:?}"), "6, 7]".to_owned()]
                {
                    assert!(said.contains(&part), "{said}");
                }
            }
            let wide = Convolution::new(values(weight, 1).cast(DType::F64), None)
                .with_padding(Same)
                .with_arithmetic(arithmetic);
            let found = wide.forward(image.clone().cast(DType::F64), &mut Taps::new()).cast(DType::F32);
            let plain = Convolution::new(values(weight, 1), None).with_padding(Same);
            let expected = plain.forward(image.clone(), &mut Taps::new());
            assert!((found - expected).abs().max().into_scalar::<f32>() < 1e-5);
            for bias in [
                Tensor::<1>::ones([3], &device()),
                Tensor::<1>::ones([weight[0]], &device()).cast(DType::F64),
            ] {
                let layer = Convolution::new(values(weight, 1), Some(bias)).with_arithmetic(arithmetic);
                let said = message(|| layer.forward(image.clone(), &mut Taps::new())).expect("no such bias");
                assert!(said.contains("a bias") && said.contains(&format!("{weight:?}")), "{said}");
            }
        }
    }
}

#[test]
fn images_that_do_not_lie_in_a_row_and_other_numbers_of_channels_are_taken() {
    for weight in [[8, 8, 3, 3], [4, 1, 3, 3], [8, 8, 1, 1], [8, 4, 2, 2]] {
        let channels = if weight[1] == 1 { 4 } else { 8 };
        let row = (weight, [0; 4], 1, Same);
        let layer = layer(row, Arithmetic::Fast);
        let image = values([2, channels, 9, 7], 2);
        let turned = image.clone().swap_dims(2, 3).slice([0..2, 0..channels, 1..7, 2..9]);
        let copied = Tensor::from_data(turned.to_data(), &device());
        let run = |x: Tensor<4>| layer.forward(x, &mut Taps::new());
        assert_eq!(run(turned).into_data(), run(copied).into_data());
        // The same layer, with other groups than it was prepared for.
        if weight == [4, 1, 3, 3] {
            let two = values([1, 2, 5, 5], 3);
            let exact =
                layer.clone().with_arithmetic(Arithmetic::Exact).forward(two.clone(), &mut Taps::new());
            assert!((run(two) - exact).abs().max().into_scalar::<f32>() < 1e-5);
        }
    }
}

#[test]
fn pooling_takes_images_of_any_type_and_size() {
    for kind in [DType::F32, DType::F64] {
        for shape in [[1, 1, 1, 1], [0, 3, 4, 4], [2, 3, 0, 4], [2, 3, 1, 5], [2, 0, 4, 4], [2, 3, 5, 4]] {
            let x = values(shape, 4).cast(kind).autodiff().require_grad();
            let run = || {
                let y = max_pool_2x2(x.clone(), &mut Taps::new());
                let gradient = x.grad(&y.clone().sum().backward()).expect("the image has a gradient");
                (y, gradient)
            };
            let [batch, channels, height, width] = shape;
            let (y, gradient) = run();
            assert_eq!(y.dims(), [batch, channels, height / 2, width / 2]);
            assert_eq!(gradient.dims(), shape);
            let windows = batch * channels * (height / 2) * (width / 2);
            if windows > 0 {
                assert_eq!(gradient.cast(DType::F32).sum().into_scalar::<f32>(), windows as f32);
            }
        }
    }
}
