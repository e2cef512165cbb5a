//! What several tests need.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};
use vis::losses::ActivationMaximization;
use vis::model::{InputSpec, Stop, Taps};
use vis::{Model, Target};

/// The device under test: the default one of the enabled backends.
pub fn device() -> Device {
    Device::default()
}

/// Whether convolutions of whole networks take seconds on it: runs are shortened there.
pub fn device_is_slow() -> bool {
    !format!("{:?}", device()).to_lowercase().contains("flex")
}

pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device())
}

/// The loss that wants a layer excited by anything at all.
pub fn energy(layer: &str) -> ActivationMaximization {
    Target::energy(layer).into()
}

/// An image sampled anew by Burn's own bilinear interpolation, without aligned corners.
pub fn resize(image: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
    interpolate(image, options.with_output_size([height, width]))
}

/// A model that is any differentiable function of its image, tapped as `output`.
pub struct Function<F>(pub InputSpec, pub F);

impl<F: Fn(Tensor<4>, &mut Taps) -> Tensor<4> + Send + Sync> Model for Function<F> {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = (self.1)(image, taps);
        taps.layer("output", x)?;
        Ok(())
    }
}

/// A model that does nothing, for losses that look at the image alone.
pub fn identity(shape: [usize; 3]) -> impl Model {
    Function(InputSpec::new(shape, (0.0, 255.0)).with_any_size_from(1), |x, _: &mut Taps| x)
}

#[track_caller]
pub fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "lengths differ");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance,
            "value {index}: got {got}, expected {expected} within {tolerance}"
        );
    }
}

/// The largest difference between an analytic gradient and central differences of `f`, relative to the
/// largest gradient.
///
/// `f` gives one number for each row of a batch: all perturbed points are evaluated as one batch.
pub fn gradient_error(
    f: impl Fn(Tensor<4>) -> Tensor<1>,
    analytic: &[f32],
    point: &[f32],
    shape: [usize; 3],
    step: f32,
) -> f32 {
    let count = point.len();
    let [channels, height, width] = shape;
    let mut batch = Vec::with_capacity(2 * count * count);
    for sign in [1.0, -1.0] {
        for index in 0..count {
            let mut moved = point.to_vec();
            moved[index] += sign * step;
            batch.extend(moved);
        }
    }
    let values = crate::host::values(f(tensor(&batch, [2 * count, channels, height, width])));
    let largest = analytic.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error = |index: usize| {
        let numeric = (values[index] - values[count + index]) / (2.0 * step);
        (numeric - analytic[index]).abs()
    };
    (0..count).map(error).fold(0.0, f32::max) / largest.max(1e-12)
}
