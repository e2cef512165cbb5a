//! Any bytes as an ONNX file, whose layers are listed: an error or layers, never a panic, never much memory.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use vis::Model;
use vis::model::{Limits, Onnx, Preprocessing};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let limits = Limits { elements: 1 << 18, held: 1 << 20, nodes: 1 << 12, bytes: 1 << 24 };
    if let Ok(model) = Onnx::new(file.path(), Preprocessing::none()).limits(limits).load() {
        let _ = model.layers();
    }
});
