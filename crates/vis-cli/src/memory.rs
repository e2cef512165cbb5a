//! Refuses images that would not fit in memory, before the system ends the program without a word.

use crate::failure::{Failure, Outcome};
use crate::limits;
use crate::network::Opened;

/// What a network is to be run on.
pub(crate) struct Run<'a> {
    /// `an image`, `a painting`, …
    pub(crate) what: &'a str,
    pub(crate) size: (usize, usize),
    /// The layers that are read, by name; all of them if there are none here.
    pub(crate) layers: &'a [String],
    pub(crate) pass: Pass,
    /// What to do if it does not fit.
    pub(crate) advice: &'a str,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Forward: an activation is gone once the next is there, but for those that are read.
    Forward,
    /// Forward and backward: each activation is kept as it enters and as it leaves its rectifier.
    Backward,
}

/// Refuses a run forward and backward on an image of this height and width up to a layer, if it takes more memory
/// than is free.
pub(crate) fn check(opened: &Opened, deepest: &str, size: (usize, usize)) -> Outcome {
    let layers = &[deepest.to_owned()];
    let advice = "take a smaller --size";
    check_run(opened, &Run { what: "an image", size, layers, pass: Pass::Backward, advice })
}

/// Refuses a run that takes more memory than is free.
///
/// Where the system does not say how much is free, and on GPUs, which have their own, nothing is refused.
pub(crate) fn check_run(opened: &Opened, run: &Run<'_>) -> Outcome {
    let Some(free) = limits::free().filter(|_| ["cpu", "flex", "ndarray"].contains(&opened.device.as_str()))
    else {
        return Ok(());
    };
    let layers = opened.model.layers()?;
    let depth_of = |name: &String| layers.iter().position(|layer| layer.name == *name);
    // A name that is none is refused elsewhere.
    let deepest = run.layers.iter().filter_map(depth_of).max();
    let depth = deepest.map_or(layers.len(), |last| last + 1);
    let values: usize = layers[..depth].iter().map(|layer| layer.shape.iter().product::<usize>()).sum();
    let ((height, width), (own_height, own_width)) = (run.size, opened.model.input().size());
    let area = height as f64 * width as f64 / (own_height * own_width).max(1) as f64;
    // Forward, the layers that are read and two at work come to about half of all.
    let kept = if run.pass == Pass::Backward { 2.0 } else { 1.0 };
    let needed = kept * 4.0 * values as f64 * area;
    if needed < free {
        return Ok(());
    }
    let gigabytes = |bytes: f64| bytes / 1e9;
    Err(Failure::new(format!(
        "{} of {height} × {width} takes about {:.1} GB of memory and {:.1} GB are free: {}",
        run.what,
        gigabytes(needed),
        gigabytes(free),
        run.advice,
    )))
}
