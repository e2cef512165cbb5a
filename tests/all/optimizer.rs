//! The optimizer: its trajectory, its bookkeeping, and how it ends.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, RmsPropConfig, SgdConfig};
use burn::tensor::Tensor;
use vis::callbacks::Callback;
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, LPNorm, Losses, TotalVariation};
use vis::model::{InputSpec, Preset, Taps, Tiny};
use vis::optimizer::{BurnUpdate, Normalization, RmsProp, Step, Update};
use vis::{Error, Loss, Model, Optimizer, Scene};

use vis::parametrization::Fourier;

use crate::support::{Function, assert_close, device, identity, tensor};

/// Half the squared distance to a value, summed over the image.
struct Bowl(f32);

impl Loss for Bowl {
    fn name(&self) -> String {
        "bowl".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        Ok((scene.image() - self.0).square().sum_dims(&[1, 2, 3]).reshape([scene.batch()]) / 2.0)
    }
}

fn losses() -> Losses {
    vis::losses![
        (ActivationMaximization::new("conv2", 3), 1.0),
        (LPNorm::default(), 10.0),
        (TotalVariation::default(), 0.01),
    ]
}

#[test]
fn rms_prop_takes_the_steps_of_keras_vis() {
    // With g = 1 throughout: step n = 1 / √(1 − 0.95ⁿ + 1e-7).
    let one = Tensor::<4>::ones([1, 1, 1, 1], &device());
    let (mut update, mut at) = (RmsProp::default(), one.zeros_like());
    for expected in [4.472_131, 3.202_561, 2.647_903, 2.321_856] {
        let moved = update.step(at.clone(), one.clone(), 1.0);
        assert_close(&crate::host::values(at - moved.clone()), &[expected], 1e-4);
        at = moved;
    }
}

#[test]
fn gradients_are_normalised_by_root_mean_square_length_or_not_at_all() {
    // The gradient of the bowl at (3, 4) about 0 is (3, 4): root mean square √12.5, length 5.
    let model = identity([1, 1, 2]);
    for (normalization, scale) in [
        (Normalization::RootMeanSquare, 12.5_f32.sqrt()),
        (Normalization::L2, 5.0),
        (Normalization::None, 1.0),
    ] {
        let run = Optimizer::new(&model, Bowl(0.0)).seed_img(tensor(&[3.0, 4.0], [1, 1, 1, 2]));
        let result = run.normalize(normalization).max_iter(1).minimize().unwrap();
        assert_close(&crate::host::values(result.gradient), &[3.0 / scale, 4.0 / scale], 1e-5);
    }
}

#[test]
fn the_bowl_is_descended_to_its_bottom_by_every_update() {
    let model = identity([1, 2, 2]);
    let start =
        || Optimizer::new(&model, Bowl(100.0)).seed_img(tensor(&[3.0, 50.0, 120.0, 250.0], [1, 1, 2, 2]));
    let adam = BurnUpdate::new(AdamConfig::new().build());
    let rms_prop = BurnUpdate::new(RmsPropConfig::new().build());
    // What contracts a quadratic: the gradient as it is, which shrinks towards the bottom.
    let momentum = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
    let sgd = start().update(BurnUpdate::new(momentum)).normalize(Normalization::None).learning_rate(0.1);
    for (name, run) in [
        ("our own", start().learning_rate(0.5)),
        ("Adam", start().update(adam).learning_rate(2.0)),
        ("RMSProp", start().update(rms_prop).learning_rate(0.5)),
        ("SGD with momentum", sgd),
    ] {
        let result = run.max_iter(600).minimize().unwrap();
        assert!(result.best_loss[0] < 1.0, "{name}: {}", result.best_loss[0]);
        assert_close(&crate::host::values(result.image), &[100.0; 4], 1.0);
    }
}

#[test]
fn sgd_of_burn_takes_the_steps_of_its_formula() {
    // v ← 0.9 v + 0.9 g with dampening 0.1, x ← x − r·v, and v = g at first; g = x about 0, r = 0.1, from 10.
    let model = identity([1, 1, 1]);
    let momentum = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
    let run = Optimizer::new(&model, Bowl(0.0)).seed_img(tensor(&[10.0], [1, 1, 1, 1]));
    let run = run.update(BurnUpdate::new(momentum)).normalize(Normalization::None).learning_rate(0.1);
    let at: Vec<f32> =
        run.max_iter(4).steps().unwrap().flat_map(|step| crate::host::values(step.unwrap().image)).collect();
    let (mut x, mut v, mut expected) = (10.0_f32, None, Vec::new());
    for _ in 0..4 {
        expected.push(x);
        let velocity = v.map_or(x, |v: f32| 0.9 * v + 0.9 * x);
        (x, v) = (x - 0.1 * velocity, Some(velocity));
    }
    assert_close(&at, &expected, 1e-4);
}

/// The square of the image's mean, but for the steps at which it says something else.
struct Saying {
    instead: Vec<(usize, f32)>,
    calls: Mutex<usize>,
}

impl Saying {
    fn at(instead: impl Into<Vec<(usize, f32)>>) -> Self {
        Self { instead: instead.into(), calls: Mutex::new(0) }
    }
}

impl Loss for Saying {
    fn name(&self) -> String {
        "saying".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let mut calls = self.calls.lock().unwrap();
        let instead = self.instead.iter().find(|(step, _)| step == &*calls).map(|(_, value)| *value);
        *calls += 1;
        let square = scene.image().mean_dims(&[1, 2, 3]).reshape([scene.batch()]).square();
        // The gradient stays that of the square.
        Ok(match instead {
            Some(value) => square.clone() - square.detach() + value,
            None => square,
        })
    }
}

#[test]
fn no_loss_that_is_not_finite_is_ever_the_best() {
    let model = identity([1, 1, 1]);
    for bad in [f32::NEG_INFINITY, f32::INFINITY, f32::NAN] {
        for at in 0..4 {
            let run = Optimizer::new(&model, Saying::at([(at, bad)])).seed_img(tensor(&[9.0], [1, 1, 1, 1]));
            // Nothing is read before the end.
            let mut steps = run.learning_rate(0.1).max_iter(4).read_every(9).steps().unwrap();
            let mut seen = Vec::new();
            let error = loop {
                match steps.next().unwrap() {
                    Ok(step) => seen.push(crate::host::values(step.image)[0]),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::NonFinite { step, .. } if step == Some(at)), "{error}");
            // The image shrinks step by step, so the best is the last with a finite loss.
            let best = steps.finish().unwrap();
            let expected = if at == 3 { 2 } else { 3 };
            assert_eq!(best.best_step, [expected], "{bad} at step {at}");
            assert!(best.best_loss[0].is_finite());
            if expected < seen.len() {
                assert_eq!(crate::host::values(best.image), [seen[expected]]);
            }
            assert_close(&[crate::host::values(best.value)[0].powi(2)], &best.best_loss, 1e-3);
        }
    }
}

#[test]
fn a_run_left_early_reports_what_was_not_read_yet() {
    let model = identity([1, 1, 1]);
    let left = |bad: f32| {
        let run = Optimizer::new(&model, Saying::at([(1, bad)])).read_every(100);
        let mut steps = run.steps().unwrap();
        steps.by_ref().take(3).for_each(|step| drop(step.unwrap()));
        steps.finish()
    };
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let error = left(bad).unwrap_err();
        assert!(
            matches!(&error, Error::NonFinite { what, step: Some(1), .. } if what.contains("saying")),
            "{error}"
        );
        assert!(error.best_image().is_some());
    }
    assert_eq!(left(1.0).unwrap().losses.steps(), 3);
}

#[test]
fn a_gradient_that_is_zero_everywhere_is_reported_image_by_image() {
    // y = max(mean x, 0): open for the first image, closed for the second.
    let model = Function(InputSpec::new([1, 1, 2], (0.0, 1.0)), |x: Tensor<4>, taps: &mut Taps| {
        let [batch, ..] = x.dims();
        taps.relu(x.mean_dims(&[1, 2, 3]).reshape([batch, 1, 1, 1]))
    });
    let start = tensor(&[1.0, 2.0, -1.0, -2.0], [2, 1, 1, 2]);
    let run = || Optimizer::new(&model, ActivationMaximization::new("output", 0)).seed_img(start.clone());
    let result = run().max_iter(3).minimize().unwrap();
    assert_eq!(result.zero_gradient, [false, true]);
    assert_eq!(crate::host::values(result.image)[2..], [-1.0, -2.0]);
    // Redirected, the second has a gradient too; and of no step nothing is known.
    assert_eq!(run().warm_up(3).max_iter(3).minimize().unwrap().zero_gradient, [false, false]);
    assert_eq!(run().max_iter(0).minimize().unwrap().zero_gradient, [false, false]);
}

#[test]
fn a_preset_given_twice_is_the_preset_and_the_order_of_settings_does_not_matter() {
    let model = identity([3, 8, 8]);
    let run = || Optimizer::new(&model, losses_of_images()).max_iter(6).seed(4);
    let bytes = |run: Optimizer<'_>| crate::host::values(run.max_iter(6).minimize().unwrap().image);
    let robust = Preset::robust();
    assert_eq!(bytes(run().preset(&robust)), bytes(run().preset(&robust).preset(&robust)));
    // The last one counts.
    let twice = run().preset(&robust).preset(&Preset::keras_vis());
    assert_eq!(bytes(twice), bytes(run().preset(&Preset::keras_vis())));
    // The size of the image may be told before or after.
    let image = || vis::random::noise([1, 3, 12, 10], (0.0, 255.0), 2, 0, &device());
    let before = run().seed_img(image()).preset(&robust);
    assert_eq!(bytes(before), bytes(run().preset(&robust).seed_img(image())));
    let before = run().size(9, 12).preset(&robust);
    assert_eq!(bytes(before), bytes(run().preset(&robust).size(9, 12)));
    // What is written down by the caller's own means stays so.
    let own = || Fourier::new([8, 8], (0.0, 255.0)).with_decay(0.5);
    let after = bytes(run().preset(&robust).parametrization(own()));
    assert_ne!(after, bytes(run().preset(&robust)));
    assert_eq!(bytes(run().parametrization(own()).preset(&robust)), bytes(run().preset(&robust)));
}

/// Losses of images of any size.
fn losses_of_images() -> Losses {
    vis::losses![(Bowl(200.0), 1.0), (TotalVariation::default(), 0.01)]
}

#[test]
fn settings_of_a_preset_out_of_range_are_refused() {
    let model = Tiny::new(&device());
    for jitter in [-0.1, f32::NAN, 1.5] {
        let preset = Preset { jitter, ..Preset::robust() };
        assert!(Optimizer::new(&model, losses()).preset(&preset).minimize().is_err(), "{jitter}");
    }
}

#[test]
fn the_best_image_has_the_loss_it_is_credited_with() {
    let model = Tiny::new(&device());
    // A learning rate so high that the last step is not the best.
    let result =
        Optimizer::new(&model, losses()).learning_rate(20.0).max_iter(40).batch(3).minimize().unwrap();
    let again = Gradient::new(&model, &losses()).values(result.image.clone()).unwrap().totals();
    assert_close(&again, &result.best_loss, 1e-3);
    let totals = result.losses.totals();
    for (image, (&step, &loss)) in result.best_step.iter().zip(&result.best_loss).enumerate() {
        assert_close(&[totals[[step, image]]], &[loss], 0.0);
        assert!(totals.column(image).iter().all(|total| *total >= loss));
    }
    assert!(result.best_step.iter().any(|step| *step != 39));
}

#[test]
fn a_batch_equals_as_many_single_runs() {
    let model = Tiny::new(&device());
    let run = |filters: Vec<usize>, first| {
        let losses = vis::losses![
            (ActivationMaximization::per_image("conv2", filters.clone()), 1.0),
            (TotalVariation::default(), 0.01),
        ];
        let noise = vis::random::noise([filters.len(), 3, 8, 8], (0.0, 255.0), 0, first, &device());
        let run = Optimizer::new(&model, losses).seed_img(noise).jitter(0.2);
        run.max_iter(10).minimize().unwrap()
    };
    let together = run(vec![5, 0, 2], 0).array();
    for (index, filter) in [5, 0, 2].into_iter().enumerate() {
        let alone = run(vec![filter], index).array();
        let together = together.index_axis(ndarray::Axis(0), index);
        let largest = (&together - &alone.index_axis(ndarray::Axis(0), 0)).mapv(f32::abs);
        assert!(largest.iter().all(|difference| *difference < 0.05), "picture {index}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_other_pictures() {
    let model = Tiny::new(&device());
    let run = |seed| {
        let run = Optimizer::new(&model, losses()).preset(&Preset::robust()).seed(seed).max_iter(8);
        crate::host::values(run.minimize().unwrap().image)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn jitter_with_a_step_size_of_zero_leaves_the_image_unchanged() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let run = Optimizer::new(&model, losses()).seed_img(image.clone()).jitter(4).learning_rate(0.0);
    let mut steps = run.max_iter(5).steps().unwrap();
    for step in &mut steps {
        assert_eq!(crate::host::values(step.unwrap().image), crate::host::values(image.clone()));
    }
}

#[test]
fn a_batch_or_size_that_contradicts_the_images_given_is_refused_in_either_order() {
    let model = identity([3, 8, 8]);
    let images = || vis::random::noise([2, 3, 6, 9], (0.0, 255.0), 0, 0, &device());
    let run = || Optimizer::new(&model, losses_of_images()).max_iter(0);
    let said = |run: Optimizer<'_>| run.minimize().unwrap_err().to_string();
    let batch = "the batch must be 2, the number of images given to start from, not 3";
    assert_eq!(said(run().seed_img(images()).batch(3)), batch);
    assert_eq!(said(run().batch(3).seed_img(images())), batch);
    let size = "the size of the image must be 6 × 9, that of the images given to start from, not 9 × 6";
    assert_eq!(said(run().seed_img(images()).size(9, 6)), size);
    assert_eq!(said(run().size(9, 6).seed_img(images())), size);
    // What agrees with them changes nothing.
    let agreed = run().batch(2).seed_img(images()).size(6, 9).minimize().unwrap().image;
    assert_eq!(crate::host::values(agreed), crate::host::values(images()));
    for impossible in [0, usize::MAX, usize::MAX / 500] {
        assert!(run().batch(impossible).minimize().is_err());
    }
}

#[test]
fn images_of_a_batch_are_drawn_apart_and_as_they_would_be_alone() {
    // The loss tells by how much the image was shifted: its first pixel is the one that comes to the corner.
    let model = Function(InputSpec::new([1, 5, 7], (0.0, 34.0)), |x: Tensor<4>, _: &mut Taps| {
        x.narrow(2, 0, 1).narrow(3, 0, 1)
    });
    let image = tensor(&(0..35).map(|value| value as f32).collect::<Vec<_>>(), [1, 1, 5, 7]);
    let corners = |batch: usize| {
        let run =
            Optimizer::new(&model, ActivationMaximization::new("output", 0)).jitter(3).learning_rate(0.0);
        let run = run.seed_img(image.clone().repeat_dim(0, batch)).batch(batch).seed(5);
        let totals = run.max_iter(6).minimize().unwrap().losses.totals();
        totals.columns().into_iter().map(|column| column.to_vec()).collect::<Vec<_>>()
    };
    let three = corners(3);
    for image in 0..3 {
        assert!(three[image].iter().any(|loss| *loss != three[image][0]), "{three:?}");
        assert_ne!(three[image], three[(image + 1) % 3]);
    }
    assert_eq!((&corners(1)[..], &corners(2)[..]), (&three[..1], &three[..2]));
}

#[test]
fn no_steps_return_the_start() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let result = Optimizer::new(&model, losses()).seed_img(image.clone()).max_iter(0).minimize().unwrap();
    assert_eq!(crate::host::values(result.image), crate::host::values(image));
    assert_eq!(result.losses.values().dim(), (0, 3, 2));
}

#[test]
fn leaving_the_loop_early_keeps_the_best_so_far() {
    let model = Tiny::new(&device());
    let mut steps = Optimizer::new(&model, losses()).steps().unwrap();
    for step in &mut steps {
        if step.unwrap().index == 6 {
            break;
        }
    }
    let result = steps.finish().unwrap();
    assert_eq!(result.losses.steps(), 7);
    assert!(result.best_loss[0] < result.losses.totals()[[0, 0]]);
}

#[test]
fn reading_the_losses_rarely_changes_nothing_but_when_they_are_read() {
    let model = Tiny::new(&device());
    let run = |every| Optimizer::new(&model, losses()).read_every(every).max_iter(10).minimize().unwrap();
    let (often, rarely) = (run(1), run(4));
    assert_eq!(often.losses, rarely.losses);
    assert_eq!(often.best_step, rarely.best_step);
    assert_eq!(crate::host::values(often.image), crate::host::values(rarely.image));
}

/// Fine until a step, then NaN.
struct Spoiled {
    at: usize,
    calls: Mutex<usize>,
}

impl Loss for Spoiled {
    fn name(&self) -> String {
        "spoiled".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let spoil = if *calls > self.at { f32::NAN } else { 1.0 };
        Ok(scene.image().square().mean_dims(&[1, 2, 3]).reshape([scene.batch()]) * spoil)
    }
}

#[test]
fn a_loss_that_turns_nan_stops_the_run_by_name_and_keeps_the_best() {
    let model = identity([1, 2, 2]);
    let run = |at| {
        let losses =
            vis::losses![(TotalVariation::default(), 1.0), (Spoiled { at, calls: Mutex::new(0) }, 1.0)];
        Optimizer::new(&model, losses).minimize().unwrap_err()
    };
    let error = run(3);
    assert!(
        matches!(&error, Error::NonFinite { what, step: Some(3), .. } if what == "the loss `spoiled`"),
        "{error}"
    );
    let best = crate::host::values(error.best_image().unwrap().clone());
    assert!(best.iter().all(|value| value.is_finite()));
    assert!(run(0).best_image().is_none());
}

/// Finite, with a gradient that is not.
struct Cliff;

impl Loss for Cliff {
    fn name(&self) -> String {
        "cliff".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        // Nothing, times what overflows: a GPU may make something else of the slope of a root at 0.
        let zero = scene.image() - scene.image().detach();
        Ok((zero * 1e30 * 1e30).sum_dims(&[1, 2, 3]).reshape([scene.batch()]))
    }
}

#[test]
fn a_gradient_that_turns_infinite_stops_the_run() {
    let model = identity([1, 2, 2]);
    let error = Optimizer::new(&model, Cliff).minimize().unwrap_err();
    assert!(
        matches!(&error, Error::NonFinite { what, step: Some(0), .. } if what == "the gradient"),
        "{error}"
    );
}

struct Recorder(Arc<Mutex<Vec<String>>>, Option<usize>);

impl Callback for Recorder {
    fn on_step(&mut self, step: &Step) -> vis::Result<ControlFlow<()>> {
        self.0.lock().unwrap().push(format!("step {}", step.index));
        if self.1 == Some(step.index) {
            return Err(Error::InvalidParameter {
                name: "the disk",
                expected: "roomy".into(),
                got: "full".into(),
            });
        }
        Ok(ControlFlow::Continue(()))
    }
    fn on_end(&mut self, error: Option<&Error>) -> vis::Result<()> {
        self.0.lock().unwrap().push(if error.is_some() { "failed".into() } else { "end".into() });
        Ok(())
    }
}

#[test]
fn callbacks_are_told_of_every_step_and_of_the_end_whether_good_or_bad() {
    let model = identity([1, 2, 2]);
    let told = |fail_at| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let run = Optimizer::new(&model, Bowl(0.0)).max_iter(2);
        let result = run.callback(Recorder(log.clone(), fail_at)).minimize();
        let log = log.lock().unwrap().clone();
        (log, result)
    };
    let (log, result) = told(None);
    assert_eq!(log, ["step 0", "step 1", "end"]);
    assert!(result.is_ok());
    let (log, result) = told(Some(0));
    assert_eq!(log, ["step 0", "failed"]);
    match result.unwrap_err() {
        Error::Stopped { step: 0, source, best: Some(best) } => {
            assert_eq!(source.to_string(), "the disk must be roomy, not full");
            assert_eq!(best.dims(), [1, 1, 2, 2]);
        }
        other => panic!("{other}"),
    }
}

/// Breaks after a step, and can't finish what it began.
struct Unfinishing(usize);

impl Callback for Unfinishing {
    fn on_step(&mut self, step: &Step) -> vis::Result<ControlFlow<()>> {
        Ok(if step.index == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn on_end(&mut self, _: Option<&Error>) -> vis::Result<()> {
        Err(Error::InvalidParameter { name: "the disk", expected: "roomy".into(), got: "full".into() })
    }
}

#[test]
fn a_callback_that_cannot_finish_is_reported_however_the_run_ends() {
    let model = identity([1, 2, 2]);
    let run = |breaks| Optimizer::new(&model, Bowl(0.0)).max_iter(4).callback(Unfinishing(breaks));
    let check = |result: vis::Result<vis::Minimized>, last: usize| match result.unwrap_err() {
        Error::Stopped { step, source, best: Some(_) } => {
            assert_eq!((step, source.to_string().as_str()), (last, "the disk must be roomy, not full"));
        }
        other => panic!("{other}"),
    };
    check(run(99).minimize(), 3);
    check(run(1).minimize(), 1);
    // Left by the caller.
    let mut steps = run(99).steps().unwrap();
    steps.by_ref().take(2).for_each(|step| drop(step.unwrap()));
    check(steps.finish(), 1);
    // Left before the first step, when there is no image to keep.
    let error = run(99).steps().unwrap().finish().unwrap_err();
    assert!(matches!(error, Error::Stopped { best: None, .. }), "{error}");
    // Told twice, it is told of once.
    let mut steps = run(0).steps().unwrap();
    assert!(steps.next().unwrap().is_ok() && steps.next().unwrap().is_err());
    assert!(steps.finish().is_ok());
}

#[test]
fn settings_out_of_range_are_refused_before_the_first_step() {
    let model = Tiny::new(&device());
    let run = || Optimizer::new(&model, losses());
    assert!(run().learning_rate(f64::NAN).minimize().is_err());
    assert!(run().learning_rate(-1.0).minimize().is_err());
    assert!(run().jitter(2.0_f32).minimize().is_err());
    assert!(run().batch(0).minimize().is_err());
    assert!(run().size(9, 8).minimize().is_err());
    assert!(run().seed_img(Tensor::zeros([1, 1, 8, 8], &device())).minimize().is_err());
    assert!(Optimizer::new(&model, Losses::new()).minimize().is_err());
    let nothing = ActivationMaximization::new("conv2", Vec::new());
    let error = Optimizer::new(&model, nothing).minimize().unwrap_err().to_string();
    assert_eq!(error, "the target must be at least one filter, not none");
}

#[test]
fn a_fourier_image_excites_its_filter_and_stays_in_range() {
    let model = Tiny::new(&device());
    let wanted = ActivationMaximization::new("conv2", 3);
    let run = Optimizer::new(&model, wanted.clone()).preset(&Preset::robust()).max_iter(60);
    let result = run.minimize().unwrap();
    let values = crate::host::values(result.image.clone());
    assert!(values.iter().all(|value| (0.0..=255.0).contains(value)));
    let grey = model.input().zeros(&device()) + 128.0;
    let loss = |image| Gradient::new(&model, &wanted.clone().into()).values(image).unwrap().totals()[0];
    assert!(loss(result.image) < 1.5 * loss(grey));
}
