//! Events about objects, by `events.k8s.io/v1`: a Warning for each thing that is wrong, for as long as it is, and a
//! Normal one when an object is served as it is now. For an Ingress they are the only place where that is said.
//!
//! An Event's name comes from what it says, so that every replica, and every start, means the same one. The API
//! server forgets Events after an hour: one whose fault lasts is counted on before that. [`Recorder`] decides what is
//! due, without a clock or a client; [`perform`] does it. Everything is rate-limited: a storm is told slowly, and what
//! is over before its turn comes is not told at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crds::diagnostic::ObjectRef;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::time::Instant;
use translate::{EventType, Kind};
use xxhash_rust::xxh3::xxh3_64;

use crate::metrics::{EventWrite, Metrics};
use crate::pace::{Backoff, Bucket, jittered};

/// How often an Event whose fault lasts is counted on, more or less. The API server forgets it after an hour.
pub const REFRESH: Duration = Duration::from_mins(30);

/// One Event may be written in this time, all objects together; and so many at once.
const RATE: (Duration, u32) = (Duration::from_millis(100), 25);

/// One Event of one object may be written in this time; and so many at once.
const OBJECT_RATE: (Duration, u32) = (Duration::from_secs(30), 10);

/// The most Events that stand for one object.
const MOST: usize = 16;

/// The shortest and the longest pause after the API server took no Event.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));

/// The most bytes of an Event's note, and of its words.
const LIMITS: (usize, usize) = (1024, 128);

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regarding {
    /// Which.
    pub object: ObjectRef,
    /// `metadata.uid`.
    pub uid: String,
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// A Warning is repeated while it holds, a Normal one is said once.
    pub type_: EventType,
    /// One word in CamelCase.
    pub reason: String,
    /// What was being done, as one word in CamelCase.
    pub action: &'static str,
    /// For people.
    pub note: String,
    /// What tells it from another one of the same reason: what it says, or what it is said of.
    pub key: String,
}

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The controller's name, as an IngressClass has it.
    pub controller: String,
    /// The pod.
    pub pod: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The Event's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create {
        regarding: Regarding,
        saying: Saying,
    },
    /// To this count.
    CountOn(i32),
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// It is there from now on.
    Created,
    /// It was there before, counted to this, last at that time.
    Existed(i32, Timestamp),
    /// It was counted on.
    Counted,
    /// It is not there any more.
    Missing,
    /// The API server will never take it.
    Impossible(String),
    /// It may be tried again.
    Failed(Error),
}

/// One Event that is to be there.
#[derive(Clone, Debug)]
struct Fact {
    regarding: Regarding,
    saying: Saying,
    /// As it was counted last; `None`: it is not known to be there.
    count: Option<i32>,
    /// It was told before that it has to wait.
    delayed: bool,
}

/// Decides which Event is due.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    facts: BTreeMap<String, Fact>,
    by_object: BTreeMap<ObjectRef, Standing>,
    /// When each is to be written next. Those that are on their way are not in it.
    queue: BTreeSet<(Instant, String)>,
    bucket: Bucket,
    backoff: Backoff,
    /// Nothing before then: the API server takes none.
    paused: Option<Instant>,
}

/// What stands for one object.
#[derive(Debug)]
struct Standing {
    names: BTreeSet<String>,
    bucket: Bucket,
    /// How many are too many.
    excess: usize,
}

impl Recorder {
    /// Nothing stands yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            facts: BTreeMap::new(),
            by_object: BTreeMap::new(),
            queue: BTreeSet::new(),
            bucket: Bucket::new(RATE.0, RATE.1),
            backoff: Backoff::new(PAUSES.0, PAUSES.1),
            paused: None,
        }
    }

    /// This is all that is to be said of an object from now on. A Normal one that was said stays said.
    pub fn set(&mut self, regarding: &Regarding, sayings: Vec<Saying>, now: Instant) {
        let mut wanted = BTreeMap::new();
        for saying in sayings {
            wanted.insert(name(regarding, &saying), saying);
        }
        let excess = wanted.len().saturating_sub(MOST);
        while wanted.len() > MOST {
            wanted.pop_last();
        }
        let standing = self.by_object.entry(regarding.object.clone()).or_insert_with(|| Standing {
            names: BTreeSet::new(),
            bucket: Bucket::new(OBJECT_RATE.0, OBJECT_RATE.1),
            excess: 0,
        });
        for _ in standing.excess..excess {
            self.metrics.event(EventWrite::Dropped);
        }
        standing.excess = excess;
        let gone: Vec<_> =
            standing.names.iter().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            // What is to be said once is still said when it is over before its turn.
            if self.facts.get(&name).is_none_or(|fact| fact.saying.type_ == EventType::Warning) {
                standing.names.remove(&name);
                drop_fact(&mut self.facts, &mut self.queue, &name, &self.metrics);
            }
        }
        for (name, saying) in wanted {
            if standing.names.insert(name.clone()) {
                let fact = Fact { regarding: regarding.clone(), saying, count: None, delayed: false };
                self.facts.insert(name.clone(), fact);
                self.queue.insert((now, name));
            }
        }
    }

    /// An object went, or is no more ours.
    pub fn forget(&mut self, object: &ObjectRef) {
        for name in self.by_object.remove(object).map(|standing| standing.names).unwrap_or_default() {
            drop_fact(&mut self.facts, &mut self.queue, &name, &self.metrics);
        }
    }

    /// Another replica says it all from now on.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.by_object.clear();
        self.queue.clear();
    }

    /// The next thing to do, or when to ask again.
    pub fn next(&mut self, now: Instant) -> Result<Job, Option<Instant>> {
        if let Some(paused) = self.paused.filter(|paused| now < *paused) {
            return Err(Some(paused));
        }
        loop {
            let Some((due, name)) = self.queue.first().cloned() else { return Err(None) };
            if due > now {
                return Err(Some(due));
            }
            let Some(fact) = self.facts.get_mut(&name) else {
                self.queue.pop_first();
                continue;
            };
            let delayed = |fact: &mut Fact| {
                if !std::mem::replace(&mut fact.delayed, true) {
                    self.metrics.event(EventWrite::Delayed);
                }
            };
            if let Err(later) = self.bucket.peek(now) {
                delayed(fact);
                return Err(Some(later));
            }
            let standing = self.by_object.get_mut(&fact.regarding.object);
            if let Some(Err(later)) = standing.map(|standing| standing.bucket.take(now)) {
                delayed(fact);
                self.queue.pop_first();
                self.queue.insert((later, name));
                continue;
            }
            // It was there a moment ago.
            let _ = self.bucket.take(now);
            self.queue.pop_first();
            let namespace = fact.regarding.object.namespace.clone();
            let step = match fact.count {
                Some(count) => Step::CountOn(count.saturating_add(1)),
                None => Step::Create { regarding: fact.regarding.clone(), saying: fact.saying.clone() },
            };
            return Ok(Job { name, namespace, step });
        }
    }

    /// Takes in what came of a job. `clock` is the time of day.
    pub fn done(&mut self, job: &Job, done: &Done, now: Instant, clock: Timestamp) {
        let result = match done {
            Done::Created => EventWrite::Created,
            Done::Counted => EventWrite::Refreshed,
            Done::Existed(..) => EventWrite::Known,
            Done::Impossible(_) => EventWrite::Dropped,
            Done::Missing | Done::Failed(_) => EventWrite::Failed,
        };
        if !matches!(done, Done::Missing) {
            self.metrics.event(result);
        }
        self.paused = match done {
            Done::Failed(_) => Some(now + self.backoff.pause()),
            _ => {
                self.backoff.reset();
                None
            }
        };
        let Some(fact) = self.facts.get_mut(&job.name) else { return };
        fact.delayed = false;
        let next = match (done, &job.step) {
            (Done::Failed(_), _) => now,
            (Done::Missing, _) => {
                fact.count = None;
                now
            }
            (Done::Impossible(_), _) => {
                // Its name stays with the object, so that it is not tried again.
                self.facts.remove(&job.name);
                return;
            }
            _ if fact.saying.type_ == EventType::Normal => {
                self.facts.remove(&job.name);
                return;
            }
            (Done::Existed(count, last), _) => {
                fact.count = Some(*count);
                let age = Duration::try_from(clock.duration_since(*last).max(SignedDuration::ZERO));
                now + jittered(REFRESH).saturating_sub(age.unwrap_or_default())
            }
            (_, Step::CountOn(count)) => {
                fact.count = Some(*count);
                now + jittered(REFRESH)
            }
            (_, Step::Create { .. }) => {
                fact.count = Some(1);
                now + jittered(REFRESH)
            }
        };
        self.queue.insert((next, job.name.clone()));
    }
}

fn drop_fact(
    facts: &mut BTreeMap<String, Fact>,
    queue: &mut BTreeSet<(Instant, String)>,
    name: &str,
    metrics: &Metrics,
) {
    if let Some(fact) = facts.remove(name)
        && fact.count.is_none()
    {
        metrics.event(EventWrite::Dropped);
    }
    // The queue finds out when the turn of this one comes; but it might be set again before that.
    queue.retain(|(_, queued)| queued != name);
}

/// The name of an Event: that of its object, and a hash of what it says.
fn name(regarding: &Regarding, saying: &Saying) -> String {
    let Regarding { object, uid } = regarding;
    let parts = [&*object.kind, uid, &format!("{:?}", saying.type_), &saying.reason, &saying.key];
    let hash = xxh3_64(parts.join("\0").as_bytes());
    // A name is a DNS subdomain of 253 characters at most, and its labels end in letters or digits.
    let kept = object.name.get(..object.name.len().min(253 - 17)).unwrap_or_default();
    format!("{}.{hash:016x}", kept.trim_end_matches(['.', '-']))
}

/// Does it. No longer than its caller waits.
pub async fn perform(client: Client, reporter: &Reporter, job: &Job) -> Done {
    let api: Api<Event> = Api::namespaced(client, &job.namespace);
    let done = match &job.step {
        Step::Create { regarding, saying } => {
            let event = event(job, regarding, saying, reporter);
            match api.create(&PostParams::default(), &event).await {
                Err(Error::Api(status)) if status.is_already_exists() => {
                    api.get(&job.name).await.map(|event| existed(&event))
                }
                created => created.map(|_| Done::Created),
            }
        }
        Step::CountOn(count) => {
            let series = EventSeries { count: *count, last_observed_time: MicroTime(Timestamp::now()) };
            let patch = Patch::Merge(json!({"series": series}));
            api.patch(&job.name, &PatchParams::default(), &patch).await.map(|_| Done::Counted)
        }
    };
    done.unwrap_or_else(|error| match error {
        Error::Api(status) if matches!(job.step, Step::CountOn(_)) && status.is_not_found() => Done::Missing,
        // Nothing can be created in a namespace that is being deleted, nor in one that is gone.
        Error::Api(status) if status.is_not_found() || status.message.contains("being terminated") => {
            Done::Impossible(status.message)
        }
        Error::Api(status) if status.is_invalid() || status.code == 400 => Done::Impossible(status.message),
        error => Done::Failed(error),
    })
}

fn existed(event: &Event) -> Done {
    let last = event.series.as_ref().map(|series| &series.last_observed_time).or(event.event_time.as_ref());
    let count = event.series.as_ref().map_or(1, |series| series.count);
    Done::Existed(count, last.map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

fn event(job: &Job, regarding: &Regarding, saying: &Saying, reporter: &Reporter) -> Event {
    let ObjectRef { kind, namespace, name } = &regarding.object;
    let api_version =
        if kind == Kind::WsRoute.as_str() { "longhaul.dev/v1alpha1" } else { "networking.k8s.io/v1" };
    Event {
        metadata: ObjectMeta {
            name: Some(job.name.clone()),
            namespace: Some(job.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        type_: Some(format!("{:?}", saying.type_)),
        reason: Some(cut(&saying.reason, LIMITS.1)),
        action: Some(saying.action.into()),
        note: Some(cut(&saying.note, LIMITS.0)),
        regarding: Some(ObjectReference {
            api_version: Some(api_version.into()),
            kind: Some(kind.clone()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(regarding.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(qualified(&reporter.controller)),
        reporting_instance: Some(cut(&reporter.pod, LIMITS.1)),
        ..Event::default()
    }
}

/// A controller's name may be a path; that of an Event's reporter is a prefix and one word.
fn qualified(controller: &str) -> String {
    let Some((prefix, word)) = controller.split_once('/') else { return cut(controller, 63) };
    format!("{prefix}/{}", cut(&word.replace('/', "-"), 63))
}

/// At most so many bytes.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(most - '…'.len_utf8())])
}

#[cfg(test)]
mod tests;
