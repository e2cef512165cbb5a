//! The front doors: one call a picture, with settings that suit photos and the bundled networks.

mod dream;
mod stages;

pub use dream::{DeepDream, Dream, DreamStep, deep_dream};
