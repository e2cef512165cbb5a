//! Ten classes of ImageNet drawn at random, each as a picture that a network takes for it. Fails when the
//! network takes fewer than eight of them for what they were made for.
//!
//! ```text
//! cargo run --example imagenet_classes                           # the classes of seed 0, by EfficientNet-Lite0
//! cargo run --example imagenet_classes -- 7                      # others
//! cargo run --example imagenet_classes -- 0 vgg16-397923af.pth   # by VGG16, from its full weights in any published form
//! ```

mod common;

use rand::Rng;
use vis::model::imagenet;
use vis::visualize_activation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    let (model, path) = common::classifier(arguments.next(), "images/imagenet_classes.jpg")?;

    let mut random = vis::random::stream(seed, 0);
    let mut classes: Vec<Vec<usize>> = Vec::new();
    while classes.len() < 10 {
        let class = vec![random.random_range(0..imagenet::CLASSES)];
        if !classes.contains(&class) {
            classes.push(class);
        }
    }

    let pictures = visualize_activation(model.as_ref(), "predictions")
        .filter_indices(classes.clone())
        .seed(seed)
        .progress(common::told("ten classes"))
        .run()?;
    let right = common::feed_back(model.as_ref(), &pictures, &classes)?;
    common::write(&pictures.grid_with(|grid| grid.columns(5))?, path)?;
    if right < 8 {
        return Err(format!("only {right} of 10 pictures are taken for what they were made for").into());
    }
    Ok(())
}
