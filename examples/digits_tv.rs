//! How total variation shapes a picture: the digits 2, 3 and 9 under weights from nothing to too much.
//!
//! ```text
//! cargo run --example digits_tv
//! ```

mod common;

use vis::model::Digits;
use vis::picture::Grid;
use vis::visualize_activation;

fn main() -> vis::Result<()> {
    let model = Digits::bundled(&Default::default())?;
    let weights = [0.0, 10.0, 30.0, 100.0, 200.0, 300.0];
    let (mut captions, mut pictures) = (Vec::new(), Vec::new());
    for digit in [2, 3, 9] {
        for weight in weights {
            let made = visualize_activation(&model, "predictions")
                .filter_indices([digit])
                .tv_weight(weight)
                .progress(common::told(&format!("{digit}, TV weight {weight}")))
                .run()?;
            println!("{digit}, TV weight {weight:6}: score {:6.2}", made[0].after);
            captions.push(format!("TV {weight}"));
            pictures.push(made[0].picture()?);
        }
    }
    let grid = Grid::new(&pictures).captions(captions).columns(weights.len()).enlarge(5);
    common::write(&grid.caption_size(24.0).render()?, "images/digits_tv.png")
}
