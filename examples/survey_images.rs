//! Makes the folder of 2,000 images that surveys are tried on: handwritten digits, and crops of the shipped photos.
//!
//! ```sh
//! cargo run --example survey_images            # into out/survey_images
//! vis survey --model efficientnet-lite0 --images out/survey_images --image-labels folders --layers head_conv --out out/survey
//! ```
//!
//! The first folder of a name says what it is: `digit-7/12.png`, `chelsea/3.jpg`.

use std::path::Path;

use image::imageops;
use image::{Rgb, RgbImage};
use rand::Rng;

/// The digits of each class.
const DIGITS: u32 = 100;
/// The crops of each photo.
const CROPS: u32 = 250;

fn main() -> vis::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| "out/survey_images".into());
    for (name, picture) in images(DIGITS, CROPS)? {
        let path = Path::new(&folder).join(name);
        let parent = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(parent).map_err(vis::Error::io("create", parent))?;
        vis::picture::save(&picture, &path)?;
    }
    Ok(())
}

/// Named pictures: so many of each digit, and so many crops of each of four photos, which are the same every time.
///
/// # Errors
///
/// A photo that can't be read.
pub fn images(digits: u32, crops: u32) -> vis::Result<Vec<(String, RgbImage)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut images = Vec::new();
    let sheet = vis::picture::load(root.join("examples/data/digits.png"))?;
    for digit in 0..10 {
        for index in 0..digits {
            // A hundred columns, six rows a class.
            let (row, column) = (6 * digit + index / 100, index % 100);
            let picture = imageops::crop_imm(&sheet, 28 * column, 28 * row, 28, 28).to_image();
            images.push((format!("digit-{digit}/{index}.png"), picture));
        }
    }
    for photo in ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"] {
        let picture = vis::picture::load(root.join("images/photos").join(photo))?;
        let (name, extension) = photo.split_once('.').unwrap_or((photo, "png"));
        let mut random = vis::random::stream(u64::from(picture.width()), 0);
        for index in 0..crops {
            let side = random.random_range(48..=picture.height().min(picture.width()) / 2);
            let left = random.random_range(0..=picture.width() - side);
            let top = random.random_range(0..=picture.height() - side);
            // No squares, and some mirrored or darker.
            let height = side - side / 4 * (index % 2);
            let mut crop = imageops::crop_imm(&picture, left, top, side, height).to_image();
            if index % 3 == 0 {
                imageops::flip_horizontal_in_place(&mut crop);
            }
            if index % 5 == 0 {
                crop.pixels_mut().for_each(|pixel| *pixel = Rgb(pixel.0.map(|value| value / 2)));
            }
            images.push((format!("{name}/{index}.{extension}"), crop));
        }
    }
    Ok(images)
}
