//! Sixteen `f32` at a time, on any machine.
//!
//! The kernels are written once, generic over [`Lanes`], and compiled three times: for AVX-512 (one register),
//! for AVX2 with FMA (two registers), and for whatever the build targets (an array, which the compiler vectorises
//! as it can: NEON on 64-bit ARM, SSE2 on old x86). [`dispatch`] picks at run time, so that one binary runs
//! everywhere.
//!
//! How it works: everything below [`Kernel::run`] is `#[inline(always)]` down to the intrinsics, and `run` itself
//! is called from a function that carries the `#[target_feature]` attribute. The whole body is thus compiled with
//! that instruction set, without the attribute appearing on every helper.

/// The number of `f32` in one [`Lanes`] value.
pub(crate) const LANES: usize = 16;

/// Sixteen `f32`, with the few operations that the kernels need.
///
/// # Safety
/// The methods of an implementation may use its instruction set: call them only below [`dispatch`], which has
/// checked that the machine has it.
pub(crate) trait Lanes: Copy + 'static {
    /// How many rows the matrix kernel keeps in registers as accumulators.
    const ROWS: usize;
    /// These rows are of two `Lanes` each, not of one.
    const WIDE: bool;
    /// How many rows of one `Lanes` a sum over taps keeps in registers, at most 8.
    const TAP_ROWS: usize;

    /// Runs `kernel` in a function of its own, compiled for this instruction set.
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output;
    /// Sixteen consecutive numbers, at any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Lanes `start..end` from `from + lane`, zero in the others; memory outside that range is not touched.
    unsafe fn load_between(from: *const f32, start: usize, end: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Asks for the cache line at `from`, which may be any address, to be brought near.
    unsafe fn prefetch(from: *const f32);
    /// Writes the first `count` lanes.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    fn splat(value: f32) -> Self;
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

/// A computation that is written for any [`Lanes`].
pub(crate) trait Kernel {
    type Output;
    /// # Safety
    /// The machine must have the instruction set of `V`. Implementations are marked `#[inline(always)]`.
    unsafe fn run<V: Lanes>(self) -> Self::Output;
}

/// Runs `kernel` with the best instruction set that this machine has.
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") && !limited(1) {
            // SAFETY: the machine has AVX-512F.
            return unsafe { x86::Avx512::call(kernel) };
        }
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && !limited(0)
        {
            // SAFETY: the machine has AVX2 and FMA.
            return unsafe { x86::Avx2::call(kernel) };
        }
    }
    // SAFETY: the portable lanes need nothing of the machine.
    unsafe { Portable::call(kernel) }
}

/// For the tests: the highest instruction set that [`dispatch`] may use. 0 portable, 1 AVX2, 2 AVX-512.
pub(super) static INSTRUCTION_SET_LIMIT: std::sync::atomic::AtomicUsize =
    std::sync::atomic::AtomicUsize::new(2);

#[cfg(target_arch = "x86_64")]
fn limited(below: usize) -> bool {
    INSTRUCTION_SET_LIMIT.load(std::sync::atomic::Ordering::Relaxed) <= below
}

/// An array; works everywhere.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const ROWS: usize = 6;
    const WIDE: bool = false;
    const TAP_ROWS: usize = 4;
    #[inline(never)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: needs nothing of the machine.
        unsafe { kernel.run::<Self>() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for sixteen numbers at `from`.
        Portable(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_between(from: *const f32, start: usize, end: usize) -> Self {
        Portable(std::array::from_fn(|i| {
            // SAFETY: only lanes that the caller vouches for are read.
            if (start..end).contains(&i) { unsafe { *from.wrapping_add(i) } } else { 0.0 }
        }))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for room for sixteen numbers at `to`.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (i, value) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller vouches for room for `count` numbers at `to`.
            unsafe { *to.add(i) = *value }
        }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; LANES])
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
            Portable(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], term.0[i])))
        } else {
            self.mul(factor).add(term)
        }
    }
    #[inline(always)]
    fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Portable(self.0.map(|a| -a)).mul_add(factor, term)
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
    fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
        Portable(std::array::from_fn(|i| if value.0[i] <= limit.0[i] { 0.0 } else { self.0[i] }))
    }
    #[inline(always)]
    fn shift_down(self) -> Self {
        Portable(std::array::from_fn(|i| self.0[(i + 1) % LANES]))
    }
    #[inline(always)]
    fn permute(self, from: &[u32; LANES]) -> Self {
        Portable(from.map(|i| self.0[i as usize % LANES]))
    }
    #[inline(always)]
    fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
        std::array::from_fn(|j| Portable(std::array::from_fn(|i| numbers[i / 4].0[4 * (i % 4) + j])))
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> [Self; 2] {
        let at = |place: usize| if place.is_multiple_of(2) { even.0[place / 2] } else { odd.0[place / 2] };
        [Self(std::array::from_fn(at)), Self(std::array::from_fn(|lane| at(lane + LANES)))]
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|j| Portable(std::array::from_fn(|i| rows[i].0[j])))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    // Every `unsafe` block in this module rests on the contract of `Lanes`: its methods are called only below
    // `dispatch`, which has checked for the instruction set; pointers are vouched for by the caller.
    use super::{Kernel, LANES, Lanes};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    #[target_feature(enable = "avx512f,avx2,fma")]
    #[inline(never)]
    unsafe fn call_avx512<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: see the module.
        unsafe { kernel.run::<Avx512>() }
    }

    #[inline(always)]
    fn mask(start: usize, end: usize) -> __mmask16 {
        (((1u32 << end) - 1) & !((1u32 << start) - 1)) as __mmask16
    }

    impl Lanes for Avx512 {
        const ROWS: usize = 14;
        const WIDE: bool = true;
        const TAP_ROWS: usize = 8;
        #[inline(always)]
        unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
            unsafe { call_avx512(kernel) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f32, start: usize, end: usize) -> Self {
            Avx512(unsafe { _mm512_maskz_loadu_ps(mask(start, end), from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, mask(0, count), self.0) }
        }
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }
        #[inline(always)]
        fn neg_mul_add(self, factor: Self, term: Self) -> Self {
            Avx512(unsafe { _mm512_fnmadd_ps(self.0, factor.0, term.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            // The second operand is the result where one is NaN.
            Avx512(unsafe { _mm512_max_ps(other.0, self.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_min_ps(other.0, self.0) })
        }
        #[inline(always)]
        fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
            unsafe {
                let keep = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(value.0, limit.0);
                Avx512(_mm512_maskz_mov_ps(keep, self.0))
            }
        }
        #[inline(always)]
        fn shift_down(self) -> Self {
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                Avx512(_mm512_castsi512_ps(_mm512_alignr_epi32::<1>(bits, bits)))
            }
        }
        #[inline(always)]
        fn permute(self, from: &[u32; LANES]) -> Self {
            unsafe { Avx512(_mm512_permutexvar_ps(_mm512_loadu_si512(from.as_ptr().cast()), self.0)) }
        }
        #[inline(always)]
        fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
            unsafe {
                let [Avx512(a), Avx512(b), Avx512(c), Avx512(d)] = numbers;
                let first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
                let second = _mm512_setr_epi32(2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
                let (low01, high01) =
                    (_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(c, first, d));
                let (low23, high23) =
                    (_mm512_permutex2var_ps(a, second, b), _mm512_permutex2var_ps(c, second, d));
                [
                    Avx512(_mm512_shuffle_f32x4::<0x44>(low01, high01)),
                    Avx512(_mm512_shuffle_f32x4::<0xEE>(low01, high01)),
                    Avx512(_mm512_shuffle_f32x4::<0x44>(low23, high23)),
                    Avx512(_mm512_shuffle_f32x4::<0xEE>(low23, high23)),
                ]
            }
        }
        #[inline(always)]
        fn interleave(even: Self, odd: Self) -> [Self; 2] {
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
                [
                    Avx512(_mm512_permutex2var_ps(even.0, low, odd.0)),
                    Avx512(_mm512_permutex2var_ps(even.0, high, odd.0)),
                ]
            }
        }
        #[inline(always)]
        fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
            unsafe {
                // 4 x 4 blocks within each 128-bit quarter ...
                let mut t = [_mm512_setzero_ps(); LANES];
                for q in 0..4 {
                    let [a, b, c, d] =
                        [rows[4 * q].0, rows[4 * q + 1].0, rows[4 * q + 2].0, rows[4 * q + 3].0];
                    let (ab0, ab1) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let (cd0, cd1) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                    let (x, y) = (_mm512_castps_pd(ab0), _mm512_castps_pd(cd0));
                    t[4 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    t[4 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                    let (x, y) = (_mm512_castps_pd(ab1), _mm512_castps_pd(cd1));
                    t[4 * q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    t[4 * q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
                // ... then the quarters themselves.
                let mut out = [Avx512(_mm512_setzero_ps()); LANES];
                for j in 0..4 {
                    let (even01, odd01) = (
                        _mm512_shuffle_f32x4::<0x88>(t[j], t[4 + j]),
                        _mm512_shuffle_f32x4::<0xDD>(t[j], t[4 + j]),
                    );
                    let (even23, odd23) = (
                        _mm512_shuffle_f32x4::<0x88>(t[8 + j], t[12 + j]),
                        _mm512_shuffle_f32x4::<0xDD>(t[8 + j], t[12 + j]),
                    );
                    out[j] = Avx512(_mm512_shuffle_f32x4::<0x88>(even01, even23));
                    out[8 + j] = Avx512(_mm512_shuffle_f32x4::<0xDD>(even01, even23));
                    out[4 + j] = Avx512(_mm512_shuffle_f32x4::<0x88>(odd01, odd23));
                    out[12 + j] = Avx512(_mm512_shuffle_f32x4::<0xDD>(odd01, odd23));
                }
                out
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2([__m256; 2]);

    #[target_feature(enable = "avx2,fma")]
    #[inline(never)]
    unsafe fn call_avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: see the module.
        unsafe { kernel.run::<Avx2>() }
    }

    impl Avx2 {
        #[inline(always)]
        unsafe fn masks(start: usize, end: usize) -> [__m256i; 2] {
            unsafe {
                let (start, end) = (_mm256_set1_epi32(start as i32), _mm256_set1_epi32(end as i32));
                let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
                [
                    _mm256_andnot_si256(_mm256_cmpgt_epi32(start, low), _mm256_cmpgt_epi32(end, low)),
                    _mm256_andnot_si256(_mm256_cmpgt_epi32(start, high), _mm256_cmpgt_epi32(end, high)),
                ]
            }
        }
        #[inline(always)]
        unsafe fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
            unsafe {
                let mut t = [_mm256_setzero_ps(); 8];
                for q in 0..2 {
                    let [a, b, c, d] = [r[4 * q], r[4 * q + 1], r[4 * q + 2], r[4 * q + 3]];
                    let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    t[4 * q] = _mm256_shuffle_ps::<0x44>(ab0, cd0);
                    t[4 * q + 1] = _mm256_shuffle_ps::<0xEE>(ab0, cd0);
                    t[4 * q + 2] = _mm256_shuffle_ps::<0x44>(ab1, cd1);
                    t[4 * q + 3] = _mm256_shuffle_ps::<0xEE>(ab1, cd1);
                }
                let mut out = [_mm256_setzero_ps(); 8];
                for j in 0..4 {
                    out[j] = _mm256_permute2f128_ps::<0x20>(t[j], t[4 + j]);
                    out[4 + j] = _mm256_permute2f128_ps::<0x31>(t[j], t[4 + j]);
                }
                out
            }
        }
    }

    impl Lanes for Avx2 {
        const ROWS: usize = 6;
        const WIDE: bool = false;
        const TAP_ROWS: usize = 4;
        #[inline(always)]
        unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
            unsafe { call_avx2(kernel) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx2(unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] })
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f32, start: usize, end: usize) -> Self {
            unsafe {
                let [low, high] = Self::masks(start, end);
                Avx2([_mm256_maskload_ps(from, low), _mm256_maskload_ps(from.wrapping_add(8), high)])
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0[0]);
                _mm256_storeu_ps(to.add(8), self.0[1]);
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe {
                let [low, high] = Self::masks(0, count);
                _mm256_maskstore_ps(to, low, self.0[0]);
                _mm256_maskstore_ps(to.wrapping_add(8), high, self.0[1]);
            }
        }
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Avx2(unsafe { [_mm256_set1_ps(value); 2] })
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Avx2(unsafe { [_mm256_add_ps(self.0[0], other.0[0]), _mm256_add_ps(self.0[1], other.0[1])] })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Avx2(unsafe { [_mm256_sub_ps(self.0[0], other.0[0]), _mm256_sub_ps(self.0[1], other.0[1])] })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Avx2(unsafe { [_mm256_mul_ps(self.0[0], other.0[0]), _mm256_mul_ps(self.0[1], other.0[1])] })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            let [[a, b], [c, d], [e, f]] = [self.0, factor.0, term.0];
            Avx2(unsafe { [_mm256_fmadd_ps(a, c, e), _mm256_fmadd_ps(b, d, f)] })
        }
        #[inline(always)]
        fn neg_mul_add(self, factor: Self, term: Self) -> Self {
            let [[a, b], [c, d], [e, f]] = [self.0, factor.0, term.0];
            Avx2(unsafe { [_mm256_fnmadd_ps(a, c, e), _mm256_fnmadd_ps(b, d, f)] })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Avx2(unsafe { [_mm256_max_ps(other.0[0], self.0[0]), _mm256_max_ps(other.0[1], self.0[1])] })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Avx2(unsafe { [_mm256_min_ps(other.0[0], self.0[0]), _mm256_min_ps(other.0[1], self.0[1])] })
        }
        #[inline(always)]
        fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
            let [[a, b], [c, d], [e, f]] = [self.0, value.0, limit.0];
            unsafe {
                Avx2([
                    _mm256_and_ps(a, _mm256_cmp_ps::<_CMP_NLE_UQ>(c, e)),
                    _mm256_and_ps(b, _mm256_cmp_ps::<_CMP_NLE_UQ>(d, f)),
                ])
            }
        }
        #[inline(always)]
        fn shift_down(self) -> Self {
            unsafe {
                let next = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
                let low = _mm256_permutevar8x32_ps(self.0[0], next);
                let high = _mm256_permutevar8x32_ps(self.0[1], next);
                Avx2([_mm256_blend_ps::<0x80>(low, high), high])
            }
        }
        #[inline(always)]
        fn permute(self, from: &[u32; LANES]) -> Self {
            let numbers: [f32; LANES] = unsafe { std::mem::transmute(self.0) };
            Avx2(unsafe {
                std::mem::transmute::<[f32; LANES], [__m256; 2]>(from.map(|i| numbers[i as usize % LANES]))
            })
        }
        #[inline(always)]
        fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
            unsafe {
                let mut out = [Avx2([_mm256_setzero_ps(); 2]); 4];
                for half in 0..2 {
                    let [[a, b], [c, d]] = [numbers[2 * half].0, numbers[2 * half + 1].0];
                    let p0 = _mm256_permute2f128_ps::<0x20>(a, c);
                    let p1 = _mm256_permute2f128_ps::<0x31>(a, c);
                    let p2 = _mm256_permute2f128_ps::<0x20>(b, d);
                    let p3 = _mm256_permute2f128_ps::<0x31>(b, d);
                    let (x0, x1) = (_mm256_unpacklo_ps(p0, p1), _mm256_unpackhi_ps(p0, p1));
                    let (y0, y1) = (_mm256_unpacklo_ps(p2, p3), _mm256_unpackhi_ps(p2, p3));
                    out[0].0[half] = _mm256_shuffle_ps::<0x44>(x0, y0);
                    out[1].0[half] = _mm256_shuffle_ps::<0xEE>(x0, y0);
                    out[2].0[half] = _mm256_shuffle_ps::<0x44>(x1, y1);
                    out[3].0[half] = _mm256_shuffle_ps::<0xEE>(x1, y1);
                }
                out
            }
        }
        #[inline(always)]
        fn interleave(even: Self, odd: Self) -> [Self; 2] {
            [0, 1].map(|half| unsafe {
                let low = _mm256_unpacklo_ps(even.0[half], odd.0[half]);
                let high = _mm256_unpackhi_ps(even.0[half], odd.0[half]);
                Avx2([_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)])
            })
        }
        #[inline(always)]
        fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
            unsafe {
                let mut out = [Avx2([_mm256_setzero_ps(); 2]); LANES];
                for i in 0..2 {
                    for j in 0..2 {
                        let mut block = [_mm256_setzero_ps(); 8];
                        for k in 0..8 {
                            block[k] = rows[8 * i + k].0[j];
                        }
                        let block = Self::transpose8(block);
                        for k in 0..8 {
                            out[8 * j + k].0[i] = block[k];
                        }
                    }
                }
                out
            }
        }
    }
}
