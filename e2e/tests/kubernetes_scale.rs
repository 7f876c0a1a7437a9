//! A large cluster: 2,000 Ingresses and 10,000 endpoints, read anew by a controller and a proxy that start, then 1,000
//! changes of endpoints under open tunnels. What it takes is printed; only what is served decides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, Replica, eventually};
use e2e::notes::measured;
use e2e::process::Facts;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

const SITES: usize = 2000;
const ENDPOINTS_OF_A_SITE: usize = 5;
const CHANGES: usize = 1000;

/// Changes of which each is waited for, the last ones.
const TIMED: usize = 100;

const TUNNELS: usize = 50;

/// Requests to the API server at a time.
const AT_ONCE: usize = 16;

/// How long a controller and a proxy together may take to serve all of it.
const STARTUP: Duration = Duration::from_secs(90);

/// The objects of every site.
struct Objects {
    ingresses: Api<Ingress>,
    services: Api<Service>,
    slices: Api<EndpointSlice>,
    class: String,
}

fn name(site: usize) -> String {
    format!("site-{site}")
}

fn host(site: usize) -> String {
    format!("site-{site}.example.com")
}

fn ports(backend: SocketAddr) -> Value {
    json!([{"name": "ws", "port": backend.port(), "protocol": "TCP"}])
}

impl Objects {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            ingresses: Api::namespaced(client.clone(), namespace),
            services: Api::namespaced(client.clone(), namespace),
            slices: Api::namespaced(client.clone(), namespace),
            class: namespace.to_owned(),
        }
    }

    /// One site: an Ingress, a Service, and a slice of five addresses at which the backend listens.
    async fn create(&self, site: usize, backend: SocketAddr) -> Result<()> {
        let (name, how) = (name(site), PostParams::default());
        let backend_of_path = json!({"service": {"name": name, "port": {"name": "ws"}}});
        let ingress = json!({
            "metadata": {"name": name},
            "spec": {"ingressClassName": self.class, "rules": [{"host": host(site), "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": backend_of_path},
            ]}}]},
        });
        let service = json!({
            "metadata": {"name": name},
            "spec": {"clusterIP": "None", "ports": [{"name": "ws", "port": 80}]},
        });
        let endpoints = (0..ENDPOINTS_OF_A_SITE).map(|number| {
            let last = (site * ENDPOINTS_OF_A_SITE + number) % 250 + 1;
            json!({"addresses": [format!("198.18.10.{last}")], "conditions": {"ready": true}})
        });
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": ports(backend),
            "endpoints": endpoints.collect::<Vec<_>>(),
        });
        self.ingresses.create(&how, &serde_json::from_value(ingress)?).await?;
        self.services.create(&how, &serde_json::from_value(service)?).await?;
        self.slices.create(&how, &serde_json::from_value(slice)?).await?;
        Ok(())
    }

    /// Puts another backend behind a site.
    async fn turn(&self, site: usize, backend: SocketAddr) -> Result<()> {
        let patch = Patch::Merge(json!({"ports": ports(backend)}));
        self.slices.patch(&name(site), &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn target(replica: &Replica, site: usize) -> Target {
    Target::plain(replica.proxy.as_ref().unwrap().http(), &host(site))
}

/// Waits until a site is served by a backend.
async fn served_by(replica: &Replica, site: usize, backend: &str) -> Result<()> {
    let asked = async || {
        let answer = target(replica, site).get("/whoami").await?;
        ensure!(answer.status == 200, "{} answers {}", host(site), answer.status);
        let by = answer.json()?["backend"].clone();
        ensure!(by == backend, "{} is served by {by}", host(site));
        Ok(())
    };
    let begun = Instant::now();
    // Closer than `eventually` looks, for what is measured.
    while begun.elapsed() < Duration::from_secs(2) {
        if asked().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eventually(&format!("{backend} behind {}", host(site)), asked).await
}

fn facts(replica: &Replica) -> [Facts; 2] {
    let controller = &replica.controller.as_ref().unwrap().process;
    [controller.facts().unwrap(), replica.proxy.as_ref().unwrap().process.facts().unwrap()]
}

fn mebibytes(facts: &Facts) -> u64 {
    facts.resident >> 20
}

#[test]
fn two_thousand_ingresses_and_a_thousand_changes_of_their_endpoints() {
    let Some(cluster) = ControlPlane::wanted_by("2,000 Ingresses") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "scale", &[]).await.unwrap();
        let everywhere = "0.0.0.0".parse().unwrap();
        let blue = DemoBackend::start_on("blue", everywhere).await.unwrap();
        let green = DemoBackend::start_on("green", everywhere).await.unwrap();
        let objects = Objects::new(&cluster.client().await.unwrap(), installation.name());
        let created = stream::iter(0..SITES).map(|site| objects.create(site, blue.address()));
        created.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.unwrap();

        let replica = first_sync(cluster, &installation).await;
        let mut tunnels = Vec::new();
        for site in 0..TUNNELS {
            tunnels.push(target(&replica, site).websocket("/").await.unwrap());
        }
        changes(&objects, &replica, green.address()).await;
        for socket in &mut tunnels {
            assert_eq!(socket.backend(), "blue");
            socket.echo("through a thousand changes").await.unwrap();
        }
        let metrics = replica.proxy.as_ref().unwrap().metrics().await.unwrap();
        assert_eq!(metrics.count("longhaul_tunnels_closed_total", &[]).unwrap(), 0);
        let [controller, proxy] = facts(&replica);
        measured(&format!(
            "cluster of {SITES} Ingresses, after {CHANGES} changes: controller {} MiB, proxy {} MiB",
            mebibytes(&controller),
            mebibytes(&proxy)
        ));
    });
}

/// Starts a controller and a proxy and waits until they serve everything.
async fn first_sync(cluster: &ControlPlane, installation: &Installation<'_>) -> Replica {
    let begun = Instant::now();
    let replica = installation.replica("lh-0").await.unwrap();
    let took = begun.elapsed();
    assert!(took < STARTUP, "{took:?}");
    let [controller, proxy] = facts(&replica);
    measured(&format!(
        "cluster of {SITES} Ingresses, {} endpoints: served {took:.1?} after the start of controller and proxy, which \
         took {:.1?} and {:.1?} of CPU and hold {} and {} MiB",
        SITES * ENDPOINTS_OF_A_SITE,
        controller.cpu,
        proxy.cpu,
        mebibytes(&controller),
        mebibytes(&proxy)
    ));
    let routes = replica.controller.as_ref().unwrap().api("/api/routes").await.unwrap().to_string();
    for site in 0..SITES {
        assert!(routes.contains(&host(site)), "{} is not routed in {}", host(site), cluster.name());
    }
    for site in [0, SITES / 2, SITES - 1] {
        served_by(&replica, site, "blue").await.unwrap();
    }
    replica
}

/// Turns the first sites to another backend: most as fast as the API server takes it, the last ones one by one.
async fn changes(objects: &Objects, replica: &Replica, backend: SocketAddr) {
    let before = facts(replica);
    let at_once = stream::iter(0..CHANGES - TIMED).map(|site| objects.turn(site, backend));
    let begun = Instant::now();
    at_once.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.unwrap();
    let written = begun.elapsed();
    let begun = Instant::now();
    // Those that were written last are served last.
    for site in CHANGES - TIMED - AT_ONCE..CHANGES - TIMED {
        served_by(replica, site, "green").await.unwrap();
    }
    let later = begun.elapsed();
    let after = facts(replica);
    let each =
        |number: usize| after[number].cpu.saturating_sub(before[number].cpu) / (CHANGES - TIMED) as u32;
    measured(&format!(
        "cluster of {SITES} Ingresses: {} changes of endpoints written in {written:.1?}, served {later:.0?} later; CPU of \
         each: controller {:.2?}, proxy {:.2?}",
        CHANGES - TIMED,
        each(0),
        each(1)
    ));
    for site in 0..CHANGES - TIMED {
        served_by(replica, site, "green").await.unwrap();
    }
    let mut times = Vec::new();
    for site in CHANGES - TIMED..CHANGES {
        let begun = Instant::now();
        objects.turn(site, backend).await.unwrap();
        served_by(replica, site, "green").await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    measured(&format!(
        "cluster of {SITES} Ingresses: a change of endpoints is served after {:.1?} (median), {:.1?} (longest of {TIMED})",
        times[TIMED / 2],
        times[TIMED - 1]
    ));
    served_by(replica, CHANGES, "blue").await.unwrap();
}
