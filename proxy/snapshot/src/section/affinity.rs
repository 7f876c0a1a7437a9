//! What brings clients back to the endpoint that they were at before.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::certificate::PrivateKey;

/// How clients of a route find their endpoint again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// By a cookie that the proxy sets.
    pub cookie: Option<AffinityCookie>,
    /// By the sid of Engine.IO, which the proxy learns. Requests without one that is known go by the hash of the
    /// client's address, where the route hashes nothing else.
    pub engine_io: bool,
}

/// A cookie that names an endpoint without telling which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityCookie {
    /// A token.
    pub name: String,
    /// In seconds. Absent: until the browser ends.
    pub max_age: Option<u64>,
    /// Begins with a slash.
    pub path: String,
    /// Absent: the host that set it.
    pub domain: Option<String>,
    /// Absent: the browser's default.
    pub same_site: Option<SameSite>,
    /// Absent: where the client came by https.
    pub secure: Option<bool>,
    /// What becomes of it when its endpoint cannot be reached although it is ready.
    pub on_failure: OnFailure,
    /// What it stands for.
    pub holds: Holds,
}

/// What an affinity cookie stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// An endpoint: the client stays there as long as it is ready.
    Endpoint,
    /// A key of its own, by which endpoints are chosen: those that come take over their share of all clients.
    Key,
}

/// From which sites' pages a cookie is sent (RFC 6265bis §5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// What becomes of a cookie whose endpoint cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// The client gets one of the endpoint that served it.
    Change,
    /// It stays, and another endpoint, the same for all with this cookie, serves meanwhile.
    Keep,
}

/// What of an endpoint keys and cookies are tied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ring {
    /// Its address and port.
    #[default]
    Address,
    /// The name of its pod, which pods of a StatefulSet keep. An endpoint that is no pod has its address.
    PodName,
}

/// A pod by its name: the XXH3 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodHash(pub u64);

impl PodHash {
    /// That of a name.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

/// What affinity cookies are sealed with. It never shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AffinityKey {
    /// These bytes.
    Known(PrivateKey),
    /// There should be one. A proxy that has an earlier one goes on with that.
    Unknown,
}

impl AffinityKey {
    /// Takes the key's bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self::Known(PrivateKey::new(bytes))
    }
}
