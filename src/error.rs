//! What can go wrong, and how it is said: what was asked, what was got, what there is.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;

/// The result of everything in this crate that depends on data, names, files or weights.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong and is not a bug.
///
/// Broken tensor contracts inside a user's own [`Loss`](crate::Loss) or [`Model`](crate::Model) are
/// bugs and panic with a shape message; everything else that fails is one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer was named that the model does not report.
    #[error("there is no layer `{name}`{}; {}", suggestion(nearest.as_deref()), all_layers(available))]
    UnknownLayer {
        /// The name that was asked for.
        name: String,
        /// The name that it resembles most, if any does.
        nearest: Option<String>,
        /// Every layer the model reports, in the order of the forward pass.
        available: Vec<String>,
    },

    /// A filter, class, channel or position lies outside what a layer has.
    #[error("{what} {index} is out of range: {place} has {len} (0 to {})", len.saturating_sub(1))]
    OutOfRange {
        /// What was counted: `filter`, `class`, `row`, …
        what: &'static str,
        /// The index that was asked for.
        index: usize,
        /// Where: a layer, an image, a list.
        place: String,
        /// How many there are.
        len: usize,
    },

    /// A setting has a value it can't have.
    #[error("{name} must be {expected}, not {got}")]
    InvalidParameter {
        /// The setting.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },

    /// An image or a layer has another shape than the one needed.
    #[error("{what} has shape {got:?}, expected {expected}")]
    Shape {
        /// What has the wrong shape.
        what: String,
        /// The shape needed, in words or numbers.
        expected: String,
        /// The shape it has.
        got: Vec<usize>,
    },

    /// A file of weights does not fit its network: nothing was loaded.
    #[error("{} does not fit the network{}{}{}", path.display(), listed("missing", missing), listed("unused", unused), listed("of another shape", misshapen))]
    Weights {
        /// The file.
        path: PathBuf,
        /// Tensors that the network needs and the file lacks.
        missing: Vec<String>,
        /// Tensors that the file has and the network has no use for.
        unused: Vec<String>,
        /// Tensors with another shape, as `name: [file] instead of [network]`.
        misshapen: Vec<String>,
    },

    /// The weights of a bundled network are not in the program, and in none of the places where their file could be.
    #[error(
        "there are no bundled weights {file}: vis was built without its feature `{feature}`, and the file is not in {}. Turn the feature on, or name the file's folder in VIS_WEIGHTS",
        places(looked_in)
    )]
    NotBundled {
        /// The name of the file.
        file: String,
        /// The feature that puts it into the program.
        feature: &'static str,
        /// The folders looked at.
        looked_in: Vec<PathBuf>,
    },

    /// A file could not be fetched from the network, or may not be.
    #[error("can't fetch {url} to {}: {reason}", path.display())]
    Fetch {
        /// The address.
        url: String,
        /// Where it was to be.
        path: PathBuf,
        /// What is wrong, and what of the file is kept.
        reason: String,
    },

    /// A name means no class, or more than one.
    #[error("{}", which_class(name, candidates))]
    UnknownClass {
        /// The name that was asked for.
        name: String,
        /// The classes it could mean, as `index name`.
        candidates: Vec<String>,
    },

    /// A file exists and can be read, but holds something else than its name or use says.
    #[error("{} is not a readable {kind}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should have been: `PNG, JPEG or WebP picture`, `file of weights`, …
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// The operating system refused to read or write a file.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A loss or its gradient became NaN or infinite, and the run stopped; or an image, a score, an activation or a map
    /// is.
    #[error(
        "{what} {}{}",
        step.map_or_else(|| "is NaN or infinite".to_owned(), |step| format!("became NaN or infinite at step {step}")),
        if best.is_some() { "; the best image before it is kept in the error" } else { "" }
    )]
    NonFinite {
        /// The loss by name, `the gradient`, or what else it is, with its image and layer.
        what: String,
        /// The step of a run, counted from 0; none where nothing was run in steps.
        step: Option<usize>,
        /// The best finite image before that step, `[batch, channels, height, width]`.
        best: Option<Box<Tensor<4>>>,
    },

    /// The gradient is zero everywhere, so there is nothing to follow or to draw.
    #[error("the gradient of {what} is zero everywhere: {hint}")]
    ZeroGradient {
        /// What was differentiated.
        what: String,
        /// What to try.
        hint: String,
    },

    /// Scores that were taken for logits are probabilities.
    #[error(
        "the scores of `{layer}` are probabilities, not logits: none is negative and they sum to 1. Tap the logits, and name them by `Model::logits` or `Target::in_layer`"
    )]
    Probabilities {
        /// The layer that was read.
        layer: String,
    },

    /// A layer was tapped, but what comes after it does not depend on what the tap gave back.
    #[error(
        "`{target}` does not depend on the layer `{layer}`: the network goes on with something else than `taps.layer` gives back for it, or the layer lies on another branch. Write `let x = taps.layer(\"{layer}\", x)?;` and use that `x`"
    )]
    UnusedLayer {
        /// The layer.
        layer: String,
        /// The layers that were to depend on it.
        target: String,
    },

    /// A backward rule for rectifiers was asked for, but the forward pass met no rectifier.
    #[error(
        "the rule {rule} changed nothing: no rectifier was met {}before `{layer}`; does the model call `taps.relu`?",
        above.as_ref().map(|above| format!("after `{above}` and ")).unwrap_or_default()
    )]
    NoRectifier {
        /// The rule.
        rule: &'static str,
        /// The layer at which the forward pass ended.
        layer: String,
        /// The layer that the gradient was taken at, if it was not the image.
        above: Option<String>,
    },

    /// The network computes something else when a gradient is taken than it does otherwise, and may have changed.
    ///
    /// Burn's `BatchNorm`, `Dropout`, `GaussianNoise` and `RRelu` train on an autodiff device unless they are
    /// [frozen](burn::module::Module::freeze). See [`model`](crate::model).
    #[error(
        "the network is another one when a gradient is taken: {what} is off by {:.2} % of its largest value. Burn's BatchNorm, Dropout and noise layers train on an autodiff device: load the weights anew and freeze the module that holds them, `let net = net.freeze();`",
        100.0 * difference
    )]
    Training {
        /// What differs: a layer by name, or what a parametrization decodes.
        what: String,
        /// The largest difference, as a share of the largest value.
        difference: f32,
    },

    /// No layer before the target has more than one position, so no map can be drawn from one.
    #[error("no layer before `{target}` has more than one position: name the layer to draw the map at")]
    NoSpatialLayer {
        /// The target layer.
        target: String,
    },

    /// A node of a graph can't be computed, or not for an image of this size.
    #[error("node `{node}` can't be computed: {reason}")]
    Graph {
        /// The node, by its name as a layer.
        node: String,
        /// What is wrong.
        reason: String,
    },

    /// A callback failed, and the run stopped.
    #[error("the run was stopped at step {step}: {source}{}", if best.is_some() { "; the best image so far is kept in the error" } else { "" })]
    Stopped {
        /// The step, counted from 0.
        step: usize,
        /// What failed.
        source: Box<Self>,
        /// The best image so far, `[batch, channels, height, width]`.
        best: Option<Box<Tensor<4>>>,
    },
}

impl Error {
    /// The best image found before the run stopped, if the error ended a run that had found one.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// // The first step leads so far away that the loss is infinite there.
    /// let run = Optimizer::new(&model, TotalVariation::default()).learning_rate(1e38);
    /// let error = run.minimize().unwrap_err();
    /// assert!(error.best_image().is_some());
    /// ```
    pub fn best_image(&self) -> Option<&Tensor<4>> {
        match self {
            Self::NonFinite { best, .. } | Self::Stopped { best, .. } => best.as_deref(),
            _ => None,
        }
    }

    /// Names the file that an operation failed on: for use with `map_err`, where files are read or written around a call
    /// of this crate, as the command `vis` and the examples do.
    ///
    /// ```
    /// let file = std::fs::read("no/such/file").map_err(vis::Error::io("read", "no/such/file"));
    /// assert!(file.unwrap_err().to_string().starts_with("can't read no/such/file: "));
    /// ```
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::InvalidParameter`] from anything that can be printed.
    pub(crate) fn invalid(name: &'static str, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self::InvalidParameter { name, expected: expected.into(), got: got.to_string() }
    }

    /// An [`Error::UnknownLayer`] with the nearest match filled in: for a loss, a model or a program that looks layers up
    /// itself.
    ///
    /// ```
    /// let error = vis::Error::unknown_layer("conv", vec!["conv1".into(), "pool1".into()]);
    /// let said = "there is no layer `conv` (did you mean `conv1`?); the layers are: conv1, pool1";
    /// assert_eq!(error.to_string(), said);
    /// ```
    pub fn unknown_layer(name: impl Into<String>, available: Vec<String>) -> Self {
        let name = name.into();
        let nearest = nearest(&name, available.iter().map(String::as_str)).map(str::to_owned);
        Self::UnknownLayer { name, nearest, available }
    }

    /// A model whose forward pass taps nothing was asked for something.
    pub(crate) fn without_layers() -> Self {
        Self::invalid("the model", "one that reports at least one layer to its taps", "one without layers")
    }
}

/// The layers that there are.
fn all_layers(available: &[String]) -> String {
    match available {
        [] => "the model reports no layers".into(),
        _ => format!("the layers are: {}", available.join(", ")),
    }
}

/// The candidate that resembles `name` most, if one does: for "did you mean" in errors, and for names that a program gives
/// out itself, as the command `vis` does for classes.
///
/// ```
/// let layers = ["block1_conv1", "block1_pool"];
/// assert_eq!(vis::error::nearest("blok1_conv1", layers), Some("block1_conv1"));
/// assert_eq!(vis::error::nearest("xyz", layers), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &&str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (likeness(&candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

fn places(looked_in: &[PathBuf]) -> String {
    looked_in.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", nor in ")
}

fn which_class(name: &str, candidates: &[String]) -> String {
    match candidates {
        [] => format!("there is no class `{name}`"),
        [candidate] => format!("there is no class `{name}` (did you mean `{candidate}`?)"),
        _ => format!("`{name}` could mean any of: {}", candidates.join("; ")),
    }
}

fn listed(what: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
}
