//! Weights from a file, of a bundled network, or drawn at random.
//!
//! A network asks [`Parameters`] for its tensors by name and shape; where they come from is not its
//! business. A file that lacks a tensor, has one too many, or one of another shape is refused with the
//! full list, so nothing is ever loaded by half:
//!
//! ```
//! use vis::model::layers::Convolution;
//! use vis::model::weights::{Parameters, Weights};
//!
//! let build = |parameters: &mut Parameters| {
//!     let weight = parameters.tensor("conv.weight", [4, 3, 3, 3])?;
//!     let bias = parameters.tensor("conv.bias", [4])?;
//!     Ok(Convolution::new(weight, Some(bias)))
//! };
//! let device = Default::default();
//! let conv = Weights::random(0, &device).load(build)?;
//! assert_eq!(conv.parameters(), 4 * 27 + 4);
//!
//! let missing = Weights::from_file("no/such/file.safetensors", &device);
//! assert!(matches!(missing, Err(vis::Error::Io { .. })));
//! # Ok::<(), vis::Error>(())
//! ```

pub(crate) mod bundled;
mod container;
#[cfg(feature = "download")]
mod download;
mod index;
mod names;
mod parameters;
#[cfg(feature = "download")]
mod pretrained;
mod pytorch;
mod safetensors;
mod source;
mod stored;

use std::path::Path;

#[cfg(feature = "download")]
pub use download::{Download, Fetched};
pub use parameters::Parameters;
#[cfg(feature = "download")]
pub use pretrained::Pretrained;
pub use source::Weights;

use crate::Error;

fn malformed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Format { path: path.to_owned(), kind: "file of weights", reason: reason.into() }
}
