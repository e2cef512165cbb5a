//! Products of a matrix that does not change with panels of 32 columns that are copied into the cache.
//!
//! `target[unit, row, p] = Σ_k matrix[row, k] · source[unit, k, p]`: the left factor is the matrix, in blocks of up to 14
//! rows; the right factor a panel of 32 neighbouring columns, whose numbers the [`Source`] finds. A unit is an image, or a
//! group of its channels. Every task copies a few panels and takes all blocks; where there are too few panels for all
//! threads, they are copied first, and every task takes some blocks of one. The order of a sum depends on neither.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use crate::fused::{Rectifier, rectify};
use crate::multiply::{Factors, GROUP, ROWS, multiply};
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace};

/// Numbers of the source that a task keeps in its cache: 128 KB.
const KEPT: usize = 1 << 15;
/// Panels that share a reading of the matrix, where they are too deep for the cache.
const TOGETHER: usize = 4;
/// Fewer products than this are not worth another task.
const WORTH: usize = 1 << 18;
/// So many tasks keep all threads busy.
const TASKS: usize = 16;
/// Rows of a panel that a task copies.
const PART: usize = 64;

/// A matrix in blocks of rows.
#[derive(Clone)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// Rows in a block, but for the last.
    height: usize,
    /// `[blocks][depth][16]`, of which `height` places are used.
    numbers: Vec<f32>,
}

impl Matrix {
    pub(crate) fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
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

/// Where the right factor comes from.
pub(crate) trait Source: Copy + Send + Sync {
    /// Copies rows `depth` of a panel to `[depth][32]` at `to`. What it writes into columns that the source does not have
    /// does not matter.
    ///
    /// # Safety
    /// There are such a unit, panel and rows, and room at `to` for the rows up to the last of `depth`.
    unsafe fn copy<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        depth: Range<usize>,
        to: *mut f32,
    );
}

/// How the columns of a product lie in memory: as a grid of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Columns of the product in a row of the grid.
    pub(crate) width: usize,
    /// From one row to the next, and from one place of it to the next.
    pub(crate) step: [usize; 2],
    /// The first place.
    pub(crate) first: usize,
    /// From the plane of one row of the product to that of the next.
    pub(crate) plane: usize,
}

impl Grid {
    /// All columns one after the other.
    pub(crate) fn dense(columns: usize) -> Self {
        Self { width: columns, step: [columns, 1], first: 0, plane: columns }
    }
}

/// Up to 16 neighbouring columns of a panel that lie in one row of a grid.
#[derive(Clone, Copy, Default)]
pub(crate) struct Piece {
    /// Row and place in the grid.
    pub(crate) row: usize,
    pub(crate) place: usize,
    /// Column of the panel.
    pub(crate) at: usize,
    pub(crate) count: usize,
}

/// The pieces of a panel, from left to right.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    pieces: [Piece; GROUP],
    count: usize,
}

impl Pieces {
    /// Those of a panel of a product with so many columns, in a grid of this width.
    #[inline(always)]
    pub(crate) fn of(panel: usize, columns: usize, width: usize) -> Self {
        let first = panel * GROUP;
        let all = GROUP.min(columns - first);
        let (mut row, mut place) = (first / width, first % width);
        let mut list = Self { pieces: [Piece::default(); GROUP], count: 0 };
        let mut at = 0;
        while at < all {
            let count = (width - place).min(all - at).min(LANES);
            list.pieces[list.count] = Piece { row, place, at, count };
            list.count += 1;
            at += count;
            place += count;
            if place == width {
                (row, place) = (row + 1, 0);
            }
        }
        list
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[Piece] {
        &self.pieces[..self.count]
    }
}

/// A product, with checked lengths.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, F> {
    /// One for each group; all of the same size.
    pub(crate) matrices: &'a [Matrix],
    pub(crate) source: F,
    pub(crate) columns: usize,
    /// Tasks write different columns or rows of it.
    pub(crate) target: Shared<'a>,
    pub(crate) grid: Grid,
    /// Where the grid of each row begins, in the target of a unit of so many numbers; one plane after the other if there
    /// is none.
    pub(crate) places: Option<(usize, &'a [usize])>,
    /// One number for each row of each matrix.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) rectifier: Option<Rectifier>,
}

impl<F: Source> Product<'_, F> {
    /// Computes it for so many units, which take the matrices in turn.
    ///
    /// # Safety
    /// The target has room for the grids of all rows of all units, which do not overlap, and the source has as many
    /// units, and columns, and rows as the matrices are deep.
    pub(crate) unsafe fn run(self, units: usize) {
        let Self { matrices: [Matrix { rows, depth, height, .. }, ..], columns, .. } = self else { return };
        let (rows, depth, height) = (*rows, *depth, *height);
        if units == 0 || columns == 0 {
            return;
        }
        let panels = columns.div_ceil(GROUP);
        // More than can be counted are more than enough.
        let products = [rows, depth, columns].into_iter().fold(units, usize::saturating_mul);
        let worth = products.div_ceil(WORTH).min(TASKS);
        let of_a_panel = rows.saturating_mul(depth).saturating_mul(GROUP);
        let most = (KEPT / GROUP / depth).max(WORTH / of_a_panel).max(TOGETHER);
        if units * panels >= worth {
            // Every task copies the panels that it needs.
            let spans = panels.div_ceil(most).max(worth.div_ceil(units));
            let at_once = panels.div_ceil(spans);
            let spans = panels.div_ceil(at_once);
            // Small units make a task together.
            let together =
                (WORTH / of_a_panel.saturating_mul(at_once)).clamp(1, units.div_ceil(TASKS).max(1));
            let together = if spans == 1 { together } else { 1 };
            for_each((units * spans).div_ceil(together), |task| {
                for part in task * together..(units * spans).min((task + 1) * together) {
                    let (unit, first) = (part / spans, part % spans * at_once);
                    let panels = first..panels.min(first + at_once);
                    // SAFETY: tasks write different columns of the target.
                    unsafe { dispatch(Span { product: self, unit, panels }) }
                }
            });
            return;
        }
        // Few columns and large matrices: the panels are copied once, and the rows are shared out as well.
        let blocks = rows.div_ceil(height);
        let shares = worth.div_ceil(units * panels).min(blocks);
        let at_once = blocks.div_ceil(shares);
        let mut kept = Workspace::of(&[units, panels, depth, GROUP]);
        let kept = Shared::new(kept.numbers_mut());
        let parts = depth.div_ceil(PART);
        for_each(units * panels * parts, |task| {
            let (panel, part) = (task / parts, task % parts);
            let depth = part * PART..depth.min((part + 1) * PART);
            let to = self.copy_of(kept, panel);
            let copy = CopyRows { product: self, unit: panel / panels, panel: panel % panels, depth, to };
            // SAFETY: there is room for every panel; tasks write different rows of them.
            unsafe { dispatch(copy) }
        });
        for_each(units * panels * shares, |task| {
            let (panel, share) = (task / shares, task % shares);
            let blocks = share * at_once..blocks.min((share + 1) * at_once);
            let from = self.copy_of(kept, panel);
            let blocks = Blocks { product: self, unit: panel / panels, panel: panel % panels, blocks, from };
            // SAFETY: the panels are there; tasks write different columns or rows of the target.
            unsafe { dispatch(blocks) }
        });
    }

    /// The copy of a panel, counted over all units.
    fn copy_of(&self, kept: Shared<'_>, panel: usize) -> *mut f32 {
        kept.at(panel * self.matrices[0].depth * GROUP)
    }

    /// Computes a block of rows at the columns of a panel, whose copy is at `from`.
    ///
    /// # Safety
    /// The copy is there, and room for [`SUMS`] numbers at `sums`; nobody else uses these columns of these rows of the
    /// target.
    #[inline(always)]
    unsafe fn block<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        block: usize,
        from: *const f32,
        sums: *mut f32,
    ) {
        let depth = 0..self.matrices[0].depth;
        // SAFETY: as vouched for by the caller.
        unsafe {
            self.sum(set, unit, panel, block, depth, from, sums);
            self.write(set, unit, panel, block, sums);
        }
    }

    /// Adds the products of some rows of a panel, whose copy is at `from`, to the sums; the first ones begin them.
    ///
    /// # Safety
    /// As for [`block`](Self::block).
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "places and a range")]
    unsafe fn sum<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        block: usize,
        part: Range<usize>,
        from: *const f32,
        sums: *mut f32,
    ) {
        let &Matrix { rows, depth, height, ref numbers } = &self.matrices[unit % self.matrices.len()];
        let here = height.min(rows - block * height);
        let left = numbers[(block * depth + part.start) * LANES..][..part.len() * LANES].as_ptr();
        let (wide, add) = (self.columns - panel * GROUP > LANES, part.start > 0);
        // SAFETY: as vouched for by the caller.
        unsafe {
            multiply(set, Factors { rows: here, depth: part.len(), left, right: from, sums, add, wide });
        };
    }

    /// Writes the sums of a block of rows at the columns of a panel.
    ///
    /// # Safety
    /// As for [`block`](Self::block).
    #[inline(always)]
    unsafe fn write<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        block: usize,
        sums: *const f32,
    ) {
        let group = unit % self.matrices.len();
        let &Matrix { rows, height, .. } = &self.matrices[group];
        let here = height.min(rows - block * height);
        let Grid { width, step, first, plane } = self.grid;
        let pieces = Pieces::of(panel, self.columns, width);
        for row in 0..here {
            let channel = block * height + row;
            let bias = set.splat(self.bias.map_or(0.0, |bias| bias[group * rows + channel]));
            let start = match self.places {
                Some((all, places)) => unit * all + places[channel],
                None => (unit * rows + channel) * plane,
            };
            let start = start + first;
            for piece in pieces.as_slice() {
                let to = start + piece.row * step[0] + piece.place * step[1];
                // SAFETY: the sums are there, and a register more; the places written are inside of the target, and of
                // this task.
                unsafe {
                    let from = sums.add(row * GROUP + piece.at);
                    let value = rectify(set, self.rectifier, set.load(from).add(bias));
                    if step[1] == 1 {
                        let to = self.target.at(to);
                        if piece.count == LANES {
                            value.store(to);
                        } else {
                            value.store_first(to, piece.count);
                        }
                    } else {
                        let mut line = [0f32; LANES];
                        value.store(line.as_mut_ptr());
                        for index in 0..piece.count {
                            *self.target.at(to + index * step[1]) = line[index];
                        }
                    }
                }
            }
        }
    }
}

/// Numbers that a block of sums takes: 14 rows, and what a register may reach beyond them.
const SUMS: usize = ROWS * GROUP + LANES;

/// A task: all rows at some panels of a unit.
struct Span<'a, F> {
    product: Product<'a, F>,
    unit: usize,
    panels: Range<usize>,
}

impl<F: Source> Kernel for Span<'_, F> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Span { product, unit, panels } = self;
        let Matrix { rows, depth, height, .. } = product.matrices[0];
        let blocks = rows.div_ceil(height);
        if panels.len() > 1 && panels.len() * depth > KEPT / GROUP {
            // SAFETY: vouched for by whoever runs the product.
            return unsafe { deep(set, &product, unit, panels) };
        }
        let mut kept = Workspace::of(&[panels.len(), depth, GROUP]);
        let kept = kept.pointer();
        let place = |panel: usize| kept.wrapping_add((panel - panels.start) * depth * GROUP);
        let mut sums = [0f32; SUMS];
        // SAFETY: `kept` holds the panels, and `sums` a block; the rest is vouched for by whoever runs the product.
        unsafe {
            for panel in panels.clone() {
                product.source.copy(set, unit, panel, 0..depth, place(panel));
            }
            for block in 0..blocks {
                for panel in panels.clone() {
                    product.block(set, unit, panel, block, place(panel), sums.as_mut_ptr());
                }
            }
        }
    }
}

/// Some panels that are too deep for the cache, part by part: so each part of the matrix is read once for all of them.
///
/// # Safety
/// As for [`Span`].
#[inline(always)]
unsafe fn deep<S: InstructionSet, F: Source>(
    set: S,
    product: &Product<'_, F>,
    unit: usize,
    panels: Range<usize>,
) {
    let Matrix { rows, depth, height, .. } = product.matrices[0];
    let (blocks, count) = (rows.div_ceil(height), panels.len());
    let most = (KEPT / GROUP / count).max(1);
    let mut kept = Workspace::of(&[count, most, GROUP]);
    let kept = kept.pointer();
    let mut sums = Workspace::of(&[blocks, count, SUMS]);
    let sums = sums.pointer();
    let mut start = 0;
    while start < depth {
        let part = start..depth.min(start + most);
        for (index, panel) in panels.clone().enumerate() {
            // The copy has room for the rows of a part, which are counted from its first.
            let to = kept.wrapping_add(index * most * GROUP).wrapping_sub(part.start * GROUP);
            // SAFETY: there is room for this part of every panel.
            unsafe { product.source.copy(set, unit, panel, part.clone(), to) };
        }
        for block in 0..blocks {
            for (index, panel) in panels.clone().enumerate() {
                let from = kept.wrapping_add(index * most * GROUP);
                let sums = sums.wrapping_add((block * count + index) * SUMS);
                // SAFETY: the copies and the sums are there; the rest is vouched for by the caller.
                unsafe {
                    product.sum(set, unit, panel, block, part.clone(), from, sums);
                    if part.end == depth {
                        product.write(set, unit, panel, block, sums);
                    }
                }
            }
        }
        start = part.end;
    }
}

/// A task: the copy of some rows of a panel to `to`, where there is room for all of it.
struct CopyRows<'a, F> {
    product: Product<'a, F>,
    unit: usize,
    panel: usize,
    depth: Range<usize>,
    to: *mut f32,
}

impl<F: Source> Kernel for CopyRows<'_, F> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        // SAFETY: whoever made the task vouches for `to`, whoever runs the product for the source.
        unsafe { self.product.source.copy(set, self.unit, self.panel, self.depth, self.to) };
    }
}

/// A task: some blocks of rows at the columns of a panel that has been copied to `from`.
struct Blocks<'a, F> {
    product: Product<'a, F>,
    unit: usize,
    panel: usize,
    blocks: Range<usize>,
    from: *const f32,
}

impl<F: Source> Kernel for Blocks<'_, F> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let mut sums = [0f32; SUMS];
        for block in self.blocks {
            // SAFETY: whoever made the task vouches for `from`; `sums` holds a block.
            unsafe { self.product.block(set, self.unit, self.panel, block, self.from, sums.as_mut_ptr()) }
        }
    }
}
