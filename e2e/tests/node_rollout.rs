//! Rollouts on a real node under 500 tunnels: of the backends, and of Longhaul itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use e2e::chart::Helm;
use e2e::client::Target;
use e2e::cluster::{Node, Release, eventually};
use e2e::fleet::Fleet;
use e2e::notes;
use e2e::objects::Ingress;
use tokio::time::Instant;

const TUNNELS: usize = 500;

/// Time for kube-proxy to look elsewhere, and for 500 tunnels to close one after another. New pods are waited for, so
/// that a rollout of one pod after another would show.
const VALUES: [&str; 5] = [
    "controller.minReadySeconds=6",
    "controller.service.type=NodePort",
    "controller.publishService.enabled=false",
    "proxy.shutdownDelaySeconds=5",
    "proxy.drainPeriodSeconds=8",
];

/// As anybody's backend that has tunnels: it waits until routers look elsewhere, then says goodbye.
fn backend(name: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: app
        image: localhost/demo-backend:dev
        imagePullPolicy: Never
        args: [--name, {name}, --listen, '0.0.0.0:9000']
        ports: [{{name: ws, containerPort: 9000}}]
        readinessProbe: {{tcpSocket: {{port: ws}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{sleep: {{seconds: 3}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: ws, port: 80, targetPort: ws}}]
---
"
    )
}

fn ingress(name: &str) -> String {
    Ingress::new(name, &format!("{name}.example.com")).class("CLASS").path("/", name).yaml()
}

/// Two sites, blue and green, with half of the clients each.
struct Sites<'a> {
    release: &'a Release<'a>,
    blue: Fleet,
    green: Fleet,
}

impl<'a> Sites<'a> {
    async fn start(release: &'a Release<'a>) -> Self {
        for name in ["blue", "green"] {
            release.apply(&backend(name)).await.unwrap();
            release.apply(&ingress(name)).await.unwrap();
        }
        for name in ["blue", "green"] {
            release.kubectl(&["rollout", "status", "deployment", name, "--timeout=50s"]).await.unwrap();
        }
        let (blue, green) = (Self::fleet(release, "blue").await, Self::fleet(release, "green").await);
        Self { release, blue, green }
    }

    async fn fleet(release: &Release<'_>, name: &str) -> Fleet {
        let address = release.node_port("http").await.unwrap();
        let target = Target::plain(address, &format!("{name}.example.com"));
        // Of two proxies one may have the routes sooner.
        let both = async || {
            for _ in 0..12 {
                target.websocket("/").await?.close().await?;
            }
            Ok(())
        };
        eventually("a way to the site", both).await.unwrap();
        Fleet::start(&target, "/", TUNNELS / 2).await.unwrap()
    }
}

fn closes(code: u16, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(format!("Close {code}"), count)])
}

#[test]
fn a_rollout_closes_each_tunnel_once_and_refuses_no_handshake() {
    let test = "rollouts under 500 tunnels";
    let helms = Helm::wanted_by(test);
    if helms.is_empty() || !Node::can_run(test) {
        return;
    }
    let node = Node::start().unwrap();
    node.inside(async || {
        let release = Release::install(&node, &helms[0], "rollout", &VALUES).await.unwrap();
        let mut sites = Sites::start(&release).await;
        sites.of_a_backend().await;
        sites.of_longhaul().await;
    });
}

impl Sites<'_> {
    /// The tunnels of its pods end with what they say; those of other backends stay.
    async fn of_a_backend(&mut self) {
        let (blue, green) = (self.blue.tally(), self.green.tally());
        self.release.kubectl(&["rollout", "restart", "deployment", "blue"]).await.unwrap();
        self.blue.until("every tunnel moved once", |tally| tally.ended() >= TUNNELS / 2).await.unwrap();
        self.blue.until("all open again", |tally| tally.now_open() == TUNNELS / 2).await.unwrap();
        self.release.kubectl(&["rollout", "status", "deployment", "blue", "--timeout=50s"]).await.unwrap();
        let old_are_gone = async || {
            let pods = self.release.kubectl(&["get", "pods", "-l", "app=blue", "-o", "name"]).await?;
            ensure!(pods.lines().count() == 2, "{pods}");
            Ok(())
        };
        eventually("the old pods gone", old_are_gone).await.unwrap();
        let now = self.blue.used().await.unwrap();
        assert_eq!(now.endings.keys().collect::<Vec<_>>(), ["Close 1001"], "{now:#?}");
        assert_eq!(now.refused, blue.refused);
        let others = self.green.used().await.unwrap();
        assert_eq!((others.ended(), others.opened), (0, green.opened), "{others:#?}");
    }

    /// Each client is told to come back, does so at once, and may stay.
    async fn of_longhaul(&mut self) {
        let before = [self.blue.tally(), self.green.tally()];
        let old = self.release.ready_pods(2).await.unwrap();
        let begun = Instant::now();
        self.release.kubectl(&["rollout", "restart", "deployment", "longhaul"]).await.unwrap();
        for (fleet, before) in [&mut self.blue, &mut self.green].into_iter().zip(&before) {
            let wanted = before.ended() + TUNNELS / 2;
            fleet.until("every tunnel moved", |tally| tally.ended() >= wanted).await.unwrap();
            fleet.until("all open again", |tally| tally.now_open() == TUNNELS / 2).await.unwrap();
        }
        let took = begun.elapsed();
        let new = async || self.release.ready_pods(2).await;
        let new = eventually("the old pods gone", new).await.unwrap();
        assert!(new.iter().all(|pod| old.iter().all(|gone| gone.name != pod.name)), "{new:#?}");
        for (fleet, before) in [&mut self.blue, &mut self.green].into_iter().zip(&before) {
            let mut now = fleet.used().await.unwrap();
            for (ending, count) in &before.endings {
                *now.endings.entry(ending.clone()).or_default() -= count;
            }
            now.endings.retain(|_, count| *count > 0);
            assert_eq!(now.endings, closes(1012, TUNNELS / 2), "{}", self.release.logs().await);
            assert_eq!(now.refused, before.refused);
        }
        assert!(took > Duration::from_secs(5), "nobody waited for kube-proxy: {took:?}");
        notes::measured(&format!(
            "rollout of Longhaul: {TUNNELS} tunnels moved within {took:?}, none refused"
        ));
    }
}
