//! What images and scores may hold.

use burn::tensor::{Tensor, activation};

use super::InputSpec;
use crate::{Error, Result, host};

impl InputSpec {
    /// Whether images, `[batch, channels, height, width]`, have values that the model can make sense of: finite ones,
    /// and none further outside the [range](Self::range) than one and a half times its width. An image that was optimised
    /// may lie a little outside; one in `0..255`, or one that ImageNet's mean was taken from, has no place in a network of
    /// `0..1`.
    ///
    /// Waits for the device.
    ///
    /// ```
    /// let input = vis::model::InputSpec::new([1, 2, 2], (0.0, 1.0));
    /// let image = input.zeros(&Default::default()) + 0.5;
    /// assert!(input.check_values(&image).is_ok());
    /// let error = input.check_values(&(image * 510.0)).unwrap_err();
    /// assert!(error.to_string().contains("0 to 1"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] names the first value that is NaN or infinite, [`Error::InvalidParameter`] both ranges.
    pub fn check_values(&self, images: &Tensor<4>) -> Result<()> {
        let values = host::values(images.clone().inner());
        refuse_non_finite_image("image", &values, images.dims())?;
        self.check_range(&values, 1.5)
    }

    /// Refuses images to start a run from that lie ten times the range outside of it. The run moves them, and names the
    /// loss that a value which is not finite spoils.
    pub(crate) fn check_start(&self, images: &Tensor<4>) -> Result<()> {
        self.check_range(&host::values(images.clone().inner()), 10.0)
    }

    fn check_range(&self, values: &[f32], widths: f32) -> Result<()> {
        let (low, high) = self.range();
        let slack = widths * (high - low);
        let (least, most) = extremes(values);
        // A range without a width says nothing.
        if !self.is_assumed && slack > 0.0 && (least < low - slack || most > high + slack) {
            let expected = format!("within {low} to {high}, the model's input range, or little beyond");
            return Err(Error::invalid("the image's values", expected, format!("{least} to {most}")));
        }
        Ok(())
    }
}

/// Refuses images of which a value is NaN or infinite; `what` they are.
pub(crate) fn refuse_non_finite_image(what: &str, values: &[f32], shape: [usize; 4]) -> Result<()> {
    // NaN and infinity stay what they are under a multiplication by 0, and a sum has no branch to wait for.
    if values.iter().map(|value| value * 0.0).sum::<f32>() == 0.0 {
        return Ok(());
    }
    let place = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
    let [_, channels, height, width] = shape;
    let (column, row) = (place % width, place / width % height);
    let (channel, image) = (place / (width * height) % channels, place / (width * height * channels));
    let what = format!("the value of {what} {image} at channel {channel}, row {row}, column {column}");
    Err(Error::NonFinite { what, step: None, best: None })
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), value| {
        (if *value < least { *value } else { least }, if *value > most { *value } else { most })
    })
}

/// Refuses scores `[batch, classes]` that are NaN or infinite, or probabilities.
pub(super) fn refuse_no_logits(layer: &str, scores: &[f32], classes: usize) -> Result<()> {
    for (image, row) in scores.chunks(classes.max(1)).enumerate() {
        if let Some(class) = row.iter().position(|score| !score.is_finite()) {
            let what = format!("the score of class {class} in `{layer}` for image {image}");
            return Err(Error::NonFinite { what, step: None, best: None });
        }
    }
    refuse_softmax(layer, scores, classes)
}

/// Refuses probabilities where logits are wanted: several in a row, none negative, with a sum of 1.
pub(crate) fn refuse_softmax(layer: &str, scores: &[f32], classes: usize) -> Result<()> {
    let is_softmax = |row: &[f32]| {
        let sum: f64 = row.iter().map(|score| f64::from(*score)).sum();
        row.iter().all(|score| *score >= 0.0) && (sum - 1.0).abs() < 1e-4
    };
    if classes > 1 && !scores.is_empty() && scores.chunks(classes).all(is_softmax) {
        return Err(Error::Probabilities { layer: layer.to_owned() });
    }
    Ok(())
}

/// The probabilities of classes from their logits, `[batch, classes]`: the softmax, or the sigmoid of a single one.
pub(crate) fn probabilities(logits: Tensor<2>) -> Tensor<2> {
    match logits.dims() {
        [_, 1] => activation::sigmoid(logits),
        _ => activation::softmax(logits, 1),
    }
}
