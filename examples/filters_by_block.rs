//! What filters of VGG16 look for, block by block: sixteen of a layer of each of its five blocks.
//!
//! ```text
//! cargo run --example filters_by_block            # 16 filters a layer into images/
//! cargo run --example filters_by_block -- 24      # more of them
//! ```

mod common;

use vis::model::Vgg16;
use vis::visualize_activation;

/// Layer and side of the pictures: shallow filters see few pixels.
const LAYERS: [(&str, usize); 5] = [
    ("block1_conv2", 64),
    ("block2_conv2", 64),
    ("block3_conv3", 96),
    ("block4_conv3", 128),
    ("block5_conv3", 128),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(16), |count| count.parse())?;
    let model = Vgg16::bundled(&Default::default())?;
    let (mut tenfold, mut all) = (0, 0);
    for (layer, side) in LAYERS {
        let pictures = visualize_activation(&model, layer)
            .filter_indices(0..count)
            .size(side, side)
            .seed(1)
            .progress(common::told(layer))
            .run()?;
        let of_layer = pictures.iter().filter(|picture| picture.gain() >= 10.0).count();
        println!("{layer}: {of_layer} of {} fire ten times as much or more as on noise", pictures.len());
        if !pictures.dead().is_empty() {
            println!("{layer}: dead: {}", pictures.dead().join(", "));
        }
        let grid = pictures.grid_with(|grid| {
            grid.title(format!("VGG16 {layer}")).columns(8).enlarge(if side < 96 { 2 } else { 1 })
        })?;
        common::write(&grid, format!("images/filters_{layer}.png"))?;
        tenfold += of_layer;
        all += pictures.len();
    }
    println!("all layers: {tenfold} of {all}");
    Ok(())
}
