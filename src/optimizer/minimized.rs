//! What a run found.

use burn::tensor::Tensor;

use super::History;

/// What a run found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Minimized {
    /// The best image of each run of the batch, `[batch, channels, height, width]`, in the model's input range
    /// and not clipped to it. It is the very image whose loss is [`best_loss`](Self::best_loss).
    ///
    /// Under transforms that loss is of one random view of it: another view has another loss, and the image whose view
    /// was luckiest is the best. A [preset](crate::model::Preset::average) can ask for the image of a running mean instead,
    /// whose loss is that without transforms.
    pub image: Tensor<4>,
    /// The gradient at that image, as the update saw it: normalised and modified; with respect to
    /// [`value`](Self::value).
    pub gradient: Tensor<4>,
    /// What the gradient is with respect to: the image, or the variable that a
    /// [`Parametrization`](crate::parametrization::Parametrization) decodes into it.
    #[doc(alias = "wrt_value")]
    pub value: Tensor<4>,
    /// The total loss of the best image, one a run: the lowest that is finite.
    pub best_loss: Vec<f32>,
    /// The step at which it was met, counted from 0, one a run.
    pub best_step: Vec<usize>,
    /// Whether the gradient was zero everywhere at every step, one a run: then nothing was followed, and the image is
    /// the start. Look for another start, an earlier layer, or a [warm-up](super::Optimizer::warm_up).
    pub zero_gradient: Vec<bool>,
    /// How much of the run's gradient went to each place, `[batch, 1, height, width]`: the sum over the steps of its
    /// magnitude, over the channels of the image. None unless a [preset](crate::model::Preset::transparency) asks for it.
    pub transparency: Option<Tensor<4>>,
    /// Every weighted loss of every step, each evaluated before the step's update.
    pub losses: History,
}

impl Minimized {
    /// The best images on the host, `[batch, channels, height, width]`.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let result = Optimizer::new(&model, TotalVariation::default()).max_iter(1).minimize()?;
    /// assert_eq!(result.array().as_slice(), Some(&result.image.into_data().to_vec::<f32>().unwrap()[..]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn array(&self) -> ndarray::Array4<f32> {
        crate::host::array4(self.image.clone())
    }
}
