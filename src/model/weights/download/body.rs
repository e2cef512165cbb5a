//! The body of an answer, and what ends it.

use std::io::{self, BufRead, BufReader, Read};

use super::http::{LONGEST_HEAD, Stream};

/// What ends a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The bytes that are left.
    Length(u64),
    /// Chunks that say how long they are: the bytes that are left of this one.
    Chunks { left: u64, first: bool, ended: bool },
    /// The end of the connection.
    Close,
}

impl Framing {
    pub(super) fn of(headers: &[(String, String)]) -> io::Result<Self> {
        let all = |name: &'static str| headers.iter().filter(move |(other, _)| other == name);
        if let Some((_, coding)) = all("transfer-encoding").next() {
            return if coding.eq_ignore_ascii_case("chunked") {
                Ok(Self::Chunks { left: 0, first: true, ended: false })
            } else {
                Err(malformed(&format!("a body as `{coding}`")))
            };
        }
        let mut lengths = all("content-length").map(|(_, length)| length.parse::<u64>());
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(Self::Close),
            (Some(Ok(length)), None) => Ok(Self::Length(length)),
            _ => Err(malformed("a length that is no number")),
        }
    }
}

pub(super) struct Body {
    pub(super) stream: BufReader<Box<dyn Stream>>,
    pub(super) framing: Framing,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunks { left: left @ 0, first, ended: ended @ false } = &mut self.framing {
            (*left, *ended) = next_chunk(&mut (&mut self.stream).take(LONGEST_HEAD), *first)?;
            *first = false;
        }
        let left = match &mut self.framing {
            Framing::Close => return self.stream.read(buffer),
            Framing::Length(left) | Framing::Chunks { left, .. } => left,
        };
        let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended too early"));
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// The length of the chunk that begins here, and whether it is the end.
fn next_chunk(stream: &mut impl BufRead, first: bool) -> io::Result<(u64, bool)> {
    if !first && !line(stream)?.is_empty() {
        return Err(malformed("a chunk that is longer than it says"));
    }
    let size = line(stream)?;
    let digits = size.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk without a length"))?;
    if size == 0 {
        // What follows the last chunk is read over.
        while !line(stream)?.is_empty() {}
    }
    Ok((size, size == 0))
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::other(format!("it sends {what}, which is not HTTP"))
}

/// A line without its end.
pub(super) fn line(head: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    head.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends the connection before its answer"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
