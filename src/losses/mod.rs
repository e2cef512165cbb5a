//! What is wanted of an image: losses, and lists of them with weights.
//!
//! A [`Loss`] maps the image and the layers it names to one number per image of the batch; what is
//! minimised is a weighted sum. A regularizer is a loss that names no layer.
//!
//! ```
//! use vis::losses;
//! use vis::losses::{ActivationMaximization, LPNorm, TotalVariation};
//!
//! let losses = losses![
//!     (ActivationMaximization::new("block5_conv3", [1, 2, 3]), 1.0),
//!     (LPNorm::default(), 10.0),
//!     (TotalVariation::default(), 10.0),
//! ];
//! assert_eq!(losses.len(), 3);
//! ```

mod activation_maximization;
mod best_match;
mod caricature;
mod content;
mod realism;
mod reference;
mod regularizers;
mod resemblance;
mod score;
mod style;

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{Device, Tensor};

use crate::{Error, Result};

pub use activation_maximization::ActivationMaximization;
pub use best_match::BestMatch;
pub use caricature::Caricature;
pub use content::Content;
pub use realism::Realism;
pub use regularizers::{LPNorm, TotalVariation};
pub use resemblance::Resemblance;
pub use style::Style;

/// One thing wanted of an image: the lower, the more of it.
///
/// Losses are per image: a batch of 64 images is 64 independent runs, so a loss must not average over
/// the batch. The one exception is [`Resemblance`], which compares its images.
///
/// ```
/// use burn::tensor::Tensor;
/// use vis::{Loss, Result, Scene};
///
/// /// Wants a dark image.
/// struct Darkness;
///
/// impl Loss for Darkness {
///     fn name(&self) -> String { "darkness".into() }
///
///     fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
///         Ok(scene.image().mean_dims(&[1, 2, 3]).reshape([scene.batch()]))
///     }
/// }
/// ```
#[doc(alias = "Objective")]
#[doc(alias = "Score")]
pub trait Loss: Send + Sync {
    /// The name under which its values are reported.
    fn name(&self) -> String;

    /// The layers it reads, by name; none for a regularizer.
    fn layers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The loss of each image, `[batch]`, from differentiable operations on what the scene shows.
    ///
    /// # Errors
    ///
    /// Whatever only the activations can tell, such as [`Error::OutOfRange`] for a filter that the layer
    /// does not have.
    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>>;
}

/// What a loss sees: the image, and the activations of the layers that the losses name.
#[derive(Debug)]
pub struct Scene {
    image: Tensor<4>,
    layers: BTreeMap<String, Tensor<4>>,
}

impl Scene {
    /// A scene from an image and activations, for testing a loss by itself.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use vis::{Loss, Scene, losses::TotalVariation};
    ///
    /// let flat = Tensor::ones([1, 3, 8, 8], &Device::default());
    /// let loss = TotalVariation::default().build_loss(&Scene::new(flat, [])).unwrap();
    /// assert_eq!(loss.into_scalar::<f32>(), 0.0);
    /// ```
    pub fn new(image: Tensor<4>, layers: impl IntoIterator<Item = (String, Tensor<4>)>) -> Self {
        Self { image, layers: layers.into_iter().collect() }
    }

    /// The image, `[batch, channels, height, width]`, in the model's input range, as it is seen before
    /// any transform.
    ///
    /// ```
    /// # let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let scene = vis::Scene::new(image.clone(), []);
    /// assert_eq!(scene.image().into_data().to_vec::<f32>().unwrap(), image.into_data().to_vec::<f32>().unwrap());
    /// ```
    pub fn image(&self) -> Tensor<4> {
        self.image.clone()
    }

    /// The activation of a layer that the loss named, `[batch, channels, height, width]`; the output of a
    /// dense layer is a 1×1 map.
    ///
    /// ```
    /// # let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// let features = burn::tensor::Tensor::<4>::ones([2, 16, 4, 4], &Default::default());
    /// let scene = vis::Scene::new(image, [("conv".to_owned(), features)]);
    /// assert_eq!(scene.layer("conv")?.dims(), [2, 16, 4, 4]);
    /// assert!(scene.layer("pool").is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`] for a layer that [`Loss::layers`] did not name.
    pub fn layer(&self, name: &str) -> Result<Tensor<4>> {
        self.layers
            .get(name)
            .cloned()
            .ok_or_else(|| Error::unknown_layer(name, self.layers.keys().cloned().collect()))
    }

    /// The number of images.
    ///
    /// ```
    /// # let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &Default::default());
    /// assert_eq!(image.dims(), [2, 3, 8, 8]);
    /// assert_eq!(vis::Scene::new(image, []).batch(), 2);
    /// ```
    pub fn batch(&self) -> usize {
        self.image.dims()[0]
    }

    /// The device of the image.
    ///
    /// ```
    /// let device = burn::tensor::Device::default();
    /// let image = burn::tensor::Tensor::zeros([1, 3, 8, 8], &device);
    /// assert_eq!(vis::Scene::new(image, []).device(), device);
    /// ```
    pub fn device(&self) -> Device {
        self.image.device()
    }
}

/// A list of losses with their weights; the macro [`losses!`](crate::losses!) writes one down.
///
/// A loss of weight 0 is not built, and its layers are not computed.
#[derive(Default)]
pub struct Losses {
    terms: Vec<(Box<dyn Loss>, f32)>,
}

impl Losses {
    /// The empty list.
    ///
    /// ```
    /// let empty = vis::losses::Losses::new();
    /// assert!(empty.is_empty());
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// assert!(vis::Optimizer::new(&model, empty).minimize().is_err()); // nothing to minimise
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The list with one more loss.
    ///
    /// ```
    /// use vis::losses::{Losses, TotalVariation};
    /// let losses = Losses::new().with(TotalVariation::default(), 10.0);
    /// assert_eq!(losses.len(), 1);
    /// ```
    pub fn with(mut self, loss: impl Loss + 'static, weight: f32) -> Self {
        self.terms.push((Box::new(loss), weight));
        self
    }

    /// The number of losses, those of weight 0 included.
    ///
    /// ```
    /// use vis::losses::{LPNorm, TotalVariation};
    /// let losses = vis::losses![(LPNorm::default(), 10.0), (TotalVariation::default(), 0.0)];
    /// assert_eq!(losses.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there is no loss at all.
    ///
    /// ```
    /// use vis::losses::TotalVariation;
    /// assert!(vis::losses![].is_empty());
    /// assert!(!vis::losses![(TotalVariation::default(), 0.0)].is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The losses that count, with their weights: those of weight 0 left out.
    ///
    /// ```
    /// use vis::losses::{LPNorm, TotalVariation};
    /// let losses = vis::losses![(LPNorm::default(), 10.0), (TotalVariation::default(), 0.0)];
    /// let built: Vec<_> = losses.built().map(|(loss, weight)| (loss.name(), weight)).collect();
    /// assert_eq!(built, [("L-6 norm".to_owned(), 10.0)]);
    /// ```
    pub fn built(&self) -> impl Iterator<Item = (&dyn Loss, f32)> {
        self.terms.iter().filter(|(_, weight)| *weight != 0.0).map(|(loss, weight)| (loss.as_ref(), *weight))
    }

    /// The names of the losses that count, in order and no two alike: several of one name also name their layers, and
    /// if that does not tell them apart they are numbered.
    ///
    /// ```
    /// use vis::losses;
    /// use vis::losses::{ActivationMaximization, TotalVariation};
    /// let losses = losses![
    ///     (ActivationMaximization::new("conv1", 0), 1.0),
    ///     (ActivationMaximization::new("conv2", 0), 1.0),
    ///     (TotalVariation::default(), 1.0),
    ///     (TotalVariation::default(), 2.0),
    /// ];
    /// let [first, second, third, fourth] = losses.names().try_into().unwrap();
    /// assert_eq!(first, "activation maximization at conv1");
    /// assert_eq!(second, "activation maximization at conv2");
    /// assert_eq!((third.as_str(), fourth.as_str()), ("TV(2)", "TV(2) #2"));
    /// ```
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.built().map(|(loss, _)| loss.name()).collect();
        let bare = names.clone();
        let is_alone = |name: &String| bare.iter().filter(|other| *other == name).count() == 1;
        for (name, (loss, _)) in names.iter_mut().zip(self.built()) {
            let layers = loss.layers().join(", ");
            if !is_alone(name) && !layers.is_empty() {
                *name = format!("{name} at {layers}");
            }
        }
        for index in 1..names.len() {
            let (before, rest) = names.split_at_mut(index);
            let bare = rest[0].clone();
            let mut number = 1;
            while before.contains(&rest[0]) {
                number += 1;
                rest[0] = format!("{bare} #{number}");
            }
        }
        names
    }

    /// The layers that the losses that count read, in order, each once.
    ///
    /// ```
    /// use vis::Target;
    /// use vis::losses::{ActivationMaximization, TotalVariation};
    /// let energy = |layer| ActivationMaximization::from(Target::energy(layer));
    /// let losses = vis::losses![(energy("conv2"), 1.0), (TotalVariation::default(), 1.0)];
    /// let losses = losses.with(energy("conv1"), 1.0).with(ActivationMaximization::new("conv2", 0), 1.0);
    /// assert_eq!(losses.layers(), ["conv2", "conv1"]);
    /// ```
    pub fn layers(&self) -> Vec<String> {
        let mut layers = Vec::new();
        for layer in self.built().flat_map(|(loss, _)| loss.layers()) {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        layers
    }

    /// The weighted value of each loss that counts, `[batch]` each, in order.
    pub(crate) fn build(&self, scene: &Scene) -> Result<Vec<Tensor<1>>> {
        self.built()
            .map(|(loss, weight)| {
                let value = loss.build_loss(scene)?;
                let (got, batch) = (value.dims(), scene.batch());
                assert!(
                    got == [batch],
                    "the loss `{}` must give one number per image: expected [{batch}], got {got:?}",
                    loss.name()
                );
                Ok(value * weight)
            })
            .collect()
    }

    /// Refuses lists that can't be minimised.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some((loss, weight)) = self.built().find(|(_, weight)| !weight.is_finite()) {
            let got = format!("{weight} for `{}`", loss.name());
            return Err(Error::invalid("a loss weight", "a finite number", got));
        }
        if self.built().next().is_none() {
            return Err(Error::invalid("the losses", "at least one with a weight other than 0", "none"));
        }
        Ok(())
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.terms.iter().map(|(loss, weight)| (loss.name(), weight))).finish()
    }
}

impl<L: Loss + 'static> From<L> for Losses {
    fn from(loss: L) -> Self {
        Self::new().with(loss, 1.0)
    }
}

impl Loss for Box<dyn Loss> {
    fn name(&self) -> String {
        self.as_ref().name()
    }
    fn layers(&self) -> Vec<String> {
        self.as_ref().layers()
    }
    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        self.as_ref().build_loss(scene)
    }
}

/// Writes down a list of losses with their weights.
///
/// ```
/// use vis::losses::{ActivationMaximization, TotalVariation};
/// let losses = vis::losses![
///     (ActivationMaximization::new("predictions", 20), 1.0),
///     (TotalVariation::default(), 10.0),
/// ];
/// ```
#[macro_export]
macro_rules! losses {
    ($(($loss:expr, $weight:expr)),* $(,)?) => {
        $crate::losses::Losses::new()$(.with($loss, $weight))*
    };
}
