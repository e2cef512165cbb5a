//! `vis models`, `vis layers` and `vis classify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use vis::model::weights::Pretrained;

use crate::class::Scores;
use crate::failure::Outcome;
use crate::network::{Named, Network, NetworkOptions, Preprocess};
use crate::output::JsonOption;
use crate::report::{Report, described};
use crate::{device, npy, photo, progress};

#[derive(Debug, Args, Serialize)]
#[command(after_help = "Examples:\n  vis models\n  vis models --json")]
pub(crate) struct ModelsOptions {
    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

impl ModelsOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("models", &self, self.json.json);
        let mut models = Vec::new();
        for network in Named::value_variants() {
            let ([channels, height, width], bundled) = (network.input(), network.is_bundled());
            let known = Pretrained::ALL.iter().find(|known| known.name == network.name());
            let fetched = known.and_then(Pretrained::at_hand);
            let classes =
                network.classes().map_or("no classes".into(), |classes| format!("{classes} classes"));
            report.say(format!(
                "{:<18}  {:<9}  {:<12}  {:<11}  {}",
                network.name(),
                format!("{channels}x{height}x{width}"),
                classes,
                match (bundled, &fetched) {
                    (true, _) => "bundled",
                    (false, Some(_)) => "fetched",
                    (false, None) if known.is_none() => "--weights",
                    (false, None) => "vis fetch",
                },
                network.description(),
            ));
            models.push(json!({
                "name": network.name(),
                "description": network.description(),
                "input": network.input(),
                "classes": network.classes(),
                "bundled": bundled,
                "fetched": fetched.map(|path| path.display().to_string()),
            }));
        }
        for known in Pretrained::ALL {
            if let Some(path) = known.at_hand() {
                report.say(format!("fetched: {} in {}", known.name, path.display()));
            }
        }
        report.say(format!("devices: {}", device::names().join(", ")));
        report.set("models", models);
        report.set("devices", device::names());
        report.print()
    }
}

#[derive(Debug, Args, Serialize)]
#[command(after_help = "Examples:\n  vis layers --model vgg16\n  vis layers --model net.onnx")]
pub(crate) struct LayersOptions {
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: Network,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

impl LayersOptions {
    pub(crate) fn run(mut self) -> Outcome {
        // The table is the same whatever is done to the pixels.
        if let Network::File(_) = self.model {
            self.network.preprocess.get_or_insert(Preprocess::None);
        }
        let mut report = Report::new("layers", &self, self.json.json);
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let layers = opened.model.layers()?;
        let shape = |[channels, height, width]: [usize; 3]| format!("{channels}x{height}x{width}");
        let width_of = |text: &dyn Fn(usize) -> usize| (0..layers.len()).map(text).max().unwrap_or(0);
        let name_width = width_of(&|index| layers[index].name.len());
        let kind_width = width_of(&|index| layers[index].kind.len());
        let shape_width = width_of(&|index| shape(layers[index].shape).len());
        for layer in &layers {
            let parameters = if layer.parameters > 0 { layer.parameters.to_string() } else { String::new() };
            let line = format!(
                "{:name_width$}  {:kind_width$}  {:shape_width$}  {parameters:>10}",
                layer.name,
                layer.kind,
                shape(layer.shape),
            );
            report.say(line.trim_end());
        }
        let total: usize = layers.iter().map(|layer| layer.parameters).sum();
        report.say(format!("{} layers, {total} parameters", layers.len()));
        let rows = layers.iter().map(|layer| {
            json!({
                "name": layer.name,
                "kind": layer.kind,
                "shape": layer.shape,
                "parameters": layer.parameters,
            })
        });
        report.set("layers", rows.collect::<Value>());
        report.set("parameters", total);
        report.print()
    }
}

#[derive(Debug, Args, Serialize)]
#[command(
    after_help = "Examples:\n  vis classify --image cat.jpg\n  vis classify --image seven.png --model digits --json"
)]
pub(crate) struct ClassifyOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "efficientnet-lite0")]
    model: Network,

    /// The photo: PNG, JPEG or WebP, or an array .npy in the range of the network, or - for standard input
    #[arg(long, value_name = "PHOTO")]
    image: PathBuf,

    /// How many classes to list
    #[arg(long, value_name = "N", default_value = "5", value_parser = crate::options::count)]
    top: usize,

    #[command(flatten)]
    #[serde(flatten)]
    network: NetworkOptions,

    /// The scores of all classes before softmax to write, as float32 in NumPy's format, [1, classes]
    #[arg(long, value_name = "A.npy", help_heading = "Results")]
    raw: Option<PathBuf>,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

impl ClassifyOptions {
    pub(crate) fn run(self) -> Outcome {
        let inputs = [Some(self.image.as_path()), self.network.weights.as_deref()];
        let outputs: Vec<_> = self.raw.as_deref().into_iter().collect();
        crate::output::check(&outputs, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        let mut report = Report::new("classify", &self, self.json.json);
        let opened = self.model.open(&self.network)?;
        opened.class_layer()?;
        report.network(&opened);
        let photo = photo::at_input_size(&self.image, opened.model.as_ref())?;
        let scores = Scores::of(&opened, photo.image)?;
        progress::writing();
        for class in scores.best(self.top) {
            let percent = 100.0 * scores.probability(class);
            report.say(format!("{percent:5.1} %  {class:4}  {}", scores.name(class)));
        }
        report.set("predictions", scores.predictions(self.top));
        let logits = ndarray::ArrayView2::from_shape((1, scores.logits.len()), &scores.logits);
        if let (Some(path), Ok(logits)) = (&self.raw, logits) {
            let logits = logits.into_dyn();
            npy::write(path, logits.view())?;
            report.set("raw", described(&logits));
            report.wrote("raw", path);
        }
        report.print()
    }
}
