//! Certificates of clients: who comes in, who does not, what backends are told, and that nothing opens a host but what
//! that host asks for: no ticket, no connection and no field of another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "client_certificates/changes.rs"]
mod changes;
#[path = "client_certificates/nginx.rs"]
mod nginx;
#[path = "client_certificates/real.rs"]
mod real;
#[path = "client_certificates/rules.rs"]
mod rules;
#[path = "client_certificates/sessions.rs"]
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use e2e::backend::recorder::{Answer, Recorder};
use e2e::certificate::{Authority, Pair, block};
use e2e::client::{Answer as Got, Target};
use e2e::wire::Wire;
use e2e::world::{Plan, World};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const REQUIRED: &str = "required.test";
const OPTIONAL: &str = "optional.test";
/// Asks for the same as the first.
const ALSO: &str = "also.test";
/// Asks for certificates of another authority.
const OTHER: &str = "other.test";
/// Asks for none.
const OPEN: &str = "open.test";

const V1_2: &[&SupportedProtocolVersion] = &[&version::TLS12];
const V1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

type Proof = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Who signs certificates of clients: those of most hosts, and those of [`OTHER`].
struct Clients {
    devices: Authority,
    others: Authority,
}

impl Clients {
    fn new() -> Self {
        Self { devices: Authority::new().unwrap(), others: Authority::named("Others").unwrap() }
    }

    fn device(&self, name: &str) -> Pair {
        self.devices.issue_user(name, Some("Devices")).unwrap()
    }
}

/// A Secret that says who may sign certificates of clients.
fn authorities(name: &str, pem: &str, revoked: Option<&str>) -> String {
    let list = revoked.map(|list| format!("\n  ca.crl: |\n    {}", block(list))).unwrap_or_default();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n  ca.crt: |\n    {}{list}\n",
        block(pem)
    )
}

/// A WsRoute for one host, with a certificate of its name.
fn route(host: &str, secret: &str, client_certificate: &str) -> String {
    let name = host.replace('.', "-");
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  \
         ingressClassName: longhaul\n  hosts: [{host}]\n  tls: [{{secretName: {secret}{client_certificate}}}]\n  \
         policy: {{redirectToTLS: false}}\n  \
         rules: [{{name: all, http: true, backends: [{{service: backend, port: ws}}]}}]\n"
    )
}

fn asks(secret: &str, mode: &str) -> String {
    format!(", clientCertificate: {{caSecretName: {secret}, mode: {mode}}}")
}

/// The hosts above, in front of one backend.
async fn plan(clients: &Clients) -> (Plan, Recorder) {
    let backend = Recorder::start(Answer::ok("hello")).await.unwrap();
    let authority = Authority::new().unwrap();
    let hosts = [REQUIRED, OPTIONAL, ALSO, OTHER, OPEN];
    let mut files = vec![
        e2e::objects::backend("backend", &[backend.address()]),
        authority.issue(&hosts).unwrap().secret("default", "pair"),
        route(OPTIONAL, "pair", &asks("devices", "Optional")),
        route(ALSO, "pair", &asks("devices", "Required")),
        route(OTHER, "pair", &asks("others", "Required")),
        authorities("others", &clients.others.pem(), None),
    ];
    files.push(route(OPEN, "pair", ""));
    let plan = World::plan().authority(authority).file("objects.yaml", files.join("---\n"));
    let plan = plan.file("required.yaml", route(REQUIRED, "pair", &asks("devices", "Required")));
    (plan.file("devices.yaml", authorities("devices", &clients.devices.pem(), None)), backend)
}

async fn world(clients: &Clients) -> (World, Recorder) {
    let (plan, backend) = plan(clients).await;
    (plan.start().await.unwrap(), backend)
}

/// A client of these versions.
fn client(
    world: &World,
    versions: &[&'static SupportedProtocolVersion],
    proof: Option<Proof>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(world.authority().roots().unwrap());
    Arc::new(match proof {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// A host over TLS, for a client with a certificate.
fn target(world: &World, host: &str, pair: &Pair) -> Target {
    let config = client(world, V1_3, Some(pair.proof(&[])));
    Target::tls(world.proxy().unwrap().https(), host, config)
}

/// A connection whose server name is this host.
async fn connect(world: &World, host: &str, config: &Arc<ClientConfig>) -> Result<Wire> {
    let stream = TcpStream::connect(world.proxy()?.https()).await?;
    let shaking = TlsConnector::from(config.clone()).connect(ServerName::try_from(host.to_owned())?, stream);
    let stream = timeout(e2e::wire::PATIENCE, shaking).await.context("no end of the handshake")??;
    Ok(Wire::new(stream))
}

/// Every page has a number: connections to backends are used again, so their order says nothing.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The heads that a backend got, by the numbers in their targets.
fn seen(backend: &Recorder) -> BTreeMap<usize, String> {
    let text = backend.text();
    let heads = text.split_inclusive("\r\n\r\n").filter_map(|head| {
        let number = head.split_once('?')?.1.split_once(' ')?.0;
        Some((number.parse().ok()?, head.to_owned()))
    });
    heads.collect()
}

/// Asks for a page of a host.
async fn ask(wire: &mut Wire, host: &str, further: &str) -> Result<Got> {
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    wire.send(format!("GET /whoami?{number} HTTP/1.1\r\nHost: {host}\r\n{further}\r\n")).await?;
    Got::read(wire).await
}

/// The status of a page, or what the handshake failed of. With TLS 1.3 a client learns that when it reads.
async fn page(world: &World, host: &str, config: &Arc<ClientConfig>) -> String {
    let asked = async { ask(&mut connect(world, host, config).await?, host, "").await };
    match asked.await {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{error:#}"),
    }
}
