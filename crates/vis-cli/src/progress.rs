//! The line on standard error that says how far the work is, and Ctrl-C.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signal_hook::consts::SIGINT;
use vis::Progress;

use crate::bar::Bar;
use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::report::Report;

/// What Ctrl-C does now.
static MOOD: AtomicU8 = AtomicU8::new(ENDS);
/// It ends the program: nothing is done yet that could be kept.
const ENDS: u8 = 0;
/// It asks the work to end after its step, so that what is done is kept.
const ASKS: u8 = 1;
/// It has asked; once more ends the program.
const ASKED: u8 = 2;
/// Nothing: the results are being written, which takes a moment.
const WAITS: u8 = 3;

/// Makes Ctrl-C keep what is done.
pub(crate) fn listen() -> Outcome {
    let refused = |error| Failure::new(format!("can't listen for Ctrl-C: {error}"));
    // A flag that is looked at now and then is what every system offers, Windows too.
    let pressed = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&pressed)).map_err(refused)?;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            if !pressed.swap(false, Ordering::SeqCst) {
                continue;
            }
            let asks = MOOD.compare_exchange(ASKS, ASKED, Ordering::SeqCst, Ordering::SeqCst);
            if matches!(asks, Err(ENDS | ASKED)) {
                Failure::interrupted("nothing was written").report();
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    });
    Ok(())
}

/// Whether Ctrl-C has asked the work to end.
pub(crate) fn is_interrupted() -> bool {
    MOOD.load(Ordering::SeqCst) == ASKED
}

/// From now on results are written, and Ctrl-C waits for them.
pub(crate) fn writing() {
    MOOD.store(WAITS, Ordering::SeqCst);
}

/// Work that can be ended early with what is done so far.
pub(crate) struct Work(Line);

impl Work {
    /// From now on Ctrl-C ends the work and not the program.
    pub(crate) fn begin() -> Self {
        MOOD.store(ASKS, Ordering::SeqCst);
        Self(Line::new())
    }

    /// The line, for callbacks.
    pub(crate) fn line(&self) -> Line {
        self.0.clone()
    }

    /// Ends the work: from now on its results are written.
    pub(crate) fn end(self) -> Ended {
        let interrupted = is_interrupted();
        writing();
        self.0.close();
        let (done, of) = self.0.0.lock().map_or((0, 0), |drawn| (drawn.done, drawn.of));
        Ended { interrupted, done, of }
    }
}

/// Work that is over, well or by Ctrl-C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) interrupted: bool,
    done: usize,
    of: usize,
}

impl Ended {
    /// Reports how many `things` were done.
    pub(crate) fn tell(self, report: &mut Report, things: &str) {
        report.set("interrupted", self.interrupted);
        if self.of > 0 {
            report.set(&format!("{things}_done"), self.done);
        }
        if self.interrupted {
            report.say(format!("{} of {} {things}", self.done, self.of));
        }
    }

    /// The last word of a command whose results are written.
    pub(crate) fn verdict(self) -> Outcome {
        if self.interrupted { Err(Failure::interrupted("what was done is written")) } else { Ok(()) }
    }
}

/// How far the work is, with its rate and the time that is left; silent where standard error is not a terminal.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<Drawn>>);

struct Drawn {
    bar: Bar,
    done: usize,
    of: usize,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Drawn { bar: Bar::to_stderr(), done: 0, of: 0 })))
    }

    /// Says how far it is; breaks when Ctrl-C asked for the end.
    pub(crate) fn at(&self, done: usize, of: usize, words: impl FnOnce() -> String) -> ControlFlow<()> {
        if let Ok(mut drawn) = self.0.lock() {
            let begun = drawn.of > 0;
            if begun && (of != drawn.of || done < drawn.done) {
                // Another stage, with a rate of its own.
                drawn.bar.close();
                drawn.bar = Bar::to_stderr();
            }
            (drawn.done, drawn.of) = (done, of);
            drawn.bar.draw(done, of, words);
        }
        if is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A callback for work that can be ended early.
    pub(crate) fn teller(&self) -> impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static {
        let line = self.clone();
        move |now| line.at(now.done, now.of, String::new)
    }

    /// Ends the line.
    pub(crate) fn close(&self) {
        if let Ok(mut drawn) = self.0.lock() {
            drawn.bar.close();
        }
    }
}
