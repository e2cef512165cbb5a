//! Whether the highest place of a map lies on an object.

use std::ops::Range;

use ndarray::ArrayView2;

/// Whether a map's highest place lies on an object: within `tolerance` pixels of the rectangle of these rows and columns.
/// The usual tolerance is 15 pixels.
///
/// `false` for a map without a number and for an empty rectangle.
///
/// ```
/// use vis::metrics::pointing_game;
/// let map = ndarray::array![[0.0, 0.1, 0.0], [0.0, 0.0, 0.9]];
/// assert!(!pointing_game(map.view(), 0..2, 0..2, 0.0));
/// assert!(pointing_game(map.view(), 0..2, 0..2, 1.0));
/// ```
///
/// Source: Zhang et al. 2016, arXiv 1608.00507, section 4.1.
pub fn pointing_game(
    map: ArrayView2<f32>,
    rows: Range<usize>,
    columns: Range<usize>,
    tolerance: f32,
) -> bool {
    let highest = map.indexed_iter().filter(|(_, value)| !value.is_nan()).max_by(|(a, x), (b, y)| {
        x.total_cmp(y).then(b.cmp(a)) // of equals the first
    });
    let Some(((row, column), _)) = highest else { return false };
    if rows.is_empty() || columns.is_empty() {
        return false;
    }
    let outside = |place: usize, range: Range<usize>| {
        range.start.saturating_sub(place).max((place + 1).saturating_sub(range.end)) as f32
    };
    outside(row, rows).hypot(outside(column, columns)) <= tolerance
}
