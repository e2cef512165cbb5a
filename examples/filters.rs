//! What filters of VGG16 look for: a labelled grid of pictures that make them fire, from the bundled weights.
//!
//! ```text
//! cargo run --example filters                                   # 12 filters of block5_conv3
//! cargo run --example filters -- block3_conv3 24 images/b3.png  # layer, number of filters, file
//! ```

mod common;

use vis::model::Vgg16;
use vis::visualize_activation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let layer = arguments.next().unwrap_or_else(|| "block5_conv3".into());
    let count = arguments.next().map_or(Ok(12), |count| count.parse())?;
    let path = arguments.next().unwrap_or_else(|| "out/filters.png".into());

    let model = Vgg16::bundled(&Default::default())?;
    let pictures = visualize_activation(&model, &layer)
        .filter_indices(0..count)
        .size(128, 128)
        .seed(1)
        .max_iter(150)
        .progress(common::told(&layer))
        .run()?;

    for picture in pictures.iter() {
        let dead = if picture.dead { "  dead" } else { "" };
        let gain = if picture.gain().is_finite() {
            format!("{:8.1} times", picture.gain())
        } else {
            "   from nothing".into()
        };
        println!("{:12} {:9.3} → {:9.3}, {gain}{dead}", picture.label, picture.before, picture.after);
    }
    let tenfold = pictures.iter().filter(|picture| picture.gain() >= 10.0).count();
    println!(
        "{tenfold} of {} filters fire ten times as much or more on their picture as on noise",
        pictures.len()
    );
    Ok(common::write(&pictures.grid()?, path)?)
}
