//! Arrays in NumPy's format, within limits: a file may claim any size.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use ndarray_npy::npy::header::{Header, ParseHeaderError, ReadHeaderError};
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement, WriteNpyError, WriteNpyExt};
use vis::{Error, Result};

/// Longer headers than this are those of arrays with named fields, which are no images.
const LONGEST_HEADER: usize = 1 << 16;
/// 2 GB of `f32`: more than any image that a network takes.
const MOST_VALUES: usize = 1 << 29;

/// Writes an array as little-endian `f32` in row-major order, whole or not at all.
pub(crate) fn write(path: &Path, array: ArrayViewD<f32>) -> Result<()> {
    vis::picture::write_atomically(path, |writer| {
        array.as_standard_layout().write_npy(writer).map_err(|error| match error {
            WriteNpyError::Io(error) => error,
            other => std::io::Error::other(other),
        })
    })
}

/// Reads an array of floats or bytes as `f32`, all of them finite.
pub(crate) fn read(path: &Path) -> Result<ArrayD<f32>> {
    let mut reader = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
    let malformed =
        |reason: String| Error::Format { path: path.to_owned(), kind: "NumPy array (.npy)", reason };
    let header = read_header(&mut reader).map_err(Error::io("read", path))?.map_err(malformed)?;
    let kind = header.type_descriptor.to_string();
    let size = match kind.as_str() {
        "'<f4'" => 4,
        "'<f8'" => 8,
        "'|u1'" => 1,
        _ => {
            let kind: String = kind.chars().take(12).collect();
            return Err(malformed(format!(
                "its elements are of type {kind}; expected '<f4', '<f8' or '|u1'"
            )));
        }
    };
    let shape = header.shape.clone();
    let count = shape.iter().try_fold(1, |count: usize, extent| count.checked_mul(*extent));
    let count = count
        .filter(|count| *count <= MOST_VALUES)
        .ok_or_else(|| malformed(format!("its shape {shape:?} is too large")))?;

    let mut bytes = header.to_bytes().map_err(|error| malformed(error.to_string()))?;
    let (start, wanted) = (bytes.len(), count * size);
    // One byte more than there should be, to notice if there are more.
    reader.take(wanted as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let length = bytes.len() - start;
    if length != wanted {
        let what = if length < wanted { "ends before" } else { "goes on after" };
        return Err(malformed(format!("it {what} the {wanted} bytes of its shape {shape:?}")));
    }
    let array = match size {
        4 => array(&bytes, |value: f32| value),
        8 => array(&bytes, |value: f64| value as f32),
        _ => array(&bytes, |value: u8| f32::from(value)),
    }
    .map_err(|error| malformed(error.to_string()))?;
    match array.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(malformed(format!("it holds the value {value}"))),
        None => Ok(array),
    }
}

fn array<T: ReadableElement + Copy>(bytes: &[u8], widen: fn(T) -> f32) -> Result<ArrayD<f32>, ReadNpyError> {
    Ok(ArrayD::<T>::read_npy(bytes)?.mapv(widen))
}

/// The header, or what is wrong with what stands in its place.
fn read_header(reader: &mut impl Read) -> std::io::Result<Result<Header, String>> {
    const SHORT: &str = "it ends within its header";
    // Magic, version, and the length of the header in two or four bytes.
    let mut start = Vec::new();
    reader.take(12).read_to_end(&mut start)?;
    if start.len() >= 6 && !start.starts_with(b"\x93NUMPY") {
        return Ok(Err("its first bytes are those of another format".to_owned()));
    }
    let length = match start[..] {
        [_, _, _, _, _, _, 1, _, low, high, ..] => usize::from(u16::from_le_bytes([low, high])),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d] => 4 + u32::from_le_bytes([a, b, c, d]) as usize,
        [_, _, _, _, _, _, version, _, _, _, ..] if !matches!(version, 1..=3) => {
            return Ok(Err(format!("version {version} of the format is not known")));
        }
        _ => return Ok(Err(SHORT.to_owned())),
    };
    // Ten bytes stand before what is counted here, and twelve have been read.
    if length > LONGEST_HEADER {
        return Ok(Err(format!("its header of {length} bytes is too long")));
    }
    let whole = 10 + length;
    let mut rest = Vec::new();
    reader.take(whole.saturating_sub(start.len()) as u64).read_to_end(&mut rest)?;
    start.append(&mut rest);
    if start.len() < whole {
        return Ok(Err(SHORT.to_owned()));
    }
    Ok(Header::from_reader(&mut Cursor::new(start)).map_err(|error| match error {
        ReadHeaderError::Parse(ParseHeaderError::IllegalValue { key, value }) if key == "shape" => {
            format!("its shape {value} is malformed")
        }
        other => format!("its header is malformed: {other}"),
    }))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, IxDyn, ShapeBuilder};

    use super::*;

    #[test]
    fn arrays_of_either_order_and_every_type_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values = |index: usize| index as f32 * 0.5 - 3.0;
        for shape in [&[][..], &[5], &[2, 3], &[2, 0, 4], &[2, 3, 5, 7]] {
            let count = shape.iter().product();
            let rows: ArrayD<f32> =
                Array::from_shape_vec(IxDyn(shape), (0..count).map(values).collect()).unwrap();
            write(&path, rows.view()).unwrap();
            assert_eq!(read(&path).unwrap(), rows);
            let mut columns = ArrayD::<f32>::zeros(IxDyn(shape).f());
            columns.assign(&rows);
            // As NumPy writes it, and as we do.
            ndarray_npy::write_npy(&path, &columns).unwrap();
            assert_eq!(read(&path).unwrap(), rows);
            write(&path, columns.view()).unwrap();
            assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("True"));
            assert_eq!(read(&path).unwrap(), rows);
            ndarray_npy::write_npy(&path, &rows.mapv(f64::from)).unwrap();
            assert_eq!(read(&path).unwrap(), rows);
        }
        ndarray_npy::write_npy(&path, &ndarray::array![[0_u8, 200, 255]]).unwrap();
        assert_eq!(read(&path).unwrap(), ndarray::array![[0.0, 200.0, 255.0]].into_dyn());
    }

    #[test]
    fn no_size_that_a_header_claims_is_allocated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for bytes in [
            b"\x93NUMPY\x02\0\xff\xff\xff\xff{".as_slice(),
            b"\x93NUMPY\x03\0\xff\xff\xff\x7f{",
            b"\x93NUMPY\x01\0\xff\xff{",
            b"\x93NUMPY\x02\0\x01",
            b"\x93NUM",
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(read(&path), Err(Error::Format { .. })));
        }
    }
}
