//! The names of tensors without what wraps them.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::Stored;

/// The tensors of a file by the names that their network gives them.
pub(super) struct Names {
    pub(super) tensors: BTreeMap<String, Stored>,
    /// What stood before every name in the file, with its last point; empty if nothing did.
    pub(super) dropped: String,
}

/// Modules that wrap a part of a network without being one of its layers, wherever they stand in a name.
const TRANSPARENT: &[&str] =
    &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

/// Keys of a checkpoint that hold a network, and attributes that wrap one.
const WRAPPERS: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model_state",
    "net_state_dict",
    "network_state_dict",
    "module",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "online_model",
    "student",
    "backbone",
];

/// Keys of a checkpoint that hold a network whose weights are means over the training; taken when there is no other.
const AVERAGES: &[&str] = &[
    "ema",
    "ema_model",
    "ema_state_dict",
    "model_ema",
    "model_ema_state_dict",
    "state_dict_ema",
    "params_ema",
    "module_ema",
    "swa_model",
    "teacher",
];

/// Beginnings of keys that hold what a training needs besides the network.
const OF_TRAINING: &[&str] = &[
    "optim",
    "scheduler",
    "lr_sched",
    "scaler",
    "grad_scaler",
    "amp",
    "criterion",
    "loss",
    "callbacks",
    "rng",
    "loops",
    "hparams",
    "hyper_parameters",
    "config",
    "args",
    "epoch",
    "global_step",
    "iteration",
    "best_",
    "train_",
    "val_",
    "test_",
    "metric",
];

/// Buffers that count or index and that no network is made of.
const BOOKKEEPING: &[&str] = &[
    "num_batches_tracked",
    "position_ids",
    "token_type_ids",
    "relative_position_index",
    "relative_coords_table",
    "n_averaged",
    "num_updates",
    "decay",
    "initted",
    "step",
    "total_ops",
    "total_params",
];

/// Whether a tensor is known to be no weight, so that a network need not use it.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    BOOKKEEPING.contains(&name.rsplit('.').next().unwrap_or(name))
}

impl Names {
    /// Finds what stands before every name, and drops it: keys of a checkpoint, wrappers, and one common beginning. What
    /// a checkpoint holds besides its network is dropped with it.
    pub(super) fn new(stored: Vec<Stored>) -> Self {
        let mut tensors: BTreeMap<String, Stored> =
            stored.into_iter().map(|stored| (stored.name.clone(), stored)).collect();
        let mut dropped = transparent(&mut tensors);
        while let Some((prefix, rest)) = wrapper(&tensors) {
            tensors.retain(|name, _| name.starts_with(&prefix) || (!rest && is_bookkeeping(name)));
            let unwrapped = |name: String| name.strip_prefix(&prefix).map(str::to_owned).unwrap_or(name);
            tensors = tensors.into_iter().map(|(name, stored)| (unwrapped(name), stored)).collect();
            dropped.push_str(&prefix);
        }
        Self { tensors, dropped }
    }

    /// The tensor of this name, which may still have what was dropped before it.
    pub(super) fn get(&self, name: &str) -> Option<(&str, &Stored)> {
        let found = |name| self.tensors.get_key_value(name).map(|(name, stored)| (name.as_str(), stored));
        found(name).or_else(|| self.short(name).find_map(found))
    }

    /// Whether a tensor is one of a layer, or of a layer of a block.
    pub(super) fn belongs(&self, tensor: &str, layer: &str) -> bool {
        let is_of = |layer: &str| tensor.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'));
        is_of(layer) || self.short(layer).any(is_of)
    }

    /// The name without the whole of what was dropped, or the end of it.
    fn short<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let starts = std::iter::once(0).chain(self.dropped.match_indices('.').map(|(at, _)| at + 1));
        starts
            .map(|start| &self.dropped[start..])
            .filter(|end| !end.is_empty())
            .filter_map(move |end| name.strip_prefix(end))
    }
}

/// Takes the transparent modules out of every name, unless two names became one. Gives those that stood before all.
fn transparent(tensors: &mut BTreeMap<String, Stored>) -> String {
    let is_transparent = |part: &&str| TRANSPARENT.contains(part);
    let without =
        |name: &str| name.split('.').filter(|part| !is_transparent(part)).collect::<Vec<_>>().join(".");
    let names: BTreeSet<String> = tensors.keys().map(|name| without(name)).collect();
    if names.len() < tensors.len() {
        return String::new();
    }
    let leading = |name: &str| -> String {
        let parts = name.split('.').take_while(is_transparent);
        parts.map(|part| format!("{part}.")).collect()
    };
    let before = tensors.keys().map(|name| leading(name)).min_by_key(String::len).unwrap_or_default();
    let all = std::mem::take(tensors);
    *tensors = all.into_iter().map(|(name, stored)| (without(&name), stored)).collect();
    before
}

/// The outermost wrapper of a network, and whether there is something else beside it that belongs to the training.
fn wrapper(tensors: &BTreeMap<String, Stored>) -> Option<(String, bool)> {
    let firsts: BTreeSet<&str> = tensors
        .keys()
        .filter(|name| {
            !is_bookkeeping(name) || name.split('.').next().is_some_and(|key| WRAPPERS.contains(&key))
        })
        .map(|name| name.split_once('.').map_or(name.as_str(), |(first, _)| first))
        .collect();
    let has_children = |key: &str| {
        let prefix = format!("{key}.");
        tensors.keys().all(|name| name != key) && tensors.keys().any(|name| name.starts_with(&prefix))
    };
    // A key that says itself that it holds the weights, whatever stands beside it.
    let outspoken = ["state_dict", "model_state_dict", "net_state_dict", "network_state_dict"];
    if let Some(key) = outspoken.into_iter().find(|key| firsts.contains(key) && has_children(key)) {
        return Some((format!("{key}."), firsts.len() > 1));
    }
    let of_training = |key: &str| OF_TRAINING.iter().any(|begin| key.starts_with(begin));
    let rest = |without: &dyn Fn(&str) -> bool| -> Vec<&str> {
        firsts.iter().copied().filter(|key| !without(key)).collect()
    };
    for (without, keys) in [
        (&(|key: &str| of_training(key) || AVERAGES.contains(&key)) as &dyn Fn(&str) -> bool, WRAPPERS),
        (&of_training, AVERAGES),
    ] {
        if let [key] = rest(without)[..]
            && keys.contains(&key)
            && has_children(key)
        {
            return Some((format!("{key}."), firsts.len() > 1));
        }
    }
    // Some other attribute that holds all of the network: not a layer, whose parts would be leaves or numbers.
    let [key] = rest(&|_| false)[..] else { return None };
    let is_part = |name: &String| {
        let inner = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
        let child = inner.and_then(|inner| inner.split_once('.')).map(|(child, _)| child);
        child.is_some_and(|child| !child.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let all = tensors.keys().filter(|name| !is_bookkeeping(name)).all(is_part);
    all.then(|| (format!("{key}."), false))
}

#[cfg(test)]
mod tests {
    use super::super::stored::{Data, Element};
    use super::*;

    fn names(names: &[&str]) -> Names {
        let file = tempfile::tempfile().unwrap();
        let file = std::sync::Arc::new(std::sync::Mutex::new(file));
        let stored = |name: &&str| Stored {
            name: (*name).to_owned(),
            shape: vec![],
            element: Element::F32,
            data: Data::Bytes { file: file.clone(), range: 0..0 },
        };
        Names::new(names.iter().map(stored).collect())
    }

    #[track_caller]
    fn assert_names(before: &[&str], dropped: &str, after: &[&str]) {
        let names = names(before);
        assert_eq!(names.dropped, dropped);
        assert_eq!(names.tensors.keys().collect::<Vec<_>>(), after);
    }

    #[test]
    fn what_wraps_a_network_is_dropped() {
        for prefix in [
            "_orig_mod.",
            "module.",
            "_orig_mod.module.",
            "module._orig_mod.",
            "module.model.",
            "model.",
            "net.",
            "network.",
            "state_dict.",
            "state_dict.model.",
            "state_dict.net._orig_mod.",
            "model_state_dict.module.",
            "params.",
            "weights.",
            "ema.",
            "model_ema.module.",
            "params_ema.",
            "_forward_module.",
            "_fsdp_wrapped_module.",
            "cnn.",
            "state_dict.detector.backbone.",
        ] {
            let whole = [format!("{prefix}conv.weight"), format!("{prefix}features.0.bias")];
            let names = names(&[whole[0].as_str(), whole[1].as_str()]);
            assert_eq!(
                names.tensors.keys().collect::<Vec<_>>(),
                ["conv.weight", "features.0.bias"],
                "{prefix}"
            );
            // Asked for by its name in the file, in the network, or in between, a tensor is found.
            let inner = prefix.replace("_orig_mod.", "");
            let inner = if inner.starts_with('_') { "" } else { inner.as_str() };
            for name in ["conv.weight", &format!("{inner}conv.weight")] {
                let (_, stored) = names.get(name).unwrap_or_else(|| panic!("{prefix}: {name}"));
                assert_eq!(stored.name, whole[0]);
            }
            assert!(names.get("other.weight").is_none());
        }
    }

    #[test]
    fn layers_are_not_taken_for_wrappers() {
        for whole in [
            &["conv1.weight", "conv2.weight"][..],
            &["conv.bias", "conv.weight"],
            &["features.0.weight", "features.2.weight"],
            &["model.conv.weight", "head.weight"][..],
            &["net.0.weight", "other.0.weight"],
            &["loss.weight", "stem.weight"],
            &["block1_conv1/kernel", "block1_conv1/bias"],
            &["model", "net"],
            &[],
        ] {
            let mut sorted = whole.to_vec();
            sorted.sort_unstable();
            assert_names(whole, "", &sorted);
        }
    }

    #[test]
    fn a_checkpoint_gives_its_network_and_not_its_optimizer() {
        assert_names(
            &["model.conv.weight", "optimizer.state.0.exp_avg", "model_ema.conv.weight", "criterion.weight"],
            "model.",
            &["conv.weight"],
        );
        assert_names(
            &["state_dict.net.a.weight", "state_dict.net.b.weight", "anything.x", "other"],
            "state_dict.net.",
            &["a.weight", "b.weight"],
        );
        // The means are what is left.
        assert_names(
            &["ema.module.a.weight", "optimizer.x", "ema.decay"],
            "ema.module.",
            &["a.weight", "decay"],
        );
        // The counter of a mean over the training stands beside what it wraps.
        assert_names(&["n_averaged", "module.a.weight"], "module.", &["a.weight", "n_averaged"]);
        // Of two networks neither is chosen.
        let two = ["generator.a.weight", "discriminator.a.weight"];
        assert_names(&two, "", &["discriminator.a.weight", "generator.a.weight"]);
    }

    #[test]
    fn a_wrapper_within_a_name_is_taken_out_unless_two_names_became_one() {
        let names_of_compiled = ["a.weight", "b._orig_mod.0._checkpoint_wrapped_module.weight"];
        assert_names(&names_of_compiled, "", &["a.weight", "b.0.weight"]);
        let two = ["a._orig_mod.weight", "a.weight", "b.weight"];
        assert_names(&two, "", &two);
    }

    #[test]
    fn counters_and_indices_are_bookkeeping_whatever_layer_they_are_of() {
        for name in ["bn.num_batches_tracked", "n_averaged", "text.embeddings.position_ids", "a.b.total_ops"]
        {
            assert!(is_bookkeeping(name), "{name}");
        }
        for name in ["bn.running_mean", "position_embedding", "step.weight", ""] {
            assert!(!is_bookkeeping(name), "{name}");
        }
    }
}
