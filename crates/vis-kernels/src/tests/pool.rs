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
fn planes_of_several_tasks_are_pooled_as_each_would_be_alone() {
    // One large plane a task, two, and several of which the last task has fewer.
    for [planes, height, width] in [[3, 260, 131], [5, 181, 180], [17, 100, 91], [100, 41, 40]] {
        let (whole, pooled) = (height * width, (height / 2) * (width / 2));
        let input: Vec<f32> = whole_numbers(planes * whole);
        let (mut output, mut winners) = (vec![f32::NAN; planes * pooled], vec![9; planes * pooled]);
        max_pool(&input, [planes, height, width], &mut output, &mut winners);
        let cotangent: Vec<f32> = (1..=output.len()).map(|i| i as f32).collect();
        let mut gradient = vec![f32::NAN; input.len()];
        max_pool_gradient(&cotangent, &winners, [planes, height, width], &mut gradient);
        for plane in 0..planes {
            let (there, windows) = (plane * whole..(plane + 1) * whole, plane * pooled..(plane + 1) * pooled);
            let (mut alone, mut places) = (vec![f32::NAN; pooled], vec![9; pooled]);
            max_pool(&input[there.clone()], [1, height, width], &mut alone, &mut places);
            assert_eq!(output[windows.clone()], alone);
            assert_eq!(winners[windows.clone()], places);
            let mut back = vec![f32::NAN; whole];
            max_pool_gradient(&cotangent[windows], &places, [1, height, width], &mut back);
            assert_eq!(gradient[there], back);
        }
        assert!(gradient.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn the_last_nan_wins() {
    let (mut output, mut winners) = ([0.0], [0]);
    max_pool(&[1.0, f32::NAN, 3.0, f32::NAN], [1, 2, 2], &mut output, &mut winners);
    assert!(output[0].is_nan());
    assert_eq!(winners, [3]);
}
