//! Backends and hosts that ingress-nginx's annotations add to those of an Ingress: canaries, standbys, aliases, the
//! Service's own address. Asked with real requests and handshakes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::objects::{Ingress, backend, service};
use e2e::world::World;

const HOST: &str = "chat.example.com";

const CANARY: &str = "nginx.ingress.kubernetes.io/canary";

/// Backends `main` and `next`, and the Ingress of the first.
struct Site {
    main: DemoBackend,
    next: DemoBackend,
}

impl Site {
    async fn start() -> Self {
        Self {
            main: DemoBackend::start("main").await.unwrap(),
            next: DemoBackend::start("next").await.unwrap(),
        }
    }

    fn objects(&self) -> String {
        let main = Ingress::new("main", HOST).path("/", "main").yaml();
        [backend("main", &[self.main.address()]), backend("next", &[self.next.address()]), main].join("---\n")
    }
}

/// A canary of these settings for backend `next`.
fn canary(name: &str, settings: &[(&str, &str)]) -> String {
    let ingress = Ingress::new(name, HOST).path("/", "next").annotation(CANARY, "true");
    let each = settings.iter();
    each.fold(ingress, |ingress, (key, value)| ingress.annotation(&format!("{CANARY}-{key}"), value)).yaml()
}

/// Who serves the root, or the status that says that nobody does.
async fn asked(target: &Target, fields: &[(&str, &str)]) -> String {
    target.served_by("/", fields).await.unwrap()
}

/// How many of so many handshakes go where.
async fn shares(target: &Target, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let socket = target.websocket("/").await.unwrap();
        *shares.entry(socket.backend().to_owned()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn a_canary_takes_who_says_so_by_field_then_by_cookie() {
    let site = Site::start().await;
    let settings = [("by-header", "X-Canary"), ("by-cookie", "canary")];
    let world =
        World::plan().file("site.yaml", site.objects()).file("canary.yaml", canary("canary", &settings));
    let mut world = world.start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    for (fields, backend) in [
        (&[][..], "main"),
        (&[("X-Canary", "always")], "next"),
        (&[("X-Canary", "never"), ("Cookie", "canary=always")], "main"),
        (&[("Cookie", "a=b; canary=always")], "next"),
        (&[("Cookie", "canary=never")], "main"),
        (&[("X-Canary", "yes")], "main"),
    ] {
        assert_eq!(asked(&target, fields).await, backend, "{fields:?}");
    }

    // nginx.ingress.kubernetes.io/canary-by-header-value
    let valued = canary("canary", &[("by-header", "X-Canary"), ("by-header-value", "blue")]);
    world.write("canary.yaml", &valued).await.unwrap();
    assert_eq!(asked(&target, &[("X-Canary", "blue")]).await, "next");
    assert_eq!(asked(&target, &[("X-Canary", "always")]).await, "main");
    // A tunnel stays where it is while the canary comes and goes.
    let mut tunnel = target.websocket_with("/", &[("X-Canary", "blue")]).await.unwrap();
    world.remove("canary.yaml").await.unwrap();
    assert_eq!(asked(&target, &[("X-Canary", "blue")]).await, "main");
    tunnel.echo("still here").await.unwrap();
}

#[tokio::test]
async fn a_canary_takes_its_weight_and_none_where_it_has_no_endpoint() {
    let site = Site::start().await;
    let half = canary("canary", &[("weight", "100"), ("weight-total", "200")]);
    let world = World::plan().file("site.yaml", site.objects()).file("canary.yaml", half);
    let mut world = world.start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    let shares_of = shares(&target, 200).await;
    // 100 expected with a standard deviation of 7.
    assert!((60..=140).contains(&shares_of["next"]), "{shares_of:?}");
    world.write("canary.yaml", &canary("canary", &[("weight", "100")])).await.unwrap();
    assert_eq!(shares(&target, 20).await, BTreeMap::from([("next".into(), 20)]));
    // nginx.ingress.kubernetes.io/canary-weight-total below 100 counts as 100.
    world.write("canary.yaml", &canary("canary", &[("weight", "1"), ("weight-total", "1")])).await.unwrap();
    assert!(shares(&target, 50).await["main"] > 25);

    // Nobody is refused for the sake of a canary: its Service without endpoints, and without a Service.
    let without = canary("canary", &[("weight", "100")]).replace("name: next", "name: nobody");
    let objects = format!("{without}---\n{}", service("nobody"));
    world.write("canary.yaml", &objects).await.unwrap();
    assert_eq!(shares(&target, 5).await, BTreeMap::from([("main".into(), 5)]));
    world.write("canary.yaml", &without).await.unwrap();
    assert_eq!(shares(&target, 5).await, BTreeMap::from([("main".into(), 5)]));
    drop(site.main);
}

#[tokio::test]
async fn a_canary_alone_serves_nothing_and_says_why() {
    let site = Site::start().await;
    let canary = canary("canary", &[("weight", "100")]).replace(HOST, "other.example.com");
    let world = World::plan().file("site.yaml", site.objects()).file("canary.yaml", canary);
    let world = world.start().await.unwrap();
    assert_eq!(asked(&world.plain("other.example.com").unwrap(), &[]).await, "404");
    assert_eq!(asked(&world.plain(HOST).unwrap(), &[]).await, "main");
    let logs = world.logs();
    assert!(logs.contains("nothing else is served at host other.example.com /"), "{logs}");
}

#[tokio::test]
async fn a_standby_serves_while_the_backend_has_no_endpoint() {
    let site = Site::start().await;
    let ingress = Ingress::new("main", HOST)
        .path("/", "main")
        .annotation("nginx.ingress.kubernetes.io/default-backend", "next")
        .yaml();
    let next = backend("next", &[site.next.address()]);
    let there = backend("main", &[site.main.address()]);
    let world =
        World::plan().file("ingress.yaml", ingress).file("next.yaml", next).file("main.yaml", there.clone());
    let mut world = world.start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    assert_eq!(asked(&target, &[]).await, "main");
    world.write("main.yaml", &service("main")).await.unwrap();
    assert_eq!(asked(&target, &[]).await, "next");
    world.remove("main.yaml").await.unwrap();
    assert_eq!(asked(&target, &[]).await, "next");
    world.write("main.yaml", &there).await.unwrap();
    assert_eq!(asked(&target, &[]).await, "main");
}

#[tokio::test]
async fn an_alias_is_another_name_of_the_first_host() {
    let site = Site::start().await;
    let ingress = Ingress::new("main", HOST)
        .path("/", "main")
        .annotation("nginx.ingress.kubernetes.io/server-alias", "WWW.chat.example.com, *.alias.example.com")
        .yaml();
    let world = World::plan()
        .file("ingress.yaml", ingress)
        .file("main.yaml", backend("main", &[site.main.address()]))
        .start()
        .await
        .unwrap();
    for host in [HOST, "www.chat.example.com", "any.alias.example.com"] {
        assert_eq!(asked(&world.plain(host).unwrap(), &[]).await, "main", "{host}");
    }
    assert_eq!(asked(&world.plain("alias.example.com").unwrap(), &[]).await, "404");
}

#[tokio::test]
async fn the_address_of_a_service_takes_the_place_of_its_endpoints() {
    let site = Site::start().await;
    let ingress = |on: &str| {
        Ingress::new("main", HOST)
            .path("/", "main")
            .annotation("nginx.ingress.kubernetes.io/service-upstream", on)
            .yaml()
    };
    // The Service's address is where `next` listens; its endpoint is `main`.
    let address = site.next.address();
    let objects = backend("main", &[site.main.address()])
        .replace("port: 80,", &format!("port: {},", address.port()))
        .replacen("spec:\n", &format!("spec:\n  clusterIP: {}\n", address.ip()), 1);
    let world = World::plan().file("ingress.yaml", ingress("true")).file("main.yaml", objects.clone());
    let mut world = world.start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    assert_eq!(asked(&target, &[]).await, "next");
    world.write("ingress.yaml", &ingress("false")).await.unwrap();
    assert_eq!(asked(&target, &[]).await, "main");
    world.write("ingress.yaml", &ingress("true")).await.unwrap();
    assert_eq!(asked(&target, &[]).await, "next");
    // A headless Service has no address: the route is closed, and says so.
    let headless = objects.replace(&format!("clusterIP: {}", address.ip()), "clusterIP: None");
    world.write("main.yaml", &headless).await.unwrap();
    assert_eq!(asked(&target, &[]).await, "503");
    assert!(world.logs().contains("has no address of its own"));
}

/// nginx.ingress.kubernetes.io/canary-by-header-pattern
#[tokio::test]
async fn a_canary_takes_whose_field_has_a_pattern_in_it() {
    let site = Site::start().await;
    let pattern =
        |pattern: &str| canary("canary", &[("by-header", "X-Canary"), ("by-header-pattern", pattern)]);
    let world =
        World::plan().file("site.yaml", site.objects()).file("canary.yaml", pattern("blue|^gr[e]{2}n$"));
    let mut world = world.start().await.unwrap();
    let target = world.plain(HOST).unwrap();
    for (value, backend) in [
        ("blue", "next"),
        ("sky blue, dark", "next"),
        ("green", "next"),
        ("greener", "main"),
        ("always", "main"),
        ("Blue", "main"),
    ] {
        assert_eq!(asked(&target, &[("X-Canary", value)]).await, backend, "{value}");
    }
    // A value counts before a pattern.
    let both = [("by-header", "X-Canary"), ("by-header-pattern", "blue"), ("by-header-value", "red")];
    world.write("canary.yaml", &canary("canary", &both)).await.unwrap();
    assert_eq!(asked(&target, &[("X-Canary", "blue")]).await, "main");
    assert_eq!(asked(&target, &[("X-Canary", "red")]).await, "next");
    // What cannot be served decides nothing, and is named.
    world.write("canary.yaml", &pattern("(?=blue)")).await.unwrap();
    for value in ["blue", "always"] {
        assert_eq!(asked(&target, &[("X-Canary", value)]).await, "main", "{value}");
    }
    let said = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(said.contains("canary-by-header-pattern") && said.contains("look-around"), "{said}");
}
