//! Maps against answers that can be worked out by hand, identities, and other libraries.

mod class_activation_maps;
mod ended_early;
mod gradients;
mod honesty;
mod identities;
mod networks;
mod parity;
mod perturbation;
mod refusals;
mod targets;

use burn::tensor::{Device, Tensor};

/// An image `[1, channels, height, width]` from its rows.
fn image<const C: usize, const H: usize, const W: usize>(values: [[[f32; W]; H]; C]) -> Tensor<4> {
    Tensor::<3>::from_floats(values, &Device::default()).unsqueeze()
}

/// Whether a map holds these values in row-major order, within `tolerance` times the largest of them.
#[track_caller]
fn assert_map(map: Tensor<4>, expected: &[f32], tolerance: f32) {
    let got = crate::host::values(map);
    assert_eq!(got.len(), expected.len(), "{got:?}");
    let scale = expected.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs() / scale;
        assert!(off <= tolerance, "at {place}: {got}, expected {expected}, off by {off} of the largest");
    }
}

/// The largest difference of two maps, relative to the largest magnitude in the second.
fn difference(one: Tensor<4>, other: Tensor<4>) -> f32 {
    assert_eq!(one.dims(), other.dims());
    let largest = crate::host::values(other.clone().abs().max())[0].max(1e-12);
    crate::host::values((one - other).abs().max())[0] / largest
}

/// Uniform noise over the whole of a range.
fn random_image(shape: [usize; 4], range: std::ops::Range<f32>, seed: u64) -> Tensor<4> {
    use rand::Rng;
    let mut stream = vis::random::stream(seed, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.random_range(range.clone())).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), &Device::default())
}

/// A file under `tests/reference`.
fn reference(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

fn npy(file: &str) -> ndarray::ArrayD<f32> {
    crate::npy::read(&reference(file))
}

/// The photo of a cat that the reference values were computed for: `[1, 3, 224, 224]` in `0..255`.
fn photo() -> Tensor<4> {
    let picture = image::open(reference("input_224.png")).unwrap().to_rgb8();
    let values: Vec<f32> = picture.as_raw().iter().map(|value| f32::from(*value)).collect();
    let shape = [1, picture.height() as usize, picture.width() as usize, 3];
    let picture = Tensor::from_data(burn::tensor::TensorData::new(values, shape), &Device::default());
    picture.permute([0, 3, 1, 2])
}
