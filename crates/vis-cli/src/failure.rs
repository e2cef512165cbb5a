//! Why a command ends without what was asked for: one line on standard error.

use std::io::Write;
use std::process::ExitCode;

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// What went wrong, in one line, and the exit status that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    status: u8,
}

/// The exit status of a command that could not do what was asked for.
const FAILED: u8 = 1;
/// The exit status of arguments that make no sense, as of most programs.
const MISUSED: u8 = 2;
/// The exit status of a command ended by Ctrl-C: 128 and the number of the signal.
pub(crate) const INTERRUPTED: u8 = 130;

impl Failure {
    /// Something could not be done.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: FAILED }
    }

    /// The arguments contradict each other or the network.
    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: MISUSED }
    }

    /// The user pressed Ctrl-C.
    pub(crate) fn interrupted(kept: &str) -> Self {
        Self { message: format!("interrupted; {kept}"), status: INTERRUPTED }
    }

    /// The same, with what was achieved nevertheless.
    pub(crate) fn but(mut self, kept: &str) -> Self {
        self.message = format!("{}; {kept}", self.message);
        self
    }

    /// Says what went wrong and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let line: Vec<&str> = self.message.split_whitespace().collect();
        // If even standard error is closed, the exit status has to do.
        let _ = writeln!(std::io::stderr(), "vis: {}", line.join(" "));
        ExitCode::from(self.status)
    }
}

impl From<vis::Error> for Failure {
    fn from(mut error: vis::Error) -> Self {
        // What an error keeps ends with the program: not a word of it.
        let mut inner = &mut error;
        loop {
            inner = match inner {
                vis::Error::NonFinite { best, .. } => {
                    *best = None;
                    break;
                }
                vis::Error::Stopped { best, source, .. } => {
                    *best = None;
                    source
                }
                _ => break,
            };
        }
        Self::new(error.to_string())
    }
}

/// An error of the argument parser in one line: its message, its tips, and where to read on.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        let text = text.split("\n\nFor more information").next().unwrap_or_default();
        let text = text.strip_prefix("error: ").unwrap_or(text);
        let parts: Vec<String> = text
            .split("\n\n")
            .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|part| !part.is_empty())
            .collect();
        Self::misuse(format!("{} (`--help` lists all options)", parts.join("; ")))
    }
}
