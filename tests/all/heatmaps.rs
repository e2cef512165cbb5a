//! The two front doors of attribution, against the methods behind them.

use burn::tensor::Tensor;
use ndarray::{Array2, Array3, Axis};
use vis::Target;
use vis::attribution::{Attribution, Cam, Formula, Saliency, SmoothGrad};
use vis::model::{EfficientNetLite0, Tiny};
use vis::optimizer::GradientModifier;
use vis::picture::{self, ColorMap};
use vis::{Error, Model, Rule, visualize_cam, visualize_saliency};

use crate::host;

fn tiny() -> (Tiny, Tensor<4>) {
    let model = Tiny::new(&Default::default());
    let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    (model, photo)
}

fn first(map: Tensor<4>) -> Array3<f32> {
    host::array4(map).index_axis_move(Axis(0), 0)
}

fn assert_same(one: &Array2<f32>, other: &Array2<f32>) {
    assert_eq!(one.dim(), other.dim());
    assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5), "{one} is not {other}");
}

#[test]
fn saliency_is_the_largest_magnitude_over_the_channels_from_0_to_1() {
    let (model, photo) = tiny();
    let found = visualize_saliency(&model, photo.clone()).filter_indices(3).percentile(100.0).run().unwrap();
    let gradient = first(Saliency::new().attribute(&model, photo, &Target::class(3)).unwrap());
    assert_eq!(found.raw, gradient, "the numbers are the signed gradient");
    let largest =
        gradient.map_axis(Axis(0), |values| values.iter().fold(0.0_f32, |most, v| most.max(v.abs())));
    let (low, high) = largest.iter().fold((f32::MAX, 0.0_f32), |(low, high), v| (low.min(*v), high.max(*v)));
    assert_same(&found.map, &largest.mapv(|value| (value - low) / (high - low)));
}

#[test]
fn saliency_takes_the_arguments_of_keras_vis() {
    let (model, photo) = tiny();
    let saliency = || visualize_saliency(&model, photo.clone());
    let raw = |method: &dyn Attribution, target: &Target| {
        first(method.attribute(&model, photo.clone(), target).unwrap())
    };
    // A layer with filters, a layer alone, several filters, neither.
    let found = saliency().target_layer("conv2").filter_indices([1, 4]).run().unwrap();
    assert_eq!(found.raw, raw(&Saliency::new(), &Target::channels("conv2", [1, 4])));
    assert_eq!(found.label, "channel 1 + channel 4 of `conv2`");
    let found = saliency().target_layer("conv2").run().unwrap();
    assert_eq!(found.raw, raw(&Saliency::new(), &Target::layer("conv2")));
    assert_eq!(found.label, "mean of `conv2`");
    assert_eq!(saliency().run().unwrap().raw, raw(&Saliency::new(), &Target::predicted()));
    // Rule, modifier, smoothing.
    let found = saliency().filter_indices(2).rule(Rule::Guided).run().unwrap();
    assert_eq!(found.raw, raw(&Saliency::guided(), &Target::class(2)));
    let smooth = SmoothGrad::new(Saliency::new()).samples(4).noise(0.1).seed(9);
    let found = saliency().filter_indices(2).smooth(4).noise(0.1).seed(9).run().unwrap();
    assert_eq!(found.raw, raw(&smooth, &Target::class(2)));
    let up = saliency().filter_indices(2).grad_modifier(None).percentile(100.0).run().unwrap();
    let down =
        saliency().filter_indices(2).grad_modifier(GradientModifier::Negate).percentile(100.0).run().unwrap();
    assert_eq!(up.raw, down.raw, "the numbers are those before the modifier");
    // The most of g and the most of −g are at different places.
    assert!(up.map.iter().zip(&down.map).any(|(up, down)| (up - down).abs() > 0.5));
    assert!(saliency().percentile(101.0).run().is_err());
}

#[test]
fn a_class_activation_map_is_rectified_enlarged_and_divided_by_its_largest_value() {
    let (model, photo) = tiny();
    let found = visualize_cam(&model, photo.clone()).filter_indices(1).run().unwrap();
    let cam = Cam::new(Formula::GradCam).map(&model, photo.clone(), &Target::class(1)).unwrap();
    assert_eq!((found.layer.as_deref(), &found.raw), (Some("conv2"), &first(cam.map.clone())));
    let enlarged = first(cam.rectified().upsampled()).index_axis_move(Axis(0), 0);
    let largest = enlarged.iter().copied().fold(0.0, f32::max);
    assert_same(&found.map, &enlarged.mapv(|value| value / largest));

    let there = visualize_cam(&model, photo).filter_indices(1).penultimate_layer("conv1");
    let against = there.formula(Formula::HiResCam).grad_modifier(GradientModifier::Negate).run().unwrap();
    assert_eq!(against.layer.as_deref(), Some("conv1"));
}

#[test]
fn formula_rule_and_modifier_of_a_class_activation_map_are_those_of_cam() {
    let (model, photo) = tiny();
    for formula in Formula::ALL {
        let door = visualize_cam(&model, photo.clone()).filter_indices(2).formula(formula);
        let door = door.penultimate_layer("conv1").run().unwrap();
        let cam = Cam::new(formula)
            .penultimate_layer("conv1")
            .map(&model, photo.clone(), &Target::class(2))
            .unwrap();
        assert_eq!(door.raw, first(cam.map), "{formula}");
    }
    let plain =
        visualize_cam(&model, photo.clone()).filter_indices(2).penultimate_layer("conv1").run().unwrap();
    for rule in [Rule::Guided, Rule::Deconvolution] {
        let door =
            visualize_cam(&model, photo.clone()).filter_indices(2).penultimate_layer("conv1").rule(rule);
        let door = door.run().unwrap();
        let cam = Cam::new(Formula::GradCam).penultimate_layer("conv1").rule(rule);
        assert_eq!(door.raw, first(cam.map(&model, photo.clone(), &Target::class(2)).unwrap().map));
        assert_ne!(door.raw, plain.raw, "the rule acts on the rectifier of conv2");
    }
    for modifier in [GradientModifier::Negate, GradientModifier::Absolute, GradientModifier::Relu] {
        let door =
            visualize_cam(&model, photo.clone()).filter_indices(2).grad_modifier(modifier).run().unwrap();
        let cam = Cam::new(Formula::GradCam).grad_modifier(modifier);
        assert_eq!(door.raw, first(cam.map(&model, photo.clone(), &Target::class(2)).unwrap().map));
    }
    // Where no rectifier could obey a rule, and where a formula has no gradient, both doors say so.
    assert!(matches!(
        visualize_cam(&model, photo.clone()).rule(Rule::Guided).run(),
        Err(Error::NoRectifier { .. })
    ));
    let refused = visualize_cam(&model, photo).formula(Formula::EigenCam).rule(Rule::Guided).run();
    assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{refused:?}");
}

#[test]
fn the_title_tells_what_the_network_sees_and_the_panel_shows_photo_map_and_both() {
    let (model, photo) = tiny();
    let found = visualize_cam(&model, photo.clone()).filter_indices(1).run().unwrap();
    // The three largest of the softmax.
    let mut expected: Vec<(usize, f32)> =
        host::values(model.activation(photo, "softmax").unwrap()).into_iter().enumerate().collect();
    expected.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for ((name, share), (class, expected)) in found.predictions.iter().zip(&expected) {
        assert_eq!(*name, format!("class {class}"));
        assert!((share - expected).abs() < 1e-5);
    }
    assert_eq!(found.predictions.len(), 3);
    let percent = |index: usize| format!("class {} {:.0} %", expected[index].0, 100.0 * expected[index].1);
    let seen = format!("{}, {}, {}", percent(0), percent(1), percent(2));
    assert_eq!(found.title(), format!("class 1\nThe network sees: {seen}"));

    let over = found.overlay(picture::Opacity::default()).unwrap();
    let photo = found.photo.as_ref().unwrap();
    let pictures = [("photo", photo), ("at conv2", &found.picture()), ("over the photo", &over)];
    assert_eq!(found.panel().unwrap(), picture::panel(&pictures, Some(&found.title())).unwrap());

    // What is saved is the map over the photo.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cam.png");
    found.save(&path).unwrap();
    assert_eq!(picture::load(&path).unwrap(), over);
    assert!(matches!(found.save(folder.path().join("no/such/folder/cam.png")), Err(Error::Io { .. })));
}

#[test]
fn the_picture_is_the_map_in_colour_over_the_photo() {
    let (model, photo) = tiny();
    let found =
        visualize_cam(&model, photo.clone()).filter_indices(1).run().unwrap().with_colors(ColorMap::Viridis);
    let drawn = found.photo.clone().unwrap();
    assert_eq!(drawn, picture::from_tensor(photo, (0.0, 255.0)).unwrap()[0]);
    assert_eq!(found.overlay(1.0).unwrap(), picture::colorize(found.map.view(), ColorMap::Viridis));
    assert_eq!(found.overlay(0.0).unwrap(), drawn);
    assert!(found.overlay(1.5).is_err());
}

#[test]
fn more_than_one_image_is_refused() {
    let (model, photo) = tiny();
    let two = Tensor::cat(vec![photo.clone(), photo], 0);
    for refused in [visualize_saliency(&model, two.clone()).run(), visualize_cam(&model, two).run()] {
        let Err(Error::Shape { got, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(got, [2, 3, 8, 8]);
    }
}

#[test]
fn maps_of_the_cat_lie_on_the_cat_and_maps_of_the_espresso_on_the_cup() {
    // The cat's face fills the photo but for its right edge; the cup fills the upper middle.
    let model = EfficientNetLite0::bundled(&Default::default()).unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("images/photos");
    let photo = |name| picture::to_input(&picture::load(folder.join(name)).unwrap(), &model).unwrap();
    let share = |map: &Array2<f32>, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        map.slice(ndarray::s![rows, columns]).sum() / map.sum()
    };

    let cat = visualize_cam(&model, photo("chelsea.png")).run().unwrap();
    assert_eq!((cat.label.as_str(), cat.layer.as_deref()), ("Egyptian cat", Some("head")));
    assert!(share(&cat.map, 32..224, 32..192) > 0.75);
    let cup = visualize_cam(&model, photo("coffee.png")).filter_indices(967).run().unwrap();
    assert_eq!(cup.label, "espresso");
    // A third of the photo holds most of the evidence.
    assert!(share(&cup.map, 20..140, 50..190) > 0.6, "{}", share(&cup.map, 20..140, 50..190));
    // The pixels are spread wider, over cup, saucer and spoon: denser than elsewhere.
    let pixels = visualize_saliency(&model, photo("coffee.png")).filter_indices(967).run().unwrap();
    let squares = pixels.map.mapv(|value| value * value);
    let (inside, area) = (share(&squares, 20..210, 30..200), 190.0 * 170.0 / (224.0 * 224.0));
    assert!(inside > 1.2 * area, "{inside} in a share of {area}");

    // The cat fills its photo; the gradient is denser on its face than around it, and another for espresso.
    let pixels = |class: usize| {
        visualize_saliency(&model, photo("chelsea.png")).filter_indices(class).run().unwrap().map
    };
    let (cat_pixels, coffee_pixels) = (pixels(285), pixels(967));
    let squares = cat_pixels.mapv(|value| value * value);
    let (inside, area) = (share(&squares, 32..224, 32..192), 192.0 * 160.0 / (224.0 * 224.0));
    assert!(inside > 1.05 * area, "{inside} in a share of {area}");
    let mean = |map: &Array2<f32>| map.mean().unwrap();
    let off = mean(&(&cat_pixels - &coffee_pixels).mapv(f32::abs)) / mean(&cat_pixels);
    assert!(off > 0.3, "{off}");
    let coffee = visualize_cam(&model, photo("chelsea.png")).filter_indices(967).run().unwrap();
    let off = mean(&(&cat.map - &coffee.map).mapv(f32::abs));
    assert!(off > 0.1, "{off}");

    // Another class, another map.
    let other = visualize_cam(&model, photo("coffee.png")).filter_indices(285).run().unwrap();
    let off = (&other.map - &cup.map).mapv(f32::abs).mean().unwrap();
    assert!(off > 0.1, "{off}");
}
