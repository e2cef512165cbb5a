//! What is told of a run while it goes on: printing, a progress bar, a GIF, the history of its losses.
//!
//! A [`Callback`] is told of every step and, once, of the end, whether that is good or bad. A run stops when
//! a callback says so or fails; what was found until then is kept.

mod gif;
mod print;
mod progress_bar;
mod save_history;

use std::ops::ControlFlow;

use crate::optimizer::Step;
use crate::{Error, Result};

pub use gif::GifGenerator;
pub use print::Print;
pub use progress_bar::ProgressBar;
pub use save_history::SaveHistory;

/// Told of every step of a run, and of its end.
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
    /// Told of each step; breaking ends the run after it, with its result.
    ///
    /// # Errors
    ///
    /// An error ends the run with [`Error::Stopped`], which keeps the best image so far.
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>>;

    /// Told once that the run is over, whether it ended well, was broken off, or failed.
    ///
    /// # Errors
    ///
    /// What could not be finished.
    fn on_end(&mut self, end: &End) -> Result<()> {
        let _ = end;
        Ok(())
    }
}

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct End<'a> {
    /// The number of steps taken.
    pub steps: usize,
    /// The error that ended it, if one did.
    pub error: Option<&'a Error>,
}
