//! Style transfer: a photo in the manner of a painting.
//!
//! ```text
//! cargo run --example style_transfer                       # the figure: images/style_transfer.jpg
//! cargo run --example style_transfer -- photo.jpg painting.jpg painted.png 512
//! cargo run --example style_transfer -- photo.jpg painting.jpg painted.png 512 adam 200 0.1   # or lbfgs, steps, content
//! ```
//!
//! The last number is the size of the longest side. Every tenth step is told with its losses and the seconds since
//! the beginning, so that ways to descend can be compared by what they reach in a second.

mod common;

use vis::model::UpdateRule;
use vis::model::Vgg16;
use vis::picture::{from_tensor, load, to_tensor};
use vis::visualization::style_transfer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let longest: u32 = argument(3, "384").parse()?;
    let at_most = |path: String| -> vis::Result<image::RgbImage> {
        let photo = load(path)?;
        let factor = longest as f32 / photo.width().max(photo.height()) as f32;
        let side = |side: u32| ((side as f32 * factor) as u32).max(1);
        vis::picture::resize_to_cover_and_crop(&photo, side(photo.width()), side(photo.height()))
    };
    // A photo of your own never replaces the figure.
    let target = match &arguments[..] {
        [] => "images/style_transfer.jpg".into(),
        _ => argument(2, "out/style_transfer.jpg"),
    };

    let model = Vgg16::bundled(&Default::default())?;
    let photo = to_tensor(&at_most(argument(0, "images/photos/chelsea.png"))?, &model)?;
    let painting = to_tensor(&at_most(argument(1, "images/photos/starry_night.jpg"))?, &model)?;
    let mut transfer = style_transfer(&model, photo, painting);
    if let Some(descent) = arguments.get(4) {
        transfer = transfer.update(if descent == "lbfgs" { UpdateRule::Lbfgs } else { UpdateRule::Adam });
    }
    if let Some(steps) = arguments.get(5) {
        transfer = transfer.max_iter(steps.parse()?);
    }
    if let Some(weight) = arguments.get(6) {
        transfer = transfer.content_weight(weight.parse()?);
    }
    let begin = std::time::Instant::now();
    let transfer = transfer.progress(|now| {
        if now.done % 10 == 0 {
            eprintln!("{now} after {:.1} s", begin.elapsed().as_secs_f32());
        }
        std::ops::ControlFlow::Continue(())
    });
    common::write(&from_tensor(transfer.run()?.image, (0.0, 255.0))?[0], target)?;
    Ok(())
}
