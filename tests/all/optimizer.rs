//! The optimizer: its trajectory, its bookkeeping, and how it ends.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use burn::optim::AdamConfig;
use burn::tensor::Tensor;
use vis::callbacks::{Callback, End};
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, LPNorm, Losses, TotalVariation};
use vis::model::{Preset, Tiny};
use vis::optimizer::{BurnUpdate, Normalization, RmsProp, Step, Update};
use vis::{Error, Loss, Model, Optimizer, Scene};

use crate::support::{assert_close, device, identity, tensor};

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
        assert_close(&vis::host::values(at - moved.clone()), &[expected], 1e-4);
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
        assert_close(&vis::host::values(result.gradient), &[3.0 / scale, 4.0 / scale], 1e-5);
    }
}

#[test]
fn the_bowl_is_descended_to_its_bottom_by_every_update() {
    let model = identity([1, 2, 2]);
    let start =
        || Optimizer::new(&model, Bowl(100.0)).seed_img(tensor(&[3.0, 50.0, 120.0, 250.0], [1, 1, 2, 2]));
    let adam = BurnUpdate::new(AdamConfig::new().build());
    for run in [start().learning_rate(0.5), start().update(adam).learning_rate(2.0)] {
        let result = run.max_iter(600).minimize().unwrap();
        assert!(result.best_loss[0] < 1.0, "{}", result.best_loss[0]);
        assert_close(&vis::host::values(result.image), &[100.0; 4], 1.0);
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
        let run = Optimizer::new(&model, losses).batch_from(first, filters.len()).jitter(0.2);
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
        vis::host::values(run.minimize().unwrap().image)
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
        assert_eq!(vis::host::values(step.unwrap().image), vis::host::values(image.clone()));
    }
}

#[test]
fn no_steps_return_the_start() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([2, 3, 8, 8], (0.0, 255.0), 0, 0, &device());
    let result = Optimizer::new(&model, losses()).seed_img(image.clone()).max_iter(0).minimize().unwrap();
    assert_eq!(vis::host::values(result.image), vis::host::values(image));
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
    let result = steps.finish();
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
    assert_eq!(vis::host::values(often.image), vis::host::values(rarely.image));
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
        matches!(&error, Error::NonFinite { what, step: 3, .. } if what == "the loss `spoiled`"),
        "{error}"
    );
    let best = vis::host::values(error.best_image().unwrap().clone());
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
        Ok((scene.image() * 0.0).sqrt().sum_dims(&[1, 2, 3]).reshape([scene.batch()]))
    }
}

#[test]
fn a_gradient_that_turns_infinite_stops_the_run() {
    let model = identity([1, 2, 2]);
    let error = Optimizer::new(&model, Cliff).minimize().unwrap_err();
    assert!(matches!(&error, Error::NonFinite { what, step: 0, .. } if what == "the gradient"), "{error}");
}

struct Recorder(Arc<Mutex<Vec<String>>>, Option<usize>);

impl Callback for Recorder {
    fn on_step(&mut self, step: &Step) -> vis::Result<ControlFlow<()>> {
        self.0.lock().unwrap().push(format!("step {}", step.index));
        if self.1 == Some(step.index) {
            return Err(Error::invalid("the disk", "roomy", "full"));
        }
        Ok(ControlFlow::Continue(()))
    }
    fn on_end(&mut self, end: &End) -> vis::Result<()> {
        let failed = if end.error.is_some() { ", failed" } else { "" };
        self.0.lock().unwrap().push(format!("end after {}{failed}", end.steps));
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
    assert_eq!(log, ["step 0", "step 1", "end after 2"]);
    assert!(result.is_ok());
    let (log, result) = told(Some(0));
    assert_eq!(log, ["step 0", "end after 1, failed"]);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Stopped { step: 0, .. }) && error.best_image().is_some(), "{error}");
}

#[test]
fn settings_out_of_range_are_refused_before_the_first_step() {
    let model = Tiny::new(&device());
    let run = || Optimizer::new(&model, losses());
    assert!(run().learning_rate(f64::NAN).minimize().is_err());
    assert!(run().learning_rate(-1.0).minimize().is_err());
    assert!(run().jitter(2.0_f32).minimize().is_err());
    assert!(run().batch(0).minimize().is_err());
    assert!(run().size_of_image(9, 8).minimize().is_err());
    assert!(run().seed_img(Tensor::zeros([1, 1, 8, 8], &device())).minimize().is_err());
    assert!(Optimizer::new(&model, Losses::new()).minimize().is_err());
}

#[test]
fn a_fourier_image_excites_its_filter_and_stays_in_range() {
    let model = Tiny::new(&device());
    let wanted = ActivationMaximization::new("conv2", 3);
    let run = Optimizer::new(&model, wanted.clone()).preset(&Preset::robust()).max_iter(60);
    let result = run.minimize().unwrap();
    let values = vis::host::values(result.image.clone());
    assert!(values.iter().all(|value| (0.0..=255.0).contains(value)));
    let grey = model.input().zeros(&device()) + 128.0;
    let loss = |image| Gradient::new(&model, &wanted.clone().into()).values(image).unwrap().totals()[0];
    assert!(loss(result.image) < 1.5 * loss(grey));
}
