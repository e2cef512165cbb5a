//! Products of matrices.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Real, Value, broadcast, count};
use super::{Inputs, Outcome, Scope};

/// `α A B + β C`, with `A` and `B` transposed or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Gemm {
    pub(in super::super) alpha: f32,
    pub(in super::super) beta: f32,
    pub(in super::super) transpose_a: bool,
    pub(in super::super) transpose_b: bool,
}

impl Gemm {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let matrix = |index: usize, transposed: bool| {
            let real = inputs.real(index)?;
            if real.rank() != 2 {
                return Err(format!("input {index} of shape {:?} is no matrix", real.shape()));
            }
            Ok(if transposed { real.transpose(&[1, 0]) } else { real })
        };
        let (a, b) = (matrix(0, self.transpose_a)?, matrix(1, self.transpose_b)?);
        let mut y = product(&a, &b, scope)?;
        if self.alpha != 1.0 {
            y = y.map(|y| Dispatch::float_mul_scalar(y, self.alpha.into()));
        }
        if let Some(c) = inputs.optional_real(2)? {
            if broadcast(y.shape(), c.shape())? != y.shape() {
                return Err(format!("a summand of shape {:?} for {:?}", c.shape(), y.shape()));
            }
            let c =
                if self.beta == 1.0 { c } else { c.map(|c| Dispatch::float_mul_scalar(c, self.beta.into())) };
            y = y.zip(&c, Dispatch::float_add)?;
        }
        Ok(y.into())
    }
}

pub(super) fn matmul(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    product(&inputs.real(0)?, &inputs.real(1)?, scope).map(Value::from)
}

/// `x W + b`; the bias may be left out.
pub(super) fn dense(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let y = product(&inputs.real(0)?, &inputs.real(1)?, scope)?;
    Ok(match inputs.optional_real(2)? {
        Some(bias) => y.zip(&bias, Dispatch::float_add)?.into(),
        None => y.into(),
    })
}

/// The product of matrices in the last two axes; the axes before them broadcast.
pub(super) fn product(a: &Real, b: &Real, scope: &Scope) -> Outcome<Real> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err("a scalar is no matrix".into());
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.reshape(&[1, a.shape()[0]])? } else { a.clone() };
    let b = if column { b.reshape(&[b.shape()[0], 1])? } else { b.clone() };
    let (of_a, of_b) = (a.shape(), b.shape());
    let (rows, inner) = (of_a[of_a.len() - 2], of_a[of_a.len() - 1]);
    let columns = of_b[of_b.len() - 1];
    if inner != of_b[of_b.len() - 2] {
        return Err(format!("matrices of shapes {of_a:?} and {of_b:?} have no product"));
    }
    let batch = broadcast(&of_a[..of_a.len() - 2], &of_b[..of_b.len() - 2])?;
    let mut shape = batch.clone();
    shape.extend([rows, columns]);
    scope.fits(&shape)?;
    scope.takes(&[&shape[..], &[inner]].concat())?;
    let y = if b.rank() == 2 && count(&of_a[..of_a.len() - 2])? * rows > 0 {
        // One product of all rows.
        let all = a.reshape(&[count(&of_a[..of_a.len() - 1])?, inner])?;
        Dispatch::float_matmul(all.tensor(), b.tensor())
    } else {
        let whole = |real: &Real, last: [usize; 2]| {
            let mut shape = batch.clone();
            shape.extend(last);
            let elements = scope.fits(&shape)?;
            let stack = elements / (last[0] * last[1]);
            Ok::<_, String>(real.expand(&shape).reshape(&[stack, last[0], last[1]])?.tensor())
        };
        Dispatch::float_matmul(whole(&a, [rows, inner])?, whole(&b, [inner, columns])?)
    };
    if row {
        shape.remove(shape.len() - 2);
    }
    if column {
        shape.pop();
    }
    Real::new(y, vec![]).reshaped_as(&shape)
}
