//! The score of what a map points at.

use burn::tensor::Tensor;

use super::check_map;
use crate::Result;
use crate::Target;
use crate::attribution::{Baseline, refuse_non_finite};
use crate::model::Model;

/// How the scores of images change when only what their maps point at is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AverageDrop {
    /// The mean over the images of `max(0, S(x) − S(shown)) / |S(x)|`, as a share from 0.
    pub drop: f32,
    /// The share of the images whose score rises.
    pub increase: f32,
}

/// Average drop and increase: the scores of images multiplied by their rectified maps, each brought to a
/// largest value of 1, against the scores of the whole images.
///
/// ```text
/// shown = b + (x − b) · max(M, 0) / max M        drop = mean max(0, S(x) − S(shown)) / |S(x)|
/// ```
///
/// `b` is the baseline. An image whose score is 0 has no share to lose: its drop is 0. A map `[batch, 1, height, width]`
/// without a positive value shows nothing. Take [`Target::probability`], as the paper does. Costs two forward passes.
///
/// It rewards maps that show a lot: a map of ones has no drop.
///
/// ```
/// use vis::{Target, attribution::Baseline, metrics::average_drop};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let everything = burn::tensor::Tensor::ones([1, 1, 8, 8], &model.device());
/// let found = average_drop(&model, image, everything, &Target::probability(2), &Baseline::Black)?;
/// assert_eq!((found.drop, found.increase), (0.0, 0.0));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) for a map of another shape, [`Error::NonFinite`](crate::Error::NonFinite) for a score that is NaN or infinite, and those of
/// [`Target::scores`].
///
/// Source: Chattopadhyay et al. 2017, arXiv 1710.11063, section 4.1.
pub fn average_drop(
    model: &dyn Model,
    images: Tensor<4>,
    maps: Tensor<4>,
    target: &Target,
    baseline: &Baseline,
) -> Result<AverageDrop> {
    let images = images.inner();
    let [batch, _, height, width] = images.dims();
    check_map(&maps, [batch, 1, height, width])?;
    let target = target.resolved(model, &images)?;
    let baseline = baseline.of(model, &images)?;
    let positive = maps.inner().clamp_min(0.0);
    let largest = positive.clone().max_dims(&[2, 3]).clamp_min(f32::MIN_POSITIVE);
    let shown = baseline.clone() + (images.clone() - baseline) * (positive / largest);
    let (whole, shown) = (target.scores(model, images)?, target.scores(model, shown)?);
    for (index, (whole, shown)) in whole.iter().zip(&shown).enumerate() {
        refuse_non_finite(&[*whole, *shown], &target, index)?;
    }
    let pairs = || whole.iter().zip(&shown);
    let share = |(whole, shown): (&f32, &f32)| match whole - shown {
        lost if lost > 0.0 && *whole != 0.0 => lost / whole.abs(),
        _ => 0.0,
    };
    Ok(AverageDrop {
        drop: pairs().map(share).sum::<f32>() / batch as f32,
        increase: pairs().filter(|(whole, shown)| shown > whole).count() as f32 / batch as f32,
    })
}
