//! One line of tiles on its way in and out, and the filters of a group of channels.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use super::tiling::*;
use super::transforms::*;
use super::{BLOCK, Call, Direction, Winograd};
use crate::fused::rectify;
use crate::multiply::GROUP;
use crate::simd::{InstructionSet, LANES, Lanes};

impl Call<'_> {
    /// Sixteen columns from `x` of row `y` of the input, zero outside of the image, after the gate.
    ///
    /// `x` is -1 or inside of the image or to the right of it.
    ///
    /// # Safety
    /// `offset` is where a channel of an image of the input starts.
    #[inline(always)]
    pub(crate) unsafe fn read<S: InstructionSet>(
        &self,
        set: S,
        offset: usize,
        y: isize,
        x: isize,
    ) -> S::Lanes {
        let (height, width) = (self.tiling.height as isize, self.tiling.width as isize);
        if y < 0 || y >= height || x >= width {
            return set.splat(0.0);
        }
        let start = usize::from(x < 0);
        let end = LANES.min((width - x) as usize);
        let at = offset.wrapping_add_signed(y * width + x);
        // SAFETY: only lanes inside of the row are read.
        unsafe { self.input.load_between(set, at, start, end) }
    }

    /// Asks for what [`transform_line`](Self::transform_line) will read.
    #[inline(always)]
    pub(crate) fn prefetch_line<S: InstructionSet>(&self, set: S, line: &LineOfTiles, channel: usize) {
        let Tiling { height, width, .. } = self.tiling;
        let start = (line.image * self.depth + channel) * height * width + line.column * TILE;
        for y in line.row * TILE..((line.row + line.rows) * TILE + 2).min(height) {
            for x in (0..TILE * line.columns).step_by(LANES) {
                self.input.prefetch(set, start + y * width + x);
            }
        }
    }

    /// Transforms one line of tiles of one channel: `Bᵀ d B` for up to 14 tiles, one in each lane.
    ///
    /// `to` is the line in the first plane; the others follow at `tile_plane`.
    ///
    /// # Safety
    /// The line and the channel are some of the input, and there is room for the line in each of the 36 planes.
    #[inline(always)]
    pub(crate) unsafe fn transform_line<S: InstructionSet>(
        &self,
        set: S,
        line: &LineOfTiles,
        channel: usize,
        to: *mut f32,
        tile_plane: usize,
    ) {
        let offset = (line.image * self.depth + channel) * self.tiling.height * self.tiling.width;
        // A row of tiles needs the columns of its tiles and two more; it gets four for one tile more.
        let span = TILE * (line.columns + 1);
        let left = (line.column * TILE) as isize - 1;
        let mut rows = [set.splat(0.0); WINDOW];
        let zero = set.splat(0.0);
        let mut vertical = [[zero; 4]; WINDOW];
        if line.rows == 1 {
            let top = (line.row * TILE) as isize - 1;
            for part in 0..4 {
                if part * LANES < span {
                    for k in 0..WINDOW {
                        // SAFETY: `offset` is where an image of the input starts.
                        rows[k] = unsafe {
                            self.read(set, offset, top + k as isize, left + (part * LANES) as isize)
                        };
                    }
                    let column = transform_input(set, rows);
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
                            let value =
                                self.read(set, offset, top + k as isize, left + (part * LANES) as isize);
                            value.store(buffer.as_mut_ptr().add(at));
                        }
                    }
                }
            }
            for part in 0..4 {
                for k in 0..WINDOW {
                    // SAFETY: the buffer is long enough.
                    rows[k] = unsafe { set.load(side_by_side[k].as_ptr().add(part * LANES)) };
                }
                let column = transform_input(set, rows);
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
            let [d0, d1, d2, d3] = S::Lanes::deinterleave4(vertical[k]);
            let horizontal = transform_input(set, [d0, d1, d2, d3, d0.shift_down(), d1.shift_down()]);
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
    ///
    /// # Safety
    /// There is room for that in each of the 36 planes.
    #[inline(always)]
    pub(crate) unsafe fn transform_filters<S: InstructionSet>(
        &self,
        set: S,
        group: usize,
        depth: std::ops::Range<usize>,
        to: *mut f32,
        filter_plane: usize,
    ) {
        debug_assert!(depth.start.is_multiple_of(LANES));
        let Winograd { inputs, ref blocks, .. } = *self.convolution;
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
                                let mut rows = [set.splat(0.0); LANES];
                                for i in 0..LANES {
                                    rows[i] = set.load(from.add(i * LANES));
                                }
                                let rows = S::Lanes::transpose(rows);
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
                        let mut columns = [[set.splat(0.0); WINDOW]; 3];
                        for x in 0..3 {
                            columns[x] = transform_filter(
                                set,
                                [
                                    set.load(taps.add((x * LANES + k) * LANES)),
                                    set.load(taps.add(((3 + x) * LANES + k) * LANES)),
                                    set.load(taps.add(((6 + x) * LANES + k) * LANES)),
                                ],
                            );
                        }
                        let to = to.add((first - depth.start + k) * GROUP + half * LANES);
                        for y in 0..WINDOW {
                            let row = transform_filter(set, [columns[0][y], columns[1][y], columns[2][y]]);
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
    ///
    /// # Safety
    /// The sums are there in each of the 36 planes, the line is one of the output, and nobody else uses the numbers of the
    /// output that belong to line and group.
    #[inline(always)]
    pub(crate) unsafe fn finish_line<S: InstructionSet>(
        &self,
        set: S,
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
            let bias = match self.bias {
                None => set.splat(0.0),
                // SAFETY: there are so many from there on.
                Some(bias) => unsafe { set.load_between(bias[channel..][..channels].as_ptr(), 0, channels) },
            };
            for row in 0..line.rows {
                for column in 0..line.columns {
                    let from = from.wrapping_add((row * line.columns + column) * GROUP + half * LANES);
                    let mut vertical = [[set.splat(0.0); WINDOW]; TILE];
                    for x in 0..WINDOW {
                        let mut sums = [set.splat(0.0); WINDOW];
                        for y in 0..WINDOW {
                            // SAFETY: the caller vouches for the sums of this tile in each plane.
                            sums[y] = unsafe { set.load(from.add((y * WINDOW + x) * sum_plane)) };
                        }
                        let sums = transform_output(set, sums);
                        for y in 0..TILE {
                            vertical[y][x] = sums[y];
                        }
                    }
                    for y in 0..TILE {
                        let values = transform_output(set, vertical[y]);
                        for x in 0..TILE {
                            let value = values[x].add(bias);
                            let value = rectify(set, self.rectifier, value);
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
                            let mut rows = [set.splat(0.0); LANES];
                            for i in 0..LANES {
                                rows[i] = set.load(pixels[y][x + i].as_ptr());
                            }
                            let rows = S::Lanes::transpose(rows);
                            let image = line.image * self.outputs + channel;
                            let to = self.output.at((image * height + top + y) * width + left + x);
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
