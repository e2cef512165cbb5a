//! The code that a generator makes a picture from.

use burn::tensor::{Device, Tensor, TensorData};

use super::Parametrization;
use crate::model::Generator;
use crate::{Error, Result, random};

impl Parametrization for Generator {
    fn start(&self, [batch, ..]: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
        let codes = (first..first + batch)
            .flat_map(|image| random::normal(&mut random::stream(seed, image as u64), Self::CODE));
        let codes: Vec<f32> = codes.collect();
        Tensor::from_data(TensorData::new(codes, [batch, Self::CODE, 1, 1]), device)
    }

    fn encode(&self, _image: Tensor<4>) -> Result<Tensor<4>> {
        let expected = "noise: a generator has no code for a given image";
        Err(Error::invalid("the start of a generated image", expected, "an image"))
    }

    fn decode(&self, codes: Tensor<4>) -> Tensor<4> {
        self.generate(codes)
    }
}
