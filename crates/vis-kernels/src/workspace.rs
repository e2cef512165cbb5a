//! Memory that is used again and again: scratch memory of the kernels, and the tensors that they make.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::PoisonError;

#[cfg(not(loom))]
use crate::sync::{Mutex, MutexGuard};
#[cfg(loom)]
use std::sync::MutexGuard;

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

#[cfg(not(loom))]
static POOL: Mutex<Pool> = Mutex::new(Pool(Vec::new()));
#[cfg(loom)]
static POOL: std::sync::Mutex<Pool> = std::sync::Mutex::new(Pool(Vec::new())); // it is not modelled

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines in the first chunk: 64 MB. What is never touched costs no memory.
const LEAST: usize = 1 << 20;

impl Chunk {
    /// The layout, if so much can be addressed.
    fn layout(lines: usize) -> Option<Layout> {
        Layout::array::<Line>(lines).ok().filter(|layout| layout.size() > 0)
    }

    /// Fresh memory, if there is any. The system zeroes it, page by page, at the first touch.
    fn new(lines: usize) -> Option<Self> {
        let layout = Self::layout(lines)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }.cast())?;
        Some(Self { start, lines, idle: BTreeMap::from([(0, lines)]) })
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
        if let Some(layout) = Self::layout(self.lines) {
            // SAFETY: it was got with this layout, and chunks are dropped only when nobody uses a part of them.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
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
    fn grow(&mut self, lines: usize) -> Option<NonNull<Line>> {
        self.0.retain(|chunk| !chunk.is_idle());
        let all: usize = self.0.iter().map(|chunk| chunk.lines).sum();
        let ample = lines.saturating_mul(2).max(all).max(LEAST);
        let chunk = Chunk::new(ample).or_else(|| Chunk::new(lines))?;
        let place = self.0.partition_point(|other| other.start < chunk.start);
        self.0.insert(place, chunk);
        self.take(lines)
    }

    fn give_back(&mut self, start: NonNull<Line>, lines: usize) {
        let place = self.0.partition_point(|chunk| chunk.start <= start);
        let chunk = &mut self.0[place - 1];
        // SAFETY: both are in the same chunk.
        let first = unsafe { start.offset_from(chunk.start) } as usize;
        chunk.give_back(first, lines);
    }
}

/// Lines for so many numbers, from the pool.
#[cfg(not(unpooled))]
fn take(lines: usize, _length: usize) -> Option<NonNull<Line>> {
    let mut pool = pool();
    pool.take(lines).or_else(|| pool.grow(lines))
}

#[cfg(not(unpooled))]
fn give_back(start: NonNull<Line>, lines: usize, _length: usize) {
    pool().give_back(start, lines);
}

/// For AddressSanitizer (`--cfg unpooled`) every buffer is an allocation of its own, not a number longer than was asked for.
#[cfg(unpooled)]
fn alone(length: usize) -> Layout {
    Layout::from_size_align(length.max(1) * size_of::<f32>(), align_of::<Line>()).expect("looked at before")
}

#[cfg(unpooled)]
fn take(_lines: usize, length: usize) -> Option<NonNull<Line>> {
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { alloc_zeroed(alone(length)) }.cast())
}

#[cfg(unpooled)]
fn give_back(start: NonNull<Line>, _lines: usize, length: usize) {
    // SAFETY: it was got with this layout.
    unsafe { dealloc(start.as_ptr().cast(), alone(length)) }
}

/// Gives the memory that no kernel and no result uses at the moment back to the system.
///
/// Results and scratch memory lie in a pool that grows to the most that was used at a time and stays so large, because
/// fresh memory is expensive. Call this when a large batch is over and the process goes on. What is in use stays; the
/// next convolution takes memory from the system again.
pub fn release_memory() {
    let mut pool = pool();
    pool.0.retain(|chunk| !chunk.is_idle());
    for chunk in &pool.0 {
        for (first, lines) in &chunk.idle {
            // SAFETY: inside of the chunk, and nobody uses it.
            unsafe { pages::release(chunk.start.add(*first).as_ptr().cast(), lines * size_of::<Line>()) };
        }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod pages {
    /// Gives the whole pages of some memory back; they are zeros when they are touched again.
    ///
    /// # Safety
    /// It is memory of ours from the allocator, and its contents do not matter.
    pub(crate) unsafe fn release(start: *mut u8, bytes: usize) {
        // SAFETY: it has no conditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let Some(page) = usize::try_from(page).ok().filter(|page| page.is_power_of_two()) else { return };
        let skipped = start.align_offset(page);
        let Some(whole) =
            bytes.checked_sub(skipped).map(|bytes| bytes / page * page).filter(|whole| *whole > 0)
        else {
            return;
        };
        // SAFETY: whole pages of the memory that the caller vouches for. Where it is refused, nothing has changed.
        unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod pages {
    /// Elsewhere only whole chunks are given back.
    ///
    /// # Safety
    /// None.
    pub(crate) unsafe fn release(_start: *mut u8, _bytes: usize) {}
}

/// There is not so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    numbers: Option<usize>,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.numbers {
            Some(numbers) => write!(f, "there is no memory for {numbers} numbers of 4 bytes"),
            None => f.write_str("there is no memory for more numbers than can be addressed"),
        }
    }
}

impl std::error::Error for OutOfMemory {}

/// How many numbers there are: the product of the extents, if so many can be addressed.
pub(crate) fn length(extents: &[usize]) -> Result<usize, OutOfMemory> {
    let numbers = extents.iter().try_fold(1usize, |count, extent| count.checked_mul(*extent));
    let most = (isize::MAX as usize - 4 * size_of::<Line>()) / size_of::<f32>();
    numbers.filter(|numbers| *numbers <= most).ok_or(OutOfMemory { numbers })
}

/// A buffer of numbers, aligned to a cache line, that goes back to a common pool when dropped.
///
/// Fresh memory is expensive: the system zeroes it page by page at the first touch. The kernels therefore take
/// their scratch memory and their results from a pool; one step of an optimisation finds there what the step before
/// left. The contents of a buffer are whatever the last user left (zeros at first).
///
/// In builds with debug assertions there is a cache line of marks before and behind every buffer, which is looked at when
/// the buffer goes.
pub struct Workspace {
    start: NonNull<Line>,
    /// All that was taken, the marks among them.
    lines: usize,
    /// Numbers that were asked for.
    length: usize,
}

// SAFETY: a buffer is nobody else's until it is dropped.
unsafe impl Send for Workspace {}
// SAFETY: as above; a shared one is only read.
unsafe impl Sync for Workspace {}

/// Whether there are marks around buffers.
const MARKED: bool = cfg!(all(debug_assertions, not(unpooled)));
/// Lines of marks on either side of a buffer.
const MARKS: usize = MARKED as usize;
/// A mark.
const MARK: f32 = f32::from_bits(0xFFC0_5AFE);

impl Workspace {
    /// A buffer of `length` numbers.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn new(length: usize) -> Result<Self, OutOfMemory> {
        self::length(&[length])?;
        let lines = length.div_ceil(Line::NUMBERS).max(1) + 2 * MARKS;
        let start = take(lines, length).ok_or(OutOfMemory { numbers: Some(length) })?;
        let mut buffer = Self { start, lines, length };
        if MARKED {
            buffer.marks().into_iter().for_each(|marks| marks.fill(MARK));
        }
        if cfg!(test) {
            // No kernel may depend on what it finds.
            buffer.numbers_mut().fill(f32::NAN);
        }
        Ok(buffer)
    }

    /// Scratch memory of so many numbers: the product of the extents.
    ///
    /// # Panics
    /// If there is not so much memory.
    pub(crate) fn of(extents: &[usize]) -> Self {
        let buffer = length(extents).and_then(Self::new);
        buffer.unwrap_or_else(|error| panic!("scratch memory of the extents {extents:?}: {error}"))
    }

    /// The first number.
    pub(crate) fn pointer(&mut self) -> *mut f32 {
        // SAFETY: the marks are inside of what was taken.
        unsafe { self.start.as_ptr().add(MARKS) }.cast()
    }

    fn first(&self) -> *const f32 {
        // SAFETY: as above.
        unsafe { self.start.as_ptr().add(MARKS) }.cast()
    }

    /// The numbers.
    pub fn numbers(&self) -> &[f32] {
        // SAFETY: a line is sixteen numbers and nothing else, there are enough of them, and all were zero at first.
        unsafe { std::slice::from_raw_parts(self.first(), self.length) }
    }

    /// The numbers.
    pub fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.length) }
    }

    /// The numbers as bytes.
    pub fn bytes(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: the bytes of the numbers.
        unsafe { std::slice::from_raw_parts(self.first().cast(), self.length * size_of::<f32>()) }
    }

    /// The numbers as bytes.
    ///
    /// # Safety
    /// All bytes are initialised when the reference ends: there are no numbers that are none.
    pub unsafe fn bytes_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the bytes of the numbers; the caller vouches for what is written.
        unsafe { std::slice::from_raw_parts_mut(self.pointer().cast(), self.length * size_of::<f32>()) }
    }

    /// The marks on either side: from the first line on, and from behind the last number.
    fn marks(&mut self) -> [&mut [f32]; 2] {
        let all: *mut f32 = self.start.as_ptr().cast();
        let behind = MARKS * Line::NUMBERS + self.length;
        // SAFETY: both are inside of what was taken, do not overlap, and are borrowed as this buffer is.
        unsafe {
            [
                std::slice::from_raw_parts_mut(all, MARKS * Line::NUMBERS),
                std::slice::from_raw_parts_mut(all.add(behind), self.lines * Line::NUMBERS - behind),
            ]
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let intact = !MARKED
            || self.marks().iter().all(|marks| marks.iter().all(|mark| mark.to_bits() == MARK.to_bits()));
        give_back(self.start, self.lines, self.length);
        assert!(
            intact || std::thread::panicking(),
            "a kernel wrote beyond a buffer of {} numbers",
            self.length
        );
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("numbers", &self.length).finish()
    }
}

/// Numbers that tasks write side by side: every use says why its accesses do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    length: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer itself is only an address; the code that dereferences it keeps the accesses apart.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(numbers: &'a mut [f32]) -> Self {
        Self { start: numbers.as_mut_ptr(), length: numbers.len(), borrowed: PhantomData }
    }

    /// The place of a number.
    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> *mut f32 {
        debug_assert!(index <= self.length, "{index} of {} numbers", self.length);
        self.start.wrapping_add(index)
    }
}
