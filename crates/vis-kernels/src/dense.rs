//! A product with a matrix that does not change: `output[m, n] = bias[n] + Σ_k input[m, k] · matrix[k, n]`.
//!
//! The right factor is packed once, in panels of 32 columns. The left factor is packed at each call, in blocks of up to 14
//! rows; a task multiplies some blocks, which stay in its cache, with a panel.

// Loops over indices, so that no closure comes between the lanes and their instructions: see `simd`.
#![allow(clippy::needless_range_loop)]

use std::fmt;

use crate::multiply::{Factors, GROUP, ROWS, multiply};
use crate::simd::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use crate::threads::for_each;
use crate::workspace::{Shared, Workspace, length};

/// Numbers of packed rows that a task takes, at most: 256 KB.
const KEPT: usize = 1 << 16;

/// A product with a frozen matrix, and back to its left factor; it keeps the matrix twice.
#[derive(Clone)]
pub struct Dense {
    forward: Panels,
    backward: Panels,
}

/// A matrix in panels of 32 columns.
#[derive(Clone)]
struct Panels {
    depth: usize,
    columns: usize,
    /// `[panels][depth][32]`, with zeros where there is no column.
    numbers: Vec<f32>,
}

impl Panels {
    fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut numbers = vec![0.0; columns.div_ceil(GROUP) * depth * GROUP];
        for k in 0..depth {
            for column in 0..columns {
                numbers[(column / GROUP * depth + k) * GROUP + column % GROUP] = at(k, column);
            }
        }
        Self { depth, columns, numbers }
    }
}

impl Dense {
    /// Takes a matrix `[inputs, outputs]`, or its transpose.
    ///
    /// # Panics
    /// If an extent is 0, or the matrix is not as long as they say.
    pub fn new(matrix: &[f32], [inputs, outputs]: [usize; 2], transposed: bool) -> Self {
        assert!(inputs > 0 && outputs > 0, "a matrix of {inputs} by {outputs}");
        assert_eq!(length(&[inputs, outputs]), Ok(matrix.len()), "a matrix of {inputs} by {outputs}");
        let at = |i: usize, o: usize| matrix[if transposed { o * inputs + i } else { i * outputs + o }];
        Self {
            forward: Panels::new(inputs, outputs, at),
            backward: Panels::new(outputs, inputs, |o, i| at(i, o)),
        }
    }

    /// Numbers in a row before and after.
    pub fn extents(&self) -> [usize; 2] {
        [self.forward.depth, self.forward.columns]
    }

    /// `output[m, n] = bias[n] + Σ_k input[m, k] · matrix[k, n]`, for so many rows.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn forward(&self, rows: usize, input: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
        self.forward.run(rows, input, bias, output);
    }

    /// The gradient with respect to the input, from the cotangent of the output.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn input_gradient(&self, rows: usize, cotangent: &[f32], gradient: &mut [f32]) {
        self.backward.run(rows, cotangent, None, gradient);
    }
}

impl fmt::Debug for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dense").field("extents", &self.extents()).finish_non_exhaustive()
    }
}

impl Panels {
    fn run(&self, rows: usize, input: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
        let &Self { depth, columns, .. } = self;
        assert_eq!(length(&[rows, depth]), Ok(input.len()), "numbers of {rows} rows of {depth}");
        assert_eq!(length(&[rows, columns]), Ok(output.len()), "numbers of {rows} rows of {columns}");
        assert!(bias.is_none_or(|bias| bias.len() == columns), "one bias for each of {columns} columns");
        if rows == 0 {
            return;
        }
        let height = rows.div_ceil(rows.div_ceil(ROWS));
        let blocks = rows.div_ceil(height);
        let mut packed = Workspace::of(&[blocks, depth, LANES]);
        let packed = Shared::new(packed.numbers_mut());
        let call = Call { panels: self, rows, height, input, bias, packed, output: Shared::new(output) };
        for_each(blocks, |block| {
            // SAFETY: tasks write different blocks, for which there is room.
            unsafe { dispatch(Pack { call, block }) }
        });
        let panels = columns.div_ceil(GROUP);
        let at_once = (KEPT / depth / LANES).clamp(1, blocks);
        for_each(blocks.div_ceil(at_once) * panels, |task| {
            let (chunk, panel) = (task / panels, task % panels);
            let blocks = chunk * at_once..blocks.min((chunk + 1) * at_once);
            // SAFETY: the blocks are packed; tasks write different rows or columns of the output.
            unsafe { dispatch(Multiply { call, blocks, panel }) }
        });
    }
}

/// One call, with checked lengths.
#[derive(Clone, Copy)]
struct Call<'a> {
    panels: &'a Panels,
    rows: usize,
    /// Rows in a block, but for the last.
    height: usize,
    input: &'a [f32],
    bias: Option<&'a [f32]>,
    /// `[blocks][depth][16]`
    packed: Shared<'a>,
    output: Shared<'a>,
}

/// A task: packs a block of rows.
struct Pack<'a> {
    call: Call<'a>,
    block: usize,
}

impl Kernel for Pack<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Call { panels: Panels { depth, .. }, rows, height, input, packed, .. } = self.call;
        let (first, depth) = (self.block * height, *depth);
        let here = height.min(rows - first);
        let to = packed.at(self.block * depth * LANES);
        let mut k = 0;
        while k < depth {
            let count = LANES.min(depth - k);
            let mut lines = [set.splat(0.0); LANES];
            for row in 0..here {
                // SAFETY: so many numbers of a row of the input.
                lines[row] =
                    unsafe { set.load_between(input.as_ptr().add((first + row) * depth + k), 0, count) };
            }
            let lines = S::Lanes::transpose(lines);
            for line in 0..count {
                // SAFETY: a place of this block, for which there is room.
                unsafe { lines[line].store(to.wrapping_add((k + line) * LANES)) };
            }
            k += LANES;
        }
    }
}

/// A task: some blocks of rows times a panel.
struct Multiply<'a> {
    call: Call<'a>,
    blocks: std::ops::Range<usize>,
    panel: usize,
}

impl Kernel for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self, set: S) {
        let Call { panels: Panels { depth, columns, numbers }, rows, height, bias, packed, output, .. } =
            self.call;
        let (depth, columns, first) = (*depth, *columns, self.panel * GROUP);
        let right = numbers[self.panel * depth * GROUP..][..depth * GROUP].as_ptr();
        let there = GROUP.min(columns - first);
        let parts = there.div_ceil(LANES);
        let mut biases = [set.splat(0.0); 2];
        if let Some(bias) = bias {
            for part in 0..parts {
                let start = first + part * LANES;
                // SAFETY: what is read is inside of the bias.
                biases[part] =
                    unsafe { set.load_between(bias.as_ptr().add(start), 0, LANES.min(columns - start)) };
            }
        }
        let mut sums = [0f32; ROWS * GROUP];
        for block in self.blocks {
            let here = height.min(rows - block * height);
            let left = packed.at(block * depth * LANES);
            let factors = Factors {
                rows: here,
                depth,
                left,
                right,
                sums: sums.as_mut_ptr(),
                add: false,
                wide: parts > 1,
            };
            // SAFETY: the block and the panel are there, and room for 14 rows of 32.
            unsafe { multiply(set, factors) };
            for row in 0..here {
                for part in 0..parts {
                    let start = first + part * LANES;
                    // SAFETY: the sums are there; what is written is inside of the output, and of this task.
                    unsafe {
                        let value = set.load(sums.as_ptr().add(row * GROUP + part * LANES)).add(biases[part]);
                        let to = output.at((block * height + row) * columns + start);
                        value.store_first(to, LANES.min(columns - start));
                    }
                }
            }
        }
    }
}
