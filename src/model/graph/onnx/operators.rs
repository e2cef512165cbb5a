//! From ONNX operators, at any opset, to operations.

use rten_onnx::onnx::{DataType, NodeProto};

use super::super::build::Builder;
use super::super::operations::{
    Activation, Attention, Binary, Border, Cell, Comparison, Conv, Coordinates, Direction, Gemm, Geometry,
    GridSample, Interpolation, Kernel, Kind, Logic, Norm, Operation, Outside, PadMode, Pool, Pooling,
    Product, Quantized, Recurrent, Reduction, Resize, RoiAlign, Rounding, Transposed, Unary, Update, Winners,
};
use super::super::value::{Array, Data, Value};
use super::attributes::Attributes;

/// What an operator becomes: an operation and its inputs, attributes of old opsets among them.
pub(super) struct Translated {
    pub(super) operation: Operation,
    pub(super) inputs: Vec<Option<usize>>,
}

/// An operator in its surroundings.
pub(super) struct Operator<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) opset: i64,
    pub(super) inputs: Vec<Option<usize>>,
    /// The element type of the zero point of the result, where the file declares it.
    pub(super) zero_type: Option<DataType>,
}

impl Operator<'_> {
    /// The operation, [`Operation::Unsupported`] for what is not known.
    ///
    /// # Errors
    ///
    /// What is wrong with an attribute.
    pub(super) fn translate(mut self, builder: &mut Builder) -> Result<Translated, String> {
        let attributes = Attributes::of(self.node);
        let kind = self.node.op_type.as_deref().unwrap_or_default();
        let domain = self.node.domain.as_deref().unwrap_or_default();
        if !matches!(domain, "" | "ai.onnx") {
            return Ok(self.unsupported(&format!("{domain}.{kind}")));
        }
        let operation = match kind {
            "Abs" => Operation::Unary(Unary::Abs),
            "Acos" => Operation::Unary(Unary::Acos),
            "Acosh" => Operation::Unary(Unary::Acosh),
            "Asin" => Operation::Unary(Unary::Asin),
            "Asinh" => Operation::Unary(Unary::Asinh),
            "Atan" => Operation::Unary(Unary::Atan),
            "Atanh" => Operation::Unary(Unary::Atanh),
            "Ceil" => Operation::Unary(Unary::Ceil),
            "Cos" => Operation::Unary(Unary::Cos),
            "Cosh" => Operation::Unary(Unary::Cosh),
            "Erf" => Operation::Unary(Unary::Erf),
            "Exp" => Operation::Unary(Unary::Exp),
            "Floor" => Operation::Unary(Unary::Floor),
            "Log" => Operation::Unary(Unary::Log),
            "Neg" => Operation::Unary(Unary::Neg),
            "Reciprocal" => Operation::Unary(Unary::Reciprocal),
            "Round" => Operation::Unary(Unary::Round),
            "Sign" => Operation::Unary(Unary::Sign),
            "Sin" => Operation::Unary(Unary::Sin),
            "Sinh" => Operation::Unary(Unary::Sinh),
            "Sqrt" => Operation::Unary(Unary::Sqrt),
            "Tan" => Operation::Unary(Unary::Tan),
            "IsNaN" => Operation::Unary(Unary::IsNan),
            "IsInf" => Operation::Unary(Unary::IsInf {
                negative: attributes.int_or("detect_negative", 1)? != 0,
                positive: attributes.int_or("detect_positive", 1)? != 0,
            }),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => {
                self.old_broadcast(attributes, builder)?;
                Operation::Binary(match kind {
                    "Add" => Binary::Add,
                    "Sub" => Binary::Sub,
                    "Mul" => Binary::Mul,
                    "Div" => Binary::Div,
                    _ => Binary::Pow,
                })
            }
            "Mod" => Operation::Binary(Binary::Mod { truncated: attributes.flag("fmod")? }),
            "Max" => Operation::Variadic { operation: Binary::Max, mean: false },
            "Min" => Operation::Variadic { operation: Binary::Min, mean: false },
            "Sum" => Operation::Variadic { operation: Binary::Add, mean: false },
            "Mean" => Operation::Variadic { operation: Binary::Add, mean: true },
            "Equal" => Operation::Compare(Comparison::Equal),
            "Greater" => Operation::Compare(Comparison::Greater),
            "GreaterOrEqual" => Operation::Compare(Comparison::GreaterOrEqual),
            "Less" => Operation::Compare(Comparison::Less),
            "LessOrEqual" => Operation::Compare(Comparison::LessOrEqual),
            "And" => Operation::Logic(Logic::And),
            "Or" => Operation::Logic(Logic::Or),
            "Xor" => Operation::Logic(Logic::Xor),
            "Not" => Operation::Not,
            "Where" => Operation::Where,
            "Cast" => {
                let to = attributes.int("to")?.ok_or("attribute to is missing")?;
                match element(DataType(i32::try_from(to).unwrap_or(-1))) {
                    Some(kind) => Operation::Cast(kind),
                    None => return Ok(self.unsupported("Cast to another type than a number")),
                }
            }
            "CastLike" => Operation::CastLike,
            "Identity" => Operation::Identity,
            "Dropout" => {
                if self.node.output.get(1).is_some_and(|name| !name.is_empty()) {
                    return Ok(self.unsupported("Dropout with a mask"));
                }
                let learns = self.inputs.get(2).copied().flatten().and_then(|value| builder.known(value));
                if learns.is_some_and(|learns| learns.host().to_bools().contains(&true)) {
                    return Ok(self.unsupported("Dropout that still learns"));
                }
                self.inputs.truncate(1);
                Operation::Identity
            }
            "Relu" => Operation::Activation(Activation::Relu),
            "LeakyRelu" => Operation::Activation(Activation::Leaky(attributes.float_or("alpha", 0.01)?)),
            "PRelu" => Operation::Activation(Activation::PRelu),
            "Clip" => {
                for (place, name) in [(1, "min"), (2, "max")] {
                    if let Some(bound) = attributes.float(name)? {
                        let bound = builder.number(bound).map_err(|error| error.to_string())?;
                        self.inputs.resize(self.inputs.len().max(place + 1), None);
                        self.inputs[place] = Some(bound);
                    }
                }
                Operation::Activation(Activation::Clip)
            }
            "Elu" => Operation::Activation(Activation::Elu(attributes.float_or("alpha", 1.0)?)),
            "Celu" => Operation::Activation(Activation::Celu(attributes.float_or("alpha", 1.0)?)),
            "Selu" => Operation::Activation(Activation::Selu {
                alpha: attributes.float_or("alpha", 1.673_263_2)?,
                gamma: attributes.float_or("gamma", 1.050_701)?,
            }),
            "Gelu" => match attributes.text("approximate")? {
                None | Some("none") => Operation::Activation(Activation::Gelu { tanh: false }),
                Some("tanh") => Operation::Activation(Activation::Gelu { tanh: true }),
                Some(other) => return Err(format!("approximate can't be `{other}`")),
            },
            "Sigmoid" => Operation::Activation(Activation::Sigmoid),
            "Tanh" => Operation::Activation(Activation::Tanh),
            "HardSigmoid" => Operation::Activation(Activation::HardSigmoid {
                alpha: attributes.float_or("alpha", 0.2)?,
                beta: attributes.float_or("beta", 0.5)?,
            }),
            "HardSwish" => Operation::Activation(Activation::HardSwish),
            "Swish" => Operation::Activation(Activation::Swish(attributes.float_or("alpha", 1.0)?)),
            "Mish" => Operation::Activation(Activation::Mish),
            "Softplus" => Operation::Activation(Activation::Softplus),
            "Softsign" => Operation::Activation(Activation::Softsign),
            "ThresholdedRelu" => {
                Operation::Activation(Activation::Thresholded(attributes.float_or("alpha", 1.0)?))
            }
            "Shrink" => Operation::Activation(Activation::Shrink {
                lambda: attributes.float_or("lambd", 0.5)?,
                bias: attributes.float_or("bias", 0.0)?,
            }),
            "Softmax" | "LogSoftmax" => {
                let flattened = self.opset < 13;
                Operation::Softmax {
                    axis: attributes.int_or("axis", if flattened { 1 } else { -1 })?,
                    logarithm: kind == "LogSoftmax",
                    flattened,
                }
            }
            "Hardmax" if self.opset >= 13 => Operation::Hardmax { axis: attributes.int_or("axis", -1)? },
            "Conv" => Operation::Convolution(Box::new(Conv::new(
                geometry(attributes)?,
                attributes.sizes("kernel_shape")?,
            ))),
            "ConvTranspose" => {
                Operation::TransposedConvolution(Box::new(Transposed::new(geometry(attributes)?)))
            }
            "MaxPool" | "AveragePool" | "LpPool" => {
                let pooling = match kind {
                    "MaxPool" => Pooling::Max,
                    "AveragePool" => Pooling::Average { with_border: attributes.flag("count_include_pad")? },
                    _ => Pooling::Norm(attributes.int_or("p", 2)? as f32),
                };
                Operation::Pool(Pool {
                    pooling,
                    kernel: attributes.sizes("kernel_shape")?,
                    geometry: geometry(attributes)?,
                    ceil: attributes.flag("ceil_mode")?,
                    winners: match self.node.output.get(1) {
                        Some(name) if !name.is_empty() && attributes.flag("storage_order")? => {
                            Some(Winners::ColumnByColumn)
                        }
                        Some(name) if !name.is_empty() => Some(Winners::RowByRow),
                        _ => None,
                    },
                })
            }
            "GlobalAveragePool" => Operation::GlobalPool(Pooling::Average { with_border: false }),
            "GlobalMaxPool" => Operation::GlobalPool(Pooling::Max),
            "GlobalLpPool" => Operation::GlobalPool(Pooling::Norm(attributes.int_or("p", 2)? as f32)),
            "BatchNormalization" => {
                if attributes.flag("training_mode")?
                    || self.node.output.iter().skip(1).any(|name| !name.is_empty())
                {
                    return Ok(self.unsupported("BatchNormalization that still learns"));
                }
                Operation::Normalize(Norm::Batch { epsilon: attributes.float_or("epsilon", 1e-5)? })
            }
            "InstanceNormalization" => {
                Operation::Normalize(Norm::Instance { epsilon: attributes.float_or("epsilon", 1e-5)? })
            }
            "GroupNormalization" => Operation::Normalize(Norm::Group {
                groups: attributes
                    .int("num_groups")?
                    .and_then(|groups| usize::try_from(groups).ok())
                    .unwrap_or(0),
                epsilon: attributes.float_or("epsilon", 1e-5)?,
                scale_by_group: self.opset < 21,
            }),
            "LayerNormalization" => Operation::Normalize(Norm::Layer {
                axis: attributes.int_or("axis", -1)?,
                epsilon: attributes.float_or("epsilon", 1e-5)?,
            }),
            "RMSNormalization" => Operation::Normalize(Norm::RootMeanSquare {
                axis: attributes.int_or("axis", -1)?,
                epsilon: attributes.float_or("epsilon", 1e-5)?,
            }),
            "LRN" => Operation::Normalize(Norm::Local {
                alpha: attributes.float_or("alpha", 1e-4)?,
                beta: attributes.float_or("beta", 0.75)?,
                bias: attributes.float_or("bias", 1.0)?,
                size: attributes.int("size")?.and_then(|size| usize::try_from(size).ok()).unwrap_or(0),
            }),
            "LpNormalization" => match attributes.int_or("p", 2)? {
                p @ (1 | 2) => {
                    Operation::Normalize(Norm::Length { axis: attributes.int_or("axis", -1)?, first: p == 1 })
                }
                p => return Err(format!("p can't be {p}")),
            },
            "MeanVarianceNormalization" => Operation::Normalize(Norm::MeanVariance {
                axes: attributes.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec(),
            }),
            "MatMul" => Operation::MatMul,
            "Gemm" => Operation::Gemm(Gemm {
                alpha: attributes.float_or("alpha", 1.0)?,
                beta: attributes.float_or("beta", 1.0)?,
                transpose_a: attributes.flag("transA")?,
                transpose_b: attributes.flag("transB")?,
            }),
            "Attention" => {
                let size = |value: i64| usize::try_from(value).ok().filter(|value| *value > 0);
                let bound = |name: &str| Ok::<_, String>(usize::try_from(attributes.int_or(name, -1)?).ok());
                Operation::Attention(Attention {
                    causal: attributes.flag("is_causal")?,
                    query_heads: attributes.int("q_num_heads")?.and_then(size),
                    key_heads: attributes.int("kv_num_heads")?.and_then(size),
                    scale: attributes.float("scale")?,
                    cap: attributes.float_or("softcap", 0.0)?,
                    scores: attributes.int_or("qk_matmul_output_mode", 0)?,
                    window: (bound("left_window_size")?, bound("right_window_size")?),
                })
            }
            "LSTM" | "GRU" | "RNN" => {
                let direction = match attributes.text("direction")? {
                    None | Some("forward") => Direction::Forward,
                    Some("reverse") => Direction::Reverse,
                    Some("bidirectional") => Direction::Both,
                    Some(other) => return Err(format!("direction can't be `{other}`")),
                };
                if attributes.has("activations")
                    || attributes.has("clip")
                    || attributes.flag("input_forget")?
                {
                    return Ok(self.unsupported(&format!("{kind} with activations of its own")));
                }
                let cell = match kind {
                    "LSTM" => Cell::Lstm,
                    "GRU" => Cell::Gru { late_reset: attributes.flag("linear_before_reset")? },
                    _ => Cell::Simple,
                };
                Operation::Recurrent(Recurrent { cell, direction, batch_first: attributes.flag("layout")? })
            }
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1"
            | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => {
                self.list_input(1, "axes", attributes, builder)?;
                Operation::Reduce {
                    reduction: match kind {
                        "ReduceSum" => Reduction::Sum,
                        "ReduceMean" => Reduction::Mean,
                        "ReduceMax" => Reduction::Max,
                        "ReduceMin" => Reduction::Min,
                        "ReduceProd" => Reduction::Product,
                        "ReduceL1" => Reduction::L1,
                        "ReduceL2" => Reduction::L2,
                        "ReduceLogSum" => Reduction::LogSum,
                        "ReduceLogSumExp" => Reduction::LogSumExp,
                        _ => Reduction::SumSquare,
                    },
                    keep: attributes.int_or("keepdims", 1)? != 0,
                    nothing_without_axes: attributes.flag("noop_with_empty_axes")?,
                }
            }
            "ArgMax" | "ArgMin" => Operation::ArgExtreme {
                axis: attributes.int_or("axis", 0)?,
                keep: attributes.int_or("keepdims", 1)? != 0,
                largest: kind == "ArgMax",
                last: attributes.flag("select_last_index")?,
            },
            "TopK" => {
                if let Some(k) = attributes.int("k")? {
                    let k = builder.integers(&[k]);
                    self.inputs.push(Some(k));
                }
                Operation::TopK {
                    axis: attributes.int_or("axis", -1)?,
                    largest: attributes.int_or("largest", 1)? != 0,
                }
            }
            "CumSum" => Operation::Cumulate {
                exclusive: attributes.flag("exclusive")?,
                reverse: attributes.flag("reverse")?,
            },
            "Reshape" => {
                self.list_input(1, "shape", attributes, builder)?;
                Operation::Reshape { allow_zero: attributes.flag("allowzero")? }
            }
            "Flatten" => Operation::Flatten { axis: attributes.int_or("axis", 1)? },
            "Transpose" => Operation::Transpose(match attributes.ints("perm")? {
                Some(_) => Some(attributes.sizes("perm")?),
                None => None,
            }),
            "Squeeze" => {
                self.list_input(1, "axes", attributes, builder)?;
                Operation::Squeeze
            }
            "Unsqueeze" => {
                self.list_input(1, "axes", attributes, builder)?;
                Operation::Unsqueeze
            }
            "Concat" => Operation::Concat { axis: attributes.int_or("axis", 1)? },
            "Split" => {
                self.list_input(1, "split", attributes, builder)?;
                Operation::Split { axis: attributes.int_or("axis", 0)?, outputs: self.node.output.len() }
            }
            "Slice" => {
                if attributes.has("starts") {
                    self.list_input(1, "starts", attributes, builder)?;
                    self.list_input(2, "ends", attributes, builder)?;
                    self.list_input(3, "axes", attributes, builder)?;
                }
                Operation::Slice
            }
            "Pad" => {
                self.list_input(1, "pads", attributes, builder)?;
                if let Some(value) = attributes.float("value")? {
                    let value = builder.number(value).map_err(|error| error.to_string())?;
                    self.inputs.push(Some(value));
                }
                Operation::Pad(match attributes.text("mode")? {
                    None | Some("constant") => PadMode::Constant,
                    Some("reflect") => PadMode::Reflect,
                    Some("edge") => PadMode::Edge,
                    Some("wrap") => PadMode::Wrap,
                    Some(other) => return Err(format!("mode can't be `{other}`")),
                })
            }
            "Tile" => Operation::Tile,
            "Expand" => Operation::Expand,
            "DepthToSpace" => Operation::DepthToSpace {
                block: block(attributes)?,
                columns_first: columns_first(attributes)?,
            },
            "SpaceToDepth" => Operation::SpaceToDepth {
                block: block(attributes)?,
                columns_first: columns_first(attributes)?,
            },
            "Resize" | "Upsample" => self.resize(kind, attributes, builder)?,
            "Gather" => Operation::Gather { axis: attributes.int_or("axis", 0)? },
            "GatherElements" => Operation::GatherElements { axis: attributes.int_or("axis", 0)? },
            "GatherND" => {
                let batch = attributes.int_or("batch_dims", 0)?;
                Operation::GatherNd {
                    batch: usize::try_from(batch).map_err(|_| format!("batch_dims can't be {batch}"))?,
                }
            }
            "ScatterND" => Operation::ScatterNd(update(attributes)?),
            "ScatterElements" | "Scatter" => Operation::ScatterElements {
                axis: attributes.int_or("axis", 0)?,
                update: update(attributes)?,
            },
            "OneHot" => Operation::OneHot { axis: attributes.int_or("axis", -1)? },
            "NonZero" => Operation::NonZero,
            "Trilu" => Operation::Triangle { upper: attributes.int_or("upper", 1)? != 0 },
            "Range" => Operation::Range,
            "Shape" => {
                Operation::Shape { start: attributes.int_or("start", 0)?, end: attributes.int("end")? }
            }
            "Size" => Operation::Size,
            "QuantizeLinear" => {
                let declared =
                    attributes.int("output_dtype")?.and_then(|kind| i32::try_from(kind).ok()).map(DataType);
                let kind = declared.filter(|kind| kind.0 != 0).or(self.zero_type).unwrap_or(DataType::UINT8);
                let Some((low, high)) = range(kind) else {
                    return Ok(self.unsupported(&format!("QuantizeLinear to {kind}")));
                };
                Operation::Quantize { axis: attributes.int_or("axis", 1)?, low, high }
            }
            "DequantizeLinear" => Operation::Dequantize { axis: attributes.int_or("axis", 1)? },
            "DynamicQuantizeLinear" => Operation::QuantizeDynamically,
            "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger" => {
                let product = match kind {
                    "QLinearConv" | "ConvInteger" => Product::Convolution(Box::new(Conv::new(
                        geometry(attributes)?,
                        attributes.sizes("kernel_shape")?,
                    ))),
                    _ => Product::Matrices,
                };
                let range = match kind {
                    "QLinearConv" | "QLinearMatMul" => {
                        let kind = self.zero_type.unwrap_or(DataType::UINT8);
                        match range(kind) {
                            Some(range) => Some(range),
                            None => return Ok(self.unsupported(&format!("{kind} as a quantised result"))),
                        }
                    }
                    _ => None,
                };
                Operation::Quantized(Box::new(Quantized { product, range }))
            }
            "NonMaxSuppression" => {
                Operation::NonMaximumSuppression { by_centre: attributes.flag("center_point_box")? }
            }
            "RoiAlign" => {
                if attributes.text("mode")?.is_some_and(|mode| mode != "avg") {
                    return Ok(self.unsupported("RoiAlign by maxima"));
                }
                let size = |name: &str, usual: i64| {
                    let value = attributes.int_or(name, usual)?;
                    let size = usize::try_from(value).ok().filter(|size| *size <= 1 << 16);
                    size.ok_or_else(|| format!("{name} can't be {value}"))
                };
                let [rows, columns] = [size("output_height", 1)?, size("output_width", 1)?];
                Operation::RoiAlign(RoiAlign {
                    size: [rows, columns],
                    points: size("sampling_ratio", 0)?,
                    scale: attributes.float_or("spatial_scale", 1.0)?,
                    half_pixel: match attributes.text("coordinate_transformation_mode")? {
                        None => self.opset >= 16,
                        Some("half_pixel") => true,
                        Some("output_half_pixel") => false,
                        Some(other) => {
                            return Err(format!("coordinate_transformation_mode can't be `{other}`"));
                        }
                    },
                })
            }
            "GridSample" => Operation::GridSample(GridSample {
                kernel: match attributes.text("mode")? {
                    None | Some("linear" | "bilinear") => Kernel::Linear,
                    Some("nearest") => Kernel::Nearest,
                    Some("cubic" | "bicubic") => Kernel::Cubic,
                    Some(other) => return Err(format!("mode can't be `{other}`")),
                },
                outside: match attributes.text("padding_mode")? {
                    None | Some("zeros") => Outside::Zeros,
                    Some("border") => Outside::Edge,
                    Some("reflection") => Outside::Mirror,
                    Some(other) => return Err(format!("padding_mode can't be `{other}`")),
                },
                align_corners: attributes.flag("align_corners")?,
            }),
            "Einsum" => {
                let equation = attributes.text("equation")?.ok_or("attribute equation is missing")?;
                Operation::Einsum(equation.to_owned())
            }
            "ConstantOfShape" | "Constant" | "If" => return Err(format!("{kind} is read elsewhere")),
            _ => return Ok(self.unsupported(kind)),
        };
        Ok(Translated { operation, inputs: self.inputs })
    }

    fn unsupported(self, name: &str) -> Translated {
        Translated { operation: Operation::Unsupported(name.to_owned()), inputs: self.inputs }
    }

    /// An attribute of an old opset as the input that it became.
    fn list_input(
        &mut self,
        place: usize,
        name: &str,
        attributes: Attributes,
        builder: &mut Builder,
    ) -> Result<(), String> {
        if let Some(list) = attributes.ints(name)? {
            let list = builder.integers(list);
            self.inputs.resize(self.inputs.len().max(place + 1), None);
            self.inputs[place] = Some(list);
        }
        Ok(())
    }

    /// Before opset 7, the axis where the second operand stands.
    fn old_broadcast(&mut self, attributes: Attributes, builder: &mut Builder) -> Result<(), String> {
        let (Some(axis), Some(Some(second))) = (attributes.int("axis")?, self.inputs.get(1).copied()) else {
            return Ok(());
        };
        if !attributes.flag("broadcast")? {
            return Ok(());
        }
        let Some(Value::Real(real)) = builder.known(second) else {
            return Err("an old broadcast of a computed value is not supported".into());
        };
        // Images have four axes; what stands at an axis gets ones after it.
        let after = 4usize.saturating_sub(usize::try_from(axis).unwrap_or(4).saturating_add(real.rank()));
        let mut shape = real.shape().to_vec();
        shape.extend(std::iter::repeat_n(1, after));
        let reshaped = real.reshape(&shape)?;
        self.inputs[1] = Some(builder.constant(reshaped.into()));
        Ok(())
    }

    fn resize(
        &mut self,
        kind: &str,
        attributes: Attributes,
        builder: &mut Builder,
    ) -> Result<Operation, String> {
        let old = kind == "Upsample" || self.opset < 11;
        if old {
            // Only scales, as a list or as an input.
            let scales = match attributes.floats("scales")? {
                Some(scales) => {
                    let array = Array { shape: vec![scales.len()], data: Data::Float(scales.to_vec()) };
                    Some(builder.constant(array.into()))
                }
                None => self.inputs.get(1).copied().flatten(),
            };
            self.inputs.truncate(1);
            self.inputs.extend([None, scales]);
        }
        let rounding = match attributes.text("nearest_mode")? {
            None | Some("round_prefer_floor") => Rounding::HalfDown,
            Some("round_prefer_ceil") => Rounding::HalfUp,
            Some("floor") => Rounding::Floor,
            Some("ceil") => Rounding::Ceil,
            Some(other) => return Err(format!("nearest_mode can't be `{other}`")),
        };
        let interpolation = match attributes.text("mode")? {
            None | Some("nearest") => Interpolation::Nearest(if old { Rounding::Floor } else { rounding }),
            Some("linear" | "bilinear") => Interpolation::Linear,
            Some("cubic") => Interpolation::Cubic(attributes.float_or("cubic_coeff_a", -0.75)?),
            Some(other) => return Err(format!("mode can't be `{other}`")),
        };
        let coordinates = match attributes.text("coordinate_transformation_mode")? {
            _ if old => Coordinates::Asymmetric,
            None | Some("half_pixel") => Coordinates::HalfPixel,
            Some("half_pixel_symmetric") => Coordinates::HalfPixelSymmetric,
            Some("pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
            Some("tf_half_pixel_for_nn") => Coordinates::TfHalfPixelForNearest,
            Some("align_corners") => Coordinates::AlignCorners,
            Some("asymmetric") => Coordinates::Asymmetric,
            Some("tf_crop_and_resize") => Coordinates::CropAndResize,
            Some(other) => return Err(format!("coordinate_transformation_mode can't be `{other}`")),
        };
        let keep_ratio = match attributes.text("keep_aspect_ratio_policy")? {
            None | Some("stretch") => None,
            Some("not_larger") => Some(true),
            Some("not_smaller") => Some(false),
            Some(other) => return Err(format!("keep_aspect_ratio_policy can't be `{other}`")),
        };
        Ok(Operation::Resize(Box::new(Resize {
            interpolation,
            coordinates,
            antialias: attributes.flag("antialias")?,
            exclude_outside: attributes.flag("exclude_outside")?,
            extrapolation: attributes.float_or("extrapolation_value", 0.0)?,
            axes: attributes.ints("axes")?.map(<[i64]>::to_vec),
            keep_ratio,
        })))
    }
}

/// Windows as `Conv` and the pools describe them.
fn geometry(attributes: Attributes) -> Result<Geometry, String> {
    let border = match attributes.text("auto_pad")? {
        None | Some("NOTSET" | "VALID") => Border::Zeros(attributes.sizes("pads")?),
        Some("SAME_UPPER") => Border::Same { odd_before: false },
        Some("SAME_LOWER") => Border::Same { odd_before: true },
        Some(other) => return Err(format!("auto_pad can't be `{other}`")),
    };
    let groups = attributes.int_or("group", 1)?;
    Ok(Geometry {
        stride: attributes.sizes("strides")?,
        dilation: attributes.sizes("dilations")?,
        border,
        groups: usize::try_from(groups).map_err(|_| format!("attribute group is {groups}"))?,
        extra: attributes.sizes("output_padding")?,
        output: attributes.ints("output_shape")?.map(|_| attributes.sizes("output_shape")).transpose()?,
    })
}

fn block(attributes: Attributes) -> Result<usize, String> {
    let block = attributes.int("blocksize")?.ok_or("attribute blocksize is missing")?;
    usize::try_from(block)
        .ok()
        .filter(|block| (1..=4096).contains(block))
        .ok_or_else(|| format!("blocksize can't be {block}"))
}

fn columns_first(attributes: Attributes) -> Result<bool, String> {
    match attributes.text("mode")? {
        None | Some("DCR") => Ok(false),
        Some("CRD") => Ok(true),
        Some(other) => Err(format!("mode can't be `{other}`")),
    }
}

/// The lowest and highest number of a type that floats are quantised to.
fn range(kind: DataType) -> Option<(f32, f32)> {
    Some(match kind {
        DataType::UINT8 => (0.0, 255.0),
        DataType::INT8 => (-128.0, 127.0),
        DataType::UINT16 => (0.0, 65535.0),
        DataType::INT16 => (-32768.0, 32767.0),
        DataType::UINT4 => (0.0, 15.0),
        DataType::INT4 => (-8.0, 7.0),
        _ => return None,
    })
}

fn update(attributes: Attributes) -> Result<Update, String> {
    Ok(match attributes.text("reduction")? {
        None | Some("none") => Update::Replace,
        Some("add") => Update::Add,
        Some("mul") => Update::Multiply,
        Some("max") => Update::Max,
        Some("min") => Update::Min,
        Some(other) => return Err(format!("reduction can't be `{other}`")),
    })
}

/// The kind of numbers of an element type.
pub(super) fn element(kind: DataType) -> Option<Kind> {
    Some(match kind {
        DataType::FLOAT | DataType::DOUBLE | DataType::FLOAT16 | DataType::BFLOAT16 => Kind::Float,
        DataType::BOOL => Kind::Bool,
        DataType::INT8 => Kind::Int { bits: 8, signed: true },
        DataType::UINT8 => Kind::Int { bits: 8, signed: false },
        DataType::INT16 => Kind::Int { bits: 16, signed: true },
        DataType::UINT16 => Kind::Int { bits: 16, signed: false },
        DataType::INT32 => Kind::Int { bits: 32, signed: true },
        DataType::UINT32 => Kind::Int { bits: 32, signed: false },
        DataType::INT64 => Kind::Int { bits: 64, signed: true },
        DataType::UINT64 => Kind::Int { bits: 64, signed: false },
        _ => return None,
    })
}
