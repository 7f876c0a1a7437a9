//! Where a backend's Service leads: which of its ports, which of its EndpointSlices and addresses, and what is said of
//! one that leads nowhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use e2e::backend::NAME_HEADER;
use e2e::backend::demo::DemoBackend;
use e2e::objects::backend;
use e2e::wire::field;
use e2e::world::World;

const HOST: &str = "app.example.com";

/// An Ingress with a path for each backend, in the words of the API.
fn ingress(paths: &[(&str, &str)]) -> String {
    let paths = paths.iter().map(|(path, backend)| {
        format!("      - {{path: {path}, pathType: Prefix, backend: {{{backend}}}}}\n")
    });
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: paths}}\nspec:\n  ingressClassName: \
         longhaul\n  rules:\n  - host: {HOST}\n    http:\n      paths:\n{}",
        paths.collect::<String>()
    )
}

/// An EndpointSlice of a Service with these endpoints, `ADDRESS: conditions`, and one port for each name.
fn slice(service: &str, number: usize, ports: &[(&str, SocketAddr)], endpoints: &[(IpAddr, &str)]) -> String {
    let family = if endpoints[0].0.is_ipv4() { "IPv4" } else { "IPv6" };
    let ports: Vec<_> =
        ports.iter().map(|(name, address)| format!("{{name: {name:?}, port: {}}}", address.port())).collect();
    let endpoints = endpoints.iter().map(|(address, conditions)| {
        format!("- {{addresses: [\"{address}\"], conditions: {{{conditions}}}}}\n")
    });
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-{number}, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: {family}\nports: [{}]\nendpoints:\n{}",
        ports.join(", "),
        endpoints.collect::<String>()
    )
}

fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n")
}

/// Who answers twenty requests.
async fn answering(world: &World, path: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..20 {
        let answer = world.plain(HOST).unwrap().get(path).await.unwrap();
        let name = field(&answer.head, NAME_HEADER).map_or_else(|| answer.status.to_string(), str::to_owned);
        names.insert(name);
    }
    names
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn slices_of_both_families_and_of_several_ports_are_one_service() {
    let four = DemoBackend::start("four").await.unwrap();
    let six = DemoBackend::start_on("six", Ipv6Addr::LOCALHOST.into()).await.unwrap();
    let admin = DemoBackend::start("admin").await.unwrap();
    let objects = [
        service("dual", "ipFamilies: [IPv4, IPv6], ports: [{name: ws, port: 80}, {name: admin, port: 81}]"),
        slice("dual", 0, &[("ws", four.address()), ("admin", admin.address())], &[(four.address().ip(), "")]),
        "---\n".to_owned(),
        slice("dual", 1, &[("ws", six.address())], &[(six.address().ip(), "ready: true")]),
        "---\n".to_owned(),
        service("headless", "clusterIP: None, ports: [{port: 9000}]"),
        slice("headless", 0, &[("", six.address())], &[(six.address().ip(), "")]),
        "---\n".to_owned(),
        ingress(&[
            ("/by-name", "service: {name: dual, port: {name: ws}}"),
            ("/by-number", "service: {name: dual, port: {number: 80}}"),
            ("/other-port", "service: {name: dual, port: {number: 81}}"),
            ("/headless", "service: {name: headless, port: {number: 9000}}"),
        ]),
    ];
    let world = World::plan().file("all.yaml", objects.concat()).start().await.unwrap();
    for (path, wanted) in [
        ("/by-name", &["four", "six"][..]),
        ("/by-number", &["four", "six"]),
        ("/other-port", &["admin"]),
        ("/headless", &["six"]),
    ] {
        assert_eq!(answering(&world, path).await, set(wanted), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_ready_gets_nothing_and_what_leaves_serves_only_when_it_is_the_last() {
    let stays = DemoBackend::start("stays").await.unwrap();
    let leaves = DemoBackend::start("leaves").await.unwrap();
    let leaving = "ready: false, serving: true, terminating: true";
    let of = |number, backend: &DemoBackend, conditions| {
        slice("app", number, &[("ws", backend.address())], &[(backend.address().ip(), conditions)])
    };
    let mut world = World::plan()
        .file("app.yaml", service("app", "ports: [{name: ws, port: 80}]") + &of(0, &stays, "ready: true"))
        .file("leaves.yaml", of(1, &leaves, leaving))
        .file("ingress.yaml", ingress(&[("/", "service: {name: app, port: {name: ws}}")]))
        .start()
        .await
        .unwrap();
    assert_eq!(answering(&world, "/").await, set(&["stays"]), "beside one that is ready");
    let unready = service("app", "ports: [{name: ws, port: 80}]") + &of(0, &stays, "ready: false");
    world.write("app.yaml", &unready).await.unwrap();
    assert_eq!(answering(&world, "/").await, set(&["leaves"]), "the last that serves");
    world.write("leaves.yaml", &of(1, &leaves, "ready: false, serving: false")).await.unwrap();
    assert_eq!(answering(&world, "/").await, set(&["503"]), "nobody serves");
}

#[tokio::test]
async fn what_is_no_service_with_endpoints_is_refused_with_its_reason() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let objects = [
        backend("app", &[blue.address()]),
        "---\n".to_owned(),
        service("elsewhere", "type: ExternalName, externalName: app.example.org, ports: [{port: 80}]"),
        service("bare", "ports: [{port: 80}]"),
        ingress(&[
            ("/external", "service: {name: elsewhere, port: {number: 80}}"),
            ("/resource", "resource: {apiGroup: k8s.example.com, kind: Bucket, name: icons}"),
            ("/no-such-port", "service: {name: app, port: {number: 81}}"),
            ("/no-endpoint", "service: {name: bare, port: {number: 80}}"),
            ("/", "service: {name: app, port: {name: ws}}"),
        ]),
    ];
    let world = World::plan().file("all.yaml", objects.concat()).start().await.unwrap();
    let told = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    for (path, reason) in [
        ("/external", "Service default/elsewhere is an ExternalName"),
        ("/resource", "a resource is no backend that can be served"),
        ("/no-such-port", "Service default/app has no TCP port 81"),
    ] {
        assert_eq!(answering(&world, path).await, set(&["503"]), "{path}");
        assert!(told.contains(reason), "{path}: {reason:?} is not in {told}");
    }
    assert_eq!(answering(&world, "/no-endpoint").await, set(&["503"]));
    assert_eq!(answering(&world, "/").await, set(&["blue"]), "the paths beside them");
}
