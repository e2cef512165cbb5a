//! A clear picture in two runs: the first without total variation finds what the filter wants, the second starts from
//! its picture and smooths it. The README of keras-vis shows this for filter 67 of `block5_conv3`.
//!
//! ```text
//! cargo run --example two_stages
//! ```

mod common;

use common::host::tensor4;
use vis::model::{Preset, Vgg16};
use vis::picture::panel;
use vis::{Model, visualize_activation};

fn main() -> vis::Result<()> {
    let model = Vgg16::bundled(&Default::default())?;
    let run = |what| {
        let filter = visualize_activation(&model, "block5_conv3").filter_indices([67]).size(160, 160);
        let filter = filter.preset(Preset { warm_up: 16, ..Preset::keras_vis() });
        filter.progress(common::told(what))
    };

    let first = run("the first run").tv_weight(0.0).max_iter(300).run()?;
    let picture = first[0].image.view().insert_axis(ndarray::Axis(0));
    let start = tensor4(picture, &model.device());
    let second = run("the second run").tv_weight(1.0).max_iter(300).seed_img(start).run()?;

    println!("mean activation: {:.2} on noise, {:.2} after the first run", first[0].before, first[0].after);
    println!("and {:.2} after the second", second[0].after);
    let pictures =
        [("without total variation", &first[0].picture()?), ("then with it", &second[0].picture()?)];
    common::write(&panel(&pictures, Some("block5_conv3, filter 67"))?, "images/two_stages.jpg")
}
