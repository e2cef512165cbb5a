//! The loss that wants filters to fire.

use burn::tensor::{Tensor, TensorData};

use super::{Loss, Scene};
use crate::{Error, Result};

/// The loss that wants filters of a layer to fire, minus their mean activation:
///
/// ```text
/// L(x) = − Σ_{i ∈ filters} mean_{h,w} A_i(x)
/// ```
///
/// where `A` is the layer's activation. For a dense layer the filters are its units, and the mean is over
/// a single position. The sum, not the mean, is taken over several filters (as in keras-vis), so a joint
/// picture of `n` filters weighs `n` times as much against the same regularizers.
///
/// For classes, name the layer before softmax: softmax can be maximised by making the *other* classes
/// less likely.
///
/// ```
/// use vis::losses::ActivationMaximization;
///
/// let filter = ActivationMaximization::new("block5_conv3", 67);
/// let joint = ActivationMaximization::new("predictions", [20, 71]);
/// let grid = ActivationMaximization::per_image("predictions", [20, 71]);
/// ```
///
/// Source: Erhan et al. 2009; Simonyan et al. 2013, arXiv 1312.6034, section 2; keras-vis `losses.py`.
#[derive(Debug, Clone)]
pub struct ActivationMaximization {
    layer: String,
    filters: Wanted,
}

#[derive(Debug, Clone)]
enum Wanted {
    Same(Filters),
    PerImage(Vec<Filters>),
}

/// One or several filters of a layer that are maximised together in one picture, or all of them.
///
/// Made from an index, or from an array, slice or vector of indices.
///
/// ```
/// use vis::losses::Filters;
/// assert_eq!(Filters::from(3).to_string(), "3");
/// assert_eq!(Filters::from([20, 71]).to_string(), "20, 71");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filters {
    /// These, jointly.
    These(Vec<usize>),
    /// Every filter of the layer, jointly: the mean over the whole activation.
    All,
}

impl ActivationMaximization {
    /// Wants the same filters in every image of the batch.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::ActivationMaximization, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let value = |losses| Gradient::new(&model, &losses).values(image.clone()).map(|values| values.totals()[0]);
    /// let one = value(ActivationMaximization::new("conv2", 1).into())?;
    /// let other = value(ActivationMaximization::new("conv2", 3).into())?;
    /// let joint = value(ActivationMaximization::new("conv2", [1, 3]).into())?;
    /// assert!(one < 0.0 && (joint - (one + other)).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    #[doc(alias = "filter_indices")]
    pub fn new(layer: impl Into<String>, filters: impl Into<Filters>) -> Self {
        Self { layer: layer.into(), filters: Wanted::Same(filters.into()) }
    }

    /// Wants other filters in each image of the batch: the first entry in the first image, and so on.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::ActivationMaximization, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let images = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// # let value = |losses| Gradient::new(&model, &losses).values(images.clone()).map(|values| values.totals());
    /// let one = value(ActivationMaximization::new("conv2", 1).into())?;
    /// let other = value(ActivationMaximization::new("conv2", 3).into())?;
    /// let each = value(ActivationMaximization::per_image("conv2", [1, 3]).into())?;
    /// assert_eq!(each, [one[0], other[1]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn per_image<F: Into<Filters>>(
        layer: impl Into<String>,
        filters: impl IntoIterator<Item = F>,
    ) -> Self {
        let filters = filters.into_iter().map(Into::into).collect();
        Self { layer: layer.into(), filters: Wanted::PerImage(filters) }
    }
}

impl Loss for ActivationMaximization {
    fn name(&self) -> String {
        "activation maximization".into()
    }

    fn layers(&self) -> Vec<String> {
        vec![self.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let activation = scene.layer(&self.layer)?;
        let [batch, channels, ..] = activation.dims();
        let per_image: Vec<&Filters> = match &self.filters {
            Wanted::Same(filters) => vec![filters; batch],
            Wanted::PerImage(filters) if filters.len() == batch => filters.iter().collect(),
            Wanted::PerImage(filters) => {
                let expected = format!("one entry per image ({batch})");
                return Err(Error::invalid("the filters", expected, filters.len()));
            }
        };

        // One row per image: the mean activations, weighted by the filters it wants.
        let mut wanted = vec![0.0_f32; batch * channels];
        for (row, filters) in wanted.chunks_mut(channels).zip(per_image) {
            match filters {
                Filters::All => row.fill(1.0 / channels as f32),
                Filters::These(indices) if indices.is_empty() => {
                    return Err(Error::invalid("the filters of an image", "one index or more", "none"));
                }
                Filters::These(indices) => {
                    for &index in indices {
                        *row.get_mut(index).ok_or_else(|| Error::OutOfRange {
                            what: "filter",
                            index,
                            place: format!("layer `{}`", self.layer),
                            len: channels,
                        })? += 1.0;
                    }
                }
            }
        }
        let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [batch, channels]), &scene.device());
        let means = activation.mean_dims(&[2, 3]).reshape([batch, channels]);
        Ok((means * wanted).sum_dim(1).reshape([batch]).neg())
    }
}

impl From<usize> for Filters {
    fn from(index: usize) -> Self {
        Self::These(vec![index])
    }
}

impl<const N: usize> From<[usize; N]> for Filters {
    fn from(indices: [usize; N]) -> Self {
        Self::These(indices.to_vec())
    }
}

impl From<&[usize]> for Filters {
    fn from(indices: &[usize]) -> Self {
        Self::These(indices.to_vec())
    }
}

impl From<Vec<usize>> for Filters {
    fn from(indices: Vec<usize>) -> Self {
        Self::These(indices)
    }
}

impl std::fmt::Display for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::These(indices) => {
                f.write_str(&indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
