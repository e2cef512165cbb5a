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

use std::fmt;

use self::tiling::{LOCAL_LINES, POSITIONS, SHARED_WEIGHTS, Tiling};
use crate::fused::{Epilogue, Gate, Gated, Rectifier};
use crate::geometry::{Filters, Geometry};
use crate::multiply::GROUP;
use crate::simd::LANES;
use crate::threads::{Parts, for_each};
use crate::workspace::Shared;

/// A 3 × 3 convolution with stride 1, padding 1 and one group, whose weights do not change.
///
/// Any number of channels, any height and width, any batch. The relative error against exact arithmetic (largest
/// difference over largest magnitude) is at most 7e-6 in the tests, up to 512 channels.
///
/// # Memory
/// The weights once, with the channels padded to multiples of 16. The scratch memory is pooled and shared by all
/// convolutions of the process: for VGG16 at 224 × 224 about 16 MB.
#[derive(Clone)]
pub struct Winograd {
    filters: Filters,
    inputs: usize,
    outputs: usize,
    /// `[outputs / 16][inputs / 16][9 taps][16 inputs][16 outputs]`, zero in the padding.
    blocks: Vec<f32>,
}

/// Numbers in one block of 16 × 16 filters.
const BLOCK: usize = 9 * LANES * LANES;

impl Winograd {
    /// Whether these filters are what it computes.
    pub fn suits(filters: &Filters) -> bool {
        filters.groups() == 1
            && filters.kernel() == [3, 3]
            && filters.stride() == [1, 1]
            && filters.dilation() == [1, 1]
            && filters.symmetric_padding() == Some([1, 1])
    }

    /// Takes weights `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// If the filters do not [suit](Self::suits), or the length of `weights` is not that of their shape.
    pub fn new(weights: &[f32], filters: &Filters) -> Self {
        assert!(Self::suits(filters), "3×3 filters of stride 1, padding 1 and one group, not {filters:?}");
        let [outputs, inputs, ..] = filters.weight();
        assert_eq!(weights.len(), outputs * inputs * 9, "weights of the shape {:?}", filters.weight());
        let across = inputs.div_ceil(LANES);
        let mut blocks = vec![0.0; outputs.div_ceil(LANES) * across * BLOCK];
        let parts = Parts::new(&mut blocks, BLOCK);
        for_each(outputs.div_ceil(LANES) * across, |index| {
            // SAFETY: each task has a block of its own.
            let block = unsafe { parts.get(index) };
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
        Self { filters: *filters, inputs, outputs, blocks }
    }

    /// `output[n, o, y, x] = rectifier(bias[o] + Σ weights[o, i, ky, kx] · input[n, i, y + ky - 1, x + kx - 1])`
    ///
    /// # Panics
    /// If the sizes are not for these filters, or a length does not fit them.
    pub fn forward(&self, input: &[f32], sizes: &Geometry, output: &mut [f32], epilogue: Epilogue<'_>) {
        sizes.check(&self.filters, input.len(), output.len());
        epilogue.check(self.outputs);
        self.run(Direction::Forward, Gated::new(input, None), sizes, output, epilogue);
    }

    /// The gradient with respect to the input: the transpose of [`forward`](Self::forward) without bias, applied
    /// to the cotangent after the gate (the backward rule of the rectifier that followed the convolution).
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
        self.run(Direction::Backward, Gated::new(cotangent, gate), sizes, gradient, Epilogue::NONE);
    }

    fn run(
        &self,
        direction: Direction,
        input: Gated<'_>,
        sizes: &Geometry,
        output: &mut [f32],
        epilogue: Epilogue<'_>,
    ) {
        let [batch, _, height, width] = sizes.input();
        let (depth, outputs) = match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        };
        if output.is_empty() {
            return;
        }
        let tiling = Tiling::new(height, width);
        let call = Call {
            convolution: self,
            direction,
            tiling,
            lines: batch * tiling.lines_per_image(),
            depth,
            outputs,
            input,
            output: Shared::new(output),
            bias: epilogue.bias,
            rectifier: epilogue.rectifier,
        };
        let weights = depth.saturating_mul(outputs.next_multiple_of(GROUP)).saturating_mul(POSITIONS);
        if weights <= SHARED_WEIGHTS && call.lines >= 8 * LOCAL_LINES {
            call.split_by_tiles();
        } else {
            call.split_by_channels();
        }
    }
}

impl fmt::Debug for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Winograd").field("filters", &self.filters).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// One call of [`Winograd::run`], with checked lengths.
#[derive(Clone, Copy)]
struct Call<'a> {
    convolution: &'a Winograd,
    direction: Direction,
    tiling: Tiling,
    /// Lines in the batch.
    lines: usize,
    /// Channels of what is read.
    depth: usize,
    /// Channels of what is written.
    outputs: usize,
    input: Gated<'a>,
    /// Tasks write different lines or different channels of it.
    output: Shared<'a>,
    bias: Option<&'a [f32]>,
    rectifier: Option<Rectifier>,
}
