//! One binary for all integration tests: linking Burn once is enough.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod support;

mod dream;
mod losses;
mod models;
mod npy;
mod optimizer;
mod parametrization;
mod rectifiers;
mod taps;
mod transforms;
