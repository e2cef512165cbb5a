//! The transforms along one axis.

use super::tiling::{TILE, WINDOW};
use crate::simd::{InstructionSet, Lanes};

/// The first pair of points, ±α.
const ALPHA: f32 = 0.625;
/// The second pair of points, ±β.
const BETA: f32 = 1.5;
const ALPHA2: f32 = ALPHA * ALPHA;
const BETA2: f32 = BETA * BETA;

/// `Bᵀ d` along one axis: the input polynomial at the points 0, α, -α, β, -β, ∞.
#[inline(always)]
pub(crate) fn transform_input<S: InstructionSet>(set: S, d: [S::Lanes; WINDOW]) -> [S::Lanes; WINDOW] {
    let [alpha2, beta2] = [set.splat(ALPHA2), set.splat(BETA2)];
    let (product, sum) = (set.splat(ALPHA2 * BETA2), set.splat(ALPHA2 + BETA2));
    let (even_a, odd_a) = (d[2].neg_mul_add(beta2, d[4]), d[1].neg_mul_add(beta2, d[3]));
    let (even_b, odd_b) = (d[2].neg_mul_add(alpha2, d[4]), d[1].neg_mul_add(alpha2, d[3]));
    [
        d[0].mul_add(product, d[2].neg_mul_add(sum, d[4])),
        odd_a.mul_add(set.splat(ALPHA), even_a),
        odd_a.neg_mul_add(set.splat(ALPHA), even_a),
        odd_b.mul_add(set.splat(BETA), even_b),
        odd_b.neg_mul_add(set.splat(BETA), even_b),
        d[1].mul_add(product, d[3].neg_mul_add(sum, d[5])),
    ]
}

/// `G g` along one axis: the filter polynomial at the points, each divided by the product of the point's
/// distances from the others.
#[inline(always)]
pub(crate) fn transform_filter<S: InstructionSet>(set: S, g: [S::Lanes; 3]) -> [S::Lanes; WINDOW] {
    const AT_ALPHA: f32 = 1.0 / (2.0 * ALPHA2 * (ALPHA2 - BETA2));
    const AT_BETA: f32 = 1.0 / (2.0 * BETA2 * (BETA2 - ALPHA2));
    let even_a = g[0].mul(set.splat(AT_ALPHA)).add(g[2].mul(set.splat(AT_ALPHA * ALPHA2)));
    let even_b = g[0].mul(set.splat(AT_BETA)).add(g[2].mul(set.splat(AT_BETA * BETA2)));
    let (odd_a, odd_b) = (set.splat(AT_ALPHA * ALPHA), set.splat(AT_BETA * BETA));
    [
        g[0].mul(set.splat(1.0 / (ALPHA2 * BETA2))),
        g[1].mul_add(odd_a, even_a),
        g[1].neg_mul_add(odd_a, even_a),
        g[1].mul_add(odd_b, even_b),
        g[1].neg_mul_add(odd_b, even_b),
        g[2],
    ]
}

/// `Aᵀ m` along one axis: row `i` sums the products, weighted with the `i`-th powers of the points.
#[inline(always)]
pub(crate) fn transform_output<S: InstructionSet>(set: S, m: [S::Lanes; WINDOW]) -> [S::Lanes; TILE] {
    let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(even_a).add(even_b),
        odd_a.mul(set.splat(ALPHA)).add(odd_b.mul(set.splat(BETA))),
        even_b.mul_add(set.splat(BETA2), even_a.mul(set.splat(ALPHA2))),
        odd_b.mul_add(set.splat(BETA2 * BETA), odd_a.mul_add(set.splat(ALPHA2 * ALPHA), m[5])),
    ]
}
