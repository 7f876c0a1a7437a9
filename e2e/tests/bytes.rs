//! What passes through a tunnel, to the byte: around the 101, in pieces, in bulk, and how ends are passed on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use e2e::backend::demo::checksum;
use e2e::client::Target;
use e2e::wire::{
    Ending, PATIENCE, Upstream, Wire, client_frame, field, handshake, server_frame, status,
    switching_protocols,
};
use e2e::world::World;
use tokio::time::Instant;

const HOST: &str = "app.example.com";
const TEXT: u8 = 1;
const BINARY: u8 = 2;

async fn world(upstream: &Upstream) -> World {
    World::plan().site(HOST, upstream.address().unwrap()).start().await.unwrap()
}

fn both(world: &World) -> [Target; 2] {
    [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()]
}

/// An open tunnel, client and server end, both played by the test.
async fn tunnel(target: &Target, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = target.wire().await.unwrap();
    client.send(handshake(HOST, "/", "")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.accept_websocket(b"").await.unwrap();
    assert_eq!(status(&client.head().await.unwrap()).unwrap(), 101);
    (client, server)
}

#[tokio::test]
async fn bytes_before_the_101_go_first_down_the_tunnel() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let early = [client_frame(TEXT, b"one"), client_frame(BINARY, &[7; 300])].concat();
        let mut client = target.wire().await.unwrap();
        client.send([handshake(HOST, "/early", "").into_bytes(), early.clone()].concat()).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        let head = server.head().await.unwrap();
        assert_eq!(server.received().len(), head.len(), "nothing passes before the 101");
        let answer = switching_protocols(&head).unwrap();
        server.send(answer).await.unwrap();
        assert_eq!(status(&client.head().await.unwrap()).unwrap(), 101);
        let late = client_frame(TEXT, b"two");
        client.send(&late).await.unwrap();
        assert_eq!(server.take(early.len() + late.len()).await.unwrap(), [early, late].concat());
    }
}

#[tokio::test]
async fn more_than_is_held_before_the_101_arrives_all_the_same() {
    const PIECES: u64 = 64;
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    let frame = client_frame(BINARY, &vec![5; 1 << 20]);
    let wanted = checksum((0..PIECES).map(|_| &frame));
    for target in both(&world) {
        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/early", "")).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        let head = server.head().await.unwrap();
        let flood = client.flood(&frame, PIECES);
        let serve = async {
            server.send(switching_protocols(&head)?).await?;
            server.swallow(PIECES * frame.len() as u64).await
        };
        let (flooded, swallowed) = tokio::join!(flood, serve);
        flooded.unwrap();
        assert_eq!(swallowed.unwrap(), wanted);
    }
}

#[tokio::test]
async fn bytes_behind_the_101_reach_the_client() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let behind = [server_frame(TEXT, b"welcome"), server_frame(BINARY, &vec![9; 70_000])].concat();
        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/", "")).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.accept_websocket(&behind).await.unwrap();
        client.head().await.unwrap();
        assert_eq!(client.take(behind.len()).await.unwrap(), behind);
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let mut client = target.wire().await.unwrap();
        client.send_in_pieces(handshake(HOST, "/pieces?a=b", "X-Odd: yes\r\n")).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        let head = server.head().await.unwrap();
        assert!(head.starts_with("GET /pieces?a=b HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "x-odd"), Some("yes"));
        server.send_in_pieces(switching_protocols(&head).unwrap()).await.unwrap();
        client.head().await.unwrap();
        let up = [client_frame(TEXT, b"hello"), client_frame(BINARY, &[1; 200])].concat();
        let down = [server_frame(TEXT, b"hello"), server_frame(BINARY, &[2; 200])].concat();
        client.send_in_pieces(&up).await.unwrap();
        server.send_in_pieces(&down).await.unwrap();
        assert_eq!(server.take(up.len()).await.unwrap(), up);
        assert_eq!(client.take(down.len()).await.unwrap(), down);
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_each_way_at_once_arrive_unchanged() {
    const PIECES: u64 = 100;
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    let mebibyte: Vec<u8> = (0..1 << 20).map(e2e::backend::demo::pattern).collect();
    let up = client_frame(BINARY, &mebibyte);
    let down = server_frame(BINARY, &mebibyte);
    let sums = [&up, &down].map(|frame| checksum((0..PIECES).map(|_| frame)));
    for target in both(&world) {
        let (mut client, mut server) = tunnel(&target, &upstream).await;
        let (at_client, at_server) = tokio::join!(
            client.flood_and_swallow(&up, PIECES, PIECES * down.len() as u64),
            server.flood_and_swallow(&down, PIECES, PIECES * up.len() as u64),
        );
        assert_eq!(at_server.unwrap(), sums[0], "what the server got");
        assert_eq!(at_client.unwrap(), sums[1], "what the client got");
    }
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_other_direction_lives() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let (mut client, mut server) = tunnel(&target, &upstream).await;
        client.finish().await.unwrap();
        assert_eq!(server.rest().await.unwrap(), b"");
        let late = server_frame(TEXT, b"said after the client's end");
        server.send(&late).await.unwrap();
        assert_eq!(client.take(late.len()).await.unwrap(), late);
        server.finish().await.unwrap();
        assert_eq!(client.ended().await.unwrap(), Ending::Fin);
    }
    let (mut client, mut server) = tunnel(&world.plain(HOST).unwrap(), &upstream).await;
    server.finish().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"");
    let late = client_frame(TEXT, b"said after the server's end");
    client.send(&late).await.unwrap();
    assert_eq!(server.take(late.len()).await.unwrap(), late);
    client.finish().await.unwrap();
    assert_eq!(server.ended().await.unwrap(), Ending::Fin);
}

#[tokio::test]
async fn a_reset_is_passed_on_with_its_reason() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let (client, mut server) = tunnel(&target, &upstream).await;
        client.reset().unwrap();
        assert_eq!(server.ended().await.unwrap(), Ending::Reset);
    }
    world.proxy().unwrap().wait_closed("client_reset", 2).await.unwrap();

    let other = self::world(&upstream).await;
    for target in both(&other) {
        let (mut client, server) = tunnel(&target, &upstream).await;
        server.reset().unwrap();
        assert_eq!(client.ended().await.unwrap(), Ending::Reset);
    }
    other.proxy().unwrap().wait_closed("upstream_reset", 2).await.unwrap();
}

#[tokio::test]
async fn a_close_is_passed_on_and_its_author_is_named() {
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    for target in both(&world) {
        let (mut client, mut server) = tunnel(&target, &upstream).await;
        let (close, reply) = (client_frame(8, &[0x0f, 0xa1]), server_frame(8, &[0x0f, 0xa1]));
        client.send(&close).await.unwrap();
        assert_eq!(server.take(close.len()).await.unwrap(), close);
        server.send(&reply).await.unwrap();
        server.finish().await.unwrap();
        assert_eq!(client.take(reply.len()).await.unwrap(), reply);
        assert_eq!(client.ended().await.unwrap(), Ending::Fin);
        client.finish().await.unwrap();
    }
    world.proxy().unwrap().wait_closed("client_closed", 2).await.unwrap();
}

#[tokio::test]
async fn nothing_stays_behind_however_a_tunnel_ends() {
    const ROUNDS: usize = 50;
    let upstream = Upstream::bind().await.unwrap();
    let world = world(&upstream).await;
    let proxy = world.proxy().unwrap();
    let before = proxy.process.facts().unwrap();
    for round in 0..ROUNDS {
        let target = &both(&world)[round % 2];
        let (client, server) = tunnel(target, &upstream).await;
        match round % 5 {
            0 => client.reset().unwrap(),
            1 => server.reset().unwrap(),
            2 => drop(client),
            3 => drop(server),
            _ => {
                let mut half = client;
                half.finish().await.unwrap();
                drop(server);
            }
        }
        // And a handshake whose client is gone before the upstream answers.
        let mut client = target.wire().await.unwrap();
        client.send(handshake(HOST, "/", "")).await.unwrap();
        let server = upstream.accept().await.unwrap();
        client.reset().unwrap();
        drop(server);
    }
    let given_up = Instant::now() + PATIENCE;
    loop {
        let open = proxy.metrics().await.unwrap().count("longhaul_tunnels_open", &[]).unwrap();
        // One for the connection that asked for the metrics, which the proxy may not have put away yet.
        let descriptors = proxy.process.facts().unwrap().descriptors;
        if open == 0 && descriptors <= before.descriptors + 1 {
            break;
        }
        assert!(Instant::now() < given_up, "{open} tunnels, {descriptors} descriptors, {before:?} before");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let closed = proxy.metrics().await.unwrap().count("longhaul_tunnels_closed_total", &[]).unwrap();
    assert_eq!(closed, ROUNDS as u64, "each tunnel has exactly one reason");
}
