//! A tensor in a file, not yet read.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;

use crate::contained::contained;

/// A tensor in a file. Nothing of it is read before it is asked for, whatever it holds.
pub(super) struct Stored {
    /// The name as the file has it, with what [`Names`](super::names::Names) drops.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    pub(super) data: Data,
}

pub(super) enum Data {
    /// Where it lies in a file.
    Bytes {
        file: Arc<Mutex<File>>,
        range: Range<u64>,
    },
    /// Its bytes, which are in memory for good.
    Lent(&'static [u8]),
    Pytorch(pytorch_reader::Tensor),
}

/// The type of the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    /// Those that are no weights, by the name that the file gives them.
    Other(String),
}

impl Stored {
    /// The values in row-major order.
    pub(super) fn read(&self) -> Result<Vec<f32>, String> {
        let name = &self.name;
        if let Element::Other(element) = &self.element {
            return Err(format!("{name} has elements of type {element}{}", advice(element)));
        }
        let bytes: Cow<[u8]> = match &self.data {
            Data::Lent(bytes) => (*bytes).into(),
            Data::Bytes { file, range } => {
                let read = read_range(&mut file.lock().unwrap_or_else(PoisonError::into_inner), range);
                read.map_err(|error| format!("{name} can't be read: {error}"))?.into()
            }
            Data::Pytorch(tensor) => contained(|| tensor.read().map_err(|error| error.to_string()))
                .map_err(|reason| format!("{name} can't be read: {reason}"))?
                .into(),
        };
        let values = self.element.widen(&bytes);
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!("{name} holds the value {value}")),
            None => Ok(values),
        }
    }
}

fn read_range(file: &mut File, range: &Range<u64>) -> std::io::Result<Vec<u8>> {
    // It lay within the file when that was opened, which bounds what is taken here.
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What to do about elements of this type.
pub(super) fn advice(element: &str) -> &'static str {
    match element {
        _ if element.to_ascii_lowercase().starts_with("f8")
            || element.to_ascii_lowercase().starts_with("float8") =>
        {
            ", 8-bit floats, which mean nothing without their scales; save them as 16-bit floats"
        }
        _ if element.starts_with("F4") || element.starts_with("F6") => {
            ", floats of less than 8 bits, which mean nothing without their scales; save them as 16-bit floats"
        }
        "C64" => ", complex numbers",
        _ => "; weights are floats of 16, 32 or 64 bits",
    }
}

impl Element {
    /// Little-endian bytes as `f32`.
    fn widen(&self, bytes: &[u8]) -> Vec<f32> {
        let halves =
            || -> Vec<u16> { bytes.as_chunks().0.iter().map(|&half| u16::from_le_bytes(half)).collect() };
        match self {
            Self::F16 => widen_halves(&halves().reinterpret_into::<half::f16>()),
            Self::Bf16 => widen_halves(&halves().reinterpret_into::<half::bf16>()),
            Self::F32 => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value) as f32).collect(),
            Self::Other(_) => Vec::new(),
        }
    }
}

fn widen_halves<H>(halves: &[H]) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_widens_to_the_same_number() {
        // -1.5 has an exact form in each: sign 1, exponent 0, mantissa 1.1 in binary.
        assert_eq!(Element::F16.widen(&[0x00, 0xbe]), [-1.5]);
        assert_eq!(Element::Bf16.widen(&[0xc0, 0xbf]), [-1.5]);
        assert_eq!(Element::F32.widen(&[0, 0, 0xc0, 0xbf]), [-1.5]);
        assert_eq!(Element::F64.widen(&[0, 0, 0, 0, 0, 0, 0xf8, 0xbf]), [-1.5]);
    }
}
