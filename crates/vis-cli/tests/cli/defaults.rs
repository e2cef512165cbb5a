//! Every default and every unit that the help states, by its number: the run without the option is the library's with
//! that number.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ndarray::{ArrayD, Axis};
use serde_json::{Value, json};
use vis::Target;
use vis::attribution::{
    Attribution, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Rise, Saliency, SmoothGrad,
    channel_sum,
};
use vis::model::UpdateRule;
use vis::model::{Digits, Model, Preset, Vgg16};
use vis::optimizer::Normalization;
use vis::picture;
use vis::transforms::Jitter;
use vis::visualization::{
    StyleStart, caricature, deep_dream, invert, style_transfer, texture, visualize_activation,
};

use crate::{Place, host, npy, text};

fn digits() -> Digits {
    Digits::bundled(&Default::default()).unwrap()
}

fn seven(place: &Place) -> Tensor<4> {
    picture::to_input(&picture::load(place.path("seven.png")).unwrap(), &digits()).unwrap()
}

/// What a run says that writes its numbers to `d.npy`, which must be these.
#[track_caller]
fn assert_run(place: &Place, arguments: &str, expected: Tensor<4>) -> Value {
    let said = place.succeed(&format!("{arguments} --raw d.npy --json"));
    let (got, expected) = (npy::read(&place.path("d.npy")), host::array4(expected).into_dyn());
    assert_eq!(got.shape(), expected.shape(), "{arguments}");
    let most = |array: &ArrayD<f32>| array.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let (error, largest) = (most(&(&got - &expected)), most(&expected));
    assert!(largest > 0.0 && error <= 1e-6 * largest, "{arguments}: {error} of {largest}");
    serde_json::from_str(&said).unwrap()
}

/// The settings of a run must be these; and where its help gives a number or a word as a default, it must be the same.
#[track_caller]
fn assert_settings(place: &Place, said: &Value, expected: Value) {
    let command = said["command"].as_str().unwrap();
    let settings = said["settings"].as_object().unwrap();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&settings[name], value, "--{name} of {command}");
    }
    let help = place.succeed(&format!("{command} --help"));
    let mut option = String::new();
    let mut stated = BTreeMap::new();
    for line in help.lines() {
        let line = line.trim();
        if let Some(at) = line.find("--").filter(|at| *at == 0 || line.starts_with("-o, ")) {
            let name = line[at + 2..].split([' ', ',']).next().unwrap();
            option = name.replace('-', "_");
        }
        if let Some((_, default)) = line.split_once("[default: ") {
            stated.entry(option.clone()).or_insert_with(|| default.split(']').next().unwrap().to_owned());
        }
    }
    for (name, default) in stated {
        let Some(value) = settings.get(&name) else { continue };
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            // What the help says in words.
            _ => continue,
        };
        if name == "model" {
            // All these runs are of the digits, which are quick.
            let usual = match command {
                "saliency" | "cam" | "occlusion" | "rise" | "compare" => "efficientnet-lite0",
                _ => "vgg16",
            };
            assert_eq!((default.as_str(), value.as_str()), (usual, "digits"), "{command}");
            continue;
        }
        let number = default.parse::<f64>().ok();
        let same = default == value || number.is_some() && number == value.parse::<f64>().ok();
        // Others are in words, such as `half the window`.
        assert!(same || default.contains(' '), "--{name} of {command} is {value}, and {default} in its help");
    }
}

#[test]
fn defaults_of_activation_are_those_of_the_networks_preset() {
    let place = Place::new();
    let model = digits();
    let made = visualize_activation(&model, "conv2")
        .filter_indices([5])
        .preset(model.preset())
        .seed(0)
        .max_iter(300);
    let made = made.configure(|optimizer| optimizer.normalize(Normalization::RootMeanSquare)).run().unwrap();
    let expected = made[0].image.clone().insert_axis(Axis(0));
    let run = "activation --model digits --layer conv2 --filter 5";
    let said = assert_run(&place, run, host::tensor4(expected.view(), &Default::default()));
    let preset = model.preset();
    let settings = json!({
        "max_iter": 300, "tv_weight": 30.0, "lp_norm_weight": 40.0, "jitter": 0.1, "normalize": "rms", "seed": 0,
        "size": null, "preset": null, "learning_rate": preset.learning_rate,
    });
    assert_settings(&place, &said, settings);
    for (name, preset) in [("keras-vis", Preset::keras_vis()), ("robust", Preset::for_input(model.input()))] {
        let run = format!("activation --model digits --layer conv2 --filter 5 --preset {name} --max-iter 2");
        let made = visualize_activation(&model, "conv2")
            .filter_indices([5])
            .preset(preset.clone())
            .max_iter(2)
            .run();
        let expected = made.unwrap()[0].image.clone().insert_axis(Axis(0));
        let said = assert_run(&place, &run, host::tensor4(expected.view(), &Default::default()));
        assert_eq!(said["settings"]["tv_weight"], f64::from(preset.tv_weight));
    }
}

#[test]
fn jitter_in_pixels_or_as_a_fraction_replaces_that_of_the_preset() {
    let place = Place::new();
    let model = digits();
    assert!(model.preset().jitter > 0.0);
    let expected = |fraction: f32, pixels: Option<usize>| {
        let preset = Preset { jitter: fraction, ..model.preset() };
        let run = visualize_activation(&model, "conv2").filter_indices([5]).preset(preset).max_iter(6);
        let run = run.configure(move |optimizer| match pixels {
            Some(pixels) => optimizer.jitter(Jitter::Pixels(pixels)),
            None => optimizer,
        });
        host::tensor4(run.run().unwrap()[0].image.view().insert_axis(Axis(0)), &Default::default())
    };
    let run = "activation --model digits --layer conv2 --filter 5 --max-iter 6 --jitter";
    for (given, fraction, pixels, told) in [
        ("3", 0.0, Some(3), json!(3)),
        ("1", 0.0, Some(1), json!(1)),
        ("0", 0.0, None, json!(0)),
        ("1.0", 1.0, None, json!(1.0)),
        ("0.3", 0.3, None, json!(0.3)),
    ] {
        let said = assert_run(&place, &format!("{run} {given}"), expected(fraction, pixels));
        assert_eq!(said["settings"]["jitter"], told);
    }
}

#[test]
fn defaults_of_saliency_and_cam() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let predicted = Target::class(7);
    let map = |method: &dyn Attribution| method.attribute(&model, image.clone(), &predicted).unwrap();
    let run = "saliency --model digits --image seven.png -o m.png";
    let said = assert_run(&place, run, map(&Saliency::new()));
    assert_settings(
        &place,
        &said,
        json!({ "method": "gradient", "seed": 0, "opacity": 0.5, "scale": "common", "colors": null }),
    );
    let integrated = IntegratedGradients::new().steps(64);
    let said = assert_run(&place, &format!("{run} --method integrated-gradients"), map(&integrated));
    assert_eq!(said["settings"]["steps"], 64);
    // The score of black and the residual are told.
    let found = integrated.evaluate(&model, image.clone(), &predicted).unwrap();
    for (name, value) in [("difference", found.difference[0]), ("residual", found.residual[0])] {
        assert!((said["completeness"][name].as_f64().unwrap() - f64::from(value)).abs() < 1e-4, "{name}");
    }
    let smooth = SmoothGrad::new(Saliency::new()).samples(25).noise(0.15).seed(0);
    let said = assert_run(&place, &format!("{run} --method smoothgrad"), map(&smooth));
    assert_eq!((&said["settings"]["steps"], &said["settings"]["noise"]), (&json!(25), &json!(0.15)));
    let other = SmoothGrad::new(Saliency::new()).samples(25).noise(0.15).seed(3);
    assert_run(&place, &format!("{run} --method smoothgrad --seed 3"), map(&other));

    let cam = Cam::new(Formula::GradCam).map(&model, image.clone(), &predicted).unwrap();
    let said = assert_run(&place, "cam --model digits --image seven.png -o m.png", cam.map);
    let settings =
        json!({ "method": "grad-cam", "penultimate_layer": null, "max_channels": null, "opacity": 0.5 });
    assert_settings(&place, &said, settings);
    for (name, formula) in [("score-cam", Formula::ScoreCam), ("ablation-cam", Formula::AblationCam)] {
        let cam = Cam::new(formula).map(&model, image.clone(), &predicted).unwrap();
        assert_run(&place, &format!("cam --model digits --image seven.png --method {name}"), cam.map);
    }
}

#[test]
fn the_window_of_occlusion_is_a_seventh_of_the_image_and_moves_by_half_of_itself() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let run = "occlusion --model digits --image seven.png --class 7 -o m.png";
    for (options, window, stride) in [
        ("", 4, 2), // of 28 pixels
        ("--window 7", 7, 3),
        ("--window 6", 6, 3),
        ("--window 1", 1, 1),
        ("--stride 4", 4, 4),
        ("--window 5 --stride 1", 5, 1),
    ] {
        let method = Occlusion::new([window; 2]).stride([stride; 2]);
        let expected = method.attribute(&model, image.clone(), &Target::class(7)).unwrap();
        let said = assert_run(&place, &format!("{run} {options}"), expected);
        assert_eq!(
            (&said["settings"]["window"], &said["settings"]["stride"]),
            (&json!(window), &json!(stride))
        );
        assert_settings(&place, &said, json!({ "opacity": 0.5, "scale": "common" }));
    }
}

#[test]
fn defaults_of_rise() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let expected = Rise::new().masks(4000).cells(7).open(0.5).seed(0);
    let expected = expected.attribute(&model, image, &Target::probability(7)).unwrap();
    let said = assert_run(&place, "rise --model digits --image seven.png -o m.png", expected);
    assert_settings(
        &place,
        &said,
        json!({ "masks": 4000, "cells": 7, "open": 0.5, "seed": 0, "opacity": 0.5 }),
    );
}

#[test]
fn every_row_of_compare_is_its_methods_and_its_defaults_are_those_of_the_help() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let run = |options: &str| {
        let run = format!("compare --model digits --image seven.png {options} -o p.png --raw d.npy --json");
        let said: Value = serde_json::from_str(&place.succeed(&run)).unwrap();
        (said, npy::read(&place.path("d.npy")))
    };
    let check = |options: &str, steps: usize, masks: usize, channels: usize, seed: u64| {
        let (said, maps) = run(options);
        let smooth = SmoothGrad::new(Saliency::new()).samples(steps).seed(seed);
        let at_pixels: Vec<Box<dyn Attribution>> = vec![
            Box::new(Saliency::new()),
            Box::new(Saliency::new().times_input()),
            Box::new(IntegratedGradients::new().steps(steps)),
            Box::new(smooth),
            Box::new(Saliency::guided()),
            Box::new(Saliency::deconvolution()),
            Box::new(GuidedGradCam::new()),
            Box::new(Occlusion::new([4; 2]).stride([2; 2])),
            Box::new(Rise::new().masks(masks).seed(seed)),
        ];
        let mut expected = BTreeMap::new();
        for method in at_pixels {
            let target = if method.name() == "RISE" { Target::probability(7) } else { Target::class(7) };
            let map = method.attribute(&model, image.clone(), &target).unwrap();
            expected.insert(method.name(), host::array4(channel_sum(map)));
        }
        for formula in Formula::ALL {
            let cam = match formula {
                Formula::ScoreCam | Formula::AblationCam => Cam::new(formula).max_channels(channels),
                _ => Cam::new(formula),
            };
            let map = cam.map(&model, image.clone(), &Target::class(7)).unwrap().upsampled();
            expected.insert(cam.name(), host::array4(map));
        }
        let methods = said["methods"].as_array().unwrap();
        assert_eq!((methods.len(), expected.len()), (17, 17));
        for (row, name) in methods.iter().enumerate() {
            let (got, expected) = (maps.index_axis(Axis(0), row), &expected[name.as_str().unwrap()]);
            let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let error =
                got.iter().zip(expected).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
            assert!(largest > 0.0 && error <= 1e-5 * largest, "{name}: {error} of {largest}");
        }
        said
    };
    check("--steps 3 --masks 11 --max-channels 5 --seed 6", 3, 11, 5, 6);
    let said = check("", 32, 500, 64, 0);
    let settings = json!({ "steps": 32, "masks": 500, "max_channels": 64, "seed": 0, "opacity": 0.5 });
    assert_settings(&place, &said, settings);
}

#[test]
fn defaults_of_dream_caricature_and_inversion() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let dream =
        deep_dream(&model, image.clone()).octaves(4).octave_scale(1.4).max_iter(10).step_size(1.5).jitter(32);
    let dream = dream.tile(512).seed(0).run().unwrap();
    let said = assert_run(&place, "dream --model digits --image seven.png", dream.image);
    let settings = json!({
        "octaves": 4, "octave_scale": 1.4, "max_iter": 10, "step_size": 1.5, "jitter": 32, "tile": 512, "seed": 0,
    });
    assert_settings(&place, &said, settings);

    let drawn = caricature(&model, image.clone())
        .power(1.0)
        .jitter(4)
        .max_iter(200)
        .learning_rate(0.05)
        .seed(0)
        .run();
    let said = assert_run(&place, "caricature --model digits --image seven.png", drawn.unwrap().image);
    let settings = json!({ "max_iter": 200, "learning_rate": 0.05, "seed": 0, "power": 1.0, "jitter": 4 });
    assert_settings(&place, &said, settings);

    let inverted =
        invert(&model, image, "conv2").tv_weight(1.0).max_iter(200).learning_rate(0.05).seed(0).run();
    let run = "invert --model digits --image seven.png --layer conv2";
    let said = assert_run(&place, run, inverted.unwrap().image);
    assert_settings(
        &place,
        &said,
        json!({ "max_iter": 200, "learning_rate": 0.05, "seed": 0, "tv_weight": 1.0 }),
    );
}

#[test]
fn defaults_of_style_and_texture() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let painting = picture::to_input(&picture::load(place.path("cat.png")).unwrap(), &model).unwrap();
    let painted = style_transfer(&model, image.clone(), painting)
        .max_iter(200)
        .content_weight(0.05)
        .style_weight(1.0)
        .tv_weight(0.01)
        .style_scale(1.0)
        .start(StyleStart::Photo)
        .update(UpdateRule::Adam)
        .seed(0)
        .run();
    let run = "style --model digits --content seven.png --style cat.png";
    let said = assert_run(&place, run, painted.unwrap().image);
    let settings = json!({
        "max_iter": 200, "content_weight": 0.05, "style_weight": 1.0, "tv_weight": 0.01, "style_scale": 1.0,
        "start": "photo", "descent": "adam", "seed": 0, "keep_colors": false,
    });
    assert_settings(&place, &said, settings);

    let woven = texture(&model, image).max_iter(200).update(UpdateRule::Adam).seed(0).run().unwrap();
    let said = assert_run(&place, "texture --model digits --image seven.png", woven.image);
    assert_settings(&place, &said, json!({ "max_iter": 200, "descent": "adam", "seed": 0 }));
}

#[test]
fn shares_of_paintings_are_equal_unless_given_and_sizes_are_longest_sides() {
    let place = Place::new();
    let model = Vgg16::bundled(&Default::default()).unwrap();
    let cat = picture::load(place.path("cat.png")).unwrap();
    let shrunk = |width: u32, height: u32| {
        let picture = image::imageops::resize(&cat, width, height, image::imageops::FilterType::CatmullRom);
        picture::to_tensor(&picture, &model).unwrap()
    };
    // Upright, 60 × 80: the longest side is the height.
    image::imageops::resize(&cat, 60, 80, image::imageops::FilterType::CatmullRom)
        .save(place.path("tall.png"))
        .unwrap();
    let tall = picture::load(place.path("tall.png")).unwrap();
    let tall = |width, height| {
        let picture = image::imageops::resize(&tall, width, height, image::imageops::FilterType::CatmullRom);
        picture::to_tensor(&picture, &model).unwrap()
    };
    let painted = style_transfer(&model, tall(36, 48), shrunk(48, 48))
        .blend(tall(36, 48), 1.0)
        .max_iter(1)
        .run()
        .unwrap();
    let run = "style --content tall.png --style cat.png tall.png --size 48 --max-iter 1";
    assert_run(&place, run, painted.image);
    let dream = deep_dream(&model, tall(36, 48))
        .octaves(1)
        .max_iter(1)
        .jitter(0)
        .layer("block1_conv2")
        .run()
        .unwrap();
    let run = "dream --image tall.png --size 48 --octaves 1 --max-iter 1 --jitter 0 --layer block1_conv2";
    assert_run(&place, run, dream.image);
}

#[test]
fn five_classes_are_listed_unless_another_number_is_given() {
    let place = Place::new();
    let said = place.succeed("classify --model digits --image seven.png");
    assert_eq!(said.lines().count(), 5, "{said}");
    for (line, count) in [("--top 2", 2), ("--top 10", 10), ("--top 99", 10)] {
        let said = place.succeed(&format!("classify --model digits --image seven.png {line}"));
        assert_eq!(said.lines().count(), count, "{said}");
    }
}

#[test]
fn filter_5_has_the_same_picture_alone_and_beside_others_and_three_of_a_class_differ() {
    let place = Place::new();
    let images = |filters: &str, seed: usize| {
        place.succeed(&format!(
            "activation --model digits --layer conv2 --filter {filters} --seed {seed} --preset robust --max-iter 12 --raw a.npy"
        ));
        let images = npy::read(&place.path("a.npy"));
        images.outer_iter().map(|image| image.to_owned()).collect::<Vec<_>>()
    };
    let apart = |one: &ArrayD<f32>, other: &ArrayD<f32>| {
        (one - other).iter().fold(0.0_f32, |most, value| most.max(value.abs()))
    };
    for seed in [0, 7] {
        let alone = images("5", seed);
        assert!(apart(&alone[0], &images("0 5", seed)[1]) < 1e-3);
        assert!(apart(&alone[0], &images("5 0", seed)[0]) < 1e-3);
        assert!(apart(&alone[0], &images("3-6", seed)[2]) < 1e-3);
        let thrice = images("5 0 5 5", seed);
        assert!(apart(&alone[0], &thrice[0]) < 1e-3);
        for (one, other) in [(0, 2), (0, 3), (2, 3)] {
            assert!(apart(&thrice[one], &thrice[other]) > 0.05);
        }
        assert!(apart(&images("5 5", seed)[1], &thrice[2]) < 1e-3);
    }
    assert!(apart(&images("5", 0)[0], &images("5", 7)[0]) > 0.05);
}

#[test]
fn misuse_is_status_2_and_bad_input_status_1_in_every_command() {
    let place = Place::new();
    std::fs::write(place.path("text.png"), "hello, this is not a picture").unwrap();
    for (command, bad_input) in [
        ("models", ""),
        ("fetch --offline", "http://127.0.0.1:9/a -o a"),
        ("layers --model digits", "--weights text.png"),
        ("classify", "--image text.png"),
        ("activation --model digits --layer conv2 --filter 1 -o x.png", "--seed-img text.png"),
        ("saliency -o x.png", "--image text.png"),
        ("cam -o x.png", "--image text.png"),
        ("occlusion -o x.png", "--image missing.png"),
        ("rise -o x.png", "--image text.png"),
        ("compare -o x.png", "--image text.png"),
        ("dream -o x.png", "--image text.png"),
        ("caricature -o x.png", "--image text.png"),
        ("invert --layer block1_conv1 -o x.png", "--image text.png"),
        ("style --style cat.png -o x.png", "--content text.png"),
        ("texture -o x.png", "--image missing.png"),
        ("completions bash", ""),
    ] {
        let status = |arguments: &str| {
            let output = place.run(arguments);
            let error = text(&output.stderr);
            assert!(error.starts_with("vis: ") && error.lines().count() == 1, "{arguments}: {error}");
            output.status.code()
        };
        assert_eq!(status(&format!("{command} --nonsense")), Some(2), "{command}");
        if !bad_input.is_empty() {
            assert_eq!(status(&format!("{command} {bad_input}")), Some(1), "{command}");
        }
    }
}

#[test]
fn older_names_of_options_are_understood() {
    let place = Place::new();
    let run = "activation --model digits --layer conv2 --filter 5 --raw";
    place.succeed(&format!(
        "{run} new.npy --max-iter 2 --tv-weight 3 --lp-norm-weight 4 --seed-img seven.png"
    ));
    place.succeed(&format!("{run} old.npy --iterations 2 --tv 3 --lp 4 --seed-image seven.png"));
    assert_eq!(npy::read(&place.path("new.npy")), npy::read(&place.path("old.npy")));
    place.succeed("cam --model digits --image seven.png --layer conv2 --alpha 0.2 --raw old.npy");
    place.succeed(
        "cam --model digits --image seven.png --penultimate-layer conv2 --opacity 0.2 --raw new.npy",
    );
    assert_eq!(npy::read(&place.path("new.npy")), npy::read(&place.path("old.npy")));
}
