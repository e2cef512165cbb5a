//! Every plane times a number of its channel, plus another: what is left of batch normalisation when its statistics are
//! known.

use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch, load, store};
use crate::threads::{Parts, for_each};

/// Numbers that a task computes, about.
const TASK: usize = 1 << 14;

/// `output[n, c, p] = factors[c] · input[n, c, p] + summands[c]`, of planes of `plane` numbers. Its gradient is the same of
/// the cotangent, without summands.
///
/// # Panics
/// If a length does not fit.
pub fn scale_planes(
    factors: &[f32],
    summands: Option<&[f32]>,
    plane: usize,
    input: &[f32],
    output: &mut [f32],
) {
    let channels = factors.len();
    assert!(summands.is_none_or(|summands| summands.len() == channels), "one summand for each factor");
    assert_eq!(input.len(), output.len(), "as many numbers before as after");
    if input.is_empty() {
        return;
    }
    let fits = plane > 0 && channels > 0 && input.len().is_multiple_of(plane);
    assert!(
        fits && (input.len() / plane).is_multiple_of(channels),
        "planes of {plane} of {channels} channels"
    );
    let at_once = (TASK / plane).max(1);
    let planes = input.len() / plane;
    let parts = Parts::new(output, at_once * plane);
    for_each(planes.div_ceil(at_once), |task| {
        let first = task * at_once;
        let input = &input[first * plane..planes.min(first + at_once) * plane];
        // SAFETY: each task has a part of its own; the kernel has no pointers.
        unsafe { dispatch(Scale { factors, summands, first, plane, input, output: parts.get(task) }) }
    });
}

/// A task: some planes, from one on.
struct Scale<'a> {
    factors: &'a [f32],
    summands: Option<&'a [f32]>,
    first: usize,
    plane: usize,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Scale { factors, summands, first, plane, input, output } = self;
        let planes = input.chunks_exact(plane).zip(output.chunks_exact_mut(plane));
        for (index, (x, y)) in planes.enumerate() {
            let channel = (first + index) % factors.len();
            let factor = set.splat(factors[channel]);
            let summand = set.splat(summands.map_or(0.0, |summands| summands[channel]));
            for at in (0..plane).step_by(LANES) {
                store(load(set, x, at).mul_add(factor, summand), y, at);
            }
        }
    }
}
