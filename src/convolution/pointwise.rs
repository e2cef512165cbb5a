//! 1 × 1 convolution: a matrix product at every pixel.
//!
//! `output[o, p] = Σ_i weights[o, i] · input[i, p]`: the left factor is the weights, in blocks of up to 14 output
//! channels; the right factor is a panel of all input channels of 32 neighbouring pixels, copied into the cache,
//! through the gate on the way. Every task takes a few panels, and all or some of the blocks.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;

use super::fused::{Epilogue, Gate, Gated};
use super::multiply::{Factors, GROUP, ROWS, multiply};
use super::simd::{Kernel, LANES, Lanes, dispatch};
use super::workspace::{Shared, Workspace};

/// Numbers of the input that a task keeps in its cache: 128 KB.
const KEPT: usize = 1 << 15;
/// Fewer products than this are not worth another task.
const WORTH: usize = 1 << 18;
/// So many tasks keep all threads busy.
const TASKS: usize = 16;

/// A 1 × 1 convolution with stride 1 whose weights do not change; any number of channels and pixels.
///
/// It keeps the weights twice, once for each direction.
#[derive(Clone, Debug)]
pub(super) struct Pointwise {
    forward: Matrix,
    backward: Matrix,
}

/// A matrix in blocks of rows.
#[derive(Clone, Debug)]
struct Matrix {
    rows: usize,
    depth: usize,
    /// Rows in a block, but for the last.
    height: usize,
    /// `[blocks][depth][16]`, of which `height` places are used.
    numbers: Vec<f32>,
}

impl Matrix {
    fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let height = rows.div_ceil(rows.div_ceil(ROWS).max(1)).max(1);
        let mut numbers = vec![0.0; rows.div_ceil(height) * depth * LANES];
        for row in 0..rows {
            for k in 0..depth {
                numbers[(row / height * depth + k) * LANES + row % height] = at(row, k);
            }
        }
        Self { rows, depth, height, numbers }
    }
}

impl Pointwise {
    /// Takes weights `[outputs, inputs]`.
    ///
    /// # Panics
    /// If the length of `weights` is not `outputs * inputs`.
    pub(super) fn new(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "the weights must have the shape [outputs, inputs]");
        Self {
            forward: Matrix::new(outputs, inputs, |o, i| weights[o * inputs + i]),
            backward: Matrix::new(inputs, outputs, |i, o| weights[o * inputs + i]),
        }
    }

    pub(super) fn inputs(&self) -> usize {
        self.backward.rows
    }

    pub(super) fn outputs(&self) -> usize {
        self.forward.rows
    }

    /// `output[n, o, p] = rectifier(bias[o] + Σ_i weights[o, i] · input[n, i, p])`
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(super) fn forward(
        &self,
        input: &[f32],
        [batch, pixels]: [usize; 2],
        output: &mut [f32],
        epilogue: Epilogue,
    ) {
        if let Some(bias) = epilogue.bias {
            assert_eq!(bias.len(), self.outputs(), "one bias for each output channel");
        }
        run(&self.forward, Gated::new(input, None), input.len(), [batch, pixels], output, epilogue);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied to
    /// the cotangent after the gate.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(super) fn input_gradient(
        &self,
        cotangent: &[f32],
        [batch, pixels]: [usize; 2],
        gradient: &mut [f32],
        gate: Option<Gate>,
    ) {
        let gated = Gated::new(cotangent, gate);
        run(&self.backward, gated, cotangent.len(), [batch, pixels], gradient, Epilogue::NONE);
    }
}

fn run(
    matrix: &Matrix,
    input: Gated,
    input_length: usize,
    [batch, pixels]: [usize; 2],
    output: &mut [f32],
    epilogue: Epilogue,
) {
    let &Matrix { rows, depth, height, .. } = matrix;
    assert_eq!(input_length, batch * depth * pixels, "the input must fit its shape");
    assert_eq!(output.len(), batch * rows * pixels, "the output must fit its shape");
    if output.is_empty() {
        return;
    }
    let panels = pixels.div_ceil(GROUP);
    let panels_a_task = (KEPT / (depth.max(1) * GROUP)).max(WORTH / (rows * depth.max(1) * GROUP)).max(1);
    let spans = panels.div_ceil(panels_a_task);
    let panels_a_task = panels.div_ceil(spans);
    // Few pixels and many weights: the output channels are shared out as well.
    let blocks = rows.div_ceil(height);
    let worth = (batch * rows * depth * pixels).div_ceil(WORTH);
    let shares = TASKS.min(worth).div_ceil(batch * spans).min(blocks);
    let blocks_a_task = blocks.div_ceil(shares);
    let call = Call {
        matrix,
        input,
        pixels,
        output: Shared::new(output.as_mut_ptr()),
        bias: epilogue.bias,
        rectifier: epilogue.rectifier,
    };
    (0..batch * spans * shares).into_par_iter().for_each(|task| {
        let (image, task) = (task / (spans * shares), task % (spans * shares));
        let (span, share) = (task / shares, task % shares);
        let first_pixel = span * panels_a_task * GROUP;
        let first_block = share * blocks_a_task;
        if first_pixel < pixels && first_block < blocks {
            dispatch(Task {
                call,
                image,
                first_pixel,
                count: (panels_a_task * GROUP).min(pixels - first_pixel),
                blocks: first_block..blocks.min(first_block + blocks_a_task),
            });
        }
    });
}

/// One call of [`run`], with checked lengths.
#[derive(Clone, Copy)]
struct Call<'a> {
    matrix: &'a Matrix,
    input: Gated,
    pixels: usize,
    /// Tasks write different pixels or channels of it.
    output: Shared,
    bias: Option<&'a [f32]>,
    rectifier: Option<crate::backprop::Rectifier>,
}

// SAFETY: the input is only read.
unsafe impl Send for Call<'_> {}
// SAFETY: as above.
unsafe impl Sync for Call<'_> {}

/// Some blocks of output channels at `count` pixels of an image.
struct Task<'a> {
    call: Call<'a>,
    image: usize,
    first_pixel: usize,
    count: usize,
    blocks: std::ops::Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Task { call, image, first_pixel, count, blocks } = self;
        let &Matrix { rows, depth, height, ref numbers } = call.matrix;
        let panels = count.div_ceil(GROUP);
        let mut kept = Workspace::of(panels * depth * GROUP);
        let kept = kept.pointer();
        // SAFETY: `kept` holds `[panels][depth][32]`; what is read are pixels of the image.
        unsafe {
            for k in 0..depth {
                let from = (image * depth + k) * call.pixels + first_pixel;
                for part in 0..2 * panels {
                    let done = part * LANES;
                    let there = count.saturating_sub(done).min(LANES);
                    let value = if there == 0 {
                        V::splat(0.0)
                    } else {
                        call.input.load_between(from + done, 0, there)
                    };
                    value.store(kept.add((part / 2 * depth + k) * GROUP + part % 2 * LANES));
                }
            }
        }
        let mut sums = [0f32; ROWS * GROUP];
        for block in blocks {
            let here = height.min(rows - block * height);
            let left = numbers[block * depth * LANES..][..depth * LANES].as_ptr();
            for panel in 0..panels {
                let done = panel * GROUP;
                let wide = count - done > LANES;
                let right = kept.wrapping_add(panel * depth * GROUP);
                let factors =
                    Factors { rows: here, depth, left, right, sums: sums.as_mut_ptr(), add: false, wide };
                // SAFETY: `kept` holds `[panels][depth][32]`, and `sums` 14 rows of 32.
                unsafe { multiply::<V>(factors) };
                for row in 0..here {
                    let channel = block * height + row;
                    let bias = V::splat(call.bias.map_or(0.0, |bias| bias[channel]));
                    let start = (image * rows + channel) * call.pixels + first_pixel + done;
                    for part in 0..1 + usize::from(wide) {
                        // SAFETY: the sums are there; the pixels written are inside of the channel, and of this task.
                        unsafe {
                            let value = V::load(sums.as_ptr().add(row * GROUP + part * LANES)).add(bias);
                            let value = Epilogue::rectify(call.rectifier, value);
                            let to = call.output.get().add(start + part * LANES);
                            let there = count - done - part * LANES;
                            if there >= LANES { value.store(to) } else { value.store_first(to, there) }
                        }
                    }
                }
            }
        }
    }
}
