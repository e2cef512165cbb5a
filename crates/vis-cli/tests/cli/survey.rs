//! `vis survey`, `vis site` and `vis report`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};

use crate::{Place, text};

/// Every file of a folder and of those in it.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => files.extend(
                bytes(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            ),
            false => drop(files.insert(name, std::fs::read(entry.path()).unwrap())),
        }
    }
    files
}

/// A folder `images` of so many images, no two alike.
fn images(place: &Place, count: u32) {
    for index in 0..count {
        let folder = place.path("images").join(["a", "b c", "ж"][index as usize % 3]);
        std::fs::create_dir_all(&folder).unwrap();
        let picture = RgbImage::from_fn(28, 28 + index % 5, |x, y| {
            let wave = (f64::from(x) * f64::from(index % 17 + 1) * 0.1
                + f64::from(y) * f64::from(index) * 0.03)
                .sin();
            Rgb([(128.0 + 127.0 * wave) as u8; 3])
        });
        picture.save(folder.join(format!("{index}.png"))).unwrap();
    }
}

const SURVEY: &str = "survey --model digits --images images --layers conv1 conv2 predictions --top 4";

#[test]
fn shards_by_option_or_by_scheduler_merge_to_the_bytes_of_one_run() {
    let place = Place::new();
    images(&place, 60);
    std::fs::write(place.path("images/broken.jpg"), "no picture").unwrap();
    let output = place.run(&format!("{SURVEY} --out whole"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("60 images, 1 passed over; 58 channels of 3 layers")
            || said.contains("60 images, 1 passed over"),
        "{said}"
    );
    assert!(text(&output.stderr).starts_with("vis: passed over broken.jpg: "), "{}", text(&output.stderr));
    let whole = bytes(&place.path("whole"));
    let table = text(&whole["top.csv"]);
    assert!(table.starts_with("layer,channel,rank,image,value,row,column\nconv1,0,1,"), "{table}");
    let manifest: serde_json::Value = serde_json::from_slice(&whole["manifest.json"]).unwrap();
    assert_eq!(
        (&manifest["images"]["surveyed"], &manifest["images"]["passed_over"]),
        (&60.into(), &1.into())
    );
    assert!(manifest["complete"] == true && manifest["notes"]["model"] == "digits");

    let with = |out: &str, variables: &[(&str, &str)], options: &str| {
        let mut command = place.command(&format!("{SURVEY} --out {out} {options}"));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    with("s1", &[], "--shard 1/3");
    with(
        "s2",
        &[("SLURM_ARRAY_TASK_ID", "12"), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_COUNT", "3")],
        "",
    );
    with("s3", &[("JOB_COMPLETION_INDEX", "0")], "--shards 3");
    for order in ["s1 s2 s3", "s3 s1 s2"] {
        let output = place.run(&format!("survey --merge {order} --out merged"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(bytes(&place.path("merged")) == whole, "{order}");
    }
    let output = place.run("survey --merge s1 s3 --out part");
    assert!(
        text(&output.stdout).contains("not all shards are in yet, only 0/3, 1/3"),
        "{}",
        text(&output.stdout)
    );
    let output = place.run("survey --merge part part --out twice");
    assert!(text(&output.stderr).contains("shard 0/3 twice"), "{}", text(&output.stderr));
    place.run("survey --merge part s2 --out nested");
    assert!(bytes(&place.path("nested")) == whole);
}

#[cfg(unix)]
#[test]
fn a_survey_killed_at_any_moment_goes_on_to_the_same_bytes() {
    let place = Place::new();
    images(&place, 400);
    let output = place.run(&format!("{SURVEY} --out whole"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let whole = bytes(&place.path("whole"));
    // Moments that are spread over the run, however long it takes.
    let run = || place.command(&format!("{SURVEY} --out killed --save-every 7"));
    let begun = Instant::now();
    assert!(
        place.command(&format!("{SURVEY} --out timed --save-every 7")).output().unwrap().status.success()
    );
    let usual = begun.elapsed();
    let mut kills = 0;
    for attempt in 0..20 {
        let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(usual.mul_f64(0.02 + 0.83 * f64::from(attempt * 7 % 20) / 20.0));
        kills += i32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if attempt % 5 == 4 {
            // It is done by now, or begins anew: both are to be killed.
            let _ = std::fs::remove_dir_all(place.path("killed"));
        }
    }
    assert!(kills >= 10, "{kills} of 20 were killed");
    for delay in [0.3, 0.5, 0.7] {
        let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(usual.mul_f64(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = run().output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let left = bytes(&place.path("killed"));
    assert_eq!(left.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(left == whole);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_a_survey_and_one_at_a_time_writes_into_a_folder() {
    let place = Place::new();
    images(&place, 3000);
    let mut command = place.command(&format!("{SURVEY} --out survey --save-every 1"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !place.path("survey/state.bin").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the survey did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let other = place.run(&format!("{SURVEY} --out survey"));
    assert!(text(&other.stderr).contains("into which another process writes"), "{}", text(&other.stderr));
    crate::interruptions::press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("what was done is saved, and the same command goes on from there"), "{error}");
    let again = place.command(&format!("{SURVEY} --out survey --shard 1/2")).output().unwrap();
    assert!(
        text(&again.stderr).contains("the shard must be that of the survey in the folder"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn labels_come_from_folders_or_from_a_table() {
    let place = Place::new();
    images(&place, 12);
    let labels = |out: &str| {
        let mut table = csv::Reader::from_path(place.path(out).join("examples.csv")).unwrap();
        table
            .records()
            .map(|row| row.unwrap())
            .map(|row| (row[4].to_owned(), row[5].to_owned()))
            .collect::<Vec<_>>()
    };
    place.run(&format!("{SURVEY} --image-labels folders --out by-folder"));
    assert!(labels("by-folder").iter().all(|(image, label)| image.split_once('/').unwrap().0 == label));
    std::fs::write(place.path("labels.csv"), "label,image\n\"one, two\",a/0.png\nж,ж/2.png\n").unwrap();
    place.run(&format!("{SURVEY} --image-labels labels.csv --out by-table"));
    for (image, label) in labels("by-table") {
        let expected = match image.as_str() {
            "a/0.png" => "one, two",
            "ж/2.png" => "ж",
            _ => "",
        };
        assert_eq!(label, expected);
    }
    std::fs::write(place.path("other.csv"), "file,class\na,b\n").unwrap();
    let output = place.run(&format!("{SURVEY} --image-labels other.csv --out x"));
    assert!(text(&output.stderr).contains("no column `image`"), "{}", text(&output.stderr));
}

#[test]
fn what_a_survey_can_not_do_is_said_in_a_line() {
    let place = Place::new();
    images(&place, 3);
    std::fs::create_dir(place.path("empty")).unwrap();
    for (arguments, status, expected) in [
        ("survey --out s", 2, "--model"),
        ("survey --model digits --images none --layers conv1 --out s", 1, "can't read none"),
        ("survey --model digits --images empty --layers conv1 --out s", 1, "with images in it"),
        ("survey --model digits --images images --layers conv9 --out s", 1, "there is no layer `conv9`"),
        ("survey --model digits --images images --layers conv1 --shard 4/3 --out s", 2, "i/n"),
        ("survey --model digits --images images --layers conv1 --shards 3 --out s", 2, "SLURM_ARRAY_TASK_ID"),
        ("survey --merge none --out s", 1, "can't read none"),
        ("site none --out s", 1, "can't read none"),
        ("report none.png --out r.html", 1, "none.png"),
        ("report seven.png", 2, "--out"),
    ] {
        let output = place.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{arguments}: {error}");
    }
}

#[test]
fn a_site_leads_nowhere_but_into_itself_and_goes_on_where_it_was() {
    let place = Place::new();
    images(&place, 20);
    let label = "<b>\"&'";
    std::fs::write(
        place.path("labels.csv"),
        format!("image,label\na/0.png,\"{}\"\n", label.replace('"', "\"\"")),
    )
    .unwrap();
    let output = place.run(&format!("{SURVEY} --image-labels labels.csv --out survey"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let site = "site survey --out site --units 5 --max-iter 2";
    let output = place.run(site);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = bytes(&place.path("site"));
    let pages: Vec<&String> = files.keys().filter(|name| name.ends_with(".html")).collect();
    assert_eq!(pages.iter().filter(|name| name.starts_with("units/")).count(), 15);
    for name in pages {
        let page = text(&files[name]).replace("&#x2f;", "/");
        assert!(
            !page.contains("<b>\"&") && !page.contains("http://") && !page.contains("https://"),
            "{name}"
        );
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (attribute, rest) in
            ["href=\"", "src=\""].iter().flat_map(|a| page.split(a).skip(1).map(move |rest| (a, rest)))
        {
            let address = rest.split('"').next().unwrap();
            if address.starts_with("data:") || address.starts_with('#') {
                continue;
            }
            let whole = match address.strip_prefix("../") {
                Some(below) => below.to_owned(),
                None if folder.is_empty() => address.to_owned(),
                None => format!("{folder}/{address}"),
            };
            assert!(files.contains_key(&whole), "{name}: {attribute}{address}");
        }
    }
    // Again, after half of the pictures were lost: the others are not made anew.
    let kept = place.path("site/pictures/conv2-0.json");
    let before = std::fs::metadata(&kept).unwrap().modified().unwrap();
    std::fs::remove_file(place.path("site/pictures/conv2-1.json")).unwrap();
    assert!(place.run(site).status.success());
    assert!(bytes(&place.path("site")) == files);
    assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), before);
    let output = place.run("site survey --out images");
    assert!(text(&output.stderr).contains("which holds other files"), "{}", text(&output.stderr));
}

#[test]
fn a_report_is_one_page_with_every_method_and_the_same_in_json() {
    let place = Place::new();
    let run = "report seven.png --model digits --steps 3 --masks 20 --max-channels 4 --top 3 --max-iter 3 --out r.html --json";
    let output = place.run(run);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = &summary["report"];
    let methods = report["methods"].as_array().unwrap();
    assert_eq!(methods.len() + report["left_out"].as_array().unwrap().len(), 19);
    let blind: Vec<&str> = methods
        .iter()
        .filter(|method| method["blind"] == true)
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    assert_eq!(blind.len(), 2, "{blind:?}");
    assert_eq!(report["predictions"][0]["class"], 7);
    let page = std::fs::read_to_string(place.path("r.html")).unwrap();
    for method in methods {
        let (deletion, insertion) =
            (method["deletion"].as_f64().unwrap(), method["insertion"].as_f64().unwrap());
        assert!((0.0..=1.0).contains(&deletion) && (0.0..=1.0).contains(&insertion), "{method}");
        // The area under the curve by trapezia.
        let curve: Vec<f64> = method["deletion_curve"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap())
            .collect();
        let area: f64 =
            curve.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).sum::<f64>() / (curve.len() - 1) as f64;
        assert!((area - deletion).abs() < 1e-5, "{area} {deletion}");
        assert!(page.contains(method["name"].as_str().unwrap()));
    }
    let channels = report["channels"]["strongest"].as_array().unwrap();
    assert_eq!(channels.len(), 3);
    let contributions: Vec<f64> = channels.iter().map(|c| c["contribution"].as_f64().unwrap()).collect();
    assert!(contributions.is_sorted_by(|a, b| a >= b) && contributions[2] > 0.0, "{contributions:?}");
    // One page, that asks for nothing.
    for (attribute, rest) in
        ["href=\"", "src=\""].iter().flat_map(|a| page.split(a).skip(1).map(move |rest| (a, rest)))
    {
        assert!(rest.starts_with("data:"), "{attribute}{}", &rest[..40]);
    }
    assert!(!page.contains("<script"));
}
