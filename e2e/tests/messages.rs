//! Plain requests and their answers, one message at a time: trailers, expectations, answers without a body or without
//! a length, bodies above the route's limit, connections to upstreams that go at the wrong moment.
//!
//! What is about many messages or large ones is in `plain_http.rs`; heads that are refused are in `heads.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "messages/answers.rs"]
mod answers;
#[path = "messages/bodies.rs"]
mod bodies;
#[path = "messages/connections.rs"]
mod connections;

use e2e::client::Target;
use e2e::wire::Upstream;
use e2e::world::{Plan, World};

const HOST: &str = "app.example.com";

/// A host whose bodies have a limit of [`LIMIT`].
const LIMITED: &str = "limited.example.com";
const LIMIT: usize = 100_000;

/// Whose every path goes to this upstream. With one worker, since each has connections of its own.
fn plan(upstream: &Upstream) -> Plan {
    let limited = format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: limited}}\nspec:\n  \
         ingressClassName: longhaul\n  hosts: [{LIMITED}]\n  tls: [{{secretName: limited}}]\n  \
         policy: {{redirectToTLS: false, limits: {{bodySize: {LIMIT}}}}}\n  \
         rules: [{{name: all, http: true, backends: [{{service: backend, port: ws}}]}}]\n"
    );
    let authority = e2e::certificate::Authority::new().unwrap();
    let secret = authority.issue(&[LIMITED]).unwrap().secret("default", "limited");
    World::plan()
        .site(HOST, upstream.address().unwrap())
        .file("limited.yaml", format!("{limited}---\n{secret}"))
        .authority(authority)
        .proxy_flags(&["--workers", "1"])
}

/// A host in the clear and over TLS.
fn both(world: &World, host: &str) -> [Target; 2] {
    [world.plain(host).unwrap(), world.tls(host).unwrap()]
}
