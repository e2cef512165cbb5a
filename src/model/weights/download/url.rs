//! Addresses of files.

use std::fmt;

/// An address `http://…` or `https://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// Without the brackets around an address of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query.
    pub(super) path: String,
}

impl Url {
    /// The parts of an address, or why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("spaces and letters outside ASCII are written with %");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it must begin with https:// or http://"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if place.contains('@') {
            return Err("names and passwords are not supported");
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => return Err("a bracket is not closed"),
            },
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err("it names no server");
        }
        let port = match port.filter(|port| !port.is_empty()).map(str::parse) {
            None => default_port(secure),
            Some(Ok(port)) => port,
            Some(Err(_)) => return Err("its port is not a number up to 65535"),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a redirect leads from here.
    pub(super) fn join(&self, location: &str) -> Result<Self, &'static str> {
        let scheme = if self.secure { "https" } else { "http" };
        // A colon before the first slash ends a scheme.
        if location.split(['/', '?', '#']).next().unwrap_or_default().contains(':') {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let folder = match location.as_bytes().first() {
                Some(b'/') => "",
                Some(b'?') => path,
                _ => &path[..=path.rfind('/').unwrap_or(0)],
            };
            Self::parse(&format!("{scheme}://{}{folder}{location}", self.authority()))
        }
    }

    /// The server, with its port if that is not the usual one.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether the server is this machine, which no proxy stands before.
    pub(super) fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_server_a_port_and_a_path() {
        for (text, secure, host, port, path) in [
            ("https://a.example/b/c?d=e#f", true, "a.example", 443, "/b/c?d=e"),
            ("HTTP://A.Example", false, "a.example", 80, "/"),
            ("http://[::1]:8080/x", false, "::1", 8080, "/x"),
            ("https://a.example:?x", true, "a.example", 443, "/?x"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.secure, url.host.as_str(), url.port, url.path.as_str()),
                (secure, host, port, path)
            );
            assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
        }
        for wrong in [
            "ftp://a/b",
            "a.example/b",
            "https://",
            "https:///b",
            "https://a b/",
            "https://ä.example/",
            "https://me:secret@a/b",
            "https://a:70000/",
            "https://a:b/",
            "https://[::1/",
            "",
            "https://a/b\r\nHost: c",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_redirect_may_be_relative() {
        let from = Url::parse("https://a.example:8443/models/main/net.bin?download=1").unwrap();
        for (location, to) in [
            ("http://b.example/c", "http://b.example/c"),
            ("//b.example/c", "https://b.example/c"),
            ("/c?d", "https://a.example:8443/c?d"),
            ("c", "https://a.example:8443/models/main/c"),
            ("?c", "https://a.example:8443/models/main/net.bin?c"),
            ("c?at=12:30", "https://a.example:8443/models/main/c?at=12:30"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to, "{location}");
        }
        assert!(from.join("ftp://b.example/").is_err());
    }
}
