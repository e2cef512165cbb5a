//! The filters that an option names.

use vis::Error;
use vis::model::Layer;

use crate::class;
use crate::failure::{Failure, Outcome};
use crate::network::Opened;

/// The layer of a name.
pub(crate) fn layer(opened: &Opened, name: &str) -> Outcome<Layer> {
    let layers = opened.model.layers()?;
    let names = || layers.iter().map(|layer| layer.name.clone()).collect();
    let found = layers.iter().find(|layer| layer.name == name);
    Ok(found.cloned().ok_or_else(|| Error::unknown_layer(name, names()))?)
}

/// The entries that values of `--filter` ask for: a number, a range such as 4-9, or several jointly such as 20+71; of
/// class scores also a class by name.
pub(crate) fn parse(opened: &Opened, layer: &Layer, values: &[String]) -> Outcome<Vec<Vec<usize>>> {
    let mut filters = Vec::new();
    for text in values {
        filters.extend(parse_one(opened, layer, text.trim())?);
    }
    Ok(filters)
}

fn parse_one(opened: &Opened, layer: &Layer, text: &str) -> Outcome<Vec<Vec<usize>>> {
    let one = |text: &str| -> Outcome<usize> {
        let text = text.trim();
        if opened.model.logits() == Some(&layer.name) {
            return class::find(opened.model.as_ref(), &layer.name, layer.shape[0], text);
        }
        let index = text.parse().map_err(|_| {
            Failure::misuse(format!(
                "--filter takes numbers, ranges such as 4-9 and sums such as 20+71, not `{text}`"
            ))
        })?;
        if index >= layer.shape[0] {
            let place = format!("layer `{}`", layer.name);
            return Err(Error::OutOfRange { what: "filter", index, place, len: layer.shape[0] }.into());
        }
        Ok(index)
    };
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
    {
        if first > last {
            return Err(Failure::misuse(format!("the range of filters {text} is empty")));
        }
        one(&last.to_string())?;
        return Ok((first..=last).map(|filter| vec![filter]).collect());
    }
    let joint: Outcome<Vec<usize>> = text.split('+').map(one).collect();
    Ok(vec![joint?])
}
