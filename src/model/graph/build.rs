//! Making a graph: constants are folded, what follows a convolution is folded into it, names are made unique.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use burn::tensor::Device;

use super::operations::{Activation, Folded, Norm, Operation, Scope};
use super::value::{Real, Value};
use super::{Branches, Graph, Image, Layout, Limits, Node, failure};
use crate::backprop::Rectifier;
use crate::model::{InputSpec, Preprocessing, Taps};
use crate::{Error, Result};

/// The largest constant that is computed at load, in elements.
const FOLDED: usize = 1 << 26;
/// The same for integers.
const FOLDED_ON_HOST: usize = 1 << 22;

/// A graph in the making. Values are numbered as they come.
pub(super) struct Builder {
    device: Device,
    limits: Limits,
    pub(super) nodes: Vec<Node>,
    constants: Vec<Option<Value>>,
    /// Whether a value depends on the image.
    live: Vec<bool>,
    /// The elements of constants computed here.
    folded: usize,
}

impl Builder {
    pub(super) fn new(device: &Device, limits: Limits) -> Self {
        Self {
            device: device.clone(),
            limits,
            nodes: Vec::new(),
            constants: Vec::new(),
            live: Vec::new(),
            folded: 0,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// A value that nodes compute.
    pub(super) fn value(&mut self) -> usize {
        self.constants.push(None);
        self.live.push(false);
        self.constants.len() - 1
    }

    /// The value that the image becomes.
    pub(super) fn image(&mut self) -> usize {
        let value = self.value();
        self.live[value] = true;
        value
    }

    pub(super) fn constant(&mut self, constant: Value) -> usize {
        let value = self.value();
        self.constants[value] = Some(constant);
        value
    }

    /// The value as far as it is known.
    pub(super) fn known(&self, value: usize) -> Option<&Value> {
        self.constants[value].as_ref()
    }

    pub(super) fn integers(&mut self, values: &[i64]) -> usize {
        self.constant(Value::ints([values.len()], values.to_vec()))
    }

    pub(super) fn number(&mut self, value: f32) -> Result<usize> {
        let real = Real::from_host(vec![], vec![value], &self.device);
        let real = real.map_err(|reason| Error::Graph { node: "a constant".into(), reason })?;
        Ok(self.constant(real.into()))
    }

    /// Adds a node, or what it computes if that is known already.
    pub(super) fn node(
        &mut self,
        name: String,
        operation: Operation,
        inputs: Vec<Option<usize>>,
        outputs: Vec<Option<usize>>,
    ) -> Result<()> {
        let mut nodes = std::mem::take(&mut self.nodes);
        let added = self.node_in(&mut nodes, name, operation, inputs, outputs);
        self.nodes = nodes;
        added
    }

    /// Adds a node to a list, that of a branch perhaps.
    pub(super) fn node_in(
        &mut self,
        nodes: &mut Vec<Node>,
        name: String,
        operation: Operation,
        inputs: Vec<Option<usize>>,
        outputs: Vec<Option<usize>>,
    ) -> Result<()> {
        let live = inputs.iter().flatten().any(|value| self.live[*value]);
        for output in outputs.iter().flatten() {
            self.live[*output] = live;
        }
        let known: Option<Vec<Option<Value>>> = inputs
            .iter()
            .map(|input| {
                input.map(|value| self.constants[value].clone()).map_or(Some(None), |value| value.map(Some))
            })
            .collect();
        if let Operation::If(branches) = operation {
            return self.branch(nodes, name, *branches, inputs, outputs);
        }
        let foldable = !matches!(operation, Operation::Unsupported(_)) && self.folded < 2 * FOLDED;
        if let Some(known) = known
            && foldable
        {
            let mut taps = Taps::new();
            let mut scope = Scope {
                device: &self.device,
                taps: &mut taps,
                limit: FOLDED,
                host_limit: FOLDED_ON_HOST,
                batch: 1,
            };
            if let Ok(values) = operation.run(&known, &mut scope) {
                for (output, value) in outputs.iter().zip(values) {
                    if let Some(output) = output {
                        self.folded += value.shape().iter().product::<usize>();
                        self.constants[*output] = Some(value);
                    }
                }
                return Ok(());
            }
        }
        let counted = matches!(
            operation,
            Operation::Convolution(_)
                | Operation::TransposedConvolution(_)
                | Operation::MatMul
                | Operation::Dense
                | Operation::Gemm(_)
                | Operation::Normalize(_)
        );
        let of = |value: &usize| match &self.constants[*value] {
            Some(Value::Real(real)) => real.shape().iter().product(),
            _ => 0,
        };
        let parameters = if counted { inputs.iter().flatten().map(of).sum() } else { 0 };
        let names = (0..outputs.len().max(1))
            .map(|place| if place == 0 { name.clone() } else { format!("{name}:{place}") })
            .collect();
        let operation = self.fix(operation, &inputs);
        nodes.push(Node { names, operation, inputs, outputs, parameters, live, fused: None });
        if nodes.len() > self.limits.nodes {
            return Err(Error::invalid(
                "the number of nodes",
                format!("at most {}", self.limits.nodes),
                nodes.len(),
            ));
        }
        Ok(())
    }

    fn fix(&self, mut operation: Operation, inputs: &[Option<usize>]) -> Operation {
        let fixed = inputs.iter().skip(1).flatten().all(|value| self.constants[*value].is_some());
        match &mut operation {
            Operation::Convolution(conv) => conv.fixed = fixed,
            Operation::TransposedConvolution(conv) => conv.fixed = fixed,
            _ => {}
        }
        operation
    }

    /// Adds the branch that a known condition chooses, or both.
    fn branch(
        &mut self,
        nodes: &mut Vec<Node>,
        name: String,
        branches: Branches,
        inputs: Vec<Option<usize>>,
        outputs: Vec<Option<usize>>,
    ) -> Result<()> {
        let condition = inputs.first().copied().flatten();
        if let Some(condition) = condition.and_then(|value| self.constants[value].as_ref()) {
            let holds = condition.host().to_bools().first().copied().unwrap_or(false);
            let block = if holds { branches.yes } else { branches.no };
            for node in block.nodes {
                let first = node.names.into_iter().next().unwrap_or_default();
                self.node_in(nodes, first, node.operation, node.inputs, node.outputs)?;
            }
            for (output, value) in outputs.iter().zip(block.outputs) {
                if let Some(output) = output {
                    self.node_in(
                        nodes,
                        name.clone(),
                        Operation::Identity,
                        vec![Some(value)],
                        vec![Some(*output)],
                    )?;
                }
            }
            return Ok(());
        }
        // What the branches use from outside is an input, so that it is kept.
        let mut inputs = inputs;
        for block in [&branches.yes, &branches.no] {
            let inner: HashSet<usize> =
                block.nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied()).collect();
            let used = block.nodes.iter().flat_map(|node| node.inputs.iter().flatten()).chain(&block.outputs);
            inputs.extend(used.filter(|value| !inner.contains(value)).map(|value| Some(*value)));
        }
        let live = inputs.iter().flatten().any(|value| self.live[*value]);
        for output in outputs.iter().flatten() {
            self.live[*output] = live;
        }
        let names = (0..outputs.len().max(1))
            .map(|place| if place == 0 { name.clone() } else { format!("{name}:{place}") })
            .collect();
        nodes.push(Node {
            names,
            operation: Operation::If(Box::new(branches)),
            inputs,
            outputs,
            parameters: 0,
            live,
            fused: None,
        });
        Ok(())
    }

    /// The graph.
    pub(super) fn finish(
        mut self,
        image: usize,
        layout: Layout,
        outputs: Vec<usize>,
        input: InputSpec,
        preprocessing: Preprocessing,
    ) -> Result<Graph> {
        self.prune(&outputs);
        self.last(&outputs);
        self.unique_names();
        self.fold_after_convolutions(&outputs)?;
        self.fuse(&outputs);
        let layers = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.live)
            .flat_map(|(index, node)| node.names.iter().map(move |name| (name.clone(), index)))
            .collect();
        let mut unknown = vec![false; self.constants.len()];
        let blocked = self
            .nodes
            .iter()
            .map(|node| {
                let blocked = contains_unsupported(&node.operation)
                    || node.inputs.iter().flatten().any(|value| unknown[*value]);
                for output in node.outputs.iter().flatten() {
                    unknown[*output] = blocked;
                }
                blocked
            })
            .collect();
        // Of constants, those that are still used.
        let used: HashSet<usize> = used_by(&self.nodes).into_iter().chain(outputs.iter().copied()).collect();
        for (value, constant) in self.constants.iter_mut().enumerate() {
            if !used.contains(&value) {
                *constant = None;
            }
        }
        let mut graph = Graph {
            nodes: self.nodes,
            constants: self.constants,
            image: Image { value: image, layout },
            outputs,
            layers,
            blocked,
            input,
            preprocessing,
            class_names: Vec::new(),
            logits: None,
            device: self.device,
            limits: self.limits,
            batches: OnceLock::new(),
        };
        graph.logits = graph.find_logits();
        Ok(graph)
    }

    /// Leaves out the nodes that no output depends on.
    fn prune(&mut self, outputs: &[usize]) {
        let mut needed = vec![false; self.constants.len()];
        outputs.iter().for_each(|output| needed[*output] = true);
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().flatten().any(|value| needed[*value]) {
                node.inputs.iter().flatten().for_each(|value| needed[*value] = true);
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
    }

    /// Moves the node of the first output to the end, unless something depends on it: the last layer is the output.
    fn last(&mut self, outputs: &[usize]) {
        let Some(first) = outputs.first() else { return };
        let used: HashSet<usize> = used_by(&self.nodes);
        let place = self.nodes.iter().rposition(|node| node.outputs.contains(&Some(*first)));
        if let Some(place) = place
            && !self.nodes[place].outputs.iter().flatten().any(|value| used.contains(value))
        {
            let node = self.nodes.remove(place);
            self.nodes.push(node);
        }
    }

    /// Numbers the names that stand more than once: `name#2`, `name#3`, ….
    fn unique_names(&mut self) {
        let mut times: HashMap<String, usize> = HashMap::new();
        let mut taken: HashSet<String> =
            self.nodes.iter().flat_map(|node| node.names.iter().cloned()).collect();
        for name in self.nodes.iter_mut().flat_map(|node| &mut node.names) {
            let count = times.entry(name.clone()).or_insert(0);
            *count += 1;
            if *count > 1 {
                let mut numbered = format!("{name}#{count}");
                while !taken.insert(numbered.clone()) {
                    *count += 1;
                    numbered = format!("{name}#{count}");
                }
                *name = numbered;
            }
        }
    }

    /// Prepares convolutions with the batch normalisation and the rectifier that follow them alone.
    fn fold_after_convolutions(&mut self, outputs: &[usize]) -> Result<()> {
        let mut consumers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for value in node.inputs.iter().flatten() {
                consumers.entry(*value).or_default().push(index);
            }
        }
        let next = |nodes: &[Node], index: usize| -> Option<usize> {
            let value = nodes[index].outputs.first().copied().flatten()?;
            let only = match consumers.get(&value).map(Vec::as_slice) {
                Some([only]) => *only,
                _ => return None,
            };
            (!outputs.contains(&value) && nodes[only].inputs.first() == Some(&Some(value))).then_some(only)
        };
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let Operation::Convolution(conv) = &node.operation else { continue };
            if !conv.fixed {
                continue;
            }
            let constant =
                |place: usize| node.inputs.get(place).copied().flatten().and_then(|value| self.known(value));
            let (Some(mut weight), mut bias) = (constant(1).cloned(), constant(2).cloned()) else { continue };
            let mut rest = Vec::new();
            let mut at = index;
            if let Some(norm) = next(&self.nodes, at)
                && let Some((folded_weight, folded_bias)) = self
                    .with_norm(&self.nodes[norm], &weight, bias.as_ref())
                    .map_err(|reason| failure(&self.nodes[norm], reason))?
            {
                (weight, bias) = (folded_weight, Some(folded_bias));
                rest.push(norm);
                at = norm;
            }
            let mut rectifier = None;
            if let Some(after) = next(&self.nodes, at)
                && let Some(found) = self.rectifier(&self.nodes[after])
            {
                rectifier = Some(found);
                rest.push(after);
            }
            if rest.is_empty() {
                continue;
            }
            if let Operation::Convolution(conv) = &mut self.nodes[index].operation {
                conv.folded = Some(Folded { weight, bias, rectifier, nodes: rest, ready: OnceLock::new() });
            }
        }
        Ok(())
    }

    /// The rectifier that a node is, of those that a convolution can take with it.
    fn rectifier(&self, node: &Node) -> Option<Rectifier> {
        let Operation::Activation(activation) = &node.operation else { return None };
        if *activation != Activation::Clip {
            return activation.rectifier();
        }
        let bound = |place: usize| -> Option<Option<f32>> {
            match node.inputs.get(place).copied().flatten() {
                None => Some(None),
                Some(value) => self.known(value)?.host().to_floats().first().copied().map(Some),
            }
        };
        match (bound(1)?, bound(2)?) {
            (Some(0.0), None) => Some(Rectifier::Relu),
            (Some(0.0), Some(6.0)) => Some(Rectifier::Relu6),
            _ => None,
        }
    }

    /// Weights and bias with a batch normalisation in them, if the node is one.
    fn with_norm(
        &self,
        node: &Node,
        weight: &Value,
        bias: Option<&Value>,
    ) -> Result<Option<(Value, Value)>, String> {
        let Operation::Normalize(Norm::Batch { epsilon }) = node.operation else { return Ok(None) };
        let constant = |place: usize| {
            let value = node.inputs.get(place).copied().flatten()?;
            self.known(value)?.real(&self.device).ok()
        };
        let (Some(gamma), Some(beta), Some(mean), Some(variance)) =
            (constant(1), constant(2), constant(3), constant(4))
        else {
            return Ok(None);
        };
        let weight = weight.real(&self.device)?;
        let channels = weight.shape().first().copied().unwrap_or(0);
        if [&gamma, &beta, &mean, &variance].iter().any(|real| real.shape() != [channels]) {
            return Ok(None);
        }
        let (factor, offset) = super::operations::affine(&gamma, &beta, &mean, &variance, epsilon)?;
        let mut around = vec![1; weight.rank()];
        around[0] = channels;
        let multiply = <burn::backend::Dispatch as burn::backend::ops::FloatTensorOps<
            burn::backend::Dispatch,
        >>::float_mul;
        let add = <burn::backend::Dispatch as burn::backend::ops::FloatTensorOps<burn::backend::Dispatch>>::float_add;
        let folded = weight.zip(&factor.reshape(&around)?, multiply)?;
        let bias = match bias {
            Some(bias) => bias.real(&self.device)?.zip(&factor, multiply)?.zip(&offset, add)?,
            None => offset,
        };
        Ok(Some((folded.into(), bias.into())))
    }
}

fn used_by(nodes: &[Node]) -> HashSet<usize> {
    let mut used = HashSet::new();
    for node in nodes {
        used.extend(node.inputs.iter().flatten().copied());
        if let Operation::If(branches) = &node.operation {
            for block in [&branches.yes, &branches.no] {
                used.extend(used_by(&block.nodes));
                used.extend(&block.outputs);
            }
        }
    }
    used
}

fn contains_unsupported(operation: &Operation) -> bool {
    match operation {
        Operation::Unsupported(_) => true,
        Operation::If(branches) => [&branches.yes, &branches.no]
            .iter()
            .any(|block| block.nodes.iter().any(|node| contains_unsupported(&node.operation))),
        _ => false,
    }
}

impl Graph {
    /// The layer before the softmax that gives the first output, or that output.
    fn find_logits(&self) -> Option<String> {
        let makes = |value: usize| self.nodes.iter().rposition(|node| node.outputs.contains(&Some(value)));
        let mut node = makes(*self.outputs.first()?)?;
        let mut found = node;
        // Names given to an output, the quantisation around it and the order of its axes change nothing.
        for _ in 0..8 {
            let operation = &self.nodes[node].operation;
            let through = matches!(
                operation,
                Operation::Identity
                    | Operation::Quantize { .. }
                    | Operation::Dequantize { .. }
                    | Operation::Softmax { .. }
            ) || operation.only_moves_channels();
            let before = self.nodes[node].inputs.first().copied().flatten().and_then(makes);
            let Some(before) = before.filter(|_| through) else { break };
            let softmax = matches!(operation, Operation::Softmax { .. });
            if softmax || operation.only_moves_channels() || self.nodes[found].operation.only_moves_channels()
            {
                found = before;
            }
            node = before;
            if softmax && !self.nodes[found].operation.only_moves_channels() {
                break;
            }
        }
        self.nodes[found].live.then(|| self.nodes[found].names[0].clone())
    }
}
