//! Who may come in: networks and origins, and which of ingress-nginx's two names for one list counts.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Malformed, Parsed, list};
use crate::network::network;
use crate::origin::Origin;
use crate::policy::{AccessPatch, Guard, PolicyPatch, Satisfy};

const ALLOWLIST: &str = "nginx.ingress.kubernetes.io/allowlist-source-range";
const WHITELIST: &str = "nginx.ingress.kubernetes.io/whitelist-source-range";

pub(in crate::annotations) fn own_allow_cidrs(text: &str) -> Parsed {
    networks(text).map(allow)
}

pub(in crate::annotations) fn own_deny_cidrs(text: &str) -> Parsed {
    networks(text).map(deny)
}

pub(in crate::annotations) fn own_allow_origins(text: &str) -> Parsed {
    let origins: Option<Vec<_>> = list(text).map(Origin::read).collect();
    let origins = origins.filter(|origins| origins.len() <= MOST_ORIGINS).ok_or(Malformed {
        message: "is no list of origins",
        remedy: "write a comma list of at most 64, such as SameHost, https://chat.example.com, https://*.example.com",
    })?;
    Ok(of_access(AccessPatch { origins: Some(Guard::Holds(origins)), ..AccessPatch::default() }).into())
}

/// An empty text says nothing, as in ingress-nginx.
pub(in crate::annotations) fn nginx_allowlist(text: &str) -> Parsed {
    if text.is_empty() { Ok(PolicyPatch::default().into()) } else { own_allow_cidrs(text) }
}

/// An empty text says nothing, as in ingress-nginx.
pub(in crate::annotations) fn nginx_denylist(text: &str) -> Parsed {
    if text.is_empty() { Ok(PolicyPatch::default().into()) } else { own_deny_cidrs(text) }
}

pub(in crate::annotations) fn nginx_satisfy(text: &str) -> Parsed {
    let satisfy = match text {
        "all" => Satisfy::All,
        "any" => Satisfy::Any,
        _ => {
            return Err(Malformed { message: "does not say what is needed", remedy: "write any or all" });
        }
    };
    Ok(of_access(AccessPatch { satisfy: Some(satisfy), ..AccessPatch::default() }).into())
}

/// Whether a key is the old name of a list that its present name says already. ingress-nginx does not look at it then,
/// well-formed or not.
pub(in crate::annotations) fn is_superseded(key: &str, annotations: &BTreeMap<String, String>) -> bool {
    key == WHITELIST && annotations.get(ALLOWLIST).is_some_and(|text| !text.is_empty())
}

/// As many as a WsRoute may list.
const MOST_ORIGINS: usize = 64;

fn networks(text: &str) -> Result<Guard<Vec<IpNet>>, Malformed> {
    let networks: Option<Vec<_>> = list(text).map(network).collect();
    networks.map(Guard::Holds).ok_or(Malformed {
        message: "names something that is no network",
        remedy: "write a comma list of CIDRs and addresses, such as 10.0.0.0/8, 2001:db8::/32, 192.0.2.7",
    })
}

fn allow(networks: Guard<Vec<IpNet>>) -> super::Value {
    of_access(AccessPatch { allow: Some(networks), ..AccessPatch::default() }).into()
}

fn deny(networks: Guard<Vec<IpNet>>) -> super::Value {
    of_access(AccessPatch { deny: Some(networks), ..AccessPatch::default() }).into()
}

fn of_access(access: AccessPatch) -> PolicyPatch {
    PolicyPatch { access, ..PolicyPatch::default() }
}
