//! Files of weights: every form that is read, and what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tempfile::TempDir;
use vis::model::weights::Weights;
use vis::model::{Digits, Discriminator, EfficientNetLite0, Generator, InputSpec, Vgg16, Vgg19};
use vis::{Error, Model};

use crate::host;

/// What PyTorch answers to `image()`, by `small_networks.py`.
const KERAS: [f32; 3] = [-24.825_016, -106.600_7, -42.898_952];
const VGG19: [f32; 3] = [-11.094_362, -13.200_632, -4.462_807];

#[track_caller]
fn assert_logits(model: &dyn Model, image: Tensor<4>, expected: &[f32], what: &str) {
    let logits = host::values(model.classify(image).unwrap());
    assert_eq!(logits.len(), expected.len());
    for (got, expected) in logits.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-4 * expected.abs().max(1.0), "{what}: {logits:?}");
    }
}

/// A small VGG with its dense top, in one of the forms that `small_networks.py` wrote.
fn small(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/weights").join(file)
}

fn load(path: &Path) -> vis::Result<Vgg16> {
    Vgg16::from_file(path, &Device::default())
}

/// The image of `small_networks.py`.
fn image() -> Tensor<4> {
    let channel =
        |f: fn(u32, u32) -> u32| (0..224).flat_map(move |y| (0..224).map(move |x| (f(x, y) % 256) as f32));
    let red = channel(|x, y| x * x + 3 * y);
    let green = channel(|x, y| x + y * y);
    let blue = channel(|x, y| x * y);
    let values: Vec<f32> = red.chain(green).chain(blue).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, 224, 224]), &Device::default())
}

/// The tensors of a file, to be changed and written again.
struct File {
    folder: TempDir,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl File {
    fn named() -> Self {
        Self::of("named.safetensors")
    }

    fn of(file: &str) -> Self {
        let bytes = std::fs::read(small(file)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file
            .iter()
            .map(|(name, view)| {
                (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
            })
            .collect();
        Self { folder: TempDir::new().unwrap(), tensors }
    }

    /// The same tensors under other names.
    fn rename(&mut self, name: impl Fn(&str) -> String) {
        let tensors = std::mem::take(&mut self.tensors);
        self.tensors = tensors.into_iter().map(|(old, tensor)| (name(&old), tensor)).collect();
    }

    fn insert(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), bytes));
    }

    fn write(&self) -> PathBuf {
        let views: Vec<(&String, TensorView)> = self
            .tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| {
                (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
            })
            .collect();
        let path = self.folder.path().join("changed.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }
}

/// Bytes as a file of weights.
fn load_bytes(bytes: &[u8]) -> vis::Result<Vgg16> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("hostile");
    std::fs::write(&path, bytes).unwrap();
    load(&path)
}

#[test]
fn a_network_is_the_same_in_every_form_of_file() {
    let keras = KERAS;
    let torchvision = [-0.027_138_472, -2.531_018_5, -1.719_157_9];
    for (file, expected) in [
        ("named.safetensors", keras),
        ("keras.safetensors", keras),
        ("torchvision.safetensors", torchvision),
        ("timm.safetensors", torchvision),
        ("torchvision.pth", torchvision),
        ("legacy.pth", torchvision),
    ] {
        let model = load(&small(file)).unwrap();
        assert_logits(&model, image(), &expected, file);
        assert_eq!(model.class_name(0), None, "three classes are not those of ImageNet");
    }
}

#[test]
fn the_names_of_every_version_of_keras_are_read() {
    type Renaming = fn(&str, &str) -> String;
    let forms: [(&str, Renaming); 4] = [
        ("Keras 3", |layer, part| format!("{layer}/{part}")),
        ("dots", |layer, part| format!("{layer}.{part}")),
        ("Keras 2", |layer, part| format!("{layer}/{layer}/{part}:0")),
        ("Keras 1", |layer, part| {
            format!("{layer}/{layer}_{}_1:0", if part == "kernel" { 'W' } else { 'b' })
        }),
    ];
    for (version, renamed) in forms {
        let mut file = File::of("keras.safetensors");
        file.rename(|name| {
            let (layer, part) = name.split_once('/').unwrap();
            renamed(layer, part)
        });
        assert_logits(&load(&file.write()).unwrap(), image(), &KERAS, version);
    }
}

#[test]
fn vgg19_has_its_layers_and_gives_the_answers_of_pytorch() {
    let model = Vgg19::from_file(small("vgg19.safetensors"), &Device::default()).unwrap();
    let layers = model.layers().unwrap();
    let convolutions =
        layers.iter().filter(|layer| layer.kind == "convolution").map(|layer| layer.name.as_str());
    let expected: Vec<String> = [2, 2, 4, 4, 4]
        .into_iter()
        .zip(1..)
        .flat_map(|(count, block)| (1..=count).map(move |number| format!("block{block}_conv{number}")))
        .collect();
    assert_eq!(convolutions.collect::<Vec<_>>(), expected);
    assert_eq!(layers.iter().filter(|layer| layer.name.ends_with("_pool")).count(), 5);
    assert_eq!(model.logits(), Some("predictions"));

    let last = host::array4(model.activation(image(), "block5_conv4").unwrap());
    let means = last.mean_axis(ndarray::Axis(3)).unwrap().mean_axis(ndarray::Axis(2)).unwrap();
    for (got, expected) in means.iter().zip([1.444_011_6_f32, 7.473_976_6, 2.030_508, 3.599_069]) {
        assert!((got / expected - 1.0).abs() < 1e-4, "{means}");
    }
    assert_logits(&model, image(), &VGG19, "VGG19");
    // And a filter of its last convolution is made to fire.
    let pictures = vis::visualize_activation(&model.without_top(), "block5_conv4")
        .filter_indices([1])
        .size(32, 32)
        .lp_norm_weight(0.0)
        .tv_weight(0.0)
        .max_iter(5)
        .run()
        .unwrap();
    assert!(pictures[0].after > pictures[0].before, "{} to {}", pictures[0].before, pictures[0].after);
}

#[test]
fn vgg19_is_read_by_the_numbers_of_torchvision() {
    let numbers = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34];
    let mut file = File::of("vgg19.safetensors");
    file.rename(|name| {
        let (layer, part) = name.rsplit_once('.').unwrap();
        let new = match layer {
            "fc1" => "classifier.0".to_owned(),
            "fc2" => "classifier.3".to_owned(),
            "predictions" => "classifier.6".to_owned(),
            _ => {
                let digits: Vec<usize> =
                    layer.chars().filter_map(|c| c.to_digit(10)).map(|digit| digit as usize).collect();
                let before: usize = [2, 2, 4, 4, 4][..digits[0] - 1].iter().sum();
                format!("features.{}", numbers[before + digits[1] - 1])
            }
        };
        format!("{new}.{part}")
    });
    let model = Vgg19::from_file(file.write(), &Device::default()).unwrap();
    // The pixels that are to this network what those of the image are to Keras's.
    let column =
        |values: [f32; 3]| Tensor::<1>::from_floats(values, &Device::default()).reshape([1, 3, 1, 1]);
    let seen = image() - column([123.68, 116.779, 103.939]);
    let pixels = (seen * column([0.229, 0.224, 0.225]) + column([0.485, 0.456, 0.406])) * 255.0;
    assert_logits(&model, pixels, &VGG19, "torchvision");
}

#[test]
fn the_dense_top_is_there_when_the_file_has_it() {
    let whole = load(&small("named.safetensors")).unwrap();
    assert_eq!(whole.logits(), Some("predictions"));
    assert_eq!(whole.input(), &InputSpec::rgb(224, 224));

    let mut trunk = File::named();
    trunk.tensors.retain(|name, _| name.starts_with("block"));
    let trunk = load(&trunk.write()).unwrap();
    assert_eq!(trunk.logits(), None);
    let small_image = image().narrow(2, 0, 32).narrow(3, 0, 48);
    let from_trunk = trunk.activation(small_image.clone(), "block5_pool").unwrap();
    let from_whole = whole.without_top().activation(small_image, "block5_pool").unwrap();
    assert_eq!(host::values(from_trunk), host::values(from_whole));
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let mut file = File::named();
    file.tensors.remove("block2_conv1.bias");
    file.tensors.remove("fc2.weight");
    file.insert("block9_conv1.weight", &[1], &[0.0]);
    file.insert("block1_conv2.weight", &[2, 2, 1, 1], &[0.0; 4]);
    match load(&file.write()) {
        Err(Error::Weights { missing, unused, misshapen, .. }) => {
            // Without its bias a layer is taken to be as wide as in the published network.
            assert_eq!(missing, ["block2_conv1.bias", "fc2.weight"]);
            assert_eq!(unused, ["block9_conv1.weight"]);
            assert!(
                misshapen.contains(&"block1_conv2.weight: [2, 2, 1, 1] instead of [2, 2, 3, 3]".to_owned()),
                "{misshapen:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_weights_of_another_depth_are_refused() {
    let error = Vgg19::from_file(small("named.safetensors"), &Device::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("missing: block3_conv4.weight, block3_conv4.bias, block4_conv4.weight"), "{text}");
    // torchvision counts through, so the names of the deeper layers mean other layers.
    assert!(matches!(
        Vgg19::from_file(small("torchvision.pth"), &Device::default()),
        Err(Error::Weights { .. })
    ));
}

#[test]
fn a_weight_that_is_no_number_is_refused_by_name() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut file = File::named();
        file.insert("fc2.bias", &[5], &[0.0, 0.0, 0.0, bad, 0.0]);
        match load(&file.write()) {
            Err(Error::Format { reason, .. }) => {
                assert_eq!(reason, format!("fc2.bias holds the value {bad}"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whole_numbers_are_no_weights() {
    let mut file = File::named();
    file.tensors.insert("fc2.bias".to_owned(), (Dtype::I32, vec![5], vec![0; 20]));
    let text = load(&file.write()).unwrap_err().to_string();
    assert!(text.contains("fc2.bias has elements of type I32; weights are floats"), "{text}");
}

#[test]
fn what_can_not_be_read_is_an_error_of_the_system() {
    assert!(matches!(load(Path::new("no/such/file.safetensors")), Err(Error::Io { .. })));
    assert!(matches!(load(&small(".")), Err(Error::Io { .. })), "a folder");
}

#[test]
fn a_file_of_something_else_is_refused() {
    let huge_header = [&u64::MAX.to_le_bytes()[..], b"{\"a\":1}"].concat();
    let long_header = [&99_999_999_u64.to_le_bytes()[..], b"{\"a\":1}"].concat();
    // A tensor of 2^63 elements in four bytes.
    let header =
        br#"{"block1_conv1.bias":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}"#;
    let huge_tensor = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    let files: [&[u8]; 9] = [
        b"",
        b"{}",
        b"not a file of weights, only text",
        b"\x89HDF\r\n\x1a\n and so on",
        b"PK\x03\x04",
        b"\x80\x02.",
        &huge_header,
        &long_header,
        &huge_tensor,
    ];
    for bytes in files {
        let result = load_bytes(bytes);
        assert!(
            matches!(result, Err(Error::Format { .. } | Error::Weights { .. })),
            "{:?}: {result:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_tensor_that_repeats_one_number_for_ever_is_not_allocated() {
    let text = load(&small("expanded.pth")).unwrap_err().to_string();
    assert!(text.ends_with("features.0.bias is larger than the file"), "{text}");
}

#[test]
fn a_file_cut_short_is_refused() {
    for file in ["named.safetensors", "torchvision.pth", "legacy.pth"] {
        let bytes = std::fs::read(small(file)).unwrap();
        for length in (0..bytes.len()).step_by(151).chain([bytes.len() - 1]) {
            let result = load_bytes(&bytes[..length]);
            assert!(result.is_err(), "{file} was accepted with {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn no_changed_byte_makes_loading_panic() {
    for file in ["named.safetensors", "torchvision.pth", "legacy.pth"] {
        let bytes = std::fs::read(small(file)).unwrap();
        for index in (0..bytes.len()).step_by(47) {
            for flip in [0x01, 0xff] {
                let mut changed = bytes.clone();
                changed[index] ^= flip;
                let _ = load_bytes(&changed); // other weights, or an error
            }
        }
    }
}

/// A file of the crate that carries the small bundled networks.
fn carried(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/vis-weights/data").join(file)
}

#[test]
fn a_bundled_network_is_that_of_its_file_and_no_other_file_is_taken_for_it() {
    let device = Device::default();
    let image = vis::random::noise([2, 1, 28, 28], (0.0, 1.0), 3, 0, &device);
    let scores = |model: &dyn Model| host::values(model.classify(image.clone()).unwrap());
    let (digits, judge) = ("mnist_cnn_f16.safetensors", "digits_discriminator_f16.safetensors");
    let from_file = Digits::from_file(carried(digits), &device).unwrap();
    assert_eq!(scores(&Digits::bundled(&device).unwrap()), scores(&from_file));
    let from_file = Discriminator::from_file(carried(judge), &device).unwrap();
    assert_eq!(scores(&Discriminator::bundled(&device).unwrap()), scores(&from_file));
    let generator = "digits_generator_f16.safetensors";
    let from_file = Generator::from_file(carried(generator), &device).unwrap();
    assert_eq!(Generator::bundled(&device).unwrap().named(), from_file.named());

    assert!(matches!(Digits::from_file(carried(judge), &device), Err(Error::Weights { .. })));
    assert!(matches!(Discriminator::from_file(carried(generator), &device), Err(Error::Weights { .. })));
    assert!(matches!(EfficientNetLite0::from_file(carried(digits), &device), Err(Error::Weights { .. })));
    assert!(matches!(Generator::from_file(carried("missing"), &device), Err(Error::Io { .. })));
}

#[test]
fn every_bundled_file_is_read_by_its_name_whole() {
    // VGG16's trunk is three crates: 13 convolutions, each a kernel and a bias.
    for (file, tensors) in [("vgg16_conv_f16.safetensors", 26), ("mnist_cnn_f16.safetensors", 10)] {
        let weights = Weights::from_bundled(file, &Device::default()).unwrap();
        assert_eq!(weights.names().count(), tensors, "{file}");
    }
    let unknown = Weights::from_bundled("vgg17.safetensors", &Device::default()).unwrap_err();
    assert!(unknown.to_string().contains("one of efficientnet_lite0_f16.safetensors"), "{unknown}");
}
