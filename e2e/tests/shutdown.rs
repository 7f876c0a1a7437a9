//! SIGTERM under 500 tunnels, half of them in the middle of a message: every client is told, none is cut off. And
//! what else may be under way then: handshakes, requests, answers without an end, and an operator who cannot wait.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::{Answer, Target};
use e2e::notes;
use e2e::wire::{Ending, PATIENCE, Upstream, Wire, field, handshake, switching_protocols};
use e2e::world::World;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const HOST: &str = "app.example.com";
const TUNNELS: usize = 500;
const PERIOD: Duration = Duration::from_secs(5);

/// A text message in two fragments, as a server sends it.
const FIRST_FRAGMENT: &[u8] = b"\x01\x06first ";
const LAST_FRAGMENT: &[u8] = b"\x80\x04last";

/// What one client saw.
struct Seen {
    /// From the signal to the Close.
    after: Duration,
    code: u16,
    message: Vec<u8>,
}

/// The server's end of one tunnel: begins a message, ends it so long after the signal, answers the Close.
async fn serve(mut server: Wire, number: usize, mut signalled: watch::Receiver<bool>) -> Result<()> {
    server.accept_websocket(b"").await?;
    if number.is_multiple_of(2) {
        server.send(FIRST_FRAGMENT).await?;
        signalled.wait_for(|signalled| *signalled).await?;
        // At the latest when the last closes begin, so that each message ends within 5 s of its tunnel's turn.
        tokio::time::sleep(PERIOD * u32::try_from(number)? / u32::try_from(TUNNELS)?).await;
        server.send(LAST_FRAGMENT).await?;
    }
    // A masked Close with 1001 and perhaps a reason.
    let head = timeout(PATIENCE * 2, server.take(2)).await.context("the upstream is told")??;
    ensure!(head[0] == 0x88, "a Close, not {head:?}");
    let rest = server.take(4 + usize::from(head[1] & 0x7f)).await?;
    let code = [rest[4] ^ rest[0], rest[5] ^ rest[1]];
    ensure!(u16::from_be_bytes(code) == 1001, "the upstream is told {code:?}");
    server.send([0x88, 0x02, code[0], code[1]]).await?;
    server.finish().await
}

async fn open(target: Target) -> Result<Wire> {
    let mut client = target.wire().await?;
    client.send(handshake(HOST, "/", "")).await?;
    client.head().await?;
    Ok(client)
}

/// The client's end: everything until the Close, then the answer to it, then a clean end.
async fn watch_end(mut client: Wire, mut signalled: watch::Receiver<Option<Instant>>) -> Result<Seen> {
    let signal = signalled.wait_for(Option::is_some).await?.context("the time of the signal")?;
    let mut message = Vec::new();
    loop {
        let head = client.take(2).await?;
        let payload = client.take(usize::from(head[1])).await?;
        if head[0] != 0x88 {
            message.extend_from_slice(&payload);
            continue;
        }
        let after = signal.elapsed();
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        client.send([0x88, 0x82, 0, 0, 0, 0, payload[0], payload[1]]).await?;
        client.ended().await?;
        return Ok(Seen { after, code, message });
    }
}

#[tokio::test]
async fn every_client_is_told_and_no_message_is_cut() {
    let upstream = Upstream::bind().await.unwrap();
    let world = World::plan()
        .site(HOST, upstream.address().unwrap())
        .proxy_flags(&["--shutdown-delay", "0s", "--drain-period", "5s"])
        .start()
        .await
        .unwrap();
    let (tell_servers, servers_told) = watch::channel(false);
    let (tell_clients, clients_told) = watch::channel(None);
    let mut servers = JoinSet::new();
    let mut clients = JoinSet::new();
    for number in 0..TUNNELS {
        // Numbers divisible by 4 and those that follow over TLS: half of either kind are in the middle of a message.
        let target = if number % 4 < 2 { world.tls(HOST) } else { world.plain(HOST) }.unwrap();
        let opening = open(target);
        let serving = async {
            let server = upstream.accept().await?;
            servers.spawn(serve(server, number, servers_told.clone()));
            anyhow::Ok(())
        };
        let (opened, served) = tokio::join!(opening, serving);
        served.unwrap();
        clients.spawn(watch_end(opened.unwrap(), clients_told.clone()));
    }

    let proxy = world.proxy().unwrap();
    proxy.process.signal(Signal::TERM).unwrap();
    tell_clients.send(Some(Instant::now())).unwrap();
    tell_servers.send(true).unwrap();

    let seen: Vec<Seen> = clients.join_all().await.into_iter().collect::<Result<_>>().unwrap();
    for server in servers.join_all().await {
        server.unwrap();
    }
    assert_eq!(seen.len(), TUNNELS);
    assert!(seen.iter().all(|seen| seen.code == 1012), "every client sees 1012");
    let whole = seen.iter().filter(|seen| seen.message == b"first last").count();
    let empty = seen.iter().filter(|seen| seen.message.is_empty()).count();
    assert_eq!(
        (whole, empty),
        (TUNNELS / 2, TUNNELS / 2),
        "a message under way arrives whole before the Close"
    );
    spread_evenly(&seen);

    let mut world = world;
    let status = timeout(PATIENCE, world.proxy_mut().unwrap().process.ended()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "it was asked to stop");
}

/// Prints how many closed in each half second, and checks that no half second has more than a fair share.
fn spread_evenly(seen: &[Seen]) {
    const WIDTH: Duration = Duration::from_millis(500);
    let mut histogram = vec![0_usize; 30];
    for seen in seen {
        let slot = seen.after.as_millis() / WIDTH.as_millis();
        histogram[usize::try_from(slot).unwrap().min(29)] += 1;
    }
    while histogram.last() == Some(&0) {
        histogram.pop();
    }
    notes::measured(&format!("closes after SIGTERM under {TUNNELS} tunnels:"));
    for (slot, count) in histogram.iter().enumerate() {
        let from = WIDTH * u32::try_from(slot).unwrap();
        notes::measured(&format!("{:>4.1} s {count:>4} {}", from.as_secs_f32(), "#".repeat(count / 2)));
    }
    let slots = usize::try_from(PERIOD.as_millis() / WIDTH.as_millis()).unwrap();
    let most = histogram.iter().max().unwrap();
    assert!(*most <= TUNNELS / slots * 3, "one half second has {most} of {TUNNELS} closes");
    let used = histogram.iter().filter(|count| **count > 0).count();
    assert!(used >= slots - 1, "the closes fill {used} of {slots} half seconds");
}

/// A world before this upstream, which leaves so.
async fn world_before(upstream: &Upstream, delay: &str, period: &str) -> World {
    World::plan()
        .site(HOST, upstream.address().unwrap())
        .proxy_flags(&["--shutdown-delay", delay, "--drain-period", period, "--workers", "1"])
        .start()
        .await
        .unwrap()
}

fn terminate(world: &World) {
    world.proxy().unwrap().process.signal(Signal::TERM).unwrap();
}

/// Waits until the proxy has ended by itself, and checks how.
async fn left(mut world: World, within: Duration) {
    let ended = timeout(within, world.proxy_mut().unwrap().process.ended()).await;
    let status = ended.unwrap_or_else(|_| panic!("still there after {within:?}\n{}", world.logs())).unwrap();
    assert_eq!(status.code(), Some(0), "it was asked to stop");
}

/// A client whose request has reached the upstream, and the upstream's end with the request's head.
async fn requested(target: Target, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = target.wire().await.unwrap();
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.head().await.unwrap();
    (client, server)
}

/// A client between two requests. The upstream's end must live as long.
async fn between_requests(target: Target, upstream: &Upstream) -> (Wire, Wire) {
    let (mut client, mut server) = requested(target, upstream).await;
    // The connection to the upstream is of no more use, so that each request here has its own.
    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(Answer::read(&mut client).await.unwrap().text(), "ok");
    (client, server)
}

/// Reads a Close as a client does, and gives its code.
async fn close_code(wire: &mut Wire) -> u16 {
    let head = wire.take(2).await.unwrap();
    assert_eq!(head[0], 0x88, "a Close");
    let payload = wire.take(usize::from(head[1])).await.unwrap();
    u16::from_be_bytes([payload[0], payload[1]])
}

/// Reads a masked Close as a server does, and gives its code.
async fn masked_close_code(wire: &mut Wire) -> u16 {
    let head = wire.take(2).await.unwrap();
    assert_eq!(head[0], 0x88, "a Close");
    let rest = wire.take(4 + usize::from(head[1] & 0x7f)).await.unwrap();
    u16::from_be_bytes([rest[4] ^ rest[0], rest[5] ^ rest[1]])
}

#[tokio::test]
async fn a_tunnel_that_is_agreed_after_the_signal_is_closed_politely() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world_before(&upstream, "0s", "1s").await;
    let (mut idle, mut pooled) = requested(world.plain(HOST).unwrap(), &upstream).await;
    pooled.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    idle.head().await.unwrap();
    let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
    client.send(handshake(HOST, "/", "")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    let head = server.head().await.unwrap();

    terminate(&world);
    // Connections to upstreams are kept until every tunnel that is open has been told.
    pooled.ended().await.unwrap();
    server.send(switching_protocols(&head).unwrap()).await.unwrap();
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(close_code(&mut client).await, 1012);
    assert_eq!(masked_close_code(&mut server).await, 1001);
    client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4]).await.unwrap();
    server.send([0x88, 0x02, 0x03, 0xe9]).await.unwrap();
    assert_eq!(client.ended().await.unwrap(), Ending::Fin);
    left(world, PATIENCE / 4).await;
}

#[tokio::test]
async fn an_answer_without_an_end_does_not_hold_the_process() {
    const CHUNK: &[u8] = b"400\r\n";
    let upstream = Upstream::bind().await.unwrap();
    let world = world_before(&upstream, "0s", "1s").await;
    let (mut events, mut silent) = requested(world.plain(HOST).unwrap(), &upstream).await;
    let (mut download, mut endless) = requested(world.tls(HOST).unwrap(), &upstream).await;
    let head =
        |kind: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
    silent.send(head("text/event-stream")).await.unwrap();
    endless.send(head("application/octet-stream")).await.unwrap();
    events.head().await.unwrap();
    download.head().await.unwrap();
    let mut flood = JoinSet::new();
    let chunk = [CHUNK, &[b'x'; 0x400], b"\r\n"].concat();
    flood.spawn(async move { while endless.send(&chunk).await.is_ok() {} });
    // Read without being kept.
    flood.spawn(async move { while download.swallow(1 << 10).await.is_ok() {} });

    terminate(&world);
    left(world, Duration::from_secs(1 + 15)).await;
    // However it ends, nothing says that the answer is complete.
    let _ = events.ended().await;
    assert!(!events.received().ends_with(b"0\r\n\r\n"), "a cut answer looks whole");
    flood.join_all().await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    // While connections are still accepted, and while a tunnel waits for a client that does not answer its Close.
    for delay in ["60s", "0s"] {
        let upstream = Upstream::bind().await.unwrap();
        let world = world_before(&upstream, delay, "60s").await;
        let opening = open(world.plain(HOST).unwrap());
        let accepting = async {
            let mut server = upstream.accept().await?;
            server.accept_websocket(b"").await?;
            anyhow::Ok(server)
        };
        let (client, server) = tokio::join!(opening, accepting);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        terminate(&world);
        if delay == "0s" {
            assert_eq!(close_code(&mut client).await, 1012);
        } else {
            let process = &world.proxy().unwrap().process;
            process
                .line("that it leaves", |line| line.contains("still accepting").then_some(()))
                .await
                .unwrap();
            server.send("alive").await.unwrap();
            assert_eq!(client.take(5).await.unwrap(), b"alive");
        }
        terminate(&world);
        left(world, Duration::from_secs(2)).await;
        client.ended().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_between_requests_ends_and_a_request_is_answered() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world_before(&upstream, "0s", "1s").await;
    let targets = || [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()];
    let (mut idle, mut asking) = (Vec::new(), Vec::new());
    for target in targets() {
        idle.push(between_requests(target, &upstream).await);
    }
    for target in targets() {
        asking.push(requested(target, &upstream).await);
    }
    terminate(&world);
    let signalled = Instant::now();
    for (client, _) in &mut idle {
        assert_eq!(client.ended().await.unwrap(), Ending::Fin);
    }
    assert!(signalled.elapsed() < Duration::from_secs(2), "idle until {:?}", signalled.elapsed());
    for (client, server) in &mut asking {
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        let answer = Answer::read(client).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let says = field(&answer.head, "connection");
        assert_eq!(says.map(str::to_ascii_lowercase).as_deref(), Some("close"), "{}", answer.head);
        assert_eq!(client.ended().await.unwrap(), Ending::Fin);
    }
    left(world, PATIENCE / 4).await;
}
