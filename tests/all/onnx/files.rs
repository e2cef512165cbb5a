//! A folder of files as `about.json` describes them: with inputs, outputs of onnxruntime and gradients of PyTorch.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;
use vis::Model;
use vis::model::{Graph, Onnx, Preprocessing, Taps, run};

use crate::host;
use crate::npy;
use crate::support::device;

/// A folder of files, and what is known of them.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    about: Value,
}

/// One file.
pub(super) struct File<'a> {
    folder: &'a Path,
    pub(super) about: &'a Value,
}

impl Folder {
    pub(super) fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let about = std::fs::read_to_string(path.join("about.json")).unwrap();
        Self { path, about: serde_json::from_str(&about).unwrap() }
    }

    /// The files of the folder, those that can run.
    pub(super) fn files(&self) -> impl Iterator<Item = File<'_>> {
        let files = self.about["files"].as_array().unwrap().iter();
        files.map(|about| File { folder: &self.path, about }).filter(|file| file.path().exists())
    }
}

impl File<'_> {
    pub(super) fn name(&self) -> &str {
        self.about["name"].as_str().unwrap()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.about["file"].as_str().unwrap_or_default())
    }

    pub(super) fn expected(&self) -> &str {
        self.about["expect"].as_str().unwrap_or("run")
    }

    pub(super) fn array(&self, about: &Value) -> ArrayD<f32> {
        npy::read(&self.folder.join(about["file"].as_str().unwrap()))
    }

    /// The first input.
    pub(super) fn input(&self) -> ArrayD<f32> {
        self.array(&self.about["inputs"][0])
    }

    /// The file, with its other inputs held.
    pub(super) fn onnx(&self) -> Onnx {
        let image = self.about["inputs"][0]["name"].as_str().unwrap();
        Onnx::new(self.path(), Preprocessing::none()).image(image).device(&device())
    }

    pub(super) fn output_names(&self) -> Vec<&str> {
        self.about["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|output| output["name"].as_str().unwrap())
            .collect()
    }

    /// The index of the output and the place in it that the gradient is of.
    pub(super) fn gradient_of(&self) -> Option<(usize, Vec<usize>)> {
        let of = self.about["gradient"]["of"].as_str()?;
        let (before, place) = of.rsplit_once('[')?;
        let place =
            place.trim_end_matches(']').split(',').map(|index| index.trim().parse().unwrap()).collect();
        let output = before.trim_start_matches("output").split_whitespace().next();
        Some((output.and_then(|index| index.parse().ok()).unwrap_or(0), place))
    }
}

/// An array of the file as an image of the model.
pub(super) fn as_image(array: &ArrayD<f32>, model: &Graph) -> Tensor<4> {
    let [channels, ..] = model.input().shape();
    let shape = array.shape();
    let array = match *shape {
        [batch, a, b, c] if a == channels => {
            array.clone().into_shape_with_order(IxDyn(&[batch, a, b, c])).unwrap()
        }
        [_, _, _, _] => array.clone().permuted_axes(IxDyn(&[0, 3, 1, 2])),
        [batch, a, b] if a == channels => {
            array.clone().into_shape_with_order(IxDyn(&[batch, a, b, 1])).unwrap()
        }
        [batch, a, b] => array.clone().into_shape_with_order(IxDyn(&[batch, 1, a, b])).unwrap(),
        [batch, a] => array.clone().into_shape_with_order(IxDyn(&[batch, a, 1, 1])).unwrap(),
        _ => panic!("no image: {shape:?}"),
    };
    let shape: [usize; 4] = array.shape().try_into().unwrap();
    Tensor::from_data(TensorData::new(array.iter().copied().collect::<Vec<_>>(), shape), &device())
}

/// The numbers of a map in the order of an array of the file.
pub(super) fn in_order_of(map: Tensor<4>, like: &[usize]) -> Vec<f32> {
    let [batch, channels, height, width] = map.dims();
    let turned = like == [batch, height, width, channels] && like != [batch, channels, height, width];
    host::values(if turned { map.permute([0, 2, 3, 1]) } else { map })
}

/// The largest difference, relative to the largest number expected.
pub(super) fn distance(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let difference = got.iter().zip(expected).map(|(got, expected)| (got - expected).abs());
    let difference =
        difference.fold(0f32, |worst, value| if value.is_nan() { f32::INFINITY } else { worst.max(value) });
    difference / largest.max(f32::MIN_POSITIVE)
}

/// The output of a model for an image, as numbers in the order of an array.
pub(super) fn output(model: &Graph, image: Tensor<4>, like: &[usize]) -> vis::Result<Vec<f32>> {
    let mut taps = Taps::new().record_last();
    run(model, image, &mut taps)?;
    Ok(in_order_of(taps.last()?, like))
}

/// The gradient of one number of the output, at a place of an array of the file's shape.
pub(super) fn gradient(
    model: &Graph,
    image: Tensor<4>,
    like: &[usize],
    place: &[usize],
) -> vis::Result<Tensor<4>> {
    let image = image.autodiff().require_grad();
    let mut taps = Taps::new().record_last();
    run(model, image.clone(), &mut taps)?;
    let map = taps.last()?;
    let [batch, channels, height, width] = map.dims();
    let map = if like == [batch, height, width, channels] && like != [batch, channels, height, width] {
        map.permute([0, 2, 3, 1])
    } else {
        map
    };
    let flat = place.iter().zip(like).fold(0, |flat, (index, size)| flat * size + index);
    let gradients = map.flatten::<1>(0, 3).narrow(0, flat, 1).sum().backward();
    Ok(image.grad(&gradients).unwrap())
}
