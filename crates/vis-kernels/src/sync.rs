//! What threads share, from `std`.
//!
//! From `loom` when the hand-out of tasks is modelled (`--cfg loom`). And the locks from `parking_lot` when ThreadSanitizer
//! is to see them (`--cfg instrumented`): those of `std` come compiled, and it takes what they protect for races.

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Builder, yield_now},
};

#[cfg(instrumented)]
pub(crate) use instrumented::{Condvar, Mutex, MutexGuard};
#[cfg(not(any(loom, instrumented)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(instrumented)]
mod instrumented {
    use std::sync::LockResult;

    pub(crate) use parking_lot::MutexGuard;

    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            Ok(self.0.lock())
        }
    }

    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) const fn new() -> Self {
            Self(parking_lot::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(&mut guard);
            Ok(guard)
        }
    }
}

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
