//! vis

// The library never prints and never panics on bad input.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro, clippy::todo, clippy::unwrap_used)]

pub mod attribution;
pub mod backprop;
pub mod callbacks;
mod convolution;
pub mod error;
pub mod gradient;
pub mod host;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizer;
pub mod parametrization;
#[doc = include_str!("performance.md")]
pub mod performance {}
pub mod picture;
pub mod random;
pub mod regularizers;
pub mod tiles;
pub mod transforms;
pub mod visualization;

pub use backprop::Rule;
pub use convolution::Arithmetic;
pub use error::{Error, Result};
pub use losses::{Loss, Losses, Scene};
pub use model::Model;
pub use optimizer::{Minimized, Optimizer};
pub use visualization::{visualize_activation, visualize_cam, visualize_saliency};
