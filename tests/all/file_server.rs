//! A server of one file on this machine, which does wrong what it is told to.
#![allow(dead_code, reason = "every test binary needs a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the server does on a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends the file from the byte asked for on.
    Right,
    /// The same, but ends the connection after so many bytes of the body.
    Cut(usize),
    /// The same, but says nothing more after so many bytes, and keeps the connection.
    Stall(usize),
    /// The same, but in blocks of so many bytes with pauses between them.
    Slow(usize, Duration),
    /// Sends the whole file with 200, whatever was asked for.
    NoRanges,
    /// The same, but ends the connection after so many bytes of the body.
    NoRangesCut(usize),
    /// Sends the file without saying how long it is: the end of the connection is its end.
    WithoutLength,
    /// The same, but ends it after so many bytes.
    WithoutLengthCut(usize),
    /// Sends the whole file in chunks of so many bytes.
    Chunked(usize),
    /// Sends a range that begins elsewhere.
    WrongRange,
    /// Sends this instead, with 200.
    Instead(Vec<u8>),
    /// Says that there is nothing, with this status.
    Status(u16),
    /// Sends on to another address.
    Redirect(String),
    /// Takes the connection and says nothing.
    Silent,
    /// Ends the connection at once.
    Closed,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET /path`.
    pub what: String,
    /// The first byte asked for.
    pub from: Option<usize>,
}

pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Plays these acts, one a request, and the last of them for all that follow.
    pub fn new(file: &[u8], acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (file, acts, seen) = (Arc::new(file.to_vec()), acts.to_vec(), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (file, acts, seen) = (Arc::clone(&file), acts.clone(), Arc::clone(&seen));
                // What a client ends in the middle is no business of the server.
                std::thread::spawn(move || serve(stream.unwrap(), &file, &acts, &seen).ok());
            }
        });
        Self { port, requests }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/models/net.bin", self.port)
    }

    /// The address without a path.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    /// The first bytes that were asked for, request by request.
    pub fn starts(&self) -> Vec<usize> {
        self.requests().iter().map(|request| request.from.unwrap_or(0)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes a request, notes it and plays its act.
fn serve(
    mut stream: TcpStream,
    file: &[u8],
    acts: &[Act],
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let what = first.rsplit_once(' ').map_or(first.clone(), |(what, _)| what.to_owned());
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    let act = {
        let mut seen = lock(seen);
        seen.push(Request { what, from });
        acts[(seen.len() - 1).min(acts.len() - 1)].clone()
    };
    let from = from.unwrap_or(0);
    let rest = &file[from.min(file.len())..];
    let ranged = |length: usize| match from {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
        _ if from >= file.len() => {
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {from}-{}/{}\r\n\r\n",
            file.len() - 1,
            file.len()
        ),
    };
    let whole = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let (head, body) = match &act {
        Act::Right | Act::Stall(_) | Act::Slow(..) => (ranged(rest.len()), rest),
        Act::Cut(length) => (ranged(rest.len()), &rest[..rest.len().min(*length)]),
        Act::NoRanges => (whole(file.len()), file),
        Act::NoRangesCut(length) => (whole(file.len()), &file[..*length]),
        Act::WithoutLength if from > 0 => (ranged(rest.len()), rest),
        Act::WithoutLength => ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), file),
        Act::WithoutLengthCut(length) => ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), &file[..*length]),
        Act::Chunked(_) => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), file),
        Act::WrongRange => (
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
                from + 1,
                from + 4,
                file.len()
            ),
            &file[..4],
        ),
        Act::Instead(other) => (whole(other.len()), other.as_slice()),
        Act::Status(status) => {
            (format!("HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n"), &file[..0])
        }
        Act::Redirect(to) => {
            (format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"), &file[..0])
        }
        Act::Silent => {
            std::thread::sleep(Duration::from_secs(60));
            return Ok(());
        }
        Act::Closed => return Ok(()),
    };
    stream.write_all(head.as_bytes())?;
    match act {
        Act::Stall(length) => {
            stream.write_all(&body[..length.min(body.len())])?;
            stream.flush()?;
            std::thread::sleep(Duration::from_secs(60));
        }
        Act::Slow(length, pause) => {
            for block in body.chunks(length) {
                stream.write_all(block)?;
                stream.flush()?;
                std::thread::sleep(pause);
            }
        }
        Act::Chunked(length) => {
            for chunk in body.chunks(length) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        _ => stream.write_all(body)?,
    }
    stream.flush()
}

/// A file of so many bytes in which no two places are alike, and its SHA-256.
pub fn file_of(length: usize) -> (Vec<u8>, String) {
    use sha2::{Digest, Sha256};
    let mut state = 1_u32;
    let mut next = || {
        // Knuth's linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..length).map(|_| next()).collect();
    let digits = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, digits)
}
