#![doc = include_str!("../README.md")]
#![no_std]

/// `efficientnet_lite0_f16.safetensors`.
pub static EFFICIENTNET_LITE0: &[u8] = include_bytes!("../data/efficientnet_lite0_f16.safetensors");

/// `mnist_cnn_f16.safetensors`.
pub static DIGITS: &[u8] = include_bytes!("../data/mnist_cnn_f16.safetensors");

/// `digits_generator_f16.safetensors`.
pub static DIGITS_GENERATOR: &[u8] = include_bytes!("../data/digits_generator_f16.safetensors");

/// `digits_discriminator_f16.safetensors`.
pub static DIGITS_DISCRIMINATOR: &[u8] = include_bytes!("../data/digits_discriminator_f16.safetensors");
