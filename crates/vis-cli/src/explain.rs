//! What the attribution commands share: a photo, a class, and a map in colour over the photo.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use image::RgbImage;
use ndarray::Array2;
use serde::Serialize;
use vis::attribution::Target;
use vis::picture::{self, ColorMap, Opacity};

use crate::class::Scores;
use crate::failure::Outcome;
use crate::network::{Network, NetworkOptions, Opened};
use crate::options;
use crate::output::OutputOptions;
use crate::photo::{self, Photo, enlarged};
use crate::report::Report;

/// The photo to explain, the class, and how the map is drawn.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ExplainOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "efficientnet-lite0")]
    pub(crate) model: Network,

    /// The photo: PNG, JPEG or WebP
    #[arg(long, value_name = "PHOTO")]
    pub(crate) image: PathBuf,

    /// The class, by number or name [default: the one that the network sees]
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) outputs: OutputOptions,
}

/// How a map is drawn over its photo.
#[derive(Debug, Args, Serialize)]
pub(crate) struct DrawOptions {
    /// The colours of the map [default: what suits the method]
    #[arg(long, value_name = "COLORS", help_heading = "Results",
        value_parser = PossibleValuesParser::new(ColorMap::ALL.map(ColorMap::name)))]
    pub(crate) colors: Option<String>,

    /// How much of the photo the map hides, from 0 to 1
    #[arg(long, value_name = "SHARE", help_heading = "Results", default_value = "0.5", value_parser = options::share)]
    pub(crate) alpha: f32,
}

/// A photo in a network, with a class to explain.
pub(crate) struct Explained {
    pub(crate) opened: Opened,
    pub(crate) photo: Photo,
    pub(crate) scores: Scores,
    pub(crate) class: usize,
}

impl ExplainOptions {
    /// Opens the network, runs it on the photo, and reports what it sees.
    pub(crate) fn open(&self, report: &mut Report) -> Outcome<Explained> {
        let weights = self.network.weights.as_deref();
        let inputs: Vec<_> = [Some(self.image.as_path()), weights].into_iter().flatten().collect();
        self.outputs.check(&inputs)?;
        let opened = self.model.open(&self.network)?;
        opened.class_layer()?;
        report.network(&opened);
        let photo = photo::at_input_size(&self.image, opened.model.as_ref())?;
        let scores = Scores::of(&opened, photo.image.clone())?;
        let class = scores.class(&opened, self.class.as_deref())?;
        report.say(format!(
            "sees {}",
            scores.best(3).into_iter().map(|best| scores.caption(best)).collect::<Vec<_>>().join(", ")
        ));
        report.say(format!("explains class {class}: {}", scores.caption(class)));
        report.set("predictions", scores.predictions(5));
        report.set("target", scores.json(class));
        Ok(Explained { opened, photo, scores, class })
    }
}

impl Explained {
    /// The logit of the class.
    pub(crate) fn target(&self) -> Target {
        Target::class(self.class)
    }

    /// The one row of losses that a method without steps has: the score that it explains.
    pub(crate) fn write_losses(&self, report: &mut Report, outputs: &OutputOptions) -> Outcome {
        let name = format!("class {}", self.class);
        outputs.write_loss(report, &name, &[self.scores.logits[self.class]])
    }

    /// The same for a method that explains the probability.
    pub(crate) fn write_probability(&self, report: &mut Report, outputs: &OutputOptions) -> Outcome {
        let name = format!("probability of class {}", self.class);
        outputs.write_loss(report, &name, &[self.scores.probability(self.class) as f32])
    }
}

impl DrawOptions {
    /// The colours asked for, or these.
    fn colors(&self, usual: ColorMap) -> ColorMap {
        let wanted = |colors: &ColorMap| self.colors.as_deref() == Some(colors.name());
        ColorMap::ALL.into_iter().find(wanted).unwrap_or(usual)
    }

    /// A map from 0 to 1, or of both signs from -1 to 1, over its photo.
    pub(crate) fn overlay(
        &self,
        photo: &RgbImage,
        map: &Array2<f32>,
        usual: ColorMap,
    ) -> vis::Result<RgbImage> {
        let colors = self.colors(usual);
        // Black, and the middle of two colours, say nothing of a place: there the photo stays as it is.
        let says_nothing_at_0 =
            colors.is_diverging() || matches!(colors, ColorMap::Inferno | ColorMap::Magma);
        let opacity = match says_nothing_at_0 {
            true => Opacity::FollowsMap((2.0 * self.alpha).min(1.0)),
            false => Opacity::Constant(self.alpha),
        };
        Ok(enlarged(picture::overlay_heat(photo, map.view(), colors, opacity)?))
    }
}

/// The map of one image with one channel, `[1, 1, height, width]`, as a matrix.
pub(crate) fn matrix(map: burn::tensor::Tensor<4>) -> Array2<f32> {
    let [_, _, height, width] = map.dims();
    crate::host::array2(map.reshape([height, width]))
}
