//! Clients that do not read, while their upstreams flood them: what the proxy holds is bounded, others do not feel
//! it, and nothing is lost once they read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use e2e::backend::demo::{checksum, pattern};
use e2e::notes;
use e2e::wire::{PATIENCE, Upstream, Wire, handshake, server_frame};
use e2e::world::World;
use tokio::task::JoinSet;
use tokio::time::Instant;

const HOST: &str = "app.example.com";
const SLOW: usize = 32;

/// What each upstream sends: twice what the proxy's send buffer can grow to, so that bytes pile up before the proxy.
const PIECES: u64 = 8;
const PIECE: usize = 1 << 20;

/// 64 KiB for the one direction that is stuck, and what TLS and the allocator add to it.
const HELD: u64 = 96 * 1024;

/// The bytes that wait in the kernel for somebody to read them, on the socket with these addresses: from the text of
/// `/proc/net/tcp`.
fn read_queue(table: &str, local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => panic!("tests use IPv4"),
    };
    let (local, peer) = (hex(local), hex(peer));
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = line.filter(|row| row.len() > 4 && row[1] == local && row[2] == peer);
    let (_, receive) = rows.next()?[4].split_once(':')?;
    u64::from_str_radix(receive, 16).ok()
}

struct Stuck {
    client: Wire,
    upstream_end: SocketAddr,
    proxy_end: SocketAddr,
}

#[tokio::test]
async fn what_is_held_for_slow_readers_is_bounded() {
    let upstream = Upstream::bind().await.unwrap();
    let world = World::plan().site(HOST, upstream.address().unwrap()).start().await.unwrap();
    let content: Vec<u8> = (0..PIECE as u64).map(pattern).collect();
    let frame = server_frame(2, &content);
    let wanted = checksum((0..PIECES).map(|_| &frame));
    let before = world.proxy().unwrap().process.facts().unwrap();

    let mut floods = JoinSet::new();
    let mut stuck = Vec::new();
    for number in 0..SLOW {
        let target = if number % 2 == 0 { world.plain(HOST) } else { world.tls(HOST) }.unwrap();
        let mut client = target.wire_with_receive_buffer(256 * 1024).await.unwrap();
        client.send(handshake(HOST, "/", "")).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.accept_websocket(b"").await.unwrap();
        client.head().await.unwrap();
        let (upstream_end, proxy_end) = (server.local().unwrap(), server.peer().unwrap());
        stuck.push(Stuck { client, upstream_end, proxy_end });
        let frame = frame.clone();
        floods.spawn(async move {
            for _ in 0..PIECES {
                server.send(&frame).await.unwrap();
            }
            server
        });
    }
    all_are_stuck(&stuck).await;

    let held = world.proxy().unwrap().process.facts().unwrap();
    let each = held.resident.saturating_sub(before.resident) / SLOW as u64;
    notes::measured(&format!("{each} bytes of resident memory for each of {SLOW} slow readers"));
    assert!(each <= HELD, "{each} bytes are held for each slow reader");

    // Somebody else does not feel it, and nothing spins.
    let mut other = world.plain(HOST).unwrap().wire().await.unwrap();
    other.send(handshake(HOST, "/", "")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.accept_websocket(b"quick").await.unwrap();
    other.head().await.unwrap();
    assert_eq!(other.take(5).await.unwrap(), b"quick");
    let (cpu, started) = (world.proxy().unwrap().process.facts().unwrap().cpu, Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = world.proxy().unwrap().process.facts().unwrap().cpu.saturating_sub(cpu);
    assert!(spent < started.elapsed() / 4, "{spent:?} of processor time while everyone waits");

    for one in &mut stuck {
        let sum = one.client.swallow(PIECES * frame.len() as u64).await.unwrap();
        assert_eq!(sum, wanted, "nothing is lost");
    }
    floods.join_all().await;
}

/// Waits until bytes pile up in front of the proxy on every connection and no pile moves any more.
async fn all_are_stuck(stuck: &[Stuck]) {
    // The kernel's buffers grow for a while, and that goes slowly where the machine is busy.
    let given_up = Instant::now() + 4 * PATIENCE;
    let mut before = Vec::new();
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let queues: Vec<_> =
            stuck.iter().map(|one| read_queue(&table, one.proxy_end, one.upstream_end)).collect();
        if queues == before && queues.iter().all(|queue| queue.is_some_and(|bytes| bytes > 0)) {
            return;
        }
        assert!(Instant::now() < given_up, "the proxy reads on: {queues:?}");
        before = queues;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
