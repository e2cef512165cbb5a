//! Parts of values, values side by side, and borders around them.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Slice;
use burn::tensor::ops::PadMode as Border;

use super::super::value::{Array, Data, Real, Value, count, indices, strided_indices, strides};
use super::{Inputs, Outcome, Scope, axis, size};

/// What a border is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
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
    let elements = scope.fits_host(&shape)?;
    let hosts: Vec<_> = values.iter().map(|value| value.host()).collect();
    let outer: usize = shape[..along].iter().product();
    let rows = |host: &Array| host.len().checked_div(outer).unwrap_or(0);
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
