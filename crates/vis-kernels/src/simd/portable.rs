//! An array, for any machine: what the compiler makes of it for the build's target.

use super::{InstructionSet, Kernel, LANES, Lanes};

/// Nothing is asked of the machine but what the build targets: SSE2 on x86-64, NEON on 64-bit ARM.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Sixteen numbers.
#[derive(Clone, Copy)]
pub(crate) struct Array([f32; LANES]);

impl Array {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Array(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl InstructionSet for Portable {
    type Lanes = Array;
    const NAME: &'static str = "portable";
    const ROWS: usize = 6;
    const WIDE: bool = false;
    const TAP_ROWS: usize = 4;
    #[inline(always)]
    fn detect() -> Option<Self> {
        Some(Self)
    }
    #[inline(never)]
    unsafe fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: as vouched for by the caller.
        unsafe { kernel.run(self) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Array {
        // SAFETY: the caller vouches for sixteen numbers at `from`.
        Array(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_between(self, from: *const f32, start: usize, end: usize) -> Array {
        Array(std::array::from_fn(|i| {
            // SAFETY: only lanes that the caller vouches for are read.
            if (start..end).contains(&i) { unsafe { *from.wrapping_add(i) } } else { 0.0 }
        }))
    }
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline(always)]
    fn splat(self, value: f32) -> Array {
        Array([value; LANES])
    }
}

impl Lanes for Array {
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for room for sixteen numbers at `to`.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (i, value) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller vouches for room for `count` numbers at `to`.
            unsafe { *to.add(i) = *value }
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        // A fused multiply-add without hardware for it is a slow library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            Array(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], term.0[i])))
        } else {
            self.mul(factor).add(term)
        }
    }
    #[inline(always)]
    fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Array(self.0.map(|a| -a)).mul_add(factor, term)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if b > a { b } else { a })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if b < a { b } else { a })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn where_below(self, limit: Self, then: Self, otherwise: Self) -> Self {
        Array(std::array::from_fn(|i| if self.0[i] < limit.0[i] { then.0[i] } else { otherwise.0[i] }))
    }
    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        // The number 2ⁿ: its exponent and nothing else.
        self.zip(n, |a, n| a * f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
        Array(std::array::from_fn(|i| if value.0[i] <= limit.0[i] { 0.0 } else { self.0[i] }))
    }
    #[inline(always)]
    fn shift_down(self) -> Self {
        Array(std::array::from_fn(|i| self.0[(i + 1) % LANES]))
    }
    #[inline(always)]
    fn permute(self, from: &[u32; LANES]) -> Self {
        Array(from.map(|i| self.0[i as usize % LANES]))
    }
    #[inline(always)]
    fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
        std::array::from_fn(|j| Array(std::array::from_fn(|i| numbers[i / 4].0[4 * (i % 4) + j])))
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> [Self; 2] {
        let at = |place: usize| if place.is_multiple_of(2) { even.0[place / 2] } else { odd.0[place / 2] };
        [Self(std::array::from_fn(at)), Self(std::array::from_fn(|lane| at(lane + LANES)))]
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|j| Array(std::array::from_fn(|i| rows[i].0[j])))
    }
}
