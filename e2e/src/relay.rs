//! A relay in front of an API server that fails as it is told: it refuses, hangs, cuts, or answers with an error.
//!
//! It takes plain HTTP/1 and asks the server behind it over TLS, passing the caller's credentials on. It changes
//! nothing else: what goes through is the real server's. A fault that begins applies to what is under way, too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections are reset when they come, and open ones at once.
    Refuse,
    /// Nothing is heard any more of what was or is asked while this lasts, also afterwards.
    Hang,
    /// Open connections are reset once, when this begins; new ones are served.
    Cut,
    /// Requests are answered with this status, as the API server words it; open watches end.
    Answer(StatusCode),
    /// Every place in the history of changes is forgotten: whoever asks from one on is answered 410, and may list.
    /// Watches that were open when this began end.
    Forgotten,
}

/// The relay. Dropping it ends it and every connection.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    requests: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// What each connection needs.
#[derive(Clone)]
struct Behind {
    upstream: SocketAddr,
    tls: TlsConnector,
    fault: watch::Receiver<Fault>,
    requests: Arc<AtomicU64>,
}

impl Relay {
    /// Starts on a free port of loopback.
    pub async fn start(upstream: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the relay")?;
        let address = listener.local_addr()?;
        let (fault, requests) = (watch::Sender::new(Fault::None), Arc::<AtomicU64>::default());
        let behind =
            Behind { upstream, tls: tls.into(), fault: fault.subscribe(), requests: requests.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, behind));
        Ok(Self { address, fault, requests, _tasks: tasks })
    }

    /// For a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this goes wrong.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many requests came, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, behind: Behind) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, behind.clone()));
    }
}

async fn serve(stream: TcpStream, behind: Behind) {
    // Whoever ends here is reset: that is what a lost peer looks like.
    let _ = stream.set_zero_linger();
    let mut fault = behind.fault.clone();
    let now = *fault.borrow_and_update();
    if now == Fault::Refuse {
        return;
    }
    let service = service_fn(move |request| {
        let behind = behind.clone();
        async move { Ok::<_, Infallible>(behind.answer(request).await) }
    });
    let connection = server::Builder::new().serve_connection(TokioIo::new(stream), service);
    let lost = async {
        while fault.changed().await.is_ok() {
            if matches!(*fault.borrow_and_update(), Fault::Refuse | Fault::Cut) {
                return;
            }
        }
    };
    tokio::select! {
        _ = connection => {}
        () = lost => {}
    }
}

impl Behind {
    async fn answer(mut self, request: Request<Incoming>) -> Answer {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = *self.fault.borrow_and_update();
        match now {
            Fault::Answer(status) => failure(status),
            Fault::Hang => std::future::pending().await,
            Fault::Forgotten if from_a_place(request.uri()) => failure(StatusCode::GONE),
            Fault::None | Fault::Refuse | Fault::Cut | Fault::Forgotten => {
                self.pass(request, now).await.unwrap_or_else(|_| failure(StatusCode::BAD_GATEWAY))
            }
        }
    }

    /// A connection for each request: watches are long, and there are few others.
    async fn pass(self, request: Request<Incoming>, began: Fault) -> Result<Answer> {
        let stream = TcpStream::connect(self.upstream).await?;
        let name = ServerName::IpAddress(self.upstream.ip().into());
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let (head, body) = sender.send_request(request).await?.into_parts();
        let passing = Passing { body, began, fault: self.fault, _connection: tasks };
        let body = StreamBody::new(futures_util::stream::unfold(passing, Passing::next));
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }
}

/// The real server's body, while nothing is wrong.
struct Passing {
    body: Incoming,
    /// What was wrong already.
    began: Fault,
    fault: watch::Receiver<Fault>,
    _connection: JoinSet<()>,
}

impl Passing {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, hyper::Error>, Self)> {
        loop {
            let now = *self.fault.borrow_and_update();
            match now {
                Fault::Answer(_) => return None,
                Fault::Forgotten if self.began != now => return None,
                Fault::Hang => std::future::pending().await,
                Fault::None | Fault::Refuse | Fault::Cut | Fault::Forgotten => {}
            }
            tokio::select! {
                changed = self.fault.changed() => changed.ok()?,
                frame = self.body.frame() => return frame.map(|frame| (frame, self)),
            }
        }
    }
}

/// Whether what is asked for begins at a place in the history of changes.
fn from_a_place(uri: &Uri) -> bool {
    let parts = uri.query().unwrap_or_default().split('&');
    parts.filter_map(|part| part.strip_prefix("resourceVersion=")).any(|version| !matches!(version, "" | "0"))
}

/// As the API server words its errors.
fn failure(status: StatusCode) -> Answer {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(),
        "message": "as the test asks", "reason": status.canonical_reason().unwrap_or_default(),
    });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer
}
