//! What an idle tunnel costs the proxy: the slope of its resident memory between 500 and 4,500 tunnels.
//!
//! The guards are those of the design: 1,024 bytes in the clear, 5,120 with TLS outside. The kernel's own buffers
//! are not the process's. Measured with the profile that the tests are built with; the heap is the same in each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::client::Target;
use e2e::notes;
use e2e::wire::{Upstream, Wire, handshake};
use e2e::world::World;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const HOST: &str = "app.example.com";
const FEW: usize = 500;
const MANY: usize = 4_500;

/// Both ends of a tunnel and what else a process holds; the limit that children inherit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let needed = MANY as u64 * 2 + 500;
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(most >= needed, "{needed} file descriptors are needed, {most} are allowed");
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
}

async fn open(target: &Target, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = target.wire().await.unwrap();
    client.send(handshake(HOST, "/", "")).await.unwrap();
    let mut server = upstream.accept().await.unwrap();
    server.accept_websocket(b"").await.unwrap();
    client.head().await.unwrap();
    (client, server)
}

/// Bytes of resident memory for each idle tunnel.
async fn slope(choose: impl Fn(&World) -> Target) -> f64 {
    raise_descriptor_limit();
    let upstream = Upstream::bind().await.unwrap();
    let world = World::plan().site(HOST, upstream.address().unwrap()).start().await.unwrap();
    let target = choose(&world);
    let mut tunnels = Vec::new();
    let mut resident = Vec::new();
    for wanted in [FEW, MANY] {
        while tunnels.len() < wanted {
            tunnels.push(open(&target, &upstream).await);
        }
        // The answer to this comes after everything that the handshakes left behind was handled.
        let proxy = world.proxy().unwrap();
        assert_eq!(
            proxy.metrics().await.unwrap().count("longhaul_tunnels_open", &[]).unwrap(),
            wanted as u64
        );
        resident.push(proxy.process.facts().unwrap().resident);
    }
    (resident[1] as f64 - resident[0] as f64) / (MANY - FEW) as f64
}

#[tokio::test]
async fn an_idle_tunnel_in_the_clear_takes_a_kibibyte() {
    let bytes = slope(|world| world.plain(HOST).unwrap()).await;
    notes::measured(&format!("an idle tunnel in the clear: {bytes:.0} bytes of resident memory"));
    assert!(bytes <= 1024.0, "{bytes}");
}

#[tokio::test]
async fn an_idle_tunnel_with_tls_takes_five() {
    let bytes = slope(|world| world.tls(HOST).unwrap()).await;
    notes::measured(&format!("an idle tunnel with TLS outside: {bytes:.0} bytes of resident memory"));
    assert!(bytes <= 5120.0, "{bytes}");
}
