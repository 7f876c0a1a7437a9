//! The permissions of the chart's Roles, taken away one by one: that is said once and clearly, nothing crashes, the
//! rest works, and what was missed is made up for when they are given back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::backend::demo::DemoBackend;
use e2e::certificate::Authority;
use e2e::client::Target;
use e2e::cluster::{ControlPlane, Installation, Replica, backend_address, eventually};
use e2e::objects::slice;
use e2e::relay::{Fault, Relay};
use e2e::world::Controller;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The longest pause between two attempts, and some.
const RECOVERY: Duration = Duration::from_secs(75);

/// A verb or several of a resource, with the words of the log that name what is missing.
struct Row {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    said: &'static [&'static str],
}

const fn watched(group: &'static str, resource: &'static str, said: &'static [&'static str]) -> Row {
    Row { group, resource, verbs: &["list", "watch"], said }
}

/// What is watched for translation.
const KINDS: [Row; 7] = [
    watched("networking.k8s.io", "ingresses", &["ingresses.networking.k8s.io cannot be watched: "]),
    watched("networking.k8s.io", "ingressclasses", &["ingressclasses.networking.k8s.io cannot be watched: "]),
    watched("longhaul.dev", "wsroutes", &["wsroutes.longhaul.dev cannot be watched: "]),
    watched(
        "",
        "services",
        &[
            "services cannot be watched: ",
            "the Service NAMESPACE/longhaul of --publish-service cannot be followed: ",
        ],
    ),
    watched(
        "discovery.k8s.io",
        "endpointslices",
        &[
            "endpointslices.discovery.k8s.io cannot be watched: ",
            "the EndpointSlices of Service NAMESPACE/longhaul-peers cannot be watched: permission is refused: ",
        ],
    ),
    watched("", "secrets", &["secrets cannot be watched: "]),
    Row {
        group: "",
        resource: "secrets",
        verbs: &["get"],
        said: &["secrets in namespace NAMESPACE cannot be read: "],
    },
];

/// What is served without, where nothing was seen of it yet.
const CONFIG_MAPS: Row = watched("", "configmaps", &["configmaps cannot be watched: "]);

/// The Roles that the chart gives an installation.
struct Roles<'a> {
    cluster: &'a ControlPlane,
    namespace: String,
    /// The `ClusterRole` and the Role, with their rules as they were.
    rules: Vec<(String, Value)>,
}

impl<'a> Roles<'a> {
    async fn of(cluster: &'a ControlPlane, installation: &Installation<'_>) -> Self {
        let namespace = installation.name().to_owned();
        let group = "/apis/rbac.authorization.k8s.io/v1";
        let paths = [
            format!("{group}/clusterroles/longhaul:{namespace}:longhaul"),
            format!("{group}/namespaces/{namespace}/roles/longhaul"),
        ];
        let client = cluster.client().await.unwrap();
        let mut all = Vec::new();
        for path in paths {
            let request = http::Request::get(&path).body(Vec::new()).unwrap();
            let role: Value = client.request(request).await.unwrap();
            all.push((path, role["rules"].clone()));
        }
        Self { cluster, namespace, rules: all }
    }

    /// Takes verbs of a resource away, and waits until that is so.
    async fn take(&self, row: &Row) {
        for (path, rules) in &self.rules {
            let mut left = Vec::new();
            for rule in rules.as_array().unwrap() {
                for resource in rule["resources"].as_array().unwrap() {
                    let mut one = rule.clone();
                    one["resources"] = json!([resource]);
                    if resource == row.resource && rule["apiGroups"][0] == row.group {
                        one["verbs"]
                            .as_array_mut()
                            .unwrap()
                            .retain(|verb| !row.verbs.iter().any(|taken| verb == taken));
                    }
                    if one["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()) {
                        left.push(one);
                    }
                }
            }
            self.set(path, &Value::Array(left)).await;
        }
        self.wait(row, false).await;
    }

    /// Gives everything back.
    async fn give_back(&self, row: &Row) {
        for (path, rules) in &self.rules {
            self.set(path, rules).await;
        }
        self.wait(row, true).await;
    }

    async fn set(&self, path: &str, rules: &Value) {
        let body = serde_json::to_vec(&json!({"rules": rules})).unwrap();
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let client = self.cluster.client().await.unwrap();
        client.request::<Value>(request.body(body).unwrap()).await.unwrap();
    }

    /// Waits until the API server goes by the Roles as they are.
    async fn wait(&self, row: &Row, allowed: bool) {
        for verb in row.verbs {
            let what = format!("{verb} {} {allowed}", row.resource);
            eventually(&what, async || {
                ensure!(self.allows(row, verb).await? == allowed);
                Ok(())
            })
            .await
            .unwrap();
        }
    }

    async fn allows(&self, row: &Row, verb: &str) -> Result<bool> {
        let (resource, subresource) = row.resource.split_once('/').unwrap_or((row.resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{}:longhaul", self.namespace),
                "resourceAttributes": {
                    "namespace": self.namespace, "group": row.group, "verb": verb,
                    "resource": resource, "subresource": subresource, "name": "longhaul",
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(serde_json::to_vec(&review)?)?;
        let answer: Value = self.cluster.client().await?.request(request).await?;
        Ok(answer["status"]["allowed"] == true)
    }
}

/// One pod whose controller asks through a relay, so that its watches can be cut.
struct Scene<'a> {
    installation: Installation<'a>,
    roles: Roles<'a>,
    relay: Relay,
    replica: Replica,
    authority: Authority,
    backend: DemoBackend,
}

impl<'a> Scene<'a> {
    /// At two addresses from this number on.
    async fn open(cluster: &'a ControlPlane, name: &str, number: u8) -> Self {
        let installation = Installation::new(cluster, name, &[]).await.unwrap();
        let roles = Roles::of(cluster, &installation).await;
        let relay = Relay::start(cluster.api_server(), cluster.trusting_client().unwrap()).await.unwrap();
        let backend = DemoBackend::start_on("app", backend_address(number)).await.unwrap();
        let kubeconfig = installation.kubeconfig_at(&relay.url()).unwrap();
        let published = format!("--publish-service={}/longhaul", installation.name());
        let replica = installation.pod_as(number + 1, &kubeconfig, &[&published]).await.unwrap();
        let authority = Authority::new().unwrap();
        let scene = Self { installation, roles, relay, replica, authority, backend };
        scene.apply("first").await;
        scene.serves("first").await;
        scene
    }

    /// A site that needs every kind: an Ingress with a certificate and a WsRoute, and a Service of its own.
    async fn apply(&self, name: &str) {
        let host = format!("{name}.example.com");
        let secret =
            self.authority.issue(&[&host]).unwrap().secret(self.installation.name(), &format!("{name}-tls"));
        let site = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: ws, port: 80, \
             targetPort: ws}}]}}\n---\n{}---\n{secret}---\napiVersion: networking.k8s.io/v1\nkind: \
             Ingress\nmetadata: {{name: {name}}}\nspec:\n  ingressClassName: CLASS\n  tls: [{{hosts: [{host}], \
             secretName: {name}-tls}}]\n  rules:\n  - host: {host}\n    http: {{paths: [{{path: /, pathType: Prefix, \
             backend: {{service: {{name: {name}, port: {{name: ws}}}}}}}}]}}\n---\napiVersion: \
             longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  ingressClassName: CLASS\n  \
             hosts: [ws-{host}]\n  rules: [{{name: all, backends: [{{service: {name}, port: ws}}]}}]\n",
            slice(name, 0, self.backend.address())
        );
        self.installation.apply(&site).await.unwrap();
    }

    /// Waits until both of a site's ways lead to the backend.
    async fn serves(&self, name: &str) {
        let proxy = self.replica.proxy.as_ref().unwrap();
        let client = self.authority.trusting_client().unwrap();
        let ways = [
            Target::tls(proxy.https(), &format!("{name}.example.com"), client),
            Target::plain(proxy.http(), &format!("ws-{name}.example.com")),
        ];
        for way in ways {
            until(&format!("{name} is served"), async || way.websocket("/").await?.echo("served").await)
                .await;
        }
    }

    fn controller(&self) -> &Controller {
        self.replica.controller.as_ref().unwrap()
    }

    fn mark(&self) -> usize {
        self.controller().process.mark()
    }

    async fn says(&self, mark: usize, words: &str) {
        says(self.controller(), mark, &self.worded(words)).await;
    }

    fn worded(&self, words: &str) -> String {
        words.replace("NAMESPACE", self.installation.name())
    }

    /// Cuts every connection of the controller's to the API server, once.
    fn cut(&self) {
        self.relay.set(Fault::None);
        self.relay.set(Fault::Cut);
    }
}

async fn says(controller: &Controller, mark: usize, words: &str) {
    until(words, async || {
        let lines = &controller.process.lines()[mark..];
        ensure!(lines.iter().any(|line| line.contains(words)), "not said: {lines:#?}");
        Ok(())
    })
    .await;
}

/// Waits until something is so, longer than any pause between two attempts.
async fn until(what: &str, ask: impl AsyncFn() -> Result<()>) {
    let begun = Instant::now();
    while let Err(missing) = ask().await {
        assert!(begun.elapsed() < RECOVERY, "{what}: {missing:#}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_kind_that_may_not_be_watched_any_more_stays_as_it_was_and_is_followed_when_it_may() {
    let Some(cluster) = ControlPlane::wanted_by("permissions to watch, taken away") else { return };
    cluster.inside(async || {
        let scene = Scene::open(cluster, "watches", 10).await;
        let proxy = scene.replica.proxy.as_ref().unwrap().http();
        let mut open = Target::plain(proxy, "ws-first.example.com").websocket("/").await.unwrap();
        for row in KINDS.iter().chain([&CONFIG_MAPS]) {
            let mark = scene.mark();
            scene.roles.take(row).await;
            scene.cut();
            let name = format!("beside-{}-{}", row.verbs[0], row.resource);
            scene.apply(&name).await;
            for said in row.said {
                scene.says(mark, said).await;
            }
            scene.serves("first").await;
            open.echo("a tunnel does not notice").await.unwrap();
            scene.roles.give_back(row).await;
            scene.serves(&name).await;
            for said in row.said {
                let subject = said.split(" cannot").next().unwrap();
                let lines = async || {
                    let lines = scene.controller().process.lines();
                    let words = scene.worded(subject);
                    ensure!(
                        lines[mark..].iter().any(|line| line.contains("resolved: ") && line.contains(&words))
                    );
                    Ok(())
                };
                until(&format!("resolved: {subject}"), lines).await;
            }
            // Once: not with each attempt.
            let words = scene.worded(row.said[0]);
            let lines = scene.controller().process.lines();
            let warned = lines[mark..]
                .iter()
                .filter(|line| line.contains(&words) && !line.contains("resolved: "))
                .count();
            assert!(warned <= 2, "{words} was said {warned} times");
        }
        open.echo("after all").await.unwrap();
    });
}

#[test]
fn a_controller_that_starts_without_a_permission_says_so_and_begins_when_it_has_it() {
    let Some(cluster) = ControlPlane::wanted_by("permissions that are missing at the start") else { return };
    cluster.inside(async || {
        let scene = Scene::open(cluster, "starts", 20).await;
        let folder = cluster.folder().join("starts");
        std::fs::create_dir_all(&folder).unwrap();
        for row in &KINDS {
            scene.roles.take(row).await;
            let mut flags = vec!["--source=cluster".to_owned()];
            flags.push(format!("--kubeconfig={}", scene.installation.kubeconfig().display()));
            flags.extend(scene.installation.flags("lh-second"));
            let flags: Vec<_> = flags.iter().map(Into::into).collect();
            let socket = folder.join(format!("{}.sock", row.resource));
            let controller = Controller::start(row.resource, &socket, &flags).await.unwrap();
            says(&controller, 0, &scene.worded(row.said[0])).await;
            assert_ne!(controller.admin().get("/readyz").await.unwrap().status, 200, "{}", row.resource);
            assert_eq!(controller.admin().get("/livez").await.unwrap().status, 200, "{}", row.resource);
            scene.roles.give_back(row).await;
            until("ready", async || {
                let answer = controller.admin().get("/readyz").await?;
                ensure!(answer.status == 200, "{}", answer.text());
                Ok(())
            })
            .await;
            assert!(!controller.process.has_ended());
        }
    });
}

#[test]
fn a_controller_that_may_not_read_config_maps_says_so_and_serves_the_rest() {
    let Some(cluster) = ControlPlane::wanted_by("a permission on ConfigMaps that is missing") else { return };
    cluster.inside(async || {
        let scene = Scene::open(cluster, "maps", 40).await;
        let namespace = scene.installation.name();
        let key = "nginx.ingress.kubernetes.io/custom-headers";
        let named = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shown}}\ndata: {{X-Shown: ours}}\n---\napiVersion: \
             networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: shows, annotations: {{{key}: \
             {namespace}/shown}}}}\nspec:\n  ingressClassName: CLASS\n  rules:\n  - host: shows.example.com\n    http: \
             {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: first, port: {{name: ws}}}}}}}}]}}\n"
        );
        scene.roles.take(&CONFIG_MAPS).await;
        scene.installation.apply(&named).await.unwrap();
        let replica = scene.installation.pod(43).await.unwrap();
        let controller = replica.controller.as_ref().unwrap();
        says(controller, 0, CONFIG_MAPS.said[0]).await;
        let target = Target::plain(replica.proxy.as_ref().unwrap().http(), "shows.example.com");
        let shows = async |wanted: Option<&str>| {
            until(&format!("{wanted:?} is shown"), async || {
                let answer = target.get("/whoami").await?;
                let found = e2e::wire::field(&answer.head, "x-shown");
                ensure!(answer.status == 200 && found == wanted, "{}", answer.head);
                Ok(())
            })
            .await;
        };
        shows(None).await;
        scene.roles.give_back(&CONFIG_MAPS).await;
        shows(Some("ours")).await;
    });
}

/// What is written, and what is missing then.
const WRITES: [Row; 5] = [
    Row {
        group: "networking.k8s.io",
        resource: "ingresses/status",
        verbs: &["patch"],
        said: &["the status of Ingresses cannot be written: permission is refused: "],
    },
    Row {
        group: "longhaul.dev",
        resource: "wsroutes/status",
        verbs: &["patch"],
        said: &["the status of WsRoutes cannot be written: permission is refused: "],
    },
    Row {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create"],
        said: &["Events cannot be written: permission is refused: "],
    },
    Row {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["update"],
        said: &["the lease NAMESPACE/longhaul cannot be used: permission is refused: "],
    },
    Row {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "update"],
        said: &["the lease NAMESPACE/longhaul cannot be used: permission is refused: "],
    },
];

#[test]
fn what_may_not_be_written_is_written_when_it_may_and_the_rest_at_once() {
    let Some(cluster) = ControlPlane::wanted_by("permissions to write, taken away") else { return };
    cluster.inside(async || {
        let scene = Scene::open(cluster, "writes", 30).await;
        let installation = &scene.installation;
        let balancer = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}});
        installation.patch_status("service", "longhaul", &balancer).await.unwrap();
        let shown = async |kind: &str, name: &str| {
            until(&format!("{kind} {name} shows its address"), async || {
                let stored = installation.stored(kind, name).await?;
                ensure!(stored.addresses() == ["203.0.113.7"], "{:#}", stored.0["status"]);
                Ok(())
            })
            .await;
        };
        let told = async |kind: &str, name: &str| {
            until(&format!("an Event about {kind} {name}"), async || {
                ensure!(!installation.events(kind, name).await?.is_empty());
                Ok(())
            })
            .await;
        };
        for (number, row) in WRITES.iter().enumerate() {
            let mark = scene.mark();
            scene.roles.take(row).await;
            let name = format!("written-{number}");
            let is_lease = row.resource == "leases";
            if is_lease {
                // It leads for as long as it may believe in its last renewal.
                scene.says(mark, row.said[0]).await;
                scene.says(mark, "not leading any more").await;
            }
            scene.apply(&name).await;
            scene.serves(&name).await;
            scene.says(mark, row.said[0]).await;
            if !is_lease && row.resource != "ingresses/status" {
                shown("ingress", &name).await;
            }
            if !is_lease && row.resource != "wsroutes/status" {
                shown("wsroute", &name).await;
            }
            if !is_lease && row.resource != "events" {
                told("ingress", &name).await;
            }
            scene.roles.give_back(row).await;
            for kind in ["ingress", "wsroute"] {
                shown(kind, &name).await;
                told(kind, &name).await;
            }
            let subject = row.said[0].split(": ").next().unwrap();
            scene.says(mark, &format!("resolved: {subject}")).await;
            let words = scene.worded(row.said[0]);
            let lines = scene.controller().process.lines();
            let warned = lines[mark..].iter().filter(|line| line.contains(&words)).count();
            // Once, however many objects there are. A lease may be refused to be read, then to be written.
            assert!(warned <= 1 + usize::from(is_lease), "{words} was said {warned} times");
        }
    });
}

/// Alone with its control plane: the others would notice.
#[test]
fn without_the_crd_ingresses_are_served_and_when_it_comes_routes_are_too() {
    if !ControlPlane::can_run("an API server without our CRD") {
        return;
    }
    let cluster = ControlPlane::start().unwrap();
    cluster.inside(async || {
        let mut scene = Scene::open(&cluster, "crd", 40).await;
        let proxy = scene.replica.proxy.as_ref().unwrap();
        let first =
            Target::tls(proxy.https(), "first.example.com", scene.authority.trusting_client().unwrap());
        let routes = Target::plain(proxy.http(), "ws-first.example.com");
        let said = "the API server does not know wsroutes.longhaul.dev";

        // It goes while the controller runs, and with it all objects.
        let mark = scene.mark();
        cluster.kubectl(&["delete", "crd", "wsroutes.longhaul.dev", "--timeout=30s"]).await.unwrap();
        scene.cut();
        scene.says(mark, said).await;
        assert_eq!(routes.get("/").await.unwrap().status, 404);
        first.websocket("/").await.unwrap().echo("an Ingress stays").await.unwrap();

        // A controller that starts then begins all the same.
        scene.replica.kill_controller().unwrap();
        let mut flags = scene.installation.flags("lh-41");
        flags.extend(scene.installation.pod_flags(41));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        scene.replica.start_controller(&flags).await.unwrap();
        scene.says(0, said).await;
        until("ready", async || {
            ensure!(scene.controller().admin().get("/readyz").await?.status == 200);
            Ok(())
        })
        .await;
        first.websocket("/").await.unwrap().echo("and is served anew").await.unwrap();

        cluster.install_crds().await.unwrap();
        scene.apply("second").await;
        scene.serves("second").await;
        scene.says(0, &format!("resolved: Controller longhaul --source cluster: {said}")).await;
        let programmed =
            |stored: &e2e::cluster::Stored| stored.is("Programmed", "True Programmed 1: 1/1 proxies");
        until("Programmed", async || {
            let stored = scene.installation.stored("wsroute", "second").await?;
            ensure!(programmed(&stored), "{:#}", stored.0["status"]);
            Ok(())
        })
        .await;
    });
}
