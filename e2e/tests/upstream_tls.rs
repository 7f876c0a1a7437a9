//! TLS to backends: what they must prove, what we prove to them, and what becomes of a route whose Secrets are missing,
//! wrong or changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "upstream_tls/clients.rs"]
mod clients;
#[path = "upstream_tls/nginx.rs"]
mod nginx;
#[path = "upstream_tls/proof.rs"]
mod proof;
#[path = "upstream_tls/secrets.rs"]
mod secrets;

use std::net::SocketAddr;

use e2e::backend::demo::DemoBackend;
use e2e::backend::secured::{Began, Secured};
use e2e::certificate::{Authority, opaque};
use e2e::client::{Answer, Target};
use e2e::wire::{field, handshake};
use e2e::world::{Plan, World};

const HOST: &str = "app.example.com";
/// What the site's Service is called by default.
const SERVICE: &str = "backend.default.svc";
const HANDSHAKES: &str = "longhaul_upstream_tls_handshakes_total";

/// A friendly backend that speaks TLS only, as this name, signed by this authority.
async fn backend(authority: &Authority, name: &str) -> (DemoBackend, Secured) {
    let demo = DemoBackend::start("blue").await.unwrap();
    let pair = authority.issue(&[name]).unwrap();
    let front = Secured::start(pair.server().unwrap(), demo.address()).await.unwrap();
    (demo, front)
}

/// A site, with the authority's certificate in the Secret `authority`.
fn plan(address: SocketAddr, authority: &Authority) -> Plan {
    // One worker, and so one pool.
    World::plan()
        .site(HOST, address)
        .file("authority.yaml", opaque("authority", &[("ca.crt", &authority.pem())]))
        .proxy_flags(&["--workers", "1"])
}

/// What a handshake is answered with.
async fn shake(target: &Target, host: &str) -> Answer {
    let mut wire = target.wire().await.unwrap();
    wire.send(handshake(host, "/echo", "")).await.unwrap();
    let head = wire.head().await.unwrap();
    Answer { status: e2e::wire::status(&head).unwrap(), head, body: Vec::new() }
}

/// Both a handshake and a request are refused with this error of RFC 9209.
async fn refused(target: &Target, host: &str, error: &str) {
    for got in [shake(target, host).await, target.get("/whoami").await.unwrap()] {
        let told = field(&got.head, "proxy-status").unwrap_or_default();
        assert_eq!((got.status, told), (502, &*format!("longhaul; error={error}")), "{got:?}");
    }
}

/// Both a handshake and a request reach the backend.
async fn served(target: &Target) {
    let mut socket = target.websocket("/echo").await.unwrap();
    socket.echo("over TLS").await.unwrap();
    let answer = target.get("/whoami").await.unwrap();
    assert_eq!((answer.status, field(&answer.head, "x-backend")), (200, Some("blue")), "{answer:?}");
}

fn tls(name: Option<&str>, resumed: bool) -> Began {
    Began::Tls { name: name.map(str::to_owned), resumed, client: None }
}
