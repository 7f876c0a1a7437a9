//! Tunnels over real sockets on loopback. Sweeps are made by hand, so that nothing waits for a clock.

use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use snapshot::Snapshot;
use snapshot::frame::Generation;
use tikv_jemalloc_ctl::thread::allocatedp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::frames::close_frame;
use crate::head::Head;
use crate::leg::TlsLeg;
use crate::table::{Action, Table};
use crate::upstream::{Way, choose};

const HOST: &str = "a.test";

/// A masked text frame of a client, an unmasked one of a server.
fn frame(masked: bool, fin: bool, text: &[u8]) -> Vec<u8> {
    let first = if fin { 0x81 } else { 0x01 };
    let mut out = vec![first, text.len() as u8 | if masked { 0x80 } else { 0 }];
    if masked {
        out.extend([0; 4]);
    }
    out.extend(text);
    out
}

fn route() -> (Arc<Live>, Picked) {
    let id = snapshot::UpstreamId::endpoints("d", "s", "80");
    let endpoint = snapshot::Endpoint {
        address: "127.0.0.1:1".parse().unwrap(),
        ready: true,
        terminating: false,
        pod: None,
    };
    let owner = snapshot::ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: "i".into() };
    let timeouts = snapshot::Timeouts {
        idle: snapshot::Millis(2_000),
        send: snapshot::Millis(3_000),
        ..snapshot::Timeouts::default()
    };
    let route = snapshot::Route {
        timeouts,
        ..snapshot::Route::new(
            snapshot::RouteId { owner, rule: HOST.into(), matched: "/".into() },
            snapshot::PathMatch::Prefix("/".into()),
            snapshot::Action::Forward(
                vec![snapshot::WeightedUpstream { upstream: id.clone(), weight: 1 }].into(),
            ),
        )
    };
    let mut sections = Snapshot::default();
    let host = snapshot::Host { tls: None, routes: vec![route] };
    let endpoints = snapshot::Endpoints { endpoints: vec![endpoint] };
    let slice = snapshot::Key::Endpoints(id, snapshot::Slice("s-1".into()));
    sections.insert(slice, &snapshot::Section::Endpoints(endpoints));
    let key = snapshot::Key::Host(snapshot::HostPattern::Exact(HOST.into()));
    sections.insert(key, &snapshot::Section::Host(host));
    let empty = Table::empty(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let generation = Generation { epoch: 1, number: 1 };
    let (table, quarantined) = Table::build(generation, sections, &empty, SystemTime::now());
    assert!(quarantined.is_empty());
    table.install();
    let route = table.select(&Head::get(HOST, "/"), [127, 0, 0, 1].into()).unwrap();
    let Action::Forward(forward) = &route.action else { panic!("the route forwards") };
    (route.live.clone(), choose(forward.backends(), Way::LeastConnections, &[], Instant::now()).unwrap())
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// A tunnel that runs on this thread, and the two peers' ends of it.
struct World {
    client: TcpStream,
    upstream: TcpStream,
    telemetry: Arc<Telemetry>,
    tunnels: JoinSet<()>,
    ended: oneshot::Receiver<()>,
}

impl World {
    async fn new() -> Self {
        Self::with_ahead([Bytes::new(), Bytes::new()]).await
    }

    async fn with_ahead(ahead: [Bytes; 2]) -> Self {
        let (client, outer) = connected().await;
        let (inner, upstream) = connected().await;
        let (tunnel, telemetry) = tunnel(Leg::Plain(outer), Leg::Plain(inner), ahead);
        let (tunnels, ended) = run(tunnel);
        // The peers see each other only after the tunnel has been polled, and so has entered the registry.
        Self { client, upstream, telemetry, tunnels, ended }
    }

    /// One message each way.
    async fn greet(&mut self) {
        for masked in [true, false] {
            let message = frame(masked, true, b"hello");
            let (from, to) = if masked {
                (&mut self.client, &mut self.upstream)
            } else {
                (&mut self.upstream, &mut self.client)
            };
            from.write_all(&message).await.unwrap();
            let mut got = vec![0; message.len()];
            to.read_exact(&mut got).await.unwrap();
            assert_eq!(got, message);
        }
    }

    async fn end(mut self, reason: &str) {
        self.ended.await.unwrap();
        self.tunnels.join_next().await.unwrap().unwrap();
        let table = Table::empty(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let metrics = self.telemetry.render(&table, &crate::feed::FeedState::default());
        let counted = format!("longhaul_tunnels_closed_total{{reason=\"{reason}\"}} 1\n");
        assert!(metrics.contains(&counted), "{metrics}");
        assert!(metrics.contains("longhaul_tunnels_open 0\n"), "{metrics}");
        assert_eq!(registry::count(), 0);
    }
}

fn tunnel(client: Leg, upstream: Leg, ahead: [Bytes; 2]) -> (Tunnel, Arc<Telemetry>) {
    let telemetry = Telemetry::new();
    let (live, picked) = route();
    let record = TunnelRecord::new("127.0.0.1".parse().unwrap(), HOST, "/", "id");
    let opening = Opening { live, picked, record, telemetry: telemetry.clone(), ahead };
    (Tunnel::new(client, upstream, opening), telemetry)
}

fn run(tunnel: Tunnel) -> (JoinSet<()>, oneshot::Receiver<()>) {
    let (ended, over) = oneshot::channel();
    let mut tunnels = JoinSet::new();
    tunnels.spawn(async move {
        tunnel.await;
        ended.send(()).unwrap();
    });
    (tunnels, over)
}

/// Sweeps until the tunnel has seen it: whoever is woken has run when this returns.
async fn sweep(times: usize) {
    for _ in 0..times {
        registry::sweep();
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

/// The close code of the one frame in these bytes.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let mut walker = Walker::default();
    let close = walker.walk(bytes).close;
    assert!(walker.at(crate::frames::Boundary::Message), "{bytes:?}");
    close
}

#[test]
fn a_tunnel_is_small() {
    assert!(size_of::<Tunnel>() <= 256, "{}", size_of::<Tunnel>());
    // A task's header and this fit in 256 bytes, the size below the next.
    assert!(size_of::<Tunnel>() <= 160, "{}", size_of::<Tunnel>());
    assert!(size_of::<State>() <= 128, "{}", size_of::<State>());
}

#[tokio::test]
async fn what_came_ahead_goes_first() {
    let (first, second) = (frame(true, true, b"early"), frame(false, true, b"greeting"));
    let mut world = World::with_ahead([first.clone().into(), second.clone().into()]).await;
    let mut got = vec![0; first.len()];
    world.upstream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, first);
    let mut got = vec![0; second.len()];
    world.client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, second);
    world.greet().await;
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_other_direction_lives() {
    let mut world = World::new().await;
    world.client.write_all(b"last").await.unwrap();
    world.client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut world.upstream).await, b"last");
    world.upstream.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    world.client.read_exact(&mut got).await.unwrap();
    world.upstream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut world.client).await, b"");
    world.end("client_closed").await;
}

#[tokio::test]
async fn goodbyes_pass_and_the_connections_end() {
    let mut world = World::new().await;
    world.greet().await;
    let (ask, answer) = (close_frame(1000, "bye", Some([1, 2, 3, 4])), close_frame(1000, "", None));
    world.upstream.write_all(&answer).await.unwrap();
    let mut got = vec![0; answer.len()];
    world.client.read_exact(&mut got).await.unwrap();
    world.client.write_all(&ask).await.unwrap();
    // Neither peer ends its connection; the proxy does.
    assert_eq!(read_to_end(&mut world.upstream).await, ask);
    assert_eq!(read_to_end(&mut world.client).await, b"");
    drop((std::mem::replace(&mut world.client, connected().await.0), world.upstream.shutdown().await));
    world.end("upstream_closed").await;
}

#[tokio::test]
async fn a_reset_is_passed_on() {
    let mut world = World::new().await;
    world.greet().await;
    world.upstream.set_zero_linger().unwrap();
    drop(std::mem::replace(&mut world.upstream, connected().await.0));
    let error = world.client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    world.end("upstream_reset").await;
}

#[tokio::test]
async fn silence_ends_a_tunnel_after_two_to_three_sweeps_and_bytes_keep_it() {
    let mut world = World::new().await;
    for _ in 0..4 {
        world.greet().await;
        sweep(2).await;
    }
    // The sweep after the last message only notes it; two more make two seconds.
    sweep(1).await;
    let got = read_frame(&mut world.client).await;
    assert_eq!(close_code(&got), Some(1001));
    let got = read_frame(&mut world.upstream).await;
    assert_eq!(close_code(&got), Some(1001));
    answer_and_end(&mut world).await;
    world.end("idle_timeout").await;
}

#[tokio::test]
async fn a_tunnel_that_never_said_anything_has_its_two_seconds() {
    let mut world = World::new().await;
    // The first sweep may come right after the tunnel.
    sweep(2).await;
    assert_eq!(registry::count(), 1);
    assert!(world.ended.try_recv().is_err());
    let early = tokio::time::timeout(Duration::from_millis(20), world.client.read(&mut [0; 1])).await;
    assert!(early.is_err(), "nothing was said yet");
    sweep(1).await;
    assert_eq!(close_code(&read_frame(&mut world.client).await), Some(1001));
}

#[tokio::test]
async fn a_tunnel_that_opens_when_all_are_closing_is_closed() {
    assert_eq!(registry::close_all(CloseReason::Shutdown), 0);
    let mut world = World::new().await;
    assert_eq!(close_code(&read_frame(&mut world.client).await), Some(1012));
    assert_eq!(close_code(&read_frame(&mut world.upstream).await), Some(1001));
    answer_and_end(&mut world).await;
    world.end("shutdown").await;
}

#[tokio::test]
async fn a_half_closed_tunnel_still_makes_its_message_whole() {
    let mut world = World::new().await;
    let (begin, end) = (frame(false, false, b"half"), [0x80, 3, b'e', b'n', b'd']);
    world.upstream.write_all(&begin).await.unwrap();
    world.client.read_exact(&mut vec![0; begin.len()]).await.unwrap();
    world.client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut world.upstream).await, b"");
    registry::close(usize::MAX, CloseReason::Shutdown);
    sweep(2).await;
    world.upstream.write_all(&end).await.unwrap();
    let mut got = [0; 5];
    world.client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, end);
    assert_eq!(close_code(&read_frame(&mut world.client).await), Some(1012));
    assert_eq!(read_to_end(&mut world.client).await, b"");
    world.upstream.shutdown().await.unwrap();
    sweep(2).await;
    world.end("shutdown").await;
}

#[tokio::test]
async fn an_upstream_that_says_goodbye_and_leaves_is_heard_to_its_end() {
    let mut world = World::new().await;
    world.greet().await;
    let last = [frame(false, true, b"last words"), close_frame(1000, "", None)].concat();
    world.upstream.write_all(&last).await.unwrap();
    drop(std::mem::replace(&mut world.upstream, connected().await.0));
    // The first of these is answered with a reset, the second is told of it. In between the runtime must look at
    // the sockets, which it does every 61 turns at the latest.
    for _ in 0..4 {
        world.client.write_all(&frame(true, true, b"too late")).await.unwrap();
        for _ in 0..128 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(read_to_end(&mut world.client).await, last);
    world.client.shutdown().await.unwrap();
    sweep(2).await;
    world.end("upstream_closed").await;
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut head)).await;
    read.expect("a frame comes").unwrap();
    let rest = usize::from(head[1] & 0x7F) + if head[1] & 0x80 == 0 { 0 } else { 4 };
    let mut frame = head.to_vec();
    frame.resize(2 + rest, 0);
    stream.read_exact(&mut frame[2..]).await.unwrap();
    frame
}

/// Both peers answer a Close and see the end.
async fn answer_and_end(world: &mut World) {
    world.client.write_all(&close_frame(1001, "", Some([0; 4]))).await.unwrap();
    world.upstream.write_all(&close_frame(1001, "", None)).await.unwrap();
    for stream in [&mut world.client, &mut world.upstream] {
        assert_eq!(read_to_end(stream).await, b"");
        stream.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_close_waits_for_the_message_under_way() {
    let mut world = World::new().await;
    world.greet().await;
    let (begin, end) = (frame(false, false, b"half"), [0x80, 3, b'e', b'n', b'd']);
    world.upstream.write_all(&begin).await.unwrap();
    let mut got = vec![0; begin.len()];
    world.client.read_exact(&mut got).await.unwrap();
    assert_eq!(registry::close(usize::MAX, CloseReason::Shutdown), 1);
    // Towards the upstream nothing is under way: it is told at once.
    assert_eq!(close_code(&read_frame(&mut world.upstream).await), Some(1001));
    sweep(4).await;
    world.upstream.write_all(&end).await.unwrap();
    let mut got = [0; 5];
    world.client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, end, "the message arrives whole");
    assert_eq!(close_code(&read_frame(&mut world.client).await), Some(1012));
    answer_and_end(&mut world).await;
    world.end("shutdown").await;
}

#[tokio::test]
async fn a_close_that_waited_long_goes_between_frames_and_then_without_a_word() {
    let mut world = World::new().await;
    // A fragmented message towards the client, half a frame towards the upstream.
    let begin = frame(false, false, b"half");
    world.upstream.write_all(&begin).await.unwrap();
    world.client.read_exact(&mut vec![0; begin.len()]).await.unwrap();
    let cut = &frame(true, true, b"never whole")[..8];
    world.client.write_all(cut).await.unwrap();
    world.upstream.read_exact(&mut vec![0; cut.len()]).await.unwrap();
    registry::close(usize::MAX, CloseReason::Shutdown);
    sweep(8).await;
    assert_eq!(close_code(&read_frame(&mut world.client).await), Some(1012));
    assert_eq!(read_to_end(&mut world.upstream).await, b"", "FIN without a frame");
    // Nobody answers: both are reset in the end.
    sweep(16).await;
    world.end("shutdown").await;
}

#[tokio::test]
async fn who_does_not_read_is_bounded_and_then_reset() {
    let mut world = World::new().await;
    let flood = vec![0x5A; 1 << 20];
    let mut sent = 0;
    // Until the kernel's buffers and ours are full.
    while let Ok(count) = tokio::time::timeout(Duration::from_millis(200), world.upstream.write(&flood)).await
    {
        sent += count.unwrap();
    }
    assert!(sent > 0);
    sweep(6).await;
    let mut rest = Vec::new();
    let ended = world.client.read_to_end(&mut rest).await;
    assert!(ended.is_err(), "the stuck side is reset");
    // What the other side sends is not relayed any more, and it is let go.
    let mut answer = vec![0; 64];
    let count = world.upstream.read(&mut answer).await.unwrap();
    assert_eq!(close_code(&answer[..count]), Some(1001));
    world.upstream.shutdown().await.unwrap();
    sweep(8).await;
    world.end("send_timeout").await;
}

#[tokio::test]
async fn at_most_64_kib_are_held_for_a_direction() {
    let (client, outer) = connected().await;
    let (inner, mut upstream) = connected().await;
    let (mut tunnel, _) = tunnel(Leg::Plain(outer), Leg::Plain(inner), [Bytes::new(), Bytes::new()]);
    let (flood, mut most) = (vec![0; 64 * 1024], 0);
    for _ in 0..400 {
        // Both writing and polling on this task, so that the tunnel can be looked into.
        let _ = upstream.try_write(&flood);
        poll_fn(|cx| {
            assert!(tunnel.poll_tunnel(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        let held = tunnel.state.lanes[1].held.as_ref().map_or(0, |held| held.len());
        most = most.max(held + tunnel.legs[0].held());
    }
    assert!(most > 0, "the client's buffers are full");
    assert!(most <= 64 * 1024, "{most}");
    drop((client, upstream.shutdown().await));
}

/// Bytes that this thread allocates while so many messages go round.
async fn allocated(world: &mut World, rounds: usize) -> u64 {
    world.greet().await;
    let mut got = [0; 64];
    let message = frame(true, true, b"ping");
    let before = allocatedp::read().unwrap();
    let start = before.get();
    for _ in 0..rounds {
        world.client.write_all(&message).await.unwrap();
        world.upstream.read_exact(&mut got[..message.len()]).await.unwrap();
        world.upstream.write_all(&message).await.unwrap();
        world.client.read_exact(&mut got[..message.len()]).await.unwrap();
    }
    before.get() - start
}

#[tokio::test]
async fn a_plain_message_allocates_nothing() {
    let mut world = World::new().await;
    assert_eq!(allocated(&mut world, 1_000).await, 0);
}

#[tokio::test]
async fn a_tls_message_allocates_at_most_one_buffer_a_record() {
    let pki = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone());
    let key = PrivateKeyDer::Pkcs8(pki.signing_key.serialize_der().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![pki.cert.der().clone()], key).unwrap());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.cert.der().clone()).unwrap();
    let trusting =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let trusting = Arc::new(trusting.unwrap().with_root_certificates(roots).with_no_client_auth());

    let (client, outer) = connected().await;
    let (inner, mut upstream) = connected().await;
    let name = ServerName::try_from(HOST).unwrap();
    // The client lives on a thread of its own, so that only the tunnel's allocations are counted here.
    let (ask, asked) = std::sync::mpsc::sync_channel::<()>(1);
    let client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    let peer = std::thread::spawn(move || {
        let mut tls = rustls::ClientConnection::new(trusting, name).unwrap();
        let mut socket = client;
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        while asked.recv().is_ok() {
            io::Write::write_all(&mut stream, &frame(true, true, b"ping")).unwrap();
            io::Read::read_exact(&mut stream, &mut [0; 10]).unwrap();
        }
    });
    ask.send(()).unwrap();
    let mut ahead = BytesMut::new();
    let leg = TlsLeg::accept(outer, config, Vec::new(), &mut ahead).await.unwrap();
    let ahead = [ahead.freeze(), Bytes::new()];
    let (tunnel, _) = tunnel(Leg::Tls(leg), Leg::Plain(inner), ahead);
    let (_tunnels, _ended) = run(tunnel);
    let mut got = [0; 10];
    let counter = allocatedp::read().unwrap();
    let mut start = 0;
    let rounds = 500;
    for round in 0..=rounds {
        upstream.read_exact(&mut got).await.unwrap();
        upstream.write_all(&got).await.unwrap();
        if round == 0 {
            start = counter.get();
        }
        if round < rounds {
            ask.send(()).unwrap();
        }
    }
    // Two records a round. One small buffer a record is under a hundred bytes each; two would not be.
    let each = (counter.get() - start) / (2 * rounds);
    assert!(each <= 96, "{each} bytes a record");
    drop(ask);
    // The last answer is still on its way through the tunnel, which lives on this thread.
    tokio::task::spawn_blocking(|| peer.join()).await.unwrap().unwrap();
}
