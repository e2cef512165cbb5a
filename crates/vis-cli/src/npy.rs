//! Arrays in NumPy's format.
//!
//! The crates that read and write it need a C compiler to build, for a header that is one Python dictionary.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use vis::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longer headers than this are those of arrays with named fields, which are no images.
const LONGEST_HEADER: usize = 1 << 16;
/// 2 GB of `f32`: more than any image that a network takes.
const MOST_VALUES: usize = 1 << 29;

/// Writes an array as little-endian `f32` in row-major order, whole or not at all.
pub(crate) fn write(path: &Path, array: ArrayViewD<f32>) -> Result<()> {
    let extents: String = array.shape().iter().map(|extent| format!("{extent}, ")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    // Magic, version and the header's length take 10 bytes; the values start at a multiple of 64.
    let unpadded = 10 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    vis::picture::write_atomically(path, |writer| {
        writer.write_all(MAGIC)?;
        writer.write_all(&[1, 0])?;
        writer.write_all(&(header.len() as u16).to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        for value in &array {
            writer.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    })
}

/// Reads an array of floats or bytes as `f32`, all of them finite.
pub(crate) fn read(path: &Path) -> Result<ArrayD<f32>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let malformed =
        |reason: String| Error::Format { path: path.to_owned(), kind: "NumPy array (.npy)", reason };
    let mut reader = BufReader::new(file);
    let header =
        read_header(&mut reader).map_err(|error| in_file(path, error, "it ends within its header"))?;
    let header = header.map_err(malformed)?;
    let Header { element, shape } = Header::parse(&header).map_err(malformed)?;
    let count = shape.iter().try_fold(1, |count: usize, extent| count.checked_mul(*extent));
    let count = count
        .filter(|count| *count <= MOST_VALUES)
        .ok_or_else(|| malformed(format!("its shape {shape:?} is too large")))?;

    let mut bytes = Vec::new();
    // One byte more than there should be, to notice if there are more.
    let wanted = count * element.size();
    let mut rest = reader.take(wanted as u64 + 1);
    rest.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() != wanted {
        let what = if bytes.len() < wanted { "ends before" } else { "goes on after" };
        return Err(malformed(format!("it {what} the {wanted} bytes of its shape {shape:?}")));
    }
    let values = element.widen(&bytes);
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(malformed(format!("it holds the value {value}")));
    }
    ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|error| malformed(error.to_string()))
}

/// The header's text, or what is wrong with what stands in its place.
fn read_header(reader: &mut impl Read) -> std::io::Result<Result<String, String>> {
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    if &start[..6] != MAGIC {
        return Ok(Err("its first bytes are those of another format".into()));
    }
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            u32::from_le_bytes(length) as usize
        }
        version => return Ok(Err(format!("version {version} of the format is not known"))),
    };
    if length > LONGEST_HEADER {
        return Ok(Err(format!("its header of {length} bytes is too long")));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header)?;
    Ok(String::from_utf8(header).map_err(|_| "its header is no text".into()))
}

fn in_file(path: &Path, error: std::io::Error, when_short: &str) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::Format { path: path.to_owned(), kind: "NumPy array (.npy)", reason: when_short.to_owned() }
        }
        _ => Error::io("read", path)(error),
    }
}

struct Header {
    element: Element,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let value = text.split_once(&format!("'{key}':")).map(|(_, value)| value.trim_start());
            value.ok_or_else(|| format!("its header lacks '{key}'"))
        };
        let descr = after("descr")?;
        let element = Element::ALL.into_iter().find(|element| descr.starts_with(element.descr()));
        let element = element.ok_or_else(|| {
            let kind: String = descr.chars().take_while(|letter| *letter != ',').take(12).collect();
            format!("its elements are of type {kind}; expected '<f4', '<f8' or '|u1'")
        })?;
        if !after("fortran_order")?.starts_with("False") {
            return Err("it is in column-major order; save numpy.ascontiguousarray of it".into());
        }
        let extents = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (extents, _) = extents.ok_or("its shape is malformed")?;
        let shape: Result<Vec<usize>, _> =
            extents.split(',').map(str::trim).filter(|extent| !extent.is_empty()).map(str::parse).collect();
        Ok(Self { element, shape: shape.map_err(|_| format!("its shape ({extents}) is malformed"))? })
    }
}

#[derive(Clone, Copy)]
enum Element {
    F32,
    F64,
    U8,
}

impl Element {
    const ALL: [Self; 3] = [Self::F32, Self::F64, Self::U8];

    fn descr(self) -> &'static str {
        match self {
            Self::F32 => "'<f4'",
            Self::F64 => "'<f8'",
            Self::U8 => "'|u1'",
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::U8 => 1,
        }
    }

    fn widen(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value) as f32).collect(),
            Self::U8 => bytes.iter().map(|&value| f32::from(value)).collect(),
        }
    }
}
