//! Whether the highest place of a map lies on an object.

use ndarray::ArrayView2;

/// A rectangle of pixels, from its first row and column up to but not including its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rectangle {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// The row after the last.
    pub bottom: usize,
    /// The column after the last.
    pub right: usize,
}

/// Whether a map's highest place lies on an object: within `tolerance` pixels of its rectangle. The usual
/// tolerance is 15 pixels.
///
/// ```
/// use vis::metrics::{Rectangle, pointing_game};
/// let map = ndarray::array![[0.0, 0.1, 0.0], [0.0, 0.0, 0.9]];
/// let object = Rectangle { top: 0, left: 0, bottom: 2, right: 2 };
/// assert!(!pointing_game(map.view(), object, 0.0));
/// assert!(pointing_game(map.view(), object, 1.0));
/// ```
///
/// Source: Zhang et al. 2016, arXiv 1608.00507, section 4.1.
pub fn pointing_game(map: ArrayView2<f32>, object: Rectangle, tolerance: f32) -> bool {
    let highest = map.indexed_iter().filter(|(_, value)| !value.is_nan()).max_by(|(a, x), (b, y)| {
        x.total_cmp(y).then(b.cmp(a)) // of equals the first
    });
    let Some(((row, column), _)) = highest else { return false };
    if object.top >= object.bottom || object.left >= object.right {
        return false;
    }
    let outside = |place: usize, first: usize, end: usize| {
        first.saturating_sub(place).max((place + 1).saturating_sub(end)) as f32
    };
    let (down, right) = (outside(row, object.top, object.bottom), outside(column, object.left, object.right));
    down.hypot(right) <= tolerance
}
