//! `vis survey`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;
use vis::survey::{Images, Shard, Survey, Surveyed};

use crate::failure::{Failure, Outcome};
use crate::network::{Network, NetworkOptions};
use crate::options;
use crate::output::JsonOption;
use crate::progress::Work;
use crate::report::Report;

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SurveyOptions {
    /// The network
    #[arg(long, value_name = "MODEL", required_unless_present = "merge")]
    model: Option<Network>,

    /// The folder of images: PNG, JPEG or WebP, in folders of any depth
    #[arg(long, value_name = "DIR", required_unless_present = "merge")]
    images: Option<PathBuf>,

    /// The layers, as `vis layers` names them
    #[arg(long, alias = "layer", value_name = "LAYER", num_args = 1.., required_unless_present = "merge")]
    layers: Vec<String>,

    /// How many images to keep of each channel
    #[arg(long, value_name = "N", default_value = "9", value_parser = options::count)]
    top: usize,

    /// The labels of the images: a table with the columns image,label, or the word folders for the first folder of each
    /// image's name
    #[arg(long, value_name = "TABLE.csv|folders")]
    image_labels: Option<PathBuf>,

    /// Every n-th image only, from the i-th on; i counts from 0 or from 1 [default: what Slurm or Kubernetes say, or all]
    #[arg(long, value_name = "i/n", value_parser = shard)]
    #[serde(serialize_with = "shown")]
    shard: Option<Shard>,

    /// The number of shards, where Kubernetes or GNU parallel say only which one this is
    #[arg(long, value_name = "n", conflicts_with = "shard")]
    shards: Option<u32>,

    /// After how many images to save what is done; after two minutes it is in any case
    #[arg(long, value_name = "N", default_value = "1000", value_parser = options::count)]
    save_every: usize,

    /// Surveys of all shards, to be made one
    #[arg(long, value_name = "S", num_args = 1.., conflicts_with_all = ["model", "images", "layers", "image_labels", "shard", "shards"])]
    merge: Vec<PathBuf>,

    /// The folder of the survey, of this shard alone; made if it is not there
    #[arg(short, long, alias = "output", value_name = "S", help_heading = "Results")]
    out: PathBuf,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

const EXAMPLES: &str = "\
Examples:
  vis survey --model vgg16 --images photos --layers block4_conv3 block5_conv3 --out survey
  vis survey --model net.onnx --preprocess imagenet --images photos --layers Relu_7 --top 16 --out survey
  vis survey --model vgg16 --images photos --layers block5_conv3 --shard 2/8 --out survey-2
  vis survey --merge survey-1 survey-2 survey-3 --out survey
  vis site survey --out site

Killed or ended by Ctrl-C, the same command goes on where it was. A broken image is reported, passed over and counted.
top.csv in the folder has the columns layer,channel,rank,image,value,row,column; manifest.json says what else is there.";

fn shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|error: vis::Error| error.to_string())
}

fn shown<S: serde::Serializer>(shard: &Option<Shard>, serializer: S) -> Result<S::Ok, S::Error> {
    shard.map(|shard| shard.to_string()).serialize(serializer)
}

impl SurveyOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("survey", &self, self.json.json);
        if !self.merge.is_empty() {
            return self.merge(report);
        }
        let (Some(network), Some(folder)) = (&self.model, &self.images) else {
            return Err(Failure::misuse("--model and --images are needed"));
        };
        let shard = match self.shard {
            Some(shard) => Some(shard),
            None => {
                Shard::from_environment(self.shards).map_err(|error| Failure::misuse(error.to_string()))?
            }
        };
        if shard.is_none() && self.shards.is_some() {
            let variables = "SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or PARALLEL_SEQ";
            return Err(Failure::misuse(format!(
                "--shards goes with a scheduler that sets {variables}: use --shard"
            )));
        }
        let images = labelled(Images::folder(folder)?, self.image_labels.as_deref())?;
        let opened = network.open(&self.network)?;
        report.network(&opened);

        let work = Work::begin();
        let line = work.line();
        let model = opened.model.as_ref();
        let mut survey = Survey::new(model, &self.layers)
            .top(self.top)
            .save_every(self.save_every as u64)
            .shard(shard.unwrap_or_default())
            .notices(|notice| {
                // If standard error is closed, they are in the manifest and in broken.csv.
                let _ = writeln!(std::io::stderr(), "vis: {notice}");
            })
            .progress(move |now| line.at(now.done, now.of, String::new));
        for (key, note) in self.notes(network, folder) {
            survey = survey.note(key, note);
        }
        let surveyed = survey.run_into(&images, &self.out);
        drop(survey);
        let ended = work.end();
        let surveyed = surveyed?;
        if let Some(shard) = shard {
            report.say(format!("shard {shard}"));
            report.set("shard", shard.to_string());
        }
        report.set("interrupted", ended.interrupted);
        self.tell(&mut report, &surveyed);
        report.print()?;
        match ended.interrupted {
            true => {
                Err(Failure::interrupted("what was done is saved, and the same command goes on from there"))
            }
            false => Ok(()),
        }
    }

    fn merge(&self, mut report: Report) -> Outcome {
        let mut merged: Option<Surveyed> = None;
        for folder in &self.merge {
            let surveyed = Surveyed::open(folder)?;
            merged = Some(match merged {
                None => surveyed,
                Some(merged) => merged.merge(surveyed).map_err(|error| {
                    Failure::from(error).but(&format!("{} was not merged", folder.display()))
                })?,
            });
        }
        let merged = merged.ok_or_else(|| Failure::misuse("--merge needs the folder of a survey"))?;
        merged.save(&self.out)?;
        if !merged.is_complete() {
            let shards: Vec<String> = merged.shards().map(|shard| shard.to_string()).collect();
            report.say(format!("not all shards are in yet, only {}", shards.join(", ")));
        }
        self.tell(&mut report, &merged);
        report.print()
    }

    /// What `vis site` needs to open the network again.
    fn notes(&self, network: &Network, folder: &Path) -> Vec<(&'static str, String)> {
        let whole =
            |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
        let model = match network {
            Network::Named(_) => network.name(),
            Network::File(path) => whole(path),
        };
        let mut notes = vec![("model", model), ("images", whole(folder))];
        notes.extend(self.network.weights.as_deref().map(|path| ("weights", whole(path))));
        notes.extend(self.network.labels.as_deref().map(|path| ("labels", whole(path))));
        notes.extend(self.network.preprocess.map(|how| ("preprocess", how.name())));
        notes
    }

    fn tell(&self, report: &mut Report, surveyed: &Surveyed) {
        let units: usize = surveyed.layers().iter().map(|layer| layer.units().len()).sum();
        report.say(format!(
            "{} images, {} passed over; {units} channels of {} layers",
            surveyed.images(),
            surveyed.passed_over(),
            surveyed.layers().len()
        ));
        report.set("images", surveyed.images());
        report.set("passed_over", surveyed.passed_over());
        report.set("complete", surveyed.is_complete());
        let layers =
            surveyed.layers().iter().map(|layer| json!({ "name": layer.name(), "shape": layer.shape() }));
        report.set("layers", layers.collect::<serde_json::Value>());
        report.wrote("survey", &self.out);
    }
}

/// The images with their labels, if there are any.
fn labelled(images: Images, labels: Option<&Path>) -> Outcome<Images> {
    let Some(path) = labels else { return Ok(images) };
    if path.as_os_str() == "folders" {
        return Ok(images.labelled_by_folder());
    }
    let malformed = |reason: String| {
        Failure::from(vis::Error::Format { path: path.to_owned(), kind: "table of labels", reason })
    };
    let file = std::fs::File::open(path).map_err(vis::Error::io("read", path))?;
    let mut table = csv::Reader::from_reader(std::io::BufReader::new(file));
    let columns = table.headers().map_err(|error| malformed(error.to_string()))?.clone();
    let column = |name: &str| {
        columns.iter().position(|column| column.trim() == name).ok_or_else(|| {
            malformed(format!("its first line names no column `{name}`; it needs image,label"))
        })
    };
    let (image, label) = (column("image")?, column("label")?);
    let mut labels = BTreeMap::new();
    for row in table.records() {
        let row = row.map_err(|error| malformed(error.to_string()))?;
        if let (Some(image), Some(label)) = (row.get(image), row.get(label)) {
            labels.insert(image.to_owned(), label.to_owned());
        }
    }
    Ok(images.labelled(labels))
}
