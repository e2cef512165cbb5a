//! Style transfer: a photo in the manner of a painting.
//!
//! ```text
//! cargo run --example style_transfer                       # the figure: images/style_transfer.jpg
//! cargo run --example style_transfer -- photo.jpg painting.jpg painted.png 512
//! ```

use vis::model::Vgg16;
use vis::picture::{from_tensor, load, save, to_tensor};
use vis::visualization::{Descent, style_transfer};

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

    let model = Vgg16::bundled(&Default::default())?;
    let model = if argument(8, "max") == "avg" { model.with_average_pooling() } else { model };
    let photo = to_tensor(&at_most(argument(0, "images/photos/chelsea.png"))?, &model)?;
    let painting = to_tensor(&at_most(argument(1, "images/photos/starry_night.jpg"))?, &model)?;
    let begin = std::time::Instant::now();
    let painted = style_transfer(&model, photo, painting)
        .steps(argument(4, "200").parse()?)
        .content_weight(argument(5, "0.05").parse()?)
        .tv_weight(argument(6, "0.01").parse()?)
        .descent(if argument(7, "lbfgs") == "adam" { Descent::Adam } else { Descent::Lbfgs })
        .progress(|step| {
            if step.index % 10 == 9 {
                let each: Vec<_> = step.losses.values().iter().map(|v| format!("{v:.5}")).collect();
                eprintln!(
                    "{}/{} {:?} total {:.5} at {:.0?}",
                    step.index + 1,
                    step.of,
                    each,
                    step.losses.totals()[0],
                    begin.elapsed()
                );
            }
            std::ops::ControlFlow::Continue(())
        })
        .run()?;
    save(&from_tensor(painted.image, (0.0, 255.0))?[0], argument(2, "images/style_transfer.jpg"))?;
    Ok(())
}
