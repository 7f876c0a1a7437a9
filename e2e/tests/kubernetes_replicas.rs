//! Two replicas: both serve, one of them writes status, and Programmed speaks for both.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, Replica, Stored, backend_address};
use e2e::metrics::Scrape;
use e2e::notes::measured;
use e2e::objects;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const LEASE: &str = "longhaul";

fn route(name: &str) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  ingressClassName: \
         CLASS\n  hosts: [{name}.example.com]\n  rules:\n  - name: all\n    backends: [{{service: app, port: ws}}]\n"
    )
}

/// Two replicas in front of one backend. The leader is the first of them.
struct Pair<'a> {
    cluster: &'a ControlPlane,
    installation: Installation<'a>,
    replicas: [Replica; 2],
    numbers: [u8; 2],
    _backend: DemoBackend,
}

impl<'a> Pair<'a> {
    /// At three addresses from this number on.
    async fn start(cluster: &'a ControlPlane, name: &str, number: u8) -> Self {
        let installation = Installation::new(cluster, name, &[]).await.unwrap();
        let backend = DemoBackend::start_on("app", backend_address(number)).await.unwrap();
        installation.apply(&objects::backend("app", &[backend.address()])).await.unwrap();
        let mut numbers = [number + 1, number + 2];
        let mut replicas =
            [installation.pod(numbers[0]).await.unwrap(), installation.pod(numbers[1]).await.unwrap()];
        let leads = async |replica: &Replica| leads(replica).await == Some(true);
        cluster
            .wait("a leader", async || {
                ensure!(leads(&replicas[0]).await || leads(&replicas[1]).await);
                Ok(())
            })
            .await
            .unwrap();
        if leads(&replicas[1]).await {
            replicas.reverse();
            numbers.reverse();
        }
        let pair = Self { cluster, installation, replicas, numbers, _backend: backend };
        pair.counts_the_other(0).await;
        pair.apply("first").await;
        pair.becomes("first", "True Programmed 1: 2/2 proxies").await;
        pair
    }

    fn name(&self, replica: usize) -> String {
        format!("lh-{}", self.numbers[replica])
    }

    async fn apply(&self, name: &str) {
        self.installation.apply(&route(name)).await.unwrap();
    }

    /// Waits until Programmed begins like that: longer than a lease lasts.
    async fn becomes(&self, name: &str, begins: &str) -> Stored {
        self.cluster
            .wait(begins, async || {
                let stored = self.installation.stored("wsroute", name).await?;
                ensure!(stored.is("Programmed", begins), "{}", stored.condition("Programmed"));
                Ok(stored)
            })
            .await
            .unwrap()
    }

    /// Waits until this replica counts the other one among the Ready pods. What it finds programmed before that stays
    /// so, whoever joins.
    async fn counts_the_other(&self, replica: usize) {
        let admin = self.replicas[replica].controller.as_ref().unwrap().admin();
        self.cluster
            .wait("the other pod is known", async || {
                let known = Scrape::of(&admin).await?.count("longhaul_controller_peers", &[])?;
                ensure!(known == 1, "{known} other pods are known");
                Ok(())
            })
            .await
            .unwrap();
    }

    fn signal(&self, replica: usize, signal: Signal) {
        self.replicas[replica].controller.as_ref().unwrap().process.signal(signal).unwrap();
    }

    async fn set_ready(&self, replica: usize, ready: bool) {
        let (namespace, name) = (self.installation.name(), self.name(replica));
        self.cluster.set_pod_ready(namespace, &name, ready).await.unwrap();
    }

    async fn restart(&mut self, replica: usize) {
        let mut flags = self.installation.flags(&self.name(replica));
        flags.extend(self.installation.pod_flags(self.numbers[replica]));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.replicas[replica].start_controller(&flags).await.unwrap();
    }

    /// How long until the other one leads.
    async fn second_leads(&self) -> Duration {
        let begun = Instant::now();
        while leads(&self.replicas[1]).await != Some(true) {
            assert!(begun.elapsed() < Duration::from_mins(1), "nobody took over");
            sleep(Duration::from_millis(50)).await;
        }
        begun.elapsed()
    }

    async fn transitions(&self) -> i64 {
        let lease = self.installation.stored("lease", LEASE).await.unwrap();
        lease.0["spec"]["leaseTransitions"].as_i64().unwrap_or_default()
    }
}

/// Whether a controller says that it leads. `None`: it says nothing.
async fn leads(replica: &Replica) -> Option<bool> {
    leads_at(&replica.controller.as_ref()?.admin()).await
}

async fn leads_at(admin: &Target) -> Option<bool> {
    let scrape = timeout(Duration::from_secs(1), Scrape::of(admin)).await.ok()?.ok()?;
    Some(scrape.count("longhaul_controller_leader", &[]).unwrap() == 1)
}

/// Looks again and again, while it lasts, that no two lead.
struct Watchman {
    looks: JoinSet<Result<u64>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Watchman {
    fn watch(pair: &Pair<'_>) -> Self {
        let of = |replica: &Replica| replica.controller.as_ref().unwrap().admin();
        let [one, other] = pair.replicas.each_ref().map(of);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut looks = JoinSet::new();
        looks.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                // It may change hands between two questions: so one of them is asked again.
                let said = [leads_at(&one).await, leads_at(&other).await, leads_at(&one).await];
                ensure!(said != [Some(true); 3], "two lead at the same time");
                count += 1;
                sleep(Duration::from_millis(20)).await;
            }
            Ok(count)
        });
        Self { looks, stop }
    }

    async fn done(mut self) {
        self.stop.send_replace(true);
        let count = self.looks.join_next().await.context("one looks").unwrap().unwrap().unwrap();
        assert!(count > 10, "it looked {count} times");
    }
}

fn with_two(test: &str, name: &str, number: u8, work: impl AsyncFnOnce(&mut Pair<'_>) + Send) {
    let Some(cluster) = ControlPlane::wanted_by(test) else { return };
    cluster.inside(async || work(&mut Pair::start(cluster, name, number).await).await);
}

#[test]
fn a_pod_whose_controller_stands_still_is_named_and_nothing_is_programmed_without_it() {
    with_two("a replica that stands still", "still", 10, async |pair| {
        pair.signal(1, Signal::STOP);
        pair.apply("late").await;
        let begins = format!("False Pending 1: 1/2 proxies; {} does not answer", pair.name(1));
        pair.becomes("late", &begins).await;
        let first = pair.installation.stored("wsroute", "first").await.unwrap();
        assert!(first.is("Programmed", "True "), "what was programmed stays so");
        // It is served where it is known.
        let proxy = pair.replicas[0].proxy.as_ref().unwrap().http();
        Target::plain(proxy, "late.example.com").websocket("/").await.unwrap().echo("here").await.unwrap();
        assert!(pair.installation.events("wsroute", "late").await.unwrap().is_empty());

        pair.signal(1, Signal::CONT);
        pair.becomes("late", "True Programmed 1: 2/2 proxies").await;
        let proxy = pair.replicas[1].proxy.as_ref().unwrap().http();
        Target::plain(proxy, "late.example.com").websocket("/").await.unwrap().echo("there").await.unwrap();

        // A proxy that is away counts as much as a controller.
        pair.replicas[1].kill_proxy().unwrap();
        pair.apply("later").await;
        let begins = format!("False Pending 1: 1/2 proxies; {} has no proxy", pair.name(1));
        pair.becomes("later", &begins).await;
        pair.replicas[1].start_proxy(&[]).await.unwrap();
        pair.becomes("later", "True Programmed 1: 2/2 proxies").await;
    });
}

#[test]
fn a_leader_that_stops_gives_the_lease_back() {
    with_two("a lease given back", "given", 20, async |pair| {
        let transitions = pair.transitions().await;
        let watchman = Watchman::watch(pair);
        let mut controller = pair.replicas[0].controller.take().unwrap();
        let (stopped, took) = tokio::join!(controller.process.stop(), pair.second_leads());
        assert!(stopped.unwrap().success());
        measured(&format!("a leader that stops is followed after {took:?}"));
        assert!(took < Duration::from_secs(8), "{took:?}: the other one waited for the lease to run out");
        pair.set_ready(0, false).await;
        pair.apply("after").await;
        pair.becomes("after", "True Programmed 1: 1/1 proxies").await;
        watchman.done().await;

        // Back again, it follows.
        pair.restart(0).await;
        pair.set_ready(0, true).await;
        pair.counts_the_other(1).await;
        pair.apply("again").await;
        pair.becomes("again", "True Programmed 1: 2/2 proxies").await;
        assert_eq!(
            (leads(&pair.replicas[0]).await, leads(&pair.replicas[1]).await),
            (Some(false), Some(true))
        );
        assert_eq!(pair.transitions().await, transitions + 1);
    });
}

#[test]
fn a_leader_that_is_killed_is_followed_when_its_lease_has_run_out() {
    with_two("a leader that is killed", "killed", 30, async |pair| {
        let transitions = pair.transitions().await;
        let watchman = Watchman::watch(pair);
        pair.replicas[0].kill_controller().unwrap();
        pair.apply("after").await;
        let took = pair.second_leads().await;
        measured(&format!("a leader that is killed is followed after {took:?}"));
        assert!(took > Duration::from_secs(5), "{took:?}: it might have been alive");
        let begins = format!("False Pending 1: 1/2 proxies; {} does not answer", pair.name(0));
        pair.becomes("after", &begins).await;
        pair.set_ready(0, false).await;
        pair.becomes("after", "True Programmed 1: 1/1 proxies").await;
        watchman.done().await;
        assert_eq!(pair.transitions().await, transitions + 1);
    });
}

#[test]
fn a_leader_that_stands_still_is_replaced_and_finds_out_when_it_goes_on() {
    with_two("a leader that stands still", "hung", 40, async |pair| {
        let transitions = pair.transitions().await;
        pair.signal(0, Signal::STOP);
        let took = pair.second_leads().await;
        assert!(took > Duration::from_secs(5), "{took:?}: it might have been alive");
        let watchman = Watchman::watch(pair);
        pair.apply("meanwhile").await;
        let begins = format!("False Pending 1: 1/2 proxies; {} does not answer", pair.name(0));
        pair.becomes("meanwhile", &begins).await;
        pair.signal(0, Signal::CONT);
        pair.becomes("meanwhile", "True Programmed 1: 2/2 proxies").await;
        let process = &pair.replicas[0].controller.as_ref().unwrap().process;
        let finds_out = |line: &str| line.contains("not leading any more").then_some(());
        process.line("that it does not lead any more", finds_out).await.unwrap();
        pair.apply("after").await;
        pair.becomes("after", "True Programmed 1: 2/2 proxies").await;
        watchman.done().await;
        assert_eq!(pair.transitions().await, transitions + 1);
    });
}
