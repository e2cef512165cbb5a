//! What a node computes: one small enum, a family of operations a file.
//!
//! The operations have the meaning of ONNX at its newest opset; readers bring older files and other sources to it.
//! Every operation checks its inputs before it computes, so that no file can make a backend panic or allocate without
//! bound: a failure is a sentence without the name of the node, which the run adds.

mod activation;
mod arithmetic;
mod attention;
mod convolution;
mod detection;
mod einsum;
mod grid_sample;
mod indexing;
mod linear;
mod normalization;
mod pooling;
mod quantization;
mod recurrent;
mod reduction;
mod resize;
mod shape;
mod slice;

use burn::tensor::Device;

use super::value::{Real, Value, count};
use crate::model::Taps;

pub(super) use activation::Activation;
pub(super) use arithmetic::{Binary, Comparison, Logic, Unary};
pub(super) use attention::Attention;
pub(super) use convolution::{Border, Conv, Folded, Geometry, Transposed};
pub(super) use detection::RoiAlign;
pub(super) use grid_sample::{GridSample, Kernel, Outside};
pub(super) use indexing::Update;
pub(super) use linear::{Frozen, Gemm};
pub(super) use normalization::{FrozenNorm, Norm, affine};
pub(super) use pooling::{Pool, Pooling, Winners};
pub(super) use quantization::{Product, Quantized};
pub(super) use recurrent::{Cell, Direction, Recurrent};
pub(super) use reduction::Reduction;
pub(super) use resize::{Coordinates, Interpolation, Resize, Rounding};
pub(super) use slice::PadMode;

/// What an operation gives, or why it can't.
pub(super) type Outcome<T = Vec<Value>> = Result<T, String>;

/// An element type, as far as it changes what a cast does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Bool,
    Int { bits: u32, signed: bool },
}

/// An operation.
pub(super) enum Operation {
    /// Its first input.
    Identity,
    Unary(Unary),
    Binary(Binary),
    /// Of any number of inputs, with the count that divides their sum if it is their mean.
    Variadic {
        operation: Binary,
        mean: bool,
    },
    Compare(Comparison),
    Logic(Logic),
    Not,
    Where,
    Cast(Kind),
    /// To the type of the second input.
    CastLike,
    Activation(Activation),
    /// An activation that keeps its derivative under every backward rule, as the parts do that files write it in.
    Plain(Activation),
    Softmax {
        axis: i64,
        logarithm: bool,
        flattened: bool,
    },
    Hardmax {
        axis: i64,
    },
    Convolution(Box<Conv>),
    TransposedConvolution(Box<Transposed>),
    Pool(Pool),
    GlobalPool(Pooling),
    Normalize(Norm),
    /// A normalisation by what a file holds.
    FrozenNorm(Box<FrozenNorm>),
    MatMul,
    /// `x W + b`, with the weights `[in, out]`.
    #[cfg_attr(not(feature = "capture"), allow(dead_code, reason = "only captured modules have it"))]
    Dense,
    Gemm(Gemm),
    /// A product with a matrix that is known.
    Frozen(Box<Frozen>),
    Attention(Attention),
    Recurrent(Recurrent),
    Reduce {
        reduction: Reduction,
        keep: bool,
        nothing_without_axes: bool,
    },
    ArgExtreme {
        axis: i64,
        keep: bool,
        largest: bool,
        last: bool,
    },
    TopK {
        axis: i64,
        largest: bool,
    },
    Cumulate {
        exclusive: bool,
        reverse: bool,
    },
    Reshape {
        allow_zero: bool,
    },
    Flatten {
        axis: i64,
    },
    Transpose(Option<Vec<usize>>),
    Squeeze,
    Unsqueeze,
    Concat {
        axis: i64,
    },
    Split {
        axis: i64,
        outputs: usize,
    },
    Slice,
    Pad(PadMode),
    Tile,
    Expand,
    DepthToSpace {
        block: usize,
        columns_first: bool,
    },
    SpaceToDepth {
        block: usize,
        columns_first: bool,
    },
    Resize(Box<Resize>),
    Gather {
        axis: i64,
    },
    GatherElements {
        axis: i64,
    },
    GatherNd {
        batch: usize,
    },
    ScatterNd(Update),
    ScatterElements {
        axis: i64,
        update: Update,
    },
    OneHot {
        axis: i64,
    },
    NonZero,
    Triangle {
        upper: bool,
    },
    Range,
    /// A tensor of the shape that the input holds, filled with this number.
    Fill(Value),
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Size,
    Quantize {
        axis: i64,
        low: f32,
        high: f32,
    },
    Dequantize {
        axis: i64,
    },
    /// A product of quantised values.
    Quantized(Box<Quantized>),
    /// With a scale of its own.
    QuantizeDynamically,
    NonMaximumSuppression {
        by_centre: bool,
    },
    RoiAlign(RoiAlign),
    GridSample(GridSample),
    /// By its equation.
    Einsum(String),
    /// One of two subgraphs, by a condition.
    If(Box<super::Branches>),
    /// An operation that is not known, by its name.
    Unsupported(String),
}

/// What an operation has besides its inputs.
pub(super) struct Scope<'a> {
    pub(super) device: &'a Device,
    pub(super) taps: &'a mut Taps,
    /// The largest number of elements that a value may have.
    pub(super) limit: usize,
    /// The same for integers and booleans, which are on the host.
    pub(super) host_limit: usize,
    /// The number of images, for a node that depends on them.
    pub(super) batch: usize,
}

impl Scope<'_> {
    /// Checks a shape before it is computed; gives the number of its elements, at least one.
    pub(super) fn fits(&self, shape: &[usize]) -> Outcome<usize> {
        let elements = count(shape)?;
        if shape.len() > super::value::RANK {
            return Err(format!("rank {} is above {}", shape.len(), super::value::RANK));
        }
        if elements == 0 {
            return Err(format!("its output would be empty, of shape {shape:?}"));
        }
        if elements > self.limit {
            return Err(format!(
                "its output of shape {shape:?} is above the limit of {} elements",
                self.limit
            ));
        }
        Ok(elements)
    }
}

/// The multiplications that one operation may take: no network comes near.
const WORK: u64 = 1 << 42;

impl Scope<'_> {
    /// Checks a shape of integers or booleans, which may be empty.
    pub(super) fn fits_host(&self, shape: &[usize]) -> Outcome<usize> {
        let elements = count(shape)?;
        let limit = self.limit.min(self.host_limit);
        if elements > limit {
            return Err(format!("its output of shape {shape:?} is above the limit of {limit} integers"));
        }
        Ok(elements)
    }

    /// Checks how much there is to do.
    pub(super) fn takes(&self, factors: &[usize]) -> Outcome<()> {
        match count(factors) {
            Ok(work) if work as u64 <= WORK => Ok(()),
            _ => Err(format!("it would take more than {WORK} multiplications")),
        }
    }
}

/// The inputs of a node, some of which may be left out.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    values: &'a [Option<Value>],
    device: &'a Device,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(values: &'a [Option<Value>], device: &'a Device) -> Self {
        Self { values, device }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.values.get(index)?.as_ref()
    }

    pub(super) fn get(&self, index: usize) -> Outcome<&'a Value> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing"))
    }

    pub(super) fn real(&self, index: usize) -> Outcome<Real> {
        self.get(index)?.real(self.device)
    }

    pub(super) fn optional_real(&self, index: usize) -> Outcome<Option<Real>> {
        self.optional(index).map(|value| value.real(self.device)).transpose()
    }

    /// An input as a list of integers.
    pub(super) fn ints(&self, index: usize) -> Outcome<Vec<i64>> {
        let value = self.get(index)?;
        if value.shape().len() > 1 {
            return Err(format!("input {index} must be a list, not of shape {:?}", value.shape()));
        }
        Ok(value.host().to_ints())
    }

    pub(super) fn optional_ints(&self, index: usize) -> Outcome<Option<Vec<i64>>> {
        self.optional(index).map(|_| self.ints(index)).transpose()
    }

    /// An input as one number.
    pub(super) fn number(&self, index: usize) -> Outcome<f32> {
        match self.get(index)?.host().to_floats()[..] {
            [number] => Ok(number),
            _ => {
                Err(format!("input {index} must be one number, not of shape {:?}", self.get(index)?.shape()))
            }
        }
    }

    pub(super) fn optional_number(&self, index: usize) -> Outcome<Option<f32>> {
        self.optional(index).map(|_| self.number(index)).transpose()
    }
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let positive = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    positive
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("there is no axis {axis} in rank {rank}"))
}

/// Axes that may count from the end, each once, in their order.
pub(super) fn axes(list: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut axes = list.iter().map(|index| axis(*index, rank)).collect::<Outcome<Vec<_>>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("an axis stands twice in {list:?}"));
    }
    Ok(axes)
}

/// A size from a file.
pub(super) fn size(value: i64) -> Outcome<usize> {
    usize::try_from(value).map_err(|_| format!("a size can't be {value}"))
}

impl Operation {
    /// What the table of layers calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Unary(unary) => unary.name(),
            Self::Binary(binary) | Self::Variadic { operation: binary, .. } => binary.name(),
            Self::Compare(_) | Self::Logic(_) | Self::Not => "logic",
            Self::Where => "choice",
            Self::Cast(_) | Self::CastLike => "cast",
            Self::Activation(activation) | Self::Plain(activation) => activation.name(),
            Self::Softmax { logarithm: false, .. } | Self::Hardmax { .. } => "softmax",
            Self::Softmax { logarithm: true, .. } => "log softmax",
            Self::Convolution(_) => "convolution",
            Self::TransposedConvolution(_) => "transposed convolution",
            Self::Pool(Pool { pooling, .. }) | Self::GlobalPool(pooling) => pooling.name(),
            Self::Normalize(norm) => norm.name(),
            Self::FrozenNorm(frozen) => frozen.norm.name(),
            Self::MatMul | Self::Dense | Self::Gemm(_) | Self::Frozen(_) => "dense",
            Self::Attention(_) => "attention",
            Self::Recurrent(_) => "recurrent",
            Self::Reduce { reduction, .. } => reduction.name(),
            Self::ArgExtreme { .. } | Self::TopK { .. } => "sorting",
            Self::Cumulate { .. } => "cumulative sum",
            Self::Reshape { .. } | Self::Squeeze | Self::Unsqueeze => "reshape",
            Self::Flatten { .. } => "flatten",
            Self::Transpose(_) => "transpose",
            Self::Concat { .. } => "concatenation",
            Self::Split { .. } | Self::Slice => "slice",
            Self::Pad(_) => "padding",
            Self::Tile | Self::Expand => "repetition",
            Self::DepthToSpace { .. } | Self::SpaceToDepth { .. } => "rearrangement",
            Self::Resize(_) => "resizing",
            Self::Gather { .. } | Self::GatherElements { .. } | Self::GatherNd { .. } => "gather",
            Self::ScatterNd(_) | Self::ScatterElements { .. } => "scatter",
            Self::OneHot { .. }
            | Self::NonZero
            | Self::Triangle { .. }
            | Self::Range
            | Self::Fill(_)
            | Self::Shape { .. }
            | Self::Size => "constant",
            Self::Quantize { .. } | Self::QuantizeDynamically => "quantization",
            Self::Quantized(quantized) => match quantized.product {
                Product::Matrices => "dense",
                Product::Convolution(_) => "convolution",
            },
            Self::NonMaximumSuppression { .. } => "non-maximum suppression",
            Self::RoiAlign(_) => "region",
            Self::GridSample(_) => "resampling",
            Self::Einsum(_) => "einsum",
            Self::Dequantize { .. } => "dequantization",
            Self::If(_) => "branch",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// Whether axis `i` of the output means what axis `i` of the first input meant, so that it is kept in the same order.
    fn keeps_axes(&self) -> bool {
        if let Self::Frozen(product) = self {
            return product.keeps_axes;
        }
        matches!(
            self,
            Self::Where
                | Self::Softmax { .. }
                | Self::Normalize(_)
                | Self::FrozenNorm(_)
                | Self::MatMul
                | Self::Reduce { keep: true, .. }
                | Self::Concat { .. }
                | Self::Split { .. }
                | Self::Slice
                | Self::Pad(_)
                | Self::Tile
                | Self::Expand
                | Self::Resize(_)
                | Self::Gather { .. }
                | Self::Quantize { .. }
                | Self::Dequantize { .. }
                | Self::ScatterNd(_)
        )
    }

    /// Whether it does no more than move the channels of images to the end or back.
    pub(super) fn only_moves_channels(&self) -> bool {
        matches!(self, Self::Transpose(Some(order)) if order[..] == [0, 2, 3, 1] || order[..] == [0, 3, 1, 2])
    }

    /// Computes the outputs.
    pub(super) fn run(&self, values: &[Option<Value>], scope: &mut Scope) -> Outcome {
        let device = scope.device.clone();
        let inputs = Inputs::new(values, &device);
        let mut outputs = self.compute(inputs, scope)?;
        if self.keeps_axes() {
            let ordered = values.iter().flatten().find_map(|value| match value {
                Value::Real(real) => real.order(),
                Value::Host(_) => None,
            });
            if let Some(order) = ordered {
                let keep = |value| match value {
                    Value::Real(real) => Value::Real(real.kept_like(Some(order))),
                    host => host,
                };
                outputs = outputs.into_iter().map(keep).collect();
            }
        }
        Ok(outputs)
    }

    fn compute(&self, inputs: Inputs, scope: &mut Scope) -> Outcome {
        let one = |outcome: Outcome<Value>| outcome.map(|value| vec![value]);
        match self {
            Self::Identity => one(inputs.get(0).cloned()),
            Self::Unary(unary) => one(unary.run(inputs)),
            Self::Binary(binary) => one(binary.run(inputs.get(0)?, inputs.get(1)?, scope)),
            Self::Variadic { operation, mean } => one(arithmetic::variadic(*operation, *mean, inputs, scope)),
            Self::Compare(comparison) => one(comparison.run(inputs, scope)),
            Self::Logic(logic) => one(logic.run(inputs, scope)),
            Self::Not => one(arithmetic::not(inputs)),
            Self::Where => one(arithmetic::choose(inputs, scope)),
            Self::Cast(kind) => one(arithmetic::cast(inputs.get(0)?, *kind)),
            Self::CastLike => one(arithmetic::cast_like(inputs)),
            Self::Activation(activation) => one(activation.run(inputs, scope)),
            Self::Plain(activation) => one(activation.plain(inputs)),
            Self::Frozen(product) => one(product.run(inputs, scope)),
            Self::Softmax { axis, logarithm, flattened } => {
                one(activation::softmax(inputs, *axis, *logarithm, *flattened))
            }
            Self::Hardmax { axis } => one(reduction::hardmax(inputs, *axis, scope)),
            Self::Convolution(conv) => one(conv.run(inputs, scope)),
            Self::TransposedConvolution(transposed) => one(transposed.run(inputs, scope)),
            Self::Pool(pool) => pool.run(inputs, scope),
            Self::GlobalPool(pooling) => one(pooling.everywhere(inputs)),
            Self::Normalize(norm) => norm.run(inputs),
            Self::FrozenNorm(frozen) => frozen.run(inputs),
            Self::MatMul => one(linear::matmul(inputs, scope)),
            Self::Dense => one(linear::dense(inputs, scope)),
            Self::Gemm(gemm) => one(gemm.run(inputs, scope)),
            Self::Attention(attention) => attention.run(inputs, scope),
            Self::Recurrent(recurrent) => recurrent.run(inputs, scope),
            Self::Reduce { reduction, keep, nothing_without_axes } => {
                one(reduction.run(inputs, *keep, *nothing_without_axes))
            }
            Self::ArgExtreme { axis, keep, largest, last } => {
                one(reduction::arg_extreme(inputs, *axis, *keep, *largest, *last))
            }
            Self::TopK { axis, largest } => reduction::top_k(inputs, *axis, *largest, scope),
            Self::Cumulate { exclusive, reverse } => {
                one(reduction::cumulate(inputs, *exclusive, *reverse, scope))
            }
            Self::Reshape { allow_zero } => one(shape::reshape(inputs, *allow_zero, scope.batch)),
            Self::Flatten { axis } => one(shape::flatten(inputs, *axis)),
            Self::Transpose(order) => one(shape::transpose(inputs, order.as_deref())),
            Self::Squeeze => one(shape::squeeze(inputs)),
            Self::Unsqueeze => one(shape::unsqueeze(inputs)),
            Self::Concat { axis } => one(slice::concat(inputs, *axis, scope)),
            Self::Split { axis, outputs } => slice::split(inputs, *axis, *outputs),
            Self::Slice => one(slice::slice(inputs)),
            Self::Pad(mode) => one(slice::pad(inputs, *mode, scope)),
            Self::Tile => one(shape::tile(inputs, scope)),
            Self::Expand => one(shape::expand(inputs, scope)),
            Self::DepthToSpace { block, columns_first } => {
                one(shape::depth_to_space(inputs, *block, *columns_first))
            }
            Self::SpaceToDepth { block, columns_first } => {
                one(shape::space_to_depth(inputs, *block, *columns_first))
            }
            Self::Resize(resize) => one(resize.run(inputs, scope)),
            Self::Gather { axis } => one(indexing::gather(inputs, *axis, scope)),
            Self::GatherElements { axis } => one(indexing::gather_elements(inputs, *axis, scope)),
            Self::GatherNd { batch } => one(indexing::gather_nd(inputs, *batch, scope)),
            Self::ScatterNd(update) => one(indexing::scatter_nd(inputs, *update, scope)),
            Self::ScatterElements { axis, update } => {
                one(indexing::scatter_elements(inputs, *axis, *update, scope))
            }
            Self::OneHot { axis } => one(indexing::one_hot(inputs, *axis, scope)),
            Self::NonZero => one(indexing::non_zero(inputs)),
            Self::Triangle { upper } => one(indexing::triangle(inputs, *upper, scope)),
            Self::Range => one(indexing::range(inputs, scope)),
            Self::Fill(value) => one(shape::fill(inputs, value, scope)),
            Self::Shape { start, end } => one(shape::shape(inputs, *start, *end)),
            Self::Size => one(shape::element_count(inputs)),
            Self::Quantize { axis, low, high } => {
                one(quantization::quantize(inputs, *axis, (*low, *high), scope))
            }
            Self::Dequantize { axis } => one(quantization::dequantize(inputs, *axis)),
            Self::Quantized(quantized) => one(quantized.run(inputs, scope)),
            Self::QuantizeDynamically => quantization::quantize_dynamically(inputs, scope),
            Self::NonMaximumSuppression { by_centre } => {
                one(detection::non_maximum_suppression(inputs, *by_centre, scope))
            }
            Self::RoiAlign(align) => one(align.run(inputs, scope)),
            Self::GridSample(sample) => one(sample.run(inputs, scope)),
            Self::Einsum(equation) => one(einsum::einsum(equation, inputs, scope)),
            Self::If(_) => Err("a branch is run by the graph".into()),
            Self::Unsupported(name) => Err(format!("operator {name} is not supported")),
        }
    }
}
