//! Surveys of many images.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Tensor;
use image::RgbImage;
use tempfile::TempDir;
use vis::model::{Digits, InputSpec, Taps};
use vis::survey::{Images, Notice, Sample, Shard, Survey, Surveyed};
use vis::{Error, Model};

use crate::host;
use crate::support::{Function, device};

#[allow(dead_code, reason = "an example, of which the images are needed")]
#[path = "../../examples/survey_images.rs"]
mod survey_images;

fn some_images() -> Vec<(String, RgbImage)> {
    survey_images::images(8, 20).unwrap()
}

/// The images in a folder.
fn folder_of(images: &[(String, RgbImage)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, picture) in images {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        vis::picture::save(picture, path).unwrap();
    }
    folder
}

/// Every file of a folder.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// The rows of `top.csv` by the definition: all values of all images, sorted.
fn brute_force(model: &dyn Model, images: &[(String, RgbImage)], layers: &[&str], top: usize) -> String {
    let mut rows = String::from("layer,channel,rank,image,value,row,column\n");
    let inputs: Vec<Tensor<4>> =
        images.iter().map(|(_, picture)| vis::picture::to_input(picture, model).unwrap()).collect();
    for layer in layers {
        let maps: Vec<_> = inputs
            .iter()
            .map(|input| host::array4(model.activation(input.clone(), layer).unwrap()))
            .collect();
        for channel in 0..maps[0].dim().1 {
            let mut found: Vec<(f32, &str, usize, usize)> = Vec::new();
            for (map, (name, _)) in maps.iter().zip(images) {
                let map = map.slice(ndarray::s![0, channel, .., ..]);
                let largest = map.iter().copied().fold(f32::MIN, f32::max);
                let ((row, column), _) = map.indexed_iter().find(|(_, value)| **value == largest).unwrap();
                found.push((largest, name, row, column));
            }
            found.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(b.1)));
            for (rank, (value, name, row, column)) in found.iter().take(top).enumerate() {
                let value = value + 0.0;
                rows += &format!("{layer},{channel},{},{name},{value},{row},{column}\n", rank + 1);
            }
        }
    }
    rows
}

#[test]
fn the_top_nine_of_two_thousand_images_are_those_of_brute_force() {
    let model = Digits::bundled(&device()).unwrap();
    let images = survey_images::images(100, 250).unwrap();
    assert_eq!(images.len(), 2000);
    let layers = ["conv1", "conv2", "predictions"];
    let out = tempfile::tempdir().unwrap();
    let surveyed = Survey::new(&model, layers).run(images.clone()).unwrap();
    surveyed.save(out.path()).unwrap();
    let table = std::fs::read_to_string(out.path().join("top.csv")).unwrap();
    let expected = brute_force(&model, &images, &layers, 9);
    assert_eq!(table.lines().count(), expected.lines().count());
    for (got, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!((surveyed.images(), surveyed.passed_over()), (2000, 0));
}

#[cfg(feature = "onnx")]
#[test]
fn the_top_of_a_network_from_onnx_are_those_of_brute_force() {
    use vis::model::{Onnx, Preprocessing};
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx/mtcnn_pnet/model.onnx");
    let model = Onnx::new(path, Preprocessing::unit()).device(&device()).load().unwrap();
    let all = model.layers().unwrap();
    let with_maps: Vec<&str> =
        all.iter().filter(|layer| layer.shape[1] > 1).map(|layer| layer.name.as_str()).collect();
    let layers = [with_maps[0], with_maps[with_maps.len() / 2], all.last().unwrap().name.as_str()];
    let images = survey_images::images(10, 50).unwrap();
    let out = tempfile::tempdir().unwrap();
    Survey::new(&model, layers).top(5).run(images.clone()).unwrap().save(out.path()).unwrap();
    let table = std::fs::read_to_string(out.path().join("top.csv")).unwrap();
    for (got, expected) in table.lines().zip(brute_force(&model, &images, &layers, 5).lines()) {
        assert_eq!(got, expected);
    }
}

#[test]
fn means_zeros_histograms_and_labels_are_those_of_all_values() {
    let model = vis::model::Tiny::new(&device());
    let images = some_images();
    let samples = images.iter().map(|(name, picture)| Sample::labelled(name, picture.clone(), &name[..3]));
    let surveyed = Survey::new(&model, ["conv1"]).top(4).run(samples.collect::<Vec<_>>()).unwrap();
    let maps: Vec<_> = images
        .iter()
        .map(|(_, picture)| {
            let input = vis::picture::to_input(picture, &model).unwrap();
            host::array4(model.activation(input, "conv1").unwrap())
        })
        .collect();
    for (channel, unit) in surveyed.layers()[0].units().iter().enumerate() {
        let of_image = |image: usize| maps[image].slice(ndarray::s![0, channel, .., ..]);
        let all: Vec<f32> =
            (0..maps.len()).flat_map(|image| of_image(image).iter().copied().collect::<Vec<_>>()).collect();
        let zeros = all.iter().filter(|value| **value == 0.0).count() as f64;
        assert_eq!(unit.sparsity(), zeros / all.len() as f64);
        let silent =
            (0..maps.len()).filter(|image| of_image(*image).iter().all(|value| *value <= 0.0)).count();
        assert_eq!(unit.silence(), silent as f64 / maps.len() as f64);
        let mean = all.iter().map(|value| f64::from(*value)).sum::<f64>() / all.len() as f64;
        assert!((unit.mean() - mean).abs() < 1e-5 * mean.abs().max(1.0), "{} {mean}", unit.mean());
        let least = all.iter().copied().fold(f32::MAX, f32::min);
        assert_eq!(unit.range().unwrap(), (least, all.iter().copied().fold(f32::MIN, f32::max)));
        for (low, high, count) in unit.histogram().bins() {
            let inside = |value: f32| match low.total_cmp(&high) {
                std::cmp::Ordering::Equal => value == 0.0,
                _ if low < 0.0 => low < value && value <= high && value != 0.0,
                _ => low <= value && value < high && value != 0.0,
            };
            assert_eq!(count, all.iter().filter(|value| inside(**value)).count() as u64, "{low} to {high}");
        }
        let mut means: Vec<(f32, &str)> = (0..maps.len())
            .map(|image| {
                (
                    of_image(image).iter().map(|v| f64::from(*v)).sum::<f64>() as f32 / 64.0,
                    images[image].0.as_str(),
                )
            })
            .collect();
        means.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (example, (mean, _)) in unit.by_mean().iter().zip(&means) {
            assert!((example.value - mean).abs() < 1e-4, "{} {mean}", example.value);
            assert_eq!(example.label.as_deref(), Some(&example.image[..3]));
        }
    }
}

fn digits_survey(model: &Digits) -> Survey<'_, Digits> {
    Survey::new(model, ["conv2", "conv1", "predictions"]).top(3).note("model", "digits")
}

#[test]
fn shards_merged_in_any_order_are_one_run_byte_for_byte() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = folder_of(&some_images());
    std::fs::write(folder.path().join("broken.png"), "no picture").unwrap();
    std::fs::write(folder.path().join("digit-1/cut.jpg"), b"\xFF\xD8\xFF").unwrap();
    let images = Images::folder(folder.path()).unwrap().labelled_by_folder();
    let out = tempfile::tempdir().unwrap();
    let place = |name: &str| out.path().join(name);
    digits_survey(&model).run_into(&images, place("whole")).unwrap();
    let expected = bytes(&place("whole"));
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        [
            "bins.npy",
            "broken.csv",
            "examples.csv",
            "histograms.npy",
            "manifest.json",
            "state.bin",
            "top.csv",
            "units.csv"
        ]
    );
    for shard in 0..3 {
        let shard: Shard = format!("{shard}/3").parse().unwrap();
        digits_survey(&model)
            .shard(shard)
            .run_into(&images, place(&format!("s{}", shard.to_string().as_bytes()[0] - b'0')))
            .unwrap();
    }
    let open = |name: &str| Surveyed::open(place(name)).unwrap();
    for order in [["s0", "s1", "s2"], ["s2", "s0", "s1"], ["s1", "s2", "s0"]] {
        let [a, b, c] = order.map(open);
        a.merge(b).unwrap().merge(c).unwrap().save(place("merged")).unwrap();
        assert!(bytes(&place("merged")) == expected, "{order:?}");
    }
    let [a, b, c] = ["s0", "s1", "s2"].map(open);
    let part = b.merge(c).unwrap();
    assert!(!part.is_complete());
    part.save(place("part")).unwrap();
    assert!(std::fs::read_to_string(place("part/manifest.json")).unwrap().contains("\"1/3\""));
    a.merge(open("part")).unwrap().save(place("nested")).unwrap();
    assert!(bytes(&place("nested")) == expected);
    // Other cuts, and the images one by one from an iterator.
    let shards: Vec<Surveyed> = (1..=7)
        .map(|shard| {
            let name = place(&format!("of-seven-{shard}"));
            digits_survey(&model)
                .shard(format!("{shard}/7").parse().unwrap())
                .run_into(&images, name)
                .unwrap()
        })
        .collect();
    let merged = shards.into_iter().reduce(|a, b| a.merge(b).unwrap()).unwrap();
    assert_eq!(merged, Surveyed::open(place("whole")).unwrap());
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let model = Digits::bundled(&device()).unwrap();
    let images = some_images();
    let survey = |shard: &str| digits_survey(&model).shard(shard.parse().unwrap());
    let part = |shard: &str| survey(shard).run(images.clone()).unwrap();
    let refused = |a: Surveyed, b: Surveyed| a.merge(b).unwrap_err().to_string();
    assert!(refused(part("0/2"), part("0/2")).contains("shard 0/2 twice"));
    assert!(refused(part("0/2"), part("1/3")).contains("in 2 and in 3"));
    let error = refused(part("0/2"), survey("1/2").top(4).run(images.clone()).unwrap());
    assert!(error.contains("number of examples") && error.contains('3') && error.contains('4'), "{error}");
    let fewer = survey("1/2").run(images[1..].to_vec()).unwrap();
    assert!(refused(part("0/2"), fewer).contains("the images must be the same"));
    let other =
        Survey::new(&model, ["conv1"]).top(3).shard("1/2".parse().unwrap()).run(images.clone()).unwrap();
    assert!(refused(part("0/2"), other).contains("the layers"));
    let scaled = |scale: f32| Function(InputSpec::rgb(8, 8), move |x: Tensor<4>, _: &mut Taps| x * scale);
    let of = |scale: f32, shard: &str| {
        let model = scaled(scale);
        Survey::new(&model, ["output"]).shard(shard.parse().unwrap()).run(images.clone()).unwrap()
    };
    assert!(refused(of(1.0, "0/2"), of(1.01, "1/2")).contains("gave"));
    assert!(of(1.0, "0/2").merge(of(1.0 + 1e-6, "1/2")).unwrap().is_complete());
    let unfinished = survey("1/2").progress(|_| ControlFlow::Break(())).run(images.clone()).unwrap();
    assert!(refused(part("0/2"), unfinished).contains("run their commands again"));
}

#[test]
fn a_survey_stopped_anywhere_goes_on_to_the_same_bytes() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = folder_of(&some_images());
    std::fs::write(folder.path().join("digit-3/empty.png"), "").unwrap();
    let images = Images::folder(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    digits_survey(&model).run_into(&images, out.path().join("whole")).unwrap();
    for (stride, save_every) in [(37, 1000), (23, 5), (50, 1)] {
        let place = out.path().join(format!("by-{stride}"));
        let mut runs = 0;
        loop {
            let mut steps = 0;
            let stop = |_: &vis::Progress| {
                steps += 1;
                if steps >= stride { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let surveyed = digits_survey(&model)
                .save_every(save_every)
                .progress(stop)
                .run_into(&images, &place)
                .unwrap();
            runs += 1;
            if surveyed.is_complete() {
                break;
            }
            assert!(runs < 100);
        }
        assert!(runs > 2, "{runs}");
        assert!(bytes(&place) == bytes(&out.path().join("whole")), "{stride}");
    }
    // Once it is done, it stays as it is.
    digits_survey(&model).run_into(&images, out.path().join("by-37")).unwrap();
    assert!(bytes(&out.path().join("by-37")) == bytes(&out.path().join("whole")));
}

#[test]
fn a_damaged_state_is_told_and_the_one_before_it_serves() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = folder_of(&some_images());
    let images = Images::folder(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let (whole, cut) = (out.path().join("whole"), out.path().join("cut"));
    digits_survey(&model).run_into(&images, &whole).unwrap();
    let stopped_after = |batches: usize| {
        let mut steps = 0;
        let stop = move |_: &vis::Progress| {
            steps += 1;
            if steps >= batches { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        digits_survey(&model).save_every(1).progress(stop).run_into(&images, &cut)
    };
    stopped_after(40).unwrap();
    let (state, previous) = (cut.join("state.bin"), cut.join("state.previous.bin"));
    let written = std::fs::read(&state).unwrap();
    let damaged = |length: usize| std::fs::write(&state, &written[..length]).unwrap();
    // Both damaged: an error that names the file, and nothing is written over.
    let before = std::fs::read(&previous).unwrap();
    for length in [0, 5, 100, written.len() - 1] {
        damaged(length);
        std::fs::write(&previous, &before[..before.len() / 2]).unwrap();
        let files = bytes(&cut);
        let error = digits_survey(&model).run_into(&images, &cut).unwrap_err();
        assert!(matches!(&error, Error::Format { kind: "state of a survey", .. }), "{error}");
        assert!(error.to_string().contains("state.bin"), "{error}");
        assert!(bytes(&cut) == files);
        assert!(matches!(Surveyed::open(&cut), Err(Error::Format { .. })));
    }
    let mut changed = written.clone();
    changed[written.len() / 2] ^= 1;
    std::fs::write(&state, changed).unwrap();
    assert!(Surveyed::open(&cut).unwrap_err().to_string().contains("cut off or changed"));
    // One damaged: it goes on from the other.
    std::fs::write(&previous, &before).unwrap();
    damaged(written.len() / 3);
    let mut notices = Vec::new();
    let survey = digits_survey(&model).notices(|notice: &Notice| notices.push(notice.to_string()));
    survey.run_into(&images, &cut).unwrap();
    drop(survey);
    assert!(notices[0].contains("state.bin") && notices[0].contains("the state before it"), "{notices:?}");
    assert!(notices[1].contains("going on after"), "{notices:?}");
    assert!(bytes(&cut) == bytes(&whole));
}

#[test]
fn a_folder_with_another_survey_is_left_alone() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = folder_of(&some_images());
    let images = Images::folder(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let stop = |_: &vis::Progress| ControlFlow::Break(());
    digits_survey(&model).progress(stop).run_into(&images, out.path()).unwrap();
    let files = bytes(out.path());
    let refused = |survey: Survey<'_, Digits>, images: &Images| {
        survey.run_into(images, out.path()).unwrap_err().to_string()
    };
    let layers = refused(Survey::new(&model, ["conv1"]).top(3), &images);
    assert!(layers.contains("the layers must be the same") && layers.contains("conv2"), "{layers}");
    assert!(refused(digits_survey(&model).top(5), &images).contains("number of examples"));
    let shard = refused(digits_survey(&model).shard("1/2".parse().unwrap()), &images);
    assert!(shard.contains("the shard must be that of the survey in the folder, 0/1, not 1/2"), "{shard}");
    let list = Images::list(folder.path(), ["digit-0/0.png"]);
    assert!(refused(digits_survey(&model), &list).contains("the images must be the same"));
    assert!(bytes(out.path()) == files);
}

#[test]
fn broken_images_are_told_counted_and_passed_over() {
    // NaN for a black image, and infinite for a white one.
    let net = |x: Tensor<4>, _: &mut Taps| {
        let black = x.clone().max_dim(1).max_dim(2).max_dim(3).equal_elem(0.0);
        let white = x.clone().min_dim(1).min_dim(2).min_dim(3).equal_elem(255.0);
        let shape = x.dims();
        x.mask_fill(black.expand(shape), f32::NAN).mask_fill(white.expand(shape), f32::INFINITY)
    };
    let model = Function(InputSpec::rgb(8, 8), net);
    let flat = |grey: u8| RgbImage::from_pixel(9, 12, image::Rgb([grey; 3]));
    let folder = folder_of(&[0, 40, 255].map(|grey| (format!("{grey} 日本, \"{grey}\".png"), flat(grey))));
    std::fs::write(folder.path().join("film.gif"), b"GIF89a\x01\x00\x01\x00\x00\x00\x00;").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no image").unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut notices = Vec::new();
    let survey = Survey::new(&model, ["output"]).notices(|notice: &Notice| notices.push(notice.to_string()));
    let surveyed = survey.run_into(&Images::folder(folder.path()).unwrap(), out.path()).unwrap();
    drop(survey);
    assert_eq!((surveyed.images(), surveyed.passed_over(), notices.len()), (1, 3, 3));
    let reasons: Vec<(&str, &str)> = surveyed.reasons().collect();
    let not_finite = "the network's layer `output` is NaN or infinite";
    assert_eq!(reasons[0], ("0 日本, \"0\".png", not_finite));
    assert_eq!(reasons[1], ("255 日本, \"255\".png", not_finite));
    assert!(reasons[2].0 == "film.gif" && reasons[2].1.contains("GIF"), "{}", reasons[2].1);
    let mut table = csv::Reader::from_path(out.path().join("top.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| &row[3] == "40 日本, \"40\".png" && &row[4] == "40"));
}

#[test]
fn names_of_equal_images_decide_their_order() {
    let model = vis::model::Tiny::new(&device());
    let picture = RgbImage::from_pixel(8, 8, image::Rgb([90, 20, 70]));
    let names = ["b", "ä", "a", "Z", "日", "10", "9"];
    let surveyed =
        Survey::new(&model, ["pool1"]).top(5).run(names.map(|name| (name, picture.clone()))).unwrap();
    for unit in surveyed.layers()[0].units() {
        for examples in [unit.by_maximum(), unit.by_mean()] {
            let order: Vec<&str> = examples.iter().map(|example| &*example.image).collect();
            assert_eq!(order, ["10", "9", "Z", "a", "b"]);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_the_work_is_not_lost() {
    let model = Digits::bundled(&device()).unwrap();
    let folder = folder_of(&some_images());
    let images = Images::folder(folder.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    // The tables are written when all images are done: their disk is full, that of the state is not.
    std::os::unix::fs::symlink("/dev/full", out.path().join("top.csv")).unwrap();
    let error = digits_survey(&model).save_every(1).run_into(&images, out.path()).unwrap_err();
    assert!(error.to_string().contains("top.csv") && error.to_string().contains("No space left"), "{error}");
    std::fs::remove_file(out.path().join("top.csv")).unwrap();
    let mut notices = Vec::new();
    let survey = digits_survey(&model).notices(|notice: &Notice| notices.push(notice.to_string()));
    assert!(survey.run_into(&images, out.path()).unwrap().is_complete());
    drop(survey);
    assert!(notices.is_empty(), "{notices:?}");
    assert!(std::fs::read_to_string(out.path().join("top.csv")).unwrap().lines().count() > 100);
    // A device in place of the state is no state, and not read to its end, which it does not have.
    let other = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", other.path().join("state.bin")).unwrap();
    assert!(matches!(digits_survey(&model).run_into(&images, other.path()), Err(Error::Format { .. })));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let model = vis::model::Tiny::new(&device());
    let none: [(String, RgbImage); 0] = [];
    let refused = |survey: Survey<'_, vis::model::Tiny>| survey.run(none.clone()).unwrap_err();
    assert!(matches!(refused(Survey::new(&model, ["conv9"])), Error::UnknownLayer { .. }));
    assert!(matches!(refused(Survey::new(&model, [""; 0])), Error::InvalidParameter { .. }));
    assert!(matches!(refused(Survey::new(&model, ["conv1"]).top(0)), Error::InvalidParameter { .. }));
    let empty = tempfile::tempdir().unwrap();
    let images = Images::folder(empty.path()).unwrap();
    let error = Survey::new(&model, ["conv1"]).run_into(&images, empty.path().join("out")).unwrap_err();
    assert!(error.to_string().contains("one with images in it"), "{error}");
}
