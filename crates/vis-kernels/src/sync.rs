//! What threads share, from `std`, or from `loom` when the hand-out of tasks is modelled: `RUSTFLAGS="--cfg loom"`.

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Builder, yield_now},
};

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Builder, yield_now},
};

pub(crate) use patience::Patience;

#[cfg(not(loom))]
mod patience {
    use std::time::{Duration, Instant};

    use super::{spin_loop, yield_now};

    /// How long an idle helper spins before it sleeps: longer than what usually lies between two kernels, too short to be
    /// in the way of others.
    const PATIENCE: Duration = Duration::from_micros(300);
    /// Looks between two looks at the clock.
    const LOOKS: usize = 64;

    /// A wait without sleep, for a while.
    pub(crate) struct Patience {
        since: Instant,
        looks: usize,
    }

    impl Patience {
        pub(crate) fn new() -> Self {
            Self { since: Instant::now(), looks: 0 }
        }

        /// Waits for a moment; false when the while is over.
        pub(crate) fn wait(&mut self) -> bool {
            self.looks += 1;
            if !self.looks.is_multiple_of(LOOKS) {
                spin_loop();
                return true;
            }
            if self.since.elapsed() > PATIENCE {
                return false;
            }
            yield_now();
            true
        }
    }
}

#[cfg(loom)]
mod patience {
    use super::yield_now;

    /// In a model there is no clock: one look, then it is over.
    pub(crate) struct Patience(bool);

    impl Patience {
        pub(crate) fn new() -> Self {
            Self(true)
        }

        pub(crate) fn wait(&mut self) -> bool {
            yield_now();
            std::mem::take(&mut self.0)
        }
    }
}
