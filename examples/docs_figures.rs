//! Small copies of the figures inside the pages of the documentation, so that they show without the repository.
//!
//! ```text
//! cargo run --example docs_figures
//! ```
//!
//! Run it after the examples that make the figures. Each page includes its copy, `src/figures/NAME.md`: an image written
//! as a `data:` address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use vis::picture;

/// A part of a figure: its file, and left, top, width and height; a size of 0 is the whole.
type Part = (&'static str, [u32; 4]);

/// The cell of the table of all methods on one photo.
const fn cell(row: u32, column: u32) -> Part {
    ("attribution_chelsea.jpg", [8 + 232 * column, 61 + 257 * row, 224, 224])
}

const fn whole(file: &'static str) -> Part {
    (file, [0; 4])
}

/// Name, alternative text, height in pixels, and the parts side by side.
const FIGURES: [(&str, &str, u32, &[Part]); 17] = [
    (
        "activation",
        "What sixteen filters of the last convolution of VGG16 look for",
        420,
        &[whole("filters.png")],
    ),
    (
        "classes",
        "Images that EfficientNet-Lite0 takes for ten classes",
        260,
        &[whole("imagenet_classes.jpg")],
    ),
    ("methods", "Every method on one photo of a cat", 420, &[whole("attribution_chelsea.jpg")]),
    (
        "saliency",
        "A photo, its gradient, and guided backpropagation",
        160,
        &[cell(0, 0), cell(0, 3), cell(0, 5)],
    ),
    ("integrated_gradients", "A photo and its integrated gradients", 160, &[cell(0, 0), cell(1, 3)]),
    (
        "smooth_grad",
        "A gradient, SmoothGrad, SmoothGrad squared, VarGrad",
        160,
        &[cell(0, 3), cell(1, 0), cell(1, 1), cell(1, 2)],
    ),
    ("guided_grad_cam", "A photo and its guided Grad-CAM", 160, &[cell(0, 0), cell(1, 4)]),
    (
        "cam",
        "A photo under its Grad-CAM, Eigen-CAM and Score-CAM",
        160,
        &[cell(1, 5), cell(2, 3), cell(2, 5)],
    ),
    ("occlusion", "A photo and its occlusion map", 160, &[cell(0, 0), cell(2, 6)]),
    ("rise", "A photo and its RISE map", 160, &[cell(0, 0), cell(3, 0)]),
    ("controls", "The blind controls: noise and edges", 160, &[cell(0, 1), cell(0, 2)]),
    ("dream", "A photo of a cat, and what three layers make of it", 380, &[("dream.jpg", [0, 0, 926, 696])]),
    (
        "caricature",
        "A photo of a cat, and its caricature by four layers",
        130,
        &[("caricature.jpg", [0, 0, 1168, 262])],
    ),
    ("invert", "A photo of a cat, and what five layers still know of it", 300, &[whole("invert.jpg")]),
    ("style_transfer", "A cat, painted like the Starry Night", 240, &[whole("style_transfer.jpg")]),
    ("texture", "Two samples, and a texture of each", 160, &[whole("texture.jpg")]),
    (
        "gan",
        "Ten digits: by pixels, by regularizers, by a discriminator, by a generator",
        420,
        &[whole("gan_regularizer.png")],
    ),
];

/// Between two parts, in pixels.
const GAP: u32 = 6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all("src/figures")?;
    for (name, alt, height, parts) in FIGURES {
        let parts = parts.iter().map(|part| small(*part, height)).collect::<vis::Result<Vec<_>>>()?;
        let width = parts.iter().map(|part| part.width() + GAP).sum::<u32>() - GAP;
        let mut figure = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        let mut left = 0;
        for part in &parts {
            imageops::replace(&mut figure, part, left.into(), 0);
            left += part.width() + GAP;
        }
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 82).encode_image(&figure)?;
        let path = format!("src/figures/{name}.md");
        std::fs::write(&path, format!("![{alt}](data:image/jpeg;base64,{})\n", STANDARD.encode(&bytes)))?;
        println!("wrote {path}: {width}×{height}, {} kB", bytes.len() / 1000);
    }
    Ok(())
}

/// A part of a figure at a height in pixels, never enlarged in vain.
fn small((file, [left, top, width, height]): Part, to: u32) -> vis::Result<RgbImage> {
    let figure = picture::load(format!("images/{file}"))?;
    let part = match width {
        0 => figure,
        _ => imageops::crop_imm(&figure, left, top, width, height).to_image(),
    };
    let across = (u64::from(part.width()) * u64::from(to)).div_ceil(u64::from(part.height())) as u32;
    Ok(imageops::resize(&part, across, to, FilterType::Lanczos3))
}
