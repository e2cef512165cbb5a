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
    /// Maximises the same filters in every image of the batch.
    #[doc(alias = "filter_indices")]
    pub fn new(layer: impl Into<String>, filters: impl Into<Filters>) -> Self {
        Self(filters.into().of(&layer.into()))
    }

    /// Maximises other filters in each image of the batch: the first entry in the first image, and so on.
    pub fn per_image<F: Into<Filters>>(
        layer: impl Into<String>,
        filters: impl IntoIterator<Item = F>,
    ) -> Self {
        let layer = layer.into();
        Self(Target::per_image(filters.into_iter().map(|filters| filters.into().of(&layer))))
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

impl Loss for ActivationMaximization {
    fn name(&self) -> String {
        "activation maximization".into()
    }

    fn layers(&self) -> Vec<String> {
        // Whatever is wrong with the target is said when the loss is built.
        self.0.goal().map(|goal| goal.layer_names()).unwrap_or_default()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        Ok(self.0.goal()?.build_loss(scene)?.neg())
    }
}

impl Filters {
    /// These filters of a layer as a target.
    pub(crate) fn of(&self, layer: &str) -> Target {
        match self {
            Self::All => Target::layer(layer),
            Self::These(filters) => Target::filters(layer, filters.iter().copied()),
        }
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
