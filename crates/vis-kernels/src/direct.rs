//! Convolution as it is defined, for few input channels a group: depthwise ones, and the first of a network.
//!
//! # One sum for all cases
//! The rows that a task needs are copied into the cache with zeros around them, through the gate on the way. For
//! stride `s` they are split into `s × s` *phases*: phase `(a, b)` has the rows `a, a + s, …` and of these the columns
//! `b, b + s, …`. Then every output is a sum over *taps*, `weight · scratch[offset + y · row + x]`, whose offsets
//! do not depend on the position, and sixteen neighbouring outputs are a register. The input gradient is the same
//! sum for each phase of the gradient, over the taps that meet it, with the phases put together at the end.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::fmt;

use crate::fused::{Epilogue, Gate, Gated, Rectifier, rectify};
use crate::geometry::{Filters, Geometry};
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace, length};

/// Numbers that a task keeps in its cache, about: 256 KB.
const KEPT: usize = 1 << 16;
/// Products that a task does, about.
const WORTH: usize = 1 << 20;
/// Most rows of sums at a time.
const MOST_ROWS: usize = 8;
/// Most taps above each other that are summed at a time.
const HIGHEST: usize = 5;

/// A convolution whose weights do not change: any kernel, padding and number of groups, and any stride that does not jump
/// over pixels.
#[derive(Clone)]
pub struct Direct {
    filters: Filters,
    groups: usize,
    /// Input channels of a group.
    inputs: usize,
    /// Output channels of a group.
    outputs: usize,
    kernel: [usize; 2],
    stride: usize,
    /// `[groups][outputs][inputs][height][width]`
    weights: Vec<f32>,
}

impl Direct {
    /// Whether these filters are what it computes: one stride, at most height and width of the filter, and no dilation.
    pub fn suits(filters: &Filters) -> bool {
        let [down, right] = filters.stride();
        down == right && filters.dilation() == [1, 1] && filters.kernel().iter().all(|size| down <= *size)
    }

    /// Takes weights `[groups * outputs, inputs, height, width]`.
    ///
    /// # Panics
    /// If the filters do not [suit](Self::suits), or the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Self {
        assert!(
            Self::suits(filters),
            "filters of one stride, at most their height and width, and no dilation, not {filters:?}"
        );
        let count: usize = filters.weight().iter().product();
        assert_eq!(weights.len(), count, "weights of the shape {:?}", filters.weight());
        let [inputs, outputs] = filters.channels_of_a_group();
        Self {
            filters: *filters,
            groups: filters.groups(),
            inputs,
            outputs,
            kernel: filters.kernel(),
            stride: filters.stride()[0],
            weights: weights.to_vec(),
        }
    }

    /// `output[n, o, y, x] = rectifier(bias[o] + Σ weights[o, i, ky, kx] · input[n, i, s·y + ky - top, s·x + kx - left])`
    ///
    /// # Panics
    /// If the sizes are not for these filters, or a length does not fit them.
    pub fn forward(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        sizes.check(&self.filters, input.len(), output.len());
        epilogue.check(self.filters.outputs());
        let ([batch, _, height, width], [_, _, rows, columns]) = (sizes.input(), sizes.output());
        Call {
            convolution: self,
            backward: false,
            source: Gated::new(input, None),
            source_size: [height, width],
            target: Shared::new(output),
            target_size: [rows, columns],
            padding: sizes.zeros_before(),
            bias: epilogue.bias,
            rectifier: epilogue.rectifier,
        }
        .run(batch);
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
        let ([batch, _, height, width], [_, _, rows, columns]) = (sizes.input(), sizes.output());
        Call {
            convolution: self,
            backward: true,
            source: Gated::new(cotangent, gate),
            source_size: [rows, columns],
            target: Shared::new(gradient),
            target_size: [height, width],
            padding: sizes.zeros_before(),
            bias: None,
            rectifier: None,
        }
        .run(batch);
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("filters", &self.filters).finish_non_exhaustive()
    }
}

/// One call, with checked lengths: from a source to a target.
#[derive(Clone, Copy)]
struct Call<'a> {
    convolution: &'a Direct,
    backward: bool,
    source: Gated<'a>,
    source_size: [usize; 2],
    /// Tasks write different planes or rows of it.
    target: Shared<'a>,
    target_size: [usize; 2],
    padding: [usize; 2],
    bias: Option<&'a [f32]>,
    rectifier: Option<Rectifier>,
}

/// Taps above each other, which read the same numbers for neighbouring rows.
#[derive(Clone, Copy)]
struct Column {
    /// Where the uppermost finds its numbers.
    offset: usize,
    /// How many there are, at most [`HIGHEST`].
    height: usize,
}

/// The taps of a sum, and where their weights are, from column to column, downwards.
#[derive(Default)]
struct Taps {
    columns: Vec<Column>,
    weights: Vec<usize>,
}

/// How the scratch memory of a band of rows is laid out: `[planes][phase rows][phase columns][rows][row]`.
#[derive(Clone, Copy)]
struct Scratch {
    /// Numbers in a row.
    row: usize,
    /// Rows of a phase.
    rows: usize,
    /// Phases along each axis.
    phases: usize,
}

impl Scratch {
    fn start(&self, plane: usize, a: usize, b: usize) -> usize {
        ((plane * self.phases + a) * self.phases + b) * self.rows * self.row
    }

    /// Numbers in so many planes.
    ///
    /// # Panics
    /// If so many can't be addressed.
    fn length(&self, planes: usize) -> usize {
        let extents = [planes, self.phases, self.phases, self.rows, self.row];
        length(&extents).unwrap_or_else(|error| panic!("scratch memory of the extents {extents:?}: {error}"))
    }
}

impl Call<'_> {
    /// Channels of a group in the source and in the target.
    fn channels(&self) -> (usize, usize) {
        let Direct { inputs, outputs, .. } = *self.convolution;
        if self.backward { (outputs, inputs) } else { (inputs, outputs) }
    }

    /// The positions that sums are taken at, along an axis: those of the target, or of a phase of it.
    fn positions(&self, axis: usize) -> std::ops::Range<usize> {
        let (stride, size, before) = (self.convolution.stride, self.target_size[axis], self.padding[axis]);
        if self.backward { before / stride..(before + size - 1) / stride + 1 } else { 0..size }
    }

    /// How many rows or columns a tap can reach beyond its position.
    fn reach(&self, axis: usize) -> usize {
        (self.convolution.kernel[axis] - 1) / self.convolution.stride
    }

    fn scratch(&self, band: usize) -> Scratch {
        Scratch {
            row: (self.positions(1).len().next_multiple_of(LANES) + self.reach(1)).next_multiple_of(LANES),
            rows: band.next_multiple_of(MOST_ROWS) + self.reach(0),
            phases: if self.backward { 1 } else { self.convolution.stride },
        }
    }

    fn run(&self, batch: usize) {
        if self.target_size.contains(&0) || batch == 0 {
            return;
        }
        let Direct { groups, kernel, .. } = *self.convolution;
        let (sources, targets) = self.channels();
        let rows = self.positions(0);
        let one = Scratch { rows: 1, ..self.scratch(1) };
        let band = (KEPT / one.length(sources)).max(1).next_multiple_of(MOST_ROWS);
        let bands = rows.len().div_ceil(band.min(rows.len()));
        let band = rows.len().div_ceil(bands).next_multiple_of(MOST_ROWS).min(rows.len());
        let bands = rows.len().div_ceil(band);
        // Several small planes make a task. More products than can be counted are more than enough.
        let extents = [targets, kernel[0], kernel[1], band, self.positions(1).len()];
        let products = extents.into_iter().fold(sources, usize::saturating_mul);
        let units = batch * groups * bands;
        let at_once = (WORTH / products).clamp(1, units.div_ceil(8).max(1));
        for_each(units.div_ceil(at_once), |task| {
            let units = task * at_once..units.min((task + 1) * at_once);
            // SAFETY: tasks write different planes or rows of the target.
            unsafe { dispatch(Task { call: *self, units, bands, band }) }
        });
    }

    /// Copies the rows that the sums at `rows` need, where there are such; all around them is zero already, in the
    /// scratch memory at `to` as in `line`.
    ///
    /// # Safety
    /// The scratch memory has room for a plane, `line` for a row of all phases.
    #[inline(always)]
    unsafe fn fill<S: InstructionSet>(
        &self,
        set: S,
        plane: usize,
        to: *mut f32,
        scratch: Scratch,
        rows: &std::ops::Range<usize>,
        line: &mut [f32],
    ) {
        let [height, width] = self.source_size;
        let (stride, phases) = (self.convolution.stride, scratch.phases);
        let reach = [self.reach(0), self.reach(1)];
        let first = self.positions(1).start;
        // The first column of the scratch memory that is not zero, and the column of the source that it is.
        let (zeros, skipped) = if self.backward {
            (reach[1] - first.min(reach[1]), first.saturating_sub(reach[1]))
        } else {
            (self.padding[1].min(scratch.row), 0)
        };
        let count = width.saturating_sub(skipped).min(scratch.row - zeros);
        for a in 0..phases {
            for r in 0..rows.len() + reach[0] {
                // The row of the source, shifted by `before`.
                let (shifted, before) = if self.backward {
                    (rows.start + r, reach[0])
                } else {
                    ((rows.start + r) * stride + a, self.padding[0])
                };
                if shifted < before || shifted - before >= height {
                    continue;
                }
                let from = (plane * height + shifted - before) * width;
                if phases == 1 {
                    let to = to.wrapping_add(scratch.start(0, a, 0) + r * scratch.row + zeros);
                    let mut x = 0;
                    while x < count {
                        let there = (count - x).min(LANES);
                        // SAFETY: reads inside of the source's row; writes inside of the scratch row.
                        unsafe {
                            let value = self.source.load_between(set, from + skipped + x, 0, there);
                            let room = scratch.row - zeros - x;
                            if room >= LANES {
                                value.store(to.add(x));
                            } else {
                                value.store_first(to.add(x), room);
                            }
                        }
                        x += LANES;
                    }
                    continue;
                }
                // Columns beyond the line are beyond every filter.
                let left = self.padding[1].min(line.len());
                let count = width.min(line.len() - left);
                // The forward pass has no gate.
                line[left..left + count].copy_from_slice(&self.source.input()[from..][..count]);
                for b in 0..phases {
                    let start = to.wrapping_add(scratch.start(0, a, b) + r * scratch.row);
                    // SAFETY: a row of the scratch memory.
                    let phase = unsafe { std::slice::from_raw_parts_mut(start, scratch.row) };
                    if phases == 2 {
                        // Two loops, so that each is a shuffle and no gather.
                        let pairs = phase.iter_mut().zip(line.as_chunks::<2>().0);
                        if b == 0 {
                            pairs.for_each(|(to, pair)| *to = pair[0]);
                        } else {
                            pairs.for_each(|(to, pair)| *to = pair[1]);
                        }
                    } else {
                        for (to, value) in phase.iter_mut().zip(line[b..].iter().step_by(phases)) {
                            *to = *value;
                        }
                    }
                }
            }
        }
    }

    /// The taps that meet phase `(a, b)` of the target, `(0, 0)` in the forward pass, with the places of their weights
    /// counted from [`first_weight`](Self::first_weight).
    fn taps(&self, [a, b]: [usize; 2], scratch: Scratch) -> Taps {
        let Direct { inputs, kernel: [kh, kw], stride, .. } = *self.convolution;
        let (sources, _) = self.channels();
        let reach = [self.reach(0), self.reach(1)];
        let mut taps = Taps::default();
        if !self.backward {
            // In the order of the definition, each a column of its own: what lies within rounding of a rectifier's
            // threshold then falls on the side where other libraries have it.
            for source in 0..sources {
                for ky in 0..kh {
                    for kx in 0..kw {
                        let start = scratch.start(source, ky % stride, kx % stride);
                        let offset = start + ky / stride * scratch.row + kx / stride;
                        taps.columns.push(Column { offset, height: 1 });
                        taps.weights.push(source * kh * kw + ky * kw + kx);
                    }
                }
            }
            return taps;
        }
        // Every `stride`th of the taps meets a phase of the gradient. The scratch memory starts as far before the first
        // position as taps reach; see `fill`.
        let rows: Vec<usize> = (a..kh).step_by(stride).collect();
        let Some(deepest) = rows.len().checked_sub(1) else { return taps };
        let rows: Vec<usize> = rows.into_iter().rev().collect();
        for source in 0..sources {
            for kx in (b..kw).step_by(stride) {
                let offset = (reach[0] - deepest) * scratch.row + reach[1] - kx / stride;
                for (part, rows) in rows.chunks(HIGHEST).enumerate() {
                    let offset = scratch.start(source, 0, 0) + offset + part * HIGHEST * scratch.row;
                    taps.columns.push(Column { offset, height: rows.len() });
                    taps.weights.extend(rows.iter().map(|ky| (source * inputs * kh + ky) * kw + kx));
                }
            }
        }
        taps
    }

    fn first_weight(&self, group: usize, target: usize) -> usize {
        let Direct { inputs, outputs, kernel: [kh, kw], .. } = *self.convolution;
        let filter = group * outputs * inputs + target * if self.backward { 1 } else { inputs };
        filter * kh * kw
    }
}

/// Some planes, or bands of planes.
struct Task<'a> {
    call: Call<'a>,
    /// Each is a band of a group of an image.
    units: std::ops::Range<usize>,
    /// Bands in a plane.
    bands: usize,
    /// Rows in a band.
    band: usize,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Task { call, units, bands, band } = self;
        let Direct { groups, stride, .. } = *call.convolution;
        let (sources, targets) = call.channels();
        let scratch = call.scratch(band);
        let mut memory = Workspace::of(&[scratch.length(sources)]);
        // The band that the zeros in the scratch memory are for: around planes of equal size they stay.
        let mut zeros_for = None;
        let columns = call.positions(1).len();
        // A row of the source with zeros around it, or phases of the gradient side by side.
        let mut line = Workspace::of(&[scratch.row, stride, 1 + MOST_ROWS]);
        let line = line.numbers_mut();
        line.fill(0.0);
        // Divisions are slow: where the taps are is found once, for every phase of the target.
        let phases = if call.backward { stride } else { 1 };
        let taps: Vec<Taps> =
            (0..phases * phases).map(|phase| call.taps([phase / phases, phase % phases], scratch)).collect();
        let mut weights: Vec<Vec<f32>> = vec![Vec::new(); taps.len()];
        for unit in units {
            let (plane, index) = (unit / bands, unit % bands);
            let (image, group) = (plane / groups, plane % groups);
            let all = call.positions(0);
            let start = all.start + index * band;
            let rows = start..all.end.min(start + band);
            if rows.is_empty() {
                continue;
            }
            if zeros_for != Some(index) {
                memory.numbers_mut().fill(0.0);
                zeros_for = Some(index);
            }
            let memory = memory.pointer();
            for source in 0..sources {
                let plane = (image * groups + group) * sources + source;
                let to = memory.wrapping_add(scratch.start(source, 0, 0));
                let line = &mut line[..scratch.row * stride];
                // SAFETY: there is room for the planes of a group.
                unsafe { call.fill(set, plane, to, scratch, &rows, line) };
            }
            for target in 0..targets {
                let channel = group * targets + target;
                let all = &call.convolution.weights[call.first_weight(group, target)..];
                for (weights, taps) in weights.iter_mut().zip(&taps) {
                    weights.clear();
                    weights.extend(taps.weights.iter().map(|place| all[*place]));
                }
                let bias = set.splat(call.bias.map_or(0.0, |bias| bias[channel]));
                let [height, width] = call.target_size;
                let to = call.target.at((image * groups * targets + channel) * height * width);
                if !(call.backward && stride > 1) {
                    let (of_taps, weights) = (&taps[0].columns, &weights[0]);
                    // With stride 1 the positions of the gradient start at the padding.
                    let skipped = call.positions(0).start;
                    for first in (0..rows.len()).step_by(S::TAP_ROWS) {
                        for x in (0..columns).step_by(LANES) {
                            let from = memory.wrapping_add(first * scratch.row + x);
                            // SAFETY: the scratch rows reach as far as the taps; what is written is inside of the plane.
                            unsafe {
                                let sums = sum(set, from, scratch.row, of_taps, weights);
                                for r in 0..S::TAP_ROWS.min(rows.len() - first) {
                                    let value = rectify(set, call.rectifier, sums[r].add(bias));
                                    let to = to.add((rows.start - skipped + first + r) * width + x);
                                    let there = columns - x;
                                    if there >= LANES {
                                        value.store(to);
                                    } else {
                                        value.store_first(to, there);
                                    }
                                }
                            }
                        }
                    }
                    continue;
                }
                // The phases of the gradient, then the rows that they make up.
                for a in 0..stride {
                    for first in (0..rows.len()).step_by(S::TAP_ROWS) {
                        let (parts, woven) = line.split_at_mut(scratch.row * stride * MOST_ROWS);
                        for b in 0..stride {
                            let phase = a * stride + b;
                            let (of_taps, weights) = (&taps[phase].columns, &weights[phase]);
                            for x in (0..columns).step_by(LANES) {
                                let from = memory.wrapping_add(first * scratch.row + x);
                                // SAFETY: as above; a part is as long as a scratch row.
                                unsafe {
                                    let sums = sum(set, from, scratch.row, of_taps, weights);
                                    for r in 0..S::TAP_ROWS {
                                        let at = (r * stride + b) * scratch.row + x;
                                        sums[r].store(parts.as_mut_ptr().add(at));
                                    }
                                }
                            }
                        }
                        for r in 0..S::TAP_ROWS.min(rows.len() - first) {
                            let y = (rows.start + first + r) * stride + a;
                            let Some(y) = y.checked_sub(call.padding[0]).filter(|y| *y < height) else {
                                continue;
                            };
                            let parts = &parts[r * stride * scratch.row..][..stride * scratch.row];
                            if stride == 2 {
                                let (even, odd) = parts.split_at(scratch.row);
                                for x in (0..scratch.row).step_by(LANES) {
                                    // SAFETY: a row is a multiple of sixteen, and woven twice as long.
                                    unsafe {
                                        let even = set.load(even.as_ptr().add(x));
                                        let odd = set.load(odd.as_ptr().add(x));
                                        let [low, high] = S::Lanes::interleave(even, odd);
                                        low.store(woven.as_mut_ptr().add(2 * x));
                                        high.store(woven.as_mut_ptr().add(2 * x + LANES));
                                    }
                                }
                            } else {
                                for b in 0..stride {
                                    let part = &parts[b * scratch.row..][..scratch.row];
                                    for (to, value) in woven[b..].iter_mut().step_by(stride).zip(part) {
                                        *to = *value;
                                    }
                                }
                            }
                            let skipped = call.padding[1] - call.positions(1).start * stride;
                            // SAFETY: a row of the target.
                            let row = unsafe { std::slice::from_raw_parts_mut(to.add(y * width), width) };
                            row.copy_from_slice(&woven[skipped..][..width]);
                        }
                    }
                }
            }
        }
    }
}

/// The sums over the taps at sixteen positions of some rows.
///
/// # Safety
/// The rows are long enough for every tap, and there are as many weights as taps.
#[inline(always)]
unsafe fn sum<S: InstructionSet>(
    set: S,
    from: *const f32,
    row: usize,
    columns: &[Column],
    weights: &[f32],
) -> [S::Lanes; MOST_ROWS] {
    let mut sums = [set.splat(0.0); MOST_ROWS];
    let mut weights = weights.as_ptr();
    for column in columns {
        let from = from.wrapping_add(column.offset);
        // SAFETY: as vouched for by the caller.
        unsafe {
            match column.height {
                1 => add_column::<S, 1>(set, from, row, weights, &mut sums),
                2 => add_column::<S, 2>(set, from, row, weights, &mut sums),
                3 => add_column::<S, 3>(set, from, row, weights, &mut sums),
                4 => add_column::<S, 4>(set, from, row, weights, &mut sums),
                _ => add_column::<S, HIGHEST>(set, from, row, weights, &mut sums),
            }
        }
        weights = weights.wrapping_add(column.height);
    }
    sums
}

/// Adds the products of a column of taps: what one row reads the next rows read as well, so it is loaded once.
///
/// # Safety
/// As for [`sum`].
#[inline(always)]
unsafe fn add_column<S: InstructionSet, const HEIGHT: usize>(
    set: S,
    from: *const f32,
    row: usize,
    weights: *const f32,
    sums: &mut [S::Lanes; MOST_ROWS],
) {
    let mut factors = [set.splat(0.0); HEIGHT];
    for tap in 0..HEIGHT {
        // SAFETY: as vouched for by the caller.
        factors[tap] = set.splat(unsafe { *weights.add(tap) });
    }
    for below in 0..S::TAP_ROWS + HEIGHT - 1 {
        // SAFETY: as vouched for by the caller.
        let value = unsafe { set.load(from.wrapping_add(below * row)) };
        for tap in 0..HEIGHT {
            if below >= tap && below - tap < S::TAP_ROWS {
                sums[below - tap] = value.mul_add(factors[tap], sums[below - tap]);
            }
        }
    }
}
