//! Whether a network computes the same when a gradient is taken as it does otherwise.
//!
//! Burn's `BatchNorm`, `Dropout`, `GaussianNoise` and `RRelu` train whenever their input lies on an autodiff device,
//! unless their module was frozen. A gradient needs an autodiff device, so such a network would be another one in the
//! gradient pass, and its running statistics would change. Of a [`Model`] only the values show it: they are compared
//! once, before anything is made of the gradient.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::panic::resume_unwind;
use std::thread;

use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use super::{Model, Taps, forward_to_inner, run};
use crate::{Error, Result, host, random};

/// How far the values of the two passes may lie apart, in shares of the largest of a layer.
///
/// Kernels that differ by pass, TF32 among them, stay below; a dropout of 1 % scales what it keeps by as much.
const TOLERANCE: f32 = 2e-3;

/// A probe that is this many times smaller than the image costs little beside it.
const SMALLER: usize = 16;

/// A model whose passes were compared: later evaluations of a run take it in place of the model itself.
pub(crate) struct Compared<'a>(pub(crate) &'a dyn Model);

impl<'a> Deref for Compared<'a> {
    type Target = dyn Model + 'a;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl Model for Compared<'_> {
    forward_to_inner!();

    fn is_frozen(&self) -> bool {
        true
    }
}

/// Runs a model on images of an autodiff device, as [`run`] does, and refuses it if the layers named have other values
/// than in a plain pass.
///
/// A model that takes images of any size is compared on a small one of noise. One that takes a single size is compared
/// on the first of the images, so that there is but one pass more; a flat image, on which training may not show, is no
/// test of it, and noise takes its place.
pub(crate) fn run_compared<M: Model + ?Sized>(
    model: &M,
    images: Tensor<4>,
    taps: &mut Taps,
    layers: &[String],
) -> Result<()> {
    let input = model.input();
    input.check(images.dims())?;
    let [_, channels, height, width] = images.dims();
    let first = images.clone().inner().narrow(0, 0, 1);
    let side = input.smallest().filter(|side| side * side * SMALLER <= height * width);
    let noise = match side {
        Some(side) => Some([1, channels, side, side]),
        None => is_flat(&first).then_some([1, channels, height, width]),
    };
    if let Some(shape) = noise {
        check(model, Tensor::from_data(noise_of(shape, input.range()), &first.device()), layers)?;
        return run(model, images, taps);
    }
    let plain = plain_pass(model, first, layers)?;
    run_apart(model, images, taps)?;
    compare(&plain, taps.recorded())
}

/// Refuses a model that has other values in a gradient pass than in a plain one, by one small pass of each.
pub(crate) fn check<M: Model + ?Sized>(model: &M, image: Tensor<4>, layers: &[String]) -> Result<()> {
    let plain = plain_pass(model, image.clone(), layers)?;
    let mut taps = Taps::new().record(layers);
    run_apart(model, image.autodiff(), &mut taps)?;
    compare(&plain, taps.recorded())
}

/// The values of layers for an image of a plain device.
fn plain_pass<M: Model + ?Sized>(
    model: &M,
    image: Tensor<4>,
    layers: &[String],
) -> Result<BTreeMap<String, Tensor<4>>> {
    let mut taps = Taps::new().record(layers);
    run(model, image, &mut taps)?;
    Ok(taps.into_recorded())
}

/// Runs the model on a thread of its own.
///
/// Burn keeps the statistics that a pass has gathered apart by thread, and takes them over when that thread comes again,
/// or when the module is turned over by `valid` or `train`: what this pass gathers is never used by a forward pass.
fn run_apart<M: Model + ?Sized>(model: &M, images: Tensor<4>, taps: &mut Taps) -> Result<()> {
    thread::scope(|scope| match scope.spawn(|| run(model, images, taps)).join() {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    })
}

/// Refuses values of a gradient pass that differ from the plain pass; of a batch, the first image is compared.
fn compare(plain: &BTreeMap<String, Tensor<4>>, tracked: &BTreeMap<String, Tensor<4>>) -> Result<()> {
    for (layer, plain) in plain {
        if let Some(tracked) = tracked.get(layer) {
            let tracked = tracked.clone().inner().narrow(0, 0, 1);
            refuse_difference(format!("layer `{layer}`"), plain.clone(), tracked)?;
        }
    }
    Ok(())
}

/// Refuses values of a gradient pass that differ from the plain pass.
pub(crate) fn refuse_difference(what: String, plain: Tensor<4>, tracked: Tensor<4>) -> Result<()> {
    if plain.dims() != tracked.dims() {
        return Err(Error::Training { what, difference: f32::INFINITY });
    }
    let (plain, tracked) = (host::values(plain), host::values(tracked));
    let largest = plain.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let pairs = plain.iter().zip(&tracked);
    // What is not finite in both passes is refused where it is read.
    let off = pairs.filter(|(plain, tracked)| plain.is_finite() || tracked.is_finite());
    let off = off
        .map(|(plain, tracked)| (plain - tracked).abs())
        .fold(0.0_f32, |most, off| if off.is_nan() { f32::INFINITY } else { most.max(off) });
    if off <= TOLERANCE * largest {
        return Ok(());
    }
    Err(Error::Training { what, difference: if largest > 0.0 { off / largest } else { f32::INFINITY } })
}

fn is_flat(image: &Tensor<4>) -> bool {
    let values = host::values(image.clone());
    values.iter().all(|value| *value == values[0])
}

/// Uniform noise over a range, always the same.
fn noise_of(shape: [usize; 4], (low, high): (f32, f32)) -> TensorData {
    let mut stream = random::stream(0, 0);
    let values = (0..shape.iter().product()).map(|_| low + (high - low) * stream.random::<f32>()).collect();
    TensorData::new::<f32, _>(values, shape)
}
