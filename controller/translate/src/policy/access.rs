//! Who may come in.

use crds::origin::{Origin, Port};
use crds::policy::{self, AccessPatch, Guard};
use ipnet::IpNet;
use snapshot::{Access, OriginMatch, OriginPort, Satisfy};

/// Why a route must answer 503: a setting that was to keep somebody out of it does not read.
pub(crate) fn unreadable(patch: &AccessPatch) -> Option<String> {
    let AccessPatch { allow, deny, origins, satisfy: _ } = patch;
    let settings = [
        ("allow", matches!(allow, Some(Guard::Unreadable))),
        ("deny", matches!(deny, Some(Guard::Unreadable))),
        ("origins", matches!(origins, Some(Guard::Unreadable))),
    ];
    let (name, _) = settings.into_iter().find(|(_, unreadable)| *unreadable)?;
    Some(format!("access.{name} does not read"))
}

/// Lists in one order, with nothing in them twice.
pub(crate) fn access(patch: &AccessPatch) -> Access {
    let mut origins: Vec<_> = items(patch.origins.as_ref()).iter().map(origin).collect();
    origins.sort();
    origins.dedup();
    let satisfy = match patch.satisfy.unwrap_or_default() {
        policy::Satisfy::All => Satisfy::All,
        policy::Satisfy::Any => Satisfy::Any,
    };
    Access { allow: networks(patch.allow.as_ref()), deny: networks(patch.deny.as_ref()), origins, satisfy }
}

/// The fewest networks that cover the same addresses.
fn networks(guard: Option<&Guard<Vec<IpNet>>>) -> Vec<IpNet> {
    IpNet::aggregate(&items(guard).to_vec())
}

/// A route with a list that does not read is closed.
fn items<T>(guard: Option<&Guard<Vec<T>>>) -> &[T] {
    match guard {
        Some(Guard::Holds(items)) => items,
        Some(Guard::Unreadable) | None => &[],
    }
}

fn origin(origin: &Origin) -> OriginMatch {
    match origin {
        Origin::SameHost => OriginMatch::SameHost,
        Origin::Null => OriginMatch::Null,
        Origin::Of { scheme, host, port } => OriginMatch::Of {
            scheme: scheme.clone(),
            host: host.clone(),
            port: match port {
                Port::Exactly(port) => OriginPort::Exactly(*port),
                Port::Any => OriginPort::Any,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_networks_are_the_same_list() {
        let list = |texts: &[&str]| {
            let networks = texts.iter().map(|text| text.parse().unwrap()).collect();
            access(&AccessPatch { allow: Some(Guard::Holds(networks)), ..AccessPatch::default() }).allow
        };
        let one = list(&["10.0.0.0/9", "::1/128", "10.128.0.0/9", "10.1.0.0/16"]);
        assert_eq!(one.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
        assert_eq!(list(&["::1/128", "10.0.0.0/8", "10.0.0.0/8"]), one);
        assert_eq!(list(&["0.0.0.0/0", "::/0"]).len(), 2);
    }

    #[test]
    fn a_list_that_does_not_read_is_named() {
        let mut patch = AccessPatch { deny: Some(Guard::Holds(Vec::new())), ..AccessPatch::default() };
        assert_eq!(unreadable(&patch), None);
        patch.origins = Some(Guard::Unreadable);
        assert_eq!(unreadable(&patch).as_deref(), Some("access.origins does not read"));
    }
}
