//! Convolutions with frozen weights on the CPU: forward, and back to the input.
//!
//! Looking inside a network means many forward and backward passes through weights that never change, and never
//! want a gradient. That is a narrower job than a framework's, and these kernels do no other. They work on plain slices of
//! `f32`, `[batch, channels, height, width]`.
//!
//! | convolution | kernel |
//! | --- | --- |
//! | 3×3, stride 1, padding 1, one group | [`Winograd`]: a quarter of the multiplications |
//! | 1×1, stride 1, one group | [`Pointwise`]: a product of matrices |
//! | one stride, at most height and width of the filter, no dilation; fast for few channels a group | [`Direct`]: the sum as it is defined |
//! | any other, and transposed ones | [`General`]: a product of matrices whose right side is gathered |
//! | 2×2 max pooling | [`max_pool`], [`max_pool_gradient`] |
//! | maxima and means of any windows | [`Windows`] |
//! | a product with a frozen matrix | [`Dense`] |
//! | a factor and a summand for each channel | [`scale_planes`] |
//! | softmax and layer normalisation | [`RowFunction`] |
//! | an activation | [`apply`], [`pull_back`] with a [`Function`] |
//!
//! [`Convolution`] picks one. [`Filters`] and [`Geometry`] hold the sizes, checked; a [`Mismatch`] says what does not fit.
//! [`Epilogue`] is bias and rectifier, which the forward pass applies before it writes; [`Gate`] the backward rule of that
//! rectifier, which the backward pass applies as it reads.
//!
//! # Speed
//! The kernels are compiled for AVX-512, for AVX2 with FMA and for what the build targets; [`instruction_set`] says which
//! one runs. Their threads are the crate's own, and stay awake from one kernel to the next. Results and scratch memory lie
//! in a pool ([`Workspace`]); [`release_memory`] gives it back. Build with `opt-level = 3`: with less the sums leave the
//! registers, and where every pointer is checked (`debug-assertions`) they take twice as long.
//!
//! # What is unsafe, and why it holds
//! - *Sizes.* A kernel takes a [`Geometry`], which exists only with sizes that fit, and checks the length of every slice
//!   against it, once, before anything else. No later index can wrap around, because it is below one of these lengths.
//!   Scratch memory is as long as a checked product.
//! - *Instructions.* Code for an instruction set takes a witness that the machine has it (`simd`).
//! - *Threads.* Tasks borrow from the caller, which returns when all that were begun are over (`threads`); what tasks write
//!   does not overlap, and each `unsafe` block says why.
//!
//! The script `sanitize` beside this crate's manifest runs the tests under AddressSanitizer and ThreadSanitizer, and the
//! model of the threads under `loom`.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod convolution;
mod dense;
mod direct;
mod functions;
mod fused;
mod general;
mod geometry;
#[cfg(all(test, loom))]
mod model;
mod multiply;
mod panels;
mod planes;
mod pointwise;
mod pool;
mod processor;
mod rows;
#[allow(clippy::use_self, reason = "the names of the registers say more")]
mod simd;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod threads;
mod windows;
mod winograd;
#[cfg_attr(unpooled, allow(dead_code, reason = "the pool"))]
mod workspace;

pub use convolution::Convolution;
pub use dense::Dense;
pub use direct::Direct;
pub use functions::{Function, apply, pull_back};
pub use fused::{Epilogue, Gate, Rectifier, Rule};
pub use general::General;
pub use geometry::{Filters, Geometry, Mismatch, Padding};
pub use planes::scale_planes;
pub use pointwise::Pointwise;
pub use pool::{max_pool, max_pool_gradient};
pub use rows::RowFunction;
pub use simd::instruction_set;
pub use windows::Windows;
pub use winograd::Winograd;
pub use workspace::{OutOfMemory, Workspace, release_memory};
