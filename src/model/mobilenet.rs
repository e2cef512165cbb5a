//! MobileNetV2.

use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::layers::{Convolution, Dense, Padding, global_average_pool, softmax};
use super::weights::{Parameters, Weights};
use super::{InputSpec, Model, Preprocessing, Preset, Stop, Taps, imagenet, torch};
use crate::Result;
use crate::backprop::Rectifier;

/// MobileNetV2, a network of inverted residuals with clipped rectifiers.
///
/// The layers are named as in torchvision: `features.0`; for each of 17 blocks `features.2.conv.0` (the expansion, not in
/// block 1), `features.2.conv.1` (channel by channel), `features.2.conv.2` (the projection), and `features.2`, the output of
/// the block after the residual sum; `features.18`, `avgpool`, `classifier.1` (the class scores) and `softmax`. In block 1
/// the numbers are one lower. The activation of a convolution is what leaves its batch normalisation and rectifier; the
/// projection has no rectifier.
///
/// Images are RGB in `0..255`, of any size from 32 pixels and 224 by default; ImageNet's mean and deviation are applied
/// inside, unless [`with_preprocessing`](Self::with_preprocessing) says otherwise.
///
/// A file has torchvision's names (`features.0.0.weight`, …) or timm's (`conv_stem.weight`, `blocks.1.0.conv_pw.weight`, …),
/// and any multiple of the widths. Batch normalisation is folded into the convolutions when it is read. `classifier` may be
/// missing.
///
/// Source: Sandler et al. 2018, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, table 2.
#[derive(Debug, Clone)]
#[doc(alias = "mobilenet_v2")]
#[doc(alias = "mobilenetv2_100")]
pub struct MobileNetV2 {
    input: InputSpec,
    preprocessing: Preprocessing,
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
    classifier: Option<Dense>,
    device: Device,
}

/// An inverted residual: expand, convolve channel by channel, project.
#[derive(Debug, Clone)]
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    residual: bool,
}

/// Expansion, outputs, repeats, and the stride of the first block.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];
const STEM: usize = 32;
const HEAD: usize = 1280;

/// How a file names its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Torchvision,
    Timm,
}

/// Where a block stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of all blocks, counted from 1.
    number: usize,
    stage: usize,
    /// Of the stage, counted from 0.
    repeat: usize,
    expands: bool,
}

/// The convolutions of a block.
#[derive(Debug, Clone, Copy)]
enum Part {
    Expand,
    Depthwise,
    Project,
}

impl Form {
    fn of(parameters: &Parameters) -> Self {
        if parameters.names().any(|name| name.starts_with("blocks.")) {
            Self::Timm
        } else {
            Self::Torchvision
        }
    }

    /// The names of the first convolution and its norm.
    fn stem(self) -> [String; 2] {
        match self {
            Self::Torchvision => ["features.0.0".into(), "features.0.1".into()],
            Self::Timm => ["conv_stem".into(), "bn1".into()],
        }
    }

    /// The names of the last convolution and its norm.
    fn head(self) -> [String; 2] {
        match self {
            Self::Torchvision => ["features.18.0".into(), "features.18.1".into()],
            Self::Timm => ["conv_head".into(), "bn2".into()],
        }
    }

    fn classifier(self) -> &'static str {
        match self {
            Self::Torchvision => "classifier.1",
            Self::Timm => "classifier",
        }
    }

    /// The names of a convolution of a block and of its norm.
    fn part(self, place: Place, part: Part) -> [String; 2] {
        let Place { number, stage, repeat, expands } = place;
        let index = part as usize - usize::from(!expands);
        match self {
            Self::Torchvision => {
                let conv = format!("features.{number}.conv.{index}");
                match part {
                    Part::Project => [conv, format!("features.{number}.conv.{}", index + 1)],
                    _ => [format!("{conv}.0"), format!("{conv}.1")],
                }
            }
            Self::Timm => {
                let conv = match (part, expands) {
                    (Part::Depthwise, _) => "conv_dw",
                    (Part::Project, true) => "conv_pwl",
                    _ => "conv_pw",
                };
                [conv.to_owned(), format!("bn{}", index + 1)]
                    .map(|layer| format!("blocks.{stage}.{repeat}.{layer}"))
            }
        }
    }
}

impl MobileNetV2 {
    /// The network with the weights of a file of torchvision or timm.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't
    /// be read, and [`Error::Weights`](crate::Error::Weights) for one of another network.
    ///
    /// ```no_run
    /// use vis::model::MobileNetV2;
    /// let model = MobileNetV2::from_file("mobilenet_v2-7ebf99e0.pth", &Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Weights::from_file(path, device)?.load(Self::assemble)
    }

    /// The network with [random weights](Weights::random), for tests and for comparisons with a network
    /// that has learned nothing.
    ///
    /// ```
    /// use vis::{Model, model::MobileNetV2};
    /// let model = MobileNetV2::with_random_weights(0, &Default::default())?;
    /// let image = burn::tensor::Tensor::zeros([1, 3, 64, 32], &model.device());
    /// assert_eq!(model.activation(image, "features.4.conv.1")?.dims(), [1, 144, 8, 4]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Weights::random(seed, device).load(Self::assemble)
    }

    /// Sets what is done to the pixels, for weights that were not trained with ImageNet's mean and deviation.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) for numbers that don't fit three channels.
    pub fn with_preprocessing(mut self, preprocessing: Preprocessing) -> Result<Self> {
        preprocessing.check(3)?;
        self.input = preprocessing.input(self.input.shape()).with_any_size_from(32);
        self.preprocessing = preprocessing;
        Ok(self)
    }

    /// MobileNetV2 as timm trained it on ImageNet. The file, 14 MB, is fetched the first time, and read from a cache from then
    /// on: see [`Pretrained`](super::weights::Pretrained). Its licence is Apache-2.0.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// let model = vis::model::MobileNetV2::pretrained(&Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[cfg(feature = "download")]
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("mobilenet-v2", device)?.load(Self::assemble)
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let form = Form::of(parameters);
        let (stem, mut channels) = convolution(parameters, form.stem(), [STEM, 3, 3, 3])?;
        let mut blocks: Vec<Block> = Vec::new();
        for (stage, (expansion, outputs, repeats, first_stride)) in STAGES.into_iter().enumerate() {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                let (inputs, expands) = (channels, expansion > 1);
                let place = Place { number: blocks.len() + 1, stage, repeat, expands };
                let (expand, inner) = match expands {
                    true => {
                        let shape = [inputs * expansion, inputs, 1, 1];
                        let (expand, inner) = convolution(parameters, form.part(place, Part::Expand), shape)?;
                        (Some(expand), inner)
                    }
                    false => (None, inputs),
                };
                let (depthwise, _) =
                    convolution(parameters, form.part(place, Part::Depthwise), [inner, 1, 3, 3])?;
                let depthwise = depthwise.with_stride(stride);
                let (project, outputs) =
                    convolution(parameters, form.part(place, Part::Project), [outputs, inner, 1, 1])?;
                let residual = stride == 1 && inputs == outputs;
                blocks.push(Block { expand, depthwise, project, residual });
                channels = outputs;
            }
        }
        let (head, channels) = convolution(parameters, form.head(), [HEAD, channels, 1, 1])?;
        let name = form.classifier();
        let has_classes = parameters.is_random() || parameters.shape(&format!("{name}.weight")).is_some();
        let classes = torch::outputs(parameters, &format!("{name}.bias"), imagenet::CLASSES);
        let classifier =
            has_classes.then(|| torch::dense(parameters, name, [classes, channels])).transpose()?;
        let preprocessing = Preprocessing::imagenet();
        Ok(Self {
            input: preprocessing.input([3, 224, 224]).with_any_size_from(32),
            preprocessing,
            stem: stem.with_stride(2),
            blocks,
            head,
            classifier,
            device: parameters.device().clone(),
        })
    }
}

/// A convolution that gives as many channels as its norm has gains in the file.
fn convolution(
    parameters: &mut Parameters,
    [conv, norm]: [String; 2],
    [standard, inputs, kernel, _]: [usize; 4],
) -> Result<(Convolution, usize)> {
    let outputs = torch::outputs(parameters, &format!("{norm}.weight"), standard);
    let conv = torch::convolution(parameters, &conv, &norm, [outputs, inputs, kernel, kernel])?;
    Ok((conv.with_padding(Padding::Pixels(kernel / 2)), outputs))
}

impl Block {
    fn forward(&self, name: &str, x: Tensor<4>, taps: &mut Taps) -> Result<Tensor<4>, Stop> {
        let mut y = x.clone();
        let rectified = self.expand.iter().chain([&self.depthwise]);
        let mut index = 0;
        for convolution in rectified {
            y = convolution.rectified(y, taps, Rectifier::Relu6);
            y = taps.layer(&format!("{name}.conv.{index}"), y)?;
            index += 1;
        }
        y = self.project.forward(y, taps);
        y = taps.layer(&format!("{name}.conv.{index}"), y)?;
        if self.residual {
            y = y + x;
        }
        taps.describe(if self.residual { "residual sum" } else { "block" }, 0);
        taps.layer(name, y)
    }
}

impl Model for MobileNetV2 {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = self.preprocessing.forward(image).map_err(|error| taps.fail(error))?;
        let x = self.stem.rectified(x, taps, Rectifier::Relu6);
        let mut x = taps.layer("features.0", x)?;
        for (number, block) in (1..).zip(&self.blocks) {
            x = block.forward(&format!("features.{number}"), x, taps)?;
        }
        let x = self.head.rectified(x, taps, Rectifier::Relu6);
        let x = taps.layer(&format!("features.{}", self.blocks.len() + 1), x)?;
        let x = global_average_pool(x, taps);
        let x = taps.layer("avgpool", x)?;
        let Some(classifier) = &self.classifier else { return Ok(()) };
        let x = classifier.forward(x, taps);
        let x = taps.layer("classifier.1", x)?;
        let x = softmax(x, taps);
        taps.layer("softmax", x)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        self.classifier.as_ref().map(|_| "classifier.1")
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        let classifier = self.classifier.as_ref()?;
        if classifier.outputs() == imagenet::CLASSES { imagenet::name(class) } else { None }
    }

    fn preset(&self) -> Preset {
        Preset::robust()
    }
}
