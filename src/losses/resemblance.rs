//! The loss of images that resemble each other.

use burn::tensor::{Tensor, TensorData};

use super::{Loss, Scene};
use crate::{Error, Result};

/// The loss of images of a batch that resemble each other: the mean cosine similarity of each image to the others, by what
/// a layer sees in them wherever it is.
///
/// ```text
/// G_i = F_i·F_iᵀ        the products of all pairs of channels of image i, over its positions
/// L_i = mean_{j ≠ i} ⟨G_i, G_j⟩ / (‖G_i‖·‖G_j‖)
/// ```
///
/// With a positive weight the images come to differ (diversity): several pictures of one unit show its several
/// faces. With a negative one they become alike; [`by_place`](Self::by_place) then aligns them, so that what is at a place in
/// one is there in all. This is the one loss by which the images of a batch depend on each other. An image without others has
/// a loss of 0.
///
/// ```
/// use burn::tensor::Tensor;
/// use vis::{Loss, Scene, losses::Resemblance};
/// // Three images of one position: two see the first channel, one the second.
/// let features = Tensor::<2>::from_floats([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], &Default::default());
/// let features = features.reshape([3, 2, 1, 1]);
/// let scene = Scene::new(features.clone(), [("conv".to_owned(), features)]);
/// let alike = Resemblance::new("conv").build_loss(&scene)?.into_data().to_vec::<f32>().unwrap();
/// assert!(alike.iter().zip([0.5, 0.5, 0.0]).all(|(found, expected)| (found - expected).abs() < 1e-5));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Source: Olah, Mordvintsev & Schubert 2017, *Feature Visualization*; lucid, `objectives.diversity`.
#[derive(Debug, Clone)]
#[doc(alias = "diversity")]
#[doc(alias = "alignment")]
pub struct Resemblance {
    layer: String,
    by_place: bool,
    groups: Option<Vec<usize>>,
}

impl Resemblance {
    /// Compares what this layer sees, wherever it is.
    pub fn new(layer: impl Into<String>) -> Self {
        Self { layer: layer.into(), by_place: false, groups: None }
    }

    /// Compares what this layer sees at each place: the cosine similarity of its whole activations.
    pub fn by_place(layer: impl Into<String>) -> Self {
        Self { by_place: true, ..Self::new(layer) }
    }

    /// Compares only the images of the same group.
    pub(crate) fn within(mut self, groups: Vec<usize>) -> Self {
        self.groups = Some(groups);
        self
    }
}

impl Loss for Resemblance {
    fn name(&self) -> String {
        format!("resemblance at {}", self.layer)
    }

    fn layers(&self) -> Vec<String> {
        vec![self.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let activation = scene.layer(&self.layer)?;
        let [batch, channels, height, width] = activation.dims();
        let groups = match &self.groups {
            Some(groups) if groups.len() != batch => {
                return Err(Error::invalid(
                    "the groups of images",
                    format!("one per image ({batch})"),
                    groups.len(),
                ));
            }
            Some(groups) => groups.clone(),
            None => vec![0; batch],
        };
        // The share of each other image of the group.
        let mut shares = Vec::with_capacity(batch * batch);
        for one in 0..batch {
            let others = groups.iter().filter(|group| **group == groups[one]).count() - 1;
            let share = |two: usize| one != two && groups[one] == groups[two];
            shares.extend((0..batch).map(|two| if share(two) { 1.0 / others as f32 } else { 0.0 }));
        }
        let shares = Tensor::<2>::from_data(TensorData::new(shares, [batch, batch]), &activation.device());

        let features = match self.by_place {
            true => activation.reshape([batch, channels * height * width]),
            false => {
                let maps = activation.reshape([batch, channels, height * width]);
                // Divided by the largest first: squares of squares leave the range of f32.
                let largest = maps.clone().detach().abs().max_dims(&[1, 2]).clamp_min(1e-20);
                let maps = maps / largest;
                (maps.clone().matmul(maps.transpose()) / (height * width) as f32)
                    .reshape([batch, channels * channels])
            }
        };
        // Under the root, so that the slope is finite where a layer sees nothing.
        let length = (features.clone().square().sum_dim(1) + 1e-12).sqrt();
        let features = features / length;
        let alike = features.clone().matmul(features.transpose());
        Ok((alike * shares).sum_dim(1).reshape([batch]))
    }
}
