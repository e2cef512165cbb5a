//! Pictures: from files to arrays, and from raw numbers to something that can be looked at.
//!
//! Everything that computes in this crate returns numbers; this module alone makes them visible. A picture is an
//! [`image::RgbImage`]; raw numbers are arrays `[channels, height, width]` or, for maps, `[rows, columns]`.
//!
//! | to | use |
//! |---|---|
//! | read and write files | [`load`], [`save`], [`write_atomically`] |
//! | bring a photo to a network | [`resize_to_cover_and_crop`], [`to_array`], [`to_grey_array`] |
//! | see an optimised image | [`deprocess`] for any range, [`from_array`] for a known one |
//! | see a map | [`normalize_unsigned`] or [`normalize_signed`], [`resize_map`], [`colorize`], [`overlay_heat`] |
//! | see many pictures | [`Grid`] with captions, [`panel`] for one row, [`stitch`] for nothing but pictures |
//! | see a run | [`GifWriter`] frame by frame, [`Plot`] for its losses |
//! | write on a picture | [`stamp`] a corner, [`draw_text`], [`fit_text`], [`measure_text`] |
//!
//! ```
//! # fn main() -> vis::Result<()> {
//! use vis::picture::{ColorMap, normalize_unsigned, overlay_heat, panel, resize_map};
//! # let photo = image::RgbImage::new(224, 224);
//! // A class activation map of 14 × 14 over its photo of 224 × 224.
//! let map = ndarray::Array2::from_shape_fn((14, 14), |(y, x)| (y + x) as f32);
//! let map = resize_map(normalize_unsigned(map.view()).view(), 224, 224)?;
//! let heat = overlay_heat(&photo, map.view(), ColorMap::Jet, 0.5)?;
//! let labelled = panel(&[("photo", &photo), ("Grad-CAM", &heat)], Some("tabby 71 %"))?;
//! # assert_eq!(labelled.width(), 8 + 224 + 8 + 224 + 8);
//! # Ok(())
//! # }
//! ```

mod array;
mod caption;
mod colormap;
mod deprocess;
mod format;
mod gif;
mod grid;
mod history;
mod load;
mod normalize;
mod overlay;
mod palette;
mod plot;
mod resize;
mod save;
mod tensor;

pub use array::{from_array, to_array, to_grey_array};
pub use caption::{Corner, FittedText, TextStyle, draw_text, fit_text, measure_text, stamp};
pub use colormap::{ColorMap, colorize};
pub use deprocess::{DEFAULT_CONTRAST, deprocess, deprocess_with};
pub use gif::GifWriter;
pub use grid::{Grid, panel, stitch};
pub use load::load;
pub use normalize::{
    SALIENCY_PERCENTILE, normalize_signed, normalize_signed_clipped, normalize_unsigned,
    normalize_unsigned_clipped,
};
pub use overlay::{Opacity, overlay, overlay_heat};
pub use plot::Plot;
pub use resize::{resize_map, resize_to_cover_and_crop};
pub(crate) use save::check_writable;
pub use save::{save, write_atomically};
pub use tensor::{from_tensor, to_input, to_tensor};
