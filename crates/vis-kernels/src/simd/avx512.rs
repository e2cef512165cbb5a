//! AVX-512: one register of sixteen numbers, 32 of them.

use std::arch::x86_64::*;

use super::{InstructionSet, Kernel, LANES, Lanes};

/// The machine has AVX-512F, AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Sixteen numbers; made by an [`Avx512`] alone.
#[derive(Clone, Copy)]
pub(crate) struct Register(__m512);

/// Runs intrinsics that touch registers alone.
macro_rules! has {
    ($intrinsics:expr) => {
        // SAFETY: the machine has the instructions: there is a value of `Avx512`, or of its registers, in every
        // function that says so, and the first of them came from `detect`.
        unsafe { $intrinsics }
    };
}

/// # Safety
/// As for [`Kernel::run`].
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
unsafe fn call<K: Kernel>(kernel: K, set: Avx512) -> K::Output {
    // SAFETY: as vouched for by the caller.
    unsafe { kernel.run(set) }
}

#[inline(always)]
fn mask(start: usize, end: usize) -> __mmask16 {
    (((1u32 << end) - 1) & !((1u32 << start) - 1)) as __mmask16
}

impl InstructionSet for Avx512 {
    type Lanes = Register;
    const NAME: &'static str = "AVX-512";
    const ROWS: usize = 14;
    const WIDE: bool = true;
    const TAP_ROWS: usize = 8;
    #[inline(always)]
    fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the machine has what `call` is compiled for, as `self` shows; the rest is vouched for by the caller.
        unsafe { call(kernel, self) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Register {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is read.
        Register(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_between(self, from: *const f32, start: usize, end: usize) -> Register {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is read.
        Register(unsafe { _mm512_maskz_loadu_ps(mask(start, end), from) })
    }
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        // SAFETY: the machine has the instruction, and any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Register {
        Register(has!(_mm512_set1_ps(value)))
    }
}

impl Lanes for Register {
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is written.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: the machine has the instructions, as `self` shows; the caller vouches for what is written.
        unsafe { _mm512_mask_storeu_ps(to, mask(0, count), self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Register(has!(_mm512_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Register(has!(_mm512_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Register(has!(_mm512_mul_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        Register(has!(_mm512_fmadd_ps(self.0, factor.0, term.0)))
    }
    #[inline(always)]
    fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Register(has!(_mm512_fnmadd_ps(self.0, factor.0, term.0)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // The second operand is the result where one is NaN.
        Register(has!(_mm512_max_ps(other.0, self.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Register(has!(_mm512_min_ps(other.0, self.0)))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Register(has!(_mm512_div_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn where_below(self, limit: Self, then: Self, otherwise: Self) -> Self {
        has!({
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0);
            Register(_mm512_mask_blend_ps(below, otherwise.0, then.0))
        })
    }
    #[inline(always)]
    fn times_two_to(self, n: Self) -> Self {
        Register(has!(_mm512_scalef_ps(self.0, n.0)))
    }
    #[inline(always)]
    fn zero_where_at_most(self, value: Self, limit: Self) -> Self {
        has!({
            let keep = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(value.0, limit.0);
            Register(_mm512_maskz_mov_ps(keep, self.0))
        })
    }
    #[inline(always)]
    fn shift_down(self) -> Self {
        has!({
            let bits = _mm512_castps_si512(self.0);
            Register(_mm512_castsi512_ps(_mm512_alignr_epi32::<1>(bits, bits)))
        })
    }
    #[inline(always)]
    fn permute(self, from: &[u32; LANES]) -> Self {
        // SAFETY: as above; what is read is the array.
        unsafe { Register(_mm512_permutexvar_ps(_mm512_loadu_si512(from.as_ptr().cast()), self.0)) }
    }
    #[inline(always)]
    fn deinterleave4(numbers: [Self; 4]) -> [Self; 4] {
        has!({
            let [Register(a), Register(b), Register(c), Register(d)] = numbers;
            let first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
            let second = _mm512_setr_epi32(2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
            let (low01, high01) = (_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(c, first, d));
            let (low23, high23) =
                (_mm512_permutex2var_ps(a, second, b), _mm512_permutex2var_ps(c, second, d));
            [
                Register(_mm512_shuffle_f32x4::<0x44>(low01, high01)),
                Register(_mm512_shuffle_f32x4::<0xEE>(low01, high01)),
                Register(_mm512_shuffle_f32x4::<0x44>(low23, high23)),
                Register(_mm512_shuffle_f32x4::<0xEE>(low23, high23)),
            ]
        })
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> [Self; 2] {
        has!({
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            [
                Register(_mm512_permutex2var_ps(even.0, low, odd.0)),
                Register(_mm512_permutex2var_ps(even.0, high, odd.0)),
            ]
        })
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        has!({
            // 4 x 4 blocks within each 128-bit quarter ...
            let mut t = [_mm512_setzero_ps(); LANES];
            for q in 0..4 {
                let [a, b, c, d] = [rows[4 * q].0, rows[4 * q + 1].0, rows[4 * q + 2].0, rows[4 * q + 3].0];
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
            let mut out = [Register(_mm512_setzero_ps()); LANES];
            for j in 0..4 {
                let (even01, odd01) = (
                    _mm512_shuffle_f32x4::<0x88>(t[j], t[4 + j]),
                    _mm512_shuffle_f32x4::<0xDD>(t[j], t[4 + j]),
                );
                let (even23, odd23) = (
                    _mm512_shuffle_f32x4::<0x88>(t[8 + j], t[12 + j]),
                    _mm512_shuffle_f32x4::<0xDD>(t[8 + j], t[12 + j]),
                );
                out[j] = Register(_mm512_shuffle_f32x4::<0x88>(even01, even23));
                out[8 + j] = Register(_mm512_shuffle_f32x4::<0xDD>(even01, even23));
                out[4 + j] = Register(_mm512_shuffle_f32x4::<0x88>(odd01, odd23));
                out[12 + j] = Register(_mm512_shuffle_f32x4::<0xDD>(odd01, odd23));
            }
            out
        })
    }
}
