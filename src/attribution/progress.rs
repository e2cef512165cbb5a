//! How far a long computation has come, and whether it may end.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// A closure told how many runs of the network are done and how many there will be; it may end them.
#[derive(Clone, Default)]
pub(crate) struct Progress(Option<Arc<Mutex<Told>>>);

type Told = dyn FnMut(usize, usize) -> ControlFlow<()> + Send;

impl Progress {
    pub(crate) fn new(told: impl FnMut(usize, usize) -> ControlFlow<()> + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(told))))
    }

    /// Tells how far it is, and hands on whether to go on.
    pub(crate) fn report(&self, done: usize, total: usize) -> ControlFlow<()> {
        match self.0.as_ref().map(|told| told.lock()) {
            Some(Ok(mut told)) => told(done, total),
            // A closure that panicked before is not called again.
            _ => ControlFlow::Continue(()),
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress" } else { "None" })
    }
}
