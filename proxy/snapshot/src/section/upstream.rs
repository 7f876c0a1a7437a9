//! Upstreams and their endpoints.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::affinity::PodHash;

/// A port of a Service as routes refer to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpstreamId {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The Service port: its name, or its number where it has none.
    pub port: String,
    /// What of the Service is connected to.
    pub reach: Reach,
}

/// What of a Service is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Its endpoints.
    #[default]
    Endpoints,
    /// Its own address: whoever stands behind it chooses the endpoint.
    Address,
}

impl UpstreamId {
    /// The endpoints of a port.
    pub fn endpoints(
        namespace: impl Into<String>,
        service: impl Into<String>,
        port: impl Into<String>,
    ) -> Self {
        let reach = Reach::Endpoints;
        Self { namespace: namespace.into(), service: service.into(), port: port.into(), reach }
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reach = match self.reach {
            Reach::Endpoints => "",
            Reach::Address => " at its own address",
        };
        write!(f, "{}/{}:{}{reach}", self.namespace, self.service, self.port)
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
    /// The pod that it is. Absent: it is none, or that is not known.
    pub pod: Option<PodHash>,
}
