//! Maps of any range brought to one that has colours.

use ndarray::{Array2, ArrayView2};

use crate::{Error, Result};

/// What becomes of the signs of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Values are spread over `0..=1`, the smallest to 0 and the largest to 1.
    Unsigned,
    /// Values are divided by the largest magnitude, to `-1..=1`: 0 stays 0, and signs stay signs.
    Signed,
}

/// A map of any range brought to one that has colours.
///
/// The largest values (for [`Sign::Signed`] magnitudes) are clipped at the given percentile, 0 to 100. With 100 none is;
/// 99 is usual for saliency, where a few pixels far above the rest would leave the rest black, as in Google's PAIR saliency
/// library. It interpolates linearly between values, as NumPy's. Where it is no larger than the smallest value (a map
/// that is almost everywhere 0) nothing is clipped, so that what there is stays visible.
///
/// A constant map without signs and a map of zeros become zeros. NaN becomes 0 and infinities the ends; they do not count
/// as extremes. Sorts the map once.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the percentile is not within 0 to 100.
///
/// ```
/// use ndarray::array;
/// use vis::picture::{Sign, normalize};
/// let map = array![[-1.0, 0.0], [1.0, 3.0]];
/// assert_eq!(normalize(map.view(), Sign::Unsigned, 100.0)?, array![[0.0, 0.25], [0.5, 1.0]]);
/// // The 75th percentile of five magnitudes is the fourth: 4.
/// let map = array![[0.0, -1.0, 2.0, -4.0, 100.0]];
/// assert_eq!(normalize(map.view(), Sign::Signed, 75.0)?, array![[0.0, -0.25, 0.5, -1.0, 1.0]]);
/// # Ok::<(), vis::Error>(())
/// ```
pub fn normalize(map: ArrayView2<'_, f32>, sign: Sign, percentile: f32) -> Result<Array2<f32>> {
    Ok(match sign {
        Sign::Unsigned => normalize_between(map, clipped_range(map, percentile)?),
        Sign::Signed => {
            let clip = percentile_of(map.iter().map(|value| value.abs()), percentile)?;
            spread_signed(map, if clip > 0.0 { clip } else { largest(map) })
        }
    })
}

/// A map brought to `0..=1` by a range that is given: values at or below `low` to 0, those at or above `high` to 1. So
/// several maps can be drawn on one scale.
///
/// An empty range gives zeros. NaN becomes 0.
pub(crate) fn normalize_between(map: ArrayView2<'_, f32>, (low, high): (f32, f32)) -> Array2<f32> {
    spread(map, low, high)
}

/// The values that [`normalize`] shows as 0 and as 1 of a map of one sign.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the percentile is not within 0 to 100.
pub(crate) fn clipped_range(map: ArrayView2<'_, f32>, percentile: f32) -> Result<(f32, f32)> {
    let clip = percentile_of(map.iter().copied(), percentile)?;
    let (low, high) = extremes(map);
    Ok((low, if clip > low { clip } else { high }))
}

fn spread(map: ArrayView2<'_, f32>, low: f32, high: f32) -> Array2<f32> {
    // In f64 the difference of the two most distant f32 does not overflow.
    let (low, range) = (f64::from(low), f64::from(high) - f64::from(low));
    map.mapv(|value| match (f64::from(value) - low) / range {
        share if range > 0.0 && !share.is_nan() => share.clamp(0.0, 1.0) as f32,
        _ => 0.0,
    })
}

fn spread_signed(map: ArrayView2<'_, f32>, largest: f32) -> Array2<f32> {
    let largest = f64::from(largest);
    map.mapv(|value| match f64::from(value) / largest {
        share if largest > 0.0 && !share.is_nan() => share.clamp(-1.0, 1.0) as f32,
        _ => 0.0,
    })
}

/// The smallest and largest finite value.
fn extremes(map: ArrayView2<'_, f32>) -> (f32, f32) {
    let finite = map.iter().filter(|value| value.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

fn largest(map: ArrayView2<'_, f32>) -> f32 {
    map.iter().filter(|value| value.is_finite()).fold(0.0, |largest, value| largest.max(value.abs()))
}

/// A percentile of the finite values; 0 if there are none.
fn percentile_of(values: impl Iterator<Item = f32>, percentile: f32) -> Result<f32> {
    if !(0.0..=100.0).contains(&percentile) {
        return Err(Error::invalid("the percentile", "a number from 0 to 100", percentile));
    }
    let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let at = f64::from(percentile) / 100.0 * values.len().saturating_sub(1) as f64;
    let (below, above) = (values.get(at.floor() as usize), values.get(at.ceil() as usize));
    Ok(match (below, above) {
        (Some(below), Some(above)) => {
            (f64::from(*below) + (f64::from(*above) - f64::from(*below)) * at.fract()) as f32
        }
        _ => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_constant_map_normalises_to_zeros() {
        for value in [0.0, 3.5, -2.0, f32::MAX, f32::MIN_POSITIVE] {
            let map = Array2::from_elem((3, 4), value);
            assert_eq!(
                normalize(map.view(), Sign::Unsigned, 100.0).unwrap(),
                Array2::<f32>::zeros((3, 4)),
                "{value}"
            );
            assert_eq!(
                normalize(map.view(), Sign::Unsigned, 99.0).unwrap(),
                Array2::<f32>::zeros((3, 4)),
                "{value}"
            );
        }
        assert_eq!(
            normalize(Array2::zeros((3, 4)).view(), Sign::Signed, 100.0).unwrap(),
            Array2::<f32>::zeros((3, 4))
        );
        assert_eq!(
            normalize(Array2::zeros((3, 4)).view(), Sign::Signed, 99.0).unwrap(),
            Array2::<f32>::zeros((3, 4))
        );
    }

    #[test]
    fn the_widest_and_the_narrowest_ranges_of_f32_are_spread_evenly() {
        assert_eq!(
            normalize(array![[f32::MIN, 0.0, f32::MAX]].view(), Sign::Unsigned, 100.0).unwrap(),
            array![[0.0, 0.5, 1.0]]
        );
        let tiny = f32::from_bits(1);
        assert_eq!(
            normalize(array![[0.0, tiny, 2.0 * tiny]].view(), Sign::Unsigned, 100.0).unwrap(),
            array![[0.0, 0.5, 1.0]]
        );
        assert_eq!(
            normalize(array![[-tiny, 2.0 * tiny]].view(), Sign::Signed, 100.0).unwrap(),
            array![[-0.5, 1.0]]
        );
    }

    #[test]
    fn nan_becomes_zero_and_infinities_the_ends() {
        let map = array![[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, 4.0]];
        assert_eq!(normalize(map.view(), Sign::Unsigned, 100.0).unwrap(), array![[0.0, 1.0, 0.0, 0.0, 1.0]]);
        assert_eq!(normalize(map.view(), Sign::Signed, 100.0).unwrap(), array![[0.0, 1.0, -1.0, 0.5, 1.0]]);
        assert_eq!(normalize(map.view(), Sign::Signed, 100.0).unwrap(), array![[0.0, 1.0, -1.0, 0.5, 1.0]]);
        let nothing = array![[f32::NAN, f32::INFINITY]];
        for map in [
            normalize(nothing.view(), Sign::Unsigned, 100.0).unwrap(),
            normalize(nothing.view(), Sign::Signed, 100.0).unwrap(),
        ] {
            assert_eq!(map, array![[0.0, 0.0]]);
        }
        assert!(normalize(Array2::zeros((0, 0)).view(), Sign::Unsigned, 99.0).unwrap().is_empty());
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([1, 2, 4, 8], p): p = 50 lies halfway between the 2nd and 3rd, 3; p = 90 at index 2.7
        // of 0..3: 4 + 0.7·4 = 6.8; the ends are the ends.
        let values = || [8.0, 1.0, 4.0, 2.0].into_iter();
        for (percentile, expected) in [(0.0, 1.0), (50.0, 3.0), (90.0, 6.8), (100.0, 8.0)] {
            assert!((percentile_of(values(), percentile).unwrap() - expected).abs() < 1e-5);
        }
        for percentile in [-0.1, 100.1, f32::NAN] {
            assert!(matches!(percentile_of(values(), percentile), Err(Error::InvalidParameter { .. })));
        }
    }

    #[test]
    fn a_map_that_is_almost_everywhere_zero_keeps_what_it_has() {
        let mut map = Array2::zeros((20, 20));
        map[[3, 4]] = 2.0;
        assert_eq!(normalize(map.view(), Sign::Unsigned, 99.0).unwrap()[[3, 4]], 1.0);
        map[[3, 4]] = -2.0;
        assert_eq!(normalize(map.view(), Sign::Signed, 99.0).unwrap()[[3, 4]], -1.0);
    }

    #[test]
    fn what_lies_above_the_percentile_is_clipped_to_it() {
        // The 75th percentile of five values is the fourth: 4 of 0..100, and 2 of −8..100 in magnitude 4.
        let map = array![[0.0, 1.0, 2.0, 4.0, 100.0]];
        assert_eq!(normalize(map.view(), Sign::Unsigned, 75.0).unwrap(), array![[0.0, 0.25, 0.5, 1.0, 1.0]]);
        let map = array![[-6.0, -4.0, -2.0], [2.0, 94.0, 0.0]];
        // Sorted −6 −4 −2 0 2 94; 80 % of the way is 2: −6..2 becomes 0..1.
        assert_eq!(
            normalize(map.view(), Sign::Unsigned, 80.0).unwrap(),
            array![[0.0, 0.25, 0.5], [1.0, 1.0, 0.75]]
        );
        let map = array![[0.0, -1.0, 2.0, -4.0, 100.0]];
        assert_eq!(normalize(map.view(), Sign::Signed, 75.0).unwrap(), array![[0.0, -0.25, 0.5, -1.0, 1.0]]);
    }

    #[test]
    fn beside_an_infinity_a_constant_is_still_nothing() {
        let map = array![[5.0, f32::INFINITY, 5.0]];
        assert_eq!(normalize(map.view(), Sign::Unsigned, 100.0).unwrap(), array![[0.0, 0.0, 0.0]]);
        let map = array![[0.0, f32::NEG_INFINITY]];
        assert_eq!(normalize(map.view(), Sign::Signed, 100.0).unwrap(), array![[0.0, 0.0]]);
    }
}
