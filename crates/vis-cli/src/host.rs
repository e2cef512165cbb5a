//! From device tensors to host arrays and back.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, Array4, ArrayView4};

/// A tensor as an `ndarray` array `[batch, channels, height, width]` of `f32`; waits for the device.
pub(crate) fn array4(tensor: Tensor<4>) -> Array4<f32> {
    let shape = tensor.dims();
    Array4::from_shape_vec(shape, values(tensor)).expect("a tensor holds as many values as its shape says")
}

/// A tensor as a matrix of `f32`; waits for the device.
pub(crate) fn array2(tensor: Tensor<2>) -> Array2<f32> {
    let shape = tensor.dims();
    Array2::from_shape_vec(shape, values(tensor)).expect("a tensor holds as many values as its shape says")
}

/// An array as a tensor on a device.
pub(crate) fn tensor4(array: ArrayView4<f32>, device: &Device) -> Tensor<4> {
    let (batch, channels, height, width) = array.dim();
    let values: Vec<f32> = array.iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [batch, channels, height, width]), device)
}

/// The values of a tensor in row-major order as `f32`, whatever its element type.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().try_to_vec().expect("data was converted to f32")
}
