//! vis
pub mod attribution;
pub mod backprop;
pub mod callbacks;
pub mod error;
pub mod gradient;
pub mod host;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizer;
pub mod parametrization;
pub mod picture;
pub mod random;
pub mod regularizers;
pub mod transforms;
pub mod visualization;

pub use backprop::Rule;
pub use error::{Error, Result};
pub use losses::{Loss, Losses, Scene};
pub use model::Model;
pub use optimizer::{Minimized, Optimizer};
pub use visualization::visualize_activation;
