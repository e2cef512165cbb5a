//! What follows a run.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::gradient::LossValues;
use crate::progress::Progress;
use crate::{Error, Result};

/// Follows a run of the [`Optimizer`](crate::Optimizer): its beginning, every step, and its end.
///
/// ```
/// use std::ops::ControlFlow;
/// use vis::callbacks::Callback;
/// use vis::{Optimizer, Result, losses::ActivationMaximization, optimizer::Step};
///
/// struct StopAt(f32);
/// impl Callback for StopAt {
///     fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
///         let reached = step.losses.totals()[0] < self.0;
///         Ok(if reached { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
///     }
/// }
/// # let model = vis::model::Tiny::new(&Default::default());
/// let wanted = ActivationMaximization::new("conv2", 0);
/// let result = Optimizer::new(&model, wanted).callback(StopAt(f32::INFINITY)).minimize()?;
/// assert_eq!(result.losses.steps(), 1);
/// # Ok::<(), vis::Error>(())
/// ```
#[doc(alias = "OptimizerCallback")]
pub trait Callback: Send {
    /// Called once before the first step.
    ///
    /// # Errors
    ///
    /// An error ends the run before its first step.
    fn on_begin(&mut self) -> Result<()> {
        Ok(())
    }

    /// Called after each step; [`ControlFlow::Break`] ends the run after it, with its result.
    ///
    /// # Errors
    ///
    /// An error ends the run with [`Error::Stopped`], which keeps the best image so far.
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>>;

    /// Called once when the run is over, with the error that ended it, if one did.
    ///
    /// # Errors
    ///
    /// An error here is the error of the run, unless it failed before.
    fn on_end(&mut self, error: Option<&Error>) -> Result<()> {
        let _ = error;
        Ok(())
    }
}

/// One step of a run, as it was evaluated: before its update.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step {
    /// The number of the step, counted from 0.
    pub index: usize,
    /// The number of steps that the run will take at most.
    pub of: usize,
    /// The images, `[batch, channels, height, width]`, in the model's input range.
    pub image: Tensor<4>,
    /// The weighted losses of these images.
    pub losses: LossValues,
    /// The gradient as the update sees it: normalised and modified; with respect to [`value`](Self::value).
    pub gradient: Tensor<4>,
    /// What the gradient is with respect to: the image, or the variable that a
    /// [`Parametrization`](crate::parametrization::Parametrization) decodes into it.
    pub value: Tensor<4>,
    /// The total loss, averaged over the batch, if it has been read back.
    pub(super) loss: Option<f32>,
    /// The range that the parametrization keeps the images in, if it does.
    pub(crate) bounds: Option<(f32, f32)>,
}

impl Step {
    /// How far the run is after this step.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let first = Optimizer::new(&model, TotalVariation::default()).max_iter(9).steps()?.next().unwrap()?;
    /// assert_eq!((first.progress().done, first.progress().of), (1, 9));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(&self) -> Progress {
        let [_, _, height, width] = self.image.dims();
        Progress { loss: self.loss, ..Progress::new(format!("{width}×{height}"), self.index + 1, self.of) }
    }
}
