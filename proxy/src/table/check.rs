//! What a host's section must keep to so that it can be served.

use snapshot::{Balance, Forward, HashPart, HostPattern, PathMatch};

use super::conditions::{Conditions, Value};
use crate::forward::Rewrite;
use crate::head::is_token;

/// What was made ready of a route while it was looked at.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) rewrite: Rewrite,
    pub(super) conditions: Conditions,
}

/// What is ready of each of its routes, in their order; or what is wrong, for people.
pub(super) fn host(pattern: &HostPattern, host: &snapshot::Host) -> Result<Vec<Ready>, String> {
    if let HostPattern::Exact(name) | HostPattern::Wildcard(name) = pattern
        && (name.is_empty() || name.ends_with('.') || name.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return Err(format!("host name {name:?} is not in lower case without a trailing dot"));
    }
    let routes = host.routes.iter();
    routes.map(|route| self::route(route).map_err(|reason| format!("{}: {reason}", route.id))).collect()
}

fn route(route: &snapshot::Route) -> Result<Ready, String> {
    path(&route.path)?;
    balance(&route.balance)?;
    if let snapshot::Action::Forward(forward) = &route.action {
        self::forward(forward)?;
    }
    Ok(Ready {
        rewrite: Rewrite::new(&route.path, route.rewrite.clone())?,
        conditions: Conditions::new(route.conditions.clone())?,
    })
}

fn forward(forward: &Forward) -> Result<(), String> {
    if forward.backends.is_empty() {
        return Err("it forwards to nothing".to_owned());
    }
    let Some(canary) = &forward.canary else { return Ok(()) };
    if canary.backends.is_empty() || canary.total == 0 {
        return Err("its canary has no backend, or a share of nothing".to_owned());
    }
    let Some(header) = &canary.header else { return Ok(()) };
    header.value.clone().map(Value::new).transpose()?;
    field_name(&header.name)
}

fn path(matched: &PathMatch) -> Result<(), String> {
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = matched;
    if !path.starts_with('/') {
        return Err(format!("path {path:?} does not begin with a slash"));
    }
    if matches!(matched, PathMatch::Prefix(prefix) if prefix.len() > 1 && prefix.ends_with('/')) {
        return Err(format!("prefix {path:?} ends with a slash"));
    }
    Ok(())
}

fn balance(balance: &Balance) -> Result<(), String> {
    let Balance::ConsistentHash(parts) = balance else { return Ok(()) };
    if parts.is_empty() {
        return Err("it hashes nothing".to_owned());
    }
    parts.iter().try_for_each(|part| match part {
        HashPart::Header(name) => field_name(name),
        HashPart::Cookie(name) | HashPart::QueryParameter(name) if name.is_empty() => {
            Err("a part of a request to hash has no name".to_owned())
        }
        _ => Ok(()),
    })
}

pub(super) fn field_name(name: &str) -> Result<(), String> {
    if is_token(name.as_bytes()) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(format!("{name:?} is no field name in lower case"))
}
