//! The front doors: one call a picture, with settings that suit photos and the bundled networks.

mod activation;
mod dream;
mod stages;

pub use activation::{Activation, Activations, Progress, VisualizeActivation, visualize_activation};
pub use dream::{DeepDream, Dream, DreamStep, deep_dream};
