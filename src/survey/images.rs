//! Which images there are: a folder, or a list of files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What counts as an image by its name. Those that can't be read are reported, rather than not noticed.
const EXTENSIONS: [&str; 16] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jxl",
    "jp2", "ppm",
];
/// A path with more folders than this has a link in it that leads back.
const DEEPEST: usize = 40;

/// The images of a survey, by name.
///
/// An image is named by its path below the folder, with `/` between the parts on every system. Only the names of one
/// folder are in memory at a time.
#[derive(Debug, Clone)]
pub struct Images {
    root: PathBuf,
    files: Option<Vec<String>>,
    labels: Labels,
}

#[derive(Debug, Clone)]
enum Labels {
    None,
    Folders,
    Table(BTreeMap<String, String>),
}

/// An image that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The path below the folder.
    pub(super) name: String,
    pub(super) label: Option<String>,
    /// Where it lies, or why it can't be looked at.
    pub(super) path: Result<PathBuf, String>,
}

/// How many names there are, and a checksum over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) images: u64,
    pub(super) checksum: u32,
}

impl Images {
    /// All images in a folder and in those below it, sorted by name folder for folder.
    ///
    /// An image is a file whose name ends as one of a picture does; of a format that is not read it is reported and
    /// passed over. Files and folders whose name begins with a dot are left out. Links are followed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder can't be read.
    pub fn folder(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        std::fs::read_dir(&root).map_err(Error::io("read", &root))?;
        Ok(Self { root, files: None, labels: Labels::None })
    }

    /// Some files below a folder, by name, in this order.
    ///
    /// ```
    /// let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/images/photos");
    /// let images = vis::survey::Images::list(photos, ["chelsea.png", "rocket.jpg"]);
    /// assert_eq!(images.len(), 2);
    /// ```
    pub fn list(root: impl Into<PathBuf>, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let files = names.into_iter().map(Into::into).collect();
        Self { root: root.into(), files: Some(files), labels: Labels::None }
    }

    /// Labels each image by the first folder of its name: `n02123045/3.jpg` by `n02123045`.
    pub fn labelled_by_folder(mut self) -> Self {
        self.labels = Labels::Folders;
        self
    }

    /// Labels images by a table from names to labels, which stays in memory.
    pub fn labelled(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = Labels::Table(labels);
        self
    }

    /// The number of images; reads the folders.
    #[allow(clippy::len_without_is_empty, reason = "that would read the folders as well")]
    pub fn len(&self) -> u64 {
        self.count().images
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn count(&self) -> Count {
        let mut counter = Counter::default();
        self.found().for_each(|found| counter.add(&found.name));
        counter.count()
    }

    /// The images one after the other.
    pub(super) fn found(&self) -> impl Iterator<Item = Found> + Send + '_ {
        let walk: Box<dyn Iterator<Item = Found> + Send> = match &self.files {
            Some(files) => Box::new(files.iter().map(|name| Found {
                name: name.clone(),
                label: None,
                path: Ok(self.root.join(name)),
            })),
            None => Box::new(Walk::of(&self.root)),
        };
        walk.map(|mut found| {
            found.label = match &self.labels {
                Labels::None => None,
                Labels::Folders => found.name.split_once('/').map(|(folder, _)| folder.to_owned()),
                Labels::Table(table) => table.get(&found.name).cloned(),
            };
            found
        })
    }
}

/// Counts names.
#[derive(Default)]
pub(super) struct Counter {
    images: u64,
    checksum: crc32fast::Hasher,
}

impl Counter {
    pub(super) fn add(&mut self, name: &str) {
        self.images += 1;
        self.checksum.update(name.as_bytes());
        self.checksum.update(&[0]);
    }

    pub(super) fn count(&self) -> Count {
        Count { images: self.images, checksum: self.checksum.clone().finalize() }
    }
}

/// A walk through folders, depth first.
struct Walk {
    levels: Vec<Level>,
}

/// A folder that the walk is in: what is left of it.
struct Level {
    path: PathBuf,
    /// The name of the folder below the root, with `/` at its end.
    below: String,
    entries: std::vec::IntoIter<(OsString, bool)>,
}

impl Level {
    /// The entries of a folder, sorted by name, each with whether it is a folder.
    fn of(path: PathBuf, below: String) -> std::io::Result<Self> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&path)? {
            let (entry, name) = entry.map(|entry| (entry.file_type(), entry.file_name()))?;
            if !name.as_encoded_bytes().starts_with(b".") {
                let kind = entry?;
                let is_folder = if kind.is_symlink() { path.join(&name).is_dir() } else { kind.is_dir() };
                entries.push((name, is_folder));
            }
        }
        entries.sort();
        Ok(Self { path, below, entries: entries.into_iter() })
    }
}

impl Walk {
    fn of(root: &Path) -> Self {
        Self { levels: Level::of(root.to_owned(), String::new()).into_iter().collect() }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let depth = self.levels.len();
            let level = self.levels.last_mut()?;
            let Some((file, is_folder)) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let extension =
                Path::new(&file).extension().map(|extension| extension.to_string_lossy().to_lowercase());
            if !is_folder && !extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
                continue;
            }
            let name = format!("{}{}", level.below, file.to_string_lossy());
            let path = level.path.join(&file);
            let refused = |name: String, reason: String| Some(Found { name, label: None, path: Err(reason) });
            if file.to_str().is_none() {
                return refused(
                    name,
                    "its name is not UTF-8, and no table can hold it: rename it".to_owned(),
                );
            }
            if !is_folder {
                return Some(Found { name, label: None, path: Ok(path) });
            }
            if depth >= DEEPEST {
                let reason = format!("more than {DEEPEST} folders lie in each other: is it a link back?");
                return refused(name, reason);
            }
            match Level::of(path, format!("{name}/")) {
                Ok(level) => self.levels.push(level),
                Err(error) => return refused(name, error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_by_name_and_what_is_no_image_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let kept = ["B.PNG", "a b,\"c\".jpg", "a/z.webp", "b/c/1.jpeg", "b/c/10.gif", "ж/日本.png"];
        kept.iter().for_each(|name| make(name));
        [".hidden.png", "labels.csv", "png", "b/.git/x.png", "c/readme.md"]
            .iter()
            .for_each(|name| make(name));
        let images = Images::folder(folder.path()).unwrap().labelled_by_folder();
        let found: Vec<Found> = images.found().collect();
        assert_eq!(
            found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(),
            ["B.PNG", "a/z.webp", "a b,\"c\".jpg", "b/c/1.jpeg", "b/c/10.gif", "ж/日本.png"]
        );
        assert_eq!(
            found.iter().map(|found| found.label.as_deref()).collect::<Vec<_>>(),
            [None, Some("a"), None, Some("b"), Some("b"), Some("ж")]
        );
        assert_eq!(images.count(), images.count());
        let renamed = folder.path().join("b/c/2.jpeg");
        let before = images.count();
        std::fs::rename(folder.path().join("b/c/1.jpeg"), renamed).unwrap();
        let after = images.count();
        assert!(before.images == 6 && after.images == 6 && before.checksum != after.checksum);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_no_table_can_hold_and_links_that_lead_back_are_told() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xFF.png")), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        let found: Vec<Found> = Images::folder(folder.path()).unwrap().found().take(200).collect();
        assert!(found.len() < 100, "{}", found.len());
        let reasons: Vec<&String> = found.iter().map(|found| found.path.as_ref().unwrap_err()).collect();
        assert!(reasons.iter().any(|reason| reason.contains("not UTF-8")));
        assert!(reasons.iter().any(|reason| reason.contains("a link back")));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(matches!(Images::folder("no/such/folder"), Err(Error::Io { action: "read", .. })));
    }
}
