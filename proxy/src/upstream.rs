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
mod rank;
mod sids;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use snapshot::{Ring, UpstreamId};
use tokio::time::Instant;

use self::endpoint::Endpoint;
pub(crate) use self::members::Members;
use self::rank::Ranked;
pub(crate) use self::sids::LONGEST as LONGEST_SID;
use self::sids::Sids;

/// One backend of a route.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// Its share: weight divided by the sum of weights. 0 takes no new requests.
    pub weight: u32,
}

/// How an endpoint is chosen for one request. Every attempt at it goes by the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The fewest open tunnels and requests; ties by rotation.
    LeastConnections,
    /// One after another.
    RoundRobin,
    /// By this key, among endpoints by what the ring says: see [`rank`].
    Hash(u64, Ring),
}

/// One endpoint of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// By what a ring goes by, while it is ready.
    Seed(u64, Ring),
    /// By a key among those that are ready.
    Key(u64, Ring),
    /// By its address, for a session that it has: as long as it serves.
    Session(SocketAddr),
}

/// The endpoint that a client was at before.
#[derive(Clone, Copy, Debug)]
pub struct Pin<'a> {
    /// Whose endpoint.
    pub upstream: &'a Arc<Upstream>,
    /// Which one.
    pub seat: Seat,
}

/// Among whom, and how, an endpoint is chosen for one request. Every attempt at it goes by the same.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Whoever this is comes first, as long as it can be reached.
    pub pin: Option<Pin<'a>>,
    /// Those of a list are asked when none before it has an endpoint left; within a list [`choose`] decides.
    pub among: [&'a [Weighted]; 3],
    /// How.
    pub way: Way,
}

impl Choice<'_> {
    /// An endpoint, never one of `tried`.
    pub fn pick(&self, tried: &[SocketAddr], now: Instant) -> Option<Picked> {
        let pinned = self.pin.and_then(|pin| pin.upstream.pick_seat(pin.seat, tried, now));
        pinned.or_else(|| self.among.iter().find_map(|backends| choose(backends, self.way, tried, now)))
    }
}

/// How many endpoints there are, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Take new tunnels.
    pub ready: usize,
    /// Ready, but left out for now since connecting to them fails.
    pub ejected: usize,
    /// Take new tunnels where nothing is ready.
    pub terminating: usize,
    /// Take none.
    pub waiting: usize,
}

/// The endpoints of one Service port.
pub struct Upstream {
    id: Arc<UpstreamId>,
    members: ArcSwap<Members>,
    /// Where the next choice among equals begins.
    rotation: AtomicUsize,
    sids: Sids,
}

impl Upstream {
    /// An upstream without endpoints.
    pub(crate) fn new(id: Arc<UpstreamId>) -> Arc<Self> {
        // Many proxies that start at once must not all begin with the same endpoint.
        let rotation = AtomicUsize::new(fastrand::usize(..usize::MAX / 2));
        let members = ArcSwap::from_pointee(Members::default());
        Arc::new(Self { id, members, rotation, sids: Sids::default() })
    }

    /// Its name.
    pub fn id(&self) -> &UpstreamId {
        &self.id
    }

    pub(crate) fn shared_id(&self) -> &Arc<UpstreamId> {
        &self.id
    }

    /// An endpoint for a new tunnel or request. Never one of `tried`. Those that keep refusing connections are left
    /// out while others are left, and terminating ones come last.
    pub fn pick(&self, way: Way, tried: &[SocketAddr], now: Instant) -> Option<Picked> {
        let members = self.members.load();
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address());
        let healthy = |endpoint: &Endpoint| untried(endpoint) && !endpoint.is_ejected(now);
        let (ready, terminating) = (&members.ready, &members.terminating);
        let picked = if let Way::Hash(key, ring) = way {
            rank::highest(ready, (key, ring), healthy)
                .or_else(|| rank::highest(ready, (key, ring), untried))
                .or_else(|| rank::highest(terminating, (key, ring), untried))
        } else {
            let turn = self.rotation.fetch_add(1, Ordering::Relaxed);
            pick_among(ready, way, turn, healthy)
                .or_else(|| pick_among(ready, way, turn, untried))
                .or_else(|| pick_among(terminating, way, turn, untried))
        };
        picked.map(Picked::new)
    }

    /// This very endpoint, unless connecting to it fails.
    fn pick_seat(&self, seat: Seat, tried: &[SocketAddr], now: Instant) -> Option<Picked> {
        let members = self.members.load();
        let endpoint = members.at(seat)?;
        let fits = !tried.contains(&endpoint.address()) && !endpoint.endpoint().is_ejected(now);
        fits.then(|| Picked::new(endpoint))
    }

    /// What a ring goes by of an endpoint, be it reachable or not.
    pub(crate) fn seed_at(&self, seat: Seat, ring: Ring) -> Option<u64> {
        Some(self.members.load().at(seat)?.seed(ring))
    }

    /// Whether there is such an endpoint, be it reachable or not.
    pub(crate) fn has(&self, seat: Seat) -> bool {
        self.members.load().at(seat).is_some()
    }

    /// Where a session of Engine.IO is, if it was learned and that endpoint still serves.
    pub(crate) fn session(&self, sid: &[u8], now: Instant) -> Option<Seat> {
        let seat = Seat::Session(self.sids.find(sid, now)?);
        self.has(seat).then_some(seat)
    }

    /// How many endpoints take new tunnels, ejected ones included.
    pub fn ready(&self) -> usize {
        self.members.load().ready.len()
    }

    /// How many of the ready endpoints are ejected for now.
    pub fn ejected(&self, now: Instant) -> usize {
        self.members.load().ready.iter().filter(|ranked| ranked.endpoint().is_ejected(now)).count()
    }

    /// How many endpoints it has.
    pub fn census(&self, now: Instant) -> Census {
        let (members, ejected) = (self.members.load(), self.ejected(now));
        Census {
            ready: members.ready.len().saturating_sub(ejected),
            ejected,
            terminating: members.terminating.len(),
            waiting: members.waiting.len(),
        }
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

impl std::iter::Sum for Census {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            ready: sum.ready + one.ready,
            ejected: sum.ejected + one.ejected,
            terminating: sum.terminating + one.terminating,
            waiting: sum.waiting + one.waiting,
        })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {} ready)", self.id, self.ready())
    }
}

/// The one with the least load; of several such the one whose turn it is.
fn pick_among(
    endpoints: &[Ranked],
    way: Way,
    turn: usize,
    fits: impl Fn(&Endpoint) -> bool,
) -> Option<&Ranked> {
    let load = |endpoint: &Endpoint| if way == Way::RoundRobin { 0 } else { endpoint.in_flight() };
    let fitting = || endpoints.iter().filter(|ranked| fits(ranked.endpoint()));
    let (mut least, mut ties, mut first) = (u32::MAX, 0, None);
    for endpoint in fitting() {
        let load = load(endpoint.endpoint());
        if first.is_none() || load < least {
            (least, ties, first) = (load, 1, Some(endpoint));
        } else if load == least {
            ties += 1;
        }
    }
    let first = first?;
    // Other workers pick meanwhile: the second pass may find fewer of that load than the first counted.
    fitting().filter(|ranked| load(ranked.endpoint()) <= least).nth(turn % ties).or(Some(first))
}

/// An endpoint for one of the backends, which is chosen first: in proportion to the weights, by the key where there is
/// one. Where the chosen one has none left, any other of them stands in: so does a retry, whose `tried` addresses are
/// never chosen again.
pub fn choose(backends: &[Weighted], way: Way, tried: &[SocketAddr], now: Instant) -> Option<Picked> {
    if let [only] = backends {
        return (only.weight > 0).then(|| only.upstream.pick(way, tried, now))?;
    }
    let mut left: Vec<&Weighted> = backends.iter().filter(|backend| backend.weight > 0).collect();
    let mut point = match way {
        Way::Hash(key, _) => key,
        Way::LeastConnections | Way::RoundRobin => fastrand::u64(..),
    };
    while !left.is_empty() {
        // In the order in which they are listed: a key stays where it is on every proxy.
        let chosen = left.remove(share_of(point, &left));
        if let Some(picked) = chosen.upstream.pick(way, tried, now) {
            return Some(picked);
        }
        // The keys of one backend lie side by side; those who stand in must all get some of them.
        point = rank::mix(point);
    }
    None
}

/// Into whose share a point falls: each has as many of all points as its weight is of all weights.
fn share_of(point: u64, backends: &[&Weighted]) -> usize {
    let total: u128 = backends.iter().map(|backend| u128::from(backend.weight)).sum();
    let mut rest = (u128::from(point) * total) >> 64;
    backends
        .iter()
        .position(|backend| {
            let weight = u128::from(backend.weight);
            let hit = rest < weight;
            rest = rest.saturating_sub(weight);
            hit
        })
        .expect("the point lies below the sum of the weights")
}

/// An endpoint in use: counted as in flight there until dropped.
#[derive(Debug)]
pub struct Picked {
    endpoint: Arc<Endpoint>,
}

impl Picked {
    fn new(ranked: &Ranked) -> Self {
        ranked.endpoint().enter();
        Self { endpoint: ranked.endpoint().clone() }
    }

    /// What a ring goes by of it. `None`: it has left meanwhile.
    pub(crate) fn seed(&self, ring: Ring) -> Option<u64> {
        self.endpoint.whole_upstream()?.seed_at(Seat::Session(self.address()), ring)
    }

    /// It began a session of Engine.IO.
    pub(crate) fn learn(&self, sid: &[u8], now: Instant) {
        if let Some(upstream) = self.endpoint.whole_upstream() {
            upstream.sids.learn(sid, self.address(), now);
        }
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
