//! Attribution methods and measures against their formulas written out, on images whose sides, channels and ranges
//! differ.

use std::sync::Mutex;

use burn::tensor::{Tensor, TensorData};
use ndarray::Axis;
use rand::Rng;
use vis::Target;
use vis::attribution::{
    Attribution, Baseline, Cam, Formula, GuidedGradCam, IntegratedGradients, Interpolation, Occlusion,
    RandomMap, Rise, Saliency, SmoothGrad, Sobel, Statistic,
};
use vis::metrics::{MuFidelity, RandomizationCheck, average_drop};
use vis::model::{InputSpec, Stop, Taps, Tiny};
use vis::random::stream;
use vis::{Model, Result};

use crate::support::{Function, assert_close, device, resize, tensor};

/// The image, multiplied by weights and summed: `[channels, height, width]` of them.
struct Weighted {
    input: InputSpec,
    weights: Vec<f32>,
    /// The rows and columns of the image that the layer `features` is.
    features: [usize; 2],
}

impl Weighted {
    fn new(shape: [usize; 3], weights: Vec<f32>) -> Self {
        Self { input: InputSpec::new(shape, (-5.0, 5.0)), weights, features: [shape[1], shape[2]] }
    }

    fn seeing([height, width]: [usize; 2], shape: [usize; 3], weights: Vec<f32>) -> Self {
        Self { features: [height, width], ..Self::new(shape, weights) }
    }
}

impl Model for Weighted {
    fn input(&self) -> &InputSpec {
        &self.input
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> std::result::Result<(), Stop> {
        let [height, width] = self.features;
        let channels = image.dims()[1];
        let x = taps.layer("features", image.narrow(2, 0, height).narrow(3, 0, width))?;
        let weights = TensorData::new(self.weights.clone(), [1, channels, height, width]);
        let weights = Tensor::<4>::from_data(weights, &x.device());
        taps.layer("output", (x * weights).sum_dims(&[1, 2, 3]))?;
        Ok(())
    }
}

/// Numbers that differ from place to place and from image to image.
fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|k| ((k * step) % 23) as f32 / 4.0 - 2.0 + (k / 30) as f32).collect()
}

fn output() -> Target {
    Target::channel("output", 0)
}

/// A mask of RISE: the grid of open cells, enlarged to one cell more than the image, and a window cut out of it.
fn rise_mask(seed: u64, index: u64, cells: usize, open: f32, [height, width]: [usize; 2]) -> Tensor<4> {
    let mut random = stream(seed, index);
    let grid: Vec<f32> =
        (0..cells * cells).map(|_| if random.random::<f32>() < open { 1.0 } else { 0.0 }).collect();
    let (cell_height, cell_width) = (height.div_ceil(cells), width.div_ceil(cells));
    let (down, right) = (random.random_range(0..cell_height), random.random_range(0..cell_width));
    let large =
        resize(tensor(&grid, [1, 1, cells, cells]), (cells + 1) * cell_height, (cells + 1) * cell_width);
    large.narrow(2, down, height).narrow(3, right, width)
}

#[test]
fn rise_is_the_mean_of_its_masks_weighted_by_their_scores_over_the_share_of_open_cells() {
    for ([height, width], cells, open) in
        [([5, 11], 3, 0.5), ([12, 7], 4, 0.3), ([6, 6], 2, 0.8), ([9, 4], 1, 0.6)]
    {
        let shape = [2, height, width];
        let weights = numbers(2 * height * width, 7);
        let model = Weighted::new(shape, weights.clone());
        let images = tensor(&numbers(4 * height * width, 5), [2, 2, height, width]);
        let (masks, seed) = (5, 3);
        let rise = Rise::new().masks(masks).cells(cells).open(open).seed(seed).batch_size(2);
        let found = rise.baseline(Baseline::Value(1.5)).attribute(&model, images.clone(), &output()).unwrap();
        let mut expected = Tensor::<4>::zeros([2, 1, height, width], &device());
        for index in 0..masks as u64 {
            let mask = rise_mask(seed, index, cells, open, [height, width]);
            let shown = (images.clone() - 1.5) * mask.clone() + 1.5;
            let scores = (shown * tensor(&weights, [1, 2, height, width])).sum_dims(&[1, 2, 3]);
            expected = expected + mask * scores / (open * masks as f32);
        }
        let expected = crate::host::values(expected);
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert_close(&crate::host::values(found), &expected, 1e-5 * largest);
    }
}

/// The method whose map is the image.
#[derive(Debug)]
struct Itself;

impl Attribution for Itself {
    fn name(&self) -> String {
        "itself".into()
    }
    fn attribute(&self, _: &dyn Model, images: Tensor<4>, _: &Target) -> Result<Tensor<4>> {
        Ok(images)
    }
}

#[test]
fn smooth_grad_adds_noise_of_a_fraction_of_the_range_of_each_image() {
    // Ranges 4 and 1, neither of them about 0: deviations 1 and ¼. Of 40 copies the first has no noise.
    let model = Weighted::new([3, 10, 20], vec![1.0; 600]);
    let one: Vec<f32> = (0..600).map(|k| 5.0 + 4.0 * (k as f32 / 599.0)).collect();
    let two: Vec<f32> = (0..600).map(|k| -8.0 + k as f32 / 599.0).collect();
    let images = tensor(&[one, two].concat(), [2, 3, 10, 20]);
    let smooth = || SmoothGrad::new(Itself).samples(40).noise(0.25).seed(1).batch_size(7);
    let of = |smooth: SmoothGrad<Itself>| -> Vec<f32> {
        crate::host::values(smooth.attribute(&model, images.clone(), &output()).unwrap())
    };
    let (variance, mean, squared) = (
        of(smooth().statistic(Statistic::Variance)),
        of(smooth()),
        of(smooth().statistic(Statistic::Squared)),
    );
    for (image, deviation) in [(0, 1.0), (1, 0.25)] {
        let part = image * 600..image * 600 + 600;
        let found = variance[part].iter().sum::<f32>() / 600.0;
        let expected = deviation * deviation * 39.0 / 40.0 * (1.0 - 1.0 / 40.0);
        assert!((found / expected - 1.0).abs() < 0.05, "image {image}: {found} and {expected}");
    }
    // The mean of squares is the square of the mean and the variance.
    let sums: Vec<f32> = mean.iter().zip(&variance).map(|(mean, variance)| mean * mean + variance).collect();
    assert_close(&squared, &sums, 2e-3);
    // The mean is near the image: 40 copies leave a sixth of the deviation.
    let off: f32 = mean.iter().zip(crate::host::values(images)).map(|(a, b)| (a - b).powi(2)).sum();
    assert!((off / 1200.0).sqrt() < 0.2, "{off}");
}

#[test]
fn guided_grad_cam_is_guided_backprop_times_the_map_of_the_layer_that_is_named() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 5, 0, &device());
    let target = Target::class(1);
    let guided = Saliency::guided().attribute(&model, image.clone(), &target).unwrap();
    for layer in ["conv1", "conv2"] {
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
            let map = Cam::new(Formula::GradCam)
                .penultimate_layer(layer)
                .map(&model, image.clone(), &target)
                .unwrap();
            let expected = guided.clone() * map.rectified().resized(interpolation);
            let method = GuidedGradCam::new().interpolation(interpolation).penultimate_layer(layer);
            let found = method.attribute(&model, image.clone(), &target).unwrap();
            assert_close(&crate::host::values(found), &crate::host::values(expected), 1e-6);
        }
    }
}

#[test]
fn a_map_is_enlarged_to_the_image_along_each_axis_by_itself() {
    // The gradient is the weights, so the map of HiResCAM is the features, weighted and summed over channels.
    for ([height, width], [rows, columns]) in [([5, 8], [2, 3]), ([7, 6], [5, 2]), ([6, 9], [3, 3])] {
        let weights = numbers(2 * rows * columns, 5);
        let model = Weighted::seeing([rows, columns], [2, height, width], weights.clone());
        let image = tensor(&numbers(2 * height * width, 7), [1, 2, height, width]);
        let cam = Cam::new(Formula::HiResCam).penultimate_layer("features");
        let found = cam.map(&model, image.clone(), &output()).unwrap();
        let features = image.narrow(2, 0, rows).narrow(3, 0, columns);
        let small = (features * tensor(&weights, [1, 2, rows, columns])).sum_dim(1);
        assert_close(&crate::host::values(found.map.clone()), &crate::host::values(small.clone()), 1e-5);
        let near = crate::host::array4(found.resized(Interpolation::Nearest));
        let flat = crate::host::values(small.clone());
        assert_eq!(near.dim(), (1, 1, height, width));
        for ((_, _, y, x), value) in near.indexed_iter() {
            let expected = flat[y * rows / height * columns + x * columns / width];
            assert!((value - expected).abs() < 1e-5, "row {y}, column {x}");
        }
        let smooth = crate::host::values(found.upsampled());
        assert_close(&smooth, &crate::host::values(resize(small, height, width)), 1e-5);
    }
}

#[test]
fn score_cam_weighs_channels_by_the_softmax_of_the_scores_under_their_masks() {
    // Three channels of 2 × 3, none from 0 on: each becomes a mask from 0 to 1.
    let shape = [3, 2, 3];
    let weights: Vec<f32> = numbers(18, 11).iter().map(|value| value / 10.0).collect();
    let model = Weighted::new(shape, weights.clone());
    let values = numbers(36, 7);
    let images = tensor(&values, [2, 3, 2, 3]);
    let cam = Cam::new(Formula::ScoreCam)
        .penultimate_layer("features")
        .baseline(Baseline::Value(0.75))
        .batch_size(2);
    let found = crate::host::values(cam.map(&model, images, &output()).unwrap().map);
    for (index, image) in values.chunks(18).enumerate() {
        let scores: Vec<f32> = image
            .chunks(6)
            .map(|channel| {
                let low = channel.iter().copied().fold(f32::INFINITY, f32::min);
                let high = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let shown = |k: usize| 0.75 + (image[k] - 0.75) * (channel[k % 6] - low) / (high - low);
                (0..18).map(|k| weights[k] * shown(k)).sum()
            })
            .collect();
        let sum: f32 = scores.iter().map(|score| score.exp()).sum();
        let expected: Vec<f32> =
            (0..6).map(|place| (0..3).map(|c| scores[c].exp() / sum * image[6 * c + place]).sum()).collect();
        assert_close(&found[index * 6..index * 6 + 6], &expected, 1e-4);
    }
}

#[test]
fn one_baseline_image_serves_a_batch_and_several_one_each() {
    let model = Weighted::new([2, 3, 4], numbers(24, 5));
    let images = tensor(&numbers(72, 7), [3, 2, 3, 4]);
    let one = tensor(&numbers(24, 3), [1, 2, 3, 4]);
    let found = Baseline::Image(one.clone()).of(&model, &images).unwrap();
    assert_eq!(crate::host::values(found), numbers(24, 3).repeat(3));
    let three = tensor(&numbers(72, 3), [3, 2, 3, 4]);
    let found = Baseline::Image(three).of(&model, &images).unwrap();
    assert_eq!(crate::host::values(found), numbers(72, 3));
    for wrong in [[2, 2, 3, 4], [1, 1, 3, 4], [1, 2, 4, 3], [1, 2, 3, 3]] {
        let error = Baseline::Image(Tensor::zeros(wrong, &device())).of(&model, &images).unwrap_err();
        assert!(error.to_string().contains("[1 or 3, 2, 3, 4]"), "{error}");
    }
    // The mean is of each image and channel.
    let mean = crate::host::values(Baseline::Mean.of(&model, &images).unwrap());
    for (found, channel) in mean.chunks(12).zip(numbers(72, 7).chunks(12)) {
        assert_close(found, &[channel.iter().sum::<f32>() / 12.0; 12], 1e-5);
    }
}

#[test]
fn average_drop_shows_the_image_over_the_baseline_by_the_positive_part_of_the_map() {
    let weights = numbers(24, 5);
    let model = Weighted::new([2, 3, 4], weights.clone());
    let (values, map) = (numbers(72, 7), numbers(36, 11));
    let found = average_drop(
        &model,
        tensor(&values, [3, 2, 3, 4]),
        tensor(&map, [3, 1, 3, 4]),
        &output(),
        &Baseline::Value(3.0),
    )
    .unwrap();
    let (mut drop, mut increase) = (0.0, 0.0);
    for (image, map) in values.chunks(24).zip(map.chunks(12)) {
        let largest = map.iter().copied().fold(0.0, f32::max);
        let score = |seen: &dyn Fn(usize) -> f32| -> f32 { (0..24).map(|k| weights[k] * seen(k)).sum() };
        let whole = score(&|k| image[k]);
        let shown = score(&|k| 3.0 + (image[k] - 3.0) * map[k % 12].max(0.0) / largest);
        drop += ((whole - shown) / whole.abs()).max(0.0) / 3.0;
        increase += if shown > whole { 1.0 / 3.0 } else { 0.0 };
    }
    assert!(drop > 0.0 && increase > 0.0, "the test has both kinds");
    assert_close(&[found.drop, found.increase], &[drop, increase], 1e-4);
}

#[test]
fn faithfulness_hides_the_share_of_the_pixels_that_was_asked_for() {
    // Counts what is hidden, in all channels alike, of 5 × 7 pixels.
    let hidden = Mutex::new(Vec::new());
    let model = Function(InputSpec::new([2, 5, 7], (-5.0, 5.0)), |x: Tensor<4>, _: &mut Taps| {
        let values = crate::host::array4(x.clone().inner());
        for image in values.axis_iter(Axis(0)) {
            let of =
                |channel: usize| image.index_axis(Axis(0), channel).iter().filter(|v| **v == 9.0).count();
            assert_eq!(of(0), of(1));
            hidden.lock().unwrap().push(of(0));
        }
        x.sum_dims(&[1, 2, 3])
    });
    let image = tensor(&numbers(70, 7), [1, 2, 5, 7]);
    let map = tensor(&numbers(35, 9), [1, 1, 5, 7]);
    for (share, pixels) in [(0.5, 17), (0.1, 3), (1.0, 35), (0.001, 1)] {
        hidden.lock().unwrap().clear();
        let measure = MuFidelity::new().sets(2).share(share).baseline(Baseline::Value(9.0));
        measure.evaluate(&model, image.clone(), map.clone(), &output()).unwrap();
        let seen = std::mem::take(&mut *hidden.lock().unwrap());
        // The whole image, and each of the two sets.
        assert_eq!(seen.iter().filter(|count| **count == 0).count() + 2, seen.len(), "{share}");
        assert_eq!(seen[seen.len() - 2..], [pixels; 2], "{share}");
    }
    assert!(MuFidelity::new().sets(1).evaluate(&model, image, map, &output()).is_err());
}

#[test]
fn the_correlation_of_a_batch_is_the_mean_of_its_images() {
    let square = |step: usize| {
        let weights = numbers(24, step);
        Function(InputSpec::new([2, 3, 4], (-5.0, 5.0)), move |x: Tensor<4>, _: &mut Taps| {
            let weights = Tensor::<4>::from_data(TensorData::new(weights.clone(), [1, 2, 3, 4]), &x.device());
            (x.clone() * x * weights).sum_dims(&[1, 2, 3])
        })
    };
    let images = tensor(&numbers(72, 7), [3, 2, 3, 4]);
    let saliency = Saliency::new();
    let rows = |images: Tensor<4>| {
        let check = RandomizationCheck::new(&saliency);
        let rows = check.run(&square(5), images, &output(), [("other", square(9))]).unwrap();
        (rows[0].correlation, rows[0].correlation_of_magnitudes)
    };
    let together = rows(images.clone());
    let each: Vec<_> = (0..3).map(|index| rows(images.clone().narrow(0, index, 1))).collect();
    let mean = |of: fn(&(f32, f32)) -> f32| each.iter().map(of).sum::<f32>() / 3.0;
    assert_close(&[together.0, together.1], &[mean(|row| row.0), mean(|row| row.1)], 1e-5);
    assert!(together.0.abs() > 1e-3);
}

#[test]
fn targets_say_what_they_are() {
    for (target, words) in [
        (Target::class(3), "class 3"),
        ((Target::class(3) + Target::class(1)), "class 3 + class 1"),
        ((Target::class(2) - Target::class(5)), "class 2 − class 5"),
        (Target::probability(4), "probability of class 4"),
        (Target::channel("conv", 2), "channel 2 of `conv`"),
        (Target::channels("conv", [2, 0]), "channel 2 + channel 0 of `conv`"),
        (Target::layer("conv"), "mean of `conv`"),
        (Target::neuron("conv", 1, 2, 3), "channel 1 at row 2, column 3 of `conv`"),
        (Target::per_image([Target::class(1), Target::class(0)]), "class 1; class 0"),
    ] {
        assert_eq!(target.to_string(), words);
    }
}

#[test]
fn formulas_are_shown_by_their_names() {
    let names = Formula::ALL.map(|formula| formula.to_string());
    assert_eq!(
        names,
        [
            "Grad-CAM",
            "Grad-CAM++",
            "HiResCAM",
            "XGradCAM",
            "LayerCAM",
            "EigenCAM",
            "Ablation-CAM",
            "Score-CAM"
        ]
    );
}

#[test]
fn edges_are_slopes_smoothed_along_the_other_axis_with_the_edge_repeated() {
    for (height, width) in [(4, 7), (7, 4), (1, 5), (5, 1), (2, 2)] {
        let count = height * width;
        let values = numbers(2 * 2 * count, 7);
        let model = Weighted::new([2, height, width], vec![0.0; 2 * count]);
        let found = Sobel.attribute(&model, tensor(&values, [2, 2, height, width]), &output()).unwrap();
        let mut expected = Vec::new();
        for image in values.chunks(2 * count) {
            let at = |channel: usize, y: i64, x: i64| {
                let inside = |place: i64, side: usize| place.clamp(0, side as i64 - 1) as usize;
                image[channel * count + inside(y, height) * width + inside(x, width)]
            };
            for (y, x) in (0..height as i64).flat_map(|y| (0..width as i64).map(move |x| (y, x))) {
                expected.push(
                    (0..2)
                        .map(|c| {
                            let smooth = [(-1, 1.0), (0, 2.0), (1, 1.0)];
                            let down: f32 = smooth
                                .iter()
                                .map(|(d, w)| w * (at(c, y + 1, x + d) - at(c, y - 1, x + d)))
                                .sum();
                            let across: f32 = smooth
                                .iter()
                                .map(|(d, w)| w * (at(c, y + d, x + 1) - at(c, y + d, x - 1)))
                                .sum();
                            down.hypot(across)
                        })
                        .sum::<f32>(),
                );
            }
        }
        assert_close(&crate::host::values(found), &expected, 1e-3);
    }
}

#[test]
fn windows_step_by_half_of_themselves_along_each_axis() {
    let (values, weights) = (numbers(2 * 66, 7), numbers(2 * 66, 5));
    let model = Weighted::new([2, 6, 11], weights);
    let map = |occlusion: Occlusion| {
        let image = tensor(&values, [1, 2, 6, 11]);
        crate::host::values(
            occlusion.baseline(Baseline::Value(0.5)).attribute(&model, image, &output()).unwrap(),
        )
    };
    for (window, stride, other) in [
        ([3, 4], [1, 2], [2, 1]),
        ([5, 2], [2, 1], [1, 2]),
        ([1, 6], [1, 3], [1, 6]),
        ([6, 7], [3, 3], [6, 7]),
    ] {
        assert_eq!(map(Occlusion::new(window)), map(Occlusion::new(window).stride(stride)), "{window:?}");
        assert_ne!(map(Occlusion::new(window)), map(Occlusion::new(window).stride(other)), "{window:?}");
    }
}

#[test]
fn occlusion_is_the_mean_drop_of_the_windows_over_a_pixel() {
    // Windows of 2 × 3 that step by 2 and 2 on 5 × 6: the last ones end at the edge, and are smaller.
    let (values, weights) = (numbers(2 * 30, 7), numbers(2 * 30, 5));
    let model = Weighted::new([2, 5, 6], weights.clone());
    for batch_size in [1, 4, 64] {
        let occlusion =
            Occlusion::new([2, 3]).stride([2, 2]).baseline(Baseline::Value(0.5)).batch_size(batch_size);
        let found = occlusion.attribute(&model, tensor(&values, [1, 2, 5, 6]), &output()).unwrap();
        let (mut sums, mut counts) = (vec![0.0_f32; 30], vec![0.0_f32; 30]);
        for (rows, columns) in [0..2, 2..4, 4..5]
            .into_iter()
            .flat_map(|rows| [0..3, 2..5, 4..6].map(|columns| (rows.clone(), columns)))
        {
            let inside = |k: usize| rows.contains(&(k / 6)) && columns.contains(&(k % 6));
            let drop: f32 = (0..60).filter(|k| inside(k % 30)).map(|k| weights[k] * (values[k] - 0.5)).sum();
            for k in (0..30).filter(|k| inside(*k)) {
                sums[k] += drop;
                counts[k] += 1.0;
            }
        }
        let expected: Vec<f32> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
        assert_close(&crate::host::values(found), &expected, 1e-3);
    }
}

#[test]
fn only_a_single_class_becomes_its_probability() {
    for (target, words) in [
        (Target::class(3), "probability of class 3"),
        ((Target::class(3) + Target::class(1)), "class 3 + class 1"),
        ((Target::class(3) - Target::class(1)), "class 3 − class 1"),
        (Target::channel("conv", 3), "channel 3 of `conv`"),
        (
            Target::per_image([Target::class(1), (Target::class(1) + Target::class(2))]),
            "probability of class 1; class 1 + class 2",
        ),
    ] {
        assert_eq!(target.as_probability().to_string(), words);
    }
}

#[test]
fn methods_are_known_by_their_names_alone_and_in_boxes() {
    let methods: [(Box<dyn Attribution>, &str); 9] = [
        (Box::new(Saliency::new()), "gradient"),
        (Box::new(IntegratedGradients::new()), "integrated gradients"),
        (Box::new(GuidedGradCam::new()), "guided Grad-CAM"),
        (Box::new(Cam::new(Formula::LayerCam)), "LayerCAM"),
        (Box::new(Occlusion::new([2, 3])), "occlusion"),
        (Box::new(Rise::new()), "RISE"),
        (Box::new(RandomMap { seed: 3 }), "random"),
        (Box::new(Sobel), "edges"),
        (Box::new(SmoothGrad::new(Itself)), "SmoothGrad of itself"),
    ];
    for (method, name) in methods {
        assert_eq!(method.as_ref().name(), name);
        assert_eq!(Attribution::name(&method), name);
    }
    assert_eq!(SmoothGrad::new(Itself).statistic(Statistic::Squared).name(), "squared SmoothGrad of itself");
    assert_eq!(SmoothGrad::new(Itself).statistic(Statistic::Variance).name(), "VarGrad of itself");
}

#[test]
fn integrated_gradients_of_several_baselines_are_the_mean_of_those_of_each() {
    let shape = [2, 3, 4];
    let model = Weighted::new(shape, numbers(24, 5));
    let images = tensor(&numbers(48, 7), [2, 2, 3, 4]);
    let of = |baselines: &[f32]| {
        let baselines: Vec<_> = baselines.iter().map(|value| Baseline::Value(*value)).collect();
        let method = IntegratedGradients::new().steps(3).baselines(baselines);
        method.evaluate(&model, images.clone(), &output()).unwrap()
    };
    let (one, other, three) = (of(&[-1.0]), of(&[2.5]), of(&[0.25]));
    let mixed = of(&[-1.0, 2.5, 0.25]);
    let map = (one.map + other.map + three.map) / 3.0;
    assert_close(&crate::host::values(mixed.map), &crate::host::values(map), 1e-4);
    for image in 0..2 {
        let mean = (one.difference[image] + other.difference[image] + three.difference[image]) / 3.0;
        assert_close(&[mixed.difference[image], mixed.residual[image]], &[mean, 0.0], 1e-3);
    }
}

#[test]
fn the_fewest_steps_are_one_and_two_with_both_ends() {
    let model = Weighted::new([2, 3, 4], numbers(24, 5));
    let images = || tensor(&numbers(24, 7), [1, 2, 3, 4]);
    let method = |steps, quadrature| {
        let method = IntegratedGradients::new().steps(steps).quadrature(quadrature);
        method.attribute(&model, images(), &output())
    };
    use vis::attribution::Quadrature::{Left, Midpoint, Right, Trapezoid};
    // The gradient is the same everywhere: so is the map.
    let expected = crate::host::values(method(9, Midpoint).unwrap());
    for (fewest, quadrature) in [(1, Midpoint), (1, Left), (1, Right), (2, Trapezoid)] {
        assert!(method(fewest - 1, quadrature).is_err(), "{quadrature:?}");
        for steps in [fewest, fewest + 1] {
            let found = crate::host::values(method(steps, quadrature).unwrap());
            assert_close(&found, &expected, 1e-4);
        }
    }
}

#[test]
fn copies_without_a_gradient_count_as_maps_of_zeros_in_every_statistic() {
    // max(mean, 0): the gradient of a copy is 1/n at every pixel, or 0. With a share p of copies that have one, the mean
    // is p/n, the mean of squares p/n² and the variance p·(1 − p)/n².
    let model = Function(InputSpec::new([1, 2, 3], (-5.0, 5.0)), |x: Tensor<4>, taps: &mut Taps| {
        taps.relu(x.mean_dims(&[1, 2, 3]))
    });
    let image = tensor(&[0.5, -0.3, 0.1, 0.2, -0.1, -0.2], [1, 1, 2, 3]);
    let of = |statistic| {
        let smooth = SmoothGrad::new(Saliency::new()).samples(41).noise(0.8).seed(2).statistic(statistic);
        crate::host::values(smooth.attribute(&model, image.clone(), &output()).unwrap())
    };
    let mean = of(Statistic::Mean);
    let share = mean[0] * 6.0;
    assert!(share > 0.2 && share < 0.9, "{share}");
    assert_close(&mean, &[share / 6.0; 6], 1e-6);
    assert_close(&of(Statistic::Squared), &[share / 36.0; 6], 1e-6);
    assert_close(&of(Statistic::Variance), &[share * (1.0 - share) / 36.0; 6], 1e-6);
}

#[test]
fn a_neuron_is_named_by_its_row_and_then_its_column_in_each_image() {
    let model = Weighted::seeing([2, 5], [3, 4, 7], numbers(30, 5));
    let images = tensor(&numbers(168, 7), [2, 3, 4, 7]);
    let array = crate::host::array4(images.clone());
    let neuron = |c, y, x| Target::neuron("features", c, y, x);
    let each = [(1, 0, 3), (2, 1, 4)];
    let target = Target::per_image(each.map(|(c, y, x)| neuron(c, y, x)));
    let scores = target.scores(&model, images.clone()).unwrap();
    for (image, (c, y, x)) in each.into_iter().enumerate() {
        assert_eq!(scores[image], array[[image, c, y, x]]);
        let same = neuron(c, y, x).scores(&model, images.clone()).unwrap();
        assert_eq!(same, [array[[0, c, y, x]], array[[1, c, y, x]]]);
    }
    // Two rows and five columns.
    assert!(neuron(0, 1, 4).scores(&model, images.clone()).is_ok());
    assert!(neuron(0, 2, 0).scores(&model, images.clone()).is_err());
    assert!(neuron(0, 0, 5).scores(&model, images.clone()).is_err());
    // Channels and means of layers, one in each image.
    let target = Target::per_image([Target::channel("features", 2), Target::layer("features")]);
    let scores = target.scores(&model, images).unwrap();
    let inside = array.slice(ndarray::s![.., .., ..2, ..5]);
    let channel = inside.slice(ndarray::s![0, 2, .., ..]).mean().unwrap();
    let layer = inside.slice(ndarray::s![1, .., .., ..]).mean().unwrap();
    assert_close(&scores, &[channel, layer], 1e-5);
}

#[test]
fn probabilities_of_other_classes_in_other_images_are_those_of_each_alone() {
    let model = Tiny::new(&device());
    let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 1, 0, &device());
    let each = [Target::probability(1), Target::probability(4), Target::class(0).as_probability()];
    let together = Target::per_image(each.clone()).scores(&model, images.clone()).unwrap();
    let softmax = crate::host::values(model.activation(images, "softmax").unwrap());
    assert_close(&together, &[softmax[1], softmax[5 + 4], softmax[10]], 1e-6);
}

#[test]
fn the_sets_of_faithfulness_depend_on_the_seed_and_not_on_how_many_run_at_once() {
    let model = Function(InputSpec::new([2, 5, 7], (-5.0, 5.0)), |x: Tensor<4>, _: &mut Taps| {
        (x.clone() * x).sum_dims(&[1, 2, 3])
    });
    let images = tensor(&numbers(140, 7), [2, 2, 5, 7]);
    let map = tensor(&numbers(70, 9), [2, 1, 5, 7]);
    let of = |measure: MuFidelity| {
        measure.sets(9).share(0.3).evaluate(&model, images.clone(), map.clone(), &output()).unwrap()
    };
    let first = of(MuFidelity::new().seed(1));
    assert_ne!(first, of(MuFidelity::new().seed(2)));
    assert_eq!(first, of(MuFidelity::new().seed(1)));
    // Settings may come in any order.
    let measure = MuFidelity::new().sets(9).share(0.3).seed(1);
    for batch_size in [1, 4, 100] {
        let measure = measure.clone().batch_size(batch_size);
        let found = measure.evaluate(&model, images.clone(), map.clone(), &output()).unwrap();
        assert_close(&found, &first, 1e-5);
    }
}

#[test]
fn a_factor_stays_before_a_probability_and_kinds_of_terms_stay_apart() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &device());
    let softmax = crate::host::values(model.activation(image.clone(), "softmax").unwrap());
    for factor in [0.5, -4.0] {
        let target = (factor * Target::class(3)).as_probability();
        assert_close(&target.scores(&model, image.clone()).unwrap(), &[factor * softmax[3]], 1e-5);
    }
    let predicted = Target::predicted().as_probability();
    assert_eq!(predicted.to_string(), "probability of the predicted class");
    let most = softmax.iter().copied().fold(0.0, f32::max);
    assert_close(&predicted.scores(&model, image).unwrap(), &[most], 1e-5);
    assert_eq!((0.0 * Target::class(1)).to_string(), "0 × class 1");
    let mixed = Target::class(1).in_layer("logits") + Target::channel("logits", 2);
    assert_eq!(mixed.to_string(), "class 1 + channel 2 of `logits`");
}

#[test]
fn the_likeness_to_an_embedding_is_nothing_where_the_layer_is_zero() {
    let model = Weighted::new([2, 3, 4], numbers(24, 5));
    let scores =
        Target::likeness("features", [1.0, 2.0]).scores(&model, Tensor::zeros([2, 2, 3, 4], &device()));
    assert_eq!(scores.unwrap(), [0.0, 0.0]);
}

#[test]
fn faithfulness_tells_of_the_sets_of_all_images() {
    let model = Weighted::new([2, 3, 4], numbers(24, 5));
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let keep = told.clone();
    let measure = MuFidelity::new().sets(5).batch_size(2).progress(move |progress| {
        keep.lock().unwrap().push(progress.to_string());
        std::ops::ControlFlow::Continue(())
    });
    let images = tensor(&numbers(72, 7), [3, 2, 3, 4]);
    measure.evaluate(&model, images, tensor(&numbers(36, 9), [3, 1, 3, 4]), &output()).unwrap();
    let words = ["6/15  sets of pixels", "12/15  sets of pixels", "15/15  sets of pixels"];
    assert_eq!(*told.lock().unwrap(), words);
}

#[test]
fn integrated_gradients_tell_of_the_points_of_all_images_and_baselines() {
    let model = Weighted::new([2, 3, 4], numbers(24, 5));
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let keep = told.clone();
    let method = IntegratedGradients::new().steps(4).batch_size(3).progress(move |progress| {
        keep.lock().unwrap().push((progress.done, progress.of));
        std::ops::ControlFlow::Continue(())
    });
    let method = method.baselines([0.0, 1.0, -2.0].map(Baseline::Value));
    method.attribute(&model, tensor(&numbers(48, 7), [2, 2, 3, 4]), &output()).unwrap();
    assert_eq!(*told.lock().unwrap(), [(18, 24), (24, 24)]);
}

#[test]
fn kinds_of_targets_that_differ_from_image_to_image_are_read_for_each() {
    let model = Weighted::seeing([2, 3], [2, 4, 5], numbers(12, 5));
    let images = tensor(&numbers(80, 7), [2, 2, 4, 5]);
    let mask =
        |shift: usize| ndarray::Array2::from_shape_fn((2, 3), |(y, x)| ((y * 3 + x + shift) % 4) as f32);
    let first = |x: Tensor<4>| {
        let batch = x.dims()[0];
        x.narrow(1, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1).reshape([batch])
    };
    let pairs: Vec<[Target; 2]> = vec![
        [Target::mask("features", 0, mask(0)), Target::mask("features", 0, mask(1))],
        [Target::mask("features", 0, mask(0)), Target::mask("features", 1, mask(0))],
        [Target::direction("features", [1.0, -2.0]), Target::direction("features", [3.0, 0.5])],
        [
            Target::direction_at("features", [1.0, -2.0], 0, 1),
            Target::direction_at("features", [1.0, -2.0], 1, 0),
        ],
        [Target::direction("features", [1.0, -2.0]), Target::direction_at("features", [1.0, -2.0], 1, 2)],
        [Target::likeness("features", [1.0, -2.0]), Target::likeness("features", [2.0, 1.0])],
        [Target::map("features", first), Target::map("features", move |x| first(x) * -2.0)],
        [Target::neuron("features", 0, 1, 2), Target::neuron("features", 1, 1, 2)],
        [Target::layer("features"), Target::layer("output")],
        [Target::channel("features", 0), Target::channels("features", [0, 1])],
    ];
    for pair in pairs {
        let alone = |image: usize, target: &Target| {
            target.scores(&model, images.clone().narrow(0, image, 1)).unwrap()[0]
        };
        let expected = [alone(0, &pair[0]), alone(1, &pair[1])];
        let together = Target::per_image(pair.clone()).scores(&model, images.clone()).unwrap();
        assert_close(&together, &expected, 1e-5);
        assert_ne!(alone(0, &pair[0]), alone(0, &pair[1]), "{} and {}", pair[0], pair[1]);
        // And the same for both.
        let same = pair[1].scores(&model, images.clone()).unwrap();
        assert_close(&same, &[alone(0, &pair[1]), alone(1, &pair[1])], 1e-5);
    }
}

#[test]
fn an_image_that_is_its_own_baseline_needs_no_gradient() {
    // Of a dark image the rectifier lets nothing through; on the way from it to itself nothing is missed.
    let model = Function(InputSpec::new([1, 2, 3], (-5.0, 5.0)), |x: Tensor<4>, taps: &mut Taps| {
        taps.relu(x.mean_dims(&[1, 2, 3]))
    });
    let dark = Tensor::full([1, 1, 2, 3], -2.0, &device());
    let method = IntegratedGradients::new().steps(4).baseline(Baseline::Value(-2.0));
    let found = method.attribute(&model, dark.clone(), &output()).unwrap();
    assert_eq!(crate::host::values(found), [0.0; 6]);
    assert!(method.attribute(&model, dark - 1.0, &output()).is_err());
}
