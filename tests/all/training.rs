//! Layers of Burn that train on an autodiff device: the gradient is that of the network which the forward pass runs, or
//! there is none.

use burn::module::{Module, Param, RunningState};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, GaussianNoise, GaussianNoiseConfig, Linear,
    LinearConfig,
};
use burn::tensor::{Device, Tensor};
use vis::Target;
use vis::attribution::{
    Attribution, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Saliency, SmoothGrad,
};
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, Realism, TotalVariation};
use vis::model::{InputSpec, Stop, Taps};
use vis::parametrization::Parametrization;
use vis::visualization::deep_dream;
use vis::{Error, Model, Optimizer, visualize_cam, visualize_saliency};

use crate::support::{assert_close, device, energy, tensor};

/// A module of Burn between a tapped image and tapped scores, the sums over positions.
struct Network<F> {
    input: InputSpec,
    module: F,
}

/// What a [`Network`] is made of.
trait Middle: Send + Sync {
    fn middle(&self, x: Tensor<4>) -> Tensor<4>;
}

impl Middle for BatchNorm {
    fn middle(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }
}

impl Middle for Dropout {
    fn middle(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }
}

impl Middle for GaussianNoise {
    fn middle(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }
}

impl<F: Middle> Model for Network<F> {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = taps.layer("image", image)?;
        let x = taps.relu(self.module.middle(x));
        let [batch, channels, ..] = x.dims();
        taps.layer("sums", x.sum_dims(&[2, 3]).reshape([batch, channels]))?;
        Ok(())
    }
}

/// y = 2 (x − 1) / √(9 + 10⁻⁵): the slope is 0.6666663.
fn norm(channels: usize) -> BatchNorm {
    let filled = |value| Tensor::<1>::full([channels], value, &device());
    BatchNorm {
        gamma: Param::from_tensor(filled(2.0)),
        running_mean: RunningState::new(filled(1.0)),
        running_var: RunningState::new(filled(9.0)),
        ..BatchNormConfig::new(channels).with_epsilon(1e-5).init(&device())
    }
}

fn statistics(norm: &BatchNorm) -> Vec<f32> {
    let (mean, variance) = (norm.running_mean.value(), norm.running_var.value());
    [crate::host::values(mean), crate::host::values(variance)].concat()
}

fn fixed<F>(module: F, [channels, height, width]: [usize; 3]) -> Network<F> {
    Network { input: InputSpec::new([channels, height, width], (0.0, 9.0)), module }
}

fn any_size<F>(module: F, shape: [usize; 3]) -> Network<F> {
    let Network { input, module } = fixed(module, shape);
    Network { input: input.with_any_size_from(2), module }
}

fn image(batch: usize, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let count = batch * channels * height * width;
    let values: Vec<f32> = (0..count).map(|index| 2.0 + (index * 7 % 11) as f32 / 2.0).collect();
    tensor(&values, [batch, channels, height, width])
}

const SHAPE: [usize; 3] = [2, 9, 13];

#[track_caller]
fn assert_training<T: std::fmt::Debug>(result: Result<T, Error>) {
    let Err(error) = result else { panic!("a network that trains was not noticed") };
    let mut inner = &error;
    while let Error::Stopped { source, .. } = inner {
        inner = source;
    }
    assert!(matches!(inner, Error::Training { .. }), "{error}");
    assert!(error.to_string().contains("freeze"), "{error}");
}

/// Every way to a gradient, each told apart by its name.
fn ways(model: &dyn Model, image: &Tensor<4>) -> Vec<(String, Result<(), Error>)> {
    let target = Target::class(1);
    let methods: Vec<Box<dyn Attribution>> = vec![
        Box::new(Saliency::new()),
        Box::new(Saliency::guided()),
        Box::new(Saliency::new().times_input()),
        Box::new(IntegratedGradients::new().steps(3)),
        Box::new(SmoothGrad::new(Saliency::new()).samples(3)),
        Box::new(GuidedGradCam::new().penultimate_layer("image")),
        Box::new(Cam::new(Formula::GradCam)),
        Box::new(Cam::new(Formula::LayerCam).penultimate_layer("image")),
        Box::new(Cam::new(Formula::AblationCam).penultimate_layer("image")),
    ];
    let mut ways: Vec<(String, Result<(), Error>)> = methods
        .iter()
        .map(|method| (method.name(), method.attribute(model, image.clone(), &target).map(drop)))
        .collect();
    let losses = ActivationMaximization::new("sums", 1).into();
    let primitive = Gradient::new(model, &losses);
    ways.push(("gradient".into(), primitive.evaluate(image.clone()).map(drop)));
    ways.push(("at a layer".into(), primitive.at_layer("image").evaluate(image.clone()).map(drop)));
    let run =
        Optimizer::new(model, ActivationMaximization::new("sums", 1)).seed_img(image.clone()).max_iter(2);
    ways.push(("optimizer".into(), run.minimize().map(drop)));
    let one = image.clone().narrow(0, 0, 1);
    ways.push((
        "visualize_saliency".into(),
        visualize_saliency(model, one.clone()).filter_indices(1).run().map(drop),
    ));
    ways.push(("visualize_cam".into(), visualize_cam(model, one.clone()).filter_indices(1).run().map(drop)));
    let dream = deep_dream(model, one).octaves(1).max_iter(2);
    ways.push(("deep dream".into(), dream.layer("sums").run().map(drop)));
    ways
}

#[test]
fn a_frozen_batch_norm_has_the_gradient_of_its_running_statistics() {
    for frozen in [norm(2).freeze(), norm(2).valid(), norm(2).freeze().valid(), norm(2).valid().freeze()] {
        for model in [fixed(frozen.clone(), SHAPE), any_size(frozen.clone(), SHAPE)] {
            let map = Saliency::new().attribute(&model, image(2, SHAPE), &Target::class(1)).unwrap();
            let map = crate::host::array4(map);
            // Every pixel is above the running mean, so the rectifier passes all of the channel that is asked for.
            for ((_, channel, ..), slope) in map.indexed_iter().map(|(place, slope)| (place, *slope)) {
                let expected = if channel == 1 { 0.666_666_3 } else { 0.0 };
                assert!((slope - expected).abs() < 1e-6, "{slope}");
            }
            assert_eq!(statistics(&frozen), [1.0, 1.0, 9.0, 9.0]);
        }
    }
}

#[test]
fn a_batch_norm_that_trains_is_refused_by_every_method_and_stays_as_it_was() {
    for size_is_free in [false, true] {
        let norm = norm(2);
        let model = if size_is_free { any_size(norm.clone(), SHAPE) } else { fixed(norm.clone(), SHAPE) };
        let batch = image(2, SHAPE);
        let before = crate::host::values(model.classify(batch.clone()).unwrap());
        for (_, result) in ways(&model, &batch) {
            assert_training(result);
        }
        assert_eq!(statistics(&norm), [1.0, 1.0, 9.0, 9.0]);
        assert_eq!(crate::host::values(model.classify(batch.clone()).unwrap()), before);
        // What was refused can be frozen and run.
        let frozen = fixed(norm.freeze(), SHAPE);
        let map = Saliency::new().attribute(&frozen, batch.clone(), &Target::class(0)).unwrap();
        assert_close(&crate::host::values(map)[..1], &[0.666_666_3], 1e-6);
        assert_eq!(crate::host::values(frozen.classify(batch).unwrap()), before);
    }
}

#[test]
fn frozen_networks_pass_every_method() {
    let image = image(2, SHAPE);
    for (way, result) in ways(&fixed(norm(2).freeze(), SHAPE), &image) {
        assert!(result.is_ok(), "{way}: {result:?}");
    }
    for (way, result) in ways(&any_size(DropoutConfig::new(0.5).init().freeze(), SHAPE), &image) {
        assert!(result.is_ok(), "{way}: {result:?}");
    }
}

#[test]
fn dropout_and_noise_that_train_are_refused_at_any_strength() {
    for probability in [0.01, 0.1, 0.5, 0.9] {
        for model in [
            fixed(DropoutConfig::new(probability).init(), SHAPE),
            any_size(DropoutConfig::new(probability).init(), SHAPE),
        ] {
            assert_training(Saliency::new().attribute(&model, image(1, SHAPE), &Target::class(0)));
        }
    }
    let noise = fixed(GaussianNoiseConfig::new(2.0).init(), SHAPE);
    assert_training(Saliency::new().attribute(&noise, image(3, SHAPE), &Target::class(0)));
}

#[test]
fn a_frozen_dropout_gives_the_same_map_at_each_call() {
    let model = fixed(DropoutConfig::new(0.5).init().valid(), SHAPE);
    let map = || {
        crate::host::values(Saliency::new().attribute(&model, image(1, SHAPE), &Target::class(1)).unwrap())
    };
    assert_eq!(map(), map());
    assert_eq!(map()[9 * 13..], vec![1.0; 9 * 13]);
}

#[test]
fn training_shows_on_flat_images_as_well() {
    // Of statistics 0 and 1 a black image is normalised to zeros, by the batch as by what is remembered.
    let fresh = || BatchNormConfig::new(2).init(&device());
    let black = Tensor::zeros([1, 2, 9, 13], &device());
    for model in [fixed(fresh(), SHAPE), any_size(fresh(), SHAPE)] {
        let losses = vis::losses![(energy("sums"), 1.0)];
        assert_training(Gradient::new(&model, &losses).evaluate(black.clone()));
    }
}

#[test]
fn methods_without_a_gradient_take_networks_that_train() {
    let norm = norm(2);
    let model = fixed(norm.clone(), SHAPE);
    let target = Target::class(1);
    for method in [
        Box::new(Occlusion::new([3, 3])) as Box<dyn Attribution>,
        Box::new(Cam::new(Formula::ScoreCam).penultimate_layer("image")),
        Box::new(Cam::new(Formula::EigenCam).penultimate_layer("image")),
    ] {
        let map = method.attribute(&model, image(1, SHAPE), &target);
        assert!(map.is_ok(), "{}: {map:?}", method.name());
    }
    assert_eq!(statistics(&norm), [1.0, 1.0, 9.0, 9.0]);
    // Nor do losses that name no layer ask the network.
    let run = Optimizer::new(&model, TotalVariation::default()).max_iter(2);
    assert!(run.minimize().is_ok());
}

#[test]
fn a_deep_layer_that_nothing_asked_for_may_train() {
    // The gradient ends at `image`, before the normalisation.
    let model = fixed(norm(2), SHAPE);
    let losses = energy("image").into();
    assert!(Gradient::new(&model, &losses).evaluate(image(1, SHAPE)).is_ok());
}

#[test]
fn a_model_that_says_it_is_frozen_is_not_compared() {
    struct Sworn(Network<BatchNorm>);
    impl Model for Sworn {
        fn input(&self) -> &InputSpec {
            self.0.input()
        }
        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            self.0.forward(image, taps)
        }
        fn is_frozen(&self) -> bool {
            true
        }
    }
    let model = Sworn(fixed(norm(2), SHAPE));
    assert!(Saliency::new().attribute(&&model, image(1, SHAPE), &Target::class(0)).is_ok());
    assert!(Model::is_frozen(&Box::new(model)));
    assert!(!fixed(norm(2), SHAPE).is_frozen());
}

#[test]
fn a_run_compares_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counted(InputSpec, AtomicUsize);
    impl Model for Counted {
        fn input(&self) -> &InputSpec {
            &self.0
        }
        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let x = taps.relu(image);
            let x = taps.layer("map", x)?;
            taps.layer("sums", x.sum_dims(&[2, 3]))?;
            Ok(())
        }
        fn logits(&self) -> Option<&str> {
            Some("sums")
        }
    }
    let passes = |run: &dyn Fn(&Counted)| {
        let model = Counted(InputSpec::new(SHAPE, (0.0, 9.0)), AtomicUsize::new(0));
        run(&model);
        model.1.into_inner()
    };
    let target = Target::class(0);
    // One pass a step, and one more at the first.
    let steps = passes(&|model| {
        let run = Optimizer::new(model, ActivationMaximization::new("sums", 1)).max_iter(7);
        run.minimize().unwrap();
    });
    assert_eq!(steps, 7 + 1);
    let saliency = passes(&|model| drop(Saliency::new().attribute(model, image(3, SHAPE), &target).unwrap()));
    assert_eq!(saliency, 1 + 1);
    let smooth = passes(&|model| {
        let method = SmoothGrad::new(Saliency::new()).samples(9).batch_size(2);
        drop(method.attribute(model, image(2, SHAPE), &target).unwrap());
    });
    // For each of two images one clean copy and four pairs of noisy ones.
    assert_eq!(smooth, 2 * (1 + 4) + 1);
    let integrated = passes(&|model| {
        let method = IntegratedGradients::new().steps(6).batch_size(2);
        drop(method.attribute(model, image(2, SHAPE), &target).unwrap());
    });
    // The scores of the images and of their baselines, and three batches of points for each of two images.
    assert_eq!(integrated, 2 + 2 * 3 + 1);
}

#[test]
fn a_discriminator_that_trains_is_refused() {
    struct Judge(BatchNorm, Linear, InputSpec);
    impl Model for Judge {
        fn input(&self) -> &InputSpec {
            &self.2
        }
        fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
            let x = self.0.forward(image).mean_dims(&[2, 3]).reshape([-1, 2]);
            taps.layer("score", self.1.forward(x))?;
            Ok(())
        }
    }
    let judge =
        |norm| Judge(norm, LinearConfig::new(2, 1).init(&device()), InputSpec::new(SHAPE, (0.0, 9.0)));
    let model = fixed(norm(2).freeze(), SHAPE);
    let run = |norm| {
        let losses = vis::losses![
            (ActivationMaximization::new("sums", 0), 1.0),
            (Realism::new(judge(norm), (0.0, 9.0)), 1.0)
        ];
        Optimizer::new(&model, losses).max_iter(2).minimize()
    };
    assert_training(run(norm(2)));
    assert!(run(norm(2).freeze()).is_ok());
}

#[test]
fn a_parametrization_that_trains_is_refused() {
    #[derive(Debug)]
    struct Normalized(BatchNorm);
    impl Parametrization for Normalized {
        fn start(&self, shape: [usize; 4], seed: u64, first: usize, device: &Device) -> Tensor<4> {
            vis::random::noise(shape, (0.0, 9.0), seed, first, device)
        }
        fn encode(&self, image: Tensor<4>) -> vis::Result<Tensor<4>> {
            Ok(image)
        }
        fn decode(&self, variable: Tensor<4>) -> Tensor<4> {
            self.0.forward(variable)
        }
    }
    let model = fixed(norm(2).freeze(), SHAPE);
    let run = |norm| {
        let losses = ActivationMaximization::new("sums", 0);
        Optimizer::new(&model, losses).parametrization(Normalized(norm)).max_iter(2).minimize()
    };
    let trains = norm(2);
    assert_training(run(trains.clone()));
    assert_eq!(statistics(&trains), [1.0, 1.0, 9.0, 9.0]);
    assert!(run(norm(2).freeze()).is_ok());
}
