//! The channels that matter most for a score.

use std::ops::ControlFlow;

use image::RgbImage;
use ndarray::{Axis, s};
use serde_json::{Value, json};

use super::super::{class_of, number};
use super::{Report, embedded};
use crate::gradient::Gradient;
use crate::losses::{ActivationMaximization, Losses};
use crate::picture::{self, ColorMap, Sign};
use crate::resample;
use crate::visualization::{Unfinished, visualize_activation};
use crate::{Error, Result, Target, host};

/// A channel and what it adds to the score.
pub(super) struct Channel {
    channel: usize,
    /// The sum of its activation times the gradient of the score.
    contribution: f32,
    /// The picture that excites it, unless there is none.
    picture: Option<RgbImage>,
    /// Where it fires in the photo.
    place: RgbImage,
}

/// The channels of the last map before the target that add most to the score, the most first, and that layer.
pub(super) fn strongest(report: &Report<'_>, target: &Target) -> Result<(Option<String>, Vec<Channel>)> {
    let score = ActivationMaximization::of(report.model, target.clone())?;
    let losses = Losses::new().with(score, -1.0);
    let at = match Gradient::new(report.model, &losses).at_last_map().evaluate(report.image.clone()) {
        Ok(at) => at,
        Err(Error::NoSpatialLayer { .. } | Error::Graph { .. } | Error::UnusedLayer { .. }) => {
            return Ok((None, Vec::new()));
        }
        Err(error) => return Err(error),
    };
    let Some(layer) = at.layer else { return Ok((None, Vec::new())) };
    let (activation, gradient) = (host::array4(at.value), host::array4(at.gradient));
    let product = &activation * &gradient;
    let contributions: Vec<f32> = product.index_axis(Axis(0), 0).outer_iter().map(|map| map.sum()).collect();
    let mut order: Vec<usize> =
        (0..contributions.len()).filter(|channel| contributions[*channel] > 0.0).collect();
    order.sort_by(|a, b| contributions[*b].total_cmp(&contributions[*a]).then(a.cmp(b)));
    order.truncate(report.channels);
    if order.is_empty() {
        return Ok((Some(layer), Vec::new()));
    }
    let (height, width) = report.size;
    let mut stopped = ControlFlow::Continue(());
    let made = visualize_activation(report.model, &layer)
        .filter_indices(order.iter().copied())
        .preset(report.preset.clone())
        .size(height, width)
        .seed(report.seed)
        .progress(|now| {
            stopped = report.tell("pictures of channels", now.done, now.of);
            stopped
        })
        .run()
        .map_err(|unfinished: Unfinished| Error::from(unfinished))?;
    let pictures = made.iter().map(|made| (!made.dead).then(|| made.picture()).transpose());
    let pictures = pictures.collect::<Result<Vec<_>>>()?;
    let channels = order.into_iter().enumerate().map(|(index, channel)| {
        let map = activation.slice(s![0..1, channel..channel + 1, .., ..]);
        let place = place(report, map)?;
        // Pictures that were stopped in their midst are left out.
        let picture = pictures.get(index).cloned().flatten().filter(|_| stopped.is_continue());
        Ok(Channel { channel, contribution: contributions[channel], picture, place })
    });
    Ok((Some(layer), channels.collect::<Result<_>>()?))
}

/// Where a channel fires, over the photo.
fn place(report: &Report<'_>, map: ndarray::ArrayView4<'_, f32>) -> Result<RgbImage> {
    let (width, height) = report.photo.dimensions();
    let map = host::tensor4(map, &report.model.device()).clamp_min(0.0);
    let map = host::array2(
        resample::resize(map, height as usize, width as usize).reshape([height as usize, width as usize]),
    );
    let map = picture::normalize(map.view(), Sign::Unsigned, 100.0)?;
    picture::overlay_heat(&report.photo, map.view(), ColorMap::Jet, 0.5)
}

impl Channel {
    pub(super) fn json(&self) -> Value {
        json!({ "channel": self.channel, "contribution": self.contribution })
    }

    pub(super) fn row(&self) -> Result<Value> {
        Ok(json!({
            "channel": self.channel,
            "contribution": number(f64::from(self.contribution)),
            "src": self.picture.as_ref().map(embedded).transpose()?,
            "class": self.picture.as_ref().map_or("", class_of),
            "place": embedded(&self.place)?,
            "place_class": class_of(&self.place),
        }))
    }
}
