//! Quantisation and its inverse, computed in floats, with the gradient of the clip that it is but for the rounding.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Real, Value};
use super::{Inputs, Outcome, Scope, axis};

/// A scale or zero point, one number or one an index of an axis or a block of it, in the shape that broadcasts to `x`.
fn along(x: &Real, parameter: &Real, at: i64) -> Outcome<Real> {
    match *parameter.shape() {
        [] | [1] => parameter.reshape(&[]),
        [length] => {
            let at = axis(at, x.rank())?;
            if x.shape()[at] != length {
                return Err(format!("{length} scales along axis {at} of {:?}", x.shape()));
            }
            let mut shape = vec![1; x.rank()];
            shape[at] = length;
            parameter.reshape(&shape)
        }
        ref shape => {
            // Blocks along the axis.
            let at = axis(at, x.rank())?;
            if shape.len() != x.rank() || shape[at] == 0 || !x.shape()[at].is_multiple_of(shape[at]) {
                return Err(format!("scales of shape {shape:?} don't fit {:?}", x.shape()));
            }
            let block = x.shape()[at] / shape[at];
            let mut split = shape.to_vec();
            split.insert(at + 1, 1);
            let mut wide = shape.to_vec();
            wide.insert(at + 1, block);
            let whole: Vec<usize> = shape
                .iter()
                .enumerate()
                .map(|(axis, size)| if axis == at { size * block } else { *size })
                .collect();
            parameter.reshape(&split)?.expand(&wide).reshape(&whole)
        }
    }
}

/// `round(x / scale) + zero`, clipped, as floats.
pub(super) fn quantize(inputs: Inputs, at: i64, (low, high): (f32, f32), scope: &Scope) -> Outcome<Value> {
    let x = inputs.real(0)?;
    let scale = along(&x, &inputs.real(1)?, at)?;
    let zero = match inputs.optional(2) {
        Some(zero) => Some(along(&x, &zero.real(scope.device)?, at)?),
        None => None,
    };
    let scaled = x.zip(&scale, Dispatch::float_div)?;
    let rounded = scaled.map(|x| {
        // The rounding passes the gradient on as it is.
        let change = Dispatch::float_detach(Dispatch::float_sub(Dispatch::float_round(x.clone()), x.clone()));
        Dispatch::float_add(x, change)
    });
    let shifted = match &zero {
        Some(zero) => rounded.zip(zero, Dispatch::float_add)?,
        None => rounded,
    };
    Ok(shifted.map(|x| Dispatch::float_clamp(x, low.into(), high.into())).into())
}

/// `(x − zero) · scale`.
pub(super) fn dequantize(inputs: Inputs, at: i64) -> Outcome<Value> {
    let x = inputs.real(0)?;
    let scale = along(&x, &inputs.real(1)?, at)?;
    let shifted = match inputs.optional_real(2)? {
        Some(zero) => x.zip(&along(&x, &zero, at)?, Dispatch::float_sub)?,
        None => x,
    };
    Ok(shifted.zip(&scale, Dispatch::float_mul)?.into())
}
