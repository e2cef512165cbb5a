//! `vis report`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use vis::page;

use crate::asked::TargetOptions;
use crate::class::Scores;
use crate::failure::{Failure, Outcome};
use crate::network::{Network, NetworkOptions};
use crate::output::{self, JsonOption};
use crate::progress::Work;
use crate::report::Report;
use crate::{options, photo};

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportOptions {
    /// The photo: PNG, JPEG or WebP, or - for standard input
    #[arg(value_name = "PHOTO")]
    image: PathBuf,

    /// The page to write
    #[arg(
        short,
        long,
        alias = "output",
        value_name = "PAGE.html",
        help_heading = "Results",
        required_unless_present = "json"
    )]
    out: Option<PathBuf>,

    /// The network
    #[arg(long, value_name = "MODEL", default_value = "efficientnet-lite0")]
    model: Network,

    #[command(flatten)]
    #[serde(flatten)]
    target: TargetOptions,

    /// The steps of integrated gradients and the samples of SmoothGrad
    #[arg(long, value_name = "N", default_value = "32", value_parser = options::count)]
    steps: usize,

    /// The masks of RISE
    #[arg(long, value_name = "N", default_value = "500", value_parser = options::count)]
    masks: usize,

    /// The channels of Score-CAM and Ablation-CAM
    #[arg(long, value_name = "N", default_value = "64", value_parser = options::count)]
    max_channels: usize,

    /// How many of the channels that matter most get a picture
    #[arg(long, value_name = "N", default_value = "8", value_parser = options::count)]
    top: usize,

    /// The side of the pictures of channels in pixels, for networks that take any size [default: the network's]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The steps of each picture of a channel [default: the network's preset]
    #[arg(long, value_name = "N", value_parser = options::count)]
    max_iter: Option<usize>,

    /// The seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

const EXAMPLES: &str = "\
Examples:
  vis report cat.jpg --out cat.html
  vis report cat.jpg --class \"tabby\" --out tabby.html
  vis report seven.png --model digits --out seven.html --json
  vis report cat.jpg --model vgg16 --target-layer block5_conv3 --filter 20 --out filter.html

One page that needs no other file: what the network sees, every attribution method with its scores of deletion and
insertion beside blind controls, the channels that matter most with their pictures, and all settings. --json prints the
same without pictures. Ctrl-C writes what is done.";

impl ReportOptions {
    pub(crate) fn run(self) -> Outcome {
        self.target.check()?;
        let inputs: Vec<&Path> =
            [Some(self.image.as_path()), self.network.weights.as_deref()].into_iter().flatten().collect();
        let outputs: Vec<&Path> = self.out.as_deref().into_iter().collect();
        output::check(&outputs, &inputs)?;
        let mut report = Report::new("report", &self, self.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        photo::check_choice(model, "--size", self.size)?;
        let question = self.target.question(&opened)?;
        let photo = photo::at_input_size(&self.image, model)?;
        let scores = match model.logits() {
            Some(_) => Some(Scores::of(&opened, photo.image.clone())?),
            None => None,
        };
        let asked = question.of(&opened, &photo, scores.as_ref())?;
        let [asked] = &asked[..] else {
            return Err(Failure::misuse("a report is about one class, or one filter"));
        };

        let mut preset = model.preset();
        preset.max_iter = self.max_iter.unwrap_or(preset.max_iter);
        let name = asked.json["name"].as_str().unwrap_or(&asked.name).to_owned();
        let work = Work::begin();
        let line = work.line();
        let title = self.image.file_name().map_or("photo".into(), |name| name.to_string_lossy());
        let mut made = page::Report::new(model, &photo.picture)?
            .title(if crate::stream::is_meant_by(&self.image) { "photo".into() } else { title })
            .target(asked.target.clone(), name)
            .steps(self.steps)
            .masks(self.masks)
            .max_channels(self.max_channels)
            .channels(self.top)
            .seed(self.seed)
            .preset(preset)
            .setting("Network", opened.network.name())
            .setting("Device", &opened.device)
            .progress(move |now| line.at(now.done, now.of, || now.stage.clone()));
        if let Some(side) = self.size {
            made = made.size(side, side);
        }
        let made = made.run();
        let ended = work.end();
        let made = made?;
        report.set("report", made.json().clone());
        report.set("interrupted", ended.interrupted);
        let methods = made.json()["methods"].as_array().cloned().unwrap_or_default();
        for method in &methods {
            let score = |key: &str| method[key].as_f64().unwrap_or_default();
            report.say(format!(
                "{:<24} deletion {:7.3}  insertion {:7.3}{}",
                method["name"].as_str().unwrap_or_default(),
                score("deletion"),
                score("insertion"),
                if method["blind"] == true { "  (blind)" } else { "" }
            ));
        }
        if let Some(path) = &self.out {
            made.save(path)?;
            report.wrote("report", path);
        }
        report.print()?;
        ended.verdict()
    }
}
