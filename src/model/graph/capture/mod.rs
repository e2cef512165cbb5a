//! Any Burn module as a graph: its forward pass is recorded on Burn's capture device.

mod translate;

use std::collections::HashMap;

use burn::backend::Capture;
use burn::backend::ir::{OperationIr, ScalarIr, TensorId, TensorIr};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::build::Builder;
use super::value::{Array, Data, Real, Value};
use super::{Graph, Layout, Limits};
use crate::model::{InputSpec, Preprocessing};
use crate::{Error, Result};

/// Makes a model of any Burn module, without a change to its code: one forward pass is recorded on Burn's capture device,
/// and every operation becomes a layer.
///
/// A layer is named by the path of the module whose weights it uses, `layer4.2.conv3` as PyTorch users know it; what uses
/// no weights by what it does, `relu_1`, `sum_2`. Scaling and mean subtraction belong into the closure, so that the image
/// is in the range that `input` declares.
///
/// ```
/// use burn::nn::{Linear, LinearConfig, conv::{Conv2d, Conv2dConfig}};
/// use burn::{module::Module, tensor::{Device, Tensor, activation::relu}};
/// use vis::{Model, model::{InputSpec, capture}};
///
/// #[derive(Module, Debug)]
/// struct Net { conv: Conv2d, dense: Linear }
///
/// impl Net {
///     fn forward(&self, x: Tensor<4>) -> Tensor<2> {
///         self.dense.forward(relu(self.conv.forward(x)).flatten(1, 3))
///     }
/// }
///
/// let device = Device::default();
/// let net = Net {
///     conv: Conv2dConfig::new([3, 4], [3, 3]).init(&device),
///     dense: LinearConfig::new(4 * 6 * 6, 10).init(&device),
/// };
/// let model = capture(&net, InputSpec::rgb(8, 8), |net, image| net.forward(image / 255.0))?;
/// let names: Vec<String> = model.layers()?.into_iter().map(|layer| layer.name).collect();
/// assert!(names.contains(&"conv".into()) && names.last() == Some(&"dense".into()));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The pass is recorded as it is for inference: dropout does nothing, batch normalisation uses its running statistics.
/// Other sizes of images than that of `input` work where the module computes no shape of its own from the image's.
///
/// # Errors
///
/// [`Error::Graph`] names the operation that a graph doesn't know.
pub fn capture<M: Module, const D: usize>(
    module: &M,
    input: InputSpec,
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<D>,
) -> Result<Graph> {
    let refused = |reason: String| Error::Graph { node: "the captured module".into(), reason };
    let device = module.devices().into_iter().next().unwrap_or_default().inner();
    let recorder = Device::capture();
    let mut paths = HashMap::new();
    let mut problem = None;
    let recorded = recorder.capture_scope(|scope| {
        let module = module.clone().to_device(&recorder);
        let mut namer = Namer { path: Vec::new(), paths: HashMap::new() };
        module.visit(&mut namer);
        paths = namer.paths;
        let image = input.zeros(&device).to_device(&recorder);
        let output = forward(&module, image.clone());
        match (id(image), id(output)) {
            (Some(image), Some(output)) => scope.complete([image], [output]),
            _ => {
                problem = Some("the output was not computed from the image");
                scope.complete([], [])
            }
        }
    });
    let recorded = recorded.map_err(|error| refused(error.to_string()))?;
    if let Some(problem) = problem {
        return Err(refused(problem.into()));
    }
    let (Some(image), Some(output)) = (recorded.graph.inputs.first(), recorded.graph.outputs.first()) else {
        return Err(refused("it has no input or no output".into()));
    };
    let mut recording = Recording {
        builder: Builder::new(&device, Limits::default()),
        values: HashMap::new(),
        paths,
        kinds: HashMap::new(),
    };
    let image_value = recording.builder.image();
    recording.values.insert(*image, image_value);
    for (id, data) in recorded.values {
        if id != *image {
            let value = constant(data, &device).map_err(refused)?;
            let value = recording.builder.constant(value);
            recording.values.insert(id, value);
        }
    }
    let last = last_uses(&recorded.graph.operations, &recording.paths);
    for (index, operation) in recorded.graph.operations.iter().enumerate() {
        recording.operation(index, operation, &last).map_err(refused)?;
    }
    let output =
        recording.values.get(output).copied().ok_or_else(|| refused("its output was not recorded".into()))?;
    let preprocessing = Preprocessing::none().with_range(input.range());
    recording.builder.finish(image_value, Layout::ChannelsFirst, vec![output], input, preprocessing)
}

fn id<const D: usize>(tensor: Tensor<D>) -> Option<TensorId> {
    tensor.try_into_primitive::<Capture>().ok().map(|primitive| primitive.id())
}

/// The path of every parameter.
struct Namer {
    path: Vec<String>,
    paths: HashMap<TensorId, String>,
}

impl ModuleVisitor for Namer {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(id) = id(parameter.val()) {
            // The last part is the parameter in its module.
            let path = self.path.split_last().map_or(String::new(), |(_, module)| module.join("."));
            self.paths.insert(id, path);
        }
    }

    fn visit_int<const D: usize>(&mut self, _parameter: &Param<Tensor<D, Int>>) {}

    fn visit_bool<const D: usize>(&mut self, _parameter: &Param<Tensor<D, Bool>>) {}

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// A constant of the recording.
fn constant(data: TensorData, device: &Device) -> Result<Value, String> {
    let shape = data.shape().to_vec();
    let wrong = |error: &dyn std::fmt::Debug| format!("a constant can't be read: {error:?}");
    if data.dtype().is_float() {
        let values = data.convert::<f32>().try_to_vec::<f32>().map_err(|error| wrong(&error))?;
        if values.is_empty() {
            return Ok(Array { shape, data: Data::Float(values) }.into());
        }
        return Real::from_host(shape, values, device).map(Value::from);
    }
    if data.dtype().is_bool() {
        let values: Vec<bool> = data.iter::<bool>().collect();
        return Ok(Array::bools(shape, values).into());
    }
    let values: Vec<i64> = data.iter::<i64>().collect();
    Ok(Value::ints(shape, values))
}

/// For each module, the last operation that uses its weights.
fn last_uses(operations: &[OperationIr], paths: &HashMap<TensorId, String>) -> HashMap<String, usize> {
    let mut last = HashMap::new();
    let mut paths = paths.clone();
    for (index, operation) in operations.iter().enumerate() {
        let found = operation.inputs().find_map(|tensor| paths.get(&tensor.id).cloned());
        let Some(path) = found else { continue };
        // A weight that is only turned or reshaped is still that weight.
        if operation.inputs().all(|tensor| paths.contains_key(&tensor.id)) {
            for output in operation.outputs() {
                paths.insert(output.id, path.clone());
            }
        } else {
            last.insert(path, index);
        }
    }
    last
}

/// A recording on its way to a graph.
struct Recording {
    builder: Builder,
    values: HashMap<TensorId, usize>,
    paths: HashMap<TensorId, String>,
    /// How often each kind of operation was met.
    kinds: HashMap<&'static str, usize>,
}

impl Recording {
    fn value(&self, tensor: &TensorIr) -> Result<Option<usize>, String> {
        let found = self.values.get(&tensor.id).copied();
        found.map(Some).ok_or_else(|| "an operation uses a value that was not recorded".into())
    }

    fn number(&mut self, scalar: &ScalarIr) -> Result<Option<usize>, String> {
        let number = match scalar {
            ScalarIr::Float(number) => *number as f32,
            ScalarIr::Int(number) => *number as f32,
            ScalarIr::UInt(number) => *number as f32,
            ScalarIr::Bool(number) => f32::from(u8::from(*number)),
        };
        self.builder.number(number).map(Some).map_err(|error| error.to_string())
    }

    fn integers(&mut self, values: impl IntoIterator<Item = i64>) -> Option<usize> {
        Some(self.builder.integers(&values.into_iter().collect::<Vec<_>>()))
    }

    fn sizes(&mut self, tensor: &TensorIr) -> Option<usize> {
        self.integers(tensor.shape.iter().map(|size| *size as i64).collect::<Vec<_>>())
    }

    fn operation(
        &mut self,
        index: usize,
        recorded: &OperationIr,
        last: &HashMap<String, usize>,
    ) -> Result<(), String> {
        if let OperationIr::Init(_) | OperationIr::Drop(_) = recorded {
            return Ok(());
        }
        let Some((operation, inputs, outputs)) = self.translate(recorded)? else {
            let debug = format!("{recorded:?}");
            let name: String = debug.chars().take_while(|letter| *letter != '{').take(80).collect();
            return Err(format!("it uses an operation that a graph doesn't know: {}", name.trim_end()));
        };
        let path = recorded.inputs().find_map(|tensor| self.paths.get(&tensor.id).cloned());
        let kind = operation.kind();
        let name = match path {
            Some(path) if recorded.inputs().all(|tensor| self.paths.contains_key(&tensor.id)) => {
                for output in recorded.outputs() {
                    self.paths.insert(output.id, path.clone());
                }
                path
            }
            Some(path) if last.get(&path) == Some(&index) && !path.is_empty() => path,
            Some(path) if !path.is_empty() => format!("{path}.{}", kind.replace(' ', "_")),
            _ => {
                let count = self.kinds.entry(kind).or_insert(0);
                *count += 1;
                format!("{}_{count}", kind.replace(' ', "_"))
            }
        };
        let outputs = outputs
            .into_iter()
            .map(|tensor| {
                let value = self.builder.value();
                self.values.insert(tensor.id, value);
                Some(value)
            })
            .collect();
        self.builder.node(name, operation, inputs, outputs).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
    use burn::nn::{
        BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d,
    };
    use burn::tensor::activation::{gelu, relu, softmax};

    use super::*;
    use crate::Rule;
    use crate::host::values;
    use crate::model::{Model, Taps, run};

    /// A residual network as PyTorch users write it.
    #[derive(Module, Debug)]
    struct Net {
        conv1: Conv2d,
        bn1: BatchNorm,
        maxpool: MaxPool2d,
        layer1: Vec<Block>,
        layer2: Vec<Block>,
        avgpool: AdaptiveAvgPool2d,
        fc: Linear,
    }

    #[derive(Module, Debug)]
    struct Block {
        conv1: Conv2d,
        bn1: BatchNorm,
        conv2: Conv2d,
        bn2: BatchNorm,
        downsample: Option<Conv2d>,
    }

    fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
        let pad = kernel / 2;
        Conv2dConfig::new(channels, [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false)
            .init(device)
    }

    impl Block {
        fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
            Self {
                conv1: conv([inputs, outputs], 3, stride, device),
                bn1: BatchNormConfig::new(outputs).init(device),
                conv2: conv([outputs, outputs], 3, 1, device),
                bn2: BatchNormConfig::new(outputs).init(device),
                downsample: (stride > 1).then(|| conv([inputs, outputs], 1, stride, device)),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
            let y = self.bn2.forward(self.conv2.forward(y));
            let x = self.downsample.as_ref().map_or(x.clone(), |downsample| downsample.forward(x));
            relu(y + x)
        }
    }

    impl Net {
        fn new(device: &Device) -> Self {
            Self {
                conv1: conv([3, 8], 7, 2, device),
                bn1: BatchNormConfig::new(8).init(device),
                maxpool: MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init(),
                layer1: vec![Block::new(8, 8, 1, device), Block::new(8, 8, 1, device)],
                layer2: vec![Block::new(8, 16, 2, device)],
                avgpool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
                fc: LinearConfig::new(16, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let mut x = self.maxpool.forward(relu(self.bn1.forward(self.conv1.forward(x))));
            for block in self.layer1.iter().chain(&self.layer2) {
                x = block.forward(x);
            }
            self.fc.forward(self.avgpool.forward(x).flatten(1, 3))
        }
    }

    fn close(got: &[f32], expected: &[f32]) {
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-5 * largest, "{got} instead of {expected}");
        }
    }

    #[test]
    fn a_captured_residual_network_is_the_network_and_its_layers_have_pytorchs_names() {
        let device = Device::default();
        let net = Net::new(&device);
        let model = capture(&net, InputSpec::rgb(40, 24).with_any_size_from(16), |net, image| {
            net.forward(image / 255.0)
        })
        .unwrap();
        let names: Vec<String> = model.layers().unwrap().into_iter().map(|layer| layer.name).collect();
        for name in
            ["conv1", "bn1", "layer1.0.conv1", "layer1.1.bn2", "layer2.0.conv2", "layer2.0.downsample", "fc"]
        {
            assert!(names.iter().any(|known| known == name), "{name} is not one of {names:?}");
        }
        assert_eq!(names.last().map(String::as_str), Some("fc"));
        // One image, a batch, and another size.
        for (batch, height, width) in [(1, 40, 24), (3, 40, 24), (1, 32, 32)] {
            let image = crate::random::noise([batch, 3, height, width], (0.0, 255.0), 1, 0, &device);
            let plain = net.forward(image.clone() / 255.0);
            close(&values(model.classify(image).unwrap()), &values(plain));
        }
        // The gradient of one score.
        let image = crate::random::noise([1, 3, 40, 24], (0.0, 255.0), 2, 0, &device);
        let leaf = || image.clone().autodiff().require_grad();
        let plain = leaf();
        let twin = net.clone().to_device(&device.clone().autodiff());
        let gradients = twin.forward(plain.clone() / 255.0).narrow(1, 3, 1).sum().backward();
        let expected = values(plain.grad(&gradients).unwrap());
        let captured = leaf();
        let mut taps = Taps::new().record_last();
        run(&model, captured.clone(), &mut taps).unwrap();
        let gradients = taps.last().unwrap().narrow(1, 3, 1).sum().backward();
        close(&values(captured.grad(&gradients).unwrap()), &expected);
        // Its rectifiers obey the rules.
        let mut taps = Taps::new().rule(Rule::Guided).record_last();
        run(&model, leaf(), &mut taps).unwrap();
        assert_eq!(taps.rectifiers(), 7);
    }

    #[test]
    fn attention_written_by_hand_is_captured_with_its_norms() {
        #[derive(Module, Debug)]
        struct Mixer {
            patch: Conv2d,
            norm: LayerNorm,
            queries: Linear,
            keys: Linear,
            head: Linear,
        }
        impl Mixer {
            fn forward(&self, image: Tensor<4>) -> Tensor<2> {
                let tokens = self.patch.forward(image).flatten::<3>(2, 3).swap_dims(1, 2);
                let x = self.norm.forward(tokens.clone());
                let scores =
                    self.queries.forward(x.clone()).matmul(self.keys.forward(x.clone()).swap_dims(1, 2));
                let mixed = softmax(scores, 2).matmul(x) + tokens;
                self.head.forward(gelu(mixed).mean_dim(1).flatten(1, 2))
            }
        }
        let device = Device::default();
        let net = Mixer {
            patch: Conv2dConfig::new([3, 6], [4, 4]).with_stride([4, 4]).init(&device),
            norm: LayerNormConfig::new(6).init(&device),
            queries: LinearConfig::new(6, 6).init(&device),
            keys: LinearConfig::new(6, 6).init(&device),
            head: LinearConfig::new(6, 4).init(&device),
        };
        let input = InputSpec::new([3, 8, 12], (-1.0, 1.0));
        let model = capture(&net, input, Mixer::forward).unwrap();
        let names: Vec<String> = model.layers().unwrap().into_iter().map(|layer| layer.name).collect();
        for name in ["patch", "norm", "queries", "keys", "head"] {
            assert!(names.iter().any(|known| known == name), "{name} is not one of {names:?}");
        }
        let images = crate::random::noise([2, 3, 8, 12], (-1.0, 1.0), 5, 0, &device);
        close(&values(model.classify(images.clone()).unwrap()), &values(net.forward(images)));
    }

    #[test]
    fn an_operation_that_a_graph_does_not_know_is_named() {
        let device = Device::default();
        let net = LinearConfig::new(4, 4).init(&device);
        let error = capture(&net, InputSpec::new([1, 2, 2], (0.0, 1.0)), |net, image| {
            net.forward(image.flatten::<2>(1, 3)).cumsum(1)
        });
        let said = error.map(drop).unwrap_err().to_string();
        assert!(said.contains("doesn't know"), "{said}");
    }
}
