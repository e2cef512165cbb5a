//! The gradient of an image too large to differentiate at once, tile by tile.

use std::sync::OnceLock;

use ndarray::{Array3, ArrayView3, Axis};
use rand::Rng;

use super::Gradient;
use crate::losses::Losses;
use crate::model::Model;
use crate::random::Stream;
use crate::resample::mirror;
use crate::{Error, Result};

/// Tiles begin at multiples of this, where a network that halves the image up to five times sees the same grid
/// of pixels in the tile as in the whole image.
const STRIDE: usize = 32;

/// The gradient of an image of any size with respect to its pixels, evaluated tile by tile, so that memory is that
/// of one tile and of the image itself.
///
/// Each tile is evaluated with a margin of `overlap` pixels around it, whose gradient is thrown away. What a
/// tile can't see is what lies beyond its margin: the gradient equals that of the whole image, up to rounding,
/// at pixels that are farther from the margin's outer edge than twice the reach of a unit of the deepest layer
/// named (98 pixels for the last convolution of VGG16, 20 for its third block), and nearly equals it nearer by.
/// Moving the tiles at each step, by a random [`Placement`], spreads what difference remains evenly, so that no
/// seam shows.
///
/// For this the losses must be means over positions, as those of this crate are for activations: the gradient of a
/// tile is weighted by its share of the area. Losses that compare with a photo of the same size can't be
/// tiled.
///
/// Source: the TensorFlow tutorial *DeepDream*, which has no margins.
#[derive(Clone)]
pub(crate) struct TiledGradient<'a> {
    model: &'a dyn Model,
    losses: &'a Losses,
    tile: usize,
    overlap: usize,
    /// Set by the first tile: the network is the same with a gradient as without.
    compared: OnceLock<()>,
}

/// Where the image lies under the tiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// How far the image is moved down and right before the model sees it, in pixels; what moves in is its mirror
    /// image. The gradient is moved back.
    pub(crate) shift: [i64; 2],
    /// How far the borders between tiles are moved up and left, in pixels; rounded down to a multiple of 32.
    pub(crate) borders: [usize; 2],
}

/// The total loss and its gradient.
#[derive(Debug, Clone)]
pub(crate) struct TiledEvaluation {
    /// The mean of the tiles' totals, weighted by area.
    pub(crate) loss: f32,
    /// The same of each weighted loss, in the order of [`Losses::names`].
    pub(crate) losses: Vec<f32>,
    /// The gradient with respect to the image, `[channels, height, width]`.
    pub(crate) gradient: Array3<f32>,
}

/// What is evaluated at once along one axis: `core` is kept of what is computed on `seen`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    seen: std::ops::Range<usize>,
    core: std::ops::Range<usize>,
}

impl<'a> TiledGradient<'a> {
    /// The gradient of these losses by tiles of 512 pixels a side with margins of 32.
    pub(crate) fn new(model: &'a dyn Model, losses: &'a Losses) -> Self {
        Self { model, losses, tile: 512, overlap: 32, compared: OnceLock::new() }
    }

    /// Sets the side of a tile in pixels, margins included, at least 64. Default 512, for which VGG16 needs up to 0.7 GB.
    ///
    /// A network that takes images of one size only has tiles of that size.
    pub(crate) fn tile(mut self, side: usize) -> Self {
        self.tile = side;
        self
    }

    /// Sets the width of the margin, at most a quarter of a tile. Default 32.
    ///
    /// Wider margins cost more: a tile of side `t` with margins `m` computes `(t/(t−2m))²` times its share.
    pub(crate) fn overlap(mut self, pixels: usize) -> Self {
        self.overlap = pixels;
        self
    }

    /// The loss and the gradient of one image, `[channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for an image smaller than the model takes, [`Error::UnknownLayer`], and whatever a loss
    /// finds.
    pub(crate) fn evaluate(&self, image: ArrayView3<f32>, placement: Placement) -> Result<TiledEvaluation> {
        let (channels, height, width) = image.dim();
        let input = self.model.input();
        let (tile_height, tile_width) = self.tile_size();
        if height < input.smallest().unwrap_or(tile_height) || width < input.smallest().unwrap_or(tile_width)
        {
            input.check([1, channels, height, width])?;
        }
        let [rows, columns] = [(height, tile_height, 0), (width, tile_width, 1)]
            .map(|(side, tile, axis)| self.spans(side, tile, placement.borders[axis]));
        // Where each pixel that the model sees comes from.
        let from_row: Vec<usize> =
            (0..height).map(|y| mirror(y as i64 - placement.shift[0], height)).collect();
        let from_column: Vec<usize> =
            (0..width).map(|x| mirror(x as i64 - placement.shift[1], width)).collect();

        let device = self.model.device();
        let primitive = |before| Gradient::new(self.model, self.losses).compared(before);
        let mut gradient = Array3::<f32>::zeros(image.dim());
        let mut losses = vec![0.0; self.losses.built().count()];
        let area = (height * width) as f32;
        for row in &rows {
            for column in &columns {
                let (seen_rows, seen_columns) =
                    (&from_row[row.seen.clone()], &from_column[column.seen.clone()]);
                let tile =
                    image.select(Axis(1), seen_rows).select(Axis(2), seen_columns).insert_axis(Axis(0));
                let primitive = primitive(self.compared.get().is_some());
                let evaluation = primitive.evaluate(crate::host::tensor4(tile.view(), &device))?;
                self.compared.get_or_init(|| ());

                let core = (row.core.len() * column.core.len()) as f32;
                for (sum, value) in losses.iter_mut().zip(evaluation.losses.values().column(0)) {
                    *sum += value * core / area;
                }
                let share = (seen_rows.len() * seen_columns.len()) as f32 / area;
                let of_tile = crate::host::array4(evaluation.gradient);
                for y in row.core.clone() {
                    for x in column.core.clone() {
                        for c in 0..channels {
                            gradient[[c, from_row[y], from_column[x]]] +=
                                share * of_tile[[0, c, y - row.seen.start, x - column.seen.start]];
                        }
                    }
                }
            }
        }
        Ok(TiledEvaluation { loss: losses.iter().sum(), losses, gradient })
    }

    /// A random placement: a shift of up to `jitter` pixels each way, and borders anywhere.
    pub(crate) fn place(&self, jitter: usize, random: &mut Stream) -> Placement {
        let (height, width) = self.tile_size();
        // A mirrored image repeats itself, so no larger shift gives anything new.
        let jitter = jitter.min(i32::MAX as usize) as i64;
        Placement {
            shift: [random.random_range(-jitter..=jitter), random.random_range(-jitter..=jitter)],
            borders: [random.random_range(0..height), random.random_range(0..width)],
        }
    }

    fn tile_size(&self) -> (usize, usize) {
        match self.model.input().smallest() {
            Some(smallest) => {
                let side = self.tile.max(smallest).max(2 * STRIDE);
                (side, side)
            }
            None => self.model.input().size(),
        }
    }

    /// Cuts an axis into cores, each seen with its margins.
    fn spans(&self, side: usize, tile: usize, borders: usize) -> Vec<Span> {
        let fixed = self.model.input().smallest().is_none();
        if side <= tile {
            return vec![Span { seen: 0..side, core: 0..side }];
        }
        let overlap = self.overlap.min(tile / 4);
        let smallest = self.model.input().smallest().unwrap_or(tile);
        let aligned = |position: usize| if fixed { position } else { position / STRIDE * STRIDE };
        let step = aligned(tile - 2 * overlap).max(1);
        let mut spans = Vec::new();
        let mut start = 0;
        let mut end = step - aligned(borders % step);
        while start < side {
            let core = start..end.min(side);
            let (first, last) = if fixed {
                // A tile never ends beyond the image: at the far edge it begins earlier.
                let first = core.start.saturating_sub(overlap).min(side - tile);
                (first, first + tile)
            } else {
                let last = (core.end + overlap).max(smallest).min(side);
                let last = if side - last > STRIDE { last } else { side };
                (aligned(core.start.saturating_sub(overlap).min(last - smallest)), last)
            };
            spans.push(Span { seen: first..last, core: core.clone() });
            (start, end) = (core.end, core.end + step);
        }
        spans
    }
}

impl std::fmt::Debug for TiledGradient<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TiledGradient")
            .field("losses", self.losses)
            .field("tile", &self.tile)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

/// Refuses an image that is not `[1, channels, height, width]`, and gives it as `[channels, height, width]`.
pub(crate) fn single(what: &str, image: burn::tensor::Tensor<4>) -> Result<Array3<f32>> {
    let shape = image.dims();
    if shape[0] != 1 {
        let expected = "[1, channels, height, width]".to_owned();
        return Err(Error::Shape { what: what.to_owned(), expected, got: shape.to_vec() });
    }
    Ok(crate::host::array4(image.inner()).index_axis_move(Axis(0), 0))
}

#[cfg(test)]
mod tests;
