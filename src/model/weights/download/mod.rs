//! Files from the network: checked, resumed, and never half there.

mod body;
mod http;
mod lock;
mod part;
mod proxy;
mod url;

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::http::{Answer, Fault};
use self::lock::Lock;
use self::part::Part;
pub(super) use self::part::hash_of;
use self::url::Url;
use crate::progress::{Progress, Watcher};
use crate::{Error, Result};

/// Attempts in a row that bring nothing new, after which it is given up.
const ATTEMPTS: u32 = 5;
/// The pause after the first of them; after each it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes that are read at a time.
const BLOCK: usize = 256 * 1024;

/// What is wrong with a file that ends with another SHA-256, where the server does not say how long it is.
const UNANNOUNCED: &str = "the file ends with another SHA-256, and the server did not say how long it is";

/// A file to be fetched over HTTPS or HTTP.
///
/// While it is fetched it is `FILE.part`, which becomes `FILE` when it is whole and has the right SHA-256: what is at
/// `FILE` is never half there, and what was there before stays until then. Whatever comes between (the connection ends or
/// says nothing for a while, the disk is full, the process is killed), `FILE.part` stays, and the next download goes on
/// where it ended, if the SHA-256 is known. The connection is tried again a few times before that.
///
/// Two processes that want the same `FILE` fetch it once: the other waits. A `FILE` that is right already is not fetched
/// again, and no request is made.
///
/// Proxies are those of the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`). Servers are trusted by the
/// certificates that Mozilla trusts, and by those in the file that `SSL_CERT_FILE` names. Redirects are followed, but none
/// from HTTPS to HTTP.
///
/// ```no_run
/// use vis::model::weights::Download;
/// let fetched = Download::new("https://example.org/net.onnx")
///     .sha256("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
///     .to("net.onnx")?;
/// # Ok::<(), vis::Error>(())
/// ```
pub struct Download<'a> {
    url: String,
    sha256: Option<String>,
    /// The length, give or take a hundredth.
    about: Option<u64>,
    timeout: Duration,
    offline: bool,
    watcher: Option<Watcher<'a>>,
}

/// A file that was fetched, or was there: see [`Download::to`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Whether it was there already, so that no request was made.
    pub was_there: bool,
}

impl<'a> Download<'a> {
    /// A download of what is at this address.
    pub fn new(url: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(30);
        Self { url: url.into(), sha256: None, about: None, timeout, offline: false, watcher: None }
    }

    /// Sets the SHA-256 that the file must have, as 64 hexadecimal digits. Default: none; whatever the server sends is
    /// then taken, and an unfinished file is fetched anew.
    pub fn sha256(mut self, digits: impl Into<String>) -> Self {
        self.sha256 = Some(digits.into());
        self
    }

    /// Sets the length that the file has, give or take a hundredth: what has another is refused before it is fetched.
    pub(super) fn about(mut self, length: u64) -> Self {
        self.about = Some(length);
        self
    }

    /// Sets for how long the server may say nothing before the connection is tried anew. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whether the network is left alone, so that a file which is not there is an error. Default: it is not, unless
    /// the environment variable `HF_HUB_OFFLINE` says so for a [`Pretrained`](super::Pretrained) network.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Calls a closure while the file is fetched. `done` and `of` are bytes; `of` is 0 as long as the server has not said
    /// how many there are. When it breaks, the download stops with an error, and goes on from there the next time.
    pub fn progress(mut self, watcher: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    /// Fetches the file, unless it is there and right.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] for everything that a network, its servers and a full disk can do wrong, [`Error::Io`] for a file
    /// that can't be read or made, and [`Error::InvalidParameter`] for a setting that makes no sense.
    pub fn to(mut self, path: impl AsRef<Path>) -> Result<Fetched> {
        let path = path.as_ref();
        // A link is followed, so that it stays one.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let url = Url::parse(&self.url)
            .map_err(|why| self.failed(path.as_ref(), &format!("it is not an address of a file: {why}")))?;
        if self.timeout.is_zero() {
            return Err(Error::invalid("timeout", "longer than nothing", "0 s"));
        }
        if let Some(digits) = &mut self.sha256 {
            digits.make_ascii_lowercase();
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(Error::invalid("SHA-256", "64 hexadecimal digits", format!("`{digits}`")));
            }
        }
        if let Some(there) = self.is_there(&path)? {
            return Ok(there);
        }
        if self.offline {
            let what =
                if path.is_file() { "the file there is not the one wanted" } else { "it is not there" };
            return Err(self.failed(&path, &format!("{what}, and the network is to be left alone (offline)")));
        }
        let (part, lock) = (beside(&path, ".part"), beside(&path, ".lock"));
        let waiting = || match &mut self.watcher {
            Some(watcher) => watcher(&Progress::new("waiting for another process", 0, 0)),
            None => ControlFlow::Continue(()),
        };
        let lock = Lock::acquire(&lock, waiting).map_err(Error::io("lock", &lock))?;
        if lock.is_none() {
            return Err(self.failed(&path, "it was stopped while another process fetched it"));
        }
        // Another process may have fetched it meanwhile.
        if let Some(there) = self.is_there(&path)? {
            return Ok(there);
        }
        let mut part = Part::open(part, self.sha256.is_some())?;
        let fetched = self.fetch(&url, &path, &mut part);
        match fetched {
            Ok(fetched) => {
                let renamed = part.file.sync_all().and_then(|()| std::fs::rename(&part.path, &path));
                renamed.map_err(Error::io("write", &path))?;
                Ok(fetched)
            }
            Err(error) => {
                // What nobody can go on with is not left behind.
                if part.length == 0 || self.sha256.is_none() {
                    let _ = std::fs::remove_file(&part.path);
                }
                Err(error)
            }
        }
    }

    /// The file, if it is there with the right SHA-256.
    fn is_there(&self, path: &Path) -> Result<Option<Fetched>> {
        if path.is_dir() {
            return Err(Error::io("write", path)(std::io::ErrorKind::IsADirectory.into()));
        }
        let Some(expected) = self.sha256.as_ref().filter(|_| path.is_file()) else { return Ok(None) };
        let (length, sha256) = hash_of(path)?;
        Ok((sha256 == *expected).then_some(Fetched { length, sha256, was_there: true }))
    }

    /// Fetches what is missing of the part until it is whole and right.
    fn fetch(&mut self, url: &Url, path: &Path, part: &mut Part) -> Result<Fetched> {
        let mut resumed = part.length > 0;
        let (mut longest, mut failures) = (part.length, 0);
        loop {
            let outcome = if self.is_right(part) { Ok(()) } else { self.attempt(url, path, part)? };
            let why = match outcome {
                Ok(()) => {
                    let sha256 = part.sha256();
                    match self.sha256.as_ref().filter(|expected| **expected != sha256) {
                        None => return Ok(Fetched { length: part.length, sha256, was_there: false }),
                        Some(expected) => {
                            part.clear()?;
                            if !resumed {
                                let why =
                                    format!("it is another file: its SHA-256 is {sha256}, not {expected}");
                                return Err(self.failed(path, &why));
                            }
                            // What was there before may have been the beginning of another file.
                            (resumed, longest) = (false, 0);
                            continue;
                        }
                    }
                }
                Err(why) => why,
            };
            failures = if part.length > longest { 1 } else { failures + 1 };
            longest = longest.max(part.length);
            if failures >= ATTEMPTS {
                let kept = self.kept(part);
                return Err(self.failed(path, &format!("{why}, {ATTEMPTS} times in a row{kept}")));
            }
            if self.sha256.is_none() {
                // Without it nobody would notice if the file had changed on the server meanwhile.
                part.clear()?;
            }
            std::thread::sleep(PAUSE * 2_u32.pow(failures - 1));
            self.tell(path, part, None)?;
        }
    }

    /// One request and its answer; an inner error is one that another attempt may mend.
    fn attempt(&mut self, url: &Url, path: &Path, part: &mut Part) -> Result<Result<(), String>> {
        let mut answer = match http::get(url, part.length, self.timeout) {
            Ok(answer) => answer,
            Err(Fault::Passing(why)) => return Ok(Err(why)),
            Err(Fault::Lasting(why)) => return Err(self.failed(path, &why)),
        };
        let status = answer.status;
        // What the server sends again, because it takes no ranges, is passed over.
        let (mut skip, total) = match (status, answer.range()) {
            (200, _) => (part.length, answer.length()),
            (206, Some((first, total))) if first == part.length && first > 0 => (0, total),
            (206 | 416, _) if part.length > 0 => {
                // The part is not of this file, or is longer than it.
                part.clear()?;
                return Ok(Err(format!("the server has not the bytes asked for ({status})")));
            }
            (408 | 425 | 429 | 500.., _) => return Ok(Err(said(&answer))),
            _ => return Err(self.failed(path, &said(&answer))),
        };
        let mut block = vec![0; BLOCK];
        let mut is_first = true;
        loop {
            let read = match answer.read(&mut block) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(self.broken(error))),
            };
            let mut bytes = &block[..read];
            if std::mem::take(&mut is_first) {
                if status == 200 && self.is_page(url, bytes) {
                    return Err(self.failed(path, "the server sends a web page instead of the file"));
                }
                if let (Some(total), Some(about)) = (total, self.about)
                    && total.abs_diff(about) > about / 100
                {
                    let why = format!("it is another file: {total} bytes long, and not about {about}");
                    return Err(self.failed(path, &why));
                }
            }
            if read == 0 {
                // Without a length the end may be a cut.
                let ended = answer.says_its_end() || self.sha256.is_none() || self.is_right(part);
                return Ok(if ended { Ok(()) } else { Err(UNANNOUNCED.to_owned()) });
            }
            let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            (skip, bytes) = (skip - skipped as u64, &bytes[skipped..]);
            if let Err(error) = part.append(bytes) {
                // The disk may be full.
                return Err(self.failed(path, &format!("{error}{}", self.kept(part))));
            }
            if self.about.is_some_and(|about| part.length > about + about / 100) {
                let why = format!("it is another file: longer than {} bytes", part.length);
                part.clear()?;
                return Err(self.failed(path, &why));
            }
            self.tell(path, part, total)?;
        }
    }

    fn is_right(&self, part: &Part) -> bool {
        self.sha256.as_ref().is_some_and(|expected| *expected == part.sha256())
    }

    /// Tells how far it is.
    fn tell(&mut self, path: &Path, part: &Part, total: Option<u64>) -> Result<()> {
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let now = Progress::new("bytes", count(part.length), count(total.unwrap_or(0)));
        match self.watcher.as_mut().map(|watcher| watcher(&now)) {
            Some(ControlFlow::Break(())) => {
                let kept = self.kept(part);
                Err(self.failed(path, &format!("it was stopped{kept}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether these first bytes are those of a web page, where none was asked for.
    fn is_page(&self, url: &Url, bytes: &[u8]) -> bool {
        let name = url.path.split('?').next().unwrap_or_default().to_ascii_lowercase();
        let text = bytes[..bytes.len().min(512)].trim_ascii_start().to_ascii_lowercase();
        let looks_like_one = text.starts_with(b"<!doctype html") || text.starts_with(b"<html");
        looks_like_one && !name.ends_with(".html") && !name.ends_with(".htm")
    }

    fn broken(&self, error: std::io::Error) -> String {
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("the server said nothing more for {} s", self.timeout.as_secs_f64())
            }
            _ => format!("the connection broke: {error}"),
        }
    }

    /// What is left of an unfinished download, in words.
    fn kept(&self, part: &Part) -> String {
        if self.sha256.is_none() || part.length == 0 {
            return String::new();
        }
        format!(
            "; the {} bytes so far are in {}, and it goes on from there",
            part.length,
            part.path.display()
        )
    }

    fn failed(&self, path: &Path, reason: &str) -> Error {
        Error::Fetch { url: self.url.clone(), path: path.to_owned(), reason: reason.to_owned() }
    }
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Download");
        debug.field("url", &self.url).field("sha256", &self.sha256).field("timeout", &self.timeout);
        debug.field("offline", &self.offline).finish_non_exhaustive()
    }
}

fn said(answer: &Answer) -> String {
    format!("the server says {} {}", answer.status, answer.reason).trim_end().to_owned()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
