//! Backward rules at rectifiers: plain, guided, deconvolution.
//!
//! The guided and deconvolution rules depend on the sign of the incoming cotangent, so no composition of
//! ordinary tensor operations expresses them. They are a differentiable operation of our own, whose
//! forward is the rectifier itself on every backend.

// That the backend `NdArray` is deprecated is told where its feature is chosen.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::backend::{TensorMetadata, tensor::FloatTensor};
use burn::tensor::{Shape, Tensor};

/// How a cotangent passes back through a rectifier `y = f(x)`.
///
/// | rule | cotangent of `x`, given `g`, the cotangent of `y` |
/// | --- | --- |
/// | plain | `g · f′(x)` |
/// | guided | `max(g, 0) · f′(x)` |
/// | deconvolution | `max(g, 0)` |
/// | redirected | `g · f′(x)`; if that is 0 all over an image, `min(g, 0)` where closed below |
///
/// `f′` is 0 where a rectifier is closed (`relu`: x ≤ 0; `relu6`: x ≤ 0 or x ≥ 6), 1 where it is open, and
/// the slope on the negative side of a leaky rectifier.
///
/// Guided and deconvolution give sharp pictures that depend little on the class or even on the weights of
/// the deeper layers: they show edges the network could use, not what it did use (Adebayo et al. 2018).
///
/// `Redirected` revives dead units: where every rectifier of a layer is closed to the gradient, descent may still open those
/// that it would raise. It changes nothing for units that are alive.
///
/// Sources: Springenberg et al. 2014, *Striving for Simplicity*, figure 1; Zeiler & Fergus 2013.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The derivative.
    #[default]
    Plain,
    /// The derivative, for positive cotangents only.
    #[doc(alias = "guided_relu")]
    Guided,
    /// Positive cotangents, whether or not the rectifier was open.
    #[doc(alias = "rectified")]
    #[doc(alias = "deconv")]
    Deconvolution,
    /// The derivative; if nothing of the gradient gets through, the negative cotangents, by which descent opens what is
    /// closed.
    #[doc(alias = "redirected_relu_grad")]
    Redirected,
}

impl Rule {
    /// The rule's name in lower case.
    ///
    /// ```
    /// assert_eq!(vis::Rule::Guided.name(), "guided");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Guided => "guided",
            Self::Deconvolution => "deconvolution",
            Self::Redirected => "redirected",
        }
    }
}

/// A piecewise linear activation that backward rules apply to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rectifier {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` where positive, else `slope · x`; the slope is positive.
    Leaky(f32),
}

/// A rectifier whose gradient follows a [`Rule`].
///
/// Models call it through [`Taps::relu`](crate::model::Taps::relu) and its siblings.
pub(crate) fn rectify<const D: usize>(x: Tensor<D>, rectifier: Rectifier, rule: Rule) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as RectifierOps>::rectify(x.into_dispatch(), rectifier, rule))
}

/// A smooth activation `y` of `x` under a rule, where `g` is the cotangent of `y`: plain and redirected `g · f′(x)`, guided
/// `max(g, 0) · f′(x)`, deconvolution `max(g, 0)`.
pub(crate) fn under<const D: usize>(rule: Rule, x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    // The identity as a rectifier that is open everywhere: of the rule, it does what is done to the cotangent.
    let gate = |y: Tensor<D>| rectify(y, Rectifier::Leaky(1.0), rule);
    match rule {
        Rule::Plain | Rule::Redirected => y,
        Rule::Guided => gate(y),
        Rule::Deconvolution => gate(x.clone() + (y - x).detach()),
    }
}

/// The rectifier as an operation of a backend.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff,
)]
trait RectifierOps: Backend {
    #[cfg_attr(
        not(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda")),
        allow(unused)
    )]
    fn rectify(x: FloatTensor<Self>, rectifier: Rectifier, rule: Rule) -> FloatTensor<Self> {
        let _ = rule; // only the gradient differs
        apply::<Self>(x, rectifier)
    }
}

/// The rectifier by a backend's own operations.
pub(crate) fn apply<B: Backend>(x: FloatTensor<B>, rectifier: Rectifier) -> FloatTensor<B> {
    match rectifier {
        Rectifier::Relu => B::relu(x),
        Rectifier::Relu6 => B::float_clamp(x, 0f32.into(), 6f32.into()),
        Rectifier::Leaky(slope) => B::leaky_relu(x, slope.into()),
    }
}

#[cfg(feature = "flex")]
impl RectifierOps for burn::backend::Flex {}
#[cfg(feature = "ndarray")]
impl RectifierOps for burn::backend::NdArray {}
#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl RectifierOps for burn::backend::Cube {}

impl<B: RectifierOps, C: CheckpointStrategy> RectifierOps for Autodiff<B, C> {
    fn rectify(x: FloatTensor<Self>, rectifier: Rectifier, rule: Rule) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct RectifierBackward;
        impl<B: Backend> Backward<B, 1> for RectifierBackward {
            // The output is enough to know where the rectifier was open, and the next layer keeps it anyway.
            type State = (FloatTensor<B>, Rectifier, Rule);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (y, rectifier, rule) = ops.state;
                let [parent] = ops.parents;
                let cotangent = gradients.consume::<B>(&ops.node);
                if let Some(node) = parent {
                    gradients.register::<B>(node.id, pull_back::<B>(y, cotangent, rectifier, rule));
                }
            }
        }

        match RectifierBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let y = B::rectify(x.into_primitive(), rectifier, rule);
                prepared.finish((y.clone(), rectifier, rule), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::rectify(x.into_primitive(), rectifier, rule)),
        }
    }
}

/// The cotangent of `x` from the output `y` of the rectifier and the cotangent of `y`.
pub(crate) fn pull_back<B: Backend>(
    y: FloatTensor<B>,
    cotangent: FloatTensor<B>,
    rectifier: Rectifier,
    rule: Rule,
) -> FloatTensor<B> {
    let cotangent = match rule {
        Rule::Redirected => {
            // What plain leaves out of the negative part of the cotangent, for want of an opening below.
            let negative = B::float_neg(B::relu(B::float_neg(cotangent.clone())));
            let left_out = B::float_sub(negative.clone(), B::relu_backward(y.clone(), negative));
            let plain = pull_back::<B>(y, cotangent, rectifier, Rule::Plain);
            // 1 for images where plain lets something through, 0 where it lets nothing through.
            let shape = plain.shape();
            let rows = Shape::new([shape[0], shape.num_elements() / shape[0].max(1)]);
            let passed = B::float_sum_dim(B::float_abs(B::float_reshape(plain.clone(), rows.clone())), 1);
            let passed = B::float_reshape(B::float_expand(B::float_sign(passed), rows), shape);
            let left_out = B::float_sub(left_out.clone(), B::float_mul(left_out, passed));
            return B::float_add(plain, left_out);
        }
        Rule::Plain => cotangent,
        Rule::Guided | Rule::Deconvolution => B::relu(cotangent),
    };
    if rule == Rule::Deconvolution {
        return cotangent;
    }
    // `relu_backward(z, g)` is g where z > 0 and 0 elsewhere: the only mask needed.
    match rectifier {
        Rectifier::Relu => B::relu_backward(y, cotangent),
        Rectifier::Relu6 => {
            let below = B::float_add_scalar(B::float_neg(y.clone()), 6f32.into());
            B::relu_backward(below, B::relu_backward(y, cotangent))
        }
        Rectifier::Leaky(slope) => {
            let open = B::relu_backward(y, cotangent.clone());
            B::float_add(
                B::float_mul_scalar(cotangent, slope.into()),
                B::float_mul_scalar(open, (1.0 - slope).into()),
            )
        }
    }
}
