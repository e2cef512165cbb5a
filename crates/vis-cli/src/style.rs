//! `vis style` and `vis texture`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use vis::model::UpdateRule;
use vis::visualization::{StyleStart, StyleTransfer, Texture, style_transfer, texture};

use crate::dreams::{finish, told};
use crate::failure::{Failure, Outcome};
use crate::memory::{self, Pass};
use crate::network::{Network, NetworkOptions, Opened};
use crate::output::OutputOptions;
use crate::progress::Work;
use crate::report::Report;
use crate::{options, photo};

#[derive(Debug, Args, Serialize)]
#[command(after_help = STYLE_EXAMPLES)]
pub(crate) struct StyleOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "vgg16")]
    model: Network,

    /// The photo to repaint, or - for standard input
    #[arg(long, value_name = "PHOTO")]
    content: PathBuf,

    /// The painting; several are blended
    #[arg(long, value_name = "PAINTING", num_args = 1.., required = true)]
    style: Vec<PathBuf>,

    /// The share of each painting, in their order [default: equal]
    #[arg(long, value_name = "SHARE", num_args = 1.., value_parser = options::positive::<f32>)]
    share: Vec<f32>,

    /// Shrink the photo to this many pixels on its longest side, for networks that take any size [default: 512]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The number of steps at the first, coarsest size; each finer one takes half as many
    #[arg(long, aliases = ["iterations", "steps"], value_name = "N", default_value = "200",
        value_parser = options::count)]
    max_iter: usize,

    /// The weight of the photo: more keeps more of it
    #[arg(long, value_name = "WEIGHT", default_value = "0.05", value_parser = options::weight)]
    content_weight: f32,

    /// The weight of the paintings
    #[arg(long, value_name = "WEIGHT", default_value = "1", value_parser = options::weight)]
    style_weight: f32,

    /// The weight of total variation, which makes the picture smooth
    #[arg(long, alias = "tv", value_name = "WEIGHT", default_value = "0.01", value_parser = options::weight)]
    tv_weight: f32,

    /// The size of the paintings relative to the photo: larger ones give larger strokes
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = options::positive::<f32>)]
    style_scale: f32,

    /// Keep the photo's colours
    #[arg(long)]
    keep_colors: bool,

    /// Where to start
    #[arg(long, value_name = "START", default_value = "photo")]
    start: Start,

    /// How the picture is moved
    #[arg(long, value_name = "HOW", default_value = "adam")]
    descent: How,

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

const STYLE_EXAMPLES: &str = "\
Examples:
  vis style --content cat.jpg --style starry_night.jpg -o painted.jpg
  vis style --content cat.jpg --style starry_night.jpg wave.jpg --share 2 1 --size 1024 -o both.jpg
  vis style --content cat.jpg --style starry_night.jpg --keep-colors --start noise --seed 3 -o free.jpg

The numbers of --raw are the picture in the network's input range, [1, channels, height, width]; --losses are
those of all sizes, from the coarsest to the finest. Ctrl-C ends the run and writes the picture as it is.";

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// From the photo
    Photo,
    /// From noise: freer
    Noise,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// By L-BFGS
    Lbfgs,
    /// By Adam
    Adam,
}

impl How {
    fn rule(self) -> UpdateRule {
        match self {
            Self::Lbfgs => UpdateRule::Lbfgs,
            Self::Adam => UpdateRule::Adam,
        }
    }
}

impl StyleOptions {
    pub(crate) fn run(self) -> Outcome {
        if !self.share.is_empty() && self.share.len() != self.style.len() {
            let (shares, paintings) = (self.share.len(), self.style.len());
            return Err(Failure::misuse(format!("there are {shares} of --share for {paintings} of --style")));
        }
        let inputs = [&self.content].into_iter().chain(&self.style).chain(&self.network.weights);
        self.outputs.check(&inputs.map(PathBuf::as_path).collect::<Vec<&Path>>())?;
        let mut report = Report::new("style", &self, self.outputs.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        photo::check_choice(model, "--size", self.size)?;
        let longest = self.size.unwrap_or(512);
        if model.input().smallest().is_some() {
            report.setting("size", longest);
        }
        let content = photo::whole(&self.content, model, Some(longest as u32))?;
        let [_, _, height, width] = content.image.dims();
        // The network sees the photo in a frame.
        let frame = model.input().smallest().map_or(0, |_| 2 * StyleTransfer::FRAME);
        memory::check(&opened, "", (height + frame, width + frame))?;
        let mut paintings = Vec::new();
        for (index, path) in self.style.iter().enumerate() {
            // Larger than it will be used is a waste of memory.
            let longest = (longest as f32 * self.style_scale.max(1.0)) as u32;
            let painting = photo::whole(path, model, Some(longest))?;
            let advice = "take a smaller --style-scale or --size";
            check_read(&opened, "a painting", &painting, advice)?;
            paintings.push((painting.image, self.share.get(index).copied().unwrap_or(1.0)));
        }
        let mut paintings = paintings.into_iter();
        let Some((first, first_share)) = paintings.next() else {
            return Err(Failure::misuse("--style needs a painting"));
        };
        let mut transfer = style_transfer(model, content.image, first)
            .max_iter(self.max_iter)
            .content_weight(self.content_weight)
            .style_weight(self.style_weight)
            .tv_weight(self.tv_weight)
            .style_scale(self.style_scale)
            .update(self.descent.rule())
            .seed(self.seed)
            .start(match self.start {
                Start::Photo => StyleStart::Photo,
                Start::Noise => StyleStart::Noise,
            });
        for (painting, share) in paintings {
            // The first painting has the share 1.
            transfer = transfer.blend(painting, share / first_share);
        }
        if self.keep_colors {
            transfer = transfer.keep_colors();
        }
        let (content_layer, style_layers) = transfer.chosen_layers()?;
        report.set("content_layer", content_layer);
        report.set("style_layers", weighted(style_layers));
        let work = Work::begin();
        let line = work.line();
        let painted = transfer.progress(|now| told(&line, now)).run();
        let ended = work.end();
        finish(report, &self.outputs, &opened, &painted?, ended)
    }
}

#[derive(Debug, Args, Serialize)]
#[command(after_help = TEXTURE_EXAMPLES)]
pub(crate) struct TextureOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "vgg16")]
    model: Network,

    /// The sample: PNG, JPEG or WebP, or - for standard input
    #[arg(long, value_name = "PHOTO")]
    image: PathBuf,

    /// Shrink the sample to this many pixels on its longest side, for networks that take any size [default: 256]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    sample_size: Option<usize>,

    /// The side of the texture in pixels [default: the shape of the sample]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The number of steps at the first, coarsest size; each finer one takes half as many
    #[arg(long, aliases = ["iterations", "steps"], value_name = "N", default_value = "200",
        value_parser = options::count)]
    max_iter: usize,

    /// The layers that see the texture [default: one at each size of maps]
    #[arg(long, value_name = "LAYER", num_args = 1..)]
    layer: Vec<String>,

    /// How the picture is moved
    #[arg(long, value_name = "HOW", default_value = "adam")]
    descent: How,

    /// The seed of the noise to start from: another seed, another piece of the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    outputs: OutputOptions,
}

const TEXTURE_EXAMPLES: &str = "\
Examples:
  vis texture --image bricks.jpg -o wall.png
  vis texture --image starry_night.jpg --size 512 --seed 2 -o sky.png

The numbers of --raw are the texture in the network's input range, [1, channels, height, width]; --losses are those
of all sizes, from the coarsest to the finest. Ctrl-C ends the run and writes the texture as it is.";

impl TextureOptions {
    pub(crate) fn run(self) -> Outcome {
        let inputs = [&self.image].into_iter().chain(&self.network.weights);
        self.outputs.check(&inputs.map(PathBuf::as_path).collect::<Vec<&Path>>())?;
        let mut report = Report::new("texture", &self, self.outputs.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        photo::check_choice(model, "--sample-size", self.sample_size)?;
        let longest = self.sample_size.unwrap_or(256);
        let any_size = model.input().smallest().is_some();
        if any_size {
            report.setting("sample_size", longest);
        }
        let sample = photo::whole(&self.image, model, Some(longest as u32))?;
        check_read(&opened, "a sample", &sample, "take a smaller --sample-size")?;
        let [_, channels, height, width] = sample.image.dims();
        let (height, width) = self.size.map_or((height, width), |side| (side, side));
        model.input().check([1, channels, height, width])?;
        // The network sees copies of the texture around it.
        let wrap = if any_size { 2 * Texture::WRAP } else { 0 };
        let size = (height + wrap, width + wrap);
        let advice = "take a smaller --size";
        let run = memory::Run {
            what: "a texture with its surroundings",
            size,
            layers: &self.layer,
            pass: Pass::Backward,
            advice,
        };
        memory::check_run(&opened, &run)?;
        let mut weaving = texture(model, sample.image)
            .size(height, width)
            .max_iter(self.max_iter)
            .update(self.descent.rule())
            .seed(self.seed);
        if !self.layer.is_empty() {
            weaving = weaving.layers(self.layer.iter().map(|layer| (layer, 1.0)));
        }
        report.set("layers", weighted(weaving.chosen_layers()?));
        let work = Work::begin();
        let line = work.line();
        let woven = weaving.progress(|now| told(&line, now)).run();
        let ended = work.end();
        finish(report, &self.outputs, &opened, &woven?, ended)
    }
}

/// Refuses a picture whose features can't be read in the memory that is free.
fn check_read(opened: &Opened, what: &str, picture: &photo::Photo, advice: &str) -> Outcome {
    let [_, _, height, width] = picture.image.dims();
    let run = memory::Run { what, size: (height, width), layers: &[], pass: Pass::Forward, advice };
    memory::check_run(opened, &run)
}

/// Layers with their weights, for the summary.
fn weighted(layers: Vec<(String, f32)>) -> Value {
    layers.into_iter().map(|(layer, weight)| json!({ "layer": layer, "weight": weight })).collect()
}
