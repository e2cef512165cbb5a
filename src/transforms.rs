//! What sits between the image and the model: jitter, pad, scale, rotate.
//!
//! A picture that excites a filter only when each pixel is just so is noise. A transform drawn anew at each
//! step asks for a picture that still works when moved, zoomed or turned. Transforms are differentiable, and
//! the image itself is never moved, so it does not drift as in keras-vis.

use std::fmt;

use burn::tensor::{Int, Tensor, TensorData};
use rand::Rng;

use crate::random::Stream;
use crate::resample::{self, Weights, gather, mirror, neighbours};
use crate::{Error, Result};

/// A random, differentiable change of the image before the model sees it.
///
/// One draw serves all images that it is given. The optimizer gives it together only images that would be drawn alike
/// alone, so that a batch of pictures equals as many single runs.
///
/// ```
/// use vis::transforms::{Jitter, Transform};
/// let image = vis::random::noise([1, 3, 8, 8], (0.0, 1.0), 0, 0, &Default::default());
/// let still = Jitter::Pixels(0).apply(image.clone(), &mut vis::random::stream(0, 0));
/// assert_eq!(still.into_data().to_vec::<f32>().unwrap(), image.into_data().to_vec::<f32>().unwrap());
/// ```
#[doc(alias = "InputModifier")]
pub trait Transform: fmt::Debug + Send + Sync {
    /// Draws one change and applies it to `[batch, channels, height, width]`.
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4>;

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`].
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Shifts the image circularly by up to so many pixels along each axis, both directions alike.
///
/// Made from a number of pixels or from a fraction of each side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Jitter {
    /// So many pixels.
    Pixels(usize),
    /// This fraction of each side, rounded down to whole pixels; keras-vis takes 0.05.
    Fraction(f32),
}

impl Jitter {
    fn reach(self, side: usize) -> i64 {
        match self {
            // A circular shift repeats itself, so no larger one gives anything new.
            Self::Pixels(pixels) => pixels.min(i32::MAX as usize) as i64,
            Self::Fraction(fraction) => (fraction * side as f32) as i64,
        }
    }
}

impl From<usize> for Jitter {
    fn from(pixels: usize) -> Self {
        Self::Pixels(pixels)
    }
}

impl From<f32> for Jitter {
    fn from(fraction: f32) -> Self {
        Self::Fraction(fraction)
    }
}

impl Transform for Jitter {
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        let [_, _, height, width] = image.dims();
        let mut draw = |side| {
            let reach = self.reach(side);
            random.random_range(-reach..=reach)
        };
        let (down, right) = (draw(height), draw(width));
        roll(roll(image, 2, down), 3, right)
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Fraction(fraction) if !(0.0..=1.0).contains(fraction) => {
                Err(Error::invalid("jitter", "a number of pixels, or a fraction from 0 to 1", fraction))
            }
            _ => Ok(()),
        }
    }
}

/// Shifts circularly along one axis.
pub(crate) fn roll(image: Tensor<4>, axis: usize, shift: i64) -> Tensor<4> {
    let side = image.dims()[axis];
    let shift = shift.rem_euclid(side as i64) as usize;
    if shift == 0 {
        return image;
    }
    let head = image.clone().narrow(axis, 0, side - shift);
    let tail = image.narrow(axis, side - shift, shift);
    Tensor::cat(vec![tail, head], axis)
}

/// The widest border, in pixels: no layer sees farther.
const WIDEST_BORDER: usize = 4096;

fn check_border(pixels: usize) -> Result<()> {
    match pixels {
        0..=WIDEST_BORDER => Ok(()),
        _ => Err(Error::invalid("a border", format!("at most {WIDEST_BORDER} pixels wide"), pixels)),
    }
}

/// Adds a border of one value on every side; only for models that take any size.
///
/// ```
/// use vis::transforms::{Pad, Transform};
/// let image = vis::random::noise([1, 3, 8, 8], (0.0, 1.0), 0, 0, &Default::default());
/// let padded = Pad { pixels: 2, value: 0.5 }.apply(image, &mut vis::random::stream(0, 0));
/// assert_eq!(padded.dims(), [1, 3, 12, 12]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pad {
    /// The width of the border.
    pub pixels: usize,
    /// Its value, in the model's input range.
    pub value: f32,
}

impl Transform for Pad {
    fn apply(&self, image: Tensor<4>, _random: &mut Stream) -> Tensor<4> {
        let [batch, channels, height, width] = image.dims();
        let device = image.device();
        let border = |height, width| Tensor::full([batch, channels, height, width], self.value, &device);
        let rows = vec![border(self.pixels, width), image, border(self.pixels, width)];
        let height = height + 2 * self.pixels;
        let columns = vec![border(height, self.pixels), Tensor::cat(rows, 2), border(height, self.pixels)];
        Tensor::cat(columns, 3)
    }

    fn check(&self) -> Result<()> {
        check_border(self.pixels)
    }
}

/// Surrounds the image with copies of itself, so many pixels of them on every side, as if it were one tile of a floor;
/// only for models that take any size.
///
/// An image optimised through it tiles without seams. At most one whole copy on each side.
///
/// ```
/// use vis::transforms::{Transform, Wrap};
/// let row = burn::tensor::Tensor::<1>::from_floats([1.0, 2.0, 3.0], &Default::default()).reshape([1, 1, 1, 3]);
/// let wrapped = Wrap { pixels: 1 }.apply(row, &mut vis::random::stream(0, 0));
/// assert_eq!(wrapped.dims(), [1, 1, 3, 5]);
/// assert_eq!(wrapped.into_data().to_vec::<f32>().unwrap()[..5], [3.0, 1.0, 2.0, 3.0, 1.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrap {
    /// The width of the border of copies.
    pub pixels: usize,
}

impl Transform for Wrap {
    fn apply(&self, image: Tensor<4>, _random: &mut Stream) -> Tensor<4> {
        let wrap = |image: Tensor<4>, axis: usize| {
            let side = image.dims()[axis];
            let border = self.pixels.min(side);
            if border == 0 {
                return image;
            }
            let before = image.clone().narrow(axis, side - border, border);
            let after = image.clone().narrow(axis, 0, border);
            Tensor::cat(vec![before, image, after], axis)
        };
        wrap(wrap(image, 2), 3)
    }

    fn check(&self) -> Result<()> {
        check_border(self.pixels)
    }
}

/// Surrounds the image with its mirror image, so many pixels of it on every side; the edge itself is not repeated. Only for
/// models that take any size.
///
/// Convolutions take what lies beyond an image for zeros, and an image optimised up to its edge draws strokes along it,
/// to answer them. Through this it goes on as it is.
///
/// ```
/// use vis::transforms::{Mirror, Transform};
/// let row = burn::tensor::Tensor::<1>::from_floats([1.0, 2.0, 3.0], &Default::default()).reshape([1, 1, 1, 3]);
/// let mirrored = Mirror { pixels: 2 }.apply(row, &mut vis::random::stream(0, 0));
/// assert_eq!(mirrored.dims(), [1, 1, 5, 7]);
/// assert_eq!(mirrored.into_data().to_vec::<f32>().unwrap()[..7], [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// The width of the border of mirror images.
    pub pixels: usize,
}

impl Mirror {
    /// The image with its border.
    pub(crate) fn around(self, image: Tensor<4>) -> Tensor<4> {
        if self.pixels == 0 {
            return image;
        }
        let [_, _, height, width] = image.dims();
        let along = |side: usize| {
            let around = -(self.pixels as i64)..(side + self.pixels) as i64;
            around.map(|position| mirror(position, side)).collect()
        };
        gather(image, along(height), along(width))
    }
}

impl Transform for Mirror {
    fn apply(&self, image: Tensor<4>, _random: &mut Stream) -> Tensor<4> {
        self.around(image)
    }

    fn check(&self) -> Result<()> {
        check_border(self.pixels)
    }
}

/// Zooms about the centre by a factor drawn from a list, keeping the size: above 1 the margins are cropped,
/// below 1 they are filled with the pixels at the edge. Bilinear.
///
/// ```
/// use vis::transforms::{Scale, Transform};
/// let image = vis::random::noise([1, 3, 9, 7], (0.0, 1.0), 0, 0, &Default::default());
/// let zoomed = Scale(vec![1.1]).apply(image, &mut vis::random::stream(0, 0));
/// assert_eq!(zoomed.dims(), [1, 3, 9, 7]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Scale(pub Vec<f32>);

impl Transform for Scale {
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        let Some(factor) = draw(&self.0, random).filter(|factor| *factor != 1.0) else { return image };
        let [_, _, height, width] = image.dims();
        let along = |side: usize| {
            let centre = (side as f32 - 1.0) / 2.0;
            Weights::at(side, side, |to| centre + (to as f32 - centre) / factor)
        };
        resample::tensor(image, &along(height), &along(width))
    }

    fn check(&self) -> Result<()> {
        match self.0.iter().find(|factor| !(**factor > 0.0 && factor.is_finite())) {
            Some(factor) => Err(Error::invalid("a zoom factor", "a finite number above 0", factor)),
            None => Ok(()),
        }
    }
}

/// Shows a part of the image, enlarged to the size of the whole: the share of each side is drawn between two, the
/// place anywhere inside. Bilinear.
///
/// ```
/// use vis::transforms::{Crop, Transform};
/// let image = vis::random::noise([1, 3, 9, 7], (0.0, 1.0), 0, 0, &Default::default());
/// let part = Crop { from: 0.3, to: 0.6 }.apply(image, &mut vis::random::stream(0, 0));
/// assert_eq!(part.dims(), [1, 3, 9, 7]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// The smallest share of a side.
    pub from: f32,
    /// The largest.
    pub to: f32,
}

impl Transform for Crop {
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        let [_, _, height, width] = image.dims();
        let share = self.from + (self.to - self.from) * random.random::<f32>();
        let mut along = |side: usize| {
            let first = (1.0 - share) * side as f32 * random.random::<f32>();
            Weights::at(side, side, |to| first + (to as f32 + 0.5) * share - 0.5)
        };
        let (rows, columns) = (along(height), along(width));
        resample::tensor(image, &rows, &columns)
    }

    fn check(&self) -> Result<()> {
        if self.from > 0.0 && self.from <= self.to && self.to <= 1.0 {
            return Ok(());
        }
        let got = format!("{} to {}", self.from, self.to);
        Err(Error::invalid("a crop", "two shares of a side, above 0 and up to 1, the smaller first", got))
    }
}

/// Adds normal noise of this standard deviation, in the model's input range.
///
/// ```
/// use vis::transforms::{Noise, Transform};
/// let flat = burn::tensor::Tensor::<4>::ones([1, 3, 40, 40], &Default::default());
/// let noisy = Noise(0.1).apply(flat.clone(), &mut vis::random::stream(0, 0));
/// let deviation = (noisy - flat).square().mean().sqrt().into_scalar::<f32>();
/// assert!((deviation - 0.1).abs() < 0.01);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise(pub f32);

impl Transform for Noise {
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        let [_, channels, height, width] = image.dims();
        let mut values = crate::random::normal(random, channels * height * width);
        values.iter_mut().for_each(|value| *value *= self.0);
        let noise = TensorData::new(values, [1, channels, height, width]);
        let noise = Tensor::<4>::from_data(noise, &image.device());
        image + noise
    }

    fn check(&self) -> Result<()> {
        if self.0 >= 0.0 && self.0.is_finite() {
            return Ok(());
        }
        Err(Error::invalid("the noise of views", "a finite deviation of 0 or more", self.0))
    }
}

/// Turns about the centre by an angle in degrees drawn from a list, keeping the size: corners are filled
/// with the pixels at the edge. Bilinear.
///
/// ```
/// use vis::transforms::{Rotate, Transform};
/// let image = vis::random::noise([1, 3, 9, 7], (0.0, 1.0), 0, 0, &Default::default());
/// let turned = Rotate(vec![-10.0, 10.0]).apply(image, &mut vis::random::stream(0, 0));
/// assert_eq!(turned.dims(), [1, 3, 9, 7]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rotate(pub Vec<f32>);

impl Transform for Rotate {
    fn apply(&self, image: Tensor<4>, random: &mut Stream) -> Tensor<4> {
        let Some(degrees) = draw(&self.0, random).filter(|degrees| *degrees != 0.0) else { return image };
        let [batch, channels, height, width] = image.dims();
        let device = image.device();
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let (middle_row, middle_column) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);

        // Each pixel is the weighted sum of four: four selections with constant weights, which are
        // differentiable on every backend.
        let count = height * width;
        let (mut indices, mut weights) = (vec![vec![]; 4], vec![vec![]; 4]);
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f32 - middle_row, column as f32 - middle_column);
                let (top, bottom, down) = neighbours(middle_row + cosine * y - sine * x, height);
                let (left, right, across) = neighbours(middle_column + sine * y + cosine * x, width);
                let corners = [
                    (top, left, (1.0 - down) * (1.0 - across)),
                    (top, right, (1.0 - down) * across),
                    (bottom, left, down * (1.0 - across)),
                    (bottom, right, down * across),
                ];
                for (corner, (row, column, weight)) in corners.into_iter().enumerate() {
                    indices[corner].push((row * width + column) as i64);
                    weights[corner].push(weight);
                }
            }
        }
        let flat = image.reshape([batch, channels, count]);
        let terms = indices.into_iter().zip(weights).map(|(indices, weights)| {
            let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device);
            let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, 1, count]), &device);
            flat.clone().select(2, indices) * weights
        });
        let turned = terms.reduce(|sum, term| sum + term).unwrap_or(flat.clone());
        turned.reshape([batch, channels, height, width])
    }

    fn check(&self) -> Result<()> {
        match self.0.iter().find(|degrees| !degrees.is_finite()) {
            Some(degrees) => Err(Error::invalid("an angle", "a finite number of degrees", degrees)),
            None => Ok(()),
        }
    }
}

fn draw(choices: &[f32], random: &mut Stream) -> Option<f32> {
    if choices.is_empty() { None } else { Some(choices[random.random_range(0..choices.len())]) }
}
