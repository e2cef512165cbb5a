//! A network as data: named nodes, read from a file or captured from code.
//!
//! A [`Graph`] is a [`Model`]: every node's output is a layer under the name that its author gave it, on any device,
//! forward and backward. `model::Onnx` reads one from a file, `model::capture` makes one of a Burn module.
//!
//! A run computes only what the wanted layers depend on, and frees a value after its last use. Convolutions take with
//! them the batch normalisation and the rectifier that follow, unless one of those in between is wanted. Integers
//! (shapes, indices) are computed on the host, node by node, with the shapes of the run, so images and batches of other
//! sizes than the export's work wherever the operations allow it.

mod build;
#[cfg(feature = "capture")]
pub(super) mod capture;
mod fuse;
#[cfg(feature = "onnx")]
pub(super) mod onnx;
#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "captured modules need fewer operations"))]
mod operations;
mod run;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};

use self::operations::Operation;
use self::run::Halt;
use self::value::Value;
use super::{InputSpec, Model, Preprocessing, Stop, Taps};
use crate::{Error, Result};

/// A network of named operations.
pub struct Graph {
    nodes: Vec<Node>,
    /// By the number of the value; `None` for what a run computes.
    constants: Vec<Option<Value>>,
    image: Image,
    outputs: Vec<usize>,
    /// The node and its output behind every layer.
    layers: HashMap<String, usize>,
    /// The nodes that depend on an operation that is not known.
    blocked: Vec<bool>,
    input: InputSpec,
    preprocessing: Preprocessing,
    class_names: Vec<String>,
    logits: Option<String>,
    device: Device,
    limits: Limits,
    /// Whether a batch gives what its images give apart.
    batches: OnceLock<bool>,
}

/// A step of the computation.
struct Node {
    /// The names of its outputs as layers; the first is that of the node.
    names: Vec<String>,
    operation: Operation,
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
    parameters: usize,
    /// Whether it depends on the image.
    live: bool,
    /// What it is computed as where nothing between is wanted.
    fused: Option<Fused>,
}

/// An operation that gives what a node and some after it give together.
struct Fused {
    operation: Operation,
    inputs: Vec<Option<usize>>,
    /// The nodes that follow, whose last gives the result; none if the node itself does.
    nodes: Vec<usize>,
}

/// The nodes of one of two ways.
struct Block {
    nodes: Vec<Node>,
    outputs: Vec<usize>,
}

/// Two ways, of which a condition chooses one.
struct Branches {
    yes: Block,
    no: Block,
}

/// The value that the image becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    value: usize,
    layout: Layout,
}

/// The axes of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[batch, channels, height, width]`.
    ChannelsFirst,
    /// `[batch, height, width, channels]`.
    ChannelsLast,
    /// `[batch, height, width]`, of one channel.
    Grey,
    /// `[batch, channels, length]`.
    Signal,
    /// `[batch, features]`.
    Features,
}

/// Bounds on what a graph may ask for, so that an untrusted file can't take all memory.
///
/// ```
/// let limits = vis::model::Limits { elements: 1 << 30, ..Default::default() };
/// assert!(limits.elements > vis::model::Limits::default().elements);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of elements of one value. Default: 2²⁸, a gigabyte of floats.
    pub elements: usize,
    /// The number of elements of all values that are held at once. Default: 2³¹.
    pub held: usize,
    /// The number of nodes. Default: 10⁶.
    pub nodes: usize,
    /// The size of a file and of what it refers to, in bytes. Default: 2³⁴.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { elements: 1 << 28, held: 1 << 31, nodes: 1_000_000, bytes: 1 << 34 }
    }
}

impl Graph {
    /// The nodes whose operator is not known, as `operator at node`. They are an error only where a wanted layer depends on
    /// them.
    pub fn unsupported(&self) -> Vec<String> {
        let name = |node: &Node| match &node.operation {
            Operation::Unsupported(operator) => Some(format!("{operator} at {}", node.names[0])),
            _ => None,
        };
        self.nodes.iter().filter_map(name).collect()
    }

    /// Names the classes, in the order of the scores.
    pub fn with_class_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.class_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Names the classes by a file: text with a name a line, or a JSON list of names, or a JSON object from index to name
    /// (or to a list whose last entry is the name, as Keras has it).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Format`].
    pub fn with_labels(self, path: impl AsRef<Path>) -> Result<Self> {
        let names = super::preprocessing::labels(path.as_ref())?;
        Ok(self.with_class_names(names))
    }

    /// Sets the image that it takes by default, for files that leave its size open; other sizes are taken all the same.
    pub fn with_input(mut self, input: InputSpec) -> Self {
        self.input = input;
        self
    }
}

impl Model for Graph {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        match self.run(image, taps) {
            Ok(()) => Ok(()),
            Err(Halt::Stop(stop)) => Err(stop),
            Err(Halt::Failed(error)) => Err(taps.fail(*error)),
        }
    }

    fn is_frozen(&self) -> bool {
        true // none of its operations trains
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        self.logits.as_deref()
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        self.class_names.get(class).map(String::as_str)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("nodes", &self.nodes.len())
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

/// A failure of a node.
fn failure(node: &Node, reason: String) -> Error {
    Error::Graph { node: node.names.first().cloned().unwrap_or_default(), reason }
}
