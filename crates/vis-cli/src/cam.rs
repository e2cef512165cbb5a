//! `vis cam`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use vis::attribution::{AttentionRollout, Cam, Formula};
use vis::picture::{ColorMap, Sign, normalize};

use crate::explain::{DrawOptions, ExplainOptions, matrix};
use crate::failure::{Failure, Outcome};
use crate::options;
use crate::progress::Work;
use crate::report::Report;

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CamOptions {
    #[command(flatten)]
    #[serde(flatten)]
    explain: ExplainOptions,

    /// The method
    #[arg(long, value_name = "METHOD", default_value = "grad-cam")]
    method: Method,

    /// The layer that the map is taken at [default: the last before the target that has more than one position]
    #[arg(long, aliases = ["map-layer", "layer"], value_name = "LAYER")]
    penultimate_layer: Option<String>,

    /// For score-cam and ablation-cam: the number of channels to use, those that vary most [default: all]
    #[arg(long, alias = "channels", value_name = "N", value_parser = options::count)]
    max_channels: Option<usize>,

    #[command(flatten)]
    #[serde(flatten)]
    draw: DrawOptions,
}

const EXAMPLES: &str = "\
Examples:
  vis cam --image cat.jpg -o cam.png
  vis cam --image cat.jpg --class tabby --method layer-cam --penultimate-layer blocks.5 -o fine.png
  vis cam --image cat.jpg --class tabby \"Egyptian cat\" toaster -o three.png
  vis cam --image cat.jpg --model vgg16 --target-layer block5_conv3 --filter 20 -o filter.png
  vis cam --image cat.jpg --model vit --weights vit.safetensors --method gradient-rollout -o rollout.png
  vis cam --image seven.png --model digits --method score-cam -o seven.png --raw seven.npy

The picture shows what speaks for the target. The numbers of --raw are the signed maps at the layer's own size,
[maps, 1, height, width]. Ctrl-C ends score-cam and ablation-cam and writes the map of the channels that are done.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Method {
    /// Channels weighted by their mean gradient
    #[value(name = "grad-cam")]
    #[serde(rename = "grad-cam")]
    GradCam,
    /// For several objects of a class
    #[value(name = "grad-cam++")]
    #[serde(rename = "grad-cam++")]
    GradCamPlusPlus,
    /// Credits exactly the places that the score used
    #[value(name = "hires-cam")]
    #[serde(rename = "hires-cam")]
    HiresCam,
    /// Channels weighted by gradient times activation
    #[value(name = "x-grad-cam")]
    #[serde(rename = "x-grad-cam")]
    XGradCam,
    /// Works at early layers too
    #[value(name = "layer-cam")]
    #[serde(rename = "layer-cam")]
    LayerCam,
    /// What the layer responds to most, whatever the class
    #[value(name = "eigen-cam")]
    #[serde(rename = "eigen-cam")]
    EigenCam,
    /// Channels weighted by the score of the photo seen through them; slow
    #[value(name = "score-cam")]
    #[serde(rename = "score-cam")]
    ScoreCam,
    /// Channels weighted by what is lost without them; slow
    #[value(name = "ablation-cam")]
    #[serde(rename = "ablation-cam")]
    AblationCam,
    /// Of a transformer: where its class token has looked, whatever the class
    #[value(name = "rollout")]
    #[serde(rename = "rollout")]
    Rollout,
    /// Of a transformer: the same, weighted by the gradient of the target
    #[value(name = "gradient-rollout")]
    #[serde(rename = "gradient-rollout")]
    GradientRollout,
}

impl Method {
    /// The formula of a class activation map, of the methods that have one.
    pub(crate) fn formula(self) -> Option<Formula> {
        Some(match self {
            Self::GradCam => Formula::GradCam,
            Self::GradCamPlusPlus => Formula::GradCamPlusPlus,
            Self::HiresCam => Formula::HiResCam,
            Self::XGradCam => Formula::XGradCam,
            Self::LayerCam => Formula::LayerCam,
            Self::EigenCam => Formula::EigenCam,
            Self::ScoreCam => Formula::ScoreCam,
            Self::AblationCam => Formula::AblationCam,
            Self::Rollout | Self::GradientRollout => return None,
        })
    }
}

impl CamOptions {
    pub(crate) fn run(self) -> Outcome {
        if self.max_channels.is_some() && !matches!(self.method, Method::ScoreCam | Method::AblationCam) {
            return Err(Failure::misuse("--max-channels goes with --method score-cam and ablation-cam only"));
        }
        if self.penultimate_layer.is_some() && self.method.formula().is_none() {
            return Err(Failure::misuse(
                "--penultimate-layer is not for rollouts, which go through all layers of attention",
            ));
        }
        let mut report = Report::new("cam", &self, self.explain.outputs.json.json);
        let explained = self.explain.open(&mut report)?;
        let work = Work::begin();
        let line = work.line();
        let made = explained.each(|image, asked| {
            let model = explained.opened.model.as_ref();
            let Some(formula) = self.method.formula() else {
                let rollout = match self.method {
                    Method::Rollout => AttentionRollout::new(),
                    _ => AttentionRollout::by_gradient(),
                };
                return rollout.map(model, image, &asked.target);
            };
            let mut method = Cam::new(formula).progress(line.teller());
            if let Some(layer) = &self.penultimate_layer {
                method = method.penultimate_layer(layer);
            }
            if let Some(channels) = self.max_channels {
                method = method.max_channels(channels);
            }
            method.map(model, image, &asked.target)
        });
        let ended = work.end();
        let cams = made?;
        ended.tell(&mut report, "channels");
        explained.tell(&mut report, cams.len());
        if let Some(cam) = cams.first() {
            report.say(format!("map at layer {}", cam.layer));
            report.set("layer", cam.layer.as_str());
            explained.tell_blanks(&mut report, cams.iter().map(|cam| &cam.map), true);
        }
        let outputs = &self.explain.outputs;
        let maps: Vec<_> = cams.iter().map(|cam| matrix(cam.rectified().upsampled())).collect();
        explained.write_picture(&mut report, (outputs, &self.draw), &maps, ColorMap::Jet, |map| {
            normalize(map, Sign::Signed, 100.0)
        })?;
        explained.write_raw(&mut report, outputs, cams.into_iter().map(|cam| cam.map).collect())?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }
}
