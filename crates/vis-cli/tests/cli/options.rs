//! Options that the other tests leave alone: each is the setting of the library that its help says.

use std::path::Path;

use burn::tensor::Tensor;
use image::imageops::{self, FilterType};
use ndarray::{ArrayD, Axis};
use serde_json::Value;
use vis::Target;
use vis::attribution::{Attribution, Cam, Formula, Saliency};
use vis::model::{Digits, Model, Vgg16};
use vis::optimizer::Normalization;
use vis::picture;
use vis::visualization::{caricature, deep_dream, style_transfer, texture, visualize_activation};

use crate::host;
use crate::{Place, npy, text};

fn digits() -> Digits {
    Digits::bundled(&Default::default()).unwrap()
}

fn vgg16() -> Vgg16 {
    Vgg16::bundled(&Default::default()).unwrap()
}

/// The cat at so many pixels a side, as the program shrinks it.
fn cat(place: &Place, side: u32) -> Tensor<4> {
    let cat = picture::load(place.path("cat.png")).unwrap();
    picture::to_tensor(&imageops::resize(&cat, side, side, FilterType::CatmullRom), &vgg16()).unwrap()
}

#[track_caller]
fn assert_same(file: &Path, expected: Tensor<4>) {
    let (got, expected): (ArrayD<f32>, _) = (npy::read(file), host::array4(expected).into_dyn());
    assert_eq!(got.shape(), expected.shape());
    let most = |array: &ArrayD<f32>| array.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(
        most(&(&got - &expected)) <= 1e-6 * most(&expected),
        "{} of {}",
        most(&(&got - &expected)),
        most(&expected)
    );
}

fn summary(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn weights_and_devices_of_ones_own() {
    let place = Place::new();
    // The bundled weights under another name, and random ones.
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vis-weights/data/mnist_cnn_f16.safetensors");
    std::fs::copy(bundled, place.path("mine.safetensors")).unwrap();
    let command = "classify --model digits --image seven.png --json --raw";
    place.succeed(&format!("{command} bundled.npy"));
    place.succeed(&format!("{command} mine.npy --weights mine.safetensors"));
    let bundled = npy::read(&place.path("bundled.npy"));
    assert_eq!(npy::read(&place.path("mine.npy")), bundled);
    for device in ["cpu", "flex"] {
        let said = summary(&place.succeed(&format!("{command} device.npy --device {device}")));
        assert_eq!(said["device"], device);
        assert_eq!(npy::read(&place.path("device.npy")), bundled);
    }
    // Without the option the environment is asked.
    let by = |variable: &str, arguments: &str| {
        let mut command = place.command(&format!("{command} device.npy {arguments}"));
        command.env("BURN_DEVICE", variable).output().unwrap()
    };
    assert_eq!(summary(&text(&by("flex", "").stdout))["device"], "flex");
    assert_eq!(summary(&text(&by("abacus", "--device cpu").stdout))["device"], "cpu");
    let refused = by("abacus", "");
    let error = text(&refused.stderr);
    assert!(!refused.status.success() && error.lines().count() == 1, "{error}");
    assert!(error.contains("`abacus`") && error.contains("BURN_DEVICE"), "{error}");
}

#[test]
fn activation_takes_every_setting_of_the_descent() {
    let place = Place::new();
    let model = digits();
    let hows =
        [("rms", Normalization::RootMeanSquare), ("l2", Normalization::L2), ("none", Normalization::None)];
    for (name, how) in hows {
        place.succeed(&format!(
            "activation --model digits --layer conv2 --filter 5 --max-iter 3 --normalize {name} --lp-norm-weight 2.5 \
             --learning-rate 0.02 --raw a.npy"
        ));
        let made = visualize_activation(&model, "conv2")
            .filter_indices([5])
            .preset(model.preset())
            .max_iter(3)
            .lp_norm_weight(2.5)
            .learning_rate(0.02)
            .configure(move |optimizer| optimizer.normalize(how))
            .run()
            .unwrap();
        let expected = made[0].image.clone().insert_axis(Axis(0));
        assert_same(&place.path("a.npy"), host::tensor4(expected.view(), &Default::default()));
    }

    place.succeed(
        "activation --model vgg16 --layer block1_conv2 --filter 3 --max-iter 2 --size 48 --raw a.npy",
    );
    let model = vgg16();
    let made = visualize_activation(&model, "block1_conv2").filter_indices([3]).size(48, 48).max_iter(2);
    let expected = made.run().unwrap()[0].image.clone().insert_axis(Axis(0));
    assert_same(&place.path("a.npy"), host::tensor4(expected.view(), &Default::default()));
}

#[test]
fn dream_takes_tiles_scales_steps_and_a_guide() {
    let place = Place::new();
    let model = vgg16();
    let common = "dream --image cat.png --size 96 --layer block2_conv1 --max-iter 1 --jitter 0 --raw d.npy";
    let dream = || deep_dream(&model, cat(&place, 96)).layer("block2_conv1").max_iter(1).jitter(0);

    place.succeed(&format!("{common} --octaves 2 --tile 64 --octave-scale 1.7 --step-size 3"));
    let expected = dream().octaves(2).tile(64).octave_scale(1.7).step_size(3.0).run().unwrap();
    assert_eq!(expected.sizes[0], (56, 56)); // 96 / 1.7
    assert_same(&place.path("d.npy"), expected.image);

    place.succeed(&format!("{common} --octaves 1 --guide cat.png"));
    let expected = dream().octaves(1).guide(cat(&place, 224)).run().unwrap();
    assert_eq!(expected.losses.names(), ["match with the guide at block2_conv1"]);
    assert_same(&place.path("d.npy"), expected.image);
}

#[test]
fn style_takes_the_size_of_its_paintings_and_keeps_colours() {
    let place = Place::new();
    let model = vgg16();
    let said = place.succeed(
        "style --content cat.png --style cat.png --size 48 --style-scale 1.5 --keep-colors --max-iter 2 \
         --raw s.npy --losses s.csv --json",
    );
    let transfer =
        style_transfer(&model, cat(&place, 48), cat(&place, 72)).style_scale(1.5).keep_colors().max_iter(2);
    let (content, style) = transfer.chosen_layers().unwrap();
    let said = summary(&said);
    assert_eq!((&said["content_layer"], &said["settings"]["size"]), (&content.into(), &48.into()));
    let names: Vec<&str> =
        said["style_layers"].as_array().unwrap().iter().map(|row| row["layer"].as_str().unwrap()).collect();
    assert_eq!(names, style.iter().map(|(layer, _)| layer.as_str()).collect::<Vec<_>>());
    assert_same(&place.path("s.npy"), transfer.run().unwrap().image);
}

#[test]
fn style_by_default_is_that_of_the_library_in_two_sizes() {
    let place = Place::new();
    let cat = picture::load(place.path("cat.png")).unwrap();
    // Long and thin: 300 pixels, and 256 before.
    let long = imageops::resize(&cat, 300, 40, FilterType::CatmullRom);
    long.save(place.path("long.png")).unwrap();
    place.succeed("style --content long.png --style cat.png --max-iter 2 --raw s.npy --losses s.csv");
    let model = vgg16();
    let [photo, painting] = [long, cat].map(|picture| picture::to_tensor(&picture, &model).unwrap());
    let painted = style_transfer(&model, photo, painting).max_iter(2).run().unwrap();
    assert_same(&place.path("s.npy"), painted.image);
    // Two steps at the one and one at the other size, with their losses by name.
    let table = std::fs::read_to_string(place.path("s.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows[0], rows.len()), ("step,content at block4_conv2,style,TV(2),total", 1 + 3));
}

#[test]
fn texture_takes_the_size_of_its_sample_and_layers() {
    let place = Place::new();
    let model = vgg16();
    let layers = ["block1_conv1", "block2_conv1"];
    let said = summary(&place.succeed(
        "texture --image cat.png --sample-size 48 --size 40 --layer block1_conv1 block2_conv1 --max-iter 2 \
         --raw t.npy --json",
    ));
    assert_eq!(said["settings"]["sample_size"], 48);
    let told = said["layers"].as_array().unwrap().iter().map(|row| row["layer"].as_str().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), layers);
    let weave =
        texture(&model, cat(&place, 48)).size(40, 40).layers(layers.map(|layer| (layer, 1.0))).max_iter(2);
    assert_same(&place.path("t.npy"), weave.run().unwrap().image);
}

#[test]
fn caricature_says_which_layer_it_chose_and_takes_a_learning_rate() {
    let place = Place::new();
    let model = digits();
    let command =
        "caricature --model digits --image seven.png --max-iter 3 --learning-rate 0.2 --raw c.npy --json";
    let said = summary(&place.succeed(command));
    let photo = picture::to_input(&picture::load(place.path("seven.png")).unwrap(), &model).unwrap();
    let drawing = caricature(&model, photo).max_iter(3).learning_rate(0.2);
    assert_eq!(said["layer"], drawing.chosen_layer().unwrap());
    assert_same(&place.path("c.npy"), drawing.run().unwrap().image);
}

#[test]
fn maps_are_drawn_in_the_colours_and_as_thickly_as_asked_for() {
    let place = Place::new();
    let seven = picture::load(place.path("seven.png")).unwrap();
    let draw = |options: &str| {
        place.succeed(&format!("saliency --model digits --image seven.png --class 7 {options} -o map.png"));
        picture::load(place.path("map.png")).unwrap()
    };
    // Nothing of the map: the photo, every pixel eight times eight.
    assert_eq!(draw("--opacity 0"), imageops::resize(&seven, 224, 224, FilterType::Nearest));
    // Nothing of the photo: the colours of the map.
    let model = digits();
    let image = picture::to_input(&seven, &model).unwrap();
    let map = Saliency::new().attribute(&model, image, &Target::class(7)).unwrap();
    let magnitude = host::array4(vis::attribution::magnitude(map)).into_shape_with_order((28, 28)).unwrap();
    let map = picture::normalize(magnitude.view(), picture::Sign::Unsigned, 99.0).unwrap();
    let drawn = draw("--opacity 1 --colors viridis");
    for ((y, x), value) in map.indexed_iter() {
        let expected = picture::ColorMap::Viridis.color(*value).0;
        assert_eq!(drawn.get_pixel(8 * x as u32, 8 * y as u32).0, expected, "{y} {x}");
    }
}

#[test]
fn score_cam_takes_only_so_many_channels() {
    let place = Place::new();
    let model = digits();
    let photo = picture::to_input(&picture::load(place.path("seven.png")).unwrap(), &model).unwrap();
    for (name, formula) in [("score-cam", Formula::ScoreCam), ("ablation-cam", Formula::AblationCam)] {
        let command =
            "cam --model digits --image seven.png --class 7 --raw c.npy --json --max-channels 5 --method";
        let said = summary(&place.succeed(&format!("{command} {name}")));
        assert_eq!((&said["channels_done"], &said["interrupted"]), (&5.into(), &false.into()));
        let cam = Cam::new(formula).max_channels(5).map(&model, photo.clone(), &Target::class(7)).unwrap();
        assert_same(&place.path("c.npy"), cam.map);
    }
}
