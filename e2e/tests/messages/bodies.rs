//! Bodies of requests: announced, asked for, limited, with trailers.

use std::net::TcpListener;

use e2e::client::Answer;
use e2e::objects;
use e2e::wire::{Ending, Upstream, Wire, field, status};

use super::{HOST, LIMIT, LIMITED, both, plan};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// Sends the head of a POST that expects 100-continue.
async fn expecting(client: &mut Wire, host: &str, version: &str, length: usize) {
    let head = format!(
        "POST / {version}\r\nHost: {host}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    client.send(head).await.unwrap();
}

#[tokio::test]
async fn a_body_that_waits_is_called_for_when_the_upstream_takes_it() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        let mut client = target.wire().await.unwrap();
        expecting(&mut client, HOST, "HTTP/1.1", 5).await;
        let mut server = upstream.accept().await.unwrap();
        let head = server.head().await.unwrap();
        assert_eq!(field(&head, "expect"), None, "{head}");
        assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("12345").await.unwrap();
        assert_eq!(server.take(5).await.unwrap(), b"12345");
        server.send(OK).await.unwrap();
        let answer = Answer::read(&mut client).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));

        // HTTP/1.0 knows no such thing (RFC 9110 §10.1.1): nothing comes before the answer.
        let mut client = target.wire().await.unwrap();
        expecting(&mut client, HOST, "HTTP/1.0", 5).await;
        client.send("12345").await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        assert_eq!(server.take(5).await.unwrap(), b"12345");
        server.send(OK).await.unwrap();
        let head = client.head().await.unwrap();
        assert!(head.contains(" 200 "), "{head}");
        assert_eq!(client.rest().await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_body_that_nobody_takes_is_not_called_for() {
    let upstream = Upstream::bind().await.unwrap();
    let mut world = plan(&upstream).start().await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = |host: &'static str, length, code| (host, length, code);
    for target in both(&world, LIMITED) {
        let mut client = target.wire().await.unwrap();
        expecting(&mut client, LIMITED, "HTTP/1.1", LIMIT + 1).await;
        let head = client.head().await.unwrap();
        assert_eq!(status(&head).unwrap(), 413, "{head}");
    }
    assert!(upstream.untouched().await);
    world.write("backend.yaml", &objects::backend("backend", &[closed])).await.unwrap();
    for (host, length, code) in [refused(HOST, 5, 502), refused("unknown.example.com", 5, 404)] {
        let mut client = world.plain(host).unwrap().wire().await.unwrap();
        expecting(&mut client, host, "HTTP/1.1", length).await;
        let head = client.head().await.unwrap();
        assert_eq!(status(&head).unwrap(), code, "{head}");
        assert_eq!(field(&head, "connection"), Some("close"), "{head}");
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_at_once() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, LIMITED) {
        let mut client = target.wire().await.unwrap();
        let length = LIMIT + 1;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: {LIMITED}\r\nContent-Length: {length}\r\n\r\nbegun"))
            .await
            .unwrap();
        let answer = Answer::read(&mut client).await.unwrap();
        assert_eq!(answer.status, 413, "{}", answer.head);
        assert_eq!(field(&answer.head, "connection"), Some("close"), "{}", answer.head);
        let proxy_status = field(&answer.head, "proxy-status");
        assert_eq!(proxy_status, Some("longhaul; error=http_request_error"), "{}", answer.head);
        assert!(upstream.untouched().await);

        // As long as it may be.
        let mut client = target.wire().await.unwrap();
        client
            .send(format!("POST / HTTP/1.1\r\nHost: {LIMITED}\r\nContent-Length: {LIMIT}\r\n\r\n"))
            .await
            .unwrap();
        client.send(vec![b'x'; LIMIT]).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        server.take(LIMIT).await.unwrap();
        server.send(OK).await.unwrap();
        assert_eq!(Answer::read(&mut client).await.unwrap().status, 200);
    }
}

/// One chunk of so many bytes.
fn chunk(length: usize) -> Vec<u8> {
    [format!("{length:x}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat()
}

#[tokio::test]
async fn a_body_that_grows_too_long_is_cut_and_never_looks_whole() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: {LIMITED}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for target in both(&world, LIMITED) {
        // As long as it may be, cut anyhow.
        let mut client = target.wire().await.unwrap();
        client.send([head.as_bytes(), &chunk(LIMIT - 1), &chunk(1), b"0\r\n\r\n"].concat()).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        while !server.received().ends_with(b"0\r\n\r\n") {
            server.take(1).await.unwrap();
        }
        assert!(server.received().len() > LIMIT, "nothing of it is missing");
        server.send(OK).await.unwrap();
        assert_eq!(Answer::read(&mut client).await.unwrap().status, 200);

        // One byte more.
        let mut client = target.wire().await.unwrap();
        client.send([head.as_bytes(), &chunk(LIMIT), &chunk(1), b"0\r\n\r\n"].concat()).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        let answer = Answer::read(&mut client).await.unwrap();
        assert_eq!(answer.status, 413, "{}", answer.head);
        assert_eq!(field(&answer.head, "connection"), Some("close"), "{}", answer.head);
        let proxy_status = field(&answer.head, "proxy-status");
        assert_eq!(proxy_status, Some("longhaul; error=http_request_error"), "{}", answer.head);
        server.ended().await.unwrap();
        assert!(!server.received().ends_with(b"0\r\n\r\n"), "a message that looks whole");

        // The answer has begun: all that can be done is to cut it too.
        let mut client = target.wire().await.unwrap();
        client.send([head.as_bytes(), &chunk(10)].concat()).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
        client.head().await.unwrap();
        assert_eq!(client.take(5).await.unwrap(), b"hello");
        client.send(chunk(LIMIT)).await.unwrap();
        assert_eq!(client.ended().await.unwrap(), Ending::Reset);
        server.ended().await.unwrap();
        assert!(!server.received().ends_with(b"0\r\n\r\n"), "a message that looks whole");
    }
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_upstream() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        let mut client = target.wire().await.unwrap();
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nX-Sum: 1\r\nAuthorization: no\r\n\r\n"
            ))
            .await
            .unwrap();
        let mut server = upstream.accept().await.unwrap();
        let head = server.head().await.unwrap();
        assert_eq!(field(&head, "trailer"), Some("X-Sum"), "{head}");
        let body = b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
        let got = server.take(body.len()).await.unwrap();
        assert!(got == body, "{}", got.escape_ascii());
        server.send(OK).await.unwrap();
        assert_eq!(Answer::read(&mut client).await.unwrap().status, 200);
    }
}
