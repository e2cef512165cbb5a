//! How far a long computation has come.

use std::fmt;
use std::sync::{Arc, Mutex};

/// A closure told how many runs of the network are done and how many there will be.
#[derive(Clone, Default)]
pub(crate) struct Progress(Option<Arc<Mutex<Told>>>);

type Told = dyn FnMut(usize, usize) + Send;

impl Progress {
    pub(crate) fn new(told: impl FnMut(usize, usize) + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(told))))
    }

    pub(crate) fn report(&self, done: usize, total: usize) {
        // A closure that panicked before is not called again.
        if let Some(Ok(mut told)) = self.0.as_ref().map(|told| told.lock()) {
            told(done, total);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress" } else { "None" })
    }
}
