//! Reads the arrays that NumPy wrote.

use std::path::Path;

use ndarray::ArrayD;

/// An array of `f32`.
pub(crate) fn read(path: &Path) -> ArrayD<f32> {
    ndarray_npy::read_npy(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
