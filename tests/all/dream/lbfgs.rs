//! L-BFGS.

use burn::tensor::Tensor;
use vis::optimizer::{Lbfgs, Normalization, Update};
use vis::{Loss, Optimizer, Scene};

use crate::support::{assert_close, identity, tensor};

/// `½ Σ k·(x − t)²` with curvatures from 1 to `count`.
struct Quadratic(Vec<f32>);

impl Loss for Quadratic {
    fn name(&self) -> String {
        "quadratic".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let image = scene.image();
        let [batch, channels, height, width] = image.dims();
        let curvature: Vec<f32> = (1..=self.0.len()).map(|k| k as f32).collect();
        let shape = [1, channels, height, width];
        let away = (image - tensor(&self.0, shape)).square() * tensor(&curvature, shape) * 0.5;
        Ok(away.sum_dims(&[1, 2, 3]).reshape([batch]))
    }
}

#[test]
fn lbfgs_reaches_the_minimum_of_a_quadratic() {
    // Condition number 12 in 12 dimensions; gradient descent at its best rate 2/13 shrinks the error by 11/13 a step:
    // 0.847³⁰ = 0.007. L-BFGS is there.
    let target: Vec<f32> = (0..12).map(|k| ((k * 5) % 12) as f32 - 6.0).collect();
    let model = identity([3, 2, 2]);
    let start = Tensor::cat(vec![tensor(&[0.0; 12], [1, 3, 2, 2]), tensor(&[9.0; 12], [1, 3, 2, 2])], 0);
    let result = Optimizer::new(&model, Quadratic(target.clone()))
        .seed_img(start)
        .update(Lbfgs::new(10.0).unwrap())
        .normalize(Normalization::None)
        .max_iter(30)
        .minimize()
        .unwrap();
    for image in crate::host::values(result.image).chunks(12) {
        assert_close(image, &target, 1e-3);
    }
}

#[test]
fn lbfgs_takes_no_step_longer_than_allowed_and_starts_along_the_gradient() {
    let mut update = Lbfgs::new(2.0).unwrap();
    let at = |values: [f32; 2]| tensor(&values, [1, 1, 1, 2]);
    // The first step: a tenth of 2 in root mean square along −(3, 4), whose root mean square is √12.5.
    let first = update.step(at([0.0, 0.0]), at([3.0, 4.0]), 1.0);
    let unit = 0.2 / 12.5_f32.sqrt();
    assert_close(&crate::host::values(first.clone()), &[-3.0 * unit, -4.0 * unit], 1e-6);
    // A gradient that hardly changed means hardly any curvature: a step of enormous length, cut to 2.
    let second = update.step(first.clone(), at([2.999, 3.999]), 1.0);
    let length = (second - first).square().mean().sqrt().into_scalar::<f32>();
    assert_close(&[length], &[2.0], 1e-4);
    assert!(Lbfgs::new(0.0).is_err());
}

#[test]
fn lbfgs_goes_on_where_the_curvature_is_negative() {
    // −cos has negative curvature beyond π/2: the first pairs are left out, and the minimum at 0 is still reached.
    struct Wave;
    impl Loss for Wave {
        fn name(&self) -> String {
            "wave".into()
        }
        fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
            Ok(scene.image().cos().neg().sum_dims(&[1, 2, 3]).reshape([scene.batch()]))
        }
    }
    let model = identity([1, 1, 2]);
    let result = Optimizer::new(&model, Wave)
        .seed_img(tensor(&[2.9, -2.5], [1, 1, 1, 2]))
        .update(Lbfgs::new(0.5).unwrap())
        .normalize(Normalization::None)
        .max_iter(60)
        .minimize()
        .unwrap();
    assert_close(&crate::host::values(result.image), &[0.0, 0.0], 1e-2);
}
