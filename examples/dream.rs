//! Deep dream: what VGG16 sees in a photo, exaggerated, at several scales.
//!
//! ```text
//! cargo run --example dream                                  # the figure: images/dream.jpg
//! cargo run --example dream -- photo.jpg                     # a photo of your own, of any size: out/dream.png
//! cargo run --example dream -- photo.jpg dream.png block4_conv3 10   # layer, steps an octave
//! ```

mod common;

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use vis::model::Vgg16;
use vis::picture::{Grid, from_tensor, load, to_input, to_tensor};
use vis::visualization::{DeepDream, deep_dream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Vgg16::bundled(&Default::default())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [photo, rest @ ..] = &arguments[..] {
        let mut settings = deep_dream(&model, to_tensor(&load(photo)?, &model)?);
        if let Some(layer) = rest.get(1) {
            settings = settings.layer(layer);
        }
        if let Some(steps) = rest.get(2) {
            settings = settings.max_iter(steps.parse()?);
        }
        let target = rest.first().map_or("out/dream.png", String::as_str);
        return Ok(common::write(&dream(settings)?, target)?);
    }

    let photo = load("images/photos/chelsea.png")?;
    let of_photo = || -> vis::Result<Tensor<4>> { to_tensor(&photo, &model) };
    let mut pictures = vec![("the photo".to_owned(), photo.clone())];
    for layer in ["block3_conv3", "block4_conv3", "block5_conv2"] {
        pictures.push((layer.to_owned(), dream(deep_dream(&model, of_photo()?).layer(layer))?));
    }
    let guide = to_input(&load("images/photos/starry_night.jpg")?, &model)?;
    let guided = deep_dream(&model, of_photo()?).layer("block4_conv3").guide(guide);
    pictures.push(("block4_conv3, guided by Starry Night".to_owned(), dream(guided)?));
    let guide = to_input(&load("images/photos/coffee.png")?, &model)?;
    let guided = deep_dream(&model, of_photo()?).layer("block5_conv2").guide(guide);
    pictures.push(("block5_conv2, guided by a cup of coffee".to_owned(), dream(guided)?));

    let (captions, pictures): (Vec<_>, Vec<_>) = pictures.into_iter().unzip();
    common::write(&Grid::new(&pictures).captions(captions).columns(2).render()?, "images/dream.jpg")?;
    Ok(())
}

fn dream(settings: DeepDream<'_>) -> vis::Result<image::RgbImage> {
    let dream = settings
        .progress(|now| {
            eprint!("\r{now}   ");
            ControlFlow::Continue(())
        })
        .run()?;
    eprintln!();
    Ok(from_tensor(dream.image, (0.0, 255.0))?.remove(0))
}
