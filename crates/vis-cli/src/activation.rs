//! `vis activation`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ndarray::Axis;
use serde::Serialize;
use serde_json::{Value, json};
use vis::Error;
use vis::model::{Layer, Model, Preset};
use vis::optimizer::Normalization;
use vis::visualization::{Activations, Unfinished, visualize_activation};

use crate::failure::{Failure, Outcome};
use crate::network::{Named, Network, NetworkOptions, Opened};
use crate::output::OutputOptions;
use crate::progress::Work;
use crate::report::{self, Report, described};
use crate::{filters, judge, memory, options, photo};

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ActivationOptions {
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: Network,

    /// The layer, as `vis layers` names it
    #[arg(long, value_name = "LAYER")]
    layer: String,

    #[command(flatten)]
    #[serde(flatten)]
    which: Which,

    /// The side of the pictures in pixels, for networks that take any size [default: the network's]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The number of steps [default: the network's preset]
    #[arg(long, aliases = ["iterations", "steps"], value_name = "N", value_parser = options::count)]
    max_iter: Option<usize>,

    /// The weight of total variation, which makes pictures smooth [default: the network's preset]
    #[arg(long, alias = "tv", value_name = "WEIGHT", value_parser = options::weight)]
    tv_weight: Option<f32>,

    /// The weight of the L-p norm, which keeps pixels from extremes [default: the network's preset]
    #[arg(long, alias = "lp", value_name = "WEIGHT", value_parser = options::weight)]
    lp_norm_weight: Option<f32>,

    /// The largest random shift between picture and network: a whole number of pixels, or a fraction of the
    /// side such as 0.05 [default: the network's preset]
    #[arg(long, value_name = "JITTER", value_parser = jitter)]
    jitter: Option<Shift>,

    /// How the gradient is normalised before each step
    #[arg(long, value_name = "HOW", default_value = "rms")]
    normalize: Normalize,

    /// The learning rate [default: the network's preset]
    #[arg(long, value_name = "RATE", value_parser = options::positive::<f64>)]
    learning_rate: Option<f64>,

    /// All settings at once, before those given [default: the network's own]
    #[arg(long, value_name = "PRESET")]
    preset: Option<PresetName>,

    /// What to start from instead of noise: a picture, or an array in the network's input range, one image for
    /// all or one for each; - for standard input
    #[arg(long, alias = "seed-image", value_name = "P.png|A.npy")]
    seed_img: Option<PathBuf>,

    /// So many pictures of each target, which differ: the several faces of a filter, in a row
    #[arg(long, value_name = "N", value_parser = options::count, default_value_t = 1)]
    diverse: usize,

    /// A photo to start from and to stay near: what in it excites the target is made stronger
    #[arg(long, value_name = "PHOTO", conflicts_with = "seed_img")]
    accentuate: Option<PathBuf>,

    /// How near to the photo --accentuate stays: the weight of the distance of their features
    #[arg(long, value_name = "WEIGHT", value_parser = options::weight, default_value_t = 1.0, requires = "accentuate")]
    nearness: f32,

    /// Say how good each picture is: what of its activation is left in 8 bits and when shifted, how its spectrum falls beside
    /// that of photographs, how colourful it is, and what another network takes it for
    #[arg(long)]
    judge: bool,

    /// The other network that judges [default: efficientnet-lite0, of colour pictures of other networks]
    #[arg(long, value_name = "MODEL", requires = "judge")]
    judge_model: Option<Network>,

    /// The seed of all randomness: the same seed gives the same picture of a filter, whatever is made beside it
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// The picture as a PNG that is transparent where the run changed nothing, of presets that know it (maco) and of
    /// --accentuate; several are numbered
    #[arg(long, value_name = "A.png", help_heading = "Results")]
    alpha: Option<PathBuf>,

    /// An animation of the steps to write; several, numbered, if the pictures do not fit in memory together
    #[arg(long, value_name = "G.gif", help_heading = "Results")]
    gif: Option<PathBuf>,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    outputs: OutputOptions,
}

const EXAMPLES: &str = "\
Examples:
  vis activation --model vgg16 --layer block5_conv3 --sample 16 --size 128 -o filters.png
  vis activation --model vgg16 --layer block3_conv3 --filter 7 20-23 -o five.png --gif five.gif
  vis activation --model efficientnet-lite0 --layer predictions --filter \"water ouzel\" 20+71 -o ouzel.png
  vis activation --model vgg16 --layer block4_conv3 --filter 9 --size 160 --diverse 4 --judge -o faces.png
  vis activation --model efficientnet-lite0 --layer predictions --filter \"Egyptian cat\" --accentuate cat.jpg --alpha cat.png
  vis activation --model digits --layer predictions --all -o digits.png --losses losses.csv

The numbers of --raw are the best images in the network's input range, [pictures, channels, height, width].
Ctrl-C ends the run and writes what there is; twice, and nothing is written.";

/// Which filters.
#[derive(Debug, Args, Serialize)]
#[group(required = true, multiple = false)]
struct Which {
    /// The filters, one a picture: a number, a range such as 4-9, or several in one picture such as 20+71; of
    /// class scores also a class by name
    #[arg(long, value_name = "FILTER", num_args = 1..)]
    filter: Vec<String>,

    /// Every filter of the layer
    #[arg(long)]
    all: bool,

    /// So many filters of the layer, drawn by the seed
    #[arg(long, value_name = "N", value_parser = options::count)]
    sample: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Normalize {
    /// Divided by its root mean square
    Rms,
    /// Divided by its length
    L2,
    /// As it is
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum PresetName {
    /// Those of keras-vis: pixels, RMSprop, total variation and L-p norm
    KerasVis,
    /// Those of lucid: a Fourier image, Adam, and random jitter, zoom and rotation
    Robust,
    /// MaCo: the phase alone, under the magnitude spectrum of photographs
    Maco,
}

/// The largest random shift.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
enum Shift {
    Pixels(usize),
    Fraction(f32),
}

fn jitter(text: &str) -> Result<Shift, String> {
    if let Ok(pixels) = text.parse() {
        return if pixels <= 4096 {
            Ok(Shift::Pixels(pixels))
        } else {
            Err("expected 4096 pixels at most".into())
        };
    }
    options::share(text)
        .map(Shift::Fraction)
        .map_err(|_| "expected a whole number of pixels, or a fraction from 0.0 to 1.0".into())
}

impl ActivationOptions {
    pub(crate) fn run(self) -> Outcome {
        self.check()?;
        let mut report = Report::new("activation", &self, self.outputs.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        let layer = filters::layer(&opened, &self.layer)?;
        let filters = self.filters(&opened, &layer)?;
        let other = self.other(&opened)?;
        let preset = self.preset(model);

        let mut run = visualize_activation(model, &self.layer)
            .filter_indices(filters.iter().cloned())
            .preset(preset.clone())
            .diverse(self.diverse)
            .seed(self.seed);
        let mut size = model.input().size();
        if let Some(path) = &self.accentuate {
            let photo = photo::seed(path, model, self.size.map(|side| (side, side)))?;
            let [_, _, height, width] = photo.dims();
            size = (height, width);
            run = run.accentuate(photo, self.nearness);
            if let Some(max_iter) = self.max_iter {
                run = run.max_iter(max_iter);
            }
            if let Some(learning_rate) = self.learning_rate {
                run = run.learning_rate(learning_rate);
            }
        } else if let Some(path) = &self.seed_img {
            let images = photo::seed(path, model, self.size.map(|side| (side, side)))?;
            let [_, _, height, width] = images.dims();
            size = (height, width);
            run = run.seed_img(images);
        } else if let Some(side) = self.size {
            size = (side, side);
            run = run.size(side, side);
        }
        model.input().check([1, model.input().channels(), size.0, size.1])?;
        memory::check(&opened, &layer.name, size)?;
        let (normalize, shift) = (self.normalize, self.jitter);
        run = run.configure(move |optimizer| {
            let optimizer = match normalize {
                Normalize::Rms => optimizer.normalize(Normalization::RootMeanSquare),
                Normalize::L2 => optimizer.normalize(Normalization::L2),
                Normalize::None => optimizer.normalize(Normalization::None),
            };
            match shift {
                Some(Shift::Pixels(pixels)) if pixels > 0 => optimizer.jitter(pixels),
                _ => optimizer,
            }
        });
        if let Some(path) = &self.gif {
            run = run.progress_gif_path(path);
        }

        let work = Work::begin();
        let line = work.line();
        let made = run
            .progress(move |now| {
                line.at(now.done, now.of, || format!("loss {:.2}", now.loss.unwrap_or_default()))
            })
            .run();
        let ended = work.end();
        // What was finished before a failure is written as well.
        let (pictures, failure) = match made {
            Ok(pictures) => (pictures, None),
            Err(Unfinished { source, made, of, .. }) if !made.is_empty() => {
                let kept = format!("the {} of {of} pictures finished before are written", made.len());
                (made, Some(Failure::from(*source).but(&kept)))
            }
            Err(unfinished) => return Err(Error::from(unfinished).into()),
        };
        self.settle(&mut report, &preset);
        let shown: Vec<_> = filters.iter().flat_map(|filters| vec![filters.clone(); self.diverse]).collect();
        let judged = match self.judge {
            true => Some(self.judged(&mut report, &opened, other.as_ref(), &pictures, &shown)?),
            false => None,
        };
        self.tell(&mut report, &pictures, &shown, judged.unwrap_or_default());
        report.set("interrupted", ended.interrupted);
        self.write(&mut report, &pictures)?;
        report.print()?;
        failure.map_or_else(|| ended.verdict(), Err)
    }

    fn check(&self) -> Outcome {
        if let Some(gif) = &self.gif
            && !gif.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif"))
        {
            return Err(Failure::misuse(format!("the animation {} must end in .gif", gif.display())));
        }
        if let Some(alpha) = &self.alpha
            && !alpha.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
        {
            return Err(Failure::misuse(format!(
                "the transparent picture {} must end in .png",
                alpha.display()
            )));
        }
        if self.alpha.is_some() && self.accentuate.is_none() && !matches!(self.preset, Some(PresetName::Maco))
        {
            return Err(Failure::misuse(
                "--alpha goes with --preset maco or --accentuate: others change every place",
            ));
        }
        let inputs: Vec<_> = [&self.seed_img, &self.accentuate, &self.network.weights]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let more: Vec<_> = self.gif.iter().chain(&self.alpha).map(PathBuf::as_path).collect();
        self.outputs.check_with(&more, &inputs)
    }

    /// The filters of each picture.
    fn filters(&self, opened: &Opened, layer: &Layer) -> Outcome<Vec<Vec<usize>>> {
        let count = layer.shape[0];
        if let Some(wanted) = self.which.sample {
            if wanted > count {
                return Err(Failure::misuse(format!(
                    "--sample {wanted} is more than the {count} filters of layer `{}`",
                    layer.name
                )));
            }
            let mut random = vis::random::stream(self.seed, u64::MAX);
            let mut drawn = rand::seq::index::sample(&mut random, count, wanted).into_vec();
            drawn.sort_unstable();
            return Ok(drawn.into_iter().map(|filter| vec![filter]).collect());
        }
        if self.which.all {
            return Ok((0..count).map(|filter| vec![filter]).collect());
        }
        filters::parse(opened, layer, &self.which.filter)
    }

    /// The settings of the run.
    fn preset(&self, model: &dyn Model) -> Preset {
        let mut preset = match self.preset {
            None => model.preset(),
            Some(PresetName::KerasVis) => Preset::keras_vis(),
            Some(PresetName::Robust) => Preset::for_input(model.input()),
            Some(PresetName::Maco) => Preset::maco(),
        };
        preset.max_iter = self.max_iter.unwrap_or(preset.max_iter);
        preset.tv_weight = self.tv_weight.unwrap_or(preset.tv_weight);
        preset.lp_norm_weight = self.lp_norm_weight.unwrap_or(preset.lp_norm_weight);
        preset.learning_rate = self.learning_rate.unwrap_or(preset.learning_rate);
        match self.jitter {
            Some(Shift::Fraction(fraction)) => preset.jitter = fraction,
            // Added to the optimizer as a transform of its own.
            Some(Shift::Pixels(_)) => preset.jitter = 0.0,
            None => {}
        }
        preset
    }

    /// Reports what was left to defaults.
    fn settle(&self, report: &mut Report, preset: &Preset) {
        report.setting("max_iter", preset.max_iter);
        report.setting("tv_weight", preset.tv_weight);
        report.setting("lp_norm_weight", preset.lp_norm_weight);
        report.setting("learning_rate", preset.learning_rate);
        if self.jitter.is_none() {
            report.setting("jitter", preset.jitter);
        }
    }

    fn tell(&self, report: &mut Report, pictures: &Activations, filters: &[Vec<usize>], judged: Vec<Value>) {
        let wanted = filters.len();
        let label_width = pictures.iter().map(|picture| picture.label.chars().count()).max().unwrap_or(0);
        for picture in pictures.iter() {
            // Adding 0 turns -0 into 0.
            let (label, before, after) = (&picture.label, picture.before + 0.0, picture.after + 0.0);
            let dead = if picture.dead { "  (dead: nothing moved it)" } else { "" };
            report.say(format!("{label:label_width$}  {before:10.3} → {after:10.3}{dead}"));
        }
        if pictures.len() < wanted {
            report.say(format!("{} of {wanted} pictures", pictures.len()));
        }
        report.set("layer", self.layer.as_str());
        let mut judged = judged.into_iter();
        let rows = pictures.iter().zip(filters).map(|(picture, filters)| {
            let mut row = json!({
                "filters": filters,
                "label": picture.label,
                "before": picture.before,
                "after": picture.after,
                "dead": picture.dead,
                "losses": report::losses(&picture.losses),
                "image": described(&picture.image.view().into_dyn()),
            });
            if let Some(quality) = judged.next() {
                row["quality"] = quality;
            }
            row
        });
        let rows: Value = rows.collect();
        report.set("pictures", rows);
    }

    /// The network that judges beside the one that made the pictures.
    fn other(&self, opened: &Opened) -> Outcome<Option<(String, Opened)>> {
        let lite0 = Network::Named(Named::EfficientnetLite0);
        let network = match &self.judge_model {
            _ if !self.judge => return Ok(None),
            Some(network) => network.clone(),
            None if opened.network == lite0 || opened.model.input().channels() != 3 => return Ok(None),
            None => lite0,
        };
        // Of the file of weights and its pixels nothing is known but what the network was opened with.
        let options = NetworkOptions {
            weights: None,
            preprocess: match &network {
                Network::File(_) => self.network.preprocess,
                Network::Named(_) => None,
            },
            labels: None,
            device: self.network.device.clone(),
        };
        Ok(Some((network.name(), network.open(&options)?)))
    }

    fn judged(
        &self,
        report: &mut Report,
        opened: &Opened,
        other: Option<&(String, Opened)>,
        pictures: &Activations,
        filters: &[Vec<usize>],
    ) -> Outcome<Vec<Value>> {
        let model = opened.model.as_ref();
        let other = other.map(|(name, other)| (name.as_str(), other.model.as_ref()));
        let same_classes = other.is_some_and(|(_, other)| {
            let classes = |model: &dyn Model| {
                let table = model.layers().ok()?;
                let logits = model.logits()?;
                Some(table.iter().find(|layer| layer.name == logits)?.shape[0])
            };
            model.logits() == Some(self.layer.as_str()) && classes(model) == classes(other)
        });
        let wanted: Vec<Option<usize>> = filters
            .iter()
            .map(|filters| match filters[..] {
                [class] if same_classes => Some(class),
                _ => None,
            })
            .collect();
        judge::judge(report, pictures, model, other, &wanted)
    }

    /// The pictures with their transparency, numbered from the second on.
    fn write_alpha(&self, report: &mut Report, pictures: &Activations, path: &Path) -> Outcome {
        for (index, picture) in pictures.iter().enumerate() {
            let path = match (index, path.file_stem()) {
                (1.., Some(stem)) => {
                    let mut name = stem.to_owned();
                    name.push(format!("-{}.png", index + 1));
                    path.with_file_name(name)
                }
                _ => path.to_owned(),
            };
            let shown = picture.transparent_picture()?;
            vis::picture::write_atomically(&path, |file| {
                shown
                    .write_to(file, image::ImageFormat::Png)
                    .map_err(|error| std::io::Error::other(error.to_string()))
            })?;
            report.wrote("alpha", &path);
        }
        Ok(())
    }

    fn write(&self, report: &mut Report, pictures: &Activations) -> Outcome {
        let images: Vec<_> = pictures.iter().map(|picture| picture.image.view()).collect();
        let images = ndarray::stack(Axis(0), &images)
            .map_err(|error| Failure::new(format!("the pictures do not fit together: {error}")))?
            .into_dyn();
        report.set("raw", described(&images.view()));
        let side = images.shape()[2].min(images.shape()[3]);
        let title = format!("{} {}", self.model.name(), self.layer);
        self.outputs.write_picture(report, || {
            pictures.grid_with(|grid| {
                let grid = grid.title(title).enlarge(photo::enlargement(side));
                if self.diverse > 1 { grid.columns(self.diverse) } else { grid }
            })
        })?;
        if let Some(path) = &self.alpha {
            self.write_alpha(report, pictures, path)?;
        }
        self.outputs.write_raw(report, images.view())?;
        let runs: Vec<_> = pictures.iter().map(|picture| &picture.losses).collect();
        self.outputs.write_losses(report, &runs)?;
        if let Some(gif) = &self.gif {
            report.wrote("gif", gif);
        }
        Ok(())
    }
}
