//! One address of an upstream: what is in flight there, and whether connecting to it works.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use snapshot::UpstreamId;
use tokio::time::Instant;

use super::Upstream;

/// So many connect failures in a row eject.
const FAILURES: u32 = 3;
/// For so long the first time, then twice as long each time …
const FIRST_EJECTION: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_EJECTION: Duration = Duration::from_mins(1);

/// Held by the members of its upstream and by every [`Picked`](super::Picked).
pub(crate) struct Endpoint {
    address: SocketAddr,
    id: Arc<UpstreamId>,
    /// Asked before an ejection. An endpoint must not keep its upstream's other endpoints alive.
    upstream: Weak<Upstream>,
    in_flight: AtomicU32,
    /// Something is in `health`, so that picks take no lock while all is well.
    failing: AtomicBool,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    ejections: u32,
    until: Option<Instant>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, upstream: &Arc<Upstream>) -> Arc<Self> {
        Arc::new(Self {
            address,
            id: upstream.id.clone(),
            upstream: Arc::downgrade(upstream),
            in_flight: AtomicU32::new(0),
            failing: AtomicBool::new(false),
            health: Mutex::default(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn upstream(&self) -> &UpstreamId {
        &self.id
    }

    /// The upstream itself, as long as anybody routes to it.
    pub(super) fn whole_upstream(&self) -> Option<Arc<Upstream>> {
        self.upstream.upgrade()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.failing.load(Ordering::Relaxed) && self.health().until.is_some_and(|until| now < until)
    }

    pub(super) fn connected(&self) {
        if self.failing.load(Ordering::Relaxed) {
            *self.health() = Health::default();
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// After an ejection one failure more ejects again: they are still in a row.
    pub(super) fn connect_failed(&self, now: Instant) -> bool {
        // Asked before the lock is taken: the answer looks at every endpoint of the upstream, this one too.
        let may_eject = self.upstream.upgrade().is_some_and(|upstream| upstream.may_eject(now));
        let mut health = self.health();
        self.failing.store(true, Ordering::Relaxed);
        // Attempts that began before an ejection end during it; they say nothing new.
        if health.until.is_some_and(|until| now < until) {
            return false;
        }
        health.failures = health.failures.saturating_add(1);
        if health.failures < FAILURES || !may_eject {
            return false;
        }
        let doubled = FIRST_EJECTION.saturating_mul(1 << health.ejections.min(8));
        health.until = Some(now + doubled.min(LONGEST_EJECTION));
        health.ejections += 1;
        true
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Plain data, whole after any panic.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} of {}, {} in flight)", self.address, self.id, self.in_flight())
    }
}
