//! Fields of requests and responses, and Strict-Transport-Security.

use super::{Malformed, Parsed};
use crate::duration::Duration;
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::headers::{
    ChangesPatch, Direction, Field, HeadersPatch, HstsPatch, MOST_BYTES, repeated, reserved,
};

/// The least, in seconds, that lists of browsers take.
const YEAR: u64 = 8760 * 3600;

/// The most fields that one key may name.
const MOST: usize = 16;

pub(in super::super) fn own_set_request(text: &str) -> Parsed {
    let set = lines(text, Direction::Request)?;
    if repeated(&set).is_some() {
        return Err(Malformed {
            message: "sets a field twice",
            remedy: "write each name once; several values of a list are separated by commas",
        });
    }
    let request = ChangesPatch { set: Some(set), ..ChangesPatch::default() };
    Ok(headers(HeadersPatch { request, ..HeadersPatch::default() }).into())
}

pub(in super::super) fn own_add_response(text: &str) -> Parsed {
    let add = Some(lines(text, Direction::Response)?);
    let response = ChangesPatch { add, ..ChangesPatch::default() };
    Ok(headers(HeadersPatch { response, ..HeadersPatch::default() }).into())
}

/// `4320h`, with `includeSubdomains` and `preload` behind commas.
pub(in super::super) fn own_hsts(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is no rule for browsers",
        remedy: "write how long they are to use TLS only, and what goes with it, such as 4320h, includeSubdomains",
    };
    let mut parts = text.split(',').map(str::trim);
    let age: Duration = parts.next().unwrap_or_default().parse().map_err(|_| GRAMMAR)?;
    let mut hsts = HstsPatch {
        max_age: Some(age.as_millis() / 1000),
        include_subdomains: Some(false),
        preload: Some(false),
    };
    for part in parts {
        match part {
            "includeSubdomains" => hsts.include_subdomains = Some(true),
            "preload" => hsts.preload = Some(true),
            _ => return Err(GRAMMAR),
        }
    }
    if hsts.preload == Some(true)
        && (hsts.include_subdomains != Some(true) || hsts.max_age.is_none_or(|age| age < YEAR))
    {
        return Err(Malformed {
            message: "asks to be preloaded, which needs includeSubdomains and at least 8760h",
            remedy: "write 8760h, includeSubdomains, preload, or leave preload out",
        });
    }
    Ok(PolicyPatch { hsts, ..PolicyPatch::default() }.into())
}

fn headers(headers: HeadersPatch) -> PolicyPatch {
    PolicyPatch { headers, ..PolicyPatch::default() }
}

/// `Name: value`, one a line; empty lines are passed over.
fn lines(text: &str, direction: Direction) -> Result<Vec<Field>, Malformed> {
    const GRAMMAR: Malformed = Malformed {
        message: "is not made of lines with a name, a colon and a value",
        remedy: "write one field a line, such as X-Tenant: blue, at most 16 of them and 16Ki together",
    };
    let mut fields = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(GRAMMAR)?;
        let value = value.trim();
        if !grammar::TOKEN.holds(name) || !grammar::FIELD_VALUE.holds(value) {
            return Err(GRAMMAR);
        }
        if let Some(remedy) = reserved(name, direction) {
            return Err(Malformed { message: "names a field that is not a route's to change", remedy });
        }
        fields.push((name.to_owned(), value.to_owned()));
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.is_empty() || fields.len() > MOST || bytes > MOST_BYTES {
        return Err(GRAMMAR);
    }
    Ok(fields)
}
