//! What maps explain: classes, filters of any layer, several of them, and on which scale they are drawn.

use burn::tensor::Tensor;
use image::RgbImage;
use ndarray::{Array2, ArrayD, Axis};
use serde_json::Value;
use vis::Target;
use vis::attribution::{Attribution, Cam, Formula, Occlusion, Rise, Saliency};
use vis::model::{Digits, Model, Vgg16};
use vis::picture;

use crate::{Place, host, npy, text};

fn digits() -> Digits {
    Digits::bundled(&Default::default()).unwrap()
}

fn seven(place: &Place) -> Tensor<4> {
    picture::to_input(&picture::load(place.path("seven.png")).unwrap(), &digits()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Maps one below the other.
#[track_caller]
fn assert_maps(place: &Place, expected: impl IntoIterator<Item = Tensor<4>>, what: &str) {
    let expected: Vec<_> = expected.into_iter().map(host::array4).collect();
    let views: Vec<_> = expected.iter().map(|map| map.view()).collect();
    let expected: ArrayD<f32> = ndarray::concatenate(Axis(0), &views).unwrap().into_dyn();
    let got = npy::read(&place.path("m.npy"));
    assert_eq!(got.shape(), expected.shape(), "{what}");
    let most = |array: &ArrayD<f32>| array.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let (error, largest) = (most(&(&got - &expected)), most(&expected));
    assert!(largest > 0.0 && error <= 1e-6 * largest, "{what}: {error} of {largest}");
}

#[test]
fn every_command_explains_filters_of_any_layer() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let single = || Target::channel("conv3", 5);
    let common = "--model digits --image seven.png --target-layer conv3 --raw m.npy --json";
    let score = single().scores(&model, image.clone()).unwrap()[0];

    let said = json(&place.succeed(&format!("saliency {common} --filter 5 -o m.png --losses m.csv")));
    assert_maps(&place, [Saliency::new().attribute(&model, image.clone(), &single()).unwrap()], "saliency");
    assert_eq!(said["target"]["layer"], "conv3");
    assert_eq!(said["target"]["filters"], Value::from(vec![5]));
    assert_eq!(said["target"]["name"], "filter 5 of conv3");
    assert!((said["target"]["score"].as_f64().unwrap() - f64::from(score)).abs() < 1e-5);
    // The network has classes, so what it sees is told as well.
    assert_eq!(said["predictions"][0]["name"], "7");
    let table = std::fs::read_to_string(place.path("m.csv")).unwrap();
    assert_eq!(table.lines().next(), Some("step,filter 5 of conv3,total"));
    let lines =
        place.succeed("saliency --model digits --image seven.png --target-layer conv3 --filter 5 -o m.png");
    assert!(lines.contains(&format!("explains filter 5 of conv3: {score:.4}")), "{lines}");

    // Several: a map each, ranges and joint ones as in `vis activation`, spaces or not.
    place.succeed(&format!("occlusion {common} --filter 5 1+7 2-3"));
    let targets = [
        single(),
        Target::channels("conv3", [1, 7]),
        Target::channel("conv3", 2),
        Target::channel("conv3", 3),
    ];
    let occlusion = Occlusion::new([4; 2]).stride([2; 2]);
    let maps = targets.map(|target| occlusion.attribute(&model, image.clone(), &target).unwrap());
    assert_maps(&place, maps, "occlusion");

    let said = json(&place.succeed(&format!("cam {common} --filter 5 --method layer-cam")));
    let cam = Cam::new(Formula::LayerCam).map(&model, image.clone(), &single()).unwrap();
    assert_eq!(said["layer"], cam.layer.as_str());
    assert_maps(&place, [cam.map], "cam");

    place.succeed(&format!("rise {common} --filter 5 --masks 30"));
    assert_maps(&place, [Rise::new().masks(30).attribute(&model, image.clone(), &single()).unwrap()], "rise");

    // Without filters the mean of the layer.
    let said = json(&place.succeed(&format!("saliency {common}")));
    assert_eq!(said["target"]["name"], "the mean of conv3");
    assert_maps(
        &place,
        [Saliency::new().attribute(&model, image.clone(), &Target::layer("conv3")).unwrap()],
        "mean",
    );

    // The layer of classes takes their names, and means the class.
    let output = place.command(
        "saliency --model digits --image seven.png --target-layer predictions --raw m.npy --json --filter",
    );
    let said = json(&text(&{ output }.arg(" 7 ").output().unwrap().stdout));
    assert_eq!((&said["target"]["class"], &said["target"]["name"]), (&7.into(), &"7".into()));
    assert_maps(
        &place,
        [Saliency::new().attribute(&model, image, &Target::class(7)).unwrap()],
        "class by filter",
    );
}

#[test]
fn compare_explains_filters_in_its_panel() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let said = json(&place.succeed(
        "compare --model digits --image seven.png --target-layer conv3 --filter 5 --masks 20 --steps 4 --max-channels 4 \
         -o panel.png --raw m.npy --json",
    ));
    let methods: Vec<&str> =
        said["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let maps = npy::read(&place.path("m.npy"));
    let target = Target::channel("conv3", 5);
    for (name, method) in [
        ("gradient", &Saliency::new() as &dyn Attribution),
        ("RISE", &Rise::new().masks(20)),
        ("occlusion", &Occlusion::new([4; 2])),
    ] {
        let index = methods
            .iter()
            .position(|method| *method == name)
            .unwrap_or_else(|| panic!("{name} of {methods:?}"));
        let expected = host::array4(method.attribute(&model, image.clone(), &target).unwrap());
        let got = maps.index_axis(Axis(0), index);
        assert!(got.iter().zip(&expected).all(|(got, expected)| (got - expected).abs() < 1e-5), "{name}");
    }
    assert_eq!(said["target"]["name"], "filter 5 of conv3");
}

#[test]
fn the_bundled_vgg16_has_maps_of_a_photo() {
    let place = Place::new();
    let model = Vgg16::bundled(&Default::default()).unwrap();
    let image = picture::to_input(&picture::load(place.path("cat.png")).unwrap(), &model).unwrap();
    let common =
        "--model vgg16 --image cat.png --target-layer block5_conv3 --filter 20 -o m.png --raw m.npy --json";
    let said = json(&place.succeed(&format!("saliency {common}")));
    let target = Target::channel("block5_conv3", 20);
    assert_maps(&place, [Saliency::new().attribute(&model, image.clone(), &target).unwrap()], "saliency");
    assert!(said.get("predictions").is_none() && said["target"]["name"] == "filter 20 of block5_conv3");
    let said = json(&place.succeed(&format!("cam {common}")));
    let cam = Cam::new(Formula::GradCam).map(&model, image, &target).unwrap();
    assert_eq!(said["layer"], cam.layer.as_str());
    assert_maps(&place, [cam.map], "cam");
    assert_eq!(picture::load(place.path("m.png")).unwrap().dimensions(), (224, 224));
}

/// The pictures of a grid of maps of the seven, each as it was drawn.
fn cells(grid: &RgbImage, count: usize, side: u32) -> Vec<RgbImage> {
    // The photo is black at the corner of every cell and the background is white.
    let starts = |length: u32, at: &dyn Fn(u32) -> [u8; 3]| -> Vec<u32> {
        let dark = |place: u32| at(place).iter().all(|value| *value < 200);
        (1..length).filter(|place| dark(*place) && !dark(place - 1)).collect()
    };
    let top = (0..grid.height())
        .find(|y| (0..grid.width()).any(|x| grid.get_pixel(x, *y).0.iter().all(|value| *value < 200)))
        .unwrap();
    let columns = starts(grid.width(), &|x| grid.get_pixel(x, top).0);
    assert_eq!(columns.len(), count, "{columns:?} at row {top}");
    columns.iter().map(|x| image::imageops::crop_imm(grid, *x, top, side, side).to_image()).collect()
}

#[test]
fn several_maps_are_drawn_on_one_scale_or_each_on_its_own() {
    let place = Place::new();
    let (model, image) = (digits(), seven(&place));
    let classes = [7, 1];
    let maps: Vec<Array2<f32>> = classes
        .iter()
        .map(|class| {
            let map = Saliency::new().attribute(&model, image.clone(), &Target::class(*class)).unwrap();
            host::array4(vis::attribution::magnitude(map)).into_shape_with_order((28, 28)).unwrap()
        })
        .collect();
    let views: Vec<_> = maps.iter().map(|map| map.view()).collect();
    let both = ndarray::concatenate(Axis(0), &views).unwrap();
    let clipped = |map: &Array2<f32>| picture::normalize(map.view(), picture::Sign::Unsigned, 99.0).unwrap();
    let common = clipped(&both);
    let draw = "saliency --model digits --image seven.png --class 7 1 --opacity 1 --colors grey -o m.png --raw m.npy --json";
    for (options, expected) in [
        (
            "",
            [common.slice(ndarray::s![..28, ..]).to_owned(), common.slice(ndarray::s![28.., ..]).to_owned()],
        ),
        ("--scale each", [clipped(&maps[0]), clipped(&maps[1])]),
    ] {
        let said = json(&place.succeed(&format!("{draw} {options}")));
        let told: Vec<_> =
            said["targets"].as_array().unwrap().iter().map(|row| row["class"].as_u64().unwrap()).collect();
        assert_eq!(told, [7, 1]);
        let cells = cells(&picture::load(place.path("m.png")).unwrap(), 2, 224);
        for (cell, map) in cells.iter().zip(&expected) {
            for ((y, x), value) in map.indexed_iter() {
                let got = f32::from(cell.get_pixel(8 * x as u32 + 4, 8 * y as u32 + 4).0[0]) / 255.0;
                assert!((got - value).abs() < 0.01, "{options} at {y} {x}: {got}, {value}");
            }
        }
    }
    // The numbers are not scaled.
    let each =
        classes.map(|class| Saliency::new().attribute(&model, image.clone(), &Target::class(class)).unwrap());
    assert_maps(&place, each, "raw");
}

#[test]
fn several_photos_are_explained_each_with_what_is_seen_in_it() {
    let place = Place::new();
    let model = digits();
    // A one: an upright bar.
    let one = RgbImage::from_fn(28, 28, |x, y| {
        image::Rgb([if (13..16).contains(&x) && (5..23).contains(&y) { 255 } else { 0 }; 3])
    });
    one.save(place.path("one.png")).unwrap();
    let said = json(&place.succeed(
        "saliency --model digits --image seven.png one.png -o m.png --raw m.npy --losses m.csv --json",
    ));
    let told = said["targets"].as_array().unwrap();
    let photos = ["seven.png", "one.png"]
        .map(|name| picture::to_input(&picture::load(place.path(name)).unwrap(), &model).unwrap());
    for (index, (name, photo)) in ["seven.png", "one.png"].into_iter().zip(&photos).enumerate() {
        let logits = host::values(model.classify(photo.clone()).unwrap());
        let best = (0..10).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        assert_eq!((&told[index]["image"], &told[index]["class"]), (&name.into(), &best.into()));
        assert_eq!(said["predictions"][index][0]["class"], best);
    }
    let maps = photos.map(|photo| Saliency::new().attribute(&model, photo, &Target::predicted()).unwrap());
    assert_maps(&place, maps, "photos");
    let table = std::fs::read_to_string(place.path("m.csv")).unwrap();
    assert!(table.starts_with("step,seven.png: class 7,one.png: class "), "{table}");
    let lines = place.succeed("saliency --model digits --image seven.png one.png -o m.png");
    assert!(lines.contains("seven.png: sees 7 ") && lines.contains("one.png: explains class "), "{lines}");
}

#[test]
fn a_class_is_read_alike_however_it_is_spaced_and_written() {
    let place = Place::new();
    let class = |arguments: &str, class: &str| {
        let output = place.command(arguments).args(["--class", class]).output().unwrap();
        assert!(output.status.success(), "{class:?}: {}", text(&output.stderr));
        json(&text(&output.stdout))["target"]["class"].as_u64().unwrap()
    };
    for wanted in ["285 ", " 285", "Egyptian cat", "  egyptian   CAT ", "n02124075 "] {
        assert_eq!(class("cam --image cat.png --json", wanted), 285, "{wanted:?}");
    }
    for wanted in ["7", " 7 ", "\t7"] {
        assert_eq!(class("saliency --model digits --image seven.png --json", wanted), 7, "{wanted:?}");
        let run = "activation --model digits --layer predictions --max-iter 1 --json --filter";
        let output = place.command(run).arg(wanted).output().unwrap();
        assert_eq!(json(&text(&output.stdout))["pictures"][0]["filters"], Value::from(vec![7]), "{wanted:?}");
    }
    let run = "activation --model digits --layer conv2 --max-iter 1 --json --filter";
    let output = place.command(run).args([" 4 ", "6 - 7", "1 + 2"]).output().unwrap();
    let said = json(&text(&output.stdout));
    let filters: Vec<Value> =
        said["pictures"].as_array().unwrap().iter().map(|row| row["filters"].clone()).collect();
    assert_eq!(filters, [vec![4], vec![6], vec![7], vec![1, 2]].map(Value::from));
}
