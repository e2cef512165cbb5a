//! Bad input is refused by a message that helps, and never panics.

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{
    Attribution, Baseline, Cam, Formula, IntegratedGradients, Occlusion, Quadrature, Rise, Saliency,
    SmoothGrad,
};
use vis::model::Tiny;
use vis::optimizer::GradientModifier;
use vis::{Error, Model, Rule};

use super::image;
use super::networks::{Alone, MultiLayer, OneConv};

fn tiny() -> (Tiny, Tensor<4>) {
    let model = Tiny::new(&Default::default());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    (model, image)
}

fn message(method: &dyn Attribution, model: &dyn Model, image: Tensor<4>, target: &Target) -> String {
    method.attribute(model, image, target).unwrap_err().to_string()
}

#[test]
fn a_class_channel_or_position_out_of_range_is_named_with_its_layer_and_what_that_has() {
    let (model, image) = tiny();
    for method in [
        Box::new(Saliency::new()) as Box<dyn Attribution>,
        Box::new(Cam::new(Formula::GradCam)),
        Box::new(Cam::new(Formula::AblationCam)),
        Box::new(IntegratedGradients::new()),
        Box::new(Occlusion::new([4, 4])),
        Box::new(Rise::new().cells(2)),
    ] {
        let message = |target| message(&*method, &model, image.clone(), &target);
        assert_eq!(message(Target::class(5)), "class 5 is out of range: layer `logits` has 5 (0 to 4)");
        assert_eq!(message(Target::probability(7)), "class 7 is out of range: layer `logits` has 5 (0 to 4)");
        assert_eq!(
            message(Target::channel("conv2", 6)),
            "channel 6 is out of range: layer `conv2` has 6 (0 to 5)"
        );
        assert_eq!(
            message(Target::neuron("conv2", 0, 4, 0)),
            "row 4 is out of range: layer `conv2` has 4 (0 to 3)"
        );
        assert!(message(Target::channel("conv_2", 6)).contains("did you mean `conv2`?"));
        assert!(
            message(Target::per_image([Target::class(0), Target::class(1)])).contains("one per image (1)")
        );
        assert!(message([].into_iter().sum()).contains("at least one score"));
    }
}

#[test]
fn a_gradient_that_is_zero_everywhere_is_refused_with_the_image_and_the_target() {
    // A black second image: every window of the one-conv network is below its bias.
    let images = Tensor::cat(vec![OneConv::image(), OneConv::image().zeros_like()], 0);
    for method in [
        Box::new(Saliency::new()) as Box<dyn Attribution>,
        Box::new(Cam::new(Formula::GradCam).penultimate_layer("conv1")),
        Box::new(SmoothGrad::new(Saliency::new()).samples(3)),
    ] {
        let refused = method.attribute(&OneConv::new(), images.clone(), &Target::class(3));
        let Err(Error::ZeroGradient { what, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(what, "class 3 for image 1");
    }
    // Integrated gradients need none from an image to itself: here the second is too dark all along the line.
    let images = Tensor::cat(vec![OneConv::image(), OneConv::image().ones_like()], 0);
    let refused = IntegratedGradients::new().attribute(&OneConv::new(), images, &Target::class(3));
    let Err(Error::ZeroGradient { what, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(what, "class 3 for image 1");
}

#[test]
fn a_gradient_that_is_not_a_number_is_refused_with_the_image() {
    let model = Alone::new([1, 1, 2], None);
    let root = Target::function(|y| {
        let [batch, _] = y.dims();
        y.sqrt().sum_dim(1).reshape([batch])
    });
    let images = Tensor::cat(vec![image([[[1.0, 2.0]]]), image([[[1.0, 0.0]]])], 0);
    for (method, name) in [
        (Box::new(Saliency::new()) as Box<dyn Attribution>, "the gradient of"),
        (Box::new(SmoothGrad::new(Saliency::new()).samples(3).noise(0.01)), "gradient of"),
        (
            Box::new(IntegratedGradients::new().quadrature(Quadrature::Right).baseline(Baseline::Value(1.0))),
            "the gradient of",
        ),
    ] {
        let refused = method.attribute(&model, images.clone(), &root);
        let Err(Error::NonFinite { what, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(what, format!("{name} a function of the logits for image 1"));
    }
}

#[test]
fn scores_that_are_not_numbers_are_refused_and_give_no_map() {
    // The logarithm of black, or of a channel set to 0, is not finite.
    let model = Alone::new([2, 2, 2], None);
    let log = Target::function(|y| {
        let [batch, _] = y.dims();
        y.log().sum_dim(1).reshape([batch])
    });
    let one = || image([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]);
    let images = Tensor::cat(vec![one(), one()], 0);
    let cam = |formula| Box::new(Cam::new(formula).penultimate_layer("features"));
    for method in [
        Box::new(Occlusion::new([1, 1])) as Box<dyn Attribution>,
        Box::new(Rise::new().cells(2).masks(50)),
        cam(Formula::ScoreCam),
        cam(Formula::AblationCam),
    ] {
        let refused = method.attribute(&model, images.clone(), &log);
        let Err(Error::NonFinite { what, .. }) = refused else { panic!("{}: {refused:?}", method.name()) };
        assert_eq!(what, "the score of a function of the logits for image 0", "{}", method.name());
    }
    let images = Tensor::cat(vec![one(), one() / 0.0], 0);
    let refused = cam(Formula::EigenCam).attribute(&model, images, &log);
    let Err(Error::NonFinite { what, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(what, "the value of image 1 at channel 0, row 0, column 0");
}

#[test]
fn settings_that_a_formula_would_ignore_are_refused() {
    let (model, image) = tiny();
    for formula in [Formula::EigenCam, Formula::AblationCam, Formula::ScoreCam] {
        let refused = |cam: Cam| cam.map(&model, image.clone(), &Target::class(0)).unwrap_err().to_string();
        let rule = refused(Cam::new(formula).rule(Rule::Guided));
        assert_eq!(
            rule,
            format!("the rule must be plain for {formula}, which takes no gradient, not guided")
        );
        let modifier = refused(Cam::new(formula).grad_modifier(GradientModifier::Negate));
        assert_eq!(
            modifier,
            format!("the gradient modifier must be none for {formula}, which takes no gradient, not Negate")
        );
    }
}

#[test]
fn a_rule_that_meets_no_rectifier_is_refused() {
    let model = Alone::new([1, 1, 2], None);
    let refused = Saliency::guided().attribute(&model, image([[[1.0, 2.0]]]), &Target::class(0));
    assert!(matches!(refused, Err(Error::NoRectifier { .. })), "{refused:?}");
}

#[test]
fn a_network_without_a_spatial_layer_has_no_class_activation_map() {
    let refused =
        Cam::new(Formula::GradCam).map(&MultiLayer::new(), image([[[1.0, 2.0, 3.0]]]), &Target::class(0));
    let Err(Error::NoSpatialLayer { target }) = refused else { panic!("{refused:?}") };
    assert_eq!(target, "linear2");
}

#[test]
fn a_layer_with_one_position_or_after_the_target_is_refused_by_every_formula() {
    let (model, image) = tiny();
    for formula in Formula::ALL {
        let message = |layer: &str, target: Target| {
            Cam::new(formula)
                .penultimate_layer(layer)
                .map(&model, image.clone(), &target)
                .unwrap_err()
                .to_string()
        };
        let one = message("logits", Target::class(0));
        assert!(one.contains("more than one position"), "{formula}: {one}");
        assert!(message("conv3", Target::class(0)).contains("the layers are: conv1, pool1"), "{formula}");
        if formula != Formula::EigenCam {
            let late = message("conv2", Target::channel("conv1", 0));
            assert!(late.contains("one before the target's, `conv1`, not `conv2`"), "{formula}: {late}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (model, image) = tiny();
    let tall = Tensor::zeros([1, 3, 9, 8], &model.device());
    let expected: Vec<(Box<dyn Attribution>, &str)> = vec![
        (Box::new(IntegratedGradients::new().steps(0)), "the steps must be 1 to 16777216, not 0"),
        (Box::new(IntegratedGradients::new().batch_size(0)), "the batch size must be 1 or more, not 0"),
        (Box::new(IntegratedGradients::new().baselines([])), "the baselines must be at least one, not none"),
        (Box::new(IntegratedGradients::new().baseline(Baseline::Value(f32::NAN))), "the baseline must be"),
        (
            Box::new(IntegratedGradients::new().baseline(Baseline::Blurred(0.0))),
            "the standard deviation of a blur",
        ),
        (
            Box::new(IntegratedGradients::new().baseline(Baseline::Image(tall))),
            "the baseline has shape [1, 3, 9, 8]",
        ),
        (Box::new(SmoothGrad::new(Saliency::new()).samples(0)), "the samples must be 1 to"),
        (Box::new(SmoothGrad::new(Saliency::new()).noise(-0.1)), "the noise must be"),
        (Box::new(Occlusion::new([0, 4])), "the window's side must be 1 to 8, not 0"),
        (Box::new(Occlusion::new([9, 4])), "the window's side must be 1 to 8, not 9"),
        (Box::new(Occlusion::new([4, 4]).stride([5, 1])), "the stride must be 1 to 4"),
        (Box::new(Rise::new().cells(9)), "the cells of a mask must be 1 to 8 a side, not 9"),
        (Box::new(Rise::new().masks(0)), "the masks must be 1 to"),
        (Box::new(Rise::new().open(0.0)), "the share of open cells"),
        (Box::new(Cam::new(Formula::ScoreCam).batch_size(0)), "the batch size must be 1 or more, not 0"),
        (Box::new(Cam::new(Formula::ScoreCam).max_channels(0)), "the most channels must be 1 or more, not 0"),
        (
            Box::new(Cam::new(Formula::AblationCam).max_channels(0)),
            "the most channels must be 1 or more, not 0",
        ),
    ];
    for (method, expected) in expected {
        let message = message(&*method, &model, image.clone(), &Target::class(0));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn an_image_of_another_size_is_refused_by_every_family() {
    let (model, _) = tiny();
    let small = || Tensor::zeros([1, 3, 4, 4], &model.device());
    for method in [
        Box::new(Saliency::new()) as Box<dyn Attribution>,
        Box::new(Cam::new(Formula::GradCam)),
        Box::new(Occlusion::new([2, 2])),
        Box::new(Rise::new().cells(2)),
    ] {
        let message = message(&*method, &model, small(), &Target::class(0));
        assert!(message.contains("[1, 3, 4, 4], expected [batch, 3, 8, 8]"), "{message}");
    }
}
