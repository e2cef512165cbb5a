//! Weights from a file, from the bundled folder, or drawn at random.
//!
//! A network asks [`Parameters`] for its tensors by name and shape; where they come from is not its
//! business. A file that lacks a tensor, has one too many, or one of another shape is refused with the
//! full list, so nothing is ever loaded by half:
//!
//! ```
//! use vis::model::layers::Convolution;
//! use vis::model::weights::Parameters;
//!
//! let build = |parameters: &mut Parameters| {
//!     let weight = parameters.tensor("conv.weight", [4, 3, 3, 3])?;
//!     let bias = parameters.tensor("conv.bias", [4])?;
//!     Ok(Convolution::new(weight, Some(bias)))
//! };
//! let device = Default::default();
//! let conv = Parameters::random(0, &device).load(build)?;
//! assert_eq!(conv.parameters(), 4 * 27 + 4);
//!
//! let missing = Parameters::from_file("no/such/file.safetensors", &device);
//! assert!(matches!(missing, Err(vis::Error::Io { .. })));
//! # Ok::<(), vis::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use pytorch_reader::PytorchReader;
use rand::Rng;
use safetensors::{Dtype, SafeTensors};

use crate::random::{self, Stream};
use crate::{Error, Result};

/// The name of the environment variable that says where the bundled weights are.
const FOLDER_VARIABLE: &str = "VIS_WEIGHTS";

/// The tensors that a network is made of, by name: those of a file, or random ones.
///
/// Files are `.safetensors` or what `torch.save` writes (`.pth`, `.pt`); which of the two is seen from the
/// content. Elements of 16, 32 or 64 bits become `f32`. In a PyTorch checkpoint that keeps its weights
/// under a key (`state_dict`, `model`), they are taken from there; a `module.` before every name is
/// dropped.
pub struct Parameters {
    source: Source,
    /// Layers that are drawn at random instead of read, and from what.
    redrawn: Option<(Vec<String>, Box<Stream>)>,
    device: Device,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

enum Source {
    File { path: PathBuf, tensors: BTreeMap<String, Stored> },
    Random(Box<Stream>),
}

/// A tensor in a file, not yet read.
struct Stored {
    shape: Vec<usize>,
    data: Data,
    used: bool,
}

enum Data {
    Bytes { file: Arc<Vec<u8>>, range: Range<usize>, element: Element },
    Pytorch(pytorch_reader::Tensor),
}

/// The element types of weights.
#[derive(Debug, Clone, Copy)]
enum Element {
    F16,
    Bf16,
    F32,
    F64,
}

impl Parameters {
    /// The tensors of a file.
    ///
    /// ```
    /// use vis::{Error, model::weights::{Parameters, bundled}};
    /// let device = Default::default();
    /// let digits = Parameters::from_file(bundled("mnist_cnn_f16.safetensors")?, &device)?;
    /// assert!(digits.names().any(|name| name == "conv_layers.0.weight"));
    /// let text = Parameters::from_file("Cargo.toml", &device);
    /// assert!(matches!(text, Err(Error::Format { .. })));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file can't be read, [`Error::Format`] when it holds no weights.
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let tensors = match Container::of(path)? {
            Container::Safetensors => read_safetensors(path)?,
            Container::Pytorch => read_pytorch(path)?,
        };
        Ok(Self::new(Source::File { path: path.to_owned(), tensors }, device))
    }

    /// The tensors of a file in the folder of bundled weights: see [`bundled`].
    ///
    /// ```
    /// use vis::{Error, model::weights::Parameters};
    /// let device = Default::default();
    /// assert_eq!(Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?.names().count(), 10);
    /// let none = Parameters::from_bundled("vgg17.safetensors", &device);
    /// assert!(matches!(none, Err(Error::NotBundled { .. })));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotBundled`] when there is no such file, and those of [`from_file`](Self::from_file).
    pub fn from_bundled(file: &str, device: &Device) -> Result<Self> {
        Self::from_file(bundled(file)?, device)
    }

    /// Random tensors: biases (tensors with one extent) are zero, and weights are uniform in
    /// `±sqrt(6 / fan_in)`, which keeps the variance of activations the same through rectifiers of any
    /// number. The same seed gives the same network.
    ///
    /// ```
    /// use vis::model::weights::Parameters;
    /// let device = Default::default();
    /// let drawn = |seed| Parameters::random(seed, &device).tensor("weight", [10, 6]).map(|map| map.into_data().to_vec::<f32>().unwrap());
    /// assert!(drawn(7)?.iter().all(|value| value.abs() <= 1.0)); // six inputs
    /// assert_eq!(drawn(7)?, drawn(7)?);
    /// assert_ne!(drawn(7)?, drawn(8)?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// Source: He et al. 2015, *Delving Deep into Rectifiers*, equation 10.
    pub fn random(seed: u64, device: &Device) -> Self {
        Self::new(Source::Random(Box::new(random::stream(seed, 0))), device)
    }

    /// The same, but the tensors of these layers are [random](Self::random) and not those of the file. A layer is meant
    /// by its name or that of a block of layers: `blocks.15` means `blocks.15.expand.weight` as well.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`] when the file has no tensor of a layer.
    ///
    /// ```
    /// use vis::model::weights::Parameters;
    /// let device = Default::default();
    /// let file = || Parameters::from_bundled("mnist_cnn_f16.safetensors", &device);
    /// let name = file()?.names().find(|name| name.ends_with(".bias")).unwrap_or_default().to_owned();
    /// let layer = name.trim_end_matches(".bias");
    /// let units = file()?.shape(&name).unwrap_or_default()[0];
    /// // Random biases are 0.
    /// let bias = file()?.with_random_layers(&[layer], 0)?.tensor(&name, [units])?;
    /// assert!(bias.into_data().to_vec::<f32>().unwrap().iter().all(|value| *value == 0.0));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_random_layers(mut self, layers: &[&str], seed: u64) -> Result<Self> {
        if let Source::File { tensors, .. } = &self.source {
            let has = |layer: &str| tensors.keys().any(|name| belongs(name, layer));
            if let Some(unknown) = layers.iter().find(|layer| !has(layer)) {
                let mut names: Vec<String> = Vec::new();
                for name in tensors.keys() {
                    let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
                    if names.last().is_none_or(|last| last != layer) {
                        names.push(layer.to_owned());
                    }
                }
                return Err(Error::unknown_layer(*unknown, names));
            }
        }
        let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
        self.redrawn = Some((layers, Box::new(random::stream(seed, 0))));
        Ok(self)
    }

    fn new(source: Source, device: &Device) -> Self {
        // On an autodiff device the weights would be part of the gradient's graph.
        let device = device.clone().inner();
        Self { source, redrawn: None, device, missing: Vec::new(), misshapen: Vec::new() }
    }

    /// Builds a network from these tensors, all of which it must use.
    ///
    /// ```
    /// use vis::{Error, model::weights::Parameters};
    /// let device = Default::default();
    /// let digits = Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// let only_one = digits.load(|parameters| parameters.tensor("conv_layers.0.bias", [32]));
    /// assert!(matches!(only_one, Err(Error::Weights { unused, .. }) if unused.len() == 9));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] lists every tensor that is missing, unused or of another shape. [`Error::Format`]
    /// names a tensor with NaN or infinite values, or with elements that are no weights.
    pub fn load<T>(mut self, build: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let network = build(&mut self)?;
        let Source::File { path, tensors } = self.source else {
            return Ok(network);
        };
        let unused: Vec<String> =
            tensors.into_iter().filter(|(_, stored)| !stored.used).map(|(name, _)| name).collect();
        if self.missing.is_empty() && unused.is_empty() && self.misshapen.is_empty() {
            return Ok(network);
        }
        Err(Error::Weights { path, missing: self.missing, unused, misshapen: self.misshapen })
    }

    /// The tensor of this name and shape.
    ///
    /// A file that lacks it or has it in another shape is refused by [`load`](Self::load) once everything
    /// has been asked for, so that the error lists it all; until then a tensor of one zero stands in.
    ///
    /// ```
    /// use vis::{Error, model::weights::Parameters};
    /// let device = Default::default();
    /// let mut digits = Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert_eq!(digits.tensor("conv_layers.0.weight", [32, 1, 3, 3])?.dims(), [32, 1, 3, 3]);
    /// let refused = digits.load(|parameters| parameters.tensor("conv_layers.9.bias", [32]));
    /// assert!(matches!(refused, Err(Error::Weights { missing, .. }) if missing == ["conv_layers.9.bias"]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Format`] when a value is NaN or infinite, or the elements are no weights.
    pub fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        Ok(match self.values(name, &shape)? {
            Some(values) => Tensor::from_data(TensorData::new(values, shape), &self.device),
            None => self.stand_in(),
        })
    }

    /// The same for a tensor whose file has it in another order of axes: `shape` is the file's, and
    /// `arrange` gives the values wanted, of shape `wanted`.
    pub(crate) fn arranged<const D: usize>(
        &mut self,
        name: &str,
        shape: &[usize],
        wanted: [usize; D],
        arrange: impl FnOnce(Vec<f32>) -> Vec<f32>,
    ) -> Result<Tensor<D>> {
        Ok(match self.values(name, shape)? {
            Some(values) => Tensor::from_data(TensorData::new(arrange(values), wanted), &self.device),
            None => self.stand_in(),
        })
    }

    /// The names there are, in alphabetical order; none for random tensors.
    ///
    /// ```
    /// use vis::model::weights::Parameters;
    /// let device = Default::default();
    /// let digits = Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert_eq!(digits.names().next(), Some("conv_layers.0.bias"));
    /// assert_eq!(Parameters::random(0, &device).names().count(), 0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tensors = match &self.source {
            Source::File { tensors, .. } => Some(tensors.keys().map(String::as_str)),
            Source::Random(_) => None,
        };
        tensors.into_iter().flatten()
    }

    /// The shape of a tensor in the file; `None` when it isn't there or tensors are random.
    ///
    /// ```
    /// use vis::model::weights::Parameters;
    /// let device = Default::default();
    /// let digits = Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert_eq!(digits.shape("conv_layers.0.weight"), Some(&[32, 1, 3, 3][..]));
    /// assert_eq!(digits.shape("conv_layers.9.weight"), None);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.source {
            Source::File { tensors, .. } => tensors.get(name).map(|stored| stored.shape.as_slice()),
            Source::Random(_) => None,
        }
    }

    /// Whether the tensors are random, so that any name and shape is there.
    ///
    /// ```
    /// use vis::model::weights::Parameters;
    /// let device = Default::default();
    /// assert!(Parameters::random(0, &device).is_random());
    /// assert!(!Parameters::from_bundled("mnist_cnn_f16.safetensors", &device)?.is_random());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn is_random(&self) -> bool {
        matches!(self.source, Source::Random(_))
    }

    /// The device that tensors are put on.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use vis::model::weights::Parameters;
    /// let device = Device::default();
    /// // A plain one, so that the weights stay out of the gradient's graph.
    /// assert_eq!(*Parameters::random(0, &device.clone().autodiff()).device(), device);
    /// ```
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn stand_in<const D: usize>(&self) -> Tensor<D> {
        Tensor::zeros([1; D], &self.device)
    }

    /// The values in row-major order, or `None` after noting what is wrong.
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>> {
        match &mut self.source {
            Source::Random(random) => Ok(Some(he_uniform(random, shape))),
            Source::File { path, tensors } => match tensors.get_mut(name) {
                None => {
                    self.missing.push(name.to_owned());
                    Ok(None)
                }
                Some(stored) => {
                    stored.used = true;
                    if stored.shape != shape {
                        self.misshapen.push(format!("{name}: {:?} instead of {shape:?}", stored.shape));
                        return Ok(None);
                    }
                    if let Some((layers, random)) = &mut self.redrawn
                        && layers.iter().any(|layer| belongs(name, layer))
                    {
                        return Ok(Some(he_uniform(random, shape)));
                    }
                    let values =
                        stored.read().map_err(|reason| malformed(path, format!("{name}: {reason}")))?;
                    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                        return Err(malformed(path, format!("{name} holds the value {value}")));
                    }
                    Ok(Some(values))
                }
            },
        }
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Parameters");
        match &self.source {
            Source::File { path, tensors } => {
                debug.field("path", path).field("tensors", &tensors.keys());
            }
            Source::Random(_) => {
                debug.field("random", &true);
            }
        }
        debug.field("device", &self.device).finish_non_exhaustive()
    }
}

/// Where a bundled file of weights is: the first of these folders that has it.
///
/// 1. the one that the environment variable `VIS_WEIGHTS` names,
/// 2. `weights` in the source of this crate, if it was built from its repository,
/// 3. `weights` in the current folder,
/// 4. `weights` beside the running program.
///
/// The crate as published has no weights, because the registry takes 10 MB: get the folder from the
/// repository.
///
/// # Errors
///
/// [`Error::NotBundled`] names the places looked at.
///
/// ```
/// use vis::Error;
/// use vis::model::weights::bundled;
/// match bundled("vgg17.safetensors") {
///     Err(Error::NotBundled { looked_in, .. }) => assert!(looked_in.len() >= 2),
///     other => panic!("there is no such network: {other:?}"),
/// }
/// ```
pub fn bundled(file: &str) -> Result<PathBuf> {
    let folder = Path::new("weights");
    let places = [
        std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from),
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)),
        Some(folder.to_owned()),
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(folder))),
    ];
    find(file, places.into_iter().flatten())
}

fn find(file: &str, places: impl Iterator<Item = PathBuf>) -> Result<PathBuf> {
    let mut looked_in = Vec::new();
    for place in places {
        let path = place.join(file);
        if path.is_file() {
            return Ok(path);
        }
        looked_in.push(place);
    }
    Err(Error::NotBundled { file: file.to_owned(), looked_in })
}

/// Whether a tensor is one of a layer, or of a layer of a block.
fn belongs(tensor: &str, layer: &str) -> bool {
    tensor.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'))
}

/// He's initialisation.
fn he_uniform(random: &mut Stream, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    if shape.len() < 2 {
        return vec![0.0; count];
    }
    let fan_in: usize = shape[1..].iter().product();
    let bound = (6.0 / fan_in as f32).sqrt();
    (0..count).map(|_| (random.random::<f32>() * 2.0 - 1.0) * bound).collect()
}

/// The kinds of file that hold weights.
enum Container {
    Safetensors,
    Pytorch,
}

impl Container {
    /// The kind of a file by its first bytes.
    fn of(path: &Path) -> Result<Self> {
        let mut head = [0; 265];
        let mut length = 0;
        let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        while length < head.len() {
            match file.read(&mut head[length..]).map_err(Error::io("read", path))? {
                0 => break,
                read => length += read,
            }
        }
        let head = &head[..length];
        // A safetensors file is the length of a JSON object in eight bytes and the object.
        if head.get(8) == Some(&b'{') {
            return Ok(Self::Safetensors);
        }
        let zip = head.starts_with(b"PK\x03\x04");
        let pickle = matches!(head, [0x80, 1..=5, ..]);
        let tar = head.get(257..262) == Some(b"ustar");
        if zip || pickle || tar {
            return Ok(Self::Pytorch);
        }
        if head.starts_with(b"\x89HDF") {
            return Err(malformed(path, "it is an HDF5 file; convert it to safetensors"));
        }
        Err(malformed(path, "it is neither a safetensors file nor a PyTorch checkpoint"))
    }
}

fn malformed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Format { path: path.to_owned(), kind: "file of weights", reason: reason.into() }
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Stored>> {
    let file = std::fs::read(path).map_err(Error::io("read", path))?;
    let (header, metadata) =
        SafeTensors::read_metadata(&file).map_err(|error| malformed(path, error.to_string()))?;
    let start = size_of::<u64>() + header;
    let file = Arc::new(file);
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let element = match info.dtype {
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::F32 => Element::F32,
            Dtype::F64 => Element::F64,
            other => return Err(malformed(path, format!("{name} has elements of type {other:?}"))),
        };
        let (from, to) = info.data_offsets;
        let range = start + from..start + to;
        let data = Data::Bytes { file: file.clone(), range, element };
        tensors.insert(name, Stored { shape: info.shape.clone(), data, used: false });
    }
    Ok(tensors)
}

fn read_pytorch(path: &Path) -> Result<BTreeMap<String, Stored>> {
    let reader = PytorchReader::new(path).map_err(|error| malformed(path, error.to_string()))?;
    let file_size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    let mut tensors: BTreeMap<String, _> = reader.into_tensors().into_iter().collect();
    // A tensor may repeat one value over strides of zero; no network is stored so, and a few bytes could
    // ask for all memory there is.
    let larger_than_file = |tensor: &pytorch_reader::Tensor| {
        let extents = tensor.shape().iter().map(|&extent| extent as u64);
        extents
            .chain([tensor.dtype().size() as u64])
            .try_fold(1, u64::checked_mul)
            .is_none_or(|size| size > file_size)
    };
    if let Some(name) = tensors.iter().find_map(|(name, tensor)| larger_than_file(tensor).then_some(name)) {
        return Err(malformed(path, format!("{name} is larger than the file")));
    }
    for key in ["state_dict.", "model_state_dict.", "model.", "module."] {
        let nested: BTreeMap<String, _> = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(key)?.to_owned(), tensor.clone())))
            .collect();
        if !nested.is_empty() {
            tensors = nested;
        }
    }
    let stored = |tensor: pytorch_reader::Tensor| Stored {
        shape: tensor.shape().to_vec(),
        data: Data::Pytorch(tensor),
        used: false,
    };
    Ok(tensors.into_iter().map(|(name, tensor)| (name, stored(tensor))).collect())
}

impl Stored {
    fn read(&self) -> Result<Vec<f32>, String> {
        match &self.data {
            Data::Bytes { file, range, element } => {
                let bytes = file.get(range.clone()).ok_or("it lies outside the file")?;
                Ok(element.widen(bytes))
            }
            Data::Pytorch(tensor) => {
                let element = match tensor.dtype() {
                    pytorch_reader::DType::F16 => Element::F16,
                    pytorch_reader::DType::BF16 => Element::Bf16,
                    pytorch_reader::DType::F32 => Element::F32,
                    pytorch_reader::DType::F64 => Element::F64,
                    other => return Err(format!("its elements are of type {other:?}")),
                };
                let bytes = tensor.read().map_err(|error| error.to_string())?;
                Ok(element.widen(&bytes))
            }
        }
    }
}

impl Element {
    /// Little-endian bytes as `f32`.
    fn widen(self, bytes: &[u8]) -> Vec<f32> {
        let halves =
            || -> Vec<u16> { bytes.as_chunks().0.iter().map(|&half| u16::from_le_bytes(half)).collect() };
        match self {
            Self::F16 => widen_halves(&halves().reinterpret_into::<half::f16>()),
            Self::Bf16 => widen_halves(&halves().reinterpret_into::<half::bf16>()),
            Self::F32 => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value) as f32).collect(),
        }
    }
}

fn widen_halves<H>(halves: &[H]) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_the_file_wins() -> std::io::Result<()> {
        let (empty, first, second) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
        for folder in [&first, &second] {
            std::fs::write(folder.path().join("a.safetensors"), "")?;
        }
        let places = [&empty, &first, &second].map(|folder| folder.path().to_owned());
        let found = find("a.safetensors", places.clone().into_iter());
        assert_eq!(found.ok(), Some(first.path().join("a.safetensors")));
        match find("b.safetensors", places.clone().into_iter()) {
            Err(Error::NotBundled { looked_in, .. }) => assert_eq!(looked_in, places),
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    #[test]
    fn every_element_type_widens_to_the_same_number() {
        // -1.5 has an exact form in each: sign 1, exponent 0, mantissa 1.1 in binary.
        assert_eq!(Element::F16.widen(&[0x00, 0xbe]), [-1.5]);
        assert_eq!(Element::Bf16.widen(&[0xc0, 0xbf]), [-1.5]);
        assert_eq!(Element::F32.widen(&[0, 0, 0xc0, 0xbf]), [-1.5]);
        assert_eq!(Element::F64.widen(&[0, 0, 0, 0, 0, 0, 0xf8, 0xbf]), [-1.5]);
    }

    #[test]
    fn random_weights_keep_the_variance_through_a_rectifier() {
        // The variance of a uniform number in ±b is b²/3, and He's is 2 / fan_in: fan_in is 4·9 here.
        let values = he_uniform(&mut random::stream(0, 0), &[1000, 4, 3, 3]);
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!((variance - 2.0 / 36.0).abs() < 0.01 * 2.0 / 36.0, "{variance}");
    }
}
