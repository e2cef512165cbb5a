//! The two ways to split the work, and their tasks.

use super::Call;
use super::tiling::*;
use crate::multiply::{Factors, GROUP, multiply};
use crate::simd::{InstructionSet, Kernel, LANES, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace, length};

/// The distance between the planes of two positions: a few cache lines more than needed, so that the planes do
/// not start in the same set of the cache.
///
/// # Panics
/// If so much can't be addressed.
fn plane(extents: &[usize]) -> usize {
    length(extents).map_or_else(
        |error| panic!("a plane of the extents {extents:?}: {error}"),
        |numbers| numbers + 5 * LANES,
    )
}

impl Call<'_> {
    /// Every task takes a few lines of tiles through all stages.
    pub(super) fn split_by_tiles(&self) {
        let groups = self.outputs.div_ceil(GROUP);
        let filter_plane = plane(&[self.depth, GROUP]);
        let mut filters = Workspace::of(&[groups, POSITIONS, filter_plane]);
        let shared = Shared::new(filters.numbers_mut());
        let parts = self.depth.div_ceil(LANES);
        for_each(groups * parts, |task| {
            let (group, part) = (task / parts, task % parts);
            let to = shared.at(group * POSITIONS * filter_plane + part * LANES * GROUP);
            let depth = part * LANES..self.depth.min((part + 1) * LANES);
            // SAFETY: there are 36 planes for each group; tasks write different parts of them.
            unsafe { dispatch(TransformFilters { call: *self, group, depth, to, filter_plane }) }
        });
        for_each(self.lines.div_ceil(LOCAL_LINES), |task| {
            let first = task * LOCAL_LINES;
            let count = LOCAL_LINES.min(self.lines - first);
            // SAFETY: the filters are there; tasks write different lines of the output.
            unsafe { dispatch(TakeLines { call: *self, first, count, filters: shared, filter_plane }) }
        });
    }

    /// The row of a line and a channel in the shared transformed input `[depth / 64][lines][64][16 tiles]`: what a
    /// task needs at a time is in one piece.
    fn shared_row(&self, lines: usize, line: usize, channel: usize) -> usize {
        let chunk = channel / DEPTH * DEPTH;
        chunk * lines + line * DEPTH.min(self.depth - chunk) + channel - chunk
    }

    /// All tiles are transformed; then every task takes a group of output channels of a few lines.
    pub(super) fn split_by_channels(&self) {
        let most = (SHARED_INPUT / POSITIONS / LANES / self.depth).max(TASK_LINES);
        let at_once = self.lines.div_ceil(self.lines.div_ceil(most));
        let groups = self.outputs.div_ceil(GROUP);
        let tile_plane = plane(&[at_once, self.depth, LANES]);
        let mut tiles = Workspace::of(&[POSITIONS, tile_plane]);
        let shared = Shared::new(tiles.numbers_mut());
        for start in (0..self.lines).step_by(at_once) {
            let lines = at_once.min(self.lines - start);
            let parts = self.depth.div_ceil(LANES);
            for_each(lines * parts, |task| {
                let (line, part) = (task / parts, task % parts);
                let depth = part * LANES..self.depth.min((part + 1) * LANES);
                let to = shared.at(self.shared_row(at_once, line, depth.start) * LANES);
                // SAFETY: there is room for `at_once` lines; tasks write different parts of them.
                unsafe { dispatch(TransformTiles { call: *self, line: start + line, depth, to, tile_plane }) }
            });
            let pieces = lines.div_ceil(TASK_LINES);
            let piece = lines.div_ceil(pieces);
            for_each(groups * pieces, |task| {
                let (group, first) = (task / pieces, task % pieces * piece);
                if first < lines {
                    let task = TakeChannels {
                        call: *self,
                        group,
                        start,
                        first,
                        count: piece.min(lines - first),
                        at_once,
                        tiles: shared,
                        tile_plane,
                    };
                    // SAFETY: the tiles are there; tasks write different channels or lines of the output.
                    unsafe { dispatch(task) }
                }
            });
        }
    }
}

/// A task: some filters of the shared transformed filters, `[depth][32]` in each of 36 planes from `to` on.
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
    unsafe fn run<S: InstructionSet>(self, set: S) {
        // SAFETY: whoever made the task vouches for `to`.
        unsafe { self.call.transform_filters(set, self.group, self.depth, self.to, self.filter_plane) }
    }
}

/// A task: one line of some channels of the shared transformed input, in each of 36 planes from `to` on.
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
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let line = self.call.tiling.line(self.line);
        let mut to = self.to;
        for channel in self.depth {
            // SAFETY: whoever made the task vouches for `to`.
            unsafe { self.call.transform_line(set, &line, channel, to, self.tile_plane) }
            to = to.wrapping_add(LANES);
        }
    }
}

/// A task: all channels of a few lines.
struct TakeLines<'a> {
    call: Call<'a>,
    first: usize,
    count: usize,
    filters: Shared<'a>,
    filter_plane: usize,
}

impl Kernel for TakeLines<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let TakeLines { call, first, count, filters, filter_plane } = self;
        let tile_plane = plane(&[LOCAL_LINES, call.depth, LANES]);
        let sum_plane = plane(&[LOCAL_LINES, LINE_TILES, GROUP]);
        let mut tiles = Workspace::of(&[POSITIONS, tile_plane]);
        let mut sums = Workspace::of(&[POSITIONS, sum_plane]);
        let (tiles, sums) = (tiles.pointer(), sums.pointer());
        // SAFETY: `tiles` and `sums` hold 36 planes of `LOCAL_LINES` lines each; `filters` holds 36 planes for each
        // group; different tasks write different lines of the output.
        unsafe {
            for channel in 0..call.depth {
                for index in 0..count {
                    let line = call.tiling.line(first + index);
                    let to = tiles.add((index * call.depth + channel) * LANES);
                    if channel + 1 < call.depth {
                        call.prefetch_line(set, &line, channel + 1);
                    }
                    call.transform_line(set, &line, channel, to, tile_plane);
                }
            }
            for group in 0..call.outputs.div_ceil(GROUP) {
                for position in 0..POSITIONS {
                    let filters = filters.at((group * POSITIONS + position) * filter_plane);
                    for index in 0..count {
                        let line = call.tiling.line(first + index);
                        let tiles = tiles.add(position * tile_plane + index * call.depth * LANES);
                        let sums = sums.add(position * sum_plane + index * LINE_TILES * GROUP);
                        multiply(
                            set,
                            Factors {
                                rows: line.rows * line.columns,
                                depth: call.depth,
                                left: tiles,
                                right: filters,
                                sums,
                                add: false,
                                wide: call.outputs - group * GROUP > LANES,
                            },
                        );
                    }
                }
                for index in 0..count {
                    let line = call.tiling.line(first + index);
                    call.finish_line(set, &line, group, sums.add(index * LINE_TILES * GROUP), sum_plane);
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
    tiles: Shared<'a>,
    tile_plane: usize,
}

impl Kernel for TakeChannels<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let TakeChannels { call, group, start, first, count, at_once, tiles, tile_plane } = self;
        let filter_plane = plane(&[DEPTH, GROUP]);
        let sum_plane = plane(&[TASK_LINES, LINE_TILES, GROUP]);
        let mut filters = Workspace::of(&[POSITIONS, filter_plane]);
        let mut sums = Workspace::of(&[POSITIONS, sum_plane]);
        let (filters, sums) = (filters.pointer(), sums.pointer());
        // SAFETY: `filters` holds 36 planes for `DEPTH` channels, `sums` 36 planes of `TASK_LINES` lines, `tiles`
        // all lines from `start`; different tasks write different channels or lines of the output.
        unsafe {
            for deep in (0..call.depth).step_by(DEPTH) {
                let depth = DEPTH.min(call.depth - deep);
                call.transform_filters(set, group, deep..deep + depth, filters, filter_plane);
                for position in 0..POSITIONS {
                    let filters = filters.add(position * filter_plane);
                    for index in 0..count {
                        let line = call.tiling.line(start + first + index);
                        let row = call.shared_row(at_once, first + index, deep);
                        let tiles = tiles.at(position * tile_plane + row * LANES);
                        let sums = sums.add(position * sum_plane + index * LINE_TILES * GROUP);
                        multiply(
                            set,
                            Factors {
                                rows: line.rows * line.columns,
                                depth,
                                left: tiles,
                                right: filters,
                                sums,
                                add: deep > 0,
                                wide: call.outputs - group * GROUP > LANES,
                            },
                        );
                    }
                }
            }
            for index in 0..count {
                let line = call.tiling.line(start + first + index);
                call.finish_line(set, &line, group, sums.add(index * LINE_TILES * GROUP), sum_plane);
            }
        }
    }
}
