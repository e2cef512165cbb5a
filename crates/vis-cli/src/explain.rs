//! What the attribution commands share: photos, targets, and maps in colour over the photos.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use clap::Args;
use clap::builder::PossibleValuesParser;
use image::RgbImage;
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Serialize, Serializer};
use serde_json::Value;
use vis::attribution::Blank;
use vis::picture::{self, ColorMap, Grid, Opacity};

use crate::asked::{Asked, TargetOptions};
use crate::class::Scores;
use crate::failure::{Failure, Outcome};
use crate::network::{Network, NetworkOptions, Opened};
use crate::output::OutputOptions;
use crate::photo::{self, Photo, enlarged};
use crate::report::{Report, described};
use crate::{options, progress, stream};

/// The photos to explain, the targets, and where the maps go.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ExplainOptions {
    /// The network
    #[arg(long, value_name = "MODEL", default_value = "efficientnet-lite0")]
    pub(crate) model: Network,

    /// The photo: PNG, JPEG or WebP, or - for standard input; several give a grid of maps
    #[arg(long, value_name = "PHOTO", num_args = 1.., required = true)]
    #[serde(serialize_with = "one_or_several")]
    pub(crate) image: Vec<PathBuf>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) target: TargetOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) network: NetworkOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) outputs: OutputOptions,
}

/// How maps are drawn over their photos.
#[derive(Debug, Args, Serialize)]
pub(crate) struct DrawOptions {
    /// How the values of several maps become colours
    #[arg(long, value_name = "SCALE", help_heading = "Results", default_value = "common")]
    pub(crate) scale: Scale,

    /// The colours of the map [default: what suits the method]
    #[arg(long, value_name = "COLORS", help_heading = "Results",
        value_parser = PossibleValuesParser::new(ColorMap::ALL.map(ColorMap::name)))]
    pub(crate) colors: Option<String>,

    /// How much of the photo the map hides, from 0 to 1
    #[arg(long, alias = "alpha", value_name = "SHARE", help_heading = "Results", default_value = "0.5",
        value_parser = options::share)]
    pub(crate) opacity: f32,
}

/// How the values of several maps become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    /// One colour is one value in all maps: they can be compared
    Common,
    /// Each map uses all colours: its details can be seen
    Each,
}

/// A list of one value as that value, and an empty one as nothing.
pub(crate) fn one_or_several<T: Serialize, S: Serializer>(values: &Vec<T>, to: S) -> Result<S::Ok, S::Error> {
    match values.as_slice() {
        [] => to.serialize_none(),
        [value] => value.serialize(to),
        several => several.serialize(to),
    }
}

/// Photos in a network, with what is to be explained of each.
pub(crate) struct Explained {
    pub(crate) opened: Opened,
    pub(crate) photos: Vec<Photo>,
    /// One entry a map: the photo, and what is asked about it.
    pub(crate) maps: Vec<(usize, Asked)>,
    /// The photos by name.
    names: Vec<String>,
}

impl ExplainOptions {
    /// Opens the network, runs it on the photos, and reports what it sees and what is explained.
    pub(crate) fn open(&self, report: &mut Report) -> Outcome<Explained> {
        let weights = self.network.weights.as_deref();
        let inputs: Vec<_> = self.image.iter().map(PathBuf::as_path).chain(weights).collect();
        self.outputs.check(&inputs)?;
        self.target.check()?;
        let opened = self.model.open(&self.network)?;
        report.network(&opened);
        let question = self.target.question(&opened)?;
        let (mut photos, mut maps) = (Vec::new(), Vec::new());
        let (mut predictions, mut told) = (Vec::new(), Vec::new());
        let names: Vec<String> = self.image.iter().map(|path| named(path)).collect();
        for (index, path) in self.image.iter().enumerate() {
            let photo = photo::at_input_size(path, opened.model.as_ref())?;
            let whose = if names.len() > 1 { format!("{}: ", names[index]) } else { String::new() };
            let scores = match opened.model.logits() {
                Some(_) => Some(Scores::of(&opened, photo.image.clone())?),
                None => None,
            };
            if let Some(scores) = &scores {
                let best = scores.best(3).into_iter().map(|best| scores.caption(best));
                report.say(format!("{whose}sees {}", best.collect::<Vec<_>>().join(", ")));
                predictions.push(scores.predictions(5));
            }
            for asked in question.of(&opened, &photo, scores.as_ref())? {
                report.say(format!("{whose}explains {}", asked.sentence));
                let mut row = asked.json.clone();
                if let Value::Object(entries) = &mut row {
                    entries.insert("image".into(), path.display().to_string().into());
                }
                told.push(row);
                maps.push((index, asked));
            }
            photos.push(photo);
        }
        if let [only] = predictions.as_slice() {
            report.set("predictions", only.clone());
        } else if !predictions.is_empty() {
            report.set("predictions", predictions);
        }
        if let [(_, only)] = maps.as_slice() {
            report.set("target", only.json.clone());
        } else {
            report.set("targets", told);
        }
        Ok(Explained { opened, photos, maps, names })
    }

    /// The same for a command that takes one photo and one target.
    pub(crate) fn open_one(&self, report: &mut Report) -> Outcome<Explained> {
        let explained = self.open(report)?;
        match explained.maps.len() {
            1 => Ok(explained),
            maps => {
                Err(Failure::misuse(format!("this command takes one photo and one target, not {maps} maps")))
            }
        }
    }
}

/// A photo by the name of its file.
fn named(path: &Path) -> String {
    match path.file_name() {
        Some(name) if !stream::is_meant_by(path) => name.to_string_lossy().into_owned(),
        _ => stream::called(path),
    }
}

impl Explained {
    /// Makes one map after the other, up to the one during which Ctrl-C was pressed.
    pub(crate) fn each<T>(
        &self,
        mut map: impl FnMut(Tensor<4>, &Asked) -> vis::Result<T>,
    ) -> vis::Result<Vec<T>> {
        let mut made = Vec::new();
        for (photo, asked) in &self.maps {
            made.push(map(self.photos[*photo].image.clone(), asked)?);
            if progress::is_interrupted() {
                break;
            }
        }
        Ok(made)
    }

    /// Reports how many maps there are, if not all.
    pub(crate) fn tell(&self, report: &mut Report, made: usize) {
        if made < self.maps.len() {
            report.say(format!("{made} of {} maps", self.maps.len()));
        }
    }

    /// Reports maps that say nothing.
    pub(crate) fn tell_blanks(&self, report: &mut Report, blanks: impl Iterator<Item = Option<Blank>>) {
        for ((_, asked), blank) in self.maps.iter().zip(blanks) {
            if let Some(blank) = blank {
                report.say(format!("{}: {blank}", asked.caption));
            }
        }
    }

    /// Writes the maps over their photos, if they are wanted: one as it is, several as a grid.
    pub(crate) fn write_picture(
        &self,
        report: &mut Report,
        (outputs, draw): (&OutputOptions, &DrawOptions),
        maps: &[Array2<f32>],
        usual: ColorMap,
        normalize: impl Fn(ArrayView2<'_, f32>) -> vis::Result<Array2<f32>>,
    ) -> Outcome {
        outputs.write_picture(report, || {
            let maps = draw.scale.apply(maps, normalize)?;
            let over = self.maps.iter().zip(&maps);
            let over = over.map(|((photo, _), map)| draw.overlay(&self.photos[*photo].picture, map, usual));
            let mut over: Vec<RgbImage> = over.collect::<vis::Result<_>>()?;
            if self.maps.len() == 1 {
                return Ok(over.remove(0));
            }
            let caption = |(photo, asked): &(usize, Asked)| match self.names.len() {
                1 => asked.caption.clone(),
                _ => format!("{}: {}", self.names[*photo], asked.caption),
            };
            let captions: Vec<String> = self.maps.iter().take(over.len()).map(caption).collect();
            let columns = match self.maps.len() / self.names.len() {
                // A row for each photo.
                targets if self.names.len() > 1 && targets > 1 => targets,
                _ => over.len().min(4),
            };
            Grid::new(&over).captions(captions).columns(columns).render()
        })
    }

    /// Writes the numbers of the maps, one below the other, and reports them.
    pub(crate) fn write_raw(
        &self,
        report: &mut Report,
        outputs: &OutputOptions,
        raws: Vec<Tensor<4>>,
    ) -> Outcome {
        let raws: Vec<_> = raws.into_iter().map(crate::host::array4).collect();
        let views: Vec<_> = raws.iter().map(|raw| raw.view()).collect();
        let raw = ndarray::concatenate(Axis(0), &views)
            .map_err(|error| Failure::new(format!("the maps do not fit together: {error}")))?
            .into_dyn();
        report.set("map", described(&raw.view()));
        // The least of a gradient is shown as it is; only what is rectified loses it, and tells so itself.
        let shows_nothing = |raw| Blank::of(raw).filter(|blank| *blank != Blank::Negative);
        self.tell_blanks(report, raws.iter().map(shows_nothing));
        outputs.write_raw(report, raw.view())
    }

    /// The one row of losses that a method without steps has: the scores that it explains.
    pub(crate) fn write_losses(&self, report: &mut Report, outputs: &OutputOptions) -> Outcome {
        self.write_scores(report, outputs, |asked| (asked.name.clone(), asked.score))
    }

    /// The same for a method that explains the probability of a class.
    pub(crate) fn write_probability(&self, report: &mut Report, outputs: &OutputOptions) -> Outcome {
        self.write_scores(report, outputs, |asked| match asked.probability {
            Some(probability) => (format!("probability of {}", asked.name), probability),
            None => (asked.name.clone(), asked.score),
        })
    }

    fn write_scores(
        &self,
        report: &mut Report,
        outputs: &OutputOptions,
        score: impl Fn(&Asked) -> (String, f32),
    ) -> Outcome {
        let column = |(photo, asked): &(usize, Asked)| match (self.names.len(), score(asked)) {
            (1, column) => column,
            (_, (name, score)) => (format!("{}: {name}", self.names[*photo]), score),
        };
        let (names, scores): (Vec<_>, Vec<_>) = self.maps.iter().map(column).unzip();
        outputs.write_row(report, &names, scores)
    }
}

impl Scale {
    /// Brings maps to the range of colours, all together or each alone.
    fn apply(
        self,
        maps: &[Array2<f32>],
        normalize: impl Fn(ArrayView2<'_, f32>) -> vis::Result<Array2<f32>>,
    ) -> vis::Result<Vec<Array2<f32>>> {
        if self == Self::Each {
            return maps.iter().map(|map| normalize(map.view())).collect();
        }
        // As if they were one map: all have the width of the image.
        let views: Vec<_> = maps.iter().map(|map| map.view()).collect();
        let Ok(all) = ndarray::concatenate(Axis(0), &views) else { return Self::Each.apply(maps, normalize) };
        let all = normalize(all.view())?;
        let mut first = 0;
        let part = |map: &Array2<f32>| {
            let rows = first..first + map.nrows();
            first = rows.end;
            all.slice(ndarray::s![rows, ..]).to_owned()
        };
        Ok(maps.iter().map(part).collect())
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
            true => Opacity::FollowsMap((2.0 * self.opacity).min(1.0)),
            false => Opacity::Constant(self.opacity),
        };
        Ok(enlarged(picture::overlay_heat(photo, map.view(), colors, opacity)?))
    }
}

/// The map of one image with one channel, `[1, 1, height, width]`, as a matrix.
pub(crate) fn matrix(map: Tensor<4>) -> Array2<f32> {
    let [_, _, height, width] = map.dims();
    crate::host::array2(map.reshape([height, width]))
}
