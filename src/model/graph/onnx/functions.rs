//! Functions that a file defines: their bodies take the place of the nodes that call them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use rten_onnx::onnx::{AttributeProto, NodeProto, OperatorSetIdProto};
use rten_onnx::protobuf::{DecodeMessage, OwnedValues, ValueReader};

use super::super::Node;
use super::wire::Fields;
use super::{Reader, names};

/// A function, which is called like an operator.
pub(super) struct Function {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// The opset of ONNX that its body is written in.
    opset: Option<i64>,
    nodes: Vec<BodyNode>,
    /// The attributes that a caller may leave out.
    defaults: Vec<AttributeProto>,
}

/// A node of a body.
struct BodyNode {
    node: NodeProto,
    /// The attributes that are those of the caller: their name here, and there.
    given: Vec<(String, String)>,
}

/// The functions of a file by domain and name.
pub(super) type Functions = HashMap<(String, String), Function>;

/// What stands between an operator of a body and what is wrong with it.
const INSIDE: &str = " in its body: ";
/// How deep calls may be nested.
const DEPTH: usize = 64;

/// Reads the functions at some places of a file.
pub(super) fn functions(bytes: &[u8], places: &[Range<usize>]) -> Result<Functions, String> {
    let mut functions = Functions::new();
    for place in places {
        let text = |range: Range<usize>| String::from_utf8_lossy(&bytes[range]).into_owned();
        let mut function = Function {
            inputs: Vec::new(),
            outputs: Vec::new(),
            opset: None,
            nodes: Vec::new(),
            defaults: Vec::new(),
        };
        let (mut domain, mut name) = (String::new(), String::new());
        let mut written_in = Vec::new();
        for field in Fields::new(bytes, place.clone()) {
            let Some(range) = field.bytes else { continue };
            match field.number {
                1 => name = text(range),
                4 => function.inputs.push(text(range)),
                5 => function.outputs.push(text(range)),
                7 => function.nodes.push(body_node(bytes, range)?),
                9 => written_in.push(decoded::<OperatorSetIdProto>(&bytes[range])?),
                10 => domain = text(range),
                11 => function.defaults.push(decoded(&bytes[range])?),
                13 if !text(range.clone()).is_empty() => {
                    return Err(format!("function `{name}` has an overload, {}", text(range)));
                }
                _ => {}
            }
        }
        let of_onnx =
            |set: &&OperatorSetIdProto| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
        function.opset = written_in.iter().find(of_onnx).and_then(|set| set.version);
        if functions.insert((domain, name.clone()), function).is_some() {
            return Err(format!("function `{name}` is defined twice"));
        }
    }
    Ok(functions)
}

fn decoded<T: DecodeMessage<Types = OwnedValues>>(bytes: &[u8]) -> Result<T, String> {
    T::decode(ValueReader::from_buf(bytes)).map_err(|error| error.to_string())
}

fn body_node(bytes: &[u8], range: Range<usize>) -> Result<BodyNode, String> {
    let mut given = Vec::new();
    let attributes = Fields::new(bytes, range.clone()).filter(|field| field.number == 5);
    for attribute in attributes.filter_map(|field| field.bytes) {
        let (mut here, mut there) = (None, None);
        for field in Fields::new(bytes, attribute) {
            let text = field.bytes.map(|range| String::from_utf8_lossy(&bytes[range]).into_owned());
            match field.number {
                1 => here = text,
                21 => there = text.filter(|name| !name.is_empty()),
                _ => {}
            }
        }
        given.extend(here.zip(there));
    }
    Ok(BodyNode { node: decoded(&bytes[range])?, given })
}

impl BodyNode {
    /// The node for a caller: with its attributes, and without the inputs that it leaves out.
    fn of(&self, caller: &NodeProto, function: &Function, absent: &HashSet<&str>) -> NodeProto {
        let mut node = self.node.clone();
        node.attribute.retain_mut(|attribute| {
            let name = attribute.name.clone().unwrap_or_default();
            let Some((_, there)) = self.given.iter().find(|(here, _)| *here == name) else { return true };
            let is_it = |attribute: &&AttributeProto| attribute.name.as_ref() == Some(there);
            match caller.attribute.iter().find(is_it).or_else(|| function.defaults.iter().find(is_it)) {
                Some(value) => {
                    *attribute = AttributeProto { name: Some(name), ..value.clone() };
                    true
                }
                None => false,
            }
        });
        for input in node.input.iter_mut().filter(|input| absent.contains(input.as_str())) {
            input.clear();
        }
        node
    }
}

impl Reader<'_> {
    /// Adds the body of a function in place of the node that calls it.
    pub(super) fn call(
        &mut self,
        function: &Function,
        caller: &NodeProto,
        name: &str,
        inputs: &[Option<usize>],
        branch: Option<&mut Vec<Node>>,
    ) -> Result<(), String> {
        if inputs.len() > function.inputs.len() || caller.output.len() > function.outputs.len() {
            return Err("it has more inputs or outputs than the function that it calls".into());
        }
        if self.calls >= DEPTH {
            return Err(format!("calls of functions are nested deeper than {DEPTH}"));
        }
        let formal = function.inputs.iter().enumerate();
        let given = |index: usize| inputs.get(index).copied().flatten();
        let absent: HashSet<&str> = formal
            .clone()
            .filter(|(index, _)| given(*index).is_none())
            .map(|(_, name)| name.as_str())
            .collect();
        let scope = formal.filter_map(|(index, name)| Some((name.clone(), given(index)?))).collect();
        // A body sees nothing of what is around the call.
        let outside = std::mem::replace(&mut self.scopes, vec![scope]);
        let inside = function.opset.unwrap_or(self.opset);
        let opset = std::mem::replace(&mut self.opset, inside);
        self.calls += 1;
        let outputs = self.body(function, caller, name, &absent, branch);
        self.calls -= 1;
        self.opset = opset;
        self.scopes = outside;
        for (output, value) in caller.output.iter().zip(outputs?) {
            if !output.is_empty() {
                self.define(output, value)?;
            }
        }
        Ok(())
    }

    fn body(
        &mut self,
        function: &Function,
        caller: &NodeProto,
        name: &str,
        absent: &HashSet<&str>,
        mut branch: Option<&mut Vec<Node>>,
    ) -> Result<Vec<usize>, String> {
        let nodes: Vec<NodeProto> =
            function.nodes.iter().map(|node| node.of(caller, function, absent)).collect();
        let inner = names::names(&nodes, &[], &HashSet::new());
        for (index, (node, inner)) in nodes.iter().zip(inner).enumerate() {
            self.called += 1;
            if self.called > self.most_called {
                return Err(format!("functions would become more than {} nodes", self.most_called));
            }
            // The last of the body is what the call gives.
            let name = if index + 1 == nodes.len() { name.to_owned() } else { format!("{name}.{inner}") };
            self.node(node, &name, branch.as_deref_mut()).map_err(|reason| {
                match reason.contains(INSIDE) {
                    true => reason, // of a call within this one
                    false => format!("{}{INSIDE}{reason}", node.op_type.as_deref().unwrap_or_default()),
                }
            })?;
        }
        let found = function.outputs.iter().map(|output| {
            self.find(output).ok_or_else(|| format!("output `{output}` of a function is computed nowhere"))
        });
        found.collect()
    }
}
