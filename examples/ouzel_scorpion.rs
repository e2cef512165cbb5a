//! One picture for two classes: an ouzel and a scorpion at once, beside the ouzel alone.
//!
//! ```text
//! cargo run --example ouzel_scorpion
//! ```

mod common;

use vis::model::EfficientNetLite0;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = EfficientNetLite0::bundled(&Default::default())?;
    let classes = [vec![20], vec![20, 71], vec![71]];
    let pictures = visualize_activation(&model, "predictions")
        .filter_indices(classes.clone())
        .labels(["ouzel", "ouzel-scorpion", "scorpion"])
        .progress_bar()
        .run()?;
    common::feed_back(&model, &pictures, &classes)?;
    vis::picture::save(&pictures.grid_with(|grid| grid.columns(3))?, "images/ouzel_scorpion.jpg")
}
