//! Reads by name what is wanted of the kinds that are read on demand: some at a time, and again after a while what
//! could not be read.

use std::time::Duration;

use crds::diagnostic::{Diagnostic, ObjectRef};
use imbl::OrdSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Error};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use translate::{Kind, Object};

use super::on_demand::OnDemand;
use super::{Batch, prune, trouble};
use crate::pace::Backoff;

/// Reads under way at once.
const MOST: usize = 16;

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The shortest and the longest pause before what could not be read is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What one read brought: the object with its version, nothing where there is none, or why that is not known.
type Brought = Result<Option<(Object, String)>, Diagnostic>;

/// The reads that are under way.
pub(super) struct Reads {
    client: Client,
    wanted: watch::Receiver<OrdSet<ObjectRef>>,
    under_way: JoinSet<(ObjectRef, Brought)>,
    again: Option<Instant>,
    backoff: Backoff,
}

impl Reads {
    pub(super) fn new(client: Client, wanted: watch::Receiver<OrdSet<ObjectRef>>) -> Self {
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        Self { client, wanted, under_way: JoinSet::new(), again: None, backoff }
    }

    /// Waits until something else is wanted, a read ends, or what failed is due again. May be given up at any time.
    pub(super) async fn progress(&mut self, objects: &mut OnDemand) -> Batch {
        let again = self.again;
        tokio::select! {
            Ok(()) = self.wanted.changed() => objects.want(&*self.wanted.borrow_and_update()),
            Some(ended) = self.under_way.join_next() => {
                let mut batch = self.came(ended, objects);
                while let Some(ended) = self.under_way.try_join_next() {
                    batch.extend(self.came(ended, objects));
                }
                batch
            }
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                self.again = None;
                objects.retry();
                Batch::new()
            }
            // With nobody to want anything, and nothing under way, there is nothing to wait for.
            else => std::future::pending().await,
        }
    }

    /// Begins to read what is due.
    pub(super) fn begin(&mut self, objects: &mut OnDemand) {
        while self.under_way.len() < MOST
            && let Some(object) = objects.next()
        {
            self.under_way.spawn(read(self.client.clone(), object));
        }
    }

    fn came(
        &mut self,
        ended: Result<(ObjectRef, Brought), tokio::task::JoinError>,
        objects: &mut OnDemand,
    ) -> Batch {
        let (object, brought) = ended.expect("a read does not panic and is never aborted");
        if brought.is_err() {
            self.again.get_or_insert_with(|| Instant::now() + self.backoff.pause());
        } else {
            self.backoff.reset();
        }
        objects.came(&object, brought).into_iter().collect()
    }
}

async fn read(client: Client, object: ObjectRef) -> (ObjectRef, Brought) {
    let found = match timeout(ANSWER, fetch(client, &object)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(trouble::unread(Some(&error), &object)),
        Err(_) => Err(trouble::unread(None, &object)),
    };
    (object, found)
}

/// An object as it is now: no version is asked for, so that the server does not answer out of a memory of the past.
pub(super) async fn fetch(client: Client, object: &ObjectRef) -> Result<Option<(Object, String)>, Error> {
    let version = |version: &Option<String>| version.clone().unwrap_or_default();
    if object.kind == Kind::Secret.as_str() {
        let secret = Api::<Secret>::namespaced(client, &object.namespace).get_opt(&object.name).await?;
        return Ok(secret.map(|secret| {
            let version = version(&secret.metadata.resource_version);
            (prune::secret(secret), version)
        }));
    }
    if object.kind == Kind::ConfigMap.as_str() {
        let map = Api::<ConfigMap>::namespaced(client, &object.namespace).get_opt(&object.name).await?;
        return Ok(map.map(|map| {
            let version = version(&map.metadata.resource_version);
            (prune::config_map(map), version)
        }));
    }
    Ok(None)
}
