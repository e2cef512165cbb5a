//! Deep dream: what VGG16 sees in a photo, exaggerated, at several scales.
//!
//! ```text
//! cargo run --example dream                                # the figure
//! cargo run --example dream -- photo.jpg dream.png         # a photo of your own, of any size
//! cargo run --example dream -- photo.jpg dream.png block5_conv2 10
//! ```

use std::ops::ControlFlow;

use vis::model::Vgg16;
use vis::picture::{from_tensor, load, save, to_tensor};
use vis::visualization::deep_dream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let (photo, target) = (argument(0, "images/photos/chelsea.png"), argument(1, "images/dream.jpg"));

    let model = Vgg16::bundled(&Default::default())?;
    let photo = to_tensor(&load(photo)?, &model)?;
    let dream = deep_dream(&model, photo)
        .layer(argument(2, "block4_conv3"))
        .steps(argument(3, "10").parse()?)
        .octaves(argument(4, "4").parse()?)
        .tile(argument(5, "512").parse()?)
        .progress(|now| {
            eprint!(
                "\roctave {} ({}×{}), step {}: loss {:.1}    ",
                now.octave, now.size.1, now.size.0, now.step, now.loss
            );
            ControlFlow::Continue(())
        })
        .run()?;
    eprintln!();
    save(&from_tensor(dream.image, (0.0, 255.0))?[0], target)?;
    Ok(())
}
