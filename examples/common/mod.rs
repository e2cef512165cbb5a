//! What several examples need.
#![allow(dead_code, reason = "no example needs all of it")]

#[path = "../../src/host.rs"]
pub(crate) mod host;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use image::RgbImage;
use vis::Progress;
use vis::model::{EfficientNetLite0, Model, Vgg16};
use vis::picture;
use vis::visualization::Activations;

/// VGG16 with its dense top, from a file of its full weights if one is named, or else the bundled EfficientNet-Lite0; and
/// the path of the figure, which for VGG16 is under `out/`.
pub(crate) fn classifier(weights: Option<String>, figure: &str) -> vis::Result<(Box<dyn Model>, String)> {
    let device = Default::default();
    let Some(weights) = weights else {
        return Ok((Box::new(EfficientNetLite0::bundled(&device)?), figure.into()));
    };
    let name = Path::new(figure).file_stem().unwrap_or_default().display().to_string();
    Ok((Box::new(Vgg16::from_file(weights, &device)?), format!("out/{name}_vgg16.jpg")))
}

/// Says on standard error how far the pictures of something are: in a line that is drawn over on a terminal, elsewhere in
/// a line at the beginning and at each quarter.
pub(crate) fn told(what: &str) -> impl FnMut(&Progress) -> ControlFlow<()> + Send + use<> {
    let what = what.to_owned();
    let watched = std::io::stderr().is_terminal();
    let (begun, mut quarters) = (Instant::now(), None);
    move |now| {
        let done = 4 * now.done / now.of.max(1);
        if watched {
            eprint!("\r{what}: {now}\x1b[K{}", if now.done == now.of { "\n" } else { "" });
        } else if quarters != Some(done) {
            quarters = Some(done);
            let (percent, seconds) = (100 * now.done / now.of.max(1), begun.elapsed().as_secs());
            let loss = now.loss.unwrap_or_default();
            eprintln!("{what}: {percent:3} %, {}, {seconds} s, loss {loss:.1}", now.stage);
        }
        ControlFlow::Continue(())
    }
}

/// Writes a figure, in a folder that is made if it is missing, and says so.
pub(crate) fn write(figure: &RgbImage, path: impl AsRef<Path>) -> vis::Result<()> {
    let path = path.as_ref();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(vis::Error::io("create", folder))?;
    }
    picture::save(figure, path)?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Saves each picture as an 8-bit PNG under `out/`, reads it back, asks the network what it is, and prints a table.
/// Gives the number of pictures that are classified as one of the classes they were made for.
pub(crate) fn feed_back(
    model: &dyn Model,
    pictures: &Activations,
    classes: &[Vec<usize>],
) -> vis::Result<usize> {
    std::fs::create_dir_all("out").map_err(vis::Error::io("create", "out"))?;
    println!("{:<28} {:>9} {:>9}   the network says", "wanted", "before", "after");
    let mut right = 0;
    for (index, (made, wanted)) in pictures.iter().zip(classes).enumerate() {
        let path = format!("out/fed_back_{index}.png");
        picture::save(&made.picture()?, &path)?;
        let seen = picture::to_tensor(&picture::load(&path)?, model)?;
        let shares = burn::tensor::activation::softmax(model.classify(seen)?, 1);
        let shares = host::values(shares);
        let best = (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or_default();
        let name = model.class_name(best).unwrap_or_default();
        right += usize::from(wanted.contains(&best));
        let (label, before, after, share) = (&made.label, made.before, made.after, 100.0 * shares[best]);
        println!("{label:<28} {before:9.2} {after:9.2}   {name} ({share:.1} %)");
    }
    println!("{right} of {} are what they were made for", pictures.len());
    Ok(right)
}
