//! Where ingress-nginx sends clients instead of to a backend.

use std::collections::BTreeMap;

use super::super::NGINX;
use super::cors::Remark;
use super::{Malformed, Parsed, Value, nginx_bool, of_ingress};
use crate::grammar;
use crate::policy::IngressPatch;
use crate::policy::redirects::{LocationPart, RedirectsPatch};

pub(in super::super) fn permanent(text: &str) -> Parsed {
    Ok(redirects(RedirectsPatch { permanent: Some(location(text)?), ..RedirectsPatch::default() }))
}

pub(in super::super) fn permanent_code(text: &str) -> Parsed {
    Ok(redirects(RedirectsPatch { permanent_code: Some(code(text, 308)?), ..RedirectsPatch::default() }))
}

pub(in super::super) fn temporal(text: &str) -> Parsed {
    Ok(redirects(RedirectsPatch { temporal: Some(location(text)?), ..RedirectsPatch::default() }))
}

pub(in super::super) fn temporal_code(text: &str) -> Parsed {
    Ok(redirects(RedirectsPatch { temporal_code: Some(code(text, 307)?), ..RedirectsPatch::default() }))
}

pub(in super::super) fn app_root(text: &str) -> Parsed {
    if !grammar::SENT_PATH.holds(text) || text == "/" || text.starts_with("//") || text.len() > 1024 {
        return Err(Malformed {
            message: "is no path below the root",
            remedy: "write a path that begins with one /, such as /app",
        });
    }
    Ok(redirects(RedirectsPatch { app_root: Some(text.to_owned()), ..RedirectsPatch::default() }))
}

pub(in super::super) fn from_to_www(text: &str) -> Parsed {
    let from_to_www = Some(nginx_bool(text)?);
    Ok(redirects(RedirectsPatch { from_to_www, ..RedirectsPatch::default() }))
}

/// A code has a meaning beside its redirect only.
pub(in super::super) fn alone(
    annotations: &BTreeMap<String, String>,
    theirs: &RedirectsPatch,
) -> Vec<Remark> {
    let of = |name: &str, code: Option<u16>, without: bool| {
        let key = format!("{NGINX}{name}-code");
        let set = code.is_some() && without && !annotations.contains_key(&format!("{NGINX}{name}"));
        set.then_some((key, "has no effect: there is no redirect beside it", "name where to, or remove it"))
    };
    let permanent = of("permanent-redirect", theirs.permanent_code, theirs.permanent.is_none());
    let temporal = of("temporal-redirect", theirs.temporal_code, theirs.temporal.is_none());
    permanent.into_iter().chain(temporal).collect()
}

fn redirects(redirects: RedirectsPatch) -> Value {
    of_ingress(IngressPatch { redirects, ..IngressPatch::default() })
}

fn code(text: &str, most: u16) -> Result<u16, Malformed> {
    const GRAMMAR: Malformed = Malformed {
        message: "is no status of a redirect",
        remedy: "write one from 300 to 308, for temporal-redirect-code from 300 to 307; such as 302",
    };
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let status = text.parse().ok().filter(|status| digits && (300..=most).contains(status));
    // Those that mean something else: 304 says "as you have it", 305 and 306 are gone.
    status.filter(|status| !matches!(status, 304..=306)).ok_or(GRAMMAR)
}

/// A URL with `$scheme`, `$host` and `$request_uri` in it.
fn location(text: &str) -> Result<Vec<LocationPart>, Malformed> {
    const GRAMMAR: Malformed = Malformed {
        message: "is no address to send clients to",
        remedy: "write an http or https URL, in which $scheme, $host and $request_uri stand for the client's own, \
                 such as https://www.example.com$request_uri",
    };
    let schemes = ["http://", "https://", "$scheme://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or(GRAMMAR)?;
    let sound = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if rest.is_empty() || rest.starts_with('/') || text.len() > 1024 || !text.bytes().all(sound) {
        return Err(GRAMMAR);
    }
    let mut pieces = text.split('$');
    let first = pieces.next().unwrap_or_default();
    let mut found = Vec::new();
    if !first.is_empty() {
        found.push(LocationPart::Text(first.to_owned()));
    }
    for piece in pieces {
        let end = piece.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(piece.len());
        let (name, behind) = piece.split_at(end);
        found.push(match name {
            "scheme" => LocationPart::Scheme,
            "host" => LocationPart::Host,
            "request_uri" => LocationPart::Target,
            _ => return Err(GRAMMAR),
        });
        if !behind.is_empty() {
            found.push(LocationPart::Text(behind.to_owned()));
        }
    }
    Ok(found)
}
