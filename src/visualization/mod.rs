//! The front doors: one call a picture, with settings that suit photos and the bundled networks.

mod activation;
mod activations;
mod cam;
mod caricature;
mod descent;
mod dream;
mod heatmap;
mod invert;
mod quality;
mod relative;
mod saliency;
mod stages;
mod style;
mod texture;

pub use activation::{VisualizeActivation, visualize_activation};
pub use activations::{Activation, Activations, Unfinished};
pub use cam::{VisualizeCam, visualize_cam};
pub use caricature::{DrawCaricature, caricature};
pub use dream::{DeepDream, Dream, deep_dream};
pub use heatmap::Heatmap;
pub use invert::{Invert, invert};
pub use quality::Quality;
pub use saliency::{VisualizeSaliency, visualize_saliency};
pub use style::{StyleStart, StyleTransfer, style_transfer};
pub use texture::{Texture, texture};
