//! Networks from ONNX files.

use std::path::{Path, PathBuf};

use super::{Place, npy};

/// A file of the reference networks.
fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/onnx").join(name)
}

/// A place with a vision transformer, `net.onnx`, an image for it, `image.npy`, and names for its classes.
fn place() -> Place {
    let place = Place::new();
    let copy = |from: &str, to: &str| std::fs::copy(reference(from), place.path(to)).unwrap();
    copy("tv_vit_b_16_legacy17/model.onnx", "net.onnx");
    copy("tv_vit_b_16_legacy17/input_0.npy", "image.npy");
    let names: Vec<String> = (0..10).map(|class| format!("thing {class}")).collect();
    std::fs::write(place.path("labels.txt"), names.join("\n")).unwrap();
    place
}

#[test]
fn a_file_lists_its_layers_by_module_path() {
    let place = place();
    let summary: serde_json::Value =
        serde_json::from_str(&place.succeed("layers --model net.onnx --json")).unwrap();
    assert_eq!(summary["model"], "net.onnx");
    let layers = summary["layers"].as_array().unwrap();
    assert!(layers.iter().any(|layer| layer["name"] == "encoder.layers.encoder_layer_0.ln_1"), "{layers:?}");
    assert_eq!(layers.last().unwrap()["shape"], serde_json::json!([10, 1, 1]));
}

#[test]
fn an_array_is_passed_as_it_is_and_the_scores_are_those_of_onnxruntime() {
    let place = place();
    let said = place.succeed(
        "classify --model net.onnx --preprocess none --labels labels.txt --image image.npy --raw logits.npy --top 1",
    );
    let got = npy::read(&place.path("logits.npy"));
    let expected = npy::read(&reference("tv_vit_b_16_legacy17/output_0.npy"));
    assert_eq!(got.shape(), expected.shape());
    assert!((&got - &expected).iter().all(|difference| difference.abs() < 1e-3));
    let best = expected.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    assert!(said.contains(&format!("thing {best}")), "{said}");
}

#[test]
fn a_photo_is_preprocessed_as_asked_and_mapped() {
    let place = place();
    place.succeed("saliency --model net.onnx --preprocess imagenet --image cat.png -o map.png");
    assert!(place.path("map.png").exists());
}

#[test]
fn a_file_without_preprocessing_or_of_something_else_is_refused_in_a_line() {
    let place = place();
    let refused = |arguments: &str| {
        let output = place.run(arguments);
        assert!(!output.status.success(), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("classify --model net.onnx --image cat.png").contains("--preprocess"));
    assert!(refused("classify --model digits --preprocess unit --image seven.png").contains("ONNX"));
    std::fs::write(place.path("text.onnx"), "not a network").unwrap();
    assert!(refused("layers --model text.onnx").contains("is not a readable ONNX file"));
    assert!(refused("layers --model nothing.onnx").contains("can't read nothing.onnx"));
    assert!(refused("layers --model vgg17").contains("vgg16"));
}
