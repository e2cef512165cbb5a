//! Maps that know nothing of the network, to compare methods with.

use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use super::{Attribution, refuse_non_finite_maps};
use crate::model::Model;
use crate::target::Target;
use crate::{Result, random};

/// Uniform noise in 0..1: what a metric says of a map without any meaning.
///
#[cfg_attr(doc, doc = include_str!("../figures/controls.md"))]
///
/// The same for every image of a batch, `[batch, 1, height, width]`.
///
/// ```
/// use vis::{Target, attribution::{Attribution, RandomMap}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let map = RandomMap { seed: 1 }.attribute(&model, model.input().zeros(&model.device()), &Target::class(0))?;
/// assert!(map.into_data().to_vec::<f32>().unwrap().iter().all(|value| (0.0..1.0).contains(value)));
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RandomMap {
    /// The seed of the noise.
    pub seed: u64,
}

impl Attribution for RandomMap {
    fn name(&self) -> String {
        "random".into()
    }

    fn attribute(&self, _: &dyn Model, images: Tensor<4>, _: &Target) -> Result<Tensor<4>> {
        let [batch, _, height, width] = images.dims();
        let mut stream = random::stream(self.seed, 0);
        let values: Vec<f32> = (0..height * width).map(|_| stream.random()).collect();
        let map = Tensor::<4>::from_data(TensorData::new(values, [1, 1, height, width]), &images.device());
        Ok(map.repeat_dim(0, batch))
    }
}

/// The edges of the image by Sobel's operator, summed over channels: what a method shows that only finds edges.
///
/// `[batch, 1, height, width]`; pixels beyond the border repeat those at it.
///
/// ```
/// use vis::{Target, attribution::{Attribution, Sobel}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let flat = Sobel.attribute(&model, model.input().zeros(&model.device()), &Target::class(0))?;
/// assert!(flat.into_data().to_vec::<f32>().unwrap().iter().all(|value| *value == 0.0));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Adebayo et al. 2018, arXiv 1810.03292, section 5, compares methods with an edge detector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[doc(alias = "edge detector")]
pub struct Sobel;

impl Attribution for Sobel {
    fn name(&self) -> String {
        "edges".into()
    }

    fn attribute(&self, _: &dyn Model, images: Tensor<4>, _: &Target) -> Result<Tensor<4>> {
        // Along one axis the kernel smooths (1 2 1), along the other it takes differences (−1 0 1).
        let neighbours = |image: Tensor<4>, axis: usize| {
            let side = image.dims()[axis];
            if side == 1 {
                return (image.clone(), image);
            }
            let (first, last) = (image.clone().narrow(axis, 0, 1), image.clone().narrow(axis, side - 1, 1));
            let before = Tensor::cat(vec![first, image.clone().narrow(axis, 0, side - 1)], axis);
            let after = Tensor::cat(vec![image.narrow(axis, 1, side - 1), last], axis);
            (before, after)
        };
        let smooth = |image: Tensor<4>, axis| {
            let (before, after) = neighbours(image.clone(), axis);
            before + image * 2.0 + after
        };
        let slope = |image: Tensor<4>, axis| {
            let (before, after) = neighbours(image, axis);
            after - before
        };
        let images = images.inner();
        let down = slope(smooth(images.clone(), 3), 2);
        let across = slope(smooth(images, 2), 3);
        let map = (down.square() + across.square()).sqrt().sum_dim(1);
        refuse_non_finite_maps("the edges of image", &map)?;
        Ok(map)
    }
}
