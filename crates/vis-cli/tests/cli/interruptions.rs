//! What comes between the program and its end.
#![cfg(unix)]

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{Attribution, Rise, Saliency, SmoothGrad};
use vis::model::{Digits, Model};

use crate::{Place, fails_at_a_closed_pipe, npy, text};

/// A run that would take hours, once it has begun: the first frame of its animation is there.
fn endless(place: &Place, arguments: &str) -> Child {
    let command = format!("{arguments} --max-iter 1000000 --gif begun.gif");
    let child = place.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !place.path("begun.gif").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run did not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

pub(crate) fn press_ctrl_c(child: &Child) {
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
        "activation --model vgg16 --layer block1_conv1 --filter 0 1 --size 1024 --max-iter 1 -o a.png --raw a.npy --gif run.gif",
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

/// What a run that would take hours has said when Ctrl-C ended its work.
fn ended(place: &Place, arguments: &str) -> Output {
    let mut seconds = 2;
    loop {
        let mut command = place.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(seconds));
        press_ctrl_c(&child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        if text(&output.stderr) == "vis: interrupted; what was done is written\n" {
            return output;
        }
        // The work had not begun.
        assert_eq!(text(&output.stderr), "vis: interrupted; nothing was written\n");
        assert!(seconds < 60, "the run did not begin");
        seconds *= 2;
    }
}

fn seven(place: &Place, model: &Digits) -> Tensor<4> {
    vis::picture::to_input(&vis::picture::load(place.path("seven.png")).unwrap(), model).unwrap()
}

#[test]
fn rise_and_smoothgrad_write_the_map_of_what_they_have_done() {
    let place = Place::new();
    let model = Digits::bundled(&Default::default()).unwrap();
    let image = seven(&place, &model);
    let common = "--model digits --image seven.png --class 7 --json";
    let summary = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();

    let output = ended(&place, &format!("rise {common} --masks 1000000 --seed 3 -o r.png --raw r.npy"));
    let summary_of_rise = summary(&output);
    let masks = summary_of_rise["masks_done"].as_u64().unwrap() as usize;
    assert!(summary_of_rise["interrupted"] == true && (1..1_000_000).contains(&masks), "{masks}");
    let rise = Rise::new().masks(masks).seed(3);
    let expected = rise.attribute(&model, image.clone(), &Target::probability(7)).unwrap();
    assert_eq!(npy::read(&place.path("r.npy")), crate::host::array4(expected).into_dyn());
    assert!(vis::picture::load(place.path("r.png")).is_ok());

    let command = format!("saliency {common} --method smoothgrad --steps 1000000 --raw s.npy");
    let summary_of_smooth = summary(&ended(&place, &command));
    let samples = summary_of_smooth["samples_done"].as_u64().unwrap() as usize;
    assert!(summary_of_smooth["interrupted"] == true && (1..1_000_000).contains(&samples), "{samples}");
    let method = SmoothGrad::new(Saliency::new()).samples(samples);
    let expected = method.attribute(&model, image, &Target::class(7)).unwrap();
    assert_eq!(npy::read(&place.path("s.npy")), crate::host::array4(expected).into_dyn());
}

#[test]
fn compare_leaves_out_the_method_that_was_not_done() {
    let place = Place::new();
    let command = "compare --model digits --image seven.png --masks 1000000 --steps 2 --max-channels 2 -o p.png --raw p.npy";
    let output = ended(&place, command);
    let said = text(&output.stdout);
    assert!(said.contains("RISE: left out, it was not done") && said.contains("16 of 17 methods"), "{said}");
    assert_eq!(npy::read(&place.path("p.npy")).shape(), [16, 1, 28, 28]);
}

#[test]
fn a_closed_pipe_does_not_spoil_the_files() {
    let place = Place::new();
    let command = place.command("classify --model digits --image seven.png --raw l.npy --json");
    fails_at_a_closed_pipe(command);
    let model = Digits::bundled(&Default::default()).unwrap();
    let logits = model.classify(seven(&place, &model)).unwrap();
    let read = npy::read(&place.path("l.npy"));
    assert_eq!((read.shape(), read.iter().copied().collect()), (&[1, 10][..], crate::host::values(logits)));
}

#[test]
fn a_run_that_fails_leaves_older_results_as_they_were() {
    let place = Place::new();
    for file in ["old.gif", "old.png", "old.csv"] {
        std::fs::write(place.path(file), "older").unwrap();
    }
    let output = place.run(
        "activation --model digits --layer conv2 --filter 1 --learning-rate 1e38 --gif old.gif -o old.png --losses old.csv",
    );
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("became NaN or infinite at step 1") && error.lines().count() == 1, "{error}");
    for file in ["old.png", "old.csv"] {
        assert_eq!(std::fs::read(place.path(file)).unwrap(), b"older", "{file}");
    }
    // The animation has its first frame, or is the older one: never a piece of a file.
    let gif = std::fs::read(place.path("old.gif")).unwrap();
    assert!(gif == b"older" || gif.starts_with(b"GIF89a") && gif.ends_with(b";"), "{} bytes", gif.len());
    assert!(!place.files().iter().any(|name| name.ends_with(".part")), "{:?}", place.files());
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
    std::os::unix::fs::symlink("/dev/full", place.path("full.gif")).unwrap();
    let run = "activation --model digits --layer conv2 --filter 1 --max-iter 3 --gif full.gif --raw x.npy";
    let output = place.run(run);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("No space left on device") && error.lines().count() == 1, "{error}");
    assert!(!error.contains("kept in the error"), "{error}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = place.command("models").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("vis: can't write to standard output: "));
}
