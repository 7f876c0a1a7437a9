//! What a backend must prove.

use e2e::backend::demo::{checksum, pattern};
use e2e::backend::recorder::{Answer as Reply, Recorder};
use e2e::objects::{self, Ingress};
use e2e::wire::{Ending, Upstream};

use super::*;

#[tokio::test]
async fn everything_goes_over_tls_to_a_backend_that_proves_its_name() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, SERVICE).await;
    let world = plan(front.address(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .start()
        .await
        .unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut socket = target.websocket("/echo").await.unwrap();
        let long = "long ".repeat(200_000);
        for text in ["short", &long, "again"] {
            socket.echo(text).await.unwrap();
        }
        socket.close().await.unwrap();
        let answer = target.get("/download?bytes=3000000").await.unwrap();
        assert_eq!(field(&answer.head, "x-checksum"), Some(&*checksum([&answer.body])));
        let sent: Vec<u8> = (0..700_000).map(pattern).collect();
        let answer = target.request("POST", "/upload", "", &sent).await.unwrap().json().unwrap();
        assert_eq!((&answer["bytes"], &answer["checksum"]), (&700_000.into(), &checksum([&sent]).into()));
    }
    let began = front.began();
    assert_eq!(began[0], tls(Some(SERVICE), false));
    // The two handshakes, and one connection for all requests; whoever came first has left sessions to resume.
    assert_eq!(began[1..], [tls(Some(SERVICE), true), tls(Some(SERVICE), true)]);
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    assert_eq!(metrics.count(HANDSHAKES, &[("result", "ok")]).unwrap(), 3);
    world.proxy().unwrap().wait_closed("client_closed", 2).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_proves_something_else_is_not_spoken_to() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (demo, front) = backend(&authority, "other.default.svc").await;
    let clear = DemoBackend::start("clear").await.unwrap();
    let mut world = plan(front.address(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .file("clear.yaml", objects::backend("clear", &[clear.address()]))
        .file(
            "others.yaml",
            [
                Ingress::new("name", "name.test")
                    .path("/", "backend")
                    .annotation("longhaul.dev/upstream-ca-secret", "authority")
                    .annotation("longhaul.dev/upstream-server-name", "other.default.svc")
                    .yaml(),
                Ingress::new("public", "public.test")
                    .path("/", "backend")
                    .annotation("longhaul.dev/upstream-protocol", "https")
                    .yaml(),
                Ingress::new("clear", "clear.test")
                    .path("/", "clear")
                    .annotation("longhaul.dev/upstream-protocol", "https")
                    .yaml(),
            ]
            .join("---\n"),
        )
        .start()
        .await
        .unwrap();
    // Of two one might be ejected.
    let second = authority.issue(&["other.default.svc"]).unwrap();
    let second = Secured::start(second.server().unwrap(), demo.address()).await.unwrap();
    let both = objects::backend("backend", &[front.address(), second.address()]);
    world.write("backend.yaml", &both).await.unwrap();
    let target = |host: &str| world.plain(host).unwrap();
    // More often than it takes to eject an endpoint: what one route asks of it is not its fault.
    for _ in 0..3 {
        refused(&target(HOST), HOST, "tls_certificate_error").await;
    }
    served(&target("name.test")).await;
    refused(&target("public.test"), "public.test", "tls_certificate_error").await;
    refused(&target("clear.test"), "clear.test", "tls_protocol_error").await;
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    assert_eq!(metrics.count(HANDSHAKES, &[("result", "tls_certificate_error")]).unwrap(), 16);
    assert_eq!(metrics.count("longhaul_endpoint_ejections_total", &[]).unwrap(), 0);
    assert_eq!(metrics.count("longhaul_refusals_total", &[("reason", "tls_protocol_error")]).unwrap(), 2);
    let said = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(said.contains("none of these signs for the name of a Service"), "{said}");
    // Another certificate of the right name, of another authority; then all is right.
    for front in [&front, &second] {
        front.change(other.issue(&[SERVICE]).unwrap().server().unwrap());
    }
    refused(&world.plain(HOST).unwrap(), HOST, "tls_certificate_error").await;
    world.write("authority.yaml", &opaque("authority", &[("ca.crt", &other.pem())])).await.unwrap();
    served(&world.plain(HOST).unwrap()).await;
}

#[tokio::test]
async fn a_certificate_that_is_named_itself_will_do() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, SERVICE).await;
    // An authority that serves itself, as openssl makes it.
    let pair = Authority::alone(SERVICE).unwrap();
    front.change(pair.server().unwrap());
    let mut world = plan(front.address(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .start()
        .await
        .unwrap();
    refused(&world.plain(HOST).unwrap(), HOST, "tls_certificate_error").await;
    world.write("authority.yaml", &opaque("authority", &[("ca.crt", &pair.certificate)])).await.unwrap();
    served(&world.plain(HOST).unwrap()).await;
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_is_over_in_time() {
    let authority = Authority::new().unwrap();
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(upstream.address().unwrap(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .annotation("longhaul.dev/connect-timeout", "1s")
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    // It takes the connection and says nothing.
    let got = shake(&target, HOST).await;
    assert_eq!(
        (got.status, field(&got.head, "proxy-status")),
        (504, Some("longhaul; error=connection_timeout"))
    );
}

#[tokio::test]
async fn a_tunnel_over_tls_ends_as_its_peers_do() {
    let authority = Authority::new().unwrap();
    let recorder = Recorder::start_with(|head| match field(head, "x-end") {
        Some("bytes") => Reply::Upgrade(b"\x81\x02hi".to_vec()),
        _ => Reply::Upgrade(Vec::new()),
    })
    .await
    .unwrap();
    let pair = authority.issue(&[SERVICE]).unwrap();
    let front = Secured::start(pair.server().unwrap(), recorder.address()).await.unwrap();
    let world = plan(front.address(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    // What comes right behind the 101 arrives.
    let mut wire = target.wire().await.unwrap();
    wire.send(handshake(HOST, "/", "X-End: bytes\r\n")).await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(wire.take(4).await.unwrap(), b"\x81\x02hi");
    // A half-close is passed on: the backend's side, which ends then, ends ours.
    wire.finish().await.unwrap();
    assert_eq!(wire.ended().await.unwrap(), Ending::Fin);
    world.proxy().unwrap().wait_closed("client_closed", 1).await.unwrap();
}
