//! A real Kubernetes for tests, thrown away afterwards: etcd, API server and controller manager
//! ([`ControlPlane`]), and with them containerd, scheduler, kubelet and kube-proxy ([`Node`]).
//!
//! All of it runs inside one network namespace without a way out. A test moves there as well: what it does in
//! [`ControlPlane::inside`], its sockets, backends, clients and child processes, is in the namespace, where every
//! port is free, every address of 198.18.10.0/24 can be listened on ([`backend_address`]; the API server refuses
//! endpoints on loopback), and addresses of Services lead somewhere once there is a [`Node`].
//!
//! ```no_run
//! use e2e::cluster::ControlPlane;
//!
//! // #[test], and not #[tokio::test]: `inside` brings a runtime along.
//! fn a_config_map_is_stored() {
//!     // One for all tests of this program. None: it cannot run here, which is noted (with CI=true: a panic).
//!     let Some(cluster) = ControlPlane::wanted_by("a ConfigMap is stored") else { return };
//!     cluster.inside(async || {
//!         // A namespace of Kubernetes for each test: others run at the same time.
//!         let namespace = cluster.namespace("stored").await.unwrap();
//!         cluster.apply(&namespace, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").await.unwrap();
//!         let names = cluster.kubectl(&["-n", &namespace, "get", "configmaps", "-o", "name"]).await.unwrap();
//!         assert!(names.contains("configmap/a"), "{names}");
//!     });
//! }
//! ```
//!
//! - Who asks: [`ControlPlane::kubectl`] and [`ControlPlane::client`] as an administrator;
//!   [`ControlPlane::kubeconfig_of`] as a ServiceAccount, with just the permissions that it has.
//! - Endpoints: [`ControlPlane::pod`] makes a pod that exists only in the API, on a node that does not exist either;
//!   EndpointSlices are then made by the real controller.
//! - Waiting: `kubectl wait`, a log line, or [`eventually`] where there is nothing to wait for.
//! - Longhaul: [`Installation`], what the chart installs besides pods; [`Replica`], a controller and a proxy as they run
//!   in one pod; on a [`Node`] a [`Release`] of the whole chart, of whose pods each [`Container`] can be looked at.
//! - From outside: [`ControlPlane::open_door`], a port of loopback that leads in.
//! - Faults: [`ControlPlane::pause_api_server`], [`ControlPlane::kill_api_server`]. A test that uses them takes a
//!   control plane of its own ([`ControlPlane::start`]) or is alone in its file: others share the one of their program.
//!
//! Everything is taken away at the end, whatever the end is, by a keeper (`bin/cluster.rs`): see [`run`].

mod api;
mod container;
mod door;
pub mod image;
mod installation;
mod keys;
mod longhaul;
mod namespace;
mod node;
mod outcome;
mod pods;
mod programs;
mod release;
mod replica;
pub mod run;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

pub use self::api::Output;
pub use self::container::Container;
pub use self::door::Door;
pub use self::installation::Installation;
pub use self::namespace::{NODE_ADDRESS, Namespace};
pub use self::node::Node;
pub use self::outcome::Stored;
pub use self::release::{Release, ReleasePod};
pub use self::replica::Replica;

use self::installation::RELEASE;
use self::keys::Keys;
use self::programs::Programs;
use self::run::Run;
use crate::notes;
use crate::process::Process;
use crate::wire::PATIENCE;

/// How long a part of the cluster may take to be ready, on a machine that does much else.
const STARTUP: Duration = Duration::from_secs(90);

/// How long to leave a part alone between two questions whether it is ready.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the API server listens.
const API_SERVER_PORT: u16 = 6443;

/// How long [`eventually`] waits for one answer.
const ONE_TRY: Duration = Duration::from_secs(5);

const SERVICES: &str = "198.19.0.0/16";
const SERVICE_OF_API_SERVER: &str = "198.19.0.1";

/// An address in the namespace that a test can listen on.
pub fn backend_address(number: u8) -> IpAddr {
    Ipv4Addr::new(198, 18, 10, number).into()
}

/// Asks again and again until something is as it is wanted, which it is in time: what Kubernetes does, it does some
/// while after it was told. Gives up after [`PATIENCE`] with what was missing last.
pub async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let given_up = Instant::now() + PATIENCE;
    loop {
        // One try does not take all the time: an address that leads nowhere yet may lead somewhere later.
        let missing = match timeout(ONE_TRY, ask()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(missing)) => missing,
            Err(late) => late.into(),
        };
        if Instant::now() > given_up {
            return Err(missing.context(format!("waiting for {what}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Which controllers the controller manager runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controllers {
    /// All of them.
    All,
    /// All but those that take pods away from nodes that do not answer: there is no node.
    WithoutNodes,
}

/// A control plane. Dropping it ends it.
pub struct ControlPlane {
    // Before the processes, so that the keeper ends them: fields are dropped in order.
    run: Run,
    programs: Programs,
    keys: Keys,
    namespace: Namespace,
    parts: Mutex<Parts>,
}

/// What runs, by name.
type Parts = Vec<(String, Process)>;

/// The API server stands still until this is dropped.
pub struct Paused<'a> {
    cluster: &'a ControlPlane,
}

impl ControlPlane {
    /// The control plane that the tests of one program share, started when the first of them asks for it. Where it
    /// cannot be, that the test is skipped is noted, or this panics if nothing may be.
    pub fn wanted_by(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        if !Self::can_run(test) {
            return None;
        }
        Some(SHARED.get_or_init(|| Self::start().expect("a control plane starts where its programs are")))
    }

    /// Whether a control plane can be, for a test that starts its own. Otherwise as [`ControlPlane::wanted_by`].
    pub fn can_run(test: &str) -> bool {
        notes::can_run(test, Programs::for_control_plane().map(|_| ()))
    }

    /// Where the API server listens, inside the namespace.
    pub fn api_server(&self) -> SocketAddr {
        (namespace::NODE_IP, API_SERVER_PORT).into()
    }

    /// What a client needs to know the API server by.
    pub fn trusting_client(&self) -> Result<Arc<ClientConfig>> {
        self.keys.trusting_client()
    }

    /// Starts a control plane. Blocks until it is ready.
    pub fn start() -> Result<Self> {
        Self::start_with(Programs::for_control_plane()?, Controllers::WithoutNodes)
    }

    fn start_with(programs: Programs, controllers: Controllers) -> Result<Self> {
        let run = Run::start()?;
        let namespace = Namespace::create(run.name())?;
        let keys = Keys::make(run.folder())?;
        let cluster = Self { run, programs, keys, namespace, parts: Mutex::default() };
        cluster.namespace.inside(async || cluster.start_parts(controllers).await)??;
        Ok(cluster)
    }

    /// Runs a test, or a part of one, on a thread inside the network namespace. When it panics, what the control
    /// plane has to say is printed.
    pub fn inside<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.namespace.inside(work)));
        match done {
            Ok(done) => done.expect("the namespace is there as long as the control plane"),
            Err(panic) => {
                eprintln!("{}", self.logs());
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// The network namespace.
    pub fn network(&self) -> &Namespace {
        &self.namespace
    }

    /// The name of everything that belongs to it on this machine. See [`run::traces`].
    pub fn name(&self) -> &str {
        self.run.name()
    }

    /// A folder for files that go with the cluster.
    pub fn folder(&self) -> &Path {
        self.run.folder()
    }

    /// The kubeconfig of an administrator. The server that it names can be reached from inside the namespace only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.keys.kubeconfig("admin")
    }

    /// The last lines of every part's log but those that klog marks as mere information.
    pub fn logs(&self) -> String {
        let is_information =
            |line: &str| line.starts_with('I') && line[1..].starts_with(|next: char| next.is_ascii_digit());
        let parts = self.parts();
        let tails = parts.iter().map(|(_, process)| process.tail_of(|line| !is_information(line)));
        tails.collect::<Vec<_>>().join("\n")
    }

    /// Stops the API server as a machine does that stands still: connections stay, and nothing answers.
    pub fn pause_api_server(&self) -> Result<Paused<'_>> {
        self.signal(API_SERVER, Signal::STOP)?;
        Ok(Paused { cluster: self })
    }

    /// Ends the API server as a crash would.
    pub fn kill_api_server(&self) -> Result<()> {
        self.kill(API_SERVER)
    }

    /// Starts the API server again, at the same address, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.launch(API_SERVER, &self.api_server_flags())?;
        self.wait("the API server", async || Ok(self.client().await?.apiserver_version().await?)).await?;
        self.wait("the API server", async || self.ready().await).await
    }

    async fn start_parts(&self, controllers: Controllers) -> Result<()> {
        let data = self.folder().join("etcd");
        let etcd = [
            format!("--data-dir={}", data.display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ];
        self.launch("etcd", &etcd)?;
        // An API server without etcd gives up within seconds.
        self.wait("etcd", async || {
            let said = self.said("etcd", "ready to serve client requests");
            said.then_some(()).context("it did not say that it is ready")
        })
        .await?;
        self.start_api_server().await?;
        self.launch("kube-controller-manager", &self.controller_manager_flags(controllers))?;
        // Without it no pod can be made.
        self.wait("the ServiceAccount default", async || self.has_service_account("default").await).await
    }

    fn api_server_flags(&self) -> Vec<String> {
        let key = |name: &str| self.keys.file(name).display().to_string();
        vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--advertise-address={NODE_ADDRESS}"),
            format!("--bind-address={NODE_ADDRESS}"),
            format!("--secure-port={API_SERVER_PORT}"),
            format!("--client-ca-file={}", key("ca.crt")),
            // Nobody may speak for others, but without a CA for those who would, the controller manager complains.
            format!("--requestheader-client-ca-file={}", key("ca.crt")),
            "--requestheader-allowed-names=none".to_owned(),
            format!("--tls-cert-file={}", key("apiserver.crt")),
            format!("--tls-private-key-file={}", key("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", key("accounts.pub")),
            format!("--service-account-signing-key-file={}", key("accounts.key")),
            format!("--kubelet-client-certificate={}", key("admin.crt")),
            format!("--kubelet-client-key={}", key("admin.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--service-cluster-ip-range={SERVICES}"),
        ]
    }

    fn controller_manager_flags(&self, controllers: Controllers) -> Vec<String> {
        let key = |name: &str| self.keys.file(name).display().to_string();
        let config = self.keys.kubeconfig("controller-manager").display().to_string();
        let controllers = match controllers {
            Controllers::All => "*",
            Controllers::WithoutNodes => {
                "*,-node-lifecycle-controller,-taint-eviction-controller,-pod-garbage-collector-controller"
            }
        };
        vec![
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--root-ca-file={}", key("ca.crt")),
            format!("--service-account-private-key-file={}", key("accounts.key")),
            "--use-service-account-credentials=true".to_owned(),
            format!("--cluster-signing-cert-file={}", key("ca.crt")),
            format!("--cluster-signing-key-file={}", key("ca.key")),
            format!("--controllers={controllers}"),
            // The usual limits make thousands of EndpointSlices take minutes.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ]
    }

    /// Starts a program of Kubernetes inside the namespace.
    fn launch(&self, name: &str, flags: &[String]) -> Result<()> {
        let mut command = self.namespace.command(self.programs.path(name)?);
        command.args(flags);
        self.keep(name, command)
    }

    /// Starts a program that runs as long as the cluster.
    fn keep(&self, name: &str, command: std::process::Command) -> Result<()> {
        let process = Process::start(name, command)?;
        self.run.note(name, process.id())?;
        let mut parts = self.parts();
        parts.retain(|(other, _)| other != name);
        parts.push((name.to_owned(), process));
        Ok(())
    }

    fn kill(&self, name: &str) -> Result<()> {
        let mut parts = self.parts();
        let found = parts.iter_mut().find(|(other, _)| other == name);
        found.with_context(|| format!("{name} runs"))?.1.kill()
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let parts = self.parts();
        let found = parts.iter().find(|(other, _)| other == name);
        found.with_context(|| format!("{name} runs"))?.1.signal(signal)
    }

    fn part_id(&self, name: &str) -> Result<u32> {
        let parts = self.parts();
        let found = parts.iter().find(|(other, _)| other == name);
        Ok(found.with_context(|| format!("{name} runs"))?.1.id())
    }

    fn said(&self, name: &str, words: &str) -> bool {
        let parts = self.parts();
        let lines = parts.iter().filter(|(other, _)| other == name).flat_map(|(_, process)| process.lines());
        lines.into_iter().any(|line| line.contains(words))
    }

    /// Asks again and again, until something is there. Gives up when a part of the cluster has ended.
    pub async fn wait<T>(&self, what: &str, ask: impl AsyncFn() -> Result<T>) -> Result<T> {
        let given_up = Instant::now() + STARTUP;
        loop {
            let missing = match ask().await {
                Ok(there) => return Ok(there),
                Err(missing) => missing,
            };
            if self.parts().iter().any(|(_, process)| process.has_ended()) {
                bail!("a part has ended before {what} was ready: {missing:#}\n{}", self.logs());
            }
            if Instant::now() > given_up {
                bail!("{what} is not ready after {STARTUP:?}: {missing:#}\n{}", self.logs());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Nobody leaves the list half changed.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const API_SERVER: &str = "kube-apiserver";

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = self.cluster.signal(API_SERVER, Signal::CONT);
    }
}
