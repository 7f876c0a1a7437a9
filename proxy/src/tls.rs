//! TLS towards clients: the ClientHello is looked at first, the policy chosen by server name, then the bytes are
//! replayed into the chosen configuration.
//!
//! There is one [`ServerConfig`] for each TLS policy, with ticket keys of its own: a ticket that was issued under one
//! policy opens nothing under another. Certificates are read from the table of the moment. Without one for the name
//! the handshake is refused with `unrecognized_name` (RFC 6066 §3).

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use snapshot::TlsVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::leg::{HandshakeError, Leg, TlsLeg};
use crate::table::Table;

/// A fatal alert, `unrecognized_name` (RFC 8446 §6, RFC 6066 §3), as a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A ClientHello that is longer than this is not one: with the largest key shares it has about 2 KiB.
const MAX_HELLO: usize = 64 * 1024;

/// The configurations of one proxy.
#[derive(Debug)]
pub struct Policies {
    table: Arc<ArcSwap<Table>>,
    from_1_2: Arc<ServerConfig>,
    from_1_3: Arc<ServerConfig>,
}

/// A connection that did not become one.
#[derive(Debug, thiserror::Error)]
pub enum TlsRefusal {
    /// No certificate for this name.
    #[error("no certificate for {}", .0.as_deref().unwrap_or("a client without a server name"))]
    UnknownName(Option<String>),
    /// What came is no ClientHello.
    #[error("no ClientHello: {0}")]
    NoHello(rustls::Error),
    /// The handshake did not work out.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl TlsRefusal {
    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownName(_) => "unrecognized_name",
            Self::NoHello(_) => "no_hello",
            Self::Handshake(HandshakeError::Tls(_)) => "refused",
            Self::Handshake(HandshakeError::Closed | HandshakeError::Io(_)) => "broken",
        }
    }
}

impl From<io::Error> for TlsRefusal {
    fn from(error: io::Error) -> Self {
        Self::Handshake(HandshakeError::Io(error))
    }
}

impl Policies {
    /// Configurations whose certificates come from `table`.
    pub fn new(provider: &Arc<CryptoProvider>, table: &Arc<ArcSwap<Table>>) -> Result<Self, rustls::Error> {
        let config = |versions: &[&'static SupportedProtocolVersion]| {
            let builder = ServerConfig::builder_with_provider(provider.clone());
            let builder = builder.with_protocol_versions(versions)?.with_no_client_auth();
            let mut config = builder.with_cert_resolver(Arc::new(FromTable(table.clone())));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            config.ticketer = Ticketer::new()?;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            Ok::<_, rustls::Error>(Arc::new(config))
        };
        Ok(Self {
            table: table.clone(),
            from_1_2: config(&[&version::TLS12, &version::TLS13])?,
            from_1_3: config(&[&version::TLS13])?,
        })
    }

    fn of(&self, version: TlsVersion) -> Arc<ServerConfig> {
        match version {
            TlsVersion::V1_2 => self.from_1_2.clone(),
            TlsVersion::V1_3 => self.from_1_3.clone(),
        }
    }

    /// Carries out the handshake. Plaintext that came with its last flight goes into `ahead`.
    pub async fn accept(&self, mut stream: TcpStream, ahead: &mut BytesMut) -> Result<Leg, TlsRefusal> {
        let (received, name) = read_hello(&mut stream).await?;
        let config = {
            let table = self.table.load();
            table.certificate(name.as_deref()).map(|_| self.of(table.tls_min_version(name.as_deref())))
        };
        let Some(config) = config else {
            stream.write_all(&UNRECOGNIZED_NAME).await?;
            stream.shutdown().await?;
            return Err(TlsRefusal::UnknownName(name));
        };
        Ok(Leg::Tls(TlsLeg::accept(stream, config, received, ahead).await?))
    }
}

/// Reads until the ClientHello is whole. Returns what was read, and the server name in lower case.
async fn read_hello(stream: &mut TcpStream) -> Result<(Vec<u8>, Option<String>), TlsRefusal> {
    let (mut acceptor, mut received, mut seen) = (Acceptor::default(), Vec::with_capacity(2048), 0);
    loop {
        if received.len() > MAX_HELLO || stream.read_buf(&mut received).await? == 0 {
            return Err(HandshakeError::Closed.into());
        }
        while seen < received.len() {
            seen += acceptor.read_tls(&mut &received[seen..])?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return Ok((received, name));
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    stream.write_all(&bytes).await?;
                    stream.shutdown().await?;
                    return Err(TlsRefusal::NoHello(error));
                }
            }
        }
    }
}

/// Certificates by server name, from the table of the moment.
#[derive(Debug)]
struct FromTable(Arc<ArcSwap<Table>>);

impl ResolvesServerCert for FromTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.0.load().certificate(name.as_deref())
    }
}
