//! Ten classes of ImageNet drawn at random, each as a picture that a network takes for it, with and without total
//! variation. Fails when the network takes fewer than eight of those with it for what they were made for.
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

    let smooth = model.preset().tv_weight;
    let mut right = Vec::new();
    for (weight, path) in [(smooth, path.clone()), (0.0, path.replace(".jpg", "_without_tv.jpg"))] {
        let pictures = visualize_activation(model.as_ref(), "predictions")
            .filter_indices(classes.clone())
            .tv_weight(weight)
            .seed(seed)
            .progress(common::told(&format!("ten classes, TV weight {weight}")))
            .run()?;
        println!("TV weight {weight}:");
        right.push(common::feed_back(model.as_ref(), &pictures, &classes)?);
        common::write(&pictures.grid_with(|grid| grid.columns(5))?, path)?;
    }
    if right[0] < 8 {
        return Err(format!("only {} of 10 pictures are taken for what they were made for", right[0]).into());
    }
    Ok(())
}
