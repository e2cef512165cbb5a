//! What a file of weights is, by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::malformed;
use crate::{Error, Result};

/// The kinds of file that hold weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Safetensors,
    /// Names of tensors, and in which file each of them is.
    Index,
    /// A zip archive, which may be what `torch.save` writes.
    Zip,
    /// What older versions of `torch.save` wrote.
    Pickle,
}

/// First bytes of files that people take for weights.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\x89HDF", "an HDF5 file, as Keras writes; convert it to safetensors"),
    (b"GGUF", "a GGUF file, a quantised language model"),
    (b"\x93NUMPY", "a NumPy array (.npy); weights need names: convert it to safetensors"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"MATLAB", "a MATLAB file; convert it to safetensors"),
    (b"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` fetches the file itself"),
];

impl Container {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(Error::io("read", path))?;
        file.take(512).read_to_end(&mut head).map_err(Error::io("read", path))?;
        Self::by(&head).map_err(|reason| malformed(path, reason))
    }

    fn by(head: &[u8]) -> Result<Self, String> {
        if head.is_empty() {
            return Err("it is empty".to_owned());
        }
        // A safetensors file is the length of a JSON object in eight bytes and the object.
        let is_text =
            |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        if head.get(8) == Some(&b'{') && !is_text(&head[..8]) {
            return Ok(Self::Safetensors);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok(Self::Zip);
        }
        let pickle = matches!(head, [0x80, 1..=5, ..]);
        let tar = head.get(257..262) == Some(b"ustar");
        if pickle || tar {
            return Ok(Self::Pickle);
        }
        if let Some((_, what)) = OTHERS.iter().find(|(signature, _)| head.starts_with(signature)) {
            return Err(format!("it is {what}"));
        }
        if head.get(4..8) == Some(b"TFL3") {
            return Err("it is a TensorFlow Lite network, not its weights alone".to_owned());
        }
        // The version of the format, and the field after it.
        if let [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x2a | 0x3a | 0x42, ..] = head {
            return Err(
                "it is a network in protocol buffers (ONNX, TensorFlow), not its weights alone".to_owned()
            );
        }
        let text = head.trim_ascii_start().to_ascii_lowercase();
        if text.starts_with(b"{") {
            return Ok(Self::Index);
        }
        if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
            return Err("it is a web page; download the file that the page shows".to_owned());
        }
        Err("it is neither a safetensors file nor a PyTorch checkpoint".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kinds_apart() {
        assert_eq!(Container::by(b"\x10\0\0\0\0\0\0\0{\"a\":{}}"), Ok(Container::Safetensors));
        // A header of 123 bytes begins as JSON does.
        assert_eq!(Container::by(b"{\0\0\0\0\0\0\0{\"a\":{}}"), Ok(Container::Safetensors));
        // And a header of 128 bytes as a pickle does.
        assert_eq!(Container::by(b"\x80\x02\0\0\0\0\0\0{\"a\":{}}"), Ok(Container::Safetensors));
        assert_eq!(Container::by(b"{\"meta\": {\"a\": 1}}"), Ok(Container::Index));
        assert_eq!(Container::by(b"\n {\"weight_map\": {}}"), Ok(Container::Index));
        assert_eq!(Container::by(b"PK\x03\x04"), Ok(Container::Zip));
        assert_eq!(Container::by(b"\x80\x02."), Ok(Container::Pickle));
    }

    #[test]
    fn what_is_taken_for_weights_is_named() {
        for (head, what) in [
            (b"\x89HDF\r\n".as_slice(), "HDF5"),
            (b"GGUF\x03", "GGUF"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
            (b"", "empty"),
            (b"plain text", "neither"),
        ] {
            let reason = Container::by(head).unwrap_err();
            assert!(reason.contains(what), "{reason}");
        }
    }
}
