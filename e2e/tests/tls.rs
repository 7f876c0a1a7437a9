//! TLS towards clients: versions and cipher suites by host, names, hellos in every shape, sessions taken up
//! again, requests in the clear on the TLS port, clients that leave at every step.
//!
//! One world for each test, with the hosts of [`world`]. Clients are rustls, whose every setting can be chosen, and
//! OpenSSL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "tls/aborts.rs"]
mod aborts;
#[path = "tls/hellos.rs"]
mod hellos;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/policies.rs"]
mod policies;
#[path = "tls/strays.rs"]
mod strays;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::backend::recorder::{Answer, Recorder};
use e2e::certificate::Authority;
use e2e::objects::Ingress;
use e2e::wire::PATIENCE;
use e2e::world::{Plan, Proxy, World};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A host of the default policy.
const HOST: &str = "app.test";

/// Hosts with policies of their own: name, lowest version, suites.
const POLICIES: [(&str, &str, &[&str]); 4] = [
    ("strict.test", "1.3", &[]),
    ("one.test", "1.2", &["TLS_AES_256_GCM_SHA384"]),
    (
        "old.test",
        "1.2",
        &[
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ],
    ),
    ("both.test", "1.2", &["TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]),
];

/// A counter of TLS handshakes.
const HANDSHAKES: &str = "longhaul_tls_handshakes_total";

/// Every host that tests ask for, each with a certificate of its own name, in front of one backend.
async fn plan() -> (Plan, Recorder) {
    let backend = Recorder::start(Answer::ok("hello")).await.unwrap();
    let authority = Authority::new().unwrap();
    let mut files = vec![authority.issue(&["*.wild.test"]).unwrap().secret("default", "wild")];
    files.push(Ingress::new("wild", "*.wild.test").path("/", "backend").tls_beside_plain("wild").yaml());
    for (host, version, suites) in POLICIES {
        let name = host.replace('.', "-");
        files.push(authority.issue(&[host]).unwrap().secret("default", &name));
        files.push(route(&name, host, version, suites));
    }
    let plan = World::plan().site(HOST, backend.address()).authority(authority);
    (plan.file("objects.yaml", files.join("---\n")), backend)
}

/// A world of these hosts.
async fn world() -> (World, Recorder) {
    let (plan, backend) = plan().await;
    (plan.start().await.unwrap(), backend)
}

/// A WsRoute for one host with a policy.
fn route(name: &str, host: &str, version: &str, suites: &[&str]) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  \
         ingressClassName: longhaul\n  hosts: [{host}]\n  \
         tls: [{{secretName: {name}, minVersion: \"{version}\", cipherSuites: [{}]}}]\n  \
         rules: [{{name: all, http: true, backends: [{{service: backend, port: ws}}]}}]\n",
        suites.join(", ")
    )
}

/// A client of this provider's suites and groups, and of these versions.
fn client(
    roots: RootCertStore,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client that supports everything.
fn any_client(world: &World) -> ClientConfig {
    let roots = world.authority().roots().unwrap();
    client(roots, aws_lc_rs::default_provider(), &[&version::TLS13, &version::TLS12])
}

/// Carries out a handshake with the proxy.
async fn connect(world: &World, host: &str, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(world.proxy()?.https()).await?;
    shake_hands(stream, host, config).await
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned())?;
    let shaking = TlsConnector::from(config.clone()).connect(name, stream);
    Ok(timeout(PATIENCE, shaking).await.context("no end of the handshake")??)
}

/// The error of a handshake, with all that it has to say.
fn refused<T>(handshake: Result<T>) -> String {
    match handshake {
        Ok(_) => "the handshake was accepted".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Waits until the proxy counts this many handshakes of one result.
async fn counted(proxy: &Proxy, result: &str, wanted: u64) -> Result<()> {
    let given_up = Instant::now() + PATIENCE;
    loop {
        let metrics = proxy.metrics().await?;
        let count = metrics.count(HANDSHAKES, &[("result", result)])?;
        if count == wanted {
            return Ok(());
        }
        let all = metrics.series(HANDSHAKES).collect::<Vec<_>>().join("\n");
        ensure!(count < wanted && Instant::now() < given_up, "{wanted} {result} wanted, counted are\n{all}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
