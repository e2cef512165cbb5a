//! The kernels of the CPU backend `flex`.

use std::mem::MaybeUninit;
use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

use super::direct::{Direct, Sizes};
use super::fused::{Epilogue, Gate};
use super::pointwise::Pointwise;
use super::winograd;
use super::workspace::Workspace;
use super::{Kernels, Padding, Plan, ordinary, ordinary_backward, pool};
use crate::backprop::{self, Rectifier, Rule};

/// A kernel of our own, with the weights as it wants them.
#[derive(Clone)]
pub(super) enum Own {
    Winograd(Arc<winograd::FrozenConvolution>),
    Pointwise(Arc<Pointwise>),
    Direct(Arc<Direct>),
}

/// Up to so many input channels a group the direct kernel is the fastest.
const FEW_CHANNELS: usize = 4;

impl Own {
    /// The kernel for these weights, if they are on this backend and there is one.
    pub(super) fn new(weight: &Tensor<4>, stride: usize, padding: Padding, groups: usize) -> Option<Self> {
        if weight.device().inner() != Device::flex() || weight.dtype() != DType::F32 || stride == 0 {
            return None;
        }
        let [outputs, inputs, height, width] = weight.dims();
        let values = || crate::host::values(weight.clone());
        let around = padding.symmetric([height, width], stride);
        match (stride, groups, [height, width], around) {
            (1, 1, [3, 3], Some([1, 1])) => {
                Some(Self::Winograd(Arc::new(winograd::FrozenConvolution::new(&values(), outputs, inputs))))
            }
            (1, 1, [1, 1], Some([0, 0])) => {
                Some(Self::Pointwise(Arc::new(Pointwise::new(&values(), outputs, inputs))))
            }
            _ if inputs <= FEW_CHANNELS && outputs.is_multiple_of(groups) => {
                let channels = [groups, outputs / groups, inputs];
                Some(Self::Direct(Arc::new(Direct::new(&values(), channels, [height, width], stride))))
            }
            _ => None,
        }
    }

    fn inputs(&self) -> usize {
        match self {
            Self::Winograd(kernel) => kernel.inputs(),
            Self::Pointwise(kernel) => kernel.inputs(),
            Self::Direct(kernel) => kernel.inputs(),
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Winograd(kernel) => kernel.outputs(),
            Self::Pointwise(kernel) => kernel.outputs(),
            Self::Direct(kernel) => kernel.outputs(),
        }
    }

    fn forward(&self, input: &[f32], sizes: Sizes, output: &mut [f32], epilogue: Epilogue) {
        let Sizes { batch, input: [height, width], .. } = sizes;
        match self {
            Self::Winograd(kernel) => kernel.forward(input, [batch, height, width], output, epilogue),
            Self::Pointwise(kernel) => kernel.forward(input, [batch, height * width], output, epilogue),
            Self::Direct(kernel) => kernel.forward(input, sizes, output, epilogue),
        }
    }

    fn input_gradient(&self, cotangent: &[f32], sizes: Sizes, gradient: &mut [f32], gate: Option<Gate>) {
        let Sizes { batch, input: [height, width], .. } = sizes;
        match self {
            Self::Winograd(kernel) => {
                kernel.input_gradient(cotangent, [batch, height, width], gradient, gate);
            }
            Self::Pointwise(kernel) => {
                kernel.input_gradient(cotangent, [batch, height * width], gradient, gate);
            }
            Self::Direct(kernel) => kernel.input_gradient(cotangent, sizes, gradient, gate),
        }
    }
}

impl Plan {
    fn sizes(&self, batch: usize, input: [usize; 2]) -> Sizes {
        let around = [0, 1].map(|axis| self.padding.around(input[axis], self.kernel[axis], self.stride));
        let output = [0, 1].map(|axis| {
            let padded = input[axis] + around[axis].0 + around[axis].1;
            assert!(padded >= self.kernel[axis], "an image smaller than the kernel");
            (padded - self.kernel[axis]) / self.stride + 1
        });
        Sizes { batch, input, output, padding: around.map(|(before, _)| before) }
    }
}

impl Kernels for Flex {
    /// The place of each maximum in its window, and the shape of the input.
    type Winners = (Arc<Vec<u8>>, [usize; 4]);

    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: &Plan) -> FlexTensor {
        let Some(own) = &plan.own else {
            return ordinary::<Self>(x, weight, bias, plan);
        };
        let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
        let [batch, channels, height, width] = x.layout().shape().dims();
        assert_eq!(channels, own.inputs(), "channels of the image");
        let sizes = plan.sizes(batch, [height, width]);
        // What the kernel can't fuse is applied afterwards.
        let (fused, after) = match plan.rectifier {
            Some((leaky @ Rectifier::Leaky(_), _)) => (None, Some(leaky)),
            other => (other.map(|(rectifier, _)| rectifier), None),
        };
        let epilogue = Epilogue { bias: Some(bias.storage()), rectifier: fused };
        let y = tensor([batch, own.outputs(), sizes.output[0], sizes.output[1]], |y| {
            own.forward(x.storage(), sizes, y, epilogue);
        });
        match after {
            Some(rectifier) => backprop::apply::<Self>(y, rectifier),
            None => y,
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
        let cotangent = cotangent.to_contiguous();
        let y = y.map(|y| y.to_contiguous());
        let [batch, ..] = cotangent.layout().shape().dims::<4>();
        let rectifier = match (&y, plan.rectifier) {
            (Some(y), Some((rectifier, Rule::Redirected)))
                if all_alive(y.storage(), cotangent.storage(), batch, rectifier) =>
            {
                Some((rectifier, Rule::Plain))
            }
            (_, rectifier) => rectifier,
        };
        let (y, cotangent) = match (y, rectifier) {
            // What the kernel has no gate for.
            (
                Some(y),
                Some((rectifier @ Rectifier::Leaky(_), rule) | (rectifier, rule @ Rule::Redirected)),
            ) => (None, backprop::pull_back::<Self>(y, cotangent, rectifier, rule).to_contiguous()),
            (y, _) => (y, cotangent),
        };
        let gate = match (&y, rectifier) {
            (Some(y), Some((rectifier, rule))) => Some(Gate { output: y.storage(), rectifier, rule }),
            _ => None,
        };
        tensor([batch, own.inputs(), size[0], size[1]], |gradient| {
            own.input_gradient(cotangent.storage(), plan.sizes(batch, size), gradient, gate);
        })
    }

    fn pool(x: FlexTensor) -> (FlexTensor, Self::Winners) {
        let x = x.to_contiguous();
        let shape @ [batch, channels, height, width] = x.layout().shape().dims();
        let mut winners = vec![0; batch * channels * (height / 2) * (width / 2)];
        let y = tensor([batch, channels, height / 2, width / 2], |y| {
            pool::max_pool(x.storage(), [batch * channels, height, width], y, &mut winners);
        });
        (y, (winners.into(), shape))
    }

    fn pool_backward(cotangent: FlexTensor, (winners, shape): Self::Winners) -> FlexTensor {
        let cotangent = cotangent.to_contiguous();
        let [batch, channels, height, width] = shape;
        let planes = [batch * channels, height, width];
        tensor(shape, |gradient| pool::max_pool_gradient(cotangent.storage(), &winners, planes, gradient))
    }
}

/// Whether something of each image's cotangent gets through its rectifiers: then [`Rule::Redirected`] is plain.
fn all_alive(y: &[f32], cotangent: &[f32], batch: usize, rectifier: Rectifier) -> bool {
    let one = (y.len() / batch.max(1)).max(1);
    let most = if rectifier == Rectifier::Relu6 { 6.0 } else { f32::INFINITY };
    let passes = |(y, cotangent): (&f32, &f32)| *y > 0.0 && *y < most && *cotangent != 0.0;
    y.chunks(one).zip(cotangent.chunks(one)).all(|(y, cotangent)| y.iter().zip(cotangent).any(passes))
}

/// A tensor that `write` fills, in memory from the pool.
fn tensor(shape: [usize; 4], write: impl FnOnce(&mut [f32])) -> FlexTensor {
    let count = shape.iter().product();
    let mut memory = Workspace::of(count);
    write(&mut memory.numbers_mut()[..count]);
    // SAFETY: the memory is at least as long, and all of it are numbers.
    let bytes = unsafe { Bytes::from_controller(Box::new(Pooled(memory)), count * size_of::<f32>()) };
    FlexTensor::new(bytes, Layout::contiguous(Shape::from(shape)), DType::F32)
}

/// The memory of a tensor, which goes back to the pool with the last tensor that shares it.
struct Pooled(Workspace);

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>() // it is more, but a copy need not be
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        Ok(self.0.bytes_mut())
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        Ok(self.0.bytes())
    }
}
