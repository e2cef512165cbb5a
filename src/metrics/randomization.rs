//! Whether a map depends on what the network has learned.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::Array2;

use super::correlation::rank_correlation;
use crate::Target;
use crate::attribution::{Attribution, refuse_non_finite_maps};
use crate::model::Model;
use crate::progress::{Progress, SharedWatcher};
use crate::{Error, Result, host};

/// The randomisation check: a map that explains what a network has learned must change when the weights are
/// drawn anew. A method whose map stays as it was shows the image, not the network.
///
/// The randomised networks come one after another from the caller, layer by layer from the top
/// (*cascading*) or one layer at a time (*independent*); each map is compared with that of the trained network
/// by rank correlation. [`EfficientNetLite0::bundled_with_random_layers`] makes them:
///
/// ```no_run
/// use vis::{Target, attribution::{Cam, Formula}, metrics::RandomizationCheck, model::EfficientNetLite0, picture};
/// let device = Default::default();
/// let model = EfficientNetLite0::bundled(&device)?;
/// let photo = picture::to_input(&picture::load("images/photos/chelsea.png")?, &model)?;
/// let cascade = ["predictions", "head", "blocks.15"];
/// let mut stages = Vec::new();
/// for depth in 1..=cascade.len() {
///     let random = EfficientNetLite0::bundled_with_random_layers(&cascade[..depth], 0, &device)?;
///     stages.push((format!("down to {}", cascade[depth - 1]), random));
/// }
/// let cam = Cam::new(Formula::GradCam);
/// for row in RandomizationCheck::new(&cam).run(&model, photo, &Target::predicted(), stages)? {
///     println!("{}: {:.2}", row.stage, row.correlation);
/// }
/// # Ok::<(), vis::Error>(())
/// ```
///
/// ```
/// use vis::{Target, attribution::Saliency};
/// use vis::metrics::RandomizationCheck;
/// use vis::model::Tiny;
/// # use vis::Model;
/// # let model = Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// // Here the "randomised" network is the same again: nothing changes.
/// let stages = [("none", Tiny::new(&Default::default()))];
/// let rows = RandomizationCheck::new(&Saliency::new()).run(&model, image, &Target::class(2), stages)?;
/// assert!(rows[0].correlation > 0.999);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// [`EfficientNetLite0::bundled_with_random_layers`]: crate::model::EfficientNetLite0::bundled_with_random_layers
///
/// Source: Adebayo et al. 2018, *Sanity Checks for Saliency Maps*, arXiv 1810.03292, section 3.
#[derive(Debug, Clone)]
#[doc(alias = "sanity check")]
pub struct RandomizationCheck<'a> {
    method: &'a dyn Attribution,
    progress: SharedWatcher<'a>,
}

/// How a map compares with that of the trained network, at one stage of the randomisation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RandomizationRow {
    /// The stage, as the caller named it.
    pub stage: String,
    /// Spearman's rank correlation of the signed maps, the mean over the images; 0 where a map is flat.
    pub correlation: f32,
    /// The same for the magnitudes, in which the paper found the most likeness.
    pub correlation_of_magnitudes: f32,
}

impl<'a> RandomizationCheck<'a> {
    /// Checks this method.
    ///
    /// ```
    /// use vis::{Target, attribution::Saliency};
    /// use vis::metrics::RandomizationCheck;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let method = Saliency::new();
    /// let none: [(&str, vis::model::Tiny); 0] = [];
    /// assert!(RandomizationCheck::new(&method).run(&model, image, &Target::class(2), none)?.is_empty());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(method: &'a dyn Attribution) -> Self {
        Self { method, progress: SharedWatcher::default() }
    }

    /// Calls `progress` after each stage of randomization. When it returns [`ControlFlow::Break`], the rows so far are the
    /// result.
    ///
    /// The number of stages in all is what the iterator over them gives as its size.
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// Compares the maps of each randomised network with those of the trained one.
    ///
    /// Stages are asked for one at a time, so an iterator that draws weights as it goes holds one network in
    /// memory.
    ///
    /// ```
    /// use vis::{Target, attribution::RandomMap};
    /// use vis::metrics::RandomizationCheck;
    /// use vis::model::Tiny;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// // A map that never saw the network fails the check, whatever is drawn anew.
    /// let stages = [("all", Tiny::new(&model.device()))];
    /// let rows = RandomizationCheck::new(&RandomMap::default()).run(&model, image, &Target::class(2), stages)?;
    /// assert_eq!((rows[0].stage.as_str(), rows[0].correlation), ("all", 1.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the method, but that a randomised network whose gradient is zero everywhere has a flat map.
    pub fn run<S: Into<String>, M: Model>(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        target: &Target,
        stages: impl IntoIterator<Item = (S, M)>,
    ) -> Result<Vec<RandomizationRow>> {
        // What the trained network predicts stays the target.
        let target = target.resolved(model, &images)?;
        let trained = self.method.attribute(model, images.clone(), &target)?;
        refuse_non_finite_maps("the map of image", &trained)?;
        let mut rows = Vec::new();
        let stages = stages.into_iter();
        let of = stages.size_hint().0;
        for (stage, randomized) in stages {
            let map = match self.method.attribute(&randomized, images.clone(), &target) {
                Err(Error::ZeroGradient { .. }) => trained.zeros_like(),
                map => map?,
            };
            refuse_non_finite_maps("the map of image", &map)?;
            let stage = stage.into();
            rows.push(RandomizationRow {
                stage: stage.clone(),
                correlation: mean_correlation(trained.clone(), map.clone()),
                correlation_of_magnitudes: mean_correlation(trained.clone().abs(), map.abs()),
            });
            if self.progress.report(stage, rows.len(), of.max(rows.len())).is_break() {
                break;
            }
        }
        Ok(rows)
    }
}

fn mean_correlation(one: Tensor<4>, other: Tensor<4>) -> f32 {
    let [batch, channels, height, width] = one.dims();
    let rows =
        |map: Tensor<4>| -> Array2<f32> { host::array2(map.reshape([batch, channels * height * width])) };
    let (one, other) = (rows(one), rows(other));
    let pairs = one.rows().into_iter().zip(other.rows());
    pairs.map(|(a, b)| rank_correlation(&a.to_vec(), &b.to_vec())).sum::<f32>() / batch as f32
}
