//! Convolutions with frozen weights, and what surrounds them.
//!
//! Looking inside a network means many forward and backward passes through weights that never change, and never
//! want a gradient. That is a narrower job than a framework's, and three things follow from it:
//!
//! - The gradient of a convolution of stride 1 with respect to its input is a convolution with the flipped,
//!   transposed filter, which is made once. On every backend the backward pass is then as fast as the forward one.
//! - Bias and rectifier are part of the convolution, and so is the backward rule of the rectifier: fewer passes over
//!   memory.
//! - On the CPU (`flex`) there are kernels of our own: the crate `vis-kernels`. Their results lie in memory that is used
//!   again (`pooled`). Activations, pooling and products with frozen matrices have them as well (`unary`).
//!
//! Each is an operation of our own whose default is the ordinary one of the backend.

// That the backend `NdArray` is deprecated is told where its feature is chosen.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod pooled;
#[cfg(feature = "flex")]
mod unary;

#[cfg(feature = "flex")]
pub(crate) use unary::{Unary, apply, is_own};

use std::fmt;

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use vis_kernels::Filters;

use crate::backprop::{self, Rectifier, Rule};

/// How a convolution with frozen weights is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// By the fastest way there is: on the CPU by kernels of our own, whose results differ from the ordinary ones by
    /// some 1e-6 of the largest value.
    #[default]
    Fast,
    /// By the backend's own operations, forward and backward.
    Exact,
}

/// A convolution with frozen weights, its bias and its rectifier, ready to run.
#[derive(Clone)]
pub(crate) struct FrozenConvolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    /// The filter of the input gradient: flipped, with the channel axes exchanged. The weight itself where a kernel of
    /// our own does not need it.
    flipped: Tensor<4>,
    plan: Plan,
}

/// What a backend needs to know besides the tensors.
#[derive(Clone)]
pub(crate) struct Plan {
    filters: Filters,
    rectifier: Option<(Rectifier, Rule)>,
    #[cfg(feature = "flex")]
    own: Option<flex::Own>,
    /// Height and width of the result, of a transposed convolution: then the filters are those of the convolution that it
    /// is the transpose of.
    transposed: Option<[usize; 2]>,
}

impl FrozenConvolution {
    /// Prepares weights and a bias `[out]`, if there is a kernel of our own for them, or if the gradient is a convolution
    /// as well: for stride 1 and a padding that is the same on both sides and narrower than the kernel.
    ///
    /// `weight` is of the shape that `filters` have.
    pub(crate) fn new(weight: &Tensor<4>, bias: Option<&Tensor<1>>, filters: Filters) -> Option<Self> {
        let [outputs, inputs, height, width] = weight.dims();
        let bias = match bias {
            Some(bias) => bias.clone(),
            None => Tensor::zeros([outputs], (&weight.device(), weight.dtype())),
        };
        let plan = Plan {
            filters,
            rectifier: None,
            #[cfg(feature = "flex")]
            own: flex::own(weight, &filters),
            transposed: None,
        };
        let flipped = if plan.is_own() {
            weight.clone()
        } else {
            let [vertical, horizontal] = filters.symmetric_padding()?;
            let [down, right] = filters.dilation();
            let fits = vertical <= (height - 1) * down && horizontal <= (width - 1) * right;
            if filters.stride() != [1, 1] || !fits {
                return None;
            }
            let groups = filters.groups();
            weight
                .clone()
                .reshape([groups, outputs / groups, inputs, height, width])
                .swap_dims(1, 2)
                .flip([3, 4])
                .reshape([groups * inputs, outputs / groups, height, width])
        };
        Some(Self { weight: weight.clone(), bias, flipped, plan })
    }

    /// Prepares a transposed convolution with weights `[in, out / groups, height, width]` and a bias `[out]`, if there is a
    /// kernel of our own for it. `filters` are those of the convolution that it is the transpose of.
    pub(crate) fn transposed(weight: &Tensor<4>, bias: Option<&Tensor<1>>, filters: Filters) -> Option<Self> {
        let bias = match bias {
            Some(bias) => bias.clone(),
            None => Tensor::zeros([filters.inputs()], (&weight.device(), weight.dtype())),
        };
        let plan = Plan {
            filters,
            rectifier: None,
            #[cfg(feature = "flex")]
            own: flex::own_transposed(weight, &filters),
            transposed: None,
        };
        plan.is_own().then(|| Self { weight: weight.clone(), bias, flipped: weight.clone(), plan })
    }

    /// The transposed convolution, to images of this height and width.
    pub(crate) fn spread(
        &self,
        x: Tensor<4>,
        size: [usize; 2],
        rectifier: Option<(Rectifier, Rule)>,
    ) -> Tensor<4> {
        self.run(x, Plan { rectifier, transposed: Some(size), ..self.plan.clone() })
    }

    /// What it was prepared for.
    pub(crate) fn filters(&self) -> &Filters {
        &self.plan.filters
    }

    /// `f(weight ∗ x + bias)`, where `f` is the rectifier, under a backward rule.
    pub(crate) fn forward(&self, x: Tensor<4>, rectifier: Option<(Rectifier, Rule)>) -> Tensor<4> {
        self.run(x, Plan { rectifier, ..self.plan.clone() })
    }

    fn run(&self, x: Tensor<4>, plan: Plan) -> Tensor<4> {
        Tensor::from_dispatch(<Dispatch as ConvolutionOps>::convolve(
            x.into_dispatch(),
            self.weight.clone().into_dispatch(),
            self.bias.clone().into_dispatch(),
            self.flipped.clone().into_dispatch(),
            plan,
        ))
    }
}

impl Plan {
    /// Whether a kernel of our own does it.
    fn is_own(&self) -> bool {
        #[cfg(feature = "flex")]
        return self.own.is_some();
        #[cfg(not(feature = "flex"))]
        return false;
    }
}

/// The maxima of non-overlapping 2×2 windows; a last odd row or column is dropped. Of equal values the first counts.
pub(crate) fn max_pool_2x2(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as ConvolutionOps>::max_pool_2x2(x.into_dispatch()))
}

/// What a backend computes, forward and backward; the defaults are its own operations.
trait Kernels: Backend {
    /// What the backward pass of max pooling must know.
    type Winners: Clone + fmt::Debug + Send + 'static;

    /// `f(weight ∗ x + bias)`.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: &Plan,
    ) -> FloatTensor<Self> {
        ordinary::<Self>(x, weight, bias, plan)
    }

    /// The cotangent of `x`, an image of this height and width, from that of the rectified output `y`.
    fn convolution_backward(
        y: Option<FloatTensor<Self>>,
        cotangent: FloatTensor<Self>,
        flipped: FloatTensor<Self>,
        size: [usize; 2],
        plan: &Plan,
    ) -> FloatTensor<Self> {
        let _ = size; // that of the output, but for the padding
        ordinary_backward::<Self>(y, cotangent, flipped, plan)
    }

    fn pool(x: FloatTensor<Self>) -> (FloatTensor<Self>, Self::Winners);

    fn pool_backward(cotangent: FloatTensor<Self>, winners: Self::Winners) -> FloatTensor<Self>;
}

/// The convolution by a backend's own operations.
fn ordinary<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    plan: &Plan,
) -> FloatTensor<B> {
    let padding = plan.filters.symmetric_padding().expect("checked when it was prepared");
    let options = ConvOptions::new([1, 1], padding, plan.filters.dilation(), plan.filters.groups());
    let y = B::conv2d(x, weight, Some(bias), options);
    match plan.rectifier {
        Some((rectifier, _)) => backprop::apply::<B>(y, rectifier),
        None => y,
    }
}

/// Its backward pass: the rectifier's rule, then a convolution with the flipped filter.
fn ordinary_backward<B: Backend>(
    y: Option<FloatTensor<B>>,
    cotangent: FloatTensor<B>,
    flipped: FloatTensor<B>,
    plan: &Plan,
) -> FloatTensor<B> {
    let cotangent = match (y, plan.rectifier) {
        (Some(y), Some((rectifier, rule))) => backprop::pull_back::<B>(y, cotangent, rectifier, rule),
        _ => cotangent,
    };
    let padding = plan.filters.symmetric_padding().expect("checked when it was prepared");
    let (kernel, dilation) = (plan.filters.kernel(), plan.filters.dilation());
    let padding = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] - padding[axis]);
    B::conv2d(cotangent, flipped, None, ConvOptions::new([1, 1], padding, dilation, plan.filters.groups()))
}

/// The input of a max pooling and the indices of the maxima in it.
#[cfg(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda"))]
type Indices<B> = (FloatTensor<B>, burn::backend::tensor::IntTensor<B>);

/// The pooling by a backend's own operations.
#[cfg(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda"))]
fn ordinary_pool<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, Indices<B>) {
    let pooled = B::max_pool2d_with_indices(
        x.clone(),
        [2, 2],
        [2, 2],
        [0, 0],
        [1, 1],
        false,
        burn::tensor::IntDType::I32,
    );
    (pooled.output, (x, pooled.indices))
}

/// Its backward pass.
#[cfg(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda"))]
fn ordinary_pool_backward<B: Backend>(cotangent: FloatTensor<B>, (x, indices): Indices<B>) -> FloatTensor<B> {
    B::max_pool2d_with_indices_backward(x, [2, 2], [2, 2], [0, 0], [1, 1], false, cotangent, indices).x_grad
}

/// The operations as Burn dispatches them.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff,
)]
trait ConvolutionOps: Backend {
    #[cfg_attr(
        not(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda")),
        allow(unused)
    )]
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        flipped: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;

    fn max_pool_2x2(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Lets Burn dispatch to a backend's kernels.
#[cfg(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda"))]
macro_rules! dispatch_to_kernels {
    ($backend:ty) => {
        impl ConvolutionOps for $backend {
            fn convolve(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                _flipped: FloatTensor<Self>,
                plan: Plan,
            ) -> FloatTensor<Self> {
                Self::convolution(x, weight, bias, &plan)
            }

            fn max_pool_2x2(x: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::pool(x).0
            }
        }
    };
}

/// Gives a backend its own operations as kernels.
#[cfg(any(feature = "ndarray", feature = "wgpu", feature = "cuda"))]
macro_rules! default_kernels {
    ($backend:ty) => {
        impl Kernels for $backend {
            type Winners = Indices<Self>;

            fn pool(x: FloatTensor<Self>) -> (FloatTensor<Self>, Self::Winners) {
                ordinary_pool::<Self>(x)
            }

            fn pool_backward(cotangent: FloatTensor<Self>, winners: Self::Winners) -> FloatTensor<Self> {
                ordinary_pool_backward::<Self>(cotangent, winners)
            }
        }
        dispatch_to_kernels!($backend);
    };
}

#[cfg(feature = "flex")]
dispatch_to_kernels!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
default_kernels!(burn::backend::NdArray);
#[cfg(any(feature = "wgpu", feature = "cuda"))]
default_kernels!(burn::backend::Cube);

impl<B: Kernels + ConvolutionOps, C: CheckpointStrategy> ConvolutionOps for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        flipped: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct ConvolutionBackward;
        impl<B: Kernels> Backward<B, 1> for ConvolutionBackward {
            /// The rectified output if there is a rectifier, the flipped filter, and height and width of the image.
            type State = (Option<FloatTensor<B>>, FloatTensor<B>, [usize; 2], Plan);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (y, flipped, size, plan) = ops.state;
                let [parent] = ops.parents;
                let cotangent = gradients.consume::<B>(&ops.node);
                if let Some(node) = parent {
                    let gradient = B::convolution_backward(y, cotangent, flipped, size, &plan);
                    gradients.register::<B>(node.id, gradient);
                }
            }
        }

        let (weight, bias, flipped) =
            (weight.into_primitive(), bias.into_primitive(), flipped.into_primitive());
        match ConvolutionBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let x = x.into_primitive();
                let [_, _, height, width] = x.shape().dims();
                let y = B::convolution(x, weight, bias, &plan);
                let kept = plan.rectifier.map(|_| y.clone());
                prepared.finish((kept, flipped, [height, width], plan), y)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::convolution(x.into_primitive(), weight, bias, &plan))
            }
        }
    }

    fn max_pool_2x2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PoolBackward;
        impl<B: Kernels> Backward<B, 1> for PoolBackward {
            type State = B::Winners;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let [parent] = ops.parents;
                let cotangent = gradients.consume::<B>(&ops.node);
                if let Some(node) = parent {
                    gradients.register::<B>(node.id, B::pool_backward(cotangent, ops.state));
                }
            }
        }

        match PoolBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, winners) = B::pool(x.into_primitive());
                prepared.finish(winners, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::pool(x.into_primitive()).0),
        }
    }
}

impl fmt::Debug for FrozenConvolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenConvolution").field("weight", &self.weight.dims()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("filters", &self.filters)
            .field("rectifier", &self.rectifier)
            .finish_non_exhaustive()
    }
}
