//! Where the files of pretrained networks may be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::bundled::weights_folder;
use crate::{Error, Result};

/// Folders, and what else the environment says of them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The folder that `VIS_WEIGHTS` names.
    pub(super) named: Option<PathBuf>,
    /// The cache of Hugging Face.
    pub(super) hub: Option<PathBuf>,
    /// The cache of this crate.
    pub(super) own: Option<PathBuf>,
    /// The server of Hugging Face, or a mirror.
    pub(super) endpoint: String,
    pub(super) offline: bool,
}

impl Places {
    pub(super) fn of_environment() -> Self {
        let named = weights_folder();
        Self { named, ..Self::by(&|name| std::env::var_os(name), std::env::home_dir()) }
    }

    /// All but the folder that `VIS_WEIGHTS` names.
    fn by(variable: &dyn Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| value(name).map(PathBuf::from);
        let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(home.clone()?.join(".cache")));
        let hub = folder("HF_HUB_CACHE")
            .or_else(|| Some(folder("HF_HOME")?.join("hub")))
            .or_else(|| Some(caches()?.join("huggingface").join("hub")));
        let own = folder("VIS_CACHE").or_else(|| {
            let system = if cfg!(windows) {
                folder("LOCALAPPDATA")
            } else if cfg!(target_os = "macos") {
                home.clone().map(|home| home.join("Library").join("Caches"))
            } else {
                caches()
            };
            Some(system?.join("vis"))
        });
        let text = |name: &str| value(name).and_then(|value| value.into_string().ok());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = text("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
        Self {
            named: None,
            hub,
            own,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            // As Python's library reads it.
            offline: ["1", "ON", "YES", "TRUE"].contains(&offline.as_str()),
        }
    }

    /// The file of this name in the folder that `VIS_WEIGHTS` names.
    pub(super) fn named_file(&self, file_name: &str) -> Option<PathBuf> {
        self.named.as_ref().map(|folder| folder.join(file_name)).filter(|path| path.is_file())
    }

    /// Where this crate keeps the file of this name.
    pub(super) fn own_file(&self, file_name: &str) -> Result<PathBuf> {
        let folder = self.own.as_ref().ok_or_else(|| {
            Error::invalid("VIS_CACHE", "the name of a folder, as this system has none for caches", "empty")
        })?;
        Ok(folder.join(file_name))
    }

    /// Where the file may be, in the order in which it is looked for.
    pub(super) fn all(&self, repository: &str, file_name: &str, sha256: &str, file: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.named_file(file_name).into_iter().collect();
        if let Some(hub) = &self.hub {
            let folder = hub.join(format!("models--{}", repository.replace('/', "--")));
            // Large files lie there under their SHA-256, and revisions are links to them, except where the system has no
            // links.
            all.push(folder.join("blobs").join(sha256));
            all.extend(snapshots(&folder).into_iter().map(|snapshot| snapshot.join(file)));
        }
        all.extend(self.own.iter().map(|folder| folder.join(file_name)));
        all
    }
}

/// The revisions that there are of a repository.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("snapshots"));
    let mut snapshots: Vec<PathBuf> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    snapshots.sort();
    snapshots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(variables: &[(&str, &str)]) -> Places {
        let value = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        };
        Places::by(&value, Some(PathBuf::from("/home/me")))
    }

    #[test]
    fn the_environment_says_where_caches_are() {
        let hub = |variables: &[(&str, &str)]| by(variables).hub.unwrap();
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(hub(&all), Path::new("/a"));
        assert_eq!(hub(&all[1..]), Path::new("/b/hub"));
        assert_eq!(hub(&all[2..]), Path::new("/c/huggingface/hub"));
        assert_eq!(hub(&[("HF_HOME", "")]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(by(&[("VIS_CACHE", "/d"), all[2]]).own.unwrap(), Path::new("/d"));
        if cfg!(target_os = "linux") {
            assert_eq!(by(&all).own.unwrap(), Path::new("/c/vis"));
            assert_eq!(by(&[]).own.unwrap(), Path::new("/home/me/.cache/vis"));
        }
        let homeless = Places::by(&|_| None, None);
        assert!(homeless.hub.is_none() && homeless.own_file("a").is_err());
    }

    #[test]
    fn the_environment_says_whether_and_whom_to_ask() {
        let offline = |value: &str| by(&[("HF_HUB_OFFLINE", value)]).offline;
        assert!(["1", "on", "Yes", "TRUE"].into_iter().all(offline));
        assert!(!["", "0", "off", "no", "2"].into_iter().any(offline));
        assert_eq!(by(&[("HF_ENDPOINT", "http://mirror:8080/hf/")]).endpoint, "http://mirror:8080/hf");
        assert_eq!(by(&[]).endpoint, "https://huggingface.co");
    }
}
