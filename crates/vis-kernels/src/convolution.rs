//! The kernel for given filters.

use crate::direct::Direct;
use crate::fused::{Epilogue, Gate};
use crate::geometry::{Filters, Geometry};
use crate::pointwise::Pointwise;
use crate::winograd::Winograd;

/// Up to so many input channels a group the direct kernel is the fastest.
const FEW_CHANNELS: usize = 4;

/// A convolution with frozen weights, by the kernel that computes it fastest.
///
/// ```
/// use vis_kernels::{Convolution, Epilogue, Filters, Padding};
///
/// // The sum of each pixel's neighbours, the pixel itself among them.
/// let filters = Filters::new([1, 1, 3, 3], 1, 1, Padding::Same)?;
/// let convolution = Convolution::new(&[1.0; 9], &filters).expect("there is a kernel for 3×3 filters");
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
    /// Up to 4 input channels a group, any kernel and padding, and strides up to the size of the kernel.
    Direct(Direct),
}

impl Convolution {
    /// The kernel for these filters, with the weights `[outputs, inputs / groups, height, width]` as it wants them;
    /// nothing if there is none.
    ///
    /// # Panics
    /// If the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Option<Self> {
        let [inputs, _] = filters.channels_of_a_group();
        if Winograd::suits(filters) {
            Some(Self::Winograd(Winograd::new(weights, filters)))
        } else if Pointwise::suits(filters) {
            Some(Self::Pointwise(Pointwise::new(weights, filters)))
        } else if inputs <= FEW_CHANNELS && Direct::suits(filters) {
            Some(Self::Direct(Direct::new(weights, filters)))
        } else {
            None
        }
    }

    /// Whether [`new`](Self::new) has a kernel for these filters.
    pub fn suits(filters: &Filters) -> bool {
        let [inputs, _] = filters.channels_of_a_group();
        Winograd::suits(filters)
            || Pointwise::suits(filters)
            || (inputs <= FEW_CHANNELS && Direct::suits(filters))
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
        }
    }
}
