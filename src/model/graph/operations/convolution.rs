//! Convolutions and transposed convolutions of one to three axes.

use std::sync::OnceLock;

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};
use burn::tensor::{Tensor, module};
use vis_kernels::Filters;

use super::super::value::{Real, Value};
use super::{Inputs, Outcome, Scope};
use crate::backprop::Rectifier;
use crate::convolution::FrozenConvolution;
use crate::model::Taps;
use crate::model::layers::{Convolution, Padding};

/// How the edges of an image are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Border {
    /// Zeros before every axis, then after every axis.
    Zeros(Vec<usize>),
    /// What makes the output as large as the input over the stride; an odd pixel goes after, or before.
    Same { odd_before: bool },
}

/// Where a window goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Geometry {
    pub(in super::super) stride: Vec<usize>,
    pub(in super::super) dilation: Vec<usize>,
    pub(in super::super) border: Border,
    pub(in super::super) groups: usize,
    /// For transposed convolutions: pixels added after every axis, and the size asked for.
    pub(in super::super) extra: Vec<usize>,
    pub(in super::super) output: Option<Vec<usize>>,
}

impl Geometry {
    /// The geometry for some axes, with what a file leaves out, checked.
    pub(super) fn checked(&self, axes: usize) -> Outcome<Self> {
        let filled = |what: &str, list: &[usize], default: usize| match list.len() {
            0 => Ok(vec![default; axes]),
            length if length == axes => Ok(list.to_vec()),
            length => Err(format!("{length} {what} for {axes} axes")),
        };
        let checked = Self {
            stride: filled("strides", &self.stride, 1)?,
            dilation: filled("dilations", &self.dilation, 1)?,
            border: match &self.border {
                Border::Zeros(zeros) if zeros.is_empty() => Border::Zeros(vec![0; 2 * axes]),
                Border::Zeros(zeros) if zeros.len() != 2 * axes => {
                    return Err(format!("{} pads for {axes} axes", zeros.len()));
                }
                border => border.clone(),
            },
            groups: self.groups,
            extra: filled("output paddings", &self.extra, 0)?,
            output: self.output.clone(),
        };
        if checked.stride.contains(&0) || checked.dilation.contains(&0) || checked.groups == 0 {
            return Err("a stride, a dilation and the number of groups must be at least 1".into());
        }
        let large = |list: &[usize]| list.iter().any(|value| *value > 1 << 24);
        let pads = if let Border::Zeros(zeros) = &checked.border { large(zeros) } else { false };
        if large(&checked.stride) || large(&checked.dilation) || large(&checked.extra) || pads {
            return Err("a stride, dilation or pad is larger than any image".into());
        }
        Ok(checked)
    }

    /// The zeros before and after each axis of an input of this size.
    pub(super) fn padding(&self, size: &[usize], kernel: &[usize]) -> Vec<(usize, usize)> {
        let axes = size.len();
        (0..axes)
            .map(|axis| match &self.border {
                Border::Zeros(zeros) => (zeros[axis], zeros[axes + axis]),
                Border::Same { odd_before } => {
                    let positions = size[axis].div_ceil(self.stride[axis]);
                    let reach = (kernel[axis] - 1) * self.dilation[axis] + 1;
                    let total =
                        ((positions.max(1) - 1) * self.stride[axis] + reach).saturating_sub(size[axis]);
                    let less = total / 2;
                    if *odd_before { (total - less, less) } else { (less, total - less) }
                }
            })
            .collect()
    }

    /// The number of places of the window along each axis.
    pub(super) fn places(
        &self,
        size: &[usize],
        kernel: &[usize],
        padding: &[(usize, usize)],
    ) -> Outcome<Vec<usize>> {
        (0..size.len())
            .map(|axis| {
                let padded = size[axis] + padding[axis].0 + padding[axis].1;
                let reach = (kernel[axis] - 1)
                    .checked_mul(self.dilation[axis])
                    .and_then(|reach| reach.checked_add(1))
                    .ok_or("a kernel is too large")?;
                if reach > padded {
                    return Err(format!("a kernel of reach {reach} does not fit an input of size {padded}"));
                }
                Ok((padded - reach) / self.stride[axis] + 1)
            })
            .collect()
    }
}

/// A convolution, its weights ready where the file holds them.
pub(in super::super) struct Conv {
    pub(in super::super) geometry: Geometry,
    /// The extents of the kernel as the file declares them, if it does.
    pub(in super::super) kernel: Vec<usize>,
    /// Whether the weights and the bias are constants.
    pub(in super::super) fixed: bool,
    /// Made at the first run, of fixed weights.
    pub(in super::super) ready: OnceLock<Option<Convolution>>,
    /// With what follows it.
    pub(in super::super) folded: Option<Folded>,
}

/// A convolution with the batch norm and the rectifier that follow it, in one.
pub(in super::super) struct Folded {
    pub(in super::super) weight: Value,
    pub(in super::super) bias: Option<Value>,
    pub(in super::super) rectifier: Option<Rectifier>,
    /// The nodes that follow, whose last gives the result.
    pub(in super::super) nodes: Vec<usize>,
    pub(in super::super) ready: OnceLock<Option<Convolution>>,
}

impl Conv {
    pub(in super::super) fn new(geometry: Geometry, kernel: Vec<usize>) -> Self {
        Self { geometry, kernel, fixed: false, ready: OnceLock::new(), folded: None }
    }

    /// The convolution alone.
    pub(super) fn run(&self, inputs: Inputs, scope: &mut Scope) -> Outcome<Value> {
        let (weight, bias) = (inputs.real(1)?, inputs.optional_real(2)?);
        self.convolve(&inputs.real(0)?, &weight, bias.as_ref(), None, &self.ready, scope)
    }

    /// With what follows it.
    pub(in super::super) fn run_folded(
        &self,
        folded: &Folded,
        inputs: Inputs,
        scope: &mut Scope,
    ) -> Outcome<Value> {
        let weight = folded.weight.real(scope.device)?;
        let bias = folded.bias.as_ref().map(|bias| bias.real(scope.device)).transpose()?;
        self.convolve(&inputs.real(0)?, &weight, bias.as_ref(), folded.rectifier, &folded.ready, scope)
    }

    fn convolve(
        &self,
        x: &Real,
        weight: &Real,
        bias: Option<&Real>,
        rectifier: Option<Rectifier>,
        ready: &OnceLock<Option<Convolution>>,
        scope: &mut Scope,
    ) -> Outcome<Value> {
        let (shape, kernel) = (x.shape().to_vec(), weight.shape().to_vec());
        if shape.len() < 3 || shape.len() > 5 || kernel.len() != shape.len() {
            return Err(format!(
                "an input of shape {shape:?} and weights of shape {kernel:?} make no convolution"
            ));
        }
        let size = &shape[2..];
        let geometry = self.geometry.checked(size.len())?;
        let groups = geometry.groups;
        if !self.kernel.is_empty() && self.kernel != kernel[2..] {
            return Err(format!(
                "a kernel of {:?} is declared, the weights have {:?}",
                self.kernel,
                &kernel[2..]
            ));
        }
        if kernel.contains(&0) || kernel[1].checked_mul(groups) != Some(shape[1]) || kernel[0] % groups != 0 {
            return Err(format!(
                "an input of {} channels, weights of shape {kernel:?} and {groups} groups don't go together",
                shape[1]
            ));
        }
        if let Some(bias) = bias
            && bias.shape() != [kernel[0]]
        {
            return Err(format!("a bias of shape {:?} for {} channels", bias.shape(), kernel[0]));
        }
        let padding = geometry.padding(size, &kernel[2..]);
        let places = geometry.places(size, &kernel[2..], &padding)?;
        let mut output = vec![shape[0], kernel[0]];
        output.extend(&places);
        scope.fits(&output)?;
        let mut padded = vec![shape[0], shape[1]];
        padded.extend(size.iter().zip(&padding).map(|(size, (before, after))| size + before + after));
        scope.fits(&padded)?;
        scope.takes(&[&output[..], &kernel[1..]].concat())?;

        // One axis is a map of width 1.
        let flat = |real: &Real| {
            let mut shape = real.shape().to_vec();
            shape.push(1);
            real.reshape(&shape)
        };
        if size.len() == 3 {
            let y = volume(x, weight, bias, &geometry, &padding)?;
            let y = rectified(y, rectifier, scope);
            return Ok(Real::new(y.into_dispatch(), output).into());
        }
        let (image, weight, padding) = if size.len() == 1 {
            (flat(x)?, flat(weight)?, vec![padding[0], (0, 0)])
        } else {
            (x.clone(), weight.clone(), padding)
        };
        let pair = |list: &[usize]| [list[0], list.get(1).copied().unwrap_or(1)];
        let (stride, dilation) = (pair(&geometry.stride), pair(&geometry.dilation));
        let image: Tensor<4> = image.ranked();
        let around = [0, 1].map(|axis| <[usize; 2]>::from(padding[axis]));
        let make = || {
            let padding = match &geometry.border {
                Border::Same { odd_before: false } => Padding::Same,
                _ => Padding::Around(around),
            };
            let bias = bias.map(Real::ranked::<1>);
            let convolution = Convolution::new(weight.ranked(), bias).with_padding(padding);
            let convolution = convolution.spaced(stride, dilation);
            convolution.filters(image.dims()[1]).is_ok().then_some(convolution)
        };
        let made = if self.fixed { ready.get_or_init(make).as_ref() } else { None };
        // The padding may be another for an image of another size.
        let fits = |made: &&Convolution| {
            let [batch, channels, height, width] = image.dims();
            let sizes = made.filters(channels).and_then(|filters| filters.on(batch, [height, width]));
            sizes.is_ok_and(|sizes| sizes.zeros_around() == around)
        };
        let y = match made.filter(fits) {
            Some(convolution) => match rectifier {
                Some(rectifier) => convolution.rectified(image, scope.taps, rectifier),
                None => convolution.forward(image, scope.taps),
            },
            None => {
                let options =
                    ConvOptions::new_with_padding(stride, [padding[0], padding[1]], dilation, groups);
                let bias = bias.map(Real::ranked::<1>);
                let y = module::conv2d(image, weight.ranked(), bias, options);
                scope.taps.describe("convolution", weight.shape().iter().product());
                rectified(y, rectifier, scope)
            }
        };
        Ok(Real::new(y.into_dispatch(), vec![output[0], output[1], 1, 1]).reshaped_as(&output)?.into())
    }
}

fn rectified<const D: usize>(y: Tensor<D>, rectifier: Option<Rectifier>, scope: &mut Scope) -> Tensor<D> {
    match rectifier {
        Some(rectifier) => Taps::rectify(scope.taps, y, rectifier),
        None => y,
    }
}

/// A convolution over three axes.
fn volume(
    x: &Real,
    weight: &Real,
    bias: Option<&Real>,
    geometry: &Geometry,
    padding: &[(usize, usize)],
) -> Outcome<Tensor<5>> {
    let mut around = vec![(0, 0), (0, 0)];
    around.extend(padding);
    let x = if padding.iter().any(|pair| *pair != (0, 0)) {
        Dispatch::float_pad(x.tensor(), &around, PadMode::Constant(0.0))
    } else {
        x.tensor()
    };
    let three = |list: &[usize]| [list[0], list[1], list[2]];
    let options =
        ConvOptions::new(three(&geometry.stride), [0; 3], three(&geometry.dilation), geometry.groups);
    let bias = bias.map(Real::tensor);
    Ok(Tensor::from_dispatch(Dispatch::conv3d(x, weight.tensor(), bias, options)))
}

/// A transposed convolution of one to three axes.
pub(in super::super) struct Transposed {
    pub(in super::super) geometry: Geometry,
    /// Whether the weights and the bias are constants.
    pub(in super::super) fixed: bool,
    /// Made at the first run, of fixed weights.
    ready: OnceLock<Option<FrozenConvolution>>,
}

impl Transposed {
    pub(in super::super) fn new(geometry: Geometry) -> Self {
        Self { geometry, fixed: false, ready: OnceLock::new() }
    }

    /// By a kernel of our own, if there is one that cuts so much off the whole.
    fn by_kernel(
        &self,
        geometry: &Geometry,
        (x, weight, bias): (&Real, &Real, Option<&Real>),
        cut: &[(i64, i64)],
        output: &[usize],
    ) -> Option<Outcome<Value>> {
        let pad = |real: &Real| {
            let mut shape = real.shape().to_vec();
            shape.resize(4, 1);
            real.reshape(&shape)
        };
        if !self.fixed || cut.len() > 2 {
            return None;
        }
        let mut zeros = [[0; 2]; 2];
        let (mut stride, mut dilation) = ([1; 2], [1; 2]);
        for (axis, (before, after)) in cut.iter().enumerate() {
            // What is added after the last window is less than a stride: the convolution back leaves it out.
            if *before < 0 || -after >= geometry.stride[axis] as i64 {
                return None;
            }
            zeros[axis] = [*before as usize, (*after).max(0) as usize];
            (stride[axis], dilation[axis]) = (geometry.stride[axis], geometry.dilation[axis]);
        }
        let (image, weight) = (pad(x).ok()?, pad(weight).ok()?);
        let weight: Tensor<4> = weight.ranked();
        let channels = output[1];
        let filters = Filters::new(weight.dims(), channels, 1, Padding::Around(zeros)).ok()?;
        let filters = filters.spaced(stride, dilation).ok()?;
        let made = self.ready.get_or_init(|| {
            let bias = bias.map(Real::ranked::<1>);
            FrozenConvolution::transposed(&weight, bias.as_ref(), filters)
        });
        let made = made.as_ref().filter(|made| *made.filters() == filters)?;
        let image: Tensor<4> = image.ranked();
        let [batch, _, height, width] = image.dims();
        let size = [output[2], output.get(3).copied().unwrap_or(1)];
        // The convolution that this is the transpose of leads back to the image.
        let back = filters.on(batch, size).ok()?.output();
        if back != [batch, x.shape()[1], height, width] {
            return None;
        }
        let y = made.spread(image, size, None);
        Some(Real::from_tensor(y).reshaped_as(output).map(Value::from))
    }

    pub(super) fn run(&self, inputs: Inputs, scope: &mut Scope) -> Outcome<Value> {
        let geometry = &self.geometry;
        let (x, weight, bias) = (inputs.real(0)?, inputs.real(1)?, inputs.optional_real(2)?);
        let (shape, kernel) = (x.shape().to_vec(), weight.shape().to_vec());
        if shape.len() < 3 || shape.len() > 5 || kernel.len() != shape.len() || kernel.contains(&0) {
            return Err(format!(
                "an input of shape {shape:?} and weights of shape {kernel:?} make no convolution"
            ));
        }
        let axes = shape.len() - 2;
        let geometry = geometry.checked(axes)?;
        if kernel[0] != shape[1] || !shape[1].is_multiple_of(geometry.groups) {
            return Err(format!(
                "an input of {} channels, weights of shape {kernel:?} and {} groups don't go together",
                shape[1], geometry.groups
            ));
        }
        let channels = kernel[1].checked_mul(geometry.groups).ok_or("too many channels")?;
        if let Some(bias) = &bias
            && bias.shape() != [channels]
        {
            return Err(format!("a bias of shape {:?} for {channels} channels", bias.shape()));
        }
        // The whole of what the windows reach, then what the padding takes away.
        let full: Vec<usize> = (0..axes)
            .map(|axis| {
                let reach = (kernel[2 + axis] - 1).checked_mul(geometry.dilation[axis])?.checked_add(1)?;
                (shape[2 + axis] - 1).checked_mul(geometry.stride[axis])?.checked_add(reach)
            })
            .collect::<Option<_>>()
            .ok_or("the output is too large")?;
        let cut: Vec<(i64, i64)> = (0..axes)
            .map(|axis| {
                let (full, extra, stride) =
                    (full[axis] as i64, geometry.extra[axis] as i64, geometry.stride[axis]);
                let total = match (&geometry.output, &geometry.border) {
                    (Some(output), _) => {
                        let size = *output.get(axis).ok_or("the output shape lacks an axis")?;
                        full + extra - size as i64
                    }
                    (None, Border::Zeros(zeros)) => {
                        return Ok((zeros[axis] as i64, zeros[axes + axis] as i64 - extra));
                    }
                    (None, Border::Same { .. }) => full + extra - (shape[2 + axis] * stride) as i64,
                };
                let odd_before = !matches!(geometry.border, Border::Same { odd_before: false });
                // What is asked for beyond the reach of the windows comes after.
                let before = if total < 0 {
                    0
                } else if odd_before {
                    total - total / 2
                } else {
                    total / 2
                };
                Ok::<_, String>((before, total - before - extra))
            })
            .collect::<Outcome<_>>()?;
        let mut output = vec![shape[0], channels];
        for (full, (before, after)) in full.iter().zip(&cut) {
            output.push(
                usize::try_from(*full as i64 - before - after).map_err(|_| "its output would be empty")?,
            );
        }
        scope.fits(&output)?;
        let mut whole = vec![shape[0], channels];
        whole.extend(&full);
        scope.fits(&whole)?;
        scope.takes(&[&shape[..], &kernel[1..]].concat())?;

        if let Some(y) = self.by_kernel(&geometry, (&x, &weight, bias.as_ref()), &cut, &output) {
            return y;
        }
        let bias = bias.map(|bias| bias.tensor());
        let y = match axes {
            3 => {
                let three = |list: &[usize]| [list[0], list[1], list[2]];
                let options = ConvTransposeOptions::new(
                    three(&geometry.stride),
                    [0; 3],
                    [0; 3],
                    three(&geometry.dilation),
                    geometry.groups,
                );
                Dispatch::conv_transpose3d(x.tensor(), weight.tensor(), bias, options)
            }
            _ => {
                let flat = |real: &Real| {
                    let mut shape = real.shape().to_vec();
                    shape.resize(4, 1);
                    real.reshape(&shape)
                };
                let pair = |list: &[usize]| [list[0], list.get(1).copied().unwrap_or(1)];
                let options = ConvTransposeOptions::new(
                    pair(&geometry.stride),
                    [0; 2],
                    [0; 2],
                    pair(&geometry.dilation),
                    geometry.groups,
                );
                Dispatch::conv_transpose2d(flat(&x)?.tensor(), flat(&weight)?.tensor(), bias, options)
            }
        };
        let y = Real::new(y, vec![]).reshaped_as(&whole)?;
        super::slice::crop_or_pad(&y, &{
            let mut around = vec![(0, 0), (0, 0)];
            around.extend(cut.iter().map(|(before, after)| (-before, -after)));
            around
        })
        .map(Value::from)
    }
}
