//! The stages that are about one object: what it asks for, its certificates, its references, its report.

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use snapshot::{Key, Section};

use super::{Due, Translator, forget};
use crate::draft::Owner;
use crate::object::{self, Asked};
use crate::report::Findings;
use crate::store::{Kind, Name, Object};
use crate::tls;

impl Translator {
    /// Reads an object again that is new, differs or went.
    pub(super) fn read(&mut self, reference: &ObjectRef, object: Option<&Object>, due: &mut Due) {
        let read = object.and_then(|object| object::read(object, &self.classes, self.settings()));
        let (asked, stranger) = match read {
            Some(Ok(asked)) => (Some(asked), None),
            Some(Err(notes)) => (None, Some(notes)),
            None => (None, None),
        };
        let before = match stranger {
            Some(notes) => {
                self.remarks.swap(None, Some(&notes));
                self.strangers.insert(reference.clone(), notes)
            }
            None => self.strangers.remove(reference),
        };
        self.remarks.swap(before.as_ref(), None);
        let before = self.owners.get(reference).and_then(|owner| self.asked.get(owner)).cloned();
        // A new status or resource version changes nothing.
        if before.as_deref() == asked.as_ref() {
            return;
        }
        let after = asked.map(Arc::new);
        self.remarks
            .swap(before.as_ref().map(|before| &before.notes), after.as_ref().map(|after| &after.notes));
        if let Some(before) = &before {
            self.withdraw(before, after.as_deref(), due);
        }
        if let Some(after) = after {
            self.enter(after, before.as_deref(), due);
        }
    }

    fn withdraw(&mut self, before: &Asked, after: Option<&Asked>, due: &mut Due) {
        let owner = &before.owner;
        due_hosts(before, after, due);
        for (host, claim) in &before.claims {
            if claim.has_routes() {
                forget(&mut self.wanted, host, owner);
            }
            if !claim.tls.is_empty()
                && let Some(binding) = self.bindings.get_mut(host)
            {
                binding.users.remove(owner);
            }
        }
        for reference in before.references() {
            forget(&mut self.named, &reference, owner);
            due.name(reference);
        }
        for key in before.certificates() {
            if let Some(certificate) = self.certificates.get_mut(&key) {
                certificate.users.remove(owner);
                due.name((Kind::Secret, Name::of_certificate(&key)));
                due.released.insert(key);
            }
        }
        if before.everywhere() {
            self.everywhere.remove(owner);
            due.every_host = true;
        }
        self.asked.remove(owner);
        self.owners.remove(&before.reference);
        if after.is_none_or(|after| after.owner != *owner) {
            let resolved = self.resolved.remove(owner);
            self.remarks.swap(resolved.as_ref().map(|resolved| &resolved.notes), None);
            self.outcome.reports.remove(&before.reference);
        }
    }

    fn enter(&mut self, after: Arc<Asked>, before: Option<&Asked>, due: &mut Due) {
        let owner = &after.owner;
        due_hosts(&after, before, due);
        for (host, claim) in &after.claims {
            if claim.has_routes() {
                self.wanted.entry(host.clone()).or_default().insert(owner.clone());
            }
            if !claim.tls.is_empty() {
                self.bindings.entry(host.clone()).or_default().users.insert(owner.clone());
            }
        }
        for reference in after.references() {
            self.named.entry(reference.clone()).or_default().insert(owner.clone());
            due.name(reference);
        }
        for key in after.certificates() {
            if !self.certificates.contains_key(&key) {
                due.certificates.insert(key.clone());
                due.name((Kind::Secret, Name::of_certificate(&key)));
            }
            self.certificates.entry(key).or_default().users.insert(owner.clone());
        }
        if after.everywhere() {
            self.everywhere.insert(owner.clone());
            due.every_host = true;
        }
        due.resolved.insert(owner.clone());
        due.reports.insert(owner.clone());
        self.owners.insert(after.reference.clone(), owner.clone());
        self.asked.insert(owner.clone(), after);
    }

    pub(super) fn read_certificates(&mut self, due: &mut Due) {
        let default = self.settings().default_tls_secret.clone();
        for key in std::mem::take(&mut due.released) {
            let unused = self.certificates.get(&key).is_some_and(|memo| memo.users.is_empty());
            if unused && default.as_ref() != Some(&key) {
                self.certificates.remove(&key);
                self.outcome.snapshot.remove(&Key::Certificate(key.clone()));
                due.certificates.remove(&key);
            }
        }
        for key in std::mem::take(&mut due.certificates) {
            let mut memo = self.certificates.remove(&key).unwrap_or_default();
            let (section, problem) = tls::section(&key, &self.store);
            if memo.problem != problem {
                due.resolved.extend(memo.users.iter().cloned());
            }
            if default.as_ref() == Some(&key) {
                let notes = tls::default_notes(&key, problem.as_ref());
                self.remarks.swap(Some(&memo.notes), Some(&notes));
                memo.notes = notes;
            }
            memo.problem = problem;
            self.certificates.insert(key.clone(), memo);
            self.put(Key::Certificate(key), &Section::Certificate(section));
        }
    }

    pub(super) fn resolve(&mut self, due: &mut Due) {
        for owner in std::mem::take(&mut due.resolved) {
            let Some(asked) = self.asked.get(&owner) else { continue };
            let problem = |key: &_| self.certificates.get(key).and_then(|memo| memo.problem.as_ref());
            let after = object::resolve(asked, (&self.store, self.settings()), problem);
            let before = self.resolved.get(&owner);
            if before == Some(&after) {
                continue;
            }
            if before.is_none_or(|before| before.targets != after.targets) {
                let wanted = asked.claims.iter().filter(|(_, claim)| claim.has_routes());
                due.hosts.extend(wanted.map(|(host, _)| host.clone()));
                due.every_host |= asked.everywhere();
            }
            self.remarks.swap(None, Some(&after.notes));
            let before = self.resolved.insert(owner.clone(), after);
            self.remarks.swap(before.as_ref().map(|before| &before.notes), None);
            due.reports.insert(owner);
        }
    }

    pub(super) fn report(&mut self, due: &Due) {
        for owner in &due.reports {
            let Some(asked) = self.asked.get(owner) else { continue };
            let report = Arc::new(self.findings(owner, asked).report());
            if self.outcome.reports.get(&asked.reference) != Some(&report) {
                self.outcome.reports.insert(asked.reference.clone(), report);
            }
        }
    }

    fn findings<'a>(&'a self, owner: &Arc<Owner>, asked: &'a Asked) -> Findings<'a> {
        let everywhere = asked.everywhere().then_some(&snapshot::HostPattern::Any);
        let hosts: BTreeSet<_> = asked.claims.keys().chain(everywhere).collect();
        let tallies = hosts.into_iter().flat_map(|host| {
            let tls = self.bindings.get(host).and_then(|memo| memo.tallies.get(owner));
            let routes = self.hosts.get(host).and_then(|memo| memo.tallies.get(owner));
            tls.into_iter().chain(routes)
        });
        Findings {
            generation: asked.generation,
            silent: asked.silent,
            notes: [Some(&asked.notes), self.resolved.get(owner).map(|resolved| &resolved.notes)],
            tallies: tallies.collect(),
            hosts: asked.hosts(),
            routes: self.shown.get(owner).copied().unwrap_or_default(),
            addresses: &self.settings().addresses,
        }
    }
}

/// Makes due what `one` asks of hosts. TLS only where the `other` version of the object asks for something else.
fn due_hosts(one: &Asked, other: Option<&Asked>, due: &mut Due) {
    let same_owner = other.filter(|other| other.owner == one.owner);
    for (host, claim) in &one.claims {
        if claim.has_routes() {
            due.hosts.insert(host.clone());
        }
        let tls = claim.tls.iter().map(|index| &one.draft.tls[*index]);
        let same = same_owner.is_some_and(|other| {
            let theirs = other.claims.get(host).into_iter().flat_map(|claim| &claim.tls);
            theirs.map(|index| &other.draft.tls[*index]).eq(tls)
        });
        if !same && !claim.tls.is_empty() {
            due.bindings.entry(host.clone()).or_default().insert(one.owner.clone());
        }
    }
}
