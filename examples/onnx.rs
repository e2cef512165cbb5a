//! A network from an ONNX file: its layers, and what its answer for a photo rests on.
//!
//! ```text
//! cargo run --example onnx -- resnet18.onnx images/photos/chelsea.png labels.txt
//! ```

use vis::Target;
use vis::model::{Onnx, Preprocessing};
use vis::picture::{self, Opacity};
use vis::{Model, visualize_saliency};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(photo)) = (arguments.next(), arguments.next()) else {
        return Err("name a file of a network and a photo".into());
    };
    let model = Onnx::open(&file, Preprocessing::imagenet())?;
    let model = match arguments.next() {
        Some(labels) => model.with_labels(labels)?,
        None => model,
    };
    for layer in model.layers()? {
        println!("{layer}");
    }
    let image = picture::to_input(&picture::load(photo)?, &model)?;
    let scores = Target::predicted().scores(&model, image.clone())?;
    println!("the highest score is {}", scores[0]);
    let map = visualize_saliency(&model, image).smooth(25).run()?;
    std::fs::create_dir_all("out")?;
    map.overlay(Opacity::FollowsMap(1.0))?.save("out/onnx.png")?;
    println!("{} in out/onnx.png", map.label);
    Ok(())
}
