//! `vis saliency`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use vis::attribution::{Attribution, IntegratedGradients, Saliency, SmoothGrad, magnitude};
use vis::picture::{ColorMap, Sign, normalize};

use crate::explain::{DrawOptions, ExplainOptions, matrix};
use crate::failure::{Failure, Outcome};
use crate::options;
use crate::progress::Work;
use crate::report::Report;

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
  vis saliency --image cat.jpg --model vgg16 --target-layer block5_conv3 --filter 20 -o filter.png

The picture shows the largest magnitude of the colour channels. The numbers of --raw are the signed map before
that, [maps, channels, height, width], per unit of the network's input range. Ctrl-C ends integrated gradients and
SmoothGrad and writes the map of what is done.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// The gradient of the score
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
        let model = explained.opened.model.as_ref();
        let work = Work::begin();
        let line = work.line();
        let mut sums = Vec::new();
        let made = explained.each(|image, asked| {
            let target = &asked.target;
            match self.method {
                Method::Gradient => Saliency::new().attribute(model, image, target),
                Method::InputXGradient => Saliency::new().times_input().attribute(model, image, target),
                Method::Guided => Saliency::guided().attribute(model, image, target),
                Method::Deconvolution => Saliency::deconvolution().attribute(model, image, target),
                Method::IntegratedGradients => {
                    let steps = self.steps.unwrap_or(STEPS);
                    let method = IntegratedGradients::new().steps(steps).progress(line.teller());
                    let found = method.evaluate(model, image, target)?;
                    sums.push((found.difference[0], found.residual[0]));
                    Ok(found.map)
                }
                Method::SmoothGrad => {
                    let (samples, noise) = (self.steps.unwrap_or(SAMPLES), self.noise.unwrap_or(NOISE));
                    let method = SmoothGrad::new(Saliency::new()).samples(samples).noise(noise);
                    method.seed(self.seed).progress(line.teller()).attribute(model, image, target)
                }
            }
        });
        let ended = work.end();
        let maps = made?;
        self.settle(&mut report);
        tell_sums(&mut report, &sums);
        let things = if self.method == Method::SmoothGrad { "samples" } else { "points" };
        ended.tell(&mut report, things);
        explained.tell(&mut report, maps.len());
        explained.tell_blanks(&mut report, &maps, false);
        let outputs = &self.explain.outputs;
        let magnitudes: Vec<_> = maps.iter().map(|map| matrix(magnitude(map.clone()))).collect();
        explained.write_picture(
            &mut report,
            (outputs, &self.draw),
            &magnitudes,
            ColorMap::Inferno,
            |map| normalize(map, Sign::Unsigned, 99.0),
        )?;
        explained.write_raw(&mut report, outputs, maps)?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }

    /// Reports what was left to defaults.
    fn settle(&self, report: &mut Report) {
        match self.method {
            Method::IntegratedGradients => report.setting("steps", self.steps.unwrap_or(STEPS)),
            Method::SmoothGrad => {
                report.setting("steps", self.steps.unwrap_or(SAMPLES));
                report.setting("noise", self.noise.unwrap_or(NOISE));
            }
            _ => {}
        }
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

/// The steps of integrated gradients, and the samples and the noise of SmoothGrad, where none are given.
const STEPS: usize = 64;
const SAMPLES: usize = 25;
const NOISE: f32 = 0.15;

/// Reports how complete integrated gradients are: the score minus the score of a black image, and how far the sum of the map is from it.
fn tell_sums(report: &mut Report, sums: &[(f32, f32)]) {
    let row = |(difference, residual): &(f32, f32)| json!({ "difference": difference, "residual": residual });
    for (difference, residual) in sums {
        let sum = difference + residual;
        report.say(format!("the map sums to {sum:.3}; the score is {difference:.3} above that of black"));
    }
    match sums {
        [] => {}
        [one] => report.set("completeness", row(one)),
        several => report.set("completeness", several.iter().map(row).collect::<Vec<_>>()),
    }
}
