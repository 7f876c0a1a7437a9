//! What the proxy tells: Prometheus metrics, and one access record for each tunnel at its end and each plain request.
//!
//! Labels are bounded: by enums here, by the snapshot for certificates. Nothing is counted per client or path.
//! Records carry no secrets: query values that are credentials are cut out ([`redact`]), fields that carry them are
//! never looked at.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use snapshot::RouteId;
use tokio::time::Instant;

use crate::close::{CloseReason, Side};
use crate::feed::FeedState;
use crate::table::Table;
use crate::upstream::Census;

pub mod redact;

/// A path kept for a record is no longer than this.
const KEPT_PATH: usize = 128;

type Labelled<L> = Family<L, Counter>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct From {
    from: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Secret {
    namespace: String,
    secret: String,
}

/// Every metric of the proxy.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    tunnels_open: Gauge,
    tunnels_opened: Counter,
    tunnels_closed: Labelled<Reason>,
    bytes: [Counter; 2],
    messages: [Counter; 2],
    handshake_seconds: Histogram,
    requests: Labelled<Status>,
    refusals: Labelled<Reason>,
    tls_handshakes: Labelled<Outcome>,
    proxy_headers: Labelled<Outcome>,
    upstream_tls: Labelled<Outcome>,
    connect_failures: Counter,
    ejections: Counter,
    endpoints: Family<State, Gauge>,
    connections_open: Gauge,
    connections: Counter,
    accept_pauses: Counter,
    generation: Gauge,
    hosts: Gauge,
    tables: Gauge,
    controller_connected: Gauge,
    generations: Labelled<Outcome>,
    quarantined: Gauge,
    certificate_expiry: Family<Secret, Gauge>,
    certificates_expired: Gauge,
    resident_bytes: Gauge<u64, AtomicU64>,
    descriptors: Gauge,
}

/// Whether access records are written for a route. Metrics count in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One for each tunnel and each request.
    Written,
    /// None.
    Silent,
}

/// What an access record says of a tunnel from its beginning on; kept small, since it lives as long as the tunnel.
#[derive(Debug)]
pub struct TunnelRecord {
    /// IPv4 as its mapped form.
    client: [u8; 16],
    /// Microseconds since the process began to count.
    opened: u64,
    /// Host, redacted path (which begins with the first slash), a space (which is in none of them), request id. Empty
    /// where no record is to be written: that takes no memory.
    text: Box<str>,
}

/// What is known of a tunnel at its end. Pairs are from the client, from the upstream.
#[derive(Debug)]
pub struct TunnelSummary<'a> {
    /// From its beginning.
    pub record: &'a TunnelRecord,
    /// The client came over TLS.
    pub tls: bool,
    /// The route that it came in by.
    pub route: Option<&'a RouteId>,
    /// Where it led.
    pub endpoint: SocketAddr,
    /// Why it ended.
    pub reason: CloseReason,
    /// The close code that was seen or sent; `None` where a connection just ended.
    pub code: Option<u16>,
    /// Bytes that were passed on.
    pub bytes: [u64; 2],
    /// Messages that were passed on whole.
    pub messages: [u64; 2],
    /// A side broke WebSocket framing.
    pub framing_broken: bool,
}

/// What is known of a plain request, or of one that was refused, at its end.
#[derive(Debug)]
pub struct RequestSummary<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Came over TLS.
    pub tls: bool,
    /// As the request has it.
    pub method: &'a str,
    /// The host as it was matched.
    pub host: &'a str,
    /// Path and query as the request has them.
    pub target: &'a str,
    /// The request id.
    pub id: &'a str,
    /// The route, where there was one.
    pub route: Option<&'a RouteId>,
    /// The endpoint, where one was reached.
    pub endpoint: Option<SocketAddr>,
    /// The answer.
    pub status: u16,
    /// Why it was refused: an error type of RFC 9209 §2.3.
    pub refusal: Option<&'static str>,
    /// Bytes of the response body.
    pub sent: u64,
    /// Since the head was read.
    pub took: Duration,
    /// Whether its record is written.
    pub access_log: AccessLog,
}

impl TunnelRecord {
    /// Takes what is kept of a handshake.
    pub fn new(client: IpAddr, host: &str, target: &str, id: &str) -> Self {
        let path = redact::target(target);
        let path = &path[..path.floor_char_boundary(KEPT_PATH)];
        let text = [host, path, " ", id].concat().into_boxed_str();
        let client = match client {
            IpAddr::V4(client) => client.to_ipv6_mapped().octets(),
            IpAddr::V6(client) => client.octets(),
        };
        Self { client, opened: now_micros(), text }
    }

    /// That of a tunnel of which no record is written.
    pub fn silent() -> Self {
        Self { client: [0; 16], opened: 0, text: Box::default() }
    }

    /// Host, path and request id, where a record is written.
    fn parts(&self) -> Option<(&str, &str, &str)> {
        let (target, id) = self.text.split_once(' ')?;
        let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
        Some((host, path, id))
    }
}

impl Telemetry {
    /// All metrics at zero.
    pub fn new() -> Arc<Self> {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let mut new = Self {
            registry: Registry::with_prefix("longhaul"),
            tunnels_open: Gauge::default(),
            tunnels_opened: Counter::default(),
            tunnels_closed: Family::default(),
            bytes: Default::default(),
            messages: Default::default(),
            handshake_seconds: Histogram::new(buckets),
            requests: Family::default(),
            refusals: Family::default(),
            tls_handshakes: Family::default(),
            proxy_headers: Family::default(),
            upstream_tls: Family::default(),
            connect_failures: Counter::default(),
            ejections: Counter::default(),
            endpoints: Family::default(),
            connections_open: Gauge::default(),
            connections: Counter::default(),
            accept_pauses: Counter::default(),
            generation: Gauge::default(),
            hosts: Gauge::default(),
            tables: Gauge::default(),
            controller_connected: Gauge::default(),
            generations: Family::default(),
            quarantined: Gauge::default(),
            certificate_expiry: Family::default(),
            certificates_expired: Gauge::default(),
            resident_bytes: Gauge::default(),
            descriptors: Gauge::default(),
        };
        for reason in CloseReason::LABELS {
            drop(new.tunnels_closed.get_or_create(&Reason { reason }));
        }
        new.register_traffic();
        new.register_state();
        Arc::new(new)
    }

    fn register_traffic(&mut self) {
        let (bytes, messages) = (Labelled::<From>::default(), Labelled::<From>::default());
        for side in [Side::Client, Side::Upstream] {
            let from = || From { from: label(side) };
            self.bytes[side.index()] = bytes.get_or_create(&from()).clone();
            self.messages[side.index()] = messages.get_or_create(&from()).clone();
        }
        let registry = &mut self.registry;
        registry.register("tunnels_open", "Tunnels that are open now", self.tunnels_open.clone());
        registry.register("tunnels_opened", "Tunnels that were opened", self.tunnels_opened.clone());
        registry.register(
            "tunnels_closed",
            "Tunnels that ended, by close reason",
            self.tunnels_closed.clone(),
        );
        registry.register("tunnel_bytes", "Bytes passed on in tunnels, by the side they came from", bytes);
        registry.register(
            "tunnel_messages",
            "WebSocket messages passed on whole, by the side they came from",
            messages,
        );
        registry.register(
            "handshake_seconds",
            "From a WebSocket handshake's head to its 101",
            self.handshake_seconds.clone(),
        );
        registry.register("requests", "Plain requests answered, by status", self.requests.clone());
        registry.register(
            "refusals",
            "Requests and handshakes that the proxy itself refused, by Proxy-Status error (RFC 9209)",
            self.refusals.clone(),
        );
        registry.register("tls_handshakes", "TLS handshakes, by result", self.tls_handshakes.clone());
        registry.register(
            "proxy_headers",
            "Connections that a load balancer has to announce by the PROXY protocol, by result",
            self.proxy_headers.clone(),
        );
        registry.register(
            "upstream_tls_handshakes",
            "TLS handshakes with upstreams and authentication services, by result",
            self.upstream_tls.clone(),
        );
        registry.register(
            "upstream_connect_failures",
            "Attempts to reach an endpoint that failed",
            self.connect_failures.clone(),
        );
        registry.register(
            "endpoint_ejections",
            "Times that an endpoint was left out for a while since connecting to it kept failing",
            self.ejections.clone(),
        );
    }

    fn register_state(&mut self) {
        let registry = &mut self.registry;
        let open = self.connections_open.clone();
        registry.register("connections_open", "Client connections that are no tunnels (yet)", open);
        registry.register("connections", "Client connections that were accepted", self.connections.clone());
        registry.register(
            "accept_pauses",
            "Times that accepting paused for want of file descriptors",
            self.accept_pauses.clone(),
        );
        registry.register(
            "table_generation",
            "Generation of the table that is served",
            self.generation.clone(),
        );
        registry.register("table_hosts", "Hosts in the table that is served", self.hosts.clone());
        registry.register(
            "endpoints",
            "Endpoints of all upstreams, by state: ready, ejected for now, terminating, or waiting to be ready",
            self.endpoints.clone(),
        );
        registry.register("tables", "Tables in memory: 1, and 2 for moments", self.tables.clone());
        registry.register(
            "controller_connected",
            "1 while the controller is connected",
            self.controller_connected.clone(),
        );
        registry.register("generations", "Generations received, by result", self.generations.clone());
        registry.register(
            "quarantined_sections",
            "Sections of the snapshot that are not served as received",
            self.quarantined.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since the Unix epoch",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "certificates_expired",
            "Certificates that have expired and are served for want of better ones",
            self.certificates_expired.clone(),
        );
        registry.register("resident_memory_bytes", "Resident memory", self.resident_bytes.clone());
        registry.register("open_file_descriptors", "Open file descriptors", self.descriptors.clone());
    }

    /// The metrics as OpenMetrics text, with those that are looked up at this moment.
    pub fn render(&self, table: &Table, feed: &FeedState) -> String {
        self.generation.set(table.generation().number.cast_signed());
        self.hosts.set(count(table.hosts()));
        self.tables.set(count(table.alive()));
        self.controller_connected.set(i64::from(feed.connected));
        self.quarantined.set(count(feed.quarantined));
        for (result, count) in [("applied", feed.applied), ("refused", feed.refused)] {
            let counter = self.generations.get_or_create_owned(&Outcome { result });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        let Census { ready, ejected, terminating, waiting } = table.endpoints(Instant::now());
        let states =
            [("ready", ready), ("ejected", ejected), ("terminating", terminating), ("waiting", waiting)];
        for (state, number) in states {
            self.endpoints.get_or_create_owned(&State { state }).set(count(number));
        }
        self.certificate_expiry.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let has_expired = |expiry: i64| u64::try_from(expiry).is_ok_and(|expiry| expiry <= now);
        let expired = table.certificates().filter(|(_, expiry)| has_expired(*expiry));
        self.certificates_expired.set(count(expired.count()));
        for (key, expiry) in table.certificates() {
            let label = Secret { namespace: key.namespace.clone(), secret: key.secret.clone() };
            self.certificate_expiry.get_or_create(&label).set(expiry);
        }
        self.resident_bytes.set(resident_bytes().unwrap_or(0));
        self.descriptors.set(std::fs::read_dir("/proc/self/fd").map_or(0, |fds| count(fds.count())));
        let mut text = String::new();
        if text::encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the metrics could not be written");
        }
        text
    }

    /// Tunnels that are open now.
    pub fn open_tunnels(&self) -> u64 {
        self.tunnels_open.get().max(0).cast_unsigned()
    }

    pub(crate) fn connection_accepted(&self) {
        self.connections.inc();
    }

    /// A client connection is open until the guard is dropped.
    pub(crate) fn connection_open(&self) -> OpenConnection {
        self.connections_open.inc();
        OpenConnection(self.connections_open.clone())
    }

    pub(crate) fn accept_paused(&self) {
        self.accept_pauses.inc();
    }

    pub(crate) fn proxy_header(&self, result: &'static str) {
        self.proxy_headers.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn tls_handshake(&self, result: &'static str) {
        self.tls_handshakes.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn upstream_tls_handshake(&self, result: &'static str) {
        self.upstream_tls.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn connect_failed(&self) {
        self.connect_failures.inc();
    }

    pub(crate) fn endpoint_ejected(&self) {
        self.ejections.inc();
    }

    pub(crate) fn handshake_done(&self, took: Duration) {
        self.handshake_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn tunnel_opened(&self) {
        self.tunnels_open.inc();
        self.tunnels_opened.inc();
    }

    pub(crate) fn relayed(&self, from: Side, bytes: u64, messages: u64) {
        self.bytes[from.index()].inc_by(bytes);
        self.messages[from.index()].inc_by(messages);
    }

    /// A tunnel ended: counts it and writes its access record, if it has one.
    pub(crate) fn tunnel_closed(&self, summary: &TunnelSummary<'_>) {
        self.tunnels_open.dec();
        self.tunnels_closed.get_or_create(&Reason { reason: summary.reason.label() }).inc();
        let Some((host, path, id)) = summary.record.parts() else { return };
        tracing::info!(
            target: "longhaul::access",
            kind = "tunnel",
            client = %IpAddr::from(summary.record.client).to_canonical(),
            scheme = if summary.tls { "wss" } else { "ws" },
            host,
            path,
            id,
            route = summary.route.map(tracing::field::display),
            endpoint = %summary.endpoint,
            reason = summary.reason.label(),
            initiator = summary.reason.initiator(),
            code = summary.code,
            seconds = (now_micros() - summary.record.opened) as f64 / 1e6,
            bytes_from_client = summary.bytes[0],
            bytes_from_upstream = summary.bytes[1],
            messages_from_client = summary.messages[0],
            messages_from_upstream = summary.messages[1],
            framing_broken = summary.framing_broken,
            "tunnel closed"
        );
    }

    /// A plain request was answered, or anything refused: counts it and writes its access record, if it has one.
    pub(crate) fn request_done(&self, summary: &RequestSummary<'_>) {
        match summary.refusal {
            Some(reason) => drop(self.refusals.get_or_create_owned(&Reason { reason }).inc()),
            None => drop(self.requests.get_or_create_owned(&Status { status: summary.status }).inc()),
        }
        if summary.access_log == AccessLog::Silent {
            return;
        }
        tracing::info!(
            target: "longhaul::access",
            kind = "request",
            client = %summary.client,
            scheme = if summary.tls { "https" } else { "http" },
            method = summary.method,
            host = summary.host,
            path = redact::target(summary.target).as_ref(),
            id = summary.id,
            route = summary.route.map(tracing::field::display),
            endpoint = summary.endpoint.map(tracing::field::display),
            status = summary.status,
            refusal = summary.refusal,
            seconds = summary.took.as_secs_f64(),
            bytes = summary.sent,
            "request done"
        );
    }
}

/// Counts a connection as open.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// Half the size of an `Instant`, which every tunnel would keep.
fn now_micros() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed().as_micros() as u64
}

fn label(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Upstream => "upstream",
    }
}

/// Resident memory of this process (proc(5), statm: the second number, in pages).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_it_keeps() {
        let long = format!("/{}", "x".repeat(300));
        for (host, target, path) in [
            ("a.test", "/", "/"),
            ("[::1]", "/ws/room?token=secret&v=1", "/ws/room?token=-&v=1"),
            ("a.test", &long, &long[..KEPT_PATH]),
        ] {
            let record = TunnelRecord::new("127.0.0.1".parse().unwrap(), host, target, "id-1");
            assert_eq!(record.parts(), Some((host, path, "id-1")));
        }
        let silent = TunnelRecord::silent();
        assert_eq!((silent.parts(), silent.text.len()), (None, 0));
    }
}
