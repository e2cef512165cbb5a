//! The kernels of the CPU backend `flex`.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};
use vis_kernels::{
    Convolution, Epilogue, Filters, Gate, General, Geometry, Workspace, max_pool, max_pool_gradient,
};

use super::{
    Indices, Kernels, Plan, ordinary, ordinary_backward, ordinary_pool, ordinary_pool_backward, pooled,
};
use crate::backprop::{self, Rectifier, Rule};

/// A kernel of our own with the weights that it was made for.
#[derive(Clone)]
pub(super) enum Own {
    Convolution(Arc<Convolution>),
    Transposed(Arc<General>),
}

/// The kernel of our own for these weights, if they are on this backend.
pub(super) fn own(weight: &Tensor<4>, filters: &Filters) -> Option<Own> {
    let kernel = || Convolution::new(&crate::host::values(weight.clone()), filters);
    is_here(weight).then(|| Own::Convolution(Arc::new(kernel())))
}

/// The same for a transposed convolution; the filters are those of the convolution that it is the transpose of.
pub(super) fn own_transposed(weight: &Tensor<4>, filters: &Filters) -> Option<Own> {
    let kernel = || General::new(&crate::host::values(weight.clone()), filters);
    is_here(weight).then(|| Own::Transposed(Arc::new(kernel())))
}

fn is_here(weight: &Tensor<4>) -> bool {
    weight.device().inner() == Device::flex() && weight.dtype() == DType::F32
}

impl Plan {
    /// # Panics
    /// If there is no convolution of such images; the layer has looked before.
    fn sizes(&self, batch: usize, size: [usize; 2]) -> Geometry {
        self.filters.on(batch, size).unwrap_or_else(|mismatch| panic!("{mismatch}"))
    }
}

/// The rectifier, if kernels apply it.
fn fused(rectifier: Rectifier) -> Option<vis_kernels::Rectifier> {
    match rectifier {
        Rectifier::Relu => Some(vis_kernels::Rectifier::Relu),
        Rectifier::Relu6 => Some(vis_kernels::Rectifier::Relu6),
        Rectifier::Leaky(_) => None,
    }
}

/// The backward rule, if kernels have a gate for it.
fn gated(rule: Rule) -> Option<vis_kernels::Rule> {
    match rule {
        Rule::Plain => Some(vis_kernels::Rule::Plain),
        Rule::Guided => Some(vis_kernels::Rule::Guided),
        Rule::Deconvolution => Some(vis_kernels::Rule::Deconvolution),
        Rule::Redirected => None,
    }
}

/// What the backward pass of max pooling must know.
#[derive(Clone, Debug)]
pub(super) enum Winners {
    /// The place of each maximum in its window, and the shape of the input.
    Places(Arc<Vec<u8>>, [usize; 4]),
    /// As the backend has it, for other types of numbers.
    Indices(Indices<Flex>),
}

impl Kernels for Flex {
    type Winners = Winners;

    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: &Plan) -> FlexTensor {
        let Some(own) = &plan.own else {
            return ordinary::<Self>(x, weight, bias, plan);
        };
        let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
        let [batch, _, height, width] = x.layout().shape().dims();
        let sizes = plan.sizes(batch, plan.transposed.unwrap_or([height, width]));
        let rectifier = plan.rectifier.map(|(rectifier, _)| rectifier);
        let fused = rectifier.and_then(fused);
        let epilogue = Epilogue { bias: Some(bias.storage()), rectifier: fused };
        let y = match own {
            Own::Convolution(own) => {
                tensor(sizes.output(), |y| own.forward(x.storage(), &sizes, y, epilogue))
            }
            Own::Transposed(own) => {
                tensor(sizes.input(), |y| own.transposed(x.storage(), &sizes, y, epilogue))
            }
        };
        match rectifier {
            // What the kernel can't fuse is applied afterwards.
            Some(rectifier) if fused.is_none() => backprop::apply::<Self>(y, rectifier),
            _ => y,
        }
    }

    fn convolution_backward(
        y: Option<FlexTensor>,
        cotangent: FlexTensor,
        flipped: FlexTensor,
        size: [usize; 2],
        plan: &Plan,
    ) -> FlexTensor {
        let Some(own) = &plan.own else {
            return ordinary_backward::<Self>(y, cotangent, flipped, plan);
        };
        let mut cotangent = cotangent.to_contiguous();
        let [batch, ..] = cotangent.layout().shape().dims::<4>();
        let rectified = y.map(|y| y.to_contiguous()).zip(plan.rectifier);
        let mut gate = None;
        if let Some((y, (rectifier, rule))) = &rectified {
            let alive = || all_alive(y.storage(), cotangent.storage(), batch, *rectifier);
            let rule = if *rule == Rule::Redirected && alive() { Rule::Plain } else { *rule };
            match fused(*rectifier).zip(gated(rule)) {
                Some((rectifier, rule)) => gate = Some(Gate { output: y.storage(), rectifier, rule }),
                // What the kernel has no gate for.
                None => {
                    cotangent =
                        backprop::pull_back::<Self>(y.clone(), cotangent, *rectifier, rule).to_contiguous();
                }
            }
        }
        let sizes = plan.sizes(batch, plan.transposed.unwrap_or(size));
        let cotangent = cotangent.storage();
        match own {
            Own::Convolution(own) => {
                tensor(sizes.input(), |gradient| own.input_gradient(cotangent, &sizes, gradient, gate))
            }
            Own::Transposed(own) => {
                tensor(sizes.output(), |gradient| own.transposed_gradient(cotangent, &sizes, gradient, gate))
            }
        }
    }

    fn pool(x: FlexTensor) -> (FlexTensor, Winners) {
        if x.dtype() != DType::F32 {
            let (y, indices) = ordinary_pool::<Self>(x);
            return (y, Winners::Indices(indices));
        }
        let x = x.to_contiguous();
        let shape @ [batch, channels, height, width] = x.layout().shape().dims();
        let mut winners = vec![0; batch * channels * (height / 2) * (width / 2)];
        let y = tensor([batch, channels, height / 2, width / 2], |y| {
            max_pool(x.storage(), [batch * channels, height, width], y, &mut winners);
        });
        (y, Winners::Places(winners.into(), shape))
    }

    fn pool_backward(cotangent: FlexTensor, winners: Winners) -> FlexTensor {
        match winners {
            Winners::Indices(indices) => ordinary_pool_backward::<Self>(cotangent, indices),
            Winners::Places(winners, shape) => {
                let cotangent = cotangent.to_contiguous();
                let [batch, channels, height, width] = shape;
                let planes = [batch * channels, height, width];
                tensor(shape, |gradient| {
                    max_pool_gradient(cotangent.storage(), &winners, planes, gradient);
                })
            }
        }
    }
}

/// Whether something of each image's cotangent gets through its rectifiers: then [`Rule::Redirected`] is plain.
fn all_alive(y: &[f32], cotangent: &[f32], batch: usize, rectifier: Rectifier) -> bool {
    let one = (y.len() / batch.max(1)).max(1);
    let most = match rectifier {
        Rectifier::Relu6 => 6.0,
        Rectifier::Relu | Rectifier::Leaky(_) => f32::INFINITY,
    };
    let passes = |(y, cotangent): (&f32, &f32)| *y > 0.0 && *y < most && *cotangent != 0.0;
    y.chunks(one).zip(cotangent.chunks(one)).all(|(y, cotangent)| y.iter().zip(cotangent).any(passes))
}

/// A tensor that `write` fills, in memory from the pool.
///
/// # Panics
/// If there is not so much memory.
pub(super) fn tensor(shape: impl Into<Shape>, write: impl FnOnce(&mut [f32])) -> FlexTensor {
    let shape = shape.into();
    let memory = Workspace::new(shape.num_elements());
    let mut memory = memory.unwrap_or_else(|error| panic!("a result of the shape {shape:?}: {error}"));
    write(memory.numbers_mut());
    FlexTensor::new(pooled::bytes(memory), Layout::contiguous(shape), DType::F32)
}
