//! VGG16 and VGG19.

use std::fmt;
use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::layers::{
    Convolution, Dense, Padding, Standardization, average_pool_2x2, flatten, max_pool_2x2, softmax,
};
use super::weights::{Parameters, Weights, bundled};
use super::{InputSpec, Model, Preset, Stop, Taps, imagenet, torch};
use crate::backprop::Rectifier;
use crate::{Arithmetic, Result};

/// VGG with 13 convolutions and three dense layers: see [`Vgg`].
pub type Vgg16 = Vgg<16>;

/// VGG with 16 convolutions and three dense layers: see [`Vgg`].
pub type Vgg19 = Vgg<19>;

/// The VGG network of `DEPTH` layers with weights, 16 or 19: [`Vgg16`] and [`Vgg19`].
///
/// The layers are named as in Keras: `block1_conv1`, `block1_conv2`, `block1_pool`, … `block5_pool`, and
/// with the dense top `flatten`, `fc1`, `fc2`, `predictions` (the class scores) and `softmax`. The
/// activation of a convolution is what leaves its rectifier.
///
/// Images are RGB in `0..255`; what is subtracted or divided belongs to the weights and happens inside.
/// Without the top the network takes any size from 32 pixels, 224 by default; with it exactly 224.
///
/// | weights | tensors | layout | pixels |
/// | --- | --- | --- | --- |
/// | Keras names | `block1_conv1.weight`, `block1_conv1.bias`, …, `fc1.weight`, … | as PyTorch | minus the mean (123.68, 116.779, 103.939) |
/// | Keras files | `block1_conv1/kernel`, `block1_conv1/bias`, …, `fc1/kernel`, … | as Keras | the same |
/// | torchvision | `features.0.weight`, …, `classifier.0.weight`, `.3`, `.6` | as PyTorch | `(x / 255 − mean) / deviation` of ImageNet |
/// | timm | `features.0.weight`, …, `pre_logits.fc1.weight`, `pre_logits.fc2.weight`, `head.fc.weight` | as PyTorch; the `pre_logits` are convolutions | as torchvision |
///
/// *As PyTorch* means that convolutions are `[out, in, height, width]` over RGB, dense layers `[out, in]`,
/// and `fc1` reads channel by channel. *As Keras* means `[height, width, in, out]` over **BGR**,
/// `[in, out]`, and `fc1` reads pixel by pixel, as Keras stores them; `block1_conv1/block1_conv1/kernel:0`
/// and `block1_conv1/block1_conv1_W_1:0` are the same names in older files. The names tell which is which.
///
/// The top is there when the file has it. The numbers of channels and classes are the file's own, so
/// that networks fine-tuned or pruned load as well.
///
/// Source: Simonyan & Zisserman 2014, *Very Deep Convolutional Networks for Large-Scale Image Recognition*,
/// models D and E.
#[derive(Clone)]
#[doc(alias = "VGG16")]
#[doc(alias = "VGG19")]
pub struct Vgg<const DEPTH: usize> {
    input: InputSpec,
    standardization: Standardization,
    blocks: Vec<Vec<Convolution>>,
    average_pooling: bool,
    top: Option<Top>,
    device: Device,
}

/// The dense layers.
#[derive(Debug, Clone)]
struct Top {
    fc1: Dense,
    fc2: Dense,
    predictions: Dense,
}

/// Output channels of the convolutions of each block in the published networks.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
/// Outputs of `fc1` and `fc2` in the published networks.
const DENSE_WIDTH: usize = 4096;
/// The side of the image that the dense top needs, and of the map that it then reads.
const SIDE: usize = 224;
const MAP_SIDE: usize = SIDE / 32;

impl Vgg<16> {
    /// VGG16 without its dense top, as trained on ImageNet by the Visual Geometry Group of the University
    /// of Oxford. The weights are in the program by the feature `bundled-vgg16`, which is on by default; see
    /// [`Weights::from_bundled`] for other places.
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`](crate::Error::NotBundled) when they are in none of these.
    ///
    /// ```no_run
    /// use vis::{Model, model::Vgg16};
    /// let model = Vgg16::bundled(&Default::default())?;
    /// let image = model.input().zeros(&model.device());
    /// assert_eq!(model.activation(image, "block5_conv3")?.dims(), [1, 512, 14, 14]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn bundled(device: &Device) -> Result<Self> {
        Weights::of_bundled(bundled::VGG16_TRUNK, device)?.load(Self::assemble)
    }
}

#[cfg(feature = "download")]
impl Vgg<16> {
    /// VGG16 with its classes, as torchvision trained it on ImageNet. The file, 553 MB, is fetched the first time, and read
    /// from a cache from then on: see [`Pretrained`](super::weights::Pretrained). Its licence is BSD-3-Clause.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// use vis::{Model, model::Vgg16};
    /// let model = Vgg16::pretrained(&Default::default())?;
    /// assert_eq!(model.class_name(20), Some("water ouzel"));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("vgg16", device)?.load(Self::assemble)
    }
}

#[cfg(feature = "download")]
impl Vgg<19> {
    /// VGG19 with its classes, as torchvision trained it on ImageNet. The file, 575 MB, is fetched the first time, and read
    /// from a cache from then on: see [`Pretrained`](super::weights::Pretrained). Its licence is BSD-3-Clause.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::fetch`](super::weights::Pretrained::fetch) and [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// let model = vis::model::Vgg19::pretrained(&Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn pretrained(device: &Device) -> Result<Self> {
        Weights::of_pretrained("vgg19", device)?.load(Self::assemble)
    }
}

impl<const DEPTH: usize> Vgg<DEPTH> {
    /// The number of convolutions in each of the five blocks.
    const CONVOLUTIONS: [usize; 5] = match DEPTH {
        16 => [2, 2, 3, 3, 3],
        19 => [2, 2, 4, 4, 4],
        _ => panic!("there are VGG16 and VGG19"),
    };

    /// The network with the weights of a file, in any of the forms in [the table](Self), with its dense
    /// top if the file has it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't
    /// be read, and [`Error::Weights`](crate::Error::Weights) for one of another network.
    ///
    /// ```no_run
    /// use vis::model::Vgg16;
    /// let model = Vgg16::from_file("vgg16-397923af.pth", &Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Weights::from_file(path, device)?.load(Self::assemble)
    }

    /// The network with its dense top and [random weights](Weights::random), for tests and for
    /// comparisons with a network that has learned nothing.
    ///
    /// The top has nine tenths of the weights; [`without_top`](Self::without_top) drops it.
    ///
    /// ```no_run
    /// use vis::{Model, model::Vgg16};
    /// let model = Vgg16::with_random_weights(0, &Default::default())?; // takes half a gigabyte
    /// assert_eq!(model.classify(model.input().zeros(&model.device()))?.dims(), [1, 1000]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Weights::random(seed, device).load(Self::assemble)
    }

    /// The network with the mean of each 2×2 window where it takes the maximum: no longer the one that was
    /// trained, but its gradient reaches every pixel, which makes [style
    /// transfer](crate::visualization::style_transfer) and textures smoother.
    ///
    /// ```no_run
    /// let model = vis::model::Vgg16::bundled(&Default::default())?.with_average_pooling();
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// Source: Gatys, Ecker & Bethge 2016, section 2.
    pub fn with_average_pooling(mut self) -> Self {
        self.average_pooling = true;
        self
    }

    /// Sets how the convolutions are computed: [`Arithmetic::Exact`] for the backend's own operations. Default: the
    /// fastest way.
    ///
    /// ```
    /// use vis::{Arithmetic, Model, model::Vgg16};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 3, 32, 32], (0.0, 255.0), 0, 0, &device);
    /// let fast = Vgg16::bundled(&device)?;
    /// let exact = fast.clone().with_arithmetic(Arithmetic::Exact);
    /// let [fast, exact] = [fast, exact].map(|model| model.activation(image.clone(), "block3_conv1"));
    /// let (fast, exact) = (fast?, exact?);
    /// assert!((fast - exact.clone()).abs().max().into_scalar::<f32>() < 1e-4 * exact.max().into_scalar::<f32>());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        for convolution in self.blocks.iter_mut().flatten() {
            convolution.set_arithmetic(arithmetic);
        }
        self
    }

    /// The network up to `block5_pool`, which takes images of any size from 32 pixels.
    ///
    /// ```no_run
    /// use vis::{Model, model::Vgg16};
    /// let model = Vgg16::with_random_weights(0, &Default::default())?;
    /// assert_eq!(model.input().smallest(), None); // 224×224 and nothing else
    /// assert_eq!(model.without_top().input().smallest(), Some(32));
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "include_top")]
    pub fn without_top(mut self) -> Self {
        self.top = None;
        self.input = any_size();
        self
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let form = Form::of(parameters);
        let mut channels = 3;
        let mut features_index = 0;
        let mut blocks = Vec::new();
        for (block, (convolutions, standard_width)) in Self::CONVOLUTIONS.into_iter().zip(WIDTHS).enumerate()
        {
            let mut convolutions_of_block = Vec::new();
            for number in 1..=convolutions {
                let layer = match form {
                    Form::Named | Form::Keras => format!("block{}_conv{number}", block + 1),
                    Form::Torchvision | Form::Timm => format!("features.{features_index}"),
                };
                let (kernel, bias) = form.tensors(&layer, parameters);
                let width = torch::outputs(parameters, &bias, standard_width);
                let kernel = form.kernel(parameters, &kernel, [width, channels, 3, 3])?;
                let reads_bgr = form == Form::Keras && features_index == 0;
                let kernel = if reads_bgr { kernel.flip([1]) } else { kernel };
                let bias = parameters.tensor(&bias, [width])?;
                let convolution = Convolution::new(kernel, Some(bias)).with_padding(Padding::Pixels(1));
                convolutions_of_block.push(convolution);
                channels = width;
                features_index += 2; // the rectifier counts
            }
            features_index += 1; // and so does the pooling
            blocks.push(convolutions_of_block);
        }

        let top =
            if form.has_top(parameters) { Some(Top::assemble(parameters, form, channels)?) } else { None };
        let input = if top.is_some() { InputSpec::rgb(SIDE, SIDE) } else { any_size() };
        let device = parameters.device().clone();
        let average_pooling = false;
        Ok(Self {
            input,
            standardization: form.standardization(&device),
            blocks,
            average_pooling,
            top,
            device,
        })
    }
}

impl Top {
    fn assemble(parameters: &mut Parameters, form: Form, channels: usize) -> Result<Self> {
        let [fc1, fc2, predictions] = form.top();
        let (fc1, width) = form.dense(parameters, fc1, [DENSE_WIDTH, channels, MAP_SIDE, MAP_SIDE])?;
        let (fc2, width) = form.dense(parameters, fc2, [DENSE_WIDTH, width, 1, 1])?;
        let (predictions, _) = form.dense(parameters, predictions, [imagenet::CLASSES, width, 1, 1])?;
        Ok(Self { fc1, fc2, predictions })
    }
}

fn any_size() -> InputSpec {
    InputSpec::rgb(SIDE, SIDE).with_any_size_from(32)
}

/// How a file names and lays out the tensors: the rows of the table at [`Vgg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Named,
    Keras,
    Torchvision,
    Timm,
}

impl Form {
    fn of(parameters: &Parameters) -> Self {
        let any = |fits: &dyn Fn(&str) -> bool| parameters.names().any(fits);
        if any(&|name| name.starts_with("features.")) {
            let timm = any(&|name| name.starts_with("pre_logits.") || name.starts_with("head."));
            if timm { Self::Timm } else { Self::Torchvision }
        } else if any(&|name| name.contains("kernel") || name.contains("_W_")) {
            Self::Keras
        } else {
            Self::Named
        }
    }

    fn standardization(self, device: &Device) -> Standardization {
        match self {
            Self::Named | Self::Keras => Standardization::new([123.68, 116.779, 103.939], [1.0; 3], device),
            Self::Torchvision | Self::Timm => {
                let of_255 = |values: [f32; 3]| values.map(|value| value * 255.0);
                Standardization::new(of_255([0.485, 0.456, 0.406]), of_255([0.229, 0.224, 0.225]), device)
            }
        }
    }

    /// The names of the dense layers.
    fn top(self) -> [&'static str; 3] {
        match self {
            Self::Named | Self::Keras => ["fc1", "fc2", "predictions"],
            Self::Torchvision => ["classifier.0", "classifier.3", "classifier.6"],
            Self::Timm => ["pre_logits.fc1", "pre_logits.fc2", "head.fc"],
        }
    }

    fn has_top(self, parameters: &Parameters) -> bool {
        let is_there = |layer| parameters.shape(&self.tensors(layer, parameters).0).is_some();
        parameters.is_random() || self.top().into_iter().any(is_there)
    }

    /// The names of a layer's kernel and bias.
    fn tensors(self, layer: &str, parameters: &Parameters) -> (String, String) {
        if self != Self::Keras {
            return (format!("{layer}.weight"), format!("{layer}.bias"));
        }
        let first_of = |names: [String; 4]| {
            let found = names.iter().find(|name| parameters.shape(name).is_some());
            found.unwrap_or(&names[0]).clone()
        };
        let kernel = first_of([
            format!("{layer}/kernel"),
            format!("{layer}.kernel"),
            format!("{layer}/{layer}/kernel:0"),
            format!("{layer}/{layer}_W_1:0"),
        ]);
        let bias = first_of([
            format!("{layer}/bias"),
            format!("{layer}.bias"),
            format!("{layer}/{layer}/bias:0"),
            format!("{layer}/{layer}_b_1:0"),
        ]);
        (kernel, bias)
    }

    /// The kernel of a convolution, `[out, in, height, width]`.
    fn kernel(self, parameters: &mut Parameters, name: &str, shape: [usize; 4]) -> Result<Tensor<4>> {
        let [outputs, inputs, height, width] = shape;
        match self {
            Self::Keras => {
                let in_file = [height, width, inputs, outputs];
                parameters.arranged(name, &in_file, shape, |values| outputs_first(values, in_file))
            }
            _ => parameters.tensor(name, shape),
        }
    }

    /// A dense layer that reads a map, `[out, channels, height, width]`, and the number of its outputs.
    /// The first extent is the published one, for which the file's own is taken.
    fn dense(self, parameters: &mut Parameters, layer: &str, shape: [usize; 4]) -> Result<(Dense, usize)> {
        let [standard_width, channels, height, width] = shape;
        let (weight, bias) = self.tensors(layer, parameters);
        let outputs = torch::outputs(parameters, &bias, standard_width);
        let inputs = channels * height * width;
        let shape = [outputs, inputs];
        let weight = match self {
            Self::Keras => parameters.arranged(&weight, &[inputs, outputs], shape, |values| {
                outputs_first(values, [height, width, channels, outputs])
            })?,
            Self::Timm if layer.starts_with("pre_logits") => {
                parameters.arranged(&weight, &[outputs, channels, height, width], shape, |values| values)?
            }
            _ => parameters.tensor(&weight, shape)?,
        };
        let bias = parameters.tensor(&bias, [outputs])?;
        Ok((Dense::new(weight, bias), outputs))
    }
}

/// From Keras's `[height, width, in, out]` to `[out, in, height, width]`.
///
/// Serves dense layers too: one that reads a map is a convolution as large as the map.
fn outputs_first(values: Vec<f32>, [height, width, inputs, outputs]: [usize; 4]) -> Vec<f32> {
    let area = height * width;
    let mut arranged = vec![0.0; values.len()];
    for (position, pixel) in values.chunks_exact(inputs * outputs).enumerate() {
        for (input, row) in pixel.chunks_exact(outputs).enumerate() {
            for (output, &value) in row.iter().enumerate() {
                arranged[(output * inputs + input) * area + position] = value;
            }
        }
    }
    arranged
}

impl<const DEPTH: usize> Model for Vgg<DEPTH> {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = self.standardization.forward(image);
        for (block, convolutions) in (1..).zip(&self.blocks) {
            for (number, convolution) in (1..).zip(convolutions) {
                x = convolution.rectified(x, taps, Rectifier::Relu);
                x = taps.layer(&format!("block{block}_conv{number}"), x)?;
            }
            x = if self.average_pooling { average_pool_2x2(x, taps) } else { max_pool_2x2(x, taps) };
            x = taps.layer(&format!("block{block}_pool"), x)?;
        }
        let Some(top) = &self.top else { return Ok(()) };
        let x = flatten(x, taps);
        let x = taps.layer("flatten", x)?;
        let x = top.fc1.rectified(x, taps, Rectifier::Relu);
        let x = taps.layer("fc1", x)?;
        let x = top.fc2.rectified(x, taps, Rectifier::Relu);
        let x = taps.layer("fc2", x)?;
        let x = top.predictions.forward(x, taps);
        let x = taps.layer("predictions", x)?;
        let x = softmax(x, taps);
        taps.layer("softmax", x)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        self.top.as_ref().map(|_| "predictions")
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        let top = self.top.as_ref()?;
        if top.predictions.outputs() == imagenet::CLASSES { imagenet::name(class) } else { None }
    }

    fn preset(&self) -> Preset {
        // Chosen with `examples/presets.rs` and by eye.
        Preset { max_iter: 200, ..Preset::robust() }
    }
}

impl<const DEPTH: usize> fmt::Debug for Vgg<DEPTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("Vgg{DEPTH}"))
            .field("input", &self.input)
            .field("blocks", &self.blocks)
            .field("top", &self.top)
            .finish_non_exhaustive()
    }
}
