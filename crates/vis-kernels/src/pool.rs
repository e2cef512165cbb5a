//! 2 × 2 max pooling with stride 2.

use crate::simd::{InstructionSet, Kernel, dispatch};
use crate::threads::{Parts, for_each};
use crate::workspace::length;

/// Windows that a task takes at least, so that it is worth sending to another thread.
const TASK: usize = 1 << 14;

/// `output[n, c, y, x] = max of input[n, c, 2y..2y + 2, 2x..2x + 2]`; an odd last row or column is left out.
///
/// `input` is `[planes, height, width]` (`planes` is batch times channels), `output` and `winners` are
/// `[planes, height / 2, width / 2]`. `winners` tells where in its window the maximum is, `2 * row + column`; of
/// equal numbers the first wins, and NaN wins over every number (the last NaN), as in PyTorch. It is all that the backward pass
/// needs: one byte for each window.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn max_pool(input: &[f32], [planes, height, width]: [usize; 3], output: &mut [f32], winners: &mut [u8]) {
    let Some(Planes { whole, pooled, at_once }) =
        Planes::new([planes, height, width], input.len(), output.len())
    else {
        return;
    };
    assert_eq!(winners.len(), output.len(), "one winner for each output");
    let (output, winners) = (Parts::new(output, at_once * pooled), Parts::new(winners, at_once * pooled));
    for_each(planes.div_ceil(at_once), |task| {
        let input = &input[task * at_once * whole..planes.min((task + 1) * at_once) * whole];
        // SAFETY: each task has its own parts; the kernel has no pointers.
        unsafe {
            let (output, winners) = (output.get(task), winners.get(task));
            dispatch(Forward { input, height, width, output, winners });
        }
    });
}

/// The gradient of [`max_pool`] with respect to its input: the cotangent goes to the winners, all else is zero.
///
/// `cotangent` and `winners` are `[planes, height / 2, width / 2]`, `gradient` is `[planes, height, width]`; all
/// of it is written.
///
/// # Panics
/// If a length does not fit the shapes.
pub fn max_pool_gradient(
    cotangent: &[f32],
    winners: &[u8],
    [planes, height, width]: [usize; 3],
    gradient: &mut [f32],
) {
    let shape = [planes, height, width];
    let Some(Planes { whole, pooled, at_once }) = Planes::new(shape, gradient.len(), cotangent.len()) else {
        gradient.fill(0.0);
        return;
    };
    assert_eq!(winners.len(), cotangent.len(), "one winner for each output");
    let gradient = Parts::new(gradient, at_once * whole);
    for_each(planes.div_ceil(at_once), |task| {
        let part = task * at_once * pooled..planes.min((task + 1) * at_once) * pooled;
        let (cotangent, winners) = (&cotangent[part.clone()], &winners[part]);
        // SAFETY: each task has its own part; the kernel has no pointers.
        unsafe { dispatch(Backward { cotangent, winners, height, width, gradient: gradient.get(task) }) }
    });
}

/// How planes are shared out.
struct Planes {
    /// Numbers in a plane, before and after pooling.
    whole: usize,
    pooled: usize,
    /// Planes that make a task.
    at_once: usize,
}

impl Planes {
    /// Nothing if there is no window.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    fn new([planes, height, width]: [usize; 3], whole: usize, pooled: usize) -> Option<Self> {
        let shape = [planes, height, width];
        assert_eq!(length(&shape), Ok(whole), "numbers of planes of the shape {shape:?}");
        let windows = [planes, height / 2, width / 2];
        assert_eq!(length(&windows), Ok(pooled), "numbers of pooled planes of the shape {windows:?}");
        let of_a_plane = (height / 2) * (width / 2);
        let at_once = (TASK / of_a_plane.max(1)).max(1);
        (pooled > 0).then_some(Self { whole: height * width, pooled: of_a_plane, at_once })
    }
}

/// A task: the maxima of some planes. The loops are plain; the compiler vectorises them for each instruction set.
struct Forward<'a> {
    input: &'a [f32],
    height: usize,
    width: usize,
    output: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, _: S) {
        let Forward { input, height, width, output, winners } = self;
        let (rows, columns) = (height / 2, width / 2);
        let rows_out = output.chunks_exact_mut(columns).zip(winners.chunks_exact_mut(columns));
        for (index, (output, winners)) in rows_out.enumerate() {
            let start = (index / rows * height + index % rows * 2) * width;
            let (top, bottom) = (&input[start..start + 2 * columns], &input[start + width..][..2 * columns]);
            let windows = top.as_chunks::<2>().0.iter().zip(bottom.as_chunks::<2>().0);
            for (([a, b], [c, d]), (output, winner)) in windows.zip(output.iter_mut().zip(winners)) {
                let (mut best, mut place) = (*a, 0u32);
                for (value, here) in [(*b, 1), (*c, 2), (*d, 3)] {
                    let wins = (value > best) | value.is_nan();
                    best = if wins { value } else { best };
                    place = if wins { here } else { place };
                }
                *output = best;
                *winner = place as u8;
            }
        }
    }
}

/// A task: the gradient of some planes.
struct Backward<'a> {
    cotangent: &'a [f32],
    winners: &'a [u8],
    height: usize,
    width: usize,
    gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, _: S) {
        let Backward { cotangent, winners, height, width, gradient } = self;
        let (rows, columns) = (height / 2, width / 2);
        for (index, plane) in gradient.chunks_exact_mut(height * width).enumerate() {
            for row in 0..rows {
                let start = (index * rows + row) * columns;
                let (cotangent, winners) = (&cotangent[start..][..columns], &winners[start..][..columns]);
                let (top, bottom) = plane[2 * row * width..][..2 * width].split_at_mut(width);
                let windows = top.as_chunks_mut::<2>().0.iter_mut().zip(bottom.as_chunks_mut::<2>().0);
                for ((top, bottom), (value, winner)) in windows.zip(cotangent.iter().zip(winners)) {
                    let (value, winner) = (*value, u32::from(*winner));
                    let at = |place| if winner == place { value } else { 0.0 };
                    *top = [at(0), at(1)];
                    *bottom = [at(2), at(3)];
                }
                if width % 2 == 1 {
                    top[width - 1] = 0.0;
                    bottom[width - 1] = 0.0;
                }
            }
            if height % 2 == 1 {
                plane[(height - 1) * width..].fill(0.0);
            }
        }
    }
}
