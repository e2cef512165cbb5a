//! A progress callback is told how far a method is, and ends it with what is known so far.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{
    Attribution, Cam, Formula, IntegratedGradients, Occlusion, Quadrature, Rise, Saliency, SmoothGrad,
    Statistic,
};
use vis::metrics::{MuFidelity, PixelCurve, RandomizationCheck};
use vis::model::Tiny;
use vis::{Model, Progress};

use super::networks::{Alone, OneConv};
use super::{difference, random_image};

fn tiny() -> (Tiny, Tensor<4>) {
    let model = Tiny::new(&Default::default());
    let images = random_image([2, 3, 8, 8], 0.0..255.0, 1);
    (model, images)
}

/// Ends when this many runs are done.
fn until(enough: usize) -> impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static {
    move |now: &Progress| if now.done >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A callback that notes what it is told, and the notes.
#[allow(clippy::type_complexity)]
fn noting() -> (impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static, Arc<Mutex<Vec<(usize, usize)>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = told.clone();
    let tell = move |now: &Progress| {
        told.lock().unwrap().push((now.done, now.of));
        ControlFlow::Continue(())
    };
    (tell, notes)
}

fn values(method: &dyn Attribution, model: &dyn Model, images: Tensor<4>) -> Vec<f32> {
    crate::host::values(method.attribute(model, images, &Target::class(1)).unwrap())
}

#[test]
fn progress_is_told_after_every_batch_and_ends_at_the_total() {
    let (model, images) = tiny();
    let told = |method: &dyn Attribution, notes: Arc<Mutex<Vec<(usize, usize)>>>| {
        values(method, &model, images.clone());
        notes.lock().unwrap().clone()
    };
    // Two images each.
    let (tell, notes) = noting();
    let occlusion = Occlusion::new([4, 4]).stride([4, 4]).batch_size(3).progress(tell);
    assert_eq!(told(&occlusion, notes), [(6, 8), (8, 8)]);
    let (tell, notes) = noting();
    assert_eq!(
        told(&Rise::new().masks(10).cells(2).batch_size(4).progress(tell), notes),
        [(8, 20), (16, 20), (20, 20)]
    );
    let (tell, notes) = noting();
    let smooth = SmoothGrad::new(Saliency::new()).samples(6).batch_size(3).progress(tell);
    assert_eq!(told(&smooth, notes), [(2, 12), (8, 12), (12, 12)]);
    let (tell, notes) = noting();
    let integrated = IntegratedGradients::new().steps(5).batch_size(4).progress(tell);
    assert_eq!(told(&integrated, notes), [(8, 10), (10, 10)]);
    for formula in [Formula::AblationCam, Formula::ScoreCam] {
        let (tell, notes) = noting();
        let cam = Cam::new(formula).batch_size(2).max_channels(3).progress(tell);
        assert_eq!(told(&cam, notes), [(4, 6), (6, 6)], "{formula}");
    }
}

#[test]
fn rise_ended_early_is_exactly_rise_with_as_many_masks() {
    let (model, images) = tiny();
    let rise = |masks| Rise::new().masks(masks).cells(3).batch_size(5).seed(4);
    let ended = values(&rise(1000).progress(until(20)), &model, images.clone());
    assert_eq!(ended, values(&rise(10), &model, images));
}

#[test]
fn smooth_grad_ended_early_is_exactly_smooth_grad_of_as_many_samples() {
    let (model, images) = tiny();
    let smooth = |samples| SmoothGrad::new(Saliency::new()).samples(samples).batch_size(4);
    for statistic in [Statistic::Squared, Statistic::Variance, Statistic::Mean] {
        let method = |smooth: SmoothGrad<Saliency>| smooth.statistic(statistic);
        // Two images, of each the one without noise and two batches of 4.
        let ended = values(&method(smooth(100)).progress(until(18)), &model, images.clone());
        assert_eq!(ended, values(&method(smooth(9)), &model, images.clone()));
    }
}

#[test]
fn score_cam_and_ablation_cam_ended_early_are_exactly_those_of_as_many_channels() {
    let (model, images) = tiny();
    for formula in [Formula::AblationCam, Formula::ScoreCam] {
        let cam = || Cam::new(formula).batch_size(2);
        let ended = values(&cam().progress(until(8)), &model, images.clone());
        assert_eq!(ended, values(&cam().max_channels(4), &model, images.clone()), "{formula}");
        // Ended after the last, nothing is missing.
        let last = values(&cam().progress(until(12)), &model, images.clone());
        assert_eq!(last, values(&cam(), &model, images.clone()), "{formula}");
    }
}

#[test]
fn occlusion_ended_early_has_the_drops_of_some_windows_all_over_the_image_and_0_elsewhere() {
    let (model, images) = tiny();
    // Windows that do not overlap: a pixel's value is the drop of its one window.
    let occlusion = || Occlusion::new([1, 1]).stride([1, 1]).batch_size(8);
    let all = values(&occlusion(), &model, images.clone());
    let ended = values(&occlusion().progress(until(48)), &model, images.clone());
    let known: Vec<usize> = (0..all.len()).filter(|place| ended[*place] != 0.0).collect();
    assert!(known.iter().all(|place| ended[*place] == all[*place]));
    assert_eq!(known.len(), 48, "24 of each of two images");
    for quarter in 0..4 {
        let (top, left) = (quarter / 2 * 4, quarter % 2 * 4);
        let within = |place: &&usize| {
            let (row, column) = (**place % 64 / 8, **place % 8);
            (top..top + 4).contains(&row) && (left..left + 4).contains(&column)
        };
        assert!(known.iter().filter(within).count() >= 6, "of 12 on average");
    }
    // Where windows overlap, it is the mean of those that were run: between the least and the largest drop.
    let overlapping = || Occlusion::new([4, 4]).stride([1, 1]).batch_size(1);
    let model = OneConv::new();
    let drops = values(&Occlusion::new([4, 4]), &model, OneConv::image());
    let ended = values(&overlapping().progress(until(1)), &model, OneConv::image());
    assert_eq!(ended, drops, "the one window there is");
}

#[test]
fn integrated_gradients_ended_early_are_a_mean_over_fewer_points_all_along_the_line() {
    // S = x², from 0: the gradient at t is 2tx, and the map x²·2·mean t. So the mean of the places visited can be read
    // off the map, and for points all along the line it is near ½ after every batch.
    let model = Alone::new([1, 1, 1], None);
    let square = Target::function(|y| {
        let [batch, _] = y.dims();
        y.square().sum_dim(1).reshape([batch])
    });
    let x = Tensor::<4>::ones([1, 1, 1, 1], &Default::default());
    let zero = || vis::attribution::Baseline::Value(0.0);
    for quadrature in [Quadrature::Midpoint, Quadrature::Trapezoid, Quadrature::Left, Quadrature::Right] {
        for enough in [8, 16, 24, 32, 40, 48, 56] {
            let method = IntegratedGradients::new().quadrature(quadrature).baseline(zero()).batch_size(8);
            let found = method.progress(until(enough)).evaluate(&model, x.clone(), &square).unwrap();
            let map = crate::host::values(found.map)[0];
            // The rules that take one end of each interval are off by half an interval of 64 themselves.
            let off = 2.0 / enough as f32 + 1.0 / 64.0;
            assert!((map - 1.0).abs() < off, "{quadrature:?}: {map} after {enough}");
            assert!((found.residual[0] - (map - 1.0)).abs() < 1e-6, "the residual tells what it costs");
        }
    }

    // Of a network, half of the points give almost the map of all.
    let (model, images) = tiny();
    let integrated = || IntegratedGradients::new().steps(256).batch_size(16);
    let map =
        |method: IntegratedGradients| method.attribute(&model, images.clone(), &Target::class(1)).unwrap();
    let off = difference(map(integrated().progress(until(256))), map(integrated()));
    assert!(off > 0.0 && off < 0.05, "{off}");
}

#[test]
fn measures_ended_early_are_those_of_what_was_run() {
    let (model, images) = tiny();
    let target = Target::class(1);
    let map = random_image([2, 1, 8, 8], -1.0..1.0, 3);
    let fidelity = |mu: MuFidelity| mu.evaluate(&model, images.clone(), map.clone(), &target).unwrap();
    let mu = || MuFidelity::new().batch_size(5);
    assert_eq!(fidelity(mu().progress(until(20))), fidelity(mu().sets(10)));

    let curves = |curve: PixelCurve| curve.evaluate(&model, images.clone(), map.clone(), &target).unwrap();
    let insertion = || PixelCurve::insertion().steps(20).batch_size(4);
    let (tell, notes) = noting();
    let whole = curves(insertion().progress(tell));
    assert_eq!(*notes.lock().unwrap(), [(8, 42), (16, 42), (24, 42), (32, 42), (40, 42), (42, 42)]);
    for (ended, whole) in curves(insertion().progress(until(16))).iter().zip(&whole) {
        assert_eq!(ended.scores(), &whole.scores()[..8]);
    }

    let (saliency, other) = (Saliency::new(), Tiny::new(&Default::default()));
    let check = RandomizationCheck::new(&saliency).progress(|now| {
        assert_eq!((now.stage.as_str(), now.done, now.of), ("first", 1, 3));
        ControlFlow::Break(())
    });
    let stages = ["first", "second", "third"].map(|stage| (stage, &other));
    let rows = check.run(&model, images.clone(), &target, stages).unwrap();
    assert_eq!(rows.iter().map(|row| row.stage.as_str()).collect::<Vec<_>>(), ["first"]);
}
