//! `selftest` against the real programs, as `helm test` uses it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use e2e::backend::demo::DemoBackend;
use e2e::objects::{Ingress, backend};
use e2e::process::{Process, binary};
use e2e::world::World;

const HOST: &str = "selftest.example.com";

fn start(connect: SocketAddr, further: &[&str]) -> Process {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.args(["selftest", "--listen", "127.0.0.1:0", "--host", HOST]).args(further);
    command.arg("--connect").arg(format!("localhost:{}", connect.port()));
    Process::start("selftest", command).unwrap()
}

/// Where its server listens.
async fn address(selftest: &Process) -> SocketAddr {
    let listening = |line: &str| line.strip_prefix("listening on ")?.parse().ok();
    selftest.line("where it listens", listening).await.unwrap()
}

#[tokio::test]
async fn it_passes_as_soon_as_the_route_leads_to_it() {
    let mut world = World::plan().start().await.unwrap();
    let mut selftest = start(world.proxy().unwrap().http(), &["--timeout", "60s", "--path", "/test"]);
    let objects = [backend("echo", &[address(&selftest).await]), {
        Ingress::new("selftest", HOST).path("/test", "echo").yaml()
    }];
    // It has asked too early by now.
    let metrics = async || world.proxy().unwrap().metrics().await.unwrap();
    while metrics().await.count("longhaul_refusals_total", &[]).unwrap_or(0) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.write("selftest.yaml", &objects.join("---\n")).await.unwrap();
    assert_eq!(selftest.ended().await.unwrap().code(), Some(0), "{}", selftest.tail());
    let last = selftest.lines().last().unwrap().clone();
    assert!(last.starts_with("passed: a message went through a tunnel and came back"), "{last}");
    world.proxy().unwrap().wait_closed("client_closed", 1).await.unwrap();
}

#[tokio::test]
async fn what_it_saw_last_is_said() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let other = World::plan().site(HOST, blue.address()).start().await.unwrap();
    let none = World::plan().start().await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (connect, says) in [
        (none.proxy().unwrap().http(), "the answer was 404 Not Found, Proxy-Status: longhaul; error="),
        (nobody, "connecting failed: Connection refused"),
        (other.proxy().unwrap().http(), "leads to another server"),
    ] {
        let mut selftest = start(connect, &["--timeout", "2s"]);
        assert_eq!(selftest.ended().await.unwrap().code(), Some(1), "{}", selftest.tail());
        let last = selftest.lines().last().unwrap().clone();
        assert!(last.contains(says) && last.contains("within 2s"), "{last}");
    }
}
