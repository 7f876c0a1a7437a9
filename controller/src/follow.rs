//! A watch of few objects that lists them anew after each failure, so that whoever follows it learns that it works
//! again: kube's own goes on where it was, and is silent until something happens.
//!
//! For the objects that routes are made of there is [`crate::source::cluster`], which does not list anew without need.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{self, Config, Error, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::pace::Backoff;

/// The shortest and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(10));

struct Following<K> {
    api: Api<K>,
    config: Config,
    events: BoxStream<'static, Result<Event<K>, Error>>,
    backoff: Backoff,
    failed: bool,
}

/// Follows objects, for ever. After each failure comes [`Event::Init`], and when it is over [`Event::InitDone`].
pub(crate) fn follow<K>(api: Api<K>, config: Config) -> impl Stream<Item = Result<Event<K>, Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let events = watcher::watcher(api.clone(), config.clone()).boxed();
    let backoff = Backoff::new(PAUSES.0, PAUSES.1);
    stream::unfold(Following { api, config, events, backoff, failed: false }, Following::next)
}

impl<K> Following<K>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    async fn next(mut self) -> Option<(Result<Event<K>, Error>, Self)> {
        if std::mem::take(&mut self.failed) {
            sleep(self.backoff.pause()).await;
            self.events = watcher::watcher(self.api.clone(), self.config.clone()).boxed();
        }
        let event = self.events.next().await?;
        match event {
            Ok(Event::InitDone) => self.backoff.reset(),
            Ok(_) => {}
            Err(_) => self.failed = true,
        }
        Some((event, self))
    }
}
