//! A generator of handwritten digits and the discriminator it was trained against.

use std::path::Path;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation, module};

use super::weights::{self, bundled};
use super::{InputSpec, Model, Stop, Taps};
use crate::Result;

const SIDE: usize = 28;
/// The side of the generator's first map, and of the discriminator's last.
const COARSE: usize = 7;
const WIDTHS: [usize; 2] = [32, 64];
const LEAK: f32 = 0.2;

/// A network that distinguishes handwritten digits from other images: two convolutions of stride 2 and one score.
///
/// Its layers are `conv1`, `conv2` and `score`, the logarithm of the odds that the image is real. Images are
/// 28×28, grey in `0..1`, white strokes on black.
///
/// In [`Realism`](crate::losses::Realism) it keeps an optimised image among the digits:
///
/// ```no_run
/// use vis::losses::{ActivationMaximization, Realism};
/// use vis::model::{Digits, Discriminator};
/// use vis::{Optimizer, losses};
/// let device = Default::default();
/// let model = Digits::bundled(&device)?;
/// let losses = losses![
///     (ActivationMaximization::new("predictions", 3), 1.0),
///     (Realism::new(Discriminator::bundled(&device)?, (0.0, 1.0)), 4.0),
/// ];
/// let three = Optimizer::new(&model, losses).preset(&vis::Model::preset(&model)).minimize()?;
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Trained by `examples/train_gan.rs`. Source: Radford, Metz & Chintala 2015, *Unsupervised Representation Learning
/// with Deep Convolutional Generative Adversarial Networks*.
#[derive(Clone)]
pub struct Discriminator {
    input: InputSpec,
    weights: Weights,
}

/// A network that draws handwritten digits, `[batch, 1, 28, 28]` in `0..1`, from codes `[batch, 32, 1, 1]`: a dense
/// layer, then two times doubling and a convolution.
///
#[cfg_attr(doc, doc = include_str!("../figures/gan.md"))]
///
/// Only the direction of a code counts: it is brought to the length √32, that of the normal noise of training.
/// Channels are divided by their root mean square at each position, which keeps training steady without statistics
/// of a batch (Karras et al. 2017).
///
/// As a [`Parametrization`](crate::parametrization::Parametrization) it is an image prior: what is optimised is the code, so every image on the way is one
/// that the generator can draw. There is no code for a given image but by search, so a run can't start from one.
///
/// ```no_run
/// use burn::optim::AdamConfig;
/// use vis::model::{Digits, Generator};
/// use vis::optimizer::BurnUpdate;
/// use vis::{Optimizer, losses::ActivationMaximization};
/// let device = Default::default();
/// let three = Optimizer::new(&Digits::bundled(&device)?, ActivationMaximization::new("predictions", 3))
///     .parametrization(Generator::bundled(&device)?)
///     .update(BurnUpdate::new(AdamConfig::new().build()))
///     .learning_rate(0.05)
///     .minimize()?;
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Trained by `examples/train_gan.rs`. Source: Radford, Metz & Chintala 2015; as a prior: Nguyen et al. 2016,
/// *Synthesizing the Preferred Inputs for Neurons in Neural Networks via Deep Generator Networks*.
#[derive(Clone)]
pub struct Generator {
    weights: Weights,
}

/// The weights of a network in a row, cut by a table of names and shapes.
#[derive(Clone)]
struct Weights {
    flat: Tensor<1>,
    table: &'static [(&'static str, &'static [usize])],
}

const DISCRIMINATOR: &[(&str, &[usize])] = &[
    ("conv1.weight", &[WIDTHS[0], 1, 4, 4]),
    ("conv1.bias", &[WIDTHS[0]]),
    ("conv2.weight", &[WIDTHS[1], WIDTHS[0], 4, 4]),
    ("conv2.bias", &[WIDTHS[1]]),
    ("score.weight", &[1, WIDTHS[1] * COARSE * COARSE]),
    ("score.bias", &[1]),
];

const GENERATOR: &[(&str, &[usize])] = &[
    ("dense.weight", &[WIDTHS[1] * COARSE * COARSE, Generator::CODE]),
    ("dense.bias", &[WIDTHS[1] * COARSE * COARSE]),
    ("conv1.weight", &[WIDTHS[0], WIDTHS[1], 3, 3]),
    ("conv1.bias", &[WIDTHS[0]]),
    ("conv2.weight", &[1, WIDTHS[0], 3, 3]),
    ("conv2.bias", &[1]),
];

impl Discriminator {
    /// The number of weights.
    pub const PARAMETERS: usize = count(DISCRIMINATOR);

    /// The discriminator as trained on digits of MNIST. The weights are in the program by the feature `bundled`, which is
    /// on by default; see [`Weights::from_bundled`](weights::Weights::from_bundled) for other places.
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`](crate::Error::NotBundled) when they are in none of these.
    ///
    /// ```
    /// use vis::{Model, model::{Discriminator, Generator}, parametrization::Parametrization};
    /// let device = Default::default();
    /// let (discriminator, generator) = (Discriminator::bundled(&device)?, Generator::bundled(&device)?);
    /// let digit = generator.decode(generator.start([1, 1, 28, 28], 0, 0, &device));
    /// let noise = vis::random::noise([1, 1, 28, 28], (0.0, 1.0), 0, 0, &device);
    /// let score = |image| discriminator.classify(image).map(|score| score.into_scalar::<f32>());
    /// assert!(score(digit)? > score(noise)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn bundled(device: &Device) -> Result<Self> {
        Ok(Self::from_flat(Weights::load(
            weights::Weights::of_bundled(bundled::DIGITS_DISCRIMINATOR, device)?,
            DISCRIMINATOR,
        )?))
    }

    /// The discriminator with the weights of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't be read, and [`Error::Weights`](crate::Error::Weights) for one of another
    /// network.
    ///
    /// ```no_run
    /// use vis::model::Discriminator;
    /// let discriminator = Discriminator::from_file("my_discriminator.safetensors", &Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Ok(Self::from_flat(Weights::load(weights::Weights::from_file(path, device)?, DISCRIMINATOR)?))
    }

    /// The discriminator with [random weights](weights::Weights::random).
    ///
    /// ```
    /// use vis::Model;
    /// use vis::model::Discriminator;
    /// let discriminator = Discriminator::with_random_weights(0, &Default::default())?;
    /// let score = discriminator.classify(discriminator.input().zeros(&Default::default()))?;
    /// assert_eq!(score.dims(), [1, 1]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Ok(Self::from_flat(Weights::load(weights::Weights::random(seed, device), DISCRIMINATOR)?))
    }

    /// The discriminator with these weights in a row, `[PARAMETERS]`, in the order of [`named`](Self::named); for
    /// training, where they are a leaf of the gradient.
    ///
    /// # Panics
    ///
    /// Where there are more or fewer weights.
    ///
    /// ```
    /// use burn::tensor::Tensor;
    /// use vis::{Model, model::Discriminator};
    /// // With random weights the scores mean nothing.
    /// let discriminator = Discriminator::from_flat(Tensor::zeros([Discriminator::PARAMETERS], &Default::default()));
    /// let image = discriminator.input().zeros(&Default::default());
    /// assert_eq!(discriminator.classify(image)?.into_scalar::<f32>(), 0.0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_flat(weights: Tensor<1>) -> Self {
        let input = InputSpec::new([1, SIDE, SIDE], (0.0, 1.0));
        Self { input, weights: Weights::new(weights, DISCRIMINATOR) }
    }

    /// The weights in a row, `[PARAMETERS]`.
    ///
    /// ```
    /// use vis::model::Discriminator;
    /// let discriminator = Discriminator::with_random_weights(7, &Default::default())?;
    /// let again = Discriminator::from_flat(discriminator.flat());
    /// assert_eq!(again.named(), discriminator.named());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn flat(&self) -> Tensor<1> {
        self.weights.flat.clone()
    }

    /// The weights by name, with their shapes: for a file.
    ///
    /// ```
    /// use vis::model::Discriminator;
    /// let weights = Discriminator::with_random_weights(7, &Default::default())?.named();
    /// let (name, shape, values) = &weights[0];
    /// assert_eq!((*name, &shape[..]), ("conv1.weight", &[32, 1, 4, 4][..]));
    /// assert_eq!(values.len(), shape.iter().product::<usize>());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn named(&self) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
        self.weights.named()
    }
}

impl Model for Discriminator {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut x = image * 2.0 - 1.0;
        for (index, name) in ["conv1", "conv2"].into_iter().enumerate() {
            taps.describe("convolution", DISCRIMINATOR[2 * index].1.iter().product());
            let (weight, bias) = (self.weights.get(2 * index), self.weights.get(2 * index + 1));
            // Not a frozen layer of `model::layers`: while training the weights have gradients.
            x = module::conv2d(x, weight, Some(bias), ConvOptions::new([2, 2], [1, 1], [1, 1], 1));
            x = taps.leaky_relu(x, LEAK);
            x = taps.layer(name, x)?;
        }
        taps.describe("dense", DISCRIMINATOR[4].1.iter().product());
        let weight: Tensor<2> = self.weights.get(4);
        let bias: Tensor<1> = self.weights.get(5);
        let score = x.flatten::<2>(1, 3).matmul(weight.transpose()) + bias.unsqueeze();
        taps.layer("score", score)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.weights.flat.device()
    }
}

impl Generator {
    /// The number of values in a code.
    pub const CODE: usize = 32;
    /// The number of weights.
    pub const PARAMETERS: usize = count(GENERATOR);

    /// The generator as trained on digits of MNIST. The weights are in the program by the feature `bundled`, which is
    /// on by default; see [`Weights::from_bundled`](weights::Weights::from_bundled) for other places.
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`](crate::Error::NotBundled) when they are in none of these.
    ///
    /// ```
    /// use vis::{Model, model::{Digits, Generator}, parametrization::Parametrization};
    /// let device = Default::default();
    /// let generator = Generator::bundled(&device)?;
    /// let digits = generator.decode(generator.start([20, 1, 28, 28], 0, 0, &device));
    /// // Most of what it draws by chance is read as some digit or other, and not as one of all.
    /// let shares = burn::tensor::activation::softmax(Digits::bundled(&device)?.classify(digits)?, 1);
    /// assert!(shares.max_dim(1).mean().into_scalar::<f32>() > 0.7);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn bundled(device: &Device) -> Result<Self> {
        let parameters = weights::Weights::of_bundled(bundled::DIGITS_GENERATOR, device)?;
        Ok(Self::from_flat(Weights::load(parameters, GENERATOR)?))
    }

    /// The generator with the weights of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) for a file that can't be read, and [`Error::Weights`](crate::Error::Weights) for one of another
    /// network.
    ///
    /// ```no_run
    /// use vis::model::Generator;
    /// let generator = Generator::from_file("my_generator.safetensors", &Default::default())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Ok(Self::from_flat(Weights::load(weights::Weights::from_file(path, device)?, GENERATOR)?))
    }

    /// The generator with [random weights](weights::Weights::random).
    ///
    /// ```
    /// use vis::model::Generator;
    /// use vis::parametrization::Parametrization;
    /// let generator = Generator::with_random_weights(0, &Default::default())?;
    /// let codes = generator.start([3, 1, 28, 28], 0, 0, &Default::default());
    /// assert_eq!(codes.dims(), [3, 32, 1, 1]);
    /// assert_eq!(generator.decode(codes).dims(), [3, 1, 28, 28]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Ok(Self::from_flat(Weights::load(weights::Weights::random(seed, device), GENERATOR)?))
    }

    /// The generator with these weights in a row, `[PARAMETERS]`, in the order of [`named`](Self::named); for
    /// training, where they are a leaf of the gradient.
    ///
    /// # Panics
    ///
    /// Where there are more or fewer weights.
    ///
    /// ```
    /// use burn::tensor::Tensor;
    /// use vis::{model::Generator, parametrization::Parametrization};
    /// // Without any weights every code gives the middle of the range.
    /// let generator = Generator::from_flat(Tensor::zeros([Generator::PARAMETERS], &Default::default()));
    /// let image = generator.decode(Tensor::ones([1, Generator::CODE, 1, 1], &Default::default()));
    /// assert!(image.into_data().to_vec::<f32>().unwrap().iter().all(|pixel| *pixel == 0.5));
    /// ```
    pub fn from_flat(weights: Tensor<1>) -> Self {
        Self { weights: Weights::new(weights, GENERATOR) }
    }

    /// The weights in a row, `[PARAMETERS]`.
    ///
    /// ```
    /// use vis::model::Generator;
    /// let generator = Generator::with_random_weights(7, &Default::default())?;
    /// let again = Generator::from_flat(generator.flat());
    /// assert_eq!(again.named(), generator.named());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn flat(&self) -> Tensor<1> {
        self.weights.flat.clone()
    }

    /// The weights by name, with their shapes: for a file.
    ///
    /// ```
    /// use vis::model::Generator;
    /// let weights = Generator::with_random_weights(7, &Default::default())?.named();
    /// let (name, shape, values) = &weights[0];
    /// assert_eq!((*name, &shape[..]), ("dense.weight", &[3136, 32][..]));
    /// assert_eq!(values.len(), shape.iter().product::<usize>());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn named(&self) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
        self.weights.named()
    }
}

impl Generator {
    /// The pictures of these codes, `[batch, CODE, 1, 1]`.
    pub(crate) fn generate(&self, codes: Tensor<4>) -> Tensor<4> {
        let batch = codes.dims()[0];
        // Of root mean square 1, whatever the length.
        let codes = unit(codes).reshape([batch, Self::CODE]);
        let weight: Tensor<2> = self.weights.get(0);
        let bias: Tensor<1> = self.weights.get(1);
        let x = codes.matmul(weight.transpose()) + bias.unsqueeze();
        let x = activation::relu(x.reshape([batch, WIDTHS[1], COARSE, COARSE]));
        let same = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let x = module::conv2d(doubled(unit(x)), self.weights.get(2), Some(self.weights.get(3)), same());
        let x = unit(activation::relu(x));
        let x = module::conv2d(doubled(x), self.weights.get(4), Some(self.weights.get(5)), same());
        activation::sigmoid(x)
    }
}

impl Weights {
    fn new(flat: Tensor<1>, table: &'static [(&'static str, &'static [usize])]) -> Self {
        assert_eq!(flat.dims(), [count(table)], "the number of weights");
        Self { flat, table }
    }

    /// All weights of a file in a row.
    fn load(weights: weights::Weights, table: &[(&str, &[usize])]) -> Result<Tensor<1>> {
        weights.load(|parameters| {
            let mut row = Vec::new();
            for (name, shape) in table {
                row.push(match **shape {
                    [a] => parameters.tensor(name, [a])?,
                    [a, b] => parameters.tensor(name, [a, b])?.flatten(0, 1),
                    [a, b, c, d] => parameters.tensor(name, [a, b, c, d])?.flatten(0, 3),
                    _ => continue,
                });
            }
            Ok(Tensor::cat(row, 0))
        })
    }

    fn get<const D: usize>(&self, index: usize) -> Tensor<D> {
        let start = count(&self.table[..index]);
        let shape = self.table[index].1;
        let shape: [usize; D] = shape.try_into().expect("the table says the rank");
        self.flat.clone().narrow(0, start, shape.iter().product()).reshape(shape)
    }

    fn named(&self) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
        let values = crate::host::values(self.flat.clone().inner());
        let mut start = 0;
        let mut cut = |(name, shape): &(&'static str, &'static [usize])| {
            let end = start + shape.iter().product::<usize>();
            let values = values[start..end].to_vec();
            start = end;
            (*name, shape.to_vec(), values)
        };
        self.table.iter().map(&mut cut).collect()
    }
}

const fn count(table: &[(&str, &[usize])]) -> usize {
    let (mut sum, mut row) = (0, 0);
    while row < table.len() {
        let (mut product, mut axis) = (1, 0);
        while axis < table[row].1.len() {
            product *= table[row].1[axis];
            axis += 1;
        }
        sum += product;
        row += 1;
    }
    sum
}

/// Divided by the root mean square over the channels at each position.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let size = (x.clone().square().mean_dim(1) + 1e-8).sqrt();
    x / size
}

/// Every pixel as 2×2 pixels.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch, channels, height, 1, width, 1]);
    x.expand([batch, channels, height, 2, width, 2]).reshape([batch, channels, 2 * height, 2 * width])
}

// The numbers themselves would fill pages.
impl std::fmt::Debug for Discriminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discriminator").field("parameters", &Self::PARAMETERS).finish()
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator").field("parameters", &Self::PARAMETERS).finish()
    }
}
