//! L-BFGS: descent along the gradient corrected for curvature.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::Update;
use crate::{Error, Result};

/// L-BFGS without line search: descent along `−H·g`, where `H` approximates the inverse of the second derivative
/// from the last few steps `s` and changes of the gradient `y`, by the two-loop recursion:
///
/// ```text
/// q ← g            newest pair first:  a ← (s·q)/(s·y),  q ← q − a·y
/// q ← q·(s·y)/(y·y)    of the newest pair
///                  oldest pair first:  q ← q + s·(a − (y·q)/(s·y))
/// x ← x − r·q      shortened to a root mean square of `longest`
/// ```
///
/// `r` is the learning rate; 1 is the natural choice. A pair with `s·y` ≤ 0, where the curvature is not
/// positive, is left out, so `H` stays positive definite. The first step follows the gradient for a tenth of
/// `longest`. One evaluation a step, as in torch with its default settings; what a line search would cost is
/// better spent on further steps, and the [`Optimizer`](crate::Optimizer) returns the best image of the run
/// even if the last one is worse.
///
/// Needs the gradient as it is: set [`Normalization::None`](super::Normalization::None). Transforms drawn anew
/// at each step, such as jitter, make the changes of the gradient meaningless: use Adam with them. Keeps
/// 2·`history` images of memory.
///
/// Every image of a batch has its own `H`.
///
/// ```
/// use vis::optimizer::{Lbfgs, Normalization};
/// use vis::{Optimizer, losses::Content};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &model.device());
/// let result = Optimizer::new(&model, Content::new(&model, photo, "conv1")?)
///     .update(Lbfgs::new(10.0)?)
///     .normalize(Normalization::None)
///     .max_iter(20)
///     .minimize()?;
/// # assert!(result.best_loss[0] < 0.01 * result.losses.totals()[[0, 0]]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Nocedal & Wright 2006, *Numerical Optimization*, algorithms 7.4 and 7.5.
#[derive(Debug, Clone)]
pub struct Lbfgs {
    longest: f32,
    history: usize,
    pairs: VecDeque<Pair>,
    /// `(s·y)/(y·y)` of the newest pair of positive curvature, `[batch, 1, 1, 1]`.
    scale: Option<Tensor<4>>,
    last: Option<(Tensor<4>, Tensor<4>)>,
}

#[derive(Debug, Clone)]
struct Pair {
    s: Tensor<4>,
    y: Tensor<4>,
    /// `1/(s·y)` for each image, 0 where the pair is left out.
    rho: Tensor<4>,
}

impl Lbfgs {
    /// L-BFGS with a memory of 10 pairs, whose steps have a root mean square of `longest` at most, in units of
    /// the variable: 10 pixel values suit images in `0..255`.
    ///
    /// ```
    /// # use burn::tensor::Tensor;
    /// use vis::optimizer::{Lbfgs, Update};
    /// let one = Tensor::<4>::ones([1, 1, 1, 1], &Default::default());
    /// // Nothing is known of the curvature yet: along the gradient, for a tenth of the longest step.
    /// let moved = Lbfgs::new(10.0)?.step(one.zeros_like(), one, 1.0);
    /// assert!((moved.into_scalar::<f32>() + 1.0).abs() < 1e-5);
    /// assert!(Lbfgs::new(0.0).is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `longest` is above 0.
    pub fn new(longest: f32) -> Result<Self> {
        if !(longest > 0.0 && longest.is_finite()) {
            return Err(Error::invalid("the longest step of L-BFGS", "a finite number above 0", longest));
        }
        Ok(Self::within(longest))
    }

    pub(super) fn within(longest: f32) -> Self {
        Self { longest, history: 10, pairs: VecDeque::new(), scale: None, last: None }
    }

    /// Sets the number of pairs kept, 1 or more. Default 10.
    ///
    /// ```
    /// # use burn::tensor::Tensor;
    /// use vis::optimizer::{Lbfgs, Update};
    /// // One pair gives the curvature in one dimension: ½·3·x² is at its minimum once a pair is known.
    /// let mut update = Lbfgs::new(10.0)?.with_history(1);
    /// let mut x = Tensor::<4>::ones([1, 1, 1, 1], &Default::default());
    /// for _ in 0..2 {
    ///     x = update.step(x.clone(), x * 3.0, 1.0);
    /// }
    /// assert!(x.into_scalar::<f32>().abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_history(mut self, pairs: usize) -> Self {
        self.history = pairs.max(1);
        self
    }

    /// Remembers the step that led here and how it changed the gradient.
    fn remember(&mut self, variable: &Tensor<4>, gradient: &Tensor<4>) {
        if let Some((last_variable, last_gradient)) = self.last.take() {
            let (s, y) = (variable.clone() - last_variable, gradient.clone() - last_gradient);
            let (sy, yy) = (dot(&s, &y), dot(&y, &y));
            // Relative to |s||y|, so that the test does not depend on units; and above what underflows.
            let least = (dot(&s, &s).sqrt() * yy.clone().sqrt() * 1e-6).clamp_min(1e-30);
            let bad = sy.clone().lower_equal(least);
            let scale = sy.clone() / yy.mask_fill(bad.clone(), 1.0);
            self.scale = Some(match self.scale.take() {
                Some(before) => scale.mask_where(bad.clone(), before),
                None => scale.mask_fill(bad.clone(), 0.0), // 0: none yet
            });
            let rho = sy.mask_fill(bad.clone(), 1.0).recip().mask_fill(bad, 0.0);
            if self.pairs.len() == self.history {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { s, y, rho });
        }
    }

    /// `H·g`.
    fn direction(&self, gradient: Tensor<4>, scale: &Tensor<4>) -> Tensor<4> {
        let mut q = gradient;
        let mut shares = Vec::with_capacity(self.pairs.len());
        for Pair { s, y, rho } in self.pairs.iter().rev() {
            let share = rho.clone() * dot(s, &q);
            q = q - y.clone() * share.clone();
            shares.push(share);
        }
        q = q * scale.clone();
        for (Pair { s, y, rho }, share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            let back = rho.clone() * dot(y, &q);
            q = q + s.clone() * (share - back);
        }
        q
    }
}

impl Update for Lbfgs {
    fn step(&mut self, variable: Tensor<4>, gradient: Tensor<4>, learning_rate: f64) -> Tensor<4> {
        self.remember(&variable, &gradient);
        // Without a pair of positive curvature: along the gradient, a tenth of the longest step.
        let along_gradient = root_mean_square(&gradient).recip() * (self.longest / 10.0);
        let direction = match &self.scale {
            None => gradient.clone() * along_gradient,
            Some(scale) => {
                let scale = scale.clone().mask_where(scale.clone().lower_equal_elem(0.0), along_gradient);
                self.direction(gradient.clone(), &scale)
            }
        };
        let direction = direction * learning_rate;
        let shorten = (root_mean_square(&direction).recip() * self.longest).clamp_max(1.0);
        self.last = Some((variable.clone(), gradient));
        variable - direction * shorten
    }
}

/// The inner product of each image's values, `[batch, 1, 1, 1]`.
fn dot(a: &Tensor<4>, b: &Tensor<4>) -> Tensor<4> {
    (a.clone() * b.clone()).sum_dims(&[1, 2, 3])
}

/// `[batch, 1, 1, 1]`, above 0.
fn root_mean_square(x: &Tensor<4>) -> Tensor<4> {
    x.clone().square().mean_dims(&[1, 2, 3]).sqrt().clamp_min(1e-30)
}
