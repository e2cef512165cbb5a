//! The phase of an image whose spectrum has the magnitude of photographs.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData, activation};
use ndarray::Array3;

use super::fourier::Fourier;
use super::{Parametrization, correlate};
use crate::{Error, Result, random};

/// An image by the phase of its Fourier spectrum; the magnitude is that of photographs, and stays (MaCo):
///
/// ```text
/// φ ← (variable − mean) / (deviation + 1e-5)          over the whole variable
/// x ← irfft2( magnitude · e^{iφ} )
/// image = low + (high − low) · sigmoid( C · (x − mean(x)) / (deviation(x) + 1e-5) )
/// ```
///
/// where `C` is the correlation of colours in photos. So a picture can be neither noise nor a flat poster: gradient descent
/// can move things, but has only as much of each frequency as photographs have. The variable is `[batch, channels, height,
/// width/2 + 1]`.
///
/// The magnitude is a table of 16 frequencies and 5 directions, measured on photographs in the public domain or under free
/// licences by `examples/photo_spectrum.rs`; images of another number of channels than three have that of light.
///
/// Any variable decodes as in xplique. The start is drawn so that the lines of the spectrum that are their own mirror
/// image, of no horizontal change and of the fastest, are those of a real image; their magnitude would otherwise be
/// partly lost, there.
///
/// ```
/// use vis::parametrization::{Parametrization, Phase};
/// let phase = Phase::new([6, 8], (0.0, 255.0));
/// let variable = phase.start([1, 3, 6, 8], 0, 0, &Default::default());
/// assert_eq!(variable.dims(), [1, 3, 6, 8 / 2 + 1]);
/// assert_eq!(phase.decode(variable).dims(), [1, 3, 6, 8]);
/// ```
///
/// Source: Fel et al. 2023, *Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization*,
/// arXiv 2306.06805; xplique, `features_visualizations/preconditioning.py`.
#[derive(Debug, Clone)]
#[doc(alias = "MaCo")]
pub struct Phase {
    fourier: Fourier,
    size: [usize; 2],
    range: (f32, f32),
    given: Option<Arc<Array3<f32>>>,
    /// Of this many channels on this device, made at the first decoding.
    magnitude: Arc<Mutex<Option<(Device, Tensor<4>)>>>,
}

impl Phase {
    /// Images of this height and width in this range.
    pub fn new(size: [usize; 2], range: (f32, f32)) -> Self {
        Self { fourier: Fourier::new(size, range), size, range, given: None, magnitude: Arc::default() }
    }

    /// Sets another magnitude, `[channels, height, width/2 + 1]`; its scale does not matter.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for one of another size, [`Error::InvalidParameter`] for numbers that are negative or not finite.
    pub fn with_magnitude(self, magnitude: &Array3<f32>) -> Result<Self> {
        let ([height, width], (channels, rows, bins)) = (self.size, magnitude.dim());
        if (rows, bins) != (height, width / 2 + 1) || channels == 0 {
            return Err(Error::Shape {
                what: "the magnitude of a spectrum".into(),
                expected: format!("[channels, {height}, {}]", width / 2 + 1),
                got: magnitude.shape().to_vec(),
            });
        }
        if let Some(value) = magnitude.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(Error::invalid("the magnitude of a spectrum", "finite numbers of 0 or more", value));
        }
        Ok(Self { given: Some(Arc::new(magnitude.clone())), magnitude: Arc::default(), ..self })
    }

    /// `[1, channels, height, bins]`.
    fn magnitude(&self, channels: usize, device: &Device) -> Tensor<4> {
        let mut kept = self.magnitude.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref().filter(|(on, magnitude)| on == device && magnitude.dims()[1] == channels) {
            Some((_, magnitude)) => magnitude.clone(),
            None => {
                let values = match &self.given {
                    Some(given) if given.dim().0 == channels => given.iter().copied().collect(),
                    // What there is for another number of channels.
                    _ => magnitude(self.size, channels),
                };
                let shape = [1, channels, self.size[0], self.size[1] / 2 + 1];
                let made = Tensor::from_data(TensorData::new(values, shape), device);
                *kept = Some((device.clone(), made.clone()));
                made
            }
        }
    }
}

impl Parametrization for Phase {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        let [batch, channels, ..] = shape;
        let [height, width] = self.size;
        let bins = width / 2 + 1;
        let mut values = Vec::with_capacity(batch * channels * height * bins);
        for image in 0..batch {
            let mut stream = random::stream(seed, first.wrapping_add(image) as u64);
            let mut phases = random::normal(&mut stream, channels * height * bins);
            for plane in phases.chunks_mut(height * bins) {
                own_mirror_images(plane, height, width);
            }
            values.append(&mut phases);
        }
        Tensor::from_data(TensorData::new(values, [batch, channels, height, bins]), device)
    }

    /// There is none in general: the phases of a photo are spread more widely than these.
    fn encode(&self, _image: Tensor<4>) -> Result<Tensor<4>> {
        let expected = "noise: a phase of unit deviation does not come near any image given";
        Err(Error::invalid("the start of an image by its phase", expected, "an image"))
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, bins] = variable.dims();
        let device = variable.device();
        let phase = standardized(variable);
        let magnitude = self.magnitude(channels, &device);
        let part = |part: Tensor<4>| (part * magnitude.clone()).reshape([batch * channels, height, bins]);
        let image = self.fourier.image(part(phase.clone().cos()), part(phase.sin()));
        let image = correlate(standardized(image.reshape([batch, channels, height, self.size[1]])));
        let (low, high) = self.range;
        activation::sigmoid(image) * (high - low) + low
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Each image's values with a mean of 0 and a deviation of 1.
fn standardized(values: Tensor<4>) -> Tensor<4> {
    let centred = values.clone() - values.mean_dims(&[1, 2, 3]);
    // Under the root, so that the slope is finite where all values are the same.
    let deviation = (centred.clone().square().mean_dims(&[1, 2, 3]) + 1e-12).sqrt();
    centred / (deviation + 1e-5)
}

/// Makes the phases that are mirror images of each other opposite: `φ(−r) = −φ(r)` in the first column and, for even widths,
/// in the last; and centres the others, so that the mean that decoding takes off is 0.
fn own_mirror_images(plane: &mut [f32], height: usize, width: usize) {
    let bins = width / 2 + 1;
    let alone = |column: usize| column == 0 || 2 * column == width;
    let free: Vec<usize> = (0..plane.len()).filter(|place| !alone(place % bins)).collect();
    let mean = free.iter().map(|place| plane[*place]).sum::<f32>() / free.len().max(1) as f32;
    free.iter().for_each(|place| plane[*place] -= mean);
    for column in (0..bins).filter(|column| alone(*column)) {
        for row in 0..=height / 2 {
            let mirrored = (height - row) % height;
            plane[mirrored * bins + column] = -plane[row * bins + column];
            if mirrored == row {
                plane[row * bins + column] = 0.0;
            }
        }
    }
}

const RADII: usize = 16;
const ANGLES: usize = 5;
/// The lowest frequency of the table in cycles a pixel.
const LOWEST: f32 = 1.0 / 128.0;

/// The table, `[frequency][colour][direction]`, as logarithms.
static PHOTOGRAPHS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let lines = include_str!("photographs.txt").lines().filter(|line| !line.starts_with('#'));
    let numbers = lines.flat_map(str::split_whitespace).filter_map(|number| number.parse::<f32>().ok());
    numbers.map(f32::ln).collect()
});

/// The magnitude of the half spectrum of photographs of this size, `[channels, height, bins]`.
pub(crate) fn magnitude([height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    let highest = 0.5_f32.sqrt();
    let mut values = Vec::with_capacity(channels * height * (width / 2 + 1));
    for channel in 0..channels {
        let colour = if channels == 3 { channel } else { 0 };
        for (row, column) in (0..height).flat_map(|row| (0..=width / 2).map(move |column| (row, column))) {
            let vertical = row.min(height - row) as f32 / height as f32;
            let horizontal = column as f32 / width as f32;
            // The mean of an image is taken off; any number will do there.
            let radius = vertical.hypot(horizontal).max(1.0 / height.max(width) as f32);
            let place = (radius / LOWEST).ln() / (highest / LOWEST).ln() * (RADII - 1) as f32;
            let angle = horizontal.atan2(vertical) / std::f32::consts::FRAC_PI_2 * (ANGLES - 1) as f32;
            let (low, high, up) = crate::resample::neighbours(place, RADII);
            let (one, two, across) = crate::resample::neighbours(angle, ANGLES);
            let at = |radius: usize, angle: usize| PHOTOGRAPHS[(radius * 3 + colour) * ANGLES + angle];
            let along = |radius| at(radius, one) * (1.0 - across) + at(radius, two) * across;
            // Below the table as everywhere in photographs: in proportion to the length of the wave.
            let below = (LOWEST / radius).max(1.0).ln();
            values.push((along(low) * (1.0 - up) + along(high) * up + below).exp());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_number_for_each_frequency_colour_and_direction_and_falls_with_frequency() {
        assert_eq!(PHOTOGRAPHS.len(), RADII * 3 * ANGLES);
        for size in [[64, 64], [33, 48], [1, 9], [224, 224]] {
            let bins = size[1] / 2 + 1;
            let values = magnitude(size, 3);
            assert_eq!(values.len(), 3 * size[0] * bins);
            assert!(values.iter().all(|value| value.is_finite() && *value > 0.0));
        }
        let values = magnitude([64, 64], 1);
        assert!(values[1] > 4.0 * values[8] && values[8] > 2.0 * values[31]);
        assert_eq!(magnitude([64, 64], 3)[..values.len()], values);
    }

    #[test]
    fn the_spectrum_of_what_is_decoded_is_that_of_photographs() {
        // Even and odd sides, and a grey image; after a step that keeps mirror images opposite, as gradients do.
        for (height, width, channels) in [(24, 32, 3), (15, 21, 3), (28, 28, 1)] {
            let phase = Phase::new([height, width], (-1.0, 3.0));
            let image = phase.decode(phase.start([1, channels, height, width], 5, 0, &Default::default()));
            let share = (image + 1.0) / 4.0;
            let logit = (share.clone() / (share.neg() + 1.0)).log();
            let colours = super::super::decorrelate(logit).reshape([channels, height, width]);
            let (real, imaginary) = phase.fourier.spectrum(colours);
            let found = crate::host::values((real.square() + imaginary.square()).sqrt());
            let template = magnitude([height, width], channels);
            let plane = height * (width / 2 + 1);
            let ratios: Vec<f32> = (0..found.len())
                .filter(|place| place % plane != 0)
                .map(|place| found[place] / template[place])
                .collect();
            let scale = ratios.iter().sum::<f32>() / ratios.len() as f32;
            for ratio in ratios {
                assert!((ratio / scale - 1.0).abs() < 0.01, "{height} × {width}: {}", ratio / scale);
            }
        }
    }
}
