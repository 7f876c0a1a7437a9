//! The chart on a real node, by both versions of Helm: installed, tested, upgraded, rolled back, taken away and put back,
//! beside another release that never notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;
use e2e::certificate::Authority;
use e2e::chart::{CHART, Helm, checkout};
use e2e::client::{Socket, Target};
use e2e::cluster::{NODE_ADDRESS, Node, Release, eventually};
use e2e::objects::{Ingress, backend_in_a_pod};
use serde_json::Value;

const SHORT: [&str; 3] =
    ["proxy.shutdownDelaySeconds=2", "proxy.drainPeriodSeconds=2", "controller.publishService.enabled=false"];

/// Reached at ports of the node that Kubernetes chooses.
const BY_NODE_PORT: [&str; 2] =
    ["controller.service.type=NodePort", "controller.publishAddresses={first.example.com}"];

/// Reached at 80 and 443 of the node. The definition of WsRoute is the other release's.
const BY_HOST_PORT: [&str; 5] = [
    "controller.kind=DaemonSet",
    "controller.hostPort.enabled=true",
    "controller.service.type=ClusterIP",
    "controller.publishAddresses={second.example.com}",
    "crds.enabled=false",
];

const HOST: &str = "chat.example.com";

const ROUTE: &str = "
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: live}
spec:
  ingressClassName: CLASS
  hosts: [NAME.example.com]
  rules:
  - name: all
    matches: [{path: {type: Prefix, value: /}}]
    backends: [{service: chat, port: ws}]
";

/// A release with a site behind it. Both releases serve the same host, each its own backend.
struct Site<'a> {
    release: Release<'a>,
    name: &'static str,
    authority: Authority,
}

fn with<'v>(values: &[&'v str], more: &[&'v str]) -> Vec<&'v str> {
    [&SHORT[..], values, more].concat()
}

impl<'a> Site<'a> {
    async fn install(node: &'a Node, helm: &Helm, name: &'static str, values: &[&str]) -> Self {
        let release = Release::install(node, helm, name, &with(values, &[])).await.unwrap();
        let authority = Authority::new().unwrap();
        let pair = authority.issue(&[HOST]).unwrap();
        release.apply(&pair.secret(release.name(), "chat-tls")).await.unwrap();
        let site = Self { release, name, authority };
        site.apply().await;
        site
    }

    async fn apply(&self) {
        let ingress =
            Ingress::new("chat", HOST).class("CLASS").tls_beside_plain("chat-tls").path("/", "chat");
        let objects = [backend_in_a_pod(self.name, "chat"), ingress.yaml(), ROUTE.replace("NAME", self.name)];
        self.release.apply(&objects.join("---\n")).await.unwrap();
        let ready = ["wait", "--for=condition=Ready", "--timeout=50s", "pod", self.name];
        self.release.kubectl(&ready).await.unwrap();
        let programmed = ["wait", "--for=condition=Programmed", "--timeout=50s", "wsroute", "live"];
        self.release.kubectl(&programmed).await.unwrap();
    }

    /// Opens a tunnel to the backend of this release, in the clear and over TLS.
    async fn open(&self, http: SocketAddr, https: SocketAddr) -> [Socket; 2] {
        let plain = Target::plain(http, HOST);
        let tls = Target::tls(https, HOST, self.authority.trusting_client().unwrap());
        let both = async || {
            let mut both = [plain.websocket("/").await?, tls.websocket("/").await?];
            for socket in &mut both {
                ensure!(socket.backend() == self.name, "{} answers", socket.backend());
                socket.echo("hello").await?;
            }
            Ok(both)
        };
        eventually(&format!("a way to {}", self.name), both).await.unwrap()
    }

    async fn open_at_node_ports(&self) -> [Socket; 2] {
        let http = self.release.node_port("http").await.unwrap();
        let https = self.release.node_port("https").await.unwrap();
        self.open(http, https).await
    }

    async fn open_at_host_ports(&self) -> [Socket; 2] {
        let port = |port: u16| SocketAddr::new(NODE_ADDRESS.parse().unwrap(), port);
        self.open(port(80), port(443)).await
    }

    async fn test(&self) {
        let said = self.release.helm(&["test", "longhaul", "--timeout=2m"]).await.unwrap();
        assert!(said.contains("Phase:") && said.contains("Succeeded"), "{said}");
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.release.kubectl(&arguments).await.unwrap()).unwrap()
    }

    /// Its objects show its own addresses, and nobody else wrote their status.
    async fn status_is_its_own(&self) {
        let wanted = format!("{}.example.com", self.name);
        let shown = async || {
            let path = "jsonpath={.status.loadBalancer.ingress[*].hostname}";
            let found = self.release.kubectl(&["get", "ingress", "chat", "-o", path]).await?;
            ensure!(found == wanted, "{found}");
            Ok(())
        };
        eventually("the address in the status", shown).await.unwrap();
        for object in ["ingress/chat", "wsroute/live"] {
            let object = self.json(&["get", object, "--show-managed-fields"]).await;
            let managers: Vec<&str> = object["metadata"]["managedFields"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|entry| entry["subresource"] == "status")
                .map(|entry| entry["manager"].as_str().unwrap())
                .collect();
            assert_eq!(managers, [format!("longhaul.dev/{}.longhaul", self.release.name())]);
        }
    }
}

#[test]
fn two_releases_come_and_go_and_neither_touches_the_other() {
    let test = "releases on a node";
    let helms = Helm::wanted_by(test);
    if helms.is_empty() || !Node::can_run(test) {
        return;
    }
    let node = Node::start().unwrap();
    node.inside(async || {
        let first = Site::install(&node, &helms[0], "first", &BY_NODE_PORT).await;
        let second = Site::install(&node, &helms[1], "second", &BY_HOST_PORT).await;
        for site in [&first, &second] {
            site.test().await;
            site.status_is_its_own().await;
            confined(&site.release).await;
        }
        drop(first.open_at_node_ports().await);
        let mut stay = second.open_at_host_ports().await;
        upgraded_and_rolled_back(&node, &first).await;
        taken_away_and_put_back(&node, &first).await;
        for socket in &mut stay {
            socket.echo("nothing of it was noticed here").await.unwrap();
        }
        second.status_is_its_own().await;
    });
}

/// Programs run as nobody in particular, with no capability, on a root that they cannot write to.
async fn confined(release: &Release<'_>) {
    for pod in release.pods().await.unwrap() {
        for (name, program) in [("controller", "longhaul-controller"), ("proxy", "longhaul-proxy")] {
            let container = pod.container(name).unwrap();
            let process = container.process(program, &[]).unwrap();
            let status = container.read(process, "status").unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().collect::<Vec<_>>()
            };
            assert_eq!((field("Uid:"), field("Gid:")), (vec!["65532"; 4], vec!["65532"; 4]));
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(set), ["0000000000000000"], "{set}");
            }
            assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1"], vec!["2"]));
            let mounts = container.read(process, "mountinfo").unwrap();
            let mount = |point: &str| mounts.lines().find(|line| line.split(' ').nth(4) == Some(point));
            let root = mount("/").unwrap();
            assert!(root.split(' ').nth(5).unwrap().starts_with("ro,"), "{root}");
            let runtime = mount("/run/longhaul").unwrap();
            assert!(runtime.contains(" - tmpfs "), "{runtime}");
            // What faces the internet holds no credentials.
            let token = mount("/run/secrets/kubernetes.io/serviceaccount")
                .or_else(|| mount("/var/run/secrets/kubernetes.io/serviceaccount"));
            assert_eq!(token.is_some(), name == "controller", "{mounts}");
        }
        let proxy = pod.container("proxy").unwrap();
        let sockets = proxy.read(proxy.process("longhaul-proxy", &[]).unwrap(), "net/tcp").unwrap();
        // See proc_net_tcp: the local address in hexadecimal digits; 0A is a socket that listens.
        let listens = |port: u16| {
            let wanted = format!("00000000:{port:04X}");
            let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.any(|words| words[1] == wanted && words[3] == "0A")
        };
        assert!(listens(8080) && listens(8443) && !listens(80) && !listens(443), "{sockets}");
    }
}

/// A copy of the chart whose WsRoute has one more field.
fn later_chart(folder: &Path) -> String {
    let copy = folder.join("later-chart");
    let copied = std::process::Command::new("cp").arg("-r").arg(checkout().join(CHART)).arg(&copy).status();
    assert!(copied.unwrap().success());
    let file = copy.join("files/wsroutes.yaml");
    let definition = fs::read_to_string(&file).unwrap();
    let hosts = "\n              hosts:\n";
    assert_eq!(definition.matches(hosts).count(), 1, "the hosts of a WsRoute");
    let more = format!("\n              later:\n                type: string{hosts}");
    fs::write(&file, definition.replace(hosts, &more)).unwrap();
    copy.display().to_string()
}

const LATER: &str = "
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: later}
spec:
  ingressClassName: CLASS
  later: 'yes'
  hosts: [later.example.com]
  rules:
  - name: all
    backends: [{service: chat, port: ws}]
";

async fn upgraded_and_rolled_back(node: &Node, site: &Site<'_>) {
    let release = &site.release;
    assert!(release.apply(LATER).await.unwrap_err().to_string().contains("unknown field \"spec.later\""));
    let values = with(&BY_NODE_PORT, &["controller.replicaCount=1", "logging.format=json"]);
    release.upgrade(&later_chart(node.folder()), &values).await.unwrap();
    release.apply(LATER).await.unwrap();
    release
        .kubectl(&["wait", "--for=condition=Programmed", "--timeout=50s", "wsroute", "later"])
        .await
        .unwrap();
    eventually("one pod", async || release.ready_pods(1).await).await.unwrap();
    let line = release.kubectl(&["logs", "deployment/longhaul", "-c", "proxy", "--tail=1"]).await.unwrap();
    serde_json::from_str::<Value>(&line).unwrap();
    drop(site.open_at_node_ports().await);

    release.helm(&["rollback", "longhaul", "1", "--wait", "--timeout=4m"]).await.unwrap();
    eventually("two pods", async || release.ready_pods(2).await).await.unwrap();
    let route = site.json(&["get", "wsroute", "later"]).await;
    assert!(route["spec"]["later"].is_null(), "the field is gone: {route:#}");
    release.kubectl(&["delete", "wsroute", "later"]).await.unwrap();
    site.test().await;
    drop(site.open_at_node_ports().await);
}

/// What there is of a release, in its namespace and outside of any.
async fn traces(node: &Node, release: &Release<'_>) -> Vec<String> {
    let kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets,leases";
    let mut inside = release.kubectl(&["get", kinds, "-o", "name"]).await.unwrap();
    inside.push_str(
        &node
            .kubectl(&["get", "clusterroles,clusterrolebindings,ingressclasses,crds", "-o", "name"])
            .await
            .unwrap(),
    );
    let ours =
        |line: &&str| line.contains("longhaul") && !line.contains(":second-") && !line.contains("/second-");
    let mut found: Vec<String> = inside.lines().filter(ours).map(str::to_owned).collect();
    let class = format!("ingressclass.networking.k8s.io/{}", release.name());
    found.extend(inside.lines().filter(|line| *line == class).map(str::to_owned));
    found
}

async fn taken_away_and_put_back(node: &Node, site: &Site<'_>) {
    let release = &site.release;
    release.helm(&["uninstall", "longhaul", "--wait", "--timeout=4m"]).await.unwrap();
    let left = async || {
        let left = traces(node, release).await;
        let kept = ["wspolicies", "wsroutes"]
            .map(|name| format!("customresourcedefinition.apiextensions.k8s.io/{name}.longhaul.dev"));
        ensure!(left == kept, "{left:?}");
        Ok(())
    };
    eventually("nothing but the CRDs", left).await.unwrap();
    assert_eq!(site.json(&["get", "wsroute", "live"]).await["metadata"]["name"], "live");

    release.install_again(&with(&BY_NODE_PORT, &[])).await.unwrap();
    site.apply().await;
    site.status_is_its_own().await;
    drop(site.open_at_node_ports().await);
}
