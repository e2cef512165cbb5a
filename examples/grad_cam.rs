//! Where a photo holds the evidence for a class: Grad-CAM and its sharper relatives over the photo.
//!
//! ```text
//! cargo run --example grad_cam                                              # the cat, for the class predicted
//! cargo run --example grad_cam -- images/photos/coffee.png 967 coffee.png   # photo, class, file
//! ```

use vis::attribution::Formula;
use vis::model::EfficientNetLite0;
use vis::{picture, visualize_cam};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().unwrap_or_else(|| "images/photos/chelsea.png".into());
    let class: Option<usize> = arguments.next().map(|class| class.parse()).transpose()?;
    let path = arguments.next().unwrap_or_else(|| "out/grad_cam.png".into());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder)?;
    }

    let model = EfficientNetLite0::bundled(&Default::default())?;
    let image = picture::to_input(&picture::load(photo)?, &model)?;
    let cam = || {
        let cam = visualize_cam(&model, image.clone());
        match class {
            Some(class) => cam.filter_indices(class),
            None => cam,
        }
    };
    let last = cam().run()?;
    let deeper = "blocks.10";
    let earlier = cam().formula(Formula::LayerCam).penultimate_layer(deeper).run()?;
    let place = last.layer.clone().unwrap_or_default();
    println!("{}, at {place}", last.label);

    let (over, earlier) = (last.overlay(0.5)?, earlier.overlay(0.5)?);
    let pictures = [
        ("photo".to_owned(), &last.overlay(0.0)?),
        (format!("Grad-CAM at {place}"), &over),
        (format!("LayerCAM at {deeper}"), &earlier),
    ];
    let pictures: Vec<_> = pictures.iter().map(|(caption, picture)| (caption.as_str(), *picture)).collect();
    picture::save(&picture::panel(&pictures, Some(&last.title()))?, &path)?;
    println!("wrote {path}");
    Ok(())
}
