//! `make cluster`: the demo on a real Kubernetes with one node, with Longhaul installed by its chart.
//!
//! The Ingress and the WsRoute of `make demo`, in front of backends that run in pods. The cluster is in a network
//! namespace of its own, and [`Door`]s on loopback lead to its API server and to Longhaul: kubectl, a browser and curl
//! need not know.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::show::Show;
use super::{ADMIN_PORT, HTTP_PORT, HTTPS_PORT, LIVE, SITE};
use crate::certificate::Authority;
use crate::chart::{CHART, Helm};
use crate::client::{Socket, Target};
use crate::cluster::{Door, Node};

/// What stands behind the routes.
const BACKENDS: &str = include_str!("../../demo/cluster.yaml");

/// The values that the chart is installed with; the ports of the node are from there.
const VALUES: &str = "e2e/demo/values.yaml";
const NODE_PORT_HTTP: u16 = 30080;
const NODE_PORT_HTTPS: u16 = 30443;

const NAMESPACE: &str = "default";
const RELEASE: &str = "longhaul";

/// The cluster. It goes when this is dropped.
pub struct OnCluster {
    _api: Door,
    kubeconfig: PathBuf,
    http: Door,
    https: Door,
    helm: Helm,
    authority: Authority,
    show: Show,
    // Last, so that nothing needs it any more when it goes.
    node: Node,
}

impl OnCluster {
    /// Starts a cluster, and builds the image where it is not built yet. Blocks.
    pub fn start() -> Result<Self> {
        let show = Show::new();
        show.title("Longhaul on Kubernetes", "a cluster of one node that goes when you leave");
        let helm = Helm::latest()?;
        let node = Node::start()?;
        node.load_images()?;
        let (api, address) = (node.api_server(), node.api_server().ip());
        let api = node.open_door(api.port(), api)?;
        let http = node.open_door(HTTP_PORT, (address, NODE_PORT_HTTP).into())?;
        let https = node.open_door(HTTPS_PORT, (address, NODE_PORT_HTTPS).into())?;
        let kubeconfig = node.kubeconfig_at(api.address())?;
        let authority = Authority::new()?;
        Ok(Self { _api: api, kubeconfig, http, https, helm, authority, show, node })
    }

    /// Installs Longhaul, applies the objects, and shows and checks what comes of it.
    pub async fn tour(&self) -> Result<()> {
        if let Err(error) = self.steps().await {
            eprintln!("{}", self.complaints().await);
            return Err(error);
        }
        Ok(())
    }

    async fn steps(&self) -> Result<()> {
        self.show.heading("Installed");
        self.install()?;
        self.ask_from_outside().await?;
        self.apply().await?;
        let (plain, tls) = self.targets()?;
        self.show.heading("Tunnels open");
        let mut open = [
            ("ws ", self.open("ws ", &plain, "blue").await?),
            ("wss", self.open("wss", &tls, "blue").await?),
        ];

        self.show.heading("An object changes while they are open");
        self.kubectl(LIVE.replace("service: blue", "service: green").as_str()).await?;
        self.programmed().await?;
        self.show.step("kubectl apply: service blue is now green; kubectl wait: Programmed");
        for (scheme, tunnel) in &mut open {
            tunnel
                .echo("and on it goes")
                .await
                .with_context(|| format!("the tunnel over {scheme} closed"))?;
            self.show.step(&format!("{scheme} the open tunnel echoes as before, served by blue"));
        }
        for (scheme, target) in [("ws ", &plain), ("wss", &tls)] {
            self.open(scheme, target, "green").await?.close().await?;
        }
        for (_, mut tunnel) in open {
            tunnel.close().await?;
        }
        Ok(())
    }

    fn install(&self) -> Result<()> {
        let port = |name: &str, door: &Door| format!("proxy.publicPort.{name}={}", door.address().port());
        let ports = [port("http", &self.http), port("https", &self.https)].join(",");
        let arguments = [
            ["upgrade", "--install", RELEASE, CHART].as_slice(),
            &["--namespace", RELEASE, "--create-namespace", "--values", VALUES, "--set", &ports],
            &["--wait", "--timeout", "3m"],
        ]
        .concat();
        let said = self.node.inside(async || self.helm.run_on(&self.node.kubeconfig(), &arguments))?;
        ensure!(said.success, "{} {}: {}", self.helm.name, arguments.join(" "), said.error.trim());
        self.show.step(&format!("{}: the pods with the image from the Dockerfile are ready", self.helm.name));
        Ok(())
    }

    /// As somebody would in another shell: not in the cluster's network namespace.
    async fn ask_from_outside(&self) -> Result<()> {
        let mut kubectl = Command::new(self.node.programs_folder()?.join("kubectl"));
        kubectl.args(["get", "--raw", "/readyz"]).env("KUBECONFIG", &self.kubeconfig).kill_on_drop(true);
        let said = kubectl.output().await.context("running kubectl")?;
        let error = String::from_utf8_lossy(&said.stderr);
        ensure!(said.stdout == b"ok", "kubectl with {}: {}", self.kubeconfig.display(), error.trim());
        self.show.step("kubectl reaches the API server from outside of the cluster's network");
        Ok(())
    }

    async fn apply(&self) -> Result<()> {
        self.kubectl(BACKENDS).await?;
        let secret = self.authority.issue(&["localhost"])?.secret(NAMESPACE, "localhost-tls");
        self.kubectl(&secret).await?;
        // What follows there are a Service and endpoints of `make demo`.
        let ingress = SITE.split("\n---\n").next().context("the Ingress comes first")?;
        self.kubectl(ingress).await?;
        self.kubectl(LIVE).await?;
        self.node
            .kubectl(&[
                "wait",
                "--for=condition=Available",
                "--timeout=50s",
                "deployment/blue",
                "deployment/green",
            ])
            .await?;
        self.programmed().await?;
        self.show.step("an Ingress, a WsRoute, and two backends in pods: kubectl wait says Programmed");
        Ok(())
    }

    async fn kubectl(&self, objects: &str) -> Result<()> {
        self.node.apply(NAMESPACE, objects).await
    }

    async fn programmed(&self) -> Result<()> {
        let wait = ["wait", "--for=condition=Programmed", "--timeout=50s", "wsroute/live"];
        self.node.kubectl(&wait).await.map(|_| ())
    }

    fn targets(&self) -> Result<(Target, Target)> {
        let tls = Target::tls(self.https.address(), "localhost", self.authority.trusting_client()?);
        Ok((Target::plain(self.http.address(), "localhost"), tls))
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

    /// Prints what to do with it while it is there.
    pub fn invite(&self) -> Result<()> {
        let (http, https) = (self.http.address(), self.https.address());
        let authority = self.authority_file()?;
        self.show.heading("In another shell");
        println!("  export KUBECONFIG={}", self.kubeconfig.display());
        println!("  export PATH=$PATH:{}    # kubectl", self.node.programs_folder()?.display());
        self.show.heading("Try it, until Ctrl-C");
        let lines = [
            ("browser", format!("http://localhost:{}/ is a small chat; open it twice", http.port())),
            (
                "curl",
                format!("curl --cacert {} https://localhost:{}/whoami", authority.display(), https.port()),
            ),
            ("wscat", format!("npx wscat --connect ws://localhost:{}/live", http.port())),
            ("see", "kubectl get pods,ingress,wsroute --all-namespaces".to_owned()),
            ("status", "kubectl describe wsroute live".to_owned()),
            ("edit", "kubectl edit wsroute live    # service: blue, and back".to_owned()),
            ("restart", format!("kubectl rollout restart deployment/{RELEASE} --namespace {RELEASE}")),
            (
                "routes",
                format!("kubectl port-forward deployment/{RELEASE} {ADMIN_PORT} --namespace {RELEASE}"),
            ),
            ("", format!("    and curl http://localhost:{ADMIN_PORT}/api/routes")),
        ];
        for (name, text) in lines {
            self.show.fact(name, &text);
        }
        Ok(())
    }

    /// Whether it was as said, in one line.
    pub fn conclude(&self) {
        self.show.heading("All of it was as said.");
    }

    fn authority_file(&self) -> Result<PathBuf> {
        let file = self.node.folder().join("localhost-ca.crt");
        fs::write(&file, self.authority.pem())?;
        Ok(file)
    }

    /// What pods and programs have to say, after something went wrong.
    async fn complaints(&self) -> String {
        let mut said = Vec::new();
        for arguments in [
            &["get", "pods,events,ingress,wsroute", "--all-namespaces", "--output=wide"][..],
            &[
                "logs",
                "--namespace",
                RELEASE,
                "--selector=app.kubernetes.io/instance=longhaul",
                "--all-containers",
                "--prefix",
            ],
        ] {
            match self.node.kubectl_with(arguments, "").await {
                Ok(output) => said.extend([output.out, output.err]),
                Err(error) => said.push(format!("{error:#}")),
            }
        }
        said.push(self.node.logs());
        said.join("\n")
    }
}
