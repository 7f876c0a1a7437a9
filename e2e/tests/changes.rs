//! 1,000 tunnels open, 500 changes around them: nothing closes, nothing grows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::client::Socket;
use e2e::notes;
use e2e::objects::{Ingress, backend};
use e2e::wire::PATIENCE;
use e2e::world::World;
use tokio::time::Instant;

const HOST: &str = "app.example.com";
const TUNNELS: usize = 1_000;
const CHANGES: usize = 500;

/// How many tunnels are asked for an echo after each change. All are asked at the end.
const ASKED: usize = 20;

/// Growth over the last 200 changes that is still called flat: a page table, an arena, not a table a change.
const FLAT: u64 = 2 << 20;

fn other(number: usize, service: &str) -> String {
    let host = format!("other-{number}.example.com");
    let paths = (0..10).fold(Ingress::new(&format!("other-{number}"), &host), |ingress, path| {
        ingress.path(&format!("/path-{path}"), service)
    });
    paths.tls("site-tls").yaml()
}

/// The kinds of change take turns. None of them concerns the route of the open tunnels but the Secret of its host,
/// and the endpoints that it has beside the one which serves them.
async fn change(world: &mut World, number: usize, blue: &DemoBackend, green: &DemoBackend) {
    let other_number = number / 5 % 10;
    let name = format!("other-{other_number}.yaml");
    match number % 5 {
        0 => world.write(&name, &other(other_number, "backend")).await,
        1 => world.edit(&name, "service: {name: backend", "service: {name: green").await,
        2 => {
            let pair = world.authority().issue(&[HOST]).unwrap();
            world.write("secret.yaml", &pair.secret("default", "site-tls")).await
        }
        3 => {
            // The same objects in another order and another file, and the endpoints replaced.
            let addresses = if number.is_multiple_of(2) {
                vec![blue.address()]
            } else {
                vec![green.address(), blue.address()]
            };
            world.put("backend.yaml", &backend("backend", &addresses)).unwrap();
            fs::rename(world.objects().join(&name), world.objects().join(format!("0-{name}"))).unwrap();
            world.settle().await
        }
        _ => world.remove(&format!("0-{name}")).await,
    }
    .unwrap_or_else(|error| panic!("change {number}: {error:?}"));
}

#[tokio::test]
async fn a_thousand_tunnels_outlive_five_hundred_changes() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let green = DemoBackend::start("green").await.unwrap();
    let mut world = World::plan()
        .site(HOST, blue.address())
        .file("green.yaml", backend("green", &[green.address()]))
        .start()
        .await
        .unwrap();
    let ways = [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()];
    let mut tunnels: Vec<Socket> = Vec::new();
    for number in 0..TUNNELS {
        tunnels.push(ways[number % 2].websocket("/").await.unwrap());
    }

    let mut resident = Vec::new();
    for number in 0..CHANGES {
        change(&mut world, number, &blue, &green).await;
        for asked in 0..ASKED {
            let tunnel = &mut tunnels[(number * ASKED + asked) % TUNNELS];
            tunnel.echo(&format!("after change {number}")).await.unwrap();
        }
        if [100, 300, 500].contains(&(number + 1)) {
            resident.push(world.proxy().unwrap().process.facts().unwrap().resident);
        }
    }
    for tunnel in &mut tunnels {
        tunnel.echo("after all changes").await.unwrap();
    }

    one_table_is_left(&world).await;
    let metrics = world.proxy().unwrap().metrics().await.unwrap();
    assert_eq!(metrics.count("longhaul_tunnels_closed_total", &[]).unwrap(), 0, "nothing was closed");
    assert_eq!(metrics.count("longhaul_tunnels_open", &[]).unwrap(), TUNNELS as u64);
    let growth: Vec<u64> = resident.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    notes::measured(&format!("resident after 100, 300, 500 changes: {resident:?}; growth {growth:?}"));
    assert!(growth[1] <= FLAT, "memory grows with changes: {resident:?}");
}

/// Old tables are freed beside the acknowledgement, so a moment after it at the latest.
async fn one_table_is_left(world: &World) {
    let asked = async {
        let proxy = world.proxy().unwrap();
        while proxy.metrics().await.unwrap().count("longhaul_tables", &[]).unwrap() != 1 {}
    };
    let left = tokio::time::timeout(Duration::from_secs(10), asked).await;
    assert!(left.is_ok(), "tunnels hold on to old tables");
}

/// Printed and not asserted: how long it takes from the write of a file until a new handshake follows it.
#[tokio::test]
async fn an_edited_file_is_served_soon() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let green = DemoBackend::start("green").await.unwrap();
    let mut world = World::plan()
        .site(HOST, blue.address())
        .file("green.yaml", backend("green", &[green.address()]))
        .start()
        .await
        .unwrap();
    let mut times = Vec::new();
    for number in 0..21 {
        let (service, name) = if number % 2 == 0 { ("green", "green") } else { ("backend", "blue") };
        let site = Ingress::new("site", HOST).path("/", service).tls_beside_plain("site-tls");
        // The controller takes a first change at once and paces those that follow: wait until this is a first one.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let written = Instant::now();
        world.put("site.yaml", &site.yaml()).unwrap();
        while world.plain(HOST).unwrap().websocket("/").await.unwrap().backend() != name {
            assert!(written.elapsed() < PATIENCE, "change {number} is not served");
        }
        times.push(written.elapsed());
        world.settle().await.unwrap();
    }
    times.sort();
    notes::measured(&format!(
        "an edited file is served after {:?} at the median, {:?} at most",
        times[10], times[20]
    ));
}
