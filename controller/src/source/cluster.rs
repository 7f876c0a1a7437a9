//! Objects from an API server: one watch for each kind and namespace, put together here.
//!
//! - Each [`watch`] lists its objects and then follows them, for ever. A list becomes visible as a whole, together
//!   with what went meanwhile: so a list that is taken anew never shows an emptier world. A watch that fails keeps
//!   what it had.
//! - Of Secrets and ConfigMaps only names and versions are watched; those that translation asks for are read by name ([`on_demand`],
//!   [`read`]). (Whoever writes one by `kubectl apply` has it repeated in an annotation of its own, which the API
//!   server sends along; it is passed over while it is decoded.)
//! - Objects are cut down to what translation reads ([`prune`]) before they are kept. What the status writer needs
//!   besides goes its own way, as [`Lives`].
//! - What is in the way (no permission, no CRD, no API server) is said once while it lasts ([`trouble`]), and costs
//!   the kind it is about: the others go on.
//!
//! A kind is complete when each of its watches has listed once. A kind that may be missing is complete without:
//! WsRoutes and WsPolicies of a cluster that does not have their CRD; IngressClasses, being cluster-wide, where only
//! namespaces are watched and reading them is not permitted; and ConfigMaps where that is not permitted, since few
//! routes name one: these do without, or close, as they do where it does not exist. That permission is missing for another kind is no
//! reason to show a world without it: nothing is published then, and proxies go on with what they have.

mod on_demand;
pub mod once;
mod prune;
mod read;
mod trouble;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef};
use crds::wspolicy::WsPolicy;
use crds::wsroute::WsRoute;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use tokio::sync::{mpsc, watch as last};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use translate::{Change, Kind, Object};

use super::{Batch, Feed, Finding, Said};
use crate::live::{Live, Lives};
use on_demand::OnDemand;
use prune::Watched;
use read::Reads;
use watch::{Absence, Watch};

/// Batches that wait for the reconciler.
const QUEUE: usize = 256;

/// Secrets that are never certificates, and many: Helm keeps each version of each release in one.
const SECRETS: &str = "type!=helm.sh/release.v1";

/// Which part of a cluster is watched, and as whom.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Only these namespaces; none: all of them.
    pub namespaces: BTreeSet<String>,
    /// The namespace and name of the Secret with the key of affinity cookies, which is watched wherever it is.
    pub affinity_key: Option<(String, String)>,
    /// Under which name this controller writes status.
    pub field_manager: String,
}

/// What one watch saw at once.
#[derive(Debug)]
struct Seen {
    watch: Position,
    what: What,
}

/// Which watch it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    kind: Kind,
    namespace: Option<String>,
}

#[derive(Debug)]
enum What {
    /// Objects came, differ or went.
    Objects(Vec<ObjectSeen>),
    /// A list is complete: these objects came or differ, or went since the one before.
    Listed(Vec<ObjectSeen>),
    /// It follows what happens.
    Following,
    /// Something is in the way. It goes on trying.
    Trouble(Diagnostic),
    /// The same, and the kind is taken as empty until it is there.
    Absent(Diagnostic),
}

/// One object as it was seen.
#[derive(Debug)]
struct ObjectSeen {
    object: ObjectRef,
    sight: Sight,
    live: Option<Live>,
    /// Why it cannot be read.
    unreadable: Option<Diagnostic>,
}

/// What there is to see of an object.
#[derive(Debug)]
enum Sight {
    Whole(Object),
    /// That it is there, at this version.
    Version(String),
    Gone,
}

/// Begins to watch. Whatever is in the way is said, not returned: an API server may come later.
pub fn start(
    client: &Client,
    scope: &Scope,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    stop: &CancellationToken,
) -> (Feed, last::Receiver<Lives>) {
    let (seen, receiver) = mpsc::channel(QUEUE);
    let mut watches = Watches { client, scope, seen, tasks, stop, started: Vec::new() };
    watches.start::<Ingress>(Kind::Ingress, None, Absence::Wait);
    watches.start::<Service>(Kind::Service, None, Absence::Wait);
    watches.start::<EndpointSlice>(Kind::EndpointSlice, None, Absence::Wait);
    watches.start::<PartialObjectMeta<Secret>>(Kind::Secret, Some(SECRETS), Absence::Wait);
    watches.start::<PartialObjectMeta<ConfigMap>>(Kind::ConfigMap, None, Absence::NotPermitted);
    watches.start_affinity_key();
    watches.start_ours(Kind::WsRoute, &ApiResource::erase::<WsRoute>(&()));
    watches.start_ours(Kind::WsPolicy, &ApiResource::erase::<WsPolicy>(&()));
    watches.start_classes();
    let incomplete = watches.started.into_iter().collect();

    let (changes, said, lives) = (mpsc::channel(QUEUE), last::Sender::default(), last::Sender::default());
    let wanted = last::Sender::default();
    let reads = Reads::new(client.clone(), wanted.subscribe());
    let feed = Feed { changes: changes.1, said: said.subscribe(), wanted };
    let newest = lives.subscribe();
    let collector = Collector {
        changes: changes.0,
        said,
        lives,
        incomplete,
        troubles: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        on_demand: OnDemand::default(),
    };
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = collector.run(receiver, reads) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    (feed, newest)
}

/// Starts watches, and remembers which.
struct Watches<'a> {
    client: &'a Client,
    scope: &'a Scope,
    seen: mpsc::Sender<Seen>,
    tasks: &'a mut JoinSet<anyhow::Result<()>>,
    stop: &'a CancellationToken,
    started: Vec<Position>,
}

impl Watches<'_> {
    /// A kind of a namespace.
    fn start<K>(&mut self, kind: Kind, fields: Option<&'static str>, absence: Absence)
    where
        K: Watched + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        if self.scope.namespaces.is_empty() {
            self.spawn(kind, None, Api::<K>::all(self.client.clone()), fields.map(Cow::Borrowed), absence);
        }
        for namespace in &self.scope.namespaces {
            let api = Api::<K>::namespaced(self.client.clone(), namespace);
            self.spawn(kind, Some(namespace.clone()), api, fields.map(Cow::Borrowed), absence);
        }
    }

    /// Our own namespace need not be among those that are watched.
    fn start_affinity_key(&mut self) {
        let Some((namespace, name)) = self.scope.affinity_key.clone() else { return };
        if !self.scope.namespaces.is_empty() && !self.scope.namespaces.contains(&namespace) {
            let api = Api::<PartialObjectMeta<Secret>>::namespaced(self.client.clone(), &namespace);
            let fields = Some(format!("metadata.name={name}").into());
            self.spawn(Kind::Secret, Some(namespace), api, fields, Absence::NotPermitted);
        }
    }

    /// Objects of our own kinds are decoded one by one: one that is stored in another form must not hide the others.
    fn start_ours(&mut self, kind: Kind, resource: &ApiResource) {
        if self.scope.namespaces.is_empty() {
            let api = Api::<DynamicObject>::all_with(self.client.clone(), resource);
            self.spawn(kind, None, api, None, Absence::NoSuchKind);
        }
        for namespace in &self.scope.namespaces {
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, resource);
            self.spawn(kind, Some(namespace.clone()), api, None, Absence::NoSuchKind);
        }
    }

    fn start_classes(&mut self) {
        let absence = if self.scope.namespaces.is_empty() { Absence::Wait } else { Absence::NotPermitted };
        let api = Api::<IngressClass>::all(self.client.clone());
        self.spawn(Kind::IngressClass, None, api, None, absence);
    }

    fn spawn<K: Watched>(
        &mut self,
        kind: Kind,
        namespace: Option<String>,
        api: Api<K>,
        fields: Option<Cow<'static, str>>,
        absence: Absence,
    ) {
        let position = Position { kind, namespace };
        self.started.push(position.clone());
        let manager = self.scope.field_manager.clone();
        let watch = Watch::new(api, fields, absence, manager, position, self.seen.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = watch.run() => {}
                () = stop.cancelled() => {}
            }
            Ok(())
        });
    }
}

/// The one place where all watches come together.
struct Collector {
    changes: mpsc::Sender<Batch>,
    said: last::Sender<Arc<Said>>,
    lives: last::Sender<Lives>,
    /// Watches that have not listed yet.
    incomplete: BTreeSet<Position>,
    troubles: BTreeMap<Position, Diagnostic>,
    unreadable: BTreeMap<ObjectRef, Diagnostic>,
    on_demand: OnDemand,
}

impl Collector {
    async fn run(mut self, mut seen: mpsc::Receiver<Seen>, mut reads: Reads) {
        loop {
            let batch = tokio::select! {
                seen = seen.recv() => match seen {
                    Some(Seen { watch, what }) => self.take(watch, what),
                    None => return,
                },
                batch = reads.progress(&mut self.on_demand) => batch,
            };
            reads.begin(&mut self.on_demand);
            self.say();
            if !batch.is_empty() && self.changes.send(batch).await.is_err() {
                return;
            }
        }
    }

    fn take(&mut self, watch: Position, what: What) -> Batch {
        let mut batch = Batch::new();
        match what {
            What::Objects(objects) => self.objects(objects, &mut batch),
            What::Listed(objects) => {
                self.objects(objects, &mut batch);
                self.complete(&watch, &mut batch);
            }
            What::Following => drop(self.troubles.remove(&watch)),
            What::Trouble(diagnostic) => drop(self.troubles.insert(watch, diagnostic)),
            What::Absent(diagnostic) => {
                self.complete(&watch, &mut batch);
                self.troubles.insert(watch, diagnostic);
            }
        }
        batch
    }

    fn objects(&mut self, objects: Vec<ObjectSeen>, batch: &mut Batch) {
        let mut lives = self.lives.borrow().clone();
        for ObjectSeen { object, sight, live, unreadable } in objects {
            match unreadable {
                Some(diagnostic) => drop(self.unreadable.insert(object.clone(), diagnostic)),
                None => drop(self.unreadable.remove(&object)),
            }
            match live {
                Some(live) => drop(lives.insert(object.clone(), Arc::new(live))),
                None => drop(lives.remove(&object)),
            }
            batch.extend(match sight {
                Sight::Whole(object) => Some(Change::Upsert(object)),
                Sight::Version(version) => self.on_demand.listed(object, version),
                Sight::Gone if on_demand::is_on_demand(&object) => self.on_demand.gone(&object),
                Sight::Gone => Some(Change::Delete(object)),
            });
        }
        self.lives.send_if_modified(|known| {
            let differs = !known.ptr_eq(&lives);
            *known = lives;
            differs
        });
    }

    fn complete(&mut self, watch: &Position, batch: &mut Batch) {
        let last =
            self.incomplete.remove(watch) && self.incomplete.iter().all(|other| other.kind != watch.kind);
        if !last {
            return;
        }
        if on_demand::KINDS.contains(&watch.kind) {
            batch.push(Change::OnDemand(watch.kind));
            batch.extend(self.on_demand.complete(watch.kind));
        }
        batch.push(Change::Synced(watch.kind));
    }

    /// What several watches say of the same thing is said once.
    fn say(&self) {
        // Of each namespace one: what is in the way of reading one object is so of others, too.
        let reads: BTreeMap<_, _> =
            self.on_demand.failed().map(|(object, said)| ((&object.kind, &object.namespace), said)).collect();
        let all = self.troubles.values().chain(self.unreadable.values()).chain(reads.into_values());
        let all: BTreeSet<_> = all.cloned().collect();
        let findings = all.into_iter().map(|diagnostic| Finding { diagnostic, file: None, line: None });
        let said = Said { findings: findings.collect(), places: BTreeMap::new() };
        self.said.send_if_modified(|known| {
            let differs = **known != said;
            if differs {
                *known = Arc::new(said);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests;
