//! Losses that look at the image alone, and keep it natural.

use burn::tensor::Tensor;

use super::{Loss, Scene};
use crate::{Error, Result};

/// The loss that wants small pixel values, their p-norm over the image divided by its number of values:
///
/// ```text
/// L(x) = ( Σ |x|^p )^(1/p) / (C·H·W)        p = ∞:  max |x| / (C·H·W)
/// ```
///
/// per image of the batch, with `p` = 6 by default as in keras-vis. The gradient is finite everywhere, 0
/// at a black image included. (keras-vis takes `max x` for `p` = ∞ and the norm over the whole batch.)
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::{Loss, Scene, losses::LPNorm};
///
/// let image = Tensor::<1>::from_floats([-4.0, 4.0], &Device::default()).reshape([1, 1, 1, 2]);
/// let loss = LPNorm::new(2.0)?.build_loss(&Scene::new(image, []))?;
/// assert!((loss.into_scalar::<f32>() - 32.0_f32.sqrt() / 2.0).abs() < 1e-5);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LPNorm {
    p: f32,
}

impl LPNorm {
    /// The norm with exponent `p`, from 1 to infinity.
    ///
    /// ```
    /// use vis::{Loss, Scene, losses::LPNorm};
    /// # let image = burn::tensor::Tensor::<1>::from_floats([-4.0, 3.0], &Default::default()).reshape([1, 1, 1, 2]);
    /// // Of the values -4 and 3 the largest counts, over their number.
    /// let loss = LPNorm::new(f32::INFINITY)?.build_loss(&Scene::new(image, []))?;
    /// assert_eq!(loss.into_scalar::<f32>(), 2.0);
    /// assert!(LPNorm::new(0.5).is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for `p` below 1 or NaN.
    pub fn new(p: f32) -> Result<Self> {
        // The 64th power of a value next to the range's end is the last that stays a finite number.
        if (1.0..=64.0).contains(&p) || p == f32::INFINITY {
            Ok(Self { p })
        } else {
            Err(Error::invalid("p of an L-p norm", "1 to 64, or infinity", p))
        }
    }
}

impl Default for LPNorm {
    fn default() -> Self {
        Self { p: 6.0 }
    }
}

impl Loss for LPNorm {
    fn name(&self) -> String {
        if self.p.is_infinite() { "L-∞ norm".into() } else { format!("L-{} norm", self.p) }
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let image = scene.image();
        let [batch, channels, height, width] = image.dims();
        let count = channels * height * width;
        let size = image.abs().reshape([batch, count]);
        let norm = if self.p == 1.0 {
            size.sum_dim(1)
        } else if self.p.is_infinite() {
            size.max_dim(1)
        } else {
            // Dividing by the largest value first keeps the powers in range (255⁶·150528 is near 10¹⁹).
            // The sum is then 1 or more, unless the image is black, and there the epsilon keeps the
            // derivative of the root finite.
            let largest = size.clone().detach().max_dim(1).clamp_min(1e-12);
            let powers = power(size / largest.clone(), self.p).sum_dim(1);
            (powers + 1e-12).powf_scalar(1.0 / self.p) * largest
        };
        Ok(norm.reshape([batch]) / count as f32)
    }
}

/// `x` to the power of `p`; small whole powers by multiplication, which is tens of times faster.
fn power(x: Tensor<2>, p: f32) -> Tensor<2> {
    if p.fract() != 0.0 || p > 16.0 {
        return x.powf_scalar(p);
    }
    let (mut square, mut rest, mut product) = (x, p as u32, None);
    loop {
        if rest % 2 == 1 {
            product = Some(match product {
                Some(product) => product * square.clone(),
                None => square.clone(),
            });
        }
        rest /= 2;
        match product {
            Some(product) if rest == 0 => return product,
            _ => square = square.clone() * square,
        }
    }
}

/// The loss that wants a smooth image, its total variation:
///
/// ```text
/// L(x) = Σ_{c,i,j} ( (x[c,i+1,j] − x[c,i,j])² + (x[c,i,j+1] − x[c,i,j])² )^(β/2) / (C·H·W)
/// ```
///
/// per image of the batch, over the positions that have both neighbours, with β = 2 by default as in
/// keras-vis. Values from 1.5 to 3 are useful: small ones keep edges and flatten what lies between them,
/// large ones blur. The gradient is finite everywhere; an image of one row or one column has none.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::{Loss, Scene, losses::TotalVariation};
///
/// let image = Tensor::<2>::from_floats([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]], &Device::default());
/// let loss = TotalVariation::default().build_loss(&Scene::new(image.reshape([1, 1, 3, 3]), []))?;
/// assert!((loss.into_scalar::<f32>() - 16.0 / 9.0).abs() < 1e-6);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Mahendran & Vedaldi 2015, arXiv 1412.0035, equation 4; keras-vis `regularizers.py`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TotalVariation {
    beta: f32,
}

impl TotalVariation {
    /// The total variation with exponent `beta`, above 0.
    ///
    /// ```
    /// use vis::{Loss, Scene, losses::TotalVariation};
    /// # let edge = burn::tensor::Tensor::<4>::from_floats([[[[0.0, 4.0], [0.0, 4.0]]]], &Default::default());
    /// // An edge of height 4 between four pixels: 4 to the power of beta, over their number.
    /// let loss = |beta| TotalVariation::new(beta)?.build_loss(&Scene::new(edge.clone(), []));
    /// assert!((loss(1.0)?.into_scalar::<f32>() - 4.0 / 4.0).abs() < 1e-5);
    /// assert!((loss(2.0)?.into_scalar::<f32>() - 16.0 / 4.0).abs() < 1e-5);
    /// assert!(TotalVariation::new(0.0).is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for `beta` of 0 or less, infinite or NaN.
    pub fn new(beta: f32) -> Result<Self> {
        if beta > 0.0 && beta <= 64.0 {
            Ok(Self { beta })
        } else {
            Err(Error::invalid("beta of total variation", "above 0 and up to 64", beta))
        }
    }
}

impl Default for TotalVariation {
    fn default() -> Self {
        Self { beta: 2.0 }
    }
}

impl Loss for TotalVariation {
    fn name(&self) -> String {
        format!("TV({})", self.beta)
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let image = scene.image();
        let [batch, channels, height, width] = image.dims();
        if height < 2 || width < 2 {
            return Ok(Tensor::zeros([batch], &scene.device()));
        }
        let here = image.clone().narrow(2, 0, height - 1).narrow(3, 0, width - 1);
        let below = image.clone().narrow(2, 1, height - 1).narrow(3, 0, width - 1);
        let right = image.narrow(2, 0, height - 1).narrow(3, 1, width - 1);
        let squares = (below - here.clone()).square() + (right - here).square();
        let variation = if self.beta == 2.0 {
            squares
        } else {
            // For β < 2 the power has an infinite slope at 0; the epsilon makes it finite, and what it
            // adds is taken off again, so a flat image has variation 0.
            const EPSILON: f32 = 1e-12;
            let exponent = self.beta / 2.0;
            (squares + EPSILON).powf_scalar(exponent) - EPSILON.powf(exponent)
        };
        Ok(variation.sum_dims(&[1, 2, 3]).reshape([batch]) / (channels * height * width) as f32)
    }
}
