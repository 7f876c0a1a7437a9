//! The demo backend: WebSocket echo and chat, a page, and a handful of plain answers, all under a name of its own.
//!
//! | path | over WebSocket | as a plain request |
//! | --- | --- | --- |
//! | `/` | echo | a small chat page (with `chat.css`, `chat.js`) |
//! | `…/chat` | what one says, all others hear | - |
//! | `…/whoami` | first a message as the plain answer, then echo | JSON: this backend and the request it saw |
//! | `…/slow?ms=N` | echo | an answer after N milliseconds |
//! | `…/sse?count=N&ms=M` | echo | N events, M milliseconds apart |
//! | `…/download?bytes=N` | echo | N bytes of [`pattern`], their checksum in `x-checksum` |
//! | `…/upload` | echo | JSON: how many bytes came, and their checksum |
//! | any other | echo | 404 |
//!
//! Only the last segment of the path counts, so that one backend serves under any prefix.

mod plain;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use plain::{checksum, pattern};

use crate::backend::NAME_HEADER;

/// How many chat messages a slow listener may be behind before it misses some.
const CHAT_BACKLOG: usize = 256;

/// How long clients may take to answer the Close of a backend that leaves.
const PARTING: Duration = Duration::from_secs(5);

type Body = BoxBody<Bytes, Infallible>;

/// A demo backend that runs beside the test which started it. It ends when dropped.
pub struct DemoBackend {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl DemoBackend {
    /// Starts one on a free loopback port.
    pub async fn start(name: &str) -> io::Result<Self> {
        Self::start_on(name, Ipv4Addr::LOCALHOST.into()).await
    }

    /// Starts one on a free port of this address.
    pub async fn start_on(name: &str, address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, name.to_owned(), CancellationToken::new()));
        Ok(Self { address, _serving: serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What the connections of one backend share.
struct Shared {
    name: String,
    chat: broadcast::Sender<Arc<str>>,
    tunnels: TaskTracker,
    leaving: CancellationToken,
}

/// What `/whoami` tells of a request.
#[derive(Serialize)]
struct Seen<'a> {
    backend: &'a str,
    method: &'a str,
    target: String,
    headers: Vec<(&'a str, String)>,
}

/// Serves until it is to leave: then it accepts nothing more, and says goodbye on each tunnel (Close 1001).
pub async fn serve(listener: TcpListener, name: String, leaving: CancellationToken) {
    let (chat, _) = broadcast::channel(CHAT_BACKLOG);
    let shared = Arc::new(Shared { name, chat, tunnels: TaskTracker::new(), leaving: leaving.clone() });
    let mut connections = JoinSet::new();
    while let Some(accepted) = leaving.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, shared.clone()));
            }
            Err(error) => {
                eprintln!("the backend stops accepting: {error}");
                return;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    shared.tunnels.close();
    // A client that does not answer is left without.
    let _ = timeout(PARTING, shared.tunnels.wait()).await;
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that leaves early is no event for a demo.
    let _ = connection.with_upgrades().await;
}

async fn answer(mut request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    let mut response = match socket::upgrade(&mut request, shared) {
        Some(response) => response,
        None => plain::answer(request, &shared.name).await,
    };
    if let Ok(name) = HeaderValue::from_str(&shared.name) {
        response.headers_mut().insert(NAME_HEADER, name);
    }
    response
}

/// The last segment of a path: `chat` of `/live/chat`.
fn last_segment(uri: &Uri) -> &str {
    uri.path().rsplit('/').next().unwrap_or("")
}

fn whoami<B>(request: &Request<B>, name: &str) -> String {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = Seen {
        backend: name,
        method: request.method().as_str(),
        target: request.uri().to_string(),
        headers: request.headers().iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
    };
    serde_json::to_string_pretty(&seen).unwrap_or_default()
}
