//! Ranges other than 0..255, and what depends on them; the names of losses.

use burn::tensor::{Device, Tensor};
use vis::losses::{BestMatch, Caricature, Content, LPNorm, Losses, Realism, Style, TotalVariation};
use vis::model::{InputSpec, Stop, Taps, Tiny};
use vis::optimizer::{GradientModifier, Lbfgs, Update};
use vis::parametrization::{Fourier, Framed, Parametrization, Pixels};
use vis::{Loss, Model, Result, Scene};

use crate::support::{assert_close, device, energy, resize, tensor};

/// Scores one pixel of what it is shown.
struct Pixel(InputSpec, [usize; 2]);

impl Model for Pixel {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> std::result::Result<(), Stop> {
        let [_, _, height, width] = image.dims();
        let [row, column] = self.1.map(|place| place as i64);
        let pixel = image.narrow(2, row.rem_euclid(height as i64) as usize, 1);
        let pixel = pixel.narrow(3, column.rem_euclid(width as i64) as usize, 1);
        taps.layer("score", pixel.mean_dim(1))?;
        Ok(())
    }
}

#[test]
fn realism_shows_the_discriminator_the_image_in_its_own_range_and_size() {
    // From −3..1 to 2..10: twice the distance from −3, and 2; 7 × 4 pixels become 3 × 5.
    let values: Vec<f32> = (0..56).map(|k| ((k * 11) % 29) as f32 / 7.0 - 3.0).collect();
    let image = tensor(&values, [2, 1, 7, 4]);
    let seen = crate::host::array4(resize((image.clone() + 3.0) * 2.0 + 2.0, 3, 5));
    for place in [[0, 0], [0, 4], [2, 1]] {
        let judge = Pixel(InputSpec::new([1, 3, 5], (2.0, 10.0)), place);
        let loss = Realism::new(judge, (-3.0, 1.0)).build_loss(&Scene::new(image.clone(), [])).unwrap();
        let expected = [0, 1].map(|image| (-seen[[image, 0, place[0], place[1]]]).exp().ln_1p());
        assert_close(&crate::host::values(loss), &expected, 1e-5);
    }
}

#[test]
fn a_spectrum_decodes_to_the_image_it_was_made_of_in_any_range() {
    for range in [(0.0, 255.0), (-3.0, 5.0), (10.0, 11.0), (-2.0, -1.0)] {
        for [height, width] in [[4, 7], [5, 6], [1, 3]] {
            let fourier = Fourier::new([height, width], range);
            let count = 2 * 3 * height * width;
            let values: Vec<f32> = (0..count)
                .map(|k| {
                    range.0 + (range.1 - range.0) * (0.1 + 0.8 * ((k * 7) % count) as f32 / count as f32)
                })
                .collect();
            let decoded = fourier.decode(fourier.encode(tensor(&values, [2, 3, height, width])).unwrap());
            assert_close(&crate::host::values(decoded), &values, 2e-3 * (range.1 - range.0));
        }
    }
    // What lies outside comes to the last thousandth of the range.
    let fourier = Fourier::new([2, 3], (-3.0, 5.0));
    let outside = fourier.decode(fourier.encode(Tensor::full([1, 3, 2, 3], 99.0, &device())).unwrap());
    assert_close(&crate::host::values(outside), &[5.0 - 0.008; 18], 1e-3);
}

#[test]
fn a_frame_surrounds_what_is_inside_on_all_sides() {
    // 3 pixels: 9 × 13 has 3 × 7 inside.
    let framed = Framed::new(Pixels::new((-1.0, 1.0)), 3, 0.5);
    let image = tensor(&(0..234).map(|k| k as f32).collect::<Vec<_>>(), [1, 2, 9, 13]);
    let variable = framed.encode(image.clone()).unwrap();
    assert_eq!(variable.dims(), [1, 2, 3, 7]);
    let decoded = crate::host::array4(framed.decode(variable));
    assert_eq!(decoded.dim(), (1, 2, 9, 13));
    for ((_, channel, y, x), value) in decoded.indexed_iter() {
        let inside = (3..6).contains(&y) && (3..10).contains(&x);
        let expected = if inside { (channel * 117 + y * 13 + x) as f32 } else { 0.5 };
        assert_eq!(*value, expected, "channel {channel}, row {y}, column {x}");
    }
    assert_eq!(framed.start([2, 3, 9, 13], 0, 0, &device()).dims(), [2, 3, 3, 7]);
    // Where there is no room a single pixel is left to start from, and an image is refused.
    assert_eq!(framed.start([1, 1, 5, 13], 0, 0, &device()).dims(), [1, 1, 1, 7]);
    for [height, width] in [[6, 13], [13, 6], [2, 2]] {
        let error = framed.encode(Tensor::zeros([1, 1, height, width], &device())).unwrap_err();
        assert!(error.to_string().contains("more than 6"), "{error}");
    }
    assert_eq!(framed.encode(Tensor::zeros([1, 1, 7, 8], &device())).unwrap().dims(), [1, 1, 1, 2]);
}

/// Says nothing of bounds.
#[derive(Debug)]
struct Plain;

impl Parametrization for Plain {
    fn start(&self, shape: [usize; 4], _: u64, _: usize, device: &Device) -> Tensor<4> {
        Tensor::ones(shape, device)
    }
    fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>> {
        Ok(image * 2.0)
    }
    fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
        variable / 2.0
    }
}

#[test]
fn only_what_never_leaves_the_range_is_bounded() {
    let fourier = || Fourier::new([3, 4], (0.0, 1.0));
    assert!(fourier().is_bounded());
    assert!(!Pixels::new((0.0, 1.0)).is_bounded() && !Plain.is_bounded());
    assert!(Framed::new(fourier(), 1, 0.0).is_bounded() && !Framed::new(Plain, 1, 0.0).is_bounded());
    let boxed: [Box<dyn Parametrization>; 2] = [Box::new(fourier()), Box::new(Plain)];
    assert_eq!(boxed.map(|it| it.is_bounded()), [true, false]);
    let boxed: Box<dyn Parametrization> = Box::new(Plain);
    let image = tensor(&[3.0, 4.0], [1, 1, 1, 2]);
    assert_eq!(crate::host::values(boxed.encode(image.clone()).unwrap()), [6.0, 8.0]);
    assert_eq!(crate::host::values(boxed.decode(image)), [1.5, 2.0]);
    assert_eq!(crate::host::values(boxed.start([1, 1, 1, 2], 0, 0, &device())), [1.0, 1.0]);
}

#[test]
fn losses_are_known_by_name_in_lists_and_alone() {
    let model = Tiny::new(&device());
    let photo = || vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let all: Vec<Box<dyn Loss>> = vec![
        Box::new(BestMatch::new(&model, photo(), "conv2").unwrap()),
        Box::new(Caricature::new(&model, photo(), "conv2").unwrap()),
        Box::new(Content::new(&model, photo(), "conv1").unwrap()),
        Box::new(energy("conv1")),
        Box::new(Realism::new(Pixel(InputSpec::new([1, 3, 5], (0.0, 1.0)), [0, 0]), (0.0, 1.0))),
        Box::new(Style::new(&model, photo(), [("conv1", 1.0)]).unwrap()),
        Box::new(LPNorm::default()),
        Box::new(LPNorm::new(f32::INFINITY).unwrap()),
        Box::new(TotalVariation::new(1.5).unwrap()),
    ];
    let names = [
        "match with the guide at conv2",
        "caricature at conv2",
        "content at conv1",
        "energy of conv1",
        "realism",
        "style",
        "L-6 norm",
        "L-∞ norm",
        "TV(1.5)",
    ];
    let found: Vec<String> = all.iter().map(|loss| loss.name()).collect();
    assert_eq!(found, names);
    // As one of a list each keeps its name and its layers.
    for (loss, name) in all.into_iter().zip(names) {
        let layers = loss.as_ref().layers();
        assert_eq!(Loss::name(&loss), name);
        assert_eq!(Loss::layers(&loss), layers);
        let losses = Losses::from(loss);
        assert!(format!("{losses:?}").contains(name), "{losses:?}");
    }
}

#[test]
fn modifiers_of_the_gradient_are_what_they_say_and_finite_at_zero() {
    let gradient = [-2.0, 0.0, 0.5];
    for (modifier, expected) in [
        (GradientModifier::Negate, [2.0, 0.0, -0.5]),
        (GradientModifier::Absolute, [2.0, 0.0, 0.5]),
        (GradientModifier::Relu, [0.0, 0.0, 0.5]),
        (GradientModifier::Invert, [-0.5, 1e7, 2.0]),
        (GradientModifier::SmallValues, [0.5, 1e7, 2.0]),
    ] {
        let found = crate::host::values(modifier.apply(tensor(&gradient, [1, 1, 1, 3])));
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(
                (found - expected).abs() <= 1e-5 * expected.abs(),
                "{modifier:?}: {found}, not {expected}"
            );
        }
    }
}

/// L-BFGS in double precision, of one image: the two loops of Nocedal and Wright, algorithm 7.4.
struct TwoLoops {
    longest: f64,
    rate: f64,
    history: usize,
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
    scale: Option<f64>,
    last: Option<(Vec<f64>, Vec<f64>)>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl TwoLoops {
    fn step(&mut self, x: &[f64], g: &[f64]) -> Vec<f64> {
        let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        if let Some((last_x, last_g)) = self.last.take() {
            let (s, y) = (minus(x, &last_x), minus(g, &last_g));
            if dot(&s, &y) > 1e-6 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
                self.scale = Some(dot(&s, &y) / dot(&y, &y));
                self.pairs.push((s, y));
                if self.pairs.len() > self.history {
                    self.pairs.remove(0);
                }
            }
        }
        let size = |a: &[f64]| (dot(a, a) / a.len() as f64).sqrt();
        let mut q = g.to_vec();
        let mut shares = Vec::new();
        for (s, y) in self.pairs.iter().rev() {
            let share = dot(s, &q) / dot(s, y);
            q.iter_mut().zip(y).for_each(|(q, y)| *q -= share * y);
            shares.push(share);
        }
        let scale = self.scale.unwrap_or(self.longest / 10.0 / size(g));
        q.iter_mut().for_each(|q| *q *= scale);
        for ((s, y), share) in self.pairs.iter().zip(shares.iter().rev()) {
            let back = dot(y, &q) / dot(s, y);
            q.iter_mut().zip(s).for_each(|(q, s)| *q += (share - back) * s);
        }
        q.iter_mut().for_each(|q| *q *= self.rate);
        let shorten = (self.longest / size(&q)).min(1.0);
        self.last = Some((x.to_vec(), g.to_vec()));
        x.iter().zip(&q).map(|(x, q)| x - shorten * q).collect()
    }
}

#[test]
fn lbfgs_takes_the_steps_of_its_two_loops_whatever_the_curvature_and_the_memory() {
    // ½ Σ k·x² with curvatures far below and above 1; two images that start elsewhere.
    for (curvature, longest) in
        [([0.002, 0.01, 0.03, 0.05, 0.2, 0.4], 3.0), ([1.0, 2.0, 3.0, 5.0, 8.0, 13.0], 0.7)]
    {
        for (history, rate) in [(1, 1.0), (2, 0.7), (3, 1.0), (10, 0.4)] {
            let start = [[3.0, -2.0, 1.0, 4.0, -5.0, 2.0], [-1.0, 0.5, 6.0, -2.5, 1.5, -3.0]];
            let gradient = |x: &[f64]| -> Vec<f64> { x.iter().zip(curvature).map(|(x, k)| k * x).collect() };
            let mut reference = [0, 1].map(|_| TwoLoops {
                longest,
                rate,
                history,
                pairs: Vec::new(),
                scale: None,
                last: None,
            });
            let mut update = Lbfgs::new(longest as f32).unwrap().with_history(history);
            let mut at = start.map(|row| row.to_vec());
            for step in 0..7 {
                let flat = |rows: &[Vec<f64>; 2]| -> Tensor<4> {
                    let values: Vec<f32> = rows.concat().iter().map(|value| *value as f32).collect();
                    tensor(&values, [2, 1, 2, 3])
                };
                let slopes = [gradient(&at[0]), gradient(&at[1])];
                let found = crate::host::values(update.step(flat(&at), flat(&slopes), rate));
                for image in 0..2 {
                    at[image] = reference[image].step(&at[image], &slopes[image]);
                }
                let expected: Vec<f32> = at.concat().iter().map(|value| *value as f32).collect();
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 5e-3, "step {step}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn a_spectrum_starts_from_noise_of_its_own_for_each_image_and_of_no_mean() {
    let fourier = Fourier::new([9, 14], (0.0, 1.0));
    let start = |batch: usize, first: usize| fourier.start([batch, 3, 9, 14], 7, first, &device());
    let together = start(4, 0);
    assert_ne!(crate::host::values(start(1, 0)), crate::host::values(start(1, 1)));
    for image in 0..4 {
        let alone = crate::host::values(start(1, image));
        assert_eq!(crate::host::values(together.clone().narrow(0, image, 1)), alone, "image {image}");
    }
    let values = crate::host::values(start(40, 3));
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let deviation = (values.iter().map(|value| value * value).sum::<f32>() / count).sqrt();
    assert!((deviation / 0.01 - 1.0).abs() < 0.03 && mean.abs() < 0.0005, "{mean} ± {deviation}");
}

#[test]
fn waves_that_run_up_and_down_are_mirror_images_of_each_other() {
    // Row k of the spectrum runs down by k waves, row height − k up: turned upside down about the first row.
    for [height, width] in [[6, 9], [7, 4]] {
        let fourier = Fourier::new([height, width], (-1.0, 1.0));
        let wave = |row: usize, column: usize| {
            let bins = width / 2 + 1;
            let mut values = vec![0.0; 6 * height * bins];
            values[row * bins + column] = 3.0;
            crate::host::array4(fourier.decode(tensor(&values, [1, 6, height, bins])))
        };
        for (row, column) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            let (down, up) = (wave(row, column), wave(height - row, column));
            for ((_, channel, y, x), value) in down.indexed_iter() {
                let other = up[[0, channel, (height - y) % height, x]];
                assert!((value - other).abs() < 1e-5, "{height} × {width}, row {row}: {value} and {other}");
            }
            assert!(down.iter().any(|value| value.abs() > 0.01));
        }
    }
}

#[test]
fn total_variation_needs_two_rows_and_two_columns() {
    let of = |values: &[f32], shape| {
        let loss = TotalVariation::default().build_loss(&Scene::new(tensor(values, shape), [])).unwrap();
        crate::host::values(loss)[0]
    };
    assert_eq!(of(&[1.0, 5.0, 2.0], [1, 1, 1, 3]), 0.0);
    assert_eq!(of(&[1.0, 5.0, 2.0], [1, 1, 3, 1]), 0.0);
    // One position in each: (5 − 1)² + (2 − 1)² over 4; with a third row or column another.
    assert_eq!(of(&[1.0, 2.0, 5.0, 9.0], [1, 1, 2, 2]), 17.0 / 4.0);
    assert_eq!(of(&[1.0, 2.0, 5.0, 9.0, 0.0, 0.0], [1, 1, 3, 2]), (16.0 + 1.0 + 25.0 + 16.0) / 6.0);
    assert_eq!(of(&[1.0, 2.0, 4.0, 5.0, 9.0, 0.0], [1, 1, 2, 3]), (16.0 + 1.0 + 49.0 + 4.0) / 6.0);
}

#[test]
fn the_transforms_of_a_preset_are_those_given_by_hand() {
    let model = crate::support::identity([3, 6, 9]);
    let run = || {
        let wanted = vis::losses::ActivationMaximization::new("output", 0);
        let start = vis::random::noise([1, 3, 6, 9], (0.0, 255.0), 3, 0, &device()) * 3.0;
        vis::Optimizer::new(&model, vis::losses![(wanted, 1.0), (energy("output"), 0.01)])
            .seed_img(start)
            .max_iter(3)
    };
    let losses = |run: vis::Optimizer<'_>| run.max_iter(3).minimize().unwrap().losses.totals();
    let plain = vis::model::Preset {
        jitter: 0.0,
        scales: vec![],
        rotations: vec![],
        frame: 0,
        warm_up: 0,
        ..vis::model::Preset::keras_vis()
    };
    let still = losses(run().preset(&plain));
    let zoom = vis::model::Preset { scales: vec![0.5, 1.7], ..plain.clone() };
    let turn = vis::model::Preset { rotations: vec![40.0, -70.0], ..plain.clone() };
    let zoomed = run().preset(&plain).transform(vis::transforms::Scale(vec![0.5, 1.7]));
    let turned = run().preset(&plain).transform(vis::transforms::Rotate(vec![40.0, -70.0]));
    for (preset, by_hand) in [(zoom, zoomed), (turn, turned)] {
        let found = losses(run().preset(&preset));
        assert_ne!(found, still, "{preset:?}");
        assert_eq!(found, losses(by_hand));
    }
}

#[test]
fn entries_for_another_number_of_images_are_refused() {
    let model = Tiny::new(&device());
    let losses: Losses = vis::losses::ActivationMaximization::per_image("conv2", [1, 2]).into();
    let gradient = vis::gradient::Gradient::new(&model, &losses);
    for batch in [1, 3] {
        let images = vis::random::noise([batch, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
        let error = gradient.values(images).unwrap_err().to_string();
        assert!(error.ends_with(&format!("must be one entry per image ({batch}), not 2")), "{error}");
    }
}

#[test]
fn the_smallest_gradients_are_neither_blown_up_nor_divided_by_nothing() {
    // 1e-7 stands under every division.
    let tiny = tensor(&[1e-7, 3e-7], [1, 1, 1, 2]);
    for modifier in [GradientModifier::Invert, GradientModifier::SmallValues] {
        let found = crate::host::values(modifier.apply(tiny.clone()));
        assert!((found[0] / 5e6 - 1.0).abs() < 1e-3 && (found[1] / 2.5e6 - 1.0).abs() < 1e-3, "{found:?}");
    }
    // The slope of a·x at every pixel is a: a root mean square of 1e-7, of which half is left.
    struct Slope;
    impl Loss for Slope {
        fn name(&self) -> String {
            "slope".into()
        }
        fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
            Ok(scene.image().sum_dims(&[1, 2, 3]).reshape([scene.batch()]) * 1e-7)
        }
    }
    let model = crate::support::identity([1, 2, 3]);
    let run = vis::Optimizer::new(&model, Slope).seed_img(Tensor::zeros([1, 1, 2, 3], &device())).max_iter(1);
    let gradient = run.minimize().unwrap().gradient;
    assert_close(&crate::host::values(gradient), &[0.5; 6], 1e-3);
}

#[test]
fn a_gradient_of_any_sign_is_no_gradient_of_zero() {
    // Slopes −1 and 0 in the first image, 0 in the second.
    struct Falling;
    impl Loss for Falling {
        fn name(&self) -> String {
            "falling".into()
        }
        fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
            let weights = tensor(&[-1.0, 0.0, 0.0, 0.0], [2, 1, 1, 2]);
            Ok((scene.image() * weights).sum_dims(&[1, 2, 3]).reshape([2]))
        }
    }
    let model = crate::support::identity([1, 1, 2]);
    let run = vis::Optimizer::new(&model, Falling).seed_img(Tensor::zeros([2, 1, 1, 2], &device()));
    assert_eq!(run.max_iter(2).minimize().unwrap().zero_gradient, [false, true]);
}

#[test]
fn noise_lies_in_a_band_about_the_middle_of_any_range() {
    // keras-vis: 128 ± 10 of 0..255, so a half band of 10/255 of the range, half a 255th above its middle.
    for range in [(0.0, 255.0), (-3.0, 5.0), (10.0, 11.0), (-1.0, 0.0)] {
        let (width, middle) = (range.1 - range.0, (range.0 + range.1) / 2.0);
        let images = vis::random::noise([3, 2, 20, 30], range, 4, 5, &device());
        let values = crate::host::values(images.clone());
        let (centre, half) = (middle + width * 0.5 / 255.0, width * 10.0 / 255.0);
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!((low - (centre - half)).abs() < 0.02 * half && (high - (centre + half)).abs() < 0.02 * half);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - centre).abs() < 0.05 * half, "{range:?}: {mean}");
        // Each image has a stream of its own, whichever batch it is in.
        for image in 0..3 {
            let alone = vis::random::noise([1, 2, 20, 30], range, 4, 5 + image, &device());
            assert_eq!(crate::host::values(alone), values[image * 1200..image * 1200 + 1200]);
        }
        assert_ne!(values[..1200], values[1200..2400]);
    }
}

#[test]
fn spectra_are_equal_if_their_sizes_ranges_and_decays_are() {
    let fourier = Fourier::new([4, 7], (0.0, 1.0));
    assert_eq!(fourier, Fourier::new([4, 7], (0.0, 1.0)));
    fourier.decode(fourier.start([1, 1, 4, 7], 0, 0, &device())); // what is kept of it makes no difference
    assert_eq!(fourier, Fourier::new([4, 7], (0.0, 1.0)));
    for other in [
        Fourier::new([7, 4], (0.0, 1.0)),
        Fourier::new([4, 7], (0.0, 2.0)),
        Fourier::new([4, 7], (0.0, 1.0)).with_decay(0.5),
    ] {
        assert_ne!(fourier, other);
    }
}

#[test]
fn values_of_losses_are_found_by_name_and_lists_know_their_length() {
    let model = crate::support::identity([1, 2, 3]);
    let losses =
        vis::losses![(LPNorm::default(), 2.0), (energy("output"), 0.5), (TotalVariation::default(), 0.0)];
    assert_eq!(losses.len(), 3);
    assert!(!losses.is_empty() && Losses::new().is_empty());
    assert_eq!(Losses::new().len(), 0);
    let images = tensor(&[1.0, 2.0, -3.0, 4.0, 0.0, 0.5, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], [2, 1, 2, 3]);
    let values = vis::gradient::Gradient::new(&model, &losses).values(images).unwrap();
    // −½ of the mean square.
    let energy = values.named("energy of output").unwrap().to_vec();
    assert_close(&energy, &[-0.5 * (1.0 + 4.0 + 9.0 + 16.0 + 0.25) / 6.0, -2.0], 1e-5);
    let norm = values.named("L-6 norm").unwrap().to_vec();
    assert_close(&norm[1..], &[2.0 * 2.0 * 6.0_f32.powf(1.0 / 6.0) / 6.0], 1e-4);
    assert!(values.named("TV(2)").is_none() && values.named("").is_none());
}

#[test]
fn colour_maps_are_shown_by_the_names_they_are_read_from() {
    for colors in vis::picture::ColorMap::ALL {
        assert_eq!(colors.to_string(), colors.name());
        assert_eq!(colors.name().parse::<vis::picture::ColorMap>().unwrap(), colors);
    }
    assert_eq!(vis::picture::ColorMap::Viridis.to_string(), "viridis");
}

#[test]
fn frequencies_are_counted_in_pixels_along_both_axes() {
    // One wave down 6 or 20 rows has a frequency of 1/6 or 1/20 whatever the width, two waves across 9 columns 2/9; the
    // scale is one over it. A bin between the first and the last counts for its mirror image too.
    for ([height, width], waves) in [([6, 9], 2), ([20, 9], 1), ([5, 24], 4)] {
        let fourier = Fourier::new([height, width], (-1.0, 1.0));
        let bins = width / 2 + 1;
        let largest = |row: usize, column: usize| {
            let mut values = vec![0.0; 6 * height * bins];
            values[row * bins + column] = 0.01;
            let decoded = crate::host::values(fourier.decode(tensor(&values, [1, 6, height, bins])));
            decoded.into_iter().map(f32::abs).fold(0.0, f32::max)
        };
        let (down, across) = (largest(1, 0), largest(0, waves));
        let expected = height as f32 / (2.0 * width as f32 / waves as f32);
        assert!((down / across / expected - 1.0).abs() < 0.01, "{height} × {width}: {down} and {across}");
    }
}

#[test]
fn losses_of_one_name_are_told_apart_by_their_layers_and_others_keep_theirs() {
    let wanted = |layer: &str| vis::losses::ActivationMaximization::new(layer, 0);
    let one = vis::losses![(wanted("conv1"), 1.0)];
    assert_eq!(one.names(), ["activation maximization"]);
    let losses = vis::losses![(wanted("conv1"), 1.0), (wanted("conv2"), 1.0), (LPNorm::default(), 1.0)];
    assert_eq!(
        losses.names(),
        ["activation maximization at conv1", "activation maximization at conv2", "L-6 norm"]
    );
    let losses = vis::losses![(wanted("conv1"), 1.0), (LPNorm::default(), 1.0)];
    assert_eq!(losses.names(), ["activation maximization", "L-6 norm"]);
}

#[test]
fn the_network_runs_unless_regularizers_alone_look_at_the_image() {
    let runs = std::sync::atomic::AtomicUsize::new(0);
    let model =
        crate::support::Function(InputSpec::new([1, 2, 3], (0.0, 1.0)), |x: Tensor<4>, taps: &mut Taps| {
            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            taps.relu(x)
        });
    let image = || Tensor::<4>::ones([1, 1, 2, 3], &device());
    let regularizers = Losses::from(TotalVariation::default());
    let excited = Losses::from(energy("output"));
    let count = |run: &dyn Fn()| {
        runs.store(0, std::sync::atomic::Ordering::Relaxed);
        run();
        runs.load(std::sync::atomic::Ordering::Relaxed)
    };
    let gradient = |losses| vis::gradient::Gradient::new(&model, losses);
    assert_eq!(count(&|| drop(gradient(&regularizers).evaluate(image()))), 0);
    assert!(count(&|| drop(gradient(&excited).evaluate(image()))) > 0);
    // A rule and a layer need the network, whatever the losses.
    assert!(count(&|| drop(gradient(&regularizers).rule(vis::Rule::Guided).evaluate(image()))) > 0);
    assert!(count(&|| drop(gradient(&regularizers).at_layer("output").evaluate(image()))) > 0);
}
