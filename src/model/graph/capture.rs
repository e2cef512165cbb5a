//! Any Burn module as a graph: its forward pass is recorded on Burn's capture device.

use std::collections::HashMap;

use burn::backend::Capture;
use burn::backend::ir::{
    ActivationOperationIr as OfActivation, BaseOperationIr as OfBase, FloatOperationIr as OfFloat,
    InterpolateModeIr as Mode, ModuleOperationIr as OfModule, NumericOperationIr as OfNumbers, OperationIr,
    PadModeIr, ScalarIr, TensorId, TensorIr,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::build::Builder;
use super::operations::{
    Activation, Attention, Binary, Border, Comparison, Conv, Coordinates, Geometry, Interpolation, Norm,
    Operation, PadMode, Pool, Pooling, Reduction, Resize, Rounding, Unary,
};
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
/// assert_eq!(names, ["quotient_1", "conv", "relu_1", "reshape_1", "dense"]);
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
    let shape = data.shape.to_vec();
    let wrong = |error: &dyn std::fmt::Debug| format!("a constant can't be read: {error:?}");
    if data.dtype.is_float() {
        let values = data.convert::<f32>().try_to_vec::<f32>().map_err(|error| wrong(&error))?;
        if values.is_empty() {
            return Ok(Array { shape, data: Data::Float(values) }.into());
        }
        return Real::from_host(shape, values, device).map(Value::from);
    }
    if data.dtype.is_bool() {
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

    /// The operation, its inputs and its outputs; `None` for one that is not known.
    #[allow(clippy::type_complexity, reason = "three lists")]
    fn translate<'a>(
        &mut self,
        recorded: &'a OperationIr,
    ) -> Result<Option<(Operation, Vec<Option<usize>>, Vec<&'a TensorIr>)>, String> {
        let unary = |recording: &Self, operation: Operation, input: &TensorIr, out: &'a TensorIr| {
            Ok(Some((operation, vec![recording.value(input)?], vec![out])))
        };
        let binary =
            |recording: &Self, operation: Operation, a: &TensorIr, b: &TensorIr, out: &'a TensorIr| {
                Ok(Some((operation, vec![recording.value(a)?, recording.value(b)?], vec![out])))
            };
        match recorded {
            OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base) => {
                self.base(base)
            }
            OperationIr::NumericFloat(_, numeric) | OperationIr::NumericInt(_, numeric) => {
                self.numeric(numeric)
            }
            OperationIr::Activation(activation) => {
                let (operation, op) = match activation {
                    OfActivation::Relu(op) => (Operation::Activation(Activation::Relu), op),
                    OfActivation::Gelu(op) => (Operation::Activation(Activation::Gelu { tanh: false }), op),
                    OfActivation::Sigmoid(op) => (Operation::Activation(Activation::Sigmoid), op),
                    OfActivation::LeakyRelu(op) => {
                        let ScalarIr::Float(slope) = op.rhs else { return Ok(None) };
                        let operation = Operation::Activation(Activation::Leaky(slope as f32));
                        return unary(self, operation, &op.lhs, &op.out);
                    }
                    OfActivation::PRelu(op) => {
                        return binary(
                            self,
                            Operation::Activation(Activation::PRelu),
                            &op.lhs,
                            &op.rhs,
                            &op.out,
                        );
                    }
                    OfActivation::HardSigmoid(op) => {
                        let (ScalarIr::Float(alpha), ScalarIr::Float(beta)) = (&op.alpha, &op.beta) else {
                            return Ok(None);
                        };
                        let activation = Activation::HardSigmoid { alpha: *alpha as f32, beta: *beta as f32 };
                        return unary(self, Operation::Activation(activation), &op.tensor, &op.out);
                    }
                    OfActivation::Softmax(op) | OfActivation::LogSoftmax(op) => {
                        let logarithm = matches!(activation, OfActivation::LogSoftmax(_));
                        let operation =
                            Operation::Softmax { axis: op.axis as i64, logarithm, flattened: false };
                        return unary(self, operation, &op.input, &op.out);
                    }
                    _ => return Ok(None),
                };
                unary(self, operation, &op.input, &op.out)
            }
            OperationIr::Float(_, float) => {
                let (function, op) = match float {
                    OfFloat::Exp(op) => (Unary::Exp, op),
                    OfFloat::Log(op) => (Unary::Log, op),
                    OfFloat::Erf(op) => (Unary::Erf, op),
                    OfFloat::Sqrt(op) => (Unary::Sqrt, op),
                    OfFloat::Cos(op) => (Unary::Cos, op),
                    OfFloat::Sin(op) => (Unary::Sin, op),
                    OfFloat::Floor(op) => (Unary::Floor, op),
                    OfFloat::Ceil(op) => (Unary::Ceil, op),
                    OfFloat::Round(op) => (Unary::Round, op),
                    OfFloat::Recip(op) => (Unary::Reciprocal, op),
                    OfFloat::Tanh(op) => {
                        return unary(self, Operation::Activation(Activation::Tanh), &op.input, &op.out);
                    }
                    OfFloat::Matmul(op) => return binary(self, Operation::MatMul, &op.lhs, &op.rhs, &op.out),
                    OfFloat::PowfScalar(op) => {
                        let exponent = self.number(&op.rhs)?;
                        let inputs = vec![self.value(&op.lhs)?, exponent];
                        return Ok(Some((Operation::Binary(Binary::Pow), inputs, vec![&op.out])));
                    }
                    _ => return Ok(None),
                };
                unary(self, Operation::Unary(function), &op.input, &op.out)
            }
            OperationIr::Module(module) => self.module(module),
            _ => Ok(None),
        }
    }

    #[allow(clippy::type_complexity, reason = "three lists")]
    fn base<'a>(
        &mut self,
        base: &'a OfBase,
    ) -> Result<Option<(Operation, Vec<Option<usize>>, Vec<&'a TensorIr>)>, String> {
        Ok(Some(match base {
            OfBase::Reshape(op) => {
                let sizes = self.sizes(&op.out);
                (Operation::Reshape { allow_zero: false }, vec![self.value(&op.input)?, sizes], vec![&op.out])
            }
            OfBase::Expand(op) => {
                let sizes = self.sizes(&op.out);
                (Operation::Expand, vec![self.value(&op.input)?, sizes], vec![&op.out])
            }
            OfBase::SwapDims(op) => {
                let mut order: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                order.swap(op.dim1, op.dim2);
                (Operation::Transpose(Some(order)), vec![self.value(&op.input)?], vec![&op.out])
            }
            OfBase::Permute(op) => {
                (Operation::Transpose(Some(op.axes.clone())), vec![self.value(&op.input)?], vec![&op.out])
            }
            OfBase::Flip(op) => {
                let count = op.axes.len();
                let starts = self.integers(vec![-1; count]);
                let ends = self.integers(vec![i64::MIN; count]);
                let axes = self.integers(op.axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>());
                let steps = self.integers(vec![-1; count]);
                (Operation::Slice, vec![self.value(&op.input)?, starts, ends, axes, steps], vec![&op.out])
            }
            OfBase::Slice(op) => {
                let count = op.ranges.len();
                if op.ranges.iter().any(|range| range.step < 1) {
                    return Ok(None);
                }
                let starts =
                    self.integers(op.ranges.iter().map(|range| range.start as i64).collect::<Vec<_>>());
                let end = |end: Option<isize>| end.map_or(i64::MAX, |end| end as i64);
                let ends = self.integers(op.ranges.iter().map(|range| end(range.end)).collect::<Vec<_>>());
                let axes = self.integers((0..count as i64).collect::<Vec<_>>());
                let steps =
                    self.integers(op.ranges.iter().map(|range| range.step as i64).collect::<Vec<_>>());
                (Operation::Slice, vec![self.value(&op.tensor)?, starts, ends, axes, steps], vec![&op.out])
            }
            OfBase::Select(op) => {
                let inputs = vec![self.value(&op.tensor)?, self.value(&op.indices)?];
                (Operation::Gather { axis: op.dim as i64 }, inputs, vec![&op.out])
            }
            OfBase::Gather(op) => {
                let inputs = vec![self.value(&op.tensor)?, self.value(&op.indices)?];
                (Operation::GatherElements { axis: op.dim as i64 }, inputs, vec![&op.out])
            }
            OfBase::Cat(op) => {
                let inputs = op.tensors.iter().map(|tensor| self.value(tensor)).collect::<Result<_, _>>()?;
                (Operation::Concat { axis: op.dim as i64 }, inputs, vec![&op.out])
            }
            OfBase::RepeatDim(op) => {
                let mut times = vec![1; op.tensor.shape.num_dims()];
                times[op.dim] = op.times as i64;
                let times = self.integers(times);
                (Operation::Tile, vec![self.value(&op.tensor)?, times], vec![&op.out])
            }
            OfBase::MaskWhere(op) => {
                let inputs = vec![self.value(&op.mask)?, self.value(&op.value)?, self.value(&op.tensor)?];
                (Operation::Where, inputs, vec![&op.out])
            }
            OfBase::MaskFill(op) => {
                let filler = self.number(&op.value)?;
                (
                    Operation::Where,
                    vec![self.value(&op.mask)?, filler, self.value(&op.tensor)?],
                    vec![&op.out],
                )
            }
            OfBase::Zeros(op) | OfBase::Ones(op) => {
                let number = if matches!(base, OfBase::Ones(_)) { 1.0 } else { 0.0 };
                let value = Array { shape: vec![1], data: Data::Float(vec![number]) };
                let sizes = self.sizes(&op.out);
                (Operation::Fill(value.into()), vec![sizes], vec![&op.out])
            }
            OfBase::Cast(op) if op.input.dtype.is_float() && op.out.dtype.is_float() => {
                (Operation::Identity, vec![self.value(&op.input)?], vec![&op.out])
            }
            _ => return Ok(None),
        }))
    }

    #[allow(clippy::type_complexity, reason = "three lists")]
    fn numeric<'a>(
        &mut self,
        numeric: &'a OfNumbers,
    ) -> Result<Option<(Operation, Vec<Option<usize>>, Vec<&'a TensorIr>)>, String> {
        let pair = match numeric {
            OfNumbers::Add(op) => Some((Operation::Binary(Binary::Add), op)),
            OfNumbers::Sub(op) => Some((Operation::Binary(Binary::Sub), op)),
            OfNumbers::Mul(op) => Some((Operation::Binary(Binary::Mul), op)),
            OfNumbers::Div(op) => Some((Operation::Binary(Binary::Div), op)),
            OfNumbers::Rem(op) => Some((Operation::Binary(Binary::Mod { truncated: false }), op)),
            OfNumbers::Powi(op) => Some((Operation::Binary(Binary::Pow), op)),
            OfNumbers::Greater(op) => Some((Operation::Compare(Comparison::Greater), op)),
            OfNumbers::GreaterEqual(op) => Some((Operation::Compare(Comparison::GreaterOrEqual), op)),
            OfNumbers::Lower(op) => Some((Operation::Compare(Comparison::Less), op)),
            OfNumbers::LowerEqual(op) => Some((Operation::Compare(Comparison::LessOrEqual), op)),
            _ => None,
        };
        if let Some((operation, op)) = pair {
            return Ok(Some((operation, vec![self.value(&op.lhs)?, self.value(&op.rhs)?], vec![&op.out])));
        }
        let scalar = match numeric {
            OfNumbers::AddScalar(op) => Some((Operation::Binary(Binary::Add), op)),
            OfNumbers::SubScalar(op) => Some((Operation::Binary(Binary::Sub), op)),
            OfNumbers::MulScalar(op) => Some((Operation::Binary(Binary::Mul), op)),
            OfNumbers::DivScalar(op) => Some((Operation::Binary(Binary::Div), op)),
            OfNumbers::RemScalar(op) => Some((Operation::Binary(Binary::Mod { truncated: false }), op)),
            OfNumbers::PowiScalar(op) => Some((Operation::Binary(Binary::Pow), op)),
            OfNumbers::GreaterElem(op) => Some((Operation::Compare(Comparison::Greater), op)),
            OfNumbers::GreaterEqualElem(op) => Some((Operation::Compare(Comparison::GreaterOrEqual), op)),
            OfNumbers::LowerElem(op) => Some((Operation::Compare(Comparison::Less), op)),
            OfNumbers::LowerEqualElem(op) => Some((Operation::Compare(Comparison::LessOrEqual), op)),
            OfNumbers::ClampMin(op) => Some((Operation::Activation(Activation::Clip), op)),
            _ => None,
        };
        if let Some((operation, op)) = scalar {
            let number = self.number(&op.rhs)?;
            return Ok(Some((operation, vec![self.value(&op.lhs)?, number], vec![&op.out])));
        }
        let reduction = match numeric {
            OfNumbers::MeanDim(op) => Some((Reduction::Mean, op)),
            OfNumbers::SumDim(op) => Some((Reduction::Sum, op)),
            OfNumbers::ProdDim(op) => Some((Reduction::Product, op)),
            OfNumbers::MaxDim(op) => Some((Reduction::Max, op)),
            OfNumbers::MinDim(op) => Some((Reduction::Min, op)),
            _ => None,
        };
        if let Some((reduction, op)) = reduction {
            let axes = self.integers([op.axis as i64]);
            let operation = Operation::Reduce { reduction, keep: true, nothing_without_axes: false };
            return Ok(Some((operation, vec![self.value(&op.input)?, axes], vec![&op.out])));
        }
        Ok(Some(match numeric {
            OfNumbers::Abs(op) => (Operation::Unary(Unary::Abs), vec![self.value(&op.input)?], vec![&op.out]),
            OfNumbers::Neg(op) => (Operation::Unary(Unary::Neg), vec![self.value(&op.input)?], vec![&op.out]),
            OfNumbers::Sign(op) => {
                (Operation::Unary(Unary::Sign), vec![self.value(&op.input)?], vec![&op.out])
            }
            OfNumbers::ClampMax(op) => {
                let high = self.number(&op.rhs)?;
                (
                    Operation::Activation(Activation::Clip),
                    vec![self.value(&op.lhs)?, None, high],
                    vec![&op.out],
                )
            }
            OfNumbers::Clamp(op) => {
                let (low, high) = (self.number(&op.min)?, self.number(&op.max)?);
                (
                    Operation::Activation(Activation::Clip),
                    vec![self.value(&op.tensor)?, low, high],
                    vec![&op.out],
                )
            }
            OfNumbers::SumDims(op) => {
                let axes = self.integers(op.axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>());
                let operation =
                    Operation::Reduce { reduction: Reduction::Sum, keep: true, nothing_without_axes: false };
                (operation, vec![self.value(&op.input)?, axes], vec![&op.out])
            }
            OfNumbers::Full(op) => {
                let number = match op.value {
                    ScalarIr::Float(number) => number as f32,
                    ScalarIr::Int(number) => number as f32,
                    _ => return Ok(None),
                };
                let value = Array { shape: vec![1], data: Data::Float(vec![number]) };
                let sizes = self.sizes(&op.out);
                (Operation::Fill(value.into()), vec![sizes], vec![&op.out])
            }
            OfNumbers::Pad(op) => {
                let before = op.padding.iter().map(|pair| pair.0 as i64);
                let pads = before.chain(op.padding.iter().map(|pair| pair.1 as i64)).collect::<Vec<_>>();
                let pads = self.integers(pads);
                let (mode, filler) = match &op.mode {
                    PadModeIr::Constant(filler) => (PadMode::Constant, self.number(filler)?),
                    PadModeIr::Reflect => (PadMode::Reflect, None),
                    PadModeIr::Edge => (PadMode::Edge, None),
                };
                (Operation::Pad(mode), vec![self.value(&op.input)?, pads, filler], vec![&op.out])
            }
            _ => return Ok(None),
        }))
    }

    #[allow(clippy::type_complexity, reason = "three lists")]
    fn module<'a>(
        &mut self,
        module: &'a OfModule,
    ) -> Result<Option<(Operation, Vec<Option<usize>>, Vec<&'a TensorIr>)>, String> {
        let geometry =
            |stride: &[usize], padding: &[(usize, usize)], dilation: &[usize], groups: usize| Geometry {
                stride: stride.to_vec(),
                dilation: dilation.to_vec(),
                border: Border::Zeros(
                    padding.iter().map(|pair| pair.0).chain(padding.iter().map(|pair| pair.1)).collect(),
                ),
                groups,
                extra: Vec::new(),
                output: None,
            };
        let pool =
            |pooling, kernel: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize], ceil| {
                let padding: Vec<_> = padding.iter().map(|pad| (*pad, *pad)).collect();
                let geometry = geometry(stride, &padding, dilation, 1);
                Operation::Pool(Pool { pooling, kernel: kernel.to_vec(), geometry, ceil, winners: None })
            };
        let epsilon = |scalar: &ScalarIr| match scalar {
            ScalarIr::Float(number) => *number as f32,
            _ => 1e-5,
        };
        let optional = |recording: &Self, tensor: &Option<TensorIr>| match tensor {
            Some(tensor) => recording.value(tensor),
            None => Ok(None),
        };
        Ok(Some(match module {
            OfModule::Conv1d(op) => {
                let options = &op.options;
                let geometry = geometry(&options.stride, &options.padding, &options.dilation, options.groups);
                let inputs = vec![self.value(&op.x)?, self.value(&op.weight)?, optional(self, &op.bias)?];
                (Operation::Convolution(Box::new(Conv::new(geometry, Vec::new()))), inputs, vec![&op.out])
            }
            OfModule::Conv2d(op) => {
                let options = &op.options;
                let geometry = geometry(&options.stride, &options.padding, &options.dilation, options.groups);
                let inputs = vec![self.value(&op.x)?, self.value(&op.weight)?, optional(self, &op.bias)?];
                (Operation::Convolution(Box::new(Conv::new(geometry, Vec::new()))), inputs, vec![&op.out])
            }
            OfModule::ConvTranspose2d(op) => {
                let options = &op.options;
                let padding = options.padding.map(|pad| (pad, pad));
                let mut geometry = geometry(&options.stride, &padding, &options.dilation, options.groups);
                geometry.extra = options.padding_out.to_vec();
                let inputs = vec![self.value(&op.x)?, self.value(&op.weight)?, optional(self, &op.bias)?];
                (Operation::TransposedConvolution(geometry), inputs, vec![&op.out])
            }
            OfModule::MaxPool1d(op) => {
                let operation = pool(
                    Pooling::Max,
                    &[op.kernel_size],
                    &[op.stride],
                    &[op.padding],
                    &[op.dilation],
                    op.ceil_mode,
                );
                (operation, vec![self.value(&op.x)?], vec![&op.out])
            }
            OfModule::MaxPool2d(op) => {
                let operation =
                    pool(Pooling::Max, &op.kernel_size, &op.stride, &op.padding, &op.dilation, op.ceil_mode);
                (operation, vec![self.value(&op.x)?], vec![&op.out])
            }
            OfModule::AvgPool1d(op) => {
                let pooling = Pooling::Average { with_border: op.count_include_pad };
                let operation =
                    pool(pooling, &[op.kernel_size], &[op.stride], &[op.padding], &[1], op.ceil_mode);
                (operation, vec![self.value(&op.x)?], vec![&op.out])
            }
            OfModule::AvgPool2d(op) => {
                let pooling = Pooling::Average { with_border: op.count_include_pad };
                let operation =
                    pool(pooling, &op.kernel_size, &op.stride, &op.padding, &[1, 1], op.ceil_mode);
                (operation, vec![self.value(&op.x)?], vec![&op.out])
            }
            OfModule::AdaptiveAvgPool2d(op) => {
                let [height, width] = [op.x.shape[2], op.x.shape[3]];
                let operation = match op.output_size {
                    [1, 1] => Operation::GlobalPool(Pooling::Average { with_border: false }),
                    [rows, columns] if height % rows == 0 && width % columns == 0 => {
                        let kernel = [height / rows, width / columns];
                        pool(
                            Pooling::Average { with_border: false },
                            &kernel,
                            &kernel,
                            &[0, 0],
                            &[1, 1],
                            false,
                        )
                    }
                    _ => return Ok(None),
                };
                (operation, vec![self.value(&op.x)?], vec![&op.out])
            }
            OfModule::BatchNorm(op) => {
                let inputs = [&op.x, &op.gamma, &op.beta, &op.mean, &op.variance];
                let inputs = inputs.into_iter().map(|tensor| self.value(tensor)).collect::<Result<_, _>>()?;
                (Operation::Normalize(Norm::Batch { epsilon: epsilon(&op.epsilon) }), inputs, vec![&op.out])
            }
            OfModule::LayerNorm(op) => {
                let inputs = vec![self.value(&op.input)?, self.value(&op.gamma)?, optional(self, &op.beta)?];
                (
                    Operation::Normalize(Norm::Layer { axis: -1, epsilon: epsilon(&op.epsilon) }),
                    inputs,
                    vec![&op.out],
                )
            }
            OfModule::Linear(op) => {
                let inputs = vec![self.value(&op.x)?, self.value(&op.weight)?, optional(self, &op.bias)?];
                (Operation::Dense, inputs, vec![&op.out])
            }
            OfModule::Embedding(op) => {
                let inputs = vec![self.value(&op.weights)?, self.value(&op.indices)?];
                (Operation::Gather { axis: 0 }, inputs, vec![&op.out])
            }
            OfModule::Attention(op) if op.attn_bias.is_none() && op.mask.is_none() => {
                let number = |scalar: &Option<ScalarIr>| match scalar {
                    Some(ScalarIr::Float(number)) => Some(*number as f32),
                    _ => None,
                };
                let attention = Attention {
                    causal: op.options.is_causal,
                    query_heads: None,
                    key_heads: None,
                    scale: number(&op.options.scale),
                    cap: number(&op.options.softcap).unwrap_or(0.0),
                    scores: 0,
                    window: (None, None),
                };
                let inputs = vec![self.value(&op.query)?, self.value(&op.key)?, self.value(&op.value)?];
                (Operation::Attention(attention), inputs, vec![&op.out])
            }
            OfModule::Interpolate(op) => {
                let interpolation = match op.options.mode {
                    Mode::Nearest => Interpolation::Nearest(Rounding::Floor),
                    Mode::Bilinear => Interpolation::Linear,
                    Mode::Bicubic => Interpolation::Cubic(-0.75),
                    _ => return Ok(None),
                };
                let coordinates = match (&op.options.mode, op.options.align_corners) {
                    (Mode::Nearest, _) => Coordinates::Asymmetric,
                    (_, true) => Coordinates::AlignCorners,
                    (_, false) => Coordinates::HalfPixel,
                };
                let resize = Resize {
                    interpolation,
                    coordinates,
                    antialias: false,
                    exclude_outside: false,
                    extrapolation: 0.0,
                    axes: Some(vec![2, 3]),
                    keep_ratio: None,
                };
                let sizes = self.integers(op.output_size.map(|size| size as i64));
                (
                    Operation::Resize(Box::new(resize)),
                    vec![self.value(&op.x)?, None, None, sizes],
                    vec![&op.out],
                )
            }
            _ => return Ok(None),
        }))
    }
}
