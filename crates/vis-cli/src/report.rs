//! What a command writes to standard output: lines for people, or one JSON object for programs.

use std::io::Write;
use std::path::Path;

use ndarray::ArrayViewD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use vis::optimizer::History;

use crate::failure::{Failure, Outcome};
use crate::network::Opened;

/// Collects what a command has to tell until it is done.
pub(crate) struct Report {
    as_json: bool,
    lines: Vec<String>,
    summary: Map<String, Value>,
    /// A picture for standard output, which then gets nothing else.
    picture: Option<Vec<u8>>,
}

impl Report {
    /// The report of a command with its settings.
    pub(crate) fn new(command: &str, settings: &impl Serialize, as_json: bool) -> Self {
        let mut summary = Map::new();
        summary.insert("command".into(), command.into());
        summary.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        summary.insert("settings".into(), serde_json::to_value(settings).unwrap_or_default());
        Self { as_json, lines: Vec::new(), summary, picture: None }
    }

    /// Keeps a picture for standard output until all files are written; the lines then go to standard error.
    pub(crate) fn hold(&mut self, picture: Vec<u8>) {
        self.picture = Some(picture);
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// An entry for programs.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.summary.insert(key.into(), value.into());
    }

    /// What a setting came to be that was left to a default.
    pub(crate) fn setting(&mut self, key: &str, value: impl Into<Value>) {
        if let Some(Value::Object(settings)) = self.summary.get_mut("settings") {
            settings.insert(key.into(), value.into());
        }
    }

    /// Which network runs on which device.
    pub(crate) fn network(&mut self, opened: &Opened) {
        let input = opened.model.input();
        self.set("model", opened.network.name());
        self.set("device", opened.device.as_str());
        self.set("input", json!({ "shape": input.shape(), "range": [input.range().0, input.range().1] }));
    }

    /// A file that was written.
    pub(crate) fn wrote(&mut self, key: &str, path: &Path) {
        self.say(format!("wrote {}", path.display()));
        let files = self.summary.entry("files").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(files) = files {
            files.insert(key.into(), path.display().to_string().into());
        }
    }

    /// Prints the picture, or the lines or the summary.
    pub(crate) fn print(&self) -> Outcome {
        let mut text = if self.as_json {
            let summary = shortened(Value::Object(self.summary.clone()));
            serde_json::to_string_pretty(&summary).unwrap_or_default()
        } else {
            self.lines.join("\n")
        };
        if !text.is_empty() {
            text.push('\n');
        }
        match &self.picture {
            Some(picture) => {
                print(picture)?;
                // If nobody reads them, the picture is written nevertheless.
                let _ = std::io::stderr().write_all(text.as_bytes());
                Ok(())
            }
            None => print(text.as_bytes()),
        }
    }
}

/// The same with numbers that are `f32` written as such: 0.05 and not 0.05000000074505806.
fn shortened(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, shortened(value))).collect(),
        Value::Array(values) => values.into_iter().map(shortened).collect(),
        Value::Number(number) => {
            let as_f32 = number.as_f64().map(|number| number as f32);
            let is_f32 = number.is_f64() && as_f32.map(f64::from) == number.as_f64();
            let short = as_f32.filter(|_| is_f32).and_then(|number| number.to_string().parse::<f64>().ok());
            short.map_or(Value::Number(number), Value::from)
        }
        other => other,
    }
}

/// Writes to standard output, which may be closed.
pub(crate) fn print(bytes: &[u8]) -> Outcome {
    let mut output = std::io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(|error| Failure::new(format!("can't write to standard output: {error}")))
}

/// The shape and range of an array, for the summary.
pub(crate) fn described(array: &ArrayViewD<f32>) -> Value {
    let least = array.iter().copied().fold(f32::INFINITY, f32::min);
    let most = array.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    json!({ "shape": array.shape(), "min": least, "max": most })
}

/// The losses of a run before its first and its last step, by name, for the summary.
pub(crate) fn losses(history: &History) -> Value {
    let at = |step: usize| -> Value {
        let values = history.values().index_axis(ndarray::Axis(0), step);
        let named = history.names().iter().zip(values.outer_iter());
        let mut row: Map<String, Value> =
            named.map(|(name, values)| (name.clone(), values.sum().into())).collect();
        row.insert("total".into(), values.sum().into());
        Value::Object(row)
    };
    match history.steps() {
        0 => json!({ "steps": 0 }),
        steps => json!({ "steps": steps, "first": at(0), "last": at(steps - 1) }),
    }
}
