//! What a file doesn't say about its input: the scale of the pixels, the order of the channels, the names of the classes.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};

use super::InputSpec;
use crate::{Error, Result};

/// What is done to the pixels of an image before the first layer: `(x − mean) / deviation`, channel by channel, after the
/// channels are turned round where the network takes blue first.
///
/// A file of a network says nothing about it; the page of the network does. With the wrong one the network runs, and is
/// wrong.
///
/// | | images | the network gets |
/// | --- | --- | --- |
/// | [`imagenet`](Self::imagenet) | RGB, `0..255` | `(x / 255 − mean) / deviation` with ImageNet's: torchvision, most of timm |
/// | [`caffe`](Self::caffe) | RGB, `0..255` | BGR minus ImageNet's mean: Keras's VGG and ResNet |
/// | [`tf`](Self::tf) | RGB, `0..255` | `x / 127.5 − 1`: Keras's MobileNet, Inception |
/// | [`unit`](Self::unit) | RGB, `0..255` | `x / 255` |
/// | [`none`](Self::none) | `0..1` | the image itself |
///
/// ```
/// use vis::model::Preprocessing;
/// // A network trained on bytes around 127, blue first.
/// let own = Preprocessing::new([127.0], [128.0]).with_reversed_channels();
/// assert_eq!(own.range(), (0.0, 255.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    mean: Vec<f32>,
    deviation: Vec<f32>,
    reversed: bool,
    /// `None` where nobody said.
    range: Option<(f32, f32)>,
}

impl Preprocessing {
    /// Images in `0..255`, standardised with these means and deviations in the units of the pixels: one for all channels,
    /// or one a channel in the order that the network has them.
    ///
    /// ```
    /// use vis::model::Preprocessing;
    /// assert_eq!(Preprocessing::new([0.0], [255.0]), Preprocessing::unit());
    /// ```
    pub fn new(mean: impl Into<Vec<f32>>, deviation: impl Into<Vec<f32>>) -> Self {
        Self { mean: mean.into(), deviation: deviation.into(), reversed: false, range: Some((0.0, 255.0)) }
    }

    /// ImageNet's means and deviations, as torchvision has them.
    pub fn imagenet() -> Self {
        let pixels = |values: [f32; 3]| values.map(|value| value * 255.0);
        Self::new(pixels([0.485, 0.456, 0.406]), pixels([0.229, 0.224, 0.225]))
    }

    /// Blue first, minus ImageNet's means, as Caffe has them.
    #[doc(alias = "bgr")]
    pub fn caffe() -> Self {
        Self::new([103.939, 116.779, 123.68], [1.0]).with_reversed_channels()
    }

    /// From −1 to 1.
    pub fn tf() -> Self {
        Self::new([127.5], [127.5])
    }

    /// From 0 to 1.
    pub fn unit() -> Self {
        Self::new([0.0], [255.0])
    }

    /// The image as it is. Its range is not known: pictures are made in `0..1`, and images of any values are taken, unless
    /// [`with_range`](Self::with_range) says what it is.
    pub fn none() -> Self {
        Self { range: None, ..Self::new([0.0], [1.0]) }
    }

    /// Turns the channels round: the network takes BGR.
    pub fn with_reversed_channels(mut self) -> Self {
        self.reversed = true;
        self
    }

    /// Sets the range of the pixels of an image, which pictures and optimisation keep to.
    ///
    /// ```
    /// use vis::model::Preprocessing;
    /// assert_eq!(Preprocessing::none().with_range((-1.0, 1.0)).range(), (-1.0, 1.0));
    /// ```
    pub fn with_range(mut self, range: (f32, f32)) -> Self {
        self.range = Some(range);
        self
    }

    /// The range of the pixels of an image.
    pub fn range(&self) -> (f32, f32) {
        self.range.unwrap_or((0.0, 1.0))
    }

    /// The input of a network `[channels, height, width]` under this preprocessing.
    pub(crate) fn input(&self, shape: [usize; 3]) -> InputSpec {
        let input = InputSpec::new(shape, self.range());
        if self.range.is_none() { input.with_assumed_range() } else { input }
    }

    /// Checks the numbers for an image of this many channels.
    pub(crate) fn check(&self, channels: usize) -> Result<()> {
        let wrong = |name: &'static str, list: &[f32]| {
            let fits = list.len() == 1 || list.len() == channels;
            (!fits || list.iter().any(|value| !value.is_finite())).then(|| {
                let expected = format!("one number, or one for each of {channels} channels");
                Error::invalid(name, expected, format!("{list:?}"))
            })
        };
        if let Some(error) = wrong("the mean of the pixels", &self.mean) {
            return Err(error);
        }
        if let Some(error) = wrong("the deviation of the pixels", &self.deviation) {
            return Err(error);
        }
        if self.deviation.contains(&0.0) {
            return Err(Error::invalid("the deviation of the pixels", "other than 0", "0"));
        }
        let (low, high) = self.range();
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(Error::invalid(
                "the range of the pixels",
                "from a number to a larger one",
                format!("{low}..{high}"),
            ));
        }
        Ok(())
    }

    /// What the network gets of an image `[batch, channels, height, width]`.
    pub(crate) fn forward(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        let channels = image.dims()[1];
        self.check(channels)?;
        let image = if self.reversed && channels > 1 { image.flip([1]) } else { image };
        let device = image.device().inner();
        let around = |list: &[f32]| {
            Tensor::<4>::from_data(TensorData::new(list.to_vec(), [1, list.len(), 1, 1]), &device)
        };
        let image =
            if self.mean.iter().all(|mean| *mean == 0.0) { image } else { image - around(&self.mean) };
        Ok(if self.deviation.iter().all(|deviation| *deviation == 1.0) {
            image
        } else {
            image / around(&self.deviation)
        })
    }
}

/// The names of classes from a file.
pub(crate) fn labels(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let wrong =
        |reason: &str| Error::Format { path: path.to_owned(), kind: "list of labels", reason: reason.into() };
    let start = text.trim_start();
    if !start.starts_with(['[', '{']) {
        return Ok(text.lines().map(|line| line.trim().to_owned()).collect());
    }
    let json: serde_json::Value = serde_json::from_str(start).map_err(|error| wrong(&error.to_string()))?;
    let name = |value: &serde_json::Value| -> Option<String> {
        match value {
            serde_json::Value::String(name) => Some(name.clone()),
            serde_json::Value::Array(list) => list.last()?.as_str().map(str::to_owned),
            _ => None,
        }
    };
    match &json {
        serde_json::Value::Array(list) => {
            list.iter().map(name).collect::<Option<_>>().ok_or_else(|| wrong("a name is not a string"))
        }
        serde_json::Value::Object(map) => {
            let mut names = vec![String::new(); map.len()];
            for (index, value) in map {
                let place = index.parse().ok().and_then(|index: usize| names.get_mut(index));
                let place =
                    place.ok_or_else(|| wrong(&format!("`{index}` is no index below {}", map.len())))?;
                *place = name(value).ok_or_else(|| wrong(&format!("the name of {index} is not a string")))?;
            }
            Ok(names)
        }
        _ => Err(wrong("neither a list nor an object")),
    }
}
