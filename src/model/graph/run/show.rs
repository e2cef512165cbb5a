//! Values of a run as layers: maps channels first, and tokens of a transformer by their grid.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Slice, Tensor};

use super::super::Node;
use super::super::operations::Operation;
use super::super::value::{Real, Value};
use super::{Halt, Run, Slot};
use crate::model::{Stop, Taps};

/// The most tokens that stand before the grid of a transformer: its class token, one for distillation, registers.
const BEFORE: usize = 8;

impl Run<'_> {
    /// A value of `[batch, height, width, channels]` as one that is kept channels first, if it was made by a reshape to the
    /// sizes of a map that was met: so it is shown, and so is what follows from it.
    pub(super) fn oriented(&self, node: &Node, slot: Slot) -> Slot {
        let turned = |value: Value| match value {
            Value::Real(real) if real.rank() == 4 && real.order().is_none() => {
                let &[_, height, width, channels] = real.shape() else { return Value::Real(real) };
                let is_known = |map: [usize; 3]| self.maps.contains(&map);
                let is_turned = is_known([channels, height, width]) && !is_known([height, width, channels]);
                Value::Real(if is_turned { real.kept_like(Some(&[0, 2, 3, 1])) } else { real })
            }
            other => other,
        };
        match (&node.operation, slot) {
            (Operation::Reshape { .. }, Slot::Shared(value)) => Slot::Shared(turned(value)),
            (Operation::Reshape { .. }, Slot::Each(values)) => {
                Slot::Each(values.into_iter().map(turned).collect())
            }
            (_, slot) => slot,
        }
    }

    /// The grid of tokens `[batch, tokens, channels]`: that of the last map with as many places, or a few less.
    fn grid(&self, tokens: usize) -> Option<[usize; 2]> {
        let fits = |[_, height, width]: &&[usize; 3]| {
            tokens.checked_sub(height * width).is_some_and(|before| before <= BEFORE.min(height * width - 1))
        };
        self.maps.iter().rev().find(fits).map(|&[_, height, width]| [height, width])
    }

    /// The size of the map that `[batch, channels, places]` was a moment ago.
    fn flattened(&self, node: &Node, channels: usize, places: usize) -> Option<[usize; 2]> {
        let fits = |map: &&[usize; 3]| map[0] == channels && map[1] * map[2] == places;
        let is_reshape = matches!(node.operation, Operation::Reshape { .. } | Operation::Flatten { .. });
        self.maps.iter().rev().find(fits).filter(|_| is_reshape).map(|&[_, height, width]| [height, width])
    }

    /// Shows a value of three axes: tokens of a transformer and what was a map as a map, and others as they are.
    fn show_three(&self, node: &Node, name: &str, x: Tensor<3>, taps: &mut Taps) -> Result<Tensor<3>, Stop> {
        let [_, second, third] = x.dims();
        if let Some([height, width]) = self.flattened(node, second, third) {
            let [batch, ..] = x.dims();
            let map = taps.layer(name, x.reshape([batch, second, height, width]))?;
            let [batch, ..] = map.dims();
            return Ok(map.reshape([batch, second, third]));
        }
        match self.grid(second) {
            Some(grid) => taps.tokens(name, x, grid),
            None => taps.layer(name, x),
        }
    }

    /// Shows a value to `taps`, if it is one a layer can be.
    pub(super) fn show(
        &mut self,
        node: &Node,
        place: usize,
        slot: Slot,
        taps: &mut Taps,
    ) -> Result<Slot, Halt> {
        let name = &node.names[place];
        let first = slot.for_image(0);
        let Value::Real(real) = first else { return Ok(slot) };
        let rank = real.rank();
        // A value whose first axis is not the batch is no layer: a window of a picture, a table of positions.
        let batch = if slot.images() > 0 { 1 } else { self.batch };
        let stands = real.shape().first().is_some_and(|first| *first == batch || self.widened);
        let same = |value: &Value| value.shape() == real.shape() && matches!(value, Value::Real(_));
        let alike = match &slot {
            Slot::Shared(_) => true,
            Slot::Each(values) => values.iter().all(same),
        };
        let layout_only = node.operation.only_moves_channels();
        if !(2..=4).contains(&rank) || !stands || !alike || layout_only {
            taps.skip();
            return Ok(slot);
        }
        if !matches!(node.operation, Operation::Convolution(_)) {
            taps.describe(node.operation.kind(), node.parameters);
        }
        // What is stored channels first is shown so, whatever the file's order of axes.
        let moved = real.order() == Some(&[0, 2, 3, 1]);
        let tensor = |value: &Value| match value {
            Value::Real(real) if moved => real.stored(),
            Value::Real(real) => real.tensor(),
            Value::Host(_) => Real::tensor(real),
        };
        let (parts, whole) = match &slot {
            Slot::Shared(value) => (None, tensor(value)),
            Slot::Each(values) if values.len() == 1 => (Some(real.shape()[0]), tensor(&values[0])),
            Slot::Each(values) => {
                (Some(real.shape()[0]), Dispatch::float_cat(values.iter().map(tensor).collect(), 0))
            }
        };
        let shown = match rank {
            2 => taps.layer(name, Tensor::<2>::from_dispatch(whole))?.into_dispatch(),
            3 => self.show_three(node, name, Tensor::from_dispatch(whole), taps)?.into_dispatch(),
            _ => {
                let whole = Tensor::<4>::from_dispatch(whole);
                let [_, channels, height, width] = whole.dims();
                let attends =
                    matches!(node.operation, Operation::Softmax { axis: -1 | 3, logarithm: false, .. });
                if attends && height == width && height > 1 {
                    taps.attention(name, whole)?.into_dispatch()
                } else {
                    if height * width > 1 && !self.maps.ends_with(&[[channels, height, width]]) {
                        self.maps.retain(|map| *map != [channels, height, width]);
                        self.maps.push([channels, height, width]);
                    }
                    taps.layer(name, whole)?.into_dispatch()
                }
            }
        };
        let sizes = burn::backend::TensorMetadata::shape(&shown);
        let as_value = |stored: burn::backend::DispatchTensor, rows: usize| {
            let mut shape = real.shape().to_vec();
            shape[0] = rows;
            Value::Real(if moved { real.with_stored(stored, shape) } else { Real::new(stored, shape) })
        };
        Ok(match parts {
            None => Slot::Shared(as_value(shown, sizes[0])),
            Some(rows) => {
                let one = |index: usize| {
                    let slices: Vec<Slice> = (0..rank)
                        .map(|axis| {
                            let start = if axis == 0 { index * rows } else { 0 };
                            Slice::from(start..start + if axis == 0 { rows } else { sizes[axis] })
                        })
                        .collect();
                    as_value(Dispatch::float_slice(shown.clone(), &slices), rows)
                };
                Slot::Each((0..sizes[0] / rows).map(one).collect())
            }
        })
    }
}
