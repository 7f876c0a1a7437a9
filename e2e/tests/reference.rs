//! The generated tables of the documentation are fresh. `make reference` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use e2e::backend::demo::DemoBackend;
use e2e::objects::Ingress;
use e2e::reference;
use e2e::world::World;

/// Compares a document with what it would be with these tables, or writes it.
fn hold(document: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(&path).unwrap();
    let fresh = tables.iter().fold(text.clone(), |text, (name, table)| {
        reference::put(&text, name, table).unwrap_or_else(|error| panic!("{document}: {error}"))
    });
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    assert!(fresh == text, "a table of {document} is not fresh: run `make reference`");
}

/// Both pages of metrics after a little of everything: a series that was never touched may not be there.
#[tokio::test]
async fn metrics() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let balancer = ["--proxy-protocol-from", "127.0.0.9"];
    let secure = Ingress::new("secure", "secure.example.com")
        .path("/", "backend")
        .annotation("longhaul.dev/upstream-protocol", "https");
    let plan = World::plan().site("app.example.com", blue.address()).file("secure.yaml", secure.yaml());
    let plan = plan.controller_flags(&balancer);
    let world = plan.start().await.unwrap();
    for target in [world.plain("app.example.com").unwrap(), world.tls("app.example.com").unwrap()] {
        target.websocket("/").await.unwrap().echo("a tunnel").await.unwrap();
        assert_eq!(target.get("/whoami").await.unwrap().status, 200);
    }
    assert_eq!(world.plain("nobody.example.com").unwrap().get("/").await.unwrap().status, 404);
    let secure = world.plain("secure.example.com").unwrap().get("/").await.unwrap();
    assert_eq!(secure.status, 502, "the backend speaks no TLS");
    let balancer = world.plain("app.example.com").unwrap().from("127.0.0.9".parse().unwrap());
    assert!(balancer.get("/").await.is_err(), "it must say whose the connection is");
    let proxy = world.proxy().unwrap().admin().get("/metrics").await.unwrap().text();
    let controller = world.controller().unwrap().admin().get("/metrics").await.unwrap().text();
    let table = reference::metrics(&[("proxy", &proxy), ("controller", &controller)]).unwrap();
    hold("README.md", &[("metrics", table)]);
}

#[test]
fn fields_of_a_wsroute() {
    hold("README.md", &[("fields", crds::reference::wsroute_fields())]);
}

#[test]
fn fields_of_a_wspolicy() {
    hold("docs/policies.md", &[("fields", crds::reference::wspolicy_fields())]);
}

#[test]
fn annotations() {
    let (served, others) = (crds::reference::served_annotations(), crds::reference::other_annotations());
    hold("docs/annotations.md", &[("served", served.clone()), ("others", others)]);
    hold("README.md", &[("annotations", served)]);
}

#[test]
fn values_of_the_chart() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/longhaul/values.yaml");
    let table = reference::values(&fs::read_to_string(path).unwrap()).unwrap();
    hold("charts/longhaul/README.md", &[("values", table)]);
}
