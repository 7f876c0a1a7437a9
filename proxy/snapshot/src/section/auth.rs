//! Who is let in by a route.

use std::fmt;
use std::sync::Arc;

use super::policy::Millis;
use super::upstream::UpstreamId;

use serde::{Deserialize, Serialize, Serializer};

/// How a client proves that it may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// By a user name and a password (RFC 7617).
    Basic(BasicAuth),
    /// By what an authentication service says of its request.
    External(Box<ExternalAuth>),
}

/// An authentication service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAuth {
    /// Where it is.
    pub target: AuthTarget,
    /// The method that it is asked with.
    pub method: String,
    /// Fields of its answer that the upstream gets, in lower case. Of the client's own none of these passes.
    pub response_headers: Vec<String>,
    /// How long it may take: never without a limit.
    pub timeout: Millis,
    /// Where pages are sent that it answers with 401.
    pub sign_in: Option<SignIn>,
    /// What it is told of where the client wants to be sent back to. Absent: the target of the request.
    pub request_redirect: Option<Template>,
    /// Further fields that it gets, in place of the client's of these names.
    pub request_headers: Vec<(String, String)>,
    /// When the client gets the cookies that it sets by an answer that lets the client in.
    pub set_cookie: SetCookie,
}

/// When the cookies of an authentication service go with the answer to the request that it was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetCookie {
    /// Where the answer is no error.
    #[default]
    WithSuccess,
    /// With every answer.
    Always,
}

/// Where an authentication service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthTarget {
    /// The endpoints of a Service.
    Service {
        /// Which.
        upstream: UpstreamId,
        /// What Host says.
        host: String,
        /// The path.
        path: String,
    },
    /// An address.
    Url {
        /// How it is spoken to.
        scheme: Scheme,
        /// A name or an address, the latter of IPv6 in brackets. Absent: the request's own host, which is the name of
        /// the section that the route is in.
        host: Option<String>,
        /// The port.
        port: u16,
        /// Path and query.
        target: Template,
        /// Whether it may be a loopback or link-local address, or the proxy's own.
        local: LocalTargets,
    },
}

/// How an authentication service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS. An authority that browsers trust must have signed its certificate, or one that the proxy's operator
    /// trusts.
    Https,
}

/// Whether a name may lead to this very machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalTargets {
    /// Such addresses are not connected to.
    Refused,
    /// Without a cluster they are as good as others.
    Allowed,
}

/// Where browsers log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The page.
    pub url: Template,
    /// The parameter that tells it where to send them back to, added to the address.
    pub parameter: Option<String>,
}

/// A text with places for what a request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// As it is: visible ASCII.
    Text(String),
    /// The host, in lower case and without port.
    Host,
    /// The Host field.
    Authority,
    /// Path and query as sent.
    Target,
    /// The same, with everything encoded that a query parameter may not hold.
    EscapedTarget,
    /// `http` or `https`.
    Scheme,
    /// The method.
    Method,
    /// The client's address.
    Client,
    /// The first value of this field, in lower case.
    Header(String),
    /// The first value of this query parameter, as sent.
    Argument(String),
    /// The value of this cookie.
    Cookie(String),
}

/// User names and passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// What a browser shows when it asks: one line without control characters.
    pub realm: String,
    /// Sorted by name, each once.
    pub users: Vec<User>,
}

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// What the password is compared with.
    pub hash: PasswordHash,
}

/// The hash of a password as htpasswd writes it: bcrypt (`$2y$`, `$2a$`, `$2b$`), apr1 or `{SHA}`. It never shows: not
/// in `Debug`, not in a human-readable encoding.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Takes the hash as htpasswd writes it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The hash, to compare a password with.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str("redacted")
        } else {
            self.0.serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_does_not_show_and_travels_whole() {
        let user = User { name: "ann".into(), hash: PasswordHash::new("$2y$05$secret") };
        assert!(!format!("{user:?}").contains("secret"));
        assert!(!serde_json::to_string(&user).unwrap().contains("secret"));
        let bytes = postcard::to_allocvec(&user).unwrap();
        assert_eq!(postcard::from_bytes::<User>(&bytes).unwrap(), user);
    }
}
