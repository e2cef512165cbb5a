//! Style transfer and texture synthesis.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::{Array3, Axis, s};
use vis::gradient::Gradient;
use vis::losses::{Losses, Style};
use vis::model::{InputSpec, Taps, Tiny, Vgg16};
use vis::visualization::{StyleStart, StyleTransfer, style_transfer, texture};
use vis::{Error, Model, Progress};

use super::{any_size, array3, difference, photo};
use crate::support::{Function, assert_close, device};

/// A photo and a painting of odd sizes, in three sizes: 71 → 35 → 20 pixels on the longest side.
fn in_stages(model: &dyn Model) -> StyleTransfer<'_> {
    style_transfer(model, photo(1, [3, 45, 71]), photo(2, [3, 50, 40]))
        .content_layer("output")
        .style_layers([("output", 1.0)])
        .from_size(20)
}

/// The width of the image that is being worked on.
fn width_of(now: &Progress) -> usize {
    now.stage.split_once('×').unwrap().0.parse().unwrap()
}

/// One network, whose images are in a range of their own.
fn in_range(low: f32, high: f32) -> impl Model {
    let spec = InputSpec::new([3, 9, 7], (low, high));
    Function(spec, move |x: Tensor<4>, taps: &mut Taps| {
        let x = (x - low) / (high - low);
        let x = x.clone() * x.flip([1]) + 0.1;
        taps.layer("shallow", x.clone()).map_or(x, |x| x.powi_scalar(2))
    })
}

#[test]
fn losses_and_steps_of_style_transfer_do_not_depend_on_the_range_of_the_network() {
    let [content, painting] = [1, 2].map(|seed| photo(seed, [3, 9, 7]) / 255.0);
    let run = |low: f32, high: f32| {
        let model = in_range(low, high);
        let [content, painting] = [&content, &painting].map(|image| image.clone() * (high - low) + low);
        let transfer = style_transfer(&model, content, painting).tv_weight(0.7).max_iter(4);
        let painted = transfer.content_layer("shallow").style_layers([("shallow", 1.0)]).run().unwrap();
        let image = crate::host::values((painted.image - low) / (high - low));
        let values = painted.losses.values().iter().copied().collect::<Vec<_>>();
        (painted.losses.names().to_vec(), values, image)
    };
    let (names, losses, image) = run(0.0, 1.0);
    assert_eq!(names, ["content at shallow", "style", "TV(2)"]);
    // Total variation is worth its weight, taken of an image in 0..1.
    let scene = vis::Scene::new(content.clone(), []);
    let variation = vis::Loss::build_loss(&vis::losses::TotalVariation::default(), &scene).unwrap();
    assert_close(&[losses[2]], &[0.7 * variation.into_scalar::<f32>()], 1e-5);
    for (low, high) in [(0.0, 255.0), (-1.0, 1.0), (-3.0, 40.0)] {
        let (_, others, other) = run(low, high);
        assert_close(&others, &losses, 2e-3);
        assert_close(&other, &image, 2e-2);
    }
}

#[test]
fn style_transfer_of_zero_steps_is_the_photo_or_the_noise() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let painted = style_transfer(&model, image.clone(), painting.clone()).max_iter(0).run().unwrap();
    assert_eq!(crate::host::values(painted.image), crate::host::values(image.clone()));
    let from_noise = |seed| {
        let painted =
            style_transfer(&model, image.clone(), painting.clone()).start(StyleStart::Noise).seed(seed);
        crate::host::values(painted.max_iter(0).run().unwrap().image)
    };
    assert_eq!(from_noise(1), from_noise(1));
    assert_ne!(from_noise(1), from_noise(2));
}

#[test]
fn style_transfer_goes_from_coarse_to_fine_at_odd_sizes() {
    let model = any_size();
    let mut sizes = Vec::new();
    let mut done = 0;
    let transfer = in_stages(&model).max_iter(8).progress(|now| {
        sizes.push(width_of(now));
        done += 1;
        assert_eq!((now.done, now.of), (done, 14), "counted over all sizes");
        ControlFlow::Continue(())
    });
    let painted = transfer.run().unwrap();
    assert_eq!(painted.image.dims(), [1, 3, 45, 71]);
    // 8, 4 and 2 steps.
    assert_eq!(sizes, [vec![20; 8], vec![35; 4], vec![71; 2]].concat());
    // The losses are those of all of them; the best image is one of the last.
    let totals = painted.losses.totals();
    assert_eq!(totals.dim(), (14, 1));
    let best = painted.best_step[0];
    assert!(best >= 12, "{best}");
    assert_close(&[totals[[best, 0]]], &painted.best_loss, 0.0);
    assert!(totals.slice(s![12.., 0]).iter().all(|total| *total >= painted.best_loss[0]));
}

#[test]
fn zero_steps_in_several_sizes_give_the_photo_and_one_step_is_taken_at_each() {
    let model = any_size();
    let zero = in_stages(&model).max_iter(0).run().unwrap();
    assert_eq!(zero.losses.steps(), 0);
    assert_eq!(crate::host::values(zero.image), crate::host::values(photo(1, [3, 45, 71])));
    let noise = in_stages(&model).start(StyleStart::Noise).max_iter(0).run().unwrap();
    assert_eq!(noise.image.dims(), [1, 3, 45, 71]);

    let mut sizes = Vec::new();
    let transfer = in_stages(&model).max_iter(1).progress(|now| {
        sizes.push(width_of(now));
        ControlFlow::Continue(())
    });
    assert_eq!(transfer.run().unwrap().losses.steps(), 3);
    assert_eq!(sizes, [20, 35, 71]);
}

#[test]
fn with_nothing_to_paint_the_photo_goes_through_all_sizes_unchanged() {
    // The content alone is met by the photo itself: what is carried from size to size is no change at all, and not a
    // photo that has been small.
    let model = any_size();
    let painted = in_stages(&model).style_weight(0.0).tv_weight(0.0).max_iter(8).run().unwrap();
    assert_close(&painted.best_loss, &[0.0], 1e-9);
    assert_close(&crate::host::values(painted.image), &crate::host::values(photo(1, [3, 45, 71])), 1e-3);
}

#[test]
fn the_photos_detail_outlives_the_coarse_sizes() {
    // Painted at 20 and 35 pixels and for two steps at 71: detail of one pixel was never there before the last.
    let model = any_size();
    let painted = array3(in_stages(&model).max_iter(8).run().unwrap().image);
    let photo = array3(photo(1, [3, 45, 71]));
    // What is left of a pixel when the mean of its block of four is taken away.
    let detail = |image: &Array3<f32>| {
        let (_, height, width) = image.dim();
        let block = |at: usize, side: usize| at / 2 * 2..(at / 2 * 2 + 2).min(side);
        Array3::from_shape_fn(image.dim(), |(c, y, x)| {
            image[[c, y, x]] - image.slice(s![c, block(y, height), block(x, width)]).mean().unwrap()
        })
    };
    let (painted, photo) = (detail(&painted), detail(&photo));
    let dot = |a: &Array3<f32>, b: &Array3<f32>| (a * b).sum();
    let cosine = dot(&painted, &photo) / (dot(&painted, &painted) * dot(&photo, &photo)).sqrt();
    assert!(cosine > 0.9, "{cosine}");
}

#[test]
fn keeping_colours_keeps_the_chroma_of_every_pixel() {
    let model = Tiny::new(&device());
    let [image, painting] = [1, 2].map(|seed| photo(seed, [3, 8, 8]));
    let painted =
        style_transfer(&model, image.clone(), painting).keep_colors().max_iter(10).run().unwrap().image;
    let (before, after) = (array3(image), array3(painted));
    // Chroma is the difference of channels; luminance alone has changed.
    let chroma = |image: &Array3<f32>, channel: usize| {
        (&image.index_axis(Axis(0), channel) - &image.index_axis(Axis(0), 1)).into_raw_vec_and_offset().0
    };
    for channel in [0, 2] {
        assert_close(&chroma(&after, channel), &chroma(&before, channel), 1e-2);
    }
    assert!(difference(&after, &before, |_, _| true) > 0.01);
}

#[test]
fn colours_are_kept_of_rgb_images_alone() {
    let model = Tiny::new(&device());
    let good = photo(1, [3, 8, 8]);
    for channels in [1, 2, 4] {
        let bad = photo(2, [channels, 8, 8]);
        for (photo, painting) in [(good.clone(), bad.clone()), (bad, good.clone())] {
            let error = style_transfer(&model, photo, painting).keep_colors().max_iter(1).run().unwrap_err();
            assert!(matches!(&error, Error::Shape { got, .. } if got[1] == channels), "{channels}: {error}");
        }
    }
}

#[test]
fn a_texture_of_any_size_has_the_features_of_its_sample() {
    let model = any_size();
    let sample = photo(2, [3, 50, 40]);
    let losses: Losses =
        Style::blend(&model, [(sample.clone(), 1.0)], [("output", 1.0)], 2).unwrap().relative().into();
    let style = |image| Gradient::new(&model, &losses).values(image).unwrap().totals()[0];
    for (height, width) in [(23, 37), (50, 40), (64, 31)] {
        let weave = || texture(&model, sample.clone()).size(height, width).layers([("output", 1.0)]);
        let noise = weave().max_iter(0).run().unwrap();
        assert_eq!(noise.losses.steps(), 0);
        let woven = weave().max_iter(60).run().unwrap();
        assert_eq!(woven.image.dims(), [1, 3, height, width]);
        let (before, after) = (style(noise.image), style(woven.image));
        assert!(after < 0.1 * before, "{height}×{width}: {before} → {after}");
    }
}

#[test]
fn sizes_at_which_a_texture_has_no_sample_take_none_of_its_steps() {
    // 12 → 24 → 48 → 96 pixels; the sample of 12 would have 2, 3 and 6, and the network takes 8.
    let model = any_size();
    let mut sizes = Vec::new();
    let weave = texture(&model, photo(2, [3, 12, 12])).size(96, 96).from_size(12).layers([("output", 1.0)]);
    weave
        .max_iter(4)
        .progress(|now| {
            sizes.push(width_of(now));
            ControlFlow::Continue(())
        })
        .run()
        .unwrap();
    assert_eq!(sizes, [96; 4]);
}

#[test]
fn a_texture_of_vgg16_tiles_without_a_seam() {
    let model = Vgg16::bundled(&device()).unwrap();
    let cat = vis::picture::load("tests/reference/input_224.png").unwrap();
    let sample = image::imageops::crop_imm(&cat, 60, 60, 96, 96).to_image();
    let sample = vis::picture::to_tensor(&sample, &model).unwrap();
    let woven = texture(&model, sample).size(64, 64).from_size(64).max_iter(25).run().unwrap();
    let woven = array3(woven.image);
    // The mean step from one pixel to the next inside, and from the last to the first.
    let jump = |axis: usize, from: usize, to: usize| {
        let line = |index| woven.index_axis(Axis(axis), index);
        (&line(to) - &line(from)).mapv(f32::abs).mean().unwrap()
    };
    for axis in [1, 2] {
        let inside = (1..64).map(|index| jump(axis, index - 1, index)).sum::<f32>() / 63.0;
        let seam = jump(axis, 63, 0);
        assert!(inside > 1.0 && seam < 1.5 * inside, "axis {axis}: {seam} across the seam, {inside} inside");
    }
}

#[test]
fn average_pooling_of_vgg16_takes_means_where_the_network_takes_maxima() {
    let maxima = Vgg16::bundled(&device()).unwrap();
    let means = maxima.clone().with_average_pooling();
    let image = photo(4, [3, 32, 40]);
    let of = |model: &Vgg16, layer| array3(model.activation(image.clone(), layer).unwrap());
    let before = of(&means, "block1_conv2");
    assert_eq!(before, of(&maxima, "block1_conv2"));
    let pooled = |reduce: fn([f32; 4]) -> f32| {
        let (channels, height, width) = before.dim();
        Array3::from_shape_fn((channels, height / 2, width / 2), |(c, y, x)| {
            reduce(
                [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .map(|(down, right)| before[[c, 2 * y + down, 2 * x + right]]),
            )
        })
    };
    let mean = pooled(|window| window.iter().sum::<f32>() / 4.0);
    let most = pooled(|window| window.into_iter().fold(0.0, f32::max));
    assert!(difference(&of(&means, "block1_pool"), &mean, |_, _| true) < 1e-5);
    assert!(difference(&of(&maxima, "block1_pool"), &most, |_, _| true) < 1e-5);
    // Every window is a mean, down to the last layer.
    assert!(difference(&of(&means, "block5_conv3"), &of(&maxima, "block5_conv3"), |_, _| true) > 0.1);
}
