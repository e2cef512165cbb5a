//! Files that are broken or malicious.

use std::time::{Duration, Instant};

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor,
    ValueInfoProto,
};
use vis::model::{Graph, Limits, Onnx, Preprocessing};
use vis::{Model, Result};

use crate::support::device_is_slow;

/// Opens a file, lists its layers and classifies a black image.
fn tried(path: &std::path::Path) -> Result<Graph> {
    let limits = Limits { elements: 1 << 24, held: 1 << 26, ..Limits::default() };
    let model = Onnx::new(path, Preprocessing::none()).limits(limits).load()?;
    model.layers()?;
    model.classify(model.input().zeros(&model.device()))?;
    Ok(model)
}

#[test]
fn hostile_files_end_in_one_clear_line_within_a_second() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx/hostile");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 60);
    for path in paths {
        let start = Instant::now();
        let said = match tried(&path) {
            Ok(_) => "runs".to_owned(),
            Err(error) => error.to_string(),
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        println!("{name:28} {said}");
        assert!(!said.contains('\n') && said.len() < 400, "{name}: {said}");
        if !device_is_slow() {
            assert!(start.elapsed() < Duration::from_secs(1), "{name} took {:?}", start.elapsed());
        }
    }
}

/// A file of these nodes, with an image `x` of this shape and an output `y`.
pub(super) fn model(shape: &[i64], nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> ModelProto {
    let named = |name: &str, shape: &[i64]| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto {
                    dim: shape
                        .iter()
                        .map(|size| Dimension { dim_value: Some(*size), dim_param: None })
                        .collect(),
                }),
            }),
            ..Default::default()
        }),
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: weights,
            input: vec![named("x", shape)],
            output: vec![named("y", &[])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A node whose name is that of its first output.
pub(super) fn node(
    kind: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        name: Some(outputs[0].into()),
        op_type: Some(kind.into()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: outputs.iter().map(|&name| name.to_owned()).collect(),
        attribute: attributes,
        ..Default::default()
    }
}

pub(super) fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(AttributeType::INTS),
        ..Default::default()
    }
}

/// Writes a file and loads it.
pub(super) fn loaded(model: &ModelProto) -> Result<Graph> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.write_buf().unwrap()).unwrap();
    Onnx::open(path, Preprocessing::none())
}

#[test]
fn sixteen_thousand_nodes_in_a_chain_load_within_a_second() {
    let name = |k: usize| {
        if k == 16000 {
            "y".to_owned()
        } else if k == 0 {
            "x".to_owned()
        } else {
            format!("v{k}")
        }
    };
    let nodes = (0..16000).map(|k| node("Relu", &[&name(k)], &[&name(k + 1)], Vec::new())).collect();
    let file = model(&[1, 1, 2, 2], nodes, Vec::new());
    let start = Instant::now();
    let graph = loaded(&file).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(graph.layers().unwrap().len(), 16000);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn weights_are_read_from_the_folder_of_the_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let bytes: Vec<u8> = [0.5f32, -1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.path().join("outside.bin"), &bytes).unwrap();
    std::fs::write(inner.join("inside.bin"), &bytes).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("outside.bin"), inner.join("link.bin")).unwrap();
    let tried = |location: &str, length: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value.into()),
        };
        let weight = TensorProto {
            name: Some("w".into()),
            dims: vec![2],
            data_type: Some(DataType::FLOAT),
            data_location: Some(DataLocation::EXTERNAL),
            external_data: vec![entry("location", location), entry("length", length)],
            ..Default::default()
        };
        let file = model(&[1, 2], vec![node("Mul", &["x", "w"], &["y"], Vec::new())], vec![weight]);
        let path = inner.join("model.onnx");
        std::fs::write(&path, file.write_buf().unwrap()).unwrap();
        Onnx::open(path, Preprocessing::none())
    };
    assert!(tried("inside.bin", "8").is_ok());
    let absolute = folder.path().join("outside.bin");
    for location in ["../outside.bin", "a/../../outside.bin", absolute.to_str().unwrap(), "link.bin"] {
        let error = tried(location, "8").unwrap_err().to_string();
        assert!(
            error.contains("outside the folder") || error.contains("can't be read"),
            "{location}: {error}"
        );
    }
    for length in ["4", "80", "-1", "x"] {
        assert!(tried("inside.bin", length).is_err(), "{length}");
    }
}

#[test]
fn limits_can_be_raised_and_lowered() {
    let file = model(
        &[1, 1, 64, 64],
        vec![node("Relu", &["x"], &["a"], Vec::new()), node("Exp", &["a"], &["y"], Vec::new())],
        Vec::new(),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file.write_buf().unwrap()).unwrap();
    let with = |limits| Onnx::new(&path, Preprocessing::none()).limits(limits).load();
    assert!(with(Limits::default()).and_then(|model| model.layers()).is_ok());
    assert!(with(Limits { nodes: 1, ..Limits::default() }).unwrap_err().to_string().contains("2 nodes"));
    assert!(with(Limits { bytes: 10, ..Limits::default() }).unwrap_err().to_string().contains("limit of 10"));
    let tight = with(Limits { held: 4000, ..Limits::default() }).unwrap();
    assert!(tight.layers().unwrap_err().to_string().contains("held at once"));
}

#[test]
fn every_byte_of_a_small_file_may_be_wrong() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx/conv1d_small/model.onnx");
    let whole = std::fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut refused = 0;
    for place in (0..whole.len()).step_by(if device_is_slow() { 16 } else { 2 }) {
        for change in [0xff, 0x80, 0x01] {
            let mut bytes = whole.clone();
            bytes[place] ^= change;
            std::fs::write(&path, &bytes).unwrap();
            refused += usize::from(tried(&path).is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}

/// The models of the official tests, between one and ten operators each.
fn official_models() -> Vec<Vec<u8>> {
    let packed = include_bytes!("../../reference/onnx/official.bin");
    // Each file of a case stands as its name and its bytes, either after its length.
    let name = b"\x0a\0\0\0model.onnx";
    let starts = packed.windows(name.len()).enumerate().filter(|(_, window)| window == name);
    starts
        .map(|(start, _)| {
            let (length, rest) = packed[start + name.len()..].split_at(4);
            let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
            rest[..length].to_vec()
        })
        .collect()
}

#[test]
fn mutants_of_files_with_every_operator_end_in_an_error_or_in_layers() {
    use rand::{Rng, SeedableRng};
    // Longer with `VIS_MUTATE_SECONDS`, from another seed with `VIS_MUTATE_SEED`.
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let end = Instant::now() + Duration::from_secs(number("VIS_MUTATE_SECONDS").unwrap_or(2));
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(number("VIS_MUTATE_SEED").unwrap_or(0));
    let seeds = official_models();
    assert!(seeds.len() > 800);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let (mut tries, mut run, mut slowest) = (0, 0, Duration::ZERO);
    while Instant::now() < end {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..6) {
            let place = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[place] = random.random(),
                1 => bytes[place] ^= 1 << random.random_range(0..8),
                2 => drop(bytes.drain(place..(place + random.random_range(1..9)).min(bytes.len()))),
                _ => {
                    let from = random.random_range(0..bytes.len());
                    let piece = bytes[from..(from + random.random_range(1..17)).min(bytes.len())].to_vec();
                    bytes.splice(place..place, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| tried(&path).is_ok());
        slowest = slowest.max(start.elapsed());
        match outcome {
            Ok(ok) => run += usize::from(ok),
            Err(_) => {
                let kept = std::env::temp_dir().join("vis-mutant.onnx");
                std::fs::write(&kept, &bytes).unwrap();
                panic!("mutant {tries} panics; it is kept as {}", kept.display());
            }
        }
        tries += 1;
    }
    println!("{tries} mutants, of which {run} run; the slowest took {slowest:.1?}");
    assert!(tries > 10 && slowest < Duration::from_secs(20), "{tries} {slowest:?}");
}
