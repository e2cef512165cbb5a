//! 1 × 1 convolution: a matrix product at every pixel.
//!
//! `output[o, p] = Σ_i weights[o, i] · input[i, p]`: the left factor is the weights, in blocks of up to 14 output
//! channels; the right factor is a panel of all input channels of 32 neighbouring pixels, copied into the cache,
//! through the gate on the way. Every task copies a few panels and takes all blocks; where there are too few panels for
//! all threads, they are copied first, and every task takes some blocks of one.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::fused::{Epilogue, Gate, Gated};
use super::multiply::{Factors, GROUP, ROWS, multiply};
use super::simd::{Kernel, LANES, Lanes, dispatch};
use super::threads;
use super::workspace::{Shared, Workspace};

/// Numbers of the input that a task keeps in its cache: 128 KB.
const KEPT: usize = 1 << 15;
/// Fewer products than this are not worth another task.
const WORTH: usize = 1 << 18;
/// So many tasks keep all threads busy.
const TASKS: usize = 16;
/// Input channels of a panel that a task copies.
const PART: usize = 64;

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
    let call = Call {
        matrix,
        input,
        pixels,
        output: Shared::new(output.as_mut_ptr()),
        bias: epilogue.bias,
        rectifier: epilogue.rectifier,
    };
    let panels = pixels.div_ceil(GROUP);
    let worth = (batch * rows * depth * pixels).div_ceil(WORTH).min(TASKS);
    let most = (KEPT / (depth.max(1) * GROUP)).max(WORTH / (rows * depth.max(1) * GROUP)).max(1);
    if batch * panels >= worth {
        // Every task copies the panels that it needs.
        let spans = panels.div_ceil(most).max(worth.div_ceil(batch));
        let at_once = panels.div_ceil(spans);
        let spans = panels.div_ceil(at_once);
        threads::for_each(batch * spans, |task| {
            let (image, first) = (task / spans, task % spans * at_once);
            dispatch(Span { call, image, panels: first..panels.min(first + at_once) });
        });
        return;
    }
    // Few pixels and many weights: the panels are copied once, and the output channels are shared out as well.
    let blocks = rows.div_ceil(height);
    let shares = worth.div_ceil(batch * panels).min(blocks);
    let at_once = blocks.div_ceil(shares);
    let mut kept = Workspace::of(batch * panels * depth * GROUP);
    let kept = Shared::new(kept.pointer());
    let parts = depth.div_ceil(PART);
    threads::for_each(batch * panels * parts, |task| {
        let (panel, part) = (task / parts, task % parts);
        let depth = part * PART..depth.min((part + 1) * PART);
        dispatch(CopyChannels {
            call,
            image: panel / panels,
            panel: panel % panels,
            depth,
            to: panel_of(kept, panel, call),
        });
    });
    threads::for_each(batch * panels * shares, |task| {
        let (panel, share) = (task / shares, task % shares);
        let blocks = share * at_once..blocks.min((share + 1) * at_once);
        let from = panel_of(kept, panel, call);
        dispatch(Blocks { call, image: panel / panels, panel: panel % panels, blocks, from });
    });
}

/// The copy of a panel, counted over all images.
fn panel_of(kept: Shared, panel: usize, call: Call) -> *mut f32 {
    kept.get().wrapping_add(panel * call.matrix.depth * GROUP)
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

impl Call<'_> {
    /// Copies some input channels of a panel, through the gate, to `[depth][32]` at `to`, with zeros where there is no
    /// pixel.
    ///
    /// # Safety
    /// There is room at `to` for the channels up to the last of `depth`.
    #[inline(always)]
    unsafe fn copy<V: Lanes>(&self, image: usize, panel: usize, depth: Range<usize>, to: *mut f32) {
        let count = self.pixels - panel * GROUP;
        for k in depth {
            let from = (image * self.matrix.depth + k) * self.pixels + panel * GROUP;
            for part in 0..2 {
                let there = count.saturating_sub(part * LANES).min(LANES);
                // SAFETY: what is read are pixels of the image.
                unsafe {
                    let value = if there == 0 {
                        V::splat(0.0)
                    } else {
                        self.input.load_between(from + part * LANES, 0, there)
                    };
                    value.store(to.wrapping_add(k * GROUP + part * LANES));
                }
            }
        }
    }

    /// Computes a block of output channels at the pixels of a panel, whose copy is at `from`.
    ///
    /// # Safety
    /// The copy is there, and room for 14 rows of 32 at `sums`.
    #[inline(always)]
    unsafe fn block<V: Lanes>(
        &self,
        image: usize,
        panel: usize,
        block: usize,
        from: *const f32,
        sums: *mut f32,
    ) {
        let &Matrix { rows, depth, height, ref numbers } = self.matrix;
        let here = height.min(rows - block * height);
        let left = numbers[block * depth * LANES..][..depth * LANES].as_ptr();
        let count = self.pixels - panel * GROUP;
        let wide = count > LANES;
        // SAFETY: as vouched for by the caller.
        unsafe { multiply::<V>(Factors { rows: here, depth, left, right: from, sums, add: false, wide }) };
        for row in 0..here {
            let channel = block * height + row;
            let bias = V::splat(self.bias.map_or(0.0, |bias| bias[channel]));
            let start = (image * rows + channel) * self.pixels + panel * GROUP;
            for part in 0..1 + usize::from(wide) {
                // SAFETY: the sums are there; the pixels written are inside of the channel, and of this task.
                unsafe {
                    let value = V::load(sums.add(row * GROUP + part * LANES)).add(bias);
                    let value = Epilogue::rectify(self.rectifier, value);
                    let to = self.output.get().add(start + part * LANES);
                    let there = count - part * LANES;
                    if there >= LANES { value.store(to) } else { value.store_first(to, there) }
                }
            }
        }
    }
}

/// A task: all output channels at some panels of an image.
struct Span<'a> {
    call: Call<'a>,
    image: usize,
    panels: Range<usize>,
}

impl Kernel for Span<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Span { call, image, panels } = self;
        let depth = call.matrix.depth;
        let mut kept = Workspace::of(panels.len() * depth * GROUP);
        let kept = kept.pointer();
        let place = |panel: usize| kept.wrapping_add((panel - panels.start) * depth * GROUP);
        let mut sums = [0f32; ROWS * GROUP];
        // SAFETY: `kept` holds the panels, and `sums` 14 rows of 32.
        unsafe {
            for panel in panels.clone() {
                call.copy::<V>(image, panel, 0..depth, place(panel));
            }
            for block in 0..call.matrix.rows.div_ceil(call.matrix.height) {
                for panel in panels.clone() {
                    call.block::<V>(image, panel, block, place(panel), sums.as_mut_ptr());
                }
            }
        }
    }
}

/// A task: the copy of some input channels of a panel.
struct CopyChannels<'a> {
    call: Call<'a>,
    image: usize,
    panel: usize,
    depth: Range<usize>,
    to: *mut f32,
}

impl Kernel for CopyChannels<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: whoever made the task vouches for `to`.
        unsafe { self.call.copy::<V>(self.image, self.panel, self.depth, self.to) }
    }
}

/// A task: some blocks of output channels at the pixels of a panel that has been copied.
struct Blocks<'a> {
    call: Call<'a>,
    image: usize,
    panel: usize,
    blocks: Range<usize>,
    from: *const f32,
}

impl Kernel for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let mut sums = [0f32; ROWS * GROUP];
        for block in self.blocks {
            // SAFETY: whoever made the task vouches for `from`; `sums` holds 14 rows of 32.
            unsafe { self.call.block::<V>(self.image, self.panel, block, self.from, sums.as_mut_ptr()) }
        }
    }
}
