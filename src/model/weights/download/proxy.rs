//! The proxy that the environment names for an address.

use super::url::Url;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

impl Proxy {
    /// As most programs read them: `https_proxy`, `http_proxy` and `all_proxy`, and `no_proxy` with servers for which
    /// there is none; each in capitals as well. None stands before this machine itself.
    pub(super) fn for_url(
        url: &Url,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let either = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let own = either(if url.secure { "https_proxy" } else { "http_proxy" });
        let Some(named) = own.or_else(|| either("all_proxy")) else { return Ok(None) };
        let is_excepted = |entry: &str| {
            let entry = entry.trim().trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
            let name = entry.split_once(':').map_or(entry.as_str(), |(name, _)| name);
            let below = url.host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
            entry == "*" || (!name.is_empty() && (url.host == name || below))
        };
        if url.is_local() || either("no_proxy").is_some_and(|list| list.split(',').any(is_excepted)) {
            return Ok(None);
        }
        Self::parse(&named).map(Some)
    }

    fn parse(named: &str) -> Result<Self, String> {
        let rest = match named.split_once("://") {
            None => named,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                return Err(format!("the proxy is one of {scheme}, and only those of http are supported"));
            }
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        // Not the text itself, which may hold a password.
        let Url { host, port, .. } = Url::parse(&format!("http://{place}"))
            .map_err(|_| "the proxy in the environment is not an address".to_owned())?;
        let authorization = credentials.map(|text| format!("Basic {}", base64(&decoded(text))));
        Ok(Self { host, port, authorization })
    }
}

/// A text in which bytes are written as `%` and two digits.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    fn for_url(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let value = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Proxy::for_url(&Url::parse(url).unwrap(), &value)
    }

    #[test]
    fn the_environment_names_the_proxy_of_an_address() {
        let host =
            |url: &str, variables: &[(&str, &str)]| for_url(url, variables).unwrap().map(|proxy| proxy.host);
        let both =
            [("https_proxy", "http://secure:8080/"), ("HTTP_PROXY", "plain:3128"), ("ALL_PROXY", "any:1")];
        assert_eq!(host("https://a.example/", &both).as_deref(), Some("secure"));
        assert_eq!(host("http://a.example/", &both).as_deref(), Some("plain"));
        assert_eq!(host("http://a.example/", &both[2..]).as_deref(), Some("any"));
        assert_eq!(host("http://a.example/", &[("http_proxy", " ")]), None);
        for local in ["http://localhost/", "http://127.0.0.1:80/", "http://[::1]/"] {
            assert_eq!(host(local, &both), None);
        }
        for (list, excepted) in [
            ("a.example", true),
            ("b, .example", true),
            ("*.example", true),
            ("*", true),
            ("ample,le,,a.example.org", false),
        ] {
            let variables = [both[0], ("NO_PROXY", list)];
            assert_eq!(host("https://a.example/", &variables).is_none(), excepted, "{list}");
        }
    }

    #[test]
    fn a_proxy_may_want_a_name_and_a_password() {
        let proxy =
            for_url("https://a/", &[("https_proxy", "http://me:p%40ss@proxy:8080")]).unwrap().unwrap();
        // `me:p@ss`, by the command base64.
        let authorization = Some("Basic bWU6cEBzcw==".to_owned());
        assert_eq!(proxy, Proxy { host: "proxy".into(), port: 8080, authorization });
        assert!(for_url("https://a/", &[("https_proxy", "socks5://proxy:1080")]).is_err());
        let secret = for_url("https://a/", &[("https_proxy", "http://me:secret@pro xy")]).unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
    }
}
