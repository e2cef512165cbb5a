//! How an image is written down while it is optimised.
//!
//! What is optimised is not what is seen: a [`Parametrization`] decodes a variable into an image. Where
//! gradient descent goes depends on the coordinates: by [`Pixels`] it runs into high frequencies, by the
//! [`Fourier`] spectrum in decorrelated colours every frequency and colour is as easy to move as it is
//! common in photographs; by the [`Phase`] there is of each frequency what photographs have, and it can only be moved.

mod colour;
mod fourier;
mod framed;
mod generated;
mod phase;

use std::fmt;

use burn::tensor::{Device, Tensor};

use crate::Result;

use colour::{correlate, decorrelate};
pub use fourier::Fourier;
pub use framed::Framed;
pub use phase::Phase;
pub(crate) use phase::magnitude;

/// A differentiable map from a variable to an image.
///
/// ```
/// use vis::parametrization::{Parametrization, Pixels};
/// let image = vis::random::noise([1, 3, 4, 4], (0.0, 255.0), 0, 0, &Default::default());
/// let pixels = Pixels::new((0.0, 255.0));
/// let again = pixels.decode(pixels.encode(image.clone())?);
/// assert_eq!(again.into_data().to_vec::<f32>().unwrap(), image.into_data().to_vec::<f32>().unwrap());
/// # Ok::<(), vis::Error>(())
/// ```
pub trait Parametrization: fmt::Debug + Send + Sync {
    /// A random variable to start from, for images `[batch, channels, height, width]`; image `i` is drawn
    /// from the substream `first + i` of the seed.
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4>;

    /// The variable that decodes to this image, as nearly as there is one.
    ///
    /// # Errors
    ///
    /// An [`Error`](crate::Error) when no variable comes near.
    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>>;

    /// The image, `[batch, channels, height, width]`, in the model's input range.
    fn decode(&self, variable: Tensor<4>) -> Tensor<4>;

    /// Whether every image it decodes lies in the input range, and so can be shown as it is.
    fn is_bounded(&self) -> bool {
        false
    }
}

/// The image itself, as in keras-vis; starts from dim uniform noise around the middle of the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pixels {
    range: (f32, f32),
}

impl Pixels {
    /// Pixels in this range.
    ///
    /// ```
    /// use vis::parametrization::{Parametrization, Pixels};
    /// let start = Pixels::new((-1.0, 1.0)).start([1, 3, 8, 8], 0, 0, &Default::default());
    /// assert!(start.into_data().to_vec::<f32>().unwrap().iter().all(|value| value.abs() < 0.1)); // around the middle
    /// ```
    pub fn new(range: (f32, f32)) -> Self {
        Self { range }
    }
}

impl Parametrization for Pixels {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        crate::random::noise(shape, self.range, seed, first, device)
    }

    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        Ok(image)
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        variable
    }
}

impl Parametrization for Box<dyn Parametrization> {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        self.as_ref().start(shape, seed, first, device)
    }

    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        self.as_ref().encode(image)
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        self.as_ref().decode(variable)
    }

    fn is_bounded(&self) -> bool {
        self.as_ref().is_bounded()
    }
}
