//! The kernels of the CPU backend `flex`.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::{Bytes, DType, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

use super::winograd::{Epilogue, FrozenConvolution, Gate};
use super::{Kernels, Plan, ordinary, ordinary_backward, pool};
use crate::backprop::{self, Rectifier, Rule};

/// The 3×3 convolution by Winograd's algorithm, where it applies: on this backend, with padding 1 and one group.
pub(super) fn winograd(
    weight: &Tensor<4>,
    padding: [usize; 2],
    groups: usize,
) -> Option<Arc<FrozenConvolution>> {
    let [outputs, inputs, height, width] = weight.dims();
    let on_cpu = weight.device().inner() == burn::tensor::Device::flex();
    let applies = on_cpu && weight.dtype() == DType::F32 && groups == 1;
    (applies && [height, width] == [3, 3] && padding == [1, 1])
        .then(|| Arc::new(FrozenConvolution::new(&crate::host::values(weight.clone()), outputs, inputs)))
}

impl Kernels for Flex {
    /// The place of each maximum in its window, and the shape of the input.
    type Winners = (Arc<[u8]>, [usize; 4]);

    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: &Plan) -> FlexTensor {
        let Some(winograd) = plan.winograd.as_ref().filter(|_| x.dtype() == DType::F32) else {
            return ordinary::<Self>(x, weight, bias, plan);
        };
        let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
        let [batch, _, height, width] = x.layout().shape().dims();
        let outputs = winograd.outputs();
        // What the kernel can't fuse is applied afterwards.
        let (fused, after) = match plan.rectifier {
            Some((leaky @ Rectifier::Leaky(_), _)) => (None, Some(leaky)),
            other => (other.map(|(rectifier, _)| rectifier), None),
        };
        let mut y = vec![0.0; batch * outputs * height * width];
        let epilogue = Epilogue { bias: Some(bias.storage()), rectifier: fused };
        winograd.forward(x.storage(), [batch, height, width], &mut y, epilogue);
        let y = tensor(y, [batch, outputs, height, width]);
        match after {
            Some(rectifier) => backprop::apply::<Self>(y, rectifier),
            None => y,
        }
    }

    fn convolution_backward(
        y: Option<FlexTensor>,
        cotangent: FlexTensor,
        flipped: FlexTensor,
        plan: &Plan,
    ) -> FlexTensor {
        let Some(winograd) = plan.winograd.as_ref().filter(|_| cotangent.dtype() == DType::F32) else {
            return ordinary_backward::<Self>(y, cotangent, flipped, plan);
        };
        let (y, cotangent) = match (y, plan.rectifier) {
            // What the kernel has no gate for.
            (
                Some(y),
                Some((rectifier @ Rectifier::Leaky(_), rule) | (rectifier, rule @ Rule::Redirected)),
            ) => (None, backprop::pull_back::<Self>(y, cotangent, rectifier, rule)),
            (y, _) => (y, cotangent),
        };
        let cotangent = cotangent.to_contiguous();
        let [batch, _, height, width] = cotangent.layout().shape().dims();
        let inputs = winograd.inputs();
        let mut gradient = vec![0.0; batch * inputs * height * width];
        let y = y.map(|y| y.to_contiguous());
        let gate = match (&y, plan.rectifier) {
            (Some(y), Some((rectifier, rule))) => Some(Gate { output: y.storage(), rectifier, rule }),
            _ => None,
        };
        winograd.input_gradient(cotangent.storage(), [batch, height, width], &mut gradient, gate);
        tensor(gradient, [batch, inputs, height, width])
    }

    fn pool(x: FlexTensor) -> (FlexTensor, Self::Winners) {
        let x = x.to_contiguous();
        let shape @ [batch, channels, height, width] = x.layout().shape().dims();
        let count = batch * channels * (height / 2) * (width / 2);
        let (mut y, mut winners) = (vec![0.0; count], vec![0; count]);
        pool::max_pool(x.storage(), [batch * channels, height, width], &mut y, &mut winners);
        (tensor(y, [batch, channels, height / 2, width / 2]), (winners.into(), shape))
    }

    fn pool_backward(cotangent: FlexTensor, (winners, shape): Self::Winners) -> FlexTensor {
        let cotangent = cotangent.to_contiguous();
        let [batch, channels, height, width] = shape;
        let mut gradient = vec![0.0; batch * channels * height * width];
        pool::max_pool_gradient(
            cotangent.storage(),
            &winners,
            [batch * channels, height, width],
            &mut gradient,
        );
        tensor(gradient, shape)
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 4]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), DType::F32)
}
