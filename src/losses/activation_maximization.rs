//! The loss that maximises a target.

use burn::tensor::Tensor;

use super::{Loss, Scene};
use crate::Result;
use crate::model::Model;
use crate::target::Target;

/// The loss that maximises filters of a layer, or any other [`Target`]: minus its score.
///
#[cfg_attr(doc, doc = include_str!("../figures/classes.md"))]
///
/// For filters that is minus the sum of their mean activations,
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
pub struct ActivationMaximization(Target);

impl ActivationMaximization {
    /// Maximises the same filters in every image of the batch: one index, or a list of indices. In general, scores of a
    /// target that name no layer are read from this one.
    #[doc(alias = "filter_indices")]
    pub fn new(layer: impl Into<String>, filters: impl Into<Target>) -> Self {
        Self(filters.into().or_in_layer(&layer.into(), "filter"))
    }

    /// Maximises other filters in each image of the batch: the first entry in the first image, and so on.
    pub fn per_image<F: Into<Target>>(
        layer: impl Into<String>,
        filters: impl IntoIterator<Item = F>,
    ) -> Self {
        Self::new(layer, Target::per_image(filters.into_iter().map(Into::into)))
    }

    /// Maximises any target. The model says which layer holds the class scores, for a target that names none.
    ///
    /// ```
    /// use vis::{Optimizer, Target, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let rather_than = Target::class(3) - 0.5 * Target::class(1);
    /// let loss = ActivationMaximization::of(&model, rather_than)?;
    /// let image = Optimizer::new(&model, loss).max_iter(10).minimize()?.image;
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) for [`Target::predicted`], which depends on the image.
    pub fn of(model: &dyn Model, target: impl Into<Target>) -> Result<Self> {
        Ok(Self(target.into().with_layers(model)?))
    }
}

impl From<Target> for ActivationMaximization {
    /// Maximises a target that names its layers; see [`of`](Self::of) for one that does not.
    fn from(target: Target) -> Self {
        Self(target)
    }
}

impl Loss for ActivationMaximization {
    fn name(&self) -> String {
        self.0
            .energy_of()
            .map_or_else(|| "activation maximization".into(), |layer| format!("energy of {layer}"))
    }

    fn layers(&self) -> Vec<String> {
        // Whatever is wrong with the target is said when the loss is built.
        self.0.goal().map(|goal| goal.layer_names()).unwrap_or_default()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        Ok(self.0.goal()?.build_loss(scene)?.neg())
    }
}
