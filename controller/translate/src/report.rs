//! What an object is told about itself, as values: the status writer and the admin API show them.

use std::collections::{BTreeMap, BTreeSet};

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use serde::Serialize;

/// How one Ingress or WsRoute was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In Gateway API's words: `Accepted`, `ResolvedRefs`, and `PartiallyInvalid` while it holds. `Programmed` is
    /// for the controller to add, which knows what proxies acknowledged.
    pub conditions: Vec<Condition>,
    /// What older objects own of it.
    pub conflicts: Vec<Conflict>,
    /// The hosts that it names, as they are served; `*` stands for every host that nothing else names.
    pub hosts: Vec<String>,
    /// How many routes of it are in the snapshot, counted for each host.
    pub routes: usize,
}

/// One condition, without the times that only a live object has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `Accepted`, `ResolvedRefs`, `PartiallyInvalid`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A match, or a host's TLS setting, that an older object owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The host, `*` for every host that nothing else names.
    pub host: String,
    /// The path as matched (`=/exact`, `/prefix`), `defaultBackend`, or `tls`.
    pub path: String,
    /// Who has it.
    pub owner: ObjectRef,
}

/// Everything that is found out on the way, by object.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    diagnostics: BTreeSet<Diagnostic>,
    entries: BTreeMap<ObjectRef, Entry>,
}

/// What is found out about one object.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) conflicts: BTreeSet<Conflict>,
    /// Pairs of host and match that it asks for.
    pub(crate) wanted: usize,
    /// Of these, those that an older object owns, or an earlier rule of this one.
    pub(crate) lost: usize,
    /// Of these, those that answer 503 because of how they are written.
    pub(crate) broken: usize,
    /// Routes of the snapshot that are its own.
    pub(crate) routes: usize,
    /// Why none of it is served as meant.
    pub(crate) rejected: Option<String>,
    /// Parts of it that are not served.
    pub(crate) invalid: Vec<String>,
    /// References that lead nowhere: reason and message.
    pub(crate) unresolved: Vec<(&'static str, String)>,
}

/// A diagnostic of [`Severity::Error`]; the other severities are made of it by [`Ledger::warn`] and so on.
pub(crate) fn remark(
    object: &ObjectRef,
    field: impl Into<String>,
    reason: &str,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        object: object.clone(),
        field: field.into(),
        severity: Severity::Error,
        reason: reason.into(),
        message: message.into(),
        remedy: remedy.into(),
    }
}

impl Ledger {
    /// The entry of an object that is ours.
    pub(crate) fn entry(&mut self, object: &ObjectRef) -> &mut Entry {
        self.entries.entry(object.clone()).or_default()
    }

    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.insert(diagnostic);
    }

    pub(crate) fn warn(&mut self, diagnostic: Diagnostic) {
        self.note(Diagnostic { severity: Severity::Warning, ..diagnostic });
    }

    pub(crate) fn inform(&mut self, diagnostic: Diagnostic) {
        self.note(Diagnostic { severity: Severity::Info, ..diagnostic });
    }

    /// A part of the object cannot be served; the rest of it can.
    pub(crate) fn invalid(&mut self, diagnostic: Diagnostic) {
        let message = format!("{}: {}", diagnostic.field, diagnostic.message);
        self.entry(&diagnostic.object).invalid.push(message);
        self.note(diagnostic);
    }

    /// A reference of the object leads nowhere.
    pub(crate) fn unresolved(&mut self, reason: &'static str, diagnostic: Diagnostic) {
        let message = format!("{}: {}", diagnostic.field, diagnostic.message);
        self.entry(&diagnostic.object).unresolved.push((reason, message));
        self.note(diagnostic);
    }

    /// An older object owns a match or a setting of this one's, or this one has it twice.
    pub(crate) fn conflict(&mut self, loser: &ObjectRef, field: &str, conflict: Conflict) {
        let Conflict { host, path, owner } = &conflict;
        if owner == loser {
            let message = format!("host {host} has {path} twice; the first one is served");
            self.invalid(remark(loser, field, "Duplicate", message, "remove one of them"));
            return;
        }
        let message = format!("host {host}: {path} belongs to {owner}, which is older");
        let remedy = format!("change it here, or in {owner}");
        self.note(remark(loser, field, "Conflicted", message, remedy));
        self.entry(loser).conflicts.insert(conflict);
    }

    /// The reports and the diagnostics.
    pub(crate) fn close(self) -> (BTreeMap<ObjectRef, Report>, Vec<Diagnostic>) {
        let reports = self.entries.into_iter().map(|(object, entry)| (object, entry.report())).collect();
        (reports, self.diagnostics.into_iter().collect())
    }
}

impl Entry {
    fn report(self) -> Report {
        let accepted = self.accepted();
        let partially = accepted.status.then(|| self.partially_invalid()).flatten();
        let resolved = self.resolved();
        Report {
            conditions: [Some(accepted), Some(resolved), partially].into_iter().flatten().collect(),
            conflicts: self.conflicts.into_iter().collect(),
            hosts: self.hosts.into_iter().collect(),
            routes: self.routes,
        }
    }

    fn accepted(&self) -> Condition {
        let condition = |status, reason, message: &str| condition("Accepted", status, reason, message);
        if let Some(why) = &self.rejected {
            condition(false, "UnsupportedValue", why)
        } else if !self.conflicts.is_empty() && self.lost == self.wanted {
            condition(false, "Conflicted", &self.owners())
        } else if self.lost + self.broken == self.wanted {
            let why = summary(&self.invalid).unwrap_or_else(|| "it asks for no route".into());
            condition(false, "Invalid", &why)
        } else {
            condition(true, "Accepted", "its routes are served")
        }
    }

    fn partially_invalid(&self) -> Option<Condition> {
        if let Some(why) = summary(&self.invalid) {
            return Some(condition("PartiallyInvalid", true, "Invalid", &why));
        }
        let conflicts = !self.conflicts.is_empty();
        conflicts.then(|| condition("PartiallyInvalid", true, "Conflicted", &self.owners()))
    }

    fn resolved(&self) -> Condition {
        let messages: Vec<_> = self.unresolved.iter().map(|(_, message)| message.clone()).collect();
        match (self.unresolved.first(), summary(&messages)) {
            (Some((reason, _)), Some(why)) => condition("ResolvedRefs", false, reason, &why),
            _ => condition("ResolvedRefs", true, "ResolvedRefs", "every reference leads somewhere"),
        }
    }

    fn owners(&self) -> String {
        let owned = self
            .conflicts
            .iter()
            .map(|one| format!("host {} {} belongs to {}", one.host, one.path, one.owner));
        summary(&owned.collect::<Vec<_>>()).unwrap_or_default()
    }
}

fn condition(type_: &str, status: bool, reason: &str, message: &str) -> Condition {
    Condition { type_: type_.into(), status, reason: reason.into(), message: message.into() }
}

/// A condition's message is short: the first of them, and how many more.
fn summary(messages: &[String]) -> Option<String> {
    match messages {
        [] => None,
        [only] => Some(only.clone()),
        [first, more @ ..] => Some(format!("{first}; and {} more", more.len())),
    }
}
