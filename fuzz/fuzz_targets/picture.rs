//! Any bytes as a picture: an error or pixels, never a panic, not even one that is contained.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_ok() {
        let _ = vis::picture::load(file.path());
    }
});
