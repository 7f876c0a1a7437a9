//! TLS policies: what hosts ask of a handshake, and the one [`ServerConfig`] for each.
//!
//! A configuration has ticket keys of its own, so that a ticket which was issued under one policy opens nothing under
//! another: not without a certificate where one is asked for, nor with one that other authorities signed. It outlives tables as long as one of them has a host with its policy, and so do the keys. It is made where
//! tables are built, off the workers.
//!
//! Invariant: a configuration holds no table. Certificates are read from the table of the moment.

use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use imbl::HashMap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use snapshot::{CipherSuite, ClientVerification, HostTls, TlsVersion};

use super::clients::Verifier;
use super::host_name;
use crate::table::Table;

/// What a host asks of a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    /// The lowest version.
    pub(crate) min_version: TlsVersion,
    /// Exactly these, in the order of preference. Empty: the provider's own, of which the client chooses.
    pub(crate) cipher_suites: Vec<CipherSuite>,
    /// Whose certificates are asked for. By content: who comes in by other authorities comes in by another policy.
    pub(crate) clients: Option<ClientVerification>,
}

/// A policy that can be kept.
pub(crate) struct Terms {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) verifier: Option<Arc<Verifier>>,
}

impl From<&HostTls> for Policy {
    fn from(tls: &HostTls) -> Self {
        let clients = tls.clients.as_ref().map(|clients| clients.verification.clone());
        Self { min_version: tls.min_version, cipher_suites: tls.cipher_suites.clone(), clients }
    }
}

/// Makes configurations, and finds those again that somebody holds. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Policies {
    provider: Arc<CryptoProvider>,
    /// Where the table of the moment is.
    place: Weak<ArcSwap<Table>>,
    made: HashMap<Policy, Weak<Terms>>,
    /// Dead entries are swept out when there are this many, so that a sweep costs each insertion a constant.
    sweep_at: usize,
}

impl Policies {
    pub(crate) fn new(provider: Arc<CryptoProvider>, place: Weak<ArcSwap<Table>>) -> Self {
        Self { provider, place, made: HashMap::new(), sweep_at: 0 }
    }

    /// The terms of a policy. The error is for people: no handshake could meet it.
    pub(crate) fn terms(&mut self, policy: Policy) -> Result<Arc<Terms>, String> {
        if let Some(terms) = self.made.get(&policy).and_then(Weak::upgrade) {
            return Ok(terms);
        }
        let terms = Arc::new(self.make(&policy)?);
        self.made.insert(policy, Arc::downgrade(&terms));
        if self.made.len() >= self.sweep_at {
            self.made.retain(|_, terms| terms.strong_count() > 0);
            self.sweep_at = 2 * self.made.len() + 64;
        }
        Ok(terms)
    }

    fn make(&self, policy: &Policy) -> Result<Terms, String> {
        let versions: &[_] = match policy.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let mut provider = CryptoProvider::clone(&self.provider);
        if !policy.cipher_suites.is_empty() {
            let named = policy.cipher_suites.iter().map(|suite| self.suite(*suite));
            provider.cipher_suites = named.collect::<Result<_, _>>()?;
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(versions).map_err(|_| {
            "none of the cipher suites that are accepted belongs to a TLS version that is".to_owned()
        })?;
        let resolver = Arc::new(FromTable(self.place.clone()));
        let verifier =
            policy.clients.as_ref().map(|asked| Verifier::new(asked, &self.provider)).transpose()?;
        let verifier = verifier.map(Arc::new);
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Without a list the client chooses: it knows whether it has AES in hardware.
        config.ignore_client_order = !policy.cipher_suites.is_empty();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Without randomness there are no tickets, and every handshake is a full one.
        if let Ok(ticketer) = Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Terms { config: Arc::new(config), verifier })
    }

    fn suite(&self, wanted: CipherSuite) -> Result<rustls::SupportedCipherSuite, String> {
        let id = registered(wanted);
        let found = self.provider.cipher_suites.iter().find(|suite| suite.suite() == id);
        found.copied().ok_or_else(|| format!("the TLS library does not have the cipher suite {wanted:?}"))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("made", &self.made.len()).finish_non_exhaustive()
    }
}

/// The suite as the TLS library names it.
fn registered(suite: CipherSuite) -> rustls::CipherSuite {
    match suite {
        CipherSuite::TLS_AES_256_GCM_SHA384 => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS_AES_128_GCM_SHA256 => rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_CHACHA20_POLY1305_SHA256 => rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            rustls::CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

/// Certificates by server name, from the table of the moment.
#[derive(Debug)]
struct FromTable(Weak<ArcSwap<Table>>);

impl ResolvesServerCert for FromTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(host_name);
        self.0.upgrade()?.load().certificate(name.as_deref())
    }
}
