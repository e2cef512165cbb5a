//! The bundled networks by other ways in, from an ONNX file and captured from a Burn module: the same maps, in the same time.

use std::time::Instant;

use burn::tensor::Tensor;
use vis::gradient::Gradient;
use vis::losses::ActivationMaximization;
use vis::{Model, losses};

use crate::host;
use crate::support::device;

/// One of the bundled networks, the layer that both end in, and a channel or class of it.
struct Network {
    name: &'static str,
    by_hand: Box<dyn Model>,
    layer: &'static str,
    channel: usize,
}

fn networks() -> [Network; 3] {
    use vis::model::{Digits, EfficientNetLite0, Vgg16};
    let network = |name, by_hand, layer, channel| Network { name, by_hand, layer, channel };
    [
        network("vgg16", Box::new(Vgg16::bundled(&device()).unwrap()), "block5_conv3", 67),
        network("lite0", Box::new(EfficientNetLite0::bundled(&device()).unwrap()), "predictions", 285),
        network("digits", Box::new(Digits::bundled(&device()).unwrap()), "predictions", 7),
    ]
}

/// A photo for a model of photos, and a spot of light for one of digits.
fn image(model: &dyn Model) -> Tensor<4> {
    let [channels, height, width] = model.input().shape();
    if channels == 3 {
        let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/input_224.png");
        return vis::picture::to_input(&vis::picture::load(photo).unwrap(), model).unwrap();
    }
    let noise =
        vis::random::noise([1, channels, height / 4, width / 4], model.input().range(), 4, 0, &device());
    crate::support::resize(noise, height, width)
}

fn gradient(model: &dyn Model, layer: &str, channel: usize, image: &Tensor<4>) -> Vec<f32> {
    let losses = losses![(ActivationMaximization::new(layer, channel), -1.0)];
    host::values(Gradient::new(model, &losses).evaluate(image.clone()).unwrap().gradient)
}

/// How far `b` is from `a`, in parts of the largest value, but for the most different thousandth: there a rectifier was
/// within rounding of zero.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "nothing to compare");
    let mut far: Vec<f32> = a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest).collect();
    far.sort_by(f32::total_cmp);
    far[far.len() - 1 - far.len() / 1000]
}

/// Compares values and gradients of a network with those of the one written by hand, and prints how long each takes.
fn compare(network: &Network, other: &dyn Model, way: &str) {
    let Network { name, by_hand, layer, channel } = network;
    let layers = other.layers().unwrap();
    let last = &layers.last().unwrap().name;
    let image = image(by_hand.as_ref());
    let values =
        |model: &dyn Model, layer: &str| host::values(model.activation(image.clone(), layer).unwrap());
    let value = distance(&values(by_hand.as_ref(), layer), &values(other, last));
    let maps = [(by_hand.as_ref(), *layer), (other, last.as_str())]
        .map(|(model, layer)| gradient(model, layer, *channel, &image));
    let map = distance(&maps[0], &maps[1]);
    let mut best = [f64::MAX; 2];
    for _ in 0..if *name == "vgg16" { 6 } else { 20 } {
        // In turn, as the machine may be busy.
        for (best, (model, layer)) in
            best.iter_mut().zip([(by_hand.as_ref(), *layer), (other, last.as_str())])
        {
            let start = Instant::now();
            gradient(model, layer, *channel, &image);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    println!(
        "{name:7} {way}: values within {value:.1e}, maps within {map:.1e}, {:.1} ms by hand, ratio {:.2}",
        1e3 * best[0],
        best[1] / best[0]
    );
    assert!(value < 1e-4 && map < 1e-4, "{name}: {value} {map}");
    // What a busy machine makes of it is not what is asked here: the ratio printed is.
    assert!(best[1] < 3.0 * best[0], "{name}: {best:?}");
}

#[cfg(feature = "onnx")]
#[test]
fn a_bundled_network_of_an_onnx_file_has_the_maps_of_the_one_written_by_hand_in_the_same_time() {
    use vis::model::{Onnx, Preprocessing};
    let Some(folder) = std::env::var_os("VIS_BUNDLED_ONNX").map(std::path::PathBuf::from) else {
        eprintln!(
            "SKIPPED: set VIS_BUNDLED_ONNX to a folder that tests/reference/bundled_onnx.py has written"
        );
        return;
    };
    for network in networks() {
        let preprocessing = match network.name {
            "vgg16" => Preprocessing::new([123.68, 116.779, 103.939], [1.0]),
            "lite0" => Preprocessing::new([127.0], [128.0]),
            _ => Preprocessing::new([0.1307], [0.3081]).with_range((0.0, 1.0)),
        };
        let file = folder.join(format!("{}.onnx", network.name));
        let read = Onnx::new(file, preprocessing).device(&device()).load().unwrap();
        compare(&network, &read, "file");
    }
}

#[cfg(feature = "capture")]
mod captured {
    use burn::module::{Module, Param};
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
    use burn::tensor::activation::relu;
    use burn::tensor::module::{adaptive_avg_pool2d, max_pool2d};
    use burn::tensor::ops::MaxPoolOptions;
    use vis::Result;
    use vis::model::weights::{Parameters, Weights};
    use vis::model::{InputSpec, capture};

    use super::*;

    /// A convolution of `burn::nn` with the weights of a file.
    fn conv(
        parameters: &mut Parameters,
        name: &str,
        stride: usize,
        padding: PaddingConfig2d,
    ) -> Result<Conv2d> {
        let shape: [usize; 4] = parameters.shape(&format!("{name}.weight")).unwrap().try_into().unwrap();
        let [outputs, of_a_group, height, width] = shape;
        let depthwise = of_a_group == 1 && name.contains("depthwise");
        let groups = if depthwise { outputs } else { 1 };
        let bias = format!("{name}.bias");
        let has_bias = parameters.shape(&bias).is_some();
        let mut conv = Conv2dConfig::new([of_a_group * groups, outputs], [height, width])
            .with_stride([stride; 2])
            .with_groups(groups)
            .with_padding(padding)
            .with_bias(has_bias)
            .init(parameters.device());
        conv.weight = Param::from_tensor(parameters.tensor(&format!("{name}.weight"), shape)?);
        if has_bias {
            conv.bias = Some(Param::from_tensor(parameters.tensor(&bias, [outputs])?));
        }
        Ok(conv)
    }

    fn linear(parameters: &mut Parameters, name: &str) -> Result<Linear> {
        let shape: [usize; 2] = parameters.shape(&format!("{name}.weight")).unwrap().try_into().unwrap();
        let mut linear = LinearConfig::new(shape[1], shape[0]).init(parameters.device());
        linear.weight = Param::from_tensor(parameters.tensor(&format!("{name}.weight"), shape)?.transpose());
        linear.bias = Some(Param::from_tensor(parameters.tensor(&format!("{name}.bias"), [shape[0]])?));
        Ok(linear)
    }

    fn halved(x: Tensor<4>) -> Tensor<4> {
        max_pool2d(x, MaxPoolOptions::new([2, 2]).with_stride([2, 2]))
    }

    /// Convolutions with rectifiers, pooled after some, and dense layers with rectifiers between them.
    #[derive(Module, Debug)]
    struct Plain {
        convolutions: Vec<Conv2d>,
        #[module(skip)]
        pooled: Vec<bool>,
        dense: Vec<Linear>,
    }

    impl Plain {
        fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
            for (convolution, pooled) in self.convolutions.iter().zip(&self.pooled) {
                x = relu(convolution.forward(x));
                x = if *pooled { halved(x) } else { x };
            }
            if self.dense.is_empty() {
                return x;
            }
            let [batch, ..] = x.dims();
            let mut y: Tensor<2> = x.flatten(1, 3);
            for (index, dense) in self.dense.iter().enumerate() {
                y = dense.forward(if index > 0 { relu(y) } else { y });
            }
            let [_, classes] = y.dims();
            y.reshape([batch, classes, 1, 1])
        }
    }

    #[derive(Module, Debug)]
    struct Inverted {
        expand: Option<Conv2d>,
        depthwise: Conv2d,
        project: Conv2d,
    }

    #[derive(Module, Debug)]
    struct Lite0 {
        stem: Conv2d,
        blocks: Vec<Inverted>,
        head: Conv2d,
        predictions: Linear,
    }

    fn relu6(x: Tensor<4>) -> Tensor<4> {
        x.clamp(0.0, 6.0)
    }

    impl Lite0 {
        fn load() -> Self {
            let weights = Weights::from_bundled("efficientnet_lite0_f16.safetensors", &device()).unwrap();
            let net = weights.load(|parameters| {
                let same = || PaddingConfig2d::Same;
                let blocks = (0..16).map(|index| {
                    let name = format!("blocks.{index}");
                    let expand = format!("{name}.expand");
                    let has_expand = parameters.shape(&format!("{expand}.weight")).is_some();
                    let stride = if [1, 3, 5, 11].contains(&index) { 2 } else { 1 };
                    Ok(Inverted {
                        expand: has_expand.then(|| conv(parameters, &expand, 1, same())).transpose()?,
                        depthwise: conv(parameters, &format!("{name}.depthwise"), stride, same())?,
                        project: conv(parameters, &format!("{name}.project"), 1, same())?,
                    })
                });
                let blocks = blocks.collect::<Result<Vec<_>>>()?;
                Ok(Self {
                    stem: conv(parameters, "stem", 2, same())?,
                    blocks,
                    head: conv(parameters, "head", 1, same())?,
                    predictions: linear(parameters, "predictions")?,
                })
            });
            net.unwrap()
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let mut x = relu6(self.stem.forward(x));
            for block in &self.blocks {
                let y = block.expand.as_ref().map_or(x.clone(), |expand| relu6(expand.forward(x.clone())));
                let y = block.project.forward(relu6(block.depthwise.forward(y)));
                x = if y.dims() == x.dims() { x + y } else { y };
            }
            let x = relu6(self.head.forward(x));
            self.predictions.forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
        }
    }

    /// VGG16 without its top, and the digits.
    fn plain(file: &str, names: &[String], pooled: &[bool], dense: &[&str]) -> Plain {
        let weights = Weights::from_bundled(file, &device()).unwrap();
        let one = || PaddingConfig2d::Explicit(1, 1, 1, 1);
        let net = weights.load(|parameters| {
            Ok(Plain {
                convolutions: names
                    .iter()
                    .map(|name| conv(parameters, name, 1, one()))
                    .collect::<Result<_>>()?,
                pooled: pooled.to_vec(),
                dense: dense.iter().map(|name| linear(parameters, name)).collect::<Result<_>>()?,
            })
        });
        net.unwrap()
    }

    #[test]
    fn a_bundled_network_captured_from_burns_modules_has_the_maps_of_the_one_written_by_hand_in_the_same_time()
     {
        for network in networks() {
            let input = network.by_hand.input().clone();
            let captured = match network.name {
                "vgg16" => {
                    let (mut names, mut pooled) = (Vec::new(), Vec::new());
                    for (block, count) in (1..).zip([2, 2, 3, 3, 3]) {
                        for number in 1..=count {
                            names.push(format!("block{block}_conv{number}"));
                            pooled.push(number == count && block < 5);
                        }
                    }
                    let net = plain("vgg16_conv_f16.safetensors", &names, &pooled, &[]);
                    capture(&net, input, |net, image| {
                        let mean = Tensor::<1>::from_floats([123.68, 116.779, 103.939], &image.device());
                        net.forward(image - mean.reshape([1, 3, 1, 1]))
                    })
                }
                "lite0" => capture(&Lite0::load(), input, |net, image| net.forward((image - 127.0) / 128.0)),
                _ => {
                    let names = [0, 3, 6].map(|index| format!("conv_layers.{index}"));
                    let dense = ["fc_layers.0", "fc_layers.2"];
                    let net = plain("mnist_cnn_f16.safetensors", &names, &[true; 3], &dense);
                    capture(&net, input, |net, image| net.forward((image - 0.1307) / 0.3081))
                }
            };
            compare(&network, &captured.unwrap(), "captured");
        }
    }

    /// A residual network as one writes it, by the names of torchvision.
    #[derive(Module, Debug)]
    struct ResNet {
        conv1: Conv2d,
        bn1: BatchNorm,
        layer1: Vec<Block>,
        layer2: Vec<Block>,
        layer3: Vec<Block>,
        layer4: Vec<Block>,
        fc: Linear,
    }

    #[derive(Module, Debug)]
    struct Block {
        conv1: Conv2d,
        bn1: BatchNorm,
        conv2: Conv2d,
        bn2: BatchNorm,
        downsample: Option<Downsample>,
    }

    #[derive(Module, Debug)]
    struct Downsample {
        conv: Conv2d,
        norm: BatchNorm,
    }

    fn norm(parameters: &mut Parameters, name: &str) -> Result<BatchNorm> {
        let channels = parameters.shape(&format!("{name}.weight")).unwrap()[0];
        let mut norm = BatchNormConfig::new(channels).init(parameters.device());
        norm.gamma = Param::from_tensor(parameters.tensor(&format!("{name}.weight"), [channels])?);
        norm.beta = Param::from_tensor(parameters.tensor(&format!("{name}.bias"), [channels])?);
        norm.running_mean =
            burn::module::RunningState::new(parameters.tensor(&format!("{name}.running_mean"), [channels])?);
        norm.running_var =
            burn::module::RunningState::new(parameters.tensor(&format!("{name}.running_var"), [channels])?);
        Ok(norm)
    }

    impl ResNet {
        fn load(parameters: &mut Parameters) -> Result<Self> {
            let padded = |by: usize| PaddingConfig2d::Explicit(by, by, by, by);
            let stage = |parameters: &mut Parameters, stage: usize| {
                let block = |index: usize| {
                    let name = format!("layer{stage}.{index}");
                    let stride = if stage > 1 && index == 0 { 2 } else { 1 };
                    let downsample = format!("{name}.downsample");
                    let has_downsample = parameters.shape(&format!("{downsample}.0.weight")).is_some();
                    Ok(Block {
                        conv1: conv(parameters, &format!("{name}.conv1"), stride, padded(1))?,
                        bn1: norm(parameters, &format!("{name}.bn1"))?,
                        conv2: conv(parameters, &format!("{name}.conv2"), 1, padded(1))?,
                        bn2: norm(parameters, &format!("{name}.bn2"))?,
                        downsample: match has_downsample {
                            true => Some(Downsample {
                                conv: conv(parameters, &format!("{downsample}.0"), stride, padded(0))?,
                                norm: norm(parameters, &format!("{downsample}.1"))?,
                            }),
                            false => None,
                        },
                    })
                };
                (0..2).map(block).collect::<Result<Vec<_>>>()
            };
            Ok(Self {
                conv1: conv(parameters, "conv1", 2, padded(3))?,
                bn1: norm(parameters, "bn1")?,
                layer1: stage(parameters, 1)?,
                layer2: stage(parameters, 2)?,
                layer3: stage(parameters, 3)?,
                layer4: stage(parameters, 4)?,
                fc: linear(parameters, "fc")?,
            })
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let x = relu(self.bn1.forward(self.conv1.forward(x)));
            let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
            let mut x = max_pool2d(x, options);
            for block in self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4) {
                let y = relu(block.bn1.forward(block.conv1.forward(x.clone())));
                let y = block.bn2.forward(block.conv2.forward(y));
                let shortcut = |down: &Downsample| down.norm.forward(down.conv.forward(x.clone()));
                x = relu(y + block.downsample.as_ref().map_or(x.clone(), shortcut));
            }
            self.fc.forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
        }
    }

    #[test]
    fn a_captured_resnet_of_burns_own_modules_gives_pytorchs_numbers_under_pytorchs_names() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/networks");
        let weights = Weights::from_file(folder.join("resnet18.safetensors"), &device()).unwrap();
        let net = weights.load(ResNet::load).unwrap();
        let model = capture(&net, InputSpec::rgb(48, 40).with_any_size_from(32), |net, image| {
            let of_channels =
                |values: [f32; 3]| Tensor::<1>::from_floats(values, &image.device()).reshape([1, 3, 1, 1]);
            let (mean, deviation) =
                (of_channels([123.675, 116.28, 103.53]), of_channels([58.395, 57.12, 57.375]));
            net.forward((image.clone() - mean) / deviation)
        });
        let model = model.unwrap();
        let array = |what: &str| crate::npy::read(&folder.join(format!("resnet18_{what}.npy")));
        let image = array("image");
        let shape: [usize; 4] = image.shape().try_into().unwrap();
        let data = burn::tensor::TensorData::new(image.iter().copied().collect::<Vec<_>>(), shape);
        let image = Tensor::<4>::from_data(data, &device());
        let far = |got: Vec<f32>, expected: ndarray::ArrayD<f32>| {
            let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
            let far = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs());
            assert_eq!(got.len(), expected.len());
            far.fold(0_f32, f32::max) / largest
        };
        let scores = far(host::values(model.classify(image.clone()).unwrap()), array("scores"));
        let map = far(gradient(&model, "fc", 2, &image), array("gradient"));
        // What leaves the norm after a convolution is that norm's layer, as in PyTorch.
        let inner = far(host::values(model.activation(image, "layer3.1.bn2").unwrap()), array("inner"));
        println!(
            "captured ResNet-18: scores within {scores:.1e}, gradient {map:.1e}, layer3.1.bn2 {inner:.1e}"
        );
        assert!(scores < 1e-4 && map < 1e-4 && inner < 1e-4);
        let names: Vec<String> = model.layers().unwrap().into_iter().map(|layer| layer.name).collect();
        for stage in 1..=4 {
            for part in ["0.conv1", "0.bn1", "0.conv2", "1.bn2"] {
                let name = format!("layer{stage}.{part}");
                assert!(names.contains(&name), "{name} is not one of {names:?}");
            }
        }
        assert_eq!(names.last().map(String::as_str), Some("fc"));
    }
}
