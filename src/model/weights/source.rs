//! Weights that no network has been built from yet.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use tempfile::NamedTempFile;

use super::bundled::{Bundled, Found};
use super::container::Container;
use super::names::{Names, is_bookkeeping};
use super::parameters::Parameters;
#[cfg(feature = "download")]
use super::pretrained::Pretrained;
use super::stored::Stored;
use super::{index, pytorch, safetensors};
use crate::random::{self, Stream};
use crate::{Error, Result};

/// The weights of a network: those of a file, or random ones. [`load`](Self::load) builds the network from them.
///
/// Files are `.safetensors`, what `torch.save` writes (`.pth`, `.pt`, `.bin`), or the index of a network that is spread
/// over several of these (`*.index.json`); which of them is seen from the content. Elements of 16, 32 or 64 bits become
/// `f32`.
///
/// | in the file | what is done |
/// | --- | --- |
/// | the network under a key of a checkpoint: `state_dict`, `model`, `net`, `params`, `weights`, `ema`, … | it is taken from there; optimizer, criterion and the like are left out |
/// | wrappers before every name: `module.`, `_orig_mod.`, `model.`, … | they are dropped: see [`dropped_prefix`](Self::dropped_prefix) |
/// | counters and indices: `num_batches_tracked`, `position_ids`, … | they are passed over, unless the network asks for them |
/// | tensors of integers or 8-bit floats | they are not read unless the network asks for them, which is an error |
pub struct Weights {
    pub(super) source: Source,
    /// Layers that are drawn at random instead of read, and from what.
    pub(super) redrawn: Option<(Vec<String>, Box<Stream>)>,
    pub(super) device: Device,
}

pub(super) enum Source {
    File {
        /// For errors; the name alone of what is in the program.
        path: PathBuf,
        names: Names,
        /// Kept for as long as tensors are read from them.
        _copies: Vec<NamedTempFile>,
    },
    Random(Box<Stream>),
}

/// The tensors of one or several files.
#[derive(Default)]
pub(super) struct Files {
    pub(super) tensors: Vec<Stored>,
    /// Copies of files that had to be changed to be read.
    pub(super) copies: Vec<NamedTempFile>,
}

impl Files {
    pub(super) fn open(path: &Path, container: Container) -> Result<Self> {
        match container {
            Container::Safetensors => Ok(Self { tensors: safetensors::read(path)?, copies: Vec::new() }),
            Container::Index => index::read(path),
            Container::Zip => pytorch::read_zip(path),
            Container::Pickle => pytorch::read_pickle(path),
        }
    }
}

impl Weights {
    /// The weights in a file.
    ///
    /// ```
    /// use vis::{Error, model::weights::Weights};
    /// let text = Weights::from_file("Cargo.toml", &Default::default());
    /// assert!(matches!(text, Err(Error::Format { .. })));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file can't be read, [`Error::Format`] when it holds no weights; what it holds instead is
    /// named where it is known (HDF5, TorchScript, ONNX, …).
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let files = Files::open(path, Container::of(path)?)?;
        let names = Names::new(files.tensors);
        Ok(Self::new(Source::File { path: path.to_owned(), names, _copies: files.copies }, device))
    }

    /// The weights of a bundled network, by the name of its file. They are looked for
    ///
    /// 1. in the folder that the environment variable `VIS_WEIGHTS` names,
    /// 2. in the program, where the features `bundled` and `bundled-vgg16`, both on by default, put them,
    /// 3. in the folder `weights` of the current folder,
    /// 4. in the folder `weights` beside the program.
    ///
    /// Those in the program are read where they lie: there is no file to find, and no copy is made of the file.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &Default::default())?;
    /// assert_eq!(digits.names().count(), 10);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a name that no bundled network has, [`Error::NotBundled`] when it is in none of
    /// these places, and those of [`from_file`](Self::from_file).
    pub fn from_bundled(file: &str, device: &Device) -> Result<Self> {
        Self::of_bundled(Bundled::named(file)?, device)
    }

    /// The same by the network itself: the program then holds no other.
    pub(crate) fn of_bundled(bundled: Bundled, device: &Device) -> Result<Self> {
        let mut tensors = Vec::new();
        let path = match bundled.find()? {
            Found::Files(files) => {
                for file in &files {
                    tensors.append(&mut safetensors::read(file)?);
                }
                // All parts lie in one folder.
                files[0].with_file_name(bundled.file())
            }
            Found::BuiltIn(parts) => {
                let path = PathBuf::from(bundled.file());
                for bytes in parts {
                    tensors.append(&mut safetensors::lent(bytes, &path)?);
                }
                path
            }
        };
        let names = Names::new(tensors);
        Ok(Self::new(Source::File { path, names, _copies: Vec::new() }, device))
    }

    /// The weights of a row of [`Pretrained`], fetched if they are not here.
    #[cfg(feature = "download")]
    pub(crate) fn of_pretrained(name: &str, device: &Device) -> Result<Self> {
        Self::from_file(Pretrained::named(name)?.fetch(|download| download)?, device)
    }

    /// Random weights: biases (tensors with one extent) are zero, and weights are uniform in
    /// `±sqrt(6 / fan_in)`, which keeps the variance of activations the same through rectifiers of any
    /// number. The same seed gives the same network.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let weights = Weights::random(7, &Default::default());
    /// let weight = weights.load(|parameters| parameters.tensor("weight", [10, 6]))?; // within ±1
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
    /// use vis::model::weights::Weights;
    /// let device = Default::default();
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert!(digits.with_random_layers(&["conv_layers"], 0).is_ok());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_random_layers(mut self, layers: &[&str], seed: u64) -> Result<Self> {
        if let Source::File { names, .. } = &self.source {
            let has = |layer: &&str| names.tensors.keys().any(|name| names.belongs(name, layer));
            if let Some(unknown) = layers.iter().find(|layer| !has(layer)) {
                let mut there: Vec<String> = Vec::new();
                for name in names.tensors.keys() {
                    let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
                    if there.last().is_none_or(|last| last != layer) {
                        there.push(layer.to_owned());
                    }
                }
                return Err(Error::unknown_layer(*unknown, there));
            }
        }
        let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
        self.redrawn = Some((layers, Box::new(random::stream(seed, 0))));
        Ok(self)
    }

    fn new(source: Source, device: &Device) -> Self {
        // On an autodiff device the weights would be part of the gradient's graph.
        Self { source, redrawn: None, device: device.clone().inner() }
    }

    /// Builds a network from these weights, all of which it must use but for counters and indices.
    ///
    /// ```
    /// use vis::{Error, model::weights::Weights};
    /// let device = Default::default();
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// let only_one = digits.load(|parameters| parameters.tensor("conv_layers.0.bias", [32]));
    /// assert!(matches!(only_one, Err(Error::Weights { unused, .. }) if unused.len() == 9));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] lists every tensor that is missing, unused or of another shape. [`Error::Format`]
    /// names a tensor with NaN or infinite values, or with elements that are no weights.
    pub fn load<T>(self, build: impl FnOnce(&mut Parameters) -> Result<T>) -> Result<T> {
        let mut parameters = Parameters::new(self);
        let network = build(&mut parameters);
        parameters.finish(network)
    }

    /// What stood before the name of every tensor in the file and was dropped, such as `module.` or `state_dict.net.`;
    /// `None` if nothing did. Tensors are found by their whole names as well.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &Default::default())?;
    /// assert_eq!(digits.dropped_prefix(), None);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn dropped_prefix(&self) -> Option<&str> {
        match &self.source {
            Source::File { names, .. } => Some(names.dropped.as_str()).filter(|dropped| !dropped.is_empty()),
            Source::Random(_) => None,
        }
    }

    /// The names there are, in alphabetical order, without what was dropped and without counters and indices; none for
    /// random weights.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let device = Default::default();
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert_eq!(digits.names().next(), Some("conv_layers.0.bias"));
    /// assert_eq!(Weights::random(0, &device).names().count(), 0);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tensors = match &self.source {
            Source::File { names, .. } => Some(names.tensors.keys().map(String::as_str)),
            Source::Random(_) => None,
        };
        tensors.into_iter().flatten().filter(|name| !is_bookkeeping(name))
    }

    /// The shape of a tensor in the file; `None` when it isn't there or weights are random.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let device = Default::default();
    /// let digits = Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?;
    /// assert_eq!(digits.shape("conv_layers.0.weight"), Some(&[32, 1, 3, 3][..]));
    /// assert_eq!(digits.shape("conv_layers.9.weight"), None);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.source {
            Source::File { names, .. } => names.get(name).map(|(_, stored)| stored.shape.as_slice()),
            Source::Random(_) => None,
        }
    }

    /// Whether the weights are random, so that any name and shape is there.
    ///
    /// ```
    /// use vis::model::weights::Weights;
    /// let device = Default::default();
    /// assert!(Weights::random(0, &device).is_random());
    /// assert!(!Weights::from_bundled("mnist_cnn_f16.safetensors", &device)?.is_random());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn is_random(&self) -> bool {
        matches!(self.source, Source::Random(_))
    }

    /// The device that tensors are put on: a plain one, so that the weights stay out of the gradient's graph.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use vis::model::weights::Weights;
    /// let device = Device::default();
    /// assert_eq!(*Weights::random(0, &device.clone().autodiff()).device(), device);
    /// ```
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Weights");
        match &self.source {
            Source::File { path, names, .. } => {
                debug.field("path", path).field("tensors", &names.tensors.keys());
            }
            Source::Random(_) => {
                debug.field("random", &true);
            }
        }
        debug.field("device", &self.device).finish_non_exhaustive()
    }
}
