//! The loss that wants a layer to see things out of another photo.

use burn::tensor::Tensor;

use super::{Loss, Scene};
use crate::model::Model;
use crate::{Error, Result};

/// The loss that wants a layer to see things that it sees in a guide, wherever they fit best:
///
/// ```text
/// L(x) = − mean_p max_q A_p(x) · A_q(guide) / C
/// ```
///
/// where `A_p` are the `C` features at position `p` of the layer. Each position is drawn to the position of the
/// guide that it resembles most already, so the guide lends its parts, not its layout, and may be of any size.
/// This is the objective of a guided [dream](crate::visualization::deep_dream).
///
/// The features of the guide are computed once. Costs a matrix of positions times positions of the guide: shrink
/// a large guide first.
///
/// ```
/// use vis::{gradient::Gradient, losses::BestMatch, Model};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let [photo, guide] =
///     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
/// let losses = BestMatch::new(&model, guide, "conv2")?.into();
/// assert!(Gradient::new(&model, &losses).values(photo)?.totals()[0] < 0.0);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: `google/deepdream`, `objective_guide`.
#[derive(Debug, Clone)]
#[doc(alias = "objective_guide")]
pub struct BestMatch {
    layer: String,
    /// `[positions of the guide, channels]`.
    guide: Tensor<2>,
}

impl BestMatch {
    /// Wants the layer to see things out of this guide, `[1, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], and [`Error::Shape`] for more than one guide or one that the model can't take.
    pub fn new<M: Model + ?Sized>(model: &M, guide: Tensor<4>, layer: impl Into<String>) -> Result<Self> {
        if guide.dims()[0] != 1 {
            let expected = "[1, channels, height, width]".into();
            return Err(Error::Shape { what: "the guide".into(), expected, got: guide.dims().to_vec() });
        }
        let layer = layer.into();
        let features = model.activation(guide.inner(), &layer)?;
        let [_, channels, height, width] = features.dims();
        let guide = features.reshape([channels, height * width]).transpose();
        Ok(Self { layer, guide })
    }
}

impl Loss for BestMatch {
    fn name(&self) -> String {
        format!("match with the guide at {}", self.layer)
    }

    fn layers(&self) -> Vec<String> {
        vec![self.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let here = scene.layer(&self.layer)?;
        let [batch, channels, height, width] = here.dims();
        let positions = height * width;
        let here = here.reshape([batch, channels, positions]);
        // Which position of the guide is best is a constant of the gradient: the matrix of all pairs needs no
        // place on the tape.
        let likeness = self.guide.clone().unsqueeze::<3>().matmul(here.clone().inner());
        let best = likeness.argmax(1).reshape([batch * positions]);
        let matched =
            self.guide.clone().select(0, best).reshape([batch, positions, channels]).swap_dims(1, 2);
        Ok((here * matched).mean_dims(&[1, 2]).reshape([batch]).neg())
    }
}
