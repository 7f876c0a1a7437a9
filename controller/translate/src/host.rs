//! One host's routes: the order of precedence, who wins where two want the same, and the section that comes of it.

pub(crate) mod canary;
pub(crate) mod ownership;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use snapshot::{
    Action, Conditions, Host, HostPattern, HostTls, ObjectRef, PathMatch, Route, RouteId, UpstreamId,
};

use crate::backends::Target;
use crate::draft::{DraftRoute, Owner, Position, Standing};
use crate::object::{Asked, Resolved};
use crate::policy::clients;
use crate::report::{Conflict, Tally, remark};
use crate::tls::Bound;
use crate::{conditions, policy};

/// One object's claim to routes of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) resolved: &'a Resolved,
}

/// Who wants to be served at a host, each list by age, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Claimants<'a> {
    /// Those who name the host whose routes are looked at.
    pub(crate) named: Vec<Claimant<'a>>,
    /// Those whose fallback stands for every host.
    pub(crate) everywhere: Vec<Claimant<'a>>,
    /// The oldest object that names the host, for its routes or under tls.
    pub(crate) oldest: Option<&'a Asked>,
}

/// What a host came to.
#[derive(Debug, Default)]
pub(crate) struct Arranged {
    pub(crate) routes: Vec<Route>,
    /// What each object has of what it asked for.
    pub(crate) tallies: BTreeMap<Arc<Owner>, Tally>,
    /// How many of the routes are whose.
    pub(crate) shown: BTreeMap<Arc<Owner>, usize>,
    /// The upstreams of the routes, as far as they exist.
    pub(crate) upstreams: BTreeSet<UpstreamId>,
}

/// A route is searched among those of its tier first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Rule,
    /// The fallback of an object that names the host.
    Fallback,
    /// The fallback of one that stands for every host.
    Everywhere,
}

struct Candidate<'a> {
    tier: Tier,
    claimant: Claimant<'a>,
    route: &'a DraftRoute,
    target: &'a Target,
}

/// Arranges the routes of `host`. `source` is the host whose routes it has: itself, or where it is named for its
/// certificate alone, the one that requests for it would find if it were not there.
pub(crate) fn arrange(
    host: &HostPattern,
    source: &HostPattern,
    mut claimants: Claimants<'_>,
    bound: Option<&Bound>,
) -> Arranged {
    let mut arranged = Arranged::default();
    ownership::evict(source, &mut claimants.named, claimants.oldest, &mut arranged.tallies);
    if host != source {
        // What is borrowed is told where it is at home.
        arranged.tallies.clear();
    }
    let mut winners: BTreeMap<_, (usize, &Candidate<'_>)> = BTreeMap::new();
    let candidates = candidates(source, &claimants);
    let (canaries, routes): (Vec<_>, Vec<_>) =
        candidates.iter().enumerate().partition(|(_, candidate)| candidate.route.is_canary());
    for (age, candidate) in routes {
        let DraftRoute { path, conditions, .. } = candidate.route;
        let (_, winner) =
            winners.entry((candidate.tier, path, conditions)).or_insert_with(|| (age, candidate));
        // What is borrowed is counted where it is at home.
        let counts = candidate.route.standing == Standing::Own;
        if counts && host == source && (candidate.tier != Tier::Everywhere || *host == HostPattern::Any) {
            count((host, bound), candidate, winner, &mut arranged.tallies);
        }
    }
    let mut winners: Vec<_> = winners.into_values().collect();
    let tallies = (host == source).then_some(&mut arranged.tallies);
    let canaries = canary::assign(host, canaries.into_iter().map(|(_, canary)| canary), &winners, tallies);
    winners.sort_by_key(|(age, candidate)| {
        (candidate.tier, rank(&candidate.route.path, &candidate.route.conditions), *age)
    });
    let last = winners.iter().position(|(_, candidate)| takes_everything(candidate.route));
    if let Some(last) = last {
        let (_, taker) = winners[last];
        if host == source {
            count_unreached(host, taker, &winners[last + 1..], &mut arranged.tallies);
        }
        winners.truncate(last + 1);
    }
    for (_, candidate) in winners {
        *arranged.shown.entry(candidate.claimant.asked.owner.clone()).or_default() += 1;
        arranged.upstreams.extend(candidate.target.upstreams.iter().cloned());
        let mut route = candidate.route(host, bound);
        if let Some(canary) = canaries.get(&candidate.place()) {
            arranged.upstreams.extend(canary::put_in(&mut route, candidate, canary));
        }
        arranged.routes.push(route);
    }
    arranged
}

/// The section of a host.
pub(crate) fn section(arranged: &mut Arranged, tls: Option<HostTls>) -> Host {
    Host { tls, routes: std::mem::take(&mut arranged.routes) }
}

/// The hosts that requests for `host` would find if it were not there, the most specific first.
pub(crate) fn less_specific(host: &HostPattern) -> impl Iterator<Item = HostPattern> {
    let any = (*host != HostPattern::Any).then_some(HostPattern::Any);
    wildcard_of(host).into_iter().chain(any)
}

/// The wildcard that a name falls under.
pub(crate) fn wildcard_of(host: &HostPattern) -> Option<HostPattern> {
    match host {
        HostPattern::Exact(name) => {
            name.split_once('.').map(|(_, suffix)| HostPattern::Wildcard(suffix.into()))
        }
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    }
}

fn candidates<'a>(source: &HostPattern, claimants: &Claimants<'a>) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    let mut push = |tier, claimant: Claimant<'a>, position| {
        let route = claimant.asked.route(position);
        let target = claimant.resolved.targets.get(&position);
        let target = target.expect("every drafted route is resolved");
        candidates.push(Candidate { tier, claimant, route, target });
    };
    let claim = |claimant: &Claimant<'a>| claimant.asked.claims.get(source);
    for claimant in &claimants.named {
        for index in claim(claimant).into_iter().flat_map(|claim| &claim.rules) {
            push(Tier::Rule, *claimant, Position::Rule(*index));
        }
    }
    let has_fallback = |claimant: &Claimant<'a>| claim(claimant).is_some_and(|claim| claim.fallback);
    for claimant in claimants.named.iter().filter(|claimant| has_fallback(claimant)) {
        push(Tier::Fallback, *claimant, Position::Fallback);
    }
    for claimant in claimants.everywhere.iter().filter(|claimant| !has_fallback(claimant)) {
        push(Tier::Everywhere, *claimant, Position::Fallback);
    }
    // What gives way does where anything else is served.
    let own = |candidate: &Candidate<'_>| candidate.route.standing == Standing::Own;
    if candidates.iter().any(|candidate| candidate.tier != Tier::Everywhere && own(candidate)) {
        candidates.retain(own);
    }
    candidates
}

/// Counts a wish, and says who has it where it is another's. Of the same match only the oldest stays.
fn count(
    (host, bound): (&HostPattern, Option<&Bound>),
    candidate: &Candidate<'_>,
    winner: &Candidate<'_>,
    tallies: &mut BTreeMap<Arc<Owner>, Tally>,
) {
    let Asked { owner, reference, .. } = candidate.claimant.asked;
    let tally = tallies.entry(owner.clone()).or_default();
    tally.wanted += 1;
    if std::ptr::eq(candidate, winner) {
        let closed = candidate.closed(host, bound);
        tally.broken += usize::from(candidate.route.broken.is_some() || closed.is_some());
        if let Some(Closed { why, remedy, field }) = closed {
            let message = format!("host {host}: {why}; its routes answer 503");
            let remark = remark(reference, field, "ClientCertificates", message, remedy);
            // Each route of the host says the same.
            if !tally.notes.diagnostics.contains(&remark) {
                tally.notes.invalid(remark);
            }
        }
        return;
    }
    tally.lost += 1;
    let DraftRoute { path, conditions, field, .. } = candidate.route;
    let path = match candidate.tier {
        Tier::Rule => conditions::name(path, conditions),
        Tier::Fallback | Tier::Everywhere => format!("defaultBackend{}", conditions::suffix(conditions)),
    };
    let owner = winner.claimant.asked.reference.clone();
    tally.conflict(reference, field, Conflict { host: host.to_string(), path, owner });
}

/// In this order: see [`rank`].
pub(crate) type Rank<'a> = (bool, Reverse<usize>, bool, Reverse<usize>, &'a str, Reverse<usize>);

/// Exact paths first, then the longest prefix, then more conditions. Two prefixes that match one path are prefixes of
/// one another, so the longer in bytes is the longer in segments. A regular expression counts as the prefix that it
/// begins with, and comes behind a prefix of that length; of several the longest text comes first, as in ingress-nginx.
pub(crate) fn rank<'a>(path: &'a PathMatch, conditions: &Conditions) -> Rank<'a> {
    let conditions = Reverse(conditions.count());
    match path {
        PathMatch::Exact(path) => (false, Reverse(0), false, Reverse(0), path, conditions),
        PathMatch::Prefix(path) => (true, Reverse(path.len()), false, Reverse(0), path, conditions),
        PathMatch::Regex(pattern) => {
            let literal = Reverse(path.literal().len());
            (true, literal, true, Reverse(pattern.len()), pattern, conditions)
        }
    }
}

/// Says of regular expressions that nothing reaches them, since an older object or another of the same length takes
/// everything before.
fn count_unreached(
    host: &HostPattern,
    taker: &Candidate<'_>,
    unreached: &[(usize, &Candidate<'_>)],
    tallies: &mut BTreeMap<Arc<Owner>, Tally>,
) {
    let rules =
        unreached.iter().map(|(_, candidate)| candidate).filter(|candidate| candidate.tier == Tier::Rule);
    for candidate in rules.filter(|candidate| matches!(candidate.route.path, PathMatch::Regex(_))) {
        let Asked { owner, reference, .. } = candidate.claimant.asked;
        let tally = tallies.entry(owner.clone()).or_default();
        tally.lost += 1;
        let DraftRoute { path, conditions, field, .. } = candidate.route;
        let (host, path) = (host.to_string(), conditions::name(path, conditions));
        let owner = taker.claimant.asked.reference.clone();
        tally.conflict(reference, field, Conflict { host, path, owner });
    }
}

/// Whether it takes every request that reaches it.
fn takes_everything(route: &DraftRoute) -> bool {
    route.conditions == Conditions::default() && matches!(&route.path, PathMatch::Prefix(path) if path == "/")
}

/// Why a route is not served at a host.
struct Closed<'a> {
    why: String,
    remedy: &'static str,
    field: &'a str,
}

impl<'a> Candidate<'a> {
    /// Where its requests come in, whatever else they must fulfil.
    fn place(&self) -> (Tier, &'a PathMatch) {
        (self.tier, &self.route.path)
    }

    /// Why it must not be served at a host, whatever it is itself. That the host cannot ask for the certificates that
    /// its own object wants is that object's unresolved reference, and nothing to be counted here.
    fn closed(&self, host: &HostPattern, bound: Option<&Bound>) -> Option<Closed<'a>> {
        let asked = clients::asked_at(&self.claimant.asked.draft.clients, host);
        if let Some(Bound { owner, closed: Some(why), .. }) = bound {
            let others = *owner != self.claimant.asked.owner;
            let why =
                format!("client certificates that {} asks for cannot be judged: {why}", owner.reference());
            let remedy = "put that right, or take the host from that object";
            return others.then_some(Closed { why, remedy, field: &self.route.field });
        }
        let asked = asked?;
        let (why, remedy) = clients::unprotected(asked, bound.and_then(|bound| bound.clients.as_ref()))?;
        Some(Closed { why: why.to_owned(), remedy, field: &asked.field })
    }

    /// What it does at a host.
    fn action(&self, host: &HostPattern, bound: Option<&Bound>) -> Action {
        let of_host = bound.and_then(|bound| bound.closed.clone());
        match self.closed(host, bound).map(|closed| closed.why).or(of_host) {
            Some(why) => Action::Broken(why),
            None => self.target.action.clone(),
        }
    }

    fn route(&self, host: &HostPattern, bound: Option<&Bound>) -> Route {
        let DraftRoute { rule, path, conditions, serves, patch, .. } = self.route;
        let owner = self.claimant.asked.reference.clone();
        let owner = ObjectRef { kind: owner.kind, namespace: owner.namespace, name: owner.name };
        Route {
            id: RouteId { owner, rule: rule.clone(), matched: conditions::name(path, conditions) },
            path: path.clone(),
            conditions: conditions.clone(),
            action: self.action(host, bound),
            app_root: patch.ingress.redirects.app_root.clone(),
            serves: *serves,
            redirect: policy::redirect(patch.redirect, bound.is_some()),
            balance: policy::balance(&patch.load_balancing),
            retries: policy::retries(&patch.ingress.next_upstream),
            upstream_tls: self.target.upstream_tls.clone(),
            ring: policy::ring(patch.load_balancing.ring),
            affinity: policy::affinity(&patch.affinity, path),
            rewrite: policy::rewrite(&patch.rewrite, patch.ingress.forwarded_prefix.as_deref()),
            headers: policy::fields::headers(patch, self.target.set_on_responses.as_ref()),
            max_body: patch.max_body.filter(|bytes| *bytes > 0),
            auth: self.target.auth.clone(),
            access_log: patch.access_log.unwrap_or(true),
            access: policy::access(&patch.access),
            timeouts: policy::timeouts(&patch.timeouts),
        }
    }
}
