//! What is lost when a window of the image is hidden.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use rand::seq::SliceRandom;

use super::{Attribution, Baseline, checked_batch_size, refuse_non_finite};
use crate::model::Model;
use crate::progress::{Progress, SharedWatcher};
use crate::target::Target;
use crate::{Error, Result, random};

/// The drop of the score when a window slides over the image and hides what is under it:
///
#[cfg_attr(doc, doc = include_str!("../figures/occlusion.md"))]
///
/// ```text
/// M(p) = mean over the windows w that cover p of  S(x) − S(x with w replaced by the baseline)
/// ```
///
/// The map is `[batch, 1, height, width]`, signed, in units of score; a window hides all channels. The first
/// window lies in the top left corner, the others follow by the stride until the whole image is covered, and
/// the last ones may be cut off by the right and bottom border, as in Captum.
///
/// Costs one forward pass a window: `(⌈(H−h)/stride⌉ + 1)·(⌈(W−w)/stride⌉ + 1)`, 169 for windows of 32 by
/// steps of 16 at 224×224. It needs no gradient and so can't be fooled by one, but it sees only what
/// matters *alone*: an object that half-hidden is still recognised gets nothing.
///
/// ```
/// use vis::{Target, attribution::{Attribution, Occlusion}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let map = Occlusion::new([4, 4]).stride([2, 2]).attribute(&model, image, &Target::class(2))?;
/// assert_eq!(map.dims(), [1, 1, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Zeiler & Fergus 2013, arXiv 1311.2901, section 4.2.
#[derive(Debug, Clone)]
#[doc(alias = "sliding window")]
pub struct Occlusion {
    window: [usize; 2],
    stride: Option<[usize; 2]>,
    baseline: Baseline,
    batch_size: usize,
    progress: SharedWatcher<'static>,
}

impl Occlusion {
    /// A window of this height and width, moved by half of each, over black.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_eq!(map(&Occlusion::new([4, 2]))?, map(&Occlusion::new([4, 2]).stride([2, 1]))?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(window: [usize; 2]) -> Self {
        Self {
            window,
            stride: None,
            baseline: Baseline::Black,
            batch_size: 16,
            progress: SharedWatcher::default(),
        }
    }

    /// Sets the steps down and to the right, from 1 to the window's side.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // Windows side by side: every pixel of one has its drop.
    /// let map = map(&Occlusion::new([4, 4]).stride([4, 4]))?;
    /// assert!(map[..4].iter().all(|value| *value == map[0]) && map[4] != map[3]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.stride = Some(stride);
        self
    }

    /// Sets what the window shows.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Baseline, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// // Nothing is lost when the window shows what it hides.
    /// let same = Occlusion::new([4, 4]).baseline(Baseline::Image(image.clone()));
    /// assert!(map(&same)?.iter().all(|value| value.abs() < 1e-5));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// Sets how many windows run at once: bounds memory, changes no result.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let (one, many) = (map(&Occlusion::new([4, 4]).batch_size(1))?, map(&Occlusion::new([4, 4]).batch_size(9))?);
    /// assert!(one.iter().zip(&many).all(|(one, many)| (one - many).abs() < 1e-4));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "perturbations_per_eval")]
    pub fn batch_size(mut self, windows: usize) -> Self {
        self.batch_size = windows;
        self
    }

    /// Calls `progress` after each batch of windows; they are counted over all images. When it returns
    /// [`ControlFlow::Break`], the map is the mean over the windows run so far, and 0 where none has been.
    ///
    /// Windows are run in a shuffled order, always the same, so that a run that is ended early has looked
    /// everywhere a little.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{Target, attribution::{Attribution, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let occlusion = Occlusion::new([2, 2]).stride([2, 2]).batch_size(4);
    /// let ended = occlusion.progress(|_| ControlFlow::Break(()));
    /// let map = ended.attribute(&model, image, &Target::class(2))?.into_data().to_vec::<f32>().unwrap();
    /// // 4 of the 16 windows, of 4 pixels each.
    /// assert_eq!(map.iter().filter(|value| **value != 0.0).count(), 16);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn progress(mut self, progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = SharedWatcher::new(progress);
        self
    }

    /// Where windows start along one axis, and where they end.
    fn places(&self, axis: usize, side: usize) -> Result<Vec<(usize, usize)>> {
        let window = self.window[axis];
        let stride = self.stride.map_or((window / 2).max(1), |stride| stride[axis]);
        if !(1..=side).contains(&window) {
            return Err(Error::invalid("the window's side", format!("1 to {side}"), window));
        }
        if !(1..=window).contains(&stride) {
            return Err(Error::invalid("the stride", format!("1 to {window}, the window's side"), stride));
        }
        let count = (side - window).div_ceil(stride) + 1;
        Ok((0..count).map(|index| (index * stride, (index * stride + window).min(side))).collect())
    }
}

impl Attribution for Occlusion {
    fn name(&self) -> String {
        "occlusion".into()
    }

    /// # Errors
    ///
    /// As [`Attribution::attribute`], but that a map of zeros is no error, and [`Error::InvalidParameter`] for
    /// a window that does not fit the image or a stride that leaves gaps.
    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        let batch_size = checked_batch_size(self.batch_size)?;
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        let (rows, columns) = (self.places(0, height)?, self.places(1, width)?);
        let target = target.resolved(model, &images)?;
        let baseline = self.baseline.of(model, &images)?;
        let whole = target.goal()?.scores(model, images.clone())?;
        for (index, whole) in whole.iter().enumerate() {
            refuse_non_finite(&[*whole], &target, index)?;
        }
        let mut windows: Vec<_> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| (*row, *column))).collect();
        windows.shuffle(&mut random::stream(0, 0));
        let device = images.device();
        let mut done = 0;

        // What was lost where, and how often each pixel was hidden, which is the same for all images.
        let mut sums = vec![vec![0.0_f64; height * width]; batch];
        let mut counts = vec![0.0_f64; height * width];
        for some in windows.chunks(batch_size) {
            let mut mask = vec![0.0_f32; some.len() * height * width];
            for (mask, ((top, bottom), (left, right))) in mask.chunks_mut(height * width).zip(some) {
                for row in *top..*bottom {
                    mask[row * width + left..row * width + right].fill(1.0);
                    counts[row * width + left..row * width + right]
                        .iter_mut()
                        .for_each(|count| *count += 1.0);
                }
            }
            let mask = TensorData::new(mask, [some.len(), 1, height, width]);
            let mask = Tensor::<4>::from_data(mask, &device);
            for (index, sum) in sums.iter_mut().enumerate() {
                let image = images.clone().narrow(0, index, 1);
                let hidden = baseline.clone().narrow(0, index, 1);
                let occluded = image * (mask.clone().neg() + 1.0) + hidden * mask.clone();
                let scores = target.repeated(index, some.len()).goal()?.scores(model, occluded)?;
                refuse_non_finite(&scores, &target, index)?;
                for (score, ((top, bottom), (left, right))) in scores.iter().zip(some) {
                    let drop = f64::from(whole[index] - score);
                    for row in *top..*bottom {
                        sum[row * width + left..row * width + right].iter_mut().for_each(|sum| *sum += drop);
                    }
                }
            }
            done += some.len();
            if self.progress.report("windows", batch * done, batch * windows.len()).is_break() {
                break;
            }
        }
        let mean = |(sum, count): (&f64, &f64)| if *count > 0.0 { (sum / count) as f32 } else { 0.0 };
        let maps = sums.iter().flat_map(|sum| sum.iter().zip(&counts).map(mean)).collect();
        Ok(Tensor::from_data(TensorData::new(maps, [batch, 1, height, width]), &device))
    }
}
