//! A small network that reads handwritten digits.

use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::layers::{Convolution, Dense, Padding, Standardization, flatten, max_pool_2x2, softmax};
use super::weights::{Parameters, Weights, bundled};
use super::{InputSpec, Model, Preset, Stop, Taps};
use crate::backprop::Rectifier;
use crate::{Arithmetic, Result};

/// A network of three convolutions and two dense layers that reads the digits of MNIST.
///
/// Its layers are `conv1`, `pool1`, `conv2`, `pool2`, `conv3`, `pool3`, `flatten`, `dense1`, `predictions`
/// (the class scores) and `softmax`; the activations of `conv1`, `conv2`, `conv3` and `dense1` are what
/// leaves the rectifier.
///
/// Images are 28×28, grey in `0..1`, white strokes on black.
///
/// A file of weights has `conv_layers.0`, `.3`, `.6` and `fc_layers.0`, `.2`, each with `.weight`
/// (`[out, in, height, width]` or `[out, in]`) and `.bias`.
///
/// ```no_run
/// use vis::{Model, model::Digits};
/// let model = Digits::bundled(&Default::default())?;
/// assert_eq!(model.class_name(7), Some("7"));
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "MNIST")]
pub struct Digits {
    input: InputSpec,
    standardization: Standardization,
    convolutions: [Convolution; 3],
    dense1: Dense,
    predictions: Dense,
    device: Device,
}

const SIDE: usize = 28;
const NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

impl Digits {
    /// The network as trained on MNIST. The weights are in the program by the feature `bundled`, which is on by default;
    /// see [`Weights::from_bundled`] for other places.
    ///
    /// ```
    /// use vis::{Model, model::Digits};
    /// let model = Digits::bundled(&Default::default())?;
    /// let stroke = model.input().zeros(&model.device()).slice_fill([0..1, 0..1, 5..23, 13..15], 1.0);
    /// assert_eq!(model.classify(stroke)?.argmax(1).into_scalar::<i64>(), 1);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`](crate::Error::NotBundled) when they are in none of these.
    pub fn bundled(device: &Device) -> Result<Self> {
        Weights::of_bundled(bundled::DIGITS, device)?.load(Self::assemble)
    }

    /// The network with the weights of a file.
    ///
    /// ```no_run
    /// use vis::model::Digits;
    /// let model = Digits::from_file("finetuned.safetensors", &Default::default())?;
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
    /// use vis::{Model, model::Digits};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 1, 28, 28], (0.0, 1.0), 0, 0, &device);
    /// let scores = |seed| Digits::with_random_weights(seed, &device)?.classify(image.clone());
    /// let (once, again, other) = (scores(0)?, scores(0)?, scores(1)?);
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

    /// Sets how the convolutions are computed: [`Arithmetic::Exact`] for the backend's own operations. Default: the
    /// fastest way.
    ///
    /// ```
    /// use vis::{Arithmetic, Model, model::Digits};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 1, 28, 28], (0.0, 1.0), 0, 0, &device);
    /// let fast = Digits::bundled(&device)?;
    /// let exact = fast.clone().with_arithmetic(Arithmetic::Exact);
    /// let difference = fast.classify(image.clone())? - exact.classify(image)?;
    /// assert!(difference.abs().max().into_scalar::<f32>() < 1e-3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        for convolution in &mut self.convolutions {
            convolution.set_arithmetic(arithmetic);
        }
        self
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let mut convolution = |name: &str, outputs, inputs| -> Result<Convolution> {
            let weight = parameters.tensor(&format!("conv_layers.{name}.weight"), [outputs, inputs, 3, 3])?;
            let bias = parameters.tensor(&format!("conv_layers.{name}.bias"), [outputs])?;
            Ok(Convolution::new(weight, Some(bias)).with_padding(Padding::Pixels(1)))
        };
        let convolutions = [convolution("0", 32, 1)?, convolution("3", 64, 32)?, convolution("6", 128, 64)?];
        let mut dense = |name: &str, outputs, inputs| -> Result<Dense> {
            let weight = parameters.tensor(&format!("fc_layers.{name}.weight"), [outputs, inputs])?;
            let bias = parameters.tensor(&format!("fc_layers.{name}.bias"), [outputs])?;
            Ok(Dense::new(weight, bias))
        };
        // Three poolings leave 28 / 8 = 3 pixels a side.
        let (dense1, predictions) = (dense("0", 256, 128 * 3 * 3)?, dense("2", NAMES.len(), 256)?);
        let device = parameters.device().clone();
        Ok(Self {
            input: InputSpec::new([1, SIDE, SIDE], (0.0, 1.0)),
            standardization: Standardization::new([0.1307], [0.3081], &device),
            convolutions,
            dense1,
            predictions,
            device,
        })
    }
}

impl Model for Digits {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = self.standardization.forward(image);
        for (number, convolution) in (1..).zip(&self.convolutions) {
            x = convolution.rectified(x, taps, Rectifier::Relu);
            x = taps.layer(&format!("conv{number}"), x)?;
            x = max_pool_2x2(x, taps);
            x = taps.layer(&format!("pool{number}"), x)?;
        }
        let x = flatten(x, taps);
        let x = taps.layer("flatten", x)?;
        let x = self.dense1.rectified(x, taps, Rectifier::Relu);
        let x = taps.layer("dense1", x)?;
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
        NAMES.get(class).copied()
    }

    fn preset(&self) -> Preset {
        // Strokes on black: a norm that counts all ink alike, against an activation of about 40, and an empty
        // frame, which all digits of the training data have. Chosen by eye.
        Preset {
            frame: 4,
            max_iter: 300,
            jitter: 0.1,
            scales: vec![0.8, 0.9, 1.0, 1.1, 1.2],
            rotations: vec![-15.0, -5.0, 5.0, 15.0],
            lp_norm_p: 1.0,
            lp_norm_weight: 40.0,
            tv_weight: 30.0,
            ..Preset::robust()
        }
    }
}
