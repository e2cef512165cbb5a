//! The settings of activation maximisation that suit a network.

use super::InputSpec;

/// The settings of activation maximisation that suit a network: they travel with the model, because
/// settings tuned to one network give noise on another.
///
/// ```
/// use vis::Model;
/// let preset = vis::model::Tiny::new(&Default::default()).preset();
/// assert_eq!(preset.tv_weight, 10.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// How the image is written down while it is optimised.
    pub prior: Prior,
    /// The width of a frame around the image that stays at the low end of the range, in pixels; 0 for none.
    pub frame: usize,
    /// The rule by which the gradient moves it.
    pub update: UpdateRule,
    /// The learning rate of that rule; in pixel values for [`UpdateRule::RmsProp`] on pixels.
    pub learning_rate: f64,
    /// The number of steps.
    pub max_iter: usize,
    /// The number of steps at the start that use [`Rule::Redirected`](crate::Rule::Redirected), by which filters that
    /// answer noise with nothing come to life.
    pub warm_up: usize,
    /// The largest circular shift between the image and the model, as a fraction of its size.
    pub jitter: f32,
    /// Zoom factors between the image and the model, one drawn a step; empty for none.
    pub scales: Vec<f32>,
    /// Rotations in degrees between the image and the model, one drawn a step; empty for none.
    pub rotations: Vec<f32>,
    /// The share of the image's sides that the model sees of it, drawn between these two a step, at a random place, enlarged
    /// to the size of the image; none for the whole image.
    pub crop: Option<(f32, f32)>,
    /// Sizes at which the model sees the image, as factors of its own, one drawn a step; empty for its own. Models that take
    /// one size only see that.
    pub sizes: Vec<f32>,
    /// The standard deviation of the noise that is added between the image and the model, as a share of the range.
    pub noise: f32,
    /// The share of the past in a running mean of the variable, whose image is the result; 0 for the best image of the run.
    /// Under random transforms the best is the one with the luckiest view, and a mean is better than either.
    pub average: f32,
    /// Whether the result has a transparency: where the gradient of the run never went is transparent.
    pub transparency: bool,
    /// The weight of the activation.
    pub act_max_weight: f32,
    /// The weight of a class's [log-odds](crate::Target::log_odds) beside its logit, which tell it from the classes that it is
    /// mistaken for; 0 for the logit alone, and of no account for anything else than a class.
    pub odds: f32,
    /// The exponent of the L-p norm: 6 holds down the brightest pixels, 1 all alike, which keeps a background black.
    pub lp_norm_p: f32,
    /// The weight of the L-p norm.
    pub lp_norm_weight: f32,
    /// The weight of total variation.
    pub tv_weight: f32,
}

/// How an image is written down while it is optimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior {
    /// By its pixels.
    Pixels,
    /// By its Fourier spectrum in decorrelated colours, which makes every spatial frequency equally easy
    /// to move; high frequencies are damped by `frequency^-decay`.
    Fourier {
        /// The exponent; 1 matches the spectrum of natural images.
        decay: f32,
    },
    /// By the phase of its Fourier spectrum; the magnitude is that of photographs
    /// ([`Phase`](crate::parametrization::Phase)).
    Phase,
}

/// The rule by which a gradient moves an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpdateRule {
    /// [The RMSprop of keras-vis](crate::optimizer::RmsProp).
    RmsProp,
    /// Adam. Bears random transforms, and needs a tenth of the memory of L-BFGS.
    #[default]
    Adam,
    /// [Adam with Nesterov momentum](crate::optimizer::Nadam), as in Keras.
    Nadam,
    /// [L-BFGS](crate::optimizer::Lbfgs) on the gradient as it is, with steps of ten 255ths of the range at most. Not with
    /// random transforms.
    Lbfgs,
}

impl Preset {
    /// The settings of keras-vis: pixels, RMSprop in steps of about one pixel value, 200 steps, no transforms,
    /// and weights 1, 10 and 10. Suits VGG16.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization, model::Preset};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, ActivationMaximization::new("conv2", 0));
    /// // An optimizer has these settings already.
    /// let by_preset = run().preset(&Preset::keras_vis()).max_iter(3).minimize()?;
    /// assert_eq!(by_preset.losses, run().max_iter(3).minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn keras_vis() -> Self {
        Self {
            prior: Prior::Pixels,
            frame: 0,
            update: UpdateRule::RmsProp,
            learning_rate: 1.0,
            max_iter: 200,
            warm_up: 0,
            jitter: 0.0,
            scales: Vec::new(),
            rotations: Vec::new(),
            crop: None,
            sizes: Vec::new(),
            noise: 0.0,
            average: 0.0,
            transparency: false,
            act_max_weight: 1.0,
            odds: 0.0,
            lp_norm_p: 6.0,
            lp_norm_weight: 10.0,
            tv_weight: 10.0,
        }
    }

    /// The settings of lucid: a Fourier image in decorrelated colours, Adam, and an objective that must hold under jitter,
    /// zoom and rotation; the result is the image of a running mean, not that of the luckiest view. Suits networks of
    /// every kind.
    ///
    /// ```
    /// use vis::model::{Preset, Prior, UpdateRule};
    /// let preset = Preset::robust();
    /// assert_eq!((preset.prior, preset.update), (Prior::Fourier { decay: 1.0 }, UpdateRule::Adam));
    /// assert!(preset.jitter > 0.0 && !preset.scales.is_empty() && !preset.rotations.is_empty());
    /// assert_eq!((preset.lp_norm_weight, preset.tv_weight), (0.0, 0.0)); // the transforms take their place
    /// ```
    ///
    /// Source: Olah, Mordvintsev & Schubert 2017, *Feature Visualization*, distill.pub.
    pub fn robust() -> Self {
        Self {
            prior: Prior::Fourier { decay: 1.0 },
            frame: 0,
            update: UpdateRule::Adam,
            learning_rate: 0.05,
            max_iter: 256,
            warm_up: 16,
            jitter: 0.05,
            scales: vec![0.9, 0.95, 1.0, 1.05, 1.1],
            rotations: vec![-10.0, -5.0, 0.0, 0.0, 0.0, 5.0, 10.0],
            crop: None,
            sizes: Vec::new(),
            noise: 0.0,
            average: 0.98,
            transparency: false,
            act_max_weight: 1.0,
            odds: 0.0,
            lp_norm_p: 6.0,
            lp_norm_weight: 0.0,
            tv_weight: 0.0,
        }
    }

    /// The settings of MaCo: the [phase](Prior::Phase) of an image alone, under the magnitude spectrum of photographs, seen
    /// in random crops and through noise, with a [transparency](Self::transparency). Pictures that look more like photos
    /// of deep layers and of networks for which [`robust`](Self::robust) gives noise, and excite them less.
    ///
    /// Source: Fel et al. 2023, arXiv 2306.06805.
    #[doc(alias = "MaCo")]
    pub fn maco() -> Self {
        Self {
            prior: Prior::Phase,
            update: UpdateRule::Nadam,
            learning_rate: 0.1,
            max_iter: 384,
            crop: Some((0.4, 0.9)),
            noise: 0.04,
            transparency: true,
            ..Self::robust().still()
        }
    }

    /// The settings for a network that nobody has tuned any for, by the image that it takes: [`robust`](Self::robust) with
    /// shifts of two pixels at least where images are small. Views of several [`sizes`](Self::sizes) are left to those who
    /// know that the whole network takes them.
    ///
    /// ```
    /// use vis::model::{InputSpec, Preset};
    /// let digits = Preset::for_input(&InputSpec::new([1, 28, 28], (0.0, 1.0)));
    /// assert!(28.0 * digits.jitter >= 2.0 && digits.sizes.is_empty());
    /// ```
    pub fn for_input(input: &InputSpec) -> Self {
        let (height, width) = input.size();
        let robust = Self::robust();
        Self { jitter: robust.jitter.max(2.0 / height.min(width).max(4) as f32), ..robust }
    }

    /// The same without random transforms.
    pub(crate) fn still(&self) -> Self {
        Self {
            jitter: 0.0,
            scales: Vec::new(),
            rotations: Vec::new(),
            crop: None,
            sizes: Vec::new(),
            noise: 0.0,
            ..self.clone()
        }
    }
}

impl Default for Preset {
    /// [`robust`](Self::robust).
    fn default() -> Self {
        Self::robust()
    }
}
