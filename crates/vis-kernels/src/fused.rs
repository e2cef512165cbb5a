//! What is done to numbers on their way into and out of a convolution, so that they cross memory once.

use crate::simd::{InstructionSet, LANES, Lanes};

/// A rectifier that kernels apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rectifier {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Rectifier {
    /// What it makes of a number.
    pub(crate) fn of(self, value: f32) -> f32 {
        match self {
            Self::Relu => value.max(0.0),
            Self::Relu6 => value.clamp(0.0, 6.0),
        }
    }
}

/// How the cotangent of a rectified output passes back through the rectifier.
///
/// The derivative `f′` is 1 where the rectifier is open, 0 elsewhere; `g` is the cotangent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `g · f′`
    Plain,
    /// `max(g, 0) · f′`
    Guided,
    /// `max(g, 0)`
    Deconvolution,
}

/// What the backward pass does to the cotangent of a rectified output before anything else.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The rectified output of the forward pass, of the shape of the cotangent.
    pub output: &'a [f32],
    /// The rectifier that made it.
    pub rectifier: Rectifier,
    /// The backward rule.
    pub rule: Rule,
}

/// What the forward pass does to the result of the convolution before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number for each output channel, added before the rectifier.
    pub bias: Option<&'a [f32]>,
    /// The rectifier.
    pub rectifier: Option<Rectifier>,
}

impl Epilogue<'_> {
    /// Neither bias nor rectifier.
    pub const NONE: Epilogue<'static> = Epilogue { bias: None, rectifier: None };

    /// Checks the number of biases.
    pub(crate) fn check(&self, outputs: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), outputs, "one bias for each output channel");
        }
    }
}

/// The rectifier, if there is one.
#[inline(always)]
pub(crate) fn rectify<S: InstructionSet>(set: S, rectifier: Option<Rectifier>, value: S::Lanes) -> S::Lanes {
    match rectifier {
        None => value,
        Some(Rectifier::Relu) => value.max(set.splat(0.0)),
        Some(Rectifier::Relu6) => value.max(set.splat(0.0)).min(set.splat(6.0)),
    }
}

/// What a kernel reads, after the gate, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Gated<'a> {
    input: &'a [f32],
    /// As long as the input; the input itself if there is no gate.
    output: &'a [f32],
    /// Close where the output is at most 0.
    low: bool,
    /// Close where it is at least 6.
    high: bool,
    /// Close where the cotangent is at most 0.
    positive: bool,
}

impl<'a> Gated<'a> {
    /// # Panics
    /// If the gate's output is not as long as the input.
    pub(crate) fn new(input: &'a [f32], gate: Option<Gate<'a>>) -> Self {
        let Some(Gate { output, rectifier, rule }) = gate else {
            return Self { input, output: input, low: false, high: false, positive: false };
        };
        assert_eq!(output.len(), input.len(), "the gate must have the shape of the cotangent");
        let (low, positive) = match rule {
            Rule::Plain => (true, false),
            Rule::Guided => (true, true),
            Rule::Deconvolution => (false, true),
        };
        let high = match rectifier {
            Rectifier::Relu => false,
            Rectifier::Relu6 => low,
        };
        Self { input, output, low, high, positive }
    }

    /// The numbers before the gate.
    pub(crate) fn input(&self) -> &'a [f32] {
        self.input
    }

    /// Lanes `start..end` from `at + lane`, zero in the others; memory outside of that range is not touched.
    ///
    /// # Safety
    /// These numbers are inside of the input; `end` is at most 16.
    #[inline(always)]
    pub(crate) unsafe fn load_between<S: InstructionSet>(
        &self,
        set: S,
        at: usize,
        start: usize,
        end: usize,
    ) -> S::Lanes {
        let whole = start == 0 && end == LANES;
        // SAFETY: only lanes that the caller vouches for are read; the gate's output is as long as the input.
        unsafe {
            let from = self.input.as_ptr().wrapping_add(at);
            let mut value = if whole { set.load(from) } else { set.load_between(from, start, end) };
            if self.low {
                let from = self.output.as_ptr().wrapping_add(at);
                let output = if whole { set.load(from) } else { set.load_between(from, start, end) };
                value = value.zero_where_at_most(output, set.splat(0.0));
                if self.high {
                    value = value.zero_where_at_most(set.splat(6.0), output);
                }
            }
            if self.positive {
                value = value.zero_where_at_most(value, set.splat(0.0));
            }
            value
        }
    }

    /// Asks for what is at `at`, which need not be inside of the input.
    #[inline(always)]
    pub(crate) fn prefetch<S: InstructionSet>(&self, set: S, at: usize) {
        set.prefetch(self.input.as_ptr().wrapping_add(at));
        if self.low {
            set.prefetch(self.output.as_ptr().wrapping_add(at));
        }
    }
}
