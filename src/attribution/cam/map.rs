//! A map at the size of its layer, and enlarged to the image.

use burn::tensor::{Tensor, activation};

use super::super::Blank;
use crate::resample;

/// A class activation map at the size of its layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClassActivationMap {
    /// The map of each image, `[batch, 1, height, width]` of the layer; signed unless
    /// [rectified](Self::rectified).
    pub map: Tensor<4>,
    /// The layer it was taken at.
    pub layer: String,
    pub(super) size: [usize; 2],
}

/// How a small map is enlarged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// Bilinear between the centres of the places.
    #[default]
    Bilinear,
    /// Every pixel takes the value of its place: shows how coarse the map is.
    Nearest,
}

impl ClassActivationMap {
    /// A map at a layer, of an image of a size `[height, width]`.
    pub(in super::super) fn new(map: Tensor<4>, layer: String, size: [usize; 2]) -> Self {
        Self { map, layer, size }
    }

    /// The map with its negative values set to 0, as most papers define it: only what speaks for the target.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::HiResCam).map(&model, image, &Target::class(2))?;
    /// let (signed, rectified) = (cam.map.clone().into_data().to_vec::<f32>().unwrap(), cam.rectified().map.into_data().to_vec::<f32>().unwrap());
    /// assert!(signed.iter().any(|value| *value < 0.0));
    /// assert!(signed.iter().zip(rectified).all(|(signed, rectified)| rectified == signed.max(0.0)));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn rectified(&self) -> Self {
        Self { map: activation::relu(self.map.clone()), ..self.clone() }
    }

    /// Why the map of each image says nothing, if it does not: what [`rectified`](Self::rectified) would show is zero, or
    /// the same everywhere.
    ///
    /// ```
    /// use vis::{Target, attribution::{Blank, Cam, Formula}};
    /// use vis::optimizer::GradientModifier;
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::LayerCam); // never negative where the layer is not
    /// assert_eq!(cam.map(&model, image.clone(), &Target::class(2))?.blank(), [None]);
    /// let against = cam.map(&model, image, &Target::class(2))?;
    /// let against = vis::attribution::Blank::of_each(&against.map.neg());
    /// assert_eq!(against, [Some(Blank::Negative)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn blank(&self) -> Vec<Option<Blank>> {
        Blank::of_each(&self.map)
    }

    /// The map enlarged to the size of the image, bilinearly, `[batch, 1, height, width]`.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::HiResCam).map(&model, image, &Target::class(2))?;
    /// assert_eq!((cam.map.dims(), cam.upsampled().dims()), ([1, 1, 4, 4], [1, 1, 8, 8]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn upsampled(&self) -> Tensor<4> {
        self.resized(Interpolation::Bilinear)
    }

    /// The map enlarged to the size of the image.
    ///
    /// ```
    /// use vis::{Target, attribution::{Cam, Formula, Interpolation}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let cam = Cam::new(Formula::HiResCam).map(&model, image, &Target::class(2))?;
    /// assert_eq!(cam.resized(Interpolation::Nearest).dims(), [1, 1, 8, 8]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn resized(&self, interpolation: Interpolation) -> Tensor<4> {
        let [height, width] = self.size;
        match interpolation {
            Interpolation::Bilinear => resample::resize(self.map.clone(), height, width),
            Interpolation::Nearest => {
                let [_, _, from_height, from_width] = self.map.dims();
                let places = |from: usize, to: usize| (0..to).map(|index| index * from / to).collect();
                let (rows, columns) = (places(from_height, height), places(from_width, width));
                resample::gather(self.map.clone(), rows, columns)
            }
        }
    }
}
