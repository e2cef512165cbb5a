//! The command `vis`, run as a program.
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod commands;
mod defaults;
mod fetch;
#[path = "../../../../tests/all/file_server.rs"]
mod file_server;
#[allow(dead_code, reason = "the command's own, of which tests need a part")]
#[path = "../../src/host.rs"]
mod host;
mod interruptions;
mod networks;
#[path = "../../../../tests/all/npy.rs"]
mod npy;
mod onnx;
mod options;
mod refusals;
mod secure;
mod streams;
mod survey;
mod targets;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder of its own in which the program runs, with a photo of a cat, `cat.png`, and a handwritten seven,
/// `seven.png`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference");
        std::fs::copy(reference.join("input_224.png"), place.path("cat.png")).unwrap();
        let stroke = |x: u32, y: u32| {
            let bar = (5..8).contains(&y) && (7..21).contains(&x);
            // From the right end of the bar down to the left.
            let leg = (8..24).contains(&y) && (x * 16 + y * 9).abs_diff(20 * 16 + 8 * 9) < 24;
            bar || leg
        };
        let seven = RgbImage::from_fn(28, 28, |x, y| Rgb([if stroke(x, y) { 255 } else { 0 }; 3]));
        seven.save(place.path("seven.png")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with arguments separated by spaces.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vis"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace()).env_remove("BURN_DEVICE");
        // No weights but the bundled ones, whatever there is on this machine.
        command.env("VIS_CACHE", self.path("cache")).env("HF_HUB_CACHE", self.path("hub"));
        for variable in ["VIS_WEIGHTS", "HF_ENDPOINT", "HF_HUB_OFFLINE", "SSL_CERT_FILE", "no_proxy"] {
            command.env_remove(variable).env_remove(variable.to_ascii_uppercase());
        }
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a run that must succeed, and that leaves standard error silent, as it is piped.
    #[track_caller]
    fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let error = text(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "vis {arguments}: {} {error}", output.status);
        text(&output.stdout)
    }

    /// The names of the files in the folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command whose standard output is a pipe that nobody reads: it fails and says why, in a line.
#[track_caller]
fn fails_at_a_closed_pipe(mut command: Command) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.starts_with("vis: can't write to standard output: ") && error.lines().count() == 1,
        "{error}"
    );
}
