//! A map looked up at given points between its pixels.

use burn::tensor::{Int, Tensor, TensorData};

use super::super::value::{Real, Value};
use super::{Inputs, Outcome, Scope};

/// A map `[batch, channels, height, width]` at the points of a grid `[batch, rows, columns, 2]`: `x` and `y` from −1 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct GridSample {
    pub(in super::super) kernel: Kernel,
    pub(in super::super) outside: Outside,
    /// Whether −1 and 1 are the centres of the outer pixels, rather than their outer edges.
    pub(in super::super) align_corners: bool,
}

/// What is taken of the pixels around a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kernel {
    Nearest,
    Linear,
    Cubic,
}

/// What there is beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Outside {
    Zeros,
    Edge,
    Mirror,
}

/// A pixel that has a part in each point along an axis.
struct Neighbour {
    /// Its index, within the map.
    index: Vec<usize>,
    /// Its weight, `[batch, 1, points]`; 0 where it would lie outside and nothing is there.
    weight: Tensor<3>,
}

impl GridSample {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let (x, grid) = (inputs.real(0)?, inputs.real(1)?);
        let (&[batch, channels, height, width], &[of_grid, rows, columns, 2]) = (x.shape(), grid.shape())
        else {
            return Err(format!("a map of shape {:?} and a grid of shape {:?}", x.shape(), grid.shape()));
        };
        if of_grid != batch {
            return Err(format!(
                "a map of shape {:?} does not go with a grid of shape {:?}",
                x.shape(),
                grid.shape()
            ));
        }
        scope.fits(&[batch, channels, rows, columns])?;
        scope.takes(&[batch, channels, rows, columns, 16])?;
        let points = rows * columns;
        let pixels = x.ranked::<4>().reshape([batch, channels, height * width]);
        let grid = grid.ranked::<4>().reshape([batch, points, 2]);
        let axis = |place: usize, size: usize| {
            let along = grid.clone().narrow(2, place, 1).reshape([batch, 1, points]);
            self.neighbours(along, size)
        };
        let (horizontal, vertical) = (axis(0, width), axis(1, height));
        let mut sum: Option<Tensor<3>> = None;
        for row in &vertical {
            for column in &horizontal {
                let places: Vec<i32> = row
                    .index
                    .iter()
                    .zip(&column.index)
                    .map(|(row, column)| (row * width + column) as i32)
                    .collect();
                let places = TensorData::new(places, [batch, 1, points]);
                let places = Tensor::<3, Int>::from_data(places, scope.device).repeat_dim(1, channels);
                let part = pixels.clone().gather(2, places) * (row.weight.clone() * column.weight.clone());
                sum = Some(match sum {
                    Some(sum) => sum + part,
                    None => part,
                });
            }
        }
        let sum = sum.ok_or("no pixel is near any point")?;
        Ok(Real::from_tensor(sum.reshape([batch, channels, rows, columns])).into())
    }

    /// The pixels that each point takes along an axis; `points` are from −1 to 1, `[batch, 1, points]`.
    fn neighbours(&self, points: Tensor<3>, size: usize) -> Vec<Neighbour> {
        let limit = size as f32;
        let at = match self.align_corners {
            true => (points + 1.0) * ((limit - 1.0) / 2.0),
            false => ((points + 1.0) * limit - 1.0) * 0.5,
        };
        // A cubic looks beyond the edge; the others are brought inside first.
        let at = match (self.kernel, self.outside) {
            (Kernel::Cubic, _) | (_, Outside::Zeros) => at,
            (_, Outside::Edge) => at.clamp(0.0, limit - 1.0),
            (_, Outside::Mirror) => self.mirrored(at, size).clamp(0.0, limit - 1.0),
        };
        let shape = at.dims();
        let host = crate::host::values(at.clone());
        let device = at.device().inner();
        let whole: Vec<f32> = match self.kernel {
            Kernel::Nearest => host.iter().map(|at| at.round_ties_even()).collect(),
            _ => host.iter().map(|at| at.floor()).collect(),
        };
        let rest = at - Tensor::from_data(TensorData::new(whole.clone(), shape), &device);
        let neighbour = |step: i64, weight: Tensor<3>| {
            let index: Vec<i64> = whole.iter().map(|whole| (*whole as i64).saturating_add(step)).collect();
            let is_inside = |index: &i64| usize::try_from(*index).is_ok_and(|index| index < size);
            let weight = match self.outside {
                Outside::Zeros => {
                    let inside = index.iter().map(|index| f32::from(u8::from(is_inside(index)))).collect();
                    weight * Tensor::from_data(TensorData::new::<f32, _>(inside, shape), &device)
                }
                _ => weight,
            };
            let index = index.iter().map(|index| match self.outside {
                Outside::Mirror if !is_inside(index) => self.mirror(*index as f32, size).0.round() as i64,
                _ => *index,
            });
            let index = index.map(|index| index.clamp(0, size as i64 - 1) as usize).collect();
            Neighbour { index, weight }
        };
        match self.kernel {
            Kernel::Nearest => vec![neighbour(0, rest.ones_like())],
            Kernel::Linear => vec![neighbour(0, rest.clone().neg() + 1.0), neighbour(1, rest)],
            Kernel::Cubic => {
                // Keys's kernel with a = −3/4, at distances 1 + t, t, 1 − t and 2 − t.
                const A: f32 = -0.75;
                let near = |t: Tensor<3>| ((t.clone() * (A + 2.0)) - (A + 3.0)) * t.square() + 1.0;
                let far = |t: Tensor<3>| ((t.clone() * A - 5.0 * A) * t.clone() + 8.0 * A) * t - 4.0 * A;
                let back = rest.clone().neg();
                vec![
                    neighbour(-1, far(rest.clone() + 1.0)),
                    neighbour(0, near(rest)),
                    neighbour(1, near(back.clone() + 1.0)),
                    neighbour(2, far(back + 2.0)),
                ]
            }
        }
    }

    /// Points reflected at the outer edges until they are inside.
    fn mirrored(&self, at: Tensor<3>, size: usize) -> Tensor<3> {
        let (shape, device) = (at.dims(), at.device().inner());
        let host = crate::host::values(at.clone());
        let (mut signs, mut shifts) = (Vec::with_capacity(host.len()), Vec::with_capacity(host.len()));
        for value in host {
            let (inside, sign) = self.mirror(value, size);
            signs.push(sign);
            shifts.push(inside - sign * value);
        }
        let tensor = |values: Vec<f32>| Tensor::<3>::from_data(TensorData::new(values, shape), &device);
        at * tensor(signs) + tensor(shifts)
    }

    /// A point reflected at the outer edges until it is inside, and whether it then runs the other way.
    fn mirror(&self, at: f32, size: usize) -> (f32, f32) {
        let (low, high) =
            if self.align_corners { (0.0, size as f32 - 1.0) } else { (-0.5, size as f32 - 0.5) };
        let length = high - low;
        if length <= 0.0 || !at.is_finite() {
            return (0.0, 1.0);
        }
        let from_low = at - low;
        let times = (from_low / length).floor();
        let rest = from_low - times * length;
        if times.rem_euclid(2.0) == 0.0 { (low + rest, 1.0) } else { (high - rest, -1.0) }
    }
}
