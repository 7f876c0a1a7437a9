//! Certificates with their private keys, as the TLS library takes them.

use std::sync::Arc;

use imbl::HashMap;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use snapshot::{CertificateKey, PrivateKey};

/// The certificates that are served.
pub(super) type Certificates = HashMap<Arc<CertificateKey>, Arc<Served>>;

/// One certificate that can be used.
pub(super) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    /// Seconds since the Unix epoch.
    pub(super) not_after: i64,
}

/// Has the TLS library judge a chain and its key. The error is for people and never shows any of the key.
pub(super) fn load(
    chain: &[bytes::Bytes],
    key: &PrivateKey,
    not_after: i64,
    provider: &CryptoProvider,
) -> Result<Served, String> {
    let key = PrivateKeyDer::try_from(key.der())
        .map_err(|_| "the private key is none of PKCS#8, PKCS#1 and SEC1".to_owned())?
        .clone_key();
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.to_vec())).collect();
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())?;
    Ok(Served { key: Arc::new(key), not_after })
}
