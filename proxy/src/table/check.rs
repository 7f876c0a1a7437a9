//! What a host's section must keep to so that it can be served.

use snapshot::{Balance, Condition, Conditions, Forward, HashPart, HostPattern, PathMatch};

use crate::auth::Auth;
use crate::forward::Rewrite;
use crate::head::is_token;

/// What each of its routes rewrites, in their order; or what is wrong, for people.
/// What of a route was built while it was looked at.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) rewrite: Rewrite,
    pub(super) auth: Option<Auth>,
}

pub(super) fn host(pattern: &HostPattern, host: &snapshot::Host) -> Result<Vec<Checked>, String> {
    if let HostPattern::Exact(name) | HostPattern::Wildcard(name) = pattern
        && (name.is_empty() || name.ends_with('.') || name.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return Err(format!("host name {name:?} is not in lower case without a trailing dot"));
    }
    let routes = host.routes.iter();
    routes.map(|route| self::route(route).map_err(|reason| format!("{}: {reason}", route.id))).collect()
}

fn route(route: &snapshot::Route) -> Result<Checked, String> {
    path(&route.path)?;
    conditions(&route.conditions)?;
    balance(&route.balance)?;
    if let snapshot::Action::Forward(forward) = &route.action {
        self::forward(forward)?;
    }
    let auth = route.auth.as_ref().map(Auth::new).transpose()?;
    Ok(Checked { rewrite: Rewrite::new(&route.path, route.rewrite.clone())?, auth })
}

fn forward(forward: &Forward) -> Result<(), String> {
    if forward.backends.is_empty() {
        return Err("it forwards to nothing".to_owned());
    }
    let Some(canary) = &forward.canary else { return Ok(()) };
    if canary.backends.is_empty() || canary.total == 0 {
        return Err("its canary has no backend, or a share of nothing".to_owned());
    }
    canary.header.as_ref().map_or(Ok(()), |header| field_name(&header.name))
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

fn conditions(conditions: &Conditions) -> Result<(), String> {
    let Conditions { headers, query, subprotocols } = conditions;
    headers.iter().try_for_each(|Condition { name, .. }| field_name(name))?;
    if query.iter().any(|Condition { name, .. }| name.is_empty()) {
        return Err("a query parameter has no name".to_owned());
    }
    match subprotocols.iter().find(|name| !is_token(name.as_bytes())) {
        Some(name) => Err(format!("{name:?} is no subprotocol")),
        None => Ok(()),
    }
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

fn field_name(name: &str) -> Result<(), String> {
    if is_token(name.as_bytes()) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(format!("{name:?} is no field name in lower case"))
}
