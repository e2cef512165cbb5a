//! Three ouzels: the same class from three different noises.
//!
//! ```text
//! cargo run --example ouzels                               # by EfficientNet-Lite0, whose weights are bundled
//! cargo run --example ouzels -- vgg16-397923af.pth         # by VGG16, from its full weights in any published form
//! ```

mod common;

use vis::model::imagenet;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let (model, path) = common::classifier(std::env::args().nth(1), "images/ouzels.jpg")?;
    let ouzel = imagenet::find("water ouzel")?; // 20
    let run = visualize_activation(model.as_ref(), "predictions").filter_indices([ouzel; 3]);
    let pictures = run.progress(common::told("ouzels")).run()?;
    common::feed_back(model.as_ref(), &pictures, &vec![vec![ouzel]; 3])?;
    common::write(&pictures.grid_with(|grid| grid.columns(3))?, path)
}
