//! The admin server: is the proxy alive, does it take traffic, what does it count.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::drain::Phase;
use crate::feed::FeedState;
use crate::table::Table;
use crate::telemetry::Telemetry;

/// Admin connections at one time; further ones wait.
const CONNECTIONS: usize = 64;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the admin server looks at.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// The table of the moment.
    pub table: Arc<ArcSwap<Table>>,
    /// How the feed is doing.
    pub feed: watch::Receiver<FeedState>,
    /// Whether there is a table to serve from.
    pub ready: watch::Receiver<bool>,
    /// Where in its life the proxy is.
    pub phase: watch::Receiver<Phase>,
}

impl Admin {
    /// Serves until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= CONNECTIONS {
                connections.join_next().await;
            }
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: one of ours that ends may free one.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            let admin = self.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = admin.respond(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                // A scraper that goes away in the middle is its own business.
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        let phase = *self.phase.borrow();
        match request.uri().path() {
            "/livez" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => match (*self.ready.borrow(), phase < Phase::Draining) {
                (true, true) => plain(StatusCode::OK, "ok\n"),
                (false, _) => plain(StatusCode::SERVICE_UNAVAILABLE, "no routes received yet\n"),
                (true, false) => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            "/healthz/lb" => match (*self.ready.borrow(), phase) {
                (true, Phase::Serving) => plain(StatusCode::OK, "ok\n"),
                (false, _) => plain(StatusCode::SERVICE_UNAVAILABLE, "no routes received yet\n"),
                (true, _) => plain(StatusCode::SERVICE_UNAVAILABLE, "leaving\n"),
            },
            "/metrics" => {
                let text = self.telemetry.render(&self.table.load_full(), &self.feed.borrow());
                answer(StatusCode::OK, OPEN_METRICS, text)
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /livez, /readyz, /healthz/lb and /metrics\n"),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    answer(status, TEXT, text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
