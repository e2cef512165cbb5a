//! Operations of one tensor by kernels of our own, on the CPU alone: activations, pooling, products with frozen matrices.
//!
//! Each keeps for the way back no more than it needs: an activation its input, which is there anyway; a maximum one byte a
//! window; a mean and a product nothing.

// That the backend `NdArray` is deprecated is told where its feature is chosen.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use burn_flex::FlexTensor;
use vis_kernels::{Dense, Function, RowFunction, Rule, Windows, scale_planes};

use super::flex::tensor;

/// An operation of one tensor.
#[derive(Clone, Debug)]
pub(crate) enum Unary {
    /// A function of every number, under a backward rule.
    Function(Function, Rule),
    /// The largest number of each window, of the last two of four axes.
    Max(Windows),
    /// The sum of each window times the shares of its row and column.
    Mean(Windows, Arc<[Vec<f32>; 2]>),
    /// The product of the last axis with a matrix, and a bias.
    Dense(Arc<(Dense, Option<Vec<f32>>)>),
    /// A factor and a summand for each channel, the second axis.
    Scale(Arc<[Vec<f32>; 2]>),
    /// Softmax of the last axis.
    Softmax,
    /// Layer normalisation of the last axis, with a factor and a summand for each of its places.
    LayerNorm { epsilon: f32, affine: Arc<[Option<Vec<f32>>; 2]> },
}

/// Whether there are kernels of our own for such a tensor.
pub(crate) fn is_own(x: &DispatchTensor) -> bool {
    let x = Tensor::<1>::from_dispatch(x.clone());
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

/// The operation, of a tensor that [`is_own`] says yes to.
pub(crate) fn apply(x: DispatchTensor, operation: Unary) -> DispatchTensor {
    <Dispatch as UnaryOps>::unary(x, operation)
}

/// What the way back needs.
#[derive(Clone, Debug)]
enum Kept {
    /// The input, or the output of softmax.
    Input(FlexTensor),
    /// The place of each maximum in its window, and the shape of the input.
    Winners(Arc<Vec<u8>>, Vec<usize>),
    Shape(Vec<usize>),
}

impl Unary {
    /// The function of rows that it is.
    fn of_rows(&self) -> Option<RowFunction<'_>> {
        match self {
            Self::Softmax => Some(RowFunction::Softmax),
            Self::LayerNorm { epsilon, affine } => Some(RowFunction::LayerNorm {
                epsilon: *epsilon,
                factor: affine[0].as_deref(),
                summand: affine[1].as_deref(),
            }),
            _ => None,
        }
    }

    fn forward(&self, x: FlexTensor) -> (FlexTensor, Kept) {
        let x = x.to_contiguous();
        let shape: Vec<usize> = x.layout().shape().to_vec();
        let planes = |windows: &Windows| {
            let mut pooled = shape.clone();
            let rank = pooled.len();
            pooled[rank - 2..].copy_from_slice(&windows.count);
            (shape[..rank - 2].iter().product::<usize>(), pooled)
        };
        if let Some(function) = self.of_rows() {
            let width = shape.last().copied().unwrap_or(1);
            let y = tensor(shape, |y| function.apply(width, x.storage(), y));
            let kept = if let Self::Softmax = self { y.clone() } else { x };
            return (y, Kept::Input(kept));
        }
        match self {
            Self::Softmax | Self::LayerNorm { .. } => unreachable!("functions of rows"),
            Self::Function(function, _) => {
                let y = tensor(shape, |y| vis_kernels::apply(*function, x.storage(), y));
                (y, Kept::Input(x))
            }
            Self::Max(windows) => {
                let (planes, pooled) = planes(windows);
                let mut winners = vec![0; pooled.iter().product()];
                let y = tensor(pooled, |y| windows.max(planes, x.storage(), y, &mut winners));
                (y, Kept::Winners(winners.into(), shape))
            }
            Self::Mean(windows, shares) => {
                let (planes, pooled) = planes(windows);
                let shares = [&shares[0][..], &shares[1][..]];
                (tensor(pooled, |y| windows.mean(planes, x.storage(), shares, y)), Kept::Shape(shape))
            }
            Self::Scale(affine) => {
                let plane = shape[2..].iter().product();
                let [factors, summands] = &**affine;
                let y = tensor(shape.clone(), |y| {
                    scale_planes(factors, Some(summands), plane, x.storage(), y);
                });
                (y, Kept::Shape(shape))
            }
            Self::Dense(dense) => {
                let (dense, bias) = &**dense;
                let [inputs, outputs] = dense.extents();
                let rows = x.storage::<f32>().len() / inputs;
                let mut product = shape.clone();
                if let Some(last) = product.last_mut() {
                    *last = outputs;
                }
                let y = tensor(product, |y| dense.forward(rows, x.storage(), bias.as_deref(), y));
                (y, Kept::Shape(shape))
            }
        }
    }

    fn backward(&self, kept: Kept, cotangent: FlexTensor) -> FlexTensor {
        let cotangent = cotangent.to_contiguous();
        let g = cotangent.storage();
        let planes = |shape: &[usize]| shape[..shape.len() - 2].iter().product::<usize>();
        if let (Some(function), Kept::Input(kept)) = (self.of_rows(), &kept) {
            let shape = kept.layout().shape().clone();
            let width = shape.last().copied().unwrap_or(1);
            return tensor(shape, |gradient| function.pull_back(width, kept.storage(), g, gradient));
        }
        match (self, kept) {
            (Self::Function(function, rule), Kept::Input(x)) => {
                tensor(x.layout().shape().clone(), |gradient| {
                    vis_kernels::pull_back(*function, *rule, x.storage(), g, gradient);
                })
            }
            (Self::Max(windows), Kept::Winners(winners, shape)) => {
                let planes = planes(&shape);
                tensor(shape, |gradient| windows.max_gradient(planes, g, &winners, gradient))
            }
            (Self::Mean(windows, shares), Kept::Shape(shape)) => {
                let (planes, shares) = (planes(&shape), [&shares[0][..], &shares[1][..]]);
                tensor(shape, |gradient| windows.mean_gradient(planes, g, shares, gradient))
            }
            (Self::Scale(affine), Kept::Shape(shape)) => {
                let plane = shape[2..].iter().product();
                tensor(shape, |gradient| scale_planes(&affine[0], None, plane, g, gradient))
            }
            (Self::Dense(dense), Kept::Shape(shape)) => {
                let (dense, _) = &**dense;
                let rows = g.len() / dense.extents()[1];
                tensor(shape, |gradient| dense.input_gradient(rows, g, gradient))
            }
            _ => unreachable!("every operation keeps what it needs"),
        }
    }
}

/// Who computes them.
trait Own: Backend {
    type Kept: Clone + fmt::Debug + Send + 'static;
    fn forward(x: FloatTensor<Self>, operation: &Unary) -> (FloatTensor<Self>, Self::Kept);
    fn backward(kept: Self::Kept, cotangent: FloatTensor<Self>, operation: &Unary) -> FloatTensor<Self>;
}

impl Own for Flex {
    type Kept = Kept;
    fn forward(x: FlexTensor, operation: &Unary) -> (FlexTensor, Kept) {
        operation.forward(x)
    }
    fn backward(kept: Kept, cotangent: FlexTensor, operation: &Unary) -> FlexTensor {
        operation.backward(kept, cotangent)
    }
}

/// The operations as Burn dispatches them.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff,
)]
trait UnaryOps: Backend {
    fn unary(x: FloatTensor<Self>, operation: Unary) -> FloatTensor<Self>;
}

impl UnaryOps for Flex {
    fn unary(x: FloatTensor<Self>, operation: Unary) -> FloatTensor<Self> {
        operation.forward(x).0
    }
}

/// Backends that are never asked.
#[cfg(any(feature = "ndarray", feature = "wgpu", feature = "cuda"))]
macro_rules! nothing_of_its_own {
    ($backend:ty) => {
        impl Own for $backend {
            type Kept = ();
            fn forward(_: FloatTensor<Self>, _: &Unary) -> (FloatTensor<Self>, ()) {
                unreachable!("kernels of our own run on the CPU")
            }
            fn backward(_: (), _: FloatTensor<Self>, _: &Unary) -> FloatTensor<Self> {
                unreachable!("kernels of our own run on the CPU")
            }
        }
        impl UnaryOps for $backend {
            fn unary(x: FloatTensor<Self>, operation: Unary) -> FloatTensor<Self> {
                <Self as Own>::forward(x, &operation).0
            }
        }
    };
}

#[cfg(feature = "ndarray")]
nothing_of_its_own!(burn::backend::NdArray);
#[cfg(any(feature = "wgpu", feature = "cuda"))]
nothing_of_its_own!(burn::backend::Cube);

impl<B: Own + UnaryOps, C: CheckpointStrategy> UnaryOps for Autodiff<B, C> {
    fn unary(x: FloatTensor<Self>, operation: Unary) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct UnaryBackward;
        impl<B: Own> Backward<B, 1> for UnaryBackward {
            type State = (B::Kept, Unary);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (kept, operation) = ops.state;
                let [parent] = ops.parents;
                let cotangent = gradients.consume::<B>(&ops.node);
                if let Some(node) = parent {
                    gradients.register::<B>(node.id, B::backward(kept, cotangent, &operation));
                }
            }
        }

        match UnaryBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, kept) = B::forward(x.into_primitive(), &operation);
                prepared.finish((kept, operation), y)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(<B as UnaryOps>::unary(x.into_primitive(), operation))
            }
        }
    }
}
