//! Activation functions and their derivatives, against the same in double precision.

use super::sets::with_every_instruction_set;
use crate::functions::{Function, apply, pull_back};
use crate::fused::Rule;

/// The error function: its series near 0, its continued fraction far from it.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    let value = if size < 3.0 {
        let (mut term, mut sum) = (size, size);
        for n in 1..200 {
            term *= -size * size / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..60).rev().fold(0.0, |rest, n| f64::from(n) / 2.0 / (size + rest));
        1.0 - (-size * size).exp() / (size + fraction) / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

fn value(function: Function, x: f64) -> f64 {
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    match function {
        Function::Elu(alpha) if x < 0.0 => f64::from(alpha) * x.exp_m1(),
        Function::Selu { alpha, gamma } if x < 0.0 => f64::from(gamma) * f64::from(alpha) * x.exp_m1(),
        Function::Selu { gamma, .. } => f64::from(gamma) * x,
        Function::Celu(alpha) if x < 0.0 => f64::from(alpha) * (x / f64::from(alpha)).exp_m1(),
        Function::Elu(_) | Function::Celu(_) => x,
        Function::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Function::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Swish(alpha) => x / (1.0 + (-f64::from(alpha) * x).exp()),
        Function::Mish => x * softplus(x).tanh(),
        Function::Softplus => softplus(x),
        Function::Softsign => x / (1.0 + x.abs()),
        Function::Tanh => x.tanh(),
    }
}

const FUNCTIONS: [Function; 14] = [
    Function::Elu(1.0),
    Function::Elu(0.3),
    Function::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
    Function::Celu(1.7),
    Function::Gelu,
    Function::GeluTanh,
    Function::Sigmoid,
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSwish,
    Function::Swish(1.0),
    Function::Swish(1.702),
    Function::Mish,
    Function::Softplus,
    Function::Tanh,
];

/// Numbers from -100 to 100, close to each other near 0, none of them where a derivative jumps.
fn places() -> Vec<f32> {
    let mut places: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 * 1.000_3e-3 / 4.0 + 1.3e-5).collect();
    places.extend((-900..=900).map(|i| i as f32 / 9.01));
    places.retain(|x| (x.abs() - 3.0).abs() > 2e-3 && (x.abs() - 2.5).abs() > 2e-3 && x.abs() > 1e-5);
    places
}

#[test]
fn functions_are_right_to_some_units_of_the_last_place() {
    let x = places();
    for function in FUNCTIONS.into_iter().chain([Function::Softsign]) {
        let expected: Vec<f64> = x.iter().map(|x| value(function, f64::from(*x))).collect();
        with_every_instruction_set(|name| {
            let mut y = vec![f32::NAN; x.len()];
            apply(function, &x, &mut y);
            for ((x, y), expected) in x.iter().zip(&y).zip(&expected) {
                let error = (f64::from(*y) - expected).abs();
                assert!(
                    error <= 4e-7 * (1.0 + expected.abs()),
                    "{name} {function:?}({x}): {y}, not {expected}"
                );
            }
        });
    }
}

#[test]
fn derivatives_are_the_limits_of_differences() {
    let x = places();
    let g: Vec<f32> = (0..x.len()).map(|i| [1.5, -0.5, 0.75, -2.0][i % 4]).collect();
    let h = 1e-5;
    for function in FUNCTIONS.into_iter().chain([Function::Softsign]) {
        let slopes: Vec<f64> = x
            .iter()
            .map(|x| f64::from(*x))
            .map(|x| (value(function, x + h) - value(function, x - h)) / (2.0 * h))
            .collect();
        for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution] {
            with_every_instruction_set(|name| {
                let mut gradient = vec![f32::NAN; x.len()];
                pull_back(function, rule, &x, &g, &mut gradient);
                for (i, gradient) in gradient.iter().enumerate() {
                    let g = f64::from(g[i]);
                    let expected = match rule {
                        Rule::Plain => g * slopes[i],
                        Rule::Guided => g.max(0.0) * slopes[i],
                        Rule::Deconvolution => g.max(0.0),
                    };
                    let error = (f64::from(*gradient) - expected).abs();
                    assert!(
                        error < 3e-6,
                        "{name} {function:?} {rule:?} at {}: {gradient}, not {expected}",
                        x[i]
                    );
                }
            });
        }
    }
}

#[test]
fn functions_of_what_is_beyond_all_bounds_are_their_limits() {
    for function in FUNCTIONS.into_iter().chain([Function::Softsign]) {
        for (x, far) in [(1e4f32, 1e4), (-1e4, -1e4), (3e38, 3e38), (-3e38, -3e38), (0.0, 0.0)] {
            let expected = value(function, far);
            let mut y = [f32::NAN];
            apply(function, &[x], &mut y);
            let error = (f64::from(y[0]) - expected).abs();
            assert!(error <= 1e-6 * (1.0 + expected.abs()), "{function:?}({x}): {}, not {expected}", y[0]);
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for function in FUNCTIONS {
        let mut y = [0.0; 3];
        apply(function, &[f32::NAN, 1.0, f32::NAN], &mut y);
        assert!(y[0].is_nan() && y[1].is_finite() && y[2].is_nan(), "{function:?} {y:?}");
    }
}
