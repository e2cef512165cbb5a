//! Resizing on the host, and pooling by means.

use burn::tensor::activation;
use ndarray::Array3;
use vis::model::Taps;

use super::photo;
use crate::support::assert_close;

#[test]
fn resizing_keeps_flat_images_flat_and_the_mean_of_any() {
    let flat = Array3::from_elem((2, 7, 9), 3.5_f32);
    for size in [(3, 4), (7, 20), (15, 2)] {
        let resized = vis::host::resize(flat.view(), size.0, size.1);
        assert_eq!(resized.dim(), (2, size.0, size.1));
        assert!(resized.iter().all(|value| (value - 3.5).abs() < 1e-5));
    }
    // A chessboard shrunk to a quarter is grey, not a false pattern.
    let board = Array3::from_shape_fn((1, 32, 32), |(_, y, x)| ((x + y) % 2) as f32);
    let grey = vis::host::resize(board.view(), 8, 8);
    assert!(grey.iter().all(|value| (value - 0.5).abs() < 0.02), "{grey}");
}

#[test]
fn average_pooling_passes_a_gradient_to_every_pixel() {
    let image = photo(0, [1, 4, 4]).autodiff().require_grad();
    let pooled = vis::model::layers::average_pool_2x2(image.clone(), &mut Taps::new());
    let gradient = image.grad(&activation::relu(pooled).sum().backward()).unwrap();
    assert_close(&vis::host::values(gradient), &[0.25; 16], 1e-6);
}
