//! A picture with a name.

use image::RgbImage;

/// An image of a survey with its name.
#[derive(Debug, Clone)]
pub struct Sample {
    pub(super) name: String,
    pub(super) label: Option<String>,
    pub(super) picture: RgbImage,
}

impl Sample {
    /// A picture with a name and a label.
    pub fn labelled(name: impl Into<String>, picture: RgbImage, label: impl Into<String>) -> Self {
        Self { name: name.into(), label: Some(label.into()), picture }
    }
}

impl<N: Into<String>> From<(N, RgbImage)> for Sample {
    fn from((name, picture): (N, RgbImage)) -> Self {
        Self { name: name.into(), label: None, picture }
    }
}
