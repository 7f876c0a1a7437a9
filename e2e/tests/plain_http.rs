//! Plain requests of the hosts that serve WebSockets: connections to upstreams used again, bodies of any length in
//! little memory, answers whole and framed in one way only.
//!
//! The upstream is mostly the test itself, byte by byte. Only `a_long_upload…` and `events…` sleep: how long
//! something takes is what they look at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::backend::demo::{checksum, pattern};
use e2e::backend::recorder::{self, Recorder};
use e2e::client::Answer;
use e2e::notes;
use e2e::wire::{Ending, PATIENCE, Upstream, Wire, field, fields, status};
use e2e::world::{Plan, Proxy, World};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const HOST: &str = "app.example.com";
const REQUEST_TIMEOUT: &str = "longhaul.dev/request-timeout";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Whose every path goes to this upstream. With one worker, since each has connections of its own.
fn plan(upstream: &Upstream) -> Plan {
    World::plan().site(HOST, upstream.address().unwrap()).proxy_flags(&["--workers", "1"])
}

/// Sends a request without a body.
async fn send(wire: &mut Wire, method: &str, path: &str) -> Result<()> {
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await
}

/// Sends a request without a body and reads the answer.
async fn ask(wire: &mut Wire, method: &str, path: &str) -> Result<Answer> {
    send(wire, method, path).await?;
    if method != "HEAD" {
        return Answer::read(wire).await;
    }
    let head = wire.head().await?;
    Ok(Answer { status: status(&head)?, head, body: Vec::new() })
}

/// The answers that must not cost the upstream's connection.
fn reusable(head: &str) -> recorder::Answer {
    let answer = match head.split(' ').nth(1) {
        Some("/chunked") => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        }
        Some("/trailers") => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
        }
        Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
        Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
        _ => OK,
    };
    recorder::Answer::Bytes(answer.into())
}

#[tokio::test]
async fn the_connection_to_an_upstream_is_used_again() {
    for (method, path, code, body) in [
        ("GET", "/length", 200, "hello"),
        ("GET", "/chunked", 200, "hello"),
        ("HEAD", "/head", 200, ""),
        ("GET", "/204", 204, ""),
        ("GET", "/304", 304, ""),
    ] {
        let recorder = Recorder::start_with(reusable).await.unwrap();
        let world = World::plan()
            .site(HOST, recorder.address())
            .proxy_flags(&["--workers", "1"])
            .start()
            .await
            .unwrap();
        let mut kept = world.plain(HOST).unwrap().wire().await.unwrap();
        for _ in 0..5 {
            let mut new = world.plain(HOST).unwrap().wire().await.unwrap();
            for wire in [&mut kept, &mut new] {
                let answer = ask(wire, method, path).await.unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (code, body), "{method} {path}");
            }
        }
        let connections = recorder.records();
        assert_eq!(connections.len(), 1, "{method} {path}: one connection carries everything");
        assert_eq!(recorder.text().matches(path).count(), 10, "{method} {path}: and each request once");
    }
}

#[tokio::test]
async fn trailers_of_a_response_do_not_cost_the_connection() {
    let recorder = Recorder::start_with(reusable).await.unwrap();
    let world =
        World::plan().site(HOST, recorder.address()).proxy_flags(&["--workers", "1"]).start().await.unwrap();
    for _ in 0..5 {
        let mut wire = world.plain(HOST).unwrap().wire().await.unwrap();
        send(&mut wire, "GET", "/trailers").await.unwrap();
        wire.head().await.unwrap();
        assert_eq!(chunk(&mut wire).await.unwrap(), b"hello");
        // The last chunk, with the trailers or without them.
        assert_eq!(wire.take(3).await.unwrap(), b"0\r\n");
    }
    assert_eq!(recorder.records().len(), 1);
}

/// Sends the head of an upload and half a second before each byte of it; the upstream reads along.
async fn upload(client: &mut Wire, upstream: &Upstream) -> Wire {
    client.send(format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\n")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.head().await.unwrap();
    for byte in *b"upload" {
        sleep(Duration::from_millis(500)).await;
        client.send([byte]).await.unwrap();
        assert_eq!(server.take(1).await.unwrap(), [byte]);
    }
    server
}

#[tokio::test]
async fn a_long_upload_is_not_cut_and_a_silent_upstream_is() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).annotation(REQUEST_TIMEOUT, "1s").start().await.unwrap();

    let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
    let mut server = upload(&mut client, &upstream).await;
    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    let answer = Answer::read(&mut client).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{}", answer.head);

    let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
    let mut server = upload(&mut client, &upstream).await;
    let last_byte = Instant::now();
    let answer = Answer::read(&mut client).await.unwrap();
    let waited = last_byte.elapsed();
    assert_eq!(answer.status, 504, "{}", answer.head);
    assert!(
        field(&answer.head, "proxy-status").unwrap().contains("http_response_timeout"),
        "{}",
        answer.head
    );
    let due = Duration::from_millis(900)..Duration::from_millis(2_500);
    assert!(due.contains(&waited), "answered {waited:?} after the last byte");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_its_upstream_closed_costs_no_request() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
    for round in 0..20 {
        let serving = async {
            let mut server = upstream.accept().await?;
            server.head().await?;
            server.send(OK).await?;
            anyhow::Ok(server)
        };
        let (answer, connection) = tokio::join!(ask(&mut client, "GET", "/"), serving);
        assert_eq!(answer.unwrap().status, 200, "round {round}");
        // The proxy keeps it, and now it ends.
        let server = connection.unwrap();
        if round % 2 == 0 {
            drop(server);
        } else {
            server.reset().unwrap();
        }
    }
}

#[tokio::test]
async fn an_upstream_learns_that_its_client_left() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        for politely in [true, false] {
            let mut client = target.wire().await.unwrap();
            send(&mut client, "GET", "/thinking").await.unwrap();
            let mut server = upstream.accept().await.unwrap();
            server.head().await.unwrap();
            if politely {
                drop(client);
            } else {
                client.reset().unwrap();
            }
            server.ended().await.unwrap();
        }
    }
}

/// What upstreams may say of the body `hello`, and whether it can be understood at all.
const FRAMINGS: [(&str, bool); 9] = [
    ("Content-Length: 5\r\n\r\nhello", true),
    ("Content-Length: 5, 5\r\n\r\nhello", true),
    ("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", true),
    ("Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", true),
    ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
    ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
    ("Content-Length: 5, 6\r\n\r\nhello", false),
    ("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false),
    ("Content-Length: +5\r\n\r\nhello", false),
];

#[tokio::test]
async fn a_client_can_read_an_answer_in_one_way_only() {
    let mut wrong = Vec::new();
    for (framing, sense) in FRAMINGS {
        let recorder =
            Recorder::start(recorder::Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{framing}").into_bytes()))
                .await
                .unwrap();
        let world = World::plan().site(HOST, recorder.address()).start().await.unwrap();
        let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
        if let Err(error) = read_in_one_way(&mut client, sense).await {
            wrong.push(format!("{framing:?}: {error:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn read_in_one_way(client: &mut Wire, sense: bool) -> Result<()> {
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).await?;
    let answer = Answer::read(client).await?;
    ensure!(client.rest().await?.is_empty(), "more came behind the answer");
    let lengths: Vec<&str> = fields(&answer.head, "content-length").collect();
    let codings: Vec<&str> = fields(&answer.head, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([length], []) => ensure!(length.bytes().all(|byte| byte.is_ascii_digit()), "{}", answer.head),
        ([], [coding]) => ensure!(coding.eq_ignore_ascii_case("chunked"), "{}", answer.head),
        _ => anyhow::bail!("not one framing: {}", answer.head),
    }
    match answer.status {
        502 => Ok(()),
        200 if sense && answer.body == b"hello" => Ok(()),
        status => anyhow::bail!("{status} with {:?}", answer.text()),
    }
}

const PIECES: usize = 100;
const PIECE: usize = 1 << 20;
/// What the proxy's memory may grow by, whatever goes through.
const GROWTH: u64 = 2 << 20;

/// Sends 100 MiB through the proxy to an end that reads nothing until nothing moves any more, then everything.
/// Returns what the proxy's memory grew to.
async fn carry(mut from: Wire, to: &mut Wire, proxy: &Proxy) -> Result<(Wire, u64)> {
    let content: Vec<u8> = (0..PIECE as u64).map(pattern).collect();
    let wanted = checksum([&content]);
    let (count, mut counted) = watch::channel(0);
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        for _ in 0..PIECES {
            from.send(&content).await?;
            count.send_modify(|count| *count += 1);
        }
        anyhow::Ok(from)
    });
    while let Ok(changed) = timeout(Duration::from_millis(300), counted.changed()).await {
        changed.context("everything was taken, although nobody reads")?;
    }
    let mut most = proxy.process.facts()?.resident;
    for piece in 0..PIECES {
        ensure!(to.swallow(PIECE as u64).await? == wanted, "other bytes in piece {piece}");
        most = most.max(proxy.process.facts()?.resident);
    }
    Ok((sending.join_next().await.context("the sender")???, most))
}

#[tokio::test]
async fn bodies_of_100_mib_take_little_memory() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let proxy = world.proxy().unwrap();
    let length = PIECES * PIECE;
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut client = target.wire().await.unwrap();
        let (_, server) = tokio::join!(send(&mut client, "GET", "/"), upstream.accept());
        let mut server = server.unwrap();
        server.head().await.unwrap();
        server.send(OK).await.unwrap();
        assert_eq!(Answer::read(&mut client).await.unwrap().text(), "hello");
        let before = proxy.process.facts().unwrap().resident;

        send(&mut client, "GET", "/down").await.unwrap();
        server.head().await.unwrap();
        server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await.unwrap();
        client.head().await.unwrap();
        let (mut server, down) = carry(server, &mut client, proxy).await.unwrap();

        let up = format!("POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
        client.send(up).await.unwrap();
        server.head().await.unwrap();
        let (mut client, up) = carry(client, &mut server, proxy).await.unwrap();
        server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        assert_eq!(Answer::read(&mut client).await.unwrap().text(), "hello");

        let (down, up) = (down.saturating_sub(before), up.saturating_sub(before));
        notes::measured(&format!("100 MiB take {} KiB down and {} KiB up", down >> 10, up >> 10));
        assert!(down < GROWTH && up < GROWTH, "the proxy grew by {down} bytes down and {up} up");
    }
}

/// Receives one chunk.
async fn chunk(wire: &mut Wire) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(wire.take(1).await?);
    }
    let size = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
    let data = wire.take(size).await?;
    ensure!(wire.take(2).await? == b"\r\n", "a chunk longer than it says");
    Ok(data)
}

#[tokio::test]
async fn events_arrive_one_by_one_however_far_apart() {
    let upstream = Upstream::bind().await.unwrap();
    // They are no answer that has come to a halt: between them `idle` counts, not `request`.
    let world = plan(&upstream).annotation(REQUEST_TIMEOUT, "1s").start().await.unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut client = target.wire().await.unwrap();
        send(&mut client, "GET", "/events").await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
        server.send(format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")).await.unwrap();
        let head = client.head().await.unwrap();
        assert!(field(&head, "content-type").unwrap().starts_with("text/event-stream"), "{head}");
        for number in 0..5 {
            // None is sent before the client has the one before.
            let event = format!("data: {number}\n\n");
            server.send(format!("{:x}\r\n{event}\r\n", event.len())).await.unwrap();
            assert_eq!(chunk(&mut client).await.unwrap(), event.as_bytes());
        }
        sleep(Duration::from_millis(2_500)).await;
        server.send("5\r\n:\n\n\n\n\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(chunk(&mut client).await.unwrap(), b":\n\n\n\n");
        assert_eq!(chunk(&mut client).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_whole() {
    /// More than fits into what the proxy holds.
    const LENGTH: usize = 1 << 20;
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let body = vec![b'x'; LENGTH];
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        // What the client has sent of it when the answer comes.
        for sent in [0, 1024, 1 << 20] {
            let mut client = target.wire().await.unwrap();
            let head = format!("POST /large HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 104857600\r\n\r\n");
            client.send(head).await.unwrap();
            let mut server = upstream.accept().await.unwrap();
            server.head().await.unwrap();
            client.send(vec![0; sent]).await.unwrap();
            let head = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n";
            let answering = async {
                server.send(format!("{head}Content-Length: {LENGTH}\r\n\r\n")).await?;
                server.send(&body).await?;
                server.finish().await
            };
            let begun = Instant::now();
            let (sent, answer) = tokio::join!(answering, Answer::read(&mut client));
            sent.unwrap();
            let answer = answer.unwrap();
            assert_eq!(answer.status, 413, "{}", answer.head);
            assert!(answer.body == body, "the answer is whole");
            assert!(begun.elapsed() < PATIENCE / 4, "it came after {:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
        send(&mut client, "GET", "/").await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        server.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhe")).await.unwrap();
        client.head().await.unwrap();
        drop(server);
        assert_eq!(client.ended().await.unwrap(), Ending::Reset, "{head}");
        assert!(!client.received().ends_with(b"0\r\n\r\n"), "{head}");
    }
}

#[tokio::test]
async fn the_last_answer_of_a_connection_arrives_whole() {
    // More than all that lies between an upstream and a client that does not read.
    const LENGTH: usize = 16 << 20;
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let body = vec![b'x'; LENGTH];
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        for length in [String::new(), format!("Content-Length: {LENGTH}\r\n")] {
            let mut client = target.wire_with_receive_buffer(16 * 1024).await.unwrap();
            client
                .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"))
                .await
                .unwrap();
            let answering = async {
                let mut server = upstream.accept().await?;
                server.head().await?;
                server.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n")).await?;
                server.send(&body).await?;
                server.finish().await
            };
            let (sent, answer) = tokio::join!(answering, Answer::read(&mut client));
            sent.unwrap();
            assert!(answer.unwrap().body == body, "the answer is whole");
        }
    }
}
