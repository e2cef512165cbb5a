//! Residual networks.

use std::fmt;
use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::layers::{Convolution, Dense, Padding, global_average_pool, max_pool_3x3, softmax};
use super::weights::{Parameters, Weights};
use super::{InputSpec, Model, Preprocessing, Preset, Stop, Taps, imagenet, torch};
use crate::Result;
use crate::backprop::Rectifier;

/// A residual network of 18 layers with weights: see [`ResNet`].
pub type ResNet18 = ResNet<18>;

/// A residual network of 34 layers with weights: see [`ResNet`].
pub type ResNet34 = ResNet<34>;

/// A residual network of 50 layers with weights: see [`ResNet`].
pub type ResNet50 = ResNet<50>;

/// The residual network of `DEPTH` layers with weights: 18 and 34 of two convolutions a block, 50, 101 and 152 of three.
///
/// The layers are named as in torchvision and timm: `conv1`, `maxpool`; for each block of the four stages
/// `layer1.0.conv1`, `layer1.0.conv2`, … `layer1.0.downsample` (where there is one) and `layer1.0`, the output of the block
/// after the sum and its rectifier; `avgpool`, `fc` (the class scores) and `softmax`. The activation of a convolution is
/// what leaves its batch normalisation, and its rectifier where it has one: the last of a block and `downsample` have none.
///
/// Images are RGB in `0..255`, of any size from 32 pixels and 224 by default; ImageNet's mean and deviation are applied
/// inside, unless [`with_preprocessing`](Self::with_preprocessing) says otherwise.
///
/// A file has the names and layouts of torchvision, which are timm's as well. Batch normalisation is folded into the
/// convolutions when it is read. The numbers of channels and classes are the file's own, and `fc` may be missing, so that
/// networks fine-tuned, pruned or without their classes load as well. The block of three convolutions has its stride in
/// the second, as both libraries have it ("ResNet v1.5").
///
/// Source: He et al. 2015, *Deep Residual Learning for Image Recognition*, table 1.
#[derive(Clone)]
#[doc(alias = "resnet18")]
#[doc(alias = "resnet34")]
#[doc(alias = "resnet50")]
pub struct ResNet<const DEPTH: usize> {
    input: InputSpec,
    preprocessing: Preprocessing,
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    fc: Option<Dense>,
    device: Device,
}

/// Two or three convolutions, and what is added to their result.
#[derive(Debug, Clone)]
struct Block {
    convolutions: Vec<Convolution>,
    downsample: Option<Convolution>,
}

/// The kernels of the convolutions of a block; the first of 3×3 has the stride.
const BASIC: &[usize] = &[3, 3];
const BOTTLENECK: &[usize] = &[1, 3, 1];
/// How many times more channels leave a block of three than lie within.
const EXPANSION: usize = 4;
/// Channels within the blocks of each stage in the published networks.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];
const STEM: usize = 64;

#[cfg(feature = "download")]
impl ResNet<18> {
    /// ResNet-18, as torchvision trained it on ImageNet. The file, 47 MB, is fetched the first time, and read from a cache from then on: see
    /// [`Pretrained`](super::weights::Pretrained). Its licence is BSD-3-Clause.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// let model = vis::model::ResNet18::pretrained(&Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("resnet18", device)?.load(Self::assemble)
    }
}

#[cfg(feature = "download")]
impl ResNet<34> {
    /// ResNet-34, as timm trained it by its recipe A1 on ImageNet. The file, 87 MB, is fetched the first
    /// time, and read from a cache from then on: see [`Pretrained`](super::weights::Pretrained). Its licence is Apache-2.0.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// let model = vis::model::ResNet34::pretrained(&Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("resnet34", device)?.load(Self::assemble)
    }
}

#[cfg(feature = "download")]
impl ResNet<50> {
    /// ResNet-50, as torchvision trained it first on ImageNet. The file, 102 MB, is fetched the first
    /// time, and read from a cache from then on: see [`Pretrained`](super::weights::Pretrained). Its licence is BSD-3-Clause.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// let model = vis::model::ResNet50::pretrained(&Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("resnet50", device)?.load(Self::assemble)
    }
}

impl<const DEPTH: usize> ResNet<DEPTH> {
    /// The number of blocks in each stage, and what they are made of.
    const STAGES: ([usize; 4], &[usize]) = match DEPTH {
        18 => ([2, 2, 2, 2], BASIC),
        34 => ([3, 4, 6, 3], BASIC),
        50 => ([3, 4, 6, 3], BOTTLENECK),
        101 => ([3, 4, 23, 3], BOTTLENECK),
        152 => ([3, 8, 36, 3], BOTTLENECK),
        _ => panic!("there are ResNets of 18, 34, 50, 101 and 152 layers"),
    };

    /// The network with the weights of a file of torchvision or timm.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't
    /// be read, and [`Error::Weights`](crate::Error::Weights) for one of another network.
    ///
    /// ```no_run
    /// use vis::{Model, model::ResNet50};
    /// let model = ResNet50::from_file("resnet50-11ad3fa6.pth", &Default::default())?;
    /// assert_eq!(model.activation(model.input().zeros(&model.device()), "layer4.2")?.dims(), [1, 2048, 7, 7]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Weights::from_file(path, device)?.load(Self::assemble)
    }

    /// The network with [random weights](Weights::random), for tests and for comparisons with a network
    /// that has learned nothing.
    ///
    /// ```
    /// use vis::{Model, model::ResNet18};
    /// let model = ResNet18::with_random_weights(0, &Default::default())?;
    /// let image = burn::tensor::Tensor::zeros([1, 3, 64, 32], &model.device());
    /// assert_eq!(model.activation(image, "layer3.1.conv2")?.dims(), [1, 256, 4, 2]);
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
    ///
    /// ```
    /// use vis::model::{Preprocessing, ResNet18};
    /// let model = ResNet18::with_random_weights(0, &Default::default())?.with_preprocessing(Preprocessing::tf())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_preprocessing(mut self, preprocessing: Preprocessing) -> Result<Self> {
        preprocessing.check(3)?;
        self.input = preprocessing.input(self.input.shape()).with_any_size_from(32);
        self.preprocessing = preprocessing;
        Ok(self)
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let (counts, kernels) = Self::STAGES;
        let mut channels = torch::outputs(parameters, "bn1.weight", STEM);
        let stem = torch::convolution(parameters, "conv1", "bn1", [channels, 3, 7, 7])?;
        let stem = stem.with_stride(2).with_padding(Padding::Pixels(3));
        let mut stages = Vec::new();
        for (stage, (count, width)) in counts.into_iter().zip(WIDTHS).enumerate() {
            let mut blocks = Vec::new();
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", stage + 1);
                blocks.push(Block::assemble(parameters, &name, kernels, stride, &mut channels, width)?);
            }
            stages.push(blocks);
        }
        let has_classes = parameters.is_random() || parameters.shape("fc.weight").is_some();
        let classes = torch::outputs(parameters, "fc.bias", imagenet::CLASSES);
        let fc = has_classes.then(|| torch::dense(parameters, "fc", [classes, channels])).transpose()?;
        let preprocessing = Preprocessing::imagenet();
        let input = preprocessing.input([3, 224, 224]).with_any_size_from(32);
        Ok(Self { input, preprocessing, stem, stages, fc, device: parameters.device().clone() })
    }
}

impl Block {
    /// A block that takes `channels` channels, which become those that leave it.
    fn assemble(
        parameters: &mut Parameters,
        name: &str,
        kernels: &[usize],
        stride: usize,
        channels: &mut usize,
        width: usize,
    ) -> Result<Self> {
        let inputs = *channels;
        let mut convolutions = Vec::new();
        for (number, &kernel) in (1..).zip(kernels) {
            let (conv, norm) = (format!("{name}.conv{number}"), format!("{name}.bn{number}"));
            let is_expanding = kernels.len() == 3 && number == 3;
            let standard = if is_expanding { width * EXPANSION } else { width };
            let outputs = torch::outputs(parameters, &format!("{norm}.weight"), standard);
            let conv = torch::convolution(parameters, &conv, &norm, [outputs, *channels, kernel, kernel])?;
            let strided = kernels.iter().position(|kernel| *kernel == 3) == Some(number - 1);
            let conv = conv.with_padding(Padding::Pixels(kernel / 2));
            convolutions.push(if strided { conv.with_stride(stride) } else { conv });
            *channels = outputs;
        }
        let downsample = match stride > 1 || inputs != *channels {
            true => {
                let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                let conv = torch::convolution(parameters, &conv, &norm, [*channels, inputs, 1, 1])?;
                Some(conv.with_stride(stride))
            }
            false => None,
        };
        Ok(Self { convolutions, downsample })
    }

    fn forward(&self, name: &str, x: Tensor<4>, taps: &mut Taps) -> Result<Tensor<4>, Stop> {
        let mut y = x.clone();
        for (number, convolution) in (1..).zip(&self.convolutions) {
            let is_last = number == self.convolutions.len();
            y = if is_last {
                convolution.forward(y, taps)
            } else {
                convolution.rectified(y, taps, Rectifier::Relu)
            };
            y = taps.layer(&format!("{name}.conv{number}"), y)?;
        }
        let shortcut = match &self.downsample {
            Some(downsample) => {
                let x = downsample.forward(x, taps);
                taps.layer(&format!("{name}.downsample"), x)?
            }
            None => x,
        };
        let y = taps.relu(y + shortcut);
        taps.describe("residual sum", 0);
        taps.layer(name, y)
    }
}

impl<const DEPTH: usize> Model for ResNet<DEPTH> {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = self.preprocessing.forward(image).map_err(|error| taps.fail(error))?;
        let x = self.stem.rectified(x, taps, Rectifier::Relu);
        let x = taps.layer("conv1", x)?;
        let x = max_pool_3x3(x, taps);
        let mut x = taps.layer("maxpool", x)?;
        for (stage, blocks) in (1..).zip(&self.stages) {
            for (index, block) in blocks.iter().enumerate() {
                x = block.forward(&format!("layer{stage}.{index}"), x, taps)?;
            }
        }
        let x = global_average_pool(x, taps);
        let x = taps.layer("avgpool", x)?;
        let Some(fc) = &self.fc else { return Ok(()) };
        let x = fc.forward(x, taps);
        let x = taps.layer("fc", x)?;
        let x = softmax(x, taps);
        taps.layer("softmax", x)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        self.fc.as_ref().map(|_| "fc")
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        let fc = self.fc.as_ref()?;
        if fc.outputs() == imagenet::CLASSES { imagenet::name(class) } else { None }
    }

    fn preset(&self) -> Preset {
        Preset::robust()
    }
}

impl<const DEPTH: usize> fmt::Debug for ResNet<DEPTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("ResNet{DEPTH}"))
            .field("input", &self.input)
            .field("stages", &self.stages)
            .field("fc", &self.fc)
            .finish_non_exhaustive()
    }
}
