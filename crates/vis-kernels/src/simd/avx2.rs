//! AVX2 with FMA: two registers of eight numbers, of 16.

use std::arch::x86_64::*;

use super::{InstructionSet, Kernel, LANES, Lanes};

/// The machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Sixteen numbers; made by an [`Avx2`] alone.
#[derive(Clone, Copy)]
pub(crate) struct Registers([__m256; 2]);

/// Runs intrinsics that touch registers alone.
macro_rules! has {
    ($intrinsics:expr) => {
        // SAFETY: the machine has the instructions: there is a value of `Avx2`, or of its registers, in every
        // function that says so, and the first of them came from `detect`.
        unsafe { $intrinsics }
    };
}

/// # Safety
/// As for [`Kernel::run`].
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn call<K: Kernel>(kernel: K, set: Avx2) -> K::Output {
    // SAFETY: as vouched for by the caller.
    unsafe { kernel.run(set) }
}

impl Registers {
    /// Which of sixteen lanes are at `start..end`.
    ///
    /// # Safety
    /// The machine has AVX2.
    #[inline(always)]
    unsafe fn masks(start: usize, end: usize) -> [__m256i; 2] {
        // SAFETY: as vouched for by the caller.
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

    /// Lane `j` of row `i` becomes lane `i` of row `j`.
    ///
    /// # Safety
    /// The machine has AVX2.
    #[inline(always)]
    unsafe fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
        // SAFETY: as vouched for by the caller.
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

impl InstructionSet for Avx2 {
    type Lanes = Registers;
    const NAME: &'static str = "AVX2";
    const ROWS: usize = 6;
    const WIDE: bool = false;
    const TAP_ROWS: usize = 4;
    #[inline(always)]
    fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the machine has what `call` is compiled for, as `self` shows; the rest is vouched for by the caller.
        unsafe { call(kernel, self) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Registers {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is read.
        Registers(unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] })
    }
    #[inline(always)]
    unsafe fn load_between(self, from: *const f32, start: usize, end: usize) -> Registers {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is read.
        unsafe {
            let [low, high] = Registers::masks(start, end);
            Registers([_mm256_maskload_ps(from, low), _mm256_maskload_ps(from.wrapping_add(8), high)])
        }
    }
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        // SAFETY: the machine has the instruction, and any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Registers {
        Registers(has!([_mm256_set1_ps(value); 2]))
    }
}

impl Lanes for Registers {
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is written.
        unsafe {
            _mm256_storeu_ps(to, self.0[0]);
            _mm256_storeu_ps(to.add(8), self.0[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is written.
        unsafe {
            let [low, high] = Self::masks(0, count);
            _mm256_maskstore_ps(to, low, self.0[0]);
            _mm256_maskstore_ps(to.wrapping_add(8), high, self.0[1]);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Registers(has!([_mm256_add_ps(self.0[0], other.0[0]), _mm256_add_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Registers(has!([_mm256_sub_ps(self.0[0], other.0[0]), _mm256_sub_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Registers(has!([_mm256_mul_ps(self.0[0], other.0[0]), _mm256_mul_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let [[a, b], [c, d], [e, f]] = [self.0, factor.0, term.0];
        Registers(has!([_mm256_fmadd_ps(a, c, e), _mm256_fmadd_ps(b, d, f)]))
    }
    #[inline(always)]
    fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        let [[a, b], [c, d], [e, f]] = [self.0, factor.0, term.0];
        Registers(has!([_mm256_fnmadd_ps(a, c, e), _mm256_fnmadd_ps(b, d, f)]))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Registers(has!([_mm256_max_ps(other.0[0], self.0[0]), _mm256_max_ps(other.0[1], self.0[1])]))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Registers(has!([_mm256_min_ps(other.0[0], self.0[0]), _mm256_min_ps(other.0[1], self.0[1])]))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Registers(has!([_mm256_div_ps(self.0[0], other.0[0]), _mm256_div_ps(self.0[1], other.0[1])]))
    }
    #[inline(always)]
    fn where_below(self, limit: Self, then: Self, otherwise: Self) -> Self {
        has!({
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[0], limit.0[0]);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[1], limit.0[1]);
            Registers([
                _mm256_blendv_ps(otherwise.0[0], then.0[0], low),
                _mm256_blendv_ps(otherwise.0[1], then.0[1], high),
            ])
        })
    }
    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        has!({
            // The numbers 2ⁿ: their exponents and nothing else.
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.0[0]), bias));
            let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.0[1]), bias));
            Registers([
                _mm256_mul_ps(self.0[0], _mm256_castsi256_ps(low)),
                _mm256_mul_ps(self.0[1], _mm256_castsi256_ps(high)),
            ])
        })
    }
    #[inline(always)]
    fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
        let [[a, b], [c, d], [e, f]] = [self.0, value.0, limit.0];
        has!({
            Registers([
                _mm256_and_ps(a, _mm256_cmp_ps::<_CMP_NLE_UQ>(c, e)),
                _mm256_and_ps(b, _mm256_cmp_ps::<_CMP_NLE_UQ>(d, f)),
            ])
        })
    }
    #[inline(always)]
    fn shift_down(self) -> Self {
        has!({
            let next = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
            let low = _mm256_permutevar8x32_ps(self.0[0], next);
            let high = _mm256_permutevar8x32_ps(self.0[1], next);
            Registers([_mm256_blend_ps::<0x80>(low, high), high])
        })
    }
    #[inline(always)]
    fn permute(self, from: &[u32; LANES]) -> Self {
        // SAFETY: both are 64 bytes, and every pattern of bits is a number.
        let numbers: [f32; LANES] = unsafe { std::mem::transmute(self.0) };
        let numbers = from.map(|i| numbers[i as usize % LANES]);
        // SAFETY: as above; `self` shows that the machine has the registers.
        Registers(unsafe { std::mem::transmute::<[f32; LANES], [__m256; 2]>(numbers) })
    }
    #[inline(always)]
    fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
        has!({
            let mut out = [Registers([_mm256_setzero_ps(); 2]); 4];
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
        })
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> [Self; 2] {
        [0, 1].map(|half| {
            has!({
                let low = _mm256_unpacklo_ps(even.0[half], odd.0[half]);
                let high = _mm256_unpackhi_ps(even.0[half], odd.0[half]);
                Registers([
                    _mm256_permute2f128_ps::<0x20>(low, high),
                    _mm256_permute2f128_ps::<0x31>(low, high),
                ])
            })
        })
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        has!({
            let mut out = [Registers([_mm256_setzero_ps(); 2]); LANES];
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
        })
    }
}
