//! The admin server: probes, metrics, and what the controller knows, as JSON.
//!
//! | path | answers |
//! | --- | --- |
//! | `/livez` | 200 while the process runs. Nothing outside the process fails it |
//! | `/readyz` | 200 once a generation is published, 503 before |
//! | `/metrics` | OpenMetrics text |
//! | `/api/routes` | the snapshot that is published, keys redacted, and which generation each proxy serves |
//! | `/api/objects` | each Ingress and WsRoute: where it stands, its conditions, its conflicts |
//! | `/api/diagnostics` | everything that is wrong or worth knowing, with file and line where known |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::overview::Overview;

/// The most connections at once.
const MAX_CONNECTIONS: usize = 128;

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long accepting rests after the system refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers requests.
#[derive(Clone, Debug)]
pub struct Admin {
    overview: Overview,
    metrics: Arc<Metrics>,
}

/// An address on which nobody can listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for the admin server")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens the admin server's port.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Admin {
    /// Over this knowledge.
    pub fn new(overview: Overview, metrics: Arc<Metrics>) -> Self {
        Self { overview, metrics }
    }

    /// Serves until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            };
            match accepted {
                Ok((stream, _)) => drop(connections.spawn(self.clone().serve_one(stream))),
                Err(error) => {
                    tracing::warn!(%error, "an admin connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_one(self, stream: TcpStream) {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request.method(), request.uri().path()).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "an admin connection broke");
        }
    }

    async fn answer(self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let Some(page) = Page::at(path) else {
            return response(StatusCode::NOT_FOUND, TEXT, format!("there is nothing at {path}\n"));
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        // Decoding the snapshot of a large cluster takes longer than proxies should wait.
        let made = tokio::task::spawn_blocking(move || self.page(page)).await;
        made.unwrap_or_else(|error| response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")))
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
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
