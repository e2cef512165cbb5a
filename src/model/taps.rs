//! The observer of a forward pass.

pub(crate) mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use burn::tensor::Tensor;

use super::Layer;
use crate::backprop::{self, Rectifier, Rule};
use crate::{Error, Result};

/// Says that a forward pass may end: everything wanted has been met.
///
/// Only [`Taps`] makes one; a [`Model`](super::Model) hands it on with `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop(());

/// The observer of a forward pass: records named activations, ends the run early, opens a gradient at a
/// layer, replaces an activation, and sets the backward rule at rectifiers.
///
/// ```
/// use vis::model::{run, Model, Taps};
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let image = model.input().zeros(&model.device());
/// let mut taps = Taps::new().record(["conv1"]);
/// run(&model, image, &mut taps)?;
/// assert_eq!(taps.activation("conv1")?.dims(), [1, 4, 8, 8]);
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Default)]
pub struct Taps {
    wanted: Vec<String>,
    record: Record,
    recorded: BTreeMap<String, Tensor<4>>,
    seen: Vec<String>,
    /// How often each name was given.
    times: HashMap<String, usize>,
    failure: Option<Error>,
    edits: Vec<(String, Edit)>,
    opened: BTreeMap<String, Tensor<4>>,
    last_map: Option<LastMap>,
    rule: Rule,
    rectifiers: usize,
    described: (Option<&'static str>, usize),
    table: Vec<Layer>,
    token_maps: Vec<(String, usize)>,
    /// Whether the next layer has positions that are no places of the image.
    aside: bool,
}

/// What is kept of a forward pass.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// The layers named, and the run ends with the last of them; all of it runs when none is named.
    #[default]
    Named,
    /// The output.
    Last,
    /// Every layer.
    All,
    /// Names and shapes only.
    Table,
}

/// What a run has to compute besides the layers wanted by name.
#[cfg(any(feature = "onnx", feature = "capture"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Nothing.
    Layers,
    /// The output.
    Output,
    /// All of it; what lies between may be left out.
    Run,
    /// Every layer.
    Everything,
}

enum Edit {
    Open,
    /// As `Open`, but nothing is cut off.
    Watch,
    Replace(Box<dyn FnOnce(Tensor<4>) -> Tensor<4> + Send>),
}

/// The search for the last layer with more than one position before each of some layers.
struct LastMap {
    /// Those of them that were not met yet.
    ahead: Vec<String>,
    /// Those that were, each with what was found before it.
    found: Vec<(String, Option<String>)>,
}

impl Taps {
    /// Taps that want nothing: a plain forward pass.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new();
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.seen(), ["conv1", "pool1", "conv2", "logits", "softmax"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the activations of these layers, and ends the run when the last of them has been met.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record(["conv1", "pool1"]);
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.seen(), ["conv1", "pool1"]); // nothing deeper was computed
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn record<S: Into<String>>(mut self, layers: impl IntoIterator<Item = S>) -> Self {
        for layer in layers.into_iter().map(Into::into) {
            if !self.wanted.contains(&layer) {
                self.wanted.push(layer);
            }
        }
        self
    }

    /// Keeps the activation of every layer.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record_all();
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.into_recorded().len(), 5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn record_all(mut self) -> Self {
        self.record = Record::All;
        self
    }

    /// Keeps the output: the activation of the last layer tapped.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record_last();
    /// run(&model, image, &mut taps)?;
    /// let sum = taps.last()?.sum().into_data().to_vec::<f32>().unwrap()[0]; // the softmax
    /// assert!((sum - 1.0).abs() < 1e-5);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn record_last(mut self) -> Self {
        self.record = Record::Last;
        self
    }

    /// Keeps names and shapes only.
    pub(crate) fn table(mut self) -> Self {
        self.record = Record::Table;
        self
    }

    /// Makes a layer's activation a leaf of the gradient: what lies below it is cut off, and
    /// [`opened`](Self::opened) gives the leaf.
    ///
    /// Takes effect on an autodiff device only.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().open("conv2").record(["logits"]);
    /// run(&model, image.autodiff(), &mut taps)?;
    /// let mut gradients = taps.activation("logits")?.sum().backward();
    /// let gradient = taps.opened("conv2")?.grad_remove(&mut gradients);
    /// assert_eq!(gradient.map(|gradient| gradient.dims()), Some([1, 6, 4, 4]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn open(mut self, layer: impl Into<String>) -> Self {
        let layer = layer.into();
        self.edits.push((layer.clone(), Edit::Open));
        self.record([layer])
    }

    /// Gives a leaf for the gradient at each of some layers, and cuts off nothing: [`opened`](Self::opened) gives the
    /// leaves, which are zero and were added to the layers.
    pub(crate) fn watch(mut self, layers: &[String]) -> Self {
        self.edits.extend(layers.iter().map(|layer| (layer.clone(), Edit::Watch)));
        self.record(layers)
    }

    /// Makes the last layer with more than one position before these a leaf of the gradient, and ends the run with them:
    /// [`last_map`](Self::last_map) gives it. Every candidate on the way is opened, which cuts off the one before.
    pub(crate) fn open_last_map(mut self, before: Vec<String>) -> Self {
        self.last_map = Some(LastMap { ahead: before.clone(), found: Vec::new() });
        self.record(before)
    }

    /// Replaces a layer's activation by a function of it, and goes on from there.
    ///
    /// The replacement may have a larger batch than the activation, which then must have a batch of one:
    /// so a hundred variations of a layer cost one run below it. What goes around the layer keeps its batch of one,
    /// and must be joined by operations that broadcast, such as a sum; to concatenate branches, run the image repeated
    /// as often.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// // Three strengths of one layer, of one run below it.
    /// let strengths = burn::tensor::Tensor::<1>::from_floats([0.0, 1.0, 2.0], &model.device()).reshape([3, 1, 1, 1]);
    /// let mut taps = Taps::new().replace("conv2", move |x| x * strengths).record(["logits"]);
    /// run(&model, image, &mut taps)?;
    /// let logits = taps.activation("logits")?.into_data().to_vec::<f32>().unwrap();
    /// assert_eq!(logits[0], 0.0);
    /// assert!((logits[10] - 2.0 * logits[5]).abs() < 1e-4);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn replace(
        mut self,
        layer: impl Into<String>,
        with: impl FnOnce(Tensor<4>) -> Tensor<4> + Send + 'static,
    ) -> Self {
        let layer = layer.into();
        self.edits.push((layer.clone(), Edit::Replace(Box::new(with))));
        self.record([layer])
    }

    /// Sets the backward rule at every rectifier. A run with a special rule that meets none above what the gradient is
    /// taken at is refused ([`Error::NoRectifier`]).
    ///
    /// ```
    /// use vis::{Error, Rule, model::{Model, Taps, run}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let guided = || Taps::new().rule(Rule::Guided).record(["logits"]);
    /// assert!(run(&model, image.clone(), &mut guided()).is_ok());
    /// // Above conv2 there is no rectifier that could follow it.
    /// let refused = run(&model, image, &mut guided().open("conv2"));
    /// assert!(matches!(refused, Err(Error::NoRectifier { .. })));
    /// ```
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    // ---- what a model calls ----

    /// Shows the activation of a named layer; use what comes back from here on.
    ///
    /// `x` is `[batch, channels, height, width]`, or `[batch, features]`, which counts as a 1×1 map, or
    /// `[batch, channels, length]`, which counts as a map of width 1.
    ///
    /// ```
    /// # use burn::tensor::Tensor;
    /// use vis::model::Taps;
    /// let mut taps = Taps::new().record(["conv", "conv#2"]); // a name met again is numbered
    /// let x = Tensor::<4>::ones([1, 4, 8, 8], &Default::default());
    /// let x = taps.layer("conv", x).unwrap();
    /// assert!(taps.layer("conv", x).is_err()); // the run may end: nothing deeper is wanted
    /// assert_eq!(taps.seen(), ["conv", "conv#2"]);
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stop`] when nothing deeper is wanted.
    pub fn layer<const D: usize>(&mut self, name: &str, x: Tensor<D>) -> Result<Tensor<D>, Stop> {
        let described = std::mem::take(&mut self.described);
        let is_aside = std::mem::take(&mut self.aside);
        let name = self.unused(name);
        self.seen.push(name.clone());

        let edit = self.edits.iter().position(|(layer, _)| *layer == name);
        let x = match edit.map(|index| self.edits.swap_remove(index).1) {
            Some(Edit::Replace(with)) => from_map(with(as_map(x.clone())), &x),
            Some(Edit::Open) => self.open_here(&name, x),
            Some(Edit::Watch) => self.watch_here(&name, x),
            None if self.may_be_last_map(&name, &x) && !is_aside => {
                self.opened.clear();
                self.open_here(&name, x)
            }
            None => x,
        };

        match self.record {
            Record::Table => {
                let [_, channels, height, width] = as_map(x.clone()).dims();
                let (kind, parameters) = described;
                let kind = kind.unwrap_or("activation");
                self.table.push(Layer { name, kind, shape: [channels, height, width], parameters });
            }
            Record::All => {
                self.wanted.retain(|wanted| *wanted != name);
                self.recorded.insert(name, as_map(x.clone()));
            }
            Record::Last => {
                self.wanted.retain(|wanted| *wanted != name);
                self.recorded.clear();
                self.recorded.insert(name, as_map(x.clone()));
            }
            Record::Named => {
                if let Some(index) = self.wanted.iter().position(|wanted| *wanted == name) {
                    self.wanted.swap_remove(index);
                    self.recorded.insert(name, as_map(x.clone()));
                    if self.wanted.is_empty() {
                        return Err(Stop(()));
                    }
                }
            }
        }
        Ok(x)
    }

    /// The name itself, or with the first number that makes it one of its own.
    fn unused(&mut self, name: &str) -> String {
        let mut unused = name.to_owned();
        while self.times.contains_key(&unused) {
            let times = self.times.entry(name.to_owned()).or_insert(1);
            *times += 1;
            unused = format!("{name}#{times}");
        }
        self.times.insert(unused.clone(), 1);
        unused
    }

    /// Ends the run with an error: for a model that finds in its middle that it can't go on.
    ///
    /// ```
    /// use vis::{Error, model::{InputSpec, Model, Stop, Taps}};
    /// struct Odd(InputSpec);
    /// impl Model for Odd {
    ///     fn input(&self) -> &InputSpec { &self.0 }
    ///     fn forward(&self, image: burn::tensor::Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
    ///         if image.dims()[2] % 2 == 1 {
    ///             let got = image.dims().to_vec();
    ///             let expected = "an even height".into();
    ///             return Err(taps.fail(Error::Shape { what: "the image".into(), expected, got }));
    ///         }
    ///         taps.layer("same", image).map(drop)
    ///     }
    /// }
    /// assert!(Odd(InputSpec::rgb(4, 4)).layers().is_ok());
    /// assert!(Odd(InputSpec::rgb(5, 5)).layers().is_err());
    /// ```
    pub fn fail(&mut self, error: Error) -> Stop {
        self.failure = Some(error);
        Stop(())
    }

    /// The error that ended the run.
    pub(crate) fn take_failure(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// What a model that knows its layers beforehand has to compute, and the layers wanted by name.
    #[cfg(any(feature = "onnx", feature = "capture"))]
    pub(crate) fn wants(&self) -> (Wants, &[String]) {
        let wants = match self.record {
            Record::Named if self.wanted.is_empty() => Wants::Run,
            Record::Named => Wants::Layers,
            Record::Last => Wants::Output,
            Record::All | Record::Table => Wants::Everything,
        };
        (wants, &self.wanted)
    }

    /// Whether a layer is still to be replaced, perhaps by a larger batch.
    #[cfg(any(feature = "onnx", feature = "capture"))]
    pub(crate) fn replaces(&self) -> bool {
        self.edits.iter().any(|(_, edit)| matches!(edit, Edit::Replace(_)))
    }

    /// Tells of a layer that this run does not make, or that nobody looks at.
    pub(crate) fn pass(&mut self, name: &str) {
        self.described = (None, 0);
        let name = self.unused(name);
        self.seen.push(name);
    }

    /// Forgets what was described, of a value that is no layer.
    #[cfg(any(feature = "onnx", feature = "capture"))]
    pub(crate) fn skip(&mut self) {
        self.described = (None, 0);
    }

    fn open_here<const D: usize>(&mut self, name: &str, x: Tensor<D>) -> Tensor<D> {
        // A rule acts on the way from the output to the leaf alone.
        self.rectifiers = 0;
        let leaf = as_map(x.clone()).detach();
        let leaf = if leaf.is_autodiff() { leaf.require_grad() } else { leaf };
        self.opened.insert(name.to_owned(), leaf.clone());
        from_map(leaf, &x)
    }

    fn watch_here<const D: usize>(&mut self, name: &str, x: Tensor<D>) -> Tensor<D> {
        let map = as_map(x.clone());
        let leaf = map.zeros_like().detach();
        let leaf = if leaf.is_autodiff() { leaf.require_grad() } else { leaf };
        self.opened.insert(name.to_owned(), leaf.clone());
        from_map(map + leaf, &x)
    }

    fn may_be_last_map<const D: usize>(&mut self, name: &str, x: &Tensor<D>) -> bool {
        let Some(LastMap { ahead, found }) = &mut self.last_map else { return false };
        if let Some(index) = ahead.iter().position(|layer| layer == name) {
            found.push((ahead.swap_remove(index), self.opened.keys().next().cloned()));
        }
        !ahead.is_empty() && x.dims().iter().skip(2).product::<usize>() > 1
    }

    /// Says what the next layer tapped is, for the table of layers.
    ///
    /// ```
    /// use vis::model::{InputSpec, Model, Stop, Taps};
    /// # struct Shift(InputSpec);
    /// impl Model for Shift {
    /// #     fn input(&self) -> &InputSpec { &self.0 }
    ///     fn forward(&self, image: burn::tensor::Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
    ///         taps.describe("scale and shift", 2);
    ///         taps.layer("shifted", image * 0.5 + 1.0).map(drop)
    ///     }
    /// }
    /// let layers = Shift(InputSpec::rgb(8, 8)).layers()?;
    /// assert_eq!(layers[0].to_string(), "shifted  scale and shift  3x8x8  2 parameters");
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn describe(&mut self, kind: &'static str, parameters: usize) {
        self.described = (Some(kind), self.described.1 + parameters);
    }

    /// The rectifier `max(x, 0)` under the backward rule of this run.
    ///
    /// ```
    /// let x = burn::tensor::Tensor::<1>::from_floats([-1.0, 2.0], &Default::default());
    /// let mut taps = vis::model::Taps::new();
    /// assert_eq!(taps.relu(x).into_data().to_vec::<f32>().unwrap(), [0.0, 2.0]);
    /// ```
    pub fn relu<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        self.rectify(x, Rectifier::Relu)
    }

    /// The clipped rectifier `min(max(x, 0), 6)` under the backward rule of this run.
    ///
    /// ```
    /// let x = burn::tensor::Tensor::<1>::from_floats([-1.0, 2.0, 9.0], &Default::default());
    /// assert_eq!(vis::model::Taps::new().relu6(x).into_data().to_vec::<f32>().unwrap(), [0.0, 2.0, 6.0]);
    /// ```
    pub fn relu6<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        self.rectify(x, Rectifier::Relu6)
    }

    /// The leaky rectifier, `x` where positive and `slope · x` elsewhere, under the rule of this run.
    ///
    /// ```
    /// let x = burn::tensor::Tensor::<1>::from_floats([-1.0, 2.0], &Default::default());
    /// assert_eq!(vis::model::Taps::new().leaky_relu(x, 0.25).into_data().to_vec::<f32>().unwrap(), [-0.25, 2.0]);
    /// ```
    pub fn leaky_relu<const D: usize>(&mut self, x: Tensor<D>, slope: f32) -> Tensor<D> {
        self.rectify(x, Rectifier::Leaky(slope))
    }

    /// Any [`Rectifier`] under the backward rule of this run.
    ///
    /// ```
    /// use vis::{Rule, backprop::Rectifier, model::Taps};
    /// # use burn::tensor::{Device, Tensor};
    /// let x = Tensor::<1>::from_floats([-1.0, 2.0, 3.0], &Device::default().autodiff()).require_grad();
    /// let weights = Tensor::<1>::from_floats([3.0, 5.0, -7.0], &Device::default());
    /// let y = Taps::new().rule(Rule::Deconvolution).rectify(x.clone(), Rectifier::Relu);
    /// let gradient = x.grad(&(y * weights).sum().backward()).unwrap();
    /// assert_eq!(gradient.into_data().to_vec::<f32>().unwrap(), [3.0, 5.0, 0.0]); // positive cotangents
    /// ```
    pub fn rectify<const D: usize>(&mut self, x: Tensor<D>, rectifier: Rectifier) -> Tensor<D> {
        backprop::rectify(x, rectifier, self.meet_rectifier())
    }

    /// The rule at the next rectifier, for an operation that contains one; counts it as met.
    pub(crate) fn meet_rectifier(&mut self) -> Rule {
        self.rectifiers += 1;
        self.rule
    }

    // ---- what a caller reads afterwards ----

    /// The activation recorded for a layer, `[batch, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`] when it was not recorded.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record(["conv1"]);
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.activation("conv1")?.dims(), [1, 4, 8, 8]);
    /// assert!(taps.activation("conv2").is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn activation(&self, layer: &str) -> Result<Tensor<4>> {
        self.recorded.get(layer).cloned().ok_or_else(|| self.unknown(layer))
    }

    /// The output: the activation of the last layer tapped, if it was recorded.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when no layer was tapped.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record(["pool1"]);
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.last()?.dims(), [1, 4, 4, 4]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn last(&self) -> Result<Tensor<4>> {
        self.activation(self.seen.last().ok_or_else(Error::without_layers)?)
    }

    /// The leaf opened at a layer.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().open("conv1").record(["pool1"]);
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.opened("conv1")?.dims(), [1, 4, 8, 8]);
    /// assert!(taps.opened("pool1").is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayer`] when the run met no such layer.
    pub fn opened(&self, layer: &str) -> Result<Tensor<4>> {
        self.opened.get(layer).cloned().ok_or_else(|| self.unknown(layer))
    }

    /// The last layer with more than one position before those given to [`open_last_map`](Self::open_last_map), with its
    /// leaf.
    pub(crate) fn last_map(&self) -> Result<(String, Tensor<4>)> {
        let found = self.last_map.iter().flat_map(|last| &last.found);
        let mut found = found.map(|(target, layer)| match layer {
            Some(layer) => Ok((target, layer)),
            None => Err(Error::NoSpatialLayer { target: target.clone() }),
        });
        let (target, layer) =
            found.next().unwrap_or_else(|| Err(Error::invalid("the target", "at least one", 0)))?;
        for other in found {
            let (other_target, other) = other?;
            if other != layer {
                let expected = "named, where the targets of the images choose different ones";
                let got = format!(
                    "left open: `{layer}` comes before `{target}`, `{other}` before `{other_target}`"
                );
                return Err(Error::invalid("the layer of a class activation map", expected, got));
            }
        }
        Ok((layer.clone(), self.opened(layer)?))
    }

    /// Everything recorded, by name.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record(["pool1", "logits"]);
    /// run(&model, image, &mut taps)?;
    /// assert!(taps.into_recorded().keys().eq(["logits", "pool1"]));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn into_recorded(self) -> BTreeMap<String, Tensor<4>> {
        self.recorded
    }

    /// The names of the layers met, in order.
    ///
    /// ```
    /// use vis::model::{Model, Taps, run};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut taps = Taps::new().record(["pool1"]);
    /// run(&model, image, &mut taps)?;
    /// assert_eq!(taps.seen(), ["conv1", "pool1"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// The number of rectifiers met; with a leaf [opened](Self::open), of those met since.
    #[cfg(all(test, feature = "capture"))]
    pub(crate) fn rectifiers(&self) -> usize {
        self.rectifiers
    }

    /// Everything recorded so far.
    pub(crate) fn recorded(&self) -> &BTreeMap<String, Tensor<4>> {
        &self.recorded
    }

    pub(crate) fn into_table(self) -> Vec<Layer> {
        self.table
    }

    /// Whether every layer wanted was met, and a special rule met a rectifier.
    pub(crate) fn check_met(&self) -> Result<()> {
        if let Some(name) = self.wanted.first() {
            return Err(self.unknown(name));
        }
        // Redirection wakes dead units, and without rectifiers there are none.
        let plain = matches!(self.rule, Rule::Plain | Rule::Redirected);
        if !plain && self.rectifiers == 0 {
            let layer = self.seen.last().cloned().unwrap_or_default();
            let above = self.opened.keys().next().cloned();
            return Err(Error::NoRectifier { rule: self.rule.name(), layer, above });
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        Error::unknown_layer(name, self.seen.clone())
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps")
            .field("wanted", &self.wanted)
            .field("recorded", &self.recorded.keys())
            .field("seen", &self.seen)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

/// Any activation as `[batch, channels, height, width]`.
fn as_map<const D: usize>(x: Tensor<D>) -> Tensor<4> {
    let dims = x.dims();
    let shape = match *dims.as_slice() {
        [batch, channels, height, width] => [batch, channels, height, width],
        [batch, channels, length] => [batch, channels, length, 1],
        [batch, features] => [batch, features, 1, 1],
        _ => panic!(
            "a layer is [batch, channels, height, width], [batch, channels, length] or [batch, features], not {dims:?}"
        ),
    };
    x.reshape(shape)
}

/// The inverse of [`as_map`] for a map that may have another batch than `like`.
fn from_map<const D: usize>(map: Tensor<4>, like: &Tensor<D>) -> Tensor<D> {
    let mut shape = like.dims();
    shape[0] = map.dims()[0];
    map.reshape(shape)
}
