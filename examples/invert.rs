//! Inversion: a photo as each block of VGG16 still knows it.
//!
//! ```text
//! cargo run --example invert                    # the figure: images/invert.jpg
//! cargo run --example invert -- photo.jpg       # the same of a photo of your own: out/invert.jpg
//! cargo run --example invert -- photo.jpg inverted.png block4_conv3 200
//! ```

mod common;

use vis::model::Vgg16;
use vis::picture::{Grid, from_tensor, load, to_input};
use vis::visualization::invert;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Vgg16::bundled(&Default::default())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let photo = to_input(&load(argument(0, "images/photos/chelsea.png"))?, &model)?;
    let steps: usize = argument(3, "200").parse()?;
    let invert = |layer: &str| -> Result<(image::RgbImage, f32), Box<dyn std::error::Error>> {
        let inverted = invert(&model, photo.clone(), layer)
            .max_iter(steps)
            .progress(|now| {
                eprint!("\r{layer} {now}   ");
                std::ops::ControlFlow::Continue(())
            })
            .run()?;
        eprintln!();
        let name = format!("content at {layer}");
        let content = inverted.losses.named(&name).map_or(0.0, |values| values[[inverted.best_step[0], 0]]);
        Ok((from_tensor(inverted.image, (0.0, 255.0))?.remove(0), content))
    };
    if let [_, target, ..] = &arguments[..] {
        return Ok(common::write(&invert(&argument(2, "block4_conv3"))?.0, target)?);
    }

    let mut pictures = vec![from_tensor(photo.clone(), (0.0, 255.0))?.remove(0)];
    let mut captions = vec!["the photo".to_owned()];
    for layer in ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"] {
        let (picture, content) = invert(layer)?;
        println!("{layer}: {:.1} % of the features' energy is missed", 100.0 * content);
        pictures.push(picture);
        captions.push(layer.to_owned());
    }
    // A photo of your own never replaces the figure.
    let target = if arguments.is_empty() { "images/invert.jpg" } else { "out/invert.jpg" };
    common::write(&Grid::new(&pictures).captions(captions).columns(3).render()?, target)?;
    Ok(())
}
