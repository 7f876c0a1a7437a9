//! Heads of HTTP/1 messages, sans-io: bytes in, a [`Head`] or a [`Refusal`] out.
//!
//! Every message that the proxy passes on is parsed here first and written anew in one canonical form, so that no
//! server behind it can read it in another way than we did: that is what stops request smuggling. So this parser
//! is strict where RFC 9112 merely permits strictness: a head is taken when all of it is plain, else refused.
//!
//! What is parsed: RFC 9112 (messages), RFC 9110 (fields, Host, Expect), RFC 3986 (targets and paths). What is
//! not: bodies (see [`crate::body`]), upgrades (see [`crate::handshake`]), HTTP/2.
//!
//! Invariant: nothing here reads a socket or a clock, and no bytes of a peer can make it panic.

mod fields;
mod framing;
mod lines;
mod request;
mod response;
mod target;
#[cfg(test)]
mod tests;
mod values;
pub(crate) mod weakness;

use std::fmt;

use routing::Request;
pub(crate) use routing::text::{is_token, is_token_byte, trim};

pub use fields::Fields;
pub(crate) use fields::{Section, alike, canonical};
pub use framing::Framing;
pub(crate) use lines::{Fault, Lines};
pub use request::RequestParser;
pub use response::{ResponseError, ResponseFraming, ResponseHead, ResponseParser};
pub(crate) use target::{authority, is_path, normalised};

/// The longest head that is taken, empty lines before it and the empty line behind it included.
pub const MAX_HEAD: usize = 32 * 1024;

/// The most fields that a head may have: what HAProxy and Envoy take too.
pub const MAX_FIELDS: usize = 100;

/// The HTTP version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As it is written in a request or status line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// A request method: any token but CONNECT. Case matters (RFC 9110 §9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// POST.
    Post,
    /// Any other.
    Other(Box<str>),
}

impl Method {
    /// As it is written in the request line.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The head of a request that can be read in one way only.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target as it goes upstream: path and query as the client sent them, or `*`. The authority of an
    /// absolute form is taken off.
    pub target: String,
    /// The path for matching, normalised as RFC 3986 §6.2.2: unreserved characters decoded, hexadecimal digits in
    /// upper case, `.` and `..` resolved. `//` stays, and `%2F` never equals `/`. Of `OPTIONS *` it is `*`.
    pub path: String,
    /// Host as the client sent it.
    pub authority: String,
    /// The host for matching: lower case, without port and trailing dot; an IPv6 literal keeps its brackets.
    pub host: String,
    /// The version.
    pub version: Version,
    /// All fields, in order, Host and the framing fields among them.
    pub fields: Fields,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether the client wants to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

impl Head {
    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// That of a GET with nothing but a Host.
    #[cfg(test)]
    pub(crate) fn get(host: &str, target: &str) -> Head {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let parsed = RequestParser::default().parse(request.as_bytes());
        parsed.unwrap().expect("it is whole").0
    }
}

impl Request for Head {
    fn host(&self) -> &str {
        &self.host
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        Head::query(self)
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.get_all(name)
    }
}

/// Why a message is not passed on, and what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The error type for Proxy-Status (RFC 9209 §2.3).
    pub error: &'static str,
    /// One line that a person understands.
    pub message: &'static str,
    /// A field that the answer must carry.
    pub header: Option<(&'static str, &'static str)>,
    /// Whether the connection ends with the answer, since what follows cannot be told apart.
    pub close: bool,
}

impl Refusal {
    pub(crate) const fn request(status: u16, message: &'static str) -> Refusal {
        Refusal { status, error: "http_request_error", message, header: None, close: true }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refusal {}
