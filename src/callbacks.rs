//! What is told of a run while it goes on.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;

use crate::optimizer::Step;
use crate::{Error, Result};

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

/// Writes a line a step: its number, each weighted loss by name, and the total, averaged over the batch.
///
/// ```
/// use vis::{Optimizer, callbacks::Print, losses::TotalVariation};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let mut lines = Vec::new();
/// Optimizer::new(&model, TotalVariation::default()).max_iter(2).callback(Print::to(&mut lines)).minimize()?;
/// assert!(String::from_utf8(lines).unwrap().starts_with("Iteration: 1, TV(2): "));
/// # Ok::<(), vis::Error>(())
/// ```
pub struct Print<W> {
    writer: W,
}

impl Print<std::io::Stderr> {
    /// Writes to standard error.
    pub fn to_stderr() -> Self {
        Self::to(std::io::stderr())
    }
}

impl<W: Write> Print<W> {
    /// Writes to anything.
    pub fn to(writer: W) -> Self {
        Self { writer }
    }
}

impl<W: Write + Send> Callback for Print<W> {
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        let values = step.losses.values();
        let means = values.mean_axis(ndarray::Axis(1)).unwrap_or_default();
        let named = step.losses.names().iter().zip(&means);
        let named: Vec<_> = named.map(|(name, value)| format!("{name}: {value:.6}")).collect();
        writeln!(
            self.writer,
            "Iteration: {}, {}, overall loss: {:.6}",
            step.index + 1,
            named.join(", "),
            means.sum()
        )
        .map_err(Error::io("write", "the progress output"))?;
        Ok(ControlFlow::Continue(()))
    }
}

impl<W> fmt::Debug for Print<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Print").finish_non_exhaustive()
    }
}
