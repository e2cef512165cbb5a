//! Extreme values of every setting: each front door, method and measure ends with a result of finite numbers or with an
//! error that names what was wrong. None panics, none hangs, none takes all memory.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use burn::tensor::Tensor;
use vis::attribution::{
    Attribution, Baseline, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, RandomMap, Rise,
    Saliency, SmoothGrad, Sobel,
};
use vis::losses::{ActivationMaximization, Caricature, Content, LPNorm, TotalVariation};
use vis::metrics::{MuFidelity, PixelCurve, average_drop, pointing_game};
use vis::model::{InputSpec, Preprocessing, Taps, Tiny};
use vis::optimizer::Lbfgs;
use vis::parametrization::Fourier;
use vis::picture::{self, ColorMap, Grid, Sign};
use vis::random::noise;
use vis::transforms::{Jitter, Mirror, Pad, Rotate, Scale, Wrap};
use vis::visualization::{caricature, deep_dream, invert, style_transfer, texture};
use vis::{
    Error, Model, Optimizer, Progress, Target, visualize_activation, visualize_cam, visualize_saliency,
};

use crate::support::{Function, device, device_is_slow};

const COUNTS: [usize; 9] =
    [0, 1, 2, 7, 1 << 16, u32::MAX as usize, usize::MAX / 2, usize::MAX - 1, usize::MAX];
const NUMBERS: [f32; 13] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-30,
    f32::MIN_POSITIVE,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

fn doubles() -> impl Iterator<Item = f64> {
    NUMBERS.into_iter().map(f64::from).chain([1e300, -1e300, f64::MAX, f64::MIN_POSITIVE])
}

/// How long a case may take: they are of 8×8 pixels and three steps.
const PATIENCE: Duration = Duration::from_secs(60);

/// A case ends with finite numbers, or with an error that has something to say.
fn ends(name: String, case: impl FnOnce() -> vis::Result<Vec<f32>> + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(case)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        });
        let _ = sender.send(ended);
    });
    match receiver.recv_timeout(PATIENCE) {
        Err(_) => Some(format!("{name}: hangs")),
        Ok(Err(panic)) => Some(format!("{name}: panics: {panic}")),
        Ok(Ok(Ok(numbers))) => {
            let odd = numbers.iter().find(|number| !number.is_finite());
            odd.map(|odd| format!("{name}: {odd} among the results"))
        }
        Ok(Ok(Err(error))) => (error.to_string().len() < 12).then(|| format!("{name}: says `{error}` alone")),
    }
}

#[track_caller]
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Every setting by its name, each at every value, all others at rest.
macro_rules! sweep {
    ($faults:ident, $($name:literal: $values:expr => |$value:ident| $case:expr;)*) => {
        $(for $value in $values {
            let name = format!(concat!($name, " {:?}"), $value);
            $faults.extend(ends(name, move || $case));
        })*
    };
}

fn tiny() -> Tiny {
    Tiny::new(&device())
}

fn photo() -> Tensor<4> {
    noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &device())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> vis::Result<Vec<f32>> {
    Ok(crate::host::values(tensor))
}

/// Ends a run after three steps, or at the end of one that has fewer.
fn few() -> impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static {
    let mut steps = 0;
    move |_| {
        steps += 1;
        if steps < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn wanted() -> ActivationMaximization {
    ActivationMaximization::new("conv2", 1)
}

fn minimized(run: Optimizer<'_>) -> vis::Result<Vec<f32>> {
    let found = run.progress(few()).minimize()?;
    let mut all = crate::host::values(found.image);
    all.extend(found.losses.values());
    Ok(all)
}

/// A network of images of any size.
fn any_size() -> impl Model {
    Function(InputSpec::new([3, 8, 8], (0.0, 255.0)).with_any_size_from(2), |x, taps: &mut Taps| {
        taps.relu(x - 100.0)
    })
}

/// A network that says it takes such images.
fn taking(shape: [usize; 3], range: (f32, f32)) -> impl Model {
    Function(InputSpec::new(shape, range), |x, _: &mut Taps| x)
}

#[test]
fn extreme_settings_of_a_run_end_in_a_result_or_an_error() {
    let mut faults = Vec::new();
    sweep! { faults,
        "max_iter": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(n));
        "read_every": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(3).read_every(n));
        "warm_up": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(3).warm_up(n));
        "batch": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(1).batch(if n == 1 << 16 { 64 } else { n }));
        "height": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(1).size(n, 3));
        "width": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(1).size(3, n));
        "height and width": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(1).size(n, n));
        "size of one size": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(1).size(n, n));
        "seed": [0, 1, u64::MAX] => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(1).seed(n));
        "learning_rate": doubles() => |r| minimized(Optimizer::new(&tiny(), wanted()).max_iter(3).learning_rate(r));
        "jitter pixels": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(2).jitter(Jitter::Pixels(n)));
        "jitter fraction": NUMBERS => |f| minimized(Optimizer::new(&tiny(), wanted()).max_iter(2).jitter(Jitter::Fraction(f)));
        "scale": NUMBERS => |f| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Scale(vec![f])));
        "rotate": NUMBERS => |f| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Rotate(vec![f])));
        "pad": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Pad { pixels: n, value: 0.0 }));
        "pad with": NUMBERS => |f| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Pad { pixels: 2, value: f }));
        "wrap": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Wrap { pixels: n }));
        "mirror": COUNTS => |n| minimized(Optimizer::new(&any_size(), ActivationMaximization::new("output", 1)).max_iter(2).transform(Mirror { pixels: n }));
        "decay": NUMBERS => |f| minimized(Optimizer::new(&tiny(), wanted()).max_iter(2).parametrization(Fourier::new([8, 8], (0.0, 255.0)).with_decay(f)));
        "l-bfgs history": COUNTS => |n| minimized(Optimizer::new(&tiny(), wanted()).max_iter(2).update(Lbfgs::new(8.0)?.with_history(n)));
        "filter": COUNTS => |n| minimized(Optimizer::new(&tiny(), ActivationMaximization::new("conv2", n)).max_iter(1));
        "weight": NUMBERS => |w| minimized(Optimizer::new(&tiny(), vis::losses![(wanted(), w)]).max_iter(3));
        "power of LPNorm": NUMBERS => |p| minimized(Optimizer::new(&tiny(), LPNorm::new(p)?).max_iter(3));
        "beta of TotalVariation": NUMBERS => |p| minimized(Optimizer::new(&tiny(), TotalVariation::new(p)?).max_iter(3));
        "power of Caricature": NUMBERS => |p| minimized(Optimizer::new(&tiny(), Caricature::new(&tiny(), photo(), "conv2")?.with_power(p)?).max_iter(3));
        "photo of Content": NUMBERS => |v| minimized(Optimizer::new(&tiny(), Content::new(&tiny(), photo() * v, "conv2")?).max_iter(3));
        "seed image": NUMBERS => |v| minimized(Optimizer::new(&tiny(), wanted()).max_iter(2).seed_img(photo().zeros_like() + v));
    }
    none(faults);
}

#[test]
fn extreme_settings_of_the_front_doors_end_in_a_result_or_an_error() {
    if device_is_slow() {
        return;
    }
    let pictures = |run: vis::visualization::VisualizeActivation<'_>| -> vis::Result<Vec<f32>> {
        let found = run.progress(few()).run().map_err(|unfinished| *unfinished.source)?;
        Ok(found.iter().flat_map(|picture| picture.image.iter().copied().collect::<Vec<_>>()).collect())
    };
    let heat = |map: vis::visualization::Heatmap| -> vis::Result<Vec<f32>> {
        Ok(map.map.iter().chain(map.raw.iter()).copied().collect())
    };
    let mut faults = Vec::new();
    sweep! { faults,
        "activation filter_indices": COUNTS => |n| pictures(visualize_activation(&tiny(), "conv2").filter_indices([n]).max_iter(1));
        "activation max_iter": COUNTS => |n| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(n));
        "activation memory_limit": COUNTS => |n| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1, 2]).max_iter(1).memory_limit(n));
        "activation size": COUNTS => |n| pictures(visualize_activation(&any_size(), "output").filter_indices([1]).max_iter(1).size(n, n));
        "activation act_max_weight": NUMBERS => |w| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(2).act_max_weight(w));
        "activation tv_weight": NUMBERS => |w| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(2).tv_weight(w));
        "activation lp_norm_weight": NUMBERS => |w| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(2).lp_norm_weight(w));
        "activation jitter": NUMBERS => |w| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(2).jitter(w));
        "activation learning_rate": doubles() => |w| pictures(visualize_activation(&tiny(), "conv2").filter_indices([1]).max_iter(2).learning_rate(w));
        "saliency filter": COUNTS => |n| heat(visualize_saliency(&tiny(), photo()).filter_indices(n).run()?);
        "saliency percentile": NUMBERS => |p| heat(visualize_saliency(&tiny(), photo()).percentile(p).run()?);
        "saliency blur": NUMBERS => |p| heat(visualize_saliency(&tiny(), photo()).blur(p).run()?);
        "saliency smooth": COUNTS => |n| heat(visualize_saliency(&tiny(), photo()).smooth(n).progress(few()).run()?);
        "saliency noise": NUMBERS => |p| heat(visualize_saliency(&tiny(), photo()).smooth(3).noise(p).run()?);
        "saliency image": NUMBERS => |v| heat(visualize_saliency(&tiny(), photo() * v).run()?);
        "cam image": NUMBERS => |v| heat(visualize_cam(&tiny(), photo() * v).run()?);
        "cam filter": COUNTS => |n| heat(visualize_cam(&tiny(), photo()).filter_indices(n).run()?);
        "dream max_iter": COUNTS => |n| numbers(deep_dream(&tiny(), photo()).layer("conv2").octaves(1).max_iter(n).progress(few()).run()?.image);
        "dream octaves": COUNTS => |n| numbers(deep_dream(&any_size(), photo()).layer("output").octaves(n).max_iter(1).progress(few()).run()?.image);
        "dream octave_scale": NUMBERS => |f| numbers(deep_dream(&any_size(), photo()).layer("output").octaves(3).octave_scale(f).max_iter(1).run()?.image);
        "dream step_size": NUMBERS => |f| numbers(deep_dream(&tiny(), photo()).layer("conv2").octaves(1).max_iter(2).step_size(f).run()?.image);
        "dream jitter": COUNTS => |n| numbers(deep_dream(&tiny(), photo()).layer("conv2").octaves(1).max_iter(2).jitter(n).run()?.image);
        "dream tile": COUNTS => |n| numbers(deep_dream(&any_size(), photo()).layer("output").octaves(1).max_iter(1).tile(n).run()?.image);
        "dream overlap": COUNTS => |n| numbers(deep_dream(&any_size(), photo()).layer("output").octaves(1).max_iter(1).tile(4).overlap(n).run()?.image);
        "caricature power": NUMBERS => |p| numbers(caricature(&tiny(), photo()).layer("conv2").max_iter(2).power(p).run()?.image);
        "caricature max_iter": COUNTS => |n| numbers(caricature(&tiny(), photo()).layer("conv2").max_iter(n).progress(few()).run()?.image);
        "caricature jitter": COUNTS => |n| numbers(caricature(&tiny(), photo()).layer("conv2").max_iter(2).jitter(n).run()?.image);
        "caricature learning_rate": doubles() => |r| numbers(caricature(&tiny(), photo()).layer("conv2").max_iter(2).learning_rate(r).run()?.image);
        "invert max_iter": COUNTS => |n| numbers(invert(&tiny(), photo(), "conv2").max_iter(n).progress(few()).run()?.image);
        "invert learning_rate": doubles() => |r| numbers(invert(&tiny(), photo(), "conv2").max_iter(2).learning_rate(r).run()?.image);
        "invert tv_weight": NUMBERS => |r| numbers(invert(&tiny(), photo(), "conv2").max_iter(2).tv_weight(r).run()?.image);
        "style max_iter": COUNTS => |n| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(n).progress(few()).run()?.image);
        "style weights": NUMBERS => |w| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(2).style_weight(w).run()?.image);
        "style content_weight": NUMBERS => |w| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(2).content_weight(w).run()?.image);
        "style tv_weight": NUMBERS => |w| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(2).tv_weight(w).run()?.image);
        "style style_scale": NUMBERS => |w| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(2).style_scale(w).run()?.image);
        "style from_size": COUNTS => |n| numbers(style_transfer(&tiny(), photo(), photo()).content_layer("conv2").style_layers([("conv1", 1.0)]).max_iter(2).from_size(n).progress(few()).run()?.image);
        "texture size": COUNTS => |n| numbers(texture(&any_size(), photo()).layers([("output", 1.0)]).max_iter(1).size(n, 8).progress(few()).run()?.image);
        "texture from_size": COUNTS => |n| numbers(texture(&any_size(), photo()).layers([("output", 1.0)]).max_iter(1).from_size(n).progress(few()).run()?.image);
        "texture max_iter": COUNTS => |n| numbers(texture(&tiny(), photo()).layers([("conv2", 1.0)]).max_iter(n).progress(few()).run()?.image);
    }
    none(faults);
}

fn map(method: &dyn Attribution) -> vis::Result<Vec<f32>> {
    numbers(method.attribute(&tiny(), photo(), &Target::class(2))?)
}

#[test]
fn extreme_settings_of_attribution_methods_end_in_a_result_or_an_error() {
    let mut faults = Vec::new();
    sweep! { faults,
        "target class": COUNTS => |n| numbers(Saliency::new().attribute(&tiny(), photo(), &Target::class(n))?);
        "target channel": COUNTS => |n| numbers(Saliency::new().attribute(&tiny(), photo(), &Target::channel("conv2", n))?);
        "target neuron": COUNTS => |n| numbers(Saliency::new().attribute(&tiny(), photo(), &Target::neuron("conv2", 0, n, n))?);
        "target direction": NUMBERS => |v| numbers(Saliency::new().attribute(&tiny(), photo(), &Target::direction("conv2", [v, 0.0, 0.0, 0.0, 0.0, 0.0]))?);
        "target factor": NUMBERS => |v| numbers(Saliency::new().attribute(&tiny(), photo(), &(v * Target::class(1)))?);
        "smooth_grad samples": COUNTS => |n| map(&SmoothGrad::new(Saliency::new()).samples(n).progress(few()));
        "smooth_grad noise": NUMBERS => |f| map(&SmoothGrad::new(Saliency::new()).samples(3).noise(f));
        "smooth_grad batch_size": COUNTS => |n| map(&SmoothGrad::new(Saliency::new()).samples(3).batch_size(n));
        "integrated steps": COUNTS => |n| map(&IntegratedGradients::new().steps(n).progress(few()));
        "integrated batch_size": COUNTS => |n| map(&IntegratedGradients::new().steps(3).batch_size(n));
        "integrated baseline": NUMBERS => |v| map(&IntegratedGradients::new().steps(3).baseline(Baseline::Value(v)));
        "integrated blur": NUMBERS => |v| map(&IntegratedGradients::new().steps(3).baseline(Baseline::Blurred(v)));
        "occlusion window": COUNTS => |n| map(&Occlusion::new([n, n]).progress(few()));
        "occlusion stride": COUNTS => |n| map(&Occlusion::new([2, 2]).stride([n, n]).progress(few()));
        "occlusion batch_size": COUNTS => |n| map(&Occlusion::new([4, 4]).batch_size(n));
        "occlusion baseline": NUMBERS => |v| map(&Occlusion::new([4, 4]).baseline(Baseline::Value(v)));
        "rise masks": COUNTS => |n| map(&Rise::new().masks(n).progress(few()));
        "rise cells": COUNTS => |n| map(&Rise::new().masks(3).cells(n));
        "rise open": NUMBERS => |f| map(&Rise::new().masks(3).open(f));
        "rise batch_size": COUNTS => |n| map(&Rise::new().masks(3).batch_size(n));
        "cam max_channels": COUNTS => |n| map(&Cam::new(Formula::ScoreCam).max_channels(n));
        "cam batch_size": COUNTS => |n| map(&Cam::new(Formula::AblationCam).batch_size(n));
        "guided image": NUMBERS => |v| numbers(GuidedGradCam::new().attribute(&tiny(), photo() * v, &Target::class(1))?);
        "edges image": NUMBERS => |v| numbers(Sobel.attribute(&tiny(), photo() * v, &Target::class(1))?);
        "random seed": [0, u64::MAX] => |n| map(&RandomMap { seed: n });
    }
    none(faults);
}

#[test]
fn extreme_settings_of_measures_and_pictures_end_in_a_result_or_an_error() {
    let flat = || Tensor::<4>::ones([1, 1, 8, 8], &device());
    let curve = |curve: PixelCurve| -> vis::Result<Vec<f32>> {
        let found =
            curve.evaluate(&tiny(), photo(), Tensor::ones([1, 1, 8, 8], &device()), &Target::class(1))?;
        Ok(found.iter().flat_map(|curve| curve.scores().to_vec()).collect())
    };
    let fidelity = |measure: MuFidelity| -> vis::Result<Vec<f32>> {
        measure.evaluate(&tiny(), photo(), Tensor::ones([1, 1, 8, 8], &device()), &Target::class(1))
    };
    let rgb = || image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 99]));
    let area =
        |picture: image::RgbImage| Ok::<_, Error>(vec![picture.width() as f32, picture.height() as f32]);
    let mut faults = Vec::new();
    sweep! { faults,
        "curve steps": COUNTS => |n| curve(PixelCurve::deletion().steps(n).progress(few()));
        "curve cell": COUNTS => |n| curve(PixelCurve::deletion().steps(2).cell(n));
        "curve batch_size": COUNTS => |n| curve(PixelCurve::insertion().steps(2).batch_size(n));
        "curve map": NUMBERS => |v| {
            let found = PixelCurve::deletion().steps(2).evaluate(&tiny(), photo(), flat() * v, &Target::class(1))?;
            Ok(found[0].scores().to_vec())
        };
        "fidelity sets": COUNTS => |n| fidelity(MuFidelity::new().sets(n).progress(few()));
        "fidelity share": NUMBERS => |f| fidelity(MuFidelity::new().sets(3).share(f));
        "fidelity batch_size": COUNTS => |n| fidelity(MuFidelity::new().sets(3).batch_size(n));
        "average drop map": NUMBERS => |v| {
            let found = average_drop(&tiny(), photo(), flat() * v, &Target::probability(1), &Baseline::Black)?;
            Ok(vec![found.drop, found.increase])
        };
        "pointing rows": COUNTS => |n| {
            let map = ndarray::Array2::<f32>::zeros((3, 4));
            Ok(vec![f32::from(u8::from(pointing_game(map.view(), n..n.saturating_add(1), 0..n, 15.0)))])
        };
        "normalize percentile": NUMBERS => |p| Ok(picture::normalize(ndarray::array![[1.0, 2.0, -4.0]].view(), Sign::Signed, p)?.into_iter().collect());
        "normalize value": NUMBERS => |v| Ok(picture::normalize(ndarray::array![[1.0, v, -4.0]].view(), Sign::Unsigned, 99.0)?.into_iter().collect());
        "colour": NUMBERS => |v| Ok(ColorMap::ALL.iter().flat_map(|map| map.color(v).0.map(f32::from)).collect());
        "grid columns": COUNTS => |n| area(Grid::new(&[rgb(), rgb()]).columns(n).render()?);
        "grid margin": COUNTS => |n| area(Grid::new(&[rgb(), rgb()]).margin(n as u32).render()?);
        "grid border": COUNTS => |n| area(Grid::new(&[rgb(), rgb()]).border(n as u32).render()?);
        "grid enlarge": COUNTS => |n| area(Grid::new(&[rgb(), rgb()]).enlarge(n as u32).render()?);
        "grid caption_size": NUMBERS => |f| area(Grid::new(&[rgb(), rgb()]).captions(["a", "b"]).caption_size(f).render()?);
        "cover and crop": COUNTS => |n| area(picture::resize_to_cover_and_crop(&rgb(), n as u32, 3)?);
        "to_input size": COUNTS => |n| numbers(picture::to_input(&rgb(), &taking([3, n, n], (0.0, 1.0)))?);
        "channels of a spec": COUNTS => |n| numbers(picture::to_input(&rgb(), &taking([n, 4, 4], (0.0, 1.0)))?);
        "range of a spec": NUMBERS => |v| numbers(picture::to_input(&rgb(), &taking([3, 4, 4], (0.0, v)))?);
        "scale of a preprocessing": NUMBERS => |v| {
            let _ = Preprocessing::new([v; 3], [v; 3]);
            Ok(Vec::new())
        };
    }
    none(faults);
}
