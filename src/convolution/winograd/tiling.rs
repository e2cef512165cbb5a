//! How images are cut into tiles, and tiles into lines.

use crate::convolution::multiply::ROWS;
use crate::convolution::simd::LANES;

/// Outputs of a tile along one axis.
pub(super) const TILE: usize = 4;
/// Inputs of a tile along one axis.
pub(super) const WINDOW: usize = 6;
/// Positions in a transformed tile.
pub(super) const POSITIONS: usize = WINDOW * WINDOW;
/// Most tiles in a line.
pub(super) const LINE_TILES: usize = ROWS;
/// Input channels whose filters are transformed together, when they are transformed on the fly: 36 × 64 × 32
/// numbers are 295 KB.
pub(super) const DEPTH: usize = 64;
/// Lines that a task of the second way takes: 36 × 7 × 14 × 32 sums are 452 KB.
pub(super) const TASK_LINES: usize = 7;
/// Lines that a task of the first way takes.
pub(super) const LOCAL_LINES: usize = 2;
/// Up to this many transformed weights are shared by tasks of the first way.
pub(super) const SHARED_WEIGHTS: usize = 36 * 128 * 128;
/// The most numbers of transformed input that tasks of the second way share.
pub(super) const SHARED_INPUT: usize = 4 << 20;

/// How an image is cut into tiles, and the tiles into lines.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Rows of tiles.
    pub(super) rows: usize,
    /// Tiles in a row.
    pub(super) columns: usize,
    /// Rows of tiles in a line; above 1 only if a line takes whole rows.
    pub(super) line_rows: usize,
    /// Columns of tiles in a line.
    pub(super) line_columns: usize,
}

/// The tiles of one line.
#[derive(Clone, Copy)]
pub(super) struct LineOfTiles {
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) column: usize,
    pub(super) columns: usize,
}

impl Tiling {
    pub(super) fn new(height: usize, width: usize) -> Self {
        let (rows, columns) = (height.div_ceil(TILE), width.div_ceil(TILE));
        let (line_rows, line_columns) = if columns > LINE_TILES {
            (1, columns.div_ceil(columns.div_ceil(LINE_TILES)))
        } else {
            // The input transform needs `columns + 1` lanes for a row.
            let most = (LINE_TILES / columns).min(LANES / (columns + 1)).min(rows);
            (rows.div_ceil(rows.div_ceil(most)), columns)
        };
        Self { height, width, rows, columns, line_rows, line_columns }
    }

    pub(super) fn lines_per_image(&self) -> usize {
        self.rows.div_ceil(self.line_rows) * self.columns.div_ceil(self.line_columns)
    }

    pub(super) fn line(&self, index: usize) -> LineOfTiles {
        let (image, index) = (index / self.lines_per_image(), index % self.lines_per_image());
        let across = self.columns.div_ceil(self.line_columns);
        let (row, column) = (index / across * self.line_rows, index % across * self.line_columns);
        LineOfTiles {
            image,
            row,
            rows: self.line_rows.min(self.rows - row),
            column,
            columns: self.line_columns.min(self.columns - column),
        }
    }
}
