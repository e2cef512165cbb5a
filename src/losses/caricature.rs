//! The loss that wants a layer to see more of what it sees in a photo.

use burn::tensor::Tensor;

use super::reference::{Reference, sum_per_image};
use super::{Loss, Scene};
use crate::model::Model;
use crate::{Error, Result};

/// The loss that wants a layer to see the same as in a photo, only more of it, minus the dot product of the
/// features times a power of their cosine:
///
/// ```text
/// L(x) = − (A(x) · A(photo)) / n · max(0.1, cos)^p        cos = A(x) · A(photo) / (|A(x)| |A(photo)|)
/// ```
///
/// where `n` is the number of values of the layer. The dot product alone is best served by the few strongest
/// features; the cosine asks for the others in their proportion. With `p` = 0 it is a plain dot product; the
/// default is 1. Below a cosine of 0.1, as at the start from noise, the floor keeps a gradient. (lucid's cosine
/// divides by only one of the norms.)
///
/// The features of the photo are computed once; images must be of its size.
///
/// ```
/// use vis::{gradient::Gradient, losses::Caricature, Model};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let losses = Caricature::new(&model, photo.clone(), "conv2")?.into();
/// let values = |image| Ok::<_, vis::Error>(Gradient::new(&model, &losses).values(image)?.totals());
/// assert!(values(photo.clone() * 1.5)? < values(photo)?); // more of the same is better
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: lucid, `recipes/caricature.py`; xplique, `commons/…/dot_cossim`, which has both norms.
#[derive(Debug, Clone)]
#[doc(alias = "dot_compare")]
pub struct Caricature {
    photo: Reference,
    power: f32,
}

impl Caricature {
    /// Exaggerates what the layer sees in this photo, `[1, channels, height, width]`, or in one photo for each
    /// image of the batch.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::{ActivationMaximization, Caricature}, Model, Target};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let caricature = Caricature::new(&model, photo.clone(), "conv2")?.into();
    /// let energy = ActivationMaximization::from(Target::energy("conv2")).into();
    /// let value = |losses| Gradient::new(&model, losses).values(photo.clone()).map(|values| values.totals()[0]);
    /// // For the photo itself it is what the layer sees at all.
    /// assert!((value(&caricature)? / value(&energy)? - 1.0).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], and [`Error::Shape`] for a photo that the model can't take.
    pub fn new<M: Model + ?Sized>(model: &M, photo: Tensor<4>, layer: impl Into<String>) -> Result<Self> {
        Ok(Self { photo: Reference::new(model, photo, layer.into())?, power: 1.0 })
    }

    /// Sets the power of the cosine, 0 or more. Default 1.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::Caricature, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [photo, other] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// let loss = |power, image: &burn::tensor::Tensor<4>| {
    ///     let losses = Caricature::new(&model, photo.clone(), "conv2")?.with_power(power)?.into();
    ///     Ok::<_, vis::Error>(Gradient::new(&model, &losses).values(image.clone())?.totals()[0])
    /// };
    /// // The photo itself has a cosine of 1, whose power counts for nothing; any other image loses by it.
    /// assert!((loss(4.0, &photo)? / loss(1.0, &photo)? - 1.0).abs() < 1e-4);
    /// assert!(loss(4.0, &other)? > loss(1.0, &other)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`].
    #[doc(alias = "cossim_pow")]
    pub fn with_power(self, power: f32) -> Result<Self> {
        if (0.0..=64.0).contains(&power) {
            Ok(Self { power, ..self })
        } else {
            Err(Error::invalid("the power of the cosine", "0 to 64", power))
        }
    }
}

impl Loss for Caricature {
    fn name(&self) -> String {
        format!("caricature at {}", self.photo.layer)
    }

    fn layers(&self) -> Vec<String> {
        vec![self.photo.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let (here, photo) = self.photo.beside(scene)?;
        let [_, channels, height, width] = here.dims();
        let dot = sum_per_image(here.clone() * photo.clone());
        let loss = dot.clone() / (channels * height * width) as f32;
        if self.power == 0.0 {
            return Ok(loss.neg());
        }
        // Under the root the epsilon keeps the slope finite where a layer sees nothing.
        let norm = |x: Tensor<4>| (sum_per_image(x.square()) + 1e-12).sqrt();
        let cosine = dot / (norm(here) * norm(photo));
        Ok((loss * cosine.clamp_min(0.1).powf_scalar(self.power)).neg())
    }
}
