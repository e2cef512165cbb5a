//! Pictures as arrays of numbers and back.

use image::{Rgb, RgbImage};
use ndarray::{Array4, ArrayView3};

use crate::{Error, Result};

/// A picture as an array `[1, 3, height, width]`, black mapped to `range.0` and white to `range.1`.
///
/// With the range `(0.0, 255.0)` the numbers are the bytes themselves.
pub(crate) fn to_array(picture: &RgbImage, range: (f32, f32)) -> Array4<f32> {
    let (width, height) = picture.dimensions();
    Array4::from_shape_fn((1, 3, height as usize, width as usize), |(_, channel, y, x)| {
        scale(f32::from(picture.get_pixel(x as u32, y as u32)[channel]), range)
    })
}

/// A picture's brightness as an array `[1, 1, height, width]`, black mapped to `range.0` and white to `range.1`.
///
/// Brightness is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), rounded to 8 bits, as Pillow and Keras
/// do.
pub(crate) fn to_grey_array(picture: &RgbImage, range: (f32, f32)) -> Array4<f32> {
    let (width, height) = picture.dimensions();
    Array4::from_shape_fn((1, 1, height as usize, width as usize), |(_, _, y, x)| {
        let [red, green, blue] = picture.get_pixel(x as u32, y as u32).0.map(u32::from);
        scale(((299 * red + 587 * green + 114 * blue + 500) / 1000) as f32, range)
    })
}

/// An array `[channels, height, width]` as a picture, `range.0` mapped to black and `range.1` to white.
///
/// Values outside the range are clipped, values between are rounded to the nearest byte, NaN becomes black.
/// One channel gives a grey picture.
///
/// # Errors
/// [`Error::Shape`] unless there are 1 or 3 channels; [`Error::InvalidParameter`] if the range is empty or not
/// finite.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let values = ndarray::array![[[-0.5, 0.0, 0.2, 1.0, 9.0]]];
/// let picture = vis::picture::from_array(values.view(), (0.0, 1.0))?;
/// let reds: Vec<u8> = picture.pixels().map(|pixel| pixel[0]).collect();
/// assert_eq!(reds, [0, 0, 51, 255, 255]);
/// # Ok(())
/// # }
/// ```
pub fn from_array(values: ArrayView3<'_, f32>, range: (f32, f32)) -> Result<RgbImage> {
    let (low, high) = (f64::from(range.0), f64::from(range.1));
    if low == high || !low.is_finite() || !high.is_finite() {
        let got = format!("{} to {}", range.0, range.1);
        return Err(Error::invalid("the range of a picture", "two different finite numbers", got));
    }
    picture_of(values, |value| (f64::from(value) - low) / (high - low))
}

fn scale(byte: f32, (low, high): (f32, f32)) -> f32 {
    // Multiplied before divided, so that (0, 255) returns the byte exactly.
    low + byte * (high - low) / 255.0
}

/// A byte from a brightness in `0..=1`: clipped, rounded, NaN to 0.
pub(super) fn byte(brightness: f64) -> u8 {
    // `as` clips and turns NaN into 0.
    (brightness * 255.0).round() as u8
}

/// The picture whose brightnesses are `brightness` of the values.
pub(super) fn picture_of(values: ArrayView3<'_, f32>, brightness: impl Fn(f32) -> f64) -> Result<RgbImage> {
    let (channels, height, width) = values.dim();
    let green_and_blue = match channels {
        1 => [0, 0],
        3 => [1, 2],
        _ => {
            return Err(Error::Shape {
                what: "the array of a picture".to_owned(),
                expected: "[1 or 3 channels, height, width]".to_owned(),
                got: values.shape().to_vec(),
            });
        }
    };
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = |channel| byte(brightness(values[[channel, y as usize, x as usize]]));
        Rgb([at(0), at(green_and_blue[0]), at(green_and_blue[1])])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, Axis, array};

    #[test]
    fn every_byte_survives_the_way_there_and_back_in_every_range() {
        let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([(16 * y + x) as u8, (255 - x) as u8, y as u8]));
        for range in [(0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-123.7, 151.1)] {
            let there = to_array(&picture, range);
            assert_eq!(from_array(there.index_axis(Axis(0), 0), range).unwrap(), picture, "{range:?}");
        }
        let bytes = to_array(&picture, (0.0, 255.0));
        assert!(bytes.indexed_iter().all(|((_, channel, y, x), value)| {
            *value == f32::from(picture.get_pixel(x as u32, y as u32)[channel])
        }));
    }

    #[test]
    fn grey_of_grey_is_itself() {
        let picture = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        let grey = to_grey_array(&picture, (0.0, 255.0));
        assert!(grey.iter().enumerate().all(|(index, value)| *value == index as f32));
    }

    #[test]
    fn values_that_are_not_finite_have_a_colour() {
        let values = array![[[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]]];
        let picture = from_array(values.view(), (0.0, 1.0)).unwrap();
        assert_eq!(picture.pixels().map(|pixel| pixel[1]).collect::<Vec<_>>(), [0, 255, 0, 255, 0]);
    }

    #[test]
    fn two_channels_and_an_empty_range_are_refused() {
        let error = from_array(Array3::zeros((2, 4, 5)).view(), (0.0, 1.0)).unwrap_err().to_string();
        assert!(error.contains("[2, 4, 5]") && error.contains("1 or 3"), "{error}");
        for range in [(1.0, 1.0), (0.0, f32::NAN), (0.0, f32::INFINITY)] {
            let error = from_array(Array3::zeros((1, 4, 5)).view(), range).unwrap_err();
            assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
        }
    }

    #[test]
    fn axes_keep_their_meaning() {
        // A picture 2 wide and 1 high; red left, blue right.
        let picture = RgbImage::from_raw(2, 1, vec![255, 0, 0, 0, 0, 255]).unwrap();
        let expected = array![[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]]];
        assert_eq!(to_array(&picture, (0.0, 1.0)), expected);
    }
}
