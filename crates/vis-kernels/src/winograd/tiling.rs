//! How images are cut into tiles, and tiles into lines.

use crate::multiply::ROWS;
use crate::simd::LANES;

/// Outputs of a tile along one axis.
pub(crate) const TILE: usize = 4;
/// Inputs of a tile along one axis.
pub(crate) const WINDOW: usize = 6;
/// Positions in a transformed tile.
pub(crate) const POSITIONS: usize = WINDOW * WINDOW;
/// Most tiles in a line.
pub(crate) const LINE_TILES: usize = ROWS;
/// Input channels whose filters are transformed together, when they are transformed on the fly: 36 × 64 × 32
/// numbers are 295 KB.
pub(crate) const DEPTH: usize = 64;
/// Lines that a task of the second way takes: 36 × 7 × 14 × 32 sums are 452 KB.
pub(crate) const TASK_LINES: usize = 7;
/// Lines that a task of the first way takes.
pub(crate) const LOCAL_LINES: usize = 2;
/// Up to this many transformed weights are shared by tasks of the first way.
pub(crate) const SHARED_WEIGHTS: usize = 36 * 128 * 128;
/// The most numbers of transformed input that tasks of the second way share.
pub(crate) const SHARED_INPUT: usize = 4 << 20;

/// How an image is cut into tiles, and the tiles into lines.
#[derive(Clone, Copy)]
pub(crate) struct Tiling {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Rows of tiles.
    pub(crate) rows: usize,
    /// Tiles in a row.
    pub(crate) columns: usize,
    /// Rows of tiles in a line; above 1 only if a line takes whole rows.
    pub(crate) line_rows: usize,
    /// Columns of tiles in a line.
    pub(crate) line_columns: usize,
}

/// The tiles of one line.
#[derive(Clone, Copy)]
pub(crate) struct LineOfTiles {
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
}

impl Tiling {
    pub(crate) fn new(height: usize, width: usize) -> Self {
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

    pub(crate) fn lines_per_image(&self) -> usize {
        self.rows.div_ceil(self.line_rows) * self.columns.div_ceil(self.line_columns)
    }

    pub(crate) fn line(&self, index: usize) -> LineOfTiles {
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
