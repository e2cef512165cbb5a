//! One binary for all integration tests: linking Burn once is enough.
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod support;

mod activation;
mod arithmetic;
mod attribution;
mod callbacks;
mod checkpoints;
mod dream;
mod ended_early;
mod gan;
mod heatmaps;
mod keras_vis;
mod losses;
mod metrics;
mod models;
mod npy;
mod optimizer;
mod parametrization;
mod rectifiers;
mod taps;
mod threads;
mod transforms;
mod weights;
