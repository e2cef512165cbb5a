//! The mean of random masks, weighted by what the network says under each.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use ndarray::ArrayView3;
use rand::Rng;

use super::{Attribution, Baseline, checked_batch_size, checked_runs, refuse_non_finite};
use crate::model::Model;
use crate::progress::{Progress, SharedWatcher};
use crate::resample::{self, Weights};
use crate::target::Target;
use crate::{Error, Result, random};

/// Randomised input sampling: the mean of random smooth masks, weighted by the score of the image under each.
///
#[cfg_attr(doc, doc = include_str!("../figures/rise.md"))]
///
/// ```text
/// M = 1/(p·n) Σ_i S(x ∘ m_i) · m_i
/// ```
///
/// A mask is a grid of cells, each open with probability `p`, enlarged bilinearly and shifted by a random
/// part of a cell. The map is `[batch, 1, height, width]`. Costs `n` forward passes, 4000 by default in
/// batches of 16. The same seed gives the same masks, for every image.
///
/// The map is an average: it has the level of the mean score everywhere, and only its *differences* say
/// something, after thousands of masks. Take [`Target::probability`], as the paper does: the level of a
/// logit would drown them.
///
/// ```
/// use vis::{Target, attribution::{Attribution, Rise}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let rise = Rise::new().masks(64).cells(4).seed(3);
/// let map = rise.attribute(&model, image, &Target::probability(2))?;
/// assert_eq!(map.dims(), [1, 1, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Petsiuk, Das & Saenko 2018, arXiv 1806.07421, section 3; masks as in the authors' code.
#[derive(Debug, Clone)]
pub struct Rise {
    masks: usize,
    cells: usize,
    open: f32,
    seed: u64,
    baseline: Baseline,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

impl Rise {
    /// 4000 masks of 7×7 cells, half of them open, over black, seed 0.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let rise = || Rise::new().masks(20);
    /// assert_eq!(map(&rise())?, map(&rise().cells(7).open(0.5).seed(0))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self {
            masks: 4000,
            cells: 7,
            open: 0.5,
            seed: 0,
            baseline: Baseline::Black,
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the number of masks.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(map(&Rise::new().masks(10))?, map(&Rise::new().masks(20))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn masks(mut self, masks: usize) -> Self {
        self.masks = masks;
        self
    }

    /// Sets the number of cells along each side of a mask.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // One cell: masks are open or closed as a whole, and the map is flat.
    /// let map = map(&Rise::new().masks(20).cells(1))?;
    /// assert!(map.iter().all(|value| (value - map[0]).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }

    /// Sets the probability that a cell is open, above 0 and up to 1.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // With every cell open nothing is hidden: the score everywhere.
    /// let score = Target::class(2).scores(&model, image.clone())?[0];
    /// let map = map(&Rise::new().masks(20).open(1.0))?;
    /// assert!(map.iter().all(|value| (value - score).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn open(mut self, probability: f32) -> Self {
        self.open = probability;
        self
    }

    /// Sets the seed of the masks.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let rise = || Rise::new().masks(20).cells(4);
    /// assert_eq!(map(&rise().seed(1))?, map(&rise().seed(1))?);
    /// assert_ne!(map(&rise().seed(1))?, map(&rise().seed(2))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what shows where a mask is closed.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let rise = || Rise::new().masks(20).cells(4);
    /// assert_ne!(map(&rise().baseline(Baseline::Mean))?, map(&rise())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Sets how many masks run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let rise = || Rise::new().masks(20).cells(4);
    /// let (one, many) = (map(&rise().batch_size(1))?, map(&rise().batch_size(20))?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn batch_size(mut self, masks: usize) -> Self {
        self.batch_size = masks;
        self
    }

    /// Calls `progress` after each batch of masks, counted over all images. When it returns
    /// [`ControlFlow::Break`], the map is that of the masks run so far: of a `Rise` with as many
    /// [masks](Self::masks).
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Attribution, Rise}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let target = Target::probability(2);
    /// let rise = |masks| Rise::new().masks(masks).cells(4).batch_size(8);
    /// let enough = |now: &vis::Progress| if now.done >= 24 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    /// let ended = rise(4000).progress(enough).attribute(&model, image.clone(), &target)?;
    /// let of_24 = rise(24).attribute(&model, image, &target)?;
    /// assert_eq!(ended.into_data().to_vec::<f32>().unwrap(), of_24.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// One mask, from its own substream.
    fn mask(&self, index: usize, height: usize, width: usize) -> Vec<f32> {
        let mut stream = random::stream(self.seed, index as u64);
        let cells = self.cells;
        let grid: Vec<f32> =
            (0..cells * cells).map(|_| f32::from(u8::from(stream.random::<f32>() < self.open))).collect();
        // The grid is enlarged to one cell more than the image, and a window of the image's size cut out.
        let (cell_height, cell_width) = (height.div_ceil(cells), width.div_ceil(cells));
        let (down, right) = (stream.random_range(0..cell_height), stream.random_range(0..cell_width));
        let along = |cell: usize, shift: usize, side: usize| {
            let ratio = cells as f32 / ((cells + 1) * cell) as f32;
            Weights::at(cells, side, |pixel| ((pixel + shift) as f32 + 0.5) * ratio - 0.5)
        };
        let grid = ArrayView3::from_shape((1, cells, cells), &grid).expect("a square of cells");
        let mask = resample::array(grid, &along(cell_height, down, height), &along(cell_width, right, width));
        mask.into_raw_vec_and_offset().0
    }
}

impl Default for Rise {
    fn default() -> Self {
        Self::new()
    }
}

impl Attribution for Rise {
    fn name(&self) -> String {
        "RISE".into()
    }

    /// # Errors
    ///
    /// As [`Attribution::attribute`], but that a map of zeros is no error, and [`Error::InvalidParameter`] for
    /// no masks, no cells or more cells than pixels, and a probability that is not above 0 and up to 1.
    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        let batch_size = checked_batch_size(self.batch_size)?;
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        checked_runs("the masks", 1, self.masks)?;
        let most = height.min(width);
        if !(1..=most).contains(&self.cells) {
            return Err(Error::invalid("the cells of a mask", format!("1 to {most} a side"), self.cells));
        }
        if !(self.open > 0.0 && self.open <= 1.0) {
            return Err(Error::invalid("the share of open cells", "above 0 and up to 1", self.open));
        }
        let target = target.resolved(model, &images)?;
        let baseline = self.baseline.of(model, &images)?;
        let device = images.device();
        let mut sums = vec![vec![0.0_f64; height * width]; batch];
        let indices: Vec<usize> = (0..self.masks).collect();
        let mut done = 0;
        for some in indices.chunks(batch_size) {
            let masks: Vec<Vec<f32>> = some.iter().map(|index| self.mask(*index, height, width)).collect();
            let tensor = TensorData::new(masks.concat(), [some.len(), 1, height, width]);
            let tensor = Tensor::<4>::from_data(tensor, &device);
            for (index, sum) in sums.iter_mut().enumerate() {
                let hidden = baseline.clone().narrow(0, index, 1);
                let way = images.clone().narrow(0, index, 1) - hidden.clone();
                let goal = target.repeated(index, some.len()).goal()?;
                let scores = goal.scores(model, hidden + way * tensor.clone())?;
                refuse_non_finite(&scores, &target, index)?;
                for (score, mask) in scores.iter().zip(&masks) {
                    sum.iter_mut().zip(mask).for_each(|(sum, open)| *sum += f64::from(score * open));
                }
            }
            done += some.len();
            if self.progress.report("masks", batch * done, batch * self.masks).is_break() {
                break;
            }
        }
        let scale = 1.0 / (f64::from(self.open) * done as f64);
        let values: Vec<f32> = sums.into_iter().flatten().map(|sum| (sum * scale) as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, [batch, 1, height, width]), &device))
    }
}
