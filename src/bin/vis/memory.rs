//! Refuses images that would not fit in memory, before the system ends the program without a word.

use crate::failure::{Failure, Outcome};
use crate::network::Opened;

/// Refuses a run on an image of this height and width up to a layer, if it takes more memory than is free.
///
/// Where the system does not say how much is free, and on GPUs, which have their own, nothing is refused.
pub(crate) fn check(opened: &Opened, deepest: &str, (height, width): (usize, usize)) -> Outcome {
    let Some(free) = free().filter(|_| ["cpu", "flex", "ndarray"].contains(&opened.device.as_str())) else {
        return Ok(());
    };
    let layers = opened.model.layers()?;
    let depth = layers.iter().position(|layer| layer.name == deepest).map_or(layers.len(), |last| last + 1);
    let values: usize = layers[..depth].iter().map(|layer| layer.shape.iter().product::<usize>()).sum();
    let (own_height, own_width) = opened.model.input().size();
    let area = (height * width) as f64 / (own_height * own_width).max(1) as f64;
    // Each activation is kept for the backward pass as it enters and as it leaves its rectifier.
    let needed = 2.0 * 4.0 * values as f64 * area;
    if needed < free {
        return Ok(());
    }
    let gigabytes = |bytes: f64| bytes / 1e9;
    Err(Failure::new(format!(
        "an image of {height} × {width} takes about {:.1} GB of memory and {:.1} GB are free: take a smaller --size",
        gigabytes(needed),
        gigabytes(free),
    )))
}

/// The bytes of memory that are free, if the system says so.
fn free() -> Option<f64> {
    let table = std::fs::read_to_string("/proc/meminfo").ok()?;
    let row = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: f64 = row.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}
