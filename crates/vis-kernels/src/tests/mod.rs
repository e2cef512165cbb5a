//! The kernels against double precision, on every instruction set that the machine has; what they must not touch, and
//! what they must refuse.

mod convolution;
mod direct;
mod functions;
mod pointwise;
mod pool;
mod properties;
mod reference;
mod rows;
pub(crate) mod sets;
mod threads;
mod trunk;
mod winograd;
mod workspace;
