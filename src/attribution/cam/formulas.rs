//! The formulas: their names, and one function each, from the activation `[batch, channels, height, width]` and the
//! gradient of the score there to the signed map `[batch, 1, height, width]`.

use std::fmt;

use burn::tensor::{Tensor, TensorData, activation};

#[cfg(doc)]
use super::super::Baseline;

/// How a class activation map follows from the activation `A` of a layer and the gradient `G = ∂S/∂A` of the
/// target's score there.
///
/// `k` counts channels and `p` the `P` positions. All maps are given before the rectification that most
/// papers end with.
///
/// | formula | map at position `p` | costs |
/// | --- | --- | --- |
/// | Grad-CAM | `Σ_k mean_p(G_k) · A_k(p)` | 1 backward pass |
/// | Grad-CAM++ | `Σ_k [ Σ_q α_k(q) · max(G_k(q), 0) ] · A_k(p)` with `α = G² / (2 G² + G³ Σ_q A(q))` | 1 backward pass |
/// | HiResCAM | `Σ_k G_k(p) · A_k(p)` | 1 backward pass |
/// | XGradCAM | `Σ_k [ Σ_q G_k(q) A_k(q) / Σ_q A_k(q) ] · A_k(p)` | 1 backward pass |
/// | LayerCAM | `Σ_k max(G_k(p), 0) · A_k(p)` | 1 backward pass |
/// | EigenCAM | the first principal component of `A` over its positions | 1 forward pass |
/// | Ablation-CAM | `Σ_k (S − S_k) / ∣S∣ · A_k(p)`, `S_k` the score with channel `k` set to 0 | a forward pass a channel, from the layer on |
/// | Score-CAM | `Σ_k softmax_k( S(x masked by A_k) ) · A_k(p)` | a forward pass a channel, all of it |
///
/// Where libraries differ, this one does as the paper and as pytorch-grad-cam does:
///
/// - **Grad-CAM++** sums `A` over positions (xplique takes the mean; tf-keras-vis renormalises `α`). As in
///   pytorch-grad-cam 1e-6 is added to the denominator: gradients much below 0.001 are damped. The formula
///   is made for activations that are not negative.
/// - **XGradCAM** divides by the plain sum of `A`; a channel whose sum is 0 gets no weight.
/// - **EigenCAM** takes `A` with each channel's mean removed, as pytorch-grad-cam; the component's sign, which
///   is arbitrary there, is chosen so that the map grows with the mean over the channels. It knows no target.
/// - **Ablation-CAM** divides by the score's *magnitude*: with a negative score the paper's quotient would turn
///   the map upside down.
/// - **Score-CAM** takes the softmax over the *channels* (tf-keras-vis takes it over classes), of the target's
///   scores; subtracting the score of the baseline, as the paper does, changes no softmax. Masks are enlarged
///   bilinearly and brought to 0..1 each; what is masked becomes black, or the [`Baseline`] given.
///
/// In a network that ends in global average pooling and one dense layer, at the pooled layer, Grad-CAM,
/// HiResCAM and XGradCAM are the same map, and its sum over positions is the logit minus its bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Formula {
    /// Selvaraju et al. 2016, arXiv 1610.02391, equations 1 and 2. Blurs evidence over places the score did
    /// not use, where the gradient varies within a channel.
    #[default]
    #[doc(alias = "grad-cam")]
    GradCam,
    /// Chattopadhyay et al. 2017, arXiv 1710.11063, equations 7 and 19. Meant for several objects of a class.
    GradCamPlusPlus,
    /// Draelos & Carin 2020, arXiv 2011.08891, equation 5. Credits exactly the places that the score used, as
    /// far as the gradient knows.
    HiResCam,
    /// Fu et al. 2020, arXiv 2008.02312, equation 8.
    XGradCam,
    /// Jiang et al. 2021, *LayerCAM*, equations 5 to 7. Works at shallow layers too.
    LayerCam,
    /// Muhammad & Yeasin 2020, arXiv 2008.00299, section III. What the layer responds to most, whatever the class.
    EigenCam,
    /// Desai & Ramaswamy 2020, *Ablation-CAM*, equations 3 and 4. No gradient, so no saturation.
    AblationCam,
    /// Wang et al. 2019, arXiv 1910.01279, equations 3 to 6. No gradient; depends on how the network takes to
    /// darkened images.
    ScoreCam,
}

impl Formula {
    /// Every formula.
    pub const ALL: [Self; 8] = [
        Self::GradCam,
        Self::GradCamPlusPlus,
        Self::HiResCam,
        Self::XGradCam,
        Self::LayerCam,
        Self::EigenCam,
        Self::AblationCam,
        Self::ScoreCam,
    ];

    /// The name as its paper writes it.
    ///
    /// ```
    /// assert_eq!(vis::attribution::Formula::GradCamPlusPlus.name(), "Grad-CAM++");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "Grad-CAM",
            Self::GradCamPlusPlus => "Grad-CAM++",
            Self::HiResCam => "HiResCAM",
            Self::XGradCam => "XGradCAM",
            Self::LayerCam => "LayerCAM",
            Self::EigenCam => "EigenCAM",
            Self::AblationCam => "Ablation-CAM",
            Self::ScoreCam => "Score-CAM",
        }
    }

    pub(super) fn uses_gradient(self) -> bool {
        !matches!(self, Self::EigenCam | Self::AblationCam | Self::ScoreCam)
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `Σ_k mean_p(G_k) · A_k`.
pub(super) fn grad_cam(activation: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
    weighted_sum(activation, gradient.mean_dims(&[2, 3]))
}

/// `Σ_k [ Σ_q α_k(q) · max(G_k(q), 0) ] · A_k` with `α = G² / (2 G² + G³ Σ A + 10⁻⁶)`.
pub(super) fn grad_cam_plus_plus(activation: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
    // Of pytorch-grad-cam; without it α is 1 / (2 + G Σ A), which differs where G² is not far above it.
    const EPSILON: f32 = 1e-6;
    let sum = activation.clone().sum_dims(&[2, 3]);
    let square = gradient.clone().square();
    let denominator = square.clone() * (sum * gradient.clone() + 2.0) + EPSILON;
    // Negative activations can bring the denominator to 0.
    let dead = denominator.clone().equal_elem(0.0);
    let alpha = square / denominator.mask_fill(dead, 1.0);
    let weights = (alpha * activation::relu(gradient)).sum_dims(&[2, 3]);
    weighted_sum(activation, weights)
}

/// `Σ_k G_k · A_k`.
pub(super) fn hires_cam(activation: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
    (gradient * activation).sum_dim(1)
}

/// `Σ_k [ Σ_q G_k(q) A_k(q) / Σ_q A_k(q) ] · A_k`.
pub(super) fn xgrad_cam(activation: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
    let sum = activation.clone().sum_dims(&[2, 3]);
    let empty = sum.clone().equal_elem(0.0);
    let product = (gradient * activation.clone()).sum_dims(&[2, 3]);
    let weights = (product / sum.mask_fill(empty.clone(), 1.0)).mask_fill(empty, 0.0);
    weighted_sum(activation, weights)
}

/// `Σ_k max(G_k, 0) · A_k`.
pub(super) fn layer_cam(activation: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
    (activation::relu(gradient) * activation).sum_dim(1)
}

/// The sum over channels weighted by `[batch or 1, channels, 1, 1]`.
pub(super) fn weighted_sum(activation: Tensor<4>, weights: Tensor<4>) -> Tensor<4> {
    (activation * weights).sum_dim(1)
}

/// The projection of each position of one image's activation on the first principal axis of all of them, with
/// the sign that grows with the mean over the channels.
pub(super) fn eigen_cam(activation: Tensor<4>) -> Tensor<4> {
    let [_, channels, height, width] = activation.dims();
    let positions = height * width;
    let device = activation.device();
    // Rows are channels, columns are positions; each row loses its mean.
    let mut rows: Vec<f64> = crate::host::values(activation).into_iter().map(f64::from).collect();
    let mut mean = vec![0.0_f64; positions];
    for row in rows.chunks_mut(positions) {
        for (sum, value) in mean.iter_mut().zip(row.iter()) {
            *sum += value / channels as f64;
        }
        let middle = row.iter().sum::<f64>() / positions as f64;
        row.iter_mut().for_each(|value| *value -= middle);
    }
    let projection = first_component(&rows, positions);
    let likeness: f64 = projection.iter().zip(&mean).map(|(a, b)| a * b).sum();
    let sign = if likeness < 0.0 { -1.0 } else { 1.0 };
    let values: Vec<f32> = projection.into_iter().map(|value| (sign * value) as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, height, width]), &device)
}

/// `σ u` of the largest singular value of a matrix of centred rows, by power iteration: `u ← XᵀX u`.
fn first_component(rows: &[f64], positions: usize) -> Vec<f64> {
    // A start that no symmetry of the map is likely to be orthogonal to.
    let start = (1..=positions).map(|place| (place as f64 * 0.618_033_988_749_895).fract() - 0.5);
    let mut component: Vec<f64> = start.collect();
    let mut strength = 0.0_f64;
    // Convergence is as (σ₂/σ₁)^(2·steps): a thousand steps part values that differ by a hundredth.
    for _ in 0..1000 {
        let mut next = vec![0.0_f64; positions];
        for row in rows.chunks(positions) {
            let along: f64 = row.iter().zip(&component).map(|(a, b)| a * b).sum();
            next.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
        }
        let length = next.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length == 0.0 {
            return vec![0.0; positions]; // the activation is constant
        }
        next.iter_mut().for_each(|value| *value /= length);
        let moved: f64 = next.iter().zip(&component).map(|(a, b)| (a - b) * (a - b)).sum();
        component = next;
        strength = length; // the eigenvalue of XᵀX, σ², once converged
        if moved < 1e-20 {
            break;
        }
    }
    component.iter_mut().for_each(|value| *value *= strength.sqrt());
    component
}
