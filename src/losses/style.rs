//! The loss that wants the texture of a painting.

use burn::tensor::Tensor;

use super::{Loss, Scene};
use crate::model::Model;
use crate::{Error, Result};

/// The loss that wants the texture of a painting, the squared distance of Gram matrices:
///
/// ```text
/// L(x) = Σ_layers w · Σ_ij (G_ij/M − S_ij/M')² / (4 N²)        G_ij = Σ_p A_ip(x) A_jp(x)
/// ```
///
/// where `A_ip` is channel `i` of the layer at position `p`, `N` the number of channels, `M` and `M'` the numbers
/// of positions in the image and in the painting, and `S` the Gram matrix of the painting. A Gram matrix
/// says which features occur together and how often, but not where: so the loss sees brush strokes and colours
/// and no composition. For images of one size (`M` = `M'`) it is the loss of Gatys et al.; the painting may
/// be of another size, but what counts as a stroke is a matter of pixels: scale it so that its strokes are as
/// large as they should become.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use vis::{losses::Style, Model, gradient::Gradient};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let painting = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
/// let losses = Style::new(&model, painting.clone(), [("conv1", 1.0), ("conv2", 0.5)])?.into();
/// assert_eq!(Gradient::new(&model, &losses).values(painting)?.totals(), [0.0]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// Costs `N²·M` multiplications a layer, little beside the convolutions.
///
/// Source: Gatys, Ecker & Bethge 2016, *Image Style Transfer Using Convolutional Neural Networks*, equations 3
/// to 5.
#[derive(Debug, Clone)]
#[doc(alias = "GramMatrixLoss")]
pub struct Style {
    layers: Vec<Target>,
    border: usize,
}

#[derive(Debug, Clone)]
struct Target {
    layer: String,
    weight: f32,
    /// `S / M'`, `[1, channels, channels]`.
    gram: Tensor<3>,
}

impl Style {
    /// Wants the texture of this painting, `[1, channels, height, width]`, at each of these layers with its
    /// weight.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::Style, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [image, painting] =
    /// #     [0, 1].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()));
    /// # let value = |losses| Gradient::new(&model, &losses).values(image.clone()).map(|values| values.totals()[0]);
    /// let once = value(Style::new(&model, painting.clone(), [("conv1", 1.0)])?.into())?;
    /// let twice = value(Style::new(&model, painting, [("conv1", 2.0)])?.into())?;
    /// assert!(once > 0.0 && twice == 2.0 * once);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`], [`Error::Shape`] for a painting that the model can't take, and
    /// [`Error::InvalidParameter`] without layers or with a weight that is negative or not finite.
    pub fn new<M: Model + ?Sized, S: Into<String>>(
        model: &M,
        painting: Tensor<4>,
        layers: impl IntoIterator<Item = (S, f32)>,
    ) -> Result<Self> {
        Self::blend(model, [(painting, 1.0)], layers, 0)
    }

    /// A texture between those of several paintings: the target is the mean of their Gram matrices in these proportions.
    ///
    /// This differs from the sum of one loss a painting, with the same weights, by a constant only, so the
    /// best image is the same.
    ///
    /// `border` positions along each edge of every layer are left out, in the paintings and in the image, but never
    /// more than a quarter of a side: there the network sees the zeros that its convolutions put around the image,
    /// and an image that is to have as much of that grows frames and straight lines. 0 for the published loss;
    /// 2 removes the worst for VGG.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::{Losses, Style}, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let [image, scream, wave] =
    /// #     [0, 1, 2].map(|seed| vis::random::noise([1, 3, 8, 8], (0.0, 255.0), seed, 0, &model.device()) * 1.5);
    /// let layers = [("conv1", 1.0)];
    /// let one = Style::new(&model, scream.clone(), layers)?.into();
    /// // As much of the one as of nothing else.
    /// let blend = Style::blend(&model, [(scream, 2.0), (wave, 0.0)], layers, 0)?.into();
    /// let loss = |losses: &Losses| Gradient::new(&model, losses).values(image.clone()).map(|values| values.totals()[0]);
    /// assert_eq!(loss(&blend)?, loss(&one)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`Error::InvalidParameter`] without paintings or with proportions that are
    /// negative, not finite, or all 0.
    pub fn blend<M: Model + ?Sized, S: Into<String>>(
        model: &M,
        paintings: impl IntoIterator<Item = (Tensor<4>, f32)>,
        layers: impl IntoIterator<Item = (S, f32)>,
        border: usize,
    ) -> Result<Self> {
        let layers: Vec<(String, f32)> =
            layers.into_iter().map(|(name, weight)| (name.into(), weight)).collect();
        check_weights("the weights of the style layers", layers.iter().map(|(_, weight)| *weight))?;
        let paintings: Vec<_> = paintings.into_iter().collect();
        check_weights("the proportions of the styles", paintings.iter().map(|(_, share)| *share))?;
        let whole: f32 = paintings.iter().map(|(_, share)| share).sum();

        let mut grams: Vec<Option<Tensor<3>>> = vec![None; layers.len()];
        for (painting, share) in paintings {
            let painting = painting.inner();
            model.input().check_values(&painting)?;
            let mut taps = crate::model::Taps::new().record(layers.iter().map(|(name, _)| name));
            crate::model::run(model, painting, &mut taps)?;
            for ((layer, _), blended) in layers.iter().zip(&mut grams) {
                let gram = gram(without_border(taps.activation(layer)?, border)) * (share / whole);
                *blended = Some(match blended.take() {
                    Some(sum) => sum + gram,
                    None => gram,
                });
            }
        }
        let targets = layers.into_iter().zip(grams);
        let layers =
            targets.filter_map(|((layer, weight), gram)| Some(Target { layer, weight, gram: gram? }));
        Ok(Self { layers: layers.collect(), border })
    }

    /// Divides the weight of each layer by what an image without any features would lose there, and by the sum
    /// of all weights: the loss is then 0 for the painting and 1 for such an image, and layers of equal weight
    /// count alike, whatever the network.
    ///
    /// Without this the layers differ by orders of magnitude.
    ///
    /// ```
    /// use vis::{gradient::Gradient, losses::Style, Model};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let painting = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let style = Style::new(&model, painting.clone(), [("conv1", 7.0), ("conv2", 2.0)])?.relative().into();
    /// let loss = |image| Gradient::new(&model, &style).values(image).map(|values| values.totals()[0]);
    /// assert_eq!(loss(painting.clone())?, 0.0);
    /// assert!((loss(painting.zeros_like())? - 1.0).abs() < 1e-5); // black: no feature at all
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn relative(mut self) -> Self {
        let whole: f32 = self.layers.iter().map(|target| target.weight).sum();
        for target in &mut self.layers {
            let nothing = distance(target.gram.clone(), target.gram.zeros_like()).into_scalar::<f32>();
            if nothing > 0.0 {
                target.weight /= nothing * whole;
            }
        }
        self
    }
}

impl Loss for Style {
    fn name(&self) -> String {
        "style".into()
    }

    fn layers(&self) -> Vec<String> {
        self.layers.iter().map(|target| target.layer.clone()).collect()
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let mut sum = Tensor::zeros([scene.batch()], &scene.device());
        for target in &self.layers {
            let gram = gram(without_border(scene.layer(&target.layer)?, self.border));
            sum = sum + distance(gram, target.gram.clone()) * target.weight;
        }
        Ok(sum)
    }
}

/// The Gram matrix of a layer over its number of positions, `[batch, channels, channels]`, from its activation
/// `[batch, channels, height, width]`: the mean over positions of the products of each two channels.
fn gram(activation: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = activation.dims();
    let features = activation.reshape([batch, channels, height * width]);
    // Dividing first keeps half precision in range.
    (features.clone() / (height * width) as f32).matmul(features.swap_dims(1, 2))
}

/// The activation without its outermost positions.
fn without_border(activation: Tensor<4>, border: usize) -> Tensor<4> {
    let [_, _, height, width] = activation.dims();
    let (rows, columns) = (border.min(height / 4), border.min(width / 4));
    activation.narrow(2, rows, height - 2 * rows).narrow(3, columns, width - 2 * columns)
}

/// `Σ_ij (a_ij − b_ij)² / (4 N²)` for each image.
fn distance(a: Tensor<3>, b: Tensor<3>) -> Tensor<1> {
    let [batch, channels, _] = a.dims();
    (a - b).square().sum_dims(&[1, 2]).reshape([batch]) / (4.0 * (channels * channels) as f32)
}

/// Refuses weights that are negative, not finite, all 0, or none.
fn check_weights(name: &'static str, weights: impl Iterator<Item = f32> + Clone) -> Result<()> {
    let good = weights.clone().all(|weight| weight >= 0.0 && weight.is_finite());
    if good && weights.clone().any(|weight| weight > 0.0) {
        return Ok(());
    }
    let got = format!("{:?}", weights.collect::<Vec<_>>());
    Err(Error::invalid(name, "finite numbers of 0 or more, at least one above 0", got))
}
