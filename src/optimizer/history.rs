//! The losses of a run, step by step.

use std::io::{self, Write};

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

/// The weighted losses of a run, step by step, each evaluated before the step's update.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub(super) names: Vec<String>,
    pub(super) values: Array3<f32>,
}

impl History {
    /// One row a step, `[losses, batch]` each.
    pub(crate) fn from_steps(names: Vec<String>, batch: usize, steps: &[ArrayView2<f32>]) -> Self {
        let values = match steps {
            [] => Array3::zeros((0, names.len(), batch)),
            _ => ndarray::stack(Axis(0), steps).expect("every step has the same losses and batch"),
        };
        Self { names, values }
    }

    /// The names of the losses, no two alike: see [`Losses::names`](crate::Losses::names).
    ///
    /// ```
    /// use vis::{Optimizer, losses::{LPNorm, TotalVariation}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let history = Optimizer::new(&model, losses).max_iter(1).minimize()?.losses;
    /// assert_eq!(history.names(), ["L-6 norm", "TV(2)"]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of steps.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(3).minimize()?.losses;
    /// assert_eq!(losses.steps(), 3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn steps(&self) -> usize {
        self.values.len_of(Axis(0))
    }

    /// Every weighted value, `[steps, losses, batch]`.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(3).minimize()?.losses;
    /// assert_eq!(losses.values().dim(), (3, 1, 1));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn values(&self) -> &Array3<f32> {
        &self.values
    }

    /// The values of one loss by name, `[steps, batch]`, if there is such a loss.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(3).minimize()?.losses;
    /// // It is the only one.
    /// assert_eq!(losses.named("TV(2)").unwrap(), losses.totals());
    /// assert!(losses.named("TV(3)").is_none());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn named(&self, name: &str) -> Option<ArrayView2<'_, f32>> {
        let index = self.names.iter().position(|other| other == name)?;
        Some(self.values.index_axis(Axis(1), index))
    }

    /// The totals, `[steps, batch]`.
    ///
    /// ```
    /// use vis::{Optimizer, losses::{LPNorm, TotalVariation}};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = vis::losses![(LPNorm::default(), 1.0), (TotalVariation::default(), 1.0)];
    /// let history = Optimizer::new(&model, losses).batch(4).max_iter(3).minimize()?.losses;
    /// let (norm, variation) = (history.named("L-6 norm").unwrap(), history.named("TV(2)").unwrap());
    /// assert_eq!(history.totals(), &norm + &variation);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn totals(&self) -> Array2<f32> {
        self.values.sum_axis(Axis(1))
    }

    /// The history of one image of the batch, with a batch of one.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).batch(4).max_iter(2).minimize()?.losses;
    /// let third = losses.of_image(2);
    /// assert_eq!(third.totals()[[1, 0]], losses.totals()[[1, 2]]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the batch has no such image.
    pub fn of_image(&self, image: usize) -> Self {
        Self { names: self.names.clone(), values: self.values.slice(s![.., .., image..=image]).to_owned() }
    }

    /// Writes a table in CSV: a head, then a row for each step and image of the batch, with the number of the step
    /// and of the image, each weighted loss, and the total.
    ///
    /// ```
    /// use vis::{Optimizer, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let losses = Optimizer::new(&model, TotalVariation::default()).max_iter(2).minimize()?.losses;
    /// let mut table = Vec::new();
    /// losses.write_csv(&mut table).unwrap();
    /// let table = String::from_utf8(table).unwrap();
    /// let mut lines = table.lines();
    /// assert_eq!(lines.next(), Some("step,image,TV(2),total"));
    /// assert_eq!(lines.count(), 2);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn write_csv(&self, mut writer: impl Write) -> io::Result<()> {
        let names: Vec<_> = self.names.iter().map(|name| quoted(name)).collect();
        writeln!(
            writer,
            "{}",
            [&["step".into(), "image".into()], &names[..], &["total".into()]].concat().join(",")
        )?;
        for (step, losses) in self.values.outer_iter().enumerate() {
            for (image, losses) in losses.columns().into_iter().enumerate() {
                write!(writer, "{step},{image}")?;
                for loss in losses {
                    write!(writer, ",{loss}")?;
                }
                writeln!(writer, ",{}", losses.sum())?;
            }
        }
        Ok(())
    }
}

/// A field as CSV wants it (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
