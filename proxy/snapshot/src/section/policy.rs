//! The settings of a route.

use serde::{Deserialize, Serialize};

/// How an endpoint is chosen among the ready ones of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// The fewest open tunnels and requests; ties by rotation.
    #[default]
    LeastConnections,
    /// One after another.
    RoundRobin,
    /// The same for the same key, as long as it is ready; equal on every proxy. Of several parts the key is all of
    /// them. A request that has none of them is balanced by least connections. The backend is chosen by the same
    /// key, in proportion to the weights. Never empty.
    ConsistentHash(Vec<HashPart>),
}

/// A part of a request to hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HashPart {
    /// The client's address.
    ClientAddress,
    /// The first value of this field, in lower case.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The first value of this query parameter.
    QueryParameter(String),
    /// The path, normalised.
    Path,
    /// The path and query as sent.
    Target,
    /// The host, in lower case and without port.
    Host,
}

/// What is sent upstream in place of what came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// In place of the path. The query stays.
    pub path: Option<PathRewrite>,
    /// In place of the Host.
    pub host: Option<String>,
    /// With a new path, what the upstream is told of the old one in `X-Forwarded-Prefix`; groups as in
    /// [`PathRewrite::Template`].
    pub forwarded_prefix: Option<String>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathRewrite {
    /// In place of the path, or prefix of it, that the route matches. What follows it stays, joined by one slash.
    Prefix(String),
    /// In place of the whole path.
    Whole(String),
    /// In place of the whole path, with `$1` to `$9` for the groups of the route's regular expression.
    Template(String),
}

/// A time in milliseconds. Zero means that there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

/// Further attempts where an endpoint cannot be reached. Once anything was sent to one there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// How many endpoints are tried, the first one included. Above 0.
    pub tries: u32,
    /// How long after the first attempt another may begin.
    pub within: Millis,
}

impl Default for Retries {
    fn default() -> Self {
        Self { tries: 3, within: Millis(0) }
    }
}

/// The timeouts of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// One attempt to reach an endpoint.
    pub connect: Millis,
    /// From the handshake sent to the upstream's response head.
    pub handshake: Millis,
    /// No bytes either way in an open tunnel.
    pub idle: Millis,
    /// A write towards either side that makes no progress.
    pub send: Millis,
    /// Plain HTTP: until the response head, then between two reads of the response.
    pub request: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Millis(5_000),
            handshake: Millis(30_000),
            idle: Millis(3_600_000),
            send: Millis(60_000),
            request: Millis(60_000),
        }
    }
}
