//! `-`: photos from standard input, pictures to standard output.
#![cfg(unix)]

use std::fs::File;
use std::io::Write;
use std::process::{Output, Stdio};

use crate::{Place, fails_at_a_closed_pipe, npy, text};

/// A run with these bytes on standard input.
fn fed(place: &Place, arguments: &str, bytes: &[u8]) -> Output {
    let mut command = place.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

#[test]
fn a_photo_from_standard_input_is_the_photo_of_the_file_in_every_command() {
    let place = Place::new();
    let seven = std::fs::read(place.path("seven.png")).unwrap();
    for arguments in [
        "classify --model digits --image IN --raw OUT",
        "saliency --model digits --image IN --raw OUT",
        "cam --model digits --image IN --raw OUT",
        "occlusion --model digits --image IN --raw OUT",
        "rise --model digits --image IN --masks 9 --raw OUT",
        "compare --model digits --image IN --masks 9 --steps 2 --max-channels 2 --raw OUT",
        "dream --model digits --image IN --max-iter 1 --raw OUT",
        "dream --model digits --image seven.png --guide IN --max-iter 1 --raw OUT",
        "caricature --model digits --image IN --max-iter 1 --raw OUT",
        "invert --model digits --image IN --layer conv1 --max-iter 1 --raw OUT",
        "style --model digits --content IN --style seven.png --max-iter 1 --raw OUT",
        "style --model digits --content seven.png --style seven.png IN --max-iter 1 --raw OUT",
        "texture --model digits --image IN --max-iter 1 --raw OUT",
        "activation --model digits --layer conv1 --filter 1 --max-iter 1 --seed-img IN --raw OUT",
    ] {
        place.succeed(&arguments.replace("IN", "seven.png").replace("OUT", "file.npy"));
        let output = fed(&place, &arguments.replace("IN", "-").replace("OUT", "piped.npy"), &seven);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        assert_eq!(npy::read(&place.path("piped.npy")), npy::read(&place.path("file.npy")), "{arguments}");
    }
    // An array to start from is told by its first bytes.
    let seeded = "activation --model digits --layer conv1 --filter 1 --max-iter 1 --raw array.npy --seed-img";
    place.succeed(&format!("{seeded} piped.npy"));
    let from_file = npy::read(&place.path("array.npy"));
    let output = fed(&place, &format!("{seeded} -"), &std::fs::read(place.path("piped.npy")).unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(npy::read(&place.path("array.npy")), from_file);
}

#[test]
fn a_picture_on_standard_output_is_that_of_the_file_and_nothing_else() {
    let place = Place::new();
    for arguments in [
        "cam --model digits --image seven.png",
        "compare --model digits --image seven.png --masks 9 --steps 2 --max-channels 2",
        "activation --model digits --layer conv1 --filter 1 2 --max-iter 1",
        "dream --model digits --image seven.png --max-iter 1",
        "invert --model digits --image seven.png --layer conv1 --max-iter 1",
        "style --model digits --content seven.png --style seven.png --max-iter 1",
    ] {
        for (format, file) in [("", "a.png"), ("--format png", "a.png"), ("--format jpg", "a.jpg")] {
            place.succeed(&format!("{arguments} -o {file}"));
            let output = place.run(&format!("{arguments} {format} -o -"));
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(output.stdout == std::fs::read(place.path(file)).unwrap(), "{arguments} {format}");
        }
    }
    // What is told goes to standard error, and other results to their files.
    let output = place.run("cam --model digits --image seven.png -o - --raw m.npy");
    assert!(output.stdout.starts_with(b"\x89PNG\r\n\x1a\n"));
    let told = text(&output.stderr);
    assert!(
        told.contains("explains class 7") && told.contains("wrote m.npy") && !told.contains("wrote -"),
        "{told}"
    );
    assert!(place.path("m.npy").exists() && !place.path("-").exists());
    // From one end of a pipe to the other.
    let seven = std::fs::read(place.path("seven.png")).unwrap();
    let piped = fed(&place, "cam --model digits --image - -o -", &seven);
    place.succeed("cam --model digits --image seven.png -o a.png");
    assert!(piped.stdout == std::fs::read(place.path("a.png")).unwrap());
}

#[test]
fn what_is_no_photo_on_standard_input_is_refused_under_its_name() {
    let place = Place::new();
    let cat = std::fs::read(place.path("cat.png")).unwrap();
    for (bytes, expected) in [
        (&b""[..], "vis: standard input is not a readable PNG, JPEG or WebP picture: it is empty"),
        (b"hello, this is no picture", "vis: standard input is not a readable"),
        (
            &cat[..cat.len() / 2],
            "vis: standard input is not a readable PNG, JPEG or WebP picture: it is cut off",
        ),
    ] {
        let output = fed(&place, "classify --image -", bytes);
        let error = text(&output.stderr);
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{error}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    }
    let mut one = Vec::new();
    let picture = image::RgbImage::new(1, 1);
    picture.write_to(&mut std::io::Cursor::new(&mut one), image::ImageFormat::Png).unwrap();
    let error = text(&fed(&place, "classify --image -", &one).stderr);
    assert!(error.starts_with("vis: standard input is 1 × 1 pixels: too small"), "{error}");
    // A stream without an end is given up when it is seen to be no picture.
    let endless = File::open("/dev/zero").unwrap();
    let output = place.command("classify --image -").stdin(endless).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn contradictions_of_standard_streams_are_misuse() {
    let place = Place::new();
    for (arguments, expected) in [
        ("style --model digits --content - --style - -o x.png", "`-` is given twice"),
        ("saliency --model digits --image - - -o x.png", "`-` is given twice"),
        ("cam --model digits --image seven.png -o - --json", "both write to standard output"),
        ("cam --model digits --image seven.png -o x.png --format png", "--format goes with -o - only"),
        ("cam --model digits --image seven.png --raw -", "only the picture can go to standard output"),
        ("cam --model digits --image seven.png --losses - --json", "only the picture can go"),
        ("classify --model digits --image seven.png --raw -", "only the picture can go"),
        ("layers --model digits --weights -", "weights are not read from standard input"),
    ] {
        let output = fed(&place, arguments, b"");
        let error = text(&output.stderr);
        assert!(error.contains(expected) && error.lines().count() == 1, "{arguments}: {error}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}");
        assert_eq!(place.files(), ["cat.png", "seven.png"], "{arguments}");
    }
}

/// The master of a pseudo terminal is a terminal itself.
#[cfg(target_os = "linux")]
#[test]
fn terminals_are_refused() {
    use std::io::IsTerminal;

    let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else { return };
    if !terminal.is_terminal() {
        return;
    }
    let place = Place::new();
    let mut command = place.command("classify --model digits --image -");
    let error = text(&command.stdin(terminal.try_clone().unwrap()).output().unwrap().stderr);
    assert!(error.starts_with("vis: standard input is a terminal: "), "{error}");
    let mut command = place.command("cam --model digits --image seven.png -o -");
    let output = command.stdout(terminal).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(error.starts_with("vis: standard output is a terminal: "), "{error}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_closed_pipe_in_place_of_the_picture_does_not_spoil_the_files() {
    let place = Place::new();
    let command = place.command("cam --model digits --image seven.png -o - --raw m.npy");
    fails_at_a_closed_pipe(command);
    assert_eq!(npy::read(&place.path("m.npy")).shape(), [1, 1, 3, 3]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_the_process_is_respected_before_the_work_begins() {
    let place = Place::new();
    // 1024 × 1024 pixels of VGG16 up to its first layers take 1.1 GB; the program itself less than 2.
    let program = env!("CARGO_BIN_EXE_vis");
    let run = |limit: &str| {
        let script = format!(
            "ulimit {limit} && exec {program} activation --model vgg16 --layer block2_conv1 --filter 1 --size 1536 \
             --max-iter 1 --raw a.npy"
        );
        let mut command = std::process::Command::new("sh");
        command
            .current_dir(place.path(""))
            .args(["-c", &script])
            .env("RAYON_NUM_THREADS", "2")
            .output()
            .unwrap()
    };
    for limit in ["-v 3000000", "-d 3000000"] {
        let output = run(limit);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {error}");
        assert!(error.contains("GB of memory and ") && error.contains("take a smaller --size"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
