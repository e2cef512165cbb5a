//! Backward rules at rectifiers, by their definitions.

use burn::tensor::Tensor;
use vis::Rule;
use vis::backprop::Rectifier;
use vis::model::Taps;

use crate::support::{device, tensor};

/// A rectifier as a model meets it.
fn rectify<const D: usize>(x: Tensor<D>, rectifier: Rectifier, rule: Rule) -> Tensor<D> {
    Taps::new().rule(rule).rectify(x, rectifier)
}

/// The cotangent of `x` for a cotangent `g` of the output.
fn pulled_back(rectifier: Rectifier, rule: Rule, x: &[f32], g: &[f32]) -> Vec<f32> {
    let x = tensor(x, [x.len()]).autodiff().require_grad();
    let gradients = (rectify(x.clone(), rectifier, rule) * tensor(g, [g.len()])).sum().backward();
    crate::host::values(x.grad(&gradients).unwrap())
}

#[test]
fn every_rule_at_every_rectifier_follows_its_table() {
    // x below, at, and above each threshold; every sign of the cotangent.
    let x = [-1.0, 0.0, 2.0, 2.0, 7.0, -1.0];
    let g = [3.0, 3.0, 5.0, -5.0, 4.0, -2.0];
    let cases = [
        (Rectifier::Relu, Rule::Plain, [0.0, 0.0, 5.0, -5.0, 4.0, 0.0]),
        (Rectifier::Relu, Rule::Guided, [0.0, 0.0, 5.0, 0.0, 4.0, 0.0]),
        (Rectifier::Relu, Rule::Deconvolution, [3.0, 3.0, 5.0, 0.0, 4.0, 0.0]),
        (Rectifier::Relu6, Rule::Plain, [0.0, 0.0, 5.0, -5.0, 0.0, 0.0]),
        (Rectifier::Relu6, Rule::Guided, [0.0, 0.0, 5.0, 0.0, 0.0, 0.0]),
        (Rectifier::Relu6, Rule::Deconvolution, [3.0, 3.0, 5.0, 0.0, 4.0, 0.0]),
        (Rectifier::Leaky(0.5), Rule::Plain, [1.5, 1.5, 5.0, -5.0, 4.0, -1.0]),
        (Rectifier::Leaky(0.5), Rule::Guided, [1.5, 1.5, 5.0, 0.0, 4.0, 0.0]),
        (Rectifier::Leaky(0.5), Rule::Deconvolution, [3.0, 3.0, 5.0, 0.0, 4.0, 0.0]),
        // Each value is an image of its own here: where plain gives 0, the negative cotangents below come through.
        (Rectifier::Relu, Rule::Redirected, [0.0, 0.0, 5.0, -5.0, 4.0, -2.0]),
        (Rectifier::Relu6, Rule::Redirected, [0.0, 0.0, 5.0, -5.0, 0.0, -2.0]),
        (Rectifier::Leaky(0.5), Rule::Redirected, [1.5, 1.5, 5.0, -5.0, 4.0, -1.0]),
    ];
    for (rectifier, rule, expected) in cases {
        assert_eq!(pulled_back(rectifier, rule, &x, &g), expected, "{rectifier:?} {rule:?}");
    }
}

#[test]
fn the_forward_pass_is_the_rectifier_itself_under_every_rule() {
    let x = [-2.0, 0.0, 3.0, 8.0];
    for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution, Rule::Redirected] {
        for (rectifier, expected) in [
            (Rectifier::Relu, [0.0, 0.0, 3.0, 8.0]),
            (Rectifier::Relu6, [0.0, 0.0, 3.0, 6.0]),
            (Rectifier::Leaky(0.25), [-0.5, 0.0, 3.0, 8.0]),
        ] {
            let plain = rectify(tensor(&x, [4]), rectifier, rule);
            let tracked = rectify(tensor(&x, [4]).autodiff().require_grad(), rectifier, rule);
            assert_eq!(crate::host::values(plain), expected);
            assert_eq!(crate::host::values(tracked.inner()), expected);
        }
    }
}

#[test]
fn rules_reach_rectifiers_inside_residual_blocks() {
    // y = relu(relu(x) − x): for x = −2 the sum is 2. Plain: ∂y/∂x = 1·(0 − 1) = −1.
    // Guided keeps the positive cotangent of the outer rectifier: inner gate closed, −1 by the skip.
    // Deconvolution lets the cotangent through the closed inner gate too: 1 − 1 = 0.
    for (rule, expected) in [(Rule::Plain, -1.0), (Rule::Guided, -1.0), (Rule::Deconvolution, 0.0)] {
        let x = tensor(&[-2.0], [1]).autodiff().require_grad();
        let inner = rectify(x.clone(), Rectifier::Relu, rule);
        let gradients = rectify(inner - x.clone(), Rectifier::Relu, rule).sum().backward();
        assert_eq!(crate::host::values(x.grad(&gradients).unwrap()), [expected], "{rule:?}");
    }
    assert!(!device().is_autodiff());
}

#[test]
fn a_rule_that_meets_no_rectifier_is_an_error() {
    let model = crate::support::identity([1, 2, 2]);
    let losses = vis::losses::ActivationMaximization::new("output", 0).into();
    let gradient = vis::gradient::Gradient::new(&model, &losses).rule(Rule::Guided);
    let error = gradient.evaluate(tensor(&[1.0; 4], [1, 1, 2, 2])).unwrap_err();
    assert!(matches!(error, vis::Error::NoRectifier { rule: "guided", .. }), "{error}");
}

#[test]
fn redirection_changes_only_images_of_which_nothing_gets_through() {
    // Two images of three values; the first is open at one, the second nowhere.
    let x = tensor(&[-1.0, 2.0, -3.0, -1.0, -2.0, -3.0], [2, 3]).autodiff().require_grad();
    let g = tensor(&[-5.0, -6.0, 7.0, -5.0, 6.0, -7.0], [2, 3]);
    let gradients = (rectify(x.clone(), Rectifier::Relu, Rule::Redirected) * g).sum().backward();
    let gradient = crate::host::values(x.grad(&gradients).unwrap());
    assert_eq!(gradient, [0.0, -6.0, 0.0, -5.0, 0.0, -7.0]);
}
