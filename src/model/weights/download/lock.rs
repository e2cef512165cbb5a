//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that one process holds at a time, for as long as this lives. A process that is killed lets it go.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds it, and calls `waiting` meanwhile; `None` if that breaks.
    pub(super) fn acquire(
        path: &Path,
        mut waiting: impl FnMut() -> ControlFlow<()>,
    ) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) if !is_at(&file, path) => continue,
                Ok(()) => return Ok(Some(Self { path: path.to_owned(), _file: file })),
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks: two processes then fetch twice, and each into the other's file; what
                // is wrong by that is found by its hash.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Some(Self { path: path.to_owned(), _file: file }));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if waiting().is_break() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Elsewhere it could not be told whether the file that was locked is the one that others see.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether the file is still the one at this path, and not removed by who held it before.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_holder_at_a_time_and_none_after_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let (inside, rounds) = (Mutex::new(()), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let lock = Lock::acquire(&path, || ControlFlow::Continue(())).unwrap().unwrap();
                        let alone = inside.try_lock().expect("nobody else is inside");
                        rounds.fetch_add(1, Ordering::SeqCst);
                        drop(alone);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(rounds.into_inner(), 20);
        assert_eq!(path.exists(), !cfg!(unix));
    }

    #[test]
    fn who_waits_may_give_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let held = Lock::acquire(&path, || ControlFlow::Break(())).unwrap();
        assert!(held.is_some());
        assert!(Lock::acquire(&path, || ControlFlow::Break(())).unwrap().is_none());
    }
}
