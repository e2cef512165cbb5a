//! The loss that wants a layer to be excited, whatever it is that excites it.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Filters, Loss, Scene};
use crate::{Error, Result};

/// The loss that wants a layer to be excited by anything at all, minus the mean of its squared activation:
///
/// ```text
/// L(x) = − mean_{c,h,w} A(x)²
/// ```
///
/// over all channels of the layer or some of them. Its gradient pushes every unit in proportion to how far it
/// fires already, so what a network believes it sees a little of, it is shown more of: this is the objective
/// of [deep dream](crate::visualization::deep_dream). Unlike
/// [`ActivationMaximization`](super::ActivationMaximization) it asks for nothing in particular.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::{Loss, Scene, losses::LayerEnergy};
///
/// let activation = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0], &Device::default()).reshape([1, 2, 1, 2]);
/// let scene = Scene::new(activation.clone(), [("conv".to_owned(), activation)]);
/// assert_eq!(LayerEnergy::new("conv").build_loss(&scene)?.into_scalar::<f32>(), -7.5); // (1+4+9+16)/4
/// let second = LayerEnergy::new("conv").channels(1);
/// assert_eq!(second.build_loss(&scene)?.into_scalar::<f32>(), -12.5);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Mordvintsev, Olah & Tyka 2015, *Inceptionism*; `google/deepdream`, whose gradient at the layer is
/// the activation itself, that of half the sum of squares.
#[derive(Debug, Clone)]
#[doc(alias = "deepdream")]
pub struct LayerEnergy {
    layer: String,
    channels: Filters,
}

impl LayerEnergy {
    /// Wants all channels of this layer.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::LayerEnergy, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let losses = LayerEnergy::new("conv2").into();
    /// let value = |image| Gradient::new(&model, &losses).values(image).map(|values| values.totals()[0]);
    /// // Twice the activation, as this network has no biases, and four times the square.
    /// assert!((value(photo.clone() * 2.0)? / value(photo)? - 4.0).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new(layer: impl Into<String>) -> Self {
        Self { layer: layer.into(), channels: Filters::All }
    }

    /// Wants these channels only, one at least.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::LayerEnergy, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let of = |losses| Gradient::new(&model, &losses).values(photo.clone());
    /// let [one, other, both] = [vec![1], vec![4], vec![1, 4]]
    ///     .map(|channels| of(LayerEnergy::new("conv2").channels(channels).into()).map(|values| values.totals()[0]));
    /// assert!((both? - (one? + other?) / 2.0).abs() < 1e-6); // the mean over channels
    /// assert!(of(LayerEnergy::new("conv2").channels([]).into()).is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn channels(mut self, channels: impl Into<Filters>) -> Self {
        self.channels = channels.into();
        self
    }
}

impl Loss for LayerEnergy {
    fn name(&self) -> String {
        format!("energy of {}", self.layer)
    }

    fn layers(&self) -> Vec<String> {
        vec![self.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let mut activation = scene.layer(&self.layer)?;
        if let Filters::These(channels) = &self.channels {
            if channels.is_empty() {
                return Err(Error::invalid("the channels of a layer's energy", "one or more", "none"));
            }
            let len = activation.dims()[1];
            if let Some(&index) = channels.iter().find(|&&channel| channel >= len) {
                let place = format!("layer `{}`", self.layer);
                return Err(Error::OutOfRange { what: "channel", index, place, len });
            }
            let indices: Vec<i64> = channels.iter().map(|&channel| channel as i64).collect();
            let count = indices.len();
            let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &scene.device());
            activation = activation.select(1, indices);
        }
        Ok(activation.square().mean_dims(&[1, 2, 3]).reshape([scene.batch()]).neg())
    }
}
