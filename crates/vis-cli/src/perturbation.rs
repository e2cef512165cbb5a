//! `vis occlusion` and `vis rise`.

use clap::Args;
use serde::Serialize;
use vis::attribution::{Attribution, Occlusion, Rise};
use vis::model::Model;
use vis::picture::{ColorMap, Sign, normalize};

use crate::explain::{DrawOptions, ExplainOptions, matrix};
use crate::failure::Outcome;
use crate::options;
use crate::progress::Work;
use crate::report::Report;

#[derive(Debug, Args, Serialize)]
#[command(after_help = OCCLUSION_EXAMPLES)]
pub(crate) struct OcclusionOptions {
    #[command(flatten)]
    #[serde(flatten)]
    explain: ExplainOptions,

    /// The side of the window that hides, in pixels [default: a seventh of the image's shorter side]
    #[arg(long, value_name = "PIXELS", value_parser = options::side)]
    window: Option<usize>,

    /// How far the window moves, in pixels [default: half the window]
    #[arg(long, value_name = "PIXELS", value_parser = options::side)]
    stride: Option<usize>,

    #[command(flatten)]
    #[serde(flatten)]
    draw: DrawOptions,
}

const OCCLUSION_EXAMPLES: &str = "\
Examples:
  vis occlusion --image cat.jpg --window 32 --stride 16 -o hidden.png
  vis occlusion --image seven.png --model digits --window 6 --stride 2 -o seven.png --raw seven.npy

The map is the drop of the score when the window hides a place, averaged over the windows that do: red where it
speaks for the target, blue where it speaks against. The numbers of --raw are laid out as Captum does,
[maps, channels, height, width], the same for every channel. Ctrl-C ends the run and writes the map of the windows
that are done, which lie everywhere.";

impl OcclusionOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("occlusion", &self, self.explain.outputs.json.json);
        let explained = self.explain.open(&mut report)?;
        let [channels, height, width] = explained.opened.model.input().shape();
        let window = self.window.unwrap_or_else(|| usual_window(height, width));
        let stride = self.stride.unwrap_or((window / 2).max(1));
        report.setting("window", window);
        report.setting("stride", stride);
        let work = Work::begin();
        let line = work.line();
        let made = explained.each(|image, asked| {
            let method = Occlusion::new([window; 2]).stride([stride; 2]).progress(line.teller());
            method.attribute(explained.opened.model.as_ref(), image, &asked.target)
        });
        let ended = work.end();
        let maps = made?;
        ended.tell(&mut report, "windows");
        explained.tell(&mut report, maps.len());
        explained.tell_blanks(&mut report, &maps, false);
        let outputs = &self.explain.outputs;
        let matrices: Vec<_> = maps.iter().cloned().map(matrix).collect();
        explained.write_picture(&mut report, (outputs, &self.draw), &matrices, ColorMap::BlueRed, |map| {
            normalize(map, Sign::Signed, 100.0)
        })?;
        // Captum gives every channel that the window covers the same number.
        let raws = maps.into_iter().map(|map| map.repeat_dim(1, channels)).collect();
        explained.write_raw(&mut report, outputs, raws)?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }
}

#[derive(Debug, Args, Serialize)]
#[command(after_help = RISE_EXAMPLES)]
pub(crate) struct RiseOptions {
    #[command(flatten)]
    #[serde(flatten)]
    explain: ExplainOptions,

    /// The number of random masks
    #[arg(long, value_name = "N", default_value = "4000", value_parser = options::count)]
    masks: usize,

    /// The number of cells along each side of a mask
    #[arg(long, value_name = "N", default_value = "7", value_parser = options::count)]
    cells: usize,

    /// The share of cells that are open
    #[arg(long, value_name = "SHARE", default_value = "0.5", value_parser = options::share)]
    open: f32,

    /// The seed of the masks
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    draw: DrawOptions,
}

const RISE_EXAMPLES: &str = "\
Examples:
  vis rise --image cat.jpg --masks 2000 -o rise.png
  vis rise --image seven.png --model digits --masks 500 --seed 1 -o seven.png --raw seven.npy

The map is the mean of the masks, weighted by the probability of the class under each, or by the value of the
filters of --target-layer. The numbers of --raw are the maps, [maps, 1, height, width]. Ctrl-C ends the run and writes the map of the masks that are done.";

impl RiseOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("rise", &self, self.explain.outputs.json.json);
        let explained = self.explain.open(&mut report)?;
        let work = Work::begin();
        let line = work.line();
        let made = explained.each(|image, asked| {
            let method = Rise::new().masks(self.masks).cells(self.cells).open(self.open).seed(self.seed);
            let method = method.progress(line.teller());
            method.attribute(explained.opened.model.as_ref(), image, &asked.as_probability)
        });
        let ended = work.end();
        let maps = made?;
        ended.tell(&mut report, "masks");
        explained.tell(&mut report, maps.len());
        explained.tell_blanks(&mut report, &maps, false);
        let outputs = &self.explain.outputs;
        let matrices: Vec<_> = maps.iter().cloned().map(matrix).collect();
        explained.write_picture(&mut report, (outputs, &self.draw), &matrices, ColorMap::Jet, |map| {
            normalize(map, Sign::Unsigned, 100.0)
        })?;
        explained.write_raw(&mut report, outputs, maps)?;
        explained.write_probability(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }
}

/// The side of the window where none is given: a seventh of the image's shorter side.
pub(crate) fn usual_window(height: usize, width: usize) -> usize {
    (height.min(width) / 7).max(1)
}
