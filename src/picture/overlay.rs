//! A map laid over the photo it was computed for.

use image::RgbImage;
use ndarray::ArrayView2;

use super::caption::mix;
use super::colormap::ColorMap;
use crate::{Error, Result};

/// How much of the photo a map hides: from 0 (all photo) to 1 (all map).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Opacity {
    /// The same everywhere.
    Constant(f32),
    /// That much where the map is ±1, and less in proportion elsewhere: the photo stays clear where the map is 0.
    FollowsMap(f32),
}

impl Default for Opacity {
    fn default() -> Self {
        Self::Constant(0.5)
    }
}

impl From<f32> for Opacity {
    fn from(opacity: f32) -> Self {
        Self::Constant(opacity)
    }
}

/// Two pictures mixed: `alpha` of `heat` and `1 - alpha` of `photo`.
///
/// # Errors
/// [`Error::Shape`] if the pictures differ in size; [`Error::InvalidParameter`] if `alpha` is not within 0 to 1.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let photo = image::RgbImage::from_pixel(2, 2, image::Rgb([100, 100, 100]));
/// let heat = image::RgbImage::from_pixel(2, 2, image::Rgb([200, 0, 100]));
/// assert_eq!(vis::picture::overlay(&photo, &heat, 0.25)?.get_pixel(1, 1).0, [125, 75, 100]);
/// # Ok(())
/// # }
/// ```
pub fn overlay(photo: &RgbImage, heat: &RgbImage, alpha: f32) -> Result<RgbImage> {
    check(photo, "the picture to lay over a photo", heat.dimensions(), alpha)?;
    Ok(RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
        mix(*photo.get_pixel(x, y), *heat.get_pixel(x, y), alpha)
    }))
}

/// A normalised map `[rows, columns]` in colour over a photo of the same size.
///
/// The map's numbers are as for [`colorize`](super::colorize). `opacity` is an [`Opacity`], or a number for the same opacity
/// everywhere.
///
/// # Errors
/// [`Error::Shape`] if map and photo differ in size; [`Error::InvalidParameter`] if the opacity is not within
/// 0 to 1.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// use vis::picture::{ColorMap, Opacity, overlay_heat};
/// let photo = image::RgbImage::from_pixel(2, 1, image::Rgb([100, 100, 100]));
/// let map = ndarray::array![[0.0, 1.0]];
/// let mixed = overlay_heat(&photo, map.view(), ColorMap::Grey, 0.4)?;
/// assert_eq!((mixed.get_pixel(0, 0)[0], mixed.get_pixel(1, 0)[0]), (60, 162));
/// let clear = overlay_heat(&photo, map.view(), ColorMap::Grey, Opacity::FollowsMap(0.4))?;
/// assert_eq!((clear.get_pixel(0, 0)[0], clear.get_pixel(1, 0)[0]), (100, 162));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "show_cam_on_image")]
pub fn overlay_heat(
    photo: &RgbImage,
    map: ArrayView2<'_, f32>,
    colors: ColorMap,
    opacity: impl Into<Opacity>,
) -> Result<RgbImage> {
    let opacity = opacity.into();
    let (Opacity::Constant(most) | Opacity::FollowsMap(most)) = opacity;
    check(photo, "the map to lay over a photo", (map.ncols() as u32, map.nrows() as u32), most)?;
    Ok(RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
        let value = map[[y as usize, x as usize]];
        let value = if value.is_nan() { 0.0 } else { value };
        let alpha = match opacity {
            Opacity::Constant(alpha) => alpha,
            Opacity::FollowsMap(most) if colors.is_diverging() => most * value.abs().min(1.0),
            // What a sequential map shows as 0 hides nothing.
            Opacity::FollowsMap(most) => most * value.clamp(0.0, 1.0),
        };
        mix(*photo.get_pixel(x, y), colors.color(value), alpha)
    }))
}

fn check(photo: &RgbImage, what: &str, (width, height): (u32, u32), alpha: f32) -> Result<()> {
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::invalid("the opacity of an overlay", "a number from 0 to 1", alpha));
    }
    if (width, height) != photo.dimensions() {
        return Err(Error::Shape {
            what: what.to_owned(),
            expected: format!("[{}, {}], as the photo", photo.height(), photo.width()),
            got: vec![height as usize, width as usize],
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::picture::colorize;
    use ndarray::{Array2, array};

    fn photo() -> RgbImage {
        RgbImage::from_fn(5, 4, |x, y| Rgb([(x * 50) as u8, (y * 60) as u8, 77]))
    }

    #[test]
    fn alpha_0_is_the_photo_and_alpha_1_the_heat() {
        let map = Array2::from_shape_fn((4, 5), |(y, x)| (y * 5 + x) as f32 / 19.0);
        for colors in ColorMap::ALL {
            let heat = colorize(map.view(), colors);
            assert_eq!(overlay(&photo(), &heat, 0.0).unwrap(), photo());
            assert_eq!(overlay(&photo(), &heat, 1.0).unwrap(), heat);
            assert_eq!(
                overlay_heat(&photo(), map.view(), colors, 0.3).unwrap(),
                overlay(&photo(), &heat, 0.3).unwrap()
            );
        }
    }

    #[test]
    fn the_photo_stays_clear_where_a_map_that_sets_the_opacity_is_zero_or_nan() {
        let photo = RgbImage::from_pixel(4, 1, Rgb([10, 20, 30]));
        let map = array![[0.0, f32::NAN, -1.0, 0.5]];
        let mixed = overlay_heat(&photo, map.view(), ColorMap::BlueRed, Opacity::FollowsMap(1.0)).unwrap();
        assert_eq!((mixed.get_pixel(0, 0).0, mixed.get_pixel(1, 0).0), ([10, 20, 30], [10, 20, 30]));
        assert_eq!(mixed.get_pixel(2, 0), &ColorMap::BlueRed.color(-1.0));
        // A sequential map shows −1 as 0.
        let mixed = overlay_heat(&photo, map.view(), ColorMap::Inferno, Opacity::FollowsMap(1.0)).unwrap();
        assert_eq!(mixed.get_pixel(2, 0).0, [10, 20, 30]);
        assert_ne!(mixed.get_pixel(3, 0).0, [10, 20, 30]);
    }

    #[test]
    fn another_size_and_another_opacity_are_refused() {
        let error = overlay_heat(&photo(), Array2::zeros((5, 4)).view(), ColorMap::Jet, 0.5).unwrap_err();
        assert!(error.to_string().contains("[5, 4], expected [4, 5]"), "{error}");
        for alpha in [-0.1, 1.1, f32::NAN] {
            let error = overlay(&photo(), &photo(), alpha).unwrap_err();
            assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
            let opacity = Opacity::FollowsMap(alpha);
            assert!(overlay_heat(&photo(), Array2::zeros((4, 5)).view(), ColorMap::Jet, opacity).is_err());
        }
    }
}
