//! Max pooling against its definition.

use crate::pool::{max_pool, max_pool_gradient};

/// Small whole numbers, so that there are many ties.
fn whole_numbers(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61) as f32 - 4.0).collect()
}

#[test]
fn the_first_of_equal_maxima_wins_and_gets_the_cotangent() {
    for [planes, height, width] in [[1, 2, 2], [3, 5, 7], [2, 1, 4], [7, 28, 28], [4, 33, 70], [2, 112, 112]]
    {
        let input = whole_numbers(planes * height * width);
        let (rows, columns) = (height / 2, width / 2);
        let (mut output, mut winners) =
            (vec![f32::NAN; planes * rows * columns], vec![9; planes * rows * columns]);
        max_pool(&input, [planes, height, width], &mut output, &mut winners);
        let cotangent: Vec<f32> = (1..=output.len()).map(|i| i as f32).collect();
        let mut gradient = vec![f32::NAN; input.len()];
        max_pool_gradient(&cotangent, &winners, [planes, height, width], &mut gradient);

        let mut expected = vec![0.0; input.len()];
        for index in 0..output.len() {
            let (plane, y, x) = (index / (rows * columns), index / columns % rows, index % columns);
            let window = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(dy, dx)| (plane * height + 2 * y + dy) * width + 2 * x + dx);
            let first = window
                .into_iter()
                .reduce(|best, at| if input[at] > input[best] { at } else { best })
                .unwrap();
            assert_eq!(output[index], input[first]);
            expected[first] = cotangent[index];
        }
        assert_eq!(gradient, expected);
    }
}

#[test]
fn the_last_nan_wins() {
    let (mut output, mut winners) = ([0.0], [0]);
    max_pool(&[1.0, f32::NAN, 3.0, f32::NAN], [1, 2, 2], &mut output, &mut winners);
    assert!(output[0].is_nan());
    assert_eq!(winners, [3]);
}
