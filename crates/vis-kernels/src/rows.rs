//! Functions of whole rows: softmax and layer normalisation, forward and back.
//!
//! The sum over a row is taken in sixteen parts, one a lane, whose order does not depend on what other rows there are.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use crate::functions::exponential;
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch, load, store};
use crate::threads::{Parts, for_each};

/// Numbers that a task computes, about.
const TASK: usize = 1 << 14;

/// A function of rows.
#[derive(Debug, Clone, Copy)]
pub enum RowFunction<'a> {
    /// `eˣ / Σ eˣ`.
    Softmax,
    /// `(x − mean) / √(variance + ε)`, times a factor and plus a summand for each place of a row.
    LayerNorm {
        /// What keeps the root from zero.
        epsilon: f32,
        /// The factors; 1 if there are none.
        factor: Option<&'a [f32]>,
        /// The summands; 0 if there are none.
        summand: Option<&'a [f32]>,
    },
}

impl RowFunction<'_> {
    fn check(&self, width: usize, lengths: &[usize]) -> usize {
        let length = lengths[0];
        assert!(width > 0 && length.is_multiple_of(width), "{length} numbers in rows of {width}");
        assert!(lengths.iter().all(|other| *other == length), "as many numbers before as after: {lengths:?}");
        if let Self::LayerNorm { factor, summand, .. } = self {
            let fits = [factor, summand].iter().all(|list| list.is_none_or(|list| list.len() == width));
            assert!(fits, "a factor and a summand for each of {width} places");
        }
        // Rows of a task.
        (TASK / width).max(1)
    }

    /// The function of each row of `width` numbers.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn apply(self, width: usize, input: &[f32], output: &mut [f32]) {
        let part = self.check(width, &[input.len(), output.len()]) * width;
        let parts = Parts::new(output, part);
        for_each(input.len().div_ceil(part), |task| {
            let input = &input[task * part..input.len().min((task + 1) * part)];
            // SAFETY: each task has a part of its own; the kernel has no pointers.
            unsafe { dispatch(Forward { function: self, width, input, output: parts.get(task) }) }
        });
    }

    /// The gradient with respect to the input. `kept` is the output of softmax, but the input of layer normalisation.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn pull_back(self, width: usize, kept: &[f32], cotangent: &[f32], gradient: &mut [f32]) {
        let part = self.check(width, &[kept.len(), cotangent.len(), gradient.len()]) * width;
        let parts = Parts::new(gradient, part);
        for_each(kept.len().div_ceil(part), |task| {
            let range = task * part..kept.len().min((task + 1) * part);
            let (kept, cotangent) = (&kept[range.clone()], &cotangent[range]);
            // SAFETY: each task has a part of its own; the kernel has no pointers.
            unsafe {
                dispatch(Backward { function: self, width, kept, cotangent, gradient: parts.get(task) });
            }
        });
    }
}

/// The lanes added up, or their largest.
#[inline(always)]
fn gather<L: Lanes>(value: L, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    // SAFETY: there is room for sixteen numbers.
    unsafe { value.store(lanes.as_mut_ptr()) };
    lanes.into_iter().reduce(join).unwrap_or(0.0)
}

#[inline(always)]
fn total<L: Lanes>(value: L) -> f32 {
    gather(value, |a, b| a + b)
}

/// The mean and the reciprocal of the deviation of a row.
#[inline(always)]
fn statistics<S: InstructionSet>(set: S, row: &[f32], epsilon: f32) -> (f32, f32) {
    let mut sum = set.splat(0.0);
    for at in (0..row.len()).step_by(LANES) {
        sum = sum.add(load(set, row, at));
    }
    let count = row.len() as f32;
    let mean = total(sum) / count;
    let mut squares = set.splat(0.0);
    for at in (0..row.len()).step_by(LANES) {
        let rest = row.len() - at;
        let centred = load(set, row, at).sub(set.splat(mean));
        let square = centred.mul(centred);
        // Behind the end of the row there is nothing that deviates.
        let square = if rest < LANES { first(set, square, rest) } else { square };
        squares = squares.add(square);
    }
    (mean, 1.0 / (total(squares) / count + epsilon).sqrt())
}

/// The first lanes, zero in the others.
#[inline(always)]
fn first<S: InstructionSet>(set: S, value: S::Lanes, count: usize) -> S::Lanes {
    let mut lanes = [0f32; LANES];
    // SAFETY: there is room for sixteen numbers, of which so many are read.
    unsafe {
        value.store(lanes.as_mut_ptr());
        set.load_between(lanes.as_ptr(), 0, count)
    }
}

/// A task: the function of some rows.
struct Forward<'a> {
    function: RowFunction<'a>,
    width: usize,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Forward { function, width, input, output } = self;
        for (x, y) in input.chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            match function {
                RowFunction::Softmax => {
                    let mut most = set.splat(x[0]);
                    for at in (0..width).step_by(LANES) {
                        let rest = width - at;
                        // Behind the end of the row its first number stands.
                        let value = load(set, x, at);
                        let value = if rest < LANES {
                            let mut lanes = [x[0]; LANES];
                            lanes[..rest].copy_from_slice(&x[at..]);
                            load(set, &lanes, 0)
                        } else {
                            value
                        };
                        most = value.max(most);
                    }
                    let most = set.splat(gather(most, f32::max));
                    let mut sum = set.splat(0.0);
                    for at in (0..width).step_by(LANES) {
                        let rest = width - at;
                        let value = exponential(set, load(set, x, at).sub(most));
                        store(value, y, at);
                        sum = sum.add(if rest < LANES { first(set, value, rest) } else { value });
                    }
                    let share = set.splat(1.0 / total(sum));
                    for at in (0..width).step_by(LANES) {
                        store(load(set, y, at).mul(share), y, at);
                    }
                }
                RowFunction::LayerNorm { epsilon, factor, summand } => {
                    let (mean, inverse) = statistics(set, x, epsilon);
                    let (mean, inverse) = (set.splat(mean), set.splat(inverse));
                    for at in (0..width).step_by(LANES) {
                        let mut value = load(set, x, at).sub(mean).mul(inverse);
                        if let Some(factor) = factor {
                            value = value.mul(load(set, factor, at));
                        }
                        if let Some(summand) = summand {
                            value = value.add(load(set, summand, at));
                        }
                        store(value, y, at);
                    }
                }
            }
        }
    }
}

/// A task: the gradient of some rows.
struct Backward<'a> {
    function: RowFunction<'a>,
    width: usize,
    kept: &'a [f32],
    cotangent: &'a [f32],
    gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Backward { function, width, kept, cotangent, gradient } = self;
        let rows = kept.chunks_exact(width).zip(cotangent.chunks_exact(width));
        for ((kept, g), gradient) in rows.zip(gradient.chunks_exact_mut(width)) {
            match function {
                // y (g − Σ g y)
                RowFunction::Softmax => {
                    let mut sum = set.splat(0.0);
                    for at in (0..width).step_by(LANES) {
                        sum = load(set, kept, at).mul_add(load(set, g, at), sum);
                    }
                    let sum = set.splat(total(sum));
                    for at in (0..width).step_by(LANES) {
                        store(load(set, kept, at).mul(load(set, g, at).sub(sum)), gradient, at);
                    }
                }
                // (h − mean h − z mean(h z)) / deviation, where h is the cotangent times the factor, z the result before it.
                RowFunction::LayerNorm { epsilon, factor, .. } => {
                    let (mean, inverse) = statistics(set, kept, epsilon);
                    let (mean, inverse) = (set.splat(mean), set.splat(inverse));
                    let (mut sum, mut along) = (set.splat(0.0), set.splat(0.0));
                    let scaled = |at: usize| {
                        let g = load(set, g, at);
                        match factor {
                            Some(factor) => g.mul(load(set, factor, at)),
                            None => g,
                        }
                    };
                    let centred = |at: usize| load(set, kept, at).sub(mean).mul(inverse);
                    for at in (0..width).step_by(LANES) {
                        // Behind the end of the row the cotangent is zero.
                        let h = scaled(at);
                        sum = sum.add(h);
                        along = centred(at).mul_add(h, along);
                    }
                    let count = width as f32;
                    let (sum, along) = (set.splat(total(sum) / count), set.splat(total(along) / count));
                    for at in (0..width).step_by(LANES) {
                        let value = centred(at).neg_mul_add(along, scaled(at).sub(sum)).mul(inverse);
                        store(value, gradient, at);
                    }
                }
            }
        }
    }
}
