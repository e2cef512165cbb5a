//! The front door: one call a picture.

mod activation;

pub use activation::{Activation, Activations, VisualizeActivation, visualize_activation};
