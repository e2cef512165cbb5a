//! Decorrelated colours.

use burn::tensor::{Device, Tensor};

/// The square root of the covariance of the colours of natural images, as lucid measured it on ImageNet,
/// divided by the largest norm of its columns: rows are red, green, blue.
const CORRELATION: [[f32; 3]; 3] =
    [[0.562_829, 0.194_825, 0.043_295], [0.584_476, 0.0, -0.108_236], [0.584_476, -0.194_825, 0.064_942]];

/// From decorrelated to ordinary colours, `[batch, 3, height, width]`: light, red against blue, green
/// against purple become red, green, blue. Images of another number of channels are left alone.
///
/// Source: lucid, `param/color.py`.
pub(crate) fn correlate(colours: Tensor<4>) -> Tensor<4> {
    mix(colours, CORRELATION)
}

/// From ordinary to decorrelated colours: the inverse of [`correlate`].
pub(crate) fn decorrelate(colours: Tensor<4>) -> Tensor<4> {
    mix(colours, inverse(CORRELATION))
}

fn mix(colours: Tensor<4>, matrix: [[f32; 3]; 3]) -> Tensor<4> {
    let [batch, channels, height, width] = colours.dims();
    if channels != 3 {
        return colours;
    }
    let matrix = constant(matrix, &colours.device());
    matrix.matmul(colours.reshape([batch, 3, height * width])).reshape([batch, 3, height, width])
}

fn constant(matrix: [[f32; 3]; 3], device: &Device) -> Tensor<3> {
    Tensor::<2>::from_floats(matrix, device).unsqueeze()
}

/// By cofactors.
fn inverse(m: [[f32; 3]; 3]) -> [[f32; 3]; 3] {
    let cofactor = |row: usize, column: usize| {
        let (r1, r2) = ((row + 1) % 3, (row + 2) % 3);
        let (c1, c2) = ((column + 1) % 3, (column + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let determinant: f32 = (0..3).map(|column| m[0][column] * cofactor(0, column)).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cofactor(column, row) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_lucids_matrix_and_back() {
        let colours = |values: [[f32; 3]; 1]| {
            Tensor::<2>::from_floats(values, &Device::default()).reshape([1, 3, 1, 1])
        };
        for (column, expected) in [
            ([1.0, 0.0, 0.0], [0.562_829, 0.584_476, 0.584_476]),
            ([0.0, 1.0, 0.0], [0.194_825, 0.0, -0.194_825]),
            ([0.0, 0.0, 1.0], [0.043_295, -0.108_236, 0.064_942]),
        ] {
            let correlated = correlate(colours([column]));
            let back = crate::host::values(decorrelate(correlated.clone()));
            for (got, expected) in [(crate::host::values(correlated), expected), (back, column)] {
                assert!(
                    got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-5),
                    "{got:?}"
                );
            }
        }
    }
}
