//! 3 × 3 convolution by Winograd's minimal filtering F(4×4, 3×3).
//!
//! # Formula
//! A tile of 4 × 4 outputs depends on 6 × 6 inputs. With the Cook-Toom matrices `A`, `B`, `G` of six points,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d: 6 × 6 inputs, g: 3 × 3 filter, Y: 4 × 4 outputs
//! ```
//!
//! takes 36 multiplications where the direct way takes 144 (Lavin & Gray 2016, arXiv 1509.09308). Summed over
//! the input channels, the products `⊙` of all tiles are 36 independent matrix products
//! `M[tile, out] = Σ_in V[tile, in] · U[in, out]`, one for each of the 36 positions in the tile; that is where
//! the time goes.
//!
//! # Points
//! The points are 0, ±α, ±β, ∞ (see [`ALPHA`], [`BETA`]). Symmetric pairs make the transforms cheap: the
//! polynomials of `+p` and `-p` share their even and odd halves. Small, well separated points keep the rounding
//! error down (Barabasz et al. 2018, arXiv 1803.10986).
//!
//! # The input gradient
//! It is the convolution of the cotangent with the filter turned by 180° and its channel axes exchanged: the same
//! code, with another way of reading the filter.
//!
//! # Filters are transformed on the fly
//! A transformed filter is four times as large as the filter: 235 MB for the trunk of VGG16, in each of the two
//! directions. Reading that from memory would take longer than computing it: a block of 32 output channels and
//! 64 input channels is transformed into the second-level cache and used for all tiles right away. So only the
//! filter itself is kept, once, in blocks of 16 × 16 channels, from which both directions can be read.
//!
//! # Two ways to split the work
//! - *Few weights, many tiles* (the first layers): every task takes a few tiles through the three stages, all
//!   channels, in its own cache; the transformed filter (at most a few MB) is made once a call and shared.
//! - *Many weights, few tiles* (the deep layers): the input transform comes first, into shared memory (third-level
//!   cache); then every task takes 32 output channels, transforms their filters, and finishes their outputs.
//!
//! # Layouts
//! - A *line* is up to 14 tiles of one image: part of a row of tiles, or a few whole rows of narrow images. It
//!   occupies 16 lanes. 14 is what the registers of AVX-512 hold (14 rows of 2 registers of sums), and what the
//!   usual sizes 224, 112, 56, 28 are multiples of, in tiles.
//! - `V[position][line][in][16 tiles]`, lanes are tiles: images are read along their rows.
//! - `U[position][in][32 out]`, lanes are output channels: filters are read as stored.
//! - `M[position][tile][32 out]`, lanes are output channels; the output transform ends with a transposition.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use super::simd::{Kernel, LANES, Lanes, dispatch};
use super::workspace::{Shared, Workspace};
use crate::backprop::{Rectifier, Rule};
use rayon::prelude::*;

/// Outputs of a tile along one axis.
const TILE: usize = 4;
/// Inputs of a tile along one axis.
const WINDOW: usize = 6;
/// Positions in a transformed tile.
const POSITIONS: usize = WINDOW * WINDOW;
/// How many steps ahead the matrix kernel asks for tiles.
const AHEAD: usize = 16;
/// The first pair of points, ±α.
const ALPHA: f32 = 0.625;
/// The second pair of points, ±β.
const BETA: f32 = 1.5;
const ALPHA2: f32 = ALPHA * ALPHA;
const BETA2: f32 = BETA * BETA;

/// Most tiles in a line.
const LINE_TILES: usize = 14;
/// Output channels that a task computes together: two registers.
const GROUP: usize = 2 * LANES;
/// Input channels whose filters are transformed together, when they are transformed on the fly: 36 × 64 × 32
/// numbers are 295 KB.
const DEPTH: usize = 64;
/// Lines that a task of the second way takes: 36 × 7 × 14 × 32 sums are 452 KB.
const TASK_LINES: usize = 7;
/// Lines that a task of the first way takes.
const LOCAL_LINES: usize = 2;
/// Up to this many transformed weights are shared by tasks of the first way.
const SHARED_WEIGHTS: usize = 36 * 128 * 128;
/// The most numbers of transformed input that tasks of the second way share.
const SHARED_INPUT: usize = 4 << 20;

/// What the backward pass does to the cotangent of a rectified output before anything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    /// The rectified output of the forward pass, of the shape of the cotangent.
    pub(crate) output: &'a [f32],
    /// The rectifier that made it; not a leaky one.
    pub(crate) rectifier: Rectifier,
    /// The backward rule.
    pub(crate) rule: Rule,
}

/// What the forward pass does to the result of the convolution before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue<'a> {
    /// One number for each output channel, added before the rectifier.
    pub(crate) bias: Option<&'a [f32]>,
    /// The rectifier; a leaky one is not applied.
    pub(crate) rectifier: Option<Rectifier>,
}

impl Epilogue<'_> {
    /// Neither bias nor rectifier.
    pub(crate) const NONE: Epilogue<'static> = Epilogue { bias: None, rectifier: None };
}

/// A 3 × 3 convolution with stride 1 and padding 1 whose weights do not change.
///
/// Any number of channels, any height and width, any batch. The relative error against exact arithmetic (largest
/// difference over largest magnitude) is at most 7e-6 in the tests, up to 512 channels.
///
/// # Memory
/// The weights once, with the channels padded to multiples of 16. The scratch memory is pooled and shared by all
/// convolutions of the process: for VGG16 at 224 × 224 about 16 MB
/// (see `workspace`).
#[derive(Clone, Debug)]
pub(crate) struct FrozenConvolution {
    inputs: usize,
    outputs: usize,
    /// `[outputs / 16][inputs / 16][9 taps][16 inputs][16 outputs]`, zero in the padding.
    blocks: Vec<f32>,
}

/// Numbers in one block of 16 × 16 filters.
const BLOCK: usize = 9 * LANES * LANES;

impl FrozenConvolution {
    /// Takes weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// If the length of `weights` is not `outputs * inputs * 9`.
    pub(crate) fn new(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(
            weights.len(),
            outputs * inputs * 9,
            "the weights must have the shape [outputs, inputs, 3, 3]"
        );
        let across = inputs.div_ceil(LANES);
        let mut blocks = vec![0.0; outputs.div_ceil(LANES) * across * BLOCK];
        blocks.par_chunks_mut(BLOCK).enumerate().for_each(|(index, block)| {
            let (o0, i0) = (index / across * LANES, index % across * LANES);
            for o in 0..LANES.min(outputs - o0) {
                for i in 0..LANES.min(inputs - i0) {
                    let filter = &weights[((o0 + o) * inputs + i0 + i) * 9..][..9];
                    for (tap, weight) in filter.iter().enumerate() {
                        block[(tap * LANES + i) * LANES + o] = *weight;
                    }
                }
            }
        });
        FrozenConvolution { inputs, outputs, blocks }
    }

    /// The number of input channels.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `output[n, o, y, x] = rectifier(bias[o] + Σ weights[o, i, ky, kx] · input[n, i, y + ky - 1, x + kx - 1])`
    ///
    /// `input` is `[batch, inputs, height, width]`, `output` `[batch, outputs, height, width]`.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        [batch, height, width]: [usize; 3],
        output: &mut [f32],
        epilogue: Epilogue,
    ) {
        if let Some(bias) = epilogue.bias {
            assert_eq!(bias.len(), self.outputs, "one bias for each output channel");
        }
        self.run(Direction::Forward, input, [batch, height, width], output, epilogue, None);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied
    /// to the cotangent after the gate (the backward rule of the rectifier that followed the convolution).
    ///
    /// `cotangent` and the gate's output are `[batch, outputs, height, width]`, `gradient`
    /// `[batch, inputs, height, width]`.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(crate) fn input_gradient(
        &self,
        cotangent: &[f32],
        [batch, height, width]: [usize; 3],
        gradient: &mut [f32],
        gate: Option<Gate>,
    ) {
        if let Some(gate) = &gate {
            assert_eq!(gate.output.len(), cotangent.len(), "the gate must have the shape of the cotangent");
        }
        self.run(Direction::Backward, cotangent, [batch, height, width], gradient, Epilogue::NONE, gate);
    }

    fn run(
        &self,
        direction: Direction,
        input: &[f32],
        [batch, height, width]: [usize; 3],
        output: &mut [f32],
        epilogue: Epilogue,
        gate: Option<Gate>,
    ) {
        let (depth, outputs) = match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        };
        assert_eq!(input.len(), batch * depth * height * width, "the input must fit its shape");
        assert_eq!(output.len(), batch * outputs * height * width, "the output must fit its shape");
        if output.is_empty() {
            return;
        }
        let (low, high, positive) = match gate {
            None => (false, false, false),
            Some(Gate { rectifier, rule, .. }) => {
                let rectified = rule != Rule::Deconvolution;
                let positive = rule != Rule::Plain;
                (rectified, rectified && rectifier == Rectifier::Relu6, positive)
            }
        };
        let call = Call {
            convolution: self,
            direction,
            tiling: Tiling::new(height, width),
            lines: batch * Tiling::new(height, width).lines_per_image(),
            depth,
            outputs,
            input: input.as_ptr(),
            gate_output: gate.map_or(std::ptr::null(), |gate| gate.output.as_ptr()),
            gate: (low, high, positive),
            output: output.as_mut_ptr(),
            bias: epilogue.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            rectifier: epilogue.rectifier,
        };
        if depth * outputs.next_multiple_of(GROUP) * POSITIONS <= SHARED_WEIGHTS
            && call.lines >= 8 * LOCAL_LINES
        {
            call.split_by_tiles();
        } else {
            call.split_by_channels();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// How an image is cut into tiles, and the tiles into lines.
#[derive(Clone, Copy)]
struct Tiling {
    height: usize,
    width: usize,
    /// Rows of tiles.
    rows: usize,
    /// Tiles in a row.
    columns: usize,
    /// Rows of tiles in a line; above 1 only if a line takes whole rows.
    line_rows: usize,
    /// Columns of tiles in a line.
    line_columns: usize,
}

/// The tiles of one line.
#[derive(Clone, Copy)]
struct LineOfTiles {
    image: usize,
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl Tiling {
    fn new(height: usize, width: usize) -> Self {
        let (rows, columns) = (height.div_ceil(TILE), width.div_ceil(TILE));
        let (line_rows, line_columns) = if columns > LINE_TILES {
            (1, columns.div_ceil(columns.div_ceil(LINE_TILES)))
        } else {
            // The input transform needs `columns + 1` lanes for a row.
            let most = (LINE_TILES / columns).min(LANES / (columns + 1)).min(rows);
            (rows.div_ceil(rows.div_ceil(most)), columns)
        };
        Tiling { height, width, rows, columns, line_rows, line_columns }
    }

    fn lines_per_image(&self) -> usize {
        self.rows.div_ceil(self.line_rows) * self.columns.div_ceil(self.line_columns)
    }

    fn line(&self, index: usize) -> LineOfTiles {
        let (image, index) = (index / self.lines_per_image(), index % self.lines_per_image());
        let across = self.columns.div_ceil(self.line_columns);
        let (row, column) = (index / across * self.line_rows, index % across * self.line_columns);
        LineOfTiles {
            image,
            row,
            rows: self.line_rows.min(self.rows - row),
            column,
            columns: self.line_columns.min(self.columns - column),
        }
    }
}

/// One call of [`FrozenConvolution::run`]: lengths are checked, pointers are valid for its duration.
#[derive(Clone, Copy)]
struct Call<'a> {
    convolution: &'a FrozenConvolution,
    direction: Direction,
    tiling: Tiling,
    /// Lines in the batch.
    lines: usize,
    /// Channels of what is read.
    depth: usize,
    /// Channels of what is written.
    outputs: usize,
    input: *const f32,
    /// Null if there is no gate.
    gate_output: *const f32,
    /// Close where the output is at most 0; where it is at least 6; where the cotangent is at most 0.
    gate: (bool, bool, bool),
    output: *mut f32,
    /// Null if there is no bias.
    bias: *const f32,
    rectifier: Option<Rectifier>,
}

// SAFETY: what is behind `output` is written by tasks that own different lines or different channels; everything
// else is only read.
unsafe impl Send for Call<'_> {}
// SAFETY: as above.
unsafe impl Sync for Call<'_> {}

/// The distance between the planes of two positions: a few cache lines more than needed, so that the planes do
/// not start in the same set of the cache.
fn plane(numbers: usize) -> usize {
    numbers + 5 * LANES
}

impl Call<'_> {
    /// Every task takes a few lines of tiles through all stages.
    fn split_by_tiles(&self) {
        let groups = self.outputs.div_ceil(GROUP);
        let filter_plane = plane(self.depth * GROUP);
        let mut filters = Workspace::of(groups * POSITIONS * filter_plane);
        let shared = Shared::new(filters.pointer());
        let parts = self.depth.div_ceil(LANES);
        (0..groups * parts).into_par_iter().for_each(|task| {
            let (group, part) = (task / parts, task % parts);
            // SAFETY: tasks write disjoint parts of `filters`.
            let to = unsafe { shared.get().add(group * POSITIONS * filter_plane + part * LANES * GROUP) };
            let depth = part * LANES..self.depth.min((part + 1) * LANES);
            dispatch(TransformFilters { call: *self, group, depth, to, filter_plane });
        });
        (0..self.lines.div_ceil(LOCAL_LINES)).into_par_iter().for_each(|task| {
            let first = task * LOCAL_LINES;
            dispatch(TakeLines {
                call: *self,
                first,
                count: LOCAL_LINES.min(self.lines - first),
                filters: shared,
                filter_plane,
            });
        });
    }

    /// The row of a line and a channel in the shared transformed input `[depth / 64][lines][64][16 tiles]`: what a
    /// task needs at a time is in one piece.
    fn shared_row(&self, lines: usize, line: usize, channel: usize) -> usize {
        let chunk = channel / DEPTH * DEPTH;
        chunk * lines + line * DEPTH.min(self.depth - chunk) + channel - chunk
    }

    /// All tiles are transformed; then every task takes a group of output channels of a few lines.
    fn split_by_channels(&self) {
        let most = (SHARED_INPUT / (POSITIONS * LANES * self.depth)).max(TASK_LINES);
        let at_once = self.lines.div_ceil(self.lines.div_ceil(most));
        let groups = self.outputs.div_ceil(GROUP);
        let tile_plane = plane(at_once * self.depth * LANES);
        let mut tiles = Workspace::of(POSITIONS * tile_plane);
        let shared = Shared::new(tiles.pointer());
        for start in (0..self.lines).step_by(at_once) {
            let lines = at_once.min(self.lines - start);
            let parts = self.depth.div_ceil(LANES);
            (0..lines * parts).into_par_iter().for_each(|task| {
                let (line, part) = (task / parts, task % parts);
                let depth = part * LANES..self.depth.min((part + 1) * LANES);
                let row = self.shared_row(at_once, line, depth.start);
                // SAFETY: tasks write disjoint parts of `tiles`.
                let to = unsafe { shared.get().add(row * LANES) };
                dispatch(TransformTiles { call: *self, line: start + line, depth, to, tile_plane });
            });
            let pieces = lines.div_ceil(TASK_LINES);
            let piece = lines.div_ceil(pieces);
            (0..groups * pieces).into_par_iter().with_max_len(1).for_each(|task| {
                let (group, first) = (task / pieces, task % pieces * piece);
                if first < lines {
                    dispatch(TakeChannels {
                        call: *self,
                        group,
                        start,
                        first,
                        count: piece.min(lines - first),
                        at_once,
                        tiles: shared,
                        tile_plane,
                    });
                }
            });
        }
    }

    /// Sixteen columns from `x` of row `y` of the input, zero outside of the image, after the gate.
    ///
    /// `x` is -1 or inside of the image or to the right of it; `offset` is the start of the image's channel.
    #[inline(always)]
    unsafe fn read<V: Lanes>(&self, offset: usize, y: isize, x: isize) -> V {
        let (height, width) = (self.tiling.height as isize, self.tiling.width as isize);
        if y < 0 || y >= height || x >= width {
            return V::splat(0.0);
        }
        let start = usize::from(x < 0);
        let end = LANES.min((width - x) as usize);
        let at = offset.wrapping_add_signed(y * width + x);
        let whole = start == 0 && end == LANES;
        // SAFETY: only lanes inside of the row are read.
        unsafe {
            let from = self.input.wrapping_add(at);
            let mut value = if whole { V::load(from) } else { V::load_between(from, start, end) };
            let (low, high, positive) = self.gate;
            if low {
                let from = self.gate_output.wrapping_add(at);
                let output = if whole { V::load(from) } else { V::load_between(from, start, end) };
                value = value.zero_where_at_most(output, V::splat(0.0));
                if high {
                    value = value.zero_where_at_most(V::splat(6.0), output);
                }
            }
            if positive {
                value = value.zero_where_at_most(value, V::splat(0.0));
            }
            value
        }
    }

    /// Asks for what [`transform_line`](Self::transform_line) will read.
    #[inline(always)]
    unsafe fn prefetch_line<V: Lanes>(&self, line: &LineOfTiles, channel: usize) {
        let Tiling { height, width, .. } = self.tiling;
        let start = (line.image * self.depth + channel) * height * width + line.column * TILE;
        for y in line.row * TILE..((line.row + line.rows) * TILE + 2).min(height) {
            for x in (0..TILE * line.columns).step_by(LANES) {
                // SAFETY: any address will do.
                unsafe {
                    V::prefetch(self.input.wrapping_add(start + y * width + x));
                    if self.gate.0 {
                        V::prefetch(self.gate_output.wrapping_add(start + y * width + x));
                    }
                }
            }
        }
    }

    /// Transforms one line of tiles of one channel: `Bᵀ d B` for up to 14 tiles, one in each lane.
    ///
    /// `to` is the line in the first plane; the others follow at `tile_plane`.
    #[inline(always)]
    unsafe fn transform_line<V: Lanes>(
        &self,
        line: &LineOfTiles,
        channel: usize,
        to: *mut f32,
        tile_plane: usize,
    ) {
        let offset = (line.image * self.depth + channel) * self.tiling.height * self.tiling.width;
        // A row of tiles needs the columns of its tiles and two more; it gets four for one tile more.
        let span = TILE * (line.columns + 1);
        let left = (line.column * TILE) as isize - 1;
        let mut rows = [V::splat(0.0); WINDOW];
        let zero = V::splat(0.0);
        let mut vertical = [[zero; 4]; WINDOW];
        if line.rows == 1 {
            let top = (line.row * TILE) as isize - 1;
            for part in 0..4 {
                if part * LANES < span {
                    for k in 0..WINDOW {
                        // SAFETY: `offset` is where an image of the input starts.
                        rows[k] =
                            unsafe { self.read(offset, top + k as isize, left + (part * LANES) as isize) };
                    }
                    let column = transform_input(rows);
                    for k in 0..WINDOW {
                        vertical[k][part] = column[k];
                    }
                }
            }
        } else {
            // Several rows of tiles, side by side.
            let mut side_by_side = [[0f32; 4 * LANES + 4 * LANES]; WINDOW];
            for row in 0..line.rows {
                let top = ((line.row + row) * TILE) as isize - 1;
                for part in 0..span.div_ceil(LANES) {
                    for (k, buffer) in side_by_side.iter_mut().enumerate() {
                        let at = row * span + part * LANES;
                        // SAFETY: `rows * (columns + 1) <= 16`, so `at < 64`; `offset` is where an image starts.
                        unsafe {
                            let value: V =
                                self.read(offset, top + k as isize, left + (part * LANES) as isize);
                            value.store(buffer.as_mut_ptr().add(at));
                        }
                    }
                }
            }
            for part in 0..4 {
                for k in 0..WINDOW {
                    // SAFETY: the buffer is long enough.
                    rows[k] = unsafe { V::load(side_by_side[k].as_ptr().add(part * LANES)) };
                }
                let column = transform_input(rows);
                for k in 0..WINDOW {
                    vertical[k][part] = column[k];
                }
            }
        }
        // Each row of tiles leaves one lane unused; close the gaps.
        let mut lanes = [0u32; LANES];
        if line.rows > 1 {
            for row in 0..line.rows {
                for column in 0..line.columns {
                    lanes[row * line.columns + column] = (row * (line.columns + 1) + column) as u32;
                }
            }
        }
        for k in 0..WINDOW {
            let [d0, d1, d2, d3] = V::deinterleave4(vertical[k]);
            let horizontal = transform_input([d0, d1, d2, d3, d0.shift_down(), d1.shift_down()]);
            for j in 0..WINDOW {
                let value = if line.rows > 1 { horizontal[j].permute(&lanes) } else { horizontal[j] };
                // SAFETY: the caller vouches for a line in each plane.
                unsafe { value.store(to.add((k * WINDOW + j) * tile_plane)) }
            }
        }
    }

    /// Transforms the filters `G g Gᵀ` of one group of 32 output channels, of the input channels `depth`.
    ///
    /// `to` is `[depth][32]` in the first plane; the others follow at `filter_plane`.
    #[inline(always)]
    unsafe fn transform_filters<V: Lanes>(
        &self,
        group: usize,
        depth: std::ops::Range<usize>,
        to: *mut f32,
        filter_plane: usize,
    ) {
        debug_assert!(depth.start.is_multiple_of(LANES));
        let FrozenConvolution { inputs, ref blocks, .. } = *self.convolution;
        let across = inputs.div_ceil(LANES);
        let mut turned = [0f32; BLOCK];
        for half in 0..2 {
            let channels = group * 2 + half;
            if channels * LANES >= self.outputs {
                // No output channels there: `Multiply` leaves them out.
                break;
            }
            for first in depth.clone().step_by(LANES) {
                let taps: *const f32 = match self.direction {
                    Direction::Forward => {
                        blocks[(channels * across + first / LANES) * BLOCK..][..BLOCK].as_ptr()
                    }
                    Direction::Backward => {
                        let block = &blocks[(first / LANES * across + channels) * BLOCK..][..BLOCK];
                        for tap in 0..9 {
                            // SAFETY: a block holds 9 × 16 × 16 numbers.
                            unsafe {
                                let from = block.as_ptr().add((8 - tap) * LANES * LANES);
                                let mut rows = [V::splat(0.0); LANES];
                                for i in 0..LANES {
                                    rows[i] = V::load(from.add(i * LANES));
                                }
                                let rows = V::transpose(rows);
                                let to = turned.as_mut_ptr().add(tap * LANES * LANES);
                                for i in 0..LANES {
                                    rows[i].store(to.add(i * LANES));
                                }
                            }
                        }
                        turned.as_ptr()
                    }
                };
                for k in 0..LANES.min(depth.end - first) {
                    // SAFETY: a block holds 9 × 16 × 16 numbers; the caller vouches for room for `depth` rows in
                    // each plane.
                    unsafe {
                        let mut columns = [[V::splat(0.0); WINDOW]; 3];
                        for x in 0..3 {
                            columns[x] = transform_filter([
                                V::load(taps.add((x * LANES + k) * LANES)),
                                V::load(taps.add(((3 + x) * LANES + k) * LANES)),
                                V::load(taps.add(((6 + x) * LANES + k) * LANES)),
                            ]);
                        }
                        let to = to.add((first - depth.start + k) * GROUP + half * LANES);
                        for y in 0..WINDOW {
                            let row = transform_filter([columns[0][y], columns[1][y], columns[2][y]]);
                            for x in 0..WINDOW {
                                row[x].store(to.add((y * WINDOW + x) * filter_plane));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Turns the sums of one group of output channels of one line into outputs: `Aᵀ m A`, bias, rectifier.
    ///
    /// `from` is `[tiles of the line][32]` in the first plane; the others follow at `sum_plane`.
    #[inline(always)]
    unsafe fn finish_line<V: Lanes>(
        &self,
        line: &LineOfTiles,
        group: usize,
        from: *const f32,
        sum_plane: usize,
    ) {
        let Tiling { height, width, .. } = self.tiling;
        let mut pixels = [[[0f32; LANES]; TILE * LINE_TILES + LANES]; TILE];
        for half in 0..2 {
            let channel = group * GROUP + half * LANES;
            if channel >= self.outputs {
                break;
            }
            let channels = LANES.min(self.outputs - channel);
            let bias = if self.bias.is_null() {
                V::splat(0.0)
            } else {
                // SAFETY: there is one bias for each output channel.
                unsafe { V::load_between(self.bias.add(channel), 0, channels) }
            };
            for row in 0..line.rows {
                for column in 0..line.columns {
                    let from = from.wrapping_add((row * line.columns + column) * GROUP + half * LANES);
                    let mut vertical = [[V::splat(0.0); WINDOW]; TILE];
                    for x in 0..WINDOW {
                        let mut sums = [V::splat(0.0); WINDOW];
                        for y in 0..WINDOW {
                            // SAFETY: the caller vouches for the sums of this tile in each plane.
                            sums[y] = unsafe { V::load(from.add((y * WINDOW + x) * sum_plane)) };
                        }
                        let sums = transform_output(sums);
                        for y in 0..TILE {
                            vertical[y][x] = sums[y];
                        }
                    }
                    for y in 0..TILE {
                        let values = transform_output(vertical[y]);
                        for x in 0..TILE {
                            let value = values[x].add(bias);
                            let value = match self.rectifier {
                                None | Some(Rectifier::Leaky(_)) => value,
                                Some(Rectifier::Relu) => value.max(V::splat(0.0)),
                                Some(Rectifier::Relu6) => value.max(V::splat(0.0)).min(V::splat(6.0)),
                            };
                            // SAFETY: a row of pixels holds 16 numbers.
                            unsafe { value.store(pixels[y][column * TILE + x].as_mut_ptr()) }
                        }
                    }
                }
                let (top, left) = ((line.row + row) * TILE, line.column * TILE);
                let count = (TILE * line.columns).min(width - left);
                for y in 0..TILE.min(height - top) {
                    for x in (0..count).step_by(LANES) {
                        // SAFETY: `x + 16` is at most 56 + 16; the pixels written are inside of the image.
                        unsafe {
                            let mut rows = [V::splat(0.0); LANES];
                            for i in 0..LANES {
                                rows[i] = V::load(pixels[y][x + i].as_ptr());
                            }
                            let rows = V::transpose(rows);
                            let image = line.image * self.outputs + channel;
                            let to = self.output.add((image * height + top + y) * width + left + x);
                            if count - x >= LANES {
                                for c in 0..channels {
                                    rows[c].store(to.add(c * height * width));
                                }
                            } else {
                                for c in 0..channels {
                                    rows[c].store_first(to.add(c * height * width), count - x);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `Bᵀ d` along one axis: the input polynomial at the points 0, α, -α, β, -β, ∞.
#[inline(always)]
fn transform_input<V: Lanes>(d: [V; WINDOW]) -> [V; WINDOW] {
    let [alpha2, beta2] = [V::splat(ALPHA2), V::splat(BETA2)];
    let (product, sum) = (V::splat(ALPHA2 * BETA2), V::splat(ALPHA2 + BETA2));
    let (even_a, odd_a) = (d[2].neg_mul_add(beta2, d[4]), d[1].neg_mul_add(beta2, d[3]));
    let (even_b, odd_b) = (d[2].neg_mul_add(alpha2, d[4]), d[1].neg_mul_add(alpha2, d[3]));
    [
        d[0].mul_add(product, d[2].neg_mul_add(sum, d[4])),
        odd_a.mul_add(V::splat(ALPHA), even_a),
        odd_a.neg_mul_add(V::splat(ALPHA), even_a),
        odd_b.mul_add(V::splat(BETA), even_b),
        odd_b.neg_mul_add(V::splat(BETA), even_b),
        d[1].mul_add(product, d[3].neg_mul_add(sum, d[5])),
    ]
}

/// `G g` along one axis: the filter polynomial at the points, each divided by the product of the point's
/// distances from the others.
#[inline(always)]
fn transform_filter<V: Lanes>(g: [V; 3]) -> [V; WINDOW] {
    const AT_ALPHA: f32 = 1.0 / (2.0 * ALPHA2 * (ALPHA2 - BETA2));
    const AT_BETA: f32 = 1.0 / (2.0 * BETA2 * (BETA2 - ALPHA2));
    let even_a = g[0].mul(V::splat(AT_ALPHA)).add(g[2].mul(V::splat(AT_ALPHA * ALPHA2)));
    let even_b = g[0].mul(V::splat(AT_BETA)).add(g[2].mul(V::splat(AT_BETA * BETA2)));
    let (odd_a, odd_b) = (V::splat(AT_ALPHA * ALPHA), V::splat(AT_BETA * BETA));
    [
        g[0].mul(V::splat(1.0 / (ALPHA2 * BETA2))),
        g[1].mul_add(odd_a, even_a),
        g[1].neg_mul_add(odd_a, even_a),
        g[1].mul_add(odd_b, even_b),
        g[1].neg_mul_add(odd_b, even_b),
        g[2],
    ]
}

/// `Aᵀ m` along one axis: row `i` sums the products, weighted with the `i`-th powers of the points.
#[inline(always)]
fn transform_output<V: Lanes>(m: [V; WINDOW]) -> [V; TILE] {
    let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(even_a).add(even_b),
        odd_a.mul(V::splat(ALPHA)).add(odd_b.mul(V::splat(BETA))),
        even_b.mul_add(V::splat(BETA2), even_a.mul(V::splat(ALPHA2))),
        odd_b.mul_add(V::splat(BETA2 * BETA), odd_a.mul_add(V::splat(ALPHA2 * ALPHA), m[5])),
    ]
}

/// `sums[tile][32] (+)= Σ_k tiles[k][tile] · filters[k][32]` for `ROWS` tiles, with all sums in registers: the
/// first `16 * WIDE` of the 32 output channels.
struct Multiply<const ROWS: usize, const WIDE: usize> {
    depth: usize,
    tiles: *const f32,
    filters: *const f32,
    sums: *mut f32,
    add: bool,
}

impl<const ROWS: usize, const WIDE: usize> Kernel for Multiply<ROWS, WIDE> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Multiply { depth, mut tiles, mut filters, sums, add } = self;
        // SAFETY: the caller vouches for `depth` lines of 16 tiles, `depth` rows of 32 filters and `ROWS` rows of
        // 32 sums.
        unsafe {
            let mut acc = [[V::splat(0.0); WIDE]; ROWS];
            if add {
                for row in 0..ROWS {
                    for part in 0..WIDE {
                        acc[row][part] = V::load(sums.add(row * GROUP + part * LANES));
                    }
                }
            }
            for _ in 0..depth {
                V::prefetch(tiles.wrapping_add(AHEAD * LANES));
                let mut filter = [V::splat(0.0); WIDE];
                for part in 0..WIDE {
                    filter[part] = V::load(filters.add(part * LANES));
                }
                for row in 0..ROWS {
                    let tile = V::splat(*tiles.add(row));
                    for part in 0..WIDE {
                        acc[row][part] = tile.mul_add(filter[part], acc[row][part]);
                    }
                }
                tiles = tiles.wrapping_add(LANES);
                filters = filters.wrapping_add(GROUP);
            }
            for row in 0..ROWS {
                for part in 0..WIDE {
                    acc[row][part].store(sums.add(row * GROUP + part * LANES));
                }
            }
        }
    }
}

/// What [`multiply`] multiplies; the lengths as in [`Multiply`].
#[derive(Clone, Copy)]
struct Factors {
    /// Tiles, at most 14.
    count: usize,
    depth: usize,
    tiles: *const f32,
    filters: *const f32,
    sums: *mut f32,
    /// Add to the sums that are there.
    add: bool,
    /// There are output channels in the second half of the group.
    wide: bool,
}

/// [`Multiply`] for any number of tiles up to 14.
#[inline(always)]
unsafe fn multiply<V: Lanes>(factors: Factors) {
    let Factors { count, depth, filters, add, wide, .. } = factors;
    let mut first = 0;
    while first < count {
        let rows = V::ROWS.min(count - first);
        let (tiles, sums) = (factors.tiles.wrapping_add(first), factors.sums.wrapping_add(first * GROUP));
        macro_rules! choose {
            ($($rows:literal)*) => {
                match (rows, wide) {
                    // SAFETY: as vouched for by the caller.
                    $(($rows, true) if $rows <= V::ROWS => unsafe {
                        V::call(Multiply::<$rows, 2> { depth, tiles, filters, sums, add })
                    },
                    // SAFETY: as above.
                    ($rows, false) if $rows <= V::ROWS => unsafe {
                        V::call(Multiply::<$rows, 1> { depth, tiles, filters, sums, add })
                    },)*
                    _ => unreachable!("at most 14 rows"),
                }
            };
        }
        choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        first += rows;
    }
}

/// A task: some filters of the shared transformed filters.
struct TransformFilters<'a> {
    call: Call<'a>,
    group: usize,
    depth: std::ops::Range<usize>,
    to: *mut f32,
    filter_plane: usize,
}

impl Kernel for TransformFilters<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        // SAFETY: whoever made the task vouches for `to`.
        unsafe { self.call.transform_filters::<V>(self.group, self.depth, self.to, self.filter_plane) }
    }
}

/// A task: one line of some channels of the shared transformed input.
struct TransformTiles<'a> {
    call: Call<'a>,
    line: usize,
    depth: std::ops::Range<usize>,
    to: *mut f32,
    tile_plane: usize,
}

impl Kernel for TransformTiles<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let line = self.call.tiling.line(self.line);
        let mut to = self.to;
        for channel in self.depth {
            // SAFETY: whoever made the task vouches for `to`.
            unsafe { self.call.transform_line::<V>(&line, channel, to, self.tile_plane) }
            to = to.wrapping_add(LANES);
        }
    }
}

/// A task: all channels of a few lines.
struct TakeLines<'a> {
    call: Call<'a>,
    first: usize,
    count: usize,
    filters: Shared,
    filter_plane: usize,
}

impl Kernel for TakeLines<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let TakeLines { call, first, count, filters, filter_plane } = self;
        let tile_plane = plane(LOCAL_LINES * call.depth * LANES);
        let sum_plane = plane(LOCAL_LINES * LINE_TILES * GROUP);
        let mut tiles = Workspace::of(POSITIONS * tile_plane);
        let mut sums = Workspace::of(POSITIONS * sum_plane);
        let (tiles, sums) = (tiles.pointer(), sums.pointer());
        // SAFETY: `tiles` and `sums` hold 36 planes of `LOCAL_LINES` lines each; `filters` holds 36 planes for each
        // group; different tasks write different lines of the output.
        unsafe {
            for channel in 0..call.depth {
                for index in 0..count {
                    let line = call.tiling.line(first + index);
                    let to = tiles.add((index * call.depth + channel) * LANES);
                    if channel + 1 < call.depth {
                        call.prefetch_line::<V>(&line, channel + 1);
                    }
                    call.transform_line::<V>(&line, channel, to, tile_plane);
                }
            }
            for group in 0..call.outputs.div_ceil(GROUP) {
                for position in 0..POSITIONS {
                    let filters = filters.get().add((group * POSITIONS + position) * filter_plane);
                    for index in 0..count {
                        let line = call.tiling.line(first + index);
                        let tiles = tiles.add(position * tile_plane + index * call.depth * LANES);
                        let sums = sums.add(position * sum_plane + index * LINE_TILES * GROUP);
                        multiply::<V>(Factors {
                            count: line.rows * line.columns,
                            depth: call.depth,
                            tiles,
                            filters,
                            sums,
                            add: false,
                            wide: call.outputs - group * GROUP > LANES,
                        });
                    }
                }
                for index in 0..count {
                    let line = call.tiling.line(first + index);
                    call.finish_line::<V>(&line, group, sums.add(index * LINE_TILES * GROUP), sum_plane);
                }
            }
        }
    }
}

/// A task: one group of output channels of a few lines.
struct TakeChannels<'a> {
    call: Call<'a>,
    group: usize,
    /// The first line of the shared transformed input.
    start: usize,
    /// The first line of the task, counted from there.
    first: usize,
    count: usize,
    /// Lines that there is room for in the shared transformed input.
    at_once: usize,
    tiles: Shared,
    tile_plane: usize,
}

impl Kernel for TakeChannels<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let TakeChannels { call, group, start, first, count, at_once, tiles, tile_plane } = self;
        let filter_plane = plane(DEPTH * GROUP);
        let sum_plane = plane(TASK_LINES * LINE_TILES * GROUP);
        let mut filters = Workspace::of(POSITIONS * filter_plane);
        let mut sums = Workspace::of(POSITIONS * sum_plane);
        let (filters, sums) = (filters.pointer(), sums.pointer());
        // SAFETY: `filters` holds 36 planes for `DEPTH` channels, `sums` 36 planes of `TASK_LINES` lines, `tiles`
        // all lines from `start`; different tasks write different channels or lines of the output.
        unsafe {
            for deep in (0..call.depth).step_by(DEPTH) {
                let depth = DEPTH.min(call.depth - deep);
                call.transform_filters::<V>(group, deep..deep + depth, filters, filter_plane);
                for position in 0..POSITIONS {
                    let filters = filters.add(position * filter_plane);
                    for index in 0..count {
                        let line = call.tiling.line(start + first + index);
                        let row = call.shared_row(at_once, first + index, deep);
                        let tiles = tiles.get().add(position * tile_plane + row * LANES);
                        let sums = sums.add(position * sum_plane + index * LINE_TILES * GROUP);
                        multiply::<V>(Factors {
                            count: line.rows * line.columns,
                            depth,
                            tiles,
                            filters,
                            sums,
                            add: deep > 0,
                            wide: call.outputs - group * GROUP > LANES,
                        });
                    }
                }
            }
            for index in 0..count {
                let line = call.tiling.line(start + first + index);
                call.finish_line::<V>(&line, group, sums.add(index * LINE_TILES * GROUP), sum_plane);
            }
        }
    }
}
