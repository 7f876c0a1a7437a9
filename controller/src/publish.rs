//! Hands snapshots to proxies over a Unix socket, as [`snapshot::frame`] describes.
//!
//! There is one newest generation and any number of proxies; each has a task that brings it from what it holds to
//! the newest, at its own pace. So a slow proxy skips generations and holds nobody else up. What proxies answer is
//! kept in [`Proxies`] and leads to remarks and metrics, never back into a snapshot.

mod connection;
mod socket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use snapshot::Snapshot;
use snapshot::frame::{Generation, Quarantined};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use socket::{BindError, Socket};

/// The most proxies that are served. A pod has one, or two while it changes.
const MAX_PROXIES: usize = 64;

/// How long accepting rests after the system refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The newest generation.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its number.
    pub generation: Generation,
    /// What it says.
    pub snapshot: Snapshot,
}

/// Every proxy that is connected, by the order in which they came.
pub type Proxies = BTreeMap<u64, Proxy>;

/// What is known of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// As it says.
    pub version: String,
    /// The generation it acknowledged last on this connection.
    pub applied: Option<Generation>,
    /// The sections that it could not build.
    pub quarantined: Vec<Quarantined>,
    /// Why it refused the newest generation as a whole, while it does.
    pub refused: Option<String>,
}

/// Publishes generations; the receiving side of it is for everyone who wants to know.
#[derive(Clone, Debug)]
pub struct Publisher {
    published: watch::Sender<Option<Published>>,
    proxies: watch::Sender<Proxies>,
    bytes_sent: Counter,
    epoch: u64,
}

impl Publisher {
    /// Begins a new epoch.
    pub fn new(bytes_sent: Counter) -> Result<Self, getrandom::Error> {
        let (published, proxies) = (watch::Sender::new(None), watch::Sender::new(Proxies::new()));
        Ok(Self { published, proxies, bytes_sent, epoch: getrandom::u64()? })
    }

    /// Publishes a snapshot unless it equals the newest. Returns the number of the generation that has it.
    pub fn publish(&self, next: &Snapshot) -> u64 {
        let mut number = 1;
        self.published.send_if_modified(|published| {
            let Some(current) = published else {
                let generation = Generation { epoch: self.epoch, number };
                *published = Some(Published { generation, snapshot: next.clone() });
                return true;
            };
            let differs = !current.snapshot.diff(next).is_empty();
            if differs {
                // It shares what is the same with the translation's last one: so what a proxy lacks is found at the
                // cost of the difference.
                current.snapshot = next.clone();
                current.generation.number += 1;
            }
            number = current.generation.number;
            differs
        });
        number
    }

    /// The newest generation.
    pub fn published(&self) -> watch::Receiver<Option<Published>> {
        self.published.subscribe()
    }

    /// The proxies.
    pub fn proxies(&self) -> watch::Receiver<Proxies> {
        self.proxies.subscribe()
    }

    /// Serves proxies until `stop`.
    pub async fn serve(self, socket: Arc<Socket>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let mut next_id = 0;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) if connections.len() < MAX_PROXIES => {
                    next_id += 1;
                    connections.spawn(self.clone().serve_one(stream, next_id));
                }
                Ok(_) => tracing::warn!("a proxy is turned away: {MAX_PROXIES} are connected"),
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_one(self, stream: UnixStream, id: u64) {
        if let Err(error) = socket::check_peer(&stream) {
            tracing::warn!(%error, "a connection to the socket is refused");
            return;
        }
        tracing::debug!(proxy = id, "a proxy connects");
        let Err(ended) = connection::serve(stream, &self, id).await;
        if ended.expected() {
            tracing::info!(proxy = id, "the proxy left: {ended}");
        } else {
            tracing::warn!(proxy = id, "the proxy's connection is closed: {ended}");
        }
    }
}

#[cfg(test)]
mod tests {
    use snapshot::{HostPattern, Key};

    use super::*;

    fn snapshot(hosts: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for host in hosts {
            snapshot.insert_encoded(Key::Host(HostPattern::Exact((*host).into())), vec![1, 2].into());
        }
        snapshot
    }

    #[test]
    fn only_differences_make_generations() {
        let publisher = Publisher::new(Counter::default()).unwrap();
        let newest = publisher.published();
        assert!(newest.borrow().is_none());
        assert_eq!(publisher.publish(&snapshot(&[])), 1, "an empty world is a world");
        assert_eq!(publisher.publish(&snapshot(&[])), 1);
        assert_eq!(publisher.publish(&snapshot(&["a"])), 2);
        assert_eq!(publisher.publish(&snapshot(&["a"])), 2);
        assert_eq!(publisher.publish(&snapshot(&["b"])), 3);
        let last = newest.borrow().clone().unwrap();
        assert_eq!((last.generation.number, last.snapshot), (3, snapshot(&["b"])));
    }

    #[test]
    fn two_starts_are_two_epochs() {
        let epoch = || Publisher::new(Counter::default()).unwrap().epoch;
        assert_ne!(epoch(), epoch());
    }
}
