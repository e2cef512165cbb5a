//! The file as far as it is there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BLOCK;
use crate::{Error, Result};

/// The file as far as it is there, and the hash of that.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
    hash: Sha256,
}

impl Part {
    /// What is there already is kept if `resume`.
    pub(super) fn open(path: PathBuf, resume: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(!resume).open(&path);
        let file = opened.map_err(Error::io("write", &path))?;
        if !file.metadata().is_ok_and(|data| data.is_file()) {
            // A device may have no end.
            return Err(Error::io("write", &path)(std::io::Error::other("it is not an ordinary file")));
        }
        let (length, hash) = hash(&file).map_err(Error::io("read", &path))?;
        Ok(Self { path, file, length, hash })
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        let failed = |error| Error::io("write", &self.path)(error);
        self.file.seek(SeekFrom::Start(self.length)).map_err(failed)?;
        while !bytes.is_empty() {
            // Piece by piece, so that it is known what fitted on a full disk.
            let written = match self.file.write(bytes) {
                Ok(0) => return Err(failed(std::io::ErrorKind::WriteZero.into())),
                Ok(written) => written,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            self.hash.update(&bytes[..written]);
            self.length += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("write", &self.path))?;
        (self.length, self.hash) = (0, Sha256::new());
        Ok(())
    }

    pub(super) fn sha256(&self) -> String {
        digits(self.hash.clone())
    }
}

/// The length of a file and its SHA-256.
pub(in crate::model::weights) fn hash_of(path: &Path) -> Result<(u64, String)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let (length, hash) = hash(file).map_err(Error::io("read", path))?;
    Ok((length, digits(hash)))
}

fn hash(mut file: impl Read) -> std::io::Result<(u64, Sha256)> {
    let (mut length, mut hash, mut block) = (0, Sha256::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((length, hash)),
            Ok(read) => {
                hash.update(&block[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
