//! One binary for all integration tests: linking Burn once is enough.
#![allow(unreachable_pub, reason = "modules of one test binary")]

#[allow(dead_code, reason = "the library's own, of which tests need a part")]
#[path = "../../src/host.rs"]
mod host;
mod support;

mod activation;
mod arithmetic;
mod attribution;
mod axes;
mod bookkeeping;
mod callbacks;
mod checkpoints;
mod dream;
mod ended_early;
mod extremes;
mod gan;
mod heatmaps;
mod keras_vis;
mod losses;
mod methods;
mod metrics;
mod models;
mod networks;
mod normalisers;
mod npy;
#[cfg(feature = "onnx")]
mod onnx;
mod optimizer;
mod parametrization;
mod ranges;
mod rectifiers;
mod same_network;
mod settings;
mod survey;
mod taps;
mod threads;
mod training;
mod transforms;
mod weights;
