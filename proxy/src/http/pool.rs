//! Idle upstream connections of one worker.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::RequestBody;
use crate::upstream_tls::{Likeness, Secured};

/// Where a connection leads, and how: one may stand in for another where this is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    address: SocketAddr,
    tls: Option<Likeness>,
}

impl Line {
    pub(crate) fn new(address: SocketAddr, secured: Option<&Secured>) -> Self {
        Self { address, tls: secured.map(Secured::likeness) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Sends requests over one upstream connection, which ends with it. (Left to itself, hyper waits for an upstream that
/// reads nothing until it has read all.)
#[derive(Debug)]
pub(crate) struct Sender {
    requests: SendRequest<RequestBody>,
    connection: AbortHandle,
    line: Line,
}

impl Sender {
    pub(super) fn new(requests: SendRequest<RequestBody>, connection: AbortHandle, line: Line) -> Self {
        Self { requests, connection, line }
    }
}

impl Deref for Sender {
    type Target = SendRequest<RequestBody>;

    fn deref(&self) -> &Self::Target {
        &self.requests
    }
}

impl DerefMut for Sender {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.requests
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Kept for one line, at most.
const MOST: usize = 32;
/// Kept idle for so long.
const IDLE: Duration = Duration::from_mins(1);

/// Connections that wait for their next request. The last one that came back is the first to go out again.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    by_line: HashMap<Line, Vec<(Sender, Instant)>>,
    cleared: bool,
}

impl Pool {
    /// A connection of this line that can take a request now.
    pub(crate) fn take(&self, line: &Line) -> Option<Sender> {
        let mut idle = self.lock();
        let senders = idle.by_line.get_mut(line)?;
        senders.retain(|(sender, _)| !sender.is_closed());
        let at = senders.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(senders.remove(at).0)
    }

    /// Takes a connection back whose response has been read to its end.
    pub(crate) fn give(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.cleared || sender.is_closed() {
            return;
        }
        let senders = idle.by_line.entry(sender.line.clone()).or_default();
        if senders.len() < MOST {
            senders.push((sender, Instant::now()));
        }
    }

    /// Drops what has been idle for long, or was closed by the upstream.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lock().by_line.retain(|_, senders| {
            senders.retain(|(sender, since)| !sender.is_closed() && now.duration_since(*since) < IDLE);
            !senders.is_empty()
        });
    }

    /// Drops everything, and keeps nothing from now on.
    pub(crate) fn clear(&self) {
        let mut idle = self.lock();
        idle.cleared = true;
        idle.by_line.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Whoever panicked while holding it left a map of connections, each good or closed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
