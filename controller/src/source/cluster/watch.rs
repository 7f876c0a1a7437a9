//! One kind of one namespace, or of all: listed, then followed, for ever.
//!
//! As [the API's documentation][page] has it: a list by streaming where the server can (`sendInitialEvents`), else
//! page by page; then a watch from that place on, which moves on with each event and bookmark. A watch that ends is
//! continued where it was; a place that the server has forgotten (410, as an answer or as an event) means a new list.
//!
//! Our own loop, since kube's watcher does not tell when a watch is followed again after a failure, and asks for ever
//! for a place that is answered 410.
//!
//! [page]: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::pin::pin;
use std::time::Duration;

use crds::diagnostic::{ObjectRef, Severity};
use futures_util::{Stream, StreamExt};
use kube::api::{ListParams, ObjectList, Request, WatchEvent, WatchParams};
use kube::{Api, Client, Error};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use translate::Kind;

use super::prune::{Kept, Part, Watched};
use super::trouble::{self, Cause};
use super::{ObjectSeen, Position, Seen, Sight, What};
use crate::pace::Backoff;

/// How long the server keeps a watch open. A connection that died without a word is noticed this much later, so it is
/// shorter than the five minutes that are usual.
const LIFE: Duration = Duration::from_secs(30);

/// How long after its end a watch may still be silent.
const GRACE: Duration = Duration::from_secs(5);

/// How long the server may take to begin an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Objects of one page, where a list comes in pages.
const PAGE: u32 = 500;

/// The shortest and the longest pause between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What it means that a kind cannot be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It must be seen before anything is published.
    Wait,
    /// Without its CRD there are none.
    NoSuchKind,
    /// Without permission it goes without.
    NotPermitted,
}

pub(super) struct Watch<K> {
    client: Client,
    request: Request,
    kind: PhantomData<fn() -> K>,
    fields: Option<Cow<'static, str>>,
    absence: Absence,
    manager: String,
    position: Position,
    seen: mpsc::Sender<Seen>,
    /// The objects of the last list and since, so that a new list tells who went.
    known: BTreeSet<ObjectRef>,
    lists: Lists,
    backoff: Backoff,
}

/// How lists are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    Streamed,
    InPages,
}

/// Where in the history of changes it is.
enum Place {
    Nowhere,
    At(String),
}

/// Why a step ended.
enum Ended {
    /// In good order: go on.
    Here(Place),
    Failed(Error, Place),
    /// The connection is of no use, though nothing failed.
    Silent(&'static str, Place),
    /// Nobody is interested any more.
    Unheard,
}

impl<K: Watched> Watch<K> {
    pub(super) fn new(
        api: Api<K>,
        fields: Option<Cow<'static, str>>,
        absence: Absence,
        manager: String,
        position: Position,
        seen: mpsc::Sender<Seen>,
    ) -> Self {
        let (known, lists) = (BTreeSet::new(), Lists::Streamed);
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let request = Request::new(api.resource_url());
        let (client, kind) = (api.into_client(), PhantomData);
        Self { client, request, kind, fields, absence, manager, position, seen, known, lists, backoff }
    }

    /// Runs until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut place = Place::Nowhere;
        loop {
            let ended = match place {
                Place::Nowhere if self.lists == Lists::InPages => self.list_pages().await,
                from => self.follow(from).await,
            };
            place = match ended {
                Ended::Here(place) => {
                    self.backoff.reset();
                    place
                }
                Ended::Unheard => return,
                Ended::Silent(message, place) => {
                    if !self.send(What::Trouble(trouble::silent(message))).await {
                        return;
                    }
                    tokio::time::sleep(self.backoff.pause()).await;
                    place
                }
                Ended::Failed(error, place) => match self.failed(&error, place).await {
                    Some(place) => place,
                    None => return,
                },
            };
        }
    }

    /// Says what is in the way, and where to go on after a rest.
    async fn failed(&mut self, error: &Error, place: Place) -> Option<Place> {
        tracing::debug!(watch = ?self.position, %error, "a watch failed");
        let cause = trouble::cause(error);
        if cause == Cause::Expired {
            // Often the first sign of it: no reason to alarm anybody, but none to hurry either.
            tokio::time::sleep(self.backoff.pause()).await;
            return Some(Place::Nowhere);
        }
        if cause == Cause::NotUnderstood && self.lists == Lists::Streamed && matches!(place, Place::Nowhere) {
            self.lists = Lists::InPages;
            return Some(place);
        }
        let mut remark = trouble::remark(error, &self.position);
        let absent = match self.absence {
            Absence::Wait => false,
            Absence::NoSuchKind => cause == Cause::NoSuchKind,
            Absence::NotPermitted => cause == Cause::NotPermitted,
        };
        let what = if absent {
            remark.severity = Severity::Warning;
            What::Absent(remark)
        } else {
            What::Trouble(remark)
        };
        if !self.send(what).await {
            return None;
        }
        tokio::time::sleep(self.backoff.pause()).await;
        Some(place)
    }

    /// A list, page by page. It is of one moment: the server sees to that.
    async fn list_pages(&mut self) -> Ended {
        let mut objects = Vec::new();
        let mut ask = ListParams { limit: Some(PAGE), ..ListParams::default() };
        ask.field_selector = self.fields.clone().map(Into::into);
        loop {
            let page = match timeout(ANSWER, self.page(&ask)).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => return Ended::Failed(error, Place::Nowhere),
                Err(_) => return Ended::Silent("does not answer", Place::Nowhere),
            };
            objects.extend(page.items.into_iter().map(|object| self.keep(object)));
            ask.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if ask.continue_token.is_none() {
                let Some(version) = page.metadata.resource_version.filter(|version| !version.is_empty())
                else {
                    return Ended::Silent("does not say of which moment a list is", Place::Nowhere);
                };
                return self.listed(objects).await.unwrap_or(Ended::Here(Place::At(version)));
            }
        }
    }

    async fn page(&self, ask: &ListParams) -> Result<ObjectList<K>, Error> {
        let request = match K::PART {
            Part::Whole => self.request.list(ask),
            Part::Metadata => self.request.list_metadata(ask),
        };
        self.client.request(request.map_err(Error::BuildRequest)?).await
    }

    async fn events(
        &self,
        ask: &WatchParams,
        from: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<K>, Error>> + use<K>, Error> {
        let request = match K::PART {
            Part::Whole => self.request.watch(ask, from),
            Part::Metadata => self.request.watch_metadata(ask, from),
        };
        self.client.request_events(request.map_err(Error::BuildRequest)?).await
    }

    /// Follows what happens from a place on; from nowhere with a list first.
    async fn follow(&mut self, from: Place) -> Ended {
        let (mut listing, mut version) = match from {
            Place::Nowhere => (Some(Vec::new()), String::new()),
            Place::At(version) => (None, version),
        };
        let ask = WatchParams {
            field_selector: self.fields.clone().map(Into::into),
            timeout: Some(LIFE.as_secs() as u32),
            send_initial_events: listing.is_some(),
            ..WatchParams::default()
        };
        let place = |listing: &Option<_>, version| match listing {
            Some(_) => Place::Nowhere,
            None => Place::At(version),
        };
        let events = match timeout(ANSWER, self.events(&ask, &version)).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return Ended::Failed(error, place(&listing, version)),
            Err(_) => return Ended::Silent("does not answer", place(&listing, version)),
        };
        let mut events = pin!(events);
        let begun = Instant::now();
        if listing.is_none() && !self.send(What::Following).await {
            return Ended::Unheard;
        }
        loop {
            let event = match timeout(LIFE + GRACE, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Ended::Failed(error, place(&listing, version)),
                Ok(None) if begun.elapsed() < GRACE => {
                    return Ended::Silent("ends watches at once", place(&listing, version));
                }
                Ok(None) => return Ended::Here(place(&listing, version)),
                Err(_) => return Ended::Silent("does not answer", place(&listing, version)),
            };
            let ended = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    moved(&mut version, object.meta().resource_version.as_deref());
                    let seen = self.keep(object);
                    match &mut listing {
                        Some(objects) => {
                            objects.push(seen);
                            None
                        }
                        None => self.upserted(seen).await,
                    }
                }
                WatchEvent::Deleted(object) => {
                    moved(&mut version, object.meta().resource_version.as_deref());
                    self.deleted(&object).await
                }
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    let end = bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end");
                    match listing.take_if(|_| end) {
                        Some(objects) => self.listed(objects).await,
                        None => None,
                    }
                }
                WatchEvent::Error(status) => {
                    return Ended::Failed(Error::Api(status), place(&listing, version));
                }
            };
            if let Some(ended) = ended {
                return ended;
            }
            self.backoff.reset();
        }
    }

    /// A list is complete: what is not in it went.
    async fn listed(&mut self, objects: Vec<ObjectSeen>) -> Option<Ended> {
        let before = std::mem::take(&mut self.known);
        self.known = objects.iter().map(|seen| seen.object.clone()).collect();
        let gone = before.into_iter().filter(|object| !self.known.contains(object));
        let gone: Vec<_> = gone.map(ObjectSeen::gone).collect();
        self.backoff.reset();
        let heard = self.send(What::Listed(objects.into_iter().chain(gone).collect())).await
            && self.send(What::Following).await;
        (!heard).then_some(Ended::Unheard)
    }

    async fn upserted(&mut self, seen: ObjectSeen) -> Option<Ended> {
        self.known.insert(seen.object.clone());
        (!self.send(What::Objects(vec![seen])).await).then_some(Ended::Unheard)
    }

    async fn deleted(&mut self, object: &K) -> Option<Ended> {
        let object = reference(self.position.kind, object);
        self.known.remove(&object);
        (!self.send(What::Objects(vec![ObjectSeen::gone(object)])).await).then_some(Ended::Unheard)
    }

    fn keep(&self, object: K) -> ObjectSeen {
        let identity = reference(self.position.kind, &object);
        let Kept { sight, live } = object.keep(self.position.kind, &self.manager);
        let (sight, unreadable) = match sight {
            Ok(sight) => (sight, None),
            Err(diagnostic) => (Sight::Gone, Some(diagnostic)),
        };
        ObjectSeen { object: identity, sight, live, unreadable }
    }

    async fn send(&self, what: What) -> bool {
        self.seen.send(Seen { watch: self.position.clone(), what }).await.is_ok()
    }
}

impl ObjectSeen {
    pub(super) fn gone(object: ObjectRef) -> Self {
        Self { object, sight: Sight::Gone, live: None, unreadable: None }
    }
}

fn reference<K: Watched>(kind: Kind, object: &K) -> ObjectRef {
    let metadata = object.meta();
    ObjectRef::new(
        kind.as_str(),
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// An event moves the place on, unless the server forgot to say where to.
fn moved(version: &mut String, to: Option<&str>) {
    if let Some(to) = to.filter(|to| !to.is_empty()) {
        to.clone_into(version);
    }
}
