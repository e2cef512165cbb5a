//! Pixels on another grid: weights along each axis, for tensors as matrices, for host arrays as sums.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::{Array3, ArrayView3, Zip, s};

/// How the values along one axis are made from those of another: for each new place the old ones, with their weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights {
    from: usize,
    taps: Vec<Vec<(usize, f32)>>,
}

impl Weights {
    /// Bilinear interpolation at any positions, in pixels of the old axis; beyond the edge its last pixel goes on.
    pub(crate) fn at(from: usize, to: usize, position: impl Fn(usize) -> f32) -> Self {
        let taps = |index| {
            let (first, second, towards) = neighbours(position(index), from);
            vec![(first, 1.0 - towards), (second, towards)]
        };
        Self { from, taps: (0..to).map(taps).collect() }
    }

    /// Bilinear interpolation where pixels are squares with their values at their centres: `align_corners=False` in
    /// PyTorch, `INTER_LINEAR` in OpenCV. Shrinking samples and does not average, as there.
    pub(crate) fn bilinear(from: usize, to: usize) -> Self {
        let ratio = from as f32 / to as f32;
        Self::at(from, to, |index| (index as f32 + 0.5) * ratio - 0.5)
    }

    /// The mean under a triangle as wide as a pixel of the coarser of the two axes: bilinear interpolation where it grows,
    /// and a smooth average where it shrinks, so that fine detail does not turn into false coarse detail.
    pub(crate) fn triangle(from: usize, to: usize) -> Self {
        let ratio = from as f32 / to as f32;
        let reach = ratio.max(1.0);
        let triangle = |index: usize| {
            let centre = (index as f32 + 0.5) * ratio - 0.5;
            let (first, last) = ((centre - reach).ceil() as i64, (centre + reach).floor() as i64);
            // Beyond the edge the image goes on as its last pixel.
            let mut taps: Vec<(usize, f32)> = Vec::new();
            for position in first..=last {
                let weight = 1.0 - (position as f32 - centre).abs() / reach;
                let inside = position.clamp(0, from as i64 - 1) as usize;
                match taps.last_mut() {
                    Some((same, sum)) if *same == inside => *sum += weight,
                    _ => taps.push((inside, weight)),
                }
            }
            let whole: f32 = taps.iter().map(|(_, weight)| weight).sum();
            taps.into_iter().map(|(index, weight)| (index, weight / whole)).collect()
        };
        Self { from, taps: (0..to).map(triangle).collect() }
    }

    /// The matrix `[to, from]`.
    fn matrix(&self, device: &Device) -> Tensor<2> {
        let mut weights = vec![0.0_f32; self.taps.len() * self.from];
        for (row, taps) in weights.chunks_mut(self.from.max(1)).zip(&self.taps) {
            taps.iter().for_each(|(from, weight)| row[*from] += weight);
        }
        Tensor::from_data(TensorData::new(weights, [self.taps.len(), self.from]), device)
    }
}

/// The two samples around a position, and how far it lies towards the second; clamped to the axis.
pub(crate) fn neighbours(position: f32, side: usize) -> (usize, usize, f32) {
    let position = position.clamp(0.0, side as f32 - 1.0);
    let first = position.floor();
    (first as usize, (first as usize + 1).min(side - 1), position - first)
}

/// A tensor `[batch, channels, height, width]` by these weights: two matrix products, whose gradients are exact on every
/// backend.
pub(crate) fn tensor(image: Tensor<4>, rows: &Weights, columns: &Weights) -> Tensor<4> {
    let device = image.device();
    by_matrices(image, rows.matrix(&device), columns.matrix(&device))
}

/// `rows · image · columnsᵀ` for every channel.
pub(crate) fn by_matrices(image: Tensor<4>, rows: Tensor<2>, columns: Tensor<2>) -> Tensor<4> {
    let [batch, channels, height, width] = image.dims();
    let ([to_height, _], [to_width, _]) = (rows.dims(), columns.dims());
    let image = image.reshape([batch * channels * height, width]).matmul(columns.transpose());
    let image = rows.unsqueeze::<3>().matmul(image.reshape([batch * channels, height, to_width]));
    image.reshape([batch, channels, to_height, to_width])
}

/// A tensor at another size, [bilinear](Weights::bilinear).
pub(crate) fn resize(image: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, _, from_height, from_width] = image.dims();
    if (from_height, from_width) == (height, width) {
        return image;
    }
    tensor(image, &Weights::bilinear(from_height, height), &Weights::bilinear(from_width, width))
}

/// An array `[channels, height, width]` by these weights.
pub(crate) fn array(image: ArrayView3<f32>, rows: &Weights, columns: &Weights) -> Array3<f32> {
    let (channels, height, _) = image.dim();
    let mut wide = Array3::zeros((channels, height, columns.taps.len()));
    for (x, taps) in columns.taps.iter().enumerate() {
        let mut column = wide.slice_mut(s![.., .., x]);
        for (from, weight) in taps {
            Zip::from(&mut column)
                .and(image.slice(s![.., .., *from]))
                .for_each(|to, &from| *to += weight * from);
        }
    }
    let mut resampled = Array3::zeros((channels, rows.taps.len(), columns.taps.len()));
    for (y, taps) in rows.taps.iter().enumerate() {
        let mut row = resampled.slice_mut(s![.., y, ..]);
        for (from, weight) in taps {
            row.scaled_add(*weight, &wide.slice(s![.., *from, ..]));
        }
    }
    resampled
}

/// An image at another size, on the host, in float and without clipping, by [triangles](Weights::triangle).
pub(crate) fn resize_smoothly(image: ArrayView3<f32>, height: usize, width: usize) -> Array3<f32> {
    let (_, from_height, from_width) = image.dim();
    if (from_height, from_width) == (height, width) {
        return image.to_owned();
    }
    array(image, &Weights::triangle(from_height, height), &Weights::triangle(from_width, width))
}

/// The pixels at these rows and columns, in this order.
pub(crate) fn gather(image: Tensor<4>, rows: Vec<usize>, columns: Vec<usize>) -> Tensor<4> {
    let along = |image: Tensor<4>, axis: usize, places: Vec<usize>| {
        let count = places.len();
        let places: Vec<i64> = places.into_iter().map(|place| place as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &image.device());
        image.select(axis, places)
    };
    along(along(image, 2, rows), 3, columns)
}

/// The position inside an axis that a position outside is the mirror image of; the edge is not repeated.
pub(crate) fn mirror(position: i64, side: usize) -> usize {
    let last = side as i64 - 1;
    if last == 0 {
        return 0;
    }
    let folded = position.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn bilinear_weights_are_those_of_pytorch_with_align_corners_false() {
        // The centres of four pixels lie at −0.25, 0.25, 0.75 and 1.25 of the two: clamped 0, ¼, ¾, 1.
        let expected = [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [1.0 - 1.0, 1.0]];
        let matrix = Weights::bilinear(2, 4).matrix(&Default::default());
        assert_eq!(crate::host::values(matrix), expected.concat());
        // Three to two: centres at 0.25 and 1.75.
        let matrix = Weights::bilinear(3, 2).matrix(&Default::default());
        assert_eq!(crate::host::values(matrix), [0.75, 0.25, 0.0, 0.0, 0.25, 0.75]);
    }

    #[test]
    fn a_tensor_and_an_array_are_resampled_alike() {
        let image = Array3::from_shape_fn((2, 5, 7), |(c, y, x)| ((c * 35 + y * 7 + x) as f32 * 0.7).sin());
        for weights in [Weights::bilinear, Weights::triangle] {
            let (rows, columns) = (weights(5, 8), weights(7, 3));
            let on_device =
                crate::host::tensor4(image.view().insert_axis(ndarray::Axis(0)), &Default::default());
            let on_device =
                crate::host::array4(tensor(on_device, &rows, &columns)).remove_axis(ndarray::Axis(0));
            let difference = (array(image.view(), &rows, &columns) - on_device).mapv(f32::abs);
            assert!(difference.iter().all(|difference| *difference < 1e-6), "{difference}");
        }
    }

    #[test]
    fn triangles_keep_flat_images_flat_and_the_mean_of_any() {
        assert_eq!(resize_smoothly(array![[[0.0, 1.0]]].view(), 1, 4), array![[[0.0, 0.25, 0.75, 1.0]]]);
        let flat = Array3::from_elem((2, 7, 9), 3.5_f32);
        for size in [(3, 4), (7, 20), (15, 2)] {
            let resized = resize_smoothly(flat.view(), size.0, size.1);
            assert_eq!(resized.dim(), (2, size.0, size.1));
            assert!(resized.iter().all(|value| (value - 3.5).abs() < 1e-5));
        }
        // A chessboard shrunk to a quarter is grey, not a false pattern.
        let board = Array3::from_shape_fn((1, 32, 32), |(_, y, x)| ((x + y) % 2) as f32);
        let grey = resize_smoothly(board.view(), 8, 8);
        assert!(grey.iter().all(|value| (value - 0.5).abs() < 0.02), "{grey}");
    }

    #[test]
    fn positions_outside_are_mirrored_without_repeating_the_edge() {
        assert_eq!((-4..8).map(|at| mirror(at, 4)).collect::<Vec<_>>(), [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!((-2..3).map(|at| mirror(at, 1)).collect::<Vec<_>>(), [0; 5]);
    }

    #[test]
    fn a_map_is_resized_along_each_axis_by_itself() {
        // A ramp sampled at half-pixel centres, clamped at the edges.
        for ((rows, columns), (height, width)) in
            [((4, 9), (8, 3)), ((9, 4), (3, 8)), ((5, 7), (7, 5)), ((6, 2), (6, 4))]
        {
            let map = Array3::from_shape_fn((1, rows, columns), |(_, y, x)| 100.0 * y as f32 + x as f32);
            let resized =
                array(map.view(), &Weights::bilinear(rows, height), &Weights::bilinear(columns, width));
            let at = |place: usize, from: usize, to: usize| {
                ((place as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, from as f32 - 1.0)
            };
            for ((_, y, x), value) in resized.indexed_iter() {
                let expected = 100.0 * at(y, rows, height) + at(x, columns, width);
                assert!((value - expected).abs() < 1e-3, "{rows} × {columns}: {value}, not {expected}");
            }
        }
    }
}
