//! The loss that wants a layer to see what it sees in a photo.

use burn::tensor::Tensor;

use super::reference::{Reference, sum_per_image};
use super::{Loss, Scene};
use crate::Result;
use crate::model::Model;

/// The loss that wants a layer to see what it sees in a photo, the relative squared distance of the features:
///
/// ```text
/// L(x) = Σ (A(x) − A(photo))² / Σ A(photo)²
/// ```
///
/// 0 for the photo itself, 1 for an image in which the layer sees nothing at all, whatever the layer, the
/// network and the size of the image. (Gatys et al. take `½ Σ (A(x) − A(photo))²`: this times
/// `½ Σ A(photo)²`.) It is the whole of [inversion](crate::visualization::invert) and the content half of
/// [style transfer](crate::visualization::style_transfer).
///
/// The features of the photo are computed once; images must be of its size.
///
/// ```
/// use vis::{gradient::Gradient, losses::Content, Model};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let losses = Content::new(&model, photo.clone(), "conv2")?.into();
/// assert_eq!(Gradient::new(&model, &losses).values(photo)?.totals(), [0.0]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Mahendran & Vedaldi 2015, arXiv 1412.0035, equation 2; Gatys, Ecker & Bethge 2016.
#[derive(Debug, Clone)]
#[doc(alias = "ActivationMatch")]
pub struct Content {
    photo: Reference,
}

impl Content {
    /// Wants the layer to see what it sees in this photo, `[1, channels, height, width]`, or in one photo for
    /// each image of the batch.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::Content, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let photos = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = Content::new(&model, photos.clone(), "conv2")?.into();
    /// let values = |images| Ok::<_, vis::Error>(Gradient::new(&model, &losses).values(images)?.totals());
    /// assert_eq!(values(photos.clone())?, [0.0, 0.0]); // each image has a photo of its own
    /// assert!(values(photos.flip([0]))?.iter().all(|loss| *loss > 0.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`](crate::Error::UnknownLayer), and [`Error::Shape`](crate::Error::Shape) for a
    /// photo that the model can't take.
    pub fn new<M: Model + ?Sized>(model: &M, photo: Tensor<4>, layer: impl Into<String>) -> Result<Self> {
        Ok(Self { photo: Reference::new(model, photo, layer.into())? })
    }
}

impl Loss for Content {
    fn name(&self) -> String {
        format!("content at {}", self.photo.layer)
    }

    fn layers(&self) -> Vec<String> {
        vec![self.photo.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let (here, photo) = self.photo.beside(scene)?;
        // A photo in which the layer sees nothing is compared absolutely.
        let scale = sum_per_image(photo.clone().square());
        let scale = scale.clone().mask_fill(scale.lower_equal_elem(0.0), 1.0);
        Ok(sum_per_image((here - photo).square()) / scale)
    }
}
