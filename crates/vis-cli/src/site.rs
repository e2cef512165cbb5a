//! `vis site`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use vis::page::Site;
use vis::survey::Surveyed;

use crate::failure::{Failure, Outcome};
use crate::network::{Named, Network, NetworkOptions, Preprocess};
use crate::options;
use crate::output::JsonOption;
use crate::progress::Work;
use crate::report::Report;

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SiteOptions {
    /// The folder of the survey
    #[arg(value_name = "S")]
    survey: PathBuf,

    /// The folder of the site; made if it is not there
    #[arg(short, long, alias = "output", value_name = "DIR", help_heading = "Results")]
    out: PathBuf,

    /// The network [default: that of the survey]
    #[arg(long, value_name = "MODEL")]
    model: Option<Network>,

    /// The folder of images [default: that of the survey]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// How many units of each layer to show, the first ones [default: all]
    #[arg(long, value_name = "N", value_parser = options::count)]
    units: Option<usize>,

    /// The side of the feature visualisations in pixels, for networks that take any size [default: the network's]
    #[arg(long, value_name = "SIZE", value_parser = options::side)]
    size: Option<usize>,

    /// The steps of each feature visualisation [default: the network's preset]
    #[arg(long, value_name = "N", value_parser = options::count)]
    max_iter: Option<usize>,

    /// Leave the feature visualisations out, which take most of the time
    #[arg(long, conflicts_with_all = ["size", "max_iter"])]
    no_features: bool,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

const EXAMPLES: &str = "\
Examples:
  vis site survey --out site
  vis site survey --out site --units 64 --size 128 --max-iter 100

Open index.html in a browser: it needs no server. Ended by Ctrl-C, the same command goes on with the feature
visualisations that are not made yet.";

impl SiteOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("site", &self, self.json.json);
        let surveyed = Surveyed::open(&self.survey)?;
        let noted = |key: &str| surveyed.notes().get(key).cloned();
        let network = match (&self.model, noted("model")) {
            (Some(network), _) => network.clone(),
            (None, Some(name)) => named(&name)?,
            (None, None) => {
                return Err(Failure::misuse("the survey does not say of which network it is: give --model"));
            }
        };
        let mut options = self.network.clone();
        if self.model.is_none() {
            options.weights = options.weights.or(noted("weights").map(PathBuf::from));
            options.labels = options.labels.or(noted("labels").map(PathBuf::from));
            let preprocess = noted("preprocess").and_then(|how| Preprocess::from_str(&how, true).ok());
            options.preprocess = options.preprocess.or(preprocess);
        }
        let images = self.images.clone().or(noted("images").map(PathBuf::from));
        let images = images
            .ok_or_else(|| Failure::misuse("the survey does not say where its images are: give --images"))?;
        if !images.is_dir() {
            let advice = "name the folder of the survey's images by --images";
            return Err(Failure::new(format!("there is no folder {}: {advice}", images.display())));
        }
        let opened = network.open(&options)?;
        report.network(&opened);
        let model = opened.model.as_ref();
        crate::photo::check_choice(model, "--size", self.size)?;

        let work = Work::begin();
        let line = work.line();
        let mut preset = model.preset();
        preset.max_iter = self.max_iter.unwrap_or(preset.max_iter);
        let mut site = Site::new(model, &surveyed, images)
            .preset((!self.no_features).then_some(preset))
            .units(self.units.unwrap_or(usize::MAX))
            .progress(move |now| line.at(now.done, now.of, || now.stage.clone()));
        if let Some(side) = self.size {
            site = site.size(side, side);
        }
        let built = site.write(&self.out);
        let ended = work.end();
        let built = built?;
        report.set("pages", built.pages);
        report.set("pictures", built.pictures);
        report.set("finished", built.finished);
        if !built.finished {
            report
                .say(format!("{} feature visualisations are there; no page is written yet", built.pictures));
            report.print()?;
            return Err(Failure::interrupted("the same command goes on from there"));
        }
        let index = self.out.join("index.html");
        report.say(format!("{} pages, {} feature visualisations", built.pages, built.pictures));
        report.set("survey", json!(self.survey.display().to_string()));
        report.wrote("site", &index);
        report.print()?;
        // All is written, even if Ctrl-C came at the last moment.
        let _ = ended;
        Ok(())
    }
}

/// The network of a name in a manifest.
fn named(name: &str) -> Outcome<Network> {
    if let Ok(named) = Named::from_str(name, true) {
        return Ok(Network::Named(named));
    }
    let path = PathBuf::from(name);
    match path.is_file() {
        true => Ok(Network::File(path)),
        false => Err(Failure::new(format!("the survey's network {name} is not there: name it by --model"))),
    }
}
