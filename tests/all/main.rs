//! All integration tests in one program, which links Burn once.
#![allow(clippy::unwrap_used, missing_docs)]

mod models;
mod npy;
