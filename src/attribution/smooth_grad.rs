//! The mean of a method's maps over noisy copies of the image.

use burn::tensor::{Tensor, TensorData};

use super::progress::Progress;
use super::{Attribution, Target, checked_batch_size};
use crate::model::Model;
use crate::{Error, Result, random};

/// Any method's map averaged over noisy copies of the image, which takes the fine-grained noise out of
/// gradients:
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
/// use vis::attribution::{Attribution, Saliency, SmoothGrad, Target};
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
    progress: Progress,
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
    pub fn new(method: A) -> Self {
        Self {
            method,
            samples: 25,
            noise: 0.15,
            seed: 0,
            statistic: Statistic::Mean,
            batch_size: 8,
            progress: Progress::default(),
        }
    }

    /// Sets the number of copies, the noiseless one included; 1 or more.
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Sets the standard deviation of the noise as a fraction of each image's range.
    #[doc(alias = "sigma")]
    pub fn noise(mut self, fraction: f32) -> Self {
        self.noise = fraction;
        self
    }

    /// Sets the seed of the noise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what is taken over the copies.
    pub fn statistic(mut self, statistic: Statistic) -> Self {
        self.statistic = statistic;
        self
    }

    /// Takes the mean of the squared maps.
    pub fn squared(self) -> Self {
        self.statistic(Statistic::Squared)
    }

    /// Takes the variance of the maps.
    #[doc(alias = "VarGrad")]
    pub fn variance(self) -> Self {
        self.statistic(Statistic::Variance)
    }

    /// Sets how many copies the method is given at once: bounds memory, changes no result.
    pub fn batch_size(mut self, copies: usize) -> Self {
        self.batch_size = copies;
        self
    }

    /// Tells `progress(done, total)` of the copies run.
    pub fn progress(mut self, progress: impl FnMut(usize, usize) + Send + 'static) -> Self {
        self.progress = Progress::new(progress);
        self
    }

    /// Hands each map of a method to `take`; a copy whose gradient vanished has none.
    fn maps(
        &self,
        model: &dyn Model,
        copies: Tensor<4>,
        target: &Target,
        take: &mut dyn FnMut(Option<Tensor<4>>),
    ) -> Result<Option<Error>> {
        let [count, ..] = copies.dims();
        match self.method.attribute(model, copies.clone(), &target.repeated(0, count)) {
            Ok(maps) => {
                take(Some(maps));
                Ok(None)
            }
            // Noise can switch a unit off: such a copy counts as a map of zeros, and only the rest is run again.
            Err(error @ Error::ZeroGradient { .. }) if count == 1 => {
                take(None);
                Ok(Some(error))
            }
            Err(Error::ZeroGradient { .. }) => {
                let mut dead = None;
                for index in 0..count {
                    dead = self.maps(model, copies.clone().narrow(0, index, 1), target, take)?.or(dead);
                }
                Ok(dead)
            }
            Err(error) => Err(error),
        }
    }

    /// The statistic over the copies of one image `[1, channels, height, width]`.
    fn of_one(
        &self,
        model: &dyn Model,
        image: Tensor<4>,
        target: &Target,
        tell: &mut dyn FnMut(usize),
    ) -> Result<Tensor<4>> {
        // Deviations from the noiseless map are summed, not the maps: less is lost to rounding.
        let mut middle = None;
        let mut dead = self.maps(model, image.clone(), target, &mut |map| middle = map)?;
        tell(1);
        let mut sums: Option<(Tensor<4>, Tensor<4>)> = None;
        let mut without = usize::from(middle.is_none());

        let [_, channels, height, width] = image.dims();
        let range = image.clone().max() - image.clone().min();
        let deviation = (range * self.noise).reshape([1, 1, 1, 1]);
        let samples: Vec<u64> = (0..self.samples as u64 - 1).collect();
        for samples in samples.chunks(self.batch_size) {
            let values = samples.iter().flat_map(|sample| {
                random::normal(&mut random::stream(self.seed, *sample), channels * height * width)
            });
            let shape = [samples.len(), channels, height, width];
            let noise = Tensor::<4>::from_data(TensorData::new(values.collect(), shape), &image.device());
            let copies = image.clone() + noise * deviation.clone();
            let found = self.maps(model, copies, target, &mut |maps| match maps {
                None => without += 1,
                Some(maps) => {
                    let off = match &middle {
                        Some(middle) => maps - middle.clone(),
                        None => maps,
                    };
                    let (sum, squares) = (off.clone().sum_dim(0), off.square().sum_dim(0));
                    sums = Some(match sums.take() {
                        Some((a, b)) => (a + sum, b + squares),
                        None => (sum, squares),
                    });
                }
            })?;
            dead = found.or(dead.take());
            tell(samples.len());
        }

        let (middle, sum, squares) = match (middle, sums) {
            (Some(middle), Some((sum, squares))) => (middle, sum, squares),
            (Some(middle), None) => (middle.clone(), middle.zeros_like(), middle.zeros_like()),
            (None, Some((sum, squares))) => (sum.zeros_like(), sum, squares),
            (None, None) => {
                let error = dead.unwrap_or_else(|| Error::invalid("the samples", "1 or more", 0));
                return Err(error);
            }
        };
        // Copies without a map deviate by minus the middle.
        let (count, without) = (self.samples as f32, without as f32);
        let mean_off = (sum - middle.clone() * without) / count;
        let mean_square_off = (squares + middle.clone().square() * without) / count;
        Ok(match self.statistic {
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
        if self.samples == 0 {
            return Err(Error::invalid("the samples", "1 or more", 0));
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(Error::invalid("the noise", "a fraction of the range, 0 or more", self.noise));
        }
        let images = images.inner();
        let target = target.resolved(model, &images)?;
        let [batch, ..] = images.dims();
        let mut done = 0;
        let mut maps = Vec::with_capacity(batch);
        for index in 0..batch {
            let mut tell = |count: usize| {
                done += count;
                self.progress.report(done, batch * self.samples);
            };
            let image = images.clone().narrow(0, index, 1);
            maps.push(self.of_one(model, image, &target.repeated(index, 1), &mut tell)?);
        }
        Ok(Tensor::cat(maps, 0))
    }
}
