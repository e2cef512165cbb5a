//! From device tensors to host arrays and back.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array1, Array2, Array3, Array4, ArrayView3, ArrayView4, Zip, s};

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

/// An image `[channels, height, width]` at another size, on the host, in float and without clipping.
///
/// Each pixel is the mean of those around it under a triangle as wide as a pixel of the coarser of the two images:
/// bilinear interpolation where it grows, and a smooth average where it shrinks, so that fine detail does not
/// turn into false coarse detail. Pixels are squares with their values at their centres.
///
/// ```
/// let ramp = ndarray::array![[[0.0, 1.0]]];
/// assert_eq!(vis::host::resize(ramp.view(), 1, 4), ndarray::array![[[0.0, 0.25, 0.75, 1.0]]]);
/// ```
pub fn resize(image: ArrayView3<f32>, height: usize, width: usize) -> Array3<f32> {
    let (channels, from_height, from_width) = image.dim();
    if (from_height, from_width) == (height, width) {
        return image.to_owned();
    }
    let mut wide = Array3::zeros((channels, from_height, width));
    for (x, taps) in triangles(from_width, width).into_iter().enumerate() {
        let mut column = wide.slice_mut(s![.., .., x]);
        for (from, weight) in taps {
            Zip::from(&mut column)
                .and(image.slice(s![.., .., from]))
                .for_each(|to, &from| *to += weight * from);
        }
    }
    let mut resized = Array3::zeros((channels, height, width));
    for (y, taps) in triangles(from_height, height).into_iter().enumerate() {
        let mut row = resized.slice_mut(s![.., y, ..]);
        for (from, weight) in taps {
            row.scaled_add(weight, &wide.slice(s![.., from, ..]));
        }
    }
    resized
}

/// For each position of the new axis: the old ones under its triangle with their weights, which sum to 1.
fn triangles(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let ratio = from as f32 / to as f32;
    let reach = ratio.max(1.0);
    let triangle = |index: usize| {
        let centre = (index as f32 + 0.5) * ratio - 0.5;
        let (first, last) = ((centre - reach).ceil() as i64, (centre + reach).floor() as i64);
        // Beyond the edge the image goes on as its last pixel.
        let mut taps: Vec<(usize, f32)> = Vec::new();
        for position in first..=last {
            let weight = 1.0 - (position as f32 - centre).abs() / reach;
            let inside = position.clamp(0, from as i64 - 1) as usize;
            match taps.last_mut() {
                Some((same, sum)) if *same == inside => *sum += weight,
                _ => taps.push((inside, weight)),
            }
        }
        let whole: f32 = taps.iter().map(|(_, weight)| weight).sum();
        taps.into_iter().map(|(index, weight)| (index, weight / whole)).collect()
    };
    (0..to).map(triangle).collect()
}
