//! TLS in front of a backend, as a server ends it: what comes out is passed on in the clear, what comes in the clear as
//! it is. It writes down how each connection began.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::wire::PATIENCE;

/// The first byte of every handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// How a connection began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Began {
    /// In the clear.
    InTheClear,
    /// With TLS.
    Tls {
        /// The server name that was asked for.
        name: Option<String>,
        /// A session was resumed.
        resumed: bool,
        /// The client's certificate.
        client: Option<CertificateDer<'static>>,
    },
    /// With a handshake that did not work out, or with nothing.
    Failed(String),
}

/// A running front. It ends when dropped.
pub struct Secured {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    began: watch::Receiver<Vec<Began>>,
    _accepting: JoinSet<()>,
}

impl Secured {
    /// Starts one on a free loopback port.
    pub async fn start(config: Arc<ServerConfig>, behind: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, began) = watch::channel(Vec::new());
        let config = Arc::new(Mutex::new(config));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, config.clone(), behind, Arc::new(sender)));
        Ok(Self { address, config, began, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows new connections another certificate.
    pub fn change(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// How the connections so far began, in the order in which they did.
    pub fn began(&self) -> Vec<Began> {
        self.began.borrow().clone()
    }

    /// Waits until there are this many connections, and says how they began.
    pub async fn wait_for(&self, count: usize) -> Result<Vec<Began>> {
        let mut began = self.began.clone();
        let waited = timeout(PATIENCE, began.wait_for(|began| began.len() >= count)).await;
        let seen = || format!("{count} connections wanted, there were {:?}", self.began());
        Ok(waited.with_context(seen)?.context("the front has ended")?.clone())
    }
}

async fn accept(
    listener: TcpListener,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    behind: SocketAddr,
    began: Arc<watch::Sender<Vec<Began>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let config = config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let began = began.clone();
        connections.spawn(async move {
            let tell = |how| began.send_modify(|all| all.push(how));
            // How a peer ends its connection is the test's matter.
            let _ = serve(stream, config, behind, tell).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    behind: SocketAddr,
    tell: impl Fn(Began),
) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        tell(Began::InTheClear);
        let mut inner = TcpStream::connect(behind).await?;
        return copy_bidirectional(&mut stream, &mut inner).await.map(|_| ());
    }
    let mut stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tell(Began::Failed(error.to_string()));
            return Ok(());
        }
    };
    let tls = stream.get_ref().1;
    tell(Began::Tls {
        name: tls.server_name().map(str::to_owned),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        client: tls.peer_certificates().and_then(|chain| chain.first()).map(|der| der.clone().into_owned()),
    });
    let mut inner = TcpStream::connect(behind).await?;
    copy_bidirectional(&mut stream, &mut inner).await.map(|_| ())
}
