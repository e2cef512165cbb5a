//! Reads weights that are spread over several files, by the index beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde_json::Value;

use super::container::Container;
use super::malformed;
use super::source::Files;
use crate::{Error, Result};

/// Longer indices than this are those of no network: a million tensors take half of it.
const LONGEST_INDEX: u64 = 100_000_000;

/// The tensors of all files that the index names. They lie beside it: other places are refused.
pub(super) fn read(path: &Path) -> Result<Files> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut text = Vec::new();
    file.take(LONGEST_INDEX + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
    if text.len() as u64 > LONGEST_INDEX {
        return Err(malformed(path, "it is too long for an index of files"));
    }
    let places = parse(&text).map_err(|reason| malformed(path, reason))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut whole = Files::default();
    for name in places.values().collect::<BTreeSet<_>>() {
        let shard = folder.join(name);
        let container = Container::of(&shard)?;
        if container == Container::Index {
            return Err(malformed(&shard, "it is an index itself"));
        }
        let mut files = Files::open(&shard, container)?;
        files.tensors.retain(|stored| places.get(&stored.name) == Some(name));
        whole.tensors.append(&mut files.tensors);
        whole.copies.append(&mut files.copies);
    }
    let there: BTreeSet<&str> = whole.tensors.iter().map(|stored| stored.name.as_str()).collect();
    match places.iter().find(|(name, _)| !there.contains(name.as_str())) {
        Some((name, shard)) => Err(malformed(path, format!("{name} is not in {shard}"))),
        None => Ok(whole),
    }
}

/// In which file each tensor is.
fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let index: Value = serde_json::from_slice(text)
        .map_err(|error| format!("it is neither weights nor an index of them: {error}"))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or("it is a text of JSON without a `weight_map`, so no index of weights")?;
    let place = |(name, file): (&String, &Value)| {
        let file = file.as_str().ok_or_else(|| format!("the file of {name} is no text"))?;
        let mut parts = Path::new(file).components();
        let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        // A name on one system may be a path on another.
        if !is_name || file.contains(['/', '\\', ':', '\0']) {
            return Err(format!("the file of {name}, {file:?}, is not one beside the index"));
        }
        Ok((name.clone(), file.to_owned()))
    };
    map.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_index_are_named() {
        let index = |file: &str| serde_json::json!({"weight_map": {"a": file}}).to_string();
        let places = parse(index("model-00001-of-00002.safetensors").as_bytes()).unwrap();
        assert_eq!(places["a"], "model-00001-of-00002.safetensors");
        for outside in [
            "../a.safetensors",
            "/etc/passwd",
            "sub/a",
            "./a",
            "..",
            ".",
            "",
            "a/",
            "C:\\a",
            "C:a",
            "..\\a",
            "a\0b",
        ] {
            let error = parse(index(outside).as_bytes()).unwrap_err();
            assert!(error.contains("is not one beside the index"), "{outside}: {error}");
        }
    }

    #[test]
    fn what_is_no_index_says_so() {
        for text in ["{}", r#"{"weight_map": 3}"#, r#"{"weight_map": {"a": 3}}"#, "{", "{\"a\": 1}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(&b"[".repeat(100_000)).is_err(), "deeply nested");
    }
}
