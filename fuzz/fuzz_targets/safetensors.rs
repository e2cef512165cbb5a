//! Any bytes as a file of weights of another kind than a zip archive, all of whose tensors are asked for: an error or
//! tensors, never a panic, not even one that is contained.
#![no_main]

mod weights;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if !bytes.starts_with(b"PK") && !bytes.starts_with(b"\x80") {
        weights::ask_for_all(bytes);
    }
});
