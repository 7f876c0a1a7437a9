//! The stages that are about one host: its TLS settings and its routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use snapshot::{HostPattern, Key, Section, UpstreamId};

use super::{Due, Translator, forget};
use crate::draft::Owner;
use crate::host::{self, Arranged, Claimant, Claimants, ownership};
use crate::object::Asked;
use crate::report::Tally;
use crate::store::Name;
use crate::tls::{self, Bound};

/// Who names a host under tls, and what came of it.
#[derive(Debug, Default)]
pub(super) struct BindingMemo {
    pub(super) users: BTreeSet<Arc<Owner>>,
    pub(super) tallies: BTreeMap<Arc<Owner>, Tally>,
    /// What the oldest wants.
    by: Option<Bound>,
}

/// What a host came to.
#[derive(Debug, Default)]
pub(super) struct HostMemo {
    pub(super) tallies: BTreeMap<Arc<Owner>, Tally>,
    shown: BTreeMap<Arc<Owner>, usize>,
    upstreams: BTreeSet<UpstreamId>,
}

impl Translator {
    pub(super) fn bind(&mut self, due: &mut Due) {
        if self.classes.own_hosts() || self.owned_hosts {
            self.due_together(due);
        }
        for (host, changed) in std::mem::take(&mut due.bindings) {
            let Some(memo) = self.bindings.get(&host) else { continue };
            let oldest = self.oldest(&host);
            let yields = |owner: &Arc<Owner>| {
                let asked = self.asked.get(owner);
                asked.zip(oldest).is_some_and(|(asked, oldest)| ownership::yields(asked, oldest))
            };
            let first = memo.users.iter().find(|owner| !yields(owner));
            let by = first.and_then(|owner| self.first_wish(owner, &host));
            let evicted: BTreeMap<_, _> = memo
                .users
                .iter()
                .filter(|owner| yields(owner))
                .filter_map(|owner| {
                    Some((owner.clone(), tls::evicted(&host, oldest?, self.asked.get(owner)?)))
                })
                .collect();
            let Some(mut memo) = self.bindings.remove(&host) else { continue };
            // Unless the winner is another, only those who changed can be told something else.
            let users = if memo.by == by { changed } else { memo.users.union(&changed).cloned().collect() };
            for owner in users {
                let tally = match evicted.get(&owner) {
                    Some(tally) => Some(tally.clone()),
                    None => by.as_ref().and_then(|by| self.tls_tally(&host, by, &owner)),
                };
                self.swap_tally(&mut memo.tallies, owner, tally, due);
            }
            if memo.by != by {
                due.hosts.extend(self.below.get(&host).into_iter().flatten().cloned());
                due.hosts.insert(host.clone());
            }
            memo.by = by;
            if !memo.users.is_empty() {
                self.bindings.insert(host, memo);
            }
        }
    }

    fn first_wish(&self, owner: &Arc<Owner>, host: &HostPattern) -> Option<Bound> {
        let asked = self.asked.get(owner)?;
        let index = asked.claims.get(host)?.tls.first()?;
        Some(tls::bound(owner, &asked.draft.tls[*index], &self.store))
    }

    /// What an object is told about the TLS settings of a host, if anything.
    fn tls_tally(&self, host: &HostPattern, theirs: &Bound, owner: &Arc<Owner>) -> Option<Tally> {
        let asked = self.asked.get(owner)?;
        let mut tally = Tally::default();
        for index in &asked.claims.get(host)?.tls {
            tls::compare(host, theirs, (owner, &asked.draft.tls[*index]), &mut tally);
        }
        (tally != Tally::default()).then_some(tally)
    }

    /// In place of what an object was told by a stage, what it is told now.
    fn swap_tally(
        &mut self,
        tallies: &mut BTreeMap<Arc<Owner>, Tally>,
        owner: Arc<Owner>,
        after: Option<Tally>,
        due: &mut Due,
    ) {
        if tallies.get(&owner) == after.as_ref() {
            return;
        }
        self.remarks.swap(None, after.as_ref().map(|tally| &tally.notes));
        let before = match after {
            Some(tally) => tallies.insert(owner.clone(), tally),
            None => tallies.remove(&owner),
        };
        self.remarks.swap(before.as_ref().map(|tally| &tally.notes), None);
        due.reports.insert(owner);
    }

    pub(super) fn arrange(&mut self, due: &mut Due) {
        self.spread(due);
        for host in std::mem::take(&mut due.hosts) {
            if self.exists(&host) {
                self.arrange_one(&host, due);
            } else {
                self.remove(&host, due);
            }
        }
    }

    /// Makes due the hosts that have what another host has.
    fn spread(&mut self, due: &mut Due) {
        if due.every_host {
            due.hosts.extend(self.wanted.keys().chain(self.bindings.keys()).cloned());
            due.hosts.insert(HostPattern::Any);
        }
        for host in &due.hosts {
            if self.bindings.contains_key(host) && !self.wanted.contains_key(host) {
                self.borrowers.insert(host.clone());
            } else {
                self.borrowers.remove(host);
            }
        }
        // Names lend nothing: mostly there is nothing to look for.
        let lenders: BTreeSet<_> =
            due.hosts.iter().filter(|host| !matches!(host, HostPattern::Exact(_))).collect();
        if lenders.is_empty() {
            return;
        }
        let borrows = |host: &HostPattern| host::less_specific(host).any(|lender| lenders.contains(&lender));
        let borrowers = self.borrowers.iter().filter(|host| borrows(host));
        let borrowers: Vec<_> = borrowers.cloned().collect();
        due.hosts.extend(borrowers);
    }

    fn exists(&self, host: &HostPattern) -> bool {
        self.wanted.contains_key(host)
            || self.bindings.contains_key(host)
            || (*host == HostPattern::Any && !self.everywhere.is_empty())
    }

    fn arrange_one(&mut self, pattern: &HostPattern, due: &mut Due) {
        let bound = self.bound(pattern);
        let source = self.source_of(pattern);
        let wanted = self.wanted.get(&source);
        let claimants = Claimants {
            named: wanted.into_iter().flatten().filter_map(|owner| self.claimant(owner)).collect(),
            everywhere: self.everywhere.iter().filter_map(|owner| self.claimant(owner)).collect(),
            oldest: self.oldest(&source),
        };
        let mut arranged = host::arrange(pattern, &source, claimants, bound.as_ref());
        let section = Section::Host(host::section(&mut arranged, bound.map(|bound| bound.tls)));
        self.put(Key::Host(pattern.clone()), &section);
        self.swap(pattern, arranged, due);
        if let Some(wildcard) = host::wildcard_of(pattern) {
            self.below.entry(wildcard).or_default().insert(pattern.clone());
        }
    }

    fn remove(&mut self, pattern: &HostPattern, due: &mut Due) {
        self.outcome.snapshot.remove(&Key::Host(pattern.clone()));
        self.swap(pattern, Arranged::default(), due);
        self.hosts.remove(pattern);
        self.borrowers.remove(pattern);
        if let Some(wildcard) = host::wildcard_of(pattern) {
            forget(&mut self.below, &wildcard, pattern);
        }
    }

    /// In place of what a host came to, what it comes to now.
    fn swap(&mut self, pattern: &HostPattern, arranged: Arranged, due: &mut Due) {
        let mut memo = self.hosts.remove(pattern).unwrap_or_default();
        let Arranged { mut tallies, shown, upstreams, .. } = arranged;
        let known: BTreeSet<_> = memo.tallies.keys().chain(tallies.keys()).cloned().collect();
        for owner in known {
            let tally = tallies.remove(&owner);
            self.swap_tally(&mut memo.tallies, owner, tally, due);
        }
        let owners: BTreeSet<_> = memo.shown.keys().chain(shown.keys()).collect();
        for owner in owners {
            let count = |shown: &BTreeMap<_, usize>| shown.get(owner).copied().unwrap_or_default();
            let (before, after) = (count(&memo.shown), count(&shown));
            if before != after {
                let total = count(&self.shown) - before + after;
                match total {
                    0 => drop(self.shown.remove(owner)),
                    total => drop(self.shown.insert(owner.clone(), total)),
                }
                due.reports.insert(owner.clone());
            }
        }
        memo.shown = shown;
        for gone in memo.upstreams.difference(&upstreams) {
            self.release(gone, due);
        }
        for new in upstreams.difference(&memo.upstreams) {
            let service = Name::new(&new.namespace, &new.service);
            *self.services.entry(service.clone()).or_default().used.entry(new.clone()).or_default() += 1;
            due.services.insert(service);
        }
        memo.upstreams = upstreams;
        self.hosts.insert(pattern.clone(), memo);
    }

    fn release(&mut self, upstream: &UpstreamId, due: &mut Due) {
        let service = Name::new(&upstream.namespace, &upstream.service);
        if let Some(memo) = self.services.get_mut(&service)
            && let Some(count) = memo.used.get_mut(upstream)
        {
            *count -= 1;
            if *count == 0 {
                memo.used.remove(upstream);
            }
        }
        due.services.insert(service);
    }

    /// The oldest object that names a host.
    fn oldest(&self, host: &HostPattern) -> Option<&Asked> {
        let routes = self.wanted.get(host).and_then(BTreeSet::first);
        let tls = self.bindings.get(host).and_then(|memo| memo.users.first());
        let owner = routes.into_iter().chain(tls).min()?;
        self.asked.get(owner).map(|asked| &**asked)
    }

    /// Where hosts belong to namespaces, whose a host is decides about its routes and its certificate alike.
    fn due_together(&self, due: &mut Due) {
        let bound: Vec<_> =
            due.hosts.iter().filter(|host| self.bindings.contains_key(*host)).cloned().collect();
        due.hosts.extend(due.bindings.keys().filter(|host| self.wanted.contains_key(*host)).cloned());
        for host in bound {
            let users = self.bindings[&host].users.iter().cloned();
            due.bindings.entry(host).or_default().extend(users);
        }
    }

    fn claimant(&self, owner: &Arc<Owner>) -> Option<Claimant<'_>> {
        Some(Claimant { asked: self.asked.get(owner)?, resolved: self.resolved.get(owner)? })
    }

    /// The host's TLS settings: its own, else those of the wildcard that it falls under.
    fn bound(&self, host: &HostPattern) -> Option<Bound> {
        let own = self.bindings.get(host);
        let memo = own.or_else(|| self.bindings.get(&host::wildcard_of(host)?))?;
        memo.by.clone()
    }

    /// The host whose routes a host has.
    fn source_of(&self, host: &HostPattern) -> HostPattern {
        if self.wanted.contains_key(host) {
            return host.clone();
        }
        let lender = host::less_specific(host).find(|lender| self.wanted.contains_key(lender));
        lender.unwrap_or_else(|| host.clone())
    }
}
