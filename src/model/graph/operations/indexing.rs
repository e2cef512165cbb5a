//! Numbers picked from places and written to places; indices are on the host.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Array, Data, Real, Value, count, indices, strides};
use super::shape::{flat, reshaped};
use super::slice::select;
use super::{Inputs, Outcome, Scope, axis, size};

/// What a written number does to the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Update {
    Replace,
    Add,
    Multiply,
    Max,
    Min,
}

/// An index that may count from the end.
fn place(index: i64, length: usize) -> Outcome<usize> {
    let from_start = if index < 0 { index + length as i64 } else { index };
    usize::try_from(from_start)
        .ok()
        .filter(|place| *place < length)
        .ok_or_else(|| format!("index {index} is out of range for {length} numbers"))
}

/// The numbers at these places of the value in a row.
fn at_flat(value: &Value, shape: &[usize], places: &[usize], scope: &Scope) -> Outcome<Value> {
    match value {
        Value::Host(host) => Ok(host.pick(shape.to_vec(), places).into()),
        Value::Real(real) => {
            scope.fits(shape)?;
            let places = indices(&[places.len()], places.iter().copied(), scope.device);
            let row = Dispatch::float_select(flat(real)?, 0, places);
            Ok(Value::Real(Real::new(row, vec![]).reshaped_as(shape)?))
        }
    }
}

/// For each place of `shape`, the number at that place but for the coordinate along an axis, which is given.
pub(super) fn at_places(
    value: &Value,
    along: usize,
    shape: &[usize],
    given: &[usize],
    scope: &Scope,
) -> Outcome<Value> {
    let flat = flat_places(value.shape(), along, shape, given);
    at_flat(value, shape, &flat, scope)
}

fn flat_places(of: &[usize], along: usize, shape: &[usize], given: &[usize]) -> Vec<usize> {
    let (from, to) = (strides(of), strides(shape));
    let other = |index: usize| -> usize {
        (0..shape.len())
            .filter(|axis| *axis != along)
            .map(|axis| index / to[axis] % shape[axis] * from[axis])
            .sum()
    };
    given.iter().enumerate().map(|(index, place)| other(index) + place * from[along]).collect()
}

pub(super) fn gather(inputs: Inputs, along: i64, scope: &Scope) -> Outcome<Value> {
    let (value, wanted) = (inputs.get(0)?, inputs.get(1)?.host());
    let along = axis(along, value.shape().len())?;
    let length = value.shape()[along];
    let places =
        wanted.to_ints().into_iter().map(|index| place(index, length)).collect::<Outcome<Vec<_>>>()?;
    let mut shape = value.shape()[..along].to_vec();
    shape.extend(&wanted.shape);
    shape.extend(&value.shape()[along + 1..]);
    if !places.is_empty() && value.is_float() {
        scope.fits(&shape)?;
    }
    // A run of places is a slice.
    let picked = match places.first() {
        Some(first) if places.iter().enumerate().all(|(k, place)| *place == first + k) => {
            super::slice::part(value, along, *first, places.len())
        }
        _ => select(value, along, &places, Some(scope.device))?,
    };
    reshaped(&picked, shape)
}

pub(super) fn gather_elements(inputs: Inputs, along: i64, scope: &Scope) -> Outcome<Value> {
    let (value, wanted) = (inputs.get(0)?, inputs.get(1)?.host());
    let along = checked_axis(value.shape(), &wanted, along)?;
    let length = value.shape()[along];
    let places =
        wanted.to_ints().into_iter().map(|index| place(index, length)).collect::<Outcome<Vec<_>>>()?;
    at_places(value, along, &wanted.shape, &places, scope)
}

/// The axis, if the indices lie within the value in all the others.
fn checked_axis(shape: &[usize], wanted: &Array, along: i64) -> Outcome<usize> {
    let along = axis(along, shape.len())?;
    let inside = |axis: usize| axis == along || wanted.shape[axis] <= shape[axis];
    if wanted.shape.len() != shape.len() || !(0..shape.len()).all(inside) {
        return Err(format!("indices of shape {:?} don't fit {shape:?}", wanted.shape));
    }
    Ok(along)
}

/// For each row of indices, the first of the numbers that it names, and how many they are.
fn nd_starts(shape: &[usize], wanted: &Array, batch: usize) -> Outcome<(Vec<usize>, usize)> {
    let depth = *wanted.shape.last().ok_or("indices need an axis")?;
    if wanted.shape.len() <= batch || shape.len() < batch || wanted.shape[..batch] != shape[..batch] {
        return Err(format!("indices of shape {:?} don't share {batch} axes with {shape:?}", wanted.shape));
    }
    if depth + batch > shape.len() || depth == 0 {
        return Err(format!("indices of {depth} numbers don't fit rank {}", shape.len()));
    }
    let from = strides(shape);
    let rows = count(&wanted.shape[batch..wanted.shape.len() - 1])?.max(1);
    // The numbers of one image of the axes that both share.
    let block = count(&shape[batch..])?;
    let starts = wanted
        .to_ints()
        .chunks(depth)
        .enumerate()
        .map(|(row, indices)| {
            let within = indices
                .iter()
                .enumerate()
                .map(|(axis, index)| Ok(place(*index, shape[batch + axis])? * from[batch + axis]));
            Ok(row / rows * block + within.sum::<Outcome<usize>>()?)
        })
        .collect::<Outcome<Vec<_>>>()?;
    Ok((starts, count(&shape[batch + depth..])?))
}

pub(super) fn gather_nd(inputs: Inputs, batch: usize, scope: &Scope) -> Outcome<Value> {
    let (value, wanted) = (inputs.get(0)?, inputs.get(1)?.host());
    let depth = *wanted.shape.last().ok_or("indices need an axis")?;
    let (starts, length) = nd_starts(value.shape(), &wanted, batch)?;
    let mut shape = wanted.shape[..wanted.shape.len() - 1].to_vec();
    shape.extend(&value.shape()[batch + depth..]);
    scope.fits(&shape)?;
    let places: Vec<usize> = starts.into_iter().flat_map(|start| start..start + length).collect();
    at_flat(value, &shape, &places, scope)
}

pub(super) fn scatter_nd(inputs: Inputs, update: Update, scope: &Scope) -> Outcome<Value> {
    let (value, wanted, updates) = (inputs.get(0)?, inputs.get(1)?.host(), inputs.get(2)?);
    let (starts, length) = nd_starts(value.shape(), &wanted, 0)?;
    if count(updates.shape())? != starts.len() * length {
        return Err(format!("updates of shape {:?} for {} places", updates.shape(), starts.len() * length));
    }
    let places: Vec<usize> = starts.into_iter().flat_map(|start| start..start + length).collect();
    write(value, &places, updates, update, scope)
}

pub(super) fn scatter_elements(inputs: Inputs, along: i64, update: Update, scope: &Scope) -> Outcome<Value> {
    let (value, wanted, updates) = (inputs.get(0)?, inputs.get(1)?.host(), inputs.get(2)?);
    let along = checked_axis(value.shape(), &wanted, along)?;
    if updates.shape() != wanted.shape {
        return Err(format!(
            "updates of shape {:?} for indices of shape {:?}",
            updates.shape(),
            wanted.shape
        ));
    }
    let length = value.shape()[along];
    let given =
        wanted.to_ints().into_iter().map(|index| place(index, length)).collect::<Outcome<Vec<_>>>()?;
    let places = flat_places(value.shape(), along, &wanted.shape, &given);
    write(value, &places, updates, update, scope)
}

/// The value with updates written to places of it in a row, one after the other.
fn write(value: &Value, places: &[usize], updates: &Value, update: Update, scope: &Scope) -> Outcome<Value> {
    let shape = value.shape().to_vec();
    let total = count(&shape)?;
    if let (Value::Host(host), Value::Host(new)) = (value, updates)
        && !matches!(host.data, Data::Float(_))
    {
        let (mut values, new) = (host.to_ints(), new.to_ints());
        for (place, new) in places.iter().zip(new) {
            let old = values[*place];
            values[*place] = match update {
                Update::Replace => new,
                Update::Add => old.wrapping_add(new),
                Update::Multiply => old.wrapping_mul(new),
                Update::Max => old.max(new),
                Update::Min => old.min(new),
            };
        }
        let data = match host.data {
            Data::Bool(_) => Data::Bool(values.into_iter().map(|value| value != 0).collect()),
            _ => Data::Int(values),
        };
        return Ok(Array { shape, data }.into());
    }
    let (mut row, new) = (flat(&value.real(scope.device)?)?, flat(&updates.real(scope.device)?)?);
    // In rounds, so that no place is written twice in one; a replacement counts only the last.
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    if update == Update::Replace {
        let mut last = std::collections::BTreeMap::new();
        last.extend(places.iter().enumerate().map(|(k, place)| (*place, k)));
        rounds.push(last.into_values().collect());
    } else {
        let mut times = std::collections::HashMap::new();
        for (k, place) in places.iter().enumerate() {
            let time = times.entry(*place).or_insert(0usize);
            if rounds.len() <= *time {
                rounds.push(Vec::new());
            }
            rounds[*time].push(k);
            *time += 1;
        }
        if rounds.len() > 4096 {
            return Err(format!("{} writes to one place are too many", rounds.len()));
        }
    }
    for round in rounds {
        let list = |items: Vec<usize>| indices(&[items.len()], items, scope.device);
        let targets: Vec<usize> = round.iter().map(|k| places[*k]).collect();
        let chosen = Dispatch::float_select(new.clone(), 0, list(round.clone()));
        let written = if update == Update::Replace {
            chosen
        } else {
            let old = Dispatch::float_select(row.clone(), 0, list(targets.clone()));
            let (old, chosen) = (Real::new(old, vec![round.len()]), Real::new(chosen, vec![round.len()]));
            let operation = match update {
                Update::Replace | Update::Add => super::Binary::Add,
                Update::Multiply => super::Binary::Mul,
                Update::Max => super::Binary::Max,
                Update::Min => super::Binary::Min,
            };
            operation.run(&old.into(), &chosen.into(), scope)?.real(scope.device)?.tensor()
        };
        // Old and new in one row, from which every place takes its own.
        let mut from: Vec<usize> = (0..total).collect();
        for (k, target) in targets.into_iter().enumerate() {
            from[target] = total + k;
        }
        row = Dispatch::float_select(Dispatch::float_cat(vec![row, written], 0), 0, list(from));
    }
    Ok(Value::Real(Real::new(row, vec![]).reshaped_as(&shape)?))
}

pub(super) fn one_hot(inputs: Inputs, along: i64, scope: &Scope) -> Outcome<Value> {
    let (wanted, depth, values) = (inputs.get(0)?.host(), inputs.get(1)?.host(), inputs.get(2)?.host());
    let depth = match depth.to_ints()[..] {
        [depth] => size(depth)?,
        _ => return Err("the depth must be one number".into()),
    };
    if values.len() != 2 {
        return Err("it needs two values".into());
    }
    let along = axis(along, wanted.shape.len() + 1)?;
    let mut shape = wanted.shape.clone();
    shape.insert(along, depth);
    scope.fits_host(&shape)?;
    let inner: usize = wanted.shape[along..].iter().product();
    let wanted = wanted.to_ints();
    let hot = |index: usize| {
        let (outer, rest) = (index / (depth * inner), index % (depth * inner));
        let wanted = wanted[outer * inner + rest % inner];
        let wanted = if wanted < 0 { wanted + depth as i64 } else { wanted };
        usize::from(wanted == (rest / inner) as i64)
    };
    let places: Vec<usize> = (0..count(&shape)?).map(hot).collect();
    Ok(values.pick(shape, &places).into())
}

pub(super) fn non_zero(inputs: Inputs) -> Outcome<Value> {
    let host = inputs.get(0)?.host();
    let from = strides(&host.shape);
    let found: Vec<usize> =
        host.to_bools().into_iter().enumerate().filter(|(_, value)| *value).map(|(index, _)| index).collect();
    let rank = host.shape.len();
    let places = (0..rank).flat_map(|axis| {
        let (stride, length) = (from[axis], host.shape[axis]);
        found.iter().map(move |index| (index / stride % length) as i64)
    });
    Ok(Value::ints([rank, found.len()], places.collect()))
}

/// A matrix with zeros below, or above, a diagonal.
pub(super) fn triangle(inputs: Inputs, upper: bool, scope: &Scope) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let shape = value.shape();
    let &[.., rows, columns] = shape else { return Err(format!("{shape:?} is no matrix")) };
    let diagonal = inputs.optional_ints(1)?.and_then(|list| list.first().copied()).unwrap_or(0);
    let kept = |index: usize| {
        let (row, column) = ((index / columns) as i64, (index % columns) as i64);
        let beyond = column.saturating_sub(row).saturating_sub(diagonal);
        if upper { beyond >= 0 } else { beyond <= 0 }
    };
    if let Value::Host(host) = value
        && !matches!(host.data, Data::Float(_))
    {
        let values = host.to_ints().into_iter().enumerate();
        let values = values.map(|(index, value)| if kept(index % (rows * columns)) { value } else { 0 });
        return Ok(Value::ints(shape, values.collect()));
    }
    let mask: Vec<f32> = (0..rows * columns).map(|index| f32::from(u8::from(kept(index)))).collect();
    let mask = Real::from_host(vec![rows, columns], mask, scope.device)?;
    Ok(inputs.real(0)?.zip(&mask, Dispatch::float_mul)?.into())
}

pub(super) fn range(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let hosts = [inputs.get(0)?.host(), inputs.get(1)?.host(), inputs.get(2)?.host()];
    if hosts.iter().any(|host| host.len() != 1) {
        return Err("it goes from one number to one number by one number".into());
    }
    if hosts.iter().any(|host| matches!(host.data, Data::Float(_))) {
        let [start, limit, step] = hosts.map(|host| f64::from(host.to_floats()[0]));
        let length = ((limit - start) / step).ceil().max(0.0);
        if !length.is_finite() || length > scope.limit.min(scope.host_limit) as f64 {
            return Err(format!("a range of {length} numbers is above the limit of {}", scope.limit));
        }
        let values: Vec<f32> = (0..length as usize).map(|k| (start + k as f64 * step) as f32).collect();
        return Ok(Array { shape: vec![values.len()], data: Data::Float(values) }.into());
    }
    let [start, limit, step] = hosts.map(|host| i128::from(host.to_ints()[0]));
    if step == 0 {
        return Err("a step can't be 0".into());
    }
    let length = ((limit - start) / step + i128::from((limit - start) % step != 0)).max(0);
    if (limit - start).signum() * step.signum() <= 0 {
        return Ok(Value::ints([0], Vec::new()));
    }
    if length > scope.limit.min(scope.host_limit) as i128 {
        return Err(format!("a range of {length} numbers is above the limit of {}", scope.limit));
    }
    let values: Vec<i64> = (0..length).map(|k| (start + k * step) as i64).collect();
    Ok(Value::ints([values.len()], values))
}
