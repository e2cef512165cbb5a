//! A network small enough for examples.

use burn::tensor::{Device, Tensor, TensorData, module, ops::ConvOptions};

use super::{InputSpec, Model, Preset, Stop, Taps};

/// A network of two convolutions and a dense layer with fixed weights, for examples and for trying a loss.
///
/// It takes RGB images of 8×8 pixels in `0..255` and has the layers `conv1` (4×8×8), `pool1` (4×4×4),
/// `conv2` (6×4×4), `logits` (5 classes) and `softmax`. Its weights mean nothing, but no two of its filters
/// are alike and all of them can fire.
///
/// ```
/// use vis::Model;
/// let model = vis::model::Tiny::new(&Default::default());
/// let names: Vec<String> = model.layers()?.into_iter().map(|layer| layer.name).collect();
/// assert_eq!(names, ["conv1", "pool1", "conv2", "logits", "softmax"]);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tiny {
    input: InputSpec,
    conv1: Tensor<4>,
    conv2: Tensor<4>,
    dense: Tensor<2>,
}

impl Tiny {
    /// The network on a device.
    ///
    /// ```
    /// use vis::{Model, model::Tiny};
    /// # let device = Default::default();
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &device);
    /// let [once, again] = [(); 2].map(|()| Tiny::new(&device).classify(image.clone()));
    /// assert_eq!(once?.into_data().to_vec::<f32>().unwrap(), again?.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(device: &Device) -> Self {
        // A deterministic, aperiodic spread over ±1: the fractional parts of multiples of the golden ratio.
        let weights = |count: usize, phase: f32| -> Vec<f32> {
            (1..=count).map(|k| (k as f32 * 0.618_034 + phase).fract() * 2.0 - 1.0).collect()
        };
        let tensor = |shape: [usize; 4], phase| {
            let count = shape.iter().product();
            Tensor::from_data(TensorData::new(weights(count, phase), shape), device)
        };
        Self {
            input: InputSpec::rgb(8, 8),
            conv1: tensor([4, 3, 3, 3], 0.1),
            conv2: tensor([6, 4, 3, 3], 0.2),
            dense: Tensor::from_data(TensorData::new(weights(96 * 5, 0.3), [96, 5]), device),
        }
    }
}

impl Model for Tiny {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let same = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        taps.describe("convolution", 4 * 3 * 9);
        let x = module::conv2d(image / 255.0, self.conv1.clone(), None, same.clone());
        let x = taps.relu(x);
        let x = taps.layer("conv1", x)?;
        taps.describe("average pooling", 0);
        let x = taps.layer("pool1", module::adaptive_avg_pool2d(x, [4, 4]))?;
        taps.describe("convolution", 6 * 4 * 9);
        let x = taps.relu(module::conv2d(x, self.conv2.clone(), None, same));
        let x = taps.layer("conv2", x)?;
        taps.describe("dense", 96 * 5);
        let x = taps.layer("logits", x.flatten::<2>(1, 3).matmul(self.dense.clone()))?;
        taps.describe("softmax", 0);
        taps.layer("softmax", burn::tensor::activation::softmax(x, 1))?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.conv1.device()
    }

    fn logits(&self) -> Option<&str> {
        Some("logits")
    }

    /// Those of keras-vis, whose numbers are easy to follow.
    fn preset(&self) -> Preset {
        Preset::keras_vis()
    }
}
