//! Normalisations with the statistics of a file, or of the value itself.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::{Dispatch, DispatchTensor};

use super::super::value::{Real, Value};
use super::{Inputs, Outcome, axes, axis};

/// A normalisation.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Norm {
    /// By the mean and variance in the inputs.
    Batch {
        epsilon: f32,
    },
    Instance {
        epsilon: f32,
    },
    Group {
        groups: usize,
        epsilon: f32,
        scale_by_group: bool,
    },
    Layer {
        axis: i64,
        epsilon: f32,
    },
    RootMeanSquare {
        axis: i64,
        epsilon: f32,
    },
    /// By the squares of neighbouring channels.
    Local {
        alpha: f32,
        beta: f32,
        bias: f32,
        size: usize,
    },
    /// To length 1 in the first or second norm along an axis.
    Length {
        axis: i64,
        first: bool,
    },
    MeanVariance {
        axes: Vec<i64>,
    },
}

/// The mean over some axes, which stay with size 1.
pub(super) fn mean(x: DispatchTensor, dims: &[usize]) -> DispatchTensor {
    dims.iter().fold(x, |x, dim| Dispatch::float_mean_dim(x, *dim))
}

/// `(x − mean) / √(variance + ε)` over some axes, and the mean and the reciprocal of the root.
fn standardized(x: &Real, dims: &[usize], epsilon: f32) -> (DispatchTensor, DispatchTensor, DispatchTensor) {
    let x = x.tensor();
    let centre = mean(x.clone(), dims);
    let from_centre = Dispatch::float_sub(x, centre.clone());
    let variance = mean(Dispatch::float_mul(from_centre.clone(), from_centre.clone()), dims);
    let root = Dispatch::float_sqrt(Dispatch::float_add_scalar(variance, epsilon.into()));
    let inverse = Dispatch::float_recip(root);
    (Dispatch::float_mul(from_centre, inverse.clone()), centre, inverse)
}

impl Norm {
    pub(in super::super) fn name(&self) -> &'static str {
        match self {
            Self::Batch { .. } => "batch normalization",
            Self::Instance { .. } => "instance normalization",
            Self::Group { .. } => "group normalization",
            Self::Layer { .. } => "layer normalization",
            Self::Local { .. } => "local normalization",
            _ => "normalization",
        }
    }

    pub(super) fn run(&self, inputs: Inputs) -> Outcome {
        let x = inputs.real(0)?;
        let shape = x.shape().to_vec();
        let rank = shape.len();
        let needed = if let Self::Batch { .. }
        | Self::Instance { .. }
        | Self::Group { .. }
        | Self::Local { .. } = self
        {
            2
        } else {
            1
        };
        if rank < needed {
            return Err(format!("it takes rank {needed} or more, not {shape:?}"));
        }
        // A number a channel.
        let channelwise = |index: usize| -> Outcome<Real> {
            let values = inputs.real(index)?;
            if values.shape() != [shape[1]] {
                return Err(format!(
                    "input {index} of shape {:?} is not one number a channel",
                    values.shape()
                ));
            }
            let mut around = vec![1; rank];
            around[1] = shape[1];
            values.reshape(&around)
        };
        let spatial: Vec<usize> = (2..rank).collect();
        let plain = |tensor| Real::new(tensor, shape.clone());
        let y = match self {
            Self::Batch { epsilon } => {
                let (factor, offset) =
                    affine(&channelwise(1)?, &channelwise(2)?, &channelwise(3)?, &channelwise(4)?, *epsilon)?;
                x.zip(&factor, Dispatch::float_mul)?.zip(&offset, Dispatch::float_add)?
            }
            Self::Instance { epsilon } => {
                let (y, ..) = standardized(&x, &spatial, *epsilon);
                plain(y)
                    .zip(&channelwise(1)?, Dispatch::float_mul)?
                    .zip(&channelwise(2)?, Dispatch::float_add)?
            }
            Self::Group { groups, epsilon, scale_by_group } => {
                if *groups == 0 || shape[1] % groups != 0 {
                    return Err(format!("{} channels can't be cut into {groups} groups", shape[1]));
                }
                let rest = shape[1..].iter().product::<usize>() / groups;
                let rows = x.reshape(&[shape[0], *groups, rest])?;
                let (y, ..) = standardized(&rows, &[2], *epsilon);
                let rows = Real::new(y, vec![shape[0], *groups, rest]);
                if *scale_by_group {
                    let by_group = |index: usize| inputs.real(index)?.reshape(&[1, *groups, 1]);
                    let rows = rows.zip(&by_group(1)?, Dispatch::float_mul)?;
                    rows.zip(&by_group(2)?, Dispatch::float_add)?.reshape(&shape)?
                } else {
                    let y = rows.reshape(&shape)?.zip(&channelwise(1)?, Dispatch::float_mul)?;
                    y.zip(&channelwise(2)?, Dispatch::float_add)?
                }
            }
            Self::Layer { axis: along, epsilon } | Self::RootMeanSquare { axis: along, epsilon } => {
                let from = axis(*along, rank)?;
                let dims: Vec<usize> = (from..rank).collect();
                let (y, centre, inverse) = if let Self::Layer { .. } = self {
                    standardized(&x, &dims, *epsilon)
                } else {
                    let tensor = x.tensor();
                    let power = mean(Dispatch::float_mul(tensor.clone(), tensor.clone()), &dims);
                    let root = Dispatch::float_sqrt(Dispatch::float_add_scalar(power, (*epsilon).into()));
                    let inverse = Dispatch::float_recip(root);
                    (Dispatch::float_mul(tensor, inverse.clone()), inverse.clone(), inverse)
                };
                let mut y = plain(y);
                let fits = |real: &Real| {
                    super::super::value::broadcast(&shape, real.shape()).as_deref() == Ok(&shape[..])
                };
                for (index, operation) in [(1, true), (2, false)] {
                    let Some(values) = inputs.optional_real(index)? else { continue };
                    if !fits(&values) {
                        return Err(format!(
                            "input {index} of shape {:?} does not fit {shape:?}",
                            values.shape()
                        ));
                    }
                    let with = if operation { Dispatch::float_mul } else { Dispatch::float_add };
                    y = y.zip(&values, with)?;
                }
                let mut statistics = shape.clone();
                statistics[from..].fill(1);
                let of = |tensor: DispatchTensor| Value::Real(Real::new(tensor, statistics.clone()));
                return Ok(vec![y.into(), of(centre), of(inverse)]);
            }
            Self::Local { alpha, beta, bias, size } => {
                let pixels = shape[2..].iter().product::<usize>().max(1);
                let size = *size;
                if size == 0 || size > shape[1] * 2 + 1 {
                    return Err(format!("a window of {size} channels does not fit {}", shape[1]));
                }
                let squares =
                    x.map(|x| Dispatch::float_mul(x.clone(), x)).reshape(&[shape[0], 1, shape[1], pixels])?;
                let before = (size - 1) / 2;
                let squares = super::slice::padded(
                    &squares,
                    &[(0, 0), (0, 0), (before, size - 1 - before), (0, 0)],
                    0.0,
                );
                let means = Dispatch::avg_pool2d(squares.tensor(), [size, 1], [1, 1], [0, 0], true, false);
                let power = Real::new(means, vec![shape[0], 1, shape[1], pixels]).reshape(&shape)?;
                let divisor = power.map(|power| {
                    let sum = Dispatch::float_add_scalar(
                        Dispatch::float_mul_scalar(power, (*alpha).into()),
                        (*bias).into(),
                    );
                    Dispatch::float_powf_scalar(sum, (*beta).into())
                });
                plain(x.tensor()).zip(&divisor, Dispatch::float_div)?
            }
            Self::Length { axis: along, first } => {
                let dim = axis(*along, rank)?;
                let tensor = x.tensor();
                let length = if *first {
                    Dispatch::float_sum_dim(Dispatch::float_abs(tensor.clone()), dim)
                } else {
                    super::reduction::root(Dispatch::float_sum_dim(
                        Dispatch::float_mul(tensor.clone(), tensor.clone()),
                        dim,
                    ))
                };
                let length = Dispatch::float_clamp_min(length, f32::MIN_POSITIVE.sqrt().into());
                plain(Dispatch::float_div(tensor, length))
            }
            Self::MeanVariance { axes: list } => {
                let (y, ..) = standardized(&x, &axes(list, rank)?, 1e-9);
                plain(y)
            }
        };
        Ok(vec![y.into()])
    }
}

/// A normalisation over the last axis, or by known statistics, whose numbers a file holds.
pub(in super::super) struct FrozenNorm {
    pub(in super::super) norm: Norm,
    /// Made at the first run where there is a kernel of our own.
    #[cfg(feature = "flex")]
    ready: std::sync::OnceLock<crate::convolution::Unary>,
}

impl FrozenNorm {
    pub(in super::super) fn new(norm: Norm) -> Self {
        Self {
            norm,
            #[cfg(feature = "flex")]
            ready: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn run(&self, inputs: Inputs) -> Outcome {
        #[cfg(feature = "flex")]
        if let Some(y) = self.by_kernel(inputs)? {
            return Ok(vec![y.into()]);
        }
        self.norm.run(inputs)
    }

    #[cfg(feature = "flex")]
    fn by_kernel(&self, inputs: Inputs) -> Outcome<Option<Real>> {
        use crate::convolution::{Unary, apply, is_own};
        let x = inputs.real(0)?;
        let shape = x.shape();
        let tensor = x.tensor();
        if shape.contains(&0) || !is_own(&tensor) {
            return Ok(None);
        }
        let list = |index: usize, length: usize| -> Outcome<Option<Vec<f32>>> {
            let real = inputs.real(index)?;
            Ok((real.shape() == [length]).then(|| real.to_floats()))
        };
        let make = || -> Outcome<Option<Unary>> {
            match (&self.norm, shape) {
                (Norm::Layer { axis: along, epsilon }, [.., width]) => {
                    if axis(*along, shape.len())? + 1 != shape.len() {
                        return Ok(None);
                    }
                    let mut affine = [None, None];
                    for (place, index) in affine.iter_mut().zip(1..) {
                        if inputs.optional(index).is_some() {
                            let Some(list) = list(index, *width)? else { return Ok(None) };
                            *place = Some(list);
                        }
                    }
                    Ok(Some(Unary::LayerNorm { epsilon: *epsilon, affine: affine.into() }))
                }
                (Norm::Batch { epsilon }, [_, channels, ..]) => {
                    for index in 1..5 {
                        if list(index, *channels)?.is_none() {
                            return Ok(None);
                        }
                    }
                    let (factor, offset) = affine(
                        &inputs.real(1)?,
                        &inputs.real(2)?,
                        &inputs.real(3)?,
                        &inputs.real(4)?,
                        *epsilon,
                    )?;
                    Ok(Some(Unary::Scale([factor.to_floats(), offset.to_floats()].into())))
                }
                _ => Ok(None),
            }
        };
        let ready = match self.ready.get() {
            Some(ready) => ready,
            None => match make()? {
                Some(made) => self.ready.get_or_init(|| made),
                None => return Ok(None),
            },
        };
        // What was made for another shape does not fit this one.
        let fits = match ready {
            Unary::LayerNorm { affine, .. } => {
                let width = shape.last().copied();
                affine.iter().flatten().all(|list| Some(list.len()) == width)
            }
            Unary::Scale(affine) => shape.get(1) == Some(&affine[0].len()),
            _ => false,
        };
        if !fits {
            return Ok(None);
        }
        Ok(Some(Real::new(apply(tensor, ready.clone()), shape.to_vec())))
    }
}

/// The factor and the summand that batch normalisation is: `γ / √(σ² + ε)` and `β − μ γ / √(σ² + ε)`.
pub(in super::super) fn affine(
    gamma: &Real,
    beta: &Real,
    mean: &Real,
    variance: &Real,
    epsilon: f32,
) -> Outcome<(Real, Real)> {
    let root =
        variance.map(|variance| Dispatch::float_sqrt(Dispatch::float_add_scalar(variance, epsilon.into())));
    let factor = gamma.zip(&root, Dispatch::float_div)?;
    let offset = beta.zip(&mean.zip(&factor, Dispatch::float_mul)?, Dispatch::float_sub)?;
    Ok((factor, offset))
}
