//! Caricature and inversion, and what all methods have in common.

use burn::tensor::Tensor;
use vis::Error;
use vis::model::Tiny;
use vis::model::UpdateRule;
use vis::visualization::{caricature, deep_dream, invert, style_transfer, texture};

use super::{any_size, photo};
use crate::support::{assert_close, device};

#[test]
fn every_method_lowers_its_loss() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let runs = [
        caricature(&model, image.clone()).max_iter(15).run().unwrap(),
        invert(&model, image.clone(), "conv1").max_iter(15).run().unwrap(),
        style_transfer(&model, image.clone(), painting.clone()).max_iter(15).run().unwrap(),
        style_transfer(&model, image, painting.clone()).max_iter(15).update(UpdateRule::Lbfgs).run().unwrap(),
        texture(&model, painting).max_iter(15).run().unwrap(),
    ];
    for run in runs {
        let first = run.losses.totals()[[0, 0]];
        assert!(run.best_loss[0] < first - 0.1 * first.abs(), "{first} → {:?}", run.best_loss);
        assert_eq!(run.losses.steps(), 15);
    }
}

#[test]
fn paintings_and_photos_of_several_images_are_refused() {
    let model = Tiny::new(&device());
    let two = Tensor::zeros([2, 3, 8, 8], &device());
    let one = photo(0, [3, 8, 8]);
    assert!(matches!(deep_dream(&model, two.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(style_transfer(&model, two.clone(), one.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(style_transfer(&model, one, two.clone()).run(), Err(Error::Shape { .. })));
    assert!(matches!(texture(&model, two).run(), Err(Error::Shape { .. })));
}

#[test]
fn drawings_of_odd_sizes_come_nearer_to_what_the_layer_saw() {
    let model = any_size();
    let image = photo(3, [3, 33, 47]);
    let drawn = caricature(&model, image.clone()).layer("output").jitter(0).max_iter(25).run().unwrap();
    let inverted = invert(&model, image.clone(), "output").tv_weight(0.0).max_iter(60).run().unwrap();
    for run in [&drawn, &inverted] {
        assert_eq!(run.image.dims(), [1, 3, 33, 47]);
        // What is squeezed into the range stays there.
        assert!(crate::host::values(run.image.clone()).iter().all(|value| (0.0..=255.0).contains(value)));
    }
    let features = |image| crate::host::values(vis::Model::activation(&model, image, "output").unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let (of_photo, grey) = (features(image), features(Tensor::full([1, 3, 33, 47], 127.5, &device())));

    // A caricature: the dot product over the number of values, times the cosine.
    let caricatured = |a: &[f32]| {
        let dot_product = dot(a, &of_photo);
        let cosine = dot_product / (dot(a, a) * dot(&of_photo, &of_photo)).sqrt();
        (dot_product / a.len() as f64 * cosine) as f32
    };
    let drawn_features = features(drawn.image);
    assert_close(&[-caricatured(&drawn_features)], &drawn.best_loss, 1e-3 * drawn.best_loss[0].abs());
    assert!(caricatured(&drawn_features) > 1.1 * caricatured(&grey));

    // An inversion: the squared distance, over the photo's own square.
    let distance = |a: &[f32]| {
        let away: Vec<f32> = a.iter().zip(&of_photo).map(|(a, b)| a - b).collect();
        (dot(&away, &away) / dot(&of_photo, &of_photo)) as f32
    };
    let inverted_features = features(inverted.image);
    assert_close(&[distance(&inverted_features)], &inverted.best_loss, 1e-3);
    assert!(distance(&inverted_features) < 0.5 * distance(&grey));
}

#[test]
fn no_jitter_is_too_large() {
    let model = any_size();
    let image = photo(3, [3, 32, 32]);
    let dream = deep_dream(&model, image.clone()).layer("output").octaves(1).max_iter(2).jitter(usize::MAX);
    assert_eq!(dream.run().unwrap().losses.steps(), 2);
    let drawn = caricature(&model, image).layer("output").max_iter(2).jitter(usize::MAX).run().unwrap();
    assert_eq!(drawn.losses.steps(), 2);
}
