//! EfficientNet-Lite0.

use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::layers::{Convolution, Dense, Padding, Standardization, global_average_pool, softmax};
use super::weights::{Parameters, Weights, bundled};
use super::{InputSpec, Model, Preset, Prior, Stop, Taps, imagenet};
use crate::backprop::Rectifier;
use crate::{Arithmetic, Result};

/// EfficientNet-Lite0, a small network of inverted residuals with clipped rectifiers, without
/// squeeze-and-excitation.
///
/// Its layers are `stem`; for each of 16 blocks `blocks.N.expand` (not in block 0), `blocks.N.depthwise`,
/// `blocks.N.project` and `blocks.N`, the output of the block after the residual sum; `head`,
/// `global_pool`, `predictions` (the class scores) and `softmax`. The activation of a convolution is what
/// leaves its rectifier; `project` has none.
///
/// Images are RGB in `0..255`, of any size from 32 pixels and 224 by default.
///
/// A file of weights has `stem`, `blocks.N.expand`, `blocks.N.depthwise`, `blocks.N.project`, `head` and
/// `predictions`, each with `.weight` (`[out, in, height, width]`, `predictions` `[out, in]`) and `.bias`,
/// batch normalisation folded into them.
///
/// Sources: Tan & Le 2019, *EfficientNet*; the Lite variant is from TensorFlow's `tpu` repository,
/// `models/official/efficientnet/lite`.
///
/// ```no_run
/// use vis::{Model, model::EfficientNetLite0};
/// let model = EfficientNetLite0::bundled(&Default::default())?;
/// assert_eq!(model.class_name(285), Some("Egyptian cat"));
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "MobileNet")]
pub struct EfficientNetLite0 {
    input: InputSpec,
    standardization: Standardization,
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
    predictions: Dense,
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

/// Some blocks of the same sizes in a row.
struct Stage {
    repeats: usize,
    kernel: usize,
    /// Of the first block; the others have 1.
    stride: usize,
    expansion: usize,
    outputs: usize,
}

const fn stage(repeats: usize, kernel: usize, stride: usize, expansion: usize, outputs: usize) -> Stage {
    Stage { repeats, kernel, stride, expansion, outputs }
}

const STEM: usize = 32;
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];
const HEAD: usize = 1280;

impl EfficientNetLite0 {
    /// The network as trained on ImageNet. The weights are in the program by the feature `bundled`, which is on by
    /// default; see [`Weights::from_bundled`] for other places.
    ///
    /// ```
    /// use vis::{Model, model::EfficientNetLite0};
    /// let model = EfficientNetLite0::bundled(&Default::default())?;
    /// let image = burn::tensor::Tensor::zeros([1, 3, 32, 32], &model.device());
    /// assert_eq!(model.classify(image)?.dims(), [1, 1000]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`](crate::Error::NotBundled) when they are in none of these.
    pub fn bundled(device: &Device) -> Result<Self> {
        Weights::of_bundled(bundled::EFFICIENTNET_LITE0, device)?.load(Self::assemble)
    }

    /// The network with the weights of a file.
    ///
    /// ```no_run
    /// use vis::model::EfficientNetLite0;
    /// let model = EfficientNetLite0::from_file("finetuned.safetensors", &Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't
    /// be read, and [`Error::Weights`](crate::Error::Weights) for one of another network.
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Weights::from_file(path, device)?.load(Self::assemble)
    }

    /// The network with [random weights](Weights::random), for tests and for comparisons with a network
    /// that has learned nothing.
    ///
    /// ```
    /// use vis::{Model, model::EfficientNetLite0};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 3, 32, 32], (0.0, 255.0), 0, 0, &device);
    /// let stem = |seed| EfficientNetLite0::with_random_weights(seed, &device)?.activation(image.clone(), "stem");
    /// let (once, again, other) = (stem(0)?, stem(0)?, stem(1)?);
    /// assert_eq!(once.clone().into_data().to_vec::<f32>().unwrap(), again.into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(once.into_data().to_vec::<f32>().unwrap(), other.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Weights::random(seed, device).load(Self::assemble)
    }

    /// The network as trained on ImageNet, but with [random weights](Weights::random) in these layers (a block such as
    /// `blocks.15` means all of its layers): for the
    /// [randomisation check](crate::metrics::RandomizationCheck), layer by layer.
    ///
    /// # Errors
    ///
    /// As [`bundled`](Self::bundled), and [`Error::UnknownLayer`](crate::Error::UnknownLayer) for a layer that has no
    /// weights.
    ///
    /// ```no_run
    /// use vis::model::EfficientNetLite0;
    /// let device = Default::default();
    /// let untaught = EfficientNetLite0::bundled_with_random_layers(&["predictions", "head"], 0, &device)?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn bundled_with_random_layers(layers: &[&str], seed: u64, device: &Device) -> Result<Self> {
        let parameters = Weights::of_bundled(bundled::EFFICIENTNET_LITE0, device)?;
        parameters.with_random_layers(layers, seed)?.load(Self::assemble)
    }

    /// Sets how the convolutions are computed: [`Arithmetic::Exact`] for the backend's own operations. Default: the
    /// fastest way.
    ///
    /// ```
    /// use vis::{Arithmetic, Model, model::EfficientNetLite0};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 3, 32, 32], (0.0, 255.0), 0, 0, &device);
    /// let fast = EfficientNetLite0::bundled(&device)?;
    /// let exact = fast.clone().with_arithmetic(Arithmetic::Exact);
    /// let difference = fast.classify(image.clone())? - exact.classify(image)?;
    /// assert!(difference.abs().max().into_scalar::<f32>() < 1e-3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        let of_blocks = self
            .blocks
            .iter_mut()
            .flat_map(|block| block.expand.iter_mut().chain([&mut block.depthwise, &mut block.project]));
        for convolution in of_blocks.chain([&mut self.stem, &mut self.head]) {
            convolution.set_arithmetic(arithmetic);
        }
        self
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let stem = convolution(parameters, "stem", [STEM, 3, 3, 3])?.with_stride(2);
        let mut channels = STEM;
        let mut blocks = Vec::new();
        for stage in STAGES {
            for repeat in 0..stage.repeats {
                let stride = if repeat == 0 { stage.stride } else { 1 };
                let name = format!("blocks.{}", blocks.len());
                blocks.push(Block::assemble(parameters, &name, &stage, stride, channels)?);
                channels = stage.outputs;
            }
        }
        let head = convolution(parameters, "head", [HEAD, channels, 1, 1])?;
        let weight = parameters.tensor("predictions.weight", [imagenet::CLASSES, HEAD])?;
        let bias = parameters.tensor("predictions.bias", [imagenet::CLASSES])?;
        let device = parameters.device().clone();
        Ok(Self {
            input: InputSpec::rgb(224, 224).with_any_size_from(32),
            standardization: Standardization::new([127.0; 3], [128.0; 3], &device),
            stem,
            blocks,
            head,
            predictions: Dense::new(weight, bias),
            device,
        })
    }
}

impl Block {
    fn assemble(
        parameters: &mut Parameters,
        name: &str,
        stage: &Stage,
        stride: usize,
        inputs: usize,
    ) -> Result<Self> {
        let &Stage { kernel, expansion, outputs, .. } = stage;
        let inner = inputs * expansion;
        let expand = match expansion {
            1 => None,
            _ => Some(convolution(parameters, &format!("{name}.expand"), [inner, inputs, 1, 1])?),
        };
        let depthwise = convolution(parameters, &format!("{name}.depthwise"), [inner, 1, kernel, kernel])?;
        let project = convolution(parameters, &format!("{name}.project"), [outputs, inner, 1, 1])?;
        let residual = stride == 1 && inputs == outputs;
        Ok(Self { expand, depthwise: depthwise.with_stride(stride), project, residual })
    }

    fn forward(&self, name: &str, x: Tensor<4>, taps: &mut Taps) -> Result<Tensor<4>, Stop> {
        let mut y = x.clone();
        if let Some(expand) = &self.expand {
            y = expand.rectified(y, taps, Rectifier::Relu6);
            y = taps.layer(&format!("{name}.expand"), y)?;
        }
        y = self.depthwise.rectified(y, taps, Rectifier::Relu6);
        y = taps.layer(&format!("{name}.depthwise"), y)?;
        y = self.project.forward(y, taps);
        y = taps.layer(&format!("{name}.project"), y)?;
        if self.residual {
            y = y + x;
        }
        taps.describe(if self.residual { "residual sum" } else { "block" }, 0);
        taps.layer(name, y)
    }
}

/// A convolution with TensorFlow's padding and stride 1.
fn convolution(parameters: &mut Parameters, name: &str, shape: [usize; 4]) -> Result<Convolution> {
    let weight = parameters.tensor(&format!("{name}.weight"), shape)?;
    let bias = parameters.tensor(&format!("{name}.bias"), [shape[0]])?;
    Ok(Convolution::new(weight, Some(bias)).with_padding(Padding::Same))
}

impl Model for EfficientNetLite0 {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = self.standardization.forward(image);
        let x = self.stem.rectified(x, taps, Rectifier::Relu6);
        let mut x = taps.layer("stem", x)?;
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&format!("blocks.{index}"), x, taps)?;
        }
        let x = self.head.rectified(x, taps, Rectifier::Relu6);
        let x = taps.layer("head", x)?;
        let x = global_average_pool(x, taps);
        let x = taps.layer("global_pool", x)?;
        let x = self.predictions.forward(x, taps);
        let x = taps.layer("predictions", x)?;
        let x = softmax(x, taps);
        taps.layer("softmax", x)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        Some("predictions")
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        imagenet::name(class)
    }

    fn preset(&self) -> Preset {
        // Chosen with `examples/presets.rs` and `examples/transfer.py`, on other classes than those reported: views of
        // several sizes and the log-odds count most for what other networks say, smaller steps, a larger decay and a
        // total variation of about 1000 in `0..255` for the eye.
        Preset {
            prior: Prior::Fourier { decay: 1.25 },
            learning_rate: 0.03,
            scales: Vec::new(),
            sizes: vec![0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25],
            odds: 1.0,
            tv_weight: 0.005,
            ..Preset::for_input(&self.input)
        }
    }
}
