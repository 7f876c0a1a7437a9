//! How clients come back to their endpoint. Of both families one key asks for the cookie, and the others say of it: see
//! [`put_together`].

use std::collections::BTreeMap;

use super::super::{NGINX, OWN};
use super::cors::Remark;
use super::{Malformed, Parsed, Value, nginx_bool, own_bool};
use crate::duration::Duration;
use crate::grammar::{self, Grammar};
use crate::policy::{AffinityPatch, LoadBalancingPatch, PolicyPatch, Ring, SameSite};

/// How ingress-nginx names it.
const THEIR_NAME: &str = "INGRESSCOOKIE";

/// A name, or `off`.
pub(in super::super) fn own_cookie(text: &str) -> Parsed {
    if text == "off" {
        return Ok(affinity(AffinityPatch { cookie: Some(false), ..AffinityPatch::default() }));
    }
    let name = Some(fitting(text, &grammar::TOKEN, NAME)?);
    Ok(affinity(AffinityPatch { cookie: Some(true), name, ..AffinityPatch::default() }))
}

pub(in super::super) fn own_max_age(text: &str) -> Parsed {
    let age: Duration = text.parse().map_err(|_| Malformed {
        message: "is not a duration",
        remedy: "write a duration with unit (h, m, s, ms), such as 24h; 0s: until the browser ends",
    })?;
    Ok(affinity(AffinityPatch { max_age: Some(age.as_millis().div_ceil(1000)), ..AffinityPatch::default() }))
}

pub(in super::super) fn path(text: &str) -> Parsed {
    const GRAMMAR: Malformed =
        Malformed { message: "is no path of a cookie", remedy: "write a path that begins with /, without ;" };
    let path = Some(fitting(text, &grammar::COOKIE_PATH, GRAMMAR)?);
    Ok(affinity(AffinityPatch { path, ..AffinityPatch::default() }))
}

pub(in super::super) fn domain(text: &str) -> Parsed {
    const GRAMMAR: Malformed =
        Malformed { message: "is no domain of a cookie", remedy: "write a DNS name, such as example.com" };
    let domain = Some(fitting(text, &grammar::COOKIE_DOMAIN, GRAMMAR)?);
    Ok(affinity(AffinityPatch { domain, ..AffinityPatch::default() }))
}

/// In any case of letters, as ingress-nginx has it.
pub(in super::super) fn same_site(text: &str) -> Parsed {
    let same_site = match text.to_ascii_lowercase().as_str() {
        "strict" => SameSite::Strict,
        "lax" => SameSite::Lax,
        "none" => SameSite::None,
        _ => {
            return Err(Malformed {
                message: "is nothing that SameSite can be",
                remedy: "write Strict, Lax or None",
            });
        }
    };
    Ok(affinity(AffinityPatch { same_site: Some(same_site), ..AffinityPatch::default() }))
}

pub(in super::super) fn own_secure(text: &str) -> Parsed {
    Ok(affinity(AffinityPatch { secure: Some(own_bool(text)?), ..AffinityPatch::default() }))
}

pub(in super::super) fn engine_io(text: &str) -> Parsed {
    Ok(affinity(AffinityPatch { engine_io: Some(own_bool(text)?), ..AffinityPatch::default() }))
}

pub(in super::super) fn ring(text: &str) -> Parsed {
    let ring = match text {
        "address" => Ring::Address,
        "pod-name" => Ring::PodName,
        _ => {
            return Err(Malformed {
                message: "is nothing that endpoints are told apart by",
                remedy: "write address or pod-name",
            });
        }
    };
    let load_balancing = LoadBalancingPatch { ring: Some(ring), ..LoadBalancingPatch::default() };
    Ok(PolicyPatch { load_balancing, ..PolicyPatch::default() }.into())
}

/// `cookie` is all that there is. Defaults that are not ours come with it.
pub(in super::super) fn nginx_affinity(text: &str) -> Parsed {
    if text != "cookie" {
        return Err(Malformed { message: "is no kind of affinity", remedy: "write cookie" });
    }
    Ok(affinity(AffinityPatch { cookie: Some(true), ..AffinityPatch::default() }))
}

pub(in super::super) fn nginx_mode(text: &str) -> Parsed {
    let rebalance = match text {
        "balanced" => true,
        "persistent" => false,
        _ => return Err(Malformed { message: "is no mode", remedy: "write balanced or persistent" }),
    };
    Ok(affinity(AffinityPatch { rebalance: Some(rebalance), ..AffinityPatch::default() }))
}

pub(in super::super) fn nginx_canary_behavior(text: &str) -> Parsed {
    let sticky = match text {
        "sticky" => true,
        "legacy" => false,
        _ => return Err(Malformed { message: "is no behavior", remedy: "write sticky or legacy" }),
    };
    Ok(affinity(AffinityPatch { canary_sticky: Some(sticky), ..AffinityPatch::default() }))
}

pub(in super::super) fn nginx_change_on_failure(text: &str) -> Parsed {
    Ok(affinity(AffinityPatch { change_on_failure: Some(nginx_bool(text)?), ..AffinityPatch::default() }))
}

pub(in super::super) fn nginx_secure(text: &str) -> Parsed {
    Ok(affinity(AffinityPatch { secure: Some(nginx_bool(text)?), ..AffinityPatch::default() }))
}

pub(in super::super) fn nginx_name(text: &str) -> Parsed {
    let name = Some(fitting(text, &grammar::TOKEN, NAME)?);
    Ok(affinity(AffinityPatch { name, ..AffinityPatch::default() }))
}

/// Also of `session-cookie-expires`, which comes first in the order of keys: both say how long, and where both are set
/// browsers go by Max-Age.
pub(in super::super) fn nginx_max_age(text: &str) -> Parsed {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let max_age = text.parse().ok().filter(|_| digits);
    let max_age = Some(max_age.ok_or(Malformed {
        message: "is no number of seconds",
        remedy: "write whole seconds, such as 172800",
    })?);
    Ok(affinity(AffinityPatch { max_age, ..AffinityPatch::default() }))
}

const NAME: Malformed =
    Malformed { message: "is no name of a cookie", remedy: "write one name, such as route" };

fn fitting(text: &str, grammar: &Grammar, malformed: Malformed) -> Result<String, Malformed> {
    if grammar.holds(text) && text.len() <= 1024 { Ok(text.to_owned()) } else { Err(malformed) }
}

fn affinity(affinity: AffinityPatch) -> Value {
    PolicyPatch { affinity, ..PolicyPatch::default() }.into()
}

/// What the keys say together: those of ingress-nginx mean something beside `affinity` only, and bring its defaults;
/// ours beside a cookie of either family.
pub(in super::super) fn put_together(
    annotations: &BTreeMap<String, String>,
    own: &AffinityPatch,
    theirs: &mut AffinityPatch,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut alone = |keys: Vec<String>, message, remedy| {
        remarks.extend(
            keys.into_iter().filter(|key| annotations.contains_key(key)).map(|key| (key, message, remedy)),
        );
    };
    if theirs.cookie == Some(true) {
        theirs.name.get_or_insert_with(|| THEIR_NAME.to_owned());
        theirs.rebalance.get_or_insert(true);
        theirs.change_on_failure.get_or_insert(false);
    } else {
        let sticky = theirs.canary_sticky;
        let said = std::mem::take(theirs);
        // Said of a canary, which has no cookie of its own.
        theirs.canary_sticky = sticky;
        let told = annotations.contains_key(&format!("{NGINX}affinity"));
        if said != *theirs && !told && own.cookie.is_none() {
            let keys = OF_COOKIE.iter().map(|name| format!("{NGINX}{name}")).collect();
            alone(
                keys,
                "has no effect: affinity is not set",
                "set affinity to cookie beside it, or remove it",
            );
        }
    }
    let of_cookie = AffinityPatch { engine_io: None, ..own.clone() } != AffinityPatch::default();
    if of_cookie && own.cookie.is_none() && theirs.cookie.is_none() {
        let keys = ["domain", "max-age", "path", "same-site", "secure"];
        let keys = keys.iter().map(|name| format!("{OWN}affinity-cookie-{name}")).collect();
        alone(
            keys,
            "has no effect: there is no cookie",
            "name it by longhaul.dev/affinity-cookie, or remove it",
        );
    }
    let (same_site, secure) = if own.same_site.is_some() {
        (format!("{OWN}affinity-cookie-same-site"), own.secure.or(theirs.secure))
    } else {
        (format!("{NGINX}session-cookie-samesite"), own.secure.or(theirs.secure))
    };
    let dropped =
        AffinityPatch { same_site: own.same_site.or(theirs.same_site), secure, ..AffinityPatch::default() };
    if dropped.is_dropped() {
        alone(
            vec![same_site],
            "is for every site's pages, and browsers drop such a cookie that is not secure",
            "let it be secure, or write Lax",
        );
    }
    remarks
}

/// What ingress-nginx's keys say of the cookie.
const OF_COOKIE: [&str; 9] = [
    "affinity-mode",
    "session-cookie-change-on-failure",
    "session-cookie-domain",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-name",
    "session-cookie-path",
    "session-cookie-samesite",
    "session-cookie-secure",
];
