//! The tensors of a file: in it, or in files beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use burn::tensor::Device;
use half::{bf16, f16};
use rten_onnx::onnx::{DataLocation, DataType, TensorProto};

use super::super::value::{Array, Real, Value, count};
use crate::{Error, Result};

/// Reads a tensor, by its declared type and shape and no more bytes than there are.
pub(super) fn read(
    tensor: &TensorProto,
    folder: Option<&Path>,
    most: u64,
    device: &Device,
) -> Result<Value, String> {
    let shape = tensor
        .dims
        .iter()
        .map(|size| usize::try_from(*size).map_err(|_| format!("its shape {:?} is negative", tensor.dims)))
        .collect::<Result<Vec<_>, _>>()?;
    if shape.len() > super::super::value::RANK {
        return Err(format!("its rank {} is too large", shape.len()));
    }
    let elements = count(&shape)?;
    let kind = tensor.data_type.ok_or("it has no element type")?;
    let width = width(kind).ok_or_else(|| format!("its element type {kind} is not supported"))?;
    let size = match width {
        0 => elements.div_ceil(2),
        width => elements.checked_mul(width).ok_or("it is too large")?,
    };
    let external = tensor.data_location == Some(DataLocation::EXTERNAL);
    let bytes = if external {
        Some(beside(tensor, folder, size as u64, most)?)
    } else {
        match &tensor.raw_data {
            Some(raw) if !raw.borrow().is_empty() || elements == 0 => Some(raw.borrow().clone()),
            _ => None,
        }
    };
    let wrong = |got: usize| format!("it declares {elements} elements of shape {shape:?}, but holds {got}");
    if let Some(bytes) = bytes {
        if bytes.len() != size {
            return Err(format!("it declares {size} bytes for shape {shape:?}, but holds {}", bytes.len()));
        }
        return from_bytes(&bytes, kind, shape, elements, device);
    }
    // Numbers in fields of their own.
    let floats = |values: Vec<f32>| match values.len() == elements {
        true => real(shape.clone(), values, device),
        false => Err(wrong(values.len())),
    };
    let words = || tensor.int32_data.iter();
    match kind {
        DataType::FLOAT => floats(tensor.float_data.clone()),
        DataType::DOUBLE => floats(tensor.double_data.iter().map(|value| *value as f32).collect()),
        DataType::FLOAT16 => floats(words().map(|bits| f16::from_bits(*bits as u16).to_f32()).collect()),
        DataType::BFLOAT16 => floats(words().map(|bits| bf16::from_bits(*bits as u16).to_f32()).collect()),
        DataType::BOOL => {
            let values: Vec<bool> = words().map(|value| *value != 0).collect();
            if values.len() == elements {
                Ok(Array::bools(shape, values).into())
            } else {
                Err(wrong(values.len()))
            }
        }
        DataType::INT64 => {
            integers(shape.clone(), tensor.int64_data.clone()).ok_or_else(|| wrong(tensor.int64_data.len()))
        }
        DataType::INT4 | DataType::UINT4 => {
            let bytes: Vec<u8> = words().map(|value| *value as u8).collect();
            if bytes.len() != size {
                return Err(wrong(bytes.len() * 2));
            }
            from_bytes(&bytes, kind, shape, elements, device)
        }
        _ => {
            let values: Vec<i64> = words().map(|value| i64::from(*value)).collect();
            let got = values.len();
            integers(shape.clone(), values).ok_or_else(|| wrong(got))
        }
    }
}

/// The bytes of an element; 0 for half a byte.
fn width(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::INT4 | DataType::UINT4 => 0,
        DataType::BOOL | DataType::INT8 | DataType::UINT8 => 1,
        DataType::FLOAT16 | DataType::BFLOAT16 | DataType::INT16 | DataType::UINT16 => 2,
        DataType::FLOAT | DataType::INT32 | DataType::UINT32 => 4,
        DataType::DOUBLE | DataType::INT64 | DataType::UINT64 => 8,
        _ => return None,
    })
}

fn real(shape: Vec<usize>, values: Vec<f32>, device: &Device) -> Result<Value, String> {
    if values.is_empty() {
        return Ok(Array { shape, data: super::super::value::Data::Float(values) }.into());
    }
    Real::from_host(shape, values, device).map(Value::from)
}

fn integers(shape: Vec<usize>, values: Vec<i64>) -> Option<Value> {
    (count(&shape) == Ok(values.len())).then(|| Value::ints(shape, values))
}

fn from_bytes(
    bytes: &[u8],
    kind: DataType,
    shape: Vec<usize>,
    elements: usize,
    device: &Device,
) -> Result<Value, String> {
    macro_rules! numbers {
        ($type:ty, $convert:expr) => {
            bytes
                .chunks_exact(size_of::<$type>())
                .filter_map(|chunk| chunk.try_into().ok())
                .map(|chunk| $convert(<$type>::from_le_bytes(chunk)))
                .collect()
        };
    }
    let values: Vec<i64> = match kind {
        DataType::FLOAT => return real(shape, numbers!(f32, |value| value), device),
        DataType::DOUBLE => return real(shape, numbers!(f64, |value| value as f32), device),
        DataType::FLOAT16 => return real(shape, numbers!(u16, |bits| f16::from_bits(bits).to_f32()), device),
        DataType::BFLOAT16 => {
            return real(shape, numbers!(u16, |bits| bf16::from_bits(bits).to_f32()), device);
        }
        DataType::BOOL => {
            return Ok(Array::bools(shape, bytes.iter().map(|byte| *byte != 0).collect()).into());
        }
        DataType::INT8 => numbers!(i8, i64::from),
        DataType::UINT8 => numbers!(u8, i64::from),
        DataType::INT16 => numbers!(i16, i64::from),
        DataType::UINT16 => numbers!(u16, i64::from),
        DataType::INT32 => numbers!(i32, i64::from),
        DataType::UINT32 => numbers!(u32, i64::from),
        DataType::UINT64 => numbers!(u64, |value: u64| i64::try_from(value).unwrap_or(i64::MAX)),
        DataType::INT4 | DataType::UINT4 => {
            let halves = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(elements);
            let signed = kind == DataType::INT4;
            halves
                .map(|half| if signed && half > 7 { i64::from(half) - 16 } else { i64::from(half) })
                .collect()
        }
        _ => numbers!(i64, |value| value),
    };
    integers(shape, values).ok_or_else(|| "it holds another number of elements than declared".into())
}

/// The bytes of a tensor that are in a file beside the model's.
fn beside(tensor: &TensorProto, folder: Option<&Path>, size: u64, most: u64) -> Result<Vec<u8>, String> {
    let entry = |key: &str| {
        tensor
            .external_data
            .iter()
            .find(|entry| entry.key.as_deref() == Some(key))
            .and_then(|entry| entry.value.as_deref())
    };
    let number = |key: &str| {
        entry(key)
            .map(|text| text.parse::<u64>().map_err(|_| format!("its {key} `{text}` is no number")))
            .transpose()
    };
    let location = entry("location").ok_or("it is in another file, which is not named")?;
    let folder = folder.ok_or("it is in another file, and the folder of this one is not known")?;
    let path = inside(folder, location)?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(size));
    if length != size {
        return Err(format!("{length} bytes of `{location}` are named for the {size} of its shape"));
    }
    let trouble = |error: std::io::Error| format!("`{location}` can't be read: {error}");
    let mut file = File::open(&path).map_err(trouble)?;
    let there = file.metadata().map_err(trouble)?.len();
    if size > most || offset.checked_add(size).is_none_or(|end| end > there) {
        return Err(format!("`{location}` has {there} bytes, not the {size} from {offset} on"));
    }
    file.seek(SeekFrom::Start(offset)).map_err(trouble)?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).map_err(trouble)?;
    Ok(bytes)
}

/// A path that stays in a folder, links included.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let outside = || format!("it is in `{location}`, outside the folder of the file");
    let relative = Path::new(location);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let trouble = |error: std::io::Error| format!("`{location}` can't be read: {error}");
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(relative).canonicalize().map_err(trouble)?;
    if path.starts_with(folder.canonicalize().map_err(trouble)?) { Ok(path) } else { Err(outside()) }
}

/// The bytes of a file, if it is not above a limit.
pub(super) fn bytes_of(path: &Path, most: u64) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > most {
        let reason = format!("it has {size} bytes, above the limit of {most}");
        return Err(Error::Format { path: path.to_owned(), kind: "ONNX file", reason });
    }
    std::fs::read(path).map_err(Error::io("read", path))
}
