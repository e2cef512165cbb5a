//! Convolution of any kind, as a product of panels: any filter, strides, dilations, padding and number of groups.
//!
//! # One sum for both directions
//! A target is a sum over *taps*, `target[o, y, x] = Σ_{i, t} weights[o, i, t] · staged[i, phase_t, y + a_t, x + b_t]`,
//! which is a product of a matrix with a panel of 32 neighbouring targets ([`panels`](crate::panels)). The source is
//! staged for it once: with zeros around it, through the gate, and for strides `s` split into *phases*, so that phase
//! `(a, b)` has the rows `a, a + s, …` and of these the columns `b, b + s, …`. What a tap reads for neighbouring targets of a
//! row is then contiguous.
//!
//! Forward, every tap reads one phase of the input. Backward, the source is not split, but the target is: each phase of the
//! gradient is such a sum over the taps that meet it. A transposed convolution is the backward direction.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::fmt;
use std::ops::Range;

use crate::fused::{Epilogue, Gate, Gated};
use crate::geometry::{Filters, Geometry};
use crate::multiply::GROUP;
use crate::panels::{Grid, Matrix, Pieces, Product, Source};
use crate::pointwise::Pixels;
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace, length};

/// Numbers that a task stages, about.
const STAGED: usize = 1 << 14;

/// A convolution of any kind whose weights do not change.
///
/// It keeps the weights twice, once for each direction.
#[derive(Clone)]
pub struct General {
    filters: Filters,
    /// The phases of the input that taps read.
    phases: [Vec<usize>; 2],
    forward: Sum,
    /// One for each phase of the gradient that has taps; none if there are patches.
    backward: Vec<Sum>,
    /// Of filters that lie side by side: for each group a row for each weight of each input channel.
    patches: Option<Vec<Matrix>>,
}

/// A sum over taps, for one phase of the target.
#[derive(Clone)]
struct Sum {
    /// One for each group.
    matrices: Vec<Matrix>,
    taps: Vec<Tap>,
    /// The phase of the target.
    phase: [usize; 2],
}

/// Where a weight finds its numbers: `step` rows and columns of a phase from the place of the target.
#[derive(Clone, Copy)]
struct Tap {
    /// Place of the phase in the list of those that are staged.
    phase: usize,
    step: [usize; 2],
}

impl General {
    /// Takes weights `[outputs, inputs / groups, height, width]`.
    ///
    /// # Panics
    /// If the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Self {
        let count: usize = filters.weight().iter().product();
        assert_eq!(weights.len(), count, "weights of the shape {:?}", filters.weight());
        let ([inputs, outputs], kernel) = (filters.channels_of_a_group(), filters.kernel());
        let (stride, dilation) = (filters.stride(), filters.dilation());
        let area = kernel[0] * kernel[1];
        // Along an axis: the phase that a weight belongs to, and how far into it.
        let place =
            |axis: usize, k: usize| (k * dilation[axis] % stride[axis], k * dilation[axis] / stride[axis]);
        let phases = [0, 1].map(|axis| {
            let mut phases: Vec<usize> = (0..kernel[axis]).map(|k| place(axis, k).0).collect();
            phases.sort_unstable();
            phases.dedup();
            phases
        });
        let index =
            |axis: usize, phase: usize| phases[axis].iter().position(|other| *other == phase).unwrap_or(0);
        let at = |k: usize| [place(0, k / kernel[1]), place(1, k % kernel[1])];
        let taps = (0..area).map(|k| {
            let [(a, down), (b, right)] = at(k);
            Tap { phase: index(0, a) * phases[1].len() + index(1, b), step: [down, right] }
        });
        let weight = |group: usize, o: usize, i: usize, k: usize| {
            weights[((group * outputs + o) * inputs + i) * area + k]
        };
        let forward = Sum {
            matrices: (0..filters.groups())
                .map(|group| Matrix::new(outputs, inputs * area, |o, k| weight(group, o, k / area, k % area)))
                .collect(),
            taps: taps.collect(),
            phase: [0, 0],
        };
        let patches = Self::has_patches(filters).then(|| {
            (0..filters.groups())
                .map(|group| {
                    Matrix::new(inputs * area, outputs, |row, o| weight(group, o, row / area, row % area))
                })
                .collect()
        });
        let mut backward = Vec::new();
        let all = if patches.is_some() { [&[][..], &[]] } else { [&phases[0][..], &phases[1]] };
        for (a, b) in all[0].iter().flat_map(|a| all[1].iter().map(move |b| (*a, *b))) {
            let met: Vec<usize> = (0..area).filter(|k| at(*k).map(|(phase, _)| phase) == [a, b]).collect();
            backward.push(Sum {
                matrices: (0..filters.groups())
                    .map(|group| {
                        let count = met.len();
                        Matrix::new(inputs, outputs * count, |i, k| {
                            weight(group, k / count, i, met[k % count])
                        })
                    })
                    .collect(),
                taps: met.iter().map(|k| Tap { phase: 0, step: at(*k).map(|(_, step)| step) }).collect(),
                phase: [a, b],
            });
        }
        Self { filters: *filters, phases, forward, backward, patches }
    }

    /// Whether the positions of a filter lie side by side, with nothing around them: every pixel meets one weight.
    pub(crate) fn has_patches(filters: &Filters) -> bool {
        filters.stride() == filters.kernel()
            && filters.dilation() == [1, 1]
            && filters.symmetric_padding() == Some([0, 0])
    }

    /// How far the last weight reaches into its phase, along an axis.
    fn farthest(&self, axis: usize) -> usize {
        let (kernel, stride, dilation) =
            (self.filters.kernel(), self.filters.stride(), self.filters.dilation());
        (kernel[axis] - 1) * dilation[axis] / stride[axis]
    }

    /// `output[n, o, y, x] = rectifier(bias[o] + Σ weights[o, i, k, l] · input[n, i, s·y + d·k - top, s·x + d·l - left])`
    ///
    /// # Panics
    /// If the sizes are not for these filters, a length does not fit them, or there is no memory for the staged input.
    pub fn forward(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        sizes.check(&self.filters, input.len(), output.len());
        epilogue.check(self.filters.outputs());
        self.gather(Gated::new(input, None), sizes, output, epilogue);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied to
    /// the cotangent after the gate.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn input_gradient(
        &self,
        cotangent: &[f32],
        sizes: &Geometry,
        gradient: &mut [f32],
        gate: Option<Gate<'_>>,
    ) {
        sizes.check(&self.filters, gradient.len(), cotangent.len());
        self.spread(Gated::new(cotangent, gate), sizes, gradient, Epilogue::NONE);
    }

    /// The transposed convolution: what [`input_gradient`](Self::input_gradient) is, with bias and rectifier.
    ///
    /// `sizes` are those of the convolution that it is the transpose of: `input` is as long as their output.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn transposed(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        sizes.check(&self.filters, output.len(), input.len());
        epilogue.check(self.filters.inputs());
        self.spread(Gated::new(input, None), sizes, output, epilogue);
    }

    /// The gradient of [`transposed`](Self::transposed) with respect to its input.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn transposed_gradient(
        &self,
        cotangent: &[f32],
        sizes: &Geometry,
        gradient: &mut [f32],
        gate: Option<Gate<'_>>,
    ) {
        sizes.check(&self.filters, cotangent.len(), gradient.len());
        self.gather(Gated::new(cotangent, gate), sizes, gradient, Epilogue::NONE);
    }

    /// From images to outputs, with checked lengths.
    fn gather(&self, source: Gated<'_>, sizes: &Geometry, target: &mut [f32], epilogue: Epilogue<'_>) {
        let ([batch, channels, height, width], [_, _, rows, columns]) = (sizes.input(), sizes.output());
        if target.is_empty() {
            return;
        }
        let stage = Stage {
            source,
            size: [height, width],
            stride: self.filters.stride(),
            phases: [&self.phases[0], &self.phases[1]],
            before: sizes.zeros_before().map(|zeros| zeros as isize),
            extents: [rows + self.farthest(0), columns + self.farthest(1)],
        };
        let staged = stage.run(batch * channels);
        let product = Product {
            matrices: &self.forward.matrices,
            source: Taps {
                staged: staged.numbers(),
                offsets: &stage.offsets(&self.forward.taps, [0, 0]),
                plane: stage.plane(),
                channels: channels / self.filters.groups(),
                pitch: stage.extents[1],
                width: columns,
                targets: rows * columns,
            },
            columns: rows * columns,
            target: Shared::new(target),
            grid: Grid::dense(rows * columns),
            places: None,
            bias: epilogue.bias,
            rectifier: epilogue.rectifier,
        };
        // SAFETY: the output has been checked, and the stage reaches as far as the taps from every output.
        unsafe { product.run(batch * self.filters.groups()) }
    }

    /// From outputs to images, with checked lengths.
    fn spread(&self, source: Gated<'_>, sizes: &Geometry, target: &mut [f32], epilogue: Epilogue<'_>) {
        let ([batch, channels, height, width], [_, outputs, rows, columns]) = (sizes.input(), sizes.output());
        if target.is_empty() {
            return;
        }
        let (stride, before) = (self.filters.stride(), sizes.zeros_before());
        let (size, plane) = ([height, width], height * width);
        if let Some(patches) = &self.patches {
            let area = stride[0] * stride[1];
            if height != rows * stride[0] || width != columns * stride[1] {
                // What is left at the edges.
                fill(target, plane, epilogue);
            }
            let first = |row: usize| row / area * plane + row % area / stride[1] * width + row % stride[1];
            let inputs = channels / self.filters.groups();
            let places: Vec<usize> = (0..inputs * area).map(first).collect();
            let bias: Option<Vec<f32>> = epilogue
                .bias
                .map(|bias| bias.iter().flat_map(|bias| std::iter::repeat_n(*bias, area)).collect());
            let product = Product {
                matrices: patches,
                source: Pixels {
                    input: source,
                    pixels: rows * columns,
                    channels: outputs / self.filters.groups(),
                },
                columns: rows * columns,
                target: Shared::new(target),
                grid: Grid { width: columns, step: [stride[0] * width, stride[1]], first: 0, plane },
                places: Some((inputs * plane, &places)),
                bias: bias.as_deref(),
                rectifier: epilogue.rectifier,
            };
            // SAFETY: the lengths have been checked; every place of a patch is inside of its image, and of one patch alone.
            return unsafe { product.run(batch * self.filters.groups()) };
        }
        // Positions of a phase are counted so that position `u` of phase `a` is pixel `s u + a - before`.
        let first = [0, 1].map(|axis| before[axis] / stride[axis]);
        let last = [0, 1].map(|axis| (before[axis] + size[axis] - 1) / stride[axis]);
        let reach = [self.farthest(0), self.farthest(1)];
        let stage = Stage {
            source,
            size: [rows, columns],
            stride: [1, 1],
            phases: [&[0], &[0]],
            before: [0, 1].map(|axis| reach[axis] as isize - first[axis] as isize),
            extents: [0, 1].map(|axis| last[axis] - first[axis] + 1 + reach[axis]),
        };
        let staged = stage.run(batch * outputs);
        if self.backward.len() < stride[0].saturating_mul(stride[1]) {
            // What no tap meets.
            fill(target, plane, epilogue);
        }
        let target = Shared::new(target);
        for sum in &self.backward {
            let from = [0, 1].map(|axis| before[axis].saturating_sub(sum.phase[axis]).div_ceil(stride[axis]));
            let until = [0, 1].map(|axis| {
                let end = before[axis] + size[axis];
                end.checked_sub(sum.phase[axis] + 1).map_or(0, |room| room / stride[axis] + 1)
            });
            let counts = [0, 1].map(|axis| until[axis].saturating_sub(from[axis]));
            if counts.contains(&0) {
                continue;
            }
            // Taps reach back from their position.
            let taps: Vec<Tap> = sum
                .taps
                .iter()
                .map(|tap| Tap { phase: 0, step: [0, 1].map(|axis| reach[axis] - tap.step[axis]) })
                .collect();
            let start = [0, 1].map(|axis| from[axis] - first[axis]);
            let pixel = [0, 1].map(|axis| from[axis] * stride[axis] + sum.phase[axis] - before[axis]);
            let places = counts[0] * counts[1];
            let whole = stride == [1, 1];
            let product = Product {
                matrices: &sum.matrices,
                source: Taps {
                    staged: staged.numbers(),
                    offsets: &stage.offsets(&taps, start),
                    plane: stage.plane(),
                    channels: outputs / self.filters.groups(),
                    pitch: stage.extents[1],
                    width: counts[1],
                    targets: places,
                },
                columns: places,
                target,
                grid: if whole {
                    Grid::dense(plane)
                } else {
                    Grid {
                        width: counts[1],
                        // Of a stride that leaves the image there is no second step.
                        step: [stride[0].saturating_mul(width), stride[1]],
                        first: pixel[0] * width + pixel[1],
                        plane,
                    }
                },
                places: None,
                bias: epilogue.bias,
                rectifier: epilogue.rectifier,
            };
            // SAFETY: the target has been checked, phases do not overlap, and the stage reaches as far as the taps.
            unsafe { product.run(batch * self.filters.groups()) }
        }
    }
}

impl fmt::Debug for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("General").field("filters", &self.filters).finish_non_exhaustive()
    }
}

/// What becomes of pixels that no weight meets.
fn fill(target: &mut [f32], plane: usize, epilogue: Epilogue<'_>) {
    for (index, plane) in target.chunks_exact_mut(plane).enumerate() {
        let bias = epilogue.bias.map_or(0.0, |bias| bias[index % bias.len()]);
        plane.fill(epilogue.rectifier.map_or(bias, |rectifier| rectifier.of(bias)));
    }
}

/// How a source is staged: `[planes][phases down][phases right][rows][columns]`, with zeros around it.
#[derive(Clone, Copy)]
struct Stage<'a> {
    source: Gated<'a>,
    /// Height and width of a plane of the source.
    size: [usize; 2],
    stride: [usize; 2],
    phases: [&'a [usize]; 2],
    /// Row `r` of phase `a` is row `s r + a - before` of the source.
    before: [isize; 2],
    /// Rows and columns of a phase.
    extents: [usize; 2],
}

impl Stage<'_> {
    /// Numbers in a plane.
    fn plane(&self) -> usize {
        let extents = [self.phases[0].len(), self.phases[1].len(), self.extents[0], self.extents[1]];
        length(&extents).unwrap_or_else(|error| panic!("scratch memory of the extents {extents:?}: {error}"))
    }

    /// Where each tap finds its number for the target at `start`, in a plane.
    fn offsets(&self, taps: &[Tap], start: [usize; 2]) -> Vec<usize> {
        let [rows, columns] = self.extents;
        let of =
            |Tap { phase, step }: &Tap| (phase * rows + start[0] + step[0]) * columns + start[1] + step[1];
        taps.iter().map(of).collect()
    }

    /// Stages so many planes.
    ///
    /// # Panics
    /// If there is no memory for them.
    fn run(&self, planes: usize) -> Workspace {
        let plane = self.plane();
        let all = length(&[planes, plane]).and_then(|all| length(&[all + LANES, 1]));
        let all = all.unwrap_or_else(|error| panic!("scratch memory of {planes} planes of {plane}: {error}"));
        let mut staged = Workspace::of(&[all]);
        let to = Shared::new(staged.numbers_mut());
        let at_once = (STAGED / plane).clamp(1, planes.div_ceil(16).max(1));
        for_each(planes.div_ceil(at_once), |task| {
            let planes = task * at_once..planes.min((task + 1) * at_once);
            // SAFETY: tasks write different planes, for which there is room.
            unsafe { dispatch(StagePlanes { stage: *self, planes, to }) }
        });
        staged
    }

    /// The rows, or columns, of a phase that are in the source, and where the first of them is.
    fn inside(&self, axis: usize, phase: usize) -> (Range<usize>, usize) {
        let (stride, size, count) = (self.stride[axis], self.size[axis], self.extents[axis]);
        let shift = phase as isize - self.before[axis];
        // s r + shift is at least 0 from here on, and below the size up to there.
        let from = if shift < 0 { shift.unsigned_abs().div_ceil(stride) } else { 0 }.min(count);
        let until = (size as isize - shift).max(0).unsigned_abs().div_ceil(stride).clamp(from, count);
        let first = if from < until { (from * stride).wrapping_add_signed(shift) } else { 0 };
        (from..until, first)
    }
}

/// A task: some planes, for which there is room at `to`.
struct StagePlanes<'a> {
    stage: Stage<'a>,
    planes: Range<usize>,
    to: Shared<'a>,
}

impl Kernel for StagePlanes<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let StagePlanes { stage, planes, to } = self;
        let (plane, [rows, columns], [height, width]) = (stage.plane(), stage.extents, stage.size);
        let step = stage.stride[1];
        let mut line = vec![0.0; if step > 1 { width } else { 0 }];
        let across: Vec<_> = stage.phases[1].iter().map(|phase| stage.inside(1, *phase)).collect();
        for index in planes {
            let mut start = index * plane;
            for a in 0..stage.phases[0].len() {
                let (inside, first) = stage.inside(0, stage.phases[0][a]);
                let phases = across.len();
                for row in 0..rows {
                    let there = inside.contains(&row);
                    let down = if there { first + (row - inside.start) * stage.stride[0] } else { 0 };
                    let from = (index * height + down) * width;
                    if there && step > 1 {
                        let mut x = 0;
                        while x < width {
                            let count = LANES.min(width - x);
                            // SAFETY: a row of the source; the line is as long.
                            unsafe {
                                let value = stage.source.load_between(set, from + x, 0, count);
                                value.store_first(line.as_mut_ptr().add(x), count);
                            }
                            x += LANES;
                        }
                    }
                    for (b, (within, left)) in across.iter().enumerate() {
                        let left = *left;
                        let within = if there { within.clone() } else { 0..0 };
                        let begin = start + (b * rows + row) * columns;
                        // SAFETY: a row of a phase of this task's planes, for which there is room.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.at(begin), columns) };
                        to[..within.start].fill(0.0);
                        to[within.end..].fill(0.0);
                        let to = &mut to[within];
                        match step {
                            1 => {
                                let mut x = 0;
                                while x < to.len() {
                                    let count = LANES.min(to.len() - x);
                                    // SAFETY: inside of a row of the source, and of this row.
                                    unsafe {
                                        let value = stage.source.load_between(set, from + left + x, 0, count);
                                        value.store_first(to.as_mut_ptr().add(x), count);
                                    }
                                    x += LANES;
                                }
                            }
                            2 => split::<2>(&line, left, to),
                            4 => split::<4>(&line, left, to),
                            _ => {
                                let numbers = line.iter().skip(left).step_by(step);
                                to.iter_mut().zip(numbers).for_each(|(to, from)| *to = *from);
                            }
                        }
                    }
                }
                start += phases * rows * columns;
            }
        }
    }
}

/// Every so many of a line, from one on.
#[inline(always)]
fn split<const STEP: usize>(line: &[f32], from: usize, to: &mut [f32]) {
    let line = line.get(from..).unwrap_or_default();
    for (index, to) in to.iter_mut().enumerate() {
        *to = line[index * STEP];
    }
}

/// What the taps read of a staged source.
#[derive(Clone, Copy)]
struct Taps<'a> {
    staged: &'a [f32],
    /// Where each tap finds the number for the first target, in a plane.
    offsets: &'a [usize],
    plane: usize,
    /// Channels of a unit.
    channels: usize,
    /// From one row of a phase to the next.
    pitch: usize,
    /// Targets in a row, and all of them.
    width: usize,
    targets: usize,
}

impl Source for Taps<'_> {
    #[inline(always)]
    unsafe fn copy<S: InstructionSet>(
        &self,
        set: S,
        unit: usize,
        panel: usize,
        depth: Range<usize>,
        to: *mut f32,
    ) {
        let &Taps { staged, offsets, plane, channels, pitch, width, targets } = self;
        // Rows without a gap are one.
        let width = if pitch == width { targets } else { width };
        let pieces = Pieces::of(panel, targets, width);
        let places: [usize; GROUP] = {
            let mut places = [0; GROUP];
            for (place, piece) in places.iter_mut().zip(pieces.as_slice()) {
                *place = piece.row * pitch + piece.place;
            }
            places
        };
        let (mut channel, mut tap) = (depth.start / offsets.len(), depth.start % offsets.len());
        for k in depth {
            let base = staged.as_ptr().wrapping_add((unit * channels + channel) * plane + offsets[tap]);
            let to = to.wrapping_add(k * GROUP);
            for (piece, place) in pieces.as_slice().iter().zip(places) {
                // SAFETY: a stage is a register longer than its planes, inside of which the piece begins; what is
                // written is inside of the row of the panel.
                unsafe {
                    let value = set.load(base.wrapping_add(place));
                    let room = GROUP - piece.at;
                    let to = to.wrapping_add(piece.at);
                    if room >= LANES { value.store(to) } else { value.store_first(to, room) }
                }
            }
            tap += 1;
            if tap == offsets.len() {
                (channel, tap) = (channel + 1, 0);
            }
        }
    }
}
