//! How far a long computation has come, and whether it goes on.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// How far a long computation has come.
///
/// Everything that takes time has a setter `progress`, which takes a closure `FnMut(&Progress) -> ControlFlow<()>`. It is
/// called after every step or batch. When it returns [`ControlFlow::Break`], the computation stops there, and its result
/// is made of what is done: the best image so far, the map of the windows run so far.
///
/// ```
/// use std::ops::ControlFlow;
/// use vis::{Optimizer, Progress, losses::TotalVariation};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let half = |now: &Progress| match 2 * now.done < now.of {
///     true => ControlFlow::Continue(()),
///     false => ControlFlow::Break(()),
/// };
/// let result = Optimizer::new(&model, TotalVariation::default()).max_iter(20).progress(half).minimize()?;
/// assert_eq!(result.losses.steps(), 10);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being worked on: the size of the image as `width×height`, `windows`, `masks`, `bytes`, …
    ///
    /// Each stage has a speed of its own.
    pub stage: String,
    /// The units of work done, over all stages.
    pub done: usize,
    /// The units of work in all. `done` is as large at the end, unless the computation stops early.
    pub of: usize,
    /// The total loss, averaged over the batch, where one is minimised and has been read back from the device.
    pub loss: Option<f32>,
}

impl Progress {
    /// Work that minimises nothing.
    pub(crate) fn new(stage: impl Into<String>, done: usize, of: usize) -> Self {
        Self { stage: stage.into(), done, of, loss: None }
    }
}

/// In a few words: `12/200  224×168  loss 3.1416`.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}  {}", self.done, self.of, self.stage)?;
        self.loss.map_or(Ok(()), |loss| write!(f, "  loss {loss:.4}"))
    }
}

/// A closure that follows a computation, and may end it.
pub(crate) type Watcher<'a> = Box<dyn FnMut(&Progress) -> ControlFlow<()> + Send + 'a>;

/// A [`Watcher`] of a method that is run by reference and can be cloned; clones share it.
#[derive(Clone, Default)]
pub(crate) struct SharedWatcher<'a>(Option<Arc<Mutex<Watcher<'a>>>>);

impl<'a> SharedWatcher<'a> {
    pub(crate) fn new(watcher: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        Self(Some(Arc::new(Mutex::new(Box::new(watcher)))))
    }

    /// Tells how far it is, and hands on whether to go on.
    pub(crate) fn report(&self, stage: impl Into<String>, done: usize, of: usize) -> ControlFlow<()> {
        match self.0.as_ref().map(|watcher| watcher.lock()) {
            Some(Ok(mut watcher)) => watcher(&Progress::new(stage, done, of)),
            // A closure that panicked before is not called again.
            _ => ControlFlow::Continue(()),
        }
    }
}

impl fmt::Debug for SharedWatcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "SharedWatcher" } else { "None" })
    }
}
