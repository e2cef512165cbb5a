//! The sweep by which the presets were chosen: pictures of classes or filters under changed settings, and what is left of
//! their activation on the picture in 8 bits and on shifted pictures.
//!
//! ```text
//! cargo run --example presets -- NAME=VALUE ...
//!     model=lite0|vgg16|digits|FILE.onnx   layer=predictions   filters=0,1,2   preset=own|robust|maco|keras-vis
//!     batch=4   size=224   seed=0   out=FILE.npy
//!     max_iter= learning_rate= decay= jitter= scales=a,b,.. rotations=a,b,.. sizes=a,b,.. crop=a,b noise= average=
//!     odds= tv_weight= lp_norm_weight= warm_up=
//! ```
//!
//! `examples/transfer.py` asks other networks what they take the pictures in `out` for.

use std::collections::HashMap;
use std::time::Instant;

use burn::tensor::Tensor;
use ndarray::{Axis, stack};
use vis::model::{Digits, EfficientNetLite0, Model, Preset, Prior, Vgg16};
use vis::transforms::{Jitter, Transform};
use vis::{Target, visualize_activation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: HashMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| match argument.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("`{argument}` is not NAME=VALUE")),
        })
        .collect::<Result<_, _>>()?;
    let text = |name: &str| given.get(name).map(String::as_str);
    let number = |name: &str| text(name).map(str::parse::<f32>).transpose();
    let whole = |name: &str| text(name).map(str::parse::<usize>).transpose();
    let numbers = |name: &str| -> Result<Option<Vec<f32>>, _> {
        text(name)
            .map(|list| list.split(',').filter(|it| !it.is_empty()).map(str::parse).collect())
            .transpose()
    };

    let device = Default::default();
    let model: Box<dyn Model> = match text("model").unwrap_or("lite0") {
        "lite0" => Box::new(EfficientNetLite0::bundled(&device)?),
        "vgg16" => Box::new(Vgg16::bundled(&device)?),
        "digits" => Box::new(Digits::bundled(&device)?),
        #[cfg(feature = "onnx")]
        file => Box::new(vis::model::Onnx::open(file, vis::model::Preprocessing::imagenet())?),
        #[cfg(not(feature = "onnx"))]
        file => return Err(format!("no network `{file}`").into()),
    };
    let model = model.as_ref();
    let mut preset = match text("preset").unwrap_or("own") {
        "own" => model.preset(),
        "robust" => Preset::for_input(model.input()),
        "maco" => Preset::maco(),
        "keras-vis" => Preset::keras_vis(),
        other => return Err(format!("no preset `{other}`").into()),
    };
    preset.max_iter = whole("max_iter")?.unwrap_or(preset.max_iter);
    preset.warm_up = whole("warm_up")?.unwrap_or(preset.warm_up);
    preset.learning_rate = number("learning_rate")?.map_or(preset.learning_rate, f64::from);
    preset.jitter = number("jitter")?.unwrap_or(preset.jitter);
    preset.odds = number("odds")?.unwrap_or(preset.odds);
    preset.noise = number("noise")?.unwrap_or(preset.noise);
    preset.average = number("average")?.unwrap_or(preset.average);
    preset.tv_weight = number("tv_weight")?.unwrap_or(preset.tv_weight);
    preset.lp_norm_weight = number("lp_norm_weight")?.unwrap_or(preset.lp_norm_weight);
    preset.scales = numbers("scales")?.unwrap_or(preset.scales);
    preset.rotations = numbers("rotations")?.unwrap_or(preset.rotations);
    preset.sizes = numbers("sizes")?.unwrap_or(preset.sizes);
    if let Some(crop) = numbers("crop")? {
        preset.crop = match crop[..] {
            [from, to] => Some((from, to)),
            _ => None,
        };
    }
    if let Some(decay) = number("decay")? {
        preset.prior = Prior::Fourier { decay };
    }

    let layer = text("layer").or(model.logits()).ok_or("which layer?")?.to_owned();
    let filters: Vec<usize> =
        text("filters").ok_or("which filters?")?.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let (height, width) = whole("size")?.map_or(model.input().size(), |side| (side, side));
    let begun = Instant::now();
    let mut pictures = Vec::new();
    for some in filters.chunks(whole("batch")?.unwrap_or(4)) {
        let run = visualize_activation(model, layer.as_str()).filter_indices(some.iter().copied());
        let run = run.preset(preset.clone()).seed(whole("seed")?.unwrap_or(0) as u64);
        let run = if text("size").is_some() { run.size(height, width) } else { run };
        pictures.extend(run.run()?.iter().cloned());
    }
    let seconds = begun.elapsed().as_secs_f32() / filters.len() as f32;

    println!("{:<28} {:>9} {:>9} {:>7} {:>9}", "", "start", "picture", "8 bits", "shifted");
    for (picture, &filter) in pictures.iter().zip(&filters) {
        let bytes = vis::picture::to_input(&picture.picture()?, model)?;
        let target = Target::channel(layer.as_str(), filter);
        let score = |image: Tensor<4>| Ok::<f32, vis::Error>(target.scores(model, image)?[0]);
        let mut random = vis::random::stream(1, 0);
        let shifted = (0..8).map(|_| score(Jitter::Fraction(0.05).apply(bytes.clone(), &mut random)));
        let shifted = shifted.sum::<Result<f32, _>>()? / 8.0;
        let (before, after) = (picture.before, picture.after);
        println!("{:<28} {before:9.2} {after:9.2} {:7.2} {shifted:9.2}", picture.label, score(bytes)?);
    }
    println!("{seconds:.1} s a picture");
    if let Some(path) = text("out") {
        let views: Vec<_> = pictures.iter().map(|picture| picture.image.view()).collect();
        ndarray_npy::write_npy(path, &stack(Axis(0), &views)?)?;
        let grid = pictures.iter().map(|picture| picture.picture()).collect::<Result<Vec<_>, _>>()?;
        let captions = pictures.iter().map(|picture| picture.label.clone());
        let grid = vis::picture::Grid::new(&grid).captions(captions).columns(5).render()?;
        vis::picture::save(&grid, std::path::Path::new(path).with_extension("png"))?;
    }
    Ok(())
}
