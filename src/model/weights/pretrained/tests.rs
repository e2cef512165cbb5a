use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

#[allow(unreachable_pub, reason = "the tests' own")]
#[path = "../../../../tests/all/file_server.rs"]
mod file_server;

use file_server::{Act, Server, file_of};

/// A network whose file is the one of the server, and places of its own.
struct Case {
    network: Pretrained,
    file: Vec<u8>,
    server: Server,
    places: Places,
    folder: TempDir,
}

impl Case {
    fn new(acts: &[Act]) -> Self {
        let (file, sha256) = file_of(50_000);
        let server = Server::new(&file, acts);
        let folder = tempfile::tempdir().unwrap();
        let network = Pretrained {
            name: "small",
            description: "",
            licence: "",
            // Half a hundredth off, as lengths of three digits are.
            length: 50_250,
            sha256: Box::leak(sha256.into_boxed_str()),
            repository: "timm/small.in1k",
            revision: "0123abc",
        };
        let places = Places {
            named: Some(folder.path().join("named")),
            hub: Some(folder.path().join("hub")),
            own: Some(folder.path().join("cache").join("vis")),
            endpoint: server.endpoint(),
            offline: false,
        };
        Self { network, file, server, places, folder }
    }

    fn fetch(&self) -> Result<PathBuf> {
        self.network.fetch_at(&self.places, |download| download.timeout(Duration::from_millis(500)))
    }

    /// Puts the file, or something else of its length, at a place in the folder.
    fn put(&self, place: &str, is_right: bool) -> PathBuf {
        let path = self.folder.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let wrong = vec![7; self.file.len()];
        std::fs::write(&path, if is_right { &self.file } else { &wrong }).unwrap();
        path
    }

    fn in_hub(&self, place: &str, is_right: bool) -> PathBuf {
        self.put(&format!("hub/models--timm--small.in1k/{place}"), is_right)
    }
}

#[test]
fn a_file_is_fetched_into_the_cache_once() {
    let case = Case::new(&[Act::Cut(20_000), Act::Right]);
    let path = case.fetch().unwrap();
    let name = format!("small-{}.safetensors", &case.network.sha256[..8]);
    assert_eq!(path, case.folder.path().join("cache/vis").join(name));
    assert_eq!(std::fs::read(&path).unwrap(), case.file);
    assert_eq!(case.fetch().unwrap(), path);
    let offline = Places { offline: true, ..case.places.clone() };
    assert_eq!(case.network.fetch_at(&offline, |download| download).unwrap(), path);
    assert_eq!(case.server.starts(), [0, 20_000]);
    assert_eq!(case.server.requests()[0].what, "GET /timm/small.in1k/resolve/0123abc/model.safetensors");
}

#[test]
fn what_python_fetched_is_not_fetched_again() {
    // As a blob, which links lead to, or in a revision where there are no links; ours or another.
    for place in ["blobs/SHA256", "snapshots/0123abc/model.safetensors", "snapshots/fedc/model.safetensors"] {
        let case = Case::new(&[Act::Right]);
        let there = case.in_hub(&place.replace("SHA256", case.network.sha256), true);
        // Other revisions of the same repository have other files.
        case.in_hub("snapshots/aaaa/model.safetensors", false);
        assert_eq!(case.fetch().unwrap(), there);
        assert_eq!(case.server.requests(), []);
        assert!(!case.folder.path().join("cache").exists());
    }
}

#[test]
fn a_wrong_file_in_a_cache_is_no_reason_to_take_it() {
    let case = Case::new(&[Act::Right]);
    let blob = case.in_hub(&format!("blobs/{}", case.network.sha256), false);
    let own = case.put(&format!("cache/vis/{}", case.network.file_name()), false);
    assert_eq!(case.fetch().unwrap(), own);
    assert_eq!(std::fs::read(&own).unwrap(), case.file);
    // What is Python's is left to Python.
    assert_eq!(std::fs::read(&blob).unwrap(), vec![7; case.file.len()]);
    assert_eq!(case.server.starts(), [0]);
}

#[test]
fn the_named_folder_comes_first_and_a_wrong_file_in_it_is_an_error() {
    let case = Case::new(&[Act::Right]);
    case.put(&format!("cache/vis/{}", case.network.file_name()), true);
    let named = format!("named/{}", case.network.file_name());
    let path = case.put(&named, true);
    assert_eq!(case.fetch().unwrap(), path);
    case.put(&named, false);
    let error = case.fetch().unwrap_err();
    assert!(matches!(&error, Error::Format { path: at, .. } if *at == path), "{error}");
    assert_eq!(case.server.requests(), []);
}

#[test]
fn offline_a_file_that_is_not_there_is_an_error_with_its_place_and_address() {
    let case = Case::new(&[Act::Right]);
    let offline = Places { offline: true, ..case.places.clone() };
    let error = case.network.fetch_at(&offline, |download| download).unwrap_err().to_string();
    for words in [case.network.file_name(), case.network.url_at(&offline), "offline".to_owned()] {
        assert!(error.contains(&words), "{error}");
    }
    assert_eq!(case.server.requests(), []);
    assert!(!case.folder.path().join("cache").exists());
}

#[test]
fn who_watches_learns_how_far_it_is_and_may_stop() {
    let case = Case::new(&[Act::Slow(10_000, Duration::from_millis(20))]);
    let calls = AtomicUsize::new(0);
    let stopped = case.network.fetch_at(&case.places, |download| {
        download.progress(|now| {
            assert!(now.of == 50_000 && now.done <= 50_000, "{now}");
            calls.fetch_add(1, Ordering::SeqCst);
            if now.done >= 20_000 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        })
    });
    let error = stopped.unwrap_err().to_string();
    assert!(error.contains("it was stopped; the ") && error.contains("it goes on from there"), "{error}");
    assert!(calls.into_inner() >= 1);
    let path = case.fetch().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), case.file);
    assert!(case.server.starts()[1] >= 20_000);
}

#[test]
fn what_has_another_length_is_refused_before_it_is_fetched() {
    for other in [49_000, 51_000] {
        let case = Case::new(&[Act::Instead(vec![1; other])]);
        let error = case.fetch().unwrap_err().to_string();
        assert!(error.contains(&format!("{other} bytes long, and not about 50250")), "{error}");
    }
    // A body without an announced length is cut off when it has grown too long.
    let case = Case::new(&[Act::Chunked(1_000)]);
    let shorter = Pretrained { length: 30_000, ..case.network.clone() };
    let error = shorter.fetch_at(&case.places, |download| download).unwrap_err().to_string();
    assert!(error.contains("it is another file: longer than "), "{error}");
    assert!(std::fs::read_dir(case.folder.path().join("cache/vis")).unwrap().next().is_none());
}

#[test]
fn every_row_of_the_table_is_whole_and_has_a_file_of_its_own() {
    let mut files: Vec<String> = Pretrained::ALL.iter().map(Pretrained::file_name).collect();
    for network in Pretrained::ALL {
        assert!(
            network.sha256.len() == 64
                && network.sha256.bytes().all(|digit| b"0123456789abcdef".contains(&digit))
        );
        assert!(!network.licence.is_empty() && !network.description.is_empty());
        assert!(network.length > 10_000_000, "in bytes");
        assert_eq!(Pretrained::named(network.name).unwrap(), network);
    }
    files.sort();
    files.dedup();
    assert_eq!(files.len(), Pretrained::ALL.len());
    let error = Pretrained::named("vgg-16").unwrap_err().to_string();
    assert!(error.contains("did you mean `vgg16`?"), "{error}");
}
