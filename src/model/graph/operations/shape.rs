//! What moves numbers without changing them: shapes, slices, borders, rearrangements.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::ops::PadMode as Border;
use burn::tensor::{Shape, Slice};

use super::super::value::{
    Array, Data, Real, Value, broadcast, broadcast_indices, count, indices, strided_indices, strides,
};
use super::{Inputs, Outcome, Scope, axes, axis, size};

/// What a border is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

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

pub(super) fn concat(inputs: Inputs, along: i64, scope: &Scope) -> Outcome<Value> {
    let values = (0..inputs.len()).map(|index| inputs.get(index)).collect::<Outcome<Vec<_>>>()?;
    let first = values.first().ok_or("there is nothing to concatenate")?;
    let along = axis(along, first.shape().len())?;
    let mut shape = first.shape().to_vec();
    shape[along] = 0;
    for value in &values {
        let mut other = value.shape().to_vec();
        if other.len() != shape.len() {
            return Err(format!("{:?} and {other:?} can't be joined", first.shape()));
        }
        let length = std::mem::replace(&mut other[along], shape[along]);
        if other != shape {
            return Err(format!(
                "{:?} and {:?} can't be joined along axis {along}",
                first.shape(),
                value.shape()
            ));
        }
        shape[along] = shape[along].checked_add(length).ok_or("the result is too large")?;
    }
    if values.iter().any(|value| matches!(value, Value::Real(_))) {
        scope.fits(&shape)?;
        let parts = values
            .iter()
            .filter(|value| value.shape()[along] > 0)
            .map(|value| Ok(value.real(scope.device)?.tensor()))
            .collect::<Outcome<Vec<_>>>()?;
        return Ok(Real::new(Dispatch::float_cat(parts, along), shape).into());
    }
    let elements = count(&shape)?;
    if elements > scope.limit {
        return Err(format!("its output of shape {shape:?} is above the limit of {} elements", scope.limit));
    }
    let hosts: Vec<_> = values.iter().map(|value| value.host()).collect();
    let outer: usize = shape[..along].iter().product();
    let rows = |host: &Array| if outer == 0 { 0 } else { host.len() / outer };
    macro_rules! join {
        ($convert:ident, $data:ident) => {{
            let lists: Vec<_> = hosts.iter().map(|host| (host.$convert(), rows(host))).collect();
            let mut joined = Vec::with_capacity(elements);
            for row in 0..outer {
                for (list, length) in &lists {
                    joined.extend_from_slice(&list[row * length..(row + 1) * length]);
                }
            }
            Data::$data(joined)
        }};
    }
    let data = if hosts.iter().any(|host| matches!(host.data, Data::Float(_))) {
        join!(to_floats, Float)
    } else if hosts.iter().all(|host| matches!(host.data, Data::Bool(_))) {
        join!(to_bools, Bool)
    } else {
        join!(to_ints, Int)
    };
    Ok(Array { shape, data }.into())
}

/// The part of a value from `start` along an axis.
pub(super) fn part(value: &Value, along: usize, start: usize, length: usize) -> Value {
    let mut shape = value.shape().to_vec();
    shape[along] = length;
    match value {
        Value::Real(real) if length > 0 => {
            let slices: Vec<Slice> = (0..shape.len())
                .map(|axis| {
                    let start = if axis == along { start } else { 0 };
                    Slice::from(start..start + shape[axis])
                })
                .collect();
            Real::new(Dispatch::float_slice(real.tensor(), &slices), shape).into()
        }
        Value::Real(_) => Array { shape, data: Data::Float(Vec::new()) }.into(),
        Value::Host(host) => {
            let from = strides(&host.shape);
            let places: Vec<usize> =
                strided_indices(&shape, &from).into_iter().map(|index| index + start * from[along]).collect();
            host.pick(shape, &places).into()
        }
    }
}

pub(super) fn split(inputs: Inputs, along: i64, outputs: usize) -> Outcome {
    let value = inputs.get(0)?;
    let along = axis(along, value.shape().len())?;
    let length = value.shape()[along];
    let lengths = match inputs.optional_ints(1)? {
        Some(list) => list.into_iter().map(size).collect::<Outcome<Vec<_>>>()?,
        None => {
            let each = length.div_ceil(outputs.max(1));
            (0..outputs).map(|part| each.min(length.saturating_sub(part * each))).collect()
        }
    };
    let total = lengths.iter().try_fold(0usize, |total, length| total.checked_add(*length));
    if total != Some(length) || lengths.len() != outputs {
        return Err(format!(
            "{length} along axis {along} can't be split into {outputs} parts of {lengths:?}"
        ));
    }
    let mut start = 0;
    Ok(lengths
        .into_iter()
        .map(|length| {
            let part = part(value, along, start, length);
            start += length;
            part
        })
        .collect())
}

pub(super) fn slice(inputs: Inputs) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let rank = value.shape().len();
    let (starts, ends) = (inputs.ints(1)?, inputs.ints(2)?);
    let along = match inputs.optional_ints(3)? {
        Some(list) => list.iter().map(|index| axis(*index, rank)).collect::<Outcome<Vec<_>>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = inputs.optional_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || along.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps differ in number".into());
    }
    if along.iter().any(|axis| *axis >= rank) {
        return Err(format!("{} starts for rank {rank}", starts.len()));
    }
    let mut result = value.clone();
    for (place, along) in along.into_iter().enumerate() {
        let length = value.shape()[along] as i64;
        let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
        let (start, end, step) = (from_end(starts[place]), from_end(ends[place]), steps[place]);
        let picked: Vec<usize> = match step {
            0 => return Err("a step can't be 0".into()),
            1.. => {
                let (start, end) = (start.clamp(0, length), end.clamp(0, length));
                (start..end)
                    .step_by(usize::try_from(step).unwrap_or(usize::MAX))
                    .map(|k| k as usize)
                    .collect()
            }
            _ => {
                let (start, end) = (start.clamp(-1, length - 1), end.clamp(-1, length - 1));
                let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
                (end + 1..start + 1).rev().step_by(step).map(|k| k as usize).collect()
            }
        };
        let whole = picked.len() == value.shape()[along];
        result = match picked.first() {
            Some(0) if whole && step == 1 => result,
            Some(first) if step == 1 => part(&result, along, *first, picked.len()),
            _ => select(&result, along, &picked, None)?,
        };
    }
    Ok(result)
}

/// The places of an axis at these indices; a device is named by the value's own tensor.
pub(super) fn select(
    value: &Value,
    along: usize,
    places: &[usize],
    device: Option<&burn::tensor::Device>,
) -> Outcome<Value> {
    let mut shape = value.shape().to_vec();
    shape[along] = places.len();
    match value {
        Value::Real(_) if places.is_empty() => Ok(Array { shape, data: Data::Float(Vec::new()) }.into()),
        Value::Real(real) => {
            let tensor = real.tensor();
            let own = burn::tensor::Tensor::<1>::from_dispatch(tensor.clone()).device().inner();
            let places = indices(&[places.len()], places.iter().copied(), device.unwrap_or(&own));
            Ok(Real::new(Dispatch::float_select(tensor, along, places), shape).into())
        }
        Value::Host(host) => {
            let mut zero = shape.clone();
            zero[along] = 1;
            let stride = strides(&host.shape);
            let (before, after) = shape.split_at(along);
            let outer = strided_indices(before, &stride[..along]);
            let inner = strided_indices(&after[1..], &stride[along + 1..]);
            let mut list = Vec::with_capacity(count(&shape)?);
            for outer in outer {
                for place in places {
                    list.extend(inner.iter().map(|inner| outer + place * stride[along] + inner));
                }
            }
            Ok(host.pick(shape, &list).into())
        }
    }
}

/// Zeros around, or less of it where a number is negative.
pub(super) fn crop_or_pad(real: &Real, around: &[(i64, i64)]) -> Outcome<Real> {
    let mut value = Value::Real(real.clone());
    for (along, (before, after)) in around.iter().enumerate() {
        let (start, end) = ((-before).max(0) as usize, (-after).max(0) as usize);
        let length = value.shape()[along];
        if start + end > 0 {
            let rest =
                length.checked_sub(start + end).filter(|rest| *rest > 0).ok_or("nothing is left of it")?;
            value = part(&value, along, start, rest);
        }
    }
    let Value::Real(real) = value else { return Err("nothing is left of it".into()) };
    let more: Vec<(usize, usize)> =
        around.iter().map(|(before, after)| ((*before).max(0) as usize, (*after).max(0) as usize)).collect();
    Ok(padded(&real, &more, 0.0))
}

/// A number around.
pub(super) fn padded(real: &Real, around: &[(usize, usize)], filler: f32) -> Real {
    if around.iter().all(|pair| *pair == (0, 0)) {
        return real.clone();
    }
    let shape =
        real.shape().iter().zip(around).map(|(size, (before, after))| size + before + after).collect();
    Real::new(Dispatch::float_pad(real.tensor(), around, Border::Constant(filler)), shape)
}

pub(super) fn pad(inputs: Inputs, mode: PadMode, scope: &Scope) -> Outcome<Value> {
    let (value, pads) = (inputs.get(0)?, inputs.ints(1)?);
    let rank = value.shape().len();
    let along = match inputs.optional_ints(3)? {
        Some(list) => list.iter().map(|index| axis(*index, rank)).collect::<Outcome<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * along.len() {
        return Err(format!("{} pads for {} axes", pads.len(), along.len()));
    }
    let mut around = vec![(0i64, 0i64); rank];
    for (place, along_axis) in along.iter().enumerate() {
        around[*along_axis] = (pads[place], pads[along.len() + place]);
    }
    let mut shape = Vec::with_capacity(rank);
    for (length, (before, after)) in value.shape().iter().zip(&around) {
        let padded = (*length as i64).checked_add(*before).and_then(|sum| sum.checked_add(*after));
        shape
            .push(padded.and_then(|size| usize::try_from(size).ok()).ok_or("a padded size is out of range")?);
    }
    scope.fits(&shape)?;
    if mode == PadMode::Constant {
        let filler = inputs.optional_number(2)?.unwrap_or(0.0);
        if let Value::Host(host) = value
            && !matches!(host.data, Data::Float(_))
        {
            return pad_host(host, &around, shape, filler as i64);
        }
        let real = inputs.real(0)?;
        let cropped: Vec<_> =
            around.iter().map(|(before, after)| (*before.min(&0), *after.min(&0))).collect();
        let real = crop_or_pad(&real, &cropped)?;
        let more: Vec<_> = around
            .iter()
            .map(|(before, after)| ((*before).max(0) as usize, (*after).max(0) as usize))
            .collect();
        return Ok(padded(&real, &more, filler).into());
    }
    let mut result = value.clone();
    for (along, (before, after)) in around.into_iter().enumerate() {
        if (before, after) == (0, 0) {
            continue;
        }
        let length = value.shape()[along] as i64;
        let place = |k: i64| match mode {
            PadMode::Wrap => k.rem_euclid(length),
            PadMode::Reflect if length > 1 => {
                let period = 2 * (length - 1);
                let k = k.rem_euclid(period);
                k.min(period - k)
            }
            _ => k.clamp(0, length - 1),
        };
        let places: Vec<usize> = (-before..length + after).map(|k| place(k) as usize).collect();
        result = select(&result, along, &places, Some(scope.device))?;
    }
    Ok(result)
}

fn pad_host(host: &Array, around: &[(i64, i64)], shape: Vec<usize>, filler: i64) -> Outcome<Value> {
    let values = host.to_ints();
    let mut padded = vec![filler; count(&shape)?];
    let (from, to) = (strides(&host.shape), strides(&shape));
    'values: for (index, value) in values.iter().enumerate() {
        let mut target = 0;
        for axis in 0..shape.len() {
            let place = (index / from[axis] % host.shape[axis]) as i64 + around[axis].0;
            match usize::try_from(place) {
                Ok(place) if place < shape[axis] => target += place * to[axis],
                _ => continue 'values,
            }
        }
        padded[target] = *value;
    }
    let data = match host.data {
        Data::Bool(_) => Data::Bool(padded.into_iter().map(|value| value != 0).collect()),
        _ => Data::Int(padded),
    };
    Ok(Array { shape, data }.into())
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

/// A tensor filled with one number, of the shape that the input tells.
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
