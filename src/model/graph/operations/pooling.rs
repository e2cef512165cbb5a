//! Pooling: the maximum, mean or norm of windows.

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::Tensor;

use super::super::value::{Real, Value, strides};
use super::convolution::Geometry;
use super::slice::padded;
use super::{Inputs, Outcome, Scope};
#[cfg(feature = "flex")]
use crate::convolution;
use crate::model::layers;

/// What is made of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Pooling {
    Max,
    /// The mean; whether the zeros around count.
    Average {
        with_border: bool,
    },
    /// `(Σ |x|ᵖ)^(1/p)`.
    Norm(f32),
}

/// How the places of the maxima are counted: over the whole input, the last axis or the first of an image fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Winners {
    RowByRow,
    ColumnByColumn,
}

/// Windows that move over an image.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Pool {
    pub(in super::super) pooling: Pooling,
    pub(in super::super) kernel: Vec<usize>,
    pub(in super::super) geometry: Geometry,
    /// Whether a last window may reach over the edge.
    pub(in super::super) ceil: bool,
    /// Whether the places of the maxima are wanted as well, and in which order they are counted.
    pub(in super::super) winners: Option<Winners>,
}

impl Pooling {
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Max => "max pooling",
            Self::Average { .. } => "average pooling",
            Self::Norm(_) => "norm pooling",
        }
    }

    /// One number for every channel.
    pub(super) fn everywhere(self, inputs: Inputs) -> Outcome<Value> {
        let x = inputs.real(0)?;
        if x.rank() < 3 {
            return Err(format!("it takes rank 3 or more, not {:?}", x.shape()));
        }
        let mut shape = x.shape().to_vec();
        let pixels = shape[2..].iter().product();
        let x = x.reshape(&[shape[0], shape[1], pixels])?.tensor();
        let y = match self {
            Self::Max => Dispatch::float_max_dim(x, 2),
            Self::Average { .. } => Dispatch::float_mean_dim(x, 2),
            Self::Norm(p) => {
                let sum =
                    Dispatch::float_sum_dim(Dispatch::float_powf_scalar(Dispatch::float_abs(x), p.into()), 2);
                Dispatch::float_powf_scalar(sum, (1.0 / p).into())
            }
        };
        shape[2..].fill(1);
        Real::new(y, vec![shape[0], shape[1], 1]).reshape(&shape).map(Value::from)
    }
}

impl Pool {
    pub(super) fn run(&self, inputs: Inputs, scope: &mut Scope) -> Outcome {
        let x = inputs.real(0)?;
        let shape = x.shape().to_vec();
        if shape.len() < 3
            || shape.len() > 5
            || self.kernel.len() + 2 != shape.len()
            || self.kernel.contains(&0)
        {
            return Err(format!("a window of {:?} does not fit an input of shape {shape:?}", self.kernel));
        }
        let size = &shape[2..];
        let geometry = self.geometry.checked(size.len())?;
        let padding = geometry.padding(size, &self.kernel);
        let mut places = geometry.places(size, &self.kernel, &padding)?;
        // How far the last window reaches over the edge.
        let mut over = vec![0; size.len()];
        if self.ceil {
            for axis in 0..size.len() {
                let (before, after) = padding[axis];
                let reach = (self.kernel[axis] - 1) * geometry.dilation[axis] + 1;
                let padded = size[axis] + before + after;
                let stride = geometry.stride[axis];
                let mut count = (padded - reach).div_ceil(stride) + 1;
                if (count - 1) * stride >= size[axis] + before {
                    count -= 1;
                }
                places[axis] = count;
                over[axis] = ((count - 1) * stride + reach).saturating_sub(padded);
            }
        }
        if self.pooling == Pooling::Max
            && (0..size.len()).any(|axis| padding[axis].0 >= self.reach(&geometry, axis))
        {
            return Err("a window lies in the border".into());
        }
        let mut output = vec![shape[0], shape[1]];
        output.extend(&places);
        scope.fits(&output)?;
        scope.takes(&[&output[..], &self.kernel[..]].concat())?;
        let padded_size: Vec<usize> =
            (0..size.len()).map(|axis| size[axis] + padding[axis].0 + padding[axis].1 + over[axis]).collect();
        scope.fits(&[&shape[..2], &padded_size[..]].concat())?;

        let all = |list: &[usize], value: usize| list.iter().all(|item| *item == value);
        let plain = padding.iter().all(|pair| *pair == (0, 0)) && all(&over, 0) && all(&geometry.dilation, 1);
        if plain
            && size.len() == 2
            && self.kernel == [2, 2]
            && geometry.stride == [2, 2]
            && self.pooling == Pooling::Max
        {
            let y = layers::max_pool_2x2(x.ranked(), scope.taps);
            let mut outputs = vec![Real::from_tensor(y).into()];
            outputs.extend(self.winners(&x, &geometry, &padding, &output));
            return Ok(outputs);
        }
        let winners = self.winners(&x, &geometry, &padding, &output);
        #[cfg(feature = "flex")]
        if let Some(y) = self.by_kernel(&x, &geometry, &padding, &output) {
            let mut outputs = vec![y?.into()];
            outputs.extend(winners);
            return Ok(outputs);
        }
        let filler = if self.pooling == Pooling::Max { f32::NEG_INFINITY } else { 0.0 };
        let mut around = vec![(0, 0), (0, 0)];
        around.extend(padding.iter().zip(&over).map(|((before, after), over)| (*before, after + over)));
        let x = match self.pooling {
            Pooling::Norm(p) => x.map(|x| Dispatch::float_powf_scalar(Dispatch::float_abs(x), p.into())),
            _ => x,
        };
        let x = padded(&x, &around, filler);
        // Windows are separable: two axes at a time, the others among the channels.
        let y = match size.len() {
            1 => {
                let x = x.reshape(&[shape[0], shape[1], padded_size[0], 1])?;
                self.plane(&x, [self.kernel[0], 1], [geometry.stride[0], 1], [geometry.dilation[0], 1])?
            }
            2 => self.plane(&x, pair(&self.kernel), pair(&geometry.stride), pair(&geometry.dilation))?,
            _ => {
                let x = x.reshape(&[shape[0], shape[1] * padded_size[0], padded_size[1], padded_size[2]])?;
                let inner = self.plane(
                    &x,
                    pair(&self.kernel[1..]),
                    pair(&geometry.stride[1..]),
                    pair(&geometry.dilation[1..]),
                )?;
                let pixels = places[1] * places[2];
                let x = inner.reshape(&[shape[0], shape[1], padded_size[0], pixels])?;
                self.plane(&x, [self.kernel[0], 1], [geometry.stride[0], 1], [geometry.dilation[0], 1])?
            }
        };
        let mut y = y.reshape(&output)?;
        let window: usize = self.kernel.iter().product();
        match self.pooling {
            Pooling::Max => {}
            Pooling::Norm(p) => {
                y = y.map(|y| {
                    let sum = Dispatch::float_mul_scalar(y, (window as f32).into());
                    Dispatch::float_powf_scalar(sum, (1.0 / p).into())
                });
            }
            Pooling::Average { with_border } if !plain => {
                // The mean counts the places that are there.
                for axis in 0..size.len() {
                    let counts =
                        self.counts(&geometry, axis, (size[axis], padding[axis]), with_border, places[axis]);
                    let factors: Vec<f32> =
                        counts.iter().map(|count| self.kernel[axis] as f32 / *count as f32).collect();
                    let mut shape = vec![1; output.len()];
                    shape[2 + axis] = places[axis];
                    let factors = Real::from_host(shape, factors, scope.device)?;
                    y = y.zip(&factors, Dispatch::float_mul)?;
                }
            }
            Pooling::Average { .. } => {}
        }
        let mut outputs = vec![y.into()];
        outputs.extend(winners);
        Ok(outputs)
    }

    /// How many places of each window count, along an axis.
    fn counts(
        &self,
        geometry: &Geometry,
        axis: usize,
        (size, (before, after)): (usize, (usize, usize)),
        with_border: bool,
        places: usize,
    ) -> Vec<usize> {
        let counted = if with_border { 0..size + before + after } else { before..before + size };
        let inside = |place: usize| {
            let start = place * geometry.stride[axis];
            let counts = |k: &usize| counted.contains(&(start + k * geometry.dilation[axis]));
            (0..self.kernel[axis]).filter(counts).count().max(1)
        };
        (0..places).map(inside).collect()
    }

    /// By a kernel of our own, where there is one: one or two axes, and windows that are not too large.
    #[cfg(feature = "flex")]
    fn by_kernel(
        &self,
        x: &Real,
        geometry: &Geometry,
        padding: &[(usize, usize)],
        output: &[usize],
    ) -> Option<Outcome<Real>> {
        let shape = x.shape();
        let axes = shape.len() - 2;
        if axes > 2 || matches!(self.pooling, Pooling::Norm(_)) {
            return None;
        }
        // One axis is a row.
        let two = |list: &[usize], filler: usize| match list {
            [one] => [filler, *one],
            list => pair(list),
        };
        let before: Vec<usize> = padding.iter().map(|(before, _)| *before).collect();
        let windows = vis_kernels::Windows {
            size: two(&shape[2..], 1),
            kernel: two(&self.kernel, 1),
            stride: two(&geometry.stride, 1),
            dilation: two(&geometry.dilation, 1),
            before: two(&before, 0),
            count: two(&output[2..], 1),
        };
        if !windows.suits() {
            return None;
        }
        let operation = match self.pooling {
            Pooling::Average { with_border } => {
                let shares = |axis: usize| -> Vec<f32> {
                    let around = (shape[2 + axis], padding[axis]);
                    let counts = self.counts(geometry, axis, around, with_border, output[2 + axis]);
                    counts.iter().map(|count| 1.0 / *count as f32).collect()
                };
                let shares = if axes == 1 { [vec![1.0], shares(0)] } else { [shares(0), shares(1)] };
                convolution::Unary::Mean(windows, shares.into())
            }
            _ => convolution::Unary::Max(windows),
        };
        let planes = x.reshape(&[shape[0], shape[1], windows.size[0], windows.size[1]]);
        let planes = match planes {
            Ok(planes) => planes.tensor(),
            Err(reason) => return Some(Err(reason)),
        };
        convolution::is_own(&planes).then(|| {
            let y = convolution::apply(planes, operation);
            Real::new(y, vec![shape[0], shape[1], windows.count[0], windows.count[1]]).reshaped_as(output)
        })
    }

    /// The places of the maxima, if they are wanted.
    fn winners(
        &self,
        x: &Real,
        geometry: &Geometry,
        padding: &[(usize, usize)],
        output: &[usize],
    ) -> Option<Value> {
        let order = self.winners?;
        let (values, shape) = (x.to_floats(), x.shape());
        let (size, places) = (&shape[2..], &output[2..]);
        let (pixels, windows) = (size.iter().product::<usize>(), places.iter().product::<usize>());
        let (from, to, within) = (strides(size), strides(places), strides(&self.kernel));
        let counted: Vec<usize> = match order {
            Winners::RowByRow => from.clone(),
            Winners::ColumnByColumn => (0..size.len()).map(|axis| size[..axis].iter().product()).collect(),
        };
        let mut found = Vec::with_capacity(shape[0] * shape[1] * windows);
        for plane in 0..shape[0] * shape[1] {
            for window in 0..windows {
                let mut best: Option<(f32, usize)> = None;
                for k in 0..self.kernel.iter().product() {
                    let place = |axis: usize| {
                        let start = window / to[axis] % places[axis] * geometry.stride[axis];
                        let inside = k / within[axis] % self.kernel[axis] * geometry.dilation[axis];
                        (start + inside).checked_sub(padding[axis].0).filter(|place| *place < size[axis])
                    };
                    let Some(at) = (0..size.len()).map(place).collect::<Option<Vec<_>>>() else { continue };
                    let sum = |strides: &[usize]| {
                        at.iter().zip(strides).map(|(at, stride)| at * stride).sum::<usize>()
                    };
                    let value = values[plane * pixels + sum(&from)];
                    if best.is_none_or(|(so_far, _)| value > so_far) {
                        best = Some((value, plane * pixels + sum(&counted)));
                    }
                }
                found.push(best.map_or(0, |(_, place)| place as i64));
            }
        }
        Some(Value::ints(output, found))
    }

    fn reach(&self, geometry: &Geometry, axis: usize) -> usize {
        (self.kernel[axis] - 1) * geometry.dilation[axis] + 1
    }

    /// Windows over the last two axes of a padded input; the mean of every window, or its maximum.
    fn plane(&self, x: &Real, kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Outcome<Real> {
        let tensor = x.tensor();
        let y = match self.pooling {
            Pooling::Max => Dispatch::max_pool2d(tensor, kernel, stride, [0, 0], dilation, false),
            _ if dilation == [1, 1] => Dispatch::avg_pool2d(tensor, kernel, stride, [0, 0], true, false),
            _ => {
                // A mean with holes is a convolution.
                let [batch, channels, height, width] = *x.shape() else {
                    return Err("a plane has rank 4".into());
                };
                let image: Tensor<4> = x.reshape(&[batch * channels, 1, height, width])?.ranked();
                let share = 1.0 / (kernel[0] * kernel[1]) as f32;
                let weight = Tensor::<4>::full([1, 1, kernel[0], kernel[1]], share, &image.device());
                let options = burn::tensor::ops::ConvOptions::new(stride, [0, 0], dilation, 1);
                let y = burn::tensor::module::conv2d(image, weight, None::<Tensor<1>>, options);
                let [_, _, height, width] = y.dims();
                return Real::from_tensor(y).reshape(&[batch, channels, height, width]);
            }
        };
        let shape = Tensor::<4>::from_dispatch(y.clone()).dims();
        Ok(Real::new(y, shape.to_vec()))
    }
}

fn pair(list: &[usize]) -> [usize; 2] {
    [list[0], list[1]]
}
