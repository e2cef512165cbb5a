//! The losses of a run as a file and as a picture.

use std::path::Path;

use image::RgbImage;
use ndarray::Axis;

use super::plot::Plot;
use super::write_atomically;
use crate::Result;
use crate::optimizer::History;

impl History {
    /// Writes the table of [`write_csv`](History::write_csv) to a file, whole or not at all.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-save-csv-example.csv");
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(2).minimize()?.losses;
    /// losses.save_csv(&path)?;
    /// assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1 + 2);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), naming the file.
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path, |writer| self.write_csv(writer))
    }

    /// Draws the weighted losses and their total over the steps, each averaged over the batch.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(9).minimize()?.losses;
    /// let picture = losses.plot()?;
    /// assert_eq!(picture.dimensions(), (720, 440));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None for now.
    pub fn plot(&self) -> Result<RgbImage> {
        let means = self.values().mean_axis(Axis(2)).unwrap_or_default();
        let plot = Plot::new("Losses").x_label("step").y_label("weighted loss");
        let plot = self
            .names()
            .iter()
            .zip(means.columns())
            .fold(plot, |plot, (name, values)| plot.series(name, &values.to_vec()));
        plot.series("total", &means.sum_axis(Axis(1)).to_vec()).render()
    }
}
