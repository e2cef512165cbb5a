//! The Fourier spectrum of an image.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::{Parametrization, correlate, decorrelate};
use crate::Result;
use crate::random::{self, Stream};

/// An image by its Fourier spectrum, in decorrelated colours, squeezed into the input range:
///
/// ```text
/// image = low + (high − low) · sigmoid( C · irfft2( variable · s ) / 4 )
/// s(f)  = √(H·W) / max(|f|, 1 / max(H, W))^decay
/// ```
///
/// where `C` is the correlation of colours in photos and `|f|` is the frequency in cycles per pixel. The variable holds real parts,
/// then imaginary parts: `[batch, 2·channels, height, width/2 + 1]`. It starts from normal noise of standard
/// deviation 0.01.
///
/// The transform is two products with cosine and sine matrices: exact, differentiable on every backend, and
/// for the sizes used here about as fast as a fast Fourier transform.
///
/// ```
/// use vis::parametrization::{Fourier, Parametrization};
/// let fourier = Fourier::new([6, 7], (0.0, 255.0));
/// let image = vis::random::noise([1, 3, 6, 7], (0.0, 255.0), 0, 0, &Default::default());
/// let again = fourier.decode(fourier.encode(image.clone())?);
/// assert!((again - image).abs().max().into_scalar::<f32>() < 0.1);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Olah, Mordvintsev & Schubert 2017; lucid, `param/spatial.py`.
#[derive(Debug, Clone)]
pub struct Fourier {
    size: [usize; 2],
    range: (f32, f32),
    decay: f32,
    deviation: f32,
    /// What every decoding needs, made at the first one.
    matrices: Arc<Mutex<Option<(Device, Matrices)>>>,
}

/// The constants of the inverse transform on one device.
#[derive(Debug, Clone)]
struct Matrices {
    scale: Tensor<4>,
    /// Cosines and sines along the columns, and along the rows.
    vertical: (Tensor<3>, Tensor<3>),
    horizontal: (Tensor<3>, Tensor<3>),
}

impl PartialEq for Fourier {
    fn eq(&self, other: &Self) -> bool {
        let settings = |it: &Self| (it.size, it.range, it.decay, it.deviation);
        settings(self) == settings(other)
    }
}

/// Keeps the start within the steep part of the sigmoid; lucid's constant.
const FLATTEN: f32 = 4.0;

impl Fourier {
    /// Images of this height and width in this range.
    ///
    /// ```
    /// use vis::parametrization::{Fourier, Parametrization};
    /// let fourier = Fourier::new([6, 8], (0.0, 255.0));
    /// let variable = fourier.start([1, 3, 6, 8], 0, 0, &Default::default());
    /// assert_eq!(variable.dims(), [1, 2 * 3, 6, 8 / 2 + 1]);
    /// let wild = fourier.decode(variable * 1e4).into_data().to_vec::<f32>().unwrap();
    /// assert!(wild.iter().all(|value| (0.0..=255.0).contains(value)));
    /// ```
    pub fn new(size: [usize; 2], range: (f32, f32)) -> Self {
        Self { size, range, decay: 1.0, deviation: 0.01, matrices: Arc::default() }
    }

    /// Sets the exponent by which high frequencies are damped: 0 for not at all, 1 (the default) for the
    /// spectrum of natural images, more for smoother pictures.
    ///
    /// ```
    /// use vis::parametrization::{Fourier, Parametrization};
    /// let fourier = Fourier::new([16, 16], (0.0, 255.0)).with_decay(1.5);
    /// let start = fourier.decode(fourier.start([1, 3, 16, 16], 0, 0, &Default::default()));
    /// assert_eq!(start.dims(), [1, 3, 16, 16]);
    /// ```
    pub fn with_decay(mut self, decay: f32) -> Self {
        self.decay = decay;
        self.matrices = Arc::default();
        self
    }

    fn bins(&self) -> usize {
        self.size[1] / 2 + 1
    }

    /// `s(f)`, `[1, 1, height, bins]`.
    fn scale(&self, device: &Device) -> Tensor<4> {
        let [height, width] = self.size;
        let lowest = 1.0 / height.max(width) as f32;
        let area = ((height * width) as f32).sqrt();
        let values: Vec<f32> = (0..height)
            .flat_map(|row| (0..self.bins()).map(move |column| (row, column)))
            .map(|(row, column)| {
                let vertical = row.min(height - row) as f32 / height as f32;
                let horizontal = column as f32 / width as f32;
                area / vertical.hypot(horizontal).max(lowest).powf(self.decay)
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [1, 1, height, self.bins()]), device)
    }

    /// Cosines and sines of `2π·j·k/n` for `j < rows`, `k < columns`, times a weight of `k`.
    fn waves(
        n: usize,
        rows: usize,
        columns: usize,
        weight: impl Fn(usize) -> f64,
        device: &Device,
    ) -> (Tensor<3>, Tensor<3>) {
        let angle = |j: usize, k: usize| std::f64::consts::TAU * ((j * k) % n) as f64 / n as f64;
        let matrix = |wave: fn(f64) -> f64| {
            let values: Vec<f32> = (0..rows)
                .flat_map(|j| (0..columns).map(move |k| (j, k)))
                .map(|(j, k)| (weight(k) * wave(angle(j, k))) as f32)
                .collect();
            Tensor::<3>::from_data(TensorData::new(values, [1, rows, columns]), device)
        };
        (matrix(f64::cos), matrix(f64::sin))
    }

    /// The constants of the inverse transform.
    fn matrices(&self, device: &Device) -> Matrices {
        let mut kept = self.matrices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, matrices)) = kept.as_ref().filter(|(on, _)| on == device) {
            return matrices.clone();
        }
        let [height, width] = self.size;
        // Each bin stands for itself and its mirror image, but the first and, for even widths, the last.
        let mirrored = |k: usize| if k == 0 || 2 * k == width { 1.0 } else { 2.0 };
        let (cosine, sine) = Self::waves(width, width, self.bins(), |k| mirrored(k) / width as f64, device);
        let matrices = Matrices {
            scale: self.scale(device),
            vertical: Self::waves(height, height, height, |_| 1.0 / height as f64, device),
            horizontal: (cosine.swap_dims(1, 2), sine.swap_dims(1, 2)),
        };
        *kept = Some((device.clone(), matrices.clone()));
        matrices
    }

    /// The real image of a half spectrum, `[n, height, bins]` each part.
    fn inverse(matrices: Matrices, real: Tensor<3>, imaginary: Tensor<3>) -> Tensor<3> {
        let (cosine, sine) = matrices.vertical;
        let rows_real = cosine.clone().matmul(real.clone()) - sine.clone().matmul(imaginary.clone());
        let rows_imaginary = sine.matmul(real) + cosine.matmul(imaginary);
        let (cosine, sine) = matrices.horizontal;
        rows_real.matmul(cosine) - rows_imaginary.matmul(sine)
    }

    /// The real images, `[n, height, width]`, of half spectra, `[n, height, bins]` each part.
    pub(super) fn image(&self, real: Tensor<3>, imaginary: Tensor<3>) -> Tensor<3> {
        Self::inverse(self.matrices(&real.device()), real, imaginary)
    }

    /// The half spectrum of a real image, `[n, height, width]`.
    pub(crate) fn spectrum(&self, image: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [height, width] = self.size;
        let device = image.device();
        let (cosine, sine) = Self::waves(width, width, self.bins(), |_| 1.0, &device);
        let (real, imaginary) = (image.clone().matmul(cosine), image.matmul(sine).neg());
        let (cosine, sine) = Self::waves(height, height, height, |_| 1.0, &device);
        (
            cosine.clone().matmul(real.clone()) + sine.clone().matmul(imaginary.clone()),
            cosine.matmul(imaginary) - sine.matmul(real),
        )
    }
}

impl Parametrization for Fourier {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        let [batch, channels, ..] = shape;
        let count = 2 * channels * self.size[0] * self.bins();
        let values: Vec<f32> = (0..batch)
            .flat_map(|image| {
                let mut stream: Stream = random::stream(seed, first.wrapping_add(image) as u64);
                random::normal(&mut stream, count)
            })
            .map(|value| value * self.deviation)
            .collect();
        Tensor::from_data(TensorData::new(values, [batch, 2 * channels, self.size[0], self.bins()]), device)
    }

    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        let [batch, channels, height, width] = image.dims();
        if [height, width] != self.size {
            return Err(crate::Error::Shape {
                what: "the image to start from".into(),
                expected: format!("[batch, channels, {}, {}]", self.size[0], self.size[1]),
                got: image.dims().to_vec(),
            });
        }
        let (low, high) = self.range;
        // The sigmoid never reaches its ends: the last thousandth at either end is out of reach.
        let share = ((image - low) / (high - low)).clamp(0.001, 0.999);
        let colours = decorrelate((share.clone() / (share.neg() + 1.0)).log()) * FLATTEN;
        let (real, imaginary) = self.spectrum(colours.reshape([batch * channels, height, width]));
        let part = |part: Tensor<3>| part.reshape([batch, channels, height, self.bins()]);
        let scale = self.scale(&real.device());
        Ok(Tensor::cat(vec![part(real), part(imaginary)], 1) / scale)
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        let [batch, both, height, bins] = variable.dims();
        let channels = both / 2;
        let matrices = self.matrices(&variable.device());
        let scaled = variable * matrices.scale.clone();
        let part = |first: usize| {
            scaled.clone().narrow(1, first, channels).reshape([batch * channels, height, bins])
        };
        let colours = Self::inverse(matrices, part(0), part(channels)) / FLATTEN;
        let colours = correlate(colours.reshape([batch, channels, height, self.size[1]]));
        let (low, high) = self.range;
        activation::sigmoid(colours) * (high - low) + low
    }

    fn is_bounded(&self) -> bool {
        true
    }
}
