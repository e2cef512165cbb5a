//! What stands for "nothing there" in an image.

use burn::tensor::{Tensor, TensorData};

use crate::model::{Model, values::refuse_non_finite_image};
use crate::{Error, Result};

/// The image that stands for the absence of evidence: what integrated gradients start from, and what hidden
/// pixels are replaced by.
///
/// Every choice is itself an image the network has an opinion on; a map is always *relative to its baseline*,
/// and black objects get no credit from a black one.
///
/// ```
/// use vis::attribution::{Baseline, IntegratedGradients};
/// let grey = IntegratedGradients::new().baseline(Baseline::Value(127.5));
/// ```
///
/// Source: Sturmfels, Lundberg & Lee 2020, *Visualizing the Impact of Feature Attribution Baselines*.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a handful exist at a time")]
pub enum Baseline {
    /// The lower end of the model's input range everywhere.
    #[default]
    Black,
    /// One value everywhere, in the model's input range.
    Value(f32),
    /// The mean of each channel of the image itself.
    Mean,
    /// The image blurred by a Gaussian of this standard deviation in pixels.
    Blurred(f32),
    /// This image, or one for each image of the batch: `[1 or batch, channels, height, width]`.
    Image(Tensor<4>),
}

impl Baseline {
    /// The baseline of each image of a batch, of the same shape as the images.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a baseline image of another shape, [`Error::InvalidParameter`] for a value that is
    /// not finite or a blur of 0 or less.
    ///
    /// ```
    /// use vis::{Model, attribution::Baseline};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let grey = Baseline::Value(9.0).of(&model, &image)?;
    /// assert!(grey.into_data().to_vec::<f32>().unwrap().iter().all(|value| *value == 9.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn of(&self, model: &dyn Model, images: &Tensor<4>) -> Result<Tensor<4>> {
        let images = images.clone().inner();
        let [batch, channels, height, width] = images.dims();
        Ok(match self {
            Self::Black => images.full_like(model.input().range().0),
            Self::Value(value) if value.is_finite() => images.full_like(*value),
            Self::Value(value) => return Err(Error::invalid("the baseline", "a finite number", value)),
            Self::Mean => images.mean_dims(&[2, 3]).expand([batch, channels, height, width]),
            Self::Blurred(deviation) => blur(images, *deviation)?,
            Self::Image(image) => match finite(image)?.dims() {
                shape if shape == images.dims() => image.clone().inner(),
                [1, c, h, w] if [c, h, w] == [channels, height, width] => {
                    image.clone().inner().expand([batch, channels, height, width])
                }
                shape => {
                    return Err(Error::Shape {
                        what: "the baseline".into(),
                        expected: format!("[1 or {batch}, {channels}, {height}, {width}]"),
                        got: shape.to_vec(),
                    });
                }
            },
        })
    }
}

fn finite(image: &Tensor<4>) -> Result<&Tensor<4>> {
    let values = crate::host::values(image.clone().inner());
    refuse_non_finite_image("baseline", &values, image.dims())?;
    Ok(image)
}

/// A Gaussian blur, by two matrix products; at the border the weights of the pixels there are rescaled.
pub(crate) fn blur(images: Tensor<4>, deviation: f32) -> Result<Tensor<4>> {
    if !(deviation > 0.0 && deviation.is_finite()) {
        return Err(Error::invalid("the standard deviation of a blur", "a finite number above 0", deviation));
    }
    let device = images.device();
    let along = |side: usize| {
        let mut weights = vec![0.0_f32; side * side];
        for (to, row) in weights.chunks_mut(side).enumerate() {
            for (from, weight) in row.iter_mut().enumerate() {
                let distance = (to as f32 - from as f32) / deviation;
                *weight = (-0.5 * distance * distance).exp();
            }
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
        Tensor::<2>::from_data(TensorData::new(weights, [side, side]), &device)
    };
    let [_, _, height, width] = images.dims();
    Ok(crate::resample::by_matrices(images, along(height), along(width)))
}
