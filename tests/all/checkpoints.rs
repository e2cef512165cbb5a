//! Files of weights as trainings leave them: archives, prefixes, counters, several files.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;
use vis::model::weights::{Parameters, Weights};
use vis::{Error, Result};

use crate::host;

/// A tensor of a file: its name, its type, its shape, its bytes.
#[derive(Clone)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Stored { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

fn integers(name: &str, shape: &[usize], values: &[i64]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Stored { name: name.to_owned(), dtype: Dtype::I64, shape: shape.to_vec(), bytes }
}

const KERNEL: [f32; 6] = [1.0, -2.0, 3.5, -4.25, 0.0, 6.0];
const BIAS: [f32; 2] = [0.5, -7.0];

/// A layer and a norm with the counter that PyTorch gives it.
fn network(prefix: &str) -> Vec<Stored> {
    vec![
        floats(&format!("{prefix}conv.weight"), &[2, 3], &KERNEL),
        floats(&format!("{prefix}bn.bias"), &[2], &BIAS),
        integers(&format!("{prefix}bn.num_batches_tracked"), &[], &[1234]),
    ]
}

fn build(parameters: &mut Parameters) -> Result<(Tensor<2>, Tensor<1>)> {
    Ok((parameters.tensor("conv.weight", [2, 3])?, parameters.tensor("bn.bias", [2])?))
}

fn open(path: &Path) -> Result<Weights> {
    Weights::from_file(path, &Device::default())
}

#[track_caller]
fn assert_network(weights: Weights) {
    let (kernel, bias) = weights.load(build).unwrap();
    assert_eq!(host::values(kernel), KERNEL);
    assert_eq!(host::values(bias), BIAS);
}

fn safetensors_bytes(tensors: &[Stored]) -> Vec<u8> {
    let views = tensors.iter().map(|stored| {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap();
        (stored.name.clone(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// The pickle of a dictionary of tensors, by protocol 2, as `torch.save` writes it; `a.b` is the entry `b` of the
/// dictionary `a` if `nested`.
fn pickle(tensors: &[Stored], nested: Option<&str>) -> Vec<u8> {
    let mut out = b"\x80\x02".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let integer = |out: &mut Vec<u8>, value: usize| {
        out.push(b'J');
        out.extend((value as i32).to_le_bytes());
    };
    let integers = |out: &mut Vec<u8>, values: &[usize]| {
        out.push(b'(');
        values.iter().for_each(|value| integer(out, *value));
        out.push(b't');
    };
    out.push(b'}');
    if let Some(key) = nested {
        text(&mut out, "epoch");
        integer(&mut out, 3);
        out.push(b's');
        text(&mut out, key);
        out.push(b'}');
    }
    for (index, stored) in tensors.iter().enumerate() {
        text(&mut out, &stored.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        let (storage, size) = match stored.dtype {
            Dtype::F32 => ("FloatStorage", 4),
            Dtype::I64 => ("LongStorage", 8),
            Dtype::F8_E4M3 => ("Float8_e4m3fnStorage", 1),
            other => panic!("{other:?}"),
        };
        out.extend(format!("ctorch\n{storage}\n").bytes());
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        integer(&mut out, stored.bytes.len() / size);
        out.extend(b"tQ");
        integer(&mut out, 0);
        integers(&mut out, &stored.shape);
        let strides: Vec<usize> =
            (0..stored.shape.len()).map(|axis| stored.shape[axis + 1..].iter().product()).collect();
        integers(&mut out, &strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtRs");
    }
    if nested.is_some() {
        out.push(b's');
    }
    out.push(b'.');
    out
}

/// An archive in PyTorch's layout: data begins at multiples of 64, padded by a field `FB`; no compression; a descriptor
/// after each entry; at the end a record of ZIP64 with its locator, and the plain record with its true numbers.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let start = out.len() as u32;
        let mut crc = checksum(data).to_le_bytes().to_vec();
        crc.extend((data.len() as u32).to_le_bytes());
        crc.extend((data.len() as u32).to_le_bytes());
        let padding = (64 - (out.len() + 30 + name.len() + 4) % 64) % 64;
        out.extend(b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend((name.len() as u16).to_le_bytes());
        out.extend((padding as u16 + 4).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(b"FB");
        out.extend((padding as u16).to_le_bytes());
        out.extend(vec![b'Z'; padding]);
        out.extend(data);
        out.extend(b"PK\x07\x08");
        out.extend(&crc);
        directory.extend(b"PK\x01\x02\0\0\0\0\x08\x08\0\0\0\0\0\0");
        directory.extend(&crc);
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, size, start) = (entries.len() as u64, directory.len() as u64, out.len() as u64);
    out.extend(directory);
    let record = out.len() as u64;
    out.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x1e\x03\x2d\0\0\0\0\0\0\0\0\0");
    [count, count, size, start].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(record.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(b"PK\x05\x06\0\0\0\0");
    [count, count].iter().for_each(|number| out.extend((*number as u16).to_le_bytes()));
    [size, start].iter().for_each(|number| out.extend((*number as u32).to_le_bytes()));
    out.extend([0, 0]);
    out
}

/// CRC-32, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// What `torch.save` writes to a file whose name has this stem.
fn pth_bytes(stem: &str, tensors: &[Stored], nested: Option<&str>) -> Vec<u8> {
    let entry = |name: &str, data: &[u8]| (format!("{stem}/{name}"), data.to_vec());
    let mut entries = vec![
        entry("data.pkl", &pickle(tensors, nested)),
        entry(".format_version", b"1"),
        entry("byteorder", b"little"),
    ];
    for (index, stored) in tensors.iter().enumerate() {
        entries.push(entry(&format!("data/{index}"), &stored.bytes));
    }
    entries.push(entry("version", b"3\n"));
    archive(&entries)
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

#[test]
fn a_pytorch_file_loads_whatever_the_length_of_the_name_it_was_saved_under() {
    let folder = TempDir::new().unwrap();
    for length in 1..=64 {
        let stem: String = "weights_of_epoch_".chars().cycle().take(length).collect();
        let path = write(&folder, "renamed.pth", &pth_bytes(&stem, &network(""), None));
        let weights = open(&path).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_network(weights);
    }
    // Letters of two bytes, 21 in all.
    let path = write(&folder, "renamed.pth", &pth_bytes("ééééééééééx", &network(""), None));
    assert_network(open(&path).unwrap());
}

#[test]
fn tensors_of_an_archive_are_read_after_its_file_is_gone() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "a.pth", &pth_bytes(&"x".repeat(21), &network(""), None));
    let weights = open(&path).unwrap();
    #[cfg(unix)]
    std::fs::remove_file(&path).unwrap();
    assert_network(weights);
}

#[test]
fn an_archive_cut_short_or_changed_is_refused_and_never_panics() {
    let folder = TempDir::new().unwrap();
    for stem in ["short", "of_twenty_one_letters"] {
        let whole = pth_bytes(stem, &network(""), None);
        for length in (0..whole.len()).step_by(37).chain([whole.len() - 1]) {
            let result =
                open(&write(&folder, "cut.pth", &whole[..length])).and_then(|weights| weights.load(build));
            assert!(result.is_err(), "{stem}: {length} of {}", whole.len());
        }
        for index in (0..whole.len()).step_by(11) {
            let mut changed = whole.clone();
            changed[index] ^= 0xff;
            let result =
                open(&write(&folder, "changed.pth", &changed)).and_then(|weights| weights.load(build));
            if let Err(error) = result {
                assert!(!error.to_string().contains("its decoder failed"), "{stem}: {index}: {error}");
            }
        }
    }
}

#[test]
fn counters_are_passed_over_and_other_integers_are_listed() {
    let folder = TempDir::new().unwrap();
    let mut tensors = network("");
    tensors.push(integers("text.position_ids", &[1, 2], &[0, 1]));
    tensors.push(floats("conv.total_ops", &[1], &[9.0]));
    for (name, bytes) in
        [("a.safetensors", safetensors_bytes(&tensors)), ("a.pth", pth_bytes("a", &tensors, None))]
    {
        let weights = open(&write(&folder, name, &bytes)).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["bn.bias", "conv.weight"]);
        assert_network(weights);
    }
    tensors.push(integers("keep.order", &[2], &[1, 0]));
    for (name, bytes) in
        [("b.safetensors", safetensors_bytes(&tensors)), ("b.pth", pth_bytes("b", &tensors, None))]
    {
        let path = write(&folder, name, &bytes);
        match open(&path).unwrap().load(build) {
            Err(Error::Weights { unused, missing, .. }) => {
                assert_eq!(unused, ["keep.order"]);
                assert!(missing.is_empty());
            }
            other => panic!("{other:?}"),
        }
        let asked = open(&path).unwrap().load(|parameters| {
            parameters.tensor("keep.order", [2])?;
            build(parameters)
        });
        let text = asked.unwrap_err().to_string();
        assert!(
            text.ends_with("keep.order has elements of type I64; weights are floats of 16, 32 or 64 bits"),
            "{text}"
        );
        // A counter that is asked for is no weight either.
        let asked =
            open(&path).unwrap().load(|parameters| parameters.tensor("bn.num_batches_tracked", [0; 0]));
        assert!(matches!(asked, Err(Error::Format { .. })));
    }
}

#[test]
fn every_element_type_may_stand_in_a_file_and_names_itself_when_it_is_asked_for() {
    let folder = TempDir::new().unwrap();
    for (dtype, size, said) in [
        (Dtype::BOOL, 1, "BOOL"),
        (Dtype::U8, 1, "U8"),
        (Dtype::I16, 2, "I16"),
        (Dtype::U32, 4, "U32"),
        (Dtype::C64, 8, "C64, complex numbers"),
        (Dtype::F8_E4M3, 1, "F8_E4M3, 8-bit floats"),
        (Dtype::F8_E5M2, 1, "F8_E5M2, 8-bit floats"),
        (Dtype::F8_E8M0, 1, "F8_E8M0, 8-bit floats"),
    ] {
        let mut tensors = network("");
        tensors.push(Stored { name: "odd".to_owned(), dtype, shape: vec![3], bytes: vec![0; 3 * size] });
        let path = write(&folder, "odd.safetensors", &safetensors_bytes(&tensors));
        assert!(
            matches!(open(&path).unwrap().load(build), Err(Error::Weights { unused, .. }) if unused == ["odd"])
        );
        let text =
            open(&path).unwrap().load(|parameters| parameters.tensor("odd", [3])).unwrap_err().to_string();
        assert!(text.contains(&format!("odd has elements of type {said}")), "{text}");
    }
    let odd = Stored { name: "odd".to_owned(), dtype: Dtype::F8_E4M3, shape: vec![3], bytes: vec![0; 3] };
    let text = open(&write(&folder, "odd.pth", &pth_bytes("odd", &[odd], None))).unwrap_err().to_string();
    assert!(text.contains("elements of type Float8_e4m3fnStorage, 8-bit floats"), "{text}");
}

#[test]
fn what_wraps_the_names_is_dropped_and_reported_in_either_format() {
    let folder = TempDir::new().unwrap();
    for prefix in [
        "_orig_mod.",
        "_orig_mod.module.",
        "module.",
        "module.model.",
        "net.",
        "model.",
        "params.",
        "weights.",
        "ema.",
        "model_ema.module.",
        "my_detector.",
        "state_dict.net.",
    ] {
        let tensors = network(prefix);
        for (name, bytes) in
            [("a.safetensors", safetensors_bytes(&tensors)), ("a.pth", pth_bytes("a", &tensors, None))]
        {
            let path = write(&folder, name, &bytes);
            let weights = open(&path).unwrap();
            assert_eq!(weights.dropped_prefix(), Some(prefix), "{name}");
            assert_eq!(weights.shape("conv.weight"), Some(&[2, 3][..]));
            assert_network(weights);
            // By the names of the file, too.
            let whole = open(&path).unwrap().load(|parameters| {
                let kernel = parameters.tensor(&format!("{prefix}conv.weight"), [2, 3])?;
                Ok((kernel, parameters.tensor(&format!("{prefix}bn.bias"), [2])?))
            });
            assert_eq!(host::values(whole.unwrap().0), KERNEL, "{prefix}");
            let drawn = open(&path).unwrap().with_random_layers(&["bn"], 0).unwrap();
            assert_eq!(host::values(drawn.load(build).unwrap().1), [0.0, 0.0]);
        }
    }
    let plain = open(&write(&folder, "b.pth", &pth_bytes("b", &network(""), None))).unwrap();
    assert_eq!(plain.dropped_prefix(), None);
}

#[test]
fn the_network_is_found_under_the_key_of_a_checkpoint() {
    let folder = TempDir::new().unwrap();
    for (key, inner) in [
        ("state_dict", "model."),
        ("model", ""),
        ("net", "module."),
        ("params", ""),
        ("weights", ""),
        ("model_state_dict", ""),
    ] {
        let bytes = pth_bytes("a", &network(inner), Some(key));
        let weights = open(&write(&folder, "a.pth", &bytes)).unwrap();
        assert_eq!(weights.dropped_prefix(), Some(format!("{key}.{inner}").as_str()));
        assert_network(weights);
        // The state of an optimizer and the mean over the training beside it.
        let mut tensors = network(&format!("{key}.{inner}"));
        tensors.push(floats("optimizer.state.0.exp_avg", &[1], &[3.0]));
        tensors.push(floats("model_ema.conv.weight", &[2, 3], &[9.0; 6]));
        for (name, bytes) in
            [("b.safetensors", safetensors_bytes(&tensors)), ("b.pth", pth_bytes("b", &tensors, None))]
        {
            assert_network(open(&write(&folder, name, &bytes)).unwrap());
        }
    }
    // What stands beside a network's own layers is listed by its name in the file.
    let mut tensors = network("model.");
    tensors.push(floats("head.weight", &[1], &[3.0]));
    let weights = open(&write(&folder, "c.pth", &pth_bytes("c", &tensors, None))).unwrap();
    assert_eq!(weights.dropped_prefix(), None);
    match weights.load(build) {
        Err(Error::Weights { unused, missing, .. }) => {
            assert_eq!(unused, ["head.weight", "model.bn.bias", "model.conv.weight"]);
            assert_eq!(missing, ["conv.weight", "bn.bias"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_network_in_several_files_loads_by_its_index() {
    let folder = TempDir::new().unwrap();
    for end in ["safetensors", "bin"] {
        let tensors = network("model.");
        let [first, second] = [1, 2].map(|number| format!("model-0000{number}-of-00002.{end}"));
        for (name, part) in [(&first, &tensors[..1]), (&second, &tensors[1..])] {
            let bytes = if end == "bin" { pth_bytes("archive", part, None) } else { safetensors_bytes(part) };
            write(&folder, name, &bytes);
        }
        let index = |first: &str| {
            serde_json::json!({"metadata": {"total_size": 40}, "weight_map": {
                "model.conv.weight": first, "model.bn.bias": second, "model.bn.num_batches_tracked": second,
            }})
            .to_string()
        };
        let name = format!("model.{end}.index.json");
        let weights = open(&write(&folder, &name, index(&first).as_bytes())).unwrap();
        assert_eq!(weights.dropped_prefix(), Some("model."));
        assert_network(weights);

        // A tensor that isn't where the index says, and a file that isn't there.
        let error = open(&write(&folder, &name, index(&second).as_bytes())).unwrap_err();
        assert!(error.to_string().ends_with(&format!("model.conv.weight is not in {second}")), "{error}");
        let error = open(&write(&folder, &name, index("missing.bin").as_bytes())).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("missing.bin")), "{error}");
        // Nothing outside the folder is read, though it is there.
        let inner = folder.path().join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let whole = folder.path().join(&first);
        for outside in [format!("../{first}"), whole.display().to_string()] {
            std::fs::write(inner.join(&name), index(&outside)).unwrap();
            let error = open(&inner.join(&name)).unwrap_err().to_string();
            assert!(error.contains("is not one beside the index"), "{error}");
        }
        let error = open(&write(&folder, &name, index(&name).as_bytes())).unwrap_err().to_string();
        assert!(error.ends_with("it is an index itself"), "{error}");
    }
}

#[test]
fn archives_that_are_no_checkpoints_are_named_as_what_they_are() {
    let folder = TempDir::new().unwrap();
    let entry = |name: &str| (name.to_owned(), b"x".to_vec());
    for (entries, what) in [
        (
            vec![entry("net/data.pkl"), entry("net/code/__torch__.py"), entry("net/constants.pkl")],
            "TorchScript",
        ),
        (vec![entry("net/data.pkl"), entry("net/constants.pkl")], "TorchScript"),
        (vec![entry("metadata.json"), entry("model.weights.h5")], "Keras"),
        (vec![entry("archive/archive_format"), entry("archive/models/model.json")], "torch.export"),
        (vec![entry("arr_0.npy")], ".npz"),
        (vec![entry("p/.data/extern_modules"), entry("p/data.pkl")], "torch.package"),
        (vec![entry("letter.txt")], "no data.pkl"),
    ] {
        let error = open(&write(&folder, "archive.pt", &archive(&entries))).unwrap_err();
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(what), "{what}: {error}");
    }
}
