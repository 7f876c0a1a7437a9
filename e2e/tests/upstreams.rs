//! Upstreams that misbehave at the handshake: the status that the client sees, and what it is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::backend::demo::DemoBackend;
use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::Answer as Got;
use e2e::objects::{self, Ingress};
use e2e::wire::{Upstream, field, handshake, switching_protocols};
use e2e::world::World;

const HOST: &str = "app.example.com";

async fn world(recorder: &Recorder) -> World {
    World::plan()
        .site(HOST, recorder.address())
        .annotation("longhaul.dev/handshake-timeout", "1s")
        .annotation("longhaul.dev/request-timeout", "1s")
        .start()
        .await
        .unwrap()
}

/// What a client gets whose handshake is answered like this by the upstream, in the clear and over TLS.
async fn handshakes(answer: Answer) -> Vec<Got> {
    handshakes_with(move |_| answer.clone()).await
}

async fn handshakes_with(choose: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Vec<Got> {
    let recorder = Recorder::start_with(choose).await.unwrap();
    let world = world(&recorder).await;
    let mut got = Vec::new();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/", "")).await.unwrap();
        got.push(Got::read(&mut client).await.unwrap());
    }
    got
}

async fn refused_with(answer: Answer, status: u16) {
    let shown = format!("{answer:?}");
    refused(&handshakes(answer).await, status, &shown);
}

fn refused(answers: &[Got], status: u16, shown: &str) {
    for got in answers {
        assert_eq!(got.status, status, "{shown}: {got:?}");
        let told = field(&got.head, "proxy-status").unwrap_or_default();
        assert!(told.starts_with("longhaul; error="), "{shown}: {got:?}");
        assert!(!got.body.is_empty(), "{shown}: one line for people");
    }
}

#[tokio::test]
async fn never_answers() {
    refused_with(Answer::Silence, 504).await;
}

#[tokio::test]
async fn answers_garbage() {
    refused_with(Answer::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), 502).await;
    refused_with(Answer::Last(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()), 502).await;
    refused_with(Answer::Bytes(b"HTTP/1.1 abc\r\n\r\n".to_vec()), 502).await;
}

#[tokio::test]
async fn ends_or_resets_without_an_answer() {
    refused_with(Answer::Last(Vec::new()), 502).await;
    refused_with(Answer::Reset(Vec::new()), 502).await;
    refused_with(Answer::Last(b"HTTP/1.1 101 Switching Prot".to_vec()), 502).await;
}

#[tokio::test]
async fn accepts_with_a_wrong_accept() {
    refused_with(Answer::WrongAccept, 502).await;
}

#[tokio::test]
async fn accepts_what_was_not_offered() {
    for further in
        ["Sec-WebSocket-Protocol: other\r\n\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"]
    {
        let accept = move |head: &str| {
            let right = switching_protocols(head).unwrap();
            Answer::Bytes(format!("{}{further}", right.strip_suffix("\r\n").unwrap()).into_bytes())
        };
        refused(&handshakes_with(accept).await, 502, further);
    }
}

#[tokio::test]
async fn refuses_with_a_body() {
    let page = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nX-Why: members\r\n\r\nmembers\r\n";
    for got in handshakes(Answer::Bytes(page.as_bytes().to_vec())).await {
        assert_eq!((got.status, got.text().as_str()), (403, "members\r\n"));
        assert_eq!(field(&got.head, "x-why"), Some("members"));
    }
    let chunked =
        "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n1\r\n?\r\n0\r\n\r\n";
    for got in handshakes(Answer::Bytes(chunked.as_bytes().to_vec())).await {
        assert_eq!((got.status, got.text().as_str()), (401, "who?"));
    }
    let to_the_end = "HTTP/1.1 404 Not Found\r\n\r\nno such room";
    for got in handshakes(Answer::Last(to_the_end.as_bytes().to_vec())).await {
        assert_eq!((got.status, got.text().as_str()), (404, "no such room"));
    }
}

#[tokio::test]
async fn answers_a_101_that_nobody_asked_for() {
    let unasked = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET / HTTP/1.1";
    let recorder = Recorder::start(Answer::Bytes(unasked.to_vec())).await.unwrap();
    let world = world(&recorder).await;
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let got = target.get("/").await.unwrap();
        assert_eq!(got.status, 502, "{got:?}");
    }
}

#[tokio::test]
async fn never_answers_a_plain_request() {
    let recorder = Recorder::start(Answer::Silence).await.unwrap();
    let world = world(&recorder).await;
    assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 504);
}

#[tokio::test]
async fn is_not_there() {
    // Bound and dropped: a port where nobody listens.
    let gone = Upstream::bind().await.unwrap().address().unwrap();
    let world = World::plan().site(HOST, gone).start().await.unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/", "")).await.unwrap();
        assert_eq!(Got::read(&mut client).await.unwrap().status, 502);
        assert_eq!(target.get("/").await.unwrap().status, 502);
    }
}

#[tokio::test]
async fn the_next_endpoint_is_tried_when_one_is_not_there() {
    let gone = Upstream::bind().await.unwrap().address().unwrap();
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    world.write("backend.yaml", &objects::backend("backend", &[gone, blue.address()])).await.unwrap();
    for _ in 0..20 {
        let socket = world.plain(HOST).unwrap().websocket("/").await.unwrap();
        assert_eq!(socket.backend(), "blue");
        assert_eq!(world.plain(HOST).unwrap().get("/whoami").await.unwrap().status, 200);
    }
}

/// Endpoints where nobody listens, on the way to one who does.
#[tokio::test]
async fn as_many_are_tried_as_the_route_says() {
    let blue = DemoBackend::start("blue").await.unwrap();
    // Bound and dropped: ports where nobody listens.
    let (mut bound, mut all) = (Vec::new(), vec![blue.address()]);
    for _ in 0..4 {
        bound.push(Upstream::bind().await.unwrap());
    }
    all.extend(bound.iter().map(|upstream| upstream.address().unwrap()));
    drop(bound);
    let key = |name: &str| format!("nginx.ingress.kubernetes.io/proxy-next-upstream{name}");
    let mut files = vec![objects::backend("backend", &all)];
    for (name, annotation, value) in [("every", "-tries", "0"), ("one", "", "off"), ("two", "-tries", "2")] {
        let ingress = Ingress::new(name, &format!("{name}.test")).path("/", "backend");
        files.push(ingress.annotation(&key(annotation), value).yaml());
    }
    let world = World::plan().file("all.yaml", files.join("---\n")).start().await.unwrap();
    let failures = async || {
        let metrics = world.proxy().unwrap().metrics().await.unwrap();
        metrics.count("longhaul_upstream_connect_failures_total", &[]).unwrap()
    };
    for _ in 0..10 {
        let socket = world.plain("every.test").unwrap().websocket("/").await.unwrap();
        assert_eq!(socket.backend(), "blue");
        assert_eq!(world.plain("every.test").unwrap().get("/whoami").await.unwrap().status, 200);
    }
    for (host, most) in [("one.test", 1), ("two.test", 2)] {
        let target = world.plain(host).unwrap();
        let mut refused = 0;
        for _ in 0..20 {
            let before = failures().await;
            refused += u64::from(target.get("/whoami").await.unwrap().status == 502);
            assert!(failures().await - before <= most, "{host}");
            let before = failures().await;
            refused += u64::from(target.websocket("/").await.is_err());
            assert!(failures().await - before <= most, "{host}");
        }
        // Those that are ejected come last, so that not all fail.
        assert!(refused > 0 || failures().await > 0, "{host}");
    }
}

#[tokio::test]
async fn nobody_is_ready() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    let mut open = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    world.edit("backend.yaml", "ready: true", "ready: false").await.unwrap();
    let got = world.plain(HOST).unwrap().get("/whoami").await.unwrap();
    assert_eq!(got.status, 503, "{got:?}");
    open.echo("an endpoint that is not ready keeps its tunnels").await.unwrap();
}
