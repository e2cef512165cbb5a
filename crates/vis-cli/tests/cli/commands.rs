//! Every command on the bundled networks: its numbers are those of the library.

use std::path::Path;

use burn::tensor::Tensor;
use image::RgbImage;
use ndarray::{ArrayD, Axis};
use serde_json::Value;
use vis::Target;
use vis::attribution::{
    Attribution, Cam, Formula, IntegratedGradients, Occlusion, Rise, Saliency, SmoothGrad,
};
use vis::model::UpdateRule;
use vis::model::{Digits, EfficientNetLite0, Model, Vgg16};
use vis::picture;
use vis::visualization::{caricature, deep_dream, invert, style_transfer, texture, visualize_activation};

use crate::host;
use crate::{Place, npy};

fn digits() -> Digits {
    Digits::bundled(&Default::default()).unwrap()
}

fn seven(place: &Place) -> Tensor<4> {
    picture::to_input(&picture::load(place.path("seven.png")).unwrap(), &digits()).unwrap()
}

fn array(tensor: Tensor<4>) -> ArrayD<f32> {
    host::array4(tensor).into_dyn()
}

/// The largest difference, relative to the largest value.
#[track_caller]
fn assert_same(got: &ArrayD<f32>, expected: &ArrayD<f32>, what: &str) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error = (got - expected).iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0 && error <= 1e-6 * largest, "{what}: differs by {error} of {largest}");
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A table as names and rows.
fn csv(path: &Path) -> (Vec<String>, Vec<Vec<f32>>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names = lines.next().unwrap().split(',').map(str::to_owned).collect();
    (names, lines.map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect())
}

#[test]
fn models_and_layers_are_listed() {
    let place = Place::new();
    let text = place.succeed("models");
    for name in
        ["vgg16", "vgg19", "resnet50", "mobilenet-v2", "vit", "efficientnet-lite0", "digits", "devices: "]
    {
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(json(&place.succeed("models --json"))["models"].as_array().unwrap().len(), 9);

    let summary = json(&place.succeed("layers --model digits --json"));
    let layers = digits().layers().unwrap();
    let rows = summary["layers"].as_array().unwrap();
    assert_eq!(rows.len(), layers.len());
    for (row, layer) in rows.iter().zip(&layers) {
        assert_eq!(
            (row["name"].as_str(), row["kind"].as_str()),
            (Some(layer.name.as_str()), Some(layer.kind))
        );
        assert_eq!(row["shape"], Value::from(layer.shape.to_vec()));
        assert_eq!(row["parameters"], layer.parameters);
    }
    let text = place.succeed("layers --model mnist");
    assert!(text.contains("conv2        convolution  64x14x14       18496"), "{text}");
}

#[test]
fn a_photo_of_the_networks_size_passes_untouched_and_is_classified_as_by_pytorch() {
    let place = Place::new();
    let text = place.succeed("classify --image cat.png --raw logits.npy");
    let names: Vec<&str> = text.lines().take(5).map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(names[..3], ["Egyptian cat", "tiger cat", "tabby"]);
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/lite0_logits.npy");
    let (got, expected) = (npy::read(&place.path("logits.npy")), npy::read(&reference));
    assert_eq!(got.shape(), [1, 1000]);
    let error = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
    assert!(error < 1e-3, "{error}");

    let summary = json(&place.succeed("classify --image seven.png --model digits --top 3 --json"));
    let predictions = summary["predictions"].as_array().unwrap();
    assert_eq!((predictions.len(), predictions[0]["name"].as_str()), (3, Some("7")), "{summary}");
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn activation_gives_the_images_and_losses_of_the_library() {
    let place = Place::new();
    let summary = place.succeed(
        "activation --model digits --layer predictions --filter 3 7-8 1+7 --max-iter 5 --tv-weight 2.5 --seed 4 \
         -o grid.png --raw images.npy --losses losses.csv --gif steps.gif --json",
    );
    let model = digits();
    let filters = [vec![3], vec![7], vec![8], vec![1, 7]];
    let pictures = visualize_activation(&model, "predictions")
        .filter_indices(filters.clone())
        .max_iter(5)
        .tv_weight(2.5)
        .seed(4)
        .run()
        .unwrap();
    let images: Vec<_> = pictures.iter().map(|picture| picture.image.view()).collect();
    let images = ndarray::stack(Axis(0), &images).unwrap().into_dyn();
    assert_same(&npy::read(&place.path("images.npy")), &images, "images");

    let (names, rows) = csv(&place.path("losses.csv"));
    let history = &pictures[0].losses;
    assert_eq!(names[..2], ["step", "picture"]);
    assert_eq!(names[2..names.len() - 1], *history.names());
    assert_eq!(rows.len(), 4 * 5);
    for row in rows {
        let (step, picture) = (row[0] as usize, row[1] as usize);
        let values = pictures[picture].losses.values();
        let expected: Vec<f32> = values.index_axis(Axis(0), step).iter().copied().collect();
        assert_eq!(row[2..row.len() - 1], expected);
        assert_eq!(row.last().copied(), Some(expected.iter().sum()));
    }

    let summary = json(&summary);
    let rows = summary["pictures"].as_array().unwrap();
    for ((row, picture), filters) in rows.iter().zip(pictures.iter()).zip(filters) {
        assert_eq!(row["filters"], Value::from(filters));
        assert_eq!(row["label"], picture.label.as_str());
        assert!((row["after"].as_f64().unwrap() - f64::from(picture.after)).abs() < 1e-5);
    }
    assert_eq!(
        (&summary["settings"]["tv_weight"], &summary["settings"]["max_iter"]),
        (&2.5.into(), &5.into())
    );
    assert!(std::fs::read(place.path("steps.gif")).unwrap().starts_with(b"GIF89a"));
    assert!(picture::load(place.path("grid.png")).unwrap().width() > 4 * 56);
}

#[test]
fn one_picture_has_one_row_a_step() {
    let place = Place::new();
    place.succeed(
        "activation --model digits --layer conv2 --filter 5 --max-iter 3 --losses l.csv --raw a.npy",
    );
    let (names, rows) = csv(&place.path("l.csv"));
    assert_eq!((names[0].as_str(), names.last().unwrap().as_str()), ("step", "total"));
    assert_eq!(names[1], "activation maximization");
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let place = Place::new();
    let command = "activation --model digits --layer conv3 --sample 3 --max-iter 2 --jitter 2 --raw";
    for (seed, file) in [(1, "a.npy"), (1, "b.npy"), (2, "c.npy")] {
        place.succeed(&format!("{command} {file} --seed {seed}"));
    }
    let bytes = |file| std::fs::read(place.path(file)).unwrap();
    assert!(bytes("a.npy") == bytes("b.npy") && bytes("a.npy") != bytes("c.npy"));
}

#[test]
fn a_run_starts_from_an_array_and_from_a_picture() {
    let place = Place::new();
    // The only step is evaluated at the seed, which is then the best image.
    let seeded =
        "activation --model digits --layer predictions --filter 7 --max-iter 1 --preset keras-vis --raw";
    place.succeed(&format!("{seeded} a.npy --seed-img seven.png"));
    let seed = array(seven(&place));
    assert_eq!(npy::read(&place.path("a.npy")), seed);
    place.succeed(&format!("{seeded} b.npy --seed-img a.npy"));
    assert_eq!(npy::read(&place.path("b.npy")), seed);
}

#[test]
fn saliency_by_every_method_gives_the_map_of_the_library() {
    let place = Place::new();
    let (model, image, target) = (digits(), seven(&place), Target::class(7));
    let methods: [(&str, Box<dyn Attribution>); 6] = [
        ("gradient", Box::new(Saliency::new())),
        ("input-x-gradient", Box::new(Saliency::new().times_input())),
        ("guided", Box::new(Saliency::guided())),
        ("deconvolution", Box::new(Saliency::deconvolution())),
        ("integrated-gradients --steps 8", Box::new(IntegratedGradients::new().steps(8))),
        (
            "smoothgrad --steps 4 --noise 0.2",
            Box::new(SmoothGrad::new(Saliency::new()).samples(4).noise(0.2)),
        ),
    ];
    for (name, method) in methods {
        place.succeed(&format!(
            "saliency --model digits --image seven.png --class 7 --method {name} -o map.png --raw map.npy"
        ));
        let expected = array(method.attribute(&model, image.clone(), &target).unwrap());
        assert_same(&npy::read(&place.path("map.npy")), &expected, name);
        assert_eq!(picture::load(place.path("map.png")).unwrap().width() % 28, 0);
    }
}

#[test]
fn a_map_that_says_nothing_is_called_so() {
    let place = Place::new();
    RgbImage::new(28, 28).save(place.path("black.png")).unwrap();
    let nothing = "the map is zero everywhere and says nothing";
    let said = place.succeed(
        "saliency --model digits --image black.png --class 7 --method integrated-gradients --steps 4 -o a.png",
    );
    assert!(said.contains(nothing), "{said}");
    // Nothing is lost but for rounding, everywhere alike.
    let said = place.succeed("occlusion --model digits --image black.png --class 7 -o b.png");
    assert!(said.contains("says nothing"), "{said}");
    let said = place.succeed("saliency --model digits --image seven.png --class 7 -o c.png");
    assert!(!said.contains("the map is"), "{said}");
    let said = place.succeed("cam --model digits --image seven.png --class 7 -o d.png");
    assert!(!said.contains("the map is"), "{said}");
}

#[test]
fn saliency_of_a_real_photo_is_that_of_pytorch_by_number_and_by_name() {
    let place = Place::new();
    place.succeed("saliency --image cat.png --class 285 -o a.png --raw a.npy --losses a.csv");
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/lite0_gradient.npy");
    let (got, expected) = (npy::read(&place.path("a.npy")), npy::read(&reference));
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error = (&got - &expected).iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(error < 1e-3 * largest, "{error} of {largest}");

    let output = place
        .command("saliency --image cat.png --raw b.npy --json --class")
        .arg("egyptian CAT")
        .output()
        .unwrap();
    let summary = json(&crate::text(&output.stdout));
    assert_eq!(summary["target"]["class"], 285);
    assert_eq!(npy::read(&place.path("b.npy")), got);
    let (names, rows) = csv(&place.path("a.csv"));
    assert_eq!(names, ["step", "class 285", "total"]);
    assert!((f64::from(rows[0][1]) - summary["target"]["score"].as_f64().unwrap()).abs() < 1e-5);
}

#[test]
fn cam_by_every_method_gives_the_map_of_the_library_and_the_layer_it_chose() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let names = [
        ("grad-cam", Formula::GradCam),
        ("grad-cam++", Formula::GradCamPlusPlus),
        ("hires-cam", Formula::HiResCam),
        ("x-grad-cam", Formula::XGradCam),
        ("layer-cam", Formula::LayerCam),
        ("eigen-cam", Formula::EigenCam),
        ("score-cam", Formula::ScoreCam),
        ("ablation-cam", Formula::AblationCam),
    ];
    for (name, formula) in names {
        let command =
            format!("cam --model digits --image seven.png --method {name} -o cam.png --raw cam.npy --json");
        let summary = json(&place.succeed(&command));
        let expected = Cam::new(formula).map(&model, image.clone(), &Target::predicted()).unwrap();
        assert_eq!(summary["layer"], expected.layer.as_str(), "{name}");
        assert_same(&npy::read(&place.path("cam.npy")), &array(expected.map), name);
    }
    place.succeed("cam --model digits --image seven.png --penultimate-layer conv2 --class 1 --raw cam.npy");
    let expected =
        Cam::new(Formula::GradCam).penultimate_layer("conv2").map(&model, image, &Target::class(1)).unwrap();
    assert_same(&npy::read(&place.path("cam.npy")), &array(expected.map), "at conv2");
}

#[test]
fn occlusion_and_rise_give_the_maps_of_the_library() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    place.succeed("occlusion --image cat.png --window 112 --stride 112 -o o.png --raw o.npy");
    let lite0 = EfficientNetLite0::bundled(&Default::default()).unwrap();
    let cat = picture::to_input(&picture::load(place.path("cat.png")).unwrap(), &lite0).unwrap();
    let method = Occlusion::new([112; 2]).stride([112; 2]);
    // As Captum lays it out: every colour channel has the number of its place.
    let expected = method.attribute(&lite0, cat, &Target::predicted()).unwrap().repeat_dim(1, 3);
    assert_same(&npy::read(&place.path("o.npy")), &array(expected), "occlusion");

    place.succeed(
        "rise --model digits --image seven.png --masks 40 --cells 5 --open 0.6 --seed 3 -o r.png --raw r.npy \
         --losses r.csv",
    );
    // What it explains is the probability.
    let shares = burn::tensor::activation::softmax(model.classify(image.clone()).unwrap(), 1);
    let (names, rows) = csv(&place.path("r.csv"));
    assert_eq!((names[1].as_str(), rows.len()), ("probability of class 7", 1));
    assert!((rows[0][1] - host::values(shares)[7]).abs() < 1e-5, "{rows:?}");
    let method = Rise::new().masks(40).cells(5).open(0.6).seed(3);
    let expected = method.attribute(&model, image, &Target::probability(7)).unwrap();
    assert_same(&npy::read(&place.path("r.npy")), &array(expected), "rise");
}

#[test]
fn compare_draws_every_method_in_one_panel() {
    let place = Place::new();
    let summary = json(&place.succeed(
        "compare --model digits --image seven.png --masks 20 --steps 4 --max-channels 8 -o panel.png --raw maps.npy --json",
    ));
    let methods: Vec<&str> =
        summary["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(methods.len(), 17, "{methods:?}");
    let maps = npy::read(&place.path("maps.npy"));
    assert_eq!(maps.shape(), [17, 1, 28, 28]);
    let layers = summary["layers"].as_object().unwrap();
    let chosen = Cam::new(Formula::GradCam).map(&digits(), seven(&place), &Target::class(7)).unwrap().layer;
    assert_eq!(layers.len(), 8);
    assert!(layers.values().all(|layer| *layer == chosen.as_str()), "{layers:?}");
    let index = methods.iter().position(|name| *name == "gradient").unwrap();
    let gradient = Saliency::new().attribute(&digits(), seven(&place), &Target::class(7)).unwrap();
    assert_same(
        &maps.index_axis(Axis(0), index).insert_axis(Axis(0)).to_owned(),
        &array(gradient),
        "gradient",
    );
    assert!(picture::load(place.path("panel.png")).unwrap().width() > 4 * 224);
}

#[test]
fn dream_gives_the_image_and_losses_of_the_library() {
    let place = Place::new();
    place.succeed(
        "dream --image cat.png --size 64 --layer block3_conv1 --octaves 2 --max-iter 2 --jitter 3 --seed 5 \
         -o dream.png --raw dream.npy --losses dream.csv",
    );
    let model = Vgg16::bundled(&Default::default()).unwrap();
    let small = image::imageops::resize(
        &picture::load(place.path("cat.png")).unwrap(),
        64,
        64,
        image::imageops::FilterType::CatmullRom,
    );
    let photo = picture::to_tensor(&small, &model).unwrap();
    let dream = deep_dream(&model, photo)
        .layer("block3_conv1")
        .octaves(2)
        .max_iter(2)
        .jitter(3)
        .seed(5)
        .run()
        .unwrap();
    assert_same(&npy::read(&place.path("dream.npy")), &array(dream.image), "dream");
    let (names, rows) = csv(&place.path("dream.csv"));
    assert_eq!(names, ["step", "energy of block3_conv1", "total"]);
    let losses: Vec<f32> = dream.losses.totals().into_iter().collect();
    for column in [1, 2] {
        assert_eq!(rows.iter().map(|row| row[column]).collect::<Vec<_>>(), losses);
    }
    assert_eq!(picture::load(place.path("dream.png")).unwrap().dimensions(), (64, 64));
}

#[test]
fn caricature_and_inversion_give_the_images_of_the_library() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let common = "--model digits --image seven.png --layer conv2 --max-iter 4 --seed 2";
    place.succeed(&format!("caricature {common} --power 2 --jitter 1 -o c.png --raw c.npy --losses c.csv"));
    let drawn =
        caricature(&model, image.clone()).layer("conv2").power(2.0).jitter(1).max_iter(4).seed(2).run();
    let drawn = drawn.unwrap();
    assert_same(&npy::read(&place.path("c.npy")), &array(drawn.image), "caricature");
    let (_, rows) = csv(&place.path("c.csv"));
    assert_eq!(
        rows.iter().map(|row| row[1]).collect::<Vec<_>>(),
        drawn.losses.values().iter().copied().collect::<Vec<_>>()
    );

    place.succeed(&format!("invert {common} --tv-weight 0.5 -o i.png --raw i.npy"));
    let inverted = invert(&model, image, "conv2").tv_weight(0.5).max_iter(4).seed(2).run().unwrap();
    assert_same(&npy::read(&place.path("i.npy")), &array(inverted.image), "inversion");
}

#[test]
fn style_and_texture_give_the_images_of_the_library() {
    let place = Place::new();
    let model = digits();
    let to_image = |file: &str| picture::to_input(&picture::load(place.path(file)).unwrap(), &model).unwrap();
    place.succeed(
        "style --model digits --content seven.png --style cat.png seven.png --share 2 1 --max-iter 4 \
         --content-weight 0.5 --descent adam --start noise --seed 3 -o s.png --raw s.npy --losses s.csv",
    );
    let painted = style_transfer(&model, to_image("seven.png"), to_image("cat.png"))
        .blend(to_image("seven.png"), 0.5)
        .max_iter(4)
        .content_weight(0.5)
        .update(UpdateRule::Adam)
        .start(vis::visualization::StyleStart::Noise)
        .seed(3)
        .run()
        .unwrap();
    assert_same(&npy::read(&place.path("s.npy")), &array(painted.image), "style");
    assert_eq!(csv(&place.path("s.csv")).1.len(), 4);

    place.succeed("texture --model digits --image seven.png --max-iter 3 --seed 1 -o t.png --raw t.npy");
    let woven = texture(&model, to_image("seven.png")).max_iter(3).seed(1).run().unwrap();
    assert_same(&npy::read(&place.path("t.npy")), &array(woven.image), "texture");
}

#[test]
fn every_command_has_help_with_an_example_and_every_shell_completions() {
    let place = Place::new();
    let help = place.succeed("--help");
    let commands = [
        "models",
        "fetch",
        "layers",
        "classify",
        "activation",
        "saliency",
        "cam",
        "occlusion",
        "rise",
        "compare",
        "dream",
        "caricature",
        "invert",
        "style",
        "texture",
        "completions",
    ];
    for command in commands {
        assert!(help.contains(&format!("  {command} ")), "{command} is missing in {help}");
        let help = place.succeed(&format!("{command} --help"));
        assert!(help.contains("Example") && help.contains(&format!("  vis {command} ")), "{help}");
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(place.succeed(&format!("completions {shell}")).contains("occlusion"), "{shell}");
    }
    assert_eq!(place.succeed("--version"), format!("vis {}\n", env!("CARGO_PKG_VERSION")));
}
