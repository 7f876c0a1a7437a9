//! TLS versions and cipher suites by the names that users write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS protocol versions that are served.
// The variants have no doc texts: the schema would become a `oneOf`, which the API server takes for no enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Cipher suites that are served, as IANA registers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

    /// The suite of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| format!("{suite:?}") == name)
    }

    /// The protocol version that has it.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::TLS_AES_256_GCM_SHA384
            | Self::TLS_AES_128_GCM_SHA256
            | Self::TLS_CHACHA20_POLY1305_SHA256 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        }
    }
}
