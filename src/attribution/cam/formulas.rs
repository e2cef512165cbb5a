//! One function a formula, from the activation `[batch, channels, height, width]` and the gradient of the
//! score there to the signed map `[batch, 1, height, width]`.

use burn::tensor::{Tensor, TensorData, activation};

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
