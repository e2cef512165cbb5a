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

/// The product of the last axis with a matrix that is known, and a bias; packed at the first run where there is a kernel
/// of our own.
pub(in super::super) struct Frozen {
    transposed: bool,
    scale: f32,
    /// Whether the axes of the result are kept in the order of those of the input.
    pub(super) keeps_axes: bool,
    #[cfg(feature = "flex")]
    ready: std::sync::OnceLock<std::sync::Arc<(vis_kernels::Dense, Option<Vec<f32>>)>>,
}

impl Frozen {
    /// `scale · x · matrix`, or its transpose.
    pub(in super::super) fn new(transposed: bool, scale: f32, keeps_axes: bool) -> Self {
        Self {
            transposed,
            scale,
            keeps_axes,
            #[cfg(feature = "flex")]
            ready: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let (x, matrix, bias) = (inputs.real(0)?, inputs.real(1)?, inputs.optional_real(2)?);
        #[cfg(feature = "flex")]
        if let Some(y) = self.by_kernel(&x, &matrix, bias.as_ref(), scope) {
            return y.map(Value::from);
        }
        let matrix = if self.transposed { matrix.transpose(&[1, 0]) } else { matrix };
        let mut y = product(&x, &matrix, scope)?;
        if self.scale != 1.0 {
            y = y.map(|y| Dispatch::float_mul_scalar(y, self.scale.into()));
        }
        Ok(match bias {
            Some(bias) => y.zip(&bias, Dispatch::float_add)?.into(),
            None => y.into(),
        })
    }

    #[cfg(feature = "flex")]
    fn by_kernel(
        &self,
        x: &Real,
        matrix: &Real,
        bias: Option<&Real>,
        scope: &Scope,
    ) -> Option<Outcome<Real>> {
        use crate::convolution::{Unary, apply, is_own};
        let [rows, columns] = *matrix.shape() else { return None };
        let [depth, width] = if self.transposed { [columns, rows] } else { [rows, columns] };
        let mut shape = x.shape().to_vec();
        if shape.len() < 2 || shape.contains(&0) || depth == 0 || width == 0 {
            return None;
        }
        let last = shape.last_mut().filter(|last| **last == depth)?;
        *last = width;
        if let Err(reason) = scope.fits(&shape).and_then(|_| scope.takes(&[&shape[..], &[depth]].concat())) {
            return Some(Err(reason));
        }
        let tensor = x.tensor();
        is_own(&tensor).then(|| {
            let ready = self.ready.get_or_init(|| {
                let mut numbers = matrix.to_floats();
                if self.scale != 1.0 {
                    numbers.iter_mut().for_each(|number| *number *= self.scale);
                }
                let dense = vis_kernels::Dense::new(&numbers, [depth, width], self.transposed);
                (dense, bias.map(Real::to_floats)).into()
            });
            Ok(Real::new(apply(tensor, Unary::Dense(ready.clone())), shape))
        })
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
