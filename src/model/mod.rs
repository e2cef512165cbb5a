//! What is looked at: a network that reports its layers while it runs.
//!
//! A [`Model`] runs its ordinary forward code and hands each activation worth a name to an observer,
//! [`Taps`]. There are no hooks, no graph surgery and no global state, and a plain forward pass pays
//! nothing. To look inside a network of your own, write its forward pass once more with the taps in it:
//!
//! ```
//! use burn::nn::conv::{Conv2d, Conv2dConfig};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use vis::model::{InputSpec, Model, Stop, Taps};
//!
//! struct Small { conv: Conv2d, dense: Linear, input: InputSpec }
//!
//! impl Model for Small {
//!     fn input(&self) -> &InputSpec { &self.input }
//!
//!     fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
//!         let x = taps.relu(self.conv.forward(image / 255.0));   // preprocessing belongs to the model
//!         let x = taps.layer("conv", x)?;                        // `?` lets a run end here
//!         let x = self.dense.forward(x.flatten::<2>(1, 3));
//!         taps.layer("logits", x)?;                              // the last layer tapped is the output
//!         Ok(())
//!     }
//! }
//!
//! let device = Device::default();
//! let model = Small {
//!     conv: Conv2dConfig::new([3, 4], [3, 3]).init(&device),
//!     dense: LinearConfig::new(4 * 6 * 6, 10).init(&device),
//!     input: InputSpec::rgb(8, 8),
//! };
//! let layers = model.layers()?;
//! assert_eq!(layers[0].to_string(), "conv  activation  4x6x6");
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! Keep the network on a plain device, not an autodiff one: its weights are then constants of the
//! gradient, which is never computed for them.
//!
//! **Freeze it if it has batch norm or dropout.** A gradient is taken on an autodiff device, and there Burn's `BatchNorm`,
//! `Dropout`, `GaussianNoise` and `RRelu` train: they normalise by the batch, change their running statistics, and draw
//! numbers. [`Module::freeze`](burn::module::Module::freeze), once the weights are loaded, makes them the network that
//! the forward pass runs:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{BatchNorm, BatchNormConfig};
//! use burn::tensor::Tensor;
//! use vis::gradient::Gradient;
//! use vis::model::{InputSpec, Model, Stop, Taps};
//!
//! struct Normalized { norm: BatchNorm, input: InputSpec }
//!
//! impl Model for Normalized {
//!     fn input(&self) -> &InputSpec { &self.input }
//!     fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
//!         taps.layer("norm", self.norm.forward(image)).map(drop)
//!     }
//! }
//!
//! let device = Default::default();
//! let norm = BatchNormConfig::new(3).init(&device);
//! let training = Normalized { norm: norm.clone(), input: InputSpec::rgb(8, 8) };
//! let frozen = Normalized { norm: norm.freeze(), input: InputSpec::rgb(8, 8) };
//! let losses = vis::losses::ActivationMaximization::from(vis::Target::energy("norm")).into();
//! let image = frozen.input().zeros(&device) + 90.0;
//! assert!(Gradient::new(&frozen, &losses).evaluate(image.clone()).is_ok());
//! assert!(matches!(Gradient::new(&training, &losses).evaluate(image), Err(vis::Error::Training { .. })));
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! # Other ways in
//!
//! A network need not be written again. A `Graph` is a model made of data, with a layer for every operation:
//!
//! - `Onnx::open` reads it from a file (feature `onnx`, on by default);
//! - `capture` records the forward pass of any Burn module (feature `capture`).
//!
//! What a file doesn't say, such as the scale of the pixels and the names of the classes, is given by [`Preprocessing`].

mod digits;
mod efficientnet;
mod gan;
#[cfg(any(feature = "onnx", feature = "capture"))]
mod graph;
pub mod imagenet;
pub mod layers;
mod mobilenet;
pub(crate) mod passes;
#[cfg_attr(
    not(any(feature = "onnx", feature = "capture")),
    allow(dead_code, reason = "labels are read for graphs")
)]
mod preprocessing;
mod preset;
mod resnet;
pub(crate) mod taps;
mod tiny;
mod torch;
pub(crate) mod values;
mod vgg;
mod vit;
pub mod weights;

use std::fmt;

use burn::tensor::{Device, Tensor};

use crate::{Error, Result};

pub use digits::Digits;
pub use efficientnet::EfficientNetLite0;
pub use gan::{Discriminator, Generator};
#[cfg(feature = "capture")]
pub use graph::capture::capture;
#[cfg(feature = "onnx")]
pub use graph::onnx::Onnx;
#[cfg(any(feature = "onnx", feature = "capture"))]
pub use graph::{Graph, Limits};
pub use mobilenet::MobileNetV2;
pub use preprocessing::Preprocessing;
pub use preset::{Preset, Prior, UpdateRule};
pub use resnet::{ResNet, ResNet18, ResNet34, ResNet50};
pub use taps::{Stop, Taps};
pub use tiny::Tiny;
pub use vgg::{Vgg, Vgg16, Vgg19};
pub use vit::VisionTransformer;

/// A network that reports its layers.
///
/// The image is `[batch, channels, height, width]`, RGB, in the range that [`input`](Model::input)
/// declares; scaling, mean subtraction and channel order happen inside [`forward`](Model::forward), so
/// that gradients, regularizers and pictures all speak of the same image.
///
/// Every method but the first two has a default.
///
/// A network of Burn's modules is [frozen](burn::module::Module::freeze) first, if it has batch norm or dropout: see
/// [the module page](self).
pub trait Model: Send + Sync {
    /// The image that the network takes.
    fn input(&self) -> &InputSpec;

    /// Runs the network and shows each named activation to `taps`.
    ///
    /// Pass every rectifier through [`Taps::relu`] and its siblings, or backward rules such as guided
    /// backprop can't reach it. The last layer tapped is the output.
    ///
    /// # Errors
    ///
    /// [`Stop`], handed on with `?` from [`Taps::layer`], when nothing deeper is wanted.
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop>;

    /// The device that holds the weights; the default device unless the model says otherwise.
    fn device(&self) -> Device {
        Device::default()
    }

    /// The layer that holds the class scores before softmax; `None` means the last layer tapped.
    fn logits(&self) -> Option<&str> {
        None
    }

    /// The name of a class, if the model knows one.
    fn class_name(&self, class: usize) -> Option<&str> {
        let _ = class;
        None
    }

    /// Whether the network is known to compute the same on an autodiff device as on a plain one.
    ///
    /// By default it is not, and the first evaluation of a run [compares](crate::Error::Training) the two: some layers
    /// of Burn train on an autodiff device unless they are frozen. `true` saves that forward pass. The networks of this
    /// crate say so; say it of one of your own that has no such layer, or that is frozen for certain.
    fn is_frozen(&self) -> bool {
        false
    }

    /// The settings of activation maximisation that suit this network; by default those for [its input](Preset::for_input).
    fn preset(&self) -> Preset {
        Preset::for_input(self.input())
    }

    /// The table of layers, in the order of the forward pass, from one run on a black image.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when the model refuses its own [`InputSpec`].
    fn layers(&self) -> Result<Vec<Layer>> {
        let mut taps = Taps::new().table();
        run(self, self.input().zeros(&self.device()), &mut taps)?;
        Ok(taps.into_table())
    }

    /// The activation of one layer for a batch of images: `[batch, channels, height, width]`, where the
    /// output of a dense layer is a 1×1 map. Nothing deeper than the layer is computed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], and [`Error::Shape`] for an image that the model can't take.
    fn activation(&self, image: Tensor<4>, layer: &str) -> Result<Tensor<4>> {
        let mut taps = Taps::new().record([layer]);
        run(self, image, &mut taps)?;
        taps.activation(layer)
    }

    /// The class scores before softmax, `[batch, classes]`; of scores with several positions, their means.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for an image that the model can't take, [`Error::NonFinite`] for an image or a score that is NaN or
    /// infinite, and [`Error::Probabilities`] for scores after softmax; on an autodiff device the values are not looked
    /// at. Whether the image lies in the model's range is for [`InputSpec::check_values`] to say.
    fn classify(&self, image: Tensor<4>) -> Result<Tensor<2>> {
        let [batch, ..] = image.dims();
        let is_read = !image.is_autodiff();
        self.input().check(image.dims())?;
        if is_read {
            values::refuse_non_finite_image("image", &crate::host::values(image.clone()), image.dims())?;
        }
        let (layer, scores) = match self.logits() {
            Some(layer) => (layer.to_owned(), self.activation(image, layer)?),
            None => {
                let mut taps = Taps::new().record_last();
                run(self, image, &mut taps)?;
                (taps.seen().last().cloned().unwrap_or_default(), taps.last()?)
            }
        };
        let [_, classes, height, width] = scores.dims();
        let scores = if height * width > 1 { scores.mean_dims(&[2, 3]) } else { scores };
        let scores = scores.reshape([batch, classes]);
        if is_read {
            values::refuse_no_logits(&layer, &crate::host::values(scores.clone()), classes)?;
        }
        Ok(scores)
    }
}

/// The methods of a [`Model`] that lies behind a pointer, but for [`is_frozen`](Model::is_frozen).
macro_rules! forward_to_inner {
    () => {
        fn input(&self) -> &$crate::model::InputSpec {
            (**self).input()
        }
        fn forward(
            &self,
            image: burn::tensor::Tensor<4>,
            taps: &mut $crate::model::Taps,
        ) -> Result<(), $crate::model::Stop> {
            (**self).forward(image, taps)
        }
        fn device(&self) -> burn::tensor::Device {
            (**self).device()
        }
        fn logits(&self) -> Option<&str> {
            (**self).logits()
        }
        fn class_name(&self, class: usize) -> Option<&str> {
            (**self).class_name(class)
        }
        fn preset(&self) -> $crate::model::Preset {
            (**self).preset()
        }
        fn layers(&self) -> $crate::Result<Vec<$crate::model::Layer>> {
            (**self).layers()
        }
        fn activation(
            &self,
            image: burn::tensor::Tensor<4>,
            layer: &str,
        ) -> $crate::Result<burn::tensor::Tensor<4>> {
            (**self).activation(image, layer)
        }
        fn classify(&self, image: burn::tensor::Tensor<4>) -> $crate::Result<burn::tensor::Tensor<2>> {
            (**self).classify(image)
        }
    };
}
pub(crate) use forward_to_inner;

/// A borrowed or boxed model is a model.
macro_rules! pointer_to_model {
    ($pointer:ty) => {
        impl<M: Model + ?Sized> Model for $pointer {
            forward_to_inner!();

            fn is_frozen(&self) -> bool {
                (**self).is_frozen()
            }
        }
    };
}

pointer_to_model!(&M);
pointer_to_model!(Box<M>);

/// Runs a model on an image under the given taps, after checking that it can take the image and that
/// every layer wanted is met.
///
/// ```
/// use vis::model::{Model, Taps, run};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let image = model.input().zeros(&model.device());
/// assert!(run(&model, image.clone(), &mut Taps::new().record(["conv2"])).is_ok());
/// assert!(run(&model, image.clone(), &mut Taps::new().record(["conv9"])).is_err()); // no such layer
/// assert!(run(&model, image.repeat_dim(1, 2), &mut Taps::new()).is_err()); // six channels
/// ```
///
/// # Errors
///
/// [`Error::Shape`] and [`Error::UnknownLayer`].
pub fn run<M: Model + ?Sized>(model: &M, image: Tensor<4>, taps: &mut Taps) -> Result<()> {
    model.input().check(image.dims())?;
    // `Stop` only says that the run ended early because all that was wanted has been met.
    let _ = model.forward(image, taps);
    taps.take_failure()?;
    taps.check_met()
}

/// The most numbers in a batch of images: 8 GB of them, and a pass through a network takes several times that.
const MOST_NUMBERS: usize = 1 << 31;

/// The image that a model takes: its channels, size and range of values.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    channels: usize,
    height: usize,
    width: usize,
    range: (f32, f32),
    /// Whether the range is a guess, which no image is refused by.
    is_assumed: bool,
    smallest: Option<usize>,
}

impl InputSpec {
    /// An RGB image of exactly this size with values in `0..255`, as in keras-vis.
    ///
    /// ```
    /// let input = vis::model::InputSpec::rgb(224, 224);
    /// assert_eq!(input.shape(), [3, 224, 224]);
    /// assert_eq!(input.range(), (0.0, 255.0));
    /// ```
    pub fn rgb(height: usize, width: usize) -> Self {
        Self::new([3, height, width], (0.0, 255.0))
    }

    /// An image `[channels, height, width]` of exactly this size with values in `range`.
    ///
    /// ```
    /// let digits = vis::model::InputSpec::new([1, 28, 28], (0.0, 1.0));
    /// assert_eq!(digits.channels(), 1);
    /// ```
    pub fn new([channels, height, width]: [usize; 3], range: (f32, f32)) -> Self {
        Self { channels, height, width, range, is_assumed: false, smallest: None }
    }

    /// The same with a range that pictures are made in, though images of any values are taken.
    pub(crate) fn with_assumed_range(mut self) -> Self {
        self.is_assumed = true;
        self
    }

    /// The same, but any size from `smallest` pixels a side is taken; the declared size is the default.
    ///
    /// ```
    /// let input = vis::model::InputSpec::rgb(224, 224).with_any_size_from(32);
    /// assert!(input.check([1, 3, 96, 64]).is_ok());
    /// assert!(input.check([1, 3, 31, 64]).is_err());
    /// ```
    pub fn with_any_size_from(mut self, smallest: usize) -> Self {
        self.smallest = Some(smallest);
        self
    }

    /// The number of channels: 3 for RGB, 1 for grey.
    ///
    /// ```
    /// let grey = vis::model::InputSpec::new([1, 28, 28], (0.0, 1.0));
    /// assert_eq!((grey.channels(), vis::model::InputSpec::rgb(28, 28).channels()), (1, 3));
    /// ```
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The height and width in pixels: the only ones taken, or the default ones.
    ///
    /// ```
    /// assert_eq!(vis::model::InputSpec::rgb(480, 640).size(), (480, 640));
    /// ```
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// `[channels, height, width]`.
    ///
    /// ```
    /// assert_eq!(vis::model::InputSpec::rgb(480, 640).shape(), [3, 480, 640]);
    /// ```
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The lowest and highest value of a pixel.
    ///
    /// ```
    /// assert_eq!(vis::model::InputSpec::new([1, 28, 28], (-1.0, 1.0)).range(), (-1.0, 1.0));
    /// assert_eq!(vis::model::InputSpec::rgb(28, 28).range(), (0.0, 255.0));
    /// ```
    pub fn range(&self) -> (f32, f32) {
        self.range
    }

    /// The smallest side the model takes, if it takes other sizes than its default.
    ///
    /// ```
    /// let fixed = vis::model::InputSpec::rgb(224, 224);
    /// assert_eq!(fixed.smallest(), None);
    /// assert_eq!(fixed.with_any_size_from(32).smallest(), Some(32));
    /// ```
    pub fn smallest(&self) -> Option<usize> {
        self.smallest
    }

    /// Whether the model can take a batch of images of this shape, `[batch, channels, height, width]`.
    ///
    /// ```
    /// let input = vis::model::InputSpec::rgb(8, 8);
    /// assert!(input.check([5, 3, 8, 8]).is_ok());
    /// let error = input.check([5, 1, 8, 8]).unwrap_err(); // grey
    /// assert_eq!(error.to_string(), "the image has shape [5, 1, 8, 8], expected [batch, 3, 8, 8]");
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] says what it takes instead; [`Error::InvalidParameter`] when the declared range is none: its
    /// ends must be finite and the first one lower.
    pub fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check_bounds()?;
        let [batch, channels, height, width] = shape;
        let numbers = shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side));
        if numbers.is_none_or(|numbers| numbers > MOST_NUMBERS) {
            let expected = format!("of at most {MOST_NUMBERS} numbers in all");
            return Err(Error::invalid("a batch of images", expected, format!("{shape:?}")));
        }
        let fits = match self.smallest {
            Some(smallest) => height >= smallest && width >= smallest,
            None => (height, width) == self.size(),
        };
        if batch > 0 && channels == self.channels && fits {
            return Ok(());
        }
        let expected = match self.smallest {
            Some(smallest) => format!("[batch, {}, {smallest} or more, {smallest} or more]", self.channels),
            None => format!("[batch, {}, {}, {}]", self.channels, self.height, self.width),
        };
        Err(Error::Shape { what: "the image".into(), expected, got: shape.to_vec() })
    }

    /// Refuses a range that is none.
    pub(crate) fn check_bounds(&self) -> Result<()> {
        let (low, high) = self.range;
        if low < high && low.abs().max(high.abs()) <= 1e30 {
            return Ok(());
        }
        let expected = "two numbers of a magnitude up to 1e30, the lower one first";
        Err(Error::invalid("the range of the model's input", expected, format!("{low}..{high}")))
    }

    /// One image of zeros.
    ///
    /// ```
    /// let input = vis::model::InputSpec::rgb(8, 8);
    /// let black = input.zeros(&Default::default());
    /// assert!(input.check(black.dims()).is_ok());
    /// assert!(black.into_data().to_vec::<f32>().unwrap().iter().all(|value| *value == 0.0));
    /// ```
    pub fn zeros(&self, device: &Device) -> Tensor<4> {
        Tensor::zeros([1, self.channels, self.height, self.width], device)
    }
}

/// One row of the table of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// The name it is addressed by. A name that is tapped again gets `#2`, `#3`, … appended.
    pub name: String,
    /// What computed it, in the model's words; `activation` when the model doesn't say.
    pub kind: &'static str,
    /// The shape for one image, `[channels, height, width]`; the output of a dense layer is a 1×1 map.
    pub shape: [usize; 3],
    /// The number of its parameters, as far as the model says.
    pub parameters: usize,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.shape;
        write!(f, "{}  {}  {channels}x{height}x{width}", self.name, self.kind)?;
        if self.parameters > 0 { write!(f, "  {} parameters", self.parameters) } else { Ok(()) }
    }
}
