//! What goes wrong on a real node with tunnels open: pods that go, programs that crash, a kubelet that is away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::chart::Helm;
use e2e::client::Target;
use e2e::cluster::{Node, Release, ReleasePod, eventually};
use e2e::fleet::Fleet;
use e2e::objects::{Ingress, backend_in_a_pod};
use tokio::time::{Instant, interval, timeout};

const TUNNELS: usize = 120;

/// The delay is so long that a proxy that is unready from its beginning is found out: its probe takes 6 s to fail.
const VALUES: [&str; 4] = [
    "controller.service.type=NodePort",
    "controller.publishService.enabled=false",
    "proxy.shutdownDelaySeconds=10",
    "proxy.drainPeriodSeconds=3",
];

struct Site<'a> {
    node: &'a Node,
    release: Release<'a>,
    target: Target,
    fleet: Fleet,
}

impl<'a> Site<'a> {
    async fn start(node: &'a Node, helm: &Helm) -> Self {
        let release = Release::install(node, helm, "faults", &VALUES).await.unwrap();
        release.apply(&backend_in_a_pod("chat", "chat")).await.unwrap();
        route(&release, "chat").await;
        release.kubectl(&["wait", "--for=condition=Ready", "--timeout=50s", "pod/chat"]).await.unwrap();
        let target = Target::plain(release.node_port("http").await.unwrap(), "chat.example.com");
        served(&target).await;
        let fleet = Fleet::start(&target, "/", TUNNELS).await.unwrap();
        Self { node, release, target, fleet }
    }

    async fn ready_pods(&self, count: usize) -> Vec<ReleasePod> {
        let pods = async || self.release.ready_pods(count).await;
        // Those that leave take their time.
        self.node.wait(&format!("{count} ready pods"), pods).await.unwrap()
    }

    /// Every tunnel is used, and no client lost one or was refused since it was so.
    async fn nobody_noticed(&mut self, lost: usize) {
        let now = self.fleet.used().await.unwrap();
        assert_eq!((now.ended(), now.refused.len()), (lost, 0), "{now:#?}\n{}", self.release.logs().await);
    }
}

async fn route(release: &Release<'_>, name: &str) {
    let ingress = Ingress::new(name, &format!("{name}.example.com")).class("CLASS").path("/", "chat");
    release.apply(&ingress.yaml()).await.unwrap();
}

/// By each proxy: several handshakes in a row succeed.
async fn served(target: &Target) {
    eventually("a way to the site", async || handshakes(target).await).await.unwrap();
}

async fn handshakes(target: &Target) -> Result<()> {
    for _ in 0..16 {
        target.websocket("/").await?.close().await?;
    }
    Ok(())
}

#[test]
fn pods_come_and_go_and_crash_and_others_serve() {
    let test = "faults on a node";
    let helms = Helm::wanted_by(test);
    if helms.is_empty() || !Node::can_run(test) {
        return;
    }
    let node = Node::start().unwrap();
    node.inside(async || {
        let mut site = Site::start(&node, &helms[0]).await;
        site.workers_are_killed_again_and_again().await;
        site.the_kubelet_is_restarted().await;
        site.scaled_up_and_down().await;
        site.a_proxy_crashes().await;
        site.a_pod_is_deleted_by_force().await;
        site.the_last_pod_leaves().await;
    });
}

impl Site<'_> {
    async fn workers_are_killed_again_and_again(&mut self) {
        let before = self.ready_pods(2).await;
        for round in 0..3 {
            for pod in &before {
                let container = pod.container("controller").unwrap();
                let worker = container.process("longhaul-controller", &["run"]).unwrap();
                container.kill(worker).unwrap();
                handshakes(&self.target).await.unwrap();
                let again = async || {
                    let now = container.process("longhaul-controller", &["run"])?;
                    ensure!(now != worker, "the worker that was killed");
                    Ok(())
                };
                eventually("another worker", again).await.unwrap();
                handshakes(&self.target).await.unwrap();
            }
            // What they read is followed.
            let name = format!("round-{round}");
            route(&self.release, &name).await;
            served(&Target::plain(self.target.address(), &format!("{name}.example.com"))).await;
        }
        let after = self.ready_pods(2).await;
        let facts = |pods: &[ReleasePod]| -> Vec<_> {
            pods.iter().map(|pod| (pod.name.clone(), pod.ready_since.clone(), pod.restarts)).collect()
        };
        assert_eq!(facts(&after), facts(&before), "Ready all the time");
        self.nobody_noticed(0).await;
    }

    async fn the_kubelet_is_restarted(&mut self) {
        let before = self.ready_pods(2).await;
        self.node.restart_kubelet().unwrap();
        handshakes(&self.target).await.unwrap();
        self.fleet.used().await.unwrap();
        let wait = ["wait", "--for=condition=Ready", "--timeout=50s", "pod", "--all"];
        self.release.kubectl(&wait).await.unwrap();
        let after = self.ready_pods(2).await;
        let containers =
            |pods: &[ReleasePod]| pods.iter().map(|pod| pod.containers.clone()).collect::<Vec<_>>();
        assert_eq!(containers(&after), containers(&before), "the same programs run on");
        handshakes(&self.target).await.unwrap();
        self.nobody_noticed(0).await;
    }

    /// Who comes stays; only those of the pods that go are asked to move, once each.
    async fn scaled_up_and_down(&mut self) {
        self.scale(3).await;
        self.ready_pods(3).await;
        self.nobody_noticed(0).await;
        self.scale(1).await;
        self.ready_pods(1).await;
        let down = self.fleet.used().await.unwrap();
        assert!(down.refused.is_empty(), "{down:#?}");
        assert_eq!(down.endings.keys().collect::<Vec<_>>(), ["Close 1012"], "{down:#?}");
        self.scale(2).await;
        self.ready_pods(2).await;
        self.nobody_noticed(down.ended()).await;
    }

    /// Tunnels that the other proxy has stay; the kubelet starts the one that crashed again, in the same pod.
    async fn a_proxy_crashes(&mut self) {
        // Of those that come now both have some.
        let mut others = Fleet::start(&self.target, "/", TUNNELS).await.unwrap();
        let before = self.ready_pods(2).await;
        let lost = self.fleet.tally().ended();
        let container = before[0].container("proxy").unwrap();
        container.kill(container.process("longhaul-proxy", &[]).unwrap()).unwrap();
        let started = async || {
            let pods = self.release.ready_pods(2).await?;
            let same: BTreeSet<_> = pods.iter().map(|pod| &pod.name).collect();
            ensure!(pods.iter().map(|pod| pod.restarts).sum::<u64>() == 1, "{pods:#?}");
            ensure!(before.iter().all(|pod| same.contains(&pod.name)), "{pods:#?}");
            Ok(())
        };
        eventually("the proxy started again", started).await.unwrap();
        served(&self.target).await;
        let now = others.until("all open again", |tally| tally.now_open() == TUNNELS).await.unwrap();
        assert!((1..TUNNELS).contains(&now.ended()), "some stay, some are lost: {now:#?}");
        assert_eq!(now.most_lost, 1, "{now:#?}");
        let now = self.fleet.until("all open again", |tally| tally.now_open() == TUNNELS).await.unwrap();
        assert!(now.ended() <= lost + TUNNELS, "{now:#?}");
    }

    async fn a_pod_is_deleted_by_force(&mut self) {
        let mut others = Fleet::start(&self.target, "/", TUNNELS).await.unwrap();
        let before = self.ready_pods(2).await;
        let gone = &before[0].name;
        self.release.kubectl(&["delete", "pod", gone, "--grace-period=0", "--force"]).await.unwrap();
        let after = self.ready_pods(2).await;
        assert!(
            after.iter().all(|pod| pod.name != *gone) && after.iter().any(|pod| pod.name == before[1].name)
        );
        others.until("its tunnels ended", |tally| tally.ended() > 0).await.unwrap();
        served(&self.target).await;
        let now = others.until("all open again", |tally| tally.now_open() == TUNNELS).await.unwrap();
        assert!(now.ended() < TUNNELS, "those of the other pod stay: {now:#?}");
        assert_eq!(now.most_lost, 1, "{now:#?}");
    }

    /// Nobody else is there to send to: it takes new tunnels until it closes them all.
    async fn the_last_pod_leaves(&mut self) {
        self.scale(1).await;
        self.ready_pods(1).await;
        let before = self.fleet.used().await.unwrap();
        self.scale(0).await;
        let told = async || {
            ensure!(self.release.pods().await?.iter().all(|pod| pod.terminating), "it stays");
            Ok(())
        };
        eventually("a pod that leaves", told).await.unwrap();
        // Its controller stays with it.
        route(&self.release, "late").await;
        served(&Target::plain(self.target.address(), "late.example.com")).await;
        let begun = Instant::now();
        let once = async || self.target.websocket("/").await?.close().await;
        let mut paces = interval(Duration::from_millis(50));
        while self.fleet.tally().ended() == before.ended() {
            paces.tick().await;
            if let Err(error) = once().await {
                // By a hair it may come too late: then the first one is told to go at this moment.
                let closing = self.fleet.until("tunnels closed", |tally| tally.ended() > before.ended());
                let too_late = timeout(Duration::from_secs(1), closing).await;
                assert!(too_late.is_ok(), "refused {:?} after it was told: {error:#}", begun.elapsed());
            }
        }
        assert!(begun.elapsed() > Duration::from_secs(7), "closed {:?} after it was told", begun.elapsed());
        let wanted = before.ended() + TUNNELS;
        let mut now = self.fleet.until("all tunnels closed", |tally| tally.ended() >= wanted).await.unwrap();
        for (ending, count) in &before.endings {
            *now.endings.entry(ending.clone()).or_default() -= count;
        }
        now.endings.retain(|_, count| *count > 0);
        assert_eq!(now.endings, BTreeMap::from([("Close 1012".to_owned(), TUNNELS)]));
    }

    async fn scale(&self, replicas: usize) {
        let replicas = format!("--replicas={replicas}");
        self.release.kubectl(&["scale", "deployment", "longhaul", &replicas]).await.unwrap();
    }
}
