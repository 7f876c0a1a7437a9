//! Consistent hashing: for each key the endpoints have an order, and the first that fits is taken.
//!
//! By address, or by the pod's name where the ring says so.
//!
//! This is rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). The
//! order follows from key and address alone, so that it is the same on every proxy, whatever came and went before.
//! When an endpoint goes, only its keys move, and they spread over all the others; a new one takes only its share. In
//! contrast to a ring or to Maglev there is no table to build anew for each change of the endpoints; a pick looks at
//! eight bytes of every endpoint instead.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use snapshot::{PodHash, Ring};
use xxhash_rust::xxh3::xxh3_64;

use super::endpoint::Endpoint;

/// An endpoint and what its place in the orders follows from. The seeds lie beside the pointer, so that a pick runs
/// along one piece of memory.
pub(super) struct Ranked {
    seeds: Seeds,
    endpoint: Arc<Endpoint>,
}

/// What an endpoint's place in the orders follows from, for each ring.
struct Seeds {
    address: u64,
    pod: u64,
}

impl Seeds {
    fn of(&self, ring: Ring) -> u64 {
        match ring {
            Ring::Address => self.address,
            Ring::PodName => self.pod,
        }
    }
}

impl Ranked {
    pub(super) fn new(endpoint: Arc<Endpoint>, pod: Option<PodHash>) -> Self {
        let address = seed(endpoint.address());
        Self { seeds: Seeds { address, pod: pod.map_or(address, |PodHash(hash)| hash) }, endpoint }
    }

    pub(super) fn seed(&self, ring: Ring) -> u64 {
        self.seeds.of(ring)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

/// The first in the key's order that fits. Only those that would be the first so far are asked whether they do: of
/// n endpoints that fit the logarithm of n on average.
pub(super) fn highest(
    endpoints: &[Ranked],
    (key, ring): (u64, Ring),
    fits: impl Fn(&Endpoint) -> bool,
) -> Option<&Ranked> {
    let mut best = None;
    for ranked in endpoints {
        let score = mix(key ^ ranked.seeds.of(ring));
        if best.is_none_or(|(highest, _)| score > highest) && fits(&ranked.endpoint) {
            best = Some((score, ranked));
        }
    }
    best.map(|(_, ranked)| ranked)
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014): each bit of the input changes half of the output.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// From the address (IPv4 in its mapped form) and the port, both as they stand on the wire.
fn seed(address: SocketAddr) -> u64 {
    let mapped = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&mapped.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    xxh3_64(&bytes)
}
