//! Heads of responses (RFC 9112 §4), read as strictly as those of requests: what an upstream sends must be as
//! plain as what a client sends, else a client may be made to read an answer that is not its own.

use bytes::Bytes;

use super::framing::{declared, keep_alive};
use super::lines::{Fault, Lines};
use super::{Fields, Framing, MAX_HEAD, Section, Version};
use std::fmt;

/// The head of a response.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The version.
    pub version: Version,
    /// The status, 100 to 599.
    pub status: u16,
    /// The reason phrase; empty when it is absent or not text.
    pub reason: String,
    /// All fields, in order.
    pub fields: Fields,
    /// How its body is delimited.
    pub framing: ResponseFraming,
    /// Whether the connection can carry another request afterwards.
    pub keep_alive: bool,
}

/// How the body of a response is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything up to the connection's end.
    UntilClose,
}

/// Why a response cannot be used. It is the upstream's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseError {
    /// One line that a person understands.
    pub message: &'static str,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for ResponseError {}

impl From<Fault> for ResponseError {
    fn from(fault: Fault) -> ResponseError {
        ResponseError { message: fault.message }
    }
}

/// Reads the heads of responses from a buffer that grows.
#[derive(Debug, Default)]
pub struct ResponseParser {
    lines: Lines,
    line: Option<StatusLine>,
    section: Section,
}

impl ResponseParser {
    /// The next head and how many bytes of the buffer it took; nothing while it is incomplete. The buffer begins
    /// with the first byte of the head every time, and is otherwise only appended to.
    ///
    /// Interim responses (1xx other than 101) are heads like others: the caller skips them.
    pub fn parse(
        &mut self,
        buffer: &[u8],
        request_was_head: bool,
    ) -> Result<Option<(ResponseHead, usize)>, ResponseError> {
        while let Some(line) = self.lines.next(buffer, MAX_HEAD)? {
            if self.line.is_none() {
                self.line = Some(StatusLine::parse(&buffer[line])?);
            } else if !line.is_empty() {
                self.section.push(buffer, line)?;
            } else if let Some(status) = self.line.take() {
                let consumed = self.lines.consumed();
                let section = std::mem::take(self).section;
                let fields = section.finish(Bytes::copy_from_slice(&buffer[..consumed]));
                return Ok(Some((status.with(fields, request_was_head)?, consumed)));
            }
        }
        Ok(None)
    }
}

#[derive(Debug)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: String,
}

impl StatusLine {
    /// `HTTP/1.1 200 OK`. The space behind the status is often left out together with an empty reason, which
    /// changes nothing.
    fn parse(line: &[u8]) -> Result<StatusLine, Fault> {
        let fault = Fault::new(502, "the upstream's status line is malformed");
        let (version, rest) = line.split_at_checked(9).ok_or(fault)?;
        let version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(Fault::new(502, "the upstream does not speak HTTP/1")),
        };
        let (status, rest) = rest.split_at_checked(3).ok_or(fault)?;
        let reason = match rest {
            [] => rest,
            [b' ', reason @ ..] => reason,
            _ => return Err(fault),
        };
        if !status.iter().all(u8::is_ascii_digit) || !(b'1'..=b'5').contains(&status[0]) {
            return Err(fault);
        }
        let status = status.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        Ok(StatusLine { version, status, reason: std::str::from_utf8(reason).unwrap_or_default().to_owned() })
    }

    fn with(self, fields: Fields, request_was_head: bool) -> Result<ResponseHead, Fault> {
        let StatusLine { version, status, reason } = self;
        let declared = declared(&fields, version)?;
        let bodiless = request_was_head || matches!(status, 100..=199 | 204 | 304);
        let framing = match declared {
            _ if bodiless => ResponseFraming::None,
            Framing::None => ResponseFraming::UntilClose,
            Framing::Length(length) => ResponseFraming::Length(length),
            Framing::Chunked => ResponseFraming::Chunked,
        };
        let keep_alive = keep_alive(&fields, version)? && framing != ResponseFraming::UntilClose;
        Ok(ResponseHead { version, status, reason, fields, framing, keep_alive })
    }
}
