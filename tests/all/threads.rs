//! What can be handed to another thread: everything that takes time.

use vis::attribution::{Cam, IntegratedGradients, Occlusion, Rise, Saliency, SmoothGrad};
use vis::metrics::{MuFidelity, PixelCurve, RandomizationCheck};
use vis::visualization::{
    DeepDream, DrawCaricature, Invert, StyleTransfer, Texture, VisualizeActivation, VisualizeCam,
    VisualizeSaliency,
};
use vis::{Error, Optimizer, Progress, optimizer::Steps};

fn can_be_sent<T: Send>() {}
fn can_be_shared<T: Send + Sync>() {}

#[test]
fn every_builder_can_be_sent_to_another_thread() {
    can_be_sent::<Optimizer<'_>>();
    can_be_sent::<Steps<'_>>();
    can_be_sent::<VisualizeActivation<'_>>();
    can_be_sent::<VisualizeSaliency<'_>>();
    can_be_sent::<VisualizeCam<'_>>();
    can_be_sent::<DeepDream<'_>>();
    can_be_sent::<DrawCaricature<'_>>();
    can_be_sent::<Invert<'_>>();
    can_be_sent::<StyleTransfer<'_>>();
    can_be_sent::<Texture<'_>>();
}

#[test]
fn methods_measures_and_what_they_report_can_be_shared_between_threads() {
    can_be_shared::<SmoothGrad<Saliency>>();
    can_be_shared::<(Cam, IntegratedGradients, Occlusion, Rise)>();
    can_be_shared::<(MuFidelity, PixelCurve, RandomizationCheck<'_>)>();
    can_be_shared::<(Progress, Error)>();
}

#[test]
fn a_run_with_a_watcher_works_on_another_thread() {
    let model = vis::model::Tiny::new(&Default::default());
    let mut told = 0;
    let run = vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(3).progress(|_| {
        told += 1;
        std::ops::ControlFlow::Continue(())
    });
    let pictures = std::thread::scope(|scope| scope.spawn(|| run.run().unwrap()).join().unwrap());
    assert_eq!((pictures[0].losses.steps(), told), (3, 3));
}
