//! Which filters there is a kernel for, and which one takes them.

use super::reference::noise;
use crate::convolution::Convolution;
use crate::direct::Direct;
use crate::geometry::{Filters, Padding};
use crate::pointwise::Pointwise;
use crate::winograd::Winograd;

#[test]
fn each_kernel_takes_the_filters_that_its_documentation_names_and_no_others() {
    let mut taken = [0; 5];
    for kernel in [[1, 1], [1, 3], [3, 1], [3, 3], [2, 2], [5, 5]] {
        for (groups, inputs) in [(1, 1), (1, 4), (1, 5), (2, 1), (2, 4), (2, 5), (3, 6)] {
            for (stride, dilation) in (1..=4).flat_map(|stride| (1..=2).map(move |apart| (stride, apart))) {
                let pixels = (0..=2).map(Padding::Pixels);
                let around = [[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 0], [0, 2]]].map(Padding::Around);
                for padding in pixels.chain([Padding::Same]).chain(around) {
                    let weight = [2 * groups, inputs, kernel[0], kernel[1]];
                    let filters = Filters::new(weight, groups * inputs, stride, padding).unwrap();
                    let filters = filters.spaced([stride; 2], [dilation; 2]).unwrap();
                    let plain = groups == 1 && stride == 1;
                    let zeros = filters.symmetric_padding();
                    let winograd = plain && dilation == 1 && kernel == [3, 3] && zeros == Some([1, 1]);
                    let pointwise = plain && kernel == [1, 1] && zeros == Some([0, 0]);
                    let direct = stride <= kernel[0] && stride <= kernel[1] && dilation == 1;
                    assert_eq!(Winograd::suits(&filters), winograd, "{filters:?}");
                    assert_eq!(Pointwise::suits(&filters), pointwise, "{filters:?}");
                    assert_eq!(Direct::suits(&filters), direct, "{filters:?}");
                    let index = match Convolution::new(&noise(weight.iter().product(), 1), &filters) {
                        Convolution::Winograd(_) => 0,
                        Convolution::Pointwise(_) => 1,
                        Convolution::Direct(_) => 2,
                        Convolution::General(_) => 3,
                        Convolution::Split { .. } => 4,
                    };
                    assert_eq!(index == 0, winograd, "{filters:?}");
                    assert_eq!(index == 1, pointwise, "{filters:?}");
                    assert!(!matches!(index, 2 | 4) || direct, "{filters:?}");
                    taken[index] += 1;
                }
            }
        }
    }
    assert!(taken[..4].iter().all(|count| *count > 0), "{taken:?}");
    // The stem of a network: few channels are written on the way back alone.
    let stem = Filters::new([64, 3, 7, 7], 3, 2, Padding::Pixels(3)).unwrap();
    assert!(matches!(Convolution::new(&noise(64 * 3 * 49, 1), &stem), Convolution::Split { .. }));
}

#[test]
fn a_kernel_shows_its_filters_and_not_its_weights() {
    for (weight, name) in [([4, 3, 3, 3], "Winograd"), ([4, 3, 1, 1], "Pointwise"), ([4, 3, 2, 5], "Direct")]
    {
        let filters = Filters::new(weight, 3, 1, Padding::Same).unwrap();
        let convolution = Convolution::new(&noise(weight.iter().product(), 1), &filters);
        let shown = format!("{convolution:?}");
        assert_eq!(shown, format!("{name}({name} {{ filters: {filters:?}, .. }})"));
    }
}

#[test]
fn sizes_say_what_they_were_made_of() {
    let filters = Filters::new([6, 2, 5, 3], 4, 2, Padding::Pixels(1)).unwrap();
    assert_eq!((filters.groups(), filters.inputs(), filters.outputs()), (2, 4, 6));
    assert_eq!(filters.channels_of_a_group(), [2, 3]);
    assert_eq!((filters.kernel(), filters.stride()), ([5, 3], [2, 2]));
    assert_eq!(filters.padding(), Padding::Pixels(1));
    for batch in [0, 1, 2, 7] {
        let sizes = filters.on(batch, [9, 8]).unwrap();
        assert_eq!(sizes.batch(), batch);
        assert_eq!(sizes.input(), [batch, 4, 9, 8]);
        // (9 + 2 - 5) / 2 + 1 rows, (8 + 2 - 3) / 2 + 1 columns.
        assert_eq!(sizes.output(), [batch, 6, 4, 4]);
        assert_eq!((sizes.input_length(), sizes.output_length()), (batch * 288, batch * 96));
        assert_eq!(sizes.zeros_around(), [[1, 1], [1, 1]]);
    }
}

#[test]
fn symmetric_padding_is_what_lies_on_both_sides_of_images_of_every_size() {
    for kernel in (1..=4).flat_map(|height| (1..=4).map(move |width| [height, width])) {
        for stride in 1..=3 {
            for padding in [Padding::Same, Padding::Pixels(0), Padding::Pixels(3)] {
                let filters = Filters::new([2, 1, kernel[0], kernel[1]], 1, stride, padding).unwrap();
                let symmetric = filters.symmetric_padding();
                if stride == 1 || padding != Padding::Same {
                    let odd = kernel.iter().all(|size| size % 2 == 1);
                    assert_eq!(symmetric.is_some(), odd || padding != Padding::Same, "{filters:?}");
                }
                let Some(zeros) = symmetric else { continue };
                for size in (4..=9).flat_map(|height| (4..=9).map(move |width| [height, width])) {
                    let sizes = filters.on(1, size).unwrap();
                    assert_eq!(sizes.zeros_around(), zeros.map(|zeros| [zeros; 2]), "{sizes:?}");
                    assert_eq!(sizes.zeros_before(), zeros);
                }
            }
        }
    }
}

#[test]
fn an_image_is_refused_if_its_rows_and_columns_cannot_be_rounded_up() {
    // Kernels round a row and a column up by less than 128, and count with what comes of it.
    let most = isize::MAX as u128 / 4;
    let filters = Filters::new([1, 1, 1, 1], 1, 1, Padding::Pixels(0)).unwrap();
    let (mut fits, mut too_wide) = (1usize, usize::MAX / 8);
    while too_wide - fits > 1 {
        let width = fits + (too_wide - fits) / 2;
        if filters.on(1, [1, width]).is_ok() { fits = width } else { too_wide = width }
    }
    assert!((1 + 128) * (fits as u128 + 128) <= most, "{fits}");
    assert!(fits as u128 > most / 1000, "{fits}");
}
