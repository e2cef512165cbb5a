//! `vis fetch` against a server that does everything wrong that servers and networks do.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::file_server::{Act, Server, file_of};
use crate::{Place, text};

const LENGTH: usize = 300_000;

/// Fetches the server's file into `net.bin`, with more arguments.
fn fetch(place: &Place, server: &Server, more: &str) -> Output {
    place.run(&format!("fetch {} -o net.bin --timeout 0.5 {more}", server.url()))
}

#[track_caller]
fn assert_fetched(place: &Place, output: &Output, file: &[u8]) {
    let error = text(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
    assert!(std::fs::read(place.path("net.bin")).unwrap() == file, "another file");
    assert_eq!(leftovers(place), [""; 0]);
}

/// What is in the folder beside what every place has.
fn leftovers(place: &Place) -> Vec<String> {
    place
        .files()
        .into_iter()
        .filter(|name| !["cat.png", "seven.png", "net.bin"].contains(&name.as_str()))
        .collect()
}

#[track_caller]
fn assert_refused(output: &Output, server: &Server, words: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(words) && error.lines().count() == 1, "{words}: {error}");
    // It says what was to be had from where, and where it was to go.
    assert!(error.contains(&server.url()) && error.contains("net.bin"), "{error}");
}

#[test]
fn a_file_is_fetched_once_and_then_there() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let server = Server::new(&file, &[Act::Right]);
    let output = fetch(&place, &server, &format!("--sha256 {}", sha256.to_uppercase()));
    assert_fetched(&place, &output, &file);
    assert_eq!(text(&output.stdout), format!("wrote net.bin\n{LENGTH} bytes, sha256 {sha256}\n"));

    let again = fetch(&place, &server, &format!("--sha256 {sha256} --json"));
    assert_fetched(&place, &again, &file);
    let summary: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&summary["was_there"], &summary["length"]), (&true.into(), &LENGTH.into()));
    let offline = fetch(&place, &server, &format!("--sha256 {sha256} --offline"));
    assert_fetched(&place, &offline, &file);
    assert_eq!(server.starts(), [0], "one request for three runs");
}

#[test]
fn whatever_goes_wrong_on_the_way_the_file_comes_whole() {
    let (file, sha256) = file_of(LENGTH);
    let cut = Act::Cut;
    let redirected = Server::new(&file, &[Act::Right]);
    for (what, acts, starts) in [
        ("cuts, resumed", vec![cut(1), cut(70_001), cut(1_000), Act::Right], vec![0, 1, 70_002, 71_002]),
        ("an error, then none", vec![Act::Status(500), Act::Status(503), Act::Right], vec![0, 0, 0]),
        ("too many requests", vec![Act::Status(429), Act::Right], vec![0, 0]),
        ("a stall", vec![Act::Stall(50_000), Act::Right], vec![0, 50_000]),
        ("silence", vec![Act::Silent, Act::Right], vec![0, 0]),
        ("a closed connection", vec![Act::Closed, Act::Right], vec![0, 0]),
        ("no ranges", vec![cut(90_000), Act::NoRanges], vec![0, 90_000]),
        (
            "no ranges and cuts",
            vec![Act::NoRangesCut(1_000), Act::NoRangesCut(500), Act::NoRangesCut(2_000), Act::NoRanges],
            vec![0, 1_000, 1_000, 2_000],
        ),
        ("another range", vec![cut(60_000), Act::WrongRange, Act::Right], vec![0, 60_000, 0]),
        ("no length", vec![Act::WithoutLength], vec![0]),
        ("no length and a cut", vec![Act::WithoutLengthCut(123_456), Act::Right], vec![0, 123_456]),
        ("chunks", vec![Act::Chunked(7_777)], vec![0]),
        ("a redirect", vec![Act::Redirect("net.bin?again".into()), Act::Right], vec![0, 0]),
        ("a redirect elsewhere", vec![Act::Redirect(redirected.url())], vec![0]),
    ] {
        let place = Place::new();
        let server = Server::new(&file, &acts);
        let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
        assert_fetched(&place, &output, &file);
        assert_eq!(server.starts(), starts, "{what}");
    }
    assert_eq!(redirected.starts(), [0]);
}

#[test]
fn cuts_at_any_offset_are_resumed_there() {
    let (file, sha256) = file_of(40_000);
    let mut state = 7_usize;
    for _ in 0..12 {
        let place = Place::new();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
            lengths.push(1 + state % 9_999);
        }
        let acts: Vec<Act> = lengths.iter().copied().map(Act::Cut).chain([Act::Right]).collect();
        let server = Server::new(&file, &acts);
        let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
        assert_fetched(&place, &output, &file);
        let sums = (0..=lengths.len()).map(|count| lengths[..count].iter().sum::<usize>());
        assert_eq!(server.starts(), sums.collect::<Vec<_>>());
    }
}

#[test]
fn what_can_not_be_had_is_refused_in_a_line_and_nothing_is_left() {
    let (file, sha256) = file_of(LENGTH);
    let page = b"\n <!DOCTYPE html><html><body>Please log in</body></html>".to_vec();
    let there = "net.bin";
    for (acts, words, requests) in [
        (vec![Act::Status(404)], "the server says 404 As Told", 1),
        (vec![Act::Status(403)], "the server says 403", 1),
        (vec![Act::Status(500)], "the server says 500 As Told, 5 times in a row", 5),
        (vec![Act::Instead(page)], "the server sends a web page instead of the file", 1),
        (vec![Act::Instead(b"another".to_vec())], "it is another file: its SHA-256 is ", 1),
        (vec![Act::Instead(Vec::new())], "it is another file", 1),
        (vec![Act::Redirect("/models/net.bin".into())], "redirected more than 10 times", 11),
        (
            vec![Act::Redirect("ftp://127.0.0.1/net.bin".into())],
            "it is redirected to `ftp://127.0.0.1/net.bin`: it must begin with",
            1,
        ),
        (vec![Act::Closed], "5 times in a row", 5),
    ] {
        let place = Place::new();
        let server = Server::new(&file, &acts);
        std::fs::write(place.path(there), "older").unwrap();
        let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
        assert_refused(&output, &server, words);
        assert_eq!(server.requests().len(), requests, "{words}");
        // What was there before is still there, and nothing else.
        assert_eq!(std::fs::read(place.path(there)).unwrap(), b"older");
        assert_eq!(leftovers(&place), [""; 0], "{words}");
    }
}

#[test]
fn a_stall_that_does_not_end_is_given_up_and_what_came_is_kept() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let server = Server::new(&file, &[Act::Stall(10_000), Act::Stall(0)]);
    let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
    assert_refused(&output, &server, "the server said nothing more for 0.5 s, 5 times in a row");
    assert!(text(&output.stderr).contains("the 10000 bytes so far are in"));
    assert_eq!(leftovers(&place), ["net.bin.part"]);
    let server = Server::new(&file, &[Act::Right]);
    let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
    assert_fetched(&place, &output, &file);
    assert_eq!(server.starts(), [10_000]);
}

#[test]
fn an_unfinished_file_is_looked_at_before_it_is_gone_on_with() {
    let (file, sha256) = file_of(LENGTH);
    let longer = [file.as_slice(), b"more"].concat();
    for (part, starts) in [
        (&file[..1_000], vec![1_000]),
        // Whole: only its new name is missing.
        (&file, vec![]),
        // Of another file, which shows in the end only.
        (&[9; 1_000][..], vec![1_000, 0]),
        // Longer than the file, so that there is nothing to go on with.
        (&longer, vec![LENGTH + 4, 0]),
    ] {
        let place = Place::new();
        std::fs::write(place.path("net.bin.part"), part).unwrap();
        let server = Server::new(&file, &[Act::Right]);
        let output = fetch(&place, &server, &format!("--sha256 {sha256}"));
        assert_fetched(&place, &output, &file);
        assert_eq!(server.starts(), starts);
    }
}

#[test]
fn without_a_hash_a_file_is_fetched_anew_and_its_hash_is_said() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    std::fs::write(place.path("net.bin.part"), "of whatever").unwrap();
    let server = Server::new(&file, &[Act::Cut(1_000), Act::Right]);
    let output = fetch(&place, &server, "");
    assert_fetched(&place, &output, &file);
    assert!(text(&output.stdout).contains(&sha256));
    assert_eq!(server.starts(), [0, 0]);
    assert_fetched(&place, &fetch(&place, &server, ""), &file);
    assert_eq!(server.starts(), [0, 0, 0]);
    let cut = Server::new(&file, &[Act::Cut(1_000)]);
    assert_refused(&fetch(&place, &cut, ""), &cut, "the connection ended too early, 5 times in a row");
    assert_eq!(leftovers(&place), [""; 0]);
}

#[test]
fn offline_there_is_no_request() {
    let place = Place::new();
    let (file, sha256) = file_of(1_000);
    let server = Server::new(&file, &[Act::Right]);
    let output = fetch(&place, &server, &format!("--sha256 {sha256} --offline"));
    assert_refused(&output, &server, "offline");
    let mut command = place.command("fetch mobilenet-v2");
    command.env("HF_ENDPOINT", server.endpoint()).env("HF_HUB_OFFLINE", "1");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("offline") && leftovers(&place).is_empty());
    assert_eq!(server.requests(), []);
}

#[test]
fn two_processes_at_once_fetch_once() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let server = Server::new(&file, &[Act::Slow(30_000, Duration::from_millis(50))]);
    let arguments = format!("fetch {} -o net.bin --sha256 {sha256}", server.url());
    let start = || {
        let mut command = place.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()];
    let outputs = both.map(|child| child.wait_with_output().unwrap());
    for output in &outputs {
        assert_fetched(&place, output, &file);
    }
    assert_eq!(server.starts(), [0]);
    let said = outputs.map(|output| text(&output.stdout));
    assert_eq!(said.iter().filter(|said| said.contains("is there already")).count(), 1, "{said:?}");
}

#[cfg(unix)]
#[test]
fn what_is_killed_in_the_middle_goes_on_from_there() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let slow = Act::Slow(10_000, Duration::from_millis(50));
    let server = Server::new(&file, &[slow, Act::Right]);
    let arguments = format!("fetch {} -o net.bin --sha256 {sha256}", server.url());
    let mut child = place.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let length = || std::fs::metadata(place.path("net.bin.part")).map_or(0, |data| data.len());
    while length() < 30_000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let killed_at = length() as usize;
    assert!((30_000..LENGTH).contains(&killed_at) && !place.path("net.bin").exists());
    let output = place.run(&arguments);
    assert_fetched(&place, &output, &file);
    assert_eq!(server.starts(), [0, killed_at]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_came() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let server = Server::new(&file, &[Act::Slow(10_000, Duration::from_millis(50)), Act::Right]);
    let arguments = format!("fetch {} -o net.bin --sha256 {sha256}", server.url());
    let child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while std::fs::metadata(place.path("net.bin.part")).map_or(0, |data| data.len()) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("bytes so far are in") && error.lines().count() == 1, "{error}");
    assert_eq!(leftovers(&place), ["net.bin.part"]);
    assert_fetched(&place, &place.run(&arguments), &file);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_what_fitted_is_gone_on_with() {
    let place = Place::new();
    let (file, sha256) = file_of(LENGTH);
    let server = Server::new(&file, &[Act::Right]);
    let arguments = format!("fetch {} -o net.bin --sha256 {sha256}", server.url());
    // A shell in which no file may be longer than 100 KiB, which is what a full disk is to the program.
    let program = place.command("");
    let script = format!("trap '' XFSZ; ulimit -f 100; exec {} {arguments}", program.get_program().display());
    let mut shell = std::process::Command::new("bash");
    shell.current_dir(place.path("")).env_remove("POSIXLY_CORRECT").args(["-c", &script]);
    let output = shell.output().unwrap();
    assert_refused(&output, &server, "net.bin.part: File too large");
    let kept = 100 * 1024;
    assert!(text(&output.stderr).contains(&format!("the {kept} bytes so far are in")));
    assert_eq!(leftovers(&place), ["net.bin.part"]);
    let output = place.run(&arguments);
    assert_fetched(&place, &output, &file);
    assert_eq!(server.starts(), [0, kept]);
}

#[test]
fn a_network_by_name_shows_its_licence_and_comes_from_its_pinned_revision() {
    let place = Place::new();
    let server = Server::new(b"no such weights", &[Act::Right]);
    let mut command = place.command("fetch mobilenet-v2");
    let output = command.env("HF_ENDPOINT", format!("{}/", server.endpoint())).output().unwrap();
    let error = text(&output.stderr);
    let (first, last) = error.trim_end().split_once('\n').unwrap();
    assert!(
        first.contains("licence Apache-2.0") && first.contains("14.2 MB from http://127.0.0.1"),
        "{error}"
    );
    assert!(last.contains("it is another file: 15 bytes long, and not about 14200000"), "{error}");
    let what = "GET /timm/mobilenetv2_100.ra_in1k/resolve/f3ff81ba89de0bc46b546568ebeab2edef6b9d49/model.safetensors";
    assert_eq!(server.requests()[0].what, what);
    assert!(std::fs::read_dir(place.path("cache")).unwrap().next().is_none(), "nothing is left");
}

#[test]
fn the_list_says_of_every_network_its_size_licence_address_and_place() {
    let place = Place::new();
    let listed = place.succeed("fetch --list");
    for words in
        ["vgg16", "553 MB", "BSD-3-Clause", "https://huggingface.co/timm/vgg16.tv_in1k/resolve/", "not here"]
    {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    // A file of the right name and length, with a hole instead of weights.
    std::fs::create_dir(place.path("cache")).unwrap();
    let vgg19 = place.path("cache/vgg19-11aea017.safetensors");
    std::fs::File::create(&vgg19).unwrap().set_len(575_000_000).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&place.succeed("fetch --list --json")).unwrap();
    let row = summary["networks"].as_array().unwrap().iter().find(|row| row["name"] == "vgg19").unwrap();
    assert_eq!(row["path"].as_str().map(Path::new), Some(vgg19.as_path()));
    let models = place.succeed("models");
    let line = models.lines().find(|line| line.starts_with("vgg19")).unwrap();
    assert!(line.contains("fetched") && models.contains(&format!("fetched: vgg19 in {}", vgg19.display())));
    // Before it is read, it is looked at.
    let refused = place.run("layers --model vgg19");
    let error = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && error.contains("is not the one wanted"), "{error}");
}

#[test]
fn what_makes_no_sense_is_misuse() {
    let place = Place::new();
    for (arguments, status, words) in [
        ("fetch", 2, "NAME|URL"),
        ("fetch vgg61", 2, "did you mean `vgg16`?"),
        ("fetch vgg16 -o net.bin", 2, "-o go with a URL"),
        ("fetch http://127.0.0.1:9/net.bin", 2, "name the file to write with -o FILE"),
        ("fetch ftp://127.0.0.1/net.bin -o net.bin", 1, "it must begin with https:// or http://"),
        ("fetch http://127.0.0.1:9/a -o net.bin --sha256 abc", 1, "SHA-256 must be 64 hexadecimal digits"),
        ("fetch http://127.0.0.1:9/a -o net.bin --timeout 0", 1, "timeout must be longer than nothing"),
        ("fetch http://127.0.0.1:9/a -o net.bin --timeout=-1", 2, "--timeout must be a number of seconds"),
        ("fetch http://127.0.0.1:9/a -o missing/net.bin", 1, "there is no folder"),
        ("fetch http://127.0.0.1:9/a -o -", 2, "only the picture can go to standard output"),
        ("fetch --list vgg16", 2, "cannot be used with"),
    ] {
        let output = place.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {error}");
        assert!(error.contains(words) && error.lines().count() == 1, "{arguments}: {error}");
    }
    assert_eq!(leftovers(&place), [""; 0]);
}

/// By hand: `cargo test -p vis-cli --test cli -- --ignored fetch::`.
#[test]
#[ignore = "needs the internet: fetches 14 MB from huggingface.co"]
fn the_smallest_real_network_is_what_the_table_says() {
    let place = Place::new();
    let output = place.command("fetch mobilenet-v2").env_remove("HF_HUB_CACHE").output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    let path = text(&output.stdout);
    let length = std::fs::metadata(path.trim_end()).unwrap().len();
    println!("{} bytes in {path}", length);
    assert!(length.abs_diff(14_200_000) < 142_000);
}
