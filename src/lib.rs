//! vis
pub mod backprop;
pub mod error;
pub mod gradient;
pub mod host;
pub mod losses;
pub mod model;
pub mod regularizers;

pub use backprop::Rule;
pub use error::{Error, Result};
pub use losses::{Loss, Losses, Scene};
pub use model::Model;
