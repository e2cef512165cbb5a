//! What is told of a run belongs to what it gives: steps to images, labels to pictures, in every batch.

use std::sync::Mutex;

use burn::tensor::{Tensor, TensorData};
use image::{Rgb, RgbImage};
use vis::model::{Digits, Tiny};
use vis::optimizer::Normalization;
use vis::picture::{Corner, fit_text, measure_text, stamp};
use vis::{Loss, Optimizer, Scene, visualize_activation};

use crate::support::{device, identity, tensor};

/// A loss that is what a table says, a row for each step and a value for each image, with the slope of the image.
struct Table {
    rows: Vec<[f32; 2]>,
    calls: Mutex<usize>,
}

impl Loss for Table {
    fn name(&self) -> String {
        "table".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let mut calls = self.calls.lock().unwrap();
        let said = Tensor::from_data(TensorData::from(self.rows[*calls]), &scene.device());
        *calls += 1;
        let square = scene.image().square().sum_dims(&[1, 2, 3]).reshape([2]);
        Ok(square.clone() - square.detach() + said)
    }
}

#[test]
fn of_equal_lowest_losses_the_first_counts_for_the_step_and_for_the_image_alike() {
    let model = identity([1, 2, 3]);
    let start = tensor(&[9.0, -8.0, 7.0, 6.0, 5.0, -4.0, 1.0, 2.0, 3.0, -4.0, 5.0, 6.0], [2, 1, 2, 3]);
    for (rows, best) in [
        (vec![[5.0, 4.0], [2.0, 4.0], [3.0, 6.0], [2.0, 1.0], [2.0, 1.0]], [1, 3]),
        (vec![[-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], [0, 0]),
        (vec![[3.0, 3.0], [-2.0, 2.0], [-2.0, 1.0], [-2.0, 1.0]], [1, 2]),
    ] {
        for read_every in [1, 2, 9] {
            let table = Table { rows: rows.clone(), calls: Mutex::new(0) };
            let run = Optimizer::new(&model, table).seed_img(start.clone()).normalize(Normalization::None);
            let mut steps =
                run.max_iter(rows.len()).learning_rate(0.1).read_every(read_every).steps().unwrap();
            let seen: Vec<_> = steps.by_ref().map(|step| step.unwrap()).collect();
            let result = steps.finish().unwrap();
            assert_eq!(result.best_step, best);
            for (image, step) in best.into_iter().enumerate() {
                assert_eq!(result.best_loss[image], rows[step][image]);
                let of = |x: &Tensor<4>| vis::host::values(x.clone().narrow(0, image, 1));
                assert_eq!(of(&result.image), of(&seen[step].image), "{rows:?} image {image}");
                assert_eq!(of(&result.value), of(&seen[step].value), "{rows:?} image {image}");
                assert_eq!(of(&result.gradient), of(&seen[step].gradient), "{rows:?} image {image}");
            }
        }
    }
}

#[test]
fn labels_stay_with_their_pictures_however_these_are_cut_into_batches() {
    let (tiny, digits) = (Tiny::new(&device()), Digits::bundled(&device()).unwrap());
    // One at a time, two at a time, all together: 1, 2 and 5 pictures in memory.
    let table = |memory: usize| {
        let given = visualize_activation(&tiny, "conv2").filter_indices([4, 0, 3, 1, 5]);
        let given = given.labels(["four", "zero", "three", "one", "five"]).memory_limit(memory).max_iter(1);
        let named = visualize_activation(&digits, "predictions").filter_indices([[7], [0], [3]]);
        let named = named.memory_limit(memory).max_iter(1);
        [given.run().unwrap(), named.run().unwrap()].map(|pictures| {
            pictures
                .iter()
                .map(|picture| (picture.label.clone(), picture.filters.to_string(), picture.after))
                .collect::<Vec<_>>()
        })
    };
    let together = table(1 << 30);
    let words = |rows: &[(String, String, f32)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(words(&together[0]), ["four", "zero", "three", "one", "five"]);
    assert_eq!(words(&together[1]), ["7", "0", "3"]);
    for memory in [1, 60_000, 100_000, 500_000] {
        for (cut, whole) in table(memory).iter().zip(&together) {
            assert_eq!(cut.len(), whole.len());
            for (cut, whole) in cut.iter().zip(whole) {
                assert_eq!((&cut.0, &cut.1), (&whole.0, &whole.1), "{memory} bytes");
                assert!((cut.2 - whole.2).abs() <= 1e-3 * whole.2.abs().max(1.0), "{memory} bytes");
            }
        }
    }
}

/// The columns and rows that a stamp has drawn into, as `(first, last)` each.
fn ink(size: (u32, u32), text: &str, corner: Corner) -> [(u32, u32); 2] {
    let mut picture = RgbImage::from_pixel(size.0, size.1, Rgb([120; 3]));
    stamp(&mut picture, text, corner);
    let drawn: Vec<_> = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [120; 3]).collect();
    let range = |along: fn(&(u32, u32, &Rgb<u8>)) -> u32| {
        (drawn.iter().map(along).min().unwrap(), drawn.iter().map(along).max().unwrap())
    };
    [range(|(x, ..)| *x), range(|(_, y, _)| *y)]
}

#[test]
fn a_stamp_stands_as_far_from_the_right_and_the_bottom_after_it_was_shrunk() {
    for (size, text) in [
        ((60, 200), "step 128 of 1000"), // shrunk to the width
        ((200, 60), "128"),              // as large as it may be
        ((401, 333), "128"),
        ((66, 91), "step 128 of 1000"),
    ] {
        let (width, height) = (size.0 as f32, size.1 as f32);
        let wanted = (height.min(width) * 0.09).clamp(11.0, 48.0);
        let margin = (wanted * 0.25).ceil();
        let drawn = fit_text(text, width - 2.0 * margin, 6.0..=wanted, 1).size;
        assert_eq!(drawn < wanted, text.len() > 3, "{size:?}");
        let right = (width - margin - measure_text(text, drawn)).floor() - margin;
        let down = (height - margin - drawn).floor() - margin;
        let [columns, rows] = ink(size, text, Corner::TopLeft);
        let moved = |(first, last): (u32, u32), by: f32| (first + by as u32, last + by as u32);
        assert_eq!(ink(size, text, Corner::TopRight), [moved(columns, right), rows], "{size:?}");
        assert_eq!(ink(size, text, Corner::BottomLeft), [columns, moved(rows, down)], "{size:?}");
        let corner = [moved(columns, right), moved(rows, down)];
        assert_eq!(ink(size, text, Corner::BottomRight), corner, "{size:?}");
        // Its halo ends before the margin does, and no further from the edge than the space beside a letter.
        let gap = size.0 - 1 - corner[0].1;
        assert!(gap + 4 >= margin as u32 && gap <= margin as u32 + 2, "{size:?}: {gap} beside {margin}");
    }
}
