//! What an object is told about itself, as values: the status writer and the admin API show them.

use std::collections::BTreeSet;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use crds::wsroute::Address;
use serde::Serialize;

/// How one Ingress or WsRoute was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `metadata.generation` of the object that it was made from, where that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// In Gateway API's words: `Accepted`, `ResolvedRefs`, and `PartiallyInvalid` while it holds. `Programmed` is
    /// for the controller to add, which knows what proxies acknowledged.
    pub conditions: Vec<Condition>,
    /// What older objects own of it.
    pub conflicts: Vec<Conflict>,
    /// What is worth an Event: a Warning for each remark that is no mere information. That it is programmed is for
    /// the controller to say.
    pub events: Vec<Event>,
    /// Where clients reach its hosts.
    pub addresses: Vec<Address>,
    /// The hosts that it names, as they are served; `*` stands for every host that nothing else names.
    pub hosts: Vec<String>,
    /// How many routes of it are in the snapshot, counted for each host.
    pub routes: usize,
    /// It is another controller's: nothing of this may be written to the API server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
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

/// A Kubernetes Event to be, without times and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// As the API writes it.
    #[serde(rename = "type")]
    pub type_: EventType,
    /// One word in CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Kinds of Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// A match, or a host's TLS setting, that an older object owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The host, `*` for every host that nothing else names.
    pub host: String,
    /// The match (`=/exact`, `/prefix (header x-tenant="blue")`), `defaultBackend`, or `tls`.
    pub path: String,
    /// Who has it.
    pub owner: ObjectRef,
}

/// What reading one thing finds out: remarks, and what the conditions of its object say of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) diagnostics: BTreeSet<Diagnostic>,
    /// Why none of the object is served as meant.
    pub(crate) rejected: Option<String>,
    /// Parts of it that are not served.
    pub(crate) invalid: Vec<String>,
    /// References that lead nowhere: reason and message.
    pub(crate) unresolved: Vec<(&'static str, String)>,
}

/// What one host has of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Matches that it asks for.
    pub(crate) wanted: usize,
    /// Of these, those that an older object owns, or an earlier rule of this one.
    pub(crate) lost: usize,
    /// Of these, those that answer 503 because of how they are written.
    pub(crate) broken: usize,
    pub(crate) conflicts: BTreeSet<Conflict>,
    pub(crate) notes: Notes,
}

/// A diagnostic of [`Severity::Error`]; the other severities are made of it by [`Notes::warn`] and so on.
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

impl Notes {
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
        self.invalid.push(format!("{}: {}", diagnostic.field, diagnostic.message));
        self.note(diagnostic);
    }

    /// A reference of the object leads nowhere. Several matches of one rule say so of the same field: once is enough.
    pub(crate) fn unresolved(&mut self, reason: &'static str, diagnostic: Diagnostic) {
        if !self.diagnostics.contains(&diagnostic) {
            self.unresolved.push((reason, format!("{}: {}", diagnostic.field, diagnostic.message)));
            self.note(diagnostic);
        }
    }
}

impl Tally {
    /// An older object owns a match or a setting of this one's, or this one has it twice.
    pub(crate) fn conflict(&mut self, loser: &ObjectRef, field: &str, conflict: Conflict) {
        let Conflict { host, path, owner } = &conflict;
        if owner == loser {
            let message = format!("host {host} has {path} twice; the first one is served");
            self.notes.invalid(remark(loser, field, "Duplicate", message, "remove one of them"));
            return;
        }
        let message = format!("host {host}: {path} belongs to {owner}, which is older");
        let remedy = format!("change it here, or in {owner}");
        self.notes.note(remark(loser, field, "Conflicted", message, remedy));
        self.conflicts.insert(conflict);
    }
}

/// All that is known of one object.
#[derive(Debug, Default)]
pub(crate) struct Findings<'a> {
    pub(crate) generation: Option<i64>,
    /// From the object itself, then from what it refers to.
    pub(crate) notes: [Option<&'a Notes>; 2],
    /// From each host that it names, in their order.
    pub(crate) tallies: Vec<&'a Tally>,
    pub(crate) hosts: BTreeSet<String>,
    /// Its routes in the snapshot.
    pub(crate) routes: usize,
    pub(crate) silent: bool,
    pub(crate) addresses: &'a [Address],
}

impl<'a> Findings<'a> {
    pub(crate) fn report(&self) -> Report {
        let accepted = self.accepted();
        let partially = accepted.status.then(|| self.partially_invalid()).flatten();
        let conflicts: BTreeSet<_> = self.conflicts().cloned().collect();
        Report {
            generation: self.generation,
            conditions: [Some(accepted), Some(self.resolved()), partially].into_iter().flatten().collect(),
            conflicts: conflicts.into_iter().collect(),
            events: self.events(),
            addresses: self.addresses.to_vec(),
            hosts: self.hosts.iter().cloned().collect(),
            routes: self.routes,
            silent: self.silent,
        }
    }

    fn notes(&self) -> impl Iterator<Item = &'a Notes> {
        let of_object = self.notes.into_iter().flatten();
        of_object.chain(self.tallies.iter().map(|tally| &tally.notes))
    }

    fn conflicts(&self) -> impl Iterator<Item = &'a Conflict> {
        self.tallies.iter().flat_map(|tally| &tally.conflicts)
    }

    fn invalid(&self) -> Vec<&'a str> {
        self.notes().flat_map(|notes| &notes.invalid).map(String::as_str).collect()
    }

    fn accepted(&self) -> Condition {
        let condition = |status, reason, message: &str| condition("Accepted", status, reason, message);
        let sum = |count: fn(&Tally) -> usize| self.tallies.iter().map(|tally| count(tally)).sum::<usize>();
        let (wanted, lost) = (sum(|tally| tally.wanted), sum(|tally| tally.lost));
        if let Some(why) = self.notes().find_map(|notes| notes.rejected.as_ref()) {
            condition(false, "UnsupportedValue", why)
        } else if self.conflicts().next().is_some() && lost == wanted {
            condition(false, "Conflicted", &self.owners())
        } else if lost + sum(|tally| tally.broken) == wanted {
            let why = summary(&self.invalid()).unwrap_or_else(|| "it asks for no route".into());
            condition(false, "Invalid", &why)
        } else {
            condition(true, "Accepted", "its routes are served")
        }
    }

    fn partially_invalid(&self) -> Option<Condition> {
        if let Some(why) = summary(&self.invalid()) {
            return Some(condition("PartiallyInvalid", true, "Invalid", &why));
        }
        let conflicts = self.conflicts().next().is_some();
        conflicts.then(|| condition("PartiallyInvalid", true, "Conflicted", &self.owners()))
    }

    fn resolved(&self) -> Condition {
        let unresolved: Vec<_> = self.notes().flat_map(|notes| &notes.unresolved).collect();
        let messages: Vec<_> = unresolved.iter().map(|(_, message)| &**message).collect();
        match (unresolved.first(), summary(&messages)) {
            (Some((reason, _)), Some(why)) => condition("ResolvedRefs", false, reason, &why),
            _ => condition("ResolvedRefs", true, "ResolvedRefs", "every reference leads somewhere"),
        }
    }

    fn owners(&self) -> String {
        let conflicts: BTreeSet<_> = self.conflicts().collect();
        let owned =
            conflicts.iter().map(|one| format!("host {} {} belongs to {}", one.host, one.path, one.owner));
        let owned: Vec<_> = owned.collect();
        summary(&owned.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default()
    }

    fn events(&self) -> Vec<Event> {
        let all: BTreeSet<_> = self.notes().flat_map(|notes| &notes.diagnostics).collect();
        let loud = all.into_iter().filter(|diagnostic| diagnostic.severity != Severity::Info);
        loud.map(|Diagnostic { field, reason, message, remedy, .. }| Event {
            type_: EventType::Warning,
            reason: reason.clone(),
            message: format!("{field}: {message} ({remedy})"),
        })
        .collect()
    }
}

fn condition(type_: &str, status: bool, reason: &str, message: &str) -> Condition {
    Condition { type_: type_.into(), status, reason: reason.into(), message: message.into() }
}

/// A condition's message is short: the first of them, and how many more.
fn summary(messages: &[&str]) -> Option<String> {
    match messages {
        [] => None,
        [only] => Some((*only).to_owned()),
        [first, more @ ..] => Some(format!("{first}; and {} more", more.len())),
    }
}
