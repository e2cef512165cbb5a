//! How a gradient moves the image.

use std::fmt;

use burn::tensor::Tensor;

/// How a gradient moves the variable; keeps what it must remember between steps.
pub trait Update: fmt::Debug + Send {
    /// The variable after one step against the gradient.
    fn step(&mut self, variable: Tensor<4>, gradient: Tensor<4>, learning_rate: f64) -> Tensor<4>;
}

/// The RMSprop of keras-vis, with the epsilon inside the root:
///
/// ```text
/// c ← d·c + (1 − d)·g²        x ← x − r·g / √(c + ε)
/// ```
///
/// with decay `d` = 0.95, `ε` = 1e-7 and `c` = 0 at the start, so that the first step is `4.47·r` long
/// wherever there is a gradient at all. (`burn::optim` has the epsilon outside the root.)
///
/// ```
/// use burn::tensor::Tensor;
/// use vis::optimizer::{RmsProp, Update};
/// let one = Tensor::ones([1, 1, 1, 1], &Default::default());
/// let moved = RmsProp::default().step(one.zeros_like(), one, 1.0);
/// assert!((moved.into_scalar::<f32>() + 4.472131).abs() < 1e-4);
/// ```
#[derive(Debug, Clone)]
pub struct RmsProp {
    /// The share of the past in the running mean of squares, `d`.
    pub decay: f32,
    /// Keeps the step finite, `ε`.
    pub epsilon: f32,
    squares: Option<Tensor<4>>,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { decay: 0.95, epsilon: 1e-7, squares: None }
    }
}

impl Update for RmsProp {
    fn step(&mut self, variable: Tensor<4>, gradient: Tensor<4>, learning_rate: f64) -> Tensor<4> {
        let squares = gradient.clone().square() * (1.0 - self.decay);
        let squares = match self.squares.take() {
            Some(past) => past * self.decay + squares,
            None => squares,
        };
        self.squares = Some(squares.clone());
        variable - gradient / (squares + self.epsilon).sqrt() * learning_rate
    }
}

/// Adam with Nesterov momentum, as Keras has it:
///
/// ```text
/// u_t ← 0.9 · (1 − 0.96^t / 2)        m ← m + 0.1·(g − m)        v ← v + 0.001·(g² − v)
/// m̂ ← u_{t+1}·m / (1 − u_1⋯u_{t+1}) + (1 − u_t)·g / (1 − u_1⋯u_t)
/// x ← x − r·m̂ / (√(v / (1 − 0.999^t)) + 1e-7)
/// ```
///
/// ```
/// use burn::tensor::Tensor;
/// use vis::optimizer::{Nadam, Update};
/// let one = Tensor::ones([1, 1, 1, 1], &Default::default());
/// // At first u₁ = 0.468 and u₂ = 0.48528: m̂ = 0.048528·g / (1 − u₁·u₂) + g.
/// let moved = Nadam::default().step(one.zeros_like(), one, 1.0);
/// assert!((moved.into_scalar::<f32>() + 1.062788).abs() < 1e-4);
/// ```
///
/// Source: Dozat 2016, *Incorporating Nesterov Momentum into Adam*; Keras, `optimizers/nadam.py`.
#[derive(Debug, Clone, Default)]
pub struct Nadam {
    steps: i32,
    /// `u_1⋯u_t`.
    product: f64,
    /// `m` and `v`.
    moments: Option<(Tensor<4>, Tensor<4>)>,
}

impl Update for Nadam {
    fn step(&mut self, variable: Tensor<4>, gradient: Tensor<4>, learning_rate: f64) -> Tensor<4> {
        self.steps += 1;
        let momentum = |step: i32| 0.9 * (1.0 - 0.5 * 0.96_f64.powi(step));
        let (now, next) = (momentum(self.steps), momentum(self.steps + 1));
        self.product = if self.steps == 1 { now } else { self.product * now };
        let square = gradient.clone().square();
        let (mean, squares) = match self.moments.take() {
            Some((mean, squares)) => (mean * 0.9 + gradient.clone() * 0.1, squares * 0.999 + square * 0.001),
            None => (gradient.clone() * 0.1, square * 0.001),
        };
        self.moments = Some((mean.clone(), squares.clone()));
        let ahead =
            mean * (next / (1.0 - self.product * next)) + gradient * ((1.0 - now) / (1.0 - self.product));
        let spread = (squares / (1.0 - 0.999_f64.powi(self.steps))).sqrt() + 1e-7;
        variable - ahead / spread * learning_rate
    }
}

/// Any optimizer of `burn::optim`, moving the image.
#[derive(Clone)]
pub struct BurnUpdate<O: burn::optim::Optimizer> {
    optimizer: O,
    state: Option<O::State<4>>,
}

impl<O: burn::optim::Optimizer> BurnUpdate<O> {
    /// An update by this optimizer, such as `AdamConfig::new().build()`.
    ///
    /// ```
    /// use burn::{optim::AdamConfig, tensor::Tensor};
    /// use vis::optimizer::{BurnUpdate, Update};
    /// let zero = Tensor::<4>::zeros([1, 1, 1, 1], &Default::default());
    /// // The first step of Adam is as long as the learning rate, whatever the gradient.
    /// let moved = BurnUpdate::new(AdamConfig::new().build()).step(zero.clone(), zero + 5.0, 0.1);
    /// assert!((moved.into_scalar::<f32>() + 0.1).abs() < 1e-4);
    /// ```
    pub fn new(optimizer: O) -> Self {
        Self { optimizer, state: None }
    }
}

impl<O: burn::optim::Optimizer> Update for BurnUpdate<O> {
    fn step(&mut self, variable: Tensor<4>, gradient: Tensor<4>, learning_rate: f64) -> Tensor<4> {
        let (variable, state) = self.optimizer.step(learning_rate, variable, gradient, self.state.take());
        self.state = state;
        variable
    }
}

impl<O: burn::optim::Optimizer> fmt::Debug for BurnUpdate<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<O>())
    }
}

/// How each image's gradient is normalised, so that the step does not depend on the scale of the losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Normalization {
    /// `g / (√mean(g²) + 1e-7)`: the root mean square becomes 1, as in keras-vis up to 0.4.
    #[default]
    RootMeanSquare,
    /// `g / √max(Σ g², 1e-12)`: the length becomes 1, as in keras-vis 0.5.
    L2,
    /// `g`.
    None,
}

impl Normalization {
    /// Normalises each image's gradient, given its mean square, `[batch, 1, 1, 1]`.
    pub(super) fn apply(self, gradient: Tensor<4>, mean_square: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = gradient.dims();
        match self {
            Self::RootMeanSquare => gradient / (mean_square.sqrt() + 1e-7),
            Self::L2 => {
                let sum = mean_square * (channels * height * width) as f32;
                gradient / sum.clamp_min(1e-12).sqrt()
            }
            Self::None => gradient,
        }
    }
}
