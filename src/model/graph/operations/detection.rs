//! What detectors are made of: choosing boxes, and cutting them out of a map.

use burn::tensor::Tensor;

use super::super::value::{Real, Value};
use super::{Inputs, Outcome, Scope};

/// The best boxes of each class that overlap little.
///
/// Inputs: boxes `[batch, boxes, 4]`, scores `[batch, classes, boxes]`, how many of a class at most, the overlap above which
/// the worse of two is dropped, the score that a box must exceed. The output is `[chosen, 3]`: batch, class and box.
pub(super) fn non_maximum_suppression(inputs: Inputs, by_centre: bool, scope: &Scope) -> Outcome<Value> {
    let (boxes, scores) = (inputs.get(0)?.host(), inputs.get(1)?.host());
    let (&[batch, count, 4], &[of_scores, classes, scored]) = (&boxes.shape[..], &scores.shape[..]) else {
        return Err(format!("boxes of shape {:?} and scores of shape {:?}", boxes.shape, scores.shape));
    };
    if (of_scores, scored) != (batch, count) {
        return Err(format!("boxes of shape {:?} don't fit scores of shape {:?}", boxes.shape, scores.shape));
    }
    let most = match inputs.optional(2) {
        Some(_) => usize::try_from(inputs.number(2)? as i64).unwrap_or(0).min(count),
        None => 0,
    };
    let overlap = inputs.optional_number(3)?.unwrap_or(0.0);
    let lowest = inputs.optional_number(4)?.unwrap_or(f32::NEG_INFINITY);
    scope.takes(&[batch, classes, count, most.max(1), 256])?;
    let (boxes, scores) = (boxes.to_floats(), scores.to_floats());
    let corners: Vec<[f32; 4]> = boxes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&[a, b, c, d]| match by_centre {
            true => [b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0],
            false => [a.min(c), b.min(d), a.max(c), b.max(d)],
        })
        .collect();
    let mut chosen = Vec::new();
    for (row, scores) in scores.chunks(count.max(1)).enumerate() {
        let (image, class) = (row / classes.max(1), row % classes.max(1));
        let corners = &corners[image * count..(image + 1) * count];
        let mut order: Vec<usize> = (0..count).filter(|index| scores[*index] > lowest).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let mut kept: Vec<usize> = Vec::new();
        for index in order {
            if kept.len() >= most {
                break;
            }
            if !kept.iter().any(|other| shared(corners[index], corners[*other]) > overlap) {
                kept.push(index);
            }
        }
        chosen.extend(kept.into_iter().flat_map(|index| [image as i64, class as i64, index as i64]));
    }
    let shape = [chosen.len() / 3, 3];
    scope.fits_host(&shape)?;
    Ok(Value::ints(shape, chosen))
}

/// The intersection of two boxes over their union.
fn shared(a: [f32; 4], b: [f32; 4]) -> f32 {
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let area = |box_: [f32; 4]| (box_[2] - box_[0]) * (box_[3] - box_[1]);
    let both = side(0, 2) * side(1, 3);
    let union = area(a) + area(b) - both;
    if both > 0.0 && union > 0.0 { both / union } else { 0.0 }
}

/// Boxes cut out of a map and brought to one size: each place of the output is the mean of some points between the pixels.
///
/// The gradient with respect to the boxes is not followed, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct RoiAlign {
    pub(in super::super) size: [usize; 2],
    /// Points along each axis of a place; 0 for as many as pixels are in it.
    pub(in super::super) points: usize,
    /// Pixels of the map for one of the coordinates of boxes.
    pub(in super::super) scale: f32,
    /// Whether coordinates are those of corners, with the first pixel's centre at one half.
    pub(in super::super) half_pixel: bool,
}

impl RoiAlign {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
        let (x, boxes) = (inputs.real(0)?, inputs.get(1)?.host());
        let (&[batch, channels, height, width], &[count, 4]) = (x.shape(), &boxes.shape[..]) else {
            return Err(format!("a map of shape {:?} and boxes of shape {:?}", x.shape(), boxes.shape));
        };
        let images = inputs.ints(2)?;
        if images.len() != count {
            return Err(format!("{count} boxes with the images of {}", images.len()));
        }
        let [rows, columns] = self.size;
        let shape = [count, channels, rows, columns];
        scope.fits(&shape)?;
        scope.takes(&[count, channels, rows.max(1), height, width])?;
        let x: Tensor<4> = x.ranked();
        let mut cut = Vec::with_capacity(count);
        for (&[left, top, right, bottom], image) in boxes.to_floats().as_chunks::<4>().0.iter().zip(images) {
            let image = usize::try_from(image).ok().filter(|image| *image < batch);
            let image = image.ok_or_else(|| format!("a box of an image that is not one of {batch}"))?;
            let (first_row, vertical) = self.means([top, bottom], rows, height)?;
            let (first_column, horizontal) = self.means([left, right], columns, width)?;
            let matrix = |means: Vec<f32>, rows: usize| {
                let columns = means.len() / rows;
                let data = burn::tensor::TensorData::new(means, [rows, columns]);
                (Tensor::<2>::from_data(data, scope.device), columns)
            };
            let (vertical, tall) = matrix(vertical, rows);
            let (horizontal, wide) = matrix(horizontal, columns);
            let part = x.clone().narrow(0, image, 1).narrow(2, first_row, tall).narrow(3, first_column, wide);
            let part = part.reshape([channels * tall, wide]).matmul(horizontal.transpose());
            let part =
                part.reshape([channels, tall, columns]).swap_dims(0, 1).reshape([tall, channels * columns]);
            let part = vertical.matmul(part).reshape([rows, channels, columns]).swap_dims(0, 1);
            cut.push(part.reshape([1, channels, rows, columns]));
        }
        Ok(Real::from_tensor(Tensor::cat(cut, 0)).into())
    }

    /// What each place along an axis has of each pixel, from the first that has a part on: the pixel, and a matrix.
    fn means(&self, [low, high]: [f32; 2], places: usize, size: usize) -> Outcome<(usize, Vec<f32>)> {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let (low, high) = (low * self.scale - offset, high * self.scale - offset);
        let length = if self.half_pixel { high - low } else { (high - low).max(1.0) };
        let place = length / places as f32;
        if !place.is_finite() {
            return Err("a box is not finite".into());
        }
        let points =
            if self.points > 0 { self.points } else { (place.ceil().max(0.0) as usize).min(size + 1) };
        let mut means = vec![0.0; places * size];
        let limit = size as f32;
        for (index, row) in means.chunks_mut(size).enumerate() {
            for point in 0..points {
                let at = low + place * index as f32 + (point as f32 + 0.5) * place / points as f32;
                if !(-1.0..=limit).contains(&at) {
                    continue;
                }
                let at = at.clamp(0.0, limit - 1.0);
                let pixel = (at as usize).min(size - 1);
                let share = 1.0 / points as f32;
                row[pixel] += (1.0 - at.fract()) * share;
                if at.fract() > 0.0 {
                    row[(pixel + 1).min(size - 1)] += at.fract() * share;
                }
            }
        }
        let used = |column: &usize| means.iter().skip(*column).step_by(size).any(|share| *share != 0.0);
        let first = (0..size).find(used).unwrap_or(0);
        let last = (0..size).rfind(used).unwrap_or(first);
        let part = means.chunks(size).flat_map(|row| &row[first..=last]).copied().collect();
        Ok((first, part))
    }
}
