//! Networks from ONNX files.

mod files;
mod hostile;
mod made;

use std::time::Instant;

use files::{File, Folder, as_image, distance, gradient, in_order_of, output};
use vis::Target;
use vis::attribution::{Attribution, Cam, Formula, Saliency};
use vis::model::{Preprocessing, Taps, run};
use vis::{Error, Model, visualize_activation};

use crate::host;
use crate::support::device;

/// The folder of the repository.
fn own_files() -> Folder {
    Folder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx"))
}

/// A folder with more files than the repository keeps, if there is one.
fn more_files() -> Option<Folder> {
    let path = std::env::var_os("VIS_ONNX_FILES");
    if path.is_none() {
        eprintln!("SKIPPED: set VIS_ONNX_FILES to a folder of ONNX files with an about.json");
    }
    path.map(Folder::open)
}

/// What is measured of a file, or where it fails.
fn measured(file: &File) -> Result<String, String> {
    let text = |error: Error| error.to_string();
    let mut worst = 0f32;
    for (index, name) in file.output_names().into_iter().enumerate() {
        let expected = file.array(&file.about["outputs"][index]);
        let model = file.onnx().output(name).load().map_err(text)?;
        let image = as_image(&file.input(), &model);
        let got =
            output(&model, image, expected.shape()).map_err(|error| format!("output {name}: {error}"))?;
        let expected = expected.iter().copied().collect::<Vec<_>>();
        if let Some(mean) = file.about["tolerance"]["output_mean_abs"].as_f64() {
            let sum: f32 = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
            let far = sum / got.len() as f32;
            if f64::from(far) > mean {
                return Err(format!("output {name} is {far} from the reference in the mean"));
            }
        } else {
            let far = distance(&got, &expected);
            if far > 1e-3 {
                return Err(format!("output {name} is {far} of its largest from the reference"));
            }
            worst = worst.max(far);
        }
    }
    let mut said = format!("outputs within {worst:.1e}");
    if let Some((index, place)) = file.gradient_of() {
        let expected = file.array(&file.about["gradient"]);
        let like = file.array(&file.about["outputs"][index]);
        let model = file.onnx().output(file.output_names()[index]).load().map_err(text)?;
        let image = as_image(&file.input(), &model);
        let got = gradient(&model, image, like.shape(), &place).map_err(text)?;
        let far =
            distance(&in_order_of(got, expected.shape()), &expected.iter().copied().collect::<Vec<_>>());
        let tolerance = file.about["gradient"]["tolerance_rel_of_absmax"].as_f64().unwrap_or(1e-3) as f32;
        said += &format!(", gradient within {far:.1e}");
        if far > tolerance {
            return Err(said);
        }
    }
    let layers =
        file.onnx().load().and_then(|model| model.layers()).map_err(|error| format!("layers: {error}"))?;
    Ok(format!("{said}, {} layers", layers.len()))
}

/// Measures every file that can run, and prints what comes of it.
fn check_all(folder: &Folder) {
    let mut failures = Vec::new();
    let mut count = 0;
    for file in folder.files().filter(|file| file.expected() == "run") {
        let start = Instant::now();
        count += 1;
        match measured(&file) {
            Ok(said) => println!("{:34} {said} ({:.1?})", file.name(), start.elapsed()),
            Err(reason) => failures.push(format!("{}: {reason}", file.name())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 5);
}

#[test]
fn small_files_give_onnxruntimes_outputs_and_pytorchs_gradients() {
    check_all(&own_files());
}

#[test]
fn files_of_many_exporters_give_onnxruntimes_outputs_and_pytorchs_gradients() {
    if let Some(folder) = more_files() {
        check_all(&folder);
    }
}

#[test]
fn files_that_may_be_refused_run_or_name_the_operator() {
    let Some(folder) = more_files() else { return };
    for file in folder.files().filter(|file| file.expected() != "run") {
        let shape = file.input();
        let channels = shape.shape()[1];
        let model = file.onnx().shape([channels, 1, 1]).hold("sr", [16000.0]).load();
        let model = match model {
            Ok(model) => model,
            Err(_) => file.onnx().load().unwrap(),
        };
        let image = as_image(&shape, &model);
        match output(&model, image, file.array(&file.about["outputs"][0]).shape()) {
            Ok(_) => println!("{:34} runs", file.name()),
            Err(error) => {
                println!("{:34} {error}", file.name());
                let unsupported = model.unsupported();
                assert!(!unsupported.is_empty(), "{error}");
                let named = |what: &String| error.to_string().contains(what.split(' ').next().unwrap());
                assert!(unsupported.iter().any(named), "{error}: {unsupported:?}");
            }
        }
    }
}

/// The image of a file, for a network that takes one.
fn pictured(folder: &Folder, name: &str) -> (vis::model::Graph, burn::tensor::Tensor<4>) {
    let file = folder.files().find(|file| file.name() == name).unwrap();
    let model = file.onnx().load().unwrap();
    let image = as_image(&file.input(), &model);
    (model, image)
}

#[test]
fn saliency_grad_cam_and_activation_maximisation_run_on_files() {
    let folder = own_files();
    let mut folders = vec![&folder];
    let more = more_files();
    folders.extend(more.as_ref());
    for folder in folders {
        for file in
            folder.files().filter(|file| file.expected() == "run" && file.about.get("gradient").is_some())
        {
            let (model, image) = pictured(folder, file.name());
            let target = Target::class(0);
            let saliency = Saliency::new();
            let map = saliency.attribute(&model, image.clone(), &target);
            let map = map.unwrap_or_else(|error| panic!("{}: {error}", file.name()));
            assert!(host::values(map).iter().any(|value| *value != 0.0), "{}", file.name());
            let layers = model.layers().unwrap();
            let rectifier = ["relu", "clip", "leaky relu", "prelu", "elu", "gelu", "hard swish", "mish"];
            if layers.iter().any(|layer| rectifier.contains(&layer.kind)) {
                let guided = Saliency::guided().attribute(&model, image.clone(), &target);
                assert!(guided.is_ok(), "{}: {}", file.name(), guided.unwrap_err());
            }
            // The last convolution that the scores depend on; the others belong to other outputs.
            let spatial = |layer: &&vis::model::Layer| {
                layer.kind.contains("convolution") && layer.shape[1] * layer.shape[2] > 1
            };
            let mut spatial = layers.iter().rev().filter(spatial).peekable();
            if spatial.peek().is_some() {
                let cam = |layer: &str| {
                    Cam::new(Formula::GradCam).penultimate_layer(layer).map(&model, image.clone(), &target)
                };
                let layer = spatial.find(|layer| cam(&layer.name).is_ok());
                let layer = layer.unwrap_or_else(|| panic!("{}: no convolution has a Grad-CAM", file.name()));
                let [_, height, width] = model.input().shape();
                if height * width <= 128 * 128 {
                    let pictures =
                        visualize_activation(&model, &layer.name).filter_indices([0]).max_iter(2).run();
                    assert!(pictures.is_ok(), "{} at {}: {}", file.name(), layer.name, pictures.unwrap_err());
                }
            }
        }
    }
}

#[test]
fn a_batch_gives_what_its_images_give_apart_also_where_the_file_was_exported_for_one() {
    let folder = own_files();
    for file in folder.files() {
        let (model, image) = pictured(&folder, file.name());
        let dims = image.dims();
        let noise = vis::random::noise(dims, (-1.0, 1.0), 3, 0, &device());
        let other = image.clone() * 0.5 + noise;
        let of = |image| host::values(model.classify(image).unwrap());
        let apart = [of(image.clone()), of(other.clone()), of(image.clone())].concat();
        let together = of(burn::tensor::Tensor::cat(vec![image.clone(), other, image], 0));
        assert!(distance(&together, &apart) < 1e-4, "{}", file.name());
    }
}

#[test]
fn images_of_another_size_are_taken_where_the_operations_allow_it_and_else_the_node_is_named() {
    let folder = own_files();
    let (unet, image) = pictured(&folder, "tv_unet_small_legacy17");
    let wide = burn::tensor::Tensor::cat(vec![image.clone(), image.clone()], 3);
    let mut taps = Taps::new().record_last();
    run(&unet, wide, &mut taps).unwrap();
    let [_, channels, height, width] = image.dims();
    assert_eq!((channels, taps.last().unwrap().dims()), (3, [1, 2, height, 2 * width]));
    let (transformer, image) = pictured(&folder, "tv_vit_b_16_legacy17");
    let error = transformer.classify(burn::tensor::Tensor::cat(vec![image.clone(), image], 3)).unwrap_err();
    assert!(error.to_string().starts_with("node `"), "{error}");
}

#[test]
fn a_run_computes_only_what_the_wanted_layer_depends_on() {
    let (model, image) = pictured(&own_files(), "tv_unet_small_legacy17");
    let layers = model.layers().unwrap();
    let mut taps = Taps::new().record([layers[1].name.clone()]);
    run(&model, image.clone(), &mut taps).unwrap();
    assert!(taps.seen().len() <= 2, "{:?}", taps.seen());
    let error = model.activation(image, "no such layer").unwrap_err();
    assert!(
        matches!(&error, Error::UnknownLayer { available, .. } if available.len() == layers.len()),
        "{error}"
    );
}

#[test]
fn every_layer_of_a_table_can_be_had_alone_and_is_the_same() {
    for name in ["tv_unet_small_legacy17", "mtcnn_pnet", "odd_ops_dynamo"] {
        let (model, image) = pictured(&own_files(), name);
        let mut taps = Taps::new().record_all();
        run(&model, image.clone(), &mut taps).unwrap();
        for (layer, all) in taps.into_recorded() {
            let alone = model.activation(image.clone(), &layer).unwrap();
            assert_eq!(alone.dims(), all.dims(), "{layer}");
            let (alone, all) = (host::values(alone), host::values(all));
            assert!(distance(&alone, &all) < 1e-5, "{name}: {layer}");
        }
    }
}

#[test]
fn preprocessing_happens_inside_the_model() {
    let folder = own_files();
    let file = folder.files().find(|file| file.name() == "blazeface_front").unwrap();
    let plain = file.onnx().load().unwrap();
    let input = as_image(&file.input(), &plain);
    let model = vis::model::Onnx::open(file.path(), Preprocessing::tf()).unwrap();
    assert_eq!(model.input().range(), (0.0, 255.0));
    let pixels = (input.clone() + 1.0) * 127.5;
    let (a, b) =
        (host::values(plain.classify(input.clone()).unwrap()), host::values(model.classify(pixels).unwrap()));
    assert!(distance(&b, &a) < 1e-4);
    // Blue first, in the order that the network has its channels.
    let caffe = vis::model::Onnx::open(file.path(), Preprocessing::caffe()).unwrap();
    let means =
        burn::tensor::Tensor::<1>::from_floats([103.939, 116.779, 123.68], &device()).reshape([1, 3, 1, 1]);
    let pixels = (input.clone() + means).flip([1]);
    assert!(distance(&host::values(caffe.classify(pixels).unwrap()), &a) < 1e-4);
}

#[test]
fn labels_come_from_text_and_from_json() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = pictured(&own_files(), "conv1d_small");
    let mut model = Some(model);
    let texts = [
        ("names.txt", "cat\ndog\nowl\n"),
        ("list.json", r#"["cat", "dog", "owl"]"#),
        ("index.json", r#"{"2": ["n0", "owl"], "0": ["n1", "cat"], "1": "dog"}"#),
    ];
    for (name, text) in texts {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let named = model.take().unwrap().with_labels(&path).unwrap();
        assert_eq!(
            [0, 1, 2].map(|class| named.class_name(class)),
            [Some("cat"), Some("dog"), Some("owl")],
            "{name}"
        );
        model = Some(named);
    }
    let path = folder.path().join("broken.json");
    std::fs::write(&path, r#"{"7": "owl"}"#).unwrap();
    assert!(model.take().unwrap().with_labels(&path).unwrap_err().to_string().contains("no index below 1"));
}

#[test]
fn lite0_from_a_file_is_the_one_of_the_crate_and_takes_no_longer() {
    let Some(folder) = more_files() else { return };
    let Some(file) = folder.files().find(|file| file.name() == "lite0_dynamo18") else { return };
    let own = vis::model::EfficientNetLite0::bundled(&device()).unwrap();
    let read = vis::model::Onnx::open(file.path(), Preprocessing::new([127.0], [128.0])).unwrap();
    let image = as_image(&file.input(), &read) * 128.0 + 127.0;
    let gradient = |model: &dyn Model| {
        let leaf = image.clone().autodiff().require_grad();
        let logits = model.classify(leaf.clone()).unwrap();
        host::values(leaf.grad(&logits.narrow(1, 285, 1).sum().backward()).unwrap())
    };
    let scores = |model: &dyn Model| host::values(model.classify(image.clone()).unwrap());
    assert!(distance(&scores(&read), &scores(&own)) < 1e-4);
    // Rectifiers flip within rounding of zero, in either.
    assert!(distance(&gradient(&read), &gradient(&own)) < 1e-2);
    let time = |model: &dyn Model| {
        let once = || {
            let start = Instant::now();
            gradient(model);
            start.elapsed().as_secs_f64()
        };
        (0..15).map(|_| once()).fold(f64::MAX, f64::min)
    };
    // In turn, as the machine may be busy.
    let (first, second) = (time(&own), time(&read));
    let (own_time, read_time) = (first.min(time(&own)), second.min(time(&read)));
    println!("a gradient takes {:.1} ms by hand, {:.1} ms from the file", 1e3 * own_time, 1e3 * read_time);
    assert!(read_time < 1.5 * own_time, "{read_time} against {own_time}");
}
