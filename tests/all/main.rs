//! One binary for all integration tests: linking Burn once is enough.

mod support;

mod losses;
mod optimizer;
mod parametrization;
mod rectifiers;
mod taps;
mod transforms;
