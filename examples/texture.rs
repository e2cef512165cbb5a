//! Texture synthesis: more of the same stuff.
//!
//! ```text
//! cargo run --example texture                   # the figure: images/texture.jpg
//! cargo run --example texture -- sample.jpg     # a sample of your own: out/texture.png
//! cargo run --example texture -- sample.jpg woven.png 256 200
//! ```

mod common;

use image::{RgbImage, imageops};
use vis::model::Vgg16;
use vis::picture::{Grid, from_tensor, load, resize_to_cover_and_crop, to_tensor};
use vis::visualization::texture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Vgg16::bundled(&Default::default())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let side: usize = argument(2, "256").parse()?;
    let steps: usize = argument(3, "200").parse()?;
    let weave = |sample: &RgbImage| -> Result<RgbImage, Box<dyn std::error::Error>> {
        let woven = texture(&model, to_tensor(sample, &model)?)
            .size(side, side)
            .max_iter(steps)
            .progress(|now| {
                eprint!("\r{now}   ");
                std::ops::ControlFlow::Continue(())
            })
            .run()?;
        eprintln!();
        Ok(from_tensor(woven.image, (0.0, 255.0))?.remove(0))
    };
    if let [sample, ..] = &arguments[..] {
        return Ok(common::write(&weave(&load(sample)?)?, argument(1, "out/texture.png"))?);
    }

    // A sky, without the village, and fur.
    let sky = load("images/photos/starry_night.jpg")?;
    let sky = imageops::crop_imm(
        &sky,
        sky.width() / 8,
        sky.height() / 16,
        sky.width() * 3 / 5,
        sky.height() * 3 / 5,
    )
    .to_image();
    let fur = imageops::crop_imm(&load("images/photos/chelsea.png")?, 190, 10, 110, 110).to_image();
    let samples = [sky, fur].map(|sample| resize_to_cover_and_crop(&sample, side as u32, side as u32));
    let (mut pictures, mut captions) = (Vec::new(), Vec::new());
    for sample in samples {
        let sample = sample?;
        pictures.push(weave(&sample)?);
        captions.push("its texture");
        pictures.insert(pictures.len() - 1, sample);
        captions.insert(captions.len() - 1, "the sample");
    }
    common::write(&Grid::new(&pictures).captions(captions).columns(4).render()?, "images/texture.jpg")?;
    Ok(())
}
