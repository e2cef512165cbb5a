//! What total variation is for: the first filters of a layer in every block of VGG16, without it.
//!
//! ```text
//! cargo run --example filters_without_tv
//! ```
//!
//! `filters_by_block` shows the same filters with it.

mod common;

use vis::model::{Preset, Vgg16};
use vis::picture::Grid;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = Vgg16::bundled(&Default::default())?;
    let (mut captions, mut pictures) = (Vec::new(), Vec::new());
    for layer in ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"] {
        let made = visualize_activation(&model, layer)
            .filter_indices(0..6)
            .preset(Preset { warm_up: 16, ..Preset::keras_vis() })
            .tv_weight(0.0)
            .size(128, 128)
            .progress(common::told(layer))
            .run()?;
        for picture in made.iter() {
            println!("{layer} {:12} {:9.3} → {:9.3}", picture.label, picture.before, picture.after);
            let dead = if picture.dead { " (dead)" } else { "" };
            captions.push(format!("{layer}: {}{dead}", picture.label));
            pictures.push(picture.picture()?);
        }
    }
    let grid = Grid::new(&pictures).captions(captions).columns(6).title("VGG16 without total variation");
    common::write(&grid.render()?, "images/filters_without_tv.jpg")
}
