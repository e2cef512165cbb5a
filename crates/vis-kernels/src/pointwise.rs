//! 1 × 1 convolution: a matrix product at every pixel.
//!
//! `output[o, p] = Σ_i weights[o, i] · input[i, p]`: a product of panels ([`panels`](crate::panels)), whose columns are the
//! pixels and are read through the gate.

use std::fmt;
use std::ops::Range;

use crate::fused::{Epilogue, Gate, Gated};
use crate::geometry::{Filters, Geometry};
use crate::multiply::GROUP;
use crate::panels::{Grid, Matrix, Product, Source};
use crate::simd::{InstructionSet, LANES, Lanes};
use crate::workspace::Shared;

/// A 1 × 1 convolution with stride 1 whose weights do not change; any number of channels and pixels.
///
/// It keeps the weights twice, once for each direction.
#[derive(Clone)]
pub struct Pointwise {
    filters: Filters,
    forward: Matrix,
    backward: Matrix,
}

impl Pointwise {
    /// Whether these filters are what it computes.
    pub fn suits(filters: &Filters) -> bool {
        filters.groups() == 1
            && filters.kernel() == [1, 1]
            && filters.stride() == [1, 1]
            && filters.symmetric_padding() == Some([0, 0])
    }

    /// Takes weights `[outputs, inputs, 1, 1]`.
    ///
    /// # Panics
    /// If the filters do not [suit](Self::suits), or the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Self {
        assert!(
            Self::suits(filters),
            "1×1 filters of stride 1 without padding and of one group, not {filters:?}"
        );
        let [outputs, inputs, ..] = filters.weight();
        assert_eq!(weights.len(), outputs * inputs, "weights of the shape {:?}", filters.weight());
        Self {
            filters: *filters,
            forward: Matrix::new(outputs, inputs, |o, i| weights[o * inputs + i]),
            backward: Matrix::new(inputs, outputs, |i, o| weights[o * inputs + i]),
        }
    }

    /// `output[n, o, p] = rectifier(bias[o] + Σ_i weights[o, i] · input[n, i, p])`
    ///
    /// # Panics
    /// If the sizes are not for these filters, or a length does not fit them.
    pub fn forward(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        sizes.check(&self.filters, input.len(), output.len());
        epilogue.check(self.filters.outputs());
        run(&self.forward, Gated::new(input, None), sizes, output, epilogue);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied to
    /// the cotangent after the gate.
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
        sizes.check(&self.filters, gradient.len(), cotangent.len());
        run(&self.backward, Gated::new(cotangent, gate), sizes, gradient, Epilogue::NONE);
    }
}

impl fmt::Debug for Pointwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pointwise").field("filters", &self.filters).finish_non_exhaustive()
    }
}

fn run(matrix: &Matrix, input: Gated<'_>, sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
    let [batch, _, height, width] = sizes.input();
    let pixels = height * width;
    let product = Product {
        matrices: std::slice::from_ref(matrix),
        source: Pixels { input, pixels, channels: matrix.depth },
        columns: pixels,
        target: Shared::new(output),
        grid: Grid::dense(pixels),
        places: None,
        bias: epilogue.bias,
        rectifier: epilogue.rectifier,
    };
    // SAFETY: the lengths of input and output have been checked against the sizes.
    unsafe { product.run(batch) }
}

/// The pixels of images, through the gate.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a> {
    pub(crate) input: Gated<'a>,
    pub(crate) pixels: usize,
    /// Channels of a unit.
    pub(crate) channels: usize,
}

impl Source for Pixels<'_> {
    #[inline(always)]
    unsafe fn copy<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        depth: Range<usize>,
        to: *mut f32,
    ) {
        let count = self.pixels - panel * GROUP;
        for k in depth {
            let from = (unit * self.channels + k) * self.pixels + panel * GROUP;
            for part in 0..2 {
                let there = count.saturating_sub(part * LANES).min(LANES);
                // SAFETY: what is read are pixels of the image.
                unsafe {
                    let value = if there == 0 {
                        set.splat(0.0)
                    } else {
                        self.input.load_between(set, from + part * LANES, 0, there)
                    };
                    value.store(to.wrapping_add(k * GROUP + part * LANES));
                }
            }
        }
    }
}
