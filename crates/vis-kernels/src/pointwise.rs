//! 1 × 1 convolution: a matrix product at every pixel.
//!
//! `output[o, p] = Σ_i weights[o, i] · input[i, p]`: the left factor is the weights, in blocks of up to 14 output
//! channels; the right factor is a panel of all input channels of 32 neighbouring pixels, copied into the cache,
//! through the gate on the way. Every task copies a few panels and takes all blocks; where there are too few panels for
//! all threads, they are copied first, and every task takes some blocks of one.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::fmt;
use std::ops::Range;

use crate::fused::{Epilogue, Gate, Gated, Rectifier, rectify};
use crate::geometry::{Filters, Geometry};
use crate::multiply::{Factors, GROUP, ROWS, multiply};
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace};

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
#[derive(Clone)]
pub struct Pointwise {
    filters: Filters,
    forward: Matrix,
    backward: Matrix,
}

/// A matrix in blocks of rows.
#[derive(Clone)]
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
    /// Whether these filters are what it computes.
    pub fn suits(filters: &Filters) -> bool {
        filters.groups() == 1
            && filters.kernel() == [1, 1]
            && filters.stride() == 1
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
    let &Matrix { rows, depth, height, .. } = matrix;
    let [batch, _, image_height, image_width] = sizes.input();
    let pixels = image_height * image_width;
    if output.is_empty() {
        return;
    }
    let call = Call {
        matrix,
        input,
        pixels,
        output: Shared::new(output),
        bias: epilogue.bias,
        rectifier: epilogue.rectifier,
    };
    let panels = pixels.div_ceil(GROUP);
    // More than can be counted are more than enough.
    let products = [rows, depth, pixels].into_iter().fold(batch, usize::saturating_mul);
    let worth = products.div_ceil(WORTH).min(TASKS);
    let of_a_panel = rows.saturating_mul(depth).saturating_mul(GROUP);
    let most = (KEPT / GROUP / depth).max(WORTH / of_a_panel).max(1);
    if batch * panels >= worth {
        // Every task copies the panels that it needs.
        let spans = panels.div_ceil(most).max(worth.div_ceil(batch));
        let at_once = panels.div_ceil(spans);
        let spans = panels.div_ceil(at_once);
        for_each(batch * spans, |task| {
            let (image, first) = (task / spans, task % spans * at_once);
            let panels = first..panels.min(first + at_once);
            // SAFETY: tasks write different pixels of the output.
            unsafe { dispatch(Span { call, image, panels }) }
        });
        return;
    }
    // Few pixels and many weights: the panels are copied once, and the output channels are shared out as well.
    let blocks = rows.div_ceil(height);
    let shares = worth.div_ceil(batch * panels).min(blocks);
    let at_once = blocks.div_ceil(shares);
    let mut kept = Workspace::of(&[batch, panels, depth, GROUP]);
    let kept = Shared::new(kept.numbers_mut());
    let parts = depth.div_ceil(PART);
    for_each(batch * panels * parts, |task| {
        let (panel, part) = (task / parts, task % parts);
        let depth = part * PART..depth.min((part + 1) * PART);
        let to = panel_of(kept, panel, &call);
        // SAFETY: there is room for every panel; tasks write different channels of them.
        unsafe { dispatch(CopyChannels { call, image: panel / panels, panel: panel % panels, depth, to }) }
    });
    for_each(batch * panels * shares, |task| {
        let (panel, share) = (task / shares, task % shares);
        let blocks = share * at_once..blocks.min((share + 1) * at_once);
        let from = panel_of(kept, panel, &call);
        // SAFETY: the panels are there; tasks write different pixels or channels of the output.
        unsafe { dispatch(Blocks { call, image: panel / panels, panel: panel % panels, blocks, from }) }
    });
}

/// The copy of a panel, counted over all images.
fn panel_of(kept: Shared<'_>, panel: usize, call: &Call<'_>) -> *mut f32 {
    kept.at(panel * call.matrix.depth * GROUP)
}

/// One call of [`run`], with checked lengths.
#[derive(Clone, Copy)]
struct Call<'a> {
    matrix: &'a Matrix,
    input: Gated<'a>,
    pixels: usize,
    /// Tasks write different pixels or channels of it.
    output: Shared<'a>,
    bias: Option<&'a [f32]>,
    rectifier: Option<Rectifier>,
}

impl Call<'_> {
    /// Copies some input channels of a panel, through the gate, to `[depth][32]` at `to`, with zeros where there is no
    /// pixel.
    ///
    /// # Safety
    /// There is room at `to` for the channels up to the last of `depth`.
    #[inline(always)]
    unsafe fn copy<S: InstructionSet>(
        &self,
        set: S,
        image: usize,
        panel: usize,
        depth: Range<usize>,
        to: *mut f32,
    ) {
        let count = self.pixels - panel * GROUP;
        for k in depth {
            let from = (image * self.matrix.depth + k) * self.pixels + panel * GROUP;
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

    /// Computes a block of output channels at the pixels of a panel, whose copy is at `from`.
    ///
    /// # Safety
    /// The copy is there, and room for 14 rows of 32 at `sums`; nobody else uses these pixels of these channels of the
    /// output.
    #[inline(always)]
    unsafe fn block<S: InstructionSet>(
        &self,
        set: S,
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
        unsafe { multiply(set, Factors { rows: here, depth, left, right: from, sums, add: false, wide }) };
        for row in 0..here {
            let channel = block * height + row;
            let bias = set.splat(self.bias.map_or(0.0, |bias| bias[channel]));
            let start = (image * rows + channel) * self.pixels + panel * GROUP;
            for part in 0..1 + usize::from(wide) {
                // SAFETY: the sums are there; the pixels written are inside of the channel, and of this task.
                unsafe {
                    let value = set.load(sums.add(row * GROUP + part * LANES)).add(bias);
                    let value = rectify(set, self.rectifier, value);
                    let to = self.output.at(start + part * LANES);
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
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Span { call, image, panels } = self;
        let depth = call.matrix.depth;
        let mut kept = Workspace::of(&[panels.len(), depth, GROUP]);
        let kept = kept.pointer();
        let place = |panel: usize| kept.wrapping_add((panel - panels.start) * depth * GROUP);
        let mut sums = [0f32; ROWS * GROUP];
        // SAFETY: `kept` holds the panels, and `sums` 14 rows of 32.
        unsafe {
            for panel in panels.clone() {
                call.copy(set, image, panel, 0..depth, place(panel));
            }
            for block in 0..call.matrix.rows.div_ceil(call.matrix.height) {
                for panel in panels.clone() {
                    call.block(set, image, panel, block, place(panel), sums.as_mut_ptr());
                }
            }
        }
    }
}

/// A task: the copy of some input channels of a panel to `to`, where there is room for all of it.
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
    unsafe fn run<S: InstructionSet>(self, set: S) {
        // SAFETY: whoever made the task vouches for `to`.
        unsafe { self.call.copy(set, self.image, self.panel, self.depth, self.to) }
    }
}

/// A task: some blocks of output channels at the pixels of a panel that has been copied to `from`.
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
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let mut sums = [0f32; ROWS * GROUP];
        for block in self.blocks {
            // SAFETY: whoever made the task vouches for `from`; `sums` holds 14 rows of 32.
            unsafe { self.call.block(set, self.image, self.panel, block, self.from, sums.as_mut_ptr()) }
        }
    }
}
