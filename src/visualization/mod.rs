//! The front door: one call a picture.

mod activation;

pub use activation::{Activation, Activations, Progress, VisualizeActivation, visualize_activation};
