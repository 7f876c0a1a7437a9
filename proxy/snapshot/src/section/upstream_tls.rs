//! TLS towards endpoints.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::certificate::PrivateKey;
use super::host::TlsVersion;
use super::upstream::UpstreamId;

/// How a route speaks TLS to its upstreams. Authorities and certificates are in it as they are in their Secrets, so that
/// nothing of a route can be served without them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// To which of them.
    pub to: SecuredUpstreams,
    /// Whom an endpoint must prove to be.
    pub verify: Verify,
    /// The name that is sent to it, and verified. Absent: the Service's own, `SERVICE.NAMESPACE.svc`.
    pub server_name: Option<String>,
    /// Whether the name is sent.
    pub sni: Sni,
    /// The versions that are offered, sorted, each once. Never empty.
    pub versions: Vec<TlsVersion>,
    /// What we prove ourselves with where an endpoint asks for it.
    pub client: Option<ClientPair>,
}

/// The upstreams to which TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecuredUpstreams {
    /// All of them.
    All,
    /// All of them for clients that came over TLS themselves.
    AsClient,
    /// These, sorted. Never empty.
    Only(Vec<UpstreamId>),
}

/// What is asked of an endpoint's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verify {
    /// An authority that browsers trust has signed it.
    Public,
    /// One of these authorities has, or it is one of these certificates itself: DER. Never empty.
    By(Vec<Bytes>),
    /// Nothing.
    Nothing,
}

/// Whether a server's name is sent in the clear at the beginning (RFC 6066 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sni {
    /// It is.
    Sent,
    /// It is not.
    Omitted,
}

/// A client certificate with its private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPair {
    /// DER, the end entity first.
    pub chain: Vec<Bytes>,
    /// PKCS#8, PKCS#1 or SEC1, in DER.
    pub key: PrivateKey,
}
