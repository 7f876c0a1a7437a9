//! TLS towards endpoints and authentication services: whom we speak it to, and what they must prove.
//!
//! A [`Policy`] is all that a handshake depends on but the server's name: authorities, our own certificate, versions. It
//! is made where tables are built, lives as long as a route or a connection has it, and has sessions of its own to
//! resume, so that none crosses from one policy to another. Connections that wait for requests are told apart by it.
//!
//! Certificates that a route does not ask to be verified are not looked at; see [`verify`].

mod verify;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use imbl::HashMap;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use snapshot::{SecuredUpstreams, Sni, TlsVersion, UpstreamId, Verify};
use tokio::net::TcpStream;

use crate::leg::{HandshakeError, Leg, TlsLeg};

/// Sessions that are kept to be resumed, of one policy: eight for each server's name.
const SESSIONS: usize = 1024;

/// All that a handshake depends on but the server's name.
#[derive(Debug)]
pub struct Policy {
    /// No other policy ever has this.
    id: u64,
    config: Arc<ClientConfig>,
}

/// How TLS is spoken to one server.
#[derive(Clone, Debug)]
pub struct Secured {
    policy: Arc<Policy>,
    name: ServerName<'static>,
}

/// How a route speaks TLS to its upstreams.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    policy: Arc<Policy>,
    to: SecuredUpstreams,
    /// Absent: the Service's own.
    name: Option<ServerName<'static>>,
}

/// Which connections are alike: those of one policy to one name. Compared for equality only.
pub type Likeness = (u64, ServerName<'static>);

impl Secured {
    /// A server of this name.
    pub fn new(policy: Arc<Policy>, name: &str) -> Result<Self, String> {
        Ok(Self { policy, name: server_name(name)? })
    }

    /// Carries out the handshake.
    pub async fn connect(&self, stream: TcpStream) -> Result<Leg, HandshakeError> {
        let config = self.policy.config.clone();
        Ok(Leg::ToServer(TlsLeg::connect(stream, config, self.name.clone()).await?))
    }

    /// What tells its connections from others.
    pub fn likeness(&self) -> Likeness {
        (self.policy.id, self.name.clone())
    }
}

impl UpstreamTls {
    /// How TLS is spoken to an upstream, for a client that came over TLS or did not. `None`: it is not.
    pub fn to(&self, upstream: &UpstreamId, client_tls: bool) -> Option<Secured> {
        let spoken = match &self.to {
            SecuredUpstreams::All => true,
            SecuredUpstreams::AsClient => client_tls,
            SecuredUpstreams::Only(these) => these.binary_search(upstream).is_ok(),
        };
        spoken.then(|| {
            let own = || server_name(&format!("{}.{}.svc", upstream.service, upstream.namespace));
            // The names of Services are names of hosts. Nobody can prove to be who has none.
            let nobody = || ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
            let name = self.name.clone().unwrap_or_else(|| own().unwrap_or_else(|_| nobody()));
            Secured { policy: self.policy.clone(), name }
        })
    }
}

/// Makes policies, and finds those again that somebody holds. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Policies {
    provider: Arc<CryptoProvider>,
    public: Arc<dyn ServerCertVerifier>,
    made: HashMap<[u8; 32], Weak<Policy>>,
    /// Dead entries are swept out when there are this many, so that a sweep costs each insertion a constant.
    sweep_at: usize,
}

impl Policies {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        let public = verifier(public_roots(), provider.clone());
        let public = public.expect("there are authorities that browsers trust");
        Self { provider, public, made: HashMap::new(), sweep_at: 0 }
    }

    /// What a route asks for. The error is for people: no handshake could meet it. It never shows any of a key.
    pub(crate) fn of(&mut self, tls: &snapshot::UpstreamTls) -> Result<UpstreamTls, String> {
        let name = tls.server_name.as_deref().map(server_name).transpose()?;
        Ok(UpstreamTls { policy: self.policy(tls)?, to: tls.to.clone(), name })
    }

    fn policy(&mut self, tls: &snapshot::UpstreamTls) -> Result<Arc<Policy>, String> {
        let terms = terms(tls);
        if let Some(policy) = self.made.get(&terms).and_then(Weak::upgrade) {
            return Ok(policy);
        }
        let policy = policy(self.make(tls)?);
        self.made.insert(terms, Arc::downgrade(&policy));
        if self.made.len() >= self.sweep_at {
            self.made.retain(|_, policy| policy.strong_count() > 0);
            self.sweep_at = 2 * self.made.len() + 64;
        }
        Ok(policy)
    }

    fn make(&self, tls: &snapshot::UpstreamTls) -> Result<ClientConfig, String> {
        let verifier = match &tls.verify {
            Verify::Public => self.public.clone(),
            Verify::By(authorities) => {
                let own = authorities.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
                verify::by(own, &self.provider)?
            }
            Verify::Nothing => verify::nothing(&self.provider),
        };
        let versions: Vec<_> = tls
            .versions
            .iter()
            .map(|version| match version {
                TlsVersion::V1_2 => &version::TLS12,
                TlsVersion::V1_3 => &version::TLS13,
            })
            .collect();
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = pair.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
                let key = PrivateKeyDer::try_from(pair.key.der())
                    .map_err(|_| "the private key is none of PKCS#8, PKCS#1 and SEC1".to_owned())?
                    .clone_key();
                let with_pair = builder.with_client_auth_cert(chain, key);
                with_pair.map_err(|error| format!("the client certificate cannot be used: {error}"))?
            }
        };
        config.enable_sni = tls.sni == Sni::Sent;
        Ok(config)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("made", &self.made.len()).finish_non_exhaustive()
    }
}

/// The policy for servers of anybody's: an authority that browsers trust must have signed their certificates, or one of
/// these further ones.
pub fn public(
    provider: Arc<CryptoProvider>,
    further: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<Policy>, rustls::Error> {
    let mut roots = public_roots();
    for der in further {
        roots.add(der)?;
    }
    let verifier = verifier(roots, provider.clone()).map_err(rustls::Error::General)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(policy(builder.with_no_client_auth()))
}

fn policy(mut config: ClientConfig) -> Arc<Policy> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(Policy { id: MADE.fetch_add(1, Ordering::Relaxed), config: Arc::new(config) })
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|error| error.to_string())
}

/// An address of IPv6 may be in brackets, as in a Host.
fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    ServerName::try_from(bare.to_owned()).map_err(|_| format!("{text:?} is no name of a server"))
}

/// All that makes a policy, in 32 bytes. Nobody can make another one of the same.
fn terms(tls: &snapshot::UpstreamTls) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut put = |part: &[u8]| {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    };
    match &tls.verify {
        Verify::Public => put(b"public"),
        Verify::Nothing => put(b"nothing"),
        Verify::By(authorities) => {
            put(&authorities.len().to_le_bytes());
            for der in authorities {
                put(der);
            }
        }
    }
    put(match tls.sni {
        Sni::Sent => b"named",
        Sni::Omitted => b"nameless",
    });
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        put(&[u8::from(tls.versions.contains(&version))]);
    }
    if let Some(pair) = &tls.client {
        for der in &pair.chain {
            put(der);
        }
        put(pair.key.der());
    }
    let mut terms = [0; 32];
    terms.copy_from_slice(context.finish().as_ref());
    terms
}

#[cfg(test)]
mod tests;
