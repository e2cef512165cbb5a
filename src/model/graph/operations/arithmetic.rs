//! Element by element: arithmetic, comparisons, logic, casts.
//!
//! Floats are computed on the device; integers and booleans on the host.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::{Shape, Tensor};

use super::super::value::{Array, Data, Real, Value, broadcast, broadcast_indices, mask};
use super::{Inputs, Kind, Outcome, Scope};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Unary {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    IsNan,
    IsInf { negative: bool, positive: bool },
}

impl Unary {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Abs => "absolute value",
            Self::Exp => "exponential",
            Self::Log => "logarithm",
            Self::Neg => "negation",
            Self::Sqrt => "square root",
            Self::Reciprocal => "reciprocal",
            _ => "function",
        }
    }

    pub(super) fn run(self, inputs: Inputs) -> Outcome<Value> {
        let value = inputs.get(0)?;
        if let Self::IsNan | Self::IsInf { .. } = self {
            let host = value.host();
            let test = |x: f32| match self {
                Self::IsInf { negative, positive } => {
                    (negative && x == f32::NEG_INFINITY) || (positive && x == f32::INFINITY)
                }
                _ => x.is_nan(),
            };
            return Ok(Array::bools(&host.shape[..], host.to_floats().into_iter().map(test).collect()).into());
        }
        if value.shape().contains(&0) {
            return Ok(value.clone());
        }
        if let Value::Host(host) = value
            && let Data::Int(values) = &host.data
        {
            let function = match self {
                Self::Abs => i64::wrapping_abs,
                Self::Neg => i64::wrapping_neg,
                Self::Sign => i64::signum,
                Self::Ceil | Self::Floor | Self::Round => std::convert::identity,
                _ => return Err("it takes floats, not integers".into()),
            };
            return Ok(Value::ints(&host.shape[..], values.iter().copied().map(function).collect()));
        }
        let function: fn(DispatchTensor) -> DispatchTensor = match self {
            Self::Abs => Dispatch::float_abs,
            Self::Acos => Dispatch::float_acos,
            Self::Acosh => Dispatch::float_acosh,
            Self::Asin => Dispatch::float_asin,
            Self::Asinh => Dispatch::float_asinh,
            Self::Atan => Dispatch::float_atan,
            Self::Atanh => Dispatch::float_atanh,
            Self::Ceil => Dispatch::float_ceil,
            Self::Cos => Dispatch::float_cos,
            Self::Cosh => Dispatch::float_cosh,
            Self::Erf => Dispatch::float_erf,
            Self::Exp => Dispatch::float_exp,
            Self::Floor => Dispatch::float_floor,
            Self::Log => Dispatch::float_log,
            Self::Neg => Dispatch::float_neg,
            Self::Reciprocal => Dispatch::float_recip,
            Self::Round => Dispatch::float_round,
            Self::Sign => Dispatch::float_sign,
            Self::Sin => Dispatch::float_sin,
            Self::Sinh => Dispatch::float_sinh,
            Self::Sqrt => Dispatch::float_sqrt,
            Self::Tan => Dispatch::float_tan,
            Self::IsNan | Self::IsInf { .. } => return Err("it gives no floats".into()),
        };
        Ok(inputs.real(0)?.map(function).into())
    }
}

/// A function of two numbers, with broadcasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    /// The remainder with the sign of the divisor, or of the dividend.
    Mod {
        truncated: bool,
    },
}

impl Binary {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Add => "sum",
            Self::Sub => "difference",
            Self::Mul => "product",
            Self::Div => "quotient",
            Self::Pow => "power",
            Self::Max => "maximum",
            Self::Min => "minimum",
            Self::Mod { .. } => "remainder",
        }
    }

    pub(super) fn run(self, left: &Value, right: &Value, scope: &Scope) -> Outcome<Value> {
        let shape = broadcast(left.shape(), right.shape())?;
        if let (Value::Host(a), Value::Host(b)) = (left, right)
            && let (Data::Int(x), Data::Int(y)) = (&a.data, &b.data)
        {
            scope.fits_host(&shape)?;
            let pairs =
                broadcast_indices(&a.shape, &shape).into_iter().zip(broadcast_indices(&b.shape, &shape));
            let values = pairs.map(|(i, j)| self.of_ints(x[i], y[j])).collect::<Outcome<_>>()?;
            return Ok(Value::ints(shape, values));
        }
        if shape.contains(&0) {
            return Ok(Array { shape, data: Data::Float(Vec::new()) }.into());
        }
        let elements = scope.fits(&shape)?;
        let (a, b) = (left.real(scope.device)?, right.real(scope.device)?);
        let result = match self {
            Self::Add => a.zip(&b, Dispatch::float_add),
            Self::Sub => a.zip(&b, Dispatch::float_sub),
            Self::Mul => a.zip(&b, Dispatch::float_mul),
            Self::Div => a.zip(&b, Dispatch::float_div),
            Self::Pow if b.shape().iter().product::<usize>() == 1 && b.rank() <= a.rank() => {
                // A square whose gradient is exact, also of numbers below zero.
                match b.to_floats()[..] {
                    [2.0] => Ok(a.map(|x| Dispatch::float_mul(x.clone(), x))),
                    [exponent] => Ok(a.map(|x| Dispatch::float_powf_scalar(x, exponent.into()))),
                    _ => Err("an exponent is missing".into()),
                }
            }
            Self::Pow => a.zip(&b, Dispatch::float_powf),
            Self::Max | Self::Min | Self::Mod { .. } => {
                let row = |real: &Real| {
                    let row =
                        Dispatch::float_reshape(real.expand(&shape).tensor(), Shape::from(vec![elements]));
                    Tensor::<1>::from_dispatch(row)
                };
                let (a, b) = (row(&a), row(&b));
                let row = match self {
                    Self::Max => a.max_pair(b),
                    Self::Min => a.min_pair(b),
                    _ => {
                        let quotient = a.clone() / b.clone();
                        let truncated = self == Self::Mod { truncated: true };
                        let whole = if truncated { quotient.trunc() } else { quotient.floor() };
                        // None of an infinite divisor is nothing.
                        let none = whole.clone().equal_elem(0.0);
                        a - (whole * b).mask_fill(none, 0.0)
                    }
                };
                return Ok(Real::from_tensor(row).reshape(&shape)?.into());
            }
        };
        Ok(result?.into())
    }

    fn of_ints(self, a: i64, b: i64) -> Outcome<i64> {
        let checked = match self {
            Self::Add => a.checked_add(b),
            Self::Sub => a.checked_sub(b),
            Self::Mul => a.checked_mul(b),
            Self::Div => a.checked_div(b),
            Self::Pow => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
            Self::Max => Some(a.max(b)),
            Self::Min => Some(a.min(b)),
            Self::Mod { truncated: true } => a.checked_rem(b),
            Self::Mod { truncated: false } => {
                a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
            }
        };
        checked.ok_or_else(|| format!("the {} of {a} and {b} is no integer of 64 bits", self.name()))
    }
}

/// A sum, maximum, minimum or mean of all inputs.
pub(super) fn variadic(operation: Binary, mean: bool, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let mut result = inputs.get(0)?.clone();
    for index in 1..inputs.len() {
        result = operation.run(&result, inputs.get(index)?, scope)?;
    }
    if mean {
        let share = 1.0 / inputs.len() as f32;
        let sum = result.real(scope.device)?;
        result = sum.map(|x| Dispatch::float_mul_scalar(x, share.into())).into();
    }
    Ok(result)
}

/// A comparison; its result is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
        }
    }

    pub(super) fn run(self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let (left, right) = (inputs.get(0)?, inputs.get(1)?);
        let floats = left.is_float() || right.is_float();
        pairs(inputs, scope, |a, b| {
            if floats {
                let (a, b) = (a.to_floats(), b.to_floats());
                Box::new(move |i, j| self.holds(a[i], b[j]))
            } else {
                let (a, b) = (a.to_ints(), b.to_ints());
                Box::new(move |i, j| self.holds(a[i], b[j]))
            }
        })
    }
}

/// A function of two booleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Logic {
    And,
    Or,
    Xor,
}

impl Logic {
    pub(super) fn run(self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        pairs(inputs, scope, |a, b| {
            let (a, b) = (a.to_bools(), b.to_bools());
            Box::new(move |i, j| match self {
                Self::And => a[i] && b[j],
                Self::Or => a[i] || b[j],
                Self::Xor => a[i] != b[j],
            })
        })
    }
}

type Test = Box<dyn Fn(usize, usize) -> bool>;

/// The booleans of a test over the pairs that broadcasting makes.
fn pairs(inputs: Inputs, scope: &Scope, test: impl FnOnce(&Array, &Array) -> Test) -> Outcome<Value> {
    let (a, b) = (inputs.get(0)?.host(), inputs.get(1)?.host());
    let shape = broadcast(&a.shape, &b.shape)?;
    scope.fits_host(&shape)?;
    let test = test(&a, &b);
    let pairs = broadcast_indices(&a.shape, &shape).into_iter().zip(broadcast_indices(&b.shape, &shape));
    let values = pairs.map(|(i, j)| test(i, j)).collect();
    Ok(Array::bools(shape, values).into())
}

pub(super) fn not(inputs: Inputs) -> Outcome<Value> {
    let host = inputs.get(0)?.host();
    Ok(Array::bools(&host.shape[..], host.to_bools().into_iter().map(|value| !value).collect()).into())
}

/// The second input where the first holds, the third elsewhere.
pub(super) fn choose(inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let (condition, yes, no) = (inputs.get(0)?.host(), inputs.get(1)?, inputs.get(2)?);
    let shape = broadcast(&condition.shape, &broadcast(yes.shape(), no.shape())?)?;
    scope.fits(&shape)?;
    let open: Vec<bool> = {
        let values = condition.to_bools();
        broadcast_indices(&condition.shape, &shape).into_iter().map(|index| values[index]).collect()
    };
    if let (Value::Host(yes), Value::Host(no)) = (yes, no) {
        let (from_yes, from_no) =
            (broadcast_indices(&yes.shape, &shape), broadcast_indices(&no.shape, &shape));
        fn pick<T: Copy>(open: &[bool], yes: (&[T], &[usize]), no: (&[T], &[usize])) -> Vec<T> {
            let place = |(k, open): (usize, &bool)| if *open { yes.0[yes.1[k]] } else { no.0[no.1[k]] };
            open.iter().enumerate().map(place).collect()
        }
        let data = match (&yes.data, &no.data) {
            (Data::Bool(a), Data::Bool(b)) => Data::Bool(pick(&open, (a, &from_yes), (b, &from_no))),
            (Data::Int(a), Data::Int(b)) => Data::Int(pick(&open, (a, &from_yes), (b, &from_no))),
            _ => Data::Float(pick(&open, (&yes.to_floats(), &from_yes), (&no.to_floats(), &from_no))),
        };
        return Ok(Array { shape, data }.into());
    }
    let (yes, no) = (inputs.real(1)?.expand(&shape), inputs.real(2)?.expand(&shape));
    let open = mask(&shape, open, scope.device);
    Ok(Real::new(Dispatch::float_mask_where(no.tensor(), open, yes.tensor()), shape).into())
}

pub(super) fn cast(value: &Value, kind: Kind) -> Outcome<Value> {
    let host = match (value, kind) {
        (Value::Real(_), Kind::Float) => return Ok(value.clone()),
        (value, _) => value.host(),
    };
    let data = match kind {
        Kind::Float => Data::Float(host.to_floats()),
        Kind::Bool => Data::Bool(host.to_bools()),
        Kind::Int { bits, signed } => {
            let wrap = |value: i64| match (bits, signed) {
                (8, true) => i64::from(value as i8),
                (8, false) => i64::from(value as u8),
                (16, true) => i64::from(value as i16),
                (16, false) => i64::from(value as u16),
                (32, true) => i64::from(value as i32),
                (32, false) => i64::from(value as u32),
                _ => value,
            };
            Data::Int(host.to_ints().into_iter().map(wrap).collect())
        }
    };
    Ok(Array { shape: host.shape.clone(), data }.into())
}

pub(super) fn cast_like(inputs: Inputs) -> Outcome<Value> {
    let kind = match inputs.get(1)? {
        Value::Real(_) => Kind::Float,
        Value::Host(host) => match host.data {
            Data::Float(_) => Kind::Float,
            Data::Bool(_) => Kind::Bool,
            Data::Int(_) => Kind::Int { bits: 64, signed: true },
        },
    };
    cast(inputs.get(0)?, kind)
}
