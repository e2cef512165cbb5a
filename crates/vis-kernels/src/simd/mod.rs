//! Sixteen `f32` at a time, on any machine.
//!
//! The kernels are written once, generic over an [`InstructionSet`], and compiled three times: for AVX-512 (one
//! register), for AVX2 with FMA (two registers), and for whatever the build targets (an array, which the compiler
//! vectorises as it can: NEON on 64-bit ARM, SSE2 on old x86). [`dispatch`] picks at run time, so that one binary runs
//! everywhere.
//!
//! # Witnesses
//! A value of a type that implements [`InstructionSet`] is the proof that the machine has it: the only way to one is
//! [`detect`](InstructionSet::detect), which looks for every feature that the kernels are compiled with. [`Lanes`] come
//! from such a value alone, so they are a proof as well. No safe function can run an instruction that the machine lacks.
//!
//! # How a kernel is compiled for an instruction set
//! Everything below [`Kernel::run`] is `#[inline(always)]` down to the intrinsics, and `run` itself is called from a
//! function that carries the `#[target_feature]` attribute. The whole body is thus compiled with that instruction set,
//! without the attribute appearing on every helper.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// The number of `f32` in one [`Lanes`] value.
pub(crate) const LANES: usize = 16;

/// An instruction set that this machine has: see the [module](self).
pub(crate) trait InstructionSet: Copy + Send + Sync + 'static {
    /// Sixteen `f32` in its registers.
    type Lanes: Lanes;
    /// What it is called.
    const NAME: &'static str;
    /// How many rows the matrix kernel keeps in registers as accumulators.
    const ROWS: usize;
    /// These rows are of two `Lanes` each, not of one.
    const WIDE: bool;
    /// How many rows of one `Lanes` a sum over taps keeps in registers, at most 8.
    const TAP_ROWS: usize;

    /// The witness, if the machine has all of it.
    fn detect() -> Option<Self>;

    /// Runs `kernel` in a function of its own, compiled for this instruction set.
    ///
    /// # Safety
    /// As for [`Kernel::run`].
    unsafe fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// The same number in all lanes.
    fn splat(self, value: f32) -> Self::Lanes;

    /// Sixteen consecutive numbers, at any alignment.
    ///
    /// # Safety
    /// They may be read.
    unsafe fn load(self, from: *const f32) -> Self::Lanes;

    /// Lanes `start..end` from `from + lane`, zero in the others; `end` is at most 16.
    ///
    /// # Safety
    /// The numbers of these lanes may be read; those of the others are not touched.
    unsafe fn load_between(self, from: *const f32, start: usize, end: usize) -> Self::Lanes;

    /// Asks for the cache line at `from`, which may be any address, to be brought near.
    fn prefetch(self, from: *const f32);
}

/// Sixteen `f32`, with the few operations that the kernels need.
pub(crate) trait Lanes: Copy + 'static {
    /// Writes sixteen numbers, at any alignment.
    ///
    /// # Safety
    /// There is room for them at `to`.
    unsafe fn store(self, to: *mut f32);

    /// Writes the first `count` lanes, at most 16.
    ///
    /// # Safety
    /// There is room for `count` numbers at `to`.
    unsafe fn store_first(self, to: *mut f32, count: usize);

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * factor + term`
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `term - self * factor`
    fn neg_mul_add(self, factor: Self, term: Self) -> Self;
    /// The larger; NaN in `self` stays NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller; NaN in `self` stays NaN.
    fn min(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `then` where `self < limit`, `otherwise` elsewhere, as where one is NaN.
    fn where_below(self, limit: Self, then: Self, otherwise: Self) -> Self;
    /// `self · 2ⁿ` for whole numbers `n` from -126 to 127.
    fn times_two_to(self, n: Self) -> Self;
    /// `self`, but zero where `value <= limit`.
    fn zero_where_at_most(self, value: Self, limit: Self) -> Self;
    /// Lane `i` becomes lane `i + 1`; the last lane is unspecified.
    fn shift_down(self) -> Self;
    /// Lane `i` becomes lane `from[i]`; each `from[i]` is below 16.
    fn permute(self, from: &[u32; LANES]) -> Self;
    /// Splits 64 consecutive numbers by their index modulo 4: lane `i` of result `j` is number `4 i + j`.
    fn deinterleave4(numbers: [Self; 4]) -> [Self; 4];
    /// Lane `j` of row `i` becomes lane `i` of row `j`.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];
    /// The numbers of two in turn: `even[0], odd[0], even[1], …`.
    fn interleave(even: Self, odd: Self) -> [Self; 2];
}

/// Up to [`LANES`] numbers of a slice from a place on, zero behind its end.
#[inline(always)]
pub(crate) fn load<S: InstructionSet>(set: S, from: &[f32], at: usize) -> S::Lanes {
    let from = &from[at..];
    let count = LANES.min(from.len());
    // SAFETY: so many numbers are there.
    unsafe {
        if count == LANES { set.load(from.as_ptr()) } else { set.load_between(from.as_ptr(), 0, count) }
    }
}

/// Writes as many of the lanes as the slice has room for from a place on.
#[inline(always)]
pub(crate) fn store<L: Lanes>(value: L, to: &mut [f32], at: usize) {
    let to = &mut to[at..];
    let count = LANES.min(to.len());
    // SAFETY: there is room for so many numbers.
    unsafe {
        if count == LANES { value.store(to.as_mut_ptr()) } else { value.store_first(to.as_mut_ptr(), count) }
    }
}

/// A computation that is written for any [`InstructionSet`].
pub(crate) trait Kernel {
    type Output;

    /// Implementations are marked `#[inline(always)]`.
    ///
    /// # Safety
    /// What the kernel's pointers lead to is there and may be used as the kernel's documentation says.
    unsafe fn run<S: InstructionSet>(self, set: S) -> Self::Output;
}

/// Runs `kernel` with the best instruction set that this machine has.
///
/// # Safety
/// As for [`Kernel::run`].
pub(crate) unsafe fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(set) = allowed::<Avx512>() {
            // SAFETY: as vouched for by the caller.
            return unsafe { set.call(kernel) };
        }
        if let Some(set) = allowed::<Avx2>() {
            // SAFETY: as above.
            return unsafe { set.call(kernel) };
        }
    }
    // SAFETY: as above.
    unsafe { Portable.call(kernel) }
}

/// The instruction set that the kernels run on: `"AVX-512"`, `"AVX2"`, or `"portable"` for what the build targets.
pub fn instruction_set() -> &'static str {
    struct Name;
    impl Kernel for Name {
        type Output = &'static str;
        #[inline(always)]
        unsafe fn run<S: InstructionSet>(self, _: S) -> &'static str {
            S::NAME
        }
    }
    // SAFETY: it has no pointers.
    unsafe { dispatch(Name) }
}

#[cfg(target_arch = "x86_64")]
fn allowed<S: InstructionSet>() -> Option<S> {
    #[cfg(all(test, not(loom)))]
    if !crate::tests::sets::is_allowed(S::NAME) {
        return None;
    }
    S::detect()
}
