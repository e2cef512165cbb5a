//! The state of a survey on the disk.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::Surveyed;
use crate::picture::write_atomically;
use crate::{Error, Result};

/// The file from which a survey goes on.
pub(super) const STATE: &str = "state.bin";
/// The state before the last one.
const PREVIOUS: &str = "state.previous.bin";
/// How a state begins: what it is, and the version of its format.
const MAGIC: &[u8] = b"vis survey 1\n";

/// The folder of a survey, in which no other process writes meanwhile.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Held for as long as it is open.
    _lock: Option<File>,
}

/// What there was to go on from.
pub(super) enum Loaded {
    Nothing,
    State(Box<Surveyed>),
    /// The state is damaged, the one before it is not.
    Previous(Box<Surveyed>, Error),
}

impl Store {
    /// Opens a folder, making it if it is not there.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        // Some systems can't open folders as files, and some network disks can't lock: those have to trust the user.
        let lock = File::open(folder).ok();
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
            let expected = "that of one survey at a time; give each shard a folder of its own";
            let got = format!("{}, into which another process writes", folder.display());
            return Err(Error::invalid("the folder", expected, got));
        }
        let store = Self { folder: folder.to_owned(), _lock: lock };
        store.remove_remains();
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Files that a process was writing when it was killed.
    fn remove_remains(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(".vis-") && name.ends_with(".part") {
                // Nothing depends on it.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(super) fn load(&self) -> Result<Loaded> {
        let (state, previous) = (self.folder.join(STATE), self.folder.join(PREVIOUS));
        match read(&state) {
            Ok(surveyed) => Ok(Loaded::State(Box::new(surveyed))),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                match read(&previous) {
                    Ok(surveyed) => Ok(Loaded::State(Box::new(surveyed))),
                    Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                        Ok(Loaded::Nothing)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(damage) => match read(&previous) {
                Ok(surveyed) => Ok(Loaded::Previous(Box::new(surveyed), damage)),
                Err(_) => Err(damage),
            },
        }
    }

    /// Writes the state; the one before it is kept beside it.
    pub(super) fn save(&self, surveyed: &Surveyed) -> Result<()> {
        let (state, previous) = (self.folder.join(STATE), self.folder.join(PREVIOUS));
        // Only a state that can be read is worth keeping; a damaged one must not replace the one before it.
        if has_magic(&state) {
            let _ = std::fs::remove_file(&previous);
            if std::fs::hard_link(&state, &previous).is_err() {
                let _ = std::fs::copy(&state, &previous);
            }
        }
        let mut bytes = MAGIC.to_vec();
        let unwritable =
            |error: ciborium::ser::Error<std::io::Error>| std::io::Error::other(error.to_string());
        ciborium::into_writer(surveyed, &mut bytes)
            .map_err(unwritable)
            .map_err(Error::io("write", &state))?;
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        write_atomically(&state, |writer| writer.write_all(&bytes))
    }

    /// Once a survey is done, nothing goes on from what was before.
    pub(super) fn forget_previous(&self) {
        let _ = std::fs::remove_file(self.folder.join(PREVIOUS));
    }
}

fn has_magic(state: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(state).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

/// Reads a state.
pub(super) fn read(path: &Path) -> Result<Surveyed> {
    let malformed = |reason: &str| Error::Format {
        path: path.to_owned(),
        kind: "state of a survey",
        reason: reason.into(),
    };
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    // Only what begins as a state is read to its end: another file may be endless.
    Read::by_ref(&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes != MAGIC {
        return Err(malformed("it begins as another file, or as that of another version"));
    }
    file.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let (content, checksum) = bytes.split_last_chunk::<4>().unwrap_or((&bytes, &[0; 4]));
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(malformed("it is cut off or changed: its checksum is another one"));
    }
    let content = content.get(MAGIC.len()..).unwrap_or_default();
    let surveyed: Surveyed = ciborium::from_reader(content).map_err(|error| malformed(&error.to_string()))?;
    if surveyed.is_sound() { Ok(surveyed) } else { Err(malformed("its parts contradict each other")) }
}
