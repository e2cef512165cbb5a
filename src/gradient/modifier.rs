//! A gradient put to another use.

use burn::tensor::{Tensor, activation};

/// A change of a gradient before it is followed or shown, by the words of keras-vis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradientModifier {
    /// `−g`: what would decrease the output.
    Negate,
    /// `|g|`: what would change it.
    Absolute,
    /// `1 / (g + 1e-7)`.
    Invert,
    /// `max(g, 0)`.
    Relu,
    /// `|1 / (g + 1e-7)|`: what keeps the output as it is.
    SmallValues,
}

impl GradientModifier {
    /// The modified gradient.
    ///
    /// ```
    /// use burn::tensor::Tensor;
    /// use vis::optimizer::GradientModifier;
    /// let gradient = Tensor::<1>::from_floats([-2.0, 3.0], &Default::default());
    /// let modified = GradientModifier::Absolute.apply(gradient);
    /// assert_eq!(modified.into_data().to_vec::<f32>().unwrap(), [2.0, 3.0]);
    /// ```
    pub fn apply<const D: usize>(self, gradient: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Negate => gradient.neg(),
            Self::Absolute => gradient.abs(),
            Self::Invert => (gradient + 1e-7).recip(),
            Self::Relu => activation::relu(gradient),
            Self::SmallValues => (gradient + 1e-7).recip().abs(),
        }
    }
}
