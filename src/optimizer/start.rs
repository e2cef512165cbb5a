//! What a run starts from, and how its variable represents the image.

use burn::tensor::Tensor;

use crate::model::{Model, Prior};
use crate::parametrization::{Fourier, Framed, Parametrization, Phase, Pixels};
use crate::{Error, Result};

/// What a run starts from: images, or noise where there are none.
#[derive(Default)]
pub(super) struct Start {
    pub(super) images: Option<Box<Tensor<4>>>,
    /// The number of images.
    pub(super) batch: Option<usize>,
    pub(super) size: Option<(usize, usize)>,
    /// Which repetition of what is asked for each image is, where they do not follow each other.
    pub(super) repetitions: Option<Vec<usize>>,
}

/// How the variable represents the image.
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
        match &self.images {
            Some(images) => {
                let [_, _, height, width] = images.dims();
                (height, width)
            }
            None => self.size.unwrap_or(model.input().size()),
        }
    }

    /// The repetition that each image is: randomness is drawn for it and for nothing else, so that a picture does not
    /// depend on those made beside it. Images given are all the first, unless a batch is asked for.
    fn repetitions(&self) -> Vec<usize> {
        if let Some(repetitions) = &self.repetitions {
            return repetitions.clone();
        }
        match (self.batch, &self.images) {
            (Some(batch), _) => (0..batch).collect(),
            (None, Some(images)) => vec![0; images.dims()[0]],
            (None, None) => vec![0],
        }
    }

    /// Refuses a batch or a size that contradicts the images given, which would have to be thrown away.
    fn check(&self, images: &Tensor<4>) -> Result<()> {
        let [batch, _, height, width] = images.dims();
        let wanted = self.repetitions.as_ref().map(Vec::len).or(self.batch);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != batch) {
            let expected = format!("{batch}, the number of images given to start from");
            return Err(Error::invalid("the batch", expected, wanted));
        }
        if let Some((wanted_height, wanted_width)) = self.size.filter(|size| *size != (height, width)) {
            let expected = format!("{height} × {width}, that of the images given to start from");
            let got = format!("{wanted_height} × {wanted_width}");
            return Err(Error::invalid("the size of the image", expected, got));
        }
        Ok(())
    }

    /// The variable of the first step, and the repetition that each of its images is.
    pub(super) fn variable(
        self,
        model: &dyn Model,
        parametrization: &dyn Parametrization,
        seed: u64,
    ) -> Result<(Tensor<4>, Vec<usize>)> {
        let (height, width) = self.size(model);
        if let Some(images) = &self.images {
            model.input().check(images.dims())?;
            model.input().check_start(images)?;
            self.check(images)?;
            return Ok((parametrization.encode(images.as_ref().clone().inner())?, self.repetitions()));
        }
        let channels = model.input().channels();
        let batch = match (&self.repetitions, self.batch) {
            (Some(repetitions), _) => repetitions.len(),
            (None, batch) => batch.unwrap_or(1),
        };
        model.input().check([batch, channels, height, width])?;
        let bytes =
            [batch, channels, height, width].iter().try_fold(4_usize, |all, side| all.checked_mul(*side));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Error::invalid("the batch", "a number of images that fits in memory", batch));
        }
        let (repetitions, device) = (self.repetitions(), model.device());
        let noise = |repetition: &usize| {
            parametrization.start([1, channels, height, width], seed, *repetition, &device)
        };
        let each: Vec<_> = repetitions.iter().map(noise).collect();
        Ok((Tensor::cat(each, 0), repetitions))
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
            Prior::Phase => Box::new(Phase::new([inside(height), inside(width)], range)),
        };
        match frame {
            0 => prior,
            pixels => Box::new(Framed::new(prior, pixels, range.0)),
        }
    }
}
