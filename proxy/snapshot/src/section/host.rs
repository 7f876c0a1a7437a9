//! A host: its names, its TLS settings, its routes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::certificate::CertificateKey;
use super::clients::ClientCertificates;
use super::route::Route;

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
    /// Certificates that clients are asked for. Absent: they are not asked.
    pub clients: Option<ClientCertificates>,
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
