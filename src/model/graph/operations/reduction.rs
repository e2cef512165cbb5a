//! Sums, means, extremes and the like along axes.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor};

use super::super::value::{Array, Data, Real, Value, strides};
use super::{Inputs, Outcome, Scope, axes, axis, size};

/// What is made of the numbers along some axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    /// `Σ |x|`.
    L1,
    /// `√Σ x²`.
    L2,
    LogSum,
    LogSumExp,
    SumSquare,
}

impl Reduction {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Sum | Self::SumSquare => "sum",
            Self::Mean => "mean",
            Self::Max => "maximum",
            Self::Min => "minimum",
            Self::Product => "product",
            Self::L1 | Self::L2 => "norm",
            Self::LogSum | Self::LogSumExp => "logarithm of a sum",
        }
    }

    pub(super) fn run(self, inputs: Inputs, keep: bool, nothing_without_axes: bool) -> Outcome<Value> {
        let value = inputs.get(0)?;
        let rank = value.shape().len();
        let dims = match inputs.optional_ints(1)? {
            Some(list) if !list.is_empty() => axes(&list, rank)?,
            _ if nothing_without_axes => return Ok(value.clone()),
            _ => (0..rank).collect(),
        };
        let mut kept = value.shape().to_vec();
        for dim in &dims {
            kept[*dim] = 1;
        }
        let result = match value {
            _ if value.shape().contains(&0) && value.is_float() => {
                let elements = kept.iter().product();
                Array { shape: kept, data: Data::Float(vec![self.of_nothing(); elements]) }.into()
            }
            Value::Host(host) if !matches!(host.data, Data::Float(_)) => self.on_host(host, &kept)?,
            _ if rank == 0 => inputs.real(0)?.into(),
            _ => {
                let x = inputs.real(0)?;
                Real::new(self.on_device(x.tensor(), &dims), kept).into()
            }
        };
        if keep {
            return Ok(result);
        }
        let rest = (0..rank).filter(|dim| !dims.contains(dim)).map(|dim| value.shape()[dim]).collect();
        super::shape::reshaped(&result, rest)
    }

    /// What is made of no numbers.
    fn of_nothing(self) -> f32 {
        match self {
            Self::Sum | Self::L1 | Self::L2 | Self::SumSquare => 0.0,
            Self::Product => 1.0,
            Self::Max | Self::LogSum | Self::LogSumExp => f32::NEG_INFINITY,
            Self::Min => f32::INFINITY,
            Self::Mean => f32::NAN,
        }
    }

    fn on_device(self, x: DispatchTensor, dims: &[usize]) -> DispatchTensor {
        let fold = |x: DispatchTensor, along: fn(DispatchTensor, usize) -> DispatchTensor| {
            dims.iter().fold(x, |x, dim| along(x, *dim))
        };
        let sum = |x| fold(x, Dispatch::float_sum_dim);
        match self {
            Self::Sum => sum(x),
            Self::Mean => fold(x, Dispatch::float_mean_dim),
            Self::Max => fold(x, Dispatch::float_max_dim),
            Self::Min => fold(x, Dispatch::float_min_dim),
            Self::Product => fold(x, Dispatch::float_prod_dim),
            Self::L1 => sum(Dispatch::float_abs(x)),
            Self::L2 => root(sum(Dispatch::float_mul(x.clone(), x))),
            Self::SumSquare => sum(Dispatch::float_mul(x.clone(), x)),
            Self::LogSum => Dispatch::float_log(sum(x)),
            Self::LogSumExp => {
                let highest = Dispatch::float_detach(fold(x.clone(), Dispatch::float_max_dim));
                let sum = sum(Dispatch::float_exp(Dispatch::float_sub(x, highest.clone())));
                Dispatch::float_add(Dispatch::float_log(sum), highest)
            }
        }
    }

    fn on_host(self, host: &Array, kept: &[usize]) -> Outcome<Value> {
        let values = host.to_ints();
        let logical = matches!(host.data, Data::Bool(_));
        let start = match self {
            Self::Max if logical => 0,
            Self::Min if logical => 1,
            Self::Product => 1,
            Self::Max => i64::MIN,
            Self::Min => i64::MAX,
            _ => 0,
        };
        let mut results = vec![start; kept.iter().product()];
        let (from, to) = (strides(&host.shape), strides(kept));
        for (index, value) in values.iter().enumerate() {
            let place: usize = (0..kept.len())
                .filter(|axis| kept[*axis] > 1)
                .map(|axis| index / from[axis] % host.shape[axis] * to[axis])
                .sum();
            let so_far = results[place];
            results[place] = match self {
                Self::Sum | Self::Mean => so_far.checked_add(*value),
                Self::Product => so_far.checked_mul(*value),
                Self::Max => Some(so_far.max(*value)),
                Self::Min => Some(so_far.min(*value)),
                Self::L1 => so_far.checked_add(value.wrapping_abs()),
                Self::SumSquare => value.checked_mul(*value).and_then(|square| so_far.checked_add(square)),
                _ => return Err("it takes floats, not integers".into()),
            }
            .ok_or("the result is no integer of 64 bits")?;
        }
        if self == Self::Mean {
            let share = (values.len() / results.len().max(1)).max(1) as i64;
            results.iter_mut().for_each(|sum| *sum /= share);
        }
        if logical {
            return Ok(Array::bools(kept, results.into_iter().map(|value| value != 0).collect()).into());
        }
        Ok(Value::ints(kept, results))
    }
}

/// A square root whose derivative at 0 is 0.
pub(super) fn root(x: DispatchTensor) -> DispatchTensor {
    let x = Dispatch::float_clamp_min(x, f32::MIN_POSITIVE.into());
    Dispatch::float_sqrt(x)
}

/// The numbers of a value in rows along an axis: for each row the index of its first number, and the step.
fn rows(shape: &[usize], along: usize) -> (Vec<usize>, usize) {
    let stride = strides(shape)[along];
    let block = stride * shape[along];
    let total: usize = shape.iter().product();
    let starts = (0..total).filter(|index| index % block < stride).collect();
    (starts, stride)
}

/// The places of one row, by falling or rising value; equal values in their order, NaN last.
fn order(values: &[f32], start: usize, step: usize, length: usize, largest: bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    places.sort_by(|a, b| {
        let (a, b) = (values[start + a * step], values[start + b * step]);
        if largest { b.total_cmp(&a) } else { a.total_cmp(&b) }
    });
    places
}

pub(super) fn arg_extreme(
    inputs: Inputs,
    along: i64,
    keep: bool,
    largest: bool,
    last: bool,
) -> Outcome<Value> {
    let host = inputs.get(0)?.host();
    let along = axis(along, host.shape.len())?;
    let (values, length) = (host.to_floats(), host.shape[along]);
    if values.is_empty() {
        return Err("it is empty".into());
    }
    let (starts, step) = rows(&host.shape, along);
    let found = starts.iter().map(|start| {
        let mut best = 0;
        for place in 1..length {
            let (value, so_far) = (values[start + place * step], values[start + best * step]);
            let better = if largest { value > so_far } else { value < so_far };
            if better || (last && value == so_far) {
                best = place;
            }
        }
        best as i64
    });
    let mut shape = host.shape.clone();
    if keep {
        shape[along] = 1;
    } else {
        shape.remove(along);
    }
    Ok(Value::ints(shape, found.collect()))
}

pub(super) fn top_k(inputs: Inputs, along: i64, largest: bool, scope: &Scope) -> Outcome {
    let value = inputs.get(0)?;
    let k = match inputs.ints(1)?[..] {
        [k] => size(k)?,
        _ => return Err("k must be one number".into()),
    };
    let host = value.host();
    let along = axis(along, host.shape.len())?;
    if k > host.shape[along] || k == 0 {
        return Err(format!("there are no {k} of {} numbers", host.shape[along]));
    }
    let values = host.to_floats();
    let (starts, step) = rows(&host.shape, along);
    let mut shape = host.shape.clone();
    shape[along] = k;
    let mut places = vec![0usize; shape.iter().product()];
    let (to, _) = rows(&shape, along);
    for (start, target) in starts.iter().zip(to) {
        for (rank, place) in
            order(&values, *start, step, host.shape[along], largest).into_iter().take(k).enumerate()
        {
            places[target + rank * step] = place;
        }
    }
    let found = super::indexing::at_places(value, along, &shape, &places, scope)?;
    Ok(vec![found, Value::ints(shape, places.into_iter().map(|place| place as i64).collect())])
}

pub(super) fn cumulate(inputs: Inputs, exclusive: bool, reverse: bool, scope: &Scope) -> Outcome<Value> {
    let value = inputs.get(0)?;
    let along = match inputs.get(1)?.host().to_ints()[..] {
        [along] => axis(along, value.shape().len())?,
        _ => return Err("the axis must be one number".into()),
    };
    let length = value.shape()[along];
    if length > 4096 {
        return Err(format!("a cumulative sum over {length} numbers is too long"));
    }
    if let Value::Host(host) = value
        && let Data::Int(values) = &host.data
    {
        let mut sums = values.clone();
        let (starts, step) = rows(&host.shape, along);
        for start in starts {
            let mut sum = 0i64;
            for place in 0..length {
                let place = start + step * if reverse { length - 1 - place } else { place };
                let value = values[place];
                sums[place] = if exclusive { sum } else { sum.wrapping_add(value) };
                sum = sum.wrapping_add(value);
            }
        }
        return Ok(Value::ints(&host.shape[..], sums));
    }
    // A product with a triangle of ones, which every backend differentiates.
    let x = inputs.real(0)?;
    let rank = x.rank();
    let mut swapped: Vec<usize> = (0..rank).collect();
    swapped.swap(along, rank - 1);
    let counts = |from: usize, to: usize| {
        let before = if reverse { from > to } else { from < to };
        before || (from == to && !exclusive)
    };
    let ones: Vec<f32> = (0..length * length)
        .map(|index| f32::from(u8::from(counts(index / length, index % length))))
        .collect();
    let triangle = Real::from_host(vec![length, length], ones, scope.device)?;
    let moved = x.transpose(&swapped);
    let shape = moved.shape().to_vec();
    let flat = moved.reshape(&[shape.iter().product::<usize>() / length, length])?;
    let sums = Dispatch::float_matmul(flat.tensor(), triangle.tensor());
    Ok(Real::new(sums, flat.shape().to_vec()).reshape(&shape)?.transpose(&swapped).into())
}

pub(super) fn hardmax(inputs: Inputs, along: i64, scope: &Scope) -> Outcome<Value> {
    let host = inputs.get(0)?.host();
    let along = axis(along, host.shape.len())?;
    let values = host.to_floats();
    let (starts, step) = rows(&host.shape, along);
    let mut ones = vec![0.0; values.len()];
    for start in starts {
        let best = order(&values, start, step, host.shape[along], true);
        if let Some(best) = best.first() {
            ones[start + best * step] = 1.0;
        }
    }
    Real::from_host(host.shape.clone(), ones, scope.device).map(Value::from)
}
