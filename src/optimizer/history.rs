//! The losses of a run, step by step.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};

/// The weighted losses of a run, step by step, each evaluated before the step's update.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub(super) names: Vec<String>,
    pub(super) values: Array3<f32>,
}

impl History {
    /// The names of the losses.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of steps.
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
    pub fn named(&self, name: &str) -> Option<ArrayView2<'_, f32>> {
        let index = self.names.iter().position(|other| other == name)?;
        Some(self.values.index_axis(Axis(1), index))
    }

    /// The totals, `[steps, batch]`.
    pub fn totals(&self) -> Array2<f32> {
        self.values.sum_axis(Axis(1))
    }

    /// The history of one image of the batch, with a batch of one.
    ///
    /// # Panics
    ///
    /// When the batch has no such image.
    pub fn of_image(&self, image: usize) -> Self {
        Self { names: self.names.clone(), values: self.values.slice(s![.., .., image..=image]).to_owned() }
    }
}
