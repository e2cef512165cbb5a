//! Networks whose maps can be worked out by hand.

use burn::tensor::{Device, Tensor, TensorData, activation, module, ops::ConvOptions};
use vis::backprop::Rectifier;
use vis::model::{InputSpec, Model, Stop, Taps};

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::default())
}

fn plain() -> ConvOptions<2> {
    ConvOptions::new([1, 1], [0, 0], [1, 1], 1)
}

/// Captum's `BasicModel_ConvNet_One_Conv`: a 3×3 convolution of ones from 1 to 2 channels with biases −50 and
/// −75, a rectifier, a dense layer whose four rows are all (1, 1, 1, 1, 1, −1, −1, −1), a rectifier.
///
/// For the image 0..15 the sums of the four windows are 45, 54, 81 and 90, so that the rectified channels are
/// (0, 4, 31, 40) and (0, 0, 6, 15), and each output is 0+4+31+40 + 0 − 0−6−15 = 54.
pub(super) struct OneConv {
    input: InputSpec,
    /// Takes two images side by side and adds them first.
    two: bool,
}

impl OneConv {
    pub(super) fn new() -> Self {
        Self { input: InputSpec::new([1, 4, 4], (0.0, 15.0)), two: false }
    }

    pub(super) fn of_two_images() -> Self {
        Self { input: InputSpec::new([1, 4, 8], (0.0, 15.0)), two: true }
    }

    pub(super) fn image() -> Tensor<4> {
        tensor((0..16_u8).map(f32::from).collect(), [1, 1, 4, 4])
    }
}

impl Model for OneConv {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let image = if self.two { image.clone().narrow(3, 0, 4) + image.narrow(3, 4, 4) } else { image };
        let (weight, bias) = (tensor(vec![1.0; 18], [2, 1, 3, 3]), tensor(vec![-50.0, -75.0], [2]));
        let x = taps.layer("conv1", module::conv2d(image, weight, Some(bias), plain()))?;
        let x = taps.relu(x);
        let x = taps.layer("relu1", x)?;
        let row = [1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0];
        let dense = tensor(row.repeat(4), [4, 8]).transpose();
        let x = taps.layer("fc1", x.flatten::<2>(1, 3).matmul(dense))?;
        let x = taps.relu(x);
        taps.layer("output", x)?;
        Ok(())
    }
}

/// Captum's `BasicModel_MultiLayer` on an image of one row of three pixels: the identity, a dense layer of ones
/// to 4 units with biases (−10, 1, 1, 1), a rectifier, a dense layer of ones to 2 units with biases (−1, 1).
pub(super) struct MultiLayer(InputSpec);

impl MultiLayer {
    pub(super) fn new() -> Self {
        Self(InputSpec::new([1, 1, 3], (0.0, 100.0)))
    }
}

impl Model for MultiLayer {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = image.flatten::<2>(1, 3).matmul(tensor(vec![1.0; 12], [3, 4]));
        let x = taps.relu(x + tensor(vec![-10.0, 1.0, 1.0, 1.0], [1, 4]));
        let x = taps.layer("linear1", x)?;
        let x = x.matmul(tensor(vec![1.0; 8], [4, 2])) + tensor(vec![-1.0, 1.0], [1, 2]);
        taps.layer("linear2", x)?;
        Ok(())
    }
}

/// keras-vis's network of `test_guided_grad_modifier`: two inputs, two rectified units, one output.
pub(super) struct TwoTwoOne(InputSpec);

impl TwoTwoOne {
    pub(super) fn new() -> Self {
        Self(InputSpec::new([2, 1, 1], (-1.0, 1.0)))
    }
}

impl Model for TwoTwoOne {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = image.flatten::<2>(1, 3).matmul(tensor(vec![-1.0, 1.0, -1.0, 1.0], [2, 2]));
        let x = taps.relu(x);
        let x = taps.layer("hidden", x)?;
        taps.layer("output", x.matmul(tensor(vec![-1.0, 1.0], [2, 1])))?;
        Ok(())
    }
}

/// One rectifier, if any, on the image itself, in steps: `y = f(scale · x) / scale`.
pub(super) struct Alone {
    input: InputSpec,
    rectifier: Option<Rectifier>,
    scale: f32,
}

impl Alone {
    pub(super) fn new(shape: [usize; 3], rectifier: Option<Rectifier>) -> Self {
        Self { input: InputSpec::new(shape, (-10.0, 10.0)), rectifier, scale: 1.0 }
    }

    pub(super) fn scaled(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }
}

impl Model for Alone {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = match self.rectifier {
            Some(rectifier) => taps.rectify(image * self.scale, rectifier) / self.scale,
            None => image,
        };
        let x = taps.layer("features", x)?;
        taps.layer("output", x.flatten::<2>(1, 3))?;
        Ok(())
    }
}

/// Two convolutions with pseudorandom weights, global average pooling and one dense layer with a bias: the
/// network that class activation maps were defined for. 3×9×7 pixels, 5 features of 5×3, 4 classes.
pub(super) struct Pooled {
    input: InputSpec,
    conv1: Tensor<4>,
    conv2: Tensor<4>,
    dense: Tensor<2>,
    pub(super) bias: [f32; 4],
}

impl Pooled {
    pub(super) fn new(seed: u64) -> Self {
        use rand::Rng;
        let mut stream = vis::random::stream(seed, 0);
        let mut draw =
            |count: usize| -> Vec<f32> { (0..count).map(|_| stream.random_range(-1.0..1.0)).collect() };
        Self {
            input: InputSpec::new([3, 9, 7], (0.0, 1.0)).with_any_size_from(6),
            conv1: tensor(draw(4 * 27), [4, 3, 3, 3]),
            conv2: tensor(draw(5 * 36), [5, 4, 3, 3]),
            dense: tensor(draw(20), [5, 4]),
            bias: draw(4).try_into().unwrap(),
        }
    }
}

impl Model for Pooled {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = taps.leaky_relu(module::conv2d(image, self.conv1.clone(), None, plain()), 0.1);
        let x = taps.layer("conv1", x)?;
        let x = taps.relu6(module::conv2d(x, self.conv2.clone(), None, plain()));
        let x = taps.layer("conv2", x)?;
        let [batch, channels, ..] = x.dims();
        let x = taps.layer("pool", x.mean_dims(&[2, 3]).reshape([batch, channels]))?;
        let bias = tensor(self.bias.to_vec(), [1, 4]);
        let x = taps.layer("logits", x.matmul(self.dense.clone()) + bias)?;
        taps.layer("softmax", activation::softmax(x, 1))?;
        Ok(())
    }

    fn logits(&self) -> Option<&str> {
        Some("logits")
    }
}

/// Class 0 sees only the top left quarter of a 1×8×8 image, through a rectified blur; class 1 sees the rest.
pub(super) struct Quarter(InputSpec);

impl Quarter {
    pub(super) fn new() -> Self {
        Self(InputSpec::new([1, 8, 8], (0.0, 1.0)))
    }
}

impl Model for Quarter {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let mut quarter = vec![0.0; 64];
        quarter.chunks_mut(8).take(4).for_each(|row| row[..4].fill(1.0));
        let quarter = tensor(quarter, [1, 1, 8, 8]);
        let x = Tensor::cat(vec![image.clone() * quarter.clone(), image * (quarter.neg() + 1.0)], 1);
        let x = taps.relu(x - 0.1);
        let x = taps.layer("seen", x)?;
        let [batch, ..] = x.dims();
        taps.layer("output", x.mean_dims(&[2, 3]).reshape([batch, 2]))?;
        Ok(())
    }
}

/// Two branches that are concatenated: `left` is the first channel and its double, `right` the second; the one output is
/// the sum of all of it.
pub(super) struct Branches(InputSpec);

impl Branches {
    pub(super) fn new() -> Self {
        Self(InputSpec::new([2, 2, 2], (0.0, 10.0)))
    }
}

impl Model for Branches {
    fn input(&self) -> &InputSpec {
        &self.0
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let first = image.clone().narrow(1, 0, 1);
        let left = taps.layer("left", Tensor::cat(vec![first.clone(), first * 2.0], 1))?;
        let right = taps.layer("right", image.narrow(1, 1, 1))?;
        let all = taps.layer("both", Tensor::cat(vec![left, right], 1))?;
        let [batch, ..] = all.dims();
        taps.layer("output", all.sum_dims(&[1, 2, 3]).reshape([batch, 1]))?;
        Ok(())
    }
}
