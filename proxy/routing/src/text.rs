//! The texts of requests as they are compared: paths and authorities (RFC 3986), tokens (RFC 9110), query parameters.
//!
//! Characters of targets: those of RFC 3986, and those that browsers send as they are because the URL standard
//! (url.spec.whatwg.org, percent-encode sets) does not encode them: `[ ] ^ { | }`, in a query also `` ` `` and
//! `\`. Everything else is foreign: controls, space, DEL, `" < >`, `#`, and bytes beyond ASCII.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Why a path is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// Servers disagree about what that means.
    AboveRoot,
    /// A percent sign without two hexadecimal digits behind it, or `%00`, in which programs in C see a path's end.
    Encoding,
}

impl BadPath {
    /// For people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::AboveRoot => "the path climbs above the root",
            Self::Encoding => "the path has a percent sign without two hexadecimal digits, or %00",
        }
    }
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// A path for matching, as RFC 3986 §6.2.2 makes it: unreserved characters decoded, hexadecimal digits in upper case,
/// `.` and `..` resolved. `//` stays, and `%2F` never equals `/`.
pub fn normalise(path: &str) -> Result<String, BadPath> {
    let decoded = decode_unreserved(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = decoded.strip_prefix('/').unwrap_or(&decoded).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            ".." if segments.pop().is_none() => return Err(BadPath::AboveRoot),
            "." | ".." if last => segments.push(""),
            "." | ".." => {}
            _ => segments.push(segment),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

/// Decodes what need not be encoded and writes the rest in upper case.
fn decode_unreserved(path: &str) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        let (digits, behind) = encoded.split_at_checked(2).ok_or(BadPath::Encoding)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || digits == "00" {
            return Err(BadPath::Encoding);
        }
        decoded.push_str(plain);
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if is_unreserved(byte) => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = behind;
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// Whether a target may have this byte.
pub fn is_target_byte(byte: u8, in_query: bool) -> bool {
    is_unreserved(byte)
        || b"%!$&'()*+,;=:@/?[]^{|}".contains(&byte)
        || (in_query && (byte == b'`' || byte == b'\\'))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The first character of a target that targets cannot have.
pub(crate) fn foreign(target: &str) -> Option<char> {
    let query = target.find('?').unwrap_or(target.len());
    let mut characters = target.char_indices();
    let wrong = |(at, character): &(usize, char)| {
        u8::try_from(*character).map_or(true, |byte| !byte.is_ascii() || !is_target_byte(byte, *at > query))
    };
    characters.find(wrong).map(|(_, character)| character)
}

/// A host with an optional port.
#[derive(Debug)]
pub struct Authority {
    /// As it was written.
    pub text: String,
    /// Lower case, without port and trailing dot.
    pub host: String,
    /// The port, when it was written.
    pub port: Option<u16>,
}

/// A host with an optional port, when it is one: a name of letters, digits, hyphens and underscores, an IPv4
/// address, or an IPv6 address in brackets. Other forms that RFC 3986 would allow (percent-encoded names, future
/// IP versions, zones) are no hosts that anybody can route.
pub fn authority(text: &[u8]) -> Option<Authority> {
    let text = std::str::from_utf8(text).ok()?;
    let literal_end = if text.starts_with('[') { text.find(']')? + 1 } else { 0 };
    let (host, port) = match text[literal_end..].split_once(':') {
        Some((rest, port)) => (&text[..literal_end + rest.len()], Some(port)),
        None => (text, None),
    };
    let host = if literal_end > 0 { literal(host)? } else { name(host)? };
    let port = port.filter(|digits| !digits.is_empty()).map(parse_port);
    if port == Some(None) {
        return None;
    }
    Some(Authority { text: text.to_owned(), host, port: port.flatten() })
}

fn literal(host: &str) -> Option<String> {
    let address = host.strip_prefix('[')?.strip_suffix(']')?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(host.to_ascii_lowercase())
}

fn name(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let whole =
        name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.bytes().all(legal));
    whole.then(|| name.to_ascii_lowercase())
}

fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Whether this is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_token_byte(*b))
}

/// Whether a token may have this byte.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without optional white space on either side.
pub fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// The members of comma-separated lists, trimmed, without empty ones (RFC 9110 §5.6.1).
pub fn tokens<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|value| value.split(|&b| b == b',')).map(trim).filter(|token| !token.is_empty())
}

/// The value of the first cookie of that name (RFC 6265 §4.2), as it was sent: quotes and escapes belong to it.
/// Names are compared exactly.
pub fn cookie<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    cookies(lines, name).next()
}

/// The values of all [cookies](cookie) of that name, in their order.
pub fn cookies<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
        })
        .filter(move |(written, _)| *written == name.as_bytes())
        .map(|(_, value)| value)
}

/// The first value of a query parameter, decoded as forms are (url.spec.whatwg.org, urlencoded parsing): `+` is a
/// space, an escape that is none stays as it is, a parameter without `=` has an empty value. The bytes need not be
/// text. Names are decoded too and compared exactly.
pub fn query_parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .find(|(written, _)| *decoded(written) == *name.as_bytes())
        .map(|(_, value)| decoded(value))
}

fn decoded(written: &str) -> Cow<'_, [u8]> {
    let bytes = written.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = (first == b'%').then(|| behind.first_chunk().copied().and_then(escape)).flatten();
        decoded.push(match first {
            b'+' => b' ',
            first => escaped.unwrap_or(first),
        });
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    Cow::Owned(decoded)
}

fn escape(digits: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = digits.map(digit);
    u8::try_from(high? * 16 + low?).ok()
}
