//! Connections to upstreams: which are used again, and what happens when one goes as it is.

use e2e::client::Answer;
use e2e::wire::{Upstream, Wire, field, handshake};
use tokio::task::JoinSet;

use super::{HOST, both, plan};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// As many idle connections to one endpoint as a worker keeps.
const MOST_IDLE: usize = 32;

async fn send(client: &mut Wire, method: &str, body: &str) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    client.send(format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n{body}")).await.unwrap();
}

async fn answer(server: &mut Wire) {
    server.head().await.unwrap();
    server.send(OK).await.unwrap();
}

#[tokio::test]
async fn what_asks_only_is_asked_again_where_its_connection_goes_as_it_comes() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        let mut client = target.wire().await.unwrap();
        send(&mut client, "GET", "").await;
        let mut server = upstream.accept().await.unwrap();
        answer(&mut server).await;
        Answer::read(&mut client).await.unwrap();
        for round in 0..30 {
            send(&mut client, ["GET", "OPTIONS"][round % 2], "").await;
            server.head().await.unwrap();
            // It has come, and is not answered.
            if round % 3 == 0 {
                server.reset().unwrap();
            } else {
                drop(server);
            }
            server = upstream.accept().await.unwrap();
            answer(&mut server).await;
            let answer = Answer::read(&mut client).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "round {round}");
        }
        // Once only: the second connection was new, and what it does is the upstream's answer.
        send(&mut client, "GET", "").await;
        server.head().await.unwrap();
        drop(server);
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        drop(server);
        let answer = Answer::read(&mut client).await.unwrap();
        assert_eq!(answer.status, 502, "{}", answer.head);
        assert!(upstream.untouched().await);
    }
}

#[tokio::test]
async fn what_may_have_done_something_is_never_sent_again() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        for (method, body) in
            [("POST", "hello"), ("POST", ""), ("PUT", "hello"), ("DELETE", ""), ("PATCH", "x")]
        {
            let mut client = target.wire().await.unwrap();
            send(&mut client, "GET", "").await;
            let mut server = upstream.accept().await.unwrap();
            answer(&mut server).await;
            Answer::read(&mut client).await.unwrap();

            send(&mut client, method, body).await;
            let head = server.head().await.unwrap();
            assert!(head.starts_with(method), "the connection is used again: {head}");
            drop(server);
            let answer = Answer::read(&mut client).await.unwrap();
            assert_eq!(answer.status, 502, "{method}: {}", answer.head);
            let status = field(&answer.head, "proxy-status").unwrap();
            assert!(status.contains("connection_terminated"), "{method}: {}", answer.head);
            assert!(upstream.untouched().await, "{method}: it is sent twice");
        }
    }
}

/// A method, and an answer to it with more behind it than there may be.
const OVERFLOWING: [(&str, &str); 6] = [
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ("GET", "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n"),
];

#[tokio::test]
async fn what_comes_behind_an_answer_is_nobodys() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        for (method, overflowing) in OVERFLOWING {
            for _ in 0..5 {
                let mut client = target.wire().await.unwrap();
                send(&mut client, method, "").await;
                let mut server = upstream.accept().await.unwrap();
                server.head().await.unwrap();
                server.send(overflowing).await.unwrap();
                let head = client.head().await.unwrap();
                if method == "GET" && head.contains(" 200 ") {
                    let last = if head.contains("chunked") { &b"0\r\n\r\n"[..] } else { b"hello" };
                    while !client.received().ends_with(last) {
                        client.take(1).await.unwrap();
                    }
                }
                // Whoever asks next, over the same connection or another, is answered anew.
                let mut next = target.wire().await.unwrap();
                for _ in 0..2 {
                    send(&mut next, "GET", "").await;
                }
                let mut fresh = upstream.accept().await.unwrap();
                for _ in 0..2 {
                    answer(&mut fresh).await;
                    assert_eq!(Answer::read(&mut next).await.unwrap().text(), "hello", "{overflowing:?}");
                }
                assert!(!String::from_utf8_lossy(client.received()).contains("evil"), "{overflowing:?}");
            }
        }
    }
}

#[tokio::test]
async fn so_many_idle_connections_are_kept_and_no_more() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..MOST_IDLE + 8 {
        let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
        send(&mut client, "GET", "").await;
        let mut server = upstream.accept().await.unwrap();
        server.head().await.unwrap();
        clients.push(client);
        servers.push(server);
    }
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        server.send(OK).await.unwrap();
        assert_eq!(Answer::read(client).await.unwrap().status, 200);
    }
    // The last ones find no room.
    for mut server in servers.split_off(MOST_IDLE) {
        server.ended().await.unwrap();
    }
    // The others carry the next requests, all at once.
    let mut serving = JoinSet::new();
    for mut server in servers {
        serving.spawn(async move {
            answer(&mut server).await;
            server
        });
    }
    for client in clients.iter_mut().take(MOST_IDLE) {
        send(client, "GET", "").await;
    }
    for client in clients.iter_mut().take(MOST_IDLE) {
        assert_eq!(Answer::read(client).await.unwrap().status, 200);
    }
    assert_eq!(serving.join_all().await.len(), MOST_IDLE);
    assert!(upstream.untouched().await, "a connection that was not needed");
}

#[tokio::test]
async fn a_websocket_never_comes_over_a_connection_that_was_used() {
    let upstream = Upstream::bind().await.unwrap();
    let world = plan(&upstream).start().await.unwrap();
    for target in both(&world, HOST) {
        let mut plain = target.wire().await.unwrap();
        send(&mut plain, "GET", "").await;
        let mut idle = upstream.accept().await.unwrap();
        answer(&mut idle).await;
        Answer::read(&mut plain).await.unwrap();

        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/ws", "")).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.accept_websocket(b"").await.unwrap();
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101 "));

        // Nor does a tunnel's connection, or that of a refused handshake, carry a request later.
        let mut refused = target.wire().await.unwrap();
        refused.send(handshake(HOST, "/ws", "")).await.unwrap();
        let mut refusing = upstream.accept().await.unwrap();
        refusing.head().await.unwrap();
        refusing.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        assert_eq!(Answer::read(&mut refused).await.unwrap().status, 403);
        refusing.ended().await.unwrap();
        send(&mut plain, "GET", "").await;
        answer(&mut idle).await;
        assert_eq!(Answer::read(&mut plain).await.unwrap().status, 200);
        drop(idle);
    }
}
