//! One host's routes: the order of precedence, and who wins where two want the same.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use snapshot::{Conditions, HostPattern, PathMatch};

use crate::conditions;
use crate::draft::{Draft, DraftRoute, Owner};
use crate::report::{Conflict, Ledger};

/// Points at a draft's route. The order of drafts is that of seniority, so the lesser index is the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteIndex {
    pub(crate) draft: usize,
    pub(crate) route: Position,
}

/// Where in its draft a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    Rule(usize),
    Fallback,
}

/// The routes of each host in order of precedence.
pub(crate) type Arranged = BTreeMap<HostPattern, Vec<RouteIndex>>;

/// Arranges every host that a rule, a fallback or a certificate names.
pub(crate) fn arrange<'a>(
    drafts: &[Draft],
    tls_hosts: impl Iterator<Item = &'a HostPattern>,
    ledger: &mut Ledger,
) -> Arranged {
    let mut arranged = Arranged::new();
    for (host, candidates) in rules_by_host(drafts) {
        arranged.insert(host.clone(), precedence(drafts, &host, candidates, ledger));
    }
    let mut fallbacks = fallbacks(drafts, ledger);
    for host in fallbacks.keys() {
        arranged.entry(host.clone()).or_default();
    }
    borrow(tls_hosts, &mut arranged, &mut fallbacks);
    add_fallbacks(drafts, &fallbacks, &mut arranged, ledger);
    arranged
}

/// Only the most specific host is searched for a request. So a host that only a certificate names gets the routes
/// of the host that requests for it would find without it.
fn borrow<'a>(
    tls_hosts: impl Iterator<Item = &'a HostPattern>,
    arranged: &mut Arranged,
    fallbacks: &mut BTreeMap<HostPattern, RouteIndex>,
) {
    let (mut routes, mut last) = (Arranged::new(), BTreeMap::new());
    for host in tls_hosts.filter(|host| !arranged.contains_key(host)) {
        let lender = less_specific(host).into_iter().find(|lender| arranged.contains_key(lender));
        let lent = lender.as_ref().and_then(|lender| arranged.get(lender)).cloned();
        routes.insert(host.clone(), lent.unwrap_or_default());
        last.extend(
            lender.and_then(|lender| fallbacks.get(&lender)).map(|fallback| (host.clone(), *fallback)),
        );
    }
    arranged.extend(routes);
    fallbacks.extend(last);
}

fn rules_by_host(drafts: &[Draft]) -> BTreeMap<HostPattern, Vec<RouteIndex>> {
    let mut by_host: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (draft, object) in drafts.iter().enumerate() {
        for (index, route) in object.routes.iter().enumerate() {
            for host in &route.hosts {
                by_host
                    .entry(host.clone())
                    .or_default()
                    .push(RouteIndex { draft, route: Position::Rule(index) });
            }
        }
    }
    by_host
}

/// Exact paths first, then the longest prefix, then more conditions, then the older; of the same match only the
/// oldest stays.
fn precedence(
    drafts: &[Draft],
    host: &HostPattern,
    candidates: Vec<RouteIndex>,
    ledger: &mut Ledger,
) -> Vec<RouteIndex> {
    let mut winners: BTreeMap<_, RouteIndex> = BTreeMap::new();
    for index in candidates {
        let route = index.of(drafts);
        ledger.entry(&index.owner(drafts).reference()).wanted += 1;
        let matched = (&route.path, &route.conditions);
        let Some(winner) = winners.get(&matched) else {
            ledger.entry(&index.owner(drafts).reference()).broken += usize::from(route.broken.is_some());
            winners.insert(matched, index);
            continue;
        };
        let (owner, loser) = (winner.owner(drafts).reference(), index.owner(drafts).reference());
        ledger.entry(&loser).lost += 1;
        let conflict = Conflict {
            host: host.to_string(),
            path: conditions::name(&route.path, &route.conditions),
            owner,
        };
        ledger.conflict(&loser, &route.field, conflict);
    }
    let mut winners: Vec<_> = winners.into_values().collect();
    winners.sort_by_key(|index| (rank(index.of(drafts)), *index));
    winners
}

/// Two prefixes that match one path are prefixes of one another, so the longer in bytes is the longer in segments.
fn rank(route: &DraftRoute) -> (bool, Reverse<usize>, &str, Reverse<usize>) {
    let conditions = Reverse(route.conditions.count());
    match &route.path {
        PathMatch::Exact(path) => (false, Reverse(0), path, conditions),
        PathMatch::Prefix(path) => (true, Reverse(path.len()), path, conditions),
    }
}

/// Whether it takes every request that reaches it.
fn takes_everything(route: &DraftRoute) -> bool {
    route.conditions == Conditions::default() && matches!(&route.path, PathMatch::Prefix(path) if path == "/")
}

/// The oldest fallback of each host that an object with a fallback names.
fn fallbacks(drafts: &[Draft], ledger: &mut Ledger) -> BTreeMap<HostPattern, RouteIndex> {
    let mut by_host: BTreeMap<HostPattern, RouteIndex> = BTreeMap::new();
    for (draft, object) in drafts.iter().enumerate() {
        let Some(fallback) = &object.fallback else { continue };
        let index = RouteIndex { draft, route: Position::Fallback };
        for host in &fallback.route.hosts {
            let winner = *by_host.entry(host.clone()).or_insert(index);
            claim(drafts, index, winner, host, ledger);
        }
    }
    by_host
}

/// Counts a fallback's wish for a host, and says who has it where it is another's.
fn claim(drafts: &[Draft], index: RouteIndex, winner: RouteIndex, host: &HostPattern, ledger: &mut Ledger) {
    let loser = index.owner(drafts).reference();
    ledger.entry(&loser).wanted += 1;
    if winner.draft == index.draft {
        ledger.entry(&loser).broken += usize::from(index.of(drafts).broken.is_some());
    } else {
        ledger.entry(&loser).lost += 1;
        let (path, owner) = ("defaultBackend".into(), winner.owner(drafts).reference());
        ledger.conflict(&loser, "spec.defaultBackend", Conflict { host: host.to_string(), path, owner });
    }
}

/// Each host ends with its own fallback, else with the oldest that stands for everything, unless a route of its
/// own takes every path already.
fn add_fallbacks(
    drafts: &[Draft],
    own: &BTreeMap<HostPattern, RouteIndex>,
    arranged: &mut Arranged,
    ledger: &mut Ledger,
) {
    let mut everywhere = None;
    for (draft, object) in drafts.iter().enumerate() {
        if object.fallback.as_ref().is_some_and(|fallback| fallback.everywhere) {
            let index = RouteIndex { draft, route: Position::Fallback };
            claim(drafts, index, *everywhere.get_or_insert(index), &HostPattern::Any, ledger);
        }
    }
    if everywhere.is_some() {
        arranged.entry(HostPattern::Any).or_default();
    }
    for (host, routes) in arranged {
        for fallback in [own.get(host).copied(), everywhere].into_iter().flatten() {
            if !routes.iter().any(|index| takes_everything(index.of(drafts))) {
                routes.push(fallback);
            }
        }
    }
}

/// The hosts that requests for `host` would find if it were not there, the most specific first.
fn less_specific(host: &HostPattern) -> Vec<HostPattern> {
    let wildcard = match host {
        HostPattern::Exact(name) => {
            name.split_once('.').map(|(_, suffix)| HostPattern::Wildcard(suffix.into()))
        }
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    };
    let any = (*host != HostPattern::Any).then_some(HostPattern::Any);
    wildcard.into_iter().chain(any).collect()
}

impl RouteIndex {
    pub(crate) fn owner(self, drafts: &[Draft]) -> &Owner {
        &drafts[self.draft].owner
    }

    pub(crate) fn of(self, drafts: &[Draft]) -> &DraftRoute {
        let draft = &drafts[self.draft];
        match self.route {
            Position::Rule(index) => &draft.routes[index],
            Position::Fallback => {
                let fallback = draft.fallback.as_ref();
                &fallback.expect("a fallback's index is made from the draft that has it").route
            }
        }
    }
}
