//! 256 colours for a picture: what a GIF frame may have.

use std::collections::HashMap;

use color_quant::NeuQuant;
use image::RgbImage;

/// How closely the colours are chosen: NeuQuant looks at every n-th pixel, from 1 (best) to 30.
const SAMPLING: i32 = 1;

/// A picture as at most 256 colours (red, green, blue after one another) and an index into them for each pixel.
///
/// A picture with few colours keeps them exactly. Another gets colours learned from its pixels (NeuQuant) and its
/// eight most extreme ones, and each pixel's error is handed on to its neighbours (Floyd and Steinberg), so that
/// no bands are seen.
pub(super) fn palette(picture: &RgbImage) -> (Vec<u8>, Vec<u8>) {
    exact(picture).unwrap_or_else(|| dithered(picture))
}

fn exact(picture: &RgbImage) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut known = HashMap::new();
    let mut colors = Vec::new();
    let mut indices = Vec::with_capacity((picture.width() * picture.height()) as usize);
    for pixel in picture.pixels() {
        let index = match known.get(pixel) {
            Some(index) => *index,
            None => {
                let index = u8::try_from(known.len()).ok()?;
                known.insert(*pixel, index);
                colors.extend(pixel.0);
                index
            }
        };
        indices.push(index);
    }
    Some((colors, indices))
}

fn dithered(picture: &RgbImage) -> (Vec<u8>, Vec<u8>) {
    let colors = colors(picture);
    let width = picture.width() as usize;
    let mut indices = vec![0; width * picture.height() as usize];
    // Errors for this row and the next, with a pixel to spare on either side.
    let mut errors = vec![[0.0_f32; 3]; width + 2];
    let mut errors_below = errors.clone();
    for (y, row) in picture.rows().enumerate() {
        let row: Vec<[u8; 3]> = row.map(|pixel| pixel.0).collect();
        // Every second row runs backwards, or the errors would comb the picture to the right.
        for step in 0..width {
            let (x, ahead) = if y % 2 == 0 { (step, 1) } else { (width - 1 - step, -1_isize) };
            let at = x + 1;
            // Debts beyond black and white are kept, or means would drift; but not without end, for a colour that
            // no mixture of the 256 makes would pile them up.
            let wanted: [f32; 3] =
                std::array::from_fn(|i| (f32::from(row[x][i]) + errors[at][i]).clamp(-64.0, 319.0));
            let index = nearest(&colors, wanted);
            indices[y * width + x] = index as u8;
            let (next, previous) = (at.wrapping_add_signed(ahead), at.wrapping_add_signed(-ahead));
            for i in 0..3 {
                let error = wanted[i] - colors[index][i];
                errors[next][i] += error * 7.0 / 16.0;
                errors_below[previous][i] += error * 3.0 / 16.0;
                errors_below[at][i] += error * 5.0 / 16.0;
                errors_below[next][i] += error / 16.0;
            }
        }
        std::mem::swap(&mut errors, &mut errors_below);
        errors_below.fill([0.0; 3]);
    }
    (colors.into_iter().flatten().map(|value| value as u8).collect(), indices)
}

/// 248 colours that the picture has much of, and the eight of its pixels that lie furthest towards the corners of
/// the colour cube: learned colours are averages, which would turn white into light grey, and no dithering could
/// bring it back.
fn colors(picture: &RgbImage) -> Vec<[f32; 3]> {
    let opaque: Vec<u8> = picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    let learned = NeuQuant::new(SAMPLING, 256 - 8, &opaque).color_map_rgb();
    let mut colors: Vec<[f32; 3]> =
        learned.chunks_exact(3).map(|color| [color[0], color[1], color[2]].map(f32::from)).collect();
    colors.extend((0..8).filter_map(|corner| {
        let towards = |pixel: &[u8; 3]| -> i32 {
            let signed =
                |i: usize| if corner >> i & 1 == 1 { i32::from(pixel[i]) } else { -i32::from(pixel[i]) };
            signed(0) + signed(1) + signed(2)
        };
        picture.pixels().map(|pixel| pixel.0).max_by_key(towards).map(|pixel| pixel.map(f32::from))
    }));
    colors
}

fn nearest(colors: &[[f32; 3]], wanted: [f32; 3]) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (index, color) in colors.iter().enumerate() {
        let apart = [color[0] - wanted[0], color[1] - wanted[1], color[2] - wanted[2]];
        let distance = apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2];
        if distance < best.0 {
            best = (distance, index);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn shown(picture: &RgbImage) -> RgbImage {
        let (colors, indices) = palette(picture);
        assert!(colors.len() <= 3 * 256);
        let bytes =
            indices.iter().flat_map(|index| &colors[3 * usize::from(*index)..][..3]).copied().collect();
        RgbImage::from_raw(picture.width(), picture.height(), bytes).unwrap()
    }

    #[test]
    fn up_to_256_colours_are_kept_exactly() {
        let picture =
            RgbImage::from_fn(256, 3, |x, y| Rgb([x as u8, 255 - x as u8, (x * (y + 1) / (y + 1)) as u8]));
        assert_eq!(shown(&picture), picture);
    }

    #[test]
    fn the_brightest_and_the_darkest_stay_what_they_are() {
        // Thousands of greys and colours between, and one white and one black pixel.
        let mut picture =
            RgbImage::from_fn(100, 100, |x, y| Rgb([80 + x as u8, 80 + y as u8, 100 + (x ^ y) as u8]));
        picture.put_pixel(50, 50, Rgb([255; 3]));
        picture.put_pixel(20, 70, Rgb([0; 3]));
        let shown = shown(&picture);
        // The error of the pixel before may add a little to black; white is clipped.
        assert_eq!(shown.get_pixel(50, 50).0, [255; 3]);
        assert_eq!(shown.get_pixel(20, 70).0, [0; 3]);
    }

    #[test]
    fn a_smooth_gradient_keeps_its_colours_on_average() {
        // 65 536 colours. Without dithering a block of 8 × 8 pixels is off by as much as its nearest colours are;
        // with it every error is handed on, and what leaves the block is all that its mean can be off by. (At the
        // picture's edge errors have nowhere to go.)
        let picture = RgbImage::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, ((x + y) / 2) as u8]));
        let colors = colors(&picture);
        let undithered = RgbImage::from_fn(256, 256, |x, y| {
            Rgb(colors[nearest(&colors, picture.get_pixel(x, y).0.map(f32::from))].map(|value| value as u8))
        });
        let off = |shown: &RgbImage| {
            let mean = |picture: &RgbImage, left: u32, top: u32, channel: usize| {
                let block = (0..64).map(|i| picture.get_pixel(left + i % 8, top + i / 8)[channel]);
                block.map(f64::from).sum::<f64>() / 64.0
            };
            let blocks =
                (1..31).flat_map(|y| (1..31).flat_map(move |x| (0..3).map(move |c| (8 * x, 8 * y, c))));
            let squares = blocks.map(|(x, y, c)| (mean(&picture, x, y, c) - mean(shown, x, y, c)).powi(2));
            (squares.sum::<f64>() / (30.0 * 30.0 * 3.0)).sqrt()
        };
        let (with, without) = (off(&shown(&picture)), off(&undithered));
        assert!(with < without / 3.0, "off by {with} with dithering, by {without} without");
    }
}
