//! From device tensors to host arrays and back.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array1, Array2, Array4, ArrayView4};

/// A tensor as an `ndarray` array `[batch, channels, height, width]` of `f32`; waits for the device.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let array = vis::host::array4(Tensor::ones([1, 3, 2, 2], &Device::default()));
/// assert_eq!(array.sum(), 12.0);
/// ```
pub fn array4(tensor: Tensor<4>) -> Array4<f32> {
    let shape = tensor.dims();
    Array4::from_shape_vec(shape, values(tensor)).expect("a tensor holds as many values as its shape says")
}

/// A tensor as a matrix of `f32`; waits for the device.
///
/// ```
/// let rows = burn::tensor::Tensor::from_floats([[1.0, 2.0], [3.0, 4.0]], &Default::default());
/// assert_eq!(vis::host::array2(rows), ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
/// ```
pub fn array2(tensor: Tensor<2>) -> Array2<f32> {
    let shape = tensor.dims();
    Array2::from_shape_vec(shape, values(tensor)).expect("a tensor holds as many values as its shape says")
}

/// A tensor as a vector of `f32`; waits for the device.
///
/// ```
/// let row = burn::tensor::Tensor::from_floats([1.0, 2.0], &Default::default());
/// assert_eq!(vis::host::array1(row), ndarray::array![1.0, 2.0]);
/// ```
pub fn array1(tensor: Tensor<1>) -> Array1<f32> {
    Array1::from_vec(values(tensor))
}

/// An array as a tensor on a device.
///
/// ```
/// let tensor = vis::host::tensor4(ndarray::Array4::zeros((1, 3, 2, 2)).view(), &Default::default());
/// assert_eq!(tensor.dims(), [1, 3, 2, 2]);
/// ```
pub fn tensor4(array: ArrayView4<f32>, device: &Device) -> Tensor<4> {
    let (batch, channels, height, width) = array.dim();
    let values: Vec<f32> = array.iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [batch, channels, height, width]), device)
}

/// The values of a tensor in row-major order as `f32`, whatever its element type.
///
/// ```
/// use burn::tensor::{FloatDType, Tensor};
/// let rows = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Default::default());
/// assert_eq!(vis::host::values(rows.clone().cast(FloatDType::F16)), [1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(vis::host::values(rows.transpose()), [1.0, 3.0, 2.0, 4.0]);
/// ```
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().try_to_vec().expect("data was converted to f32")
}
