//! A line a step.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;

use super::Callback;
use crate::optimizer::Step;
use crate::{Error, Result};

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
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::Print, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, TotalVariation::default()).max_iter(2);
    /// // The run is the same.
    /// assert_eq!(run().callback(Print::to_stderr()).minimize()?.losses, run().minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn to_stderr() -> Self {
        Self::to(std::io::stderr())
    }
}

impl<W: Write> Print<W> {
    /// Writes to anything.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::Print, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut lines = Vec::new();
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(2).callback(Print::to(&mut lines)).minimize()?;
    /// let lines = String::from_utf8(lines).unwrap();
    /// assert!(lines.lines().count() == 2 && lines.lines().all(|line| line.contains(", overall loss: ")));
    /// # Ok::<(), vis::Error>(())
    /// ```
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
