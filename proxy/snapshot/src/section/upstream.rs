//! Upstreams and their endpoints.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A port of a Service as routes refer to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpstreamId {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The Service port: its name, or its number where it has none.
    pub port: String,
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

/// The source of a set of endpoints: the name of an EndpointSlice, or of the Service that lists addresses itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slice(pub String);

/// The endpoints that one slice contributes to one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Sorted by address, each once. The same address in two slices is one endpoint.
    pub endpoints: Vec<Endpoint>,
}

/// One address that serves an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// Takes new tunnels.
    pub ready: bool,
    /// On its way out but still serving: takes new tunnels only where nothing is ready.
    pub terminating: bool,
}
