//! How good are the maps? Deletion, insertion, average drop and increase and the pointing game of every method on the
//! bundled photos, and a figure a photo with all the maps.
//!
//! ```text
//! cargo run --release --example attribution_table                             # chelsea, coffee, rocket
//! cargo run --release --example attribution_table -- images/photos/chelsea.png  # these photos
//! ```
//!
//! Measured with the probability of the class that the network predicts: a *small* area under the deletion curve
//! is good, a *large* one under the insertion curve; their difference, by which the table is sorted, is 0 for
//! chance. A *small* drop is good, and a *large* increase: the share of the photos whose probability rises when only
//! what the map points at is shown. `hits` is the share of the photos whose map is highest within 15 pixels of the object's
//! box, of those that a box is known of. `weights` is the rank correlation of a map with that of the same network with
//! random weights: large means that the map shows the photo, not what the network has learned.
//!
//! Both curves exchange cells of 32×32 pixels, the stride of the network, for black: exchanged one by one, scattered
//! pixels ruin the texture everywhere, and noise beats every map that points at something. Deletion alone still does not
//! tell a good map on each photo: the cat fills its photo, and what is left of it without its face is an Egyptian cat to
//! the network all the more. Insertion and the difference do.
//!
//! The figure of a bundled photo is written to `images/attribution_NAME.jpg`, that of any other to `out/`.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use vis::attribution::{
    Attribution, Baseline, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, RandomMap, Rise,
    Saliency, SmoothGrad, Sobel, Statistic, magnitude,
};
use vis::metrics::{PixelCurve, RandomizationCheck, average_drop, pointing_game};
use vis::model::EfficientNetLite0;
use vis::picture::{self, ColorMap, Grid};
use vis::{Model, Result, Target};

#[allow(dead_code, reason = "no example needs all of it")]
#[path = "../src/host.rs"]
mod host;

struct Entry {
    name: &'static str,
    method: Box<dyn Attribution>,
    /// Whether its map is ranked by its size (gradients) or its signed value (all others).
    by_size: bool,
    /// Whether it is quick enough to be run again with random weights.
    quick: bool,
}

/// 1280 channels of 7×7: those that vary most tell as much, at a tenth of the time.
const ABLATION: &str = "Ablation-CAM, 128 ch.";
const SCORE: &str = "Score-CAM, 128 ch.";

/// The side of what is exchanged at once by deletion and insertion, in pixels: one position of the network's last map.
const CELL: usize = 32;

/// Where the object is in a bundled photo, as the network sees it: cut to a square and resized to 224×224.
const OBJECTS: [(&str, [Range<usize>; 2]); 3] = [
    ("chelsea", [0..224, 0..205]), // the head
    ("coffee", [8..160, 38..175]), // the cup
    ("rocket", [66..215, 105..122]),
];

fn methods() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |name, method: Box<dyn Attribution>, by_size| {
        let quick = !matches!(name, ABLATION | SCORE | "occlusion" | "RISE, 500 masks");
        entries.push(Entry { name, method, by_size, quick });
    };
    add("random", Box::new(RandomMap { seed: 0 }), false);
    add("edges", Box::new(Sobel), false);
    add("gradient", Box::new(Saliency::new()), true);
    add("gradient × input", Box::new(Saliency::new().times_input()), true);
    add("guided backprop", Box::new(Saliency::guided()), true);
    add("deconvolution", Box::new(Saliency::deconvolution()), true);
    add("SmoothGrad", Box::new(SmoothGrad::new(Saliency::new()).noise(0.05)), true);
    add(
        "SmoothGrad squared",
        Box::new(SmoothGrad::new(Saliency::new()).noise(0.05).statistic(Statistic::Squared)),
        true,
    );
    add(
        "VarGrad",
        Box::new(SmoothGrad::new(Saliency::new()).noise(0.05).statistic(Statistic::Variance)),
        true,
    );
    add("integrated gradients", Box::new(IntegratedGradients::new()), true);
    add("guided Grad-CAM", Box::new(GuidedGradCam::new()), true);
    for formula in Formula::ALL {
        let (name, cam) = match formula {
            Formula::AblationCam => (ABLATION, Cam::new(formula).max_channels(128).batch_size(32)),
            Formula::ScoreCam => (SCORE, Cam::new(formula).max_channels(128).batch_size(32)),
            _ => (formula.name(), Cam::new(formula)),
        };
        add(name, Box::new(cam), false);
    }
    add("occlusion", Box::new(Occlusion::new([48, 48]).stride([16, 16])), false);
    add("RISE, 500 masks", Box::new(Probability(Rise::new().masks(500))), false);
    entries
}

/// A method that is given the probability of the class instead of its logit.
#[derive(Debug)]
struct Probability(Rise);

impl Attribution for Probability {
    fn name(&self) -> String {
        self.0.name()
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        self.0.attribute(model, images, &target.as_probability())
    }
}

#[derive(Default)]
struct Row {
    deletion: f32,
    insertion: f32,
    drop: f32,
    increase: f32,
    hits: usize,
    weights: f32,
    time: Duration,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut photos: Vec<String> = std::env::args().skip(1).collect();
    if photos.is_empty() {
        photos =
            ["chelsea.png", "coffee.png", "rocket.jpg"].map(|name| format!("images/photos/{name}")).to_vec();
    }
    std::fs::create_dir_all("out")?;
    let model = EfficientNetLite0::bundled(&Default::default())?;
    let untrained = EfficientNetLite0::with_random_weights(0, &Default::default())?;
    let methods = methods();
    let mut rows: Vec<Row> = methods.iter().map(|_| Row::default()).collect();

    let mut boxes = 0;
    for path in &photos {
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let object = OBJECTS.iter().find(|(name, _)| *name == stem).map(|(_, object)| object.clone());
        boxes += usize::from(object.is_some());
        let image = picture::to_input(&picture::load(path)?, &model)?;
        let target = Target::predicted().resolved(&model, &image)?;
        let probability = target.as_probability();
        let photo = picture::from_tensor(image.clone(), model.input().range())?.remove(0);
        let class = host::array2(model.classify(image.clone())?);
        let class =
            (0..class.ncols()).max_by(|a, b| class[[0, *a]].total_cmp(&class[[0, *b]])).unwrap_or_default();
        let title = model.class_name(class).unwrap_or("?").to_owned();
        eprintln!("{path}: {title}, {:.0} %", 100.0 * probability.scores(&model, image.clone())?[0]);

        let mut pictures = vec![photo.clone()];
        let mut captions = vec!["photo".to_owned()];
        for (entry, row) in methods.iter().zip(&mut rows) {
            let start = Instant::now();
            let map = entry.method.attribute(&model, image.clone(), &target)?;
            row.time += start.elapsed();
            let map = if entry.by_size { magnitude(map) } else { map };
            let curve = |curve: PixelCurve| -> Result<f32> {
                let curve = curve.cell(CELL).baseline(Baseline::Black).steps(49);
                Ok(curve.evaluate(&model, image.clone(), map.clone(), &probability)?[0].area())
            };
            let (deletion, insertion) = (curve(PixelCurve::deletion())?, curve(PixelCurve::insertion())?);
            row.deletion += deletion;
            row.insertion += insertion;
            let shown = average_drop(&model, image.clone(), map.clone(), &probability, &Baseline::Black)?;
            row.drop += shown.drop;
            row.increase += shown.increase;
            if entry.quick {
                let check = RandomizationCheck::new(&*entry.method);
                let stages = [("all weights", &untrained)];
                let checked = &check.run(&model, image.clone(), &target, stages)?[0];
                row.weights +=
                    if entry.by_size { checked.correlation_of_magnitudes } else { checked.correlation };
            }
            eprintln!(
                "  {:22} deletion {deletion:.3}  insertion {insertion:.3}  {:.1?}",
                entry.name,
                start.elapsed()
            );

            if let Some([rows, columns]) = object.clone() {
                let map = host::array4(map.clone());
                let hit = pointing_game(map.slice(ndarray::s![0, 0, .., ..]), rows, columns, 15.0);
                row.hits += usize::from(hit);
            }
            let map = host::array4(map.clamp_min(0.0));
            let map = map.slice(ndarray::s![0, 0, .., ..]);
            let map = picture::normalize(map, picture::Sign::Unsigned, 99.5)?;
            pictures.push(if entry.by_size {
                picture::colorize(map.view(), ColorMap::Inferno)
            } else {
                picture::overlay_heat(&photo, map.view(), ColorMap::Jet, 0.5)?
            });
            captions.push(entry.name.to_owned());
        }
        let grid = Grid::new(&pictures).captions(captions).columns(7).title(title).render()?;
        let bundled = Path::new(path).parent() == Some(Path::new("images/photos"));
        let place = if bundled {
            format!("images/attribution_{stem}.jpg")
        } else {
            format!("out/attribution_{stem}.png")
        };
        picture::save(&grid, &place)?;
        eprintln!("wrote {place}");
    }

    let mut table: Vec<_> = methods.iter().zip(&rows).collect();
    table.sort_by(|(_, a), (_, b)| (b.insertion - b.deletion).total_cmp(&(a.insertion - a.deletion)));
    println!(
        "{:22} {:>10} {:>9} {:>9} {:>7} {:>9} {:>5} {:>8} {:>9}",
        "method", "difference", "deletion", "insertion", "drop", "increase", "hits", "weights", "time"
    );
    let count = photos.len() as f32;
    for (entry, row) in table {
        println!(
            "{:22} {:10.3} {:9.3} {:9.3} {:6.1}% {:8.0}% {:>5} {:>8} {:8.2}s",
            entry.name,
            (row.insertion - row.deletion) / count,
            row.deletion / count,
            row.insertion / count,
            100.0 * row.drop / count,
            100.0 * row.increase / count,
            if boxes > 0 { format!("{}/{boxes}", row.hits) } else { "–".into() },
            if entry.quick { format!("{:.2}", row.weights / count) } else { "–".into() },
            row.time.as_secs_f32() / count,
        );
    }
    Ok(())
}
