//! The names of nodes as the author of the network knows them.
//!
//! | exporter | in the file | the layer |
//! | --- | --- | --- |
//! | PyTorch, legacy | `/layer4/layer4.2/conv3/Conv` | `layer4.2.conv3` |
//! | PyTorch, dynamo | `node_conv2d_3` at weights `layer4.2.conv3.weight`, or with a namespace | `layer4.2.conv3` |
//! | Keras, TensorFlow | `StatefulPartitionedCall/model/conv2d/Conv2D` | `model/conv2d/Conv2D` |
//! | without names of nodes | an output `conv2d_57.tmp_0` | `conv2d_57.tmp_0` |

use std::collections::{HashMap, HashSet};

use rten_onnx::onnx::NodeProto;

/// A name for each node.
pub(super) fn names(
    nodes: &[NodeProto],
    scopes: &[Option<Vec<String>>],
    weights: &HashSet<&str>,
) -> Vec<String> {
    let legacy = |node: &NodeProto| node.name.as_deref().is_some_and(|name| name.starts_with('/'));
    let mut paths: Vec<Option<(String, String)>> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let given = node.name.as_deref().unwrap_or_default();
        let noted = scopes.get(index).and_then(Option::as_ref).and_then(|scope| noted_path(scope));
        paths.push(if let Some(path) = noted {
            Some(path)
        } else if legacy(node) {
            legacy_path(given)
        } else if given.starts_with("node_") || given.is_empty() {
            weights_path(node, weights)
        } else {
            None
        });
    }
    // A module that only one node, or several in a row, belong to gives its name to the last of them.
    let mut inner: HashSet<&str> = HashSet::new();
    for (path, _) in paths.iter().flatten() {
        let mut rest = path.as_str();
        while let Some((outer, _)) = rest.rsplit_once('.') {
            if !inner.insert(outer) {
                break;
            }
            rest = outer;
        }
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, path) in paths.iter().enumerate() {
        if let (Some((path, _)), false) = (path, nodes[index].op_type.as_deref() == Some("Constant")) {
            last.insert(path, index);
        }
    }
    let prefix = common_scope(nodes);
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| match &paths[index] {
            Some((path, _))
                if !path.is_empty()
                    && last.get(path.as_str()) == Some(&index)
                    && !inner.contains(path.as_str()) =>
            {
                path.clone()
            }
            Some((path, own)) if path.is_empty() => own.clone(),
            Some((path, own)) => format!("{path}.{own}"),
            None => plain(node, prefix),
        })
        .collect()
}

/// The module path and the node's own name, of the scopes noted at it: the last is the operation.
fn noted_path(scope: &[String]) -> Option<(String, String)> {
    let (own, modules) = scope.split_last()?;
    let mut path = String::new();
    for name in modules.iter().filter(|name| !name.is_empty()) {
        // Names are whole paths, or come below one.
        path = if path.is_empty() || name.starts_with(&format!("{path}.")) {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
    }
    Some((path, own.clone()))
}

/// Of `/layer4/layer4.2/conv3/Conv`: `layer4.2.conv3` and `Conv`.
fn legacy_path(name: &str) -> Option<(String, String)> {
    let mut parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let own = parts.pop()?;
    let mut path = String::new();
    let mut last = "";
    for part in parts {
        // A child of a list repeats the name of the list.
        if !last.is_empty() && part.starts_with(last) && part[last.len()..].starts_with('.') {
            path.push_str(&part[last.len()..]);
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
        last = part;
    }
    Some((path, own.to_owned()))
}

/// The module whose weights a node takes.
fn weights_path(node: &NodeProto, weights: &HashSet<&str>) -> Option<(String, String)> {
    let weight =
        node.input.iter().skip(1).find(|input| weights.contains(input.as_str()) && !input.contains("::"))?;
    let (path, last) = weight.rsplit_once('.')?;
    let known = matches!(last, "weight" | "bias" | "w" | "b" | "gamma" | "beta" | "running_mean");
    known.then(|| (path.to_owned(), node.op_type.clone().unwrap_or_default()))
}

/// The scopes that all nodes with scopes share, such as `StatefulPartitionedCall/`.
fn common_scope(nodes: &[NodeProto]) -> &str {
    let call = "StatefulPartitionedCall/";
    let any = nodes.iter().any(|node| node.name.as_deref().is_some_and(|name| name.starts_with(call)));
    if any { call } else { "" }
}

/// The name as it stands, or that of the output.
fn plain(node: &NodeProto, prefix: &str) -> String {
    let named = node.name.as_deref().filter(|name| !name.is_empty());
    let name = named.or(node.output.first().map(String::as_str)).unwrap_or("node");
    let inner = if prefix.is_empty() { name.strip_prefix("node_") } else { name.strip_prefix(prefix) };
    inner.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, kind: &str, inputs: &[&str]) -> NodeProto {
        NodeProto {
            name: Some(name.into()),
            op_type: Some(kind.into()),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![format!("{name}_out")],
            ..Default::default()
        }
    }

    #[test]
    fn the_legacy_exporters_scopes_become_module_paths() {
        let nodes = [
            node("/layer4/layer4.2/conv3/Conv", "Conv", &["x", "w"]),
            node("/layer4/layer4.2/Add", "Add", &["x", "y"]),
            node("/layer4/layer4.2/relu_1/Relu", "Relu", &["x"]),
            node("/features/features.1/block/block.0/block.0.2/Relu", "Relu", &["x"]),
            node("/Flatten", "Flatten", &["x"]),
            node("/act/Div", "Div", &["x", "y"]),
            node("/act/Erf", "Erf", &["x"]),
        ];
        let names = names(&nodes, &[], &HashSet::new());
        let expected = [
            "layer4.2.conv3",
            "layer4.2.Add",
            "layer4.2.relu_1",
            "features.1.block.0.2",
            "Flatten",
            "act.Div",
            "act",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_dynamo_exporters_nodes_are_named_by_their_weights_or_their_namespace() {
        let nodes = [
            node("node_conv2d_3", "Conv", &["x", "layer4.2.conv3.weight"]),
            node("node_relu_3", "Relu", &["x"]),
            node("n4", "Clip", &["x"]),
        ];
        let weights = HashSet::from(["layer4.2.conv3.weight"]);
        let scope = ["", "blocks.0", "blocks.0.act", "hardtanh"].map(str::to_owned).to_vec();
        let names = names(&nodes, &[None, None, Some(scope)], &weights);
        assert_eq!(names, ["layer4.2.conv3", "relu_3", "blocks.0.act"]);
    }

    #[test]
    fn scopes_of_tensorflow_are_kept_and_a_call_around_all_is_left_out() {
        let nodes =
            [node("StatefulPartitionedCall/model/conv2d/Conv2D", "Conv", &["x"]), node("", "Relu", &["x"])];
        assert_eq!(names(&nodes, &[], &HashSet::new()), ["model/conv2d/Conv2D", "_out"]);
    }
}
