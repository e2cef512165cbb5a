//! Memory that is used again and again: scratch memory of the kernels, and the tensors that they make.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One cache line.
#[repr(C, align(64))]
struct Line([f32; Self::NUMBERS]);

impl Line {
    const NUMBERS: usize = 16;
}

/// Memory that was got from the system in one piece, and which parts of it nobody uses at the moment.
struct Chunk {
    start: NonNull<Line>,
    lines: usize,
    /// First line and number of lines of each idle part; never two next to each other.
    idle: BTreeMap<usize, usize>,
}

// SAFETY: a chunk owns its memory; who may touch which part of it is what `Pool` is about.
unsafe impl Send for Chunk {}

/// The chunks, by the address of their first line.
struct Pool(Vec<Chunk>);

static POOL: Mutex<Pool> = Mutex::new(Pool(Vec::new()));

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines in the first chunk: 64 MB. What is never touched costs no memory.
const LEAST: usize = 1 << 20;

impl Chunk {
    fn layout(lines: usize) -> Layout {
        Layout::array::<Line>(lines).unwrap_or_else(|_| panic!("a buffer of {lines} lines is too large"))
    }

    /// Fresh memory. The system zeroes it, page by page, at the first touch.
    fn new(lines: usize) -> Self {
        let layout = Self::layout(lines);
        // SAFETY: there is at least one line.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }.cast());
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, lines, idle: BTreeMap::from([(0, lines)]) }
    }

    fn is_idle(&self) -> bool {
        self.idle.get(&0) == Some(&self.lines)
    }

    /// Gives an idle part back, together with the idle parts before and behind it.
    fn give_back(&mut self, mut first: usize, mut lines: usize) {
        if let Some((&before, &there)) = self.idle.range(..first).next_back()
            && before + there == first
        {
            self.idle.remove(&before);
            (first, lines) = (before, there + lines);
        }
        if let Some(behind) = self.idle.remove(&(first + lines)) {
            lines += behind;
        }
        self.idle.insert(first, lines);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: it was got with this layout, and chunks are dropped only when nobody uses a part of them.
        unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.lines)) }
    }
}

impl Pool {
    /// The smallest idle part that is large enough, cut to size; the one at the lowest address of equal ones.
    fn take(&mut self, lines: usize) -> Option<NonNull<Line>> {
        let parts = self.0.iter().enumerate().flat_map(|(chunk, Chunk { idle, .. })| {
            idle.iter()
                .filter(|(_, there)| **there >= lines)
                .map(move |(first, there)| (*there, chunk, *first))
        });
        let (there, chunk, first) = parts.min()?;
        let chunk = &mut self.0[chunk];
        chunk.idle.remove(&first);
        if there > lines {
            chunk.idle.insert(first + lines, there - lines);
        }
        // SAFETY: inside of the chunk.
        Some(unsafe { chunk.start.add(first) })
    }

    /// A part of a new chunk, which takes the place of those that nobody uses, as they are too small.
    fn grow(&mut self, lines: usize) -> NonNull<Line> {
        self.0.retain(|chunk| !chunk.is_idle());
        let all: usize = self.0.iter().map(|chunk| chunk.lines).sum();
        let chunk = Chunk::new((2 * lines).max(all).max(LEAST));
        let place = self.0.partition_point(|other| other.start < chunk.start);
        self.0.insert(place, chunk);
        self.take(lines).unwrap_or_else(|| unreachable!("a new chunk is large enough"))
    }

    fn give_back(&mut self, start: NonNull<Line>, lines: usize) {
        let place = self.0.partition_point(|chunk| chunk.start <= start);
        let chunk = &mut self.0[place - 1];
        // SAFETY: both are in the same chunk.
        let first = unsafe { start.offset_from(chunk.start) } as usize;
        chunk.give_back(first, lines);
    }
}

/// A buffer of numbers, aligned to a cache line, that goes back to a common pool when dropped.
///
/// Fresh memory is expensive: the system zeroes it page by page at the first touch. The kernels therefore take
/// their scratch memory and their results from a pool; one step of an optimisation finds there what the step before
/// left. The contents of a buffer are whatever the last user left (zeros at first).
pub(super) struct Workspace {
    start: NonNull<Line>,
    lines: usize,
}

// SAFETY: a buffer is nobody else's until it is dropped.
unsafe impl Send for Workspace {}
// SAFETY: as above; a shared one is only read.
unsafe impl Sync for Workspace {}

impl Workspace {
    /// A buffer of at least `length` numbers.
    pub(super) fn of(length: usize) -> Self {
        let lines = length.div_ceil(Line::NUMBERS).max(1);
        let mut pool = pool();
        let start = pool.take(lines).unwrap_or_else(|| pool.grow(lines));
        Self { start, lines }
    }

    /// The first number.
    pub(super) fn pointer(&mut self) -> *mut f32 {
        self.start.as_ptr().cast()
    }

    /// The numbers.
    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: a line is sixteen numbers and nothing else, and all lines were zero at first.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.lines * Line::NUMBERS) }
    }

    /// The memory as bytes.
    pub(super) fn bytes(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: the bytes of the lines.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.lines * size_of::<Line>()) }
    }

    /// The memory as bytes, into which only numbers may be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the bytes of the lines; the users write numbers.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.lines * size_of::<Line>()) }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        pool().give_back(self.start, self.lines);
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
