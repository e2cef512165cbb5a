//! Files that a command writes: tried before the work begins, written whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use image::RgbImage;
use ndarray::ArrayViewD;
use serde::Serialize;
use vis::optimizer::History;

use crate::failure::{Failure, Outcome};
use crate::report::Report;
use crate::{npy, stream};

/// What every command that makes something can write.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct OutputOptions {
    /// The picture to write, .png or .jpg; - for standard output, which then gets nothing else
    #[arg(short, long, value_name = "PICTURE", help_heading = "Results", required_unless_present_any = ["raw", "json"])]
    pub(crate) output: Option<PathBuf>,

    /// The format of a picture on standard output [default: png]
    #[arg(long, value_name = "FORMAT", help_heading = "Results")]
    pub(crate) format: Option<Format>,

    /// The numbers to write, as float32 in NumPy's format
    #[arg(long, value_name = "A.npy", help_heading = "Results")]
    pub(crate) raw: Option<PathBuf>,

    /// A table to write with one row a step: the step, each weighted loss by name, the total, as they were
    /// before the step; for maps one row with the score that they explain
    #[arg(long, value_name = "L.csv", help_heading = "Results")]
    pub(crate) losses: Option<PathBuf>,

    #[command(flatten)]
    #[serde(skip)]
    pub(crate) json: JsonOption,
}

/// How a picture is encoded.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Without loss
    Png,
    /// Smaller
    #[value(alias = "jpeg")]
    Jpg,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
        }
    }
}

/// Whether standard output is for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct JsonOption {
    /// Print a summary in JSON on standard output: settings, version, predictions, losses, layer, ranges
    #[arg(long, help_heading = "Results")]
    pub(crate) json: bool,
}

impl OutputOptions {
    /// Refuses files that can't be written, now rather than when the work is done, and those that are read.
    pub(crate) fn check(&self, inputs: &[&Path]) -> Outcome {
        self.check_with(&[], inputs)
    }

    /// The same with more files to write.
    pub(crate) fn check_with(&self, more: &[&Path], inputs: &[&Path]) -> Outcome {
        let is_piped = self.output.as_deref().is_some_and(stream::is_meant_by);
        if is_piped && self.json.json {
            return Err(Failure::misuse(
                "-o - and --json would both write to standard output: name a file for one",
            ));
        }
        if self.format.is_some() && !is_piped {
            return Err(Failure::misuse("--format goes with -o - only: the name of a file says its format"));
        }
        if let Some(path) = self.output.as_ref().filter(|_| !is_piped) {
            let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
            if !matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) {
                let name = path.display();
                return Err(Failure::misuse(format!("the picture {name} must end in .png, .jpg or .jpeg")));
            }
        }
        let output = self.output.as_ref().filter(|_| !is_piped);
        let outputs = [output, self.raw.as_ref(), self.losses.as_ref()].into_iter().flatten();
        let outputs: Vec<&Path> = outputs.map(PathBuf::as_path).chain(more.iter().copied()).collect();
        check(&outputs, inputs)?;
        if is_piped { stream::check_output() } else { Ok(()) }
    }

    /// Writes the picture if one is wanted.
    pub(crate) fn write_picture(
        &self,
        report: &mut Report,
        picture: impl FnOnce() -> vis::Result<RgbImage>,
    ) -> Outcome {
        match self.output.as_deref() {
            // Last of all results, in case nobody reads it.
            Some(path) if stream::is_meant_by(path) => {
                let format = self.format.unwrap_or(Format::Png);
                report.hold(stream::encoded(&picture()?, format.extension())?);
            }
            Some(path) => {
                vis::picture::save(&picture()?, path)?;
                report.wrote("output", path);
            }
            None => {}
        }
        Ok(())
    }

    /// Writes the numbers if they are wanted.
    pub(crate) fn write_raw(&self, report: &mut Report, array: ArrayViewD<f32>) -> Outcome {
        if let Some(path) = &self.raw {
            npy::write(path, array)?;
            report.wrote("raw", path);
        }
        Ok(())
    }

    /// Writes the losses of some runs if they are wanted; several runs are told apart by a column.
    pub(crate) fn write_losses(&self, report: &mut Report, runs: &[&History]) -> Outcome {
        let (Some(path), Some(first)) = (&self.losses, runs.first()) else { return Ok(()) };
        let mut table = Table::new(first.names());
        table.pictures = runs.len() > 1;
        for (picture, run) in runs.iter().enumerate() {
            for (step, values) in run.values().outer_iter().enumerate() {
                table.rows.push((step, picture, values.iter().copied().collect()));
            }
        }
        table.write(path)?;
        report.wrote("losses", path);
        Ok(())
    }

    /// Writes a table of one step if it is wanted.
    pub(crate) fn write_row(&self, report: &mut Report, names: &[String], losses: Vec<f32>) -> Outcome {
        let Some(path) = &self.losses else { return Ok(()) };
        let mut table = Table::new(names);
        table.rows = vec![(0, 0, losses)];
        table.write(path)?;
        report.wrote("losses", path);
        Ok(())
    }
}

/// Losses step by step.
struct Table {
    names: Vec<String>,
    pictures: bool,
    /// The step, the picture, and each loss.
    rows: Vec<(usize, usize, Vec<f32>)>,
}

impl Table {
    fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), pictures: false, rows: Vec::new() }
    }

    fn write(&self, path: &Path) -> vis::Result<()> {
        vis::picture::write_atomically(path, |writer| {
            let names: Vec<_> = self.names.iter().map(|name| quoted(name)).collect();
            let picture = if self.pictures { "picture," } else { "" };
            writeln!(writer, "step,{picture}{},total", names.join(","))?;
            for (step, picture, losses) in &self.rows {
                write!(writer, "{step},")?;
                if self.pictures {
                    write!(writer, "{picture},")?;
                }
                for loss in losses {
                    write!(writer, "{loss},")?;
                }
                writeln!(writer, "{}", losses.iter().sum::<f32>())?;
            }
            Ok(())
        })
    }
}

/// A field of a table in CSV.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

/// Refuses files that can't be written, that are written twice, or that are read.
pub(crate) fn check(outputs: &[&Path], inputs: &[&Path]) -> Outcome {
    stream::check_inputs(inputs)?;
    let inputs: Vec<&Path> = inputs.iter().copied().filter(|input| !stream::is_meant_by(input)).collect();
    for (index, path) in outputs.iter().enumerate() {
        if stream::is_meant_by(path) {
            return Err(Failure::misuse("only the picture can go to standard output, by -o -: name a file"));
        }
        check_writable(path)?;
        let name = path.display();
        if outputs[..index].iter().any(|other| are_same(other, path)) {
            return Err(Failure::misuse(format!("two results would be written to {name}")));
        }
        if inputs.iter().any(|input| are_same(input, path)) {
            let advice = "choose another name for the result";
            return Err(Failure::misuse(format!("{name} is read and would be written over: {advice}")));
        }
    }
    Ok(())
}

fn check_writable(path: &Path) -> Outcome {
    let refuse = |reason: &str| Failure::new(format!("can't write {}: {reason}", path.display()));
    if path.is_dir() {
        return Err(refuse("it is a folder"));
    }
    if path.file_name().is_none() {
        return Err(refuse("it names no file"));
    }
    // A link is followed, so that what is tried is the folder in which the file will be replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.exists() && !target.is_file() {
        // A device or a pipe: nothing is known before it is written to.
        return Ok(());
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(refuse(&format!("there is no folder {}", folder.display())));
    }
    match tempfile::Builder::new().prefix(".vis-").suffix(".part").tempfile_in(folder) {
        Ok(_) => Ok(()),
        // The kind alone: the whole error names the file that was tried, which nobody asked for.
        Err(error) => Err(refuse(&error.kind().to_string())),
    }
}

/// Whether two paths lead to one file, which need not exist.
fn are_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| -> Option<PathBuf> {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
        })
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}
