//! The generator and the discriminator of digits.

use burn::tensor::Tensor;
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, Losses, Realism};
use vis::model::{Digits, Discriminator, Generator};
use vis::parametrization::Parametrization;
use vis::{Error, Model, Optimizer};

use crate::support::{assert_close, device, gradient_error, tensor};

fn digits(count: u32) -> Tensor<4> {
    let sheet = image::open("examples/data/digits.png").unwrap().into_luma8();
    let mut values = Vec::new();
    for index in 0..count {
        // Six rows a class: one digit of each in turn.
        let (row, column) = (6 * (index % 10), index / 10);
        let cell = image::imageops::crop_imm(&sheet, 28 * column, 28 * row, 28, 28).to_image();
        values.extend(cell.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0));
    }
    tensor(&values, [count as usize, 1, 28, 28])
}

#[test]
fn only_the_direction_of_a_code_counts() {
    let generator = Generator::with_random_weights(3, &device()).unwrap();
    let codes = generator.start([2, 1, 28, 28], 5, 0, &device());
    let (once, thrice) = (generator.decode(codes.clone()), generator.decode(codes * 3.0));
    assert_close(&crate::host::values(once.clone()), &crate::host::values(thrice), 1e-4);
    let other = generator.decode(generator.start([2, 1, 28, 28], 6, 0, &device()));
    assert!((once - other).abs().max().into_scalar::<f32>() > 1e-3);
}

#[test]
fn a_code_does_not_depend_on_which_others_are_drawn_beside_it() {
    let generator = Generator::with_random_weights(3, &device()).unwrap();
    let three = generator.start([3, 1, 28, 28], 5, 0, &device());
    let last = generator.start([1, 1, 28, 28], 5, 2, &device());
    assert_eq!(crate::host::values(three.narrow(0, 2, 1)), crate::host::values(last));
}

#[test]
fn weights_in_a_row_and_by_name_are_the_same() {
    let discriminator = Discriminator::with_random_weights(1, &device()).unwrap();
    let row: Vec<f32> = discriminator.named().into_iter().flat_map(|(_, _, values)| values).collect();
    assert_eq!(row.len(), Discriminator::PARAMETERS);
    assert_eq!(row, crate::host::values(discriminator.flat()));
    let again = Discriminator::from_flat(discriminator.flat());
    let image = digits(1);
    assert_eq!(
        crate::host::values(again.classify(image.clone()).unwrap()),
        crate::host::values(discriminator.classify(image).unwrap())
    );
    for (name, shape, values) in Generator::with_random_weights(1, &device()).unwrap().named() {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
    }
}

#[test]
fn the_gradient_through_the_generator_equals_finite_differences() {
    // The mean of the left half of the picture, as a function of the 32 values of the code. The step is small, because
    // a larger one crosses the kinks of rectifiers.
    let generator = Generator::with_random_weights(4, &device()).unwrap();
    let along = |codes: Tensor<4>| {
        let batch = codes.dims()[0];
        generator.decode(codes).narrow(3, 0, 14).mean_dims(&[1, 2, 3]).reshape([batch])
    };
    let point = crate::host::values(generator.start([1, 1, 28, 28], 9, 0, &device()));
    let leaf = tensor(&point, [1, 32, 1, 1]).autodiff().require_grad();
    let gradient = leaf.grad(&along(leaf.clone()).sum().backward()).unwrap();
    let error = gradient_error(along, &crate::host::values(gradient), &point, [32, 1, 1], 3e-3);
    assert!(error < 2e-2, "{error}");
}

#[test]
fn the_weights_of_the_discriminator_get_gradients() {
    let row = Discriminator::with_random_weights(1, &device()).unwrap().flat();
    let leaf = row.autodiff().require_grad();
    let score = Discriminator::from_flat(leaf.clone()).classify(digits(2).autodiff()).unwrap();
    let gradient = crate::host::values(leaf.grad(&score.sum().backward()).unwrap());
    let moved = gradient.iter().filter(|value| **value != 0.0).count();
    assert!(moved > Discriminator::PARAMETERS / 2, "{moved}");
}

#[test]
fn the_bundled_discriminator_rates_digits_above_what_is_none() {
    let discriminator = Discriminator::bundled(&device()).unwrap();
    let score = |images: Tensor<4>| crate::host::values(discriminator.classify(images).unwrap());
    let real = score(digits(100));
    let above = |others: Vec<f32>| {
        let pairs = real.iter().flat_map(|a| others.iter().map(move |b| a > b));
        pairs.filter(|above| *above).count() as f32 / (real.len() * others.len()) as f32
    };
    let noise = vis::random::noise([20, 1, 28, 28], (0.0, 1.0), 1, 0, &device());
    assert!(above(score(noise.clone())) > 0.95);
    assert!(above(score(digits(20) + (noise - 0.5) * 8.0)) > 0.95);
    assert!(above(score(digits(20).neg() + 1.0)) > 0.95);
}

#[test]
fn a_digit_by_the_generator_is_read_as_what_was_asked_for() {
    let model = Digits::bundled(&device()).unwrap();
    let found = Optimizer::new(&model, ActivationMaximization::per_image("predictions", [3, 7]))
        .batch(2)
        .parametrization(Generator::bundled(&device()).unwrap())
        .update(vis::optimizer::BurnUpdate::new(burn::optim::AdamConfig::new().build()))
        .learning_rate(0.1)
        .max_iter(30)
        .minimize()
        .unwrap();
    let classes = model.classify(found.image.clone()).unwrap().argmax(1);
    assert_eq!(classes.into_data().convert::<i64>().as_slice::<i64>().unwrap(), [3, 7]);
    assert!(crate::host::values(found.image).iter().all(|value| (0.0..=1.0).contains(value)));
}

#[test]
fn a_generated_run_cant_start_from_an_image() {
    let model = Digits::with_random_weights(0, &device()).unwrap();
    let run = Optimizer::new(&model, ActivationMaximization::new("predictions", 1))
        .parametrization(Generator::with_random_weights(0, &device()).unwrap())
        .seed_img(digits(1));
    assert!(matches!(run.minimize(), Err(Error::InvalidParameter { .. })));
}

#[test]
fn realism_falls_along_its_gradient() {
    let discriminator = Discriminator::with_random_weights(1, &device()).unwrap();
    let losses = Losses::from(Realism::new(discriminator.clone(), (0.0, 1.0)));
    let gradient = Gradient::new(&discriminator, &losses);
    let image = digits(3);
    let before = gradient.evaluate(image.clone()).unwrap();
    let after = gradient.values(image - before.gradient * 0.1).unwrap();
    for (after, before) in after.totals().iter().zip(before.losses.totals()) {
        assert!(*after < before);
    }
}
