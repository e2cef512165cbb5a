//! The matrix product that the convolutions end in, with all sums in registers.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use crate::simd::{InstructionSet, Kernel, LANES, Lanes};

/// Most rows of a product: what the registers of AVX-512 hold with two registers a row.
pub(crate) const ROWS: usize = 14;
/// Columns of a product: two registers.
pub(crate) const GROUP: usize = 2 * LANES;
/// How many steps ahead the kernel asks for the left factor.
const AHEAD: usize = 16;

/// `sums[row][32] (+)= Σ_k left[k][row] · right[k][32]`, where a row of `left` has 16 places.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    /// Rows, at most 14.
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) left: *const f32,
    pub(crate) right: *const f32,
    pub(crate) sums: *mut f32,
    /// Add to the sums that are there.
    pub(crate) add: bool,
    /// All 32 columns are wanted, not only the first 16.
    pub(crate) wide: bool,
}

/// The product.
///
/// # Safety
/// There are `depth` rows of 16 numbers at `left` and of 32 at `right`, and room for `rows` rows of 32 at `sums`,
/// which nobody else uses meanwhile.
#[inline(always)]
pub(crate) unsafe fn multiply<S: InstructionSet>(set: S, factors: Factors) {
    let Factors { rows: all, depth, add, wide, .. } = factors;
    // Where the registers do not hold sums of all columns for several rows, the halves are taken one after the other.
    let (halves, wide) = if S::WIDE { (1, wide) } else { (1 + usize::from(wide), false) };
    for half in 0..halves {
        let right = factors.right.wrapping_add(half * LANES);
        // As equal as can be: few rows leave too few sums on their way to hide how long each takes.
        let mut first = 0;
        let mut pieces = all.div_ceil(S::ROWS);
        while first < all {
            let rows = (all - first).div_ceil(pieces);
            let left = factors.left.wrapping_add(first);
            let sums = factors.sums.wrapping_add(first * GROUP + half * LANES);
            // The constant conditions keep the compiler from making what an instruction set never uses.
            macro_rules! choose {
                ($($rows:literal)*) => {
                    match (rows, wide) {
                        // SAFETY: as vouched for by the caller.
                        $(($rows, true) if const { $rows <= S::ROWS && S::WIDE } => unsafe {
                            set.call(Multiply::<$rows, 2> { depth, left, right, sums, add })
                        },
                        // SAFETY: as above.
                        ($rows, false) if const { $rows <= S::ROWS } => unsafe {
                            set.call(Multiply::<$rows, 1> { depth, left, right, sums, add })
                        },)*
                        _ => unreachable!("at most 14 rows"),
                    }
                };
            }
            choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
            first += rows;
            pieces -= 1;
        }
    }
}

/// The product of `HEIGHT` rows and the first `16 * WIDE` columns, with all sums in registers.
struct Multiply<const HEIGHT: usize, const WIDE: usize> {
    depth: usize,
    left: *const f32,
    right: *const f32,
    sums: *mut f32,
    add: bool,
}

impl<const HEIGHT: usize, const WIDE: usize> Kernel for Multiply<HEIGHT, WIDE> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Self { depth, mut left, mut right, sums, add } = self;
        // SAFETY: as vouched for by the caller of `multiply`.
        unsafe {
            let mut acc = [[set.splat(0.0); WIDE]; HEIGHT];
            if add {
                for row in 0..HEIGHT {
                    for part in 0..WIDE {
                        acc[row][part] = set.load(sums.add(row * GROUP + part * LANES));
                    }
                }
            }
            for _ in 0..depth {
                set.prefetch(left.wrapping_add(AHEAD * LANES));
                let mut columns = [set.splat(0.0); WIDE];
                for part in 0..WIDE {
                    columns[part] = set.load(right.add(part * LANES));
                }
                for row in 0..HEIGHT {
                    let factor = set.splat(*left.add(row));
                    for part in 0..WIDE {
                        acc[row][part] = factor.mul_add(columns[part], acc[row][part]);
                    }
                }
                left = left.wrapping_add(LANES);
                right = right.wrapping_add(GROUP);
            }
            for row in 0..HEIGHT {
                for part in 0..WIDE {
                    acc[row][part].store(sums.add(row * GROUP + part * LANES));
                }
            }
        }
    }
}
