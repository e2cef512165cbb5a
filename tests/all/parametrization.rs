//! How images are written down.

use burn::tensor::Tensor;
use vis::optimizer::{Nadam, Update};
use vis::parametrization::{Fourier, Parametrization, Phase};
use vis::random::noise;

use crate::support::{assert_close, device, tensor};

#[test]
fn every_image_within_range_has_a_spectrum_that_decodes_to_it() {
    for [height, width] in [[4, 4], [5, 6], [6, 5], [7, 7], [1, 8], [32, 48]] {
        for channels in [1, 3] {
            let image = noise([2, channels, height, width], (0.0, 2000.0), 1, 0, &device()) - 900.0;
            let image = image.clamp(5.0, 250.0);
            let fourier = Fourier::new([height, width], (0.0, 255.0));
            let again = fourier.decode(fourier.encode(image.clone()).unwrap());
            let error = (again - image).abs().max().into_scalar::<f32>();
            assert!(error < 0.05, "{channels}x{height}x{width}: {error}");
        }
    }
}

#[test]
fn a_single_frequency_decodes_to_its_wave() {
    // One channel, 4×4, the bin at vertical 0, horizontal 1 with real part 1: the image before the sigmoid is
    // 2·cos(2πx/4)/16 times the scale √16 / (1/4) = 16, divided by 4: cos(πx/2)/2.
    let fourier = Fourier::new([4, 4], (0.0, 1.0));
    let mut variable = vec![0.0; 2 * 4 * 3];
    variable[1] = 1.0;
    let image = fourier.decode(tensor(&variable, [1, 2, 4, 3]));
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let row = [sigmoid(0.5), 0.5, sigmoid(-0.5), 0.5];
    assert_close(&crate::host::values(image), &row.repeat(4), 1e-5);
}

#[test]
fn the_first_and_last_bins_of_an_even_width_count_once() {
    // The mean: bin 0, scale √16 / (1/4) = 16 over 16 over 4: 1/4. The highest: cos(πx), scale 4/0.5 = 8: 1/8.
    let fourier = Fourier::new([4, 4], (0.0, 1.0));
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let of = |bin: usize| {
        let mut variable = vec![0.0; 24];
        variable[bin] = 1.0;
        crate::host::values(fourier.decode(tensor(&variable, [1, 2, 4, 3])))
    };
    assert_close(&of(0), &[sigmoid(0.25); 16], 1e-5);
    assert_close(&of(2), &[sigmoid(0.125), sigmoid(-0.125)].repeat(8), 1e-5);
}

#[test]
fn the_gradient_through_the_spectrum_equals_finite_differences() {
    let fourier = Fourier::new([3, 4], (0.0, 1.0));
    let variable = fourier.start([1, 3, 3, 4], 5, 0, &device()) * 20.0;
    let weights = noise([1, 3, 3, 4], (-1.0, 1.0), 6, 0, &device());
    let leaf = variable.clone().autodiff().require_grad();
    let loss = (fourier.decode(leaf.clone()) * weights.clone()).sum();
    let analytic = crate::host::values(leaf.grad(&loss.backward()).unwrap());
    let along = |x: Tensor<4>| {
        let [batch, ..] = x.dims();
        (fourier.decode(x) * weights.clone()).sum_dims(&[1, 2, 3]).reshape([batch])
    };
    let point = crate::host::values(variable);
    let error = crate::support::gradient_error(along, &analytic, &point, [6, 3, 3], 1e-2);
    assert!(error < 5e-3, "{error}");
}

#[test]
fn a_larger_decay_starts_smoother() {
    let start = |decay| {
        let fourier = Fourier::new([16, 16], (0.0, 255.0)).with_decay(decay);
        fourier.decode(fourier.start([1, 3, 16, 16], 0, 0, &device()))
    };
    // How much of the contrast is between neighbours.
    let roughness = |decay| {
        let image = crate::host::array4(start(decay));
        let steps = &image.slice(ndarray::s![.., .., .., 1..]) - &image.slice(ndarray::s![.., .., .., ..-1]);
        steps.std(0.0) / image.std(0.0)
    };
    assert!(roughness(2.0) < roughness(1.0) && roughness(1.0) < roughness(0.0));
}

/// A reference of `tests/reference/maco.py` with a batch of one.
fn maco(name: &str) -> Tensor<4> {
    let array = crate::npy::read(format!("tests/reference/maco_{name}.npy").as_ref());
    let [channels, height, width] = array.shape() else { panic!("{name}: {:?}", array.shape()) };
    tensor(&array.iter().copied().collect::<Vec<_>>(), [1, *channels, *height, *width])
}

#[test]
fn a_step_of_maco_is_that_of_xplique() {
    let magnitude = crate::npy::read("tests/reference/maco_magnitude.npy".as_ref());
    let magnitude = magnitude.into_dimensionality::<ndarray::Ix3>().unwrap();
    let by_phase = Phase::new([12, 16], (-1.0, 3.0)).with_magnitude(&magnitude).unwrap();
    let variable = maco("phase").autodiff().require_grad();
    let image = by_phase.decode(variable.clone());
    assert_close(&crate::host::values(image.clone().inner()), &crate::host::values(maco("image")), 1e-4);
    let score = (image.square() * maco("weights").autodiff()).sum();
    let gradient = variable.grad(&score.backward()).unwrap();
    assert_close(&crate::host::values(gradient.clone()), &crate::host::values(maco("gradient")), 1e-4);
    let moved = Nadam::default().step(variable.inner(), -gradient, 1.0);
    assert_close(&crate::host::values(moved), &crate::host::values(maco("moved")), 1e-4);
}

#[test]
fn a_magnitude_of_another_size_or_below_zero_is_refused() {
    let phase = || Phase::new([4, 5], (0.0, 1.0));
    let flat = |shape| ndarray::Array3::<f32>::ones(shape);
    assert!(phase().with_magnitude(&flat((2, 4, 3))).is_ok());
    for shape in [(2, 4, 4), (2, 5, 3), (0, 4, 3)] {
        assert!(phase().with_magnitude(&flat(shape)).is_err(), "{shape:?}");
    }
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(phase().with_magnitude(&(flat((2, 4, 3)) * value)).is_err(), "{value}");
    }
}

#[test]
fn an_image_by_its_phase_is_within_range_and_can_not_start_from_one() {
    for (channels, [height, width], range) in
        [(3, [9, 14], (0.0, 255.0)), (1, [7, 7], (-1.0, 1.0)), (4, [6, 1], (2.0, 3.0))]
    {
        let phase = Phase::new([height, width], range);
        let image = phase.decode(phase.start([2, channels, height, width], 3, 0, &device()));
        let values = crate::host::values(image.clone());
        assert_eq!(image.dims(), [2, channels, height, width]);
        assert!(values.iter().all(|value| (range.0..=range.1).contains(value)), "{values:?}");
        let (one, two) = values.split_at(values.len() / 2);
        assert!(one != two || width == 1);
        assert!(phase.encode(image).is_err());
    }
}
