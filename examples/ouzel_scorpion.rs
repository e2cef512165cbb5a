//! One picture for two classes: an ouzel and a scorpion at once, beside the ouzel alone.
//!
//! ```text
//! cargo run --example ouzel_scorpion                         # by EfficientNet-Lite0, whose weights are bundled
//! cargo run --example ouzel_scorpion -- vgg16-397923af.pth   # by VGG16, from its full weights in any published form
//! ```

mod common;

use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let (model, path) = common::classifier(std::env::args().nth(1), "images/ouzel_scorpion.jpg")?;
    let classes = [vec![20], vec![20, 71], vec![71]];
    let pictures = visualize_activation(model.as_ref(), "predictions")
        .filter_indices(classes.clone())
        .labels(["ouzel", "ouzel-scorpion", "scorpion"])
        .progress(common::told("ouzel and scorpion"))
        .run()?;
    common::feed_back(model.as_ref(), &pictures, &classes)?;
    common::write(&pictures.grid_with(|grid| grid.columns(3))?, path)
}
