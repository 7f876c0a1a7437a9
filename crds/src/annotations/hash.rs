//! What consistent hashing hashes: our own words, and nginx's text of variables.

use super::parse::{Malformed, Note, Parsed, Value};
use crate::grammar;
use crate::policy::{HashPart, LoadBalancing, LoadBalancingPatch, PolicyPatch};

/// `client-address`, `header:NAME`, `cookie:NAME`, `query:NAME` or `path`. Naming it asks for consistent hashing.
pub(super) fn own_hash_on(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is nothing that can be hashed",
        remedy: "write client-address, header:NAME, cookie:NAME, query:NAME or path",
    };
    let part = match text.split_once(':') {
        None if text == "client-address" => HashPart::ClientAddress,
        None if text == "path" => HashPart::Path,
        Some(("header", name)) if grammar::TOKEN.holds(name) => HashPart::Header(name.to_ascii_lowercase()),
        Some(("cookie", name)) if grammar::TOKEN.holds(name) => HashPart::Cookie(name.to_owned()),
        Some(("query", name)) if grammar::PARAMETER.holds(name) => HashPart::QueryParameter(name.to_owned()),
        _ => return Err(GRAMMAR),
    };
    Ok(hashing(vec![part]).into())
}

/// Text with nginx's variables in it, `$x` or `${x}`. Text between them is the same for every request, so that
/// leaving it out moves no two requests together that nginx would keep apart, but for borders between values.
pub(super) fn nginx_hash_by(text: &str) -> Parsed {
    let mut parts: Vec<HashPart> = Vec::new();
    let mut note = None;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (name, after) = variable(&rest[at + 1..]).ok_or(UNKNOWN)?;
        let (part, remark) = part_of(name).ok_or(UNKNOWN)?;
        if !parts.contains(&part) {
            parts.push(part);
        }
        note = note.or(remark);
        rest = after;
    }
    if parts.is_empty() {
        return Err(Malformed {
            message: "names no variable, so that everything would go to one endpoint",
            remedy: UNKNOWN.remedy,
        });
    }
    Ok(Value { patch: hashing(parts), note })
}

const UNKNOWN: Malformed = Malformed {
    message: "names a variable that is not served",
    remedy: "use $remote_addr, $binary_remote_addr, $http_x_forwarded_for, $request_uri, $uri, $host, $arg_NAME, \
             $http_NAME and $cookie_NAME only, or longhaul.dev/hash-on",
};

/// The name after a `$`, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = match text.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => text.split_at(text.find(|c: char| !in_name(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(in_name)).then_some((name, after))
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What a variable of nginx stands for here. nginx folds variables' names to lower case, but for what follows
/// `cookie_`, and compares arguments' names without case; these are taken as they are written.
fn part_of(name: &str) -> Option<(HashPart, Option<Note>)> {
    const FORWARDED: Note = Note {
        message: "is served as a hash of the client's address, which Longhaul takes from X-Forwarded-For of trusted \
                  proxies only: anybody can send the field itself",
        remedy: "name the peers whose fields are believed with the controller's --trusted-proxies",
    };
    let named = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
    let part = match name {
        "remote_addr" | "binary_remote_addr" => HashPart::ClientAddress,
        "http_x_forwarded_for" => return Some((HashPart::ClientAddress, Some(FORWARDED))),
        "request_uri" => HashPart::Target,
        "uri" => HashPart::Path,
        "host" | "http_host" => HashPart::Host,
        _ => {
            let argument = named("arg_").map(|name| HashPart::QueryParameter(name.to_owned()));
            let cookie = || named("cookie_").map(|name| HashPart::Cookie(name.to_owned()));
            let field =
                || named("http_").map(|name| HashPart::Header(name.to_ascii_lowercase().replace('_', "-")));
            argument.or_else(cookie).or_else(field)?
        }
    };
    Some((part, None))
}

fn hashing(parts: Vec<HashPart>) -> PolicyPatch {
    let load_balancing =
        LoadBalancingPatch { policy: Some(LoadBalancing::ConsistentHash), hash_on: Some(parts), ring: None };
    PolicyPatch { load_balancing, ..PolicyPatch::default() }
}
