//! The networks against their published answers, and files of weights good and bad.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{ArrayD, Axis};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::layers::{Convolution, Padding};
use vis::model::{Digits, EfficientNetLite0, InputSpec, Stop, Taps, Vgg16, imagenet, run};
use vis::{Error, Model};

use crate::host;

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
    assert!(error < 1e-3, "{error}");
}

#[test]
fn the_layers_of_vgg16_are_those_of_keras() {
    let model = Vgg16::bundled(&Device::default()).unwrap();
    let layers = model.layers().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "block1_conv1",
            "block1_conv2",
            "block1_pool",
            "block2_conv1",
            "block2_conv2",
            "block2_pool",
            "block3_conv1",
            "block3_conv2",
            "block3_conv3",
            "block3_pool",
            "block4_conv1",
            "block4_conv2",
            "block4_conv3",
            "block4_pool",
            "block5_conv1",
            "block5_conv2",
            "block5_conv3",
            "block5_pool",
        ]
    );
    assert_eq!(layers[0].to_string(), "block1_conv1  convolution  64x224x224  1792 parameters");
    assert_eq!(layers[17].to_string(), "block5_pool  max pooling  512x7x7");
    // The number that Keras gives for the network without its top.
    assert_eq!(layers.iter().map(|layer| layer.parameters).sum::<usize>(), 14_714_688);
}

#[test]
fn vgg16_with_its_top_has_the_parameters_that_keras_counts() {
    let model = Vgg16::with_random_weights(1, &Device::default()).unwrap();
    let layers = model.layers().unwrap();
    let top: Vec<String> = layers[18..].iter().map(ToString::to_string).collect();
    assert_eq!(
        top,
        [
            "flatten  flatten  25088x1x1",
            "fc1  dense  4096x1x1  102764544 parameters",
            "fc2  dense  4096x1x1  16781312 parameters",
            "predictions  dense  1000x1x1  4097000 parameters",
            "softmax  softmax  1000x1x1",
        ]
    );
    assert_eq!(layers.iter().map(|layer| layer.parameters).sum::<usize>(), 138_357_544);
    assert_eq!(model.class_name(20), Some("water ouzel"));
}

#[test]
fn the_layers_of_efficientnet_lite0_have_the_published_number_of_parameters() {
    let layers = EfficientNetLite0::bundled(&Device::default()).unwrap().layers().unwrap();
    // 4,652,008 with batch normalisation, which has a scale and a shift for each of the 21,008 channels of the
    // convolutions; the scale is folded into the weights, the shift stays as the bias.
    let channels: usize =
        layers.iter().filter(|layer| layer.kind.ends_with("convolution")).map(|layer| layer.shape[0]).sum();
    let parameters: usize = layers.iter().map(|layer| layer.parameters).sum();
    assert_eq!((channels, parameters), (21_008, 4_652_008 - 21_008));
    let shape = |name: &str| layers.iter().find(|layer| layer.name == name).unwrap().shape;
    assert_eq!(shape("stem"), [32, 112, 112]);
    assert_eq!(shape("blocks.0"), [16, 112, 112]);
    assert_eq!(shape("blocks.10"), [112, 14, 14]);
    assert_eq!(shape("blocks.11.depthwise"), [672, 7, 7]);
    assert_eq!(shape("head"), [1280, 7, 7]);
}

#[test]
fn networks_of_any_size_give_each_image_of_a_batch_its_own_answer() {
    let device = Device::default();
    let image = photo();
    for model in [
        Box::new(EfficientNetLite0::bundled(&device).unwrap()) as Box<dyn Model>,
        Box::new(Vgg16::bundled(&device).unwrap()),
    ] {
        // Odd sizes: TensorFlow's padding depends on them.
        let crop = |row, column| image.clone().narrow(2, row, 67).narrow(3, column, 45);
        let both = model.classify(Tensor::cat(vec![crop(0, 0), crop(80, 90)], 0)).unwrap();
        let first = model.classify(crop(0, 0)).unwrap();
        let second = model.classify(crop(80, 90)).unwrap();
        let singly = host::array2(Tensor::cat(vec![first.clone(), second.clone()], 0)).into_dyn();
        let largest = largest(singly.iter().copied());
        assert!(difference(both, &singly) < 1e-5 * largest);
        assert!(difference(first, &host::array2(second).into_dyn()) > 0.1 * largest, "the crops differ");
    }
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let weights = |seed| {
        let model = Digits::with_random_weights(seed, &Device::default()).unwrap();
        host::values(model.classify(pattern()).unwrap())
    };
    assert_eq!(weights(5), weights(5));
    assert_ne!(weights(5), weights(6));
}

#[test]
fn nothing_deeper_than_the_layer_wanted_is_run() {
    struct Trap(InputSpec);
    impl Model for Trap {
        fn input(&self) -> &InputSpec {
            &self.0
        }
        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            taps.layer("first", image)?;
            panic!("went too deep");
        }
    }
    let image = Tensor::ones([1, 3, 2, 2], &Device::default());
    assert_eq!(host::values(Trap(InputSpec::rgb(2, 2)).activation(image, "first").unwrap()), [1.0; 12]);

    let model = Vgg16::bundled(&Device::default()).unwrap();
    let mut taps = Taps::new().record(["block1_conv2", "block1_conv1"]);
    run(&model, photo(), &mut taps).unwrap();
    assert_eq!(taps.seen(), ["block1_conv1", "block1_conv2"]);
}

#[test]
fn an_unknown_layer_is_answered_with_the_nearest() {
    let model = Vgg16::bundled(&Device::default()).unwrap();
    let image = Tensor::zeros([1, 3, 32, 32], &Device::default());
    match model.activation(image, "block5_conv4") {
        Err(Error::UnknownLayer { nearest, available, .. }) => {
            assert!(nearest.unwrap().starts_with("block5_conv"));
            assert_eq!(available.len(), 18);
        }
        other => panic!("{other:?}"),
    }
}

/// A picture of 28×28 numbers that PyTorch was given too.
fn pattern() -> Tensor<4> {
    let value = |index: usize| {
        let (y, x) = (index / 28, index % 28);
        ((x * x + 3 * y) % 16) as f32 / 16.0
    };
    let values: Vec<f32> = (0..28 * 28).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, 28, 28]), &Device::default())
}

/// A stroke of the pen through these points, in pixels from the upper left, in white on black.
fn stroke(points: &[(f32, f32)]) -> Tensor<4> {
    let distance = |(x, y): (f32, f32), [(ax, ay), (bx, by)]: [(f32, f32); 2]| {
        let (dx, dy) = (bx - ax, by - ay);
        let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        (ax + along * dx - x).hypot(ay + along * dy - y)
    };
    let ink = |index: usize| {
        let pixel = ((index % 28) as f32, (index / 28) as f32);
        let nearest = points.windows(2).map(|ends| distance(pixel, [ends[0], ends[1]]));
        (2.0 - nearest.fold(f32::MAX, f32::min)).clamp(0.0, 1.0)
    };
    let values: Vec<f32> = (0..28 * 28).map(ink).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, 28, 28]), &Device::default())
}

#[test]
fn the_reader_of_digits_gives_the_logits_of_pytorch() {
    let model = Digits::bundled(&Device::default()).unwrap();
    // PyTorch, with the same weights and the same picture.
    let expected = [
        -4.977_151,
        1.551_298_1,
        -0.848_588_47,
        -1.752_660_5,
        -0.004_968_568_7,
        -0.346_760_4,
        -2.840_277_2,
        1.258_639_8,
        -1.971_211_4,
        -2.931_375,
    ];
    let expected = ArrayD::from_shape_vec(vec![10], expected.to_vec()).unwrap();
    assert!(difference(model.classify(pattern()).unwrap(), &expected) < 1e-4);
}

#[test]
fn the_reader_of_digits_reads_digits() {
    let model = Digits::bundled(&Device::default()).unwrap();
    let circle: Vec<(f32, f32)> = (0..=24)
        .map(|step| (step as f32 * std::f32::consts::TAU / 24.0).sin_cos())
        .map(|(sin, cos)| (13.5 + 5.5 * cos, 13.5 + 8.5 * sin))
        .collect();
    for (digit, points) in [
        ("0", circle.as_slice()),
        ("1", &[(14.0, 5.0), (14.0, 23.0)]),
        ("4", &[(9.0, 5.0), (8.0, 14.0), (19.0, 14.0), (18.0, 5.0), (17.0, 23.0)]),
        ("7", &[(8.0, 6.0), (20.0, 6.0), (12.0, 23.0)]),
    ] {
        let scores = host::values(model.classify(stroke(points)).unwrap());
        let best = (0..10).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        assert_eq!(model.class_name(best), Some(digit), "{scores:?}");
    }
}

#[test]
fn padding_as_in_tensorflow_puts_the_odd_pixel_after() {
    // Every output counts the pixels of ones under a 3×3 window of stride 2. Over 4 pixels the windows start
    // at 0 and 2 and cover 3 and 2; over 5 they start at -1, 1 and 3 and cover 2, 3 and 2.
    let device = Device::default();
    let count = Convolution::new(Tensor::ones([1, 1, 3, 3], &device), None)
        .with_stride(2)
        .with_padding(Padding::Same);
    let counted = count.forward(Tensor::ones([1, 1, 4, 5], &device), &mut Taps::new());
    assert_eq!(host::values(counted), [6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
}

#[test]
fn a_depthwise_convolution_keeps_channels_apart() {
    let device = Device::default();
    let factors = Tensor::<1>::from_floats([2.0, 3.0], &device).reshape([2, 1, 1, 1]);
    let bias = Tensor::from_floats([0.5, -0.5], &device);
    let x = Tensor::<4>::from_floats([[[[1.0]], [[10.0]]]], &device);
    let y = Convolution::new(factors, Some(bias)).forward(x, &mut Taps::new());
    assert_eq!(host::values(y), [2.5, 29.5]);
}

#[test]
fn every_imagenet_class_is_found_by_its_names() {
    for class in 0..imagenet::CLASSES {
        let usual = imagenet::name(class).unwrap();
        match imagenet::find(&usual.to_uppercase()) {
            Ok(found) => assert_eq!(found, class, "{usual}"),
            // A few animals and things share a name.
            Err(Error::UnknownClass { candidates, .. }) => {
                let this = format!("{class} {} ", imagenet::names(class).unwrap());
                assert!(candidates.len() > 1 && candidates.iter().any(|name| name.starts_with(&this)));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(imagenet::name(imagenet::CLASSES), None);
}

#[test]
fn a_class_name_that_means_none_or_many_is_answered_with_what_it_could_mean() {
    let candidates = |name: &str| match imagenet::find(name) {
        Err(Error::UnknownClass { candidates, .. }) => candidates,
        other => panic!("{other:?}"),
    };
    assert_eq!(candidates("water ousel"), ["water ouzel"]);
    assert_eq!(candidates("qqqq"), [""; 0]);
    assert_eq!(candidates(""), [""; 0]);
    let terriers = candidates("terrier");
    assert!(terriers.len() > 20 && terriers.iter().all(|name| name.contains("terrier")), "{terriers:?}");
    assert_eq!(imagenet::find("ouzel").unwrap(), 20);
    assert_eq!(imagenet::find(" espresso").unwrap(), 967);
}
