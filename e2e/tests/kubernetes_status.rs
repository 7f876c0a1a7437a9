//! What `kubectl` shows of an object: its status and the Events about it, on objects that are good, bad, in conflict,
//! mended, another's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use anyhow::ensure;
use e2e::backend::demo::DemoBackend;
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, Replica, Stored, backend_address, eventually};
use e2e::metrics::Scrape;
use e2e::notes::measured;
use e2e::objects::{self, Ingress};
use serde_json::json;
use tokio::time::Instant;

/// A WsRoute for a host of the name's own, with one rule for each path.
fn route(name: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().enumerate().map(|(number, (path, service))| {
        format!(
            "  - {{name: r{number}, matches: [{{path: {{type: Prefix, value: {path}}}}}], backends: [{{service: \
             {service}, port: ws}}]}}\n"
        )
    });
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  ingressClassName: \
         CLASS\n  hosts: [{name}.example.com]\n  rules:\n{}",
        rules.collect::<String>()
    )
}

fn ingress(name: &str, class: &str, service: &str) -> String {
    Ingress::new(name, &format!("in-{name}.example.com")).class(class).path("/", service).yaml()
}

/// A backend and one replica that serves it.
struct Scene<'a> {
    installation: Installation<'a>,
    replica: Replica,
    _backend: DemoBackend,
}

impl<'a> Scene<'a> {
    async fn open(cluster: &'a ControlPlane, name: &str, number: u8, flags: &[&str]) -> Self {
        let installation = Installation::new(cluster, name, &[]).await.unwrap();
        let backend = DemoBackend::start_on("app", backend_address(number)).await.unwrap();
        installation.apply(&objects::backend("app", &[backend.address()])).await.unwrap();
        // NAMESPACE stands for that of the installation.
        let flags: Vec<_> = flags.iter().map(|flag| flag.replace("NAMESPACE", installation.name())).collect();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let replica = installation.replica_with("lh-0", &installation.kubeconfig(), &flags).await.unwrap();
        Self { installation, replica, _backend: backend }
    }

    async fn metric(&self, name: &str) -> u64 {
        let admin = self.replica.controller.as_ref().unwrap().admin();
        Scrape::of(&admin).await.unwrap().count(name, &[]).unwrap()
    }

    async fn programmed(&self, name: &str) {
        let programmed = |stored: &Stored| stored.is("Programmed", "True Programmed");
        self.installation.becomes("wsroute", name, "is Programmed", programmed).await.unwrap();
    }
}

fn in_scene(
    test: &str,
    name: &str,
    number: u8,
    flags: &[&str],
    work: impl AsyncFnOnce(&Scene<'_>, &ControlPlane) + Send,
) {
    let Some(cluster) = ControlPlane::wanted_by(test) else { return };
    cluster.inside(async || {
        let scene = Scene::open(cluster, name, number, flags).await;
        work(&scene, cluster).await;
    });
}

#[test]
fn kubectl_wait_returns_as_soon_as_a_route_is_served_and_describe_says_what_is_right_and_wrong() {
    in_scene("kubectl wait", "wait", 1, &["--publish-address=203.0.113.7"], async |scene, cluster| {
        let (installation, namespace) = (&scene.installation, scene.installation.name());
        let wait = |name: &str| {
            let of = format!("wsroute/{name}");
            ["-n", namespace, "wait", "--for=condition=Programmed", "--timeout=20s", &*of].map(str::to_owned)
        };
        // The first one pays for kubectl's discovery.
        for name in ["warm", "chat"] {
            let begun = Instant::now();
            installation.apply(&route(name, &[("/", "app")])).await.unwrap();
            let wait = wait(name);
            cluster.kubectl(&wait.each_ref().map(|word| &**word)).await.unwrap();
            let took = begun.elapsed();
            measured(&format!(
                "kubectl wait --for=condition=Programmed, from nothing, kubectl apply included ({name}): {took:?}"
            ));
            assert!(took.as_secs() < 10, "{took:?}");
        }
        let proxy = scene.replica.proxy.as_ref().unwrap().http();
        let mut socket = Target::plain(proxy, "chat.example.com").websocket("/").await.unwrap();
        socket.echo("what is Programmed is served").await.unwrap();

        let bad = route("bad", &[("/", "app"), ("/gone", "nobody")]);
        installation.apply(&bad).await.unwrap();
        installation.event("wsroute", "bad", "Warning BackendNotFound: ").await.unwrap();
        scene.programmed("bad").await;
        let describe = async |name: &str| {
            cluster.kubectl(&["-n", namespace, "describe", "wsroute", name]).await.unwrap()
        };
        installation.event("wsroute", "chat", "Normal Programmed: served by 1/1 proxies").await.unwrap();
        let (good, bad) = (describe("chat").await, describe("bad").await);
        measured(&format!("$ kubectl describe wsroute chat\n{good}\n$ kubectl describe wsroute bad\n{bad}"));
        for words in ["Addresses:", "203.0.113.7", "Observed Generation:   1", "Normal  Programmed"] {
            assert!(good.contains(words), "{words} is not in\n{good}");
        }
        for words in ["BackendNotFound", "nobody", "Warning  BackendNotFound"] {
            assert!(bad.contains(words), "{words} is not in\n{bad}");
        }
        let shown = cluster.kubectl(&["-n", namespace, "get", "wsr", "chat", "--no-headers"]).await.unwrap();
        let shown: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(shown[..4], ["chat", "[\"chat.example.com\"]", "True", "203.0.113.7"]);
    });
}

#[test]
fn a_route_says_what_is_wrong_with_it_and_that_it_was_mended() {
    in_scene("status of bad routes", "mend", 2, &[], async |scene, _| {
        let installation = &scene.installation;
        // One rule of two with a path that cannot be, then a reference that leads nowhere, then good.
        installation.apply(&route("part", &[("/", "app"), ("/a%zz", "app")])).await.unwrap();
        let stored = installation
            .becomes("wsroute", "part", "is PartiallyInvalid", |stored| {
                stored.is("PartiallyInvalid", "True Invalid 1: spec.rules[1]")
                    && stored.is("Accepted", "True Accepted 1: ")
                    && stored.is("Programmed", "True Programmed 1: 1/1 proxies")
            })
            .await
            .unwrap();
        assert!(stored.is("ResolvedRefs", "True ResolvedRefs 1: "), "{}", stored.condition("ResolvedRefs"));
        installation.event("wsroute", "part", "Warning InvalidPath: spec.rules[1]").await.unwrap();

        installation.apply(&route("part", &[("/", "nobody")])).await.unwrap();
        installation
            .becomes("wsroute", "part", "is without its backend", |stored| {
                stored.is("ResolvedRefs", "False BackendNotFound 2: spec.rules[0].backends[0]")
                    && stored.condition("PartiallyInvalid").is_empty()
                    && stored.is("Programmed", "True Programmed 2: ")
            })
            .await
            .unwrap();
        installation.event("wsroute", "part", "Warning BackendNotFound: spec.rules[0]").await.unwrap();

        installation.apply(&route("part", &[("/%zz", "app")])).await.unwrap();
        installation
            .becomes("wsroute", "part", "is not accepted", |stored| {
                stored.is("Accepted", "False Invalid ") && stored.is("Programmed", "False Rejected ")
            })
            .await
            .unwrap();
        installation.apply(&route("part", &[("/", "app")])).await.unwrap();
        let all = ["True Accepted", "True ResolvedRefs", "True Programmed"];
        installation
            .becomes("wsroute", "part", "is mended", |stored| {
                ["Accepted", "ResolvedRefs", "Programmed"]
                    .iter()
                    .zip(all)
                    .all(|(type_, begins)| stored.is(type_, begins))
                    && stored.condition("PartiallyInvalid").is_empty()
                    && stored.0["metadata"]["generation"]
                        == stored.0["status"]["conditions"][2]["observedGeneration"]
            })
            .await
            .unwrap();
    });
}

#[test]
fn of_two_routes_for_one_path_the_younger_names_the_older_until_that_goes() {
    in_scene("status of routes in conflict", "rivals", 3, &[], async |scene, _| {
        let installation = &scene.installation;
        installation.apply(&ingress("site", "CLASS", "app")).await.unwrap();
        installation.event("ingress", "site", "Normal Programmed: ").await.unwrap();
        let seniority = std::time::Duration::from_millis(1100);
        // Ages are whole seconds, and of two of the same age the name decides.
        tokio::time::sleep(seniority).await;
        let rival = route("a-rival", &[("/", "app"), ("/own", "app")]);
        let rival = rival.replace("a-rival.example.com", "in-site.example.com");
        installation.apply(&rival).await.unwrap();
        let stored = installation
            .becomes("wsroute", "a-rival", "is in conflict", |stored| {
                stored.is("PartiallyInvalid", "True Conflicted 1: host in-site.example.com")
                    && stored.is("Accepted", "True ")
            })
            .await
            .unwrap();
        let owner = format!("Ingress {}/site", installation.name());
        let conflict = json!([{"host": "in-site.example.com", "path": "/", "owner": owner}]);
        assert_eq!(stored.0["status"]["conflicts"], conflict, "{:#}", stored.0["status"]);
        let event = installation.event("wsroute", "a-rival", "Warning Conflicted: ").await.unwrap();
        assert!(event.contains(&owner), "{event}");

        let all_lost =
            route("a-rival", &[("/", "app")]).replace("a-rival.example.com", "in-site.example.com");
        installation.apply(&all_lost).await.unwrap();
        installation
            .becomes("wsroute", "a-rival", "has lost everything", |stored| {
                stored.is("Accepted", "False Conflicted 2: ")
                    && stored.is("Programmed", "False Rejected 2: it is not accepted: Conflicted")
            })
            .await
            .unwrap();
        installation.remove("ingress", "site").await.unwrap();
        let stored = installation
            .becomes("wsroute", "a-rival", "has the host", |stored| {
                stored.is("Accepted", "True Accepted 2: ") && stored.is("Programmed", "True Programmed 2: ")
            })
            .await
            .unwrap();
        assert_eq!(stored.0["status"]["conflicts"].as_array().map_or(0, Vec::len), 0);
    });
}

#[test]
fn an_ingress_shows_addresses_and_its_events_say_the_rest() {
    let flags = ["--publish-address=203.0.113.7,lb.example.com"];
    in_scene("status of Ingresses", "ingress", 4, &flags, async |scene, _| {
        let installation = &scene.installation;
        let addresses = ["203.0.113.7", "lb.example.com"];
        installation.apply(&ingress("site", "CLASS", "app")).await.unwrap();
        installation
            .becomes("ingress", "site", "shows addresses", |stored| stored.addresses() == addresses)
            .await
            .unwrap();
        installation.event("ingress", "site", "Normal Programmed: served by 1/1 proxies").await.unwrap();

        installation.apply(&ingress("site", "CLASS", "nobody")).await.unwrap();
        let event = installation.event("ingress", "site", "Warning BackendNotFound: ").await.unwrap();
        assert!(event.contains("nobody"), "{event}");
        installation.apply(&ingress("site", "CLASS", "app")).await.unwrap();
        let programmed = async || {
            let events = installation.events("ingress", "site").await.unwrap();
            events.iter().filter(|event| event.starts_with("Normal Programmed")).count()
        };
        eventually("each version is said to be programmed", async || {
            let said = programmed().await;
            ensure!(said == 3, "{said}");
            Ok(())
        })
        .await
        .unwrap();

        // Nothing is said twice of the same version: not when its endpoints change, nor after a new start.
        let writes = scene.metric("longhaul_controller_status_writes_total").await;
        installation.apply(&objects::slice("app", 1, (backend_address(200), 9).into())).await.unwrap();
        installation.apply(&ingress("later", "CLASS", "app")).await.unwrap();
        installation.event("ingress", "later", "Normal Programmed: ").await.unwrap();
        installation
            .becomes("ingress", "later", "shows addresses", |stored| stored.addresses() == addresses)
            .await
            .unwrap();
        assert_eq!(programmed().await, 3);
        assert_eq!(scene.metric("longhaul_controller_status_writes_total").await, writes + 1);
    });
}

#[test]
fn what_leaves_our_class_loses_our_status_and_nothing_else() {
    let flags = ["--publish-address=203.0.113.7"];
    in_scene("objects that leave the class", "leave", 5, &flags, async |scene, _| {
        let installation = &scene.installation;
        installation.apply(&ingress("mover", "CLASS", "app")).await.unwrap();
        installation.apply(&route("mover", &[("/", "app")])).await.unwrap();
        // Another's, with a status of another's.
        installation.apply(&ingress("foreign", "other", "app")).await.unwrap();
        installation.apply(&route("foreign", &[("/", "app")]).replace("CLASS", "other")).await.unwrap();
        let balancer = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        let addresses = json!({"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}]});
        installation.patch_status("ingress", "foreign", &balancer).await.unwrap();
        installation.patch_status("wsroute", "foreign", &addresses).await.unwrap();
        scene.programmed("mover").await;
        installation
            .becomes("ingress", "mover", "shows an address", |stored| stored.addresses() == ["203.0.113.7"])
            .await
            .unwrap();

        installation.apply(&ingress("mover", "other", "app")).await.unwrap();
        installation.apply(&route("mover", &[("/", "app")]).replace("CLASS", "other")).await.unwrap();
        for kind in ["ingress", "wsroute"] {
            let stored = installation
                .becomes(kind, "mover", "is nobody's", |stored| {
                    stored.addresses().is_empty() && stored.condition("Programmed").is_empty()
                })
                .await
                .unwrap();
            assert_eq!(stored.status_managers(), Vec::<String>::new(), "{:#}", stored.0);
            let foreign = installation.stored(kind, "foreign").await.unwrap();
            assert_eq!(foreign.addresses(), ["192.0.2.1"]);
            assert!(foreign.condition("Accepted").is_empty(), "{:#}", foreign.0["status"]);
            assert_eq!(installation.events(kind, "foreign").await.unwrap(), Vec::<String>::new());
        }
        // And back.
        installation.apply(&ingress("mover", "CLASS", "app")).await.unwrap();
        installation
            .becomes("ingress", "mover", "shows an address", |stored| stored.addresses() == ["203.0.113.7"])
            .await
            .unwrap();
    });
}

#[test]
fn a_controller_that_stops_leaves_status_as_it_is() {
    let flags = ["--publish-address=203.0.113.7"];
    let Some(cluster) = ControlPlane::wanted_by("status at shutdown") else { return };
    cluster.inside(async || {
        let mut scene = Scene::open(cluster, "stop", 6, &flags).await;
        let installation = &scene.installation;
        installation.apply(&ingress("site", "CLASS", "app")).await.unwrap();
        installation.apply(&route("site-route", &[("/", "app")])).await.unwrap();
        scene.programmed("site-route").await;
        let shown = |stored: &Stored| stored.addresses() == ["203.0.113.7"];
        installation.becomes("ingress", "site", "shows an address", shown).await.unwrap();
        let mut controller = scene.replica.controller.take().unwrap();
        assert!(controller.process.stop().await.unwrap().success());
        let said: Vec<_> = controller.process.lines();
        assert!(said.iter().any(|line| line.contains("the lease is given back")), "{said:#?}");
        assert!(shown(&installation.stored("ingress", "site").await.unwrap()));
        let stored = installation.stored("wsroute", "site-route").await.unwrap();
        assert!(stored.is("Programmed", "True ") && shown(&stored), "{:#}", stored.0["status"]);
    });
}

#[test]
fn addresses_follow_the_service_that_is_published_and_writing_them_costs_no_translation() {
    let flags = ["--publish-service=NAMESPACE/longhaul", "--watch-namespaces=NAMESPACE"];
    in_scene("publish-service", "publish", 7, &flags, async |scene, _| {
        let installation = &scene.installation;
        installation.apply(&route("chat", &[("/", "app")])).await.unwrap();
        let sites: Vec<_> = (0..8).map(|number| format!("site-{number}")).collect();
        let all: Vec<_> = sites.iter().map(|site| ingress(site, "CLASS", "app")).collect();
        installation.apply(&all.join("---\n")).await.unwrap();
        scene.programmed("chat").await;
        let objects = sites.iter().map(|site| ("ingress", &**site)).chain([("wsroute", "chat")]);
        let objects: Vec<_> = objects.collect();
        for (kind, name) in &objects {
            installation.event(kind, name, "Normal Programmed: ").await.unwrap();
        }
        let names = ["longhaul_controller_status_writes_total", "longhaul_controller_translations_total"];
        let counts = async || [scene.metric(names[0]).await, scene.metric(names[1]).await];
        let mut fewest = u64::MAX;
        for (shown, addresses) in [
            (json!([{"ip": "198.51.100.9"}]), &["198.51.100.9"][..]),
            (
                json!([{"hostname": "lb.example.com"}, {"ip": "198.51.100.9"}]),
                &["lb.example.com", "198.51.100.9"],
            ),
            (json!(null), &[]),
        ] {
            let before = counts().await;
            let balancer = json!({"loadBalancer": {"ingress": shown}});
            installation.patch_status("service", "longhaul", &balancer).await.unwrap();
            for (kind, name) in &objects {
                let what = format!("shows {addresses:?}");
                installation
                    .becomes(kind, name, &what, |stored| stored.addresses() == addresses)
                    .await
                    .unwrap();
            }
            let after = counts().await;
            assert!(after[0] >= before[0] + 9, "{before:?} {after:?}");
            fewest = fewest.min(after[1] - before[1]);
        }
        // An IngressClass that another test makes meanwhile is translated, but that lasts for one round only.
        assert_eq!(fewest, 0, "what is written comes back by the watch, and is nothing new");
    });
}
