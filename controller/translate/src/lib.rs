//! Kubernetes objects in, a [`snapshot::Snapshot`] and reports out.
//!
//! A [`Store`] holds the objects that a source brought, by identity. [`translate()`] reads the whole store: it
//! decides which objects are ours (`class`), turns Ingress and WsRoute into the same drafts (`ingress`, `wsroute`,
//! `draft`), and leads these through one code path: `object` with `backends`, `tls`, `host`, `endpoints`, `report`.
//! A [`Translator`] does the same for one store after another, at the cost of what changed; `translator` says in what
//! order.
//!
//! Invariant: translation is total, deterministic and synchronous. The same objects and settings give the same
//! bytes, in whatever order the objects came, on every replica. It knows no client, runtime, clock, file or
//! socket. One bad object costs itself only, and is told so in [`Outcome::reports`] and
//! [`Outcome::diagnostics`]; a security setting that cannot be kept closes the routes it was meant for.

mod absence;
mod affinity_key;
mod backends;
mod class;
mod conditions;
mod draft;
mod endpoints;
mod host;
mod ingress;
mod object;
mod policy;
mod provenance;
mod report;
mod settings;
mod store;
mod tls;
mod translator;
mod wsroute;

use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef};
use imbl::{OrdMap, OrdSet};
use snapshot::Snapshot;

pub use affinity_key::{AFFINITY_KEY, SHORTEST_AFFINITY_KEY};
pub use endpoints::SERVICE_NAME;
pub use object::reads_annotation;
pub use policy::auth::is_password_hash;
pub use provenance::{Precedence, Provenance, Saying, Setting, precedence, provenance};
pub use report::{Condition, Conflict, Event, EventType, Report};
pub use settings::{AffinityKeyFrom, AuthUrls, Settings, StatusOf};
pub use store::{Change, Kind, Object, Store, Touched};
pub use translator::Translator;

/// What a store translates to. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the proxy gets.
    pub snapshot: Snapshot,
    /// One for each Ingress and WsRoute that is ours.
    pub reports: OrdMap<ObjectRef, Arc<Report>>,
    /// Everything that is wrong or worth knowing, sorted, each once.
    pub diagnostics: OrdSet<Diagnostic>,
    /// The Secrets that translation reads, there or not: a source need not keep others.
    pub wanted: OrdSet<ObjectRef>,
    /// Of these, those of which the store does not know yet whether they exist ([`Change::OnDemand`]).
    pub unread: OrdSet<ObjectRef>,
}

/// Translates everything in the store.
pub fn translate(store: &Store, settings: &Settings) -> Outcome {
    Translator::default().translate(store, settings)
}
