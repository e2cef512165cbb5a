//! The networks of torchvision and timm against PyTorch, by files that `tests/reference/networks.py` writes.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use ndarray::ArrayD;
use vis::attribution::{AttentionRollout, Attribution, Cam, Formula, Occlusion};
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::model::{InputSpec, MobileNetV2, ResNet18, ResNet34, ResNet50, Stop, Taps, VisionTransformer, run};
use vis::{Error, Model, Result, Target, losses};

use crate::host;
use crate::support::{assert_close, device, tensor};

/// A network of a file, by the name that the script gives it.
fn open(folder: &Path, name: &str) -> Option<Result<Box<dyn Model>>> {
    let file = ["safetensors", "pth"].map(|ending| folder.join(format!("{name}.{ending}")));
    let file = file.iter().find(|file| file.exists())?;
    let boxed = |model: Result<VisionTransformer>| model.map(|model| Box::new(model) as Box<dyn Model>);
    Some(match name {
        "resnet18" => ResNet18::from_file(file, &device()).map(|model| Box::new(model) as _),
        "resnet34" => ResNet34::from_file(file, &device()).map(|model| Box::new(model) as _),
        "resnet50" => ResNet50::from_file(file, &device()).map(|model| Box::new(model) as _),
        "vit_timm" | "vit_torchvision" => {
            let model = VisionTransformer::from_file(file, &device());
            // The narrow ones have other heads than the published widths.
            let heads = match (folder == own(), name) {
                (false, _) => None,
                (true, "vit_timm") => Some(3),
                (true, _) => Some(2),
            };
            boxed(model.and_then(|model| heads.map_or(Ok(model.clone()), |heads| model.with_heads(heads))))
        }
        _ => MobileNetV2::from_file(file, &device()).map(|model| Box::new(model) as _),
    })
}

const NAMES: [&str; 7] =
    ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v2_timm", "vit_timm", "vit_torchvision"];

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/networks")
}

fn array(folder: &Path, name: &str, what: &str) -> ArrayD<f32> {
    crate::npy::read(&folder.join(format!("{name}_{what}.npy")))
}

fn as_tensor(array: &ArrayD<f32>) -> Tensor<4> {
    let shape: [usize; 4] = array.shape().try_into().unwrap();
    Tensor::from_data(TensorData::new(array.iter().copied().collect::<Vec<_>>(), shape), &device())
}

/// The largest difference, in parts of the largest value.
fn distance(got: &[f32], expected: &ArrayD<f32>) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    got.iter().zip(expected).fold(0_f32, |most, (got, expected)| most.max((got - expected).abs())) / largest
}

/// Scores, and the gradient of score 2, as PyTorch has them; both distances.
fn compare(folder: &Path, name: &str) -> Option<[f32; 2]> {
    let model = open(folder, name)?.unwrap();
    let image = as_tensor(&array(folder, name, "image"));
    let scores = host::values(model.classify(image.clone()).unwrap());
    let losses = losses![(ActivationMaximization::new(model.logits().unwrap(), 2), -1.0)];
    let gradient = Gradient::new(model.as_ref(), &losses).evaluate(image).unwrap().gradient;
    let far = [
        distance(&scores, &array(folder, name, "scores")),
        distance(&host::values(gradient), &array(folder, name, "gradient")),
    ];
    println!("{name:20} scores within {:.1e}, gradient within {:.1e}", far[0], far[1]);
    Some(far)
}

#[test]
fn narrow_networks_give_the_scores_and_gradients_of_torchvision_and_timm() {
    for name in NAMES {
        let far = compare(&own(), name).unwrap();
        assert!(far.iter().all(|far| *far < 1e-4), "{name}: {far:?}");
    }
}

#[test]
fn whole_networks_give_the_scores_and_gradients_of_torchvision_and_timm() {
    let Some(folder) = std::env::var_os("VIS_NETWORKS").map(PathBuf::from) else {
        eprintln!(
            "SKIPPED: set VIS_NETWORKS to a folder that tests/reference/networks.py --whole has written"
        );
        return;
    };
    let compared: Vec<_> = NAMES.iter().filter_map(|name| Some((name, compare(&folder, name)?))).collect();
    assert!(compared.len() > 3);
    for (name, [scores, gradient]) in compared {
        // Among millions of rectifiers some are within rounding of zero, and one that flips shows in the gradient: PyTorch's
        // own two layouts then differ by as much (2.1e-2 in ResNet-34, 7.7e-3 in timm's MobileNetV2).
        assert!(scores < 1e-4 && gradient < 5e-2, "{name}: {scores} {gradient}");
    }
}

#[test]
fn layers_have_the_names_and_the_values_of_pytorchs_modules() {
    // Batch norm is folded into the convolution before it, so that the layer has the name of the convolution.
    let layers = [
        ("resnet18", "layer3.1.conv2"),
        ("resnet34", "layer2.0.downsample"),
        ("resnet50", "layer4.2.conv3"),
        ("mobilenet_v2", "features.4.conv.2"),
        ("mobilenet_v2_timm", "features.5.conv.1"), // the second block of the third stage
        ("vit_timm", "blocks.1.mlp.fc1"),
        ("vit_torchvision", "blocks.0"),
    ];
    for (name, layer) in layers {
        let model = open(&own(), name).unwrap().unwrap();
        let image = as_tensor(&array(&own(), name, "image"));
        let activation = model.activation(image.clone(), layer).unwrap();
        let expected = array(&own(), name, "inner");
        let [batch, channels, height, width] = activation.dims();
        if let &[_, tokens, _] = expected.shape() {
            // [batch, 1 + height · width, channels]: the class token comes first.
            let class = model.activation(image, &format!("{layer}.class")).unwrap();
            let grid = activation.reshape([batch, channels, height * width]);
            let all = Tensor::cat(vec![class.reshape([batch, channels, 1]), grid], 2).swap_dims(1, 2);
            assert_eq!(tokens, 1 + height * width);
            assert!(distance(&host::values(all), &expected) < 1e-4, "{name}");
        } else {
            assert_eq!(activation.dims(), expected.shape());
            assert!(distance(&host::values(activation), &expected) < 1e-4, "{name}");
        }
    }
}

#[test]
fn the_table_of_layers_is_that_of_the_published_networks() {
    let count = |model: &dyn Model| -> (Vec<String>, usize) {
        let layers = model.layers().unwrap();
        let parameters = layers.iter().map(|layer| layer.parameters).sum();
        (layers.into_iter().map(|layer| layer.name).collect(), parameters)
    };
    // Parameters as torchvision and timm count them, where the two of a batch norm become one bias: for ResNet-18
    // 11,689,512 with 4800 channels of norms, each with a gain that is folded away.
    let (names, parameters) = count(&ResNet18::with_random_weights(0, &device()).unwrap());
    assert_eq!(parameters, 11_689_512 - 4_800);
    assert_eq!(names.iter().filter(|name| name.ends_with("downsample")).count(), 3);
    assert_eq!(names[names.len() - 5..], ["layer4.1.conv2", "layer4.1", "avgpool", "fc", "softmax"]);

    let (names, parameters) = count(&MobileNetV2::with_random_weights(0, &device()).unwrap());
    assert_eq!(parameters, 3_504_872 - 17_056);
    assert_eq!(names[..4], ["features.0", "features.1.conv.0", "features.1.conv.1", "features.1"]);
    assert_eq!(names[names.len() - 4..], ["features.18", "avgpool", "classifier.1", "softmax"]);

    // Class token and positional embeddings, 198 · 384 numbers, are of no layer.
    let (names, parameters) = count(&VisionTransformer::with_random_weights(0, &device()).unwrap());
    assert_eq!(parameters, 22_050_664 - 198 * 384);
    assert_eq!(
        names[1..5],
        ["blocks.0.norm1", "blocks.0.norm1.class", "blocks.0.attn.qkv", "blocks.0.attn.qkv.class"]
    );
    assert_eq!(names[names.len() - 4..], ["norm", "norm.class", "head", "softmax"]);
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    for name in ["resnet50", "mobilenet_v2", "vit_timm"] {
        let model = open(&own(), name).unwrap().unwrap();
        let [channels, height, width] = model.input().shape();
        let size = if name == "vit_timm" { [height, width] } else { [37, 50] };
        let images = vis::random::noise([3, channels, size[0], size[1]], (0.0, 255.0), 3, 0, &device());
        let together = model.classify(images.clone()).unwrap();
        for index in 0..3 {
            let alone = host::values(model.classify(images.clone().narrow(0, index, 1)).unwrap());
            assert_close(&host::values(together.clone().narrow(0, index, 1)), &alone, 1e-4);
        }
    }
}

#[test]
fn a_file_of_another_network_is_refused_with_what_does_not_fit() {
    let file = own().join("resnet18.safetensors");
    match ResNet34::from_file(&file, &device()) {
        Err(Error::Weights { missing, unused, .. }) => {
            assert!(missing.contains(&"layer1.2.conv1.weight".to_owned()) && unused.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(MobileNetV2::from_file(&file, &device()), Err(Error::Weights { .. })));
    assert!(matches!(VisionTransformer::from_file(&file, &device()), Err(Error::Weights { .. })));
    assert!(matches!(
        ResNet50::from_file(own().join("vit_timm.safetensors"), &device()),
        Err(Error::Weights { .. })
    ));
    let vit = VisionTransformer::from_file(own().join("vit_timm.safetensors"), &device()).unwrap();
    let error = vit.with_heads(5).unwrap_err().to_string();
    assert_eq!(error, "the number of heads must be a number that divides the 24 channels of a token, not 5");
}

/// Five tokens and their grid of 2×2, all of them linear in the image: token `t` is the mean of the image plus `t`.
struct Tokens(InputSpec);

impl Model for Tokens {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let [batch, ..] = image.dims();
        let mean = image.mean_dims(&[1, 2, 3]).reshape([batch, 1, 1]);
        let numbers = tensor(&[0.0, 1.0, 2.0, 3.0, 4.0], [1, 5, 1]);
        let tokens = mean + numbers;
        let tokens = taps.tokens("tokens", tokens, [2, 2])?;
        taps.layer("sum", tokens.sum_dim(1).squeeze_dim::<2>(1)).map(drop)
    }
}

#[test]
fn tokens_are_the_map_of_their_grid_with_the_class_token_apart() {
    let model = Tokens(InputSpec::new([1, 2, 3], (0.0, 1.0)));
    let images = tensor(&[[0.0; 6], [0.5; 6]].concat(), [2, 1, 2, 3]);
    let map = model.activation(images.clone(), "tokens").unwrap();
    assert_eq!(map.dims(), [2, 1, 2, 2]);
    assert_eq!(host::values(map), [1.0, 2.0, 3.0, 4.0, 1.5, 2.5, 3.5, 4.5]);
    assert_eq!(host::values(model.activation(images.clone(), "tokens.class").unwrap()), [0.0, 0.5]);
    assert_eq!(host::values(model.activation(images.clone(), "sum").unwrap()), [10.0, 12.5]);

    // What replaces a part goes on with the rest: three variations of the grid, of one run below it.
    let image = images.narrow(0, 0, 1);
    let strengths = tensor(&[0.0, 1.0, 10.0], [3, 1, 1, 1]);
    let mut taps = Taps::new().replace("tokens", move |map| map * strengths).record(["sum"]);
    run(&model, image.clone(), &mut taps).unwrap();
    assert_eq!(host::values(taps.activation("sum").unwrap()), [0.0, 10.0, 100.0]);
    let mut taps = Taps::new().replace("tokens.class", |class| class + 7.0).record(["sum"]);
    run(&model, image.clone(), &mut taps).unwrap();
    assert_eq!(host::values(taps.activation("sum").unwrap()), [17.0]);

    // The gradient at the grid leaves the class token out.
    let losses = losses![(ActivationMaximization::new("sum", 0), -1.0)];
    let at = Gradient::new(&model, &losses).at_layer("tokens").evaluate(image).unwrap();
    assert_eq!(host::values(at.gradient), [1.0; 4]);
}

#[test]
fn tokens_that_do_not_fill_their_grid_are_refused() {
    let mut taps = Taps::new().record_all();
    assert!(taps.tokens("short", Tensor::ones([1, 5, 2], &device()), [2, 3]).is_err());
    let model = Function3(InputSpec::new([1, 2, 3], (0.0, 1.0)));
    let error = model.layers().unwrap_err().to_string();
    assert_eq!(
        error,
        "the tokens of `short` has shape [1, 5, 2], expected [batch, 6 or more, channels], for a grid of 2 rows and 3 columns"
    );
}

/// Tokens that are too few.
struct Function3(InputSpec);

impl Model for Function3 {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        taps.tokens("short", Tensor::ones([1, 5, 2], &image.device()), [2, 3]).map(drop)
    }
}

#[test]
fn a_vision_transformer_can_be_asked_all_that_a_convolutional_network_can() {
    let model = open(&own(), "vit_timm").unwrap().unwrap();
    let image = as_tensor(&array(&own(), "vit_timm", "image"));
    let target = Target::class(2);
    // The score depends on the class token alone, so after the last attention the map has no gradient: the layer that is
    // chosen is the norm before it.
    let cam = Cam::new(Formula::GradCam).map(model.as_ref(), image.clone(), &target).unwrap();
    assert_eq!((cam.layer.as_str(), cam.map.dims()), ("blocks.2.norm1", [1, 1, 5, 5]));
    let ablation = Cam::new(Formula::AblationCam).map(model.as_ref(), image.clone(), &target).unwrap();
    assert_eq!(ablation.layer, "blocks.2.norm1");
    assert!(host::values(ablation.map).iter().any(|value| *value != 0.0));
    let lost = Occlusion::new([4, 4]).attribute(model.as_ref(), image.clone(), &target).unwrap();
    assert_eq!(lost.dims(), [1, 1, 20, 20]);
    let made =
        vis::visualize_activation(model.as_ref(), "blocks.1.mlp.fc1").filter_indices([3]).max_iter(8).run();
    let made = made.unwrap();
    assert!(made[0].after > made[0].before, "{} after {}", made[0].after, made[0].before);
}

#[test]
fn attention_rollout_and_its_form_by_gradient_give_the_numbers_of_their_papers_equations() {
    let model = open(&own(), "vit_timm").unwrap().unwrap();
    let image = as_tensor(&array(&own(), "vit_timm", "image"));
    for (method, expected) in
        [(AttentionRollout::new(), "rollout"), (AttentionRollout::by_gradient(), "rollout_by_gradient")]
    {
        let got = method.map(model.as_ref(), image.clone(), &Target::class(2)).unwrap();
        assert_eq!(got.layer, "blocks.2.attn.softmax");
        let far = distance(&host::values(got.map), &array(&own(), "vit_timm", expected));
        println!("{expected}: within {far:.1e}");
        assert!(far < 1e-4, "{expected}: {far}");
        let whole = method.attribute(model.as_ref(), image.clone(), &Target::class(2)).unwrap();
        assert_eq!(whole.dims(), [1, 1, 20, 20]);
    }
}

#[test]
fn a_rollout_of_a_batch_is_that_of_its_images_and_only_the_form_by_gradient_knows_the_target() {
    let model = open(&own(), "vit_torchvision").unwrap().unwrap();
    let [channels, height, width] = model.input().shape();
    let images = vis::random::noise([2, channels, height, width], (0.0, 255.0), 8, 0, &device());
    let targets = Target::per_image([Target::class(0), Target::class(3)]);
    for method in [AttentionRollout::new(), AttentionRollout::by_gradient()] {
        let together = method.map(model.as_ref(), images.clone(), &targets).unwrap().map;
        for (index, class) in [(0, 0), (1, 3)] {
            let image = images.clone().narrow(0, index, 1);
            let alone = method.map(model.as_ref(), image, &Target::class(class)).unwrap().map;
            assert_close(&host::values(together.clone().narrow(0, index, 1)), &host::values(alone), 1e-6);
        }
    }
    let image = images.narrow(0, 0, 1);
    let map = |method: AttentionRollout, class| {
        host::values(method.map(model.as_ref(), image.clone(), &Target::class(class)).unwrap().map)
    };
    assert_eq!(map(AttentionRollout::new(), 0), map(AttentionRollout::new(), 1));
    assert_ne!(map(AttentionRollout::by_gradient(), 0), map(AttentionRollout::by_gradient(), 1));
    // Every row of a rollout sums to 1: what the class token has of the patches and of itself.
    let share: f32 = map(AttentionRollout::new(), 0).iter().sum();
    assert!(share > 0.0 && share < 1.0, "{share}");
}

#[test]
fn a_network_without_attention_has_no_rollout() {
    let model = open(&own(), "resnet18").unwrap().unwrap();
    let image = as_tensor(&array(&own(), "resnet18", "image"));
    let error =
        AttentionRollout::new().map(model.as_ref(), image, &Target::class(2)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the network of an attention rollout must be a transformer that shows its attention maps, not one without such a \
         layer before the target"
    );
}

#[cfg(feature = "onnx")]
#[test]
fn a_vision_transformer_of_a_file_has_the_maps_of_the_one_written_by_hand() {
    use vis::model::{Onnx, Preprocessing};
    let name = "vit_torchvision";
    let by_hand = open(&own(), name).unwrap().unwrap();
    let file = own().join("vit_torchvision.onnx");
    let graph = Onnx::new(file, Preprocessing::imagenet()).device(&device()).load().unwrap();
    let table = graph.layers().unwrap();
    let shape = |name: &str| table.iter().find(|layer| layer.name == name).map(|layer| layer.shape);
    let block = "encoder.layers.encoder_layer_1";
    // Tokens are the map of their grid of 3×3, the class token is apart, and what was flattened is still a map.
    assert_eq!(shape(&format!("{block}.ln_1")), Some([16, 3, 3]));
    assert_eq!(shape(&format!("{block}.ln_1.class")), Some([16, 1, 1]));
    assert_eq!(shape("Reshape"), Some([16, 3, 3]));
    assert_eq!(table.iter().filter(|layer| layer.kind == "attention map").count(), 2);

    let image = as_tensor(&array(&own(), name, "image"));
    let target = Target::class(2);
    let close = |a: Tensor<4>, b: Tensor<4>| {
        let expected = host::values(b);
        let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        assert_close(&host::values(a), &expected, 1e-4 * largest);
    };
    for (ours, theirs) in
        [("blocks.1.norm1", "ln_1"), ("blocks.1.norm1.class", "ln_1.class"), ("blocks.1.mlp.act", "mlp.1")]
    {
        let activation = graph.activation(image.clone(), &format!("{block}.{theirs}")).unwrap();
        close(activation, by_hand.activation(image.clone(), ours).unwrap());
    }
    // The layer of a map is chosen alike: the last of tokens that has a part in the score.
    for formula in [Formula::GradCam, Formula::HiResCam, Formula::AblationCam] {
        let of_graph = Cam::new(formula).map(&graph, image.clone(), &target).unwrap();
        let expected = Cam::new(formula).map(by_hand.as_ref(), image.clone(), &target).unwrap();
        assert_eq!((of_graph.layer, expected.layer), (format!("{block}.ln_1"), "blocks.1.norm1".into()));
        close(of_graph.map, expected.map);
    }
    for method in [AttentionRollout::new(), AttentionRollout::by_gradient()] {
        let [of_graph, expected] = [&graph as &dyn Model, by_hand.as_ref()]
            .map(|model| method.map(model, image.clone(), &target).unwrap().map);
        close(of_graph, expected);
    }
    let made = vis::visualize_activation(&graph, "encoder.layers.encoder_layer_0.mlp.1")
        .filter_indices([3])
        .max_iter(60);
    let made = made.run().unwrap();
    assert!(made[0].after > made[0].before, "{} after {}", made[0].after, made[0].before);
}
