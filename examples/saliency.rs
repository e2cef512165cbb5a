//! Which pixels make a photo what it is: gradient, SmoothGrad and guided backprop beside the photo.
//!
//! ```text
//! cargo run --example saliency                                              # the cat, for the class predicted
//! cargo run --example saliency -- images/photos/coffee.png 967 coffee.png   # photo, class, file
//! ```

use vis::model::EfficientNetLite0;
use vis::picture::{self, Opacity};
use vis::{Rule, visualize_saliency};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().unwrap_or_else(|| "images/photos/chelsea.png".into());
    let class: Option<usize> = arguments.next().map(|class| class.parse()).transpose()?;
    let path = arguments.next().unwrap_or_else(|| "out/saliency.png".into());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder)?;
    }

    let model = EfficientNetLite0::bundled(&Default::default())?;
    let image = picture::to_input(&picture::load(photo)?, &model)?;
    let saliency = || {
        let saliency = visualize_saliency(&model, image.clone());
        match class {
            Some(class) => saliency.filter_indices(class),
            None => saliency,
        }
    };
    let gradient = saliency().run()?;
    // This network forgets the photo under the usual noise of 0.15; blurred, the map can be seen from afar.
    let smooth = saliency().smooth(25).noise(0.05).blur(3.0).run()?;
    let guided = saliency().rule(Rule::Guided).run()?;
    println!("{}", gradient.label);

    let over = smooth.overlay(Opacity::FollowsMap(1.0))?;
    let pictures = [
        ("photo", &gradient.overlay(0.0)?),
        ("gradient", &gradient.picture()),
        ("SmoothGrad", &smooth.picture()),
        ("guided backprop", &guided.picture()),
        ("SmoothGrad over the photo", &over),
    ];
    picture::save(&picture::panel(&pictures, Some(&gradient.title()))?, &path)?;
    println!("wrote {path}");
    Ok(())
}
