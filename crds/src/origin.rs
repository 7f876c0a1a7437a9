//! Origins of pages as people list them, after [RFC 6454](https://www.rfc-editor.org/rfc/rfc6454): what a browser names
//! in the Origin field of a handshake.

use std::fmt;

use serde::{Serialize, Serializer};

/// The origins that a browser may name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The host that the request is for.
    SameHost,
    /// `null`: what has no origin that can be named, such as a file or a sandboxed frame.
    Null,
    /// A scheme, a host and a port.
    Of {
        /// In lower case.
        scheme: String,
        /// In lower case. `*` stands for one or more characters of one of its labels.
        host: String,
        /// Its port.
        port: Port,
    },
}

/// The port of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// This one. Where none is written, the one that the scheme stands for, if there is such.
    Exactly(Option<u16>),
    /// Any, written `*`.
    Any,
}

/// The word for [`Origin::SameHost`].
pub const SAME_HOST: &str = "SameHost";

impl Origin {
    /// Reads an origin as it is listed.
    pub fn read(text: &str) -> Option<Self> {
        match text {
            SAME_HOST => return Some(Self::SameHost),
            "null" => return Some(Self::Null),
            _ => {}
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").filter(|(scheme, _)| is_scheme(scheme))?;
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, "*")) => (host, Port::Any),
            Some((host, digits)) => (host, Port::Exactly(Some(number(digits)?))),
            None => (rest, Port::Exactly(default_port(scheme))),
        };
        is_host(host).then(|| Self::Of { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str(SAME_HOST),
            Self::Null => f.write_str("null"),
            Self::Of { scheme, host, port: Port::Any } => write!(f, "{scheme}://{host}:*"),
            Self::Of { scheme, host, port: Port::Exactly(port) } if *port == default_port(scheme) => {
                write!(f, "{scheme}://{host}")
            }
            Self::Of { scheme, host, port: Port::Exactly(port) } => {
                write!(f, "{scheme}://{host}:{}", port.unwrap_or_default())
            }
        }
    }
}

/// As it is written.
impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The port that goes without saying.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

fn is_scheme(text: &str) -> bool {
    let further = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(further)
}

/// Labels with dots, `*` among their characters; or an IPv6 address in brackets. Apps use names of their own.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(byte))
}

fn number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_they_are_listed() {
        let of = |scheme: &str, host: &str, port| {
            Some(Origin::Of { scheme: scheme.into(), host: host.into(), port })
        };
        for (text, read) in [
            ("SameHost", Some(Origin::SameHost)),
            ("null", Some(Origin::Null)),
            ("https://chat.example.com", of("https", "chat.example.com", Port::Exactly(Some(443)))),
            ("HTTPS://Chat.Example.com:443", of("https", "chat.example.com", Port::Exactly(Some(443)))),
            ("http://a:8080", of("http", "a", Port::Exactly(Some(8080)))),
            ("http://localhost:*", of("http", "localhost", Port::Any)),
            ("https://*.example.com", of("https", "*.example.com", Port::Exactly(Some(443)))),
            ("https://preview-*.a.b:*", of("https", "preview-*.a.b", Port::Any)),
            ("http://[::1]", of("http", "[::1]", Port::Exactly(Some(80)))),
            ("http://[::1]:81", of("http", "[::1]", Port::Exactly(Some(81)))),
            ("chrome-extension://abcdef", of("chrome-extension", "abcdef", Port::Exactly(None))),
        ] {
            assert_eq!(Origin::read(text), read, "{text}");
            assert_eq!(read.as_ref().and_then(|origin| Origin::read(&origin.to_string())), read, "{text}");
        }
        for text in [
            "",
            "*",
            "samehost",
            "NULL",
            "chat.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a b",
            "https://a:",
            "https://a:0",
            "https://a:080",
            "https://a:65536",
            "https://a:+1",
            "https://a..b",
            "://a",
            "1http://a",
            "https://[::1",
            "https://::1",
            "https://user@a",
            "*://a",
            "https://é",
            "https://a?b",
        ] {
            assert_eq!(Origin::read(text), None, "{text}");
        }
    }
}
