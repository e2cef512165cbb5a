//! What a run starts from, and how its image is written down.

use burn::tensor::Tensor;

use crate::model::{Model, Prior};
use crate::parametrization::{Fourier, Framed, Parametrization, Pixels};

/// What a run starts from.
#[derive(Clone)]
pub(super) enum Start {
    Image(Box<Tensor<4>>),
    Noise { batch: usize, first: usize, size: Option<(usize, usize)> },
}

/// How the image is written down.
pub(super) enum Written {
    ByPixels,
    /// As a preset says, once the size of the image is known.
    ByPreset {
        prior: Prior,
        frame: usize,
    },
    By(Box<dyn Parametrization>),
}

impl Start {
    /// The height and width of its images.
    pub(super) fn size(&self, model: &dyn Model) -> (usize, usize) {
        match self {
            Self::Image(images) => {
                let [_, _, height, width] = images.dims();
                (height, width)
            }
            Self::Noise { size, .. } => size.unwrap_or(model.input().size()),
        }
    }
}

impl Written {
    /// The parametrization of images of this size and range.
    pub(super) fn settle(
        self,
        (height, width): (usize, usize),
        range: (f32, f32),
    ) -> Box<dyn Parametrization> {
        let (prior, frame) = match self {
            Self::ByPixels => return Box::new(Pixels::new(range)),
            Self::By(parametrization) => return parametrization,
            Self::ByPreset { prior, frame } => (prior, frame),
        };
        let inside = |side: usize| side.saturating_sub(2 * frame).max(1);
        let prior: Box<dyn Parametrization> = match prior {
            Prior::Pixels => Box::new(Pixels::new(range)),
            Prior::Fourier { decay } => {
                Box::new(Fourier::new([inside(height), inside(width)], range).with_decay(decay))
            }
        };
        match frame {
            0 => prior,
            pixels => Box::new(Framed::new(prior, pixels, range.0)),
        }
    }
}
