//! One line that is drawn over and over.

use std::fmt;
use std::io::{IsTerminal, Stderr, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::{Callback, End};
use crate::optimizer::Step;
use crate::progress::Progress;
use crate::{Error, Result};

/// How far a run has come, in one line that is drawn over: a bar, the steps, their rate, the time that is
/// left, and the total loss averaged over the batch.
///
/// ```text
///  42% ██████████▌              84/200  12.3 steps/s  0:09 left  loss -153.2
/// ```
///
/// On a terminal it is drawn ten times a second at most, so that a fast run does not wait for its losses;
/// elsewhere [`to_stderr`](Self::to_stderr) is silent.
///
/// ```
/// use vis::{Optimizer, callbacks::ProgressBar, losses::TotalVariation};
/// # let model = vis::model::Tiny::new(&Default::default());
/// let mut drawn = Vec::new();
/// Optimizer::new(&model, TotalVariation::default()).max_iter(4).callback(ProgressBar::to(&mut drawn)).minimize()?;
/// let drawn = String::from_utf8(drawn).unwrap();
/// assert!(drawn.starts_with("\r 25% ") && drawn.contains(" 4/4 ") && drawn.ends_with('\n'), "{drawn:?}");
/// # Ok::<(), vis::Error>(())
/// ```
pub struct ProgressBar<W: Write> {
    writer: W,
    /// Whether anything is written at all.
    shown: bool,
    /// The shortest time between two drawings.
    pause: Duration,
    drawn: Option<Instant>,
    /// What is being worked on, since when, and what was done then: each stage has a rate of its own.
    stage: (String, Instant, usize),
    latest: (Instant, usize),
    loss: Option<f32>,
    /// The width of the line that is on the screen, to be drawn over.
    width: usize,
}

/// The width of the bar in characters.
const WIDTH: usize = 24;

impl ProgressBar<Stderr> {
    /// A bar on standard error, silent when that is not a terminal.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::ProgressBar, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let run = || Optimizer::new(&model, TotalVariation::default()).max_iter(2);
    /// // The run is the same.
    /// assert_eq!(run().callback(ProgressBar::to_stderr()).minimize()?.losses, run().minimize()?.losses);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn to_stderr() -> Self {
        let stderr = std::io::stderr();
        let shown = stderr.is_terminal();
        let mut bar = Self::to(stderr);
        (bar.shown, bar.pause) = (shown, Duration::from_millis(100));
        bar
    }
}

impl<W: Write> ProgressBar<W> {
    /// A bar on anything, drawn at every step.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::ProgressBar, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut drawn = Vec::new();
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(9).callback(ProgressBar::to(&mut drawn)).minimize()?;
    /// assert_eq!(String::from_utf8(drawn).unwrap().matches('\r').count(), 9);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn to(writer: W) -> Self {
        let begun = Instant::now();
        Self {
            writer,
            shown: true,
            pause: Duration::ZERO,
            drawn: None,
            stage: (String::new(), begun, 0),
            latest: (begun, 0),
            loss: None,
            width: 0,
        }
    }

    /// Draws the bar unless it was drawn just now.
    ///
    /// For work that is not a run of the [`Optimizer`](crate::Optimizer), which calls it by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it can't be written.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use vis::{callbacks::ProgressBar, visualization::deep_dream};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let photo = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
    /// let mut bar = ProgressBar::to_stderr();
    /// let dream = deep_dream(&model, photo).layer("conv2").steps(2).progress(|now| {
    ///     let _ = bar.show(now); // a terminal that can't be written to is no reason to stop
    ///     ControlFlow::Continue(())
    /// });
    /// dream.run()?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn show(&mut self, progress: &Progress) -> Result<()> {
        if progress.stage != self.stage.0 {
            self.stage = (progress.stage.clone(), self.latest.0, self.latest.1);
        }
        self.loss = progress.loss.or(self.loss);
        let loss = self.loss.map(|loss| format!("  loss {loss:.4}")).unwrap_or_default();
        self.draw(progress.done, progress.of, || format!("{}{loss}", progress.stage))
    }

    /// Draws the bar with other words at its end, which are asked for only if it is drawn.
    ///
    /// # Errors
    ///
    /// As [`show`](Self::show).
    pub fn tell(&mut self, done: usize, of: usize, words: impl FnOnce() -> String) -> Result<()> {
        self.draw(done, of, words)
    }

    fn draw(&mut self, done: usize, of: usize, words: impl FnOnce() -> String) -> Result<()> {
        let now = Instant::now();
        let just_now = self.drawn.is_some_and(|drawn| now - drawn < self.pause);
        self.latest = (now, done);
        if !self.shown || (just_now && done < of) {
            return Ok(());
        }
        self.drawn = Some(now);
        let line = line(done, of, done.saturating_sub(self.stage.2), now - self.stage.1, &words());
        let blank = self.width.saturating_sub(line.chars().count());
        self.width = line.chars().count();
        write!(self.writer, "\r{line}{:blank$}", "")
            .and_then(|()| self.writer.flush())
            .map_err(Error::io("write", "the progress bar"))
    }

    /// Ends the line, if one was drawn; so does dropping the bar, which says nothing of failures.
    ///
    /// ```
    /// let mut drawn = Vec::new();
    /// let mut bar = vis::callbacks::ProgressBar::to(&mut drawn);
    /// bar.tell(1, 2, String::new)?;
    /// bar.close()?;
    /// drop(bar); // which has nothing left to end
    /// assert_eq!(String::from_utf8(drawn).unwrap().matches('\n').count(), 1);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it can't be written.
    pub fn close(&mut self) -> Result<()> {
        if std::mem::take(&mut self.width) == 0 {
            return Ok(());
        }
        writeln!(self.writer).map_err(Error::io("write", "the progress bar"))
    }
}

impl<W: Write + Send> Callback for ProgressBar<W> {
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        self.show(&step.progress())?;
        Ok(ControlFlow::Continue(()))
    }

    fn on_end(&mut self, _end: &End) -> Result<()> {
        self.close()
    }
}

impl<W: Write> Drop for ProgressBar<W> {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl<W: Write> fmt::Debug for ProgressBar<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressBar").field("shown", &self.shown).finish_non_exhaustive()
    }
}

fn line(done: usize, of: usize, lately: usize, elapsed: Duration, words: &str) -> String {
    let share = if of == 0 { 1.0 } else { done.min(of) as f64 / of as f64 };
    let rate = lately as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = (of.saturating_sub(done) as f64 / rate.max(1e-9)).round() as u64;
    let (percent, bar) = ((100.0 * share) as usize, bar(share));
    let digits = of.to_string().len();
    let (minutes, seconds) = (left / 60, left % 60);
    let left = match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    };
    format!("{percent:3}% {bar}  {done:digits$}/{of}  {rate:.1} steps/s  {left} left  {words}")
        .trim_end()
        .to_owned()
}

/// Full blocks, and an eighth of a block for what is left over.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (8 * WIDTH) as f64) as usize;
    let bar = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    format!("{bar:WIDTH$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_gives_share_rate_and_time_left() {
        // 60 of 240 steps in 30 s: 2 steps a second, 180 left, so 90 s.
        let drawn = line(60, 240, 60, Duration::from_secs(30), "loss -1.5000");
        assert_eq!(drawn, " 25% ██████                     60/240  2.0 steps/s  1:30 left  loss -1.5000");
        // 1 of 3601 steps in 1 s: an hour is left.
        assert!(line(1, 3601, 1, Duration::from_secs(1), "").ends_with("  1:00:00 left"));
    }

    #[test]
    fn the_bar_is_always_as_wide() {
        for share in [0.0, 0.01, 0.5, 0.999, 1.0] {
            assert_eq!(bar(share).chars().count(), WIDTH);
        }
        // Half of 24 blocks and 1/16 of one are 12 blocks; 1/8 of one more shows.
        assert_eq!(bar(0.5 + 1.0 / 192.0), format!("{}▏{}", "█".repeat(12), " ".repeat(11)));
    }
}
