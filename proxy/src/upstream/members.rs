//! The endpoints of an upstream at one time: the union of its slices.

#[cfg(test)]
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::endpoint::Endpoint;
use super::rank::{self, Ranked};
use super::{Seat, Upstream};

/// Immutable, swapped whole. Each list is sorted by address.
#[derive(Default)]
pub(crate) struct Members {
    /// Take new tunnels.
    pub(super) ready: Box<[Ranked]>,
    /// Take new tunnels where nothing is ready.
    pub(super) terminating: Box<[Ranked]>,
    /// Take none, and are kept for their counts and health.
    pub(super) waiting: Box<[Arc<Endpoint>]>,
    /// Gone, with something still in flight: found again should they come back, say in another slice.
    departed: Box<[Weak<Endpoint>]>,
}

impl Members {
    /// The union of `slices`; an address in several of them is one endpoint, ready where any says so.
    /// Endpoints of `before` whose address stays are the same in the result.
    pub(crate) fn union<'a>(
        upstream: &Arc<Upstream>,
        before: &Self,
        slices: impl Iterator<Item = &'a [snapshot::Endpoint]>,
    ) -> Self {
        let mut listed: Vec<snapshot::Endpoint> = slices.flatten().copied().collect();
        // Stable: each slice is a sorted run already, which this sort makes use of.
        listed.sort_by_key(|endpoint| endpoint.address);
        listed.dedup_by(|next, kept| {
            let same = next.address == kept.address;
            if same {
                kept.ready |= next.ready;
                kept.terminating |= next.terminating;
                kept.pod = kept.pod.max(next.pod);
            }
            same
        });

        let (mut ready, mut terminating, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let (mut known, mut departed) = (before.known().into_iter().peekable(), Vec::new());
        for entry in listed {
            let left = |known: &Arc<Endpoint>| known.address() < entry.address;
            while let Some(gone) = known.next_if(left) {
                departed.push(gone);
            }
            let endpoint = known
                .next_if(|known| known.address() == entry.address)
                .unwrap_or_else(|| Endpoint::new(entry.address, upstream));
            match (entry.ready, entry.terminating) {
                (true, _) => ready.push(Ranked::new(endpoint, entry.pod)),
                (false, true) => terminating.push(Ranked::new(endpoint, entry.pod)),
                (false, false) => waiting.push(endpoint),
            }
        }
        departed.extend(known);
        Self {
            ready: ready.into(),
            terminating: terminating.into(),
            waiting: waiting.into(),
            departed: departed
                .iter()
                .filter(|endpoint| endpoint.in_flight() > 0)
                .map(Arc::downgrade)
                .collect(),
        }
    }

    /// The endpoint that is meant, if it still does for that. Of several pods of one name, the first by address.
    pub(super) fn at(&self, seat: Seat) -> Option<&Ranked> {
        match seat {
            Seat::Seed(seed, ring) => self.ready.iter().find(|ranked| ranked.seed(ring) == seed),
            Seat::Key(key, ring) => rank::highest(&self.ready, (key, ring), |_| true),
            Seat::Session(address) => [&self.ready, &self.terminating].into_iter().find_map(|endpoints| {
                let found = endpoints.binary_search_by_key(&address, Ranked::address).ok()?;
                endpoints.get(found)
            }),
        }
    }

    /// Every endpoint that can be found again, sorted by address, each address once.
    fn known(&self) -> Vec<Arc<Endpoint>> {
        let departed = self.departed.iter().filter_map(Weak::upgrade);
        let ranked = self.ready.iter().chain(&self.terminating).map(Ranked::endpoint);
        let listed = ranked.chain(&self.waiting);
        let mut known: Vec<_> = listed.cloned().chain(departed).collect();
        known.sort_by_key(|endpoint| endpoint.address());
        known
    }

    /// Address and standing of every endpoint, to compare sets by.
    #[cfg(test)]
    pub(super) fn summary(&self) -> Vec<(SocketAddr, &'static str)> {
        let named = |endpoints: &mut dyn Iterator<Item = &Arc<Endpoint>>, name| {
            endpoints.map(|endpoint| (endpoint.address(), name)).collect::<Vec<_>>()
        };
        [
            named(&mut self.ready.iter().map(Ranked::endpoint), "ready"),
            named(&mut self.terminating.iter().map(Ranked::endpoint), "terminating"),
            named(&mut self.waiting.iter(), "waiting"),
        ]
        .concat()
    }
}
