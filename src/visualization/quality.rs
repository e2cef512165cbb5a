//! How good a picture is, in numbers.

use burn::tensor::{Tensor, TensorData};
use image::RgbImage;

use super::Activation;
use crate::model::Model;
use crate::parametrization::{Fourier, magnitude};
use crate::transforms::{Jitter, Transform};
use crate::{Error, Result, picture, random};

/// How good a picture of a target is: what is left of its score on the picture as it is shown, and how near it comes to
/// a photograph in what does not depend on the network.
///
/// A picture may have a high score in float that is gone in 8 bits or after a shift by some pixels: then it shows the
/// optimizer, not the network.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// The score of the target on the image in float.
    pub activation: f32,
    /// The share of it on the picture in 8 bits, as it is shown.
    pub in_8_bits: f32,
    /// The share of it on that picture shifted circularly at random, by up to a twentieth of its sides: the mean of
    /// eight.
    pub shifted: f32,
    /// The exponent by which the magnitude of the spectrum of its light falls with frequency, from an eighth of the highest
    /// to half of it: −1 or less for photographs, 0 for noise.
    pub slope: f32,
    /// The same of the mean spectrum of photographs.
    pub slope_of_photographs: f32,
    /// How colourful it is, by Hasler and Süsstrunk (2003): 0 for grey, about 33 for moderately colourful photographs, above
    /// 80 for extremely colourful ones.
    pub colourfulness: f32,
}

impl Activation {
    /// How good the picture is. Costs ten forward passes.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(20).run()?;
    /// let quality = pictures[0].quality(&model)?;
    /// assert_eq!(quality.activation, pictures[0].after);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of a model that is not the one that the picture was made with, and as [`picture`](Self::picture).
    pub fn quality(&self, model: &dyn Model) -> Result<Quality> {
        let shown = self.picture()?;
        let bytes = picture::to_input(&shown, model)?;
        let [_, channels, height, width] = bytes.dims();
        if (channels, height, width) != self.image.dim() {
            let got = format!("{channels}×{height}×{width}");
            return Err(Error::invalid(
                "the picture of this network",
                format!("{:?}", self.image.dim()),
                got,
            ));
        }
        let mut random = random::stream(0, 0);
        let shifts = (0..8).map(|_| Jitter::Fraction(0.05).apply(bytes.clone(), &mut random));
        let views: Vec<Tensor<4>> = std::iter::once(bytes.clone()).chain(shifts).collect();
        let mut scores = Vec::new();
        for view in views {
            scores.extend(self.target.scores(model, view)?);
        }
        let share = |score: f32| if self.after == 0.0 { f32::from(score == 0.0) } else { score / self.after };
        Ok(Quality {
            activation: self.after,
            in_8_bits: share(scores[0]),
            shifted: share(scores[1..].iter().sum::<f32>() / 8.0),
            slope: slope(&spectrum(&shown), [height, width]),
            slope_of_photographs: slope(&magnitude([height, width], 1), [height, width]),
            colourfulness: colourfulness(&shown),
        })
    }
}

/// The magnitude of the half spectrum of a picture's light, `[height, width/2 + 1]`, faded out towards its edges.
fn spectrum(shown: &RgbImage) -> Vec<f32> {
    let (width, height) = shown.dimensions();
    let light = |pixel: &image::Rgb<u8>| pixel.0.iter().map(|value| f32::from(*value)).sum::<f32>() / 3.0;
    let mean = shown.pixels().map(light).sum::<f32>() / (width * height) as f32;
    let fade =
        |at: u32, side: u32| 0.5 - 0.5 * (std::f32::consts::TAU * (at as f32 + 0.5) / side as f32).cos();
    let faded = shown
        .enumerate_pixels()
        .map(|(x, y, pixel)| (light(pixel) - mean) * fade(x, width) * fade(y, height));
    let faded: Vec<f32> = faded.collect();
    let size = [height as usize, width as usize];
    let faded = Tensor::<3>::from_data(TensorData::new(faded, [1, size[0], size[1]]), &Default::default());
    let (real, imaginary) = Fourier::new(size, (0.0, 1.0)).spectrum(faded);
    crate::host::values((real.square() + imaginary.square()).sqrt())
}

/// The slope of a line through the logarithms of magnitude and frequency, from an eighth of the highest to half of it; 0
/// where there is no such frequency or nothing at it.
fn slope(magnitude: &[f32], [height, width]: [usize; 2]) -> f32 {
    let bins = width / 2 + 1;
    let mut points = Vec::new();
    for (place, value) in magnitude.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let (row, column) = (place / bins, place % bins);
        let frequency = (row.min(height - row) as f32 / height as f32).hypot(column as f32 / width as f32);
        if (0.0625..=0.25).contains(&frequency) {
            // Each octave counts alike, though the higher one has more frequencies.
            points.push((frequency.ln(), value.ln(), frequency.powi(-2)));
        }
    }
    let whole: f32 = points.iter().map(|(.., weight)| weight).sum();
    let mean = |of: &dyn Fn(f32, f32) -> f32| {
        points.iter().map(|(x, y, weight)| weight * of(*x, *y)).sum::<f32>() / whole
    };
    let (x, y) = (mean(&|x, _| x), mean(&|_, y| y));
    let (covariance, variance) = (mean(&|a, b| (a - x) * (b - y)), mean(&|a, _| (a - x).powi(2)));
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

fn colourfulness(shown: &RgbImage) -> f32 {
    let opponents = shown.pixels().map(|pixel| {
        let [red, green, blue] = pixel.0.map(f32::from);
        [red - green, (red + green) / 2.0 - blue]
    });
    let opponents: Vec<[f32; 2]> = opponents.collect();
    let count = opponents.len().max(1) as f32;
    let mean = [0, 1].map(|axis| opponents.iter().map(|pair| pair[axis]).sum::<f32>() / count);
    let variance = [0, 1]
        .map(|axis| opponents.iter().map(|pair| (pair[axis] - mean[axis]).powi(2)).sum::<f32>() / count);
    (variance[0] + variance[1]).sqrt() + 0.3 * mean[0].hypot(mean[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_power_of_frequency_is_its_exponent() {
        for exponent in [-2.0, -1.0, 0.0, 0.5] {
            for [height, width] in [[64, 64], [48, 81]] {
                let bins = width / 2 + 1;
                let value = |place: usize| {
                    let (row, column) = (place / bins, place % bins);
                    let vertical = row.min(height - row) as f32 / height as f32;
                    3.0 * vertical.hypot(column as f32 / width as f32).powf(exponent)
                };
                let values: Vec<f32> = (0..height * bins).map(value).collect();
                assert!((slope(&values, [height, width]) - exponent).abs() < 1e-3);
            }
        }
        assert_eq!(slope(&[0.0; 12], [4, 4]), 0.0);
        // White noise and photographs.
        let mut random = random::stream(3, 0);
        let noise =
            RgbImage::from_vec(200, 200, (0..3 * 40_000).map(|_| rand::Rng::random(&mut random)).collect());
        let of_noise = slope(&spectrum(&noise.unwrap()), [200, 200]);
        assert!(of_noise.abs() < 0.2, "{of_noise}");
        let cat = picture::load("images/photos/chelsea.png").unwrap();
        let (width, height) = cat.dimensions();
        let of_cat = slope(&spectrum(&cat), [height as usize, width as usize]);
        assert!((-2.5..-0.8).contains(&of_cat), "{of_cat}");
    }

    #[test]
    fn grey_has_no_colour_and_two_opposite_colours_have_their_distance() {
        assert_eq!(colourfulness(&RgbImage::from_pixel(3, 2, image::Rgb([90, 90, 90]))), 0.0);
        // Red and green: red − green is ±200, yellow − blue 100 in both. √(200² + 0) + 0.3·100.
        let mut two = RgbImage::from_pixel(4, 4, image::Rgb([200, 0, 0]));
        (0..8).for_each(|at| two.put_pixel(at % 4, at / 4, image::Rgb([0, 200, 0])));
        assert!((colourfulness(&two) - 230.0).abs() < 1e-3);
    }
}
