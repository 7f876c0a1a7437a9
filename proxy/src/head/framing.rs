//! How long a message is and whether its connection goes on (RFC 9112 §6.3, §9.3): one plain Content-Length, or
//! `Transfer-Encoding: chunked` and nothing else, never both.

use super::lines::Fault;
use super::weakness::{Weakness, tolerated};
use super::{Fields, MAX_FIELDS, Version, is_token, trim};

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// The longest body; beyond it other programs' signed numbers overflow.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// What the framing fields of a request or a response say.
pub(super) fn declared(fields: &Fields, version: Version) -> Result<Framing, Fault> {
    let length = length(fields)?;
    let chunked = chunked(fields, version)?;
    match (length, chunked) {
        (Some(_), true) if !tolerated(Weakness::LengthWithCoding) => {
            Err(Fault::new(400, "the message has both Content-Length and Transfer-Encoding"))
        }
        (_, true) => Ok(Framing::Chunked),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, false) => Ok(Framing::None),
    }
}

fn length(fields: &Fields) -> Result<Option<u64>, Fault> {
    let value = match fields.only("content-length") {
        Ok(value) => value,
        Err(()) if tolerated(Weakness::RepeatedLength) => fields.get("content-length"),
        Err(()) => return Err(Fault::new(400, "there is more than one Content-Length")),
    };
    value.map(plain_number).transpose()
}

/// Digits only: no sign, no list, no white space.
fn plain_number(value: &[u8]) -> Result<u64, Fault> {
    let fault = Fault::new(400, "Content-Length is not one plain number");
    let value = match value.strip_prefix(b"+") {
        Some(rest) if tolerated(Weakness::SignedLength) => rest,
        _ => value,
    };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(fault);
    }
    let number = value.iter().try_fold(0_u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|n| *n <= MAX_LENGTH)
    });
    number.ok_or(fault)
}

fn chunked(fields: &Fields, version: Version) -> Result<bool, Fault> {
    let value = match fields.only("transfer-encoding") {
        Ok(None) => return Ok(false),
        Ok(Some(value)) => value,
        Err(()) if tolerated(Weakness::RepeatedCoding) => return Ok(true),
        Err(()) => return Err(Fault::new(400, "there is more than one Transfer-Encoding")),
    };
    if version == Version::Http10 && !tolerated(Weakness::CodingInHttp10) {
        return Err(Fault::new(400, "Transfer-Encoding does not exist in HTTP/1.0"));
    }
    if value.eq_ignore_ascii_case(b"chunked") || tolerated(Weakness::OtherCoding) {
        return Ok(true);
    }
    Err(other_coding(value))
}

/// A known way to delimit with a coding that we do not know is 501 (RFC 9112 §6.1), everything else is 400.
fn other_coding(value: &[u8]) -> Fault {
    let mut codings: Vec<&[u8]> = value.split(|b| *b == b',').map(trim).collect();
    let last = codings.pop().unwrap_or_default();
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if chunked(last) && codings.iter().all(|coding| is_token(coding) && !chunked(coding)) {
        return Fault::new(501, "only the transfer coding chunked is served");
    }
    Fault::new(400, "Transfer-Encoding is not exactly chunked")
}

/// Whether the connection outlives the message (RFC 9112 §9.3). The members of Connection are counted, since each
/// is compared with each field.
pub(super) fn keep_alive(fields: &Fields, version: Version) -> Result<bool, Fault> {
    if fields.tokens("connection").count() > MAX_FIELDS {
        return Err(Fault::new(431, "Connection names more than 100 fields"));
    }
    let close = fields.has_token("connection", "close");
    Ok(match version {
        Version::Http11 => !close,
        Version::Http10 => !close && fields.has_token("connection", "keep-alive"),
    })
}
