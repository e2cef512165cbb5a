//! What several examples need.

use vis::model::Model;
use vis::picture;
use vis::visualization::Activations;

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
        let shares = vis::host::values(shares);
        let best = (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or_default();
        let name = model.class_name(best).unwrap_or_default();
        right += usize::from(wanted.contains(&best));
        let (label, before, after, share) = (&made.label, made.before, made.after, 100.0 * shares[best]);
        println!("{label:<28} {before:9.2} {after:9.2}   {name} ({share:.1} %)");
    }
    println!("{right} of {} are what they were made for", pictures.len());
    Ok(right)
}
