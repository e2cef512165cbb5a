//! Likeness of two lists of numbers.

/// Spearman's rank correlation, from −1 to 1: Pearson's correlation of the ranks, where equal values share
/// the mean of theirs. 0 where one side is constant.
///
/// # Panics
///
/// If the two differ in length.
pub(crate) fn rank_correlation(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len(), "rank correlation needs as many values on both sides");
    pearson(&ranks(one), &ranks(other)) as f32
}

/// Places from the highest value to the lowest; equals in order, NaN last.
pub(super) fn descending(values: &[f32]) -> Vec<usize> {
    let key = |place: &usize| if values[*place].is_nan() { f32::NEG_INFINITY } else { values[*place] };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| key(b).total_cmp(&key(a)));
    order
}

/// The rank of each value; equals share the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let order = descending(values);
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = start as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|place| ranks[*place] = -mean);
        start += equal.len();
    }
    ranks
}

/// Pearson's correlation; 0 where one side is constant.
pub(super) fn pearson(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (a, b) = (mean(one), mean(other));
    let product: f64 = one.iter().zip(other).map(|(x, y)| (x - a) * (y - b)).sum();
    let square = |values: &[f64], mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let size = (square(one, a) * square(other, b)).sqrt();
    if size > 0.0 { (product / size).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_knows_ties_and_flat_lists() {
        // Ranks of (1, 2, 2, 4): 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
        let expected = 4.5 / (4.5_f32 * 5.0).sqrt();
        assert!((rank_correlation(&[1.0, 2.0, 2.0, 4.0], &[10.0, 20.0, 30.0, 40.0]) - expected).abs() < 1e-6);
        assert_eq!(rank_correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), 0.0);
    }
}
