//! The networks that the command knows, and how to open one.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use serde::Serialize;
use vis::model::{Digits, EfficientNetLite0, Model, Vgg16, Vgg19};

use crate::device;
use crate::failure::{Failure, Outcome};

/// A network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Network {
    /// VGG16: the bundled weights have its convolutions, a file of your own may have the classes as well
    Vgg16,
    /// VGG19: needs a file of weights
    Vgg19,
    /// EfficientNet-Lite0: 1000 classes of ImageNet, bundled
    #[value(alias = "efficientnet", alias = "lite0")]
    EfficientnetLite0,
    /// A small network that reads handwritten digits, bundled
    #[value(alias = "mnist")]
    Digits,
}

/// Which network, with which weights, on which device.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct NetworkOptions {
    /// Weights of your own, .safetensors or PyTorch's .pth, instead of the bundled ones
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub(crate) weights: Option<PathBuf>,

    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda, as far as built in [default: $BURN_DEVICE, or the first built in]
    #[arg(long, value_name = "DEVICE", help_heading = "Network")]
    pub(crate) device: Option<String>,
}

/// A network that is ready to run.
pub(crate) struct Opened {
    pub(crate) network: Network,
    pub(crate) model: Box<dyn Model>,
    /// The name of the device it runs on.
    pub(crate) device: String,
}

impl Network {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it is, in a line.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Vgg16 => "13 convolutions, trained on ImageNet; filters that are a pleasure to look at",
            Self::Vgg19 => "16 convolutions and three dense layers, for weights of your own",
            Self::EfficientnetLite0 => "inverted residuals, 1000 classes of ImageNet, small and quick",
            Self::Digits => "reads a handwritten digit, white on black",
        }
    }

    /// Whether its weights come with the repository.
    pub(crate) fn is_bundled(self) -> bool {
        self != Self::Vgg19
    }

    /// The number of classes it tells apart as bundled.
    pub(crate) fn classes(self) -> Option<usize> {
        match self {
            Self::Vgg16 => None,
            Self::Vgg19 | Self::EfficientnetLite0 => Some(1000),
            Self::Digits => Some(10),
        }
    }

    /// The image it takes by default: channels, height, width.
    pub(crate) fn input(self) -> [usize; 3] {
        if self == Self::Digits { [1, 28, 28] } else { [3, 224, 224] }
    }

    /// The network with its weights on a device.
    pub(crate) fn open(self, options: &NetworkOptions) -> Outcome<Opened> {
        let (name, device) = device::open(options.device.as_deref())?;
        let model = self.load(options.weights.as_deref(), &device)?;
        Ok(Opened { network: self, model, device: name })
    }

    fn load(self, weights: Option<&Path>, device: &Device) -> Outcome<Box<dyn Model>> {
        Ok(match (self, weights) {
            (Self::Vgg16, None) => Box::new(Vgg16::bundled(device)?),
            (Self::Vgg16, Some(file)) => Box::new(Vgg16::from_file(file, device)?),
            (Self::Vgg19, None) => {
                return Err(Failure::misuse(
                    "there are no bundled weights for vgg19: name a file with --weights",
                ));
            }
            (Self::Vgg19, Some(file)) => Box::new(Vgg19::from_file(file, device)?),
            (Self::EfficientnetLite0, None) => Box::new(EfficientNetLite0::bundled(device)?),
            (Self::EfficientnetLite0, Some(file)) => Box::new(EfficientNetLite0::from_file(file, device)?),
            (Self::Digits, None) => Box::new(Digits::bundled(device)?),
            (Self::Digits, Some(file)) => Box::new(Digits::from_file(file, device)?),
        })
    }
}

impl Opened {
    /// The layer of class scores.
    pub(crate) fn class_layer(&self) -> Outcome<&str> {
        self.model.logits().ok_or_else(|| {
            Failure::misuse(format!(
                "{} has no classes with these weights: take another --model, or --weights with its dense top",
                self.network.name()
            ))
        })
    }
}
