//! What flows between the nodes of a graph: floats on the device, everything else on the host.

use std::sync::Arc;

use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::{Bool, Device, Int, Shape, Tensor, TensorData};

/// The rank above which a file is refused: no network has it, and a backend may not.
pub(super) const RANK: usize = 8;

/// A value of a graph.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "most values are reals, and few live at a time")]
pub(super) enum Value {
    /// Floats, on the device, differentiable.
    Real(Real),
    /// Integers and booleans, and floats that came of integers; sizes, indices and masks are this small.
    Host(Arc<Array>),
}

/// Floats of any rank on the device.
///
/// A transposition moves nothing: it is kept in `order` until an operation needs the axes in their order. So the
/// transpositions by which channels-last files surround their convolutions cancel by themselves.
#[derive(Clone)]
pub(super) struct Real {
    /// Axis `i` of the value is axis `order[i]` of this; a scalar is one number of rank 1.
    stored: DispatchTensor,
    shape: Vec<usize>,
    order: Option<Vec<usize>>,
    /// The same numbers, of small constants.
    host: Option<Arc<Vec<f32>>>,
}

/// Numbers on the host, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Float(Vec<f32>),
}

/// The number of elements of a shape, if it can be counted.
pub(super) fn count(shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
        .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))
}

/// `[1]` for a scalar: a backend's tensors have an axis.
fn stored_shape(shape: &[usize]) -> Shape {
    if shape.is_empty() { Shape::from(vec![1]) } else { Shape::from(shape.to_vec()) }
}

impl Array {
    pub(super) fn ints(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Self {
        Self { shape: shape.into(), data: Data::Int(values) }
    }

    pub(super) fn bools(shape: impl Into<Vec<usize>>, values: Vec<bool>) -> Self {
        Self { shape: shape.into(), data: Data::Bool(values) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Int(values) => values.len(),
            Data::Bool(values) => values.len(),
            Data::Float(values) => values.len(),
        }
    }

    pub(super) fn to_ints(&self) -> Vec<i64> {
        match &self.data {
            Data::Int(values) => values.clone(),
            Data::Bool(values) => values.iter().map(|value| i64::from(*value)).collect(),
            Data::Float(values) => values.iter().map(|value| *value as i64).collect(),
        }
    }

    pub(super) fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Int(values) => values.iter().map(|value| *value as f32).collect(),
            Data::Bool(values) => values.iter().map(|value| f32::from(u8::from(*value))).collect(),
            Data::Float(values) => values.clone(),
        }
    }

    pub(super) fn to_bools(&self) -> Vec<bool> {
        match &self.data {
            Data::Int(values) => values.iter().map(|value| *value != 0).collect(),
            Data::Bool(values) => values.clone(),
            Data::Float(values) => values.iter().map(|value| *value != 0.0).collect(),
        }
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Host(Arc::new(array))
    }
}

impl From<Real> for Value {
    fn from(real: Real) -> Self {
        Self::Real(real)
    }
}

impl Value {
    pub(super) fn ints(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Self {
        Array::ints(shape, values).into()
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Real(real) => &real.shape,
            Self::Host(array) => &array.shape,
        }
    }

    pub(super) fn is_float(&self) -> bool {
        match self {
            Self::Real(_) => true,
            Self::Host(array) => matches!(array.data, Data::Float(_)),
        }
    }

    /// The value as floats on the device.
    pub(super) fn real(&self, device: &Device) -> Result<Real, String> {
        match self {
            Self::Real(real) => Ok(real.clone()),
            Self::Host(array) => Real::from_host(array.shape.clone(), array.to_floats(), device),
        }
    }

    /// The value on the host; waits for the device if it is there.
    pub(super) fn host(&self) -> Arc<Array> {
        match self {
            Self::Real(real) => {
                Arc::new(Array { shape: real.shape.clone(), data: Data::Float(real.to_floats()) })
            }
            Self::Host(array) => array.clone(),
        }
    }
}

impl Real {
    /// Floats from the host.
    pub(super) fn from_host(shape: Vec<usize>, values: Vec<f32>, device: &Device) -> Result<Self, String> {
        if values.is_empty() || shape.len() > RANK {
            return Err(format!("a tensor of shape {shape:?} can't be computed with"));
        }
        let kept = (values.len() <= 1024).then(|| Arc::new(values.clone()));
        let length = values.len();
        let tensor = Tensor::<1>::from_data(TensorData::new(values, [length]), device).into_dispatch();
        let stored = Dispatch::float_reshape(tensor, stored_shape(&shape));
        Ok(Self { stored, shape, order: None, host: kept })
    }

    pub(super) fn new(stored: DispatchTensor, shape: Vec<usize>) -> Self {
        Self { stored, shape, order: None, host: None }
    }

    pub(super) fn from_tensor<const D: usize>(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        Self::new(tensor.into_dispatch(), shape)
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(super) fn order(&self) -> Option<&[usize]> {
        self.order.as_deref()
    }

    /// The tensor with its axes in their order; a scalar has rank 1.
    pub(super) fn tensor(&self) -> DispatchTensor {
        match &self.order {
            Some(order) => Dispatch::float_permute(self.stored.clone(), order),
            None => self.stored.clone(),
        }
    }

    /// The tensor at a fixed rank, which must be that of the value.
    pub(super) fn ranked<const D: usize>(&self) -> Tensor<D> {
        Tensor::from_dispatch(self.tensor())
    }

    /// The tensor with axes of size 1 before its own.
    pub(super) fn at_rank(&self, rank: usize) -> DispatchTensor {
        let mut shape = vec![1; rank.saturating_sub(self.rank())];
        shape.extend(&self.shape);
        if shape.len() == self.rank() && !self.shape.is_empty() {
            return self.tensor();
        }
        Dispatch::float_reshape(self.tensor(), stored_shape(&shape))
    }

    /// An operation on every number apart.
    pub(super) fn map(&self, operation: impl FnOnce(DispatchTensor) -> DispatchTensor) -> Self {
        Self {
            stored: operation(self.stored.clone()),
            shape: self.shape.clone(),
            order: self.order.clone(),
            host: None,
        }
    }

    /// An operation on the pairs of numbers that broadcasting makes.
    pub(super) fn zip(
        &self,
        other: &Self,
        operation: impl FnOnce(DispatchTensor, DispatchTensor) -> DispatchTensor,
    ) -> Result<Self, String> {
        let shape = broadcast(&self.shape, &other.shape)?;
        let whole = |real: &Self| real.rank() == shape.len() && real.order.is_some();
        let order = if whole(self) {
            self.order.clone()
        } else if whole(other) {
            other.order.clone()
        } else {
            None
        };
        let stored = |real: &Self| match &order {
            Some(order) if real.order.as_ref() == Some(order) && real.rank() == shape.len() => {
                real.stored.clone()
            }
            Some(order) => Dispatch::float_permute(real.at_rank(shape.len()), &inverse(order)),
            None => real.at_rank(shape.len()),
        };
        let stored = operation(stored(self), stored(other));
        Ok(Self { stored, shape, order, host: None })
    }

    /// The same value with its axes exchanged: axis `i` of the result is axis `axes[i]` of this.
    pub(super) fn transpose(&self, axes: &[usize]) -> Self {
        let shape = axes.iter().map(|axis| self.shape[*axis]).collect();
        let order: Vec<usize> = match &self.order {
            Some(order) => axes.iter().map(|axis| order[*axis]).collect(),
            None => axes.to_vec(),
        };
        let order = order.iter().enumerate().any(|(axis, from)| axis != *from).then_some(order);
        Self { stored: self.stored.clone(), shape, order, host: None }
    }

    /// The same value, kept with its axes in the order of another, if it has as many.
    pub(super) fn kept_like(self, order: Option<&[usize]>) -> Self {
        match (order, &self.order) {
            (Some(order), None) if order.len() == self.rank() => Self {
                stored: Dispatch::float_permute(self.stored, &inverse(order)),
                shape: self.shape,
                order: Some(order.to_vec()),
                host: None,
            },
            _ => self,
        }
    }

    /// The same value without the memory of a transposition, for one whose axes stand as they are stored.
    pub(super) fn stored(&self) -> DispatchTensor {
        self.stored.clone()
    }

    /// The same value with other numbers in its place, of another batch perhaps.
    pub(super) fn with_stored(&self, stored: DispatchTensor, shape: Vec<usize>) -> Self {
        Self { stored, shape, order: self.order.clone(), host: None }
    }

    pub(super) fn reshape(&self, shape: &[usize]) -> Result<Self, String> {
        if shape.len() > RANK {
            return Err(format!("rank {} is above {RANK}", shape.len()));
        }
        if count(shape)? != count(&self.shape)? {
            return Err(format!("{:?} can't be reshaped to {shape:?}", self.shape));
        }
        let mut reshaped =
            Self::new(Dispatch::float_reshape(self.tensor(), stored_shape(shape)), shape.to_vec());
        reshaped.host = self.host.clone();
        Ok(reshaped)
    }

    /// The same numbers under another shape, which holds as many.
    pub(super) fn reshaped_as(self, shape: &[usize]) -> Result<Self, String> {
        Ok(Self::new(Dispatch::float_reshape(self.tensor(), stored_shape(shape)), shape.to_vec()))
    }

    pub(super) fn expand(&self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self.clone();
        }
        let tensor = Dispatch::float_expand(self.at_rank(shape.len()), stored_shape(shape));
        Self::new(tensor, shape.to_vec())
    }

    pub(super) fn to_floats(&self) -> Vec<f32> {
        if let Some(host) = &self.host {
            return host.to_vec();
        }
        let length = self.shape.iter().product::<usize>();
        let row = Dispatch::float_reshape(self.tensor(), Shape::from(vec![length]));
        crate::host::values(Tensor::<1>::from_dispatch(row))
    }
}

/// The order that undoes one.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (axis, from) in order.iter().enumerate() {
        inverse[*from] = axis;
    }
    inverse
}

/// The shape that two shapes broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, size) | (size, 1) => Ok(size),
            _ => Err(format!("shapes {a:?} and {b:?} don't go together")),
        })
        .collect()
}

/// For each place of `shape`, row by row, the index in an array of shape `from` that broadcasts to it.
pub(super) fn broadcast_indices(from: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for axis in (0..from.len()).rev() {
        let place = axis + shape.len() - from.len();
        if from[axis] > 1 {
            strides[place] = stride;
        }
        stride *= from[axis];
    }
    strided_indices(shape, &strides)
}

/// For each place of `shape`, row by row, the sum of its coordinates times `strides`.
pub(super) fn strided_indices(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut indices = vec![0];
    for (size, stride) in shape.iter().zip(strides) {
        indices = indices.iter().flat_map(|index| (0..*size).map(move |k| index + k * stride)).collect();
    }
    indices
}

/// Row-major strides.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Indices on the device.
pub(super) fn indices(
    shape: &[usize],
    values: impl IntoIterator<Item = usize>,
    device: &Device,
) -> DispatchTensor {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let length = values.len();
    let row = Tensor::<1, Int>::from_data(TensorData::new(values, [length]), device).into_dispatch();
    Dispatch::int_reshape(row, stored_shape(shape))
}

/// A mask on the device.
pub(super) fn mask(shape: &[usize], values: Vec<bool>, device: &Device) -> DispatchTensor {
    let length = values.len();
    let row = Tensor::<1, Bool>::from_data(TensorData::new(values, [length]), device).into_dispatch();
    Dispatch::bool_reshape(row, stored_shape(shape))
}
