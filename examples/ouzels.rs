//! Three ouzels: the same class from three different noises.
//!
//! ```text
//! cargo run --example ouzels
//! ```

mod common;

use vis::model::{EfficientNetLite0, imagenet};
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = EfficientNetLite0::bundled(&Default::default())?;
    let ouzel = imagenet::find("water ouzel")?; // 20
    let pictures =
        visualize_activation(&model, "predictions").filter_indices([ouzel; 3]).progress_bar().run()?;
    common::feed_back(&model, &pictures, &vec![vec![ouzel]; 3])?;
    vis::picture::save(&pictures.grid_with(|grid| grid.columns(3))?, "images/ouzels.jpg")
}
