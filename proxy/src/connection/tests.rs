//! Whole connections over sockets: redirects, rewrites, hashing, records, and what upstreams do to an endpoint.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Once;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use snapshot::frame::Generation;
use snapshot::{
    Balance, Condition, Endpoint, Endpoints, HashPart, Host, HostPattern, Key, ObjectRef, PathMatch,
    PathRewrite, Redirect, RouteId, Section, Slice, Snapshot, UpstreamId, ValueMatch, WeightedUpstream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::feed::FeedState;
use crate::http::Pool;
use crate::table::Table;
use crate::telemetry::Telemetry;
use crate::worker::Shared;

const HOST: &str = "app.test";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A proxy on this thread, with one host.
struct World {
    home: Arc<Home>,
    listener: TcpListener,
}

impl World {
    /// Its routes, and the endpoints of the upstream that they lead to.
    async fn new(routes: Vec<snapshot::Route>, endpoints: &[SocketAddr]) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let generation = Generation { epoch: 1, number: 1 };
        let snapshot = snapshot(routes, endpoints);
        let empty = Table::empty(provider);
        let (table, quarantined) = Table::build(generation, snapshot, &empty, SystemTime::now());
        assert!(quarantined.is_empty(), "{quarantined:?}");
        table.install();
        let table = Arc::new(ArcSwap::from_pointee(table));
        let shared = Shared {
            table,
            telemetry: Telemetry::new(),
            passwords: crate::auth::Passwords::new(),
            names: crate::auth::Names::default(),
            auth_tls: crate::upstream_tls::public(Arc::new(aws_lc_rs::default_provider()), []).unwrap(),
            public_http_port: 80,
            public_https_port: 443,
            leaving: CancellationToken::new(),
            ending: CancellationToken::new(),
        };
        let home = Home { shared: Arc::new(shared), tasks: TaskTracker::new(), pool: Pool::default() };
        Self { home: Arc::new(home), listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// A client's connection.
    async fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = self.listener.accept().await.unwrap();
        let arrival = Arrival { stream: stream.into_std().unwrap(), peer, listener: ListenerName::Http };
        self.home.tasks.spawn(serve(self.home.clone(), arrival));
        client
    }

    /// What comes back for one request on a connection of its own.
    async fn ask(&self, target: &str, lines: &str) -> String {
        let mut client = self.connect().await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{lines}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// An open tunnel.
    async fn tunnel(&self, target: &str) -> TcpStream {
        let mut client = self.connect().await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{HANDSHAKE}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        client
    }

    /// Waits until every connection and tunnel has ended.
    async fn over(&self) {
        self.home.tasks.close();
        self.home.tasks.wait().await;
    }

    fn metrics(&self) -> String {
        self.home.shared.telemetry.render(&self.home.shared.table.load_full(), &FeedState::default())
    }
}

fn upstream_id() -> UpstreamId {
    UpstreamId::endpoints("d", "s", "80")
}

fn snapshot(routes: Vec<snapshot::Route>, endpoints: &[SocketAddr]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = Key::Host(HostPattern::Exact(HOST.into()));
    snapshot.insert(key, &Section::Host(Host { tls: None, routes }));
    let ready =
        |address: &SocketAddr| Endpoint { address: *address, ready: true, terminating: false, pod: None };
    let mut endpoints: Vec<_> = endpoints.iter().map(ready).collect();
    endpoints.sort();
    let key = Key::Endpoints(upstream_id(), Slice("one".into()));
    snapshot.insert(key, &Section::Endpoints(Endpoints { endpoints }));
    // Whoever asks comes from here, and so is believed.
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let listener = snapshot::Listener { trusted_proxies, ..snapshot::Listener::default() };
    snapshot.insert(Key::Listener(ListenerName::Http), &Section::Listener(listener));
    snapshot
}

fn route(path: &str, change: impl FnOnce(&mut snapshot::Route)) -> snapshot::Route {
    let owner = ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: "i".into() };
    let id = RouteId { owner, rule: HOST.into(), matched: path.into() };
    let action =
        snapshot::Action::Forward(vec![WeightedUpstream { upstream: upstream_id(), weight: 1 }].into());
    let mut route = snapshot::Route::new(id, PathMatch::Prefix(path.into()), action);
    change(&mut route);
    route
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// An upstream that answers every request with the head that it got, and its own port; handshakes it accepts.
struct Mirror {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Mirror {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(mirror(stream, address.port()));
            }
        });
        Self { address, tasks }
    }
}

async fn mirror(mut stream: TcpStream, port: u16) {
    let head = read_head(&mut stream).await;
    if head.contains("Upgrade: websocket") {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket";
        let answer =
            format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the other side ends.
        let _ = stream.read(&mut [0]).await;
        return;
    }
    let body = format!("{head}port {port}");
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A port of this machine where nobody listens, and nobody else will while it is held.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[tokio::test]
async fn requests_in_the_clear_are_redirected_where_the_route_says_so() {
    let mirror = Mirror::start().await;
    let redirecting = |path: &str, redirect| route(path, |route| route.redirect = redirect);
    let closed = |route: &mut snapshot::Route| {
        route.redirect = Redirect::Always;
        route.action = snapshot::Action::Broken("closed".into());
    };
    let routes = vec![
        redirecting("/always", Redirect::Always),
        redirecting("/certificate", Redirect::WithCertificate),
        redirecting("/never", Redirect::Never),
        redirecting("/.well-known/acme-challenge", Redirect::Always),
        route("/closed", closed),
    ];
    let world = World::new(routes, &[mirror.address]).await;
    for (target, lines, found) in [
        ("/always/x?y", "", "308"),
        ("/always", HANDSHAKE, "308"),
        ("/always", "X-Forwarded-Proto: http\r\n", "308"),
        ("/always", "X-Forwarded-Proto: ws\r\n", "308"),
        // Whatever terminates TLS in front of us says so, and would be sent round in circles.
        ("/always", "X-Forwarded-Proto: https\r\n", "200"),
        ("/always", "X-Forwarded-Proto: WSS\r\n", "200"),
        ("/always", "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", "308"),
        ("/closed", "", "308"),
        // No certificate is there yet.
        ("/certificate", "", "200"),
        ("/never", "", "200"),
        ("/.well-known/acme-challenge/token", "", "200"),
        ("/.well-known/acme-challenge/../acme-challenge-not", "", "404"),
        ("/nothing/here", "", "404"),
    ] {
        let answer = world.ask(target, lines).await;
        assert_eq!(status(&answer), found, "{target} {lines}: {answer}");
        if found == "308" {
            assert!(answer.contains(&format!("Location: https://{HOST}{target}\r\n")), "{answer}");
        }
    }
    drop(mirror.tasks);
}

#[tokio::test]
async fn an_upstream_gets_the_rewritten_target_and_host() {
    let mirror = Mirror::start().await;
    let rewriting = |route: &mut snapshot::Route| {
        route.rewrite.path = Some(PathRewrite::Prefix("/".into()));
        route.rewrite.host = Some("inner.test".into());
    };
    let recorder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = World::new(vec![route("/app", rewriting)], &[mirror.address]).await;
    let answer = plain.ask("/app/x%2Fy?z=/app", "").await;
    let told = format!("X-Forwarded-Host: {HOST}\r\n");
    assert!(answer.contains("\r\n\r\nGET /x%2Fy?z=/app HTTP/1.1\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nhost: inner.test\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains(&told.to_lowercase()), "{answer}");

    let upgrading = World::new(vec![route("/app", rewriting)], &[recorder.local_addr().unwrap()]).await;
    let mut client = upgrading.connect().await;
    let request = format!("GET /app?z HTTP/1.1\r\nHost: {HOST}\r\n{HANDSHAKE}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut recorder.accept().await.unwrap().0).await;
    assert!(head.starts_with("GET /?z HTTP/1.1\r\nHost: inner.test\r\n"), "{head}");
    assert!(head.contains(&told), "{head}");
}

#[tokio::test]
async fn conditions_lead_handshakes_and_requests() {
    let mirror = Mirror::start().await;
    let blue = Condition { name: "x-tenant".into(), value: ValueMatch::Exact("blue".into()) };
    let closed = |route: &mut snapshot::Route| {
        route.conditions.headers = vec![blue];
        route.action = snapshot::Action::Broken("Secret d/passwords is missing".into());
    };
    let world = World::new(vec![route("/a", closed), route("/", |_| {})], &[mirror.address]).await;
    assert_eq!(status(&world.ask("/a", "X-Tenant: green\r\n").await), "200");
    for lines in ["X-Tenant: blue\r\n".to_owned(), format!("{HANDSHAKE}X-TENANT: blue\r\n")] {
        let answer = world.ask("/a", &lines).await;
        assert_eq!(status(&answer), "503");
        assert!(answer.contains("Proxy-Status: longhaul; error=proxy_configuration_error\r\n"), "{answer}");
        assert!(!answer.contains("passwords"), "no stranger's business: {answer}");
    }
}

#[tokio::test]
async fn the_same_key_leads_to_the_same_endpoint_for_tunnels_and_requests() {
    let (first, second, third) = tokio::join!(Mirror::start(), Mirror::start(), Mirror::start());
    let addresses = [first.address, second.address, third.address];
    let hashing = |route: &mut snapshot::Route| {
        route.balance = Balance::ConsistentHash(vec![HashPart::ClientAddress]);
    };
    let world = World::new(vec![route("/", hashing)], &addresses).await;
    let mut owners = BTreeSet::new();
    for client in 0..40 {
        let lines = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        let port = |answer: &str| answer.rsplit(' ').next().unwrap().to_owned();
        let (one, two) = (world.ask("/a", &lines).await, world.ask("/b", &lines).await);
        assert_eq!((status(&one), port(&one)), ("200", port(&two)), "{one}");
        owners.insert(port(&one));
    }
    assert_eq!(owners.len(), 3, "{owners:?}");
}

#[tokio::test]
async fn an_owner_that_is_not_there_is_ejected_and_counted() {
    let (mirror, gone, gone_too) = (Mirror::start().await, nobody(), nobody());
    let hashing = |route: &mut snapshot::Route| {
        route.balance = Balance::ConsistentHash(vec![HashPart::Path]);
    };
    let world = World::new(vec![route("/", hashing)], &[mirror.address, gone.1, gone_too.1]).await;
    for number in 0..30 {
        let answer = world.ask(&format!("/{number}"), "").await;
        assert_eq!(status(&answer), "200", "the next in the key's order takes it");
    }
    let metrics = world.metrics();
    for line in [
        "longhaul_endpoint_ejections_total 1\n",
        "longhaul_endpoints{state=\"ejected\"} 1\n",
        "longhaul_endpoints{state=\"ready\"} 2\n",
        "longhaul_endpoints{state=\"waiting\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
}

thread_local! {
    /// What was logged by this thread, which is one test's.
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For the whole process: tracing remembers whether anybody listens, whichever thread came by first.
fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
}

fn access_records() -> Vec<String> {
    let text = LOGGED.with_borrow(|logged| String::from_utf8(logged.clone()).unwrap());
    text.lines().filter(|line| line.contains("longhaul::access")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_silent_route_is_counted_and_not_recorded() {
    listen_to_the_log();
    let mirror = Mirror::start().await;
    let silent = |route: &mut snapshot::Route| route.access_log = false;
    let silent_and_closed = |route: &mut snapshot::Route| {
        route.access_log = false;
        route.action = snapshot::Action::Broken("closed".into());
    };
    let routes = vec![route("/silent", silent), route("/closed", silent_and_closed), route("/told", |_| {})];
    let world = World::new(routes, &[mirror.address]).await;
    for (target, found) in [("/silent", "200"), ("/closed", "503"), ("/told", "200"), ("/nowhere", "404")] {
        assert_eq!(status(&world.ask(target, "").await), found);
    }
    for target in ["/silent/ws", "/told/ws"] {
        drop(world.tunnel(target).await);
    }
    world.over().await;
    let lines = access_records();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("/silent") && !line.contains("/closed")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("kind=\"tunnel\"") && line.contains("/told/ws")));
    let metrics = world.metrics();
    for line in [
        "longhaul_requests_total{status=\"200\"} 2\n",
        "longhaul_refusals_total{reason=\"proxy_configuration_error\"} 1\n",
        "longhaul_tunnels_closed_total{reason=\"client_closed\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
}
