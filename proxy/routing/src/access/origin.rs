//! Origins as browsers send them, compared with those that are listed.

use snapshot::{OriginMatch, OriginPort};

use crate::Request;
use crate::text::authority;

/// No scheme, host name and port are longer together.
const LONGEST: usize = 512;

/// The origins of a list.
#[derive(Debug)]
pub(super) struct Origins {
    same_host: bool,
    null: bool,
    /// Sorted.
    exact: Vec<Origin>,
    globs: Vec<Glob>,
}

/// Who a page belongs to. The port is the one that the scheme stands for where none is written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// Origins that look alike.
#[derive(Debug)]
struct Glob {
    scheme: String,
    /// Each with `*` for one or more characters.
    labels: Vec<String>,
    port: OriginPort,
}

impl Origins {
    pub(super) fn new(listed: Vec<OriginMatch>) -> Self {
        let mut origins = Self { same_host: false, null: false, exact: Vec::new(), globs: Vec::new() };
        for origin in listed {
            match origin {
                OriginMatch::SameHost => origins.same_host = true,
                OriginMatch::Null => origins.null = true,
                OriginMatch::Of { scheme, host, port: OriginPort::Exactly(port) } if !host.contains('*') => {
                    origins.exact.push(Origin { scheme, host, port });
                }
                OriginMatch::Of { scheme, host, port } => {
                    let labels = host.split('.').map(str::to_owned).collect();
                    origins.globs.push(Glob { scheme, labels, port });
                }
            }
        }
        origins.exact.sort();
        origins
    }

    /// Whether a handshake is let through. Without an Origin it comes from no page; with several, or with one that is
    /// none, from somebody who has something in mind.
    pub(super) fn fit(&self, handshake: &impl Request) -> bool {
        let mut lines = handshake.lines("origin");
        match (lines.next(), lines.next()) {
            (None, _) => true,
            (Some(b"null"), None) => self.null,
            (Some(written), None) => {
                Origin::parse(written).is_some_and(|origin| self.has(&origin, handshake))
            }
            (Some(_), Some(_)) => false,
        }
    }

    fn has(&self, origin: &Origin, handshake: &impl Request) -> bool {
        (self.same_host && origin.is_of(handshake))
            || self.exact.binary_search(origin).is_ok()
            || self.globs.iter().any(|glob| glob.fits(origin))
    }
}

impl Origin {
    /// As RFC 6454 §6.2 serialises it.
    fn parse(written: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(written).ok().filter(|text| text.len() <= LONGEST)?;
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority(rest.as_bytes())?;
        let port = authority.port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host: authority.host, port })
    }

    /// Whether it is the host and port that a request names. Where that names no port, it is the one that goes without
    /// saying, and so it must be here. The scheme may differ: TLS may end in front of us.
    fn is_of(&self, request: &impl Request) -> bool {
        let named = authority(request.authority().as_bytes()).and_then(|authority| authority.port);
        self.host == request.host() && self.port == named.or_else(|| default_port(&self.scheme))
    }
}

impl Glob {
    fn fits(&self, origin: &Origin) -> bool {
        let port = match self.port {
            OriginPort::Exactly(port) => port == origin.port,
            OriginPort::Any => true,
        };
        let mut labels = origin.host.split('.');
        let fit =
            self.labels.iter().all(|wanted| labels.next().is_some_and(|label| resembles(label, wanted)));
        port && self.scheme == origin.scheme && fit && labels.next().is_none()
    }
}

/// Whether a label is what a pattern says. Every part between two `*` is taken at its first place, which leaves the
/// most for the others; the last one stands at the end.
fn resembles(label: &str, pattern: &str) -> bool {
    let Some((first, behind)) = pattern.split_once('*') else { return label == pattern };
    let Some(mut rest) = label.strip_prefix(first) else { return false };
    let mut parts = behind.split('*').peekable();
    while let Some(part) = parts.next() {
        // The star itself takes one at least. Labels are ASCII.
        let Some(after) = rest.get(1..) else { return false };
        if parts.peek().is_none() {
            return after.ends_with(part);
        }
        match after.find(part) {
            Some(at) => rest = &after[at + part.len()..],
            None => return false,
        }
    }
    false
}

/// The port that goes without saying.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Sketch;

    fn handshake(host: &str, lines: &str) -> Sketch {
        Sketch::of(host, "/", lines)
    }

    fn of(scheme: &str, host: &str, port: OriginPort) -> OriginMatch {
        OriginMatch::Of { scheme: scheme.to_owned(), host: host.to_owned(), port }
    }

    const TLS: OriginPort = OriginPort::Exactly(Some(443));

    fn fits(listed: &[OriginMatch], origin: &str) -> bool {
        Origins::new(listed.to_vec()).fit(&handshake("chat.test", &format!("Origin: {origin}\r\n")))
    }

    #[test]
    fn an_origin_is_compared_as_a_whole() {
        let exact = [of("https", "chat.test", TLS), of("http", "[::1]", OriginPort::Exactly(Some(81)))];
        for (origin, fit) in [
            ("https://chat.test", true),
            ("https://chat.test:443", true),
            ("HTTPS://Chat.Test", true),
            ("https://chat.test:8443", false),
            ("https://chat.test:80", false),
            ("http://chat.test", false),
            ("http://chat.test:443", false),
            ("wss://chat.test", false),
            ("https://a.chat.test", false),
            ("https://chat.test.evil.test", false),
            ("https://evil.test/https://chat.test", false),
            ("https://chat.test@evil.test", false),
            ("https://evil.test#chat.test", false),
            ("chat.test", false),
            ("//chat.test", false),
            ("null", false),
            ("", false),
            ("https://", false),
            ("http://[::1]:81", true),
            ("http://[::1]", false),
        ] {
            assert_eq!(fits(&exact, origin), fit, "{origin}");
        }
        assert!(!fits(&exact, &format!("https://chat.test{}", ":".repeat(600))));
    }

    #[test]
    fn null_only_where_it_is_listed() {
        assert!(fits(&[OriginMatch::Null], "null"));
        assert!(!fits(&[OriginMatch::Null], "Null"));
        assert!(!fits(&[OriginMatch::SameHost, of("https", "*", OriginPort::Any)], "null"));
    }

    #[test]
    fn a_handshake_of_no_page_is_let_in_one_of_two_is_not() {
        let origins = Origins::new(vec![of("https", "chat.test", TLS)]);
        assert!(origins.fit(&handshake("chat.test", "")));
        let twice = "Origin: https://chat.test\r\nOrigin: https://chat.test\r\n";
        assert!(!origins.fit(&handshake("chat.test", twice)));
        assert!(!origins.fit(&handshake("chat.test", "Origin: https://chat.test, https://chat.test\r\n")));
        assert!(!origins.fit(&handshake("chat.test", "Origin: https://chat.test https://chat.test\r\n")));
    }

    #[test]
    fn the_same_host_is_that_of_the_request_with_its_port() {
        let same = Origins::new(vec![OriginMatch::SameHost]);
        for (host, origin, fit) in [
            ("chat.test", "https://chat.test", true),
            ("chat.test", "http://chat.test", true),
            ("Chat.test.", "https://chat.test:443", true),
            ("chat.test:443", "https://chat.test", true),
            ("chat.test:8443", "https://chat.test:8443", true),
            ("chat.test:8443", "https://chat.test", false),
            ("chat.test", "https://chat.test:8443", false),
            ("chat.test", "http://chat.test:443", false),
            ("chat.test", "https://evil.test", false),
            ("[::1]:81", "http://[::1]:81", true),
        ] {
            let lines = format!("Origin: {origin}\r\n");
            assert_eq!(same.fit(&handshake(host, &lines)), fit, "{host} {origin}");
        }
    }

    #[test]
    fn a_star_is_some_of_one_label_or_any_port() {
        for (host, port, origin, fit) in [
            ("*.chat.test", TLS, "https://a.chat.test", true),
            ("*.chat.test", TLS, "https://a.chat.test:443", true),
            ("*.chat.test", TLS, "https://a.chat.test:8443", false),
            ("*.chat.test", TLS, "http://a.chat.test", false),
            ("*.chat.test", TLS, "https://chat.test", false),
            ("*.chat.test", TLS, "https://a.b.chat.test", false),
            ("*.chat.test", TLS, "https://evilchat.test", false),
            ("*.chat.test", TLS, "https://a.chat.test.evil.test", false),
            ("*.*.chat.test", TLS, "https://a.b.chat.test", true),
            ("pr-*.test", TLS, "https://pr-12.test", true),
            ("pr-*.test", TLS, "https://pr-.test", false),
            ("a*b*c.test", TLS, "https://a1b2c.test", true),
            ("a*b*c.test", TLS, "https://abbbc.test", true),
            ("a*b*c.test", TLS, "https://abc.test", false),
            ("localhost", OriginPort::Any, "https://localhost:3000", true),
            ("localhost", OriginPort::Any, "https://localhost", true),
            ("*", TLS, "https://localhost", true),
            ("*", TLS, "https://a.test", false),
        ] {
            assert_eq!(fits(&[of("https", host, port)], origin), fit, "{host} {origin}");
        }
    }

    /// What a star stands for, tried out.
    fn tried(label: &[u8], pattern: &[u8]) -> bool {
        match pattern {
            [] => label.is_empty(),
            [b'*', rest @ ..] => (1..=label.len()).any(|taken| tried(&label[taken..], rest)),
            [byte, rest @ ..] => label.first() == Some(byte) && tried(&label[1..], rest),
        }
    }

    proptest! {
        #[test]
        fn a_label_resembles_what_some_choice_makes_of_the_pattern(label in "[ab]{0,8}", pattern in "[ab*]{0,6}") {
            prop_assert_eq!(resembles(&label, &pattern), tried(label.as_bytes(), pattern.as_bytes()));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Origin::parse(&bytes);
            let _ = Origin::parse(&[b"https://", &bytes[..]].concat());
        }
    }
}
