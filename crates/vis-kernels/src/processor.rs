//! On which processor a thread runs.
//!
//! A system that wakes a thread may put it where its waker runs, though another processor is free; in a virtual machine it
//! may then stay there for milliseconds. Helpers notice, and move. Only threads of this crate ever move themselves.

#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod linux {
    use std::mem::{size_of_val, zeroed};

    use libc::{CPU_CLR, CPU_COUNT, cpu_set_t, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The processor that the calling thread runs on.
    pub(crate) fn current() -> Option<usize> {
        // SAFETY: it has no conditions.
        usize::try_from(unsafe { sched_getcpu() }).ok()
    }

    /// Moves the calling thread from here to another processor, if it may run on one. It may run on the same as before
    /// afterwards.
    pub(crate) fn leave(here: usize) {
        // SAFETY: zeros are a set of processors, which is a field of bits.
        let mut allowed: cpu_set_t = unsafe { zeroed() };
        if here >= 8 * size_of_val(&allowed) {
            return;
        }
        // SAFETY: the set is as large as said; 0 is this thread.
        if unsafe { sched_getaffinity(0, size_of_val(&allowed), &mut allowed) } != 0 {
            return;
        }
        let mut others = allowed;
        // SAFETY: `here` is one of the set's bits.
        unsafe { CPU_CLR(here, &mut others) };
        // SAFETY: it only reads the set.
        if unsafe { CPU_COUNT(&others) } == 0 {
            return;
        }
        // SAFETY: both sets are as large as said; 0 is this thread.
        unsafe {
            if sched_setaffinity(0, size_of_val(&others), &others) == 0 {
                sched_setaffinity(0, size_of_val(&allowed), &allowed);
            }
        }
    }
}

/// Elsewhere it is not known, and threads stay where they were put.
#[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
mod elsewhere {
    pub(crate) fn current() -> Option<usize> {
        None
    }

    pub(crate) fn leave(_here: usize) {}
}

#[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
pub(crate) use elsewhere::{current, leave};
#[cfg(all(target_os = "linux", not(loom), not(miri)))]
pub(crate) use linux::{current, leave};
