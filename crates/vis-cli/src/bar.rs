//! One line that is drawn over and over.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

/// How far the work is, in one line that is drawn over: a bar, the steps, their rate, the time that is left.
///
/// ```text
///  42% ██████████▌              84/200  12.3 steps/s  0:09 left
/// ```
///
/// It is drawn ten times a second at most, so that a fast run does not wait for it.
pub(crate) struct Bar<W: Write = Stderr> {
    writer: W,
    /// What is counted.
    unit: &'static str,
    /// Whether anything is written at all.
    shown: bool,
    /// The shortest time between two drawings.
    pause: Duration,
    drawn: Option<Instant>,
    begun: Instant,
    /// The width of the line that is on the screen, to be drawn over.
    width: usize,
}

/// The width of the bar in characters.
const WIDTH: usize = 24;

impl Bar {
    /// A bar on standard error, silent when that is not a terminal.
    pub(crate) fn to_stderr() -> Self {
        let stderr = io::stderr();
        let shown = stderr.is_terminal();
        let mut bar = Self::to(stderr);
        (bar.shown, bar.pause) = (shown, Duration::from_millis(100));
        bar
    }
}

impl<W: Write> Bar<W> {
    /// A bar that is drawn every time, anywhere.
    fn to(writer: W) -> Self {
        let (begun, pause) = (Instant::now(), Duration::ZERO);
        Self { writer, unit: "steps", shown: true, pause, drawn: None, begun, width: 0 }
    }

    /// Sets what is counted. Default: steps.
    pub(crate) fn counting(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Draws the bar with `words` at its end, unless it was drawn just now; the words are asked for only if it is drawn.
    ///
    /// A terminal that can't be written to is no reason to lose the work, so failures are passed over.
    pub(crate) fn draw(&mut self, done: usize, of: usize, words: impl FnOnce() -> String) {
        let now = Instant::now();
        let just_now = self.drawn.is_some_and(|drawn| now - drawn < self.pause);
        if !self.shown || (just_now && done < of) {
            return;
        }
        self.drawn = Some(now);
        let line = line(done, of, self.unit, now - self.begun, &words());
        let blank = self.width.saturating_sub(line.chars().count());
        self.width = line.chars().count();
        let _ = write!(self.writer, "\r{line}{:blank$}", "").and_then(|()| self.writer.flush());
    }

    /// Ends the line, if one was drawn; so does dropping the bar.
    pub(crate) fn close(&mut self) {
        if std::mem::take(&mut self.width) != 0 {
            let _ = writeln!(self.writer);
        }
    }
}

impl<W: Write> Drop for Bar<W> {
    fn drop(&mut self) {
        self.close();
    }
}

fn line(done: usize, of: usize, unit: &str, elapsed: Duration, words: &str) -> String {
    let share = if of == 0 { 1.0 } else { done.min(of) as f64 / of as f64 };
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = (of.saturating_sub(done) as f64 / rate.max(1e-9)).round() as u64;
    let (percent, bar) = ((100.0 * share) as usize, bar(share));
    let digits = of.to_string().len();
    let (minutes, seconds) = (left / 60, left % 60);
    let left = match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    };
    format!("{percent:3}% {bar}  {done:digits$}/{of}  {rate:.1} {unit}/s  {left} left  {words}")
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
        let drawn = line(60, 240, "steps", Duration::from_secs(30), "loss -1.5000");
        assert_eq!(drawn, " 25% ██████                     60/240  2.0 steps/s  1:30 left  loss -1.5000");
        // 1 of 3601 steps in 1 s: an hour is left.
        assert!(line(1, 3601, "MB", Duration::from_secs(1), "").ends_with("  1.0 MB/s  1:00:00 left"));
    }

    #[test]
    fn the_bar_is_always_as_wide() {
        for share in [0.0, 0.01, 0.5, 0.999, 1.0] {
            assert_eq!(bar(share).chars().count(), WIDTH);
        }
        // Half of 24 blocks and 1/16 of one are 12 blocks; 1/8 of one more shows.
        assert_eq!(bar(0.5 + 1.0 / 192.0), format!("{}▏{}", "█".repeat(12), " ".repeat(11)));
    }

    #[test]
    fn a_line_is_drawn_over_and_ended_once_if_there_is_one() {
        let (mut drawn, mut silent) = (Vec::new(), Vec::new());
        let mut bar = Bar::to(&mut drawn);
        bar.draw(1, 4, || "a long remark".into());
        bar.draw(4, 4, String::new);
        bar.close();
        drop(bar); // which has nothing left to end
        drop(Bar::to(&mut silent));
        let drawn = String::from_utf8(drawn).unwrap();
        let (first, last) = drawn[1..].split_once('\r').unwrap();
        assert!(
            first.starts_with(" 25% ") && last.starts_with("100% ") && last.contains(" 4/4 "),
            "{drawn:?}"
        );
        assert!(last.ends_with('\n') && drawn.matches('\n').count() == 1, "{drawn:?}");
        assert!(last.trim_end_matches('\n').chars().count() >= first.chars().count(), "{drawn:?}");
        assert!(silent.is_empty(), "there was no line to end");
    }
}
