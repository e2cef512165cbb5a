//! An image in a frame.

use burn::tensor::{Device, Tensor};

use super::Parametrization;
use crate::transforms::{Pad, Transform};
use crate::{Error, Result, random};

/// An image in a frame of one value, which is never optimised: for networks that were trained on things in the
/// middle of an empty border, and answer ink at the edge with anything.
///
/// ```
/// use vis::parametrization::{Framed, Parametrization, Pixels};
/// let framed = Framed::new(Pixels::new((0.0, 1.0)), 4, 0.0);
/// let image = framed.decode(framed.start([1, 1, 28, 28], 0, 0, &Default::default()));
/// assert_eq!(image.dims(), [1, 1, 28, 28]);
/// assert_eq!(image.narrow(2, 0, 4).max().into_scalar::<f32>(), 0.0);
/// ```
#[derive(Debug)]
pub struct Framed {
    inside: Box<dyn Parametrization>,
    pixels: usize,
    value: f32,
}

impl Framed {
    /// What `inside` decodes, with `pixels` of this value on every side: the images of `inside` are smaller than the
    /// model's by twice that many.
    ///
    /// ```
    /// use vis::parametrization::{Framed, Parametrization, Pixels};
    /// let framed = Framed::new(Pixels::new((0.0, 1.0)), 4, 0.5);
    /// let variable = framed.start([1, 1, 28, 28], 0, 0, &Default::default());
    /// assert_eq!(variable.dims(), [1, 1, 20, 20]);
    /// assert_eq!(framed.decode(variable).narrow(2, 24, 4).max().into_scalar::<f32>(), 0.5);
    /// ```
    pub fn new(inside: impl Parametrization + 'static, pixels: usize, value: f32) -> Self {
        Self { inside: Box::new(inside), pixels, value }
    }
}

impl Parametrization for Framed {
    fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        let [batch, channels, height, width] = shape;
        let inside = |side: usize| side.saturating_sub(2 * self.pixels).max(1);
        self.inside.start([batch, channels, inside(height), inside(width)], seed, first, device)
    }

    /// The frame of the image is lost.
    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        let [_, _, height, width] = image.dims();
        let frame = 2 * self.pixels;
        if height.min(width) <= frame {
            return Err(Error::Shape {
                what: "the image to start from".into(),
                expected: format!("[batch, channels, more than {frame}, more than {frame}]"),
                got: image.dims().to_vec(),
            });
        }
        let rows = image.narrow(2, self.pixels, height - frame);
        self.inside.encode(rows.narrow(3, self.pixels, width - frame))
    }

    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        let pad = Pad { pixels: self.pixels, value: self.value };
        pad.apply(self.inside.decode(variable), &mut random::stream(0, 0)) // which draws nothing
    }

    fn is_bounded(&self) -> bool {
        self.inside.is_bounded()
    }
}
