//! What the status of one object should say, and what has to be written for that: nothing where it says so already.
//! Pure: the time of day is passed in.

use crds::diagnostic::ObjectRef;
use crds::wsroute::{self, Address, AddressKind, WsRouteStatus};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use translate::{Condition, Kind, Report};

use crate::live::LiveStatus;

/// The conditions that are ours, in the order in which they stand.
const CONDITIONS: [&str; 4] = ["Accepted", "ResolvedRefs", PROGRAMMED, "PartiallyInvalid"];

/// The condition that is the controller's to add.
pub(super) const PROGRAMMED: &str = "Programmed";

/// What the schema of a WsRoute's status allows, in characters and in items.
const MESSAGE: usize = 32_768;
const CONFLICT: (usize, usize, usize) = (256, 2_048, 1_024);
const CONFLICTS: usize = 256;
const ADDRESSES: usize = 64;

/// What is known of an object whose status is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// How it was taken.
    pub(super) report: &'a Report,
    /// What its status says.
    pub(super) live: &'a LiveStatus,
    /// Whether proxies serve it.
    pub(super) programmed: &'a Condition,
    /// Where clients reach its hosts. `None`: nobody knows yet, so what is there stays.
    pub(super) addresses: Option<&'a [Address]>,
    pub(super) now: Timestamp,
}

/// What the status should say.
pub(super) fn wish(facts: &Facts<'_>) -> LiveStatus {
    match facts.live {
        LiveStatus::Ingress(live) => LiveStatus::Ingress(addresses(facts, live)),
        LiveStatus::WsRoute(live) => LiveStatus::WsRoute(WsRouteStatus {
            conditions: conditions(facts, live),
            addresses: addresses(facts, &live.addresses),
            conflicts: conflicts(facts.report),
        }),
    }
}

/// Whether a status says what it should. Conditions of others are theirs.
pub(super) fn says(live: &LiveStatus, wish: &LiveStatus) -> bool {
    match (live, wish) {
        (LiveStatus::Ingress(live), LiveStatus::Ingress(wish)) => live == wish,
        (LiveStatus::WsRoute(live), LiveStatus::WsRoute(wish)) => {
            let of = |status: &WsRouteStatus, type_: &str| condition(status, type_).cloned();
            live.addresses == wish.addresses
                && live.conflicts == wish.conflicts
                && CONDITIONS.iter().all(|type_| of(live, type_) == of(wish, type_))
        }
        _ => false,
    }
}

/// Whether two differ in messages only.
pub(super) fn says_but_for_messages(live: &LiveStatus, wish: &LiveStatus) -> bool {
    let without = |status: &LiveStatus| match status {
        LiveStatus::Ingress(_) => status.clone(),
        LiveStatus::WsRoute(status) => {
            let mut status = status.clone();
            status.conditions.iter_mut().for_each(|condition| condition.message.clear());
            LiveStatus::WsRoute(status)
        }
    };
    says(&without(live), &without(wish))
}

/// Whether a status says that this generation is programmed: then it stays so, whoever joins.
pub(super) fn settled<'a>(status: &'a LiveStatus, report: &Report) -> Option<&'a wsroute::Condition> {
    let LiveStatus::WsRoute(status) = status else { return None };
    let programmed = condition(status, PROGRAMMED)?;
    let same = report.generation.is_some() && programmed.observed_generation == report.generation;
    (same && programmed.status == "True").then_some(programmed)
}

/// There is nothing in it that could be taken back.
pub(super) fn is_empty(status: &LiveStatus) -> bool {
    match status {
        LiveStatus::Ingress(addresses) => addresses.is_empty(),
        LiveStatus::WsRoute(status) => *status == WsRouteStatus::default(),
    }
}

/// The patch by which a status is applied. Without one nothing is applied: so what we applied before is taken back,
/// and our name goes from the managers. The UID keeps it from an object that was made anew under the same name.
pub(super) fn patch(object: &ObjectRef, uid: &str, status: Option<&LiveStatus>) -> Value {
    let api_version =
        if object.kind == Kind::WsRoute.as_str() { "longhaul.dev/v1alpha1" } else { "networking.k8s.io/v1" };
    let mut patch = json!({
        "apiVersion": api_version,
        "kind": object.kind,
        "metadata": {"namespace": object.namespace, "name": object.name, "uid": uid},
    });
    match status {
        None => {}
        Some(LiveStatus::WsRoute(status)) => patch["status"] = json!(status),
        Some(LiveStatus::Ingress(addresses)) => {
            let ingress = addresses.iter().map(|address| match address.kind {
                AddressKind::IPAddress => json!({"ip": address.value}),
                AddressKind::Hostname => json!({"hostname": address.value}),
            });
            patch["status"] = json!({"loadBalancer": {"ingress": ingress.collect::<Vec<_>>()}});
        }
    }
    patch
}

fn condition<'a>(status: &'a WsRouteStatus, type_: &str) -> Option<&'a wsroute::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn addresses(facts: &Facts<'_>, live: &[Address]) -> Vec<Address> {
    let addresses = facts.addresses.unwrap_or(live);
    addresses.iter().take(ADDRESSES).cloned().collect()
}

fn conditions(facts: &Facts<'_>, live: &WsRouteStatus) -> Vec<wsroute::Condition> {
    let all = || facts.report.conditions.iter().chain([facts.programmed]);
    let ours = CONDITIONS.iter().filter_map(|type_| all().find(|condition| condition.type_ == *type_));
    ours.map(|wanted| {
        let status = if wanted.status { "True" } else { "False" };
        let before = condition(live, &wanted.type_).filter(|before| before.status == status);
        wsroute::Condition {
            type_: wanted.type_.clone(),
            status: status.into(),
            observed_generation: facts.report.generation,
            last_transition_time: before
                .map_or_else(|| format!("{:.0}", facts.now), |before| before.last_transition_time.clone()),
            reason: wanted.reason.clone(),
            message: cut(&wanted.message, MESSAGE),
        }
    })
    .collect()
}

fn conflicts(report: &Report) -> Vec<wsroute::Conflict> {
    let (host, path, owner) = CONFLICT;
    let conflicts = report.conflicts.iter().take(CONFLICTS).map(|conflict| wsroute::Conflict {
        host: cut(&conflict.host, host),
        path: cut(&conflict.path, path),
        owner: cut(&conflict.owner.to_string(), owner),
    });
    conflicts.collect()
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests;
