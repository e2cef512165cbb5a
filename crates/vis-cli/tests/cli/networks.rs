//! The networks of torchvision and timm, with weights from files.

use std::path::Path;

use super::{Place, npy, text};

/// A place with narrow networks: `resnet.safetensors`, `mobilenet.pth` and `vit.safetensors`.
fn place() -> Place {
    let place = Place::new();
    let networks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/networks");
    for (from, to) in [
        ("resnet18.safetensors", "resnet.safetensors"),
        ("mobilenet_v2.pth", "mobilenet.pth"),
        ("vit_timm.safetensors", "vit.safetensors"),
    ] {
        std::fs::copy(networks.join(from), place.path(to)).unwrap();
    }
    place
}

#[test]
fn networks_of_torchvision_and_timm_are_opened_with_a_file_of_weights() {
    let place = place();
    for (network, layer) in [
        ("resnet18 --weights resnet.safetensors", "layer3.1.conv2"),
        ("mobilenet-v2 --weights mobilenet.pth", "features.4.conv.1"),
        ("vit --weights vit.safetensors", "blocks.1.mlp.fc1"),
    ] {
        let said = place.succeed(&format!("layers --model {network}"));
        assert!(said.lines().any(|line| line.starts_with(layer)), "{said}");
        let maps = format!("cam --model {network} --image cat.png -o cam.png --raw cam.npy");
        let said = place.succeed(&maps);
        assert!(said.contains("map at layer"), "{said}");
    }
}

#[test]
fn a_rollout_is_a_map_of_the_grid_of_tokens() {
    let place = place();
    for method in ["rollout", "gradient-rollout"] {
        let said = place.succeed(&format!(
            "cam --model vit --weights vit.safetensors --image cat.png --method {method} -o {method}.png --raw map.npy"
        ));
        assert!(said.contains("map at layer blocks.2.attn.softmax"), "{said}");
        let map = npy::read(&place.path("map.npy"));
        assert_eq!(map.shape(), [1, 1, 5, 5]);
        assert!(map.iter().all(|value| *value >= 0.0));
    }
}

#[test]
fn the_scale_of_pixels_can_be_chosen_where_a_file_does_not_say_it() {
    let place = place();
    let scores = |how: &str| {
        place.succeed(&format!(
            "classify --model vit --weights vit.safetensors --image cat.png --raw scores.npy {how}"
        ));
        npy::read(&place.path("scores.npy"))
    };
    assert_eq!(scores(""), scores("--preprocess tf"));
    assert_ne!(scores(""), scores("--preprocess imagenet"));
}

#[test]
fn what_does_not_go_with_a_network_is_refused_in_a_line() {
    let place = place();
    let refused = |arguments: &str| {
        let output = place.run(arguments);
        assert!(!output.status.success(), "{arguments}");
        text(&output.stderr)
    };
    assert!(refused("layers --model vit").contains("name a file with --weights"));
    assert!(
        refused("layers --model resnet34 --weights resnet.safetensors").contains("layer1.2.conv1.weight")
    );
    assert!(refused("cam --image cat.png --method rollout -o map.png").contains("attention"));
    let both =
        "cam --model vit --weights vit.safetensors --image cat.png --method rollout --layer norm -o map.png";
    assert!(refused(both).contains("--penultimate-layer is not for rollouts"));
}
