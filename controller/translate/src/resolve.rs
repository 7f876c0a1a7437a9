//! Arranged drafts to the sections of hosts: identities, actions, timeouts with their defaults.

use std::collections::BTreeMap;

use snapshot::{Action, Host, Key, ObjectRef, Route, RouteId, Section, Snapshot};

use crate::backends::{self, Upstreams};
use crate::conflict::{Arranged, Position, RouteIndex};
use crate::draft::Draft;
use crate::report::Ledger;
use crate::store::Store;
use crate::tls::Bindings;
use crate::{conditions, policy};

/// What each drafted route does, and the upstreams that exist of all that are named.
pub(crate) fn actions(
    drafts: &[Draft],
    store: &Store,
    ledger: &mut Ledger,
) -> (BTreeMap<RouteIndex, Action>, Upstreams) {
    let (mut actions, mut upstreams) = (BTreeMap::new(), Upstreams::new());
    for (draft, object) in drafts.iter().enumerate() {
        let rules = object.routes.iter().enumerate().map(|(index, route)| (Position::Rule(index), route));
        let fallback = object.fallback.iter().map(|fallback| (Position::Fallback, &fallback.route));
        for (position, route) in rules.chain(fallback) {
            let action = backends::action(route, &object.owner, store, &mut upstreams, ledger);
            actions.insert(RouteIndex { draft, route: position }, action);
        }
    }
    (actions, upstreams)
}

/// Puts the hosts into the snapshot. Returns the upstreams that their routes use.
pub(crate) fn insert_hosts(
    drafts: &[Draft],
    arranged: &Arranged,
    (actions, upstreams): &(BTreeMap<RouteIndex, Action>, Upstreams),
    bindings: &Bindings<'_>,
    snapshot: &mut Snapshot,
    ledger: &mut Ledger,
) -> Upstreams {
    let mut used = Upstreams::new();
    for (pattern, indices) in arranged {
        let tls = bindings.of(pattern);
        let mut routes = Vec::with_capacity(indices.len());
        for index in indices {
            let action = actions.get(index).cloned().expect("every drafted route has its action");
            if let Action::Forward(forward) = &action {
                let known = forward.iter().filter_map(|one| upstreams.get_key_value(&one.upstream));
                used.extend(known.map(|(upstream, port)| (upstream.clone(), port.clone())));
            }
            ledger.entry(&index.owner(drafts).reference()).routes += 1;
            routes.push(route(*index, drafts, action, tls.is_some()));
        }
        snapshot.insert(Key::Host(pattern.clone()), &Section::Host(Host { tls, routes }));
    }
    used
}

fn route(index: RouteIndex, drafts: &[Draft], action: Action, has_tls: bool) -> Route {
    let draft = index.of(drafts);
    let owner = index.owner(drafts).reference();
    let owner = ObjectRef { kind: owner.kind, namespace: owner.namespace, name: owner.name };
    Route {
        id: RouteId {
            owner,
            rule: draft.rule.clone(),
            matched: conditions::name(&draft.path, &draft.conditions),
        },
        path: draft.path.clone(),
        conditions: draft.conditions.clone(),
        action,
        serves: draft.serves,
        redirect: policy::redirect(draft.patch.redirect, has_tls),
        balance: policy::balance(&draft.patch.load_balancing),
        rewrite: policy::rewrite(&draft.patch.rewrite),
        max_body: draft.patch.max_body.filter(|bytes| *bytes > 0),
        access_log: draft.patch.access_log.unwrap_or(true),
        timeouts: policy::timeouts(&draft.patch.timeouts),
    }
}
