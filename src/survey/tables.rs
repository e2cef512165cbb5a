//! A survey as tables and arrays that other programs read.

use std::io;
use std::path::Path;

use ndarray::{Array1, Array2};
use ndarray_npy::{WriteNpyError, WriteNpyExt};
use serde_json::{Value, json};

use super::{Example, Surveyed, SurveyedLayer, Unit, histogram};
use crate::picture::write_atomically;
use crate::{Error, Result};

pub(super) fn write(surveyed: &Surveyed, folder: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(&manifest(surveyed)).unwrap_or_default();
    write_atomically(folder.join("manifest.json"), |writer| {
        io::Write::write_all(writer, format!("{text}\n").as_bytes())
    })?;
    table(
        &folder.join("top.csv"),
        &["layer", "channel", "rank", "image", "value", "row", "column"],
        |row| {
            for (layer, channel, unit) in units(surveyed) {
                for (index, example) in unit.by_maximum().iter().enumerate() {
                    let Example { image, value, row: at, column, .. } = example;
                    row(&[&layer.name, &channel, &(index + 1), image, value, at, column])?;
                }
            }
            Ok(())
        },
    )?;
    let columns = [
        "layer", "channel", "by", "rank", "image", "label", "value", "row", "column", "left", "top", "width",
        "height",
    ];
    table(&folder.join("examples.csv"), &columns, |row| {
        for (layer, channel, unit) in units(surveyed) {
            for (by, examples) in [("maximum", unit.by_maximum()), ("mean", unit.by_mean())] {
                for (index, example) in examples.iter().enumerate() {
                    let Example { image, value, row: at, column, .. } = example;
                    let label = example.label.as_deref().unwrap_or_default();
                    let crop = layer.field.crop(*at, *column);
                    let rank = index + 1;
                    row(&[
                        &layer.name,
                        &channel,
                        &by,
                        &rank,
                        image,
                        &label,
                        value,
                        at,
                        column,
                        &crop.left,
                        &crop.top,
                        &crop.width,
                        &crop.height,
                    ])?;
                }
            }
        }
        Ok(())
    })?;
    let columns = ["layer", "channel", "mean", "minimum", "maximum", "sparsity", "silence"];
    table(&folder.join("units.csv"), &columns, |row| {
        for (layer, channel, unit) in units(surveyed) {
            let (least, most) = unit.range().unwrap_or_default();
            row(&[&layer.name, &channel, &unit.mean(), &least, &most, &unit.sparsity(), &unit.silence()])?;
        }
        Ok(())
    })?;
    table(&folder.join("broken.csv"), &["image", "reason"], |row| {
        surveyed.reasons().try_for_each(|(image, reason)| row(&[&image, &reason]))
    })?;
    let rows: Vec<u64> =
        units(surveyed).flat_map(|(_, _, unit)| unit.histogram().counts().to_vec()).collect();
    let rows = Array2::from_shape_vec((rows.len() / histogram::BINS, histogram::BINS), rows);
    array(&folder.join("histograms.npy"), &rows.unwrap_or_default())?;
    let ends = (0..histogram::BINS).flat_map(|bin| <[f32; 2]>::from(histogram::ends(bin))).collect();
    let ends = Array1::from_vec(ends).into_shape_with_order((histogram::BINS, 2)).unwrap_or_default();
    array(&folder.join("bins.npy"), &ends)
}

/// Every unit with its layer and channel.
fn units(surveyed: &Surveyed) -> impl Iterator<Item = (&SurveyedLayer, usize, &Unit)> {
    let of = |layer: &'_ SurveyedLayer| layer.units.len();
    surveyed
        .layers
        .iter()
        .flat_map(move |layer| (0..of(layer)).map(move |unit| (layer, unit, &layer.units[unit])))
}

fn manifest(surveyed: &Surveyed) -> Value {
    let [channels, height, width] = surveyed.setting.input;
    let layers = surveyed.layers.iter().map(|layer| {
        let [channels, height, width] = layer.shape;
        let (field_height, field_width) = layer.field.size();
        json!({
            "name": layer.name,
            "channels": channels,
            "height": height,
            "width": width,
            "receptive_field": { "height": field_height, "width": field_width },
        })
    });
    let mut manifest = json!({
        "format": "vis survey 1",
        "version": env!("CARGO_PKG_VERSION"),
        "notes": surveyed.setting.notes,
        "input": {
            "channels": channels,
            "height": height,
            "width": width,
            "range": [surveyed.setting.range.0, surveyed.setting.range.1],
        },
        "images": {
            "listed": surveyed.listing.images,
            "checksum": format!("{:08x}", surveyed.listing.checksum),
            "surveyed": surveyed.images,
            "passed_over": surveyed.broken.count,
        },
        "complete": surveyed.is_complete(),
        "top": surveyed.setting.top,
        "layers": layers.collect::<Value>(),
        "files": {
            "top.csv": "the images with the largest activation of each channel, and its place in the layer's map",
            "examples.csv": "the same with labels and with the part of the input image that the unit depends on, and by the mean",
            "units.csv": "each channel: its mean, least and largest value; the share of values that are zero; the share of images in which it is nowhere above zero",
            "broken.csv": "images that were passed over, at most 1000",
            "histograms.npy": "uint64 [channels of all layers, bins], in the order of units.csv",
            "bins.npy": "float32 [bins, 2]: the ends of each bin",
            "state.bin": "everything, for `vis survey` and `vis site`",
        },
    });
    if !surveyed.is_complete() {
        let shards: Vec<String> = surveyed.shards().map(|shard| shard.to_string()).collect();
        manifest["shards"] = json!(shards);
    }
    manifest
}

/// A row of a table.
type Row<'a> = dyn FnMut(&[&dyn ToString]) -> csv::Result<()> + 'a;

fn table(path: &Path, columns: &[&str], fill: impl FnOnce(&mut Row) -> csv::Result<()>) -> Result<()> {
    write_atomically(path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(columns)?;
        fill(&mut |fields| table.write_record(fields.iter().map(|field| field.to_string())))?;
        table.flush()
    })
}

fn array<T: ndarray_npy::WritableElement, D: ndarray::Dimension>(
    path: &Path,
    array: &ndarray::Array<T, D>,
) -> Result<()> {
    write_atomically(path, |writer| {
        array.write_npy(writer).map_err(|error| match error {
            WriteNpyError::Io(error) => error,
            other => io::Error::other(other),
        })
    })
    .map_err(|error: Error| error)
}
