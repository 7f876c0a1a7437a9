//! Whose a host is, where a class says that hosts belong to namespaces: that of the oldest object that names the host,
//! for its routes or under tls. A host is a name as it is written: `*.example.com` is not `chat.example.com`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::wspolicy::HostOwnership;
use snapshot::HostPattern;

use super::Claimant;
use crate::draft::{Owner, Position};
use crate::object::Asked;
use crate::report::{Conflict, Tally};

/// Whether an object has to leave a host to the oldest one that names it: where either one's class says so.
pub(crate) fn yields(asked: &Asked, oldest: &Asked) -> bool {
    let owned = [asked, oldest].iter().any(|asked| asked.ownership == HostOwnership::Namespace);
    owned && asked.owner.namespace() != oldest.owner.namespace()
}

/// Takes out who has to leave the host to the oldest object that names it, and tells them so.
pub(super) fn evict(
    host: &HostPattern,
    claimants: &mut Vec<Claimant<'_>>,
    oldest: Option<&Asked>,
    tallies: &mut BTreeMap<Arc<Owner>, Tally>,
) {
    let Some(oldest) = oldest else { return };
    claimants.retain(|Claimant { asked, .. }| {
        let stays = !yields(asked, oldest);
        if let Some(claim) = asked.claims.get(host).filter(|claim| !stays && claim.has_routes()) {
            let tally = tallies.entry(asked.owner.clone()).or_default();
            let lost = claim.rules.len() + usize::from(claim.fallback);
            tally.wanted += lost;
            tally.lost += lost;
            let first = claim.rules.first().map_or(Position::Fallback, |index| Position::Rule(*index));
            let (host, owner) = (host.to_string(), oldest.reference.clone());
            let conflict = Conflict { host, path: "every path".into(), owner };
            tally.conflict(&asked.reference, &asked.route(first).field, conflict);
        }
        stays
    });
}
