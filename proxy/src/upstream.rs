//! Upstreams: which endpoint takes the next tunnel or request.
//!
//! An [`Upstream`] is a cell that outlives tables; its set of endpoints is swapped within it. An endpoint is
//! the same for as long as its address stays in the upstream, in whichever slice, so that its count of what
//! is in flight and its health survive every change of the table. One that left is no longer picked; whoever
//! holds a [`Picked`] of it goes on, and finds its count again should the address come back.
//!
//! Does no IO and reads no clock: connecting is the caller's, who reports how it went.

mod endpoint;
mod members;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use snapshot::{Balance, UpstreamId};
use tokio::time::Instant;

use self::endpoint::Endpoint;
pub(crate) use self::members::Members;

/// One backend of a route.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// Its share: weight divided by the sum of weights. 0 takes no new requests.
    pub weight: u32,
}

/// The endpoints of one Service port.
pub struct Upstream {
    id: Arc<UpstreamId>,
    members: ArcSwap<Members>,
    /// Where the next choice among equals begins.
    rotation: AtomicUsize,
}

impl Upstream {
    /// An upstream without endpoints.
    pub(crate) fn new(id: Arc<UpstreamId>) -> Arc<Self> {
        // Many proxies that start at once must not all begin with the same endpoint.
        let rotation = AtomicUsize::new(fastrand::usize(..usize::MAX / 2));
        Arc::new(Self { id, members: ArcSwap::from_pointee(Members::default()), rotation })
    }

    /// Its name.
    pub fn id(&self) -> &UpstreamId {
        &self.id
    }

    pub(crate) fn shared_id(&self) -> &Arc<UpstreamId> {
        &self.id
    }

    /// An endpoint for a new tunnel or request, by this rule. Never one of `tried`. Those that
    /// keep refusing connections are left out while others are left, and terminating ones come last.
    pub fn pick(&self, balance: &Balance, tried: &[SocketAddr], now: Instant) -> Option<Picked> {
        let members = self.members.load();
        let turn = self.rotation.fetch_add(1, Ordering::Relaxed);
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address());
        let healthy = |endpoint: &Endpoint| untried(endpoint) && !endpoint.is_ejected(now);
        pick_among(&members.ready, balance, turn, healthy)
            .or_else(|| pick_among(&members.ready, balance, turn, untried))
            .or_else(|| pick_among(&members.terminating, balance, turn, untried))
            .map(|endpoint| Picked::new(endpoint.clone()))
    }

    /// How many endpoints take new tunnels, ejected ones included.
    pub fn ready(&self) -> usize {
        self.members.load().ready.len()
    }

    /// How many of the ready endpoints are ejected for now.
    pub fn ejected(&self, now: Instant) -> usize {
        self.members.load().ready.iter().filter(|endpoint| endpoint.is_ejected(now)).count()
    }

    pub(crate) fn install(&self, members: Arc<Members>) {
        self.members.store(members);
    }

    /// Address and standing of every endpoint, to compare upstreams by.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<(SocketAddr, &'static str)> {
        self.members.load().summary()
    }

    /// Whether one more of the ready endpoints may be ejected: never more than half of them are.
    fn may_eject(&self, now: Instant) -> bool {
        2 * (self.ejected(now) + 1) <= self.ready()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {} ready)", self.id, self.ready())
    }
}

/// The one with the least load; of several such the one whose turn it is.
fn pick_among<'a>(
    endpoints: &'a [Arc<Endpoint>],
    balance: &Balance,
    turn: usize,
    fits: impl Fn(&Endpoint) -> bool,
) -> Option<&'a Arc<Endpoint>> {
    let load = |endpoint: &Endpoint| match balance {
        Balance::LeastConnections | Balance::ConsistentHash(_) => endpoint.in_flight(),
        Balance::RoundRobin => 0,
    };
    let (mut least, mut ties, mut first) = (u32::MAX, 0, None);
    for endpoint in endpoints.iter().filter(|endpoint| fits(endpoint)) {
        let load = load(endpoint);
        if first.is_none() || load < least {
            (least, ties, first) = (load, 1, Some(endpoint));
        } else if load == least {
            ties += 1;
        }
    }
    let first = first?;
    // Other workers pick meanwhile: the second pass may find fewer of that load than the first counted.
    endpoints
        .iter()
        .filter(|endpoint| fits(endpoint) && load(endpoint) <= least)
        .nth(turn % ties)
        .or(Some(first))
}

/// An endpoint for one of the backends, chosen by weight. Where the chosen one has none left, any other of
/// them stands in: so does a retry, whose `tried` addresses are never chosen again.
pub fn choose(
    backends: &[Weighted],
    balance: &Balance,
    tried: &[SocketAddr],
    now: Instant,
) -> Option<Picked> {
    if let [only] = backends {
        return (only.weight > 0).then(|| only.upstream.pick(balance, tried, now))?;
    }
    let mut left: Vec<&Weighted> = backends.iter().filter(|backend| backend.weight > 0).collect();
    while !left.is_empty() {
        let total: u64 = left.iter().map(|backend| u64::from(backend.weight)).sum();
        let mut point = fastrand::u64(..total);
        let chosen = left
            .iter()
            .position(|backend| {
                let weight = u64::from(backend.weight);
                let hit = point < weight;
                point = point.saturating_sub(weight);
                hit
            })
            .expect("the point lies below the sum of the weights");
        if let Some(picked) = left.swap_remove(chosen).upstream.pick(balance, tried, now) {
            return Some(picked);
        }
    }
    None
}

/// An endpoint in use: counted as in flight there until dropped.
#[derive(Debug)]
pub struct Picked {
    endpoint: Arc<Endpoint>,
}

impl Picked {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.enter();
        Self { endpoint }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// The upstream it was picked from.
    pub fn upstream(&self) -> &UpstreamId {
        self.endpoint.upstream()
    }

    /// A connection stands: whatever failed before is forgotten.
    pub fn connected(&self) {
        self.endpoint.connected();
    }

    /// No connection came about. Three in a row eject the endpoint for a while; says whether this one did.
    pub fn connect_failed(&self, now: Instant) -> bool {
        self.endpoint.connect_failed(now)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.leave();
    }
}
