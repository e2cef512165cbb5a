//! `vis fetch` over TLS and through proxies.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::file_server::{Act, Server, file_of};
use crate::{Place, text};

fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls")
}

/// A server that speaks TLS as `localhost`, `127.0.0.1` and `weights.example`, and as a proxy that opens a tunnel to itself.
/// It gives every request the same answer.
struct Secure {
    port: u16,
    /// The first line of everything that it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Secure {
    fn new(answer: Vec<u8>) -> Self {
        let folder = certificates();
        let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that does not trust the server ends the connection.
                let _ = answer_to(stream.unwrap(), &config, &answer, &notes);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer_to(
    mut stream: TcpStream,
    config: &Arc<ServerConfig>,
    answer: &[u8],
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    if first == *b"C" {
        let head = head_of(&mut stream)?;
        asked.lock().unwrap().push(head);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")?;
    }
    let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let head = head_of(&mut stream)?;
    asked.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
    stream.write_all(answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn head_of(stream: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The answer that has this file.
fn with(file: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len()).as_bytes(), file].concat()
}

/// Fetches a URL into `net.bin` with more of an environment.
fn fetch(place: &Place, url: &str, sha256: &str, environment: &[(&str, String)]) -> Output {
    let mut command = place.command(&format!("fetch {url} -o net.bin --sha256 {sha256} --timeout 5"));
    command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap()
}

fn trusting() -> (&'static str, String) {
    ("SSL_CERT_FILE", certificates().join("authority.pem").display().to_string())
}

#[test]
fn a_server_that_is_trusted_is_asked_over_tls() {
    let (file, sha256) = file_of(200_000);
    for host in ["localhost", "127.0.0.1"] {
        let (place, server) = (Place::new(), Secure::new(with(&file)));
        let output =
            fetch(&place, &format!("https://{host}:{}/net.bin?a=b", server.port), &sha256, &[trusting()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(std::fs::read(place.path("net.bin")).unwrap() == file);
        assert_eq!(server.asked(), ["GET /net.bin?a=b HTTP/1.1"]);
    }
}

#[test]
fn a_server_that_is_not_trusted_or_is_another_is_refused_at_once() {
    let (file, sha256) = file_of(1_000);
    let (place, server) = (Place::new(), Secure::new(with(&file)));
    let url = format!("https://localhost:{}/net.bin", server.port);
    let broken = place.path("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let missing = place.path("missing.pem");
    let proxy = ("https_proxy", format!("127.0.0.1:{}", server.port));
    for (url, environment, words) in [
        (url.clone(), vec![], "UnknownIssuer"),
        ("https://other.example/net.bin".to_owned(), vec![trusting(), proxy], "other.example"),
        (
            url.clone(),
            vec![("SSL_CERT_FILE", broken.display().to_string())],
            "broken.pem, which SSL_CERT_FILE names",
        ),
        (
            url.clone(),
            vec![("SSL_CERT_FILE", missing.display().to_string())],
            "missing.pem, which SSL_CERT_FILE names",
        ),
    ] {
        let output = fetch(&place, &url, &sha256, &environment);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(words) && !error.contains("times in a row"), "{words}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let asked = server.asked();
    assert!(asked.iter().all(|line| line.starts_with("CONNECT other.example:443 ")), "{asked:?}");
}

#[test]
fn a_redirect_does_not_lead_out_of_encryption() {
    let (file, sha256) = file_of(1_000);
    let plain = Server::new(&file, &[Act::Right]);
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", plain.url());
    let (place, server) = (Place::new(), Secure::new(answer.into_bytes()));
    let output = fetch(&place, &format!("https://localhost:{}/net.bin", server.port), &sha256, &[trusting()]);
    let error = text(&output.stderr);
    assert!(error.contains("which is not encrypted") && output.status.code() == Some(1), "{error}");
    assert_eq!(plain.requests(), []);
}

#[test]
fn a_proxy_passes_on_what_is_encrypted_and_asks_itself_for_what_is_not() {
    let (file, sha256) = file_of(50_000);
    let (place, server) = (Place::new(), Secure::new(with(&file)));
    let proxy = ("https_proxy", format!("http://me:secret@127.0.0.1:{}", server.port));
    let output = fetch(&place, "https://weights.example/net.bin", &sha256, &[trusting(), proxy.clone()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // `me:secret`, by the command base64.
    let tunnel = "CONNECT weights.example:443 HTTP/1.1\r\nHost: weights.example:443\r\n\
                  Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    assert_eq!(server.asked(), [tunnel, "GET /net.bin HTTP/1.1"]);

    let (place, plain) = (Place::new(), Server::new(&file, &[Act::Cut(10_000), Act::Right]));
    let output =
        fetch(&place, "http://weights.example/net.bin", &sha256, &[("HTTP_PROXY", plain.endpoint())]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(plain.starts(), [0, 10_000]);
    assert_eq!(plain.requests()[0].what, "GET http://weights.example/net.bin");

    // A proxy that does not let it through.
    let (place, closed) = (Place::new(), Server::new(&file, &[Act::Status(407)]));
    let output =
        fetch(&place, "https://weights.example/net.bin", &sha256, &[("https_proxy", closed.endpoint())]);
    let error = text(&output.stderr);
    assert!(error.contains("it says `HTTP/1.1 407 As Told`") && error.lines().count() == 1, "{error}");
}
