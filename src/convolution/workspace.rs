//! Scratch memory that is used again and again.

use std::sync::{Mutex, PoisonError};

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line(#[allow(dead_code)] [f32; 16]);

/// The buffers that nobody uses at the moment.
static IDLE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// A buffer of numbers, aligned to a cache line, that goes back to a common pool when dropped.
///
/// Fresh memory is expensive: the kernel zeroes it page by page at the first touch. The kernels of this crate
/// therefore take their scratch memory from a pool; in the steady state nothing is allocated. The contents of a
/// buffer are whatever the last user left (zeros at first).
pub(crate) struct Workspace {
    lines: Vec<Line>,
}

impl Workspace {
    /// A buffer of at least `length` numbers.
    pub(crate) fn of(length: usize) -> Self {
        let needed = length.div_ceil(16);
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, or else the largest, which then grows.
        let best = (0..idle.len()).min_by_key(|&i| {
            let have = idle[i].len();
            if have >= needed { (0, have) } else { (1, usize::MAX - have) }
        });
        let mut lines = best.map(|i| idle.swap_remove(i)).unwrap_or_default();
        drop(idle);
        if lines.len() < needed {
            // Do not copy what nobody wants to keep.
            lines.clear();
            lines.shrink_to_fit();
            lines.resize(needed, Line([0.0; 16]));
        }
        Workspace { lines }
    }

    /// The first number.
    pub(crate) fn pointer(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.lines));
    }
}

/// Frees the scratch memory that no kernel uses at the moment.
pub(crate) fn release_workspaces() {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// A pointer that may cross threads: every use of one says why its accesses do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: the pointer itself is only an address; the code that dereferences it keeps the accesses apart.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(pointer: *mut f32) -> Self {
        Shared(pointer)
    }
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}
