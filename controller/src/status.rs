//! Tells people in the cluster what became of their objects: status by server-side apply, and Events. Of all
//! replicas, the holder of the Lease does.
//!
//! [`run`] is all of it: the election ([`crate::lease`]), the other pods ([`crate::peers`]), the addresses
//! ([`crate::addresses`]), and the writer, which asks `desk` what is due, and `plan` what a status should say. Status
//! is applied by force where it is claimed, without force where it is taken back, and never taken back because a
//! controller stops. Each write lasts no longer than the leadership that it was begun with; nothing is written that is
//! there already; what fails is tried again, more and more rarely.

mod desk;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crds::diagnostic::ObjectRef;
use crds::wsroute::WsRoute;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use translate::Kind;

use crate::addresses::{self, Addresses, Publish};
use crate::affinity_key::Filler;
use crate::complaint::Complaint;
use crate::events::{self, Done, Job, Recorder, Reporter};
use crate::lease::{Elector, Leadership, Standing};
use crate::live::{LiveStatus, Lives};
use crate::metrics::{Metrics, StatusWrite};
use crate::overview;
use crate::pace::Bucket;
use crate::peers::ask::{Asker, Heard, Wanted};
use crate::peers::{self, Peers};
use crate::publish::{Proxies, Published};
use crate::reconcile::View;
use desk::{Desk, Events, Write};

/// One status may be written in this time, and so many at once.
const RATE: (Duration, u32) = (Duration::from_millis(50), 50);

/// The most writes of status, and of Events, that are on their way.
const IN_FLIGHT: (usize, usize) = (8, 4);

/// How long one write may take.
const REQUEST: Duration = Duration::from_secs(5);

/// How long writes may take to come to an end when the controller stops.
const LAST_WRITES: Duration = Duration::from_millis(2_500);

/// So many objects are judged before others get their turn.
const AT_A_TIME: usize = 256;

/// The longest name of a field manager.
const MANAGER: usize = 128;

/// What the writing of status is told, and from whom.
#[derive(Clone)]
pub struct Setup {
    /// The API server.
    pub client: Client,
    /// The name of this pod.
    pub pod: String,
    /// Its namespace, where the Lease is, and the Service of the pods.
    pub namespace: String,
    /// The Lease.
    pub lease: String,
    /// The headless Service whose endpoints are the Longhaul pods. `None`: this one alone counts.
    pub peers_service: Option<String>,
    /// The Secret for the key of affinity cookies, in the same namespace.
    pub affinity_key: Option<String>,
    /// Where the addresses in status come from.
    pub publish: Publish,
    /// The controller's name, as an IngressClass has it.
    pub controller_name: String,
    /// What the last translation said.
    pub view: watch::Receiver<Arc<View>>,
    /// What proxies are to serve.
    pub published: watch::Receiver<Option<Published>>,
    /// What they answered.
    pub proxies: watch::Receiver<Proxies>,
    /// The status of objects as it is.
    pub lives: watch::Receiver<Lives>,
    /// Where writes are counted.
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("pod", &self.pod).field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// The field manager of an installation: that of another one is another.
pub fn field_manager(namespace: &str, lease: &str) -> String {
    let mut manager = format!("longhaul.dev/{namespace}.{lease}");
    manager.truncate(manager.floor_char_boundary(MANAGER));
    manager
}

/// Takes part in the election, and writes while it is won. Ends after `stop`, when the lease is given back.
pub async fn run(setup: Setup, stop: CancellationToken) -> anyhow::Result<()> {
    let standing = Standing::of_pod(&setup.namespace, &setup.lease, &setup.pod)?;
    let (elector, leadership) = Elector::new(setup.client.clone(), standing, setup.metrics.clone());
    let idle = CancellationToken::new();
    let mut helpers = JoinSet::new();
    if let Some(name) = setup.affinity_key.clone() {
        let (client, namespace) = (setup.client.clone(), setup.namespace.clone());
        let (published, leadership) = (setup.published.clone(), Some(leadership.clone()));
        helpers.spawn(Filler { client, namespace, name, published, leadership }.run());
    }
    let writer = Writer::new(&setup, leadership, &mut helpers);
    let writing = async {
        if writer.run(&stop).await {
            idle.cancel();
        }
    };
    tokio::join!(elector.run(stop.clone(), idle.clone()), writing);
    Ok(())
}

/// Something that was on its way, and what came of it.
enum Landed {
    Status(Write, Result<LiveStatus, Failure>),
    Event(Job, Done),
}

/// Why a status was not written.
enum Failure {
    Api(Error),
    Late,
}

/// Writes while it leads.
struct Writer {
    client: Client,
    manager: String,
    reporter: Arc<Reporter>,
    metrics: Arc<Metrics>,
    inputs: Inputs,
    wanted: watch::Sender<Wanted>,
    desk: Desk,
    recorder: Recorder,
    bucket: Bucket,
    leading: bool,
    /// Objects whose status is to be written.
    ready: BTreeSet<ObjectRef>,
    /// Those that are being written. What becomes due meanwhile is judged afterwards.
    writing: BTreeSet<ObjectRef>,
    /// How many Events are on their way.
    telling: usize,
    flying: FuturesUnordered<BoxFuture<'static, Landed>>,
    complaints: BTreeMap<&'static str, Complaint>,
}

/// What the writer follows.
struct Inputs {
    leadership: watch::Receiver<Leadership>,
    view: watch::Receiver<Arc<View>>,
    published: watch::Receiver<Option<Published>>,
    proxies: watch::Receiver<Proxies>,
    lives: watch::Receiver<Lives>,
    peers: Option<watch::Receiver<Peers>>,
    heard: watch::Receiver<Heard>,
    addresses: Option<watch::Receiver<Addresses>>,
}

impl Inputs {
    /// Waits until something is another.
    async fn changed(&mut self) {
        // A part that ended will not tell anything any more: the others go on.
        async fn changed<T>(receiver: Option<&mut watch::Receiver<T>>) {
            if let Some(receiver) = receiver
                && receiver.changed().await.is_ok()
            {
                return;
            }
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = changed(Some(&mut self.leadership)) => self.leadership.mark_changed(),
            () = changed(Some(&mut self.view)) => self.view.mark_changed(),
            () = changed(Some(&mut self.published)) => self.published.mark_changed(),
            () = changed(Some(&mut self.proxies)) => self.proxies.mark_changed(),
            () = changed(Some(&mut self.lives)) => self.lives.mark_changed(),
            () = changed(Some(&mut self.heard)) => self.heard.mark_changed(),
            () = changed(self.peers.as_mut()) => self.peers.iter_mut().for_each(watch::Receiver::mark_changed),
            () = changed(self.addresses.as_mut()) => {
                self.addresses.iter_mut().for_each(watch::Receiver::mark_changed);
            }
        }
    }
}

/// The newest value, if it was not looked at yet.
fn news<T: Clone>(receiver: &mut watch::Receiver<T>) -> Option<T> {
    let value = receiver.borrow_and_update();
    value.has_changed().then(|| value.clone())
}

impl Writer {
    fn new(setup: &Setup, leadership: watch::Receiver<Leadership>, helpers: &mut JoinSet<()>) -> Self {
        let (client, namespace) = (&setup.client, &setup.namespace);
        let (wanted, heard, peers) =
            (watch::Sender::default(), watch::Sender::default(), watch::Sender::default());
        let followed = setup.peers_service.clone().map(|service| {
            helpers.spawn(peers::follow(client.clone(), namespace.clone(), service, peers.clone()));
            let (pod, peers) = (setup.pod.clone(), peers.subscribe());
            let (wanted, heard) = (wanted.subscribe(), heard.clone());
            let asker = Asker { pod, peers: peers.clone(), wanted, heard, metrics: setup.metrics.clone() };
            helpers.spawn(asker.run());
            peers
        });
        let addresses = follow_addresses(setup, &peers, helpers);
        let mut inputs = Inputs {
            leadership,
            view: setup.view.clone(),
            published: setup.published.clone(),
            proxies: setup.proxies.clone(),
            lives: setup.lives.clone(),
            peers: followed,
            heard: heard.subscribe(),
            addresses,
        };
        inputs.view.mark_changed();
        inputs.proxies.mark_changed();
        inputs.lives.mark_changed();
        Self {
            client: client.clone(),
            manager: field_manager(namespace, &setup.lease),
            reporter: Arc::new(Reporter {
                controller: setup.controller_name.clone(),
                pod: setup.pod.clone(),
            }),
            metrics: setup.metrics.clone(),
            wanted,
            desk: Desk::new(
                setup.pod.clone(),
                inputs.peers.as_ref().map(|_| None),
                inputs.addresses.as_ref().map(|_| None),
            ),
            inputs,
            recorder: Recorder::new(setup.metrics.clone()),
            bucket: Bucket::new(RATE.0, RATE.1),
            leading: false,
            ready: BTreeSet::new(),
            writing: BTreeSet::new(),
            telling: 0,
            flying: FuturesUnordered::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// Says whether everything that was begun came to an end.
    async fn run(mut self, stop: &CancellationToken) -> bool {
        loop {
            let wake = self.turn();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(landed) = self.flying.next(), if !self.flying.is_empty() => self.landed(landed),
                () = self.inputs.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
        timeout(LAST_WRITES, async { while self.flying.next().await.is_some() {} }).await.is_ok()
    }

    /// Takes in what is new and begins what is due. Says when there will be more to do.
    fn turn(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.take_in(now);
        let left = self.inputs.leadership.borrow_and_update().left();
        match (left, self.leading) {
            (Some(_), false) => {
                self.leading = true;
                self.desk.begin();
            }
            (None, true) => {
                self.leading = false;
                self.ready.clear();
                self.recorder.clear();
                self.wanted.send_replace(Wanted::default());
            }
            _ => {}
        }
        let left = left?;
        let judged = self.judge(now);
        let wakes = [judged, self.write(now, left), self.tell(now, left), Some(now + left)];
        wakes.into_iter().flatten().min()
    }

    fn take_in(&mut self, now: Instant) {
        let (inputs, desk) = (&mut self.inputs, &mut self.desk);
        // The version of each object that proxies acknowledge is told by the view: it comes first.
        if let Some(view) = news(&mut inputs.view) {
            desk.take_view(view, now);
        }
        if let Some(lives) = news(&mut inputs.lives) {
            desk.take_lives(lives);
        }
        let proxies = news(&mut inputs.proxies);
        let published = inputs.published.borrow_and_update().has_changed();
        if proxies.is_some() || published {
            let proxies = proxies.unwrap_or_else(|| inputs.proxies.borrow().clone());
            let published = inputs.published.borrow().clone();
            let rejected = published.map(|published| overview::owners(&published.snapshot, &proxies));
            desk.take_proxies(proxies, rejected.unwrap_or_default());
        }
        if let Some(peers) = inputs.peers.as_mut().and_then(news) {
            desk.take_peers(peers);
        }
        if let Some(heard) = news(&mut inputs.heard) {
            desk.take_heard(heard);
        }
        if let Some(addresses) = inputs.addresses.as_mut().and_then(news) {
            desk.take_addresses(addresses);
        }
    }

    fn judge(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..AT_A_TIME {
            let Some(object) = self.desk.next(now) else { break };
            if !self.writing.contains(&object) {
                self.judge_one(&object, now);
            }
        }
        if !self.desk.wants(&self.wanted.borrow()) {
            self.wanted.send_replace(self.desk.wanted());
        }
        self.desk.wake(now)
    }

    fn judge_one(&mut self, object: &ObjectRef, now: Instant) -> Option<Write> {
        let verdict = self.desk.judge(object, now, Timestamp::now());
        match verdict.events {
            Events::AsBefore => {}
            Events::Nothing => self.recorder.forget(object),
            Events::These(regarding, sayings) => self.recorder.set(&regarding, sayings, now),
        }
        match verdict.write {
            Some(_) => drop(self.ready.insert(object.clone())),
            None => drop(self.ready.remove(object)),
        }
        verdict.write
    }

    fn write(&mut self, now: Instant, left: Duration) -> Option<Instant> {
        while self.writing.len() < IN_FLIGHT.0 {
            let object = self.ready.first()?.clone();
            if let Err(later) = self.bucket.peek(now) {
                return Some(later);
            }
            // It waited for its turn: what it should say may be something else by now.
            if let Some(write) = self.judge_one(&object, now)
                && self.bucket.take(now).is_ok()
            {
                self.ready.remove(&object);
                self.writing.insert(object);
                let (client, manager) = (self.client.clone(), self.manager.clone());
                self.flying.push(Box::pin(async move {
                    let applied = timeout(left.min(REQUEST), apply(client, &manager, &write)).await;
                    let result = applied.map_err(|_| Failure::Late);
                    let result = result.and_then(|result| result.map_err(Failure::Api));
                    Landed::Status(write, result)
                }));
            }
        }
        None
    }

    fn tell(&mut self, now: Instant, left: Duration) -> Option<Instant> {
        while self.telling < IN_FLIGHT.1 {
            let job = match self.recorder.next(now) {
                Ok(job) => job,
                Err(later) => return later,
            };
            self.telling += 1;
            let (client, reporter) = (self.client.clone(), self.reporter.clone());
            self.flying.push(Box::pin(async move {
                let done = timeout(left.min(REQUEST), events::perform(client, &reporter, &job)).await;
                let late = || Done::Failed(Error::Service("no answer in time".into()));
                let done = done.unwrap_or_else(|_| late());
                Landed::Event(job, done)
            }));
        }
        None
    }

    fn landed(&mut self, landed: Landed) {
        let now = Instant::now();
        match landed {
            Landed::Status(write, result) => self.landed_status(write, result, now),
            Landed::Event(job, done) => {
                self.telling -= 1;
                let effect = "objects do not get all their Events";
                match &done {
                    Done::Failed(error) => {
                        self.complaint("Event", "Events cannot be written").about(error, effect);
                    }
                    Done::Impossible(reason) => {
                        tracing::warn!(
                            namespace = job.namespace,
                            event = job.name,
                            "an Event is given up: {reason}"
                        );
                    }
                    _ => self.complaint("Event", "Events cannot be written").over(),
                }
                self.recorder.done(&job, &done, now, Timestamp::now());
            }
        }
    }

    fn landed_status(&mut self, write: Write, result: Result<LiveStatus, Failure>, now: Instant) {
        let object = write.object.clone();
        self.writing.remove(&object);
        let (kind, subject) = if object.kind == Kind::WsRoute.as_str() {
            ("WsRoute", "the status of WsRoutes cannot be written")
        } else {
            ("Ingress", "the status of Ingresses cannot be written")
        };
        let effect = "it may say what is not true any more";
        let result = match result {
            Ok(status) => {
                self.complaint(kind, subject).over();
                let withdrawn = write.status.is_none();
                self.desk.wrote(write, status, now);
                if withdrawn { StatusWrite::Withdrawn } else { StatusWrite::Written }
            }
            Err(Failure::Api(Error::Api(status))) if status.is_not_found() => {
                self.desk.gone(&object);
                StatusWrite::Gone
            }
            Err(failure) => {
                match failure {
                    // Of this object alone; a conflict means that it was made anew.
                    Failure::Api(Error::Api(status)) if status.is_invalid() || status.is_conflict() => {
                        tracing::warn!(%object, "its status cannot be written: {}", status.message);
                    }
                    Failure::Api(error) => self.complaint(kind, subject).about(&error, effect),
                    Failure::Late => {
                        self.complaint(kind, subject).say("the API server does not answer in time", effect);
                    }
                }
                self.desk.failed(&object, now);
                StatusWrite::Failed
            }
        };
        self.metrics.status_write(result);
        self.desk.again(object);
    }

    fn complaint(&mut self, key: &'static str, subject: &str) -> &mut Complaint {
        self.complaints.entry(key).or_insert_with(|| Complaint::new(subject))
    }
}

fn follow_addresses(
    setup: &Setup,
    peers: &watch::Sender<Peers>,
    helpers: &mut JoinSet<()>,
) -> Option<watch::Receiver<Addresses>> {
    let (client, addresses) = (setup.client.clone(), watch::Sender::default());
    let told = addresses.subscribe();
    match setup.publish.clone() {
        Publish::Settings => return None,
        Publish::Service { namespace, name } => {
            helpers.spawn(addresses::follow_service(client, namespace, name, addresses));
        }
        Publish::Nodes => {
            let peers = peers.subscribe();
            helpers.spawn(addresses::follow_nodes(client, peers, addresses));
        }
    }
    Some(told)
}

/// Applies a status, or takes ours back. Says what the status is then.
async fn apply(client: Client, manager: &str, write: &Write) -> Result<LiveStatus, Error> {
    let ObjectRef { kind, namespace, name } = &write.object;
    let parameters = PatchParams::apply(manager);
    let parameters = if write.status.is_some() { parameters.force() } else { parameters };
    let patch = Patch::Apply(plan::patch(&write.object, &write.uid, write.status.as_ref()));
    if kind == Kind::WsRoute.as_str() {
        let api: Api<WsRoute> = Api::namespaced(client, namespace);
        api.patch_status(name, &parameters, &patch).await.map(|route| LiveStatus::of_ws_route(&route))
    } else {
        let api: Api<Ingress> = Api::namespaced(client, namespace);
        api.patch_status(name, &parameters, &patch).await.map(|ingress| LiveStatus::of_ingress(&ingress))
    }
}

#[cfg(test)]
mod tests;
