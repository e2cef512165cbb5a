//! The score while pixels are removed, or shown, in the order of a map.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};

use super::check_map;
use super::correlation::descending;
use crate::Target;
use crate::attribution::{Baseline, checked_runs, refuse_non_finite};
use crate::model::Model;
use crate::progress::{Progress, SharedWatcher};
use crate::{Error, Result, host};

/// The score of the target while the pixels of an image are exchanged in the order of a map, highest first.
///
/// [Deletion](Self::deletion) goes from the image to the baseline, [insertion](Self::insertion) from the
/// baseline to the image. Pixels of equal rank go from the top left to the bottom right. Scores are the
/// target's: take a [probability](Target::as_probability) for areas between 0 and 1 as in the paper.
///
/// Costs one forward pass a step and image, 50 by default.
///
/// Both curves start or end at the same two pictures, the image and its blurred copy. So the area under
/// insertion *minus* that under deletion is 0 on average for a map drawn at random, whatever scattered pixels do
/// to the network, and it is the number to compare methods by. Deletion alone favours maps that are scattered
/// (a tenth of the pixels missing here and there ruins every texture, while a hole as large leaves the rest of
/// the object to be recognised): exchange [cells](Self::cell) as large as the network's stride against that. And it
/// says little of a photo that the object fills: what is left is still the object, and the class may even gain while
/// its rivals lose.
///
/// Source: Petsiuk, Das & Saenko 2018, arXiv 1806.07421, section 4.1 (which deletes to grey, and inserts into an
/// image blurred by 5 pixels, 224 pixels a step); cells: Samek et al. 2015, arXiv 1509.06321, section III; the
/// difference is the symmetric relevance gain of Blücher, Vielhaben & Strodthoff 2024, arXiv 2401.06654.
#[derive(Debug, Clone)]
#[doc(alias = "fidelity")]
pub struct PixelCurve {
    insert: bool,
    steps: usize,
    cell: usize,
    baseline: Baseline,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

impl PixelCurve {
    /// Removes the highest pixels first; what is removed becomes the image blurred by 10 pixels.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// assert_eq!(of(PixelCurve::deletion())?[0], Target::class(2).scores(&model, image.clone())?[0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn deletion() -> Self {
        Self {
            insert: false,
            steps: 50,
            cell: 1,
            baseline: Baseline::Blurred(10.0),
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Shows the highest pixels first, starting from the image blurred by 10 pixels.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// // It starts where deletion ends.
    /// let (shown, removed) = (of(PixelCurve::insertion())?, of(PixelCurve::deletion())?);
    /// assert!((shown[0] - removed[50]).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn insertion() -> Self {
        Self { insert: true, ..Self::deletion() }
    }

    /// Sets the number of steps, 1 or more; the curve has one point more: see [`Curve::scores`].
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// assert_eq!(of(PixelCurve::deletion().steps(7))?.len(), 8);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Exchanges pixels in square cells of this side, ranked by the mean of the map over each; 1 is single pixels.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// // One cell of the whole image goes with the last step.
    /// let curve = of(PixelCurve::deletion().cell(8).steps(1))?;
    /// assert_eq!(curve, of(PixelCurve::deletion().steps(1))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn cell(mut self, side: usize) -> Self {
        self.cell = side;
        self
    }

    /// Sets what a removed pixel is replaced by.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// // Over the image itself nothing changes.
    /// let curve = of(PixelCurve::deletion().baseline(Baseline::Image(image.clone())))?;
    /// assert!(curve.iter().all(|score| (score - curve[0]).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Sets how many steps run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// # let of = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
    /// #     Ok(curve.evaluate(&model, image.clone(), map.clone(), &Target::class(2))?[0].scores().to_vec())
    /// # };
    /// let (one, many) = (of(PixelCurve::deletion().batch_size(1))?, of(PixelCurve::deletion())?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch_size(mut self, steps: usize) -> Self {
        self.batch_size = steps;
        self
    }

    /// Calls `progress` after each batch of steps, counted over all images. When it returns [`ControlFlow::Break`], each curve is
    /// that of the steps run so far: its first part, alike for all images.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Attribution, RandomMap}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = RandomMap::default().attribute(&model, image.clone(), &Target::class(2))?;
    /// let begun = PixelCurve::deletion().batch_size(10).progress(|_| ControlFlow::Break(()));
    /// let curves = begun.evaluate(&model, image, map, &Target::class(2))?;
    /// assert_eq!(curves[0].scores().len(), 10); // of 51
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// The curve of each image of a batch, for a map `[batch, 1, height, width]` of the images' size.
    ///
    /// Bring a map with colour channels to one by [`magnitude`](crate::attribution::magnitude) or
    /// [`channel_sum`](crate::attribution::channel_sum).
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Occlusion}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let target = Target::class(2);
    /// let map = Occlusion::new([2, 2]).attribute(&model, image.clone(), &target)?;
    /// let area = |curve: PixelCurve| -> vis::Result<f32> {
    ///     Ok(curve.evaluate(&model, image.clone(), map.clone(), &target)?[0].area())
    /// };
    /// // Shown in the order of what they add, pixels raise the score sooner than removed in that order.
    /// assert!(area(PixelCurve::insertion())? > area(PixelCurve::deletion())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a map of another shape, [`Error::InvalidParameter`] for no steps, and those of
    /// [`Target::scores`].
    pub fn evaluate(
        &self,
        model: &dyn Model,
        images: Tensor<4>,
        maps: Tensor<4>,
        target: &Target,
    ) -> Result<Vec<Curve>> {
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        check_map(&maps, [batch, 1, height, width])?;
        checked_runs("the steps", 1, self.steps)?;
        if self.cell == 0 || self.batch_size == 0 {
            return Err(Error::invalid("the cell and the batch size", "1 or more", 0));
        }
        let target = target.resolved(model, &images)?;
        let baseline = self.baseline.of(model, &images)?;
        let (from, to) = if self.insert { (baseline, images) } else { (images, baseline) };
        let device = from.device();
        let count = height * width;
        let maps = host::values(maps);
        let steps: Vec<usize> = (0..=self.steps).collect();

        let order =
            |map: &[f32]| in_cells(&descending(&cell_means(map, width, self.cell)), width, height, self.cell);
        let orders: Vec<Vec<usize>> = maps.chunks(count).map(order).collect();

        let mut curves = vec![Curve { scores: Vec::new() }; batch];
        let mut done = 0;
        for some in steps.chunks(self.batch_size) {
            for (index, (curve, order)) in curves.iter_mut().zip(&orders).enumerate() {
                let (from, to) = (from.clone().narrow(0, index, 1), to.clone().narrow(0, index, 1));
                let mut mask = vec![0.0_f32; some.len() * count];
                for (mask, step) in mask.chunks_mut(count).zip(some) {
                    order[..step * count / self.steps].iter().for_each(|place| mask[*place] = 1.0);
                }
                let mask = TensorData::new(mask, [some.len(), 1, height, width]);
                let mask = Tensor::<4>::from_data(mask, &device);
                let mixed = from * (mask.clone().neg() + 1.0) + to * mask;
                let scores = target.repeated(index, some.len()).goal()?.scores(model, mixed)?;
                refuse_non_finite(&scores, &target, index)?;
                curve.scores.extend(scores);
            }
            done += batch * some.len();
            if self.progress.report("steps", done, batch * steps.len()).is_break() {
                break;
            }
        }
        Ok(curves)
    }
}

/// The scores of an image while its pixels are exchanged in equal steps, the first before any and the last
/// after all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    scores: Vec<f32>,
}

impl Curve {
    /// The scores, one more than there were steps.
    ///
    /// ```
    /// use vis::{Target, attribution::{RandomMap, Attribution}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let target = Target::class(2);
    /// let map = RandomMap::default().attribute(&model, image.clone(), &target)?;
    /// let curve = PixelCurve::deletion().steps(4).evaluate(&model, image.clone(), map, &target)?.remove(0);
    /// assert_eq!((curve.scores().len(), curve.scores()[0]), (5, target.scores(&model, image)?[0]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The area under the curve, over a width of 1, by the trapezoid rule:
    /// `(Σ s − (first + last)/2) / steps`.
    ///
    /// ```
    /// use vis::{Target, attribution::{RandomMap, Attribution}};
    /// use vis::metrics::PixelCurve;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let target = Target::class(2);
    /// let map = RandomMap::default().attribute(&model, image.clone(), &target)?;
    /// let curve = PixelCurve::deletion().steps(2).evaluate(&model, image, map, &target)?.remove(0);
    /// let [first, middle, last] = curve.scores() else { unreachable!() };
    /// assert!((curve.area() - (first / 4.0 + middle / 2.0 + last / 4.0)).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "AUC")]
    pub fn area(&self) -> f32 {
        let ends = self.scores.first().zip(self.scores.last()).map_or(0.0, |(first, last)| first + last);
        (self.scores.iter().sum::<f32>() - ends / 2.0) / (self.scores.len() - 1).max(1) as f32
    }
}

/// The mean of a map over each square cell, row by row; those at the right and bottom may be cut off.
fn cell_means(map: &[f32], width: usize, side: usize) -> Vec<f32> {
    let columns = width.div_ceil(side);
    let rows = (map.len() / width).div_ceil(side);
    let (mut sums, mut counts) = (vec![0.0_f32; rows * columns], vec![0.0_f32; rows * columns]);
    for (place, value) in map.iter().enumerate() {
        let cell = place / width / side * columns + place % width / side;
        sums[cell] += value;
        counts[cell] += 1.0;
    }
    sums.iter().zip(counts).map(|(sum, count)| sum / count).collect()
}

/// The pixels of cells in the order of the cells.
fn in_cells(cells: &[usize], width: usize, height: usize, side: usize) -> Vec<usize> {
    let columns = width.div_ceil(side);
    let mut pixels = Vec::with_capacity(width * height);
    for cell in cells {
        let (top, left) = (cell / columns * side, cell % columns * side);
        for row in top..(top + side).min(height) {
            pixels.extend((left..(left + side).min(width)).map(|column| row * width + column));
        }
    }
    pixels
}
