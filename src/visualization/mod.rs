//! The front doors: one call a picture, with settings that suit photos and the bundled networks.

mod activation;
mod caricature;
mod descent;
mod dream;
mod invert;
mod stages;
mod style;
mod texture;

pub use activation::{Activation, Activations, Progress, VisualizeActivation, visualize_activation};
pub use caricature::{DrawCaricature, caricature};
pub use descent::Descent;
pub use dream::{DeepDream, Dream, DreamStep, deep_dream};
pub use invert::{Invert, invert};
pub use style::{StyleStart, StyleTransfer, style_transfer};
pub use texture::{Texture, texture};
