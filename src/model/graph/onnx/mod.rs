//! Networks from ONNX files.

mod attributes;
mod functions;
mod names;
mod operators;
#[cfg(test)]
mod supported;
mod tensors;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::tensor::Device;
use rten_onnx::onnx::{DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};

use self::attributes::Attributes;
use self::functions::Functions;
use self::operators::{Operator, element};
use super::build::Builder;
use super::operations::{Kind, Operation};
use super::value::{Array, Data, Real, Value};
use super::{Branches, Graph, Layout, Limits, Node};
use crate::model::{InputSpec, Preprocessing};
use crate::{Error, Result};

/// The opsets whose operators are known.
const OPSETS: std::ops::RangeInclusive<i64> = 6..=28;

/// Reads a network from an ONNX file.
///
/// [`Onnx::open`] is enough for a file with one input. What a file doesn't say is set before [`load`](Self::load): which
/// input is the image where there are several, what the others are held at, how large the image is where the file leaves
/// it open.
///
/// ```no_run
/// use vis::{Model, model::{Onnx, Preprocessing}};
/// let model = Onnx::open("resnet18.onnx", Preprocessing::imagenet())?.with_labels("labels.txt")?;
/// for layer in model.layers()? {
///     println!("{layer}"); // layer1.0.conv1  convolution  64x56x56  36864 parameters
/// }
/// # Ok::<(), vis::Error>(())
/// ```
///
/// The file is taken as untrusted: every shape and attribute is checked before anything is computed, nothing is allocated
/// on the word of the file alone, and weights in other files are read from the folder of the file only.
///
/// Opsets 7 to 24 are supported (and what of 6 and 25 to 28 has not changed), with weights in `f32`, `f16`, `bf16` and
/// `f64`, all computed in `f32`; quantised networks are computed in floats, rounded where the file rounds. Layers are named
/// as the author of the network knows them: by module path for files from PyTorch, by scope for those from Keras and
/// TensorFlow. Values of other ranks than 2 to 4, and those whose first axis is not the batch, are computed but are no
/// layers. Functions that the file defines take the place of the nodes that call them.
///
/// A value `[batch, tokens, channels]` is shown as a map where the tokens are those of a map before, as in a vision
/// transformer: `[batch, channels, rows, columns]`, with the tokens before the grid as a layer apart, `name.class`. A softmax
/// over square maps is an attention map, which [`AttentionRollout`](crate::attribution::AttentionRollout) reads.
///
#[doc = include_str!("operators.md")]
#[derive(Debug, Clone)]
pub struct Onnx {
    path: PathBuf,
    preprocessing: Preprocessing,
    image: Option<String>,
    held: Vec<(String, Vec<f32>)>,
    shape: Option<[usize; 3]>,
    channels_last: Option<bool>,
    output: Option<String>,
    limits: Limits,
    device: Device,
}

impl Onnx {
    /// The network of a file, on the default device.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn open(path: impl AsRef<Path>, preprocessing: Preprocessing) -> Result<Graph> {
        Self::new(path, preprocessing).load()
    }

    /// A file to be loaded.
    pub fn new(path: impl AsRef<Path>, preprocessing: Preprocessing) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            preprocessing,
            image: None,
            held: Vec::new(),
            shape: None,
            channels_last: None,
            output: None,
            limits: Limits::default(),
            device: Device::default(),
        }
    }

    /// Sets which input is the image, by its name. Default: the first that could be one.
    pub fn image(mut self, input: impl Into<String>) -> Self {
        self.image = Some(input.into());
        self
    }

    /// Holds another input at these values, row by row; one value fills it. Inputs that are not held are zeros.
    pub fn hold(mut self, input: impl Into<String>, values: impl Into<Vec<f32>>) -> Self {
        self.held.push((input.into(), values.into()));
        self
    }

    /// Sets the image, `[channels, height, width]`, where the file leaves it open or another size is wanted. Default: that
    /// of the file, 3 channels and 224 pixels a side where it doesn't tell.
    pub fn shape(mut self, shape: [usize; 3]) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Sets whether the input is `[batch, height, width, channels]`. Default: as the file lets it be seen.
    pub fn channels_last(mut self, channels_last: bool) -> Self {
        self.channels_last = Some(channels_last);
        self
    }

    /// Sets which output of the file is the model's. Default: the first.
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.output = Some(name.into());
        self
    }

    /// Sets the bounds on what the file may ask for.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the device that holds the weights.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// The network.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Format`] for a file that is no ONNX model, or a broken one, or of an opset that is not known;
    /// [`Error::InvalidParameter`] for a setting that the file has nothing for.
    pub fn load(self) -> Result<Graph> {
        let bytes = tensors::bytes_of(&self.path, self.limits.bytes)?;
        let wrong = |reason: String| Error::Format { path: self.path.clone(), kind: "ONNX file", reason };
        wire::check_lengths(&bytes).map_err(wrong)?;
        let survey = wire::survey(&bytes).map_err(wrong)?;
        let model = ModelProto::parse_buf(&bytes).map_err(|error| wrong(error.to_string()))?;
        let functions = functions::functions(&bytes, &survey.functions).map_err(wrong)?;
        drop(bytes);
        let graph = model.graph.as_ref().ok_or_else(|| wrong("it holds no graph".into()))?;
        let opset = model
            .opset_import
            .iter()
            .find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")))
            .and_then(|set| set.version);
        let opset = match opset {
            Some(opset) if OPSETS.contains(&opset) => opset,
            Some(opset) => return Err(wrong(format!("its opset {opset} is not one of 7 to 24"))),
            None => return Err(wrong("it does not tell its opset".into())),
        };
        if graph.node.len() > self.limits.nodes {
            return Err(wrong(format!(
                "it has {} nodes, above the limit of {}",
                graph.node.len(),
                self.limits.nodes
            )));
        }
        let mut reader = Reader {
            builder: Builder::new(&self.device, self.limits),
            opset,
            folder: self.path.parent(),
            functions: Rc::new(functions),
            calls: 0,
            called: 0,
            most_called: self.limits.nodes / 32,
            scopes: vec![HashMap::new()],
            zero_types: HashMap::new(),
            bytes: self.limits.bytes,
        };
        reader.initializers(graph).map_err(wrong)?;
        let (image, layout, spec) = self.inputs(graph, &mut reader)?;
        reader.nodes(graph, &survey.scopes, None).map_err(wrong)?;
        let mut outputs = Vec::new();
        for output in &graph.output {
            let name = output.name.as_deref().unwrap_or_default();
            outputs.push((
                name,
                reader.find(name).ok_or_else(|| wrong(format!("output `{name}` is computed nowhere")))?,
            ));
        }
        if let Some(wanted) = &self.output {
            let names: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
            let place = names.iter().position(|name| name == wanted).ok_or_else(|| {
                Error::invalid("the output", format!("one of {}", names.join(", ")), wanted)
            })?;
            let first = outputs.remove(place);
            outputs.insert(0, first);
        }
        if outputs.is_empty() {
            return Err(wrong("it has no outputs".into()));
        }
        let outputs = outputs.into_iter().map(|(_, value)| value).collect();
        reader.builder.finish(image, layout, outputs, spec, self.preprocessing)
    }

    /// The image among the inputs, and the others as constants.
    fn inputs(&self, graph: &GraphProto, reader: &mut Reader) -> Result<(usize, Layout, InputSpec)> {
        let wrong = |reason: String| Error::Format { path: self.path.clone(), kind: "ONNX file", reason };
        let name_of = |input: &'_ ValueInfoProto| input.name.clone().unwrap_or_default();
        let free: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|input| reader.find(&name_of(input)).is_none()).collect();
        let is_float = |input: &ValueInfoProto| {
            let (kind, shape) = declared(input);
            kind.is_none_or(|kind| element(kind) == Some(Kind::Float)) && (2..=4).contains(&shape.len())
        };
        let image = match &self.image {
            Some(name) => free.iter().find(|input| input.name.as_deref() == Some(name)),
            None => free.iter().filter(|input| is_float(input)).max_by_key(|input| {
                (
                    declared(input).1.len(),
                    std::cmp::Reverse(free.iter().position(|other| std::ptr::eq(*other, **input))),
                )
            }),
        };
        let names = || free.iter().map(|input| name_of(input)).collect::<Vec<_>>().join(", ");
        let image = *image.ok_or_else(|| match &self.image {
            Some(name) => Error::invalid("the input for the image", format!("one of {}", names()), name),
            None if free.is_empty() => wrong("it has no inputs".into()),
            None => wrong(format!("none of its inputs could be an image: {}", names())),
        })?;
        if let Some((name, _)) =
            self.held.iter().find(|(held, _)| !free.iter().any(|input| input.name.as_ref() == Some(held)))
        {
            return Err(Error::invalid("an input that is held", format!("one of {}", names()), name));
        }
        for input in &free {
            let name = name_of(input);
            if std::ptr::eq(*input, image) {
                continue;
            }
            let (kind, shape) = declared(input);
            let shape: Vec<usize> = shape.into_iter().map(|size| size.unwrap_or(1)).collect();
            let elements = super::value::count(&shape).map_err(wrong)?;
            if elements > 1 << 24 {
                return Err(wrong(format!("its input `{name}` of shape {shape:?} is too large to be held")));
            }
            let values = match self.held.iter().find(|(held, _)| *held == name) {
                Some((_, values)) if values.len() == elements => values.clone(),
                Some((_, values)) if values.len() == 1 => vec![values[0]; elements],
                Some((_, values)) => {
                    let expected = format!("one value, or {elements} for shape {shape:?}");
                    return Err(Error::invalid(
                        "the values of an input that is held",
                        expected,
                        values.len(),
                    ));
                }
                None => vec![0.0; elements],
            };
            let value: Value = match kind.and_then(element) {
                Some(Kind::Int { .. }) => {
                    Value::ints(shape, values.iter().map(|value| *value as i64).collect())
                }
                Some(Kind::Bool) => {
                    Array::bools(shape, values.iter().map(|value| *value != 0.0).collect()).into()
                }
                _ => Real::from_host(shape, values, &self.device).map_err(wrong)?.into(),
            };
            let value = reader.builder.constant(value);
            reader.define(&name, value).map_err(wrong)?;
        }
        let (_, shape) = declared(image);
        let name = name_of(image);
        let layout = self.layout(graph, &name, &shape).map_err(wrong)?;
        let at = |axis: usize, default: usize| shape.get(axis).copied().flatten().unwrap_or(default);
        let (height, width) = match layout {
            Layout::ChannelsFirst => (at(2, 224), at(3, 224)),
            Layout::ChannelsLast | Layout::Grey => (at(1, 224), at(2, 224)),
            Layout::Signal => (at(2, 224), 1),
            Layout::Features => (1, 1),
        };
        let channels = match layout {
            Layout::ChannelsFirst | Layout::Signal | Layout::Features => at(1, 3),
            Layout::ChannelsLast => at(3, 3),
            Layout::Grey => 1,
        };
        let [channels, height, width] = self.shape.unwrap_or([channels, height, width]);
        let elements = super::value::count(&[channels, height, width]).map_err(wrong)?;
        if elements == 0 || elements > self.limits.elements {
            return Err(wrong(format!(
                "its input `{name}` of {channels}x{height}x{width} can't be an image"
            )));
        }
        self.preprocessing.check(channels)?;
        let spec = self.preprocessing.input([channels, height, width]).with_any_size_from(1);
        let value = reader.builder.image();
        reader.define(&name, value).map_err(wrong)?;
        Ok((value, layout, spec))
    }

    /// How the axes of the image lie.
    fn layout(&self, graph: &GraphProto, name: &str, shape: &[Option<usize>]) -> Result<Layout, String> {
        match shape.len() {
            4 => {}
            3 => {
                // A height and a width without channels, unless a convolution takes it as it is.
                let first = graph.node.iter().find(|node| node.input.iter().any(|input| input == name));
                let grey = first.is_some_and(|node| node.op_type.as_deref() == Some("Unsqueeze"));
                return Ok(if grey { Layout::Grey } else { Layout::Signal });
            }
            2 => return Ok(Layout::Features),
            rank => return Err(format!("its input `{name}` of rank {rank} can't be an image")),
        }
        let few = |axis: usize| shape[axis].is_some_and(|size| size <= 4);
        let turned =
            graph.node.iter().filter(|node| node.input.first().is_some_and(|input| input == name)).any(
                |node| {
                    node.op_type.as_deref() == Some("Transpose")
                        && Attributes::of(node).ints("perm").is_ok_and(|perm| perm == Some(&[0, 3, 1, 2][..]))
                },
            );
        let last = self.channels_last.unwrap_or(turned || (few(3) && !few(1)));
        Ok(if last { Layout::ChannelsLast } else { Layout::ChannelsFirst })
    }
}

/// The element type and the shape that an input declares; sizes that it leaves open are `None`.
fn declared(input: &ValueInfoProto) -> (Option<DataType>, Vec<Option<usize>>) {
    let Some(tensor) = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()) else {
        return (None, Vec::new());
    };
    let size =
        |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok()).filter(|size| *size > 0);
    let shape = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| size(dim.dim_value)).collect();
    (tensor.elem_type, shape)
}

/// A file being read.
struct Reader<'a> {
    builder: Builder,
    opset: i64,
    folder: Option<&'a Path>,
    functions: Rc<Functions>,
    /// How deep the calls of functions are nested at the moment.
    calls: usize,
    /// The nodes that calls have become, and how many they may be.
    called: usize,
    most_called: usize,
    /// The values by name, of the graph and of the branches within it.
    scopes: Vec<HashMap<String, usize>>,
    /// The element types of constants, which tell those of zero points.
    zero_types: HashMap<usize, DataType>,
    /// The bytes that tensors in other files may still have.
    bytes: u64,
}

impl Reader<'_> {
    fn find(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name).copied())
    }

    fn define(&mut self, name: &str, value: usize) -> Result<(), String> {
        let scope = self.scopes.last_mut().ok_or("there is no graph")?;
        match scope.insert(name.to_owned(), value) {
            Some(_) => Err(format!("`{name}` is defined twice")),
            None => Ok(()),
        }
    }

    fn initializers(&mut self, graph: &GraphProto) -> Result<(), String> {
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap_or_default();
            let value = tensors::read(tensor, self.folder, self.bytes, self.builder.device())
                .map_err(|reason| format!("tensor `{name}`: {reason}"))?;
            let value = self.builder.constant(value);
            if let Some(kind) = tensor.data_type {
                self.zero_types.insert(value, kind);
            }
            self.define(name, value)?;
        }
        Ok(())
    }

    /// Adds the nodes of a graph, to a branch if there is a list of it.
    fn nodes(
        &mut self,
        graph: &GraphProto,
        scopes: &[Option<Vec<String>>],
        mut branch: Option<&mut Vec<Node>>,
    ) -> Result<(), String> {
        let weights: HashSet<&str> =
            graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
        let names = names::names(&graph.node, scopes, &weights);
        for (node, name) in graph.node.iter().zip(names) {
            self.node(node, &name, branch.as_deref_mut()).map_err(|reason| {
                format!("node `{name}` ({}): {reason}", node.op_type.as_deref().unwrap_or_default())
            })?;
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeProto, name: &str, branch: Option<&mut Vec<Node>>) -> Result<(), String> {
        let kind = node.op_type.as_deref().unwrap_or_default();
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            inputs.push(match input.as_str() {
                "" => None,
                input => Some(
                    self.find(input)
                        .ok_or_else(|| format!("its input `{input}` is computed nowhere before it"))?,
                ),
            });
        }
        let attributes = Attributes::of(node);
        let plain = matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"));
        let functions = Rc::clone(&self.functions);
        let domain = node.domain.clone().unwrap_or_default();
        if let Some(function) = functions.get(&(domain, kind.to_owned())).filter(|_| !plain) {
            return self.call(function, node, name, &inputs, branch);
        }
        if plain && kind == "Constant" {
            let (value, element) = self.constant(attributes)?;
            let value = self.builder.constant(value);
            if let Some(element) = element {
                self.zero_types.insert(value, element);
            }
            let output = node.output.first().ok_or("it has no output")?;
            return self.define(output, value);
        }
        let operation = if plain && kind == "ConstantOfShape" {
            let value = match attributes.tensor("value")? {
                Some(tensor) => tensors::read(tensor, self.folder, self.bytes, self.builder.device())?,
                None => Array { shape: vec![1], data: Data::Float(vec![0.0]) }.into(),
            };
            Operation::Fill(value)
        } else if plain && kind == "If" {
            let yes = self.branch(attributes.graph("then_branch")?, node.output.len())?;
            let no = self.branch(attributes.graph("else_branch")?, node.output.len())?;
            Operation::If(Box::new(Branches { yes, no }))
        } else {
            let zero = inputs.get(if kind.starts_with("QLinear") { 7 } else { 2 }).copied().flatten();
            let zero_type = zero.and_then(|value| self.zero_types.get(&value).copied());
            let operator = Operator { node, opset: self.opset, inputs, zero_type };
            let translated = operator.translate(&mut self.builder)?;
            inputs = translated.inputs;
            translated.operation
        };
        let mut outputs = Vec::with_capacity(node.output.len());
        for output in &node.output {
            outputs.push(match output.as_str() {
                "" => None,
                output => {
                    let value = self.builder.value();
                    self.define(output, value)?;
                    Some(value)
                }
            });
        }
        // The type of a zero point goes through a copy.
        if let (Operation::Identity, Some(Some(from)), Some(Some(to))) =
            (&operation, inputs.first(), outputs.first())
            && let Some(kind) = self.zero_types.get(from).copied()
        {
            self.zero_types.insert(*to, kind);
        }
        let added = match branch {
            Some(nodes) => self.builder.node_in(nodes, name.to_owned(), operation, inputs, outputs),
            None => self.builder.node(name.to_owned(), operation, inputs, outputs),
        };
        added.map_err(|error| error.to_string())
    }

    fn branch(&mut self, graph: &GraphProto, outputs: usize) -> Result<super::Block, String> {
        self.scopes.push(HashMap::new());
        let block = self.branch_inside(graph, outputs);
        self.scopes.pop();
        block
    }

    fn branch_inside(&mut self, graph: &GraphProto, outputs: usize) -> Result<super::Block, String> {
        self.initializers(graph)?;
        let mut nodes = Vec::new();
        self.nodes(graph, &[], Some(&mut nodes))?;
        let named = graph.output.iter().map(|output| output.name.as_deref().unwrap_or_default());
        let found = named
            .map(|name| {
                self.find(name).ok_or_else(|| format!("output `{name}` of a branch is computed nowhere"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if found.len() != outputs {
            return Err(format!("a branch has {} outputs instead of {outputs}", found.len()));
        }
        Ok(super::Block { nodes, outputs: found })
    }

    fn constant(&self, attributes: Attributes) -> Result<(Value, Option<DataType>), String> {
        let floats = |values: &[f32], shape: Vec<usize>| -> Value {
            Array { shape, data: Data::Float(values.to_vec()) }.into()
        };
        if let Some(tensor) = attributes.tensor("value")? {
            let value = tensors::read(tensor, self.folder, self.bytes, self.builder.device())?;
            return Ok((value, tensor.data_type));
        }
        let value = if let Some(value) = attributes.float("value_float")? {
            floats(&[value], vec![])
        } else if let Some(values) = attributes.floats("value_floats")? {
            floats(values, vec![values.len()])
        } else if let Some(value) = attributes.int("value_int")? {
            Value::ints([], vec![value])
        } else if let Some(values) = attributes.ints("value_ints")? {
            Value::ints([values.len()], values.to_vec())
        } else {
            return Err("it holds no numbers".into());
        };
        Ok((value, None))
    }
}
