//! A picture as it comes into being, step by step, as an animation; and the losses on the way as a plot and a table.
//!
//! ```text
//! cargo run --example optimization_gif
//! ```

use std::time::Duration;

use vis::callbacks::GifGenerator;
use vis::losses::{ActivationMaximization, TotalVariation};
use vis::model::EfficientNetLite0;
use vis::{Model, Optimizer, losses};

mod common;

fn main() -> vis::Result<()> {
    let model = EfficientNetLite0::bundled(&Default::default())?;
    let preset = model.preset();
    let losses = losses![
        (ActivationMaximization::new("predictions", 130), preset.act_max_weight), // flamingo
        (TotalVariation::default(), preset.tv_weight),
    ];
    let (gif_path, plot_path) = ("images/optimization.gif", "images/optimization_losses.png");
    let gif = GifGenerator::create(gif_path)?
        .clipped_to(model.input().range())
        .every(4)
        .delay(Duration::from_millis(80));
    let result = Optimizer::new(&model, losses)
        .preset(&preset)
        .callback(gif)
        .progress(common::told("flamingo"))
        .minimize()?;
    std::fs::create_dir_all("out").map_err(vis::Error::io("create", "out"))?;
    let table_path = "out/optimization_losses.csv";
    result.losses.save_csv(table_path)?;
    vis::picture::save(&result.losses.plot()?, plot_path)?;
    println!("best loss {:.2} at step {}", result.best_loss[0], result.best_step[0] + 1);
    for path in [gif_path, plot_path, table_path] {
        println!("wrote {path}");
    }
    Ok(())
}
