//! What must hold for every method on every network.

use burn::tensor::Tensor;
use vis::Model;
use vis::Target;
use vis::attribution::{
    Attribution, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Rise, Saliency, SmoothGrad,
    Statistic, magnitude,
};
use vis::model::Tiny;

use super::networks::{Alone, Pooled, Quarter};
use super::{difference, image, random_image};

/// Every method, cheap enough for a test, with this many variations at once.
fn every_method(batch_size: usize) -> Vec<Box<dyn Attribution>> {
    let mut methods: Vec<Box<dyn Attribution>> = vec![
        Box::new(Saliency::new()),
        Box::new(Saliency::new().times_input()),
        Box::new(Saliency::guided()),
        Box::new(Saliency::deconvolution()),
        Box::new(IntegratedGradients::new().steps(9).batch_size(batch_size)),
        Box::new(SmoothGrad::new(Saliency::new()).samples(7).batch_size(batch_size)),
        Box::new(
            SmoothGrad::new(Saliency::guided())
                .samples(7)
                .statistic(Statistic::Squared)
                .batch_size(batch_size),
        ),
        Box::new(
            SmoothGrad::new(Cam::new(Formula::HiResCam))
                .samples(7)
                .statistic(Statistic::Variance)
                .batch_size(batch_size),
        ),
        Box::new(GuidedGradCam::new()),
        Box::new(Occlusion::new([3, 4]).stride([2, 3]).batch_size(batch_size)),
        Box::new(Rise::new().masks(20).cells(3).batch_size(batch_size)),
    ];
    for formula in Formula::ALL {
        methods.push(Box::new(Cam::new(formula).batch_size(batch_size)));
    }
    methods
}

fn networks() -> Vec<(Box<dyn Model>, Tensor<4>)> {
    let tiny = Tiny::new(&Default::default());
    vec![
        (Box::new(tiny), random_image([3, 3, 8, 8], 0.0..255.0, 1)),
        (Box::new(Pooled::new(2)), random_image([3, 3, 9, 7], 0.0..1.0, 2)),
    ]
}

#[test]
fn a_batch_of_three_gives_the_maps_of_three_single_runs_even_with_a_target_each() {
    for (model, images) in networks() {
        let last = model.layers().unwrap()[0].name.clone();
        let targets = [Target::class(1), Target::class(2) - Target::class(0), Target::predicted()];
        for method in every_method(4) {
            let all = method.attribute(&*model, images.clone(), &Target::per_image(targets.clone())).unwrap();
            for (index, target) in targets.iter().enumerate() {
                let one = method.attribute(&*model, images.clone().narrow(0, index, 1), target).unwrap();
                let off = difference(all.clone().narrow(0, index, 1), one);
                assert!(off < 1e-4, "{} of image {index} is off by {off}", method.name());
            }
        }
        // Targets of different layers in one batch.
        let mixed = [Target::class(0), Target::class(3), Target::channel(&last, 1)];
        let all =
            Saliency::new().attribute(&*model, images.clone(), &Target::per_image(mixed.clone())).unwrap();
        for (index, target) in mixed.iter().enumerate() {
            let one = Saliency::new().attribute(&*model, images.clone().narrow(0, index, 1), target).unwrap();
            assert!(difference(all.clone().narrow(0, index, 1), one) < 1e-4);
        }
    }
}

#[test]
fn no_map_depends_on_how_many_variations_run_at_once() {
    for (model, images) in networks() {
        let target = Target::class(1) + Target::class(2);
        for (one, many) in every_method(1).into_iter().zip(every_method(64)) {
            let off = difference(
                one.attribute(&*model, images.clone(), &target).unwrap(),
                many.attribute(&*model, images.clone(), &target).unwrap(),
            );
            assert!(off < 1e-4, "{} is off by {off}", one.name());
        }
    }
}

#[test]
fn smooth_grad_of_one_sample_is_the_method_itself() {
    for (model, images) in networks() {
        for method in
            [Box::new(Saliency::guided()) as Box<dyn Attribution>, Box::new(Cam::new(Formula::LayerCam))]
        {
            let itself = method.attribute(&*model, images.clone(), &Target::class(1)).unwrap();
            let smooth = SmoothGrad::new(method).samples(1);
            let smooth = smooth.attribute(&*model, images.clone(), &Target::class(1)).unwrap();
            assert_eq!(crate::host::values(smooth), crate::host::values(itself));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_map_and_another_seed_another() {
    let (model, images) = networks().remove(0);
    let values = |method: &dyn Attribution| {
        crate::host::values(method.attribute(&*model, images.clone(), &Target::class(1)).unwrap())
    };
    let smooth = |seed| SmoothGrad::new(Saliency::new()).samples(3).seed(seed);
    assert_eq!(values(&smooth(5)), values(&smooth(5)));
    assert_ne!(values(&smooth(5)), values(&smooth(6)));
    let rise = |seed| Rise::new().masks(5).cells(3).seed(seed);
    assert_eq!(values(&rise(5)), values(&rise(5)));
    assert_ne!(values(&rise(5)), values(&rise(6)));
}

#[test]
fn integrated_gradients_are_complete_on_any_network() {
    for (model, images) in networks() {
        let target = Target::per_image([
            Target::class(0),
            Target::class(1) - Target::class(2),
            Target::probability(1),
        ]);
        let method = IntegratedGradients::new().steps(400).batch_size(50);
        let found = method.evaluate(&*model, images, &target).unwrap();
        for (residual, difference) in found.residual.iter().zip(&found.difference) {
            assert!(residual.abs() < 0.01 * difference.abs().max(0.1), "{residual} of {difference}");
        }
    }
}

#[test]
fn on_a_linear_network_all_shares_of_the_score_are_weight_times_pixel() {
    // S = w·x: the gradient is w wherever it is taken. So gradient times input, integrated gradients from 0,
    // occlusion of single pixels by 0, and the gradient's HiResCAM at the image are all w∘x; SmoothGrad is w, and
    // its variance 0.
    let model = Alone::new([1, 2, 3], None);
    let weights = [1.0, -2.0, 0.5, 3.0, 0.0, -1.0];
    let target = Target::function(move |y| {
        let [batch, _] = y.dims();
        (y.clone() * Tensor::<2>::from_floats([weights], &y.device())).sum_dim(1).reshape([batch])
    });
    let pixels = [[4.0, 1.0, -2.0], [0.5, 7.0, 3.0]];
    let shares: Vec<f32> = pixels.iter().flatten().zip(weights).map(|(x, w)| x * w).collect();
    let zero = || vis::attribution::Baseline::Value(0.0);
    let methods: [Box<dyn Attribution>; 4] = [
        Box::new(Saliency::new().times_input()),
        Box::new(IntegratedGradients::new().steps(3).baseline(zero())),
        Box::new(Occlusion::new([1, 1]).baseline(zero())),
        Box::new(Cam::new(Formula::HiResCam).penultimate_layer("features")),
    ];
    for method in methods {
        super::assert_map(method.attribute(&model, image([pixels]), &target).unwrap(), &shares, 1e-5);
    }
    let smooth = || SmoothGrad::new(Saliency::new()).samples(6);
    super::assert_map(smooth().attribute(&model, image([pixels]), &target).unwrap(), &weights, 1e-6);
    super::assert_map(
        smooth().statistic(Statistic::Variance).attribute(&model, image([pixels]), &target).unwrap(),
        &[0.0; 6],
        1e-6,
    );
}

#[test]
fn maps_of_a_class_that_depends_on_one_quarter_lie_in_that_quarter() {
    let model = Quarter::new();
    let x = random_image([1, 1, 8, 8], 0.3..0.9, 4);
    let methods: [Box<dyn Attribution>; 10] = [
        Box::new(Saliency::new()),
        Box::new(Saliency::guided()),
        Box::new(IntegratedGradients::new()),
        Box::new(SmoothGrad::new(Saliency::new())),
        Box::new(GuidedGradCam::new()),
        Box::new(Occlusion::new([2, 2]).stride([2, 2])),
        Box::new(Cam::new(Formula::GradCam)),
        Box::new(Cam::new(Formula::HiResCam)),
        Box::new(Cam::new(Formula::LayerCam)),
        Box::new(Cam::new(Formula::AblationCam)),
    ];
    for method in methods {
        let map = magnitude(method.attribute(&model, x.clone(), &Target::class(0)).unwrap());
        let inside = crate::host::values(map.clone().narrow(2, 0, 4).narrow(3, 0, 4).sum())[0];
        let share = inside / crate::host::values(map.sum())[0];
        assert!(share > 0.9, "{}: {share}", method.name());
    }
}
