//! The mean of a method's maps over noisy copies of the image.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};

use super::{Attribution, checked_batch_size, checked_runs, refuse_non_finite_maps};
use crate::model::{Model, passes::Compared};
use crate::progress::{Progress, SharedWatcher};
use crate::target::Target;
use crate::{Error, Result, random};

/// Any method's map averaged over noisy copies of the image, which takes the fine-grained noise out of
/// gradients:
///
#[cfg_attr(doc, doc = include_str!("../figures/smooth_grad.md"))]
///
/// ```text
/// mean:      M = 1/n Σ_i A(x + ε_i)
/// squared:   M = 1/n Σ_i A(x + ε_i)²
/// variance:  M = 1/n Σ_i A(x + ε_i)² − ( 1/n Σ_i A(x + ε_i) )²
/// ```
///
/// where `A` is the method and `ε_i` normal noise with a standard deviation of [`noise`](Self::noise) times
/// the image's own range (largest minus smallest value), 0.15 by default. The last of the `n` copies has no
/// noise, so one sample equals the method itself. The map has the shape of the method's; squared and
/// variance maps lose the sign.
///
/// Costs `n` times the method, 25 by default. The same seed gives the same map, however many copies run at
/// once and whatever else is in the batch.
///
/// ```
/// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let smooth = SmoothGrad::new(Saliency::new()).samples(10).seed(7);
/// let map = smooth.attribute(&model, image, &Target::class(2))?;
/// assert_eq!(map.dims(), [1, 3, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Sources: Smilkov et al. 2017, arXiv 1706.03825, section 3 (10% to 20% of the range, 50 samples); Hooker
/// et al. 2019, arXiv 1806.10758 (squared); Adebayo et al. 2018, arXiv 1810.03292 (variance, "VarGrad").
#[derive(Debug)]
pub struct SmoothGrad<A> {
    method: A,
    samples: usize,
    noise: f32,
    seed: u64,
    statistic: Statistic,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

/// What is taken over the noisy copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Statistic {
    /// The mean of the maps: SmoothGrad.
    #[default]
    Mean,
    /// The mean of the squared maps: SmoothGrad squared.
    Squared,
    /// The variance of the maps: VarGrad.
    Variance,
}

impl<A: Attribution> SmoothGrad<A> {
    /// The mean of 25 samples of a method, 0.15 of the range of noise, seed 0, 8 at once.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let method = || SmoothGrad::new(Saliency::new());
    /// assert_eq!(map(&method())?, map(&method().samples(25).noise(0.15).seed(0))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(method: A) -> Self {
        Self {
            method,
            samples: 25,
            noise: 0.15,
            seed: 0,
            statistic: Statistic::Mean,
            batch_size: 8,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the number of copies, the noiseless one included; 1 or more.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&SmoothGrad::new(Saliency::new()).samples(1))?, map(&Saliency::new())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Sets the standard deviation of the noise as a fraction of each image's range.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // Without noise all copies are the image.
    /// let silent = SmoothGrad::new(Saliency::new()).noise(0.0).samples(5);
    /// let off = |(a, b): (f32, f32)| (a - b).abs();
    /// assert!(map(&silent)?.into_iter().zip(map(&Saliency::new())?).map(off).all(|off| off < 1e-6));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "sigma")]
    pub fn noise(mut self, fraction: f32) -> Self {
        self.noise = fraction;
        self
    }

    /// Sets the seed of the noise.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let smooth = || SmoothGrad::new(Saliency::new()).samples(5);
    /// assert_eq!(map(&smooth().seed(1))?, map(&smooth().seed(1))?);
    /// assert_ne!(map(&smooth().seed(1))?, map(&smooth().seed(2))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what is taken over the copies.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad, Statistic}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let smooth = || SmoothGrad::new(Saliency::new()).samples(5);
    /// assert_eq!(map(&smooth().statistic(Statistic::Squared))?, map(&smooth().statistic(Statistic::Squared))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn statistic(mut self, statistic: Statistic) -> Self {
        self.statistic = statistic;
        self
    }

    /// Sets how many copies the method is given at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let smooth = || SmoothGrad::new(Saliency::new()).samples(5);
    /// let (one, many) = (map(&smooth().batch_size(1))?, map(&smooth().batch_size(4))?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch_size(mut self, copies: usize) -> Self {
        self.batch_size = copies;
        self
    }

    /// Calls `progress` after each batch of copies, counted over all images. When it returns
    /// [`ControlFlow::Break`], the map is that of the copies run so far: of as many [samples](Self::samples).
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Attribution, Saliency, SmoothGrad}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// // The copy without noise comes first.
    /// let ended = SmoothGrad::new(Saliency::new()).progress(|_| ControlFlow::Break(()));
    /// let ended = ended.attribute(&model, image.clone(), &Target::class(2))?;
    /// let gradient = Saliency::new().attribute(&model, image, &Target::class(2))?;
    /// assert_eq!(ended.into_data().to_vec::<f32>().unwrap(), gradient.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.watched(SharedWatcher::new(progress))
    }

    /// The same with a watcher that others share.
    pub(crate) fn watched(mut self, progress: SharedWatcher<'static>) -> Self {
        self.progress = progress;
        self
    }

    /// Adds the method's maps of some copies of one image to its sums.
    fn add(&self, model: &dyn Model, copies: Tensor<4>, target: &Target, sums: &mut Sums) -> Result<()> {
        let [count, ..] = copies.dims();
        match self.method.attribute(model, copies.clone(), &target.repeated(0, count)) {
            Ok(maps) => {
                sums.add(maps);
                Ok(())
            }
            // Noise can switch a unit off: such a copy counts as a map of zeros, and only the rest is run again.
            Err(Error::ZeroGradient { hint, .. }) if count == 1 => {
                sums.add_nothing(hint);
                Ok(())
            }
            Err(Error::ZeroGradient { .. }) => (0..count)
                .try_for_each(|index| self.add(model, copies.clone().narrow(0, index, 1), target, sums)),
            Err(error) => Err(error),
        }
    }

    /// A method's error about one of the copies, as one about the image that was copied.
    fn at(&self, index: usize, target: &Target, error: Error) -> Error {
        match error {
            Error::NonFinite { step, best, .. } => {
                let what = format!("{} of {}", self.method.name(), describe(target, index));
                Error::NonFinite { what, step, best }
            }
            error => error,
        }
    }

    /// Some noisy copies of one image `[1, channels, height, width]`.
    fn copies(&self, image: &Tensor<4>, samples: &[u64]) -> Tensor<4> {
        let [_, channels, height, width] = image.dims();
        let range = image.clone().max() - image.clone().min();
        let deviation = (range * self.noise).reshape([1, 1, 1, 1]);
        let values = samples.iter().flat_map(|sample| {
            random::normal(&mut random::stream(self.seed, *sample), channels * height * width)
        });
        let shape = [samples.len(), channels, height, width];
        let noise = Tensor::<4>::from_data(TensorData::new(values.collect(), shape), &image.device());
        image.clone() + noise * deviation
    }
}

/// What is summed over the copies of one image.
#[derive(Default)]
struct Sums {
    /// The map of the copy without noise, which comes first. Deviations from it are summed, not the maps: less is
    /// lost to rounding.
    middle: Option<Tensor<4>>,
    off: Option<Tensor<4>>,
    squares: Option<Tensor<4>>,
    count: usize,
    /// The copies that count as maps of zeros, and why.
    without: usize,
    hint: String,
}

impl Sums {
    fn add(&mut self, maps: Tensor<4>) {
        let [copies, ..] = maps.dims();
        let first = self.count == 0;
        self.count += copies;
        if first {
            self.middle = Some(maps);
            return;
        }
        let off = match &self.middle {
            Some(middle) => maps - middle.clone(),
            None => maps,
        };
        let plus = |sum: Option<Tensor<4>>, more: Tensor<4>| Some(sum.map_or(more.clone(), |sum| sum + more));
        self.off = plus(self.off.take(), off.clone().sum_dim(0));
        self.squares = plus(self.squares.take(), off.square().sum_dim(0));
    }

    fn add_nothing(&mut self, hint: String) {
        self.count += 1;
        self.without += 1;
        self.hint = hint;
    }

    /// The statistic over the copies added; none when no copy had a map.
    fn read(self, statistic: Statistic) -> Option<Tensor<4>> {
        let zeros = self.middle.as_ref().or(self.off.as_ref())?.zeros_like();
        let middle = self.middle.unwrap_or_else(|| zeros.clone());
        let (off, squares) = (self.off.unwrap_or_else(|| zeros.clone()), self.squares.unwrap_or(zeros));
        // Copies without a map deviate by minus the middle.
        let (count, without) = (self.count as f32, self.without as f32);
        let mean_off = (off - middle.clone() * without) / count;
        let mean_square_off = (squares + middle.clone().square() * without) / count;
        Some(match statistic {
            Statistic::Mean => middle + mean_off,
            Statistic::Squared => middle.clone().square() + middle * mean_off * 2.0 + mean_square_off,
            Statistic::Variance => (mean_square_off - mean_off.square()).clamp_min(0.0),
        })
    }
}

impl<A: Attribution> Attribution for SmoothGrad<A> {
    fn name(&self) -> String {
        let method = self.method.name();
        match self.statistic {
            Statistic::Mean => format!("SmoothGrad of {method}"),
            Statistic::Squared => format!("squared SmoothGrad of {method}"),
            Statistic::Variance => format!("VarGrad of {method}"),
        }
    }

    /// # Errors
    ///
    /// Those of the method, and [`Error::InvalidParameter`] for no samples or a negative noise. A noisy copy
    /// whose gradient is zero everywhere counts as a map of zeros; it is an error only if all are.
    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        checked_batch_size(self.batch_size)?;
        checked_runs("the samples", 1, self.samples)?;
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(Error::invalid("the noise", "a fraction of the range, 0 or more", self.noise));
        }
        let images = images.inner();
        let target = target.resolved(model, &images)?;
        let [batch, ..] = images.dims();
        let mut sums: Vec<Sums> = (0..batch).map(|_| Sums::default()).collect();
        // The copy without noise, then the noisy ones; each time of all images, so that a run that is ended early
        // has as many of each.
        let noisy: Vec<u64> = (0..self.samples as u64 - 1).collect();
        let mut done = 0;
        let mut model = model;
        let compared = Compared(model);
        for samples in [[].as_slice()].into_iter().chain(noisy.chunks(self.batch_size)) {
            for (index, sums) in sums.iter_mut().enumerate() {
                let image = images.clone().narrow(0, index, 1);
                let copies = if samples.is_empty() { image } else { self.copies(&image, samples) };
                let added = self.add(model, copies, &target.repeated(index, 1), sums);
                added.map_err(|error| self.at(index, &target, error))?;
                model = &compared;
            }
            done += samples.len().max(1);
            if self.progress.report("samples", batch * done, batch * self.samples).is_break() {
                break;
            }
        }
        let mut maps = Vec::with_capacity(batch);
        for (index, sums) in sums.into_iter().enumerate() {
            let hint = sums.hint.clone();
            let dead = || Error::ZeroGradient { what: describe(&target, index), hint };
            maps.push(sums.read(self.statistic).ok_or_else(dead)?);
        }
        let maps = Tensor::cat(maps, 0);
        refuse_non_finite_maps("the map of image", &maps)?;
        Ok(maps)
    }
}

/// What is wanted of an image, and which image that is.
fn describe(target: &Target, index: usize) -> String {
    format!("{} for image {index}", target.describe(index))
}
