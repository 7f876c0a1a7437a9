//! The API server fails in all ways that it can: nobody's tunnel, and no new handshake, pays for it; what changes
//! meanwhile is followed when it is back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use e2e::backend::demo::DemoBackend;
use e2e::client::{Socket, Target};
use e2e::cluster::{ControlPlane, Installation, Replica, backend_address};
use e2e::objects::{Ingress, backend, slice};
use e2e::relay::{Fault, Relay};
use hyper::StatusCode;
use tokio::time::{Instant, sleep};

const HOST: &str = "app.example.com";

/// A dead watch is noticed within 35 s, and tried again within 15.
const RECOVERY: Duration = Duration::from_secs(70);

/// A watch that ends is thought to have ended in good order when it is older than 5 s.
const OLD: Duration = Duration::from_secs(6);

/// A site behind a replica, with two backends of which one is served.
struct Site<'a> {
    installation: &'a Installation<'a>,
    replica: Replica,
    backends: [DemoBackend; 2],
}

impl<'a> Site<'a> {
    async fn start(installation: &'a Installation<'a>, relay: Option<&Relay>) -> Self {
        let backends = [
            DemoBackend::start_on("blue", backend_address(1)).await.unwrap(),
            DemoBackend::start_on("green", backend_address(2)).await.unwrap(),
        ];
        let ingress = Ingress::new("site", HOST).class("CLASS").path("/", "app");
        installation.apply(&ingress.yaml()).await.unwrap();
        installation.apply(&backend("app", &[backends[0].address()])).await.unwrap();
        let kubeconfig = match relay {
            Some(relay) => installation.kubeconfig_at(&relay.url()).unwrap(),
            None => installation.kubeconfig(),
        };
        let replica = installation.replica_with("lh-0", &kubeconfig, &[]).await.unwrap();
        Self { installation, replica, backends }
    }

    fn target(&self) -> Target {
        Target::plain(self.replica.proxy.as_ref().unwrap().http(), HOST)
    }

    async fn open(&self) -> Socket {
        self.target().websocket("/").await.unwrap()
    }

    /// From now on the other backend is behind the Service.
    async fn turn_to(&self, backend: usize) {
        self.installation.apply(&slice("app", 0, self.backends[backend].address())).await.unwrap();
    }

    /// Waits until new handshakes come to a backend.
    async fn turned_to(&self, name: &str) -> Duration {
        let begun = Instant::now();
        loop {
            let mut socket = self.open().await;
            if socket.backend() == name {
                socket.echo("here").await.unwrap();
                return begun.elapsed();
            }
            assert!(begun.elapsed() < RECOVERY, "not {name} after {RECOVERY:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the controller's log has these words after a mark.
    async fn says(&self, mark: usize, words: &str) {
        let process = &self.replica.controller.as_ref().unwrap().process;
        let begun = Instant::now();
        while !process.lines()[mark..].iter().any(|line| line.contains(words)) {
            assert!(begun.elapsed() < RECOVERY, "{words}: not said within {RECOVERY:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn mark(&self) -> usize {
        self.replica.controller.as_ref().unwrap().process.mark()
    }
}

fn behind_a_relay(test: &str, work: impl AsyncFnOnce(&Site<'_>, &Relay) + Send) {
    let Some(cluster) = ControlPlane::wanted_by(test) else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "relay", &[]).await.unwrap();
        let relay = Relay::start(cluster.api_server(), cluster.trusting_client().unwrap()).await.unwrap();
        let site = Site::start(&installation, Some(&relay)).await;
        work(&site, &relay).await;
    });
}

/// The world goes on while the fault lasts, and is followed when it is over.
async fn survives(site: &Site<'_>, relay: &Relay, fault: Fault, said: Option<&str>) {
    let mut open = site.open().await;
    assert_eq!(open.backend(), "blue");
    let mark = site.mark();
    relay.set(fault);
    site.turn_to(1).await;
    if let Some(words) = said {
        site.says(mark, words).await;
        assert_eq!(site.open().await.backend(), "blue", "what was seen before stays");
    }
    open.echo("while it lasts").await.unwrap();
    relay.set(Fault::None);
    let took = site.turned_to("green").await;
    if let Some(words) = said {
        site.says(mark, &format!("resolved: Controller longhaul --source cluster: {words}")).await;
    }
    open.echo("when it is over").await.unwrap();
    eprintln!("{fault:?}: followed after {took:?}");
    site.turn_to(0).await;
    site.turned_to("blue").await;
    open.close().await.unwrap();
}

#[test]
fn refused_and_cut_connections_and_errors_change_nothing() {
    behind_a_relay("a watch that is refused", async |site, relay| {
        let said = "the API server cannot be reached: ";
        survives(site, relay, Fault::Refuse, Some(said)).await;
        survives(site, relay, Fault::Cut, None).await;
        for (status, said) in [
            (StatusCode::INTERNAL_SERVER_ERROR, Some("the API server answers 500: as the test asks")),
            (StatusCode::TOO_MANY_REQUESTS, Some("the API server answers 429: as the test asks")),
            // A place in history that is gone is nothing to worry about.
            (StatusCode::GONE, None),
        ] {
            survives(site, relay, Fault::Answer(status), said).await;
        }
    });
}

#[test]
fn a_watch_of_which_nothing_is_heard_is_given_up() {
    behind_a_relay("a watch that hangs", async |site, relay| {
        survives(site, relay, Fault::Hang, Some("the API server does not answer")).await;
    });
}

#[test]
fn a_request_that_is_never_answered_is_given_up() {
    behind_a_relay("a request that hangs", async |site, relay| {
        let mark = site.mark();
        relay.set(Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR));
        site.says(mark, "the API server answers 500").await;
        // There is no watch that could hang: all ask for one.
        survives(site, relay, Fault::Hang, Some("the API server does not answer")).await;
    });
}

#[test]
fn a_list_that_is_taken_anew_shows_no_emptier_world_and_what_went_is_gone() {
    behind_a_relay("a list taken anew", async |site, relay| {
        let mut open = site.open().await;
        relay.set(Fault::Answer(StatusCode::GONE));
        let asked = relay.requests();
        // Every watch has learnt that its place is gone, so each will list.
        while relay.requests() < asked + 12 {
            assert_eq!(site.open().await.backend(), "blue");
            sleep(Duration::from_millis(50)).await;
        }
        site.installation.remove("ingress", "site").await.unwrap();
        relay.set(Fault::None);
        let begun = Instant::now();
        while site.target().get("/whoami").await.unwrap().status != 404 {
            assert!(begun.elapsed() < RECOVERY, "an Ingress that is gone is served");
            sleep(Duration::from_millis(50)).await;
        }
        open.echo("its tunnel stays").await.unwrap();
    });
}

#[test]
fn a_place_in_history_that_is_forgotten_means_a_new_list_and_alarms_nobody() {
    behind_a_relay("a place that is forgotten", async |site, relay| {
        let mut open = site.open().await;
        // Watches that end when they are younger are worth a word.
        sleep(OLD).await;
        let mark = site.mark();
        relay.set(Fault::Forgotten);
        site.turn_to(1).await;
        // It lasts: nobody learns of this who does not list anew.
        site.turned_to("green").await;
        open.echo("its tunnel stays").await.unwrap();
        let lines = site.replica.controller.as_ref().unwrap().process.lines();
        let alarms: Vec<_> = lines[mark..].iter().filter(|line| line.contains("the API server")).collect();
        assert!(alarms.is_empty(), "{alarms:#?}");
    });
}

/// Alone with its control plane: the others would notice.
#[test]
fn the_api_server_itself_goes_and_comes_back() {
    if ControlPlane::wanted_by("an API server that is away").is_none() {
        return;
    }
    let cluster = ControlPlane::start().unwrap();
    cluster.inside(async || {
        let installation = Installation::new(&cluster, "away", &[]).await.unwrap();
        let site = Site::start(&installation, None).await;
        let mut open = site.open().await;
        let mark = site.mark();
        cluster.kill_api_server().unwrap();
        site.says(mark, "the API server cannot be reached: Connection refused").await;
        assert_eq!(site.open().await.backend(), "blue");
        open.echo("without an API server").await.unwrap();
        cluster.start_api_server().await.unwrap();
        site.turn_to(1).await;
        let took = site.turned_to("green").await;
        e2e::notes::measured(&format!("API server back: a change of endpoints is served after {took:?}"));
        site.says(mark, "resolved: Controller longhaul --source cluster: the API server cannot be reached")
            .await;
        open.echo("with a new one").await.unwrap();
        let lines = site.replica.controller.as_ref().unwrap().process.lines();
        // However many watches it has. A connection that is cut and one that is refused are two things.
        for cause in ["Connection refused", "Connection reset"] {
            let about = format!("cannot be reached: {cause}");
            let said: Vec<_> = lines.iter().filter(|line| line.contains(&about)).collect();
            assert!(said.len() <= 2, "once when it goes, once when it is back: {said:#?}");
        }
    });
}
