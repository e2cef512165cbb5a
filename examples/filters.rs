//! What filters of VGG16 look for: a labelled grid of pictures that make them fire, from the bundled weights.
//!
//! ```text
//! cargo run --example filters                                   # 16 filters of block5_conv3
//! cargo run --example filters -- block3_conv3 24 images/b3.png  # layer, number of filters, file
//! ```

use std::ops::ControlFlow;

use vis::model::Vgg16;
use vis::visualize_activation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let layer = arguments.next().unwrap_or_else(|| "block5_conv3".into());
    let count = arguments.next().map_or(Ok(16), |count| count.parse())?;
    let path = arguments.next().unwrap_or_else(|| "out/filters.png".into());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder)?;
    }

    let model = Vgg16::bundled(&Default::default())?;
    let pictures = visualize_activation(&model, &layer)
        .filter_indices(0..count)
        .size(128, 128)
        .progress(|now| {
            eprint!(
                "\r{layer}: {} % of {} pictures, loss {:.1}  ",
                100 * now.done / now.total,
                now.of,
                now.loss
            );
            ControlFlow::Continue(())
        })
        .run()?;
    eprintln!();

    for picture in pictures.iter() {
        let dead = if picture.dead { "  dead" } else { "" };
        println!(
            "{:12} {:9.3} → {:9.3}, {:8.1} times{dead}",
            picture.label,
            picture.before,
            picture.after,
            picture.gain()
        );
    }
    let tenfold = pictures.iter().filter(|picture| picture.gain() >= 10.0).count();
    println!(
        "{tenfold} of {} filters fire ten times as much or more on their picture as on noise",
        pictures.len()
    );
    pictures.save(&path)?;
    println!("wrote {path}");
    Ok(())
}
