//! From what Burn records to operations.

use burn::backend::ir::{
    ActivationOperationIr as OfActivation, BaseOperationIr as OfBase, FloatOperationIr as OfFloat,
    InterpolateModeIr as Mode, ModuleOperationIr as OfModule, NumericOperationIr as OfNumbers, OperationIr,
    PadModeIr, ScalarIr, TensorIr,
};

use super::super::operations::{
    Activation, Attention, Binary, Border, Comparison, Conv, Coordinates, Geometry, Interpolation, Norm,
    Operation, PadMode, Pool, Pooling, Reduction, Resize, Rounding, Transposed, Unary,
};
use super::super::value::{Array, Data};
use super::Recording;

/// An operation, its inputs and its outputs; `None` for one that is not known.
pub(super) type Translated<'a> = Option<(Operation, Vec<Option<usize>>, Vec<&'a TensorIr>)>;

impl Recording {
    /// The operation, its inputs and its outputs; `None` for one that is not known.
    pub(super) fn translate<'a>(&mut self, recorded: &'a OperationIr) -> Result<Translated<'a>, String> {
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

    fn base<'a>(&mut self, base: &'a OfBase) -> Result<Translated<'a>, String> {
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

    fn numeric<'a>(&mut self, numeric: &'a OfNumbers) -> Result<Translated<'a>, String> {
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

    fn module<'a>(&mut self, module: &'a OfModule) -> Result<Translated<'a>, String> {
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
                (Operation::TransposedConvolution(Box::new(Transposed::new(geometry))), inputs, vec![&op.out])
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
