//! Observers of a run: an animation of its images, and your own.
//!
//! A [`Callback`] is called at the beginning of a run, after every step, and at its end, whether that is good or bad. It can
//! stop the run, by [`ControlFlow::Break`](std::ops::ControlFlow::Break) or by an error; what was found until then is kept.
//! To follow any computation, not only a run of the optimizer, use its `progress` setter: see
//! [`Progress`](crate::Progress).

mod gif;
mod print;

use std::path::PathBuf;

use crate::optimizer::Optimizer;

pub use crate::optimizer::callback::Callback;
pub use gif::GifGenerator;
pub(crate) use print::Print;

impl Optimizer<'_> {
    /// Writes a line a step to standard error: its number, each weighted loss by name, and the total, averaged over the
    /// batch. Default `false`: the crate prints nothing.
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
