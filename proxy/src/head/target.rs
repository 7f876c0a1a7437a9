//! Request targets (RFC 9112 §3.2). Characters, authorities and paths are [`routing::text`]'s.

use routing::text::{self, Authority, BadPath, is_target_byte};

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
    let whole = whole(target)?;
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
fn whole(target: &[u8]) -> Result<&str, Fault> {
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

/// The path for matching. Servers disagree about a path that climbs above the root, so it is refused.
fn normalise(path: &str) -> Result<String, Fault> {
    match text::normalise(path) {
        Err(BadPath::AboveRoot) if tolerated(Weakness::AboveRoot) => Ok("/".to_owned()),
        normal => normal.map_err(|why| Fault::new(400, why.message())),
    }
}

/// A host with an optional port, [when it is one](text::authority).
pub(crate) fn authority(written: &[u8]) -> Option<Authority> {
    text::authority(written).or_else(|| {
        let text =
            std::str::from_utf8(written).ok().filter(|_| tolerated(Weakness::MalformedHost))?.to_owned();
        Some(Authority { host: text.to_ascii_lowercase(), text, port: None })
    })
}
