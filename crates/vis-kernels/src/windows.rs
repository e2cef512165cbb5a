//! Pooling by windows of any size that move over planes: the largest number of each, or the mean.

use crate::simd::{InstructionSet, Kernel, dispatch};
use crate::threads::{Parts, for_each};
use crate::workspace::length;

/// Products that a task does, about.
const TASK: usize = 1 << 16;
/// The place of a maximum that has not been found yet.
const NOWHERE: u32 = u8::MAX as u32;

/// Windows that move over a plane. A window may reach over its edges, where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Height and width of a plane.
    pub size: [usize; 2],
    /// Height and width of a window, in pixels that count.
    pub kernel: [usize; 2],
    /// From one window to the next.
    pub stride: [usize; 2],
    /// From one pixel of a window to the next.
    pub dilation: [usize; 2],
    /// How far the first window reaches over the upper and the left edge.
    pub before: [usize; 2],
    /// Windows down and to the right.
    pub count: [usize; 2],
}

impl Windows {
    /// Whether the places in a window can be counted by a byte, and all sizes be counted with.
    pub fn suits(&self) -> bool {
        let Self { size, kernel, stride, dilation, before, count } = *self;
        let lists = [size, kernel, stride, dilation, count];
        let fits = |axis: usize| {
            let end = (count[axis] - 1).checked_mul(stride[axis])?;
            end.checked_add((kernel[axis] - 1).checked_mul(dilation[axis])?)?.checked_add(before[axis])
        };
        let most = isize::MAX as usize / 4;
        lists.iter().flatten().all(|extent| *extent > 0)
            && kernel[0].checked_mul(kernel[1]).is_some_and(|area| area < NOWHERE as usize)
            && [0, 1].iter().all(|axis| fits(*axis).is_some_and(|end| end < most))
            && length(&size).is_ok()
            && length(&count).is_ok()
    }

    /// The row or column of a pixel of a window, if it is in the plane.
    fn place(&self, axis: usize, window: usize, k: usize) -> Option<usize> {
        let at = window * self.stride[axis] + k * self.dilation[axis];
        at.checked_sub(self.before[axis]).filter(|at| *at < self.size[axis])
    }

    /// The windows whose pixel `k` of a row is in the plane, and the column where it is in the first of them.
    fn columns(&self, k: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, offset, before) = (self.stride[1], k * self.dilation[1], self.before[1]);
        let first = before.saturating_sub(offset).div_ceil(stride).min(self.count[1]);
        let end = (self.size[1] + before).saturating_sub(offset).div_ceil(stride).clamp(first, self.count[1]);
        let column = if first < end { first * stride + offset - before } else { 0 };
        (first..end, column)
    }

    /// Numbers of a plane before and after, and planes that make a task, with all lengths checked.
    fn check(&self, planes: usize, whole: usize, pooled: usize) -> [usize; 3] {
        assert!(self.suits(), "windows that can't be counted with: {self:?}");
        let [before, after] = [self.size, self.count];
        assert_eq!(
            length(&[planes, before[0], before[1]]),
            Ok(whole),
            "numbers of {planes} planes of {before:?}"
        );
        assert_eq!(
            length(&[planes, after[0], after[1]]),
            Ok(pooled),
            "numbers of {planes} planes of {after:?}"
        );
        let after = after[0] * after[1];
        let at_once = (TASK / after.saturating_mul(self.kernel[0] * self.kernel[1])).max(1);
        [before[0] * before[1], after, at_once]
    }

    /// The largest number of each window, and its place in it, row by row; of equal ones the first. What is no number counts
    /// as the largest. A window with no pixel gives negative infinity, and the place 255.
    ///
    /// # Panics
    /// If the windows do not [suit](Self::suits), or a length does not fit them.
    pub fn max(&self, planes: usize, input: &[f32], output: &mut [f32], winners: &mut [u8]) {
        let [whole, pooled, at_once] = self.check(planes, input.len(), output.len());
        assert_eq!(winners.len(), output.len(), "one winner for each output");
        let (output, winners) = (Parts::new(output, at_once * pooled), Parts::new(winners, at_once * pooled));
        for_each(planes.div_ceil(at_once), |task| {
            let input = &input[task * at_once * whole..planes.min((task + 1) * at_once) * whole];
            // SAFETY: each task has parts of its own; the kernel has no pointers.
            unsafe {
                let (output, winners) = (output.get(task), winners.get(task));
                dispatch(Max { windows: *self, input, output, winners });
            }
        });
    }

    /// The gradient of [`max`](Self::max): each cotangent goes to the winner of its window.
    ///
    /// # Panics
    /// As [`max`](Self::max).
    pub fn max_gradient(&self, planes: usize, cotangent: &[f32], winners: &[u8], gradient: &mut [f32]) {
        let [whole, pooled, at_once] = self.check(planes, gradient.len(), cotangent.len());
        assert_eq!(winners.len(), cotangent.len(), "one winner for each output");
        let [rows, columns] = self.count;
        let gradient = Parts::new(gradient, at_once * whole);
        for_each(planes.div_ceil(at_once), |task| {
            // SAFETY: each task has a part of its own.
            let gradient = unsafe { gradient.get(task) };
            gradient.fill(0.0);
            for (index, plane) in gradient.chunks_exact_mut(whole).enumerate() {
                let start = (task * at_once + index) * pooled;
                for row in 0..rows {
                    let part = start + row * columns..start + (row + 1) * columns;
                    for (column, (value, winner)) in
                        cotangent[part.clone()].iter().zip(&winners[part]).enumerate()
                    {
                        let winner = usize::from(*winner);
                        let y = self.place(0, row, winner / self.kernel[1]);
                        let x = self.place(1, column, winner % self.kernel[1]);
                        if let (Some(y), Some(x)) = (y, x) {
                            plane[y * self.size[1] + x] += value;
                        }
                    }
                }
            }
        });
    }

    /// The sum of each window times the shares of its row and its column of windows: the mean, if they are one over the
    /// number of pixels.
    ///
    /// # Panics
    /// As [`max`](Self::max).
    pub fn mean(&self, planes: usize, input: &[f32], shares: [&[f32]; 2], output: &mut [f32]) {
        let [whole, pooled, at_once] = self.check(planes, input.len(), output.len());
        assert_eq!(shares.map(<[f32]>::len), self.count, "one share for each row and column of windows");
        let output = Parts::new(output, at_once * pooled);
        for_each(planes.div_ceil(at_once), |task| {
            let input = &input[task * at_once * whole..planes.min((task + 1) * at_once) * whole];
            // SAFETY: each task has a part of its own; the kernel has no pointers.
            unsafe { dispatch(Mean { windows: *self, input, shares, output: output.get(task) }) }
        });
    }

    /// The gradient of [`mean`](Self::mean).
    ///
    /// # Panics
    /// As [`max`](Self::max).
    pub fn mean_gradient(&self, planes: usize, cotangent: &[f32], shares: [&[f32]; 2], gradient: &mut [f32]) {
        let [whole, pooled, at_once] = self.check(planes, gradient.len(), cotangent.len());
        assert_eq!(shares.map(<[f32]>::len), self.count, "one share for each row and column of windows");
        let gradient = Parts::new(gradient, at_once * whole);
        for_each(planes.div_ceil(at_once), |task| {
            let cotangent = &cotangent[task * at_once * pooled..planes.min((task + 1) * at_once) * pooled];
            // SAFETY: each task has a part of its own; the kernel has no pointers.
            unsafe { dispatch(Spread { windows: *self, cotangent, shares, gradient: gradient.get(task) }) }
        });
    }
}

/// Calls a macro with the stride, which is known when it is compiled if it is a common one.
macro_rules! for_stride {
    ($stride:expr, $run:ident) => {
        match $stride {
            1 => $run!(1),
            2 => $run!(2),
            3 => $run!(3),
            stride => $run!(stride),
        }
    };
}

/// A task: the maxima of some planes. The loops are plain; the compiler vectorises them for each instruction set.
struct Max<'a> {
    windows: Windows,
    input: &'a [f32],
    output: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Max<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, _: S) {
        let Max { windows, input, output, winners } = self;
        let (whole, [rows, columns]) = (windows.size[0] * windows.size[1], windows.count);
        let mut places = vec![NOWHERE; columns];
        let lines = output.chunks_exact_mut(columns).zip(winners.chunks_exact_mut(columns));
        for (index, (best, winners)) in lines.enumerate() {
            let (plane, row) = (&input[index / rows * whole..][..whole], index % rows);
            best.fill(f32::NEG_INFINITY);
            places.fill(NOWHERE);
            for down in 0..windows.kernel[0] {
                let Some(y) = windows.place(0, row, down) else { continue };
                let line = &plane[y * windows.size[1]..][..windows.size[1]];
                for right in 0..windows.kernel[1] {
                    let (there, first) = windows.columns(right);
                    let line = &line[first..];
                    let here = (down * windows.kernel[1] + right) as u32;
                    let (best, places) = (&mut best[there.clone()], &mut places[there]);
                    macro_rules! run {
                        ($stride:expr) => {
                            for ((best, place), value) in
                                best.iter_mut().zip(places.iter_mut()).zip(line.iter().step_by($stride))
                            {
                                let wins = (*value > *best) | value.is_nan() | (*place == NOWHERE);
                                *best = if wins { *value } else { *best };
                                *place = if wins { here } else { *place };
                            }
                        };
                    }
                    for_stride!(windows.stride[1], run);
                }
            }
            winners.iter_mut().zip(&places).for_each(|(winner, place)| *winner = *place as u8);
        }
    }
}

/// A task: the means of some planes.
struct Mean<'a> {
    windows: Windows,
    input: &'a [f32],
    shares: [&'a [f32]; 2],
    output: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, _: S) {
        let Mean { windows, input, shares, output } = self;
        let (whole, [rows, columns]) = (windows.size[0] * windows.size[1], windows.count);
        for (index, sums) in output.chunks_exact_mut(columns).enumerate() {
            let (plane, row) = (&input[index / rows * whole..][..whole], index % rows);
            sums.fill(0.0);
            for down in 0..windows.kernel[0] {
                let Some(y) = windows.place(0, row, down) else { continue };
                let line = &plane[y * windows.size[1]..][..windows.size[1]];
                for right in 0..windows.kernel[1] {
                    let (there, first) = windows.columns(right);
                    let (line, sums) = (&line[first..], &mut sums[there]);
                    macro_rules! run {
                        ($stride:expr) => {
                            sums.iter_mut()
                                .zip(line.iter().step_by($stride))
                                .for_each(|(sum, value)| *sum += *value)
                        };
                    }
                    for_stride!(windows.stride[1], run);
                }
            }
            sums.iter_mut().zip(shares[1]).for_each(|(sum, share)| *sum *= share * shares[0][row]);
        }
    }
}

/// A task: the gradient of the means of some planes.
struct Spread<'a> {
    windows: Windows,
    cotangent: &'a [f32],
    shares: [&'a [f32]; 2],
    gradient: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, _: S) {
        let Spread { windows, cotangent, shares, gradient } = self;
        let (whole, [rows, columns]) = (windows.size[0] * windows.size[1], windows.count);
        let mut parts = vec![0.0; columns];
        for (index, plane) in gradient.chunks_exact_mut(whole).enumerate() {
            plane.fill(0.0);
            for row in 0..rows {
                let line = &cotangent[(index * rows + row) * columns..][..columns];
                for ((part, value), share) in parts.iter_mut().zip(line).zip(shares[1]) {
                    *part = value * (share * shares[0][row]);
                }
                for down in 0..windows.kernel[0] {
                    let Some(y) = windows.place(0, row, down) else { continue };
                    let line = &mut plane[y * windows.size[1]..][..windows.size[1]];
                    for right in 0..windows.kernel[1] {
                        let (there, first) = windows.columns(right);
                        let (line, parts) = (&mut line[first..], &parts[there]);
                        macro_rules! run {
                            ($stride:expr) => {
                                line.iter_mut()
                                    .step_by($stride)
                                    .zip(parts)
                                    .for_each(|(value, part)| *value += *part)
                            };
                        }
                        for_stride!(windows.stride[1], run);
                    }
                }
            }
        }
    }
}
