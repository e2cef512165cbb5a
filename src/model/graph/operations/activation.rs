//! Activations, under the backward rule of the run.

use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::Tensor;

use super::super::value::{Array, Data, Real, Value};
use super::{Inputs, Outcome, Scope, axis};
use crate::backprop::{self, Rectifier, Rule};
#[cfg(feature = "flex")]
use crate::convolution;

/// An activation function.
///
/// ReLU, clips from 0, and leaky ReLU are rectifiers in the sense of [`Rule`]. The others obey these rules, where
/// `g` is the cotangent of the output: plain and redirected `g · f′(x)`, guided `max(g, 0) · f′(x)`, deconvolution
/// `max(g, 0)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Activation {
    Relu,
    /// Between the second and the third input.
    Clip,
    Leaky(f32),
    /// With slopes in the second input.
    PRelu,
    Elu(f32),
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Celu(f32),
    Gelu {
        tanh: bool,
    },
    Sigmoid,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    /// `x · sigmoid(α x)`; SiLU where α is 1.
    Swish(f32),
    Mish,
    Softplus,
    Softsign,
    Tanh,
    Thresholded(f32),
    Shrink {
        lambda: f32,
        bias: f32,
    },
}

impl Activation {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Clip => "clip",
            Self::Leaky(_) => "leaky relu",
            Self::PRelu => "prelu",
            Self::Elu(_) => "elu",
            Self::Selu { .. } => "selu",
            Self::Celu(_) => "celu",
            Self::Gelu { .. } => "gelu",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard sigmoid",
            Self::HardSwish => "hard swish",
            Self::Swish(_) => "swish",
            Self::Mish => "mish",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::Tanh => "tanh",
            Self::Thresholded(_) => "thresholded relu",
            Self::Shrink { .. } => "shrink",
        }
    }

    pub(super) fn run(self, inputs: Inputs, scope: &mut Scope) -> Outcome<Value> {
        if self == Self::Clip {
            return clip(inputs, scope);
        }
        if let Value::Host(host) = inputs.get(0)?
            && let (Self::Relu, Data::Int(values)) = (self, &host.data)
        {
            return Ok(Value::ints(&host.shape[..], values.iter().map(|value| *value.max(&0)).collect()));
        }
        let x = inputs.real(0)?;
        if let Some(rectifier) = self.rectifier() {
            let rule = scope.taps.meet_rectifier();
            return Ok(x.map(|x| rectify(x, rectifier, rule)).into());
        }
        if self == Self::PRelu {
            let slopes = inputs.real(1)?;
            // Keras and ONNX write [channels, 1, 1]; some exporters write [channels].
            let slopes = match *slopes.shape() {
                [channels] if channels > 1 && x.rank() > 2 && x.shape()[x.rank() - 1] != channels => {
                    let mut shape = vec![1; x.rank() - 1];
                    shape[0] = channels;
                    slopes.reshape(&shape)?
                }
                _ => slopes,
            };
            if super::super::value::broadcast(x.shape(), slopes.shape())? != x.shape() {
                return Err(format!("slopes of shape {:?} don't fit {:?}", slopes.shape(), x.shape()));
            }
            let rule = scope.taps.meet_rectifier();
            let negative = x.map(|x| Dispatch::float_neg(Dispatch::relu(Dispatch::float_neg(x))));
            let y = negative.zip(&slopes, Dispatch::float_mul)?;
            let y = x.map(Dispatch::relu).zip(&y, Dispatch::float_add)?;
            return under(rule, &x, y).map(Value::from);
        }
        // Sigmoid and tanh are gates as often as activations: they keep their derivative.
        if let Self::Sigmoid | Self::Tanh | Self::HardSigmoid { .. } | Self::Softplus = self {
            return self.plain(inputs);
        }
        let rule = scope.taps.meet_rectifier();
        if let Some(y) = self.by_kernel(&x, rule) {
            return Ok(y.into());
        }
        let y = x.map(|x| self.function(x));
        under(rule, &x, y).map(Value::from)
    }

    /// With its derivative under every rule.
    pub(super) fn plain(self, inputs: Inputs) -> Outcome<Value> {
        let x = inputs.real(0)?;
        Ok(self.by_kernel(&x, Rule::Plain).unwrap_or_else(|| x.map(|x| self.function(x))).into())
    }

    /// By a kernel of our own, where there is one.
    pub(super) fn by_kernel(self, x: &Real, rule: Rule) -> Option<Real> {
        #[cfg(feature = "flex")]
        {
            use vis_kernels::Function;
            let function = match self {
                Self::Elu(alpha) => Function::Elu(alpha),
                Self::Selu { alpha, gamma } => Function::Selu { alpha, gamma },
                Self::Celu(alpha) => Function::Celu(alpha),
                Self::Gelu { tanh: false } => Function::Gelu,
                Self::Gelu { tanh: true } => Function::GeluTanh,
                Self::Sigmoid => Function::Sigmoid,
                Self::HardSigmoid { alpha, beta } => Function::HardSigmoid { alpha, beta },
                Self::HardSwish => Function::HardSwish,
                Self::Swish(alpha) => Function::Swish(alpha),
                Self::Mish => Function::Mish,
                Self::Softplus => Function::Softplus,
                Self::Softsign => Function::Softsign,
                Self::Tanh => Function::Tanh,
                _ => return None,
            };
            // What is redirected passes these as it is.
            let rule = match rule {
                Rule::Plain | Rule::Redirected => vis_kernels::Rule::Plain,
                Rule::Guided => vis_kernels::Rule::Guided,
                Rule::Deconvolution => vis_kernels::Rule::Deconvolution,
            };
            let operation = convolution::Unary::Function(function, rule);
            convolution::is_own(&x.stored()).then(|| x.map(|x| convolution::apply(x, operation)))
        }
        #[cfg(not(feature = "flex"))]
        {
            let _ = (x, rule);
            None
        }
    }

    /// The rectifier that it is.
    pub(in super::super) fn rectifier(self) -> Option<Rectifier> {
        match self {
            Self::Relu => Some(Rectifier::Relu),
            Self::Leaky(0.0) => Some(Rectifier::Relu),
            Self::Leaky(slope) if slope > 0.0 => Some(Rectifier::Leaky(slope)),
            _ => None,
        }
    }

    fn function(self, x: DispatchTensor) -> DispatchTensor {
        let times = |x: DispatchTensor, factor: f32| Dispatch::float_mul_scalar(x, factor.into());
        let plus = |x: DispatchTensor, summand: f32| Dispatch::float_add_scalar(x, summand.into());
        // α (exp(min(x, 0)) − 1), which is finite everywhere.
        let exponential = |x: DispatchTensor, alpha: f32| {
            // At 0 its derivative is 1, where that of the rectifier is 0.
            let negative = Dispatch::float_sub(x.clone(), Dispatch::relu(x));
            times(plus(Dispatch::float_exp(negative), -1.0), alpha)
        };
        let softplus = |x: DispatchTensor| {
            // (x + |x|) / 2 + ln(1 + exp(−|x|)), whose derivative at 0 is 1/2.
            let size = Dispatch::float_abs(x.clone());
            let small = Dispatch::float_exp(Dispatch::float_neg(size.clone()));
            Dispatch::float_add(times(Dispatch::float_add(x, size), 0.5), Dispatch::float_log1p(small))
        };
        match self {
            Self::Leaky(slope) => Dispatch::leaky_relu(x, slope.into()),
            Self::Elu(alpha) => Dispatch::float_add(Dispatch::relu(x.clone()), exponential(x, alpha)),
            Self::Selu { alpha, gamma } => {
                times(Dispatch::float_add(Dispatch::relu(x.clone()), exponential(x, alpha)), gamma)
            }
            Self::Celu(alpha) => {
                Dispatch::float_add(Dispatch::relu(x.clone()), exponential(times(x, 1.0 / alpha), alpha))
            }
            Self::Gelu { tanh: false } => {
                let erf = Dispatch::float_erf(times(x.clone(), std::f32::consts::FRAC_1_SQRT_2));
                times(Dispatch::float_mul(x, plus(erf, 1.0)), 0.5)
            }
            Self::Gelu { tanh: true } => {
                let cube = Dispatch::float_mul(Dispatch::float_mul(x.clone(), x.clone()), x.clone());
                let inner = Dispatch::float_add(x.clone(), times(cube, 0.044_715));
                let tanh = Dispatch::float_tanh(times(inner, (2.0 / std::f32::consts::PI).sqrt()));
                times(Dispatch::float_mul(x, plus(tanh, 1.0)), 0.5)
            }
            Self::Sigmoid => Dispatch::sigmoid(x),
            Self::HardSigmoid { alpha, beta } => {
                Dispatch::float_clamp(plus(times(x, alpha), beta), 0f32.into(), 1f32.into())
            }
            Self::HardSwish => {
                let gate =
                    Dispatch::float_clamp(plus(times(x.clone(), 1.0 / 6.0), 0.5), 0f32.into(), 1f32.into());
                Dispatch::float_mul(x, gate)
            }
            Self::Swish(alpha) => Dispatch::float_mul(x.clone(), Dispatch::sigmoid(times(x, alpha))),
            Self::Mish => Dispatch::float_mul(x.clone(), Dispatch::float_tanh(softplus(x))),
            Self::Softplus => softplus(x),
            Self::Softsign => Dispatch::float_div(x.clone(), plus(Dispatch::float_abs(x), 1.0)),
            Self::Tanh => Dispatch::float_tanh(x),
            // x · H(x − threshold)
            Self::Thresholded(threshold) => {
                Dispatch::float_mul(x.clone(), step(plus(Dispatch::float_detach(x), -threshold)))
            }
            Self::Shrink { lambda, bias } => {
                let fixed = Dispatch::float_detach(x.clone());
                let above = step(plus(fixed.clone(), -lambda));
                let below = step(plus(Dispatch::float_neg(fixed), -lambda));
                Dispatch::float_add(
                    Dispatch::float_mul(plus(x.clone(), -bias), above),
                    Dispatch::float_mul(plus(x, bias), below),
                )
            }
            Self::Relu | Self::Clip | Self::PRelu => Dispatch::relu(x),
        }
    }
}

/// 1 above zero, else 0.
fn step(x: DispatchTensor) -> DispatchTensor {
    Dispatch::relu(Dispatch::float_sign(x))
}

fn rectify(x: DispatchTensor, rectifier: Rectifier, rule: Rule) -> DispatchTensor {
    // The rank of the tensor is that of the data; the type's plays no part.
    backprop::rectify(Tensor::<1>::from_dispatch(x), rectifier, rule).into_dispatch()
}

/// An activation `y` of `x` under a backward rule.
fn under(rule: Rule, x: &Real, y: Real) -> Outcome<Real> {
    // The identity as a rectifier that is open everywhere: of the rule, it does what is done to the cotangent.
    let gate = |y: DispatchTensor| rectify(y, Rectifier::Leaky(1.0), rule);
    match rule {
        Rule::Plain | Rule::Redirected => Ok(y),
        Rule::Guided => Ok(y.map(gate)),
        Rule::Deconvolution => {
            let change = y.zip(x, Dispatch::float_sub)?.map(Dispatch::float_detach);
            Ok(x.zip(&change, Dispatch::float_add)?.map(gate))
        }
    }
}

/// The bounds of a clip.
fn clip(inputs: Inputs, scope: &mut Scope) -> Outcome<Value> {
    if let Value::Host(host) = inputs.get(0)?
        && let Data::Int(values) = &host.data
    {
        let bound =
            |index: usize| Ok::<_, String>(inputs.optional(index).map(|value| value.host().to_ints()));
        let (low, high) = (bound(1)?, bound(2)?);
        let low = low.and_then(|low| low.first().copied()).unwrap_or(i64::MIN);
        let high = high.and_then(|high| high.first().copied()).unwrap_or(i64::MAX);
        let values = values.iter().map(|value| *value.max(&low).min(&high)).collect();
        return Ok(Array::ints(&host.shape[..], values).into());
    }
    let x = inputs.real(0)?;
    let finite = |bound: f32| bound.is_finite() && bound.abs() < f32::MAX;
    let low = inputs.optional_number(1)?.filter(|low| finite(*low));
    let high = inputs.optional_number(2)?.filter(|high| finite(*high));
    let y = match (low, high) {
        (None, None) => x,
        (Some(0.0), None) => {
            let rule = scope.taps.meet_rectifier();
            x.map(|x| rectify(x, Rectifier::Relu, rule))
        }
        (Some(0.0), Some(high)) if high > 0.0 => {
            let rule = scope.taps.meet_rectifier();
            if high == 6.0 {
                x.map(|x| rectify(x, Rectifier::Relu6, rule))
            } else {
                // The scaled rectifier; what is above the bound gives it to the last digit.
                let scaled = x.map(|x| Dispatch::float_mul_scalar(x, (6.0 / high).into()));
                let y = scaled.map(|x| rectify(x, Rectifier::Relu6, rule));
                y.map(|y| Dispatch::float_mul_scalar(y, (high / 6.0).into()))
            }
        }
        (low, high) => {
            let rule = scope.taps.meet_rectifier();
            let mut y = x.clone();
            if let Some(low) = low {
                y = y.map(|y| Dispatch::float_clamp_min(y, low.into()));
            }
            if let Some(high) = high {
                y = y.map(|y| Dispatch::float_clamp_max(y, high.into()));
            }
            under(rule, &x, y)?
        }
    };
    Ok(y.into())
}

/// Softmax along an axis; before opset 13, over all axes from it on.
pub(super) fn softmax(inputs: Inputs, along: i64, logarithm: bool, flattened: bool) -> Outcome<Value> {
    let x = inputs.real(0)?;
    if x.rank() == 0 {
        return Err("a scalar has no axis".into());
    }
    let dim = if flattened && along == x.rank() as i64 { x.rank() } else { axis(along, x.rank())? };
    #[cfg(feature = "flex")]
    if !logarithm && !flattened && dim + 1 == x.rank() && !x.shape().contains(&0) {
        let tensor = x.tensor();
        if convolution::is_own(&tensor) {
            let y = convolution::apply(tensor, convolution::Unary::Softmax);
            return Ok(Real::new(y, x.shape().to_vec()).into());
        }
    }
    let function = |x: DispatchTensor, dim: usize| {
        if logarithm { Dispatch::log_softmax(x, dim) } else { Dispatch::softmax(x, dim) }
    };
    if flattened && dim + 1 != x.rank() {
        let shape = x.shape().to_vec();
        let rows = shape[..dim].iter().product::<usize>();
        let rows = x.reshape(&[rows, shape[dim..].iter().product()])?;
        return rows.map(|rows| function(rows, 1)).reshape(&shape).map(Value::from);
    }
    Ok(Real::new(function(x.tensor(), dim), x.shape().to_vec()).into())
}
