//! Pictures that make filters fire: their settings, how they are cut into batches, and what is told of them.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use vis::model::{Digits, EfficientNetLite0, InputSpec, Preset, Taps, Tiny, Vgg16};
use vis::parametrization::{Fourier, Pixels};
use vis::visualization::{Activations, VisualizeActivation};
use vis::{Error, Model, visualize_activation};

use crate::support::{Function, assert_close, device};

/// Whether both runs made the same pictures and histories, to the last bit.
#[track_caller]
fn assert_same(one: &Activations, other: &Activations) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other.iter()) {
        assert!(one.image == other.image, "{}", one.label);
        assert_eq!((one.before, one.after, &one.losses), (other.before, other.after, &other.losses));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_through_the_kernels_of_real_networks() {
    let (digits, vgg, lite) = (
        Digits::bundled(&device()).unwrap(),
        Vgg16::bundled(&device()).unwrap(),
        EfficientNetLite0::bundled(&device()).unwrap(),
    );
    let digits =
        |seed| visualize_activation(&digits, "predictions").filter_indices([3, 8]).seed(seed).max_iter(3);
    let vgg = |seed| {
        let run = visualize_activation(&vgg, "block5_conv3").filter_indices([0, 67]).size(64, 64);
        run.seed(seed).max_iter(3)
    };
    let lite = |seed| visualize_activation(&lite, "predictions").filter_indices([130]).seed(seed).max_iter(2);
    let runs: [(&str, &dyn Fn(u64) -> Activations); 3] = [
        ("digits", &|seed| digits(seed).run().unwrap()),
        ("VGG16", &|seed| vgg(seed).run().unwrap()),
        ("EfficientNet-Lite0", &|seed| lite(seed).run().unwrap()),
    ];
    for (name, run) in runs {
        let first = run(1);
        assert_same(&first, &run(1));
        assert!(first[0].image != run(2)[0].image, "{name}");
        assert!(first[0].losses.steps() > 1);
    }
}

#[test]
fn how_pictures_are_cut_into_batches_changes_nothing() {
    let (tiny, digits) = (Tiny::new(&device()), Digits::bundled(&device()).unwrap());
    let tiny = || visualize_activation(&tiny, "conv2").preset(Preset::robust()).max_iter(6);
    let digits = || visualize_activation(&digits, "predictions").filter_indices([1, 7, 4]).max_iter(3);
    for (name, together, one_by_one) in [
        ("tiny", tiny().run().unwrap(), tiny().memory_limit(1).run().unwrap()),
        ("digits", digits().run().unwrap(), digits().memory_limit(1).run().unwrap()),
    ] {
        assert!(together.len() == one_by_one.len() && together.len() > 2);
        for (together, alone) in together.iter().zip(one_by_one.iter()) {
            // A product over more columns may add in another order, so the last digits differ.
            let apart = (&together.image - &alone.image).mapv(f32::abs).mean().unwrap();
            assert!(apart < 1e-3, "{name}, {}: {apart}", together.label);
            assert_close(&[together.before, together.after], &[alone.before, alone.after], 1e-3);
        }
    }
}

#[test]
fn a_picture_depends_on_its_filters_and_not_on_those_beside_it() {
    let spec = InputSpec::new([2, 9, 12], (-1.0, 1.0));
    let mixed = Function(spec, |x: Tensor<4>, taps: &mut Taps| {
        let x = x.clone().mul(x.clone().flip([3]) + 0.5) + x.flip([1, 2]);
        taps.layer("mixed", x).unwrap_or_else(|_| unreachable!("the output is wanted"))
    });
    let preset = || Preset { max_iter: 5, ..Preset::robust() };
    let pixels = || Preset { jitter: 0.3, max_iter: 5, ..Preset::keras_vis() };
    for preset in [preset(), pixels()] {
        let run = |filters: Vec<Vec<usize>>, memory| {
            let run = visualize_activation(&mixed, "output").filter_indices(filters).preset(preset.clone());
            run.seed(3).memory_limit(memory).run().unwrap()
        };
        let alone = run(vec![vec![1]], 1 << 30);
        let [low, high] = [-1.0, 1.0];
        for memory in [1, 1 << 30] {
            let beside = run(vec![vec![0], vec![1], vec![1, 0], vec![1], vec![0, 1], vec![1]], memory);
            assert_same_picture(&alone[0].image, &beside[1].image, (high - low) * 1e-4);
            // Asked for again, it is another picture; the same one wherever it is asked for again.
            let thrice = run(vec![vec![1]; 3], memory);
            for (repetition, index) in [1, 3, 5].into_iter().enumerate() {
                assert_same_picture(&thrice[repetition].image, &beside[index].image, (high - low) * 1e-4);
                for other in 0..repetition {
                    assert!(apart(&thrice[repetition].image, &thrice[other].image) > 1e-2);
                }
            }
            // The order of joint filters is no other question.
            assert!(apart(&beside[2].image, &beside[4].image) > 1e-2);
            assert_same_picture(
                &beside[2].image,
                &run(vec![vec![0, 1]], memory)[0].image,
                (high - low) * 1e-4,
            );
        }
    }
}

#[test]
fn three_times_the_same_filter_from_one_image_are_jittered_apart() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 9, 0, &device());
    let run = |filters: Vec<usize>| {
        let run = visualize_activation(&model, "conv2").filter_indices(filters).seed_img(image.clone());
        run.jitter(0.25).tv_weight(0.0).lp_norm_weight(0.0).max_iter(12).run().unwrap()
    };
    let (alone, several) = (run(vec![3]), run(vec![0, 3, 3, 3]));
    assert_same_picture(&alone[0].image, &several[1].image, 1e-2);
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        assert!(apart(&several[one].image, &several[other].image) > 1.0);
    }
}

/// The largest difference of two pictures.
fn apart(one: &ndarray::Array3<f32>, other: &ndarray::Array3<f32>) -> f32 {
    (one - other).iter().fold(0.0, |most, value| most.max(value.abs()))
}

#[track_caller]
fn assert_same_picture(one: &ndarray::Array3<f32>, other: &ndarray::Array3<f32>, within: f32) {
    assert!(apart(one, other) <= within, "{} apart", apart(one, other));
}

#[test]
fn a_picture_is_shown_by_the_parametrization_in_use() {
    let model = Tiny::new(&device());
    let shown = |preset: Preset, fourier: bool| {
        let run = visualize_activation(&model, "conv2").filter_indices([2]).preset(preset).max_iter(3);
        let run = run.configure(move |optimizer| match fourier {
            true => optimizer.parametrization(Fourier::new([8, 8], (0.0, 255.0))),
            false => optimizer.parametrization(Pixels::new((0.0, 255.0))),
        });
        let made = run.run().unwrap();
        (made[0].picture().unwrap(), made[0].image.clone())
    };
    for preset in [Preset::keras_vis(), Preset::robust()] {
        let (picture, image) = shown(preset.clone(), true);
        assert_eq!(picture, vis::picture::from_array(image.view(), (0.0, 255.0)).unwrap());
        let (picture, image) = shown(preset, false);
        assert_eq!(picture, vis::picture::deprocess(image.view()).unwrap());
        assert_ne!(picture, vis::picture::from_array(image.view(), (0.0, 255.0)).unwrap());
    }
}

#[test]
fn every_filter_gets_a_picture_unless_some_are_named() {
    let model = Tiny::new(&device());
    let all = visualize_activation(&model, "conv2").max_iter(2).run().unwrap();
    let labels: Vec<_> = all.iter().map(|picture| picture.label.as_str()).collect();
    assert_eq!(labels, ["Filter 0", "Filter 1", "Filter 2", "Filter 3", "Filter 4", "Filter 5"]);
    let listed = visualize_activation(&model, "conv2").filter_indices(0..6).max_iter(2).run().unwrap();
    assert_same(&all, &listed);
}

#[test]
fn captions_are_the_labels_given_or_the_names_of_the_classes_or_the_indices() {
    let labels = |run: VisualizeActivation<'_>| {
        let pictures = run.max_iter(0).run().unwrap();
        pictures.iter().map(|picture| picture.label.clone()).collect::<Vec<_>>()
    };
    let (digits, tiny) = (Digits::bundled(&device()).unwrap(), Tiny::new(&device()));
    let joint = || [vec![3], vec![1, 7]];
    assert_eq!(labels(visualize_activation(&digits, "predictions").filter_indices(joint())), ["3", "1, 7"]);
    // Neither a hidden layer nor a network that knows no names has them.
    let hidden = visualize_activation(&digits, "conv2").filter_indices(joint());
    assert_eq!(labels(hidden), ["Filter 3", "Filter 1, 7"]);
    assert_eq!(labels(visualize_activation(&tiny, "logits").filter_indices([4])), ["Filter 4"]);
    let given =
        visualize_activation(&digits, "predictions").filter_indices(joint()).labels(["three", "both"]);
    assert_eq!(labels(given), ["three", "both"]);
}

#[test]
fn labels_and_seed_images_of_another_number_than_the_pictures_are_refused() {
    let model = Tiny::new(&device());
    let run = || visualize_activation(&model, "conv2").filter_indices([0, 1, 2]);
    let said = |run: VisualizeActivation<'_>| run.run().unwrap_err().to_string();
    assert_eq!(said(run().labels(["a"])), "the labels must be one for each of the 3 pictures, not 1");
    let two = Tensor::zeros([2, 3, 8, 8], &device());
    assert_eq!(said(run().seed_img(two)), "the seed images must be one for each of the 3 pictures, not 2");
    let none: [usize; 0] = [];
    assert!(said(run().filter_indices(none)).contains("at least one entry"));
}

#[test]
fn one_seed_image_serves_all_pictures_and_several_one_each() {
    let model = Tiny::new(&device());
    let image = |shade: f32| model.input().zeros(&device()) + shade;
    let start = |images: Vec<f32>, memory: usize| {
        let images = Tensor::cat(images.into_iter().map(image).collect(), 0);
        let run = visualize_activation(&model, "conv2").filter_indices([0, 1, 2]).seed_img(images);
        let pictures = run.memory_limit(memory).max_iter(0).run().unwrap();
        pictures.iter().map(|picture| picture.image[[2, 7, 0]]).collect::<Vec<_>>()
    };
    // One at a time, or all together.
    for memory in [1, 1 << 30] {
        assert_eq!(start(vec![5.0], memory), [5.0; 3]);
        assert_eq!(start(vec![10.0, 20.0, 30.0], memory), [10.0, 20.0, 30.0]);
    }
}

#[test]
fn breaking_in_the_second_batch_keeps_the_first_and_what_was_begun() {
    let model = Tiny::new(&device());
    let run = || visualize_activation(&model, "conv2").filter_indices([0, 1, 2]).max_iter(4).memory_limit(1);
    let mut told = Vec::new();
    let two_steps_into_the_second = |now: &vis::Progress| {
        told.push((now.stage.clone(), now.done));
        assert_eq!(now.of, 12);
        if now.done == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let broken = run().progress(two_steps_into_the_second).run().unwrap();
    assert_eq!(broken.iter().map(|picture| picture.losses.steps()).collect::<Vec<_>>(), [4, 2]);
    let whole = run().run().unwrap();
    assert_eq!(broken[0].image, whole[0].image);
    let (short, long) = (broken[1].losses.totals(), whole[1].losses.totals());
    assert_eq!(short, long.slice(ndarray::s![..2, ..]));
    let stage = |number: usize| format!("pictures {number} to {number} of 3");
    let expected: Vec<_> = (1..=6).map(|done| (stage(if done <= 4 { 1 } else { 2 }), done)).collect();
    assert_eq!(told, expected);
}

#[test]
fn filters_that_nothing_moves_are_dead_and_no_others() {
    // The first filter answers 5 whatever it sees, the second nothing, the third the image, the fourth its shadow,
    // never above 0.
    let model = Function(InputSpec::new([1, 8, 8], (0.0, 255.0)), |x: Tensor<4>, _: &mut Taps| {
        let constant = x.zeros_like() + 5.0;
        Tensor::cat(vec![constant, x.clone() * 0.0, x.clone(), x.neg()], 1)
    });
    let run = || visualize_activation(&model, "output");
    let dead = |run: VisualizeActivation<'_>| {
        run.run().unwrap().iter().map(|picture| picture.dead).collect::<Vec<_>>()
    };
    assert_eq!(dead(run().max_iter(3)), [true, true, false, false]);
    let pictures = run().max_iter(3).run().unwrap();
    assert_eq!((pictures[0].before, pictures[0].after), (5.0, 5.0));
    assert_eq!(pictures.dead(), ["Filter 0", "Filter 1"]);
    // Also when the activation is not among the losses.
    assert_eq!(dead(run().act_max_weight(0.0).tv_weight(10.0).max_iter(3)), [true, true, false, false]);
    // Two images must have been seen to tell. Without views at random the network sees one a step.
    let still = || run().preset(Preset::keras_vis());
    for steps in [0, 1] {
        assert_eq!(dead(still().max_iter(steps)), [false; 4], "{steps} steps");
    }
    assert_eq!(dead(still().learning_rate(0.0).max_iter(3)), [false; 4]);
    // Unless there is nothing at all to follow.
    let alone = run().lp_norm_weight(0.0).tv_weight(0.0);
    assert_eq!(dead(alone.max_iter(3)), [true, true, false, false]);
}

#[test]
fn a_size_that_the_network_cannot_take_is_refused() {
    let model = Tiny::new(&device());
    let error = visualize_activation(&model, "conv2").size(9, 8).run().unwrap_err();
    assert!(matches!(*error.source, Error::Shape { .. }), "{error}");
}
