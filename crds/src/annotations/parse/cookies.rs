//! What becomes of the cookies that backends set, as ingress-nginx says it.

use super::{Malformed, Parsed};
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::headers::{CookiesPatch, HeadersPatch};

pub(in super::super) fn domain(text: &str) -> Parsed {
    let sound = |name: &str| grammar::HOST.holds(name) && name.len() <= 253 && !name.starts_with('*');
    // As in nginx, a dot in front says nothing.
    let name = |name: &str| name.strip_prefix('.').unwrap_or(name).to_ascii_lowercase();
    let pair = pair(text)?.map(|(from, to)| (name(from), name(to)));
    if pair.as_ref().is_some_and(|(from, to)| !sound(from) || !sound(to)) {
        return Err(Malformed {
            message: "are no two domains",
            remedy: "write off, or two names with a blank between them, such as chat.internal chat.example.com",
        });
    }
    Ok(cookies(CookiesPatch { domain: pair, ..CookiesPatch::default() }))
}

pub(in super::super) fn path(text: &str) -> Parsed {
    let sound = |path: &str| grammar::SENT_PATH.holds(path) && !path.contains(';') && path.len() <= 1024;
    let pair = pair(text)?.map(|(from, to)| (from.to_owned(), to.to_owned()));
    if pair.as_ref().is_some_and(|(from, to)| !sound(from) || !sound(to)) {
        return Err(Malformed {
            message: "are no two paths",
            remedy: "write off, or two paths with a blank between them, such as /one/ /",
        });
    }
    Ok(cookies(CookiesPatch { path: pair, ..CookiesPatch::default() }))
}

/// Two words, or none where it is off.
fn pair(text: &str) -> Result<Option<(&str, &str)>, Malformed> {
    if text == "off" {
        return Ok(None);
    }
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), None) => Ok(Some((from, to))),
        _ => Err(Malformed {
            message: "is neither off nor two words",
            remedy: "write what is replaced, a blank, and what by",
        }),
    }
}

fn cookies(cookies: CookiesPatch) -> super::Value {
    let headers = HeadersPatch { cookies, ..HeadersPatch::default() };
    PolicyPatch { headers, ..PolicyPatch::default() }.into()
}
