//! Shapes: reshaping, transposing, repeating, filling.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;

use super::super::value::{
    Array, Data, Real, Value, broadcast, broadcast_indices, count, strided_indices, strides,
};
use super::slice::select;
use super::{Inputs, Outcome, Scope, axes, axis, size};

impl Array {
    /// An array of this shape whose places hold the numbers at these indices.
    pub(super) fn pick(&self, shape: Vec<usize>, indices: &[usize]) -> Self {
        let data = match &self.data {
            Data::Int(values) => Data::Int(indices.iter().map(|index| values[*index]).collect()),
            Data::Bool(values) => Data::Bool(indices.iter().map(|index| values[*index]).collect()),
            Data::Float(values) => Data::Float(indices.iter().map(|index| values[*index]).collect()),
        };
        Self { shape, data }
    }
}

/// A value under another shape.
pub(super) fn reshaped(value: &Value, shape: Vec<usize>) -> Outcome<Value> {
    match value {
        Value::Real(real) => Ok(real.reshape(&shape)?.into()),
        Value::Host(host) if count(&shape)? == host.len() => {
            Ok(Array { shape, data: host.data.clone() }.into())
        }
        Value::Host(host) => Err(format!("{:?} can't be reshaped to {shape:?}", host.shape)),
    }
}

pub(super) fn reshape(inputs: Inputs, allow_zero: bool, batch: usize) -> Outcome<Value> {
    let (value, target) = (inputs.get(0)?, inputs.ints(1)?);
    let from = value.shape();
    if target.len() > super::super::value::RANK {
        return Err(format!("a shape of {} axes is too long", target.len()));
    }
    let mut shape = Vec::with_capacity(target.len());
    for (place, wanted) in target.iter().enumerate() {
        shape.push(match *wanted {
            0 if !allow_zero => *from.get(place).ok_or("a 0 stands where the input has no axis")?,
            -1 => 1,
            wanted => size(wanted)?,
        });
    }
    let elements = count(from)?;
    let mut known = count(&shape)?;
    let free = target.iter().position(|wanted| *wanted == -1);
    // A file that was exported for one image says so in its shapes.
    let one_image = batch > 1 && target.first() == Some(&1) && from.first() == Some(&batch);
    if one_image && elements % from[0] == 0 && (free.is_some() || known * from[0] == elements) {
        shape[0] = from[0];
        known *= from[0];
    }
    match free {
        Some(_) if target.iter().filter(|wanted| **wanted == -1).count() > 1 => {
            return Err(format!("the shape {target:?} has more than one -1"));
        }
        Some(place) if known > 0 && elements % known == 0 => shape[place] = elements / known,
        Some(_) => return Err(format!("{from:?} can't be reshaped to {target:?}")),
        None => {}
    }
    reshaped(value, shape)
}

pub(super) fn flatten(inputs: Inputs, along: i64) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let rank = value.shape().len();
    let at = if along == rank as i64 { rank } else { axis(along, rank)? };
    let (rows, columns) = value.shape().split_at(at);
    reshaped(value, vec![rows.iter().product(), columns.iter().product()])
}

pub(super) fn transpose(inputs: Inputs, order: Option<&[usize]>) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let rank = value.shape().len();
    let order = order.map_or_else(|| (0..rank).rev().collect(), <[usize]>::to_vec);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(format!("{order:?} is no order of {rank} axes"));
    }
    match value {
        Value::Real(real) if rank > 0 => Ok(real.transpose(&order).into()),
        Value::Real(_) => Ok(value.clone()),
        Value::Host(host) => {
            let from = strides(&host.shape);
            let shape: Vec<usize> = order.iter().map(|axis| host.shape[*axis]).collect();
            let from: Vec<usize> = order.iter().map(|axis| from[*axis]).collect();
            Ok(host.pick(shape.clone(), &strided_indices(&shape, &from)).into())
        }
    }
}

pub(super) fn squeeze(inputs: Inputs) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let shape = value.shape();
    let gone = match inputs.optional_ints(1)? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|axis| shape[*axis] == 1).collect(),
    };
    if let Some(axis) = gone.iter().find(|axis| shape[**axis] != 1) {
        return Err(format!("axis {axis} of {shape:?} can't be left out"));
    }
    let rest = (0..shape.len()).filter(|axis| !gone.contains(axis)).map(|axis| shape[axis]).collect();
    reshaped(value, rest)
}

pub(super) fn unsqueeze(inputs: Inputs) -> Outcome<Value> {
    let (value, list) = (inputs.get(0)?, inputs.ints(1)?);
    let rank = value.shape().len() + list.len();
    if rank > super::super::value::RANK {
        return Err(format!("rank {rank} is too large"));
    }
    let new = axes(&list, rank)?;
    let mut old = value.shape().iter();
    let shape = (0..rank).map(|axis| if new.contains(&axis) { 1 } else { old.next().copied().unwrap_or(1) });
    reshaped(value, shape.collect())
}

pub(super) fn tile(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let (value, repeats) = (inputs.get(0)?, inputs.ints(1)?);
    let repeats = repeats.into_iter().map(size).collect::<Outcome<Vec<_>>>()?;
    if repeats.len() != value.shape().len() {
        return Err(format!("{} repeats for rank {}", repeats.len(), value.shape().len()));
    }
    let mut shape = Vec::new();
    for (size, times) in value.shape().iter().zip(&repeats) {
        shape.push(size.checked_mul(*times).ok_or("a size is too large")?);
    }
    scope.fits(&shape)?;
    let mut result = value.clone();
    for (along, times) in repeats.into_iter().enumerate().filter(|(_, times)| *times != 1) {
        result = match result {
            Value::Real(real) => {
                let mut shape = real.shape().to_vec();
                shape[along] *= times;
                Real::new(Dispatch::float_repeat_dim(real.tensor(), along, times), shape).into()
            }
            host => {
                scope.fits_host(&shape)?;
                let length = host.shape()[along];
                let places: Vec<usize> = (0..length * times).map(|k| k % length).collect();
                select(&host, along, &places, None)?
            }
        };
    }
    Ok(result)
}

pub(super) fn expand(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let (value, target) = (inputs.get(0)?, inputs.ints(1)?);
    let target = target.into_iter().map(size).collect::<Outcome<Vec<_>>>()?;
    let shape = broadcast(value.shape(), &target)?;
    scope.fits(&shape)?;
    match value {
        Value::Real(real) => Ok(real.expand(&shape).into()),
        Value::Host(host) => {
            scope.fits_host(&shape)?;
            let places = broadcast_indices(&host.shape, &shape);
            Ok(host.pick(shape, &places).into())
        }
    }
}

/// Reshapes to six axes, permutes and reshapes back.
fn rearranged(real: &Real, six: &[usize], order: &[usize], shape: &[usize]) -> Outcome<Value> {
    let six = real.reshape(six)?;
    Ok(Real::new(
        Dispatch::float_permute(six.tensor(), order),
        order.iter().map(|axis| six.shape()[*axis]).collect(),
    )
    .reshape(shape)?
    .into())
}

pub(super) fn depth_to_space(inputs: Inputs, block: usize, columns_first: bool) -> Outcome<Value> {
    let x = inputs.real(0)?;
    let area = block.checked_mul(block).filter(|area| *area > 0).ok_or("a block must be at least 1")?;
    let &[batch, channels, height, width] = x.shape() else {
        return Err(format!("it takes rank 4, not {:?}", x.shape()));
    };
    if channels % area != 0 {
        return Err(format!("{channels} channels can't be spread over blocks of {block}x{block}"));
    }
    let depth = channels / area;
    let shape = [batch, depth, height * block, width * block];
    if columns_first {
        rearranged(&x, &[batch, depth, block, block, height, width], &[0, 1, 4, 2, 5, 3], &shape)
    } else {
        rearranged(&x, &[batch, block, block, depth, height, width], &[0, 3, 4, 1, 5, 2], &shape)
    }
}

pub(super) fn space_to_depth(inputs: Inputs, block: usize, columns_first: bool) -> Outcome<Value> {
    let x = inputs.real(0)?;
    let &[batch, channels, height, width] = x.shape() else {
        return Err(format!("it takes rank 4, not {:?}", x.shape()));
    };
    if block == 0 || height % block != 0 || width % block != 0 {
        return Err(format!("{height}x{width} can't be cut into blocks of {block}x{block}"));
    }
    let (rows, columns) = (height / block, width / block);
    rearranged(
        &x,
        &[batch, channels, rows, block, columns, block],
        if columns_first { &[0, 1, 3, 5, 2, 4] } else { &[0, 3, 5, 1, 2, 4] },
        &[batch, channels * block * block, rows, columns],
    )
}

/// A tensor filled with one number, of the shape that the input holds.
pub(super) fn fill(inputs: Inputs, value: &Value, scope: &Scope) -> Outcome<Value> {
    let shape = inputs.ints(0)?.into_iter().map(size).collect::<Outcome<Vec<_>>>()?;
    let elements = if shape.contains(&0) { 0 } else { scope.fits(&shape)? };
    let host = value.host();
    if host.len() != 1 {
        return Err("it is filled with one number".into());
    }
    if matches!(host.data, Data::Float(_)) && elements > 1024 {
        let number = Real::from_host(vec![], host.to_floats(), scope.device)?;
        return Ok(number.expand(&shape).into());
    }
    scope.fits_host(&shape)?;
    Ok(host.pick(shape, &vec![0; elements]).into())
}

pub(super) fn shape(inputs: Inputs, start: i64, end: Option<i64>) -> Outcome<Value> {
    let shape = inputs.get(0)?.shape();
    let rank = shape.len() as i64;
    let place =
        |index: i64| (if index < 0 { index.saturating_add(rank) } else { index }).clamp(0, rank) as usize;
    let (start, end) = (place(start), place(end.unwrap_or(rank)));
    let sizes: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|size| *size as i64).collect();
    Ok(Value::ints([sizes.len()], sizes))
}

pub(super) fn element_count(inputs: Inputs) -> Outcome<Value> {
    Ok(Value::ints([], vec![count(inputs.get(0)?.shape())? as i64]))
}

/// A tensor as rows of the axes before one and columns of the rest, which a flat index walks.
pub(super) fn flat(real: &Real) -> Outcome<burn::backend::DispatchTensor> {
    let elements = count(real.shape())?;
    Ok(Dispatch::float_reshape(real.tensor(), Shape::from(vec![elements])))
}
