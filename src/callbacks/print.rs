//! A line a step.

use std::io::Write;
use std::ops::ControlFlow;

use super::Callback;
use crate::optimizer::Step;
use crate::{Error, Result};

/// Writes a line a step: its number, each weighted loss by name, and the total, averaged over the batch.
pub(crate) struct Print<W>(W);

impl Print<std::io::Stderr> {
    /// Writes to standard error.
    pub(crate) fn to_stderr() -> Self {
        Self(std::io::stderr())
    }
}

impl<W: Write + Send> Callback for Print<W> {
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        let values = step.losses.values();
        let means = values.mean_axis(ndarray::Axis(1)).unwrap_or_default();
        let named = step.losses.names().iter().zip(&means);
        let named: Vec<_> = named.map(|(name, value)| format!("{name}: {value:.6}")).collect();
        writeln!(
            self.0,
            "Iteration: {}, {}, overall loss: {:.6}",
            step.index + 1,
            named.join(", "),
            means.sum()
        )
        .map_err(Error::io("write", "the progress output"))?;
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView1, Axis};

    use super::*;
    use crate::Optimizer;
    use crate::losses::{ActivationMaximization, TotalVariation};
    use crate::model::Tiny;

    fn run(model: &Tiny) -> Optimizer<'_> {
        let losses =
            crate::losses![(ActivationMaximization::new("conv2", 3), 1.0), (TotalVariation::default(), 0.01)];
        Optimizer::new(model, losses).batch(2).max_iter(3)
    }

    #[test]
    fn there_is_a_line_a_step_with_the_weighted_losses_of_the_history() {
        let model = Tiny::new(&Default::default());
        let mut lines = Vec::new();
        let history = run(&model).callback(Print(&mut lines)).minimize().unwrap().losses;
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count(), 3);
        let mean = |values: ArrayView1<f32>| values.mean().unwrap();
        for (step, line) in lines.lines().enumerate() {
            let values = history.values().index_axis(Axis(0), step);
            let expected = [mean(values.row(0)), mean(values.row(1)), mean(history.totals().row(step))];
            let [maximized, variation, total] = expected;
            let numbers = line
                .split(", ")
                .skip(1)
                .map(|part| part.rsplit_once(": ").unwrap().1.parse::<f32>().unwrap());
            for (number, expected) in numbers.zip([maximized, variation, total]) {
                assert!((number - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{line}");
            }
            assert!(
                line.starts_with(&format!("Iteration: {}, ", step + 1)) && line.matches(": ").count() == 4,
                "{line}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_that_cannot_be_written_stops_the_run_and_keeps_the_best_image() {
        let model = Tiny::new(&Default::default());
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = run(&model).callback(Print(full)).minimize().unwrap_err();
        let Error::Stopped { source, best: Some(_), .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("the progress output"), "{source}");
    }
}
