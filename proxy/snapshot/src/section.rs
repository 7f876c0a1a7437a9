//! What a snapshot is made of: the sections and their keys.

mod access;
mod affinity;
mod auth;
mod certificate;
mod clients;
mod fields;
mod host;
mod policy;
mod route;
mod upstream;
mod upstream_tls;

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use access::{Access, OriginMatch, OriginPort, Satisfy};
pub use affinity::{Affinity, AffinityCookie, AffinityKey, Holds, OnFailure, PodHash, Ring, SameSite};
pub use auth::{
    Auth, AuthTarget, BasicAuth, ExternalAuth, LocalTargets, PasswordHash, Piece, Scheme, SetCookie, SignIn,
    Template, User,
};
pub use certificate::{Certificate, CertificateKey, PrivateKey};
pub use clients::{ClientCertificates, ClientMode, ClientVerification, PassedOn};
pub use fields::{CookieChanges, Cors, CorsOrigin, FieldChanges, Headers, Hsts};
pub use host::{CipherSuite, Host, HostPattern, HostTls, TlsVersion};
pub use policy::{Balance, HashPart, Millis, PathRewrite, Retries, Rewrite, Timeouts};
pub use route::{
    Action, Canary, CanaryHeader, Condition, Conditions, Forward, LocationPart, ObjectRef, PathMatch,
    Redirect, RedirectTo, Route, RouteId, Serves, ValueMatch, WeightedUpstream,
};
pub use upstream::{Endpoint, Endpoints, Reach, Slice, UpstreamId};
pub use upstream_tls::{ClientPair, SecuredUpstreams, Sni, UpstreamTls, Verify};

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
    /// What affinity cookies are sealed with: [`Section::AffinityKey`].
    AffinityKey,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listener {name:?}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Endpoints(upstream, slice) => write!(f, "endpoints {upstream} of {}", slice.0),
            Self::Certificate(key) => write!(f, "certificate {key}"),
            Self::AffinityKey => f.write_str("the key of affinity cookies"),
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
    /// See [`AffinityKey`].
    AffinityKey(AffinityKey),
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
    /// Peers whose connections begin with a header of the PROXY protocol, without which they are dropped.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Served when no host's certificate fits the server name. Meaningful for [`ListenerName::Https`] only.
    pub default_certificate: Option<CertificateKey>,
}
