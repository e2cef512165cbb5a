//! x
mod array;
mod caption;
mod colormap;
mod deprocess;
mod grid;
mod load;
mod normalize;
mod overlay;
mod resize;
mod save;
mod tensor;

pub use array::{from_array, to_array, to_grey_array};
pub use caption::{Corner, FittedText, TextStyle, draw_text, fit_text, measure_text, stamp};
pub use colormap::{ColorMap, colorize};
pub use deprocess::{DEFAULT_CONTRAST, deprocess, deprocess_with};
pub use grid::{Grid, panel, stitch};
pub use load::load;
pub use normalize::{
    SALIENCY_PERCENTILE, normalize_signed, normalize_signed_clipped, normalize_unsigned,
    normalize_unsigned_clipped,
};
pub use overlay::{Opacity, overlay, overlay_heat};
pub use resize::{resize_map, resize_to_cover_and_crop};
pub use save::{save, write_atomically};
pub use tensor::{from_tensor, to_input, to_tensor};
