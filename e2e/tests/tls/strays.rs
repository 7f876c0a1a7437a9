//! Requests in the clear on the TLS port: one readable answer that says where to go.

use e2e::wire::{Wire, field, status};
use tokio::net::TcpStream;

use super::{HOST, counted, world};

/// A request, the status of its answer, and the target in the Location.
fn requests() -> Vec<(&'static str, Vec<u8>, u16, Option<&'static str>)> {
    let row = |what, request: &str, status, location| (what, request.as_bytes().to_vec(), status, location);
    let long = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    vec![
        row("GET", "GET /a/b?c=d HTTP/1.1\r\nHost: app.test\r\n\r\n", 308, Some("/a/b?c=d")),
        row("a port", "GET / HTTP/1.1\r\nHost: app.test:8443\r\n\r\n", 308, Some("/")),
        row(
            "a WebSocket",
            "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            308,
            Some("/ws"),
        ),
        row("POST", "POST /p HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello", 308, Some("/p")),
        row("HTTP/1.0", "GET /old HTTP/1.0\r\nHost: app.test\r\n\r\n", 308, Some("/old")),
        row("a method of our own", "BREW /pot HTTP/1.1\r\nHost: app.test\r\n\r\n", 308, Some("/pot")),
        row("no Host", "GET / HTTP/1.1\r\n\r\n", 400, None),
        row("no head", "GET nonsense\r\n\r\n", 400, None),
        row("too long", &long, 431, None),
        row("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None),
    ]
}

#[tokio::test]
async fn a_request_in_the_clear_is_sent_to_https() {
    let (world, backend) = world().await;
    let proxy = world.proxy().unwrap();
    let port = proxy.https().port();
    let mut count = 0;
    for in_pieces in [false, true] {
        for (what, request, code, target) in requests() {
            if in_pieces && request.len() > 1_000 {
                continue;
            }
            let mut wire = Wire::new(TcpStream::connect(proxy.https()).await.unwrap());
            if in_pieces {
                wire.send_in_pieces(&request).await.unwrap();
            } else {
                wire.send(&request).await.unwrap();
            }
            let head = wire.head().await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
            assert_eq!(status(&head).unwrap(), code, "{what}: {head}");
            let location = target.map(|target| format!("https://{HOST}:{port}{target}"));
            assert_eq!(field(&head, "location"), location.as_deref(), "{what}: {head}");
            assert_eq!(field(&head, "connection"), Some("close"), "{what}: {head}");
            let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
            // All of one answer, and then the end.
            let body = String::from_utf8(wire.rest().await.unwrap()).unwrap();
            assert!(body.len() == length && body.starts_with("longhaul: "), "{what}: {body}");
            count += 1;
            counted(proxy, "plain_http", count).await.unwrap();
        }
    }
    assert!(backend.records().is_empty(), "nothing of it reached the backend");
}

#[tokio::test]
async fn a_request_in_the_clear_that_stops_is_not_waited_for() {
    let (world, _backend) = world().await;
    let mut wire = Wire::new(TcpStream::connect(world.proxy().unwrap().https()).await.unwrap());
    wire.send("GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let head = wire.head().await.unwrap();
    assert_eq!(status(&head).unwrap(), 408, "{head}");
    assert!(!wire.rest().await.unwrap().is_empty());
}
