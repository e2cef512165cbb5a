//! Display normalisation: an optimised image has whatever range the loss gave it; the eye wants one range.

use image::RgbImage;
use ndarray::ArrayView3;

use super::array::picture_of;
use crate::{Error, Result};

/// The contrast of [`deprocess`]: values one standard deviation apart come to lie a tenth of the way from black
/// to white apart, so five deviations either side of the mean are shown. The choice of keras-vis.
pub(crate) const DEFAULT_CONTRAST: f32 = 0.1;

/// An array `[channels, height, width]` of any range as a picture that can be looked at.
///
/// As `deprocess_input` of keras-vis: (value − mean) / (deviation + 10⁻⁷) · 0.1 + 0.5, clipped to 0..1, with one
/// mean and one standard deviation over all channels. A constant array gives mid grey. NaN gives mid grey and
/// infinities give black or white; they do not count in the mean.
///
/// # Errors
/// [`Error::Shape`] unless there are 1 or 3 channels.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let values = ndarray::array![[[0.0, 1.0], [2.0, 3.0]]];
/// let picture = vis::picture::deprocess(values.view())?;
/// assert_eq!(picture.pixels().map(|pixel| pixel[0]).collect::<Vec<_>>(), [93, 116, 139, 162]);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "deprocess_input")]
pub fn deprocess(values: ArrayView3<'_, f32>) -> Result<RgbImage> {
    deprocess_with(values, DEFAULT_CONTRAST)
}

/// [`deprocess`] with another contrast than [`DEFAULT_CONTRAST`]: any number above 0. Twice
/// the contrast shows half the range: the rest is clipped to black and white.
///
/// # Errors
/// [`Error::Shape`] unless there are 1 or 3 channels; [`Error::InvalidParameter`] if the contrast is not a
/// number above 0.
pub(crate) fn deprocess_with(values: ArrayView3<'_, f32>, contrast: f32) -> Result<RgbImage> {
    if !(contrast > 0.0 && contrast.is_finite()) {
        return Err(Error::invalid("the contrast", "a number above 0", contrast));
    }
    picture_of(values, standardization(values, contrast))
}

/// The map from a value to its brightness, black 0 and white 1, before clipping.
fn standardization(values: ArrayView3<'_, f32>, contrast: f32) -> impl Fn(f32) -> f64 {
    // In f64 no sum of squares of f32 overflows. Counted from the first value, a constant has a deviation of
    // exactly 0, however large it is.
    let finite = || values.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value));
    let count = finite().count().max(1) as f64;
    let first = finite().next().unwrap_or(0.0);
    let mean = first + finite().map(|value| value - first).sum::<f64>() / count;
    let deviation = (finite().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    move |value| {
        if value.is_nan() {
            return 0.5;
        }
        (f64::from(value) - mean) / (deviation + 1e-7) * f64::from(contrast) + 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn the_numbers_are_those_of_keras_vis() {
        // Mean 1.5, deviation √1.25 = 1.1180340: ∓1.5/1.118·0.1 = ∓0.1341641, ∓0.5/1.118·0.1 = ∓0.0447214.
        let values = array![[[0.0, 1.0], [2.0, 3.0]]];
        let brightness = standardization(values.view(), DEFAULT_CONTRAST);
        for (value, expected) in [(0.0, 0.365836), (1.0, 0.455279), (2.0, 0.544721), (3.0, 0.634164)] {
            assert!((brightness(value) - expected).abs() < 1e-6, "{value}: {}", brightness(value));
        }
    }

    #[test]
    fn neither_shift_nor_scale_changes_the_picture() {
        let values = Array3::from_shape_fn((3, 5, 7), |(c, y, x)| ((c * 35 + y * 7 + x) as f32 * 1.7).sin());
        let scaled = values.mapv(|value| value * 40.0 + 1000.0);
        let (one, other) = (deprocess(values.view()).unwrap(), deprocess(scaled.view()).unwrap());
        assert!(one.iter().zip(other.iter()).all(|(a, b)| a.abs_diff(*b) <= 1));
        assert!(one.iter().max() > one.iter().min());
    }

    #[test]
    fn a_constant_is_mid_grey() {
        for value in [0.0, 0.1, -7.3e9, f32::MAX] {
            let picture = deprocess(Array3::from_elem((3, 9, 9), value).view()).unwrap();
            assert!(picture.iter().all(|byte| *byte == 128), "{value} became {}", picture.as_raw()[0]);
        }
    }

    #[test]
    fn values_that_are_not_finite_neither_panic_nor_spoil_the_rest() {
        // The finite ones are −1 and 1: mean 0, deviation 1, so 255·0.4 = 102 and 255·0.6 = 153.
        let values = array![[[-1.0, 1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]]];
        let picture = deprocess(values.view()).unwrap();
        assert_eq!(picture.pixels().map(|pixel| pixel[2]).collect::<Vec<_>>(), [102, 153, 128, 255, 0]);
        let nothing = Array3::from_elem((1, 2, 2), f32::NAN);
        assert!(deprocess(nothing.view()).unwrap().iter().all(|byte| *byte == 128));
        assert_eq!(deprocess(Array3::zeros((3, 0, 0)).view()).unwrap().dimensions(), (0, 0));
    }

    #[test]
    fn four_channels_and_a_contrast_of_nothing_are_refused() {
        assert!(matches!(deprocess(Array3::zeros((4, 2, 2)).view()), Err(Error::Shape { .. })));
        for contrast in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let refused = deprocess_with(Array3::zeros((3, 2, 2)).view(), contrast);
            assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{contrast}");
        }
    }

    #[test]
    fn the_first_value_is_no_part_of_the_mean() {
        // Mean 6, deviation √5 about 3, 5, 7, 9: ∓3 and ∓1 of it, times 0.25.
        let values = array![[[3.0, 5.0], [7.0, 9.0]]];
        let brightness = standardization(values.view(), 0.25);
        for (value, away) in [(3.0, -3.0), (5.0, -1.0), (7.0, 1.0), (9.0, 3.0)] {
            let expected = 0.5 + 0.25 * away / 5.0_f64.sqrt();
            assert!((brightness(value) - expected).abs() < 1e-6, "{value}");
        }
    }

    #[test]
    fn the_smallest_deviation_is_not_divided_by_nothing() {
        // A deviation of 1e-7 and as much under the division: half of the contrast.
        let values = array![[[0.0, 2e-7]]];
        let brightness = standardization(values.view(), 0.25);
        assert!((brightness(0.0) - 0.375).abs() < 1e-3 && (brightness(2e-7) - 0.625).abs() < 1e-3);
    }
}
