//! One picture for two classes: a 1 and a 7 at once, between each alone.
//!
//! ```text
//! cargo run --example digits_joint
//! ```

mod common;

use vis::model::Digits;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = Digits::bundled(&Default::default())?;
    let digits = [vec![1], vec![1, 7], vec![7]];
    // Two digits need more ink than one.
    let pictures = visualize_activation(&model, "predictions")
        .filter_indices(digits.clone())
        .seed(1)
        .lp_norm_weight(25.0)
        .progress(common::told("1, 1 and 7, 7"))
        .run()?;
    common::feed_back(&model, &pictures, &digits)?;
    let grid = pictures.grid_with(|grid| grid.columns(3).enlarge(8).caption_size(24.0))?;
    common::write(&grid, "images/digits_joint.png")
}
