//! The networks against their published answers, and files of weights good and bad.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{ArrayD, Axis};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{EfficientNetLite0, Vgg16};
use vis::{Model, host};

/// A file under `tests/reference`.
fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

fn npy(file: &str) -> ArrayD<f32> {
    crate::npy::read(&reference(file))
}

/// The photo of a cat that the reference values were computed for: `[1, 3, 224, 224]` in `0..255`.
fn photo() -> Tensor<4> {
    let picture = image::open(reference("input_224.png")).unwrap().to_rgb8();
    let (width, height) = picture.dimensions();
    let values: Vec<f32> = picture.as_raw().iter().map(|&value| f32::from(value)).collect();
    let shape = [1, height as usize, width as usize, 3];
    Tensor::from_data(TensorData::new(values, shape), &Device::default()).permute([0, 3, 1, 2])
}

fn largest(values: impl IntoIterator<Item = f32>) -> f32 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest difference between a tensor and reference values.
fn difference<const D: usize>(tensor: Tensor<D>, expected: &ArrayD<f32>) -> f32 {
    let values = host::values(tensor);
    assert_eq!(values.len(), expected.len());
    largest(values.iter().zip(expected).map(|(got, expected)| got - expected))
}

#[test]
fn efficientnet_lite0_gives_the_logits_of_pytorch_and_sees_cats() {
    let model = EfficientNetLite0::bundled(&Device::default()).unwrap();
    let logits = model.classify(photo()).unwrap();
    let error = difference(logits.clone(), &npy("lite0_logits.npy"));
    println!("logits differ by {error}");
    assert!(error < 1e-3, "{error}");

    let mut classes: Vec<(usize, f32)> = host::values(logits).into_iter().enumerate().collect();
    classes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let best: Vec<&str> = classes[..3].iter().map(|&(class, _)| model.class_name(class).unwrap()).collect();
    assert_eq!(best, ["Egyptian cat", "tiger cat", "tabby"]);
}

#[test]
fn efficientnet_lite0_gives_the_gradient_of_pytorch() {
    let model = EfficientNetLite0::bundled(&Device::default()).unwrap();
    // The loss is minus the class score.
    let losses = ActivationMaximization::new("predictions", 285).into();
    let gradient = Gradient::new(&model, &losses).evaluate(photo()).unwrap().gradient.neg();
    let expected = npy("lite0_gradient.npy");
    let error = difference(gradient, &expected) / largest(expected.iter().copied());
    println!("gradients differ by {error} of the largest");
    assert!(error < 1e-3, "{error}");
}

#[test]
fn vgg16_gives_the_activations_of_pytorch() {
    let model = Vgg16::bundled(&Device::default()).unwrap();
    let activation = host::array4(model.activation(photo(), "block5_conv3").unwrap());
    let means = activation.mean_axis(Axis(3)).unwrap().mean_axis(Axis(2)).unwrap();
    let expected = npy("vgg_block5_conv3_channel_means.npy");
    let error = largest(means.iter().zip(&expected).map(|(got, expected)| got - expected));
    let error = error / largest(expected.iter().copied());
    println!("channel means differ by {error} of the largest");
    assert!(error < 1e-3, "{error}");
}
