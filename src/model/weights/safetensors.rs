//! Reads `.safetensors`: the header when it is opened, each tensor when it is asked for.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ::safetensors::{Dtype, tensor::TensorInfo};
use serde_json::{Map, Value};

use super::malformed;
use super::stored::{Data, Element, Stored};
use crate::{Error, Result};

/// The longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

pub(super) fn read(path: &Path) -> Result<Vec<Stored>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(Error::io("read", path))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER.min(size.saturating_sub(8)) {
        return Err(malformed(path, format!("its header would be {length} bytes long")));
    }
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).map_err(Error::io("read", path))?;
    let start = 8 + header.len() as u64;
    let tensors = parse(&header, size.saturating_sub(start)).map_err(|reason| malformed(path, reason))?;
    let file = Arc::new(Mutex::new(file));
    let data = |range: Range<u64>| Data::Bytes { file: file.clone(), range };
    Ok(stored(tensors, start, data))
}

/// The tensors of a file that is in memory for good.
pub(super) fn lent(bytes: &'static [u8], path: &Path) -> Result<Vec<Stored>> {
    let (length, rest) =
        bytes.split_first_chunk().ok_or_else(|| malformed(path, "it is shorter than its header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (header, values) = rest
        .split_at_checked(length)
        .ok_or_else(|| malformed(path, format!("its header would be {length} bytes long")))?;
    let tensors = parse(header, values.len() as u64).map_err(|reason| malformed(path, reason))?;
    let data = |range: Range<u64>| Data::Lent(&values[range.start as usize..range.end as usize]);
    Ok(stored(tensors, 0, data))
}

/// Tensors that begin at `start`, with what `data` has of them.
fn stored(tensors: Vec<(String, Tensor)>, start: u64, data: impl Fn(Range<u64>) -> Data) -> Vec<Stored> {
    let stored = |(name, tensor): (String, Tensor)| Stored {
        name,
        shape: tensor.shape,
        element: tensor.element,
        data: data(start + tensor.offsets.0..start + tensor.offsets.1),
    };
    tensors.into_iter().map(stored).collect()
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    element: Element,
    offsets: (u64, u64),
}

/// The tensors of a header, which lie one after the other in `size` bytes.
fn parse(header: &[u8], size: u64) -> Result<Vec<(String, Tensor)>, String> {
    let header: Map<String, Value> =
        serde_json::from_slice(header).map_err(|error| format!("its header is malformed: {error}"))?;
    let mut tensors = Vec::new();
    for (name, value) in header {
        if name != "__metadata__" {
            let tensor = Tensor::parse(value).map_err(|reason| format!("{name} {reason}"))?;
            tensors.push((name, tensor));
        }
    }
    tensors.sort_by_key(|(_, tensor)| tensor.offsets);
    let mut end = 0;
    for (name, tensor) in &tensors {
        if tensor.offsets.0 != end {
            return Err(format!("{name} does not begin where the tensor before it ends"));
        }
        end = tensor.offsets.1;
    }
    if end != size {
        let what = if end > size { "ends before" } else { "goes on after" };
        return Err(format!("the file {what} the {end} bytes of its tensors"));
    }
    Ok(tensors)
}

impl Tensor {
    fn parse(mut value: Value) -> Result<Self, String> {
        // A type that is not known leaves the rest of the tensor to be read as one of bytes.
        let kind = value.get("dtype").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = serde_json::from_value::<Dtype>(Value::from(kind.as_str())).ok();
        if known.is_none() && !kind.is_empty() {
            value["dtype"] = Value::from("U8");
        }
        let info: TensorInfo =
            serde_json::from_value(value).map_err(|error| format!("is described wrongly: {error}"))?;
        let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let length = to.checked_sub(from).ok_or("ends before it begins")?;
        if let Some(known) = known {
            let bits = info.shape.iter().try_fold(known.bitsize(), |bits, extent| bits.checked_mul(*extent));
            if bits.is_none_or(|bits| bits % 8 != 0 || (bits / 8) as u64 != length) {
                return Err(format!("of shape {:?} takes another number of bytes than {length}", info.shape));
            }
        }
        let element = match known {
            Some(Dtype::F16) => Element::F16,
            Some(Dtype::BF16) => Element::Bf16,
            Some(Dtype::F32) => Element::F32,
            Some(Dtype::F64) => Element::F64,
            _ => Element::Other(kind),
        };
        Ok(Self { shape: info.shape, element, offsets: (from, to) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_not_known_is_kept_by_its_name() {
        let header = br#"{"a":{"dtype":"F3_E1M1","shape":[7],"data_offsets":[0,3]},
            "b":{"dtype":"F32","shape":[2],"data_offsets":[3,11]},"__metadata__":{"format":"pt"}}"#;
        let tensors = parse(header, 11).unwrap();
        assert_eq!(tensors[0].1.element, Element::Other("F3_E1M1".to_owned()));
        assert_eq!(tensors[1].1.element, Element::F32);
        assert_eq!(tensors.len(), 2);
    }

    #[test]
    fn tensors_lie_one_after_the_other_and_fill_the_file() {
        let header = |from: u64, to: u64, shape: &str| {
            let b = format!(r#""b":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#);
            format!(r#"{{"a":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}},{b}}}"#)
        };
        assert!(parse(header(4, 12, "[2]").as_bytes(), 12).is_ok());
        for (from, to, shape, size, reason) in [
            (4, 12, "[2]", 11, "the file ends before the 12 bytes"),
            (4, 12, "[2]", 13, "the file goes on after the 12 bytes"),
            (5, 13, "[2]", 13, "b does not begin"),
            (2, 10, "[2]", 10, "b does not begin"),
            (4, 2, "[2]", 4, "b ends before it begins"),
            (4, 12, "[3]", 12, "b of shape [3] takes another number"),
            (4, 12, "[4611686018427387904,4]", 12, "takes another number"),
            (4, 12, "[-1]", 12, "b is described wrongly"),
        ] {
            let error = parse(header(from, to, shape).as_bytes(), size).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(parse(b"[]", 0).is_err() && parse(br#"{"a":3}"#, 0).is_err());
    }
}
