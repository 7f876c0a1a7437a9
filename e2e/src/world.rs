//! A world of its own for each test: a folder of objects, the real controller reading it, real proxies serving it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use e2e::backend::demo::DemoBackend;
//! use e2e::world::World;
//!
//! let blue = DemoBackend::start("blue").await?;
//! let mut world = World::plan()
//!     .site("app.example.com", blue.address()) // with a certificate, in the clear as well
//!     .annotation("longhaul.dev/idle-timeout", "5m")
//!     .start()
//!     .await?;
//! let mut socket = world.plain("app.example.com")?.websocket("/echo").await?;
//! world.remove("site.yaml").await?; // returns when every proxy serves a world without it
//! socket.echo("still here").await?;
//! # Ok(()) }
//! ```

mod served;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::certificate::Authority;
use crate::client::Target;
use crate::metrics::Scrape;
use crate::objects::{self, Ingress};
use crate::process::{Process, binary};
use crate::wire::PATIENCE;

/// The metric that counts ended tunnels.
const CLOSED: &str = "longhaul_tunnels_closed_total";

/// What a world starts with.
pub struct Plan {
    files: Vec<(String, String)>,
    site: Option<Site>,
    controller_flags: Vec<OsString>,
    supervisor_flags: Option<Vec<OsString>>,
    proxy_flags: Vec<OsString>,
    proxies: usize,
    authority: Option<Authority>,
}

struct Site {
    ingress: Ingress,
    host: String,
    address: SocketAddr,
}

/// A running world. Everything in it ends when it is dropped.
pub struct World {
    // Processes before the folder: fields are dropped in order, and the folder holds their socket.
    controller: Option<Controller>,
    proxies: Vec<Option<Proxy>>,
    plan: Plan,
    authority: Authority,
    folder: TempDir,
    witness: u64,
}

/// A running controller.
pub struct Controller {
    /// The process.
    pub process: Process,
    admin: SocketAddr,
}

/// A running proxy.
pub struct Proxy {
    /// The process.
    pub process: Process,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

impl Plan {
    /// Adds a host whose every path goes to one backend, over TLS and in the clear: the Ingress `site` in
    /// `site.yaml`, its backend in `backend.yaml`, its Secret in `secret.yaml`.
    pub fn site(mut self, host: &str, address: SocketAddr) -> Self {
        let ingress = Ingress::new("site", host).path("/", "backend").tls_beside_plain("site-tls");
        self.site = Some(Site { ingress, host: host.to_owned(), address });
        self
    }

    /// Adds an annotation to the [`Plan::site`].
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.site = self.site.map(|site| Site { ingress: site.ingress.annotation(key, value), ..site });
        self
    }

    /// Adds a file of objects.
    pub fn file(mut self, name: &str, content: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Adds arguments for the controller.
    pub fn controller_flags(mut self, flags: &[&str]) -> Self {
        self.controller_flags.extend(flags.iter().map(OsString::from));
        self
    }

    /// Has the controller run under its supervisor, with these arguments.
    pub fn supervised(mut self, flags: &[&str]) -> Self {
        self.supervisor_flags = Some(flags.iter().map(OsString::from).collect());
        self
    }

    /// Adds arguments for every proxy.
    pub fn proxy_flags(mut self, flags: &[&str]) -> Self {
        self.proxy_flags.extend(flags.iter().map(OsString::from));
        self
    }

    /// Starts this many proxies in place of one.
    pub fn proxies(mut self, count: usize) -> Self {
        self.proxies = count;
        self
    }

    /// Takes the authority whose certificates are in the files.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Starts everything and waits until the proxies serve the files.
    pub async fn start(mut self) -> Result<World> {
        let folder = tempfile::Builder::new().prefix("longhaul-").tempdir()?;
        fs::create_dir(folder.path().join("objects"))?;
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => Authority::new()?,
        };
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        let proxies = (0..self.proxies).map(|_| None).collect();
        let mut world = World { controller: None, proxies, plan: self, authority, folder, witness: 0 };
        if let Some(site) = world.plan.site.take() {
            let pair = world.authority.issue(&[&site.host])?;
            world.put("site.yaml", &site.ingress.yaml())?;
            world.put("backend.yaml", &objects::backend("backend", &[site.address]))?;
            world.put("secret.yaml", &pair.secret("default", "site-tls"))?;
        }
        for (name, content) in std::mem::take(&mut world.plan.files) {
            world.put(&name, &content)?;
        }
        world.start_controller().await?;
        for number in 0..world.proxies.len() {
            world.start_proxy(number).await?;
        }
        world.settle().await?;
        Ok(world)
    }
}

impl World {
    /// A plan without objects, with one proxy.
    pub fn plan() -> Plan {
        Plan {
            files: Vec::new(),
            site: None,
            controller_flags: Vec::new(),
            supervisor_flags: None,
            proxy_flags: Vec::new(),
            proxies: 1,
            authority: None,
        }
    }

    /// The temporary folder of this world.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of its objects.
    pub fn objects(&self) -> PathBuf {
        self.folder().join("objects")
    }

    /// The file with the certificate of its authority.
    pub fn ca_file(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// The file in which proxy `number` keeps its last good snapshot.
    pub fn last_good(&self, number: usize) -> PathBuf {
        self.folder().join(format!("last-good-{number}"))
    }

    /// Who signs its certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Writes a file of objects, in one step, and waits until every proxy serves it.
    pub async fn write(&mut self, name: &str, content: &str) -> Result<()> {
        self.put(name, content)?;
        self.settle().await
    }

    /// Writes a file of objects, in one step, and does not wait.
    pub fn put(&self, name: &str, content: &str) -> Result<()> {
        let hidden = self.objects().join(format!(".{name}.new"));
        fs::write(&hidden, content)?;
        Ok(fs::rename(hidden, self.objects().join(name))?)
    }

    /// Replaces text in a file of objects, and waits until every proxy serves the result.
    pub async fn edit(&mut self, name: &str, from: &str, to: &str) -> Result<()> {
        let before = fs::read_to_string(self.objects().join(name))?;
        let after = before.replace(from, to);
        ensure!(before != after, "{name} has no {from:?}");
        self.write(name, &after).await
    }

    /// Removes a file of objects, and waits until no proxy serves it.
    pub async fn remove(&mut self, name: &str) -> Result<()> {
        fs::remove_file(self.objects().join(name))?;
        self.settle().await
    }

    /// The controller.
    pub fn controller(&self) -> Result<&Controller> {
        self.controller.as_ref().context("the controller runs")
    }

    /// The controller, to end it.
    pub fn controller_mut(&mut self) -> Result<&mut Controller> {
        self.controller.as_mut().context("the controller runs")
    }

    /// The first proxy.
    pub fn proxy(&self) -> Result<&Proxy> {
        self.proxy_number(0)
    }

    /// One of several proxies.
    pub fn proxy_number(&self, number: usize) -> Result<&Proxy> {
        self.proxies.get(number).and_then(Option::as_ref).with_context(|| format!("proxy {number} runs"))
    }

    /// The first proxy, to end it.
    pub fn proxy_mut(&mut self) -> Result<&mut Proxy> {
        self.proxies.first_mut().and_then(Option::as_mut).context("the proxy runs")
    }

    /// A host at the plain port of the first proxy.
    pub fn plain(&self, host: &str) -> Result<Target> {
        Ok(Target::plain(self.proxy()?.http, host))
    }

    /// A host at the plain port of one of several proxies.
    pub fn plain_at(&self, number: usize, host: &str) -> Result<Target> {
        Ok(Target::plain(self.proxy_number(number)?.http, host))
    }

    /// A host at the TLS port of the first proxy.
    pub fn tls(&self, host: &str) -> Result<Target> {
        Ok(Target::tls(self.proxy()?.https, host, self.authority.trusting_client()?))
    }

    /// Ends the controller as a crash would.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().context("the controller runs")?.process.kill()
    }

    /// Starts a controller, where there was one and where there was none.
    pub async fn start_controller(&mut self) -> Result<()> {
        let mut source = OsString::from("dir:");
        source.push(self.objects());
        let mut flags = vec![OsString::from("--source"), source];
        flags.extend_from_slice(&self.plan.controller_flags);
        let supervisor = self.plan.supervisor_flags.as_deref();
        let controller = Controller::start_under(supervisor, "controller", &self.socket(), &flags).await?;
        self.controller = Some(controller);
        Ok(())
    }

    /// Finds the worker that the controller's supervisor started after this mark of its log.
    pub async fn find_worker(&mut self, mark: usize) -> Result<()> {
        let controller = self.controller.as_mut().context("the controller runs")?;
        controller.admin = listening_after(&controller.process, mark, "admin").await?;
        Ok(())
    }

    /// Ends the first proxy as a crash would.
    pub fn kill_proxy(&mut self) -> Result<()> {
        self.proxies[0].take().context("the proxy runs")?.process.kill()
    }

    /// Starts one of the proxies.
    pub async fn start_proxy(&mut self, number: usize) -> Result<()> {
        let name = format!("proxy {number}");
        let (socket, last_good) = (self.socket(), self.last_good(number));
        let proxy = Proxy::start(&name, &socket, &last_good, &self.plan.proxy_flags).await?;
        self.proxies[number] = Some(proxy);
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("longhaul.sock")
    }

    /// The logs of everything that runs, for a report of what went wrong.
    pub fn logs(&self) -> String {
        let controller = self.controller.iter().map(|controller| controller.process.tail());
        let proxies = self.proxies.iter().flatten().map(|proxy| proxy.process.tail());
        controller.chain(proxies).collect::<Vec<_>>().join("\n")
    }
}

impl Controller {
    /// Starts a controller that hands its snapshots out at a socket, with these flags. The name is for messages.
    pub async fn start(name: &str, socket: &Path, flags: &[OsString]) -> Result<Self> {
        Self::start_under(None, name, socket, flags).await
    }

    /// The same under a supervisor with flags of its own, where there are such.
    async fn start_under(
        supervisor: Option<&[OsString]>,
        name: &str,
        socket: &Path,
        flags: &[OsString],
    ) -> Result<Self> {
        let mut command = Command::new(binary("longhaul-controller")?);
        if let Some(flags) = supervisor {
            command.arg("supervise").args(flags).arg("--");
        }
        command.args(["run", "--log-format", "json"]).arg("--socket").arg(socket);
        add_absent(&mut command, flags, &["--admin"]);
        command.args(flags);
        let process = Process::start(name, command)?;
        let admin = listening(&process, "admin").await?;
        Ok(Self { process, admin })
    }

    /// Its admin address.
    pub fn admin(&self) -> Target {
        Target::plain(self.admin, "admin")
    }

    /// A page of its admin API.
    pub async fn api(&self, path: &str) -> Result<Value> {
        self.admin().get(path).await?.json()
    }
}

impl Proxy {
    /// Starts a proxy that takes its snapshots from a socket and keeps the last good one in a file, with these flags.
    /// The name is for messages.
    pub async fn start(name: &str, socket: &Path, last_good: &Path, flags: &[OsString]) -> Result<Self> {
        let mut command = Command::new(binary("longhaul-proxy")?);
        command.args(["--log-format", "json"]).arg("--socket").arg(socket);
        add_absent(&mut command, flags, &["--http", "--https", "--admin"]);
        // The keys in it are thrown away with the folder.
        command.arg("--last-good").arg(last_good).arg("--last-good-on-disk").args(flags);
        let process = Process::start(name, command)?;
        let http = listening(&process, "http").await?;
        let https = listening(&process, "https").await?;
        let admin = listening(&process, "admin").await?;
        Ok(Self { process, http, https, admin })
    }

    /// Its admin address.
    pub fn admin(&self) -> Target {
        Target::plain(self.admin, "admin")
    }

    /// Its metrics now.
    pub async fn metrics(&self) -> Result<Scrape> {
        Scrape::of(&self.admin()).await
    }

    /// How many tunnels it counts as ended for this reason.
    pub async fn closed(&self, reason: &str) -> Result<u64> {
        self.metrics().await?.count(CLOSED, &[("reason", reason)])
    }

    /// Waits until it counts this many tunnels as ended for this reason, and checks that there are no others.
    pub async fn wait_closed(&self, reason: &str, count: u64) -> Result<()> {
        let given_up = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await?;
            let all = metrics.count(CLOSED, &[])?;
            let these = metrics.count(CLOSED, &[("reason", reason)])?;
            let series = || metrics.series(CLOSED).collect::<Vec<_>>().join("\n");
            ensure!(all == these && all <= count, "{reason} wanted {count} times, counted are\n{}", series());
            if these == count {
                return Ok(());
            }
            ensure!(Instant::now() < given_up, "{reason} wanted {count} times, counted are\n{}", series());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where it takes requests in the clear.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it takes TLS.
    pub fn https(&self) -> SocketAddr {
        self.https
    }
}

/// Has each of these listen on a free loopback port, unless the flags say where.
fn add_absent(command: &mut Command, flags: &[OsString], listeners: &[&str]) {
    for listener in listeners.iter().filter(|listener| !flags.iter().any(|flag| flag == **listener)) {
        command.args([listener, "127.0.0.1:0"]);
    }
}

/// Waits until a program says, in JSON, where its listener of this name listens.
pub async fn listening(process: &Process, listener: &str) -> Result<SocketAddr> {
    listening_after(process, 0, listener).await
}

async fn listening_after(process: &Process, mark: usize, listener: &str) -> Result<SocketAddr> {
    process
        .line_after(mark, &format!("where {listener} listens"), |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let message = line["message"].as_str()?;
            // Either a field, or the message's first word.
            let named = line["listener"].as_str().or(message.split(" listening").next())?;
            let says = named.eq_ignore_ascii_case(listener);
            line["address"].as_str().filter(|_| says)?.parse().ok()
        })
        .await
}
