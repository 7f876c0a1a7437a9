//! What a host's section must keep to so that it can be served.

use routing::conditions::{Conditions, Value, field_name};
use snapshot::{Balance, Forward, HashPart, HostPattern, LocationPart, PathMatch, RedirectTo};

use crate::affinity;
use crate::auth::Auth;
use crate::fields::Fields;
use crate::forward::Rewrite;
use crate::path_regex::PathRegex;
use crate::upstream_tls::UpstreamTls;

/// What was made ready of a route while it was looked at.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) regex: Option<PathRegex>,
    pub(super) rewrite: Rewrite,
    pub(super) conditions: Conditions,
    pub(super) fields: Option<Box<Fields>>,
    pub(super) auth: Option<Auth>,
    /// Made by whoever builds the table.
    pub(super) upstream_tls: Option<Box<UpstreamTls>>,
}

/// What is ready of each of its routes, in their order; or what is wrong, for people.
pub(super) fn host(pattern: &HostPattern, host: &snapshot::Host) -> Result<Vec<Prepared>, String> {
    if let HostPattern::Exact(name) | HostPattern::Wildcard(name) = pattern
        && (name.is_empty() || name.ends_with('.') || name.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return Err(format!("host name {name:?} is not in lower case without a trailing dot"));
    }
    let routes = host.routes.iter();
    routes.map(|route| self::route(route).map_err(|reason| format!("{}: {reason}", route.id))).collect()
}

fn route(route: &snapshot::Route) -> Result<Prepared, String> {
    path(&route.path)?;
    balance(&route.balance)?;
    if let snapshot::Action::Forward(forward) = &route.action {
        self::forward(forward)?;
    }
    redirects(route)?;
    route.affinity.as_ref().map_or(Ok(()), affinity::check)?;
    let regex = match &route.path {
        PathMatch::Regex(pattern) => Some(PathRegex::new(pattern)?),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
    };
    let rewrite = Rewrite::new(&route.path, regex.as_ref(), route.rewrite.clone())?;
    let conditions = Conditions::new(route.conditions.clone())?;
    let auth = route.auth.as_ref().map(Auth::new).transpose()?;
    let fields = Fields::new(route.headers.clone())?;
    Ok(Prepared { regex, rewrite, conditions, fields, auth, upstream_tls: None })
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
    let (PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path)) = matched;
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

/// What a client is sent to is one line, and the status that of a redirect.
fn redirects(route: &snapshot::Route) -> Result<(), String> {
    let sound = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if route.app_root.as_ref().is_some_and(|root| !root.starts_with('/') || !sound(root)) {
        return Err("what its root is sent to is no path".to_owned());
    }
    let snapshot::Action::Redirect(RedirectTo { status, location }) = &route.action else { return Ok(()) };
    let texts = location.iter().all(|part| !matches!(part, LocationPart::Text(text) if !sound(text)));
    if location.is_empty() || !texts || !(300..=308).contains(status) {
        return Err("it sends clients nowhere".to_owned());
    }
    Ok(())
}
