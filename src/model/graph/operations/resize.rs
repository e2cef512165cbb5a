//! Resizing, axis by axis: a choice of places, or a product with a small matrix.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Real, Value};
use super::slice::select;
use super::{Inputs, Outcome, Scope, axis, size};

/// How a number between pixels is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Interpolation {
    Nearest(Rounding),
    Linear,
    Cubic(f32),
}

/// Which pixel is nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
}

/// Where in the input a pixel of the output lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    TfHalfPixelForNearest,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

/// A resizing.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Resize {
    pub(in super::super) interpolation: Interpolation,
    pub(in super::super) coordinates: Coordinates,
    pub(in super::super) antialias: bool,
    /// Whether pixels outside the image have no weight, instead of being those at the edge.
    pub(in super::super) exclude_outside: bool,
    pub(in super::super) extrapolation: f32,
    pub(in super::super) axes: Option<Vec<i64>>,
    /// Whether the sizes are bounds, within which the shape is kept: the larger or the smaller.
    pub(in super::super) keep_ratio: Option<bool>,
}

impl Resize {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let value = inputs.get(0)?;
        let shape = value.shape().to_vec();
        let rank = shape.len();
        let along = match &self.axes {
            Some(list) => list.iter().map(|index| axis(*index, rank)).collect::<Outcome<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        let list = |index: usize| -> Outcome<Option<Vec<f32>>> {
            match inputs.optional(index).map(Value::host) {
                Some(host) if host.len() == 0 => Ok(None),
                Some(host) if host.len() == along.len() => Ok(Some(host.to_floats())),
                Some(host) => Err(format!("{} scales or sizes for {} axes", host.len(), along.len())),
                None => Ok(None),
            }
        };
        let (scales, sizes) = (list(2)?, list(3)?);
        let crop = match inputs.optional(1).map(Value::host) {
            Some(host) if self.coordinates == Coordinates::CropAndResize => {
                let crop = host.to_floats();
                if crop.len() != 2 * along.len() {
                    return Err(format!("a region of {} numbers for {} axes", crop.len(), along.len()));
                }
                crop
            }
            None if self.coordinates == Coordinates::CropAndResize => {
                return Err("the region is missing".into());
            }
            _ => [vec![0.0; along.len()], vec![1.0; along.len()]].concat(),
        };
        let mut plans = Vec::new();
        let mut output = shape.clone();
        let common = match (&sizes, self.keep_ratio) {
            (Some(sizes), Some(not_larger)) => {
                let ratios = along.iter().zip(sizes).map(|(axis, size)| size / shape[*axis] as f32);
                Some(if not_larger { ratios.fold(f32::MAX, f32::min) } else { ratios.fold(0.0, f32::max) })
            }
            _ => None,
        };
        for (place, axis) in along.iter().enumerate() {
            let length = shape[*axis];
            let (scale, new) = match (&scales, &sizes, common) {
                (_, Some(_), Some(ratio)) => (ratio, (ratio * length as f32 + 0.5).floor()),
                (Some(scales), _, _) => {
                    let part = crop[along.len() + place] - crop[place];
                    (scales[place], (length as f32 * part * scales[place]).floor())
                }
                (None, Some(sizes), _) => (sizes[place] / length as f32, sizes[place]),
                (None, None, _) => return Err("neither scales nor sizes are given".into()),
            };
            if !(scale > 0.0 && (1.0..1e9).contains(&new)) {
                return Err(format!("a size of {length} can't be scaled by {scale}"));
            }
            output[*axis] = size(new as i64)?;
            plans.push((*axis, scale, (crop[place], crop[along.len() + place])));
        }
        scope.fits(&output)?;
        let mut result = value.clone();
        for (axis, scale, crop) in plans {
            let (from, to) = (shape[axis], output[axis]);
            if from == to && scale == 1.0 && crop == (0.0, 1.0) {
                continue;
            }
            result = self.along(&result, axis, to, f64::from(scale), crop, scope)?;
        }
        Ok(result)
    }

    fn along(
        &self,
        value: &Value,
        axis: usize,
        to: usize,
        scale: f64,
        crop: (f32, f32),
        scope: &Scope,
    ) -> Outcome<Value> {
        let from = value.shape()[axis];
        let coordinates: Vec<f64> =
            (0..to).map(|k| self.coordinate(k as f64, from, to, scale, crop)).collect();
        let last = from as f64 - 1.0;
        let outside = |c: f64| self.coordinates == Coordinates::CropAndResize && !(0.0..=last).contains(&c);
        if let Interpolation::Nearest(rounding) = self.interpolation
            && !coordinates.iter().any(|c| outside(*c))
        {
            let nearest = |c: &f64| {
                let c = match rounding {
                    Rounding::Floor => c.floor(),
                    Rounding::Ceil => c.ceil(),
                    Rounding::HalfDown => (c - 0.5).ceil(),
                    Rounding::HalfUp => (c + 0.5).floor(),
                };
                c.clamp(0.0, last) as usize
            };
            let places: Vec<usize> = coordinates.iter().map(nearest).collect();
            return select(value, axis, &places, Some(scope.device));
        }
        scope.fits(&[from, to])?;
        let mut matrix = vec![0f32; from * to];
        let mut filler = vec![0f32; to];
        for (k, c) in coordinates.iter().enumerate() {
            if outside(*c) {
                filler[k] = self.extrapolation;
                continue;
            }
            for (place, weight) in self.weights(*c, from, scale) {
                matrix[place * to + k] += weight as f32;
            }
        }
        let matrix = Real::from_host(vec![from, to], matrix, scope.device)?;
        let x = value.real(scope.device)?;
        let mut order: Vec<usize> = (0..x.rank()).collect();
        order.swap(axis, x.rank() - 1);
        let moved = x.transpose(&order);
        let mut y = super::linear::product(&moved, &matrix, scope)?;
        if filler.iter().any(|value| *value != 0.0) {
            y = y.zip(&Real::from_host(vec![to], filler, scope.device)?, Dispatch::float_add)?;
        }
        Ok(y.transpose(&order).into())
    }

    fn coordinate(&self, k: f64, from: usize, to: usize, scale: f64, (start, end): (f32, f32)) -> f64 {
        let (length, resized) = (from as f64, to as f64);
        // The size before it was rounded.
        let exact = length * scale;
        match self.coordinates {
            Coordinates::HalfPixel => (k + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                // The rounding of the size is shared by both ends.
                length / 2.0 * (1.0 - resized / exact) + (k + 0.5) / scale - 0.5
            }
            Coordinates::PytorchHalfPixel if to == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (k + 0.5) / scale - 0.5,
            Coordinates::TfHalfPixelForNearest => (k + 0.5) / scale,
            Coordinates::AlignCorners if to == 1 || exact <= 1.0 => 0.0,
            Coordinates::AlignCorners => k * (length - 1.0) / (exact - 1.0),
            Coordinates::Asymmetric => k / scale,
            Coordinates::CropAndResize => {
                let (start, end) = (f64::from(start), f64::from(end));
                if to == 1 {
                    0.5 * (start + end) * (length - 1.0)
                } else {
                    start * (length - 1.0) + k * (end - start) * (length - 1.0) / (resized - 1.0)
                }
            }
        }
    }

    /// The pixels that a place is made of, with their weights.
    fn weights(&self, c: f64, from: usize, scale: f64) -> Vec<(usize, f64)> {
        let last = from as i64 - 1;
        let cubic = |a: f64, d: f64| {
            let d = d.abs();
            if d <= 1.0 {
                ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
            } else if d < 2.0 {
                ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
            } else {
                0.0
            }
        };
        let (reach, kernel): (f64, Box<dyn Fn(f64) -> f64>) = match self.interpolation {
            Interpolation::Cubic(a) => (2.0, Box::new(move |d| cubic(f64::from(a), d))),
            Interpolation::Linear => (1.0, Box::new(|d: f64| (1.0 - d.abs()).max(0.0))),
            Interpolation::Nearest(_) => (0.5, Box::new(|d: f64| f64::from(u8::from(d.abs() <= 0.5)))),
        };
        let shrink = if self.antialias { scale.min(1.0) } else { 1.0 };
        let base = c.floor() as i64;
        let span = (reach / shrink).ceil() as i64;
        let mut weights: Vec<(i64, f64)> = (base - span..=base + span + 1)
            .map(|k| (k, kernel((k as f64 - c) * shrink)))
            .filter(|(_, w)| *w != 0.0)
            .collect();
        if self.exclude_outside {
            weights.retain(|(k, _)| (0..=last).contains(k));
        }
        if self.exclude_outside || self.antialias {
            let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
            weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        weights.into_iter().map(|(k, weight)| (k.clamp(0, last) as usize, weight)).collect()
    }
}
