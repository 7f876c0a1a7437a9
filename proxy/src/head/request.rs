//! Heads of requests (RFC 9112 §3, RFC 9110 §7.2 and §10.1.1): request line, Host and the fields that decide how
//! long the message is.

use bytes::Bytes;
use routing::text::Authority;

use super::framing::{declared, keep_alive};
use super::lines::{Fault, Lines};
use super::target::{Target, TargetAuthority, authority, parse_target};
use super::weakness::{Weakness, tolerated};
use super::{Fields, Framing, Head, MAX_HEAD, Method, Refusal, Section, Version, is_token};

/// How many empty lines are forgiven before a request line (RFC 9112 §2.2).
const BLANK_LINES: usize = 4;

/// Reads the heads of requests from a buffer that grows, one after another. It remembers how far it has looked,
/// so that a head that arrives byte by byte costs no more than one that arrives whole.
#[derive(Debug, Default)]
pub struct RequestParser {
    pub(super) lines: Lines,
    blank: usize,
    line: Option<RequestLine>,
    section: Section,
}

impl RequestParser {
    /// The next head and how many bytes of the buffer it took; nothing while it is incomplete. The buffer begins
    /// with the first byte of the head every time, and is otherwise only appended to. After a refusal the
    /// connection has no next head.
    pub fn parse(&mut self, buffer: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        while let Some(line) = self.lines.next(buffer, MAX_HEAD)? {
            if self.line.is_none() && line.is_empty() && self.blank < BLANK_LINES {
                self.blank += 1;
            } else if self.line.is_none() {
                self.line = Some(RequestLine::parse(&buffer[line])?);
            } else if !line.is_empty() {
                self.section.push(buffer, line)?;
            } else if let Some(line) = self.line.take() {
                let consumed = self.lines.consumed();
                let section = std::mem::take(self).section;
                let fields = section.finish(Bytes::copy_from_slice(&buffer[..consumed]));
                return Ok(Some((line.with(fields)?, consumed)));
            }
        }
        Ok(None)
    }

    /// Whether a request has begun: bytes other than empty lines have been seen.
    pub fn has_begun(&self, buffer: &[u8]) -> bool {
        self.line.is_some() || buffer.len() > self.lines.consumed()
    }
}

#[derive(Debug)]
struct RequestLine {
    method: Method,
    target: Target,
    version: Version,
}

impl RequestLine {
    /// Method, target and version with exactly one space between them.
    fn parse(line: &[u8]) -> Result<RequestLine, Fault> {
        let fault = Fault::new(400, "the request line is malformed");
        let mut parts = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(fault);
        };
        if !is_token(method) {
            return Err(fault);
        }
        if line == b"PRI * HTTP/2.0" {
            return Err(Fault::new(400, "HTTP/2 is not served on a connection that did not negotiate it"));
        }
        let version = parse_version(version)?;
        let method = parse_method(method)?;
        let target = parse_target(&method, target)?;
        Ok(RequestLine { method, target, version })
    }

    fn with(self, fields: Fields) -> Result<Head, Fault> {
        let RequestLine { method, target, version } = self;
        let host = host(&fields, target.authority)?;
        let framing = declared(&fields, version)?;
        let keep_alive = keep_alive(&fields, version)?;
        let expect_continue = expects_continue(&fields)?
            && version == Version::Http11
            && !matches!(framing, Framing::None | Framing::Length(0));
        Ok(Head {
            method,
            target: target.upstream,
            path: target.path,
            authority: host.text,
            host: host.host,
            version,
            fields,
            framing,
            keep_alive,
            expect_continue,
        })
    }
}

fn parse_method(name: &[u8]) -> Result<Method, Fault> {
    Ok(match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"OPTIONS" => Method::Options,
        b"POST" => Method::Post,
        b"CONNECT" if !tolerated(Weakness::Connect) => {
            return Err(Fault::new(400, "CONNECT is not served"));
        }
        other => Method::Other(String::from_utf8_lossy(other).into()),
    })
}

fn parse_version(version: &[u8]) -> Result<Version, Fault> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Fault::new(505, "only HTTP/1.1 and HTTP/1.0 are served here"))
        }
        _ => Err(Fault::new(400, "the request line does not end with an HTTP version")),
    }
}

/// The one Host, which an absolute target must agree with (RFC 9112 §3.2).
fn host(fields: &Fields, target: Option<TargetAuthority>) -> Result<Authority, Fault> {
    let value = match fields.only("host") {
        Ok(Some(value)) => value,
        Ok(None) if tolerated(Weakness::MissingHost) => b"none",
        Ok(None) => return Err(Fault::new(400, "there is no Host")),
        Err(()) if tolerated(Weakness::RepeatedHost) => fields.get("host").unwrap_or_default(),
        Err(()) => return Err(Fault::new(400, "there is more than one Host")),
    };
    let host = authority(value).ok_or(Fault::new(400, "Host is not a host name with an optional port"))?;
    match target {
        Some(target) if !target.agrees(&host) && !tolerated(Weakness::OtherAuthority) => {
            Err(Fault::new(400, "Host differs from the host in the request target"))
        }
        _ => Ok(host),
    }
}

/// `100-continue` is the only expectation that exists. Others are refused instead of ignored (RFC 9110 §10.1.1
/// leaves the choice): servers disagree about what `Expect: y 100-continue` means for the body.
fn expects_continue(fields: &Fields) -> Result<bool, Fault> {
    match fields.only("expect") {
        Ok(None) => Ok(false),
        Ok(Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Fault::new(417, "the only expectation that is met is 100-continue")),
    }
}
