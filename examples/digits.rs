//! What a reader of handwritten digits looks for: all ten digits, made by the network and read back by it.
//!
//! ```text
//! cargo run --example digits
//! ```

mod common;

use vis::model::Digits;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = Digits::bundled(&Default::default())?;
    let digits: Vec<_> = (0..10).map(|digit| vec![digit]).collect();
    let pictures = visualize_activation(&model, "predictions")
        .filter_indices(digits.clone())
        .progress(common::told("digits"))
        .run()?;
    common::feed_back(&model, &pictures, &digits)?;
    let grid = pictures.grid_with(|grid| grid.columns(5).enlarge(5).caption_size(24.0))?;
    common::write(&grid, "images/digits.png")
}
