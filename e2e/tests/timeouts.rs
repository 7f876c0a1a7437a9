//! The 60-second trap and what stands in its place. Time itself is what these tests look at: they alone sleep.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ops::Range;
use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::client::Socket;
use e2e::wire::{Upstream, Wire, client_frame, handshake, server_frame};
use e2e::world::World;
use tokio::time::{Instant, sleep};

const HOST: &str = "app.example.com";
const IDLE: &str = "longhaul.dev/idle-timeout";
const NGINX_READ: &str = "nginx.ingress.kubernetes.io/proxy-read-timeout";
const TEXT: u8 = 1;

/// When closing for an idle time of 2 s may begin: the sweep comes once a second, the machine is busy.
const AFTER_TWO: Range<Duration> = Duration::from_millis(1_990)..Duration::from_millis(3_500);

async fn closing(socket: &mut Socket) -> u16 {
    let close = socket.closed().await.unwrap().expect("a Close frame comes before the end");
    close.code.into()
}

#[tokio::test]
async fn a_silent_tunnel_outlives_the_minute_at_which_others_close_it() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    let mut plain = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    let mut tls = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    sleep(Duration::from_secs(63)).await;
    plain.echo("still there").await.unwrap();
    tls.echo("still there").await.unwrap();
    assert_eq!(world.proxy().unwrap().closed("idle_timeout").await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_tunnel_is_closed_politely_when_its_time_is_over() {
    for (key, value) in [(IDLE, "2s"), (NGINX_READ, "2")] {
        let blue = DemoBackend::start("blue").await.unwrap();
        let world = World::plan().site(HOST, blue.address()).annotation(key, value).start().await.unwrap();
        for (count, target) in [(1, world.plain(HOST).unwrap()), (2, world.tls(HOST).unwrap())] {
            let mut socket = target.websocket("/").await.unwrap();
            socket.echo("the last word").await.unwrap();
            let silent = Instant::now();
            assert_eq!(closing(&mut socket).await, 1001);
            let took = silent.elapsed();
            assert!(AFTER_TWO.contains(&took), "{key}: closing began after {took:?}");
            world.proxy().unwrap().wait_closed("idle_timeout", count).await.unwrap();
        }
    }
}

/// A tunnel whose backend is the test.
async fn played(world: &World, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = world.plain(HOST).unwrap().wire().await.unwrap();
    client.send(handshake(HOST, "/", "")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.accept_websocket(b"").await.unwrap();
    client.head().await.unwrap();
    (client, server)
}

#[tokio::test]
async fn traffic_in_one_direction_keeps_a_tunnel_open() {
    let upstream = Upstream::bind().await.unwrap();
    let world =
        World::plan().site(HOST, upstream.address().unwrap()).annotation(IDLE, "2s").start().await.unwrap();
    let (mut up_client, mut up_server) = played(&world, &upstream).await;
    let (mut down_client, mut down_server) = played(&world, &upstream).await;
    let to_server = client_frame(TEXT, b"up");
    let to_client = server_frame(TEXT, b"down");
    for _ in 0..6 {
        sleep(Duration::from_secs(1)).await;
        up_client.send(&to_server).await.unwrap();
        assert_eq!(up_server.take(to_server.len()).await.unwrap(), to_server);
        down_server.send(&to_client).await.unwrap();
        assert_eq!(down_client.take(to_client.len()).await.unwrap(), to_client);
    }
    let silent = Instant::now();
    let close = up_client.take(4).await.unwrap();
    assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]), "a Close with 1001");
    let took = silent.elapsed();
    assert!(AFTER_TWO.contains(&took), "closing began after {took:?}");
    // Towards the upstream it is masked: 0x88, 0x80 + length.
    assert_eq!(up_server.take(2).await.unwrap()[0], 0x88);
    assert_eq!(down_client.take(1).await.unwrap(), [0x88]);
}

#[tokio::test]
async fn an_edited_idle_timeout_reaches_a_tunnel_that_is_open() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).annotation(IDLE, "1h").start().await.unwrap();
    let mut socket = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    world.edit("site.yaml", "\"1h\"", "\"2s\"").await.unwrap();
    socket.echo("the last word").await.unwrap();
    let silent = Instant::now();
    assert_eq!(closing(&mut socket).await, 1001);
    let took = silent.elapsed();
    assert!(AFTER_TWO.contains(&took), "closing began after {took:?}");
    world.proxy().unwrap().wait_closed("idle_timeout", 1).await.unwrap();
}

#[tokio::test]
async fn a_longer_idle_timeout_reaches_a_tunnel_that_is_open() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).annotation(IDLE, "3s").start().await.unwrap();
    let mut socket = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    world.edit("site.yaml", "\"3s\"", "\"0s\"").await.unwrap();
    sleep(Duration::from_secs(6)).await;
    socket.echo("no limit any more").await.unwrap();
}
