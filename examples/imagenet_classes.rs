//! Ten classes of ImageNet drawn at random, each as a picture that a network takes for it, with and without total
//! variation.
//!
//! ```text
//! cargo run --example imagenet_classes          # the classes of seed 0
//! cargo run --example imagenet_classes -- 7     # others
//! ```

mod common;

use rand::Rng;
use vis::model::{EfficientNetLite0, imagenet};
use vis::{Model, visualize_activation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(0), |seed| seed.parse())?;
    let mut random = vis::random::stream(seed, 0);
    let classes: Vec<_> = (0..10).map(|_| vec![random.random_range(0..imagenet::CLASSES)]).collect();

    let model = EfficientNetLite0::bundled(&Default::default())?;
    let smooth = model.preset().tv_weight;
    for (weight, path) in
        [(smooth, "images/imagenet_classes.jpg"), (0.0, "images/imagenet_classes_without_tv.jpg")]
    {
        let pictures = visualize_activation(&model, "predictions")
            .filter_indices(classes.clone())
            .tv_weight(weight)
            .seed(seed)
            .progress_bar()
            .run()?;
        println!("TV weight {weight}:");
        common::feed_back(&model, &pictures, &classes)?;
        vis::picture::save(&pictures.grid_with(|grid| grid.columns(5))?, path)?;
    }
    Ok(())
}
