//! Quantisation and its inverse, computed in floats, with the gradient of the clip that it is but for the rounding.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Real, Value};
use super::convolution::Conv;
use super::linear::matmul;
use super::{Inputs, Outcome, Scope, axis};

/// A product of quantised values.
pub(in super::super) struct Quantized {
    pub(in super::super) product: Product,
    /// The lowest and highest number of the result, which is quantised anew; `None` for one that stays as it is, of values
    /// whose scale is 1.
    pub(in super::super) range: Option<(f32, f32)>,
}

/// What is multiplied.
pub(in super::super) enum Product {
    Matrices,
    Convolution(Box<Conv>),
}

impl Quantized {
    /// Inputs with a range: the first operand with scale and zero point, the second likewise, scale and zero point of the
    /// result, and the bias of a convolution in the scale of the product. Without: the operands, and their zero points.
    pub(super) fn run(&self, inputs: Inputs, scope: &mut Scope) -> Outcome<Value> {
        let device = scope.device.clone();
        let one = || Value::ints([], vec![1]);
        let places = if self.range.is_some() { [[0, 1, 2], [3, 4, 5]] } else { [[0, 9, 2], [1, 9, 3]] };
        // Scales and zero points are one a row of the first matrix, one a column of the second, one a filter.
        let axes = match self.product {
            Product::Matrices => [-2, -1],
            Product::Convolution(_) => [1, 0],
        };
        let given = |place: usize| inputs.optional(place).cloned();
        let operand = |[value, scale, zero]: [usize; 3], axis: i64| {
            let list = [given(value), Some(given(scale).unwrap_or_else(one)), given(zero)];
            dequantize(Inputs::new(&list, &device), axis)
        };
        let (a, b) = (operand(places[0], axes[0])?, operand(places[1], axes[1])?);
        let y = match &self.product {
            Product::Matrices => matmul(Inputs::new(&[Some(a), Some(b)], &device), scope)?,
            Product::Convolution(conv) => {
                let bias = match inputs.optional(8).filter(|_| self.range.is_some()) {
                    Some(bias) => {
                        let scale = inputs.real(1)?.zip(&inputs.real(4)?, Dispatch::float_mul)?;
                        Some(Value::Real(bias.real(&device)?.zip(&scale, Dispatch::float_mul)?))
                    }
                    None => None,
                };
                conv.run(Inputs::new(&[Some(a), Some(b), bias], &device), scope)?
            }
        };
        match self.range {
            Some(range) => quantize(Inputs::new(&[Some(y), given(6), given(7)], &device), 1, range, scope),
            None => Ok(y),
        }
    }
}

/// A value brought to 0..=255 by a scale and a zero point of its own: the value, the scale, the zero point.
pub(super) fn quantize_dynamically(inputs: Inputs, scope: &Scope) -> Outcome {
    let x = inputs.get(0)?;
    let values = x.host().to_floats();
    let low = values.iter().fold(0.0_f32, |low, value| low.min(*value));
    let high = values.iter().fold(0.0_f32, |high, value| high.max(*value));
    let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
    let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
    let scale: Value = Real::from_host(vec![], vec![scale], scope.device)?.into();
    let zero = Value::ints([], vec![zero as i64]);
    let list = [Some(x.clone()), Some(scale.clone()), Some(zero.clone())];
    let y = quantize(Inputs::new(&list, scope.device), 1, (0.0, 255.0), scope)?;
    Ok(vec![y, scale, zero])
}

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
