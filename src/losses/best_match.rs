//! The loss that wants a layer to see things out of another photo.

use burn::tensor::{Int, Tensor};

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
/// The features of the guide are computed once. Costs a product of positions, positions of the guide, and channels:
/// shrink a large guide first. The products are never kept all at once, so memory is that of the features.
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
    /// ```
    /// use vis::{gradient::Gradient, losses::{ActivationMaximization, BestMatch}, Model, Target};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let guide = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let matched = BestMatch::new(&model, guide.clone(), "conv2")?.into();
    /// let energy = ActivationMaximization::from(Target::energy("conv2")).into();
    /// let value = |losses| Gradient::new(&model, losses).values(guide.clone()).map(|values| values.totals()[0]);
    /// // In the guide itself every position matches at least as well as with itself.
    /// assert!(value(&matched)? <= value(&energy)? + 1e-6);
    /// # Ok::<(), vis::Error>(())
    /// ```
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
        let guide = guide.inner();
        model.input().check_values(&guide)?;
        let features = model.activation(guide, &layer)?;
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
        // Which position of the guide is best is a constant of the gradient, which needs no place on the tape.
        let best = best_matches(&self.guide, &here.clone().inner(), MOST_AT_ONCE);
        let matched =
            self.guide.clone().select(0, best).reshape([batch, positions, channels]).swap_dims(1, 2);
        Ok((here * matched).mean_dims(&[1, 2]).reshape([batch]).neg())
    }
}

/// The most likenesses that are kept at once: 64 MB of them.
const MOST_AT_ONCE: usize = 1 << 24;

/// For each position of each image, `[batch, channels, positions]`, the position of the guide whose features resemble
/// its own most, `[batch · positions]`.
///
/// The matrix of all pairs can be larger than memory: this many of its numbers are computed at a time.
fn best_matches(guide: &Tensor<2>, here: &Tensor<3>, most_at_once: usize) -> Tensor<1, Int> {
    let [batch, _, positions] = here.dims();
    let part = (most_at_once / (batch * guide.dims()[0]).max(1)).max(1);
    let best = (0..positions).step_by(part).map(|start| {
        let some = here.clone().narrow(2, start, part.min(positions - start));
        guide.clone().unsqueeze::<3>().matmul(some).argmax(1)
    });
    Tensor::cat(best.collect(), 2).reshape([batch * positions])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::best_matches;

    #[test]
    fn a_part_at_a_time_gives_the_matches_of_the_whole_matrix() {
        let device = Device::default();
        let features = |rows, columns, seed| -> Tensor<2> {
            crate::random::noise([1, 1, rows, columns], (-1.0, 1.0), seed, 0, &device)
                .reshape([rows, columns])
        };
        let guide = features(11, 6, 1);
        let here = features(2 * 6, 29, 2).reshape([2, 6, 29]);
        let matches = |most| best_matches(&guide, &here, most).into_data().convert::<i64>();
        let whole = matches(usize::MAX);
        // 22 likenesses a position: 1, 2, 3, 28 and 29 positions at a time.
        for most in [0, 44, 66, 28 * 22, 29 * 22] {
            assert_eq!(matches(most), whole, "{most}");
        }
        // And they are the best.
        let (guide, here) = (crate::host::array2(guide), crate::host::values(here));
        for (index, found) in whole.as_slice::<i64>().unwrap().iter().enumerate() {
            let (image, position) = (index / 29, index % 29);
            let likeness = |row: usize| -> f32 {
                (0..6).map(|c| guide[[row, c]] * here[(image * 6 + c) * 29 + position]).sum()
            };
            assert!((0..11).all(|row| likeness(row) <= likeness(*found as usize) + 1e-6));
        }
    }
}
