//! Guided backpropagation where Grad-CAM looks.

use burn::tensor::Tensor;

use super::cam::{Cam, Formula, Interpolation};
use super::{Attribution, Saliency};
use crate::Result;
use crate::model::{Model, passes::Compared};
use crate::target::Target;

/// Guided backpropagation times the rectified Grad-CAM map at image size: as sharp as the one, as specific to
/// the class as the other.
///
#[cfg_attr(doc, doc = include_str!("../figures/guided_grad_cam.md"))]
///
/// The map is `[batch, channels, height, width]`, signed by the guided gradient. Costs two backward passes.
///
/// What looks like detail about the class is the guided gradient's, which hardly depends on it: only the
/// region does. See the warning at [`Saliency`].
///
/// ```
/// use vis::{Target, attribution::{Attribution, GuidedGradCam}};
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let map = GuidedGradCam::new().attribute(&model, image, &Target::class(2))?;
/// assert_eq!(map.dims(), [1, 3, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Selvaraju et al. 2016, arXiv 1610.02391, section 3.2. Captum enlarges by nearest neighbour, the
/// paper bilinearly, as here.
#[derive(Debug, Clone)]
pub struct GuidedGradCam {
    cam: Cam,
    interpolation: Interpolation,
}

impl GuidedGradCam {
    /// With Grad-CAM at the last layer that has more than one position.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Cam, Formula, GuidedGradCam, Saliency}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let region = Cam::new(Formula::GradCam).map(&model, image.clone(), &Target::class(2))?.rectified().upsampled();
    /// let guided = Saliency::guided().attribute(&model, image.clone(), &Target::class(2))?;
    /// assert_eq!(map(&GuidedGradCam::new())?, (guided * region).into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self { cam: Cam::new(Formula::GradCam), interpolation: Interpolation::Bilinear }
    }

    /// Sets the layer of the Grad-CAM map.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, GuidedGradCam}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert_ne!(map(&GuidedGradCam::new().penultimate_layer("conv1"))?, map(&GuidedGradCam::new())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn penultimate_layer(mut self, layer: impl Into<String>) -> Self {
        self.cam = self.cam.penultimate_layer(layer);
        self
    }

    /// Sets how the Grad-CAM map is enlarged.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, GuidedGradCam, Interpolation}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &Target::class(2)).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// let coarse = GuidedGradCam::new().interpolation(Interpolation::Nearest);
    /// assert_ne!(map(&coarse)?, map(&GuidedGradCam::new())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }
}

impl Default for GuidedGradCam {
    fn default() -> Self {
        Self::new()
    }
}

impl Attribution for GuidedGradCam {
    fn name(&self) -> String {
        "guided Grad-CAM".into()
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        let target = target.resolved(model, &images)?;
        let region = self.cam.map(model, images.clone(), &target)?.rectified().resized(self.interpolation);
        Ok(Saliency::guided().attribute(&Compared(model), images, &target)? * region)
    }
}
