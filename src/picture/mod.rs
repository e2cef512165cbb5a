//! Pictures: from files to arrays, and from raw numbers to something that can be looked at.
//!
//! Everything that computes in this crate returns numbers; this module alone makes them visible. A picture is an
//! [`image::RgbImage`]; raw numbers are arrays `[channels, height, width]` or, for maps, `[rows, columns]`.
//!
//! | to | use |
//! |---|---|
//! | read and write files | [`load`], [`save`], [`write_atomically`] |
//! | bring a photo to a network | [`to_input`] for any number of channels, [`to_tensor`] for three |
//! | see an optimised image | [`deprocess`] for any range, [`from_array`] for a known one |
//! | see a map | [`normalize`], [`colorize`], [`overlay_heat`] |
//! | see many pictures | [`Grid`] with captions, [`panel`] for one row, [`stitch`] for nothing but pictures |
//! | see a run | [`GifGenerator`](crate::callbacks::GifGenerator) step by step, [`History::plot`](crate::optimizer::History::plot) for its losses |
//!
//! ```
//! # fn main() -> vis::Result<()> {
//! use vis::picture::{ColorMap, Sign, normalize, overlay_heat, panel};
//! # let photo = image::RgbImage::new(224, 224);
//! // A class activation map over its photo of 224 × 224.
//! let map = ndarray::Array2::from_shape_fn((224, 224), |(y, x)| (y + x) as f32);
//! let map = normalize(map.view(), Sign::Unsigned, 100.0)?;
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

pub use array::from_array;
pub(crate) use array::{to_array, to_grey_array};
pub use colormap::{ColorMap, colorize};
pub use deprocess::deprocess;
pub(crate) use gif::GifWriter;
pub use grid::{Grid, panel, stitch};
pub use load::load;
pub use normalize::{Sign, normalize};
pub(crate) use normalize::{clipped_range, normalize_between};
pub use overlay::{Opacity, overlay, overlay_heat};
pub use resize::resize_to_cover_and_crop;
pub use save::{save, write_atomically};
pub use tensor::{from_tensor, to_input, to_tensor};
