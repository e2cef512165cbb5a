//! Observers of a run: printed lines, a progress bar, a GIF, the history of its losses.
//!
//! A [`Callback`] is called at the beginning of a run, after every step, and at its end, whether that is good or bad. It can
//! stop the run, by [`ControlFlow::Break`](std::ops::ControlFlow::Break) or by an error; what was found until then is kept.
//! To follow any computation, not only a run of the optimizer, use its `progress` setter: see
//! [`Progress`](crate::Progress).

mod gif;
mod print;
mod progress_bar;
mod save_history;

use std::path::PathBuf;

use crate::optimizer::Optimizer;

pub use crate::optimizer::callback::{Begin, Callback, End};
pub use gif::GifGenerator;
pub use print::Print;
pub use progress_bar::ProgressBar;
pub use save_history::SaveHistory;

impl Optimizer<'_> {
    /// Writes the losses of every step to standard error: [`Print`].
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(2);
    /// assert_eq!(run().verbose(true).minimize()?.losses, run().minimize()?.losses); // the run is the same
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn verbose(self, verbose: bool) -> Self {
        if verbose { self.callback(Print::to_stderr()) } else { self }
    }

    /// Draws a progress bar on standard error if that is a terminal: [`ProgressBar`].
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(2);
    /// assert_eq!(run().progress_bar().minimize()?.losses, run().minimize()?.losses); // the run is the same
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress_bar(self) -> Self {
        self.callback(ProgressBar::to_stderr())
    }

    /// Writes the image of every step to a GIF: [`GifGenerator`], which has more settings when added as a
    /// [`callback`](Optimizer::callback). The path is tried before the first step, so that one that can't be written costs no
    /// time.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-progress-example.gif");
    /// # let _ = std::fs::remove_file(&path);
    /// let filter = ActivationMaximization::new("conv2", 0);
    /// Optimizer::new(&model, filter).max_iter(3).progress_gif_path(&path).minimize()?;
    /// assert!(path.exists());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress_gif_path(self, path: impl Into<PathBuf>) -> Self {
        self.callback(gif::GifOfRun::to(path.into()))
    }
}
