//! The ways on which a client of other people reaches its backend, which is a script of `e2e/clients` as well.
//!
//! Each client goes straight to the backend first: what fails there is the client's fault or the backend's. Then it
//! goes through Longhaul in the clear and over TLS, both at once.

use std::net::SocketAddr;
use std::path::PathBuf;

use e2e::foreign::{Foreign, Tool};
use e2e::world::World;

/// A name that resolves to this machine wherever the tests run, so that every client takes it.
const HOST: &str = "localhost";

/// A way from a client to its backend.
pub(crate) struct Way {
    /// For messages.
    pub(crate) name: &'static str,
    /// Where requests begin: `http://localhost:1234`.
    pub(crate) base: String,
    /// The authority to trust on this way.
    pub(crate) authority: Option<PathBuf>,
}

impl Way {
    /// Runs a client's script with this way's base as first argument, and returns what it printed.
    pub(crate) async fn node(&self, script: &str, arguments: &[&str]) -> String {
        let arguments = [&[self.base.as_str()], arguments].concat();
        let client = match &self.authority {
            Some(authority) => Foreign::node_trusting(script, &arguments, authority),
            None => Foreign::node(script, &arguments),
        };
        self.said(script, client.unwrap()).await
    }

    /// Runs a client's script in Python with this way's base and its authority's file, or nothing in that place.
    pub(crate) async fn python(&self, script: &str) -> String {
        let authority = self.authority.as_ref().map_or("", |path| path.to_str().unwrap());
        self.said(script, Foreign::python(script, &[&self.base, authority]).unwrap()).await
    }

    async fn said(&self, script: &str, client: Foreign) -> String {
        client.text().await.unwrap_or_else(|error| panic!("{script}, {}: {error:#}", self.name))
    }
}

/// Starts a backend's script and runs a client against it on every way. Each way through Longhaul must have opened
/// this many tunnels: a client that quietly falls back to something else is no proof.
pub(crate) async fn every_way(test: &str, backend: &str, tunnels: u64, run: impl AsyncFn(&Way)) {
    if !Tool::Node.wanted_by(test) {
        return;
    }
    let mut server = Foreign::node(backend, &[]).unwrap();
    let port: u16 = server.line().await.unwrap().parse().unwrap();
    let straight = Way { name: "straight", base: format!("http://{HOST}:{port}"), authority: None };
    run(&straight).await;

    let world = World::plan().site(HOST, SocketAddr::from(([127, 0, 0, 1], port))).start().await.unwrap();
    let proxy = world.proxy().unwrap();
    let (http, https) = (proxy.http().port(), proxy.https().port());
    let plain = Way { name: "in the clear", base: format!("http://{HOST}:{http}"), authority: None };
    let tls =
        Way { name: "over TLS", base: format!("https://{HOST}:{https}"), authority: Some(world.ca_file()) };
    tokio::join!(run(&plain), run(&tls));
    let opened = proxy.metrics().await.unwrap().count("longhaul_tunnels_opened_total", &[]).unwrap();
    assert_eq!(opened, 2 * tunnels, "tunnels that both ways through Longhaul opened");
}
