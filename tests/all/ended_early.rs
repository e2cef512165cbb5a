//! A progress callback that breaks ends a run, and what was done is its result.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use vis::model::Tiny;
use vis::optimizer::Minimized;
use vis::visualization::{caricature, deep_dream, invert, style_transfer, texture};
use vis::{Progress, random};

use crate::host;
use crate::support::device;

fn photo(side: usize) -> Tensor<4> {
    random::noise([1, 3, side, side], (0.0, 255.0), 1, 0, &device())
}

/// Goes on after the first step and ends after the second.
fn two_steps(now: &Progress) -> ControlFlow<()> {
    if now.done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[test]
fn drawings_end_after_the_step_that_broke_with_the_best_image_so_far() {
    let model = Tiny::new(&device());
    let drawn: [(&str, Minimized, Minimized); 4] = [
        (
            "caricature",
            caricature(&model, photo(8)).layer("conv2").max_iter(9).progress(two_steps).run().unwrap(),
            caricature(&model, photo(8)).layer("conv2").max_iter(2).run().unwrap(),
        ),
        (
            "inversion",
            invert(&model, photo(8), "conv2").max_iter(9).progress(two_steps).run().unwrap(),
            invert(&model, photo(8), "conv2").max_iter(2).run().unwrap(),
        ),
        (
            "style",
            style_transfer(&model, photo(8), photo(8) * 0.5).max_iter(9).progress(two_steps).run().unwrap(),
            style_transfer(&model, photo(8), photo(8) * 0.5).max_iter(2).run().unwrap(),
        ),
        (
            "texture",
            texture(&model, photo(8)).max_iter(9).progress(two_steps).run().unwrap(),
            texture(&model, photo(8)).max_iter(2).run().unwrap(),
        ),
    ];
    for (name, ended, short) in drawn {
        // What is to come changes nothing of what was done.
        assert_eq!(ended.losses, short.losses, "{name}");
        assert_eq!(host::values(ended.image), host::values(short.image), "{name}");
    }
}

#[test]
fn a_dream_that_is_ended_in_a_small_octave_is_the_photo_with_what_was_dreamt() {
    let model = Tiny::new(&device());
    let photo = photo(16);
    let dream = deep_dream(&model, photo.clone()).layer("conv2").octaves(2).max_iter(3);
    let dream = dream.progress(two_steps);
    let dream = dream.run().unwrap();
    assert_eq!((dream.losses.steps(), dream.layers), (2, vec!["conv2".to_owned()]));
    assert_eq!(dream.sizes, [(11, 11); 2]); // 16/1.4
    assert_eq!(dream.image.dims(), [1, 3, 16, 16]);
    let change = (dream.image - photo).abs();
    let (mean, most) = (change.clone().mean().into_scalar::<f32>(), change.max().into_scalar::<f32>());
    // Two steps that change a pixel by 1.5 each in the mean.
    assert!(mean > 0.1 && mean < 3.01 && most < 40.0, "{mean} {most}");
}
