//! Caricature: what layers of VGG16 take notice of in a photo, exaggerated.
//!
//! ```text
//! cargo run --example caricature                # the figure: images/caricature.jpg
//! cargo run --example caricature -- photo.jpg   # a photo of your own: out/caricature.png
//! cargo run --example caricature -- photo.jpg caricature.png block4_conv3 200
//! ```

mod common;

use vis::model::Vgg16;
use vis::picture::{Grid, from_tensor, load, to_input};
use vis::visualization::caricature;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Vgg16::bundled(&Default::default())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let steps: usize = argument(3, "160").parse()?;
    let draw = |path: &str, layer: &str| -> Result<image::RgbImage, Box<dyn std::error::Error>> {
        let drawn = caricature(&model, to_input(&load(path)?, &model)?)
            .layer(layer)
            .max_iter(steps)
            .progress(|now| {
                eprint!("\r{path} {layer} {now}   ");
                std::ops::ControlFlow::Continue(())
            })
            .run()?;
        eprintln!();
        Ok(from_tensor(drawn.image, (0.0, 255.0))?.remove(0))
    };
    if let [photo, ..] = &arguments[..] {
        let drawn = draw(photo, &argument(2, "block4_conv3"))?;
        return Ok(common::write(&drawn, argument(1, "out/caricature.png"))?);
    }

    let (mut pictures, mut captions) = (Vec::new(), Vec::new());
    for name in ["chelsea.png", "astronaut.png"] {
        let path = format!("images/photos/{name}");
        pictures.push(from_tensor(to_input(&load(&path)?, &model)?, (0.0, 255.0))?.remove(0));
        captions.push("the photo".to_owned());
        for layer in ["block2_conv2", "block3_conv3", "block4_conv3", "block5_conv2"] {
            pictures.push(draw(&path, layer)?);
            captions.push(layer.to_owned());
        }
    }
    common::write(&Grid::new(&pictures).captions(captions).columns(5).render()?, "images/caricature.jpg")?;
    Ok(())
}
