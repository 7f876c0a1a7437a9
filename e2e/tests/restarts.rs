//! Either program ends like in a crash and comes back; nobody's tunnel pays for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::cluster::eventually;
use e2e::objects::{Ingress, backend};
use e2e::world::World;

const HOST: &str = "app.example.com";

#[tokio::test]
async fn nobody_notices_that_the_controller_is_gone() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let green = DemoBackend::start("green").await.unwrap();
    let mut world = World::plan()
        .site(HOST, blue.address())
        .file("green.yaml", backend("green", &[green.address()]))
        .start()
        .await
        .unwrap();
    let mut open = world.tls(HOST).unwrap().websocket("/").await.unwrap();

    world.kill_controller().unwrap();
    open.echo("without a controller").await.unwrap();
    let mut new = world.tls(HOST).unwrap().websocket("/").await.unwrap();
    assert_eq!(new.backend(), "blue");
    new.echo("opened without a controller").await.unwrap();

    // Changed while nobody looked.
    let moved = Ingress::new("site", HOST).path("/", "green").tls_beside_plain("site-tls");
    world.put("site.yaml", &moved.yaml()).unwrap();
    world.start_controller().await.unwrap();
    world.settle().await.unwrap();
    let mut newer = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    assert_eq!(newer.backend(), "green");
    for socket in [&mut open, &mut new, &mut newer] {
        socket.echo("with a new controller").await.unwrap();
    }
    // That nothing comes can only be waited for: a close that is due is ordered within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    open.echo("and a while later").await.unwrap();
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    assert_eq!(metrics.count("longhaul_tunnels_closed_total", &[]).unwrap(), 0);
}

#[tokio::test]
async fn a_proxy_that_comes_back_alone_serves_what_it_had() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().site(HOST, blue.address()).start().await.unwrap();
    // A generation is served first and kept then.
    let kept = async || {
        let file = std::fs::read(world.last_good(0))?;
        anyhow::ensure!(file.windows(HOST.len()).any(|part| part == HOST.as_bytes()), "without {HOST}");
        Ok(())
    };
    eventually("the last good snapshot", kept).await.unwrap();
    world.kill_controller().unwrap();
    world.kill_proxy().unwrap();
    world.start_proxy(0).await.unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut socket = target.websocket("/").await.unwrap();
        assert_eq!(socket.backend(), "blue");
        socket.echo("from the last good snapshot").await.unwrap();
    }
    // A new controller is a new epoch, which is believed; equal content needs no new table.
    world.start_controller().await.unwrap();
    world.settle().await.unwrap();
    world.plain(HOST).unwrap().websocket("/").await.unwrap().echo("and on").await.unwrap();
}

#[tokio::test]
async fn one_proxy_of_two_costs_the_other_nothing() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = World::plan().proxies(2).site(HOST, blue.address()).start().await.unwrap();
    let second = world.plain_at(1, HOST).unwrap();
    let mut open = second.websocket("/").await.unwrap();
    let mut lost = world.plain(HOST).unwrap().websocket("/").await.unwrap();
    lost.echo("before").await.unwrap();

    world.kill_proxy().unwrap();
    lost.closed().await.unwrap_err();
    open.echo("the other one goes on").await.unwrap();
    world.edit("site.yaml", "metadata:\n", "metadata:\n  labels: {changed: \"yes\"}\n").await.unwrap();
    open.echo("and on").await.unwrap();

    world.start_proxy(0).await.unwrap();
    world.settle().await.unwrap();
    world.plain(HOST).unwrap().websocket("/").await.unwrap().echo("back again").await.unwrap();
    open.echo("still there").await.unwrap();
}
