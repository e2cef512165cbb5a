//! What comes between the program and its end.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Place, npy, text};

/// A run that would take hours, once it has begun: the first frame of its animation is there.
fn endless(place: &Place, arguments: &str) -> Child {
    let command = format!("{arguments} --iterations 1000000 --gif begun.gif");
    let child = place.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !place.path("begun.gif").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run did not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn press_ctrl_c(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_keeps_what_is_done() {
    let place = Place::new();
    let run = "activation --model digits --layer predictions --filter 1 2 -o a.png --raw a.npy --losses a.csv --json";
    let child = endless(&place, run);
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(
        (output.status.code(), error.as_str()),
        (Some(130), "vis: interrupted; what was done is written\n")
    );
    assert_eq!(npy::read(&place.path("a.npy")).shape(), [2, 1, 28, 28]);
    assert!(vis::picture::load(place.path("a.png")).is_ok());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = summary["pictures"][0]["losses"]["steps"].as_u64().unwrap();
    assert!(summary["interrupted"] == true && (1..1_000_000).contains(&steps), "{steps}");
    let rows = std::fs::read_to_string(place.path("a.csv")).unwrap().lines().count();
    assert_eq!(rows as u64, 1 + 2 * steps);
}

#[test]
fn pictures_finished_before_one_fails_are_written() {
    let place = Place::new();
    // Pictures so large that each is a batch of its own; the animation of the second can't be written.
    std::fs::create_dir(place.path("run-2.gif")).unwrap();
    let output = place.run(
        "activation --model vgg16 --layer block1_conv1 --filter 0 1 --size 1024 --iterations 1 -o a.png --raw a.npy --gif run.gif",
    );
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("run-2.gif: it is a folder; the 1 of 2 pictures finished before are written"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(npy::read(&place.path("a.npy")).shape(), [1, 3, 1024, 1024]);
    assert!(vis::picture::load(place.path("a.png")).is_ok() && place.path("run.gif").is_file());
    assert!(text(&output.stdout).contains("1 of 2 pictures"));
}

#[test]
fn a_closed_pipe_is_an_error_in_one_line() {
    let place = Place::new();
    for arguments in ["models", "layers --model digits --json", "completions zsh", "--help"] {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        // The program may have written all of a short text before the pipe was closed.
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1));
            assert!(error.starts_with("vis: can't write to standard output: "), "{arguments}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        } else {
            assert_eq!(error, "");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_in_one_line() {
    let place = Place::new();
    std::os::unix::fs::symlink("/dev/full", place.path("full.png")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path("full.npy")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path("full.csv")).unwrap();
    for option in ["-o full.png", "--raw full.npy", "-o fine.png --losses full.csv"] {
        let output = place.run(&format!("cam --model digits --image seven.png {option}"));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(error.contains("No space left on device") && error.lines().count() == 1, "{error}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = place.command("models").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("vis: can't write to standard output: "));
}
