//! A photo at the size that a network takes.

use image::RgbImage;
use image::imageops::{self, FilterType};

use super::load::MOST_PIXELS;
use crate::{Error, Result};

/// The photo at exactly the given size, undistorted: resized so that it just covers it, then cropped around the
/// middle.
///
/// Resampling is bicubic (Catmull-Rom), and smooths when it shrinks. A photo that has the size already is
/// returned untouched, byte for byte.
///
/// # Errors
/// [`Error::Shape`] if the photo is empty; [`Error::InvalidParameter`] if the size is.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let landscape = image::RgbImage::new(400, 300);
/// let square = vis::picture::resize_to_cover_and_crop(&landscape, 224, 224)?;
/// assert_eq!(square.dimensions(), (224, 224));
/// # Ok(())
/// # }
/// ```
pub fn resize_to_cover_and_crop(photo: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    if width == 0 || height == 0 {
        let got = format!("{width} × {height}");
        return Err(Error::invalid("the size of a photo", "at least 1 × 1", got));
    }
    let (has_width, has_height) = photo.dimensions();
    if has_width == 0 || has_height == 0 {
        return Err(Error::Shape {
            what: "the photo".to_owned(),
            expected: "at least one pixel".to_owned(),
            got: vec![has_height as usize, has_width as usize],
        });
    }
    if (has_width, has_height) == (width, height) {
        return Ok(photo.clone());
    }
    // Most of a strip far longer than the target is cropped away: resizing it whole could take any memory.
    let keep_width = kept(has_width, f64::from(has_height) * f64::from(width) / f64::from(height));
    let keep_height = kept(has_height, f64::from(has_width) * f64::from(height) / f64::from(width));
    let (left, top) = ((has_width - keep_width) / 2, (has_height - keep_height) / 2);
    let middle = (keep_width, keep_height) != (has_width, has_height);
    let middle = middle.then(|| imageops::crop_imm(photo, left, top, keep_width, keep_height).to_image());
    let photo = middle.as_ref().unwrap_or(photo);

    let scale = (f64::from(width) / f64::from(keep_width)).max(f64::from(height) / f64::from(keep_height));
    let cover = |has: u32, needs: u32| ((f64::from(has) * scale).round() as u32).max(needs);
    let (cover_width, cover_height) = (cover(keep_width, width), cover(keep_height, height));
    // As many as a photo that can be read may have; what is cropped away counts as well.
    if u64::from(cover_width) * u64::from(cover_height) > MOST_PIXELS {
        let expected = format!("one that the photo covers with at most {MOST_PIXELS} pixels");
        return Err(Error::invalid("the size of a photo", expected, format!("{width} × {height}")));
    }
    let resized = if (cover_width, cover_height) == photo.dimensions() {
        photo.clone()
    } else {
        imageops::resize(photo, cover_width, cover_height, FilterType::CatmullRom)
    };
    let (left, top) = ((cover_width - width) / 2, (cover_height - height) / 2);
    Ok(imageops::crop_imm(&resized, left, top, width, height).to_image())
}

/// How much of a side to keep when `visible` of it will be seen: all, unless it is many times that.
fn kept(side: u32, visible: f64) -> u32 {
    let plenty = (visible * 8.0).ceil().max(64.0);
    if f64::from(side) <= plenty {
        return side;
    }
    // Of the same parity as the side, so that the middle stays the middle.
    let plenty = plenty as u32;
    (plenty + (side - plenty) % 2).min(side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_photo_of_the_right_size_passes_through_untouched() {
        let photo = RgbImage::from_fn(31, 17, |x, y| Rgb([(x * 8) as u8, (y * 15) as u8, (x ^ y) as u8]));
        assert_eq!(resize_to_cover_and_crop(&photo, 31, 17).unwrap(), photo);
    }

    #[test]
    fn only_cropping_keeps_the_middle_byte_for_byte() {
        // 10 × 4 to 4 × 4: the scale is 1, and (10 − 4)/2 = 3 columns go on each side.
        let photo = RgbImage::from_fn(10, 4, |x, _| Rgb([x as u8; 3]));
        let middle = resize_to_cover_and_crop(&photo, 4, 4).unwrap();
        assert_eq!(middle.pixels().take(4).map(|pixel| pixel[0]).collect::<Vec<_>>(), [3, 4, 5, 6]);
    }

    #[test]
    fn the_middle_stays_in_the_middle_and_nothing_is_stretched() {
        // A white disc of radius 40 in the middle of a photo: half the size makes the radius 20.
        let photo = RgbImage::from_fn(300, 200, |x, y| {
            let distance = (f64::from(x) - 149.5).hypot(f64::from(y) - 99.5);
            Rgb([if distance < 40.0 { 255 } else { 0 }; 3])
        });
        for (photo, width, height) in
            [(photo.clone(), 100, 100), (imageops::rotate90(&photo), 100, 100), (photo, 150, 60)]
        {
            let small = resize_to_cover_and_crop(&photo, width, height).unwrap();
            let radius = 20.0;
            let (mut mass, mut across, mut down) = (0.0, 0.0, 0.0);
            for (x, y, pixel) in small.enumerate_pixels() {
                let weight = f64::from(pixel[0]) / 255.0;
                mass += weight;
                across += weight * f64::from(x);
                down += weight * f64::from(y);
            }
            assert!((mass / (std::f64::consts::PI * radius * radius) - 1.0).abs() < 0.03, "{mass}");
            assert!((across / mass - f64::from(width - 1) / 2.0).abs() < 0.1);
            assert!((down / mass - f64::from(height - 1) / 2.0).abs() < 0.1);
        }
    }

    #[test]
    fn a_strip_is_not_blown_up_before_it_is_cropped() {
        // Covering 224 × 224 with 1 × 20 000 as it is would take 3 GB.
        let photo = RgbImage::from_fn(1, 20_000, |_, y| Rgb([if y < 10_000 { 0 } else { 200 }; 3]));
        let square = resize_to_cover_and_crop(&photo, 224, 224).unwrap();
        assert_eq!((square.get_pixel(9, 0)[0], square.get_pixel(9, 223)[0]), (0, 200));
    }

    #[test]
    fn empty_sizes_are_refused() {
        assert!(matches!(
            resize_to_cover_and_crop(&RgbImage::new(4, 4), 0, 4),
            Err(Error::InvalidParameter { .. })
        ));
        assert!(matches!(resize_to_cover_and_crop(&RgbImage::new(0, 4), 4, 4), Err(Error::Shape { .. })));
    }

    #[test]
    fn of_a_long_strip_a_middle_of_the_same_parity_is_kept() {
        // Eight times what is visible, and 64 at least; one more where the parity differs.
        for (side, visible, expected) in [
            (1000, 10.0, 80),
            (1001, 10.0, 81),
            (1000, 10.1, 82), // 80.8, rounded up to 81, and made even
            (1001, 10.1, 81),
            (500, 3.0, 64),
            (501, 3.0, 65),
            (80, 10.0, 80),
            (64, 0.5, 64),
            (65, 0.5, 65),
            (7, 1.0, 7),
        ] {
            assert_eq!(kept(side, visible), expected, "{visible} of {side}");
        }
    }

    #[test]
    fn the_middle_is_seen_whichever_side_is_too_long() {
        // One bright line in the middle of a strip stays in the middle: an odd side cropped to an odd one.
        for (width, height) in [(3001, 21), (21, 3001), (201, 51), (51, 201)] {
            let middle = |place: u32, side: u32| place == side / 2;
            let photo = RgbImage::from_fn(width, height, |x, y| {
                Rgb([if middle(x, width) { 255 } else { 0 }, if middle(y, height) { 255 } else { 0 }, 9])
            });
            let side = width.min(height);
            let (wide, high) = if width > height { (side - 2, side) } else { (side, side - 2) };
            let cropped = resize_to_cover_and_crop(&photo, wide, high).unwrap();
            assert_eq!(cropped.dimensions(), (wide, high));
            let bright = |channel: usize| -> Vec<(u32, u32)> {
                cropped.enumerate_pixels().filter(|p| p.2[channel] > 200).map(|(x, y, _)| (x, y)).collect()
            };
            assert_eq!(bright(0), (0..high).map(|y| (wide / 2, y)).collect::<Vec<_>>(), "{width} × {height}");
            assert_eq!(bright(1), (0..wide).map(|x| (x, high / 2)).collect::<Vec<_>>(), "{width} × {height}");
        }
    }
}
