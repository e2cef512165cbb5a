//! Activation functions and their derivatives, sixteen numbers at a time.
//!
//! Exponentials are `2ⁿ · p(r)` with a polynomial `p` on `|r| ≤ ln 2 / 2`; the error function and the hyperbolic tangent are
//! the polynomials of Cephes. All are right to some units of the last place of the result, or of 1 where it is smaller.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use crate::fused::Rule;
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch, load, store};
use crate::threads::{Parts, for_each};

/// Numbers that a task computes.
const TASK: usize = 1 << 14;

/// A function of every number apart.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// `x` above 0, `α (eˣ − 1)` below.
    Elu(f32),
    /// `γ` times [`Elu`](Self::Elu).
    Selu {
        /// The bound below, before the factor.
        alpha: f32,
        /// The factor.
        gamma: f32,
    },
    /// `x` above 0, `α (e^(x/α) − 1)` below.
    Celu(f32),
    /// `x Φ(x)` with the normal distribution's `Φ`.
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    GeluTanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `α x + β` between 0 and 1.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x` times `x / 6 + 1/2`, which is kept between 0 and 1.
    HardSwish,
    /// `x / (1 + e^(−α x))`.
    Swish(f32),
    /// `x tanh(ln(1 + eˣ))`.
    Mish,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// The hyperbolic tangent.
    Tanh,
}

/// `output = f(input)`.
///
/// # Panics
/// If the lengths differ.
pub fn apply(function: Function, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "a function of every number apart");
    let parts = Parts::new(output, TASK);
    for_each(input.len().div_ceil(TASK), |task| {
        let input = &input[task * TASK..input.len().min((task + 1) * TASK)];
        // SAFETY: each task has a part of its own; the kernel has no pointers.
        unsafe { dispatch(Forward { function, input, output: parts.get(task) }) }
    });
}

/// The gradient with respect to the input: `cotangent · f′(input)`; guided, of positive cotangents alone; under the rule of
/// deconvolution, the positive cotangents themselves.
///
/// # Panics
/// If the lengths differ.
pub fn pull_back(function: Function, rule: Rule, input: &[f32], cotangent: &[f32], gradient: &mut [f32]) {
    let length = input.len();
    assert!(cotangent.len() == length && gradient.len() == length, "a function of every number apart");
    let parts = Parts::new(gradient, TASK);
    for_each(length.div_ceil(TASK), |task| {
        let part = task * TASK..length.min((task + 1) * TASK);
        let (input, cotangent) = (&input[part.clone()], &cotangent[part]);
        // SAFETY: each task has a part of its own; the kernel has no pointers.
        unsafe { dispatch(Backward { function, rule, input, cotangent, gradient: parts.get(task) }) }
    });
}

/// Calls a macro with each function by a name that is known when it is compiled, so that every loop has one alone.
macro_rules! for_function {
    ($function:expr, $set:expr, $run:ident) => {
        match $function {
            Function::Elu(alpha) => $run!(|x| elu($set, x, alpha, 1.0)),
            Function::Selu { alpha, gamma } => $run!(|x| elu($set, x, alpha, gamma)),
            Function::Celu(alpha) => $run!(|x| celu($set, x, alpha)),
            Function::Gelu => $run!(|x| gelu($set, x)),
            Function::GeluTanh => $run!(|x| gelu_tanh($set, x)),
            Function::Sigmoid => $run!(|x| sigmoid($set, x)),
            Function::HardSigmoid { alpha, beta } => $run!(|x| hard_sigmoid($set, x, alpha, beta)),
            Function::HardSwish => $run!(|x| hard_swish($set, x)),
            Function::Swish(alpha) => $run!(|x| swish($set, x, alpha)),
            Function::Mish => $run!(|x| mish($set, x)),
            Function::Softplus => $run!(|x| softplus($set, x)),
            Function::Softsign => $run!(|x| softsign($set, x)),
            Function::Tanh => $run!(|x| hyperbolic($set, x)),
        }
    };
}

/// A task: the function of some numbers.
struct Forward<'a> {
    function: Function,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Forward { function, input, output } = self;
        macro_rules! run {
            (|$x:ident| $value:expr) => {{
                for at in (0..input.len()).step_by(LANES) {
                    let $x = load(set, input, at);
                    let (y, _) = $value;
                    store(y, output, at);
                }
            }};
        }
        for_function!(function, set, run);
    }
}

/// A task: the gradient of some numbers.
struct Backward<'a> {
    function: Function,
    rule: Rule,
    input: &'a [f32],
    cotangent: &'a [f32],
    gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Backward { function, rule, input, cotangent, gradient } = self;
        let zero = set.splat(0.0);
        macro_rules! run {
            (|$x:ident| $value:expr) => {{
                for at in (0..input.len()).step_by(LANES) {
                    let $x = load(set, input, at);
                    let mut g = load(set, cotangent, at);
                    if rule != Rule::Plain {
                        g = g.zero_where_at_most(g, zero);
                    }
                    if rule != Rule::Deconvolution {
                        let (_, slope) = $value;
                        g = g.mul(slope);
                    }
                    store(g, gradient, at);
                }
            }};
        }
        for_function!(function, set, run);
    }
}

/// A polynomial, by the coefficients of falling powers.
#[inline(always)]
fn polynomial<S: InstructionSet, const N: usize>(set: S, x: S::Lanes, coefficients: [f32; N]) -> S::Lanes {
    let mut sum = set.splat(coefficients[0]);
    for index in 1..N {
        sum = sum.mul_add(x, set.splat(coefficients[index]));
    }
    sum
}

#[inline(always)]
fn negative<S: InstructionSet>(set: S, x: S::Lanes) -> S::Lanes {
    set.splat(0.0).sub(x)
}

#[inline(always)]
fn absolute<S: InstructionSet>(set: S, x: S::Lanes) -> S::Lanes {
    x.max(negative(set, x))
}

/// The exponential; 0 from -87 down, and from 88 on what it is there.
#[inline(always)]
pub(crate) fn exponential<S: InstructionSet>(set: S, x: S::Lanes) -> S::Lanes {
    let given = x;
    let x = x.min(set.splat(88.0)).max(set.splat(-87.0));
    // Rounded by a number whose last place is 1.
    let large = set.splat(12_582_912.0);
    let n = x.mul_add(set.splat(std::f32::consts::LOG2_E), large).sub(large);
    // ln 2 in two parts, the first of which is exact with few digits.
    let r = n.neg_mul_add(set.splat(0.693_359_4), x);
    let r = n.neg_mul_add(set.splat(-2.121_944_4e-4), r);
    let p = polynomial(
        set,
        r,
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0],
    );
    p.times_two_to(n).zero_where_at_most(given, set.splat(-87.0))
}

/// `ln(1 + u)` for `u` from 0 to 1: `2 artanh(u / (2 + u))`.
#[inline(always)]
fn logarithm_of_one_plus<S: InstructionSet>(set: S, u: S::Lanes) -> S::Lanes {
    let s = u.div(u.add(set.splat(2.0)));
    let sum = polynomial(
        set,
        s.mul(s),
        [2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0],
    );
    s.mul(sum)
}

#[inline(always)]
fn sigmoid_of<S: InstructionSet>(set: S, x: S::Lanes) -> S::Lanes {
    let one = set.splat(1.0);
    let share = one.div(one.add(exponential(set, negative(set, x))));
    share.zero_where_at_most(x, set.splat(-87.0))
}

#[inline(always)]
fn tanh_of<S: InstructionSet>(set: S, x: S::Lanes) -> S::Lanes {
    let (one, size) = (set.splat(1.0), absolute(set, x));
    let square = x.mul(x);
    let p = polynomial(
        set,
        square,
        [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_3e-1, -3.333_328e-1],
    );
    let near = p.mul(square).mul_add(x, x);
    let e = exponential(set, size.add(size));
    let far = set.splat(2.0).div(e.add(one)).neg_mul_add(one, one);
    let far = x.where_below(set.splat(0.0), negative(set, far), far);
    size.where_below(set.splat(0.625), near, far)
}

/// The normal distribution's `Φ`, and `e^(−x²/2)`.
#[inline(always)]
fn normal<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let (zero, one, half) = (set.splat(0.0), set.splat(1.0), set.splat(0.5));
    let z = x.mul(set.splat(std::f32::consts::FRAC_1_SQRT_2));
    let (size, square) = (absolute(set, z), z.mul(z));
    let bell = exponential(set, negative(set, square));
    // The error function near 0 ...
    let near = polynomial(
        set,
        square,
        [
            7.853_861_4e-5,
            -8.010_193_6e-4,
            5.188_327_6e-3,
            -2.685_381_2e-2,
            1.128_358_5e-1,
            -3.761_262_6e-1,
            std::f32::consts::FRAC_2_SQRT_PI,
        ],
    );
    let near = near.mul(z).mul_add(half, half);
    // ... and what it lacks of 1 far from it.
    let inverse = one.div(size.max(one));
    let y = inverse.mul(inverse);
    let middle = polynomial(
        set,
        y,
        [
            2.326_82e-2,
            -1.387_039_4e-1,
            3.687_424_6e-1,
            -5.824_733e-1,
            6.210_004_6e-1,
            -4.944_515_3e-1,
            3.404_88e-1,
            -2.741_127e-1,
            5.638_259_4e-1,
        ],
    );
    let outer = polynomial(
        set,
        y,
        [
            -1.047_766_4e1,
            1.297_72e1,
            -7.495_518_7,
            2.921_019,
            -1.015_265_3,
            4.218_463_4e-1,
            -2.820_767_5e-1,
            5.641_896e-1,
        ],
    );
    let rest = size.where_below(set.splat(2.0), middle, outer).mul(inverse).mul(bell).mul(half);
    let far = z.where_below(zero, rest, one.sub(rest));
    (size.where_below(one, near, far), bell)
}

// Each gives the value and the derivative.

#[inline(always)]
fn elu<S: InstructionSet>(set: S, x: S::Lanes, alpha: f32, gamma: f32) -> (S::Lanes, S::Lanes) {
    let (zero, alpha, gamma) = (set.splat(0.0), set.splat(alpha), set.splat(gamma));
    let e = exponential(set, x.min(zero));
    let low = e.sub(set.splat(1.0)).mul(alpha);
    // At 0 the derivative is that of what lies below.
    let above = zero.where_below(x, gamma, e.mul(alpha).mul(gamma));
    (x.where_below(zero, low, x).mul(gamma), above)
}

#[inline(always)]
fn celu<S: InstructionSet>(set: S, x: S::Lanes, alpha: f32) -> (S::Lanes, S::Lanes) {
    let zero = set.splat(0.0);
    let e = exponential(set, x.mul(set.splat(1.0 / alpha)).min(zero));
    let low = e.sub(set.splat(1.0)).mul(set.splat(alpha));
    (x.where_below(zero, low, x), zero.where_below(x, set.splat(1.0), e))
}

#[inline(always)]
fn gelu<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let (share, bell) = normal(set, x);
    // 1 / √(2 π)
    let density = bell.mul(set.splat(0.398_942_3));
    (x.mul(share), x.mul_add(density, share))
}

#[inline(always)]
fn gelu_tanh<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let (one, half) = (set.splat(1.0), set.splat(0.5));
    // Beyond, the hyperbolic tangent is 1.
    let near = x.max(set.splat(-30.0)).min(set.splat(30.0));
    let square = near.mul(near);
    // √(2/π) (x + 0.044715 x³)
    let scale = set.splat(0.797_884_6);
    let inner = square.mul_add(set.splat(0.044_715), one).mul(near).mul(scale);
    let t = tanh_of(set, inner);
    let share = t.mul_add(half, half);
    let slope = square.mul_add(set.splat(3.0 * 0.044_715), one).mul(scale);
    let bend = t.neg_mul_add(t, one).mul(slope).mul(half);
    (x.mul(share), x.mul_add(bend, share))
}

#[inline(always)]
fn sigmoid<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let y = sigmoid_of(set, x);
    (y, y.neg_mul_add(y, y))
}

#[inline(always)]
fn hard_sigmoid<S: InstructionSet>(set: S, x: S::Lanes, alpha: f32, beta: f32) -> (S::Lanes, S::Lanes) {
    let (zero, one) = (set.splat(0.0), set.splat(1.0));
    let line = x.mul_add(set.splat(alpha), set.splat(beta));
    let inside = line.where_below(one, set.splat(alpha), zero).zero_where_at_most(line, zero);
    (line.max(zero).min(one), inside)
}

#[inline(always)]
fn hard_swish<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let (gate, slope) = hard_sigmoid(set, x, 1.0 / 6.0, 0.5);
    (x.mul(gate), x.mul_add(slope, gate))
}

#[inline(always)]
fn swish<S: InstructionSet>(set: S, x: S::Lanes, alpha: f32) -> (S::Lanes, S::Lanes) {
    let alpha = set.splat(alpha);
    let share = sigmoid_of(set, x.mul(alpha));
    let bend = share.neg_mul_add(share, share).mul(alpha);
    (x.mul(share), x.mul_add(bend, share))
}

#[inline(always)]
fn mish<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let (one, two) = (set.splat(1.0), set.splat(2.0));
    // tanh(ln(1 + n)) = (n² + 2n) / (n² + 2n + 2), which is 1 long before n² is too large.
    let n = exponential(set, x.min(set.splat(30.0)));
    let m = n.mul(n.add(two));
    let gate = m.div(m.add(two));
    let bend = gate.neg_mul_add(gate, one).mul(sigmoid_of(set, x));
    (x.mul(gate), x.mul_add(bend, gate))
}

#[inline(always)]
fn softplus<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let small = exponential(set, negative(set, absolute(set, x)));
    (x.max(set.splat(0.0)).add(logarithm_of_one_plus(set, small)), sigmoid_of(set, x))
}

#[inline(always)]
fn softsign<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let one = set.splat(1.0);
    let share = one.div(absolute(set, x).add(one));
    (x.mul(share), share.mul(share))
}

#[inline(always)]
fn hyperbolic<S: InstructionSet>(set: S, x: S::Lanes) -> (S::Lanes, S::Lanes) {
    let y = tanh_of(set, x);
    (y, y.neg_mul_add(y, set.splat(1.0)))
}
