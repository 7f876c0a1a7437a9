//! Secrets and ConfigMaps: of all of them names and versions are known, and only those are read that translation asks for.
//!
//! Pure: what the watch sees, what is wanted and what reads brought goes in; what is to be read, and changes for the
//! store, come out. A read says that an object exists only while the watch does, too: so one that was read before it
//! was deleted does not come back. What a read fails to bring stays as it was read before.

use std::collections::{BTreeMap, BTreeSet};

use crds::diagnostic::{Diagnostic, ObjectRef};
use translate::{Change, Kind, Object};

/// Which kinds are read on demand.
pub(super) const KINDS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];

/// Whether an object is of a kind that is read on demand.
pub(super) fn is_on_demand(object: &ObjectRef) -> bool {
    KINDS.iter().any(|kind| kind.as_str() == object.kind)
}

/// What there is, and what of it was read.
#[derive(Debug, Default)]
pub(super) struct OnDemand {
    /// Everything there is, with its version.
    listed: BTreeMap<ObjectRef, String>,
    /// Kinds of which everything that there is is listed.
    complete: BTreeSet<&'static str>,
    wanted: BTreeMap<ObjectRef, Wanted>,
    /// What is to be read.
    due: BTreeSet<ObjectRef>,
    /// What could not be read, and why.
    failed: BTreeMap<ObjectRef, Diagnostic>,
}

/// How far an object is that is wanted.
#[derive(Debug, Default)]
struct Wanted {
    told: Told,
    reading: Option<Since>,
}

/// What the store was told last.
#[derive(Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Absent,
    Version(String),
}

/// What happened since a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Nothing,
    /// It changed, so what is read may be too old.
    Change,
}

impl OnDemand {
    /// An object is there, at this version.
    pub(super) fn listed(&mut self, object: ObjectRef, version: String) -> Option<Change> {
        let change = self.settle_at(&object, Some(&version));
        self.listed.insert(object, version);
        change
    }

    /// An object is not there any more.
    pub(super) fn gone(&mut self, object: &ObjectRef) -> Option<Change> {
        self.listed.remove(object);
        self.settle_at(object, None)
    }

    /// Everything of a kind that there is has been listed.
    pub(super) fn complete(&mut self, kind: Kind) -> Vec<Change> {
        self.complete.insert(kind.as_str());
        let wanted: Vec<_> =
            self.wanted.keys().filter(|object| object.kind == kind.as_str()).cloned().collect();
        wanted.iter().filter_map(|object| self.settle(object)).collect()
    }

    /// These are wanted, and nothing else: what was read of others is forgotten.
    pub(super) fn want<'a>(&mut self, objects: impl IntoIterator<Item = &'a ObjectRef>) -> Vec<Change> {
        let objects: BTreeSet<_> = objects.into_iter().filter(|object| is_on_demand(object)).collect();
        let mut changes = Vec::new();
        self.wanted.retain(|object, wanted| {
            let stays = objects.contains(object);
            if !stays && wanted.told != Told::Nothing {
                changes.push(Change::Delete(object.clone()));
            }
            stays
        });
        self.due.retain(|object| objects.contains(object));
        self.failed.retain(|object, _| objects.contains(object));
        for object in objects {
            if !self.wanted.contains_key(object) {
                self.wanted.insert(object.clone(), Wanted::default());
                changes.extend(self.settle(object));
            }
        }
        changes
    }

    /// The next one that is to be read now. It counts as being read until it [`came`](Self::came).
    pub(super) fn next(&mut self) -> Option<ObjectRef> {
        let object = self.due.pop_first()?;
        if let Some(wanted) = self.wanted.get_mut(&object) {
            wanted.reading = Some(Since::Nothing);
        }
        Some(object)
    }

    /// What a read brought: the object with its version, nothing where there is none, or why that is not known.
    pub(super) fn came(
        &mut self,
        object: &ObjectRef,
        read: Result<Option<(Object, String)>, Diagnostic>,
    ) -> Option<Change> {
        let wanted = self.wanted.get_mut(object)?;
        let since = wanted.reading.take();
        self.failed.remove(object);
        if !self.listed.contains_key(object) {
            return self.settle(object);
        }
        if since != Some(Since::Nothing) {
            self.due.insert(object.clone());
        }
        match read {
            Ok(Some((read, version))) => {
                wanted.told = Told::Version(version);
                Some(Change::Upsert(read))
            }
            // The watch will say so too.
            Ok(None) => self.tell_absent(object),
            Err(diagnostic) => {
                self.failed.insert(object.clone(), diagnostic);
                None
            }
        }
    }

    /// What could not be read is tried again.
    pub(super) fn retry(&mut self) {
        let failed: Vec<_> = self.failed.keys().cloned().collect();
        self.due.extend(
            failed
                .into_iter()
                .filter(|object| self.wanted.get(object).is_some_and(|wanted| wanted.reading.is_none())),
        );
    }

    /// Why objects could not be read. It stays until they are.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&ObjectRef, &Diagnostic)> {
        self.failed.iter()
    }

    fn settle(&mut self, object: &ObjectRef) -> Option<Change> {
        let version = self.listed.get(object).cloned();
        self.settle_at(object, version.as_deref())
    }

    /// Makes of an object's version what follows from it.
    fn settle_at(&mut self, object: &ObjectRef, version: Option<&str>) -> Option<Change> {
        let wanted = self.wanted.get_mut(object)?;
        let Some(version) = version else {
            self.due.remove(object);
            self.failed.remove(object);
            let known = self.complete.contains(&*object.kind);
            return known.then(|| self.tell_absent(object)).flatten();
        };
        if wanted.told == Told::Version(version.to_owned()) {
            return None;
        }
        match &mut wanted.reading {
            Some(since) => *since = Since::Change,
            None => drop(self.due.insert(object.clone())),
        }
        None
    }

    fn tell_absent(&mut self, object: &ObjectRef) -> Option<Change> {
        let wanted = self.wanted.get_mut(object)?;
        let before = std::mem::replace(&mut wanted.told, Told::Absent);
        (before != Told::Absent).then(|| Change::Absent(object.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::diagnostic::Severity;
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    fn named(name: &str) -> ObjectRef {
        ObjectRef::new("Secret", "d", name)
    }

    fn secret(name: &str) -> Object {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret.metadata.namespace = Some("d".into());
        Object::Secret(Arc::new(secret))
    }

    fn found(name: &str, version: &str) -> (Object, String) {
        (secret(name), version.into())
    }

    fn refused() -> Diagnostic {
        Diagnostic {
            object: named("a"),
            field: String::new(),
            severity: Severity::Error,
            reason: "Forbidden".into(),
            message: "no".into(),
            remedy: "grant it".into(),
        }
    }

    /// As `+a`, `-a` for one that is forgotten, `!a` for one that does not exist.
    fn shown(changes: impl IntoIterator<Item = Change>) -> String {
        let shown = changes.into_iter().map(|change| match change {
            Change::Upsert(object) => format!("+{}", object.reference().name),
            Change::Delete(object) => format!("-{}", object.name),
            Change::Absent(object) => format!("!{}", object.name),
            other => format!("{other:?}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// With `a` and `b` listed at version 1.
    fn listed() -> OnDemand {
        let mut secrets = OnDemand::default();
        for name in ["a", "b"] {
            assert_eq!(shown(secrets.listed(named(name), "1".into())), "");
        }
        assert_eq!(shown(secrets.complete(Kind::Secret)), "");
        secrets
    }

    #[test]
    fn only_what_is_wanted_is_read_and_it_is_forgotten_when_it_no_longer_is() {
        let mut secrets = listed();
        assert_eq!(secrets.next(), None);
        let service = ObjectRef::new("Service", "d", "a");
        assert_eq!(shown(secrets.want([&named("a"), &named("c"), &service])), "!c");
        assert_eq!((secrets.next(), secrets.next()), (Some(named("a")), None));
        assert_eq!(shown(secrets.came(&named("a"), Ok(Some(found("a", "1"))))), "+a");
        assert_eq!(shown(secrets.want([&named("b"), &named("c")])), "-a");
        assert_eq!(secrets.next(), Some(named("b")));
        assert_eq!(shown(secrets.want([])), "-c", "nothing was told of b yet");
        assert_eq!(shown(secrets.came(&named("b"), Ok(Some(found("b", "1"))))), "");
        assert_eq!(shown(secrets.want([&named("a")])), "");
        assert_eq!(secrets.next(), Some(named("a")), "it is read anew");
    }

    #[test]
    fn what_does_not_exist_is_known_when_everything_is_listed() {
        let mut secrets = OnDemand::default();
        assert_eq!(shown(secrets.want([&named("a"), &named("c")])), "");
        secrets.listed(named("a"), "1".into());
        assert_eq!(shown(secrets.complete(Kind::Secret)), "!c");
        assert_eq!(secrets.next(), Some(named("a")));
        assert_eq!(shown(secrets.listed(named("c"), "4".into())), "");
        assert_eq!(secrets.next(), Some(named("c")));
        assert_eq!(shown(secrets.came(&named("c"), Ok(Some(found("c", "4"))))), "+c");
    }

    #[test]
    fn a_new_version_is_read_and_the_same_one_is_not() {
        let mut secrets = listed();
        secrets.want([&named("a")]);
        secrets.next();
        // The watch is ahead: what was read may be older than what it saw.
        assert_eq!(shown(secrets.listed(named("a"), "2".into())), "");
        assert_eq!(secrets.next(), None, "it is being read");
        assert_eq!(shown(secrets.came(&named("a"), Ok(Some(found("a", "1"))))), "+a");
        assert_eq!(secrets.next(), Some(named("a")));
        // The watch is behind: what was read is newer than what it saw.
        assert_eq!(shown(secrets.came(&named("a"), Ok(Some(found("a", "3"))))), "+a");
        assert_eq!(secrets.next(), None);
        assert_eq!(shown(secrets.listed(named("a"), "3".into())), "");
        assert_eq!(secrets.next(), None, "that version was read");
    }

    #[test]
    fn what_went_while_it_was_read_does_not_come_back() {
        let mut secrets = listed();
        secrets.want([&named("a"), &named("b")]);
        assert_eq!((secrets.next(), secrets.next()), (Some(named("a")), Some(named("b"))));
        assert_eq!(shown(secrets.gone(&named("a"))), "!a");
        assert_eq!(shown(secrets.came(&named("a"), Ok(Some(found("a", "1"))))), "");
        // The read knows it before the watch does.
        assert_eq!(shown(secrets.came(&named("b"), Ok(None))), "!b");
        assert_eq!(shown(secrets.gone(&named("b"))), "");
        assert_eq!(secrets.next(), None);
        assert_eq!(shown(secrets.listed(named("a"), "7".into())), "");
        assert_eq!(secrets.next(), Some(named("a")), "it was made anew");
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_was_and_is_tried_again() {
        let mut secrets = listed();
        secrets.want([&named("a")]);
        secrets.next();
        secrets.came(&named("a"), Ok(Some(found("a", "1"))));
        secrets.listed(named("a"), "2".into());
        secrets.next();
        assert_eq!(shown(secrets.came(&named("a"), Err(refused()))), "");
        assert_eq!(secrets.failed().count(), 1);
        assert_eq!(secrets.next(), None, "not at once");
        secrets.retry();
        assert_eq!(secrets.next(), Some(named("a")));
        secrets.retry();
        assert_eq!(secrets.next(), None, "it is being read");
        assert_eq!(shown(secrets.came(&named("a"), Ok(Some(found("a", "2"))))), "+a");
        assert_eq!(secrets.failed().count(), 0);
        secrets.listed(named("a"), "3".into());
        secrets.next();
        secrets.came(&named("a"), Err(refused()));
        assert_eq!(shown(secrets.gone(&named("a"))), "!a");
        assert_eq!(secrets.failed().count(), 0, "there is nothing left to read");
    }
}
