//! The admin server: is the proxy alive, does it take traffic, what does it count.
//!
//! | path | 200 while |
//! | --- | --- |
//! | `/livez` | every thread turns, or the proxy leaves: see [`Admin::live`] |
//! | `/readyz` | there is a table and connections are accepted, until draining begins |
//! | `/healthz/lb` | as `/readyz`, until the proxy is told to leave |
//! | `/metrics` | always: OpenMetrics text |
//!
//! Whoever is slow holds up nobody: a connection is for one request and lasts [`CONNECTION`] at most, and where there
//! are [`CONNECTIONS`] the oldest goes. A probe that is not answered would cost every tunnel.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::drain::Phase;
use crate::feed::FeedState;
use crate::pulse::Standstill;
use crate::table::Table;
use crate::telemetry::Telemetry;

/// Admin connections at one time.
const CONNECTIONS: usize = 64;

/// The longest that one lasts, answer and all.
const CONNECTION: Duration = Duration::from_mins(1);

/// After a thread has stood still for so many ticks of the vigil, the proxy is not fit for new connections …
const UNFIT: u32 = 20;

/// … and after so many it is dead.
const DEAD: u32 = 60;

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
    /// Whether threads stand still.
    pub standstill: watch::Receiver<Standstill>,
}

impl Admin {
    /// Serves until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let (mut connections, mut oldest) = (JoinSet::new(), VecDeque::new());
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: one of ours that ends may free one.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let admin = self.clone();
            oldest.push_back(connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = admin.respond(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).keep_alive(false);
                // A scraper that goes away in the middle is its own business.
                let _ = timeout(CONNECTION, http.serve_connection(TokioIo::new(stream), service)).await;
            }));
            oldest.retain(|connection: &AbortHandle| !connection.is_finished());
            if oldest.len() > CONNECTIONS {
                oldest.drain(..1).for_each(|connection| connection.abort());
            }
        }
    }

    /// Whether the proxy is beyond help but by a restart: a thread of it has stood still while its main thread got
    /// round more than [`DEAD`] times, a good minute at the least.
    ///
    /// A false alarm would close every tunnel, so this errs towards life. Time does not count but only what others of
    /// the same process got done (see [`pulse`](crate::pulse)): a pod without processor time for a minute, frozen or
    /// throttled, is alive. No controller, no table and no load fail it, nor does a proxy that leaves: it ends by
    /// itself, politely. Where even the main thread stands still there is no answer, which probes count by themselves:
    /// so they should ask for longer than that minute, too, before they give up.
    fn live(&self) -> Result<(), String> {
        let standstill = self.standstill.borrow();
        if standstill.ticks <= DEAD || *self.phase.borrow() > Phase::Serving {
            return Ok(());
        }
        Err(format!(
            "{} has stood still for {} s while others went on\n",
            standstill.thread, standstill.ticks
        ))
    }

    /// Whether new connections are accepted and led somewhere.
    fn ready(&self) -> Result<(), String> {
        let standstill = self.standstill.borrow();
        if !*self.ready.borrow() {
            Err("no routes received yet\n".into())
        } else if *self.phase.borrow() >= Phase::Draining {
            Err("draining\n".into())
        } else if standstill.ticks > UNFIT {
            Err(format!("{} stands still\n", standstill.thread))
        } else {
            Ok(())
        }
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match request.uri().path() {
            "/livez" => judged(self.live()),
            "/healthz/lb" if *self.phase.borrow() > Phase::Serving => judged(Err("leaving\n".into())),
            "/readyz" | "/healthz/lb" => judged(self.ready()),
            "/metrics" => {
                let text = self.telemetry.render(&self.table.load_full(), &self.feed.borrow());
                answer(StatusCode::OK, OPEN_METRICS, text)
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /livez, /readyz, /healthz/lb and /metrics\n"),
        }
    }
}

fn judged(health: Result<(), String>) -> Response<Full<Bytes>> {
    match health {
        Ok(()) => plain(StatusCode::OK, "ok\n"),
        Err(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason),
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Setup {
        admin: Admin,
        ready: watch::Sender<bool>,
        phase: watch::Sender<Phase>,
        standstill: watch::Sender<Standstill>,
    }

    fn setup() -> Setup {
        let (ready, phase, standstill) =
            (watch::Sender::new(true), watch::Sender::default(), watch::Sender::default());
        let admin = Admin {
            telemetry: Telemetry::new(),
            table: Table::served_from(Arc::new(rustls::crypto::aws_lc_rs::default_provider())),
            feed: watch::Sender::default().subscribe(),
            ready: ready.subscribe(),
            phase: phase.subscribe(),
            standstill: standstill.subscribe(),
        };
        Setup { admin, ready, phase, standstill }
    }

    impl Setup {
        /// The answers of `/livez`, `/readyz` and `/healthz/lb`.
        fn health(&self) -> [u16; 3] {
            ["/livez", "/readyz", "/healthz/lb"].map(|path| {
                let request = Request::get(path).body(()).unwrap();
                self.admin.respond(&request).status().as_u16()
            })
        }

        fn stand_still(&self, ticks: u32) {
            self.standstill.send_replace(Standstill { thread: "worker-1".into(), ticks });
        }
    }

    #[test]
    fn a_life_without_trouble() {
        let setup = setup();
        setup.ready.send_replace(false);
        assert_eq!(setup.health(), [200, 503, 503], "before the first table");
        setup.ready.send_replace(true);
        assert_eq!(setup.health(), [200, 200, 200]);
        setup.phase.send_replace(Phase::Announcing);
        assert_eq!(setup.health(), [200, 200, 503], "still accepting");
        setup.phase.send_replace(Phase::Draining);
        assert_eq!(setup.health(), [200, 503, 503]);
    }

    #[test]
    fn a_thread_that_stands_still_costs_readiness_first_and_life_after_a_minute() {
        let setup = setup();
        for (ticks, health) in [
            (1, [200, 200, 200]),
            (20, [200, 200, 200]),
            (21, [200, 503, 503]),
            (60, [200, 503, 503]),
            (61, [503, 503, 503]),
            (0, [200, 200, 200]),
        ] {
            setup.stand_still(ticks);
            assert_eq!(setup.health(), health, "{ticks}");
        }
        setup.stand_still(1_000);
        for phase in [Phase::Announcing, Phase::Draining] {
            setup.phase.send_replace(phase);
            assert_eq!(setup.health(), [200, 503, 503], "who leaves is not killed for it");
        }
    }

    #[tokio::test]
    async fn a_probe_is_answered_however_many_hold_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(setup().admin.serve(listener));
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap();
        let mut text = String::new();
        probe.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("ok\n"), "{text}");
        // The oldest went for it, long before its time was over.
        let end = timeout(Duration::from_secs(5), held[0].read_u8()).await;
        end.expect("the connection ends").unwrap_err();
    }
}
