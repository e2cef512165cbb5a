//! The gradient summed along the way from a baseline to the image.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};

use super::saliency::score_gradient;
use super::{
    Attribution, Baseline, Blank, DEAD, checked_batch_size, checked_runs, refuse_empty, refuse_non_finite,
    refuse_non_finite_maps,
};
use crate::model::{Model, passes::Compared};
use crate::progress::{Progress, SharedWatcher};
use crate::target::Target;
use crate::{Error, Result, Rule};

/// The mean gradient on the straight line from a baseline `b` to the image `x`, times their difference:
///
#[cfg_attr(doc, doc = include_str!("../figures/integrated_gradients.md"))]
///
/// ```text
/// M = (x − b) · 1/n Σ_k ∂S/∂x ( b + t_k (x − b) )        midpoints: t_k = (k + ½)/n
/// ```
///
/// The map is `[batch, channels, height, width]`, signed, in units of score. Unlike a single gradient it is
/// *complete*: summed over all pixels it equals `S(x) − S(b)`, up to the error of replacing the integral by a
/// sum, which [`evaluate`](Self::evaluate) returns with the map. With several baselines the maps are averaged.
///
/// Costs `n` forward and backward passes a baseline, 64 by default, of which a batch runs
/// [at once](Self::batch_size).
///
/// It misleads where the baseline does: what has the baseline's colour gets nothing. The line from black to
/// the image passes through dim pictures that the network was never trained on.
///
/// ```
/// use vis::{Target, attribution::IntegratedGradients};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let found = IntegratedGradients::new().evaluate(&model, image, &Target::class(2))?;
/// let share = found.residual[0] / found.difference[0];
/// assert!(share.abs() < 0.01, "the sum is off by {share} of the difference");
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Sundararajan, Taly & Yan 2017, arXiv 1703.01365, sections 3 and 5.
#[derive(Debug, Clone)]
pub struct IntegratedGradients {
    steps: usize,
    quadrature: Quadrature,
    baselines: Vec<Baseline>,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

/// How the integral over the line is replaced by a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quadrature {
    /// `n` intervals, each by its middle. The error shrinks with 1/n², and neither end is visited.
    #[default]
    Midpoint,
    /// `n` points with both ends among them, the ends at half weight.
    Trapezoid,
    /// `n` intervals, each by its start (the baseline's side).
    Left,
    /// `n` intervals, each by its end (the image's side), as in the paper.
    Right,
}

/// A map of integrated gradients and how far its sum is from what it should be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Integrated {
    /// The signed map, `[batch, channels, height, width]`.
    pub map: Tensor<4>,
    /// The score of each image minus that of its baseline (the mean over several baselines).
    pub difference: Vec<f32>,
    /// The sum of each map minus the difference: 0 but for the error of the sum.
    #[doc(alias = "convergence delta")]
    pub residual: Vec<f32>,
}

impl Integrated {
    /// Why the map of each image says nothing, if it does not: an image that is its own baseline has a map of zeros.
    ///
    /// ```
    /// use vis::{Target, attribution::{Blank, IntegratedGradients}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let black = model.input().zeros(&model.device());
    /// let found = IntegratedGradients::new().evaluate(&model, black, &Target::class(2))?;
    /// assert_eq!(found.blank(), [Some(Blank::Zero)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn blank(&self) -> Vec<Option<Blank>> {
        // Its signs are shares of the score, of which one may be less than nothing.
        let blank = Blank::of_each(&self.map).into_iter();
        blank.map(|blank| blank.filter(|blank| *blank != Blank::Negative)).collect()
    }
}

impl IntegratedGradients {
    /// From black, 64 steps, midpoint rule, 16 at once.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, IntegratedGradients, Quadrature}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let method = || IntegratedGradients::new();
    /// assert_eq!(map(&method())?, map(&method().steps(64).quadrature(Quadrature::Midpoint).baseline(Baseline::Black))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            steps: 64,
            quadrature: Quadrature::Midpoint,
            baselines: vec![Baseline::Black],
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the number of points on the line, 1 or more (2 for the trapezoid rule).
    ///
    /// ```
    /// use vis::{Target, attribution::IntegratedGradients};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let residual = |steps| -> vis::Result<f32> {
    ///     let method = IntegratedGradients::new().steps(steps);
    ///     Ok(method.evaluate(&model, image.clone(), &Target::class(2))?.residual[0].abs())
    /// };
    /// assert!(residual(256)? < residual(2)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "n_steps")]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the rule by which the integral becomes a sum.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, IntegratedGradients, Quadrature, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// // By the end of one interval alone, from black, it is gradient times input.
    /// let method = IntegratedGradients::new().quadrature(Quadrature::Right).steps(1);
    /// let map = method.attribute(&model, image.clone(), &Target::class(2))?;
    /// let product = Saliency::new().times_input().attribute(&model, image, &Target::class(2))?;
    /// let off = (map - product).abs().max().into_data().to_vec::<f32>().unwrap()[0];
    /// assert!(off < 1e-5, "{off}");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn quadrature(mut self, quadrature: Quadrature) -> Self {
        self.quadrature = quadrature;
        self
    }

    /// Sets the baseline.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, IntegratedGradients}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // From the image itself there is no way to go.
    /// let method = IntegratedGradients::new().baseline(Baseline::Image(image.clone()));
    /// assert!(map(&method)?.iter().all(|value| *value == 0.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(self, baseline: Baseline) -> Self {
        self.baselines([baseline])
    }

    /// Averages over several baselines, such as black and white, or photos (expected gradients, Erion et al.
    /// 2019, arXiv 1906.10670).
    ///
    /// ```
    /// use vis::{Target, attribution::{Baseline, IntegratedGradients}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let ends = [Baseline::Black, Baseline::Value(255.0)];
    /// let found = IntegratedGradients::new().baselines(ends).evaluate(&model, image.clone(), &Target::class(2))?;
    /// // The score above the mean of the scores of black and white.
    /// let score = |image| Target::class(2).scores(&model, image).map(|scores| scores[0]);
    /// let (black, white) = (score(image.zeros_like())?, score(image.full_like(255.0))?);
    /// let expected = score(image)? - (black + white) / 2.0;
    /// assert!((found.difference[0] - expected).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baselines(mut self, baselines: impl IntoIterator<Item = Baseline>) -> Self {
        self.baselines = baselines.into_iter().collect();
        self
    }

    /// Sets how many points run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, IntegratedGradients}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let (one, many) = (map(&IntegratedGradients::new().batch_size(1))?, map(&IntegratedGradients::new())?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "internal_batch_size")]
    pub fn batch_size(mut self, points: usize) -> Self {
        self.batch_size = points;
        self
    }

    /// Calls `progress` after each batch of points, counted over all images and baselines. When it returns
    /// [`ControlFlow::Break`], the map is the mean over the points run so far, by their weights, and the
    /// [residual](Integrated::residual) says what that costs.
    ///
    /// Points are run in an order that goes over the whole line again and again, so that a run that is ended early
    /// has points everywhere on it.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::IntegratedGradients};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let method = IntegratedGradients::new().steps(1000).progress(|now| match now.done {
    ///     ..32 => ControlFlow::Continue(()),
    ///     _ => ControlFlow::Break(()),
    /// });
    /// let found = method.evaluate(&model, image, &Target::class(2))?;
    /// assert!((found.residual[0] / found.difference[0]).abs() < 0.1);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// The map with its completeness residual.
    ///
    /// ```
    /// use vis::{Target, attribution::IntegratedGradients};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let found = IntegratedGradients::new().evaluate(&model, image, &Target::class(2))?;
    /// let sum = found.map.sum().into_data().to_vec::<f32>().unwrap()[0];
    /// assert!((sum - found.difference[0] - found.residual[0]).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Attribution::attribute`], and [`Error::InvalidParameter`] for no steps or no baselines. An image
    /// equal to its baseline has a map of zeros, which is no error.
    pub fn evaluate(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Integrated> {
        let batch_size = checked_batch_size(self.batch_size)?;
        let points = self.points()?;
        if self.baselines.is_empty() {
            return Err(Error::invalid("the baselines", "at least one", "none"));
        }
        let images = images.inner();
        let [batch, ..] = images.dims();
        let target = target.resolved(model, &images)?;
        let refuse = |scores: &[f32]| {
            let mut scores = scores.iter().enumerate();
            scores.try_for_each(|(image, score)| refuse_non_finite(&[*score], &target, image))
        };
        let scores = target.goal()?.scores(model, images.clone())?;
        refuse(&scores)?;
        let share = 1.0 / self.baselines.len() as f32;
        let total = batch * self.baselines.len() * points.len();

        let mut baseline_scores = vec![0.0_f32; batch];
        let mut lines = Vec::with_capacity(batch * self.baselines.len());
        for baseline in &self.baselines {
            let baseline = baseline.of(model, &images)?;
            let scores = target.goal()?.scores(model, baseline.clone())?;
            refuse(&scores)?;
            baseline_scores.iter_mut().zip(scores).for_each(|(mean, score)| *mean += score * share);
            lines.extend((0..batch).map(|image| {
                let from = baseline.clone().narrow(0, image, 1);
                let way = images.clone().narrow(0, image, 1) - from.clone();
                Line { image, from, sum: way.zeros_like(), way }
            }));
        }

        let (mut done, mut weight) = (0, 0.0_f64);
        let mut model = model;
        let compared = Compared(model);
        for points in points.chunks(batch_size) {
            for line in &mut lines {
                line.add(model, points, &target)?;
                model = &compared;
            }
            done += points.len() * lines.len();
            weight += points.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
            if self.progress.report("points", done, total).is_break() {
                break;
            }
        }
        // All the weights sum to 1, but for their rounding.
        let weight = if done == total { 1.0 } else { weight as f32 };

        let mut maps = vec![None; batch];
        for line in lines {
            let image = line.image;
            let map = line.map(weight, &target)? * share;
            maps[image] = Some(maps[image].take().map_or(map.clone(), |sum: Tensor<4>| sum + map));
        }
        let map = Tensor::cat(maps.into_iter().flatten().collect(), 0);
        refuse_non_finite_maps("the map of image", &map)?;
        let difference: Vec<f32> = scores.iter().zip(&baseline_scores).map(|(to, from)| to - from).collect();
        let sums = crate::host::values(map.clone().sum_dims(&[1, 2, 3]));
        let residual = sums.iter().zip(&difference).map(|(sum, difference)| sum - difference).collect();
        Ok(Integrated { map, difference, residual })
    }

    /// The places on the line with their weights, which sum to 1; the first of them are spread over all of it.
    fn points(&self) -> Result<Vec<(f32, f32)>> {
        let least = if self.quadrature == Quadrature::Trapezoid { 2 } else { 1 };
        checked_runs("the steps", least, self.steps)?;
        let count = self.steps as f64;
        let point = |step: usize| {
            let k = step as f64;
            let (place, weight) = match self.quadrature {
                Quadrature::Midpoint => ((k + 0.5) / count, 1.0 / count),
                Quadrature::Left => (k / count, 1.0 / count),
                Quadrature::Right => ((k + 1.0) / count, 1.0 / count),
                Quadrature::Trapezoid => {
                    let end = step == 0 || step + 1 == self.steps;
                    (k / (count - 1.0), if end { 0.5 } else { 1.0 } / (count - 1.0))
                }
            };
            (place as f32, weight as f32)
        };
        // The multiples of the golden ratio, modulo 1, that lie below any bound come at almost equal distances.
        let key = |step: &usize| (*step as f64 * 0.618_033_988_749_894_9).fract();
        let mut steps: Vec<usize> = (0..self.steps).collect();
        steps.sort_by(|a, b| key(a).total_cmp(&key(b)));
        Ok(steps.into_iter().map(point).collect())
    }
}

/// The line from a baseline to one image, and the sum of the gradients on it.
struct Line {
    image: usize,
    from: Tensor<4>,
    way: Tensor<4>,
    sum: Tensor<4>,
}

impl Line {
    /// Adds the gradients at some points by their weights.
    fn add(&mut self, model: &dyn Model, points: &[(f32, f32)], target: &Target) -> Result<()> {
        let column = |values: Vec<f32>| {
            let shape = [values.len(), 1, 1, 1];
            Tensor::<4>::from_data(TensorData::new(values, shape), &self.way.device())
        };
        let (places, weights) = points.iter().copied().unzip();
        let at = self.from.clone() + self.way.clone() * column(places);
        let target = target.repeated(self.image, points.len());
        let gradient = score_gradient(model, at, &target, Rule::Plain)?.gradient;
        self.sum = self.sum.clone() + (gradient * column(weights)).sum_dim(0);
        Ok(())
    }

    /// The map, from gradients whose weights add up to `weight`.
    fn map(self, weight: f32, target: &Target) -> Result<Tensor<4>> {
        // An image equal to its baseline needs no gradient.
        if crate::host::values(self.way.clone().abs().max())[0] > 0.0 {
            refuse_empty(&self.sum, &target.repeated(self.image, 1), self.image, |_| DEAD.into())?;
        }
        Ok(self.sum * self.way / weight)
    }
}

impl Default for IntegratedGradients {
    fn default() -> Self {
        Self::new()
    }
}

impl Attribution for IntegratedGradients {
    fn name(&self) -> String {
        "integrated gradients".into()
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        Ok(self.evaluate(model, images, target)?.map)
    }
}
