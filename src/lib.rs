//! See what a convolutional neural network has learned, and what it looks at.
//!
//! Everything here is one idea, taken from keras-vis: **write what you want to see as a weighted sum of losses over
//! an image, and minimise it by gradient descent on the image.** Attribution (saliency, class activation maps) is the
//! same gradient, taken once.
//!
//! ```
//! use vis::losses::{ActivationMaximization, LPNorm, TotalVariation};
//! use vis::{Model, Optimizer, losses};
//!
//! // `Vgg16::bundled(&device)?` for a real network; this one is small enough for an example.
//! let model = vis::model::Tiny::new(&Default::default());
//! let losses = losses![
//!     (ActivationMaximization::new("conv2", [1, 2, 3]), 1.0),
//!     (LPNorm::default(), 10.0),
//!     (TotalVariation::default(), 10.0),
//! ];
//! let result = Optimizer::new(&model, losses).max_iter(20).minimize()?;
//! let pictures = vis::picture::from_tensor(result.image, model.input().range())?;
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! Or by the front door, [`visualize_activation`]: labelled pictures of as many filters as you like, in one call. What
//! each method looks like, and two commands that make the pictures, are in the README.
//!
//! # What holds it together
//!
//! 1. An image is a tensor `[batch, channels, height, width]`, RGB, in the input range its model declares (VGG16:
//!    `0..255`). Preprocessing belongs to the model and happens inside [`Model::forward`], so gradients, regularizers
//!    and pictures all speak of the same image.
//! 2. A [`Model`] reports its layers to [`Taps`](model::Taps) while it runs: no hooks, no graph surgery. Taps record,
//!    end the run early, open a gradient at a layer, and set the backward rule at rectifiers.
//! 3. A [`Loss`] maps the image and the layers it names to one number per image of the batch. A regularizer is a loss
//!    that names no layer.
//! 4. One primitive, [`Gradient`](gradient::Gradient), computes values and gradients; everything else calls it.
//! 5. What is optimised is not what is seen: a [`Parametrization`](parametrization::Parametrization) decodes the variable
//!    into an image, and [`transforms`] sit between the image and the model.
//! 6. Numbers first, pictures second: every method returns signed raw values; colour maps, overlays, grids and GIFs are
//!    a layer on top, [`picture`].
//!
//! # Where to read on
//!
//! In the order in which one thing needs another: [`model`], [`backprop`], [`gradient`], [`mod@losses`],
//! [`parametrization`], [`transforms`], [`optimizer`], [`callbacks`], [`attribution`], [`metrics`], [`picture`],
//! [`visualization`], [`survey`], `page`. For a network of your own, [`cookbook`] says how it gets in.
//!
//! # Features
//!
//! | feature | what it brings | what it costs |
//! | --- | --- | --- |
//! | `flex` (default) | the CPU, with fast kernels of our own for frozen convolutions | a cold build of 5 to 10 minutes on two cores |
//! | `ndarray` | the CPU through the ndarray crate; deprecated upstream | eight times slower on a step of VGG16 |
//! | `wgpu`, `vulkan`, `metal` | the GPU, any vendor | a cold build of 10 to 20 minutes |
//! | `cuda` | the GPU, NVIDIA | the same, and the CUDA toolkit at run time |
//! | `bundled` (default) | EfficientNet-Lite0 and the networks of digits | 10 MB to download, and in a program that uses them |
//! | `bundled-vgg16` (default) | the convolutions of VGG16 | 29 MB, likewise |
//! | `download` | pretrained networks and any other file from the network, checked | nine small crates for TLS and hashes |
//! | `onnx` (default), `capture` | networks from ONNX files, and from any Burn module | |
//! | `page` (default) | sites and reports for a browser | little |
//!
//! No feature is needed to define models and losses: without a backend the crate compiles, and only choosing a device
//! fails. With several, `Device::default()` takes a GPU before a CPU, or what the environment variable `BURN_DEVICE`
//! names.

// What is unsafe is in `vis-kernels`, and in `convolution::pooled`, where its memory meets that of Burn.
#![deny(unsafe_code)]
// The library never prints and never panics on bad input.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro, clippy::todo, clippy::unwrap_used)]

pub mod attribution;
pub mod backprop;
pub mod callbacks;
mod contained;
mod convolution;
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}
pub mod error;
pub mod for_keras_vis_users;
pub mod gradient;
mod host;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizer;
#[cfg(feature = "page")]
pub mod page;
pub mod parametrization;
#[doc = include_str!("performance.md")]
pub mod performance {}
pub mod picture;
mod progress;
pub mod random;
mod resample;
pub mod survey;
pub mod target;
pub mod transforms;
pub mod visualization;

pub use backprop::Rule;
pub use convolution::Arithmetic;
pub use error::{Error, Result};
pub use losses::{Loss, Losses, Scene};
pub use model::Model;
pub use optimizer::{Minimized, Optimizer};
pub use progress::Progress;
pub use target::Target;
pub use vis_kernels::release_memory;
pub use visualization::{visualize_activation, visualize_cam, visualize_saliency};

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
