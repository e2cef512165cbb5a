//! Running a graph: in order, as far as it is wanted, freeing what is not needed any more.

mod show;

use std::collections::HashSet;

use burn::tensor::Tensor;

use super::operations::{Operation, Scope};
use super::value::{Real, Value};
use super::{Block, Fused, Graph, Layout, Node, failure};
use crate::model::taps::Wants;
use crate::model::taps::tokens::CLASS;
use crate::model::{Stop, Taps};
use crate::{Error, Result};

/// The largest number of integers that one operation may give.
const ON_HOST: usize = 1 << 23;

/// Why a run ends before its last node.
pub(super) enum Halt {
    Stop(Stop),
    Failed(Box<Error>),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A value of a run.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "most values are shared, and few live at a time")]
enum Slot {
    /// One for the whole batch.
    Shared(Value),
    /// One for each image, in a graph that takes one at a time.
    Each(Vec<Value>),
}

impl Slot {
    fn for_image(&self, index: usize) -> &Value {
        match self {
            Self::Shared(value) => value,
            Self::Each(values) => &values[index % values.len()],
        }
    }

    fn images(&self) -> usize {
        match self {
            Self::Shared(_) => 0,
            Self::Each(values) => values.len(),
        }
    }

    fn elements(&self) -> usize {
        let count = |value: &Value| value.shape().iter().product::<usize>();
        match self {
            Self::Shared(value) => count(value),
            Self::Each(values) => values.iter().map(count).sum(),
        }
    }
}

/// The state of a run.
struct Run<'a> {
    graph: &'a Graph,
    slots: Vec<Option<Slot>>,
    /// How often each value is still needed.
    uses: Vec<usize>,
    held: usize,
    batch: usize,
    /// Whether a replacement may have made the batch larger.
    widened: bool,
    /// The layers that must be met as they are, if not all of them.
    wanted: Option<HashSet<String>>,
    /// The sizes of the maps that were met, `[channels, height, width]`, the last one at the end.
    maps: Vec<[usize; 3]>,
}

impl Graph {
    /// Runs what `taps` want.
    pub(super) fn run(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Halt> {
        let (wants, names) = taps.wants();
        let mut targets: Vec<usize> = Vec::new();
        for name in names {
            let of_class = || self.layers.get(name.strip_suffix(CLASS)?);
            match self.layers.get(name).or_else(of_class) {
                Some(node) => targets.push(*node),
                None => {
                    // The error lists what there is.
                    for name in self.nodes.iter().filter(|node| node.live).flat_map(|node| &node.names) {
                        taps.pass(name);
                    }
                    return Ok(());
                }
            }
        }
        let wanted = names.iter().cloned().collect::<HashSet<_>>();
        let everything = matches!(wants, Wants::Everything);
        match wants {
            Wants::Layers => {}
            Wants::Output => targets.extend(self.output_node()),
            Wants::Run => targets.extend((0..self.nodes.len()).filter(|node| !self.blocked[*node])),
            Wants::Everything => targets.extend((0..self.nodes.len()).filter(|node| !self.blocked[*node])),
        }
        if !matches!(wants, Wants::Layers) {
            targets.extend(self.output_node());
        }
        let several = image.dims()[0] > 1 || taps.replaces();
        let apart = several && !*self.batches.get_or_init(|| self.takes_batches().unwrap_or(false));
        let wanted = (!everything).then_some(wanted);
        self.run_to(&targets, self.slots(image, apart)?, wanted, taps).map(drop)
    }

    /// The outputs for given values, for tests of operations.
    #[cfg(test)]
    pub(super) fn evaluate(&self, given: Vec<(usize, Value)>) -> Result<Vec<Value>, String> {
        let mut slots: Vec<Option<Slot>> =
            self.constants.iter().map(|constant| constant.clone().map(Slot::Shared)).collect();
        for (value, given) in given {
            slots[value] = Some(Slot::Shared(given));
        }
        let targets: Vec<usize> = (0..self.nodes.len()).collect();
        let run = self.run_to(&targets, (slots, 1), Some(HashSet::new()), &mut Taps::new());
        let run = run.map_err(|halt| match halt {
            Halt::Failed(error) => error.to_string(),
            Halt::Stop(_) => "stopped".to_owned(),
        })?;
        let output = |value: &usize| match &run.slots[*value] {
            Some(Slot::Shared(value)) => Ok(value.clone()),
            _ => Err("an output is missing".to_owned()),
        };
        self.outputs.iter().map(output).collect()
    }

    /// The node that makes the first output.
    fn output_node(&self) -> Option<usize> {
        let output = self.outputs.first()?;
        self.nodes.iter().rposition(|node| node.outputs.contains(&Some(*output)))
    }

    /// The values before the first node.
    fn slots(&self, image: Tensor<4>, apart: bool) -> Result<(Vec<Option<Slot>>, usize), Halt> {
        let batch = image.dims()[0];
        let image = self.preprocessing.forward(image)?;
        let mut slots: Vec<Option<Slot>> =
            self.constants.iter().map(|constant| constant.clone().map(Slot::Shared)).collect();
        let arranged = |image: Tensor<4>| -> Result<Value> {
            let [batch, channels, height, width] = image.dims();
            let image = Real::from_tensor(image);
            let arranged = match self.image.layout {
                Layout::ChannelsFirst => Ok(image),
                Layout::ChannelsLast => Ok(image.transpose(&[0, 2, 3, 1])),
                Layout::Grey => image.reshape(&[batch, height, width]),
                Layout::Signal => image.reshape(&[batch, channels, height * width]),
                Layout::Features => image.reshape(&[batch, channels * height * width]),
            };
            arranged.map(Value::from).map_err(|reason| Error::Graph { node: "the input".into(), reason })
        };
        let slot = if apart {
            let one = |index: usize| arranged(image.clone().narrow(0, index, 1));
            Slot::Each((0..batch).map(one).collect::<Result<_>>()?)
        } else {
            Slot::Shared(arranged(image)?)
        };
        if let Some(place) = slots.get_mut(self.image.value) {
            *place = Some(slot);
        }
        Ok((slots, batch))
    }

    /// Whether two images in a batch give what they give apart.
    fn takes_batches(&self) -> Option<bool> {
        let [channels, height, width] = self.input.shape();
        let pair = crate::random::noise([2, channels, height, width], self.input.range(), 7, 0, &self.device);
        let results = |apart: bool| -> Option<Vec<Vec<f32>>> {
            let targets: Vec<usize> = self.output_node().into_iter().collect();
            let slots = self.slots(pair.clone(), apart).ok()?;
            let mut taps = Taps::new();
            let run = self.run_to(&targets, slots, Some(HashSet::new()), &mut taps).ok()?;
            let output = run.slots.get(*self.outputs.first()?)?.as_ref()?;
            Some(match output {
                Slot::Shared(value) => {
                    let values = value.host().to_floats();
                    (value.shape().first() == Some(&2))
                        .then(|| values.chunks(values.len() / 2).map(<[f32]>::to_vec).collect())?
                }
                Slot::Each(values) => values.iter().map(|value| value.host().to_floats()).collect(),
            })
        };
        let (together, apart) = (results(false)?, results(true)?);
        let largest = apart.iter().flatten().fold(0f32, |largest, value| largest.max(value.abs()));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * largest;
        let same = |(a, b): (&Vec<f32>, &Vec<f32>)| a.len() == b.len() && a.iter().zip(b).all(close);
        Some(together.len() == apart.len() && together.iter().zip(&apart).all(same))
    }

    /// Runs what some nodes depend on, and them.
    fn run_to(
        &self,
        targets: &[usize],
        (slots, batch): (Vec<Option<Slot>>, usize),
        wanted: Option<HashSet<String>>,
        taps: &mut Taps,
    ) -> Result<Run<'_>, Halt> {
        let mut needed = vec![false; self.nodes.len()];
        for target in targets {
            needed[*target] = true;
        }
        let mut of_value = vec![false; slots.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if needed[index] || node.outputs.iter().flatten().any(|value| of_value[*value]) {
                needed[index] = true;
                for value in node.inputs.iter().flatten() {
                    of_value[*value] = true;
                }
            }
        }
        let mut uses = vec![0; slots.len()];
        let order = (0..self.nodes.len()).filter(|index| needed[*index]);
        for value in order.flat_map(|index| self.nodes[index].inputs.iter().flatten()) {
            uses[*value] += 1;
        }
        for output in &self.outputs {
            uses[*output] += 1;
        }
        let mut run = Run {
            graph: self,
            slots,
            uses,
            held: 0,
            batch,
            widened: taps.replaces(),
            wanted,
            maps: Vec::new(),
        };
        let mut done = vec![false; self.nodes.len()];
        for index in 0..self.nodes.len() {
            if !needed[index] || done[index] {
                continue;
            }
            let node = &self.nodes[index];
            if let Some(rest) = run.folded(node, &needed) {
                run.node_with(node, rest, taps)?;
                rest.iter().for_each(|index| done[*index] = true);
            } else if let Some(fused) = run.fused(node, &needed) {
                run.node_as(node, fused, taps)?;
                fused.nodes.iter().for_each(|index| done[*index] = true);
            } else {
                run.node(node, taps)?;
            }
        }
        Ok(run)
    }
}

impl<'a> Run<'a> {
    /// The nodes after a convolution that are computed with it, if nothing between them is wanted.
    fn folded(&self, node: &'a Node, needed: &[bool]) -> Option<&'a [usize]> {
        let Operation::Convolution(conv) = &node.operation else { return None };
        let nodes = &conv.folded.as_ref()?.nodes;
        self.hides(node, nodes, needed).then_some(nodes)
    }

    /// What a node and those after it are computed as, if nothing between them is wanted.
    fn fused(&self, node: &'a Node, needed: &[bool]) -> Option<&'a Fused> {
        let fused = node.fused.as_ref()?;
        (fused.nodes.is_empty() || self.hides(node, &fused.nodes, needed)).then_some(fused)
    }

    /// Whether the last of some nodes is needed and nobody wants to see the others and the one before them.
    fn hides(&self, node: &Node, nodes: &[usize], needed: &[bool]) -> bool {
        let (Some(wanted), Some((_, between))) = (&self.wanted, nodes.split_last()) else { return false };
        let mut hidden = between.iter().map(|index| &self.graph.nodes[*index]).chain([node]);
        nodes.iter().all(|index| needed[*index]) && !hidden.any(|node| wanted.contains(&node.names[0]))
    }

    /// A node and those after it, as one operation.
    fn node_as(&mut self, node: &'a Node, fused: &'a Fused, taps: &mut Taps) -> Result<(), Halt> {
        let outputs =
            self.compute(node, &fused.inputs, taps, |inputs, scope| fused.operation.run(inputs, scope))?;
        let mut last = node;
        for index in &fused.nodes {
            taps.pass(&last.names[0]);
            last = &self.graph.nodes[*index];
        }
        self.release(node);
        for index in &fused.nodes {
            self.release(&self.graph.nodes[*index]);
        }
        self.keep(last, outputs, taps)
    }

    /// A convolution and the nodes after it, in one.
    fn node_with(&mut self, node: &'a Node, rest: &[usize], taps: &mut Taps) -> Result<(), Halt> {
        let (Operation::Convolution(conv), Some((last, between))) = (&node.operation, rest.split_last())
        else {
            return Ok(());
        };
        let Some(folded) = &conv.folded else { return Ok(()) };
        taps.pass(&node.names[0]);
        for index in between {
            taps.pass(&self.graph.nodes[*index].names[0]);
        }
        let last = &self.graph.nodes[*last];
        let outputs = self.compute(node, &node.inputs, taps, |inputs, scope| {
            let inputs = super::operations::Inputs::new(inputs, &self.graph.device);
            conv.run_folded(folded, inputs, scope).map(|value| vec![value])
        })?;
        self.release(node);
        for index in rest {
            // What lies between was never made.
            for value in self.graph.nodes[*index].inputs.iter().flatten() {
                self.uses[*value] = self.uses[*value].saturating_sub(1);
            }
        }
        self.keep(last, outputs, taps)
    }

    fn node(&mut self, node: &'a Node, taps: &mut Taps) -> Result<(), Halt> {
        let outputs = match &node.operation {
            Operation::If(branches) => {
                let condition =
                    node.inputs.first().copied().flatten().and_then(|value| self.slots[value].as_ref());
                let conditions = condition.map(|slot| {
                    let holds =
                        |index| slot.for_image(index).host().to_bools().first().copied().unwrap_or(false);
                    (0..slot.images().max(1)).map(holds).collect::<Vec<_>>()
                });
                let conditions = conditions.unwrap_or_default();
                if conditions.windows(2).any(|pair| pair[0] != pair[1]) || conditions.is_empty() {
                    return Err(failure(node, "the images of a batch take different branches".into()).into());
                }
                let block = if conditions[0] { &branches.yes } else { &branches.no };
                self.block(block, node, taps)?
            }
            operation => {
                self.compute(node, &node.inputs, taps, |inputs, scope| operation.run(inputs, scope))?
            }
        };
        self.release(node);
        self.keep(node, outputs, taps)
    }

    fn block(&mut self, block: &'a Block, of: &Node, taps: &mut Taps) -> Result<Vec<Slot>, Halt> {
        for node in &block.nodes {
            for value in node.inputs.iter().flatten() {
                self.uses[*value] += 1;
            }
        }
        for output in &block.outputs {
            self.uses[*output] += 1;
        }
        for node in &block.nodes {
            self.node(node, taps)?;
        }
        let missing = || Halt::from(failure(of, "a branch lacks an output".into()));
        block.outputs.iter().map(|value| self.slots[*value].clone().ok_or_else(missing)).collect()
    }

    /// The outputs of a node, for the batch or for each of its images.
    fn compute(
        &self,
        node: &Node,
        values: &[Option<usize>],
        taps: &mut Taps,
        operation: impl Fn(&[Option<Value>], &mut Scope) -> Result<Vec<Value>, String>,
    ) -> Result<Vec<Slot>, Halt> {
        let graph = self.graph;
        let mut inputs = Vec::with_capacity(values.len());
        for input in values {
            inputs.push(match input {
                Some(value) => match &self.slots[*value] {
                    Some(slot) => Some(slot),
                    None => return Err(failure(node, "an input was never computed".into()).into()),
                },
                None => None,
            });
        }
        let images = inputs.iter().flatten().map(|slot| slot.images()).max().unwrap_or(0);
        let batch = if node.live && images == 0 { self.batch } else { 1 };
        let mut scope =
            Scope { device: &graph.device, taps, limit: graph.limits.elements, host_limit: ON_HOST, batch };
        let mut once = |index: usize| {
            let inputs: Vec<_> =
                inputs.iter().map(|slot| slot.map(|slot| slot.for_image(index).clone())).collect();
            operation(&inputs, &mut scope).map_err(|reason| failure(node, reason))
        };
        if images == 0 {
            return Ok(once(0)?.into_iter().map(Slot::Shared).collect());
        }
        let mut outputs: Vec<Vec<Value>> = Vec::new();
        for index in 0..images {
            for (place, value) in once(index)?.into_iter().enumerate() {
                if outputs.len() <= place {
                    outputs.push(Vec::with_capacity(images));
                }
                outputs[place].push(value);
            }
        }
        Ok(outputs.into_iter().map(Slot::Each).collect())
    }

    /// Frees what no later node needs.
    fn release(&mut self, node: &Node) {
        for value in node.inputs.iter().flatten() {
            self.uses[*value] = self.uses[*value].saturating_sub(1);
            if self.uses[*value] == 0
                && let Some(slot) = self.slots[*value].take()
            {
                self.held = self.held.saturating_sub(slot.elements());
            }
        }
    }

    /// Shows the outputs of a node, and keeps them as long as they are needed.
    fn keep(&mut self, node: &Node, outputs: Vec<Slot>, taps: &mut Taps) -> Result<(), Halt> {
        if outputs.len() < node.outputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1) {
            return Err(failure(node, format!("it gives {} outputs only", outputs.len())).into());
        }
        for (place, slot) in outputs.into_iter().enumerate().take(node.outputs.len()) {
            let Some(value) = node.outputs[place] else { continue };
            let slot =
                if node.live { self.show(node, place, self.oriented(node, slot), taps)? } else { slot };
            self.held = self.held.saturating_add(slot.elements());
            if self.held > self.graph.limits.held {
                let reason = format!("more than {} elements are held at once", self.graph.limits.held);
                return Err(failure(node, reason).into());
            }
            if self.uses[value] > 0 {
                self.slots[value] = Some(slot);
            } else {
                self.held = self.held.saturating_sub(slot.elements());
            }
        }
        Ok(())
    }
}
