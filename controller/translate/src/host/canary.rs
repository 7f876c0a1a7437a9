//! Canaries: who takes a part of whose requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::annotations::NGINX;
use crds::policy::CanaryPatch;
use snapshot::{Action, Canary, CanaryHeader, HostPattern, PathMatch, Route, UpstreamId, ValueMatch};

use super::{Candidate, Tier};
use crate::draft::{DraftRoute, Owner};
use crate::object::Asked;
use crate::policy;
use crate::report::{Conflict, Tally, remark};

/// The canary of each place among routes. One that finds none is told so, and so is one that comes second.
pub(super) fn assign<'a>(
    host: &HostPattern,
    canaries: impl Iterator<Item = &'a Candidate<'a>>,
    routes: &[(usize, &Candidate<'a>)],
    mut tallies: Option<&mut BTreeMap<Arc<Owner>, Tally>>,
) -> BTreeMap<(Tier, &'a PathMatch), &'a Candidate<'a>> {
    let mut assigned: BTreeMap<_, &Candidate<'_>> = BTreeMap::new();
    for canary in canaries {
        let has_route = routes.iter().any(|(_, route)| route.place() == canary.place());
        let first = has_route.then(|| *assigned.entry(canary.place()).or_insert(canary));
        if let Some(tallies) = &mut tallies {
            tell(host, canary, first, tallies.entry(canary.claimant.asked.owner.clone()).or_default());
        }
    }
    assigned
}

/// What a canary is told: `first` is who has its place.
fn tell(host: &HostPattern, canary: &Candidate<'_>, first: Option<&Candidate<'_>>, tally: &mut Tally) {
    let (Asked { reference, .. }, DraftRoute { path, field, .. }) = (canary.claimant.asked, canary.route);
    tally.wanted += 1;
    match first {
        None => {
            tally.broken += 1;
            let message =
                format!("nothing else is served at host {host} {path} that this could be the canary of");
            let remedy = format!("create that Ingress, or remove the annotation {NGINX}canary");
            tally.notes.invalid(remark(reference, field, "NoMainRoute", message, remedy));
        }
        Some(first) if !std::ptr::eq(first, canary) => {
            tally.lost += 1;
            let owner = first.claimant.asked.reference.clone();
            let path = format!("the canary of {path}");
            tally.conflict(reference, field, Conflict { host: host.to_string(), path, owner });
        }
        Some(_) => tally.broken += usize::from(canary.route.broken.is_some()),
    }
}

/// A regular expression that fits what this one is found in, which is how nginx compares.
pub(crate) fn found(pattern: &str) -> String {
    format!("(?s:.*)(?:{pattern})(?s:.*)")
}

/// Lets a route forward to its canary, unless one of the two leads nowhere. Who then may be forwarded to.
pub(super) fn put_in<'a>(
    route: &mut Route,
    main: &Candidate<'_>,
    canary: &'a Candidate<'_>,
) -> impl Iterator<Item = UpstreamId> + 'a {
    let backends = match (&mut route.action, &canary.target.action) {
        (Action::Forward(forward), Action::Forward(canaries)) => {
            let CanaryPatch { header, header_value, header_pattern, cookie, weight, total, .. } =
                canary.route.patch.ingress.canary.clone();
            let pattern = header_pattern.map(|text| ValueMatch::Regex(found(&text)));
            let value = header_value.map(ValueMatch::Exact).or(pattern);
            let header = header.map(|name| CanaryHeader { name, value });
            let (weight, total) = (weight.unwrap_or(0), total.unwrap_or(100));
            let backends = canaries.backends.clone();
            let sticky = canary.route.patch.affinity.canary_sticky;
            let sticky = sticky.or(main.route.patch.affinity.canary_sticky).unwrap_or(true);
            forward.canary = Some(Canary { header, cookie, weight, total, backends, sticky });
            policy::upstream_tls::add_canary(&mut route.upstream_tls, canary.target.upstream_tls.as_deref());
            Some(&canary.target.upstreams)
        }
        _ => None,
    };
    backends.into_iter().flatten().cloned()
}
