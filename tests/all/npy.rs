//! Reads the arrays that NumPy wrote.
//!
//! The crates that do it need a C compiler to build, for a header that is one Python dictionary.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};

/// An array of little-endian `f32` in row-major order.
pub(crate) fn read(path: &Path) -> ArrayD<f32> {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{} is no .npy file of version 1", path.display());
    let header_length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, data) = bytes[10..].split_at(header_length);
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    let extents = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = extents.split(',').filter_map(|extent| extent.trim().parse().ok()).collect();
    let values = data.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap()
}
