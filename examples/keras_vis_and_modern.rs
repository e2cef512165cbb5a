//! The same units twice: by the settings of keras-vis, and by those that each network has. Eight filters of a layer of each of
//! VGG16's blocks 3, 4 and 5, and of three layers of EfficientNet-Lite0.
//!
//! ```text
//! cargo run --example keras_vis_and_modern            # images/keras_vis_and_modern.jpg, about ten minutes on two cores
//! cargo run --example keras_vis_and_modern -- 64 60   # the side of the pictures, and the steps
//! ```

mod common;

use vis::model::{EfficientNetLite0, Model, Preset, Vgg16};
use vis::picture::Grid;
use vis::visualize_activation;

const FILTERS: [usize; 8] = [0, 3, 5, 9, 20, 44, 67, 71];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let side = arguments.next().map_or(Ok(112), |side| side.parse())?;
    let steps: usize = arguments.next().map_or(Ok(200), |steps| steps.parse())?;
    let (vgg16, lite0) =
        (Vgg16::bundled(&Default::default())?, EfficientNetLite0::bundled(&Default::default())?);
    let (vgg16, lite0): (&dyn Model, &dyn Model) = (&vgg16, &lite0);
    let layers = [
        (vgg16, "block3_conv3"),
        (vgg16, "block4_conv3"),
        (vgg16, "block5_conv3"),
        (lite0, "blocks.6"),
        (lite0, "blocks.10"),
        (lite0, "blocks.14"),
    ];
    let (mut pictures, mut captions) = (Vec::new(), Vec::new());
    for (model, layer) in layers {
        let network = if std::ptr::eq(model, vgg16) { "VGG16" } else { "Lite0" };
        for (name, preset) in [("keras-vis", Preset::keras_vis()), ("modern", model.preset())] {
            // Filters that are dead on noise are warmed up in both.
            let preset = Preset { warm_up: 16, max_iter: steps, ..preset };
            let made = visualize_activation(model, layer)
                .filter_indices(FILTERS)
                .preset(preset)
                .size(side, side)
                .progress(common::told(&format!("{network} {layer}, {name}")))
                .run()?;
            let after: f32 = made.iter().map(|picture| picture.after).sum();
            println!("{network} {layer:14} {name:9} mean activation {:9.3}", after / FILTERS.len() as f32);
            for (index, picture) in made.iter().enumerate() {
                pictures.push(picture.picture()?);
                captions.push(match index {
                    0 => format!("{network} {layer}, {name}"),
                    _ => format!("{}", FILTERS[index]),
                });
            }
        }
    }
    let grid = Grid::new(&pictures).captions(captions).columns(FILTERS.len());
    Ok(common::write(&grid.render()?, "images/keras_vis_and_modern.jpg")?)
}
