//! The networks that the command knows, and how to open one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser, ValueParserFactory};
use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};
use vis::model::weights::Pretrained;
use vis::model::{
    Digits, EfficientNetLite0, InputSpec, Layer, MobileNetV2, Model, Onnx, Preprocessing, Preset, ResNet,
    Stop, Taps, Vgg16, Vgg19, VisionTransformer,
};

use crate::failure::{Failure, Outcome};
use crate::fetch::megabytes;
use crate::{device, stream};

/// A network by name, or a file of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    Named(Named),
    /// An ONNX file.
    File(PathBuf),
}

/// A network that the library has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Named {
    /// VGG16: the bundled weights have its convolutions, a file of your own may have the classes as well
    Vgg16,
    /// VGG19: `vis fetch vgg19` gets its weights
    Vgg19,
    /// EfficientNet-Lite0: 1000 classes of ImageNet, bundled
    #[value(alias = "efficientnet", alias = "lite0")]
    EfficientnetLite0,
    /// ResNet-18: `vis fetch resnet18` gets its weights
    Resnet18,
    /// ResNet-34: `vis fetch resnet34` gets its weights
    Resnet34,
    /// ResNet-50: `vis fetch resnet50` gets its weights
    #[value(alias = "resnet")]
    Resnet50,
    /// MobileNetV2: `vis fetch mobilenet-v2` gets its weights
    #[value(name = "mobilenet-v2", alias = "mobilenet", alias = "mobilenetv2")]
    MobilenetV2,
    /// A vision transformer, as ViT-S/16: needs a file of weights of timm or torchvision
    #[value(alias = "vit-s16")]
    Vit,
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

    /// What the network of a file wants of the pixels: the page of the network says it. An ONNX file needs it; for resnet18 to
    /// resnet50 and mobilenet-v2 it is imagenet, for vit tf (imagenet for weights of torchvision) unless given
    #[arg(long, value_name = "HOW", help_heading = "Network")]
    pub(crate) preprocess: Option<Preprocess>,

    /// The names of the classes of an ONNX file: a name a line, or JSON
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub(crate) labels: Option<PathBuf>,

    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda, as far as built in [default: $BURN_DEVICE, or the first built in]
    #[arg(long, value_name = "DEVICE", help_heading = "Network")]
    pub(crate) device: Option<String>,
}

/// What is done to the pixels before the first layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preprocess {
    /// RGB standardised with ImageNet's means and deviations: torchvision, timm
    Imagenet,
    /// BGR minus ImageNet's means: Keras's VGG and ResNet
    Caffe,
    /// RGB from -1 to 1: Keras's MobileNet and Inception
    Tf,
    /// RGB from 0 to 1
    Unit,
    /// Nothing: the image, or the array, is passed as it is, in 0 to 1
    None,
}

impl Preprocess {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn preprocessing(self) -> Preprocessing {
        match self {
            Self::Imagenet => Preprocessing::imagenet(),
            Self::Caffe => Preprocessing::caffe(),
            Self::Tf => Preprocessing::tf(),
            Self::Unit => Preprocessing::unit(),
            Self::None => Preprocessing::none(),
        }
    }
}

/// A network that is ready to run.
pub(crate) struct Opened {
    pub(crate) network: Network,
    pub(crate) model: Box<dyn Model>,
    /// The name of the device it runs on.
    pub(crate) device: String,
}

impl ValueParserFactory for Network {
    type Parser = NetworkParser;

    fn value_parser() -> NetworkParser {
        NetworkParser
    }
}

/// Takes what ends in `.onnx` as a file, and all else as a name.
#[derive(Debug, Clone)]
pub(crate) struct NetworkParser;

impl TypedValueParser for NetworkParser {
    type Value = Network;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Network, clap::Error> {
        let path = Path::new(value);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
            return Ok(Network::File(path.to_owned()));
        }
        EnumValueParser::<Named>::new().parse_ref(command, argument, value).map(Network::Named)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values: Vec<PossibleValue> =
            Named::value_variants().iter().filter_map(Named::to_possible_value).collect();
        Some(Box::new(values.into_iter()))
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl Network {
    /// The name on the command line.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Named(known) => known.name(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The network with its weights on a device.
    pub(crate) fn open(&self, options: &NetworkOptions) -> Outcome<Opened> {
        let (name, device) = device::open(options.device.as_deref())?;
        let model = match self {
            Self::Named(known) => {
                if options.labels.is_some() {
                    return Err(Failure::misuse(
                        "--labels is for ONNX files: the networks with a name know their classes",
                    ));
                }
                if options.preprocess.is_some() && !known.takes_preprocessing() {
                    return Err(Failure::misuse(format!(
                        "--preprocess is for ONNX files, ResNet, MobileNetV2 and ViT: {} knows it",
                        known.name()
                    )));
                }
                known.load(options, &device)?
            }
            Self::File(path) => from_file(path, options, &device)?,
        };
        Ok(Opened { network: self.clone(), model: Box::new(Known::new(model)), device: name })
    }
}

/// The network of an ONNX file.
fn from_file(path: &Path, options: &NetworkOptions, device: &Device) -> Outcome<Box<dyn Model>> {
    if options.weights.is_some() {
        return Err(Failure::misuse("--weights can't be given with an ONNX file, which has its own"));
    }
    let Some(preprocess) = options.preprocess else {
        return Err(Failure::misuse(
            "an ONNX file does not say what its network wants of the pixels: give --preprocess imagenet, caffe, tf, unit or none",
        ));
    };
    let model = Onnx::new(path, preprocess.preprocessing()).device(device).load()?;
    Ok(Box::new(match &options.labels {
        Some(labels) => model.with_labels(labels)?,
        None => model,
    }))
}

impl Named {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it is, in a line.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Vgg16 => "13 convolutions, trained on ImageNet; filters that are a pleasure to look at",
            Self::Vgg19 => "16 convolutions and three dense layers, 1000 classes of ImageNet",
            Self::Resnet18 => "17 convolutions in residual blocks, 1000 classes of ImageNet",
            Self::Resnet34 => "33 convolutions in residual blocks, 1000 classes of ImageNet",
            Self::Resnet50 => "49 convolutions in residual blocks, 1000 classes of ImageNet",
            Self::MobilenetV2 => "inverted residuals, 1000 classes of ImageNet",
            Self::Vit => "patches that attend to each other, for weights of timm or torchvision",
            Self::EfficientnetLite0 => "inverted residuals, 1000 classes of ImageNet, small and quick",
            Self::Digits => "reads a handwritten digit, white on black",
        }
    }

    /// Whether its weights are in the program.
    pub(crate) fn is_bundled(self) -> bool {
        match self {
            Self::Vgg16 => cfg!(feature = "bundled-vgg16"),
            Self::EfficientnetLite0 | Self::Digits => cfg!(feature = "bundled"),
            Self::Vgg19
            | Self::Resnet18
            | Self::Resnet34
            | Self::Resnet50
            | Self::MobilenetV2
            | Self::Vit => false,
        }
    }

    /// The file of its weights that was fetched before.
    fn fetched(self) -> Outcome<PathBuf> {
        let name = self.name();
        if self == Self::Vit {
            return Err(Failure::misuse("vit has no weights of its own: name a file with --weights"));
        }
        let known = Pretrained::named(&name)?;
        if known.at_hand().is_none() {
            return Err(Failure::misuse(format!(
                "there are no weights for {name} here: `vis fetch {name}` gets them ({}), or name a file with --weights",
                megabytes(known)
            )));
        }
        Ok(known.fetch(|download| download.offline(true))?)
    }

    /// The number of its classes as bundled.
    pub(crate) fn classes(self) -> Option<usize> {
        match self {
            Self::Vgg16 => None,
            Self::Digits => Some(10),
            _ => Some(1000),
        }
    }

    /// The image it takes by default: channels, height, width.
    pub(crate) fn input(self) -> [usize; 3] {
        if self == Self::Digits { [1, 28, 28] } else { [3, 224, 224] }
    }

    /// Whether its weights may have been trained with pixels of one scale or another.
    fn takes_preprocessing(self) -> bool {
        matches!(self, Self::Resnet18 | Self::Resnet34 | Self::Resnet50 | Self::MobilenetV2 | Self::Vit)
    }

    fn load(self, options: &NetworkOptions, device: &Device) -> Outcome<Box<dyn Model>> {
        let weights = options.weights.as_deref();
        if weights.is_some_and(stream::is_meant_by) {
            return Err(Failure::misuse("weights are not read from standard input: name a file"));
        }
        let fetched;
        let file = match (weights, self) {
            (Some(file), _) => file,
            (None, Self::Vgg16) => return Ok(Box::new(Vgg16::bundled(device)?)),
            (None, Self::EfficientnetLite0) => return Ok(Box::new(EfficientNetLite0::bundled(device)?)),
            (None, Self::Digits) => return Ok(Box::new(Digits::bundled(device)?)),
            (None, _) => {
                fetched = self.fetched()?;
                &fetched
            }
        };
        let preprocessing = options.preprocess.map(Preprocess::preprocessing);
        Ok(match self {
            Self::Vgg16 => Box::new(Vgg16::from_file(file, device)?),
            Self::Vgg19 => Box::new(Vgg19::from_file(file, device)?),
            Self::EfficientnetLite0 => Box::new(EfficientNetLite0::from_file(file, device)?),
            Self::Digits => Box::new(Digits::from_file(file, device)?),
            Self::Resnet18 => residual::<18>(file, preprocessing, device)?,
            Self::Resnet34 => residual::<34>(file, preprocessing, device)?,
            Self::Resnet50 => residual::<50>(file, preprocessing, device)?,
            Self::MobilenetV2 => {
                let model = MobileNetV2::from_file(file, device)?;
                Box::new(match preprocessing {
                    Some(preprocessing) => model.with_preprocessing(preprocessing)?,
                    None => model,
                })
            }
            Self::Vit => {
                let model = VisionTransformer::from_file(file, device)?;
                Box::new(match preprocessing {
                    Some(preprocessing) => model.with_preprocessing(preprocessing)?,
                    None => model,
                })
            }
        })
    }
}

fn residual<const DEPTH: usize>(
    file: &Path,
    preprocessing: Option<Preprocessing>,
    device: &Device,
) -> Outcome<Box<dyn Model>> {
    let model = ResNet::<DEPTH>::from_file(file, device)?;
    Ok(Box::new(match preprocessing {
        Some(preprocessing) => model.with_preprocessing(preprocessing)?,
        None => model,
    }))
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

/// A network whose table of layers, which takes a forward pass, is made once.
///
/// Everything else is the network's own: every method of [`Model`] is passed on.
struct Known {
    model: Box<dyn Model>,
    layers: OnceLock<Vec<Layer>>,
}

impl Known {
    fn new(model: Box<dyn Model>) -> Self {
        Self { model, layers: OnceLock::new() }
    }
}

impl Model for Known {
    fn input(&self) -> &InputSpec {
        self.model.input()
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        self.model.forward(image, taps)
    }

    fn is_frozen(&self) -> bool {
        self.model.is_frozen()
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn logits(&self) -> Option<&str> {
        self.model.logits()
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        self.model.class_name(class)
    }

    fn preset(&self) -> Preset {
        self.model.preset()
    }

    fn layers(&self) -> vis::Result<Vec<Layer>> {
        if let Some(layers) = self.layers.get() {
            return Ok(layers.clone());
        }
        let layers = self.model.layers()?;
        Ok(self.layers.get_or_init(|| layers).clone())
    }

    fn activation(&self, image: Tensor<4>, layer: &str) -> vis::Result<Tensor<4>> {
        self.model.activation(image, layer)
    }

    fn classify(&self, image: Tensor<4>) -> vis::Result<Tensor<2>> {
        self.model.classify(image)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts its forward passes.
    struct Counting(InputSpec, AtomicUsize);

    impl Model for &'static Counting {
        fn input(&self) -> &InputSpec {
            &self.0
        }

        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            self.1.fetch_add(1, Ordering::SeqCst);
            taps.layer("twice", image * 2.0).map(drop)
        }
    }

    #[test]
    fn the_table_of_layers_takes_one_forward_pass_however_often_it_is_asked_for() {
        let spec = InputSpec::new([2, 3, 5], (0.0, 1.0));
        let counting: &'static Counting = Box::leak(Box::new(Counting(spec, AtomicUsize::new(0))));
        let known = Known::new(Box::new(counting));
        for _ in 0..3 {
            let layers = known.layers().unwrap();
            assert_eq!((layers.len(), layers[0].shape), (1, [2, 3, 5]));
        }
        let made = vis::visualize_activation(&known, "twice").filter_indices([1]).max_iter(0).run().unwrap();
        assert_eq!(made.len(), 1);
        // One for the table; the run without steps measures the picture once.
        let passes = counting.1.load(Ordering::SeqCst);
        assert_eq!(passes, 2, "{passes} forward passes");
    }
}
