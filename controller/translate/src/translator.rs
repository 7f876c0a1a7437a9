//! The whole translation, kept up to date at the cost of what changed.
//!
//! It goes in stages, each a pure function of one thing and of what the stages before it came to:
//!
//! | stage | of each | reads |
//! | --- | --- | --- |
//! | `asked` | Ingress, WsRoute | the object, the classes |
//! | `certificate` | certificate that an object names | its Secret |
//! | `resolved` | object | what it asks for, the Services and certificates that it names |
//! | `binding` | host | who names it under tls |
//! | `arranged` | host | who wants routes there and what these lead to, its binding and that of its wildcard |
//! | `service` | Service of which a host's routes use a port | the Service, its slices |
//! | `report` | object | all of the above that is about it |
//!
//! What a stage came to is kept, with what is needed to find who depends on it; [`Due`] holds what has to be done
//! again. A stage that comes to the same as before makes nothing due behind it. From scratch everything is due, so
//! there is one way only, and the property that a walk through many changes equals the last step alone is a test.

mod endpoints;
mod hosts;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef};
use imbl::OrdSet;
use ipnet::IpNet;
use snapshot::{CertificateKey, HostPattern, Key, Listener, ListenerName, Section};

use crate::Outcome;
use crate::affinity_key;
use crate::class::Classes;
use crate::draft::Owner;
use crate::object::{Asked, Reference, Resolved};
use crate::report::Notes;
use crate::settings::Settings;
use crate::store::{Kind, Name, Object, Store};
use crate::tls::Problem;

use endpoints::ServiceMemo;
use hosts::{BindingMemo, HostMemo};

/// Translates one store after another, doing again only what a change makes necessary. What comes out is exactly what
/// [`translate`](crate::translate()) makes of the same store and settings.
///
/// After a panic it must be thrown away: it may hold half a translation.
#[derive(Debug, Default)]
pub struct Translator {
    /// Nothing was translated yet without them.
    settings: Option<Settings>,
    /// What the memo is of.
    store: Store,
    classes: Classes,
    class_notes: Notes,
    /// Hosts belonged to namespaces by a class in the translation before.
    owned_hosts: bool,
    asked: BTreeMap<Arc<Owner>, Arc<Asked>>,
    resolved: BTreeMap<Arc<Owner>, Resolved>,
    owners: BTreeMap<ObjectRef, Arc<Owner>>,
    /// What there is to say of objects that are not ours.
    strangers: BTreeMap<ObjectRef, Notes>,
    /// Who names a certificate, and what is wrong with it.
    certificates: BTreeMap<CertificateKey, CertificateMemo>,
    /// Who names a Service, a ConfigMap or, for something else than a host's certificate, a Secret.
    named: BTreeMap<Reference, BTreeSet<Arc<Owner>>>,
    /// Whose fallback stands for every host.
    everywhere: BTreeSet<Arc<Owner>>,
    bindings: BTreeMap<HostPattern, BindingMemo>,
    hosts: BTreeMap<HostPattern, HostMemo>,
    /// Who wants routes of a host.
    wanted: BTreeMap<HostPattern, BTreeSet<Arc<Owner>>>,
    /// Hosts that are named for their certificate alone, and have another's routes.
    borrowers: BTreeSet<HostPattern>,
    /// The names below each wildcard.
    below: BTreeMap<HostPattern, BTreeSet<HostPattern>>,
    /// How many routes of each object are in the snapshot.
    shown: BTreeMap<Arc<Owner>, usize>,
    services: BTreeMap<Name, ServiceMemo>,
    /// What there is to say of the key of affinity cookies.
    affinity_key: Notes,
    remarks: Remarks,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct CertificateMemo {
    users: BTreeSet<Arc<Owner>>,
    problem: Option<Problem>,
    notes: Notes,
}

/// What has to be done again.
#[derive(Debug, Default)]
struct Due {
    certificates: BTreeSet<CertificateKey>,
    /// Certificates that fewer objects name.
    released: BTreeSet<CertificateKey>,
    resolved: BTreeSet<Arc<Owner>>,
    /// With those whose wishes differ.
    bindings: BTreeMap<HostPattern, BTreeSet<Arc<Owner>>>,
    hosts: BTreeSet<HostPattern>,
    every_host: bool,
    services: BTreeSet<Name>,
    /// By Service and slice.
    slices: BTreeSet<(Name, Name)>,
    /// What objects name, or no longer do, or of which something else is known now.
    wanted: BTreeSet<Reference>,
    reports: BTreeSet<Arc<Owner>>,
    affinity_key: bool,
}

impl Due {
    /// An object names this, or does so no longer. Only what may be on demand counts.
    fn name(&mut self, reference: Reference) {
        if reference.0.may_be_on_demand() {
            self.wanted.insert(reference);
        }
    }
}

/// Diagnostics with how many stages say each.
#[derive(Debug, Default)]
struct Remarks {
    counts: BTreeMap<Diagnostic, usize>,
    all: OrdSet<Diagnostic>,
}

impl Translator {
    /// Translates the store. The cost follows what differs from the last one, if that is where it came from.
    pub fn translate(&mut self, store: &Store, settings: &Settings) -> Outcome {
        if self.settings.as_ref() != Some(settings) || !self.store.same_classes(store) {
            *self = Self::begin(store, settings);
        }
        let mut due = self.take(store);
        if due.affinity_key {
            self.read_affinity_key();
        }
        self.read_certificates(&mut due);
        self.resolve(&mut due);
        self.bind(&mut due);
        self.arrange(&mut due);
        self.read_services(&mut due);
        self.report(&due);
        self.want(due.wanted);
        self.owned_hosts = self.classes.own_hosts();
        self.outcome.diagnostics = self.remarks.all.clone();
        self.outcome.clone()
    }

    /// Whatever follows from settings and classes alone.
    fn begin(store: &Store, settings: &Settings) -> Self {
        let mut notes = Notes::default();
        let classes = Classes::read(store, settings, &mut notes);
        let mut fresh = Self {
            settings: Some(settings.clone()),
            store: store.only_classes(),
            classes,
            ..Self::default()
        };
        fresh.remarks.swap(None, Some(&notes));
        fresh.class_notes = notes;
        let trusted_proxies = settings.trusted_proxies.clone();
        let proxy_protocol_from = IpNet::aggregate(&settings.proxy_protocol_from);
        let plain = Listener { trusted_proxies, proxy_protocol_from, default_certificate: None };
        let tls = Listener { default_certificate: settings.default_tls_secret.clone(), ..plain.clone() };
        fresh.put(Key::Listener(ListenerName::Http), &Section::Listener(plain));
        fresh.put(Key::Listener(ListenerName::Https), &Section::Listener(tls));
        let mut due = Due::default();
        due.certificates.extend(settings.default_tls_secret.clone());
        fresh.read_certificates(&mut due);
        let default = settings.default_tls_secret.as_ref().map(Name::of_certificate);
        let secrets = default.into_iter().chain(settings.affinity_key_secret());
        fresh.want(secrets.map(|name| (Kind::Secret, name)).collect());
        fresh.read_affinity_key();
        fresh
    }

    /// Takes the new store over, and finds out what it makes due.
    fn take(&mut self, store: &Store) -> Due {
        let mut due = Due::default();
        let before = std::mem::replace(&mut self.store, store.clone());
        if !before.same_policies(store) {
            self.read_classes(store, &mut due);
        }
        for difference in store.differences(&before) {
            let name = difference.name;
            match difference.kind {
                Kind::Ingress | Kind::WsRoute => {
                    self.read(&name.reference(difference.kind), difference.after, &mut due);
                }
                Kind::Service => {
                    self.due_to_those_who_name(Kind::Service, name, &mut due);
                    due.services.insert(name.clone());
                }
                Kind::EndpointSlice => {
                    self.take_slice(name, difference.before, difference.after, &mut due);
                }
                Kind::Secret => {
                    let key = name.certificate();
                    due.certificates.extend(self.certificates.contains_key(&key).then_some(key));
                    self.due_to_those_who_name(Kind::Secret, name, &mut due);
                    due.wanted.insert((Kind::Secret, name.clone()));
                    self.due_to_hosts_with_authorities_of(name, &mut due);
                    due.affinity_key |= self.has_affinity_key(name);
                }
                Kind::ConfigMap => {
                    self.due_to_those_who_name(Kind::ConfigMap, name, &mut due);
                    due.wanted.insert((Kind::ConfigMap, name.clone()));
                }
                Kind::IngressClass | Kind::WsPolicy => {}
            }
        }
        due
    }

    /// What classes name differs: objects of those that say something else now are read again.
    fn read_classes(&mut self, store: &Store, due: &mut Due) {
        let mut notes = Notes::default();
        let classes = Classes::read(store, self.settings(), &mut notes);
        self.remarks.swap(Some(&self.class_notes), Some(&notes));
        self.class_notes = notes;
        let others = classes.with_other_parameters(&self.classes);
        self.classes = classes;
        let is_of = |asked: &Asked| asked.class.as_ref().is_some_and(|class| others.contains(class));
        let objects = self.asked.values().filter(|asked| is_of(asked)).map(|asked| asked.reference.clone());
        for object in objects.collect::<Vec<_>>() {
            self.read(&object, store.object(&object), due);
        }
    }

    fn due_to_those_who_name(&self, kind: Kind, name: &Name, due: &mut Due) {
        let users = self.named.get(&(kind, name.clone()));
        due.resolved.extend(users.into_iter().flatten().cloned());
    }

    /// Finds out whether these are read by anything, and whether there is something to read.
    fn want(&mut self, candidates: BTreeSet<Reference>) {
        for reference in candidates {
            let (kind, name) = &reference;
            let object = name.reference(*kind);
            let named = self.named.contains_key(&reference)
                || (*kind == Kind::Secret && self.certificates.contains_key(&name.certificate()));
            // Nobody waits for the key of cookies: proxies have it, or do without.
            let wanted = named || (*kind == Kind::Secret && self.has_affinity_key(name));
            let unread = named && self.store.is_unread(*kind, name);
            for (set, is_in) in [(&mut self.outcome.wanted, wanted), (&mut self.outcome.unread, unread)] {
                if is_in {
                    set.insert(object.clone());
                } else {
                    set.remove(&object);
                }
            }
        }
    }

    /// Who may sign clients' certificates is a setting of hosts.
    fn due_to_hosts_with_authorities_of(&self, secret: &Name, due: &mut Due) {
        let users = self.named.get(&(Kind::Secret, secret.clone())).into_iter().flatten();
        let hosts = users.filter_map(|owner| self.asked.get(owner));
        for host in hosts.flat_map(|asked| asked.hosts_with_authorities_of(secret)) {
            due.bindings.entry(host.clone()).or_default();
        }
    }

    fn has_affinity_key(&self, secret: &Name) -> bool {
        self.settings().affinity_key_secret().as_ref() == Some(secret)
    }

    fn read_affinity_key(&mut self) {
        let (key, notes) = affinity_key::read(&self.settings().affinity_key, &self.store);
        match key {
            Some(key) => self.put(Key::AffinityKey, &Section::AffinityKey(key)),
            None => self.outcome.snapshot.remove(&Key::AffinityKey),
        }
        self.remarks.swap(Some(&self.affinity_key), Some(&notes));
        self.affinity_key = notes;
    }

    fn settings(&self) -> &Settings {
        self.settings.as_ref().expect("a translation begins with settings")
    }

    /// Puts a section in. One that is there already costs nothing.
    fn put(&mut self, key: Key, section: &Section) {
        self.outcome.snapshot.insert(key, section);
    }
}

impl Remarks {
    /// In place of what a stage said before, what it says now.
    fn swap(&mut self, before: Option<&Notes>, after: Option<&Notes>) {
        for diagnostic in after.into_iter().flat_map(|notes| &notes.diagnostics) {
            let count = self.counts.entry(diagnostic.clone()).or_default();
            *count += 1;
            if *count == 1 {
                self.all.insert(diagnostic.clone());
            }
        }
        for diagnostic in before.into_iter().flat_map(|notes| &notes.diagnostics) {
            let count = self.counts.get_mut(diagnostic).expect("what goes was said before");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(diagnostic);
                self.all.remove(diagnostic);
            }
        }
    }
}

/// Takes one thing out of the set under a key, and the set with its last one.
fn forget<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// What a slice is, where it is one.
fn as_slice(object: Option<&Object>) -> Option<&k8s_openapi::api::discovery::v1::EndpointSlice> {
    match object? {
        Object::EndpointSlice(slice) => Some(slice),
        _ => None,
    }
}
