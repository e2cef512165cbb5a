//! Whether sums of a map follow the score.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};

use super::check_map;
use super::correlation::pearson;
use crate::Target;
use crate::attribution::{Baseline, checked_batch_size, checked_runs, refuse_non_finite};
use crate::model::Model;
use crate::progress::{Progress, SharedWatcher};
use crate::{Error, Result, host, random};

/// How faithful a map is to the drops of the score: Pearson's correlation, over random sets of pixels,
/// between the sum of the map over the set and the drop of the score when the set is replaced by the baseline.
///
/// From −1 to 1, one for each image of the batch. Costs one forward pass a set and image, 200 by default. For
/// maps whose values are shares of the score; of a map without that meaning only the order counts, and
/// [`PixelCurve`](super::PixelCurve) asks for that.
///
/// ```
/// use vis::{Target, attribution::{Attribution, Saliency, channel_sum}, metrics::MuFidelity};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let shares = Saliency::new().times_input().attribute(&model, image.clone(), &Target::class(2))?;
/// let fidelity = MuFidelity::new().sets(40).evaluate(&model, image, channel_sum(shares), &Target::class(2))?;
/// assert!((-1.0..=1.0).contains(&fidelity[0]));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Bhatt, Weller & Moura 2020, arXiv 2005.00631, section 4.
#[derive(Debug, Clone)]
pub struct MuFidelity {
    sets: usize,
    share: f32,
    seed: u64,
    baseline: Baseline,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

impl MuFidelity {
    /// 200 sets of a tenth of the pixels, over black, seed 0.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// assert_eq!(of(MuFidelity::new())?, of(MuFidelity::new().sets(200).share(0.1).baseline(Baseline::Black))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            sets: 200,
            share: 0.1,
            seed: 0,
            baseline: Baseline::Black,
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the number of sets, 2 or more.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// assert_ne!(of(MuFidelity::new().sets(5))?, of(MuFidelity::new().sets(10))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn sets(mut self, sets: usize) -> Self {
        self.sets = sets;
        self
    }

    /// Sets the share of the pixels that a set has, above 0 and up to 1; at least one pixel is taken.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// // All pixels: every set is the same, and nothing can be told.
    /// assert_eq!(of(MuFidelity::new().share(1.0).sets(5))?, 0.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn share(mut self, share: f32) -> Self {
        self.share = share;
        self
    }

    /// Sets the seed of the sets.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// assert_eq!(of(MuFidelity::new().seed(1))?, of(MuFidelity::new().seed(1))?);
    /// assert_ne!(of(MuFidelity::new().seed(1))?, of(MuFidelity::new().seed(2))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what the pixels of a set are replaced by.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// assert_ne!(of(MuFidelity::new().baseline(Baseline::Mean))?, of(MuFidelity::new())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Sets how many sets run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// let (one, many) = (of(MuFidelity::new().batch_size(1))?, of(MuFidelity::new())?);
    /// assert!((one - many).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch_size(mut self, sets: usize) -> Self {
        self.batch_size = sets;
        self
    }

    /// Calls `progress` after each batch of sets, counted over all images. When it returns [`ControlFlow::Break`], the fidelity is that of the sets run so far, 0 for fewer
    /// than two.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// let enough = |now: &vis::Progress| if now.done >= 32 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    /// assert_eq!(of(MuFidelity::new().progress(enough))?, of(MuFidelity::new().sets(32))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// The fidelity of the map of each image, `[batch, 1, height, width]` of the images' size.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a map of another shape, [`Error::InvalidParameter`] for fewer than two sets or a
    /// share out of range, and those of [`Target::scores`].
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::MuFidelity;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |mu: MuFidelity| mu.evaluate(&model, image.clone(), map.clone(), &Target::class(2)).map(|of| of[0]);
    /// // The opposite map is as unfaithful as this one is faithful.
    /// let opposite = MuFidelity::new().evaluate(&model, image.clone(), map.clone().neg(), &Target::class(2))?[0];
    /// assert!((of(MuFidelity::new())? + opposite).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn evaluate(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        maps: Tensor<4>,
        target: &Target,
    ) -> Result<Vec<f32>> {
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        let count = height * width;
        check_map(&maps, [batch, 1, height, width])?;
        checked_runs("the sets", 2, self.sets)?;
        checked_batch_size(self.batch_size)?;
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(Error::invalid("the share of the pixels", "above 0 and up to 1", self.share));
        }
        let pixels = ((self.share * count as f32) as usize).clamp(1, count);
        let target = target.resolved(model, &images)?;
        let baseline = self.baseline.of(model, &images)?;
        let whole = target.scores(model, images.clone())?;
        let maps = host::values(maps);
        let drawn = |set: &u64| {
            rand::seq::index::sample(&mut random::stream(self.seed, *set), count, pixels).into_vec()
        };

        let mut sums = vec![Vec::new(); batch];
        let mut drops = vec![Vec::new(); batch];
        let mut done = 0;
        let sets: Vec<u64> = (0..self.sets as u64).collect();
        for sets in sets.chunks(self.batch_size) {
            let sets: Vec<Vec<usize>> = sets.iter().map(drawn).collect();
            let mut mask = vec![0.0_f32; sets.len() * count];
            for (mask, places) in mask.chunks_mut(count).zip(&sets) {
                places.iter().for_each(|place| mask[*place] = 1.0);
            }
            let mask = TensorData::new(mask, [sets.len(), 1, height, width]);
            let mask = Tensor::<4>::from_data(mask, &images.device());
            for (index, map) in maps.chunks(count).enumerate() {
                let of_map =
                    |places: &Vec<usize>| places.iter().map(|place| f64::from(map[*place])).sum::<f64>();
                sums[index].extend(sets.iter().map(of_map));
                let image = images.clone().narrow(0, index, 1);
                let way = baseline.clone().narrow(0, index, 1) - image.clone();
                let goal = target.repeated(index, sets.len()).goal()?;
                let scores = goal.scores(model, image + way * mask.clone())?;
                refuse_non_finite(&scores, &target, index)?;
                drops[index].extend(scores.into_iter().map(|score| f64::from(whole[index] - score)));
            }
            done += batch * sets.len();
            if self.progress.report("sets of pixels", done, batch * self.sets).is_break() {
                break;
            }
        }
        Ok(sums.iter().zip(&drops).map(|(sums, drops)| pearson(sums, drops) as f32).collect())
    }
}

impl Default for MuFidelity {
    fn default() -> Self {
        Self::new()
    }
}
