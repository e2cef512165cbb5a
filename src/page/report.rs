//! One page on one photo.

mod channels;
mod methods;

use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::tensor::Tensor;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};

use super::{class_of, fields, number, percent, render, templates, write_text};
use crate::model::values::probabilities;
use crate::model::{Model, Preset};
use crate::progress::SharedWatcher;
use crate::{Error, Progress, Result, Target, host, picture};

/// The classes that are listed.
const CLASSES: usize = 5;
/// Of JPEG, from 0 to 100.
const QUALITY: u8 = 88;

/// A page on one photo that needs no other file: what the network predicts; every attribution method with its scores of
/// deletion and insertion, beside blind controls that know nothing of the network; the channels that matter most, with
/// their pictures; and all settings.
///
/// ```no_run
/// use vis::page::Report;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let photo = vis::picture::load("cat.jpg")?;
/// let reported = Report::new(&model, &photo)?.run()?;
/// reported.save("report.html")?;
/// println!("{}", reported.json());
/// # Ok::<(), vis::Error>(())
/// ```
pub struct Report<'a> {
    model: &'a dyn Model,
    photo: RgbImage,
    image: Tensor<4>,
    target: Target,
    /// What is explained, in words.
    wanted: Option<String>,
    title: String,
    steps: usize,
    masks: usize,
    max_channels: usize,
    channels: usize,
    seed: u64,
    preset: Preset,
    size: (usize, usize),
    settings: Vec<(String, String)>,
    progress: Option<SharedWatcher<'a>>,
}

/// A report: the page, and the same for programs.
#[derive(Debug, Clone)]
pub struct Reported {
    page: String,
    json: Value,
}

impl std::fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("title", &self.title)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<'a> Report<'a> {
    /// A report on a photo, which is resized and cropped to the network's input, about the class that the network predicts.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a photo that the network can't take.
    pub fn new(model: &'a dyn Model, photo: &RgbImage) -> Result<Self> {
        let (height, width) = model.input().size();
        let photo = picture::resize_to_cover_and_crop(photo, width as u32, height as u32)?;
        let image = picture::to_tensor(&photo, model)?;
        Ok(Self {
            model,
            photo,
            image,
            target: Target::predicted(),
            wanted: None,
            title: "A photo".into(),
            steps: 32,
            masks: 500,
            max_channels: 64,
            channels: 8,
            seed: 0,
            preset: model.preset(),
            size: (height, width),
            settings: Vec::new(),
            progress: None,
        })
    }

    /// Sets what is explained, and what it is called.
    pub fn target(mut self, target: Target, name: impl Into<String>) -> Self {
        (self.target, self.wanted) = (target, Some(name.into()));
        self
    }

    /// Sets the name of the photo.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the steps of integrated gradients and the samples of SmoothGrad, 32 by default.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the masks of RISE, 500 by default.
    pub fn masks(mut self, masks: usize) -> Self {
        self.masks = masks;
        self
    }

    /// Sets the most channels of Score-CAM and Ablation-CAM, 64 by default.
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = channels;
        self
    }

    /// Sets how many channels get a picture, 8 by default.
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// Sets the seed of all randomness.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how the pictures of channels are made, instead of by the network's own preset.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets the height and width of the pictures of channels, for a network that takes any size.
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = (height, width);
        self
    }

    /// Adds a line to the settings, such as where the network is from.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Follows the work, and may end it: what is not done is left out.
    pub fn progress(mut self, watcher: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(SharedWatcher::new(watcher));
        self
    }

    /// Computes everything.
    ///
    /// # Errors
    ///
    /// [`Error::Probabilities`], [`Error::NonFinite`] and whatever the target finds. A method that has nothing to say of
    /// this network or photo is left out, and the report says why.
    pub fn run(&self) -> Result<Reported> {
        let predictions = self.predictions()?;
        let target = self.target.resolved(self.model, &self.image)?;
        let goal = target.as_probability();
        let score = goal.scores(self.model, self.image.clone())?.first().copied().unwrap_or_default();
        let ends = methods::Ends::new(self, &goal)?;
        let (explained, missing, ended) = methods::explain(self, &target, &ends)?;
        let (layer, channels) = match ended {
            ControlFlow::Break(()) => (None, Vec::new()),
            ControlFlow::Continue(()) => channels::strongest(self, &target)?,
        };
        let mut settings = vec![
            ("vis".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            (
                "Input".to_owned(),
                format!("{:?} in {:?}", self.model.input().shape(), self.model.input().range()),
            ),
            ("Seed".to_owned(), self.seed.to_string()),
            ("Steps of integrated gradients, samples of SmoothGrad".to_owned(), self.steps.to_string()),
            ("Masks of RISE".to_owned(), self.masks.to_string()),
            ("Channels of Score-CAM and Ablation-CAM".to_owned(), self.max_channels.to_string()),
            ("Deletion and insertion".to_owned(), ends.settings()),
        ];
        settings.extend(self.settings.iter().cloned());
        let (height, width) = self.size;
        settings.push(("Pictures of channels: size".into(), format!("{width} × {height}")));
        let of_preset = fields(&format!("{:?}", self.preset)).into_iter();
        settings.extend(of_preset.map(|(name, value)| (format!("Pictures of channels: {name}"), value)));
        let predicted = predictions.first().map_or("what it predicts", |first| &first.name);
        let wanted = self.wanted.clone().unwrap_or_else(|| predicted.to_owned());
        let finished = ended.is_continue();
        let json = json!({
            "format": "vis report 1",
            "version": env!("CARGO_PKG_VERSION"),
            "title": self.title,
            "target": { "name": wanted, "score": score },
            "predictions": predictions.iter().map(Prediction::json).collect::<Value>(),
            "methods": explained.iter().map(methods::Explained::json).collect::<Value>(),
            "left_out": missing.iter().map(|(name, why)| json!({ "name": name, "reason": why })).collect::<Value>(),
            "channels": { "layer": layer, "strongest": channels.iter().map(channels::Channel::json).collect::<Value>() },
            "settings": settings.iter().cloned().collect::<std::collections::BTreeMap<String, String>>(),
            "finished": finished,
        });
        let context = json!({
            "title": self.title,
            "version": env!("CARGO_PKG_VERSION"),
            "photo": { "src": embedded(&self.photo)?, "width": self.photo.width(), "height": self.photo.height(), "class": class_of(&self.photo) },
            "wanted": wanted,
            "score": number(f64::from(score)),
            "predictions": predictions.iter().map(Prediction::row).collect::<Value>(),
            "methods": methods::rows(&explained)?,
            "missing": missing.iter().map(|(name, why)| json!({ "name": name, "reason": why })).collect::<Value>(),
            "layer": layer,
            "channels": channels.iter().map(channels::Channel::row).collect::<Result<Value>>()?,
            "settings": settings.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Value>(),
            "finished": finished,
        });
        Ok(Reported { page: render(&templates()?, "report.html", &context)?, json })
    }

    fn predictions(&self) -> Result<Vec<Prediction>> {
        if self.model.logits().is_none() {
            return Ok(Vec::new());
        }
        let shares = host::values(probabilities(self.model.classify(self.image.clone())?));
        let mut classes: Vec<(usize, f32)> = shares.into_iter().enumerate().collect();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        let named = |(class, share): (usize, f32)| Prediction {
            class,
            name: self.model.class_name(class).map_or_else(|| format!("class {class}"), str::to_owned),
            share: f64::from(share),
        };
        Ok(classes.into_iter().take(CLASSES).map(named).collect())
    }

    fn tell(&self, stage: &str, done: usize, of: usize) -> ControlFlow<()> {
        self.progress.as_ref().map_or(ControlFlow::Continue(()), |progress| progress.report(stage, done, of))
    }
}

/// A class that the network sees.
struct Prediction {
    class: usize,
    name: String,
    share: f64,
}

impl Prediction {
    fn json(&self) -> Value {
        json!({ "class": self.class, "name": self.name, "probability": self.share })
    }

    fn row(&self) -> Value {
        json!({ "name": self.name, "value": percent(self.share), "percent": format!("{:.1}", 100.0 * self.share) })
    }
}

impl Reported {
    /// The page as HTML.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// The same without pictures, for programs.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Writes the page into a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_text(path.as_ref(), &self.page)
    }
}

/// A picture as an address that holds it.
fn embedded(picture: &RgbImage) -> Result<String> {
    let mut bytes = Vec::new();
    let (width, height) = picture.dimensions();
    let (kind, written) = match class_of(picture) {
        "" => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
            ("jpeg", encoder.write_image(picture, width, height, ExtendedColorType::Rgb8))
        }
        _ => {
            ("png", PngEncoder::new(&mut bytes).write_image(picture, width, height, ExtendedColorType::Rgb8))
        }
    };
    written.map_err(|error| Error::invalid("a picture", "one that can be encoded", error))?;
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
}
