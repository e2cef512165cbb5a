//! What the methods share that optimise an image from coarse to fine.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::Axis;

use crate::losses::Losses;
use crate::model::{Model, UpdateRule};
use crate::optimizer::{History, Minimized, Optimizer};
use crate::progress::{Progress, Watcher};
use crate::transforms::Transform;
use crate::{Error, Result};

/// A run of several stages, and what follows it.
pub(super) struct Staged<'a> {
    watcher: Option<Watcher<'a>>,
    /// The steps of the stages before this one.
    before: usize,
    /// The steps of all stages.
    of: usize,
}

impl<'a> Staged<'a> {
    pub(super) fn new(watcher: Option<Watcher<'a>>, of: usize) -> Self {
        Self { watcher, before: 0, of }
    }

    fn report(&mut self, stage: Progress) -> ControlFlow<()> {
        let of = self.of;
        let now = Progress { done: self.before + stage.done, of, ..stage };
        self.watcher.as_mut().map_or(ControlFlow::Continue(()), |watcher| watcher(&now))
    }
}

/// One stage: minimises the losses from an image on, as the model sees it in a frame; breaks when the run is to end with it.
pub(super) fn descend(
    model: &dyn Model,
    losses: Losses,
    start: Tensor<4>,
    steps: usize,
    by: UpdateRule,
    frame: impl Transform + 'static,
    watched: &mut Staged<'_>,
) -> Result<ControlFlow<Minimized, Minimized>> {
    let (low, high) = model.input().range();
    let level = f64::from(high - low) / 255.0;
    let mut optimizer = Optimizer::new(model, losses).seed_img(start).max_iter(steps);
    optimizer.moved_by(by);
    let optimizer = optimizer.learning_rate(match by {
        UpdateRule::Lbfgs => 1.0,
        UpdateRule::RmsProp => level,
        UpdateRule::Adam | UpdateRule::Nadam => 4.0 * level,
    });
    run(optimizer.transform(frame), watched)
}

/// All steps of an optimizer, or those up to where it was told to end.
pub(super) fn run(
    optimizer: Optimizer<'_>,
    watched: &mut Staged<'_>,
) -> Result<ControlFlow<Minimized, Minimized>> {
    let mut steps = optimizer.steps()?;
    let (mut count, mut verdict) = (0, ControlFlow::Continue(()));
    while verdict.is_continue() {
        let Some(step) = steps.next() else { break };
        count += 1;
        verdict = watched.report(step?.progress());
    }
    watched.before += count;
    let found = steps.finish()?;
    Ok(if verdict.is_break() { ControlFlow::Break(found) } else { ControlFlow::Continue(found) })
}

/// What was found, whether or not the run was ended early.
pub(super) fn found(verdict: ControlFlow<Minimized, Minimized>) -> Minimized {
    match verdict {
        ControlFlow::Continue(found) | ControlFlow::Break(found) => found,
    }
}

/// What a stage found, with the losses of the stages before it in front of its own.
pub(super) fn following(earlier: Option<&Minimized>, mut found: Minimized) -> Minimized {
    if let Some(earlier) = earlier {
        let steps = earlier.losses.values().outer_iter().chain(found.losses.values().outer_iter());
        let steps: Vec<_> = steps.collect();
        let losses = History::from_steps(found.losses.names().to_vec(), found.best_loss.len(), &steps);
        found.losses = losses;
        found.best_step.iter_mut().for_each(|step| *step += earlier.losses.steps());
    }
    found
}

/// Each size, from coarse to fine, with its number of steps: half as many as at the size before, but one at least.
/// Without steps the last size alone.
pub(super) fn with_steps(sizes: Vec<(usize, usize)>, steps: usize) -> Vec<((usize, usize), usize)> {
    if steps == 0 {
        return sizes.last().map(|&size| (size, 0)).into_iter().collect();
    }
    sizes.into_iter().enumerate().map(|(stage, size)| (size, (steps >> stage).max(1))).collect()
}

/// Sizes from coarse to fine with the shape of `height` × `width`: the longest side doubles from `from` pixels up
/// to the full size. Only the full size for a model that takes one size.
pub(super) fn sizes(model: &dyn Model, (height, width): (usize, usize), from: usize) -> Vec<(usize, usize)> {
    let longest = height.max(width);
    let mut sizes = vec![(height, width)];
    let Some(smallest) = model.input().smallest() else { return sizes };
    let mut side = longest;
    while side > from {
        // Halve, but for the first stage, which takes `from`.
        side = if side / 2 >= from { side / 2 } else { from };
        let size = scaled((height, width), side);
        if size.0.min(size.1) < smallest {
            break;
        }
        sizes.push(size);
    }
    sizes.reverse();
    sizes
}

/// The size of the same shape whose longest side is `longest`.
pub(super) fn scaled((height, width): (usize, usize), longest: usize) -> (usize, usize) {
    let factor = longest as f32 / height.max(width) as f32;
    let side = |side: usize| ((side as f32 * factor).round() as usize).max(1);
    (side(height), side(width))
}

/// An image at another size.
pub(super) fn resized(image: &Tensor<4>, (height, width): (usize, usize)) -> Tensor<4> {
    let [batch, _, from_height, from_width] = image.dims();
    if (from_height, from_width) == (height, width) {
        return image.clone();
    }
    let device = image.device();
    let images = crate::host::array4(image.clone().inner());
    let resized = images.axis_iter(Axis(0)).map(|image| {
        let image = crate::resample::resize_smoothly(image, height, width);
        crate::host::tensor4(image.view().insert_axis(Axis(0)), &device)
    });
    debug_assert!(batch > 0, "an image has a batch");
    Tensor::cat(resized.collect(), 0)
}

/// The height and width of one image, `[1, channels, height, width]`.
pub(super) fn size_of(what: &str, image: &Tensor<4>) -> Result<(usize, usize)> {
    match image.dims() {
        [1, _, height, width] if height > 0 && width > 0 => Ok((height, width)),
        got => {
            let expected = "[1, channels, height, width]".to_owned();
            Err(Error::Shape { what: what.to_owned(), expected, got: got.to_vec() })
        }
    }
}
