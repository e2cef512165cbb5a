//! Every attribution method on one photo, and how good its map is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use image::RgbImage;
use serde_json::{Value, json};

use super::super::number;
use super::{Report, embedded};
use crate::attribution::{
    Attribution, Baseline, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, RandomMap, Rise,
    Saliency, SmoothGrad, Sobel, magnitude,
};
use crate::metrics::PixelCurve;
use crate::picture::{self, ColorMap, Sign};
use crate::{Error, Progress, Result, Target, host};

/// The steps of deletion and insertion.
const STEPS: usize = 28;
/// The cells that the shorter side is cut into for them.
const CELLS: usize = 14;

/// A method of the report.
struct Method {
    name: String,
    method: Box<dyn Attribution>,
    /// Whether its map is ranked by its size and not by its sign: that of a gradient.
    by_size: bool,
    /// Whether it knows nothing of the network.
    blind: bool,
    /// Whether it is given the probability instead of the score.
    of_probability: bool,
}

/// A map and its scores.
pub(super) struct Explained {
    name: String,
    blind: bool,
    picture: RgbImage,
    deletion: Vec<f32>,
    insertion: Vec<f32>,
    /// The areas under the two curves.
    areas: (f32, f32),
}

/// How maps are judged.
pub(super) struct Ends {
    goal: Target,
    cell: usize,
}

impl Ends {
    pub(super) fn new(report: &Report<'_>, goal: &Target) -> Result<Self> {
        let (height, width) = report.model.input().size();
        Ok(Self { goal: goal.clone(), cell: (height.min(width) / CELLS).max(1) })
    }

    pub(super) fn settings(&self) -> String {
        format!("{STEPS} steps, cells of {0} × {0} pixels, a blurred photo for what is removed", self.cell)
    }

    fn curve(&self, curve: PixelCurve, report: &Report<'_>, map: &Tensor<4>) -> Result<(Vec<f32>, f32)> {
        let curve = curve.cell(self.cell).steps(STEPS).baseline(Baseline::Blurred(10.0));
        let curves = curve.evaluate(report.model, report.image.clone(), map.clone(), &self.goal)?;
        Ok(curves.first().map(|curve| (curve.scores().to_vec(), curve.area())).unwrap_or_default())
    }
}

fn methods(report: &Report<'_>, stopped: &Arc<AtomicBool>) -> Vec<Method> {
    let mut methods = Vec::new();
    let mut add = |name: &str, method: Box<dyn Attribution>, by_size: bool, blind: bool| {
        let of_probability = name == "RISE";
        methods.push(Method { name: name.to_owned(), method, by_size, blind, of_probability });
    };
    // A method that takes long can be ended in its midst.
    let ask = || {
        let (watcher, stopped) = (report.progress.is_some(), stopped.clone());
        move |_: &Progress| match watcher && stopped.load(Ordering::SeqCst) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let (height, width) = report.model.input().size();
    let window = (height.min(width) / 7).max(1);
    add("random", Box::new(RandomMap { seed: report.seed }), false, true);
    add("edges", Box::new(Sobel), false, true);
    add("gradient", Box::new(Saliency::new()), true, false);
    add("gradient × input", Box::new(Saliency::new().times_input()), true, false);
    let integrated = IntegratedGradients::new().steps(report.steps).progress(ask());
    add("integrated gradients", Box::new(integrated), true, false);
    let smooth = SmoothGrad::new(Saliency::new()).samples(report.steps).seed(report.seed).progress(ask());
    add("SmoothGrad", Box::new(smooth), true, false);
    add("guided backpropagation", Box::new(Saliency::guided()), true, false);
    add("deconvolution", Box::new(Saliency::deconvolution()), true, false);
    add("guided Grad-CAM", Box::<GuidedGradCam>::default(), true, false);
    for formula in Formula::ALL {
        let cam = Cam::new(formula).progress(ask());
        let slow = matches!(formula, Formula::AblationCam | Formula::ScoreCam);
        let cam = if slow { cam.max_channels(report.max_channels) } else { cam };
        add(formula.name(), Box::new(cam), false, false);
    }
    let occlusion = Occlusion::new([window; 2]).stride([(window / 2).max(1); 2]).progress(ask());
    add("occlusion", Box::new(occlusion), false, false);
    let rise = Rise::new().masks(report.masks).seed(report.seed).progress(ask());
    add("RISE", Box::new(rise), false, false);
    methods
}

/// What was explained, what was left out and why, and whether it was stopped.
type All = (Vec<Explained>, Vec<(String, String)>, ControlFlow<()>);

/// Runs every method.
pub(super) fn explain(report: &Report<'_>, target: &Target, ends: &Ends) -> Result<All> {
    let stopped = Arc::new(AtomicBool::new(false));
    let methods = methods(report, &stopped);
    let (mut explained, mut missing) = (Vec::new(), Vec::new());
    for (done, method) in methods.iter().enumerate() {
        if report.tell(&method.name, done, methods.len() + 1).is_break() {
            return Ok((explained, missing, ControlFlow::Break(())));
        }
        let wanted = if method.of_probability { &ends.goal } else { target };
        let map = match method.method.attribute(report.model, report.image.clone(), wanted) {
            Ok(map) if method.by_size => magnitude(map),
            Ok(map) => map,
            Err(
                error @ (Error::ZeroGradient { .. }
                | Error::NoSpatialLayer { .. }
                | Error::NoRectifier { .. }
                | Error::Graph { .. }
                | Error::UnusedLayer { .. }),
            ) => {
                missing.push((method.name.clone(), error.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let (deletion, deleted) = ends.curve(PixelCurve::deletion(), report, &map)?;
        let (insertion, inserted) = ends.curve(PixelCurve::insertion(), report, &map)?;
        explained.push(Explained {
            name: method.name.clone(),
            blind: method.blind,
            picture: draw(report, map, method.by_size)?,
            deletion,
            insertion,
            areas: (deleted, inserted),
        });
    }
    // What tells the network's image from any image comes first.
    explained.sort_by(|a, b| b.difference().total_cmp(&a.difference()));
    Ok((explained, missing, ControlFlow::Continue(())))
}

fn draw(report: &Report<'_>, map: Tensor<4>, by_size: bool) -> Result<RgbImage> {
    let [_, _, height, width] = map.dims();
    let map = host::array2(map.clamp_min(0.0).reshape([height, width]));
    match by_size {
        true => Ok(picture::colorize(
            picture::normalize(map.view(), Sign::Unsigned, 99.0)?.view(),
            ColorMap::Inferno,
        )),
        false => {
            let map = picture::normalize(map.view(), Sign::Unsigned, 99.5)?;
            picture::overlay_heat(&report.photo, map.view(), ColorMap::Jet, 0.5)
        }
    }
}

impl Explained {
    fn difference(&self) -> f32 {
        self.areas.1 - self.areas.0
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "blind": self.blind,
            "deletion": self.areas.0,
            "insertion": self.areas.1,
            "difference": self.difference(),
            "deletion_curve": self.deletion,
            "insertion_curve": self.insertion,
        })
    }
}

/// The methods as a table, each with whether it does better than every blind one.
pub(super) fn rows(explained: &[Explained]) -> Result<Vec<Value>> {
    let blind = explained.iter().filter(|method| method.blind).map(Explained::difference);
    let bar = blind.fold(f32::NEG_INFINITY, f32::max);
    let all = explained.iter().flat_map(|method| method.deletion.iter().chain(&method.insertion)).copied();
    let (low, high) =
        all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let line = |curve: &[f32]| {
        let last = curve.len().saturating_sub(1).max(1) as f32;
        let height = |value: f32| if high > low { 2.0 + 36.0 * (high - value) / (high - low) } else { 38.0 };
        let points = curve
            .iter()
            .enumerate()
            .map(|(step, value)| format!("{:.1},{:.1}", 100.0 * step as f32 / last, height(*value)));
        points.collect::<Vec<_>>().join(" ")
    };
    explained
        .iter()
        .map(|method| {
            Ok(json!({
                "name": method.name, "blind": method.blind, "better": !method.blind && method.difference() > bar,
                "src": embedded(&method.picture)?, "class": super::class_of(&method.picture),
                "deletion": number(f64::from(method.areas.0)), "insertion": number(f64::from(method.areas.1)),
                "difference": number(f64::from(method.difference())),
                "deletion_line": line(&method.deletion), "insertion_line": line(&method.insertion),
            }))
        })
        .collect()
}
