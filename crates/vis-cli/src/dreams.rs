//! `vis dream`, `vis caricature` and `vis invert`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use vis::Progress;
use vis::optimizer::Minimized;
use vis::visualization::{caricature, deep_dream, invert};

use crate::failure::Outcome;
use crate::memory::{self, Pass};
use crate::network::{Network, NetworkOptions, Opened};
use crate::output::OutputOptions;
use crate::progress::{Ended, Line, Work};
use crate::report::{self, Report, described};
use crate::{options, photo};

#[derive(Debug, Args, Serialize)]
#[command(after_help = DREAM_EXAMPLES)]
pub(crate) struct DreamOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "vgg16")]
    model: Network,

    /// The photo: PNG, JPEG or WebP, or - for standard input
    #[arg(long, value_name = "PHOTO")]
    image: PathBuf,

    /// The layers to amplify: early ones give strokes, the middle eyes and fur, the last animals
    /// [default: one in the middle]
    #[arg(long, value_name = "LAYER", num_args = 1..)]
    layer: Vec<String>,

    /// A second photo, whose features are amplified instead
    #[arg(long, value_name = "PHOTO")]
    guide: Option<PathBuf>,

    /// Shrink the photo to this many pixels on its longest side
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The number of octaves: sizes of the photo, from the smallest to the full one
    #[arg(long, value_name = "N", default_value = "4", value_parser = options::count)]
    octaves: usize,

    /// The factor between two of these sizes, above 1
    #[arg(long, value_name = "FACTOR", default_value = "1.4", value_parser = options::positive::<f32>)]
    octave_scale: f32,

    /// The number of steps at each size
    #[arg(long, aliases = ["iterations", "steps"], value_name = "N", default_value = "10",
        value_parser = options::count)]
    max_iter: usize,

    /// The mean change of a pixel in a step, in 255ths of the range, up to 255
    #[arg(long, value_name = "CHANGE", default_value = "1.5", value_parser = options::positive::<f32>)]
    step_size: f32,

    /// The largest random shift between photo and network, in pixels
    #[arg(long, value_name = "PIXELS", default_value = "32", value_parser = options::pixels)]
    jitter: usize,

    /// The side of the tiles that large photos are cut into, in pixels
    #[arg(long, value_name = "PIXELS", default_value = "512", value_parser = options::side)]
    tile: usize,

    /// The seed of the shifts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    outputs: OutputOptions,
}

const DREAM_EXAMPLES: &str = "\
Examples:
  vis dream --image sky.jpg -o dream.jpg
  vis dream --image sky.jpg --layer block5_conv3 --octaves 6 --max-iter 20 -o animals.jpg
  vis dream --image sky.jpg --guide flowers.jpg --size 768 -o flowery.jpg

The numbers of --raw are the dream in the network's input range, [1, channels, height, width]. Ctrl-C ends the
dream and writes it as it is.";

impl DreamOptions {
    pub(crate) fn run(self) -> Outcome {
        let inputs = [Some(&self.image), self.guide.as_ref(), self.network.weights.as_ref()];
        let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        self.outputs.check(&inputs)?;
        let mut report = Report::new("dream", &self, self.outputs.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        photo::check_choice(model, "--size", self.size)?;
        let photo = photo::whole(&self.image, model, self.size.map(|side| side as u32))?;
        self.check_memory(&opened, &photo)?;
        let mut dream = deep_dream(model, photo.image)
            .octaves(self.octaves)
            .octave_scale(self.octave_scale)
            .max_iter(self.max_iter)
            .step_size(self.step_size)
            .jitter(self.jitter)
            .tile(self.tile)
            .seed(self.seed);
        if let Some(guide) = &self.guide {
            dream = dream.guide(photo::at_input_size(guide, model)?.image);
        }
        if !self.layer.is_empty() {
            dream = dream.layers(&self.layer);
        }

        let work = Work::begin();
        let line = work.line();
        let dreamt = dream.progress(|now| told(&line, now)).run();
        let ended = work.end();
        let dream = dreamt?;
        report.say(format!("dreamt at {}", dream.layers.join(", ")));
        report.set("layers", dream.layers.clone());
        let losses = dream.losses.totals();
        if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
            report.say(format!("loss {first:.4} → {last:.4} in {} steps", dream.losses.steps()));
        }
        report.set("losses", report::losses(&dream.losses));
        report.set("interrupted", ended.interrupted);
        let image = crate::host::array4(dream.image.clone()).into_dyn();
        report.set("raw", described(&image.view()));
        let range = model.input().range();
        self.outputs.write_picture(&mut report, || drawn(dream.image, range))?;
        self.outputs.write_raw(&mut report, image.view())?;
        self.outputs.write_losses(&mut report, &[&dream.losses])?;
        report.print()?;
        ended.verdict()
    }

    /// Refuses tiles that do not fit in memory.
    fn check_memory(&self, opened: &Opened, photo: &photo::Photo) -> Outcome {
        let input = opened.model.input();
        let [_, _, height, width] = photo.image.dims();
        let size = match input.smallest() {
            // The last tile of a row may be larger by its margin and what is too narrow for one of its own.
            Some(_) => (height.min(self.tile + 64), width.min(self.tile + 64)),
            None => input.size(),
        };
        let advice = "take a smaller --tile";
        let run = memory::Run { what: "a tile", size, layers: &self.layer, pass: Pass::Backward, advice };
        memory::check_run(opened, &run)
    }
}

#[derive(Debug, Args, Serialize)]
#[command(after_help = CARICATURE_EXAMPLES)]
pub(crate) struct CaricatureOptions {
    #[command(flatten)]
    #[serde(flatten)]
    redraw: RedrawOptions,

    /// The layer [default: one in the middle]
    #[arg(long, value_name = "LAYER")]
    layer: Option<String>,

    /// The power of the cosine: more keeps closer to the photo
    #[arg(long, value_name = "POWER", default_value = "1", value_parser = options::weight)]
    power: f32,

    /// The largest random shift between picture and network, in pixels
    #[arg(long, value_name = "PIXELS", default_value = "4", value_parser = options::pixels)]
    jitter: usize,
}

const CARICATURE_EXAMPLES: &str = "\
Examples:
  vis caricature --image cat.jpg -o caricature.png
  vis caricature --image cat.jpg --layer block5_conv2 --power 2 -o closer.png

The numbers of --raw are the picture in the network's input range, [1, channels, height, width]. Ctrl-C ends the
run and writes the best picture so far.";

#[derive(Debug, Args, Serialize)]
#[command(after_help = INVERT_EXAMPLES)]
pub(crate) struct InvertOptions {
    #[command(flatten)]
    #[serde(flatten)]
    redraw: RedrawOptions,

    /// The layer
    #[arg(long, value_name = "LAYER")]
    layer: String,

    /// The weight of total variation, which makes the picture smooth
    #[arg(long, alias = "tv", value_name = "WEIGHT", default_value = "1", value_parser = options::weight)]
    tv_weight: f32,
}

const INVERT_EXAMPLES: &str = "\
Examples:
  vis invert --image cat.jpg --layer block3_conv3 -o remembered.png
  vis invert --image cat.jpg --layer block5_conv3 --max-iter 400 -o half-forgotten.png

The numbers of --raw are the picture in the network's input range, [1, channels, height, width]. Ctrl-C ends the
run and writes the best picture so far.";

/// What caricature and inversion share.
#[derive(Debug, Args, Serialize)]
struct RedrawOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "vgg16")]
    model: Network,

    /// The photo: PNG, JPEG or WebP, or - for standard input
    #[arg(long, value_name = "PHOTO")]
    image: PathBuf,

    /// The side of the picture in pixels, for networks that take any size [default: the network's]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The number of steps
    #[arg(long, aliases = ["iterations", "steps"], value_name = "N", default_value = "200",
        value_parser = options::count)]
    max_iter: usize,

    /// The learning rate of Adam
    #[arg(long, value_name = "RATE", default_value = "0.05", value_parser = options::positive::<f64>)]
    learning_rate: f64,

    /// The seed of the noise to start from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    outputs: OutputOptions,
}

impl RedrawOptions {
    /// The network, and the photo at the size of the picture.
    fn open(&self, report: &mut Report, layer: &str) -> Outcome<(Opened, photo::Photo)> {
        let inputs = [Some(&self.image), self.network.weights.as_ref()];
        let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        self.outputs.check(&inputs)?;
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let input = opened.model.input();
        let size = self.size.map_or(input.size(), |side| (side, side));
        input.check([1, input.channels(), size.0, size.1])?;
        memory::check(&opened, layer, size)?;
        let photo = photo::at_size(&self.image, opened.model.as_ref(), size)?;
        Ok((opened, photo))
    }
}

impl CaricatureOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("caricature", &self, self.redraw.outputs.json.json);
        let layer = self.layer.as_deref().unwrap_or_default();
        let (opened, photo) = self.redraw.open(&mut report, layer)?;
        let mut drawing = caricature(opened.model.as_ref(), photo.image)
            .power(self.power)
            .jitter(self.jitter)
            .max_iter(self.redraw.max_iter)
            .learning_rate(self.redraw.learning_rate)
            .seed(self.redraw.seed);
        if let Some(layer) = &self.layer {
            drawing = drawing.layer(layer);
        }
        let layer = drawing.chosen_layer()?;
        report.say(format!("drawn at {layer}"));
        report.set("layer", layer);
        let work = Work::begin();
        let line = work.line();
        let drawn = drawing.progress(|now| told(&line, now)).run();
        let ended = work.end();
        finish(report, &self.redraw.outputs, &opened, &drawn?, ended)
    }
}

impl InvertOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("invert", &self, self.redraw.outputs.json.json);
        let (opened, photo) = self.redraw.open(&mut report, &self.layer)?;
        let inversion = invert(opened.model.as_ref(), photo.image, &self.layer)
            .tv_weight(self.tv_weight)
            .max_iter(self.redraw.max_iter)
            .learning_rate(self.redraw.learning_rate)
            .seed(self.redraw.seed);
        let work = Work::begin();
        let line = work.line();
        let inverted = inversion.progress(|now| told(&line, now)).run();
        let ended = work.end();
        finish(report, &self.redraw.outputs, &opened, &inverted?, ended)
    }
}

/// Draws the line of a step.
pub(crate) fn told(line: &Line, now: &Progress) -> std::ops::ControlFlow<()> {
    line.at(now.done, now.of, || format!("{}  loss {:.3}", now.stage, now.loss.unwrap_or_default()))
}

/// Reports and writes what a run found.
pub(crate) fn finish(
    mut report: Report,
    outputs: &OutputOptions,
    opened: &Opened,
    found: &Minimized,
    ended: Ended,
) -> Outcome {
    let totals = found.losses.totals();
    if let (Some(first), Some(best)) = (totals.first(), found.best_loss.first()) {
        report.say(format!("loss {first:.4} → {best:.4} in {} steps", found.losses.steps()));
    }
    report.set("losses", report::losses(&found.losses));
    report.set("best_loss", found.best_loss.first().copied());
    report.set("best_step", found.best_step.first().copied());
    report.set("interrupted", ended.interrupted);
    let image = found.array().into_dyn();
    report.set("raw", described(&image.view()));
    let range = opened.model.input().range();
    outputs.write_picture(&mut report, || drawn(found.image.clone(), range))?;
    outputs.write_raw(&mut report, image.view())?;
    outputs.write_losses(&mut report, &[&found.losses])?;
    report.print()?;
    ended.verdict()
}

/// The first of a batch of images as a picture.
fn drawn(image: burn::tensor::Tensor<4>, range: (f32, f32)) -> vis::Result<image::RgbImage> {
    let pictures = vis::picture::from_tensor(image, range)?;
    let picture = pictures.into_iter().next();
    let none = || vis::Error::InvalidParameter {
        name: "the picture",
        expected: "one image".into(),
        got: "none".into(),
    };
    picture.ok_or_else(none)
}
