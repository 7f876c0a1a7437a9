//! Small grammars of single values: names of request fields, paths, hosts. Each one has a regular expression for
//! schemas, a function that says the same, and words for people.
//!
//! Durations and sizes have modules of their own.

/// A form that a text must have.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// As a regular expression that Go, ECMAScript and Rust read alike.
    pub pattern: &'static str,
    /// In words, to follow "write".
    pub words: &'static str,
    holds: fn(&str) -> bool,
}

impl Grammar {
    /// Whether a text has this form. Lengths are the schema's business.
    pub fn holds(&self, text: &str) -> bool {
        (self.holds)(text)
    }
}

/// A token of RFC 9110, section 5.6.2: names of request fields and of cookies, WebSocket subprotocols.
pub const TOKEN: Grammar = Grammar {
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$",
    words: "letters, digits and any of !#$%&'*+-.^_`|~, without spaces",
    holds: |text| !text.is_empty() && text.bytes().all(token_byte),
};

/// What a request field may hold: RFC 9110, section 5.5, on one line.
pub const FIELD_VALUE: Grammar = Grammar {
    pattern: r"^[^\x00-\x08\x0a-\x1f\x7f]*$",
    words: "one line without control characters",
    holds: |text| text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()),
};

/// The name of a query parameter, decoded.
pub const PARAMETER: Grammar = Grammar {
    pattern: r"^[^\x00-\x1f\x7f]+$",
    words: "one line without control characters, and not empty",
    holds: |text| !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control()),
};

/// A path that requests are compared with.
pub const PATH: Grammar = Grammar {
    pattern: r"^/[^?#\x00-\x20\x7f]*$",
    words: "a path that begins with /, without ?, # and spaces",
    holds: |text| {
        text.starts_with('/')
            && !text.contains(|c: char| matches!(c, '?' | '#' | ' ') || c.is_ascii_control())
    },
};

/// A path that is sent: RFC 3986, section 3.3.
pub const SENT_PATH: Grammar = Grammar {
    pattern: "^/([-A-Za-z0-9._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$",
    words: "a path that begins with /, of letters, digits and -._~!$&'()*+,;=:@/, everything else as %XX",
    holds: |text| text.starts_with('/') && path_bytes(text.as_bytes()),
};

/// A host of a rule: DNS labels, the first of which may be `*`. In lower case, as Ingress and Gateway API want it.
pub const HOST: Grammar = Grammar {
    pattern: r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    words: "a DNS name in lower case, such as chat.example.com, or *. and a DNS name",
    holds: |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        name.split('.').all(label) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
    },
};

/// The name of a Service: RFC 1035, section 2.3.1.
pub const SERVICE: Grammar = Grammar {
    pattern: "^[a-z]([-a-z0-9]*[a-z0-9])?$",
    words: "letters, digits and dashes, beginning with a letter",
    holds: |text| {
        label(text)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.bytes().any(|byte| byte.is_ascii_uppercase())
    },
};

/// What a Host field may say: RFC 9110, section 7.2.
pub const AUTHORITY: Grammar = Grammar {
    pattern: concat!(
        r"^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*",
        r"|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?$"
    ),
    words: "a host name or address with or without a port, such as chat.internal or chat.internal:8080",
    holds: authority,
};

/// The name that a server's certificate is for: a DNS name, or an address of IPv4.
pub const SERVER_NAME: Grammar = Grammar {
    pattern: r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$",
    words: "a DNS name such as chat.internal, without a port",
    holds: |text| text.split('.').all(label),
};

/// A network of clients, or one address.
pub const NETWORK: Grammar = Grammar {
    pattern: concat!(
        r"^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
        r"(/(3[0-2]|[12]?[0-9]))?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
    ),
    words: "a CIDR or an address, such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
    holds: |text| crate::network::network(text).is_some(),
};

/// An origin of pages.
pub const ORIGIN: Grammar = Grammar {
    pattern: concat!(
        r"^(SameHost|null|[A-Za-z][-+.A-Za-z0-9]*://(\[[0-9A-Fa-f:.]+\]|[-_*A-Za-z0-9]+(\.[-_*A-Za-z0-9]+)*)",
        r"(:([1-9][0-9]{0,4}|\*))?)$"
    ),
    words: "an origin such as https://chat.example.com, https://*.example.com or http://localhost:8080, SameHost, or null",
    holds: |text| crate::origin::Origin::read(text).is_some(),
};

/// An origin whose pages may read responses: `*`, `null`, or scheme, host and perhaps a port, of which the host's first
/// label may be `*`.
pub const CORS_ORIGIN: Grammar = Grammar {
    pattern: concat!(
        r"^(\*|null|[A-Za-z][-+.A-Za-z0-9]*://(\*\.)?",
        r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*(:[1-9][0-9]{0,4})?)$"
    ),
    words: "an origin such as https://app.example.com, or https://*.example.com for one label, or *, or null",
    holds: cors_origin,
};

/// The path of a cookie: RFC 6265, section 4.1.1.
pub const COOKIE_PATH: Grammar = Grammar {
    pattern: "^/[!-:<-~]*$",
    words: "a path that begins with /, without spaces and ;",
    holds: |text| text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'),
};

/// The domain of a cookie: a DNS name, before which some write a dot.
pub const COOKIE_DOMAIN: Grammar = Grammar {
    pattern: r"^\.?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$",
    words: "a DNS name, such as example.com",
    holds: |text| text.strip_prefix('.').unwrap_or(text).split('.').all(label),
};

/// The address of a service: RFC 3986, without user information and fragment.
pub const URL: Grammar = Grammar {
    pattern: concat!(
        r"^https?://([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*",
        r"|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?([/?]([-A-Za-z0-9._~!&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?$"
    ),
    words: "an address such as http://auth.example.com:9000/check",
    holds: |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        rest.is_some_and(|rest| {
            let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let path = target.replace('?', "/");
            authority(host) && !target.contains('$') && path_bytes(path.as_bytes())
        })
    },
};

/// The name of a Service's port: `IANA_SVC_NAME`, RFC 6335, section 5.1. Its length (15) is the schema's business.
pub const PORT_NAME: Grammar = Grammar {
    pattern: "^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$",
    words: "a port from 1 to 65535, or its name: lower case letters, digits and single -, with a letter in it",
    holds: |text| {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        text.split('-').all(part) && text.bytes().any(|byte| byte.is_ascii_lowercase())
    },
};

/// The name of an object that must be a DNS label, and of a rule: RFC 1123.
pub const LABEL: Grammar = Grammar {
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    words: "lower case letters, digits and -, with a letter or digit at both ends",
    holds: |text| label(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase()),
};

/// The name of an object: DNS labels.
pub const OBJECT_NAME: Grammar = Grammar {
    pattern: r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    words: "lower case letters, digits, - and ., with a letter or digit at both ends",
    holds: |text| text.split('.').all(label) && !text.bytes().any(|byte| byte.is_ascii_uppercase()),
};

const ALL: [Grammar; 17] = [
    TOKEN,
    FIELD_VALUE,
    PARAMETER,
    PATH,
    SENT_PATH,
    HOST,
    AUTHORITY,
    SERVER_NAME,
    NETWORK,
    ORIGIN,
    CORS_ORIGIN,
    COOKIE_PATH,
    COOKIE_DOMAIN,
    URL,
    PORT_NAME,
    LABEL,
    OBJECT_NAME,
];

/// What a pattern of a schema asks for, in words.
pub fn words_of(pattern: &str) -> Option<&'static str> {
    let others = [
        (crate::duration::PATTERN, crate::duration::GRAMMAR),
        (crate::quantity::PATTERN, crate::quantity::GRAMMAR),
    ];
    let all = ALL.iter().map(|grammar| (grammar.pattern, grammar.words)).chain(others);
    all.into_iter().find(|(known, _)| *known == pattern).map(|(_, words)| words)
}

fn token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-!#$%&'*+.^_`|~".contains(&byte)
}

fn path_bytes(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [b'%', high, low, rest @ ..] => {
            high.is_ascii_hexdigit() && low.is_ascii_hexdigit() && path_bytes(rest)
        }
        [byte, rest @ ..] => {
            (byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte)) && path_bytes(rest)
        }
    }
}

fn label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    inner && edge(text.bytes().next()) && edge(text.bytes().last())
}

fn cors_origin(text: &str) -> bool {
    if matches!(text, "*" | "null") {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte);
    let host = host.strip_prefix("*.").unwrap_or(host);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(in_scheme)
        && !host.starts_with('[')
        && authority(host)
}

fn authority(text: &str) -> bool {
    let port = |port: &str| {
        port.len() <= 5 && !port.starts_with('0') && port.parse::<u16>().is_ok() && !port.starts_with('+')
    };
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        let known = address.parse::<std::net::Ipv6Addr>().is_ok();
        return known && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port));
    }
    let (name, after) = text.split_once(':').map_or((text, None), |(name, after)| (name, Some(after)));
    name.split('.').all(label) && after.is_none_or(port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table, row by row")]
    fn texts_that_hold_and_that_do_not() {
        let cases: [(Grammar, &[&str], &[&str]); 17] = [
            (
                CORS_ORIGIN,
                &["*", "null", "https://a.test", "http://*.a.test:8080", "capacitor://localhost"],
                &[
                    "",
                    "a.test",
                    "https://",
                    "https://*",
                    "https://a/",
                    "https://a.*.b",
                    "1://a",
                    "://a",
                    "https://[::1]",
                ],
            ),
            (TOKEN, &["X-Tenant", "a", "graphql-transport-ws"], &["", "a b", "a:", "é", "a\n"]),
            (FIELD_VALUE, &["", "a b\tc", "é"], &["a\r\nb", "\0", "a\n", "\u{7f}"]),
            (PARAMETER, &["v", "a b", "é"], &["", "a\nb"]),
            (PATH, &["/", "/a/b", "/ü"], &["", "a", "/a?b", "/a#b", "/a b", "/a\n"]),
            (SENT_PATH, &["/", "/a%2Fb", "/x;y=1"], &["", "a", "/%2", "/%zz", "/ü", "/a b", "/a?b", "/\r\n"]),
            (
                HOST,
                &["a", "a.b", "*.a.b", "1.x"],
                &["", "*", "*a.b", "a.*.b", "A.b", "-a", "a..b", "a.", "a_b"],
            ),
            (
                AUTHORITY,
                &["a", "a.b:80", "127.0.0.1:65535", "[::1]", "[::1]:80"],
                &["", ":80", "a:", "a:0", "a:080", "a b", "a/b", "user@a", "::1", "[::1", "a:+80", "a\r\nb"],
            ),
            (
                NETWORK,
                &[
                    "10.0.0.0/8",
                    "10.0.0.5/8",
                    "255.255.255.255",
                    "::/0",
                    "::1",
                    "2001:DB8::/32",
                    "::ffff:10.0.0.1",
                ],
                &[
                    "",
                    "10.0.0/8",
                    "256.0.0.1",
                    "10.0.0.0/33",
                    "::/129",
                    "10.0.0.0/08",
                    "a",
                    "1.2.3.4 ",
                    "/8",
                    "::/",
                ],
            ),
            (
                ORIGIN,
                &[
                    "SameHost",
                    "null",
                    "https://a.b",
                    "https://*.a",
                    "http://a:*",
                    "http://[::1]:80",
                    "app+x://y",
                ],
                &[
                    "",
                    "*",
                    "a.b",
                    "https://",
                    "https://a/",
                    "https://a:0",
                    "https://a b",
                    "Null",
                    "https://a..b",
                ],
            ),
            (
                URL,
                &["http://a", "https://a.b:80/c%2Fd?e=f?g", "http://[::1]?x"],
                &[
                    "",
                    "a",
                    "ftp://a",
                    "http://",
                    "http:///a",
                    "http://u@a/",
                    "http://a/$b",
                    "http://a/#b",
                    "http://a b",
                ],
            ),
            (
                SERVER_NAME,
                &["chat.internal", "a", "A-b.c", "10.0.0.1"],
                &["", "a:80", "[::1]", "*.a", "a..b", "-a", "a_b", "a."],
            ),
            (COOKIE_PATH, &["/", "/a", "/%20,x"], &["", "a", "/a;b", "/a b", "/é", "/\n"]),
            (
                COOKIE_DOMAIN,
                &["a", "a.test", ".a.test"],
                &["", ".", "a..b", "..a", "a;b", "a.", "a_b", "a\n"],
            ),
            (PORT_NAME, &["http", "a1", "1a", "1-a-2"], &["", "80", "a--b", "-a", "a-", "A", "a_b", "1-2"]),
            (LABEL, &["a", "a-b", "1"], &["", "A", "-a", "a-", "a.b"]),
            (OBJECT_NAME, &["a", "a.b", "1"], &["", "A", "a..b", "a_b"]),
        ];
        for (grammar, good, bad) in cases {
            let pattern = Regex::new(grammar.pattern).unwrap();
            for text in good {
                assert!(grammar.holds(text) && pattern.is_match(text), "{text:?}: {}", grammar.pattern);
            }
            for text in bad {
                assert!(!grammar.holds(text) && !pattern.is_match(text), "{text:?}: {}", grammar.pattern);
            }
        }
    }

    #[test]
    fn every_grammar_has_words() {
        for grammar in ALL {
            assert_eq!(words_of(grammar.pattern), Some(grammar.words));
        }
        assert!(words_of(crate::duration::PATTERN).is_some() && words_of("x").is_none());
    }

    proptest! {
        #[test]
        fn pattern_and_function_agree(text in "[-*a-cA-C0-2:./?%\\[\\] \\r\\n\\x00\\x7fé]{0,8}") {
            for grammar in ALL {
                let matches = Regex::new(grammar.pattern).unwrap().is_match(&text);
                // Two things are beyond a pattern: a port's range and the parts of an IPv6 address.
                let looser =
                    [AUTHORITY, NETWORK, ORIGIN, CORS_ORIGIN, URL].iter().any(|one| one.pattern == grammar.pattern) && matches;
                prop_assert!(grammar.holds(&text) == matches || looser, "{:?}: {}", text, grammar.pattern);
            }
        }
    }
}
