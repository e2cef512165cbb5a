//! The losses of a run in a file.

use std::ops::ControlFlow;
use std::path::PathBuf;

use ndarray::Array2;

use super::{Callback, End};
use crate::optimizer::{History, Step};
use crate::{Error, Result};

/// Writes the losses of a run to a file at its end, whether that is good or bad: a table for a name that ends in
/// `.csv`, a plot for `.png` and `.jpg`.
///
/// ```
/// use vis::{Optimizer, callbacks::SaveHistory, losses::TotalVariation};
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let path = std::env::temp_dir().join("vis-history-example.csv");
/// let losses = TotalVariation::default();
/// Optimizer::new(&model, losses).max_iter(2).callback(SaveHistory::to(&path)?).minimize()?;
/// assert!(std::fs::read_to_string(path).unwrap().starts_with("step,image,TV(2),total\n0,0,"));
/// # Ok::<(), vis::Error>(())
/// ```
///
/// A [`History`] writes the same by [`History::save_csv`] and [`History::plot`].
#[derive(Debug)]
pub struct SaveHistory {
    path: PathBuf,
    table: bool,
    names: Vec<String>,
    rows: Vec<Array2<f32>>,
}

impl SaveHistory {
    /// Writes to this file, which is tried now, so that one that can't be written costs no time.
    ///
    /// ```
    /// use vis::callbacks::SaveHistory;
    /// assert!(SaveHistory::to("no/such/folder/losses.csv").is_err());
    /// assert!(SaveHistory::to("losses.txt").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a name that ends otherwise, [`Error::Io`] if the file is a folder or can't be
    /// written.
    pub fn to(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        let table = match extension.as_deref() {
            Some("csv") => true,
            Some("png" | "jpg" | "jpeg") => false,
            _ => {
                let expected = "one that ends in .csv, .png or .jpg";
                return Err(Error::invalid("the name of a history file", expected, path.display()));
            }
        };
        crate::picture::check_writable(&path)?;
        Ok(Self { path, table, names: Vec::new(), rows: Vec::new() })
    }
}

impl Callback for SaveHistory {
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        if self.names.is_empty() {
            self.names = step.losses.names().to_vec();
        }
        self.rows.push(step.losses.values());
        Ok(ControlFlow::Continue(()))
    }

    fn on_end(&mut self, _end: &End) -> Result<()> {
        let rows: Vec<_> = self.rows.iter().map(|row| row.view()).collect();
        let Some(first) = rows.first() else { return Ok(()) };
        let history = History::from_steps(std::mem::take(&mut self.names), first.ncols(), &rows);
        if self.table {
            history.save_csv(&self.path)
        } else {
            crate::picture::save(&history.plot()?, &self.path)
        }
    }
}
