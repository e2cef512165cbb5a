//! Memory that is used again and again: scratch memory of the kernels, and the tensors that they make.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Self::NUMBERS]);

impl Line {
    const NUMBERS: usize = 16;
}

/// The buffers that nobody uses at the moment, oldest first, and how many lines the others have.
struct Pool {
    idle: VecDeque<Vec<Line>>,
    used: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: VecDeque::new(), used: 0 });

/// So many lines (64 MB) may lie idle next to as many as are in use when new memory is taken.
const ALLOWANCE: usize = 1 << 20;

impl Pool {
    /// The smallest idle buffer that is large enough and not much too large, or none.
    fn take(&mut self, needed: usize) -> Option<Vec<Line>> {
        let most = needed + needed / 4 + 64;
        let fits = |have: usize| needed <= have && have <= most;
        let best = (0..self.idle.len())
            .filter(|&index| fits(self.idle[index].len()))
            .min_by_key(|&index| self.idle[index].len());
        match best {
            Some(index) => self.idle.remove(index),
            None => {
                let mut idle: usize = self.idle.iter().map(Vec::len).sum();
                while idle + needed > self.used + ALLOWANCE {
                    let Some(oldest) = self.idle.pop_front() else { break };
                    idle -= oldest.len();
                }
                None
            }
        }
    }
}

/// A buffer of numbers, aligned to a cache line, that goes back to a common pool when dropped.
///
/// Fresh memory is expensive: the system zeroes it page by page at the first touch. The kernels therefore take
/// their scratch memory and their results from a pool; one step of an optimisation finds there what the step before
/// left. The contents of a buffer are whatever the last user left (zeros at first).
pub(super) struct Workspace {
    lines: Vec<Line>,
}

impl Workspace {
    /// A buffer of at least `length` numbers.
    pub(super) fn of(length: usize) -> Self {
        let needed = length.div_ceil(Line::NUMBERS);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pool.take(needed);
        pool.used += found.as_ref().map_or(needed, Vec::len);
        drop(pool);
        Self { lines: found.unwrap_or_else(|| vec![Line([0.0; Line::NUMBERS]); needed]) }
    }

    /// The first number.
    pub(super) fn pointer(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }

    /// The numbers.
    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: a line is sixteen numbers and nothing else.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * Line::NUMBERS)
        }
    }

    /// The memory as bytes.
    pub(super) fn bytes(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: the bytes of the lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), size_of_val(&self.lines[..])) }
    }

    /// The memory as bytes, into which only numbers may be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the bytes of the lines; the users write numbers.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), size_of_val(&self.lines[..]))
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.used -= lines.len();
        pool.idle.push_back(lines);
    }
}

/// A pointer that may cross threads: every use of one says why its accesses do not overlap.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: the pointer itself is only an address; the code that dereferences it keeps the accesses apart.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(pointer: *mut f32) -> Self {
        Self(pointer)
    }
    pub(super) fn get(self) -> *mut f32 {
        self.0
    }
}
