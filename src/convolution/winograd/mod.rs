//! 3 × 3 convolution by Winograd's minimal filtering F(4×4, 3×3).
//!
//! # Formula
//! A tile of 4 × 4 outputs depends on 6 × 6 inputs. With the Cook-Toom matrices `A`, `B`, `G` of six points,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d: 6 × 6 inputs, g: 3 × 3 filter, Y: 4 × 4 outputs
//! ```
//!
//! takes 36 multiplications where the direct way takes 144 (Lavin & Gray 2016, arXiv 1509.09308). Summed over
//! the input channels, the products `⊙` of all tiles are 36 independent matrix products
//! `M[tile, out] = Σ_in V[tile, in] · U[in, out]`, one for each of the 36 positions in the tile; that is where
//! the time goes.
//!
//! # Points
//! The points are 0, ±α, ±β, ∞, α = 5/8, β = 3/2. Symmetric pairs make the transforms cheap: the
//! polynomials of `+p` and `-p` share their even and odd halves. Small, well separated points keep the rounding
//! error down (Barabasz et al. 2018, arXiv 1803.10986).
//!
//! # The input gradient
//! It is the convolution of the cotangent with the filter turned by 180° and its channel axes exchanged: the same
//! code, with another way of reading the filter.
//!
//! # Filters are transformed on the fly
//! A transformed filter is four times as large as the filter: 235 MB for the trunk of VGG16, in each of the two
//! directions. Reading that from memory would take longer than computing it: a block of 32 output channels and
//! 64 input channels is transformed into the second-level cache and used for all tiles right away. So only the
//! filter itself is kept, once, in blocks of 16 × 16 channels, from which both directions can be read.
//!
//! # Two ways to split the work
//! - *Few weights, many tiles* (the first layers): every task takes a few tiles through the three stages, all
//!   channels, in its own cache; the transformed filter (at most a few MB) is made once a call and shared.
//! - *Many weights, few tiles* (the deep layers): the input transform comes first, into shared memory (third-level
//!   cache); then every task takes 32 output channels, transforms their filters, and finishes their outputs.
//!
//! # Layouts
//! - A *line* is up to 14 tiles of one image: part of a row of tiles, or a few whole rows of narrow images. It
//!   occupies 16 lanes. 14 is what the registers of AVX-512 hold (14 rows of 2 registers of sums), and what the
//!   usual sizes 224, 112, 56, 28 are multiples of, in tiles.
//! - `V[position][line][in][16 tiles]`, lanes are tiles: images are read along their rows.
//! - `U[position][in][32 out]`, lanes are output channels: filters are read as stored.
//! - `M[position][tile][32 out]`, lanes are output channels; the output transform ends with a transposition.

mod lines;
mod tasks;
mod tiling;
mod transforms;

use rayon::prelude::*;

use self::tiling::{LOCAL_LINES, POSITIONS, SHARED_WEIGHTS, Tiling};
use super::fused::{Epilogue, Gate, Gated};
use super::multiply::GROUP;
use super::simd::LANES;
use crate::backprop::Rectifier;

/// A 3 × 3 convolution with stride 1 and padding 1 whose weights do not change.
///
/// Any number of channels, any height and width, any batch. The relative error against exact arithmetic (largest
/// difference over largest magnitude) is at most 7e-6 in the tests, up to 512 channels.
///
/// # Memory
/// The weights once, with the channels padded to multiples of 16. The scratch memory is pooled and shared by all
/// convolutions of the process: for VGG16 at 224 × 224 about 16 MB
/// (see `workspace`).
#[derive(Clone, Debug)]
pub(crate) struct FrozenConvolution {
    inputs: usize,
    outputs: usize,
    /// `[outputs / 16][inputs / 16][9 taps][16 inputs][16 outputs]`, zero in the padding.
    blocks: Vec<f32>,
}

/// Numbers in one block of 16 × 16 filters.
const BLOCK: usize = 9 * LANES * LANES;

impl FrozenConvolution {
    /// Takes weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// If the length of `weights` is not `outputs * inputs * 9`.
    pub(crate) fn new(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(
            weights.len(),
            outputs * inputs * 9,
            "the weights must have the shape [outputs, inputs, 3, 3]"
        );
        let across = inputs.div_ceil(LANES);
        let mut blocks = vec![0.0; outputs.div_ceil(LANES) * across * BLOCK];
        blocks.par_chunks_mut(BLOCK).enumerate().for_each(|(index, block)| {
            let (o0, i0) = (index / across * LANES, index % across * LANES);
            for o in 0..LANES.min(outputs - o0) {
                for i in 0..LANES.min(inputs - i0) {
                    let filter = &weights[((o0 + o) * inputs + i0 + i) * 9..][..9];
                    for (tap, weight) in filter.iter().enumerate() {
                        block[(tap * LANES + i) * LANES + o] = *weight;
                    }
                }
            }
        });
        Self { inputs, outputs, blocks }
    }

    /// The number of input channels.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `output[n, o, y, x] = rectifier(bias[o] + Σ weights[o, i, ky, kx] · input[n, i, y + ky - 1, x + kx - 1])`
    ///
    /// `input` is `[batch, inputs, height, width]`, `output` `[batch, outputs, height, width]`.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        [batch, height, width]: [usize; 3],
        output: &mut [f32],
        epilogue: Epilogue,
    ) {
        if let Some(bias) = epilogue.bias {
            assert_eq!(bias.len(), self.outputs, "one bias for each output channel");
        }
        self.run(Direction::Forward, input, [batch, height, width], output, epilogue, None);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied
    /// to the cotangent after the gate (the backward rule of the rectifier that followed the convolution).
    ///
    /// `cotangent` and the gate's output are `[batch, outputs, height, width]`, `gradient`
    /// `[batch, inputs, height, width]`.
    ///
    /// # Panics
    /// If a length does not fit the shapes.
    pub(crate) fn input_gradient(
        &self,
        cotangent: &[f32],
        [batch, height, width]: [usize; 3],
        gradient: &mut [f32],
        gate: Option<Gate>,
    ) {
        self.run(Direction::Backward, cotangent, [batch, height, width], gradient, Epilogue::NONE, gate);
    }

    fn run(
        &self,
        direction: Direction,
        input: &[f32],
        [batch, height, width]: [usize; 3],
        output: &mut [f32],
        epilogue: Epilogue,
        gate: Option<Gate>,
    ) {
        let (depth, outputs) = match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        };
        assert_eq!(input.len(), batch * depth * height * width, "the input must fit its shape");
        assert_eq!(output.len(), batch * outputs * height * width, "the output must fit its shape");
        if output.is_empty() {
            return;
        }
        let call = Call {
            convolution: self,
            direction,
            tiling: Tiling::new(height, width),
            lines: batch * Tiling::new(height, width).lines_per_image(),
            depth,
            outputs,
            input: Gated::new(input, gate),
            output: output.as_mut_ptr(),
            bias: epilogue.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            rectifier: epilogue.rectifier,
        };
        if depth * outputs.next_multiple_of(GROUP) * POSITIONS <= SHARED_WEIGHTS
            && call.lines >= 8 * LOCAL_LINES
        {
            call.split_by_tiles();
        } else {
            call.split_by_channels();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// One call of [`FrozenConvolution::run`]: lengths are checked, pointers are valid for its duration.
#[derive(Clone, Copy)]
struct Call<'a> {
    convolution: &'a FrozenConvolution,
    direction: Direction,
    tiling: Tiling,
    /// Lines in the batch.
    lines: usize,
    /// Channels of what is read.
    depth: usize,
    /// Channels of what is written.
    outputs: usize,
    input: Gated,
    output: *mut f32,
    /// Null if there is no bias.
    bias: *const f32,
    rectifier: Option<Rectifier>,
}

// SAFETY: what is behind `output` is written by tasks that own different lines or different channels; everything
// else is only read.
unsafe impl Send for Call<'_> {}
// SAFETY: as above.
unsafe impl Sync for Call<'_> {}
