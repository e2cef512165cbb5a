//! The several faces of a unit: pictures of one filter that differ from each other, beside as many that only start from
//! other noise; how alike each row is, and what the difference costs.
//!
//! ```text
//! cargo run --example diverse                                # filter 9 of VGG16's block4_conv3, eight pictures
//! cargo run --example diverse -- block5_conv3 3 4 96 100 block4_conv3
//!     # layer, filter, pictures, their side, steps, the layer whose features are compared
//! ```

mod common;

use ndarray::Array2;
use vis::model::{Model, Vgg16};
use vis::picture::Grid;
use vis::visualization::Activations;
use vis::visualize_activation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, otherwise: usize| arguments.get(at).map_or(Ok(otherwise), |number| number.parse());
    let layer = arguments.first().map_or("block4_conv3", String::as_str);
    let (filter, count, side, steps) = (number(1, 9)?, number(2, 8)?, number(3, 112)?, number(4, 150)?);

    let features = arguments.get(5).map_or("block3_conv3", String::as_str);
    let model = Vgg16::bundled(&Default::default())?;
    let run = |what: &str| {
        visualize_activation(&model, layer).size(side, side).max_iter(steps).progress(common::told(what))
    };
    let plain = run("other noise").filter_indices(vec![filter; count]).run()?;
    let diverse = run("diverse").filter_indices([filter]).diverse(count).run()?;

    let (alike, different) = (likeness(&model, features, &plain)?, likeness(&model, features, &diverse)?);
    let mean = plain.iter().map(|picture| picture.after).sum::<f32>() / count as f32;
    let least = diverse.iter().map(|picture| picture.after).fold(f32::INFINITY, f32::min);
    println!(
        "mean pairwise cosine of the features of {features}: {alike:.3} by noise alone, {different:.3} diverse"
    );
    println!("the ratio is {:.2}", different / alike);
    println!(
        "mean activation {mean:.2} by noise alone; the least of the diverse has {:.2} of it",
        least / mean
    );

    let mut pictures = Vec::new();
    for made in [&plain, &diverse] {
        pictures.extend(made.iter().map(|picture| picture.picture()).collect::<Result<Vec<_>, _>>()?);
    }
    let title = format!("VGG16 {layer}, filter {filter}: by noise alone, and diverse");
    Ok(common::write(&Grid::new(&pictures).columns(count).title(title).render()?, "images/diverse.jpg")?)
}

/// The mean cosine similarity of all pairs of pictures, of the means of the layer's channels.
fn likeness(model: &Vgg16, layer: &str, pictures: &Activations) -> vis::Result<f32> {
    let mut features = Vec::new();
    for picture in pictures.iter() {
        let image =
            common::host::tensor4(picture.image.view().insert_axis(ndarray::Axis(0)), &model.device());
        features.push(common::host::values(model.activation(image, layer)?.mean_dims(&[2, 3])));
    }
    let channels = features[0].len();
    let features =
        Array2::from_shape_vec((features.len(), channels), features.concat()).expect("one row a picture");
    let lengths: Vec<f32> = features.outer_iter().map(|row| row.dot(&row).sqrt()).collect();
    let products = features.dot(&features.t());
    let pairs = (0..lengths.len()).flat_map(|one| (0..one).map(move |two| (one, two)));
    let cosines: Vec<f32> =
        pairs.map(|(one, two)| products[[one, two]] / (lengths[one] * lengths[two])).collect();
    Ok(cosines.iter().sum::<f32>() / cosines.len().max(1) as f32)
}
