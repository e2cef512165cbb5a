//! Networks from ONNX files.

mod files;

use std::time::Instant;

use files::{Folder, as_image, distance, gradient, in_order_of, output};
use vis::Model;

/// A folder with more files than the repository keeps, if there is one.
fn more_files() -> Option<Folder> {
    let path = std::env::var_os("VIS_ONNX_FILES");
    if path.is_none() {
        eprintln!("SKIPPED: set VIS_ONNX_FILES to a folder of ONNX files with an about.json");
    }
    path.map(Folder::open)
}

#[test]
fn files_of_many_exporters_give_onnxruntimes_outputs_and_pytorchs_gradients() {
    let Some(folder) = more_files() else { return };
    let mut failures = Vec::new();
    for file in folder.files().filter(|file| file.expected() != "refuse") {
        let start = Instant::now();
        let mut check = || -> Result<String, String> {
            let mut worst = 0f32;
            for (index, name) in file.output_names().into_iter().enumerate() {
                let expected = file.array(&file.about["outputs"][index]);
                let model = file.onnx().output(name).load().map_err(|error| error.to_string())?;
                let image = as_image(&file.input(), &model);
                let got = output(&model, image, expected.shape()).map_err(|error| format!("output {name}: {error}"))?;
                let expected = expected.iter().copied().collect::<Vec<_>>();
                let far = distance(&got, &expected);
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                if let Some(mean) = file.about["tolerance"]["output_mean_abs"].as_f64() {
                    let sum: f32 = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
                    if f64::from(sum / got.len() as f32) > mean {
                        return Err(format!("output {name} is {} from the reference in the mean", sum / got.len() as f32));
                    }
                } else if far > 1e-3 {
                    return Err(format!("output {name} is {far} of {largest} from the reference"));
                } else {
                    worst = worst.max(far);
                }
            }
            let mut said = format!("outputs within {worst:.1e}");
            if let Some((index, place)) = file.gradient_of() {
                let name = file.output_names()[index];
                let expected = file.array(&file.about["gradient"]);
                let like = file.array(&file.about["outputs"][index]);
                let model = file.onnx().output(name).load().map_err(|error| error.to_string())?;
                let image = as_image(&file.input(), &model);
                let got = gradient(&model, image, like.shape(), &place).map_err(|error| error.to_string())?;
                let got = in_order_of(got, expected.shape());
                let far = distance(&got, &expected.iter().copied().collect::<Vec<_>>());
                let tolerance = file.about["gradient"]["tolerance_rel_of_absmax"].as_f64().unwrap_or(1e-3) as f32;
                said += &format!(", gradient within {far:.1e} of {tolerance:.1e}");
                if far > tolerance {
                    return Err(said);
                }
            }
            let layers = file.onnx().load().and_then(|model| model.layers()).map_err(|error| format!("layers: {error}"))?;
            said += &format!(", {} layers", layers.len());
            Ok(said)
        };
        match check() {
            Ok(said) => println!("{:34} {said} ({:.1?})", file.name(), start.elapsed()),
            Err(reason) => {
                println!("{:34} FAILED {reason}", file.name());
                failures.push(format!("{}: {reason}", file.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
