//! A request for a file over HTTP/1.1, and the answer.
//!
//! No more of the protocol than files need: GET, from a byte on, with redirects, over TLS, through a proxy.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::body::{Body, Framing, line, malformed};
use super::proxy::Proxy;
use super::url::Url;

/// More redirects than this are a loop.
const MOST_REDIRECTS: usize = 10;
/// A longer head than this is that of no file.
pub(super) const LONGEST_HEAD: u64 = 64 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may be gone in a moment.
    Passing(String),
    /// It will be the same again.
    Lasting(String),
}

/// The head of an answer, and its body to be read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// What the server calls the status.
    pub(super) reason: String,
    headers: Vec<(String, String)>,
    body: Body,
}

/// Asks for a file, from a byte on; follows redirects.
pub(super) fn get(url: &Url, from: u64, timeout: Duration) -> Result<Answer, Fault> {
    let mut url = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        let answer = get_once(&url, from, timeout)?;
        let Some(location) = answer.redirects_to() else { return Ok(answer) };
        let astray = |why| Fault::Lasting(format!("it is redirected to `{location}`: {why}"));
        let next = url.join(location).map_err(astray)?;
        if url.secure && !next.secure {
            return Err(Fault::Lasting(format!("it is redirected to {next}, which is not encrypted")));
        }
        url = next;
    }
    Err(Fault::Lasting(format!("it is redirected more than {MOST_REDIRECTS} times, the last time to {url}")))
}

fn get_once(url: &Url, from: u64, timeout: Duration) -> Result<Answer, Fault> {
    let proxy = Proxy::for_url(url, &|name| std::env::var(name).ok()).map_err(Fault::Lasting)?;
    let failed = |what: &str, error: io::Error| {
        let why = match error.kind() {
            // Unix has one of these for a time that is over, Windows the other.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{what} said nothing for {} s", timeout.as_secs_f64())
            }
            _ => format!("{what} can't be reached: {error}"),
        };
        // A certificate that is not trusted stays so.
        if error.kind() == io::ErrorKind::InvalidData { Fault::Lasting(why) } else { Fault::Passing(why) }
    };
    let authority = url.authority();
    let (host, port, way) = match &proxy {
        Some(proxy) => (proxy.host.as_str(), proxy.port, format!("the proxy {}:{}", proxy.host, proxy.port)),
        None => (url.host.as_str(), url.port, authority.clone()),
    };
    let socket = connect(host, port, timeout).map_err(|error| failed(&way, error))?;
    let authorization = proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
    let authorization =
        authorization.map_or(String::new(), |value| format!("Proxy-Authorization: {value}\r\n"));
    let tunnelled = proxy.is_some() && url.secure;
    if tunnelled {
        open_tunnel(&socket, url, &authorization).map_err(|error| failed(&way, error))?;
    }
    let target = if proxy.is_some() && !tunnelled { url.to_string() } else { url.path.clone() };
    let range = if from > 0 { format!("Range: bytes={from}-\r\n") } else { String::new() };
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: vis/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n{range}{}Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        if tunnelled { "" } else { &authorization },
    );
    let mut stream: Box<dyn Stream> = if url.secure {
        Box::new(encrypted(socket, &url.host).map_err(|error| failed(&authority, error))?)
    } else {
        Box::new(socket)
    };
    let answer = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
    answer.and_then(|()| Answer::read(BufReader::new(stream))).map_err(|error| failed(&authority, error))
}

pub(super) trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection to the first address that takes one.
fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut refused = io::Error::other("it has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => {
                socket.set_read_timeout(Some(timeout))?;
                socket.set_write_timeout(Some(timeout))?;
                return Ok(socket);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Has a proxy pass on everything to the server.
fn open_tunnel(mut socket: &TcpStream, url: &Url, authorization: &str) -> io::Result<()> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let place = format!("{host}:{}", url.port);
    write!(socket, "CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{authorization}\r\n")?;
    // Byte by byte: what follows the head is no longer ours.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() as u64 > LONGEST_HEAD {
            return Err(io::Error::other("its answer has no end"));
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    let accepted = line.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
    if accepted { Ok(()) } else { Err(io::Error::other(format!("it says `{line}`"))) }
}

/// Encrypts a connection, once the server has shown that it is the one it should be: by the certificates that Mozilla
/// trusts, and those in the file that `SSL_CERT_FILE` names.
fn encrypted(socket: TcpStream, host: &str) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let unreadable = |error: &dyn std::fmt::Display| {
            let name = path.display();
            invalid(format!("the certificates in {name}, which SSL_CERT_FILE names, can't be read: {error}"))
        };
        for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| invalid(error.to_string()))?;
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| invalid(error.to_string()))?;
    Ok(StreamOwned::new(connection, socket))
}

impl Answer {
    fn read(mut stream: BufReader<Box<dyn Stream>>) -> io::Result<Self> {
        loop {
            let mut head = (&mut stream).take(LONGEST_HEAD);
            let (status, reason) = status_of(&line(&mut head)?)?;
            let mut headers = Vec::new();
            loop {
                let line = line(&mut head)?;
                if line.is_empty() {
                    break;
                }
                let (name, value) =
                    line.split_once(':').ok_or_else(|| malformed("a header without a colon"))?;
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            // News on the way to the answer.
            if !(100..200).contains(&status) {
                let framing = Framing::of(&headers)?;
                return Ok(Self { status, reason, headers, body: Body { stream, framing } });
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn redirects_to(&self) -> Option<&str> {
        if matches!(self.status, 301 | 302 | 303 | 307 | 308) { self.header("location") } else { None }
    }

    /// The first byte and the length of the whole file, as far as `Content-Range: bytes FIRST-LAST/LENGTH` says them.
    pub(super) fn range(&self) -> Option<(u64, Option<u64>)> {
        let (range, length) = self.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some((first.trim().parse().ok()?, length.trim().parse().ok()))
    }

    /// The length of the body, if the server says it.
    pub(super) fn length(&self) -> Option<u64> {
        match self.body.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunks { .. } | Framing::Close => None,
        }
    }
}

impl Answer {
    /// Whether a body that is cut off is told from one that ends.
    pub(super) fn says_its_end(&self) -> bool {
        self.body.framing != Framing::Close
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

fn status_of(line: &str) -> io::Result<(u16, String)> {
    let mut words = line.splitn(3, ' ');
    let status = match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => status.parse().ok(),
        _ => None,
    };
    let status = status.ok_or_else(|| malformed("a first line without a status"))?;
    Ok((status, words.next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection on which a server has said this.
    struct Said(&'static [u8]);

    impl Read for Said {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // Few bytes at a time, as networks have it.
            let most = buffer.len().min(3);
            self.0.read(&mut buffer[..most])
        }
    }

    impl Write for Said {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn body_of(said: &'static str) -> io::Result<(u16, String)> {
        let mut answer = Answer::read(BufReader::new(Box::new(Said(said.as_bytes()))))?;
        let mut body = String::new();
        answer.read_to_string(&mut body)?;
        Ok((answer.status, body))
    }

    #[test]
    fn a_body_ends_by_its_length_its_chunks_or_the_connection() {
        for (said, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", "hello"),
            ("HTTP/1.1 200\r\ncontent-length:0\r\n\r\nmore", ""),
            ("HTTP/1.0 200 OK\n\nuntil the end", "until the end"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nC\r\n and goodbye\r\n0\r\nX: y\r\n\r\nmore",
                "hello and goodbye",
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "ok",
            ),
        ] {
            assert_eq!(body_of(said).unwrap(), (200, body.to_owned()), "{said}");
        }
    }

    #[test]
    fn what_ends_too_early_or_is_not_http_is_an_error() {
        for said in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 5",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello and\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
        ] {
            assert!(body_of(said).is_err(), "{said}");
        }
        let endless = Box::leak("HTTP/1.1 200 OK\r\nX: ".to_owned().into_boxed_str());
        let endless: &'static str = Box::leak((endless.to_owned() + &"y".repeat(100_000)).into_boxed_str());
        assert!(body_of(endless).is_err());
    }

    #[test]
    fn a_range_says_where_it_begins_and_how_long_the_file_is() {
        let range = |said: &'static str| {
            Answer::read(BufReader::new(Box::new(Said(said.as_bytes())))).unwrap().range()
        };
        assert_eq!(range("HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/20\r\n\r\n"), Some((5, Some(20))));
        assert_eq!(range("HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/*\r\n\r\n"), Some((5, None)));
        assert_eq!(range("HTTP/1.1 206 P\r\nContent-Range: lines 5-9/20\r\n\r\n"), None);
        assert_eq!(range("HTTP/1.1 206 P\r\n\r\n"), None);
    }
}
