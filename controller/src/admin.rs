//! The admin server: probes, metrics, and what the controller knows, as JSON.
//!
//! It can listen at two places: one with everything, for people, and one with the first three alone, which tell no
//! secret of anybody's routes and so may be open to whoever probes and scrapes.
//!
//! Whoever is slow, to ask or to take the answer, holds up nobody: a connection is for one request and lasts
//! [`CONNECTION`] at most, and where there are [`MAX_CONNECTIONS`] the oldest goes. So probes are answered whatever
//! others do.
//!
//! | path | answers |
//! | --- | --- |
//! | `/livez` | 200 while the process runs. Nothing outside the process fails it |
//! | `/readyz` | 200 once a generation is published, 503 before |
//! | `/metrics` | OpenMetrics text |
//! | `POST /peers/held` | what the proxies of this pod hold of some objects, for the other pods |
//! | `/api/routes` | the snapshot that is published, keys redacted, and which generation each proxy serves |
//! | `/api/objects` | each Ingress and WsRoute: where it stands, its conditions, its conflicts |
//! | `POST /api/explain` | what would become of a request, and why: see [`explain`](crate::explain) |
//! | `/api/diagnostics` | everything that is wrong or worth knowing, with file and line where known |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::explain::ask::{MAX_QUESTION, PAGE as EXPLAIN};
use crate::metrics::Metrics;
use crate::overview::Overview;
use crate::peers::held;

/// The most connections at once, of each listener.
const MAX_CONNECTIONS: usize = 128;

/// The longest that one lasts, answer and all.
const CONNECTION: Duration = Duration::from_mins(1);

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long accepting rests after the system refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where other pods ask.
const PEERS: &str = "/peers/held";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers requests.
#[derive(Clone, Debug)]
pub struct Admin {
    overview: Overview,
    metrics: Arc<Metrics>,
    /// The name under which it answers other pods.
    pod: Option<Arc<str>>,
}

/// Which pages a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// All of them: for people, as they show every route.
    All,
    /// `/livez`, `/readyz` and `/metrics`: for probes and scrapers.
    Observe,
}

/// An address on which nobody can listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {pages}")]
pub struct ListenError {
    address: SocketAddr,
    pages: Pages,
    source: std::io::Error,
}

/// A port that is open for the admin server.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    pages: Pages,
}

impl Listening {
    /// Opens the port. Port 0 takes any.
    pub async fn open(address: SocketAddr, pages: Pages) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, pages, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, pages })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Admin {
    /// Over this knowledge.
    pub fn new(overview: Overview, metrics: Arc<Metrics>) -> Self {
        Self { overview, metrics, pod: None }
    }

    /// Answers other pods too, under the name of this one.
    pub fn answering_as(self, pod: String) -> Self {
        Self { pod: Some(pod.into()), ..self }
    }

    /// Serves until it is dropped.
    pub async fn serve(self, Listening { listener, pages, address }: Listening) {
        tracing::info!(%address, "{} listening on {address}", pages.flag());
        let (mut connections, mut oldest) = (JoinSet::new(), VecDeque::new());
        loop {
            let accepted = tokio::select! {
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    oldest.push_back(connections.spawn(self.clone().serve_one(stream, pages)));
                    oldest.retain(|connection| !connection.is_finished());
                    if oldest.len() > MAX_CONNECTIONS {
                        oldest.drain(..1).for_each(|connection| connection.abort());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "an admin connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_one(self, stream: TcpStream, pages: Pages) {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let admin = self.clone();
            async move {
                Ok::<_, Infallible>(match admin.pod.clone() {
                    Some(pod) if request.uri().path() == PEERS => admin.answer_peer(&pod, request).await,
                    _ if pages == Pages::All && request.uri().path() == EXPLAIN => {
                        admin.explain(request).await
                    }
                    _ => admin.answer(pages, request.method(), request.uri().path()).await,
                })
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
        let answered = server.serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(CONNECTION, answered).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
            Err(_) => tracing::debug!("an admin connection took too long"),
        }
    }

    async fn answer(self, pages: Pages, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let Some(page) = Page::at(path).filter(|page| page.is_among(pages)) else {
            return response(StatusCode::NOT_FOUND, TEXT, format!("there is nothing at {path}\n"));
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        // Decoding the snapshot of a large cluster takes longer than proxies should wait.
        let made = tokio::task::spawn_blocking(move || self.page(page)).await;
        made.unwrap_or_else(|error| response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")))
    }

    async fn answer_peer(self, pod: &str, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let question = match question(request, held::MAX_BODY).await {
            Ok(question) => question,
            Err(refusal) => return refusal,
        };
        match serde_json::to_string(&held::held(&self.overview, pod, &question)) {
            Ok(answer) => response(StatusCode::OK, JSON, answer),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        }
    }

    /// Says what would become of a request.
    async fn explain(self, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let question = match question(request, MAX_QUESTION).await {
            Ok(question) => question,
            Err(refusal) => return refusal,
        };
        let explained = tokio::task::spawn_blocking(move || self.overview.explain(question)).await;
        match explained {
            Ok(Ok(explanation)) => response(StatusCode::OK, JSON, explanation.json() + "\n"),
            Ok(Err(malformed)) => response(StatusCode::BAD_REQUEST, TEXT, format!("{malformed}\n")),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        }
    }

    fn page(&self, page: Page) -> Response<Full<Bytes>> {
        let json = |value: serde_json::Value| response(StatusCode::OK, JSON, format!("{value:#}\n"));
        match page {
            Page::Live => response(StatusCode::OK, TEXT, "ok\n".into()),
            Page::Ready if self.overview.ready() => response(StatusCode::OK, TEXT, "ok\n".into()),
            Page::Ready => {
                let text = "nothing is published yet: the objects are not complete\n";
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, text.into())
            }
            Page::Metrics => {
                self.metrics.set(&self.overview.levels());
                match self.metrics.text() {
                    Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
                    Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
                }
            }
            Page::Routes => json(self.overview.routes()),
            Page::Objects => json(self.overview.objects()),
            Page::Diagnostics => match serde_json::to_value(self.overview.findings()) {
                Ok(value) => json(value),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Page {
    Live,
    Ready,
    Metrics,
    Routes,
    Objects,
    Diagnostics,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/routes" => Self::Routes,
            "/api/objects" => Self::Objects,
            "/api/diagnostics" => Self::Diagnostics,
            _ => return None,
        })
    }

    fn is_among(self, pages: Pages) -> bool {
        match self {
            Self::Live | Self::Ready | Self::Metrics => true,
            Self::Routes | Self::Objects | Self::Diagnostics => pages == Pages::All,
        }
    }
}

impl Pages {
    /// The flag that names the address.
    fn flag(self) -> &'static str {
        match self {
            Self::All => "admin",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "the admin server",
            Self::Observe => "probes and metrics",
        })
    }
}

/// The question that a request has in its body, or the answer to one that has none.
async fn question<Q: serde::de::DeserializeOwned>(
    request: Request<hyper::body::Incoming>,
    longest: usize,
) -> Result<Q, Response<Full<Bytes>>> {
    if request.method() != Method::POST {
        return Err(not_allowed("POST"));
    }
    let refused = |error: String| response(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n"));
    let body = Limited::new(request.into_body(), longest).collect();
    let body = match tokio::time::timeout(HEAD, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(refused(error.to_string())),
        Err(_) => return Err(refused("the question did not come in time".into())),
    };
    serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("only {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
