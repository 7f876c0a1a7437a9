//! Addresses with variables in them, as ingress-nginx's users write them: `https://$host/oauth2/auth`.
//!
//! Of nginx's variables only those are known that are seen in the field. A host is never made of what a client says,
//! but for `$host` whole: else who asks would choose who decides.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::grammar;

/// A text with places for what a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is: visible ASCII.
    Text(String),
    /// What the request says.
    Variable(Variable),
}

/// What a request says, named as nginx does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$host`: without its port, in lower case.
    Host,
    /// `$http_host`: as it was sent.
    Authority,
    /// `$request_uri`: path and query as sent.
    Target,
    /// `$escaped_request_uri`: the same, encoded for a query parameter.
    EscapedTarget,
    /// `$scheme`, `$pass_access_scheme`: `http` or `https`.
    Scheme,
    /// `$request_method`.
    Method,
    /// `$remote_addr`: the client's address.
    Client,
    /// `$http_NAME`, with the field's name in lower case and hyphens for underscores.
    Header(String),
    /// `$arg_NAME`, of the query.
    Argument(String),
    /// `$cookie_NAME`.
    Cookie(String),
}

/// An address of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// It is `https`.
    pub tls: bool,
    /// A name or an address, the latter of IPv6 in brackets. Absent: the request's own host (`$host`).
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Path and query.
    pub target: Template,
}

impl Template {
    /// Reads a text. The error is to follow the quoted value.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let mut pieces = Vec::new();
        let mut parts = text.split('$');
        push(&mut pieces, parts.next().unwrap_or_default())?;
        for part in parts {
            let (name, rest) = match part.strip_prefix('{') {
                Some(part) => part.split_once('}').ok_or("has a ${ without a }")?,
                None => {
                    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    part.split_at(part.find(|c| !word(c)).unwrap_or(part.len()))
                }
            };
            pieces.push(Piece::Variable(variable(name)?));
            push(&mut pieces, rest)?;
        }
        Ok(Self(pieces))
    }

    /// An address of a page: absolute, or a path of the same host. Its host is literal, or the request's own.
    pub fn of_page(text: &str) -> Result<Self, &'static str> {
        let template = Self::read(text)?;
        if text.starts_with('/') && !text.starts_with("//") {
            return Ok(template);
        }
        let rest = ["http://", "https://", "$scheme://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or("is no address of a page")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = &rest[..end];
        let own = ["$host", "${host}", "$http_host", "${http_host}"].contains(&host);
        if own || grammar::AUTHORITY.holds(host) { Ok(template) } else { Err(FOREIGN_HOST) }
    }

    /// Whether it is all text.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(variable) => write!(f, "{variable}"),
        })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("${host}"),
            Self::Authority => f.write_str("${http_host}"),
            Self::Target => f.write_str("${request_uri}"),
            Self::EscapedTarget => f.write_str("${escaped_request_uri}"),
            Self::Scheme => f.write_str("${scheme}"),
            Self::Method => f.write_str("${request_method}"),
            Self::Client => f.write_str("${remote_addr}"),
            Self::Header(name) => write!(f, "${{http_{}}}", name.replace('-', "_")),
            Self::Argument(name) => write!(f, "${{arg_{name}}}"),
            Self::Cookie(name) => write!(f, "${{cookie_{name}}}"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host.as_deref().unwrap_or("${host}"), self.port, self.target)
    }
}

/// As it is written.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written.
impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&str> for Template {
    /// All text.
    fn from(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }
}

impl Url {
    /// Reads a text. The error is to follow the quoted value.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("does not begin with http:// or https://"),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let own = ["$host", "${host}"].iter().find_map(|own| authority.strip_prefix(own));
        let default = if tls { 443 } else { 80 };
        let (host, port) = match own {
            Some("") => (None, default),
            Some(port) => (None, port.strip_prefix(':').and_then(self::port).ok_or(FOREIGN_HOST)?),
            None if authority.contains('$') => return Err(FOREIGN_HOST),
            None if !grammar::AUTHORITY.holds(authority) => return Err("has no host with an optional port"),
            None => match authority.rsplit_once(':').filter(|(_, digits)| !digits.contains(']')) {
                Some((host, digits)) => (Some(host.to_owned()), self::port(digits).ok_or("has no port")?),
                None => (Some(authority.to_owned()), default),
            },
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = Template::read(&format!("{slash}{target}"))?;
        Ok(Self { tls, host, port, target })
    }
}

const FOREIGN_HOST: &str = "takes its host from what a client sends";

fn port(digits: &str) -> Option<u16> {
    let number = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|port| number && *port > 0)
}

fn push(pieces: &mut Vec<Piece>, text: &str) -> Result<(), &'static str> {
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || b"\"<>\\#`".contains(&byte)) {
        return Err("has a character that no address has");
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

fn variable(name: &str) -> Result<Variable, &'static str> {
    let named = |prefix: &str| name.strip_prefix(prefix).filter(|name| grammar::TOKEN.holds(name));
    Ok(match name {
        "host" => Variable::Host,
        "http_host" => Variable::Authority,
        "request_uri" => Variable::Target,
        "escaped_request_uri" => Variable::EscapedTarget,
        "scheme" | "pass_access_scheme" => Variable::Scheme,
        "request_method" => Variable::Method,
        "remote_addr" => Variable::Client,
        _ => {
            if let Some(name) = named("http_") {
                Variable::Header(name.to_ascii_lowercase().replace('_', "-"))
            } else if let Some(name) = named("arg_") {
                Variable::Argument(name.to_owned())
            } else if let Some(name) = named("cookie_") {
                Variable::Cookie(name.to_owned())
            } else {
                return Err("has a variable of nginx that is not known here");
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Piece::{Text, Variable as Place};
    use super::*;

    #[test]
    fn addresses_as_the_field_writes_them() {
        let target = |text: &str| Template::read(text).unwrap();
        let url = |tls, host: Option<&str>, port, path: &str| {
            Ok(Url { tls, host: host.map(str::to_owned), port, target: target(path) })
        };
        for (text, wanted) in [
            ("http://auth/check", url(false, Some("auth"), 80, "/check")),
            (
                "http://auth.default.svc.cluster.local:4180/oauth2/auth",
                url(false, Some("auth.default.svc.cluster.local"), 4180, "/oauth2/auth"),
            ),
            ("https://$host/oauth2/auth", url(true, None, 443, "/oauth2/auth")),
            ("http://${host}:8080?a=$arg_a", url(false, None, 8080, "/?a=$arg_a")),
            ("http://[::1]:90", url(false, Some("[::1]"), 90, "/")),
            (
                "http://10.0.0.1?to=$escaped_request_uri",
                url(false, Some("10.0.0.1"), 80, "/?to=$escaped_request_uri"),
            ),
        ] {
            assert_eq!(Url::read(text), wanted, "{text}");
        }
        for text in [
            "",
            "auth",
            "//auth",
            "ftp://auth",
            "http://",
            "http:///x",
            "http://a b/",
            "http://user@auth/",
            "http://$http_x_host/",
            "http://$arg_host/",
            "http://$host.evil.test/",
            "http://a.$host/",
            "http://$host:x/",
            "http://auth:0/",
            "http://auth:99999/",
            "http://auth/#x",
            "http://auth/\r\nX: y",
            "http://auth/$foo",
            "http://auth/${host",
            "http://auth/$",
            "http://auth/\"",
            "$scheme://auth/",
        ] {
            assert!(Url::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pages_to_log_in_at() {
        for text in [
            "https://$host/oauth2/start?rd=$escaped_request_uri",
            "$scheme://$http_host/login",
            "/login",
            "https://login.test",
            "https://login.test?x=$arg_x",
        ] {
            assert!(Template::of_page(text).is_ok(), "{text}");
        }
        for text in
            ["", "login", "//evil.test/", "https://$arg_x/", "https://$host$arg_x/", "javascript:alert(1)"]
        {
            assert!(Template::of_page(text).is_err(), "{text}");
        }
        let pieces = vec![
            Text("/a?b=".into()),
            Place(Variable::Header("x-user".into())),
            Text("&c=".into()),
            Place(Variable::Cookie("s_id".into())),
        ];
        assert_eq!(Template::read("/a?b=$http_x_user&c=${cookie_s_id}"), Ok(Template(pieces)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(https?://)?[a-z$:/?.{}é]{0,40}", any in ".*") {
            for text in [text, any] {
                let _ = (Url::read(&text), Template::of_page(&text));
            }
        }
    }
}
