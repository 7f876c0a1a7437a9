//! What a snapshot is made of: the sections and their keys.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};

/// The name of a [`Section`]. The order of keys is the order in which a snapshot is shown and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// Settings of one listener: [`Section::Listener`].
    Listener(ListenerName),
    /// The routes of one host: [`Section::Host`].
    Host(HostPattern),
    /// How one upstream is balanced: [`Section::Upstream`].
    Upstream(UpstreamId),
    /// The endpoints that one slice lists for one upstream: [`Section::Endpoints`].
    Endpoints(UpstreamId, Slice),
    /// One certificate with its private key: [`Section::Certificate`].
    Certificate(CertificateKey),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listener {name:?}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Upstream(upstream) => write!(f, "upstream {upstream}"),
            Self::Endpoints(upstream, slice) => write!(f, "endpoints {upstream} of {}", slice.0),
            Self::Certificate(key) => write!(f, "certificate {key}"),
        }
    }
}

/// The content under a [`Key`]; the variants correspond one to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// See [`Listener`].
    Listener(Listener),
    /// See [`Host`].
    Host(Host),
    /// See [`Upstream`].
    Upstream(Upstream),
    /// See [`Endpoints`].
    Endpoints(Endpoints),
    /// See [`Certificate`].
    Certificate(Certificate),
}

/// The listeners of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ListenerName {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

/// Settings of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Peers whose `X-Forwarded-*` fields and request id are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Served when no host's certificate fits the server name. Meaningful for [`ListenerName::Https`] only.
    pub default_certificate: Option<CertificateKey>,
}

/// Which hosts a [`Host`] section speaks for. Names are lower case, without port and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(String),
    /// One label in front of this suffix: `Wildcard("example.com")` is `*.example.com`.
    Wildcard(String),
    /// Every host that no other pattern matches.
    Any,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The routes of one host, and the settings that hold for it as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// TLS of this host. Absent: the listener's default certificate, if there is one.
    pub tls: Option<HostTls>,
    /// In order of precedence: the first that matches is taken. (Exact paths first, then longer prefixes.)
    pub routes: Vec<Route>,
}

/// TLS settings of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTls {
    /// The certificate to serve. Where it is missing or cannot be used the listener's default is.
    pub certificate: CertificateKey,
    /// The lowest version accepted.
    pub min_version: TlsVersion,
}

/// TLS protocol versions that are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[default]
    V1_2,
    /// TLS 1.3, RFC 8446.
    V1_3,
}

/// A Kubernetes object by identity, never by UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `Ingress`, `WsRoute`, …
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What makes a route the same route in the next generation: its owner, the owner's rule, and the match in it.
/// State that outlives a table (the live settings of open tunnels) is found again by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteId {
    /// The object that declares the route.
    pub owner: ObjectRef,
    /// A WsRoute rule's name. For an Ingress the path rule's host, or `defaultBackend`.
    pub rule: String,
    /// The match within the rule, spelled as in [`PathMatch`]'s display form.
    pub matched: String,
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.owner, self.rule, self.matched)
    }
}

/// One route of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Identity across generations.
    pub id: RouteId,
    /// Which paths it matches, compared with the normalised path of a request.
    pub path: PathMatch,
    /// What it does with a request.
    pub action: Action,
    /// Which requests it takes.
    pub serves: Serves,
    /// Answer requests of the plain listener with 308 to https, once the host has a usable certificate.
    pub redirect_to_tls: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments, as an Ingress's `Prefix`. Without a trailing slash, except for the root `/`.
    Prefix(String),
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "={path}"),
            Self::Prefix(path) => f.write_str(path),
        }
    }
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Forward to one of these, chosen by weight. Never empty. An upstream of which the snapshot has no section
    /// counts as one without endpoints.
    Forward(Vec<WeightedUpstream>),
    /// Answer 503: the route cannot, or for security must not, be served. The reason is for people.
    Broken(String),
}

/// One backend of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedUpstream {
    /// Where to.
    pub upstream: UpstreamId,
    /// Its share: weight divided by the sum of weights. 0 takes no new requests.
    pub weight: u32,
}

/// Which requests a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serves {
    /// WebSocket handshakes only; everything else gets 426.
    WebSocketOnly,
    /// WebSocket handshakes and plain requests.
    Everything,
}

/// A time in milliseconds. Zero means that there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

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

/// How an upstream's endpoints are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// How an endpoint is chosen.
    pub balance: Balance,
}

/// How an endpoint is chosen among the ready ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// The fewest open tunnels and requests; ties by rotation.
    #[default]
    LeastConnections,
    /// One after another.
    RoundRobin,
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

/// Names a certificate: the Secret that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CertificateKey {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
}

impl fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.secret)
    }
}

/// A certificate, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certificate {
    /// As the Secret has it. Whether key and chain fit each other, the proxy's TLS library judges.
    Pair {
        /// DER, the end entity first.
        chain: Vec<Bytes>,
        /// PKCS#8, PKCS#1 or SEC1, in DER.
        key: PrivateKey,
        /// When the end entity expires, in seconds since the Unix epoch.
        not_after: i64,
    },
    /// The Secret is missing or does not parse. A proxy that has an earlier form of it goes on serving that.
    Bad(String),
}

/// A private key in DER. It never shows: not in `Debug`, not in a human-readable encoding.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(Arc<[u8]>);

impl PrivateKey {
    /// Takes the key's DER.
    pub fn new(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// The key's DER, for the TLS library.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str("redacted")
        } else {
            self.0.serialize(serializer)
        }
    }
}
