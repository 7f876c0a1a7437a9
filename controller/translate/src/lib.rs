//! Kubernetes objects in, a [`snapshot::Snapshot`] and reports out.
//!
//! A [`Store`] holds the objects that a source brought, by identity. [`translate()`] reads the whole store: it
//! decides which objects are ours, turns Ingress and WsRoute into the same drafts (`draft`), and leads these
//! through one code path: `resolve` with `backends`, `tls`, `conflict`, `endpoints`, `report`.
//!
//! Invariant: translation is total, deterministic and synchronous. The same objects and settings give the same
//! bytes, in whatever order the objects came, on every replica. It knows no client, runtime, clock, file or
//! socket. One bad object costs itself only, and is told so in [`Outcome::reports`] and
//! [`Outcome::diagnostics`]; a security setting that cannot be kept closes the routes it was meant for.

mod backends;
mod class;
mod conditions;
mod conflict;
mod draft;
mod endpoints;
mod ingress;
mod policy;
mod report;
mod resolve;
mod settings;
mod store;
mod tls;
mod wsroute;

use std::collections::{BTreeMap, BTreeSet};

use crds::diagnostic::{Diagnostic, ObjectRef};
use snapshot::{Key, Listener, ListenerName, Section, Snapshot};

use class::Classes;
use draft::{Draft, Owner};
use report::Ledger;

pub use report::{Condition, Conflict, Report};
pub use settings::Settings;
pub use store::{Change, Kind, Object, Store};

/// What a store translates to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the proxy gets.
    pub snapshot: Snapshot,
    /// One for each Ingress and WsRoute that is ours.
    pub reports: BTreeMap<ObjectRef, Report>,
    /// Everything that is wrong or worth knowing, sorted, each once.
    pub diagnostics: Vec<Diagnostic>,
}

/// Translates everything in the store.
pub fn translate(store: &Store, settings: &Settings) -> Outcome {
    let (mut snapshot, mut ledger) = (Snapshot::default(), Ledger::default());
    insert_listeners(settings, &mut snapshot);
    let drafts = drafts(store, settings, &mut ledger);
    let actions = resolve::actions(&drafts, store, &mut ledger);
    let bindings = tls::bind(&drafts, store, settings, &mut snapshot, &mut ledger);
    let arranged = conflict::arrange(&drafts, bindings.hosts(), &mut ledger);
    let used = resolve::insert_hosts(&drafts, &arranged, &actions, &bindings, &mut snapshot, &mut ledger);
    endpoints::insert(&used, store, settings.local_endpoints(), &mut snapshot, &mut ledger);
    let (reports, diagnostics) = ledger.close();
    Outcome { snapshot, reports, diagnostics }
}

fn insert_listeners(settings: &Settings, snapshot: &mut Snapshot) {
    let trusted_proxies = settings.trusted_proxies.clone();
    let plain = Listener { trusted_proxies, default_certificate: None };
    let tls = Listener { default_certificate: settings.default_tls_secret.clone(), ..plain.clone() };
    snapshot.insert(Key::Listener(ListenerName::Http), &Section::Listener(plain));
    snapshot.insert(Key::Listener(ListenerName::Https), &Section::Listener(tls));
}

/// What our objects ask for, the oldest first.
fn drafts(store: &Store, settings: &Settings, ledger: &mut Ledger) -> Vec<Draft> {
    let classes = Classes::read(store, settings, ledger);
    let mut drafts = Vec::new();
    for (_, ingress) in store.ingresses() {
        let owner = Owner::new(Kind::Ingress.as_str(), &ingress.metadata);
        if classes.takes_ingress(&owner.reference(), ingress, ledger) {
            drafts.extend(ingress::draft(owner, ingress, settings.nginx_annotations, ledger));
        }
    }
    for (_, route) in store.ws_routes() {
        let owner = Owner::new(Kind::WsRoute.as_str(), &route.metadata);
        if classes.takes_ws_route(&owner.reference(), route.spec.ingress_class_name.as_ref(), ledger) {
            drafts.push(wsroute::draft(owner, route, ledger));
        }
    }
    drafts.sort_by(|a, b| a.owner.cmp(&b.owner));
    for draft in &drafts {
        ledger.entry(&draft.owner.reference()).hosts = named_hosts(draft);
    }
    drafts
}

fn named_hosts(draft: &Draft) -> BTreeSet<String> {
    let routes = draft.routes.iter().flat_map(|route| &route.hosts);
    let fallback = draft.fallback.iter().flat_map(|fallback| &fallback.route.hosts);
    let everywhere = draft.fallback.iter().filter(|fallback| fallback.everywhere);
    let hosts = routes.chain(fallback).map(ToString::to_string);
    hosts.chain(everywhere.map(|_| snapshot::HostPattern::Any.to_string())).collect()
}
