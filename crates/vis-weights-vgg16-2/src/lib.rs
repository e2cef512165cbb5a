#![doc = include_str!("../README.md")]
#![no_std]

/// `vgg16_conv_f16-2-of-3.safetensors`.
pub static PART: &[u8] = include_bytes!("../data/vgg16_conv_f16-2-of-3.safetensors");
