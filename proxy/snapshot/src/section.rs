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
    /// In order of precedence: the first that matches is taken. (Exact paths first, then longer prefixes; of one
    /// path those with more conditions first.)
    pub routes: Vec<Route>,
}

/// TLS settings of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTls {
    /// The certificate to serve. Where it is missing or cannot be used the listener's default is.
    pub certificate: CertificateKey,
    /// The lowest version accepted.
    pub min_version: TlsVersion,
    /// The cipher suites accepted, each once, in the order of preference, of all versions: a list that names none of
    /// TLS 1.3 leaves TLS 1.2 only. Empty: the proxy's own choice. A list of which no suite belongs to a version that
    /// is accepted cannot be served.
    pub cipher_suites: Vec<CipherSuite>,
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

/// Cipher suites that may be chosen, named as IANA registers them. Those of TLS 1.3 come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, non_camel_case_types)]
pub enum CipherSuite {
    TLS_AES_256_GCM_SHA384,
    TLS_AES_128_GCM_SHA256,
    TLS_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

impl CipherSuite {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::TLS_AES_256_GCM_SHA384,
        Self::TLS_AES_128_GCM_SHA256,
        Self::TLS_CHACHA20_POLY1305_SHA256,
        Self::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Self::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Self::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Self::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Self::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Self::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
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
    /// The match within the rule: [`PathMatch`]'s display form, and the conditions behind it where it has any.
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
    /// What else must hold. A request for which it does not goes to the next route that fits its path.
    pub conditions: Conditions,
    /// What it does with a request.
    pub action: Action,
    /// Which requests it takes.
    pub serves: Serves,
    /// Whether requests in the clear are answered with 308 to https.
    pub redirect: Redirect,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What is sent upstream in place of the request's own target and Host.
    pub rewrite: Rewrite,
    /// The longest body of a request, in bytes; a longer one gets 413. Absent: no limit.
    pub max_body: Option<u64>,
    /// Write an access record for each tunnel and request.
    pub access_log: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Route {
    /// A route that takes every request for its path and has the default of every setting.
    pub fn new(id: RouteId, path: PathMatch, action: Action) -> Self {
        Self {
            id,
            path,
            conditions: Conditions::default(),
            action,
            serves: Serves::Everything,
            redirect: Redirect::default(),
            balance: Balance::default(),
            rewrite: Rewrite::default(),
            max_body: None,
            access_log: true,
            timeouts: Timeouts::default(),
        }
    }
}

/// Conditions beside the path; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Conditions {
    /// Request fields.
    pub headers: Vec<Condition>,
    /// Query parameters; of a repeated one the first counts.
    pub query: Vec<Condition>,
    /// The client offers one of these WebSocket subprotocols. Empty: nothing is asked of them.
    pub subprotocols: Vec<String>,
}

impl Conditions {
    /// How many there are: of two routes for one path the one with more comes first.
    pub fn count(&self) -> usize {
        self.headers.len() + self.query.len() + usize::from(!self.subprotocols.is_empty())
    }
}

/// A named value, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// The name. A field's is in lower case.
    pub name: String,
    /// What the value must be.
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ValueMatch {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
}

/// When a request in the clear is sent to https.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redirect {
    /// Never.
    #[default]
    Never,
    /// Once the host has a usable certificate.
    WithCertificate,
    /// Whether or not this proxy has a certificate: something in front of it terminates TLS.
    Always,
}

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
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathRewrite {
    /// In place of the path, or prefix of it, that the route matches. What follows it stays, joined by one slash.
    Prefix(String),
    /// In place of the whole path.
    Whole(String),
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
    /// Forward to one of these, chosen by weight. Never empty. An upstream of which the snapshot lists no endpoints
    /// has none.
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
