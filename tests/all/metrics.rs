//! Measures of maps against answers that can be worked out by hand.

use burn::tensor::{Tensor, TensorData};
use vis::Target;
use vis::attribution::{Attribution, Baseline, Cam, Formula, RandomMap, Saliency, Sobel};
use vis::metrics::{MuFidelity, PixelCurve, RandomizationCheck, average_drop, pointing_game};
use vis::model::{EfficientNetLite0, InputSpec, Stop, Taps, Tiny};
use vis::{Error, Model};

use crate::support::{Function, assert_close, tensor};

/// The score of an image of one channel, 4×4, as a function of its pixels `[batch, 1, 4, 4]`.
fn scorer(score: impl Fn(Tensor<4>) -> Tensor<4> + Send + Sync) -> impl Model {
    Function(InputSpec::new([1, 4, 4], (0.0, 1.0)), move |x: Tensor<4>, _: &mut Taps| score(x))
}

/// The sum of the pixels.
fn sum() -> impl Model {
    scorer(|x| x.sum_dims(&[1, 2, 3]))
}

fn ramp() -> Tensor<4> {
    tensor(&std::array::from_fn::<f32, 16, _>(|place| (place + 1) as f32 / 16.0), [1, 1, 4, 4])
}

#[test]
fn deletion_is_almost_nothing_when_one_missing_pixel_is_enough_to_lose_the_class() {
    // Score 1 for the whole image, 0 as soon as any pixel is black: the curve is 1, 0, 0, … with an area of ½ of
    // one of the 16 steps. Insertion is 0 until the last step: the same.
    let all_there = scorer(|x| x.min_dims(&[1, 2, 3]).sign());
    let area = |curve: PixelCurve| {
        let curves =
            curve.steps(16).baseline(Baseline::Black).evaluate(&all_there, ramp(), ramp(), &0.into());
        curves.unwrap()[0].area()
    };
    assert_eq!(area(PixelCurve::deletion()), 0.5 / 16.0);
    assert_eq!(area(PixelCurve::insertion()), 0.5 / 16.0);
    // Score 1 as soon as any pixel is there: all but half a step.
    let any_there = scorer(|x| x.max_dims(&[1, 2, 3]).sign());
    let curves = PixelCurve::insertion().steps(16).baseline(Baseline::Black);
    let area = curves.evaluate(&any_there, ramp(), ramp(), &0.into()).unwrap()[0].area();
    assert_eq!(area, 15.5 / 16.0);
}

#[test]
fn deletion_removes_the_highest_pixels_first_and_equals_from_the_top_left() {
    // Sum of 1/16 … 16/16 ranked by themselves: 16/16 + … goes first. By 4 steps of 4 pixels: 136, 78, 36, 10, 0
    // sixteenths.
    let deletion = || PixelCurve::deletion().steps(4).baseline(Baseline::Black);
    let curve = &deletion().evaluate(&sum(), ramp(), ramp(), &0.into()).unwrap()[0];
    let sixteenths = |values: &[f32]| values.iter().map(|value| value / 16.0).collect::<Vec<_>>();
    assert_close(curve.scores(), &sixteenths(&[136.0, 78.0, 36.0, 10.0, 0.0]), 1e-5);
    // The trapezoid rule: (136 + 78 + 36 + 10 + 0 − (136 + 0)/2) / 4 = 48.
    assert!((curve.area() - 48.0 / 16.0).abs() < 1e-5);
    // A flat map takes them in order: 136, 126, 100, 58, 0.
    let flat = ramp().ones_like();
    let curve = &deletion().evaluate(&sum(), ramp(), flat, &0.into()).unwrap()[0];
    assert_close(curve.scores(), &sixteenths(&[136.0, 126.0, 100.0, 58.0, 0.0]), 1e-5);
    // In cells of 2×2, ranked by their means, the bottom right one first: 16+15+12+11, then 14+13+10+9, 8+7+4+3.
    let cells = deletion().cell(2).evaluate(&sum(), ramp(), ramp(), &0.into()).unwrap();
    assert_close(cells[0].scores(), &sixteenths(&[136.0, 82.0, 36.0, 14.0, 0.0]), 1e-5);
    // Cells of 3×3 are cut off at the border: 1 pixel, 3 to its left, 3 above it, 9. Four pixels are the corner and
    // the row below: 16+13+14+15.
    let cells = deletion().cell(3).evaluate(&sum(), ramp(), ramp(), &0.into()).unwrap();
    assert_close(&cells[0].scores()[..2], &sixteenths(&[136.0, 78.0]), 1e-5);
    // Insertion of the same order is the complement.
    let insertion = PixelCurve::insertion().steps(4).baseline(Baseline::Black);
    let curve = &insertion.evaluate(&sum(), ramp(), ramp(), &0.into()).unwrap()[0];
    assert_close(curve.scores(), &sixteenths(&[0.0, 58.0, 100.0, 126.0, 136.0]), 1e-5);
}

#[test]
fn insertion_minus_deletion_of_a_random_map_is_nothing_on_average() {
    // Deletion by a map shows what insertion by the opposite map shows in reverse, so over all orders the areas are
    // the same. 40 random maps of a nonlinear score:
    let square = scorer(|x| x.sum_dims(&[1, 2, 3]).square());
    let difference = |seed| {
        let map = vis::random::noise([1, 1, 4, 4], (0.0, 1.0), seed, 0, &Default::default());
        let area = |curve: PixelCurve| {
            curve.steps(16).evaluate(&square, ramp(), map.clone(), &0.into()).unwrap()[0].area()
        };
        area(PixelCurve::insertion()) - area(PixelCurve::deletion())
    };
    let differences: Vec<f32> = (0..40).map(difference).collect();
    let mean = differences.iter().sum::<f32>() / 40.0;
    let spread = (differences.iter().map(|d| (d - mean).powi(2)).sum::<f32>() / 40.0).sqrt();
    assert!(mean.abs() < 3.0 * spread / 40_f32.sqrt(), "{mean} ± {spread}");
}

#[test]
fn curves_of_a_batch_are_those_of_its_images_whatever_runs_at_once() {
    let model = Tiny::new(&Default::default());
    let images = vis::random::noise([3, 3, 8, 8], (0.0, 255.0), 3, 0, &model.device());
    let target = Target::per_image([Target::probability(1), Target::class(2), Target::predicted()]);
    let maps = Cam::new(Formula::LayerCam)
        .penultimate_layer("conv1")
        .attribute(&model, images.clone(), &Target::class(2))
        .unwrap();
    let curve = || PixelCurve::insertion().steps(7).baseline(Baseline::Blurred(2.0));
    let all = curve().batch_size(3).evaluate(&model, images.clone(), maps.clone(), &target).unwrap();
    for (index, target) in [Target::probability(1), Target::class(2), Target::predicted()].iter().enumerate()
    {
        let one = |tensor: &Tensor<4>| tensor.clone().narrow(0, index, 1);
        // What a half-shown image looks like decides nothing: the target is that of the whole image.
        let single = curve().batch_size(50).evaluate(&model, one(&images), one(&maps), target).unwrap();
        assert_close(all[index].scores(), single[0].scores(), 1e-4);
    }
}

#[test]
fn average_drop_is_what_the_map_hides_of_the_score() {
    // Two images of ones whose score is their sum, 16. A map of ones hides nothing, one that is ½ (of a largest
    // value of 1) everywhere but once hides 7.5: drops of 0 and 7.5/16.
    let images = Tensor::ones([2, 1, 4, 4], &Default::default());
    let mut maps = vec![3.0; 16];
    maps.extend([0.5; 16]);
    maps[16] = 1.0;
    let found =
        average_drop(&sum(), images, tensor(&maps, [2, 1, 4, 4]), &0.into(), &Baseline::Black).unwrap();
    assert_close(&[found.drop, found.increase], &[7.5 / 32.0, 0.0], 1e-6);

    // The score falls with every pixel shown: the image that loses half of them rises, without any drop.
    let fewer = scorer(|x| x.sum_dims(&[1, 2, 3]).neg() + 20.0);
    let images = Tensor::ones([2, 1, 4, 4], &Default::default());
    let found =
        average_drop(&fewer, images, tensor(&maps, [2, 1, 4, 4]), &0.into(), &Baseline::Black).unwrap();
    assert_eq!((found.drop, found.increase), (0.0, 0.5));

    // A constant score neither falls nor rises, and a map without a positive value shows nothing.
    let constant = scorer(|x| x.sum_dims(&[1, 2, 3]) * 0.0 + 0.7);
    let found = average_drop(&constant, ramp(), ramp(), &0.into(), &Baseline::Black).unwrap();
    assert_eq!((found.drop, found.increase), (0.0, 0.0));
    let found = average_drop(&sum(), ramp(), ramp().neg(), &0.into(), &Baseline::Black).unwrap();
    assert_eq!((found.drop, found.increase), (1.0, 0.0));
}

#[test]
fn a_score_of_0_has_nothing_to_lose_and_one_that_is_not_finite_is_refused() {
    // Score 0 for the image of ones and −8 for half of it.
    let images = || Tensor::<4>::ones([1, 1, 4, 4], &Default::default());
    let shifted = scorer(|x| x.sum_dims(&[1, 2, 3]) - 16.0);
    let mut half = vec![0.0; 16];
    half[..8].fill(1.0);
    let half = tensor(&half, [1, 1, 4, 4]);
    let found = average_drop(&shifted, images(), half.clone(), &0.into(), &Baseline::Black).unwrap();
    assert_eq!((found.drop, found.increase), (0.0, 0.0));
    // The logarithm of black pixels.
    let log = scorer(|x| x.log().sum_dims(&[1, 2, 3]));
    let refused = average_drop(&log, images(), half, &0.into(), &Baseline::Black);
    let Err(Error::NonFinite { what, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(what, "the score of class 0 for image 0");
}

#[test]
fn a_map_that_is_the_pixels_of_a_sum_is_perfectly_faithful_and_its_opposite_perfectly_not() {
    // S = Σx: hiding a set costs exactly the sum of its pixels.
    let fidelity =
        |map| MuFidelity::new().sets(50).share(0.3).evaluate(&sum(), ramp(), map, &0.into()).unwrap()[0];
    assert!((fidelity(ramp()) - 1.0).abs() < 1e-5);
    assert!((fidelity(ramp().neg()) + 1.0).abs() < 1e-5);
    assert_eq!(fidelity(ramp().ones_like()), 0.0, "a flat map says nothing");
}

#[test]
fn the_pointing_game_measures_the_distance_from_the_highest_place_to_the_box() {
    let mut map = ndarray::Array2::<f32>::zeros((40, 40));
    map[[10, 30]] = 2.0;
    map[[0, 0]] = f32::NAN;
    let at =
        |top, left, bottom, right, tolerance| pointing_game(map.view(), top..bottom, left..right, tolerance);
    assert!(at(10, 30, 11, 31, 0.0), "inside");
    assert!(!at(10, 20, 11, 30, 0.0) && at(10, 20, 11, 30, 1.0), "one pixel to the right of the box");
    // 9 below and 12 to the left of the nearest corner pixel: 15 away.
    assert!(at(19, 0, 30, 19, 15.0) && !at(19, 0, 30, 19, 14.9));
    assert!(!at(10, 30, 10, 40, 100.0), "an empty box is never hit");
    assert!(!pointing_game(ndarray::array![[f32::NAN]].view(), 0..1, 0..1, 9.0));
}

/// Two convolutions and a dense layer whose weights are drawn from a seed each.
struct Drawn {
    input: InputSpec,
    conv1: Tensor<4>,
    conv2: Tensor<4>,
    dense: Tensor<2>,
}

impl Drawn {
    fn new(seeds: [u64; 3]) -> Self {
        use rand::Rng;
        let draw = |seed, shape: [usize; 4]| -> Tensor<4> {
            let mut stream = vis::random::stream(seed, 9);
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|_| stream.random_range(-1.0..1.0)).collect();
            Tensor::from_data(TensorData::new(values, shape), &Default::default())
        };
        Self {
            input: InputSpec::new([1, 24, 24], (0.0, 1.0)),
            conv1: draw(seeds[0], [8, 1, 3, 3]),
            conv2: draw(seeds[1], [8, 8, 3, 3]),
            dense: draw(seeds[2], [1, 1, 8, 3]).reshape([8, 3]),
        }
    }
}

impl Model for Drawn {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        use burn::tensor::{module::conv2d, ops::ConvOptions};
        let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let x = taps.relu(conv2d(image, self.conv1.clone(), None, options()));
        let x = taps.layer("conv1", x)?;
        let x = taps.relu(conv2d(x, self.conv2.clone(), None, options()));
        let x = taps.layer("conv2", x)?;
        let [batch, ..] = x.dims();
        taps.layer("logits", x.mean_dims(&[2, 3]).reshape([batch, 8]).matmul(self.dense.clone()))?;
        Ok(())
    }
}

#[test]
fn grad_cam_changes_with_the_weights_and_guided_backprop_much_less() {
    // Adebayo et al.: with the upper layers drawn anew, the magnitudes of guided backprop keep the order that the
    // first layer and the edges of the image give them, while the signed Grad-CAM map is another one.
    let trained = Drawn::new([1, 2, 3]);
    let mut image = vec![0.1_f32; 24 * 24];
    image.chunks_mut(24).take(16).skip(6).for_each(|row| row[8..18].fill(0.9));
    let image = tensor(&image, [1, 1, 24, 24]);
    let stages =
        || (10..18).map(|seed| (format!("conv2 and dense, {seed}"), Drawn::new([1, seed, seed + 100])));
    let correlation = |method: &dyn Attribution| {
        let check = RandomizationCheck::new(method);
        let rows = check.run(&trained, image.clone(), &Target::class(0), stages()).unwrap();
        assert_eq!(rows[0].stage, "conv2 and dense, 10");
        rows.iter().map(|row| row.correlation).sum::<f32>() / rows.len() as f32
    };
    let (grad_cam, guided) = (correlation(&Cam::new(Formula::GradCam)), correlation(&Saliency::guided()));
    assert!(grad_cam.abs() < 0.5 && guided > grad_cam + 0.2, "Grad-CAM {grad_cam}, guided {guided}");

    // Nothing drawn anew is nothing changed.
    let same = [("nothing", Drawn::new([1, 2, 3]))];
    let rows =
        RandomizationCheck::new(&Saliency::new()).run(&trained, image, &Target::class(0), same).unwrap();
    assert!(rows[0].correlation > 0.9999 && rows[0].correlation_of_magnitudes > 0.9999);
}

/// A bundled photo as the network sees it.
fn photo(model: &EfficientNetLite0, name: &str) -> Tensor<4> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("images/photos").join(name);
    vis::picture::to_input(&vis::picture::load(path).unwrap(), model).unwrap()
}

#[test]
fn on_photos_grad_cam_ranks_pixels_better_than_noise_and_than_edges() {
    // By insertion, and by insertion minus deletion, on the cat and the espresso. (Deletion alone ranks it so on the
    // espresso, but not on the cat or the rocket: scattered pixels ruin a texture faster than a hole as large.)
    let model = EfficientNetLite0::bundled(&Default::default()).unwrap();
    for name in ["chelsea.png", "coffee.png"] {
        let image = photo(&model, name);
        let target = Target::predicted().resolved(&model, &image).unwrap();
        let areas = |method: &dyn Attribution| {
            let map = method.attribute(&model, image.clone(), &target).unwrap();
            let area = |curve: PixelCurve| {
                let curve =
                    curve.steps(8).evaluate(&model, image.clone(), map.clone(), &target.as_probability());
                curve.unwrap()[0].area()
            };
            let (insertion, deletion) = (area(PixelCurve::insertion()), area(PixelCurve::deletion()));
            println!("{name}, {}: insertion {insertion:.3}, deletion {deletion:.3}", method.name());
            (insertion, insertion - deletion)
        };
        let grad_cam = areas(&Cam::new(Formula::GradCam));
        for control in [areas(&RandomMap { seed: 0 }), areas(&Sobel)] {
            assert!(grad_cam.0 > control.0 && grad_cam.1 > control.1, "{name}: {grad_cam:?}, {control:?}");
        }
    }
}

#[test]
fn single_layers_of_a_bundled_network_can_be_drawn_anew_for_a_cascade() {
    let device = Default::default();
    let model = EfficientNetLite0::bundled(&device).unwrap();
    let image = photo(&model, "chelsea.png");
    let redrawn =
        |layers: &[&str]| EfficientNetLite0::bundled_with_random_layers(layers, 3, &device).unwrap();
    // What lies below a layer is as it was, what lies above is another.
    let activation =
        |model: &dyn Model, layer: &str| crate::host::values(model.activation(image.clone(), layer).unwrap());
    let top = redrawn(&["predictions"]);
    assert_eq!(activation(&top, "head"), activation(&model, "head"));
    assert_ne!(activation(&top, "predictions"), activation(&model, "predictions"));
    let block = redrawn(&["blocks.15"]);
    assert_eq!(activation(&block, "blocks.14"), activation(&model, "blocks.14"));
    assert_ne!(activation(&block, "blocks.15.expand"), activation(&model, "blocks.15.expand"));
    // `blocks.1` does not mean `blocks.10` and on, whose weights stay those of the file.
    assert_eq!(
        redrawn(&[]).classify(image.clone()).map(crate::host::values).unwrap(),
        activation(&model, "predictions")
    );
    let refused = EfficientNetLite0::bundled_with_random_layers(&["blocks.1x"], 0, &device).unwrap_err();
    assert!(
        refused.to_string().starts_with("there is no layer `blocks.1x` (did you mean `blocks.1"),
        "{refused}"
    );

    // Grad-CAM is another map as soon as the classes are; guided backprop keeps the order of its magnitudes.
    let check = |method: &dyn Attribution| {
        let check = RandomizationCheck::new(method);
        check.run(&model, image.clone(), &Target::predicted(), [("predictions", &top)]).unwrap().remove(0)
    };
    let (cam, guided) = (check(&Cam::new(Formula::GradCam)), check(&Saliency::guided()));
    println!("Grad-CAM {:.2}, guided {:.2}", cam.correlation, guided.correlation_of_magnitudes);
    assert!(cam.correlation.abs() < 0.6 && guided.correlation_of_magnitudes > 0.6, "{cam:?}, {guided:?}");
}

#[test]
fn measures_refuse_maps_of_another_shape_and_settings_that_make_no_sense() {
    let wide = || Tensor::zeros([1, 3, 4, 4], &Default::default());
    let target = Target::class(0);
    let refused = PixelCurve::deletion().evaluate(&sum(), ramp(), wide(), &target).unwrap_err();
    assert!(
        refused.to_string().contains("the map has shape [1, 3, 4, 4], expected [1, 1, 4, 4]"),
        "{refused}"
    );
    let errors = [
        average_drop(&sum(), ramp(), wide(), &target, &Baseline::Black).unwrap_err(),
        MuFidelity::new().evaluate(&sum(), ramp(), wide(), &target).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::Shape { .. })), "{errors:?}");
    let errors = [
        PixelCurve::deletion().steps(0).evaluate(&sum(), ramp(), ramp(), &target).unwrap_err(),
        PixelCurve::deletion().batch_size(0).evaluate(&sum(), ramp(), ramp(), &target).unwrap_err(),
        MuFidelity::new().sets(1).evaluate(&sum(), ramp(), ramp(), &target).unwrap_err(),
        MuFidelity::new().share(0.0).evaluate(&sum(), ramp(), ramp(), &target).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::InvalidParameter { .. })), "{errors:?}");
}
