//! Certificates with their private keys.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

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

/// A private key in DER, or another secret. It never shows: not in `Debug`, not in a human-readable encoding.
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
