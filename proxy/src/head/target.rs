//! Request targets (RFC 9112 §3.2), authorities and paths (RFC 3986).
//!
//! Characters: those of RFC 3986, and those that browsers send as they are because the URL standard
//! (url.spec.whatwg.org, percent-encode sets) does not encode them: `[ ] ^ { | }`, in a query also `` ` `` and
//! `\`. Everything else is refused: controls, space, DEL, `" < >`, `#`, and bytes beyond ASCII.

use std::net::Ipv6Addr;

use super::Method;
use super::lines::Fault;
use super::weakness::{Weakness, tolerated};

/// A request target, taken apart.
#[derive(Debug)]
pub(super) struct Target {
    /// What goes upstream.
    pub(super) upstream: String,
    /// The path for matching.
    pub(super) path: String,
    /// From the absolute form only.
    pub(super) authority: Option<TargetAuthority>,
}

/// The authority of an absolute target. Its scheme says which port may be left out.
#[derive(Debug)]
pub(super) struct TargetAuthority {
    authority: Authority,
    default_port: u16,
}

impl TargetAuthority {
    /// Whether Host means the same.
    pub(super) fn agrees(&self, host: &Authority) -> bool {
        let port = |authority: &Authority| authority.port.unwrap_or(self.default_port);
        self.authority.host == host.host && port(&self.authority) == port(host)
    }
}

/// A host with an optional port.
#[derive(Debug)]
pub(crate) struct Authority {
    /// As it was written.
    pub(crate) text: String,
    /// Lower case, without port and trailing dot.
    pub(crate) host: String,
    /// The port, when it was written.
    pub(crate) port: Option<u16>,
}

/// Origin form, absolute form, or `*` of OPTIONS.
pub(super) fn parse_target(method: &Method, target: &[u8]) -> Result<Target, Fault> {
    if target.starts_with(b"/") {
        return origin(target);
    }
    if target == b"*" && *method == Method::Options {
        return Ok(asterisk());
    }
    absolute(method, target)
}

/// Whether this is the path of an origin form, without a query.
pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains('?') && origin(text.as_bytes()).is_ok()
}

/// This path in normal form; nothing where it is none, or climbs above the root.
pub(crate) fn normalised(path: &str) -> Option<String> {
    origin(path.as_bytes()).ok().map(|target| target.path)
}

fn asterisk() -> Target {
    Target { upstream: "*".to_owned(), path: "*".to_owned(), authority: None }
}

fn origin(target: &[u8]) -> Result<Target, Fault> {
    let whole = text(target)?;
    let path = whole.split_once('?').map_or(whole, |(path, _)| path);
    Ok(Target { path: normalise(path)?, upstream: whole.to_owned(), authority: None })
}

/// `http://host:port/path?query`. An empty path is `/`, except that OPTIONS without path and query asks for `*`
/// (RFC 9112 §3.2.4).
fn absolute(method: &Method, target: &[u8]) -> Result<Target, Fault> {
    let malformed = Fault::new(400, "the request target is neither a path nor an absolute http address");
    let colon = memchr::memmem::find(target, b"://").ok_or(malformed)?;
    let default_port = match target[..colon].to_ascii_lowercase().as_slice() {
        b"http" | b"ws" => 80,
        b"https" | b"wss" => 443,
        _ => return Err(malformed),
    };
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = target_authority(&rest[..end])?;
    let mut parsed = match &rest[end..] {
        b"" if *method == Method::Options => asterisk(),
        path if path.starts_with(b"/") => origin(path)?,
        query => origin(&[b"/", query].concat())?,
    };
    parsed.authority = Some(TargetAuthority { authority, default_port });
    Ok(parsed)
}

fn target_authority(written: &[u8]) -> Result<Authority, Fault> {
    let host = match memchr::memrchr(b'@', written) {
        Some(at) if tolerated(Weakness::Userinfo) => &written[at + 1..],
        Some(_) => return Err(Fault::new(400, "the request target has user information")),
        None => written,
    };
    authority(host).ok_or(Fault::new(400, "the host in the request target is malformed"))
}

/// The target as text, when it has only characters that targets may have.
fn text(target: &[u8]) -> Result<&str, Fault> {
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    let wrong = target.iter().enumerate().find(|(at, byte)| !is_target_byte(**byte, *at > query));
    match wrong {
        None => {}
        Some((_, b'#')) if tolerated(Weakness::Fragment) => {}
        Some((_, b'#')) => return Err(Fault::new(400, "the request target has a fragment")),
        Some(_) => return Err(Fault::new(400, "the request target has a character that must be encoded")),
    }
    std::str::from_utf8(target)
        .map_err(|_| Fault::new(400, "the request target has a character that must be encoded"))
}

fn is_target_byte(byte: u8, in_query: bool) -> bool {
    is_unreserved(byte)
        || b"%!$&'()*+,;=:@/?[]^{|}".contains(&byte)
        || (in_query && (byte == b'`' || byte == b'\\'))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The path for matching. Servers disagree about a path that climbs above the root, so it is refused.
fn normalise(path: &str) -> Result<String, Fault> {
    let decoded = decode_unreserved(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = decoded.strip_prefix('/').unwrap_or(&decoded).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            ".." if segments.pop().is_none() && !tolerated(Weakness::AboveRoot) => {
                return Err(Fault::new(400, "the path climbs above the root"));
            }
            "." | ".." if last => segments.push(""),
            "." | ".." => {}
            _ => segments.push(segment),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

/// Decodes what need not be encoded and writes the rest in upper case (RFC 3986 §6.2.2). `%00` is refused, since
/// programs in C see a path's end in it.
fn decode_unreserved(path: &str) -> Result<String, Fault> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        let (digits, behind) = encoded.split_at_checked(2).ok_or(BAD_ENCODING)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || digits == "00" {
            return Err(BAD_ENCODING);
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

const BAD_ENCODING: Fault =
    Fault::new(400, "the path has a percent sign without two hexadecimal digits, or %00");

/// A host with an optional port, when it is one: a name of letters, digits, hyphens and underscores, an IPv4
/// address, or an IPv6 address in brackets. Other forms that RFC 3986 would allow (percent-encoded names, future
/// IP versions, zones) are no hosts that anybody can route.
pub(crate) fn authority(text: &[u8]) -> Option<Authority> {
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
    (whole || tolerated(Weakness::MalformedHost)).then(|| name.to_ascii_lowercase())
}

fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
