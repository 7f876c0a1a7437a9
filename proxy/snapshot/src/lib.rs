//! The contract between Longhaul's controller and its proxy.
//!
//! A [`Snapshot`] is a map of keyed [`Section`]s: each listener's settings, each host's routes, the
//! endpoints of each upstream by slice, each certificate. The controller publishes one *generation* after
//! another as the difference to what a proxy holds already ([`Delta`]), cut into bounded [`frame`]s; the proxy
//! applies a generation whole or not at all and acknowledges it.
//!
//! A snapshot leaves no meaningful choice to the proxy: precedence, endpoints, timeouts and which certificate a
//! host has are decided before the socket. Whether a certificate can be used, only the TLS library can say.
//!
//! Invariant: this crate knows neither Kubernetes nor any runtime, socket or TLS library. The difference between
//! two snapshots is computed over keys and bytes and knows nothing of what a section means.

pub mod frame;
mod map;
mod pattern;
mod section;

pub use map::{Delta, Digest, Snapshot};
pub use pattern::{leading_pattern, pattern};
pub use section::{
    Access, Action, Affinity, AffinityCookie, AffinityKey, Auth, AuthTarget, Balance, BasicAuth, Canary,
    CanaryHeader, Certificate, CertificateKey, CipherSuite, ClientCertificates, ClientMode, ClientPair,
    ClientVerification, Condition, Conditions, CookieChanges, Cors, CorsOrigin, Endpoint, Endpoints,
    ExternalAuth, FieldChanges, Forward, HashPart, Headers, Holds, Host, HostPattern, HostTls, Hsts, Key,
    Listener, ListenerName, LocalTargets, LocationPart, Millis, ObjectRef, OnFailure, OriginMatch,
    OriginPort, PassedOn, PasswordHash, PathMatch, PathRewrite, Piece, PodHash, PrivateKey, Reach, Redirect,
    RedirectTo, Retries, Rewrite, Ring, Route, RouteId, SameSite, Satisfy, Scheme, Section, SecuredUpstreams,
    Serves, SetCookie, SignIn, Slice, Sni, Template, Timeouts, TlsVersion, UpstreamId, UpstreamTls, User,
    ValueMatch, Verify, WeightedUpstream,
};
