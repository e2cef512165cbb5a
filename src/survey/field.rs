//! Which part of the image a unit depends on.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::pass::noise;
use crate::gradient::Gradient;
use crate::losses::Losses;
use crate::model::Layer;
use crate::{Loss, Model, Result, Scene, host};

/// A gradient smaller than this share of the largest is taken for zero: fast convolutions round.
const LEAST: f32 = 1e-6;
/// The images of noise: what no path of one leads to, a rectifier or a pool may let pass in another.
const IMAGES: usize = 2;

/// The receptive field of a layer's units: which part of the image each place of its map depends on.
///
/// Measured by the gradient of units at several places of the map, on images of noise: a rectangle of the same size that
/// moves in equal steps from place to place, cut at the edges of the image. A layer with a single position, and one whose
/// network has no gradient, depends on all of the image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Field {
    rows: Span,
    columns: Span,
}

/// The first and last pixel that something depends on.
type Ends = Option<(usize, usize)>;

/// One axis of a field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Span {
    /// The pixels of the axis.
    size: u32,
    /// The pixels from one place of the map to the next.
    step: f32,
    /// The first and last pixel that the place 0 depends on, could it look beyond the edge; none if it reaches the edge
    /// from every place.
    first: Option<f32>,
    last: Option<f32>,
}

/// A rectangle of the network's input image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crop {
    /// The first column.
    pub left: u32,
    /// The first row.
    pub top: u32,
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

impl Field {
    /// All of the image, from every place.
    pub(super) fn whole((height, width): (usize, usize)) -> Self {
        let span = |size: usize| Span { size: size as u32, step: 0.0, first: None, last: None };
        Self { rows: span(height), columns: span(width) }
    }

    /// Measures the field of a layer.
    pub(super) fn measure<M: Model + ?Sized>(model: &M, layer: &Layer) -> Self {
        let [_, height, width] = layer.shape;
        let whole = Self::whole(model.input().size());
        if height * width == 1 {
            return whole;
        }
        // A network without a gradient is surveyed as well.
        measured(model, layer).unwrap_or(whole)
    }

    /// The part of the image that the unit at a place of the layer's map depends on.
    pub fn crop(&self, row: u32, column: u32) -> Crop {
        let ((top, height), (left, width)) = (self.rows.at(row), self.columns.at(column));
        Crop { left, top, width, height }
    }

    /// The height and width of the part that a unit in the middle depends on, in pixels.
    pub fn size(&self) -> (u32, u32) {
        let side = |span: &Span| match (span.first, span.last) {
            (Some(first), Some(last)) => ((last - first).round().max(0.0) as u32 + 1).min(span.size),
            _ => span.size,
        };
        (side(&self.rows), side(&self.columns))
    }

    /// One that holds both, for measurements of machines whose rounding differs.
    pub(super) fn join(self, other: Self) -> Self {
        Self { rows: self.rows.join(other.rows), columns: self.columns.join(other.columns) }
    }

    pub(super) fn is_sound(&self) -> bool {
        [self.rows, self.columns].into_iter().all(|span| {
            let numbers = [Some(span.step), span.first, span.last];
            span.size > 0 && numbers.into_iter().flatten().all(f32::is_finite)
        })
    }
}

impl Span {
    /// The first pixel and the number of pixels.
    fn at(self, place: u32) -> (u32, u32) {
        let end = self.size as f32 - 1.0;
        let pixel = |of_first: Option<f32>, edge: f32| {
            of_first.map_or(edge, |of_first| (of_first + self.step * place as f32).round().clamp(0.0, end))
        };
        let (first, last) = (pixel(self.first, 0.0) as u32, pixel(self.last, end) as u32);
        (first, last.max(first) - first + 1)
    }

    fn join(self, other: Self) -> Self {
        let both = |one: Option<f32>, other: Option<f32>, of: fn(f32, f32) -> f32| Some(of(one?, other?));
        Self {
            size: self.size.max(other.size),
            step: self.step.max(other.step),
            first: both(self.first, other.first, f32::min),
            last: both(self.last, other.last, f32::max),
        }
    }

    /// The line through what was measured: the first and last pixel of some places.
    fn through(measured: &[(usize, Ends)], size: usize, places: usize) -> Self {
        let known = || measured.iter().filter_map(|(place, ends)| Some((*place as f32, (*ends)?)));
        let edge = size - 1;
        // An end at the edge of the image may be cut off there.
        let firsts: Vec<(f32, f32)> = known()
            .filter(|(_, (first, _))| *first > 0)
            .map(|(place, (first, _))| (place, first as f32))
            .collect();
        let lasts: Vec<(f32, f32)> = known()
            .filter(|(_, (_, last))| *last < edge)
            .map(|(place, (_, last))| (place, last as f32))
            .collect();
        let slope = |ends: &[(f32, f32)]| match ends {
            [(a, from), .., (b, to)] => Some((b - a, (to - from) / (b - a))),
            _ => None,
        };
        let slopes = [slope(&firsts), slope(&lasts)].into_iter().flatten();
        let widest = slopes.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, step)| step);
        let step = widest.unwrap_or(size as f32 / places as f32);
        // A stride is a whole number, unless the layer was resized.
        let step = if (step - step.round()).abs() < 0.3 { step.round() } else { step };
        let first = firsts.iter().map(|(place, end)| end - step * place).reduce(f32::min);
        let last = lasts.iter().map(|(place, end)| end - step * place).reduce(f32::max);
        Self { size: size as u32, step, first, last }
    }
}

/// The sum over channels at one place of a layer, another one for each image of the batch.
struct AtPlaces {
    layer: String,
    places: Vec<(usize, usize)>,
}

impl Loss for AtPlaces {
    fn name(&self) -> String {
        "receptive field".into()
    }

    fn layers(&self) -> Vec<String> {
        vec![self.layer.clone()]
    }

    fn build_loss(&self, scene: &Scene) -> Result<Tensor<1>> {
        let activation = scene.layer(&self.layer)?;
        let [batch, channels, height, width] = activation.dims();
        let mut mask = vec![0f32; batch * height * width];
        for (image, (row, column)) in self.places.iter().enumerate() {
            mask[(image * height + row) * width + column] = 1.0;
        }
        let mask =
            Tensor::<4>::from_data(TensorData::new(mask, [batch, 1, height, width]), &activation.device());
        // Weights no two of which are alike, so that channels of opposite signs don't cancel out.
        let weights: Vec<f32> = (1..=channels).map(|k| (k as f32 * 0.618_034).fract() + 0.5).collect();
        let weights =
            Tensor::<4>::from_data(TensorData::new(weights, [1, channels, 1, 1]), &activation.device());
        Ok((activation * mask * weights).sum_dims(&[1, 2, 3]).reshape([batch]))
    }
}

fn measured<M: Model + ?Sized>(model: &M, layer: &Layer) -> Option<Field> {
    let [_, map_height, map_width] = layer.shape;
    let [channels, height, width] = model.input().shape();
    // The corners, where an end is seen that elsewhere may lie beyond the edge; and two in the middle.
    let along = |count: usize| [0, count / 2, (count / 2 + 1).min(count - 1), count - 1];
    let places: Vec<(usize, usize)> = along(map_height).into_iter().zip(along(map_width)).collect();
    let mut ends: Vec<(Ends, Ends)> = vec![(None, None); places.len()];
    for seed in 0..IMAGES {
        // An image at a time: a batch would take the memory of four.
        for (place, ends) in places.iter().zip(&mut ends) {
            let image = TensorData::new(noise(model, seed as u64), [1, channels, height, width]);
            let image = Tensor::from_data(image, &model.device());
            let losses: Losses = AtPlaces { layer: layer.name.clone(), places: vec![*place] }.into();
            let gradient = host::array4(Gradient::new(model, &losses).evaluate(image).ok()?.gradient);
            let largest = gradient.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            for ((_, _, row, column), value) in gradient.indexed_iter() {
                if value.abs() > LEAST * largest {
                    extend(&mut ends.0, row);
                    extend(&mut ends.1, column);
                }
            }
        }
    }
    let of = |axis: fn(&(usize, usize)) -> usize, ends: Vec<_>, size, count| {
        let mut measured: Vec<_> = places.iter().map(axis).zip(ends).collect();
        measured.dedup_by_key(|(place, _)| *place);
        Span::through(&measured, size, count)
    };
    let (rows, columns) = ends.into_iter().unzip();
    Some(Field {
        rows: of(|at| at.0, rows, height, map_height),
        columns: of(|at| at.1, columns, width, map_width),
    })
}

fn extend(ends: &mut Ends, place: usize) {
    let (first, last) = ends.unwrap_or((place, place));
    *ends = Some((first.min(place), last.max(place)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tiny;

    fn crop(field: &Field, row: u32, column: u32) -> (u32, u32, u32, u32) {
        let crop = field.crop(row, column);
        (crop.left, crop.top, crop.width, crop.height)
    }

    #[test]
    fn the_field_of_a_chain_is_what_its_kernels_and_strides_give() {
        // Tiny: 3×3 padded, 2×2 pooling, 3×3 padded. conv1 at p sees p−1..=p+1. pool1 at p sees 2p−1..=2p+2, and conv2 at
        // p sees 2(p−1)−1..=2(p+1)+2 = 2p−3..=2p+4, all cut to 0..=7.
        let model = Tiny::new(&Default::default());
        let layers = model.layers().unwrap();
        let field =
            |name: &str| Field::measure(&model, layers.iter().find(|layer| layer.name == name).unwrap());
        let seen = |place: i64, step: i64, first: i64, last: i64| {
            let (first, last) = ((step * place + first).max(0), (step * place + last).min(7));
            (first as u32, (last - first + 1) as u32)
        };
        for (name, step, first, last, places) in
            [("conv1", 1, -1, 1, 8), ("pool1", 2, -1, 2, 4), ("conv2", 2, -3, 4, 4)]
        {
            let field = field(name);
            for row in 0..places {
                for column in 0..places {
                    let (top, height) = seen(row, step, first, last);
                    let (left, width) = seen(column, step, first, last);
                    let got = crop(&field, row as u32, column as u32);
                    assert_eq!(got, (left, top, width, height), "{name} {row} {column}");
                }
            }
        }
        assert_eq!(crop(&field("logits"), 0, 0), (0, 0, 8, 8));
    }

    #[test]
    fn ends_beyond_the_edge_are_found_from_places_where_they_are_not() {
        // Of 40 pixels a place of 10 sees 4p−9..=4p+12: cut at either edge somewhere, never at both.
        let ends = |place: usize| Some(((4 * place).saturating_sub(9), (4 * place + 12).min(39)));
        let measured: Vec<_> = [0, 5, 6, 9].into_iter().map(|place| (place, ends(place))).collect();
        let span = Span::through(&measured, 40, 10);
        for place in 0..10 {
            let (first, last) = ends(place).unwrap();
            assert_eq!(span.at(place as u32), (first as u32, (last - first + 1) as u32));
        }
        // One that reaches both edges from everywhere is the whole image.
        let all: Vec<_> = [0, 5, 6, 9].into_iter().map(|place| (place, Some((0, 39)))).collect();
        assert_eq!(Span::through(&all, 40, 10).at(3), (0, 40));
    }
}
