//! What is told of a run belongs to what it gives: steps to images, labels to pictures, in every batch.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use burn::tensor::{Tensor, TensorData};
use vis::callbacks::Callback;
use vis::model::{Digits, Tiny};
use vis::optimizer::{Normalization, Step, Steps};
use vis::{Loss, Optimizer, Scene, visualize_activation};

use crate::support::{device, identity, tensor};

/// A loss that is what a table says, a row for each step and a value for each image, with the slope of the image.
struct Table {
    rows: Vec<[f32; 2]>,
    calls: Mutex<usize>,
}

impl Loss for Table {
    fn name(&self) -> String {
        "table".into()
    }
    fn build_loss(&self, scene: &Scene) -> vis::Result<Tensor<1>> {
        let mut calls = self.calls.lock().unwrap();
        let said = Tensor::from_data(TensorData::from(self.rows[*calls]), &scene.device());
        *calls += 1;
        let square = scene.image().square().sum_dims(&[1, 2, 3]).reshape([2]);
        Ok(square.clone() - square.detach() + said)
    }
}

#[test]
fn of_equal_lowest_losses_the_first_counts_for_the_step_and_for_the_image_alike() {
    let model = identity([1, 2, 3]);
    let start = tensor(&[9.0, -8.0, 7.0, 6.0, 5.0, -4.0, 1.0, 2.0, 3.0, -4.0, 5.0, 6.0], [2, 1, 2, 3]);
    for (rows, best) in [
        (vec![[5.0, 4.0], [2.0, 4.0], [3.0, 6.0], [2.0, 1.0], [2.0, 1.0]], [1, 3]),
        (vec![[-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], [0, 0]),
        (vec![[3.0, 3.0], [-2.0, 2.0], [-2.0, 1.0], [-2.0, 1.0]], [1, 2]),
    ] {
        for read_every in [1, 2, 9] {
            let table = Table { rows: rows.clone(), calls: Mutex::new(0) };
            let run = Optimizer::new(&model, table).seed_img(start.clone()).normalize(Normalization::None);
            let mut steps =
                run.max_iter(rows.len()).learning_rate(0.1).read_every(read_every).steps().unwrap();
            let seen: Vec<_> = steps.by_ref().map(|step| step.unwrap()).collect();
            let result = steps.finish().unwrap();
            assert_eq!(result.best_step, best);
            for (image, step) in best.into_iter().enumerate() {
                assert_eq!(result.best_loss[image], rows[step][image]);
                let of = |x: &Tensor<4>| crate::host::values(x.clone().narrow(0, image, 1));
                assert_eq!(of(&result.image), of(&seen[step].image), "{rows:?} image {image}");
                assert_eq!(of(&result.value), of(&seen[step].value), "{rows:?} image {image}");
                assert_eq!(of(&result.gradient), of(&seen[step].gradient), "{rows:?} image {image}");
            }
        }
    }
}

#[test]
fn labels_stay_with_their_pictures_however_these_are_cut_into_batches() {
    let (tiny, digits) = (Tiny::new(&device()), Digits::bundled(&device()).unwrap());
    // One at a time, two at a time, all together: 1, 2 and 5 pictures in memory.
    let table = |memory: usize| {
        let given = visualize_activation(&tiny, "conv2").filter_indices([4, 0, 3, 1, 5]);
        let given = given.labels(["four", "zero", "three", "one", "five"]).memory_limit(memory).max_iter(1);
        let named = visualize_activation(&digits, "predictions").filter_indices([[7], [0], [3]]);
        let named = named.memory_limit(memory).max_iter(1);
        [given.run().unwrap(), named.run().unwrap()].map(|pictures| {
            pictures
                .iter()
                .map(|picture| (picture.label.clone(), picture.target.to_string(), picture.after))
                .collect::<Vec<_>>()
        })
    };
    let together = table(1 << 30);
    let words = |rows: &[(String, String, f32)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(words(&together[0]), ["four", "zero", "three", "one", "five"]);
    assert_eq!(words(&together[1]), ["7", "0", "3"]);
    for memory in [1, 60_000, 100_000, 500_000] {
        for (cut, whole) in table(memory).iter().zip(&together) {
            assert_eq!(cut.len(), whole.len());
            for (cut, whole) in cut.iter().zip(whole) {
                assert_eq!((&cut.0, &cut.1), (&whole.0, &whole.1), "{memory} bytes");
                assert!((cut.2 - whole.2).abs() <= 1e-3 * whole.2.abs().max(1.0), "{memory} bytes");
            }
        }
    }
}

/// Notes at each end how many steps there were.
struct Ends(usize, Arc<Mutex<Vec<usize>>>);

impl Callback for Ends {
    fn on_step(&mut self, _: &Step) -> vis::Result<ControlFlow<()>> {
        self.0 += 1;
        Ok(ControlFlow::Continue(()))
    }
    fn on_end(&mut self, _: Option<&vis::Error>) -> vis::Result<()> {
        self.1.lock().unwrap().push(self.0);
        Ok(())
    }
}

#[test]
fn a_run_that_is_dropped_half_way_has_ended_and_ends_once() {
    let model = identity([1, 2, 3]);
    let ended = |leave: &dyn Fn(&mut Steps<'_>)| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let wanted = vis::losses::ActivationMaximization::new("output", 0);
        let run = Optimizer::new(&model, wanted).callback(Ends(0, told.clone())).max_iter(3);
        let mut steps = run.steps().unwrap();
        leave(&mut steps);
        drop(steps);
        told.lock().unwrap().clone()
    };
    assert_eq!(ended(&|_| ()), [0]);
    assert_eq!(ended(&|steps| steps.take(2).for_each(|step| drop(step.unwrap()))), [2]);
    assert_eq!(ended(&|steps| steps.for_each(|step| drop(step.unwrap()))), [3]);
}

#[test]
fn progress_tells_the_mean_loss_of_the_batch_at_the_steps_that_are_read() {
    let model = identity([1, 2, 3]);
    let rows = vec![[5.0, 4.0], [2.0, -4.0], [3.0, 6.5], [0.0, 1.0], [7.0, 1.0]];
    let told = |read_every: usize| -> Vec<Option<f32>> {
        let table = Table { rows: rows.clone(), calls: Mutex::new(0) };
        let start = Tensor::ones([2, 1, 2, 3], &device());
        let run = Optimizer::new(&model, table).seed_img(start).max_iter(5).read_every(read_every);
        run.steps().unwrap().map(|step| step.unwrap().progress().loss).collect()
    };
    let means = [4.5, -1.0, 4.75, 0.5, 4.0];
    assert_eq!(told(1), means.map(Some));
    assert_eq!(told(2), [None, Some(means[1]), None, Some(means[3]), Some(means[4])]);
}
