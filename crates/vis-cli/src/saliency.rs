//! `vis saliency`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use vis::attribution::{Attribution, Blank, IntegratedGradients, Saliency, SmoothGrad, magnitude};
use vis::picture::{ColorMap, Sign, normalize};

use crate::explain::{DrawOptions, ExplainOptions, matrix};
use crate::failure::{Failure, Outcome};
use crate::options;
use crate::progress::Work;
use crate::report::{Report, described};

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SaliencyOptions {
    #[command(flatten)]
    #[serde(flatten)]
    explain: ExplainOptions,

    /// The method
    #[arg(long, value_name = "METHOD", default_value = "gradient")]
    method: Method,

    /// The steps of integrated gradients [default: 64], or the samples of SmoothGrad [default: 25]
    #[arg(long, value_name = "N", value_parser = options::count)]
    steps: Option<usize>,

    /// The noise of SmoothGrad, as a fraction of the photo's range [default: 0.15]
    #[arg(long, value_name = "SHARE", value_parser = options::share)]
    noise: Option<f32>,

    /// The seed of the noise of SmoothGrad
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    draw: DrawOptions,
}

const EXAMPLES: &str = "\
Examples:
  vis saliency --image cat.jpg -o gradient.png
  vis saliency --image cat.jpg --class \"Egyptian cat\" --method integrated-gradients --steps 64 -o cat.png
  vis saliency --image seven.png --model digits --class 7 --method guided -o seven.png --raw seven.npy

The picture shows the largest magnitude of the colour channels. The numbers of --raw are the signed map before
that, [1, channels, height, width], per unit of the network's input range. Ctrl-C ends integrated gradients and
SmoothGrad and writes the map of what is done.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// The gradient of the class score
    Gradient,
    /// The gradient times the photo
    InputXGradient,
    /// Guided backpropagation: only what raises the score passes back through rectifiers
    Guided,
    /// The deconvolution rule at rectifiers
    Deconvolution,
    /// The gradient summed on the way from black to the photo
    IntegratedGradients,
    /// The gradient averaged over noisy copies
    #[value(name = "smoothgrad")]
    #[serde(rename = "smoothgrad")]
    SmoothGrad,
}

impl SaliencyOptions {
    pub(crate) fn run(self) -> Outcome {
        self.check()?;
        let mut report = Report::new("saliency", &self, self.explain.outputs.json.json);
        let explained = self.explain.open(&mut report)?;
        let (model, target) = (explained.opened.model.as_ref(), explained.target());
        let image = explained.photo.image.clone();
        let work = Work::begin();
        let line = work.line();
        let map = match self.method {
            Method::Gradient => Saliency::new().attribute(model, image, &target),
            Method::InputXGradient => Saliency::new().times_input().attribute(model, image, &target),
            Method::Guided => Saliency::guided().attribute(model, image, &target),
            Method::Deconvolution => Saliency::deconvolution().attribute(model, image, &target),
            Method::IntegratedGradients => {
                let steps = self.steps.unwrap_or(64);
                report.setting("steps", steps);
                let method = IntegratedGradients::new().steps(steps).progress(line.teller());
                method.evaluate(model, image, &target).map(|found| {
                    let (difference, residual) = (found.difference[0], found.residual[0]);
                    let sum = difference + residual;
                    report.say(format!(
                        "the map sums to {sum:.3}; the score is {difference:.3} above that of black"
                    ));
                    report.set(
                        "completeness",
                        json!({ "difference": found.difference[0], "residual": found.residual[0] }),
                    );
                    found.map
                })
            }
            Method::SmoothGrad => {
                let (samples, noise) = (self.steps.unwrap_or(25), self.noise.unwrap_or(0.15));
                report.setting("steps", samples);
                report.setting("noise", noise);
                let method = SmoothGrad::new(Saliency::new()).samples(samples).noise(noise).seed(self.seed);
                method.progress(line.teller()).attribute(model, image, &target)
            }
        };
        let ended = work.end();
        let map = map?;
        let things = if self.method == Method::SmoothGrad { "samples" } else { "points" };
        ended.tell(&mut report, things);
        let raw = crate::host::array4(map.clone()).into_dyn();
        report.set("map", described(&raw.view()));
        if let Some(blank) = Blank::of(&raw).filter(|blank| *blank != Blank::Negative) {
            report.say(blank.to_string());
        }
        let outputs = &self.explain.outputs;
        outputs.write_picture(&mut report, || {
            let map = normalize(matrix(magnitude(map)).view(), Sign::Unsigned, 99.0)?;
            self.draw.overlay(&explained.photo.picture, &map, ColorMap::Inferno)
        })?;
        outputs.write_raw(&mut report, raw.view())?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }

    fn check(&self) -> Outcome {
        let has_steps = matches!(self.method, Method::IntegratedGradients | Method::SmoothGrad);
        if self.steps.is_some() && !has_steps {
            return Err(Failure::misuse(
                "--steps goes with --method integrated-gradients and smoothgrad only",
            ));
        }
        if self.noise.is_some() && self.method != Method::SmoothGrad {
            return Err(Failure::misuse("--noise goes with --method smoothgrad only"));
        }
        Ok(())
    }
}
