//! `make demo`: the main job before one's eyes, checked while it is shown.
//!
//! Two backends, the objects of `e2e/demo/` in a temporary folder, the real controller and proxy on loopback. Tunnels
//! are opened over ws and wss, an object is edited while they are open, and whatever is printed was true.

mod on_cluster;
mod show;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::certificate::Authority;
use crate::client::{Socket, Target};
use crate::process::{Process, binary};
use crate::world::World;

pub use on_cluster::OnCluster;
use show::Show;

/// The objects, as they lie in the folder. `SITE` and `GREEN` list the backends at [`BLUE_PORT`] and [`GREEN_PORT`].
const SITE: &str = include_str!("../demo/site.yaml");
const LIVE: &str = include_str!("../demo/live.yaml");
const GREEN: &str = include_str!("../demo/green.yaml");

const BLUE_PORT: u16 = 7001;
const GREEN_PORT: u16 = 7002;
const HTTP_PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9080;

/// The running demo. Its processes and files go when it is dropped.
pub struct Demo {
    world: World,
    blue: Backend,
    green: Backend,
    show: Show,
}

struct Backend {
    address: SocketAddr,
    _process: Process,
}

impl Demo {
    /// Starts everything, shows it and checks it.
    pub async fn run() -> Result<Self> {
        let mut demo = Self::start().await?;
        if let Err(error) = demo.tour().await {
            eprintln!("{}", demo.world.logs());
            return Err(error);
        }
        Ok(demo)
    }

    async fn start() -> Result<Self> {
        let show = Show::new();
        show.title("Longhaul", "WebSockets that stay open while everything around them changes");
        let blue = Backend::start("blue", BLUE_PORT).await?;
        let green = Backend::start("green", GREEN_PORT).await?;
        let (http, https, admin) = (loopback(HTTP_PORT), loopback(HTTPS_PORT), loopback(ADMIN_PORT));
        let authority = Authority::new()?;
        let pair = authority.issue(&["localhost"])?;
        let world = World::plan()
            .file("site.yaml", SITE.replace(&BLUE_PORT.to_string(), &blue.address.port().to_string()))
            .file("green.yaml", GREEN.replace(&GREEN_PORT.to_string(), &green.address.port().to_string()))
            .file("live.yaml", LIVE)
            .file("localhost-tls.yaml", pair.secret("default", "localhost-tls"))
            .authority(authority)
            .controller_flags(&["--admin", &admin.to_string()])
            .proxy_flags(&["--http", &http.to_string(), "--https", &https.to_string()])
            .start()
            .await?;
        let demo = Self { world, blue, green, show };
        demo.introduce()?;
        Ok(demo)
    }

    fn introduce(&self) -> Result<()> {
        let proxy = self.world.proxy()?;
        self.show.heading("Running");
        self.show
            .fact("backends", &format!("blue on {}, green on {}", self.blue.address, self.green.address));
        self.show.fact("controller", &format!("reads the objects in {}", self.world.objects().display()));
        self.show.fact(
            "proxy",
            &format!("http on port {}, https on {}", proxy.http().port(), proxy.https().port()),
        );
        Ok(())
    }

    async fn tour(&mut self) -> Result<()> {
        let ways = [("ws ", self.world.plain("localhost")?), ("wss", self.world.tls("localhost")?)];
        let mut tunnels = Vec::new();
        self.show.heading("Tunnels open");
        for (scheme, target) in &ways {
            tunnels.push((*scheme, self.open(scheme, target, "blue").await?));
        }

        self.show.heading("An object changes while they are open");
        let edited = LIVE.replace("service: blue", "service: green");
        let took = self.world.write_timed("live.yaml", &edited).await?.as_millis();
        self.show
            .step(&format!("live.yaml: service blue is now green; the proxy serves it, {took} ms later"));
        for (scheme, tunnel) in &mut tunnels {
            tunnel
                .echo("and on it goes")
                .await
                .with_context(|| format!("the tunnel over {scheme} closed"))?;
            self.show.step(&format!("{scheme} the open tunnel echoes as before, served by blue"));
        }
        for (scheme, target) in &ways {
            self.open(scheme, target, "green").await?.close().await?;
        }

        self.show.heading("Nothing closed");
        self.count_closed().await?;
        for (_, mut tunnel) in tunnels {
            tunnel.close().await?;
        }
        Ok(())
    }

    async fn open(&self, scheme: &str, target: &Target, backend: &str) -> Result<Socket> {
        let mut tunnel =
            target.websocket("/live/echo").await.with_context(|| format!("opening over {scheme}"))?;
        let served = tunnel.backend().to_owned();
        ensure!(served == backend, "a new tunnel over {scheme} is served by {served:?}, not by {backend}");
        tunnel.echo(&format!("hello over {scheme}")).await?;
        self.show.step(&format!("{scheme} a new handshake: served by {served}, echoes"));
        Ok(tunnel)
    }

    /// The proxy's own count: all that ended are the two that we closed ourselves.
    async fn count_closed(&self) -> Result<()> {
        let proxy = self.world.proxy()?;
        proxy.wait_closed("client_closed", 2).await?;
        let open = proxy.metrics().await?.count("longhaul_tunnels_open", &[])?;
        ensure!(open == 2, "{open} tunnels are open where two should be");
        self.show.step("the proxy counts 2 open tunnels, and 2 that ended because their client closed them");
        Ok(())
    }

    /// Prints what to try while it runs.
    pub fn invite(&self) -> Result<()> {
        let proxy = self.world.proxy()?;
        let (http, https) = (proxy.http().port(), proxy.https().port());
        let ca = self.world.ca_file();
        let live = self.world.objects().join("live.yaml");
        let admin = self.world.controller()?.admin().address();
        self.show.heading("Try it, until Ctrl-C");
        self.show.fact("browser", &format!("http://localhost:{http}/ is a small chat; open it twice"));
        self.show.fact("curl", &format!("curl --cacert {} https://localhost:{https}/whoami", ca.display()));
        self.show.fact("wscat", &format!("npx wscat --connect ws://localhost:{http}/live"));
        self.show.fact("edit", &live.display().to_string());
        self.show.fact("and see", &format!("curl http://{admin}/api/routes"));
        Ok(())
    }

    /// Whether it was as said, in one line.
    pub fn conclude(&self) {
        self.show.heading("All of it was as said.");
    }
}

impl Backend {
    async fn start(name: &str, port: u16) -> Result<Self> {
        let listen = loopback(port).to_string();
        let mut command = Command::new(binary("demo-backend")?);
        command.args(["--name", name, "--listen", &listen]);
        let process = Process::start(name, command)?;
        let address = process
            .line("where it listens", |line| line.split_once(" listens on ")?.1.parse::<SocketAddr>().ok())
            .await?;
        Ok(Self { address, _process: process })
    }
}

/// A loopback address with this port if it is free, else one that lets the system choose.
fn loopback(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(wanted).is_ok() { wanted } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}
