//! Occlusion and RISE on networks worked out by hand.

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{Attribution, Baseline, Occlusion, Rise};

use super::networks::{Alone, MultiLayer, OneConv, Quarter};
use super::{assert_map, image};

#[test]
fn occlusion_of_the_one_conv_network_is_the_drop_of_its_output() {
    // Hiding pixel v lowers the windows that cover it by v, and the gates close at 0. Pixel 12, say, is covered
    // by window (1,0) alone: channel 0 falls from 31 to 19, channel 1 from 6 to 0: 54 − (4 + 19 + 40 − 0 − 15)
    // = 6.
    let occlusion = Occlusion::new([1, 1]).baseline(Baseline::Value(0.0));
    let map = occlusion.attribute(&OneConv::new(), OneConv::image(), &Target::class(0)).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        0., 1., 2., 3.,
        0., 4., 4., 4.,
        2., 7., 8., 4.,
        6., 7., 8., 0.,
    ], 1e-6);
}

#[test]
fn occlusion_averages_where_windows_overlap_and_cuts_them_off_at_the_border() {
    // Every unit of the network sees the sum: the drop is 4 times what is hidden.
    let model = MultiLayer::new();
    let x = || image([[[20.0, 50.0, 30.0]]]);
    let map = |occlusion: Occlusion| occlusion.attribute(&model, x(), &Target::class(0)).unwrap();
    assert_map(map(Occlusion::new([1, 1])), &[80.0, 200.0, 120.0], 1e-6);
    // Windows (20, 50) and (50, 30) over 10: 4·(70 − 20) and 4·(80 − 20), the middle their mean.
    let over_10 = Occlusion::new([1, 2]).stride([1, 1]).baseline(Baseline::Value(10.0));
    assert_map(map(over_10), &[200.0, 220.0, 240.0], 1e-6);
    // By steps of 2 the second window is cut to one pixel.
    assert_map(map(Occlusion::new([1, 2]).stride([1, 2])), &[280.0, 280.0, 120.0], 1e-6);
}

#[test]
fn occlusion_of_one_of_two_added_images_is_what_that_image_adds() {
    // 0..15 plus ones gives 106 − 39 = 67; ones alone give 0; 0..15 alone gives 54.
    let both = Tensor::cat(vec![OneConv::image(), OneConv::image().ones_like()], 3);
    let occlusion = Occlusion::new([4, 4]).stride([4, 4]);
    let map = occlusion.attribute(&OneConv::of_two_images(), both, &Target::class(0)).unwrap();
    let row = [67.0, 67.0, 67.0, 67.0, 13.0, 13.0, 13.0, 13.0];
    assert_map(map, &row.repeat(4), 1e-6);
}

#[test]
fn rise_with_masks_that_are_all_open_is_the_score_everywhere() {
    // With p = 1 every mask is one, and the map is S·1/1.
    let model = Quarter::new();
    let x = Tensor::ones([1, 1, 8, 8], &Default::default()) * 0.6;
    let map = Rise::new().open(1.0).masks(5).cells(2).attribute(&model, x, &Target::class(0)).unwrap();
    // Class 0: 16 of 64 pixels at 0.6 − 0.1.
    assert_map(map, &[0.125; 64], 1e-5);
}

#[test]
fn rise_masks_are_open_on_average_as_often_as_asked() {
    // A score that is always 1 makes the map the mean mask over p, which is 1 up to the error of the sample: a
    // place is a mean of at most 4 cells, whose variance is at most p(1 − p).
    let model = Alone::new([1, 12, 12], None);
    let always = Target::function(|y| {
        let [batch, _] = y.dims();
        (y * 0.0 + 1.0).mean_dim(1).reshape([batch])
    });
    let x = || Tensor::zeros([1, 1, 12, 12], &Default::default());
    for open in [0.25_f32, 0.5] {
        let masks = 1000;
        let rise = Rise::new().open(open).masks(masks).cells(4).batch_size(100);
        let map = crate::host::values(rise.attribute(&model, x(), &always).unwrap());
        let error = ((1.0 - open) / open / masks as f32).sqrt();
        assert!(map.iter().all(|value| (value - 1.0).abs() < 5.0 * error), "{map:?}");
    }
}

#[test]
fn rise_finds_the_quarter_that_a_class_depends_on() {
    let model = Quarter::new();
    let x = Tensor::ones([1, 1, 8, 8], &Default::default());
    let rise = Rise::new().masks(2000).cells(4).batch_size(200);
    let map = crate::host::array4(rise.attribute(&model, x, &Target::class(0)).unwrap());
    let mean = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        map.slice(ndarray::s![0, 0, rows, columns]).mean().unwrap()
    };
    let (inside, outside) = (mean(0..4, 0..4), mean(4..8, 4..8));
    assert!(inside > 1.2 * outside, "{inside} against {outside}");
}

#[test]
fn occlusion_by_quarters_is_the_sum_that_each_hides() {
    // 0..15 in rows of 4, whose score is their sum: 0+1+4+5, 2+3+6+7, 8+9+12+13, 10+11+14+15.
    let model = Alone::new([1, 4, 4], None);
    let sum = Target::function(|y| {
        let [batch, _] = y.dims();
        y.sum_dim(1).reshape([batch])
    });
    let quarters = Occlusion::new([2, 2]).stride([2, 2]).baseline(Baseline::Value(0.0));
    let map = quarters.attribute(&model, OneConv::image(), &sum).unwrap();
    #[rustfmt::skip]
    assert_map(map, &[
        10., 10., 18., 18.,
        10., 10., 18., 18.,
        42., 42., 50., 50.,
        42., 42., 50., 50.,
    ], 1e-6);
    // By steps of 1 the middle four pixels are hidden by four windows each: the mean of their drops.
    let steps = Occlusion::new([2, 2]).stride([1, 1]).baseline(Baseline::Value(0.0));
    let map = crate::host::values(steps.attribute(&model, OneConv::image(), &sum).unwrap());
    // Window at (r, c): 4·(4r + c) + 10. Pixel (1, 1): (10 + 14 + 26 + 30)/4.
    assert_eq!((map[0], map[5], map[15]), (10.0, 20.0, 50.0));
}

#[test]
fn rise_is_the_sum_of_its_masks_by_the_score_under_each() {
    // With the score 1 the map of n masks is their mean over p, so n times it minus n − 1 times that of one less is
    // mask n over p. Of an image of ones over 0 a mask is what is seen, and its score may be any function of it: here the
    // square of its sum.
    let model = Alone::new([1, 6, 6], None);
    let function = |score: fn(Tensor<2>) -> Tensor<2>| {
        Target::function(move |y| {
            let [batch, _] = y.dims();
            score(y).reshape([batch])
        })
    };
    let x = || Tensor::<4>::ones([1, 1, 6, 6], &Default::default());
    let open = 0.4;
    let rise = |masks| Rise::new().masks(masks).cells(3).open(open).seed(2).baseline(Baseline::Value(0.0));
    let map =
        |masks, target: &Target| crate::host::values(rise(masks).attribute(&model, x(), target).unwrap());
    let one = function(|y| y.sum_dim(1) * 0.0 + 1.0);
    let mut before = vec![0.0; 36];
    let mut expected = vec![0.0; 36];
    let masks = 5;
    for count in 1..=masks {
        let total: Vec<f32> = map(count, &one).iter().map(|mean| mean * count as f32).collect();
        let mask: Vec<f32> = total.iter().zip(&before).map(|(sum, before)| (sum - before) * open).collect();
        assert!(mask.iter().all(|open| (-1e-5..1.00001).contains(open)), "{mask:?}");
        let score = mask.iter().sum::<f32>().powi(2);
        expected.iter_mut().zip(&mask).for_each(|(sum, open)| *sum += score * open);
        before = total;
    }
    expected.iter_mut().for_each(|sum| *sum /= open * masks as f32);
    let square = function(|y| y.sum_dim(1).square());
    assert_map(rise(masks).attribute(&model, x(), &square).unwrap(), &expected, 1e-5);
}
