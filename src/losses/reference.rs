//! What a layer sees in a photo, computed once.

use burn::tensor::Tensor;

use super::Scene;
use crate::model::Model;
use crate::{Error, Result};

/// The activation of a layer for a photo, to compare other images with.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) layer: String,
    activation: Tensor<4>,
}

impl Reference {
    /// Runs the model on the photo up to the layer.
    pub(super) fn new<M: Model + ?Sized>(model: &M, photo: Tensor<4>, layer: String) -> Result<Self> {
        let photo = photo.inner();
        model.input().check_values(&photo)?;
        let activation = model.activation(photo, &layer)?;
        Ok(Self { layer, activation })
    }

    /// The layer's activation in the scene and the photo's, of the same shape.
    pub(super) fn beside(&self, scene: &Scene) -> Result<(Tensor<4>, Tensor<4>)> {
        let here = scene.layer(&self.layer)?;
        let (shape, photo) = (here.dims(), self.activation.dims());
        if shape[1..] != photo[1..] || (photo[0] != 1 && photo[0] != shape[0]) {
            return Err(Error::Shape {
                what: format!("the layer `{}`", self.layer),
                expected: format!("{photo:?}, as for the photo: the images must be of its size"),
                got: shape.to_vec(),
            });
        }
        Ok((here, self.activation.clone().expand(shape)))
    }
}

/// The sum over everything but the batch, `[batch]`.
pub(super) fn sum_per_image(x: Tensor<4>) -> Tensor<1> {
    let [batch, ..] = x.dims();
    x.sum_dims(&[1, 2, 3]).reshape([batch])
}
