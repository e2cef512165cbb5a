//! What is done to numbers on their way into and out of a convolution, so that they cross memory once.

use super::simd::{LANES, Lanes};
use crate::backprop::{Rectifier, Rule};

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

impl Epilogue<'_> {
    /// The rectifier, if it is one that kernels apply.
    #[inline(always)]
    pub(super) fn rectify<V: Lanes>(rectifier: Option<Rectifier>, value: V) -> V {
        match rectifier {
            None | Some(Rectifier::Leaky(_)) => value,
            Some(Rectifier::Relu) => value.max(V::splat(0.0)),
            Some(Rectifier::Relu6) => value.max(V::splat(0.0)).min(V::splat(6.0)),
        }
    }
}

/// What a kernel reads, after the gate, if there is one.
///
/// The pointers are valid while the slices live from which [`new`](Self::new) took them.
#[derive(Clone, Copy)]
pub(super) struct Gated {
    pub(super) input: *const f32,
    /// Null if there is no gate.
    output: *const f32,
    /// Close where the output is at most 0.
    low: bool,
    /// Close where it is at least 6.
    high: bool,
    /// Close where the cotangent is at most 0.
    positive: bool,
}

impl Gated {
    pub(super) fn new(input: &[f32], gate: Option<Gate>) -> Self {
        let none = Self {
            input: input.as_ptr(),
            output: std::ptr::null(),
            low: false,
            high: false,
            positive: false,
        };
        let Some(Gate { output, rectifier, rule }) = gate else {
            return none;
        };
        assert_eq!(output.len(), input.len(), "the gate must have the shape of the cotangent");
        let low = rule != Rule::Deconvolution;
        let high = low && rectifier == Rectifier::Relu6;
        Self { output: output.as_ptr(), low, high, positive: rule != Rule::Plain, ..none }
    }

    /// Lanes `start..end` from `at + lane`, zero in the others; memory outside of that range is not touched.
    ///
    /// # Safety
    /// These numbers are inside of the input, and the machine has the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn load_between<V: Lanes>(&self, at: usize, start: usize, end: usize) -> V {
        let whole = start == 0 && end == LANES;
        // SAFETY: only lanes that the caller vouches for are read; the gate's output is as long as the input.
        unsafe {
            let from = self.input.wrapping_add(at);
            let mut value = if whole { V::load(from) } else { V::load_between(from, start, end) };
            if self.low {
                let from = self.output.wrapping_add(at);
                let output = if whole { V::load(from) } else { V::load_between(from, start, end) };
                value = value.zero_where_at_most(output, V::splat(0.0));
                if self.high {
                    value = value.zero_where_at_most(V::splat(6.0), output);
                }
            }
            if self.positive {
                value = value.zero_where_at_most(value, V::splat(0.0));
            }
            value
        }
    }

    /// Asks for what is at `at`, which need not be inside of the input.
    #[inline(always)]
    pub(super) unsafe fn prefetch<V: Lanes>(&self, at: usize) {
        // SAFETY: any address will do.
        unsafe {
            V::prefetch(self.input.wrapping_add(at));
            if self.low {
                V::prefetch(self.output.wrapping_add(at));
            }
        }
    }
}
