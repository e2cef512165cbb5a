//! The kernel for given filters.

use crate::direct::Direct;
use crate::fused::{Epilogue, Gate};
use crate::general::General;
use crate::geometry::{Filters, Geometry};
use crate::pointwise::Pointwise;
use crate::winograd::Winograd;

/// Up to so many channels a group, read and written, the direct kernel is the fastest. Measured, as the others: see
/// `benches/layers.rs`.
const FEW_CHANNELS: usize = 8;
/// The same for a gradient of stride 1.
const FEW_CHANNELS_BACK: usize = 16;
/// To so few channels it is the fastest from however many.
const LEAST_CHANNELS: usize = 4;

/// A convolution with frozen weights, by the kernel that computes it fastest.
///
/// ```
/// use vis_kernels::{Convolution, Epilogue, Filters, Padding};
///
/// // The sum of each pixel's neighbours, the pixel itself among them.
/// let filters = Filters::new([1, 1, 3, 3], 1, 1, Padding::Same)?;
/// let convolution = Convolution::new(&[1.0; 9], &filters);
/// let sizes = filters.on(1, [2, 3])?;
/// let mut output = [0.0; 6];
/// convolution.forward(&[1.0; 6], &sizes, &mut output, Epilogue::NONE);
/// assert_eq!(output.map(f32::round), [4.0, 6.0, 4.0, 4.0, 6.0, 4.0]);
/// # Ok::<(), vis_kernels::Mismatch>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Convolution {
    /// 3×3, stride 1, padding 1.
    Winograd(Winograd),
    /// 1×1, stride 1.
    Pointwise(Pointwise),
    /// Few channels a group, one stride up to the size of the kernel, no dilation.
    Direct(Direct),
    /// Any other.
    General(General),
    /// One kernel forward, another one back.
    Split {
        /// For the output.
        forward: Box<Self>,
        /// For the gradient.
        backward: Box<Self>,
    },
}

/// Which kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Winograd,
    Pointwise,
    Direct,
    General,
}

impl Convolution {
    /// The kernel for these filters, with the weights `[outputs, inputs / groups, height, width]` as it wants them.
    ///
    /// # Panics
    /// If the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Self {
        let with = |choice| match choice {
            Choice::Winograd => Self::Winograd(Winograd::new(weights, filters)),
            Choice::Pointwise => Self::Pointwise(Pointwise::new(weights, filters)),
            Choice::Direct => Self::Direct(Direct::new(weights, filters)),
            Choice::General => Self::General(General::new(weights, filters)),
        };
        match Self::choose(filters) {
            [forward, backward] if forward == backward => with(forward),
            [forward, backward] => {
                Self::Split { forward: Box::new(with(forward)), backward: Box::new(with(backward)) }
            }
        }
    }

    /// The fastest kernels forward and back.
    fn choose(filters: &Filters) -> [Choice; 2] {
        if Winograd::suits(filters) {
            return [Choice::Winograd; 2];
        }
        if Pointwise::suits(filters) {
            return [Choice::Pointwise; 2];
        }
        if !Direct::suits(filters) {
            return [Choice::General; 2];
        }
        // What a panel costs to gather is shared by the channels that are written.
        let [inputs, outputs] = filters.channels_of_a_group();
        let few = if filters.stride() == [1, 1] { FEW_CHANNELS_BACK } else { FEW_CHANNELS };
        let by = |read: usize, written: usize, few: usize| {
            if written <= LEAST_CHANNELS || read.max(written) <= few {
                Choice::Direct
            } else {
                Choice::General
            }
        };
        let back = if General::has_patches(filters) { Choice::General } else { by(outputs, inputs, few) };
        [by(inputs, outputs, FEW_CHANNELS), back]
    }

    /// `output = rectifier(weights ∗ input + bias)`.
    ///
    /// # Panics
    /// If the sizes are not for these filters, or a length does not fit them.
    pub fn forward(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        match self {
            Self::Winograd(kernel) => kernel.forward(input, sizes, output, epilogue),
            Self::Pointwise(kernel) => kernel.forward(input, sizes, output, epilogue),
            Self::Direct(kernel) => kernel.forward(input, sizes, output, epilogue),
            Self::General(kernel) => kernel.forward(input, sizes, output, epilogue),
            Self::Split { forward, .. } => forward.forward(input, sizes, output, epilogue),
        }
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied to
    /// the cotangent of the output after the gate. All of `gradient` is written.
    ///
    /// # Panics
    /// If the sizes are not for these filters, or a length does not fit them.
    pub fn input_gradient(
        &self,
        cotangent: &[f32],
        sizes: &Geometry,
        gradient: &mut [f32],
        gate: Option<Gate<'_>>,
    ) {
        match self {
            Self::Winograd(kernel) => kernel.input_gradient(cotangent, sizes, gradient, gate),
            Self::Pointwise(kernel) => kernel.input_gradient(cotangent, sizes, gradient, gate),
            Self::Direct(kernel) => kernel.input_gradient(cotangent, sizes, gradient, gate),
            Self::General(kernel) => kernel.input_gradient(cotangent, sizes, gradient, gate),
            Self::Split { backward, .. } => backward.input_gradient(cotangent, sizes, gradient, gate),
        }
    }
}
