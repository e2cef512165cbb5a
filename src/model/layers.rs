//! The layers that networks are built of, with frozen weights.
//!
//! They call [`Taps::describe`] and pass rectifiers through [`Taps::rectify`], so a network made of them
//! fills its table of layers and obeys backward rules without further words:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use vis::backprop::Rectifier;
//! use vis::model::{Taps, layers::{Convolution, Padding, max_pool_2x2}};
//!
//! let device = Device::default();
//! let edge = Tensor::<4>::from_floats([[[[-1.0, 0.0, 1.0]]]], &device);
//! let edge = Convolution::new(edge, None).with_padding(Padding::Same);
//!
//! let image = Tensor::<4>::from_floats([[[[0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 5.0, 5.0]]]], &device);
//! let mut taps = Taps::new();
//! let x = edge.rectified(image, &mut taps, Rectifier::Relu);
//! assert_eq!(vis::host::values(x.clone()), [0.0, 5.0, 5.0, 0.0, 0.0, 5.0, 5.0, 0.0]);
//! assert_eq!(vis::host::values(max_pool_2x2(x, &mut taps)), [5.0, 5.0]);
//! assert_eq!(taps.rectifiers(), 1);
//! ```

use std::fmt;
use std::sync::OnceLock;

use burn::tensor::ops::{AvgPoolOptions, ConvOptions};
use burn::tensor::{Device, Tensor, module};

use super::Taps;
use crate::backprop::{self, Rectifier};
use crate::convolution::{self, Arithmetic, FrozenConvolution};

pub use crate::convolution::Padding;

/// A convolution over images with frozen weights.
///
/// # Shapes
///
/// `[batch, in, height, width]` gives `[batch, out, height', width']`, where `height'` follows from the
/// [`Padding`] and the stride.
#[derive(Clone)]
pub struct Convolution {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: Padding,
    arithmetic: Arithmetic,
    /// Made at the first run, when the number of groups is known.
    frozen: OnceLock<Option<FrozenConvolution>>,
}

impl Convolution {
    /// A convolution of stride 1 without padding.
    ///
    /// `weight` is `[out, in, height, width]`, or `[out, in / groups, height, width]` for a grouped
    /// convolution: the number of groups is the number of channels of the image over `weight`'s second
    /// extent, so a depthwise convolution is one whose weight has a second extent of 1. `bias` is `[out]`.
    pub fn new(weight: Tensor<4>, bias: Option<Tensor<1>>) -> Self {
        Self {
            weight,
            bias,
            stride: 1,
            padding: Padding::Pixels(0),
            arithmetic: Arithmetic::Fast,
            frozen: OnceLock::new(),
        }
    }

    /// Sets the stride, at least 1.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self.frozen = OnceLock::new();
        self
    }

    /// Sets the padding.
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self.frozen = OnceLock::new();
        self
    }

    /// Sets how it is computed. Default: the fastest way.
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.set_arithmetic(arithmetic);
        self
    }

    /// Sets how it is computed, in place.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        self.arithmetic = arithmetic;
    }

    /// The number of weights and biases.
    pub fn parameters(&self) -> usize {
        count(&self.weight) + self.bias.as_ref().map_or(0, count)
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.weight.device()
    }

    /// The convolution, described to `taps`.
    pub fn forward(&self, x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
        let groups = self.describe(&x, taps);
        match self.frozen(groups) {
            Some(frozen) => frozen.forward(x, None),
            None => self.ordinary(x, groups),
        }
    }

    /// The convolution and the rectifier after it, under the backward rule of `taps`.
    pub fn rectified(&self, x: Tensor<4>, taps: &mut Taps, rectifier: Rectifier) -> Tensor<4> {
        let groups = self.describe(&x, taps);
        let rule = taps.meet_rectifier();
        match self.frozen(groups) {
            Some(frozen) => frozen.forward(x, Some((rectifier, rule))),
            None => backprop::rectify(self.ordinary(x, groups), rectifier, rule),
        }
    }

    /// The number of groups.
    fn describe(&self, x: &Tensor<4>, taps: &mut Taps) -> usize {
        let (channels, channels_per_group) = (x.dims()[1], self.weight.dims()[1]);
        let groups = channels / channels_per_group;
        let depthwise = groups > 1 && channels_per_group == 1;
        taps.describe(if depthwise { "depthwise convolution" } else { "convolution" }, self.parameters());
        groups
    }

    /// The prepared convolution, where there is one.
    fn frozen(&self, groups: usize) -> Option<&FrozenConvolution> {
        if self.arithmetic == Arithmetic::Exact {
            return None;
        }
        let bias = self.bias.as_ref();
        let prepare = || FrozenConvolution::new(&self.weight, bias, self.stride, self.padding, groups);
        self.frozen.get_or_init(prepare).as_ref()
    }

    fn ordinary(&self, x: Tensor<4>, groups: usize) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let [_, _, kernel_height, kernel_width] = self.weight.dims();
        let padding = [
            self.padding.around(height, kernel_height, self.stride),
            self.padding.around(width, kernel_width, self.stride),
        ];
        let options = ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], groups);
        module::conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }
}

/// A dense layer with frozen weights: `x · weightᵀ + bias`.
#[derive(Clone)]
pub struct Dense {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Dense {
    /// A dense layer; `weight` is `[out, in]`, `bias` is `[out]`.
    pub fn new(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        Self { weight, bias }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.dims()[0]
    }

    /// The number of weights and biases.
    pub fn parameters(&self) -> usize {
        count(&self.weight) + count(&self.bias)
    }

    /// The layer, described to `taps`: `[batch, in]` gives `[batch, out]`.
    pub fn forward(&self, x: Tensor<2>, taps: &mut Taps) -> Tensor<2> {
        taps.describe("dense", self.parameters());
        x.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze()
    }

    /// The layer and the rectifier after it, under the backward rule of `taps`.
    pub fn rectified(&self, x: Tensor<2>, taps: &mut Taps, rectifier: Rectifier) -> Tensor<2> {
        let x = self.forward(x, taps);
        taps.rectify(x, rectifier)
    }
}

/// The maxima of non-overlapping 2×2 windows, described to `taps`; a last odd row or column is dropped.
pub fn max_pool_2x2(x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    taps.describe("max pooling", 0);
    convolution::max_pool_2x2(x)
}

/// The means of non-overlapping 2×2 windows, described to `taps`; a last odd row or column is dropped.
pub fn average_pool_2x2(x: Tensor<4>, taps: &mut Taps) -> Tensor<4> {
    taps.describe("average pooling", 0);
    module::avg_pool2d(x, AvgPoolOptions::new([2, 2]))
}

/// The mean of every channel, described to `taps`: `[batch, channels, height, width]` gives
/// `[batch, channels]`.
pub fn global_average_pool(x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("average pooling", 0);
    x.mean_dim(3).mean_dim(2).flatten(1, 3)
}

/// The features of an image in a row, channel by channel, described to `taps`.
pub fn flatten(x: Tensor<4>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("flatten", 0);
    x.flatten(1, 3)
}

/// Probabilities from class scores, `[batch, classes]`, described to `taps`.
pub fn softmax(x: Tensor<2>, taps: &mut Taps) -> Tensor<2> {
    taps.describe("softmax", 0);
    burn::tensor::activation::softmax(x, 1)
}

/// What a network does to the pixels before its first layer: `(x − mean) / deviation`, channel by channel.
#[derive(Clone)]
pub struct Standardization {
    mean: Tensor<4>,
    deviation: Tensor<4>,
}

impl Standardization {
    /// Standardization with these means and deviations, one a channel, in the units of the pixels.
    ///
    /// ```
    /// use vis::model::layers::Standardization;
    /// let device = Default::default();
    /// let grey = Standardization::new([0.5], [0.25], &device);
    /// let image = burn::tensor::Tensor::<4>::ones([1, 1, 2, 2], &device);
    /// assert_eq!(vis::host::values(grey.forward(image)), [2.0; 4]);
    /// ```
    pub fn new<const CHANNELS: usize>(
        mean: [f32; CHANNELS],
        deviation: [f32; CHANNELS],
        device: &Device,
    ) -> Self {
        let a_channel =
            |values: [f32; CHANNELS]| Tensor::<1>::from_floats(values, device).reshape([1, CHANNELS, 1, 1]);
        Self { mean: a_channel(mean), deviation: a_channel(deviation) }
    }

    /// The standardized image, of the same shape.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        (image - self.mean.clone()) / self.deviation.clone()
    }
}

fn count<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.dims().iter().product()
}

// The numbers themselves would fill pages.
impl fmt::Debug for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Convolution")
            .field("weight", &self.weight.dims())
            .field("bias", &self.bias.is_some())
            .field("stride", &self.stride)
            .field("padding", &self.padding)
            .finish()
    }
}

impl fmt::Debug for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dense").field("weight", &self.weight.dims()).finish()
    }
}

impl fmt::Debug for Standardization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standardization").field("channels", &self.mean.dims()[1]).finish()
    }
}
